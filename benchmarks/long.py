"""The goals that need many records: the moves and looks on a full yard, claims after churn, settling by old statistics."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from uuid_utils import uuid7

from benchmarks.servers import Servers
from taskyard.core.actor import Actor
from taskyard.core.hold import Hold, Settlement
from taskyard.core.outcome import Done
from taskyard.core.task import NewTask, State, Task
from taskyard.core.worker import Lane
from taskyard.service.services import build_services
from taskyard.service.tasks import Submission
from taskyard.store.engine import Database
from taskyard.store.postgres import PostgresDatabase
from taskyard.store.sqlite import SqliteDatabase
from taskyard.store.store import Store
from taskyard.store.tasks import TaskFilter

BATCH = 100
FEW = 10_000
BLOCKED = 10_000
LANES = (Lane("default", "noop"),)
#: Finished tasks as they lie there, made by the database itself: a million by the front door would take an hour. The ids are older
#: than any that is made meanwhile; every hundredth has failed.
FILL = """
INSERT INTO {tasks} (id, organisation, type, queue, state, priority, input, labels, run_at, created_at, started_at, attempted_at,
                     finished_at, updated_at, claims, max_failures, output, actor, origin, settled_by)
SELECT '018f0000-0000-7000-8000-' || {hex}, {organisation}, 'kind' || (n % 20), 'queue' || (n % 10),
       CASE n % 100 WHEN 0 THEN 'failed' ELSE 'succeeded' END, 0, '{{"n":1}}', '{{"site":"s' || (n % 100) || '"}}', n, n, n, n, n, n, 1, 3, '1',
       'user:1', 'native', 'worker:w'
FROM   {series}
"""
LABEL = "INSERT INTO {labels} (organisation, name, value, task) SELECT organisation, 'site', 's' || (run_at % 100), number FROM {tasks} WHERE run_at > {start} AND run_at <= {end} AND actor = 'user:1' AND type <> 'noop'"


class LongYard:
    """A store with its services and one worker, and short words for the moves."""

    def __init__(self, database: Database) -> None:
        database.migrate()
        self.store = Store(database)
        self.services = build_services(lambda: str(uuid7()), lambda: 0.5)
        number = self.store.write(lambda r: r.accounts.insert_organisation("bench", "Bench", {}, r.now))
        assert number is not None
        self.organisation = number
        self.actor = Actor(organisation=number, identity="user:1")
        self.worker = str(uuid7())
        self.store.write(
            lambda r: self.services.work.register(
                r, self.actor, id=self.worker, name="bench", lanes=LANES, slots=BATCH, lease=timedelta(days=1)
            )
        )

    def submit(self, count: int, **named: Any) -> list[Any]:
        news = [Submission(self.actor, NewTask(type="noop", input={"n": 1}, **named)) for _ in range(count)]
        return self.store.together(self.services.tasks.submit, news)

    def claim(self, count: int) -> list[Task]:
        return self.store.write(lambda r: self.services.work.claim(r, self.actor, self.worker, LANES, count))

    def settle(self, tasks: list[Task]) -> None:
        self.store.together(self.services.work.settle, [Settlement(Hold.of(task), Done()) for task in tasks])


@contextmanager
def yard_on(servers: Servers, store: str) -> Iterator[tuple[LongYard, Callable[[str], None]]]:
    """Within: a yard on a fresh database, and what runs a statement there that no service has."""
    url = servers.fresh(store)
    database: Any
    if store == "sqlite":
        database = SqliteDatabase(Path(url), lambda: datetime.now(UTC))
        database.migrate()
        raw = database.connect(writes=True)._raw

        def run(text: str) -> None:
            raw.execute("BEGIN IMMEDIATE")
            raw.execute(text)
            raw.execute("COMMIT")
    else:
        database = PostgresDatabase(url)
        database.migrate()
        import psycopg

        raw = psycopg.connect(url, autocommit=True)
        raw.execute("SET search_path = taskyard")

        def run(text: str) -> None:
            raw.execute(text.encode())

    yard = LongYard(database)
    try:
        yield yard, run
    finally:
        raw.close()
        yard.store.close()


def fill(run: Callable[[str], None], store: str, organisation: int, start: int, end: int) -> None:
    step = 100_000
    for first in range(start, end, step):
        last = min(end, first + step)
        if store == "sqlite":
            series = f"(WITH RECURSIVE each (n) AS (SELECT {first + 1} UNION ALL SELECT n + 1 FROM each WHERE n < {last}) SELECT n FROM each)"
            hex = "printf('%012x', n)"
        else:
            series, hex = f"generate_series({first + 1}, {last}) AS n", "lpad(to_hex(n), 12, '0')"
        run(FILL.format(tasks="tasks", hex=hex, organisation=organisation, series=series))
        run(LABEL.format(labels="labels", tasks="tasks", start=first, end=last))


def timed(work: Callable[[], Any], times: int) -> float:
    """Return the median of some runs in milliseconds."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1e3)
    return median(taken)


def looks(yard: LongYard) -> dict[str, float]:
    """Return the p50 of the moves and of every kind of look, in milliseconds."""
    claimed: list[list[Task]] = []
    yard.submit(300)
    found = {"claim": timed(lambda: claimed.append(yard.claim(1)), 100)}
    waiting = iter(claimed)
    found["complete"] = timed(lambda: yard.settle(next(waiting)), 100)
    some = yard.submit(1)[0].id
    filters = {
        "newest": TaskFilter(),
        "failed": TaskFilter(states=(State.FAILED,)),
        "of a type": TaskFilter(type="kind7"),
        "of a queue": TaskFilter(queue="queue3"),
        "with a label": TaskFilter(labels={"site": "s42"}),
    }
    for name, filter in filters.items():
        found[name] = timed(
            lambda filter=filter: yard.store.read(  # type: ignore[misc]
                lambda r: yard.services.tasks.search(r, yard.actor, filter, limit=50)
            ),
            100,
        )
    found["get"] = timed(lambda: yard.store.read(lambda r: yard.services.tasks.get(r, yard.actor, some)), 100)
    return found


def growth(servers: Servers, store: str, records: int) -> dict[str, float]:
    """Return how much slower each look is on a full yard than on one of 10,000, and with 10,000 blocked tasks in front."""
    found: dict[str, float] = {}
    with yard_on(servers, store) as (yard, run):
        fill(run, store, yard.organisation, 0, FEW)
        run("ANALYZE")
        few = looks(yard)
        fill(run, store, yard.organisation, FEW, records)
        run("ANALYZE")
        many = looks(yard)
        first = yard.submit(1, queue="elsewhere")[0].id
        for _ in range(0, BLOCKED, 500):
            yard.submit(500, priority=10, blocked_by=(first,))
        blocked = looks(yard)
    for name, least in few.items():
        found[f"{store}.{name}_ms"] = least
        found[f"{store}.{name}_full_ms"] = many[name]
        found[f"{store}.{name}_growth"] = many[name] / least
    found[f"{store}.claim_blocked_growth"] = blocked["claim"] / few["claim"]
    found[f"{store}.worst_growth"] = max(value for name, value in found.items() if name.endswith("growth"))
    found[f"{store}.records"] = records
    return found


def churn(servers: Servers, count: int) -> dict[str, float]:
    """Return how much slower a claim is after *count* tasks came and went without a vacuum."""
    with yard_on(servers, "postgresql") as (yard, run):
        run("ALTER TABLE tasks SET (autovacuum_enabled = false)")
        yard.submit(1000)
        claims: list[float] = []
        for _ in range(count // BATCH):
            yard.submit(BATCH)
            began = time.perf_counter()
            tasks = yard.claim(BATCH)
            claims.append((time.perf_counter() - began) * 1e3)
            yard.settle(tasks)
        part = max(1, min(100, len(claims) // 5))
        fresh, worn = median(claims[:part]), median(claims[-part:])
    return {"postgresql.churn": worn / fresh, "postgresql.churned": count}


def statistics(servers: Servers, count: int = 3000) -> dict[str, float]:
    """Return the worst rate of settling over the best, by when the statistics were taken."""
    rates = {}
    for when in ("empty", "pending", "running"):
        with yard_on(servers, "postgresql") as (yard, run):
            if when == "empty":
                run("ANALYZE")
            for _ in range(0, count, 500):
                yard.submit(500)
            if when == "pending":
                run("ANALYZE")
            claimed = [yard.claim(BATCH) for _ in range(count // BATCH)]
            if when == "running":
                run("ANALYZE")
            time.sleep(2.1)  # plans are kept for two seconds
            yard.settle(claimed[0])
            taken = [timed(lambda tasks=tasks: yard.settle(tasks), 1) for tasks in claimed[1:]]  # type: ignore[misc]
            rates[when] = BATCH / median(taken) * 1e3
    found = {f"postgresql.settled_after_analyze_{when}": rate for when, rate in rates.items()}
    return {**found, "postgresql.analyze": min(rates.values()) / max(rates.values())}


def measure(servers: Servers, records: int, churned: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, step in (
        ("statistics", lambda: statistics(servers)),
        ("churn", lambda: churn(servers, churned)),
        ("growth on SQLite", lambda: growth(servers, "sqlite", records)),
        ("growth on PostgreSQL", lambda: growth(servers, "postgresql", records)),
    ):
        print(f"long: {name}", file=sys.stderr, flush=True)
        found |= step()
    return found
