"""Two-legged OAuth 1.0 (RFC 5849) with HMAC-SHA1: one program that acts for users, as the biggest client of this wire does."""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote

from taskyard.core.errors import Invalid

#: How far the client's clock may be off: what the known server's library allows.
TOLERANCE_SECONDS: Final = 300
#: More nonces than these within that time are not kept; the oldest go.
MOST_NONCES: Final = 100_000
#: RFC 2104, section 3: a key shorter than the hash is weaker than it.
MIN_SECRET_LENGTH: Final = 20
_PARAMETER: Final = re.compile(r'\s*([A-Za-z_]+)="([^"]*)"\s*')


@dataclass(slots=True)
class OAuth:
    """
    Args:
        key, secret: What the program shows, and what it signs with.
        organisation: Whose users it may act for.
    """

    key: str
    secret: str = field(repr=False)
    organisation: str = "default"
    _nonces: dict[tuple[str, str], int] = field(default_factory=dict, repr=False)

    def accepts(self, header: str, method: str, urls: Iterable[str], query: bytes, now: int) -> bool:
        """Say whether *header* signs this request, now and for the first time; *urls* are as the client may have written it."""
        given = _parameters(header)
        if given is None or given.get("oauth_signature_method") != "HMAC-SHA1":
            return False
        stamp, nonce = given.get("oauth_timestamp", ""), given.get("oauth_nonce", "")
        if not re.fullmatch(r"[0-9]{1,12}", stamp) or abs(int(stamp) - now) > TOLERANCE_SECONDS or not nonce:
            return False
        if not hmac.compare_digest(given.get("oauth_consumer_key", "").encode(), self.key.encode()):
            return False
        signed = [(name, value) for name, value in given.items() if name not in ("realm", "oauth_signature")]
        signed += parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        told = given.get("oauth_signature", "").encode()
        matching = [
            hmac.compare_digest(told, signature(self.secret, base_string(method, url, signed)).encode())
            for url in urls
        ]
        return any(matching) and self._is_first(stamp, nonce, now)

    def _is_first(self, stamp: str, nonce: str, now: int) -> bool:
        """Remember a nonce for as long as its time would be accepted; say whether it is new."""
        if (stamp, nonce) in self._nonces:
            return False
        while self._nonces:
            oldest = next(iter(self._nonces))
            if self._nonces[oldest] > now and len(self._nonces) < MOST_NONCES:
                break
            del self._nonces[oldest]
        self._nonces[stamp, nonce] = now + 2 * TOLERANCE_SECONDS
        return True


def base_string(method: str, url: str, parameters: Iterable[tuple[str, str]]) -> str:
    """Return what is signed (RFC 5849, section 3.4.1); *url* without its query."""
    pairs = sorted((_encoded(name), _encoded(value)) for name, value in parameters)
    joined = "&".join(f"{name}={value}" for name, value in pairs)
    return "&".join((method.upper(), _encoded(url), _encoded(joined)))


def signature(secret: str, base: str) -> str:
    digest = hmac.new(f"{_encoded(secret)}&".encode(), base.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def _encoded(text: str) -> str:
    return quote(text, safe="~")


def _parameters(header: str) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for part in header.partition(" ")[2].split(","):
        match = _PARAMETER.fullmatch(part)
        if match is None or match[1] in found:
            return None
        found[match[1]] = unquote(match[2])
    return found


def oauth_of(settings: dict[str, Any]) -> OAuth | None:
    """Return who may act for users by the settings of the dialect, read once; None when nobody may. Raises Invalid."""
    found = settings.get("oauth")
    if isinstance(found, OAuth):
        return found
    if not isinstance(found, Mapping):
        return None
    key, secret = found.get("key"), found.get("secret")
    if not isinstance(key, str) or not key or not isinstance(secret, str) or len(secret) < MIN_SECRET_LENGTH:
        raise Invalid(f"[pulp.oauth] needs a key, and a secret of at least {MIN_SECRET_LENGTH} characters")
    made = OAuth(key, secret, str(found.get("organisation", "default")))
    settings["oauth"] = made
    return made
