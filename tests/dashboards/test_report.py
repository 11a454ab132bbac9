"""One file, offline, escaped, and with a face for every state."""

import json
import re
from dataclasses import replace

import pytest
from plotly.offline import get_plotlyjs

from dashboards.report import render_report
from dashboards.view import SearchView
from nas.records import CandidateState, Origin, SearchState
from tests.dashboards import sample
from tests.dashboards.conftest import Build

HOSTILE = "\"><script>alert(1)</script>&'{{ 7 * 7 }}"
OUTSIDE = re.compile(
    r"""(?:src|href|action|data-src|poster)\s*=\s*["']?\s*(?:https?:)?//|@import|url\(""", re.IGNORECASE
)


def page(view: SearchView) -> str:
    """The report without plotly's own text, which holds addresses that it never loads."""
    html = render_report(view)
    bundle = get_plotlyjs()
    assert html.count(bundle) <= 1
    return html.replace(bundle, "")


@pytest.fixture(scope="module")
def html(full: SearchView) -> str:
    return page(full)


def test_plotly_is_there_once_and_only_where_something_is_drawn(full: SearchView, build: Build) -> None:
    assert render_report(full).count(get_plotlyjs()) == 1
    empty = build((), setting={})
    assert get_plotlyjs() not in render_report(replace(empty, spending=replace(empty.spending, other=0)))


def test_nothing_is_loaded_from_outside(html: str) -> None:
    assert not OUTSIDE.search(html)
    assert "http://" not in html
    assert "https://" not in html
    assert "default-src 'none'" in html


def test_the_headline_comes_first(full: SearchView, html: str) -> None:
    assert full.search.result is not None
    heading = re.search(r"<h1>(.*?)</h1>", html)
    assert heading is not None
    assert heading[1] == full.search.result["sentence"]
    assert html.index("<h1>") < html.index("<h2>")


def test_every_candidate_has_a_row_that_links_lead_to(full: SearchView, html: str) -> None:
    assert re.findall(r'id="c(\d+)"', html) == [str(c.number) for c in full.candidates]
    targets = set(re.findall(r'href="#c(\d+)"', html))
    assert {str(number) for number in full.front} <= targets <= {str(c.number) for c in full.candidates}


def test_every_figure_is_json_with_words(html: str) -> None:
    found = re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    assert len(found) == 4
    for text in found:
        assert set(json.loads(text)) == {"data", "layout"}
    assert html.count("<figcaption>") == html.count('role="img" aria-label="') == 4


def test_numbers_say_how_they_are_known(html: str) -> None:
    for kind in ("measured", "calculated", "predicted"):
        assert f'<span class="source {kind}">{kind}</span>' in html
    values = re.findall(r'<dd class="value">.*?</div>', html)
    assert len(values) == 9
    assert all('class="source ' in value for value in values)
    assert "at most 3.2 TFLOP" in html
    assert "95% interval 6% to 79%" in html
    assert "median of the candidates, at most 250 ms" in html


def test_specification_and_setting(html: str) -> None:
    assert "corpus: austen" in html
    assert re.search(r"<dt>versions\.torch</dt><dd>2\.9\.0</dd>", html)
    assert "<dd>3,610,000</dd>" in html
    assert "nas export s_sample/31 --out model" in html


def test_everything_is_escaped(full: SearchView) -> None:
    search = full.search
    candidates = tuple(
        replace(c, reason=HOSTILE, candidate={"architecture": {"depth": HOSTILE}, "recipe": {"optimizer": HOSTILE}})
        for c in full.candidates
    )
    hostile = replace(
        full,
        candidates=candidates,
        search=replace(
            search,
            name=HOSTILE,
            spec=search.spec | {"corpus": HOSTILE},
            setting=search.setting | {"device": HOSTILE, HOSTILE: {HOSTILE: [HOSTILE]}},
            result=(search.result or {}) | {"sentence": HOSTILE, "export": HOSTILE},
        ),
        decisions=tuple(replace(d, reason=HOSTILE, inputs={HOSTILE: HOSTILE}) for d in full.decisions),
        audits=tuple(replace(a, reason=HOSTILE) for a in full.audits),
        events=tuple(replace(e, message=HOSTILE, kind=HOSTILE, level=HOSTILE) for e in full.events),
    )
    html = page(hostile)
    assert "<script>alert" not in html
    assert "</script>&" not in html
    assert "{{ 7 * 7 }}" in html  # as text, not as 49
    assert not re.search(r'class="[^"]*>', html)
    scripts = re.findall(r"<script[ >]", html)
    assert len(scripts) == len(re.findall(r"</script>", html)) == 4 + 2


@pytest.mark.parametrize(
    ("plots", "changes", "words"),
    [
        ((), {"state": SearchState.QUEUED, "setting": {}, "started_at": None}, "No candidate has been proposed yet"),
        ((), {"state": SearchState.QUEUED, "setting": {}, "started_at": None}, "Not known before the search starts."),
        ((4, 5, 8), {"state": SearchState.RUNNING, "finished_at": None}, "The search is not over"),
        ((4, 5, 8), {"state": SearchState.RUNNING, "finished_at": None}, "There is no front"),
        ((4, 11), {"state": SearchState.FAILED, "reason": "none fits"}, "the gate rejected all 2 before training"),
        ((0, 4), {"state": SearchState.CANCELLED}, "The search ended early"),
        ((0, 5), {"state": SearchState.COMPLETED}, "No stop was audited"),
    ],
)
def test_states_that_are_not_the_happy_end(
    build: Build, plots: tuple[int, ...], changes: dict[str, object], words: str
) -> None:
    own = build(tuple(sample.PLOTS[n] for n in plots), **{"result": None} | changes)
    assert words in page(own)


def test_a_candidate_without_anything_known(build: Build) -> None:
    own = build((sample.Plot(Origin.PROPOSED, CandidateState.QUEUED, 3, 64),), result=None, setting={}, spec={})
    bare = replace(own.candidates[0], candidate={}, costs={}, plan={}, train_flops_planned=0)
    assert "<h1>" in page(replace(own, candidates=(bare,), points={}))


def test_lost_work_is_named(full: SearchView) -> None:
    repeated = replace(full.candidates[0], repeated_flops=3 * 10**12)
    own = replace(full, candidates=(repeated, *full.candidates[1:]))
    assert "3 TFLOP were computed again after lost attempts, outside the budget." in page(own)
