"""A server's searches as a `nas.ports.PublicStore`, so that whatever shows a search shows those of a server too."""

import time
from collections.abc import Mapping
from itertools import islice
from typing import Any

from nas.client.client import Client
from nas.client.models import SearchDetail, SearchSummary
from nas.records import (
    AttemptRecord,
    CandidateRecord,
    CurvePoint,
    DecisionRecord,
    EventRecord,
    LeaseRecord,
    LedgerRecord,
    LogRecord,
    RequestKind,
    RequestRecord,
    SearchRecord,
)

DRIVER = "the server's driver"
LEASE_SECONDS = 60.0


class RemoteStore:
    """Through a client. One thread. `searches` gives records without spec and setting, which `search` has."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def now(self) -> float:
        return time.time()

    def search(self, search_id: str) -> SearchRecord:
        return _record(self.client.search(search_id))

    def searches(self) -> list[SearchRecord]:
        """The oldest first."""
        return [_record(own) for own in self.client.searches()][::-1]

    def candidate(self, search_id: str, number: int) -> CandidateRecord:
        return self.client.candidate(search_id, number)

    def candidates(self, search_id: str) -> list[CandidateRecord]:
        return list(self.client.candidates(search_id))

    def attempts(self, search_id: str, number: int | None = None) -> list[AttemptRecord]:
        return [own for own in self.client.attempts(search_id) if number in (None, own.number)]

    def log(
        self, search_id: str, number: int, *, attempt: int | None = None, after: int = 0, limit: int | None = None
    ) -> list[LogRecord]:
        return list(islice(self.client.log(search_id, number, attempt=attempt, after=after), limit))

    def points(self, search_id: str, number: int | None = None) -> list[CurvePoint]:
        return self.client.curves(search_id, number)

    def decisions(self, search_id: str, number: int | None = None) -> list[DecisionRecord]:
        return self.client.decisions(search_id, number)

    def ledger(self, search_id: str) -> list[LedgerRecord]:
        return self.client.ledger(search_id)

    def events(self, search_id: str, after: int = 0) -> list[EventRecord]:
        return self.client.events(search_id, after)

    def requests(self, search_id: str, *, unanswered: bool = False) -> list[RequestRecord]:
        return self.client.requests(search_id, unanswered=unanswered)

    def lease(self, search_id: str) -> LeaseRecord | None:
        """Of a driver that may be alive; nothing is known of others."""
        if not self.client.search(search_id).driven:
            return None
        now = self.now()
        return LeaseRecord(search_id, DRIVER, 1, now, now + LEASE_SECONDS)

    def device_profile(self, fingerprint: str) -> dict[str, Any] | None:
        found = (own.profile for own in self.client.devices().devices if own.fingerprint == fingerprint)
        return next(found, None)

    def add_request(self, search_id: str, kind: RequestKind, content: Mapping[str, Any], *, at: float) -> RequestRecord:
        client = self.client
        asks = {
            RequestKind.PAUSE: client.pause,
            RequestKind.RESUME: client.resume,
            RequestKind.STOP: client.stop,
            RequestKind.CANCEL: client.cancel,
        }
        if kind is RequestKind.ENQUEUE:
            asked = client.enqueue(search_id, content)
        elif kind is RequestKind.STOP_CANDIDATE:
            asked = client.stop_candidate(search_id, int(content["number"]))
        else:
            asked = asks[kind](search_id)
        return RequestRecord(search_id, asked.sequence, kind, dict(content), at)

    def close(self) -> None:
        """With the client."""
        self.client.close()


def _record(found: SearchSummary) -> SearchRecord:
    return SearchRecord(
        id=found.id,
        name=found.name,
        state=found.state,
        created_at=found.created_at,
        spec=found.spec if isinstance(found, SearchDetail) else {},
        setting=found.setting if isinstance(found, SearchDetail) else {"elapsed": found.elapsed},
        result=found.result,
        reason=found.reason,
        started_at=found.started_at,
        finished_at=found.finished_at,
        prospects=found.prospects,
    )
