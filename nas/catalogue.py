"""GPUs that one does not have, by what their vendors say, so that a search can be planned for a rented one.

Peaks and sizes are read from ``catalogue.yaml``, which names the source of each; nothing here is measured.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Any

from nas.document import Fields, one_of, plain, read_text, text, whole
from nas.errors import NotFoundError, SpecError
from nas.units import parse_bytes

GIGA, TERA = 1e9, 1e12
PRECISIONS = ("bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Listed:
    """A device as its vendor describes it.

    Attributes:
        key: its name here, such as ``a100-80gb``.
        name: its name on the market.
        cuda_names: what ``torch.cuda.get_device_name()`` says of it. Cards of one name may differ in memory.
        memory_bytes: memory, the vendor's GB as 10^9; the device itself reports 2% less to 7% more.
        bandwidth: of its memory, in bytes per second.
        bfloat16: peak of its tensor cores in FLOP/s, dense, accumulated in float32, at the rated boost clock.
        float32: peak without tensor cores, in FLOP/s.
        precision: what ``bfloat16`` holds for: ``bfloat16``, or ``float16`` where tensor cores know no bfloat16.
        compute_capability: as ``torch.cuda.get_device_capability()`` says it.
        released: the year of its announcement.
        source: title and year of the vendor's document.
    """

    key: str
    name: str
    cuda_names: tuple[str, ...]
    memory_bytes: int
    bandwidth: float
    bfloat16: float
    float32: float
    precision: str
    compute_capability: tuple[int, int]
    released: int
    source: str

    @property
    def peak_flops(self) -> dict[str, float]:
        """Peaks in FLOP/s under ``bfloat16`` (see ``precision``) and ``float32``."""
        return {"bfloat16": self.bfloat16, "float32": self.float32}


def listed_devices() -> dict[str, Listed]:
    """All devices by key, in the order of the keys."""
    return dict(_catalogue())


def find_device(name: str) -> Listed:
    """A device by its key or by a name that CUDA gives it, in any case; raises `NotFoundError` with the nearest."""
    named = _named()
    found = named.get(name.strip().casefold())
    if found is None:
        near = get_close_matches(name.strip().casefold(), named, n=5)
        keys = list(dict.fromkeys(named[own].key for own in near))
        known = f"nearest are {', '.join(keys)}" if keys else f"known are {', '.join(_catalogue())}"
        raise NotFoundError(f"device: must be listed by key or CUDA name; {known}, found {name!r}")
    return found


@cache
def _catalogue() -> dict[str, Listed]:
    file = resources.files("nas") / "catalogue.yaml"
    return read_catalogue(read_text(file.read_text(encoding="utf-8"), file.name))


@cache
def _named() -> dict[str, Listed]:
    """Devices by every name they answer to, case folded."""
    devices = _catalogue().values()
    return {name.casefold(): device for device in devices for name in (*device.cuda_names, device.key)}


def read_catalogue(fields: Fields) -> dict[str, Listed]:
    """Devices by key; raises `SpecError` on a field that is missing, unknown or of another type.

    Whether the figures are plausible is for the tests to say.
    """
    return {key: _listed(key, fields.fields(key)) for key in fields.names()}


def _listed(key: str, fields: Fields) -> Listed:
    device = Listed(
        key=key,
        name=fields.required("name", text),
        cuda_names=fields.required("cuda_names", _texts),
        memory_bytes=fields.required("memory", parse_bytes),
        bandwidth=fields.required("bandwidth", _number) * GIGA,
        bfloat16=fields.required("bf16", _number) * TERA,
        float32=fields.required("fp32", _number) * TERA,
        precision=fields.required("precision", one_of(*PRECISIONS)),
        compute_capability=fields.required("compute_capability", _capability),
        released=fields.required("released", whole(1)),
        source=fields.required("source", text),
    )
    fields.done()
    return device


def _number(value: Any, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SpecError(field, "must be a number", plain(value))
    return float(value)


def _texts(value: Any, field: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise SpecError(field, "must list at least one text", plain(value))
    return tuple(text(own, field) for own in value)


def _capability(value: Any, field: str) -> tuple[int, int]:
    """From text: as a number, 12.10 would be 12.1."""
    major, dot, minor = value.partition(".") if isinstance(value, str) else ("", "", "")
    if not (dot and major.isdecimal() and minor.isdecimal()):
        raise SpecError(field, 'must be text such as "8.0"', plain(value))
    return int(major), int(minor)
