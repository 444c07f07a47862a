"""
What a handler is given: its task, and its line to the worker.

One :class:`Context` does everything, and is what ``async def`` handlers get. :class:`SyncContext`, for plain functions, drives
the same methods to their end on a line that blocks, so that they need no ``await``.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Concatenate, Final, Generic, ParamSpec, Protocol, TypeVar

from taskyard.core.outcome import Outcome, Waits
from taskyard.core.task import Json, NewTask, State, Task

#: Under this step the answer to ``ctx.event(name)`` is remembered; the service writes it when the event is sent.
EVENT_STEP: Final = "event:"

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer", covariant=True)
Got = TypeVar("Got")


class Interrupted(BaseException):
    """Ends a handler from within a call of its context with *outcome*. Not an Exception: a handler must not swallow it."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class Canceled(BaseException):
    """Raised once out of a call of a plain function's context after its task was asked to stop."""


class ChildFailed(Exception):
    """A child that was waited for did not succeed; ``task`` is that child."""

    def __init__(self, task: Task) -> None:
        why = f": {task.error.message}" if task.error else ""
        super().__init__(f"the child {task.id} ({task.type}) {task.state}{why}")
        self.task = task


class Question(Generic[Answer]):
    """Something a handler asks and waits for; ``Answer`` is what it gets."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Recall(Question[tuple[bool, Json]]):
    """Is the step done, and what came of it?"""

    step: str


@dataclass(frozen=True, slots=True)
class Remember(Question[Json]):
    step: str
    output: Json


@dataclass(frozen=True, slots=True)
class Publish(Question[str]):
    name: str
    value: Json


@dataclass(frozen=True, slots=True)
class Spawn(Question[list[str]]):
    step: str
    news: Sequence[NewTask]


@dataclass(frozen=True, slots=True)
class SpawnEach(Question[list[str]]):
    """One child of the handler or type ``what`` for each of ``inputs``."""

    step: str
    what: str | Callable[..., Any]
    inputs: Sequence[Json]
    queue: str | None


@dataclass(frozen=True, slots=True)
class Look(Question[list[Task]]):
    ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Progressed:
    progress: Json
    message: str | None


@dataclass(frozen=True, slots=True)
class Wrote:
    text: str


#: What a handler says without waiting.
Note = Progressed | Wrote


class Line(Protocol):
    """How a context reaches the worker. A line that blocks never really suspends in :meth:`ask`."""

    async def ask(self, question: Question[Got]) -> Got: ...

    def tell(self, note: Note) -> None: ...

    @property
    def stopping(self) -> bool: ...


class Given:
    """What a handler is told about its task, and what it says without waiting."""

    __slots__ = ("_line", "task")

    def __init__(self, task: Task, line: Line) -> None:
        self.task = task
        self._line = line

    @property
    def id(self) -> str:
        return self.task.id

    @property
    def attempt(self) -> int:
        """Which claim of the task this is, counted from 1."""
        return self.task.claims

    @property
    def input(self) -> Json:
        return self.task.input

    @property
    def canceled(self) -> bool:
        """Whether the handler should stop: its task was canceled, its time is up, or another has it by now."""
        return self._line.stopping

    def log(self, *values: object) -> None:
        """Add a line to the attempt's log, as ``print`` would."""
        self._line.tell(Wrote(" ".join(map(str, values)) + "\n"))


class Context(Given):
    """
    The first argument of an ``async def`` handler.

    After a handler has waited (for children, an event, a time) or failed, it runs again from its start, and what it did in
    steps is not done again but answered from memory.
    """

    __slots__ = ()

    async def step(
        self, name: str, function: Callable[Asked, Any], /, *args: Asked.args, **named: Asked.kwargs
    ) -> Json:
        """
        Do *function* once, however often the task is tried, and return its answer as JSON remembers it.

        A plain function runs where the handler runs; what an ``async def`` returns is awaited.
        """
        done, output = await self._line.ask(Recall(name))
        if done:
            return output
        answer = function(*args, **named)
        if inspect.isawaitable(answer):
            answer = await _on_a_loop(answer)
        return await self._line.ask(Remember(name, answer))

    async def progress(self, done: float, *, total: float | None = None, message: str | None = None) -> None:
        """Tell how far the work is. May be called as often as one likes: what comes quickly is told together."""
        self._line.tell(Progressed({"done": done, "total": total}, message))

    async def publish(self, name: str, value: Json) -> str:
        """Publish a result, visible before the task ends; return its id."""
        return await self._line.ask(Publish(name, value))

    async def spawn(self, step: str, news: Sequence[NewTask]) -> list[str]:
        """Submit children, once under this step's name; return their ids. Wait for them with :meth:`gather`."""
        return await self._line.ask(Spawn(step, tuple(news)))

    async def gather(self, ids: Sequence[str]) -> list[Task]:
        """
        Return the tasks of *ids*, in this order, once all have ended, however they ended.

        Until then the task is put aside, and its handler runs again from the start when they have.
        """
        tasks = await self._line.ask(Look(tuple(ids)))
        still_open = tuple(task.id for task in tasks if task.is_open)
        if still_open:
            raise Interrupted(Waits(tasks=still_open))
        return tasks

    async def map(
        self, step: str, what: str | Callable[..., Any], inputs: Sequence[Json], *, queue: str | None = None
    ) -> list[Json]:
        """
        Do a child task for each of *inputs*; return their outputs, in this order, once all have ended.

        Args:
            step: The name under which the children are submitted, once.
            what: The handler or type that does them.
            queue: Where they wait; None is where the handler is declared to be.

        Raises:
            ChildFailed: one did not succeed.
        """
        ids = await self._line.ask(SpawnEach(step, what, tuple(inputs), queue))
        children = await self.gather(ids)
        for child in children:
            if child.state is not State.SUCCEEDED:
                raise ChildFailed(child)
        return [child.output for child in children]

    async def event(self, name: str, *, until: datetime | None = None) -> Json:
        """
        Return what is sent under *name*, before or after this; until then the task is put aside.

        Raises:
            TimeoutError: nothing was sent until *until*.
        """
        done, payload = await self._line.ask(Recall(EVENT_STEP + name))
        if done:
            return payload
        if until is not None and self._begun() >= until:
            raise TimeoutError(f"nothing was sent under {name!r} until {until.isoformat()}")
        raise Interrupted(Waits(events=(name,), until=until))

    async def sleep_until(self, at: datetime) -> None:
        """Put the task aside until *at*; returns at once in the attempt that begins then."""
        if self._begun() < at:
            raise Interrupted(Waits(until=at))

    def _begun(self) -> datetime:
        # The store's clock, which is also the one that woke the task: another's could still be short of the time.
        assert self.task.attempted_at is not None
        return self.task.attempted_at


def drive(coroutine: Coroutine[Any, Any, Got]) -> Got:
    """Run a coroutine that never really waits to its end."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        answer: Got = end.value
        return answer
    coroutine.close()
    raise AssertionError("the line of a plain function's context must block")


def _on_a_loop(awaitable: Awaitable[Got]) -> Awaitable[Got]:
    """Raises RuntimeError where there is no event loop to wait on: in a plain function's context."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        if inspect.iscoroutine(awaitable):
            awaitable.close()
        raise RuntimeError(
            "a plain function cannot wait for asynchronous work; make the handler `async def`"
        ) from None
    return awaitable


def _driven(
    method: Callable[Concatenate[Context, Asked], Coroutine[Any, Any, Got]],
) -> Callable[Concatenate["SyncContext", Asked], Got]:
    def call(self: "SyncContext", /, *args: Asked.args, **named: Asked.kwargs) -> Got:
        return drive(method(self._context, *args, **named))

    call.__name__, call.__doc__ = method.__name__, method.__doc__
    return call


class SyncContext(Given):
    """The first argument of a plain function's handler: the calls of a :class:`Context`, without ``await``."""

    __slots__ = ("_context",)

    def __init__(self, task: Task, line: Line) -> None:
        super().__init__(task, line)
        self._context = Context(task, line)

    step = _driven(Context.step)
    progress = _driven(Context.progress)
    publish = _driven(Context.publish)
    spawn = _driven(Context.spawn)
    gather = _driven(Context.gather)
    map = _driven(Context.map)
    event = _driven(Context.event)
    sleep_until = _driven(Context.sleep_until)
