"""Handlers for child processes, which must find them at the top of a module; none of them is declared here."""

import asyncio
import ctypes
import os
import signal
import time
from pathlib import Path

from taskyard import Context, NewTask, SyncContext


def who(ctx: SyncContext, number: int = 0) -> dict:
    return {"pid": os.getpid(), "number": number, "attempt": ctx.attempt, "id": ctx.id}


async def who_async(ctx: Context, number: int = 0) -> dict:
    doubled = await ctx.step("double", _double, number)
    return {"pid": os.getpid(), "number": doubled}


async def _double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def everything(ctx: SyncContext) -> list:
    """Use all of the context; the first attempt fails after its step."""
    print("printed")
    ctx.log("told")
    ctx.progress(1, total=2, message="half")
    ctx.publish("preview", {"size": 3})
    once = ctx.step("once", os.getpid)
    if ctx.attempt == 1:
        raise OSError("busy")
    ids = ctx.spawn("child", [NewTask(type="who", input={"number": 5})])
    [child] = ctx.gather(ids)
    return [once, child.output["number"]]


def bad_step(ctx: SyncContext) -> None:
    ctx.publish("not a name!", 1)


def returns_what_cannot_be_sent(ctx: SyncContext) -> object:
    return lambda: None


def lookup(ctx: SyncContext) -> None:
    raise KeyError("gone")


def hang(ctx: SyncContext) -> None:
    ctx.publish("pid", os.getpid())
    while True:
        time.sleep(1)


def eat(ctx: SyncContext, size_bytes: int) -> int:
    return len(bytearray(size_bytes))


def crash(ctx: SyncContext, signal_number: int = signal.SIGSEGV) -> None:
    print("about to crash")
    os.kill(os.getpid(), signal_number)


def nap(ctx: SyncContext, seconds: float) -> int:
    """Return the number of the attempt, so that it is seen whose answer was taken."""
    time.sleep(seconds)
    return ctx.attempt


def segfault(ctx: SyncContext) -> None:
    """Read where nothing is, as a library written in C may."""
    ctypes.string_at(0)


def leave(ctx: SyncContext) -> None:
    os._exit(3)


def kill_the_worker(ctx: SyncContext, folder: str) -> None:
    """Kill the process that runs this: not a child, when the handler is not isolated."""
    (Path(folder) / f"killed-{ctx.attempt}").touch()
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for(ctx: SyncContext, file: str) -> str:
    """Publish the process, then wait until *file* is there."""
    ctx.publish("pid", os.getpid())
    while not Path(file).exists():
        time.sleep(0.01)
    return f"attempt {ctx.attempt}"


def steps(ctx: SyncContext, folder: str) -> list[str]:
    """Do three steps, each leaving a mark; hang in the third on the first attempt."""

    def mark(name: str) -> str:
        with (Path(folder) / name).open("a") as file:
            file.write("x")
        return name

    done = [ctx.step("one", mark, "one"), ctx.step("two", mark, "two")]
    if ctx.attempt == 1:
        ctx.publish("pid", os.getpid())
        while True:
            time.sleep(1)
    return [*done, ctx.step("three", mark, "three")]


def spin(ctx: SyncContext, folder: str) -> None:
    """Work until a call of the context says that nobody wants it any more."""
    try:
        ctx.publish("pid", os.getpid())  # it may be stopped out of this very call
        while True:
            ctx.progress(1, total=2)
            time.sleep(0.01)
    finally:
        (Path(folder) / f"stopped-{ctx.attempt}").touch()


def look_up_and_spin(ctx: SyncContext) -> str:
    """Work until the context says so when it is asked."""
    ctx.publish("pid", os.getpid())
    while not ctx.canceled:
        time.sleep(0.01)
    return "I saw it"


def fan_out(ctx: SyncContext, count: int) -> list:
    return [each["number"] for each in ctx.map("each", who, [{"number": n} for n in range(count)])]
