"""Passwords and secrets: how they are made, kept and compared."""

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

#: OWASP's least for Argon2id: 19 MiB, two passes, one lane. Some 20 ms, and little enough memory for several at once.
PASSWORD_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
#: 256 bits: nobody guesses it, so a plain digest is enough to keep it by.
SECRET_BYTES: Final = 32
PREFIX: Final = "ty_"
_HEX_DIGITS: Final = frozenset("0123456789abcdef")
#: Passwords that were right a moment ago: wires with Basic credentials send them with every request.
REMEMBERED: Final = 1_000


class Passwords:
    """
    Args:
        token: Returns unguessable text of at least so many random bytes.
        hasher: What makes a guess expensive.
    """

    def __init__(self, token: Callable[[int], str], hasher: PasswordHasher = PASSWORD_HASHER) -> None:
        self._hasher = hasher
        self._pepper = hashlib.sha256(token(SECRET_BYTES).encode()).digest()
        self._stand_in = token(SECRET_BYTES)
        self._stand_in_hash: str | None = None
        self._right: OrderedDict[str, bytes] = OrderedDict()

    def hash(self, password: str) -> str:
        return self._hasher.hash(password)

    def matches(self, hashed: str | None, password: str) -> bool:
        """Say whether *password* is the one; with nothing to compare it takes as long, and is False."""
        mark = hmac.digest(self._pepper, password.encode(errors="replace"), "sha256")
        if hashed is not None and hmac.compare_digest(self._right.get(hashed, b""), mark):
            return True
        # Made for the first password of all, right or wrong, and not at every start.
        if self._stand_in_hash is None:
            self._stand_in_hash = self._hasher.hash(self._stand_in)
        try:
            self._hasher.verify(hashed or self._stand_in_hash, password)
        except (VerificationError, InvalidHashError, UnicodeError):
            return False
        if hashed is None:
            return False
        self._right[hashed] = mark
        while len(self._right) > REMEMBERED:
            self._right.popitem(last=False)
        return True


def new_secret(id: str, token: Callable[[int], str]) -> str:
    """Return the text that a key is shown by: its id is in it, so that it is found without looking for the secret."""
    return f"{PREFIX}{id}_{token(SECRET_BYTES)}"


def new_hex_secret(token: Callable[[int], str]) -> str:
    """Return a secret as some wires want them: 40 hexadecimal digits, 160 unguessable bits, found by its digest."""
    return hashlib.sha256(token(SECRET_BYTES).encode()).hexdigest()[:40]


def is_hex_secret(secret: str) -> bool:
    return len(secret) == 40 and set(secret) <= _HEX_DIGITS


def id_of(secret: str) -> str | None:
    """Return the id that stands in a secret; None when it cannot be one of ours."""
    if not secret.startswith(PREFIX) or not secret.isascii():
        return None
    id, _, rest = secret.removeprefix(PREFIX).partition("_")
    return id if id.isalnum() and rest else None


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def is_same(digest: str, other: str) -> bool:
    """Compare digests in a time that tells nothing about where they differ."""
    return hmac.compare_digest(digest, other)
