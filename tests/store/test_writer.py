"""Group commit: what waits together shares a commit; one that fails fails alone; nothing is answered before it is durable."""

import threading
from concurrent.futures import Future

import pytest

from taskyard.core.errors import Unavailable
from taskyard.store.engine import Collided
from taskyard.store.store import Store


@pytest.fixture
def store(database):
    store = Store(database)
    yield store
    store.close()


class Gate:
    """Holds the writer inside a transaction until it is opened, so that what comes meanwhile waits together."""

    def __init__(self, store):
        self._open = threading.Event()
        entered = threading.Event()

        def hold(records):
            entered.set()
            self._open.wait()

        self.done = store.write_soon(hold)
        entered.wait()

    def open(self):
        self._open.set()
        self.done.result()


def add(name):
    def adding(records):
        assert records.accounts.insert_organisation(name, name, {}, records.now) is not None
        return name

    return adding


def names(store):
    return [each.name for each in store.read(lambda r: r.accounts.organisations())]


class Wrong(Exception):
    pass


def wrong(records):
    add("never")(records)
    records.events.append("never", organisation=1, subject="never", at=records.now)
    records.news.add("never")
    raise Wrong


def test_what_waits_together_shares_one_transaction(store, database, monkeypatch):
    gate = Gate(store)
    news = []
    store.news.subscribe("", lambda: news.append("told"))
    waiting = [store.write_soon(lambda r, name=name: (add(name)(r), r.news.add("x"))) for name in "abc"]
    gate.open()
    for each in waiting:
        each.result()

    assert names(store) == ["a", "b", "c"]
    assert news == ["told"]  # once for the three


def test_one_that_fails_fails_alone(store):
    gate = Gate(store)
    first, second, third = store.write_soon(add("a")), store.write_soon(wrong), store.write_soon(add("b"))
    gate.open()

    assert (first.result(), third.result()) == ("a", "b")
    with pytest.raises(Wrong):
        second.result()
    assert names(store) == ["a", "b"]
    assert store.read(lambda r: r.events.of_subject(1, "never")) == []


def test_one_that_fails_by_itself_leaves_nothing(store):
    with pytest.raises(Wrong):
        store.write(wrong)

    assert names(store) == []
    assert store.write(add("a")) == "a"


def move(records, items):
    """A move over many that cannot take "bad", and says so for the whole."""
    if "bad" in items:
        raise Wrong
    return [add(item)(records) for item in items]


def test_a_move_over_many_is_made_once_for_all_who_wait(store):
    gate = Gate(store)
    calls = []

    def counted(records, items):
        calls.append(list(items))
        return move(records, items)

    futures = [store.together_soon(counted, [name]) for name in "abc"]
    gate.open()

    assert [each.result() for each in futures] == [["a"], ["b"], ["c"]]
    assert calls == [["a", "b", "c"]]


def test_a_move_over_many_that_fails_is_made_one_by_one(store):
    gate = Gate(store)
    good, bad, better = (store.together_soon(move, [name]) for name in ("a", "bad", "b"))
    gate.open()

    assert (good.result(), better.result()) == (["a"], ["b"])
    with pytest.raises(Wrong):
        bad.result()
    assert names(store) == ["a", "b"]


def test_nothing_is_answered_before_its_commit(store, database):
    """Whoever has an answer finds it there, on another connection, at once."""
    found: Future = Future()
    reader = Store(database)
    store.write_soon(add("a")).add_done_callback(lambda _: found.set_result(names(reader)))

    assert found.result() == ["a"]
    reader.close()


def test_what_collided_runs_again_each_job_alone(store):
    gate = Gate(store)
    tries = []

    def collides_at_first(records):
        tries.append("collides")
        add("a")(records)
        if len(tries) < 3:
            raise Collided("in one another's way")

    first, second = store.write_soon(collides_at_first), store.write_soon(add("b"))
    gate.open()

    first.result()
    second.result()
    assert sorted(names(store)) == ["a", "b"]
    assert len(tries) == 3


def test_what_collides_for_ever_is_refused_and_the_rest_is_done(store):
    gate = Gate(store)

    def collides(records):
        raise Collided("in one another's way")

    first, second = store.write_soon(collides), store.write_soon(add("b"))
    gate.open()

    with pytest.raises(Unavailable, match="in one another's way"):
        first.result()
    assert second.result() == "b"


def test_a_closed_store_finishes_what_waits_and_takes_no_more(database):
    store = Store(database)
    waiting = [store.write_soon(add(name)) for name in "abc"]
    store.close()

    assert [each.result() for each in waiting] == ["a", "b", "c"]
    with pytest.raises(Unavailable):
        store.write(add("d"))
