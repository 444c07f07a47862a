"""Processes on one database wake one another after a commit; what is not told is found by looking."""

import queue
import socket
import threading
import time
from contextlib import suppress

import psycopg
import pytest

from taskyard.store.postgres import PostgresDatabase
from taskyard.store.sqlite import SqliteDatabase
from taskyard.store.store import Store

PATIENCE_S = 20


@pytest.fixture
def address(database):
    """Open the same database again, as another process does."""

    def again(*options):
        if isinstance(database, SqliteDatabase):
            return SqliteDatabase(database.path, database._now)
        return PostgresDatabase("&".join((database.url, *options)), now=database.now)

    return again


@pytest.fixture
def stores(address):
    opened = []

    def open(*options, listen=False):
        opened.append(Store(address(*options)))
        if listen:
            opened[-1].listen()
        return opened[-1]

    yield open
    for store in opened:
        store.close()


class Ear:
    """What a process hears of other processes."""

    def __init__(self, database):
        self._heard = queue.Queue()
        self._thread = threading.Thread(target=self._hear, args=(database,), daemon=True)
        self._thread.start()

    def _hear(self, database):
        for topics in database.listen():
            self._heard.put(topics)
        self._heard.put(None)

    def next(self, within=PATIENCE_S):
        return self._heard.get(timeout=within)


def tell(store, *topics):
    store.write(lambda r: (r.accounts.organisations(), r.news.update(topics)))


def heard(ear, store, topic):
    """Tell until it is heard: nothing promises that the ear listens already."""
    said, until = set(), time.monotonic() + PATIENCE_S
    while topic not in said:
        assert time.monotonic() < until, "it hears nothing"
        tell(store, topic)
        with suppress(queue.Empty):
            said |= ear.next(within=0.1) or set()
    return said


def test_what_one_commits_wakes_the_other(address, stores):
    database = address()
    ear = Ear(database)

    assert "ready:1:images" in heard(ear, stores(), "ready:1:images")
    database.close()


def test_news_reach_who_subscribed_in_another_process(stores):
    listening, telling = stores(listen=True), stores()
    woken = threading.Event()
    listening.news.subscribe("ready:1:images", woken.set)
    while not woken.wait(0.05):
        tell(telling, "ready:1:images")

    assert woken.is_set()


def test_what_is_quiet_wakes_only_who_wants_to_hear_it(address, stores):
    database = address()
    ear, store = Ear(database), stores()
    heard(ear, store, "first")
    tell(store, "feed", "left:1:images")
    tell(store, "feed", "ready:1:images")
    said = set()
    while "ready:1:images" not in said:
        news = ear.next()
        assert news != {"feed", "left:1:images"}
        said |= news

    database.hear_all()
    assert "left:1:images" in heard(ear, store, "left:1:images")
    database.close()


def test_who_subscribes_to_what_is_quiet_hears_it(stores):
    listening, telling = stores(listen=True), stores()
    woken = threading.Event()
    listening.news.subscribe("ready:1:images", lambda: None)
    listening.news.subscribe("feed", woken.set)
    woken.clear()
    for _ in range(2):  # once because news may have been missed before, and once for what is told now
        while not woken.wait(0.05):
            tell(telling, "feed")
        woken.clear()


def test_who_subscribes_to_nothing_is_not_woken(stores):
    others = set(threading.enumerate())
    listening = stores(listen=True)
    assert "listener" not in {thread.name for thread in set(threading.enumerate()) - others}
    listening.news.subscribe("ready:1:images", lambda: None)
    assert "listener" in {thread.name for thread in set(threading.enumerate()) - others}


def test_what_is_undone_wakes_nobody(address, stores):
    database = address()
    ear, store = Ear(database), stores()
    heard(ear, store, "first")

    def undone(records):
        records.accounts.insert_organisation("a", "a", {}, records.now)
        records.news.add("never")
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        store.write(undone)
    tell(store, "last")

    said = set()
    while "last" not in said:
        said |= ear.next()
    assert "never" not in said
    database.close()


def test_more_than_a_message_holds_is_told_as_anything(address, stores):
    database = address()
    ear, store = Ear(database), stores()
    heard(ear, store, "first")
    tell(store, *(f"ready:1:{n:0100}" for n in range(200)))
    said = set()
    while "*" not in said:
        said |= ear.next()
    database.close()


def test_who_stops_listening_ends(address, stores):
    database = address()
    ear = Ear(database)
    heard(ear, stores(), "first")
    database.close()

    while ear.next() is not None:
        pass


# -- PostgreSQL alone --------------------------------------------------------------------------------------------------------


@pytest.fixture
def open_store(url, clock):
    opened = []

    def open(*options):
        opened.append(Store(PostgresDatabase("&".join((url, *options)), now=clock)))
        return opened[-1]

    yield open
    for store in opened:
        store.close()


def test_a_process_is_not_woken_by_itself(open_store):
    store, other = open_store(), open_store()
    ear = Ear(store.database)
    heard(ear, other, "first")
    tell(store, "mine")
    tell(other, "last")

    said = set()
    while "last" not in said:
        said |= ear.next()
    assert "mine" not in said


def test_a_batch_is_one_notification(open_store, url):
    """NOTIFY takes a lock of the whole server at the commit, so there is one, however much is told."""
    store = open_store()
    with psycopg.connect(url, autocommit=True) as raw:
        raw.execute("LISTEN taskyard")
        tell(store, "a", "b", "c")
        raw.execute("SELECT 1")
        told = [each.payload for each in raw.notifies(timeout=5, stop_after=1)]
        told += [each.payload for each in raw.notifies(timeout=0)]

    assert [payload.split("\n")[1:] for payload in told] == [["a", "b", "c"]]


def test_with_notifications_off_nothing_is_sent_and_nothing_listens(open_store, url):
    store = open_store("notify=off")
    assert list(store.database.listen()) == []
    with psycopg.connect(url, autocommit=True) as raw:
        raw.execute("LISTEN taskyard")
        tell(store, "a")
        raw.execute("SELECT 1")

        assert list(raw.notifies(timeout=0)) == []


def test_a_listener_that_is_cut_off_listens_again_and_wakes_everybody(open_store, url):
    """Whatever was told meanwhile is lost, so everybody looks."""
    store, other = open_store(), open_store()
    ear = Ear(store.database)
    heard(ear, other, "first")
    with psycopg.connect(url, autocommit=True) as raw:
        raw.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN taskyard'")
    while ear.next() != {"*"}:
        pass

    assert "again" in heard(ear, other, "again")


def test_the_last_to_leave_a_file_leaves_nothing_behind(tmp_path, clock):
    def opened():
        database = SqliteDatabase(tmp_path / "yard.db", clock)
        database.migrate()
        return database

    first, second = opened(), opened()
    ears = [Ear(first), Ear(second)]
    telling = Store(opened())
    heard(ears[0], telling, "ready:1:images")
    heard(ears[1], telling, "ready:1:images")
    folder = first._datagrams._folder
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as killed:
        killed.bind(str(folder / "killed.wake"))  # a process that is killed takes nothing along

    first.close()
    until_deaf(ears[0])
    assert [each.suffix for each in folder.iterdir()] == [".wake"]
    second.close()
    until_deaf(ears[1])
    telling.close()

    assert not folder.exists()


def until_deaf(ear):
    while ear.next() is not None:
        continue
    ear._thread.join()
