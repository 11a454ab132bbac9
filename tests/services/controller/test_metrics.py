"""What Prometheus reads: sums are those of the records, and each question is taken down by its route."""

from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from nas.client.models import API
from nas.records import CandidateState
from tests.dashboards import sample
from tests.services.controller.conftest import Server

Labels = frozenset[tuple[str, str]]


def read(server: Server, name: str) -> dict[Labels, float]:
    """Values of a figure by their labels."""
    families = text_string_to_metric_families(server.http.get("/metrics").text)
    samples = (own for family in families for own in family.samples if own.name == name)
    return {frozenset(own.labels.items()): own.value for own in samples}


def by(server: Server, name: str, label: str) -> dict[str, float]:
    return {dict(labels)[label]: value for labels, value in read(server, name).items()}


def test_sums_are_those_of_the_records(server: Server) -> None:
    sample.fill(server.store)
    records = server.store.candidates(sample.ID)
    stopped = [own for own in records if own.state is CandidateState.STOPPED]
    rejected = [own for own in records if own.state is CandidateState.REJECTED]
    assert by(server, "nas_searches", "state") == {"completed": 1}
    assert by(server, "nas_candidates", "state") == Counter(str(own.state) for own in records)
    assert by(server, "nas_flops", "kind") == pytest.approx(
        {
            "training": sum(own.train_flops_spent for own in records),
            "evaluation": sum(own.eval_flops for own in records),
            "repeated": sum(own.repeated_flops for own in records),
        }
    )
    assert by(server, "nas_saved_flops", "by") == pytest.approx(
        {
            "pruner": sum(own.train_flops_planned - own.train_flops_spent for own in stopped),
            "gate": sample.CANDIDATE_FLOPS * len(rejected),
        }
    )


def test_of_nothing(server: Server) -> None:
    assert read(server, "nas_searches") == read(server, "nas_candidates") == {}
    assert set(by(server, "nas_flops", "kind").values()) == set(by(server, "nas_saved_flops", "by").values()) == {0}


@pytest.mark.parametrize(
    ("path", "route", "status"),
    [
        (f"{API}/searches", f"{API}/searches", 200),
        (f"{API}/searches/{sample.ID}", f"{API}/searches/{{search_id}}", 200),
        (f"{API}/searches/other", f"{API}/searches/{{search_id}}", 404),
        (f"{API}/searches/{sample.ID}/candidates/3", f"{API}/searches/{{search_id}}/candidates/{{number}}", 200),
        (f"/searches/{sample.ID}", "/searches/{search_id}", 200),
        ("/livez", "/livez", 200),
        ("/wp-login.php", "none", 404),
        (f"{API}/nonsense", "none", 404),
    ],
)
def test_a_question_by_its_route(server: Server, path: str, route: str, status: int) -> None:
    """An id makes no series of its own, and a page is no route of the API."""
    sample.fill(server.store)
    asked = frozenset({("method", "GET"), ("route", route), ("status", str(status))})
    for count in (1, 2):
        assert server.http.get(path).status_code == status
        assert read(server, "nas_request_seconds_count")[asked] == count
    routes = {dict(labels)["route"] for labels in read(server, "nas_request_seconds_count")}
    assert routes == {route, "/metrics"}
