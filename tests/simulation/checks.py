"""What must hold after every step of a simulated history: the guarantees G1 to G10, checked on what each commit changed."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from taskyard.core.event import Cursor, Event
from taskyard.core.task import MOVES, TERMINAL, State, Task
from taskyard.store.records import Records

#: Which states may follow which in one commit: every listed move, and two moves that one transaction makes.
FOLLOWS: dict[State, set[State]] = defaultdict(set)
for move in MOVES.values():
    for state in move.leaves:
        FOLLOWS[state] |= move.enters
FIRST = MOVES["submit"].enters


class Broken(AssertionError):
    """A guarantee did not hold."""


def must(holds: bool, guarantee: str, detail: object = "") -> None:
    if not holds:
        raise Broken(f"{guarantee}: {detail}")


class Checker:
    """Keeps what was true, and compares it with what each commit made true."""

    def __init__(self, organisation: int) -> None:
        self.organisation = organisation
        self.seen: dict[int, Task] = {}
        self.acknowledged: dict[str, int] = {}
        self.canceled: set[str] = set()
        self.ends: dict[str, str] = {}
        self.starts: dict[str, list[datetime]] = defaultdict(list)
        self.feed: list[Event] = []
        self.cursor = Cursor()
        self.commits = 0

    def acknowledge(self, task: Task) -> None:
        self.acknowledged[task.id] = task.number

    def after_commit(self, records: Records, changed: Iterable[int], now: datetime) -> None:
        """Look at the tasks that the last commit changed, and at nothing else: a history has thousands of commits."""
        self.commits += 1
        numbers = sorted(set(changed))
        if not numbers:
            return
        present = {task.number: task for task in records.tasks.lock_numbers(numbers)}
        queues: set[str] = set()
        keys: set[str] = set()
        for number in numbers:
            before, task = self.seen.get(number), present.get(number)
            if task is None:
                must(before is None or not before.is_open, "G1 an open task was deleted", number)
                self.seen.pop(number, None)
                continue
            self._moved(before, task, now)
            self._accounted_for(records, task)
            self.seen[number] = task
            if task.state is State.RUNNING:
                queues.add(task.queue)
            if task.concurrency_key is not None:
                keys.add(task.concurrency_key)
        self._limits(records, queues, keys, now)

    def _moved(self, before: Task | None, task: Task, now: datetime) -> None:
        if before is None:
            # Submitted and started in one commit is fine: commits are shared.
            must(
                task.state in FIRST or task.state in (State.RUNNING, State.CANCELED),
                "MOVES first state",
                task,
            )
            return
        if before.state in TERMINAL:
            must(task.state is before.state, "G3 a final state was left", (before.state, task))
            must(
                task.output == before.output and task.error == before.error,
                "G3 an end was rewritten",
                task.id,
            )
            return
        must(task.claims >= before.claims, "G2 the fence went back", task.id)
        must(task.failures >= before.failures, "the retry budget went back", task.id)
        if task.state is State.RUNNING and (
            before.state is not State.RUNNING or task.claims != before.claims
        ):
            must(task.claims == before.claims + 1, "G2 a claim did not move the fence", task.id)
            must(task.id not in self.canceled, "G5 a canceled task started", task.id)
            in_time = task.start_by is None or task.start_by > now or before.started_at is not None
            must(in_time, "an expired task started", task.id)
            self.starts[task.queue].append(now)
        if task.state is not before.state:
            follows = task.state in FOLLOWS[before.state]
            must(follows, "MOVES no such move", (before.state, task.state, task.id))

    def _accounted_for(self, records: Records, task: Task) -> None:
        """G4: every open task is runnable, held, or waits for something that has a name."""
        match task.state:
            case State.RUNNING:
                must(task.holder is not None, "G4 running without a holder", task.id)
                held_by_worker = str(task.holder).startswith("worker:")
                if held_by_worker:
                    workers = {
                        worker.holder: worker for worker in records.workers.all(self.organisation, 1000)
                    }
                    worker = workers.get(str(task.holder))
                    must(
                        worker is not None and worker.state in ("active", "draining"),
                        "G4 held by a worker that nobody will reap",
                        task,
                    )
                else:
                    must(task.lease_until is not None, "G4 held by a person without a lease", task.id)
            case State.SUSPENDED:
                named = task.reason == "limit" or task.wake_at is not None or records.work.blockers(task, 1)
                must(bool(named), "G4 suspended for nothing", task)
            case State.SCHEDULED:
                must(task.run_at is not None, "G4 scheduled for no time", task)
            case _:
                must((task.finished_at is not None) == (task.state in TERMINAL), "finished_at", task)

    def _limits(self, records: Records, queues: set[str], keys: set[str], now: datetime) -> None:
        """G10: limits are never exceeded."""
        for name in queues:
            queue = records.queues.get(self.organisation, name)
            if queue is None:
                continue
            if queue.settings.concurrency is not None:
                weight = records.work.running_weight(self.organisation, name)
                must(weight <= queue.settings.concurrency, "G10 concurrency of a queue", (name, weight))
            rate = queue.settings.rate
            if rate is not None:
                recent = self.starts[name] = [at for at in self.starts[name] if at > now - rate.period]
                must(len(recent) <= rate.count, "G10 rate of a queue", (name, len(recent), rate))
        for key in keys:
            holders = records.work.slot_holders(self.organisation, key, 100)
            most = max(
                (
                    task.concurrency_limit
                    for task in self.seen.values()
                    if task.concurrency_key == key and task.state in (State.READY, State.RUNNING)
                ),
                default=1_000,
            )
            must(len(holders) <= most, "G10 slots of a concurrency key", (key, holders))

    def read_feed(self, records: Records, limit: int) -> None:
        """Read on from where the feed was left, as a client that was cut off would."""
        for event in records.events.read(self.cursor, limit=limit, organisation=self.organisation):
            must(event.cursor > self.cursor, "G7 the feed went back", event)
            self.cursor = event.cursor
            self.feed.append(event)
            self._read(event)

    def _read(self, event: Event) -> None:
        kind = event.kind.removeprefix("task.")
        if event.kind.startswith("task.") and kind in {state.value for state in TERMINAL}:
            must(
                event.subject not in self.ends,
                "G3 two ends",
                (event.subject, self.ends.get(event.subject), kind),
            )
            self.ends[event.subject] = kind

    def at_the_end(self, records: Records, instants: dict[str, set[datetime]]) -> None:
        """When everything was healed and nothing is left to do."""
        self.read_feed(records, 1_000_000)
        every = records.events.read(Cursor(), limit=1_000_000, organisation=self.organisation)
        must(
            [each.cursor for each in every] == [each.cursor for each in self.feed],
            "G7 the feed missed something",
        )
        for id in self.acknowledged:
            task = records.tasks.get(self.organisation, id)
            must(task is not None, "G1 an acknowledged task was lost", id)
            assert task is not None
            must(not task.is_open, "G4 a task never ended", task)
            must(
                self.ends.get(id) == task.state.value,
                "G3 the feed tells another end",
                (id, self.ends.get(id)),
            )
            if id in self.canceled:
                must(task.state is State.CANCELED, "G5 a canceled task ended otherwise", task)
        for schedule, due in instants.items():
            fired = {firing.fire_at for firing in records.schedules.firings(schedule, 100_000)}
            must(due <= fired, "G6 an instant was missed", (schedule, sorted(due - fired)[:3]))
