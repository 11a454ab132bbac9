"""Who may use a service: tokens, of which only hashes are kept, and requests that were answered already."""

import hashlib
import secrets
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, insert, select, update

from nas.adapters.sql.dialects import insert_into
from nas.adapters.sql.models import Base
from nas.adapters.sql.store import SqlStore
from nas.errors import NotFoundError

_TOKENS, _ANSWERS = (Base.metadata.tables[name] for name in ("tokens", "answers"))
PREFIX = "nas_"
"""Begins every secret, so that scanners find one that has got out."""
TOKEN, SESSION = "token", "session"
USED_SECONDS = 60.0
"""How exactly it is kept when a token was used last: a write for every request would be dear."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token without its secret. ``kind`` is `TOKEN`, or `SESSION` for that of a browser, which was begun with the
    token ``parent`` and holds no longer than that; times are seconds since the epoch."""

    id: str
    kind: str
    name: str
    scope: str
    created_at: float
    expires_at: float | None = None
    used_at: float | None = None
    revoked_at: float | None = None
    parent: str = ""

    def holds(self, at: float) -> bool:
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that was made before: what it asked, by a hash, and the search that it came to."""

    digest: str
    search_id: str


class Tokens:
    """Kept in a store that somebody else closes. Any number of threads."""

    def __init__(self, store: SqlStore) -> None:
        self._transactions, self._now = store.transactions, store.now

    def create(
        self, name: str, scope: str, expires_at: float | None = None, kind: str = TOKEN, parent: str = ""
    ) -> tuple[str, TokenRecord]:
        """The secret, which nobody can get again, and the token."""
        secret = PREFIX + secrets.token_urlsafe(32)
        record = TokenRecord(f"t_{secrets.token_hex(6)}", kind, name, scope, self._now(), expires_at, parent=parent)
        values = {name: getattr(record, name) for name in _COLUMNS}
        with self._transactions.write() as connection, self._transactions.refusals("token"):
            connection.execute(insert(_TOKENS).values(sha256=_hash(secret), **values))
        return secret, record

    def find(self, secret: str) -> TokenRecord | None:
        """The token with that secret, also one that does not hold any more."""
        found = self._records(_TOKENS.c.sha256 == _hash(secret))
        return found[0] if found else None

    def all(self, kind: str = TOKEN) -> list[TokenRecord]:
        """The oldest first."""
        return self._records(_TOKENS.c.kind == kind)

    def used(self, record: TokenRecord) -> None:
        """To be told of each use."""
        now = self._now()
        if record.used_at is None or now - record.used_at > USED_SECONDS:
            self._change(_TOKENS.c.id == record.id, used_at=now)

    def revoke(self, token_id: str) -> TokenRecord:
        """Neither it nor a session that was begun with it holds any more. Raises `NotFoundError`."""
        if not self._records(_TOKENS.c.id == token_id):
            raise NotFoundError(f"no token {token_id!r}")
        self._change((_TOKENS.c.id == token_id) | (_TOKENS.c.parent == token_id), revoked_at=self._now())
        return self._records(_TOKENS.c.id == token_id)[0]

    # --- requests that may come again ---

    def remember(self, owner: str, key: str, digest: str, search_id: str) -> Answered | None:
        """``None`` for a request that is new: it is kept with the search that it comes to, if the transaction that both
        belong to is committed. Else what is known of the former one; of several at once the others wait for the first.
        """
        values = {"owner": owner, "key": key, "digest": digest, "search_id": search_id, "at": self._now()}
        own = (_ANSWERS.c.owner == owner) & (_ANSWERS.c.key == key)
        with self._transactions.write() as connection, self._transactions.refusals("answer"):
            statement = insert_into(connection, _ANSWERS).values(values).on_conflict_do_nothing()
            if connection.execute(statement.returning(_ANSWERS.c.key)).one_or_none() is not None:
                return None
            row = connection.execute(select(_ANSWERS.c.digest, _ANSWERS.c.search_id).where(own)).mappings().one()
        return Answered(**row)

    def _records(self, where: ColumnElement[bool]) -> list[TokenRecord]:
        statement = select(*(_TOKENS.c[name] for name in _COLUMNS)).where(where)
        with self._transactions.read() as connection, self._transactions.refusals():
            rows = connection.execute(statement.order_by(_TOKENS.c.created_at, _TOKENS.c.id)).mappings()
            return [TokenRecord(**row) for row in rows]

    def _change(self, where: ColumnElement[bool], **changes: Any) -> None:
        with self._transactions.write() as connection, self._transactions.refusals("token"):
            connection.execute(update(_TOKENS).where(where).values(**changes))


_COLUMNS = [field.name for field in fields(TokenRecord)]


def _hash(secret: str) -> str:
    """No salt: a secret has 256 bits of chance in it."""
    return hashlib.sha256(secret.encode()).hexdigest()
