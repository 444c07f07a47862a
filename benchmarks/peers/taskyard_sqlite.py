"""Taskyard in one SQLite file: full fsync, every event kept."""

from typing import Any

from taskyard import Yard
from taskyard.core.task import NewTask

STORE, NEEDS, SLOW = "sqlite", ("taskyard",), False
KEEPS = "yes"
SETTINGS = "500 slots, an async handler; everything else as it comes"
SLOTS = 500


def setup(url: str) -> None:
    with Yard(url):
        pass


class Producer:
    def __init__(self, url: str) -> None:
        self._yard = Yard(url).open()

    def one(self, sent: float) -> None:
        self._yard.submit("noop", {"sent": sent})

    def many(self, sents: list[float]) -> None:
        self._yard.submit_many([NewTask(type="noop", input={"sent": sent}) for sent in sents])


def work(url: str, tally: Any) -> None:
    yard = Yard(url)

    @yard.task("noop")
    async def noop(_context: Any, sent: float) -> None:
        tally(sent)

    with yard:
        yard.work(slots=SLOTS)
