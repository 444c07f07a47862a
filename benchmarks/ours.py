"""What is measured of Taskyard alone: over HTTP, submit to done, process handlers, a worker over HTTP, and what it costs when idle."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import quantiles
from typing import Any, ClassVar

from benchmarks.servers import Missing, Servers

HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent / "src"), str(HERE.parent)])}
BODY = json.dumps({"type": "noop", "input": {"n": 1, "path": "some/where.jpg"}, "queue": "default"})
SLOTS = 500


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running(command: Sequence[str], port: int | None, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """Within: *command* runs, and answers on *port*."""
    environment = {**ENVIRONMENT, **options.pop("environment", {})}
    process = subprocess.Popen(
        [sys.executable, "-m", *command], env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        **{"stdout": subprocess.DEVNULL, "cwd": HERE.parent, **options},
    )  # fmt: skip
    try:
        if port is not None:
            _await_port(port, process)
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None:
                raise Missing("the server ended at once") from None
            time.sleep(0.05)
    raise Missing("the server did not answer within 15 s")


@contextmanager
def serving(url: str, *options: str, before: Sequence[str] = ()) -> Iterator[tuple[int, str, int]]:
    """Within: ``taskyard serve`` on *url*, by the module *before* if given; yields its port, a key of its administrator, and its process."""
    with tempfile.TemporaryDirectory(prefix="bench-serve-") as folder:
        port = free_port()
        command = [*before, "taskyard", "serve", "--port", str(port), "--database", url, *options]
        with running(command, port, cwd=folder) as process:
            home = Path(folder) if "://" in url else Path(url).parent
            yield port, (home / "taskyard.key").read_text().strip(), process.pid


def load(
    port: int, connections: int, seconds: float, key: str, path: str, body: str | None = None
) -> dict[str, float]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.http_load",
        str(port),
        str(connections),
        str(seconds),
        key,
        path,
    ]
    done = subprocess.run(
        command + ([] if body is None else [body]), env=ENVIRONMENT, cwd=HERE.parent, capture_output=True, timeout=seconds + 60
    )  # fmt: skip
    if done.returncode:
        raise Missing(f"the load failed: {done.stderr.decode()[-300:]}")
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def http(
    servers: Servers, store: str, seconds: float, concurrencies: Sequence[int] = (1, 32, 128)
) -> dict[str, float]:
    """Return requests per second: durable POST by concurrency, the same without a store and on FastAPI, get and list."""
    found: dict[str, float] = {}
    with serving(servers.fresh(store), "--no-worker") as (port, key, _):
        for connections in concurrencies:
            answer = load(port, connections, seconds, key, "/v1/tasks", BODY)
            found[f"post_{connections}"], found[f"post_{connections}_p99_ms"] = (
                answer["rate"],
                answer["p99_ms"],
            )
        one = _some_id(port, key)
        for connections in concurrencies:
            for look, path in (("list", "/v1/tasks?page_size=50"), ("get", f"/v1/tasks/{one}")):
                found[f"{look}_{connections}"] = load(port, connections, seconds, key, path)["rate"]
    for kind in ("bare", "fastapi"):
        port = free_port()
        try:
            with running(["benchmarks.http_servers", kind, store, servers.fresh(store), str(port)], port):
                found[kind] = load(port, 32, seconds, "none", "/v1/tasks", BODY)["rate"]
        except Missing:
            continue  # FastAPI is a peer: it may not be installed
    return found


def _some_id(port: int, key: str) -> str:
    import httpx

    page = httpx.get(
        f"http://127.0.0.1:{port}/v1/tasks?page_size=1", headers={"Authorization": f"Bearer {key}"}
    )
    return (
        str(page.json()["items"][0]["id"]) if "items" in page.json() else str(page.json()["tasks"][0]["id"])
    )


def waited(servers: Servers, store: str, count: int) -> dict[str, float]:
    """Return how long a client waits from submit to done, in milliseconds, when nothing else goes on; a worker beside it."""
    from taskyard import Yard

    url = servers.fresh(store)
    with Yard(url) as yard:
        yard.submit("noop", {"sent": 0.0})
        name = "taskyard_sqlite" if store == "sqlite" else "taskyard_postgres"
        command = ["benchmarks.peer", name, "work", url, "1"]
        with running(command, None, stdout=subprocess.PIPE) as worker:
            assert worker.stdout is not None
            worker.stdout.readline()
            waits = []
            for _ in range(count):
                time.sleep(0.02)
                began = time.perf_counter()
                yard.wait(yard.submit("noop", {"sent": 0.0}).id, timeout=10)
                waits.append((time.perf_counter() - began) * 1e3)
    cuts = quantiles(waits, n=100, method="inclusive")
    return {"done_p50_ms": cuts[49], "done_p99_ms": cuts[98]}


def drained_over_http(servers: Servers, store: str, count: int) -> float:
    """Return the tasks per second that one worker drains over HTTP; the server runs beside it."""
    from taskyard import Yard
    from taskyard.core.task import NewTask

    url = servers.fresh(store)
    with Yard(url) as yard:
        for start in range(0, count, 500):
            yard.submit_many([NewTask(type="noop", input={"sent": 0.0})] * min(500, count - start))
    with serving(url, "--no-worker") as (port, key, _):
        command = ["taskyard", "worker", "benchmarks.http_yard:yard", "--url", f"http://127.0.0.1:{port}", "--key", key, "--slots", str(SLOTS)]  # fmt: skip
        with running(
            command, None, stdout=subprocess.PIPE, environment={"BENCH_EXPECTED": str(count)}
        ) as worker:
            assert worker.stdout is not None
            said = json.loads(worker.stdout.readline())
    return (count - 1) / (said["last"] - said["first"])


def in_process(context: Any, sent: float) -> None:
    return None


def _pooled(sent: float) -> None:
    return None


def pooled(count: int) -> float:
    """Return the calls per second of a ProcessPoolExecutor of two, 50 on their way at a time: no store, no limits, no kill."""
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_pooled, [0.0] * 20))
        waiting: set[Any] = set()
        began = time.perf_counter()
        for _ in range(count):
            if len(waiting) >= 50:
                _, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            waiting.add(pool.submit(_pooled, 0.0))
        wait(waiting)
        return count / (time.perf_counter() - began)


def children(count: int, at_once: int = 4) -> float:
    """Return the calls per second of process handlers on a worker's bench, without claiming and settling: what the pool does, too."""
    from taskyard import Yard
    from taskyard.core.task import NewTask

    with (
        tempfile.TemporaryDirectory(prefix="bench-children-") as folder,
        Yard(Path(folder) / "yard.db") as yard,
    ):
        yard.task("noop", isolation="process")(in_process)
        tasks = []
        for start in range(0, count + 50, 500):
            tasks += yard.submit_many(
                [NewTask(type="noop", input={"sent": 0.0})] * min(500, count + 50 - start)
            )
        held = [replace(task, holder="worker:bench", claims=1) for task in tasks]
        return asyncio.run(_on_the_bench(yard, held, at_once))


async def _on_the_bench(yard: Any, tasks: list[Any], at_once: int) -> float:
    from taskyard.loops.attempt import Attempt
    from taskyard.loops.bench import Bench

    loop = asyncio.get_running_loop()

    class Owner:
        desk: Any = None
        handlers = yard.handlers
        jitter = staticmethod(lambda: 0.0)
        ends: ClassVar[dict[Any, asyncio.Future[Any]]] = {}

        def noted(self, attempt: Any) -> None: ...

        def ended(self, attempt: Any, outcome: Any) -> None:
            self.ends.pop(attempt).set_result(outcome)

    owner, bench = Owner(), Bench(yard.handlers)
    bench.start()

    async def runner(some: Iterator[Any]) -> None:
        for task in some:
            attempt = Attempt(task, yard.handlers.get("noop"), owner)
            owner.ends[attempt] = end = loop.create_future()
            bench.begin(attempt)
            await end

    try:
        await asyncio.gather(*(runner(iter(tasks[each:50:at_once])) for each in range(at_once)))  # hires them
        rest = iter(tasks[50:])
        began = time.perf_counter()
        await asyncio.gather(*(runner(rest) for _ in range(at_once)))
        return (len(tasks) - 50) / (time.perf_counter() - began)
    finally:
        bench.close()


def drained_in_processes(servers: Servers, count: int) -> float:
    """Return the tasks per second that process handlers drain, the store and all."""
    from taskyard import Yard
    from taskyard.core.task import NewTask

    with Yard(servers.fresh("sqlite")) as yard:
        yard.task("noop", isolation="process")(in_process)
        yard.submit_many([NewTask(type="noop", input={"sent": 0.0})] * 50)
        yard.run_until_idle(slots=4)
        for start in range(0, count, 500):
            yard.submit_many([NewTask(type="noop", input={"sent": 0.0})] * min(500, count - start))
        began = time.perf_counter()
        yard.run_until_idle(slots=4)
        return count / (time.perf_counter() - began)


def drained_in_threads(servers: Servers, store: str, count: int) -> float:
    """Return the tasks per second that handlers on threads drain, the store and all."""
    from taskyard import Yard
    from taskyard.core.task import NewTask

    with Yard(servers.fresh(store)) as yard:
        yard.task("noop")(in_process)
        for start in range(0, count, 500):
            yard.submit_many([NewTask(type="noop", input={"sent": 0.0})] * min(500, count - start))
        began = time.perf_counter()
        yard.run_until_idle(slots=SLOTS)
        return count / (time.perf_counter() - began)


def asked_at_rest(servers: Servers, store: str, seconds: float) -> dict[str, float]:
    """Return the statements per second that a server with a worker gives to its database when there is nothing to do."""
    if store == "postgresql":
        import psycopg

        url = servers.fresh("postgresql, counted")
        with serving(url), psycopg.connect(url, autocommit=True) as asking:
            asking.execute("CREATE EXTENSION pg_stat_statements SCHEMA public")

            def asked() -> int:
                row = asking.execute(
                    "SELECT sum(calls) FROM public.pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
                    " AND query NOT LIKE '%pg_stat_statements%'"
                ).fetchone()
                return int(row[0]) if row else 0

            return {"statements": _per_second(asked, seconds)}
    url = servers.fresh("sqlite")
    counted = Path(url).with_name("counted")
    with serving(url, before=("benchmarks.counted", str(counted))):
        return {"statements": _per_second(lambda: int(counted.read_text()), seconds)}


def _per_second(count: Callable[[], int], seconds: float) -> float:
    time.sleep(2.0)
    before = count()
    time.sleep(seconds)
    return (count() - before) / seconds


def at_rest(servers: Servers, store: str, seconds: float) -> dict[str, float]:
    """Return what a server with a worker costs when there is nothing to do, and how long it takes to come up."""
    began = time.perf_counter()
    with serving(servers.fresh(store)) as (_, _, pid):
        cold = time.perf_counter() - began
        time.sleep(1.0)
        before, database = _cpu_seconds(pid), servers.cpu_seconds(store)
        time.sleep(seconds)
        found = {
            "cold_start_s": cold,
            "idle_cpu_percent": (_cpu_seconds(pid) - before) / seconds * 100,
            "memory_mib": _resident_mib(pid),
        }
        if database is not None:
            after = servers.cpu_seconds(store)
            assert after is not None
            found["idle_database_cpu_percent"] = (after - database) / seconds * 100
    return found


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mib(pid: int) -> float:
    [line] = [
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    ]
    return int(line.split()[1]) / 1024


def commits(servers: Servers, store: str, count: int) -> dict[str, float]:
    """Return the rates of submitting one by one from the library and of raw single commits, taken in turns of a tenth each."""
    from benchmarks.raw import RawPostgres, RawSqlite
    from taskyard import Yard

    url = servers.fresh(store)
    with Yard(url) as yard:
        raw: Any = RawSqlite(url) if store == "sqlite" else RawPostgres(url)
        yard.submit("noop")
        seconds = {"raw": 0.0, "ours": 0.0}
        turns, each = 10, max(1, count // 10)
        for _ in range(turns):
            for name, move in (
                ("raw", lambda: raw.insert(1)),
                ("ours", lambda: yard.submit("noop", {"n": 1})),
            ):
                began = time.perf_counter()
                for _ in range(each):
                    move()
                seconds[name] += time.perf_counter() - began
        raw.close()
    return {name: turns * each / spent for name, spent in seconds.items()}
