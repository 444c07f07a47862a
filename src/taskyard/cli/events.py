"""``taskyard event …``."""

import click

from taskyard.cli import output
from taskyard.cli.session import INPUT, MEMBER, NO_INPUT, Session, remote
from taskyard.cli.submit import task_body
from taskyard.core.task import Json


@click.group("event")
def event_command() -> None:
    """Send events to the tasks that wait for them. (`taskyard watch` shows what happens.)"""


@event_command.command("send")
@click.argument("name")
@click.option(
    "-i", "members", type=MEMBER, multiple=True, metavar="NAME=VALUE", help="A member of the payload."
)
@click.option(
    "--input", "whole", type=INPUT, default=NO_INPUT, metavar="JSON|@FILE|-", help="The payload, as a whole."
)
@remote
def send_event(
    session: Session, name: str, members: tuple[tuple[str, Json], ...], whole: tuple[bool, Json]
) -> None:
    """
    Send the event NAME to what waits for it, now or later. The first that is sent stays.

    \b
      taskyard event send payment:1234 -i amount=20
    """
    with session.client() as client:
        sent = client.send_event(name, task_body(members, whole, ())["input"])
    if session.as_json:
        output.json_document({"sent": sent})
    else:
        output.note("sent" if sent else f"{name} was sent before; the first stays")
