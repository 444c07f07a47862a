"""What the documents tell people to paste does what they say, pasted as it stands."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.served import free_port

REPOSITORY = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(sh|python)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Far longer than a tour takes: what exceeds it hangs.
PATIENCE_SECONDS = 300
#: Set up what the test sets up itself, or begin this very test again.
NOT_HERE = ("./demo", "./test", 'export PATH="$PWD')


def blocks(document: Path) -> Iterator[str]:
    """Give the document's blocks as shell: files to save are saved, commands are run."""
    for language, title, text in BLOCK.findall(document.read_text()):
        if language == "python" and title:
            yield f"cat > {title} <<'SAVED'\n{text}SAVED\n"
        elif language == "sh" and not any(word in text for word in NOT_HERE):
            yield text


def pasted(document: Path, folder: Path) -> str:
    """Paste a document into a shell in an empty folder and return what is seen there."""
    port = str(free_port())
    script = "set -e\n" + "\n".join(blocks(document)).replace("8420", port)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TASKYARD_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TASKYARD_PORT": port,
        "TASKYARD_URL": f"http://127.0.0.1:{port}",
        "COLUMNS": "200",
    }
    shell = subprocess.Popen(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        seen, _ = shell.communicate(timeout=PATIENCE_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)  # the session of our own shell: what it left behind
    logs = "".join(f"\n{log.name}:\n{log.read_text()}" for log in sorted(folder.glob("*.log")))
    assert shell.returncode == 0, seen + logs
    return seen


def in_order(seen: str, *sentences: str) -> None:
    position = 0
    for sentence in sentences:
        found = re.compile(sentence).search(seen, position)
        assert found, f"{sentence!r} is not in what is seen after the sentences before it:\n{seen}"
        position = found.end()


def test_the_tour_of_the_readme_works_as_it_is_pasted(tmp_path: Path):
    seen = pasted(REPOSITORY / "README.md", tmp_path)

    in_order(
        seen,
        "taskyard listens on http://127.0.0.1",
        "no worker",
        "succeeded",
        "Hello Ana!",
        r"attempts +2",
        "morning",
        "Hello Bo!",
        "Hello curl!",
    )


def test_the_first_tutorial_works_as_it_is_pasted(tmp_path: Path):
    seen = pasted(REPOSITORY / "docs/tutorials/first-yard.md", tmp_path)

    in_order(
        seen,
        "taskyard listens on",
        "succeeded",
        "sha256",
        r"attempts +\d",
        "succeeded",
        "sha256",
        r"\['succeeded'\]",
    )


@pytest.mark.parametrize(
    "document",
    sorted(
        path.relative_to(REPOSITORY) for path in [REPOSITORY / "README.md", *REPOSITORY.glob("docs/**/*.md")]
    ),
    ids=str,
)
def test_links_between_documents_lead_somewhere(document: Path):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", (REPOSITORY / document).read_text()):
        if "://" not in target:
            assert (REPOSITORY / document).parent.joinpath(target).exists(), f"{document} links to {target}"
