"""A yard for what takes long: the services on a store, short words for the moves, and a way past them to the database."""

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
from taskyard.core.task import NewTask, Task
from taskyard.core.worker import Lane
from taskyard.service.services import build_services
from taskyard.service.tasks import Submission
from taskyard.store.engine import Database
from taskyard.store.postgres import PostgresDatabase
from taskyard.store.sqlite import SqliteDatabase
from taskyard.store.store import Store

BATCH = 100
LANES = (Lane("default", "noop"),)
Run = Callable[[str], list[Any]]


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
def yard_on(servers: Servers, store: str) -> Iterator[tuple[LongYard, Run]]:
    """Within: a yard on a fresh database, and what runs a statement there that no service has."""
    url = servers.fresh(store)
    database: Any
    if store == "sqlite":
        database = SqliteDatabase(Path(url), lambda: datetime.now(UTC))
        database.migrate()
        raw = database.connect(writes=True)._raw

        def run(text: str) -> list[Any]:
            return list(raw.execute(text))
    else:
        database = PostgresDatabase(url)
        database.migrate()
        import psycopg

        raw = psycopg.connect(url, autocommit=True)
        raw.execute("SET search_path = taskyard")

        def run(text: str) -> list[Any]:
            answer = raw.execute(text.encode())
            return answer.fetchall() if answer.description else []

    yard = LongYard(database)
    try:
        yield yard, run
    finally:
        raw.close()
        yard.store.close()


def timed(work: Callable[[], Any], times: int) -> float:
    """Return the median of some runs in milliseconds."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1e3)
    return median(taken)
