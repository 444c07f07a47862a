"""Claiming: who gets what, in which order, and who gets nothing."""

from datetime import timedelta

import pytest

from taskyard.core.errors import Conflict, LeaseLost, LimitReached, NotFound, WrongState
from taskyard.core.outcome import Done, Released
from taskyard.core.queue import QueueSettings, RateLimit
from taskyard.core.task import State
from taskyard.core.worker import Lane


def set_queue(yard, name="default", **settings):
    def write(records):
        if not records.queues.insert(yard.organisation, name, QueueSettings(**settings), records.now):
            records.queues.update(yard.organisation, name, QueueSettings(**settings), records.now)

    yard.write(write)


def test_a_claimed_task_runs_under_its_holder_and_a_new_number(yard):
    task = yard.submit()
    worker = yard.worker()

    [claimed] = worker.claim()

    assert (claimed.id, claimed.state, claimed.claims) == (task.id, State.RUNNING, 1)
    assert claimed.holder == f"worker:{worker.id}"
    assert claimed.started_at == yard.clock.now
    assert yard.events(task.id) == ["task.submitted", "task.started"]


def test_no_task_is_given_twice(yard):
    for _ in range(10):
        yard.submit()
    one, two = yard.worker(), yard.worker()

    given = [task.id for worker in (one, two, one, two) for task in worker.claim(3)]

    assert len(given) == len(set(given)) == 10


def test_more_urgent_goes_first_and_then_who_has_waited_longer(yard):
    low = yard.submit(priority=-1)
    first = yard.submit()
    second = yard.submit()
    high = yard.submit(priority=5)

    worker = yard.worker()

    assert [worker.claim(1)[0].id for _ in range(4)] == [high.id, first.id, second.id, low.id]


def test_what_is_claimed_together_comes_in_the_same_order(yard):
    tasks = [yard.submit(priority=priority) for priority in (0, 5, -1, 5)]

    claimed = yard.worker().claim(10)

    assert [task.id for task in claimed] == [tasks[position].id for position in (1, 3, 0, 2)]


def test_more_urgent_goes_first_whatever_its_type(yard):
    for _ in range(5):
        yard.submit("resize")
    urgent = [yard.submit("encode", priority=1) for _ in range(3)]
    worker = yard.worker("resize", "encode")

    assert {task.id for task in worker.claim(3)} == {task.id for task in urgent}
    assert len(worker.claim(10)) == 5


def test_no_share_of_a_type_is_filled_with_less_urgent_ones_while_another_has_more_urgent(yard):
    for priority in (1, 0, 0):
        yard.submit("resize", priority=priority)
    for _ in range(3):
        yard.submit("encode", priority=1)

    assert [task.priority for task in yard.worker("resize", "encode").claim(4)] == [1, 1, 1, 1]


def test_equally_urgent_types_share_so_that_none_starves(yard):
    for _ in range(10):
        yard.submit("resize")
    yard.submit("encode")

    types = [task.type for task in yard.worker("resize", "encode").claim(4)]

    assert sorted(types) == ["encode", "resize", "resize", "resize"]


def test_queues_share_so_that_a_flood_in_one_does_not_starve_another(yard):
    for _ in range(10):
        yard.submit(queue="big", priority=10)
    yard.submit(queue="small")
    worker = yard.worker(queue="big")
    worker.lanes.append(Lane("small", "resize"))

    assert sorted(task.queue for task in worker.claim(4)) == ["big", "big", "big", "small"]


def test_a_worker_gets_only_what_it_can_run(yard):
    yard.submit("encode")
    mine = yard.submit("resize")
    yard.submit("resize", queue="elsewhere")

    assert [task.id for task in yard.worker("resize").claim(10)] == [mine.id]


def test_no_more_is_given_than_is_asked_for(yard):
    for type in ("resize", "encode", "shrink"):
        for _ in range(4):
            yard.submit(type)
    worker = yard.worker("resize", "encode", "shrink")

    assert [len(worker.claim(limit)) for limit in (0, 1, 2, 5)] == [0, 1, 2, 5]


def test_a_dead_worker_is_given_nothing(yard):
    yard.submit()
    worker = yard.worker(lease=timedelta(seconds=30))
    yard.clock.forward(seconds=31)

    with pytest.raises(LeaseLost):
        worker.claim()


def test_a_worker_that_beats_lives(yard):
    yard.submit()
    worker = yard.worker(lease=timedelta(seconds=30))
    for _ in range(5):
        yard.clock.forward(seconds=20)
        worker.beat()

    assert len(worker.claim()) == 1


def test_a_lease_that_has_run_out_is_not_renewed(yard):
    worker = yard.worker(lease=timedelta(seconds=30))
    yard.clock.forward(seconds=31)

    with pytest.raises(LeaseLost):
        worker.beat()


@pytest.mark.parametrize("end", ["leaves", "is reaped"])
def test_a_worker_that_has_ended_stays_so_whatever_the_clock_says(yard, end):
    yard.submit()
    worker = yard.worker(lease=timedelta(seconds=30))
    if end == "leaves":
        yard.write(yard.services.work.leave, yard.actor, worker.id)
    else:
        yard.clock.forward(seconds=31)
        yard.reap()
        yard.clock.forward(seconds=-31)

    with pytest.raises(LeaseLost):
        worker.beat()
    with pytest.raises(LeaseLost):
        worker.claim()


def test_a_worker_registers_once_under_one_id(yard):
    worker = yard.worker()

    with pytest.raises(Conflict):
        yard.write(
            yard.services.work.register,
            yard.actor,
            id=worker.id,
            name="again",
            lanes=[],
            slots=1,
            lease=timedelta(seconds=30),
        )


def test_a_paused_queue_gives_nothing_and_a_resumed_one_does(yard):
    task = yard.submit()
    set_queue(yard, paused=True)
    worker = yard.worker("resize", "encode")

    assert worker.claim() == []
    assert yard.write(yard.services.work.claim_next, yard.actor, "default") is None
    with pytest.raises(Conflict, match="paused"):
        yard.write(yard.services.work.claim_task, yard.actor, task.id)

    set_queue(yard, paused=False)
    assert len(worker.claim()) == 1


# -- people --------------------------------------------------------------------------------------------------------------------


def test_a_person_gets_the_most_urgent_under_a_lease_of_the_queues_length(yard):
    set_queue(yard, "review", lease=timedelta(hours=2))
    yard.submit("image", queue="review")
    urgent = yard.submit("text", queue="review", priority=1)

    claimed = yard.write(yard.services.work.claim_next, yard.actor, "review")

    assert (claimed.id, claimed.holder) == (urgent.id, "user:1")
    assert claimed.lease_until == yard.clock.now + timedelta(hours=2)


def test_what_has_expired_is_in_nobodys_way(yard):
    late = yard.submit("image", priority=9, start_by=yard.clock.now + timedelta(minutes=1))
    other = yard.submit("text")
    yard.clock.forward(minutes=1)

    with pytest.raises(WrongState):
        yard.write(yard.services.work.claim_task, yard.actor, late.id)
    assert [task.id for task in yard.worker("image", "text").claim(1)] == [other.id]


def test_what_has_expired_is_given_to_no_worker(yard):
    """Also before anybody came by to fail it."""
    late = yard.submit(start_by=yard.clock.now + timedelta(minutes=1))
    yard.clock.forward(minutes=1)

    assert yard.worker().claim() == []
    assert yard.get(late).state is State.READY
    assert yard.write(yard.services.tasks.expire, 10) == 1


def test_a_person_who_holds_a_task_already_keeps_it(yard):
    task = yard.submit()
    first = yard.write(yard.services.work.claim_task, yard.actor, task.id)

    again = yard.write(yard.services.work.claim_task, yard.actor, task.id)

    assert (again.claims, first.claims) == (1, 1)


def test_nobody_takes_a_task_that_another_holds(yard):
    task = yard.submit()
    yard.worker().claim()

    with pytest.raises(WrongState):
        yard.write(yard.services.work.claim_task, yard.actor, task.id)


def test_a_queue_that_does_not_exist_is_not_found(yard):
    with pytest.raises(NotFound):
        yard.write(yard.services.work.claim_next, yard.actor, "nowhere")


def test_a_person_keeps_a_lease_by_extending_it_until_it_has_run_out(yard):
    task = yard.submit()
    claimed = yard.write(yard.services.work.claim_task, yard.actor, task.id, lease=timedelta(minutes=10))
    yard.clock.forward(minutes=9)
    extended = yard.write(yard.services.work.extend, yard.actor, claimed, lease=timedelta(minutes=10))
    assert extended.lease_until == yard.clock.now + timedelta(minutes=10)

    yard.clock.forward(minutes=11)
    with pytest.raises(LeaseLost):
        yard.write(yard.services.work.extend, yard.actor, extended, lease=timedelta(minutes=10))


def test_a_person_who_is_away_too_long_loses_the_task_and_no_try(yard):
    task = yard.submit()
    claimed = yard.write(yard.services.work.claim_task, yard.actor, task.id, lease=timedelta(minutes=10))
    yard.clock.forward(minutes=11)

    with pytest.raises(LeaseLost):  # late is refused, even before the reaper came by
        yard.settle(claimed, Done())
    assert yard.reap() == 1

    back = yard.get(task)
    assert (back.state, back.failures, back.losses) == (State.READY, 0, 0)
    assert yard.events(task.id) == ["task.submitted", "task.started", "task.released"]


def test_what_a_person_holds_in_time_is_not_taken_away(yard):
    yard.submit()
    [task] = [yard.write(yard.services.work.claim_next, yard.actor, "default", lease=timedelta(minutes=10))]
    yard.clock.forward(minutes=10)

    assert yard.reap() == 0
    assert yard.settle(task, Done()).state is State.SUCCEEDED


def test_a_person_who_takes_a_very_task_is_bound_by_the_limits_of_its_queue(yard):
    tasks = [yard.submit() for _ in range(3)]
    set_queue(yard, concurrency=1)
    yard.write(yard.services.work.claim_task, yard.actor, tasks[0].id)
    with pytest.raises(LimitReached):
        yard.write(yard.services.work.claim_task, yard.actor, tasks[1].id)

    set_queue(yard, rate=RateLimit(count=1, period=timedelta(minutes=1)))
    yard.write(yard.services.work.claim_task, yard.actor, tasks[1].id)
    with pytest.raises(LimitReached) as refusal:
        yard.write(yard.services.work.claim_task, yard.actor, tasks[2].id)
    yard.clock.forward(seconds=refusal.value.retry_after.total_seconds())
    yard.write(yard.services.work.claim_task, yard.actor, tasks[2].id)


def test_who_gives_a_task_back_spends_no_try_and_goes_to_the_end_of_the_line(yard):
    first, second = yard.submit(), yard.submit()
    claimed = yard.write(yard.services.work.claim_next, yard.actor, "default")
    yard.clock.forward(seconds=1)
    released = yard.settle(claimed, Released("not mine"))

    assert (released.id, released.state, released.failures) == (first.id, State.READY, 0)
    assert yard.write(yard.services.work.claim_next, yard.actor, "default").id == second.id


# -- leaving -------------------------------------------------------------------------------------------------------------------


def test_a_worker_that_leaves_gives_back_what_it_holds_in_its_old_place(yard):
    first = yard.submit()
    yard.submit()
    worker = yard.worker()
    worker.claim(1)
    yard.clock.forward(seconds=1)
    yard.write(yard.services.work.leave, yard.actor, worker.id)

    back = yard.get(first)
    assert (back.state, back.failures, back.losses) == (State.READY, 0, 0)
    assert [task.id for task in yard.worker().claim(1)] == [first.id]
    with pytest.raises(LeaseLost):
        worker.claim()


def test_a_worker_that_is_dead_cannot_leave_so_that_the_reaper_finds_what_it_held(yard):
    task = yard.submit()
    worker = yard.worker(lease=timedelta(seconds=30))
    worker.claim()
    yard.clock.forward(seconds=31)

    yard.write(yard.services.work.leave, yard.actor, worker.id)
    yard.reap()

    assert (yard.get(task).state, yard.get(task).losses) == (State.READY, 1)
