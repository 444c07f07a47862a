"""
Culling: removing what is old, as tasks that recur and can be seen, for organisations that expect such tasks of their server.

The janitor removes the same, to the same ages, whether anybody looks or not; so these tasks find little, and missing one harms nothing.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, time, timedelta
from typing import Final

from taskyard.core.actor import Actor
from taskyard.core.errors import LeaseLost
from taskyard.core.hold import Hold, Settlement
from taskyard.core.outcome import Outcome
from taskyard.core.queue import RETENTION
from taskyard.core.schedule import NewSchedule, Timing
from taskyard.core.task import NewTask, Task
from taskyard.core.worker import Lane
from taskyard.service.janitor import expired_tasks
from taskyard.service.schedules import Schedules
from taskyard.service.work import Work
from taskyard.store.records import Records

QUEUE: Final = "culling"
HISTORY: Final = "cull_history"
EVENTS: Final = "cull_audited_events"
#: When each is due: how often, and the hour of the day (UTC) its instants are counted from.
TIMES: Final[Mapping[str, tuple[str, int]]] = {EVENTS: ("PT12H", 13), HISTORY: ("P1D", 1)}
#: The organisation's setting that says that its tasks were made; who has deleted them since does not get them again.
MADE: Final = "culling"
#: Removing is short, and done in small parts; who has not ended by then died.
LEASE: Final = timedelta(minutes=5)


class Culling:
    """
    Args:
        new_id: Makes UUIDv7 text.
    """

    def __init__(self, schedules: Schedules, work: Work, new_id: Callable[[], str]) -> None:
        self._schedules = schedules
        self._work = work
        self._new_id = new_id

    def is_established(self, records: Records, organisation: int) -> bool:
        found = records.accounts.organisation(organisation)
        return found is None or MADE in found.settings

    def establish(self, records: Records, organisation: int) -> None:
        """Make an organisation's culling tasks; once, and not beside a schedule that has the name already."""
        found = records.accounts.organisation(organisation)
        if found is None or MADE in found.settings:
            return
        for name in TIMES:
            if records.schedules.get_by_name(organisation, name) is None:
                self._schedules.create(records, _system(organisation), _schedule(name, records.now))
        records.accounts.update_organisation(
            found.number, found.title, {**found.settings, MADE: sorted(TIMES)}
        )

    def waiting(self, records: Records) -> list[int]:
        """Return the organisations that have something to be culled now."""
        return records.work.organisations_with_ready(QUEUE)

    def begin(self, records: Records, organisation: int) -> list[Task]:
        """Claim what is to be culled in an organisation, for a worker that lives as long as that takes."""
        actor, lanes, worker = _system(organisation), [Lane(QUEUE, name) for name in TIMES], self._new_id()
        self._work.register(
            records, actor, id=worker, name="culler", lanes=lanes, slots=len(lanes), lease=LEASE
        )
        claimed = self._work.claim(records, actor, worker, lanes, len(lanes))
        if not claimed:  # another was quicker, or the queue is paused
            self._work.leave(records, actor, worker)
        return claimed

    def cull(self, records: Records, task: Task, limit: int) -> int:
        """Remove up to *limit* of what *task* is about; return how many."""
        if task.type == EVENTS:
            return records.events.delete_before(records.now - RETENTION, limit)
        removed = 0
        for queue in records.queues.all(task.organisation):
            numbers = expired_tasks(records, queue, limit - removed)
            removed += records.tasks.delete(numbers) if numbers else 0
            if removed >= limit:
                break
        return removed

    def end(self, records: Records, task: Task, outcome: Outcome, log: str) -> None:
        """Settle what was begun; the worker goes with the last of it."""
        [answer] = self._work.settle(records, [Settlement(Hold.of(task), outcome, log)])
        if isinstance(answer, LeaseLost):
            return  # it was taken away meanwhile, or another has it: what was removed is removed
        if isinstance(answer, Exception):
            raise answer
        if task.holder is not None and not records.work.held(task.holder):
            self._work.leave(records, _system(task.organisation), task.holder.partition(":")[2])


def _system(organisation: int) -> Actor:
    return Actor(organisation=organisation, identity="system", name="culler")


def _schedule(name: str, now: datetime) -> NewSchedule:
    every, hour = TIMES[name]
    return NewSchedule(
        name=name,
        timing=Timing.INTERVAL,
        spec=every,
        template=NewTask(type=name, queue=QUEUE, input={"args": []}),
        starts_at=datetime.combine(now.date(), time(hour), now.tzinfo),
    )
