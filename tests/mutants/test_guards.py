"""The list of guards cannot rot: each mutant still applies, is another program than ours, and names tests that exist."""

from pathlib import Path

import pytest

from tests.mutants.guards import GUARDS
from tests.mutants.run import ROOT, Tree, named_tests

EACH = pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name.replace(" ", "_"))


@EACH
def test_a_mutant_still_applies(guard):
    for edit in guard.edits:
        text = (ROOT / "src/taskyard" / edit.file).read_text()
        assert text.count(edit.old) == 1, f"{edit.file} has this {text.count(edit.old)} times: {edit.old!r}"
        assert edit.new not in ("", edit.old) or edit.old.strip()


@EACH
def test_the_tests_that_kill_a_mutant_are_there(guard):
    for test in guard.tests:
        file, _, name = test.partition("::")
        text = (ROOT / "tests" / file).read_text()
        assert not name or f"def {name.rpartition('::')[2]}(" in text


def test_guards_have_names_of_their_own():
    assert len({guard.name for guard in GUARDS}) == len(GUARDS) >= 25


def test_a_tree_is_as_before_when_a_mutant_has_left_it(tmp_path):
    tree = Tree(tmp_path / "tree")
    changed = [edit.file for guard in GUARDS for edit in guard.edits]
    before = _texts(tree.folder, changed)
    for guard in GUARDS:
        with tree.without(guard):
            assert _texts(tree.folder, changed) != before
        assert _texts(tree.folder, changed) == before


def _texts(folder: Path, files: list[str]) -> list[str]:
    return [(folder / "src/taskyard" / file).read_text() for file in files]


def test_all_tests_that_are_named_can_be_run_at_once():
    assert len(named_tests(GUARDS)) == len(set(named_tests(GUARDS)))
