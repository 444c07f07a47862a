"""Waiting: for tasks, for events, until a time; whichever comes first, nothing waits for what is over."""

from datetime import timedelta

import pytest

from taskyard.core.errors import Invalid, TooLarge
from taskyard.core.hold import Hold, Settlement
from taskyard.core.limits import MAX_PAYLOAD_BYTES
from taskyard.core.outcome import Done, Failed, Stopped, Waits
from taskyard.core.task import NewTask, State


@pytest.fixture
def worker(yard):
    return yard.worker("parent", lease=timedelta(days=30))


def run(yard, worker, outcome):
    """Submit a task and let its first attempt end with *outcome*."""
    task = yard.submit("parent")
    [claimed] = worker.claim()
    assert claimed.id == task.id
    return yard.settle(claimed, outcome)


def finish(yard, task, outcome=None):
    [claimed] = yard.worker(task.type).claim()
    assert claimed.id == task.id
    return yard.settle(claimed, outcome or Done())


def send(yard, name, payload=None):
    return yard.write(yard.services.tasks.send, yard.actor, name, payload)


def step_names(yard, task):
    return [(step.name, step.output) for step in yard.read(yard.services.tasks.steps, yard.actor, task.id)]


# -- for tasks -----------------------------------------------------------------------------------------------------------------


def test_a_task_that_waits_goes_on_when_all_it_waits_for_has_ended_and_spends_no_try(yard, worker):
    one, two = yard.submit("one"), yard.submit("two")
    waiting = run(yard, worker, Waits(tasks=(one.id, two.id)))
    assert (waiting.state, waiting.reason, waiting.failures) == (State.SUSPENDED, "blocked", 0)
    assert worker.claim() == []

    finish(yard, one)
    assert yard.get(waiting).state is State.SUSPENDED
    finish(yard, two)

    [again] = worker.claim()
    assert (again.id, again.claims, again.failures) == (waiting.id, 2, 0)
    assert yard.events(waiting.id) == [
        "task.submitted",
        "task.started",
        "task.suspended",
        "task.ready",
        "task.started",
    ]


@pytest.mark.parametrize(
    "outcome", [Done(), Failed("no", final=True), Stopped()], ids=["success", "failure", "cancellation"]
)
def test_any_end_is_an_end(yard, worker, outcome):
    one = yard.submit("one")
    waiting = run(yard, worker, Waits(tasks=(one.id,)))

    finish(yard, one, outcome)

    assert yard.get(waiting).state is State.READY


def test_a_failure_that_is_tried_again_is_no_end(yard, worker):
    one = yard.submit("one")
    waiting = run(yard, worker, Waits(tasks=(one.id,)))

    finish(yard, one, Failed("no"))

    assert yard.get(waiting).state is State.SUSPENDED


@pytest.mark.parametrize("end", ["canceled", "expired", "poisoned"])
def test_ends_that_no_attempt_made_are_ends_too(yard, worker, end):
    one = yard.submit("one", start_by=yard.clock.now + timedelta(minutes=1))
    waiting = run(yard, worker, Waits(tasks=(one.id,)))

    if end == "canceled":
        yard.write(yard.services.tasks.cancel_one, yard.actor, one.id)
    elif end == "expired":
        yard.clock.forward(minutes=1)
        yard.write(yard.services.tasks.expire, 10)
    else:
        for _ in range(3):
            yard.worker("one", lease=timedelta(seconds=1)).claim()
            yard.clock.forward(seconds=2)
            yard.reap()

    assert not yard.get(one).is_open
    assert yard.get(waiting).state is State.READY


def test_what_has_ended_before_is_not_waited_for(yard, worker):
    one = yard.submit("one")
    finish(yard, one)

    assert run(yard, worker, Waits(tasks=(one.id,))).state is State.READY
    assert len(worker.claim()) == 1


def test_nobody_waits_for_himself(yard, worker):
    task = yard.submit("parent")
    [claimed] = worker.claim()

    assert yard.settle(claimed, Waits(tasks=(task.id,))).state is State.READY


def test_who_would_wait_for_what_nobody_knows_is_told_of_what_and_still_holds_the_task(yard, worker):
    one = yard.submit("one")
    yard.submit("parent")
    [claimed] = worker.claim()

    with pytest.raises(Invalid, match="there is no task nobody; there is no task nothing") as refusal:
        yard.settle(claimed, Waits(tasks=(one.id, "nobody", "nothing")))

    assert [fault.pointer for fault in refusal.value.faults] == ["/tasks/1", "/tasks/2"]
    assert yard.get(claimed) == claimed
    assert yard.settle(claimed, Done()).state is State.SUCCEEDED


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_ends_in_the_same_batch_as_the_wait_begins_is_not_missed(yard, worker, order):
    one = yard.submit("one")
    waiting = yard.submit("parent")
    [first] = worker.claim()
    [second] = yard.worker("one").claim()
    batch = [Settlement(Hold.of(first), Waits(tasks=(one.id,))), Settlement(Hold.of(second), Done())]

    yard.store.together(yard.services.work.settle, [batch[position] for position in order])

    assert yard.get(waiting).state is State.READY


def test_two_that_end_in_one_batch_let_go_on_who_waits_for_both(yard, worker):
    tasks = [yard.submit("one") for _ in range(2)]
    waiting = run(yard, worker, Waits(tasks=tuple(task.id for task in tasks)))
    claimed = yard.worker("one").claim(2)

    yard.store.together(yard.services.work.settle, [Settlement(Hold.of(task), Done()) for task in claimed])

    assert yard.get(waiting).state is State.READY
    assert yard.events(waiting.id).count("task.ready") == 1


def test_fan_out_and_fan_in_over_children(yard, worker):
    task = yard.submit("parent")
    [parent] = worker.claim()
    news = [NewTask(type="child", input=number) for number in range(20)]
    ids = yard.write(yard.services.work.spawn, yard.actor, Hold.of(parent), "fan-out", news)
    assert {yard.get(id).parent for id in ids} == {task.id}
    yard.settle(parent, Waits(tasks=tuple(ids)))

    children = yard.worker("child")
    for _ in range(20):
        assert worker.claim() == []
        [child] = children.claim()
        yard.settle(child, Done(child.input))

    assert len(worker.claim()) == 1


# -- for events ----------------------------------------------------------------------------------------------------------------


def test_a_task_waits_for_an_event_and_finds_what_was_sent(yard, worker):
    waiting = run(yard, worker, Waits(events=("approved",)))
    assert waiting.state is State.SUSPENDED

    assert send(yard, "approved", {"by": "ana"}) is True

    assert [task.id for task in worker.claim()] == [waiting.id]
    assert step_names(yard, waiting) == [("event:approved", {"by": "ana"})]
    assert yard.events("approved") == ["event.sent"]


def test_what_was_sent_before_is_found_by_who_waits_later(yard, worker):
    send(yard, "approved", 1)

    task = run(yard, worker, Waits(events=("approved",)))

    assert task.state is State.READY
    assert step_names(yard, task) == [("event:approved", 1)]


def test_the_first_that_is_sent_stays(yard, worker):
    assert send(yard, "approved", 1) is True
    assert send(yard, "approved", 2) is False

    assert step_names(yard, run(yard, worker, Waits(events=("approved",)))) == [("event:approved", 1)]
    assert yard.events("approved") == ["event.sent"]


def test_an_event_reaches_all_who_wait_and_only_its_own_organisation(yard, worker):
    first = run(yard, worker, Waits(events=("go",)))
    second = run(yard, worker, Waits(events=("go", "other")))
    other = yard.other_organisation()

    yard.write(yard.services.tasks.send, other, "go", None)
    assert yard.get(first).state is State.SUSPENDED
    send(yard, "go")
    assert [yard.get(task).state for task in (first, second)] == [State.READY, State.SUSPENDED]
    assert step_names(yard, second) == [("event:go", None)]


def test_a_task_may_wait_for_tasks_and_events_together(yard, worker):
    one = yard.submit("one")
    waiting = run(yard, worker, Waits(tasks=(one.id,), events=("go",)))

    send(yard, "go")
    assert yard.get(waiting).state is State.SUSPENDED
    finish(yard, one)
    assert yard.get(waiting).state is State.READY


@pytest.mark.parametrize("name", ["", "\0", "\ud800", "x" * 501])
def test_an_event_whose_name_cannot_be_kept_is_refused(yard, worker, name):
    if name:
        with pytest.raises(Invalid):
            send(yard, name)
        yard.submit("parent")
        [task] = worker.claim()
        with pytest.raises(Invalid):
            yard.settle(task, Waits(events=(name,)))
        assert yard.get(task).state is State.RUNNING


def test_a_payload_that_cannot_be_kept_is_refused(yard):
    with pytest.raises(TooLarge):
        send(yard, "go", "x" * MAX_PAYLOAD_BYTES)
    with pytest.raises(Invalid):
        send(yard, "go", object())
    assert send(yard, "go", 1) is True


# -- until a time --------------------------------------------------------------------------------------------------------------


def test_a_task_sleeps_until_its_time(yard, worker):
    waiting = run(yard, worker, Waits(until=yard.clock.now + timedelta(days=2)))
    assert yard.read(lambda r: r.work.next_due_at()) == yard.clock.now + timedelta(days=2)

    yard.clock.forward(days=1, hours=23)
    assert yard.due() == 0
    yard.clock.forward(hours=1)
    assert yard.due() == 1
    assert [task.id for task in worker.claim()] == [waiting.id]


def test_a_time_bounds_the_wait_and_what_comes_later_finds_nobody(yard, worker):
    one = yard.submit("one")
    waiting = run(
        yard,
        worker,
        Waits(tasks=(one.id,), events=("go",), until=yard.clock.now + timedelta(minutes=1)),
    )
    yard.clock.forward(minutes=1)
    assert yard.due() == 1
    [again] = worker.claim()
    assert yard.read(lambda r: r.work.blockers(again)) == []

    send(yard, "go", "too late")
    finish(yard, one)

    assert yard.get(waiting) == again
    assert step_names(yard, waiting) == []


def test_who_went_on_in_time_is_not_woken_again(yard, worker):
    waiting = run(yard, worker, Waits(events=("go",), until=yard.clock.now + timedelta(minutes=1)))
    send(yard, "go")
    assert yard.get(waiting).wake_at is None

    yard.clock.forward(minutes=1)
    assert yard.due() == 0


# -- from the beginning --------------------------------------------------------------------------------------------------------


def test_a_task_may_be_submitted_to_wait_for_others(yard):
    one, two = yard.submit("one"), yard.submit("two")
    blocked = yard.submit("three", blocked_by=(one.id, two.id, one.id))
    assert (blocked.state, blocked.reason) == (State.SUSPENDED, "blocked")

    finish(yard, one)
    assert yard.get(blocked).state is State.SUSPENDED
    finish(yard, two)
    assert yard.get(blocked).state is State.READY


def test_a_task_submitted_to_wait_for_what_has_ended_is_ready(yard):
    one = yard.submit("one")
    finish(yard, one)

    assert yard.submit("two", blocked_by=(one.id,)).state is State.READY


def test_what_is_unblocked_before_its_time_waits_for_that(yard):
    one = yard.submit("one")
    blocked = yard.submit("two", blocked_by=(one.id,), run_at=yard.clock.now + timedelta(hours=1))
    finish(yard, one)
    assert (yard.get(blocked).state, yard.get(blocked).reason) == (State.SCHEDULED, "delayed")

    yard.clock.forward(hours=1)
    yard.due()
    assert yard.get(blocked).state is State.READY
    assert yard.events(blocked.id) == ["task.submitted", "task.delayed", "task.ready"]


def test_what_is_unblocked_waits_for_a_slot_of_its_key(yard):
    holder = yard.submit("holder", concurrency_key="db")
    one = yard.submit("one")
    blocked = yard.submit("two", blocked_by=(one.id,), concurrency_key="db")
    finish(yard, one)
    assert (yard.get(blocked).state, yard.get(blocked).reason) == (State.SUSPENDED, "limit")

    finish(yard, holder)
    assert yard.get(blocked).state is State.READY
    assert yard.events(blocked.id) == ["task.submitted", "task.suspended", "task.ready"]


def test_what_is_blocked_takes_no_slot_of_its_key(yard):
    one = yard.submit("one")
    yard.submit("two", blocked_by=(one.id,), concurrency_key="db")

    assert yard.submit("three", concurrency_key="db").state is State.READY


def test_a_free_slot_does_not_start_what_is_blocked(yard):
    one = yard.submit("one")
    blocked = yard.submit("two", blocked_by=(one.id,), concurrency_key="db")
    finish(yard, yard.submit("three", concurrency_key="db"))

    assert (yard.get(blocked).state, yard.get(blocked).reason) == (State.SUSPENDED, "blocked")


def test_what_is_canceled_while_it_waits_is_left_alone_by_what_it_waited_for(yard, worker):
    one = yard.submit("one")
    waiting = run(yard, worker, Waits(tasks=(one.id,), events=("go",)))
    yard.write(yard.services.tasks.cancel_one, yard.actor, waiting.id)

    finish(yard, one)
    send(yard, "go")

    assert yard.get(waiting).state is State.CANCELED
    assert step_names(yard, waiting) == []
