"""What a search has reserved and spent. Reserve before dispatch, settle after: nothing is spent that was not there.

Two accounts: ``search`` and ``final``. The search can never touch the final share; what the search leaves over may
be spent by the final run.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from nas.errors import StateError
from nas.records import LedgerRecord

SEARCH, FINAL = "search", "final"


@dataclass(frozen=True, slots=True)
class Balance:
    """Of one account, in FLOPs; ``seconds`` is worker time spent, over all workers."""

    granted: int
    spent: int
    reserved: int
    seconds: float

    @property
    def free(self) -> int:
        """What may still be reserved."""
        return self.granted - self.spent - self.reserved


class Ledger:
    """The account book of one search, rebuilt by replaying its records.

    Not thread-safe; owned by the search's driver. Returned records are to be stored before they are acted on.
    """

    def __init__(
        self, search_id: str, search_flops: int, final_flops: int, records: Iterable[LedgerRecord] = ()
    ) -> None:
        self._id = search_id
        self._granted = {SEARCH: search_flops, FINAL: final_flops}
        self._spent = {SEARCH: 0, FINAL: 0}
        self._seconds = {SEARCH: 0.0, FINAL: 0.0}
        self._open: dict[int, tuple[str, int]] = {}
        self._sequence = 0
        self.follow(records)

    @property
    def sequence(self) -> int:
        """Of the last record; 0 before the first."""
        return self._sequence

    def follow(self, records: Iterable[LedgerRecord]) -> None:
        """Takes in further records that another wrote, in order of sequence."""
        for record in records:
            self._apply(record)

    def balance(self, account: str) -> Balance:
        reserved = sum(flops for own, flops in self._open.values() if own == account)
        return Balance(self._granted[account], self._spent[account], reserved, self._seconds[account])

    def reserve(self, account: str, number: int, flops: int, at: float) -> LedgerRecord:
        """Sets ``flops`` aside for a candidate; raises `StateError` when there is not that much."""
        free = self.balance(account).free
        if flops > free:
            raise StateError(f"{account} account: {flops} FLOPs asked for candidate {number}, {free} are free")
        if number in self._open:
            raise StateError(f"candidate {number} already has a reservation")
        return self._write("reserve", account, number, flops, 0.0, "planned", at)

    def settle(self, number: int, flops: int, seconds: float, at: float, note: str = "") -> LedgerRecord:
        """Releases a candidate's reservation and charges what it spent, never more than was reserved."""
        if number not in self._open:
            raise StateError(f"candidate {number} has no reservation")
        account, reserved = self._open[number]
        if flops > reserved:
            raise StateError(f"candidate {number} spent {flops} FLOPs, {reserved} were reserved")
        return self._write("settle", account, number, flops, seconds, note, at)

    def charge(self, account: str, flops: int, seconds: float, at: float, note: str) -> LedgerRecord:
        """Charges what belongs to no candidate, e.g. measuring the device's speed."""
        free = self.balance(account).free
        if flops > free:
            raise StateError(f"{account} account: {flops} FLOPs to charge for {note}, {free} are free")
        return self._write("charge", account, None, flops, seconds, note, at)

    def transfer_rest(self, at: float) -> LedgerRecord:
        """Hands what the search account has left to the final account, when the search is over."""
        return self._write("transfer", FINAL, None, self.balance(SEARCH).free, 0.0, "left by the search", at)

    def _write(
        self, kind: str, account: str, number: int | None, flops: int, seconds: float, note: str, at: float
    ) -> LedgerRecord:
        record = LedgerRecord(self._id, self._sequence + 1, kind, account, number, flops, seconds, note, at)
        self._apply(record)
        return record

    def _apply(self, record: LedgerRecord) -> None:
        self._sequence = record.sequence
        if record.kind == "reserve" and record.number is not None:
            self._open[record.number] = (record.account, record.flops)
            return
        if record.kind == "transfer":
            self._granted[SEARCH] -= record.flops
            self._granted[FINAL] += record.flops
            return
        if record.kind == "settle" and record.number is not None:
            self._open.pop(record.number, None)
        self._spent[record.account] += record.flops
        self._seconds[record.account] += record.seconds
