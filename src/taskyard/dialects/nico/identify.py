"""Who asks: a bearer token that an issuer we trust has signed, and what it says about the organisation in the path."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import jwt
from starlette.requests import Request

from taskyard.core.actor import Actor
from taskyard.dialects.nico.refuse import Said
from taskyard.dialects.nico.settings import (
    LEEWAY_SECONDS,
    MAPPED_ROLES,
    ClaimMapping,
    Issuer,
    Settings,
    settings_of,
)
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
    issuer, claims = await _claims(_token(request), settings)
    vouched = _vouched(claims, issuer, request.path_params["org"], settings)
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


async def _claims(token: str, settings: Settings) -> tuple[Issuer, Mapping[str, Any]]:
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
            audience=issuer.audiences or None,
            leeway=LEEWAY_SECONDS,
            # A token that never ends cannot be taken back.
            options={"require": ["exp", "sub"], "verify_aud": bool(issuer.audiences)},
        )
    except jwt.ExpiredSignatureError:
        raise Said(401, "Authorization token in request has expired") from None
    except (jwt.PyJWTError, ValueError, TypeError):
        raise Said(401, "Invalid authorization token in request") from None
    if not issuer.scopes <= _scopes(claims):
        raise Said(403, "Authorization token in request lacks a required scope")
    return issuer, claims


def _scopes(claims: Mapping[str, Any]) -> set[str]:
    """Return the scopes of a token: ``scope``, words in one text (RFC 8693), or ``scp``, a list."""
    scope, scp = claims.get("scope"), claims.get("scp")
    found = set(scope.split()) if isinstance(scope, str) else set()
    return found | {each for each in scp if isinstance(each, str)} if isinstance(scp, list) else found


def _issuer(name: Any, settings: Settings) -> Issuer | None:
    for issuer in settings.issuers:
        if issuer.name is None or issuer.name == name:
            return issuer
    return None


def _vouched(claims: Mapping[str, Any], issuer: Issuer, organisation: str, settings: Settings) -> Vouched:
    organisation = organisation.lower()
    subject = _text(claims, "oidc_id") or _text(claims, "sub")
    if subject is None:
        raise Said(401, "Invalid authorization token in request")
    roles = (
        _mapped_roles(claims, issuer, organisation) if issuer.mappings else _own_roles(claims, organisation)
    )
    return Vouched(
        organisation=settings.organisations.get(organisation, organisation),
        issuer=str(claims.get("iss", "")),
        subject=subject,
        email=_text(claims, "email"),
        first_name=_text(claims, "given_name"),
        last_name=_text(claims, "family_name"),
        role=OPERATOR if any(map(is_provider_admin, roles)) else VISITOR,
    )


def _own_roles(claims: Mapping[str, Any], organisation: str) -> Sequence[str]:
    memberships = _roles(claims)
    if not memberships:
        raise Said(403, "User does not have any roles assigned")
    roles = [role for name, role in memberships if name == organisation]
    if not roles:
        raise Said(403, "Requested organization not found in token claims")
    return roles


def _mapped_roles(claims: Mapping[str, Any], issuer: Issuer, organisation: str) -> Sequence[str]:
    """Return the roles that the issuer's mappings give in *organisation*: those there are of all that speak of it."""
    speaking = [each for each in issuer.mappings if _mapped_organisation(claims, each) == organisation]
    if not speaking:
        raise Said(401, "Invalid authorization token in request")
    roles: list[str] = []
    for mapping in speaking:
        found = _at(claims, mapping.roles_at)
        roles += mapping.roles or (found if isinstance(found, list) else ())
    known = [role for role in roles if role in MAPPED_ROLES]
    if not known:
        raise Said(403, "User does not have any roles assigned")
    return known


def _mapped_organisation(claims: Mapping[str, Any], mapping: ClaimMapping) -> str | None:
    if mapping.organisation is not None:
        return mapping.organisation
    found = _at(claims, mapping.organisation_at)
    return found.lower() if isinstance(found, str) else None


def _at(claims: Any, path: Sequence[str]) -> Any:
    for name in path:
        if not isinstance(claims, Mapping):
            return None
        claims = claims.get(name)
    return claims


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
