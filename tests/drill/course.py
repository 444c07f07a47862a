"""The course of the drill: what is started, what is killed and stopped when, and what is measured on the way."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psycopg

from taskyard.client import Client
from tests.drill.machines import Database, Server, Workers
from tests.drill.reckoning import Reckoning, reckon
from tests.drill.submitting import Submitter

LOOK_EVERY_S = 0.25
#: What a dead worker held is others' to claim so long after its lease has run out.
WITHIN_S = 2.0
#: How long nothing may be settled before the drill gives up: several leases.
STUCK_AFTER_S = 120


@dataclass(frozen=True, kw_only=True)
class Plan:
    tasks: int = 20_000
    servers: int = 3
    workers: int = 4
    kill_every_s: float = 1.0
    most_kills: int | None = None
    stops: int = 2
    down_s: float = 2.0
    lease_s: float = 5.0
    slots: int = 8
    work_ms: float = 20.0
    submitters: int = 6
    seed: int = 1


@dataclass
class Stop:
    """One stop of the database, by the monotonic clock; ``first_settled_s`` and ``ready_s`` count from its start."""

    stopped: float
    started: float = 0.0
    started_at: float = 0.0  # of the wall, which the database's own times are of
    first_settled_s: float | None = None
    first_submitted_s: float | None = None
    unready_s: list[float] = field(default_factory=list)
    ready_s: list[float] = field(default_factory=list)


@dataclass
class Outcome:
    reckoning: Reckoning
    seconds: float
    kills: int
    ended_by_themselves: int
    refused_503: int
    broken_connections: int
    stops: list[Stop]
    deadlocks: int


class Course:
    def __init__(self, plan: Plan, folder: Path, database: Database, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._folder = folder
        self._database = database
        self._say = say
        self._settled = 0
        self._stops: list[Stop] = []
        self._over = threading.Event()

    def run(self) -> Outcome:
        plan, folder, url = self._plan, self._folder, self._database.url
        servers: list[Server] = []
        workers = Workers(folder, url, plan.workers, plan.lease_s, plan.slots, random.Random(plan.seed))
        try:
            for number in range(plan.servers):
                servers.append(Server(folder, f"server-{number + 1}", url))
                self._say(f"{servers[-1].name} listens on {servers[-1].url}")
            workers.start()
            self._say(f"{plan.workers} workers, {plan.slots} slots each, lease {plan.lease_s:g} s")
            submitter = Submitter(servers, plan.tasks, plan.work_ms, folder / "acknowledged", plan.submitters)
            began = time.monotonic()
            submitter.start()
            killer = threading.Thread(target=self._kill, args=(workers,), daemon=True)
            killer.start()
            self._watch(submitter, workers, began)
            seconds = time.monotonic() - began
            self._over.set()
            killer.join()
            workers.stop()
            self._say("reading the feed and the ledgers …")
            with Client(servers[0].url, servers[0].key, patience=timedelta(seconds=60)) as client:
                reckoning = reckon(folder, url, client, workers.kills)
            if submitter.wrong:
                reckoning.broken["answered otherwise than 201 or 503"] = submitter.wrong
            if unhealthy := sum(server.unhealthy for server in servers):
                reckoning.broken["not healthy though only the database was away"] = [f"{unhealthy} times"]
            reckoning.broken[f"given to others later than the lease + {WITHIN_S:g} s"] = [
                f"after {taken - killed:.1f} s"
                for killed, taken in reckoning.taken
                if taken - killed > plan.lease_s + WITHIN_S
                and not any(killed < stop.started and taken > stop.stopped for stop in self._stops)
            ]
            self._measure(servers)
            return Outcome(
                reckoning,
                seconds,
                len(workers.kills),
                workers.ended,
                submitter.refused_503,
                submitter.broken,
                self._stops,
                self._deadlocks(),
            )
        finally:
            self._over.set()
            workers.stop()
            for server in servers:
                server.stop()

    # -- disasters -----------------------------------------------------------------------------------------------------------

    def _kill(self, workers: Workers) -> None:
        while not self._over.wait(self._plan.kill_every_s):
            if len(workers.kills) == self._plan.most_kills:
                return
            workers.kill_one()

    def _stop_database(self) -> None:
        stop = Stop(time.monotonic())
        self._stops.append(stop)
        self._say(f"the database stops ({self._database.how})")
        self._database.stop()
        time.sleep(self._plan.down_s)
        self._database.start()
        stop.started, stop.started_at = time.monotonic(), time.time()
        self._say(f"the database has started again, after {stop.started - stop.stopped:.1f} s")

    # -- progress ------------------------------------------------------------------------------------------------------------

    def _watch(self, submitter: Submitter, workers: Workers, began: float) -> None:
        plan = self._plan
        said, moved = began, began
        least_kills = plan.most_kills or 0
        while not (submitter.finished and self._settled >= plan.tasks and len(workers.kills) >= least_kills):
            time.sleep(LOOK_EVERY_S)
            before = self._settled
            self._look()
            now = time.monotonic()
            if self._settled > before or self._settled >= plan.tasks:
                moved = now
            if now - moved > STUCK_AFTER_S:
                self._say(f"nothing has been settled for {STUCK_AFTER_S} s: given up")
                return
            if now - said >= 2:
                said = now
                self._say(
                    f"{now - began:6.1f} s  acknowledged {submitter.done:6,}  settled {self._settled:6,}  "
                    f"kills {len(workers.kills):3}  503s {submitter.refused_503}"
                )
            if len(self._stops) < plan.stops and self._settled >= plan.tasks * (len(self._stops) + 1) / (
                plan.stops + 1
            ):
                self._stop_database()
                moved = time.monotonic()

    def _look(self) -> None:
        try:
            with psycopg.connect(self._database.url, connect_timeout=5) as raw:
                row = raw.execute(
                    "SELECT count(*) FROM taskyard.tasks WHERE finished_at IS NOT NULL"
                ).fetchone()
        except psycopg.Error:
            return
        self._settled = row[0] if row else 0

    # -- measures ------------------------------------------------------------------------------------------------------------

    def _measure(self, servers: list[Server]) -> None:
        with psycopg.connect(self._database.url) as raw:
            for stop in self._stops:
                since = int(stop.started_at * 1_000_000)
                stop.first_settled_s = _after(raw, "finished_at", since)
                stop.first_submitted_s = _after(raw, "created_at", since)
                for server in servers:
                    stop.unready_s += [
                        at - stop.stopped
                        for at, status in server.turns
                        if status == 503 and stop.stopped <= at <= stop.started
                    ][:1]
                    stop.ready_s += [
                        at - stop.started
                        for at, status in server.turns
                        if status == 200 and at > stop.stopped
                    ][:1]

    def _deadlocks(self) -> int:
        with psycopg.connect(self._database.url) as raw:
            row = raw.execute("SELECT sum(deadlocks) FROM pg_stat_database").fetchone()
        return int(row[0]) if row else 0


def _after(raw: "psycopg.Connection[tuple[object, ...]]", column: str, since: int) -> float | None:
    row = raw.execute(
        f"SELECT min({column}) FROM taskyard.tasks WHERE {column} > {since}".encode()
    ).fetchone()
    return (row[0] - since) / 1_000_000 if row and isinstance(row[0], int) else None
