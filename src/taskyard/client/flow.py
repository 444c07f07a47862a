"""
One core for two faces: a call is written once, as a *flow*, and driven by either face.

A flow is a generator that does no I/O. It yields steps (send this request, wait that long, give this item to the
caller), is sent the answer of each, and returns what the call returns. :class:`call` and :class:`stream` turn a flow
into a method that blocks on :class:`Blocking` and is awaited on :class:`Awaiting`; the types follow.
"""

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, Final, Generic, ParamSpec, Protocol, TypeVar, overload

from taskyard.core.task import Json

Given = ParamSpec("Given")
Answered = TypeVar("Answered")

#: Stands for "no body", because None is JSON.
NOTHING: Final[Any] = object()

Query = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, slots=True)
class Request:
    """
    A step: send this and give back its :class:`Answer`. ``path`` begins below the server's URL.

    ``again`` says that it may be sent twice: a connection that broke is tried again.
    ``holds_seconds`` is how long the server was asked to hold the answer back; ``within_seconds`` bounds the wait for it.
    """

    method: str
    path: str
    query: Query = field(default_factory=dict)
    body: Json = NOTHING
    headers: Mapping[str, str] = field(default_factory=dict)
    again: bool = False
    holds_seconds: float = 0.0
    within_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Names of ``headers`` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Open:
    """A step: send a request and keep its answer open; its lines are had by :class:`NextLine`."""

    request: Request


@dataclass(frozen=True, slots=True)
class NextLine:
    """A step: give back the next line of what was opened, without its end; None when there are no more."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A step: wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Item:
    """A step of a stream: give this to the caller."""

    value: Any


Step = Request | Open | NextLine | Pause | Item
Flow = Generator[Step, Any, Answered]


class Blocking(Protocol):
    """A face whose calls return when they are done."""

    def run(self, flow: Flow[Answered]) -> Answered: ...

    def each(self, flow: Flow[None]) -> Iterator[Any]: ...


class Awaiting(Protocol):
    """A face whose calls are awaited."""

    async def run(self, flow: Flow[Answered]) -> Answered: ...

    def each(self, flow: Flow[None]) -> AsyncIterator[Any]: ...


class call(Generic[Given, Answered]):  # noqa: N801 – a decorator reads as a word
    """Makes a method of a flow that returns one answer."""

    def __init__(self, flow: Callable[Concatenate[Any, Given], Flow[Answered]]) -> None:
        self.flow = flow
        self.__doc__ = flow.__doc__

    @overload
    def __get__(self, face: None, owner: Any) -> "call[Given, Answered]": ...
    @overload
    def __get__(self, face: Blocking, owner: Any) -> Callable[Given, Answered]: ...
    @overload
    def __get__(self, face: Awaiting, owner: Any) -> Callable[Given, Coroutine[Any, Any, Answered]]: ...
    def __get__(self, face: Any, owner: Any) -> Any:
        if face is None:
            return self

        @functools.wraps(self.flow)
        def method(*args: Given.args, **named: Given.kwargs) -> Any:
            return face.run(self.flow(face, *args, **named))

        return method


class stream(Generic[Given, Answered]):  # noqa: N801
    """Makes a method of a flow that gives many things, one :class:`Item` each; ``of`` is their type."""

    def __init__(self, of: type[Answered], flow: Callable[Concatenate[Any, Given], Flow[None]]) -> None:
        self.flow = flow
        self.__doc__ = flow.__doc__

    @overload
    def __get__(self, face: None, owner: Any) -> "stream[Given, Answered]": ...
    @overload
    def __get__(self, face: Blocking, owner: Any) -> Callable[Given, Iterator[Answered]]: ...
    @overload
    def __get__(self, face: Awaiting, owner: Any) -> Callable[Given, AsyncIterator[Answered]]: ...
    def __get__(self, face: Any, owner: Any) -> Any:
        if face is None:
            return self

        @functools.wraps(self.flow)
        def method(*args: Given.args, **named: Given.kwargs) -> Any:
            return face.each(self.flow(face, *args, **named))

        return method


class stream_of(Generic[Answered]):  # noqa: N801
    """``@stream_of(TaskView)`` above a flow makes it a :class:`stream` of those."""

    def __init__(self, of: type[Answered]) -> None:
        self._of = of

    def __call__(self, flow: Callable[Concatenate[Any, Given], Flow[None]]) -> stream[Given, Answered]:
        return stream(self._of, flow)
