"""The calls about who may do what, and about the workers that are there."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from taskyard.client.flow import Answer, Flow, Request, call, stream_of
from taskyard.client.sending import Sender, act, read
from taskyard.client.tasks import pages
from taskyard.client.views import KeyView, UserView, WorkerView
from taskyard.client.words import given, segment


class AccountCalls:
    """A key is named by its id, a user by his number."""

    @call
    def me(self: Sender) -> Flow[dict[str, Any]]:
        """Return who asks: the actor, and the organisation."""
        me: dict[str, Any] = yield from read(self, "/v1/me")
        return me

    @stream_of(KeyView)
    def keys(self: Sender) -> Flow[None]:
        yield from pages(self, "/v1/keys", "keys", KeyView, {})

    @call
    def create_key(
        self: Sender,
        name: str,
        *,
        permissions: Sequence[str] | None = None,
        expires_at: datetime | None = None,
    ) -> Flow[KeyView]:
        """Make a key; its ``secret`` is told this once."""
        wanted = None if permissions is None else list(permissions)
        body = given(name=name, permissions=wanted, expires_at=expires_at)
        return KeyView.of((yield from act(self, "POST", "/v1/keys", body, again=False)))

    @call
    def revoke_key(self: Sender, id: str) -> Flow[None]:
        yield from act(self, "DELETE", f"/v1/keys/{segment(id)}", again=True)

    @call
    def rotate_key(self: Sender, id: str) -> Flow[KeyView]:
        """Give the key a new secret, told this once."""
        return KeyView.of((yield from act(self, "POST", f"/v1/keys/{segment(id)}:rotate", again=False)))

    @stream_of(UserView)
    def users(self: Sender) -> Flow[None]:
        yield from pages(self, "/v1/users", "users", UserView, {})

    @call
    def create_user(
        self: Sender,
        login: str,
        *,
        name: str | None = None,
        role: str | None = None,
        password: str | None = None,
    ) -> Flow[UserView]:
        """Raises Conflict (the login is taken)."""
        body = given(login=login, name=name, role=role, password=password)
        return UserView.of((yield from act(self, "POST", "/v1/users", body, again=False)))

    @call
    def change_user(self: Sender, number: int, /, **changes: Any) -> Flow[UserView]:
        """Set what is given: ``name``, ``role``, ``password``, ``disabled``."""
        return UserView.of((yield from act(self, "PATCH", f"/v1/users/{number}", changes, again=True)))

    @stream_of(WorkerView)
    def workers(self: Sender) -> Flow[None]:
        yield from pages(self, "/v1/workers", "workers", WorkerView, {})

    @call
    def probe(self: Sender, path: str = "/readyz") -> Flow[Answer]:
        """Return the answer of a health endpoint as it comes, once: a server that is not ready is no error here."""
        answer: Answer = yield Request("GET", path)
        return answer
