"""The reckoning: what was acknowledged, what the database and its feed say became of it, and what the handlers wrote down themselves."""

import itertools
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from taskyard.client import Client
from tests.drill.machines import Kill

TERMINAL = ("task.succeeded", "task.failed", "task.canceled")


@dataclass(frozen=True)
class Run:
    """One attempt as its handler wrote it down; times are the machine's monotonic clock."""

    pid: int
    began: float
    ended: float | None


@dataclass
class Reckoning:
    acknowledged: int
    succeeded: int
    poisoned: int
    #: What must be nothing: the name of a promise, and examples of how it broke.
    broken: dict[str, list[str]] = field(default_factory=dict)
    run_again: int = 0
    at_once: int = 0
    events: int = 0
    #: From which kill until when what the killed worker held ran elsewhere, one for each attempt that it held.
    recoveries: list[tuple[float, float]] = field(default_factory=list)
    #: The same until the database had taken it from the dead and it could be claimed again.
    taken: list[tuple[float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    id: str
    number: int
    state: str
    reason: str | None
    claims: int
    attempt: int | None
    pid: int | None


def reckon(folder: Path, database: str, client: Client, kills: Sequence[Kill]) -> Reckoning:
    acknowledged = dict(line.split() for line in (folder / "acknowledged").read_text().splitlines())
    rows = {row.id: row for row in _rows(database)}
    runs = _ledgers(folder / "ledgers")
    ends, starts, losses, events = _feed(client)
    broken: dict[str, list[str]] = {
        "lost": [
            f"{id}: {rows[id].state if id in rows else 'is not there'}"
            for id in acknowledged
            if id not in rows or rows[id].state not in ("succeeded", "failed")
        ],
        "acknowledged, then failed": [
            f"{row.id}: {row.reason}"
            for row in rows.values()
            if row.state == "failed" and row.reason != "poisoned"
        ],
        "submitted twice": [
            f"number {number}: {count} tasks"
            for number, count in Counter(row.number for row in rows.values()).items()
            if count > 1
        ],
        "settled twice, by the feed": [f"{id}: {kinds}" for id, kinds in ends.items() if len(kinds) > 1],
        "settled and not told": [row.id for row in rows.values() if not ends.get(row.id)],
        "one attempt given to two, by the feed": [
            f"{id}: {attempts}" for id, attempts in starts.items() if len(set(attempts)) < len(attempts)
        ],
        "one attempt run twice, by the ledgers": [
            f"{id}, attempt {attempt}" for (id, attempt), each in runs.items() if len(each) > 1
        ],
        "settled by an attempt that no ledger knows": [
            f"{row.id}, attempt {row.attempt}" for row in rows.values() if not _known(row, runs)
        ],
        "kept from the feed": _missed(database, events),
    }
    return Reckoning(
        acknowledged=len(acknowledged),
        succeeded=sum(row.state == "succeeded" for row in rows.values()),
        poisoned=sum(row.reason == "poisoned" for row in rows.values()),
        broken=broken,
        run_again=sum(map(len, runs.values())) - len({id for id, _ in runs}),
        at_once=sum(_overlaps(each) for each in _by_task(runs, kills).values()),
        events=events,
        recoveries=list(_recoveries(runs, kills)),
        taken=list(_taken(runs, kills, losses)),
    )


def _rows(database: str) -> Iterator[Row]:
    with psycopg.connect(database) as raw:
        found = raw.execute("SELECT id, input, state, reason, claims, output FROM taskyard.tasks")
        for id, input, state, reason, claims, output in found:
            said = json.loads(output) if output else {}
            number = json.loads(input)["number"]
            yield Row(id, number, state, reason, claims, said.get("attempt"), said.get("pid"))


def _ledgers(folder: Path) -> dict[tuple[str, int], list[Run]]:
    runs: dict[tuple[str, int], list[Run]] = defaultdict(list)
    for file in folder.iterdir():
        began: dict[tuple[str, int], list[float]] = defaultdict(list)
        ended: dict[tuple[str, int], list[float]] = defaultdict(list)
        for line in file.read_text().splitlines():
            id, attempt, what, at = line.split()
            (began if what == "began" else ended)[id, int(attempt)].append(float(at))
        for key, times in began.items():
            ends: list[float | None] = [*ended[key], *([None] * len(times))]
            runs[key] += [Run(int(file.name), at, end) for at, end in zip(times, ends, strict=False)]
    return runs


def _feed(
    client: Client,
) -> tuple[dict[str, list[str]], dict[str, list[int]], dict[tuple[str, int], float], int]:
    """
    Read the feed over HTTP from its beginning; return how each task ended, which attempts were started, when which were lost (by
    the monotonic clock), and how many events there are.
    """
    wall = time.time() - time.monotonic()
    losses: dict[tuple[str, int], float] = {}
    ends: dict[str, list[str]] = defaultdict(list)
    starts: dict[str, list[int]] = defaultdict(list)
    count = 0
    for event in client.events(follow=False):
        count += 1
        if event.kind in TERMINAL:
            ends[event.subject].append(event.kind)
        elif event.kind == "task.started":
            starts[event.subject].append(event.data["attempt"])
        elif event.kind == "task.lost":
            losses[event.subject, event.data["attempt"]] = event.at.timestamp() - wall
    return ends, starts, losses, count


def _missed(database: str, read: int) -> list[str]:
    with psycopg.connect(database) as raw:
        row = raw.execute("SELECT count(*) FROM taskyard.events").fetchone()
    assert row is not None
    return [] if row[0] <= read else [f"{row[0] - read} of {row[0]} events"]


def _known(row: Row, runs: dict[tuple[str, int], list[Run]]) -> bool:
    if row.state != "succeeded":
        return True
    return any(
        run.pid == row.pid and run.ended is not None for run in runs.get((row.id, row.attempt or 0), ())
    )


def _by_task(
    runs: dict[tuple[str, int], list[Run]], kills: Sequence[Kill]
) -> dict[str, list[tuple[float, float]]]:
    """Return from when until when each task ran, attempt by attempt; what was killed ran until then."""
    killed = {kill.pid: kill.at for kill in kills}
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for (id, _), each in runs.items():
        spans[id] += [(run.began, run.ended or killed.get(run.pid, run.began)) for run in each]
    return spans


def _overlaps(spans: list[tuple[float, float]]) -> int:
    spans.sort()
    return sum(after[0] < before[1] for before, after in itertools.pairwise(spans))


def _recoveries(
    runs: dict[tuple[str, int], list[Run]], kills: Sequence[Kill]
) -> Iterator[tuple[float, float]]:
    killed = {kill.pid: kill.at for kill in kills}
    for (id, attempt), each in runs.items():
        again = runs.get((id, attempt + 1))
        if again and (at := killed.get(each[0].pid)) is not None:
            yield at, again[0].began


def _taken(
    runs: dict[tuple[str, int], list[Run]], kills: Sequence[Kill], losses: dict[tuple[str, int], float]
) -> Iterator[tuple[float, float]]:
    killed = {kill.pid: kill.at for kill in kills}
    for key, lost in losses.items():
        if key in runs and (at := killed.get(runs[key][0].pid)) is not None:
            yield at, lost
