"""What a search would do, on a device that is here or on one that is only listed; nothing is spent, and no search made.

What is estimated stays in an `Outlook`: stores keep only what was measured.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nas.calibration import DeviceProfile, estimated
from nas.catalogue import find_device
from nas.errors import InfeasibleError
from nas.forecast import Fits, Forecast, Interval, fits
from nas.ports import Store
from nas.search import prepare
from nas.spec import SearchSpec
from services.device import GPU_THREADS, Device, device_here, is_kind
from services.ground import Ground, foresee, survey
from services.home import Home
from services.profiles import Here, Profiles, Tell, profiles_of


@dataclass(frozen=True)
class Target:
    """A device to plan for; ``estimated`` is the profile of one that is only listed."""

    device: Device
    estimated: DeviceProfile | None = None


def target(name: str, parallel: int) -> Target:
    """The device that a spec names, of this machine or of the catalogue.

    Raises `SpecError` for a kind of device that this machine has not, `NotFoundError` for a name that is not listed.
    """
    if is_kind(name):
        return Target(device_here(name, parallel))
    listed = find_device(name)
    return Target(Device("cuda", listed.name, GPU_THREADS, GPU_THREADS), estimated(listed, str(torch.__version__)))


@dataclass(frozen=True)
class Outlook:
    """A forecast and the profile that it was made with; ``interval`` where that is estimated."""

    likely: Forecast
    fits: Fits
    profile: DeviceProfile
    interval: Interval | None = None

    def to_dict(self) -> dict[str, Any]:
        """The contract of ``nas forecast -o json``."""
        own, found, interval = self.profile.fingerprint, self.likely, self.interval
        trainings, seconds = (interval.full_trainings, interval.seconds) if interval else (None, None)
        return {
            "device": own.name,
            "fingerprint": own.key,
            "estimated": self.profile.estimated,
            "binding": found.binding,
            "full_trainings": _told(found.full_trainings, trainings),
            "seconds": _told(found.seconds, seconds),
            "admitted_share": found.admitted_share,
            "epochs": found.epochs,
            "final_epochs": found.final_epochs,
            "dial": found.dial,
            "largest": found.largest,
            "dial_plan": found.dial_plan.to_dict() if found.dial_plan is not None else None,
            "fits": self.fits.to_dict(),
            "refused": interval.refused if interval else "",
        }


def _told(predicted: float, interval: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {"predicted": predicted, "low": low, "high": high}


def look_ahead(
    spec: SearchSpec, base: Path, home: Home, store: Store, aim: Target, tell: Tell, known: Profiles | None = None
) -> Outlook:
    """The forecast of a search. A device that is here is probed where it is not known yet, and its profile kept.

    Args:
        known: profiles of the device, where the caller has them.

    Raises as `services.ground.survey` and `services.ground.foresee`.
    """
    unshared = replace(home, storage="")  # other machines need the text only when there is a search
    ground = survey(spec, base, unshared, tell, [aim.device])
    if aim.estimated is not None:
        known = Profiles(aim.estimated, aim.estimated)
    profiles = known or profiles_of(aim.device, Here(), store, tell)
    likely = foresee(ground, profiles, tell)
    fitting = fits(ground.spec, ground.space, ground.appraiser(profiles), likely)
    interval = _interval(ground, profiles, likely) if aim.estimated is not None else None
    return Outlook(likely, fitting, profiles.shared, interval)


def _interval(ground: Ground, profiles: Profiles, likely: Forecast) -> Interval:
    """Not a factor: what a budget of time binds takes as long on a slower device, and trains less."""
    appraiser, error = ground.appraiser(profiles), profiles.shared.eager.time.error
    found, refused = [likely], ""
    for slowdown in (1 - error, 1 + error):
        try:
            found.append(prepare(ground.spec, ground.space, replace(appraiser, slowdown=slowdown)))
        except InfeasibleError as reason:
            refused = str(reason)
    trainings, seconds = [own.full_trainings for own in found], [own.seconds for own in found]
    if refused:
        trainings.append(0.0)
    return Interval(
        profiles.shared.fingerprint.name, (min(trainings), max(trainings)), (min(seconds), max(seconds)), refused
    )
