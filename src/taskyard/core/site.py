"""Sites, the racks that stand on them, and the trays in the racks: what operations are done to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from taskyard.core.operation import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """That an organisation provides infrastructure: whoever does may have sites."""

    id: str
    organisation: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """
    A place with racks. ``operable`` says whether operations may be asked for here; ``driver`` names what talks to its hardware.
    """

    number: int
    id: str
    organisation: int
    name: str
    operable: bool
    driver: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rack:
    """``domains`` are the ids of the fast interconnects the rack is part of; ``location`` says where it stands."""

    id: str
    name: str
    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    description: str = ""
    domains: Sequence[str] = ()
    location: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tray:
    """
    A component in a rack. ``component`` is its id with the maker of its software; ``slot``, ``position`` and ``host`` say where it
    is. ``observed`` is what was last seen of it: ``power`` (on, off), ``firmware``, ``status`` and ``leak``; of a driver that looks at
    what stands there also ``present`` (false when nothing does) and any of :data:`DESCRIBED`.
    """

    id: str
    rack: str
    kind: Kind
    name: str
    component: str = ""
    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    description: str = ""
    slot: int | None = None
    position: int | None = None
    host: int | None = None
    bmcs: Sequence[Mapping[str, str]] = ()
    observed: Mapping[str, Any] = field(default_factory=dict)


#: What the inventory says of a tray that can be seen to be otherwise.
DESCRIBED: Final = ("name", "component", "manufacturer", "model", "serial")


@dataclass(frozen=True, slots=True)
class Drift:
    """A tray that is not what the inventory says: gone, or otherwise in ``fields``, each as (what, expected, seen)."""

    tray: Tray
    is_missing: bool
    fields: tuple[tuple[str, str, str], ...] = ()


def drift_of(tray: Tray) -> Drift | None:
    """Return how a tray differs from what the inventory says, as far as was seen; None when it does not."""
    if tray.observed.get("present") is False:
        return Drift(tray, is_missing=True)
    differing = tuple(
        (name, getattr(tray, name), str(tray.observed[name]))
        for name in DESCRIBED
        if name in tray.observed and getattr(tray, name) and str(tray.observed[name]) != getattr(tray, name)
    )
    return Drift(tray, is_missing=False, fields=differing) if differing else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePlan:
    """A site as an inventory describes it."""

    id: str
    organisation: str
    name: str
    operable: bool
    driver: str
    racks: Sequence[Rack]
    trays: Sequence[Tray]
