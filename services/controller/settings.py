"""What may be asked of a server."""

from dataclasses import dataclass, field

from nas.errors import SpecError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PORT = 8470
UPLOAD_BYTES = 256 * 2**20
"""Of texts that one request brings."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """What one request, one search and one token may ask.

    Attributes:
        body_bytes: of a request that brings no texts.
        compute: FLOPs of a search.
        open_searches: of all, that are not over.
        requests, submissions: of a token in a minute.
    """

    body_bytes: int = 2**20
    compute: int = 10**21
    open_searches: int = 100
    requests: int = 6000
    submissions: int = 60


@dataclass(frozen=True, slots=True)
class Settings:
    """Of a server.

    Attributes:
        auth: whether a token is needed.
        hosts: names by which it may be called; those of the loopback always.
        ray: address of a cluster, empty for a Ray of its own, ``none`` for none: searches then wait.
        running: searches that are driven at the same time.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    auth: bool = False
    hosts: tuple[str, ...] = ()
    ray: str = ""
    running: int = 4
    quotas: Quotas = field(default_factory=Quotas)

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK and not self.auth:
            raise SpecError("--host", "must be of the loopback where no token is needed: use --auth token", self.host)

    @property
    def allowed_hosts(self) -> frozenset[str]:
        return frozenset((*LOOPBACK, *self.hosts, *([] if self.host in ("0.0.0.0", "::") else [self.host])))
