"""`MemoryStore` keeps the promises of a store."""

import threading

import pytest

pytest.register_assert_rewrite("tests.contracts.store")

from nas.adapters.memory_store import MemoryStore  # noqa: E402
from tests.contracts.samples import SEARCH, contents, fill  # noqa: E402
from tests.contracts.store import StoreContract  # noqa: E402


class TestContract(StoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


def test_stores_are_strangers() -> None:
    first, second = MemoryStore(), MemoryStore()
    fill(first)
    assert contents(first)[0] == [SEARCH] and second.searches() == []


def test_others_read_when_a_transaction_is_done() -> None:
    store, seen = MemoryStore(), list[object]()
    reader = threading.Thread(target=lambda: seen.extend(store.searches()))
    with store.transaction():
        store.add_search(SEARCH)
        reader.start()
        reader.join(timeout=0.1)
        assert reader.is_alive() and seen == []
    reader.join()
    assert seen == [SEARCH]
