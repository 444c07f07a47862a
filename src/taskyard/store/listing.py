"""Lists that are read newest first, a window at a time: what those of several nouns share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from taskyard.store.engine import Connection, Row, Value

#: Counting stops here: nobody pages through more, and an exact count of millions is a scan.
MOST_COUNTED: Final = 100_000
#: More than any number of one table that a request names: what it stands for is not there.
LARGEST: Final = 2**63 - 1

#: The condition of each thing a list can be narrowed by.
CONDITIONS: Final[Mapping[str, str]] = {
    "number": "listed_number",
    "before": "listed_before",
    "after": "listed_after",
    "id": "listed_id",
    "key": "listed_key",
    "user": "listed_user",
    "source": "listed_source",
    "session": "listed_session",
    "identifier": "listed_identifier",
    "type": "listed_type",
    "state": "listed_state",
    "kind": "listed_kind",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A part of a list: at most *limit* of those whose numbers lie below ``before`` and above ``after``, newest first."""

    limit: int
    before: int | None = None
    after: int | None = None


#: The newest one.
NEWEST: Final = Window(limit=1)


def rows_in(
    connection: Connection,
    statement: str,
    organisation: int,
    wanted: Mapping[str, Value],
    window: Window,
    *conditions: str,
) -> list[Row]:
    """Run a list's *statement*, narrowed by what *wanted* says that is not None, and by further *conditions*."""
    asked = {**wanted, "before": window.before, "after": window.after}
    given = {name: value for name, value in asked.items() if value is not None}
    named = [*conditions, *(CONDITIONS[name] for name in given if name in CONDITIONS)]
    return connection.rows(statement, *named, organisation=organisation, limit=window.limit, **given)


def count(
    connection: Connection, statement: str, organisation: int, wanted: Mapping[str, Value], *conditions: str
) -> int:
    """Return how many there are that *wanted* and *conditions* leave, counted up to :data:`MOST_COUNTED`."""
    given = {name: value for name, value in wanted.items() if value is not None}
    named = [*conditions, *(CONDITIONS[name] for name in given if name in CONDITIONS)]
    row = connection.row(statement, *named, organisation=organisation, most=MOST_COUNTED, **given)
    return int(row[0]) if row else 0
