"""PgQueuer with batches of 100: https://pgqueuer.readthedocs.io/en/latest/benchmark/"""

import asyncio
import json
from datetime import timedelta
from typing import Any

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries

STORE, NEEDS, SLOW = "postgresql", ("pgqueuer", "asyncpg"), False
KEEPS = "log only"
SETTINGS = "asyncpg and batch_size 100, which is what its own benchmark page recommends for throughput"
BATCH = 100


def setup(url: str) -> None:
    async def go() -> None:
        connection = await asyncpg.connect(url)
        await Queries(AsyncpgDriver(connection)).install()
        await connection.close()

    asyncio.run(go())


class Producer:
    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        connection = self._loop.run_until_complete(asyncpg.connect(url))
        self._queries = Queries(AsyncpgDriver(connection))

    def one(self, sent: float) -> None:
        self._loop.run_until_complete(self._queries.enqueue("noop", json.dumps(sent).encode()))

    def many(self, sents: list[float]) -> None:
        self._loop.run_until_complete(
            self._queries.enqueue(
                ["noop"] * len(sents), [json.dumps(sent).encode() for sent in sents], [0] * len(sents)
            )
        )


def work(url: str, tally: Any, batch: int = BATCH) -> None:
    async def go() -> None:
        queue = PgQueuer(AsyncpgDriver(await asyncpg.connect(url)))

        @queue.entrypoint("noop")
        async def noop(job: Any) -> None:
            tally(json.loads(job.payload))

        await queue.run(batch_size=batch, dequeue_timeout=timedelta(seconds=30))

    asyncio.run(go())
