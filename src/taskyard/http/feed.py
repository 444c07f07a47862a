"""
The feed, watched: one reader of the event log per process tells whoever waits, however many they are.

A watch knows where what it hears begins (``position``), so what came before is read from the store, and nothing falls between.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final, TypeVar

import structlog

from taskyard.core.errors import Unavailable
from taskyard.core.event import Cursor, Event
from taskyard.http.threads import awaited
from taskyard.store.records import Records
from taskyard.store.store import Store

log: Final = structlog.get_logger("taskyard.feed")

Seen = TypeVar("Seen")
Wanted = Callable[[Event], bool]

#: News of other processes may be lost, so while anybody waits the log is looked at this often all the same.
POLL_SECONDS: Final = 1.0
#: How long the reader goes on after the last watch has gone, so that one long poll after another finds it awake.
LINGER_SECONDS: Final = 5.0
PAGE: Final = 1_000
#: What a watch keeps for a slow listener; past that he is sent back to the store, from where he was.
MOST_KEPT: Final = 1_000


def everything(_: Event) -> bool:
    return True


class Watch:
    """
    What one waiter hears. ``position`` is where it begins: everything later is heard, or ``lost`` is true.

    ``kinds`` are the only kinds of event that are wanted, where not all are: what nobody wants is not even read.
    ``over`` says that the server is about to stop: nobody should wait any longer.
    """

    def __init__(
        self, wanted: Wanted, position: Cursor, *, kinds: Collection[str] = (), over: bool = False
    ) -> None:
        self.position = position
        self.kinds = kinds
        self.lost = False
        self.over = over
        self._wanted = wanted
        self._heard: deque[Event] = deque()
        self._news = asyncio.Event()

    def tell(self, event: Event) -> None:
        if self.lost or not self._wanted(event):
            return
        if len(self._heard) >= MOST_KEPT:
            self.lose()
            return
        self._heard.append(event)
        self._news.set()

    def lose(self) -> None:
        """Forget what was heard: the listener must read the store from where he was."""
        self._heard.clear()
        self.lost = True
        self._news.set()

    def resume(self) -> None:
        """Listen again."""
        self.lost = False

    def end(self) -> None:
        self.over = True
        self._news.set()

    async def next(self, seconds: float) -> list[Event]:
        """Return what was heard since the last call, oldest first; nothing when nothing was heard for *seconds*."""
        if not self.over:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), seconds)
        self._news.clear()
        heard = list(self._heard)
        self._heard.clear()
        return heard


def _page(after: Cursor, kinds: Sequence[str], records: Records) -> tuple[list[Event], Cursor]:
    """Return what comes after *after*, and up to where that is everything of these *kinds*, or of all."""
    # Looked up before the events: what is written in between stays beyond it, for the next read.
    end = records.events.end() if kinds else after
    events = records.events.read(after, limit=PAGE, kinds=kinds)
    last = events[-1].cursor if events else after
    return events, last if len(events) == PAGE else max(last, end)


class FeedReader:
    """The one reader of this process; it runs while somebody watches."""

    def __init__(self, store: Store) -> None:
        self._store = store
        #: By organisation and subject; subject None hears everything of the organisation.
        self._ears: dict[tuple[int, str | None], set[Watch]] = defaultdict(set)
        self._watches = 0
        self._newcomers: list[Watch] = []
        self._over = False
        self._position = Cursor()
        self._reader: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._news = asyncio.Event()

    @property
    def position(self) -> Cursor:
        """Up to where every watch has been told everything."""
        return self._position

    @asynccontextmanager
    async def watch(
        self,
        organisation: int,
        *,
        subject: str | None = None,
        kinds: Collection[str] = (),
        wanted: Wanted = everything,
    ) -> AsyncIterator[Watch]:
        """Within: a watch on the events of an organisation, or of one thing of it."""
        self._watches += 1
        try:
            await self._awake()
            watch = Watch(wanted, self._position, kinds=kinds, over=self._over)
            place = (organisation, subject)
            self._ears[place].add(watch)
            self._newcomers.append(watch)
            try:
                yield watch
            finally:
                self._ears[place].discard(watch)
                if not self._ears[place]:
                    del self._ears[place]
        finally:
            self._watches -= 1

    async def look_until(
        self,
        look: Callable[[Records], Seen],
        enough: Callable[[Seen], bool],
        *,
        organisation: int,
        subject: str | None,
        seconds: float,
    ) -> Seen:
        """Look at something until it is *enough* or *seconds* are over; look again only when something happened to it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        async with self.watch(organisation, subject=subject) as watch:
            while True:
                seen = await awaited(self._store.read_soon(look))
                left = until - loop.time()
                if left <= 0 or watch.over or enough(seen):
                    return seen
                await watch.next(left)
                watch.resume()

    def let_go(self) -> None:
        """Let nobody wait any longer: the server is about to stop."""
        self._over = True
        for watches in self._ears.values():
            for watch in watches:
                watch.end()

    async def close(self) -> None:
        """Stop reading; whoever still watches hears nothing more."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader

    # -- the reader ----------------------------------------------------------------------------------------------------------

    async def _awake(self) -> None:
        if self._reader is None or self._reader.done():
            self._ready.clear()
            self._reader = asyncio.create_task(self._read(), name="feed")
        ready = asyncio.ensure_future(self._ready.wait())
        try:
            await asyncio.wait({ready, self._reader}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if not self._ready.is_set():
            self._reader.result()  # it could not begin; say why

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        self._news.clear()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._news.set)

        end = self._store.news.subscribe("feed", wake)
        try:
            # Subscribed first, so that what is committed between the two is not waited for in vain.
            self._position = await awaited(self._store.read_soon(lambda records: records.events.end()))
            self._ready.set()
            idle_since = loop.time()
            while self._watches or loop.time() - idle_since < LINGER_SECONDS:
                if self._watches:
                    idle_since = loop.time()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), POLL_SECONDS)
                self._news.clear()
                await self._read_on()
        finally:
            self._reader = None
            self._ready.clear()
            end()

    async def _read_on(self) -> None:
        while self._watches:
            kinds, self._newcomers = self._kinds(), []
            try:
                events, end = await awaited(self._store.read_soon(partial(_page, self._position, kinds)))
            except Unavailable as refusal:
                log.warning("the feed could not be read", reason=str(refusal))
                return
            except Exception:
                log.exception(
                    "the feed could not be read"
                )  # whoever waits must not wait for ever because of it
                return
            if kinds:
                for watch in self._newcomers:
                    watch.lose()  # what was read was chosen before it came
            for event in events:
                self._tell(event)
            self._position = end
            if len(events) < PAGE:
                return

    def _kinds(self) -> Sequence[str]:
        """Return the kinds of event that somebody wants; nothing when somebody wants them all."""
        wanted: set[str] = set()
        for watches in self._ears.values():
            for watch in watches:
                if not watch.kinds:
                    return ()
                wanted.update(watch.kinds)
        return sorted(wanted)

    def _tell(self, event: Event) -> None:
        for subject in (event.subject, None):
            for watch in self._ears.get((event.organisation, subject), ()):
                watch.tell(event)
