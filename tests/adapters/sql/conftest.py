"""A store over a database of each kind."""

from collections.abc import Callable

import pytest

pytest.register_assert_rewrite("tests.contracts.store")

from nas.adapters.sql.store import SqlStore  # noqa: E402


@pytest.fixture
def store(url: str, open_: Callable[[str], SqlStore]) -> SqlStore:
    return open_(url)
