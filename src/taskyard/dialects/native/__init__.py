"""The native API: every noun of a yard under ``/v1``, with problem documents for refusals."""

from taskyard.core.task import State
from taskyard.dialects.native.identify import identify
from taskyard.dialects.native.refuse import refuse
from taskyard.dialects.native.routes import paths
from taskyard.http.dialect import Dialect

dialect = Dialect(
    name="native",
    prefix="/v1",
    base="/v1",
    paths=paths,
    identify=identify,
    refuse=refuse,
    states={state: state.value for state in State},
)
