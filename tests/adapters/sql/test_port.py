"""`SqlStore` has the shape of the port."""

import inspect

from nas.adapters.sql.store import SqlStore
from nas.ports import PublicStore, Store


def as_port(store: SqlStore) -> Store:
    """For the type checker."""
    return store


def test_the_methods_are_those_of_the_port() -> None:
    promised = {**vars(PublicStore), **vars(Store)}
    methods = {name for name, member in promised.items() if inspect.isfunction(member) and name[0] != "_"}
    assert methods
    # `transaction` is a generator that a decorator makes a context; `fenced` promises more than the port
    for name in methods - {"transaction", "fenced"}:
        assert inspect.signature(getattr(SqlStore, name)) == inspect.signature(getattr(Store, name)), name
