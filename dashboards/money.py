"""The account of a search: where its compute went, what is set aside, and what was saved."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass

from dashboards.labels import SPENDING
from dashboards.view import SearchView, Spending
from nas.ledger import Balance

PARTS: Mapping[str, str] = {
    **{name: words for name, words in SPENDING.items() if name != "unspent"},
    "reserved": "reserved now",
    "kept": "kept for the final run",
    "unspent": SPENDING["unspent"],
}
"""Of a budget, in words."""


@dataclass(frozen=True, slots=True)
class Money:
    """Of one search, in FLOPs.

    Attributes:
        gate_saved: at most this; what the rejected would have been given.
        pruner_saved: planned less spent, over the stopped.
        audits: what training on after audited stops took.
        open: the search goes on: what is not spent is reserved, kept or free.
    """

    spending: Spending
    search: Balance
    final: Balance
    gate_saved: int
    pruner_saved: int
    audits: int
    open: bool = False

    @property
    def budget(self) -> int:
        return self.search.granted + self.final.granted

    @property
    def spent(self) -> int:
        return self.search.spent + self.final.spent

    @property
    def parts(self) -> dict[str, int]:
        """By `PARTS`; they add up to the budget unless it was overdrawn."""
        found = dict(zip(SPENDING, astuple(self.spending), strict=True))
        unspent = found.pop("unspent")
        reserved = self.search.reserved + self.final.reserved if self.open else 0
        kept = max(0, self.final.free) if self.open else 0
        return {**found, "reserved": reserved, "kept": kept, "unspent": max(0, unspent - reserved - kept)}


def money_of(view: SearchView) -> Money:
    """As the report shows it: what is not spent is not told apart."""
    return Money(
        spending=view.spending,
        search=view.search_account.balance,
        final=view.final_account.balance,
        gate_saved=view.gate_saved_flops,
        pruner_saved=view.pruner_saved_flops,
        audits=sum(audit.extra_flops for audit in view.audits),
    )
