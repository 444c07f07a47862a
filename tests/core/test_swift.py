"""What is made swiftly is what would have been made."""

import pickle
from copy import copy
from dataclasses import FrozenInstanceError, dataclass, fields, replace

import pytest

from taskyard.core.swift import maker
from taskyard.core.task import Moved, Task


@pytest.mark.parametrize("record", [Task, Moved])
def test_a_record_that_is_made_swiftly_is_like_any_other(record):
    values = {field.name: f"the {field.name}" for field in fields(record)}

    made = maker(record)(*values.values())

    assert type(made) is record
    assert made == record(**values)
    assert replace(made, id="another") == record(**{**values, "id": "another"})
    with pytest.raises(FrozenInstanceError):
        made.id = "another"


def test_a_task_that_is_sent_to_another_process_is_the_same_there():
    task = Task(**{field.name: f"the {field.name}" for field in fields(Task)})

    assert pickle.loads(pickle.dumps(task)) == task
    assert copy(task) == task


def test_a_value_too_few_or_too_many_is_refused():
    @dataclass(frozen=True, slots=True)
    class Place:
        x: int
        y: int

    for values in ((1,), (1, 2, 3)):
        with pytest.raises(TypeError):
            maker(Place)(*values)
