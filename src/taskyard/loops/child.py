"""A child process: runs one handler after another, each on the worker's word, until it is killed or its worker goes."""

import asyncio
import contextlib
import ctypes
import inspect
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from taskyard.core.task import Task
from taskyard.loops.answering import call, not_json, outcome_of, outcome_of_error
from taskyard.loops.capture import CURRENT, capturing
from taskyard.loops.context import Context, Note, Question, SyncContext, Wrote
from taskyard.loops.frames import Answered, Ask, Begin, Callee, Ended, Refused, Run, Tell, Unpacker, packed
from taskyard.loops.handlers import arguments_of
from taskyard.loops.loading import find

Got = TypeVar("Got")

#: What is printed goes to the worker by the line; a line longer than this goes in pieces.
LONGEST_LINE: Final = 8 * 1024
RECEIVE_BYTES: Final = 64 * 1024


class Pipe:
    """The line of a handler's context in a child: blocks until the worker has answered."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._unpacker = Unpacker()
        self._received: list[Any] = []
        self._asking = threading.Lock()
        self._sending = threading.Lock()
        self._unsent = ""

    @property
    def stopping(self) -> bool:
        return False  # a child is not asked to stop, it is killed

    async def ask(self, question: Question[Got]) -> Got:
        with self._asking:
            self.send(Ask(question))
            answer = self.receive()
        if isinstance(answer, Refused):
            raise answer.error()
        assert isinstance(answer, Answered)
        value: Got = answer.value
        return value

    def tell(self, note: Note) -> None:
        self.send(Tell(note))

    def wrote(self, text: str) -> None:
        unsent = self._unsent + text
        whole, newline, rest = unsent.rpartition("\n")
        if len(rest) > LONGEST_LINE:
            whole, newline, rest = unsent, "", ""
        self._unsent = rest
        if whole or newline:
            self.tell(Wrote(whole + newline))

    def flush(self) -> None:
        unsent, self._unsent = self._unsent, ""
        if unsent:
            self.tell(Wrote(unsent))

    def send(self, message: object) -> None:
        data = packed(message)
        with self._sending:
            self._connection.sendall(data)

    def receive(self) -> Any:
        """Return the next message. Raises EOFError when the worker has gone."""
        while not self._received:
            data = self._connection.recv(RECEIVE_BYTES)
            if not data:
                raise EOFError
            self._received += self._unpacker.feed(data)
        return self._received.pop(0)


def work(connection: socket.socket) -> None:
    """Run what the worker sends until it goes."""
    _die_with_the_zygote()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pipe = Pipe(connection)
    CURRENT.set(pipe)
    with capturing(), contextlib.suppress(EOFError, ConnectionError):
        begin = pipe.receive()
        assert isinstance(begin, Begin)
        while True:
            run = pipe.receive()
            ended = _run(run, begin.callees[run.task.type], pipe)
            pipe.flush()
            _send_end(pipe, ended)


def _run(run: Run, callee: Callee, pipe: Pipe) -> Ended:
    try:
        with _memory_limit(callee.memory_limit_bytes):
            return Ended(outcome_of(_called(run.task, callee, pipe)))
    except (EOFError, ConnectionError):
        raise
    except BaseException as error:
        raised = tuple(f"{each.__module__}.{each.__qualname__}" for each in type(error).__mro__)
        return Ended(outcome_of_error(error, ()), raised)


def _called(task: Task, callee: Callee, pipe: Pipe) -> Any:
    function = find(callee.origin)
    args, named = arguments_of(task.input) if callee.takes_input else ((), {})
    if inspect.iscoroutinefunction(function):
        return asyncio.run(call(function, Context(task, pipe), args, named))
    return call(function, SyncContext(task, pipe), args, named)


def _send_end(pipe: Pipe, ended: Ended) -> None:
    try:
        pipe.send(ended)
    except (EOFError, ConnectionError):
        raise
    except Exception as error:
        pipe.send(Ended(not_json(ended.outcome, error)))


@contextlib.contextmanager
def _memory_limit(limit_bytes: int | None) -> Iterator[None]:
    """Within: allocating more than *limit_bytes* beyond what the process has now raises MemoryError."""
    if limit_bytes is None:
        yield
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _address_space_bytes() + limit_bytes
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _address_space_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # not Linux: the limit is then on the whole process
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _die_with_the_zygote() -> None:
    """Ask Linux to kill this process when its parent dies, so that nothing goes on for a worker that is gone."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, <linux/prctl.h>
