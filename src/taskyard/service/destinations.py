"""Destinations: storages for results and webhooks for news. Each is tested by a task, and used once that found it valid."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from taskyard.core.actor import Actor, Permission
from taskyard.core.destination import TESTS, Destination, Kind, Standing
from taskyard.core.errors import Fault, Invalid, LeaseLost, NotFound
from taskyard.core.hold import Hold
from taskyard.core.limits import check_text
from taskyard.core.source import QUEUE
from taskyard.core.task import NewTask, Task
from taskyard.service.tasks import Tasks
from taskyard.store.engine import Value
from taskyard.store.listing import Window
from taskyard.store.records import Records

MAX_URL_LENGTH: Final = 2_000
#: More than any organisation has of one kind.
MOST_CONFIGS: Final = 1_000
#: What URLs of each kind begin with.
SCHEMES: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.STORAGE: ("gs", "s3", "local"),
    Kind.WEBHOOK: ("http", "https"),
}
#: 256 bits: nobody guesses what a signature is made with.
SECRET_BYTES: Final = 32


class Destinations:
    """
    Args:
        tasks: Submits the tests.
        token: Returns unguessable text of at least so many random bytes.
    """

    def __init__(self, tasks: Tasks, token: Callable[[int], str]) -> None:
        self._tasks = tasks
        self._token = token

    def add(
        self,
        records: Records,
        actor: Actor,
        kind: Kind,
        url: str,
        *,
        credentials: str | None = None,
        settings: Mapping[str, Any] | None = None,
        key: int | None = None,
        origin: str = "native",
    ) -> Destination:
        """
        Add a destination and begin to test it.

        Args:
            credentials: What it takes to write there, sealed.

        Raises:
            Forbidden, Invalid.
        """
        actor.require(Permission.MANAGE)
        _check_url(kind, url)
        number = records.destinations.insert(
            actor.organisation,
            kind,
            url=url,
            secret=self._token(SECRET_BYTES) if kind is Kind.WEBHOOK else None,
            credentials=credentials,
            settings=settings or {},
            now=records.now,
        )
        _tell(records, actor, "destination.created", kind, number)
        made = self.get(records, actor, kind, number)
        self._submit(records, actor, made, key, origin)
        return made

    def get(self, records: Records, actor: Actor, kind: Kind, number: int) -> Destination:
        """Raises NotFound; another organisation's destination is not found."""
        actor.require(Permission.READ)
        found = records.destinations.get(actor.organisation, kind, number)
        if found is None:
            raise NotFound(f"{kind} config", number)
        return found

    def search(
        self, records: Records, actor: Actor, kind: Kind, wanted: Mapping[str, Value], window: Window
    ) -> tuple[list[Destination], int]:
        """Return the destinations of a kind in a window, newest first, and how many there are in all."""
        actor.require(Permission.READ)
        wanted = {**wanted, "kind": kind.value}
        found = records.destinations.search(actor.organisation, wanted, window)
        return found, records.destinations.count(actor.organisation, wanted)

    def current(self, records: Records, actor: Actor, kind: Kind) -> list[Destination]:
        """Return all of a kind that are not deactivated, newest first."""
        found, _ = self.search(records, actor, kind, {}, Window(limit=MOST_CONFIGS))
        return [each for each in found if each.state is not Standing.DEACTIVATED]

    def change(
        self,
        records: Records,
        actor: Actor,
        kind: Kind,
        number: int,
        *,
        url: str | None = None,
        credentials: str | None = None,
        settings: Mapping[str, Any] | None = None,
        key: int | None = None,
        origin: str = "native",
    ) -> Destination:
        """Change a destination; what is left out stays. It is new again, and tested. Raises NotFound, Forbidden, Invalid."""
        actor.require(Permission.MANAGE)
        found = self.get(records, actor, kind, number)
        if url is not None:
            _check_url(kind, url)
        changed = replace(
            found,
            url=url or found.url,
            credentials=credentials or found.credentials,
            settings={**found.settings, **(settings or {})},
            state=Standing.NEW,
        )
        records.destinations.update(changed)
        _tell(records, actor, "destination.changed", kind, number)
        self._submit(records, actor, changed, key, origin)
        return changed

    def deactivate(self, records: Records, actor: Actor, kind: Kind, number: int) -> Destination:
        """Use a destination no longer. Raises NotFound, Forbidden."""
        actor.require(Permission.MANAGE)
        found = self.get(records, actor, kind, number)
        if found.state is Standing.DEACTIVATED:
            return found
        changed = replace(found, state=Standing.DEACTIVATED)
        records.destinations.update(changed)
        _tell(records, actor, "destination.deactivated", kind, number)
        return changed

    def test(
        self,
        records: Records,
        actor: Actor,
        kind: Kind,
        number: int,
        *,
        key: int | None = None,
        origin: str = "native",
    ) -> Task:
        """Begin to test a destination; return the task that does. Raises NotFound, Forbidden, Invalid (it is deactivated)."""
        actor.require(Permission.MANAGE)
        found = self.get(records, actor, kind, number)
        if found.state is Standing.DEACTIVATED:
            raise Invalid(f"the {kind} config {number} is deactivated; make another", code="deactivated")
        return self._submit(records, actor, found, key, origin)

    def _submit(
        self, records: Records, actor: Actor, destination: Destination, key: int | None, origin: str
    ) -> Task:
        return self._tasks.submit_one(
            records,
            actor,
            NewTask(
                type=TESTS[destination.kind],
                target=str(destination.number),
                queue=QUEUE,
                input={"destination": destination.number},
                labels={} if key is None else {"key": str(key)},
                max_failures=1,  # whoever asked wants to know what it is like now
                origin=origin,
            ),
        )

    def judge(self, records: Records, hold: Hold, tested: Destination, *, valid: bool) -> None:
        """Write what the test found, as long as it is still what was tested. Raises LeaseLost."""
        if not records.work.holds(hold.organisation, hold.number, hold.id, hold.claims, hold.holder):
            raise LeaseLost(hold.id, hold.claims)
        state = Standing.VALID if valid else Standing.INVALID
        if records.destinations.judge(tested, state):
            records.events.append(
                "destination.tested",
                organisation=hold.organisation,
                subject=str(tested.number),
                at=records.now,
                data={"kind": tested.kind, "state": state},
            )

    def storage_for(self, records: Records, organisation: int, key: int | None) -> Destination:
        """
        Return where results go: to the key's storage, else to the organisation's, else to the newest valid one.

        Raises:
            Invalid: there is none that is valid (``unconfigured``).
        """
        valid: dict[str, Value] = {"kind": Kind.STORAGE.value, "state": Standing.VALID.value}
        chosen = self._chosen(records, organisation, key)
        if chosen is not None:
            valid["number"] = chosen
        found = records.destinations.search(organisation, valid, Window(limit=1))
        if not found:
            raise Invalid(
                "the organisation has no valid storage for results; add a storage config first",
                code="unconfigured",
            )
        return found[0]

    def _chosen(self, records: Records, organisation: int, key: int | None) -> int | None:
        """Return the number of the storage that is named by the key, or for the whole organisation."""
        for each in records.accounts.keys(organisation) if key is not None else ():
            if each.number == key and each.settings.get(Kind.STORAGE) is not None:
                return int(each.settings[Kind.STORAGE])
        found = records.accounts.organisation(organisation)
        named = None if found is None else found.settings.get(Kind.STORAGE)
        return None if named is None else int(named)


def _check_url(kind: Kind, url: str) -> None:
    faults = check_text(url, "/url", most=MAX_URL_LENGTH)
    if not faults:
        faults = _check_parts(kind, url)
    if faults:
        raise Invalid(faults[0].detail, faults=faults)


def _check_parts(kind: Kind, url: str) -> list[Fault]:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return [Fault("/url", "bad_url", f"this is not a URL: {error}")]
    if parts.scheme not in SCHEMES[kind]:
        schemes = " or ".join(f"{scheme}://" for scheme in SCHEMES[kind])
        return [Fault("/url", "bad_url", f"the URL of a {kind} begins with {schemes}")]
    if parts.scheme == "local":
        if parts.netloc or parts.query or parts.fragment or not parts.path.startswith("/"):
            return [
                Fault(
                    "/url",
                    "bad_url",
                    "a local storage is an absolute path after three slashes: local:///srv/results",
                )
            ]
    elif not parts.hostname:
        return [Fault("/url", "bad_url", "the URL names no host")]
    return []


def _tell(records: Records, actor: Actor, kind: str, of: Kind, number: int) -> None:
    records.events.append(
        kind,
        organisation=actor.organisation,
        subject=str(number),
        at=records.now,
        data={"by": actor.identity, "kind": of},
    )
