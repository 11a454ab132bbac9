"""The files for deployment hold together and say what the code does. No container engine is needed."""

import configparser
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from psycopg import pq
from ruamel.yaml import YAML

from nas.adapters.sql.engine import sqlalchemy_url
from nas.adapters.sql.reader import Reader
from nas.adapters.sql.store import open_store
from services.controller.metrics import Figures, registry_of
from services.controller.routes import health
from services.controller.settings import LOOPBACK, PORT
from tests.services.commands import commands

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
START, SLURM, GUIDE = DEPLOY / "start.sh", DEPLOY / "slurm.sh", ROOT / "docs" / "deploy.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = PROJECT["project"]["version"]
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
COMMANDS = commands()
RAY_PORTS = {"6379", "8265", "10001"}


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path)


COMPOSE = load(ROOT / "docker-compose.yml")
SERVICES: Mapping[str, Any] = COMPOSE["services"]
NODES = ("ray-head", "worker", "worker-gpu", "controller")
"""Services that use Ray."""
specification = importlib.util.spec_from_file_location("watch", DEPLOY / "watch.py")
assert specification is not None and specification.loader is not None
watch = importlib.util.module_from_spec(specification)
specification.loader.exec_module(watch)
CLUSTER, CONTROLLER, CONTROLLER_SERVICE = YAML(typ="safe").load_all(DEPLOY / "kuberay.yml")
PODS = {
    "ray-head": CLUSTER["spec"]["headGroupSpec"]["template"]["spec"],
    "worker-gpu": CLUSTER["spec"]["workerGroupSpecs"][0]["template"]["spec"],
    "controller": CONTROLLER["spec"]["template"]["spec"],
}


# --- the Dockerfile ---


@dataclass
class Stage:
    """Of a Dockerfile: its instructions, those of the stage that it is made from before its own."""

    origin: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        return [rest for own, rest in self.steps if own == word]

    def last(self, word: str) -> str:
        return self.all(word)[-1]


def read_dockerfile(text: str) -> dict[str, Stage]:
    plain = re.sub(r"^\s*#.*\n", "", text, flags=re.M)
    stages: dict[str, Stage] = {}
    for line in re.sub(r"\\\n", " ", plain).splitlines():
        if not line.strip():
            continue
        word, rest = line.split(None, 1)
        if word == "FROM":
            origin, _, name = rest.split()
            before = stages[origin].steps if origin in stages else []
            stages[name] = Stage(stages[origin].origin if origin in stages else origin, list(before))
            current = stages[name]
        else:
            current.steps.append((word, rest.strip()))
    return stages


STAGES = read_dockerfile((ROOT / "Dockerfile").read_text())
TARGETS = ("controller", "worker", "worker-gpu")


def test_every_image_begins_with_a_pinned_python_that_the_package_runs_on() -> None:
    origins = {own.origin for own in STAGES.values()}
    assert len(origins) == 1, "all nodes of a cluster need the same Python"
    found = re.fullmatch(r"python:(3)\.(\d+)\.\d+-slim-\w+", origins.pop())
    assert found and (int(found[1]), int(found[2])) == (3, 11)


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_as_nobody_in_particular(target: str) -> None:
    stage = STAGES[target]
    uid = stage.last("USER").partition(":")[0]
    assert int(uid) > 1000
    assert f"--uid {uid} " in " ".join(stage.all("RUN"))
    for name in NODES:
        assert SERVICES[name]["user"] == stage.last("USER")
    for pod in PODS.values():
        assert f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" == stage.last("USER")


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_has_a_start_a_health_check_and_a_home(target: str) -> None:
    stage = STAGES[target]
    (entry,) = json.loads(stage.last("ENTRYPOINT"))
    assert f"--chmod=755 deploy/start.sh deploy/watch.py {Path(entry).parent}/" in stage.all("COPY")
    assert Path(entry).name == START.name
    check = stage.last("HEALTHCHECK").partition(" CMD ")[2]
    assert json.loads(check)[0] == "python"
    assert all(isinstance(own, str) for own in json.loads(stage.last("CMD")))
    home = SERVICES["controller"]["environment"]["NAS_HOME"]
    assert stage.all("VOLUME") == [home]
    assert f"NAS_HOME={home} " in stage.last("ENV") + " ".join(stage.all("ENV"))


def test_the_images_check_what_the_services_check() -> None:
    for name, target in (("controller", "controller"), ("worker", "worker"), ("worker-gpu", "worker-gpu")):
        own = json.loads(STAGES[target].last("HEALTHCHECK").partition(" CMD ")[2])
        assert ["CMD", *own] == SERVICES[name]["healthcheck"]["test"]
    assert STAGES["controller"].all("EXPOSE") == [str(PORT)]


def test_images_are_made_of_what_is_there() -> None:
    copied: set[str] = set()
    for name, stage in STAGES.items():
        for own in stage.all("COPY"):
            words = own.split()
            origin = next((word.partition("=")[2] for word in words if word.startswith("--from=")), "")
            sources = [word for word in words[:-1] if not word.startswith("--")]
            if origin:
                assert origin in STAGES and origin != name
            else:
                assert [word for word in sources if not (ROOT / word).exists()] == []
                copied |= set(sources)
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = {*wheel, "pyproject.toml", PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]}
    assert needed <= copied, "else the wheel lacks something"
    assert not copied & {".", "deploy", "deploy/secrets"}, "no secret gets into a layer"


def test_what_is_installed_is_pinned_and_postgres_is_among_it() -> None:
    installs = [own for stage in STAGES.values() for own in stage.all("RUN") if "pip install" in own]
    assert installs
    assert all(re.search(r"pip install --constraint /?constraints\.txt ", own) for own in installs)
    for name in ("packages-cpu", "packages-gpu"):
        extras = [own.partition("=")[2] for own in STAGES[name].all("ARG") if own.startswith("EXTRAS=")]
        assert extras == ["postgres"]
        assert "nas-*.whl)[$EXTRAS]" in STAGES[name].all("RUN")[-1]
    assert set(re.findall(r"EXTRAS=([\w,]+)", GUIDE.read_text())) == {"postgres,hf"}
    assert {"postgres", "hf"} <= set(PROJECT["project"]["optional-dependencies"])


def test_no_image_holds_a_secret() -> None:
    names = [own for stage in STAGES.values() for word in ("ARG", "ENV") for own in stage.all(word)]
    assert not re.search(r"PASSWORD|TOKEN|SECRET|passw", " ".join(names), re.I)


# --- compose ---


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_looked_after(name: str) -> None:
    own = SERVICES[name]
    assert own["restart"] == "unless-stopped"
    assert own["healthcheck"]["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= set(own["healthcheck"])
    assert own["healthcheck"]["retries"] >= 3


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_do_little(name: str) -> None:
    own = SERVICES[name]
    assert int(own["user"].partition(":")[0]) > 0
    assert own["cap_drop"] == ["ALL"] and own["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "network_mode", "pid", "cap_add"} & set(own)


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].partition(":")
    if "build" in SERVICES[name]:
        assert (image, tag) == (f"nas-{SERVICES[name]['build']['target']}", VERSION)
        assert SERVICES[name]["build"]["target"] in TARGETS
    else:
        assert re.match(r"v?\d+\.\d+", tag)


def test_builds_give_the_arguments_that_there_are() -> None:
    packages = {"controller": "packages-cpu", "worker": "packages-cpu", "worker-gpu": "packages-gpu"}
    for own in (own["build"] for own in SERVICES.values() if "build" in own):
        stage = packages[own["target"]]
        assert f"--from={stage} /opt/nas /opt/nas" in STAGES[own["target"]].all("COPY")
        assert set(own["args"]) == {arg.partition("=")[0] for arg in STAGES[stage].all("ARG")}


def test_services_wait_until_those_before_them_are_well() -> None:
    waits = {name: own.get("depends_on", {}) for name, own in SERVICES.items()}
    assert {name: set(own) for name, own in waits.items()} == {
        "postgres": set(),
        "ray-head": {"postgres"},
        "worker": {"ray-head", "postgres"},
        "worker-gpu": {"ray-head", "postgres"},
        "controller": {"ray-head", "postgres"},
        "prometheus": {"controller"},
    }
    assert all(own == {"condition": "service_healthy"} for wait in waits.values() for own in wait.values())


def test_only_the_loopback_is_published_and_no_port_of_ray() -> None:
    published = {name: own["ports"] for name, own in SERVICES.items() if "ports" in own}
    assert published == {"controller": [f"127.0.0.1:{PORT}:{PORT}"], "prometheus": ["127.0.0.1:9090:9090"]}
    assert not any(set(re.split(r"\D", own)) & RAY_PORTS for ports in published.values() for own in ports)


def test_profiles() -> None:
    profiles = {name: own["profiles"] for name, own in SERVICES.items() if "profiles" in own}
    assert profiles == {"worker": ["cpu"], "worker-gpu": ["gpu"]}
    (device,) = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert "container_name" not in SERVICES["worker"], "it could not be scaled"


def test_volumes_and_secrets_are_there() -> None:
    mounts = [own.split(":") for service in SERVICES.values() for own in service.get("volumes", ())]
    files = {source for source, *_ in mounts if source.startswith("./")}
    assert {source for source, *_ in mounts} - files == set(COMPOSE["volumes"])
    assert files and all((ROOT / own).is_file() for own in files)
    assert all(mode == ["ro"] for source, _, *mode in mounts if source in files)
    used = {own for service in SERVICES.values() for own in service.get("secrets", ())}
    assert used == set(COMPOSE["secrets"])
    folder = {str(Path(own["file"]).parent) for own in COMPOSE["secrets"].values()}
    assert folder == {"deploy/secrets"}
    assert (DEPLOY / "secrets" / ".gitignore").read_text().split() == ["*", "!.gitignore"]
    named = " ".join(str(own.get("environment", "")) for own in SERVICES.values())
    assert set(re.findall(r"/run/secrets/(\w+)", named)) == used
    assert all(f"deploy/secrets/{own}" in GUIDE.read_text() for own in used)


def test_all_who_use_ray_have_the_same_variables_secrets_and_files() -> None:
    """A driver opens the database and the storage wherever it runs."""
    first = SERVICES["ray-head"]
    for name in NODES:
        own = SERVICES[name]
        assert {key: value for key, value in own["environment"].items() if key != "JOIN_RAY"} == first["environment"]
        assert (own["secrets"], own["volumes"], own["tmpfs"]) == (first["secrets"], first["volumes"], first["tmpfs"])
    environment = first["environment"]
    assert environment["RAY_AUTH_MODE"] == "token" and environment["RAY_USAGE_STATS_ENABLED"] == "0"
    targets = {own.split(":")[1] for own in first["volumes"]}
    assert targets == {environment["NAS_STORAGE"], f"{environment['NAS_HOME']}/corpora"}
    made = " ".join(STAGES["controller"].all("RUN"))
    assert all(f" {own}" in made for own in targets), "else a new volume belongs to root"


def test_the_password_is_in_no_url_and_its_file_in_memory() -> None:
    environment, uid = SERVICES["controller"]["environment"], SERVICES["controller"]["user"].partition(":")[0]
    assert sqlalchemy_url(environment["NAS_DATABASE"]) == "postgresql+psycopg://nas@postgres/nas"
    postgres = SERVICES["postgres"]["environment"]
    assert (postgres["POSTGRES_USER"], postgres["POSTGRES_DB"]) == ("nas", "nas")
    assert postgres["POSTGRES_PASSWORD_FILE"] == environment["DATABASE_PASSWORD_FILE"]
    (memory,) = SERVICES["controller"]["tmpfs"]
    assert memory == f"{Path(environment['PGPASSFILE']).parent}:uid={uid},gid={uid},mode=0700"


def test_ray_is_found_where_it_listens() -> None:
    head, worker, controller = (SERVICES[own]["command"] for own in ("ray-head", "worker", "controller"))
    (port,) = (own.partition("=")[2] for own in head if own.startswith("--port="))
    address = f"ray-head:{port}"
    assert f"--address={address}" in worker and worker == SERVICES["worker-gpu"]["command"]
    assert f"--address={address}" in json.loads(STAGES["worker"].last("CMD"))
    assert controller[controller.index("--ray") + 1] == address == SERVICES["controller"]["environment"]["JOIN_RAY"]
    assert SERVICES["ray-head"]["healthcheck"]["test"][-1] == f"--address=127.0.0.1:{port}"
    (node,) = (own.partition("=")[2] for own in worker if own.startswith("--node-manager-port="))
    assert f"('127.0.0.1', {node})" in SERVICES["worker"]["healthcheck"]["test"][-1]
    assert f"--node-manager-port={node}" in json.loads(STAGES["worker"].last("CMD"))
    assert f"--node-manager-port={node} " in START.read_text() and ("127.0.0.1", int(node)) == watch.NODE
    assert "--num-cpus=0" in head, "else the head trains"
    assert all(SERVICES[name]["stop_grace_period"] == "60s" for name in NODES), "a node drains for 30 s"


def test_what_is_asked_of_the_user_is_explained() -> None:
    asked = set(re.findall(r"\$\{(\w+):-", (ROOT / "docker-compose.yml").read_text()))
    assert asked == {"TORCH_INDEX", "EXTRAS", "WORKER_CPUS"}
    assert [own for own in asked if f"`{own}" not in GUIDE.read_text()] == []


# --- Prometheus ---


def test_prometheus_asks_for_what_there_is() -> None:
    config = load(DEPLOY / "prometheus.yml")
    (job,) = config["scrape_configs"]
    assert job["metrics_path"] in paths()
    ((host, port),) = (own.split(":") for own in job["static_configs"][0]["targets"])
    controller = SERVICES["controller"]["command"]
    assert host == "controller" == controller[controller.index("--allowed-host") + 1]
    assert port == controller[controller.index("--port") + 1] == str(PORT)
    mounted = {own.split(":")[1] for own in SERVICES["prometheus"]["volumes"]}
    (option,) = (own for own in SERVICES["prometheus"]["command"] if own.startswith("--config.file="))
    assert option.partition("=")[2] in mounted
    assert {f"/etc/prometheus/{own}" for own in config["rule_files"]} <= mounted


def test_alerts_are_about_figures_that_there_are(tmp_path: Path) -> None:
    rules = [own for group in load(DEPLOY / "alerts.yml")["groups"] for own in group["rules"]]
    store = open_store(f"sqlite:///{tmp_path}/nas.db")
    families = {own.name for own in registry_of(Figures(), Reader(store)).collect()}
    store.close()
    used = {name for own in rules for name in re.findall(r"\bnas_\w+", own["expr"])}
    assert used and {own.removesuffix("_count") for own in used} <= families
    assert all(own["annotations"]["summary"].endswith((".", "?")) for own in rules)
    assert {job for own in rules for job in re.findall(r'job="(\w+)"', own["expr"])} == {"nas"}


def paths() -> set[str]:
    return {str(getattr(own, "path", "")) for own in health.router.routes}


def test_health_is_asked_for_where_it_is_told() -> None:
    texts = [json.dumps(own["healthcheck"]["test"]) for own in SERVICES.values()]
    texts += [json.dumps(pod["containers"][0]) for pod in PODS.values()]
    asked = {path for text in texts for path in re.findall(rf"127\.0\.0\.1:{PORT}(/\w+)", text)}
    probes = PODS["controller"]["containers"][0]
    asked |= {probes[own]["httpGet"]["path"] for own in ("livenessProbe", "readinessProbe")}
    assert asked == {"/livez", "/readyz"} and asked < paths()


# --- Kubernetes ---


@pytest.mark.parametrize("name", PODS)
def test_pods_have_what_services_have(name: str) -> None:
    (container,) = PODS[name]["containers"]
    service = SERVICES[name]
    assert container["image"] == service["image"]
    environment = {own["name"]: own.get("value") for own in container["env"]}
    for same in ("NAS_HOME", "NAS_STORAGE", "NAS_DATABASE", "RAY_USAGE_STATS_ENABLED"):
        assert environment[same] == service["environment"][same]
    assert environment["PGPASSWORD"] is None, "it comes from a secret"
    mounts = {own["mountPath"] for own in container["volumeMounts"]} - {"/dev/shm"}
    assert mounts == {own.split(":")[1] for own in service["volumes"]}
    assert {own["name"] for own in container["volumeMounts"]} <= {own["name"] for own in PODS[name]["volumes"]}
    assert PODS[name]["securityContext"]["runAsNonRoot"] is True
    assert {"livenessProbe", "readinessProbe"} <= set(container)


def test_ray_of_kubernetes() -> None:
    spec = CLUSTER["spec"]
    assert spec["rayVersion"] == PINS["ray"] and spec["authOptions"] == {"mode": "token"}
    (worker,) = spec["workerGroupSpecs"]
    for parameters in (spec["headGroupSpec"]["rayStartParams"], worker["rayStartParams"]):
        assert parse_ray(["start", "--head", *(f"--{key}={value}" for key, value in parameters.items())])
    (node,) = PODS["worker-gpu"]["containers"]
    assert str(node["livenessProbe"]["tcpSocket"]["port"]) == worker["rayStartParams"]["node-manager-port"]
    (head,) = PODS["ray-head"]["containers"]
    assert parse_ray(head["livenessProbe"]["exec"]["command"][1:])
    (controller,) = PODS["controller"]["containers"]
    environment = {own["name"]: own for own in controller["env"]}
    address = controller["args"][controller["args"].index("--ray") + 1]
    assert address == environment["JOIN_RAY"]["value"] == f"{CLUSTER['metadata']['name']}-head-svc:6379"
    token = environment["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]
    assert token == {"name": CLUSTER["metadata"]["name"], "key": "auth_token"}


def test_the_server_of_kubernetes_is_called_by_its_names() -> None:
    (controller,) = PODS["controller"]["containers"]
    for probe in (controller["livenessProbe"], controller["readinessProbe"]):
        (header,) = probe["httpGet"]["httpHeaders"]
        assert header["name"] == "Host" and header["value"] in LOOPBACK
        assert probe["httpGet"]["port"] == PORT
    name = controller["args"][controller["args"].index("--allowed-host") + 1]
    assert name == CONTROLLER_SERVICE["metadata"]["name"]
    assert CONTROLLER_SERVICE["spec"]["ports"] == [{"port": PORT, "targetPort": PORT}]
    assert CONTROLLER_SERVICE["spec"]["selector"] == CONTROLLER["spec"]["template"]["metadata"]["labels"]


# --- commands, wherever they stand ---


def lines_of(text: str) -> Iterator[list[str]]:
    """Words of each line of a shell script, without comments; lines that go on are joined."""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        try:
            yield list(words)
        except ValueError:  # a quotation over several lines
            continue


def called(words: Sequence[str], program: str) -> Iterator[list[str]]:
    """What is called with which arguments: the program's name where a command's name follows it."""
    for at, word in enumerate(words[:-1]):
        name, following = word.rpartition("/")[2].rpartition("=")[2], words[at + 1]
        if name == program and re.fullmatch(r"[a-z][a-z-]+", following) and following != program:
            ending = (own for own, end in enumerate(words) if own > at and re.fullmatch(r"[&|;<>()]+", end))
            yield [re.sub(r"\$\(\(.*?\)\)|\$\w+", "8470", own) for own in words[at + 1 : next(ending, len(words))]]


def script_lines() -> list[list[str]]:
    guide = GUIDE.read_text()
    typed = "\n".join(re.findall(r"^    (.*)$", guide, re.M))
    unit = "\n".join(line for block in re.findall(r"```ini\n(.*?)```", guide, re.S) for line in block.splitlines())
    found = [words for text in (START.read_text(), SLURM.read_text(), typed, unit) for words in lines_of(text)]
    found += [service["command"] for service in SERVICES.values() if "command" in service]
    found += [service["healthcheck"]["test"][1:] for service in SERVICES.values()]
    found += [json.loads(STAGES[own].last("CMD")) for own in TARGETS]
    found += [PODS["controller"]["containers"][0]["args"]]
    return [[re.sub(r"\$\{\w+:-(\w+)\}", r"\1", own) for own in words] for words in found]


LINES = script_lines()
OURS = [own for words in LINES for own in called(words, "nas")]
RAYS = [own for words in LINES for own in called(words, "ray")]


def parse_ray(arguments: Sequence[str]) -> Any:
    from ray.scripts.scripts import cli

    name, *rest = arguments
    return cli.commands[name].make_context(name, list(rest)).params


def test_commands_were_found() -> None:
    """In the guide, scripts, compose, Kubernetes and images: those below are of several."""
    names = [" ".join(own[:2]) if own[0] in ("token", "db") else own[0] for own in OURS]
    assert set(names) == {"serve", "submit", "login", "token create", "db check", "db backup", "db upgrade"}
    assert names.count("serve") == 5 and names.count("token create") >= 5
    assert sorted({own[0] for own in RAYS}) == ["health-check", "start"]


@pytest.mark.parametrize("arguments", OURS, ids=" ".join)
def test_a_command_of_nas_can_be_typed(arguments: list[str]) -> None:
    text = " ".join(arguments)
    name = next(own for own in COMMANDS if f"{text} ".startswith(f"{own} "))
    assert COMMANDS[name].make_context(name, arguments[len(name.split()) :]).params


@pytest.mark.parametrize("arguments", RAYS, ids=" ".join)
def test_a_command_of_ray_can_be_typed(arguments: list[str]) -> None:
    assert parse_ray(arguments)


def test_commands_of_compose_name_services_and_profiles_that_there_are() -> None:
    profiles = {profile for own in SERVICES.values() for profile in own.get("profiles", ())}
    lines = [words[words.index("compose") + 1 :] for words in LINES if "compose" in words]
    assert len(lines) >= 6
    for words in lines:
        for at, word in enumerate(words):
            if word == "--profile":
                assert words[at + 1] in profiles
            if word == "--scale":
                assert words[at + 1].partition("=")[0] in SERVICES
            if word == "exec":
                assert next(own for own in words[at + 1 :] if not own.startswith("-")) in SERVICES
            if word == "stop":
                assert set(words[at + 1 :]) <= set(SERVICES)


def test_variables_are_read_by_somebody() -> None:
    code = "".join(path.read_text() for path in (ROOT / "services").rglob("*.py"))
    texts = [path.read_text() for path in (GUIDE, SLURM, START, ROOT / "docker-compose.yml", ROOT / "Dockerfile")]
    named = set(re.findall(r"\b(?:NAS|RAY|OMP|GOMP)_[A-Z_]+\b", "\n".join([*texts, json.dumps(list(PODS.values()))])))
    assert {"NAS_HOME", "NAS_STORAGE", "NAS_DATABASE", "NAS_TOKEN", "RAY_AUTH_TOKEN_PATH"} <= named
    assert [own for own in sorted(named) if not re.search(rf'"{own}"|\b{own}\b', code)] == []
    ours = {"DATABASE_PASSWORD_FILE", "JOIN_RAY", "PGPASSFILE"}
    known = {*ours, *(own for own in SERVICES["controller"]["environment"] if own.startswith(("NAS_", "RAY_")))}
    assert set(SERVICES["controller"]["environment"]) == known
    assert all(f"${{{own}:-" in START.read_text() or f"${own}" in START.read_text() for own in ours)


def test_scripts_are_scripts() -> None:
    for path, shell in ((START, "sh"), (SLURM, "bash")):
        assert os.access(path, os.X_OK)
        assert path.read_text().splitlines()[0] == f"#!/bin/{shell}"
        assert subprocess.run([shell, "-n", path], capture_output=True, text=True).stderr == ""


def test_the_unit_of_systemd() -> None:
    (text,) = re.findall(r"```ini\n(.*?)```", GUIDE.read_text(), re.S)
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    service = unit["Service"]
    assert service["KillMode"] == "mixed", "else Ray is told to end beside the server, and nothing is saved"
    assert service["Environment"] == f"NAS_HOME=/var/lib/{service['StateDirectory']}"
    assert int(service["TimeoutStopSec"]) > 60


# --- what the container does first ---


def start(*command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run([str(START), *command], env=environment, capture_output=True, text=True, timeout=60)


PASSWORDS = {"plain": "3fa9", "signs": r"a:b\c d'\"$x", "umlauts": "grün", "spaces": " x "}


def password_by(file: Path) -> str:
    """What libpq reads for a server that is not there."""
    where = f"host=postgres hostaddr=127.0.0.1 port=1 user=nas dbname=nas passfile={file}"
    found: bytes | None = pq.PGconn.connect_start(where.encode()).password
    return (found or b"").decode()


@pytest.mark.parametrize("ending", ["", "\n"], ids=["bare", "line"])
@pytest.mark.parametrize("password", PASSWORDS.values(), ids=PASSWORDS.keys())
def test_the_password_gets_from_the_secret_to_libpq(password: str, ending: str, tmp_path: Path) -> None:
    secret, file = tmp_path / "secret", tmp_path / "pgpass"
    secret.write_text(password + ending)
    secret.chmod(0o444)
    file.write_text("of the start before")
    done = start("true", DATABASE_PASSWORD_FILE=str(secret), PGPASSFILE=str(file))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert file.stat().st_mode & 0o777 == 0o600
    assert password_by(file) == password


def test_libpq_takes_no_password_from_a_file_that_others_can_read(tmp_path: Path) -> None:
    """Hence the copy: mode of the file and whether it is taken."""
    file = tmp_path / "pgpass"
    file.write_text("*:*:*:*:secret\n")
    taken = {}
    for mode in (0o600, 0o400, 0o640, 0o644, 0o444):
        file.chmod(mode)
        taken[mode] = password_by(file) == "secret"
    assert taken == {0o600: True, 0o400: True, 0o640: False, 0o644: False, 0o444: False}


def test_a_secret_that_is_missing_ends_the_start(tmp_path: Path) -> None:
    done = start("echo", "x", DATABASE_PASSWORD_FILE=str(tmp_path / "none"), PGPASSFILE=str(tmp_path / "pgpass"))
    assert done.returncode != 0 and done.stdout == ""


@pytest.mark.parametrize("code", [0, 1])
def test_the_cluster_is_joined_before_the_command(code: int, tmp_path: Path) -> None:
    watched = tmp_path / "watched"
    for name, body in (("ray", f'echo "ray $*"\nexit {code}'), ("python", f'echo "$*" > {watched}')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    done = start("echo", "began", PATH=f"{tmp_path}:{os.environ['PATH']}", JOIN_RAY="head:6379")
    joined, *after = done.stdout.splitlines()
    assert joined.startswith("ray start --address=head:6379 --num-cpus=0 --num-gpus=0 ")
    assert after == ["began"][code:], "without Ray there is no server"
    assert (done.returncode == 0) == (code == 0)
    if code == 0:
        deadline = time.monotonic() + 20
        while not (watched.exists() and watched.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert watched.read_text() == f"-S {DEPLOY}/watch.py\n"


def test_the_server_ends_with_its_node_of_ray() -> None:
    with socket.create_server(("127.0.0.1", 0)) as node:
        watching = f"""
import signal, subprocess, sys
sys.path.insert(0, {str(DEPLOY)!r})
import watch
code = "import os, watch; watch.NODE = ('127.0.0.1', {node.getsockname()[1]}); watch.LOOK_SECONDS = 0.05; "
subprocess.Popen([sys.executable, "-c", code + "watch.watch(os.getppid())"], cwd={str(DEPLOY)!r})
print("began", flush=True)
signal.pause()
"""
        server = subprocess.Popen([sys.executable, "-c", watching], stdout=-1)
        assert server.stdout is not None and server.stdout.readline() == b"began\n"
        time.sleep(0.5)
        assert server.poll() is None, "its node is there"
    assert server.wait(20) == -signal.SIGTERM
    server.stdout.close()


def test_the_command_becomes_the_process() -> None:
    with subprocess.Popen([str(START), sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1) as process:
        assert process.stdout is not None
        assert int(process.stdout.read()) == process.pid, "signals reach it"


# --- the server as the container starts it ---


@dataclass
class Server:
    process: "subprocess.Popen[bytes]"
    port: int

    def get(self, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers={"Host": host})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def check(self, test: Sequence[str]) -> int:
        """The health check of a container, of this server."""
        command = [own.replace(f":{PORT}/", f":{self.port}/") for own in test[1:]]
        command[0] = sys.executable
        return subprocess.run(command, env={}, capture_output=True, timeout=30).returncode

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


def free_port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return int(own.getsockname()[1])


def begin(command: Sequence[str], folder: Path) -> Server:
    """A command of the server in an environment of its own, with what must differ here: port, Ray and database."""
    port = free_port()
    own = list(command)
    own[own.index("--port") + 1] = str(port)
    own[own.index("--ray") + 1] = "none"
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(folder),
        "NAS_HOME": str(folder / "home"),
    }
    command = [str(START), *own, "--db", f"sqlite:///{folder}/nas.db"]
    with (folder / "log").open("wb") as log:
        server = Server(subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log), port)
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            if server.get("/readyz")[0] == 200:
                return server
        except OSError:
            pass
        time.sleep(0.1)
    server.process.kill()
    server.process.wait()
    pytest.fail(f"the server does not get ready: {(folder / 'log').read_text()}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    assert shutil.which("nas", path=str(Path(sys.executable).parent)), "the package is to be installed: make setup"
    own = begin(SERVICES["controller"]["command"], tmp_path_factory.mktemp("server"))
    yield own
    own.process.kill()
    own.process.wait()


def test_the_servers_start_of_kubernetes_is_that_of_compose() -> None:
    compose, kubernetes = SERVICES["controller"]["command"], PODS["controller"]["containers"][0]["args"]
    differ = [(one, other) for one, other in zip(compose, kubernetes, strict=True) if one != other]
    assert differ == [("ray-head:6379", "nas-head-svc:6379"), ("controller", "nas-controller")]


@pytest.mark.parametrize(
    ("path", "host", "code"),
    [
        ("/livez", "127.0.0.1", 200),
        ("/readyz", "127.0.0.1", 200),
        ("/api/v1/me", "127.0.0.1", 401),
        ("/api/v1/searches", "127.0.0.1", 401),
        ("/metrics", f"controller:{PORT}", 200),  # as Prometheus calls it
        ("/livez", "localhost", 200),  # as Kubernetes calls it
        ("/livez", "10.0.0.7:8470", 400),
        ("/metrics", "other", 400),
    ],
)
def test_the_server_answers(server: Server, path: str, host: str, code: int) -> None:
    assert server.get(path, host)[0] == code


def test_health_checks_tell_a_server_that_is_well_from_none(server: Server) -> None:
    test = SERVICES["controller"]["healthcheck"]["test"]
    assert server.check(test) == 0
    assert Server(server.process, free_port()).check(test) == 1


def test_the_server_ends_when_it_is_told_to(tmp_path: Path) -> None:
    own = begin(SERVICES["controller"]["command"], tmp_path)
    assert own.end() == 0
    assert "Traceback" not in (tmp_path / "log").read_text()
