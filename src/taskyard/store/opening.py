"""Which database an address means, and what must be so before it is used."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from taskyard.core.errors import Invalid
from taskyard.store.engine import Database

SQLITE = "sqlite:///"
POSTGRES = ("postgresql://", "postgres://")


def open_database(url: str, now: Callable[[], datetime]) -> Database:
    """
    Return the database at *url*, not migrated yet: ``sqlite:///file.db``, a path, or ``postgresql://…``.

    Args:
        now: The clock of a SQLite file, which has none of its own; PostgreSQL goes by the server's.

    Raises:
        Invalid: the URL is of another kind, or the driver for PostgreSQL is not installed.
    """
    if url.startswith(POSTGRES):
        try:
            from taskyard.store.postgres import PostgresDatabase
        except ImportError:
            raise Invalid("PostgreSQL needs its driver: pip install 'taskyard[postgres]'") from None
        return PostgresDatabase(url)
    from taskyard.store.sqlite import SqliteDatabase

    if url.startswith(SQLITE):
        return SqliteDatabase(Path(url.removeprefix(SQLITE)), now)
    if "://" in url or not url:
        raise Invalid(
            f"{url!r} is not a database; use sqlite:///file.db, a path, or postgresql://user@host/name"
        )
    return SqliteDatabase(Path(url), now)


def migrate(database: Database, progress: Callable[[str], None] = lambda _: None) -> int:
    """
    Bring *database* up to date, for use; return the schema's version.

    Raises:
        Unavailable: it cannot be reached, is newer than this program, or a yard is being moved into it.
    """
    if database.url.startswith(POSTGRES):
        from taskyard.store.moving import refuse_half_moved

        refuse_half_moved(database)
    return database.migrate(progress)
