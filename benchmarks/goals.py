"""The goals: ratios of medians of one interleaved run, what each must be and what it should reach."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

#: Medians by what was measured: ``taskyard_sqlite.drain``, ``raw.sqlite.loop``, ``http.postgresql.post_32`` …
Medians = Mapping[str, float]


@dataclass(frozen=True)
class Goal:
    """``value`` raises KeyError where something it needs was not measured. ``must`` and ``reach`` are bounds, upper ones where ``most``."""

    number: str
    what: str
    must: float
    reach: float
    value: Callable[[Medians], float]
    most: bool = False
    unit: str = "×"

    def meets(self, value: float, bound: float) -> bool:
        return value <= bound if self.most else value >= bound


def _over(top: str, bottom: str) -> Callable[[Medians], float]:
    return lambda found: found[top] / found[bottom]


def _value(name: str) -> Callable[[Medians], float]:
    return lambda found: found[name]


DURABLE = ("oban", "dbos_postgres", "absurd", "chancy", "procrastinate", "pgqueuer")


def _over_best(measure: str, top: str) -> Callable[[Medians], float]:
    return lambda found: (
        found[f"{top}.{measure}"]
        / max(found[f"{each}.{measure}"] for each in DURABLE if f"{each}.{measure}" in found)
    )


def _over_quickest(found: Medians) -> float:
    peers = [found[f"{each}.start_p50_ms"] for each in DURABLE if f"{each}.start_p50_ms" in found]
    if not peers:
        raise KeyError("no durable peer was measured")
    return found["taskyard_postgres.start_p50_ms"] / min(peers)


GOALS = (
    Goal("1", "SQLite, end to end in bulk ÷ raw loop", 0.4, 0.6, _over("taskyard_sqlite.end_to_end_bulk", "raw.sqlite.loop")),
    Goal("2a", "SQLite drain ÷ DBOS on SQLite", 8, 15, _over("taskyard_sqlite.drain", "dbos_sqlite.drain")),
    Goal("2b", "SQLite drain ÷ Huey with fsync", 6, 12, _over("taskyard_sqlite.drain", "huey_fsync.drain")),
    Goal("3", "PostgreSQL, end to end in bulk ÷ raw loop", 0.5, 0.8, _over("taskyard_postgres.end_to_end_bulk", "raw.postgresql.loop")),
    Goal("4a", "PostgreSQL drain ÷ PgQueuer", 1, 1.5, _over("taskyard_postgres.drain", "pgqueuer.drain")),
    Goal("4b", "PostgreSQL drain ÷ Oban", 4, 8, _over("taskyard_postgres.drain", "oban.drain")),
    Goal("4c", "PostgreSQL drain ÷ DBOS", 8, 15, _over("taskyard_postgres.drain", "dbos_postgres.drain")),
    Goal("4d", "PostgreSQL drain ÷ Procrastinate", 15, 30, _over("taskyard_postgres.drain", "procrastinate.drain")),
    Goal("5", "PostgreSQL, end to end one by one ÷ the best durable peer", 1.2, 1.6, _over_best("end_to_end", "taskyard_postgres")),
    Goal("6a", "SQLite, submit one by one ÷ raw commits", 0.7, 0.85, _over("commits.sqlite.ours", "commits.sqlite.raw")),
    Goal("6b", "PostgreSQL, submit one by one ÷ raw commits", 0.7, 0.85, _over("commits.postgresql.ours", "commits.postgresql.raw")),
    Goal("7", "PostgreSQL, bulk submit ÷ PgQueuer's", 0.7, 1.0, _over("taskyard_postgres.enqueue_bulk", "pgqueuer.enqueue_bulk")),
    Goal("8a", "SQLite, submit→start at 50/s, p50", 2, 1.5, _value("taskyard_sqlite.start_p50_ms"), True, "ms"),
    Goal("8b", "SQLite, submit→start at 50/s, p99", 5, 3, _value("taskyard_sqlite.start_p99_ms"), True, "ms"),
    Goal("9a", "PostgreSQL, submit→start at 50/s, p50", 4, 2.5, _value("taskyard_postgres.start_p50_ms"), True, "ms"),
    Goal("9b", "PostgreSQL, submit→start at 50/s, p99", 10, 5, _value("taskyard_postgres.start_p99_ms"), True, "ms"),
    Goal("9c", "PostgreSQL, submit→start p50 ÷ the quickest durable peer", 0.9, 0.6, _over_quickest, True),
    Goal("10a", "SQLite, submit→done seen by a waiting client, p50", 4, 2.5, _value("waited.sqlite.done_p50_ms"), True, "ms"),
    Goal("10b", "PostgreSQL, submit→done seen by a waiting client, p50", 6, 4, _value("waited.postgresql.done_p50_ms"), True, "ms"),
    Goal("11a", "SQLite, durable POST at 32 ÷ without a store", 0.4, 0.5, _over("http.sqlite.post_32", "http.sqlite.bare")),
    Goal("11b", "PostgreSQL, durable POST at 32 ÷ without a store", 0.3, 0.4, _over("http.postgresql.post_32", "http.postgresql.bare")),
    Goal("12a", "SQLite, durable POST at 32 ÷ FastAPI with the same commit", 2, 3, _over("http.sqlite.post_32", "http.sqlite.fastapi")),
    Goal("12b", "PostgreSQL, durable POST at 32 ÷ FastAPI with the same commit", 2, 3, _over("http.postgresql.post_32", "http.postgresql.fastapi")),
    Goal("13a", "SQLite, worst p50 of the moves and looks, 5 M records or 10 k blocked ÷ 10 k", 1.5, 1.2, _value("long.sqlite.worst_growth"), True),
    Goal("13b", "PostgreSQL, the same", 1.5, 1.2, _value("long.postgresql.worst_growth"), True),
    Goal("14", "PostgreSQL, claim p50 after churn without vacuum ÷ fresh", 2.5, 1.5, _value("long.postgresql.churn"), True),
    Goal("15", "PostgreSQL, settling after ANALYZE when empty, pending, running: worst ÷ best", 0.5, 0.8, _value("long.postgresql.analyze")),
    Goal("16a", "SQLite, CPU of the worker per no-op task", 120, 60, _value("taskyard_sqlite.worker_cpu_us"), True, "µs"),
    Goal("16b", "PostgreSQL, CPU of the worker per no-op task", 120, 60, _value("taskyard_postgres.worker_cpu_us"), True, "µs"),
    Goal("16c", "PostgreSQL, CPU of the database per no-op task", 100, 60, _value("taskyard_postgres.database_cpu_us"), True, "µs"),
    Goal("17", "process handlers ÷ ProcessPoolExecutor", 2, 3, _over("processes.children", "processes.pool")),
    Goal("18a", "SQLite, a worker over HTTP ÷ one on the database, drain", 0.5, 0.8, _over("over_http.sqlite", "taskyard_sqlite.drain")),
    Goal("18b", "PostgreSQL, a worker over HTTP ÷ one on the database, drain", 0.5, 0.8, _over("over_http.postgresql", "taskyard_postgres.drain")),
)  # fmt: skip


def judged(found: Medians) -> list[tuple[Goal, float | None]]:
    """Return each goal with its value; None where what it needs was not measured."""
    answers: list[tuple[Goal, float | None]] = []
    for goal in GOALS:
        try:
            answers.append((goal, goal.value(found)))
        except (KeyError, ValueError, ZeroDivisionError):
            answers.append((goal, None))
    return answers


def verdict(goal: Goal, value: float | None) -> str:
    if value is None:
        return "not measured"
    if goal.meets(value, goal.reach):
        return "reached"
    return "met" if goal.meets(value, goal.must) else "not met"
