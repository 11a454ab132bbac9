"""Everything a search needs, looked at: whether it is there and works, and what to do where it does not.

A module holds a few topics, one after the other: for each first the judgement, a function of plain facts, then the
check, which gets the facts. Heavy packages are imported by the checks that need them: a broken one is a finding about
its topic, and the others are still looked at.
"""

from services.doctor.examination import checks, examine
from services.doctor.findings import Check, Finding, Level

__all__ = ["Check", "Finding", "Level", "checks", "examine"]
