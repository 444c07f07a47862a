"""Organisations, users, keys, and the answers kept for idempotent requests."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from taskyard.core.account import Key, Organisation, User
from taskyard.core.actor import Permission
from taskyard.core.times import from_micros, to_micros
from taskyard.store.engine import Connection, Row
from taskyard.store.values import from_json, json_text, micros, moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What was answered to a request with an idempotency key; ``fingerprint`` tells whether a repeat is the same request."""

    fingerprint: str
    status: int
    body: str
    headers: Mapping[str, str]


class AccountRecords:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert_organisation(
        self, name: str, title: str, settings: Mapping[str, Any], now: datetime
    ) -> int | None:
        """Return the new organisation's number; None when the name is taken."""
        row = self._connection.row(
            "insert_organisation",
            name=name,
            title=title,
            settings=json_text(dict(settings)),
            now=to_micros(now),
        )
        return row[0] if row else None

    def organisation(self, number: int) -> Organisation | None:
        row = self._connection.row("get_organisation", number=number)
        return _organisation_of(row) if row else None

    def organisation_by_name(self, name: str) -> Organisation | None:
        row = self._connection.row("get_organisation_by_name", name=name)
        return _organisation_of(row) if row else None

    def organisations(self) -> list[Organisation]:
        return [_organisation_of(row) for row in self._connection.rows("list_organisations")]

    def update_organisation(self, number: int, title: str, settings: Mapping[str, Any]) -> None:
        self._connection.run(
            "update_organisation", number=number, title=title, settings=json_text(dict(settings))
        )

    def insert_user(self, user: User) -> int | None:
        """Return the new user's number; None when the login is taken. ``user.number`` is ignored."""
        row = self._connection.row(
            "insert_user",
            organisation=user.organisation,
            login=user.login,
            name=user.name,
            role=user.role,
            password=user.password,
            settings=json_text(dict(user.settings)),
            now=to_micros(user.created_at),
        )
        return row[0] if row else None

    def user(self, organisation: int, number: int) -> User | None:
        row = self._connection.row("get_user", organisation=organisation, number=number)
        return _user_of(row) if row else None

    def user_by_login(self, login: str) -> User | None:
        row = self._connection.row("get_user_by_login", login=login)
        return _user_of(row) if row else None

    def users(self, organisation: int) -> list[User]:
        return [_user_of(row) for row in self._connection.rows("list_users", organisation=organisation)]

    def update_user(self, user: User) -> None:
        self._connection.run(
            "update_user",
            organisation=user.organisation,
            number=user.number,
            name=user.name,
            role=user.role,
            password=user.password,
            settings=json_text(dict(user.settings)),
            disabled=int(user.disabled),
        )

    def insert_key(self, key: Key, digest: str) -> int:
        """Return the new key's number. ``key.number`` is ignored."""
        row = self._connection.row(
            "insert_key",
            id=key.id,
            organisation=key.organisation,
            owner=key.owner,
            name=key.name,
            digest=digest,
            permissions=json_text(sorted(key.permissions)),
            settings=json_text(dict(key.settings)),
            now=to_micros(key.created_at),
            expires_at=micros(key.expires_at),
        )
        assert row is not None
        return int(row[0])

    def key_by_digest(self, digest: str) -> Key | None:
        row = self._connection.row("get_key_by_digest", digest=digest)
        return _key_of(row) if row else None

    def key_with_digest(self, id: str) -> tuple[Key, str] | None:
        """Return the key of any organisation, and the digest of its secret."""
        row = self._connection.row("get_key_with_digest", id=id)
        return (_key_of(row[:-1]), row[-1]) if row else None

    def key(self, organisation: int, id: str) -> Key | None:
        row = self._connection.row("get_key", organisation=organisation, id=id)
        return _key_of(row) if row else None

    def keys(self, organisation: int) -> list[Key]:
        return [_key_of(row) for row in self._connection.rows("list_keys", organisation=organisation)]

    def update_key(self, key: Key, digest: str | None = None) -> None:
        """Write the settings and revocation of *key*, and a new digest when one is given."""
        self._connection.run(
            "update_key",
            organisation=key.organisation,
            id=key.id,
            digest=digest,
            settings=json_text(dict(key.settings)),
            revoked_at=micros(key.revoked_at),
        )

    def reply(self, organisation: int, key: str) -> Reply | None:
        row = self._connection.row("get_reply", organisation=organisation, key=key)
        if row is None:
            return None
        return Reply(fingerprint=row[0], status=row[1], body=row[2], headers=from_json(row[3]))

    def keep_reply(self, organisation: int, key: str, reply: Reply, now: datetime) -> bool:
        """Keep *reply*; False when one is kept already."""
        row = self._connection.row(
            "insert_reply",
            organisation=organisation,
            key=key,
            fingerprint=reply.fingerprint,
            status=reply.status,
            body=reply.body,
            headers=json_text(dict(reply.headers)),
            now=to_micros(now),
        )
        return row is not None

    def forget_replies(self, before: datetime, limit: int) -> int:
        return self._connection.run("delete_replies", before=to_micros(before), limit=limit)


def _organisation_of(row: Row) -> Organisation:
    number, name, title, settings, created_at = row
    return Organisation(
        number=number,
        name=name,
        title=title,
        settings=from_json(settings),
        created_at=from_micros(created_at),
    )


def _user_of(row: Row) -> User:
    number, organisation, login, name, role, password, settings, disabled, created_at = row
    return User(
        number=number,
        organisation=organisation,
        login=login,
        name=name,
        role=role,
        password=password,
        settings=from_json(settings),
        disabled=bool(disabled),
        created_at=from_micros(created_at),
    )


def _key_of(row: Row) -> Key:
    number, id, organisation, owner, name, permissions, settings, created_at, expires_at, revoked_at = row
    return Key(
        number=number,
        id=id,
        organisation=organisation,
        owner=owner,
        name=name,
        permissions=frozenset(Permission(each) for each in from_json(permissions)),
        settings=from_json(settings),
        created_at=from_micros(created_at),
        expires_at=moment(expires_at),
        revoked_at=moment(revoked_at),
    )
