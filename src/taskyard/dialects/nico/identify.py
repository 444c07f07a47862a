"""Who asks: a bearer token that an issuer we trust has signed, and what it says about the organisation in the path."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import jwt
from starlette.requests import Request

from taskyard.core.actor import Actor
from taskyard.dialects.nico.refuse import Said
from taskyard.dialects.nico.settings import LEEWAY_SECONDS, Issuer, Settings, settings_of
from taskyard.http.dialect import Backend
from taskyard.service.federation import OPERATOR, VISITOR, Vouched

PROVIDER_ADMIN: Final = "PROVIDER_ADMIN"


async def identify(request: Request, backend: Backend) -> Actor:
    """
    Return who asks, as a member of the organisation that the path names.

    Raises:
        Said: 401 for a token that is not there, not right or over; 403 for one that says nothing of the organisation.
    """
    settings = settings_of(backend)
    claims = await _claims(_token(request), settings)
    vouched = _vouched(claims, request.path_params["org"], settings)
    federation = backend.services.federation
    actor = await backend.read(federation.recognise, vouched)
    return actor if actor is not None else await backend.write(federation.welcome, vouched)


def _token(request: Request) -> str:
    header = request.headers.get("authorization")
    if not header:
        raise Said(401, "Request is missing authorization header")
    parts = header.split(" ")
    if len(parts) != 2 or parts[0].lower() != "bearer" or not parts[1]:
        raise Said(401, "Invalid Authorization header format")
    return parts[1]


async def _claims(token: str, settings: Settings) -> Mapping[str, Any]:
    try:
        unproven = jwt.decode(token, options={"verify_signature": False, "verify_exp": False})
    except (jwt.PyJWTError, RecursionError):
        raise Said(401, "Error parsing the token claims") from None
    issuer = _issuer(unproven.get("iss"), settings)
    if issuer is None:
        raise Said(401, "Invalid authorization token in request")
    try:
        claims: Mapping[str, Any] = jwt.decode(
            token,
            await issuer.keys.key_for(token),
            algorithms=issuer.keys.algorithms,
            issuer=issuer.name,
            audience=issuer.audience,
            leeway=LEEWAY_SECONDS,
            # A token that never ends cannot be taken back.
            options={"require": ["exp", "sub"], "verify_aud": issuer.audience is not None},
        )
    except jwt.ExpiredSignatureError:
        raise Said(401, "Authorization token in request has expired") from None
    except (jwt.PyJWTError, ValueError, TypeError):
        raise Said(401, "Invalid authorization token in request") from None
    return claims


def _issuer(name: Any, settings: Settings) -> Issuer | None:
    for issuer in settings.issuers:
        if issuer.name is None or issuer.name == name:
            return issuer
    return None


def _vouched(claims: Mapping[str, Any], organisation: str, settings: Settings) -> Vouched:
    organisation = organisation.lower()
    subject = _text(claims, "oidc_id") or _text(claims, "sub")
    if subject is None:
        raise Said(401, "Invalid authorization token in request")
    memberships = _roles(claims)
    if not memberships:
        raise Said(403, "User does not have any roles assigned")
    roles = [role for name, role in memberships if name == organisation]
    if not roles:
        raise Said(403, "Requested organization not found in token claims")
    return Vouched(
        organisation=settings.organisations.get(organisation, organisation),
        issuer=str(claims.get("iss", "")),
        subject=subject,
        email=_text(claims, "email"),
        first_name=_text(claims, "given_name"),
        last_name=_text(claims, "family_name"),
        role=OPERATOR if any(map(is_provider_admin, roles)) else VISITOR,
    )


def _roles(claims: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """Return the (organisation in lower case, role) pairs of ``realm_access.roles``, where each stands as ``organisation:ROLE``."""
    access = claims.get("realm_access")
    entries = access.get("roles") if isinstance(access, Mapping) else None
    pairs = (
        [entry.partition(":") for entry in entries if isinstance(entry, str)]
        if isinstance(entries, list)
        else []
    )
    return [(name.lower(), role) for name, colon, role in pairs if name and colon and role]


def is_provider_admin(role: str) -> bool:
    """
    Say whether *role* is the one that may operate: itself, or with one leading word.

    >>> [is_provider_admin(role) for role in ("PROVIDER_ADMIN", "FORGE_PROVIDER_ADMIN", "A_B_PROVIDER_ADMIN")]
    [True, True, False]
    """
    return role == PROVIDER_ADMIN or role.partition("_")[2] == PROVIDER_ADMIN


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    return value if isinstance(value, str) and value and "\0" not in value else None
