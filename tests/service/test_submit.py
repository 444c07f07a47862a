"""Submitting: what is accepted, what is refused, and what a key does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskyard.core.actor import Permission
from taskyard.core.errors import Conflict, Forbidden, Invalid, TooLarge
from taskyard.core.limits import MAX_PAYLOAD_BYTES
from taskyard.core.outcome import Done, Failed, Waits
from taskyard.core.queue import QueueSettings
from taskyard.core.task import NewTask, OnConflict, State, Task
from taskyard.service.tasks import Submission
from taskyard.store.tasks import TaskFilter


def submit_all(yard, *news, actor=None):
    return yard.store.together(
        yard.services.tasks.submit, [Submission(actor or yard.actor, new) for new in news]
    )


def keyed(on_conflict=OnConflict.REJECT, **named):
    return NewTask(type="resize", key="daily", on_conflict=on_conflict, **named)


def count(yard) -> int:
    return yard.read(lambda r: r.tasks.count(yard.organisation, TaskFilter()))


def test_a_task_is_ready_at_once_and_is_found_as_it_was_submitted(yard):
    task = yard.submit("resize", input={"path": "a.png"}, labels={"site": "x"}, priority=3, target="a")

    assert yard.get(task) == task
    assert (task.state, task.claims, task.failures) == (State.READY, 0, 0)
    assert yard.events(task.id) == ["task.submitted"]


def test_answers_come_in_the_order_of_the_submissions(yard):
    answers = submit_all(yard, *(NewTask(type="resize", input=number) for number in range(20)))

    assert [answer.input for answer in answers] == list(range(20))


def test_a_queue_that_does_not_exist_is_made(yard):
    yard.submit(queue="images")
    yard.submit(queue="images")

    assert yard.read(lambda r: r.queues.get(yard.organisation, "images")) is not None
    assert yard.events("images") == ["queue.created"]


def test_a_queue_whose_making_was_undone_is_made_by_the_next_submit(yard):
    def undone(records):
        yard.services.tasks.submit_one(records, yard.actor, NewTask(type="resize", queue="images"))
        raise RuntimeError("the transaction is undone")

    with pytest.raises(RuntimeError):
        yard.write(undone)
    yard.submit(queue="images")

    assert yard.read(lambda r: r.queues.get(yard.organisation, "images")) is not None


def test_the_queue_says_how_often_its_tasks_may_fail_as_it_is_set_now(yard):
    yard.submit(queue="images")
    yard.write(lambda r: r.queues.update(yard.organisation, "images", QueueSettings(max_failures=2), r.now))

    assert yard.submit(queue="images").max_failures == 2
    assert yard.submit(queue="images", max_failures=9).max_failures == 9


# -- keys ----------------------------------------------------------------------------------------------------------------------


def test_a_second_open_task_of_a_key_is_rejected_and_the_first_is_named(yard):
    first = yard.submit(key="daily")

    with pytest.raises(Conflict) as refusal:
        yard.submit(key="daily")

    assert (refusal.value.code, refusal.value.existing) == ("key_taken", first.id)
    assert count(yard) == 1


def test_a_second_open_task_of_a_key_is_answered_with_the_first_on_request(yard):
    first = yard.submit(key="daily")

    assert yard.submit(key="daily", on_conflict=OnConflict.RETURN).id == first.id
    assert count(yard) == 1


def test_a_task_replaces_the_open_one_of_its_key(yard):
    first = yard.submit(key="daily")
    second = yard.submit(key="daily", on_conflict=OnConflict.REPLACE)

    assert second.id != first.id
    assert (yard.get(first).state, yard.get(first).reason) == (State.CANCELED, "replaced")
    assert yard.events(first.id) == ["task.submitted", "task.canceled"]


def test_what_is_replaced_takes_its_open_children_with_it(yard):
    first = yard.submit(key="daily", run_at=yard.clock.now + timedelta(hours=1))
    child = yard.submit(parent=first.id)

    yard.submit(key="daily", on_conflict=OnConflict.REPLACE)

    assert yard.get(child).state is State.CANCELED


def test_a_running_task_is_never_replaced(yard):
    yard.submit(key="daily")
    [running] = yard.worker().claim()

    with pytest.raises(Conflict):
        yard.submit(key="daily", on_conflict=OnConflict.REPLACE)

    assert yard.get(running) == running


def test_a_key_is_free_again_when_its_task_has_ended(yard):
    yard.submit(key="daily")
    [task] = yard.worker().claim()
    yard.settle(task, Done())

    assert yard.submit(key="daily").id != task.id


def test_a_key_is_each_organisations_own(yard):
    other = yard.other_organisation()
    first = yard.submit(key="daily")
    second = yard.submit(key="daily", actor=other, on_conflict=OnConflict.RETURN)

    assert first.id != second.id


@pytest.mark.parametrize("apart", [True, False], ids=["one after the other", "in one batch"])
@pytest.mark.parametrize("on_conflict", OnConflict)
def test_who_repeats_a_key_is_answered_the_same_in_one_batch_as_later(yard, on_conflict, apart):
    news = [keyed(), keyed(on_conflict)]
    if apart:
        first, second = (submit_all(yard, new)[0] for new in news)
    else:
        first, second = submit_all(yard, *news)

    assert isinstance(first, Task)
    match on_conflict:
        case OnConflict.REJECT:
            assert isinstance(second, Conflict)
            assert second.existing == first.id
        case OnConflict.RETURN:
            assert second.id == first.id
        case OnConflict.REPLACE:
            assert second.id != first.id
            assert yard.get(first).state is State.CANCELED
            assert yard.get(second).state is State.READY


def test_who_repeats_the_key_of_one_that_was_refused_gets_the_key(yard):
    refused, second = submit_all(yard, keyed(blocked_by=("no-such-task",)), keyed(OnConflict.RETURN))

    assert isinstance(refused, Invalid)
    assert yard.get(second).state is State.READY


def test_what_is_refused_has_replaced_nothing(yard):
    first = yard.submit(key="daily")

    [refused] = submit_all(yard, keyed(OnConflict.REPLACE, blocked_by=("no-such-task",)))

    assert isinstance(refused, Invalid)
    assert yard.get(first).state is State.READY


# -- ids -----------------------------------------------------------------------------------------------------------------------


def test_an_id_that_is_given_is_taken_once(yard):
    first = yard.submit(id="0190b6a0-0000-7000-8000-000000000001")

    with pytest.raises(Conflict, match="is taken"):
        yard.submit(id=first.id)
    assert count(yard) == 1


def test_an_id_that_stands_twice_in_a_batch_costs_the_others_nothing(yard):
    id = "0190b6a0-0000-7000-8000-000000000001"
    first, twice, plain = submit_all(
        yard, NewTask(type="a", id=id), NewTask(type="b", id=id), NewTask(type="c")
    )

    assert (first.id, plain.type) == (id, "c")
    assert isinstance(twice, Conflict)
    assert count(yard) == 2


def test_an_id_of_another_organisation_is_taken_too_and_nothing_of_it_is_told(yard):
    theirs = yard.submit(actor=yard.other_organisation())

    with pytest.raises(Conflict) as refusal:
        yard.submit(id=theirs.id)

    assert refusal.value.existing is None


# -- refusals ------------------------------------------------------------------------------------------------------------------

NESTED: list[Any] = []
for _ in range(201):
    NESTED = [NESTED]

BAD: dict[str, dict[str, Any]] = {
    "/type": {"type": "no spaces please"},
    "/queue": {"queue": ""},
    "/priority": {"priority": 1001},
    "/weight": {"weight": -1},
    "/labels/a~1b": {"labels": {"a/b": "x\0y"}},
    "/labels": {"labels": {f"l{number}": "" for number in range(51)}},
    "/key": {"key": "nul\0"},
    "/target": {"target": "\ud800"},
    "/concurrency_key": {"concurrency_key": ""},
    "/concurrency_limit": {"concurrency_key": "k", "concurrency_limit": 0},
    "/max_failures": {"max_failures": 0},
    "/timeout": {"timeout": timedelta(0)},
    "/parent": {"parent": "no-such-task"},
    "/retry_of": {"retry_of": "\ud800"},
    "/blocked_by/0": {"blocked_by": ("\ud800",)},
    "/trace": {"trace": "\0"},
    "/id": {"id": "\0"},
    "/input": {"input": NESTED},
    "/run_at": {"run_at": datetime(2026, 3, 1)},  # noqa: DTZ001
    "/start_by": {"start_by": datetime(2020, 1, 1, tzinfo=UTC)},
}


@pytest.mark.parametrize("pointer", BAD)
def test_what_is_wrong_is_refused_with_a_pointer_to_it(yard, pointer):
    good = {"type": "resize", "input": 1}
    [refused, accepted] = submit_all(yard, NewTask(**{**good, **BAD[pointer]}), NewTask(**good))

    assert isinstance(refused, Invalid)
    assert pointer in {fault.pointer for fault in refused.faults}
    assert isinstance(accepted, Task)  # one refusal in a batch leaves the others
    assert count(yard) == 1


@pytest.mark.parametrize(
    "input", [object(), "\ud800", {"a": ["\udfff"]}, {(1, 2): 3}], ids=["object", "text", "inside", "key"]
)
def test_an_input_that_is_not_json_is_refused_alone(yard, input):
    refused, accepted = submit_all(yard, NewTask(type="resize", input=input), NewTask(type="resize"))

    assert isinstance(refused, Invalid)
    assert refused.code == "not_json"
    assert isinstance(accepted, Task)


@pytest.mark.parametrize("letter", ["x", "é"], ids=["one byte each", "two bytes each"])
def test_an_input_over_the_limit_is_refused_by_its_bytes_and_one_at_the_limit_is_not(yard, letter):
    most = (MAX_PAYLOAD_BYTES - 2) // len(letter.encode())  # two for the quotes
    over, at = submit_all(
        yard, NewTask(type="resize", input=letter * (most + 1)), NewTask(type="resize", input=letter * most)
    )

    assert isinstance(over, TooLarge)
    assert isinstance(at, Task)


def test_who_may_not_submit_is_refused(yard):
    reader = replace(yard.actor, permissions=frozenset({Permission.READ}))

    [refused] = submit_all(yard, NewTask(type="resize"), actor=reader)

    assert isinstance(refused, Forbidden)
    assert count(yard) == 0


def test_text_of_any_language_and_size_of_number_comes_back_as_it_went_in(yard):
    input = {"text": "naïve 日本語 🎉 \0", "big": 2**80, "deep": [[[{"a": None}]]], "float": 1e300}

    assert yard.get(yard.submit(input=input)).input == input


# -- labels --------------------------------------------------------------------------------------------------------------------


def test_tasks_are_found_by_all_of_the_labels_asked_for(yard):
    both = yard.submit(labels={"site": "x", "user": "ana"})
    yard.submit(labels={"site": "x"})
    yard.submit(labels={"user": "ana"})

    def found(**labels):
        search = yard.services.tasks.search
        return [task.id for task in yard.read(search, yard.actor, TaskFilter(labels=labels), limit=10)]

    assert found(site="x", user="ana") == [both.id]
    assert len(found(site="x")) == 2
    assert found(site="y") == []


def test_more_labels_than_can_be_filtered_by_are_refused(yard):
    filter = TaskFilter(labels={f"l{number}": "" for number in range(7)})

    with pytest.raises(Invalid, match="at most 6 labels"):
        yard.read(yard.services.tasks.search, yard.actor, filter, limit=10)


def test_a_relabelled_task_is_found_by_its_new_labels_only(yard):
    task = yard.submit(labels={"site": "x"})
    yard.write(yard.services.tasks.relabel, yard.actor, task.id, {"site": "y"})

    def found(site):
        return yard.read(yard.services.tasks.search, yard.actor, TaskFilter(labels={"site": site}), limit=10)

    assert [len(found("x")), len(found("y"))] == [0, 1]
    assert yard.get(task).labels == {"site": "y"}


# -- times ---------------------------------------------------------------------------------------------------------------------


def test_a_delayed_task_is_held_in_the_store_until_its_time(yard):
    task = yard.submit(run_at=yard.clock.now + timedelta(minutes=5))
    worker = yard.worker(lease=timedelta(hours=1))

    assert (task.state, task.reason) == (State.SCHEDULED, "delayed")
    yard.clock.forward(minutes=4, seconds=59)
    assert (yard.due(), worker.claim()) == (0, [])
    yard.clock.forward(seconds=1)
    assert yard.due() == 1
    assert [each.id for each in worker.claim()] == [task.id]
    assert yard.events(task.id) == ["task.submitted", "task.ready", "task.started"]


def test_a_time_that_has_passed_already_makes_ready_at_once(yard):
    assert yard.submit(run_at=yard.clock.now - timedelta(days=1)).state is State.READY


def test_the_scheduler_is_told_when_something_is_next_due(yard):
    def next_due():
        return yard.read(lambda r: r.work.next_due_at())

    assert next_due() is None
    yard.submit(run_at=yard.clock.now + timedelta(minutes=5))
    yard.submit(start_by=yard.clock.now + timedelta(minutes=3))
    assert next_due() == yard.clock.now + timedelta(minutes=3)


def test_a_task_that_has_not_started_by_its_time_is_failed_as_expired(yard):
    task = yard.submit(start_by=yard.clock.now + timedelta(minutes=1))
    yard.clock.forward(minutes=1)
    worker = yard.worker()

    assert worker.claim() == []  # even before the loop came by
    assert yard.write(yard.services.tasks.expire, 10) == 1
    expired = yard.get(task)
    assert (expired.state, expired.reason, expired.error.code) == (State.FAILED, "expired", "expired")
    assert yard.events(task.id) == ["task.submitted", "task.failed"]


def test_no_time_to_start_by_concerns_a_task_that_has_started(yard):
    """What started in time and is to be tried again, or waits for its children, has not missed it."""
    tasks = [yard.submit(start_by=yard.clock.now + timedelta(minutes=1)) for _ in range(2)]
    worker = yard.worker(lease=timedelta(hours=1))
    first, second = worker.claim(2)
    yard.settle(first, Failed("no", after=timedelta(minutes=5)))
    yard.settle(second, Waits(until=yard.clock.now + timedelta(minutes=5)))

    yard.clock.forward(minutes=5)
    assert yard.write(yard.services.tasks.expire, 10) == 0
    yard.due()
    assert {task.id for task in worker.claim(2)} == {task.id for task in tasks}
