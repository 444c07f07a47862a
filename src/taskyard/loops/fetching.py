"""Fetching: the tasks of sessions and polls, done by the connectors of their sources; what is found becomes a result's file."""

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from taskyard.core.destination import Destination, Kind
from taskyard.core.errors import Invalid
from taskyard.core.hold import Hold
from taskyard.core.outcome import Done, Failed, Outcome
from taskyard.core.source import ACTIVE, FETCH, OPEN, QUEUE, Session, Source
from taskyard.core.task import Json, Task
from taskyard.loops.connector import Connector, Found, Refused, Visit
from taskyard.loops.context import Context
from taskyard.loops.handlers import Handler, Place
from taskyard.loops.storage import Storage
from taskyard.service.seal import Seal
from taskyard.service.services import Services
from taskyard.store.records import Records
from taskyard.store.store import Store
from taskyard.store.values import from_json, json_text

Answer = TypeVar("Answer")

INFO, DATA, FILES = FETCH["info_types"], FETCH["data_types"], FETCH["files"]
#: What a result is published as, by the type of its task.
NAMES: Final[Mapping[str, str]] = {INFO: "info", DATA: "data", FILES: "file"}
#: Long enough for the largest file of a slow source; what hangs for longer is tried again.
LIMIT: Final = timedelta(hours=1)
#: Under this step stands which result was published: an attempt that comes after does not publish it again.
PUBLISHED: Final = "published"
_EXTENSION: Final = re.compile(r"[a-z0-9]{1,16}")


@dataclass(frozen=True, slots=True)
class _Errand:
    """What a fetching task is sent for."""

    session: Session
    source: Source
    poll: str
    storage: Destination


class Fetching:
    """
    Args:
        connectors: What talks to sources; there is one for each type.
        storages: What writes files; one for each scheme of URL.
        seal: Opens and closes what sessions keep; without it none is opened.
        now: The clock that pauses are counted by.
    """

    def __init__(
        self,
        store: Store,
        services: Services,
        connectors: Sequence[Connector],
        storages: Sequence[Storage],
        *,
        seal: Seal | None,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._services = services
        self._connectors = {connector.type: connector for connector in connectors}
        self._storages = {storage.scheme: storage for storage in storages}
        self._seal = seal
        self._now = now

    def handlers(self) -> list[Handler]:
        """Return the handlers of sessions' and polls' tasks, to be added to a worker's."""
        return [
            Handler(type=OPEN, function=self.open, place=Place.LOOP, queue=QUEUE, timeout=LIMIT),
            *(
                Handler(type=type, function=self._fetcher(type), place=Place.LOOP, queue=QUEUE, timeout=LIMIT)
                for type in FETCH.values()
            ),
        ]

    # -- sessions ------------------------------------------------------------------------------------------------------------

    async def open(self, ctx: Context) -> Outcome:
        """Open a session. One that was opened by an attempt before is open."""
        hold = Hold.of(ctx.task)
        session = await self._read(_session, ctx.task)
        try:
            if session is None or session.state == "expired":
                raise Refused("session-expired", "the session has ended before it was opened")
            if session.opened_at is None:
                connector, visit = await self._visit(ctx, session, session.source)
                secret = self._sealed(await connector.open(visit))
                await self._write(self._services.sessions.opened, hold, session, secret)
        except Refused as refusal:
            if session is not None:
                await self._write(self._services.sessions.refused, hold, session)
            return Failed(str(refusal), code=refusal.code, final=True)
        return Done()

    async def _visit(self, ctx: Context, session: Session, number: int) -> tuple[Connector, Visit]:
        source = await self._read(lambda records: records.sources.get(session.organisation, number))
        if source is None:
            raise Refused("source-unknown", f"there is no source {number}")
        connector = self._connectors.get(source.type)
        if connector is None:
            known = ", ".join(sorted(self._connectors))
            raise Refused(
                "source-type-not-supported",
                f"there is no connector for sources of the type {source.type} here; there is {known}",
            )
        return connector, Visit(ctx, source, self._opened(session.credentials), self._now)

    def _sealed(self, secret: Json) -> str | None:
        text = json_text(secret)
        return None if text is None else self._key().seal(text)

    def _key(self) -> Seal:
        if self._seal is None:
            raise Refused(
                "credentials-unreadable", "this worker has no secret_key to open what the session keeps"
            )
        return self._seal

    def _opened(self, sealed: str | None) -> Json:
        try:
            return None if sealed is None else from_json(self._key().open(sealed))
        except Invalid as error:
            raise Refused("credentials-unreadable", str(error)) from None

    # -- polls ---------------------------------------------------------------------------------------------------------------

    def _fetcher(self, type: str) -> Callable[[Context], Any]:
        async def fetch(ctx: Context) -> Outcome:
            try:
                errand = await self._read(_errand, ctx.task)
                connector, visit = await self._visit(ctx, errand.session, errand.source.number)
                found = await _fetched(connector, visit, type, ctx.task.target)
                return Done({"result": await self._published(ctx.task, errand, found)})
            except Refused as refusal:
                return Failed(str(refusal), code=refusal.code, final=True)

        return fetch

    async def _published(self, task: Task, errand: _Errand, found: Found) -> str:
        """Write the file of a result, then publish the result, once."""
        scheme = errand.storage.url.partition(":")[0]
        storage = self._storages.get(scheme)
        if storage is None:
            raise Refused("storage-not-supported", f"nothing here writes to {scheme}:// URLs")
        extension = found.type if _EXTENSION.fullmatch(found.type) else "bin"
        # Named by the task: an attempt that is made again writes the same file.
        url = await storage.put(errand.storage.url, f"{errand.poll}/{task.id}.{extension}", found.content)
        value = {
            "identifier": task.target or errand.source.type,
            "url": url,
            "type": found.type,
            "checksum": hashlib.md5(found.content, usedforsecurity=False).hexdigest(),
            "size": len(found.content),
        }

        def publish(records: Records) -> str:
            done = records.tasks.get_step(task.number, PUBLISHED)
            if done is not None:
                return str(done.output)
            hold, work = Hold.of(task), self._services.work
            id = work.publish(records, hold, NAMES[task.type], value)
            work.finish_step(records, hold, PUBLISHED, id)
            return id

        return await self._write(publish)

    async def _write(self, function: Callable[..., Answer], *args: Any) -> Answer:
        return await asyncio.wrap_future(self._store.write_soon(lambda records: function(records, *args)))

    async def _read(self, function: Callable[..., Answer], *args: Any) -> Answer:
        return await asyncio.wrap_future(self._store.read_soon(lambda records: function(records, *args)))


def _session(records: Records, task: Task) -> Session | None:
    return records.sessions.get(task.organisation, _named(task, "session"))


def _errand(records: Records, task: Task) -> _Errand:
    """Raises Refused when the poll is unknown, its session is over, or its storage is no longer used."""
    poll = records.polls.get(task.organisation, _named(task, "poll"))
    if poll is None:
        raise Refused("poll-unknown", "there is no such poll")
    session = records.sessions.get(task.organisation, poll.session)
    if session is None or session.state != ACTIVE:
        raise Refused("session-expired", f"the session {poll.session} has ended")
    source = records.sources.get(task.organisation, poll.source)
    storage = records.destinations.get(task.organisation, Kind.STORAGE, poll.storage)
    if source is None or storage is None:
        raise Refused("unconfigured", f"the storage config {poll.storage} is not there")
    return _Errand(session, source, poll.id, storage)


def _named(task: Task, noun: str) -> str:
    named = task.input.get(noun) if isinstance(task.input, dict) else None
    return named if isinstance(named, str) and "\0" not in named else ""


async def _fetched(connector: Connector, visit: Visit, type: str, target: str | None) -> Found:
    if type == INFO:
        return await connector.info(visit, target)
    if target is None:
        raise Refused("target-missing", "the task does not say what to fetch")
    return await (connector.data if type == DATA else connector.file)(visit, target)
