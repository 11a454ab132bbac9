"""Searches."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.data.texts import Texts
from tests.helpers import SMALL, World, Worlds, spec_of


@pytest.fixture
def make(tiny_texts: Texts, tmp_path: Path) -> Iterator[Worlds]:
    worlds = Worlds(tiny_texts, tmp_path)
    yield worlds
    worlds.close()


@pytest.fixture(scope="session")
def undisturbed(tiny_texts: Texts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A small search run by the in-process engine."""
    worlds = Worlds(tiny_texts, tmp_path_factory.mktemp("undisturbed"))
    yield worlds(spec_of(budget=SMALL)).run()
    worlds.close()
