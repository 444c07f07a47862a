"""Who asks: HTTP Basic, with the login and password of a user of the yard (contract, section 2)."""

import base64
import binascii

from starlette.requests import Request

from taskyard.core.actor import Actor
from taskyard.core.errors import Unauthenticated
from taskyard.http.dialect import Backend

REQUIRED = "Authentication Required"
WRONG = "Invalid username or password"


async def identify(request: Request, backend: Backend) -> Actor:
    """Raises Unauthenticated in this wire's words."""
    login, password = _basic(request.headers.get("authorization", ""))
    try:
        return await backend.read(backend.services.accounts.identify_password, login, password)
    except Unauthenticated:
        raise Unauthenticated(WRONG) from None


def _basic(header: str) -> tuple[str, str]:
    # Apache's repository authentication appended this to what clients sent.
    scheme, _, encoded = header.removesuffix(", Basic").partition(" ")
    if scheme.lower() != "basic":
        raise Unauthenticated(REQUIRED)
    try:
        login, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise Unauthenticated(WRONG) from None
    if not colon or not login:
        raise Unauthenticated(WRONG)
    return login, password
