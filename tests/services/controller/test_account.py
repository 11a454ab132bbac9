"""The account from sums is the account from everything, on every database."""

from dataclasses import replace

from dashboards.money import PARTS, money_of
from dashboards.view import view
from nas.ledger import SEARCH
from nas.records import LedgerRecord, SearchState
from services.controller.account import audits_of, money
from services.controller.curves import front_of
from tests.dashboards import sample
from tests.services.controller.conftest import Server


def test_a_finished_search_comes_to_what_its_report_says(filled: Server) -> None:
    search, whole = filled.store.search(filled.id), view(filled.store, filled.id)
    found = money(filled.service, search)
    assert found == money_of(whole)
    assert found.spent > 0 and sum(found.parts.values()) == found.budget


def test_so_does_one_with_everything_in_it(server: Server) -> None:
    sample.fill(server.store)
    search, whole = server.store.search(sample.ID), view(server.store, sample.ID)
    found = money(server.service, search)
    assert found == money_of(whole)
    assert found.gate_saved and found.pruner_saved and found.audits and found.spending.other
    assert server.service.tallies.of(sample.ID, server.service.reader.revision(sample.ID)).candidates_spent == sum(
        own.train_flops_spent + own.eval_flops for own in whole.candidates if own is not whole.final
    )
    front = front_of(server.service, sample.ID, server.service.reader.revision(sample.ID))
    assert sorted(front) == sorted(whole.front)
    assert tuple(audits_of(server.service.course.audits(sample.ID), front)) == whole.audits


def test_while_it_runs_what_is_not_spent_is_told_apart(server: Server) -> None:
    sample.fill(server.store, sample.PLOTS[:5], state=SearchState.RUNNING, finished_at=None, result=None)
    before = money(server.service, server.store.search(sample.ID))
    line = LedgerRecord(sample.ID, 1000, "reserve", SEARCH, 40, 10**9, 0.0, "planned", 1.0)
    server.store.add_ledger([line])
    after = money(server.service, server.store.search(sample.ID))
    assert before.parts["reserved"] == 0 and before.parts["kept"] == int(0.3 * sample.TOTAL_FLOPS)
    assert after.parts == before.parts | {"reserved": 10**9, "unspent": before.parts["unspent"] - 10**9}
    assert sum(after.parts.values()) == after.budget == sample.TOTAL_FLOPS
    over = replace(after, open=False).parts
    assert (over["reserved"], over["kept"]) == (0, 0) and sum(over.values()) == after.budget
    assert after.parts.keys() == PARTS.keys()


def test_a_search_that_has_not_begun(server: Server) -> None:
    own = server.submit().json()["id"]
    found = money(server.service, server.store.search(own))
    assert (found.spent, found.gate_saved, found.pruner_saved, found.audits) == (0, 0, 0, 0)
    assert found.open and found.budget == 300 * 10**9
