"""
Two processes, one PostgreSQL database: what they do at the same moment comes out as if one had come after the other.

Each yard here has its own store: its own writer, connections and caches, as a process of its own would.
"""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import psycopg
import pytest

from taskyard.core.errors import Conflict, LeaseLost, TaskyardError
from taskyard.core.event import Cursor
from taskyard.core.hold import Hold, Settlement
from taskyard.core.outcome import Done, Waits
from taskyard.core.queue import QueueSettings, RateLimit
from taskyard.core.task import NewTask, OnConflict, State
from taskyard.core.worker import LEASE, Lane
from taskyard.service.tasks import Submission
from taskyard.store.postgres import PostgresDatabase
from taskyard.store.records import Records
from taskyard.store.tasks import TaskFilter
from tests.conftest import HiredWorker

ROUNDS = 15


@pytest.fixture
def at_once():
    """Call some functions at the same moment, each on a thread of its own; return their answers, exceptions among them."""
    with ThreadPoolExecutor(8) as threads:

        def at_once(*calls):
            together = threading.Barrier(len(calls))

            def called(call):
                together.wait()
                try:
                    return call()
                except TaskyardError as refusal:
                    return refusal

            return list(threads.map(called, calls))

        yield at_once


def submit_many(yard, *news):
    return yard.store.together(yard.services.tasks.submit, [Submission(yard.actor, new) for new in news])


def settle_many(yard, *tasks):
    return yard.store.together(
        yard.services.work.settle, [Settlement(Hold.of(task), Done()) for task in tasks]
    )


def states(yard, *ids):
    return [task.state for task in yard.read(lambda r: r.tasks.get_many(yard.organisation, list(ids)))]


def slots_taken(yard, key):
    return yard.read(lambda r: r.work.taken_slots(yard.organisation, key))


def limit_queue(yard, name="default", **limits):
    settings = QueueSettings(**limits)
    yard.store.write(
        lambda r: (
            r.queues.insert(yard.organisation, name, settings, r.now),
            r.queues.update(yard.organisation, name, settings, r.now),
        )
    )


def test_a_task_is_never_claimed_twice(yards, at_once):
    submit_many(yards[0], *(NewTask(type="resize") for _ in range(300)))
    workers = [yard.worker() for yard in yards for _ in range(2)]

    def drain(worker):
        claimed = []
        while found := worker.claim(7):
            claimed += found
        return claimed

    claimed = [
        task.id for tasks in at_once(*(partial(drain, worker) for worker in workers)) for task in tasks
    ]

    assert len(claimed) == 300
    assert Counter(Counter(claimed).values()) == {1: 300}


def test_one_attempt_that_is_settled_by_two_is_settled_once(yards, at_once):
    worker = yards[0].worker()
    for _ in range(ROUNDS):
        yards[0].submit()
        [task] = worker.claim()
        [one], [other] = at_once(*(partial(settle_many, yard, task) for yard in yards))

        assert sorted(isinstance(each, LeaseLost) for each in (one, other)) == [False, True]
        assert yards[0].events(task.id).count("task.succeeded") == 1


def test_a_key_is_taken_by_one_and_the_other_is_told_whose_it_is(yards, at_once):
    for round in range(ROUNDS):
        one, other = at_once(
            *(partial(yard.submit, key=f"k{round}", on_conflict=OnConflict.RETURN) for yard in yards)
        )
        assert one.id == other.id

        one, other = at_once(
            *(partial(yard.submit, key=f"r{round}", on_conflict=OnConflict.REJECT) for yard in yards)
        )
        refused = [each for each in (one, other) if isinstance(each, Conflict)]
        [taken] = [each for each in (one, other) if not isinstance(each, Conflict)]
        assert [each.existing for each in refused] == [taken.id]


def test_many_keys_in_contrary_orders_are_all_answered(yards, at_once):
    """Each waits for a key that the other has: PostgreSQL undoes one of the two, which is run again."""
    for round in range(3):
        keys = [f"{round}:{n}" for n in range(40)]
        orders = [
            [NewTask(type="resize", key=key, on_conflict=OnConflict.RETURN) for key in each]
            for each in (keys, keys[::-1])
        ]
        first, second = at_once(
            *(partial(submit_many, yard, *news) for yard, news in zip(yards, orders, strict=True))
        )

        assert [task.id for task in first] == [task.id for task in second[::-1]]


def test_slots_of_a_key_are_never_exceeded(yards, at_once):
    for round in range(ROUNDS):
        new = NewTask(type="resize", concurrency_key=f"gpu {round}", concurrency_limit=3)
        at_once(*(partial(submit_many, yard, new, new) for yard in yards))

        assert slots_taken(yards[0], f"gpu {round}") == 3


def test_slots_of_many_keys_taken_in_contrary_orders_are_never_exceeded(yards, at_once):
    keys = [f"k{n}" for n in range(10)]
    for _ in range(ROUNDS):
        orders = [
            [NewTask(type="resize", concurrency_key=key) for key in each] for each in (keys, keys[::-1])
        ]
        answers = at_once(
            *(partial(submit_many, yard, *news) for yard, news in zip(yards, orders, strict=True))
        )
        assert not [each for tasks in answers for each in tasks if isinstance(each, Exception)]

    assert {slots_taken(yards[0], key) for key in keys} == {1}


def test_a_slot_that_is_freed_by_two_at_once_is_given_on_and_none_is_lost(yards, at_once):
    new = NewTask(type="resize", concurrency_key="gpu", concurrency_limit=2)
    submit_many(yards[0], *(new for _ in range(2 * ROUNDS)))
    workers = [yard.worker() for yard in yards]
    done = 0
    while True:
        held = [task for worker in workers for task in worker.claim(1)]
        if not held:
            break
        assert len(held) <= 2
        at_once(*(partial(settle_many, yard, task) for yard, task in zip(yards, held, strict=False)))
        done += len(held)

    assert done == 2 * ROUNDS


def test_the_concurrency_of_a_queue_is_never_exceeded(yards, at_once):
    limit_queue(yards[0], concurrency=5)
    submit_many(yards[0], *(NewTask(type="resize", weight=1 + n % 2) for n in range(60)))
    workers = [yard.worker() for yard in yards for _ in range(2)]
    done = 0
    while done < 60:
        claims = at_once(*(partial(worker.claim, 4) for worker in workers))
        held = [task for tasks in claims for task in tasks]
        assert 0 < sum(task.weight for task in held) <= 5
        settle_many(yards[0], *held)
        done += len(held)


def test_the_rate_of_a_queue_is_never_exceeded(yards, at_once):
    limit_queue(yards[0], rate=RateLimit(count=7, period=timedelta(minutes=1)))
    submit_many(yards[0], *(NewTask(type="resize") for _ in range(40)))
    workers = [yard.worker() for yard in yards for _ in range(2)]
    claims = [
        task
        for _ in range(5)
        for tasks in at_once(*(partial(worker.claim, 3) for worker in workers))
        for task in tasks
    ]

    assert len(claims) == 7


def test_claims_from_the_same_limited_queues_do_not_wait_for_one_another_in_a_circle(yards, url):
    """Whoever locks several queues locks them in one order, whatever the order of the lanes."""
    collisions, workers = [], []
    for name in ("a", "b"):
        limit_queue(yards[0], name, concurrency=1000)
        submit_many(yards[0], *(NewTask(type="resize", queue=name) for _ in range(10)))
    for yard, order in zip(yards, (("a", "b"), ("b", "a")), strict=True):
        lanes = [Lane(name, "resize") for name in order]
        workers.append(HiredWorker(yard, yard.worker(queue="a").id, lanes, LEASE))
        yard.store._writer._again = lambda batch, error, again=yard.store._writer._again: (
            collisions.append(error),
            again(batch, error),
        )
    third = Records(PostgresDatabase(url).connect(writes=True))

    with ThreadPoolExecutor(2) as threads:
        with third.connection.transaction():
            third.queues.lock(yards[0].organisation, "a")
            claims = [threads.submit(worker.claim, 8) for worker in workers]
            until_two_wait(url)
        claimed = [task.id for claim in claims for task in claim.result()]
    third.connection.close()

    assert collisions == []
    assert len(set(claimed)) == len(claimed) == 16


def until_two_wait(url):
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        ).fetchone() != (2,):
            pass


def test_what_waits_for_two_goes_on_when_both_end_at_once(yards, at_once):
    worker = yards[0].worker("child", "parent")
    for _ in range(ROUNDS):
        parent = yards[0].submit("parent")
        [parent] = worker.claim()
        children = [yards[0].submit("child"), yards[0].submit("child")]
        yards[0].settle(parent, Waits(tasks=tuple(child.id for child in children)))
        held = worker.claim(2)
        at_once(*(partial(settle_many, yard, task) for yard, task in zip(yards, held, strict=True)))

        assert states(yards[1], parent.id) == [State.READY]
        [parent] = worker.claim()
        yards[0].settle(parent, Done())


def test_what_begins_to_wait_for_one_that_ends_at_that_moment_does_not_wait_for_ever(yards, at_once):
    worker = yards[0].worker("child", "parent")
    for _ in range(ROUNDS):
        yards[0].submit("parent")
        [parent] = worker.claim()
        child = yards[0].submit("child")
        [running] = worker.claim()
        at_once(
            partial(settle_many, yards[0], running),
            partial(yards[1].settle, parent, Waits(tasks=(child.id,))),
        )
        assert states(yards[0], parent.id) == [State.READY]

        blocked = NewTask(type="parent", blocked_by=(yards[0].submit("child").id,))
        [again] = [task for task in worker.claim(2) if task.type == "child"] or worker.claim()
        _, [late] = at_once(partial(settle_many, yards[0], again), partial(submit_many, yards[1], blocked))
        assert states(yards[0], late.id) == [State.READY]
        settle_many(yards[0], *worker.claim(9), *held_by(yards[0], worker))


def held_by(yard, worker):
    return yard.read(
        lambda r: r.tasks.search(yard.organisation, TaskFilter(holder=f"worker:{worker.id}"), limit=100)
    )


def test_a_worker_that_leaves_while_it_claims_leaves_nothing_behind(yards, at_once):
    for _ in range(ROUNDS):
        task = yards[0].submit()
        worker = yards[0].worker()
        at_once(
            worker.claim, partial(yards[1].write, yards[1].services.work.leave, yards[1].actor, worker.id)
        )
        assert states(yards[0], task.id) == [State.READY]
        yards[0].write(yards[0].services.tasks.cancel, yards[0].actor, [task.id])


def test_a_worker_that_is_reaped_while_it_settles_has_settled_or_lost(yards, at_once, clock):
    for _ in range(ROUNDS):
        yards[0].submit()
        worker = yards[0].worker()
        [task] = worker.claim()
        clock.forward(seconds=worker.lease.total_seconds() + 1)
        [[answer], taken] = at_once(partial(settle_many, yards[0], task), yards[1].reap)
        taken += yards[1].reap()

        assert isinstance(answer, LeaseLost)  # its lease was over, whoever came first
        assert taken == 1
        [found] = yards[0].worker().claim()
        assert found.claims == task.claims + 1
        yards[0].settle(found, Done())


def test_a_beat_does_not_wait_for_a_claim(yards):
    """A heartbeat that waits for a long claim, and a claim that waits for it elsewhere, would make a circle."""
    worker = yards[0].worker()
    with ThreadPoolExecutor(1) as threads:
        entered, beaten = threading.Event(), threading.Event()

        def claim_and_hold(records):
            yards[0].services.work.claim(records, yards[0].actor, worker.id, worker.lanes, 1)
            entered.set()
            return beaten.wait(10)

        claiming = threads.submit(yards[0].store.write, claim_and_hold)
        entered.wait()
        yards[1].write(yards[1].services.work.beat, yards[1].actor, worker.id, lease=worker.lease)
        beaten.set()
        assert claiming.result()


def test_two_who_do_what_is_due_do_it_once(yards, at_once, clock):
    submit_many(
        yards[0], *(NewTask(type="resize", run_at=clock() + timedelta(seconds=1)) for _ in range(100))
    )
    clock.forward(seconds=2)
    moved = at_once(*(yard.due for yard in yards))
    moved.append(yards[0].due())

    assert sum(moved) == 100
    events = yards[0].read(lambda r: r.events.read(Cursor(), limit=1000))
    assert [event.kind for event in events].count("task.ready") == 100
