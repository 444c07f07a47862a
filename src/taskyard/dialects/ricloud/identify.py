"""Who asks: ``Authorization: Token`` with a key of the yard (contract, section 3)."""

from starlette.requests import Request

from taskyard.core.account import Key
from taskyard.core.actor import Actor
from taskyard.core.errors import Unauthenticated
from taskyard.http.dialect import Backend, Call
from taskyard.store.records import Records

MISSING = "say who you are: Authorization: Token <your key_token>"
UNKNOWN = "this token is not known, has expired or was revoked"


async def identify(request: Request, backend: Backend) -> Actor:
    """Raises Unauthenticated."""
    token = token_of(request)
    try:
        return await backend.keys.actor(token)
    except Unauthenticated:
        raise Unauthenticated(UNKNOWN) from None


def token_of(request: Request) -> str:
    """Return the token that is shown. Raises Unauthenticated."""
    words = request.headers.get("authorization", "").split()
    if len(words) != 2 or words[0].lower() != "token":
        raise Unauthenticated(MISSING)
    return words[1]


def key_of(records: Records, call: Call) -> Key:
    """Return the key that asks: what is made names it. Raises Unauthenticated (it was rotated a moment ago)."""
    return call.backend.services.accounts.shown_key(records, token_of(call.request))
