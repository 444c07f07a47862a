"""
Real processes, really killed: ``python -m tests.chaos.kills`` prints what each drill came to.

Each drill has a yard under load, does its harm again and again, lets the work come to its end, and counts: what was acknowledged
and is not there or never ended (lost), what ended more than once or by an attempt that was not the last (settled twice), and how
often a task was run again. Leases are short here, and a reaper looks every tenth of a second: a recovery takes the lease and what
is left of that. The exit code is 1 when a promise broke.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import apsw
import psycopg

from taskyard import Yard
from taskyard.client import Client
from taskyard.core.errors import TaskyardError, Unavailable
from taskyard.core.event import Cursor, Event
from taskyard.core.task import OPEN, NewTask, State, Task
from taskyard.loops.reaper import Reaper
from taskyard.store.postgres import PostgresDatabase
from taskyard.store.tasks import TaskFilter
from tests.chaos import test_disk
from tests.postgres import Cluster, with_database
from tests.served import Served, free_port, serving

WORKER: Final = Path(__file__).with_name("worker_process.py")
LEASE: Final = timedelta(seconds=1)
#: With work for all slots there is always something to be lost.
MOST_OPEN: Final = 40
PATIENCE_SECONDS: Final = 60.0
EVERYTHING: Final = 10**6
ENDS: Final = {"task.succeeded", "task.failed", "task.canceled"}


@dataclass(slots=True)
class Result:
    """What a drill came to. ``recovered`` holds seconds from each harm until what it stopped went on."""

    what: str
    times: int
    acknowledged: int
    lost: int
    twice: int
    rerun: int
    recovered: list[float]
    seconds: float
    broken: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def kept(self) -> bool:
        return not (self.lost or self.twice or self.broken)


HEAD: Final = (
    f"{'drill':<48} {'times':>5} {'acknowledged':>12} {'lost':>5} {'settled twice':>13} {'re-run':>6} "
    f"{'recovery p50':>12} {'p99':>7} {'took':>6}  note"
)


def row(result: Result) -> str:
    waits = sorted(result.recovered)
    p50 = f"{waits[len(waits) // 2]:.2f} s" if waits else "–"
    p99 = f"{waits[min(len(waits) - 1, len(waits) * 99 // 100)]:.2f} s" if waits else "–"
    return (
        f"{result.what:<48} {result.times:>5} {result.acknowledged:>12,} {result.lost:>5} {result.twice:>13} "
        f"{result.rerun:>6,} {p50:>12} {p99:>7} {result.seconds:>4.0f} s  {result.note}"
    )


# -- a yard under load -------------------------------------------------------------------------------------------------------


class Drill:
    """A yard with worker processes, somebody who submits, and a reaper."""

    def __init__(self, url: str, *, lease: timedelta = LEASE) -> None:
        self.program = Yard(url)
        self.program.open()
        self.url = url
        self.lease = lease
        self.acknowledged: list[str] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.began = time.monotonic()
        self._parts = self.program.open_parts()
        self._ending = threading.Event()
        self._fed = threading.Event()
        self._chance = random.Random(1)
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._feed, self._reap)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._fed.set()
        self._ending.set()
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.kill()
        for process in self.processes:
            process.wait()
        for thread in self._threads:
            thread.join()
        self.program.close()

    def read(self, look: Callable[[Any], Any]) -> Any:
        """Look until the database answers."""
        while True:
            try:
                return self._parts.store.read(look)
            except Unavailable:
                time.sleep(0.05)

    def start(self, *, isolation: str | None = None, slots: int = 4, bounded: bool = False) -> None:
        how = {
            "url": self.url,
            "lease_s": self.lease.total_seconds(),
            "restart": True,
            "isolation": isolation,
            "slots": slots,
            "bounded": bounded,
        }
        self.processes.append(
            subprocess.Popen(
                [sys.executable, WORKER, json.dumps(how)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    def submit(self, news: Sequence[NewTask]) -> list[str]:
        ids = [task.id for task in self.program.submit_many(news)]
        self.acknowledged += ids
        return ids

    def _feed(self) -> None:
        while not self._fed.is_set():
            with contextlib.suppress(Unavailable):
                if self.open() < MOST_OPEN:
                    self.submit([self._nap() for _ in range(10)])
                    continue
            self._fed.wait(0.02)

    def _nap(self) -> NewTask:
        seconds = round(self._chance.uniform(0.01, 0.2), 3)
        return self.program.new_task("nap", {"seconds": seconds}, max_failures=100)

    def _reap(self) -> None:
        reaper = Reaper(self._parts.store, self._parts.services)
        while not self._ending.wait(0.1):
            with contextlib.suppress(Unavailable):
                reaper.tick()

    def open(self) -> int:
        wanted = TaskFilter(states=tuple(OPEN))
        return int(self.read(lambda r: r.tasks.count(self._parts.actor.organisation, wanted)))

    def holders(self) -> dict[int, str]:
        """Return the ids of the living workers by the numbers of their processes."""
        alive = self.read(lambda r: r.workers.live(self._parts.actor.organisation, r.now))
        return {int(worker.name.rpartition(":")[2]): worker.id for worker in alive}

    def holds(self, worker: str) -> list[Task]:
        held = TaskFilter(states=(State.RUNNING,), holder=f"worker:{worker}")
        found = self.read(lambda r: r.tasks.search(self._parts.actor.organisation, held, limit=100))
        return list(found)

    def wait_for_workers(self, count: int) -> None:
        """Wait until so many processes work."""
        for _ in _patience():
            running = {process.pid for process in self.processes if process.poll() is None}
            if len(running & set(self.holders())) >= count:
                return

    def wait_for_a_success(self) -> None:
        """Wait until a task succeeds that has not yet."""
        now = self.read(lambda r: r.events.end())
        for _ in _patience():
            if self.read(lambda r: r.events.read(now, kinds=("task.succeeded",), limit=1)):
                return

    def pause(self) -> None:
        time.sleep(self._chance.uniform(0.05, 0.4))

    def busy_one(self) -> tuple[subprocess.Popen[bytes], str]:
        """Wait for a worker that holds something; return its process and its id."""
        for _ in _patience():
            holders = self.holders()
            ready = [each for each in self.processes if each.poll() is None and each.pid in holders]
            self._chance.shuffle(ready)
            for process in ready:
                if self.holds(holders[process.pid]):
                    return process, holders[process.pid]
        raise AssertionError

    def tasks(self) -> dict[str, Task]:
        found = self.read(
            lambda r: r.tasks.search(self._parts.actor.organisation, TaskFilter(), limit=EVERYTHING)
        )
        return {task.id: task for task in found}

    def events(self) -> list[Event]:
        return list(self.read(lambda r: r.events.read(Cursor(), limit=EVERYTHING)))

    def come_to_an_end(self) -> None:
        """Submit no more, and let the workers that live finish what there is."""
        self._fed.set()
        with contextlib.suppress(TimeoutError):  # what does not end is counted as lost
            for _ in _patience():
                if not self.open():
                    return

    def result(self, what: str, harms: Sequence[tuple[float, str | None]], note: str = "") -> Result:
        """
        Count.

        Args:
            harms: When each was done, as ``time.time()``, and to which worker; to all of them where none is named.
        """
        tasks, events = self.tasks(), self.events()
        ends = Counter(event.subject for event in events if event.kind in ENDS)
        known = self.acknowledged
        lost = sum(id not in tasks or tasks[id].is_open for id in known)
        # A nap returns the number of its attempt: where that is not the last one, a late answer was taken.
        wrong = sum(
            task.state is State.SUCCEEDED and task.type == "nap" and task.output != task.claims
            for task in tasks.values()
        )
        twice = sum(count > 1 for count in ends.values()) + wrong
        return Result(
            what,
            len(harms),
            len(known),
            lost,
            twice,
            sum(max(0, task.claims - 1) for task in tasks.values()),
            _recoveries(events, harms),
            time.monotonic() - self.began,
            note=note,
        )


def _patience(seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.01)
    raise TimeoutError("it never came true")


def _recoveries(events: Sequence[Event], harms: Sequence[tuple[float, str | None]]) -> list[float]:
    """Return how long after each harm the tasks of its worker were started again; or, of all workers, one task ended."""
    recovered: list[float] = []
    starts: dict[str, list[tuple[float, str]]] = {}
    ends: list[float] = []
    for event in events:
        at = event.at.timestamp()
        if event.kind == "task.started":
            starts.setdefault(event.subject, []).append((at, event.data["holder"]))
        elif event.kind == "task.succeeded":
            ends.append(at)
    for when, worker in harms:
        if worker is None:
            recovered += [at - when for at in sorted(ends) if at > when][:1]
            continue
        for attempts in starts.values():
            for (_, holder), (again, _) in pairwise(attempts):
                if holder == f"worker:{worker}" and again > when:
                    recovered.append(again - when)
    return recovered


@contextmanager
def on_sqlite(**named: Any) -> Iterator[Drill]:
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        drill = Drill(f"sqlite:///{folder}/yard.db", **named)
        try:
            yield drill
        finally:
            drill.close()


@contextmanager
def on_postgres(**named: Any) -> Iterator[tuple[Drill, Cluster]]:
    cluster = Cluster()
    with psycopg.connect(cluster.url, autocommit=True) as raw:
        raw.execute("CREATE DATABASE drill")
    url = with_database(cluster.url, "drill")
    database = PostgresDatabase(url)
    database.migrate()
    database.close()
    drill = Drill(url, **named)
    try:
        yield drill, cluster
    finally:
        drill.close()
        cluster.remove()


# -- the drills --------------------------------------------------------------------------------------------------------------


def kill_workers(times: int) -> Result:
    """kill -9 a worker that holds something, and start another in its place."""
    with on_sqlite() as drill:
        for _ in range(4):
            drill.start()
        harms: list[tuple[float, str | None]] = []
        for _ in range(times):
            drill.wait_for_workers(3)
            drill.pause()
            process, worker = drill.busy_one()
            process.kill()
            harms.append((time.time(), worker))
            process.wait()
            drill.start()
        drill.come_to_an_end()
        result = drill.result("kill -9 of a worker", harms)
        poisoned = sum(task.reason == "poisoned" for task in drill.tasks().values())
        result.note = f"{poisoned} poisoned by three kills" if poisoned else ""
        if result.rerun > times * 4:
            result.broken.append(f"{result.rerun} tasks ran again, and only {times * 4} can have been lost")
        return result


def stop_workers(times: int) -> Result:
    """
    SIGSTOP a worker past its lease, and let it go on when its tasks have been given to another.

    One that is caught inside a commit holds the lock of the file, and with it every writer, until it goes on: that is told, and
    another is stopped in its place.
    """
    with on_sqlite() as drill:
        for _ in range(3):
            drill.start()
        drill.wait_for_workers(3)
        harms: list[tuple[float, str | None]] = []
        late = inside = 0
        while len(harms) < times and inside < times + 5:
            drill.pause()
            process, worker = drill.busy_one()
            process.send_signal(signal.SIGSTOP)
            stopped, held = time.time(), drill.holds(worker)
            try:
                for _ in _patience(5):
                    if not drill.holds(worker):
                        break
            except TimeoutError:
                inside += 1
            else:
                harms.append((stopped, worker))
                late += len(held)
            process.send_signal(signal.SIGCONT)
        gone = {worker for _, worker in harms}
        for _ in _patience():  # each has understood, and is there under a fresh id
            if len(drill.holders()) == 3 and not gone & {*drill.holders().values()}:
                break
        drill.come_to_an_end()
        note = f"{late} late answers refused; {inside} more were inside a commit"
        return drill.result("SIGSTOP of a worker past its lease", harms, note)


def bad_handlers(what: str, type: str, input: Any, *, isolation: str | None, tasks: int) -> Result:
    """Run tasks that harm what runs them, beside others that do no harm."""
    with on_sqlite() as drill:
        started = 2
        for _ in range(started):
            drill.start(isolation=isolation, slots=2, bounded=type == "eat")
        drill.wait_for_workers(started)
        bad = drill.submit(
            [drill.program.new_task(type, input, max_failures=3, priority=9) for _ in range(tasks)]
        )
        harms: list[tuple[float, str | None]] = []
        for _ in _patience():
            if not any(drill.program.get(id).is_open for id in bad):
                break
            for process in [each for each in drill.processes if each.poll() is not None]:
                drill.processes.remove(process)
                harms.append((time.time(), None))
                drill.start(isolation=isolation, slots=2, bounded=type == "eat")
        drill.come_to_an_end()
        result = drill.result(what, harms)
        result.times = tasks
        found = drill.tasks()
        how = Counter(f"{found[id].state}/{found[id].error.code}" for id in bad)  # type: ignore[union-attr]
        result.note = f"{', '.join(how)}; {len(harms)} workers died"
        harmless = {id: task for id, task in found.items() if id not in bad}
        if isolation and harms:
            result.broken.append(f"{len(harms)} workers died of what ran in processes of its own")
        if any(found[id].state is not State.FAILED for id in bad):
            result.broken.append("what harms its worker did not fail")
        if isolation and any(task.state is not State.SUCCEEDED for task in harmless.values()):
            result.broken.append("what does no harm failed too")
        return result


def kill_server(times: int) -> Result:
    """kill -9 a server that is being written to over HTTP, and start it again."""
    began, chance = time.monotonic(), random.Random(1)
    acknowledged: list[tuple[str, str]] = []
    answered = threading.Event()
    harms, killed, recovered, broken = 0, 0.0, [], []
    stop = threading.Event()

    def submit(client: Any, name: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            label = f"{name}-{number}"
            try:
                task = client.submit("twice", {"number": number}, labels={"n": label})
            except TaskyardError as refusal:
                broken.append(f"a submit was given up: {refusal}")
                return
            acknowledged.append((label, task.id))
            answered.set()

    with tempfile.TemporaryDirectory(prefix="drill-") as name:
        folder, port = Path(name), str(free_port())
        threads: list[threading.Thread] = []
        for round in range(times + 1):
            with serving(
                folder, "yard:yard", "--port", port, "--lease", "2s", "--log-level", "error"
            ) as served:
                if not threads:
                    threads = [
                        threading.Thread(target=submit, args=(_patient(served), number), daemon=True)
                        for number in range(4)
                    ]
                    for thread in threads:
                        thread.start()
                if round:
                    answered.wait(PATIENCE_SECONDS)
                    recovered.append(time.monotonic() - killed)
                if round == times:
                    stop.set()
                    for thread in threads:
                        thread.join(PATIENCE_SECONDS)
                    client = served.client()
                    with contextlib.suppress(TimeoutError):
                        for _ in _patience(30):
                            if not any(True for _ in client.search(state=["ready", "running"], page_size=1)):
                                break
                    break
                time.sleep(chance.uniform(0.1, 0.6))
                served.process.kill()
                served.process.wait()
                answered.clear()
                killed = time.monotonic()
                harms += 1
        raw = apsw.Connection(str(folder / "taskyard.db"))
        if raw.pragma("integrity_check") != "ok":
            broken.append("the file is not whole")
        states = dict(raw.execute("SELECT id, finished_at FROM tasks"))
        claims = sum(count for (count,) in raw.execute("SELECT claims - 1 FROM tasks WHERE claims > 1"))
        made = Counter(text for (text,) in raw.execute("SELECT value FROM labels WHERE name = 'n'"))
        ends = Counter(
            subject
            for (subject,) in raw.execute(
                "SELECT subject FROM events WHERE kind IN ('task.succeeded', 'task.failed', 'task.canceled')"
            )
        )
        raw.close()
    lost = sum(states.get(id) is None for _, id in acknowledged)
    twice = sum(count > 1 for count in ends.values()) + sum(count > 1 for count in made.values())
    return Result(
        "kill -9 of the server under load",
        harms,
        len(acknowledged),
        lost,
        twice,
        claims,
        recovered,
        time.monotonic() - began,
        broken,
        f"{len(made):,} submits made {sum(made.values()):,} tasks",
    )


def _patient(served: Served) -> Client:
    """Return a client that waits for a server longer than any machine takes to start one."""
    return Client(served.url, served.key, patience=timedelta(seconds=PATIENCE_SECONDS))


@contextmanager
def small_disk() -> Iterator[Path | None]:
    """A disk of 64 megabytes; None where none can be mounted."""
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        mounting = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder]
        if shutil.which("mount") is None or subprocess.run(mounting, capture_output=True).returncode:
            yield None
            return
        yield Path(folder)
        subprocess.run(["umount", "-l", folder], check=True)


def fill_disk(times: int) -> Result:
    """Fill the disk to its last byte again and again while tasks are submitted."""
    began, recovered, broken = time.monotonic(), [], []
    acknowledged: list[Any] = []
    with small_disk() as folder:
        if folder is None:
            return _fill_quota()
        path = folder / "yard.db"
        process = test_disk.Commanded(path)
        for _ in range(times):
            answers = [process.ask("submit 1000") for _ in range(20)]
            ballast = test_disk.fill(folder)
            for _ in range(1000):  # what the log has already is written to before the disk is asked for more
                answers.append(process.ask("submit 20000"))
                if answers[-1][0] == "refused":
                    break
            else:
                broken.append("a full disk was not told")
            ballast.unlink()
            freed = time.monotonic()
            for _ in _patience(10):
                answers.append(process.ask("submit 1000"))
                if answers[-1][0] == "submitted":
                    break
            recovered.append(time.monotonic() - freed)
            acknowledged += test_disk.words(answers, "submitted")
        process.end()
        found = test_disk.stored(path)
    lost = len(set(acknowledged) - set(found))
    return Result(
        "a full disk (tmpfs of 64 MB)",
        times,
        len(acknowledged),
        lost,
        0,
        0,
        recovered,
        time.monotonic() - began,
        broken,
    )


def _fill_quota() -> Result:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        path = Path(folder) / "yard.db"
        lines = test_disk.said(test_disk.start("fill", path))
        acknowledged, found = test_disk.words(lines, "submitted"), test_disk.stored(path)
    lost = len(set(acknowledged) - set(found))
    seconds = time.monotonic() - began
    return Result("a file that may not grow (RLIMIT_FSIZE)", 1, len(acknowledged), lost, 0, 0, [], seconds)


def stop_postgres(times: int) -> Result:
    """Stop PostgreSQL as if its machine had lost power, and start it again."""

    def harm(_: Drill, cluster: Cluster) -> None:
        cluster.stop("immediate")
        cluster.start()

    return _harm_postgres("PostgreSQL stopped at once and started", times, harm)


def cut_postgres(times: int) -> Result:
    """Cut all connections to PostgreSQL in the middle of whatever they do."""

    def harm(_: Drill, cluster: Cluster) -> None:
        with psycopg.connect(cluster.url, autocommit=True) as raw:
            raw.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'drill'")

    return _harm_postgres("PostgreSQL's connections cut", times, harm)


def _harm_postgres(what: str, times: int, harm: Callable[[Drill, Cluster], None]) -> Result:
    # The lease is longer than PostgreSQL is away, and what counts is how soon work goes on when it is there again.
    with on_postgres(lease=timedelta(seconds=10)) as (drill, cluster):
        for _ in range(2):
            drill.start()
        harms: list[tuple[float, str | None]] = []
        for _ in range(times):
            drill.busy_one()
            harm(drill, cluster)
            harms.append((time.time(), None))
            drill.wait_for_a_success()
            drill.pause()
        drill.come_to_an_end()
        return drill.result(what, harms)


# -- all of it ---------------------------------------------------------------------------------------------------------------


def drills(part: float) -> list[tuple[str, Callable[[], Result]]]:
    """Return all drills by name, each with *part* of its full number of times."""

    def some(times: int) -> int:
        return max(1, round(times * part))

    def bad(what: str, type: str, input: Any, isolation: str | None) -> Callable[[], Result]:
        where = "their process" if isolation else "their worker"
        return lambda: bad_handlers(
            f"handlers that {what} {where}", type, input, isolation=isolation, tasks=some(3)
        )

    much = {"size_bytes": 8 * 1024**3}
    killing = {"signal_number": int(signal.SIGKILL)}
    return [
        ("workers", lambda: kill_workers(some(100))),
        ("server", lambda: kill_server(some(50))),
        ("stop", lambda: stop_workers(some(20))),
        ("handlers", bad("kill -9", "crash", killing, None)),
        ("handlers", bad("kill -9", "crash", killing, "process")),
        ("handlers", bad("segfault", "segfault", None, None)),
        ("handlers", bad("segfault", "segfault", None, "process")),
        ("handlers", bad("exhaust the memory of", "eat", much, None)),
        ("handlers", bad("exhaust the memory of", "eat", much, "process")),
        ("disk", lambda: fill_disk(some(10))),
        ("postgres", lambda: stop_postgres(some(10))),
        ("postgres", lambda: cut_postgres(some(30))),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill real processes and count what is lost.")
    parser.add_argument("--only", help="workers, server, stop, handlers, disk or postgres")
    parser.add_argument("--part", type=float, default=1.0, help="do each only so many times: 0.1 is a tenth")
    options = parser.parse_args()
    broken = []
    print(HEAD)
    for name, drill in drills(options.part):
        if options.only not in (None, name):
            continue
        result = drill()
        print(row(result), flush=True)
        for line in result.broken:
            print(f"    {line}")
        if not result.kept:
            broken.append(result.what)
    print(f"a promise broke: {', '.join(broken)}" if broken else "every promise was kept")
    return 1 if broken else 0


if __name__ == "__main__":
    os.environ.pop("TASKYARD_DATABASE", None)
    sys.exit(main())
