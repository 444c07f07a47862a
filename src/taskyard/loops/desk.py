"""The desk: what a worker asks of the server, whether the store is in its own process or behind a URL."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

from taskyard.core.hold import Hold, Report, Settlement, Stop
from taskyard.core.task import Json, NewTask, Task
from taskyard.core.worker import Lane


class Desk(Protocol):
    """
    Everything runs on the worker's event loop, except :meth:`beat`, which runs on a thread of its own and blocks.

    Every method raises LeaseLost when the worker, or the attempt, is no longer known as the holder; Unavailable when the server
    cannot answer now, and then the worker asks again while its lease stands.
    """

    async def register(
        self, worker: str, *, name: str, lanes: Sequence[Lane], slots: int, lease: timedelta, version: str
    ) -> None:
        """Make the worker known under its fresh id."""
        ...

    def beat(self, worker: str, *, lease: timedelta, draining: bool, timeout: timedelta) -> list[Stop]:
        """Renew the worker's lease; return what it is asked to stop. Gives up with Unavailable after *timeout*."""
        ...

    def listen(self, worker: str, stop: Callable[[], None]) -> Callable[[], None]:
        """Call *stop*, from any thread, when the worker should beat at once; return what ends that. May never call it."""
        ...

    async def acquire(self, worker: str, limit: int, wait: timedelta) -> list[Task]:
        """
        Claim up to *limit* tasks; with none ready, wait for some up to *wait*.

        Cancelled, it has claimed nothing, or gives back what it claims.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[Task | Exception | None]:
        """End attempts; an exception in the answer is the refusal of the one at its place."""
        ...

    async def report(self, reports: Sequence[Report]) -> None:
        """Tell progress; what comes too late is dropped."""
        ...

    async def steps(self, hold: Hold) -> dict[str, Json]:
        """Return the outputs of the steps that are done."""
        ...

    async def step(self, hold: Hold, name: str, output: Json) -> Json:
        """Remember a step as done; return the output as it is remembered: the first to finish counts."""
        ...

    async def publish(self, hold: Hold, name: str, value: Json) -> str:
        """Publish a result; return its id."""
        ...

    async def spawn(self, hold: Hold, step: str, news: Sequence[NewTask]) -> list[str]:
        """Submit children as one step; return their ids."""
        ...

    async def look(self, hold: Hold, ids: Sequence[str]) -> list[Task]:
        """Return tasks as they are now, in the order of *ids*. Raises NotFound."""
        ...

    async def log(self, hold: Hold, text: str) -> None:
        """Keep what the attempt has logged so far."""
        ...

    async def leave(self, worker: str) -> None:
        """Go; what the worker still holds is given back untouched."""
        ...
