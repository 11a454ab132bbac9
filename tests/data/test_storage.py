import errno
from pathlib import Path

import pytest

from nas.data.storage import atomic_file
from nas.errors import DiskFullError, StorageError


def test_writes_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    for content in (b"one", b"two"):
        with atomic_file(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), atomic_file(path) as file:
        file.write(b"new")
        raise KeyError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk(tmp_path: Path, number: int) -> None:
    with pytest.raises(DiskFullError, match=r"/file: no space left"), atomic_file(tmp_path / "file"):
        raise OSError(number, "full")
    assert not list(tmp_path.iterdir())


def test_other_refusals(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"must be writable, found: "), atomic_file(tmp_path / "file" / "below"):
        pass
