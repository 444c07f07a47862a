"""What the inventory expects, beside what was last seen."""

import uuid

import pytest


def seen(wire, name, **what):
    wire.yard.write(wire.yard.services.sites.observe, wire.site, {wire.trays[name]: what})


def counts(wire, path, **query):
    body = wire.get(path, **query).json()
    return {name: body[name] for name in body if name != "diffs"}, body["diffs"]


def test_a_site_of_which_nothing_else_was_seen_is_as_it_should_be(wire):
    assert counts(wire, "/rack/validation") == (
        {"totalDiffs": 0, "missingCount": 0, "unexpectedCount": 0, "mismatchCount": 0, "matchCount": 5},
        [],
    )


def test_what_is_gone_and_what_is_another_is_told(wire):
    seen(wire, "compute-1", present=False)
    seen(wire, "compute-2", component="fm-7", serial="S-9")

    found, [gone, other] = counts(wire, f"/rack/{wire.rack}/validation")

    assert found == {
        "totalDiffs": 2, "missingCount": 1, "unexpectedCount": 0, "mismatchCount": 1, "matchCount": 2,
    }  # fmt: skip
    assert (gone["type"], gone["id"], "actual" in gone) == ("Missing", wire.trays["compute-1"], False)
    assert (other["type"], other["expected"]["componentId"], other["actual"]["componentId"]) == (
        "Mismatch",
        "fm-2",
        "fm-7",
    )
    [field] = other["fieldDiffs"]  # no serial number is expected of it
    assert field == {"fieldName": "componentId", "expectedValue": "fm-2", "actualValue": "fm-7"}


def test_racks_and_trays_are_chosen_as_in_their_lists(wire):
    def compared(path, **query):
        return counts(wire, path, **query)[0]["matchCount"]

    assert (
        compared("/rack/validation", name="Rack-02") == compared("/rack/validation", manufacturer="Acer") == 1
    )
    assert compared("/tray/validation") == 5
    assert compared("/tray/validation", type="Compute") == 3
    assert compared("/tray/validation", rackName="Rack-01", slotId="1") == 1
    assert compared("/tray/validation", name="switch-1") == 1
    assert compared("/tray/validation", manufacturer="Nobody") == 0
    assert compared(f"/tray/{wire.tray}/validation") == 1


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/rack/validation", {"colour": "red"}, 400),
        ("/tray/validation", {"slotId": "1"}, 400),
        ("/rack/nope/validation", {}, 400),
        ("/tray/nope/validation", {}, 400),
        (f"/rack/{uuid.uuid4()}/validation", {}, 404),
        (f"/tray/{uuid.uuid4()}/validation", {}, 404),
        ("/rack/validation", {"siteId": "x"}, 400),
        ("/rack/validation", {"siteId": ""}, 400),
    ],
)
def test_what_cannot_be_compared_is_refused(wire, path, query, status):
    answer = wire.get(path, **query)
    assert answer.status_code == status
    assert answer.json().keys() == {"source", "message", "data"}
