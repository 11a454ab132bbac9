"""A search has one driver: who holds its lease. A driver renews it while its process lives, and is fenced off after."""

import hashlib
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nas.errors import LeaseError, StorageError
from nas.ports import PublicStore, Store
from nas.records import LeaseRecord, SearchRecord, SearchState
from nas.recovery import abandon

LEASE_SECONDS = 30.0
RENEW_SECONDS = 5.0
DRIVEN = (SearchState.RUNNING, SearchState.STOPPING)
"""States of a search that somebody drives, or has died driving."""


class Lease:
    """A lease that is held: renewed by a thread, until it is dropped or another took it."""

    def __init__(self, store: Store, lease: LeaseRecord, former: LeaseRecord | None) -> None:
        """``former`` is the lease before, of whoever drove the search last."""
        self._store, self._lease, self.former = store, lease, former
        self._dropped, self._lost = threading.Event(), ""
        self._thread = threading.Thread(target=self._renew, daemon=True)
        self._thread.start()

    @property
    def store(self) -> Store:
        """The store for the holder."""
        return self._store.fenced(self._lease)

    def check(self) -> None:
        """Raises `LeaseError` once another took it."""
        if self._lost:
            raise LeaseError(self._lost)

    def drop(self) -> None:
        self._dropped.set()
        self._thread.join()
        with suppress(StorageError):  # it expires by itself
            self._store.drop_lease(self._lease)

    def _renew(self) -> None:
        while not self._dropped.wait(RENEW_SECONDS):
            try:
                self._store.renew_lease(self._lease, LEASE_SECONDS)
            except LeaseError as error:
                self._lost = str(error)
                return
            except StorageError:  # nobody else can take it either; the driver meets the same error and waits
                continue


@contextmanager
def held(
    store: Store, search_id: str, tell: Callable[[str], None] = lambda line: None, *, patient: bool = False
) -> Iterator[Lease]:
    """Within the block this process alone drives the search.

    Waits for the lease of a holder that seems to have died elsewhere; with ``patient``, of any that does not renew it
    any more. Raises `LeaseError` when another drives it.
    """
    lease = Lease(store, *_take(store, search_id, tell, patient))
    try:
        yield lease
    finally:
        lease.drop()


def _take(
    store: Store, search_id: str, tell: Callable[[str], None], patient: bool
) -> tuple[LeaseRecord, LeaseRecord | None]:
    """The lease, and the one before."""
    waited_for: LeaseRecord | None = None
    while True:
        former = store.lease(search_id)
        dead = former if former is not None and is_dead(former.holder) else None
        try:
            return store.take_lease(search_id, whoami(), LEASE_SECONDS, replacing=dead), former
        except LeaseError:
            if former is None:
                raise
            silent = store.now() - former.renewed_at
            if waited_for is not None or (silent < 2 * RENEW_SECONDS and not patient):
                raise  # it is alive
            left = max(0.0, former.expires_at - store.now())
            tell(f"{former.holder} was last heard of {silent:.0f} s ago; its lease ends in {left:.0f} s")
            waited_for = former
            time.sleep(left + 0.1)


def sweep(store: Store) -> list[str]:
    """Puts searches whose driver died into order: paused, their candidates in the queue. Returns their ids."""
    swept = []
    for record in store.searches():
        if record.state in DRIVEN and not is_driven(store, record.id):
            with suppress(LeaseError):  # another is quicker
                _put_in_order(store, record)
                swept.append(record.id)
    return swept


def is_driven(store: PublicStore, search_id: str) -> bool:
    """Whether a driver that may be alive holds the search's lease."""
    return driving(store, search_id) is not None


def is_attended(store: PublicStore, record: SearchRecord) -> bool:
    """Whether somebody drives the search, or a server is going to."""
    served = bool(record.setting.get("served")) and record.state in (SearchState.QUEUED, *DRIVEN)
    return served or is_driven(store, record.id)


def driving(store: PublicStore, search_id: str) -> LeaseRecord | None:
    """The lease of a driver that may be alive."""
    lease = store.lease(search_id)
    alive = lease is not None and store.now() < lease.expires_at and not is_dead(lease.holder)
    return lease if alive else None


def _put_in_order(store: Store, record: SearchRecord) -> None:
    former = store.lease(record.id)
    lease = store.take_lease(record.id, whoami(), LEASE_SECONDS, replacing=former)
    own = store.fenced(lease)
    record = own.search(record.id)
    if record.state in DRIVEN:
        setting = {**record.setting, "elapsed": elapsed(record, former)}
        with own.transaction():
            abandon(own, record.id, own.now())
            reason = f"its driver died ({former.holder})" if former else "its driver died"
            # a server that it was submitted to goes on with it by itself
            state = SearchState.QUEUED if record.setting.get("served") else SearchState.PAUSED
            own.update_search(record.id, state=state, reason=reason, setting=setting)
            own.add_event(record.id, str(state), reason, at=own.now(), level="warning")
    store.drop_lease(lease)


def elapsed(record: SearchRecord, last: LeaseRecord | None) -> float:
    """Seconds that the search has been driven; of a driver that died, as far as its lease was renewed."""
    setting = record.setting
    before = float(setting.get("elapsed", 0.0))
    if record.state not in DRIVEN or last is None or "since" not in setting:
        return before
    return before + max(0.0, last.renewed_at - float(setting["since"]))


# --- who ---


def whoami() -> str:
    """This process, by a name that `is_dead` understands."""
    pid = os.getpid()
    return f"process {pid} of {socket.gethostname()} [{_machine()}.{_started(pid)}]"


def is_dead(holder: str) -> bool:
    """Whether a holder is a process of this machine that has ended. Of other machines nothing is known."""
    found = re.fullmatch(r"process (\d+) of .* \[(\w+)\.(\d+)\]", holder)
    return found is not None and found[2] == _machine() and _started(int(found[1])) != found[3]


def _machine() -> str:
    """This boot of this machine, and the namespace that its process numbers belong to."""
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        facts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]


def _started(pid: int) -> str:
    """When a process started, in the kernel's ticks; empty for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
