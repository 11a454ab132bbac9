"""The tables: one for each kind of record, a column for each of its fields and of the same name.

The rows of a search go with it (ON DELETE CASCADE). Columns that came later have a default in the database, for the
rows that were there before. Lines of the ledger and events name a candidate by number
without a foreign key: they belong to the search, and may speak of a candidate that was never recorded.
"""

import enum
from typing import Annotated, Any, ClassVar

from sqlalchemy import BigInteger, Enum, ForeignKey, ForeignKeyConstraint, Index, Integer, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from nas.adapters.sql.columns import Document, ExactInteger, FiniteFloat, Words
from nas.records import CandidateState, Origin, RequestKind, SearchState, Verdict

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def _values(kind: type[enum.Enum]) -> list[str]:
    return [member.value for member in kind]


class Base(DeclarativeBase):
    """Declares the tables and which type each annotation stands for."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Words,
        int: BigInteger,
        float: FiniteFloat,
        dict[str, Any]: Document,
        # Bounded text and no enum of the database: a new member then needs no migration.
        enum.Enum: Enum(enum.Enum, native_enum=False, length=16, values_callable=_values),
    }


Exact = Annotated[int, mapped_column(ExactInteger)]
SearchId = Annotated[str, mapped_column(ForeignKey("searches.id", ondelete="CASCADE"), primary_key=True)]


def _of_candidate() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["search_id", "number"], ["candidates.search_id", "candidates.number"], ondelete="CASCADE"
    )


class Search(Base):
    """See `nas.records.SearchRecord`; ``revision`` rises with every change to it or to what belongs to it."""

    __tablename__ = "searches"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    state: Mapped[SearchState]
    created_at: Mapped[float] = mapped_column(index=True)
    spec: Mapped[dict[str, Any]]
    setting: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None]
    reason: Mapped[str]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    prospects: Mapped[dict[str, Any] | None]
    revision: Mapped[int] = mapped_column(server_default="0")


class Candidate(Base):
    """See `nas.records.CandidateRecord`; ``revision`` is that of its search when anything of it changed."""

    __tablename__ = "candidates"
    __table_args__ = (
        Index(None, "search_id", "revision"),
        Index("ix_candidates_search_id_val_bpb", "search_id", "val_bpb", "number"),
    )

    search_id: Mapped[SearchId]
    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str]
    origin: Mapped[Origin]
    state: Mapped[CandidateState]
    created_at: Mapped[float]
    candidate: Mapped[dict[str, Any]]
    knobs: Mapped[dict[str, Any]]
    costs: Mapped[dict[str, Any]]
    plan: Mapped[dict[str, Any]]
    reason: Mapped[str]
    val_bpb: Mapped[float | None]
    val_error: Mapped[float | None]
    test_bpb: Mapped[float | None]
    test_error: Mapped[float | None]
    train_flops_planned: Mapped[Exact]
    train_flops_spent: Mapped[Exact]
    hardware_flops: Mapped[Exact]
    eval_flops: Mapped[Exact]
    repeated_flops: Mapped[Exact]
    seconds: Mapped[float]
    time_bound: Mapped[bool]
    artifact: Mapped[str]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    revision: Mapped[int] = mapped_column(server_default="0")


class Attempt(Base):
    """See `nas.records.AttemptRecord`."""

    __tablename__ = "attempts"
    __table_args__ = (_of_candidate(),)

    search_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    started_at: Mapped[float]
    worker: Mapped[str]
    finished_at: Mapped[float | None]
    outcome: Mapped[str]
    checkpoint: Mapped[str]
    first_step: Mapped[int] = mapped_column(server_default="0")
    last_step: Mapped[int] = mapped_column(server_default="0")


class Point(Base):
    """See `nas.records.CurvePoint`. The attempt is no part of the key: repeated work replaces its first result."""

    __tablename__ = "curve_points"
    __table_args__ = (_of_candidate(),)

    search_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    final: Mapped[bool] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    progress: Mapped[float]
    flops: Mapped[Exact]
    seconds: Mapped[float]
    train_bpb: Mapped[float | None]
    val_bpb: Mapped[float | None]
    rung: Mapped[float | None]
    eval_flops: Mapped[Exact] = mapped_column(server_default="0")
    first_step: Mapped[int] = mapped_column(server_default="0")


class Decision(Base):
    """See `nas.records.DecisionRecord`. A repeated attempt may meet the same rung again, so the key is a
    number of our own, ascending in the order in which decisions were made."""

    __tablename__ = "decisions"
    __table_args__ = (_of_candidate(), Index(None, "search_id", "number"))

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    search_id: Mapped[str]
    number: Mapped[int]
    rung: Mapped[float]
    verdict: Mapped[Verdict]
    reason: Mapped[str]
    inputs: Mapped[dict[str, Any]]
    at: Mapped[float]


class LogLine(Base):
    """See `nas.records.LogRecord`."""

    __tablename__ = "log_lines"
    __table_args__ = (_of_candidate(),)

    search_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    at: Mapped[float]
    level: Mapped[str]
    logger: Mapped[str]
    message: Mapped[str]


class LedgerLine(Base):
    """See `nas.records.LedgerRecord`."""

    __tablename__ = "ledger"

    search_id: Mapped[SearchId]
    sequence: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    account: Mapped[str]
    number: Mapped[int | None]
    flops: Mapped[Exact]
    seconds: Mapped[float]
    note: Mapped[str]
    at: Mapped[float]


class Event(Base):
    """See `nas.records.EventRecord`."""

    __tablename__ = "events"

    search_id: Mapped[SearchId]
    sequence: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float]
    kind: Mapped[str]
    message: Mapped[str]
    number: Mapped[int | None]
    level: Mapped[str]


class Lease(Base):
    """See `nas.records.LeaseRecord`. The row of a dropped lease stays, so that tokens keep rising."""

    __tablename__ = "leases"

    search_id: Mapped[SearchId]
    holder: Mapped[str]
    token: Mapped[int]
    renewed_at: Mapped[float]
    expires_at: Mapped[float]


class Request(Base):
    """See `nas.records.RequestRecord`."""

    __tablename__ = "requests"

    search_id: Mapped[SearchId]
    sequence: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[RequestKind]
    content: Mapped[dict[str, Any]]
    at: Mapped[float]
    answered_at: Mapped[float | None]
    answer: Mapped[str]


class DeviceProfile(Base):
    """What was measured of a device; ``fingerprint`` names the device and the software that was measured."""

    __tablename__ = "device_profiles"

    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    profile: Mapped[dict[str, Any]]
    at: Mapped[float]


class Token(Base):
    """See `nas.adapters.sql.tokens.TokenRecord`. Of the secret only its hash is kept."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    name: Mapped[str]
    scope: Mapped[str]
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    used_at: Mapped[float | None]
    revoked_at: Mapped[float | None]
    parent: Mapped[str]


class Answer(Base):
    """What a request with an idempotency key came to, so that the same request again comes to the same.
    ``owner`` is the token that asked."""

    __tablename__ = "answers"

    owner: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str]
    search_id: Mapped[str]
    at: Mapped[float]
