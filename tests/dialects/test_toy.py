"""Adding a wire is adding one folder of the same five files, and a short one."""

from pathlib import Path

import taskyard.dialects

TOY = Path(__file__).parent / "toy"
FILES = ("__init__", "identify", "parse", "refuse", "render", "routes")
MOST_LINES = 150


def test_a_whole_dialect_is_one_folder_of_less_than_150_lines():
    files = {path for path in TOY.glob("*.py") if path.stem != "sample"}

    assert {path.stem for path in files} == set(FILES)
    assert sum(len(path.read_text().splitlines()) for path in files) < MOST_LINES


def test_every_dialect_has_the_same_files():
    for folder in Path(next(iter(taskyard.dialects.__path__))).iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            modules = {path.stem for path in folder.iterdir()}
            assert set(FILES) <= modules, f"{folder.name} lacks {set(FILES) - modules}"
