"""The handlers a program declares: which function does the tasks of a type, where it runs, and under which rules."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final, TypedDict, Unpack

from taskyard.core.errors import Invalid
from taskyard.core.limits import check_new_task
from taskyard.core.task import DEFAULT_QUEUE, Json, NewTask, OnConflict
from taskyard.core.worker import Lane

#: A class of errors.
Kind = type[BaseException]
#: Returns how long to wait after the given number of failures.
RetryDelay = timedelta | Callable[[int], timedelta]
#: The one isolation there is: a child process, which can be killed.
PROCESS: Final = "process"


class Place(Enum):
    """Where a handler runs."""

    LOOP = "the worker's event loop"
    THREAD = "a thread of the worker"
    PROCESS = "a child process"
    EXECUTOR = "an executor of the program"


class TaskOptions(TypedDict, total=False):
    """What a submit may say beside type and input; see :class:`taskyard.core.task.NewTask`."""

    queue: str
    target: str | None
    priority: int
    labels: Mapping[str, str]
    key: str | None
    on_conflict: OnConflict
    run_at: datetime | None
    start_by: datetime | None
    timeout: timedelta | None
    max_failures: int | None
    concurrency_key: str | None
    concurrency_limit: int
    weight: int
    parent: str | None
    blocked_by: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """
    One declared handler. ``arity`` tells how it takes its input: ``None`` not at all, else through its parameters.

    ``retry_delay`` overrides the standard back-off. What is an instance of ``no_retry`` fails the task for good.
    ``memory_limit_bytes`` bounds what one attempt in a process may allocate beyond what the process has when it begins.
    """

    type: str
    function: Callable[..., Any]
    place: Place
    queue: str = DEFAULT_QUEUE
    timeout: timedelta | None = None
    max_failures: int | None = None
    memory_limit_bytes: int | None = None
    retry_delay: RetryDelay | None = None
    no_retry: tuple[Kind, ...] = ()
    executor: Executor | None = None
    takes_input: bool = True

    @property
    def lane(self) -> Lane:
        return Lane(self.queue, self.type)

    def arguments(self, input: Json) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return how *input* is passed after the context."""
        return arguments_of(input) if self.takes_input else ((), {})

    def delay_after(self, failures: int) -> timedelta | None:
        """Return how long to wait after the *failures*-th failure; None leaves it to the standard back-off."""
        if callable(self.retry_delay):
            return self.retry_delay(failures)
        return self.retry_delay


def arguments_of(input: Json) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return how *input* is passed: an object by name, an array by position, else as one argument, or none."""
    if input is None:
        return (), {}
    if isinstance(input, dict):
        return (), input
    if isinstance(input, list):
        return tuple(input), {}
    return (input,), {}


class Handlers:
    """The handlers of one program, by type."""

    def __init__(self) -> None:
        self._by_type: dict[str, Handler] = {}
        self._by_function: dict[Callable[..., Any], Handler] = {}

    def add(self, handler: Handler) -> None:
        """
        Raises:
            Invalid: the type has a handler already, a name or limit is out of range, or the function cannot run there.
        """
        if handler.type in self._by_type:
            raise Invalid(f"the type {handler.type!r} has a handler already: {_named(handler)}")
        _check(handler)
        handler = replace(handler, takes_input=_takes_input(handler.function))
        self._by_type[handler.type] = handler
        self._by_function[handler.function] = handler

    def get(self, name: str) -> Handler | None:
        return self._by_type.get(name)

    def __iter__(self) -> Iterator[Handler]:
        return iter(self._by_type.values())

    def __len__(self) -> int:
        return len(self._by_type)

    def lanes(self) -> list[Lane]:
        return sorted(handler.lane for handler in self)

    def new_task(
        self, what: str | Callable[..., Any], input: Json = None, /, **options: Unpack[TaskOptions]
    ) -> NewTask:
        """Return what submits the handler or type *what* with *input*; what *options* leave out, the declaration says."""
        handler = self._by_type.get(what) if isinstance(what, str) else self._by_function.get(what)
        if handler is None:
            if not isinstance(what, str):
                raise Invalid(
                    f"{what!r} is not a handler of this yard; declare it with @yard.task, or give its type"
                )
            return NewTask(type=what, input=input, **options)
        options.setdefault("queue", handler.queue)
        options.setdefault("timeout", handler.timeout)
        options.setdefault("max_failures", handler.max_failures)
        return NewTask(type=handler.type, input=input, **options)


def place_of(function: Callable[..., Any], isolation: str | None, executor: Executor | None) -> Place:
    """
    Return where *function* runs.

    Raises:
        Invalid: the isolation is unknown, or does not go with the function or an executor.
    """
    if isolation not in (None, PROCESS):
        raise Invalid(f"{isolation!r} is not an isolation; use {PROCESS!r}, or leave it out")
    if executor is not None:
        if isolation is not None or inspect.iscoroutinefunction(function):
            raise Invalid("an executor runs plain functions, and isolates them as it does itself")
        return Place.EXECUTOR
    if isolation == PROCESS:
        return Place.PROCESS
    return Place.LOOP if inspect.iscoroutinefunction(function) else Place.THREAD


def _check(handler: Handler) -> None:
    check_new_task(
        NewTask(
            type=handler.type,
            queue=handler.queue,
            timeout=handler.timeout,
            max_failures=handler.max_failures,
        )
    )
    if not callable(handler.function):
        raise Invalid(f"{handler.function!r} is not a function")
    if handler.place is Place.PROCESS and "<" in handler.function.__qualname__:
        raise Invalid(
            f"{_named(handler)} is defined inside a function, where a child process cannot find it; "
            "move it to the top of its module"
        )
    if handler.memory_limit_bytes is not None and handler.place is not Place.PROCESS:
        raise Invalid('a memory limit needs isolation="process"')


def _takes_input(function: Callable[..., Any]) -> bool:
    """Say whether *function* has parameters after the context."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return True
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return len(parameters) > 1 or any(each.kind in variadic for each in parameters)


def _named(handler: Handler) -> str:
    return f"{handler.function.__module__}.{handler.function.__qualname__}"
