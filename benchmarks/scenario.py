"""The same scenario for every contender: submit one by one and in bulk, drain, end to end, then 50 a second and half of what was reached one by one."""

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import quantiles
from typing import IO, Any

from benchmarks.servers import Missing, Servers

HERE = Path(__file__).parent

#: In the order of the table; by the store they stand on.
CONTENDERS = (
    "taskyard_sqlite",
    "dbos_sqlite",
    "huey_fsync",
    "huey_plain",
    "taskyard_postgres",
    "pgqueuer",
    "oban",
    "dbos_postgres",
    "absurd",
    "chancy",
    "procrastinate",
    "celery_redis",
    "rq",
    "dramatiq_redis",
    "taskiq_redis",
)
#: The longest that one phase may take before the contender is given up.
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Sizes:
    """How many tasks each phase has, for the fast and for the slow."""

    one: int = 500
    bulk: int = 5000
    slow_bulk: int = 1000
    paced: int = 150
    between_s: float = 0.02

    def bulk_of(self, contender: Any) -> int:
        return self.slow_bulk if contender.SLOW else self.bulk


QUICK = Sizes(one=50, bulk=500, slow_bulk=100, paced=25)
TINY = Sizes(one=5, bulk=20, slow_bulk=20, paced=5, between_s=0.001)


def facts(name: str) -> dict[str, str]:
    """Return what a contender says of itself without being imported: its library may be missing."""
    import ast

    found: dict[str, str] = {}
    tree = ast.parse((HERE / "peers" / f"{name}.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names = node.targets[0].elts if isinstance(node.targets[0], ast.Tuple) else node.targets
            values = node.value.elts if isinstance(node.value, ast.Tuple) and len(names) > 1 else [node.value]
            for target, value in zip(names, values, strict=False):
                try:
                    found[target.id] = ast.literal_eval(value)  # type: ignore[attr-defined]
                except ValueError:
                    continue
    return found


def check(name: str) -> None:
    """Raise Missing unless what *name* needs can be imported."""
    missing = [each for each in facts(name)["NEEDS"] if find_spec(each) is None]
    if missing:
        raise Missing(f"not installed: {', '.join(missing)}; pip install -r benchmarks/peers.txt")


class _Process:
    """A producer or a worker; what it says comes a line each."""

    def __init__(self, name: str, role: str, url: str, *expected: int, log: IO[bytes]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peer", name, role, url, *map(str, expected)],
            stdin=subprocess.PIPE if role == "produce" else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=HERE.parent,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent / "src"), str(HERE.parent)])},
        )
        self._name = f"{name} ({role})"
        self._buffer = b""

    def ask(self, what: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(what.encode() + b"\n")
        self._process.stdin.flush()
        return self.hear()

    def hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        until = time.monotonic() + PATIENCE_S
        while b"\n" not in self._buffer:
            readable, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))
            more = os.read(self._process.stdout.fileno(), 1 << 20) if readable else b""
            if not more:
                raise Missing(
                    f"{self._name} " + ("ended" if readable else f"took more than {PATIENCE_S:g} s")
                )
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def measure(name: str, servers: Servers, sizes: Sizes, log: IO[bytes]) -> dict[str, float]:
    """Run the scenario once on a fresh database; return rates per second, milliseconds, and CPU µs. Raises Missing."""
    check(name)
    about = facts(name)
    url = servers.fresh(about["STORE"])
    contender = importlib.import_module("types").SimpleNamespace(SLOW=about.get("SLOW", False))
    bulk = sizes.bulk_of(contender)
    many = "many = None" not in (HERE / "peers" / f"{name}.py").read_text() and name != "huey_plain"
    how = "many" if many and not name.startswith("dbos") else "one"
    found: dict[str, float] = {}
    producer = _Process(name, "produce", url, log=log)
    worker = None
    try:
        producer.ask("setup")
        one = producer.ask(f"one {sizes.one}")
        found["enqueue"] = sizes.one / one["seconds"]
        batch = producer.ask(f"{how} {bulk}")
        if how == "many":
            found["enqueue_bulk"] = bulk / batch["seconds"]
            found["enqueue_bulk_cpu_us"] = batch["cpu"] / bulk * 1e6
        server_cpu = servers.cpu_seconds(about["STORE"])
        worker = _Process(
            name, "work", url, sizes.one + bulk, 1, sizes.one, bulk, sizes.paced, sizes.paced, log=log
        )
        drained = worker.hear()
        count = sizes.one + bulk
        if server_cpu is not None:
            found["database_cpu_us"] = (servers.cpu_seconds(about["STORE"]) - server_cpu) / count * 1e6
        found["drain"] = (count - 1) / (drained["last"] - drained["first"])
        found["worker_cpu_us"] = drained["cpu"] / (count - 1) * 1e6
        producer.ask("one 1")
        worker.hear()
        one = producer.ask(f"one {sizes.one}")
        found["end_to_end"] = sizes.one / (worker.hear()["last"] - one["began"])
        batch = producer.ask(f"{how} {bulk}")
        done = worker.hear()
        if how == "many":
            found["end_to_end_bulk"] = bulk / (done["last"] - batch["began"])
        time.sleep(0.2)
        for pace, between_s in (("start", sizes.between_s), ("half_start", 2 / found["end_to_end"])):
            producer.ask(f"paced {sizes.paced} {between_s}")
            cuts = quantiles(worker.hear()["latencies"], n=100, method="inclusive")
            found[f"{pace}_p50_ms"], found[f"{pace}_p99_ms"] = cuts[49] * 1e3, cuts[98] * 1e3
    finally:
        producer.end()
        if worker is not None:
            worker.end()
    return found
