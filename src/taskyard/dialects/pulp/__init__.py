"""Pulp v1, appendix A.20: tasks under trailing slashes, recurring ones under one id, snapshots and jobs."""

from taskyard.dialects.pulp.identify import identify
from taskyard.dialects.pulp.refuse import refuse
from taskyard.dialects.pulp.render import STATES
from taskyard.dialects.pulp.routes import paths
from taskyard.http.dialect import Dialect

dialect = Dialect(
    name="pulp",
    prefix="/pulp/api",
    base="/pulp/api",
    paths=paths,
    identify=identify,
    refuse=refuse,
    states=STATES,
)
