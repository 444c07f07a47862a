"""
Several commands in one go over one connection, below psycopg's cursors: those cost more per command than the server's work.

What is sent is bound by the server as text of no declared type, and each statement is prepared once per connection.
"""

import select
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from taskyard.store.engine import Row

#: How many statements a connection keeps prepared; there are about two hundred, and lists have many variants.
PREPARED: Final = 500

#: A statement and its values; None for no values.
Command = tuple[str, Sequence[str | None] | None]
Bound = tuple[str, list[bytes | None] | None]

_FAILED: Final = (ExecStatus.FATAL_ERROR, ExecStatus.BAD_RESPONSE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one command."""

    result: PGresult
    connection: "psycopg.Connection[Any]"

    def rows(self) -> list[Row]:
        if not self.result.ntuples:
            return []
        reader = Transformer(self.connection)
        reader.set_pgresult(self.result)
        return reader.load_rows(0, self.result.ntuples, tuple)

    @property
    def changed(self) -> int:
        return self.result.command_tuples or 0

    @property
    def status(self) -> bytes | None:
        return self.result.command_status


class Pipe:
    """
    Args:
        prepares: Whether statements may be prepared; behind a pooler the next transaction may run elsewhere.
    """

    def __init__(self, raw: "psycopg.Connection[Any]", *, prepares: bool) -> None:
        self._raw = raw
        self._conn: PGconn = raw.pgconn
        self._encoding = raw.info.encoding
        self._prepares = prepares
        self._names: dict[str, bytes] = {}
        self._made = 0
        self._poll = select.poll()

    def bound(self, commands: Sequence[Command]) -> list[Bound]:
        """
        Return *commands* with their values as they are sent.

        Raises:
            psycopg.DataError, UnicodeEncodeError: a value cannot be sent.
        """
        return [(sql, self._bytes(values)) for sql, values in commands]

    def run(self, commands: Sequence[Bound]) -> list[Answer]:
        """
        Run *commands* one after the other, in one round trip; return what came of each.

        Raises:
            psycopg.Error: of the first that was refused; those after it have not run then.
        """
        conn = self._conn
        new: dict[str, bytes] = {}
        conn.enter_pipeline_mode()
        try:
            asked: list[
                str | None
            ] = []  # by result: None for a command, else the statement that it only prepares
            for sql, values in commands:
                self._send(sql, values, new, asked)
            conn.pipeline_sync()
            results = self._results()
        finally:
            if conn.status != ConnStatus.BAD:
                conn.exit_pipeline_mode()
        answers = []
        for statement, result in zip(asked, results, strict=True):
            if result.status in _FAILED:
                raise error_from_result(result, encoding=self._encoding)
            if statement is None:
                answers.append(Answer(result, self._raw))
            elif statement in new:
                self._names[statement] = new[statement]
        return answers

    def _send(
        self, sql: str, values: list[bytes | None] | None, new: dict[str, bytes], asked: list[str | None]
    ) -> None:
        conn = self._conn
        if not self._prepares:
            conn.send_query_params(sql.encode(self._encoding), values)
            asked.append(None)
            return
        name = self._names.get(sql) or new.get(sql)
        if name is None:
            if len(self._names) + len(new) >= PREPARED and self._names:
                conn.send_query_params(b"DEALLOCATE " + self._names.pop(next(iter(self._names))), None)
                asked.append("")
            self._made += 1
            name = new[sql] = b"taskyard_%d" % self._made
            conn.send_prepare(name, sql.encode(self._encoding))
            asked.append(sql)
        conn.send_query_prepared(name, values)
        asked.append(None)

    def _results(self) -> list[PGresult]:
        """Send what is still to be sent, and read all results up to the end of what was sent."""
        conn = self._conn
        results: list[PGresult] = []
        while conn.flush():
            self._wait(select.POLLIN | select.POLLOUT)
            conn.consume_input()
        while True:
            while conn.is_busy():
                self._wait(select.POLLIN)
                conn.consume_input()
            result = conn.get_result()
            if result is None:
                if conn.status == ConnStatus.BAD:
                    raise psycopg.OperationalError("the connection was lost")
                continue  # the end of one command's results
            if result.status == ExecStatus.PIPELINE_SYNC:
                return results
            results.append(result)

    def _wait(self, events: int) -> None:
        self._poll.register(self._conn.socket, events)
        self._poll.poll()

    def _bytes(self, values: Sequence[str | None] | None) -> list[bytes | None] | None:
        if not values:
            return None
        return [None if value is None else self._text(value) for value in values]

    def _text(self, value: str) -> bytes:
        text = value.encode(self._encoding)
        if b"\0" in text:  # libpq would take it for the end
            raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
        return text
