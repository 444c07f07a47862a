"""A program that acts for users: two-legged OAuth 1.0 (RFC 5849)."""

import asyncio
from urllib.parse import quote

import pytest

from taskyard.core.errors import Invalid
from taskyard.dialects.pulp import dialect
from taskyard.dialects.pulp.oauth import base_string, oauth_of, signature
from taskyard.http.backend import Backend
from taskyard.http.dialect import application
from tests.conftest import new_id
from tests.dialects.pulp.wire import Wire

KEY, SECRET = "katello", "shhh, this is twenty characters"


@pytest.fixture
def wire(yard):
    settings = {"pulp": {"oauth": {"key": KEY, "secret": SECRET}}}
    backend = Backend(store=yard.store, services=yard.services, new_id=new_id, settings=settings)
    wire = Wire(yard, None, application(dialect, backend, at="/pulp/api"))
    wire.user("ana", "admin")
    return wire


@pytest.fixture
def sign(clock):
    """Return the header of a request as a client signs it; each has a nonce of its own."""
    count = iter(range(1_000))

    def header(path, query=(), *, method="GET", secret=SECRET, scheme="http", at=0, **changes):
        named = {
            "oauth_consumer_key": KEY,
            "oauth_nonce": f"n{next(count)}",
            "oauth_signature_method": "HMAC-SHA1",
            "oauth_timestamp": str(int(clock.now.timestamp()) + at),
            "oauth_version": "1.0",
            **changes,
        }
        base = base_string(method, f"{scheme}://yard/pulp/api{path}", [*named.items(), *query])
        named["oauth_signature"] = signature(secret, base)
        return "OAuth " + ", ".join(f'{name}="{quote(value, safe="~")}"' for name, value in named.items())

    return header


def ask(wire, path, header, user="ana", method="GET"):
    headers = {"Authorization": header, **({"Pulp-User": user} if user is not None else {})}
    answer = asyncio.run(wire.ask(method, path, headers=headers))
    return answer.status_code, answer.json()


def test_what_is_signed_is_what_the_standard_says():
    """The example of RFC 5849, section 3.4.1.1."""
    parameters = [
        ("b5", "=%3D"), ("a3", "a"), ("c@", ""), ("a2", "r b"), ("oauth_consumer_key", "9djdj82h48djs9d2"),
        ("oauth_token", "kkk9d7dh3k39sjv7"), ("oauth_signature_method", "HMAC-SHA1"), ("oauth_timestamp", "137131201"),
        ("oauth_nonce", "7d8f3e4a"), ("c2", ""), ("a3", "2 q"),
    ]  # fmt: skip
    assert base_string("post", "http://example.com/request", parameters) == (
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26c2%3D%26"
        "oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26"
        "oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    )


def test_a_signed_request_is_the_users_it_names(wire, sign):
    task = wire.make("noop")
    path, query = "/tasks/", [("state", "current"), ("id", task.id), ("x", "a b")]

    status, found = ask(wire, f"{path}?state=current&id={task.id}&x=a%20b", sign(path, query))

    assert (status, [each["id"] for each in found]) == (200, [task.id])
    assert ask(wire, "//tasks/", sign("//tasks/"))[0] == 200
    assert ask(wire, "/tasks/", sign("/tasks/", scheme="https"))[0] == 200
    assert (
        ask(
            wire, f"/tasks/{task.id}/cancel/", sign(f"/tasks/{task.id}/cancel/", method="POST"), method="POST"
        )[0]
        == 202
    )


def test_what_is_signed_may_do_what_its_user_may(wire, sign):
    wire.user("bo", "viewer")
    assert ask(wire, "/tasks/", sign("/tasks/"), "bo")[0] == 200
    assert ask(wire, "/tasks/snapshots/", sign("/tasks/snapshots/"), "bo") == (401, "Permission Denied")


@pytest.mark.parametrize(
    ("changes", "user"),
    [
        ({"secret": "another secret altogether"}, "ana"),
        ({"oauth_consumer_key": "other"}, "ana"),
        ({"oauth_signature_method": "PLAINTEXT"}, "ana"),
        ({"at": 301}, "ana"),
        ({"at": -301}, "ana"),
        ({"oauth_timestamp": "soon"}, "ana"),
        ({"oauth_timestamp": "٣"}, "ana"),
        ({"oauth_nonce": ""}, "ana"),
        ({"method": "POST"}, "ana"),
        ({"query": [("id", "x")]}, "ana"),
        ({}, "nobody"),
        ({}, "a\tb"),
        ({}, ":issuer|subject|default"),
    ],
)
def test_what_is_not_signed_right_or_for_nobody_is_turned_away(wire, sign, changes, user):
    assert ask(wire, "/tasks/", sign("/tasks/", **changes), user) == (401, "Invalid OAuth Credentials")


@pytest.mark.parametrize(
    "header", ["OAuth x", "OAuth ", 'OAuth a="1", a="1"', 'OAuth oauth_nonce="%ff"', "oauth é"]
)
def test_a_header_that_cannot_be_read_is_turned_away(wire, header):
    assert ask(wire, "/tasks/", header.encode("latin-1"), "ana") == (401, "Invalid OAuth Credentials")


def test_a_request_that_was_heard_is_not_heard_again(wire, sign, clock):
    header = sign("/tasks/")
    assert ask(wire, "/tasks/", header)[0] == 200
    clock.forward(seconds=299)
    assert ask(wire, "/tasks/", header) == (401, "Invalid OAuth Credentials")
    assert ask(wire, "/tasks/", sign("/tasks/"))[0] == 200


def test_without_a_user_or_without_a_key_of_ours_nobody_is_named(wire, sign, yard):
    assert ask(wire, "/tasks/", sign("/tasks/"), None) == (401, "Authentication Required")
    plain = Wire(yard, None)
    assert ask(plain, "/tasks/", sign("/tasks/")) == (401, "Authentication Required")


def test_users_of_other_organisations_cannot_be_acted_for(wire, sign):
    other = wire.yard.other_organisation()
    wire.yard.write(wire.yard.services.accounts.create_user, other, login="eve", role="admin")
    assert ask(wire, "/tasks/", sign("/tasks/"), "eve")[0] == 401


@pytest.mark.parametrize(
    "table", [{}, {"key": KEY}, {"key": KEY, "secret": "short"}, {"key": "", "secret": SECRET}]
)
def test_settings_that_could_be_guessed_are_refused(table):
    with pytest.raises(Invalid):
        oauth_of({"oauth": table})
