"""Which server commands are for, if they are, and the token for it."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import SpecError
from nas.ports import PublicStore
from services.home import Home

if TYPE_CHECKING:
    from nas.client.client import Client

SERVER, TOKEN = "NAS_SERVER", "NAS_TOKEN"
"""Variables of the environment."""
OPTION = "--server"
DEFAULT = "http://127.0.0.1:8470"
RETRY_SECONDS = 3.0
"""That a command tries again for: somebody looks on."""


def take_option(arguments: list[str]) -> list[str]:
    """The arguments without ``--server ADDRESS``, which may stand anywhere; the environment holds it then."""
    left: list[str] = []
    rest = iter(arguments)
    for own in rest:
        if own == "--":
            return [*left, own, *rest]
        if own == OPTION:
            os.environ[SERVER] = next(rest, "")
        elif own.startswith(f"{OPTION}="):
            os.environ[SERVER] = own.partition("=")[2]
        else:
            left.append(own)
            continue
        if not os.environ[SERVER]:
            raise SpecError(OPTION, f"must be an address like {DEFAULT}")
    return left


def named() -> str:
    """The address that this command was given, or the environment names."""
    return os.environ.get(SERVER, "")


def server(home: Home) -> str:
    """Its address; empty where commands are for this machine."""
    return named() or str(_known(home).get("current", ""))


def client(home: Home, address: str) -> "Client":
    """To be closed."""
    from nas.client.client import Client

    return Client(address, token(home, address), retry_seconds=RETRY_SECONDS)


def client_of(store: PublicStore) -> "Client | None":
    """Of a store that is a server's."""
    if type(store).__module__ != "nas.client.store":  # which is slow to import, and not for all commands
        return None
    from nas.client.store import RemoteStore

    assert isinstance(store, RemoteStore)
    return store.client


def token(home: Home, address: str) -> str:
    """Empty where none is known: a server of one machine wants none."""
    return os.environ.get(TOKEN, "") or str(_known(home).get("tokens", {}).get(address.rstrip("/"), ""))


def remember(home: Home, address: str, secret: str) -> Path:
    """Commands are for that server from now on. Only the user can read the file."""
    known = _known(home)
    known |= {"current": address.rstrip("/"), "tokens": {**known.get("tokens", {}), address.rstrip("/"): secret}}
    return _keep(home, known)


def forget(home: Home) -> str:
    """Commands are for this machine again; the server that they were for, empty if there was none."""
    known = _known(home)
    address = str(known.pop("current", ""))
    known.get("tokens", {}).pop(address, None)
    _keep(home, known)
    return address


def ask_secret(prompt: str) -> str:
    """A line from a terminal that does not show it, or from a pipe."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    from getpass import getpass

    return getpass(prompt).strip()


def _known(home: Home) -> dict[str, Any]:
    path = home.root / "servers.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError as error:
        raise SpecError(str(path), f"must be JSON: {error}") from error
    return raw if isinstance(raw, dict) else {}


def _keep(home: Home, known: dict[str, Any]) -> Path:
    path = home.root / "servers.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(known, file)
    part.replace(path)
    return path
