"""The catalogue of devices: complete, plausible, found by name, and shown by its document as it is."""

import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from nas.catalogue import PRECISIONS, Listed, find_device, listed_devices, read_catalogue
from nas.document import read_text
from nas.errors import NotFoundError, SpecError

DOCUMENT = Path(__file__).parents[1] / "docs" / "devices.md"
DEVICES = listed_devices()
ENTRIES = pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)

ENTRY = """
some-gpu:
  name: Some GPU
  cuda_names: [NVIDIA Some, Some]
  memory: 24GiB
  bandwidth: 716.8
  bf16: 100
  precision: bfloat16
  fp32: 50
  compute_capability: "12.1"
  released: 2030
  source: Some datasheet, 2030
"""


# --- each entry ---


@ENTRIES
def test_entries_are_complete(device: Listed) -> None:
    assert all(getattr(device, field.name) for field in fields(device))
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", device.key)
    assert re.fullmatch(r"\S.*, 20\d\d", device.source) and "://" not in device.source
    assert device.precision in PRECISIONS
    assert 2017 <= device.released <= 2030


@ENTRIES
def test_figures_are_plausible(device: Listed) -> None:
    assert 8e9 <= device.memory_bytes <= 300e9
    assert 200e9 <= device.bandwidth <= 10e12
    assert 8e12 <= device.float32 <= device.bfloat16 <= 3e15
    assert 30 <= device.bfloat16 / device.bandwidth <= 700, "FLOP per byte at the ridge"
    assert device.peak_flops == {"bfloat16": device.bfloat16, "float32": device.float32}


@ENTRIES
def test_bfloat16_came_with_ampere(device: Listed) -> None:
    assert (device.precision == "bfloat16") == (device.compute_capability >= (8, 0))


@ENTRIES
def test_geforce_accumulates_in_float32_at_half_rate(device: Listed) -> None:
    """From Ampere on its tensor cores are then twice as fast as its float32 units: 4 would be float16 accumulation, or
    sparsity; 8 both."""
    if device.name.startswith("GeForce") and device.precision == "bfloat16":
        assert device.bfloat16 / device.float32 == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize(
    ("key", "memory", "bandwidth", "bfloat16", "float32"),
    [
        ("a100-40gb", 40, 1555, 312, 19.5),
        ("a100-80gb", 80, 2039, 312, 19.5),
        ("a100-80gb-pcie", 80, 1935, 312, 19.5),
        ("h100-sxm", 80, 3350, 989.4, 66.9),
        ("h100-pcie", 80, 2000, 756, 51),
        ("a10", 24, 600, 125, 31.2),
        ("a10g", 24, 600, 70, 35),
        ("t4", 16, 320, 65, 8.1),
        ("v100-16gb", 16, 900, 125, 15.7),
        ("rtx-3090", 24, 936, 71, 35.6),
        ("rtx-4090", 24, 1008, 165.2, 82.6),
        ("rtx-5090", 32, 1792, 209.5, 104.8),
    ],
)
def test_well_known_figures(key: str, memory: int, bandwidth: float, bfloat16: float, float32: float) -> None:
    device = DEVICES[key]
    assert device.memory_bytes == memory * 10**9
    assert (device.bandwidth, device.bfloat16, device.float32) == (bandwidth * 1e9, bfloat16 * 1e12, float32 * 1e12)


# --- all entries ---


def test_keys_are_sorted_and_no_name_is_given_twice() -> None:
    assert list(DEVICES) == sorted(DEVICES)
    names = [
        name for own in DEVICES.values() for name in {own.key, *(cuda_name.casefold() for cuda_name in own.cuda_names)}
    ]
    assert sorted(names) == sorted(set(names))
    markets = [device.name for device in DEVICES.values()]
    assert sorted(markets) == sorted(set(markets))


def test_what_is_returned_is_the_callers() -> None:
    listed_devices().clear()
    assert listed_devices() == DEVICES
    with pytest.raises(FrozenInstanceError):
        DEVICES["t4"].released = 2019  # type: ignore[misc]


# --- lookups ---


@ENTRIES
def test_found_by_every_name_in_any_case(device: Listed) -> None:
    for name in (device.key, *device.cuda_names):
        assert find_device(name) == find_device(name.upper()) == find_device(f" {name.lower()}\n") == device


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("a100", ["a100-40gb", "a100-80gb"]),
        ("h100", ["h100-nvl", "h100-pcie", "h100-sxm"]),
        ("4090", ["rtx-4090"]),
        ("rtx 3090", ["rtx-3090"]),
        ("NVIDIA GeForce RTX 4070 Ti", ["rtx-4070", "rtx-5070-ti"]),
    ],
)
def test_the_nearest_are_named(name: str, keys: list[str]) -> None:
    with pytest.raises(NotFoundError, match=r"^device: must be listed by key or CUDA name; nearest are ") as caught:
        find_device(name)
    named, _, found = str(caught.value).partition("nearest are ")[2].rpartition(", found ")
    assert found == repr(name)
    assert set(keys) <= set(named.split(", ")) <= set(DEVICES)


@pytest.mark.parametrize("name", ["", "?", "quantum abacus"])
def test_all_are_named_if_none_is_near(name: str) -> None:
    with pytest.raises(NotFoundError, match=rf"known are {', '.join(DEVICES)}, found {re.escape(repr(name))}$"):
        find_device(name)


# --- reading ---


def test_an_entry() -> None:
    assert read_catalogue(read_text(ENTRY, "here")) == {
        "some-gpu": Listed(
            key="some-gpu",
            name="Some GPU",
            cuda_names=("NVIDIA Some", "Some"),
            memory_bytes=24 * 2**30,
            bandwidth=716.8e9,
            bfloat16=100e12,
            float32=50e12,
            precision="bfloat16",
            compute_capability=(12, 1),
            released=2030,
            source="Some datasheet, 2030",
        )
    }


@pytest.mark.parametrize("field", re.findall(r"^  (\w+):", ENTRY, re.M))
def test_every_field_is_required(field: str) -> None:
    with pytest.raises(SpecError, match=rf"^here:3: some-gpu\.{field}: is required$"):
        read_catalogue(read_text(re.sub(rf"  {field}:.*\n", "", ENTRY), "here"))


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("name", "7", "must be text"),
        ("cuda_names", "NVIDIA Some", "must list at least one text"),
        ("cuda_names", "[]", "must list at least one text"),
        ("cuda_names", "[7]", "must be text"),
        ("memory", "much", "must be bytes"),
        ("bandwidth", "fast", "must be a number"),
        ("bf16", "true", "must be a number"),
        ("fp32", "[1]", "must be a number"),
        ("precision", "float8", "must be one of bfloat16, float16"),
        ("compute_capability", "8.0", 'must be text such as "8.0"'),
        ("compute_capability", "'8'", 'must be text such as "8.0"'),
        ("compute_capability", "'8.x'", 'must be text such as "8.0"'),
        ("released", "'2030'", "must be a whole number"),
        ("source", "''", "must be text"),
        ("colour", "green", "is not known here"),
    ],
)
def test_fields_of_another_type(field: str, value: str, rule: str) -> None:
    document = re.sub(rf"  {field}:.*\n", "", ENTRY) + f"  {field}: {value}\n"
    with pytest.raises(SpecError, match=rf"^here:\d+: some-gpu\.{field}: {re.escape(rule)}"):
        read_catalogue(read_text(document, "here"))


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        (ENTRY + ENTRY, "duplicate key"),
        ("some-gpu: 7\n", "some-gpu: must be a mapping of fields, found 7"),
        ("- some-gpu\n", "must be a mapping of fields"),
    ],
)
def test_documents_of_another_form(document: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        read_catalogue(read_text(document, "here"))


def test_it_is_light() -> None:
    code = "import nas.catalogue as c, sys; c.find_device('t4'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# --- the document ---


def table() -> str:
    """The table of the document, as the catalogue has it."""
    head = "| key | device | memory | bandwidth | tensor peak | float32 peak | capability | year |"
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    for key, own in DEVICES.items():
        tensor = f"{own.bfloat16 / 1e12:g} TFLOP/s" + (" (float16)" if own.precision == "float16" else "")
        cells = (
            *(f"`{key}`", own.name, f"{own.memory_bytes / 1e9:g} GB", f"{own.bandwidth / 1e9:g} GB/s"),
            *(tensor, f"{own.float32 / 1e12:g} TFLOP/s"),
            *(".".join(map(str, own.compute_capability)), str(own.released)),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def test_the_document_shows_the_catalogue() -> None:
    """After a change of the catalogue: ``python -m tests.test_catalogue`` prints the table to put there."""
    shown = "".join(line for line in DOCUMENT.read_text().splitlines(keepends=True) if line.startswith("|"))
    assert shown == table()


if __name__ == "__main__":
    print(table(), end="")
