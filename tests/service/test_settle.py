"""Settling: the fence, the lease, the two counters, and what is kept of an attempt."""

from dataclasses import replace
from datetime import timedelta

import pytest

from taskyard.core.errors import Invalid, LeaseLost, TooLarge
from taskyard.core.hold import Hold, Report, Settlement
from taskyard.core.limits import MAX_LOG_BYTES, MAX_MESSAGE_LENGTH, MAX_PAYLOAD_BYTES
from taskyard.core.outcome import Done, Failed, Later, Released, Stopped, Waits
from taskyard.core.task import Moved, State


def settle_all(yard, *settlements):
    return yard.store.together(yard.services.work.settle, list(settlements))


def lost_and_taken(yard):
    """Return the first attempt of a task whose worker died, and the second, which another holds."""
    yard.submit()
    [first] = yard.worker().claim()
    yard.clock.forward(seconds=31)
    yard.reap()
    [second] = yard.worker().claim()
    assert second.id == first.id
    return first, second


def test_a_task_that_is_done_has_succeeded_with_its_output(yard):
    yard.submit()
    [task] = yard.worker().claim()

    done = yard.settle(task, Done({"width": 3}), log="resized\n")

    assert (done.state, done.output, done.finished_at) == (State.SUCCEEDED, {"width": 3}, yard.clock.now)
    assert (done.holder, done.lease_until) == (None, None)
    assert [log.text for log in yard.read(yard.services.tasks.logs, yard.actor, task.id)] == ["resized\n"]
    assert yard.events(task.id) == ["task.submitted", "task.started", "task.succeeded"]


OUTCOMES = [Done(), Failed("no"), Later(timedelta(1)), Waits(events=("go",)), Stopped(), Released()]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_an_attempt_is_settled_once(yard, outcome):
    yard.submit()
    [task] = yard.worker().claim()
    yard.settle(task, Done("first"))

    with pytest.raises(LeaseLost, match="attempt 1"):
        yard.settle(task, outcome)
    assert yard.get(task).output == "first"
    assert yard.events(task.id) == ["task.submitted", "task.started", "task.succeeded"]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_a_stale_attempt_is_refused_while_a_newer_one_runs(yard, outcome):
    first, second = lost_and_taken(yard)
    same_worker = replace(first, holder=second.holder)  # the claim number alone tells the attempts apart

    for stale in (first, same_worker):
        with pytest.raises(LeaseLost):
            yard.settle(stale, outcome)
    assert yard.get(second) == second
    yard.settle(second, Done())


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_only_the_holder_settles(yard, outcome):
    yard.submit()
    [task] = yard.worker().claim()
    another = yard.worker()

    with pytest.raises(LeaseLost):
        yard.settle(replace(task, holder=f"worker:{another.id}"), outcome)
    assert yard.get(task).state is State.RUNNING


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_a_worker_whose_lease_has_run_out_is_refused_even_before_the_reaper_came_by(yard, outcome):
    yard.submit()
    [task] = yard.worker(lease=timedelta(seconds=30)).claim()
    yard.clock.forward(seconds=31)

    with pytest.raises(LeaseLost):
        yard.settle(task, outcome)
    assert yard.get(task).state is State.RUNNING
    assert yard.reap() == 1


def test_of_two_settlements_of_one_attempt_in_one_batch_exactly_one_is_accepted(yard):
    yard.submit()
    [task] = yard.worker().claim()
    hold = Hold.of(task)

    first, second, third = settle_all(
        yard, Settlement(hold, Done(1)), Settlement(hold, Done(2)), Settlement(hold, Failed("no"))
    )

    assert isinstance(first, Moved)
    assert isinstance(second, LeaseLost)
    assert isinstance(third, LeaseLost)
    assert yard.get(task).output == 1
    assert yard.events(task.id).count("task.succeeded") == 1


@pytest.mark.parametrize("stale_outcome", [Done("stale"), Failed("stale")], ids=["done", "failed"])
@pytest.mark.parametrize("stale_first", [True, False])
def test_a_stale_settlement_in_the_same_batch_does_not_touch_the_right_one(yard, stale_first, stale_outcome):
    first, second = lost_and_taken(yard)
    wrong_holder = replace(Hold.of(second), holder=Hold.of(first).holder)
    batch = [
        Settlement(Hold.of(first), stale_outcome),
        Settlement(wrong_holder, stale_outcome),
        Settlement(Hold.of(second), Done("right")),
    ]
    answers = settle_all(yard, *(batch if stale_first else reversed(batch)))
    if not stale_first:
        answers.reverse()

    assert [type(answer) for answer in answers] == [LeaseLost, LeaseLost, Moved]
    assert yard.get(second).output == "right"


def two_attempts_of_one_worker(yard):
    """Return the first attempt of a task, given back, and the second, both of the same living worker."""
    yard.submit()
    worker = yard.worker()
    [first] = worker.claim()
    yard.settle(first, Released())
    [second] = worker.claim()
    assert (second.id, second.holder) == (first.id, first.holder)
    return first, second


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_attempts_of_one_worker_in_one_batch_the_right_one_is_accepted(yard, order):
    first, second = two_attempts_of_one_worker(yard)
    batch = [Settlement(Hold.of(first), Done("stale")), Settlement(Hold.of(second), Done("right"))]

    answers = settle_all(yard, *(batch[position] for position in order))

    assert [type(answers[position]) for position in order] == [LeaseLost, Moved]
    assert yard.get(second).output == "right"


def test_a_worker_writes_nothing_in_the_name_of_its_own_earlier_attempt(yard):
    first, second = two_attempts_of_one_worker(yard)
    stale, work = Hold.of(first), yard.services.work

    [refused] = yard.store.together(work.report, [Report(stale, 1, "stale")])
    assert isinstance(refused, LeaseLost)
    for write in (
        lambda r: work.publish(r, stale, "preview", 1),
        lambda r: work.finish_step(r, stale, "load", 1),
        lambda r: work.save_log(r, stale, "stale"),
        lambda r: work.set_report(r, stale, {}),
        lambda r: work.spawn(r, yard.actor, stale, "fan-out", []),
    ):
        with pytest.raises(LeaseLost):
            yard.write(write)
    assert yard.get(second) == second


def test_a_dead_worker_does_not_spoil_the_batch_of_the_living(yard):
    yard.submit()
    [late] = yard.worker(lease=timedelta(seconds=30)).claim()
    yard.clock.forward(seconds=31)
    yard.submit()
    [good] = yard.worker().claim()

    refused, accepted = settle_all(yard, Settlement(Hold.of(late), Done()), Settlement(Hold.of(good), Done()))

    assert isinstance(refused, LeaseLost)
    assert isinstance(accepted, Moved)


def test_an_output_that_is_too_large_or_not_json_is_refused_and_the_attempt_may_be_settled_otherwise(yard):
    yard.submit()
    yard.submit()
    big, small = yard.worker().claim(2)

    for output, refusal in (
        ("é" * (MAX_PAYLOAD_BYTES // 2), TooLarge),
        (object(), Invalid),
        ("\ud800", Invalid),
    ):
        answers = settle_all(yard, Settlement(Hold.of(big), Done(output)))
        assert isinstance(answers[0], refusal)
        assert yard.get(big).state is State.RUNNING

    refused, instead, other = settle_all(
        yard,
        Settlement(Hold.of(big), Done(object())),
        Settlement(Hold.of(big), Failed("the output cannot be kept", final=True)),
        Settlement(Hold.of(small), Done()),
    )
    assert isinstance(refused, Invalid)
    assert (instead.state, other.state) == (State.FAILED, State.SUCCEEDED)


def test_a_failure_is_kept_whatever_it_says(yard):
    """A file name that is not Unicode is in the message of many an error; the task must be able to fail for it."""
    yard.submit()
    [task] = yard.worker().claim()

    failed = yard.settle(
        task,
        Failed("no file \udcff\0" + "x" * 10_000, final=True, traceback="y" * 100_000 + "the end \udcff"),
        log="\0" + "z" * 100_000 + "é\udcff",
    )

    assert failed.error.message.startswith("no file \\udcff\\0xxx")
    assert len(failed.error.message) == MAX_MESSAGE_LENGTH
    assert failed.error.traceback.endswith("the end \\udcff")
    [log] = yard.read(yard.services.tasks.logs, yard.actor, task.id)
    assert log.text.endswith("zé\\udcff")
    assert len(log.text.encode()) <= MAX_LOG_BYTES


def test_later_calls_again_after_the_delay_and_spends_no_try(yard):
    yard.submit(max_failures=1)
    worker = yard.worker(lease=timedelta(hours=1))
    for attempt in range(1, 4):
        [task] = worker.claim()
        assert task.claims == attempt
        put_off = yard.settle(task, Later(timedelta(minutes=1)))
        assert (put_off.state, put_off.reason) == (State.SCHEDULED, "later")
        yard.clock.forward(seconds=59)
        assert yard.due() == 0
        yard.clock.forward(seconds=1)
        assert yard.due() == 1

    assert (yard.get(task).failures, yard.get(task).claims) == (0, 3)


def test_later_without_a_delay_is_ready_at_once(yard):
    yard.submit()
    worker = yard.worker()
    [task] = worker.claim()

    assert yard.settle(task, Later(timedelta(0))).state is State.READY
    assert [again.id for again in worker.claim()] == [task.id]


# -- loss ----------------------------------------------------------------------------------------------------------------------


def test_what_a_dead_worker_held_is_ready_again_and_the_loss_spends_a_try(yard):
    task = yard.submit()
    yard.worker(lease=timedelta(seconds=30)).claim()
    yard.clock.forward(seconds=30)
    assert yard.reap() == 0
    yard.clock.forward(seconds=1)
    assert yard.reap() == 1

    lost = yard.get(task)
    assert (lost.state, lost.reason, lost.failures, lost.losses) == (State.READY, "lost", 1, 1)
    assert lost.error.code == "lost"
    assert yard.events(task.id) == ["task.submitted", "task.started", "task.lost"]


def lose(yard) -> None:
    assert len(yard.worker(lease=timedelta(seconds=30)).claim()) == 1
    yard.clock.forward(seconds=31)
    yard.reap()


def test_a_task_that_has_cost_three_workers_is_poisoned(yard):
    task = yard.submit(max_failures=100)
    for losses in (1, 2):
        lose(yard)
        assert (yard.get(task).state, yard.get(task).losses) == (State.READY, losses)
    lose(yard)

    poisoned = yard.get(task)
    assert (poisoned.state, poisoned.reason, poisoned.error.code) == (State.FAILED, "poisoned", "poisoned")
    assert yard.events(task.id)[-1] == "task.failed"


def test_a_loss_that_spends_the_last_try_fails_the_task_as_lost(yard):
    task = yard.submit(max_failures=1)
    lose(yard)

    assert (yard.get(task).state, yard.get(task).error.code) == (State.FAILED, "lost")


def test_the_time_a_task_takes_is_never_held_against_it(yard):
    task = yard.submit()
    worker = yard.worker(lease=timedelta(seconds=30))
    [claimed] = worker.claim()
    for _ in range(100):
        yard.clock.forward(seconds=29)
        worker.beat()
        assert yard.reap() == 0

    yard.settle(claimed, Done())
    assert (yard.get(task).state, yard.get(task).claims) == (State.SUCCEEDED, 1)


# -- what a holder says meanwhile ----------------------------------------------------------------------------------------------


def test_progress_and_message_are_seen_while_the_task_runs(yard):
    yard.submit()
    [task] = yard.worker().claim()
    hold = Hold.of(task)
    yard.store.together(yard.services.work.report, [Report(hold, {"done": 1, "total": 3}, "loaded")])
    yard.store.together(yard.services.work.report, [Report(hold, None, "saving")])

    seen = yard.get(task)
    assert (seen.progress, seen.message) == ({"done": 1, "total": 3}, "saving")
    assert yard.events(task.id)[2:] == ["task.progressed", "task.progressed"]


def test_of_two_reports_in_one_batch_the_later_counts(yard):
    yard.submit()
    [task] = yard.worker().claim()
    hold = Hold.of(task)

    assert yard.store.together(
        yard.services.work.report, [Report(hold, 1, "one"), Report(hold, 2), Report(hold, None, "three")]
    ) == [None, None, None]
    assert (yard.get(task).progress, yard.get(task).message) == (2, "three")


def test_reports_of_a_stale_attempt_are_refused_in_the_same_batch_too(yard):
    first, second = lost_and_taken(yard)

    stale, good, bad = yard.store.together(
        yard.services.work.report,
        [Report(Hold.of(first), 1), Report(Hold.of(second), 2), Report(Hold.of(second), object())],
    )

    assert isinstance(stale, LeaseLost)
    assert good is None
    assert isinstance(bad, Invalid)
    assert yard.get(second).progress == 2
    assert yard.events(second.id).count("task.progressed") == 1


def test_a_message_is_cut_rather_than_refused(yard):
    yard.submit()
    [task] = yard.worker().claim()
    yard.store.together(yard.services.work.report, [Report(Hold.of(task), message="\0\ud800" + "x" * 9999)])

    assert yard.get(task).message.startswith("\\0\\ud800xxx")
    assert len(yard.get(task).message) == MAX_MESSAGE_LENGTH


def test_several_results_are_published_while_the_task_runs_and_a_stale_one_is_not(yard):
    first, second = lost_and_taken(yard)
    publish = yard.services.work.publish
    for value in ({"path": "a"}, None):
        yard.write(publish, Hold.of(second), "preview", value)
    with pytest.raises(LeaseLost):
        yard.write(publish, Hold.of(first), "preview", "stale")
    with pytest.raises(Invalid):
        yard.write(publish, Hold.of(second), "no name", 1)
    with pytest.raises(Invalid):
        yard.write(publish, Hold.of(second), "preview", object())

    results = yard.read(yard.services.tasks.results, yard.actor, second.id)
    assert [(result.name, result.value, result.attempt) for result in results] == [
        ("preview", {"path": "a"}, 2),
        ("preview", None, 2),
    ]
    assert yard.events(second.id).count("task.published") == 2


def test_the_log_of_each_attempt_is_kept_and_the_newest_of_a_long_one(yard):
    first, second = lost_and_taken(yard)
    save_log = yard.services.work.save_log
    yard.write(save_log, Hold.of(second), "a" * MAX_LOG_BYTES + "the end")
    with pytest.raises(LeaseLost):
        yard.write(save_log, Hold.of(first), "stale")

    [log] = yard.read(yard.services.tasks.logs, yard.actor, second.id)
    assert (log.attempt, len(log.text), log.text[-7:]) == (2, MAX_LOG_BYTES, "the end")


def test_the_report_of_a_plan_is_written_by_its_holder_only(yard):
    first, second = lost_and_taken(yard)
    set_report = yard.services.work.set_report
    yard.write(set_report, Hold.of(second), {"stages": []}, rule="r1", message="stage 1")
    with pytest.raises(LeaseLost):
        yard.write(set_report, Hold.of(first), {"stale": True})
    with pytest.raises(Invalid):
        yard.write(set_report, Hold.of(second), object())

    seen = yard.get(second)
    assert (seen.report, seen.rule, seen.message) == ({"stages": []}, "r1", "stage 1")
