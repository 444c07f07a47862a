"""Who asks: HTTP Basic, with the login and password of a user of the yard; or a program that acts for one, by OAuth."""

import base64
from collections.abc import Callable

from starlette.requests import Request

from taskyard.core.actor import Actor
from taskyard.core.errors import Unauthenticated
from taskyard.dialects.pulp.oauth import OAuth, oauth_of
from taskyard.http.dialect import Backend
from taskyard.store.records import Records

REQUIRED = "Authentication Required"
WRONG = "Invalid username or password"
WRONG_OAUTH = "Invalid OAuth Credentials"


async def identify(request: Request, backend: Backend) -> Actor:
    """
    Return who asks. An organisation that uses this wire has its two culling tasks from the first who comes here, where the
    setting ``culling`` says so.

    Raises:
        Unauthenticated: in this wire's words.
    """
    settings, culling = backend.settings.get("pulp", {}), backend.services.culling
    header, user = request.headers.get("authorization", ""), request.headers.get("pulp-user")
    oauth = oauth_of(settings)
    if oauth is not None and user and header.lower().startswith("oauth "):
        words, known = WRONG_OAUTH, await _signed(request, backend, oauth, header, user)
    else:
        words, known = WRONG, _signed_in(backend, header)

    def who(records: Records) -> tuple[Actor, bool]:
        actor = known(records)
        return actor, culling.is_established(records, actor.organisation)

    try:
        actor, is_furnished = await backend.read(who)
    except Unauthenticated:
        raise Unauthenticated(words) from None
    if not is_furnished and settings.get("culling"):
        await backend.write(culling.establish, actor.organisation)
    return actor


def _signed_in(backend: Backend, header: str) -> Callable[[Records], Actor]:
    login, password = _basic(header)
    return lambda records: backend.services.accounts.identify_password(records, login, password)


async def _signed(
    request: Request, backend: Backend, oauth: OAuth, header: str, user: str
) -> Callable[[Records], Actor]:
    path = request.scope.get("raw_path") or request.scope["path"].encode()
    host = request.headers.get("host", "").lower()
    # A proxy may have taken the s off before us.
    urls = [f"{scheme}://{host}{path.decode('latin-1')}" for scheme in ("https", "http")]
    query = request.scope.get("query_string", b"")
    now = await backend.read(lambda records: records.now)
    if not oauth.accepts(header, request.method, urls, query, int(now.timestamp())):
        raise Unauthenticated(WRONG_OAUTH)
    return lambda records: backend.services.accounts.identify_login(records, oauth.organisation, user)


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
