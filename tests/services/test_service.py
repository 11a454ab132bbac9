"""A server and those who use it, as processes: submitted, followed, killed, started again."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from nas.adapters.sql.store import open_store
from nas.errors import ExportError
from nas.plan import Compiles
from nas.records import CandidateState, SearchState
from services.cli.main import OF_THIS_MACHINE
from services.profiles import keep
from tests.services.driving import PROFILE, Done, Place, knows_this_machine, make_place
from tests.services.serving import Served, free_port, serving

pytestmark = pytest.mark.timeout(900)  # several servers and searches each, also on a machine that others use


@dataclass(frozen=True)
class Used:
    """A server, a user of it who is elsewhere, and a search of theirs that ran to its end."""

    served: Served
    user: Place
    submitted: Done
    id: str

    def run(self, *arguments: object) -> Done:
        return self.served.by(self.user, *arguments)


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Used]:
    server, user = (make_place(tmp_path_factory.mktemp(name)) for name in ("server", "user"))
    with serving(server) as served:
        submitted = served.by(user, "submit", "tiny.yaml", "--watch")
        assert submitted.code == 0, submitted.err + served.log.read_text()
        yield Used(served, user, submitted, submitted.out.strip())


def test_submit_gives_the_id_and_follows(used: Used) -> None:
    assert re.fullmatch(r"tiny-[0-9a-f]{6}\n", used.submitted.out)
    said = used.submitted.err
    assert re.search(rf"corpus +\S+ KiB go to {used.served.url}\n", said)
    assert f"url        {used.served.url}/api/v1/searches/{used.id}" in said
    assert "candidate 0 completed: " in said
    assert said.splitlines()[-1].startswith("The best affordable model is candidate ")


@pytest.mark.parametrize(
    "command",
    ["ls", "status ID", "candidates ID", "front ID", "logs ID", "logs ID/0", "ls -o json", "status ID -o json",
     "candidates ID -o json", "front ID -o id", "wait ID", "wait ID -o json", "scale ID --compute 900MFLOP",
     "scale ID/0 --compute 900MFLOP -o json", "scale ID/0 --compute 900MFLOP -o id", "spaces", "spaces -o json",
     "profile candidate ID/0", "profile candidate ID/0 --by module -o json"],
)  # fmt: skip
def test_commands_print_the_same_there_as_on_the_server_s_machine(used: Used, command: str) -> None:
    arguments = command.replace("ID", used.id).split()
    there, here = used.run(*arguments), used.served.place.run(*arguments)
    assert there.code == here.code == 0, there.err
    assert there.out == here.out and there.out


def test_the_report_is_the_same(used: Used) -> None:
    for place, run in ((used.user, used.run), (used.served.place, used.served.place.run)):
        assert run("report", used.id, "--out", "report.html").code == 0
        assert (place.folder / "report.html").stat().st_size > 100_000
    texts = [(place.folder / "report.html").read_text() for place in (used.user, used.served.place)]
    assert texts[0] == texts[1]


def test_text_is_written_on_a_worker(used: Used) -> None:
    written = [used.run("generate", used.id, "The ", "--tokens", 12, "--seed", 3) for _ in range(2)]
    assert written[0].code == 0, written[0].err
    assert written[0].out == written[1].out and len(written[0].out) > 5
    assert written[0].out == used.served.place.run("generate", used.id, "The ", "--tokens", 12, "--seed", 3).out


def test_a_model_is_taken_away(used: Used) -> None:
    transformers = pytest.importorskip("transformers")
    done = used.run("export", used.id, "--out", "model")
    assert done.code == 0, done.err
    assert re.fullmatch(r"wrote model: transformers gives the same logits \(relative error \S+\)\n", done.err)
    model = transformers.AutoModelForCausalLM.from_pretrained(used.user.folder / "model")
    assert sum(own.numel() for own in model.parameters()) > 1000
    again = used.run("export", used.id, "--out", "model")
    assert (again.code, again.err) == (1, "nas: model is there already: use --force to replace it, or another --out\n")
    assert used.run("export", used.id, "--out", "model", "--force").code == 0
    (used.user.folder / "model" / "notes.txt").write_text("mine")
    kept = used.run("export", used.id, "--out", "model", "--force")
    assert kept.code == 1 and "model holds what no export has (notes.txt)" in kept.err
    with used.served.client() as client:
        found = client.export(used.id, int(used.run("front", used.id, "-o", "id").out.split("/")[1].split()[0]))
        damaged = found.model_copy(update={"sha256": "0" * 64})
        with pytest.raises(ExportError, match="it was damaged on its way"):
            client.download(damaged)


def test_what_the_server_s_texts_are(used: Used) -> None:
    with used.served.client() as client:
        names = {own.name: own for own in client.corpora()}
        assert names["tiny"].files == 6 and names["austen"].reference == "austen"
        files = {"train": sorted((used.user.folder / "texts").glob("*.txt"))}
        assert client.upload("tiny", files).reference == names["tiny"].reference, "the same again is the same"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("status", "none"), 5, "no search 'none'"),
        (("status", "tiny/x"), 5, "no search 'tiny/x'"),
        (("cancel", "ID"), 1, "search ID is completed"),
        (("resume", "ID"), 1, "search ID is completed: there is nothing to resume"),
        (("scale", "ID/0", "--compute", "1kFLOP"), 3, "compute: must allow 20 steps of a candidate within the limits"),
        (("scale", "ID/99", "--compute", "1GFLOP"), 5, "no candidate 99 in search ID; `nas candidates ID` lists them"),
        (("generate", "ID/99"), 5, "no candidate 99 in search ID; `nas candidates ID` lists them"),
        (("submit", "none.yaml"), 5, "none.yaml"),
    ],
)
def test_what_is_wrong_is_said_as_it_is_here(used: Used, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = used.run(*(own.replace("ID", used.id) for own in arguments))
    assert done.code == code and said.replace("ID", used.id) in done.err and done.out == ""


def test_a_spec_that_will_not_do_has_its_line(used: Used) -> None:
    used.user.write_spec("wrong.yaml", minimize="minimize: [beauty]")
    done = used.run("submit", "wrong.yaml")
    assert (done.code, done.err) == (2, "nas: " + used.user.run("validate", "wrong.yaml").err.removeprefix("nas: "))
    used.user.write_spec("elsewhere.yaml", corpus="corpus: {huggingface: some/set}")
    done = used.run("submit", "elsewhere.yaml")
    assert done.code == 2 and "elsewhere.yaml:2: corpus: must be files: a server opens no addresses" in done.err


def test_a_dry_run_submits_nothing_and_says_what_it_would_come_to(used: Used) -> None:
    before = used.run("ls", "-o", "id").out
    done = used.run("submit", "tiny.yaml", "--dry-run")
    assert (done.code, done.out) == (0, "")
    _, *forecast, last = done.err.splitlines()
    assert last == f"{used.served.url} would take it"
    assert clockless(forecast) == clockless(used.run("forecast", "tiny.yaml").out.splitlines())
    assert used.run("ls", "-o", "id").out == before
    used.user.write_spec("vain.yaml", limits="limits: {params: 1k}")
    vain = used.run("submit", "vain.yaml", "--dry-run")
    assert vain.code == 3 and "no candidate of" in vain.err and "would take it" not in vain.err


def clockless(lines: list[str]) -> list[str]:
    """Without the time of day, which the last line ends with."""
    return [*lines[:-1], lines[-1].rpartition(", ")[0]]


def test_a_forecast_is_the_same_there_as_on_the_server_s_machine(used: Used) -> None:
    here, there = used.served.place, used.user
    for place in (here, there):
        place.write_spec("austen.yaml", corpus="corpus: austen", total="  total: {compute: 100GFLOP}")
    for arguments in (("austen.yaml",), ("austen.yaml", "--device", "rtx-4090")):
        asked, own = used.run("forecast", *arguments), here.run("forecast", *arguments)
        assert (asked.code, asked.err) == (own.code, own.err) == (0, "")
        lines = [done.out.splitlines() for done in (asked, own)]
        assert clockless(lines[0]) == clockless(lines[1]) and len(lines[0]) > 7
        asked, own = (run("forecast", *arguments, "-o", "json") for run in (used.run, here.run))
        assert asked.out == own.out and asked.json["fits"]["cheapest"]["params"] > 0
    asked, own = used.run("forecast", "tiny.yaml"), here.run("forecast", "tiny.yaml")
    assert re.fullmatch(rf"corpus +\S+ KiB go to {used.served.url}\n", asked.err)
    first, *rest = clockless(asked.out.splitlines())
    assert rest == clockless(own.out.splitlines())[1:]
    assert first.partition(": ")[2] == own.out.splitlines()[0].partition(": ")[2], "the same texts by another name"


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (("--device", "rtx-409"), {}),
        ((), {"device": "device: rtx-409"}),
        ((), {"corpus": "corpus: none/*.txt"}),
        ((), {"total": "  total: {compute: 300MFLOP}"}),
        (("--device", "rtx-4090"), {"limits": "limits: {params: 5k}"}),
        ((), {"limits": "limits: {parms: 1M}"}),
    ],
)
def test_what_cannot_be_foreseen_is_said_as_it_is_here(
    used: Used, arguments: tuple[str, ...], lines: dict[str, str]
) -> None:
    for place in (used.user, used.served.place):
        place.write_spec("wrong.yaml", **lines)
    asked, own = (run("forecast", "wrong.yaml", *arguments) for run in (used.run, used.served.place.run))
    assert asked.code == own.code > 1 and asked.out == ""
    said = own.err.splitlines()[-1].replace(str(used.served.place.folder), str(used.user.folder))
    assert asked.err.splitlines()[-1] == said


def test_a_profile_is_made_there_by_request(used: Used) -> None:
    """A real one, short: without it there is no forecast, with it there is."""
    database, key = f"sqlite:///{used.served.place.home / 'nas.db'}", PROFILE.fingerprint.key
    with contextlib.closing(open_store(database)) as store, used.served.client() as client:
        store.save_device_profile(key, {}, at=0.0)  # as if of another version
        refused = used.run("forecast", "tiny.yaml")
        assert refused.code == 1 and "has no profile yet, and a forecast makes none" in refused.err
        dry = used.run("submit", "tiny.yaml", "--dry-run")
        assert dry.code == 0 and "forecast   there is none: " in dry.err and dry.err.endswith(" would take it\n")
        began = client.profile("cpu")
        assert client.profile("auto").id == began.id or client.profile_job(began.id).state != "running"
        made = client.profiled(began)
        assert made.fingerprint == key and (store.device_profile(key) or {})["probes"] >= 8
        assert key in [own.fingerprint for own in client.devices().devices]
        assert used.run("forecast", "tiny.yaml").code == 0
        full = replace(PROFILE, compiled=PROFILE.eager, compiles=Compiles(30.0, 1.25))
        keep(store, full)
    for options in ((), ("-o", "json")):
        asked, own = (run("profile", "device", *options) for run in (used.run, used.served.place.run))
        assert (asked.code, asked.out) == (own.code, own.out) and asked.code == 0
        assert re.fullmatch(rf"profile    p_\w{{12}} of {used.served.url}: waits until nothing .*\n", asked.err)
    knows_this_machine(database)
    absent = used.run("profile", "device", "--device", "tpu")
    assert (absent.code, absent.out) == (2, "") and "nas: device: Input should be 'auto', 'cpu' or 'cuda'" in absent.err


def test_pause_and_resume_and_cancel(used: Used) -> None:
    used.user.write_spec("long.yaml", total="  total: {compute: 40GFLOP}", candidate="  candidate: {compute: 9GFLOP}")
    refused = used.run("submit", "long.yaml", "--watch")
    assert "budget: must not repeat the corpus more than 16 times unless that was agreed to" in refused.err
    own = used.run("submit", "long.yaml", "--yes", "--idempotency-key", "one").out.strip()
    again = used.run("submit", "long.yaml", "--yes", "--idempotency-key", "one")
    assert again.out.strip() == own, "the same key is the same search"
    _wait_for(used.served, own, lambda states: CandidateState.TRAINING in states)
    paused = used.run("pause", own)
    assert paused.code == 0 and f"search {own} is paused; go on with: nas resume {own}" in paused.err
    assert used.run("wait", own).code == 130
    assert used.run("resume", own).code == 0
    _wait_for(used.served, own, lambda states: CandidateState.TRAINING in states)
    cancelled = used.run("cancel", own)
    assert cancelled.code == 0 and cancelled.err.endswith(f"search {own} is cancelled\n")
    assert used.run("wait", own).code == 9
    with used.served.client() as client:
        messages = [event.message for event in client.events(own)]
    assert [own for own in messages if own.startswith("local asks")] == [
        f"local asks to {verb}" for verb in ("pause", "resume", "cancel")
    ]


def test_a_queued_search_is_cancelled_without_a_beginning(used: Used) -> None:
    with used.served.client() as client:
        spec = client.search(used.id).spec
        own = client.submit({**spec, "name": "short"}).id
        client.cancel(own)
        limit = time.monotonic() + 300
        while client.search(own).state is not SearchState.CANCELLED:
            assert time.monotonic() < limit, client.search(own).state
            time.sleep(0.1)


def test_ctrl_c_only_stops_following(used: Used) -> None:
    environment = {"NAS_SERVER": used.served.url}
    process = used.user.start("submit", "tiny.yaml", "--watch", environment=environment)
    assert process.stdout is not None
    own = process.stdout.readline().strip()
    used.served.followed(process)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"search {own} goes on; follow it with: nas watch {own}" in said
    with used.served.client() as client:
        assert client.search(own).state not in (SearchState.CANCELLED, SearchState.PAUSED)
        client.cancel(own)


def test_an_end_in_good_order_and_one_that_is_not(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Told to end, killed, started again: the search is what it would have been, each candidate once, paid once."""
    undisturbed, disturbed, user = (make_place(tmp_path_factory.mktemp(own)) for own in ("calm", "storm", "user"))
    user.write_spec(total="  total: {compute: 6GFLOP}", candidate="  candidate: {compute: 700MFLOP}")
    ends = {}
    for place, disturb in ((undisturbed, False), (disturbed, True)):
        with serving(place) as served:
            own = served.by(user, "submit", "tiny.yaml").out.strip()
            if disturb:
                _wait_for(served, own, lambda states: CandidateState.TRAINING in states)
                assert served.end() == 0
                assert _state(place, own) in ("queued", "completed")
                served.start()
                _wait_for(served, own, lambda states: len(states) > 1 and CandidateState.TRAINING in states)
                waiting = user.start("wait", own, "-o", "json", environment={"NAS_SERVER": served.url})
                served.followed(waiting)
                served.kill()
                served.start()
                out, err = waiting.communicate(timeout=600)
                assert waiting.returncode == 0, err + served.log.read_text()
                assert json.loads(out)["state"] == "completed", "who waits hears of it all the same"
            done = served.by(user, "wait", own, "-o", "json")
            assert done.code == 0, done.err + served.log.read_text()
            with served.client() as client:
                ends[disturb] = [(c.id, c.state, c.val_bpb, c.train_flops_spent) for c in client.candidates(own)]
                lines = client.ledger(own)
            settled = [line.number for line in lines if line.kind == "settle"]
            assert len(settled) == len(set(settled)), "nothing is charged twice"
    assert ends[True] == ends[False]


def test_two_controllers_on_one_database(tmp_path: Path, postgres_url: str) -> None:
    """Neither knows of the other, and each search is driven once."""
    knows_this_machine(postgres_url)
    shared, user = (make_place(tmp_path / name) for name in ("shared", "user"))
    with serving(shared, "--db", postgres_url) as first, serving(shared, "--db", postgres_url) as second:
        submitted = [(first, second)[turn % 2].by(user, "submit", "tiny.yaml") for turn in range(4)]
        ids = [done.out.strip() for done in submitted]
        limit = time.monotonic() + 600
        with second.client() as client:
            while any(client.search(own).state is not SearchState.COMPLETED for own in ids):
                assert time.monotonic() < limit, [client.search(own).reason for own in ids]
                time.sleep(0.5)
    with contextlib.closing(open_store(postgres_url)) as store:
        for own in ids:
            lease = store.lease(own)
            assert lease is not None and lease.token == 1, "nobody took it from another"
            assert all(attempt.attempt == 0 for attempt in store.attempts(own))


def _state(place: Place, search: str) -> str:
    store = open_store(f"sqlite:///{place.home / 'nas.db'}")
    try:
        return str(store.search(search).state)
    finally:
        store.close()


def _wait_for(served: Served, search: str, holds: Callable[[list[CandidateState]], bool]) -> None:
    limit = time.monotonic() + 300
    with served.client() as client:
        while not holds([own.state for own in client.candidates(search)]):
            assert time.monotonic() < limit, [event.message for event in client.events(search)]
            assert client.search(search).state not in (SearchState.FAILED, SearchState.COMPLETED), (
                served.log.read_text()
            )
            time.sleep(0.05)


# --- who may, and what is not there ---


def test_tokens_from_the_first_one_on(tmp_path: Path) -> None:
    server, user = make_place(tmp_path / "server"), make_place(tmp_path / "user")
    first = server.run("token", "create", "ann", "--scope", "admin")
    assert first.code == 0 and re.fullmatch(r"nas_\S{43}\n", first.out)
    with serving(server, "--auth", "token", "--ray", "none") as served:
        assert served.by(user, "ls").code == 4
        wrong = served.by(user, "ls", NAS_TOKEN="nas_wrong")
        assert (wrong.code, wrong.err) == (4, "nas: the token is not known to this server\n")
        admin = {"NAS_TOKEN": first.out.strip()}
        assert served.by(user, "ls", **admin).code == 0
        reader = served.by(user, "token", "create", "bob", "--expires", "1h", **admin).out.strip()
        refused = served.by(user, "submit", "tiny.yaml", NAS_TOKEN=reader)
        assert (refused.code, refused.out) == (4, "") and "token 'bob' has scope read; this needs write" in refused.err
        listed = served.by(user, "token", "ls", **admin).out.splitlines()
        assert [line.split()[1:] for line in listed] == [["admin", "holds", "ann"], ["read", "holds", "bob"]]
        assert served.by(user, "token", "revoke", listed[1].split()[0], **admin).code == 0
        assert served.by(user, "ls", NAS_TOKEN=reader).err == "nas: token 'bob' was revoked\n"


def test_login(tmp_path: Path) -> None:
    server, user = make_place(tmp_path / "server"), make_place(tmp_path / "user")
    secret = server.run("token", "create", "ann", "--scope", "write").out.strip()
    with serving(server, "--auth", "token", "--ray", "none") as served:
        process = user.start("login", served.url, stdin=subprocess.PIPE)
        _, said = process.communicate(secret + "\n", timeout=60)
        assert process.returncode == 0 and f"commands are for {served.url} now, as ann (write)" in said
        kept = user.home / "servers.json"
        assert kept.stat().st_mode & 0o777 == 0o600 and json.loads(kept.read_text())["current"] == served.url
        own = user.run("submit", "tiny.yaml")
        assert own.code == 0, own.err
        assert user.run("ls", "-o", "id").out == own.out
        assert user.run("logout").err == f"commands are for this machine again, no more for {served.url}\n"
        assert user.run("ls", "-o", "id").out == ""
        bad = user.start("login", served.url, stdin=subprocess.PIPE)
        assert bad.communicate("nas_wrong\n", timeout=60) and bad.returncode == 4


def test_nobody_there(tmp_path: Path) -> None:
    user = make_place(tmp_path / "user")
    url = f"http://127.0.0.1:{free_port()}"
    done = user.run("validate", "tiny.yaml", "--server", url)
    assert done.code == 0, "what needs no server asks none"
    started = time.monotonic()
    process = user.start("ls", "--server", url)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 7 and said.startswith(f"nas: no server answers at {url}: ")
    assert time.monotonic() - started < 50
    for address in ("nonsense", "ftp://x", "http://"):
        assert user.run("ls", "--server", address).code in (2, 7)
    assert user.run("ls", "--server").code == 2


@pytest.mark.parametrize("command", ["run tiny.yaml", "fit texts/*.txt --time 1min", "plan --compute 1GFLOP", "login",
    "train c.yaml --compute 1GFLOP", "serve", "db check"])  # fmt: skip
def test_what_a_server_does_not_do_is_not_done_here_instead(command: str, tmp_path: Path) -> None:
    """Where it was named for this very command; whoever is logged in may still work on this machine."""
    user = make_place(tmp_path / "user")
    name, *rest = command.split()
    done = user.run(name, "--server", "http://127.0.0.1:1", *rest)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"nas: --server: is not for nas {name}: {OF_THIS_MACHINE[name]}\n"
    assert user.run("db", "check", NAS_SERVER="http://127.0.0.1:1").code == 0


def test_a_port_that_is_taken_is_told_at_once(tmp_path: Path) -> None:
    place = make_place(tmp_path / "place")
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        own.listen()
        taken = own.getsockname()[1]
        done = place.run("serve", "--port", taken)
        assert (done.code, done.out) == (2, "")
        assert f"--port: must be free: is a server running already?, found {taken}" in done.err
    refused = place.run("serve", "--host", "0.0.0.0")
    assert refused.code == 2 and "--host: must be of the loopback where no token is needed" in refused.err
    nowhere = place.run("serve", "--host", "203.0.113.1", "--auth", "token")
    assert nowhere.code == 2 and "--host: must be an address that can be listened at" in nowhere.err
