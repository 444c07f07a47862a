"""
``python -m benchmarks.profile``: where the CPU microseconds of one task go, by move and by floor, in batches of 100 on SQLite.

A timer of CPU time interrupts the program a thousand times a second; the innermost floor of the house that is at work then has
spent that millisecond. What is inside the driver and the database counts as the database's.
"""

import signal
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from uuid_utils import uuid7

from taskyard.core.actor import Actor
from taskyard.core.hold import Hold, Settlement
from taskyard.core.outcome import Done
from taskyard.core.task import NewTask
from taskyard.core.worker import Lane
from taskyard.service.services import build_services
from taskyard.service.tasks import Submission
from taskyard.store.records import Records
from taskyard.store.sqlite import SqliteDatabase

BATCH = 100
EVERY_S = 0.001
#: The innermost of these that is on the stack has the sample.
FLOORS = {
    "taskyard.store.sqlite": "SQLite and its driver",
    "taskyard.store": "store: rows to records and back, JSON, events",
    "taskyard.service": "service: checks, decisions, what follows",
    "taskyard.core": "core: validation, times, making records",
}
CALLER = "the caller: submissions, ids"


class Sampler:
    def __init__(self) -> None:
        self.move = ""
        self.spent: Counter[tuple[str, str]] = Counter()

    def start(self) -> None:
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _sample(self, _signal: int, frame: FrameType | None) -> None:
        if self.move:
            self.spent[self.move, _floor(frame)] += 1


def _floor(frame: FrameType | None) -> str:
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        for prefix, floor in FLOORS.items():
            if module.startswith(prefix):
                return floor
        frame = frame.f_back
    return CALLER


def profile(count: int) -> dict[tuple[str, str], float]:
    """Return the CPU µs per task by (move, floor)."""
    with tempfile.TemporaryDirectory(prefix="bench-profile-") as folder:
        database = SqliteDatabase(Path(folder) / "yard.db", lambda: datetime.now(UTC))
        database.migrate()
        records = Records(database.connect(writes=True))
        services = build_services(lambda: str(uuid7()), lambda: 0.5)
        worker, lanes = str(uuid7()), [Lane("default", "noop")]

        def write(work: Any) -> Any:
            records.begin()
            with records.connection.transaction():
                answer = work(records)
                records.end()
            return answer

        number = write(lambda r: r.accounts.insert_organisation("bench", "Bench", {}, r.now))
        actor = Actor(organisation=number, identity="user:1")
        write(lambda r: services.work.register(r, actor, id=worker, name="w", lanes=lanes, slots=BATCH, lease=timedelta(days=1)))  # fmt: skip
        sampler, cpu = Sampler(), Counter[str]()

        def moved(move: str, work: Any) -> Any:
            sampler.move = move
            began = time.thread_time()
            answer = work()
            cpu[move] += time.thread_time() - began  # type: ignore[assignment]
            sampler.move = ""
            return answer

        sampler.start()
        for _ in range(count // BATCH):
            moved("submit", lambda: write(lambda r: services.tasks.submit(r, [Submission(actor, NewTask(type="noop", input={"n": n})) for n in range(BATCH)])))  # fmt: skip
            held = moved(
                "claim", lambda: write(lambda r: services.work.claim(r, actor, worker, lanes, BATCH))
            )
            moved("settle", lambda held=held: write(lambda r: services.work.settle(r, [Settlement(Hold.of(task), Done({"ok": 1})) for task in held])))  # type: ignore[misc]  # fmt: skip
        sampler.stop()
        records.connection.close()
        database.close()
    totals = Counter[str]()
    for (move, _), samples in sampler.spent.items():
        totals[move] += samples
    return {
        (move, floor): samples / totals[move] * cpu[move] / count * 1e6
        for (move, floor), samples in sampler.spent.items()
    }


def table(spent: dict[tuple[str, str], float]) -> str:
    moves = ("submit", "claim", "settle")
    lines = ["| CPU µs per task | submit | claim | settle | together |", "|---|--:|--:|--:|--:|"]
    for floor in [*FLOORS.values(), CALLER]:
        each = [spent.get((move, floor), 0.0) for move in moves]
        lines.append(f"| {floor} | " + " | ".join(f"{value:.1f}" for value in [*each, sum(each)]) + " |")
    sums = [sum(value for (move, _), value in spent.items() if move == one) for one in moves]
    lines.append("| **together** | " + " | ".join(f"**{value:.1f}**" for value in [*sums, sum(sums)]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(profile(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)))
