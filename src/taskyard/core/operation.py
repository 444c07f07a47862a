"""Operations on the components of a rack, and which of them may not be under way together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self


class Kind(StrEnum):
    """What a component of a rack is."""

    COMPUTE = "Compute"
    NVSWITCH = "NVSwitch"
    POWER_SHELF = "PowerShelf"
    TOR_SWITCH = "ToRSwitch"
    UMS = "UMS"
    CDU = "CDU"


class Operation(StrEnum):
    """What is done to a rack, at its coarsest; a code says how."""

    POWER = "power"
    FIRMWARE = "firmware"
    BRING_UP = "bring_up"
    EXPECT = "expect"
    DECOMMISSION = "decommission"


#: The codes of each operation; a rule is for one operation and one of its codes.
CODES: Final[Mapping[Operation, tuple[str, ...]]] = {
    Operation.POWER: (
        "power_on",
        "force_power_on",
        "power_off",
        "force_power_off",
        "restart",
        "force_restart",
        "warm_reset",
        "cold_reset",
    ),
    Operation.FIRMWARE: ("upgrade", "downgrade", "rollback"),
    Operation.BRING_UP: ("bring_up", "ingest"),
    Operation.EXPECT: ("expect",),
    Operation.DECOMMISSION: ("decommission",),
}

#: Nothing else may be done to the rack meanwhile.
EXCLUSIVE: Final = frozenset({Operation.BRING_UP, Operation.DECOMMISSION})
#: These two touch the hardware itself, so they get in each other's way on one component.
TOUCHING: Final = frozenset({Operation.POWER, Operation.FIRMWARE})


@dataclass(frozen=True, slots=True, kw_only=True)
class RackWork:
    """
    One operation on one rack: the ids of the components it concerns, by kind.

    ``version`` and ``targets`` (sub-components such as ``bmc``) are of firmware; ``credentials`` is sealed text. ``heedless`` does
    not wait until the hardware says that it is ready.
    """

    operation: Operation
    code: str
    rack: str
    site: str
    components: Mapping[Kind, Sequence[str]]
    description: str = ""
    version: str | None = None
    targets: tuple[str, ...] = ()
    credentials: str | None = None
    heedless: bool = False

    def ids(self) -> Iterable[str]:
        for ids in self.components.values():
            yield from ids

    def document(self) -> dict[str, Any]:
        """Return what a task carries as its input; :meth:`of` reads it back."""
        return {
            "operation": self.operation.value,
            "code": self.code,
            "site": self.site,
            "rack": self.rack,
            "components": {kind.value: list(ids) for kind, ids in self.components.items()},
            "description": self.description,
            "version": self.version,
            "targets": list(self.targets),
            "credentials": self.credentials,
            "heedless": self.heedless,
        }

    @classmethod
    def of(cls, document: Any) -> Self:
        """
        Raises:
            ValueError: *document* was not made by :meth:`document`.
        """
        try:
            return cls(
                operation=Operation(document["operation"]),
                code=str(document["code"]),
                site=str(document["site"]),
                rack=str(document["rack"]),
                components={Kind(kind): tuple(ids) for kind, ids in document["components"].items()},
                description=document.get("description") or "",
                version=document.get("version"),
                targets=tuple(document.get("targets") or ()),
                credentials=document.get("credentials"),
                heedless=bool(document.get("heedless")),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is not work on a rack: {error}") from error


def conflict(one: RackWork, other: RackWork) -> bool:
    """
    Say whether two operations may not be under way on their rack together. It does not matter which came first.

    Bringing up and decommissioning bear nothing beside them. Whoever switches a power shelf switches the whole rack, so that
    conflicts with all that touches hardware; else two that touch hardware conflict where they share a component.
    """
    if one.rack != other.rack:
        return False
    if one.operation in EXCLUSIVE or other.operation in EXCLUSIVE:
        return True
    if one.operation not in TOUCHING or other.operation not in TOUCHING:
        return False
    if _switches_the_rack(one) or _switches_the_rack(other):
        return True
    return not set(one.ids()).isdisjoint(other.ids())


def _switches_the_rack(work: RackWork) -> bool:
    return work.operation is Operation.POWER and bool(work.components.get(Kind.POWER_SHELF))
