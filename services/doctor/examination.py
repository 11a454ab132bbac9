"""All checks by topic, and all they find."""

from collections.abc import Iterator, Mapping
from functools import partial

from services.doctor.cluster import check_ray
from services.doctor.database import check_clock, check_database
from services.doctor.devices import check_cuda, check_torch
from services.doctor.findings import Check, Finding, Level, one_line
from services.doctor.machine import check_cores, check_disk, check_memory
from services.doctor.software import check_compiler, check_python, check_versions
from services.home import Home


def checks(home: Home, ray: str | None = None) -> dict[str, Check]:
    """All checks by topic; ``ray`` is the address of a cluster to look at."""
    return {
        "python": check_python,
        "versions": check_versions,
        "torch": check_torch,
        "cuda": check_cuda,
        "cores": check_cores,
        "memory": check_memory,
        "disk": partial(check_disk, home.root),
        "database": partial(check_database, home.database),
        "clock": partial(check_clock, home.database),
        "compiler": check_compiler,
        "ray": partial(check_ray, ray),
    }


def examine(checks: Mapping[str, Check]) -> Iterator[Finding]:
    """All findings, one check after the other; a check that fails is an error of its topic."""
    for topic, check in checks.items():
        try:
            yield from check()
        except Exception as error:  # whatever it is, the other checks are still worth their while
            broken = isinstance(error, ImportError)
            advice = "install the package again" if broken else "look at this first; if all is well there, report it"
            said = f"cannot be looked at: {type(error).__name__}: {one_line(error)}"
            yield Finding(topic, Level.ERROR, said.rstrip(": "), advice)
