import pytest

from tests.http.wire import Wire


@pytest.fixture
def wire(yard):
    return Wire(yard)
