"""Child processes as the worker sees them: hired warm, killed when they must be, and replaced."""

import asyncio
import itertools
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

import structlog

from taskyard.core.errors import TaskyardError
from taskyard.core.outcome import Failed, Outcome, Released
from taskyard.core.task import Reason
from taskyard.loops.attempt import Attempt
from taskyard.loops.context import Wrote
from taskyard.loops.frames import Answered, Ask, Ended, Refused, Run, Tell, Unpacker, packed
from taskyard.loops.handlers import Handler, Place
from taskyard.loops.loading import Origin, origin_of

#: How long a dead child's exit status is waited for; the zygote tells it within a millisecond unless it is dead too.
STATUS_WITHIN_S: Final = 2.0
#: How long a zygote may take to go after its socket was closed.
GONE_WITHIN_S: Final = 5.0
MAX_MESSAGE_BYTES: Final = 64 * 1024

log = structlog.get_logger("taskyard.loops")


class Child(asyncio.Protocol):
    """One child: runs one attempt at a time, and answers what its handler asks."""

    def __init__(self, token: int) -> None:
        self.token = token
        self.died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.gone = False
        self._unpacker = Unpacker()
        self._transport: asyncio.WriteTransport | None = None
        self._attempt: Attempt | None = None
        self._ended: asyncio.Future[Outcome] | None = None
        self._asked: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's do not inherit from it

    def connection_lost(self, error: Exception | None) -> None:
        self.gone = True
        for asked in self._asked:
            asked.cancel()
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(EOFError())

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._unpacker.feed(data):
                self._hear(message)
        except Exception as error:  # it sent what cannot be unpacked here
            self._end(
                Failed(f"the child sent what the worker cannot read: {error}", code="not_json", final=True)
            )

    async def run(self, attempt: Attempt, origin: Origin) -> Outcome:
        """
        Run *attempt* to its end.

        Raises:
            EOFError: the child died.
        """
        if self.gone:
            raise EOFError
        self._attempt = attempt
        self._ended = asyncio.get_running_loop().create_future()
        args, named = attempt.handler.arguments(attempt.task.input)
        self._send(Run(origin, attempt.task, args, named, attempt.handler.memory_limit_bytes))
        return await self._ended

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _hear(self, message: Any) -> None:
        attempt = self._attempt
        assert attempt is not None
        match message:
            case Tell(Wrote(text)):
                attempt.wrote(text)
            case Tell(note):
                attempt.tell(note)
            case Ask(question):
                asked = asyncio.get_running_loop().create_task(self._answer(attempt, question))
                self._asked.add(asked)
                asked.add_done_callback(self._asked.discard)
            case Ended(outcome, raised):
                self._end(judged(outcome, raised, attempt.handler.no_retry))
            case _:
                raise TypeError(f"{message!r} is not a message of a child")

    async def _answer(self, attempt: Attempt, question: Any) -> None:
        try:
            answer: Answered | Refused = Answered(await attempt.ask(question))
        except TaskyardError as error:
            answer = Refused.of(error)
        except Exception as error:
            answer = Refused(RuntimeError, f"{type(error).__name__}: {error}", {})
        self._send(answer)

    def _end(self, outcome: Outcome) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(outcome)

    def _send(self, message: object) -> None:
        if self._transport is not None and not self.gone:
            self._transport.write(packed(message))


def judged(outcome: Outcome, raised: Sequence[str], no_retry: tuple[type[BaseException], ...]) -> Outcome:
    """Apply ``no_retry`` to an error of which only the names of its classes came over."""
    final = {f"{each.__module__}.{each.__qualname__}" for each in no_retry}
    if isinstance(outcome, Failed) and not final.isdisjoint(raised):
        return Failed(outcome.message, outcome.code, True, outcome.traceback, outcome.after)
    return outcome


class Children:
    """The children of one worker, and the zygote they come from. Everything on the worker's loop."""

    def __init__(self, handlers: Sequence[Handler]) -> None:
        self._origins = {
            each.type: origin_of(each.function) for each in handlers if each.place is Place.PROCESS
        }
        self._tokens = itertools.count(1)
        self._idle: list[Child] = []
        self._children: dict[int, Child] = {}
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    async def run(self, attempt: Attempt) -> Outcome:
        """
        Run *attempt* in a child; one that dies of it is a failure that names the signal.

        Raises:
            OSError: there is no room for another process.
        """
        child = await self._hire()
        if attempt.over:  # stopped meanwhile
            self._idle.append(child)
            return Released()
        attempt.runner = child
        try:
            outcome = await child.run(attempt, self._origins[attempt.task.type])
        except EOFError:
            how = await self._how_it_died(child)
            return Failed(f"the process that ran it {how}", code=Reason.KILLED)
        if not child.gone:
            self._idle.append(child)
        return outcome

    def kill(self, child: Child) -> None:
        self._tell({"do": "kill", "token": child.token})

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

    async def _hire(self) -> Child:
        while self._idle:
            child = self._idle.pop()
            if not child.gone:
                return child
        self._start()
        assert self._control is not None
        ours, theirs = socket.socketpair()
        with theirs:
            child = Child(next(self._tokens))
            self._children[child.token] = child
            message = json.dumps({"do": "fork", "token": child.token}).encode()
            socket.send_fds(self._control, [message], [theirs.fileno()])
        await asyncio.get_running_loop().create_unix_connection(lambda: child, sock=ours)
        return child

    def start(self) -> None:
        """Start the zygote ahead of the first task, where there are handlers that need it."""
        if self._origins:
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
        modules = sorted({(origin.module, origin.file) for origin in self._origins.values()}, key=str)
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
