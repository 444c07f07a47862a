"""
A small world on one thread: server processes, workers, people and clients on one real SQLite file, all driven by one seed.

Everything that could differ between two runs (time, randomness, ids, who goes next, what breaks) comes from the seed, so that
a failure is reproduced by its number. Taskyard itself knows nothing of this: services, SQL, transactions, the writer, the loops of
servers and workers are the real ones.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, Final
from uuid import UUID

from taskyard.core.actor import Actor
from taskyard.core.errors import TaskyardError, Unavailable
from taskyard.core.queue import Kind, QueueSettings, RateLimit
from taskyard.core.schedule import CatchUp, NewSchedule, Overlap, Timing
from taskyard.core.task import NewTask
from taskyard.core.times import to_micros
from taskyard.store.engine import Collided
from taskyard.store.records import Records
from tests.simulation.checks import Broken, Checker
from tests.simulation.clients import Clients
from tests.simulation.disk import START, Crash, Disk
from tests.simulation.machine import SimulatedHeartbeat, set_clock
from tests.simulation.process import Process
from tests.simulation.strangers import Strangers

CONCURRENCY: Final = {"limited": 2}
RATES: Final = {"rated": (5, timedelta(seconds=20))}
RETENTION: Final = {"fast": timedelta(minutes=4)}
INTERVAL: Final = timedelta(seconds=30)
#: Healing takes a few dozen turns of everybody; what needs more than this hangs.
MOST_TURNS: Final = 2_000


class World:
    """
    Args:
        sabotage: Called with each process that starts, to take something away from it.
    """

    def __init__(
        self, seed: int, disk: Disk, *, sabotage: Callable[[Process], None] = lambda _: None
    ) -> None:
        self.rng = random.Random(seed)
        self.disk = disk
        self.sabotage = sabotage
        self.counts: Counter[str] = Counter()
        self.broken: list[Broken] = []
        self.clock = 0.0
        self._skew = timedelta(0)
        self._ids = 0
        self.faults = False
        self.healed = False
        self.remembered: dict[tuple[str, str], Any] = {}
        self.spawned: dict[str, list[str]] = {}
        self.unsent: list[str] = []
        self.heard: dict[str, Any] = {}
        self.instants: dict[str, set[int]] = {}
        self._first_instant: datetime | None = None
        self.current: Process | None = None
        disk.wipe()
        disk.begins, disk.committed, disk.tell = self._begins, lambda: None, self._tell
        set_clock(lambda: self.clock)
        SimulatedHeartbeat.started = self._heart_started
        with disk.connection.transaction():
            records = Records(disk.connection)
            number = records.accounts.insert_organisation("sim", "Sim", {}, records.now)
        assert number is not None
        self.actor = Actor(organisation=number, identity="key:1")
        self.checker = Checker(disk, number, CONCURRENCY, RATES)
        self.checker.keeps(RETENTION)
        disk.committed = self._committed
        self.processes = [
            Process(self, "server 1", serves=True, works=False),
            Process(self, "server 2", serves=True, works=True),
            Process(self, "worker", serves=False, works=True),
        ]
        self.clients = Clients(self)
        self.strangers = Strangers(self)
        for process in self.processes:
            self.run(process, process.start)
        self._set_up()
        # Each history has its own mixture: some things often, some hardly ever.
        weights = [weight * self.rng.choice((0.2, 1, 1, 3)) for weight in _TABLE.values()]
        weights[0] = next(iter(_TABLE.values()))
        self._weights = list(accumulate(weights))
        self.faults = True

    def _set_up(self) -> None:
        def queues(r: Records) -> None:
            rate = RateLimit(count=RATES["rated"][0], period=RATES["rated"][1])
            for name, settings in {
                "fast": QueueSettings(retention=RETENTION["fast"]),
                "limited": QueueSettings(concurrency=CONCURRENCY["limited"]),
                "rated": QueueSettings(rate=rate),
                "people": QueueSettings(kind=Kind.HUMAN, lease=timedelta(seconds=20)),
            }.items():
                r.queues.insert(self.checker.organisation, name, settings, r.now)

        self.ask(lambda process: process.store.write(queues))
        if self.rng.random() < 0.6:
            self._schedule("every", CatchUp.ALL, Overlap.ALLOW)
        if self.rng.random() < 0.4:
            self._schedule("newest", CatchUp.ONE, self.rng.choice((Overlap.SKIP, Overlap.CANCEL)))

    def _schedule(self, name: str, catch_up: CatchUp, overlap: Overlap) -> None:
        new = NewSchedule(
            name=name,
            timing=Timing.INTERVAL,
            spec="PT30S",
            template=NewTask(type="a", queue="fast"),
            catch_up=catch_up,
            overlap=overlap,
        )
        schedule = self.ask(
            lambda process: process.store.write(
                lambda r: process.services.schedules.create(r, self.actor, new)
            )
        )
        if catch_up is CatchUp.ALL:
            self.instants[schedule.id] = set()
            self._first_instant = schedule.next_at

    # -- what everybody needs -----------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return self.disk.now

    def new_id(self) -> str:
        self._ids += 1
        return str(UUID(int=((to_micros(self.now) // 1000) << 80) | (7 << 76) | (2 << 62) | self._ids))

    def some_tasks(self, count: int) -> list[str]:
        known = list(self.checker.acknowledged)
        return self.rng.choices(known, k=count) if known else []

    def run(self, process: Process, what: Callable[[], Any]) -> Any:
        """Let *process* do something; where it crashes meanwhile, it is dead afterwards, and this raises Crash."""
        self.current = process
        try:
            return what()
        except Crash:
            self.kill(process)
            raise
        finally:
            self.current = None

    def kill(self, process: Process) -> None:
        process.kill(self.clock + self.rng.choice((0, 1, 40)))

    def ask(self, what: Callable[[Process], Any]) -> Any:
        """Ask a server, as clients do."""
        servers = [each for each in self.processes if each.serves and each.alive and not each.paused]
        if not servers:
            raise Unavailable("no server is there")
        server = self.rng.choice(servers)
        return self.run(server, lambda: what(server))

    def is_slow(self) -> bool:
        """Say whether who waits for an answer has waited long enough, and gives up."""
        slow = self.faults and self.rng.random() < 0.04
        self.counts["beat gave up waiting"] += slow
        return slow

    # -- what may go wrong with a transaction -------------------------------------------------------------------------------------

    def _begins(self) -> tuple[int, BaseException] | None:
        if not self.faults or (dice := self.rng.random()) > 0.045:
            return None
        place = self.rng.randrange(14)
        if dice < 0.02:
            return place, Crash(f"before statement {place}")
        if dice < 0.035:
            self.counts["disk full"] += 1
            return place, Unavailable("the disk that holds the database is full; free some space")
        self.counts["transaction collided"] += 1
        return place, Collided("another transaction was in the way")

    def _committed(self) -> None:
        self.checker.after_commit(to_micros(self.now))
        if self.faults and self.rng.random() < 0.012:
            raise Crash("after the commit")

    def _tell(self, topics: frozenset[str]) -> None:
        """Send the news of a commit to the other processes; some of it is lost, some comes late."""
        for other in self.processes:
            if other is self.current or not other.alive:
                continue
            dice = self.rng.random() if self.faults else 1.0
            if dice < 0.15:
                self.counts["news lost"] += 1
            elif dice < 0.3:
                self.counts["news late"] += 1
                other.mail.append((self.clock + self.rng.uniform(0, 20), topics))
            elif len(other.mail) < 5:
                other.mail.append((self.clock, topics))

    def _heart_started(self, heart: SimulatedHeartbeat) -> None:
        assert self.current is not None
        self.current.heart = heart

    # -- one move -----------------------------------------------------------------------------------------------------------------

    def step(self) -> str:
        """Let somebody do something, and say what."""
        move = self.rng.choices(_MOVES, cum_weights=self._weights)[0]
        name = move.replace("_", " ")
        actor = next(each for each in (self, self.clients, self.strangers) if hasattr(each, move))
        try:
            name = getattr(actor, move)() or name
        except Crash as crash:
            self.counts["crash after a commit" if "after" in str(crash) else "crash before a statement"] += 1
            name += " (crash)"
        except TaskyardError as refusal:
            self.counts[f"refused: {refusal.code}"] += 1
            name += f" ({refusal.code})"
        if self.broken:
            raise self.broken[0]
        return name

    def process_goes_on(self) -> str:
        can = [(process, action) for process in self.processes for action in process.actions(self.clock)]
        if not can:
            self.time_passes()
            return "time passes"
        process, action = self.rng.choice(can)
        self.counts[f"process: {action.__name__.replace('_', ' ')}"] += 1
        self.run(process, action)
        return f"{process.name} {action.__name__}"

    def time_passes(self) -> None:
        dice = self.rng.random()
        if dice < 0.7:
            self.set_time(min(self._next_timer(), self.clock + 30))
        elif dice < 0.95:
            self.set_time(self.clock + self.rng.uniform(0, 4))
        else:
            self.counts["everybody stood still"] += 1
            self.set_time(self.clock + self.rng.uniform(10, 50))

    def _next_timer(self) -> float:
        timers = [each.next_timer(self.clock) for each in self.processes if not each.paused]
        return min(timers, default=self.clock + 5)

    def set_time(self, clock: float) -> None:
        self.clock = clock
        self.disk.now = max(START, START + timedelta(seconds=clock) + self._skew)

    def clock_jumps(self) -> None:
        span = self.rng.choice((self.rng.uniform(5, 60), -self.rng.uniform(1, 20)))
        self.counts["clock set forward" if span > 0 else "clock set back"] += 1
        self._skew += timedelta(seconds=span)
        self.set_time(self.clock)

    def process_is_killed(self) -> None:
        self.counts["process killed"] += 1
        self.kill(self.rng.choice([each for each in self.processes if each.alive] or self.processes))

    def process_is_paused(self) -> str:
        process = self.rng.choice(self.processes)
        process.paused = not process.paused
        self.counts["process paused"] += process.paused
        return "process is paused" if process.paused else "process goes on after a pause"

    def worker_is_drained(self) -> None:
        process = self.rng.choice([each for each in self.processes if each.works])
        if process.loop is not None:
            process.worker.drain(self.rng.choice((None, timedelta(0), timedelta(seconds=5))))

    # -- the end ------------------------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Stop breaking things, and let everything run to its end. One server with a worker is left, and must be enough."""
        self.faults, self.healed = False, True
        self.close()
        self.checker.lift_limits()
        self.processes = [each for each in self.processes if each.serves and each.works]
        for process in self.processes:
            self.run(process, process.start)
        self.strangers.vanish()
        self.clients.resume()
        self._pause_schedules()
        for _ in range(MOST_TURNS):
            self.clients.finish()
            while can := [(each, action) for each in self.processes for action in each.actions(self.clock)]:
                for process, action in can:
                    if action in process.actions(self.clock):
                        self.run(process, action)
            if not any(task.is_open for task in self.checker.seen.values()):
                break
            self.set_time(min(self._next_timer(), self.clock + 5))
        if self.broken:
            raise self.broken[0]
        self.clients.repeat_all()
        self.checker.at_the_end(self.clients.read_feed, self.instants)
        self.counts["commits"] += self.checker.commits
        self.counts["tasks"] += len(self.checker.seen)
        self.counts["simulated seconds"] += int(self.clock)

    def close(self) -> None:
        """Let go of what is still under way."""
        for process in self.processes:
            process.kill(self.clock)

    def _pause_schedules(self) -> None:
        """Let the schedules fire what is due, then end them; nothing would ever be over otherwise."""
        server = self.processes[0]
        self.run(server, lambda: [loop.turn() for loop, _ in server.ticking])
        for schedule in self.instants:
            assert self._first_instant is not None
            passed = (self.now - self._first_instant) // INTERVAL
            self.instants[schedule] = {
                to_micros(self._first_instant + INTERVAL * each) for each in range(passed + 1)
            }

        def end(r: Records) -> None:
            for schedule in r.schedules.due(r.now + timedelta(days=999), 100):
                r.schedules.update(replace(schedule, paused=True, next_at=None, updated_at=r.now))

        self.run(server, lambda: server.store.write(end))


_TABLE: Final[dict[str, float]] = {
    "process_goes_on": 110,
    "time_passes": 10,
    "clock_jumps": 0.5,
    "process_is_killed": 0.7,
    "process_is_paused": 1.5,
    "worker_is_drained": 0.5,
    **Clients.MOVES,
    **Strangers.MOVES,
}
_MOVES: Final = list(_TABLE)
