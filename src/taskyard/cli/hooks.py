"""``taskyard hook …``."""

import itertools
from typing import TYPE_CHECKING, Any

import click

from taskyard.cli import output
from taskyard.cli.session import Session, confirmed, over_each, remote
from taskyard.core.hook import DeliveryState

if TYPE_CHECKING:
    from taskyard.client import DeliveryView, HookView

ID = click.argument("id")
EVENT = click.option(
    "--event", "events", multiple=True, metavar="KIND", help="task.succeeded, task.*, *; may be given often."
)


@click.group("hook")
def hook_command() -> None:
    """Tell other servers what happens here."""


@hook_command.command("list")
@remote
def list_hooks(session: Session) -> None:
    """List hooks."""
    with session.client() as client:
        hooks = list(client.hooks())
    if session.as_json:
        output.json_document([hook.raw for hook in hooks])
        return
    rows = [(each.id, each.url, " ".join(each.events), each.queue, _standing(each)) for each in hooks]
    output.table(("*id", "*url", "events", "queue", "is"), rows, empty="no hooks yet")


@hook_command.command("create")
@click.argument("receiver", metavar="URL")
@EVENT
@click.option("--queue", help="Only of this queue.")
@click.option("--type", help="Only of tasks of this type.")
@click.option("--disabled", is_flag=True, help="Tell it nothing yet.")
@remote
def create_hook(
    session: Session,
    receiver: str,
    events: tuple[str, ...],
    queue: str | None,
    type: str | None,
    disabled: bool,
) -> None:
    """
    Tell URL what happens, and print the secret that signs it, which is shown this once.

    \b
      taskyard hook create https://example.org/taskyard --event task.succeeded --event task.failed
    """
    with session.client() as client:
        hook = client.create_hook(
            receiver, events or None, queue=queue, type=type, enabled=False if disabled else None
        )
    _print_secret(session, hook)


@hook_command.command("show")
@ID
@remote
def show_hook(session: Session, id: str) -> None:
    """Show a hook and what was sent to it last."""
    with session.client() as client:
        hook = client.hook(id)
        last = list(itertools.islice(client.deliveries(id), 5))
    _print_hook(session, hook)
    if not session.as_json and last:
        click.echo()
        _print_deliveries(session, last)


@hook_command.command("set")
@ID
@click.option("--to", metavar="URL", help="Send to this URL instead.")
@EVENT
@click.option("--queue", help="Only of this queue; '' for all.")
@click.option("--type", help="Only of tasks of this type; '' for all.")
@click.option("--enable/--disable", "enabled", default=None)
@remote
def set_hook(session: Session, id: str, to: str | None, events: tuple[str, ...], **said: Any) -> None:
    """Change a hook; what is not said stays."""
    changes = {
        name: None if value == "" else value
        for name, value in {**said, "url": to, "events": list(events) or None}.items()
        if value is not None
    }
    if not changes:
        raise click.UsageError("Say what to change.")
    with session.client() as client:
        _print_hook(session, client.change_hook(id, **changes))


@hook_command.command("test")
@ID
@remote
def test_hook(session: Session, id: str) -> None:
    """Send it an event of the kind hook.test; print the delivery's id."""
    with session.client() as client:
        delivery = client.test_hook(id)
    if session.as_json:
        output.json_document(delivery.raw)
    else:
        click.echo(delivery.id)


@hook_command.command("rotate")
@ID
@remote
def rotate_hook(session: Session, id: str) -> None:
    """Give it a new secret and print it, this once; for a day both sign."""
    with session.client() as client:
        _print_secret(session, client.rotate_hook(id))


@hook_command.command("deliveries")
@ID
@click.option("--state", type=click.Choice([each.value for each in DeliveryState]))
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@remote
def list_deliveries(session: Session, id: str, state: str | None, limit: int) -> None:
    """List what was sent to it, or is to be, newest first."""
    with session.client() as client:
        found = list(itertools.islice(client.deliveries(id, state=state), limit))
    if session.as_json:
        output.json_document([each.raw for each in found])
    else:
        _print_deliveries(session, found)


@hook_command.command("resend")
@ID
@click.argument("deliveries", nargs=-1, required=True)
@remote
def resend_delivery(session: Session, id: str, deliveries: tuple[str, ...]) -> int:
    """Send deliveries again, under their ids."""
    with session.client() as client:
        return over_each(
            deliveries, lambda each: output.note(f"{client.resend_delivery(id, each).id} is due")
        )


@hook_command.command("delete")
@ID
@click.option("--yes", is_flag=True, help="Do not ask.")
@remote
def delete_hook(session: Session, id: str, yes: bool) -> None:
    """Send it nothing more, not even what is waiting."""
    confirmed(f"Delete the hook {id}?", yes=yes)
    with session.client() as client:
        client.delete_hook(id)


def _standing(hook: "HookView") -> str:
    return "enabled" if hook.enabled else "disabled"


def _print_hook(session: Session, hook: "HookView") -> None:
    if session.as_json:
        output.json_document(hook.raw)
        return
    output.record(
        [
            ("hook", hook.id),
            ("url", hook.url),
            ("events", " ".join(hook.events)),
            ("queue", hook.queue),
            ("type", hook.type),
            ("wire", hook.wire),
            ("is", _standing(hook)),
            ("because", hook.reason),
            ("created", hook.created_at),
        ]
    )


def _print_secret(session: Session, hook: "HookView") -> None:
    if session.as_json:
        output.json_document(hook.raw)
        return
    output.note(f"hook {hook.id}; its secret is shown this once:")
    click.echo(hook.secret)


def _print_deliveries(session: Session, deliveries: "list[DeliveryView]") -> None:
    now = session.now()
    rows = [
        (
            each.id,
            each.kind,
            each.subject,
            each.state,
            each.attempts,
            output.ago(each.sent_at, now),
            output.ago(each.next_at, now),
            each.error or each.status,
        )
        for each in deliveries
    ]
    columns = ("*id", "kind", "*of", "state", "tried", "last", "next", "answer")
    output.table(columns, rows, empty="nothing was sent to it yet")
