"""The OpenAPI document is made of the code, lies beside the docs, and tells the truth."""

import asyncio
import json
from pathlib import Path

import httpx
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from taskyard.app import openapi
from taskyard.dialects.native import dialect
from taskyard.dialects.native.description import described
from taskyard.http.backend import Backend
from taskyard.http.dialect import application
from tests.conftest import new_id
from tests.http.wire import Wire

COMMITTED = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"


def test_the_committed_document_is_what_the_server_serves():
    """Made anew by scripts/describe."""
    assert COMMITTED.read_bytes() == openapi()


def test_every_operation_says_what_it_does():
    for path, methods in described()["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"].endswith("."), (path, method)


schema = schemathesis.openapi.from_dict(described())


@schema.parametrize()
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_whatever_is_asked_is_answered_as_described(case, api):
    response = api(case)
    case.validate_response(
        response,
        checks=[
            schemathesis.checks.not_a_server_error,
            schemathesis.specs.openapi.checks.status_code_conformance,
            schemathesis.specs.openapi.checks.content_type_conformance,
            schemathesis.specs.openapi.checks.response_schema_conformance,
        ],
    )


@pytest.fixture(params=["sqlite"])
def database(request, tmp_path, clock):
    from taskyard.store.sqlite import SqliteDatabase

    database = SqliteDatabase(tmp_path / "yard.db", clock)
    database.migrate()
    return database


@pytest.fixture
def api(yard):
    """Answers schemathesis' cases by the application, in this process; what would wait is not waited for."""
    wire = Wire(yard)
    yard.submit(key="k")

    def answer(case):
        kwargs = case.as_transport_kwargs(base_url="http://yard")
        query = [
            (name, value)
            for name, value in httpx.QueryParams(kwargs.get("params")).multi_items()
            if name != "wait"
        ]
        body = kwargs.get("json")
        if isinstance(body, dict) and "wait" in body and isinstance(body["wait"], int | float):
            body["wait"] = 0
        headers = {
            name: value for name, value in (kwargs.get("headers") or {}).items() if name.lower() != "prefer"
        }
        headers["Authorization"] = f"Bearer {wire.secret}"

        async def once():
            backend = Backend(store=yard.store, services=yard.services, new_id=new_id)
            transport = httpx.ASGITransport(application(dialect, backend, at="/v1"))
            async with httpx.AsyncClient(transport=transport, base_url="http://yard") as client:
                answered = await client.request(
                    kwargs["method"],
                    kwargs["url"],
                    params=httpx.QueryParams(query),
                    headers=headers,
                    content=json.dumps(body).encode() if "json" in kwargs else kwargs.get("data"),
                )
            await backend.close()
            return answered

        return schemathesis.Response.from_httpx(asyncio.run(once()), verify=False)

    return answer


def test_the_document_is_valid_json_with_every_path():
    assert msgspec.json.decode(openapi())["openapi"] == "3.1.0"
