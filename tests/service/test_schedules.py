"""Schedules: what they submit, when, and what they do about instants missed and runs that overlap."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from uuid_utils import uuid7

from taskyard.core.actor import Permission
from taskyard.core.errors import Conflict, Forbidden, Invalid, NotFound, TooLarge
from taskyard.core.outcome import Done, Failed
from taskyard.core.schedule import CatchUp, NewSchedule, Overlap, Schedule, Timing
from taskyard.core.task import NewTask, OnConflict, State, Task
from taskyard.store.postgres import PostgresDatabase
from taskyard.store.sqlite import SqliteDatabase
from taskyard.store.store import Store
from taskyard.store.tasks import TaskFilter

NIGHTLY = {"timing": Timing.CRON, "spec": "0 2 * * *"}
HOURLY = {"timing": Timing.CRON, "spec": "0 * * * *"}


class Calendar:
    """A yard's schedules, and short words for what these tests do all the time."""

    def __init__(self, yard) -> None:
        self.yard = yard
        self.schedules = yard.services.schedules

    def create(self, *, template: NewTask | None = None, **named: Any) -> Schedule:
        named = {"name": "report", **HOURLY, **named}
        new = NewSchedule(template=template or NewTask(type="report"), **named)
        return self.yard.write(self.schedules.create, self.yard.actor, new)

    def fire(self, limit: int = 100) -> int:
        """Do what the scheduler loop does once."""
        return self.yard.write(self.schedules.fire_due, limit)

    def get(self, which: Schedule | str) -> Schedule:
        which = which if isinstance(which, str) else which.id
        return self.yard.read(self.schedules.get, self.yard.actor, which)

    def change(self, schedule: Schedule, **change: Any) -> Schedule:
        return self.yard.write(self.schedules.change, self.yard.actor, schedule.id, change)

    def pause(self, schedule: Schedule) -> Schedule:
        return self.yard.write(self.schedules.pause, self.yard.actor, schedule.id)

    def resume(self, schedule: Schedule) -> Schedule:
        return self.yard.write(self.schedules.resume, self.yard.actor, schedule.id)

    def trigger(self, schedule: Schedule) -> Task:
        return self.yard.write(self.schedules.trigger, self.yard.actor, schedule.id)

    def runs(self, schedule: Schedule) -> list[Task]:
        """Return what the schedule has submitted, oldest first."""
        filter = TaskFilter(schedule=schedule.id)
        return self.yard.read(
            self.yard.services.tasks.search, self.yard.actor, filter, limit=5000, oldest_first=True
        )

    def run_times(self, schedule: Schedule) -> list[str]:
        return [f"{task.run_at:%d %H:%M}" for task in self.runs(schedule)]

    def firings(self, schedule: Schedule) -> list[tuple[str, str]]:
        """Return what came of each instant, oldest first."""
        found = self.yard.read(self.schedules.firings, self.yard.actor, schedule.id, 5000)
        return [(f"{firing.fire_at:%d %H:%M}", firing.outcome) for firing in reversed(found)]

    def events(self, schedule: Schedule) -> list[str]:
        return [kind.removeprefix("schedule.") for kind in self.yard.events(schedule.id)]

    def event(self, schedule: Schedule, kind: str) -> Any:
        [found] = [
            event
            for event in self.yard.read(lambda r: r.events.of_subject(self.yard.organisation, schedule.id))
            if event.kind == f"schedule.{kind}"
        ]
        return found.data

    def finish(self, task: Task, outcome=Done()) -> Task:  # noqa: B008 (frozen)
        worker = self.yard.worker(task.type)
        [claimed] = worker.claim()
        assert claimed.id == task.id
        return self.yard.settle(claimed, outcome)


@pytest.fixture
def calendar(yard, clock) -> Calendar:
    clock.forward(seconds=1)  # noon has just passed, so what fires on the hour has an hour to go
    return Calendar(yard)


# -- fire ----------------------------------------------------------------------------------------------------------------------


def test_a_schedule_submits_its_template_when_its_time_comes(calendar, clock):
    template = NewTask(
        type="report", queue="nightly", input={"to": "ana"}, priority=5, labels={"site": "north"}
    )
    schedule = calendar.create(**NIGHTLY, timezone="Europe/Berlin", template=template)
    assert schedule.next_at == datetime(2026, 3, 2, 1, tzinfo=UTC)

    clock.now = schedule.next_at - timedelta(microseconds=1)
    assert calendar.fire() == 0
    clock.now = schedule.next_at + timedelta(seconds=3)
    assert calendar.fire() == 1

    [task] = calendar.runs(schedule)
    assert (task.type, task.queue, task.input, task.priority) == ("report", "nightly", {"to": "ana"}, 5)
    assert (task.labels, task.schedule, task.state) == ({"site": "north"}, schedule.id, State.READY)
    assert task.run_at == schedule.next_at
    assert task.actor == calendar.yard.actor.identity
    assert calendar.get(schedule).next_at == datetime(2026, 3, 3, 1, tzinfo=UTC)
    assert calendar.get(schedule).last_at == schedule.next_at
    assert calendar.events(schedule) == ["created", "fired"]
    assert calendar.event(schedule, "fired") == {"fire_at": "2026-03-02T01:00:00.000000Z", "task": task.id}


def test_what_it_submits_can_be_claimed_at_once(calendar, clock, yard):
    calendar.create()
    clock.forward(hours=1)
    calendar.fire()

    assert len(yard.worker("report").claim()) == 1


def test_at_fires_once_and_is_over(calendar, clock):
    schedule = calendar.create(timing=Timing.AT, spec="2026-03-01T13:00:00Z")
    clock.forward(hours=1)
    calendar.fire()
    clock.forward(hours=1)

    assert calendar.fire() == 0
    assert calendar.run_times(schedule) == ["01 13:00"]
    assert calendar.get(schedule).next_at is None
    assert calendar.events(schedule) == ["created", "fired", "ended"]


def test_an_interval_without_a_start_fires_at_once_and_then_without_drift(calendar, clock):
    schedule = calendar.create(timing=Timing.INTERVAL, spec="PT1H", overlap=Overlap.ALLOW)
    for late in (0, 7, 3):
        clock.forward(minutes=late)
        calendar.fire()
        clock.forward(minutes=60 - late)

    assert calendar.run_times(schedule) == ["01 12:00", "01 13:00", "01 14:00"]


def test_an_interval_goes_on_from_its_last_instant_when_its_length_changes(calendar, clock):
    schedule = calendar.create(timing=Timing.INTERVAL, spec="PT1H", overlap=Overlap.ALLOW)
    calendar.fire()
    clock.forward(minutes=60)
    calendar.fire()
    clock.forward(minutes=10)

    assert calendar.change(schedule, spec="PT45M").next_at == datetime(2026, 3, 1, 13, 45, 1, tzinfo=UTC)


def test_runs_end_a_schedule(calendar, clock):
    schedule = calendar.create(timing=Timing.INTERVAL, spec="R2/PT1H", overlap=Overlap.ALLOW)
    assert schedule.runs_left == 2
    for _ in range(4):
        calendar.fire()
        clock.forward(hours=1)

    assert calendar.run_times(schedule) == ["01 12:00", "01 13:00"]
    assert calendar.get(schedule).runs_left == 0


def test_ends_at_ends_a_schedule(calendar, clock):
    schedule = calendar.create(ends_at=datetime(2026, 3, 1, 14, tzinfo=UTC), overlap=Overlap.ALLOW)
    for _ in range(4):
        clock.forward(hours=1)
        calendar.fire()

    assert calendar.run_times(schedule) == ["01 13:00", "01 14:00"]
    assert calendar.events(schedule)[-1] == "ended"


def test_starts_at_holds_a_schedule_back(calendar):
    schedule = calendar.create(starts_at=datetime(2026, 3, 5, 0, 30, tzinfo=UTC))

    assert schedule.next_at == datetime(2026, 3, 5, 1, tzinfo=UTC)


def test_due_schedules_beyond_the_limit_wait_for_the_next_call_those_due_longest_first(calendar, clock):
    late, early = calendar.create(name="late", spec="30 * * * *"), calendar.create(name="early")
    clock.forward(hours=2)

    assert calendar.fire(limit=1) == 1
    assert (len(calendar.runs(early)), len(calendar.runs(late))) == (0, 1)
    assert calendar.fire(limit=1) == 1
    assert len(calendar.runs(early)) == 1
    assert calendar.fire(limit=1) == 0


# -- catch up --------------------------------------------------------------------------------------------------------------------


def test_one_makes_up_for_all_that_was_missed_with_a_single_run(calendar, clock):
    schedule = calendar.create(catch_up=CatchUp.ONE)
    clock.forward(hours=3, minutes=30)
    calendar.fire()

    assert calendar.run_times(schedule) == ["01 15:00"]
    assert calendar.firings(schedule) == [
        ("01 13:00", "missed"),
        ("01 14:00", "missed"),
        ("01 15:00", "submitted"),
    ]
    assert calendar.get(schedule).next_at == datetime(2026, 3, 1, 16, tzinfo=UTC)
    assert calendar.event(schedule, "missed") == {
        "from": "2026-03-01T13:00:00.000000Z",
        "before": "2026-03-01T15:00:00.000000Z",
        "count": 2,
        "more": False,
    }


def test_skip_leaves_out_what_was_missed(calendar, clock):
    schedule = calendar.create(catch_up=CatchUp.SKIP)
    clock.forward(hours=3, minutes=30)
    calendar.fire()

    assert calendar.runs(schedule) == []
    assert calendar.firings(schedule) == [(f"01 {hour}:00", "missed") for hour in (13, 14, 15)]
    assert calendar.get(schedule).next_at == datetime(2026, 3, 1, 16, tzinfo=UTC)


def test_skip_takes_what_is_noticed_within_a_minute_for_on_time(calendar, clock):
    schedule = calendar.create(catch_up=CatchUp.SKIP)
    clock.forward(hours=3, seconds=59)
    calendar.fire()

    assert calendar.run_times(schedule) == ["01 15:00"]


def test_all_makes_up_for_each_instant_with_a_run_of_its_own(calendar, clock):
    schedule = calendar.create(catch_up=CatchUp.ALL, overlap=Overlap.ALLOW)
    clock.forward(hours=3, minutes=30)
    calendar.fire()

    assert calendar.run_times(schedule) == ["01 13:00", "01 14:00", "01 15:00"]
    assert calendar.events(schedule) == ["created", "fired", "fired", "fired"]


def test_all_makes_up_for_a_thousand_at_most_and_says_so(calendar, clock):
    schedule = calendar.create(spec="* * * * *", catch_up=CatchUp.ALL, overlap=Overlap.ALLOW)
    clock.forward(minutes=1100)
    calendar.fire()

    runs = calendar.runs(schedule)
    assert len(runs) == 1000
    assert runs[-1].run_at == clock.now - timedelta(seconds=1)
    assert calendar.event(schedule, "missed") == {
        "from": "2026-03-01T12:01:00.000000Z",
        "before": "2026-03-01T13:41:00.000000Z",
        "count": 0,
        "more": True,
    }


def test_one_transaction_makes_up_for_a_thousand_or_so(calendar, clock):
    for name in ("first", "second", "third"):
        calendar.create(name=name, spec="*/2 * * * *", catch_up=CatchUp.ALL, overlap=Overlap.ALLOW)
    clock.forward(minutes=1200)

    assert [calendar.fire(), calendar.fire(), calendar.fire()] == [2, 1, 0]


def test_a_schedule_down_for_a_decade_goes_on_where_it_is(calendar, clock):
    schedule = calendar.create(timing=Timing.INTERVAL, spec="2026-03-01T13:00:00Z/PT1S")
    clock.forward(days=3653)
    calendar.fire()

    assert [task.run_at for task in calendar.runs(schedule)] == [clock.now]
    assert calendar.event(schedule, "missed")["more"] is True


def test_no_more_is_made_up_for_than_runs_are_left(calendar, clock):
    schedule = calendar.create(catch_up=CatchUp.ALL, overlap=Overlap.ALLOW, runs=2)
    clock.forward(hours=5)
    calendar.fire()

    assert calendar.run_times(schedule) == ["01 13:00", "01 14:00"]
    assert calendar.get(schedule).next_at is None


# -- overlap ---------------------------------------------------------------------------------------------------------------------


def test_skip_does_not_fire_while_the_last_run_is_open(calendar, clock):
    schedule = calendar.create(overlap=Overlap.SKIP)
    clock.forward(hours=1)
    calendar.fire()
    clock.forward(hours=1)
    calendar.fire()

    [task] = calendar.runs(schedule)
    assert calendar.firings(schedule) == [("01 13:00", "submitted"), ("01 14:00", "overlapped")]
    assert calendar.event(schedule, "overlapped") == {
        "fire_at": "2026-03-01T14:00:00.000000Z",
        "task": task.id,
    }

    calendar.finish(task)
    clock.forward(hours=1)
    calendar.fire()
    assert calendar.run_times(schedule) == ["01 13:00", "01 15:00"]


def test_an_instant_that_was_not_fired_spends_no_run(calendar, clock):
    schedule = calendar.create(overlap=Overlap.SKIP, runs=2)
    for _ in range(2):
        clock.forward(hours=1)
        calendar.fire()

    assert calendar.get(schedule).runs_left == 1


def test_allow_fires_whatever_is_open(calendar, clock):
    schedule = calendar.create(overlap=Overlap.ALLOW)
    for _ in range(2):
        clock.forward(hours=1)
        calendar.fire()

    assert [task.state for task in calendar.runs(schedule)] == [State.READY, State.READY]


def test_cancel_ends_the_last_run_in_favour_of_the_next(calendar, clock):
    schedule = calendar.create(overlap=Overlap.CANCEL)
    for _ in range(2):
        clock.forward(hours=1)
        calendar.fire()

    assert [task.state for task in calendar.runs(schedule)] == [State.CANCELED, State.READY]


def test_cancel_asks_a_run_that_a_worker_holds_to_stop(calendar, clock, yard):
    schedule = calendar.create(overlap=Overlap.CANCEL)
    clock.forward(hours=1)
    calendar.fire()
    worker = yard.worker("report", lease=timedelta(hours=9))
    [running] = worker.claim()
    clock.forward(hours=1)
    calendar.fire()

    assert [id for id, _, _ in worker.beat()] == [running.id]
    assert [task.state for task in calendar.runs(schedule)] == [State.RUNNING, State.READY]


# -- failures --------------------------------------------------------------------------------------------------------------------


def fail(calendar: Calendar, clock, times: int) -> None:
    for _ in range(times):
        clock.forward(hours=1)
        calendar.fire()
        [task] = [task for task in calendar.runs(calendar.get("report")) if task.is_open]
        calendar.finish(task, Failed("no disk", final=True))


def test_a_schedule_whose_runs_fail_in_a_row_pauses_itself(calendar, clock):
    schedule = calendar.create(failure_threshold=2)
    fail(calendar, clock, 2)
    clock.forward(hours=1)
    calendar.fire()

    paused = calendar.get(schedule)
    assert (paused.paused, paused.next_at) == (True, None)
    assert len(calendar.runs(schedule)) == 2
    assert calendar.firings(schedule)[-1] == ("01 15:00", "paused")
    assert calendar.event(schedule, "paused") == {"reason": "failures", "failures": 2}


def test_a_run_that_succeeds_makes_good_for_those_that_failed(calendar, clock):
    schedule = calendar.create(failure_threshold=2)
    fail(calendar, clock, 1)
    clock.forward(hours=1)
    calendar.fire()
    calendar.finish(calendar.runs(schedule)[-1])
    fail(calendar, clock, 1)
    clock.forward(hours=1)
    calendar.fire()

    assert not calendar.get(schedule).paused
    assert len(calendar.runs(schedule)) == 4


def test_runs_that_were_canceled_count_as_neither(calendar, clock, yard):
    schedule = calendar.create(failure_threshold=2)
    fail(calendar, clock, 1)
    for expected in (False, False):
        clock.forward(hours=1)
        calendar.fire()
        yard.write(yard.services.tasks.cancel_one, yard.actor, calendar.runs(schedule)[-1].id)
        assert calendar.get(schedule).paused is expected
    fail(calendar, clock, 1)
    clock.forward(hours=1)
    calendar.fire()

    assert calendar.get(schedule).paused


def test_a_schedule_that_is_resumed_begins_to_count_anew(calendar, clock):
    schedule = calendar.create(failure_threshold=2)
    fail(calendar, clock, 2)
    clock.forward(hours=1)
    calendar.fire()
    calendar.resume(schedule)
    fail(calendar, clock, 1)
    clock.forward(hours=1)
    calendar.fire()

    assert not calendar.get(schedule).paused


def test_a_task_that_cannot_be_submitted_is_refused_and_the_schedule_goes_on(calendar, clock, yard):
    schedule = calendar.create(template=NewTask(type="report", key="the-report"))
    other = yard.submit("report", key="the-report")
    clock.forward(hours=1)
    calendar.fire()

    assert calendar.firings(schedule) == [("01 13:00", "refused")]
    assert calendar.event(schedule, "refused")["code"] == "key_taken"

    calendar.finish(other)
    clock.forward(hours=1)
    calendar.fire()
    assert calendar.firings(schedule)[-1] == ("01 14:00", "submitted")


def test_a_template_that_returns_the_open_task_of_its_key_points_at_that(calendar, clock, yard):
    template = NewTask(type="report", key="the-report", on_conflict=OnConflict.RETURN)
    schedule = calendar.create(template=template)
    other = yard.submit("report", key="the-report")
    clock.forward(hours=1)
    calendar.fire()

    assert calendar.event(schedule, "fired")["task"] == other.id


def test_a_schedule_that_breaks_pauses_itself_and_blocks_no_other(calendar, clock, yard):
    broken, fine = calendar.create(name="broken"), calendar.create(name="fine")
    no_longer_a_spec = replace(broken, spec="no longer a spec")
    yard.write(lambda records: records.schedules.update(no_longer_a_spec))
    clock.forward(hours=1)

    assert calendar.fire() == 2
    assert len(calendar.runs(fine)) == 1
    assert calendar.get(broken).paused
    assert calendar.events(broken) == ["created", "paused"]
    assert "no longer a spec" in calendar.event(broken, "paused")["detail"]
    assert calendar.fire() == 0


def test_what_a_broken_schedule_had_begun_is_undone(calendar, clock, yard):
    def no_id() -> Iterator[str]:
        yield "first"
        raise RuntimeError("out of ids")

    schedule = calendar.create(catch_up=CatchUp.ALL, overlap=Overlap.ALLOW)
    ids = no_id()
    calendar.schedules._new_id = lambda: next(ids)
    clock.forward(hours=2)
    calendar.fire()

    assert calendar.runs(schedule) == []
    assert calendar.firings(schedule) == []
    assert calendar.events(schedule) == ["created", "paused"]


# -- at most once ------------------------------------------------------------------------------------------------------------------


def test_an_instant_whose_transaction_was_undone_fires_later(calendar, clock, yard):
    schedule = calendar.create()
    clock.forward(hours=1)

    class PowerCut(Exception):
        pass

    def cut_short(records) -> None:
        calendar.schedules.fire_due(records, 10)
        raise PowerCut

    with pytest.raises(PowerCut):
        yard.store.write(cut_short)
    assert calendar.runs(schedule) == []

    clock.forward(seconds=30)
    calendar.fire()
    assert calendar.run_times(schedule) == ["01 13:00"]


def test_a_clock_that_is_set_back_fires_nothing_twice(calendar, clock):
    schedule = calendar.create(overlap=Overlap.ALLOW)
    clock.forward(hours=1)
    calendar.fire()
    clock.forward(minutes=-30)
    calendar.fire()
    calendar.resume(calendar.pause(schedule))  # which looks for the next instant again, and finds the same
    assert calendar.get(schedule).next_at == datetime(2026, 3, 1, 13, tzinfo=UTC)
    clock.forward(minutes=30)
    calendar.fire()

    assert calendar.run_times(schedule) == ["01 13:00"]
    assert calendar.get(schedule).next_at == datetime(2026, 3, 1, 14, tzinfo=UTC)


def another_node(yard, now) -> Store:
    """Return a second store on the yard's database, with a clock of its own."""
    database = yard.store.database
    if isinstance(database, SqliteDatabase):
        return Store(SqliteDatabase(database.path, now))
    return Store(PostgresDatabase(database.url, now=now))


def test_two_nodes_with_clocks_apart_fire_an_instant_once(calendar, clock, yard):
    slow = [clock.now]
    other = another_node(yard, lambda: slow[0])
    schedule = calendar.create(overlap=Overlap.ALLOW)
    clock.forward(hours=1)
    calendar.fire()

    # The other node's clock is an hour behind; there the schedule is changed, and the instant is still to come.
    other.write(lambda r: calendar.schedules.change(r, yard.actor, schedule.id, {"spec": "0 */1 * * *"}))
    slow[0] = clock.now
    fired = other.write(lambda r: calendar.schedules.fire_due(r, 10))
    other.close()

    assert fired == 1
    assert calendar.run_times(schedule) == ["01 13:00"]
    assert calendar.firings(schedule) == [("01 13:00", "submitted")]


def test_two_nodes_at_once_fire_each_instant_once(calendar, clock, yard):
    schedules = [calendar.create(name=f"s{each}") for each in range(5)]
    nodes = [another_node(yard, clock) for _ in range(2)]
    for _ in range(10):
        clock.forward(hours=1)
        answers = [
            node.write_soon(lambda r: calendar.schedules.fire_due(r, 3)) for node in nodes for _ in range(2)
        ]
        for answer in answers:
            answer.result(timeout=60)
    for node in nodes:
        node.close()
    calendar.fire()

    for schedule in schedules:
        times = [time for time, _ in calendar.firings(schedule)]
        assert len(times) == len(set(times)) == 10


# -- pause, resume, trigger, change, delete --------------------------------------------------------------------------------------


def test_a_paused_schedule_does_not_fire_and_goes_on_with_what_is_still_to_come(calendar, clock):
    schedule = calendar.create(catch_up=CatchUp.ALL)
    assert calendar.pause(schedule).next_at is None
    clock.forward(hours=3, minutes=30)
    assert calendar.fire() == 0

    assert calendar.resume(schedule).next_at == datetime(2026, 3, 1, 16, tzinfo=UTC)
    assert calendar.fire() == 0
    assert calendar.events(schedule) == ["created", "paused", "resumed"]


def test_pausing_twice_changes_nothing(calendar):
    schedule = calendar.create()

    assert calendar.pause(schedule).paused
    assert calendar.pause(schedule).paused
    assert calendar.events(schedule) == ["created", "paused"]


def test_a_schedule_may_be_made_paused(calendar, clock):
    schedule = calendar.create(paused=True)
    clock.forward(hours=1)

    assert calendar.fire() == 0
    assert calendar.resume(schedule).next_at == datetime(2026, 3, 1, 14, tzinfo=UTC)


def test_a_trigger_submits_now_even_when_paused_and_overlapping_a_task_per_call(calendar):
    schedule = calendar.create(paused=True, runs=5)
    first, second = calendar.trigger(schedule), calendar.trigger(schedule)

    assert first.id != second.id
    assert [task.schedule for task in (first, second)] == [schedule.id, schedule.id]
    assert calendar.get(schedule).runs_left == 5
    assert calendar.events(schedule) == ["created", "triggered", "triggered"]


def test_a_triggered_run_that_is_open_counts_as_an_overlap(calendar, clock):
    schedule = calendar.create(overlap=Overlap.SKIP)
    calendar.trigger(schedule)
    clock.forward(hours=1)
    calendar.fire()

    assert calendar.firings(schedule) == [("01 13:00", "overlapped")]


def test_a_change_leaves_what_it_does_not_name(calendar):
    schedule = calendar.create(ends_at=datetime(2027, 1, 1, tzinfo=UTC), failure_threshold=3, runs=9)
    changed = calendar.change(schedule, overlap=Overlap.ALLOW, ends_at=None)

    assert changed == replace(schedule, overlap=Overlap.ALLOW, ends_at=None)
    assert calendar.get(schedule) == changed


def test_a_change_of_times_goes_on_from_the_next_instant(calendar, clock):
    schedule = calendar.create()
    clock.forward(minutes=90)  # 13:00 has passed and was not noticed yet
    changed = calendar.change(schedule, **NIGHTLY)

    assert changed.next_at == datetime(2026, 3, 2, 2, tzinfo=UTC)
    assert calendar.fire() == 0


def test_a_change_to_what_already_is_changes_nothing(calendar, clock):
    schedule = calendar.create()
    clock.forward(minutes=90)  # 13:00 is due, and must not be forgotten over this

    assert calendar.change(schedule, **HOURLY, paused=False, runs=None) == schedule
    assert calendar.events(schedule) == ["created"]


def test_runs_are_counted_anew_only_when_a_change_says_how_many(calendar, clock):
    schedule = calendar.create(runs=3, overlap=Overlap.ALLOW)
    clock.forward(hours=1)
    calendar.fire()

    assert calendar.change(schedule, spec="30 * * * *").runs_left == 2
    assert calendar.change(schedule, runs=7).runs_left == 7
    assert calendar.change(schedule, runs=None).runs_left is None
    assert calendar.change(schedule, timing=Timing.INTERVAL, spec="R4/PT1H").runs_left == 4
    assert calendar.change(schedule, spec="PT1H").runs_left is None


def test_a_schedule_that_ended_can_be_given_more_runs(calendar, clock):
    schedule = calendar.create(runs=1)
    clock.forward(hours=1)
    calendar.fire()
    assert calendar.get(schedule).next_at is None

    assert calendar.change(schedule, runs=1).next_at == datetime(2026, 3, 1, 14, tzinfo=UTC)
    clock.forward(hours=1)
    calendar.finish(calendar.runs(schedule)[0])
    calendar.fire()
    assert calendar.run_times(schedule) == ["01 13:00", "01 14:00"]


def test_a_deleted_schedule_is_gone_and_its_tasks_stay(calendar, clock, yard):
    schedule = calendar.create()
    clock.forward(hours=1)
    calendar.fire()
    yard.write(calendar.schedules.delete, yard.actor, "report")
    clock.forward(hours=1)

    assert calendar.fire() == 0
    with pytest.raises(NotFound, match="there is no schedule report"):
        calendar.get("report")
    [task] = calendar.runs(schedule)
    assert task.is_open
    assert calendar.events(schedule)[-1] == "deleted"


def test_a_schedule_is_found_by_its_id_and_by_its_name(calendar, yard):
    schedule = calendar.create()

    assert calendar.get(schedule.id) == calendar.get("report") == schedule
    assert yard.read(calendar.schedules.all, yard.actor) == [schedule]


def test_a_new_schedule_wakes_the_scheduler(calendar, yard):
    heard: list[str] = []
    yard.store.news.subscribe("due", lambda: heard.append("due"))
    schedule = calendar.create()
    calendar.change(schedule, spec="30 * * * *")

    assert heard == ["due", "due"]


# -- refusals ------------------------------------------------------------------------------------------------------------------------


def test_a_name_is_given_once_in_an_organisation(calendar, yard):
    schedule = calendar.create()

    with pytest.raises(Conflict, match="there is a schedule named 'report' already") as refusal:
        calendar.create()
    assert refusal.value.existing == schedule.id
    new = NewSchedule(name="report", template=NewTask(type="report"), **HOURLY)
    assert yard.write(calendar.schedules.create, yard.other_organisation(), new).id != schedule.id


def test_another_organisation_does_not_see_a_schedule(calendar, yard):
    schedule = calendar.create()
    stranger = yard.other_organisation()

    assert yard.read(calendar.schedules.all, stranger) == []
    for move in ("pause", "resume", "delete", "trigger", "get", "firings"):
        with pytest.raises(NotFound):
            yard.write(getattr(calendar.schedules, move), stranger, schedule.id)


@pytest.mark.parametrize(
    ("permission", "moves"),
    [
        (Permission.MANAGE, ["delete"]),
        (Permission.CONTROL, ["trigger", "pause", "resume"]),
        (Permission.READ, ["get", "firings"]),
    ],
)
def test_each_move_needs_its_permission(calendar, yard, permission, moves):
    schedule = calendar.create()
    without = replace(yard.actor, permissions=yard.actor.permissions - {permission})
    only = replace(yard.actor, permissions=frozenset({permission}))

    for move in moves:
        with pytest.raises(Forbidden, match=permission.value):
            yard.write(getattr(calendar.schedules, move), without, schedule.id)
        yard.write(getattr(calendar.schedules, move), only, schedule.id)


@pytest.mark.parametrize(
    ("named", "pointer"),
    [
        ({"name": "two words"}, "/name"),
        ({"spec": "* * *"}, "/spec"),
        ({"timezone": "Mars/Olympus"}, "/timezone"),
        ({"timing": Timing.AT, "spec": "2026-03-01T11:59:59Z"}, "/spec"),
        ({"ends_at": datetime(2026, 3, 1, 12, 30, tzinfo=UTC)}, "/spec"),
        (
            {"starts_at": datetime(2027, 1, 1, tzinfo=UTC), "ends_at": datetime(2026, 12, 1, tzinfo=UTC)},
            "/ends_at",
        ),
        ({"runs": 0}, "/runs"),
        ({"runs": 2, "timing": Timing.INTERVAL, "spec": "R3/PT1H"}, "/runs"),
        ({"failure_threshold": 0}, "/failure_threshold"),
        ({"template": NewTask(type="two words")}, "/template/type"),
        ({"template": NewTask(type="report", priority=10_000)}, "/template/priority"),
        ({"template": NewTask(type="report", run_at=datetime(2027, 1, 1, tzinfo=UTC))}, "/template/run_at"),
        ({"template": NewTask(type="report", id=str(uuid7()))}, "/template/id"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_asked_for(calendar, yard, named, pointer):
    with pytest.raises(Invalid) as refusal:
        calendar.create(**named)
    assert refusal.value.faults[0].pointer == pointer
    assert yard.read(calendar.schedules.all, yard.actor) == []


def test_a_template_that_is_too_large_is_refused(calendar):
    with pytest.raises(TooLarge, match="the template's input"):
        calendar.create(template=NewTask(type="report", input="x" * 2_000_000))


def test_a_refused_change_leaves_the_schedule_as_it_was(calendar):
    schedule = calendar.create()

    with pytest.raises(Invalid):
        calendar.change(schedule, spec="61 * * * *", overlap=Overlap.ALLOW)
    with pytest.raises(Invalid, match="a schedule has no name to change"):
        calendar.change(schedule, name="other")
    assert calendar.get(schedule) == schedule


# -- beside schedules ------------------------------------------------------------------------------------------------------------------


def test_a_task_delayed_ten_times_its_lease_runs_once(yard, clock):
    lease = timedelta(seconds=30)
    task = yard.submit("resize", run_at=clock.now + 10 * lease)
    worker = yard.worker("resize", lease=lease)
    claimed = []
    for _ in range(12):
        clock.forward(seconds=29)
        worker.beat()
        yard.due()
        yard.reap()
        claimed += worker.claim()
    assert [each.id for each in claimed] == [task.id]
    yard.settle(claimed[0], Done())

    assert yard.events(task.id).count("task.started") == 1
    assert yard.get(task).claims == 1
