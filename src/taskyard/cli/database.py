"""The database, looked at from beside it: what will stop a yard before it does."""

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from taskyard.cli import output
from taskyard.cli.checks import Check
from taskyard.cli.values import without_password
from taskyard.core.errors import TaskyardError
from taskyard.store.engine import Database
from taskyard.store.opening import open_database

#: Checkpoints keep the log to some 130 MB at the worst (RESTART_PAGES of the store); past twice that something holds them back.
MOST_LOG_BYTES: Final = 256 * 1024 * 1024
#: A yard that is written to at full speed fills this in some minutes.
LEAST_FREE_BYTES: Final = 512 * 1024 * 1024
#: Our own transactions end within seconds.
OLD_TRANSACTION: Final = timedelta(minutes=5)


def database_checks(url: str, now: Callable[[], datetime]) -> Iterator[Check]:
    """Look at the database at *url* without changing it; what depends on something that failed is not looked at."""
    try:
        database = open_database(url, now)
        if not url.startswith(("postgresql://", "postgres://")):
            yield from _of_file(Path(url.removeprefix("sqlite:///")), database)
            return
        began = now()
        there = _clock(database)
        yield Check(name="database", fine=True, detail=f"{without_password(database.url)} answers")
        yield _clocks(there, began)
        yield from _of_server(database, now())
    except TaskyardError as error:
        yield Check(
            name="database", fine=False, detail=str(error), remedy="see that it runs and can be reached"
        )


def _clock(database: Database) -> datetime:
    connection = database.connect(writes=False)
    try:
        with connection.snapshot():
            return connection.now()
    finally:
        connection.close()


# -- SQLite -------------------------------------------------------------------------------------------------------------------


def _of_file(path: Path, database: Database) -> Iterator[Check]:
    if not path.exists():
        remedy = "say --database, or make it with `taskyard migrate`"
        yield Check(name="database", fine=False, detail=f"there is no file {path}", remedy=remedy)
        return
    log = _log(path)  # first: whoever leaves a database last tidies it away
    _clock(database)
    yield Check(name="database", fine=True, detail=f"{path} answers, {_size(path.stat().st_size)}")
    writable = os.access(path, os.W_OK) and os.access(path.resolve().parent, os.W_OK)
    yield Check(
        name="rights",
        fine=writable,
        detail="the file and its folder can be written"
        if writable
        else f"{path} or its folder cannot be written",
        remedy="give them to the user that runs the server",
    )
    yield log
    yield _disk(path)


def _log(path: Path) -> Check:
    log = path.with_name(f"{path.name}-wal")
    size = log.stat().st_size if log.exists() else 0
    return Check(
        name="log",
        fine=size <= MOST_LOG_BYTES,
        detail=f"the write-ahead log has {_size(size)}",
        remedy="some program has been reading for long and holds checkpoints back: end it",
    )


def _disk(path: Path) -> Check:
    free = shutil.disk_usage(path.resolve().parent).free
    detail = f"{_size(free)} are free where the database lies"
    remedy = "free some space; until then writes may be answered with 503"
    return Check(name="disk", fine=free >= LEAST_FREE_BYTES, detail=detail, remedy=remedy)


def _size(bytes_: int) -> str:
    size = float(bytes_)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}"
        size /= 1024
    return f"{size:,.0f} TiB"


# -- PostgreSQL ---------------------------------------------------------------------------------------------------------------


def _clocks(there: datetime, here: datetime) -> Check:
    apart = abs(there - here)
    fine = apart < timedelta(seconds=3)
    detail = "the database's clock agrees with this machine's"
    if not fine:
        detail = (
            f"the database's clock is {output.length(apart)} from this machine's; leases go by the database's"
        )
    return Check(name="clock", fine=fine, detail=detail, remedy="let NTP set both clocks")


def _of_server(database: Database, now: datetime) -> Iterator[Check]:
    from taskyard.store.postgres import PostgresDatabase
    from taskyard.store.postgres.activity import old_transactions

    assert isinstance(database, PostgresDatabase)
    found = old_transactions(database, OLD_TRANSACTION)
    if not found:
        yield Check(name="transactions", fine=True, detail="none has been open for long")
    for old in found:
        whose = f"{old.place} ({old.application or 'no name'}, {old.state})"
        prepared = old.state == "prepared"
        remedy = (
            f"ROLLBACK PREPARED '{old.place}'" if prepared else f"SELECT pg_terminate_backend({old.place})"
        )
        yield Check(
            name="transactions",
            fine=False,
            detail=f"{whose} has been open for {output.length(now - old.since)}: the feed and the vacuum wait for it",
            remedy=f"end it: {remedy}",
        )
