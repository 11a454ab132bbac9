"""`nas scale`, as a user asks after a search, and what may verify it."""

import contextlib
import re
from dataclasses import replace
from typing import Any

import pytest

from nas.adapters.sql.store import open_store
from nas.candidate import Candidate
from nas.client.models import ScaledCandidate
from nas.errors import StateError
from nas.records import CandidateState
from services.home import Home
from services.scaling import Scaled
from services.single import read_candidate
from services.worker.scaling import scale, scale_candidate, verifying
from tests.services import schema
from tests.services.conftest import Finished

TOPICS = ["architecture", "recipe", "parameters", "use", "training", "text", "memory", "time", "loss", "binds"]


def candidates(finished: Finished) -> list[dict[str, Any]]:
    return list(finished.json("candidates")["candidates"])


def first(finished: Finished, state: str) -> dict[str, Any]:
    """Of the search itself."""
    return next(own for own in candidates(finished) if own["state"] == state and own["origin"] != "final")


def scaled(finished: Finished, number: int, compute: str, *options: str) -> Any:
    done = finished.place.run("scale", f"{finished.id}/{number}", "--compute", compute, *options, "-o", "json")
    assert done.code == 0, done.err
    assert schema.conforms(done.json, schema.SCALED) == []
    return done.json


def test_a_candidate_at_four_times_its_budget(finished: Finished) -> None:
    own = first(finished, "completed")
    found = scaled(finished, own["number"], "1.2GFLOP")
    assert found["factor"] == pytest.approx(1.2e9 / own["train_flops_planned"], rel=0.05)
    assert {name: found["origin"][name] for name in ("number", "id", "val_bpb", "costs", "plan")} == {
        name: own[name] for name in ("number", "id", "val_bpb", "costs", "plan")
    }
    assert found["costs"]["params"] > own["costs"]["params"]
    assert (found["extrapolation"], found["verified"]) == (True, None)
    assert found["id"] == Candidate.from_dict(found["candidate"]).id


def test_it_is_shown_beside_what_it_was(finished: Finished) -> None:
    number = first(finished, "completed")["number"]
    lines = finished.place.run("scale", f"{finished.id}/{number}", "--compute", "1.2GFLOP").out.splitlines()
    assert re.match(rf" {{14}}{finished.id}/{number} +at 4\.\d+ times the compute$", lines[0])
    assert [line.split()[0] for line in lines[1:]] == [*TOPICS, "extrapolated"]
    (loss,) = [line for line in lines if line.startswith("loss")]
    assert re.match(r"loss +\d\.\d{3} ± \d\.\d{3} +not known$", loss)
    assert lines[-2].split(maxsplit=1) == ["binds", "no limit"]
    assert re.search(r"by rules, to 4\.\d+ times the compute: no run of this candidate .* has verified it$", lines[-1])


def test_with_its_own_budget_it_is_itself_and_its_run_verifies_it(finished: Finished) -> None:
    own = first(finished, "completed")
    found = scaled(finished, own["number"], "300MFLOP")
    assert (found["id"], found["factor"], found["extrapolation"]) == (own["id"], 1.0, False)
    assert found["plan"]["steps"] == own["plan"]["steps"]
    assert (found["verified"]["number"], found["verified"]["val_bpb"]) == (own["number"], own["val_bpb"])
    shown = finished.place.run("scale", f"{finished.id}/{own['number']}", "--compute", "300MFLOP").out.splitlines()
    assert shown[-1].split(maxsplit=1)[0] == "verified" and f"by {finished.id}/{own['number']}: " in shown[-1]


def test_without_a_number_it_is_the_result(finished: Finished) -> None:
    """Which its own run verifies at its own budget."""
    final = candidates(finished)[-1]
    assert finished.done.json["result"]["number"] == final["number"]
    found = finished.run("scale", "--compute", str(final["train_flops_planned"]), "-o", "json").json
    assert (found["id"], found["verified"]["number"]) == (final["id"], final["number"])
    assert finished.run("scale", "--compute", str(final["train_flops_planned"]), "-o", "id").out == f"{final['id']}\n"


def test_what_a_run_must_be_to_verify(finished: Finished) -> None:
    """Completed, of the same candidate, on the same text, within a hundredth of the budget."""
    own = first(finished, "completed")
    with contextlib.closing(open_store(f"sqlite:///{finished.place.home / 'nas.db'}")) as store:
        search, record = store.search(finished.id), store.candidate(finished.id, own["number"])

        class Other:
            """A store with one candidate."""

            def __init__(self, **fields: Any) -> None:
                self.record = replace(record, **fields)

            def searches(self) -> Any:
                return [search]

            def candidates(self, search_id: str) -> Any:
                return [self.record]

        class Found:
            candidate = Candidate.from_dict(record.candidate)

            class plan:
                train_flops = record.train_flops_spent

        def verified(store: Any, asked: Any = search) -> bool:
            return verifying(store, asked, Found) is not None  # type: ignore[arg-type]

        spent = record.train_flops_spent
        assert verified(Other()) and verified(Other(train_flops_spent=int(1.009 * spent)))
        assert not verified(Other(train_flops_spent=int(1.02 * spent)))
        assert not verified(Other(state=CandidateState.STOPPED))
        assert not verified(Other(id="another"))
        text = {**search.setting["corpus"], "fingerprint": "another"}
        assert not verified(Other(), replace(search, setting={**search.setting, "corpus": text}))


@pytest.mark.parametrize("compute", [300_000_000, 1_200_000_000])
def test_nothing_is_lost_between_a_server_and_who_asks(finished: Finished, compute: int) -> None:
    """Where a run has verified it, and where none has."""
    home = Home(finished.place.home, f"sqlite:///{finished.place.home / 'nas.db'}")
    number = first(finished, "completed")["number"]
    with contextlib.closing(open_store(home.database)) as store:
        search, record = store.search(finished.id), store.candidate(finished.id, number)
        here = scale_candidate(home, store, search, record, compute)
    sent = scale(home, finished.id, number, compute).model_dump_json()
    there = Scaled.received(record, ScaledCandidate.model_validate_json(sent))
    assert there == here and there.text() == here.text() and there.to_dict() == here.to_dict()
    assert (here.verified is not None) == (compute == 300_000_000)


def test_what_was_written_can_be_trained(finished: Finished) -> None:
    number = first(finished, "completed")["number"]
    out = finished.place.folder / "scaled candidate.yaml"
    done = finished.place.run(
        "scale", f"{finished.id}/{number}", "--compute", "900MFLOP", "--out", out.name, "-o", "id"
    )
    assert done.code == 0
    command = f"nas train '{out.name}' --compute 900MFLOP --corpus 'texts/*.txt'"
    assert done.err == f"wrote {out.name}; train it with: {command}\n"
    assert read_candidate(out).id == done.out.strip()
    trained = finished.place.run("train", out.name, "--compute", "900MFLOP", "--corpus", "texts/*.txt")
    assert (trained.code, trained.json["id"], trained.json["state"]) == (0, done.out.strip(), "completed")


def test_who_was_stopped_can_be_scaled_with_a_warning(finished: Finished) -> None:
    number = first(finished, "stopped")["number"]
    done = finished.place.run("scale", f"{finished.id}/{number}", "--compute", "1GFLOP")
    assert done.code == 0 and "extrapolated" in done.out
    said = f"warning    candidate {number} is stopped: how good it would have become is not known\n"
    assert done.err == said


def test_much_text_again_is_a_warning_and_then_needs_consent(finished: Finished) -> None:
    number = first(finished, "completed")["number"]
    asked = ("scale", f"{finished.id}/{number}", "--compute")
    warned = finished.place.run(*asked, "500GFLOP")
    assert warned.code == 0 and "epochs over the corpus; beyond 4, repeated text teaches less" in warned.err
    refused = finished.place.run(*asked, "5TFLOP", "--out", "never.yaml")
    rule = "must not repeat the corpus more than 16 times without --yes, found '"
    assert (refused.code, refused.out) == (2, "") and f"nas: --compute: {rule}" in refused.err
    assert not (finished.place.folder / "never.yaml").exists()
    assert finished.place.run(*asked, "5TFLOP", "--yes").code == 0


def test_who_was_rejected_has_no_plan_to_go_out_from(finished: Finished) -> None:
    home = Home(finished.place.home, f"sqlite:///{finished.place.home / 'nas.db'}")
    with contextlib.closing(open_store(home.database)) as store:
        search, record = store.search(finished.id), store.candidate(finished.id, 0)
        rejected = replace(record, state=CandidateState.REJECTED, plan={})
        with pytest.raises(StateError, match=f"candidate {finished.id}/0 is rejected and has no plan"):
            scale_candidate(home, store, search, rejected, 10**9)


@pytest.mark.parametrize(
    ("which", "compute", "code", "said"),
    [
        ("{id}/0", "1MFLOP", 3, "compute: must allow 20 steps of a candidate within the limits, found 1 MFLOP; "),
        (
            "{id}/0",
            "1GFLUP",
            2,
            "--compute: must be FLOPs such as 5TFLOP, 1.5PFLOP or 2e12, at least 1, found '1GFLUP'",
        ),
        ("{id}/99", "1GFLOP", 5, "no candidate 99 in search {id}; `nas candidates {id}` lists them"),
        ("{id}/x", "1GFLOP", 2, "candidate: must be ID/N with a number N, found '{id}/x'"),
        ("nobody/0", "1GFLOP", 5, "no search 'nobody'; `nas ls` shows what there is"),
    ],
)
def test_what_cannot_be_scaled(finished: Finished, which: str, compute: str, code: int, said: str) -> None:
    done = finished.place.run("scale", which.format(id=finished.id), "--compute", compute)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(f"nas: {said.format(id=finished.id)}")


def test_limits_of_the_search_bind(finished: Finished) -> None:
    """A million parameters, by its spec."""
    number = next(own["number"] for own in candidates(finished) if own["origin"] == "largest")
    found = scaled(finished, number, "5PFLOP", "--yes")
    assert any(said.startswith("params: needs ") and ", allowed 1M" in said for said in found["binds"])
    assert found["costs"]["params"] <= 10**6
