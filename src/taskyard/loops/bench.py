"""The bench: where attempts run, each in the place its handler asks for, and how each is stopped."""

import asyncio
import inspect
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Future
from contextvars import copy_context
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar, assert_never

from taskyard.core.outcome import Failed, Outcome, Stopped
from taskyard.core.task import Reason
from taskyard.loops.answering import BadInput, call, outcome_of, outcome_of_error
from taskyard.loops.attempt import Attempt, Why
from taskyard.loops.capture import CURRENT
from taskyard.loops.children import Children
from taskyard.loops.context import Canceled, Context, Note, Question, SyncContext
from taskyard.loops.far import Far
from taskyard.loops.handlers import Handlers, Place
from taskyard.loops.hired import Child, judged
from taskyard.loops.switchboard import LOOPBACK, Switchboard
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


@dataclass(slots=True)
class Errand:
    """What runs on an executor."""

    far: Far
    future: "Future[None] | None" = None


class Bench:
    """
    Everything on the worker's loop, unless it says otherwise.

    Args:
        reachable_at: The address of this machine at which the machines of executors reach it.
    """

    def __init__(self, handlers: Handlers, reachable_at: str = LOOPBACK) -> None:
        self._loop = asyncio.get_running_loop()
        self._threads = Threads("handler")
        self._children = Children(list(handlers))
        far = any(handler.place is Place.EXECUTOR for handler in handlers)
        self._board = Switchboard(handlers, reachable_at, self._errand_told) if far else None
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps only weak references

    def start(self) -> None:
        """Raises Invalid: nothing can listen at *reachable_at*."""
        if self._board is not None:
            self._board.start()
        self._children.start()

    def close(self) -> None:
        """Kill the children, hang up on the executors' functions, and let the threads end when they can."""
        if self._board is not None:
            self._board.close()
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
            self._children.begin(attempt)
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
            # What runs is told, and cleans up; a slot is not kept for it when its time is up or the worker must go on without it.
            assert self._board is not None
            if not self._board.stop(attempt.runner.far) or why is not Why.CANCELED:
                self._errand_over(attempt, attempt.stopped())
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

    def _on_executor(self, attempt: Attempt) -> None:
        executor, board = attempt.handler.executor, self._board
        assert executor is not None
        assert board is not None
        far = board.far(attempt)
        errand = attempt.runner = Errand(far)
        try:
            _check_fit(far)
            errand.future = executor.submit(far)
        except Exception as error:  # it is shut down, or broken
            self._executor_failed(attempt, error)
            return
        errand.future.add_done_callback(lambda done: self._soon(self._executor_done, attempt, done))

    def _executor_done(self, attempt: Attempt, done: "Future[None]") -> None:
        """Hear of the executor what the line does not tell: that it was never begun, or could not even call back."""
        assert self._board is not None
        if attempt.over or self._board.runs(attempt.runner.far):
            return
        if done.cancelled():
            self._errand_over(attempt, attempt.stopped())
        elif (error := done.exception()) is not None:
            self._executor_failed(attempt, error)
        # Else its line tells how it ended, or that it broke.

    def _executor_failed(self, attempt: Attempt, error: BaseException) -> None:
        self._errand_over(attempt, _outcome_of_executor(error, attempt.handler.no_retry))

    def _errand_told(self, attempt: Attempt, outcome: Outcome, raised: Sequence[str]) -> None:
        if isinstance(outcome, Stopped) and attempt.why is not None:
            outcome = attempt.stopped()
        outcome = judged(outcome, raised, attempt.handler.no_retry)
        if isinstance(outcome, Failed) and outcome.code == Reason.KILLED:
            self._errand_over(attempt, outcome)
        else:  # the executor is about to hear the same
            attempt.end(outcome)

    def _errand_over(self, attempt: Attempt, outcome: Outcome) -> None:
        errand = attempt.runner
        assert isinstance(errand, Errand)
        assert self._board is not None
        self._board.forget(errand.far)
        if errand.future is not None:
            errand.future.cancel()  # so that a cluster does not begin anew what died with a machine
        attempt.end(outcome)

    def _soon(self, call: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # the worker ended without it
            return

    def _from_elsewhere(self, attempt: Attempt, outcome: Outcome) -> None:
        self._soon(attempt.end, outcome)


def _check_fit(far: Far) -> None:
    """Raises BadInput: before it travels anywhere."""
    try:
        inspect.signature(far.function).bind(None, *far.args, **far.named)
    except TypeError as error:
        raise BadInput(f"the input does not fit the handler: {error}") from None


def _outcome_of_executor(error: BaseException, no_retry: tuple[type[BaseException], ...]) -> Outcome:
    if isinstance(error, BrokenExecutor):
        # Not Reason.KILLED: everything the executor had fails with it, and which task killed it nobody can say.
        return Failed(f"the executor broke: {error}", code="executor_broken")
    return outcome_of_error(error, no_retry)
