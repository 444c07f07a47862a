"""Providers, sites, racks and trays, and which tasks concern which component."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from taskyard.core.operation import Kind
from taskyard.core.site import Provider, Rack, Site, Tray
from taskyard.core.task import Task
from taskyard.core.times import from_micros, to_micros
from taskyard.store.engine import Connection, Row, Value
from taskyard.store.tasks import task_of
from taskyard.store.values import from_json, json_text

#: A wire asks how many tasks a rack or tray has had in all; more than these nobody pages through.
MOST_COUNTED: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RackFilter:
    """Which racks; everything given must hold."""

    ids: Sequence[str] | None = None
    names: Sequence[str] | None = None
    manufacturer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrayFilter:
    """Which trays; everything given must hold."""

    ids: Sequence[str] | None = None
    racks: Sequence[str] | None = None
    kind: Kind | None = None
    components: Sequence[str] | None = None
    slot: int | None = None


ANY_RACK: Final = RackFilter()
ANY_TRAY: Final = TrayFilter()


class SiteRecords:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # -- providers -----------------------------------------------------------------------------------------------------------

    def insert_provider(self, organisation: int, id: str, now: datetime) -> None:
        """Make an organisation a provider; one that is already stays as it is."""
        self._connection.run("insert_provider", organisation=organisation, id=id, now=to_micros(now))

    def provider(self, organisation: int) -> Provider | None:
        row = self._connection.row("get_provider", organisation=organisation)
        if row is None:
            return None
        id, organisation, created_at, updated_at = row
        return Provider(
            id=id,
            organisation=organisation,
            created_at=from_micros(created_at),
            updated_at=from_micros(updated_at),
        )

    # -- sites, racks, trays -------------------------------------------------------------------------------------------------

    def put(
        self, organisation: int, id: str, *, name: str, operable: bool, driver: str, now: datetime
    ) -> int | None:
        """Insert or update a site; return its number, None when the id is another organisation's."""
        row = self._connection.row(
            "put_site",
            organisation=organisation,
            id=id,
            name=name,
            operable=int(operable),
            driver=driver,
            now=to_micros(now),
        )
        return int(row[0]) if row else None

    def get(self, id: str) -> Site | None:
        """Return the site, whoever's it is."""
        row = self._connection.row("get_site", id=id)
        return _site_of(row) if row else None

    def all(self, organisation: int) -> list[Site]:
        return [_site_of(row) for row in self._connection.rows("list_sites", organisation=organisation)]

    def put_racks(self, site: int, racks: Sequence[Rack]) -> None:
        """Make *racks* the site's racks; others it had are removed."""
        self._remove("rack_ids", "delete_racks", site, {rack.id for rack in racks})
        self._connection.rows_for_each(
            "put_racks",
            [
                {
                    "id": rack.id,
                    "site": site,
                    "name": rack.name,
                    "manufacturer": rack.manufacturer,
                    "model": rack.model,
                    "details": json_text(_rack_details(rack)),
                }
                for rack in racks
            ],
        )

    def put_trays(self, site: int, trays: Sequence[Tray]) -> None:
        """Make *trays* the site's trays; others it had are removed. What was observed of those that stay is kept."""
        self._remove("tray_ids", "delete_trays", site, {tray.id for tray in trays})
        self._connection.rows_for_each(
            "put_trays",
            [
                {
                    "id": tray.id,
                    "site": site,
                    "rack": tray.rack,
                    "kind": tray.kind.value,
                    "name": tray.name,
                    "component": tray.component,
                    "manufacturer": tray.manufacturer,
                    "model": tray.model,
                    "slot": tray.slot,
                    "details": json_text(_tray_details(tray)),
                    "observed": json_text(dict(tray.observed)),
                }
                for tray in trays
            ],
        )

    def _remove(self, known: str, delete: str, site: int, keep: set[str]) -> None:
        gone = [row[0] for row in self._connection.rows(known, site=site) if row[0] not in keep]
        if gone:
            self._connection.run(delete, site=site, ids=gone)

    def racks(self, site: int, filter: RackFilter = ANY_RACK) -> list[Rack]:
        """Return the site's racks that match, by name."""
        conditions: dict[str, tuple[str, Value]] = {}
        if filter.ids is not None:
            conditions["racks_by_ids"] = ("rack_ids", list(filter.ids))
        if filter.names is not None:
            conditions["racks_by_names"] = ("rack_names", list(filter.names))
        if filter.manufacturer is not None:
            conditions["racks_by_manufacturer"] = ("manufacturer", filter.manufacturer)
        values = dict(conditions.values())
        return [
            _rack_of(row) for row in self._connection.rows("list_racks", *conditions, site=site, **values)
        ]

    def trays(self, site: int, filter: TrayFilter = ANY_TRAY) -> list[Tray]:
        """Return the site's trays that match, by rack and slot."""
        conditions: dict[str, tuple[str, Value]] = {}
        if filter.ids is not None:
            conditions["trays_by_ids"] = ("tray_ids", list(filter.ids))
        if filter.racks is not None:
            conditions["trays_by_racks"] = ("rack_ids", list(filter.racks))
        if filter.kind is not None:
            conditions["trays_by_kind"] = ("kind", filter.kind.value)
        if filter.components is not None:
            conditions["trays_by_component"] = ("components", list(filter.components))
        if filter.slot is not None:
            conditions["trays_by_slot"] = ("slot", filter.slot)
        values = dict(conditions.values())
        return [
            _tray_of(row) for row in self._connection.rows("list_trays", *conditions, site=site, **values)
        ]

    def observe(self, site: int, observed: Mapping[str, Mapping[str, Any]]) -> None:
        """Write what was last seen of trays, by id."""
        for id, seen in sorted(observed.items()):
            self._connection.run("observe_tray", site=site, id=id, observed=json_text(dict(seen)))

    # -- which tasks concern which component ---------------------------------------------------------------------------------

    def involve(self, task: Task, components: Sequence[str]) -> None:
        self._connection.rows_for_each(
            "involve",
            [
                {"organisation": task.organisation, "component": id, "task": task.number}
                for id in sorted(set(components))
            ],
        )

    def tasks_of(
        self, organisation: int, component: str, *, site: str, open_only: bool, limit: int, offset: int
    ) -> tuple[list[Task], int]:
        """Return the tasks that concern a component, newest first, and how many there are in all."""
        conditions = ("involved_at_site", *(["involved_open"] if open_only else []))
        values: dict[str, Value] = {"organisation": organisation, "component": component, "site": site}
        rows = self._connection.rows("list_involved", *conditions, limit=limit, offset=offset, **values)
        count = self._connection.row("count_involved", *conditions, most=MOST_COUNTED, **values)
        return [task_of(row) for row in rows], int(count[0]) if count else 0


def _site_of(row: Row) -> Site:
    number, id, organisation, name, operable, driver, created_at, updated_at = row
    return Site(
        number=number,
        id=id,
        organisation=organisation,
        name=name,
        operable=bool(operable),
        driver=driver,
        created_at=from_micros(created_at),
        updated_at=from_micros(updated_at),
    )


def _rack_details(rack: Rack) -> dict[str, Any]:
    return {
        "serial": rack.serial,
        "description": rack.description,
        "domains": list(rack.domains),
        "location": dict(rack.location),
    }


def _rack_of(row: Row) -> Rack:
    id, name, manufacturer, model, details = row
    return Rack(id=id, name=name, manufacturer=manufacturer, model=model, **from_json(details))


def _tray_details(tray: Tray) -> dict[str, Any]:
    return {
        "serial": tray.serial,
        "description": tray.description,
        "position": tray.position,
        "host": tray.host,
        "bmcs": [dict(bmc) for bmc in tray.bmcs],
    }


def _tray_of(row: Row) -> Tray:
    id, rack, kind, name, component, manufacturer, model, slot, details, observed = row
    return Tray(
        id=id,
        rack=rack,
        kind=Kind(kind),
        name=name,
        component=component,
        manufacturer=manufacturer,
        model=model,
        slot=slot,
        observed=from_json(observed) or {},
        **from_json(details),
    )
