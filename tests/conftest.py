"""What tests are given: a yard on a fresh database of each engine, with a clock they set."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from uuid_utils import uuid7

from taskyard.core.actor import Actor
from taskyard.core.hold import Hold, Settlement
from taskyard.core.outcome import Outcome
from taskyard.core.task import NewTask, Task
from taskyard.core.worker import LEASE, Lane
from taskyard.service.services import Services, build_services
from taskyard.service.tasks import Submission
from taskyard.store.engine import Database
from taskyard.store.postgres import PostgresDatabase
from taskyard.store.records import Records
from taskyard.store.sqlite import SqliteDatabase
from taskyard.store.store import Store
from taskyard.yard import Yard as Program
from tests.postgres import TestServer

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def new_id() -> str:
    return str(uuid7())


@dataclass
class Clock:
    """Time that stands still until a test moves it."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)


@dataclass
class Yard:
    """A store with its services, and short words for what tests do all the time."""

    store: Store
    services: Services
    clock: Clock
    organisation: int
    actor: Actor = field(init=False)

    def __post_init__(self) -> None:
        self.actor = Actor(organisation=self.organisation, identity="user:1", name="ana", number=1)

    def other_organisation(self, name: str = "other") -> Actor:
        number = self.store.write(lambda r: r.accounts.insert_organisation(name, name, {}, r.now))
        assert number is not None
        return Actor(organisation=number, identity="user:2", name="bo", number=2)

    def write(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Run a service in a transaction: ``yard.write(yard.services.tasks.retry, actor, id)``."""
        return self.store.write(lambda records: function(records, *args, **named))

    def read(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        return self.store.read(lambda records: function(records, *args, **named))

    def submit(self, type: str = "resize", *, actor: Actor | None = None, **named: Any) -> Task:
        new = NewTask(type=type, **named)
        [answer] = self.store.together(self.services.tasks.submit, [Submission(actor or self.actor, new)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def worker(self, *types: str, queue: str = "default", lease: timedelta = LEASE) -> "HiredWorker":
        lanes = [Lane(queue, type) for type in types or ("resize",)]
        id = new_id()
        self.write(
            self.services.work.register,
            self.actor,
            id=id,
            name="w",
            lanes=lanes,
            slots=10,
            lease=lease,
            version="1",
        )
        return HiredWorker(self, id, lanes, lease)

    def get(self, task: Task | str, *, actor: Actor | None = None) -> Task:
        id = task if isinstance(task, str) else task.id
        found = self.read(self.services.tasks.get, actor or self.actor, id)
        assert isinstance(found, Task)
        return found

    def settle(self, task: Task, outcome: Outcome, log: str | None = None) -> Task:
        [answer] = self.store.together(self.services.work.settle, [Settlement(Hold.of(task), outcome, log)])
        if isinstance(answer, Exception):
            raise answer
        return self.get(task)

    def due(self) -> int:
        """Do what the scheduler loop does once."""
        return int(self.write(self.services.tasks.become_due, 1000))

    def reap(self) -> int:
        return int(self.write(self.services.work.reap, 1000))

    def events(self, subject: str) -> list[str]:
        return [event.kind for event in self.read(lambda r: r.events.of_subject(self.organisation, subject))]


@dataclass
class HiredWorker:
    """A worker that does what a test says, one move at a time."""

    yard: Yard
    id: str
    lanes: list[Lane]
    lease: timedelta

    def claim(self, limit: int = 1) -> list[Task]:
        found = self.yard.write(self.yard.services.work.claim, self.yard.actor, self.id, self.lanes, limit)
        assert isinstance(found, list)
        return found

    def beat(self, **named: Any) -> Any:
        return self.yard.write(
            self.yard.services.work.beat, self.yard.actor, self.id, lease=self.lease, **named
        )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[TestServer]:
    """The PostgreSQL server of this run, started when the first test asks for it."""
    server = TestServer()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Database]:
    """A fresh, migrated database of each engine."""
    if request.param == "sqlite":
        embedded = SqliteDatabase(request.getfixturevalue("tmp_path") / "yard.db", clock)
        embedded.migrate()
        yield embedded
        return
    server: TestServer = request.getfixturevalue("postgres")
    url = server.borrow()
    yield PostgresDatabase(url, now=clock)
    server.give_back(url)


@pytest.fixture
def yard(database: Database, clock: Clock) -> Iterator[Yard]:
    store = Store(database)

    def first(records: Records) -> int:
        number = records.accounts.insert_organisation("default", "Default", {}, records.now)
        assert number is not None
        return number

    yield Yard(store, build_services(new_id, lambda: 0.0), clock, store.write(first))
    store.close()


@pytest.fixture
def program(database: Database) -> Iterator[Program]:
    """The yard of a program, as its users declare and open it, with the machine's clock, on a fresh database of each engine."""
    with Program(database.url) as program:
        yield program
