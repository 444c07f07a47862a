"""What a database must offer for Taskyard to stand on it; SQLite and PostgreSQL are the two that do."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Final, Protocol

from taskyard.core.errors import Invalid, Unavailable

#: A value a statement may be given. Lists go where the text says ``{any:name}``.
Value = str | int | float | bytes | None | Sequence[str] | Sequence[int]
Row = tuple[Any, ...]


class Duplicate(Exception):
    """A unique constraint refused a row; services look up what was there first and say so."""


class Unstorable(Invalid):
    """
    A text holds what not every database can keep, and so none does. Who takes a text over checks it, and can say which one it
    is; this is for what nobody has thought of, and for looking things up by such a text.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"a text holds {what}; remove it", code="bad_text")


#: What is wrong with an unstorable text.
A_NUL: Final = "a NUL character, which cannot be stored"
HALF_A_PAIR: Final = "half of a surrogate pair, which is not Unicode"


class Collided(Unavailable):
    """The transaction and another were in one another's way, and the database undid this one: it may simply run again."""


class Guessed(BaseException):
    """
    The transaction took for granted what is not so: run again, it looks. No Exception, so that no service takes it for a refusal of its
    own; it goes no further than the writer.
    """


class Connection(Protocol):
    """One connection, used by one thread. Statements are named, and their text is in ``sql/*.sql``."""

    def rows(self, statement: str, /, *conditions: str, **values: Value) -> list[Row]:
        """Run *statement*, its ``{where}`` narrowed by the named *conditions*, and return every row."""
        ...

    def row(self, statement: str, /, *conditions: str, **values: Value) -> Row | None:
        """Run *statement* and return its first row, None when there is none."""
        ...

    def run(self, statement: str, /, **values: Value) -> int:
        """Run *statement* and return how many rows it changed."""
        ...

    def rows_for_each(self, statement: str, given: Sequence[Mapping[str, Value]], /) -> list[Row]:
        """Run *statement*, whose text reads ``{given}``, for all of *given* at once; return every row, in no promised order."""
        ...

    def rows_to_come(
        self, statement: str, given: Sequence[Mapping[str, Value]], /
    ) -> Callable[[], list[Row]]:
        """Do the same, but ask for the rows no sooner than the returned function is called, which may be after the commit."""
        ...

    def now(self) -> datetime:
        """Return the transaction's time by the database's clock, to the microsecond: the one clock that leases are judged by."""
        ...

    @property
    def time_known(self) -> datetime | None:
        """The same, where it costs nothing to know. A statement puts it in itself where it is given None (``{at:name}``)."""
        ...

    def prove(self) -> None:
        """
        Ask now what this transaction has taken for granted and would ask at its commit: somebody is to be refused.

        Raises:
            Guessed: it is not so.
        """
        ...

    def announce(self, topics: frozenset[str]) -> None:
        """Tell other processes on this database, once this transaction has committed, what there is news of. A hint: may be lost."""
        ...

    def savepoint(self) -> AbstractContextManager[None]:
        """Within: on an exception everything done inside is undone, and the transaction goes on."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """Within: a transaction that writes. Committed durably at the end, undone on an exception."""
        ...

    def snapshot(self) -> AbstractContextManager[None]:
        """Within: reads that all see the same moment. Never takes the write lock."""
        ...

    def close(self) -> None: ...


class Database(Protocol):
    """A place where a yard lives. ``url`` names it."""

    url: str

    def connect(self, *, writes: bool) -> Connection:
        """
        Open a connection.

        Raises:
            Unavailable: the database cannot be reached, or the file cannot be opened.
        """
        ...

    def migrate(self, progress: Callable[[str], None] = ...) -> int:
        """
        Bring the schema to this program's version, under a lock; safe to kill and to run again.

        Returns:
            The schema's version.

        Raises:
            Unavailable: the schema is newer than this program, or the database cannot be reached.
        """
        ...

    def listen(self) -> Iterator[frozenset[str]]:
        """
        Yield the topics other processes announce, until :meth:`close`. May wake for nothing; may miss some, and until :meth:`hear_all`
        misses what is quiet.
        """
        ...

    def hear_all(self) -> None:
        """Let :meth:`listen` yield the quiet topics too, from now on."""
        ...

    def maintain(self) -> None:
        """Do what the database wants done now and then, off the writer's path (SQLite: a checkpoint)."""
        ...

    def close(self) -> None: ...
