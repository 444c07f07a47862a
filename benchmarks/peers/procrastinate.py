"""Procrastinate: https://procrastinate.readthedocs.io/en/stable/howto/basics/worker.html"""

import asyncio
from typing import Any

import procrastinate as library

STORE, NEEDS, SLOW = "postgresql", ("procrastinate",), True
KEEPS = "yes"
SETTINGS = "concurrency 100 (docs: howto/basics/worker), LISTEN/NOTIFY on, batch_defer in bulk"


def _app(url: str) -> library.App:
    return library.App(connector=library.PsycopgConnector(conninfo=url, min_size=2, max_size=20))


def setup(url: str) -> None:
    async def go() -> None:
        async with _app(url).open_async() as app:
            await app.schema_manager.apply_schema_async()

    asyncio.run(go())


class Producer:
    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._app = _app(url)

        @self._app.task(name="noop")
        async def noop(sent: float) -> None: ...

        self._task = noop
        self._loop.run_until_complete(self._app.open_async().__aenter__())

    def one(self, sent: float) -> None:
        self._loop.run_until_complete(self._task.defer_async(sent=sent))

    def many(self, sents: list[float]) -> None:
        self._loop.run_until_complete(self._task.batch_defer_async(*({"sent": sent} for sent in sents)))


def work(url: str, tally: Any) -> None:
    app = _app(url)

    @app.task(name="noop")
    async def noop(sent: float) -> None:
        tally(sent)

    async def go() -> None:
        async with app.open_async():
            await app.run_worker_async(concurrency=100)

    asyncio.run(go())
