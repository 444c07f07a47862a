"""Sites, racks and trays: who provides them, what stands where, and what was last seen of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import Conflict, NotFound
from taskyard.core.site import Provider, Rack, Site, SitePlan, Tray
from taskyard.store.records import Records
from taskyard.store.sites import ANY_RACK, ANY_TRAY, RackFilter, TrayFilter


class ForeignSite(NotFound):
    """The site is another organisation's. Most wires say that there is none; some tell the difference."""


class Sites:
    """
    Args:
        new_id: Makes UUIDv7 text.
    """

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id

    # -- providers -----------------------------------------------------------------------------------------------------------

    def provide(self, records: Records, actor: Actor) -> Provider:
        """Return the actor's organisation as a provider; it becomes one when it is none yet."""
        actor.require(Permission.MANAGE)
        records.sites.insert_provider(actor.organisation, self._new_id(), records.now)
        return self.provider(records, actor)

    def provider(self, records: Records, actor: Actor) -> Provider:
        """Raises NotFound when the organisation provides no infrastructure."""
        provider = records.sites.provider(actor.organisation)
        if provider is None:
            raise NotFound("provider for organisation", actor.organisation)
        return provider

    # -- the inventory -------------------------------------------------------------------------------------------------------

    def load(self, records: Records, plans: Sequence[SitePlan]) -> list[Site]:
        """
        Make the sites as *plans* describe them, with exactly their racks and trays; organisations that are named and not there are
        made. What was observed of trays that stay is kept, and so are sites that are not named.

        Raises:
            Conflict: a site's id is another organisation's.
        """
        return [self._load(records, plan) for plan in plans]

    def _load(self, records: Records, plan: SitePlan) -> Site:
        organisation = records.accounts.organisation_by_name(plan.organisation)
        if organisation is None:
            number = records.accounts.insert_organisation(
                plan.organisation, plan.organisation, {}, records.now
            )
            assert number is not None, (
                "nobody else can have taken a name that this transaction has just not found"
            )
        else:
            number = organisation.number
        records.sites.insert_provider(number, self._new_id(), records.now)
        place = records.sites.put(
            number, plan.id, name=plan.name, operable=plan.operable, driver=plan.driver, now=records.now
        )
        if place is None:
            raise Conflict(f"the site {plan.id} belongs to another organisation than {plan.organisation}")
        records.sites.put_racks(place, plan.racks)
        records.sites.put_trays(place, plan.trays)
        site = records.sites.get(plan.id)
        assert site is not None
        return site

    # -- read ----------------------------------------------------------------------------------------------------------------

    def get(self, records: Records, actor: Actor, id: str) -> Site:
        """Raises NotFound; ForeignSite, which is one too, for another organisation's."""
        actor.require(Permission.READ)
        site = records.sites.get(id)
        if site is None:
            raise NotFound("site", id)
        if site.organisation != actor.organisation:
            raise ForeignSite("site", id)
        return site

    def all(self, records: Records, actor: Actor) -> list[Site]:
        actor.require(Permission.READ)
        return records.sites.all(actor.organisation)

    def racks(self, records: Records, site: Site, filter: RackFilter = ANY_RACK) -> list[Rack]:
        """Return the racks of a site, as :meth:`get` gave it, by name."""
        return records.sites.racks(site.number, filter)

    def rack(self, records: Records, site: Site, id: str) -> Rack:
        racks = records.sites.racks(site.number, RackFilter(ids=[id]))
        if not racks:
            raise NotFound("rack", id)
        return racks[0]

    def trays(self, records: Records, site: Site, filter: TrayFilter = ANY_TRAY) -> list[Tray]:
        """Return the trays of a site, by rack and slot."""
        return records.sites.trays(site.number, filter)

    def tray(self, records: Records, site: Site, id: str) -> Tray:
        trays = records.sites.trays(site.number, TrayFilter(ids=[id]))
        if not trays:
            raise NotFound("tray", id)
        return trays[0]

    # -- what is seen --------------------------------------------------------------------------------------------------------

    def observe(self, records: Records, site: str, seen: Mapping[str, Mapping[str, Any]]) -> None:
        """Remember what was just seen of trays, by id; what is not said stays as it was."""
        found = records.sites.get(site)
        if found is None or not seen:
            return
        trays = records.sites.trays(found.number, TrayFilter(ids=sorted(seen)))
        records.sites.observe(found.number, {tray.id: {**tray.observed, **seen[tray.id]} for tray in trays})
