import copy
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.policy import POLICIES, Policy
from nas.prune import Outlook, Standing, decide, is_audited
from nas.records import Verdict

MARGIN = 0.125  # of these tests, exact in binary
STRICT = Policy("strict", margin=MARGIN, dominators=1, audit_share=0.0)
TWO = Policy("two", margin=MARGIN, dominators=2, audit_share=0.0)

# A candidate o among its peers at one rung. Only what lies left of it or above it in no cost, and below it by the
# margin in loss, can stop it.
#
#   loss
#   3.0  |  A     B                      A, B: worse
#   2.0  |  C     o     D                C: cheaper, equal loss
#   1.95 |  E                            E: cheaper, better by less than the margin
#        |- - - - - - - - margin - - -
#   1.875|  F     G     H                F, G: cheaper or equally dear, better by the margin: each stops o
#   1.0  |  I     J     K                I, J: the same; H, K: dearer, so o may stay on the front
#        +-----------------------
#           1     2     3   cost
OWN = Standing(0, 2.0, (2.0,))
PEERS = {
    "A": (3.0, 1.0),
    "B": (3.0, 2.0),
    "C": (2.0, 1.0),
    "D": (2.0, 3.0),
    "E": (1.95, 1.0),
    "F": (1.875, 1.0),
    "G": (1.875, 2.0),
    "H": (1.875, 3.0),
    "I": (1.0, 1.0),
    "J": (1.0, 2.0),
    "K": (1.0, 3.0),
}
STOPPING = "FGIJ"


def peer(name: str) -> Standing:
    loss, cost = PEERS[name]
    return Standing(1 + ord(name), loss, (cost,))


@pytest.mark.parametrize("name", PEERS)
def test_the_picture(name: str) -> None:
    verdict = decide(0.25, OWN, [peer(name)], STRICT, 0).verdict
    assert verdict is (Verdict.STOP if name in STOPPING else Verdict.CONTINUE)


@pytest.mark.parametrize(
    ("own", "other", "stops"),
    [
        ((1.0, 1.0), (1.0, 1.0), True),  # ties in cost are no shelter
        ((1.0, 1.0), (0.5, 1.0), True),
        ((1.0, 1.0), (0.5, 1.5), False),  # dearer in one cost: both may be on the front
        ((1.0, 1.0), (1.5, 0.5), False),
        ((1.0, 1.0), (1.5, 1.5), False),
        ((), (), True),  # loss is the only objective
    ],
)
def test_every_cost_counts(own: tuple[float, ...], other: tuple[float, ...], stops: bool) -> None:
    verdict = decide(0.5, Standing(0, 2.0, own), [Standing(1, 1.0, other)], STRICT, 0).verdict
    assert (verdict is Verdict.STOP) is stops


@pytest.mark.parametrize(("names", "stops"), [("", False), ("F", False), ("FA", False), ("FG", True), ("FGIJ", True)])
def test_a_policy_may_ask_for_more_dominators(names: str, stops: bool) -> None:
    verdict = decide(0.5, OWN, [peer(name) for name in names], TWO, 0).verdict
    assert (verdict is Verdict.STOP) is stops


def test_a_candidate_is_not_its_own_peer() -> None:
    earlier = Standing(OWN.number, 0.5, (1.0,))
    assert decide(0.5, OWN, [earlier], STRICT, 0).verdict is Verdict.CONTINUE


def test_a_loss_that_is_no_number_decides_nothing() -> None:
    nan = float("nan")
    assert decide(0.5, Standing(0, nan, (2.0,)), [peer("I")], STRICT, 0).verdict is Verdict.CONTINUE
    assert decide(0.5, OWN, [Standing(1, nan, (1.0,))], STRICT, 0).verdict is Verdict.CONTINUE


def test_the_policies() -> None:
    assert not POLICIES["none"].prunes
    assert decide(0.5, OWN, [peer("I")], POLICIES["none"], 0).verdict is Verdict.CONTINUE
    default = POLICIES["default"]
    assert default.prunes
    assert default.margin >= 0.05  # below it, a difference is noise between seeds
    assert 0 < default.audit_share < 0.5
    seeds = [seed for seed in range(50) if not is_audited(seed, 0, default.audit_share)]
    assert decide(0.5, OWN, [peer("I")], default, seeds[0]).verdict is Verdict.STOP


def test_reasons() -> None:
    stop = decide(0.25, OWN, [peer(name) for name in "AFIJ"], STRICT, 0)
    assert stop.reason == (
        "at p = 0.25 candidate 74 costs no more and is better by 1.000 bits per byte (1.000 against 2.000)"
    )
    audit = decide(0.25, OWN, [peer("I")], Policy("all", margin=MARGIN, dominators=1, audit_share=1.0), 0)
    assert audit.verdict is Verdict.AUDIT
    assert audit.reason.startswith("audited, would stop: at p = 0.25 candidate 74")
    assert decide(0.25, OWN, [peer("A"), peer("E")], STRICT, 0).reason == "0 of 2 peers dominate"


def test_a_decision_holds_everything_that_it_was_made_from() -> None:
    decision = decide(0.25, OWN, [peer("F")], STRICT, 7)
    assert decision.inputs == {
        "rung": 0.25,
        "own": {"number": 0, "loss": 2.0, "costs": (2.0,)},
        "peers": [{"number": 71, "loss": 1.875, "costs": (1.0,)}],
        "policy": asdict(STRICT),
        "seed": 7,
        "outlook": None,
    }


STANDING = st.builds(
    Standing, st.integers(0, 8), st.sampled_from([1.0, 1.875, 2.0, 3.0]), st.tuples(*[st.sampled_from([1.0, 2.0])] * 2)
)
ASKED = (st.sampled_from([0.125, 0.25]), STANDING, st.lists(STANDING, max_size=5), st.sampled_from([STRICT, TWO]))


@given(*ASKED, st.integers(0, 99))
def test_asking_twice_is_asking_once(
    rung: float, own: Standing, peers: list[Standing], policy: Policy, seed: int
) -> None:
    before = copy.deepcopy((own, peers, policy))
    first = decide(rung, own, peers, policy, seed)
    assert decide(rung, own, peers, policy, seed) == first
    assert decide(rung, own, peers[::-1], policy, seed).verdict is first.verdict
    assert (own, peers, policy) == before


@given(*ASKED, STANDING)
def test_more_peers_never_save_a_candidate(
    rung: float, own: Standing, peers: list[Standing], policy: Policy, more: Standing
) -> None:
    if decide(rung, own, peers, policy, 0).verdict is Verdict.STOP:
        assert decide(rung, own, [*peers, more], policy, 0).verdict is Verdict.STOP


@given(*ASKED)
def test_what_may_reach_the_front_is_never_stopped(
    rung: float, own: Standing, peers: list[Standing], policy: Policy
) -> None:
    """Nothing is stopped that no peer dominates in costs and loss."""
    others = [peer for peer in peers if peer.number != own.number]
    dominated = any(p.loss < own.loss and all(a <= b for a, b in zip(p.costs, own.costs, strict=True)) for p in others)
    if decide(rung, own, peers, policy, 0).verdict is not Verdict.CONTINUE:
        assert dominated


def test_one_stop_in_ten_is_audited() -> None:
    for seed in range(5):
        audited = [number for number in range(4000) if is_audited(seed, number, 0.1)]
        assert 330 <= len(audited) <= 470  # four standard deviations
        assert audited == [number for number in range(4000) if is_audited(seed, number, 0.1)]
    assert [n for n in range(200) if is_audited(0, n, 0.1)] != [n for n in range(200) if is_audited(1, n, 0.1)]


def test_audits_do_not_depend_on_the_rung() -> None:
    """A stop that is audited at one rung is not executed at the next."""
    policy = POLICIES["default"]
    for number in range(200):
        own = Standing(number, 2.0, (2.0,))
        verdicts = {decide(rung, own, [Standing(999, 1.0, (1.0,))], policy, 0).verdict for rung in (0.125, 0.25, 0.5)}
        assert verdicts == {Verdict.AUDIT if is_audited(0, number, policy.audit_share) else Verdict.STOP}


@given(st.integers(0, 2**40), st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_audits_no_less(seed: int, number: int, a: float, b: float) -> None:
    assert is_audited(seed, number, min(a, b)) <= is_audited(seed, number, max(a, b))
    assert not is_audited(seed, number, 0.0)
    assert is_audited(seed, number, 1.0)


# --- where a run is expected to end ---

# o is expected to end somewhere on the line below; B is where the best ended that costs no more. With 2 deviations o is
# stopped as soon as all of o - 2 to o + 2 lies above B.
#
#      |--------o--------|          -2 to +2 deviations, of 0.25 each
#   B                               stopped: B lies left of it
#      B                            not yet: it is the edge
#         B         B         B     not stopped
#   1.75 2.0   2.5   3.0
HOPE = Policy("hope", margin=MARGIN, dominators=1, deviations=2.0, audit_share=0.0)
EXPECTED = Outlook(mean=2.5, deviation=0.25, best=1.75, number=7)


@pytest.mark.parametrize(
    ("outlook", "deviations", "stops"),
    [
        (EXPECTED, 2.0, True),
        (replace(EXPECTED, best=1.9999), 2.0, True),
        (replace(EXPECTED, best=2.0), 2.0, False),  # at the edge
        (replace(EXPECTED, best=2.0001), 2.0, False),
        (replace(EXPECTED, best=3.0), 2.0, False),
        (replace(EXPECTED, deviation=0.374), 2.0, True),
        (replace(EXPECTED, deviation=0.376), 2.0, False),  # hardly anything is known
        (EXPECTED, 2.99, True),
        (EXPECTED, 3.0, False),
        (replace(EXPECTED, best=2.5), 0.0, False),  # as good as it
        (replace(EXPECTED, best=2.49), 0.0, True),
        (EXPECTED, None, False),  # expectations stop nothing
        (None, 2.0, False),  # too little is known
        (None, None, False),
    ],
)
@pytest.mark.parametrize("peers", ["", "E", "H"])  # none of which stops it by itself
def test_what_is_expected_to_end_above_another(
    outlook: Outlook | None, deviations: float | None, stops: bool, peers: str
) -> None:
    policy = replace(HOPE, deviations=deviations)
    decision = decide(0.25, OWN, [peer(name) for name in peers], policy, 0, outlook)
    assert decision.verdict is (Verdict.STOP if stops else Verdict.CONTINUE)
    assert decision.inputs["outlook"] == (asdict(outlook) if outlook else None)


def test_losses_alone_are_not_compared_too_soon() -> None:
    """What is expected to end too high is stopped there all the same."""
    beaten = [peer("I")]
    early, later = (decide(rung, OWN, beaten, HOPE, 0) for rung in (0.0625, 0.125))
    assert (early.verdict, later.verdict) == (Verdict.CONTINUE, Verdict.STOP)
    assert decide(0.0625, OWN, beaten, HOPE, 0, EXPECTED).verdict is Verdict.STOP


def test_what_is_expected_takes_the_place_of_the_margin() -> None:
    hopeful, beaten = Outlook(1.9, 0.1, 2.0, 7), [peer("I")]
    assert decide(0.25, OWN, beaten, HOPE, 0).verdict is Verdict.STOP
    assert decide(0.25, OWN, beaten, HOPE, 0, hopeful).verdict is Verdict.CONTINUE
    assert decide(0.25, OWN, beaten, replace(HOPE, deviations=None), 0, hopeful).verdict is Verdict.STOP


def test_a_policy_that_stops_nothing_stops_nothing_for_what_is_expected() -> None:
    assert POLICIES["none"].deviations is not None
    assert decide(0.25, OWN, [], POLICIES["none"], 0, EXPECTED).verdict is Verdict.CONTINUE


def test_the_reason_says_what_is_expected() -> None:
    said = (
        "at p = 0.25 it is expected to end at 2.500 ± 0.250 bits per byte, and candidate 7, which costs no more, ended "
        "at 1.750"
    )
    assert decide(0.25, OWN, [], HOPE, 0, EXPECTED).reason == said
    assert decide(0.25, OWN, [], replace(HOPE, audit_share=1.0), 0, EXPECTED).reason == f"audited, would stop: {said}"
    assert decide(0.25, OWN, [peer("A")], HOPE, 0, replace(EXPECTED, best=3.0)).reason == "0 of 1 peers dominate"


def test_such_stops_are_audited_as_others_are() -> None:
    """The same candidates, at every rung."""
    policy = replace(HOPE, audit_share=0.1)
    audited = set()
    for number in range(300):
        own = Standing(number, 2.0, (2.0,))
        verdicts = {decide(rung, own, [], policy, 5, EXPECTED).verdict for rung in (0.125, 0.25, 0.5)}
        assert verdicts == {Verdict.AUDIT if is_audited(5, number, 0.1) else Verdict.STOP}
        audited |= {number} if verdicts == {Verdict.AUDIT} else set()
    assert 10 < len(audited) < 60


OUTLOOK = st.builds(Outlook, st.floats(1, 4), st.floats(0.001, 1), st.floats(1, 4), st.integers(0, 8))


@given(*ASKED, st.none() | OUTLOOK, st.floats(0, 5), st.floats(0, 5))
def test_more_deviations_never_stop_more(
    rung: float, own: Standing, peers: list[Standing], policy: Policy, outlook: Outlook | None, few: float, more: float
) -> None:
    strict, cautious = (replace(policy, deviations=own) for own in (few, few + more))
    if decide(rung, own, peers, cautious, 0, outlook).verdict is Verdict.STOP:
        assert decide(rung, own, peers, strict, 0, outlook).verdict is Verdict.STOP


@given(*ASKED, OUTLOOK, st.floats(0, 2), st.floats(0, 2), st.floats(0, 2))
def test_a_better_prospect_is_never_stopped_first(
    rung: float,
    own: Standing,
    peers: list[Standing],
    policy: Policy,
    outlook: Outlook,
    lower: float,
    wider: float,
    worse: float,
) -> None:
    """A lower expectation, one in more doubt, or a best that is worse."""
    hopeful = Outlook(outlook.mean - lower, outlook.deviation + wider, outlook.best + worse, outlook.number)
    own_policy = replace(policy, deviations=2.0)
    if decide(rung, own, peers, own_policy, 0, hopeful).verdict is Verdict.STOP:
        assert decide(rung, own, peers, own_policy, 0, outlook).verdict is Verdict.STOP
