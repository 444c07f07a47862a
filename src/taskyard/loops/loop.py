"""The one background loop: everything that happens by itself on the server is a tick of one of these."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from taskyard.core.backoff import retry_delay
from taskyard.core.errors import Unavailable
from taskyard.store.news import News

#: How long a loop rests after a failure, first and at most: short enough to go on soon after an outage ends.
REST: Final = timedelta(seconds=1)
MAX_REST: Final = timedelta(seconds=30)
#: At most while the store is away: the tasks of the dead wait for the reaper, and /readyz for all of them.
MAX_REST_AWAY: Final = timedelta(seconds=2)

log = structlog.get_logger("taskyard.loops")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """
    How a loop is: when it last finished a tick, when it means to begin the next (None: when it is woken), and what went wrong
    with the last, if anything did.
    """

    name: str
    alive: bool
    ticked_at: datetime | None
    next_at: datetime | None
    failures: int
    error: str | None


class Loop:
    """
    Calls *tick* again and again on a thread of its own, and never dies of what it raises.

    Args:
        name: For the log, the health page and the thread.
        tick: Does what there is to do and returns how long until it wants to be called again; None is until it is woken.
        now: The clock of the health page; waiting goes by the machine's monotonic clock.
        jitter: Returns a number in [0, 1): spreads the tries of many nodes after an outage.
        news: Where to hear of *topic*.
        topic: News of any topic that begins so wakes the loop.
        rest: How long to rest after the first failure; doubled after each further one, up to *MAX_REST* or *MAX_REST_AWAY*.
        ended: Called on the loop's thread after its last tick.
    """

    def __init__(
        self,
        name: str,
        tick: Callable[[], timedelta | None],
        *,
        now: Callable[[], datetime],
        jitter: Callable[[], float],
        news: News | None = None,
        topic: str | None = None,
        rest: timedelta = REST,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._tick = tick
        self._now = now
        self._jitter = jitter
        self._news = news
        self._topic = topic
        self._rest = rest
        self._ended = ended
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._unsubscribe: Callable[[], None] = lambda: None
        self._thread: threading.Thread | None = None
        self._ticked_at: datetime | None = None
        self._next_at: datetime | None = None
        self._failures = 0
        self._error: str | None = None

    def start(self) -> None:
        """Begin; a loop is started once."""
        if self._news is not None and self._topic is not None:
            self._unsubscribe = self._news.subscribe(self._topic, self.wake)
        self._next_at = self._now()
        self._thread = threading.Thread(target=self._run_to_the_end, name=self.name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Tick now, or once more if it is ticking. May be called from any thread; returns at once."""
        self._woken.set()

    def stop(self) -> None:
        """Ask the loop to end; a tick that runs is finished."""
        self._stopping.set()
        self._woken.set()
        self._unsubscribe()

    def join(self, timeout: timedelta | None = None) -> bool:
        """Wait for the end that :meth:`stop` asked for; say whether it came."""
        if self._thread is None:
            return True
        self._thread.join(None if timeout is None else timeout.total_seconds())
        return not self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def pulse(self) -> Pulse:
        return Pulse(
            name=self.name,
            alive=self._thread is not None and self._thread.is_alive(),
            ticked_at=self._ticked_at,
            next_at=self._next_at,
            failures=self._failures,
            error=self._error,
        )

    def turn(self) -> tuple[float | None, bool]:
        """Tick once; return how many seconds to rest, None for until woken, and whether a wake ends the rest."""
        self._woken.clear()  # before the tick, so that a wake during it counts
        if self._stopping.is_set():  # asked between two turns, and its wake has just been cleared
            return 0.0, True
        try:
            delay = self._tick()
        except Exception as error:
            # Not woken by news: what fails must not be tried at the pace of the news.
            return self._failed(error), False
        self._ticked_at, self._failures, self._error = self._now(), 0, None
        self._next_at = None if delay is None else self._ticked_at + delay
        return None if delay is None else max(0.0, delay.total_seconds()), True

    def _run_to_the_end(self) -> None:
        try:
            self._run()
        finally:
            self._ended()

    def _run(self) -> None:
        while not self._stopping.is_set():
            seconds, wakeable = self.turn()
            (self._woken if wakeable else self._stopping).wait(seconds)

    def _failed(self, error: Exception) -> float:
        """Note a failure; return how many seconds to rest."""
        self._failures += 1
        self._error = f"{type(error).__name__}: {error}"
        cap = max(self._rest, MAX_REST_AWAY) if isinstance(error, Unavailable) else MAX_REST
        rest = retry_delay(self._failures, jitter=self._jitter, base=self._rest, cap=cap)
        self._next_at = self._now() + rest
        if isinstance(error, Unavailable):
            log.warning(
                "the store did not answer", loop=self.name, error=str(error), again_in_s=rest.total_seconds()
            )
        else:
            log.error(
                "a tick failed",
                loop=self.name,
                error=self._error,
                at=_place(error),
                again_in_s=rest.total_seconds(),
            )
        return rest.total_seconds()


def _place(error: Exception) -> str:
    """Return the file and line that raised *error*: one line of the log that says where to look."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
