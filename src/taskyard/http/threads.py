"""From the threads that move tasks to the loop that answers requests."""

import asyncio
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

Answer = TypeVar("Answer")


async def awaited(future: "Future[Answer]") -> Answer:
    """
    Wait for what another thread does.

    Unlike asyncio.wrap_future, giving up waiting does not cancel the work: what is in a transaction with others stays there.
    """
    loop = asyncio.get_running_loop()
    here: asyncio.Future[Answer] = loop.create_future()
    post = _posts.get(loop)
    if post is None:
        post = _posts[loop] = _Post(loop)
    future.add_done_callback(partial(post.bring, here))
    return await here


class _Post:
    """What other threads have done for one loop: it is woken once for all that comes while it is busy."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._call = loop.call_soon_threadsafe
        self._brought: deque[tuple[Future[Any], asyncio.Future[Any]]] = deque()
        self._called = False

    def bring(self, here: "asyncio.Future[Any]", done: "Future[Any]") -> None:
        self._brought.append(
            (done, here)
        )  # before the look: who is called and has not looked yet will find it
        if not self._called:
            self._called = True
            with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                self._call(self._deliver)

    def _deliver(self) -> None:
        self._called = False  # before the look, so that what comes during it counts
        while self._brought:
            done, here = self._brought.popleft()
            _hand_over(done, here)


#: By loop, which is forgotten with it.
_posts: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Post]" = WeakKeyDictionary()


def _hand_over(done: "Future[Answer]", here: "asyncio.Future[Answer]") -> None:
    if here.cancelled():
        return
    error = done.exception()
    if error is not None:
        here.set_exception(error)
    else:
        here.set_result(done.result())
