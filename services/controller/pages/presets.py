"""Searches to begin with, for machines like those they name; the forecast says what the budgets come to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Preset:
    """``spec`` is as a person would write it."""

    title: str
    about: str
    spec: Mapping[str, Any]


PRESETS: Mapping[str, Preset] = {
    "quick": Preset(
        "Quick look",
        "Minutes on a laptop: some thirty small models of the novels that come with the package.",
        {
            "name": "quick-look",
            "corpus": "austen",
            "space": "llama-tiny",
            "device": "auto",
            "budget": {
                "total": {"compute": "20TFLOP", "time": "7min"},
                "final": "30%",
                "candidate": {"compute": "500GFLOP", "memory": "1GiB"},
            },
            "limits": {"params": "20M"},
            "minimize": ["val_bpb", "flops_per_byte"],
            "method": {"parallel": 2},
        },
    ),
    "hour": Preset(
        "An hour on two cores",
        "Larger runs of the same space, of which the best gets a third of the compute.",
        {
            "name": "an-hour",
            "corpus": "austen",
            "space": "llama-tiny",
            "device": "cpu",
            "budget": {
                "total": {"compute": "250TFLOP", "time": "1h"},
                "final": "30%",
                "candidate": {"compute": "4TFLOP", "memory": "1GiB"},
            },
            "limits": {"params": "20M"},
            "minimize": ["val_bpb", "flops_per_byte"],
            "method": {"parallel": 2},
        },
    ),
    "night": Preset(
        "One GPU for a night",
        "Models of 5 to 500 million weights, of some hundred megabytes of text: bring them first.",
        {
            "name": "a-night",
            "space": "llama-small",
            "device": "cuda",
            "budget": {"total": {"compute": "2EFLOP", "time": "10h"}, "final": "40%"},
            "minimize": ["val_bpb", "flops_per_byte", "peak_memory"],
        },
    ),
    "smallest": Preset(
        "Smallest that reaches a loss",
        "The front of loss against weights: read off it the smallest model that is good enough.",
        {
            "name": "smallest",
            "corpus": "austen",
            "space": "llama-tiny",
            "device": "auto",
            "budget": {
                "total": {"compute": "60TFLOP", "time": "30min"},
                "final": "20%",
                "candidate": {"compute": "1TFLOP", "memory": "1GiB"},
            },
            "minimize": ["val_bpb", "weight_bytes"],
            "method": {"parallel": 2, "choose": "knee"},
        },
    ),
    "fast": Preset(
        "Fast to write with",
        "Loss against the time that it takes to write text on this machine, which is measured.",
        {
            "name": "fast-to-write",
            "corpus": "austen",
            "space": "llama-tiny",
            "device": "auto",
            "budget": {
                "total": {"compute": "20TFLOP", "time": "10min"},
                "final": "30%",
                "candidate": {"compute": "500GFLOP", "memory": "1GiB"},
            },
            "minimize": ["val_bpb", "latency_ms_per_kb"],
            "method": {"parallel": 2},
        },
    ),
    "one": Preset(
        "One good model",
        "Most of the compute goes to the final run; the search finds what to spend it on.",
        {
            "name": "one-good-model",
            "corpus": "austen",
            "space": "llama-tiny",
            "device": "auto",
            "budget": {
                "total": {"compute": "60TFLOP", "time": "30min"},
                "final": "70%",
                "candidate": {"compute": "500GFLOP", "memory": "1GiB"},
            },
            "limits": {"params": "20M"},
            "minimize": ["val_bpb", "flops_per_byte"],
            "method": {"parallel": 2},
        },
    ),
}
