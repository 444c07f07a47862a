"""Human Lambdas: queues of blocks that people fill, created and collected by API key."""

from taskyard.dialects.human_lambdas.headers import OnEveryAnswer
from taskyard.dialects.human_lambdas.identify import identify
from taskyard.dialects.human_lambdas.letter import letter
from taskyard.dialects.human_lambdas.refuse import refuse
from taskyard.dialects.human_lambdas.render import STATES
from taskyard.dialects.human_lambdas.routes import paths
from taskyard.http.dialect import Dialect

dialect = Dialect(
    name="human_lambdas",
    prefix="/human_lambdas",
    paths=paths,
    identify=identify,
    refuse=refuse,
    states=STATES,
    letter=letter,
    around=OnEveryAnswer,
)
