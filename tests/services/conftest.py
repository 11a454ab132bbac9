"""One finished search that many tests look at."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.services.driving import Done, Place, make_place


@dataclass(frozen=True)
class Finished:
    """A search that ran to its end, and how its command ended."""

    place: Place
    done: Done
    id: str

    def run(self, command: str, *arguments: object) -> Done:
        return self.place.run(command, self.id, *arguments)

    def json(self, command: str) -> Any:
        return self.run(command, "--output", "json").json


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    place = make_place(tmp_path_factory.mktemp("finished"), size=9_000)
    place.write_spec(total="  total: {compute: 8GFLOP}", candidate="  candidate: {compute: 300MFLOP}")
    done = place.finish("run", "tiny.yaml", "-o", "json")
    assert done.code == 0, done.err
    return Finished(place, done, done.json["id"])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path)
