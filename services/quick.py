"""A spec that nobody had to write: texts and a time are enough."""

from collections.abc import Mapping
from typing import Any

from nas.data.corpora import load_corpus
from nas.data.texts import Texts
from nas.errors import CorpusError
from nas.measure.probe import ProbeRequest, probe
from nas.plan import fastest, step_flops
from nas.space import Space, load_space
from nas.spec import Budget, CandidateBudget, Method, SearchSpec, Total
from services.cpus import cores
from services.device import backend_for, precision_for, resolve_device, threads_for
from services.home import Home
from services.profiles import Tell

CANDIDATES = 12  # full trainings that the search's share should pay for
FINAL = 0.6
"""Share of the final run: who says no more than this wants a model, and a longer final run of one of few candidates is
better than a shorter one of the best of many (docs/decisions/0017-the-dial-and-the-final-run.md)."""
ROOM = 1.5
"""FLOPs that are allowed over those that fit the time, which is to bind."""
Reference = str | Mapping[str, Any]


def quick_spec(
    corpus: Reference, seconds: float, space: str, parallel: int, seed: int, home: Home, tell: Tell
) -> SearchSpec:
    """A spec whose compute is what this machine does in the time; the time binds.

    Args:
        space: a name or path; empty for the one that goes with the device.
        parallel: candidates at a time; 0 for as many as fit the machine.
    """
    device = resolve_device("auto")
    name = space or ("llama-small" if device == "cuda" else "llama-tiny")
    within_reach = _within_reach(name, Texts(load_corpus(corpus, cache=home.cache), home.cache), tell)
    typical = load_space(within_reach)
    workers = parallel or (1 if device == "cuda" else cores())
    candidate = typical.decode(typical.defaults)
    threads = threads_for(device, workers)
    layout = fastest(candidate, backend_for(device))
    request = ProbeRequest(candidate, layout, device=device, threads=threads, precision=precision_for(device))
    rate = step_flops(candidate) / probe(request).step_seconds * workers
    total = max(1, int(ROOM * rate * seconds))
    budget = Budget(
        total=Total(compute=total, time=seconds),
        candidate=CandidateBudget(compute=max(1, int(total * (1 - FINAL) / ROOM / CANDIDATES))),
        final=FINAL,
    )
    return SearchSpec(corpus, within_reach, budget, name="fit", method=Method(parallel=workers, seed=seed))


def _within_reach(name: str, texts: Texts, tell: Tell) -> Reference:
    """The space without vocabularies that the text is too short for; raises `CorpusError` when none is left."""
    space = load_space(name)
    sizes = sorted(int(size) for size in space.values("vocabulary"))
    kept = sizes[:1]
    texts.tokenizer(sizes[0])
    for size in sizes[1:]:
        try:
            texts.tokenizer(size)
        except CorpusError:
            break
        kept.append(size)
    if kept == sizes:
        return name
    left_out = ", ".join(str(size) for size in sizes if size not in kept)
    tell("space", f"{space.name} without vocabularies of {left_out}: there is too little text for them")
    return _with_vocabularies(space, kept)


def _with_vocabularies(space: Space, sizes: list[int]) -> Mapping[str, Any]:
    raw = space.to_dict()
    default = space.defaults["vocabulary"]
    knob = {"values": sizes} | ({"default": default} if default in sizes else {})
    return {**raw, "name": space.name, "knobs": {**raw["knobs"], "vocabulary": knob}}
