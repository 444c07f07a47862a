"""Where the functions on executors call back: one listening socket of the worker, and a token for each attempt."""

import asyncio
import hmac
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import structlog

from taskyard.core.errors import Invalid, TaskyardError
from taskyard.core.outcome import Failed, Outcome
from taskyard.core.task import Reason
from taskyard.loops.attempt import Attempt
from taskyard.loops.context import Progressed, Question, SpawnEach, Wrote
from taskyard.loops.far import Far, keep_alive
from taskyard.loops.handlers import Handlers
from taskyard.loops.lines import Answered, Ended, Hello, Lines, Refused, Stop, line, named

#: Where executors of this very machine reach the worker.
LOOPBACK: Final = "127.0.0.1"
#: Who calls and has not said a token of ours within this time and length is hung up on.
HELLO_WITHIN_S: Final = 10.0
MAX_HELLO_BYTES: Final = 1024
TOKEN_BYTES: Final = 32

log = structlog.get_logger("taskyard.loops")


class Line(asyncio.Protocol):
    """The worker's end of one line; nothing that comes over it is believed before a token of ours has."""

    def __init__(self, board: "Switchboard") -> None:
        self.attempt: Attempt | None = None
        self.token = ""
        self._board = board
        self._lines = Lines(MAX_HELLO_BYTES)
        self._transport: asyncio.WriteTransport | None = None
        self._place = ""
        self._ended = False
        self._asked: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's do not inherit from it
        keep_alive(transport.get_extra_info("socket"))
        asyncio.get_running_loop().call_later(HELLO_WITHIN_S, self._expect_hello)

    def connection_lost(self, error: Exception | None) -> None:
        for asked in self._asked:
            asked.cancel()
        if self.attempt is not None and not self._ended:
            self._end(
                Failed(f"the process that ran it, {self._place}, died or was cut off", code=Reason.KILLED)
            )

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._lines.feed(data):
                self._hear(message)
        except ValueError as error:
            self._fault(error)

    def stop(self) -> None:
        self._send(Stop())

    def close(self) -> None:
        self._ended = True
        if self._transport is not None:
            self._transport.close()

    def _expect_hello(self) -> None:
        if self.attempt is None:
            self.close()

    def _hear(self, message: Any) -> None:
        if self.attempt is None:
            if not isinstance(message, Hello):
                raise ValueError("it does not begin with a token")
            self._meet(message)
        elif isinstance(message, Wrote):
            self.attempt.wrote(message.text)
        elif isinstance(message, Progressed):
            self.attempt.tell(message)
        elif isinstance(message, Question):
            asked = asyncio.get_running_loop().create_task(self._answer(self.attempt, message))
            self._asked.add(asked)
            asked.add_done_callback(self._asked.discard)
        elif isinstance(message, Ended) and not self._ended:
            self._end(message.told(), message.raised)
        else:
            raise ValueError(f"a {type(message).__name__} is not for the worker to hear")

    def _meet(self, hello: Hello) -> None:
        attempt = self._board.met(hello.token, self)
        if attempt is None:
            self._send(Refused("LeaseLost", "nobody waits for this attempt"))
            self.close()
            return
        self.attempt, self.token, self._place = attempt, hello.token, hello.place
        self._lines.most_bytes = Lines().most_bytes
        self._send(Answered())

    def _fault(self, error: Exception) -> None:
        if self.attempt is None:
            log.warning("a stranger called the worker", error=str(error))
        elif not self._ended:
            self._end(_unreadable(error))
        self.close()

    def _end(self, outcome: Outcome, raised: Sequence[str] = ()) -> None:
        self._ended = True
        self._board.ended(self, outcome, raised)

    async def _answer(self, attempt: Attempt, question: Question[Any]) -> None:
        try:
            answer: Answered | Refused = Answered(await attempt.ask(self._board.here(question)))
        except TaskyardError as error:
            answer = Refused(type(error).__name__, str(error))
        except Exception as error:
            answer = Refused("RuntimeError", f"{type(error).__name__}: {error}")
        self._send(answer)

    def _send(self, message: object) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(line(message))


def _unreadable(error: Exception) -> Failed:
    return Failed(f"the function sent what the worker cannot read: {error}", code="not_json", final=True)


@dataclass(slots=True)
class _Awaited:
    attempt: Attempt
    line: Line | None = None


class Switchboard:
    """
    Everything on the worker's loop.

    Args:
        host: The address of this machine at which the executors' machines reach it; it listens there only, on a port it is given.
        ended: Told how an attempt ended, with the names of the classes of the error that was raised, if one was.
    """

    def __init__(
        self, handlers: Handlers, host: str, ended: Callable[[Attempt, Outcome, Sequence[str]], None]
    ) -> None:
        self._handlers = handlers
        self._host = host
        self._told = ended
        self._awaited: dict[str, _Awaited] = {}
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._starting: asyncio.Task[None] | None = None
        self._port = 0

    def start(self) -> None:
        """Raises Invalid: the address is none of this machine's."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            self._socket = socket.create_server((self._host, 0), family=family, backlog=1024)
        except OSError as error:
            raise Invalid(
                f"the worker cannot listen at {self._host!r}: {error}; --reachable-at takes an address of this machine"
            ) from None
        self._port = self._socket.getsockname()[1]
        self._starting = asyncio.get_running_loop().create_task(self._listen(self._socket))

    async def _listen(self, listening: socket.socket) -> None:
        self._server = await asyncio.get_running_loop().create_server(lambda: Line(self), sock=listening)

    def close(self) -> None:
        """Hang up on everybody."""
        for each in self._awaited.values():
            if each.line is not None:
                each.line.close()
        self._awaited.clear()
        if self._starting is not None:
            self._starting.cancel()
        if self._server is not None:
            self._server.close()
        if self._socket is not None:
            self._socket.close()

    def far(self, attempt: Attempt) -> Far:
        """Return what an executor is given to run *attempt*."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._awaited[token] = _Awaited(attempt)
        handler, task = attempt.handler, attempt.task
        args, named_args = handler.arguments(task.input)
        return Far(self._host, self._port, token, handler.function, task, args, named_args)

    def runs(self, far: Far) -> bool:
        """Say whether the function has begun, so that its line will tell how it ended."""
        awaited = self._awaited.get(far.token)
        return awaited is not None and awaited.line is not None

    def stop(self, far: Far) -> bool:
        """Tell the function to stop; say whether it runs."""
        awaited = self._awaited.get(far.token)
        if awaited is None or awaited.line is None:
            return False
        awaited.line.stop()
        return True

    def forget(self, far: Far) -> None:
        """Let it not begin any more; where it runs, hang up."""
        awaited = self._awaited.pop(far.token, None)
        if awaited is not None and awaited.line is not None:
            awaited.line.stop()
            awaited.line.close()

    # -- what lines tell -------------------------------------------------------------------------------------------------------

    def met(self, token: str, line: Line) -> Attempt | None:
        """Return whose token it is: one that begins for the first time, and is still wanted."""
        for ours, awaited in self._awaited.items():
            if hmac.compare_digest(ours.encode(), token.encode()) and awaited.line is None:
                awaited.line = line
                return awaited.attempt
        return None

    def here(self, question: Question[Any]) -> Question[Any]:
        """Return *question* with the handler that it names by its function's name."""
        if isinstance(question, SpawnEach):
            for handler in self._handlers:
                if named(handler.function) == question.what:
                    return SpawnEach(question.step, handler.type, question.inputs, question.queue)
        return question

    def ended(self, line: Line, outcome: Outcome, raised: Sequence[str] = ()) -> None:
        assert line.attempt is not None
        self._awaited.pop(line.token, None)
        self._told(line.attempt, outcome, raised)
