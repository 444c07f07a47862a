"""
A dialect: one wire, thin, stateless and total.

It provides five things, each in a file of its own: ``routes`` (which endpoint answers what), ``parse`` (bytes → core nouns),
``render`` (core nouns → bytes), ``refuse`` (refusals → its error body) and ``identify`` (credentials → Actor). This module turns
them into an ASGI application in which nothing but the dialect's own bodies ever reaches a client.
"""

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from time import perf_counter
from typing import Any, Final

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from taskyard.core.actor import Actor
from taskyard.core.errors import TaskyardError
from taskyard.core.task import State
from taskyard.http.backend import Backend
from taskyard.http.call import Call
from taskyard.http.refusal import MethodNotAllowed, NoSuchPath, Unexpected, finish
from taskyard.http.routing import Table
from taskyard.service.hooks import Wire

__all__ = [
    "Backend",
    "Call",
    "Dialect",
    "Endpoint",
    "MethodNotAllowed",
    "NoSuchPath",
    "Path",
    "Unexpected",
    "application",
]

log: Final = structlog.get_logger("taskyard.http")

#: What is echoed of an ``X-Request-Id``: nothing that could break a log line or a header.
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")

#: Our own ids are counted, not drawn: asking the system for randomness costs a request more than reading its body.
_PROCESS: Final = uuid.uuid4().hex[:12]
_count: Final = count(1)

Endpoint = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Path:
    """
    One path with the endpoint of each method it answers. ``public`` ones are answered without credentials.

    ``{name}`` in the pattern matches one segment, ``{name:int}`` digits, ``{name:path}`` anything.
    """

    pattern: str
    endpoints: Mapping[str, Endpoint]
    public: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """
    One wire.

    Args:
        name: The word by which ``--dialect`` and the docs know it.
        prefix: What its paths begin with where it is mounted beside the others.
        base: What its paths begin with where it stands alone on a port: what its own clients put before every path
            (``/pulp/api``), nothing by default.
        paths: Makes the table of paths; the first that matches answers.
        identify: Credentials → Actor; raises Unauthenticated.
        refuse: A refusal → the wire's own error response. Total: it must answer any TaskyardError.
        states: The wire's word for every state of the core: total.
        letter: Writes what is sent to the hooks of this wire, if it has any.
        around: Wraps the application: what the wire does with a request before anything is asked of it.
    """

    name: str
    prefix: str
    paths: Callable[[Backend], Sequence[Path]]
    identify: Callable[[Request, Backend], Awaitable[Actor]]
    refuse: Callable[[Request, TaskyardError], Response]
    states: Mapping[State, str]
    base: str = ""
    letter: Wire | None = None
    around: Callable[[ASGIApp], ASGIApp] | None = None


def application(dialect: Dialect, backend: Backend, *, at: str = "") -> ASGIApp:
    """Return the dialect as an ASGI application whose paths begin with *at*."""
    app = _Application(dialect, backend, at)
    return app if dialect.around is None else dialect.around(app)


def request_id(request: Request) -> str:
    """Return the id of this request: the caller's where it is fit to be repeated, else one of ours."""
    given = request.scope.get("taskyard.request_id")
    if given is None:
        wanted = request.headers.get("x-request-id", "")
        given = wanted if _REQUEST_ID.fullmatch(wanted) else f"{_PROCESS}-{next(_count):06x}"
        request.scope["taskyard.request_id"] = given
    return str(given)


class _Headers(Headers):
    """Headers by name. Starlette's are a list that is read anew at each look, and half a dozen are looked at per request."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope=scope)
        self._named: dict[bytes, bytes] = {}
        for name, value in self.raw:
            self._named.setdefault(name, value)

    def __getitem__(self, key: str) -> str:
        value = self._named.get(key.lower().encode("latin-1"))
        if value is None:
            raise KeyError(key)
        return value.decode("latin-1")

    def get(self, key: str, default: Any = None) -> Any:
        value = self._named.get(key.lower().encode("latin-1"))
        return default if value is None else value.decode("latin-1")


class _Request(Request):
    @property
    def headers(self) -> Headers:
        if not hasattr(self, "_headers"):
            self._headers = _Headers(self.scope)
        return self._headers


class _Application:
    def __init__(self, dialect: Dialect, backend: Backend, at: str) -> None:
        self._dialect = dialect
        self._backend = backend
        self._paths = Table([(at + path.pattern, _Entry(path)) for path in dialect.paths(backend)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        began = perf_counter()
        request = _Request(scope, receive)
        found = self._paths.find(scope)
        if found is None:
            pattern, response = "", self._refused(request, NoSuchPath(scope["path"]), "")
        else:
            entry, scope["path_params"] = found
            pattern, response = entry.path.pattern, await self._answer(request, entry)
        response.raw_headers.append((b"x-request-id", request_id(request).encode("latin-1")))
        if request.method == "HEAD" and isinstance(response, StreamingResponse):
            # A stream has no end, and HEAD wants none of it.
            response = Response(status_code=response.status_code, headers=dict(response.headers))
        self._backend.metrics.answered(
            self._dialect.name, request.method, pattern, response.status_code, perf_counter() - began
        )
        try:
            await response(scope, receive, send)
        except ClientDisconnect:
            return  # nobody is there to read the rest

    async def _answer(self, request: Request, entry: "_Entry") -> Response:
        dialect = self._dialect
        request.scope["taskyard.allowed"] = entry.allowed  # for what wraps the application
        try:
            # Who asks comes first: strangers learn nothing, not even which methods there are.
            actor = None if entry.path.public else await dialect.identify(request, self._backend)
            endpoint = entry.endpoints.get(request.method)
            if endpoint is None:
                raise MethodNotAllowed(request.method, entry.allowed)
            return await endpoint(Call(request, self._backend, actor))
        except TaskyardError as refusal:
            return self._refused(request, refusal, entry.path.pattern)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody is there to read it
        except Exception:
            return self._failed(request, entry.path.pattern)

    def _refused(self, request: Request, refusal: TaskyardError, pattern: str) -> Response:
        try:
            return finish(self._dialect.refuse(request, refusal), refusal)
        except Exception:
            # What it says cannot be written: half of a surrogate pair that somebody sent, for one.
            return self._failed(request, pattern)

    def _failed(self, request: Request, pattern: str) -> Response:
        """Log what is being handled, and answer with no more than where it is found."""
        reference = request_id(request)
        log.exception("request failed", dialect=self._dialect.name, path=pattern, reference=reference)
        return self._dialect.refuse(request, Unexpected(reference))


class _Entry:
    """A path, with what is looked up at every request made ready."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.allowed = tuple(sorted(path.endpoints))
        self.endpoints = dict(path.endpoints)
        if "GET" in self.endpoints:
            self.endpoints.setdefault("HEAD", self.endpoints["GET"])
