"""Cancelling: at once where nobody works, by asking where a worker does, and everything below."""

from dataclasses import replace
from datetime import timedelta

import pytest

from taskyard.core.actor import Permission
from taskyard.core.errors import Forbidden, LeaseLost, NotFound, WrongState
from taskyard.core.hold import Hold
from taskyard.core.outcome import Done, Failed, Later, Released, Stopped, Waits
from taskyard.core.task import NewTask, State


def cancel(yard, *tasks):
    return yard.write(yard.services.tasks.cancel, yard.actor, [task.id for task in tasks])


def test_what_nobody_holds_is_canceled_at_once_and_never_starts(yard):
    blocker = yard.submit("other")
    ready = yard.submit()
    scheduled = yard.submit(run_at=yard.clock.now + timedelta(minutes=1))
    suspended = yard.submit(blocked_by=(blocker.id,))

    answers = cancel(yard, ready, scheduled, suspended)

    assert [task.state for task in answers] == [State.CANCELED] * 3
    yard.settle(yard.worker("other").claim()[0], Done())
    yard.clock.forward(minutes=2)
    yard.due()
    assert yard.worker().claim(10) == []
    assert yard.events(ready.id) == ["task.submitted", "task.canceled"]


def test_what_runs_is_asked_to_stop_and_its_worker_learns_with_the_next_beat(yard):
    task = yard.submit()
    worker = yard.worker()
    [claimed] = worker.claim()
    assert worker.beat() == []

    [asked] = cancel(yard, task)

    assert (asked.state, asked.cancel_requested_at) == (State.RUNNING, yard.clock.now)
    assert worker.beat() == [(task.id, claimed.number, 1)]
    stopped = yard.settle(claimed, Stopped("asked to"))
    assert (stopped.state, stopped.message) == (State.CANCELED, "asked to")
    assert worker.beat() == []


@pytest.mark.parametrize(
    "outcome",
    [
        Failed("KeyboardInterrupt"),
        Later(timedelta(1)),
        Waits(until=None, events=("go",)),
        Released(),
        Stopped(),
    ],
    ids=lambda outcome: type(outcome).__name__,
)
def test_what_was_asked_to_stop_is_canceled_however_it_comes_back_unless_it_is_done(yard, outcome):
    task = yard.submit()
    [claimed] = yard.worker().claim()
    cancel(yard, task)

    ended = yard.settle(claimed, outcome)

    assert (ended.state, ended.failures) == (State.CANCELED, 0)
    assert yard.events(task.id)[2:] == ["task.cancel_requested", "task.canceled"]


def test_what_was_done_before_it_learned_has_succeeded(yard):
    task = yard.submit()
    [claimed] = yard.worker().claim()
    cancel(yard, task)

    assert yard.settle(claimed, Done(1)).state is State.SUCCEEDED


def test_what_was_asked_to_stop_and_lost_its_worker_is_canceled(yard):
    task = yard.submit()
    yard.worker(lease=timedelta(seconds=30)).claim()
    cancel(yard, task)
    yard.clock.forward(seconds=31)
    yard.reap()

    assert yard.get(task).state is State.CANCELED


def test_what_was_asked_to_stop_is_canceled_when_its_worker_leaves(yard):
    task = yard.submit()
    worker = yard.worker()
    worker.claim()
    cancel(yard, task)
    yard.write(yard.services.work.leave, yard.actor, worker.id)

    assert yard.get(task).state is State.CANCELED


def test_what_a_person_holds_is_taken_away(yard):
    task = yard.submit()
    claimed = yard.write(yard.services.work.claim_task, yard.actor, task.id)

    [canceled] = cancel(yard, task)

    assert canceled.state is State.CANCELED
    with pytest.raises(LeaseLost):
        yard.settle(claimed, Done())
    assert yard.events(task.id) == ["task.submitted", "task.started", "task.canceled"]


def test_canceling_again_changes_nothing(yard):
    waiting, running = yard.submit("other"), yard.submit()
    yard.worker().claim()
    first = cancel(yard, waiting, running)
    yard.clock.forward(seconds=1)

    assert cancel(yard, waiting, running) == first
    assert yard.events(waiting.id).count("task.canceled") == 1
    assert yard.events(running.id).count("task.cancel_requested") == 1


@pytest.mark.parametrize("outcome", [Done(), Failed("no", final=True)], ids=["succeeded", "failed"])
def test_what_has_ended_is_not_canceled_and_is_told_what_can_be_done(yard, outcome):
    task = yard.submit()
    yard.settle(yard.worker().claim()[0], outcome)

    [refused] = cancel(yard, task)

    assert isinstance(refused, WrongState)
    assert refused.allowed == ("retry",)


def test_one_that_is_unknown_leaves_the_others(yard):
    task = yard.submit()

    unknown, canceled = yard.write(yard.services.tasks.cancel, yard.actor, ["no-such-task", task.id])

    assert isinstance(unknown, NotFound)
    assert canceled.state is State.CANCELED


def test_who_may_not_control_does_not_cancel(yard):
    task = yard.submit()
    member = replace(yard.actor, permissions=frozenset({Permission.SUBMIT, Permission.READ}))

    with pytest.raises(Forbidden):
        yard.write(yard.services.tasks.cancel, member, [task.id])


def test_all_that_is_open_below_is_canceled_and_what_has_ended_stays(yard):
    root = yard.submit("root")
    [running_root] = yard.worker("root").claim()
    done = yard.submit(parent=root.id)
    yard.settle(yard.worker().claim()[0], Done())
    child = yard.submit("child", parent=root.id)
    grandchild = yard.submit("child", parent=child.id, run_at=yard.clock.now + timedelta(hours=1))
    yard.submit("busy", parent=grandchild.id)
    worker = yard.worker("busy")
    [busy] = worker.claim()
    apart = yard.submit("child")

    cancel(yard, root)

    assert yard.get(done).state is State.SUCCEEDED
    assert [yard.get(task).state for task in (child, grandchild, apart)] == [
        State.CANCELED,
        State.CANCELED,
        State.READY,
    ]
    assert [id for id, _, _ in worker.beat()] == [busy.id]
    assert yard.settle(running_root, Stopped()).state is State.CANCELED


def test_a_tree_of_any_depth_is_canceled(yard):
    root = deepest = yard.submit()
    for _ in range(150):
        deepest = yard.submit(parent=deepest.id)

    cancel(yard, root)

    assert yard.get(deepest).state is State.CANCELED


def test_a_parent_and_its_child_are_canceled_together_once_each(yard):
    parent = yard.submit()
    yard.worker().claim()
    child = yard.submit(parent=parent.id)

    cancel(yard, child, parent)

    assert yard.events(child.id) == ["task.submitted", "task.canceled"]
    assert yard.events(parent.id).count("task.cancel_requested") == 1


def test_a_parent_that_waits_for_its_children_is_canceled_with_them(yard):
    yard.submit("parent")
    [parent] = yard.worker("parent").claim()
    hold = Hold.of(parent)
    children = yard.write(yard.services.work.spawn, yard.actor, hold, "fan-out", [NewTask(type="resize")] * 3)
    yard.settle(parent, Waits(tasks=tuple(children)))

    cancel(yard, parent)

    assert {yard.get(id).state for id in (parent.id, *children)} == {State.CANCELED}
    assert yard.worker("parent", "resize").claim(10) == []


def test_a_child_that_waits_for_its_parent_is_canceled_not_started(yard):
    parent = yard.submit("parent")
    child = yard.submit(parent=parent.id, blocked_by=(parent.id,))

    cancel(yard, parent)

    assert yard.get(child).state is State.CANCELED
