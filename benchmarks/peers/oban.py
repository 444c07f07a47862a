"""Oban for Python: https://oban.pro/docs/py (Python 3.12 or newer)"""

import asyncio
from typing import Any

from oban import Oban, worker
from psycopg_pool import AsyncConnectionPool

STORE, NEEDS, SLOW = "postgresql", ("oban", "psycopg_pool"), True
KEEPS = "yes"
SETTINGS = "a queue with limit 100, a pool of 20 connections, notifications on, enqueue_many in bulk"

_tally: Any = None


@worker(queue="default")
class Noop:
    async def process(self, job: Any) -> None:
        _tally(job.args["sent"])


async def _pool(url: str) -> AsyncConnectionPool:
    pool = AsyncConnectionPool(url, min_size=5, max_size=20, open=False)
    await pool.open()
    return pool


def setup(url: str) -> None:
    async def go() -> None:
        from oban.schema import install

        pool = await _pool(url)
        await install(pool)
        await pool.close()

    asyncio.run(go())


class Producer:
    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._open(url))

    async def _open(self, url: str) -> None:
        self._oban = Oban(pool=await _pool(url))

    def one(self, sent: float) -> None:
        self._loop.run_until_complete(self._oban.enqueue(Noop.new({"sent": sent})))

    def many(self, sents: list[float]) -> None:
        self._loop.run_until_complete(self._oban.enqueue_many(*(Noop.new({"sent": sent}) for sent in sents)))


def work(url: str, tally: Any) -> None:
    global _tally
    _tally = tally

    async def go() -> None:
        async with Oban(pool=await _pool(url), queues={"default": 100}):
            await asyncio.Event().wait()

    asyncio.run(go())
