"""Seals: secrets that must be kept, as those a task carries to its worker, are stored sealed: neither lists nor backups show them."""

import base64
import hashlib
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from taskyard.core.errors import Invalid

if TYPE_CHECKING:
    from cryptography.fernet import Fernet


class Seal:
    """
    Args:
        key: Any text that is hard to guess, or what returns it when it is first needed; whoever opens must have the same.
    """

    def __init__(self, key: str | Callable[[], str]) -> None:
        self._key = key

    @cached_property
    def _fernet(self) -> "Fernet":
        from cryptography.fernet import (
            Fernet,
        )  # takes as long as all else of a start: only who seals waits for it

        key = self._key if isinstance(self._key, str) else self._key()
        return Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()))

    def seal(self, secret: str) -> str:
        return self._fernet.encrypt(secret.encode()).decode()

    def open(self, sealed: str) -> str:
        """Raises Invalid when *sealed* was not made with this key."""
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise Invalid(
                "this was sealed with another key; give this process the key of the one that sealed it"
            ) from None
