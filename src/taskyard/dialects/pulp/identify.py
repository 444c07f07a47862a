"""Who asks: HTTP Basic, with the login and password of a user of the yard (contract, section 2)."""

import base64

from starlette.requests import Request

from taskyard.core.actor import Actor
from taskyard.core.errors import Unauthenticated
from taskyard.http.dialect import Backend
from taskyard.store.records import Records

REQUIRED = "Authentication Required"
WRONG = "Invalid username or password"


async def identify(request: Request, backend: Backend) -> Actor:
    """
    Return who asks. An organisation that uses this wire has its two culling tasks from the first who comes here, where the
    setting ``culling`` says so.

    Raises:
        Unauthenticated: in this wire's words.
    """
    login, password = _basic(request.headers.get("authorization", ""))
    accounts, culling = backend.services.accounts, backend.services.culling

    def who(records: Records) -> tuple[Actor, bool]:
        actor = accounts.identify_password(records, login, password)
        return actor, culling.is_established(records, actor.organisation)

    try:
        actor, is_furnished = await backend.read(who)
    except Unauthenticated:
        raise Unauthenticated(WRONG) from None
    if not is_furnished and backend.settings.get("pulp", {}).get("culling"):
        await backend.write(culling.establish, actor.organisation)
    return actor


def _basic(header: str) -> tuple[str, str]:
    # Apache's repository authentication appended this to what clients sent.
    scheme, _, encoded = header.removesuffix(", Basic").partition(" ")
    if scheme.lower() != "basic":
        raise Unauthenticated(REQUIRED)
    try:
        login, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:  # of base64, of UTF-8, and of a header that is not ASCII
        raise Unauthenticated(WRONG) from None
    if not colon or not login:
        raise Unauthenticated(WRONG)
    return login, password
