"""Steps: done once and remembered, however often the task is tried; children are submitted so too."""

from datetime import timedelta

import pytest

from taskyard.core.errors import Invalid, LeaseLost, TooLarge
from taskyard.core.hold import Hold
from taskyard.core.limits import MAX_PAYLOAD_BYTES
from taskyard.core.outcome import Done, Released
from taskyard.core.task import NewTask
from taskyard.store.tasks import TaskFilter


@pytest.fixture
def attempts(yard):
    """Two attempts at one task: the first lost its worker, the second runs."""
    yard.submit()
    [first] = yard.worker(lease=timedelta(seconds=30)).claim()
    finish(yard, first, "load", {"rows": 3})
    yard.clock.forward(seconds=31)
    yard.reap()
    [second] = yard.worker().claim()
    return first, second


def finish(yard, task, name, output):
    return yard.write(yard.services.work.finish_step, Hold.of(task), name, output)


def spawn(yard, task, step, *news):
    return yard.write(yard.services.work.spawn, yard.actor, Hold.of(task), step, news)


def test_a_step_that_is_done_is_known_to_the_next_attempt(yard, attempts):
    _, second = attempts

    [step] = yard.read(yard.services.work.steps, Hold.of(second))
    assert (step.name, step.output, step.attempt) == ("load", {"rows": 3}, 1)


def test_the_first_to_finish_a_step_counts(yard, attempts):
    _, second = attempts

    step = finish(yard, second, "load", "another")

    assert (step.output, step.attempt) == ({"rows": 3}, 1)
    assert finish(yard, second, "save", None).output is None


def test_an_attempt_that_is_over_finishes_no_step(yard, attempts):
    first, second = attempts

    with pytest.raises(LeaseLost):
        finish(yard, first, "save", 1)
    with pytest.raises(LeaseLost):
        yard.read(yard.services.work.steps, Hold.of(first))
    yard.settle(second, Done())
    with pytest.raises(LeaseLost):
        finish(yard, second, "save", 1)

    steps = yard.read(yard.services.tasks.steps, yard.actor, first.id)
    assert [step.name for step in steps] == ["load"]


def test_a_step_that_cannot_be_kept_is_refused(yard, attempts):
    _, second = attempts

    for name, output, refusal in (
        ("nul\0", 1, Invalid),
        ("x" * 501, 1, Invalid),
        ("save", object(), Invalid),
        ("save", "x" * MAX_PAYLOAD_BYTES, TooLarge),
    ):
        with pytest.raises(refusal):
            finish(yard, second, name, output)


def test_children_are_submitted_once_however_often_the_task_is_tried(yard):
    yard.submit("parent")
    worker = yard.worker("parent")
    [first] = worker.claim()
    news = [NewTask(type="child", input=number) for number in range(3)]
    ids = spawn(yard, first, "fan-out", *news)
    yard.settle(first, Released())
    [second] = worker.claim()

    assert spawn(yard, second, "fan-out", *news) == ids
    children = yard.read(
        yard.services.tasks.search, yard.actor, TaskFilter(parent=first.id), limit=10, oldest_first=True
    )
    assert [(child.id, child.input) for child in children] == list(zip(ids, range(3), strict=True))


def test_of_children_of_which_one_is_refused_none_is_submitted(yard):
    yard.submit("parent")
    [parent] = yard.worker("parent").claim()

    with pytest.raises(Invalid):
        spawn(yard, parent, "fan-out", NewTask(type="child"), NewTask(type="not a type"))

    assert yard.read(yard.services.tasks.search, yard.actor, TaskFilter(parent=parent.id), limit=10) == []
    assert len(spawn(yard, parent, "fan-out", NewTask(type="child"))) == 1


def test_an_attempt_that_is_over_has_no_children(yard, attempts):
    first, _ = attempts

    with pytest.raises(LeaseLost):
        spawn(yard, first, "fan-out", NewTask(type="child"))
