"""Destinations: where an organisation's results are stored, and where it is told of what happens. Each is tested before it is used."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final


class Kind(StrEnum):
    STORAGE = "storage"
    WEBHOOK = "webhook"


class Standing(StrEnum):
    NEW = "new"  # not tested since it was made or changed
    VALID = "valid"
    INVALID = "invalid"
    DEACTIVATED = "deactivated"


#: The type of the task that tests a destination.
TESTS: Final[Mapping[Kind, str]] = {
    Kind.STORAGE: "storage_config.test",
    Kind.WEBHOOK: "webhook_config.test",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """
    ``secret`` signs what is sent to a webhook. ``credentials`` is sealed: what it takes to write to a storage.
    """

    number: int
    organisation: int
    kind: Kind
    url: str
    secret: str | None = field(repr=False)
    credentials: str | None = field(repr=False)
    settings: Mapping[str, Any]
    state: Standing
    created_at: datetime
