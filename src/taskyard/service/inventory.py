"""The inventory: a document that says which sites there are, with their racks and trays."""

from collections.abc import Iterator, Mapping
from typing import Any, Final
from uuid import UUID, uuid5

from taskyard.core.errors import Fault, Invalid
from taskyard.core.limits import check_name, check_text
from taskyard.core.operation import Kind
from taskyard.core.rule import kind_of
from taskyard.core.site import Rack, SitePlan, Tray

#: Things that are given no id get one made of their names, the same at every start.
_NAMESPACE: Final = UUID("6f1d7e0a-6a0c-5c1b-9d5e-3b8f0f6c2a11")

_SITE: Final = frozenset({"id", "name", "organisation", "operable", "driver", "rack"})
_RACK: Final = frozenset(
    {"id", "name", "manufacturer", "model", "serial", "description", "domains", "location", "tray"}
)
_TRAY: Final = frozenset(
    {
        *(
            "id",
            "name",
            "kind",
            "component",
            "manufacturer",
            "model",
            "serial",
            "description",
            "slot",
            "position",
            "host",
        ),
        *("bmc", "power", "firmware", "status", "leak"),
    }
)
_OBSERVED: Final = ("power", "firmware", "status", "leak")


def read_inventory(document: Any, *, organisation: str = "default") -> list[SitePlan]:
    """
    Return the sites of *document*, as TOML or JSON gave it: ``[[site]]`` with ``[[site.rack]]`` with ``[[site.rack.tray]]``.

    Args:
        organisation: Whose the sites are that do not say.

    Raises:
        Invalid: with a fault for each thing that is wrong.
    """
    reader = _Reader(organisation)
    sites = [reader.site(each, pointer) for each, pointer in reader.tables(document, "site", "")]
    reader.check_ids(sites)
    if reader.faults:
        first = reader.faults[0]
        raise Invalid(f"{first.pointer}: {first.detail}", faults=reader.faults)
    return sites


class _Reader:
    def __init__(self, organisation: str) -> None:
        self._organisation = organisation
        self.faults: list[Fault] = []

    def tables(self, table: Any, name: str, pointer: str) -> Iterator[tuple[Mapping[str, Any], str]]:
        entries = table.get(name, []) if isinstance(table, Mapping) else None
        if not isinstance(entries, list):
            self._wrong(f"{pointer}/{name}", f"{name} is a list of tables")
            return
        for index, entry in enumerate(entries):
            if isinstance(entry, Mapping):
                yield entry, f"{pointer}/{name}/{index}"
            else:
                self._wrong(f"{pointer}/{name}/{index}", f"a {name} is a table")

    def site(self, table: Mapping[str, Any], pointer: str) -> SitePlan:
        self._check_members(table, _SITE, pointer)
        name = self._text(table, "name", pointer, required=True)
        organisation = self._text(table, "organisation", pointer) or self._organisation
        self.faults += check_name(organisation, f"{pointer}/organisation", "organisation's name")
        id = self._id(table, pointer, organisation, "site", name)
        racks: list[Rack] = []
        trays: list[Tray] = []
        for each, below in self.tables(table, "rack", pointer):
            rack = self._rack(each, below, id)
            racks.append(rack)
            trays += [self._tray(tray, under, rack) for tray, under in self.tables(each, "tray", below)]
        operable = table.get("operable", True)
        if not isinstance(operable, bool):
            self._wrong(f"{pointer}/operable", "operable is true or false")
        driver = self._text(table, "driver", pointer) or "simulated"
        return SitePlan(
            id=id,
            organisation=organisation,
            name=name,
            operable=bool(operable),
            driver=driver,
            racks=racks,
            trays=trays,
        )

    def _rack(self, table: Mapping[str, Any], pointer: str, site: str) -> Rack:
        self._check_members(table, _RACK, pointer)
        name = self._text(table, "name", pointer, required=True)
        domains = table.get("domains", [])
        if not isinstance(domains, list) or not all(_is_uuid(each) for each in domains):
            self._wrong(f"{pointer}/domains", "domains is a list of UUIDs")
            domains = []
        return Rack(
            id=self._id(table, pointer, site, "rack", name),
            name=name,
            manufacturer=self._text(table, "manufacturer", pointer),
            model=self._text(table, "model", pointer),
            serial=self._text(table, "serial", pointer),
            description=self._text(table, "description", pointer),
            domains=domains,
            location=self._texts(table.get("location", {}), f"{pointer}/location"),
        )

    def _tray(self, table: Mapping[str, Any], pointer: str, rack: Rack) -> Tray:
        self._check_members(table, _TRAY, pointer)
        name = self._text(table, "name", pointer, required=True)
        kind = kind_of(table.get("kind"))
        if kind is None:
            self._wrong(f"{pointer}/kind", f"the kind is one of {', '.join(Kind)}")
        return Tray(
            id=self._id(table, pointer, rack.id, "tray", name),
            rack=rack.id,
            kind=kind or Kind.COMPUTE,
            name=name,
            component=self._text(table, "component", pointer),
            manufacturer=self._text(table, "manufacturer", pointer),
            model=self._text(table, "model", pointer),
            serial=self._text(table, "serial", pointer),
            description=self._text(table, "description", pointer),
            slot=self._whole(table, "slot", pointer),
            position=self._whole(table, "position", pointer),
            host=self._whole(table, "host", pointer),
            bmcs=[self._texts(each, below) for each, below in self.tables(table, "bmc", pointer)],
            observed={each: table[each] for each in _OBSERVED if self._text(table, each, pointer)},
        )

    def check_ids(self, sites: list[SitePlan]) -> None:
        seen: set[str] = set()
        for site in sites:
            for id in (site.id, *(rack.id for rack in site.racks), *(tray.id for tray in site.trays)):
                if id in seen:
                    self._wrong(
                        "", f"the id {id} stands twice; two things of one place may have the same name"
                    )
                seen.add(id)

    def _check_members(self, table: Mapping[str, Any], known: frozenset[str], pointer: str) -> None:
        for name in table.keys() - known:
            self._wrong(
                f"{pointer}/{name}", f"{name!r} is not known here; there are: {', '.join(sorted(known))}"
            )

    def _id(self, table: Mapping[str, Any], pointer: str, *names: str) -> str:
        given = table.get("id")
        if given is None:
            return str(uuid5(_NAMESPACE, "/".join(names)))
        if not _is_uuid(given):
            self._wrong(f"{pointer}/id", "the id is a UUID; leave it out to have one made of the names")
            return ""
        return str(UUID(given))

    def _text(self, table: Mapping[str, Any], name: str, pointer: str, *, required: bool = False) -> str:
        value = table.get(name)
        if value is None:
            if required:
                self._wrong(f"{pointer}/{name}", f"{name} is missing")
            return ""
        faults = check_text(value, f"{pointer}/{name}", most=2000)
        self.faults += faults
        return "" if faults else str(value)

    def _texts(self, table: Any, pointer: str) -> dict[str, str]:
        if not isinstance(table, Mapping) or not all(isinstance(value, str) for value in table.values()):
            self._wrong(pointer, "this is a table of texts")
            return {}
        return dict(table)

    def _whole(self, table: Mapping[str, Any], name: str, pointer: str) -> int | None:
        value = table.get(name)
        if value is not None and (
            not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31
        ):
            self._wrong(f"{pointer}/{name}", f"{name} is a whole number from 0 up")
            return None
        return value

    def _wrong(self, pointer: str, detail: str) -> None:
        self.faults.append(Fault(pointer, "invalid_inventory", detail))


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(UUID(value))
    except ValueError:
        return False
