"""The loops every server runs, on a real store: scheduler, reaper, janitor."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from taskyard.core.outcome import Done
from taskyard.core.queue import QueueSettings
from taskyard.core.schedule import NewSchedule, Overlap, Timing
from taskyard.core.task import NewTask, State
from taskyard.loops import janitor as janitor_module
from taskyard.loops.janitor import Janitor
from taskyard.loops.reaper import AT_MOST_EVERY, Reaper
from taskyard.loops.scheduler import AGAIN, LONGEST, Scheduler
from taskyard.loops.supervisor import Supervisor, server_loops
from taskyard.service.janitor import Keep
from taskyard.service.tasks import Tasks
from taskyard.store.accounts import Reply
from taskyard.store.postgres import PostgresDatabase
from taskyard.store.records import Records
from taskyard.store.sqlite import SqliteDatabase
from taskyard.store.store import Store
from taskyard.store.tasks import TaskFilter

#: No test waits this long unless it fails.
LONG = 30


class Until:
    """Waits, on the news of some stores, until something is so."""

    def __init__(self, *stores: Store) -> None:
        self._news = threading.Event()
        self._ends = [store.news.subscribe("", self._news.set) for store in stores]

    def __call__(self, is_so: Callable[[], bool]) -> None:
        for _ in range(1000):
            self._news.clear()
            if is_so():
                return
            assert self._news.wait(LONG), "nothing happens any more"
        raise AssertionError("a thousand other things happened")

    def end(self) -> None:
        for end in self._ends:
            end()


@pytest.fixture
def until(yard) -> Iterator[Until]:
    until = Until(yard.store)
    yield until
    until.end()


@pytest.fixture
def running(yard, clock) -> Iterator[Supervisor]:
    with server_loops(yard.store, yard.services, now=clock, jitter=lambda: 0.0) as supervisor:
        yield supervisor


def wake(supervisor: Supervisor, name: str) -> None:
    """Do what time would have done: the clock of the tests is set, that of the loops goes on."""
    [loop] = [loop for loop in supervisor._loops if loop.name == name]
    loop.wake()


def create(yard, **named: Any) -> Any:
    new = NewSchedule(
        **{"name": "report", "template": NewTask(type="report"), "overlap": Overlap.ALLOW, **named}
    )
    return yard.write(yard.services.schedules.create, yard.actor, new)


def runs(yard, schedule) -> list[Any]:
    filter = TaskFilter(schedule=schedule.id)
    return yard.read(yard.services.tasks.search, yard.actor, filter, limit=1000, oldest_first=True)


# -- the scheduler -----------------------------------------------------------------------------------------------------------


def test_a_delayed_task_becomes_ready_when_its_time_comes(yard, clock, running, until):
    task = yard.submit(run_at=clock.now + timedelta(hours=1))
    clock.forward(hours=1)
    wake(running, "scheduler")

    until(lambda: yard.get(task).state is State.READY)


def test_a_task_that_is_not_started_in_time_fails(yard, clock, running, until):
    task = yard.submit(start_by=clock.now + timedelta(hours=1))
    clock.forward(hours=1)
    wake(running, "scheduler")

    until(lambda: yard.get(task).state is State.FAILED)
    assert yard.get(task).reason == "expired"


def test_news_of_something_due_wakes_the_scheduler(yard, clock, until, monkeypatch):
    monkeypatch.setattr("taskyard.loops.scheduler.LONGEST", timedelta(hours=1))
    with server_loops(yard.store, yard.services, now=clock, jitter=lambda: 0.0):
        for each in range(10):
            schedule = create(yard, name=f"s{each}", timing=Timing.INTERVAL, spec="PT1H")
            until(lambda schedule=schedule: len(runs(yard, schedule)) == 1)


def test_idle_the_scheduler_sleeps_until_the_next_instant_but_not_for_long(yard, clock):
    scheduler = Scheduler(yard.store, yard.services)
    assert scheduler.tick() == LONGEST

    yard.submit(run_at=clock.now + timedelta(hours=1))
    assert scheduler.tick() == LONGEST
    yard.submit(run_at=clock.now + timedelta(seconds=3))
    assert scheduler.tick() == timedelta(seconds=3)
    clock.forward(seconds=3)
    assert scheduler.tick() == timedelta(0)
    assert scheduler.tick() == LONGEST


class Stuck(Tasks):
    """Tasks that never become due: another node is at them."""

    def become_due(self, records: Records, limit: int) -> int:
        return 0


class Faulty(Tasks):
    """Tasks whose becoming due has a fault."""

    def become_due(self, records: Records, limit: int) -> int:
        raise RuntimeError("a fault of ours")


def test_a_move_that_fails_does_not_hold_up_the_others(yard, clock):
    schedule = create(yard, timing=Timing.INTERVAL, spec="PT1H")
    task = yard.submit(run_at=clock.now + timedelta(seconds=1))
    clock.forward(seconds=1)

    with pytest.raises(RuntimeError, match="a fault of ours"):
        Scheduler(yard.store, replace(yard.services, tasks=Faulty(str))).tick()
    assert len(runs(yard, schedule)) == 1
    assert yard.get(task).state is State.SCHEDULED


def test_what_is_due_but_cannot_be_moved_is_looked_at_again_only_after_a_while(yard, clock):
    yard.submit(run_at=clock.now + timedelta(seconds=1))
    clock.forward(seconds=1)

    assert Scheduler(yard.store, replace(yard.services, tasks=Stuck(str))).tick() == AGAIN


def test_loops_of_two_nodes_fire_each_instant_once(yard, clock):
    database = yard.store.database
    if isinstance(database, SqliteDatabase):
        other = Store(SqliteDatabase(database.path, clock))
    else:
        other = Store(PostgresDatabase(database.url, now=clock))
    until = Until(yard.store, other)
    schedule = create(yard, timing=Timing.INTERVAL, spec="PT1H")
    nodes = [
        server_loops(store, yard.services, now=clock, jitter=lambda: 0.0) for store in (yard.store, other)
    ]
    for node in nodes:
        node.start()
    for count in range(1, 11):
        for node in nodes:
            wake(node, "scheduler")
        until(lambda count=count: len(runs(yard, schedule)) >= count)
        clock.forward(hours=1)
    for node in nodes:
        assert node.stop()
    other.close()

    hours = [task.run_at for task in runs(yard, schedule)]
    assert len(hours) == len(set(hours)) >= 10


# -- the reaper ----------------------------------------------------------------------------------------------------------------


def test_what_a_dead_worker_held_is_given_back(yard, clock, running, until):
    task = yard.submit()
    [held] = yard.worker().claim()
    assert held.id == task.id
    clock.forward(minutes=1)
    wake(running, "reaper")

    until(lambda: yard.get(task).state is State.READY)
    assert "task.lost" in yard.events(task.id)


def test_the_reaper_comes_back_at_once_while_there_is_more(yard, clock, monkeypatch):
    monkeypatch.setattr("taskyard.loops.reaper.BATCH", 1)
    yard.submit()
    yard.worker().claim()
    clock.forward(minutes=1)
    reaper = Reaper(yard.store, yard.services, every=timedelta(seconds=7))

    assert reaper.tick() == timedelta(0)
    assert reaper.tick() == timedelta(seconds=7)


def test_the_reaper_is_there_when_the_first_lease_runs_out(yard, clock):
    """A dead worker's tasks are late by its lease, and not by the reaper's pace besides."""
    reaper = Reaper(yard.store, yard.services, every=timedelta(seconds=30))
    assert reaper.tick() == timedelta(seconds=30)
    yard.worker(lease=timedelta(seconds=20))
    clock.forward(seconds=5)
    assert reaper.tick() == timedelta(seconds=15)
    yard.worker(lease=timedelta(seconds=4))
    assert reaper.tick() == timedelta(seconds=4)

    clock.forward(seconds=4)
    assert reaper.tick() == AT_MOST_EVERY  # at the very end of a lease it still stands
    clock.forward(milliseconds=100)
    assert reaper.tick() == timedelta(seconds=10.9)


def test_a_worker_that_comes_while_the_reaper_sleeps_wakes_it(yard, clock):
    """Its lease may be shorter than the sleep."""
    supervisor = server_loops(yard.store, yard.services, now=clock, jitter=lambda: 0.0)
    [reaper] = [loop for loop in supervisor._loops if loop.name == "reaper"]
    ticked = threading.Semaphore(0)
    tick, reaper._tick = reaper._tick, lambda: (tick(), ticked.release())[0]
    with supervisor:
        assert ticked.acquire(timeout=LONG)
        yard.worker()
        assert ticked.acquire(timeout=LONG)


# -- the janitor ---------------------------------------------------------------------------------------------------------------


def sweep(yard, keep: Keep = Keep()) -> int:  # noqa: B008 (frozen)
    """Tick until nothing more is to be done; return how often that was."""
    janitor = Janitor(yard.store, keep)
    for ticks in range(1, 1000):
        if janitor.tick() == janitor_module.EVERY:
            return ticks
    raise AssertionError("the janitor comes to no end")


def ended(yard, **named: Any) -> Any:
    yard.submit("brief", **named)
    [claimed] = yard.worker("brief", queue=named.get("queue", "default")).claim()
    return yard.settle(claimed, Done(), log="hello")


def exists(yard, task) -> bool:
    return yard.read(lambda r: r.tasks.get(yard.organisation, task.id)) is not None


def test_ended_tasks_are_kept_as_long_as_their_queue_says(yard, clock):
    settings = QueueSettings(retention=timedelta(days=1))
    yard.write(lambda r: r.queues.insert(yard.organisation, "short", settings, r.now))
    short, long = ended(yard, queue="short"), ended(yard)

    clock.forward(days=1)
    sweep(yard)
    assert exists(yard, short)
    clock.forward(seconds=1)
    sweep(yard)
    assert not exists(yard, short)
    assert exists(yard, long)
    clock.forward(days=30)
    sweep(yard)
    assert not exists(yard, long)


def test_what_a_deleted_queue_leaves_is_removed_in_time_too(yard, clock):
    left, others = ended(yard, queue="gone"), ended(yard, queue="kept")
    yard.write(yard.services.queues.delete, yard.actor, "gone")

    clock.forward(days=1)
    sweep(yard)
    assert exists(yard, left)
    clock.forward(days=30)
    sweep(yard)
    assert not exists(yard, left)
    assert not exists(yard, others)


def test_open_tasks_are_kept_however_old_they_are(yard, clock):
    waiting, delayed = yard.submit(), yard.submit(run_at=clock.now + timedelta(days=5000))
    clock.forward(days=4000)
    sweep(yard)

    assert exists(yard, waiting)
    assert exists(yard, delayed)


def test_what_hangs_on_a_task_goes_with_it(yard, clock):
    task = ended(yard, labels={"site": "north"})
    clock.forward(days=31)
    sweep(yard)

    assert yard.read(lambda r: r.tasks.logs(task.number)) == []
    assert (
        yard.read(lambda r: r.tasks.search(yard.organisation, TaskFilter(labels={"site": "north"}), limit=1))
        == []
    )


def test_much_is_removed_in_small_parts(yard, clock, monkeypatch):
    monkeypatch.setattr(janitor_module, "BATCH", 3)
    tasks = [ended(yard) for _ in range(7)]
    clock.forward(days=31)

    assert sweep(yard, Keep(events=timedelta(days=1000))) == 3
    assert not any(exists(yard, task) for task in tasks)


def test_old_events_are_forgotten_and_new_ones_kept(yard, clock):
    task = yard.submit()
    clock.forward(days=31)
    fresh = yard.submit()
    sweep(yard)

    assert yard.events(task.id) == []
    assert yard.events(fresh.id) == ["task.submitted"]


def test_replies_are_kept_for_more_than_a_day(yard, clock):
    reply = Reply(fingerprint="f", status=201, body="{}", headers={})
    yard.write(lambda r: r.accounts.keep_reply(yard.organisation, "k", reply, r.now))

    clock.forward(hours=25)
    sweep(yard)
    assert yard.read(lambda r: r.accounts.reply(yard.organisation, "k")) == reply
    clock.forward(hours=24)
    sweep(yard)
    assert yard.read(lambda r: r.accounts.reply(yard.organisation, "k")) is None


def test_old_signals_and_firings_are_forgotten(yard, clock):
    yard.write(yard.services.tasks.send, yard.actor, "approved", {"by": "ana"})
    schedule = create(yard, timing=Timing.INTERVAL, spec="R1/PT1H")
    yard.write(yard.services.schedules.fire_due, 10)

    clock.forward(days=31)
    sweep(yard)
    assert yard.read(lambda r: r.work.signal(yard.organisation, "approved")) is None
    assert len(yard.read(lambda r: r.schedules.firings(schedule.id))) == 1
    clock.forward(days=60)
    sweep(yard)
    assert yard.read(lambda r: r.schedules.firings(schedule.id)) == []


def test_workers_that_are_gone_are_forgotten_and_those_that_live_are_not(yard, clock):
    dead, alive = yard.worker(), yard.worker(lease=timedelta(days=3))
    clock.forward(minutes=1)
    yard.reap()
    clock.forward(hours=25)
    sweep(yard)

    known = [worker.id for worker in yard.read(lambda r: r.workers.all(yard.organisation))]
    assert dead.id not in known
    assert alive.id in known


def test_a_worker_that_is_said_to_hold_something_is_not_forgotten(yard, clock):
    """Its row is what a rescue goes by, should it ever have ended without giving back what it held."""
    yard.submit()
    worker = yard.worker()
    [task] = worker.claim()
    yard.write(lambda records: records.workers.end(worker.id, "gone", records.now))
    clock.forward(days=3)
    sweep(yard)

    known = [each.id for each in yard.read(lambda r: r.workers.all(yard.organisation))]
    assert yard.get(task).holder == f"worker:{worker.id}"
    assert worker.id in known


def test_the_locks_of_concurrency_keys_go_when_nothing_counts_on_them(yard):
    yard.submit(concurrency_key="printer")
    ended(yard, concurrency_key="scanner")
    sweep(yard)

    # The key that is in use still bounds who may start.
    assert yard.submit(concurrency_key="printer").state is State.SUSPENDED
    assert yard.submit(concurrency_key="scanner").state is State.READY
    assert yard.write(lambda r: r.work.forget_concurrency_keys(10)) == 0


# -- together --------------------------------------------------------------------------------------------------------------------


class Counted:
    """A database that counts the questions it is asked; everything else is the database's own."""

    QUESTIONS = frozenset({"rows", "row", "run", "rows_for_each", "rows_to_come"})

    def __init__(self, inner: Any, counts: list[str]) -> None:
        self._inner, self._counts = inner, counts

    def connect(self, *, writes: bool) -> Any:
        return Counted(self._inner.connect(writes=writes), self._counts)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self.QUESTIONS:
            return found

        def counted(statement: str, *args: Any, **named: Any) -> Any:
            self._counts.append(statement)
            return found(statement, *args, **named)

        return counted


def test_idle_all_loops_together_ask_less_than_one_question_a_second(yard):
    asked: list[str] = []
    store = Store(Counted(yard.store.database, asked))
    per_second = 0.0
    for loop in (
        Scheduler(store, yard.services),
        Reaper(store, yard.services),
        Janitor(store, Keep()),
    ):
        asked.clear()
        delay = loop.tick()
        per_second += len(asked) / delay.total_seconds()

    assert 0 < per_second <= 0.5  # the workers have a budget too


def test_loops_live_on_when_the_store_is_closed_under_them(yard, clock):
    with capture_logs():
        supervisor = server_loops(yard.store, yard.services, now=clock, jitter=lambda: 0.0)
        supervisor.start()
        yard.store._writer.close()
        wake(supervisor, "reaper")

        assert all(pulse.alive for pulse in supervisor.health())
        assert supervisor.stop()
