"""The bench: where attempts run, each in the place its handler asks for, and how each is stopped."""

import asyncio
import inspect
from concurrent.futures import BrokenExecutor, Executor, Future
from contextvars import copy_context
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar, assert_never

from taskyard.core.outcome import Failed, Outcome
from taskyard.loops.answering import BadInput, call, outcome_of, outcome_of_error
from taskyard.loops.attempt import Attempt, Why
from taskyard.loops.capture import CURRENT
from taskyard.loops.children import Child, Children
from taskyard.loops.context import Canceled, Context, Note, Question, SyncContext
from taskyard.loops.handlers import Handlers, Place
from taskyard.loops.threads import Threads

Got = TypeVar("Got")

#: How long an ``async def`` handler that was stopped may take to clean up before its slot is given to another.
STOP_WITHIN: Final = timedelta(seconds=10)


class ThreadLine:
    """The line of a plain function's context in a thread: waits until the worker's loop has answered."""

    def __init__(self, attempt: Attempt, loop: asyncio.AbstractEventLoop) -> None:
        self._attempt = attempt
        self._loop = loop
        self._told = False

    @property
    def stopping(self) -> bool:
        return self._attempt.stopping

    async def ask(self, question: Question[Got]) -> Got:
        self._mind_stops()
        return asyncio.run_coroutine_threadsafe(self._attempt.ask(question), self._loop).result()

    def tell(self, note: Note) -> None:
        self._mind_stops()
        self._attempt.tell(note)

    def _mind_stops(self) -> None:
        if self._attempt.stopping and not self._told:
            self._told = True  # once, so that the handler can clean up with what it has
            raise Canceled


class NoLine:
    """The line of a context that was sent to an executor, from where nothing leads back."""

    stopping = False

    async def ask(self, question: Question[Got]) -> Got:
        raise RuntimeError(
            f"a handler on an executor cannot {type(question).__name__.lower()}; it can only return"
        )

    def tell(self, note: Note) -> None:
        raise RuntimeError("a handler on an executor cannot tell progress or log; it can only return")


class Bench:
    """Everything on the worker's loop, unless it says otherwise."""

    def __init__(self, handlers: Handlers) -> None:
        self._loop = asyncio.get_running_loop()
        self._threads = Threads("handler")
        self._children = Children(list(handlers))
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps only weak references

    def start(self) -> None:
        self._children.start()

    def close(self) -> None:
        """Kill the children, and let the threads end when they can."""
        self._children.close()
        self._threads.close()

    def begin(self, attempt: Attempt) -> None:
        """Run *attempt*; its :meth:`Attempt.end` is called once it is over, possibly before this returns."""
        timeout = attempt.timeout
        if timeout is not None:
            attempt.timer = self._loop.call_later(timeout.total_seconds(), self.stop, attempt, Why.TIMED_OUT)
        place = attempt.handler.place
        if place is Place.LOOP:
            task = attempt.runner = self._loop.create_task(self._on_loop(attempt))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif place is Place.THREAD:
            self._threads.run(partial(copy_context().run, self._in_thread, attempt))
        elif place is Place.PROCESS:
            task = self._loop.create_task(self._in_child(attempt))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif place is Place.EXECUTOR:
            self._on_executor(attempt)
        else:
            assert_never(place)

    def stop(self, attempt: Attempt, why: Why) -> None:
        """
        Stop *attempt*. A coroutine is cancelled, a child killed. A thread is told, and left to itself when its time is up or the
        worker must go on without it: its slot is then another's.
        """
        if attempt.over:
            return
        if attempt.why is None:
            attempt.why = why
        place = attempt.handler.place
        if place is Place.LOOP:
            self._cancel(attempt)
        elif place is Place.THREAD:
            if why is not Why.CANCELED:
                attempt.end(attempt.stopped())
        elif place is Place.PROCESS:
            child = attempt.runner
            attempt.end(attempt.stopped())
            if isinstance(child, Child):
                self._children.kill(child)
        elif place is Place.EXECUTOR:
            if attempt.runner.cancel() or why is not Why.CANCELED:
                attempt.end(attempt.stopped())
        else:
            assert_never(place)

    def _cancel(self, attempt: Attempt) -> None:
        attempt.runner.cancel()
        if not attempt.started or attempt.why in (Why.RELEASED, Why.LOST):
            attempt.end(attempt.stopped())
        elif not attempt.cleaning:
            attempt.cleaning = True
            self._loop.call_later(STOP_WITHIN.total_seconds(), self._give_up, attempt)

    def _give_up(self, attempt: Attempt) -> None:
        if not attempt.over:
            attempt.end(attempt.stopped())

    # -- the places ------------------------------------------------------------------------------------------------------------

    async def _on_loop(self, attempt: Attempt) -> None:
        attempt.started = True
        CURRENT.set(attempt)
        handler, task = attempt.handler, attempt.task
        args, named = handler.arguments(task.input)
        try:
            outcome = outcome_of(await call(handler.function, Context(task, attempt), args, named))
        except asyncio.CancelledError:
            outcome = attempt.stopped()
        except BaseException as error:
            outcome = outcome_of_error(error, handler.no_retry)
        attempt.end(outcome)

    def _in_thread(self, attempt: Attempt) -> None:
        if attempt.over:
            return
        CURRENT.set(attempt)
        handler, task = attempt.handler, attempt.task
        args, named = handler.arguments(task.input)
        try:
            context = SyncContext(task, ThreadLine(attempt, self._loop))
            outcome = outcome_of(call(handler.function, context, args, named))
        except Canceled:
            outcome = attempt.stopped()
        except BaseException as error:
            outcome = outcome_of_error(error, handler.no_retry)
        self._from_elsewhere(attempt, outcome)

    async def _in_child(self, attempt: Attempt) -> None:
        try:
            outcome = await self._children.run(attempt)
        except Exception as error:
            outcome = outcome_of_error(error, ())
        attempt.end(outcome)

    def _on_executor(self, attempt: Attempt) -> None:
        handler, task = attempt.handler, attempt.task
        executor = handler.executor
        assert executor is not None
        args, named = handler.arguments(task.input)
        try:
            future = attempt.runner = _submitted(
                executor, handler.function, SyncContext(task, NoLine()), args, named
            )
        except Exception as error:  # it is shut down, or broken
            attempt.end(_outcome_of_executor(error, handler.no_retry))
            return
        future.add_done_callback(
            lambda done: self._from_elsewhere(attempt, _outcome_of_future(attempt, done))
        )

    def _from_elsewhere(self, attempt: Attempt, outcome: Outcome) -> None:
        try:
            self._loop.call_soon_threadsafe(attempt.end, outcome)
        except RuntimeError:  # the worker ended without it
            return


def _submitted(
    executor: Executor, function: Any, context: SyncContext, args: tuple[Any, ...], named: dict[str, Any]
) -> "Future[Any]":
    try:
        inspect.signature(function).bind(context, *args, **named)
    except TypeError as error:
        raise BadInput(f"the input does not fit the handler: {error}") from None
    return executor.submit(function, context, *args, **named)


def _outcome_of_future(attempt: Attempt, done: "Future[Any]") -> Outcome:
    if done.cancelled():
        return attempt.stopped()
    error = done.exception()
    if error is None:
        return outcome_of(done.result())
    return _outcome_of_executor(error, attempt.handler.no_retry)


def _outcome_of_executor(error: BaseException, no_retry: tuple[type[BaseException], ...]) -> Outcome:
    if isinstance(error, BrokenExecutor):
        # Not Reason.KILLED: everything the executor had fails with it, and which task killed it nobody can say.
        return Failed(f"the executor broke: {error}", code="executor_broken")
    return outcome_of_error(error, no_retry)
