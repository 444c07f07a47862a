"""
A simulation that cannot fail proves nothing: each test takes one guard away, and the simulation finds out within a few histories.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from taskyard.core.worker import Worker
from taskyard.service import claims, flow, settling, tasks
from taskyard.service.accounts import Accounts
from taskyard.service.feed import Feed, FeedPage
from taskyard.service.tasks import Tasks
from taskyard.service.work import Work
from taskyard.store.events import EventRecords
from taskyard.store.schedules import ScheduleRecords
from taskyard.store.sqlite import engine
from taskyard.store.statements import Texts, shared
from tests.simulation.checks import Broken
from tests.simulation.disk import Disk
from tests.simulation.machine import simulated_machine
from tests.simulation.run import folder, history, quiet
from tests.simulation.world import World

#: Most are found in the first history; a few need a rare meeting.
SEEDS: Final = 80
MOVES: Final = 700


@pytest.fixture
def disk() -> Iterator[Disk]:
    with tempfile.TemporaryDirectory(dir=folder()) as place, quiet(), simulated_machine():
        yield Disk(Path(place) / "yard.db")


def found(disk: Disk) -> str:
    """Return what the simulation says is broken."""
    for seed in range(SEEDS):
        world = World(seed, disk)
        try:
            history(world, MOVES)
        except Broken as broken:
            return str(broken)
    pytest.fail(f"nothing was found in {SEEDS} histories")


def test_nothing_is_found_while_every_guard_stands(disk):
    for seed in range(3):
        history(World(seed, disk), MOVES)


# -- guards in SQL -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """Text that is taken out of a statement, or replaced, and what the simulation says then."""

    name: str
    statement: str
    text: str
    by: str
    says: str


CUTS: Final = [
    Cut(
        "the fence of a settlement",
        "settle_attempts",
        "tasks.claims = given.claims AND ",
        "",
        "G2 a stale end was taken",
    ),
    Cut(
        "the holder of a settlement",
        "settle_attempts",
        "tasks.holder = given.holder AND ",
        "",
        "G2 a stale end was taken",
    ),
    Cut(
        "the fence of steps, results and logs",
        "holds_attempt",
        "claims = :claims AND holder = :holder AND state = 'running'",
        "1",
        "G2 a stale attempt",
    ),
    Cut("the lease of a beat", "beat", "lease_until >= :now", "1", "G2 a worker rose from the dead"),
    Cut(
        "the lease of a person",
        "extend_lease",
        "AND lease_until >= :now",
        "",
        "G2 a lease that had run out was extended",
    ),
    Cut(
        "that a claim moves the fence", "claim_ready", "claims = claims + 1, ", "", "G2 a claim did not move"
    ),
    Cut(
        "the order of a lane",
        "claim_ready",
        "ORDER BY priority DESC, run_at, number",
        "ORDER BY number DESC",
        "a task was overtaken",
    ),
    Cut(
        "the time a task must have started by",
        "claim_ready",
        " AND (start_by IS NULL OR start_by > {at::now} OR started_at IS NOT NULL)",
        "",
        "an expired task started",
    ),
    Cut("what a beat is told to stop", "stops_of_holder", "IS NOT NULL", "IS NULL", "G5 a beat did not tell"),
    Cut(
        "the first write of a step",
        "insert_step",
        "DO NOTHING",
        "DO UPDATE SET output = EXCLUDED.output",
        "a step was remembered twice",
    ),
    Cut(
        "how long ended tasks are kept",
        "finished_numbers",
        "finished_at < :before",
        "finished_at < :before + 200000000",
        "G1 a task was removed too early",
    ),
    Cut("the order of the feed", "read_feed", "{feed_after}", "seq >= :seq", "G7 the feed went back"),
    Cut(
        "the wake-up of what waits",
        "waking_tasks",
        "wake_at <= :now",
        "wake_at <= :now AND 0",
        "G4 a task never ended",
    ),
]


def without(cut: Cut) -> Texts:
    texts = shared()
    statement = texts.statements[cut.statement]
    assert cut.text in statement.text, "the guard reads otherwise now"
    changed = replace(statement, text=statement.text.replace(cut.text, cut.by))
    return replace(texts, statements={**texts.statements, cut.statement: changed})


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.name)
def test_a_guard_in_sql_is_missed(cut, disk, monkeypatch):
    texts = without(cut)
    engine._text.cache_clear()
    monkeypatch.setattr(engine, "shared", lambda: texts)
    try:
        assert cut.says in found(disk)
    finally:
        engine._text.cache_clear()


# -- guards in services -------------------------------------------------------------------------------------------------------


def all_of(picked: Any) -> list[int]:
    return [number for number, _ in picked]


def feed_that_skips(self: Feed, records: Any, actor: Any, after: Any = None, **named: Any) -> FeedPage:
    page = _read(self, records, actor, after, **named)
    return FeedPage(page.events, records.events.end())


_read = Feed.read
_lose = Work._lose
_append = EventRecords.append_task


def append_all_but(kind: str) -> Callable[..., None]:
    def append(self: EventRecords, what: str, *args: Any, **named: Any) -> None:
        if what != kind:
            _append(self, what, *args, **named)

    return append


def is_listed(worker: Worker | None) -> bool:
    return worker is not None and worker.state in ("active", "draining")


#: What is replaced, by what, and what the simulation says then.
REMOVED: Final[dict[str, tuple[Any, str, Any, str]]] = {
    "the limit of a queue": (
        Work,
        "_within_limits",
        lambda self, records, queue, log, picked: all_of(picked),
        "G10",
    ),
    "the rate of a queue": (claims, "starts_left", lambda *_: 1_000, "G10 rate of a queue"),
    "the slots of a key, when submitted": (tasks, "take_slots", lambda *_: True, "G10 slots"),
    "the slots of a key, when due": (flow, "take_slots", lambda *_: True, "G10 slots"),
    "slots given on": (settling, "after_slots", lambda *_: None, "G4 waits for a slot that is free"),
    "ends that set others going": (settling, "after_ends", lambda *_: None, "G4 waits for"),
    "the lease of a worker": (
        settling,
        "lives",
        lambda records, organisation, worker: is_listed(records.workers.get(organisation, worker)),
        "G2 a stale end was taken",
    ),
    "what dead workers held": (Work, "_lose", lambda *_: None, "G4 held by a worker"),
    "the record of a request": (Accounts, "keep", lambda *_: None, "G9"),
    "the look at the record of a request": (Accounts, "replay", lambda *_: None, "G9 a repeat was refused"),
    "an instant that is fired once": (
        ScheduleRecords,
        "fire",
        lambda *_, **__: True,
        "G6",
    ),
    "the event of a cancel": (EventRecords, "append_task", append_all_but("canceled"), "G7 the events tell"),
    "the event of a start": (EventRecords, "append_task", append_all_but("started"), "G7 the events tell"),
    "a feed that leaves nothing out": (Feed, "read", feed_that_skips, "G7 the feed missed something"),
    "the cancel of a task whose worker died": (
        Work,
        "_lose",
        lambda self, records, held: _lose(
            self, records, [replace(task, cancel_requested_at=None) for task in held]
        ),
        "G5",
    ),
}


@pytest.mark.parametrize("guard", REMOVED)
def test_a_guard_in_a_service_is_missed(guard, disk, monkeypatch):
    place, name, by, says = REMOVED[guard]
    monkeypatch.setattr(place, name, by)
    assert says in found(disk)


def test_a_unique_key_is_missed(disk, monkeypatch):
    disk.raw.execute("DROP INDEX tasks_key")
    cut = Cut(
        "",
        "insert_tasks",
        "ON CONFLICT (organisation, key) WHERE key IS NOT NULL AND state IN ('scheduled', 'ready', 'suspended', 'running') DO NOTHING",
        "",
        "",
    )
    texts = without(cut)
    engine._text.cache_clear()
    monkeypatch.setattr(engine, "shared", lambda: texts)
    monkeypatch.setattr(Tasks, "_taken", lambda *_: None)
    try:
        assert "a key twice among the open" in found(disk)
    finally:
        engine._text.cache_clear()
