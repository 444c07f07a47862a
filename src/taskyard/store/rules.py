"""Rules of sites, and which of them racks have been given."""

from datetime import datetime

from taskyard.core.operation import Operation
from taskyard.core.plan_reader import plan_of
from taskyard.core.rule import Plan, Rule
from taskyard.core.times import from_micros, to_micros
from taskyard.store.engine import Connection, Row, Value
from taskyard.store.values import from_json, json_text


class RuleRecords:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(
        self,
        id: str,
        organisation: int,
        site: int,
        *,
        name: str,
        description: str,
        operation: Operation,
        code: str,
        plan: Plan,
        now: datetime,
    ) -> None:
        self._connection.rows(
            "insert_rule",
            id=id,
            organisation=organisation,
            site=site,
            name=name,
            description=description,
            operation=operation.value,
            code=code,
            plan=json_text(plan.document()),
            now=to_micros(now),
        )

    def get(self, site: int, id: str) -> Rule | None:
        return self._one("get_rule", site=site, id=id)

    def search(
        self, site: int, operation: Operation | None, *, limit: int, offset: int
    ) -> tuple[list[Rule], int]:
        """Return rules, newest first, and how many there are in all."""
        conditions = () if operation is None else ("rules_of_operation",)
        values: dict[str, Value] = {"site": site}
        if operation is not None:
            values["operation"] = operation.value
        rows = self._connection.rows("list_rules", *conditions, limit=limit, offset=offset, **values)
        count = self._connection.row("count_rules", *conditions, **values)
        return [_rule_of(row) for row in rows], int(count[0]) if count else 0

    def update(self, site: int, id: str, *, name: str, description: str, plan: Plan, now: datetime) -> None:
        self._connection.run(
            "update_rule",
            site=site,
            id=id,
            name=name,
            description=description,
            plan=json_text(plan.document()),
            now=to_micros(now),
        )

    def delete(self, site: int, id: str) -> bool:
        """Remove a rule; racks that had been given it go by the default again."""
        return bool(self._connection.run("delete_rule", site=site, id=id))

    def make_default(self, site: int, rule: Rule, now: datetime) -> None:
        self._connection.run(
            "clear_default_rule",
            site=site,
            operation=rule.operation.value,
            code=rule.code,
            now=to_micros(now),
        )
        self._connection.run("make_default_rule", site=site, id=rule.id, now=to_micros(now))

    def give(self, site: int, rack: str, rule: Rule, now: datetime) -> None:
        """Let *rack* go by *rule*, instead of the one it had for the same operation and code."""
        self._connection.run(
            "put_rack_rule",
            site=site,
            rack=rack,
            operation=rule.operation.value,
            code=rule.code,
            rule=rule.id,
            now=to_micros(now),
        )

    def take(self, site: int, rack: str, operation: Operation, code: str) -> bool:
        return bool(
            self._connection.run(
                "delete_rack_rule", site=site, rack=rack, operation=operation.value, code=code
            )
        )

    def of_rack(self, site: int, rack: str) -> list[Rule]:
        return [_rule_of(row) for row in self._connection.rows("rules_of_rack", site=site, rack=rack)]

    def resolve(self, site: int, rack: str, operation: Operation, code: str) -> Rule | None:
        """Return the rule that *rack* was given, else the site's default; None when there is neither."""
        return self._one("resolve_rule", site=site, rack=rack, operation=operation.value, code=code)

    def _one(self, statement: str, **values: Value) -> Rule | None:
        row = self._connection.row(statement, **values)
        return _rule_of(row) if row else None


def _rule_of(row: Row) -> Rule:
    (
        number,
        id,
        organisation,
        site,
        name,
        description,
        operation,
        code,
        plan,
        is_default,
        created_at,
        updated_at,
    ) = row
    return Rule(
        number=number,
        id=id,
        organisation=organisation,
        site=site,
        name=name,
        description=description,
        operation=Operation(operation),
        code=code,
        plan=plan_of(from_json(plan)),
        is_default=bool(is_default),
        created_at=from_micros(created_at),
        updated_at=from_micros(updated_at),
    )
