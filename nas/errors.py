"""The tree of errors. Each says what was wrong, where, and what would be right.

NasError                    anything this project raises on purpose      exit 1
├── SpecError               input that breaks a rule: field, rule, value, line      exit 2
│   └── UnitError           a quantity that cannot be read
├── CorpusError             text that is missing, empty, too short or not what its hash says      exit 2
├── InfeasibleError         no candidate fits the limits      exit 3
├── NotFoundError           no search, candidate or space of that name      exit 5
├── CancelledError          the user cancelled      exit 9
├── StateError              the operation does not fit the state, e.g. exporting an untrained candidate      exit 1
│   └── LeaseError          the search is driven by another, or no more by us
├── ProfileError            a cost that cannot be told: an operator without formula, counts that differ      exit 1
│   └── ProbeError          real steps that did not end well: out of memory, hung, died, failed
├── CrowdedError            a device whose memory others have filled      exit 1
├── ExportError             a candidate that cannot be written faithfully      exit 1
├── StorageError            a disk or a database that refuses      exit 1
│   ├── DiskFullError       no space left
│   └── SchemaError         a database that is newer (or stranger) than this code
├── UnreachableError        a server that does not answer      exit 7
├── AccessError             a token that is missing, wrong or expired, or does not allow it      exit 4
├── RefusedError            a server that will not: a quota, a rate, another version      exit 6
└── MissingDependencyError  an optional package that is not installed      exit 1
"""

from typing import ClassVar


class NasError(Exception):
    """Base of all errors that are raised on purpose; the message is written for the user."""

    exit_code: ClassVar[int] = 1


class SpecError(NasError):
    """Input that breaks a rule.

    Attributes:
        field: dotted name of the field, e.g. ``budget.candidate.compute``.
        rule: what must hold.
        value: what was found (``None`` when the field is missing).
        line: 1-based line of the input file, if it came from one.
        source: name of the input file, if it came from one.
    """

    exit_code = 2

    def __init__(
        self, field: str, rule: str, value: object = None, *, line: int | None = None, source: str | None = None
    ) -> None:
        self.field, self.rule, self.value, self.line, self.source = field, rule, value, line, source
        super().__init__(self._message())

    def _message(self) -> str:
        where = f"{self.source or 'line'}:{self.line}: " if self.line is not None else ""
        if self.source is not None and self.line is None:
            where = f"{self.source}: "
        found = "" if self.value is None else f", found {self.value!r}"
        return f"{where}{self.field}: {self.rule}{found}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.field, self.rule, self.value, self.line, self.source)

    def at(self, *, field: str | None = None, line: int | None = None, source: str | None = None) -> "SpecError":
        """The same error with the place filled in that only the caller knows."""
        return type(self)(
            field or self.field,
            self.rule,
            self.value,
            line=self.line if self.line is not None else line,
            source=self.source if self.source is not None else source,
        )


def _rebuild(
    kind: type[SpecError], field: str, rule: str, value: object, line: int | None, source: str | None
) -> SpecError:
    """For pickling: errors cross process borders."""
    return kind(field, rule, value, line=line, source=source)


class UnitError(SpecError):
    """A quantity that cannot be read."""


class CorpusError(NasError):
    """Text that is missing, empty, too short or not what its hash says."""

    exit_code = 2


class InfeasibleError(NasError):
    """No candidate fits the limits; the message names the cheapest and what it needs."""

    exit_code = 3


class NotFoundError(NasError):
    """Nothing of that name."""

    exit_code = 5


class CancelledError(NasError):
    """The user cancelled."""

    exit_code = 9


class StateError(NasError):
    """The operation does not fit the state of the thing."""


class LeaseError(StateError):
    """The search is driven by another, or no more by us."""


class ProfileError(NasError):
    """A cost that cannot be told: an operator without a formula, or two counts of one thing that differ."""


class ProbeError(ProfileError):
    """Real steps of a candidate that did not end well.

    Attributes:
        kind: ``out_of_memory``, ``hung``, ``died`` or ``failed``.
        detail: what is known of it.
    """

    def __init__(self, kind: str, detail: str) -> None:
        self.kind, self.detail = kind, detail
        super().__init__(f"the probe {_PROBE_ENDS[kind]}: {detail}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.kind, self.detail)


_PROBE_ENDS = {"out_of_memory": "ran out of memory", "hung": "hung", "died": "died", "failed": "failed"}


class CrowdedError(NasError):
    """A device whose memory others have filled; no candidate is to blame."""


class ExportError(NasError):
    """A candidate that cannot be written faithfully."""


class StorageError(NasError):
    """A disk or a database that refuses."""


class DiskFullError(StorageError):
    """No space left on the device."""


class SchemaError(StorageError):
    """A database whose schema this code does not know."""


class MissingDependencyError(NasError):
    """An optional package that is not installed; the message names the extra that brings it."""


class UnreachableError(NasError):
    """A server that does not answer."""

    exit_code = 7


class AccessError(NasError):
    """A token that is missing, wrong or expired, or does not allow what is asked.

    Attributes:
        known: whether the token is known, and holds: another one is needed all the same.
    """

    exit_code = 4

    def __init__(self, message: str, *, known: bool = False) -> None:
        self.known = known
        super().__init__(message)


class RefusedError(NasError):
    """A server that will not: a quota, a rate, another version.

    Attributes:
        retry_after: seconds until the same may be asked again; ``None`` for what will not change by itself.
    """

    exit_code = 6

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)
