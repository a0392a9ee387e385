"""The document of all routes, made from the routes themselves. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from screenerd.serve.endpoint import ARROW, JSON, Endpoint
from screenerd.serve.schemas import ErrorAnswer, schema_of

_ALWAYS = (422, 429)
_PARAMETER = re.compile(r"\{(\w+)(:\w+)?\}")


def document(endpoints: Sequence[Endpoint], version: str) -> dict[str, Any]:
    """OpenAPI 3.1 of these routes."""
    schemas: dict[str, Any] = {}
    _schema(ErrorAnswer, schemas)
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        path = _PARAMETER.sub(r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "screener",
            "version": version,
            "description": "What just began to move, and why. Times are ISO 8601, UTC; numbers "
            "that are not ready are null; errors carry a code, a text, and the field they lie in. "
            "Alerts as they come: the websocket `/ws/alerts` (see docs/api.md).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A JWT or an API key; not needed where the server says so.",
                }
            },
        },
    }


def _operation(endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.method.lower()}{re.sub(r'[^a-z]+', '_', endpoint.path.lower())}",
        "summary": endpoint.summary,
        "parameters": [
            *_path_parameters(endpoint),
            *_query_parameters(endpoint, schemas),
        ],
        "responses": _responses(endpoint, schemas),
    }
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {JSON: {"schema": _schema(endpoint.body, schemas)}},
        }
    if endpoint.scope is not None:
        operation["security"] = [{"token": []}, {}]
        operation["description"] = f"Where tokens are required: scope `{endpoint.scope}`."
    return operation


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1, "maxLength": 64},
            "example": endpoint.names.get(name, name),
        }
        for name, _ in _PARAMETER.findall(endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    if endpoint.query is None:
        return []
    model = schema_of(endpoint.query)
    schemas.update(model.pop("$defs", {}))
    required = set(model.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _not_null(schema)}
        for name, schema in model["properties"].items()
    ]


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is left out, never null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    rest = {key: value for key, value in schema.items() if key not in {"anyOf", "default"}}
    return {**rest, **kinds[0]}


def _responses(endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {endpoint.media: {"schema": {"type": "string"}}}
    if endpoint.answer is not None:
        content = {endpoint.media: {"schema": _schema(endpoint.answer, schemas)}}
    if endpoint.arrow:
        content[ARROW] = {"schema": {"type": "string", "format": "binary"}}
    responses: dict[str, Any] = {"200": {"description": "The answer.", "content": content}}
    statuses = {*_ALWAYS, *endpoint.errors, *((401, 403) if endpoint.scope else ())}
    if endpoint.body is not None:
        statuses |= {400, 413, 415}
    for status in sorted(statuses):
        model = endpoint.answer if status == 503 and endpoint.scope is None else ErrorAnswer
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {JSON: {"schema": _schema(model, schemas)}},
        }
    return responses


def _schema(model: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """A reference to a model's schema, which is put among the others."""
    if hasattr(model, "__args__"):  # list[...]
        return {"type": "array", "items": _schema(model.__args__[0], schemas)}
    schema = schema_of(model)
    schemas.update(schema.pop("$defs", {}))
    schemas[model.__name__] = schema
    return {"$ref": f"#/components/schemas/{model.__name__}"}
