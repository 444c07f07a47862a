"""The goals that need many records: the moves and looks on a full yard, claims after churn, settling by old statistics."""

import sys
import time
from statistics import median

from benchmarks.growth import growth
from benchmarks.long_yard import BATCH, timed, yard_on
from benchmarks.servers import Servers


def churn(servers: Servers, count: int) -> dict[str, float]:
    """Return how much slower a claim is after *count* tasks came and went without a vacuum."""
    with yard_on(servers, "postgresql") as (yard, run):
        for table in ("tasks", "events"):
            run(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
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
