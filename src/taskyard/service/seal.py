"""Seals: secrets that a task must carry to its worker are stored sealed, so that neither lists nor backups show them."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken

from taskyard.core.errors import Invalid


class Seal:
    """
    Args:
        key: Any text that is hard to guess; whoever opens must have the same.
    """

    def __init__(self, key: str) -> None:
        self._fernet = Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()))

    def seal(self, secret: str) -> str:
        return self._fernet.encrypt(secret.encode()).decode()

    def open(self, sealed: str) -> str:
        """Raises Invalid when *sealed* was not made with this key."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise Invalid(
                "this was sealed with another key; give the worker the key the server has"
            ) from None
