"""Organisations, the people in them, and the keys that programs carry: who asks, and what they may do."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from taskyard.core.account import Key, Organisation, User
from taskyard.core.actor import ALL, ROLES, Actor, Permission
from taskyard.core.errors import Conflict, Fault, Forbidden, Invalid, NotFound, Unauthenticated
from taskyard.core.limits import check_name, check_text
from taskyard.core.task import Json
from taskyard.service.credentials import (
    Passwords,
    digest_of,
    id_of,
    is_hex_secret,
    is_same,
    new_hex_secret,
    new_secret,
)
from taskyard.store.accounts import Reply
from taskyard.store.records import Records

DEFAULT_ORGANISATION: Final = "default"
MAX_TITLE_LENGTH: Final = 200
#: The longest address that mail can have (RFC 5321, section 4.5.3.1.3).
MAX_LOGIN_LENGTH: Final = 254
#: NIST SP 800-63B asks for 8 at least; the most bounds what hashing a login attempt costs.
MIN_PASSWORD_LENGTH: Final = 8
MAX_PASSWORD_LENGTH: Final = 1_000
MAX_IDEMPOTENCY_KEY_LENGTH: Final = 255

UNKNOWN_KEY: Final = (
    "this key is not known, has expired or was revoked; make another with: taskyard key create"
)
UNKNOWN_LOGIN: Final = "there is nobody of this login and password, or they are disabled"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key and its secret, which is told this once and kept nowhere."""

    key: Key
    secret: str


class Accounts:
    """
    Args:
        new_id: Makes UUIDv7 text.
        token: Returns unguessable text of at least so many random bytes (``secrets.token_urlsafe``).
    """

    def __init__(
        self, new_id: Callable[[], str], token: Callable[[int], str], *, passwords: Passwords | None = None
    ) -> None:
        self._new_id = new_id
        self._token = token
        self._passwords = passwords or Passwords(token)

    # -- who asks ------------------------------------------------------------------------------------------------------------

    def identify(self, records: Records, secret: str) -> Actor:
        """
        Return who shows *secret*: a key acts for the user who owns it, or for itself.

        Raises:
            Unauthenticated: the key is unknown, expired or revoked, or its owner is disabled; which of these is not told.
        """
        key = self._key_of(records, secret)
        if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= records.now):
            raise Unauthenticated(UNKNOWN_KEY)
        if key.owner is None:
            return Actor(
                organisation=key.organisation,
                identity=f"key:{key.id}",
                permissions=key.permissions,
                name=key.name,
                number=key.number,
            )
        owner = records.accounts.user(key.organisation, key.owner)
        if owner is None or owner.disabled:
            raise Unauthenticated(UNKNOWN_KEY)
        actor = actor_of(owner)
        return replace(actor, permissions=key.permissions & actor.permissions)

    def shown_key(self, records: Records, secret: str) -> Key:
        """Return the key that *secret* belongs to, whatever has become of it. Raises Unauthenticated."""
        return self._key_of(records, secret)

    def _key_of(self, records: Records, secret: str) -> Key:
        id = id_of(secret)
        if id is not None:
            found = records.accounts.key_with_digest(id)
            if found is not None and is_same(found[1], digest_of(secret)):
                return found[0]
        elif is_hex_secret(
            secret
        ):  # looked up by digest: how long that takes tells nothing about other secrets
            key = records.accounts.key_by_digest(digest_of(secret))
            if key is not None:
                return key
        raise Unauthenticated(UNKNOWN_KEY)

    def _secret(self, id: str, settings: Mapping[str, Any]) -> str:
        """Return a new secret in the form that the key's settings ask for: ``{"secret": "hex"}`` for 40 hexadecimal digits."""
        return new_hex_secret(self._token) if settings.get("secret") == "hex" else new_secret(id, self._token)

    def identify_password(self, records: Records, login: str, password: str) -> Actor:
        """Return the user of *login*; takes as long for one who is not there. Raises Unauthenticated."""
        login = _login(login)
        # What can be nobody's login is not even looked up: no database keeps such text.
        user = None if _check_login(login) else records.accounts.user_by_login(login)
        usable = user is not None and not user.disabled and len(password) <= MAX_PASSWORD_LENGTH
        hashed = user.password if user is not None and usable else None
        matches = self._passwords.matches(hashed, password[:MAX_PASSWORD_LENGTH])
        if user is None or not matches:
            raise Unauthenticated(UNKNOWN_LOGIN)
        return actor_of(user)

    def identify_login(self, records: Records, organisation: str, login: str) -> Actor:
        """
        Return the user of *login*, for whom somebody who is trusted by an *organisation* has vouched.

        Raises:
            Unauthenticated: there is nobody of that login there, or they are disabled.
        """
        login = _login(login)
        user = None if _check_login(login) else records.accounts.user_by_login(login)
        home = records.accounts.organisation_by_name(organisation)
        if user is None or user.disabled or home is None or user.organisation != home.number:
            raise Unauthenticated(UNKNOWN_LOGIN)
        return actor_of(user)

    # -- organisations -------------------------------------------------------------------------------------------------------

    def bootstrap(
        self, records: Records, name: str = DEFAULT_ORGANISATION
    ) -> tuple[Organisation, NewKey] | None:
        """
        Make the first organisation and its key on the first start of an empty yard; None when there is one already.

        Raises:
            Invalid: no organisation can have this *name*.
        """
        if records.accounts.organisations():
            return None
        _refuse(check_name(name, "/name", "name of an organisation"))
        return self._new_organisation(records, name, name.capitalize(), {}, by="system")

    def create_organisation(
        self,
        records: Records,
        actor: Actor,
        name: str,
        *,
        title: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> tuple[Organisation, NewKey]:
        """
        Make an organisation, with a first key that may do everything there.

        Raises:
            Forbidden, Invalid, Conflict (the name is taken).
        """
        actor.require(Permission.ADMIN)
        title = name if title is None else title
        _refuse(
            [
                *check_name(name, "/name", "name of an organisation"),
                *check_text(title, "/title", most=MAX_TITLE_LENGTH),
            ]
        )
        return self._new_organisation(records, name, title, settings or {}, by=actor.identity)

    def organisation(self, records: Records, actor: Actor) -> Organisation:
        """Return the actor's own organisation."""
        found = records.accounts.organisation(actor.organisation)
        if found is None:
            raise NotFound("organisation", actor.organisation)
        return found

    def change_organisation(
        self,
        records: Records,
        actor: Actor,
        *,
        title: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Organisation:
        """Change the actor's own organisation; what is left out stays. Raises Forbidden, Invalid."""
        actor.require(Permission.ADMIN)
        found = self.organisation(records, actor)
        if title is not None:
            _refuse(check_text(title, "/title", most=MAX_TITLE_LENGTH))
        changed = replace(
            found,
            title=found.title if title is None else title,
            settings=found.settings if settings is None else settings,
        )
        records.accounts.update_organisation(found.number, changed.title, changed.settings)
        self._tell(records, actor, "organisation.changed", found.name)
        return changed

    def _new_organisation(
        self, records: Records, name: str, title: str, settings: Mapping[str, Any], *, by: str
    ) -> tuple[Organisation, NewKey]:
        number = records.accounts.insert_organisation(name, title, settings, records.now)
        if number is None:
            raise Conflict(f"there is an organisation {name} already", code="exists", existing=name)
        organisation = Organisation(
            number=number, name=name, title=title, settings=settings, created_at=records.now
        )
        first = Actor(organisation=number, identity=by)
        self._tell(records, first, "organisation.created", name)
        return organisation, self._new_key(records, first, "first key", ALL, None, None, {})

    # -- users ---------------------------------------------------------------------------------------------------------------

    def create_user(
        self,
        records: Records,
        actor: Actor,
        login: str,
        *,
        name: str | None = None,
        role: str = "member",
        password: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> User:
        """
        Add a person to the actor's organisation. Logins do not tell upper from lower case.

        Raises:
            Forbidden (also: the role may do what the actor may not), Invalid, Conflict (the login is taken).
        """
        actor.require(Permission.ADMIN)
        login = _login(login)
        name = login if name is None else name
        _refuse([*_check_login(login), *_check_user(name, role, password)])
        _require_all(actor, ROLES[role])
        user = User(
            number=0,
            organisation=actor.organisation,
            login=login,
            name=name,
            role=role,
            password=None if password is None else self._passwords.hash(password),
            settings=settings or {},
            created_at=records.now,
        )
        number = records.accounts.insert_user(user)
        if number is None:
            raise Conflict(f"the login {login} is taken", code="exists", existing=login)
        self._tell(records, actor, "user.created", str(number), {"login": login, "role": role})
        return replace(user, number=number)

    def user(self, records: Records, actor: Actor, number: int) -> User:
        """Raises NotFound; another organisation's user is not found."""
        if f"user:{number}" != actor.identity:
            actor.require(Permission.READ)
        user = records.accounts.user(actor.organisation, number)
        if user is None:
            raise NotFound("user", number)
        return user

    def users(self, records: Records, actor: Actor) -> list[User]:
        actor.require(Permission.READ)
        return records.accounts.users(actor.organisation)

    def change_user(
        self,
        records: Records,
        actor: Actor,
        number: int,
        *,
        name: str | None = None,
        role: str | None = None,
        password: str | None = None,
        disabled: bool | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> User:
        """
        Change a person; what is left out stays. A new password or role shows at once, a disabled person's keys are dead.

        People may change their own name, password and settings; the rest, and others, is an administrator's.

        Raises:
            NotFound, Forbidden, Invalid, Conflict (administrators cannot demote or disable themselves).
        """
        user = self.user(records, actor, number)
        is_self = actor.identity == f"user:{number}"
        changes_rights = (role is not None and role != user.role) or (
            disabled is not None and disabled != user.disabled
        )
        if changes_rights or not is_self:
            actor.require(Permission.ADMIN)
        if changes_rights and is_self:
            raise Conflict("ask another administrator to change your own role", code="own_role")
        _refuse(
            _check_user(user.name if name is None else name, user.role if role is None else role, password)
        )
        changed = replace(
            user,
            name=user.name if name is None else name,
            role=user.role if role is None else role,
            password=user.password if password is None else self._passwords.hash(password),
            disabled=user.disabled if disabled is None else disabled,
            settings=user.settings if settings is None else settings,
        )
        if not is_self:  # whoever sets another's password or role could act as they may
            _require_all(actor, ROLES[user.role] | ROLES[changed.role])
        records.accounts.update_user(changed)
        self._tell(records, actor, "user.changed", str(number), {"role": changed.role})
        return changed

    # -- keys ----------------------------------------------------------------------------------------------------------------

    def create_key(
        self,
        records: Records,
        actor: Actor,
        name: str,
        *,
        permissions: Iterable[Permission] | None = None,
        owner: int | None = None,
        expires_at: datetime | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> NewKey:
        """
        Make a key. It acts for its *owner*, a user, or for itself; people may make keys for themselves, administrators any.

        Args:
            permissions: At most what the actor may do; left out, just that.

        Raises:
            Forbidden, Invalid, NotFound (the owner).
        """
        if owner is None or f"user:{owner}" != actor.identity:
            actor.require(Permission.ADMIN)
        wanted = actor.permissions if permissions is None else frozenset(permissions)
        faults = check_text(name, "/name", most=MAX_TITLE_LENGTH)
        if not wanted:
            faults.append(Fault("/permissions", "empty", "a key without permissions is of no use; name some"))
        if expires_at is not None and expires_at <= records.now:
            faults.append(Fault("/expires_at", "out_of_range", "this time has passed already"))
        _refuse(faults)
        _require_all(actor, wanted)
        if owner is not None:
            self.user(records, actor, owner)
        return self._new_key(records, actor, name, wanted, owner, expires_at, settings or {})

    def key(self, records: Records, actor: Actor, id: str) -> Key:
        """Raises NotFound; also for another's key, unless the actor is an administrator."""
        key = records.accounts.key(actor.organisation, id)
        if key is None or not _is_theirs(actor, key):
            raise NotFound("key", id)
        return key

    def keys(self, records: Records, actor: Actor) -> list[Key]:
        """Return the actor's own keys; to an administrator all of the organisation's."""
        return [key for key in records.accounts.keys(actor.organisation) if _is_theirs(actor, key)]

    def revoke_key(self, records: Records, actor: Actor, id: str) -> Key:
        """End a key at once; one that is revoked already stays so."""
        key = self.key(records, actor, id)
        if key.revoked_at is not None:
            return key
        revoked = replace(key, revoked_at=records.now)
        records.accounts.update_key(revoked)
        self._tell(records, actor, "key.revoked", id, {"name": key.name})
        return revoked

    def rotate_key(self, records: Records, actor: Actor, id: str) -> NewKey:
        """
        Give a key another secret; the old one ends at once.

        Raises:
            NotFound, Forbidden (the key may do what the actor may not), Conflict (it is revoked).
        """
        key = self.key(records, actor, id)
        if key.revoked_at is not None:
            raise Conflict(f"the key {id} is revoked; make another", code="revoked")
        _require_all(actor, key.permissions)
        secret = self._secret(id, key.settings)
        records.accounts.update_key(key, digest_of(secret))
        self._tell(records, actor, "key.rotated", id, {"name": key.name})
        return NewKey(key, secret)

    def set_key(self, records: Records, actor: Actor, id: str, settings: Mapping[str, Any]) -> Key:
        """Change settings of a key; what *settings* does not speak of stays. Raises NotFound, Forbidden."""
        key = self.key(records, actor, id)
        actor.require(Permission.ADMIN)
        changed = replace(key, settings={**key.settings, **settings})
        records.accounts.update_key(changed)
        self._tell(records, actor, "key.changed", id, {"name": key.name})
        return changed

    def _new_key(
        self,
        records: Records,
        actor: Actor,
        name: str,
        permissions: frozenset[Permission],
        owner: int | None,
        expires_at: datetime | None,
        settings: Mapping[str, Any],
    ) -> NewKey:
        id = self._new_id().replace("-", "")[-16:]  # the random end of a UUIDv7
        secret = self._secret(id, settings)
        key = Key(
            number=0,
            id=id,
            organisation=actor.organisation,
            owner=owner,
            name=name,
            permissions=permissions,
            settings=settings,
            created_at=records.now,
            expires_at=expires_at,
        )
        number = records.accounts.insert_key(key, digest_of(secret))
        self._tell(records, actor, "key.created", id, {"name": name, "permissions": sorted(permissions)})
        return NewKey(replace(key, number=number), secret)

    # -- answers kept for repeated requests ----------------------------------------------------------------------------------

    def replay(self, records: Records, actor: Actor, key: str, fingerprint: str) -> Reply | None:
        """
        Return what was answered to the actor's request of this idempotency *key* before; None when it is the first.

        Raises:
            Invalid: the key is unusable, or was used for another request (``idempotency_mismatch``).
        """
        faults = check_text(key, "", most=MAX_IDEMPOTENCY_KEY_LENGTH)
        if faults or not key:
            detail = faults[0].detail if faults else "the Idempotency-Key is empty; leave it out instead"
            raise Invalid(detail, code="bad_idempotency_key")
        reply = records.accounts.reply(actor.organisation, _reply_key(actor, key))
        if reply is not None and reply.fingerprint != fingerprint:
            raise Invalid(
                f"the Idempotency-Key {key!r} was used for another request; use a fresh one for each",
                code="idempotency_mismatch",
            )
        return reply

    def keep(self, records: Records, actor: Actor, key: str, reply: Reply) -> None:
        """
        Keep *reply* for :meth:`replay`, in the transaction of what it answers.

        Raises:
            Conflict: another process answered the same request meanwhile; what this one did must be undone.
        """
        if not records.accounts.keep_reply(actor.organisation, _reply_key(actor, key), reply, records.now):
            raise Conflict(
                "the same request is being answered just now; repeat it", code="idempotency_in_progress"
            )

    def _tell(self, records: Records, actor: Actor, kind: str, subject: str, data: Json = None) -> None:
        records.events.append(
            kind,
            organisation=actor.organisation,
            subject=subject,
            at=records.now,
            data={"by": actor.identity, **(data or {})},
        )


def actor_of(user: User) -> Actor:
    return Actor(
        organisation=user.organisation,
        identity=f"user:{user.number}",
        permissions=ROLES[user.role],
        name=user.name,
        number=user.number,
    )


def _login(login: str) -> str:
    return login.strip().lower()


def _check_login(login: str) -> list[Fault]:
    faults = check_text(login, "/login", most=MAX_LOGIN_LENGTH)
    if not faults and (not login or not login.isprintable() or any(each.isspace() for each in login)):
        faults.append(Fault("/login", "bad_login", "a login is a name or an address, without spaces"))
    if ":" in login:  # RFC 7617, section 2: Basic credentials could not carry it
        faults.append(Fault("/login", "bad_login", "a login cannot hold a colon"))
    return faults


def _check_user(name: str, role: str, password: str | None) -> list[Fault]:
    faults = check_text(name, "/name", most=MAX_TITLE_LENGTH)
    if role not in ROLES:
        faults.append(
            Fault("/role", "unknown_role", f"there is no role {role!r}; there are {', '.join(ROLES)}")
        )
    if password is not None:
        faults += check_text(password, "/password", most=MAX_PASSWORD_LENGTH)
        if len(password) < MIN_PASSWORD_LENGTH:
            faults.append(
                Fault("/password", "too_short", f"a password has at least {MIN_PASSWORD_LENGTH} characters")
            )
    return faults


def _refuse(faults: list[Fault]) -> None:
    if faults:
        raise Invalid(faults[0].detail, faults=faults)


def _require_all(actor: Actor, permissions: frozenset[Permission]) -> None:
    """Raise Forbidden when *permissions* go beyond the actor's own: nobody hands on what they do not have."""
    for missing in sorted(permissions - actor.permissions):
        raise Forbidden(missing)


def _is_theirs(actor: Actor, key: Key) -> bool:
    owns = key.owner is not None and actor.identity == f"user:{key.owner}"
    return owns or actor.identity == f"key:{key.id}" or actor.may(Permission.ADMIN)


def _reply_key(actor: Actor, key: str) -> str:
    """Two who chose the same key by chance do not see one another's answers."""
    return f"{actor.identity} {key}"
