"""SQLite as an engine, through apsw: the same SQLite version everywhere, and faster batches than the standard driver."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Final

import apsw
import msgspec

from taskyard.core.errors import Broken, Unavailable
from taskyard.store.engine import A_NUL, HALF_A_PAIR, Duplicate, Row, Unstorable, Value
from taskyard.store.sqlite.wake import Datagrams
from taskyard.store.statements import shared

#: How long a process waits for another's write before it answers 503. Commits take well under a millisecond; only a copy of a
#: whole yard or a stalled disk lasts this long.
BUSY_TIMEOUT_MS: Final = 60_000
#: A checkpoint inside a commit costs 75–560 ms on a large file, so a thread of its own does it once this much has gathered.
CHECKPOINT_PAGES: Final = 1_000
#: Past this the log is emptied for good, at the price of writers waiting for readers for a moment.
RESTART_PAGES: Final = 32_000
CACHE_KIB: Final = 16 * 1024
#: How many given rows one run of a statement takes: of so many, then of so many, … A run costs as much as several rows do,
#: most of all where it RETURNs; more rows than these gain nothing.
ROWS_AT_ONCE: Final = (32, 8, 1)

#: What fails before a commit is promised, and leaves nothing half done: a quota, a limit of the process, a full disk under the
#: index of the log. SQLite undoes the transaction, and the next one may go through.
UNWRITTEN: Final = frozenset(
    {
        apsw.SQLITE_IOERR_WRITE,
        apsw.SQLITE_IOERR_SHMSIZE,
        apsw.SQLITE_IOERR_SHMOPEN,
        apsw.SQLITE_IOERR_SHMMAP,
        apsw.SQLITE_IOERR_TRUNCATE,
    }
)

FRAGMENTS: Final[Mapping[str, str]] = {
    "skip_locked": "",
    "for_update": "",
    "for_share": "",
    "any_picked": "IN (SELECT number FROM picked)",
    "tx": "0",
    "settled": "tx < 1",
    # Every tx is 0 here, so the primary key alone gives the order: no sort, however long the log.
    "feed_after": "seq > :seq",
    "feed_order": "seq",
    "feed_newest": "seq DESC",
}


@cache
def _text(name: str, conditions: tuple[str, ...] = (), rows: int = 1) -> str:
    """Return a statement as SQLite takes it, for so many given *rows* at once."""
    statement = shared().statements[name]
    text = statement.text.replace(
        "{where}", "".join(f" AND {shared().conditions[each]}" for each in conditions)
    )
    if rows > 1:
        columns = ", ".join(column for column, _ in statement.given)
        row = "(" + ", ".join("?" * len(statement.given)) + ")"
        text = re.sub(r"\{(?:locked_)?given\}", "given", _by_number_alone(text))
        text = f"WITH given ({columns}) AS (VALUES {', '.join([row] * rows)})\n{text}"
    else:
        # Bound directly: UPDATE … FROM a subquery would first copy its row into a table of its own.
        text = re.sub(r"FROM\s+\{(?:locked_)?given\}", "", text)
        for position, (column, _) in enumerate(statement.given, start=1):
            text = re.sub(rf"\bgiven\.{column}\b", f"?{position}", text)
    text = re.sub(r"\{any:(\w+)\}", r"IN (SELECT value FROM json_each(:\1))", text)
    text = re.sub(r"\{at:([^}]+)\}", r"\1", text)
    for fragment, replacement in FRAGMENTS.items():
        text = text.replace("{" + fragment + "}", replacement)
    return text


def _by_number_alone(text: str) -> str:
    """
    Put the fence of an UPDATE into expressions, so that rows are found by the numbers that are given and by no other index.
    (COALESCE, since the planner sees through anything that is NULL for a NULL: that would mean IS NOT NULL to it.)
    """
    before, where, fence = text.partition("WHERE  tasks.number = given.number")
    return (
        before + where + re.sub(r"\btasks\.(state|holder)(?= (?:=|IN\b))", r"COALESCE(tasks.\1, '')", fence)
    )


@cache
def _columns(name: str) -> Callable[[Mapping[str, Value]], tuple[Value, ...]]:
    columns = [column for column, _ in shared().statements[name].given]
    return itemgetter(*columns) if len(columns) > 1 else lambda row: (row[columns[0]],)


def _runs(name: str, given: Sequence[Mapping[str, Value]]) -> Iterator[tuple[str, tuple[Value, ...]]]:
    """Yield the texts and values that take all of *given*, several rows at once."""
    columns, start = _columns(name), 0
    for rows in ROWS_AT_ONCE:
        text = _text(name, (), rows)
        while len(given) - start >= rows:
            yield text, tuple(chain.from_iterable(map(columns, given[start : start + rows])))
            start += rows


def _bound(values: Mapping[str, Value]) -> dict[str, Value]:
    for value in values.values():
        # SQLite would keep it, but the yard could then never move to PostgreSQL. Rows that are given many at a time hold nothing
        # that was not checked before.
        if isinstance(value, str) and "\0" in value:
            raise Unstorable(A_NUL)
    return {
        name: msgspec.json.encode(value).decode() if isinstance(value, (list, tuple)) else value
        for name, value in values.items()
    }


class _Translated:
    """
    Within: what apsw raises becomes what services understand.

    A class, because every statement comes through here, and a generator would cost more than this.
    """

    __slots__ = ()

    def __enter__(self) -> None: ...

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        if error is not None and (ours := _translation(error)) is not None:
            raise ours from (None if isinstance(error, UnicodeEncodeError) else error)


_TRANSLATED: Final = _Translated()


def _translation(error: BaseException) -> Exception | None:
    """Return what services understand of an error; each message says what to do. None where it is theirs already."""
    extended = getattr(error, "extendedresult", None)
    match error:
        case apsw.ConstraintError():
            if extended in (apsw.SQLITE_CONSTRAINT_UNIQUE, apsw.SQLITE_CONSTRAINT_PRIMARYKEY):
                return Duplicate(str(error))
            if extended == apsw.SQLITE_CONSTRAINT_TRIGGER:
                return Unavailable(f"{error}; stop this server and use the database it has moved to")
            return None
        case apsw.FullError():
            return Unavailable("the disk that holds the database is full; free some space, nothing was lost")
        case apsw.BusyError():
            return Unavailable("another process has held the database for a minute; try again")
        case apsw.ReadOnlyError() | apsw.PermissionsError():
            return Unavailable(
                f"the database file cannot be written: {error}; check its owner and its file system"
            )
        case apsw.CantOpenError():
            return Unavailable(
                f"the database file cannot be opened: {error}; check the path and its permissions"
            )
        case apsw.NotADBError():
            return Unavailable("the file is not a Taskyard database; name another with --database")
        case UnicodeEncodeError():
            return Unstorable(HALF_A_PAIR)
        case apsw.IOError() | apsw.CorruptError():
            if extended in UNWRITTEN:
                return Unavailable(f"the disk takes no more of the database ({error}); nothing was lost")
            what = str(error) or apsw.mapping_extended_result_codes.get(extended or 0, "it does not say why")
            # After an fsync has failed the kernel may call the lost pages clean, so a second try would lie: stop.
            return Broken(f"the disk failed under the database ({what}); stop, check the disk, start again")
        case _:
            return None


class SqliteConnection:
    """One connection; see :class:`taskyard.store.engine.Connection`."""

    def __init__(
        self, raw: apsw.Connection, now: Callable[[], datetime], tell: Callable[[frozenset[str]], None]
    ) -> None:
        self._raw = raw
        self._clock = now
        self._tell = tell
        self._topics: frozenset[str] = frozenset()

    def rows(self, statement: str, /, *conditions: str, **values: Value) -> list[Row]:
        with _TRANSLATED:
            return self._raw.execute(_text(statement, conditions), _bound(values)).fetchall()

    def row(self, statement: str, /, *conditions: str, **values: Value) -> Row | None:
        found = self.rows(statement, *conditions, **values)
        return found[0] if found else None

    def run(self, statement: str, /, **values: Value) -> int:
        with _TRANSLATED:
            self._raw.execute(_text(statement), _bound(values)).fetchall()
            return self._raw.changes()

    def rows_for_each(self, statement: str, given: Sequence[Mapping[str, Value]], /) -> list[Row]:
        if not given:
            return []
        with _TRANSLATED:
            return [
                row for text, values in _runs(statement, given) for row in self._raw.execute(text, values)
            ]

    def rows_to_come(
        self, statement: str, given: Sequence[Mapping[str, Value]], /
    ) -> Callable[[], list[Row]]:
        rows = self.rows_for_each(statement, given)
        return lambda: rows

    def now(self) -> datetime:
        return self._clock()

    @property
    def time_known(self) -> datetime | None:
        return self._clock()

    def prove(self) -> None: ...

    def announce(self, topics: frozenset[str]) -> None:
        self._topics |= topics

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        with _TRANSLATED:
            self._raw.execute("SAVEPOINT one")
        try:
            yield
        except BaseException:
            if not self._raw.get_autocommit():  # a full disk may have ended the whole transaction already
                with _TRANSLATED:
                    self._raw.execute("ROLLBACK TO one; RELEASE one")
            raise
        with _TRANSLATED:
            self._raw.execute("RELEASE one")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with _TRANSLATED:
            # IMMEDIATE: take the write lock now, rather than fail when upgrading a read.
            self._raw.execute("BEGIN IMMEDIATE")
        self._topics = frozenset()
        yield from self._until_end()
        if self._topics:
            with suppress(Exception):  # a hint only: everybody looks now and then unwoken
                self._tell(self._topics)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        with _TRANSLATED:
            self._raw.execute("BEGIN")
        yield from self._until_end()

    def _until_end(self) -> Iterator[None]:
        try:
            yield
            with _TRANSLATED:
                self._raw.execute("COMMIT")
        except BaseException:
            if not self._raw.get_autocommit():
                with _TRANSLATED:
                    self._raw.execute("ROLLBACK")
            raise

    def close(self) -> None:
        # The last to close moves the log into the database. Where the disk does not let it, the log stays and is read at the next start.
        with suppress(apsw.IOError, apsw.FullError, apsw.ReadOnlyError):
            self._raw.close()


class SqliteDatabase:
    """
    A yard in one SQLite file.

    Args:
        path: The file; its folder must exist.
        now: The clock. The file has none of its own, so it is the machine's unless a test sets it.
        vfs: The SQLite file system to use; tests of bad luck bring their own.
    """

    def __init__(self, path: Path, now: Callable[[], datetime], *, vfs: str | None = None) -> None:
        self.url = f"sqlite:///{path}"
        self.path = path
        self._now = now
        self._vfs = vfs
        self._swollen = threading.Event()
        self._closed = False
        self._restart = False
        self._checkpointer: threading.Thread | None = None
        self._datagrams = Datagrams(path)

    def connect(self, *, writes: bool) -> SqliteConnection:
        with _TRANSLATED:
            if not self.path.parent.is_dir():
                raise Unavailable(
                    f"there is no folder {self.path.parent} to keep the database in; make it first"
                )
            raw = apsw.Connection(str(self.path), vfs=self._vfs, statementcachesize=300)
            raw.set_busy_timeout(BUSY_TIMEOUT_MS)
            # Without this guarantee a statement is planned anew whenever a value is bound to it: 160 µs a claim instead of 14.
            raw.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
            for pragma in (
                "synchronous = FULL",
                "foreign_keys = ON",
                f"cache_size = -{CACHE_KIB}",
                "temp_store = MEMORY",
            ):
                raw.execute(f"PRAGMA {pragma}")
            if writes:
                raw.execute("PRAGMA journal_mode = WAL")
                raw.set_wal_hook(self._after_commit)
                self._start_checkpointer()
            else:
                raw.execute("PRAGMA query_only = ON")
        return SqliteConnection(raw, self._now, self._datagrams.announce)

    def _after_commit(self, _raw: apsw.Connection, _name: str, pages: int) -> int:
        if pages >= CHECKPOINT_PAGES:
            self._restart = pages >= RESTART_PAGES
            self._swollen.set()
        return apsw.SQLITE_OK

    def _start_checkpointer(self) -> None:
        if self._checkpointer is None:
            self._checkpointer = threading.Thread(
                target=self._checkpoint_when_swollen, name="checkpoint", daemon=True
            )
            self._checkpointer.start()

    def _checkpoint_when_swollen(self) -> None:
        while True:
            self._swollen.wait()
            if self._closed:
                return
            self._swollen.clear()
            try:
                self.maintain()
            except Unavailable:
                continue  # the writer meets the same trouble and says so; this thread only tries again later

    def maintain(self) -> None:
        mode = apsw.SQLITE_CHECKPOINT_RESTART if self._restart else apsw.SQLITE_CHECKPOINT_PASSIVE
        with _TRANSLATED:
            raw = apsw.Connection(str(self.path), vfs=self._vfs)
            try:
                raw.set_busy_timeout(1_000)
                raw.execute("PRAGMA synchronous = FULL")
                raw.wal_checkpoint(mode=mode)
            except apsw.BusyError:
                pass  # readers are in the way; the next commit asks again
            finally:
                raw.close()

    def migrate(self, progress: Callable[[str], None] = lambda _: None) -> int:
        from taskyard.store.sqlite.migrate import migrate

        with _TRANSLATED:
            raw = apsw.Connection(str(self.path), vfs=self._vfs)
            try:
                raw.set_busy_timeout(BUSY_TIMEOUT_MS)
                raw.execute("PRAGMA synchronous = FULL")
                return migrate(raw, progress)
            finally:
                raw.close()

    def listen(self) -> Iterator[frozenset[str]]:
        return self._datagrams.listen()

    def hear_all(self) -> None:
        self._datagrams.hear_all()

    def close(self) -> None:
        self._closed = True
        self._swollen.set()
        if self._checkpointer is not None:
            self._checkpointer.join(timeout=5)
        self._datagrams.close()
