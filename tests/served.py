"""A real server in a process of its own, for tests that see it as its users do: by URL and key, or by the command line."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskyard.client import Client

#: Far longer than anything takes on a slow machine: what exceeds it hangs.
PATIENCE_SECONDS = 60

YARD = '''
"""The tasks that tests submit."""

import time

from taskyard import Context, Failed, SyncContext, Yard

yard = Yard()


@yard.task("greet")
async def greet(ctx: Context, name: str = "world"):
    print(f"greeting {name}")
    return f"hello {name}"


@yard.task("fail")
async def fail(ctx: Context, message: str = "it broke"):
    return Failed(message, code="broken", final=True)


@yard.task("show")
async def show(ctx: Context):
    size = await ctx.step("measure", lambda: 3)
    await ctx.progress(1, total=size, message="begun")
    await ctx.publish("preview", {"size": size})
    await ctx.event(f"go:{ctx.id}")
    return size


@yard.task("spin")
def spin(ctx: SyncContext):
    while True:  # until a call of the context says that it was asked to stop
        ctx.progress(0, message="spinning")
        time.sleep(0.01)


@yard.task("double")
async def double(ctx: Context, numbers: list):
    return sum(await ctx.map("each", twice, [{"number": number} for number in numbers]))


@yard.task("twice")
def twice(ctx: SyncContext, number: int):
    return 2 * number
'''


@dataclass
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Served:
    """A running server. ``folder`` holds its database, its key and the tests' yard."""

    url: str
    key: str
    folder: Path
    process: "subprocess.Popen[str]"

    def client(self) -> Client:
        return Client(self.url, self.key)

    def run(self, *args: str, stdin: str = "", **environment: str) -> Ran:
        """Run ``taskyard ARGS`` for this server."""
        return run(self.folder, *args, stdin=stdin, TASKYARD_URL=self.url, **environment)

    def start(self, *args: str) -> "subprocess.Popen[str]":
        """Start ``taskyard ARGS`` for this server and go on."""
        return start(self.folder, *args, TASKYARD_URL=self.url)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TASKYARD_")}
    return {**kept, "COLUMNS": "200", **extra}


def run(folder: Path, *args: str, stdin: str = "", **extra: str) -> Ran:
    ended = subprocess.run(
        [sys.executable, "-m", "taskyard", *args],
        cwd=folder,
        env=environment(extra),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return Ran(ended.returncode, ended.stdout, ended.stderr)


def start(folder: Path, *args: str, **extra: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "taskyard", *args],
        cwd=folder,
        env=environment(extra),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def serving(folder: Path, *args: str) -> Iterator[Served]:
    """Within: a server on a free port, told to stop at the end."""
    (folder / "yard.py").write_text(YARD)
    log = (folder / "serve.log").open("w")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "taskyard",
            "serve",
            "--port",
            "0",
            "--json",
            *args,
        ],
        cwd=folder,
        env=environment({}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"the server did not come up:\n{(folder / 'serve.log').read_text()}"
        assert line.startswith("{"), f"the server says {line!r}:\n{(folder / 'serve.log').read_text()}"
        told = json.loads(line)
        yield Served(told["url"], (folder / "taskyard.key").read_text().strip(), folder, process)
    finally:
        stop(process)
        log.close()


def stop(process: "subprocess.Popen[str]") -> int:
    """Stop a process as an operator would; return its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    return process.returncode
