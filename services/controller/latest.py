"""What is found of a search, kept until the search changes and then brought up to date: several parts of its page ask
for the same at once, and each time little has changed."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

SEARCHES = 64
"""That are kept, those asked for last."""
TURNS = 16
Found = TypeVar("Found")


class Latest(Generic[Found]):
    """Any number of threads; what was given away stays as it is."""

    def __init__(self, find: Callable[[str, int, Found | None], Found], searches: int = SEARCHES) -> None:
        """``find`` is given a search's id, the revision that it is asked as of, and what it found at an earlier one,
        where that is known still."""
        self._find, self._searches = find, searches
        self._lock = threading.Lock()
        self._turns = [threading.Lock() for _ in range(TURNS)]
        self._known: OrderedDict[str, tuple[int, Found]] = OrderedDict()

    def of(self, search_id: str, revision: int) -> Found:
        """As of that revision of the search, or a later one."""
        known = self._look(search_id)
        if known is None or known[0] < revision:
            with self._turns[hash(search_id) % TURNS]:  # who comes meanwhile waits, and does not look for it too
                known = self._look(search_id)
                if known is None or known[0] < revision:
                    known = (revision, self._find(search_id, revision, None if known is None else known[1]))
                    self._keep(search_id, known)
        return known[1]

    def _look(self, search_id: str) -> tuple[int, Found] | None:
        with self._lock:
            known = self._known.get(search_id)
            if known is not None:
                self._known.move_to_end(search_id)
            return known

    def _keep(self, search_id: str, known: tuple[int, Found]) -> None:
        with self._lock:
            self._known[search_id] = known
            self._known.move_to_end(search_id)
            while len(self._known) > self._searches:
                self._known.popitem(last=False)
