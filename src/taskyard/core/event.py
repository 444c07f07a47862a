"""The log of what happened, and the cursor by which it is read."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from taskyard.core.errors import Invalid
from taskyard.core.swift import maker
from taskyard.core.task import Json


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """
    A place in the feed. Opaque to clients: they get ``str(cursor)`` and give it back.

    A sequence alone would lose events where a slow transaction commits a lower number later; the pair
    of transaction and sequence, read below the oldest transaction still open, does not.
    """

    tx: int = 0
    seq: int = 0

    def __str__(self) -> str:
        return f"{self.tx:x}-{self.seq:x}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises Invalid when *text* was not made by ``str(cursor)``."""
        try:
            tx, seq = (int(part, 16) for part in text.split("-"))
        except ValueError:
            raise Invalid(
                f"{text!r} is not a cursor of the feed; take one from an event's id", code="bad_cursor"
            ) from None
        return cls(tx, seq)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the log. ``kind`` is ``<noun>.<what happened>``; ``subject`` the id of the thing it happened to."""

    cursor: Cursor
    organisation: int
    at: datetime
    kind: str
    subject: str
    queue: str | None
    type: str | None
    data: Json


#: A server with listeners reads every event that happens; see :func:`maker`.
_make: Final = maker(Event)
_cursor: Final = maker(Cursor)


def make_event(tx: int, seq: int, *values: Any) -> Event:
    """Return the Event at a place in the feed, of the values of all its other fields, in their order."""
    return _make(_cursor(tx, seq), *values)
