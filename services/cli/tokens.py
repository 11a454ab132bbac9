"""Commands of those who use a server: which one, as whom, and who may."""

import time
from dataclasses import asdict
from typing import Annotated, Any, Literal, Protocol, Self

import typer

from services.cli import remote
from services.cli.output import Format, Output, emit_json, emit_lines, say
from services.home import home


def login(
    server: Annotated[str, typer.Argument(metavar="SERVER", help="Its address.")] = remote.DEFAULT,
) -> None:
    """Use a server from now on; asks for the token.

    The token is read from the terminal, or from standard input.

    Example: nas login http://127.0.0.1:8470
    """
    from nas.client.client import Client

    where, secret = home(), remote.ask_secret("token (empty for none): ")
    with Client(server, secret, retry_seconds=remote.RETRY_SECONDS) as client:
        me = client.me()
    path = remote.remember(where, server, secret)
    say(f"commands are for {server} now, as {me.name} ({me.scope}); kept in {path}")


def logout() -> None:
    """Use no server any more.

    Example: nas logout
    """
    address = remote.forget(home())
    say(f"commands are for this machine again, no more for {address}" if address else "no server was in use")


# --- tokens ---

token = typer.Typer(
    name="token",
    help="Tokens: who may use a server.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@token.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is; said with what they do.")],
    scope: Annotated[Literal["read", "write", "admin"], typer.Option(help="Each holds those before it.")] = "read",
    expires: Annotated[str, typer.Option(metavar="TIME", help="From now, e.g. 30d; never without.")] = "",
) -> None:
    """Make a token; its secret is shown once.

    Without a server it is made in the database of this machine, so that there can be a first one.

    Example: nas token create ann --scope write --expires 30d
    """
    from nas.units import parse_seconds

    seconds = parse_seconds(expires, "--expires") if expires else None
    with _tokens() as tokens:
        secret, own = tokens.create(name, scope, seconds)
    print(secret)
    say(f"token {own} for {name} ({scope}); this is the only time that its secret is shown")


@token.command("ls")
def list_tokens(output: Output = Format.TABLE) -> None:
    """List the tokens, without their secrets.

    Example: nas token ls
    """
    with _tokens() as tokens:
        rows = tokens.all()
    if output is Format.JSON:
        emit_json({"tokens": rows})
    elif output is Format.ID:
        emit_lines(str(row["id"]) for row in rows)
    elif not rows:
        say("no tokens yet; make one with: nas token create NAME")
    else:
        emit_lines(f"{row['id']:<14}  {row['scope']:<5}  {_state(row):<8}  {row['name']}" for row in rows)


@token.command("revoke")
def revoke(token_id: Annotated[str, typer.Argument(metavar="ID", help="Of the token, see nas token ls.")]) -> None:
    """Take a token back; it does not hold from now on.

    Example: nas token revoke t_0123456789ab
    """
    with _tokens() as tokens:
        tokens.revoke(token_id)
    say(f"token {token_id} does not hold any more")


class _Tokens(Protocol):
    """A context."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...
    def create(self, name: str, scope: str, seconds: float | None) -> tuple[str, str]:
        """Secret and id."""
        ...

    def all(self) -> list[dict[str, Any]]: ...
    def revoke(self, token_id: str) -> None: ...


class _Here:
    """Tokens in the database of this machine."""

    def __init__(self) -> None:
        from nas.adapters.sql.store import open_store
        from nas.adapters.sql.tokens import Tokens

        self._store = open_store(home().database)
        self._tokens = Tokens(self._store)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._store.close()

    def create(self, name: str, scope: str, seconds: float | None) -> tuple[str, str]:
        expires = None if seconds is None else self._store.now() + seconds
        secret, record = self._tokens.create(name, scope, expires)
        return secret, record.id

    def all(self) -> list[dict[str, Any]]:
        return [asdict(own) for own in self._tokens.all()]

    def revoke(self, token_id: str) -> None:
        self._tokens.revoke(token_id)


class _There:
    """Tokens of a server."""

    def __init__(self, address: str) -> None:
        self._client = remote.client(home(), address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def create(self, name: str, scope: str, seconds: float | None) -> tuple[str, str]:
        made = self._client.create_token(name, scope, seconds)
        return made.secret, made.id

    def all(self) -> list[dict[str, Any]]:
        return [own.model_dump(mode="json") for own in self._client.tokens()]

    def revoke(self, token_id: str) -> None:
        self._client.revoke_token(token_id)


def _tokens() -> _Tokens:
    address = remote.server(home())
    return _There(address) if address else _Here()


def _state(row: dict[str, Any]) -> str:
    if row["revoked_at"] is not None:
        return "revoked"
    return "expired" if row["expires_at"] is not None and row["expires_at"] <= time.time() else "holds"
