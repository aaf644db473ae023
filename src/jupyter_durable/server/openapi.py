"""The OpenAPI document, made of the operations and the types of what they take and give."""

from __future__ import annotations

import re
from typing import Any

from pydantic import TypeAdapter

from jupyter_durable.server.routes import OPERATIONS, PARAMETERS, PREFIX, Operation
from jupyter_durable.server.shapes import IN, OUT

REFS = "#/components/schemas/{model}"
_MEANS = {
    400: "Malformed: not JSON, or not of this form.",
    401: "The token is missing or wrong.",
    403: "Not allowed: by the authorizer, or the XSRF token is missing.",
    404: "There is no such run or step.",
    405: "Not with this verb.",
    409: "Somebody else decided first (`decided_by`), or another process advances the run.",
    413: "Too large.",
    422: "It does not fit what is there; `hint` says what would.",
    503: "The store cannot be read.",
}


def schemas() -> dict[str, Any]:
    """The JSON schemas of all shapes, by name."""
    kinds: list[Any] = [(name, "serialization", TypeAdapter(shape)) for name, shape in OUT.items()]
    kinds += [(name, "validation", TypeAdapter(shape)) for name, shape in IN.items()]
    _, found = TypeAdapter.json_schemas(kinds, ref_template=REFS)
    return dict(found.get("$defs", {}))


def document(base: str = "/") -> dict[str, Any]:
    """The document for a server at that base URL.

    >>> sorted(document()["paths"])[0]
    '/jupyter-durable/runs'
    """
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        path = paths.setdefault(f"/{PREFIX}/{operation.path}", {})
        path[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "jupyter-durable",
            "version": "1",
            "description": "Runs of durable cells, as the Jupyter server that serves the notebooks knows them. "
            f"Live changes: the WebSocket `{base}{PREFIX}/events`.",
        },
        "servers": [{"url": base.rstrip("/") or "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "Authorization"}},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^({PARAMETERS[name]})$"},
        }
        for name in re.findall(r"\{(\w+)\}", operation.path)
    ]
    query = operation.query.model_json_schema()
    for name, schema in query.get("properties", {}).items():
        parameters.append(
            {
                "name": name,
                "in": "query",
                "required": name in query.get("required", ()),
                "schema": _plain(schema, query.get("$defs", {})),
            }
        )
    answers: dict[str, Any] = {
        "200": {
            "description": "Done.",
            "content": {"application/json": {"schema": {"$ref": REFS.format(model=operation.answer)}}}
            if operation.answer
            else {"text/html": {}, "application/json": {}},
        }
    }
    usual = {400, 401, 403, 404, 503} if operation.method == "GET" else {400, 401, 403, 404, 413, 503}
    for status in sorted({*usual, *operation.faults}):
        answers[str(status)] = {
            "description": _MEANS[status],
            "content": {"application/json": {"schema": {"$ref": REFS.format(model="Fault")}}},
        }
    made: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.says,
        "parameters": parameters,
        "responses": answers,
    }
    if operation.body is not None:
        schema = {"$ref": REFS.format(model=operation.body.__name__)}
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return made


def _plain(schema: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    """A query parameter is there or not, and never `null`."""
    some = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    found = {**some[0]} if some else {k: v for k, v in schema.items() if k != "default"}
    return {**found, "title": schema.get("title", "")}
