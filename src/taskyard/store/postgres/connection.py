"""
One connection to PostgreSQL, through psycopg.

A round trip costs more than most statements, so what nobody waits for (the beginning of a transaction, savepoints, rows
that are inserted without an answer) travels with the next statement in one go, and a commit takes everything that is
left along, the notification included.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg.pq import TransactionStatus

from taskyard.core.errors import Unavailable
from taskyard.core.times import from_micros
from taskyard.store.engine import Guessed, Row, Value
from taskyard.store.postgres.guesses import Guesses, is_check
from taskyard.store.postgres.pipe import Answer, Bound, Command, Pipe
from taskyard.store.postgres.refusals import translated
from taskyard.store.postgres.texts import TIME, given_rows, text, wire

if TYPE_CHECKING:
    from taskyard.store.postgres.engine import PostgresDatabase

#: How long the plans of the moves are kept: one that was made while a table was empty must not last.
PLANS_KEPT_S: Final = 2.0

_CLOCK: Final = f"SELECT {TIME}"
_COMMIT: Final = ("COMMIT", None)
_BEGIN_WRITING: Final = "BEGIN"
_BEGIN_READING: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

Raw = psycopg.Connection[Row]


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection to the server; *preamble* is what each transaction must set for itself, behind a pooler."""

    raw: Raw
    preamble: Command | None


class PostgresConnection:
    """One connection; see :class:`taskyard.store.engine.Connection`. It opens itself again when it finds itself cut off between transactions."""

    def __init__(self, database: "PostgresDatabase", *, writes: bool) -> None:
        self._database = database
        self._writes = writes
        self._opened = database.open(writes=writes)
        self._raw = self._opened.raw
        self._pipe = Pipe(self._raw, prepares=self._opened.preamble is None)
        self._waiting: list[Command] = []
        self._begun = False  # whether the transaction that is open here has reached the server
        self._now: datetime | None = None
        self._asks_time = False  # whether something of what waits does
        self._wanted: dict[int, tuple[Command, Callable[[Answer], object]]] = {}  # by the id of the command
        self._topics: frozenset[str] = frozenset()
        self._depth = 0  # how many savepoints are open
        self._planned_at = 0.0
        self._guesses = Guesses(database.monotonic)

    # -- statements ----------------------------------------------------------------------------------------------------------

    def rows(self, statement: str, /, *conditions: str, **values: Value) -> list[Row]:
        named = text(statement, conditions)
        given = [wire(values[name]) for name in named.names]
        if named.usually is None or not self._writes:
            return self._send((named.sql, given)).rows()
        guessed = self._guesses.guess(named, given)
        if guessed is not None:
            rows, check = guessed
            self._waiting.append(check)
            return rows
        return self._guesses.learn(named, given, self._send(self._guesses.look(named, given)).rows())

    def row(self, statement: str, /, *conditions: str, **values: Value) -> Row | None:
        found = self.rows(statement, *conditions, **values)
        return found[0] if found else None

    def run(self, statement: str, /, **values: Value) -> int:
        named = text(statement)
        return self._send((named.sql, [wire(values[name]) for name in named.names])).changed

    def rows_for_each(self, statement: str, given: Sequence[Mapping[str, Value]], /) -> list[Row]:
        if not given:
            return []
        named = text(statement)
        command: Command = (named.sql, [given_rows(named, given)])
        if not named.answers:
            self._waiting.append(command)
            return []
        return self._send(command).rows()

    def rows_to_come(
        self, statement: str, given: Sequence[Mapping[str, Value]], /
    ) -> Callable[[], list[Row]]:
        if not given:
            return list
        named = text(statement)
        answers: list[Answer] = []
        self._ask((named.sql, [given_rows(named, given)]), answers.append)

        def rows() -> list[Row]:
            if not answers:  # it still waits
                self._send(self._waiting.pop())
            return answers[0].rows()

        return rows

    def now(self) -> datetime:
        if self._database.now is not None:
            return self._database.now()
        if self._now is None:
            if not self._asks_time:
                self._ask_time()
            self._send(self._waiting.pop())
            assert self._now is not None
        return self._now

    @property
    def time_known(self) -> datetime | None:
        return self._now if self._database.now is None else self._database.now()

    def prove(self) -> None:
        if any(map(is_check, self._waiting)):
            self._send(self._waiting.pop())

    def announce(self, topics: frozenset[str]) -> None:
        self._topics |= topics

    def _send(self, command: Command) -> Answer:
        """Send what waits and *command* in one go; return what came of *command*."""
        sent = [*self._waiting, command]
        with translated(self._database.where):
            # Before anything is sent or forgotten: of what cannot be sent, what waits knows nothing.
            commands = self._pipe.bound(sent)
        self._waiting.clear()
        self._asks_time = False
        try:
            answers = self._run(commands)
        except Unavailable:
            if self._begun or command == _COMMIT or not self._cut_off():
                raise
            # Nothing of this transaction can have been done, and the connection died while nobody looked: begin on a new one.
            self._reopen()
            answers = self._run(commands)
        self._begun = True
        for each, answer in zip(sent, answers, strict=True):
            if id(each) in self._wanted:
                _, hear = self._wanted.pop(id(each))
                hear(answer)
        return answers[-1]

    def _ask(self, command: Command, hear: Callable[[Answer], object]) -> None:
        """Let *command* wait; *hear* is told what came of it."""
        self._waiting.append(command)
        self._wanted[id(command)] = command, hear

    def _ask_time(self) -> None:
        self._asks_time = True
        self._ask((_CLOCK, None), self._hear_time)

    def _hear_time(self, answer: Answer) -> None:
        [(micros,)] = answer.rows()
        self._now = from_micros(micros)

    def _run(self, commands: Sequence[Bound]) -> list[Answer]:
        try:
            with translated(self._database.where), self._database.patience.waiting(self._raw):
                return self._pipe.run(commands)
        except Guessed:
            self._guesses.was_wrong()
            raise

    # -- transactions --------------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield from self._between(_BEGIN_WRITING)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        yield from self._between(_BEGIN_READING)

    def _between(self, begin: str) -> Iterator[None]:
        self._waiting = [(begin, None)]
        if self._opened.preamble is not None:
            self._waiting.append(self._opened.preamble)
        elif self._writes and self._database.monotonic() - self._planned_at > PLANS_KEPT_S:
            self._waiting.append(("DISCARD PLANS", None))
            self._planned_at = self._database.monotonic()
        self._wanted.clear()
        if self._writes and self._database.now is None:
            # Asked along with the first statement: nearly every move needs it, and alone it would cost a round trip.
            self._ask_time()
        unsent = len(self._waiting)
        self._begun, self._now, self._topics = False, None, frozenset()
        self._guesses.begin()
        try:
            yield
            if self._begun or len(self._waiting) > unsent:
                self._commit()
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._waiting.clear()
            self._begun, self._asks_time = False, False

    def _commit(self) -> None:
        if self._topics and self._database.notify:
            self._waiting.append(self._database.notifications.message(self._topics))
        try:
            done = self._send(_COMMIT).status
        except Unavailable as error:
            if self._cut_off():
                raise Unavailable(
                    f"the connection to PostgreSQL at {self._database.where} broke during the commit, so it is not known "
                    "whether this was done; look, or ask again with the same idempotency key"
                ) from error
            raise
        if done != b"COMMIT":
            # An error was swallowed inside, and PostgreSQL answers such a commit with a rollback, politely.
            raise RuntimeError(
                "the transaction had failed before its commit, which PostgreSQL answered by undoing it"
            )

    def _roll_back(self) -> None:
        if self._raw.info.transaction_status != TransactionStatus.IDLE:
            self._undo(b"ROLLBACK")

    def _undo(self, command: bytes) -> None:
        # Where it is cut off, the server undoes it. Below psycopg's cursors, which forget all their prepared statements whenever they see a ROLLBACK.
        with suppress(psycopg.Error), self._database.patience.waiting(self._raw):
            self._raw.pgconn.exec_(command)

    def _cut_off(self) -> bool:
        return self._raw.closed or self._raw.info.transaction_status == TransactionStatus.UNKNOWN

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        if self._gives_rows():
            self._send(self._waiting.pop())  # what was given before must not be refused within
        self._guesses.begin()
        self._depth += 1
        name = f"level_{self._depth}"
        marker: Command = (f"SAVEPOINT {name}", None)
        place = len(self._waiting)
        self._waiting.append(marker)
        try:
            yield
            if self._holds(place, marker) and len(self._waiting) == place + 1:
                self._waiting.pop()  # nothing was done inside
            elif self._gives_rows():
                self._send((f"RELEASE {name}", None))
            else:
                self._waiting.append((f"RELEASE {name}", None))
        except BaseException:
            if self._holds(place, marker):
                self._waiting[place:] = filter(is_check, self._waiting[place:])
            else:
                self._waiting = list(filter(is_check, self._waiting))
                self._undo(f"ROLLBACK TO {name}; RELEASE {name}".encode())
            raise
        finally:
            self._depth -= 1

    def _gives_rows(self) -> bool:
        return any(each[1] is not None and not is_check(each) for each in self._waiting)

    def _holds(self, place: int, marker: Command) -> bool:
        return len(self._waiting) > place and self._waiting[place] is marker

    def _reopen(self) -> None:
        self._raw.close()
        self._opened = self._database.open(writes=self._writes)
        self._raw = self._opened.raw
        self._pipe = Pipe(self._raw, prepares=self._opened.preamble is None)

    def close(self) -> None:
        self._raw.close()
