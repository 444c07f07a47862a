"""The page on states says what the code does."""

from taskyard.core.task import State
from tests.docs.states import PAGE, page


def test_the_page_on_states_is_made_of_the_code():
    assert PAGE.read_text() == page(), "make it anew: python -m tests.docs.states"


def test_every_state_is_on_it():
    assert all(state.value in PAGE.read_text() for state in State)
