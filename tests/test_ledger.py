import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from nas.errors import StateError
from nas.ledger import FINAL, SEARCH, Balance, Ledger
from nas.records import LedgerRecord

ACCOUNTS = st.sampled_from([SEARCH, FINAL])
FLOPS = st.integers(0, 60)


def test_a_search() -> None:
    ledger = Ledger("s", 100, 40)
    assert ledger.reserve(SEARCH, 0, 60, 1.0) == LedgerRecord("s", 1, "reserve", SEARCH, 0, 60, 0.0, "planned", 1.0)
    assert ledger.balance(SEARCH) == Balance(granted=100, spent=0, reserved=60, seconds=0.0)
    assert ledger.balance(SEARCH).free == 40
    assert ledger.settle(0, 45, 2.5, 2.0, "stopped") == LedgerRecord(
        "s", 2, "settle", SEARCH, 0, 45, 2.5, "stopped", 2.0
    )
    assert ledger.charge(SEARCH, 5, 0.5, 3.0, "speed") == LedgerRecord(
        "s", 3, "charge", SEARCH, None, 5, 0.5, "speed", 3.0
    )
    assert ledger.balance(SEARCH) == Balance(granted=100, spent=50, reserved=0, seconds=3.0)
    assert ledger.balance(FINAL) == Balance(granted=40, spent=0, reserved=0, seconds=0.0)
    handed = ledger.transfer_rest(4.0)
    assert handed == LedgerRecord("s", 4, "transfer", FINAL, None, 50, 0.0, "left by the search", 4.0)
    assert ledger.balance(SEARCH) == Balance(granted=50, spent=50, reserved=0, seconds=3.0)
    assert ledger.balance(FINAL).granted == 90


def test_refusals_change_nothing() -> None:
    ledger = Ledger("s", 100, 40)
    ledger.reserve(SEARCH, 0, 60, 1.0)
    before = ledger.balance(SEARCH), ledger.balance(FINAL)
    with pytest.raises(StateError, match=r"search account: 41 FLOPs asked for candidate 1, 40 are free"):
        ledger.reserve(SEARCH, 1, 41, 1.0)
    with pytest.raises(StateError, match=r"candidate 0 already has a reservation"):
        ledger.reserve(FINAL, 0, 1, 1.0)
    with pytest.raises(StateError, match=r"candidate 1 has no reservation"):
        ledger.settle(1, 0, 0.0, 1.0)
    with pytest.raises(StateError, match=r"candidate 0 spent 61 FLOPs, 60 were reserved"):
        ledger.settle(0, 61, 0.0, 1.0)
    with pytest.raises(StateError, match=r"search account: 41 FLOPs to charge for speed, 40 are free"):
        ledger.charge(SEARCH, 41, 0.0, 1.0, "speed")
    assert (ledger.balance(SEARCH), ledger.balance(FINAL)) == before
    assert ledger.settle(0, 60, 0.0, 1.0).sequence == 2  # a refusal takes no number
    with pytest.raises(StateError, match=r"candidate 0 has no reservation"):
        ledger.settle(0, 0, 0.0, 1.0)


def test_the_search_never_touches_the_final_share() -> None:
    ledger = Ledger("s", 10, 1000)
    with pytest.raises(StateError):
        ledger.reserve(SEARCH, 0, 11, 1.0)
    ledger.reserve(FINAL, 1, 1000, 1.0)


def test_what_running_candidates_give_back_is_handed_over_later() -> None:
    ledger = Ledger("s", 100, 0)
    ledger.reserve(SEARCH, 0, 70, 1.0)
    assert ledger.transfer_rest(1.5).flops == 30
    ledger.settle(0, 20, 1.0, 2.0)
    assert ledger.transfer_rest(2.5).flops == 50
    assert ledger.transfer_rest(3.0).flops == 0
    assert ledger.balance(FINAL).free == 80


class Bookkeeping(RuleBasedStateMachine):
    """Any order of calls, refused ones among them."""

    @initialize(search=st.integers(0, 200), final=st.integers(0, 200))
    def open(self, search: int, final: int) -> None:
        self.grants = (search, final)
        self.ledger = Ledger("s", search, final)
        self.records: list[LedgerRecord] = []
        self.open_: dict[int, tuple[str, int]] = {}
        self.spent = {SEARCH: 0, FINAL: 0}

    @rule(account=ACCOUNTS, number=st.integers(0, 5), flops=FLOPS)
    def reserve(self, account: str, number: int, flops: int) -> None:
        if number in self.open_ or flops > self.ledger.balance(account).free:
            with pytest.raises(StateError):
                self.ledger.reserve(account, number, flops, 0.0)
            return
        self.records.append(self.ledger.reserve(account, number, flops, 0.0))
        self.open_[number] = (account, flops)

    @rule(number=st.integers(0, 5), flops=FLOPS, seconds=st.integers(0, 9))
    def settle(self, number: int, flops: int, seconds: int) -> None:
        if flops > self.open_.get(number, ("", -1))[1]:
            with pytest.raises(StateError):
                self.ledger.settle(number, flops, seconds, 0.0)
            return
        self.records.append(self.ledger.settle(number, flops, seconds, 0.0))
        account, _ = self.open_.pop(number)
        self.spent[account] += flops

    @rule(account=ACCOUNTS, flops=FLOPS)
    def charge(self, account: str, flops: int) -> None:
        if flops > self.ledger.balance(account).free:
            with pytest.raises(StateError):
                self.ledger.charge(account, flops, 0.0, 0.0, "x")
            return
        self.records.append(self.ledger.charge(account, flops, 0.0, 0.0, "x"))
        self.spent[account] += flops

    @rule()
    def transfer_rest(self) -> None:
        self.records.append(self.ledger.transfer_rest(0.0))
        assert self.ledger.balance(SEARCH).free == 0

    @invariant()
    def nothing_is_spent_that_was_not_granted(self) -> None:
        balances = [self.ledger.balance(account) for account in (SEARCH, FINAL)]
        for account, balance in zip((SEARCH, FINAL), balances, strict=True):
            assert 0 <= balance.spent + balance.reserved <= balance.granted
            assert balance.spent == self.spent[account]
            assert balance.reserved == sum(flops for own, flops in self.open_.values() if own == account)
        assert sum(balance.granted for balance in balances) == sum(self.grants)
        assert balances[1].granted >= self.grants[1]

    @invariant()
    def replaying_the_records_gives_the_same_book(self) -> None:
        again = Ledger("s", *self.grants, records=self.records)
        for account in (SEARCH, FINAL):
            assert again.balance(account) == self.ledger.balance(account)
        assert [record.sequence for record in self.records] == list(range(1, len(self.records) + 1))
        with pytest.raises(StateError):
            again.reserve(SEARCH, 99, 1000, 0.0)


TestBookkeeping = Bookkeeping.TestCase
TestBookkeeping.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
