"""
Moving a yard from a SQLite file into a PostgreSQL database, with its whole history.

Only this way round: the feed of a file is ordered by ``seq`` alone, and so would not keep the order of one that many nodes
wrote. The rows of a file all have the transaction 0, so on PostgreSQL they stand before everything that is written there.

The texts here are made from the catalogue of the file, since the same few of them serve every table.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from taskyard.core.errors import Conflict, Invalid, Unavailable
from taskyard.store.engine import Database, Row
from taskyard.store.postgres import PostgresDatabase
from taskyard.store.postgres.connection import Opened
from taskyard.store.postgres.refusals import translated
from taskyard.store.postgres.texts import wire
from taskyard.store.sqlite import SqliteDatabase

#: Rows of one transaction: a second of work at the most, so that a kill costs no more.
BATCH: Final = 1_000
#: Ours, not the yard's: which move this is, and how far it has come.
MARKS: Final = ("moved", "moving")


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    def after(self, position: Sequence[Any] | None, place: Callable[[int], str]) -> str:
        """Return the statement of the next rows by key; ``place`` is how the engine writes its n-th value."""
        keys = ", ".join(self.key)
        given = ", ".join(place(number) for number in range(1, len(self.key) + 1))
        where = f"WHERE ({keys}) > ({given})" if position is not None else ""
        return f"SELECT {', '.join(self.columns)} FROM {self.name} {where} ORDER BY {keys} LIMIT {BATCH}"

    def position(self, row: Row) -> list[Any]:
        return [row[self.columns.index(column)] for column in self.key]


@dataclass(frozen=True, slots=True)
class Compared:
    """How many rows of a table there are on both sides, and a checksum over them in the order of their keys."""

    table: str
    rows: int
    rows_there: int
    checksum: str
    checksum_there: str

    @property
    def equal(self) -> bool:
        return (self.rows, self.checksum) == (self.rows_there, self.checksum_there)


def refuse_half_moved(database: Database) -> None:
    """
    Raises:
        Unavailable: a move into *database* has begun and not ended.
    """
    if not isinstance(database, PostgresDatabase):
        return
    with translated(database.where):
        opened = database.open(writes=False)
        try:
            found = opened.raw.execute("SELECT to_regclass($1)", [f"{database.schema}.moving"]).fetchone()
        finally:
            opened.raw.close()
    if found is not None and found[0] is not None:
        raise Unavailable(
            f"a move into the database at {database.where} has not ended; run `taskyard move` again"
        )


class Move:
    """
    One move; :meth:`begin`, :meth:`copy`, :meth:`compare`, :meth:`finish`. Killed anywhere, it goes on when all are called again.

    Raises:
        Invalid: the databases are not a SQLite file and a PostgreSQL one.
    """

    def __init__(self, source: Database, target: Database) -> None:
        if not isinstance(source, SqliteDatabase) or not isinstance(target, PostgresDatabase):
            raise Invalid("a yard moves from sqlite:///… to postgresql://…, and only this way round")
        self._source, self._target = source, target
        if not source.path.exists():
            raise Invalid(f"there is no file {source.path}")
        self._file = apsw.Connection(str(source.path))
        self._file.set_busy_timeout(60_000)
        self._file.execute("PRAGMA synchronous = FULL")
        self.tables: list[Table] = []
        self._id = ""
        self._opened: Opened | None = None

    def begin(self) -> None:
        """
        Freeze the source and prepare the target.

        Raises:
            Conflict: a worker lives at the source, it has moved elsewhere, or the target holds another yard.
        """
        if not self._has("moved"):
            self._source.migrate()
        self._target.migrate()
        with translated(self._target.where):
            self._opened = self._target.open(writes=True)
        there = self._moving_there()
        if there is None:
            self._refuse_a_yard_there()
        self._id = self._frozen()
        if there is not None and there != self._id:
            raise Conflict("another yard is being moved to the target; name an empty database")
        self.tables = self._catalogue()
        with self._transaction():
            self._run(
                "CREATE TABLE IF NOT EXISTS moving (source text NOT NULL, name text PRIMARY KEY, position text)"
            )
            for table in self.tables:
                self._run(
                    "INSERT INTO moving VALUES ($1, $2, NULL) ON CONFLICT DO NOTHING", self._id, table.name
                )

    def count(self, table: Table) -> int:
        [(count,)] = self._ask(f"SELECT count(*) FROM {table.name}")
        return int(count)

    def copy(self, table: Table) -> Iterator[int]:
        """Copy what is missing of *table*, yielding how many rows each batch had."""
        while True:
            with self._transaction():
                # Locked, so that of two moves at once each batch is done by one.
                [(kept,)] = self._run("SELECT position FROM moving WHERE name = $1 FOR UPDATE", table.name)
                rows = self._rows_here(table, None if kept is None else msgspec.json.decode(kept))
                if rows:
                    self._insert(table, rows)
                    position = msgspec.json.encode(table.position(rows[-1])).decode()
                    self._run("UPDATE moving SET position = $2 WHERE name = $1", table.name, position)
            if not rows:
                return
            yield len(rows)

    def compare(self, table: Table) -> Compared:
        rows, checksum = _summed(table, self._rows_here)
        rows_there, checksum_there = _summed(table, self._rows_there)
        return Compared(table.name, rows, rows_there, checksum, checksum_there)

    def finish(self) -> None:
        """Let new rows be numbered after the moved ones, and let servers open the target."""
        # Before the target opens: from here on giving up would leave two yards that live.
        self._file.execute("UPDATE moved SET ended = 1")
        numbered: dict[str, int] = dict(self._ask("SELECT name, seq FROM sqlite_sequence"))
        with self._transaction():
            for table in self.tables:
                for column in {"number", "seq"} & set(table.columns):
                    self._run(
                        f"SELECT setval(s, greatest(n, 1), n > 0) FROM (SELECT pg_get_serial_sequence($1, $2) AS s, "
                        f"greatest((SELECT max({column}) FROM {table.name}), $3::bigint) AS n) AS last WHERE s IS NOT NULL",
                        f"{self._target.schema}.{table.name}",
                        column,
                        numbered.get(table.name, 0),
                    )
            self._run("DROP TABLE moving")

    def close(self) -> None:
        self._file.close()
        if self._opened is not None:
            self._opened.raw.close()

    # -- the source ----------------------------------------------------------------------------------------------------------

    def _ask(self, sql: str, *values: Any) -> list[Row]:
        return self._file.execute(sql, values).fetchall()

    def _has(self, name: str) -> bool:
        return bool(self._ask("SELECT 1 FROM sqlite_master WHERE name = ?", name))

    def _catalogue(self) -> list[Table]:
        names = self._ask(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
        )  # in the order they were made, so that what is referred to is there first
        return [self._described(name) for (name,) in names if name not in MARKS]

    def _described(self, name: str) -> Table:
        found = self._ask("SELECT name, pk FROM pragma_table_info(?)", name)
        key = sorted((place, column) for column, place in found if place)
        return Table(name, tuple(column for column, _ in found), tuple(column for _, column in key))

    def _frozen(self) -> str:
        """Refuse all writes to the source from now on, also those of servers that run; return the move's id."""
        where = f"{self._target.where}, schema {self._target.schema}"
        self._file.execute("BEGIN IMMEDIATE")
        try:
            if self._has("moved"):
                [(id, target)] = self._file.execute("SELECT id, target FROM moved").fetchall()
                if target != where:
                    raise Conflict(f"the yard has moved to {target} already, or was about to")
            else:
                self._refuse_workers()
                id = secrets.token_hex(8)
                tables = self._catalogue()
                self._file.execute(
                    "CREATE TABLE moved (id TEXT NOT NULL, target TEXT NOT NULL, ended INTEGER NOT NULL DEFAULT 0) STRICT"
                )
                self._file.execute("INSERT INTO moved (id, target) VALUES (?, ?)", (id, where))
                for table in tables:
                    for what in ("INSERT", "UPDATE", "DELETE"):
                        self._file.execute(
                            f"CREATE TRIGGER moved_{table.name}_{what.lower()} BEFORE {what} ON {table.name} "
                            "BEGIN SELECT RAISE(ABORT, 'this yard has moved'); END"
                        )
            self._file.execute("COMMIT")
        finally:
            if not self._file.get_autocommit():
                self._file.execute("ROLLBACK")
        return str(id)

    def _refuse_workers(self) -> None:
        connection = self._source.connect(writes=False)
        now = int(connection.now().timestamp() * 1_000_000)
        connection.close()
        live = self._file.execute(
            "SELECT name FROM workers WHERE state IN ('active', 'draining') AND lease_until > ?", (now,)
        ).fetchall()
        if live:
            raise Conflict(
                f"{len(live)} workers live at the source ({live[0][0]}, …); stop them and its servers first"
            )

    def _rows_here(self, table: Table, position: Sequence[Any] | None) -> list[Row]:
        return self._file.execute(table.after(position, lambda n: f"?{n}"), tuple(position or ())).fetchall()

    # -- the target ----------------------------------------------------------------------------------------------------------

    def _moving_there(self) -> str | None:
        with self._transaction():
            if self._run("SELECT to_regclass($1)", f"{self._target.schema}.moving") == [(None,)]:
                return None
            found = self._run("SELECT source FROM moving LIMIT 1")
        return str(found[0][0]) if found else None

    def _refuse_a_yard_there(self) -> None:
        with self._transaction():
            found = self._run("SELECT 1 FROM organisations LIMIT 1")
        if found:
            raise Conflict("the target holds a yard already; name an empty database (or the move had ended)")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        assert self._opened is not None
        with translated(self._target.where), self._opened.raw.transaction():
            if self._opened.preamble is not None:
                self._run(self._opened.preamble[0])
            yield

    def _run(self, sql: str, *values: str | int | None) -> list[Row]:
        assert self._opened is not None
        cursor = self._opened.raw.execute(sql.encode(), [wire(value) for value in values] or None)
        return cursor.fetchall() if cursor.description else []

    def _insert(self, table: Table, rows: Sequence[Row]) -> None:
        assert self._opened is not None
        copying = f"COPY {table.name} ({', '.join(table.columns)}) FROM STDIN"
        with self._opened.raw.cursor() as cursor, cursor.copy(copying.encode()) as copy:
            for row in rows:
                copy.write_row(row)

    def _rows_there(self, table: Table, position: Sequence[Any] | None) -> list[Row]:
        with self._transaction():
            return self._run(table.after(position, lambda n: f"${n}"), *(position or ()))


def _summed(table: Table, read: Callable[[Table, Sequence[Any] | None], list[Row]]) -> tuple[int, str]:
    digest = hashlib.blake2b(digest_size=12)
    count, position = 0, None
    while rows := read(table, position):
        for row in rows:
            digest.update(msgspec.msgpack.encode(row))
        count += len(rows)
        position = table.position(rows[-1])
    return count, digest.hexdigest()


def freed(path: Path) -> None:
    """
    Let the file be used again, where its move is given up.

    Raises:
        Conflict: the move has ended, and the yard lives elsewhere.
    """
    file = apsw.Connection(str(path))
    for id, target in file.execute("SELECT id, target FROM moved WHERE ended") if _has_moved(file) else ():
        file.close()
        raise Conflict(f"the move {id} has ended: the yard lives at {target} now, and a second one must not")
    with file:
        for (name,) in file.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'moved\\_%' ESCAPE '\\'"
        ).fetchall():
            file.execute(f"DROP TRIGGER {name}")
        file.execute("DROP TABLE IF EXISTS moved")
    file.close()


def _has_moved(file: apsw.Connection) -> bool:
    return bool(file.execute("SELECT 1 FROM sqlite_master WHERE name = 'moved'").fetchall())
