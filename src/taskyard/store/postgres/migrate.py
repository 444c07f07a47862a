"""Bring a database's schema to this program's version: numbered scripts, forwards only, one process at a time."""

from collections.abc import Callable
from importlib.resources import files
from typing import Any, Final

import psycopg
from psycopg import sql

from taskyard.core.errors import Unavailable

#: The number of the advisory lock that migrating takes: "yard" as bytes.
LOCK: Final = int.from_bytes(b"yard")


def scripts() -> dict[int, str]:
    folder = files("taskyard.store.postgres")
    return {
        int(file.name.removeprefix("schema_").removesuffix(".sql")): file.read_text()
        for file in folder.iterdir()
        if file.name.startswith("schema_") and file.name.endswith(".sql")
    }


def migrate(raw: psycopg.Connection[Any], schema: str, where: str, progress: Callable[[str], None]) -> int:
    """
    Run what is missing, each script in one transaction with the row that says so, so that a kill leaves a whole version.

    Raises:
        Unavailable: the database was written by a newer Taskyard.
    """
    known = scripts()
    newest = max(known)
    present = -1
    while present < newest:
        with raw.transaction():
            # Of the transaction, not of the session: a pooler may give the session to somebody else in between.
            raw.execute(
                "SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '0', true)"
            )
            raw.execute("SELECT pg_advisory_xact_lock($1)", [str(LOCK)])
            present = _present(raw, schema)
            if present > newest:
                raise Unavailable(
                    f"the database at {where} has schema version {present}, this Taskyard knows {newest}; run a newer Taskyard on it"
                )
            if present < newest:
                present += 1
                progress(f"schema version {present} of {newest}")
                raw.execute(known[present], prepare=False)
                raw.execute("INSERT INTO schema_versions (version) VALUES ($1)", [str(present)])
    return newest


def _present(raw: psycopg.Connection[Any], schema: str) -> int:
    name = sql.Identifier(schema)
    # IF NOT EXISTS asks for the right to make a schema or a table even where there is one, and servers need not have it.
    if raw.execute("SELECT 1 FROM pg_namespace WHERE nspname = $1", [schema]).fetchone() is None:
        raw.execute(sql.SQL("CREATE SCHEMA {}").format(name))
    raw.execute(sql.SQL("SET LOCAL search_path TO {}").format(name))
    if raw.execute("SELECT to_regclass($1)", [f"{schema}.schema_versions"]).fetchone() == (None,):
        raw.execute(
            "CREATE TABLE schema_versions (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
    row = raw.execute("SELECT COALESCE(max(version), 0) FROM schema_versions").fetchone()
    assert row is not None
    return int(row[0])
