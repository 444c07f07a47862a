"""taskiq on Redis streams: https://taskiq-python.github.io/available-components/brokers.html"""

import asyncio
from typing import Any

STORE, NEEDS, SLOW = "redis", ("taskiq", "taskiq_redis"), False
KEEPS = "no"
SETTINGS = "RedisStreamBroker, which acknowledges; 100 async tasks at a time, as its command line comes"


def _broker(url: str) -> Any:
    from taskiq_redis import RedisStreamBroker

    return RedisStreamBroker(url)


def setup(url: str) -> None: ...


class Producer:
    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._broker = _broker(url)

        @self._broker.task(task_name="noop")
        async def noop(sent: float) -> None: ...

        self._noop = noop
        self._loop.run_until_complete(self._broker.startup())

    def one(self, sent: float) -> None:
        self._loop.run_until_complete(self._noop.kiq(sent))

    many = None


def work(url: str, tally: Any) -> None:
    from taskiq.api import run_receiver_task

    broker = _broker(url)

    @broker.task(task_name="noop")
    async def noop(sent: float) -> None:
        tally(sent)

    async def go() -> None:
        await run_receiver_task(broker, run_startup=True, max_async_tasks=100)

    asyncio.run(go())
