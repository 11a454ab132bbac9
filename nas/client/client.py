"""A server from Python.

with Client("http://127.0.0.1:8470") as client:
    search = client.submit({"corpus": "austen", "space": "llama-tiny", "budget": {"total": {"compute": "20TFLOP"}}})
    for event in client.follow(search.id):
        print(event.message)
    for member in client.front(search.id).members:
        print(member.number, member.values)
"""

import hashlib
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2
from pydantic import BaseModel, TypeAdapter

from nas.client.http import RETRY_SECONDS, Http
from nas.client.models import (
    IDEMPOTENCY_HEADER,
    Asked,
    Attempts,
    CandidatePage,
    Columns,
    Corpora,
    CorpusInfo,
    CreatedToken,
    Curves,
    Decisions,
    Devices,
    Events,
    ExportInfo,
    ExportState,
    ForecastInfo,
    Front,
    Generated,
    Hypervolume,
    LedgerLines,
    Log,
    Me,
    ProfileJob,
    ProfileJobs,
    Requests,
    ScaledCandidate,
    SearchDetail,
    SearchPage,
    SearchSummary,
    Spaces,
    TokenInfo,
    TokenList,
    Validated,
    Version,
    Workers,
)
from nas.errors import ExportError, ProfileError, UnreachableError
from nas.records import (
    AttemptRecord,
    CandidateRecord,
    CurvePoint,
    DecisionRecord,
    EventRecord,
    LedgerRecord,
    LogRecord,
    RequestRecord,
    SearchState,
)

Model = TypeVar("Model", bound=BaseModel)
_CANDIDATE, _EVENT = TypeAdapter(CandidateRecord), TypeAdapter(EventRecord)


class Client:
    """A context, or to be closed. For one thread.

    Requests that are lost on the way are sent again for some seconds, also those that submit something: the server
    knows them by a key. Errors are those of `nas.client.http.Http.request`.
    """

    def __init__(
        self,
        server: str,
        token: str = "",
        *,
        transport: httpx2.BaseTransport | None = None,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._http = Http(server, token, transport, retry_seconds)

    @property
    def server(self) -> str:
        return self._http.server

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- searches ---

    def submit(self, spec: Mapping[str, Any], *, agreed: bool = False, key: str = "") -> SearchDetail:
        """A search, which begins as soon as there is room.

        Args:
            agreed: text may be repeated more than 16 times.
            key: of the request; the same key again gives the same search. One by lot without.
        """
        body = {"spec": dict(spec), "agreed": agreed}
        return self._post(SearchDetail, "/searches", json=body, headers=_key(key))

    def validate(self, spec: Mapping[str, Any]) -> Validated:
        """What a search would be; raises `SpecError`."""
        return self._post(Validated, "/searches", json={"spec": dict(spec)}, params={"validate_only": True})

    def forecast(self, spec: Mapping[str, Any], device: str = "") -> ForecastInfo:
        """What a search would do, on the spec's device or another; raises `StateError` for one without a profile."""
        return self._post(ForecastInfo, "/forecasts", json={"spec": dict(spec), "device": device}, timeout=330.0)

    def searches(self, states: Iterable[SearchState] = ()) -> Iterator[SearchSummary]:
        """The newest first."""
        token = ""
        while True:
            page = self._get(SearchPage, "/searches", state=list(states), page_token=token)
            yield from page.searches
            if not (token := page.next_page_token):
                return

    def search(self, search_id: str) -> SearchDetail:
        return self._get(SearchDetail, f"/searches/{search_id}")

    def delete(self, search_id: str) -> None:
        self._http.request("DELETE", f"/searches/{search_id}", safe=False)

    def pause(self, search_id: str) -> Asked:
        return self._post(Asked, f"/searches/{search_id}/pause")

    def resume(self, search_id: str) -> Asked:
        return self._post(Asked, f"/searches/{search_id}/resume")

    def stop(self, search_id: str) -> Asked:
        return self._post(Asked, f"/searches/{search_id}/stop")

    def cancel(self, search_id: str) -> Asked:
        return self._post(Asked, f"/searches/{search_id}/cancel")

    def clone(self, search_id: str, changes: Mapping[str, Any] | None = None, key: str = "") -> SearchDetail:
        """The same search again, with other values for some of its fields."""
        return self._post(SearchDetail, f"/searches/{search_id}/clone", json=dict(changes or {}), headers=_key(key))

    # --- candidates ---

    def candidates(self, search_id: str, **wanted: Any) -> Iterator[CandidateRecord]:
        """By number, or as ``wanted`` says: state, origin, order_by, descending, since_revision."""
        token = ""
        while True:
            given = {"page_size": 1000, **wanted, "page_token": token}
            page = self._get(CandidatePage, f"/searches/{search_id}/candidates", **given)
            yield from page.candidates
            if not (token := page.next_page_token):
                return

    def candidate(self, search_id: str, number: int) -> CandidateRecord:
        found = self._http.request("GET", f"/searches/{search_id}/candidates/{number}")
        return _CANDIDATE.validate_json(found.content)

    def enqueue(self, search_id: str, candidate: Mapping[str, Any]) -> Asked:
        """Gives the search a candidate, as `nas.candidate.Candidate.to_dict` has it."""
        return self._post(Asked, f"/searches/{search_id}/candidates", json=dict(candidate))

    def stop_candidate(self, search_id: str, number: int) -> Asked:
        return self._post(Asked, f"/searches/{search_id}/candidates/{number}/stop")

    def generate(
        self, search_id: str, number: int, prompt: str = "", tokens: int = 200, temperature: float = 0.8, seed: int = 0
    ) -> str:
        """Text by a trained candidate."""
        body = {"prompt": prompt, "tokens": tokens, "temperature": temperature, "seed": seed}
        path = f"/searches/{search_id}/candidates/{number}/generate"
        return self._post(Generated, path, json=body, timeout=150.0).text

    def scale(self, search_id: str, number: int, compute: int) -> ScaledCandidate:
        """A candidate carried to another budget, in FLOPs of training, by scaling rules."""
        path = f"/searches/{search_id}/candidates/{number}/scale"
        return self._post(ScaledCandidate, path, json={"compute": compute}, timeout=150.0)

    def curves(self, search_id: str, number: int | None = None) -> list[CurvePoint]:
        own = "/curves" if number is None else f"/candidates/{number}/curve"
        return self._get(Curves, f"/searches/{search_id}{own}").points

    def decisions(self, search_id: str, number: int | None = None) -> list[DecisionRecord]:
        own = "/decisions" if number is None else f"/candidates/{number}/decisions"
        return self._get(Decisions, f"/searches/{search_id}{own}").decisions

    def attempts(self, search_id: str) -> list[AttemptRecord]:
        return self._get(Attempts, f"/searches/{search_id}/attempts").attempts

    def log(self, search_id: str, number: int, *, attempt: int | None = None, after: int = 0) -> Iterator[LogRecord]:
        """What the workers of a candidate logged, the lines with a sequence number above ``after``."""
        while True:
            given = {"attempt": attempt, "after": after, "limit": 1000}
            page = self._get(Log, f"/searches/{search_id}/candidates/{number}/log", **given)
            yield from page.lines
            if not page.more:
                return
            after = page.lines[-1].sequence

    def export(self, search_id: str, number: int) -> ExportInfo:
        """Has a trained candidate exported; waits until it is. Raises `ExportError`."""
        found = self._post(ExportInfo, "/exports", json={"search_id": search_id, "number": number})
        while found.state is ExportState.RUNNING:
            time.sleep(0.3)
            found = self._get(ExportInfo, f"/exports/{found.id}")
        if found.state is ExportState.FAILED:
            raise ExportError(f"candidate {search_id}/{number} was not exported: {found.detail}")
        return found

    def download(self, export: ExportInfo) -> bytes:
        """The archive of an export, a gzipped tar; raises `ExportError` for one that was damaged on its way."""
        archive = self._http.request("GET", f"/exports/{export.id}/archive", timeout=600.0).content
        if hashlib.sha256(archive).hexdigest() != export.sha256:
            raise ExportError(
                f"export {export.id}: its sha256 must be {export.sha256[:12]}...; it was damaged on its way"
            )
        return archive

    # --- what was found ---

    def front(self, search_id: str, objectives: Iterable[str] = (), limits: Mapping[str, float] | None = None) -> Front:
        """The Pareto front of two or three objectives, those of the search without, among what keeps the limits."""
        given = {f"max.{name}": value for name, value in (limits or {}).items()}
        return self._get(Front, f"/searches/{search_id}/front", objectives=list(objectives), **given)

    def hypervolume(self, search_id: str) -> Hypervolume:
        return self._get(Hypervolume, f"/searches/{search_id}/hypervolume")

    def ledger(self, search_id: str) -> list[LedgerRecord]:
        return self._get(LedgerLines, f"/searches/{search_id}/ledger").ledger

    def report(self, search_id: str) -> str:
        """One file of HTML."""
        return self._http.request("GET", f"/searches/{search_id}/report").text

    # --- what happens ---

    def events(self, search_id: str, after: int = 0) -> list[EventRecord]:
        return self._get(Events, f"/searches/{search_id}/events", after=after).events

    def requests(self, search_id: str, *, unanswered: bool = False) -> list[RequestRecord]:
        return self._get(Requests, f"/searches/{search_id}/requests", unanswered=unanswered).requests

    def follow(self, search_id: str, after: int = 0) -> Iterator[EventRecord]:
        """Events as they come, until nothing drives the search any more. A connection that is lost is made again, and
        goes on where it was."""
        seen, lost = after, 0.0
        while True:
            try:
                headers = {"Last-Event-ID": str(seen), "Accept": "text/event-stream"}
                with self._http.stream(f"/searches/{search_id}/events/stream", headers=headers) as answer:
                    for sent in httpx2.EventSource(answer):
                        lost = 0.0
                        if sent.event == "event":
                            event = _EVENT.validate_json(sent.data)
                            seen = event.sequence
                            yield event
                        elif sent.event == "resync":
                            seen = 0
                        elif sent.event == "end":
                            return
            except UnreachableError:
                lost = lost or time.monotonic()
                if time.monotonic() - lost > RETRY_SECONDS:
                    raise
                time.sleep(1.0)

    def columns(self, search_id: str, since_revision: int | None = None) -> Columns:
        """All candidates, or those that have changed since, as columns."""
        return self._get(Columns, f"/searches/{search_id}/columns", since_revision=since_revision)

    # --- what the server has ---

    def version(self) -> Version:
        return self._get(Version, "/version")

    def me(self) -> Me:
        return self._get(Me, "/me")

    def spaces(self) -> Spaces:
        return self._get(Spaces, "/spaces")

    def devices(self) -> Devices:
        return self._get(Devices, "/devices")

    def profile(
        self, device: str = "auto", full: bool = False, *, parallel: int = 1, refit: bool = False
    ) -> ProfileJob:
        """Has a device profiled, which takes minutes; `profiled` waits for it.

        Args:
            full: a short profile will not do.
            parallel: runs that share the machine's threads, as in a spec.
            refit: none that is there will do; a full one is made.
        """
        body = {"device": device, "full": full, "parallel": parallel, "refit": refit}
        return self._post(ProfileJob, "/profiles", json=body)

    def profile_job(self, job_id: str) -> ProfileJob:
        return self._get(ProfileJob, f"/profiles/{job_id}")

    def profile_jobs(self) -> list[ProfileJob]:
        """Since the server began."""
        return self._get(ProfileJobs, "/profiles").profiles

    def profiled(self, job: ProfileJob) -> ProfileJob:
        """Waits until a device is profiled. Raises `ProfileError`."""
        while job.state == "running":
            time.sleep(0.5)
            job = self.profile_job(job.id)
        if job.state == "failed":
            raise ProfileError(job.detail)
        return job

    def workers(self) -> Workers:
        return self._get(Workers, "/workers")

    def corpora(self) -> list[CorpusInfo]:
        return self._get(Corpora, "/corpora").corpora

    def upload(self, name: str, texts: Mapping[str, Iterable[Path]]) -> CorpusInfo:
        """Brings text files, by split; ``reference`` of what comes back is for a spec."""
        opened = [(split, path, path.open("rb")) for split, paths in texts.items() for path in paths]
        try:
            files = [(split, (path.name, file, "text/plain")) for split, path, file in opened]
            answer = self._http.request("POST", "/corpora", safe=False, data={"name": name}, files=files, timeout=600.0)
        finally:
            for _, _, file in opened:
                with suppress(OSError):
                    file.close()
        return CorpusInfo.model_validate_json(answer.content)

    # --- tokens ---

    def create_token(self, name: str, scope: str = "read", expires_in: float | None = None) -> CreatedToken:
        body = {"name": name, "scope": scope, "expires_in": expires_in}
        answer = self._http.request("POST", "/tokens", safe=False, json=body)
        return CreatedToken.model_validate_json(answer.content)

    def tokens(self) -> list[TokenInfo]:
        return self._get(TokenList, "/tokens").tokens

    def revoke_token(self, token_id: str) -> TokenInfo:
        answer = self._http.request("DELETE", f"/tokens/{token_id}")
        return TokenInfo.model_validate_json(answer.content)

    def _get(self, model: type[Model], path: str, **params: Any) -> Model:
        given = {name: value for name, value in params.items() if value not in (None, "", [])}
        return model.model_validate_json(self._http.request("GET", path, params=given).content)

    def _post(self, model: type[Model], path: str, **given: Any) -> Model:
        return model.model_validate_json(self._http.request("POST", path, **given).content)


def _key(key: str) -> dict[str, str]:
    return {IDEMPOTENCY_HEADER: key or uuid.uuid4().hex}
