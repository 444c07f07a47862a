"""What explain tells people to type is there to be typed."""

import re
from pathlib import Path

import click
import pytest

import taskyard.service.explain
from taskyard.cli.root import taskyard as root

ADVICE = re.findall(
    r'"taskyard ([a-z{}. ()-]+)',
    Path(taskyard.service.explain.__file__).read_text().replace("{command}", "run-now"),
)


@pytest.mark.parametrize(
    "line", sorted({" ".join(re.findall(r"[a-z-]+", line.split("{")[0])) for line in ADVICE})
)
def test_every_command_that_explain_advises_exists(line: str):
    command: click.Command = root
    for word in line.split():
        if isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word)
            assert found is not None, f"there is no `taskyard {line}`"
            command = found
    assert not isinstance(command, click.Group), f"`taskyard {line}` does nothing by itself"
