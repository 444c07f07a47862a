"""Sessions, each with the state of the task that opens it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from taskyard.core.source import Session
from taskyard.core.task import State
from taskyard.core.times import from_micros, to_micros
from taskyard.store.engine import Connection, Row, Value
from taskyard.store.listing import NEWEST, Window, count, rows_in
from taskyard.store.tasks import error_of
from taskyard.store.values import moment

#: The condition of each state a session can be in.
STATES: Final[Mapping[str, str]] = {
    "pending": "session_pending",
    "active": "session_active",
    "failed": "session_failed",
    "expired": "session_expired",
}


class SessionRecords:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(
        self,
        organisation: int,
        id: str,
        *,
        key: int | None,
        user: int,
        source: int,
        task: str,
        credentials: str | None,
        now: datetime,
    ) -> None:
        self._connection.run(
            "insert_session",
            organisation=organisation,
            id=id,
            key=key,
            end_user=user,
            source=source,
            task=task,
            credentials=credentials,
            now=to_micros(now),
        )

    def open(self, organisation: int, id: str, credentials: str | None, now: datetime) -> bool:
        """Mark a session open, with what later calls need; False when it is open or over already."""
        return bool(
            self._connection.run(
                "open_session", organisation=organisation, id=id, credentials=credentials, now=to_micros(now)
            )
        )

    def expire(self, organisation: int, id: str, by: str, now: datetime) -> bool:
        """End a session and forget its credentials; False when it has ended already."""
        return bool(
            self._connection.run(
                "expire_session", organisation=organisation, id=id, by=by, now=to_micros(now)
            )
        )

    def forget_credentials(self, organisation: int, id: str) -> None:
        """Forget what it took to open a session that will not be."""
        self._connection.run("forget_credentials", organisation=organisation, id=id)

    def get(self, organisation: int, id: str) -> Session | None:
        found = self.search(organisation, {"id": id}, None, NEWEST)
        return found[0] if found else None

    def search(
        self, organisation: int, wanted: Mapping[str, Value], state: str | None, window: Window
    ) -> list[Session]:
        conditions = () if state is None else (STATES[state],)
        rows = rows_in(self._connection, "list_sessions", organisation, wanted, window, *conditions)
        return [_session_of(row) for row in rows]

    def count(self, organisation: int, wanted: Mapping[str, Value], state: str | None) -> int:
        conditions = () if state is None else (STATES[state],)
        return count(self._connection, "count_sessions", organisation, wanted, *conditions)


def _session_of(row: Row) -> Session:
    return Session(
        number=row[0],
        id=row[1],
        organisation=row[2],
        key=row[3],
        user=row[4],
        source=row[5],
        task=row[6],
        credentials=row[7],
        opened_at=moment(row[8]),
        expired_at=moment(row[9]),
        expired_by=row[10],
        created_at=from_micros(row[11]),
        task_state=None if row[12] is None else State(row[12]),
        task_error=error_of(row[13]),
    )
