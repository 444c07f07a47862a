"""Who asks: an API key, in the wire's order of checks: 406, then 401, then 403 for other organisations and roles (contract, 1.8)."""

from starlette.requests import Request

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import Forbidden, Unauthenticated
from taskyard.dialects.human_lambdas.refuse import Said
from taskyard.http.dialect import Backend

MISSING = "Authentication credentials were not provided."
EMPTY = "Invalid token header. No credentials provided."
SPACES = "Invalid token header. Token string should not contain spaces."
UNKNOWN = "Invalid token."
#: What only administrators may ask for.
_ADMIN = ("/tasks/create", "/tasks/completed", "/webhook")


async def identify(request: Request, backend: Backend) -> Actor:
    """Raises Said (406), Unauthenticated and Forbidden."""
    if not _accepts_json(request.headers.get("accept", "")):
        raise Said(406, "Could not satisfy the request Accept header.")
    try:
        actor = await backend.keys.actor(_token(request.headers.get("authorization", "")))
    except Unauthenticated as refusal:
        raise Unauthenticated(str(refusal) if str(refusal) in (MISSING, EMPTY, SPACES) else UNKNOWN) from None
    organisation = request.path_params.get("org")
    if organisation is not None and organisation != actor.organisation:
        raise Forbidden("member")
    actor.require(Permission.MANAGE if request.scope["path"].endswith(_ADMIN) else Permission.READ)
    return actor


def _token(header: str) -> str:
    words = header.split()
    if not words or words[0].lower() != "token":
        raise Unauthenticated(MISSING)
    if len(words) == 1:
        raise Unauthenticated(EMPTY)
    if len(words) > 2:
        raise Unauthenticated(SPACES)
    return words[1]


def _accepts_json(accept: str) -> bool:
    ranges = [each.split(";")[0].strip().lower() for each in accept.split(",")]
    return not accept.strip() or any(
        each in ("*/*", "application/*", "application/json", "text/html", "text/*") for each in ranges
    )
