"""What a search would do, before anything is spent."""

from fastapi import APIRouter

from nas.client.models import ForecastInfo, NewForecast
from services.controller.access import Writing
from services.controller.admission import admitted
from services.controller.routes import problems
from services.controller.service import TheService

router = APIRouter(prefix="/forecasts", tags=["forecasts"])


@router.post("", response_model=ForecastInfo, responses=problems(404, 409, 413))
def forecast(service: TheService, caller: Writing, new: NewForecast) -> ForecastInfo:
    """Say what a search would do, on a device that was profiled or on one of the catalogue: how many candidates fit,
    how many could be trained, how long it would take. Nothing is trained, and no profile made."""
    spec, _ = admitted(new.spec, service.home.corpora, service.settings.quotas)
    service.rates.submission(caller.token_id or caller.name)
    return ForecastInfo(**service.dispatcher.forecast(spec.to_dict(), new.device))
