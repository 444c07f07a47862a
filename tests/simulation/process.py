"""One simulated process: a store, the loops every server runs, a worker; all real, and all gone when it is killed."""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from taskyard.http.once import Repeats
from taskyard.loops.loop import Loop
from taskyard.loops.store_desk import StoreDesk
from taskyard.loops.supervisor import server_loops
from taskyard.loops.worker import Worker
from taskyard.service.janitor import Keep
from taskyard.service.services import build_services
from tests.simulation.machine import SimulatedEventLoop, SimulatedHeartbeat, SimulatedStore
from tests.simulation.program import program

if TYPE_CHECKING:
    from tests.simulation.world import World

LEASE: Final = timedelta(seconds=30)
KEEP: Final = Keep(events=timedelta(days=9), signals=timedelta(days=9), workers=timedelta(minutes=10))


class Process:
    """
    Args:
        serves: Whether clients and people talk to it, and it runs the server's loops.
        works: Whether it has a worker.
    """

    def __init__(self, world: "World", name: str, *, serves: bool, works: bool) -> None:
        self.world = world
        self.name = name
        self.serves = serves
        self.works = works
        self.alive = False
        self.paused = False
        #: A handler keeps the event loop to itself until then; heartbeats have a thread of their own.
        self.blocked_until = 0.0
        self.starts_at = 0.0
        self.mail: deque[tuple[float, frozenset[str]]] = deque()
        self.heart: SimulatedHeartbeat | None = None
        self.loop: SimulatedEventLoop | None = None

    def start(self) -> None:
        world = self.world
        self.alive, self.paused, self.blocked_until = True, False, world.clock
        self.store = SimulatedStore(world.disk, world.is_slow)
        self.services = build_services(world.new_id, world.rng.random)
        self.once = Repeats(self.services.accounts, self.services.tasks.submit_soon)
        self.ticking: list[tuple[Loop, float]] = []
        if self.serves:
            supervisor = server_loops(
                self.store, self.services, now=lambda: world.now, jitter=world.rng.random, keep=KEEP
            )
            for loop in supervisor._loops:
                if loop._topic is not None:
                    self.store.news.subscribe(loop._topic, loop.wake)
                self.ticking.append((loop, world.clock))
        if self.works:
            self._start_worker()

    def _start_worker(self) -> None:
        world = self.world
        self.loop = SimulatedEventLoop(lambda: world.clock)
        self.worker = Worker(
            StoreDesk(self.store, self.services, world.actor),
            program(world, self),
            new_id=world.new_id,
            jitter=world.rng.random,
            slots=100 if world.healed else 4,
            lease=LEASE,
            name=self.name,
        )
        self.worker._loop = self.loop
        self.working: asyncio.Task[int] = self.loop.create_task(self.worker._shifts())

    def kill(self, starts_at: float) -> None:
        """Die at once, like a process killed by the system."""
        self.alive = False
        self.starts_at = starts_at
        self.heart = None
        self.mail.clear()
        if self.loop is not None:
            self.loop.die()
            self.loop = None

    # -- what it could do now ------------------------------------------------------------------------------------------------------

    def actions(self, now: float) -> list[Callable[[], None]]:
        if not self.alive:
            return [self.start] if self.starts_at <= now else []
        if self.paused:
            return []
        found: list[Callable[[], None]] = []
        if self.store.writer.waiting:
            found.append(self.commits)
        if self.store.reads:
            found.append(self.store.read_next)
        if self.mail and self.mail[0][0] <= now:
            found.append(self.hears)
        if self.heart is not None and self.heart.beats_at is not None and self.heart.beats_at <= now:
            found.append(self.heart.beat_once)
        if self.loop is not None and self.blocked_until <= now:
            timer = self.loop.next_timer
            if timer is not None and timer <= now:
                found.append(self.turns)
        found += [self.ticks] * any(at <= now or loop._woken.is_set() for loop, at in self.ticking)
        return found

    def next_timer(self, now: float) -> float:
        """When it next has something to do, if nobody gives it anything."""
        if not self.alive:
            return self.starts_at
        timers = [at for _, at in self.ticking]
        if self.mail:
            timers.append(self.mail[0][0])
        if self.heart is not None and self.heart.beats_at is not None:
            timers.append(self.heart.beats_at)
        if self.loop is not None:
            timer = self.loop.next_timer
            if timer is not None:
                timers.append(max(timer, self.blocked_until))
        return min((at for at in timers if at > now), default=now + 5)

    # -- what it does --------------------------------------------------------------------------------------------------------------

    def commits(self) -> None:
        self.store.writer.commit_some(self.world.rng.choice((1, 2, 500)))

    def hears(self) -> None:
        _, topics = self.mail.popleft()
        self.store.news.tell(topics)

    def turns(self) -> None:
        assert self.loop is not None
        self.loop.turn(self.world.rng.choice((1, 3, 20)))
        if self.works and self.working.done():  # it was asked to drain, and has
            self.world.counts["worker drained"] += 1
            self.kill(self.world.clock + 1)

    def ticks(self) -> None:
        now = self.world.clock
        due = [place for place, (loop, at) in enumerate(self.ticking) if at <= now or loop._woken.is_set()]
        place = self.world.rng.choice(due)
        loop, _ = self.ticking[place]
        seconds, wakeable = loop.turn()
        if not wakeable:
            loop._woken.clear()
        self.ticking[place] = loop, now + (seconds or 0.0)
        self.world.counts[f"{loop.name} ticked"] += 1
