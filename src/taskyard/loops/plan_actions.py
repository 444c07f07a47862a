"""What each action of a plan does to the hardware: asked, tried again, looked at until it is as it should be."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from taskyard.core.durations import format_duration
from taskyard.core.errors import LeaseLost
from taskyard.core.operation import Kind, Operation, RackWork
from taskyard.core.rule import Act, Action, PlanStep, Retry, kind_of
from taskyard.core.site import Tray
from taskyard.loops.driver import Firmware, SiteDriver, Sleep

Answer = TypeVar("Answer")

#: For steps that do not say.
STEP_TIMEOUT: Final = timedelta(minutes=20)
RETRY: Final = Retry(attempts=3, first=timedelta(seconds=1), factor=2.0, most=timedelta(minutes=1))
FIRMWARE_POLL: Final = timedelta(minutes=2)
FIRMWARE_TIMEOUT: Final = timedelta(minutes=30)
#: How long hardware may take to become ready for an operation, and how often it is asked.
READY_TIMEOUT: Final = timedelta(minutes=30)
READY_POLL: Final = timedelta(seconds=5)


class ActionFailed(Exception):
    """An action could not be done; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One action on some components, and what it is part of."""

    work: RackWork
    step: PlanStep
    action: Action
    trays: Sequence[Tray]
    all_trays: Mapping[Kind, Sequence[Tray]]
    credentials: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """
    What actions need.

    Args:
        check: Raises when nothing may be asked of the hardware any more.
        observe: Remembers what was seen of trays, by id.
    """

    driver: SiteDriver
    now: Callable[[], datetime]
    sleep: Sleep
    check: Callable[[], Awaitable[None]]
    observe: Callable[[Mapping[str, Mapping[str, Any]]], Awaitable[None]]

    async def do(self, deed: Deed) -> None:
        """Raises ActionFailed, and whatever *check* does."""
        await _DEEDS[deed.action.act](self, deed)

    async def sleep_for(self, deed: Deed) -> None:
        await self.sleep(deed.action.length("duration", timedelta(0)).total_seconds())

    # -- power ---------------------------------------------------------------------------------------------------------------

    async def power(self, deed: Deed) -> None:
        code = deed.action.parameters.get("operation")
        if code is None:
            if deed.work.operation is not Operation.POWER:
                raise ActionFailed("the rule does not say how to switch the power")
            code = deed.work.code
        await self._until_ready(deed, code)
        await self._ask(deed, lambda: self.driver.power(deed.trays, code))

    async def verify_power(self, deed: Deed) -> None:
        expected = deed.action.parameters["expected_status"]

        async def wrong() -> list[str]:
            states = await self._power_states(deed)
            return [tray.name for tray in deed.trays if states.get(tray.id) != expected]

        await self._until(deed, wrong, f"not {expected}")

    async def read_power(self, deed: Deed) -> None:
        await self._power_states(deed)

    async def _power_states(self, deed: Deed) -> Mapping[str, str]:
        states = await self._ask(deed, lambda: self.driver.power_states(deed.trays))
        await self.observe({id: {"power": state} for id, state in states.items()})
        return states

    async def verify_reachable(self, deed: Deed) -> None:
        kinds = [kind for kind in map(kind_of, deed.action.parameters["component_types"]) if kind is not None]
        wanted = {kind: deed.all_trays[kind] for kind in kinds if deed.all_trays.get(kind)}
        need_all = bool(deed.action.parameters.get("require_all"))

        async def wrong() -> list[str]:
            missing = [kind for kind, trays in wanted.items() if not await self._reaches(deed, trays)]
            return list(missing) if need_all or len(missing) == len(wanted) else []

        await self._until(deed, wrong, "not reachable")

    async def _reaches(self, deed: Deed, trays: Sequence[Tray]) -> bool:
        reached = await self._ask(deed, lambda: self.driver.reachable(trays))
        return all(reached.get(tray.id) for tray in trays)

    # -- firmware ------------------------------------------------------------------------------------------------------------

    async def firmware(self, deed: Deed) -> None:
        version = version_for(deed.work.version, deed.step.component)
        await self._until_ready(deed, deed.work.code)
        await self._ask(
            deed,
            lambda: self.driver.update_firmware(deed.trays, version, deed.work.targets, deed.credentials),
        )

        async def unfinished() -> list[str]:
            seen = await self._firmware(deed)
            for tray in deed.trays:
                error = seen[tray.id].error if tray.id in seen else None
                if error is not None:
                    raise ActionFailed(f"{tray.name}: {error}")
            return [tray.name for tray in deed.trays if tray.id not in seen or not seen[tray.id].done]

        await self._until(
            deed,
            unfinished,
            "still updating",
            within=deed.action.length("poll_timeout", FIRMWARE_TIMEOUT),
            poll=deed.action.length("poll_interval", FIRMWARE_POLL),
        )

    async def verify_firmware(self, deed: Deed) -> None:
        expected = deed.action.parameters.get("version") or version_for(
            deed.work.version, deed.step.component
        )
        seen = await self._firmware(deed)
        wrong = [tray.name for tray in deed.trays if expected and _version(seen, tray) != expected]
        if wrong:
            raise ActionFailed(f"{_named(wrong)}: the firmware is not {expected}")

    async def verify_same_firmware(self, deed: Deed) -> None:
        seen = await self._firmware(deed)
        versions = sorted({str(_version(seen, tray)) for tray in deed.trays})
        if len(versions) > 1:
            raise ActionFailed(f"the firmware differs: {', '.join(versions)}")

    async def _firmware(self, deed: Deed) -> Mapping[str, Firmware]:
        seen = await self._ask(deed, lambda: self.driver.firmware(deed.trays))
        await self.observe(
            {id: {"firmware": each.version} for id, each in seen.items() if each.done and each.version}
        )
        return seen

    # -- the rest of a rack's life -------------------------------------------------------------------------------------------

    async def bring_up(self, deed: Deed) -> None:
        await self._until_ready(deed, deed.work.code)
        await self._ask(deed, lambda: self.driver.bring_up(deed.trays))

    async def wait_bring_up(self, deed: Deed) -> None:
        async def wrong() -> list[str]:
            done = await self._ask(deed, lambda: self.driver.brought_up(deed.trays))
            return [tray.name for tray in deed.trays if not done.get(tray.id)]

        await self._until(deed, wrong, "not up")

    async def expect(self, deed: Deed) -> None:
        await self._ask(deed, lambda: self.driver.expect(deed.trays))

    async def decommission(self, deed: Deed) -> None:
        await self._ask(deed, lambda: self.driver.decommission(deed.trays))

    async def wait_decommission(self, deed: Deed) -> None:
        async def wrong() -> list[str]:
            done = await self._ask(deed, lambda: self.driver.decommissioned(deed.trays))
            return [tray.name for tray in deed.trays if not done.get(tray.id)]

        await self._until(deed, wrong, "not decommissioned")

    # -- how the hardware is asked -------------------------------------------------------------------------------------------

    async def _until_ready(self, deed: Deed, code: str) -> None:
        if deed.work.heedless:
            return

        async def wrong() -> list[str]:
            blocked = set(await self._ask(deed, lambda: self.driver.blocked(deed.trays, code)))
            return [tray.name for tray in deed.trays if tray.id in blocked]

        await self._until(deed, wrong, f"not ready for {code}", within=READY_TIMEOUT, poll=READY_POLL)

    async def _ask(self, deed: Deed, asking: Callable[[], Awaitable[Answer]]) -> Answer:
        """Ask the driver, again after a failure as the step's retry says. Raises ActionFailed with the last failure."""
        retry = deed.step.retry or RETRY
        timeout = deed.step.timeout or STEP_TIMEOUT
        wait = retry.first
        for attempt in range(1, retry.attempts + 1):
            await self.check()
            try:
                async with asyncio.timeout(timeout.total_seconds()):
                    return await asking()
            except LeaseLost:
                raise
            except TimeoutError as error:
                failure: Exception = ActionFailed(
                    f"{deed.action.act} had no answer within {format_duration(timeout)}"
                )
                failure.__cause__ = error
            except Exception as error:
                failure = error
            if attempt < retry.attempts:
                await self.sleep(wait.total_seconds())
                wait = wait * retry.factor if retry.most is None else min(wait * retry.factor, retry.most)
        raise ActionFailed(_first_line(failure)) from failure

    async def _until(
        self,
        deed: Deed,
        wrong: Callable[[], Awaitable[list[str]]],
        what: str,
        *,
        within: timedelta | None = None,
        poll: timedelta | None = None,
    ) -> None:
        """Look until nothing is *wrong*: at once, then again and again. Raises ActionFailed once the time is up."""
        within = within or deed.action.timeout or STEP_TIMEOUT
        poll = poll or deed.action.poll or READY_POLL
        deadline = self.now() + within
        while left := await wrong():
            if self.now() + poll > deadline:
                raise ActionFailed(f"{_named(left)}: {what} within {format_duration(within)}")
            await self.sleep(poll.total_seconds())


_DEEDS: Final[Mapping[Act, Callable[[Hands, Deed], Awaitable[None]]]] = {
    Act.SLEEP: Hands.sleep_for,
    Act.POWER: Hands.power,
    Act.VERIFY_POWER: Hands.verify_power,
    Act.VERIFY_REACHABLE: Hands.verify_reachable,
    Act.READ_POWER: Hands.read_power,
    Act.FIRMWARE: Hands.firmware,
    Act.VERIFY_FIRMWARE: Hands.verify_firmware,
    Act.VERIFY_SAME_FIRMWARE: Hands.verify_same_firmware,
    Act.BRING_UP: Hands.bring_up,
    Act.WAIT_BRING_UP: Hands.wait_bring_up,
    Act.EXPECT: Hands.expect,
    Act.DECOMMISSION: Hands.decommission,
    Act.WAIT_DECOMMISSION: Hands.wait_decommission,
}


def version_for(version: str | None, kind: Kind) -> str | None:
    """
    Return the version that a component of *kind* is to have: *version* may be a JSON object with a section for each kind.

    >>> version_for('{"compute": "2.1", "nvswitch": {"bios": "7"}}', Kind.NVSWITCH)
    '{"bios": "7"}'
    >>> version_for("2.1", Kind.NVSWITCH)
    '2.1'
    """
    if version is None or not version.lstrip().startswith("{"):
        return version
    try:
        sections = json.loads(version)
    except ValueError:
        return version
    for name, section in sections.items():
        if name.lower() == kind.value.lower():
            return section if isinstance(section, str) else json.dumps(section)
    return None


def _version(seen: Mapping[str, Firmware], tray: Tray) -> str | None:
    return seen[tray.id].version if tray.id in seen else None


def _named(names: Sequence[str]) -> str:
    """Return some names for a sentence: a rack has dozens of trays, and the first few say enough."""
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
