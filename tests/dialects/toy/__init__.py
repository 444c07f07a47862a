"""A wire that is made up: what it takes to add one. Tasks by number, in lines of three words."""

from taskyard.http.dialect import Dialect
from tests.dialects.toy.identify import identify
from tests.dialects.toy.refuse import refuse
from tests.dialects.toy.render import STATES
from tests.dialects.toy.routes import paths

dialect = Dialect(name="toy", prefix="/toy", paths=paths, identify=identify, refuse=refuse, states=STATES)
