"""
The courier: sends what is due to the hooks, many at a time, so that a receiver who is slow delays nobody but himself.

A delivery is claimed for a while, sent, and settled by who still holds it. Who dies in between has sent it or has not: it is due again when
its lease runs out. So it arrives at least once, always under the same id, and any number of nodes may do this on one database.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import structlog

from taskyard.core.hook import Answer, Delivery
from taskyard.loops.post import TIMEOUT
from taskyard.service.hooks import TOPIC, Hooks, Letter, Sent, Wire
from taskyard.store.records import Records
from taskyard.store.store import Store

__all__ = ["TOPIC", "Courier"]

#: How long it sleeps at most: another process may have written without news, and the clock may have been set.
LONGEST: Final = timedelta(seconds=10)
#: How soon it looks again when something was due that another node was at.
AGAIN: Final = timedelta(seconds=1)
#: Attempts at a time, to all receivers and to one. A receiver who has just failed gets one at a time until he answers.
MOST: Final = 64
MOST_OF_ONE: Final = 8
#: Beyond the attempt itself, what claiming and settling may take on a busy store.
MARGIN: Final = timedelta(seconds=5)
#: How long attempts that are under way may go on when the server stops; the others go back.
GRACE: Final = timedelta(seconds=3)

log = structlog.get_logger("taskyard.loops")

#: Sends a letter; never raises.
Posting = Callable[[Letter], Awaitable[Answer]]


class Courier:
    """
    Args:
        post: Sends.
        wire: Returns what writes the letters of a wire, by its name.
        close_post: Called when the last attempt has ended.
        timeout: What one attempt takes at most.
        wake: Called from any thread when there may be room for more.
    """

    def __init__(
        self,
        store: Store,
        hooks: Hooks,
        post: Posting,
        wire: Callable[[str], Wire],
        *,
        close_post: Callable[[], Awaitable[None]] | None = None,
        timeout: timedelta = TIMEOUT,
        most: int = MOST,
        most_of_one: int = MOST_OF_ONE,
    ) -> None:
        self._store = store
        self._hooks = hooks
        self._post = post
        self._wire = wire
        self._close_post = close_post
        self._lease = timeout + MARGIN
        self._most, self._most_of_one = most, most_of_one
        self.wake: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._under_way: Counter[int] = Counter()
        self._failing: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def tick(self) -> timedelta:
        """Begin to send what is due, as far as there is room; return how long until more is."""
        now, due = self._store.read(self._hooks.due)
        wanted, next_at = self._room_for(now, due)
        if not wanted:
            return LONGEST if next_at is None else min(LONGEST, max(timedelta(0), next_at - now))
        claimed = self._store.write(partial(_claimed, self._hooks, wanted, self._lease))
        if not claimed:
            return AGAIN
        letters = self._store.read(lambda records: self._hooks.letters(records, claimed, self._wire))
        self._send(claimed, letters)
        return timedelta(0)

    def _room_for(
        self, now: datetime, due: Sequence[tuple[int, datetime]]
    ) -> tuple[dict[int, int], datetime | None]:
        """Return how many to take of which hook, those due longest first; and when the next is due of those not due yet."""
        wanted: dict[int, int] = {}
        with self._lock:
            free = self._most - self._under_way.total()
            for hook, at in due:
                if at > now:
                    return wanted, at
                most = 1 if hook in self._failing else self._most_of_one
                room = min(free, most - self._under_way[hook])
                if room > 0:
                    wanted[hook] = room
                    free -= room
        return wanted, None

    def _send(self, claimed: Sequence[Delivery], letters: Sequence[Letter | Exception]) -> None:
        with self._lock:
            self._under_way.update(delivery.hook for delivery in claimed)
        loop = self._running()
        for delivery, letter in zip(claimed, letters, strict=True):
            loop.call_soon_threadsafe(self._begin, delivery, letter)

    def _begin(self, delivery: Delivery, letter: Letter | Exception) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(delivery, letter))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, delivery: Delivery, letter: Letter | Exception) -> None:
        try:
            answer = await self._answer(letter)
            await asyncio.wrap_future(self._store.together_soon(self._hooks.settle, [Sent(delivery, answer)]))
            if not answer.accepted:
                log.info(
                    "a delivery failed",
                    hook=delivery.hook,
                    delivery=delivery.id,
                    attempt=delivery.attempts,
                    error=answer.error,
                )
            with self._lock:
                (self._failing.discard if answer.accepted else self._failing.add)(delivery.hook)
        except asyncio.CancelledError:
            await asyncio.wrap_future(
                self._store.write_soon(lambda records: self._hooks.give_back(records, [delivery]))
            )
        except Exception as error:
            # The store did not take it: its lease will run out, and it is sent once more.
            log.warning("a delivery could not be settled", delivery=delivery.id, error=str(error))
        finally:
            with self._lock:
                self._under_way[delivery.hook] -= 1
                self._under_way += Counter()  # without those that have none
            self.wake()

    async def _answer(self, letter: Letter | Exception) -> Answer:
        if isinstance(letter, Exception):
            return Answer(status=None, error=f"not sent: {letter}"[:200])
        return await self._post(letter)

    # -- the thread that sends -----------------------------------------------------------------------------------------------------

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="courier-post", daemon=True)
            self._thread.start()
        return self._loop

    def close(self) -> None:
        """Let what is under way end, for a moment; give the rest back."""
        if self._loop is None or self._thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = None

    async def _end(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GRACE.total_seconds())
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GRACE.total_seconds())
        if self._close_post is not None:
            await self._close_post()


def _claimed(hooks: Hooks, wanted: dict[int, int], lease: timedelta, records: Records) -> list[Delivery]:
    return hooks.claim(records, wanted, lease)
