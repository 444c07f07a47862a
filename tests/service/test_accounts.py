"""Accounts: who asks is known for certain, nobody hands on what they do not have, and a secret is told once."""

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest
from uuid_utils import uuid7

from taskyard.core.actor import ALL, ROLES, Actor, Permission
from taskyard.core.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from taskyard.service import credentials
from taskyard.service.credentials import Passwords, new_secret
from taskyard.service.services import build_services
from taskyard.store.accounts import Reply
from taskyard.store.store import Store

PASSWORD = "correct horse"


@pytest.fixture
def accounts(yard):
    yard.actor = replace(yard.actor, identity="key:boss", name="boss")
    return yard.services.accounts


@pytest.fixture
def ana(yard, accounts):
    return yard.write(accounts.create_user, yard.actor, "ana@example.com", role="admin", password=PASSWORD)


def actor_of(user, **changes):
    made = Actor(
        organisation=user.organisation,
        identity=f"user:{user.number}",
        permissions=ROLES[user.role],
        name=user.name,
        number=user.number,
    )
    return replace(made, **changes)


def who(yard, secret):
    return yard.read(yard.services.accounts.identify, secret)


# -- keys --------------------------------------------------------------------------------------------------------------------


def test_a_key_acts_for_itself_with_just_its_permissions(yard, accounts):
    new = yard.write(accounts.create_key, yard.actor, "ci", permissions=[Permission.SUBMIT])
    assert who(yard, new.secret) == Actor(
        organisation=yard.organisation,
        identity=f"key:{new.key.id}",
        permissions=frozenset({Permission.SUBMIT}),
        name="ci",
        number=new.key.number,
    )


def test_a_key_of_a_person_acts_for_them_and_never_beyond_their_role(yard, accounts, ana):
    new = yard.write(accounts.create_key, actor_of(ana), "laptop", owner=ana.number)
    assert who(yard, new.secret) == actor_of(ana)

    yard.write(accounts.change_user, yard.actor, ana.number, role="viewer")
    assert who(yard, new.secret).permissions == {Permission.READ}

    narrow = yard.write(
        accounts.create_key, yard.actor, "narrow", owner=ana.number, permissions=[Permission.SUBMIT]
    )
    assert who(yard, narrow.secret).permissions == frozenset()


def test_only_a_digest_of_a_secret_is_kept(yard, accounts):
    new = yard.write(accounts.create_key, yard.actor, "ci")
    assert new.secret.startswith(f"ty_{new.key.id}_")
    key, digest = yard.read(lambda r: r.accounts.key_with_digest(new.key.id))
    assert digest == hashlib.sha256(new.secret.encode()).hexdigest()
    assert new.secret not in repr(key)
    events = yard.read(lambda r: r.events.of_subject(yard.organisation, new.key.id))
    assert new.secret.rpartition("_")[2] not in repr(events)


def test_the_id_of_a_key_is_not_enough(yard, accounts):
    new = yard.write(accounts.create_key, yard.actor, "ci")
    other = yard.write(accounts.create_key, yard.actor, "other")
    swapped = new.secret.replace(new.key.id, other.key.id)
    for wrong in (
        new_secret(new.key.id, lambda size: "x" * size),
        swapped,
        new.secret + "x",
        new.secret[:-1],
    ):
        with pytest.raises(Unauthenticated):
            who(yard, wrong)


def test_digests_are_compared_in_constant_time(yard, accounts, monkeypatch):
    new = yard.write(accounts.create_key, yard.actor, "ci")
    compared = []
    real = credentials.hmac.compare_digest
    monkeypatch.setattr(
        credentials.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b)
    )
    who(yard, new.secret)
    digest = hashlib.sha256(new.secret.encode()).hexdigest()
    assert compared == [(digest, digest)]


@pytest.mark.parametrize(
    "wrong", ["", "ty_", "ty__", "ty_x", "ty__secret", "hello", "ty_é_x", "ty_\0_x", "ty_x_\ud800"]
)
def test_what_is_no_secret_of_ours_is_nobody(yard, accounts, wrong):
    with pytest.raises(Unauthenticated):
        who(yard, wrong)


def test_a_key_ends_at_its_time(yard, accounts):
    new = yard.write(accounts.create_key, yard.actor, "ci", expires_at=yard.clock.now + timedelta(hours=1))
    yard.clock.forward(minutes=59)
    assert who(yard, new.secret).name == "ci"
    yard.clock.forward(minutes=1)
    with pytest.raises(Unauthenticated):
        who(yard, new.secret)


def test_a_revoked_key_is_dead_at_once_and_stays_so(yard, accounts):
    new = yard.write(accounts.create_key, yard.actor, "ci")
    revoked = yard.write(accounts.revoke_key, yard.actor, new.key.id)
    assert revoked.revoked_at == yard.clock.now
    with pytest.raises(Unauthenticated):
        who(yard, new.secret)
    yard.clock.forward(hours=1)
    assert yard.write(accounts.revoke_key, yard.actor, new.key.id).revoked_at == revoked.revoked_at
    with pytest.raises(Conflict):
        yard.write(accounts.rotate_key, yard.actor, new.key.id)
    assert yard.events(new.key.id) == ["key.created", "key.revoked"]


def test_a_disabled_persons_keys_are_dead_and_live_again_with_them(yard, accounts, ana):
    new = yard.write(accounts.create_key, yard.actor, "laptop", owner=ana.number)
    yard.write(accounts.change_user, yard.actor, ana.number, disabled=True)
    with pytest.raises(Unauthenticated):
        who(yard, new.secret)
    yard.write(accounts.change_user, yard.actor, ana.number, disabled=False)
    assert who(yard, new.secret).number == ana.number


def test_a_rotated_key_is_the_same_key_with_another_secret(yard, accounts):
    old = yard.write(accounts.create_key, yard.actor, "ci", permissions=[Permission.READ])
    new = yard.write(accounts.rotate_key, yard.actor, old.key.id)
    assert new.key == old.key
    assert who(yard, new.secret).permissions == {Permission.READ}
    with pytest.raises(Unauthenticated):
        who(yard, old.secret)


def test_a_key_cannot_do_what_its_maker_may_not(yard, accounts):
    admin = replace(yard.actor, permissions=frozenset({Permission.ADMIN, Permission.READ}))
    with pytest.raises(Forbidden, match="manage"):
        yard.write(accounts.create_key, admin, "more", permissions=[Permission.MANAGE])
    assert yard.write(accounts.create_key, admin, "as much").key.permissions == admin.permissions

    mighty = yard.write(accounts.create_key, yard.actor, "mighty")
    with pytest.raises(Forbidden):
        yard.write(accounts.rotate_key, admin, mighty.key.id)


def test_people_make_keys_for_themselves_and_administrators_for_anyone(yard, accounts, ana):
    bo = yard.write(accounts.create_user, yard.actor, "bo", role="member")
    member = actor_of(bo)
    own = yard.write(accounts.create_key, member, "mine", owner=bo.number)
    assert own.key.permissions == ROLES["member"]
    for owner in (None, ana.number):
        with pytest.raises(Forbidden):
            yard.write(accounts.create_key, member, "not mine", owner=owner)
    theirs = yard.write(
        accounts.create_key, yard.actor, "bo's", owner=bo.number, permissions=[Permission.READ]
    )
    assert theirs.key.owner == bo.number
    with pytest.raises(NotFound):
        yard.write(accounts.create_key, yard.actor, "nobody's", owner=999)


def test_people_see_and_end_their_own_keys_only(yard, accounts, ana):
    bo = yard.write(accounts.create_user, yard.actor, "bo", role="member")
    own = yard.write(accounts.create_key, actor_of(bo), "mine", owner=bo.number).key
    other = yard.write(accounts.create_key, yard.actor, "ana's", owner=ana.number).key
    assert yard.read(accounts.keys, actor_of(bo)) == [own]
    assert yard.read(accounts.keys, yard.actor) == [own, other]
    for move in (accounts.key, accounts.revoke_key, accounts.rotate_key):
        with pytest.raises(NotFound):
            yard.write(move, actor_of(bo), other.id)
    assert yard.write(accounts.revoke_key, actor_of(bo), own.id).revoked_at is not None


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"permissions": []}, "/permissions"),
        ({"name": "x" * 201}, "/name"),
        ({"expires_at": 0}, "/expires_at"),
    ],
)
def test_a_key_that_would_be_of_no_use_is_refused(yard, accounts, wrong, pointer):
    if "expires_at" in wrong:
        wrong = {"expires_at": yard.clock.now}
    with pytest.raises(Invalid) as refusal:
        yard.write(accounts.create_key, yard.actor, **{"name": "ci", **wrong})
    assert refusal.value.faults[0].pointer == pointer


# -- people ------------------------------------------------------------------------------------------------------------------


def test_a_person_is_known_by_login_and_password(yard, accounts, ana):
    assert yard.read(accounts.identify_password, " Ana@Example.com ", PASSWORD) == actor_of(ana)
    for login, password in (
        ("ana@example.com", "wrong horse"),
        ("bo", PASSWORD),
        ("", ""),
        ("\0", "\0"),
        ("\ud800", "\ud800"),
    ):
        with pytest.raises(Unauthenticated):
            yard.read(accounts.identify_password, login, password)
    assert PASSWORD not in repr(yard.read(accounts.user, yard.actor, ana.number))


def test_a_person_without_a_password_has_none_that_fits(yard, accounts):
    yard.write(accounts.create_user, yard.actor, "bo")
    with pytest.raises(Unauthenticated):
        yard.read(accounts.identify_password, "bo", "")


def test_a_disabled_person_is_nobody(yard, accounts, ana):
    yard.read(accounts.identify_password, ana.login, PASSWORD)
    yard.write(accounts.change_user, yard.actor, ana.number, disabled=True)
    with pytest.raises(Unauthenticated):
        yard.read(accounts.identify_password, ana.login, PASSWORD)


def test_a_new_password_ends_the_old_one_even_where_it_was_remembered(yard, accounts, ana):
    yard.read(accounts.identify_password, ana.login, PASSWORD)
    yard.read(accounts.identify_password, ana.login, PASSWORD)
    yard.write(accounts.change_user, actor_of(ana), ana.number, password="another horse")
    with pytest.raises(Unauthenticated):
        yard.read(accounts.identify_password, ana.login, PASSWORD)
    assert yard.read(accounts.identify_password, ana.login, "another horse").number == ana.number


class CountingHasher:
    """A hasher that tells how often it was made to work; what it makes is not safe at all."""

    def __init__(self) -> None:
        self.verified = 0

    def hash(self, password: str) -> str:
        return f"hash of {password}"

    def verify(self, hashed: str, password: str) -> None:
        self.verified += 1
        if hashed != self.hash(password):
            raise credentials.VerificationError


def test_a_password_of_nobody_costs_as_much_as_a_wrong_one():
    hasher = CountingHasher()
    passwords = Passwords(lambda size: "t" * size, hasher)  # type: ignore[arg-type]
    assert not passwords.matches(hasher.hash("right"), "wrong")
    assert hasher.verified == 1
    assert not passwords.matches(None, "wrong")
    assert hasher.verified == 2
    assert not passwords.matches(None, "t" * 32)  # the stand-in's own password opens nothing
    assert hasher.verified == 3


def test_unknown_logins_are_verified_like_known_ones(yard, accounts, ana, monkeypatch):
    hasher = CountingHasher()
    monkeypatch.setattr(accounts, "_passwords", Passwords(lambda size: "t" * size, hasher))  # type: ignore[arg-type]
    yard.write(accounts.change_user, yard.actor, ana.number, password=PASSWORD)
    for login in (ana.login, "nobody"):
        with pytest.raises(Unauthenticated):
            yard.read(accounts.identify_password, login, "wrong horse")
    assert hasher.verified == 2


def test_a_password_that_was_right_a_moment_ago_is_not_hashed_again():
    hasher = CountingHasher()
    passwords = Passwords(lambda size: "t" * size, hasher)  # type: ignore[arg-type]
    hashed = hasher.hash("right")
    assert passwords.matches(hashed, "right")
    assert passwords.matches(hashed, "right")
    assert hasher.verified == 1
    assert not passwords.matches(hashed, "wrong")
    assert not passwords.matches(hasher.hash("other"), "right")


def test_a_login_is_one_persons_on_the_whole_server(yard, accounts, ana):
    with pytest.raises(Conflict):
        yard.write(accounts.create_user, yard.other_organisation(), "ANA@example.com")


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"login": ""}, "/login"),
        ({"login": "a b"}, "/login"),
        ({"login": "a:b"}, "/login"),
        ({"login": "a" * 255}, "/login"),
        ({"name": "x" * 201}, "/name"),
        ({"role": "king"}, "/role"),
        ({"password": "short"}, "/password"),
        ({"password": "x" * 1001}, "/password"),
    ],
)
def test_a_person_that_cannot_be_is_refused(yard, accounts, wrong, pointer):
    with pytest.raises(Invalid) as refusal:
        yard.write(accounts.create_user, yard.actor, **{"login": "bo", **wrong})
    assert refusal.value.faults[0].pointer == pointer


def test_nobody_makes_a_person_mightier_than_they_are(yard, accounts, ana):
    clerk = Actor(
        organisation=yard.organisation,
        identity="key:clerk",
        permissions=frozenset({Permission.ADMIN, *ROLES["member"]}),
    )
    yard.write(accounts.create_user, clerk, "bo", role="member")
    with pytest.raises(Forbidden):
        yard.write(accounts.create_user, clerk, "cy", role="admin")
    with pytest.raises(Forbidden):  # a password of hers would make the clerk an administrator
        yard.write(accounts.change_user, clerk, ana.number, password="taken over")


def test_people_change_their_own_name_and_password_and_nothing_more(yard, accounts, ana):
    bo = yard.write(accounts.create_user, yard.actor, "bo", role="member")
    assert yard.write(accounts.change_user, actor_of(bo), bo.number, name="Bo").name == "Bo"
    for changes in ({"role": "admin"}, {"disabled": True}):
        with pytest.raises(Forbidden):
            yard.write(accounts.change_user, actor_of(bo), bo.number, **changes)
    with pytest.raises(Forbidden):
        yard.write(accounts.change_user, actor_of(bo), ana.number, name="Ann")


def test_an_administrator_does_not_lock_themselves_out(yard, accounts, ana):
    for changes in ({"role": "viewer"}, {"disabled": True}):
        with pytest.raises(Conflict):
            yard.write(accounts.change_user, actor_of(ana), ana.number, **changes)


# -- organisations -----------------------------------------------------------------------------------------------------------


def test_an_empty_yard_gets_its_first_organisation_once(database, clock):
    store = Store(database)
    services = build_services(lambda: str(uuid7()), lambda: 0.0)
    organisation, first = store.write(services.accounts.bootstrap)
    assert organisation.name == "default"
    actor = store.read(lambda records: services.accounts.identify(records, first.secret))
    assert (actor.organisation, actor.permissions) == (organisation.number, ALL)
    assert store.write(services.accounts.bootstrap) is None
    store.close()


def test_another_organisations_people_and_keys_are_not_found(yard, accounts, ana):
    key = yard.write(accounts.create_key, yard.actor, "ci").key
    other = yard.other_organisation()
    assert yard.read(accounts.users, other) == []
    assert yard.read(accounts.keys, other) == []
    for move in (accounts.key, accounts.revoke_key, accounts.rotate_key):
        with pytest.raises(NotFound):
            yard.write(move, other, key.id)
    with pytest.raises(NotFound):
        yard.read(accounts.user, other, ana.number)
    with pytest.raises(NotFound):
        yard.write(accounts.change_user, other, ana.number, password="taken over")
    with pytest.raises(NotFound):
        yard.write(accounts.create_key, other, "hers", owner=ana.number)


def test_a_new_organisation_has_a_key_for_everything_and_sees_only_itself(yard, accounts):
    yard.submit()
    made, first = yard.write(accounts.create_organisation, yard.actor, "acme", title="Acme")
    actor = who(yard, first.secret)
    assert (actor.organisation, actor.permissions) == (made.number, ALL)
    assert yard.read(accounts.organisation, actor) == made
    assert yard.read(yard.services.queues.all, actor) == []
    with pytest.raises(Conflict):
        yard.write(accounts.create_organisation, yard.actor, "acme")
    changed = yard.write(accounts.change_organisation, actor, title="ACME")
    assert yard.read(accounts.organisation, actor) == changed
    assert yard.read(accounts.organisation, yard.actor).title == "Default"


def test_only_an_administrator_makes_people_keys_and_organisations(yard, accounts):
    operator = replace(yard.actor, permissions=ROLES["operator"])
    for refused in (
        lambda r: accounts.create_user(r, operator, "bo"),
        lambda r: accounts.create_key(r, operator, "ci"),
        lambda r: accounts.create_organisation(r, operator, "acme"),
        lambda r: accounts.change_organisation(r, operator, title="mine"),
    ):
        with pytest.raises(Forbidden):
            yard.store.write(refused)


# -- idempotency -------------------------------------------------------------------------------------------------------------

REPLY = Reply(fingerprint="f", status=201, body="{}", headers={"location": "/v1/tasks/1"})


def test_a_repeated_request_is_answered_as_the_first_time(yard, accounts):
    assert yard.read(accounts.replay, yard.actor, "k", "f") is None
    yard.write(accounts.keep, yard.actor, "k", REPLY)
    assert yard.read(accounts.replay, yard.actor, "k", "f") == REPLY


def test_an_idempotency_key_is_for_one_request(yard, accounts):
    yard.write(accounts.keep, yard.actor, "k", REPLY)
    with pytest.raises(Invalid) as refusal:
        yard.read(accounts.replay, yard.actor, "k", "another")
    assert refusal.value.code == "idempotency_mismatch"


def test_idempotency_keys_are_everyones_own(yard, accounts):
    yard.write(accounts.keep, yard.actor, "k", REPLY)
    assert yard.read(accounts.replay, replace(yard.actor, identity="user:2"), "k", "f") is None
    other = replace(yard.other_organisation(), identity=yard.actor.identity)
    assert yard.read(accounts.replay, other, "k", "f") is None


def test_of_two_who_answer_the_same_request_one_is_undone(yard, accounts):
    yard.write(accounts.keep, yard.actor, "k", REPLY)
    with pytest.raises(Conflict) as refusal:
        yard.write(accounts.keep, yard.actor, "k", REPLY)
    assert refusal.value.code == "idempotency_in_progress"


@pytest.mark.parametrize("key", ["", "x" * 256, "a\0b"])
def test_an_unusable_idempotency_key_is_refused(yard, accounts, key):
    with pytest.raises(Invalid) as refusal:
        yard.read(accounts.replay, yard.actor, key, "f")
    assert refusal.value.code == "bad_idempotency_key"
