"""The model card: what a candidate is, how good, at what cost, and how to load it."""

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nas.candidate import Architecture, Candidate, Deviation
from nas.cost import FLOP_CONVENTION, params
from nas.native import native_family
from nas.records import CandidateRecord
from nas.spec import LATENCY, PEAK_MEMORY, TRAIN_SECONDS
from nas.units import format_bytes, format_count, format_flops, format_seconds

_COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "params": ("Parameters", format_count),
    "flops_per_byte": ("Forward FLOPs per byte of text", format_flops),
    "kv_bytes_per_byte": ("Key/value cache per byte of text, float32", format_bytes),
    "weight_bytes": ("Weights, float32", format_bytes),
}
_DEVICE_COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    PEAK_MEMORY: ("Peak memory while training", format_bytes),
    TRAIN_SECONDS: ("Training time, predicted", format_seconds),
    LATENCY: ("Milliseconds to write a kB of text", "{:.3g}".format),
}

_USE = """\
A tiny language model, found by architecture search on a small budget: for research, teaching and as a starting point
for fine-tuning. It continues text that resembles its training text. It follows no instructions, knows few facts,
repeats itself, and writes down whatever its training text taught it, true or not, harmless or not. Do not let it
decide or advise where an error would matter. Nobody has checked it for bias or memorised text."""

_LOAD = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # where this file lies
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder{trust})
prompt = tokenizer(tokenizer.bos_token + "Once upon a time", return_tensors="pt")
tokens = model.generate(**prompt, max_new_tokens={tokens}, do_sample=True)
print(tokenizer.decode(tokens[0], skip_special_tokens=True))
```

It was trained on documents that start with `<|endoftext|>` (id 0), in sequences of {context} tokens; beyond that length
it has seen nothing. {code}"""

_CODE = """\
No model family of transformers computes this architecture, so
its code lies beside this file: `modeling_nas.py` needs torch and transformers alone. Read it before you trust it."""


def model_card(
    record: CandidateRecord, *, search_name: str, corpus: str, limits: Mapping[str, Any], device: str, seed: int
) -> str:
    """Markdown with YAML front matter, as model hubs read it. What was not measured is said to be so, in words.

    Args:
        limits: what the user asked for (`nas.spec.Limits` as a mapping); ``None`` is no limit.
        device: what the candidate was trained on, for people.
        seed: of the training run.
    """
    candidate = Candidate.from_dict(record.candidate)
    architecture = candidate.architecture
    sections = (
        _front_matter(record, search_name, corpus),
        f"# {_line(search_name)}, candidate {record.number}",
        f"A decoder-only transformer of {format_count(params(architecture))} parameters, trained on {_line(corpus)}. "
        f"Found by architecture search under a budget, as candidate `{record.id}`.",
        "## Loss",
        _loss(record),
        "## What training cost",
        _table(("Quantity", "Value"), _spent(record, device, seed)),
        *(("The machine was slower than predicted, so the run was shortened to fit.",) if record.time_bound else ()),
        "## Size and cost of use",
        _table(("Quantity", "This model", "Limit", "Held"), _limits(architecture, record.costs, limits)),
        "## Architecture",
        _table(("Field", "Value"), _fields(architecture)),
        "## Recipe",
        _table(("Field", "Value"), _fields(candidate.recipe)),
        "## Use and limitations",
        _USE,
        "The licence is for you to choose, within what the training text allows; it is `unknown` until you do.",
        "## How to load it",
        _loading(architecture),
    )
    return "\n\n".join(sections) + "\n"


def _front_matter(record: CandidateRecord, search_name: str, corpus: str) -> str:
    """Metadata for model hubs; JSON strings are YAML strings, so names need no other quoting."""
    head = [
        "---",
        "license: unknown",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "tags:",
        "- neural-architecture-search",
        "- small-language-model",
    ]
    split, loss, _ = _best_loss(record)
    if loss is not None:
        name, data = _quoted(f"{search_name}, candidate {record.number}"), _quoted(corpus)
        head += [
            "model-index:",
            f"- name: {name}",
            "  results:",
            "  - task: {type: text-generation}",
            f"    dataset: {{type: {data}, name: {data}, split: {split}}}",
            f"    metrics: [{{type: bits_per_byte, name: Bits per byte, value: {loss:.4f}}}]",
        ]
    return "\n".join([*head, "---"])


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _best_loss(record: CandidateRecord) -> tuple[str, float | None, float | None]:
    """(split, loss, standard error): test if it was read, else validation."""
    if _finite(record.test_bpb) is not None:
        return "test", record.test_bpb, _finite(record.test_error)
    return "validation", _finite(record.val_bpb), _finite(record.val_error)


def _loss(record: CandidateRecord) -> str:
    split, loss, error = _best_loss(record)
    if loss is None:
        return "Not measured."
    within = f" ± {error:.4f} (standard error)" if error is not None else " (standard error not known)"
    text = f"**{loss:.4f} bits per byte**{within} on the {split} split. Lower is better; every byte of the split is "
    text += "scored once, so losses compare between vocabularies."
    if split == "validation":
        text += " The search has looked at this split, so a fresh text is likely to score a little worse."
    return text


def _spent(record: CandidateRecord, device: str, seed: int) -> list[tuple[str, ...]]:
    seconds = _finite(record.seconds)
    return [
        ("Training", f"{format_flops(record.train_flops_spent)} (`{FLOP_CONVENTION}`)"),
        ("Evaluation", format_flops(record.eval_flops)),
        ("Time, training and evaluation", "not known" if seconds is None else format_seconds(seconds)),
        ("Device", device),
        ("Seed", str(seed)),
    ]


def _limits(architecture: Architecture, costs: Mapping[str, Any], limits: Mapping[str, Any]) -> list[tuple[str, ...]]:
    named = {name: own for name, own in _DEVICE_COSTS.items() if name in costs or limits.get(name) is not None}
    rows = [
        _limit(label, _finite(costs.get(name)), _finite(limits.get(name)))
        for name, label in {**_COSTS, **named}.items()
    ]
    family, asked = native_family(architecture), limits.get("export") == "native"
    rows.append(
        ("Family in transformers", family or "none", "must have one" if asked else "none", _held(asked, bool(family)))
    )
    return rows


def _limit(label: tuple[str, Callable[[float], str]], value: float | None, limit: float | None) -> tuple[str, ...]:
    title, form = label
    asked = "none" if limit is None else f"at most {form(limit)}"
    if value is None:
        return title, "not known", asked, "not known"
    return title, form(value), asked, _held(limit is not None, limit is None or value <= limit)


def _held(asked: bool, held: bool) -> str:
    if not asked:
        return "-"
    return "yes" if held else "no"


def _fields(record: Any) -> list[tuple[str, ...]]:
    """The fields of a dataclass by name; empty ones as ``none``."""
    return [(spec.name, _value(getattr(record, spec.name))) for spec in dataclasses.fields(record)]


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return "; ".join(_deviation(item) for item in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _deviation(deviation: Deviation) -> str:
    changed = {name: value for name, value in dataclasses.asdict(deviation).items() if value and name != "layer"}
    return f"layer {deviation.layer}: " + ", ".join(f"{name} {value}" for name, value in changed.items())


def _loading(architecture: Architecture) -> str:
    native = native_family(architecture) is not None
    return _LOAD.format(
        trust="" if native else ", trust_remote_code=True",
        code="No other code is needed." if native else _CODE,
        tokens=max(1, architecture.context // 2),
        context=architecture.context,
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, tuple("---" for _ in head), *rows)
    return "\n".join(f"| {' | '.join(_line(cell) for cell in line)} |" for line in lines)


def _line(text: str) -> str:
    """Text of a user within a line or a cell of Markdown."""
    return " ".join(text.split()).replace("|", "\\|")


def _finite(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None
