import pytest

from tests.dialects.ricloud.wire import Wire


@pytest.fixture
def wire(yard, tmp_path):
    return Wire(yard, tmp_path / "results")
