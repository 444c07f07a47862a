"""End users and their sources: whose data is fetched, and from where."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import Fault, Invalid, NotFound
from taskyard.core.limits import MAX_KEY_LENGTH, check_name, check_text
from taskyard.core.source import ACTIVE, DEACTIVATED, EndUser, Source
from taskyard.core.task import Json
from taskyard.store.engine import Duplicate, Value
from taskyard.store.listing import NEWEST, Window
from taskyard.store.records import Records

#: What a caller may set: the other states are the connectors' and the operators'.
SETTABLE: Final = (ACTIVE, DEACTIVATED)


class Sources:
    # -- end users -----------------------------------------------------------------------------------------------------------

    def welcome(
        self, records: Records, actor: Actor, identifier: str, *, key: int | None = None
    ) -> tuple[EndUser, bool]:
        """
        Return the end user of *identifier*, and whether they were just made.

        Raises:
            Forbidden, Invalid.
        """
        actor.require(Permission.SUBMIT)
        _refuse(_check_identifier(identifier))
        number = records.sources.insert_user(actor.organisation, key, identifier, records.now)
        if number is not None:
            _tell(records, actor, "end_user.created", number, {"identifier": identifier})
        found = records.sources.user_by_identifier(actor.organisation, identifier)
        assert found is not None
        return found, number is not None

    def user(self, records: Records, actor: Actor, number: int) -> EndUser:
        """Raises NotFound; another organisation's end user is not found."""
        actor.require(Permission.READ)
        found = records.sources.user(actor.organisation, number)
        if found is None:
            raise NotFound("user", number)
        return found

    def search_users(
        self, records: Records, actor: Actor, wanted: Mapping[str, Value], window: Window
    ) -> tuple[list[EndUser], int]:
        """Return the end users in a window, newest first, and how many there are in all."""
        actor.require(Permission.READ)
        found = records.sources.search_users(actor.organisation, wanted, window)
        return found, records.sources.count_users(actor.organisation, wanted)

    def change_user(
        self,
        records: Records,
        actor: Actor,
        number: int,
        *,
        identifier: str | None = None,
        state: str | None = None,
    ) -> EndUser:
        """Change an end user; what is left out stays. Raises NotFound, Forbidden, Invalid."""
        actor.require(Permission.SUBMIT)
        user = self.user(records, actor, number)
        faults = [] if identifier is None else _check_identifier(identifier)
        _refuse([*faults, *_check_state(state)])
        changed = replace(
            user, identifier=user.identifier if identifier is None else identifier, state=state or user.state
        )
        try:
            with records.connection.savepoint():
                records.sources.update_user(changed)
        except Duplicate:
            raise Invalid(
                f"another user has the identifier {identifier}", pointer="/identifier", code="taken"
            ) from None
        _tell(records, actor, "end_user.changed", number, {"state": changed.state})
        return changed

    # -- sources -------------------------------------------------------------------------------------------------------------

    def add(
        self, records: Records, actor: Actor, user: int, type: str, identifier: str = ""
    ) -> tuple[Source, bool]:
        """
        Return the source that *user* has of this type and identifier, and whether it was just made.

        Raises:
            Forbidden, Invalid: there is no such user, or a text cannot be kept.
        """
        actor.require(Permission.SUBMIT)
        faults = check_name(type, "/type", "source type")
        faults += check_text(identifier, "/identifier", most=MAX_KEY_LENGTH)
        if records.sources.user(actor.organisation, user) is None:
            faults.append(Fault("/user", "unknown", f"there is no user {user}"))
        _refuse(faults)
        number = records.sources.insert(actor.organisation, user, type, identifier, records.now)
        if number is not None:
            _tell(records, actor, "source.created", number, {"type": type})
            made = records.sources.get(actor.organisation, number)
        else:
            wanted: dict[str, Value] = {"user": user, "type": type, "identifier": identifier}
            [made] = records.sources.search(actor.organisation, wanted, NEWEST)
        assert made is not None
        return made, number is not None

    def get(self, records: Records, actor: Actor, number: int) -> Source:
        """Raises NotFound; another organisation's source is not found."""
        actor.require(Permission.READ)
        found = records.sources.get(actor.organisation, number)
        if found is None:
            raise NotFound("source", number)
        return found

    def search(
        self, records: Records, actor: Actor, wanted: Mapping[str, Value], window: Window
    ) -> tuple[list[Source], int]:
        """Return the sources in a window, newest first, and how many there are in all."""
        actor.require(Permission.READ)
        found = records.sources.search(actor.organisation, wanted, window)
        return found, records.sources.count(actor.organisation, wanted)

    def change(self, records: Records, actor: Actor, number: int, *, state: str) -> Source:
        """Let a source be used, or no longer. Raises NotFound, Forbidden, Invalid."""
        actor.require(Permission.SUBMIT)
        source = self.get(records, actor, number)
        _refuse(_check_state(state))
        records.sources.set_state(actor.organisation, number, state)
        _tell(records, actor, "source.changed", number, {"state": state})
        return replace(source, state=state)

    def usable(self, records: Records, source: Source) -> None:
        """Raise Invalid when a source or its user has been deactivated."""
        user = records.sources.user(source.organisation, source.user)
        if user is None or user.state != ACTIVE:
            raise Invalid(
                f"the user {source.user} is {DEACTIVATED}; activate them first",
                pointer="/user",
                code="not_usable",
            )
        if source.state == DEACTIVATED:
            raise Invalid(
                f"the source {source.number} is {DEACTIVATED}; activate it first",
                pointer="/source",
                code="not_usable",
            )


def _check_identifier(identifier: str) -> list[Fault]:
    faults = check_text(identifier, "/identifier", most=MAX_KEY_LENGTH)
    if not faults and not identifier:
        faults.append(Fault("/identifier", "empty", "an identifier is not empty"))
    return faults


def _check_state(state: str | None) -> list[Fault]:
    if state is None or state in SETTABLE:
        return []
    return [Fault("/state", "bad_value", f"a state can be set to {' or '.join(SETTABLE)}")]


def _refuse(faults: list[Fault]) -> None:
    if faults:
        raise Invalid(faults[0].detail, faults=faults)


def _tell(records: Records, actor: Actor, kind: str, number: int, data: Mapping[str, Json]) -> None:
    records.events.append(
        kind,
        organisation=actor.organisation,
        subject=str(number),
        at=records.now,
        data={"by": actor.identity, **data},
    )
