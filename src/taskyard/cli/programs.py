"""What the command line starts but does not build: the composition root hands these in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How to serve. ``app`` is ``module:yard``; without it the server runs no tasks by itself."""

    app: str | None
    database: str
    host: str
    port: int
    dialects: Sequence[str]
    worker: bool
    slots: int | None
    lease: timedelta | None
    reachable_at: str | None
    key_file: Path | None
    log_level: str
    log_json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where a server listens. ``key_file`` holds a key that may do everything; None when another server made it."""

    url: str
    key_file: Path | None
    database: str
    types: Sequence[str] = ()
    dialects: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Working:
    """How to work: for a database, or for a server by its URL and a key."""

    app: str
    database: str | None
    url: str | None
    key: str | None
    name: str | None
    slots: int | None
    lease: timedelta | None
    reachable_at: str | None
    log_level: str
    log_json: bool


class Programs(Protocol):
    """Each returns when it is done; ``serve`` and ``work`` when they are told to stop, with the exit code."""

    def serve(self, serving: Serving, listening: Callable[[Listening], None]) -> int: ...

    def work(self, working: Working, ready: Callable[[str], None]) -> int: ...
