"""From the threads that move tasks to the loop that answers requests."""

import asyncio
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

Answer = TypeVar("Answer")


async def awaited(future: "Future[Answer]") -> Answer:
    """
    Wait for what another thread does.

    Unlike asyncio.wrap_future, giving up waiting does not cancel the work: what is in a transaction with others stays there.
    """
    loop = asyncio.get_running_loop()
    here: asyncio.Future[Answer] = loop.create_future()

    def bring(done: "Future[Answer]") -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
            loop.call_soon_threadsafe(_hand_over, done, here)

    future.add_done_callback(bring)
    return await here


def _hand_over(done: "Future[Answer]", here: "asyncio.Future[Answer]") -> None:
    if here.cancelled():
        return
    error = done.exception()
    if error is not None:
        here.set_exception(error)
    else:
        here.set_result(done.result())
