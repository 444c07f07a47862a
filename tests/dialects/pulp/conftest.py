import pytest

from tests.dialects.pulp.wire import Wire


@pytest.fixture
def wire(yard):
    wire = Wire(yard)
    wire.user("admin", "admin")
    return wire
