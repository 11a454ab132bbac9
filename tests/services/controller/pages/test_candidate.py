"""The page of a candidate: every state, what changes of it, and what others wrote on it."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from dashboards.labels import STANDINGS
from dashboards.view import view
from nas.client.models import ExportInfo, ExportState
from nas.data.storage import atomic_file
from nas.records import CandidateState, LogLine, Origin
from tests.dashboards import sample
from tests.services.controller.conftest import Server

HTMX = {"HX-Request": "true"}
EVIL = "<script>alert('x')</script>\"'&"


@pytest.fixture
def sampled(server: Server) -> Server:
    """With a search that has candidates in every state."""
    server.id = sample.fill(server.store)
    return server


def path(server: Server, number: object) -> str:
    return f"/searches/{server.id}/candidates/{number}"


def state_of(text: str) -> dict[str, Any]:
    """What the page's module is given."""
    found = re.search(r'<script type="application/json" id="candidate-state">(.*?)</script>', text)
    assert found
    state: dict[str, Any] = json.loads(found[1])
    return state


def test_each_state_has_a_page(sampled: Server) -> None:
    """It says of each what the report says."""
    whole = view(sampled.store, sampled.id)
    for record in whole.candidates:
        page = sampled.http.get(path(sampled, record.number))
        assert page.status_code == 200 and "script-src 'self'" in page.headers["Content-Security-Policy"]
        assert f"Candidate {record.number}" in page.text and STANDINGS[whole.standing(record)] in page.text
        assert '<svg class="architecture"' in page.text
        state = state_of(page.text)
        assert (state["over"], state["artifact"]) == (record.state.terminal, bool(record.artifact))
        assert len(state["curve"]["train"]["x"]) == len(whole.points.get(record.number, ()))
        assert bool(state["end"]["x"]) == (record.state in (CandidateState.STOPPED, CandidateState.DIVERGED))


def test_pages_of_neighbours_are_linked(sampled: Server) -> None:
    last = len(sample.PLOTS) - 1
    first, middle, end = (sampled.http.get(path(sampled, number)).text for number in (0, 5, last))
    assert 'rel="prev"' not in first and f'rel="next" href="{path(sampled, 1)}"' in first
    assert f'rel="prev" href="{path(sampled, 4)}"' in middle and f'rel="next" href="{path(sampled, 6)}"' in middle
    assert f'rel="prev" href="{path(sampled, last - 1)}"' in end and 'rel="next"' not in end
    assert f'href="/searches/{sampled.id}?c=5"' in middle


def test_why_it_was_stopped_or_rejected(sampled: Server) -> None:
    stopped, rejected = (sampled.http.get(path(sampled, number)).text for number in (5, 4))
    assert "4 peers that cost no more are lower" in stopped and "verdict-stop" in stopped
    assert "is above the limit of 2,500,000" in rejected
    assert "It was rejected before it trained: there is no curve." in rejected and "It was never trained." in rejected


def test_the_final_run_is_called_so_once_and_nothing_stops_it(sampled: Server) -> None:
    final = next(own for own in sampled.store.candidates(sampled.id) if own.origin is Origin.FINAL)
    text = sampled.http.get(path(sampled, final.number)).text
    assert f">final run · {final.id}<" in text and "None: nothing stops the final run." in text
    other = sampled.http.get(path(sampled, 0)).text
    assert f" · dial (scaling rules) · {sampled.store.candidate(sampled.id, 0).id}<" in other
    assert "nothing stops the final run" not in other


@pytest.mark.parametrize("number", ["99", "-1", "2147483648", "x", "1e3"])
def test_what_is_not_there(sampled: Server, number: str) -> None:
    page = sampled.http.get(path(sampled, number))
    assert page.status_code == (404 if number == "99" else 422) and "<h1>" in page.text
    assert sampled.http.get(f"/searches/none/candidates/{number}").status_code in (404, 422)


def test_only_what_has_changed_is_sent_again(sampled: Server) -> None:
    sampled.store.add_candidate(
        replace(
            sample.candidate_record(40, sample.PLOTS[0], 1.0), state=CandidateState.TRAINING, val_bpb=None, artifact=""
        )
    )
    page = sampled.http.get(path(sampled, 40))
    revision = state_of(page.text)["revision"]
    unchanged = sampled.http.get(f"{path(sampled, 40)}?since={revision}", headers=HTMX)
    assert unchanged.status_code == 204 and unchanged.content == b""

    sampled.store.update_candidate(sampled.id, 3, seconds=1.0)  # another one
    assert sampled.http.get(f"{path(sampled, 40)}?since={revision}", headers=HTMX).status_code == 204

    sampled.store.add_points([replace(own, number=40) for own in sampled.store.points(sampled.id, 0)[:5]])
    changed = sampled.http.get(f"{path(sampled, 40)}?since={revision}", headers=HTMX)
    assert changed.status_code == 200 and "<html" not in changed.text and "<svg class" not in changed.text
    assert set(re.findall(r'<div id="(\w+)" hx-swap-oob', changed.text)) == {"costs", "rows", "told"}
    state = state_of(changed.text)
    assert state["revision"] > revision and len(state["curve"]["train"]["x"]) == 5 and not state["over"]


def test_what_others_wrote_is_text(sampled: Server) -> None:
    record = replace(sample.candidate_record(41, sample.PLOTS[5], 1.0), reason=EVIL)
    sampled.store.add_candidate(record)
    sampled.store.add_event(sampled.id, EVIL, EVIL, at=1.0, number=41, level="info")
    sampled.store.add_decision(replace(sampled.store.decisions(sampled.id)[0], number=41, reason=EVIL))
    sampled.store.add_attempt(replace(sampled.store.attempts(sampled.id, 0)[0], number=41, worker=EVIL, outcome=EVIL))
    sampled.store.update_search(sampled.id, name=EVIL)
    for page in (sampled.http.get(path(sampled, 41)), sampled.http.get(path(sampled, 41), headers=HTMX)):
        assert page.status_code == 200
        assert "<script>alert" not in page.text and "&lt;script&gt;alert" in page.text


def test_the_log_of_an_attempt(sampled: Server) -> None:
    page = sampled.http.get(path(sampled, 0)).text
    address = f"{path(sampled, 0)}/log?attempt=0"
    assert f'hx-get="{address}"' in page and "Log of attempt 1" in page
    assert "Log of attempt" not in sampled.http.get(path(sampled, 4)).text, "it was rejected"
    assert "Nothing was logged." in sampled.http.get(address).text
    lines = [LogLine(1.0, "info", "nas.x", f"line {place}") for place in range(150)]
    sampled.store.add_log(sampled.id, 0, 0, [*lines, LogLine(2.0, "error", EVIL, EVIL)])
    first, more = (sampled.http.get(address + query).text for query in ("", "&most=200"))
    assert first.count("<li") == 100 and "line 99<" in first and "line 100<" not in first
    assert f'hx-get="{address}&amp;most=200"' in first and 'name="most" value="100"' in first
    assert more.count("<li") == 151 and "Later ones" not in more and 'name="most" value="200"' in more
    assert '<li class="error">' in more and "&lt;script&gt;alert" in more and "<script>" not in more
    assert "<html" not in more and "Nothing was logged." in sampled.http.get(f"{path(sampled, 0)}/log?attempt=1").text
    wrong = {"99/log?attempt=0": 404, "0/log": 422, "0/log?attempt=-1": 422, "0/log?attempt=0&most=1001": 422}
    for own, status in wrong.items():
        assert sampled.http.get(path(sampled, own)).status_code == status, own


def test_one_that_cannot_be_drawn_is_shown_all_the_same(sampled: Server) -> None:
    record = replace(
        sample.candidate_record(42, sample.PLOTS[0], 1.0), candidate={"architecture": {"warp": EVIL}, "recipe": {}}
    )
    sampled.store.add_candidate(record)
    page = sampled.http.get(path(sampled, 42))
    assert page.status_code == 200 and "It cannot be drawn: " in page.text and "<script>alert" not in page.text


def test_who_only_looks_is_shown_no_buttons(guarded: Server) -> None:
    guarded.id = sample.fill(guarded.store)
    wanted = path(guarded, 0)
    nobody = guarded.http.get(wanted, follow_redirects=False)
    assert nobody.status_code == 303 and nobody.headers["Location"] == f"/login?next={wanted.replace('/', '%2F')}"
    for scope, may in (("read", False), ("write", True)):
        page = guarded.http.get(wanted, headers=guarded.token(scope)).text
        assert [mark in page for mark in ('id="write"', 'id="export"', f'data-ask="{wanted}/stop"')] == [may] * 3
        assert f"nas generate {guarded.id}/0" in page and f"nas export {guarded.id}/0 --out model" in page


def test_an_export_that_is_there_is_offered_to_everybody(sampled: Server) -> None:
    assert '"export-state">null<' in sampled.http.get(path(sampled, 0)).text
    own = ExportInfo(id=f"{sampled.id}-0", search_id=sampled.id, number=0, state=ExportState.DONE, sha256="ab", bytes=3)
    folder = sampled.service.home.exports
    folder.mkdir(parents=True)
    with atomic_file(folder / f"{own.id}.json") as file:
        file.write(own.model_dump_json().encode())
    page = sampled.http.get(path(sampled, 0)).text
    found = re.search(r'"export-state">(.*?)</script>', page)
    assert found and json.loads(found[1]) == own.model_dump(mode="json")


def test_a_real_search_can_be_looked_at(filled: Server) -> None:
    """With intervals by the profile that it was made with."""
    for record in filled.store.candidates(filled.id):
        page = filled.http.get(path(filled, record.number))
        assert page.status_code == 200
        if record.state is CandidateState.COMPLETED:
            memory = re.search(r'<th scope="row">peak memory</th>.*?</tr>', page.text)
            assert memory and " to " in memory[0] and "predicted" in memory[0]
