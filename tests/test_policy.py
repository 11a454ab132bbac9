from dataclasses import FrozenInstanceError, replace

import pytest

from nas.policy import DEFAULT, MARGIN, NONE, POLICIES, RANDOM, STARTUP, TPE, Policy
from nas.spec import Method


def test_policies_are_named_as_they_call_themselves() -> None:
    assert POLICIES == {"default": DEFAULT, "none": NONE, "tpe": TPE, "margin": MARGIN, "random": RANDOM}
    assert all(own.name == name for name, own in POLICIES.items())
    assert POLICIES[Method().policy] is DEFAULT


@pytest.mark.parametrize(
    ("policy", "sampler", "prunes", "expects"),
    [
        (DEFAULT, "model", True, True),
        (NONE, "model", False, True),  # what it expects stops nothing
        (TPE, "suggester", True, False),
        (MARGIN, "model", True, False),
        (RANDOM, "random", True, True),
    ],
    ids=lambda own: getattr(own, "name", None),
)
def test_what_each_does(policy: Policy, sampler: str, prunes: bool, expects: bool) -> None:
    assert (policy.sampler, policy.prunes, policy.deviations is not None) == (sampler, prunes, expects)


@pytest.mark.parametrize(("policy", "field"), [(NONE, "dominators"), (MARGIN, "deviations"), (RANDOM, "sampler")])
def test_each_differs_from_the_default_in_what_it_is_to_show(policy: Policy, field: str) -> None:
    """So that the part of a gain that one field brings can be told."""
    assert getattr(policy, field) != getattr(DEFAULT, field)
    assert replace(policy, name=DEFAULT.name, **{field: getattr(DEFAULT, field)}) == DEFAULT


def test_the_sampler_that_proposes_by_itself_has_looked_at_all_that_it_was_given() -> None:
    assert (2 if TPE.baselines else 0) + TPE.seeds == STARTUP


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_every_policy_leaves_most_stops_to_be_made_and_some_to_be_checked(policy: Policy) -> None:
    assert 0 < policy.audit_share < 0.5 and policy.seeds > 0 and policy.margin >= 0.05
    with pytest.raises(FrozenInstanceError):
        policy.margin = 1.0  # type: ignore[misc]
