"""Huey on SQLite, with fsync: https://huey.readthedocs.io/en/latest/api.html#SqliteHuey"""

from typing import Any

STORE, NEEDS, SLOW = "sqlite", ("huey",), False
KEEPS = "no"
SETTINGS = "10 threads, fsync=True, delays of 1 ms between looks (it polls)"
FSYNC = True


def setup(url: str) -> None:
    huey(url, FSYNC)


def huey(url: str, fsync: bool) -> Any:
    from huey import SqliteHuey

    return SqliteHuey(filename=url, fsync=fsync, results=False)


class Producer:
    FSYNC = FSYNC

    def __init__(self, url: str) -> None:
        queue = huey(url, self.FSYNC)

        @queue.task(name="noop")
        def noop(sent: float) -> None: ...

        self._noop = noop

    def one(self, sent: float) -> None:
        self._noop(sent)

    many = None


def work(url: str, tally: Any, fsync: bool = FSYNC) -> None:
    queue = huey(url, fsync)

    @queue.task(name="noop")
    def noop(sent: float) -> None:
        tally(sent)

    queue.create_consumer(workers=10, initial_delay=0.001, max_delay=0.01, backoff=1.15, periodic=False).run()
