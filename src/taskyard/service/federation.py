"""Federation: people of whom a trusted issuer of tokens says who they are and what they may do."""

from dataclasses import dataclass, replace
from uuid import NAMESPACE_URL, uuid5

from taskyard.core.account import User
from taskyard.core.actor import ROLES, Actor
from taskyard.core.errors import Invalid, NotFound, Unauthenticated
from taskyard.core.limits import check_name
from taskyard.store.records import Records

#: What a role that the issuer names means here; whoever has none of these may do nothing but ask who they are.
OPERATOR = "operator"
VISITOR = "visitor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """What a token says, once it is trusted: ``subject`` is the issuer's name for the person."""

    organisation: str
    issuer: str
    subject: str
    email: str | None
    first_name: str | None
    last_name: str | None
    role: str

    @property
    def login(self) -> str:
        """Unique on the server, and never a login that somebody could choose: those hold no colon."""
        return f":{self.issuer}|{self.subject}|{self.organisation}"

    @property
    def settings(self) -> dict[str, str | None]:
        return {
            "id": str(uuid5(NAMESPACE_URL, f"{self.issuer}|{self.subject}")),
            "email": self.email,
            "first_name": self.first_name,
            "last_name": self.last_name,
        }


class Federation:
    def recognise(self, records: Records, vouched: Vouched) -> Actor | None:
        """
        Return who *vouched* is, as long as all that it says is known already: a look, no write.

        Raises:
            Unauthenticated: the person has been shut out here.
        """
        user = records.accounts.user_by_login(vouched.login)
        if user is None or dict(user.settings) != vouched.settings or user.role != _role(vouched):
            return None
        return _actor(user, vouched)

    def welcome(self, records: Records, vouched: Vouched) -> Actor:
        """
        Return who *vouched* is; the person, and the organisation, become known if they are not, and are brought up to date.

        Raises:
            Invalid: the organisation's name cannot be one.
            Unauthenticated: the person has been shut out here.
        """
        organisation = self._organisation(records, vouched.organisation)
        user = records.accounts.user_by_login(vouched.login)
        name = " ".join(part for part in (vouched.first_name, vouched.last_name) if part)
        if user is None:
            new = User(
                number=0,
                organisation=organisation,
                login=vouched.login,
                name=name or vouched.email or vouched.subject,
                role=_role(vouched),
                password=None,
                settings=vouched.settings,
                created_at=records.now,
            )
            records.accounts.insert_user(new)
        else:
            records.accounts.update_user(
                replace(user, name=name or user.name, role=_role(vouched), settings=vouched.settings)
            )
        user = records.accounts.user_by_login(vouched.login)
        assert user is not None
        return _actor(user, vouched)

    def me(self, records: Records, actor: Actor) -> User:
        """Return the person who asks."""
        user = None if actor.number is None else records.accounts.user(actor.organisation, actor.number)
        if user is None:
            raise NotFound("user", actor.identity)
        return user

    def _organisation(self, records: Records, name: str) -> int:
        found = records.accounts.organisation_by_name(name)
        if found is not None:
            return found.number
        faults = check_name(name, "/organisation", "organisation's name")
        if faults:
            raise Invalid(faults[0].detail, faults=faults)
        records.accounts.insert_organisation(name, name, {}, records.now)
        made = records.accounts.organisation_by_name(name)
        assert made is not None
        return made.number


def _role(vouched: Vouched) -> str:
    return "operator" if vouched.role == OPERATOR else "viewer"


def _actor(user: User, vouched: Vouched) -> Actor:
    if user.disabled:
        raise Unauthenticated(f"{user.name} has been shut out here")
    return Actor(
        organisation=user.organisation,
        identity=f"user:{user.number}",
        permissions=ROLES["operator"] if vouched.role == OPERATOR else frozenset(),
        name=user.name,
        number=user.number,
    )
