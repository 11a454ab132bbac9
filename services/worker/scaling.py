"""A candidate of a search carried to another budget, where there is torch and the text of the search."""

from dataclasses import replace

from nas.adapters.sql.store import open_store
from nas.candidate import Candidate
from nas.client.models import ScaledCandidate
from nas.devices import Devices, device_of
from nas.errors import StateError
from nas.forecast import final_allowance
from nas.ports import PublicStore
from nas.records import CandidateRecord, CandidateState, SearchRecord
from nas.spec import parse_spec
from nas.transfer import Transfer, transfer
from services.device import Device
from services.ground import Ground, survey_again
from services.home import Home
from services.profiles import Profiles
from services.scaling import Scaled
from services.worker.driver import name_of

SAME_BUDGET = 0.01
"""Part by which training FLOPs may differ between a plan and the run that verifies it."""


def scale(home: Home, search_id: str, number: int, flops: int) -> ScaledCandidate:
    """`scale_candidate` for a server, as it is sent."""
    store = open_store(home.database)
    try:
        search, record = store.search(search_id), store.candidate(search_id, number)
        return scale_candidate(home, store, search, record, flops).sent()
    finally:
        store.close()


def scale_candidate(
    home: Home, store: PublicStore, search: SearchRecord, record: CandidateRecord, flops: int
) -> Scaled:
    """A candidate at ``flops`` of training, within the limits of its search and the memory of its device.

    Raises:
        StateError: the candidate has no plan to go out from.
        CorpusError: the text of the search has changed.
        InfeasibleError: nothing keeps the limits with so many FLOPs.
    """
    if not record.plan:
        raise StateError(
            f"candidate {search.id}/{record.number} is {record.state} and has no plan that could be scaled"
        )
    ground = survey_again(parse_spec(search.spec), search.setting, home, lambda topic, line: None)
    profiles = _profiles(search, ground)
    appraisers = {name: ground.appraiser(own) for name, own in profiles.items()}
    devices = Devices(appraisers)
    devices.learn(store.ledger(search.id), {own.number: own for own in store.candidates(search.id)})
    hardware = (profiles.get(device_of(record)) or next(iter(profiles.values()))).shared.fingerprint
    grant = final_allowance(ground.spec, flops)
    grant = replace(grant, memory=min(grant.memory or hardware.memory_bytes, hardware.memory_bytes))
    candidate = Candidate.from_dict(record.candidate)
    found = transfer(candidate, record.train_flops_planned, grant, devices.appraiser(device_of(record)))
    return Scaled(record, found, hardware.name, verifying(store, search, found))


def verifying(store: PublicStore, search: SearchRecord, found: Transfer) -> CandidateRecord | None:
    """The latest completed run of a candidate with a budget, of any search on the same text."""
    text, planned = search.setting["corpus"]["fingerprint"], found.plan.train_flops
    searches = [own.id for own in store.searches() if own.setting.get("corpus", {}).get("fingerprint") == text]
    runs = [
        own
        for search_id in searches
        for own in store.candidates(search_id)
        if own.id == found.candidate.id
        and own.state is CandidateState.COMPLETED
        and abs(own.train_flops_spent - planned) <= SAME_BUDGET * planned
    ]
    return runs[-1] if runs else None


def _profiles(search: SearchRecord, ground: Ground) -> dict[str, Profiles]:
    """Of the devices that the search began with, by the names that plans know them under."""
    return {name_of(ground, Device(**own["device"])): Profiles.from_dict(own) for own in search.setting["devices"]}
