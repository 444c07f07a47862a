"""One child process as the worker sees it: what is said to it, and what it says."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from taskyard.core.errors import TaskyardError
from taskyard.core.outcome import Failed, Outcome
from taskyard.loops.attempt import Attempt
from taskyard.loops.context import Wrote
from taskyard.loops.frames import Answered, Ask, Begin, Callee, Ended, Refused, Run, Tell, Unpacker, packed

RECEIVE_BYTES: Final = 64 * 1024


class Child(asyncio.BufferedProtocol):
    """
    One child: runs one attempt at a time, and answers what its handler asks.

    Args:
        ended: Called with what came of an attempt; None when the child died of it.
    """

    def __init__(self, token: int, ended: "Callable[[Child, Attempt, Outcome | None], None]") -> None:
        self.token = token
        self.died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        #: Whether nothing more can be given to it: it died, or is told to.
        self.gone = False
        self._told_ended = ended
        self._received = bytearray(RECEIVE_BYTES)
        self._unpacker = Unpacker()
        self._transport: asyncio.WriteTransport | None = None
        self._attempt: Attempt | None = None
        self._asked: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's do not inherit from it

    def connection_lost(self, error: Exception | None) -> None:
        self.gone = True
        for asked in self._asked:
            asked.cancel()
        self._end(None)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._received

    def buffer_updated(self, count: int) -> None:
        try:
            for message in self._unpacker.feed(bytes(memoryview(self._received)[:count])):
                self._hear(message)
        except Exception as error:  # it sent what cannot be unpacked here
            self._end(
                Failed(f"the child sent what the worker cannot read: {error}", code="not_json", final=True)
            )

    def begin(self, callees: Mapping[str, Callee]) -> None:
        """Tell it once what there is to call."""
        self._send(Begin(callees))

    def run(self, attempt: Attempt) -> None:
        self._attempt = attempt
        if self.gone:  # it died as soon as it was there
            self._end(None)
        else:
            self._send(Run(attempt.task))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _hear(self, message: Any) -> None:
        attempt = self._attempt
        if attempt is None:  # from a thread that a handler left behind
            return
        match message:
            case Ended(outcome, raised):
                self._end(judged(outcome, raised, attempt.handler.no_retry) if raised else outcome)
            case Tell(Wrote(text)):
                attempt.wrote(text)
            case Tell(note):
                attempt.tell(note)
            case Ask(question):
                asked = asyncio.get_running_loop().create_task(self._answer(attempt, question))
                self._asked.add(asked)
                asked.add_done_callback(self._asked.discard)
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

    def _end(self, outcome: Outcome | None) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            self._told_ended(self, attempt, outcome)

    def _send(self, message: object) -> None:
        if self._transport is not None and not self.gone:
            self._transport.write(packed(message))


def judged(outcome: Outcome, raised: Sequence[str], no_retry: tuple[type[BaseException], ...]) -> Outcome:
    """Apply ``no_retry`` to an error of which only the names of its classes came over."""
    final = {f"{each.__module__}.{each.__qualname__}" for each in no_retry}
    if isinstance(outcome, Failed) and not final.isdisjoint(raised):
        return Failed(outcome.message, outcome.code, True, outcome.traceback, outcome.after)
    return outcome
