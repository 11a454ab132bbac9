"""The API's documentation as a page: made from the OpenAPI document, without scripts and without a network."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from dashboards.templating import environment

router = APIRouter(include_in_schema=False)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


LEAST: Mapping[str, Any] = {"string": "...", "integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}
"""A value of each type."""


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    place: str
    kind: str
    about: str


@dataclass(frozen=True, slots=True)
class Operation:
    """``example`` is a command that can be typed; ``answers`` are pairs of status and meaning."""

    method: str
    path: str
    about: str
    parameters: tuple[Parameter, ...]
    example: str
    answers: tuple[tuple[str, str], ...]


@router.get("/docs", response_class=HTMLResponse)
def docs(request: Request) -> HTMLResponse:
    document = request.app.openapi()
    tags: dict[str, list[Operation]] = {}
    for tag, own in _operations(document, str(request.base_url).rstrip("/")):
        tags.setdefault(tag, []).append(own)
    info = document["info"]
    page = (
        environment("services.controller")
        .get_template("docs.html.j2")
        .render(title=info["title"], version=info["version"], about=info["description"], tags=tags)
    )
    return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})


def _operations(document: Mapping[str, Any], server: str) -> Iterator[tuple[str, Operation]]:
    for path, methods in document["paths"].items():
        for method, raw in methods.items():
            yield (
                raw["tags"][0],
                Operation(
                    method=method.upper(),
                    path=path,
                    about=raw.get("description") or raw["summary"],
                    parameters=tuple(_parameter(own) for own in raw.get("parameters", ())),
                    example=_example(method, server + path, raw, document),
                    answers=tuple((status, _meaning(status, own)) for status, own in sorted(raw["responses"].items())),
                ),
            )


def _parameter(raw: Mapping[str, Any]) -> Parameter:
    return Parameter(raw["name"], raw["in"], _kind(raw["schema"]), raw.get("description", ""))


def _kind(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_kind(own) for own in schema["anyOf"] if own.get("type") != "null")
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"several: {_kind(schema['items'])}"
    return str(schema.get("type") or schema.get("$ref", "any").rpartition("/")[2])


def _example(method: str, url: str, raw: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """By curl."""
    lines = [f"curl -X {method.upper()} '{url}'" if method != "get" else f"curl '{url}'"]
    content = raw.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        body = _sample(content["application/json"]["schema"], document)
        lines += ["-H 'Content-Type: application/json'", f"-d '{json.dumps(body)}'"]
    elif "multipart/form-data" in content:
        lines += ["-F name=novels", "-F train=@emma.txt"]
    return " \\\n  ".join(lines)


def _sample(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Any:
    """What a schema shows as its example, or the least that it takes."""
    if "$ref" in schema:
        return _sample(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    if schema.get("examples"):
        return schema["examples"][0]
    if "anyOf" in schema:
        return _sample(schema["anyOf"][0], document)
    if "properties" in schema:
        required = schema.get("required") or list(schema["properties"])[:1]
        return {name: _sample(schema["properties"][name], document) for name in required}
    if "default" in schema or "enum" in schema:
        return schema.get("default", schema.get("enum", [None])[0])
    return LEAST.get(str(schema.get("type")))


def _meaning(status: str, raw: Mapping[str, Any]) -> str:
    said = str(raw.get("description", ""))
    return said.lower() if said and said != "Successful Response" else HTTPStatus(int(status)).phrase.lower()
