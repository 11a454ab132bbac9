"""How often one may ask: so many requests a minute for each token."""

import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from nas.errors import RefusedError
from services.controller.settings import Quotas


class Rates:
    """Counted in this process, of which there is one for a server."""

    def __init__(self, quotas: Quotas) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._requests = RateLimitItemPerMinute(quotas.requests)
        self._submissions = RateLimitItemPerMinute(quotas.submissions)

    def request(self, who: str) -> None:
        """To be told of each request; raises `RefusedError` for one too many."""
        self._count(self._requests, who, "requests")

    def submission(self, who: str) -> None:
        self._count(self._submissions, who, "submissions")

    def _count(self, limit: RateLimitItemPerMinute, who: str, what: str) -> None:
        if not self._limiter.hit(limit, what, who):
            stats = self._limiter.get_window_stats(limit, what, who)
            wait = max(1.0, stats.reset_time - time.time())
            raise RefusedError(f"{what}: must be at most {limit.amount} a minute", retry_after=wait)
