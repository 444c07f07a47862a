"""ricloud v3: users' sources, the sessions and polls that fetch from them, and their tasks and results."""

from taskyard.dialects.ricloud.identify import identify
from taskyard.dialects.ricloud.refuse import refuse
from taskyard.dialects.ricloud.render import STATES
from taskyard.dialects.ricloud.routes import paths
from taskyard.http.dialect import Dialect

dialect = Dialect(
    name="ricloud",
    prefix="/ricloud",
    paths=paths,
    identify=identify,
    refuse=refuse,
    states=STATES,
)
