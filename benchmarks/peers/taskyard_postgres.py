"""Taskyard on PostgreSQL: fsync on, every event kept."""

from benchmarks.peers.taskyard_sqlite import SETTINGS, Producer, setup, work

__all__ = ["KEEPS", "NEEDS", "SETTINGS", "SLOW", "STORE", "Producer", "setup", "work"]

STORE, NEEDS, SLOW = "postgresql", ("taskyard", "psycopg"), False
KEEPS = "yes"
