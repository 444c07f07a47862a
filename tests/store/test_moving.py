"""A yard moves from a file to PostgreSQL, whatever happens on the way."""

import json
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import apsw
import psycopg
import pytest

from taskyard.core.errors import Conflict, Unavailable
from taskyard.core.hold import Hold, Settlement
from taskyard.core.outcome import Done
from taskyard.core.task import NewTask
from taskyard.service.services import build_services
from taskyard.service.tasks import Submission
from taskyard.store.moving import Move, freed, refuse_half_moved
from taskyard.store.postgres import PostgresDatabase
from taskyard.store.sqlite import SqliteDatabase
from taskyard.store.store import Store
from taskyard.yard import Yard as Program
from tests.conftest import Clock, Yard, new_id
from tests.postgres import TestServer
from tests.served import run


def opened(database: SqliteDatabase | PostgresDatabase, clock: Clock) -> Yard:
    store = Store(database)
    services = build_services(new_id, lambda: 0.5)
    store.write(services.accounts.bootstrap)
    return Yard(store, services, clock, 1)


def filled(path: Path, clock: Clock, finished: int, waiting: int) -> None:
    database = SqliteDatabase(path, clock)
    database.migrate()
    yard = opened(database, clock)
    for begin in range(0, finished + waiting, 1000):
        size = min(1000, finished + waiting - begin)
        yard.store.together(
            yard.services.tasks.submit,
            [Submission(yard.actor, NewTask(type="resize", input={"n": begin + n})) for n in range(size)],
        )
    worker, left = yard.worker("resize"), finished
    while left:
        claimed = worker.claim(min(left, 500))
        yard.store.together(
            yard.services.work.settle, [Settlement(Hold.of(task), Done({"ok": 1}), None) for task in claimed]
        )
        left -= len(claimed)
    yard.store.close()


def command(path: Path, target: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "taskyard", "move", "--from", f"sqlite:///{path}", "--to", target, *more]


def killed_after(path: Path, target: str, tables: int) -> None:
    """Move until *tables* were told to be done, then kill -9."""
    process = subprocess.Popen(command(path, target), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for _ in range(tables):
        process.stderr.readline()
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()


def test_a_move_that_is_killed_twice_ends_with_equal_yards(
    postgres: TestServer, tmp_path: Path, clock: Clock
) -> None:
    path, target = tmp_path / "yard.db", postgres.empty_database()
    clock.now = datetime(2026, 1, 1, tzinfo=UTC)  # so that its worker has long gone
    filled(path, clock, 2_500, 100)
    for tables in (2, 4):
        killed_after(path, target, tables)
    done = subprocess.run(command(path, target, "--json"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = {each["table"]: each for each in json.loads(done.stdout)}
    assert all(each["equal"] for each in told.values())
    assert told["tasks"]["rows_there"] == 2_600

    there = opened(PostgresDatabase(target, now=clock), clock)
    try:
        before = there.read(lambda r: r.connection.row("feed_end"))
        task = there.submit()
        after = there.read(lambda r: r.connection.row("feed_end"))
        assert before[0] == 0  # the feed goes on behind what was moved
        assert after > before
        assert after[1] > before[1]
        assert there.get(task).state == "ready"
    finally:
        there.store.close()
    with pytest.raises(Unavailable, match="yard has moved to"):
        SqliteDatabase(path, clock).migrate()


def test_a_yard_with_a_live_worker_stays(postgres: TestServer, tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "yard.db"
    filled(path, clock, 1, 1)
    source = SqliteDatabase(path, clock)
    move = Move(source, PostgresDatabase(postgres.empty_database()))
    with pytest.raises(Conflict, match="workers live"):
        move.begin()
    move.close()
    source.migrate()  # it was not frozen


def test_a_target_with_a_yard_is_refused(postgres: TestServer, tmp_path: Path, clock: Clock) -> None:
    filled(tmp_path / "yard.db", clock, 0, 1)
    target = PostgresDatabase(postgres.database(), now=clock)
    opened(target, clock).store.close()
    clock.forward(days=1)
    move = Move(SqliteDatabase(tmp_path / "yard.db", clock), PostgresDatabase(target.url))
    with pytest.raises(Conflict, match="holds a yard"):
        move.begin()
    move.close()


def test_no_server_opens_what_is_half_moved(postgres: TestServer, tmp_path: Path, clock: Clock) -> None:
    filled(tmp_path / "yard.db", clock, 0, 1)
    clock.forward(days=1)
    target = PostgresDatabase(postgres.empty_database())
    move = Move(SqliteDatabase(tmp_path / "yard.db", clock), target)
    move.begin()
    move.close()
    with pytest.raises(Unavailable, match="has not ended"):
        refuse_half_moved(target)


def test_a_move_is_given_up_until_it_has_ended(postgres: TestServer, tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "yard.db"
    filled(path, clock, 0, 1)
    clock.forward(days=1)
    source, target = SqliteDatabase(path, clock), PostgresDatabase(postgres.empty_database())
    begun = Move(source, target)
    begun.begin()
    begun.close()
    freed(path)
    source.migrate()  # it can be used again

    move = Move(source, PostgresDatabase(postgres.empty_database()))
    move.begin()
    for table in move.tables:
        list(move.copy(table))
    move.finish()
    move.close()
    with pytest.raises(Conflict, match="has ended"):
        freed(path)


def test_a_server_that_runs_on_is_told_that_its_yard_has_moved(
    postgres: TestServer, tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "yard.db"
    filled(path, clock, 0, 1)
    clock.forward(days=1)
    yard = opened(SqliteDatabase(path, clock), clock)
    move = Move(SqliteDatabase(path, clock), PostgresDatabase(postgres.empty_database()))
    move.begin()
    move.close()

    with pytest.raises(Unavailable, match="has moved"):
        yard.submit()
    yard.store.close()


# -- every table ---------------------------------------------------------------------------------------------------------

#: What the tables themselves check; everything else may hold anything.
CHECKED = {
    ("tasks", "state"): "scheduled",
    ("tasks", "holder"): None,
    ("tasks", "finished_at"): None,
    ("feed_horizon", "one"): 1,
    ("deliveries", "state"): "pending",
}


def schema_tables() -> set[str]:
    """Return the tables that the schemas of this program make, by their texts."""
    script = files("taskyard.store.sqlite").joinpath("schema_0001.sql").read_text()
    return set(re.findall(r"^CREATE TABLE (\w+)", script, re.MULTILINE))


def fill_every_table(path: Path) -> None:
    """Put three rows more into each table, whatever its columns are; what refers to another table refers to a row of it."""
    raw = apsw.Connection(str(path))
    raw.execute("PRAGMA foreign_keys = ON")
    tables = [
        name
        for (name,) in raw.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
        )
    ]
    for table in tables:
        columns = raw.execute("SELECT name, type FROM pragma_table_info(?)", (table,)).fetchall()
        refers = {
            here: (there, column)
            for there, here, column in raw.execute(
                'SELECT "table", "from", "to" FROM pragma_foreign_key_list(?)', (table,)
            )
        }
        for row in range(3):
            values = []
            for column, type in columns:
                if (table, column) in CHECKED:
                    values.append(CHECKED[table, column])
                elif column in refers:
                    there, its = refers[column]
                    values.append(raw.execute(f"SELECT max({its or 'number'}) FROM {there}").fetchall()[0][0])
                elif type == "INTEGER":
                    values.append(2**40 + row)
                else:
                    values.append(f'{{"{table}": "{column} {row} ✓ \\\\ \t \U0001f600"}}')
            marks = ", ".join("?" * len(values))
            raw.execute(
                f"INSERT OR IGNORE INTO {table} ({', '.join(name for name, _ in columns)}) VALUES ({marks})",
                values,
            )
        if raw.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0] == 0:
            raise AssertionError(f"no row fits {table}; say in CHECKED what it wants")
    raw.close()


def test_the_rows_of_every_table_are_moved(postgres: TestServer, tmp_path: Path, clock: Clock) -> None:
    path, target = tmp_path / "yard.db", postgres.empty_database()
    filled(path, clock, 3, 2)
    fill_every_table(path)
    done = subprocess.run(command(path, target, "--json"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = {each["table"]: each["rows_there"] for each in json.loads(done.stdout)}
    assert set(told) == schema_tables()
    assert all(told.values()), told

    here, there = apsw.Connection(str(path)), psycopg.connect(target, options="-c search_path=taskyard")
    made = {
        name for (name,) in there.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'taskyard'")
    }
    assert made - {"schema_versions"} == set(told)  # and nothing of the move itself is left
    for table in told:
        columns = [name for (name,) in here.execute("SELECT name FROM pragma_table_info(?)", (table,))]
        rows = f"SELECT {', '.join(columns)} FROM {table}"
        ours, theirs = here.execute(rows).fetchall(), there.execute(rows.encode()).fetchall()
        assert sorted(map(repr, ours)) == sorted(map(repr, theirs)), table
    there.close()
    here.close()


@pytest.mark.parametrize("what", [["migrate"], ["serve", "--port", "0"], ["worker", "yard:yard"]])
def test_nothing_opens_what_is_half_moved(
    postgres: TestServer, tmp_path: Path, clock: Clock, what: list[str]
) -> None:
    filled(tmp_path / "yard.db", clock, 0, 1)
    clock.forward(days=1)
    target = postgres.empty_database()
    move = Move(SqliteDatabase(tmp_path / "yard.db", clock), PostgresDatabase(target))
    move.begin()
    move.close()
    (tmp_path / "yard.py").write_text(
        "from taskyard import Yard\nyard = Yard()\n\n@yard.task('a')\ndef a(ctx): ...\n"
    )
    refused = run(tmp_path, *what, "--database", target)
    assert refused.code != 0
    assert len(refused.err.strip().splitlines()) == 1
    assert "has not ended; run `taskyard move` again" in refused.err
    with pytest.raises(Unavailable, match="has not ended"), Program(target) as program:
        program.submit("a")
