"""What many ask for one by one goes to the writer together, and is answered each for itself."""

import asyncio

import pytest

from taskyard.core.errors import Invalid, Unavailable
from taskyard.http import gathering
from taskyard.http.gathering import Gathering


@pytest.fixture
def doubled(yard):
    """Runs items through a gathered move that doubles them; returns the answers, and the batches the move was run on."""

    def run(items, *, refusing=(), failing=()):
        batches = []

        def double(records, numbers):
            batches.append(list(numbers))
            for number in numbers:
                if number in failing:
                    raise failing[number]
            return [Invalid("odd") if number in refusing else 2 * number for number in numbers]

        async def story():
            gathered = Gathering(yard.store, double)
            return await asyncio.gather(*(gathered.one(item) for item in items), return_exceptions=True)

        return asyncio.run(story()), batches

    return run


def test_those_who_ask_in_the_same_turn_share_a_batch(doubled):
    assert doubled([1, 2, 3]) == ([2, 4, 6], [[1, 2, 3]])


def test_a_refusal_is_for_the_one_who_asked(doubled):
    [first, second, third], _ = doubled([1, 2, 3], refusing=[2])

    assert (first, third) == (2, 6)
    assert isinstance(second, Invalid)


def test_one_that_fails_does_no_harm_to_the_others(doubled):
    [first, second, third], batches = doubled([1, 2, 3], failing={2: ZeroDivisionError()})

    assert (first, third) == (2, 6)
    assert isinstance(second, ZeroDivisionError)
    assert batches[-3:] == [[1], [2], [3]]


def test_what_may_have_been_done_is_not_done_again(doubled):
    answers, batches = doubled([1, 2], failing={2: Unavailable("gone")})

    assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
    assert batches == [[1, 2]]


def test_a_batch_is_bounded(doubled, monkeypatch):
    monkeypatch.setattr(gathering, "MOST_ITEMS", 2)

    answers, batches = doubled([1, 2, 3])

    assert answers == [2, 4, 6]
    assert max(map(len, batches)) <= 3  # the writer may bring parts together again
    assert sorted(number for batch in batches for number in batch) == [1, 2, 3]
