"""Polls, each with its tasks."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from taskyard.core.source import Fetch, Poll
from taskyard.core.task import State
from taskyard.core.times import from_micros, to_micros
from taskyard.store.engine import Connection, Row, Value
from taskyard.store.listing import NEWEST, Window, count, rows_in
from taskyard.store.tasks import error_of
from taskyard.store.values import from_json, json_text, moment

#: The condition of each state a poll can be in.
STATES: Final[Mapping[str, str]] = {
    "pending": "poll_pending",
    "processing": "poll_processing",
    "completed": "poll_completed",
}


class PollRecords:
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
        session: str,
        payload: Mapping[str, Any],
        storage: int,
        now: datetime,
    ) -> None:
        self._connection.run(
            "insert_poll",
            organisation=organisation,
            id=id,
            key=key,
            end_user=user,
            source=source,
            session=session,
            payload=json_text(dict(payload)),
            storage=storage,
            now=to_micros(now),
        )

    def get(self, organisation: int, id: str) -> Poll | None:
        found = self.search(organisation, {"id": id}, None, NEWEST)
        return found[0] if found else None

    def search(
        self, organisation: int, wanted: Mapping[str, Value], state: str | None, window: Window
    ) -> list[Poll]:
        conditions = () if state is None else (STATES[state],)
        rows = rows_in(self._connection, "list_polls", organisation, wanted, window, *conditions)
        return self._with_fetches(organisation, [_poll_of(row) for row in rows])

    def count(self, organisation: int, wanted: Mapping[str, Value], state: str | None) -> int:
        conditions = () if state is None else (STATES[state],)
        return count(self._connection, "count_polls", organisation, wanted, *conditions)

    def _with_fetches(self, organisation: int, polls: Sequence[Poll]) -> list[Poll]:
        if not polls:
            return []
        fetches: dict[str, list[Fetch]] = defaultdict(list)
        ids = [poll.id for poll in polls]
        rows = self._connection.rows("fetches_of_polls", organisation=organisation, polls=ids)
        for poll, id, state, started_at, finished_at, error in rows:
            fetches[poll].append(
                Fetch(
                    id=id,
                    state=State(state),
                    started_at=moment(started_at),
                    finished_at=moment(finished_at),
                    error=error_of(error),
                )
            )
        return [replace(poll, fetches=tuple(fetches[poll.id])) for poll in polls]


def _poll_of(row: Row) -> Poll:
    number, id, organisation, key, user, source, session, payload, storage, created_at = row
    return Poll(
        number=number,
        id=id,
        organisation=organisation,
        key=key,
        user=user,
        source=source,
        session=session,
        payload=from_json(payload),
        storage=storage,
        created_at=from_micros(created_at),
    )
