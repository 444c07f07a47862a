"""
What a worker and a function on an executor say to one another: lines of JSON.

The function may run on another machine, and the line lies open on the network, so nothing that comes over it is unpickled: each
message is one of those below, and each of its members is checked.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from taskyard.core import errors
from taskyard.core.errors import TaskyardError
from taskyard.core.outcome import Done, Failed, Later, Outcome, Released, Stopped, Waits
from taskyard.core.task import Json, Task
from taskyard.loops.context import (
    Look,
    Progressed,
    Publish,
    Question,
    Recall,
    Remember,
    Spawn,
    SpawnEach,
    Wrote,
)

Got = TypeVar("Got")

#: Of one line. A step's output has a limit far below, which the service minds.
MAX_LINE_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Hello:
    """First of all: the token that the worker gave the attempt, and where the function runs, for people."""

    token: str
    place: str


@dataclass(frozen=True, slots=True)
class Answered:
    value: Json = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Instead of an answer: the name of the error's class, and what it says."""

    kind: str
    message: str

    def error(self) -> Exception:
        kind = getattr(errors, self.kind, None)
        if not (isinstance(kind, type) and issubclass(kind, TaskyardError)):
            return RuntimeError(self.message)
        error = kind.__new__(kind, self.message)  # its own constructor may want more than the message
        error.args = (self.message,)
        return error


@dataclass(frozen=True, slots=True)
class Stop:
    """Worker to function: nobody wants it any more."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Function to worker: what came of it; ``raised`` names the classes of the error that was raised, its own first."""

    outcome: str
    members: dict[str, Any]
    raised: tuple[str, ...] = ()

    @classmethod
    def of(cls, outcome: Outcome, raised: tuple[str, ...] = ()) -> "Ended":
        return cls(type(outcome).__name__, _members(outcome), raised)

    def told(self) -> Outcome:
        """Raises ValueError: it is no outcome."""
        if self.outcome not in _OUTCOMES:
            raise ValueError(f"{self.outcome!r} is no outcome")
        outcome: Outcome = msgspec.convert(self.members, _OUTCOMES[self.outcome])
        return outcome


_OUTCOMES: Final[dict[str, type[Any]]] = {
    each.__name__: each for each in (Done, Failed, Later, Waits, Stopped, Released)
}
_MESSAGES: Final[dict[str, type[Any]]] = {
    each.__name__: each
    for each in (
        *(Hello, Answered, Refused, Stop, Ended),
        *(Recall, Remember, Publish, Spawn, SpawnEach, Look, Progressed, Wrote),
    )
}


def line(message: object) -> bytes:
    """Raises TypeError: something in it is not JSON."""
    return msgspec.json.encode([type(message).__name__, _members(message)]) + b"\n"


def message_of(text: bytes) -> Any:
    """Raises ValueError: it is none of the messages."""
    try:
        name, members = msgspec.json.decode(text, type=tuple[str, dict[str, Any]])
        if name == "SpawnEach":
            return SpawnEach(**members)
        return msgspec.convert(members, _MESSAGES[name])
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise ValueError(f"{bytes(text[:80])!r} is no message: {error}") from None


class Lines:
    """Cuts a stream of bytes into messages."""

    def __init__(self, most_bytes: int = MAX_LINE_BYTES) -> None:
        self.most_bytes = most_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """Raises ValueError: a line is too long, or no message."""
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            text = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            yield message_of(text)
        if len(self._buffer) > self.most_bytes:
            raise ValueError(f"a line is longer than {self.most_bytes:,} bytes")


def answer_as(question: Question[Got], value: Json) -> Any:
    """Return the answer to *question* as it was before it became JSON."""
    if isinstance(question, Look):
        return msgspec.convert(value, list[Task])
    if isinstance(question, Recall):
        return tuple(value)
    return value


def named(function: str | Callable[..., Any]) -> str:
    """Return what a function is called on both sides."""
    return function if isinstance(function, str) else f"{function.__module__}:{function.__qualname__}"


def _members(message: object) -> dict[str, Any]:
    members = {name: getattr(message, name) for name in _names(type(message))}
    if isinstance(message, SpawnEach):
        members["what"] = named(message.what)
    return members


def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(getattr(kind, "__dataclass_fields__", {}))
