"""`InlineEngine` keeps the promises of an engine."""

import pytest

pytest.register_assert_rewrite("tests.contracts.engine")

from nas.adapters.inline_engine import InlineEngine  # noqa: E402
from nas.ports import Engine  # noqa: E402
from tests.contracts.engine import EngineContract, MakeEngine  # noqa: E402
from tests.helpers import World  # noqa: E402


class TestContract(EngineContract):
    @pytest.fixture
    def make_engine(self) -> MakeEngine:
        def make_engine(world: World) -> Engine:
            return InlineEngine(world.workshop, world.note)

        return make_engine
