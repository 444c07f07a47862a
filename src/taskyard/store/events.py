"""The event log: appended to by every move, read by cursor."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from taskyard.core.event import Cursor, Event, make_event
from taskyard.core.task import Json, Moved, Task
from taskyard.core.times import from_micros, to_micros
from taskyard.store.engine import Connection, Row, Value
from taskyard.store.values import from_json, json_text, micros

BEGINNING: Final = Cursor()


class EventRecords:
    """Events gather while a transaction runs and are written once, before it commits."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._gathered: list[dict[str, Value]] = []

    def append(
        self,
        kind: str,
        *,
        organisation: int,
        subject: str,
        at: datetime | None,
        queue: str | None = None,
        type: str | None = None,
        data: Json = None,
    ) -> None:
        self._gathered.append(
            {
                "organisation": organisation,
                "at": micros(at),
                "kind": kind,
                "subject": subject,
                "queue": queue,
                "type": type,
                "data": json_text(data),
            }
        )

    def append_task(self, kind: str, task: Task | Moved, at: datetime | None, data: Json = None) -> None:
        """Append ``task.<kind>``; without a time it is the transaction's."""
        self._gathered.append(
            {
                "organisation": task.organisation,
                "at": micros(at),
                "kind": f"task.{kind}",
                "subject": task.id,
                "queue": task.queue,
                "type": task.type,
                "data": json_text(data),
            }
        )

    @property
    def gathered(self) -> Sequence[Mapping[str, Value]]:
        """What the transaction will have written to the log."""
        return self._gathered

    def mark(self) -> int:
        """Return a place to which :meth:`forget` can go back."""
        return len(self._gathered)

    def forget(self, mark: int = 0) -> None:
        """Drop what was gathered since *mark*: its part of the transaction was undone."""
        del self._gathered[mark:]

    def flush(self) -> bool:
        """Write what was gathered; say whether there was anything."""
        if not self._gathered:
            return False
        self._connection.rows_for_each("insert_events", self._gathered)
        self._gathered = []
        return True

    def read(
        self,
        after: Cursor,
        *,
        limit: int,
        organisation: int | None = None,
        kinds: Sequence[str] = (),
        queue: str | None = None,
        type: str | None = None,
    ) -> list[Event]:
        """Return the events after *after*, oldest first; of every organisation when none is named."""
        conditions: list[str] = []
        values: dict[str, Value] = {}
        if organisation is not None:
            conditions.append("event_of_organisation")
            values["organisation"] = organisation
        if kinds:
            conditions.append("event_of_kinds")
            values["kinds"] = list(kinds)
        if queue is not None:
            conditions.append("event_of_queue")
            values["queue"] = queue
        if type is not None:
            conditions.append("event_of_type")
            values["type"] = type
        rows = self._connection.rows(
            "read_feed", *conditions, tx=after.tx, seq=after.seq, limit=limit, **values
        )
        return [_event_of(row) for row in rows]

    def of_subject(
        self, organisation: int, subject: str, after: Cursor = BEGINNING, *, limit: int = 1000
    ) -> list[Event]:
        rows = self._connection.rows(
            "feed_of_subject",
            organisation=organisation,
            subject=subject,
            tx=after.tx,
            seq=after.seq,
            limit=limit,
        )
        return [_event_of(row) for row in rows]

    def end(self) -> Cursor:
        """Return the cursor of the newest event: everything later is greater."""
        row = self._connection.row("feed_end")
        return max(Cursor(*row) if row else Cursor(), self.horizon())

    def begin(self) -> Cursor:
        """Return the cursor of the oldest event that is kept."""
        row = self._connection.row("feed_begin")
        return Cursor(*row) if row else Cursor()

    def delete_before(self, before: datetime, limit: int) -> int:
        """Remove old events, at most *limit*; readers who had not come so far are told so from now on."""
        rows = self._connection.rows("old_events", before=to_micros(before), limit=limit)
        if not rows:
            return 0
        last = max(Cursor(tx, seq) for tx, seq in rows)
        self._connection.run("raise_horizon", tx=last.tx, seq=last.seq)
        return self._connection.run("delete_events", seqs=[seq for _, seq in rows])

    def horizon(self) -> Cursor:
        """Return how far events have been removed: who read less than this far has missed some."""
        row = self._connection.row("feed_horizon")
        return Cursor(*row) if row else Cursor()


def _event_of(row: Row) -> Event:
    tx, seq, organisation, at, kind, subject, queue, type, data = row
    return make_event(tx, seq, organisation, from_micros(at), kind, subject, queue, type, from_json(data))
