"""Commands that follow a search of a server, which is away for a while: they wait, and miss nothing."""

import time
from contextlib import closing
from pathlib import Path

import pytest

from nas.adapters.sql.store import open_store
from nas.records import LogLine, SearchState
from services.cli.remote import RETRY_SECONDS
from tests.dashboards import sample
from tests.services.driving import ending, make_place, said_until
from tests.services.serving import serving


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        (("logs", sample.ID, "-f"), 0, ["while it was away", "the very last"]),
        (("logs", f"{sample.ID}/9", "-f"), 0, ["while it was away", "attempt 1: a line", "the very last"]),
        (("watch", sample.ID), 0, ["while it was away", "the very last"]),
        (("wait", sample.ID), 9, []),
    ],
    ids=["logs", "logs of a candidate", "watch", "wait"],
)
def test_a_server_that_is_away(tmp_path: Path, command: tuple[str, ...], code: int, told: list[str]) -> None:
    place = make_place(tmp_path)
    with closing(open_store(f"sqlite:///{place.home / 'nas.db'}")) as store:
        lease = sample.fill_at_work(store)
        with serving(place, "--ray", "none") as served:
            asked = place.start(*command, environment={"NAS_SERVER": served.url})
            with ending(asked) as process:
                served.followed(process)
                served.kill()
                said_until(process, "waiting: no server answers at ")
                time.sleep(RETRY_SECONDS + 1)  # for longer than any one question is asked again
                store.add_event(sample.ID, "note", "while it was away", at=sample.START + 500, number=9)
                store.add_log(sample.ID, 9, 0, [LogLine(sample.START + 501, "info", "nas", "a line")])
                served.start()
                served.followed(process)
                store.add_event(sample.ID, "note", "the very last", at=sample.START + 502, number=9)
                store.update_search(sample.ID, state=SearchState.CANCELLED, finished_at=sample.START + 503)
                store.drop_lease(lease)
                out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    lines = [line for line in (out + err).splitlines() if any(own in line for own in told)]
    assert [next(own for own in told if own in line) for line in lines] == told, "each once, by time"
