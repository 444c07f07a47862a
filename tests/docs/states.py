"""Writes docs/reference/states.md from the code: ``python -m tests.docs.states``."""

from importlib import import_module
from pathlib import Path

from taskyard.app import DIALECTS
from taskyard.core.task import MOVES, Reason, State

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "states.md"

HEAD = """# States and moves

This page is made from the code by `python -m tests.docs.states`; a test compares the two.

`scheduled`, `ready`, `suspended` and `running` are open; `succeeded`, `failed` and `canceled` are final. Why a task is in its state
stands in its `reason`: {reasons}.
"""


def page() -> str:
    return "\n".join([HEAD.format(reasons=_reasons()), *_diagram(), "", *_moves(), "", *_words(), ""])


def _reasons() -> str:
    return ", ".join(f"`{reason.value}`" for reason in Reason)


def _diagram() -> list[str]:
    lines = ["```mermaid", "stateDiagram-v2"]
    for name, move in MOVES.items():
        for before in sorted(move.leaves) or ["[*]"]:
            lines += [f"    {before} --> {after}: {name}" for after in sorted(move.enters)]
    return [*lines, "```"]


def _moves() -> list[str]:
    rows = [
        f"| {name} | {_list(move.leaves) or '(a new task)'} | {_list(move.enters)} |"
        for name, move in MOVES.items()
    ]
    return ["## The moves", "", "| move | leaves | enters |", "|---|---|---|", *rows]


def _words() -> list[str]:
    names = ["native", *DIALECTS]
    words = {name: import_module(f"taskyard.dialects.{name}").dialect.states for name in names}
    rows = [f"| {' | '.join(words[name][state] for name in names)} |" for state in State]
    return ["## The word of each dialect", "", f"| {' | '.join(names)} |", "|---" * len(names) + "|", *rows]


def _list(states: frozenset[State]) -> str:
    return ", ".join(sorted(states))


if __name__ == "__main__":
    PAGE.write_text(page())
