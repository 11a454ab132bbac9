"""What is said of a search before anything is spent, and the consent to it."""

import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nas.errors import CancelledError, SpecError
from services.cli.output import tell

if TYPE_CHECKING:
    from nas.client.client import Client
    from nas.client.models import ForecastInfo
    from nas.forecast import Forecast, Interval


def agree(found: "Forecast", yes: bool) -> None:
    """Says what will happen; many epochs need consent."""
    foretell(found, tell)
    consent(max(found.epochs, found.final_epochs), "budget", yes)


def consent(epochs: float, field: str, yes: bool) -> None:
    """Asks whether text may be repeated so often, where that is much; ``field`` is what says so."""
    from nas.forecast import EPOCHS_CONSENT

    if epochs <= EPOCHS_CONSENT or yes:
        return
    if not sys.stdin.isatty():
        rule = f"must not repeat the corpus more than {EPOCHS_CONSENT:g} times without --yes"
        raise SpecError(field, rule, f"{epochs:.2g} epochs")
    print(f"{epochs:.2g} epochs over the corpus: go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CancelledError("not started")


def foretell(found: "Forecast", show: Callable[[str, str], None], interval: "Interval | None" = None) -> None:
    """Shows a forecast by topics; ``interval`` where it is for a device that is only estimated."""
    from nas.forecast import EPOCHS_WARNING

    show("space", f"{found.admitted_share:.0%} of it passes the gate")
    show("dial", f"{_knobs(found.dial)} (what scaling rules choose, without search)")
    show("largest", f"{_knobs(found.largest)} (the largest that keeps the limits)")
    show("epochs", f"{found.epochs:.2g} over the corpus for a candidate, {found.final_epochs:.2g} for the final run")
    trainings, ending = _pays(found, interval), _ending(found, interval)
    show("budget", f"{found.binding} binds: it pays for {trainings} full trainings{ending}")
    most = max(found.epochs, found.final_epochs)
    if most > EPOCHS_WARNING:
        show("warning", f"{most:.2g} epochs over the corpus; beyond {EPOCHS_WARNING:g}, repeated text teaches less")
    if interval is not None:
        if interval.refused:
            show("warning", f"within the estimate the search may also be refused: {interval.refused}")
        show("estimated", f"all of this is from the data sheet of {interval.device}; nothing was measured")


def ask_forecast(
    client: "Client", spec: Mapping[str, Any], device: str, show: Callable[[str, str], None]
) -> dict[str, Any]:
    """Shows the forecast of a server; that as data, as `services.forecasting.Outlook.to_dict`."""
    sent = client.forecast(spec, device)
    for note in sent.notes:
        show(note.topic, note.line)
    likely, interval = _received(sent)
    foretell(likely, show, interval)
    return sent.model_dump(exclude={"notes"})


def _received(sent: "ForecastInfo") -> "tuple[Forecast, Interval | None]":
    """What a server foresees, as far as it is shown."""
    from nas.forecast import Forecast, Interval

    trainings, seconds = sent.full_trainings, sent.seconds
    likely = Forecast(
        binding=sent.binding,
        full_trainings=_number(trainings.predicted),
        admitted_share=sent.admitted_share,
        dial=sent.dial,
        largest=sent.largest,
        dial_plan=None,
        epochs=sent.epochs,
        final_epochs=sent.final_epochs,
        seconds=_number(seconds.predicted),
        reference=(),
    )
    if not sent.estimated:
        return likely, None
    of_trainings, of_seconds = ((_number(own.low), _number(own.high)) for own in (trainings, seconds))
    return likely, Interval(sent.device, of_trainings, of_seconds, sent.refused)


def _number(sent: float | None) -> float:
    """JSON knows nothing infinite."""
    return math.inf if sent is None else sent


def _pays(found: "Forecast", interval: "Interval | None") -> str:
    low, high = interval.full_trainings if interval is not None else (found.full_trainings,) * 2
    return f"{found.full_trainings:.1f}" + (f" ({low:.1f} to {high:.1f})" if low < high else "")


def _ending(found: "Forecast", interval: "Interval | None") -> str:
    from nas.units import format_seconds

    if not math.isfinite(found.seconds):
        return ""
    about = f" and ends in about {format_seconds(found.seconds)}"
    if interval is None:
        return f"{about}, {time.strftime('%a %H:%M', time.localtime(time.time() + found.seconds))}"
    low, high = interval.seconds
    return f"{about} ({format_seconds(low)} to {format_seconds(high)})"


def _knobs(knobs: Mapping[str, Any] | None) -> str:
    if knobs is None:
        return "none"
    names = ("depth", "width", "vocabulary", "context", "mlp_ratio")
    return ", ".join(f"{name} {knobs[name]}" for name in names if name in knobs)
