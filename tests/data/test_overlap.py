from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.data.corpora import Corpus, Document, known_overlap, overlap


def words(start: int, stop: int) -> str:
    return " ".join(f"w{number}" for number in range(start, stop))


def corpus(train: list[str], validation: list[str], test: list[str]) -> Corpus:
    return Corpus("c", *(tuple(Document("d", text) for text in texts) for texts in (train, validation, test)))


def test_constructed_overlap() -> None:
    # 40 validation words have 28 13-grams; the 20 words shared with training hold 8 of them.
    found = overlap(corpus([words(0, 100)], [words(80, 120)], [words(200, 300)]))
    assert found.validation == pytest.approx(8 / 28)
    assert found.test == 0.0


def test_case_and_white_space_do_not_matter() -> None:
    assert overlap(corpus([words(0, 13)], [words(0, 13).upper().replace(" ", "\n ")], ["x"])).validation == 1.0


def test_order_matters_and_documents_are_borders() -> None:
    turned = " ".join(reversed(words(0, 20).split()))
    assert overlap(corpus([words(0, 20)], [turned], [words(0, 20)])) == overlap(
        corpus([words(0, 20)], ["short"], [words(0, 20)])
    )
    assert overlap(corpus([words(0, 10), words(10, 20)], [words(0, 20)], ["x"])).validation == 0.0


def test_austen_novels_share_no_long_phrases(austen: Corpus) -> None:
    found = overlap(austen)
    assert found.validation < 0.001 and found.test < 0.001


@given(st.lists(st.text("ab ", max_size=80), max_size=3), st.lists(st.text("ab ", max_size=80), max_size=3))
@settings(max_examples=50, deadline=None)
def test_agrees_with_sets_of_tuples(train: list[str], validation: list[str]) -> None:
    def grams(texts: list[str]) -> list[tuple[str, ...]]:
        split = [text.split() for text in texts]
        return [tuple(text[place : place + 13]) for text in split for place in range(len(text) - 12)]

    seen, asked = set(grams(train)), grams(validation)
    expected = sum(gram in seen for gram in asked) / len(asked) if asked else 0.0
    assert overlap(corpus(train, validation, [])).validation == pytest.approx(expected)


def test_what_is_known_is_not_counted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = (corpus([words(0, 100)], [words(80, last)], [words(200, 300)]) for last in (120, 140))
    first = known_overlap(own, tmp_path)
    assert first == overlap(own) != known_overlap(other, tmp_path) == overlap(other)
    for damage in ("", "[1]", '{"validation": 0.5}'):
        (tmp_path / "overlaps" / f"{own.fingerprint}.json").write_text(damage)
        assert known_overlap(own, tmp_path) == first, "what is damaged is made again"
    monkeypatch.setattr("nas.data.overlap.overlap", None)
    assert known_overlap(own, tmp_path) == first
