"""The JSON contract, written down: types, alternatives as tuples, mappings with exactly these fields, lists of one."""

from types import NoneType
from typing import Any

NUMBER = (int, float)
MAYBE = (int, float, NoneType)

RESULT = {
    "number": int,
    "val_bpb": float,
    "val_error": MAYBE,
    "test_bpb": MAYBE,
    "test_error": MAYBE,
    "train_flops": int,
    "seconds": float,
    "search_seconds": float,
    "search_flops": int,
    "export": str,
    "sentence": str,
}
SEARCH = {
    "id": str,
    "name": str,
    "state": str,
    "reason": str,
    "created_at": float,
    "started_at": MAYBE,
    "finished_at": MAYBE,
    "result": (RESULT, NoneType),
}
FORMS = {
    "params": int,
    "flops_per_byte": float,
    "kv_bytes_per_byte": float,
    "weight_bytes": int,
    "step_flops": int,
}
COSTS = FORMS | {"peak_memory": int}
PLANNED = COSTS | {"train_seconds": float, "latency_ms_per_kb": float}
PROBED = PLANNED | {"peak_memory_predicted": float}
TIMED = PROBED | {"latency_ms_per_kb_predicted": float}
PLAN = {
    "steps": int,
    "step_flops": int,
    "micro_batch": int,
    "accumulation": int,
    "tokens": int,
    "epochs": float,
    "eval_flops": int,
    "memory_bytes": int,
    "seconds": NUMBER,
    "train_seconds": NUMBER,
    "bound": str,
    "recompute": bool,
    "logits_chunk": int,
    "compile": bool,
    "precision": str,
    "recompute_step_flops": int,
    "device": str,
    "probe_steps": int,
    "share": float,
}
CANDIDATE = {
    "search_id": str,
    "number": int,
    "id": str,
    "origin": str,
    "state": str,
    "on_front": bool,
    "created_at": float,
    "started_at": MAYBE,
    "finished_at": MAYBE,
    "candidate": {"architecture": dict, "recipe": dict},
    "knobs": dict,
    "costs": (TIMED, PROBED, PLANNED, FORMS),  # a rejected candidate has no plan, and nothing that is told by it
    "plan": (PLAN, {}),
    "reason": str,
    "val_bpb": MAYBE,
    "val_error": MAYBE,
    "test_bpb": MAYBE,
    "test_error": MAYBE,
    "train_flops_planned": int,
    "train_flops_spent": int,
    "hardware_flops": int,
    "eval_flops": int,
    "repeated_flops": int,
    "seconds": NUMBER,
    "time_bound": bool,
    "artifact": str,
}
VERSION = {"schema_version": int}
RUN = VERSION | {"id": str, "state": str, "result": (RESULT, NoneType)}
LS = VERSION | {"searches": [SEARCH]}
STATUS = VERSION | SEARCH | {"counts": dict, "spent_flops": int, "prospects": (dict, NoneType)}
CANDIDATES = VERSION | {"candidates": [CANDIDATE]}
FRONT = VERSION | {"front": [CANDIDATE]}
SPACES = VERSION | {"spaces": [{"name": str, "about": str, "knobs": dict}]}
DIAL = VERSION | {"id": str, "candidate": CANDIDATE["candidate"], "costs": COSTS, "plan": PLAN}
VERIFIED = {"search_id": str, "number": int, "val_bpb": float, "val_error": MAYBE, "seconds": NUMBER}
SCALED = VERSION | {
    "id": str,
    "candidate": CANDIDATE["candidate"],
    "costs": PLANNED,
    "plan": PLAN,
    "origin": VERIFIED
    | {
        "val_bpb": MAYBE,
        "id": str,
        "state": str,
        "candidate": CANDIDATE["candidate"],
        "costs": (TIMED, PROBED, PLANNED),
        "plan": PLAN,
    },
    "factor": float,
    "binds": list,
    "extrapolation": bool,
    "verified": (VERIFIED, NoneType),
    "device": str,
}
TRAINED = VERSION | {
    "id": str,
    "state": str,
    "val_bpb": float,
    "val_error": MAYBE,
    "test_bpb": float,
    "test_error": MAYBE,
    "train_flops_planned": int,
    "train_flops_spent": int,
    "eval_flops": int,
    "flop_convention": str,
    "seconds": float,
    "time_bound": bool,
    "costs": COSTS,
    "plan": PLAN,
    "candidate": CANDIDATE["candidate"],
}
RANGE = {"predicted": MAYBE, "low": MAYBE, "high": MAYBE}
FITTING = {"id": str, "words": str, "params": int, "train_flops": int, "memory_bytes": int}
FITS = {
    "size": float,
    "number": float,
    "cheapest": FITTING,
    "largest": (FITTING, NoneType),
    "broken": [{"limit": str, "share": float, "nearest": str}],
}
FORECAST = VERSION | {
    "device": str,
    "fingerprint": str,
    "estimated": bool,
    "binding": str,
    "full_trainings": RANGE,
    "seconds": RANGE,
    "admitted_share": float,
    "epochs": float,
    "final_epochs": float,
    "dial": (dict, NoneType),
    "largest": (dict, NoneType),
    "dial_plan": (PLAN, NoneType),
    "fits": FITS,
    "refused": str,
}
ESTIMATE = {"predicted": MAYBE, "low": MAYBE, "high": MAYBE, "method": str, "measured": MAYBE}
PROFILED = VERSION | {
    "id": str,
    "params": int,
    "train_flops_per_token": float,
    "flops_per_byte": float,
    "kv_bytes_per_byte": float,
    "flop_convention": str,
    "micro_batch": int,
    "peak_memory_bytes": ESTIMATE,
    "step_seconds": ESTIMATE,
    "latency_ms_per_kb": ESTIMATE,
    "energy_joules": (ESTIMATE, NoneType),
    "device": str,
    "estimated": bool,
    "fingerprint": str,
}


def conforms(value: Any, schema: Any, where: str = "$") -> list[str]:
    """What is not as the schema says; nothing when all is."""
    if isinstance(schema, tuple):
        return [] if any(not conforms(value, one) for one in schema) else [f"{where}: {value!r} is none of {schema}"]
    if isinstance(schema, list):
        if not isinstance(value, list):
            return [f"{where}: {value!r} is no list"]
        return [wrong for index, item in enumerate(value) for wrong in conforms(item, schema[0], f"{where}[{index}]")]
    if isinstance(schema, dict):
        if not isinstance(value, dict) or value.keys() != schema.keys():
            return [f"{where}: must have the fields {sorted(schema)}, has {value!r}"]
        return [wrong for name, own in schema.items() for wrong in conforms(value[name], own, f"{where}.{name}")]
    return [] if type(value) is schema else [f"{where}: {value!r} is no {schema.__name__}"]
