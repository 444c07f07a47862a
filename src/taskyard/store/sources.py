"""End users and their sources."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from taskyard.core.source import EndUser, Source
from taskyard.core.times import from_micros, to_micros
from taskyard.store.engine import Connection, Row, Value
from taskyard.store.listing import NEWEST, Window, count, rows_in

Noun = TypeVar("Noun")


class SourceRecords:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # -- end users -----------------------------------------------------------------------------------------------------------

    def insert_user(self, organisation: int, key: int | None, identifier: str, now: datetime) -> int | None:
        """Return the new end user's number; None when the identifier is taken."""
        row = self._connection.row(
            "insert_end_user", organisation=organisation, key=key, identifier=identifier, now=to_micros(now)
        )
        return row[0] if row else None

    def update_user(self, user: EndUser) -> None:
        """Write the identifier and the state. Raises Duplicate when the identifier is taken."""
        self._connection.run(
            "update_end_user",
            organisation=user.organisation,
            number=user.number,
            identifier=user.identifier,
            state=user.state,
        )

    def user(self, organisation: int, number: int) -> EndUser | None:
        return _first(self.search_users(organisation, {"number": number}, NEWEST))

    def user_by_identifier(self, organisation: int, identifier: str) -> EndUser | None:
        return _first(self.search_users(organisation, {"identifier": identifier}, NEWEST))

    def search_users(self, organisation: int, wanted: Mapping[str, Value], window: Window) -> list[EndUser]:
        rows = rows_in(self._connection, "list_end_users", organisation, wanted, window)
        return [_user_of(row) for row in rows]

    def count_users(self, organisation: int, wanted: Mapping[str, Value]) -> int:
        return count(self._connection, "count_end_users", organisation, wanted)

    # -- sources -------------------------------------------------------------------------------------------------------------

    def insert(
        self,
        organisation: int,
        user: int,
        type: str,
        identifier: str,
        now: datetime,
        *,
        parent: int | None = None,
    ) -> int | None:
        """Return the new source's number; None when the user has this one already."""
        row = self._connection.row(
            "insert_source",
            organisation=organisation,
            end_user=user,
            type=type,
            identifier=identifier,
            parent=parent,
            now=to_micros(now),
        )
        return row[0] if row else None

    def set_state(self, organisation: int, number: int, state: str) -> None:
        self._connection.run("set_source_state", organisation=organisation, number=number, state=state)

    def get(self, organisation: int, number: int) -> Source | None:
        return _first(self.search(organisation, {"number": number}, NEWEST))

    def get_many(self, organisation: int, numbers: Sequence[int]) -> dict[int, Source]:
        rows = self._connection.rows("sources_by_number", organisation=organisation, numbers=list(numbers))
        return {row[0]: _source_of(row) for row in rows}

    def children(self, organisation: int, parents: Sequence[int]) -> dict[int, list[Source]]:
        """Return the sources found in each of *parents*, newest first."""
        found: dict[int, list[Source]] = {}
        rows = self._connection.rows("source_children", organisation=organisation, parents=list(parents))
        for child in map(_source_of, rows):
            assert child.parent is not None
            found.setdefault(child.parent, []).append(child)
        return found

    def search(self, organisation: int, wanted: Mapping[str, Value], window: Window) -> list[Source]:
        rows = rows_in(self._connection, "list_sources", organisation, wanted, window)
        return [_source_of(row) for row in rows]

    def count(self, organisation: int, wanted: Mapping[str, Value]) -> int:
        return count(self._connection, "count_sources", organisation, wanted)


def _first(found: Sequence[Noun]) -> Noun | None:
    return found[0] if found else None


def _user_of(row: Row) -> EndUser:
    number, organisation, key, identifier, state, created_at = row
    return EndUser(
        number=number,
        organisation=organisation,
        key=key,
        identifier=identifier,
        state=state,
        created_at=from_micros(created_at),
    )


def _source_of(row: Row) -> Source:
    number, organisation, user, type, identifier, parent, state, created_at = row
    return Source(
        number=number,
        organisation=organisation,
        user=user,
        type=type,
        identifier=identifier,
        parent=parent,
        state=state,
        created_at=from_micros(created_at),
    )
