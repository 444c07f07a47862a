from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.served import Served, serving


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that runs the tests' yard; tests share it, so each looks at its own tasks alone."""
    folder: Path = tmp_path_factory.mktemp("served")
    with serving(folder, "yard:yard") as server:
        yield server
