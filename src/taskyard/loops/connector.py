"""
The connector: what talks to one type of source. A real type is one class with the methods of :class:`Connector`; the mock beside it is an
example of it, and serves to try polls on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import msgspec

from taskyard.core.source import Source
from taskyard.core.task import Json
from taskyard.loops.context import Context

#: What a result is called that is JSON.
JSON: Final = "json"


class Refused(Exception):
    """The source will not do this, however often it is asked. ``code`` is a short word for programs, such as ``code-required``."""

    def __init__(self, code: str, message: str | None = None) -> None:
        super().__init__(message or code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Found:
    """What was fetched; ``type`` is ``json`` or that of a file, such as ``jpg``."""

    content: bytes
    type: str = JSON


class Visit:
    """
    One attempt at a source.

    ``secret`` is what the caller gave to open it, and later what :meth:`Connector.open` returned. It is stored sealed.
    """

    def __init__(self, ctx: Context, source: Source, secret: Json, now: Callable[[], datetime]) -> None:
        self.source = source
        self.secret = secret
        self._ctx = ctx
        self._now = now
        self._pauses = 0

    async def pause(self, span: timedelta) -> None:
        """Put the task aside for *span*; when that is over it runs again from its start, and this returns at once."""
        self._pauses += 1
        until = await self._ctx.step(f"pause {self._pauses}", lambda: (self._now() + span).isoformat())
        await self._ctx.sleep_until(datetime.fromisoformat(until))

    async def event(self, name: str) -> Json:
        """Put the task aside until something is sent under *name*; return that."""
        return await self._ctx.event(name)

    def log(self, *values: object) -> None:
        """Add a line to the attempt's log. Never the secret."""
        self._ctx.log(*values)


class Connector(Protocol):
    """
    Everything may raise :class:`Refused`, which fails the task for good; whatever else it raises fails the try, which is made again.
    """

    type: str

    async def open(self, visit: Visit) -> Json:
        """Open the source; return what later visits need, as JSON."""
        ...

    async def info(self, visit: Visit, wanted: str | None) -> Found:
        """Return what is known about the source; None wants all of it."""
        ...

    async def data(self, visit: Visit, wanted: str) -> Found:
        """Return the data of a type: JSON with a list ``data``, whose entries may name files."""
        ...

    async def file(self, visit: Visit, wanted: str) -> Found:
        """Return a file by its id."""
        ...


class MockSource:
    """
    A source that is not there. Any password opens it.

    What is called ``fail:<code>`` fails with that code, be it a password or a data type; ``suspend:<seconds>`` is put aside first.
    """

    type = "mocks.mock"

    async def open(self, visit: Visit) -> Json:
        password = visit.secret.get("password") if isinstance(visit.secret, dict) else None
        _obey(str(password or ""))
        return {"token": f"mock of {visit.source.identifier}"}

    async def info(self, visit: Visit, wanted: str | None) -> Found:
        _obey(wanted or "")
        types = ["messages.sms", "messages.whatsapp"] if wanted is None else [wanted]
        return _json({"data": [{"type": each, "available": True} for each in types]})

    async def data(self, visit: Visit, wanted: str) -> Found:
        _obey(wanted)
        word, colon, seconds = wanted.partition(":")
        if colon and word == "suspend":
            await visit.pause(_span(seconds))
        entries = [
            {"id": number, "text": f"{wanted} {number}", "file": {"id": f"{wanted}-{number}"}}
            for number in (1, 2)
        ]
        return _json({"data": entries})

    async def file(self, visit: Visit, wanted: str) -> Found:
        _obey(wanted)
        return Found(f"the mock file {wanted}\n".encode(), "txt")


def _obey(wanted: str) -> None:
    word, colon, code = wanted.partition(":")
    if colon and word == "fail":
        raise Refused(code or "failed", f"the mock was told to fail with {code or 'failed'}")


def _span(seconds: str) -> timedelta:
    try:
        return timedelta(seconds=min(float(seconds), 3600.0))
    except (ValueError, OverflowError):
        raise Refused("invalid-parameter", f"{seconds[:60]!r} is not a number of seconds") from None


def _json(value: Json) -> Found:
    return Found(msgspec.json.encode(value))
