"""Sites, the racks that stand on them, and the trays in the racks: what operations are done to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

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
    is. ``observed`` is what was last seen of it: ``power`` (on, off), ``firmware``, ``status`` and ``leak``.
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
