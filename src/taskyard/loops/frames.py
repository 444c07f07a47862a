"""What a worker and its children say to one another: pickled messages with their length in front."""

import pickle
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from taskyard.core.outcome import Outcome
from taskyard.core.task import Task
from taskyard.loops.context import Note, Question
from taskyard.loops.loading import Origin

_LENGTH: Final = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Run:
    """Worker to child: run this."""

    origin: Origin
    task: Task
    args: tuple[Any, ...]
    named: dict[str, Any]
    memory_limit_bytes: int | None


@dataclass(frozen=True, slots=True)
class Ask:
    """Child to worker: the handler asks, and waits."""

    question: Question[Any]


@dataclass(frozen=True, slots=True)
class Tell:
    """Child to worker: the handler says."""

    note: Note


@dataclass(frozen=True, slots=True)
class Ended:
    """Child to worker: what came of it; ``raised`` names the classes of the error that was raised, its own first."""

    outcome: Outcome
    raised: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answered:
    value: Any


@dataclass(frozen=True, slots=True)
class Refused:
    """Instead of an answer. An error's own constructor may want more than its message, so the error travels in pieces."""

    kind: type[Exception]
    message: str
    members: dict[str, Any]

    @classmethod
    def of(cls, error: Exception) -> "Refused":
        return cls(type(error), str(error), dict(error.__dict__))

    def error(self) -> Exception:
        error = self.kind.__new__(self.kind, self.message)
        error.args = (self.message,)
        error.__dict__.update(self.members)
        return error


def packed(message: object) -> bytes:
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


class Unpacker:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield pickle.loads(body)
