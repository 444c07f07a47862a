"""Child processes as the worker sees them: hired warm, killed when they must be, and replaced."""

import asyncio
import itertools
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from taskyard.core.outcome import Failed, Outcome
from taskyard.core.task import Reason
from taskyard.loops.answering import outcome_of_error
from taskyard.loops.attempt import Attempt
from taskyard.loops.frames import Callee
from taskyard.loops.handlers import Handler, Place
from taskyard.loops.hired import Child
from taskyard.loops.loading import origin_of

#: How long a dead child's exit status is waited for; the zygote tells it within a millisecond unless it is dead too.
STATUS_WITHIN_S: Final = 2.0
#: How long a zygote may take to go after its socket was closed.
GONE_WITHIN_S: Final = 5.0
MAX_MESSAGE_BYTES: Final = 64 * 1024

log = structlog.get_logger("taskyard.loops")


class Children:
    """The children of one worker, and the zygote they come from. Everything on the worker's loop."""

    def __init__(self, handlers: Sequence[Handler]) -> None:
        self._callees = {
            each.type: Callee(origin_of(each.function), each.takes_input, each.memory_limit_bytes)
            for each in handlers
            if each.place is Place.PROCESS
        }
        self._tokens = itertools.count(1)
        self._idle: list[Child] = []
        self._children: dict[int, Child] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps only weak references
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self, attempt: Attempt) -> None:
        """Run *attempt* in a child, and end it; a child that dies of it is a failure that names the signal."""
        while self._idle:
            child = self._idle.pop()
            if not child.gone:
                self._give(child, attempt)
                return
        self._later(self._hire(attempt))

    def kill(self, child: Child) -> None:
        child.gone = True  # it may have answered meanwhile: nothing else is to die with it
        self._tell({"do": "kill", "token": child.token})

    def _give(self, child: Child, attempt: Attempt) -> None:
        attempt.runner = child
        child.run(attempt)

    def _ended(self, child: Child, attempt: Attempt, outcome: Outcome | None) -> None:
        if outcome is None:
            self._later(self._bury(child, attempt))
            return
        if not child.gone:
            self._idle.append(child)
        attempt.end(outcome)

    async def _bury(self, child: Child, attempt: Attempt) -> None:
        try:
            how = await self._how_it_died(child)
        except OSError as error:  # it was never born
            attempt.end(outcome_of_error(error, ()))
        else:
            attempt.end(Failed(f"the process that ran it {how}", code=Reason.KILLED))

    def _later(self, doing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Kill all and let the zygote go."""
        control, self._control = self._control, None
        if control is not None:
            asyncio.get_running_loop().remove_reader(control.fileno())
            control.close()
        for child in list(self._children.values()):
            child.close()
        self._children.clear()
        self._idle.clear()
        process, self._process = self._process, None
        if process is not None:
            try:
                process.wait(GONE_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    async def _hire(self, attempt: Attempt) -> None:
        """Fork a child for *attempt*."""
        try:
            child = await self._forked()
        except Exception as error:  # such as that there are no more sockets
            attempt.end(outcome_of_error(error, ()))
            return
        if attempt.over:  # stopped meanwhile
            self._idle.append(child)
        else:
            self._give(child, attempt)

    async def _forked(self) -> Child:
        self._start()
        assert self._control is not None
        ours, theirs = socket.socketpair()
        with theirs:
            child = Child(next(self._tokens), self._ended)
            self._children[child.token] = child
            message = json.dumps({"do": "fork", "token": child.token}).encode()
            socket.send_fds(self._control, [message], [theirs.fileno()])
        await asyncio.get_running_loop().create_unix_connection(lambda: child, sock=ours)
        child.begin(self._callees)
        return child

    def start(self) -> None:
        """Start the zygote ahead of the first task, where there are handlers that need it."""
        if self._callees:
            self._start()

    def _start(self) -> None:
        if self._control is not None:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            folder = str(Path(__file__).parents[2])
            code = f"import sys; sys.path.insert(0, {folder!r}); from taskyard.loops.zygote import main; main({theirs.fileno()})"
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # so that a Ctrl-C at the terminal is the worker's to decide about
            )
        origins = [callee.origin for callee in self._callees.values()]
        modules = sorted({(origin.module, origin.file) for origin in origins}, key=str)
        ours.send(json.dumps({"path": sys.path, "argv": sys.argv, "modules": modules}).encode())
        self._control = ours
        asyncio.get_running_loop().add_reader(ours.fileno(), self._hear, ours)

    def _tell(self, message: dict[str, object]) -> None:
        if self._control is not None:
            try:
                self._control.send(json.dumps(message).encode())
            except OSError:
                self._zygote_died()

    def _hear(self, control: socket.socket) -> None:
        try:
            data = control.recv(MAX_MESSAGE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._zygote_died()
            return
        message = json.loads(data)
        if "died" in message:
            child = self._children.pop(message["died"], None)
            if child is None:
                return
            if "why" in message:
                child.died.set_exception(OSError(message["why"]))
            else:
                child.died.set_result(_how(message["code"]))

    def _zygote_died(self) -> None:
        """Forget it; the next child comes from a new one. Its children die with it."""
        control, self._control = self._control, None
        if control is None:
            return
        log.error("the process that forks children died; another is started")
        asyncio.get_running_loop().remove_reader(control.fileno())
        control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None
        for child in self._children.values():
            if not child.died.done():
                child.died.set_result("died with the process that forks children")
        self._children.clear()
        self._idle.clear()

    async def _how_it_died(self, child: Child) -> str:
        try:
            return await asyncio.wait_for(asyncio.shield(child.died), STATUS_WITHIN_S)
        except TimeoutError:
            return "died"


def _how(code: int) -> str:
    if code >= 0:
        return f"exited with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}"
