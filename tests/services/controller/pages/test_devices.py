"""The page of devices: what is known of them, and who may have one profiled."""

from dataclasses import replace

import pytest

from nas.client.models import WorkerInfo
from nas.errors import StateError
from services.controller.dispatch import NoRay
from services.controller.settings import Settings
from tests.dashboards.test_candidate import PROFILE
from tests.services.controller.conftest import Server, Servers

EVIL = "<script>alert('x')</script>\"'&"
BUTTON = 'id="profile"'


class Cluster(NoRay):
    """One whose machines are these."""

    def __init__(self, *alive: bool) -> None:
        self._alive = alive

    def workers(self) -> list[WorkerInfo]:
        resources = {"CPU": 2.0, "memory": 2.0**31}
        return [
            WorkerInfo(id=str(n), host=f"host{n}{EVIL}", alive=own, resources=resources)
            for n, own in enumerate(self._alive)
        ]


class Silent(NoRay):
    """One that does not answer."""

    def workers(self) -> list[WorkerInfo]:
        raise StateError("Ray does not answer within 3 s")


def devices(server: Server, **given: object) -> str:
    page = server.http.get("/devices", **given)  # type: ignore[arg-type]
    assert page.status_code == 200 and "<script>alert" not in page.text
    return page.text


def test_nothing_is_known_and_nobody_works(server: Server) -> None:
    text = devices(server)
    assert "No device has been profiled yet" in text and "This server has no workers" in text and BUTTON not in text


def test_profiles_with_their_errors_the_newest_first(server: Server) -> None:
    short = replace(PROFILE, compiled=None, fingerprint=replace(PROFILE.fingerprint, name=f"an old CPU {EVIL}"))
    for at, own in ((1.0, short), (2.0, PROFILE)):
        server.store.save_device_profile(own.fingerprint.key, own.to_dict(), at=at)
    text = devices(server)
    assert text.index("a CPU, 1 GiB") < text.index("an old CPU")
    assert ">full</span>" in text and ">short</span>" in text and "10% on average, 20% in nine of ten" in text
    assert "made 1970" in text.lower()


@pytest.mark.parametrize("profile", [{}, {"fingerprint": {"name": EVIL}}, {"fingerprint": EVIL}, {"speed": None}])
def test_profiles_of_another_version_are_named(server: Server, profile: dict[str, object]) -> None:
    server.store.save_device_profile("f", profile, at=1.0)
    assert "Another version of nas made it." in devices(server)


@pytest.mark.parametrize(("alive", "button"), [((), False), ((False,), False), ((True,), True), ((False, True), True)])
def test_a_device_is_profiled_where_there_are_workers(
    make_server: Servers, sqlite_url: str, alive: tuple[bool, ...], button: bool
) -> None:
    text = devices(make_server(sqlite_url, dispatcher=Cluster(*alive)))
    assert (BUTTON in text) == button
    assert (text.count(">there<"), text.count(">gone<")) == (alive.count(True), alive.count(False))
    assert ("CPU 2, memory 2 GiB" in text) == bool(alive)


def test_a_cluster_that_does_not_answer(make_server: Servers, sqlite_url: str) -> None:
    text = devices(make_server(sqlite_url, dispatcher=Silent()))
    assert "Ray does not answer within 3 s" in text and BUTTON not in text


def test_who_only_looks_is_shown_no_button(make_server: Servers, sqlite_url: str) -> None:
    server = make_server(sqlite_url, Settings(auth=True), dispatcher=Cluster(True))
    assert server.http.get("/devices", follow_redirects=False).status_code == 303
    assert BUTTON not in devices(server, headers=server.token("read"))
    assert BUTTON in devices(server, headers=server.token("write"))
