"""Which lines are kept of what a process logs, how many, and what is left out of them."""

import logging
import threading
import warnings
from collections.abc import Iterator

import pytest

from nas.logbook import CUT, ERRORS, FULL, LENGTH, LINES, Logbook, listening, without_secrets


@pytest.fixture
def book() -> Iterator[Logbook]:
    own = Logbook()
    with listening(own):
        yield own


def said(book: Logbook) -> list[str]:
    return [own.message for own in book.taken()]


# Which records are kept, by logger and level.
KEPT = """
                debug  info  warning  error
nas.train.x     no     yes   yes      yes
services.x      no     yes   yes      yes
nasty           no     no    yes      yes
elsewhere       no     no    yes      yes
"""


def test_what_is_kept(book: Logbook) -> None:
    header, *rows = (line.split() for line in KEPT.strip().splitlines())
    for name, *answers in rows:
        for level, answer in zip(header, answers, strict=True):
            logging.getLogger(name).log(logging.getLevelNamesMapping()[level.upper()], "%s", level)
            found = book.taken()
            assert [(own.logger, own.level, own.message) for own in found] == [(name, level, level)] * (answer == "yes")


def test_an_error_comes_with_its_traceback(book: Logbook) -> None:
    try:
        raise ValueError("at nas_0123456789abcdefghij")
    except ValueError:
        logging.getLogger("nas").exception("it failed")
    (line,) = book.taken()
    first, *trace, last = line.message.splitlines()
    assert (first, trace[0], last) == ("it failed", "Traceback (most recent call last):", "ValueError: at ***")


def test_warnings_of_python_are_kept_where_they_are_logged(book: Logbook) -> None:
    logging.captureWarnings(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("careful", stacklevel=1)
    finally:
        logging.captureWarnings(False)
    (line,) = book.taken()
    assert (line.level, line.logger) == ("warning", "py.warnings") and "UserWarning: careful" in line.message


def test_what_is_too_much(book: Logbook) -> None:
    """The first lines, one that says so, and then only errors, of which some are kept."""
    log = logging.getLogger("nas")
    for place in range(LINES + 10):
        log.info("line %d", place)
    for place in range(ERRORS + 10):
        log.error("error %d", place)
        log.info("not this")
    expected = [*(f"line {n}" for n in range(LINES)), FULL, *(f"error {n}" for n in range(ERRORS))]
    assert said(book) == expected


def test_of_a_long_line_its_ends_are_kept(book: Logbook) -> None:
    text = "a" * LENGTH + "z" * LENGTH
    logging.getLogger("nas").info("%s", text)
    logging.getLogger("nas").info("%s", text[-LENGTH:])
    cut, whole = said(book)
    assert whole == text[-LENGTH:] and LENGTH - 2 <= len(cut) <= LENGTH
    assert cut.startswith("aaa") and CUT in cut and cut.endswith("zzz")


def test_a_line_that_cannot_be_made_harms_nobody(book: Logbook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logging.getLogger("elsewhere").warning("%d", "no number")
    logging.getLogger("nas").info("goes on")
    assert said(book) == ["goes on"]


def test_only_of_its_thread_and_while_it_is_open() -> None:
    book, log = Logbook(threading.get_ident()), logging.getLogger("nas")
    with listening(book):
        other = threading.Thread(target=lambda: log.info("another's"))
        other.start()
        other.join()
        book.closed = True
        log.info("the driver's")
        book.closed = False
        log.info("mine")
    log.warning("too late")
    assert said(book) == ["mine"]


def test_everything_is_as_it_was_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    """And meanwhile warnings of others are shown where Python would show them, and nothing else is."""
    root, own = logging.getLogger(), logging.getLogger("nas")
    handlers, level = root.handlers[:], own.level
    root.handlers[:] = []
    try:
        with listening(Logbook()):
            own.info("quiet")
            logging.getLogger("elsewhere").warning("loud")
            assert own.isEnabledFor(logging.INFO)
        assert root.handlers == [] and own.level == level
    finally:
        root.handlers[:] = handlers
    assert capsys.readouterr().err == "loud\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://key:se/cret@host/x", "s3://***@host/x"),
        ("at https://ann:hunter2@host:80/a?b=c", "at https://***@host:80/a?b=c"),
        ("postgresql://ann@host/nas", "postgresql://***@host/nas"),
        ("GET /x?token=abc&b=2", "GET /x?token=***&b=2"),
        ("password='x y' sslpassword=abc", "password=*** sslpassword=***"),
        ("Authorization: Bearer nas_" + "a1-_" * 10, "Authorization: Bearer ***"),
        ("nas_space and mail@host.example stay", "nas_space and mail@host.example stay"),
        ("3 tokens = 12 bytes", "3 tokens = 12 bytes"),
    ],
)
def test_secrets_are_left_out(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
