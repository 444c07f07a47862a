"""Explain: every cause that keeps a task where it is is named, with what clears it."""

from dataclasses import replace
from datetime import timedelta

import apsw
import pytest

from taskyard.core.errors import Forbidden, NotFound
from taskyard.core.hold import Hold, Report
from taskyard.core.outcome import Done, Failed, Later, Waits
from taskyard.core.queue import Kind, QueueSettings, RateLimit
from taskyard.core.task import NewTask, OnConflict
from taskyard.core.worker import LEASE, Lane
from taskyard.service.accounts import actor_of
from taskyard.service.explain import MOST_AHEAD, MOST_NAMED
from taskyard.service.tasks import Submission
from taskyard.store.sqlite import SqliteDatabase
from taskyard.store.sqlite.engine import _text

HOUR = timedelta(hours=1)


def explain(yard, task, actor=None):
    return yard.read(yard.services.explain.explain, actor or yard.actor, task.id)


def codes(yard, task):
    return [cause.code for cause in explain(yard, task).reasons]


def cause(yard, task, code):
    [found] = [each for each in explain(yard, task).reasons if each.code == code]
    return found


def queue(yard, name="default", **settings):
    yard.write(yard.services.queues.create, yard.actor, name, QueueSettings(**settings))


def change(yard, name="default", **changes):
    yard.write(yard.services.queues.change, yard.actor, name, changes)


def hire(yard, slots, *, queue="default", type="resize", id="w-1"):
    """A worker with just so many slots; returns what claims for it."""
    lanes = [Lane(queue, type)]
    yard.write(
        yard.services.work.register,
        yard.actor,
        id=id,
        name="w",
        lanes=lanes,
        slots=slots,
        lease=LEASE,
        version="1",
    )
    return lambda limit: yard.write(yard.services.work.claim, yard.actor, id, lanes, limit)


# -- ready -------------------------------------------------------------------------------------------------------------------


def test_a_paused_queue_is_named_with_what_resumes_it(yard):
    queue(yard, "images/large")
    task = yard.submit(queue="images/large")
    yard.worker(queue="images/large")
    yard.write(yard.services.queues.pause, yard.actor, "images/large")
    assert codes(yard, task) == ["queue_paused"]
    paused = cause(yard, task, "queue_paused")
    assert paused.subject == "images/large"
    assert (paused.action.method, paused.action.path) == ("POST", "/v1/queues/images%2Flarge:resume")
    assert paused.action.cli == "taskyard queue resume images/large"


def test_a_type_that_no_live_worker_runs_is_named(yard):
    task = yard.submit("resize")
    yard.worker("other")
    yard.worker("resize", queue="elsewhere")
    assert codes(yard, task) == ["no_worker"]
    assert "taskyard worker" in cause(yard, task, "no_worker").action.cli
    yard.worker("resize")
    assert codes(yard, task) == ["starting"]


def test_a_worker_that_fell_silent_counts_no_more(yard):
    task = yard.submit()
    yard.worker()
    yard.clock.forward(seconds=LEASE.total_seconds() + 1)
    assert codes(yard, task) == ["no_worker"]


def test_workers_that_only_finish_are_told_from_none(yard):
    task = yard.submit()
    worker = yard.worker()
    worker.beat(draining=True)
    assert codes(yard, task) == ["workers_draining"]
    assert cause(yard, task, "workers_draining").subject == worker.id


def test_workers_without_a_free_slot_are_named_with_what_they_run(yard):
    running = [yard.submit(), yard.submit()]
    task = yard.submit()
    claim = hire(yard, 2)
    claim(1)
    assert codes(yard, task) == ["behind"]  # a slot is free
    claim(1)
    busy = cause(yard, task, "workers_busy")
    assert set(busy.tasks) == {each.id for each in running}
    hire(yard, 1, id="w-2")
    assert codes(yard, task) == ["starting"]


def test_a_limit_of_the_queue_is_named_with_who_holds_it(yard):
    queue(yard, concurrency=2)
    holders = [yard.submit(), yard.submit()]
    task = yard.submit()
    yard.worker().claim(5)
    assert codes(yard, task) == ["queue_concurrency"]
    held = cause(yard, task, "queue_concurrency")
    assert held.tasks == tuple(each.id for each in holders)
    assert (held.action.method, held.action.body) == ("PATCH", {"concurrency": 3})
    assert held.action.cli == "taskyard queue set default --concurrency 3"


def test_at_most_so_many_holders_are_named(yard):
    queue(yard, concurrency=MOST_NAMED + 5)
    for _ in range(MOST_NAMED + 5):
        yard.submit()
    task = yard.submit()
    for _ in range(2):
        yard.worker().claim(MOST_NAMED)
    assert len(cause(yard, task, "queue_concurrency").tasks) == MOST_NAMED


def test_a_task_too_heavy_for_its_queue_is_told_so(yard):
    queue(yard, concurrency=2)
    task = yard.submit(weight=3)
    yard.worker()
    assert codes(yard, task) == ["too_heavy"]
    assert cause(yard, task, "too_heavy").action.body == {"concurrency": 3}


def test_a_heavier_task_in_front_is_named(yard):
    queue(yard, concurrency=3)
    yard.submit(weight=2)
    heavy = yard.submit(weight=2)
    light = yard.submit()
    assert [task.weight for task in yard.worker().claim(5)] == [2]
    named = cause(yard, light, "behind_heavier")
    assert named.tasks == (heavy.id,)
    change(yard, **named.action.body)
    assert [task.id for task in yard.worker().claim(5)] == [heavy.id]


def test_a_rate_limit_says_when_it_opens(yard):
    queue(yard, rate=RateLimit(count=1, period=HOUR))
    yard.submit()
    task = yard.submit()
    worker = yard.worker()
    worker.claim(5)
    assert codes(yard, task) == ["rate_limit"]
    limit = cause(yard, task, "rate_limit")
    assert limit.action.body == {"rate": {"count": 2, "period": 3600.0}}
    assert limit.action.cli == "taskyard queue set default --rate 2/3600s"

    yard.clock.now = limit.until - timedelta(microseconds=1)
    worker = yard.worker()
    assert worker.claim(5) == []
    yard.clock.now = limit.until
    assert [each.id for each in worker.claim(5)] == [task.id]


def test_a_place_in_the_line_is_counted(yard):
    yard.submit(priority=5)
    yard.submit()
    task = yard.submit()
    yard.submit()
    yard.submit("other", priority=5)
    yard.worker()
    assert codes(yard, task) == ["behind"]
    assert "2 tasks" in cause(yard, task, "behind").detail
    assert "1 of them more urgent" in cause(yard, task, "behind").detail


def test_a_long_line_is_counted_no_further_than_anyone_reads(yard):
    for _ in range(2):
        many = [Submission(yard.actor, NewTask(type="resize")) for _ in range(MOST_AHEAD // 2 + 1)]
        yard.store.together(yard.services.tasks.submit, many)
    task = yard.submit()
    yard.worker()
    assert f"{MOST_AHEAD:,}+ tasks" in cause(yard, task, "behind").detail


def test_a_task_for_people_waits_for_one(yard):
    queue(yard, "pets", kind=Kind.HUMAN)
    yard.submit("other", queue="pets", priority=5)
    task = yard.submit(queue="pets")
    assert codes(yard, task) == ["behind", "waits_for_person"]
    claim = cause(yard, task, "waits_for_person").action
    assert (claim.method, claim.path) == ("POST", f"/v1/tasks/{task.id}:claim")
    assert claim.cli == f"taskyard inbox claim {task.id}"


def test_a_task_that_came_too_late_to_start_is_told_so(yard):
    task = yard.submit(start_by=yard.clock.now + HOUR)
    yard.worker()
    assert codes(yard, task) == ["starting", "start_by"]
    assert cause(yard, task, "start_by").until == task.start_by
    yard.clock.forward(hours=1)
    yard.worker()
    assert codes(yard, task) == ["expired"]


def test_all_causes_that_hold_at_once_are_named(yard):
    queue(yard, concurrency=1, rate=RateLimit(count=1, period=HOUR))
    yard.submit()
    yard.submit(priority=1)
    task = yard.submit()
    hire(yard, 1)(1)
    yard.write(yard.services.queues.pause, yard.actor, "default")
    assert codes(yard, task) == [
        "queue_paused",
        "queue_concurrency",
        "behind_heavier",
        "rate_limit",
        "workers_busy",
        "behind",
    ]
    explained = explain(yard, task)
    assert explained.state == "ready"
    assert explained.summary.startswith("The task is ready: the queue default is paused")
    assert "5 more reasons" in explained.summary


# -- scheduled ---------------------------------------------------------------------------------------------------------------


def test_a_task_that_is_not_due_says_when_and_how_to_start_it_now(yard):
    task = yard.submit(run_at=yard.clock.now + HOUR)
    yard.worker()
    assert codes(yard, task) == ["not_due"]
    due = cause(yard, task, "not_due")
    assert due.until == task.run_at
    assert (due.action.method, due.action.path) == ("POST", f"/v1/tasks/{task.id}:run_now")
    yard.clock.forward(hours=1)
    assert codes(yard, task)[0] == "due"


def test_a_task_that_is_not_due_tells_also_what_will_keep_it_then(yard):
    task = yard.submit(run_at=yard.clock.now + HOUR, start_by=yard.clock.now + 2 * HOUR)
    yard.write(yard.services.queues.pause, yard.actor, "default")
    assert codes(yard, task) == ["not_due", "start_by", "queue_paused", "no_worker"]


def test_a_try_that_failed_is_told_with_its_error(yard):
    yard.submit(max_failures=3)
    worker = yard.worker()
    [task] = worker.claim()
    yard.settle(task, Failed("no such file", code="missing"))
    assert codes(yard, task) == ["retry"]
    retry = cause(yard, task, "retry")
    assert "try 1 of 3 failed with missing: no such file" in retry.detail
    assert retry.until == yard.get(task).run_at
    assert retry.action.path == f"/v1/tasks/{task.id}:run_now"


def test_a_task_that_asked_for_later_is_told_so(yard):
    yard.submit()
    worker = yard.worker()
    [task] = worker.claim()
    yard.settle(task, Later(HOUR))
    yard.worker()
    assert codes(yard, task) == ["later"]
    assert cause(yard, task, "later").until == yard.clock.now + HOUR


# -- suspended ---------------------------------------------------------------------------------------------------------------


def test_the_tasks_that_are_waited_for_are_named_with_their_states(yard):
    running = yard.submit()
    worker = yard.worker()
    worker.claim()
    waiting = yard.submit(run_at=yard.clock.now + HOUR)
    task = yard.submit(blocked_by=(running.id, waiting.id))
    first, second = (each for each in explain(yard, task).reasons if each.code == "waits_for_task")
    assert (first.subject, second.subject) == (running.id, waiting.id)
    assert "which is running" in first.detail
    assert "which is scheduled" in second.detail
    assert first.action.path == f"/v1/tasks/{running.id}:cancel"
    assert second.action.path == f"/v1/tasks/{waiting.id}:run_now"
    assert second.until == waiting.run_at


def test_of_many_tasks_that_are_waited_for_some_are_named(yard):
    others = [yard.submit() for _ in range(MOST_NAMED + 1)]
    task = yard.submit(blocked_by=tuple(each.id for each in others))
    yard.worker()
    assert codes(yard, task) == ["waits_for_task"] * MOST_NAMED + ["waits_for_more"]


def test_an_event_that_is_waited_for_is_named_with_what_sends_it(yard):
    yard.submit()
    worker = yard.worker()
    [task] = worker.claim()
    yard.settle(task, Waits(events=("paid: 7",), until=yard.clock.now + HOUR))
    assert codes(yard, task) == ["waits_for_event", "wakes_at"]
    event = cause(yard, task, "waits_for_event")
    assert event.subject == "paid: 7"
    assert (event.action.path, event.action.body) == ("/v1/events:send", {"name": "paid: 7"})
    assert event.action.cli == "taskyard event send 'paid: 7'"
    assert cause(yard, task, "wakes_at").until == yard.clock.now + HOUR
    yard.write(yard.services.tasks.send, yard.actor, event.subject, None)
    assert codes(yard, task) == ["starting"]


def test_a_task_that_only_sleeps_says_until_when(yard):
    yard.submit()
    worker = yard.worker()
    [task] = worker.claim()
    yard.settle(task, Waits(until=yard.clock.now + HOUR))
    assert codes(yard, task) == ["wakes_at"]


def test_a_key_that_is_taken_is_named_with_who_has_it(yard):
    holder = yard.submit(concurrency_key="site-7")
    task = yard.submit(concurrency_key="site-7")
    yard.worker()
    assert codes(yard, task) == ["concurrency_key"]
    taken = cause(yard, task, "concurrency_key")
    assert (taken.subject, taken.tasks) == ("site-7", (holder.id,))
    assert taken.action.path == f"/v1/tasks/{holder.id}:cancel"
    yard.write(yard.services.tasks.cancel_one, yard.actor, holder.id)
    assert codes(yard, task) == ["starting"]


def test_a_suspended_task_tells_also_what_will_keep_it_then(yard):
    holder = yard.submit()
    task = yard.submit(blocked_by=(holder.id,), start_by=yard.clock.now + HOUR)
    yard.write(yard.services.queues.pause, yard.actor, "default")
    assert codes(yard, task) == ["waits_for_task", "start_by", "queue_paused", "no_worker"]


# -- running -----------------------------------------------------------------------------------------------------------------


def test_a_running_task_says_who_runs_it_since_when_and_for_how_long(yard):
    yard.submit(timeout=HOUR)
    worker = yard.worker()
    [task] = worker.claim()
    assert codes(yard, task) == ["running"]
    running = cause(yard, task, "running")
    assert running.subject == worker.id
    assert running.until == yard.clock.now + HOUR
    assert "2026-03-01 12:00:00 UTC" in running.detail
    assert running.action.path == f"/v1/tasks/{task.id}:cancel"


def test_a_running_task_says_what_was_last_heard_of_it(yard):
    yard.submit()
    [task] = yard.worker().claim()
    yard.clock.forward(seconds=5)
    report = Report(Hold.of(task), progress={"done": 3}, message="loading")
    yard.store.together(yard.services.work.report, [report])
    assert codes(yard, task) == ["running", "progress"]
    detail = cause(yard, task, "progress").detail
    assert '{"done": 3}, loading' in detail
    assert "12:00:05" in detail


def test_a_running_task_that_was_asked_to_stop_says_since_when(yard):
    yard.submit()
    [task] = yard.worker().claim()
    yard.write(yard.services.tasks.cancel_one, yard.actor, task.id)
    assert codes(yard, task) == ["running", "cancel_requested"]


def test_a_running_task_says_that_its_worker_is_finishing(yard):
    yard.submit()
    worker = yard.worker()
    [task] = worker.claim()
    worker.beat(draining=True)
    assert codes(yard, task) == ["running", "worker_draining"]


def test_a_running_task_says_that_its_worker_is_silent(yard):
    yard.submit()
    worker = yard.worker()
    [task] = worker.claim()
    yard.clock.forward(seconds=LEASE.total_seconds() + 1)
    assert codes(yard, task) == ["worker_silent", "running"]
    assert cause(yard, task, "worker_silent").subject == worker.id


def test_a_task_in_a_persons_hands_says_whose_and_until_when(yard):
    queue(yard, "pets", kind=Kind.HUMAN, lease=HOUR)
    user = yard.write(yard.services.accounts.create_user, yard.actor, "ana", name="Ana", role="member")
    task = yard.submit(queue="pets")
    yard.write(yard.services.inbox.claim, actor_of(user), task.id)
    assert codes(yard, task) == ["held"]
    held = cause(yard, task, "held")
    assert (held.subject, held.until) == (f"user:{user.number}", yard.clock.now + HOUR)
    assert "Ana" in held.detail
    assert held.action.path == f"/v1/tasks/{task.id}:release"


# -- ended -------------------------------------------------------------------------------------------------------------------


def test_an_ended_task_says_how_it_ended_and_how_to_run_it_again(yard):
    yard.submit()
    worker = yard.worker()
    [done] = worker.claim()
    yard.settle(done, Done())
    [ended] = explain(yard, done).reasons
    assert ended.code == "succeeded"
    assert f"by {done.holder}" in ended.detail
    assert (ended.action.method, ended.action.path) == ("POST", f"/v1/tasks/{done.id}:retry")
    assert explain(yard, done).summary == f"The task is succeeded: {ended.detail}."

    yard.submit()
    [failed] = worker.claim()
    yard.settle(failed, Failed("no such file", code="missing", final=True))
    assert codes(yard, failed) == ["failed"]
    assert "missing: no such file" in cause(yard, failed, "failed").detail

    canceled = yard.submit()
    yard.write(yard.services.tasks.cancel_one, yard.actor, canceled.id)
    assert codes(yard, canceled) == ["canceled"]

    replaced = yard.submit(key="k")
    yard.submit(key="k", on_conflict=OnConflict.REPLACE)
    assert codes(yard, replaced) == ["replaced"]


# -- guards ------------------------------------------------------------------------------------------------------------------


def test_another_organisations_task_is_not_explained(yard):
    task = yard.submit()
    with pytest.raises(NotFound):
        explain(yard, task, yard.other_organisation())
    with pytest.raises(Forbidden):
        explain(yard, task, replace(yard.actor, permissions=frozenset()))


def test_another_organisations_workers_do_not_count(yard):
    task = yard.submit()
    other = yard.other_organisation()
    yard.write(
        yard.services.work.register,
        other,
        id="w-9",
        name="w",
        lanes=[Lane("default", "resize")],
        slots=1,
        lease=LEASE,
    )
    assert codes(yard, task) == ["no_worker"]


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("ahead_in_lane", "tasks_ready (<expr>=? AND queue=? AND type=? AND priority"),
        ("running_ids", "tasks_running (organisation=? AND queue=?)"),
        ("running_weight", "tasks_running (organisation=? AND queue=?)"),
        ("held_ids", "tasks_held (holder=?)"),
        ("tasks_held_by", "tasks_held (holder=?)"),
        ("tasks_held_in", "tasks_held (holder=?)"),
        ("slot_holders", "tasks_slots (organisation=? AND concurrency_key=?)"),
        ("blockers_of_task", "(task=?)"),
    ],
)
def test_an_explanation_costs_the_same_whatever_the_backlog(tmp_path, clock, statement, index):
    database = SqliteDatabase(tmp_path / "plan.db", clock)
    database.migrate()
    connection = apsw.Connection(str(database.path))
    names = [
        "organisation",
        "queue",
        "type",
        "priority",
        "run_at",
        "number",
        "most",
        "limit",
        "holder",
        "key",
        "task",
    ]
    plan = connection.execute("EXPLAIN QUERY PLAN " + _text(statement), dict.fromkeys(names, 1)).fetchall()
    looks = [row[3] for row in plan if "USING" in row[3] and "TEMP" not in row[3]]
    assert looks
    assert all(index in look for look in looks)
