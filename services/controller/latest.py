"""What is found of a search, kept until the search changes: several parts of its page ask for the same at once."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

SEARCHES = 64
"""That are kept, those asked for last."""
Found = TypeVar("Found")


class Latest(Generic[Found]):
    """Any number of threads."""

    def __init__(self, find: Callable[[str], Found]) -> None:
        """``find`` is given a search's id."""
        self._find = find
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._known: OrderedDict[str, tuple[int, Found]] = OrderedDict()

    def of(self, search_id: str, revision: int) -> Found:
        """As of that revision of the search, or a later one."""
        known = self._look(search_id)
        if known is None or known[0] < revision:
            with self._turn:  # who comes meanwhile waits for what is found, and does not look for it too
                known = self._look(search_id)
                if known is None or known[0] < revision:
                    known = (revision, self._find(search_id))
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
            while len(self._known) > SEARCHES:
                self._known.popitem(last=False)
