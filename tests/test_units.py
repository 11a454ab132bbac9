import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nas.errors import UnitError
from nas.units import (
    format_bytes,
    format_count,
    format_flops,
    format_seconds,
    format_share,
    parse_bytes,
    parse_count,
    parse_flops,
    parse_seconds,
    parse_share,
)

PARSERS = (parse_flops, parse_bytes, parse_seconds, parse_count, parse_share)


@pytest.mark.parametrize(
    ("text", "flops"),
    [
        ("5TFLOP", 5 * 10**12),
        ("1.5 PFLOP", 15 * 10**14),
        ("1.5PFLOPs", 15 * 10**14),
        ("3 ZFLOPS", 3 * 10**21),
        ("7 FLOP", 7),
        ("2kFLOP", 2000),
        ("2e12", 2 * 10**12),
        ("2E+12", 2 * 10**12),
        ("1_000_000", 10**6),
        (".5kFLOP", 500),
        ("5.", 5),
        ("  5 TFLOP\n", 5 * 10**12),
        ("1e3 MFLOP", 10**9),
        (2e12, 2 * 10**12),
        (12, 12),
        (10**30, 10**30),
        ("1.9", 1),  # FLOPs are whole
    ],
)
def test_flops(text: object, flops: int) -> None:
    found = parse_flops(text)
    assert found == flops and type(found) is int


@pytest.mark.parametrize(
    ("text", "size"),
    [("1GiB", 2**30), ("1GB", 10**9), ("0.5 KiB", 512), ("2TiB", 2**41), ("4096", 4096), ("3 MB", 3000000), ("1B", 1)],
)
def test_bytes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("8min", 480), ("2h", 7200), ("1d", 86400), ("250 ms", 0.25), ("1.5", 1.5), (3, 3), ("5 sec", 5)],
)
def test_seconds(text: object, seconds: float) -> None:
    found = parse_seconds(text)
    assert found == seconds and type(found) is float


@pytest.mark.parametrize(
    ("text", "count"), [("20M", 20 * 10**6), ("5k", 5000), ("5K", 5000), ("1B", 10**9), ("1G", 10**9), (7, 7)]
)
def test_count(text: object, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize(
    ("text", "share"), [("30%", 0.3), ("0.3", 0.3), (0.3, 0.3), (0, 0), ("0%", 0), ("99.9%", 0.999), ("5e-1", 0.5)]
)
def test_share(text: object, share: float) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "x", "-1", "-1s", "+1", "1 2", "1..2", "1e", "e5", "1,5", "0x10", "inf", "nan", "_1", "1\x00"),
        *("\N{ARABIC-INDIC DIGIT ONE}", "\N{VULGAR FRACTION ONE HALF}"),
        *(True, False, None, [], {}, [1], b"1", object(), -1, -0.5, float("inf"), float("-inf"), float("nan")),
        *("1e100", "1e-100", "9" * 60, "1e999999999", "%", "B"),
    ],
)
def test_nothing_else_is_a_quantity(parse: object, value: object) -> None:
    with pytest.raises(UnitError) as caught:
        parse(value, "budget.thing")  # type: ignore[operator]
    assert caught.value.field == "budget.thing"
    assert caught.value.value is value
    assert caught.value.rule.startswith("must be ")


ALIEN = {
    parse_flops: ("TFLOPS/s", "flop", "tflop", "T", "TFLOp", "GB", "s", "%", "MACs"),
    parse_bytes: ("kb", "KB", "gib", "Gi", "b", "FLOP", "s", "%", "EiB"),
    parse_seconds: ("m", "S", "hours", "H", "us", "µs", "FLOP", "B", "%", "min 30 s"),
    parse_count: ("m", "b", "T", "KB", "s", "%", "FLOP"),
    parse_share: ("%%", "percent", "s", "k", "B"),
}


@pytest.mark.parametrize(("parse", "unit"), [(parse, unit) for parse, units in ALIEN.items() for unit in units])
def test_wrong_units(parse: object, unit: str) -> None:
    with pytest.raises(UnitError, match=r"must be .*, found '0.5 ?"):
        parse(f"0.5{unit}")  # type: ignore[operator]


@pytest.mark.parametrize("parse", [parse_flops, parse_bytes, parse_count])
@pytest.mark.parametrize("value", [0, 0.0, "0", "0.5", 0.999, "1e-3"])
def test_whole_quantities_are_at_least_one(parse: object, value: object) -> None:
    with pytest.raises(UnitError, match=r"at least 1, found "):
        parse(value)  # type: ignore[operator]


@pytest.mark.parametrize("value", [0, "0s", "0.0"])
def test_time_is_above_zero(value: object) -> None:
    with pytest.raises(UnitError, match=r"time: must be a duration such as 90s, 8min or 2h, above 0, found"):
        parse_seconds(value)


@pytest.mark.parametrize("value", ["100%", 1, "1.0", "250%", 30])
def test_shares_are_below_one(value: object) -> None:
    with pytest.raises(UnitError, match=r"share: must be a share such as 30% or 0.3, at least 0 and below 1, found"):
        parse_share(value)


@given(st.integers(1, 10**30))
@example(2**53 + 1)
def test_whole_numbers_are_read_exactly(number: int) -> None:
    assert parse_flops(number) == parse_flops(str(number)) == number
    assert parse_bytes(f"{number} KiB") == number * 1024


@given(st.floats(1e-30, 1e30))
def test_floats_are_read_exactly(number: float) -> None:
    assert parse_seconds(number) == parse_seconds(repr(number)) == number


@given(st.floats(0, 1, exclude_max=True).filter(lambda share: share == 0 or share > 1e-50))
def test_shares_are_read_exactly(share: float) -> None:
    assert parse_share(share) == share


@given(st.text(max_size=12) | st.from_regex(r"[0-9.eE_+-]{1,8} ?[a-zA-Z%]{0,5}", fullmatch=True))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in PARSERS:
        try:
            assert parse(text) >= 0
        except UnitError as error:
            assert error.value == text


@pytest.mark.parametrize(
    ("format_", "parse", "low"),
    [(format_flops, parse_flops, 1), (format_bytes, parse_bytes, 1), (format_count, parse_count, 1)],
)
@given(data=st.data())
def test_what_is_printed_reads_back(format_: object, parse: object, low: int, data: st.DataObject) -> None:
    """To three digits, which is what people are shown."""
    number = data.draw(st.integers(low, 10**12))
    shown = format_(number)  # type: ignore[operator]
    assert parse(shown) == pytest.approx(number, rel=6e-3)  # type: ignore[operator]
    assert len(re.match(r"[0-9.e+-]*", shown)[0]) <= 5  # type: ignore[index]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (format_flops(5.2e12), "5.2 TFLOP"),
        (format_flops(999_400), "999 kFLOP"),
        (format_flops(999_600), "1 MFLOP"),
        (format_flops(3), "3 FLOP"),
        (format_flops(0), "0 FLOP"),
        (format_flops(2e24), "2000 ZFLOP"),
        (format_bytes(1.5 * 2**20), "1.5 MiB"),
        (format_bytes(1023), "1023 B"),
        (format_bytes(1_048_500), "1 MiB"),
        (format_bytes(0.25), "0.25 B"),
        (format_count(1_234_567), "1.23M"),
        (format_count(999), "999"),
        (format_share(0.3), "30%"),
        (format_share(0.1234), "12.3%"),
        (format_seconds(0.25), "250 ms"),
        (format_seconds(0.9996), "1 s"),
        (format_seconds(45), "45 s"),
        (format_seconds(59.96), "1 min"),
        (format_seconds(60), "1 min"),
        (format_seconds(3599.6), "1 h"),
        (format_seconds(450), "7 min 30 s"),
        (format_seconds(3600), "1 h"),
        (format_seconds(7500), "2 h 5 min"),
    ],
)
def test_shown(shown: str, expected: str) -> None:
    assert shown == expected
