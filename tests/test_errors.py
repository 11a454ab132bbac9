import inspect
import pickle
import re

import pytest

from nas import errors
from nas.errors import NasError, ProbeError, SpecError, UnitError

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, NasError)]


def test_the_docstring_draws_the_whole_tree() -> None:
    """Each class under its parent; an exit code is drawn where it differs from the parent's."""
    drawn: dict[str, tuple[str, int]] = {}
    above: list[tuple[int, str]] = [(-1, "Exception")]
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"([ │├└─]*)(\w+Error)\b.*?(?:exit (\d+))?$", line)
        if found:
            above = [own for own in above if own[0] < len(found[1])]
            inherited = drawn[above[-1][1]][1] if len(above) > 1 else 1
            drawn[found[2]] = (above[-1][1], int(found[3] or inherited))
            above.append((len(found[1]), found[2]))
    bases = {kind: kind.__base__ or object for kind in TREE}
    assert drawn == {kind.__name__: (bases[kind].__name__, kind.exit_code) for kind in TREE}


@pytest.mark.parametrize("kind", TREE)
def test_errors_cross_processes(kind: type[NasError]) -> None:
    if issubclass(kind, SpecError):
        error: NasError = kind("f", "must be 1", {"a": 2}, line=3, source="x.yaml")
    else:
        error = ProbeError("hung", "text") if kind is ProbeError else kind("text")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert vars(again) == vars(error)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SpecError("a.b", "is required"), "a.b: is required"),
        (SpecError("a.b", "must be 1", 2), "a.b: must be 1, found 2"),
        (SpecError("a.b", "must be 1", "2", line=3), "line:3: a.b: must be 1, found '2'"),
        (SpecError("a.b", "must be 1", 0, line=3, source="x.yaml"), "x.yaml:3: a.b: must be 1, found 0"),
        (SpecError("a.b", "must be 1", source="x.yaml"), "x.yaml: a.b: must be 1"),
    ],
)
def test_messages(error: SpecError, message: str) -> None:
    assert str(error) == message


def test_at_fills_in_what_is_missing_and_keeps_the_rest() -> None:
    error = UnitError("share", "must be a share", 7).at(field="final", line=4, source="x.yaml")
    assert type(error) is UnitError
    assert (error.field, error.rule, error.value) == ("final", "must be a share", 7)
    assert (error.line, error.source) == (4, "x.yaml")
    again = error.at(line=9, source="y.yaml")
    assert (again.field, again.line, again.source) == ("final", 4, "x.yaml")
