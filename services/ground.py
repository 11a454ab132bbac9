"""What a search stands on, and what can be said of it before anything is spent: texts, space, device, forecast."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from nas.appraise import Appraiser
from nas.cost import FLOP_CONVENTION
from nas.data.corpora import SPLITS, Corpus, check_long_enough, known_overlap, load_corpus, patterns_by_split
from nas.data.parcels import fetch_folders
from nas.data.snapshot import fetch_corpus, publish_corpus
from nas.data.texts import Texts
from nas.errors import CorpusError
from nas.forecast import Forecast
from nas.measure.calibrate import COMPILES
from nas.measure.probe import ProbeRequest, probe
from nas.measure.tracer import Tracer
from nas.ports import Assignment
from nas.predict import Predictor
from nas.search import prepare
from nas.space import Space, load_space
from nas.spec import SearchSpec
from nas.train.worker import Probed, Workshop
from nas.units import format_bytes
from services.device import Device, device_here, precision_for
from services.home import Home
from services.profiles import Profiles, Tell, count_threads, describe


@dataclass(frozen=True)
class Ground:
    """``devices`` are all of one kind; most machines have the first. Paths of the spec are relative to ``base``."""

    spec: SearchSpec
    base: Path
    space: Space
    texts: Texts
    devices: tuple[Device, ...]

    @property
    def device(self) -> str:
        """Torch's name of the kind."""
        return self.devices[0].kind

    @property
    def threads(self) -> int:
        return self.devices[0].threads

    @property
    def all_threads(self) -> int:
        return self.devices[0].all_threads

    @property
    def precision(self) -> str:
        return precision_for(self.device)

    def appraiser(self, profiles: Profiles) -> Appraiser:
        """Of what is trained on a device with these profiles."""
        shared = profiles.shared
        backend = shared.fingerprint.backend
        unshared = self.spec.method.parallel == 1 or backend == "cuda"  # the compiler's threads take others' time
        compiles = (shared.compiles or COMPILES[backend]) if unshared else None
        return Appraiser(
            self.texts,
            self.spec.limits,
            shared.speed,
            compiles,
            self.precision,
            predictor=Predictor(Tracer(backend, self.precision), shared, profiles.alone),
            decode=shared.decode,
            measures_latency=self.spec.names_latency,
            backend=backend,
        )


def survey(
    spec: SearchSpec, base: Path, home: Home, tell: Tell, devices: Sequence[Device] = (), fingerprint: str = ""
) -> Ground:
    """Loads corpus and space and makes the tokenizers; every complaint about the input comes from here or `foresee`.

    Args:
        devices: to train on; none for what the spec names on this machine.
        fingerprint: of a corpus that is published already; empty for one that is to be.
    """
    space = load_space(spec.space, base)
    devices = devices or [device_here(spec.device, spec.method.parallel)]
    corpus = find_corpus(spec, base, home, fingerprint)
    check_long_enough(corpus, max(int(context) for context in space.values("context")))
    texts = Texts(corpus, home.cache, home.depot)
    vocabularies = sorted(int(size) for size in space.values("vocabulary"))
    tell("corpus", f"{_short(corpus.name)}: {_sizes(corpus)}")
    tell("tokenizers", f"{', '.join(map(str, vocabularies))} types")
    for vocabulary in vocabularies:
        texts.bytes_per_token(vocabulary)
    return Ground(spec, base, space, texts, tuple(devices))


def survey_again(spec: SearchSpec, setting: Mapping[str, Any], home: Home, tell: Tell) -> Ground:
    """The ground of a search that has begun, with the space and the device that it began with; raises `CorpusError`
    when its text has changed since."""
    begun = setting["corpus"]["fingerprint"]
    devices = [Device(**own["device"]) for own in setting["devices"]]
    ground = survey(replace(spec, space=setting["space"]), base_of(setting, home), home, tell, devices, begun)
    found = ground.texts.corpus.fingerprint
    if found != begun:
        raise CorpusError(
            f"corpus {ground.texts.corpus.name}: must be the text that the search began with "
            f"(sha256 {begun[:12]}), found {found[:12]}; restore it, or begin another search"
        )
    return ground


def _short(name: str) -> str:
    """A corpus by its first file, when a shell has made a list of a glob."""
    first, *others = name.split(", ")
    return f"{first} and {len(others)} more" if others else first


def _sizes(corpus: Corpus) -> str:
    return ", ".join(f"{format_bytes(corpus.split_bytes(name))} {name}" for name in SPLITS)


def foresee(ground: Ground, profiles: Profiles, tell: Tell) -> Forecast:
    """Looks ahead with the profiles of the first of the ground's devices.

    Raises `InfeasibleError` when no candidate fits.
    """
    own = profiles.shared
    named = len(ground.devices) > 1 or own.estimated
    names = f" ({', '.join(device.hardware for device in ground.devices)})" if named else ""
    tell("device", f"{ground.device}{names}, {count_threads(ground.threads)} a worker; {describe(own)}")
    return prepare(ground.spec, ground.space, ground.appraiser(profiles))


def setting_of(ground: Ground, profiles: Sequence[Profiles], found: Forecast) -> dict[str, Any]:
    """The facts of a search that are fixed before its first candidate, with the profiles of each of its devices."""
    return {
        **_facts(ground),
        "forecast": found.to_dict(),
        "reference": list(found.reference),
        "full_trainings": found.full_trainings,
        "candidate_flops": ground.spec.budget.candidate.compute,
        "devices": [
            {"device": asdict(device), **own.to_dict()} for device, own in zip(ground.devices, profiles, strict=True)
        ],
    }


def _facts(ground: Ground) -> dict[str, Any]:
    corpus = ground.texts.corpus
    shared = known_overlap(corpus, ground.texts.folder)
    return {
        "device": ground.device,
        "device_name": ", ".join(own.hardware for own in ground.devices),
        "threads": ground.threads,
        "precision": ground.precision,
        "flop_convention": FLOP_CONVENTION,
        "space": ground.space.to_dict(),
        "corpus": {
            "name": corpus.name,
            "fingerprint": corpus.fingerprint,
            **{f"{name}_bytes": corpus.split_bytes(name) for name in SPLITS},
            "overlap_validation": shared.validation,
            "overlap_test": shared.test,
        },
        "versions": {name: _version(name) for name in ("nas", "torch", "optuna", "numpy", "tokenizers")}
        | {"python": platform.python_version()},
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def open_workshop(spec: SearchSpec, base: Path, home: Home, fingerprint: str, device: Device) -> Workshop:
    """A worker's workshop, opened in its own process. It is here so that workers import no database."""
    texts = Texts(find_corpus(spec, base, home, fingerprint), home.cache, home.depot)
    return workshop_of(texts, home, device)


def workshop_of(texts: Texts, home: Home, device: Device) -> Workshop:
    """On this machine."""
    return Workshop(texts, home.artifacts, device.kind, device.threads, device.all_threads, home.depot, _probed)


def _probed(assignment: Assignment, device: str, threads: int) -> Probed:
    """`nas.train.worker.Probing`."""
    plan = assignment.plan
    request = ProbeRequest(
        assignment.candidate,
        plan.layout,
        compile=plan.compile,
        device=device,
        threads=threads,
        precision=plan.precision,
        cap_bytes=assignment.memory_cap,
        timed=1,
        decodes=assignment.latency_limit is not None,
    )
    found = probe(request)
    return Probed(found.reserved_bytes, found.token_seconds)


def base_of(setting: Mapping[str, Any], home: Home) -> Path:
    """What relative paths of a spec are relative to. Where machines share a depot, texts that a server was given are
    found in the home of whoever drives."""
    served = home.depot is not None and setting.get("served")
    return home.corpora if served else Path(setting["base"])


def find_corpus(spec: SearchSpec, base: Path, home: Home, fingerprint: str = "") -> Corpus:
    """The text of a search: its files, or where machines share a depot, what was published there."""
    depot = home.depot
    if depot is not None and fingerprint:
        return fetch_corpus(fingerprint, depot, home.cache)
    if depot is not None and base == home.corpora:
        fetch_folders(_patterns(spec.corpus), depot, base)
    corpus = load_corpus(spec.corpus, base=base, cache=home.cache)
    if depot is not None:
        publish_corpus(corpus, depot)
    return corpus


def _patterns(reference: str | Mapping[str, Any]) -> Iterator[str]:
    """Paths and globs of a corpus that is files."""
    if isinstance(reference, str):
        yield reference
    elif "huggingface" not in reference:
        for patterns in patterns_by_split(reference).values():
            yield from patterns
