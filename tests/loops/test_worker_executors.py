"""The computing may be done elsewhere: by any executor, a Dask cluster's among them."""

import pytest

from taskyard import Yard
from tests.chaos import handlers
from tests.working import ended


def test_a_dask_cluster_does_the_computing(program: Yard) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        executor = client.get_executor()
        program.task("who", executor=executor)(handlers.who)
        program.task("lookup", executor=executor, no_retry=(LookupError,))(handlers.lookup)
        program.task("bad_step", executor=executor, max_failures=1)(handlers.bad_step)
        with program.working():
            tasks = {type: program.submit(type) for type in ("who", "lookup", "bad_step")}
            tasks = {type: ended(program, task) for type, task in tasks.items()}
    assert tasks["who"].output["id"] == tasks["who"].id
    assert (tasks["lookup"].state, tasks["lookup"].failures) == ("failed", 1)
    assert "it can only return" in tasks["bad_step"].error.message
