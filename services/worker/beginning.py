"""The beginning of a search: what it stands on and what can be expected of it, before anything is spent."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import SpecError
from nas.forecast import EPOCHS_CONSENT, Forecast
from nas.ports import Store
from nas.spec import SearchSpec, parse_spec
from services.ground import Ground, base_of, foresee, setting_of, survey
from services.home import Home
from services.profiles import Here, Machine, Tell, profiles_of

if TYPE_CHECKING:
    from services.worker.fleet import Fleet


@dataclass(frozen=True)
class Beginning:
    """``setting`` holds the facts of the search that are fixed from here on."""

    ground: Ground
    forecast: Forecast
    setting: Mapping[str, Any]


def look_ahead(
    home: Home, store: Store, spec: SearchSpec, base: Path, tell: Tell, fleet: "Fleet | None" = None
) -> Beginning:
    """Every complaint about the input comes from here.

    Args:
        base: what relative paths of the spec are relative to.
        fleet: of a cluster to train on; ``None`` for this machine.
    """
    started = time.monotonic()
    if fleet is None:
        ground = survey(spec, base, home, tell)
    else:
        fleet.check_storage(home.storage)
        ground = survey(spec, base, home, tell, fleet.devices(spec.device, spec.method.parallel))
    machine: Machine = fleet or Here()
    surveyed = time.monotonic()
    profiles = [profiles_of(own, machine, store, tell) for own in ground.devices]
    started += time.monotonic() - surveyed  # a profile is the device's: no search pays for it, nor with its time
    found = foresee(ground, profiles[0], tell)
    facts = setting_of(ground, profiles, found)
    elapsed = time.monotonic() - started
    return Beginning(ground, found, {"base": str(base.absolute()), "elapsed": elapsed, **facts})


def prepare(home: Home, store: Store, search_id: str, fleet: "Fleet | None") -> Ground:
    """Looks ahead for a search that was only submitted, and records what it finds.

    Raises `SpecError` where text would be repeated more often than goes without consent (``agreed`` in the setting).
    """
    record = store.search(search_id)

    def tell(topic: str, line: str) -> None:
        store.add_event(search_id, topic, f"{topic}: {line}", at=time.time())

    found = look_ahead(home, store, parse_spec(record.spec), base_of(record.setting, home), tell, fleet)
    epochs = max(found.forecast.epochs, found.forecast.final_epochs)
    if epochs > EPOCHS_CONSENT and not record.setting.get("agreed"):
        rule = f"must not repeat the corpus more than {EPOCHS_CONSENT:g} times unless that was agreed to"
        raise SpecError("budget", rule, f"{epochs:.2g} epochs")
    store.update_search(search_id, setting={**record.setting, **found.setting})
    return found.ground
