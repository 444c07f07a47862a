"""The examples do what they say, on the files of this repository."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.test_pasted import PATIENCE_SECONDS, REPOSITORY, in_order


def shown(example: str, *args: str | Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKYARD_")}
    ended = subprocess.run(
        [sys.executable, REPOSITORY / "examples" / example / "run.py", *args],
        cwd=REPOSITORY,
        env={**environment, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def number(seen: str, row: str) -> int:
    found = re.search(rf"│ {row} +│ +([\d,]+) │", seen)
    assert found, f"there is no row {row!r} in:\n{seen}"
    return int(found[1].replace(",", ""))


def test_a_folder_is_looked_at_whole_though_a_worker_is_killed(tmp_path: Path):
    from PIL import Image

    files = tmp_path / "files"
    files.mkdir()
    for n in range(30):
        Image.effect_mandelbrot((400, 300), (-2, -1.5 + n / 100, 1, 1.5), 20).save(files / f"{n:02}.png")
    os.symlink(REPOSITORY / "src", files / "linked")  # not followed: it may lead anywhere
    for source in sorted((REPOSITORY / "src").rglob("*.py")):
        (files / source.relative_to(REPOSITORY).as_posix().replace("/", "-")).write_bytes(source.read_bytes())
    count = sum(path.is_file() for path in files.iterdir())

    seen = shown("folder", files, "--thumbnails", tmp_path / "thumbnails")

    in_order(
        seen,
        "A server at http://127.0.0.1",
        r"kill -9 \d+: the first worker is gone, with \d+ tasks in its hands",
    )
    assert number(seen, "files") == count
    assert number(seen, "done once") == count
    assert number(seen, "done twice") == number(seen, "lost") == number(seen, "failed") == 0
    assert number(seen, "in the hands of the worker that was killed, and run again") > 0
    assert number(seen, "checksums that are not those of the files on the disk") == 0
    assert len(list((tmp_path / "thumbnails").iterdir())) == number(seen, "thumbnails made") == 30


def test_texts_are_counted_by_a_task_that_fans_out_and_in():
    seen = shown("fan_out", "docs")

    in_order(
        seen, r"\d+ files of docs, each a task of its own, in .*; the parent ran 2 times", "the most common:"
    )


def test_a_report_is_put_on_a_schedule_and_triggered():
    seen = shown("nightly", "docs")

    in_order(
        seen,
        "nightly-report: 0 3 .* in Europe/Zurich, next at 20",
        "Triggered now",
        r"/docs: .* MB",
        "MB  reference",
    )


def test_a_folder_that_is_not_there_is_named():
    for example in ("folder", "fan_out", "nightly"):
        ended = subprocess.run(
            [sys.executable, REPOSITORY / "examples" / example / "run.py", "/no/such/folder"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (2, "error: /no/such/folder is no folder\n")
