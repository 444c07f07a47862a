"""The shared store: PostgreSQL 14 or newer, for as many machines as there are; the database alone coordinates them."""

from taskyard.store.postgres.engine import PostgresDatabase

__all__ = ["PostgresDatabase"]
