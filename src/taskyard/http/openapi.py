"""OpenAPI 3.1, made of the very table that answers."""

import inspect
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final, get_args, get_origin

import msgspec
from msgspec.structs import fields as struct_fields

from taskyard.http.operation import Operation

_NAME: Final = re.compile(r"\{(\w+)(?::(\w+))?\}")
_TEMPLATE: Final = "#/components/schemas/{name}"
#: What every operation with a key may refuse with.
_ALWAYS: Final = (400, 401, 403, 429, 500, 503)


def document(
    operations: Sequence[Operation],
    *,
    title: str,
    version: str,
    description: str,
    prefix: str,
    problem: type[Any],
) -> dict[str, Any]:
    """
    Return the OpenAPI document of *operations*.

    Args:
        prefix: What every path begins with.
        problem: The shape of every refusal.
    """
    shapes = [
        problem,
        *(shape for each in operations for shape in (each.body, *each.answers.values()) if shape is not None),
    ]
    shapes = [shape for shape in dict.fromkeys(shapes) if shape is not bytes]
    schemas, components = msgspec.json.schema_components(shapes, ref_template=_TEMPLATE)
    schema_of = dict(zip(shapes, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = paths.setdefault(prefix + _NAME.sub(r"{\1}", operation.pattern), {})
        path[operation.method.lower()] = _described(operation, schema_of, problem)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _described(operation: Operation, schema_of: dict[Any, Any], problem: type[Any]) -> dict[str, Any]:
    summary, _, rest = inspect.cleandoc(operation.endpoint.__doc__ or "").partition("\n")
    described: dict[str, Any] = {
        "operationId": operation.endpoint.__name__,
        "summary": summary.strip(),
        "tags": [operation.tag],
    }
    if rest.strip():
        described["description"] = rest.strip()
    parameters = [*_in_path(operation.pattern), *_in_query(operation), *_in_headers(operation)]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema_of[operation.body]}},
        }
    if operation.public:
        described["security"] = []
    described["responses"] = _answers(operation, schema_of, problem)
    return described


def _in_path(pattern: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer", "minimum": 0}
            if kind == "int"
            else {"type": "string", "minLength": 1},
        }
        for name, kind in _NAME.findall(pattern)
    ]


def _in_query(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    schema = msgspec.json.schema(operation.query)
    properties = schema["$defs"][operation.query.__name__]["properties"]
    parameters = []
    for each in struct_fields(operation.query):
        shown = dict(properties[each.encode_name])
        shown.pop("default", None)
        parameter: dict[str, Any] = {"name": each.encode_name, "in": "query", "schema": _without_null(shown)}
        if "description" in parameter["schema"]:
            parameter["description"] = parameter["schema"].pop("description")
        if any(get_origin(part) is list for part in (each.type, *get_args(each.type))):
            parameter |= {"style": "form", "explode": False}
        parameters.append(parameter)
    return parameters


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is not given is left out, never null."""
    kept = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(kept) == 1:
        return {**{name: value for name, value in schema.items() if name != "anyOf"}, **kept[0]}
    return schema


def _in_headers(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "schema": {"type": "string"}, "description": meaning}
        for name, meaning in operation.headers.items()
    ]


def _answers(operation: Operation, schema_of: dict[Any, Any], problem: type[Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, shape in operation.answers.items():
        response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if shape is bytes:
            response["content"] = {"text/plain": {"schema": {"type": "string"}}}
        elif shape is not None:
            response["content"] = {"application/json": {"schema": schema_of[shape]}}
        if operation.streams:
            response["content"]["text/event-stream"] = {"schema": {"type": "string"}}
        responses[str(status)] = response
    always = () if operation.public else _ALWAYS
    with_body = (413, 422) if operation.body is not None else ()
    in_path = (404,) if "{" in operation.pattern else ()
    for status in sorted({*always, *with_body, *in_path, *operation.refusals}):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {"application/problem+json": {"schema": schema_of[problem]}},
        }
    return responses
