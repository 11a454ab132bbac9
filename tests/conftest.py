"""Texts that several parts train and plan on."""

import contextlib
import random
import signal

import pytest
import torch
from hypothesis import settings

from nas.data.corpora import Corpus, Document, load_corpus
from nas.data.texts import Texts
from tests.databases import open_, postgres_server, postgres_url, sqlite_url, url  # noqa: F401 - fixtures

pytest.register_assert_rewrite("tests.contracts.suggester")  # several import it, and the first decides

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so shells begin what runs in the background
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("nas", deadline=None)  # machines differ in speed; laws do not
settings.load_profile("nas")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out tests marked ``gpu`` where there is none; the end of the run says so."""
    if torch.cuda.is_available():
        return
    left_out = [item for item in items if item.get_closest_marker("gpu")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not torch.cuda.is_available():
        terminalreporter.write_line("no CUDA device: tests marked gpu were left out; where there is one: pytest -m gpu")


WORDS = (
    "the of and a to in was her she it that had with not be for as he you his but at on is have him which this by "
    "could would from all very been what they were so no any there said who more if when mother sister evening "
    "morning letter walked silence garden carriage window answered quietly"
)


def english(size: int, seed: int) -> str:
    """About ``size`` characters of sentences without sense."""
    rng = random.Random(seed)
    sentences = []
    while sum(map(len, sentences)) < size:
        words = " ".join(rng.choices(WORDS.split(), k=rng.randint(4, 14)))
        sentences.append(words.capitalize() + rng.choice([". ", "! ", "?\n", ".\n\n"]))
    return "".join(sentences)


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Texts:
    """The novels that come with the package."""
    return Texts(load_corpus("austen"), tmp_path_factory.mktemp("austen"))


@pytest.fixture(scope="session")
def tiny_texts(tmp_path_factory: pytest.TempPathFactory) -> Texts:
    """A few kilobytes, enough for vocabularies of 256 and 320."""
    train = tuple(Document(f"train {seed}", english(4_000, seed)) for seed in range(3))
    validation, test = (Document(name, english(2_500, seed)) for seed, name in ((10, "validation"), (11, "test")))
    corpus = Corpus("tiny", train, (validation,), (test,))
    return Texts(corpus, tmp_path_factory.mktemp("tiny"))
