"""
Cut the power at every point of a scripted history: ``python -m tests.chaos.power``.

A history is run once on a disk that remembers how it was written. Then, for each of its steps, what the disk may hold when the
power goes there is put into a folder and opened: the file is whole, it says exactly what was acknowledged last (or what was about to
be), nothing that was settled can be settled again, and work goes on. The same is done where each sync in turn fails.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import apsw

from taskyard.core.actor import Actor
from taskyard.core.errors import Broken, LeaseLost, TaskyardError
from taskyard.core.hold import Hold, Settlement
from taskyard.core.outcome import Done, Failed, Later, Outcome, Waits
from taskyard.core.task import NewTask, State, Task
from taskyard.core.worker import Lane
from taskyard.service.holds import lives
from taskyard.service.services import Services, build_services
from taskyard.service.tasks import Submission
from taskyard.store.records import Records
from taskyard.store.sqlite import SqliteDatabase
from taskyard.store.store import Store
from tests.chaos.disk import Platter, RecordingDisk, put

START: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LANES: Final = [Lane("default", "resize")]
LEASE: Final = timedelta(seconds=30)
VARIANTS: Final = ("dropped", "kept", "prefix", "torn", "shuffled")
MOVES: Final = 60

#: Everything that is in a yard, by table: what two yards have in common when they are the same.
Dump = tuple[tuple[str, tuple[Any, ...]], ...]


def dump(raw: apsw.Connection) -> Dump:
    tables = raw.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    ).fetchall()
    return tuple((name, tuple(sorted(raw.execute(f"SELECT * FROM {name}"), key=repr))) for (name,) in tables)


class Lost(AssertionError):
    """A promise was broken."""


@dataclass(slots=True)
class Yard:
    """A yard whose clock and ids are the history's own, so that two runs of one history write the same."""

    path: Path
    vfs: str | None = None
    now: datetime = START
    made: int = 0
    failures: list[Exception] = field(default_factory=list)
    organisation: int = 1
    store: Store = field(init=False)
    services: Services = field(init=False)

    def open(self) -> None:
        database = SqliteDatabase(self.path, lambda: self.now, vfs=self.vfs)
        database.migrate()
        self.store = Store(database, self.failures.append)
        self.services = build_services(self.new_id, lambda: 0.0)

    def new_id(self) -> str:
        self.made += 1
        return str(UUID(int=(int(self.now.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62) | self.made))

    @property
    def actor(self) -> Actor:
        return Actor(organisation=self.organisation, identity="user:1")

    def found(self) -> None:
        self.store.write(lambda r: r.accounts.insert_organisation("default", "Default", {}, r.now))

    def dump(self) -> Dump:
        return self.store.read(lambda r: dump(r.connection._raw))

    def submit(self, *news: NewTask) -> list[Task]:
        answers = self.store.together(
            self.services.tasks.submit, [Submission(self.actor, new) for new in news]
        )
        return [answer for answer in answers if isinstance(answer, Task)]

    def register(self) -> str:
        id = self.new_id()

        def register(r: Records) -> None:
            self.services.work.register(r, self.actor, id=id, name="w", lanes=LANES, slots=9, lease=LEASE)

        self.store.write(register)
        return id

    def claim(self, worker: str, limit: int) -> list[Task]:
        return self.store.write(lambda r: self.services.work.claim(r, self.actor, worker, LANES, limit))

    def settle(self, *settlements: Settlement) -> list[Any]:
        return self.store.together(self.services.work.settle, list(settlements))

    def do(self, move: Callable[..., Any], *arguments: Any) -> Any:
        return self.store.write(lambda r: move(r, *arguments))


@dataclass(frozen=True, slots=True)
class Commit:
    """One move: it was asked for when the disk had done *asked* steps, and acknowledged after *told*; then the yard was as *after*."""

    asked: int
    told: int
    after: Dump


@dataclass(slots=True)
class History:
    """
    A script of moves, the same for the same seed.

    Args:
        fails: Says of the n-th sync of the disk whether it fails.
    """

    seed: int
    folder: Path
    fails: Callable[[int], bool] = lambda _: False
    disk: RecordingDisk = field(init=False)
    yard: Yard = field(init=False)
    commits: list[Commit] = field(default_factory=list)
    settled: list[tuple[int, Settlement]] = field(default_factory=list)
    acknowledged: int = 0
    broken_at: int | None = None
    _held: list[Task] = field(default_factory=list)
    _worker: str = ""
    _chance: random.Random = field(init=False)

    def run(self, moves: int = MOVES) -> "History":
        self._chance = random.Random(self.seed)
        self.disk = RecordingDisk(self.fails)
        self.yard = Yard(self.folder / "yard.db", self.disk.name)
        try:
            self.yard.open()
            self._move(self.yard.found)
            self._register()
            for _ in range(moves):
                self._chance.choice(MENU)(self)
        except Broken:
            self._broke()
        else:
            self.yard.store.close()
        return self

    def _broke(self) -> None:
        """The disk failed: from here on everything is refused, and whoever runs the server is told once."""
        self.broken_at = len(self.disk.steps)
        if not hasattr(self.yard, "store"):
            return
        if len(self.yard.failures) != 1:
            raise Lost(f"the failure was told {len(self.yard.failures)} times")
        with suppress(Broken):
            self.yard.submit(NewTask(type="resize"))
            raise Lost("a task was acknowledged after an fsync had failed")
        self.yard.store.close()

    def _move(self, move: Callable[..., Any], *arguments: Any) -> Any:
        """Do one move, which is one commit, and remember when it was asked for and told, and what the yard was then."""
        asked = len(self.disk.steps)
        answer = move(*arguments)
        told = len(self.disk.steps)
        self.commits.append(Commit(asked, told, self.yard.dump()))
        return answer

    def _register(self) -> None:
        self._worker = self._move(self.yard.register)

    # -- what may happen -----------------------------------------------------------------------------------------------------

    def submit(self) -> None:
        chance = self._chance
        news = [
            NewTask(
                type="resize",
                input="x" * chance.choice((3, 300, 3_000, 30_000)),
                labels={"colour": chance.choice(("red", "blue"))},
                priority=chance.randrange(3),
                concurrency_key=chance.choice((None, None, "gpu")),
            )
            for _ in range(chance.choice((1, 1, 1, 5)))
        ]
        self.acknowledged += len(self._move(self.yard.submit, *news))

    def claim(self) -> None:
        if self._alive():
            self._held += self._move(self.yard.claim, self._worker, 3)

    def settle(self) -> None:
        outcomes: list[Outcome] = [Done("y" * 2_000), Failed("no"), Later(LEASE), Waits(events=("go",))]
        some = [
            Settlement(Hold.of(task), self._chance.choice(outcomes), log="said\n") for task in self._held[:2]
        ]
        del self._held[:2]
        for settlement, answer in zip(some, self._move(self.yard.settle, *some), strict=True):
            if not isinstance(answer, Exception):
                self.settled.append((len(self.disk.steps), settlement))

    def report(self) -> None:
        if self._held:
            work, hold = self.yard.services.work, Hold.of(self._held[0])
            step = f"step {self._chance.randrange(3)}"
            self._move(self._allowed, work.finish_step, hold, step, "z" * 500)

    def cancel(self) -> None:
        tasks = [row for name, rows in self.yard.dump() if name == "tasks" for row in rows]
        if tasks:
            id = self._chance.choice(tasks)[1]
            self._move(self._allowed, self.yard.services.tasks.cancel, self.yard.actor, [id])

    def send(self) -> None:
        self._move(self._allowed, self.yard.services.tasks.send, self.yard.actor, "go", {"by": "all"})

    def pass_time(self) -> None:
        self.yard.now += self._chance.choice((timedelta(seconds=5), timedelta(minutes=1)))
        self._move(self.yard.do, self.yard.services.tasks.become_due, 100)
        self._move(self.yard.do, self.yard.services.work.reap, 100)
        self._held = [task for task in self._held if self._alive()]
        if not self._alive():
            self._register()

    def checkpoint(self) -> None:
        with suppress(Broken):  # whose loop says so and goes on: the log still has it all
            self.yard.store.database._restart = self._chance.random() < 0.5
            self.yard.store.database.maintain()

    def reopen(self) -> None:
        self.yard.store.close()
        self.yard.open()

    def _allowed(self, move: Callable[..., Any], *arguments: Any) -> None:
        with suppress(Refused):
            self.yard.do(_unless_refused, move, *arguments)

    def _alive(self) -> bool:
        return self.yard.store.read(lambda records: lives(records, self.yard.organisation, self._worker))


class Refused(Exception):
    pass


def _unless_refused(records: Records, move: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return move(records, *arguments)
    except Broken:
        raise
    except TaskyardError as refusal:
        raise Refused from refusal


MENU: Final[tuple[Callable[[History], None], ...]] = (
    *(History.submit,) * 4,
    *(History.claim,) * 4,
    *(History.settle,) * 4,
    *(History.report,) * 2,
    History.cancel,
    History.send,
    *(History.pass_time,) * 2,
    *(History.checkpoint,) * 2,
    History.reopen,
)


# -- what is left ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """What cuts of one kind came to."""

    cuts: int = 0
    disks: int = 0
    acknowledged: int = 0
    rerun: int = 0
    broken: list[str] = field(default_factory=list)
    recovered: list[float] = field(default_factory=list)


def allowed(commits: list[Commit], at: int) -> list[Dump]:
    """
    Return what a yard may be after a power cut when the disk had done *at* steps: as told last, or as asked for since; nothing
    when it may be anything.
    """
    told = [commit for commit in commits if commit.told <= at]
    if not told:
        return []  # nothing was promised yet
    begun = [commit for commit in commits if commit.asked < at < commit.told]
    return [commit.after for commit in (*told[-1:], *begun)]


def cut(
    history: History,
    reference: History,
    variant: str,
    folder: Path,
    tally: Tally,
    *,
    every: int = 1,
    since: int = 0,
) -> None:
    """Cut the power of *history* at every so many steps from *since* on; *reference* is the same one on a disk that did not fail."""
    platter, chance = Platter(), random.Random(f"{history.seed} {variant}")
    seen: set[int] = set()
    for at in range(len(history.disk.steps) + 1):
        if at >= since and (at - since) % every == 0:
            tally.cuts += 1
            left = getattr(platter, variant)(*([] if variant in ("dropped", "kept") else [chance]))
            may_be = allowed(history.commits, at)
            if may_be and history.broken_at is not None and at > history.commits[-1].told:
                may_be += _asked_for(history, reference)
            mark = hash((tuple(sorted(left.items())), len(may_be), hash(may_be[0]) if may_be else 0))
            if mark not in seen:
                seen.add(mark)
                tally.disks += 1
                try:
                    _look(history, left, at, may_be, folder, tally)
                except Exception as error:
                    where = f"seed {history.seed}, {variant}, cut after step {at}"
                    tally.broken.append(f"{where}: {type(error).__name__}: {error}"[:300])
        if at < len(history.disk.steps):
            platter.take(history.disk.steps[at])


def _asked_for(history: History, reference: History) -> list[Dump]:
    """Return what the yard would have been after the move that the disk failed: it may be there although nobody was told."""
    done = len(history.commits)
    return [reference.commits[done].after] if done < len(reference.commits) else []


def _look(
    history: History, left: dict[str, bytes], at: int, may_be: list[Dump], folder: Path, tally: Tally
) -> None:
    """See that what is *left* is a yard that keeps what was promised, and works on."""
    put(left, folder)
    began = time.monotonic()
    yard = Yard(folder / "yard.db", now=history.yard.now + timedelta(hours=1), made=10**6)
    yard.open()
    try:
        found = yard.dump()
        tally.recovered.append(time.monotonic() - began)
        whole = yard.store.read(lambda r: r.connection._raw.pragma("integrity_check"))
        if whole != "ok":
            raise Lost(f"the file is not whole: {whole}")
        if may_be and found not in may_be:
            raise Lost(_difference(found, may_be[0]))
        tally.acknowledged += len(dict(may_be[0])["tasks"]) if may_be else 0
        if not dict(found)["organisations"]:
            yard.found()
        again = [settlement for told, settlement in history.settled if told <= at]
        for answer in yard.settle(*again):
            if not isinstance(answer, LeaseLost):
                raise Lost(f"what was settled is settled again: {answer}")
        tally.rerun += _go_on(yard)
    finally:
        yard.store.close()


def _go_on(yard: Yard) -> int:
    """Work on until nothing is left to do; return how many tasks were run again. Raises Lost."""
    yard.submit(NewTask(type="resize"))
    yard.do(yard.services.tasks.become_due, 1000)
    yard.do(yard.services.work.reap, 1000)
    worker, again = yard.register(), 0
    while claimed := yard.claim(worker, 100):
        again += sum(task.claims > 1 for task in claimed)
        for answer in yard.settle(*(Settlement(Hold.of(task), Done()) for task in claimed)):
            if isinstance(answer, Exception):
                raise Lost(f"a task cannot be settled: {answer}")
    raw = yard.dump()
    ends: dict[str, int] = {}
    for row in dict(raw)["events"]:
        if row[4] in ("task.succeeded", "task.failed", "task.canceled"):
            ends[row[5]] = ends.get(row[5], 0) + 1
    for row in dict(raw)["tasks"]:
        if ends.get(row[1], 0) != (State(row[5]) in (State.SUCCEEDED, State.FAILED, State.CANCELED)):
            raise Lost(f"task {row[1]} is {row[5]} and ended {ends.get(row[1], 0)} times")
        if State(row[5]) not in (State.SUCCEEDED, State.FAILED, State.CANCELED, State.SUSPENDED):
            raise Lost(f"task {row[1]} is {row[5]} for ever")
    return again


def _difference(found: Dump, told: Dump) -> str:
    for (name, rows), (_, rows_told) in zip(found, told, strict=True):
        missing = set(rows_told) - set(rows)
        if missing:
            return f"{len(missing)} rows of {name} are lost, such as {sorted(missing, key=repr)[0]!r}"
    return "there is more than was told or asked for"


# -- all of it ---------------------------------------------------------------------------------------------------------------


def fast_folder() -> Path | None:
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else None


def cut_everywhere(
    seeds: Iterable[int], *, moves: int = MOVES, every: int = 1
) -> Iterator[tuple[str, Tally]]:
    """Cut the power of some histories; yield what each kind of cut came to."""
    tallies = {variant: Tally() for variant in VARIANTS}
    for seed in seeds:
        with (
            tempfile.TemporaryDirectory(dir=fast_folder()) as there,
            tempfile.TemporaryDirectory(dir=fast_folder()) as here,
        ):
            history = History(seed, Path(there)).run(moves)
            for variant, tally in tallies.items():
                cut(history, history, variant, Path(here), tally, every=every)
    yield from tallies.items()


def fail_everywhere(seed: int, *, moves: int = MOVES, every: int = 1, cut_every: int = 23) -> Tally:
    """Let each sync of a history fail in turn, and cut the power at some later points too."""
    tally = Tally()
    with tempfile.TemporaryDirectory(dir=fast_folder()) as there:
        reference = History(seed, Path(there)).run(moves)
    for failing in range(1, reference.disk.syncs + 1, every):
        with (
            tempfile.TemporaryDirectory(dir=fast_folder()) as there,
            tempfile.TemporaryDirectory(dir=fast_folder()) as here,
        ):
            try:
                history = History(seed, Path(there), fails=lambda n, failing=failing: n == failing).run(moves)
            except Lost as error:
                tally.broken.append(f"seed {seed}, sync {failing} fails: {error}")
                continue
            failed = next(i for i, step in enumerate(history.disk.steps) if getattr(step, "failed", False))
            for variant in ("dropped", "kept", "torn"):
                cut(history, reference, variant, Path(here), tally, every=cut_every, since=failed + 1)
    return tally


def row(what: str, tally: Tally, seconds: float) -> str:
    waits = sorted(tally.recovered) or [0.0]
    p50, p99 = waits[len(waits) // 2], waits[min(len(waits) - 1, len(waits) * 99 // 100)]
    return (
        f"{what:<28} {tally.cuts:>7,} {tally.disks:>7,} {tally.acknowledged:>12,} {len(tally.broken):>7} "
        f"{tally.rerun:>7,} {p50 * 1000:>7.1f} {p99 * 1000:>7.1f} {seconds:>6.1f}"
    )


HEAD: Final = (
    f"{'what was not synced':<28} {'cuts':>7} {'disks':>7} {'acknowledged':>12} {'broken':>7} {'re-run':>7} "
    f"{'p50 ms':>7} {'p99 ms':>7} {'s':>6}"
)


def main() -> int:
    parser = argparse.ArgumentParser(description="Cut the power at every point of scripted histories.")
    parser.add_argument("--seeds", type=int, default=2, help="how many histories")
    parser.add_argument("--first", type=int, default=1, help="the first of their seeds")
    parser.add_argument("--moves", type=int, default=MOVES, help="moves of each")
    parser.add_argument("--every", type=int, default=1, help="cut at each so-many-th step")
    options = parser.parse_args()
    broken: list[str] = []
    print(HEAD)
    began = time.monotonic()
    seeds = range(options.first, options.first + options.seeds)
    for variant, tally in cut_everywhere(seeds, moves=options.moves, every=options.every):
        print(row(variant, tally, time.monotonic() - began), flush=True)
        broken += tally.broken
    began = time.monotonic()
    for seed in seeds:
        tally = fail_everywhere(seed, moves=options.moves)
        print(row(f"each sync fails once, seed {seed}", tally, time.monotonic() - began), flush=True)
        broken += tally.broken
    for line in broken[:20]:
        print(line)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
