"""Operations: what is done to racks and trays, as one task per rack, none in another's way."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import Conflict, Invalid, NotFound, TaskyardError, WrongState
from taskyard.core.operation import Operation, RackWork, conflict
from taskyard.core.rule import check_code
from taskyard.core.site import Site, Tray
from taskyard.core.task import ACTIONS, OPEN, NewTask, Reason, State, Task
from taskyard.service.flow import TASK
from taskyard.service.sites import Sites
from taskyard.service.tasks import Tasks
from taskyard.store.records import Records
from taskyard.store.sites import MOST_COUNTED, RackFilter, TrayFilter
from taskyard.store.tasks import TaskFilter

#: The queue of all tasks that operate racks, and the types they have: one for each operation.
QUEUE: Final = "racks"
TYPES: Final = {operation: f"rack.{operation.value}" for operation in Operation}
#: More than these waiting for one rack would only run long after whoever asked has forgotten why.
MAX_WAITING: Final = 5
WAIT_AT_MOST: Final = timedelta(hours=1)
#: Conflicts keep a rack's open tasks to a few; this only bounds a look at what somebody else has labelled so.
_MOST_OPEN: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """
    What is to be done, wherever it is done.

    ``rule`` pins one. ``waits`` is how long a task may wait for others on its rack to end; None refuses it instead.
    """

    operation: Operation
    code: str
    description: str = ""
    rule: str | None = None
    version: str | None = None
    targets: tuple[str, ...] = ()
    credentials: str | None = None
    heedless: bool = False
    waits: timedelta | None = None
    origin: str = "native"


class Operations:
    """
    Args:
        tasks: Submits and cancels.
        sites: Finds what operations are done to.
    """

    def __init__(self, tasks: Tasks, sites: Sites) -> None:
        self._tasks = tasks
        self._sites = sites

    # -- begin ---------------------------------------------------------------------------------------------------------------

    def on_racks(
        self, records: Records, actor: Actor, site: Site, wanted: Wanted, racks: RackFilter
    ) -> list[Task]:
        """
        Begin an operation on whole racks.

        Raises:
            NotFound: a rack that is asked for is not there, or none is.
            Conflict, and what :meth:`begin` raises.
        """
        found = self._sites.racks(records, site, racks)
        known = {rack.id for rack in found} | {rack.name for rack in found}
        for name in (*(racks.ids or ()), *(racks.names or ())):
            if name not in known:
                raise NotFound("rack", name)
        if not found:
            raise NotFound("rack at site", site.name)
        trays = self._sites.trays(records, site, TrayFilter(racks=[rack.id for rack in found]))
        works = [
            _work(site, rack.id, wanted, [tray for tray in trays if tray.rack == rack.id]) for rack in found
        ]
        return self.begin(records, actor, site, wanted, works)

    def on_trays(
        self, records: Records, actor: Actor, site: Site, wanted: Wanted, trays: Sequence[Tray]
    ) -> list[Task]:
        """Begin an operation on trays of a site: one task for each rack they stand in."""
        racks = dict.fromkeys(tray.rack for tray in trays)
        works = [_work(site, rack, wanted, [tray for tray in trays if tray.rack == rack]) for rack in racks]
        return self.begin(records, actor, site, wanted, works)

    def begin(
        self, records: Records, actor: Actor, site: Site, wanted: Wanted, works: Sequence[RackWork]
    ) -> list[Task]:
        """
        Submit a task for each of *works*. Those that are refused are left out, as long as one is not.

        Raises:
            Forbidden, Invalid: the code is none of the operation's, or the pinned rule is not there.
            Conflict: other operations are in the way on every rack, and may not be waited for, or too many wait already.
        """
        actor.require(Permission.SUBMIT)
        check_code(wanted.operation, wanted.code)
        if wanted.rule is not None and records.rules.get(site.number, wanted.rule) is None:
            raise Invalid(f"there is no rule {wanted.rule}", pointer="/rule", code="unknown_rule")
        begun: list[Task] = []
        refusals: list[TaskyardError] = []
        for work in sorted(works, key=lambda work: work.rack):  # always in one order: each rack is locked
            try:
                begun.append(self._begin(records, actor, wanted, work))
            except Conflict as refusal:
                refusals.append(refusal)
        if refusals and not begun:
            raise refusals[0]
        return begun

    def _begin(self, records: Records, actor: Actor, wanted: Wanted, work: RackWork) -> Task:
        records.work.lock_concurrency_key(actor.organisation, f"rack:{work.rack}")
        active, waiting = self._others(records, actor.organisation, work)
        in_the_way = [task.id for task in (*active, *waiting) if conflict(work, RackWork.of(task.input))]
        blocked = bool(active) and any(task.id in in_the_way for task in active)
        if blocked and wanted.waits is None:
            detail = f"task {in_the_way[0]} is under way on rack {work.rack}; wait for its end, or cancel it"
            raise Conflict(detail, code="rack_busy", existing=in_the_way[0])
        if blocked and len(waiting) >= MAX_WAITING:
            raise Conflict(f"{len(waiting)} tasks wait for rack {work.rack} already", code="too_many_waiting")
        task = self._tasks.submit_one(
            records,
            actor,
            NewTask(
                type=TYPES[wanted.operation],
                queue=QUEUE,
                input=work.document(),
                target=f"rack:{work.rack}",
                labels={"site": work.site, "rack": work.rack},
                rule=wanted.rule,
                origin=wanted.origin,
                blocked_by=tuple(in_the_way) if blocked else (),
                start_by=records.now + wanted.waits if blocked and wanted.waits is not None else None,
            ),
        )
        records.sites.involve(task, list(work.ids()))
        if not blocked:
            # It overtakes what waits; who would be in its way waits for it as well.
            overtaken = [(other.number, TASK, task.id) for other in waiting if other.id in in_the_way]
            records.work.block(overtaken)
        return task

    def _others(self, records: Records, organisation: int, work: RackWork) -> tuple[list[Task], list[Task]]:
        """Return the open operations on a rack: those that are under way, and those that wait and have never begun."""
        filter = TaskFilter(labels={"rack": work.rack, "site": work.site}, states=tuple(sorted(OPEN)))
        found = records.tasks.search(organisation, filter, limit=_MOST_OPEN)
        # Locked and read again: one that is just ending, or just beginning, is seen as what it becomes.
        locked = records.tasks.lock_numbers([task.number for task in found])
        others = [task for task in locked if task.is_open and task.type in TYPES.values() and _is_work(task)]
        waiting = [task for task in others if task.state is State.SUSPENDED and task.started_at is None]
        return [task for task in others if task not in waiting], waiting

    def enter(self, records: Records, task: Task, work: RackWork) -> list[str]:
        """
        Let a task that has just been claimed onto its rack; return the ids of those it must wait for instead, oldest first.

        What :meth:`begin` has submitted always may. A task that was submitted otherwise, or retried, comes here unasked: it
        is made known to the rack, and goes behind what was there before it.
        """
        records.work.lock_concurrency_key(task.organisation, f"rack:{work.rack}")
        if task.labels.get("rack") != work.rack or task.labels.get("site") != work.site:
            records.tasks.relabel(task, {**task.labels, "site": work.site, "rack": work.rack}, records.now)
        records.sites.involve(task, list(work.ids()))
        active, _ = self._others(records, task.organisation, work)
        older = [other for other in active if other.number < task.number]
        return [other.id for other in older if conflict(work, RackWork.of(other.input))]

    # -- cancel --------------------------------------------------------------------------------------------------------------

    def cancel(self, records: Records, actor: Actor, site: Site, id: str) -> Task:
        """
        End a task at once, whoever holds it: what the holder still says is refused. What was ended so before stays so.

        Raises:
            NotFound: there is no such task at this site.
            WrongState: it has ended by itself.
        """
        actor.require(Permission.CONTROL)
        task = self.get(records, actor, site, id)
        if has_been_ended(task):
            return task
        if not task.is_open:
            raise WrongState(id, task.state, "cancel", ACTIONS[task.state])
        [answer] = self._tasks.cancel(records, actor, [id], at_once=True)
        if isinstance(answer, Exception):
            raise answer
        return self.get(records, actor, site, id)

    # -- read ----------------------------------------------------------------------------------------------------------------

    def get(self, records: Records, actor: Actor, site: Site, id: str) -> Task:
        """Return a task of a site; one of another site is not found."""
        task = self._tasks.get(records, actor, id)
        if task.labels.get("site") != site.id:
            raise NotFound("task", id)
        return task

    def of_site(
        self, records: Records, actor: Actor, site: Site, *, open_only: bool, limit: int, offset: int
    ) -> tuple[list[Task], int]:
        """Return the tasks of a site, newest first, and how many there are in all."""
        return self._labelled(records, actor, {"site": site.id}, open_only, limit, offset)

    def of_rack(
        self,
        records: Records,
        actor: Actor,
        site: Site,
        rack: str,
        *,
        open_only: bool,
        limit: int,
        offset: int,
    ) -> tuple[list[Task], int]:
        """Return the tasks of a rack, newest first, and how many there are in all."""
        return self._labelled(records, actor, {"rack": rack, "site": site.id}, open_only, limit, offset)

    def of_tray(
        self,
        records: Records,
        actor: Actor,
        site: Site,
        tray: str,
        *,
        open_only: bool,
        limit: int,
        offset: int,
    ) -> tuple[list[Task], int]:
        """Return the tasks that concern a tray, newest first, and how many there are in all."""
        actor.require(Permission.READ)
        return records.sites.tasks_of(
            actor.organisation, tray, site=site.id, open_only=open_only, limit=limit, offset=offset
        )

    def _labelled(
        self,
        records: Records,
        actor: Actor,
        labels: dict[str, str],
        open_only: bool,
        limit: int,
        offset: int,
    ) -> tuple[list[Task], int]:
        filter = TaskFilter(labels=labels, states=tuple(sorted(OPEN)) if open_only else ())
        found = self._tasks.search(records, actor, filter, limit=limit, offset=offset)
        return found, records.tasks.count(actor.organisation, filter, most=MOST_COUNTED)


def has_been_ended(task: Task) -> bool:
    """Say whether a task was ended from outside: canceled, or left waiting for too long."""
    return task.state is State.CANCELED or (task.state is State.FAILED and task.reason == Reason.EXPIRED)


def _is_work(task: Task) -> bool:
    try:
        RackWork.of(task.input)
    except ValueError:
        return False
    return True


def _work(site: Site, rack: str, wanted: Wanted, trays: Iterable[Tray]) -> RackWork:
    components: dict[object, list[str]] = {}
    for tray in trays:
        components.setdefault(tray.kind, []).append(tray.id)
    return RackWork(
        operation=wanted.operation,
        code=wanted.code,
        rack=rack,
        site=site.id,
        components=components,  # type: ignore[arg-type]
        description=wanted.description,
        version=wanted.version,
        targets=wanted.targets,
        credentials=wanted.credentials,
        heedless=wanted.heedless,
    )
