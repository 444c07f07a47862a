"""The NICo REST dialect: racks and trays of sites, the rules they are operated by, and the tasks that operate them."""

from functools import partial

from taskyard.dialects.nico.identify import identify
from taskyard.dialects.nico.refuse import refuse
from taskyard.dialects.nico.render import STATES
from taskyard.dialects.nico.routes import paths
from taskyard.http.dialect import Dialect


def speaking(api: str) -> Dialect:
    """Return the dialect under another API name than ``nico``: it stands in every path and in every error's ``source``."""
    return Dialect(
        name="nico",
        prefix="/nico",
        paths=partial(paths, api),
        identify=identify,
        refuse=partial(refuse, api),
        states=STATES,
    )


dialect = speaking("nico")
