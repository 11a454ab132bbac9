"""How recent things are: a number of each search that rises with every change to it or to what belongs to it."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, update

from nas.adapters.sql.models import Base

_SEARCHES, _CANDIDATES = (Base.metadata.tables[name] for name in ("searches", "candidates"))
OF_CANDIDATES = ("candidates", "attempts", "curve_points", "decisions", "log_lines")
"""Tables whose rows say something of the candidate that they name; others only of the search."""


def touch(connection: Connection, table: str, values: Mapping[str, Any]) -> None:
    """To be told of each row that is written, within the same transaction."""
    search_id = values["id"] if table == "searches" else values["search_id"]
    rise = update(_SEARCHES).where(_SEARCHES.c.id == search_id).values(revision=_SEARCHES.c.revision + 1)
    revision = connection.execute(rise.returning(_SEARCHES.c.revision)).scalar_one_or_none()
    if revision is not None and table in OF_CANDIDATES:
        own = (_CANDIDATES.c.search_id == search_id) & (_CANDIDATES.c.number == values["number"])
        connection.execute(update(_CANDIDATES).where(own).values(revision=revision))
