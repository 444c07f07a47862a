"""Carries out plans: the stages of a rule, one after another, on the components of a rack; the report is built as it goes."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from taskyard.core import report as reports
from taskyard.core.durations import format_duration
from taskyard.core.errors import Conflict, LeaseLost, NotFound, TaskyardError
from taskyard.core.hold import Hold
from taskyard.core.operation import Kind, Operation, RackWork
from taskyard.core.outcome import Done, Failed, Outcome, Waits
from taskyard.core.plan_reader import plan_of
from taskyard.core.report import Report
from taskyard.core.rule import Action, Plan, PlanStep
from taskyard.core.site import Tray
from taskyard.core.task import State, Task
from taskyard.loops.context import Context
from taskyard.loops.driver import SiteDriver, Sleep
from taskyard.loops.handlers import Handler, Place
from taskyard.loops.plan_actions import ActionFailed, Deed, Hands
from taskyard.service.operations import QUEUE, TYPES
from taskyard.service.seal import Seal
from taskyard.service.services import Services
from taskyard.store.records import Records
from taskyard.store.sites import TrayFilter
from taskyard.store.store import Store

Answer = TypeVar("Answer")

#: How long an operation may take as a whole, from its first attempt on; what hangs must not keep a rack for ever.
LIMITS: Final[Mapping[Operation, timedelta]] = {
    Operation.POWER: timedelta(hours=1),
    Operation.FIRMWARE: timedelta(hours=1),
    Operation.BRING_UP: timedelta(hours=2),
    Operation.EXPECT: timedelta(hours=1),
    Operation.DECOMMISSION: timedelta(hours=4),
}


class StepFailed(Exception):
    """A step's component could not be brought to what the step asks; the message names it."""

    def __init__(self, kind: Kind, why: str) -> None:
        super().__init__(f"component type {kind} failed: {why}")


class Plans:
    """
    Args:
        drivers: What talks to the hardware, by the name a site calls its driver by.
        now: The clock of limits and of the report.
        sleep: Waits for so many seconds.
        seal: Opens the credentials that tasks carry; without it, those that carry some fail.
    """

    def __init__(
        self,
        store: Store,
        services: Services,
        drivers: Mapping[str, SiteDriver],
        *,
        now: Callable[[], datetime],
        sleep: Sleep = asyncio.sleep,
        seal: Seal | None = None,
    ) -> None:
        self._store = store
        self._services = services
        self._drivers = drivers
        self._now = now
        self._sleep = sleep
        self._seal = seal

    def handlers(self) -> list[Handler]:
        """Return the handlers of all operations on racks, to be added to a worker's."""
        return [
            Handler(type=type, function=self.carry_out, place=Place.LOOP, queue=QUEUE)
            for type in TYPES.values()
        ]

    async def carry_out(self, ctx: Context) -> Outcome:
        """Do what a task of one of these types asks. What was done in an earlier attempt is not done again."""
        try:
            work = RackWork.of(ctx.task.input)
            in_the_way = await self._write(self._services.operations.enter, ctx.task, work)
            if in_the_way:
                return Waits(tasks=tuple(in_the_way))
            run = await self._begin(ctx, work)
        except (ValueError, TaskyardError) as error:
            if isinstance(error, LeaseLost):
                raise
            return Failed(str(error), code="no_plan", final=True)
        for number, steps in run.plan.stages().items():
            if reports.is_completed(run.report, number):
                continue
            await self._report(run, reports.begin(run.report, number, self._now()))
            try:
                await self._stage(run, steps)
            except (StepFailed, ActionFailed) as error:
                await self._report(run, reports.fail(run.report, number, str(error), self._now()))
                return Failed(str(error), code="step_failed", final=True)
            await self._report(run, reports.complete(run.report, number, self._now()))
        return Done()

    # -- begin ---------------------------------------------------------------------------------------------------------------

    async def _begin(self, ctx: Context, work: RackWork) -> "_Run":
        task = ctx.task
        # A step: a plan that was begun is carried on as it was, even if its rule has been changed or deleted meanwhile.
        resolved = await ctx.step("plan", self._resolved, work, task.rule)
        plan = plan_of(resolved["plan"])
        trays, driver = await self._read(self._place, work)
        if not trays:
            raise Conflict(f"rack {work.rack} has no components that this concerns", code="no_components")
        run = _Run(
            ctx=ctx,
            hold=Hold.of(task),
            work=work,
            plan=plan,
            rule=resolved["rule"],
            trays=trays,
            driver=driver,
            deadline=(task.started_at or self._now()) + LIMITS[work.operation],
            credentials=self._credentials(work),
            report=task.report or _planned(plan, trays),
        )
        await self._report(run, run.report)
        return run

    async def _resolved(self, work: RackWork, pinned: str | None) -> dict[str, Any]:
        resolved = await self._read(self._services.rules.resolve, work, pinned)
        return {"plan": resolved.plan.document(), "rule": resolved.rule}

    def _place(self, records: Records, work: RackWork) -> tuple[dict[Kind, list[Tray]], SiteDriver]:
        """Return the components as they are now, by kind, and what talks to them."""
        site = records.sites.get(work.site)
        if site is None:
            raise NotFound("site", work.site)
        driver = self._drivers.get(site.driver)
        if driver is None:
            raise NotFound("site driver", f"{site.driver!r} here; start the worker with it")
        trays: dict[Kind, list[Tray]] = {}
        for tray in self._services.sites.trays(records, site, TrayFilter(ids=list(work.ids()))):
            trays.setdefault(tray.kind, []).append(tray)
        return trays, driver

    def _credentials(self, work: RackWork) -> str | None:
        if work.credentials is None:
            return None
        if self._seal is None:
            raise Conflict("the task carries sealed credentials, and this worker has no key to open them")
        return self._seal.open(work.credentials)

    # -- stages and steps ----------------------------------------------------------------------------------------------------

    async def _stage(self, run: "_Run", steps: Sequence[PlanStep]) -> None:
        """Do the steps of a stage side by side; the first that fails ends the others."""
        await _all_or_first_failure(
            [self._step(run, step) for step in steps if run.trays.get(step.component)]
        )

    async def _step(self, run: "_Run", step: PlanStep) -> None:
        try:
            for batch, trays in enumerate(_batches(run.trays[step.component], step.max_parallel)):
                for position, action in enumerate((*step.before, step.action, *step.after)):
                    # Each action is remembered by itself: after a crash, what was switched is not switched again.
                    name = f"stage {step.stage} {step.component} {batch}.{position} {action.act}"
                    await run.ctx.step(name, self._act, run, step, action, trays)
            if step.delay_after:
                await run.ctx.step(
                    f"stage {step.stage} {step.component} delay", self._delay, step.delay_after
                )
        except ActionFailed as error:
            raise StepFailed(step.component, str(error)) from error

    async def _act(self, run: "_Run", step: PlanStep, action: Action, trays: Sequence[Tray]) -> None:
        hands = Hands(
            driver=run.driver,
            now=self._now,
            sleep=self._sleep,
            check=lambda: self._check(run),
            observe=lambda seen: self._observe(run, seen),
        )
        deed = Deed(
            work=run.work,
            step=step,
            action=action,
            trays=trays,
            all_trays=run.trays,
            credentials=run.credentials,
        )
        await hands.do(deed)

    async def _delay(self, length: timedelta) -> None:
        await self._sleep(length.total_seconds())

    # -- the store -----------------------------------------------------------------------------------------------------------

    async def _check(self, run: "_Run") -> None:
        """
        Called before anything is asked of the hardware: a task that was taken away touches nothing any more.

        Raises:
            LeaseLost, ActionFailed (the operation's time is up).
        """
        if self._now() >= run.deadline:
            limit = format_duration(LIMITS[run.work.operation])
            raise ActionFailed(f"the operation took longer than {limit}")
        task = await self._read(_task, run.hold)
        if (
            task is None
            or task.claims != run.hold.claims
            or task.holder != run.hold.holder
            or task.state is not State.RUNNING
        ):
            raise LeaseLost(run.hold.id, run.hold.claims)

    async def _report(self, run: "_Run", report: Report) -> None:
        await self._write(self._services.work.set_report, run.hold, report, rule=run.rule)
        run.report = report

    async def _observe(self, run: "_Run", seen: Mapping[str, Mapping[str, Any]]) -> None:
        await self._write(self._services.sites.observe, run.work.site, seen)

    async def _write(self, function: Callable[..., Answer], *args: Any, **named: Any) -> Answer:
        return await asyncio.wrap_future(
            self._store.write_soon(lambda records: function(records, *args, **named))
        )

    async def _read(self, function: Callable[..., Answer], *args: Any) -> Answer:
        return await asyncio.wrap_future(self._store.read_soon(lambda records: function(records, *args)))


@dataclass
class _Run:
    """One attempt at a plan."""

    ctx: Context
    hold: Hold
    work: RackWork
    plan: Plan
    rule: str | None
    trays: Mapping[Kind, Sequence[Tray]]
    driver: SiteDriver
    deadline: datetime
    credentials: str | None
    report: Report


def _task(records: Records, hold: Hold) -> Task | None:
    return records.tasks.get(hold.organisation, hold.id)


def _planned(plan: Plan, trays: Mapping[Kind, Sequence[Tray]]) -> Report:
    stages = {number: [step.component.value for step in steps] for number, steps in plan.stages().items()}
    return reports.planned(stages, {kind.value: len(each) for kind, each in trays.items()})


def _batches(trays: Sequence[Tray], most: int) -> list[Sequence[Tray]]:
    size = most or len(trays)
    return [trays[start : start + size] for start in range(0, len(trays), size)]


async def _all_or_first_failure(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run *works* side by side; the first exception ends the others and is raised."""
    running: list[Awaitable[None]] = [asyncio.ensure_future(work) for work in works]
    if not running:
        return
    try:
        await asyncio.gather(*running)
    finally:
        for each in running:
            each.cancel()  # type: ignore[attr-defined]
        await asyncio.gather(*running, return_exceptions=True)
