"""The embedded store: one SQLite file in WAL mode, one writer at a time, every commit on the disk before it is acknowledged."""

from taskyard.store.sqlite.engine import SqliteDatabase

__all__ = ["SqliteDatabase"]
