"""
Show that the guards have teeth: ``python -m tests.mutants.run`` takes each away in turn and runs the tests that must notice.

It copies the tree to a temporary folder, and leaves yours alone. First everything that kills a mutant must pass without one.
A mutant is killed when a test of its selection fails while fair weather still holds; one that survives is a test that is missing.

    python -m tests.mutants.run                  all of them
    python -m tests.mutants.run --only fence     those whose area or name has this word
    python -m tests.mutants.run --sample 12      some, others each time; --seed repeats them
"""

import argparse
import compileall
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from tests.mutants.guards import GUARDS, Guard

ROOT: Final = Path(__file__).parents[2]
FAIR_WEATHER: Final = "mutants/test_fair_weather.py"
#: A mutant that makes a test wait for what never comes is as dead after a while as after a minute.
LESS_PATIENCE: Final = {"TASKYARD_TEST_PATIENCE": "10"}
#: What hangs is not killed by a test: whoever reads its result would wait for ever.
PATIENCE_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class Verdict:
    """``killers`` are the tests that failed; ``trouble`` says why a mutant counts as not killed."""

    guard: Guard
    killers: tuple[str, ...]
    trouble: str | None
    seconds: float


class Tree:
    """A copy of this tree, for mutants to live in one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ours = shutil.ignore_patterns("__pycache__", "node_modules")
        for name in ("src", "tests"):
            shutil.copytree(ROOT / name, folder / name, ignore=ours)
        shutil.copy(ROOT / "pyproject.toml", folder)
        compileall.compile_dir(folder / "src", quiet=2)

    @contextmanager
    def without(self, guard: Guard) -> Iterator[None]:
        """Within: the tree without *guard*."""
        kept: dict[Path, str] = {}
        try:
            for edit in guard.edits:
                path = self.folder / "src/taskyard" / edit.file
                text = path.read_text()
                if text.count(edit.old) != 1:
                    raise ValueError(f"{edit.file} does not have this once: {edit.old!r}")
                kept.setdefault(path, text)
                self._write(path, text.replace(edit.old, edit.new))
            yield
        finally:
            for path, text in kept.items():
                self._write(path, text)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()  # a time to the second and a size do not tell a mutant from what it was made of

    def run(
        self, tests: Sequence[str], *, on_postgres: bool, extra: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, bool]]:
        """Run *tests*, on SQLite alone or on PostgreSQL too; return the exit code, and by test whether it passed."""
        report = self.folder / "report.xml"
        report.unlink(missing_ok=True)
        environment = {
            **os.environ,
            **(extra or {}),
            "PYTHONPATH": str(self.folder / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # those of our tools take longer to import than a selection to run
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
        if not on_postgres:
            command += ["-k", "not postgres"]
        done = subprocess.run(
            [*command, *(f"tests/{test}" for test in tests)],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        (self.folder / "said").write_text(done.stdout)
        return done.returncode, _passed(report)


def _passed(report: Path) -> dict[str, bool]:
    if not report.exists():
        return {}
    return {
        str(case.get("name")): case.find("failure") is None and case.find("error") is None
        for case in ElementTree.parse(report).iter("testcase")
        if case.find("skipped") is None
    }


def named_tests(guards: Sequence[Guard]) -> list[str]:
    """Return the tests that kill *guards*, each once, and none beside the file that it is in."""
    named = list(dict.fromkeys(test for guard in guards for test in guard.tests))
    return [test for test in named if "::" not in test or test.partition("::")[0] not in named]


def judge(tree: Tree, guard: Guard) -> Verdict:
    began = time.monotonic()
    killers: tuple[str, ...] = ()
    trouble = None
    try:
        with tree.without(guard):
            code, passed = tree.run(
                [*guard.tests, FAIR_WEATHER], on_postgres=guard.on_postgres, extra=LESS_PATIENCE
            )
    except subprocess.TimeoutExpired:
        trouble = f"no answer within {PATIENCE_SECONDS} s"
    else:
        killers = tuple(name for name, good in passed.items() if not good)
        if code not in (0, 1):
            trouble = f"pytest ended with {code}: {_last_line(tree)}"
        elif any("in_fair_weather" in killer for killer in killers):
            trouble = "broken, also in fair weather"
        elif not killers:
            trouble = "SURVIVED"
    return Verdict(guard, killers, trouble, time.monotonic() - began)


def _last_line(tree: Tree) -> str:
    return ((tree.folder / "said").read_text().strip().splitlines() or [""])[-1]


def judge_all(guards: Sequence[Guard], jobs: int) -> list[Verdict]:
    """Judge *guards*, in *jobs* trees at a time, each by the thread that made it; print each verdict as it falls."""
    todo: queue.SimpleQueue[Guard] = queue.SimpleQueue()
    for guard in guards:
        todo.put(guard)
    verdicts: list[Verdict] = []
    printing = threading.Lock()

    def work(folder: Path) -> None:
        tree = Tree(folder)
        while True:
            try:
                guard = todo.get_nowait()
            except queue.Empty:
                return
            verdict = judge(tree, guard)
            with printing:
                verdicts.append(verdict)
                print(_line(verdict), flush=True)

    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        threads = [
            threading.Thread(target=work, args=(Path(folder) / str(number),)) for number in range(jobs)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return verdicts


def _line(verdict: Verdict) -> str:
    guard = verdict.guard
    fate = verdict.trouble or _short(verdict.killers)
    mark = "!!" if verdict.trouble else "ok"
    return f"{mark}  {guard.area:<9}  {guard.name:<66.66}  {verdict.seconds:5.1f} s  {fate}"


def _short(killers: Sequence[str]) -> str:
    more = f" and {len(killers) - 1} more" if len(killers) > 1 else ""
    return killers[0] + more


def chosen(options: argparse.Namespace) -> list[Guard]:
    guards = [
        guard
        for guard in GUARDS
        if not options.only or options.only in guard.area or options.only in guard.name
    ]
    if options.sample and options.sample < len(guards):
        guards = sorted(random.Random(options.seed).sample(guards, options.sample), key=GUARDS.index)
    return guards


def pass_without_a_mutant(guards: Sequence[Guard]) -> bool:
    """Say whether all that kills a mutant passes where there is none, on the engine that it is run on."""
    began, count = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Tree(Path(folder) / "tree")
        for on_postgres in (False, True):
            some = [guard for guard in guards if guard.on_postgres is on_postgres]
            if not some:
                continue
            code, passed = tree.run([*named_tests(some), FAIR_WEATHER], on_postgres=on_postgres)
            count += len(passed)
            if code:
                print((tree.folder / "said").read_text())
                return False
    print(f"without a mutant: {count} tests pass, {time.monotonic() - began:.1f} s", flush=True)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description="Take each guard away and see that the tests notice.")
    parser.add_argument("--only", default="", help="only guards whose area or name has this word")
    parser.add_argument("--sample", type=int, help="only so many, chosen at random")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="what to choose them by")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1), help="mutants at a time")
    options = parser.parse_args()
    guards = chosen(options)
    if not guards:
        parser.error(f"no guard is called {options.only!r}")
    if options.sample:
        print(f"{len(guards)} of {len(GUARDS)} guards, by --seed {options.seed}")
    began = time.monotonic()
    if not pass_without_a_mutant(guards):
        print("the tests must pass before a mutant is made")
        return 2
    verdicts = judge_all(guards, options.jobs)
    alive = [verdict for verdict in verdicts if verdict.trouble]
    seconds = time.monotonic() - began
    print(f"{len(verdicts) - len(alive)} of {len(verdicts)} mutants killed, {seconds:.0f} s")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
