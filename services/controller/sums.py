"""How far searches are, kept: the database sums up again only what has changed since."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

from nas.adapters.sql.reader import Progress, Reader

SEARCHES = 1000
"""That are kept, those asked for last."""


class Sums:
    """Any number of threads."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[int, Progress | None]] = OrderedDict()  # with the revision it was read at

    def of(self, search_ids: Sequence[str]) -> dict[str, Progress]:
        """Of each search that has candidates, as `Reader.progress`."""
        revisions = self._reader.revisions(search_ids)  # first, so that what comes meanwhile is read again later
        with self._lock:
            known = {own: self._known[own] for own in revisions if own in self._known}
        stale = [own for own, revision in revisions.items() if own not in known or known[own][0] != revision]
        found = self._reader.progress(stale) if stale else {}
        known |= {own: (revisions[own], found.get(own)) for own in stale}
        with self._lock:
            for own, read in known.items():
                self._known[own] = read
                self._known.move_to_end(own)
            while len(self._known) > SEARCHES:
                self._known.popitem(last=False)
        return {own: progress for own, (_, progress) in known.items() if progress is not None}
