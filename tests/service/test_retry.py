"""Trying again: by itself after a failure, and on request after the end."""

from datetime import timedelta

import pytest
from uuid_utils import uuid7

from taskyard.core.backoff import BASE, CAP
from taskyard.core.errors import Conflict, WrongState
from taskyard.core.outcome import Done, Failed
from taskyard.core.task import State
from taskyard.service.services import build_services


def fail(yard, worker, **named):
    [task] = worker.claim()
    return yard.settle(task, Failed("no", **named))


def test_a_failed_attempt_is_tried_again_after_a_growing_wait_until_no_try_is_left(yard):
    task = yard.submit(max_failures=4)
    worker = yard.worker(lease=timedelta(days=1))
    waits = []
    for failures in (1, 2, 3):
        failed = fail(yard, worker)
        assert (failed.state, failed.reason, failed.failures) == (State.SCHEDULED, "retry", failures)
        waits.append(failed.run_at - yard.clock.now)
        yard.clock.now = failed.run_at - timedelta(microseconds=1)
        assert yard.due() == 0
        yard.clock.now = failed.run_at
        assert yard.due() == 1
    last = fail(yard, worker)

    assert waits == [BASE, BASE * 2, BASE * 4]
    assert (last.state, last.failures, last.claims) == (State.FAILED, 4, 4)
    assert (last.error.code, last.error.message) == ("error", "no")
    assert yard.events(task.id)[2:5] == ["task.retried", "task.ready", "task.started"]
    assert yard.events(task.id)[-1] == "task.failed"


def test_tasks_that_failed_together_do_not_all_come_back_together(yard):
    yard.services = build_services(lambda: str(uuid7()), lambda: 0.5)
    yard.submit()
    failed = fail(yard, yard.worker())

    assert failed.run_at - yard.clock.now == BASE * 1.05


def test_no_wait_is_longer_than_the_cap(yard):
    yard.submit(max_failures=1000)
    worker = yard.worker(lease=timedelta(days=9))
    for _ in range(15):
        failed = fail(yard, worker)
        wait = failed.run_at - yard.clock.now
        yard.clock.now = failed.run_at
        yard.due()

    assert wait == CAP


def test_who_failed_may_say_when_to_try_again(yard):
    yard.submit()
    failed = fail(yard, yard.worker(), after=timedelta(minutes=7))

    assert failed.run_at == yard.clock.now + timedelta(minutes=7)


def test_what_cannot_succeed_is_not_tried_again(yard):
    yard.submit(max_failures=100)
    failed = fail(yard, yard.worker(), final=True, code="not_found")

    assert (failed.state, failed.error.code) == (State.FAILED, "not_found")


def test_an_attempt_that_took_too_long_has_failed_as_timed_out(yard):
    yard.submit(max_failures=1, timeout=timedelta(seconds=5))
    failed = fail(yard, yard.worker(), code="timed_out")

    assert (failed.state, failed.reason, failed.error.code) == (State.FAILED, "timed_out", "timed_out")


def test_success_clears_what_failed_before(yard):
    yard.submit()
    worker = yard.worker(lease=timedelta(days=1))
    failed = fail(yard, worker)
    yard.clock.now = failed.run_at
    yard.due()
    [task] = worker.claim()

    assert yard.settle(task, Done()).error is None


def test_what_has_ended_is_submitted_again_as_a_new_task_and_stays_as_it_was(yard):
    task = yard.submit(input={"a": 1}, labels={"site": "x"}, priority=2, key="daily", max_failures=1)
    old = fail(yard, yard.worker())

    new = yard.write(yard.services.tasks.retry, yard.actor, task.id)

    assert (new.retry_of, new.state, new.failures) == (task.id, State.READY, 0)
    assert (new.input, new.labels, new.priority, new.key) == ({"a": 1}, {"site": "x"}, 2, "daily")
    assert yard.get(task) == old


def test_what_is_open_is_not_retried(yard):
    task = yard.submit()

    with pytest.raises(WrongState) as refusal:
        yard.write(yard.services.tasks.retry, yard.actor, task.id)
    assert refusal.value.allowed == ("cancel", "claim")


def test_what_has_ended_is_not_retried_beside_an_open_task_of_its_key(yard):
    task = yard.submit(key="daily")
    yard.settle(yard.worker().claim()[0], Done())
    yard.submit(key="daily")

    with pytest.raises(Conflict):
        yard.write(yard.services.tasks.retry, yard.actor, task.id)


def test_what_waits_for_its_time_is_run_now_on_request(yard):
    task = yard.submit(run_at=yard.clock.now + timedelta(days=1))

    yard.write(yard.services.tasks.run_now, yard.actor, task.id)

    assert [claimed.id for claimed in yard.worker().claim()] == [task.id]
    assert yard.events(task.id) == ["task.submitted", "task.ready", "task.started"]


def test_running_now_what_is_ready_or_running_changes_nothing(yard):
    task = yard.submit()
    run_now = yard.services.tasks.run_now
    assert yard.write(run_now, yard.actor, task.id) == task
    [claimed] = yard.worker().claim()
    assert yard.write(run_now, yard.actor, task.id) == claimed


def test_what_waits_for_something_else_is_not_run_now(yard):
    blocker = yard.submit()
    blocked = yard.submit(blocked_by=(blocker.id,))
    yard.settle(yard.worker().claim()[0], Done())
    suspended = yard.submit(blocked_by=(yard.submit().id,))

    for task in (suspended,):
        with pytest.raises(WrongState):
            yard.write(yard.services.tasks.run_now, yard.actor, task.id)
    assert yard.get(blocked).state is State.READY


def test_what_is_run_now_still_waits_for_a_slot_of_its_concurrency_key(yard):
    yard.submit(concurrency_key="db")
    task = yard.submit(concurrency_key="db", run_at=yard.clock.now + timedelta(days=1))

    yard.write(yard.services.tasks.run_now, yard.actor, task.id)

    assert (yard.get(task).state, yard.get(task).reason) == (State.SUSPENDED, "limit")
