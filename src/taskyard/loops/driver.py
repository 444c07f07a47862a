"""The site driver: what talks to the hardware of a site; and a simulated site, to try plans on without any."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from taskyard.core.site import Tray

Sleep = Callable[[float], Awaitable[Any]]


class DriverError(Exception):
    """The hardware, or what stands before it, did not do what was asked; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """How far an update of one tray is; ``error`` when it has failed."""

    version: str | None
    done: bool
    error: str | None = None


class SiteDriver(Protocol):
    """
    Everything is asked of several trays of one kind at once. Whatever it raises fails the try, which is made again as the plan's
    step says: asking twice for what is done already must be harmless. Answers are by tray id; a tray may be left out of them.
    """

    async def blocked(self, trays: Sequence[Tray], code: str) -> Sequence[str]:
        """Return the ids of those that are not ready for the operation *code*."""
        ...

    async def power(self, trays: Sequence[Tray], code: str) -> None:
        """Switch; *code* is one of the power codes of :data:`taskyard.core.operation.CODES`."""
        ...

    async def power_states(self, trays: Sequence[Tray]) -> Mapping[str, str]:
        """Return ``on`` or ``off``."""
        ...

    async def reachable(self, trays: Sequence[Tray]) -> Mapping[str, bool]: ...

    async def update_firmware(
        self, trays: Sequence[Tray], version: str | None, targets: Sequence[str], credentials: str | None
    ) -> None:
        """Begin an update; no version is the one the site wants. *targets* are sub-components; none is all of them."""
        ...

    async def firmware(self, trays: Sequence[Tray]) -> Mapping[str, Firmware]: ...

    async def bring_up(self, trays: Sequence[Tray]) -> None: ...

    async def brought_up(self, trays: Sequence[Tray]) -> Mapping[str, bool]: ...

    async def expect(self, trays: Sequence[Tray]) -> None:
        """Tell the site that these trays are going to appear."""
        ...

    async def decommission(self, trays: Sequence[Tray]) -> None: ...

    async def decommissioned(self, trays: Sequence[Tray]) -> Mapping[str, bool]: ...


#: The version a simulated site updates to when none is asked for.
DESIRED_VERSION = "1.0.0"


@dataclass
class SimulatedSite:
    """
    Trays that do as they are told, a little later. What they were last seen as is what they begin with.

    Args:
        takes: How long anything takes.
        sleep: Waits; tests give one that does not.
        broken: What fails, by tray id: the error it fails with. May be changed at any time.
    """

    takes: timedelta = timedelta(milliseconds=200)
    sleep: Sleep = asyncio.sleep
    broken: dict[str, str] = field(default_factory=dict)
    not_ready: set[str] = field(default_factory=set)
    #: What was asked, in order: (what, tray ids).
    asked: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    _power: dict[str, str] = field(default_factory=dict)
    _firmware: dict[str, str] = field(default_factory=dict)
    _up: set[str] = field(default_factory=set)
    _gone: set[str] = field(default_factory=set)

    async def blocked(self, trays: Sequence[Tray], code: str) -> Sequence[str]:
        return [tray.id for tray in trays if tray.id in self.not_ready]

    async def power(self, trays: Sequence[Tray], code: str) -> None:
        await self._do(code, trays)
        for tray in trays:
            self._power[tray.id] = "off" if code.endswith("power_off") else "on"

    async def power_states(self, trays: Sequence[Tray]) -> Mapping[str, str]:
        return {tray.id: self._power.get(tray.id, str(tray.observed.get("power", "off"))) for tray in trays}

    async def reachable(self, trays: Sequence[Tray]) -> Mapping[str, bool]:
        states = await self.power_states(trays)
        return {tray.id: states[tray.id] == "on" and tray.id not in self.broken for tray in trays}

    async def update_firmware(
        self, trays: Sequence[Tray], version: str | None, targets: Sequence[str], credentials: str | None
    ) -> None:
        await self._do("update_firmware", trays)
        for tray in trays:
            self._firmware[tray.id] = version or DESIRED_VERSION

    async def firmware(self, trays: Sequence[Tray]) -> Mapping[str, Firmware]:
        return {
            tray.id: Firmware(version=self._firmware.get(tray.id, tray.observed.get("firmware")), done=True)
            for tray in trays
        }

    async def bring_up(self, trays: Sequence[Tray]) -> None:
        await self._do("bring_up", trays)
        self._up |= {tray.id for tray in trays}

    async def brought_up(self, trays: Sequence[Tray]) -> Mapping[str, bool]:
        return {tray.id: tray.id in self._up for tray in trays}

    async def expect(self, trays: Sequence[Tray]) -> None:
        await self._do("expect", trays)

    async def decommission(self, trays: Sequence[Tray]) -> None:
        await self._do("decommission", trays)
        self._gone |= {tray.id for tray in trays}

    async def decommissioned(self, trays: Sequence[Tray]) -> Mapping[str, bool]:
        return {tray.id: tray.id in self._gone for tray in trays}

    async def _do(self, what: str, trays: Sequence[Tray]) -> None:
        self.asked.append((what, tuple(tray.id for tray in trays)))
        await self.sleep(self.takes.total_seconds())
        for tray in trays:
            if tray.id in self.broken:
                raise DriverError(f"{tray.name}: {self.broken[tray.id]}")
