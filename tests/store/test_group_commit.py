"""Group commit: what waits together shares a commit, what fails fails alone, and nothing is answered before it is kept."""

import threading
from concurrent.futures import Future

import pytest

from taskyard.core.actor import Actor
from taskyard.core.errors import Invalid, Unavailable
from taskyard.core.queue import QueueSettings
from taskyard.core.task import NewTask, Task
from taskyard.service.tasks import Submission
from taskyard.store.tasks import TaskFilter


@pytest.fixture
def held(yard):
    """Something that keeps the writer busy, so that what is asked meanwhile waits together; call it to let go."""
    begun, go = threading.Event(), threading.Event()

    def hold(records):
        begun.set()
        go.wait(30)

    future = yard.store.write_soon(hold)
    begun.wait(30)
    yield go.set
    go.set()
    future.result(30)


def submit_soon(yard, *news):
    return yard.store.together_soon(yard.services.tasks.submit, [Submission(yard.actor, new) for new in news])


def insert_soon(yard, kind, then=None):
    """Write an event and a queue of that name, then do something else in the same transaction."""

    def work(records):
        records.queues.insert(yard.organisation, kind, QueueSettings(), records.now)
        records.events.append(kind, organisation=yard.organisation, subject=kind, at=records.now)
        records.news.add(kind)
        return then(records) if then else kind

    return yard.store.write_soon(work)


def fail(_records):
    raise ValueError("by its own fault")


def queues(yard):
    return {queue.name for queue in yard.read(lambda r: r.queues.all(yard.organisation))}


def test_who_fails_in_a_shared_commit_fails_alone_and_leaves_nothing(yard, held):
    told = set()
    ends = [
        yard.store.news.subscribe(name, lambda name=name: told.add(name)) for name in ("one", "two", "three")
    ]
    one, two, three = insert_soon(yard, "one"), insert_soon(yard, "two", fail), insert_soon(yard, "three")
    held()

    assert (one.result(30), three.result(30)) == ("one", "three")
    with pytest.raises(ValueError, match="own fault"):
        two.result(30)
    assert queues(yard) >= {"one", "three"}
    assert "two" not in queues(yard)
    assert [yard.events(name) for name in ("one", "two", "three")] == [["one"], [], ["three"]]
    assert told == {"one", "three"}
    for end in ends:
        end()


def test_who_fails_alone_leaves_nothing_either_and_the_next_goes_through(yard):
    with pytest.raises(ValueError, match="own fault"):
        insert_soon(yard, "one", fail).result(30)

    assert queues(yard) == set()
    assert yard.events("one") == []
    assert insert_soon(yard, "two").result(30) == "two"
    assert yard.events("two") == ["two"]


def test_an_exception_in_a_shared_move_concerns_only_who_brought_it(yard, held):
    def move(records, items):
        tasks = yard.services.tasks.submit(
            records, [Submission(yard.actor, NewTask(type=each)) for each in items]
        )
        if "bad" in items:
            raise ValueError("not foreseen")
        return tasks

    good = yard.store.together_soon(move, ["a", "b"])
    bad = yard.store.together_soon(move, ["c", "bad"])
    also_good = yard.store.together_soon(move, ["d"])
    held()

    assert [task.type for task in good.result(30)] == ["a", "b"]
    assert [task.type for task in also_good.result(30)] == ["d"]
    with pytest.raises(ValueError, match="not foreseen"):
        bad.result(30)
    stored = yard.read(lambda r: r.tasks.search(yard.organisation, TaskFilter(), limit=99, oldest_first=True))
    assert [task.type for task in stored] == ["a", "b", "d"]
    assert [yard.events(task.id) for task in stored] == [["task.submitted"]] * 3


def test_each_who_shares_a_move_gets_his_own_answers(yard, held):
    futures = [submit_soon(yard, *(NewTask(type=f"t{each}") for _ in range(each))) for each in range(6)]
    refused = submit_soon(yard, NewTask(type="no name"), NewTask(type="fine"))
    held()

    for each, future in enumerate(futures):
        assert [task.type for task in future.result(30)] == [f"t{each}"] * each
    invalid, fine = refused.result(30)
    assert isinstance(invalid, Invalid)
    assert isinstance(fine, Task)


def test_two_who_bring_the_same_key_at_once_are_answered_as_if_one_came_later(yard, held):
    futures = [submit_soon(yard, NewTask(type="resize", key="daily")) for _ in range(3)]
    held()

    [first], [second], [third] = (future.result(30) for future in futures)
    assert isinstance(first, Task)
    assert second.existing == third.existing == first.id


def test_what_is_called_off_before_it_ran_is_not_done_and_the_writer_lives(yard, held):
    """A client that goes away cancels its future; the one thread that writes must not fall over it."""
    called_off, kept = insert_soon(yard, "one"), insert_soon(yard, "two")
    assert called_off.cancel()
    held()

    assert kept.result(30) == "two"
    assert queues(yard) == {"two"}
    assert insert_soon(yard, "three").result(30) == "three"


def test_what_runs_already_cannot_be_called_off(yard):
    seen: list[bool] = []
    mine: Future[Future[str]] = Future()

    def work(records):
        seen.append(mine.result(30).cancel())
        return "answered"

    future = yard.store.write_soon(work)
    mine.set_result(future)

    assert future.result(30) == "answered"
    assert seen == [False]


def test_a_listener_that_fails_harms_nobody(yard):
    heard = []

    def broken():
        raise RuntimeError("the loop is closed")

    yard.store.news.subscribe("feed", broken)
    yard.store.news.subscribe("feed", lambda: heard.append(True))

    for name in ("one", "two"):
        assert insert_soon(yard, name).result(30) == name
    assert heard == [True, True]


def test_news_comes_after_the_commit(yard):
    """Whoever looks when told finds what he was told of."""
    found = []
    yard.store.news.subscribe(
        f"ready:{yard.organisation}:default",
        lambda: found.append(yard.read(lambda r: r.tasks.count(yard.organisation, TaskFilter()))),
    )

    yard.submit()
    assert found == [1]


def test_more_than_fits_one_commit_is_all_done(yard, held):
    futures = [submit_soon(yard, *[NewTask(type="resize")] * 300) for _ in range(5)]
    held()

    ids = {task.id for future in futures for task in future.result(30)}
    assert len(ids) == 1500
    assert yard.read(lambda r: r.tasks.count(yard.organisation, TaskFilter())) == 1500


def test_a_read_sees_one_moment_and_does_not_wait_for_a_writer(yard, held):
    """The writer is held in the middle of a transaction, and whoever reads does not notice."""
    yard_is_empty = yard.read(lambda r: r.tasks.count(yard.organisation, TaskFilter()))
    waiting = submit_soon(yard, NewTask(type="resize"))

    assert yard_is_empty == 0
    assert not waiting.done()
    held()
    waiting.result(30)


def test_what_waits_is_finished_before_the_yard_closes_and_nothing_is_taken_after(yard, held):
    waiting = insert_soon(yard, "one")
    closing = threading.Thread(target=yard.store._writer.close)
    closing.start()
    held()
    closing.join(30)

    assert waiting.result(30) == "one"
    with pytest.raises(Unavailable, match="closed"):
        yard.store.write(lambda r: None)


def test_writers_of_many_threads_lose_nothing(yard):
    organisation = yard.organisation
    actor = Actor(organisation=organisation, identity="user:1")

    def submit_some(answers):
        for _ in range(50):
            answers += yard.store.together(
                yard.services.tasks.submit, [Submission(actor, NewTask(type="resize"))]
            )

    answers: list[list[Task]] = [[] for _ in range(8)]
    threads = [threading.Thread(target=submit_some, args=(each,)) for each in answers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    ids = {task.id for each in answers for task in each}
    assert len(ids) == 400
    assert yard.read(lambda r: r.tasks.count(organisation, TaskFilter())) == 400
