"""One attempt while it runs here: what it remembers, says and is told, and how it ends."""

import asyncio
from asyncio import TimerHandle
from collections.abc import Awaitable, Callable
from datetime import timedelta
from enum import Enum
from typing import Any, Final, Protocol, TypeVar

import structlog

from taskyard.core.backoff import retry_delay
from taskyard.core.errors import Unavailable
from taskyard.core.hold import Hold, Report
from taskyard.core.outcome import Failed, Outcome, Released, Stopped
from taskyard.core.task import Json, Reason, Task
from taskyard.loops.capture import Tail
from taskyard.loops.context import (
    Look,
    Note,
    Progressed,
    Publish,
    Question,
    Recall,
    Remember,
    Spawn,
    SpawnEach,
    Wrote,
)
from taskyard.loops.desk import Desk
from taskyard.loops.handlers import Handler, Handlers, TaskOptions

Got = TypeVar("Got")

log = structlog.get_logger("taskyard.loops")

#: The first and the longest pause between tries of what the desk cannot do now.
PAUSE: Final = timedelta(milliseconds=50)
MAX_PAUSE: Final = timedelta(seconds=2)


class Why(Enum):
    """Why an attempt is stopped from outside."""

    CANCELED = "its task was canceled"
    TIMED_OUT = "its time is up"
    RELEASED = "the worker goes"
    LOST = "the worker is no longer its holder"


class Owner(Protocol):
    """Who runs attempts, and hears of what they say."""

    desk: Desk
    handlers: Handlers
    jitter: Callable[[], float]

    def noted(self, attempt: "Attempt") -> None:
        """Hear that there is something to tell the desk; called from any thread."""
        ...

    def ended(self, attempt: "Attempt", outcome: Outcome) -> None: ...


class Attempt:
    """The line of an ``async def`` handler's context; other kinds of line end here too."""

    __slots__ = (
        "_ended",
        "_log",
        "_memory",
        "_owner",
        "_progress",
        "cleaning",
        "handler",
        "hold",
        "logged",
        "runner",
        "started",
        "task",
        "timer",
        "why",
    )

    def __init__(self, task: Task, handler: Handler, owner: Owner) -> None:
        self.task = task
        self.handler = handler
        self.hold = Hold.of(task)
        self.why: Why | None = None
        self.started = False
        self.cleaning = False
        #: What stops it: the asyncio task, future or child it runs as.
        self.runner: Any = None
        self.timer: TimerHandle | None = None
        self.logged = False
        self._owner = owner
        self._ended = False
        self._log: Tail | None = None
        self._progress: Progressed | None = None
        #: Done steps. The first attempt of a task can have none but its own.
        self._memory: dict[str, Json] | None = {} if task.claims == 1 else None

    # -- its line --------------------------------------------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        return self.why is not None

    async def ask(self, question: Question[Got]) -> Got:
        return await self._answer(question)  # type: ignore[no-any-return]

    async def _answer(self, question: Question[Any]) -> Any:
        desk, hold = self._owner.desk, self.hold
        match question:
            case Recall(step):
                memory = await self._remembered()
                return (True, memory[step]) if step in memory else (False, None)
            case Remember(step, output):
                memory = await self._remembered()
                memory[step] = await self._patiently(lambda: desk.step(hold, step, output))
                return memory[step]
            case Publish(name, value):
                return await self._patiently(lambda: desk.publish(hold, name, value))
            case Spawn(step, news):
                return await self._patiently(lambda: desk.spawn(hold, step, news))
            case SpawnEach(step, what, inputs, queue):
                options: TaskOptions = {} if queue is None else {"queue": queue}
                news = [self._owner.handlers.new_task(what, each, **options) for each in inputs]
                return await self._patiently(lambda: desk.spawn(hold, step, news))
            case Look(ids):
                return await self._patiently(lambda: desk.look(hold, ids))
            case _:
                raise TypeError(f"{question!r} is not a question")

    def tell(self, note: Note) -> None:
        if isinstance(note, Wrote):
            self.wrote(note.text)
            return
        last, self._progress = self._progress, note
        if last is None:
            self._owner.noted(self)

    def wrote(self, text: str) -> None:
        if self._log is None:
            self._log = Tail()
        self._log.add(text)
        if not self.logged:
            self.logged = True
            self._owner.noted(self)

    async def _remembered(self) -> dict[str, Json]:
        if self._memory is None:
            self._memory = await self._patiently(lambda: self._owner.desk.steps(self.hold))
        return self._memory

    async def _patiently(self, ask: Callable[[], Awaitable[Got]]) -> Got:
        """Ask the desk, again and again while it cannot answer and the attempt is still to go on: work done is not lost."""
        tries = 0
        while True:
            try:
                return await ask()
            except Unavailable:
                if self.stopping:
                    raise
                tries += 1
                pause = retry_delay(tries, jitter=self._owner.jitter, base=PAUSE, cap=MAX_PAUSE)
                await asyncio.sleep(pause.total_seconds())

    # -- what is told the desk -------------------------------------------------------------------------------------------------

    def take_report(self) -> Report | None:
        """Return what is new of its progress, once."""
        progressed, self._progress = self._progress, None
        return None if progressed is None else Report(self.hold, progressed.progress, progressed.message)

    def log_text(self) -> str | None:
        """Return all that it has logged; what is written from now on is news again."""
        self.logged = False
        return None if self._log is None else self._log.text()

    # -- its end ---------------------------------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        return self._ended

    def end(self, outcome: Outcome) -> None:
        """End it; only the first end counts. On the loop's thread."""
        if self._ended:
            return
        self._ended = True
        if self.timer is not None:
            self.timer.cancel()
        if self.why is not None and isinstance(outcome, Failed):
            outcome = self.stopped()
        if isinstance(outcome, Failed):
            outcome = self._judged(outcome)
        self._owner.ended(self, outcome)

    def stopped(self) -> Outcome:
        """Return what comes of being stopped."""
        match self.why:
            case Why.TIMED_OUT:
                limit = self.timeout
                assert limit is not None
                return Failed(
                    f"the attempt took longer than {limit.total_seconds():g} s", code=Reason.TIMED_OUT
                )
            case Why.CANCELED:
                return Stopped()
            case Why.RELEASED | Why.LOST:
                return Released()
            case None:
                return Failed("the handler canceled itself", code="canceled")

    @property
    def timeout(self) -> timedelta | None:
        return self.task.timeout or self.handler.timeout

    def _judged(self, failed: Failed) -> Failed:
        """Apply the handler's own rules about trying again."""
        failures = self.task.failures + 1
        handler = self.handler
        final = failed.final or (handler.max_failures is not None and failures >= handler.max_failures)
        try:
            after = failed.after if failed.after is not None else handler.delay_after(failures)
        except Exception as error:  # the program's own function: the standard back-off serves
            after = None
            log.error("a retry_delay failed", type=handler.type, error=f"{type(error).__name__}: {error}")
        return Failed(failed.message, failed.code, final, failed.traceback, after)
