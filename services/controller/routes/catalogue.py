"""What a server has: spaces, devices, workers, its version."""

from importlib import metadata

from fastapi import APIRouter

from nas.client.models import API_VERSION, DeviceInfo, Devices, SpaceInfo, Spaces, Version, Workers
from nas.space import load_space, space_names
from services.controller.access import Reading
from services.controller.routes import problems
from services.controller.service import TheService

router = APIRouter(tags=["catalogue"])


@router.get("/version", response_model=Version, responses=problems())
def version() -> Version:
    return Version(api=API_VERSION, nas=metadata.version("nas"))


@router.get("/spaces", response_model=Spaces, responses=problems())
def spaces(caller: Reading) -> Spaces:
    """The spaces of the package."""
    known = [load_space(name) for name in space_names()]
    return Spaces(spaces=[SpaceInfo(name=own.name, about=own.about, space=own.to_dict()) for own in known])


@router.get("/devices", response_model=Devices, responses=problems())
def devices(service: TheService, caller: Reading) -> Devices:
    """Devices that were profiled, with the held-out errors of their profiles."""
    return Devices(devices=[DeviceInfo(**own) for own in service.reader.devices()])


@router.get("/workers", response_model=Workers, responses=problems())
def workers(service: TheService, caller: Reading) -> Workers:
    """Machines of the Ray that trains."""
    return Workers(workers=service.dispatcher.workers())
