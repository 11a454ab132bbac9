"""What is found of a search is found once for a revision, also by several who ask at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.controller.latest import SEARCHES, Latest


class Finder:
    """Counts what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, search_id: str, revision: int, known: str | None) -> str:
        self.asked.append(search_id)
        return f"{search_id}, {len(self.asked)}"


@pytest.mark.parametrize(
    ("revisions", "found"),
    [
        ([1], ["s, 1"]),
        ([1, 1], ["s, 1", "s, 1"]),
        ([1, 2], ["s, 1", "s, 2"]),
        ([2, 1], ["s, 1", "s, 1"]),  # of a later one: it has that too
        ([1, 3, 2, 3, 4], ["s, 1", "s, 2", "s, 2", "s, 2", "s, 3"]),
    ],
)
def test_found_once_for_a_revision(revisions: list[int], found: list[str]) -> None:
    latest = Latest(Finder())
    assert [latest.of("s", revision) for revision in revisions] == found


def test_what_was_found_before_is_gone_on_with() -> None:
    latest = Latest[list[tuple[str, int]]](lambda search_id, revision, known: [*(known or []), (search_id, revision)])
    first = latest.of("s", 1)
    assert latest.of("s", 4) == [("s", 1), ("s", 4)] and latest.of("other", 2) == [("other", 2)]
    assert first == [("s", 1)]  # what was given away stays


def test_searches_are_apart_and_only_so_many_are_kept() -> None:
    finder = Finder()
    latest = Latest(finder)
    names = [f"s{place}" for place in range(SEARCHES + 1)]
    for name in names:
        latest.of(name, 1)
    assert finder.asked == names
    latest.of(names[1], 1)
    assert len(finder.asked) == len(names)
    latest.of(names[0], 1)  # forgotten, as the one asked for longest ago
    assert finder.asked == [*names, names[0]]


def test_who_asks_meanwhile_waits_for_the_same() -> None:
    entered, go_on, asked = threading.Event(), threading.Event(), list[str]()

    def find(search_id: str, revision: int, known: int | None) -> int:
        asked.append(search_id)
        entered.set()
        assert go_on.wait(30)
        return len(asked)

    latest = Latest(find)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(latest.of, "s", 1)
        assert entered.wait(30)
        others = [pool.submit(latest.of, "s", 1) for _ in range(3)]
        go_on.set()
        assert [own.result(30) for own in (first, *others)] == [1] * 4
    assert asked == ["s"]


def test_an_error_is_not_kept() -> None:
    answers = iter([ValueError("not now"), "found"])

    def find(search_id: str, revision: int, known: str | None) -> str:
        answer = next(answers)
        if isinstance(answer, ValueError):
            raise answer
        return answer

    latest = Latest(find)
    with pytest.raises(ValueError, match="not now"):
        latest.of("s", 1)
    assert latest.of("s", 1) == "found"
