"""Profiles of devices, made because somebody asks for it."""

from fastapi import APIRouter

from nas.client.models import NewProfile, ProfileJob, ProfileJobs
from services.controller.access import Reading, Writing
from services.controller.routes import problems
from services.controller.service import TheService

router = APIRouter(prefix="/profiles", tags=["profiles"])


@router.post("", status_code=202, response_model=ProfileJob, responses=problems(409, 413))
def profile(service: TheService, caller: Writing, new: NewProfile) -> ProfileJob:
    """Have a device profiled where that is not done yet, on a worker, once nothing is trained on it. The same again
    while it is under way is the same."""
    service.rates.submission(caller.token_id or caller.name)
    return service.profiling.start(new)


@router.get("", response_model=ProfileJobs, responses=problems())
def list_profiles(service: TheService, caller: Reading) -> ProfileJobs:
    """What was asked for since the server began; the profiles themselves are among the devices."""
    return ProfileJobs(profiles=service.profiling.all())


@router.get("/{profile_id}", response_model=ProfileJob, responses=problems(404))
def get_profile(service: TheService, caller: Reading, profile_id: str) -> ProfileJob:
    """How far it is."""
    return service.profiling.find(profile_id)
