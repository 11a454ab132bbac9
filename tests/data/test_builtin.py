import lzma
import shutil
from pathlib import Path

import pytest

from nas.data.builtin import BUILTIN, load_builtin
from nas.data.corpora import Corpus
from nas.errors import CorpusError


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BUILTIN["austen"], tmp_path / "austen"))


def test_austen(austen: Corpus) -> None:
    assert [document.name for document in austen.validation] == ["persuasion.txt"]
    assert [document.name for document in austen.test] == ["northanger_abbey.txt"]
    assert len(austen.train) == 4
    assert [austen.split_bytes(name) for name in ("train", "validation", "test")] == [3_124_764, 466_854, 433_411]
    assert austen.validation[0].text.startswith("Persuasion\n")


def test_changed_text_names_file_expected_and_found(copy: Path) -> None:
    file = copy / "emma.txt.xz"
    file.write_bytes(lzma.compress(lzma.decompress(file.read_bytes()).replace(b"Emma", b"Anna", 1)))
    message = (
        r"emma\.txt\.xz: text must be 883028 bytes with sha256 7c67b5985c.*found 883028 bytes with sha256 [0-9a-f]{64}"
    )
    with pytest.raises(CorpusError, match=message):
        load_builtin("austen", copy)


def test_damaged_file(copy: Path) -> None:
    file = copy / "emma.txt.xz"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CorpusError, match=r"emma\.txt\.xz: must be xz data with sha256 7c67b5985c"):
        load_builtin("austen", copy)


def test_missing_file(copy: Path) -> None:
    (copy / "persuasion.txt.xz").unlink()
    with pytest.raises(CorpusError, match=r"persuasion\.txt\.xz: must be readable, it is part of the package"):
        load_builtin("austen", copy)
