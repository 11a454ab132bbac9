"""All methods by name."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Generic, TypeVar

import nas
from benchmarks.search import factorial, ours
from benchmarks.search.peers import asha, halving, orders, samplers
from benchmarks.search.problem import Problem, TableProblem
from benchmarks.search.trace import Trace

Asked = TypeVar("Asked", bound=Problem, contravariant=True)


@dataclass(frozen=True)
class Method(Generic[Asked]):
    """Attributes:
    packages: that decide what it does, beside this one.
    levels: smaller budgets of a run that it needs tables of.
    is_ours: it depends on our sources, and its traces are not kept in the repository.
    """

    name: str
    run: Callable[[Asked, int], Trace]
    packages: tuple[str, ...] = ()
    levels: int = 0
    is_ours: bool = False

    @property
    def versions(self) -> Mapping[str, str]:
        """Of what decides what it does; a package that is not installed has none."""
        if self.is_ours:
            return {"sources": _sources()}
        return {name: found for name in self.packages if (found := _version(name))}

    @property
    def file(self) -> str:
        return self.name.replace(" / ", "+").replace(", ", "-").replace(": ", "-").replace(" ", "-")


PEERS: Mapping[str, Method[Problem]] = {
    method.name: method
    for method in (
        Method("random", orders.at_random),
        Method("even grid", orders.evenly),
        Method("largest first", orders.largest_first),
        Method("dial", orders.dial),
        Method("optuna TPE", samplers.tpe, ("optuna",)),
        Method("optuna NSGA-II", samplers.nsga_ii, ("optuna",)),
        Method("optuna GP", samplers.gp, ("optuna",)),
        Method("ray ASHA + TPE", asha.ray_asha, ("ray", "optuna")),
        Method("syne-tune MO-ASHA", asha.mo_asha, ("syne-tune",)),
        Method("syne-tune MO-ASHA, ranks put right", asha.mo_asha_put_right, ("syne-tune",)),
        Method("fixed fraction, top K", halving.fixed_fraction),
        Method("halving, complete schedules", halving.complete_schedules, levels=halving.LEVELS - 1),
    )
}
OURS: Mapping[str, Method[TableProblem]] = {
    f"ours: {name}": Method(f"ours: {name}", partial(ours.search, policy=name), is_ours=True) for name in ours.POLICIES
}
CELLS: Mapping[str, Method[TableProblem]] = {
    cell.name: Method(cell.name, partial(factorial.search, cell=cell), is_ours=True) for cell in factorial.cells()
}
METHODS: Mapping[str, Method[Any]] = {**PEERS, **OURS, **CELLS}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


@cache
def _sources() -> str:
    """A digest of what a replay of ours depends on."""
    here, digest = Path(__file__), hashlib.sha256()
    folders = [Path(str(nas.__file__)).parent, here.parents[1] / "tabular"]
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    for path in (*files, *(here.with_name(name) for name in ("problem.py", "trace.py", "ours.py", "factorial.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
