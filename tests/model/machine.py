"""Hypothesis thinks up what happens; the engine and the model do it, and must agree on the answer and on every task."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from taskyard.core.actor import Actor
from taskyard.core.errors import TaskyardError
from taskyard.core.hold import Hold, Settlement
from taskyard.core.outcome import Done, Failed, Later, Outcome, Released, Stopped, Waits
from taskyard.core.queue import Kind, QueueSettings
from taskyard.core.task import NewTask, OnConflict, Task
from taskyard.core.worker import Lane
from taskyard.service.services import build_services
from taskyard.store.engine import Database
from taskyard.store.records import Records
from taskyard.store.store import Store
from taskyard.store.tasks import TaskFilter
from tests.model import model
from tests.model.model import Model, Refused

START: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LEASE: Final = timedelta(seconds=30)
QUEUES: Final = {
    "wide": QueueSettings(),
    "narrow": QueueSettings(concurrency=2),
    "people": QueueSettings(kind=Kind.HUMAN),
}
TYPES: Final = ("a", "b")
EVENTS: Final = ("x", "y")
#: So many histories of so many moves on each database: ``TASKYARD_MODEL=5000:100`` tries for longer, and anew each time.
ASKED: Final = os.environ.get("TASKYARD_MODEL", "")
HISTORIES, MOVES = (int(each) for each in (ASKED or "40:50").split(":"))
SETTINGS: Final = settings(
    max_examples=HISTORIES,
    stateful_step_count=MOVES,
    derandomize=not ASKED,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

#: Which of those there are, counted from the newest.
which: Final = some.integers(0, 30)
seconds: Final = some.sampled_from((1, 5, 20, 31, 100))
outcomes: Final = some.one_of(
    some.just(Done(1)),
    some.just(Failed("no")),
    some.just(Failed("no", final=True)),
    some.builds(lambda s: Later(timedelta(seconds=s)), some.sampled_from((0, 5, 40))),
    some.just(Stopped()),
    some.just(Released()),
)


class Machine(RuleBasedStateMachine):
    #: Lends an empty database whose clock is the one given, and what takes it back; a subclass sets it.
    lend: Callable[[Callable[[], datetime]], tuple[Database, Callable[[], None]]]

    @initialize()
    def begin(self) -> None:
        self.model = Model({"narrow": 2}, START)
        database, self.give_back = type(self).lend(lambda: self.model.now)
        self.store = Store(database)
        self.ids = 0
        self.services = build_services(self.new_id, lambda: 0.0)
        self.actor = Actor(organisation=self.store.write(self._first), identity="user:1", number=1)
        self.ever: list[str] = []  # the workers there ever were
        self.holds: list[Hold] = []  # what was ever claimed

    def _first(self, records: Records) -> int:
        number = records.accounts.insert_organisation("one", "One", {}, records.now)
        assert number is not None
        for name, queue in QUEUES.items():
            records.queues.insert(number, name, queue, records.now)
        return number

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.give_back()

    def new_id(self) -> str:
        self.ids += 1
        return f"00000000-0000-7000-8000-{self.ids:012}"

    # -- both, and the same answer -------------------------------------------------------------------------------------------------

    def both(self, real: Callable[[Records], Any], modelled: Callable[[], Any]) -> Any:
        """Let both make a move; return the engine's answer. Either both refuse it, for the same reason, or neither."""
        before = self.ids

        def run(records: Records) -> Any:
            self.ids = before  # it is run again where a guess was wrong
            return real(records)

        try:
            answer, refusal = self.store.write(run), None
        except TaskyardError as error:
            answer, refusal = None, error.code
        after, self.ids = self.ids, before
        expected, refused = None, None
        try:
            expected = modelled()
        except Refused as why:
            refused = str(why)
        self.ids = after
        assert refusal == refused, f"the engine says {refusal}, the model {refused}"
        assert _shown(answer) == _shown(expected), (answer, expected)
        return answer

    def _task(self, which: int) -> model.Task:
        return self.model.tasks[-1 - which % len(self.model.tasks)]

    def _ids(self, numbers: list[int]) -> tuple[str, ...]:
        return tuple(sorted({self._task(each).id for each in numbers})) if self.model.tasks else ()

    # -- clients -------------------------------------------------------------------------------------------------------------------

    @rule(
        type=some.sampled_from(TYPES),
        queue=some.sampled_from(list(QUEUES)),
        priority=some.sampled_from((0, 0, 5)),
        delay=some.none() | seconds,
        start_within=some.none() | seconds,
        key=some.none() | some.sampled_from("kl"),
        on_conflict=some.sampled_from(OnConflict),
        slot=some.none() | some.sampled_from("st"),
        slots=some.sampled_from((1, 2)),
        weight=some.sampled_from((1, 2, 3)),
        max_failures=some.sampled_from((1, 2, 5)),
        blocked_by=some.lists(which, max_size=2),
    )
    def submit(
        self,
        delay: int | None,
        start_within: int | None,
        slot: str | None,
        slots: int,
        blocked_by: list[int],
        **said: Any,
    ) -> None:
        new = NewTask(
            run_at=self._in(delay),
            start_by=self._in(start_within),
            concurrency_key=slot,
            concurrency_limit=slots,
            blocked_by=self._ids(blocked_by),
            **said,
        )
        tasks = self.services.tasks
        self.both(
            lambda r: tasks.submit_one(r, self.actor, new), lambda: self.model.submit(new, self.new_id())
        )

    def _in(self, span: int | None) -> datetime | None:
        return None if span is None else self.model.now + timedelta(seconds=span)

    @precondition(lambda self: self.model.tasks)
    @rule(which=which, at_once=some.booleans())
    def cancel(self, which: int, at_once: bool) -> None:
        task = self._task(which)

        def real(r: Records) -> None:
            [answer] = self.services.tasks.cancel(r, self.actor, [task.id], at_once=at_once)
            if isinstance(answer, Exception):
                raise answer

        self.both(real, lambda: self.model.cancel(task, at_once))

    @precondition(lambda self: self.model.tasks)
    @rule(which=which)
    def retry(self, which: int) -> None:
        task = self._task(which)
        self.both(
            lambda r: self.services.tasks.retry(r, self.actor, task.id),
            lambda: self.model.retry(task, self.new_id()),
        )

    @rule(name=some.sampled_from(EVENTS))
    def send(self, name: str) -> None:
        self.both(lambda r: self.services.tasks.send(r, self.actor, name, 1), lambda: self.model.send(name))

    @rule(queue=some.sampled_from(list(QUEUES)), paused=some.booleans())
    def pause(self, queue: str, paused: bool) -> None:
        changed = replace(QUEUES[queue], paused=paused)
        self.store.write(lambda r: r.queues.update(self.actor.organisation, queue, changed, r.now))
        self.model.paused = self.model.paused | {queue} if paused else self.model.paused - {queue}

    # -- holders -------------------------------------------------------------------------------------------------------------------

    @rule()
    def hire(self) -> None:
        id = self.new_id()
        lanes = [Lane(queue, type) for queue in QUEUES for type in TYPES]
        self.ever.append(id)
        self.store.write(
            lambda r: self.services.work.register(
                r, self.actor, id=id, name="w", lanes=lanes, slots=9, lease=LEASE
            )
        )
        self.model.beat(f"worker:{id}", LEASE, first=True)

    @precondition(lambda self: self.ever and self.model.tasks)
    @rule(which=which, like=which, limit=some.integers(1, 3))
    def claim(self, which: int, like: int, limit: int) -> None:
        """Claim from the lane of some task: most lanes are empty."""
        id = self.ever[-1 - which % min(3, len(self.ever))]
        lanes = [task for task in self.model.tasks if task.state == "ready"] or self.model.tasks
        queue, type = lanes[like % len(lanes)].new.queue, lanes[like % len(lanes)].new.type
        work = self.services.work
        claimed = self.both(
            lambda r: sorted(work.claim(r, self.actor, id, [Lane(queue, type)], limit), key=_place),
            lambda: self.model.claim(f"worker:{id}", queue, type, limit, None),
        )
        self.holds += [Hold.of(task) for task in claimed or ()]

    @rule(person=some.sampled_from((1, 2)))
    def take(self, person: int) -> None:
        actor = replace(self.actor, identity=f"user:{person}", number=person)

        def first_of_all() -> list[model.Task]:
            heads = [
                task for task in self.model.tasks if task.state == "ready" and task.new.queue == "people"
            ]
            heads.sort(key=lambda task: (-task.new.priority, task.run_at, task.number))
            claims = (
                self.model.claim(actor.identity, "people", head.new.type, 1, timedelta(hours=8))
                for head in heads
            )
            return next((claimed for claimed in claims if claimed), [])

        claimed = self.both(
            lambda r: [each for each in [self.services.work.claim_next(r, actor, "people")] if each],
            first_of_all,
        )
        self.holds += [Hold.of(task) for task in claimed or ()]

    @precondition(lambda self: self.ever)
    @rule(which=which)
    def beat(self, which: int) -> None:
        id = self.ever[-1 - which % len(self.ever)]
        work = self.services.work
        self.both(
            lambda r: {task for task, _, _ in work.beat(r, self.actor, id, lease=LEASE)},
            lambda: self.model.beat(f"worker:{id}", LEASE),
        )

    @precondition(lambda self: self.ever)
    @rule(which=which)
    def leave(self, which: int) -> None:
        id = self.ever[-1 - which % len(self.ever)]
        self.both(
            lambda r: self.services.work.leave(r, self.actor, id), lambda: self.model.leave(f"worker:{id}")
        )

    @precondition(lambda self: any(hold.holder.startswith("user:") for hold in self.holds))
    @rule(which=which)
    def extend(self, which: int) -> None:
        holds = [hold for hold in self.holds if hold.holder.startswith("user:")]
        hold = holds[-1 - which % len(holds)]
        task = next(each for each in self.model.tasks if each.id == hold.id)
        actor = replace(self.actor, identity=hold.holder)

        def real(r: Records) -> None:
            [now] = r.tasks.get_many(self.actor.organisation, [hold.id])
            self.services.work.extend(r, actor, replace(now, claims=hold.claims), lease=LEASE)

        self.both(real, lambda: self.model.extend(task, hold.claims, hold.holder, LEASE))

    @precondition(lambda self: self.holds)
    @rule(which=which, outcome=outcomes)
    def settle(self, which: int, outcome: Outcome) -> None:
        hold = self.holds[-1 - which % len(self.holds)]
        task = next(each for each in self.model.tasks if each.id == hold.id)

        def real(r: Records) -> None:
            [answer] = self.services.work.settle(r, [Settlement(hold, outcome)])
            if isinstance(answer, Exception):
                raise answer

        self.both(real, lambda: self.model.settle(task, hold.claims, hold.holder, outcome))

    @precondition(lambda self: self.holds)
    @rule(
        which=which,
        others=some.lists(which, max_size=2),
        events=some.lists(some.sampled_from(EVENTS), max_size=1),
        until=some.none() | seconds,
    )
    def wait(self, which: int, others: list[int], events: list[str], until: int | None) -> None:
        self.settle(which, Waits(self._ids(others), tuple(events), self._in(until)))

    # -- time ----------------------------------------------------------------------------------------------------------------------

    @rule(span=seconds)
    def time_passes(self, span: int) -> None:
        self.model.now += timedelta(seconds=span)

    @rule()
    def become_due(self) -> None:
        self.store.write(lambda r: self.services.tasks.become_due(r, 1_000))
        self.model.become_due()

    @rule()
    def expire(self) -> None:
        self.store.write(lambda r: self.services.tasks.expire(r, 1_000))
        self.model.expire()

    @rule()
    def reap(self) -> None:
        self.store.write(lambda r: self.services.work.reap(r, 1_000))
        self.model.reap()

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "store"):
            return
        found = self.store.read(
            lambda r: r.tasks.search(self.actor.organisation, TaskFilter(), limit=1_000, oldest_first=True)
        )
        assert [_shown(task) for task in found] == [_shown(task) for task in self.model.tasks]


def _place(task: Task) -> tuple[int, datetime, int]:
    return -task.priority, task.run_at, task.number


def _shown(answer: Any) -> Any:
    """Return what both must say of a task, and of several in their order."""
    if isinstance(answer, list):
        return [_shown(each) for each in answer]
    if isinstance(answer, Task):
        stop = answer.state == "running" and answer.cancel_requested_at is not None
        return (answer.id, str(answer.state), answer.reason, answer.run_at, answer.wake_at, answer.lease_until,
                answer.claims, answer.failures, answer.losses, answer.holder, stop)  # fmt: skip
    if isinstance(answer, model.Task):
        stop = answer.state == "running" and answer.stop
        return (answer.id, answer.state, answer.reason, answer.run_at, answer.wake_at, answer.lease_until,
                answer.claims, answer.failures, answer.losses, answer.holder, stop)  # fmt: skip
    return answer
