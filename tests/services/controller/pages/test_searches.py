"""The list of searches as a page, and as the part of it that is fetched again."""

import re
from dataclasses import replace
from typing import Any

import pytest

from nas.records import CandidateState, SearchState
from nas.spec import parse_spec
from services.controller.pages import searches as pages
from services.controller.paging import page_token
from services.worker.lease import whoami
from tests.contracts.samples import CANDIDATE, SEARCH
from tests.services.controller.conftest import SPEC, Server

PARTLY = {"HX-Request": "true"}
RESOLVED = parse_spec(SPEC).to_dict()
HOSTILE = '"><script>alert(1)</script>{{7*7}}&amp;'


def add(server: Server, own: str, **given: Any) -> None:
    server.store.add_search(replace(SEARCH, id=own, **{"name": own, "created_at": 1e9, "spec": RESOLVED, **given}))


def shown(text: str) -> list[str]:
    """Ids of the searches, in the order of the page."""
    return re.findall(r'<tr id="row-([^"]+)">', text)


def part(server: Server, address: str = "/", **headers: str) -> Any:
    return server.http.get(address, headers=PARTLY | headers)


def test_nothing_yet(server: Server) -> None:
    page = server.http.get("/").text
    assert "No searches yet" in page and 'href="/new?preset=quick"' in page and "nas submit search.yaml" in page
    assert "filters" not in page


def test_filters_that_match_nothing(server: Server) -> None:
    add(server, "a")
    for query in ("name=zzz", "state=failed", "name=a&state=paused"):
        page = server.http.get(f"/?{query}").text
        assert "No search is like that" in page and "1 search in all" in page and "No searches yet" not in page
        assert 'id="filters"' in page


def test_names_are_text(server: Server) -> None:
    add(server, "a", name=HOSTILE, reason=HOSTILE, state=SearchState.FAILED)
    for address in ("/", "/?s=" + "%22%3E%3Cscript%3E", "/?name=%22%3E%3Cscript%3E"):
        for page in (server.http.get(address).text, part(server, address).text):
            assert "<script>alert" not in page and '"><script>' not in page
            assert "&lt;script&gt;alert(1)&lt;/script&gt;{{7*7}}&amp;amp;" in page and shown(page) == ["a"]


def test_what_a_row_says(filled: Server) -> None:
    search, progress = filled.store.search(filled.id), filled.service.reader.progress([filled.id])[filled.id]
    page = part(filled).text
    assert search.name in page and f"{progress.best:.3f}" in page
    assert "forward compute" in page and "of 8 GFLOP" in page
    for words, state in (("done", "completed"), ("stopped", "stopped"), ("rejected", "rejected")):
        assert f'<span class="count">{progress.counts.get(state, 0)}</span> <span class="soft">{words}</span>' in page
    assert "<progress" not in page  # it is over
    assert 'data-live=""' in page


def test_each_budget_that_there_is(server: Server) -> None:
    total = {"compute": 10**12, "time": 100.0, "candidates": 4}
    spec = {**RESOLVED, "budget": {"total": total}}
    add(server, "a", spec=spec, state=SearchState.RUNNING, setting={"elapsed": 25.0})
    add(server, "b", spec=RESOLVED | {"budget": {}}, state=SearchState.RUNNING)
    states = [CandidateState.COMPLETED, CandidateState.STOPPED, CandidateState.REJECTED, CandidateState.QUEUED]
    for number, state in enumerate(states):
        own = replace(CANDIDATE, search_id="a", number=number, state=state, train_flops_spent=10**11)
        server.store.add_candidate(own)
    page = part(server).text
    bars = re.findall(r'<progress value="([^"]+)" max="1" aria-label="(\w+) used, a">', page)
    assert bars == [("0.4000", "compute"), ("0.2500", "time"), ("0.5000", "candidates")]  # two of four train
    assert page.count("<progress") == 3 and 'data-live="yes"' in page


def test_who_drives(server: Server) -> None:
    add(server, "a", state=SearchState.RUNNING)
    assert "nothing drives it now" in part(server).text
    server.store.take_lease("a", whoami(), 60)
    page = part(server).text
    assert whoami().partition(" [")[0] in page and "nothing drives it" not in page
    assert "[" not in re.findall(r"by process[^<]*", page)[0]
    server.store.take_lease("a", "process 1 of gone [00000000.1]", 60, replacing=server.store.lease("a"))
    assert "process 1 of gone" in part(server).text  # of another machine nothing is known


@pytest.mark.parametrize("size", [1, 2, 5])
def test_pages_by_every_order(server: Server, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Ties, and searches that have no loss: each is on one page, in the order that one page of all has."""
    monkeypatch.setattr(pages, "PAGE", size)
    losses = {"a": None, "b": 2.0, "c": 2.0, "d": None, "e": 1.5}
    for own, loss in losses.items():
        add(server, own, name="same", state=SearchState.RUNNING if own in "ace" else SearchState.COMPLETED)
        done = replace(CANDIDATE, search_id=own, state=CandidateState.COMPLETED, val_bpb=loss, costs={})
        server.store.add_candidate(done)
    whole = {"created": "abcde", "name": "abcde", "state": "acebd", "best": "ebcad"}
    turned = {"created": "abcde", "name": "abcde", "state": "bdace", "best": "bcead"}
    for order, expected in (("asc", whole), ("desc", turned)):
        for sort, ids in expected.items():
            found, address, turns = [], f"/?sort={sort}&order={order}&name=SAM", 0
            while address:
                page = part(server, address).text
                found += shown(page)
                more = re.findall(r'href="([^"]+)"[^>]*>Next page', page)
                address, turns = more[0].replace("&amp;", "&") if more else "", turns + 1
                assert ("First page" in page) == (turns > 1)
            assert ("".join(found), turns) == (ids, -(-5 // size)), (sort, order)


def test_sort_links_turn_round(server: Server) -> None:
    add(server, "a")
    page = part(server, "/?sort=best&state=queued&s=a").text
    assert 'aria-sort="ascending"><a href="/?state=queued&amp;sort=best&amp;order=desc&amp;s=a"' in page
    assert 'aria-sort="none"><a href="/?state=queued&amp;sort=name&amp;s=a"' in page
    assert 'aria-sort="descending"><a href="/?order=asc"' in part(server).text


def test_the_address_says_what_was_chosen_and_no_more(server: Server) -> None:
    add(server, "a")
    for address, canonical in (
        ("/?sort=created&order=desc&name=", "/"),
        ("/?name=+a+&sort=name&order=asc&state=queued&state=queued", "/?state=queued&name=a&sort=name"),
        ("/?s=a&s=a&s=b", "/?s=a&s=b"),
    ):
        assert part(server, address).headers["HX-Replace-Url"] == canonical
        assert part(server, canonical).headers["HX-Replace-Url"] == canonical


@pytest.mark.parametrize(
    "query",
    [
        "sort=beauty", "order=up", "state=happy", "name=" + "x" * 101, "name=%00", "page_token=x", "page_token=💥",
        "page_token=WzFd", "s=1&s=2&s=3&s=4&s=5&s=6&s=7&s=8&s=9",
    ],
)  # fmt: skip
def test_what_cannot_be_asked(server: Server, query: str) -> None:
    page = server.http.get(f"/?{query}")
    assert page.status_code == 422 and "<h1>" in page.text
    refused = part(server, f"/?{query}")  # the page stays as it is
    assert (refused.status_code, refused.headers["HX-Reswap"]) == (422, "none") and "<" not in refused.text


def test_tokens_of_another_order_are_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE", 1)
    for own in "ab":
        add(server, own)
    tokens = {}
    for sort in ("created", "name", "state", "best"):
        page = part(server, f"/?sort={sort}").text
        tokens[sort] = re.findall(r"page_token=([^&\"]+)", page)[0]
    for sort in tokens:
        for other, token in tokens.items():
            status = part(server, f"/?sort={sort}&page_token={token}").status_code
            assert (status == 200) == (sort == other), (sort, other)
    assert part(server, f"/?sort=name&order=desc&page_token={tokens['name']}").status_code == 422
    for place in (("name", 0, "\0", "a"), ("name", 0, "a", "\ud800"), ("state", 0, 10**30, "a"), ("state", 0, -1, "a")):
        assert part(server, f"/?sort={place[0]}&page_token={page_token(*place)}").status_code == 422, place


def test_not_sent_again_until_something_changes(server: Server) -> None:
    add(server, "a", state=SearchState.QUEUED)
    first = part(server)
    tag = first.headers["ETag"].removeprefix("W/")  # which one that was packed begins with
    assert tag.replace('"', "&#34;") in first.text  # for the script that asks again
    for known in (tag, f"W/{tag}"):
        same = part(server, **{"If-None-Match": known})
        assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", tag)
    assert part(server, "/?sort=name", **{"If-None-Match": tag}).status_code == 200
    whole = server.http.get("/", headers={"If-None-Match": tag})
    assert whole.status_code == 200 and "HX-Request" in whole.headers["Vary"] and "ETag" not in whole.headers
    changes = [
        lambda: server.store.update_search("a", state=SearchState.RUNNING),
        lambda: server.store.add_candidate(replace(CANDIDATE, search_id="a")),
        lambda: server.store.take_lease("a", whoami(), 600),
        lambda: add(server, "b"),
        lambda: server.store.delete_search("b"),
    ]
    for change in changes:
        change()
        changed = part(server, **{"If-None-Match": tag})
        assert changed.status_code == 200 and changed.headers["ETag"] != tag
        tag = changed.headers["ETag"]


def test_two_are_compared(server: Server) -> None:
    for own in "abc":
        add(server, own)
    for query, count, ready in (("", 0, False), ("?s=a", 1, False), ("?s=a&s=c", 2, True), ("?s=a&s=b&s=c", 3, False)):
        page = server.http.get(f"/{query}").text
        assert page.count('type="checkbox" name="s"') == 3 and f"{count} of 2 searches chosen" in page
        assert len(re.findall(r'name="s" value="\w" checked', page)) == count
        assert ('aria-describedby="compare-help">' in page) == ready  # else it is disabled
    assert 'action="/compare"' in page
    assert '<input type="hidden" name="s" value="gone">' in server.http.get("/?s=gone&s=a").text


def test_who_may_only_look_has_no_button(guarded: Server) -> None:
    for scope, may in (("read", False), ("write", True), ("admin", True)):
        page = guarded.http.get("/", headers=guarded.token(scope)).text
        assert ('href="/new?preset=quick"' in page) == may
    add(guarded, "a")
    page = guarded.http.get("/", headers=guarded.token("read")).text
    assert ">New search</a>{%" not in page and 'class="button primary" href="/new"' not in page
    assert 'class="button primary" href="/new"' in guarded.http.get("/", headers=guarded.token("write")).text
