"""Migrating: once, whoever asks; a kill leaves a whole version; a newer one is refused."""

import threading
from importlib import import_module
from urllib.parse import urlsplit, urlunsplit

import apsw
import psycopg
import pytest

from taskyard import Yard
from taskyard.core.errors import Unavailable
from taskyard.store.postgres import PostgresDatabase
from taskyard.store.sqlite import SqliteDatabase
from tests.conftest import new_id

SECOND = "CREATE TABLE second (number bigint PRIMARY KEY)"


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request):
    return request.param


@pytest.fixture
def fresh(engine, request, tmp_path, clock):
    """Return a database without a schema, each time the same one."""
    if engine == "sqlite":
        yield lambda: SqliteDatabase(tmp_path / "yard.db", clock)
        return
    server = request.getfixturevalue("postgres")
    url = server.empty_database()
    yield lambda: PostgresDatabase(url, now=clock)
    server.drop(url)


@pytest.fixture
def scripts(engine, monkeypatch):
    """What there is to run, for a test to add to."""
    module = import_module(f"taskyard.store.{engine}.migrate")
    known = dict(module.scripts())
    monkeypatch.setattr(module, "scripts", lambda: known)
    return known


def tables(database):
    if isinstance(database, SqliteDatabase):
        return {
            name
            for (name,) in apsw.Connection(str(database.path)).execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table'"
            )
        }
    with psycopg.connect(database.url) as connection:
        return {
            name
            for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'taskyard'")
        }


def test_an_empty_database_gets_every_table_and_says_so(fresh):
    said = []
    assert fresh().migrate(said.append) == 1

    assert said == ["schema version 1 of 1"]
    assert {"tasks", "events", "workers"} <= tables(fresh())


def test_migrating_again_changes_nothing(fresh):
    fresh().migrate()
    said = []

    assert fresh().migrate(said.append) == 1
    assert said == []


def test_what_is_missing_is_run_and_no_more(fresh, scripts):
    fresh().migrate()
    scripts[2] = SECOND
    said = []

    assert fresh().migrate(said.append) == 2
    assert said == ["schema version 2 of 2"]
    assert "second" in tables(fresh())


def test_a_script_that_fails_leaves_the_version_before_it(fresh, scripts):
    scripts[2] = SECOND + "; INSERT INTO nowhere VALUES (1)"
    with pytest.raises(Exception, match="nowhere"):
        fresh().migrate()
    assert "tasks" in tables(fresh())
    assert "second" not in tables(fresh())

    scripts[2] = SECOND
    assert fresh().migrate() == 2
    assert "second" in tables(fresh())


def test_a_newer_schema_is_refused(fresh, scripts):
    scripts[2] = SECOND
    fresh().migrate()
    del scripts[2]

    with pytest.raises(
        Unavailable, match=r"has schema version 2, this Taskyard knows 1; run a newer Taskyard on it"
    ):
        fresh().migrate()


def test_of_many_who_migrate_at_once_one_does_it(fresh, scripts):
    scripts[2] = SECOND
    said, versions, together = [], [], threading.Barrier(6)

    def migrate():
        database = fresh()
        together.wait()
        versions.append(database.migrate(said.append))

    threads = [threading.Thread(target=migrate) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert versions == [2] * 6
    assert said == ["schema version 1 of 2", "schema version 2 of 2"]


def test_one_that_is_killed_on_the_way_leaves_a_whole_version(postgres, clock, scripts, engine):
    """The server is told to end the migration's connection inside the second script."""
    if engine != "postgres":
        return
    url = postgres.empty_database()
    scripts[2] = SECOND + "; SELECT pg_terminate_backend(pg_backend_pid())"
    with pytest.raises(Unavailable):
        PostgresDatabase(url, now=clock).migrate()
    assert "second" not in tables(PostgresDatabase(url))

    scripts[2] = SECOND
    assert PostgresDatabase(url, now=clock, monotonic=lambda: 1e9).migrate() == 2
    postgres.drop(url)


def test_a_database_that_was_never_migrated_says_what_to_do(postgres, clock):
    url = postgres.empty_database()
    connection = PostgresDatabase(url, now=clock).connect(writes=False)
    with (
        pytest.raises(Unavailable, match="holds no yard of this version; run `taskyard migrate`"),
        connection.snapshot(),
    ):
        connection.rows("list_organisations")
    connection.close()
    postgres.drop(url)


def test_a_server_needs_no_right_to_make_tables_where_there_are_some(postgres):
    """One role migrates and owns the tables; that of the servers only works with what is in them."""
    url, role = postgres.database(), f"app_{new_id().replace('-', '')}"
    with psycopg.connect(url, autocommit=True) as raw:
        raw.execute(
            f"""CREATE ROLE {role} LOGIN;
                GRANT USAGE ON SCHEMA taskyard TO {role};
                GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA taskyard TO {role};
                GRANT USAGE ON ALL SEQUENCES IN SCHEMA taskyard TO {role}""".encode()
        )
    parts = urlsplit(url)
    with Yard(urlunsplit(parts._replace(netloc=parts.netloc.replace(parts.username or "", role)))) as yard:
        yard.task("hello")(lambda ctx: "hello")
        task = yard.submit("hello")
        yard.run_until_idle()
        assert yard.get(task.id).output == "hello"
    with psycopg.connect(url, autocommit=True) as raw:
        raw.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())
    postgres.drop(url)
