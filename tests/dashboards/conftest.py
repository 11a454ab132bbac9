"""The sample search as views; the whole one is built once."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dashboards.view import SearchView, view
from nas.adapters.sql.store import SqlStore, open_store
from tests.dashboards import sample

Build = Callable[..., SearchView]


@pytest.fixture(scope="session")
def build() -> Build:
    """Builds a view of a sample; arguments as of `sample.fill`."""

    def built(*arguments: Any, **search: Any) -> SearchView:
        store = open_store("sqlite://")
        try:
            return view(store, sample.fill(store, *arguments, **search))
        finally:
            store.close()

    return built


@pytest.fixture(scope="session")
def full(build: Build) -> SearchView:
    """The whole sample: every state, a final run."""
    return build()


@pytest.fixture
def store() -> Iterator[SqlStore]:
    opened = open_store("sqlite://")
    yield opened
    opened.close()
