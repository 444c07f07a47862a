"""
A small world on one thread: server nodes, workers, people and clients on one real SQLite file, all driven by one seed.

Everything that could differ between two runs (time, randomness, ids, who goes next, what breaks) comes from the
seed, so that a failure is reproduced by its number. Taskyard itself knows nothing of this: services, SQL and
transactions are the real ones.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from taskyard.core.actor import Actor
from taskyard.core.errors import LeaseLost, TaskyardError
from taskyard.core.outcome import Done, Failed, Later, Outcome, Released, Stopped, Waits
from taskyard.core.queue import Kind, QueueSettings, RateLimit
from taskyard.core.schedule import CatchUp, NewSchedule, Overlap, Timing
from taskyard.core.task import NewTask, OnConflict, State, Task
from taskyard.core.times import to_micros
from taskyard.core.worker import Lane
from taskyard.service.services import Services, build_services
from taskyard.service.tasks import Submission
from taskyard.service.work import Hold, Settlement
from taskyard.store.engine import Row, Value
from taskyard.store.records import Records
from taskyard.store.sqlite import SqliteDatabase
from taskyard.store.sqlite.engine import SqliteConnection
from tests.simulation.checks import Checker, must

START = datetime(2026, 1, 1, tzinfo=UTC)
LEASE = timedelta(seconds=30)
QUEUES = ("fast", "slow", "limited", "rated", "people")
TYPES = ("a", "b")
LANES = [Lane(queue, type) for queue in QUEUES[:-1] for type in TYPES]
TABLES = [
    "tasks",
    "labels",
    "blockers",
    "signals",
    "results",
    "steps",
    "logs",
    "events",
    "workers",
    "schedules",
    "firings",
    "queues",
    "replies",
    "concurrency_keys",
    "organisations",
]


class Crash(Exception):
    """The process died here: what was not committed is gone, and nobody was answered."""


class CrashingConnection:
    """A connection that dies before the n-th statement, when told to."""

    def __init__(self, inner: SqliteConnection) -> None:
        self.inner = inner
        self.statements_left: int | None = None

    def _count(self) -> None:
        if self.statements_left is not None:
            if self.statements_left == 0:
                raise Crash
            self.statements_left -= 1

    def rows(self, statement: str, /, *conditions: str, **values: Value) -> list[Row]:
        self._count()
        return self.inner.rows(statement, *conditions, **values)

    def row(self, statement: str, /, *conditions: str, **values: Value) -> Row | None:
        self._count()
        return self.inner.row(statement, *conditions, **values)

    def run(self, statement: str, /, **values: Value) -> int:
        self._count()
        return self.inner.run(statement, **values)

    def rows_for_each(self, statement: str, given: Sequence[Mapping[str, Value]], /) -> list[Row]:
        self._count()
        return self.inner.rows_for_each(statement, given)

    def now(self) -> datetime:
        return self.inner.now()

    def savepoint(self) -> Any:
        return self.inner.savepoint()

    def transaction(self) -> Any:
        return self.inner.transaction()

    def snapshot(self) -> Any:
        return self.inner.snapshot()

    def close(self) -> None:
        self.inner.close()


@dataclass
class SimulatedWorker:
    """A worker process: what it believes it holds may long be another's."""

    id: str | None = None
    holds: list[Task] = field(default_factory=list)
    paused: bool = False


@dataclass
class Disk:
    """One database that many histories use in turn: making a schema costs more than a history's first moves."""

    path: Path

    def __post_init__(self) -> None:
        self.now = START
        self.changed: list[int] = []
        database = SqliteDatabase(self.path, lambda: self.now)
        database.migrate()
        inner = database.connect(writes=True)
        self.raw = inner._raw
        self.raw.execute(
            "PRAGMA synchronous = OFF"
        )  # a simulated crash is an exception; power cuts have tests of their own
        self.raw.set_update_hook(self._hear)
        self.connection = CrashingConnection(inner)
        self.records = Records(self.connection)

    def _hear(self, _kind: int, _database: str, table: str, row: int) -> None:
        if table == "tasks":
            self.changed.append(row)

    def wipe(self) -> None:
        self.raw.execute("BEGIN; " + "; ".join(f"DELETE FROM {table}" for table in TABLES))
        self.raw.execute("DELETE FROM sqlite_sequence; COMMIT")
        self.changed.clear()


class World:
    def __init__(
        self, seed: int, disk: Disk, *, sabotage: Callable[[Services], None] = lambda _: None
    ) -> None:
        self.rng = random.Random(seed)
        self.disk = disk
        disk.now = START
        disk.wipe()
        self._ids = 0
        self.nodes: list[Services] = [build_services(self.new_id, self.rng.random) for _ in range(2)]
        for node in self.nodes:
            sabotage(node)
        self.workers = [SimulatedWorker() for _ in range(3)]
        self.settled_before: list[Settlement] = []
        self.faults = False
        number = self.transact(lambda r: r.accounts.insert_organisation("sim", "Sim", {}, r.now))
        self.checker = Checker(number)
        self.actor = Actor(organisation=number, identity="key:1")
        self.people = [Actor(organisation=number, identity=f"user:{each}", number=each) for each in (1, 2)]
        self.held_by_people: list[Task] = []
        self.unsent: set[str] = set()
        self._events = 0
        self._first: datetime | None = None
        self.instants: dict[str, set[datetime]] = {}
        self._set_up()
        self.faults = True

    def _set_up(self) -> None:
        def queues(r: Records) -> None:
            rate = RateLimit(count=5, period=timedelta(seconds=20))
            for name, settings in {
                "limited": QueueSettings(concurrency=2),
                "rated": QueueSettings(rate=rate),
                "people": QueueSettings(kind=Kind.HUMAN, lease=timedelta(seconds=60)),
            }.items():
                r.queues.insert(self.checker.organisation, name, settings, r.now)

        self.transact(queues)
        if self.rng.random() < 0.5:
            new = NewSchedule(
                name="beat",
                timing=Timing.INTERVAL,
                spec="PT30S",
                template=NewTask(type="a", queue="fast"),
                catch_up=CatchUp.ALL,
                overlap=Overlap.ALLOW,
            )
            schedule = self.transact(lambda r: self.node.schedules.create(r, self.actor, new))
            self.instants[schedule.id] = set()
            self._first = schedule.next_at

    # -- the machinery --------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return self.disk.now

    @property
    def node(self) -> Services:
        return self.rng.choice(self.nodes)

    def new_id(self) -> str:
        self._ids += 1
        return str(UUID(int=((to_micros(self.disk.now) // 1000) << 80) | (7 << 76) | (2 << 62) | self._ids))

    def transact(self, work: Callable[[Records], Any]) -> Any:
        """Run *work* as one commit; with faults on it may die at any statement, or after the commit and before the answer."""
        records, connection = self.disk.records, self.disk.connection
        if self.faults and self.rng.random() < 0.03:
            connection.statements_left = self.rng.randrange(12)
        self.disk.changed.clear()
        records.begin()
        try:
            with connection.transaction():
                answer = work(records)
                records.end()
        finally:
            connection.statements_left = None
        if hasattr(self, "checker"):
            with self._reading():
                self.checker.after_commit(records, self.disk.changed, self.now)
        if self.faults and self.rng.random() < 0.02:
            raise Crash  # the answer never arrives
        return answer

    @contextmanager
    def _reading(self) -> Iterator[None]:
        changed = list(self.disk.changed)
        with self.disk.connection.snapshot():
            self.disk.changed[:] = changed
            yield

    def step(self) -> str:
        """Let somebody do something."""
        move = self.rng.choices(_MOVES, _WEIGHTS)[0]
        try:
            move(self)
        except Crash:
            return f"{move.__name__} (crashed)"
        except TaskyardError as refusal:
            return f"{move.__name__} ({refusal.code})"
        return move.__name__

    # -- what clients do ------------------------------------------------------------------------------------------------------

    def submits(self) -> None:
        news = [self._new_task() for _ in range(self.rng.choice((1, 1, 1, 2, 5)))]
        answers = self.transact(
            lambda r: self.node.tasks.submit(r, [Submission(self.actor, new) for new in news])
        )
        for answer in answers:
            if isinstance(answer, Task):
                self.checker.acknowledge(answer)

    def _new_task(self) -> NewTask:
        rng = self.rng
        new = NewTask(type=rng.choice(TYPES), queue=rng.choice(QUEUES), priority=rng.choice((0, 0, 5)))
        dice = rng.random()
        if dice < 0.2:
            new = replace(new, run_at=self.now + timedelta(seconds=rng.uniform(0, 90)))
        elif dice < 0.35:
            new = replace(new, concurrency_key=rng.choice("kl"), concurrency_limit=rng.choice((1, 2)))
        elif dice < 0.45:
            new = replace(new, key=rng.choice("xyz"), on_conflict=rng.choice(list(OnConflict)))
        elif dice < 0.55:
            new = replace(new, start_by=self.now + timedelta(seconds=rng.uniform(1, 120)))
        elif dice < 0.7 and self.checker.acknowledged:
            some = rng.choices(list(self.checker.acknowledged), k=2)
            new = replace(new, blocked_by=tuple(some))
        return replace(new, max_failures=rng.choice((1, 2, 5)))

    def cancels(self) -> None:
        if not self.checker.acknowledged:
            return
        id = self.rng.choice(list(self.checker.acknowledged))
        task = self.transact(lambda r: self.node.tasks.cancel_one(r, self.actor, id))
        if task.state is State.CANCELED:
            self.checker.canceled.add(id)

    def retries(self) -> None:
        if self.checker.ends:
            id = self.rng.choice(list(self.checker.ends))
            self.checker.acknowledge(self.transact(lambda r: self.node.tasks.retry(r, self.actor, id)))

    def sends(self) -> None:
        if self.unsent:
            name = self.rng.choice(sorted(self.unsent))
            self.transact(lambda r: self.node.tasks.send(r, self.actor, name, {"n": 1}))
            self.unsent.discard(name)

    def pauses(self) -> None:
        name, paused = self.rng.choice(QUEUES), self.rng.random() < 0.3

        def set_paused(r: Records) -> None:
            queue = r.queues.get(self.checker.organisation, name)
            if queue is not None:
                r.queues.update(
                    self.checker.organisation, name, replace(queue.settings, paused=paused), r.now
                )

        self.transact(set_paused)

    def watches(self) -> None:
        with self.disk.connection.snapshot():
            self.checker.read_feed(self.disk.records, self.rng.choice((1, 10, 100)))

    # -- what people do -------------------------------------------------------------------------------------------------------

    def person_claims(self) -> None:
        person = self.rng.choice(self.people)
        task = self.transact(lambda r: self.node.work.claim_next(r, person, "people"))
        if task is not None:
            self.held_by_people.append(task)

    def person_answers(self) -> None:
        if not self.held_by_people:
            return
        task = self.held_by_people.pop(self.rng.randrange(len(self.held_by_people)))
        outcome = self.rng.choice([Done({"ok": True}), Released(), Failed("no", final=True)])
        self._settle([Settlement(Hold.of(task), outcome)])

    # -- what workers do ------------------------------------------------------------------------------------------------------

    def _worker(self) -> SimulatedWorker | None:
        worker = self.rng.choice(self.workers)
        if worker.paused:
            return None
        if worker.id is None:
            id = self.new_id()
            self.transact(
                lambda r: self.node.work.register(
                    r, self.actor, id=id, name="w", lanes=LANES, slots=5, lease=LEASE
                )
            )
            worker.id = id
        return worker

    def worker_beats(self) -> None:
        worker = self._worker()
        if worker is None or worker.id is None:
            return
        id = worker.id
        try:
            stops = self.transact(lambda r: self.node.work.beat(r, self.actor, id, lease=LEASE))
        except LeaseLost:
            worker.id, worker.holds = None, []
            return
        asked = {number for _, number, _ in stops}
        stopping = [task for task in worker.holds if task.number in asked and self.rng.random() < 0.7]
        worker.holds = [task for task in worker.holds if task not in stopping]
        self._settle([Settlement(Hold.of(task), Stopped()) for task in stopping])

    def worker_claims(self) -> None:
        worker = self._worker()
        if worker is None or worker.id is None:
            return
        id, room = worker.id, 5 - len(worker.holds)
        if room <= 0:
            return
        try:
            worker.holds += self.transact(
                lambda r: self.node.work.claim(r, self.actor, id, self.rng.sample(LANES, 4), room)
            )
        except LeaseLost:
            worker.id, worker.holds = None, []

    def worker_settles(self) -> None:
        worker = self.rng.choice(self.workers)
        if worker.paused or not worker.holds:
            return
        count = self.rng.randint(1, len(worker.holds))
        ending, worker.holds = worker.holds[:count], worker.holds[count:]
        settlements = [Settlement(Hold.of(task), self._outcome(task)) for task in ending]
        try:
            self._settle(settlements)
        except Crash:
            worker.holds += ending  # not answered: the worker will say it again, perhaps otherwise
            raise

    def worker_steps(self) -> None:
        worker = self.rng.choice(self.workers)
        if worker.paused or not worker.holds:
            return
        task = self.rng.choice(worker.holds)
        name, output = self.rng.choice("pqr"), self.rng.random()
        step = self.transact(lambda r: self.node.work.finish_step(r, Hold.of(task), name, output))
        must(step.output == output or step.attempt <= task.claims, "a step was done twice", step)

    def worker_spawns(self) -> None:
        worker = self.rng.choice(self.workers)
        if worker.paused or not worker.holds:
            return
        task = worker.holds[0]
        children = [NewTask(type="a", queue="fast", max_failures=2) for _ in range(2)]
        ids = self.transact(
            lambda r: self.node.work.spawn(r, self.actor, Hold.of(task), "children", children)
        )
        again = self.transact(
            lambda r: self.node.work.spawn(r, self.actor, Hold.of(task), "children", children)
        )
        must(ids == again, "children were spawned twice", (ids, again))
        for id in ids:
            with self.disk.connection.snapshot():
                child = self.disk.records.tasks.get(self.checker.organisation, id)
            assert child is not None
            self.checker.acknowledge(child)

    def worker_repeats(self) -> None:
        """A settlement arrives a second time, late: it must be refused, or the very attempt must still be open."""
        if self.settled_before:
            self._settle([self.rng.choice(self.settled_before)], duplicate=True)

    def worker_dies(self) -> None:
        self.workers[self.rng.randrange(len(self.workers))] = SimulatedWorker()

    def worker_freezes(self) -> None:
        worker = self.rng.choice(self.workers)
        worker.paused = not worker.paused

    def _outcome(self, task: Task) -> Outcome:
        dice = self.rng.random()
        if dice < 0.55:
            return Done({"by": task.claims})
        if dice < 0.75:
            return Failed("it broke", final=dice < 0.6)
        if dice < 0.82:
            return Later(timedelta(seconds=self.rng.uniform(0, 30)))
        if dice < 0.9 and self.checker.acknowledged:
            others = tuple(self.rng.choices(list(self.checker.acknowledged), k=2))
            # Bounded: tasks that wait for one another in a circle would wait for ever.
            return Waits(tasks=others, until=self.now + timedelta(seconds=self.rng.uniform(1, 200)))
        self._events += 1
        name = f"event-{self._events}"
        self.unsent.add(name)
        return Waits(events=(name,))

    def _settle(self, settlements: list[Settlement], *, duplicate: bool = False) -> None:
        if not settlements:
            return
        before = {each.hold.number: self.checker.seen.get(each.hold.number) for each in settlements}
        alive = {each.hold.number: self._alive(each.hold) for each in settlements}
        answers = self.transact(lambda r: self.node.work.settle(r, settlements))
        for settlement, answer in zip(settlements, answers, strict=True):
            hold, task = settlement.hold, before[settlement.hold.number]
            current = (
                task is not None
                and task.state is State.RUNNING
                and task.claims == hold.claims
                and task.holder == hold.holder
                and alive[hold.number]
            )
            must(
                isinstance(answer, Exception) != current,
                "G2 a stale end was taken, or a good one refused",
                (settlement, answer, task),
            )
        if not duplicate:
            self.settled_before = [*self.settled_before[-20:], *settlements]

    def _alive(self, hold: Hold) -> bool:
        """Say whether the lease stands under which the attempt is held."""
        if not hold.holder.startswith("worker:"):
            task = self.checker.seen.get(hold.number)
            return task is not None and task.lease_until is not None and task.lease_until >= self.now
        with self.disk.connection.snapshot():
            return self.disk.records.workers.lives(
                self.checker.organisation, hold.holder.removeprefix("worker:"), self.now
            )

    # -- what servers do ------------------------------------------------------------------------------------------------------

    def scheduler_ticks(self) -> None:
        node = self.node
        self.transact(lambda r: node.tasks.become_due(r, 100))
        self.transact(lambda r: node.tasks.expire(r, 100))
        self.transact(lambda r: node.schedules.fire_due(r, 100))

    def reaper_ticks(self) -> None:
        self.transact(lambda r: self.node.work.reap(r, 100))

    def time_passes(self) -> None:
        dice = self.rng.random()
        if dice < 0.9:
            span = self.rng.uniform(0, 4)
        elif dice < 0.98:
            span = self.rng.uniform(10, 50)
        else:
            span = -self.rng.uniform(0, 20)  # a clock is set back
        self.disk.now = max(START, self.disk.now + timedelta(seconds=span))

    # -- the end --------------------------------------------------------------------------------------------------------------

    def _due_instants(self) -> set[datetime]:
        assert self._first is not None
        passed = (self.now - self._first) // timedelta(seconds=30)
        return {self._first + timedelta(seconds=30) * each for each in range(passed + 1)}

    def heal(self) -> None:
        """Stop breaking things, and let everything run to its end."""
        self.faults = False
        self.workers = [SimulatedWorker()]
        self.held_by_people = []
        self._outcome = lambda task: Done("healed")  # type: ignore[method-assign]
        for name in QUEUES:

            def resume(r: Records, name: str = name) -> None:
                queue = r.queues.get(self.checker.organisation, name)
                if queue is not None:
                    r.queues.update(
                        self.checker.organisation, name, replace(queue.settings, paused=False), r.now
                    )

            self.transact(resume)
        for schedule in self.instants:
            self.scheduler_ticks()
            self.instants[schedule] = self._due_instants()
            self.transact(lambda r, schedule=schedule: self.node.schedules.pause(r, self.actor, schedule))
        for _ in range(2_000):
            while self.unsent:
                self.sends()
            self.disk.now += timedelta(seconds=5)
            self.scheduler_ticks()
            self.reaper_ticks()
            self.worker_beats()
            self.worker_claims()
            while self.workers[0].holds:
                self.worker_settles()
            self.person_claims()
            while self.held_by_people:
                task = self.held_by_people.pop()
                self._settle([Settlement(Hold.of(task), Done())])
            if not any(task.is_open for task in self.checker.seen.values()):
                break
        with self.disk.connection.snapshot():
            self.checker.at_the_end(self.disk.records, self.instants)


_TABLE: dict[Callable[[World], None], float] = {
    World.submits: 14,
    World.cancels: 3,
    World.retries: 1.5,
    World.sends: 3,
    World.pauses: 1,
    World.watches: 5,
    World.person_claims: 3,
    World.person_answers: 3,
    World.worker_beats: 12,
    World.worker_claims: 16,
    World.worker_settles: 18,
    World.worker_steps: 3,
    World.worker_spawns: 1,
    World.worker_repeats: 3,
    World.worker_dies: 0.6,
    World.worker_freezes: 1,
    World.scheduler_ticks: 5,
    World.reaper_ticks: 3,
    World.time_passes: 14,
}
_MOVES, _WEIGHTS = list(_TABLE), list(_TABLE.values())
