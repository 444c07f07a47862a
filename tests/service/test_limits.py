"""Limits: so many at once in a queue, so many at once of a key, and whoever waits for a slot gets it."""

import random
from contextlib import suppress
from datetime import timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskyard.core.errors import TaskyardError
from taskyard.core.hold import Hold, Settlement
from taskyard.core.outcome import Done, Failed, Later, Released, Stopped, Waits
from taskyard.core.queue import QueueSettings
from taskyard.core.task import MOVES, NewTask, OnConflict, State, Task
from taskyard.service.tasks import Submission
from taskyard.store.tasks import TaskFilter


def limit_queue(yard, name="default", **limits):
    def write(records):
        if not records.queues.insert(yard.organisation, name, QueueSettings(**limits), records.now):
            records.queues.update(yard.organisation, name, QueueSettings(**limits), records.now)

    yard.write(write)


def states(yard, tasks):
    return [yard.get(task).state.value for task in tasks]


# -- of a queue ----------------------------------------------------------------------------------------------------------------


def test_no_more_run_at_once_than_the_queue_lets(yard):
    limit_queue(yard, concurrency=2)
    for _ in range(5):
        yard.submit()
    one, two = yard.worker(), yard.worker()
    first = one.claim(10)

    assert len(first) == 2
    assert two.claim(10) == []
    yard.settle(first[0], Done())
    assert len(two.claim(10)) == 1


def test_a_heavy_task_takes_the_room_of_several_and_is_not_overtaken(yard):
    limit_queue(yard, concurrency=4)
    worker = yard.worker()
    small = yard.submit(weight=2)
    heavy = yard.submit(weight=3)
    late = yard.submit(weight=1)
    [running] = worker.claim(10)
    assert running.id == small.id

    assert worker.claim(10) == []  # the light one would fit, but then the heavy one might wait for ever
    yard.settle(running, Done())
    assert {task.id for task in worker.claim(10)} == {heavy.id, late.id}


def test_a_task_heavier_than_the_queue_can_ever_take_is_in_nobodys_way(yard):
    limit_queue(yard, concurrency=2)
    yard.submit(weight=3, priority=9)
    fits = yard.submit()

    assert [task.id for task in yard.worker().claim(1)] == [fits.id]


def test_types_of_one_queue_share_its_limit(yard):
    limit_queue(yard, concurrency=3)
    for type in ("resize", "encode"):
        for _ in range(5):
            yard.submit(type)

    assert len(yard.worker("resize", "encode").claim(10)) == 3


def test_what_is_less_urgent_does_not_overtake_what_a_limit_holds_back(yard):
    limit_queue(yard, concurrency=2)
    yard.submit("light")
    worker = yard.worker("light", "heavy")
    worker.claim()
    yard.submit("heavy", weight=2, priority=1)
    yard.submit("light")

    assert worker.claim(10) == []


def test_people_are_bound_by_the_limit_too(yard):
    limit_queue(yard, concurrency=1)
    yard.submit()
    yard.submit()
    claim_next = yard.services.work.claim_next

    assert yard.write(claim_next, yard.actor, "default") is not None
    assert yard.write(claim_next, yard.actor, "default") is None


# -- of a key ------------------------------------------------------------------------------------------------------------------


def test_one_at_a_time_of_a_key_is_ready_or_running_and_the_next_gets_its_slot(yard):
    tasks = [yard.submit(concurrency_key="db") for _ in range(3)]
    worker = yard.worker()

    assert states(yard, tasks) == ["ready", "suspended", "suspended"]
    assert yard.get(tasks[1]).reason == "limit"
    [running] = worker.claim(10)
    assert states(yard, tasks) == ["running", "suspended", "suspended"]
    yard.settle(running, Done())
    assert states(yard, tasks) == ["succeeded", "ready", "suspended"]
    assert yard.events(tasks[1].id) == ["task.submitted", "task.ready"]


def test_the_limit_holds_within_one_batch(yard):
    new = NewTask(type="resize", concurrency_key="db", concurrency_limit=2)
    tasks = yard.store.together(yard.services.tasks.submit, [Submission(yard.actor, new)] * 5)

    assert states(yard, tasks) == ["ready"] * 2 + ["suspended"] * 3


def test_the_most_urgent_gets_the_slot(yard):
    yard.submit(concurrency_key="db")
    low = yard.submit(concurrency_key="db")
    high = yard.submit(concurrency_key="db", priority=1)
    yard.settle(yard.worker().claim()[0], Done())

    assert states(yard, [low, high]) == ["suspended", "ready"]


def end_by_cancel(yard, task, worker):
    yard.write(yard.services.tasks.cancel_one, yard.actor, task.id)


def end_by_expiry(yard, task, worker):
    yard.clock.forward(minutes=1)
    yard.write(yard.services.tasks.expire, 10)


def end_by_replacement(yard, task, worker):
    yard.submit(key="daily", on_conflict=OnConflict.REPLACE)


def by_settling(outcome):
    def end(yard, task, worker):
        yard.settle(worker.claim()[0], outcome)

    return end


def end_by_poison(yard, task, worker):
    for _ in range(3):
        yard.worker(lease=timedelta(seconds=1)).claim()
        yard.clock.forward(seconds=2)
        yard.reap()


def end_by_taking_away(yard, task, worker):
    yard.write(yard.services.work.claim_task, yard.actor, task.id)
    yard.write(yard.services.tasks.cancel_one, yard.actor, task.id)


WAYS = {
    "done": by_settling(Done()),
    "failed for good": by_settling(Failed("no", final=True)),
    "to be tried again": by_settling(Failed("no")),
    "later": by_settling(Later(timedelta(hours=1))),
    "waits": by_settling(Waits(events=("go",))),
    "sleeps": by_settling(Waits(until=None, tasks=(), events=("go",))),
    "stopped": by_settling(Stopped()),
    "canceled": end_by_cancel,
    "expired": end_by_expiry,
    "replaced": end_by_replacement,
    "poisoned": end_by_poison,
    "taken away": end_by_taking_away,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_slot_is_given_on_however_its_task_leaves_it(yard, way):
    first = yard.submit(concurrency_key="db", key="daily", start_by=yard.clock.now + timedelta(minutes=1))
    second = yard.submit(concurrency_key="db")
    worker = yard.worker(lease=timedelta(hours=9))
    assert states(yard, [first, second]) == ["ready", "suspended"]

    WAYS[way](yard, first, worker)

    assert yard.get(second).state is State.READY


@pytest.mark.parametrize("outcome", [Released(), Later(timedelta(0))], ids=["released", "later"])
def test_a_task_that_stays_ready_keeps_its_slot(yard, outcome):
    yard.submit(concurrency_key="db")
    second = yard.submit(concurrency_key="db")
    yard.settle(yard.worker().claim()[0], outcome)

    assert yard.get(second).state is State.SUSPENDED


def test_a_lost_task_keeps_its_slot(yard):
    yard.submit(concurrency_key="db")
    second = yard.submit(concurrency_key="db")
    yard.worker(lease=timedelta(seconds=1)).claim()
    yard.clock.forward(seconds=2)
    yard.reap()

    assert yard.get(second).state is State.SUSPENDED


def test_what_comes_back_waits_for_a_slot_like_everybody(yard):
    yard.submit(concurrency_key="db")
    second = yard.submit(concurrency_key="db")
    worker = yard.worker(lease=timedelta(hours=1))
    first = yard.settle(worker.claim()[0], Later(timedelta(minutes=1)))
    yard.clock.forward(minutes=1)
    yard.due()

    assert states(yard, [first, second]) == ["suspended", "ready"]
    yard.settle(worker.claim()[0], Done())
    assert yard.get(first).state is State.READY


def test_each_task_keeps_to_its_own_limit_where_those_of_one_key_differ(yard):
    wide = [yard.submit(concurrency_key="db", concurrency_limit=3) for _ in range(2)]
    narrow = yard.submit(concurrency_key="db", concurrency_limit=1, priority=-1)
    third = yard.submit(concurrency_key="db", concurrency_limit=3)
    assert states(yard, [*wide, narrow, third]) == ["ready", "ready", "suspended", "ready"]

    yard.write(yard.services.tasks.cancel, yard.actor, [wide[0].id, wide[1].id])
    assert yard.get(narrow).state is State.SUSPENDED
    yard.write(yard.services.tasks.cancel, yard.actor, [third.id])
    assert yard.get(narrow).state is State.READY


def test_all_slots_that_are_free_are_given_on_at_once_to_whom_they_are_wide_enough(yard):
    running = [yard.submit(concurrency_key="db", concurrency_limit=3) for _ in range(3)]
    narrow = yard.submit(concurrency_key="db", concurrency_limit=1, priority=5)
    wide = yard.submit(concurrency_key="db", concurrency_limit=2)
    assert states(yard, [narrow, wide]) == ["suspended", "suspended"]

    yard.write(yard.services.tasks.cancel, yard.actor, [task.id for task in running])

    assert states(yard, [narrow, wide]) == ["ready", "ready"]


def test_who_waits_on_for_a_slot_has_not_moved(yard):
    running = [yard.submit(concurrency_key="db", concurrency_limit=3) for _ in range(3)]
    wide = yard.submit(concurrency_key="db", concurrency_limit=3, priority=5)
    narrow = yard.submit(concurrency_key="db", concurrency_limit=1)

    yard.write(yard.services.tasks.cancel, yard.actor, [task.id for task in running[:2]])

    assert states(yard, [wide, narrow]) == ["ready", "suspended"]
    assert yard.events(narrow.id) == ["task.submitted"]


def test_many_that_become_due_at_once_do_not_exceed_the_limit(yard):
    at = yard.clock.now + timedelta(minutes=1)
    limits = [3, 1, 3, 3, 1, 3]
    tasks = [
        yard.submit(concurrency_key="db", concurrency_limit=limit, run_at=at, priority=-position)
        for position, limit in enumerate(limits)
    ]
    yard.clock.forward(minutes=1)
    yard.due()

    assert states(yard, tasks) == ["ready", "suspended", "ready", "ready", "suspended", "suspended"]
    assert yard.events(tasks[1].id) == ["task.submitted", "task.suspended"]


def test_keys_are_each_organisations_own(yard):
    yard.submit(concurrency_key="db")

    assert yard.submit(concurrency_key="db", actor=yard.other_organisation()).state is State.READY


def test_what_waits_for_a_slot_is_not_among_what_is_ready(yard):
    for number in range(50):
        yard.submit(concurrency_key="db", input=number)

    [ready] = yard.worker().claim(10)
    assert ready.input == 0
    assert yard.read(lambda r: r.tasks.count(yard.organisation, TaskFilter(states=(State.SUSPENDED,)))) == 49
    assert yard.worker().claim(10) == []


# -- laws ----------------------------------------------------------------------------------------------------------------------

PAIRS = {(leaves, enters) for move in MOVES.values() for leaves in move.leaves for enters in move.enters}
ENTERS = {
    "task.ready": State.READY,
    "task.started": State.RUNNING,
    "task.suspended": State.SUSPENDED,
    "task.delayed": State.SCHEDULED,
    "task.retried": State.SCHEDULED,
    "task.released": State.READY,
    "task.lost": State.READY,
    "task.succeeded": State.SUCCEEDED,
    "task.failed": State.FAILED,
    "task.canceled": State.CANCELED,
}


#: Walks share a database, so each gets an organisation of its own.
WALKS = count()


class Walk:
    """Random moves over one organisation, and the laws that hold after each."""

    def __init__(self, yard, chance: random.Random) -> None:
        self.yard, self.chance = yard, chance
        self.cursor = yard.read(lambda r: r.events.end())
        self.told: dict[str, State] = {}
        self.held: list[Task] = []
        self.ids: list[str] = []
        self.worker = yard.worker("a", "b", lease=timedelta(days=999))
        self.mortal = yard.worker("a", "b", lease=timedelta(seconds=20))
        self.user = yard.actor

    def step(self) -> None:
        moves = (self.submit, self.submit, self.claim, self.claim, self.settle, self.settle, self.cancel,
                 self.pass_time, self.send, self.run_now)  # fmt: skip
        with suppress(TaskyardError):  # a refusal changes nothing, which the laws below would tell
            self.chance.choice(moves)()
        self.obey()

    def submit(self) -> None:
        chance, now = self.chance, self.yard.clock.now
        key = chance.choice([None, "k1", "k2"])
        news = [
            NewTask(
                type=chance.choice("ab"),
                priority=chance.choice([0, 0, 5]),
                key=chance.choice([None, None, "one", "two"]),
                on_conflict=chance.choice(list(OnConflict)),
                concurrency_key=key,
                concurrency_limit=chance.choice([1, 2, 3]),
                run_at=chance.choice([None, None, now + timedelta(seconds=chance.randint(1, 60))]),
                start_by=chance.choice([None, None, now + timedelta(seconds=chance.randint(61, 90))]),
                max_failures=chance.choice([1, 2, 5]),
                blocked_by=tuple(chance.sample(self.ids, min(len(self.ids), chance.choice([0, 0, 1, 2])))),
                parent=chance.choice([None, *self.ids[-3:]]),
            )
            for _ in range(chance.randint(1, 4))
        ]
        answers = self.yard.store.together(
            self.yard.services.tasks.submit, [Submission(self.user, new) for new in news]
        )
        self.ids += [answer.id for answer in answers if isinstance(answer, Task)]

    def claim(self) -> None:
        worker = self.chance.choice([self.worker, self.mortal])
        if worker is self.mortal:
            worker = self.mortal = self.yard.worker("a", "b", lease=timedelta(seconds=20))
        if self.chance.random() < 0.2:
            task = self.yard.write(
                self.yard.services.work.claim_next, self.user, "default", lease=timedelta(seconds=20)
            )
            self.held += [task] if task else []
        else:
            self.held += worker.claim(self.chance.randint(1, 4))

    def settle(self) -> None:
        chance, now = self.chance, self.yard.clock.now
        batch = chance.sample(self.held, min(len(self.held), chance.randint(1, 4)))
        batch += batch[: chance.choice([0, 0, 1])]  # now and then one twice
        outcomes = [
            Done(),
            Failed("no"),
            Failed("no", final=True),
            Later(timedelta(seconds=chance.randint(0, 30))),
            Waits(tasks=tuple(chance.sample(self.ids, min(len(self.ids), 2)))),
            Waits(events=(chance.choice(["e1", "e2", "e3"]),)),
            Waits(events=("never",), until=now + timedelta(seconds=chance.randint(0, 60))),
            Released(),
            Stopped(),
        ]
        self.yard.store.together(
            self.yard.services.work.settle,
            [Settlement(Hold.of(task), chance.choice(outcomes)) for task in batch],
        )

    def cancel(self) -> None:
        if self.ids:
            self.yard.write(self.yard.services.tasks.cancel, self.user, [self.chance.choice(self.ids)])

    def pass_time(self) -> None:
        self.yard.clock.forward(seconds=self.chance.randint(1, 40))
        self.yard.reap()
        self.yard.write(self.yard.services.tasks.expire, 100)
        self.yard.due()

    def send(self) -> None:
        name = self.chance.choice(["e1", "e2", "e3"])
        self.yard.write(self.yard.services.tasks.send, self.user, name, None)

    def run_now(self) -> None:
        if self.ids:
            self.yard.write(self.yard.services.tasks.run_now, self.user, self.chance.choice(self.ids))

    def end(self) -> None:
        self.yard.write(self.yard.services.tasks.cancel, self.user, self.ids)
        self.obey()

    def obey(self) -> None:
        tasks = self.yard.read(lambda r: r.tasks.search(self.yard.organisation, TaskFilter(), limit=10_000))
        self._the_events_tell_every_move_once_and_only_listed_moves(tasks)
        self._no_key_has_more_than_its_widest_limit(tasks)
        self._nobody_waits_for_a_slot_that_is_free(tasks)
        self._nobody_waits_for_what_is_over(tasks)

    def _the_events_tell_every_move_once_and_only_listed_moves(self, tasks) -> None:
        for event in self.yard.read(
            lambda r: r.events.read(self.cursor, limit=10_000, organisation=self.yard.organisation)
        ):
            self.cursor = event.cursor
            if event.kind == "task.submitted":
                assert event.subject not in self.told
                self.told[event.subject] = State(event.data["state"])
            elif event.kind in ENTERS:
                before, after = self.told[event.subject], ENTERS[event.kind]
                assert (before, after) in PAIRS, (event.kind, before, after)
                self.told[event.subject] = after
        assert {task.id: task.state for task in tasks} == self.told

    def _no_key_has_more_than_its_widest_limit(self, tasks) -> None:
        for key in ("k1", "k2"):
            taken = [t for t in tasks if t.concurrency_key == key and t.state in (State.READY, State.RUNNING)]
            assert len(taken) <= max((task.concurrency_limit for task in taken), default=0)

    def _nobody_waits_for_a_slot_that_is_free(self, tasks) -> None:
        for key in ("k1", "k2"):
            mine = [task for task in tasks if task.concurrency_key == key]
            taken = sum(task.state in (State.READY, State.RUNNING) for task in mine)
            waiting = sorted(
                (-task.priority, task.number, task.concurrency_limit)
                for task in mine
                if task.state is State.SUSPENDED and task.reason == "limit"
            )
            assert not waiting or waiting[0][2] <= taken

    def _nobody_waits_for_what_is_over(self, tasks) -> None:
        over = {task.id for task in tasks if not task.is_open}
        for task in tasks:
            blockers = self.yard.read(lambda r, task=task: r.work.blockers(task))
            assert not blockers or task.state is State.SUSPENDED
            assert not over.intersection(subject for kind, subject in blockers if kind == "task")
            if task.state is State.SUSPENDED and task.reason == "blocked":
                assert blockers or task.wake_at is not None


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32))
def test_whatever_is_done_in_any_order_only_listed_moves_are_made_and_no_slot_is_lost(yard, seed):
    number = yard.store.write(lambda r: r.accounts.insert_organisation(f"walk-{next(WALKS)}", "", {}, r.now))
    walk = Walk(type(yard)(yard.store, yard.services, yard.clock, number), random.Random(seed))
    for _ in range(40):
        walk.step()
    walk.end()
