"""The machines of the drill, each a process: API servers, workers that are killed and replaced, and the database."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.request import urlopen

import psycopg

from tests.drill.yard import FOLDER
from tests.postgres import SETTINGS, Cluster, with_database
from tests.served import environment

REPOSITORY = Path(__file__).parents[2]
#: What a supervisor such as systemd waits before it starts again what has ended.
RESTART_AFTER_S = 0.1
PROBE_EVERY_S = 0.02


def started(folder: Path, log: str, *args: str) -> "subprocess.Popen[str]":
    """Start ``taskyard ARGS``, its log in *folder*."""
    with (folder / log).open("a") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "taskyard", *args],
            cwd=REPOSITORY,
            env=environment({FOLDER: str(folder / "ledgers")}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if args[0] == "serve" else file,
            stderr=file,
            text=True,
        )


class Server:
    """An API server that runs no tasks, and a probe that watches its health."""

    def __init__(self, folder: Path, name: str, database: str) -> None:
        self.name = name
        key_file = folder / "key"
        self.process = started(
            folder,
            f"{name}.log",
            *("serve", "--database", database, "--no-worker", "--port", "0", "--json"),
            *("--key-file", str(key_file)),
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{name} did not come up:\n{(folder / f'{name}.log').read_text()}")
        self.url: str = json.loads(line)["url"]
        self.key = key_file.read_text().strip()
        #: When /readyz began to say something else, and what.
        self.turns: list[tuple[float, int]] = []
        self.unhealthy = 0
        self._probing = threading.Event()
        self._probe = threading.Thread(target=self._watch, daemon=True)
        self._probe.start()

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def _watch(self) -> None:
        said = 0
        while not self._probing.wait(PROBE_EVERY_S):
            status = self._status("/readyz")
            if status != said:
                self.turns.append((time.monotonic(), status))
                said = status
                if self._status("/healthz") != 200:
                    self.unhealthy += 1

    def _status(self, path: str) -> int:
        try:
            with urlopen(self.url + path, timeout=10) as answer:
                return int(answer.status)
        except OSError as error:
            return int(getattr(error, "code", 0))

    def stop(self) -> None:
        self._probing.set()
        self.process.terminate()
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()


@dataclass
class Kill:
    pid: int
    at: float


@dataclass
class Workers:
    """Workers that are kept at a number: what ends is started again, as a supervisor does."""

    folder: Path
    database: str
    count: int
    lease_s: float
    slots: int
    chance: random.Random
    kills: list[Kill] = field(default_factory=list)
    ended: int = 0
    _living: list["subprocess.Popen[str]"] = field(default_factory=list)
    _supervisor: threading.Thread | None = None
    _stopping: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        self._living = [self._hired() for _ in range(self.count)]
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._supervisor.start()

    def kill_one(self) -> None:
        """Kill one of those that have run something; on a busy machine a worker takes a while until it does."""
        with self._lock:
            working = [each for each in self._living if (self.folder / "ledgers" / str(each.pid)).exists()]
            if working:
                victim = self.chance.choice(working)
                self.kills.append(Kill(victim.pid, time.monotonic()))
                victim.kill()
                victim.wait()

    def stop(self) -> None:
        """Let them finish; may be called twice."""
        self._stopping = True
        if self._supervisor is not None:
            self._supervisor.join()
        for worker in self._living:
            worker.terminate()
        for worker in self._living:
            worker.wait(60)

    def _hired(self) -> "subprocess.Popen[str]":
        return started(
            self.folder,
            "workers.log",
            *("worker", "tests.drill.yard:yard", "--database", self.database),
            *("--lease", f"{self.lease_s:g}s", "--slots", str(self.slots)),
        )

    def _supervise(self) -> None:
        while not self._stopping:
            with self._lock:
                for place, worker in enumerate(self._living):
                    if worker.poll() is not None:
                        self.ended += worker.returncode != -signal.SIGKILL
                        self._living[place] = self._hired()
            time.sleep(RESTART_AFTER_S)


class Database(Protocol):
    """Where the yard lives, and how it fails."""

    url: str
    how: str

    def stop(self) -> None: ...

    def start(self) -> None: ...

    def remove(self) -> None: ...


class OwnDatabase:
    """A PostgreSQL of the drill's own."""

    how = "pg_ctl stop -m immediate"

    def __init__(self) -> None:
        self._cluster = Cluster({**SETTINGS, "shared_buffers": "128MB"})
        self.url = with_database(self._cluster.url, "postgres")

    def stop(self) -> None:
        self._cluster.stop("immediate")

    def start(self) -> None:
        self._cluster.start()

    def remove(self) -> None:
        self._cluster.remove()


class GivenDatabase:
    """Somebody's server: not ours to stop, so all our connections to it are cut instead. The database must be empty."""

    how = "pg_terminate_backend on every connection"

    def __init__(self, url: str) -> None:
        self.url = url

    def stop(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as raw:
            raw.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'taskyard'"
            )

    def start(self) -> None:
        """Nothing: it never went."""

    def remove(self) -> None:
        """Leave what is there to be looked at."""


def make_folder(folder: Path) -> None:
    (folder / "ledgers").mkdir(parents=True)
    if os.geteuid() == 0:
        folder.chmod(0o755)
