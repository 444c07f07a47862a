"""A transaction has one instant, however long it takes."""

from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from taskyard.store.records import Records
from taskyard.store.sqlite import SqliteDatabase


def test_all_that_one_transaction_writes_bears_the_same_time(tmp_path: Path) -> None:
    ticks = count()
    database = SqliteDatabase(
        tmp_path / "yard.db", lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(ticks))
    )
    database.migrate()
    connection = database.connect(writes=True)
    records = Records(connection)
    records.begin()
    first = records.time
    assert (records.time, records.now) == (first, first)
    records.begin()
    assert records.time != first
    connection.close()
    database.close()
