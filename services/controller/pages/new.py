"""A new search: a form, the same as YAML, and what it would come to before anything is spent."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict

from dashboards.labels import quantity
from dashboards.specs import TEXT_MOST, read_yaml, written, yaml_of
from nas.errors import SpecError
from nas.forecast import EPOCHS_CONSENT
from nas.policy import POLICIES
from nas.space import Range, Space, load_space, space_names
from nas.spec import CHOICES, LOSS, OBJECTIVES
from nas.units import format_bytes
from services.controller.access import Reading
from services.controller.corpora import listed
from services.controller.pages.page import PageRoute, page
from services.controller.pages.presets import PRESETS
from services.controller.service import Service, TheService

router = APIRouter()
pages = APIRouter(route_class=PageRoute)


@dataclass(frozen=True, slots=True)
class Entry:
    """A field of the form, by its name in a spec. ``choices``: (value, words); none for what is typed."""

    field: str
    label: str
    help: str
    hint: str = ""
    choices: Sequence[tuple[str, str]] = ()
    kind: str = "text"

    @property
    def id(self) -> str:
        return "f-" + self.field.replace(".", "-").replace("_", "-")


BUDGET = (
    Entry("budget.total.compute", "Compute", "FLOPs of everything: search, evaluation, final run", "20TFLOP"),
    Entry("budget.total.time", "Time", "wall clock of everything while it runs", "no limit"),
    Entry("budget.total.candidates", "Candidates", "that train; rejected ones do not count", "no limit", kind="number"),
    Entry("budget.final", "Kept for the final run", "a share, or auto: at least a fifth, found while it runs", "30%"),
)
CANDIDATE = (
    Entry("budget.candidate.compute", "Compute", "training FLOPs", "a 16th of the search's"),
    Entry("budget.candidate.time", "Time", "wall clock", "no limit"),
    Entry("budget.candidate.memory", "Memory", "peak, above that of its process", "no limit"),
)
LIMITS = (
    Entry("limits.params", "Parameters", "at most, embeddings included", "no limit"),
    Entry("limits.weight_bytes", "Size of the weights", "in float32", "no limit"),
    Entry("limits.flops_per_byte", "Forward compute", "FLOPs for a byte of text, in use", "no limit"),
    Entry("limits.kv_bytes_per_byte", "Key/value cache", "bytes for a byte of text, in use", "no limit"),
    Entry("limits.latency_ms_per_kb", "Latency", "milliseconds to write 1000 bytes of text", "no limit", kind="number"),
    Entry("limits.peak_memory", "Memory in training", "of the device, the final run's too", "no limit"),
    Entry("limits.train_seconds", "Training time", "of a run, the final one too", "no limit"),
    Entry(
        "limits.export",
        "Export",
        "what transformers computes exactly, or also what takes code of its own",
        choices=(("native", "native models only"), ("any", "any model")),
    ),
)
METHOD = (
    Entry("method.parallel", "At a time", "candidates that train side by side", "1", kind="number"),
    Entry("method.seed", "Seed", "of proposals, weights and batches", "0", kind="number"),
    Entry(
        "method.choose",
        "For the final run",
        "which candidate is trained on",
        choices=(("best", "the best loss"), ("knee", "the knee of the front")),
    ),
    Entry(
        "method.policy",
        "Policy",
        "how to search; all but the first are for comparison",
        choices=tuple((own, own) for own in POLICIES),
    ),
)
FIELDS = (
    *("name", "corpus", "space", "device", "minimize"),
    *(own.field for own in (*BUDGET, *CANDIDATE, *LIMITS, *METHOD)),
)
"""That the form has, and that may stand in the page's address."""
NUMBERS = {own.field for own in (*BUDGET, *CANDIDATE, *LIMITS, *METHOD) if own.kind == "number"}
FIELD_MOST = 8000
"""Characters of a field in an address."""
REFERENCES = ("corpus", "space")
"""That may be mappings."""
_NUMBER = re.compile(r"(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?")
assert set(CHOICES) == {value for value, _ in METHOD[2].choices}


@pages.get("/new", response_class=HTMLResponse)
def new(
    request: Request,
    service: TheService,
    caller: Reading,
    preset: Annotated[str, Query(max_length=40)] = "",
    clone: Annotated[str, Query(max_length=200)] = "",
) -> HTMLResponse:
    """Filled by a preset, a search that there is, or the fields in the address, the later over the earlier."""
    name = preset if preset in PRESETS else "quick"
    former = service.store.search(clone) if clone else None
    start = written(former.spec) if former is not None else PRESETS[name].spec
    spec = _with_fields(start, request)
    corpora = _corpora(service)
    return page(
        request,
        "new.html.j2",
        caller,
        budget=BUDGET,
        candidate=CANDIDATE,
        limits=LIMITS,
        method=METHOD,
        presets=PRESETS,
        preset="" if former is not None else name,
        former=former,
        value=lambda field: _shown(spec, field),
        corpora=_with_own(corpora, spec.get("corpus"), "corpus of this spec"),
        spaces=_with_own([(own, own) for own in space_names()], spec.get("space"), "space of this spec"),
        details=[_Space.of(load_space(own)) for own in space_names()],
        objectives=[(own, quantity(own).name, own in _minimized(spec)) for own in OBJECTIVES],
        loss=LOSS,
        yaml=yaml_of(spec),
        text_most=TEXT_MOST,
        told={
            "spec": spec,
            "start": start,
            "fields": FIELDS,
            "numbers": sorted(NUMBERS),
            "preset": "" if former is not None else name,
            "clone": clone,
            "presets": {key: own.spec for key, own in PRESETS.items()},
            "may": caller.may("write"),
            "consent": EPOCHS_CONSENT,
        },
    )


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Text(_Sent):
    text: str


class Spec(_Sent):
    spec: dict[str, Any]


@router.post("/new/yaml", response_model=Text)
def to_yaml(caller: Reading, sent: Annotated[Spec, Body()]) -> Text:
    """What a form says, as YAML."""
    return Text(text=yaml_of(written(sent.spec)))


@router.post("/new/spec", response_model=Spec)
def from_yaml(caller: Reading, sent: Annotated[Text, Body()]) -> Spec:
    """What YAML says, for the form; whether it is a spec that can be searched with is asked of the API."""
    return Spec(spec=written(read_yaml(sent.text)))


router.include_router(pages)


@dataclass(frozen=True, slots=True)
class _Space:
    """A space as the page tells of it. ``knobs``: names and their levels."""

    name: str
    about: str
    knobs: Sequence[tuple[str, str]]

    @classmethod
    def of(cls, space: Space) -> "_Space":
        return cls(space.name, space.about, [(own.name, _levels(space, own.name)) for own in space.knobs])


def _levels(space: Space, name: str) -> str:
    domain = space.domain(name)
    if isinstance(domain, Range):
        return f"{domain.low:g} to {domain.high:g}"
    raw = space.source.get("knobs", {}).get(name, {})
    values = raw.get("values", domain.values) if isinstance(raw, Mapping) else domain.values
    return ", ".join(("yes" if own else "no") if isinstance(own, bool) else str(own) for own in values)


def _corpora(service: Service) -> list[tuple[str, str]]:
    return [
        (_as_value(own.reference), f"{own.name} ({format_bytes(own.bytes)})") for own in listed(service.home.corpora)
    ]


def _with_own(choices: list[tuple[str, str]], reference: Any, words: str) -> list[tuple[str, str]]:
    """With that of the spec, where it is none of them."""
    value = _as_value(reference)
    known = {own for own, _ in choices}
    if not value:
        return [("", "choose one"), *choices]
    if value in known:
        return choices
    return [*choices, (value, words if isinstance(reference, Mapping) else value)]


def _as_value(reference: Any) -> str:
    """Of an option: a name, or a mapping as JSON that is always the same."""
    if isinstance(reference, Mapping):
        return json.dumps(reference, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "" if reference is None else str(reference)


def _with_fields(spec: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """With what the address says; an empty field is none."""
    found: dict[str, Any] = json.loads(json.dumps(spec))
    for field, value in _asked(request):
        *path, last = field.split(".")
        own = found
        for name in path:
            own = own.setdefault(name, {}) if isinstance(own.get(name, {}), dict) else {}
        if value in ("", []):
            own.pop(last, None)
        else:
            own[last] = value
    return found


def _asked(request: Request) -> Iterator[tuple[str, Any]]:
    given = request.query_params
    for field in FIELDS:
        if field not in given:
            continue
        if field == "minimize":
            yield field, [own[:40] for own in given.getlist(field)[: len(OBJECTIVES)] if own]
        else:
            yield field, _value(field, given[field])


def _value(field: str, text: str) -> Any:
    """Of a field of an address: text, for some a number or a mapping as JSON. What is wrong is said by the form."""
    if len(text) > FIELD_MOST or "\0" in text:
        raise SpecError(field, "must be short text", text[:40])
    if not (field in NUMBERS and _NUMBER.fullmatch(text)) and not (field in REFERENCES and text.startswith("{")):
        return text
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text


def _shown(spec: Mapping[str, Any], field: str) -> str:
    """The value of a field of the form."""
    found: Any = spec
    for name in field.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return f"{found:g}" if isinstance(found, float) else _as_value(found)


def _minimized(spec: Mapping[str, Any]) -> Sequence[str]:
    found = spec.get("minimize", [LOSS, "flops_per_byte"])
    return [own for own in found if isinstance(own, str)] if isinstance(found, list) else []
