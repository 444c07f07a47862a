"""What a connection promises, on both databases: rows, refusals, savepoints, transactions, snapshots."""

import contextlib

import pytest

from taskyard.core.errors import Invalid
from taskyard.store.engine import Duplicate

NOW = 1_000_000


@pytest.fixture
def connect(database):
    """Open connections that are closed after the test."""
    opened = []

    def connect(*, writes=True):
        opened.append(database.connect(writes=writes))
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


@pytest.fixture
def connection(connect):
    return connect()


def add(connection, name):
    return connection.row("insert_organisation", name=name, title=name, settings="{}", now=NOW)


def add_worker(connection, id):
    return connection.run(
        "insert_worker",
        id=id,
        organisation=1,
        name="w",
        lanes="[]",
        slots=1,
        version="",
        now=NOW,
        lease_until=NOW,
    )


def names(connection):
    with connection.snapshot():
        return [row[1] for row in connection.rows("list_organisations")]


class Undone(Exception):
    pass


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_a_text_that_not_every_database_keeps_is_refused_in_words_and_the_transaction_goes_on(
    connection, text
):
    with connection.transaction():
        add(connection, "a")
        for move in (lambda: add(connection, text), lambda: add_worker(connection, text)):
            with pytest.raises(Invalid, match="remove it"), connection.savepoint():
                move()
        found = []
        with contextlib.suppress(Invalid), connection.savepoint():
            found = connection.rows("tasks_by_id", organisation=1, ids=["x", text])
        assert found == []
        add(connection, "b")

    assert names(connection) == ["a", "b"]


def test_what_is_committed_is_seen_by_others(connection, connect):
    with connection.transaction():
        assert add(connection, "a") is not None

    assert names(connect(writes=False)) == ["a"]


def test_a_row_that_is_there_already_is_left_out_where_the_statement_says_so(connection):
    with connection.transaction():
        add(connection, "a")
        assert add(connection, "a") is None

    assert names(connection) == ["a"]


def test_a_transaction_that_fails_leaves_nothing(connection):
    with contextlib.suppress(Undone), connection.transaction():
        add(connection, "a")
        raise Undone

    assert names(connection) == []
    with connection.transaction():
        add(connection, "b")
    assert names(connection) == ["b"]


def test_a_transaction_in_which_nothing_is_done_is_none(connection):
    with connection.transaction():
        pass
    with pytest.raises(Undone), connection.transaction():
        raise Undone

    assert names(connection) == []


def test_a_second_row_of_a_unique_value_is_refused_as_a_duplicate(connection):
    with connection.transaction():
        add_worker(connection, "w")
    with pytest.raises(Duplicate), connection.transaction():
        add_worker(connection, "w")

    with connection.transaction():
        assert connection.row("get_worker", organisation=1, id="w") is not None


def test_a_duplicate_in_a_savepoint_spares_the_rest(connection):
    with connection.transaction():
        add(connection, "before")
        with contextlib.suppress(Duplicate), connection.savepoint():
            add(connection, "within")
            add_worker(connection, "w")
            add_worker(connection, "w")
        add(connection, "after")

    assert names(connection) == ["before", "after"]


def test_savepoints_nest(connection):
    with connection.transaction():
        with connection.savepoint():
            add(connection, "outer")
            with contextlib.suppress(Undone), connection.savepoint():
                add(connection, "inner")
                raise Undone
            add(connection, "outer too")
            with connection.savepoint():
                add(connection, "inner too")
        with contextlib.suppress(Undone), connection.savepoint():
            add(connection, "lost")
            with connection.savepoint():
                add(connection, "lost with it")
            raise Undone

    assert names(connection) == ["outer", "outer too", "inner too"]


def test_a_savepoint_in_which_nothing_is_done_is_none(connection):
    with connection.transaction():
        with connection.savepoint():
            pass
        with contextlib.suppress(Undone), connection.savepoint():
            raise Undone
        with connection.savepoint(), connection.savepoint():
            pass
        add(connection, "a")
        with contextlib.suppress(Undone), connection.savepoint():
            raise Undone

    assert names(connection) == ["a"]


def label(connection, task):
    connection.rows_for_each("insert_labels", [{"organisation": 1, "name": "n", "value": "v", "task": task}])


def test_rows_whose_answer_nobody_reads_are_refused_where_they_were_given(yard, connection):
    """PostgreSQL gets them with the next statement; a refusal must not come out of that one."""
    task = yard.submit()
    with connection.transaction():
        with pytest.raises(Exception, match=r"(?i)foreign key"), connection.savepoint():  # noqa: PT012
            label(connection, 999)
            label(connection, 998)
        label(connection, task.number)
        add(connection, "a")

    assert names(connection) == ["default", "a"]
    with connection.snapshot():
        rows = connection.rows(
            "list_labelled", organisation=1, label_name="n", label_value="v", limit=9, offset=0
        )
    assert [row[0] for row in rows] == [task.number]


def test_a_snapshot_sees_one_moment(connection, connect):
    reader = connect(writes=False)
    with connection.transaction():
        add(connection, "before")
    with reader.snapshot():
        assert [row[1] for row in reader.rows("list_organisations")] == ["before"]
        with connection.transaction():
            add(connection, "meanwhile")
        assert [row[1] for row in reader.rows("list_organisations")] == ["before"]

    assert names(reader) == ["before", "meanwhile"]


def test_a_reader_cannot_write(connect):
    reader = connect(writes=False)
    with pytest.raises(Exception, match=r"(?i)readonly|only reads"), reader.snapshot():
        add(reader, "a")

    assert names(reader) == []


def test_text_is_kept_as_it_is(yard, connection):
    written = [
        "Ä",
        "a",
        "B",
        'quote"d',
        "back\\slash",
        "{braces}",
        "comma,",
        "new\nline",
        "NULL",
        "😀",
        "%s :x $1",
        "",
    ]
    with connection.transaction():
        for name in written:
            connection.row("insert_queue", organisation=yard.organisation, name=name, title=name, kind="machine", paused=0, concurrency=None,
                           rate_count=None, rate_period=None, lease=1, max_failures=1, retention=1, form=None, settings=None,
                           now=NOW)  # fmt: skip
        found = connection.rows("queues_by_name", organisation=yard.organisation, names=written)

    assert {(row[2], row[3]) for row in found} == {(each, each) for each in written}


def test_text_is_ordered_by_its_bytes(yard):
    for type in ("b", "A", "a", "_", "B.c", "B-c"):
        yard.submit(type)

    ready = yard.read(lambda r: r.work.ready_types(yard.organisation, "default"))
    assert ready == ["A", "B-c", "B.c", "_", "a", "b"]


def test_a_list_of_none_matches_nothing(connection):
    with connection.transaction():
        assert connection.rows("lock_tasks_by_number", numbers=[]) == []
        assert connection.rows("queues_by_name", organisation=1, names=[]) == []
        assert connection.rows_for_each("insert_labels", []) == []


def test_given_rows_keep_every_kind_of_value(yard, connection):
    task = yard.submit()
    rows = [
        {
            "id": "a",
            "organisation": 1,
            "task": task.number,
            "attempt": 2**40,
            "name": 'n"\\,',
            "value": None,
            "created_at": -1,
        },
        {
            "id": "b",
            "organisation": 1,
            "task": task.number,
            "attempt": 0,
            "name": "{}",
            "value": '{"x":"\\u0000"}',
            "created_at": 1,
        },
    ]
    with connection.transaction():
        numbers = dict(connection.rows_for_each("insert_results", rows))
        kept = connection.rows("results_of_task", task=task.number)

    assert kept == [
        (numbers["a"], "a", task.number, 2**40, 'n"\\,', None, -1, None),
        (numbers["b"], "b", task.number, 0, "{}", '{"x":"\\u0000"}', 1, None),
    ]


def test_the_clock_of_a_test_rules(connection, clock):
    with connection.transaction():
        assert connection.now() == clock()
