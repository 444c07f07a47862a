"""What every mutant still does: with a guard gone the engine works, as long as nothing goes wrong."""

from taskyard.core.outcome import Done


def test_in_fair_weather_a_task_is_submitted_claimed_and_settled(yard):
    yard.submit(input={"size": 3})
    [task] = yard.worker().claim()

    done = yard.settle(task, Done({"width": 3}))

    assert (task.input, done.state, done.output) == ({"size": 3}, "succeeded", {"width": 3})
