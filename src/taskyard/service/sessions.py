"""Sessions: leave to fetch from a source, opened by a task, used by polls, ended by whoever asked for them."""

from collections.abc import Callable, Mapping
from typing import Final

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import LeaseLost, NotFound
from taskyard.core.hold import Hold
from taskyard.core.source import ACTIVE, OPEN, QUEUE, UNVALIDATED, Session, Source
from taskyard.core.task import NewTask
from taskyard.service.sources import Sources
from taskyard.service.tasks import Tasks
from taskyard.store.engine import Value
from taskyard.store.listing import Window
from taskyard.store.records import Records

#: Who ended a session, when its organisation asked for that.
ORGANISATION: Final = "organisation"


class Sessions:
    """
    Args:
        tasks: Submits the tasks that open sessions.
        new_id: Makes UUIDv7 text.
    """

    def __init__(self, tasks: Tasks, sources: Sources, new_id: Callable[[], str]) -> None:
        self._tasks = tasks
        self._sources = sources
        self._new_id = new_id

    def begin(
        self,
        records: Records,
        actor: Actor,
        source: Source,
        *,
        credentials: str | None,
        key: int | None = None,
        origin: str = "native",
    ) -> Session:
        """
        Begin to open a session with *source*: a task does that.

        Args:
            credentials: What it takes, sealed.

        Raises:
            Forbidden, Invalid (the source or its user is deactivated).
        """
        self._sources.usable(records, source)
        id = self._new_id()
        task = self._tasks.submit_one(
            records,
            actor,
            NewTask(
                type=OPEN,
                queue=QUEUE,
                input={"session": id},
                labels=labels_of(source, session=id, key=key),
                origin=origin,
            ),
        )
        records.sessions.insert(
            actor.organisation,
            id,
            key=key,
            user=source.user,
            source=source.number,
            task=task.id,
            credentials=credentials,
            now=records.now,
        )
        _tell(records, actor.organisation, "session.created", id)
        return self.get(records, actor, id)

    def get(self, records: Records, actor: Actor, id: str) -> Session:
        """Raises NotFound; another organisation's session is not found."""
        actor.require(Permission.READ)
        found = records.sessions.get(actor.organisation, id)
        if found is None:
            raise NotFound("session", id)
        return found

    def search(
        self,
        records: Records,
        actor: Actor,
        wanted: Mapping[str, Value],
        state: str | None,
        window: Window,
    ) -> tuple[list[Session], int]:
        """Return the sessions in a window, newest first, and how many there are in all."""
        actor.require(Permission.READ)
        found = records.sessions.search(actor.organisation, wanted, state, window)
        return found, records.sessions.count(actor.organisation, wanted, state)

    def expire(self, records: Records, actor: Actor, id: str, *, by: str = ORGANISATION) -> Session:
        """End a session and forget its credentials; what has failed or expired already stays as it is."""
        actor.require(Permission.SUBMIT)
        session = self.get(records, actor, id)
        if session.state in ("pending", ACTIVE) and records.sessions.expire(
            actor.organisation, id, by, records.now
        ):
            _tell(records, actor.organisation, "session.expired", id)
        return self.get(records, actor, id)

    # -- for the worker that opens it ----------------------------------------------------------------------------------------

    def opened(self, records: Records, hold: Hold, session: Session, credentials: str | None) -> None:
        """
        Write that a session is open; it is active once its task has succeeded. A source is validated by the first.

        Raises:
            LeaseLost: the attempt is no longer the holder's.
        """
        _check(records, hold)
        if not records.sessions.open(hold.organisation, session.id, credentials, records.now):
            return
        source = records.sources.get(hold.organisation, session.source)
        if source is not None and source.state == UNVALIDATED:
            records.sources.set_state(hold.organisation, source.number, ACTIVE)
        _tell(records, hold.organisation, "session.opened", session.id)

    def refused(self, records: Records, hold: Hold, session: Session) -> None:
        """Forget what it took to open a session that its source refuses. Raises LeaseLost."""
        _check(records, hold)
        records.sessions.forget_credentials(hold.organisation, session.id)


def labels_of(source: Source, *, session: str, key: int | None, poll: str | None = None) -> dict[str, str]:
    """Return the labels that the tasks of a source are found by."""
    labels = {
        "user": str(source.user),
        "source": str(source.number),
        "source_type": source.type,
        "session": session,
    }
    if key is not None:
        labels["key"] = str(key)
    if poll is not None:
        labels["poll"] = poll
    return labels


def _check(records: Records, hold: Hold) -> None:
    if not records.work.holds(hold.organisation, hold.number, hold.id, hold.claims, hold.holder):
        raise LeaseLost(hold.id, hold.claims)


def _tell(records: Records, organisation: int, kind: str, id: str) -> None:
    records.events.append(kind, organisation=organisation, subject=id, at=records.now)
