"""
What a schedule does when its time has come.

Each instant is taken once: its row in ``firings`` is unique, so of two who fire the same one the second does nothing, also when
a clock was set back and the instant comes round again.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import TaskyardError, Unavailable
from taskyard.core.schedule import CatchUp, Overlap, Schedule
from taskyard.core.task import Json, State
from taskyard.service.tasks import Tasks
from taskyard.service.timetable import Timetable, parse
from taskyard.store.records import Records

#: What is noticed within this of its instant is on time: a restart takes that long, and misses nothing.
ON_TIME: Final = timedelta(minutes=1)
#: How many missed instants are made up for at most, and noted one by one.
MAX_CATCH_UP: Final = 1000
#: How many canceled runs, which count as neither, are looked past to find those that failed in a row.
MOST_CANCELED: Final = 100


def timetable_of(schedule: Schedule) -> Timetable:
    return Timetable(
        spec=parse(schedule.timing, schedule.spec, schedule.timezone),
        # The last instant is one of the grid, so an interval without a start goes on from it, also when its length changes.
        anchor=schedule.starts_at or schedule.last_at or schedule.created_at,
        starts_at=schedule.starts_at,
        ends_at=schedule.ends_at,
    )


def note(records: Records, what: str, schedule: Schedule, data: Json = None) -> None:
    """Append the event ``schedule.<what>``."""
    records.events.append(
        f"schedule.{what}",
        organisation=schedule.organisation,
        subject=schedule.id,
        at=records.now,
        queue=schedule.template.queue,
        type=schedule.template.type,
        data=data,
    )


def fire_due(records: Records, tasks: Tasks, new_id: Callable[[], str], limit: int) -> int:
    """
    Do what up to *limit* schedules are due to do, fewer when they submit much; return how many it were.

    One that cannot do what it should is paused, and says why.
    """
    handled = submitted = 0
    for schedule in records.schedules.due(records.now, limit):
        if submitted >= MAX_CATCH_UP:
            break  # enough for one transaction; the others are still due
        handled += 1
        mark, news = records.events.mark(), set(records.news)
        try:
            with records.connection.savepoint():
                submitted += _Firing(records, tasks, new_id, schedule).go()
        except Unavailable:
            raise
        except Exception as error:
            # A fault of one must stop neither the others nor, by being due again at once for ever, the whole loop.
            records.events.forget(mark)
            records.news = news
            _pause(records, schedule, {"reason": "error", "detail": f"{type(error).__name__}: {error}"})
    return handled


def _pause(records: Records, schedule: Schedule, why: Json) -> None:
    records.schedules.update(replace(schedule, paused=True, next_at=None, updated_at=records.now))
    note(records, "paused", schedule, why)


class _Firing:
    """One schedule that is due, in one transaction."""

    def __init__(self, records: Records, tasks: Tasks, new_id: Callable[[], str], schedule: Schedule) -> None:
        self._records = records
        self._tasks = tasks
        self._new_id = new_id
        self._schedule = schedule
        self._actor = Actor(
            organisation=schedule.organisation,
            identity=schedule.actor,
            permissions=frozenset({Permission.SUBMIT, Permission.CONTROL}),
        )

    def go(self) -> int:
        """Do what is due; return how many tasks were submitted."""
        records, schedule, now = self._records, self._schedule, self._records.now
        assert schedule.next_at is not None
        timetable = timetable_of(schedule)
        passed, more = timetable.newest(schedule.next_at, now, MAX_CATCH_UP)
        wanted = _wanted(schedule.catch_up, passed, now)
        if more or len(wanted) < len(passed):
            self._miss(passed[: len(passed) - len(wanted)], wanted, more)
        if wanted and self._fails_again_and_again():
            self._give_up(wanted[-1])
            return 0
        submitted = 0
        for instant in wanted:
            if submitted == schedule.runs_left:
                break
            submitted += self._fire(instant)
        runs_left = None if schedule.runs_left is None else schedule.runs_left - submitted
        next_at = None if runs_left == 0 else timetable.after(now)
        last_at = passed[-1] if passed else schedule.last_at
        records.schedules.update(
            replace(schedule, next_at=next_at, last_at=last_at, runs_left=runs_left, updated_at=now)
        )
        if next_at is None:
            note(records, "ended", schedule)
        return submitted

    def _miss(self, missed: Sequence[datetime], wanted: Sequence[datetime], more: bool) -> None:
        """Note what is not made up for; *more* says that there were still older ones, passed over uncounted."""
        for instant in missed:
            self._take(instant, "missed")
        assert self._schedule.next_at is not None
        data: dict[str, Json] = {
            "from": _shown(self._schedule.next_at),
            "before": _shown(wanted[0] if wanted else self._records.now),
            "count": len(missed),
            "more": more,
        }
        note(self._records, "missed", self._schedule, data)

    def _take(self, instant: datetime, outcome: str) -> bool:
        return self._records.schedules.fire(
            self._schedule.id, instant, task=None, outcome=outcome, now=self._records.now
        )

    def _fire(self, instant: datetime) -> bool:
        """Do what is to be done at *instant*; say whether a task was submitted."""
        records, schedule = self._records, self._schedule
        if not self._take(instant, "submitted"):
            return False
        data: dict[str, Json] = {"fire_at": _shown(instant)}
        canceled = None
        newest = records.schedules.newest_task(schedule.id)
        if newest is not None and newest.is_open:
            match schedule.overlap:
                case Overlap.ALLOW:
                    pass
                case Overlap.SKIP:
                    records.schedules.note(schedule.id, instant, task=None, outcome="overlapped")
                    note(records, "overlapped", schedule, {**data, "task": newest.id})
                    return False
                case Overlap.CANCEL:
                    canceled = self._tasks.cancel_one(records, self._actor, newest.id)
                case _:
                    assert_never(schedule.overlap)
        # The instant is the task's run_at: a handler that makes up for a missed night can tell which night.
        new = replace(schedule.template, id=self._new_id(), schedule=schedule.id, run_at=instant)
        try:
            task = self._tasks.submit_one(records, self._actor, new)
        except Unavailable:
            raise
        except TaskyardError as refusal:
            records.schedules.note(schedule.id, instant, task=None, outcome="refused")
            note(records, "refused", schedule, {**data, "code": refusal.code, "detail": str(refusal)})
            return False
        records.schedules.note(schedule.id, instant, task=task.id, outcome="submitted")
        note(
            records,
            "fired",
            schedule,
            {**data, "task": task.id, **({"canceled": canceled.id} if canceled else {})},
        )
        return True

    def _fails_again_and_again(self) -> bool:
        """Say whether as many runs in a row as the threshold have failed since the schedule last paused itself."""
        threshold = self._schedule.failure_threshold
        if threshold is None:
            return False
        failed = 0
        for outcome, state in self._records.schedules.last_runs(self._schedule.id, threshold + MOST_CANCELED):
            if outcome == "paused" or state in (None, State.SUCCEEDED):
                return False
            failed += state is State.FAILED
            if failed == threshold:
                return True
        return False

    def _give_up(self, instant: datetime) -> None:
        self._take(instant, "paused")
        schedule = replace(self._schedule, last_at=instant)
        _pause(self._records, schedule, {"reason": "failures", "failures": schedule.failure_threshold})


def _wanted(catch_up: CatchUp, passed: Sequence[datetime], now: datetime) -> Sequence[datetime]:
    """Return which of the instants that have passed are to be fired: always the last of them."""
    match catch_up:
        case CatchUp.ALL:
            return passed
        case CatchUp.ONE:
            return passed[-1:]
        case CatchUp.SKIP:
            return [instant for instant in passed[-1:] if now - instant <= ON_TIME]
        case _:
            assert_never(catch_up)


def _shown(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
