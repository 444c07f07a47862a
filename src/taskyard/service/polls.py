"""Polls: what is asked of a source, as one task for each thing wanted."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import Fault, Invalid, NotFound
from taskyard.core.limits import MAX_KEY_LENGTH, check_text
from taskyard.core.source import ACTIVE, EVERYTHING, FETCH, QUEUE, Poll, Session, Source
from taskyard.core.task import NewTask
from taskyard.service.destinations import Destinations
from taskyard.service.sessions import Sessions, labels_of
from taskyard.service.sources import Sources
from taskyard.service.tasks import Submission, Tasks
from taskyard.store.engine import Value
from taskyard.store.listing import Window
from taskyard.store.records import Records

#: More than anybody asks for at once; each is a task.
MAX_FETCHES: Final = 1_000


class Polls:
    """
    Args:
        tasks: Submits the tasks of polls.
        destinations: Knows where results go.
        new_id: Makes UUIDv7 text.
    """

    def __init__(
        self,
        tasks: Tasks,
        sources: Sources,
        sessions: Sessions,
        destinations: Destinations,
        new_id: Callable[[], str],
    ) -> None:
        self._tasks = tasks
        self._sources = sources
        self._sessions = sessions
        self._destinations = destinations
        self._new_id = new_id

    def begin(
        self,
        records: Records,
        actor: Actor,
        session: str,
        payload: Mapping[str, Any],
        *,
        source: int | None = None,
        key: int | None = None,
        origin: str = "native",
    ) -> Poll:
        """
        Submit a task for each thing that *payload* names under ``info_types``, ``data_types`` and ``files``.

        Args:
            source: The session's, or one found in it; the session's by default.
            key: The number of the key that asks: it may have a storage of its own.

        Raises:
            Forbidden, Invalid: the payload; the session is unknown, not active (``session_expired``, ``session_inactive``);
                the source is not the session's; there is no valid storage for the results (``unconfigured``).
        """
        actor.require(Permission.SUBMIT)
        fetches = _fetches(payload)
        target = self._source(records, self._session(records, actor, session), source)
        self._sources.usable(records, target)
        storage = self._destinations.storage_for(records, actor.organisation, key)
        id = self._new_id()
        records.polls.insert(
            actor.organisation,
            id,
            key=key,
            user=target.user,
            source=target.number,
            session=session,
            payload=payload,
            storage=storage.number,
            now=records.now,
        )
        labels = labels_of(target, session=session, key=key, poll=id)
        news = [
            NewTask(type=type, target=wanted, queue=QUEUE, input={"poll": id}, labels=labels, origin=origin)
            for type, wanted in fetches
        ]
        for answer in self._tasks.submit(records, [Submission(actor, new) for new in news]):
            if isinstance(answer, Exception):
                raise answer
        records.events.append("poll.created", organisation=actor.organisation, subject=id, at=records.now)
        return self.get(records, actor, id)

    def get(self, records: Records, actor: Actor, id: str) -> Poll:
        """Raises NotFound; another organisation's poll is not found."""
        actor.require(Permission.READ)
        found = records.polls.get(actor.organisation, id)
        if found is None:
            raise NotFound("poll", id)
        return found

    def search(
        self,
        records: Records,
        actor: Actor,
        wanted: Mapping[str, Value],
        state: str | None,
        window: Window,
    ) -> tuple[list[Poll], int]:
        """Return the polls in a window, newest first, and how many there are in all."""
        actor.require(Permission.READ)
        found = records.polls.search(actor.organisation, wanted, state, window)
        return found, records.polls.count(actor.organisation, wanted, state)

    def _session(self, records: Records, actor: Actor, id: str) -> Session:
        session = records.sessions.get(actor.organisation, id)
        if session is None:
            raise Invalid(f"there is no session {id}", pointer="/session", code="unknown")
        if session.state == "expired":
            raise Invalid(
                f"the session {id} has expired; open another", pointer="/session", code="session_expired"
            )
        if session.state != ACTIVE:
            raise Invalid(
                f"the session {id} is {session.state}; only an active one can be used",
                pointer="/session",
                code="session_inactive",
            )
        return session

    def _source(self, records: Records, session: Session, wanted: int | None) -> Source:
        source = records.sources.get(session.organisation, session.source if wanted is None else wanted)
        if source is None or session.source not in (source.number, source.parent):
            raise Invalid(
                f"the source {wanted} is not one of the session {session.id}",
                pointer="/source",
                code="unknown",
            )
        return source


def _fetches(payload: Mapping[str, Any]) -> Sequence[tuple[str, str | None]]:
    """Return the (type, target) of each task that *payload* asks for. Raises Invalid."""
    faults: list[Fault] = []
    found: dict[tuple[str, str | None], None] = {}
    for name, type in FETCH.items():
        wanted = payload.get(name, [])
        pointer = f"/payload/{name}"
        if not isinstance(wanted, list):
            faults.append(Fault(pointer, "bad_type", f"{name} is a list of texts"))
            continue
        for each in wanted:
            wrong = check_text(each, pointer, most=MAX_KEY_LENGTH)
            faults += wrong or ([] if each else [Fault(pointer, "empty", f"{name} holds an empty text")])
            if not wrong:
                everything = name == "info_types" and each == EVERYTHING
                found[type, None if everything else each] = None
    # A list that is given may be empty: the client asks for the files of what has none.
    if not faults and not FETCH.keys() & payload.keys():
        faults.append(
            Fault("/payload", "empty", f"the payload asks for nothing; name some {', '.join(FETCH)}")
        )
    if len(found) > MAX_FETCHES:
        faults.append(
            Fault(
                "/payload", "too_many", f"{len(found):,} things are asked for; at most {MAX_FETCHES:,} can be"
            )
        )
    if faults:
        raise Invalid(faults[0].detail, faults=faults)
    return list(found)
