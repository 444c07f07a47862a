"""
Takes the checksum of every file in a folder and makes a thumbnail of every image, and kills a worker in the middle.

    python examples/folder/run.py [FOLDER]

A server and two workers run as processes of their own, as they would on three machines. When a third of the files are done,
one worker is stopped with SIGKILL while it holds tasks. Its lease runs out, the other worker takes them over, and at the end
every file is checked against what is on the disk.
"""

import argparse
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from taskyard import Client, NewTask

HERE = Path(__file__).parent
#: How long a worker may be silent before its tasks go to others. Short, so that the demonstration is.
LEASE_SECONDS = 2
SLOTS = 8
#: A folder with more files than this is looked at in part, unless --most says otherwise.
MOST_FILES = 2000

console = Console(highlight=False)


@dataclass
class Seen:
    """What the feed has told so far."""

    settled: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    lost: set[str] = field(default_factory=set)


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    asked.add_argument("folder", nargs="?", default=".", type=Path)
    asked.add_argument("--most", type=int, default=MOST_FILES, help="look at so many files at most")
    asked.add_argument(
        "--thumbnails", type=Path, help="where thumbnails are kept; thrown away, where this is not said"
    )
    args = asked.parse_args()
    if not args.folder.is_dir():
        print(f"error: {args.folder} is no folder", file=sys.stderr)
        return 2
    files = [path for path, _ in zip(walk(args.folder.resolve()), range(args.most), strict=False)]
    if not files:
        print(f"error: there are no files in {args.folder}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="taskyard-") as place:
        thumbnails = args.thumbnails or Path(place) / "thumbnails"
        thumbnails.mkdir(parents=True, exist_ok=True)
        return demonstrate(files, thumbnails.resolve(), Path(place))


def walk(folder: Path) -> Iterator[Path]:
    """Give the files below a folder that can be read; what is hidden is left out."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place) / name
            if not name.startswith(".") and path.is_file() and os.access(path, os.R_OK):
                yield path


def demonstrate(files: list[Path], thumbnails: Path, place: Path) -> int:
    with ExitStack() as running:
        url, key = running.enter_context(server(place))
        client = running.enter_context(Client(url, key))
        console.print(f"A server at {url}, {len(files):,} files to look at.")
        workers = {name: running.enter_context(worker(name, url, key, place)) for name in ("first", "second")}
        wait_for_workers(client, len(workers))
        feed = client.events(after="0-0", queue="folder")
        began = time.perf_counter()
        submit(client, files, thumbnails)
        seen = follow(client, feed, len(files), workers["first"])
        took = time.perf_counter() - began
        return verify(client, files, seen, took)


@contextmanager
def server(place: Path) -> Iterator[tuple[str, str]]:
    """Within: a server of its own, on any free port; its URL and its key."""
    command = [
        "serve",
        "--no-worker",
        "--port",
        "0",
        "--json",
        "--database",
        f"sqlite:///{place}/taskyard.db",
    ]
    with process("server", command, place) as served:
        assert served.stdout is not None
        line = served.stdout.readline()
        if not line:
            raise SystemExit(f"the server did not start:\n{(place / 'server.log').read_text()}")
        told = json.loads(line)
        yield told["url"], Path(told["key_file"]).read_text().strip()


@contextmanager
def worker(name: str, url: str, key: str, place: Path) -> Iterator["subprocess.Popen[str]"]:
    """Within: a worker in a process of its own, which knows the server by its URL and a key."""
    command = [
        "worker",
        "yard:yard",
        "--url",
        url,
        "--name",
        name,
        "--lease",
        f"{LEASE_SECONDS}s",
        "--slots",
        str(SLOTS),
    ]
    with process(name, command, place, key) as working:
        yield working


@contextmanager
def process(name: str, command: list[str], place: Path, key: str = "") -> Iterator["subprocess.Popen[str]"]:
    with (place / f"{name}.log").open("w") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "taskyard", *command],
            cwd=HERE,
            env={**os.environ, "TASKYARD_KEY": key},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            yield started
        finally:
            started.terminate()
            try:
                started.wait(10)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()
            if started.stdout is not None:
                started.stdout.close()


def wait_for_workers(client: Client, wanted: int) -> None:
    for _ in range(300):
        if len(list(client.workers())) >= wanted:
            return
        time.sleep(0.1)
    raise SystemExit("the workers did not come up")


def submit(client: Client, files: list[Path], thumbnails: Path) -> None:
    news = [
        NewTask(
            type="inspect",
            queue="folder",
            target=str(path)[-500:],
            input={"path": str(path), "thumbnails": str(thumbnails)},
        )
        for path in files
    ]
    for answer in client.submit_many(news):
        if isinstance(answer, Exception):
            raise answer


def follow(client: Client, feed: Iterator[Any], count: int, victim: "subprocess.Popen[str]") -> Seen:
    """Show how far it is until all is done, and kill the victim when a third of it is."""
    seen = Seen()
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
    with bars:
        bar = bars.add_task("two workers", total=count)
        for event in feed:
            if event.kind in ("task.succeeded", "task.failed"):
                seen.settled[event.subject] += 1
                seen.failed += event.kind == "task.failed"
                bars.update(bar, completed=len(seen.settled))
            elif event.kind == "task.lost":
                seen.lost.add(event.subject)
            if victim.poll() is None and len(seen.settled) >= count / 3:
                held = kill(client, victim)
                if held:
                    bars.console.print(
                        f"kill -9 {victim.pid}: the first worker is gone, with {held} tasks in its hands. "
                        "When its lease has run out, they are run again."
                    )
                    bars.update(bar, description="one worker ")
            if len(seen.settled) == count:
                return seen
    return seen


def kill(client: Client, victim: "subprocess.Popen[str]") -> int:
    """Kill a worker that holds tasks and return how many; 0 when it holds none just now, and lives on."""
    victim.send_signal(signal.SIGSTOP)  # so that what it holds now is what it holds when it dies
    [id] = [worker.id for worker in client.workers() if worker.name == "first"]
    held = sum(task.holder == f"worker:{id}" for task in client.search(queue="folder", state="running"))
    victim.send_signal(signal.SIGKILL if held else signal.SIGCONT)
    if held:
        victim.wait()
    return held


def verify(client: Client, files: list[Path], seen: Seen, took: float) -> int:
    """Compare what the tasks say with what is on the disk; return the exit code."""
    tasks = list(client.search(queue="folder", expand=("input", "output"), page_size=100))
    by_path = {task.input["path"]: task for task in tasks}
    wrong = [path for path in files if not right(path, by_path[str(path)].output)]
    attempts = sum(task.claims for task in tasks)
    thumbnails = sum(bool(task.output and task.output["thumbnail"]) for task in tasks)
    twice = sum(count > 1 for count in seen.settled.values())
    lost = len(files) - len(seen.settled)

    table = Table(title=f"{len(files):,} files in {took:.1f} s", show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    rows = {
        "files": len(files),
        "done once": len(seen.settled) - twice,
        "done twice": twice,
        "lost": lost,
        "in the hands of the worker that was killed, and run again": len(seen.lost),
        "attempts": attempts,
        "failed": seen.failed,
        "checksums that are not those of the files on the disk": len(wrong),
        "thumbnails made": thumbnails,
    }
    for name, number in rows.items():
        table.add_row(name, f"{number:,}")
    console.print(table)
    if not thumbnails:
        console.print("There are no images here. Try it on a folder that has some: ./demo ~/Pictures")
    for path in itertools.islice(wrong, 10):
        console.print(f"not as on the disk: {path}")
    return 0 if not (twice or lost or seen.failed or wrong) else 1


def right(path: Path, output: Any) -> bool:
    with path.open("rb") as file:
        return bool(output) and hashlib.file_digest(file, "sha256").hexdigest() == output["sha256"]


if __name__ == "__main__":
    sys.exit(main())
