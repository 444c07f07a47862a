"""What a process takes for granted on PostgreSQL is asked before it commits: what another has changed meanwhile counts."""

import pytest

from taskyard.core.errors import Conflict, LeaseLost
from taskyard.core.hold import Hold, Settlement
from taskyard.core.outcome import Done
from taskyard.core.queue import QueueSettings
from taskyard.core.task import NewTask, State
from taskyard.service.tasks import Submission
from taskyard.store.engine import Collided
from taskyard.store.postgres.guesses import Guesses
from taskyard.store.postgres.pipe import Pipe
from taskyard.store.postgres.texts import text


@pytest.fixture
def sent(monkeypatch):
    """The statements that went out, one list for each round trip."""
    trips = []
    run = Pipe.run
    monkeypatch.setattr(
        Pipe, "run", lambda self, commands: trips.append([sql for sql, _ in commands]) or run(self, commands)
    )
    return trips


def settings_of(yard, **settings):
    yard.store.write(
        lambda r: r.queues.update(yard.organisation, "default", QueueSettings(**settings), r.now)
    )


def settled(yard, task):
    [answer] = yard.store.together(yard.services.work.settle, [Settlement(Hold.of(task), Done())])
    return answer


def test_what_a_move_looks_at_is_taken_for_granted_the_second_time(yards, sent):
    yard = yards[0]
    yard.submit()
    worker = yard.worker()
    settled(yard, worker.claim(1)[0])
    yard.submit()
    sent.clear()
    yard.store.together(yard.services.tasks.submit_soon, [Submission(yard.actor, NewTask(type="resize"))])
    submitting = len(sent)
    [task] = worker.claim(1)
    claiming = len(sent) - submitting
    settled(yard, task)
    assert (submitting, claiming, len(sent) - submitting - claiming) == (1, 2, 2)


def test_a_queue_that_another_process_changed_counts_for_what_is_submitted_next(yards):
    assert yards[0].submit().max_failures == QueueSettings().max_failures
    settings_of(yards[1], max_failures=7)
    assert yards[0].submit().max_failures == 7
    settings_of(yards[1], max_failures=8)
    assert yards[0].submit().max_failures == 8


def test_a_queue_that_another_process_paused_gives_nothing(yards):
    worker = yards[0].worker()
    yards[0].submit()
    assert len(worker.claim(1)) == 1
    yards[0].submit()
    settings_of(yards[1], paused=True)
    assert worker.claim(1) == []
    settings_of(yards[1])
    assert len(worker.claim(1)) == 1


def test_a_worker_that_another_process_ended_is_given_nothing_and_settles_nothing(yards):
    worker = yards[0].worker()
    yards[0].submit()
    yards[0].submit()
    [task] = worker.claim(1)
    yards[1].write(lambda r: yards[1].services.work.leave(r, yards[1].actor, worker.id))
    assert isinstance(settled(yards[0], task), LeaseLost)
    with pytest.raises(LeaseLost):
        worker.claim(1)


def test_who_is_refused_is_not_refused_for_what_is_not_so_any_more(yards, monkeypatch):
    """The queue was paused when this process looked last."""
    monkeypatch.setattr("taskyard.store.postgres.guesses.REST_S", 0.0)
    task = yards[0].submit()
    yard = yards[0]
    settings_of(yards[1], paused=True)
    with pytest.raises(Conflict):
        yard.write(lambda r: yard.services.work.claim_task(r, yard.actor, task.id))
    settings_of(yards[1])
    assert yard.write(lambda r: yard.services.work.claim_task(r, yard.actor, task.id)).state is State.RUNNING


def test_who_waits_for_a_task_goes_on_though_nobody_is_supposed_to_wait(yards):
    worker = yards[0].worker()
    first = yards[0].submit()
    [held] = worker.claim(1)
    after = yards[1].submit(blocked_by=(first.id,))
    settled(yards[0], held)
    assert yards[0].get(after.id).state is State.READY


def test_a_batch_that_stands_on_a_wrong_guess_is_done_as_a_whole(yards):
    yards[0].submit()
    settings_of(yards[1], max_failures=7)
    news = [Submission(yards[0].actor, NewTask(type="resize")) for _ in range(3)]
    tasks = yards[0].store.together(yards[0].services.tasks.submit, news)
    assert [task.max_failures for task in tasks] == [7, 7, 7]


def test_after_a_wrong_guess_nothing_is_guessed_for_a_while(yards):
    time = [100.0]
    guesses = Guesses(lambda: time[0])
    blocked = text("blocked_by")
    assert guesses.guess(blocked, ["task", "{}"]) is not None
    guesses.was_wrong()
    assert guesses.guess(blocked, ["task", "{}"]) is None
    time[0] += 1.1
    assert guesses.guess(blocked, ["task", "{}"]) is not None


def test_what_never_comes_true_is_refused_in_the_end(yards, monkeypatch):
    yards[0].submit()
    settings_of(yards[1], max_failures=7)
    monkeypatch.setattr(Guesses, "was_wrong", lambda self: None)
    with pytest.raises(Collided):
        yards[0].submit()
