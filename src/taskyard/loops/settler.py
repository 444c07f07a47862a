"""The settler: tells the desk how attempts ended, together, and until it has heard."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import structlog

from taskyard.core.backoff import retry_delay
from taskyard.core.errors import LeaseLost, TaskyardError, Unavailable
from taskyard.core.hold import Report, Settlement
from taskyard.core.outcome import Failed
from taskyard.core.task import Task
from taskyard.loops.attempt import MAX_PAUSE, PAUSE
from taskyard.loops.desk import Desk

Got = TypeVar("Got")

#: Settled in one go at most.
MAX_SETTLED: Final = 500

log = structlog.get_logger("taskyard.loops")


async def pause(tries: int, jitter: Callable[[], float]) -> None:
    """Wait before another try, longer each time."""
    await asyncio.sleep(retry_delay(tries, jitter=jitter, base=PAUSE, cap=MAX_PAUSE).total_seconds())


class Settler:
    """
    While one batch is on its way, the next gathers.

    Args:
        lose: Called when the desk says that the worker has lost its lease.
        changed: Called when a batch has been settled.
    """

    def __init__(
        self,
        desk: Desk,
        jitter: Callable[[], float],
        *,
        lose: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self.done = 0
        self._desk = desk
        self._jitter = jitter
        self._lose = lose
        self._changed = changed
        self._unsettled: list[Settlement] = []
        self._settling = 0
        self._last_reports: list[Report] = []
        self._to_settle = asyncio.Event()
        self._dropped = False

    @property
    def waiting(self) -> int:
        """How many attempts have ended and are not settled."""
        return len(self._unsettled) + self._settling

    def put(self, settlement: Settlement, last_report: Report | None = None) -> None:
        self._unsettled.append(settlement)
        if last_report is not None:
            self._last_reports.append(last_report)
        self._to_settle.set()

    def drop(self) -> None:
        """Settle nothing more: nothing more would be accepted."""
        self._dropped = True
        self._unsettled.clear()

    async def run(self) -> None:
        while True:
            await self._to_settle.wait()
            self._to_settle.clear()
            while self._unsettled:
                batch, self._unsettled = self._unsettled[:MAX_SETTLED], self._unsettled[MAX_SETTLED:]
                reports, self._last_reports = self._last_reports, []
                self._settling = len(batch)
                try:
                    await self._settle(batch, reports)
                finally:
                    self._settling = 0
                    self._changed()

    async def _settle(self, batch: Sequence[Settlement], reports: Sequence[Report]) -> None:
        """Settle a batch; what is refused for what it says is settled as failed instead."""
        if reports:
            await self._tell_last(reports)
        answers = await self._answers(batch)
        if answers is None:
            return
        again: list[Settlement] = []
        for settlement, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                refused = self._refused(settlement, answer)
                if refused is not None:
                    again.append(refused)
            else:
                self.done += 1
        if again:
            await self._settle(again, ())

    async def _tell_last(self, reports: Sequence[Report]) -> None:
        try:
            await self._told(lambda: self._desk.report(reports))
        except Exception as error:  # the ends themselves matter more
            log.warning("the worker cannot report", error=f"{type(error).__name__}: {error}")

    async def _answers(self, batch: Sequence[Settlement]) -> "list[Task | Exception | None] | None":
        """Settle a batch; where it is refused as a whole, each by itself, so that one does no harm to the others."""
        try:
            return await self._told(lambda: self._desk.settle(batch))
        except Exception as error:
            if len(batch) == 1:
                return [error]
        answers: list[Task | Exception | None] = []
        for settlement in batch:
            alone = await self._answers([settlement])
            if alone is None:
                return None
            answers += alone
        return answers

    def _refused(self, settlement: Settlement, why: Exception) -> Settlement | None:
        """Return how else to settle what was refused; None when the attempt is no longer ours."""
        if isinstance(why, LeaseLost):
            log.warning("an attempt ended too late", task=settlement.hold.id, attempt=settlement.hold.claims)
            return None
        if isinstance(settlement.outcome, Failed) and settlement.outcome.code == "refused":
            log.error("an attempt cannot be settled", task=settlement.hold.id, error=str(why))
            return None
        code = why.code if isinstance(why, TaskyardError) else "refused"
        failed = Failed(f"what the handler returned was refused: {why}", code=code, final=True)
        if isinstance(settlement.outcome, Failed):  # even its failure was refused: say only that
            failed = Failed("the handler failed, and its error cannot be stored", code="refused")
        return Settlement(settlement.hold, failed, settlement.log)

    async def _told(self, ask: Callable[[], Awaitable[Got]]) -> Got | None:
        """Ask the desk until it can answer, for as long as the lease stands; None when it is lost. Raises what it refuses."""
        tries = 0
        while not self._dropped:
            try:
                return await ask()
            except LeaseLost as error:
                self._lose(str(error))
            except Unavailable as error:
                tries += 1
                log.warning("the worker cannot settle", error=str(error), tries=tries)
                await pause(tries, self._jitter)
        return None
