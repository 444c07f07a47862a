"""chancy: https://tkte.ch/chancy/"""

import asyncio
from typing import Any

STORE, NEEDS, SLOW = "postgresql", ("chancy",), True
KEEPS = "yes"
SETTINGS = "the async executor with concurrency 100, notifications on, polling every 10 ms"

_tally: Any = None


async def noop(*, sent: float) -> None:
    _tally(sent)


def _job(sent: float) -> Any:
    from chancy import Job

    return Job.from_func(noop).with_kwargs(sent=sent)


def _chancy(url: str) -> Any:
    from chancy import Chancy

    return Chancy(url)


def setup(url: str) -> None:
    from chancy import Chancy, Queue

    async def go() -> None:
        async with _chancy(url) as chancy:
            await chancy.migrate()
            await chancy.declare(
                Queue("default", concurrency=100, executor=Chancy.Executor.Async, polling_interval=0.01)
            )

    asyncio.run(go())


class Producer:
    def __init__(self, url: str) -> None:
        self._chancy = _chancy(url).__enter__()

    def one(self, sent: float) -> None:
        self._chancy.sync_push(_job(sent))

    def many(self, sents: list[float]) -> None:
        for _ in self._chancy.sync_push_many([_job(sent) for sent in sents]):
            pass


def work(url: str, tally: Any) -> None:
    global _tally
    from chancy import Worker

    _tally = tally

    async def go() -> None:
        async with _chancy(url) as chancy, Worker(chancy) as worker:
            await worker.wait_for_shutdown()

    asyncio.run(go())
