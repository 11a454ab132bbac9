import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.data import carving
from nas.data.carving import carve
from nas.data.documents import Document

BOTH = ("validation", "test")


def documents(*texts: str) -> list[Document]:
    return [Document(str(number), text) for number, text in enumerate(texts)]


def texts(split: tuple[Document, ...]) -> set[str]:
    return {document.text for document in split}


def test_nothing_wanted_keeps_all() -> None:
    assert carve(documents("a", "b"), ()) == {"train": tuple(documents("a", "b"))}


def test_about_a_tenth_of_the_bytes_in_whole_documents() -> None:
    originals = documents(*(f"{number} " * (50 + number % 7) for number in range(200)))
    splits = carve(originals, BOTH)
    total = sum(document.size for document in originals)
    for name in BOTH:
        assert 0.1 * total <= sum(document.size for document in splits[name]) <= 0.15 * total
    assert sorted(document.name for split in splits.values() for document in split) == sorted(d.name for d in originals)


def test_choice_depends_on_content_alone() -> None:
    originals = documents(*(f"text {number}" for number in range(50)))
    splits, turned = carve(originals, BOTH), carve([Document("x", d.text) for d in reversed(originals)], BOTH)
    assert all(texts(splits[name]) == texts(turned[name]) for name in splits)


def test_equal_texts_stay_on_one_side() -> None:
    splits = carve(documents(*(f"text {number % 20}" for number in range(60))), BOTH)
    assert not texts(splits["train"]) & texts(splits["validation"])
    assert not texts(splits["train"]) & texts(splits["test"])
    assert not texts(splits["validation"]) & texts(splits["test"])


@given(st.lists(st.integers(1, 3000), min_size=3, max_size=8, unique=True))
@settings(max_examples=50, deadline=None)
def test_three_texts_are_enough_whatever_their_sizes(sizes: list[int]) -> None:
    splits = carve(documents(*("x" * size for size in sizes)), BOTH)
    assert all(splits.values())
    assert sum(len(split) for split in splits.values()) == len(sizes)


def test_held_out_text_is_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carving, "HELD_OUT_BYTES", 100)
    splits = carve(documents(*(f"{number:010}" for number in range(1000))), BOTH)
    assert [len(splits[name]) for name in BOTH] == [10, 10]
    splits = carve(documents("x" * 10_000), BOTH)
    assert [splits[name][0].size for name in BOTH] == [100, 100]


def test_one_document_gives_its_end_cut_at_lines() -> None:
    text = "".join(f"line {number}\n" for number in range(1000))
    splits = carve(documents(text), BOTH)
    assert [document.name for split in splits.values() for document in split] == ["0#train", "0#validation", "0#test"]
    assert "".join(split[0].text for split in splits.values()) == text
    assert all(split[0].text.endswith("\n") for split in splits.values())
    for name, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
        assert abs(splits[name][0].size / len(text) - share) < 0.01


def test_one_wanted_split_leaves_ninety_percent() -> None:
    splits = carve(documents("word " * 1000), ("test",))
    assert list(splits) == ["train", "test"]
    assert splits["test"][0].size == 495


def test_two_documents_give_an_end_each() -> None:
    splits = carve(documents("a " * 100, "b " * 100), BOTH)
    assert [[document.name for document in split] for split in splits.values()] == [
        ["0#train", "1#train"],
        ["0#validation", "1#validation"],
        ["0#test", "1#test"],
    ]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200))
@settings(max_examples=100, deadline=None)
def test_blocks_never_split_a_character(text: str) -> None:
    splits = carve(documents(text), BOTH)
    assert "".join(document.text for split in splits.values() for document in split) == text
