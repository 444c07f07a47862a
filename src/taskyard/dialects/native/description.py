"""The OpenAPI document of the native API, made of the very table that answers."""

from typing import Any

from taskyard import __version__
from taskyard.dialects.native.refuse import Problem
from taskyard.dialects.native.routes import OPERATIONS
from taskyard.http.openapi import document


def described() -> dict[str, Any]:
    return document(
        OPERATIONS,
        title="Taskyard",
        version=__version__,
        description="Every piece of asynchronous work is one durable task.",
        prefix="/v1",
        problem=Problem,
    )
