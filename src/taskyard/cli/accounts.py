"""``taskyard key …``, ``user …`` and ``workers``."""

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from taskyard.cli import output
from taskyard.cli.session import MOMENT, Session, remote
from taskyard.core.actor import ROLES, Permission

if TYPE_CHECKING:
    from taskyard.client.views import KeyView


@click.group("key")
def key_command() -> None:
    """Make and revoke keys: what programs show to the server."""


@key_command.command("list")
@remote
def list_keys(session: Session) -> None:
    """List keys; their secrets are kept nowhere."""
    with session.client() as client:
        keys = list(client.keys())
    if session.as_json:
        output.json_document([key.raw for key in keys])
        return
    now = session.now()
    rows = [
        (
            key.id,
            key.name,
            " ".join(key.permissions),
            output.ago(key.created_at, now),
            _standing(key, now),
        )
        for key in keys
    ]
    output.table(("*id", "name", "permissions", "created", "*is"), rows, empty="no keys")


@key_command.command("create")
@click.argument("name")
@click.option(
    "--may",
    "permissions",
    type=click.Choice([each.value for each in Permission]),
    multiple=True,
    help="What it may do; everything, where this is not said.",
)
@click.option("--expires", type=MOMENT, metavar="TIME", help="in 30d, or 2026-03-01T12:00:00Z.")
@remote
def create_key(session: Session, name: str, permissions: tuple[str, ...], expires: datetime | None) -> None:
    """Make a key and print its secret, which is shown this once."""
    with session.client() as client:
        key = client.create_key(name, permissions=permissions or None, expires_at=expires)
    _print_secret(session, key)


@key_command.command("rotate")
@click.argument("id")
@remote
def rotate_key(session: Session, id: str) -> None:
    """Give a key a new secret and print it, this once."""
    with session.client() as client:
        _print_secret(session, client.rotate_key(id))


@key_command.command("revoke")
@click.argument("id")
@remote
def revoke_key(session: Session, id: str) -> None:
    """Accept a key no longer."""
    with session.client() as client:
        client.revoke_key(id)


def _print_secret(session: Session, key: "KeyView") -> None:
    if session.as_json:
        output.json_document(key.raw)
    else:
        click.echo(key.secret)
        output.hint(f"key {key.id}; it is shown this once")


def _standing(key: "KeyView", now: datetime) -> str:
    if key.revoked_at is not None:
        return f"revoked {output.ago(key.revoked_at, now)}"
    if key.expires_at is not None:
        return f"{'expired' if key.expires_at <= now else 'expires'} {output.ago(key.expires_at, now)}"
    return "good"


@click.group("user")
def user_command() -> None:
    """Make and change users."""


ROLE = click.option("--role", type=click.Choice(list(ROLES)))


@user_command.command("list")
@remote
def list_users(session: Session) -> None:
    """List users."""
    with session.client() as client:
        users = list(client.users())
    if session.as_json:
        output.json_document([user.raw for user in users])
        return
    rows = [(str(user.number), user.login, user.name, user.role, user.disabled) for user in users]
    output.table(("*number", "*login", "name", "role", "disabled"), rows, empty="no users")


@user_command.command("create")
@click.argument("login")
@click.option("--name")
@ROLE
@click.option(
    "--password",
    envvar="TASKYARD_PASSWORD",
    help="Asked for, where it is not given. [env: TASKYARD_PASSWORD]",
)
@remote
def create_user(
    session: Session, login: str, name: str | None, role: str | None, password: str | None
) -> None:
    """Make a user."""
    if password is None and sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    with session.client() as client:
        _print_user(session, client.create_user(login, name=name, role=role, password=password))


@user_command.command("set")
@click.argument("number", type=int)
@click.option("--name")
@ROLE
@click.option("--password", envvar="TASKYARD_PASSWORD")
@click.option("--disable/--enable", "disabled", default=None)
@remote
def set_user(session: Session, number: int, **changes: Any) -> None:
    """Set what is given, and leave the rest."""
    changes = {name: value for name, value in changes.items() if value is not None}
    if not changes:
        raise click.UsageError("nothing to set was given")
    with session.client() as client:
        _print_user(session, client.change_user(number, **changes))


def _print_user(session: Session, user: Any) -> None:
    if session.as_json:
        output.json_document(user.raw)
        return
    members = [("user", str(user.number)), ("login", user.login), ("name", user.name), ("role", user.role)]
    output.record([*members, ("disabled", user.disabled or None)])


@click.command("workers")
@remote
def workers_command(session: Session) -> None:
    """List the workers that are there, and what each can run."""
    with session.client() as client:
        workers = list(client.workers())
    if session.as_json:
        output.json_document([worker.raw for worker in workers])
        return
    now = session.now()
    rows = [
        (
            worker.id,
            worker.name,
            worker.state,
            worker.slots,
            output.ago(worker.seen_at, now),
            " ".join(sorted(f"{lane['queue']}/{lane['type']}" for lane in worker.lanes)),
        )
        for worker in workers
    ]
    empty = "no workers: start one with `taskyard worker app:yard`"
    output.table(("*id", "name", "*is", "slots", "seen", "runs"), rows, empty=empty)
