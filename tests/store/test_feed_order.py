"""The feed never jumps over an event, in whatever order transactions commit."""

from contextlib import suppress

import pytest

from taskyard.core.event import Cursor
from taskyard.store.postgres import PostgresDatabase
from taskyard.store.records import Records


@pytest.fixture
def connect(url, clock):
    opened = []

    def connect():
        opened.append(PostgresDatabase(url, now=clock).connect(writes=True))
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


@pytest.fixture
def read(connect):
    """Read on from where the last reading ended, as a face or a hook does."""
    records = Records(connect())
    place = Cursor()

    def read():
        nonlocal place
        with records.connection.snapshot():
            events = records.events.read(place, limit=100)
        if events:
            place = events[-1].cursor
        return [event.subject for event in events]

    return read


class Writing:
    """A transaction that has begun, appended its event unless *later*, and not committed yet."""

    def __init__(self, connection, subject, *, later=False):
        self._records = Records(connection)
        self._subject = subject
        self._transaction = connection.transaction()
        self._transaction.__enter__()
        connection.row(
            "insert_organisation", name=subject, title="", settings="{}", now=1
        )  # takes the transaction's number
        if not later:
            self.append()

    def append(self):
        self._records.events.append("noted", organisation=1, subject=self._subject, at=self._records.now)
        self._records.end()
        self._records.connection.rows("list_organisations")  # sends what waits: the event is written

    def commit(self):
        self._transaction.__exit__(None, None, None)

    def undo(self):
        with suppress(RuntimeError):
            self._transaction.__exit__(RuntimeError, RuntimeError("undone"), None)


def test_two_that_commit_in_their_order_are_read_in_it(connect, read):
    first, second = Writing(connect(), "first"), Writing(connect(), "second")
    first.commit()
    assert read() == ["first"]
    second.commit()
    assert read() == ["second"]


def test_one_that_began_first_and_commits_last_is_not_jumped_over(connect, read):
    first, second = Writing(connect(), "first"), Writing(connect(), "second")
    second.commit()
    assert read() == []  # the second is durable, but the first might still come before it
    first.commit()
    assert read() == ["first", "second"]
    assert read() == []


def test_one_whose_event_has_the_lower_number_and_commits_last_is_not_jumped_over(connect, read):
    """Sequence numbers and transactions are taken in different orders: neither alone is a place in the feed."""
    early, late = Writing(connect(), "early", later=True), Writing(connect(), "late")
    early.append()
    early.commit()
    assert read() == ["early"]
    late.commit()
    assert read() == ["late"]


def test_one_that_is_undone_holds_up_nobody(connect, read):
    first, second = Writing(connect(), "first"), Writing(connect(), "second")
    second.commit()
    first.undo()
    assert read() == ["second"]


def test_a_reader_in_between_sees_all_of_it_in_the_end(connect, read):
    """Three overlap; whatever is read whenever, together it is everything, once."""
    one, two, three = (Writing(connect(), name) for name in ("one", "two", "three"))
    seen = []
    for each in (three, one, two):
        each.commit()
        seen += read()
    assert seen == ["one", "two", "three"]


def test_the_end_of_the_feed_is_before_what_has_not_committed(connect, read):
    settled = Writing(connect(), "settled")
    settled.commit()
    open_ = Writing(connect(), "open")
    records = Records(connect())
    with records.connection.snapshot():
        end = records.events.end()
    open_.commit()
    with records.connection.snapshot():
        assert [event.subject for event in records.events.read(end, limit=10)] == ["open"]
    assert read() == ["settled", "open"]
