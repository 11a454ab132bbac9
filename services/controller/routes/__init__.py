"""The REST API by resources. Routes are thin: who asks, what the core or the store says, under which names."""

from typing import Any

from nas.client.models import Problem


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the OpenAPI document: problem documents of these kinds, and of those that every route may give."""
    every = (400, 401, 403, 422, 429, 500, 503)
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"model": Problem, "content": content} for status in (*every, *statuses)}
