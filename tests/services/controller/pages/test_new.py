"""The form of a new search, and the same as YAML."""

import json
import re
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest

from dashboards.specs import read_yaml, written
from nas.client.models import CSRF_HEADER, IDEMPOTENCY_HEADER
from nas.spec import LOSS, SearchSpec, parse_spec
from services.controller.pages.new import FIELDS, NUMBERS
from services.controller.pages.presets import PRESETS
from tests.services.controller.conftest import SPEC, Server

HOSTILE = '"></textarea></script><script>alert(1)</script>'
TEXTS = {"train": ("a.txt", b"some text\n" * 100)}


def told(page: Any) -> Any:
    """What the page tells its module."""
    found = re.search(r'<script type="application/json" id="told">(.*?)</script>', page.text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def value(page: Any, field: str) -> str:
    """What a field shows."""
    found = re.search(rf'<input [^>]*name="{re.escape(field)}" value="([^"]*)"', page.text)
    assert found is not None, field
    return unescape(found[1])


def chosen(page: Any, field: str) -> str:
    select = re.search(rf'<select [^>]*name="{re.escape(field)}".*?</select>', page.text, re.DOTALL)
    assert select is not None, field
    return unescape(re.findall(r'<option value="([^"]*)" selected>', select[0])[0])


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_taken(server: Server, preset: str) -> None:
    """As they are, but for one that needs a corpus of its own; that is said beside the corpus."""
    page = server.http.get(f"/new?preset={preset}")
    spec = told(page)["spec"]
    assert page.status_code == 200 and spec == PRESETS[preset].spec and told(page)["preset"] == preset
    assert f'href="/new?preset={preset}" aria-current="true"' in page.text
    answer = server.post("/searches", json={"spec": spec}, params={"validate_only": True})
    if preset == "night":
        assert (answer.status_code, answer.json()["field"]) == (422, "corpus")
        spec = spec | {"corpus": "austen"}
        answer = server.post("/searches", json={"spec": spec}, params={"validate_only": True})
    assert answer.status_code == 200, answer.text


def test_every_field_of_a_spec_is_in_the_form(server: Server) -> None:
    full = {
        **SPEC,
        "budget": {"total": {"compute": 10**13, "time": 1e4, "candidates": 3}, "final": 0.25,
                   "candidate": {"compute": 10**11, "time": 9.0, "memory": 2**30}},
        "limits": {"params": 10**6, "flops_per_byte": 10**6, "kv_bytes_per_byte": 100, "weight_bytes": 10**7,
                   "peak_memory": 2**30, "train_seconds": 60.0, "latency_ms_per_kb": 5.5},
    }  # fmt: skip
    spec = parse_spec(full).to_dict()
    leaves = {
        f"{top}.{name}.{last}" if isinstance(own, dict) else f"{top}.{name}"
        for top, fields in spec.items() if isinstance(fields, dict)
        for name, own in fields.items()
        for last in (own if isinstance(own, dict) else [""])
    } | {top for top, fields in spec.items() if not isinstance(fields, dict)}  # fmt: skip
    assert leaves == set(FIELDS)
    page = server.http.get("/new").text
    assert all(f'name="{field}"' in page for field in FIELDS)
    assert set(SearchSpec.__dataclass_fields__) == {field.partition(".")[0] for field in FIELDS}


def test_complaints_have_a_place_beside_each_field(server: Server) -> None:
    page = server.http.get("/new").text
    for own in re.findall(r'<(?:input|select) id="(f-[^"]+)"[^>]*aria-describedby="([^"]+)"', page):
        assert f"{own[0]}-wrong" in own[1].split() and all(f'id="{place}"' in page for place in own[1].split())


def test_what_a_space_varies(server: Server) -> None:
    page = server.http.get("/new").text
    assert "<dt>kv_ratio</dt><dd>1/4, 1/2, 1</dd>" in page and "<dt>matrix_rate</dt><dd>0.5 to 2</dd>" in page
    assert "<dt>tied</dt><dd>yes, no</dd>" in page


def test_fields_of_the_address(server: Server) -> None:
    query = {
        "preset": "hour", "name": "mine", "budget.total.compute": "9TFLOP", "budget.total.time": "", "method.seed": "7",
        "limits.latency_ms_per_kb": "12.5", "minimize": [LOSS, "params"], "limits.export": "any", "unknown": "x",
    }  # fmt: skip
    page = server.http.get("/new?" + urlencode(query, doseq=True))
    spec = told(page)["spec"]
    assert spec["name"] == "mine" and spec["budget"]["total"] == {"compute": "9TFLOP"}
    assert spec["method"] == {"parallel": 2, "seed": 7} and spec["minimize"] == [LOSS, "params"]
    assert spec["limits"] == {"params": "20M", "latency_ms_per_kb": 12.5, "export": "any"} and "unknown" not in spec
    assert told(page)["start"] == PRESETS["hour"].spec
    assert value(page, "budget.total.compute") == "9TFLOP" and value(page, "limits.latency_ms_per_kb") == "12.5"
    assert chosen(page, "limits.export") == "any"
    assert server.post("/searches", json={"spec": spec}, params={"validate_only": True}).status_code == 200


def test_fields_that_are_wrong_are_shown_as_they_are(server: Server) -> None:
    """The form says what is wrong with them."""
    for field, text in (("method.seed", "x"), ("budget.total.compute", "20 potatoes"), ("name", "5"), ("device", "{")):
        page = server.http.get("/new?" + urlencode({field: text}))
        assert page.status_code == 200 and value(page, field) == text
    assert told(server.http.get("/new?name=5"))["spec"]["name"] == "5"  # a name is no number
    assert "method.seed" in NUMBERS


@pytest.mark.parametrize(
    "text",
    ["{", '{"train": "x"', "{" * 5000, '{"a": NaN}', '{"train": ["' + HOSTILE.replace('"', '\\"') + '"]}', HOSTILE],
)
def test_corpora_of_the_address_are_text(server: Server, text: str) -> None:
    page = server.http.get("/new?" + urlencode({"corpus": text, "name": HOSTILE}))
    assert page.status_code == 200 and "<script>alert" not in page.text and "</textarea></script>" not in page.text
    assert page.text.count("<script") == page.text.count("</script>")
    assert told(page)["spec"]["name"] == HOSTILE and value(page, "name") == HOSTILE


@pytest.mark.parametrize("query", [{"name": "\0"}, {"corpus": "x" * 9_000}, {"clone": "nothing"}, {"preset": "x" * 41}])
def test_what_the_address_may_not(server: Server, query: dict[str, str]) -> None:
    page = server.http.get("/new?" + urlencode(query))
    assert page.status_code == (404 if "clone" in query else 422) and "<h1>" in page.text


def test_a_clone_is_the_same_search(server: Server) -> None:
    made = server.submit(spec={"name": HOSTILE, "limits": {"params": "12345678"}}).json()
    page = server.http.get("/new", params={"clone": made["id"]})
    spec = told(page)["spec"]
    assert parse_spec(spec) == parse_spec(made["spec"]) and spec["budget"]["total"]["compute"] == "300GFLOP"
    assert spec["limits"]["params"] == 12345678 and told(page)["clone"] == made["id"]
    assert "<script>alert" not in page.text and f'href="/searches/{made["id"]}"' in page.text
    changed = server.http.get("/new", params={"clone": made["id"], "method.seed": "3"})
    assert told(changed)["spec"]["method"]["seed"] == 3 and told(changed)["start"] == spec


def test_texts_that_were_brought_can_be_chosen(server: Server) -> None:
    brought = server.http.post("/api/v1/corpora", data={"name": "mine"}, files=TEXTS).json()
    page = server.http.get("/new", params={"corpus": json.dumps(brought["reference"])})
    assert json.loads(chosen(page, "corpus")) == brought["reference"] == told(page)["spec"]["corpus"]
    assert page.text.count(">mine (") == 1 and "corpus of this spec" not in page.text


def test_both_ways(server: Server) -> None:
    for preset in PRESETS.values():
        text = server.http.post("/new/yaml", json={"spec": preset.spec}).json()["text"]
        assert read_yaml(text) == preset.spec
        assert server.http.post("/new/spec", json={"text": text}).json()["spec"] == preset.spec
    resolved = parse_spec(SPEC).to_dict()
    text = server.http.post("/new/yaml", json={"spec": resolved}).json()["text"]
    assert "compute: 300GFLOP" in text
    assert server.http.post("/new/spec", json={"text": text}).json()["spec"] == written(resolved)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: &a [x]\nb: [*a, *a]", 2),
        ("a: !!python/object/apply:os.system ['true']", 1),
        ("name: x\n  budget: [", 2),
        ("a: .nan", None),
        ("a: " + "[" * 5000, 1),
    ],
)
def test_hostile_yaml_is_refused_with_a_message(server: Server, text: str, line: int | None) -> None:
    refused = server.http.post("/new/spec", json={"text": text})
    problem = refused.json()
    assert (
        refused.status_code == 422 and problem["type"] == "urn:nas:problem:spec" and problem["rule"].startswith("must ")
    )
    assert line is None or f"YAML:{line}: " in problem["detail"]


def test_specs_that_are_no_specs(server: Server) -> None:
    deep: Any = {}
    for _ in range(400):
        deep = {"a": deep}
    for body in ({"spec": [1]}, {}, {"spec": {}, "more": 1}, {"spec": deep}):
        assert server.http.post("/new/yaml", json=body).status_code == 422
    assert server.http.post("/new/spec", json={"text": 5}).status_code == 422


def test_scopes(guarded: Server) -> None:
    """Whoever may look sees the page and has YAML written, and is offered nothing that would be refused."""
    for scope, may in (("read", False), ("write", True)):
        headers = guarded.token(scope)
        page = guarded.http.get("/new", headers=headers)
        assert page.status_code == 200 and told(page)["may"] is may
        assert ('id="submit"' in page.text) == may and ('id="bring-now"' in page.text) == may
        assert ("may look, and not submit" in page.text) != may
        assert guarded.http.post("/new/yaml", json={"spec": SPEC}, headers=headers).status_code == 200
        answer = guarded.post("/searches", json={"spec": SPEC}, params={"validate_only": True}, headers=headers)
        assert (answer.status_code == 200) == may
    for path, body in (("/new/yaml", {"spec": SPEC}), ("/new/spec", {"text": "a: 1"})):
        refused = guarded.http.post(path, json=body)
        assert refused.status_code == 401 and refused.headers["Content-Type"] == "application/problem+json"


def test_a_session_needs_its_header(guarded: Server) -> None:
    secret, _ = guarded.service.tokens.create("x", "read")
    csrf = guarded.post("/session", json={"token": secret}).json()["csrf"]
    assert guarded.http.post("/new/yaml", json={"spec": SPEC}).status_code == 403
    assert guarded.http.post("/new/yaml", json={"spec": SPEC}, headers={CSRF_HEADER: csrf}).status_code == 200
    evil = {CSRF_HEADER: csrf, "Origin": "http://evil.example"}
    assert guarded.http.post("/new/spec", json={"text": "a: 1"}, headers=evil).status_code == 403


def test_what_the_form_submits_twice_is_there_once(server: Server) -> None:
    body = {"spec": told(server.http.get("/new"))["spec"], "agreed": False}
    made = [server.post("/searches", json=body, headers={IDEMPOTENCY_HEADER: "of this form"}) for _ in range(2)]
    assert [own.status_code for own in made] == [201, 201] and made[0].json()["id"] == made[1].json()["id"]
    assert len(server.store.searches()) == 1
