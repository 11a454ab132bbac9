"""The driver of a search as a detached Ray actor: it lives on when the command that started it does not."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ray

from nas.adapters.sql.store import open_store
from nas.adapters.tune.engine import TuneEngine
from nas.ports import Assignment, Engine
from nas.spec import parse_spec
from services.ground import Ground, open_workshop, survey_again
from services.home import Home
from services.worker.driver import Note, SearchDriver
from services.worker.lease import held


@ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0)
class DriverActor:
    """Named after its search. Nothing restarts it but whoever wants the search to go on."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._driver: SearchDriver | None = None
        self._interrupted = False

    def drive(self, home: Home, search_id: str) -> None:
        """Until the search ends or pauses; raises what ended it."""
        store = open_store(home.database)
        try:
            record = store.search(search_id)
            with held(store, search_id, self._lines.append) as lease:
                ground = survey_again(parse_spec(record.spec), record.setting, home, lambda topic, line: None)
                base = Path(record.setting["base"])
                engine = partial(_engine, ground, base, home)
                self._driver = SearchDriver(home, lease, search_id, ground, engine, self._lines.append)
                if self._interrupted:
                    self._driver.interrupt()
                self._driver.run()
        finally:
            store.close()

    def interrupt(self) -> None:
        """Asks for a pause, also where no request can be written."""
        self._interrupted = True
        if self._driver is not None:
            self._driver.interrupt()

    def said(self, after: int) -> list[str]:
        """Lines that could not be recorded, from that number on."""
        return self._lines[after:]


def _engine(ground: Ground, base: Path, home: Home, note: Note) -> Engine:
    threads = (ground.threads, ground.all_threads)
    fingerprint = ground.texts.corpus.fingerprint
    workshop = partial(open_workshop, ground.spec, base, home, fingerprint, ground.device, *threads)
    reuse = ground.device == "cpu"  # where there is no memory of a device to be given back
    needs = partial(_needs, ground.device, ground.threads, ground.all_threads)
    return TuneEngine(workshop, ground.spec.method.parallel, needs, note, reuse=reuse)


def _needs(device: str, threads: int, all_threads: int, assignment: Assignment) -> Mapping[str, float]:
    if device != "cpu":
        return {"CPU": 1, "GPU": 1}
    return {"CPU": all_threads if assignment.final else threads}


def start(home: Home, search_id: str) -> tuple[Any, Any]:
    """The actor, and what its run will come to."""
    actor: Any = DriverActor.options(  # type: ignore[attr-defined]
        name=f"driver-{search_id}", lifetime="detached", max_concurrency=3
    ).remote()
    return actor, actor.drive.remote(home, search_id)
