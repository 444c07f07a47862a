"""What this dialect is configured with, and whose tokens it trusts."""

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import jwt
from jwt import PyJWK, PyJWKClient, PyJWKSet

from taskyard.core.errors import Invalid, Unavailable
from taskyard.http.dialect import Backend
from taskyard.service.seal import Seal

#: A signature made with a shared secret must never pass as one made with a public key, nor the other way about.
WITH_SECRET: Final = ("HS256", "HS384", "HS512")
WITH_KEY: Final = (*(f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)), "EdDSA")
#: RFC 7518, section 3.2: a key of at least the hash's size.
MIN_SECRET_BYTES: Final = 32
#: How far the issuer's clock may be off.
LEEWAY_SECONDS: Final = 5
JWKS_FRESH_SECONDS: Final = 300
JWKS_TIMEOUT_SECONDS: Final = 10


class Keys(Protocol):
    """Where an issuer's keys come from."""

    @property
    def algorithms(self) -> Sequence[str]:
        """What they may be used with."""
        ...

    async def key_for(self, token: str) -> Any:
        """Return the key that *token* says it is signed with. Raises jwt.PyJWTError when there is none, Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class OneKey:
    """A shared secret, or one public key."""

    key: Any = field(repr=False)
    algorithms: Sequence[str] = WITH_KEY

    async def key_for(self, token: str) -> Any:
        return self.key


class JwksFile:
    """A file of public keys; read again when it has changed."""

    algorithms = WITH_KEY

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._read_at = -1
        self._keys: list[PyJWK] = []
        self._load()

    async def key_for(self, token: str) -> Any:
        return await asyncio.to_thread(self._key_for, token)

    def _key_for(self, token: str) -> Any:
        with self._lock:
            self._load()
        return _chosen(self._keys, token)

    def _load(self) -> None:
        try:
            changed_at = self._path.stat().st_mtime_ns
            if changed_at != self._read_at:
                self._keys = PyJWKSet.from_dict(json.loads(self._path.read_text())).keys
                self._read_at = changed_at
        except (OSError, ValueError, jwt.PyJWTError) as error:
            raise Unavailable(
                f"the keys of the tokens' issuer cannot be read from {self._path}: {error}"
            ) from error


class JwksUrl:
    """Public keys that the issuer publishes; fetched again after five minutes, and for a key that is not among them."""

    algorithms = WITH_KEY

    def __init__(self, url: str) -> None:
        self._client = PyJWKClient(url, lifespan=JWKS_FRESH_SECONDS, timeout=JWKS_TIMEOUT_SECONDS)

    async def key_for(self, token: str) -> Any:
        try:
            return (await asyncio.to_thread(self._client.get_signing_key_from_jwt, token)).key
        except jwt.PyJWKClientConnectionError as error:
            raise Unavailable(f"the keys of the tokens' issuer cannot be fetched: {error}") from error


def _chosen(keys: Sequence[PyJWK], token: str) -> Any:
    wanted = jwt.get_unverified_header(token).get("kid")
    for key in keys:
        if key.key_id == wanted or (wanted is None and len(keys) == 1):
            return key.key
    raise jwt.InvalidKeyError("the token is signed with a key that its issuer does not have")


#: What a mapping of claims may give; nothing else means anything here.
MAPPED_ROLES: Final = ("PROVIDER_ADMIN", "TENANT_ADMIN")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimMapping:
    """
    How the claims of an issuer who does not write ``realm_access.roles`` say who is in which organisation, as what: each in words,
    or where in the claims it stands (``department.name`` as two).
    """

    organisation: str | None = None
    organisation_at: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    roles_at: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """
    One who signs tokens. Without a ``name`` it is trusted whatever ``iss`` they say, and so must be the only one. Tokens are for one
    of ``audiences``, if there are any, and have all of ``scopes``.
    """

    keys: Keys
    name: str | None = None
    audiences: tuple[str, ...] = ()
    scopes: frozenset[str] = frozenset()
    mappings: tuple[ClaimMapping, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    ``organisations`` says which of ours an organisation of the wire is; one that is not named has its own name, in lower case.
    ``seal`` closes the credentials that firmware updates carry; without it such updates are refused.
    """

    issuers: tuple[Issuer, ...] = ()
    organisations: Mapping[str, str] = field(default_factory=dict)
    seal: Seal | None = None


def settings_of(backend: Backend) -> Settings:
    """Return the dialect's settings; a table of them is read once, and kept as what it says."""
    found = backend.settings.get("nico")
    if not isinstance(found, Settings):
        found = backend.settings["nico"] = read_settings(found or {})
    return found


def read_settings(table: Mapping[str, Any]) -> Settings:
    """
    Return what *table* says: for one issuer ``jwks_file``, ``jwks_url``, ``public_key`` (PEM) or ``shared_secret``, with ``issuer``,
    ``audiences`` and ``scopes`` to check and ``claim_mappings`` to go by; or several such tables as ``issuers``. ``organisations`` maps names, ``secret_key`` seals credentials.

    Raises:
        Invalid: it says something that cannot be.
    """
    tables = table.get("issuers", [table] if _SOURCES & table.keys() else [])
    issuers = tuple(_issuer(each) for each in tables)
    if len(issuers) > 1 and any(issuer.name is None for issuer in issuers):
        raise Invalid("with several issuers each needs its name: what the tokens' iss says")
    organisations = {str(name).lower(): str(ours) for name, ours in table.get("organisations", {}).items()}
    secret = table.get("secret_key")
    return Settings(issuers=issuers, organisations=organisations, seal=Seal(secret) if secret else None)


_SOURCES: Final = frozenset({"jwks_file", "jwks_url", "public_key", "shared_secret"})


def _issuer(table: Mapping[str, Any]) -> Issuer:
    sources = [name for name in sorted(_SOURCES) if table.get(name)]
    if len(sources) != 1:
        raise Invalid(f"an issuer of tokens is trusted by exactly one of {', '.join(sorted(_SOURCES))}")
    value = str(table[sources[0]])
    return Issuer(
        keys=_keys(sources[0], value),
        name=table.get("issuer"),
        audiences=_texts(table, "audience", "audiences"),
        scopes=frozenset(_texts(table, "scopes")),
        mappings=tuple(_mapping(each) for each in table.get("claim_mappings", ())),
    )


def _mapping(table: Mapping[str, Any]) -> ClaimMapping:
    for one, other in (("organisation", "organisation_attribute"), ("roles", "roles_attribute")):
        if bool(table.get(one)) == bool(table.get(other)):
            raise Invalid(f"a mapping of claims has exactly one of {one}, {other}")
    roles = _texts(table, "roles")
    strange = [role for role in roles if role not in MAPPED_ROLES]
    if strange:
        raise Invalid(f"a mapping of claims cannot give {strange[0]!r}; only {', '.join(MAPPED_ROLES)}")
    organisation = table.get("organisation")
    return ClaimMapping(
        organisation=None if organisation is None else str(organisation).lower(),
        organisation_at=tuple(str(table.get("organisation_attribute", "")).split(".")),
        roles=roles,
        roles_at=tuple(str(table.get("roles_attribute", "")).split(".")),
    )


def _texts(table: Mapping[str, Any], *names: str) -> tuple[str, ...]:
    found: list[Any] = []
    for name in names:
        value = table.get(name, [])
        found += [value] if isinstance(value, str) else list(value)
    if not all(isinstance(each, str) and each for each in found):
        raise Invalid(f"{' or '.join(names)} holds texts")
    return tuple(found)


def _keys(source: str, value: str) -> Keys:
    match source:
        case "jwks_file":
            return JwksFile(Path(value))
        case "jwks_url":
            return JwksUrl(value)
        case "public_key":
            return OneKey(value, WITH_KEY)
        case _:
            if len(value.encode()) < MIN_SECRET_BYTES:
                raise Invalid(
                    f"shared_secret has at least {MIN_SECRET_BYTES} bytes; a shorter one can be guessed"
                )
            return OneKey(value, WITH_SECRET)
