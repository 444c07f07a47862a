"""Organisations, the people in them, and the keys that programs carry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from taskyard.core.actor import Permission


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    number: int
    name: str
    title: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person. ``login`` is unique on the whole server; ``password`` is a hash, or None when none was set."""

    number: int
    organisation: int
    login: str
    name: str
    role: str
    password: str | None = field(repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict)
    disabled: bool = False
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What a program shows. Only a digest of the secret is kept. ``owner`` is the user it acts for, if any."""

    number: int
    id: str
    organisation: int
    owner: int | None
    name: str
    permissions: frozenset[Permission]
    settings: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
