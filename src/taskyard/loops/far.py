"""A handler on an executor, perhaps on another machine: calls the worker back over a line of its own, and ends over it."""

import contextlib
import os
import platform
import select
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from taskyard.core.outcome import Stopped
from taskyard.core.task import Task
from taskyard.loops.answering import call, not_json, outcome_of, outcome_of_error
from taskyard.loops.capture import CURRENT, capturing
from taskyard.loops.context import Canceled, Note, Question, SyncContext, Wrote
from taskyard.loops.lines import Answered, Ended, Hello, Lines, Refused, Stop, answer_as, line

Got = TypeVar("Got")

#: How long it tries to reach its worker.
REACH_WITHIN_S: Final = 10.0
RECEIVE_BYTES: Final = 256 * 1024
#: A peer whose machine or network has gone is noticed within half a minute.
KEEPALIVE: Final = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))


@dataclass(frozen=True, slots=True)
class Far:
    """One attempt, as it is sent to an executor: everything in it can be pickled."""

    host: str
    port: int
    token: str = field(repr=False)
    function: Callable[..., Any]
    task: Task
    args: tuple[Any, ...]
    named: dict[str, Any]

    @property
    def __name__(self) -> str:
        """What executors show people, such as Dask on its dashboard."""
        return f"{self.task.type} {self.task.id} attempt {self.task.claims}"

    def __call__(self) -> None:
        """
        Run the handler, and tell the worker what came of it.

        An executor may run it a second time, as Dask does with what a machine that died was running: the worker does not let the
        second one begin.
        """
        try:
            connection = self._connected()
        except OSError as error:
            raise ConnectionError(
                f"{platform.node()} cannot reach the worker at {self.host}:{self.port}: {error}; start the worker with "
                "--reachable-at and an address that the executor's machines can reach"
            ) from None
        with connection:
            wire = FarLine(connection)
            with contextlib.suppress(OSError):  # the worker has gone, or wants no more of it
                if wire.begin(Hello(self.token, f"{platform.node()}:{os.getpid()}")):
                    wire.send(line(self._ran(wire)))
                    connection.shutdown(socket.SHUT_WR)

    def _connected(self) -> socket.socket:
        connection = socket.create_connection((self.host, self.port), REACH_WITHIN_S)
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive(connection)
        return connection

    def _ran(self, wire: "FarLine") -> Ended:
        try:
            with _caught(wire):
                outcome = outcome_of(call(self.function, SyncContext(self.task, wire), self.args, self.named))
        except Canceled:
            return Ended.of(Stopped())
        except OSError as error:
            if wire.gone:  # whatever it is, nobody hears of it
                raise
            return _failed(error)
        except BaseException as error:
            return _failed(error)
        try:
            line(Ended.of(outcome))
        except Exception as error:
            return Ended.of(not_json(outcome, error))
        return Ended.of(outcome)


@contextlib.contextmanager
def _caught(wire: "FarLine") -> Iterator[None]:
    """Within: what is printed or logged goes into the attempt's log."""
    before = CURRENT.set(wire)
    try:
        with capturing():
            yield
            wire.flush()
    finally:
        CURRENT.reset(before)


def _failed(error: BaseException) -> Ended:
    raised = tuple(f"{each.__module__}.{each.__qualname__}" for each in type(error).__mro__)
    return Ended.of(outcome_of_error(error, ()), raised)


class FarLine:
    """The line of a context far from its worker. Any thread of the handler's may use it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = Lines()
        self._answers: list[Answered | Refused] = []
        self._lock = threading.RLock()
        self._unsent = ""
        self._stopped = False
        self._told = False
        self.gone = False

    def begin(self, hello: Hello) -> bool:
        """Say whether the worker wants it to begin."""
        self.send(line(hello))
        try:
            return isinstance(self._answer(), Answered)
        except ConnectionError:
            return False

    @property
    def stopping(self) -> bool:
        with self._lock:
            while not self._stopped and select.select([self._connection], [], [], 0)[0]:
                self._receive()
            return self._stopped

    async def ask(self, question: Question[Got]) -> Got:
        with self._lock:
            self._mind_stops()
            self._call(line(question))
            answer = self._answer()
        if isinstance(answer, Refused):
            raise answer.error()
        got: Got = answer_as(question, answer.value)
        return got

    def tell(self, note: Note) -> None:
        with self._lock:
            self._mind_stops()
            self._call(line(note))

    def _call(self, data: bytes) -> None:
        """Send what the handler says; when nobody is there any more, it is to stop."""
        try:
            self.send(data)
        except OSError:
            self._told = True
            raise Canceled from None

    def wrote(self, text: str) -> None:
        """Take what was printed; told by the line."""
        with self._lock:
            whole, newline, self._unsent = (self._unsent + text).rpartition("\n")
            if newline:
                self._say(Wrote(whole + newline))

    def flush(self) -> None:
        with self._lock:
            unsent, self._unsent = self._unsent, ""
            if unsent:
                self._say(Wrote(unsent))

    def _say(self, note: Note) -> None:
        with contextlib.suppress(OSError):  # printing must not fail because nobody hears it
            self.send(line(note))

    def send(self, data: bytes) -> None:
        with self._lock:
            try:
                self._connection.sendall(data)
            except OSError:
                self.gone = self._stopped = True
                raise

    def _answer(self) -> Answered | Refused:
        while not self._answers:
            self._receive()
            if self.gone:
                raise Canceled
        return self._answers.pop(0)

    def _receive(self) -> None:
        try:
            data = self._connection.recv(RECEIVE_BYTES)
        except OSError:
            data = b""
        if not data:
            self.gone = self._stopped = True
            return
        for message in self._lines.feed(data):
            if isinstance(message, Stop):
                self._stopped = True
            else:
                self._answers.append(message)

    def _mind_stops(self) -> None:
        if self.stopping and not self._told:
            self._told = True  # once, so that the handler can clean up with what it has
            raise Canceled


def keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE:
        if hasattr(socket, name):  # Linux has them all
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
