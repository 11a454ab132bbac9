"""Candidates beside each other, and searches: what fits, what does not, what is said of it."""

import re
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from nas.records import CandidateState
from tests.dashboards import sample
from tests.services.controller.conftest import Server

EVIL = "<script>alert('x')</script>\"'&"


@pytest.fixture
def sampled(server: Server) -> Server:
    server.id = sample.fill(server.store)
    return server


def compared(server: Server, *numbers: object, **more: str) -> str:
    query = urlencode([*(("c", str(number)) for number in numbers), *more.items()])
    page = server.http.get(f"/searches/{server.id}/compare?{query}")
    assert page.status_code == 200
    return page.text


def shown(text: str) -> list[int]:
    """The candidates of the table, in their order."""
    return [int(number) for number in re.findall(r'aria-label="Remove #(\d+)"', text)]


def notes(text: str) -> list[str]:
    return re.findall(r'<p class="note">(.*?)</p>', text)


def test_up_to_eight_in_the_order_they_were_asked_for(sampled: Server) -> None:
    text = compared(sampled, 3, 0, 12, 3)
    assert shown(text) == [3, 0, 12] and notes(text) == [] and text.count('<svg class="architecture"') == 3
    assert len(set(re.findall(r'id="(a\d+-title)"', text))) == 3, "ids are not shared"
    assert f'href="/searches/{sampled.id}/compare?c=3&amp;c=12"' in text, "the others, without this one"
    many = compared(sampled, *range(11))
    assert shown(many) == list(range(8)) and len(notes(many)) == 1 and "#8, #9, #10 left out" in notes(many)[0]
    assert "<button disabled>Add</button>" in many and "<button>Add</button>" in text


def test_what_cannot_be_shown_is_said_on_the_page(sampled: Server) -> None:
    text = compared(sampled, 0, 999, "x", "-1", "9999999999", EVIL, "", "²")
    assert shown(text) == [0] and "<script>alert" not in text
    assert "There is no candidate 999 in this search." in notes(text) and len(notes(text)) == 6


def test_nothing_is_compared_yet(sampled: Server) -> None:
    text = compared(sampled)
    assert "Nothing is compared yet" in text and "plotly" not in text
    assert sampled.http.get("/searches/none/compare").status_code == 404


def test_only_differences(sampled: Server) -> None:
    everything, different = compared(sampled, 0, 1), compared(sampled, 0, 1, only="differences")
    assert '<th scope="row">softcap</th>' in everything and '<th scope="row">softcap</th>' not in different
    assert '<th scope="row">parameters</th>' in different
    assert f'href="/searches/{sampled.id}/compare?c=0&amp;c=1&amp;only=differences"' in everything
    assert f'href="/searches/{sampled.id}/compare?c=0&amp;c=1"' in different


def test_those_that_never_trained_have_no_curves(sampled: Server) -> None:
    rejected = [own.number for own in sampled.store.candidates(sampled.id) if own.state is CandidateState.REJECTED]
    text = compared(sampled, *rejected[:2])
    assert shown(text) == rejected[:2] and "Learning curves" not in text and "Learning curves" in compared(sampled, 0)


# --- searches ---


def beside(server: Server, *searches: str, **more: str) -> str:
    query = urlencode([*(("s", own) for own in searches), *more.items()])
    page = server.http.get(f"/compare?{query}")
    assert page.status_code == 200
    return page.text


@pytest.fixture
def two(sampled: Server) -> Server:
    """A second search ``other``: the same setting, half of the candidates, each a little better."""
    store = sampled.store
    store.add_search(replace(store.search(sampled.id), id="other", name=EVIL))
    for own in store.candidates(sampled.id)[::2]:
        better = own.val_bpb - 0.1 if own.val_bpb is not None else None
        store.add_candidate(replace(own, search_id="other", val_bpb=better))
    return sampled


def test_two_searches_on_the_same_axes(two: Server) -> None:
    text = beside(two, two.id, "other")
    assert notes(text) == [] and "<script>alert" not in text
    assert 'data-figure="fronts"' in text and 'data-figure="volumes"' in text
    assert "Fronts: loss over forward compute" in text, "what both minimise"
    assert "Fronts: loss over parameters" in beside(two, two.id, "other", x="params")


def test_fronts_are_those_of_the_search(two: Server) -> None:
    """Over the cost that it minimises, the rows are the front."""
    front = two.get(f"/searches/{two.id}/front").json()["members"]
    rows = re.findall(
        rf'<td class="number"><a href="/searches/{two.id}/candidates/(\d+)">', beside(two, two.id, "other")
    )
    assert [int(number) for number in rows] == [own["number"] for own in front]


def test_other_reference_points_are_not_compared(two: Server) -> None:
    setting = two.store.search("other").setting
    two.store.update_search("other", setting={**setting, "reference": [9.0, 9e9]})
    text = beside(two, two.id, "other")
    assert 'data-figure="volumes"' not in text and "Their reference points are not the same (3.500" in text
    two.store.update_search("other", setting={name: own for name, own in setting.items() if name != "reference"})
    assert "no reference point yet" in beside(two, two.id, "other")


def test_other_objectives_are_not_compared(two: Server) -> None:
    spec = two.store.search("other").spec
    two.store.update_search("other", spec={**spec, "minimize": ["val_bpb", "params"]})
    text = beside(two, two.id, "other")
    assert 'data-figure="fronts"' in text and "They minimise different things" in text


def test_other_texts_are_pointed_out(two: Server) -> None:
    spec = two.store.search("other").spec
    two.store.update_search("other", spec={**spec, "corpus": {"name": "mine", "files": []}})
    assert "trained on different texts" in notes(beside(two, two.id, "other"))[0]


@pytest.mark.parametrize(
    ("searches", "more", "said"),
    [
        ([], {}, 0),
        ([sample.ID], {}, 0),
        ([sample.ID, sample.ID], {}, 0),  # one and the same
        ([sample.ID, ""], {}, 0),
        ([sample.ID, "none"], {}, 1),
        ([EVIL], {}, 1),
        ([sample.ID], {"x": "beauty"}, 1),
    ],
)
def test_with_fewer_one_chooses(sampled: Server, searches: list[str], more: dict[str, str], said: int) -> None:
    text = beside(sampled, *searches, **more)
    assert "Choose two searches" in text and len(notes(text)) == said and "<script>alert" not in text


def test_a_third_is_left_out(two: Server) -> None:
    assert notes(beside(two, two.id, "other", "third")) == ["Two searches are compared: the others are left out."]


def test_no_searches_at_all(server: Server) -> None:
    assert "There are no searches yet" in beside(server)


def test_a_search_that_has_only_been_submitted(sampled: Server) -> None:
    """It has no setting yet."""
    submitted = sampled.submit().json()["id"]
    text = beside(sampled, sampled.id, submitted)
    assert "Nothing has been trained to the end yet." in text and 'data-figure="fronts"' in text


def test_both_need_a_token(guarded: Server) -> None:
    sample.fill(guarded.store)
    for path in ("/compare", f"/searches/{sample.ID}/compare"):
        assert guarded.http.get(path, follow_redirects=False).status_code == 303
        assert guarded.http.get(path, headers=guarded.token("read")).status_code == 200
