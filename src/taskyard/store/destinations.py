"""Destinations of results and news."""

from collections.abc import Mapping
from datetime import datetime

from taskyard.core.destination import Destination, Kind, Standing
from taskyard.core.times import from_micros, to_micros
from taskyard.store.engine import Connection, Row, Value
from taskyard.store.listing import NEWEST, Window, count, rows_in
from taskyard.store.values import from_json, json_text


class DestinationRecords:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(
        self,
        organisation: int,
        kind: Kind,
        *,
        url: str,
        secret: str | None,
        credentials: str | None,
        settings: Mapping[str, object],
        now: datetime,
    ) -> int:
        row = self._connection.row(
            "insert_destination",
            organisation=organisation,
            kind=kind.value,
            url=url,
            secret=secret,
            credentials=credentials,
            settings=json_text(dict(settings)),
            state=Standing.NEW.value,
            now=to_micros(now),
        )
        assert row is not None
        return int(row[0])

    def update(self, changed: Destination) -> None:
        self._connection.run(
            "update_destination",
            organisation=changed.organisation,
            number=changed.number,
            url=changed.url,
            credentials=changed.credentials,
            settings=json_text(dict(changed.settings)),
            state=changed.state.value,
        )

    def judge(self, tested: Destination, state: Standing) -> bool:
        """Write what a test found; False when it is no longer what was tested."""
        return bool(
            self._connection.run(
                "judge_destination",
                organisation=tested.organisation,
                number=tested.number,
                url=tested.url,
                state=state.value,
            )
        )

    def get(self, organisation: int, kind: Kind, number: int) -> Destination | None:
        found = self.search(organisation, {"number": number, "kind": kind.value}, NEWEST)
        return found[0] if found else None

    def search(self, organisation: int, wanted: Mapping[str, Value], window: Window) -> list[Destination]:
        rows = rows_in(self._connection, "list_destinations", organisation, wanted, window)
        return [_destination_of(row) for row in rows]

    def count(self, organisation: int, wanted: Mapping[str, Value]) -> int:
        return count(self._connection, "count_destinations", organisation, wanted)


def _destination_of(row: Row) -> Destination:
    number, organisation, kind, url, secret, credentials, settings, state, created_at = row
    return Destination(
        number=number,
        organisation=organisation,
        kind=Kind(kind),
        url=url,
        secret=secret,
        credentials=credentials,
        settings=from_json(settings),
        state=Standing(state),
        created_at=from_micros(created_at),
    )
