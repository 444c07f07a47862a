"""What else goes on in the database: transactions that are open for long hold up the feed and the vacuum."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from taskyard.store.postgres.engine import PostgresDatabase
from taskyard.store.postgres.refusals import translated

# Of every database of the server: the feed reads below the oldest of all (pg_snapshot_xmin). Replication slots and prepared
# transactions hold the vacuum up too, and live where no backend is.
_OPEN_SINCE: Final = """
    SELECT pid::text, coalesce(application_name, ''), coalesce(state, ''), xact_start
    FROM   pg_stat_activity
    WHERE  xact_start < now() - make_interval(secs => $1) AND pid <> pg_backend_pid() AND backend_type = 'client backend'
    UNION ALL
    SELECT gid, 'prepared', 'prepared', prepared
    FROM   pg_prepared_xacts
    WHERE  prepared < now() - make_interval(secs => $1)
    ORDER  BY 4
    LIMIT  10
"""


@dataclass(frozen=True, slots=True)
class OldTransaction:
    """``place`` is the backend's process id, or the name of a prepared transaction."""

    place: str
    application: str
    state: str
    since: datetime


def old_transactions(database: PostgresDatabase, age: timedelta) -> Sequence[OldTransaction]:
    """Return the transactions that have been open for longer than *age*, the oldest first. Raises Unavailable."""
    opened = database.open(writes=False)
    try:
        with translated(database.where):
            rows = opened.raw.execute(_OPEN_SINCE, [str(age.total_seconds())]).fetchall()
    finally:
        opened.raw.close()
    return [OldTransaction(*row) for row in rows]
