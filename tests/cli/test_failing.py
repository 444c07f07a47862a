"""What goes wrong is one readable line on standard error and an exit code that means something."""

from pathlib import Path

import pytest

from taskyard.cli import failing
from tests.served import run

#: Port 9 is "discard" (RFC 863): nobody listens there.
NOBODY = "http://127.0.0.1:9"


def only_line(text: str) -> str:
    [line] = text.splitlines()
    return line


def test_a_server_that_is_not_there_is_named_with_what_to_do(tmp_path: Path):
    ran = run(tmp_path, "list", "--url", NOBODY)

    assert ran.code == failing.UNAVAILABLE
    assert ran.out == ""
    assert only_line(ran.err).startswith(f"error: no answer from {NOBODY}: ")
    assert "Is `taskyard serve` running there?" in ran.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["list", "--nonsense"], "No such option"),
        (["submit"], "Missing argument 'TYPE'"),
        (["submit", "x", "-i", "size"], "'size' is not name=value"),
        (["submit", "x", "--timeout", "soon"], "'soon' is not a span"),
        (["submit", "x", "--input", "{"], "it is not JSON"),
        (["submit", "x", "--input", "@gone.json"], "gone.json cannot be read: No such file"),
        (["submit", "x", "--input", "[1]", "-i", "a=1"], "-i adds members to an object"),
        (["schedule", "create", "s", "x"], "say one of --cron, --every and --at"),
        (["queue", "set", "images"], "nothing to set was given"),
        (["queue", "delete", "images"], "Say --yes"),
        (["worker", "a:b", "--url", NOBODY, "--database", "sqlite:///x.db"], "not both"),
        (["watch", "id", "--kind", "task.failed"], "are for watching without ids"),
    ],
)
def test_what_is_typed_wrong_is_said_in_one_line(tmp_path: Path, args: list[str], said: str):
    ran = run(tmp_path, *args)

    assert ran.code == failing.USAGE
    assert said in only_line(ran.err)


def test_what_is_typed_goes_before_what_the_environment_says(tmp_path: Path):
    """The worker gets as far as the module that is not there, for the database that was typed."""
    ran = run(tmp_path, "worker", "nowhere:yard", "--database", "sqlite:///x.db", TASKYARD_URL=NOBODY)

    assert "nowhere" in only_line(ran.err)


def test_a_traceback_is_shown_to_who_asks_for_it_wherever_he_says_so(tmp_path: Path):
    ran = run(tmp_path, "list", "--url", NOBODY, "--traceback")

    assert ran.code == failing.UNAVAILABLE
    assert "Traceback (most recent call last)" in ran.err
    assert ran.err.splitlines()[-1].startswith("error: no answer from")


def test_help_is_no_error(tmp_path: Path):
    for args in (["--help"], ["queue", "--help"], ["submit", "-h"]):
        ran = run(tmp_path, *args)
        assert (ran.code, ran.err) == (0, "")
        assert "Usage: taskyard" in ran.out


def test_help_names_every_command_and_each_has_help_of_its_own(tmp_path: Path):
    from taskyard.cli.root import SECTIONS

    told = run(tmp_path, "--help").out
    for section in SECTIONS.values():
        for name, (_, line) in section.items():
            assert line in told
            assert "Usage" in run(tmp_path, name, "--help").out


def test_help_waits_for_no_module_it_does_not_need(tmp_path: Path):
    import subprocess
    import sys

    program = (
        "import sys; from taskyard.__main__ import Application; from taskyard.cli.root import main\n"
        "main(Application(), ['--help'])\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules} & {'rich', 'httpx', 'apsw', 'starlette', 'asyncio'}))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ended.stdout.splitlines()[-1] == ""
