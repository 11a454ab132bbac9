"""The page of a search: its head in every state, its parts, and what a stranger has written into it."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from nas.records import CandidateRecord, CandidateState, Origin, SearchRecord, SearchState
from services.controller.pages.facts import ACTIONS
from services.controller.paging import page_token
from tests.dashboards import sample
from tests.services.controller.conftest import Server

HOSTILE = "<script>alert('x')</script>\"'&amp;</script>"
ASKED = re.compile(r'data-ask="/searches/[^"/]+(?:/(\w+))?"')
S, C = SearchState, CandidateState


def put(server: Server, plots: Sequence[sample.Plot] = sample.PLOTS, **search: Any) -> str:
    return sample.fill(server.store, tuple(plots), **search)


def text(html: str) -> str:
    """Its words."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def page(server: Server, path: str = "", **given: Any) -> str:
    answer = server.http.get(f"/searches/{sample.ID}{path}", **given)
    assert answer.status_code == 200, answer.text
    return answer.text


def island(html: str, name: str) -> Any:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', html)
    assert found is not None
    return json.loads(found[1])


def test_the_result_comes_first_then_how_numbers_are_known(server: Server) -> None:
    put(server)
    words = text(page(server, "/facts"))
    assert words.startswith("austen-cpu completed The best model that 24 TFLOP")
    assert "final run, test 2.168 ± 0.006 bits per byte; candidate #31 measured" in words
    assert "of 24 TFLOP calculated" in words
    counts = Counter(plot.state for plot in sample.PLOTS if plot.origin is not Origin.FINAL)
    assert f"candidates {counts.total()} {counts[C.COMPLETED]} trained to the end, {counts[C.STOPPED]} stopped" in words


def test_what_a_module_gets(server: Server) -> None:
    put(server, minimize=("val_bpb", "flops_per_byte", "params"))
    html = page(server)
    given = island(html, "front-data")
    assert given["search"] == sample.ID
    assert given["objectives"] == ["val_bpb", "flops_per_byte", "params"]
    assert given["event"] == server.service.reader.last_event(sample.ID)
    parts = [trace["meta"] for trace in given["frame"]["data"]]
    assert len(parts) == len(set(parts)) and {"line", "front", "dominated", "stopped row", "audited", "knee"} < set(
        parts
    )
    assert not any("x" in trace or "y" in trace for trace in given["frame"]["data"])
    words = island(html, "words")
    assert words["outcomes"]["training"] == "open" and words["quantities"]["params"]["format"] == "count"


@pytest.mark.parametrize(
    ("state", "allowed"),
    [
        (S.QUEUED, {"pause", "cancel"}),
        (S.RUNNING, {"pause", "stop", "cancel"}),
        (S.PAUSED, {"resume", "cancel"}),
        (S.STOPPING, {"cancel"}),
        (S.COMPLETED, {""}),  # to delete is to ask for the search itself
        (S.FAILED, {"resume", ""}),
        (S.CANCELLED, {""}),
    ],
)
def test_what_may_be_asked(server: Server, state: SearchState, allowed: set[str]) -> None:
    put(server, state=state, result=None)
    head = page(server, "/facts")
    assert set(ASKED.findall(head)) == allowed
    assert f"/new?clone={sample.ID}" in head
    html = page(server)
    for asked in re.findall(r'data-confirm="([^"]+)"', html):
        assert f'<dialog id="{asked}"' in html


def test_every_action_says_what_it_means(server: Server) -> None:
    put(server, state=S.RUNNING)
    html = text(page(server))
    assert all(own.means in html for own in ACTIONS)


def test_what_is_asked_is_done(server: Server) -> None:
    """The buttons name paths that the API has."""
    put(server, state=S.RUNNING, result=None)
    for asked in ASKED.findall(page(server, "/facts")):
        assert server.post(f"/searches/{sample.ID}/{asked}").status_code == 202


def test_who_may_read_sees_no_buttons(guarded: Server) -> None:
    put(guarded, state=S.RUNNING)
    reading, writing = (guarded.token(scope) for scope in ("read", "write"))
    for path in ("", "/facts"):
        seen = page(guarded, path, headers=reading)
        assert "data-ask" not in seen and "<dialog" not in seen and "clone=" not in seen
        assert "/report" in seen
        assert "data-ask" in page(guarded, path, headers=writing)
    for path in ("", "/facts", "/candidates"):
        answer = guarded.http.get(f"/searches/{sample.ID}{path}", follow_redirects=False)
        assert answer.status_code == 303 and answer.headers["Location"].startswith("/login?next=")


@pytest.mark.parametrize("path", ["", "/facts", "/candidates"])
def test_a_search_that_is_not_there(server: Server, path: str) -> None:
    answer = server.http.get(f"/searches/nothing{path}")
    assert answer.status_code == 404 and "no search" in text(answer.text)


def test_nothing_of_a_stranger_is_markup(server: Server) -> None:
    put(server, name=HOSTILE, state=S.FAILED, reason=HOSTILE, result=None)
    own = server.store.candidate(sample.ID, 3)
    server.store.add_candidate(
        replace(own, number=90, state=C.FAILED, reason=HOSTILE, candidate={"architecture": {"depth": HOSTILE}})
    )
    for path in ("", "/facts", "/candidates", "/candidates?state=failed"):
        html = page(server, path)
        assert "alert('x')" not in re.sub(r"&lt;script&gt;alert\(&#39;x&#39;\)", "", html)
        assert "<script>alert" not in html
        assert path.startswith("/candidates?") or "<script>alert('x')" in text(html)
    server.store.update_search(sample.ID, state=S.COMPLETED, result={"sentence": HOSTILE})
    assert "<script>alert" not in page(server, "/facts")


# --- where a search stands ---


def test_no_candidates_yet(server: Server) -> None:
    put(server, [], state=S.QUEUED, result=None, started_at=None, finished_at=None)
    words = text(page(server))
    assert "Waiting to start. No candidate has been proposed yet." in words
    assert "No candidate has been proposed yet." in text(page(server, "/candidates"))


def test_nothing_trained_yet(server: Server) -> None:
    plots = [sample.Plot(Origin.DIAL, C.TRAINING, 3, 96), sample.Plot(Origin.UNIFORM, C.QUEUED, 2, 64)]
    put(server, plots, state=S.RUNNING, result=None)
    words = text(page(server, "/facts"))
    assert "Running. Nothing has been trained to the end yet." in words
    assert "candidates 2 1 in training, 1 waiting" in words
    assert "best of the search" not in words


def test_no_feasible_candidate_says_which_limit_refuses_most(server: Server) -> None:
    put(server, [], state=S.RUNNING, result=None)
    reasons = [
        "params: needs 3M, allowed 2M (+50%)",
        "compute: needs 2 TFLOP, allowed 1 TFLOP (+100%); params: needs 3M, allowed 2M (+50%)",
        "params: needs 5M, allowed 2M (+150%); export: no value embeddings",
    ]
    for number, reason in enumerate(reasons):
        rejected = sample.candidate_record(number, sample.Plot(Origin.UNIFORM, C.REJECTED, 8, 192), sample.START)
        server.store.add_candidate(replace(rejected, reason=reason))
    words = text(page(server, "/facts"))
    assert "No candidate fits the limits: the gate rejected all 3 before training." in words
    assert (
        "The gate refused all 3 candidates. The limit that refuses most is parameters (3); then the compute of a "
        "candidate (1), the export to a native format (1)." in words
    )


def test_the_final_run_is_not_the_best_of_the_search(server: Server) -> None:
    put(server)
    best = min(
        (
            own
            for own in server.store.candidates(sample.ID)
            if own.state is C.COMPLETED and own.origin is not Origin.FINAL
        ),
        key=lambda own: own.val_bpb or 9,
    )
    assert f"candidate #{best.number}" in text(page(server, "/facts")).split("best of the search, validation")[1][:60]


@pytest.mark.parametrize(
    ("state", "forecast", "elapsed", "told"),
    [
        (S.RUNNING, 700.0, 100.0, "expected end in 10 min"),
        (S.RUNNING, 700.0, 900.0, "expected end any time now 11 min 40 s were forecast"),
        (S.RUNNING, None, 100.0, ""),  # as an infinite one is stored
        (S.PAUSED, 700.0, 100.0, ""),
        (S.COMPLETED, 700.0, 100.0, ""),
    ],
)
def test_when_it_may_be_over(
    server: Server, state: SearchState, forecast: float | None, elapsed: float, told: str
) -> None:
    setting = {**sample.search_record().setting, "forecast": {"seconds": forecast}, "elapsed": elapsed}
    put(server, state=state, setting=setting, result=None)
    words = text(page(server, "/facts"))
    assert told in words and ("expected end" in words) == bool(told)


# --- all candidates ---


def listed(html: str) -> list[int]:
    return [int(own) for own in re.findall(r'<th scope="row" class="number"><a href="[^"]+/candidates/(\d+)">', html)]


def test_candidates_are_filtered_and_in_order(server: Server) -> None:
    put(server)
    records = server.store.candidates(sample.ID)
    assert listed(page(server, "/candidates")) == [own.number for own in records]
    assert listed(page(server, "/candidates?state=stopped&origin=")) == [
        own.number for own in records if own.state is C.STOPPED
    ]
    losses = {own.number: own.val_bpb for own in records}
    falling = listed(page(server, "/candidates?order_by=val_bpb&descending=true"))
    known = [losses[number] for number in falling if losses[number] is not None]
    assert known == sorted(known, reverse=True) and len(falling) == len(records)
    proposed = listed(page(server, "/candidates?origin=proposed&state=rejected"))
    assert proposed == [own.number for own in records if own.origin is Origin.PROPOSED and own.state is C.REJECTED]


def test_pages_of_candidates(server: Server) -> None:
    put(server)
    own = server.store.candidate(sample.ID, 4)
    for number in range(100, 220):
        server.store.add_candidate(replace(own, number=number))
    seen: list[int] = []
    path = "/candidates?state=rejected&order_by=seconds"
    while path:
        html = page(server, path, headers={"HX-Request": "true"})
        assert "<html" not in html
        seen += listed(html)
        following = re.search(r'rel="next" href="/searches/[^/]+(/candidates[^"]+)"', html)
        path = unescape(following[1]) if following else ""
    rejected = [c.number for c in server.store.candidates(sample.ID) if c.state is C.REJECTED]
    assert sorted(seen) == rejected and len(seen) == len(set(seen)) > 100


def test_a_page_keeps_its_filters(server: Server) -> None:
    put(server)
    html = page(server, "?state=stopped&order_by=val_bpb&x=params&max.params=100")
    assert f'hx-get="/searches/{sample.ID}/candidates?state=stopped&amp;order_by=val_bpb"' in html
    part = page(server, "/candidates?state=stopped")
    assert '<option value="stopped" selected>stopped early</option>' in part


def test_reasons_are_told(server: Server) -> None:
    put(server)
    server.store.add_candidate(replace(server.store.candidate(sample.ID, 4), number=77, reason="params: needs 3M"))
    assert "params: needs 3M" in text(page(server, "/candidates?state=rejected"))


@pytest.mark.parametrize("query", ["state=nothing", "origin=x", "order_by=reason", "page_token=!", "descending=so"])
def test_what_is_no_filter(server: Server, query: str) -> None:
    put(server)
    answer = server.http.get(f"/searches/{sample.ID}/candidates?{query}")
    assert answer.status_code == 422 and "<html" in answer.text


def test_a_page_of_another_order_is_refused(server: Server) -> None:
    put(server)
    token = page_token("number", 4, 4)
    path = f"/searches/{sample.ID}/candidates?page_token={token}&order_by="
    assert server.http.get(path + "number").status_code == 200
    answer = server.http.get(path + "seconds")
    assert answer.status_code == 422 and "must be of a page in the order of seconds" in text(answer.text)


def test_the_candidate_and_the_record_are_those_of_the_store(filled: Server) -> None:
    """A search that really ran."""
    html = filled.http.get(f"/searches/{filled.id}").text
    search: SearchRecord = filled.store.search(filled.id)
    records: list[CandidateRecord] = filled.store.candidates(filled.id)
    assert str((search.result or {})["sentence"]) in unescape(html)
    assert listed(filled.http.get(f"/searches/{filled.id}/candidates").text) == [own.number for own in records]
