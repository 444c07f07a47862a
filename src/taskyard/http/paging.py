"""Page tokens: opaque to clients, bound to the list they were made for."""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import msgspec

from taskyard.http.refusal import Malformed


class BadPageToken(Malformed):
    def __init__(self, detail: str) -> None:
        super().__init__(detail, pointer="?page_token", code="bad_page_token")


def page_token(position: Any, asked: Any) -> str:
    """
    Return the token of the page that begins after *position*.

    Args:
        position: Anything JSON can carry.
        asked: What the list is filtered by; the same must be asked for with the token.
    """
    text = msgspec.json.encode([_bound_to(asked), position])
    return urlsafe_b64encode(text).rstrip(b"=").decode()


def position_of(token: str, asked: Any, shape: Any = int) -> Any:
    """
    Return the position that *token* was made of, of the type *shape*.

    Raises:
        BadPageToken: it is not one of ours, or belongs to a list with another filter.
    """
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        bound_to, position = msgspec.json.decode(urlsafe_b64decode(padded), type=tuple[str, shape])
    except (ValueError, RecursionError):
        raise BadPageToken(
            "this page_token was not made here; take next_page_token from a list as it is"
        ) from None
    if bound_to != _bound_to(asked):
        raise BadPageToken(
            "this page_token belongs to a list with another filter; ask for the first page again"
        )
    return position


def _bound_to(asked: Any) -> str:
    return hashlib.blake2b(msgspec.json.encode(asked, order="deterministic"), digest_size=6).hexdigest()
