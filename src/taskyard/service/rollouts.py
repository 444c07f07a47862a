"""Rollouts: one operation over many racks of a site, planned whole, then carried on a few racks at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import Conflict, Invalid, NotFound, TaskyardError, Unavailable
from taskyard.core.limits import MAX_MESSAGE_LENGTH, check_text
from taskyard.core.operation import Operation
from taskyard.core.rollout import (
    OPEN,
    OVER,
    Outcome,
    Policy,
    Rollout,
    Status,
    Target,
    Why,
    chosen,
    shuffled,
)
from taskyard.core.rule import MAX_RULE_NAME_LENGTH, check_code
from taskyard.core.site import Site
from taskyard.core.task import State, Task
from taskyard.service.operations import Operations, Wanted
from taskyard.service.sites import Sites
from taskyard.store.records import Records
from taskyard.store.sites import RackFilter

#: News of a rollout that may be carried on at once.
TOPIC: Final = "rollout"
#: What a rollout does to each rack, of all that an operation may be told.
_WANTED: Final = ("description", "rule", "version", "targets", "heedless", "origin")


class NotNow(Conflict):
    """The move cannot be made from where the rollout is."""

    def __init__(self, rollout: Rollout, move: str, why: str) -> None:
        super().__init__(
            f"the run {rollout.id} is {rollout.status} and cannot {move}: {why}", code="wrong_state"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRollout:
    """
    ``percent`` of the site's racks but for those of the rollouts ``without``; in the order of their names, or in one drawn by
    ``shuffle``. ``phasing`` says how many of so many racks each phase has. Seeds that are None are drawn.
    """

    name: str
    wanted: Wanted
    policy: Policy
    description: str = ""
    percent: int = 100
    percent_seed: str | None = None
    is_shuffled: bool = False
    shuffle_seed: str | None = None
    without: Sequence[str] = ()
    phasing: Callable[[int], list[int]] = field(default=lambda targets: [targets])


@dataclass(frozen=True, slots=True)
class Stats:
    """What has come of the racks of a phase, or of all phases up to it."""

    phase: int
    targets: int
    outcomes: Mapping[Outcome, int]


class Rollouts:
    """
    Args:
        operations: Begins what is done to each rack.
        new_id: Makes UUIDv7 text.
    """

    def __init__(self, sites: Sites, operations: Operations, new_id: Callable[[], str]) -> None:
        self._sites = sites
        self._operations = operations
        self._new_id = new_id

    # -- begin ---------------------------------------------------------------------------------------------------------------

    def create(self, records: Records, actor: Actor, site: Site, new: NewRollout) -> Rollout:
        """
        Plan a rollout: which racks, in which order, in which phases. It begins by itself.

        Raises:
            Forbidden, Invalid: no rack is left, a phase would have none, or the pinned rule is not there.
        """
        actor.require(Permission.SUBMIT)
        actor.require(Permission.CONTROL)
        wanted = new.wanted
        check_code(wanted.operation, wanted.code)
        faults = check_text(new.name, "/name", most=MAX_RULE_NAME_LENGTH)
        faults += check_text(new.description, "/description", most=MAX_MESSAGE_LENGTH)
        if faults:
            raise Invalid(faults[0].detail, faults=faults)
        if wanted.rule is not None and records.rules.get(site.number, wanted.rule) is None:
            raise Invalid(f"there is no rule {wanted.rule}", pointer="/rule", code="unknown_rule")
        id = self._new_id()
        racks = self._candidates(records, site, new, id)
        sizes = new.phasing(len(racks))
        number = records.rollouts.insert(
            id,
            actor.organisation,
            site.number,
            name=new.name,
            description=new.description,
            operation=wanted.operation,
            code=wanted.code,
            wanted={name: getattr(wanted, name) for name in _WANTED},
            policy=new.policy,
            phases=len(sizes),
            actor=actor.identity,
            now=records.now,
        )
        phases = [phase for phase, size in enumerate(sizes) for _ in range(size)]
        records.rollouts.insert_targets(
            number,
            [
                (self._new_id(), rack, place, phase)
                for place, (rack, phase) in enumerate(zip(racks, phases, strict=True))
            ],
            records.now,
        )
        self._tell(records, actor.organisation, id, "created")
        records.news.add(TOPIC)
        return self.get(records, actor, site, id)

    def _candidates(self, records: Records, site: Site, new: NewRollout, id: str) -> list[str]:
        taken = records.rollouts.racks(site.number, list(new.without)) if new.without else set()
        racks = [rack.id for rack in self._sites.racks(records, site) if rack.id not in taken]
        racks = chosen(racks, new.percent, new.percent_seed or id)
        if not racks:
            raise Invalid("no rack of the site is selected; select more, or exclude less", code="no_racks")
        return shuffled(racks, new.shuffle_seed or id) if new.is_shuffled else racks

    # -- pause, resume, advance, cancel --------------------------------------------------------------------------------------

    def pause(self, records: Records, actor: Actor, site: Site, id: str) -> Rollout:
        """Begin no more; what was begun goes on. One that is paused stays as it is. Raises NotFound, Forbidden, NotNow."""
        rollout = self._locked(records, actor, site, id)
        if rollout.status not in OPEN:
            raise NotNow(rollout, "be paused", "it is over")
        if rollout.status is Status.PAUSED:
            return rollout
        return self._moved(records, rollout, status=Status.PAUSED, why=Why.OPERATOR, message="")

    def resume(self, records: Records, actor: Actor, site: Site, id: str) -> Rollout:
        """Go on, in spite of the failures there have been. Raises NotFound, Forbidden, NotNow (also at the end of a phase)."""
        rollout = self._locked(records, actor, site, id)
        if rollout.status is not Status.PAUSED:
            raise NotNow(rollout, "be resumed", "it is not paused")
        if rollout.why is Why.PHASE:
            raise NotNow(rollout, "be resumed", "a phase has ended; advance it instead")
        for target in self._targets(records, rollout, Outcome.BLOCKED):
            self._set(records, target, tries=0, blocked_at=None, retry_at=None)
        return self._moved(
            records,
            rollout,
            status=Status.PENDING if rollout.started_at is None else Status.RUNNING,
            why=None,
            message="",
            accepted=_failed(records.rollouts.outcomes(rollout.number)),
        )

    def advance(
        self, records: Records, actor: Actor, site: Site, id: str, *, expected: int | None = None
    ) -> Rollout:
        """Go on with the next phase; *expected* is its number, as the caller believes. Raises NotFound, Forbidden, NotNow."""
        rollout = self._locked(records, actor, site, id)
        if rollout.status is not Status.PAUSED or rollout.why is not Why.PHASE:
            raise NotNow(rollout, "be advanced", "it does not wait at the end of a phase")
        if expected is not None and expected != rollout.phase + 1:
            raise NotNow(rollout, f"open phase {expected}", f"the next one is {rollout.phase + 1}")
        return self._moved(
            records, rollout, status=Status.RUNNING, why=None, message="", phase=rollout.phase + 1
        )

    def cancel(self, records: Records, actor: Actor, site: Site, id: str, *, reason: str = "") -> Rollout:
        """End it, with what it has begun. One that is over stays as it is. Raises NotFound, Forbidden, Invalid."""
        faults = check_text(reason, "/reason", most=MAX_MESSAGE_LENGTH)
        if faults:
            raise Invalid(faults[0].detail, faults=faults)
        rollout = self._locked(records, actor, site, id)
        if rollout.status not in OPEN:
            return rollout
        self._settle(records, rollout)
        for target in self._targets(records, rollout, Outcome.SUBMITTED):
            assert target.task is not None
            self._operations.cancel(records, actor, site, target.task)
        self._settle(records, rollout)
        for outcome in (Outcome.PENDING, Outcome.BLOCKED):
            for target in self._targets(records, rollout, outcome):
                self._set(records, target, outcome=Outcome.SKIPPED, message="the run was cancelled")
        return self._moved(
            records, rollout, status=Status.CANCELED, why=None, message=reason, finished_at=records.now
        )

    # -- read ----------------------------------------------------------------------------------------------------------------

    def get(self, records: Records, actor: Actor, site: Site, id: str) -> Rollout:
        """Raises NotFound, Forbidden."""
        actor.require(Permission.READ)
        found = records.rollouts.get(site.number, id)
        if found is None:
            raise NotFound("run", id)
        return found

    def search(
        self,
        records: Records,
        actor: Actor,
        site: Site,
        *,
        status: Status | None = None,
        operation: Operation | None = None,
        limit: int,
        offset: int = 0,
    ) -> tuple[list[Rollout], int]:
        """Return the site's rollouts, newest first, and how many there are in all."""
        actor.require(Permission.READ)
        return records.rollouts.search(site.number, status, operation, limit=limit, offset=offset)

    def targets(
        self,
        records: Records,
        rollout: Rollout,
        *,
        ended: bool,
        current: bool,
        outcome: Outcome | None = None,
        limit: int,
        offset: int = 0,
    ) -> tuple[list[Target], int]:
        """Return racks of the phases that have *ended* and of the *current* one, in their order; and how many there are in all."""
        return records.rollouts.targets(
            rollout.number,
            least=None if ended else rollout.phase,
            most=rollout.phase if current else rollout.phase - 1,
            outcome=outcome,
            limit=limit,
            offset=offset,
        )

    def stats(self, records: Records, rollout: Rollout) -> tuple[Stats, Stats]:
        """Return what has come of the current phase, and of all phases up to it."""
        outcomes = records.rollouts.outcomes(rollout.number)
        return (
            _stats(rollout.phase, outcomes, range(rollout.phase, rollout.phase + 1)),
            _stats(rollout.phase, outcomes, range(rollout.phase + 1)),
        )

    # -- carry on ------------------------------------------------------------------------------------------------------------

    def carry_on(self, records: Records, number: int) -> None:
        """Take note of what has ended, and begin what may be begun."""
        rollout = records.rollouts.lock(number)
        if rollout is None or rollout.status not in OPEN:
            return
        self._settle(records, rollout)
        if rollout.status is Status.PENDING:
            rollout = self._moved(records, rollout, status=Status.RUNNING, started_at=records.now)
        while rollout.status is Status.RUNNING:
            # What has ended is judged before anything more is begun.
            after = self._judged(records, rollout)
            if after is rollout and not self._begin(records, rollout):
                return
            rollout = after

    def _settle(self, records: Records, rollout: Rollout) -> None:
        begun = {target.task: target for target in self._targets(records, rollout, Outcome.SUBMITTED)}
        tasks = records.tasks.get_many(rollout.organisation, [id for id in begun if id is not None])
        for task in tasks:
            if not task.is_open:
                self._set(records, begun[task.id], outcome=_outcome(task), message=_message(task))
        for id in begun.keys() - {task.id for task in tasks}:  # it ended so long ago that it was forgotten
            self._set(records, begun[id], outcome=Outcome.FAILED, message="its task is not known any more")

    def _judged(self, records: Records, rollout: Rollout) -> Rollout:
        """Return the rollout as it is to be after what has come of its racks: itself when it just goes on."""
        outcomes = records.rollouts.outcomes(rollout.number)
        phase = _stats(rollout.phase, outcomes, range(rollout.phase, rollout.phase + 1))
        whole = _stats(rollout.phase, outcomes, range(rollout.phase + 1))
        is_last = rollout.phase + 1 == rollout.phases
        if is_last and _is_over(phase):
            return self._finished(records, rollout, whole)
        if _failed(outcomes) > rollout.accepted:
            for gate in rollout.policy.gates:
                judged = whole if gate.of_all else phase
                failed = judged.outcomes.get(Outcome.FAILED, 0)
                if gate.trips(failed, judged.targets):
                    message = f"{failed} of {judged.targets} racks have failed"
                    return self._moved(
                        records, rollout, status=Status.PAUSED, why=Why.SAFETY, message=message
                    )
        if _is_over(phase):
            if rollout.policy.is_automatic:
                return self._moved(records, rollout, phase=rollout.phase + 1)
            message = f"phase {rollout.phase} has ended; advance to open the next"
            return self._moved(records, rollout, status=Status.PAUSED, why=Why.PHASE, message=message)
        for target in self._targets(records, rollout, Outcome.BLOCKED):
            waited_since = target.blocked_at or records.now
            if records.now - waited_since >= rollout.policy.patience.total:
                message = f"rack {target.rack} has been busy for too long"
                return self._moved(records, rollout, status=Status.PAUSED, why=Why.CONFLICT, message=message)
        return rollout

    def _finished(self, records: Records, rollout: Rollout, whole: Stats) -> Rollout:
        failed = whole.outcomes.get(Outcome.FAILED, 0) + whole.outcomes.get(Outcome.TERMINATED, 0)
        status = Status.COMPLETED
        if failed:
            status = Status.MIXED if whole.outcomes.get(Outcome.COMPLETED, 0) else Status.FAILED
        return self._moved(records, rollout, status=status, why=None, message="", finished_at=records.now)

    def _begin(self, records: Records, rollout: Rollout) -> bool:
        """Begin as many racks of the phase as may be; say whether it stopped at one that was over at once."""
        site = records.sites.get(rollout.site)
        room = rollout.policy.most_at_once - len(self._targets(records, rollout, Outcome.SUBMITTED))
        waiting, _ = records.rollouts.targets(rollout.number, least=rollout.phase, most=rollout.phase)
        for target in waiting:
            is_due = target.retry_at is None or target.retry_at <= records.now
            if target.outcome not in (Outcome.PENDING, Outcome.BLOCKED) or not is_due or site is None:
                continue
            if room <= 0:
                break
            outcome = self._try(records, rollout, site, target)
            if outcome in OVER:
                return True
            room -= outcome is Outcome.SUBMITTED
        return False

    def _try(self, records: Records, rollout: Rollout, site: Site, target: Target) -> Outcome:
        actor = Actor(
            organisation=rollout.organisation,
            identity=rollout.actor,
            permissions=frozenset({Permission.READ, Permission.SUBMIT, Permission.CONTROL}),
        )
        asked = {**rollout.wanted, "targets": tuple(rollout.wanted["targets"])}
        wanted = Wanted(operation=rollout.operation, code=rollout.code, **asked)
        try:
            [task] = self._operations.on_racks(records, actor, site, wanted, RackFilter(ids=[target.rack]))
        except Conflict as busy:
            tries = target.tries + 1
            after = self._set(
                records,
                target,
                outcome=Outcome.BLOCKED,
                message=str(busy),
                tries=tries,
                blocked_at=target.blocked_at or records.now,
                retry_at=records.now + rollout.policy.patience.delay(tries),
            )
        except NotFound as gone:
            after = self._set(records, target, outcome=Outcome.SKIPPED, message=str(gone))
        except Unavailable:
            raise
        except TaskyardError as refusal:
            after = self._set(records, target, outcome=Outcome.FAILED, message=str(refusal))
        else:
            after = self._set(
                records, target, outcome=Outcome.SUBMITTED, task=task.id, message="", retry_at=None
            )
        return after.outcome

    # -- parts ---------------------------------------------------------------------------------------------------------------

    def _locked(self, records: Records, actor: Actor, site: Site, id: str) -> Rollout:
        actor.require(Permission.CONTROL)
        locked = records.rollouts.lock(self.get(records, actor, site, id).number)
        assert locked is not None
        return locked

    def _targets(self, records: Records, rollout: Rollout, outcome: Outcome) -> list[Target]:
        found, _ = records.rollouts.targets(rollout.number, outcome=outcome)
        return found

    def _set(self, records: Records, target: Target, **changes: Any) -> Target:
        after = replace(target, updated_at=records.now, **changes)
        records.rollouts.update_target(after)
        return after

    def _moved(self, records: Records, rollout: Rollout, **changes: Any) -> Rollout:
        after = replace(rollout, updated_at=records.now, **changes)
        records.rollouts.update(after)
        word = after.status.value if after.status is not rollout.status else "advanced"
        self._tell(records, after.organisation, after.id, word)
        records.news.add(TOPIC)
        return after

    def _tell(self, records: Records, organisation: int, id: str, what: str) -> None:
        records.events.append(f"rollout.{what}", organisation=organisation, subject=id, at=records.now)


def _stats(phase: int, outcomes: Mapping[tuple[int, Outcome], int], phases: range) -> Stats:
    found: dict[Outcome, int] = {}
    for (number, outcome), count in outcomes.items():
        if number in phases:
            found[outcome] = found.get(outcome, 0) + count
    return Stats(phase, sum(found.values()), found)


def _is_over(stats: Stats) -> bool:
    return stats.outcomes.keys() <= OVER


def _failed(outcomes: Mapping[tuple[int, Outcome], int]) -> int:
    return sum(count for (_, outcome), count in outcomes.items() if outcome is Outcome.FAILED)


def _outcome(task: Task) -> Outcome:
    if task.state is State.SUCCEEDED:
        return Outcome.COMPLETED
    return Outcome.TERMINATED if task.state is State.CANCELED else Outcome.FAILED


def _message(task: Task) -> str:
    return task.error.message if task.error is not None and task.state is State.FAILED else ""
