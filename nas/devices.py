"""The devices that a search trains on: who judges on each, which are there, how fast and how full they proved to be."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping

from nas.appraise import Appraiser, Correction
from nas.candidate import Candidate
from nas.plan import Allowance
from nas.records import CandidateRecord, LedgerRecord

GONE_SECONDS = 60.0  # that a device was neither free nor at work before others take over its candidates


class Devices:
    """By the names that plans know them under. Not thread-safe.

    Args:
        appraisers: of each device; runs are planned by them.
        clock: seconds.
    """

    def __init__(self, appraisers: Mapping[str, Appraiser], clock: Callable[[], float] = time.monotonic) -> None:
        self._appraisers, self._clock = dict(appraisers), clock
        self._corrections = {name: Correction(own) for name, own in self._appraisers.items()}
        self._asked = dict.fromkeys(self._appraisers, clock())  # when each was last free

    def appraiser(self, name: str) -> Appraiser:
        """Of that device; of the first for a name that nobody knows."""
        return self._appraisers.get(name) or next(iter(self._appraisers.values()))

    def is_free(self, name: str) -> None:
        """It asks for a run."""
        self._asked[name] = self._clock()

    def present(self, at_work: Collection[str]) -> list[str]:
        """Devices that have asked of late, or are at work."""
        now = self._clock()
        return [name for name, at in self._asked.items() if now - at < GONE_SECONDS or name in at_work]

    def may_run(self, record: CandidateRecord, name: str, at_work: Collection[str]) -> bool:
        """Whether a candidate goes on there: where it was planned for, and anywhere when that device is gone."""
        planned = device_of(record)
        return planned in ("", name) or planned not in self.present(at_work)

    def fastest(self, candidate: Candidate | None, allowance: Allowance, at_work: Collection[str]) -> str:
        """The one that is quickest with a candidate; the first that is there for none."""
        present = self.present(at_work)
        if candidate is None or len(present) < 2:
            return present[0]
        return min(present, key=lambda name: self.appraiser(name).plan(candidate, allowance).seconds)

    # --- what runs teach ---

    def learn(self, lines: Iterable[LedgerRecord], known: Mapping[int, CandidateRecord]) -> None:
        """From the runs of earlier drivers, in the order in which they began and ended."""
        for line in lines:
            if line.number is not None and line.kind == "reserve":
                self.started(known[line.number])
            elif line.number is not None and line.kind == "settle":
                self.ended(known[line.number])

    def started(self, record: CandidateRecord) -> None:
        self._correction(record).started(record.number)

    def ended(self, record: CandidateRecord) -> None:
        self._correction(record).ended(record)

    def _correction(self, record: CandidateRecord) -> Correction:
        return self._corrections.get(device_of(record)) or next(iter(self._corrections.values()))


def device_of(record: CandidateRecord) -> str:
    """That a candidate was planned for; empty where the search knows one."""
    return str(record.plan.get("device", ""))
