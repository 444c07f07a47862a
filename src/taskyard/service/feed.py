"""The feed: what happened, read by cursor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import Conflict, Invalid, NotFound
from taskyard.core.event import Cursor, Event
from taskyard.core.limits import check_range
from taskyard.store.records import Records

DEFAULT_EVENTS: Final = 100
MAX_EVENTS: Final = 1_000

#: The code of the refusal after which a reader begins anew: it has missed something.
CURSOR_EXPIRED: Final = "cursor_expired"


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Some events, oldest first, and the cursor to go on from: past everything that was looked at, shown or not."""

    events: list[Event]
    next: Cursor


class Feed:
    """Reads only: every move appends its own events."""

    def read(
        self,
        records: Records,
        actor: Actor,
        after: Cursor | None = None,
        *,
        kinds: Sequence[str] = (),
        queue: str | None = None,
        type: str | None = None,
        limit: int = DEFAULT_EVENTS,
    ) -> FeedPage:
        """
        Return the events of the actor's organisation after a cursor; without one, from the oldest that is kept.

        Raises:
            Forbidden, Invalid.
            Conflict: ``cursor_expired``: events after the cursor have been removed, or it is of another yard.
        """
        actor.require(Permission.READ)
        _check_limit(limit)
        # Looked up before the events: what is written in between stays beyond the cursor, for the next read.
        end = records.events.end()
        start = self._start(records, after, end)
        events = records.events.read(
            start, limit=limit, organisation=actor.organisation, kinds=kinds, queue=queue, type=type
        )
        if len(events) == limit:
            return FeedPage(events, events[-1].cursor)
        return FeedPage(events, max(end, start, *(event.cursor for event in events[-1:])))

    def end(self, records: Records, actor: Actor) -> Cursor:
        """Return the cursor from which only what is still to come is read."""
        actor.require(Permission.READ)
        return records.events.end()

    def of_task(
        self,
        records: Records,
        actor: Actor,
        id: str,
        after: Cursor | None = None,
        *,
        limit: int = DEFAULT_EVENTS,
    ) -> list[Event]:
        """Return the events of one task, oldest first. Raises NotFound, Forbidden, Invalid."""
        actor.require(Permission.READ)
        _check_limit(limit)
        if records.tasks.get(actor.organisation, id) is None:
            raise NotFound("task", id)
        return records.events.of_subject(actor.organisation, id, after or Cursor(), limit=limit)

    def _start(self, records: Records, after: Cursor | None, end: Cursor) -> Cursor:
        if after is None:
            return Cursor()
        if after < records.events.horizon():
            raise Conflict(
                "events after this cursor have been removed; begin anew, without a cursor",
                code=CURSOR_EXPIRED,
            )
        if after > end:
            raise Conflict(
                "this feed has not come as far as the cursor: it is of another yard; begin anew, without one",
                code=CURSOR_EXPIRED,
            )
        return after


def _check_limit(limit: int) -> None:
    faults = check_range(limit, "/limit", 1, MAX_EVENTS)
    if faults:
        raise Invalid(faults[0].detail, faults=faults)
