"""The devices that a server knows: their profiles, what these are worth, and the machines that are there."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from dashboards.devices import ProfileLine, describe, extras, is_full, profile_lines
from nas.calibration import DeviceProfile
from nas.client.models import WorkerInfo
from nas.errors import StateError
from nas.units import format_bytes, format_seconds
from services.controller.access import Reading
from services.controller.pages.page import PageRoute, page
from services.controller.service import Service, TheService

router = APIRouter(route_class=PageRoute)


@dataclass(frozen=True, slots=True)
class Known:
    """A profile of the database; ``problem``: why it cannot be read."""

    fingerprint: str
    name: str
    when: str
    full: bool = False
    effort: str = ""
    lines: tuple[ProfileLine, ...] = ()
    extras: tuple[tuple[str, str], ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """One of the cluster, in words."""

    host: str
    alive: bool
    resources: str


@router.get("/devices", response_class=HTMLResponse)
def devices(request: Request, service: TheService, caller: Reading) -> HTMLResponse:
    """The newest profile first."""
    machines, trouble = _machines(service)
    return page(
        request,
        "devices.html.j2",
        caller,
        known=[_known(own) for own in reversed(service.reader.devices())],
        machines=machines,
        trouble=trouble,
        profiles=caller.may("write") and any(own.alive for own in machines),
    )


def _known(row: Mapping[str, Any]) -> Known:
    when = datetime.fromtimestamp(row["at"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    try:
        own = DeviceProfile.from_dict(row["profile"])
    except (AttributeError, KeyError, TypeError):  # of a version with other fits
        return Known(row["fingerprint"], _name(row["profile"]), when, problem="Another version of nas made it.")
    return Known(
        row["fingerprint"],
        describe(own),
        when,
        is_full(own),
        f"{own.probes} probes in {format_seconds(own.seconds)}",
        tuple(profile_lines(own)),
        tuple(extras(own)),
    )


def _name(profile: Any) -> str:
    fingerprint = profile.get("fingerprint") if isinstance(profile, Mapping) else None
    return str(fingerprint.get("name", "a device")) if isinstance(fingerprint, Mapping) else "a device"


def _machines(service: Service) -> tuple[list[Machine], str]:
    """Those that are there first, and what is wrong when nobody answers."""
    try:
        found = service.dispatcher.workers()
    except StateError as error:
        return [], str(error)
    return [_machine(own) for own in sorted(found, key=lambda own: (not own.alive, own.host))], ""


def _machine(own: WorkerInfo) -> Machine:
    bytes_ = {"memory", "object_store_memory"}
    parts = [
        f"{name.replace('_', ' ')} {format_bytes(size) if name in bytes_ else f'{size:g}'}"
        for name, size in sorted(own.resources.items())
    ]
    return Machine(own.host, own.alive, ", ".join(parts) or "—")
