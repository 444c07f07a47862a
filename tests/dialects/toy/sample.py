"""The toy, for the suite of every dialect."""

from collections.abc import Iterator

from taskyard.core.actor import ALL, Actor
from tests.conftest import Yard
from tests.dialects.shared import Place, Sample, Wire


def key(yard: Yard, organisation: int) -> dict[str, str]:
    admin = Actor(organisation=organisation, identity="system", permissions=ALL)
    return {"X-Toy-Key": yard.write(yard.services.accounts.create_key, admin, "toy").secret}


def walk(wire: Wire) -> Iterator[list[int]]:
    last = 0
    while page := wire.ask("GET", f"/plays?most=2&after={last}").json():
        yield [each["number"] for each in page]
        last = page[-1]["number"]


sample = Sample(
    furnish=lambda yard: Place(
        credentials=key(yard, yard.organisation),
        stranger=key(yard, yard.other_organisation("not-toy").organisation),
    ),
    wrong=({"X-Toy-Key": "ty_wrong"}, {"X-Toy-Key": "é"}, {"X-Toy-Key": ""}),
    is_error=lambda body, status: body.keys() == {"oops"} and bool(body["oops"]),
    sees_all=True,
    look=lambda wire, task: wire.ask("GET", f"/plays/{task.number}").json()["is"],
    walk=walk,
    id_of=lambda task: task.number,
    lists=lambda place: "/plays",
    parameters=("after", "most"),
    bodies=lambda place: (("POST", "/plays", {"do": "chess", "to": {"white": "ana"}}),),
    theirs=lambda wire, task: (("GET", f"/plays/{task.number}", None),),
)
