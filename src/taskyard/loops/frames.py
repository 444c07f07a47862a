"""
What a worker and its children say to one another: messages with their length and their form in front.

A task goes one way and its output the other for every attempt, so these have a form of their own, at a fifth of the price. All
others, and what such a form does not take, are pickled.
"""

import pickle
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec

from taskyard.core.outcome import Done, Outcome
from taskyard.core.task import Task
from taskyard.loops.context import Note, Question
from taskyard.loops.loading import Origin

_HEAD: Final = struct.Struct("!IB")
_PICKLED: Final = 0
_TASK: Final = 1
_OUTPUT: Final = 2


@dataclass(frozen=True, slots=True)
class Callee:
    """What is the same for every attempt of a handler; see :class:`taskyard.loops.handlers.Handler`."""

    origin: Origin
    takes_input: bool
    memory_limit_bytes: int | None


@dataclass(frozen=True, slots=True)
class Begin:
    """Worker to child, once, before anything else: what there is to call, by type."""

    callees: Mapping[str, Callee]


@dataclass(frozen=True, slots=True)
class Run:
    """Worker to child: run this."""

    task: Task


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
    """Raises what pickling raises."""
    form, body = _formed(message)
    return _HEAD.pack(len(body), form) + body


def _formed(message: object) -> tuple[int, bytes]:
    if isinstance(message, Run):
        try:
            return _TASK, _encode_task(message.task)
        except (ValueError, OverflowError):  # such as a whole number of more than 64 bits
            pass
    elif isinstance(message, Ended) and type(message.outcome) is Done:
        return _OUTPUT, _pickled(message.outcome.output)
    return _PICKLED, _pickled(message)


def _unformed(form: int, body: bytes) -> Any:
    if form == _TASK:
        return Run(_decode_task(body))
    got = pickle.loads(body)
    return Ended(Done(got)) if form == _OUTPUT else got


_pickled: Final = partial(pickle.dumps, protocol=pickle.HIGHEST_PROTOCOL)
_encode_task: Final = msgspec.msgpack.Encoder().encode
_decode_task: Final = msgspec.msgpack.Decoder(Task).decode


class Unpacker:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        if not self._buffer and len(data) >= _HEAD.size:
            length, form = _HEAD.unpack_from(data)
            if len(data) == _HEAD.size + length:  # one whole message, as nearly always
                yield _unformed(form, data[_HEAD.size :])
                return
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            length, form = _HEAD.unpack_from(self._buffer)
            end = _HEAD.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_HEAD.size : end])
            del self._buffer[:end]
            yield _unformed(form, body)
