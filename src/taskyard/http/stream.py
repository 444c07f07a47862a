"""Events as they happen: server-sent events (the HTML standard, section 9.2) that resume from the store and miss nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, assert_never

import msgspec
import structlog
from starlette.responses import StreamingResponse

from taskyard.core.actor import Actor
from taskyard.core.errors import Conflict, TaskyardError
from taskyard.core.event import Cursor, Event
from taskyard.http.backend import Backend
from taskyard.http.feed import Watch
from taskyard.service.feed import CURSOR_EXPIRED, Feed, FeedPage
from taskyard.store.records import Records

#: Proxies cut what is silent for a minute; a listener that is gone is noticed by writing to it.
HEARTBEAT_SECONDS: Final = 15.0
#: What browsers are told to wait before they come back.
RETRY_MILLISECONDS: Final = 2_000
PAGE: Final = 500

log: Final = structlog.get_logger("taskyard.feed")
_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which events of the actor's organisation are wanted; everything given must hold."""

    actor: Actor
    kinds: tuple[str, ...] = ()
    queue: str | None = None
    type: str | None = None

    def wants(self, event: Event) -> bool:
        return (
            (not self.kinds or event.kind in self.kinds)
            and (self.queue is None or event.queue == self.queue)
            and (self.type is None or event.type == self.type)
        )

    def read(self, feed: Feed, records: Records, after: Cursor | None, limit: int = PAGE) -> FeedPage:
        """Return the next events after *after*, from the oldest that is kept when it is None. Raises what the feed does."""
        return feed.read(
            records, self.actor, after, kinds=self.kinds, queue=self.queue, type=self.type, limit=limit
        )


@dataclass(frozen=True, slots=True)
class Reset:
    """What lay between was removed, or is unknown; the stream goes on from *cursor*."""

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Beat:
    """Nothing happened for a while; everything up to *cursor* has been told."""

    cursor: Cursor


Told = Event | Reset | Beat


async def told(
    backend: Backend,
    choice: Choice,
    after: Cursor | None,
    *,
    may_still: Callable[[], Awaitable[object]],
    heartbeat: float = HEARTBEAT_SECONDS,
) -> AsyncIterator[Told]:
    """
    Give the events after *after*, from now on when it is None, for as long as somebody takes them.

    Args:
        may_still: Asked once per *heartbeat*; what it raises ends the stream: a key may be revoked while it listens.
        heartbeat: Seconds.
    """
    loop = asyncio.get_running_loop()
    asked = loop.time()
    organisation, kinds = choice.actor.organisation, choice.kinds
    async with backend.feed.watch(organisation, kinds=kinds, wanted=choice.wants) as watch:
        cursor = watch.position if after is None else after
        if after is not None:
            watch.lose()  # what came before is in the store
        yield Beat(cursor)
        while not watch.over:
            if loop.time() - asked >= heartbeat:
                await may_still()
                asked = loop.time()
            if watch.lost:
                async for each in _caught_up(backend, choice, watch, cursor):
                    cursor = each.cursor
                    yield each
            heard = await watch.next(heartbeat)
            for event in heard:
                if event.cursor > cursor:
                    cursor = event.cursor
                    yield event
            if not heard and not watch.lost and not watch.over:
                cursor = max(cursor, backend.feed.position)
                yield Beat(cursor)


async def _caught_up(backend: Backend, choice: Choice, watch: Watch, cursor: Cursor) -> AsyncIterator[Told]:
    """Give what the store has after *cursor*, then listen again: to what comes after where the store was read to."""
    watch.resume()  # before the look, so that what happens during it is heard
    while True:
        after: Cursor | None = cursor
        try:
            page = await backend.read(partial(choice.read, backend.services.feed), after)
        except Conflict as refusal:
            if refusal.code != CURSOR_EXPIRED:
                raise
            yield Reset(Cursor())
            page = await backend.read(partial(choice.read, backend.services.feed), None)
        for event in page.events:
            yield event
        cursor = page.next
        if len(page.events) < PAGE:
            yield Beat(cursor)
            return


def sent_events(stream: AsyncIterator[Told], shown: Callable[[Event], object]) -> StreamingResponse:
    """Return *stream* as a response of server-sent events; *shown* makes an event's data, to be encoded as JSON."""

    async def lines() -> AsyncIterator[bytes]:
        yield b"retry: %d\n\n" % RETRY_MILLISECONDS
        try:
            async for each in stream:
                yield _line(each, shown)
        except TaskyardError as refusal:
            # The answer has begun, so it can only end. Whoever comes back for the rest is told why.
            log.info("a stream of events has ended", reason=str(refusal))

    return StreamingResponse(
        lines(),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


def _line(told: Told, shown: Callable[[Event], object]) -> bytes:
    match told:
        case Event():
            kind, data = told.kind.encode(), _encode(shown(told))
            return b"id: %b\nevent: %b\ndata: %b\n\n" % (str(told.cursor).encode(), kind, data)
        case Reset(cursor):
            data = _encode({"after": str(cursor)})
            return b"id: %b\nevent: reset\ndata: %b\n\n" % (str(cursor).encode(), data)
        case Beat(cursor):
            # An id without data moves on where a listener resumes, and shows him nothing.
            return b": still here\nid: %b\n\n" % str(cursor).encode()
        case _:
            assert_never(told)
