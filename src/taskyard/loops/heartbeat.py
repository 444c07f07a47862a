"""The heartbeat: renews a worker's lease from a thread of its own, so that a handler that blocks the event loop loses nothing."""

import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

import structlog

from taskyard.core.errors import LeaseLost
from taskyard.core.hold import Stop
from taskyard.core.worker import BEATS_PER_LEASE

#: Beats of many workers that started together drift apart by up to this part of their interval.
JITTER: Final = 0.1
#: After a beat that failed the next is tried this much of a lease later.
AGAIN: Final = 1 / 30
#: A beat that has no answer within this much of a lease is given up, and another is tried.
PATIENCE: Final = 1 / 3

log = structlog.get_logger("taskyard.loops")


class Heartbeat:
    """
    Args:
        beat: Renews the lease, or gives up after the time it is given; returns what is to be stopped.
        lease: How long one renewal lasts.
        renewed: When the lease began, by ``time.monotonic``, or earlier.
        stop: Told what a beat was answered, when that was something.
        lost: Told once, when the lease is lost or can no longer be renewed in time. Nothing is beaten after that.
    """

    def __init__(
        self,
        beat: Callable[[timedelta], Sequence[Stop]],
        lease: timedelta,
        renewed: float,
        *,
        stop: Callable[[Sequence[Stop]], None],
        lost: Callable[[str], None],
        jitter: Callable[[], float],
    ) -> None:
        self._beat = beat
        self._lease = lease.total_seconds()
        self._renewed = renewed
        self._stop = stop
        self._lost = lost
        self._jitter = jitter
        self._woken = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Beat at once. From any thread."""
        self._woken.set()

    def end(self) -> None:
        """Beat no more. A beat that is under way is not waited for."""
        self._ending = True
        self._woken.set()

    def turn(self) -> float | None:
        """Beat once; return in how many seconds to beat again unless woken before, None when no more."""
        if self._ending:
            return None
        self._woken.clear()  # before the beat, so that a wake during it counts
        began = time.monotonic()
        left = self._renewed + self._lease - began
        if left <= 0:
            self._lost("the lease could not be renewed in time")
            return None
        try:
            stops = self._beat(timedelta(seconds=min(left, self._lease * PATIENCE)))
        except LeaseLost as error:
            self._lost(str(error))
            return None
        except Exception as error:
            log.warning("a heartbeat failed", error=f"{type(error).__name__}: {error}", left_s=round(left, 1))
            return self._lease * AGAIN
        self._renewed = began
        if stops and not self._ending:
            self._stop(stops)
        return began + self.interval() - time.monotonic()

    def interval(self) -> float:
        """Return how many seconds lie between two beats."""
        return self._lease / BEATS_PER_LEASE * (1 - JITTER * self._jitter())

    def _run(self) -> None:
        wait: float | None = self.interval()
        while wait is not None:
            self._woken.wait(max(0.0, wait))
            wait = self.turn()
