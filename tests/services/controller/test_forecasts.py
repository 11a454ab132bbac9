"""Forecasts over the API; what workers do is done in this process."""

from typing import Any

import pytest

from nas.errors import AccessError, InfeasibleError, NotFoundError, SpecError, StateError
from services.controller.settings import Quotas, Settings
from tests.services.controller.conftest import SPEC, Server, Servers, Workers

LISTED = "rtx-4090"
SMALL = {
    "knobs": {
        "depth": [1, 2],
        "width": [16, 32],
        "head_size": [8],
        "vocabulary": [256],
        "context": [32, 64],
        "batch_tokens": [128],
    }
}


@pytest.fixture
def worked(make_server: Servers, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return make_server(sqlite_url, dispatcher=Workers())


def asked(**changes: Any) -> dict[str, Any]:
    return {**SPEC, "space": SMALL, **changes}


def test_what_a_search_would_do(worked: Server) -> None:
    with worked.client() as client:
        found = client.forecast(asked(), LISTED)
        again = client.forecast(asked(device=LISTED))
    assert found == again and found.estimated
    assert found.fits.size == 8 and found.fits.number == found.admitted_share * 8
    assert found.fits.largest is not None and found.fits.cheapest.params < found.fits.largest.params
    assert found.seconds.low is not None and found.seconds.predicted is not None
    assert 0 < found.seconds.low < found.seconds.predicted
    assert [note.topic for note in found.notes] == ["corpus", "tokenizers", "device"]
    assert worked.store.searches() == [] and worked.service.reader.devices() == []


def test_a_device_without_a_profile(worked: Server) -> None:
    refused = worked.post("/forecasts", json={"spec": asked(), "device": "cpu"})
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:nas:problem:state")
    assert "has no profile yet, and a forecast makes none; nas profile device " in refused.json()["detail"]


def test_what_cannot_be_foreseen_is_told_as_by_the_core(worked: Server) -> None:
    with worked.client() as client:
        with pytest.raises(InfeasibleError, match="breaks params"):
            client.forecast(asked(limits={"params": "1k"}), LISTED)
        with pytest.raises(NotFoundError, match="nearest are rtx-4090"):
            client.forecast(asked(), "rtx-409")
        with pytest.raises(SpecError, match="corpus: must be a name, or a path below the server's corpora"):
            client.forecast(asked(corpus="/etc/passwd"), LISTED)
    infeasible = worked.post("/forecasts", json={"spec": asked(limits={"params": "1k"}), "device": LISTED})
    assert (infeasible.status_code, infeasible.json()["type"]) == (422, "urn:nas:problem:infeasible")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "spec"),
        ({"spec": SPEC, "more": 1}, "more"),
        ({"spec": {**SPEC, "minimize": ["beauty"]}}, "minimize"),
        ({"spec": {**SPEC, "space": "/etc/hosts"}}, "space"),
    ],
)
def test_what_is_no_spec(worked: Server, body: dict[str, Any], field: str) -> None:
    refused = worked.post("/forecasts", json=body)
    assert (refused.status_code, refused.json()["field"]) == (422, field)


def test_they_are_counted_as_submissions(make_server: Servers, sqlite_url: str) -> None:
    settings = Settings(quotas=Quotas(submissions=2, compute=10**12))
    server = make_server(sqlite_url, settings)
    dear = server.post("/forecasts", json={"spec": {**SPEC, "budget": {"total": {"compute": "2TFLOP"}}}})
    assert (dear.status_code, dear.json()["type"]) == (422, "urn:nas:problem:quota")
    answers = [server.post("/forecasts", json={"spec": SPEC}) for _ in range(3)]
    assert [own.status_code for own in answers] == [409, 409, 429]
    assert answers[0].json()["detail"] == "this server has no workers"


def test_who_only_reads_may_not(guarded: Server) -> None:
    secret, _ = guarded.service.tokens.create("bob", "read")
    with guarded.client(secret) as client, pytest.raises(AccessError, match="has scope read; this needs write"):
        client.forecast(SPEC)
    secret, _ = guarded.service.tokens.create("ann", "write")
    with guarded.client(secret) as client, pytest.raises(StateError, match="this server has no workers"):
        client.forecast(SPEC)
