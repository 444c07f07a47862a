"""
What every dialect is asked alike, and what it must tell of itself to be asked: one :class:`Sample` in ``<name>/sample.py``.

A dialect that is mounted is tested unasked; one without a sample fails.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import httpx

from taskyard.app import DIALECTS
from taskyard.core.errors import TaskyardError
from taskyard.core.outcome import Done, Failed, Later, Waits
from taskyard.core.task import State, Task
from taskyard.http.backend import Backend
from taskyard.http.dialect import Dialect, application
from taskyard.http.refusal import status_of
from tests.conftest import Yard, new_id

#: Every mounted dialect, the native API, and one that is written for the tests alone.
NAMES = ("native", *DIALECTS, "toy")
MAX_BODY_BYTES = 50_000

#: A method, a path below where the dialect is mounted, and a body to be sent as JSON.
Request = tuple[str, str, Any]


@dataclass(frozen=True, kw_only=True)
class Place:
    """
    A yard as the clients of one wire find it; its organisation is the yard's.

    Args:
        credentials: Headers of somebody who may do everything on this wire.
        stranger: Headers of somebody of another organisation, who may do as much there.
        task: What a ``NewTask`` must say for the task to be seen in this dialect, ``type`` and all.
        names: What stands for the names in the patterns of paths (``{org}``), where not anything does.
        query: Parameters that a list needs before anything else is looked at.
        settings: What the dialect is configured with.
        more: Whatever else the sample wants to remember.
    """

    credentials: Mapping[str, str]
    stranger: Mapping[str, str]
    task: Mapping[str, Any] = field(default_factory=lambda: {"type": "resize"})
    names: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """
    What the suite must know of one dialect.

    Args:
        furnish: Makes in a fresh yard what this wire's clients need, whatever other samples have made there, and says what there
            is.
        wrong: Headers with credentials that prove nothing, each turned away with 401 like none at all.
        is_error: Whether a body, decoded, is this wire's own error body for a status.
        error_media: The media type of error bodies.
        statuses: Where a kind of refusal has another status here than elsewhere; a member of the kind has its kind's.
        sees_all: Whether this wire shows every task of the organisation, whoever has made it.
        look: Asks the wire for one task (``(wire, task)``); its word for the task's state, None where the wire shows none. It fails
            where the wire shows nothing of a task that it should show.
        words: What ``look`` finds instead of the dialect's word for the state, by way (see :data:`WAYS`).
        show: Brings a task about that the list shows.
        walk: Gives the pages of the list, as small as they can be, as the ids that :attr:`id_of` tells; asks for each when it is wanted.
        repeats: Whether the wire's pages are numbered with the newest first: what is made meanwhile pushes some to the next
            page, where they are seen again. None may be missed all the same.
        id_of: What the wire calls a task.
        lists: The path of the list.
        parameters: The names of all that its query may say.
        bodies: Requests with bodies that are right, each to be spoilt.
        theirs: Requests that name a task of ours, or what it belongs to, and which a stranger sends.
        hides: The statuses by which a stranger is turned away from what is ours.
        always: Methods that this wire's header ``Allow`` may name at any path.
    """

    furnish: Callable[[Yard], Place]
    wrong: Sequence[Mapping[str, str]]
    is_error: Callable[[Any, int], bool]
    error_media: str = "application/json"
    statuses: Mapping[type[TaskyardError], int] = field(default_factory=dict)
    sees_all: bool = False
    look: Callable[["Wire", Task], str | None]
    words: Mapping[str, str | None] = field(default_factory=dict)
    show: Callable[["Wire"], Task] = lambda wire: wire.yard.submit(**wire.place.task)
    walk: Callable[["Wire"], Iterator[list[Any]]]
    repeats: bool = False
    id_of: Callable[[Task], Any] = lambda task: task.id
    lists: Callable[[Place], str]
    parameters: Sequence[str] = ()
    bodies: Callable[[Place], Sequence[Request]]
    theirs: Callable[["Wire", Task], Sequence[Request]]
    hides: frozenset[int] = frozenset({404})
    always: frozenset[str] = frozenset()

    def status_of(self, refusal: TaskyardError) -> int:
        kinds = (kind for kind in type(refusal).__mro__ if kind in self.statuses)
        return next((self.statuses[kind] for kind in kinds), status_of(refusal))


def dialect_of(name: str) -> Dialect:
    package = "tests" if name == "toy" else "taskyard"
    found = import_module(f"{package}.dialects.{name}").dialect
    assert isinstance(found, Dialect)
    return found


def sample_of(name: str) -> Sample:
    module = f"tests.dialects.{name}.sample"
    missing = (
        f"the dialect {name} is mounted and has no sample: write {module.replace('.', '/')}.py with a Sample"
    )
    assert find_spec(f"tests.dialects.{name}"), missing
    assert find_spec(module), missing
    found = getattr(import_module(module), "sample", None)
    assert isinstance(found, Sample), missing
    return found


class Wire:
    """One dialect before a furnished yard. Whatever it answers is looked at: errors have the wire's own body, nothing is a page."""

    def __init__(self, name: str, yard: Yard) -> None:
        self.name = name
        self.dialect = dialect_of(name)
        self.sample = sample_of(name)
        self.yard = yard
        self.place = self.sample.furnish(yard)
        self.backend = self.make_backend(Backend)
        self.root = self.dialect.prefix
        self.transport: httpx.AsyncBaseTransport = self._answered_here()

    def _answered_here(self) -> httpx.AsyncBaseTransport:
        return httpx.ASGITransport(application(self.dialect, self.backend, at=self.root))

    def served_at(self, url: str) -> "Wire":
        """Give the same wire as a real server answers it below *url*."""
        other = self.but()
        other.root = url
        other.transport = httpx.AsyncHTTPTransport()
        return other

    def make_backend(self, kind: Callable[..., Backend]) -> Backend:
        return kind(
            store=self.yard.store,
            services=self.yard.services,
            new_id=new_id,
            max_body_bytes=MAX_BODY_BYTES,
            settings={self.name: dict(self.place.settings)},
        )

    def but(self, *, backend: Backend | None = None, **changes: Any) -> "Wire":
        """Give the same wire with some parts of the dialect exchanged."""
        other = Wire.__new__(Wire)
        other.__dict__.update(self.__dict__)
        other.backend = backend or self.backend
        other.dialect = replace(self.dialect, **changes)
        other.transport = other._answered_here()
        return other

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, str] | None = None,
        breaks: bool = False,
        **named: Any,
    ) -> httpx.Response:
        """
        Ask once.

        Args:
            headers: Instead of the credentials.
            more: Beside them.
            breaks: Whether the server may fail.
        """
        content = raw if raw is not None else None if body is None else json.dumps(body).encode()
        given = {
            "Accept": "application/json",
            **({} if content is None else {"Content-Type": "application/json"}),
            **(self.place.credentials if headers is None else headers),
            **(more or {}),
        }
        answer = asyncio.run(self._exchange(method, path, content, given, named))
        self.is_own(answer, f"{method} {path[:200]} {content[:200] if content else ''!r}", breaks=breaks)
        return answer

    async def _exchange(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str], named: Any
    ) -> httpx.Response:
        encoded = {name: value.encode("latin-1") for name, value in headers.items()}
        async with httpx.AsyncClient(transport=self.transport, base_url="http://yard", timeout=60) as client:
            return await client.request(method, self.root + path, content=content, headers=encoded, **named)

    def is_own(self, answer: httpx.Response, asked: str, *, breaks: bool = False) -> None:
        """Fail unless an answer is one that this wire may give."""
        told = f"{asked} → {answer.status_code} {answer.headers.get('content-type')} {answer.text[:300]}"
        media = answer.headers.get("content-type", "").partition(";")[0]
        assert media != "text/html", told
        assert "Traceback (most recent call last)" not in answer.text, told
        assert breaks or answer.status_code != 500, told
        if answer.status_code >= 400 and answer.request.method != "HEAD":
            assert media == self.sample.error_media, told
            assert self.sample.is_error(json.loads(answer.content), answer.status_code), told

    def paths(self) -> Iterator[tuple[str, frozenset[str]]]:
        """Give every path of the dialect, filled in, with the methods it answers; of several that look alike, the first."""
        seen = set()
        for path in self.dialect.paths(self.backend):
            filled = self.filled(path.pattern)
            if filled not in seen:
                seen.add(filled)
                yield filled, frozenset(path.endpoints)

    def filled(self, pattern: str) -> str:
        parts = []
        for part in pattern.replace("}", "{").split("{"):
            name, colon, kind = part.partition(":")
            if len(parts) % 2 == 0:
                parts.append(part)
            elif name in self.place.names:
                parts.append(self.place.names[name])
            else:
                parts.append(_ANYTHING[kind if colon else ""])
        return "".join(parts)


_ANYTHING = {
    "": "0190a000-0000-7000-8000-000000000000",
    "str": "anything",
    "int": "999999",
    "path": "anything",
    "uuid": "0190a000-0000-7000-8000-000000000000",
}


# -- the ways in which a task comes into each state -------------------------------------------------------------------------


def _delayed(wire: Wire) -> Task:
    return wire.yard.submit(**wire.place.task, run_at=wire.yard.clock.now + timedelta(hours=1))


def _ready(wire: Wire) -> Task:
    return wire.yard.submit(**wire.place.task)


def _blocked(wire: Wire) -> Task:
    other = wire.yard.submit("other", queue="elsewhere")
    return wire.yard.submit(**wire.place.task, blocked_by=(other.id,))


def _limited(wire: Wire) -> Task:
    wire.yard.submit("other", queue="elsewhere", concurrency_key="one")
    return wire.yard.submit(**wire.place.task, concurrency_key="one")


def _running(wire: Wire) -> Task:
    task = _ready(wire)
    [attempt] = wire.yard.worker(task.type, queue=task.queue).claim()
    assert attempt.id == task.id
    return attempt


def _retried(wire: Wire) -> Task:
    return wire.yard.settle(_running(wire), Failed("it broke", after=timedelta(hours=1)))


def _later(wire: Wire) -> Task:
    return wire.yard.settle(_running(wire), Later(timedelta(hours=1)))


def _again(wire: Wire) -> Task:
    return wire.yard.settle(_running(wire), Later(timedelta(0)))


def _waits(wire: Wire) -> Task:
    return wire.yard.settle(_running(wire), Waits(events=("go",)))


def _stopping(wire: Wire) -> Task:
    return _cancel(wire, _running(wire))


def _cancel(wire: Wire, task: Task) -> Task:
    wire.yard.write(wire.yard.services.tasks.cancel_one, wire.yard.actor, task.id)
    return wire.yard.get(task)


def _succeeded(wire: Wire) -> Task:
    return wire.yard.settle(_running(wire), Done())


def _succeeded_with_much(wire: Wire) -> Task:
    return wire.yard.settle(_running(wire), Done({"a": [1, 2.5, None, True, "é\U0001f600"], "": {}}))


def _failed(wire: Wire) -> Task:
    return wire.yard.settle(_running(wire), Failed('it "broke"\n<b>\u2028', final=True, traceback="Trace\n"))


def _timed_out(wire: Wire) -> Task:
    return wire.yard.settle(_running(wire), Failed("too slow", code="timed_out", final=True))


def _lost(wire: Wire) -> Task:
    task = wire.yard.submit(**wire.place.task, max_failures=1)
    wire.yard.worker(task.type, queue=task.queue).claim()
    wire.yard.clock.forward(hours=1)
    assert wire.yard.reap() == 1
    return wire.yard.get(task)


def _expired(wire: Wire) -> Task:
    task = wire.yard.submit(**wire.place.task, start_by=wire.yard.clock.now + timedelta(seconds=1))
    wire.yard.clock.forward(seconds=2)
    wire.yard.write(wire.yard.services.tasks.expire, 10)
    return wire.yard.get(task)


def _canceled(wire: Wire) -> Task:
    return _cancel(wire, _ready(wire))


#: Each is a task really brought into its state, for a reason of its own.
WAYS: Mapping[str, tuple[State, Callable[[Wire], Task]]] = {
    "delayed": (State.SCHEDULED, _delayed),
    "retried": (State.SCHEDULED, _retried),
    "later": (State.SCHEDULED, _later),
    "ready": (State.READY, _ready),
    "again": (State.READY, _again),
    "blocked": (State.SUSPENDED, _blocked),
    "limited": (State.SUSPENDED, _limited),
    "waits": (State.SUSPENDED, _waits),
    "running": (State.RUNNING, _running),
    "stopping": (State.RUNNING, _stopping),
    "succeeded": (State.SUCCEEDED, _succeeded),
    "succeeded_with_much": (State.SUCCEEDED, _succeeded_with_much),
    "failed": (State.FAILED, _failed),
    "timed_out": (State.FAILED, _timed_out),
    "lost": (State.FAILED, _lost),
    "expired": (State.FAILED, _expired),
    "canceled": (State.CANCELED, _canceled),
}
