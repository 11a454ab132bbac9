"""The engine on Ray: Tune runs what a driver hands out, in worker processes anywhere in a cluster."""

import os
import tempfile
import uuid
from collections.abc import Callable
from typing import Any

import ray
from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, PlacementGroupFactory, RunConfig, TuneConfig, Tuner

from nas.adapters.tune.messages import Needs, Order, Slots
from nas.adapters.tune.scheduler import Floor, FloorScheduler, FloorSearcher
from nas.adapters.tune.trainable import Trainable
from nas.ports import Assignment, Driver

PENDING = 64
"""Runs that may wait for their worker; how many there are at a time is for the slots to say."""
_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "30",
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


class TuneEngine:
    """`nas.ports.Engine` within a process that is connected to Ray.

    Tune never retries and its state is never read back: what is lost is told to the driver, who hands it out again.
    """

    def __init__(
        self,
        order: Callable[[Assignment], Order],
        slots: Slots,
        note: Callable[[int, str], None] = lambda number, message: None,
        reuse: bool = False,
        there: Callable[[Needs], bool] = lambda needs: True,
    ) -> None:
        """Orders must be picklable; a worker opens its workshop once. With ``reuse`` a worker goes on to the next run
        of the same needs, which saves the imports; without, each has a fresh process (a GPU's memory is free then).
        ``there`` says whether machines for a run that waits have not all gone."""
        self._reuse, self._there = reuse, there
        self._order, self._slots, self._note = order, slots, note

    def run(self, driver: Driver, halted: Callable[[], bool] = lambda: False) -> None:
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(PENDING)  # workers start beside each other
        floor = Floor(driver, self._order, self._slots, self._there, halted, self._note)
        with tempfile.TemporaryDirectory(prefix="nas-tune-", dir=_session()) as folder:
            self._tuner(floor, folder).fit()
        if floor.error is not None:
            raise floor.error

    def _tuner(self, floor: Floor, folder: str) -> Tuner:
        return Tuner(
            tune.with_resources(Trainable, _placement),
            tune_config=TuneConfig(
                search_alg=FloorSearcher(floor),
                scheduler=FloorScheduler(floor),
                num_samples=-1,
                reuse_actors=self._reuse,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=RunConfig(
                name=uuid.uuid4().hex,  # a name of a former start would be overwritten, and mixed with it
                storage_path=folder,
                checkpoint_config=CheckpointConfig(checkpoint_at_end=False),  # the run makes its own
                failure_config=FailureConfig(max_failures=0),
                verbose=0,
            ),
        )


def _session() -> str | None:
    """The folder of the Ray session, which goes with it; ``None`` where it is not known."""
    node = ray._private.worker._global_node
    return str(node.get_session_dir_path()) if node is not None else None


def _placement(config: dict[str, Any]) -> PlacementGroupFactory:
    needs: Needs = config["order"].needs
    if not needs.nodes:
        return PlacementGroupFactory([dict(needs.bundle)])
    selector = {"ray.io/node-id": f"in({','.join(needs.nodes)})"}
    return PlacementGroupFactory([dict(needs.bundle)], bundle_label_selector=[selector])


def _name(trial: Any) -> str:
    return str(trial.trial_id)
