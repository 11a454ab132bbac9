"""The OpenAPI document is what the server does: asked at random, it answers as it says there."""

import re
from collections import Counter
from typing import get_args

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks

from nas.client.models import API
from nas.spec import OBJECTIVES
from services.controller.routes.analysis import Objective
from tests.services.controller.conftest import Server

load_all_checks()
LEFT_OUT = {
    "positive_data_acceptance",  # a spec, a candidate, a page token have rules that no JSON schema can say
    "max_response_time",  # machines differ
}


def test_answers_are_as_documented(filled: Server) -> None:
    """Half of what is asked is asked of a search that is there."""
    document = schemathesis.openapi.from_asgi("/openapi.json", filled.http.app, headers={"Host": "localhost"})
    checks = [CHECKS.get_one(name) for name in CHECKS.get_all_names() if name not in LEFT_OUT]
    answers: Counter[int] = Counter()
    for found in document.get_all_operations():
        operation = found.ok()

        @settings(max_examples=12, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
        @given(case=operation.as_strategy(), there=st.booleans(), number=st.integers(0, 7))
        def check(case: schemathesis.Case, there: bool, number: int) -> None:
            if there and "search_id" in case.path_parameters:
                case.path_parameters["search_id"] = filled.id
            if there and "number" in case.path_parameters:
                case.path_parameters["number"] = number
            answers[case.call_and_validate(headers={"Host": "localhost"}, checks=checks).status_code] += 1

        check()
    assert answers[200] > 50 and not any(status >= 500 for status in answers), answers


def test_the_page_of_it_needs_no_network(server: Server) -> None:
    page = server.http.get("/docs")
    paths = server.http.get("/openapi.json").json()["paths"]
    assert page.status_code == 200 and page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert all(f"<code>{path}</code>" in page.text for path in paths)
    assert re.findall(r"(?:src|href)=[\"'](?!#|/openapi)", page.text) == [] and "<script" not in page.text
    assert "&#34;total&#34;: {&#34;compute&#34;: &#34;20TFLOP&#34;}" in page.text, "with examples"


def test_objectives_are_those_of_specs() -> None:
    assert get_args(Objective) == OBJECTIVES


def test_every_operation_says_what_it_does(server: Server) -> None:
    document = server.http.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, own in operations.items():
            assert own.get("description") or own["summary"], f"{method} {path}"
            if path.startswith(API):
                assert "application/problem+json" in own["responses"]["422"]["content"], f"{method} {path}"
    assert "HTTPValidationError" not in document["components"]["schemas"]
