"""What stands beside a search's front: each part with everything, with nothing, and with what may not be believed."""

import json
import re
from dataclasses import replace
from html import unescape

import pytest

from dashboards.figures import ledger
from dashboards.money import PARTS
from dashboards.view import view
from nas.client.models import WorkerInfo
from nas.errors import StateError
from nas.records import (
    AttemptRecord,
    CandidateState,
    CurvePoint,
    DecisionRecord,
    SearchState,
    Verdict,
)
from nas.units import format_flops
from services.controller.dispatch import NoRay
from services.controller.pages.progress import LATEST
from tests.dashboards import sample
from tests.services.controller.conftest import Server, Servers

NAMES = ("volume", "account", "workers", "decisions", "events")
HOSTILE = "<img src=x onerror=alert(1)>"


def part(server: Server, name: str, search: str = sample.ID, **params: object) -> str:
    answer = server.http.get(f"/searches/{search}/progress/{name}", params=params)
    assert answer.status_code == 200 and "<html" not in answer.text
    return answer.text


def words(html: str) -> str:
    """What is read on a part."""
    visible = re.sub(r"<script.*?</script>", "", html, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", visible)).split())


def island(html: str, name: str) -> object:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', html, re.S)
    assert found is not None
    return json.loads(found[1])


@pytest.fixture
def sampled(server: Server) -> Server:
    sample.fill(server.store)
    return server


@pytest.fixture
def running(make_server: Servers, sqlite_url: str) -> Server:
    """Two in training, one of them just chosen, and one that waits."""
    server = make_server(sqlite_url)
    sample.fill(server.store, sample.PLOTS[:9], state=SearchState.RUNNING, finished_at=None, result=None)
    record = server.store.candidate(sample.ID, 3)
    for number, state in ((20, CandidateState.TRAINING), (21, CandidateState.TRAINING), (22, CandidateState.QUEUED)):
        server.store.add_candidate(replace(record, number=number, state=state, val_bpb=None))
    server.store.add_attempt(AttemptRecord(sample.ID, 20, 2, server.store.now() - 75, f"host {HOSTILE}"))
    server.store.add_points([CurvePoint(sample.ID, 20, 2, 5, 0.375, 10**9, 1.0, 3.0)])
    return server


@pytest.mark.parametrize("name", NAMES)
def test_a_search_that_has_not_begun(server: Server, name: str) -> None:
    own = server.submit().json()["id"]
    assert {
        "volume": "No reference point is fixed yet",
        "account": "0 FLOP of 300 GFLOP spent.",
        "workers": "Nothing: the search waits to start.",
        "decisions": "The pruner has not decided anything yet",
        "events": "submitted by local",
    }[name] in words(part(server, name, own))


def test_a_search_s_page_has_all_of_them(sampled: Server) -> None:
    page = sampled.http.get(f"/searches/{sample.ID}").text
    for name in NAMES:
        assert f'hx-get="/searches/{sample.ID}/progress/{name}"' in page
    frames = island(page, "progress-frames")
    assert isinstance(frames, dict) and frames.keys() == {"curves", "volume", "account"}
    assert [len(own["data"]) for own in frames.values()] == [9, 1, len(PARTS) + 1]
    assert not any(trace.get("x") for own in frames.values() for trace in own["data"])


def test_the_account(sampled: Server) -> None:
    whole, html = view(sampled.store, sample.ID), part(sampled, "account")
    chart, bars = ledger(whole), island(html, "account-bars")
    assert chart is not None and isinstance(bars, list)
    drawn = {own["hovertemplate"]: own["x"] for own in bars if own["x"]}
    assert drawn == {trace.hovertemplate: list(trace.x) for trace in chart.figure.data}
    text = words(html)
    assert chart.title in text and "saved by the gate at most 3.2 TFLOP predicted" in text
    assert "The search is over." in text and "reserved now" not in text


def test_what_the_next_tenth_is_expected_to_buy(sampled: Server) -> None:
    ahead = {"flops": 10**12, "runs": 2, "widening": {"mean": 0.04, "low": 0.0, "high": 0.1},
             "loss": {"mean": 0.012, "low": 0.001, "high": 0.03}}  # fmt: skip
    sampled.store.update_search(sample.ID, prospects=ahead)
    assert (
        "The next 10% (1 TFLOP, about 2 more candidates) is expected to lower the best loss by 0.012 (0.001 to 0.030) "
        "bits per byte and to widen the front by 4% (0% to 10%)."
    ) in words(part(sampled, "account"))


def test_while_it_runs_the_account_tells_apart_what_is_not_spent(running: Server) -> None:
    text = words(part(running, "account"))
    assert "reserved now 0 FLOP" in text and "kept for the final run 7.2 TFLOP" in text and "free to spend" in text
    assert "Not known yet" in text


def test_the_hypervolume(sampled: Server) -> None:
    html, steps = part(sampled, "volume"), view(sampled.store, sample.ID).volumes
    line = island(html, "volume-line")
    assert isinstance(line, dict) and line["x"][0] == line["y"][0] == 0
    assert line["y"][-1] == pytest.approx(steps[-1].volume, rel=1e-5)
    assert line["y"] == sorted(line["y"]) and len(line["y"]) == len(line["x"]) < len(steps)
    assert "90% of the front's hypervolume was there after" in words(html)


def test_its_table_has_every_rise(sampled: Server) -> None:
    steps = view(sampled.store, sample.ID).volumes
    before = [0.0, *(step.volume for step in steps)]
    risen = [step for step, last in zip(steps, before, strict=False) if step.volume > last]
    text = words(part(sampled, "volume/steps"))
    for step in risen:
        assert f"#{step.number} {format_flops(step.flops)} {step.volume:.4g}" in text
    assert 1 < len(risen) == text.count("#") < len(steps)


def test_a_figure_without_steps_says_why(make_server: Servers, sqlite_url: str) -> None:
    server = make_server(sqlite_url)
    sample.fill(server.store, (), state=SearchState.RUNNING)
    html = part(server, "volume")
    assert "No candidate was trained to the end yet." in words(html)
    assert island(html, "volume-line") == {"x": [], "y": []}


def test_workers_now(running: Server) -> None:
    html = part(running, "workers")
    text = words(html)
    assert re.search(r"#20 38% of 800 GFLOP attempt 2, since [-0-9 :]+UTC, for 1 min 1\d s, on host <img", text)
    assert "#21 0% of 800 GFLOP about to begin" in text and "Waiting for a worker #22" in text
    assert HOSTILE not in html and "This server has no workers" in text


class Told(NoRay):
    """A Ray of which all is known."""

    def workers(self) -> list[WorkerInfo]:
        has = {"CPU": 8.0, "GPU": 1.0, "memory": 2.0**34, "object_store_memory": 1.0}
        return [
            WorkerInfo(id="1", host=f"first {HOSTILE}", alive=True, resources=has),
            WorkerInfo(id="2", host="second", alive=False, resources={}),
        ]


class Silent(NoRay):
    """A Ray that does not answer."""

    def workers(self) -> list[WorkerInfo]:
        raise StateError("Ray does not answer within 3 s")


def test_machines(make_server: Servers, sqlite_url: str) -> None:
    server = make_server(sqlite_url, dispatcher=Told())
    html = part(server, "workers", server.submit().json()["id"])
    assert f"first {HOSTILE} alive 8 CPUs, 1 GPUs, 16 GiB second lost —" in words(html) and HOSTILE not in html


def test_a_ray_that_does_not_answer_is_told_of(make_server: Servers, sqlite_url: str) -> None:
    server = make_server(sqlite_url, dispatcher=Silent())
    text = words(part(server, "workers", server.submit().json()["id"]))
    assert "Ray does not answer within 3 s" in text and "waits to start" in text


def test_decisions_are_counted_as_the_report_counts_them(sampled: Server) -> None:
    false, known = view(sampled.store, sample.ID).false_stops
    text = words(part(sampled, "decisions"))
    assert text.startswith("Told to stop: 8, audited instead: 3, told to go on: 0.")
    assert f"False stops: {false} of the {known} audited that ended (95% interval " in text
    assert "That is all." in text


def test_older_ones_on_request(sampled: Server) -> None:
    for number in range(45):
        reason = f"reason {number} {HOSTILE}"
        decision = DecisionRecord(sample.ID, 3, 0.25, Verdict.CONTINUE, reason, {}, 1e9 + number)
        sampled.store.add_decision(decision)
        sampled.store.add_event(sample.ID, "note", f"event {number} {HOSTILE}", at=1e9, level="warning")
    for name, first in (("decisions", "reason 44"), ("events", "event 44")):
        html = part(sampled, name)
        assert html.count("<li") == LATEST and first in words(html) and HOSTILE not in html
        (address,) = re.findall(r'<button [^>]*hx-get="([^"]+)"', html)
        more = sampled.http.get(unescape(address)).text
        assert more.count("<li") == 2 * LATEST and f'name="most" value="{2 * LATEST}"' in more
        whole = part(sampled, name, most=1000)
        assert "That is all." in words(whole) and "<button" not in whole
    assert "warning" in words(part(sampled, "events"))


@pytest.mark.parametrize("most", [0, 1001, "x"])
def test_not_so_many(sampled: Server, most: object) -> None:
    for name in ("decisions", "events"):
        assert sampled.http.get(f"/searches/{sample.ID}/progress/{name}", params={"most": most}).status_code == 422


@pytest.mark.parametrize("name", NAMES)
def test_an_error_is_no_whole_page_where_a_part_was_asked_for(guarded: Server, name: str) -> None:
    path, asks = f"/searches/none/progress/{name}", {"HX-Request": "true", "HX-Current-URL": "http://localhost/"}
    unknown = guarded.http.get(path, headers=asks, follow_redirects=False)
    assert (unknown.status_code, "<html" in unknown.text) == (401, False)
    missing = guarded.http.get(path, headers=asks | guarded.token("read"))
    assert (missing.status_code, "<html" in missing.text) == (404, False) and "no search" in missing.text
    assert guarded.http.get(path, follow_redirects=False).status_code == 303


@pytest.mark.parametrize("name", NAMES)
def test_a_part_that_has_not_changed_is_not_sent_again(sampled: Server, name: str) -> None:
    path, asked = f"/searches/{sample.ID}/progress/{name}", {"HX-Request": "true"}
    first = sampled.http.get(path, headers=asked)
    assert first.status_code == 200 and first.headers["Cache-Control"] == "no-cache, private"
    assert first.headers["Vary"] == "HX-Request, Accept-Encoding"
    again = sampled.http.get(path, headers=asked | {"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"].removeprefix("W/")
    other = sampled.http.get(path, headers=asked | {"If-None-Match": '"other"'})
    assert other.status_code == 200 and other.content == first.content
    plain = sampled.http.get(path, headers=asked | {"Accept-Encoding": "identity"})
    assert plain.content == first.content and "Content-Encoding" not in plain.headers


def test_a_part_that_has_changed_is_sent(sampled: Server) -> None:
    path, asked = f"/searches/{sample.ID}/progress/events", {"HX-Request": "true"}
    tag = sampled.http.get(path, headers=asked).headers["ETag"]
    sampled.store.add_event(sample.ID, "note", "something else", at=1.0)
    again = sampled.http.get(path, headers=asked | {"If-None-Match": tag})
    assert again.status_code == 200 and "something else" in again.text and again.headers["ETag"] != tag


def test_what_is_no_part_is_sent_whole(sampled: Server) -> None:
    page = sampled.http.get(f"/searches/{sample.ID}")
    assert page.status_code == 200 and "ETag" not in page.headers
