"""What the database itself refuses, should a statement ever be wrong; and that both schemas say the same."""

import re
from importlib.resources import files

import apsw
import psycopg
import pytest

from taskyard.store.sqlite import SqliteDatabase


def run(database, sql):
    """Run *sql* past all of our code."""
    if isinstance(database, SqliteDatabase):
        raw = apsw.Connection(str(database.path))
        try:
            return raw.execute(sql).fetchall()
        finally:
            raw.close()
    with psycopg.connect(database.url, autocommit=True, options="-c search_path=taskyard") as connection:
        return connection.execute(sql).rowcount


REFUSED = {
    "a state nobody knows": "UPDATE tasks SET state = 'lost' WHERE number = 1",
    "running without a holder": "UPDATE tasks SET state = 'running' WHERE number = 1",
    "held without running": "UPDATE tasks SET holder = 'worker:x' WHERE number = 1",
    "ended without an end": "UPDATE tasks SET state = 'failed' WHERE number = 1",
    "an end without having ended": "UPDATE tasks SET finished_at = 1 WHERE number = 1",
    "two open tasks of one key": "UPDATE tasks SET key = 'k'",
    "two tasks of one id": "UPDATE tasks SET id = 'x'",
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_the_database_refuses(yard, database, wrong):
    before = [yard.submit(), yard.submit()]

    with pytest.raises((apsw.ConstraintError, psycopg.errors.IntegrityError)):
        run(database, REFUSED[wrong])

    assert [yard.get(task) for task in before] == before


def columns(schema: str) -> dict[str, list[str]]:
    """Return the columns of each table of a schema's text, in order."""
    tables = {}
    for name, body in re.findall(r"CREATE TABLE (?:taskyard\.)?(\w+) \((.*?)\n\)", schema, re.DOTALL):
        lines = [line.strip() for line in body.splitlines()]
        tables[name] = [line.split()[0] for line in lines if re.match(r"[a-z]", line)]
    return tables


def indexes(schema: str) -> dict[str, str]:
    """Return what each index is on and where, by name; how it is built may differ."""
    found = re.findall(r"CREATE (UNIQUE )?INDEX (\w+)\s+ON\s+(.*?);", schema, re.DOTALL)
    return {name: " ".join((unique + rest).split()) for unique, name, rest in found}


def test_both_schemas_have_the_same_tables_columns_and_indexes():
    sqlite, postgres = (
        files("taskyard.store").joinpath(engine, "schema_0001.sql").read_text()
        for engine in ("sqlite", "postgres")
    )

    assert columns(sqlite) == {
        name: each for name, each in columns(postgres).items() if name != "schema_versions"
    }
    assert indexes(sqlite) == indexes(postgres)
