"""Who drives a search: one row each, whose token rises with every new holder.

On PostgreSQL three locks of that row keep holders apart. `check` shares its key until the transaction's end, so that
writers of one holder do not wait for each other; `take` wants the whole row, and so waits for them; `renew` and
`drop` change no key, and wait for neither. SQLite has one writer at a time anyway.
"""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Select, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from nas.adapters.sql.dialects import clock, insert_into
from nas.adapters.sql.models import Base
from nas.errors import LeaseError, NotFoundError
from nas.records import LeaseRecord, to_dict

_LEASES = Base.metadata.tables["leases"]


def find(connection: Connection, search_id: str) -> LeaseRecord | None:
    """The last lease of a search."""
    return _read(connection, _select(search_id))


def take(
    connection: Connection, search_id: str, holder: str, seconds: float, replacing: LeaseRecord | None
) -> LeaseRecord:
    """The next lease, unless another holds it; see `nas.ports.Store.take_lease`."""
    return _first(connection, search_id, holder, seconds) or _next(connection, search_id, holder, seconds, replacing)


def renew(connection: Connection, lease: LeaseRecord, seconds: float) -> LeaseRecord:
    """The same lease with more time; see `nas.ports.Store.renew_lease`."""
    now = clock(connection)
    renewed = _read(connection, _update_own(lease, renewed_at=now, expires_at=now + seconds))
    if renewed is None:
        raise _lost(lease, find(connection, lease.search_id))
    return renewed


def drop(connection: Connection, lease: LeaseRecord) -> None:
    """Let it expire now. The row stays: without it tokens would start again."""
    _read(connection, _update_own(lease, expires_at=clock(connection)))


def check(connection: Connection, lease: LeaseRecord) -> None:
    """Make sure that nobody took the lease, and that nobody can before this transaction ends."""
    current = _read(connection, _select(lease.search_id).with_for_update(read=True, key_share=True))
    if current is None or current.token != lease.token:
        raise _lost(lease, current)


def _first(connection: Connection, search_id: str, holder: str, seconds: float) -> LeaseRecord | None:
    """The first lease of a search; ``None`` when there was one."""
    now = clock(connection)
    record = LeaseRecord(search_id, holder, 1, now, now + seconds)
    statement = insert_into(connection, _LEASES).values(to_dict(record)).on_conflict_do_nothing()
    return _read(connection, statement.returning(*_LEASES.columns))


def _next(
    connection: Connection, search_id: str, holder: str, seconds: float, replacing: LeaseRecord | None
) -> LeaseRecord:
    current = _read(connection, _select(search_id).with_for_update())
    if current is None:
        raise NotFoundError(f"no search {search_id!r}")  # deleted since, and its lease with it
    now = clock(connection)  # only here: the lock may have been long in coming
    if now < current.expires_at and not _same(current, replacing):
        raise LeaseError(
            f"search {search_id!r} is driven by {current.holder!r}, "
            f"whose lease expires in {current.expires_at - now:.1f} s unless it is renewed"
        )
    record = replace(current, holder=holder, token=current.token + 1, renewed_at=now, expires_at=now + seconds)
    taken = _read(connection, _update_own(current, **to_dict(record)))
    assert taken is not None, "the row is locked"
    return taken


def _same(current: LeaseRecord, other: LeaseRecord | None) -> bool:
    return other is not None and (current.search_id, current.token) == (other.search_id, other.token)


def _select(search_id: str) -> Select[Any]:
    return select(_LEASES).where(_LEASES.c.search_id == search_id)


def _update_own(lease: LeaseRecord, **changes: Any) -> ReturningUpdate[Any]:
    """An update that finds no row when another took the lease."""
    own = (_LEASES.c.search_id == lease.search_id) & (_LEASES.c.token == lease.token)
    return update(_LEASES).where(own).values(**changes).returning(*_LEASES.columns)


def _read(connection: Connection, statement: Any) -> LeaseRecord | None:
    found = connection.execute(statement).mappings().one_or_none()
    return None if found is None else LeaseRecord(**found)


def _lost(lease: LeaseRecord, current: LeaseRecord | None) -> LeaseError:
    if current is None:
        return LeaseError(f"search {lease.search_id!r} is gone, and the lease of {lease.holder!r} with it")
    return LeaseError(
        f"search {lease.search_id!r} is driven by {current.holder!r} (lease {current.token}), "
        f"no more by {lease.holder!r} (lease {lease.token})"
    )
