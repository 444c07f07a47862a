"""Rules: make, change and resolve the plans by which a site's racks are operated."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import Conflict, Invalid, NotFound
from taskyard.core.limits import MAX_MESSAGE_LENGTH, check_text
from taskyard.core.operation import Operation, RackWork
from taskyard.core.plan_reader import plan_of
from taskyard.core.rule import MAX_RULE_NAME_LENGTH, Plan, Rule, check_code
from taskyard.core.site import Site
from taskyard.store.records import Records


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRule:
    name: str
    operation: Operation
    code: str
    plan: Plan
    description: str = ""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The plan a task goes by, and the id of the rule it is from; None when it is a built-in one."""

    plan: Plan
    rule: str | None


class Rules:
    """
    Args:
        new_id: Makes UUIDv7 text.
    """

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id

    def create(self, records: Records, actor: Actor, site: Site, new: NewRule) -> Rule:
        """
        Add a rule; it applies to nothing until a request, a rack or the site is told to go by it.

        Raises:
            Forbidden, Invalid (the code is none of the operation's, a text is too long).
        """
        actor.require(Permission.MANAGE)
        check_code(new.operation, new.code)
        _check_texts(new.name, new.description)
        id = self._new_id()
        records.rules.insert(
            id,
            site.organisation,
            site.number,
            name=new.name,
            description=new.description,
            operation=new.operation,
            code=new.code,
            plan=new.plan,
            now=records.now,
        )
        self._tell(records, site, "created", id)
        return self.get(records, actor, site, id)

    def change(
        self,
        records: Records,
        actor: Actor,
        site: Site,
        id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        plan: Plan | None = None,
    ) -> Rule:
        """Change what is given; operation and code are for ever. Tasks that have begun keep the plan they began with."""
        actor.require(Permission.MANAGE)
        rule = self.get(records, actor, site, id)
        name = rule.name if name is None else name
        description = rule.description if description is None else description
        _check_texts(name, description)
        records.rules.update(
            site.number, id, name=name, description=description, plan=plan or rule.plan, now=records.now
        )
        self._tell(records, site, "changed", id)
        return self.get(records, actor, site, id)

    def delete(self, records: Records, actor: Actor, site: Site, id: str) -> None:
        """Remove a rule. Racks that went by it go by the default again; tasks that pin it and have not begun will fail."""
        actor.require(Permission.MANAGE)
        if not records.rules.delete(site.number, id):
            raise NotFound("rule", id)
        self._tell(records, site, "deleted", id)

    def make_default(self, records: Records, actor: Actor, site: Site, id: str) -> Rule:
        """Let the site go by a rule wherever a rack was given no other, instead of the rule that was the default before."""
        actor.require(Permission.MANAGE)
        records.rules.make_default(site.number, self.get(records, actor, site, id), records.now)
        self._tell(records, site, "changed", id)
        return self.get(records, actor, site, id)

    def give(self, records: Records, actor: Actor, site: Site, rack: str, id: str) -> None:
        """Let one rack go by a rule, for the rule's operation and code."""
        actor.require(Permission.MANAGE)
        records.rules.give(site.number, rack, self.get(records, actor, site, id), records.now)

    def take(
        self, records: Records, actor: Actor, site: Site, rack: str, operation: Operation, code: str
    ) -> None:
        """Let a rack go by the default again."""
        actor.require(Permission.MANAGE)
        if not records.rules.take(site.number, rack, operation, code):
            raise NotFound("rule of rack", rack)

    def get(self, records: Records, actor: Actor, site: Site, id: str) -> Rule:
        actor.require(Permission.READ)
        rule = records.rules.get(site.number, id)
        if rule is None:
            raise NotFound("rule", id)
        return rule

    def search(
        self,
        records: Records,
        actor: Actor,
        site: Site,
        operation: Operation | None = None,
        *,
        limit: int,
        offset: int = 0,
    ) -> tuple[list[Rule], int]:
        """Return the site's rules, newest first, and how many there are in all."""
        actor.require(Permission.READ)
        return records.rules.search(site.number, operation, limit=limit, offset=offset)

    def of_rack(self, records: Records, actor: Actor, site: Site, rack: str) -> list[Rule]:
        actor.require(Permission.READ)
        return records.rules.of_rack(site.number, rack)

    def resolve(self, records: Records, work: RackWork, pinned: str | None) -> Resolved:
        """
        Return the plan that *work* goes by: the pinned rule's, else the one its rack was given, else the site's default, else
        the built-in one.

        Raises:
            NotFound: the pinned rule is gone; nothing else takes its place.
            Conflict: there is no plan for this, or it has no steps.
        """
        site = records.sites.get(work.site)
        if site is None:
            raise NotFound("site", work.site)
        if pinned is not None:
            rule = records.rules.get(site.number, pinned)
            if rule is None:
                raise NotFound("rule", pinned)
        else:
            rule = records.rules.resolve(site.number, work.rack, work.operation, work.code)
        plan = rule.plan if rule is not None else builtin_plans().get((work.operation, work.code), Plan())
        if not plan.steps:
            raise Conflict(f"the rule for {work.operation} {work.code} has no steps", code="no_steps")
        return Resolved(plan, None if rule is None else rule.id)

    def _tell(self, records: Records, site: Site, what: str, id: str) -> None:
        records.events.append(f"rule.{what}", organisation=site.organisation, subject=id, at=records.now)


def _check_texts(name: str, description: str) -> None:
    faults = check_text(name, "/name", most=MAX_RULE_NAME_LENGTH)
    faults += check_text(description, "/description", most=MAX_MESSAGE_LENGTH)
    if faults:
        raise Invalid(faults[0].detail, faults=faults)


@cache
def builtin_plans() -> Mapping[tuple[Operation, str], Plan]:
    """Return the plans that ship, by operation and code."""
    tables = tomllib.loads(files("taskyard.service").joinpath("builtin_rules.toml").read_text())
    defaults = tables.pop("defaults")
    return MappingProxyType(
        {
            (Operation(operation), code): plan_of({"steps": [{**defaults, **step} for step in steps]})
            for operation, codes in tables.items()
            for code, steps in codes.items()
        }
    )
