"""What a server asks of a device before there is a search: a forecast by its profile, or the profile."""

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from nas.adapters.sql.store import open_store
from nas.calibration import DeviceProfile, Fingerprint
from nas.errors import StateError
from nas.spec import parse_spec
from services.device import Device, backend_for, device_here, is_kind
from services.forecasting import Target, look_ahead, target
from services.home import Home
from services.profiles import Here, Machine, count_threads, full_profile_of, profiles_of
from services.worker.fleet import Fleet, all_of, reserved


class Local(Here):
    """This machine, where what probes a device waits until nothing is trained on it."""

    def profile(self, device: Device, fingerprint: Fingerprint, *, short: bool = True) -> DeviceProfile:
        function = partial(Here().profile, short=short)
        found: DeviceProfile = reserved("this machine", all_of(device), function, device, fingerprint)
        return found


@dataclass(frozen=True)
class Known:
    """A machine that is not probed: that takes minutes, and somebody waits."""

    machine: Machine
    parallel: int

    def fingerprint(self, device: Device, threads: int) -> Fingerprint:
        return self.machine.fingerprint(device, threads)

    def profile(self, device: Device, fingerprint: Fingerprint, *, short: bool = True) -> DeviceProfile:
        kind = backend_for(device.kind)
        body = json.dumps({"device": kind, "parallel": self.parallel})
        raise StateError(
            f"{device.hardware} with {count_threads(fingerprint.threads)} has no profile yet, and a forecast makes "
            f"none; nas profile device --device {kind} --parallel {self.parallel} does, or POST /api/v1/profiles {body}"
        )


def foretell(home: Home, raw: Mapping[str, Any], name: str, cluster: bool) -> dict[str, Any]:
    """`services.forecasting.Outlook.to_dict`, and as ``notes`` what is told on the way.

    Args:
        raw: a spec; its paths are those of the server's corpora.
        name: of a device, instead of the spec's; empty for that.

    Raises `StateError` for a device without a profile, else as `services.forecasting.look_ahead`.
    """
    spec, notes = parse_spec(raw), list[dict[str, str]]()

    def tell(topic: str, line: str) -> None:
        notes.append({"topic": topic, "line": line})

    fleet, name, parallel = Fleet() if cluster else None, name or spec.device, spec.method.parallel
    aim = Target(fleet.devices(name, parallel)[0]) if fleet is not None and is_kind(name) else target(name, parallel)
    with closing(open_store(home.database)) as store:
        known = None
        if aim.estimated is None:  # looked for first: texts take longer
            known = profiles_of(aim.device, Known(fleet or Here(), parallel), store, _unheard)
        found = look_ahead(spec, home.corpora, home, store, aim, tell, known)
    return {**found.to_dict(), "notes": notes}


def profile(home: Home, name: str, parallel: int, *, full: bool, refit: bool, cluster: bool) -> str:
    """Sees to it that the store has the profiles that a search on a device asks for; the fingerprint of that which it
    shares the device by.

    Args:
        name: a kind of device.
        parallel: runs that share the device's threads.
        full: a short one of it will not do.
        refit: none that is there will do; a full one is made.
    """
    fleet = Fleet() if cluster else None
    device = device_here(name, parallel) if fleet is None else fleet.devices(name, parallel)[0]
    machine: Machine = fleet or Local()
    with closing(open_store(home.database)) as store:
        if full or refit:
            full_profile_of(device, machine, store, _unheard, refit=refit)
        return profiles_of(device, machine, store, _unheard).shared.fingerprint.key


def _unheard(topic: str, line: str) -> None:
    return None
