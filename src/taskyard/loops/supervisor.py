"""The supervisor: starts and stops a set of loops together, and says how they are."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, Self

from taskyard.loops import courier as deliveries
from taskyard.loops import reaper, roller, scheduler
from taskyard.loops.courier import Courier
from taskyard.loops.culler import Culler
from taskyard.loops.janitor import Janitor
from taskyard.loops.loop import Loop, Pulse
from taskyard.loops.reaper import Reaper
from taskyard.loops.roller import Roller
from taskyard.loops.scheduler import Scheduler
from taskyard.service.janitor import Keep
from taskyard.service.services import Services
from taskyard.store.store import Store

#: How much later than it meant to a loop may tick before it counts as stuck.
LATE: Final = timedelta(seconds=60)
#: How long stopping waits for the ticks that run; each is a few short transactions.
STOP_WITHIN: Final = timedelta(seconds=10)


class Supervisor:
    """
    Args:
        loops: In the order in which they start; they stop in the opposite one.
        now: The clock by which a loop is late.
    """

    def __init__(self, loops: Sequence[Loop], now: Callable[[], datetime]) -> None:
        self._loops = tuple(loops)
        self._now = now

    def start(self) -> None:
        for loop in self._loops:
            loop.start()

    def stop(self, timeout: timedelta = STOP_WITHIN) -> bool:
        """Stop all; say whether each ended in time."""
        for loop in reversed(self._loops):
            loop.stop()
        ended = [loop.join(timeout) for loop in reversed(self._loops)]
        return all(ended)

    def health(self) -> list[Pulse]:
        """Return how each loop is."""
        return [loop.pulse() for loop in self._loops]

    def healthy(self) -> bool:
        """Say whether every loop lives, did not fail last time, and is not stuck in a tick."""
        now = self._now()
        return all(
            pulse.alive and pulse.error is None and (pulse.next_at is None or now - pulse.next_at <= LATE)
            for pulse in self.health()
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def server_loops(
    store: Store,
    services: Services,
    *,
    now: Callable[[], datetime],
    jitter: Callable[[], float],
    keep: Keep = Keep(),  # noqa: B008 (frozen)
    courier: Courier | None = None,
) -> Supervisor:
    """
    Return the loops that every server runs: scheduler, reaper, janitor, culler, roller and, if one is given, the courier. Any number
    of servers may run them on one database.

    Idle, they ask the store less than one question a second together.
    """

    def loop(
        name: str,
        tick: Callable[[], timedelta],
        topic: str | None = None,
        ended: Callable[[], None] = lambda: None,
    ) -> Loop:
        return Loop(name, tick, now=now, jitter=jitter, news=store.news, topic=topic, ended=ended)

    loops = [
        loop("scheduler", Scheduler(store, services).tick, scheduler.TOPIC),
        loop("reaper", Reaper(store, services).tick, reaper.TOPIC),
        loop("janitor", Janitor(store, keep).tick),
        loop("culler", Culler(store, services.culling).tick),
        loop("roller", Roller(store, services.rollouts).tick, roller.TOPIC),
    ]
    if courier is not None:
        sends = loop("courier", courier.tick, deliveries.TOPIC, courier.close)
        courier.wake = sends.wake
        loops.append(sends)
    return Supervisor(loops, now)
