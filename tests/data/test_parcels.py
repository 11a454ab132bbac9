"""Folders of texts that go through a depot.

asked for            | there already | published | then there
tiny-HASH/train/*    | no            | yes       | yes
tiny-HASH/train/*    | yes           | whatever  | as it was
tiny-HASH/train/*    | no            | no        | no
books/*, ../x, *-*/x | no            | whatever  | no
"""

import tarfile
from pathlib import Path

import fsspec
import pytest

from nas.data.depot import Depot
from nas.data.parcels import fetch_folders, publish_folder
from nas.errors import CorpusError, StorageError
from tests.data.depots import FaultySystem, plant, tree

FILES = {"train/0000-a.txt": b"a" * 10_000, "train/0001-b.txt": "ü\n".encode(), "test/0002-c.txt": b""}
NAME = "tiny-0123456789ab"


@pytest.fixture(params=["folder", "file"])
def depot(request: pytest.FixtureRequest, tmp_path: Path) -> Depot:
    return Depot(str(tmp_path / "depot") if request.param == "folder" else f"file://{tmp_path}/depot")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return plant(tmp_path / "here" / NAME, FILES)


def parcel(depot: Depot) -> Path:
    (path,) = (Path(depot.url) / "corpora").iterdir()
    return path


def test_a_folder_comes_whole(depot: Depot, here: Path, tmp_path: Path) -> None:
    publish_folder(here, depot)
    assert parcel(depot).name == f"{NAME}.tar.gz"
    there = tmp_path / "there"
    fetch_folders([f"{NAME}/train/*", f"{NAME}/test/*", "auto"], depot, there)
    assert tree(there) == {f"{NAME}/{name}": content for name, content in FILES.items()}


def test_what_is_there_is_neither_sent_nor_fetched_again(depot: Depot, here: Path, tmp_path: Path) -> None:
    publish_folder(here, depot)
    before = parcel(depot).stat()
    publish_folder(here, depot)
    after = parcel(depot).stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    mine = plant(tmp_path / "there" / NAME, {"train/mine.txt": b"mine"})
    fetch_folders([f"{NAME}/train/*"], depot, mine.parent)
    assert tree(mine) == {"train/mine.txt": b"mine"}


@pytest.mark.parametrize(
    "pattern",
    ["", "austen", "books/*", "other-0123456789ab/train/*", "*-*/train/*", f"../{NAME}/x", f"/{NAME}/x", "..", ".",
     f"{NAME[:-1]}?/x", f"x/{NAME}/train/*"],
)  # fmt: skip
def test_what_is_no_published_folder_is_left_alone(depot: Depot, here: Path, tmp_path: Path, pattern: str) -> None:
    publish_folder(here, depot)
    fetch_folders([pattern], depot, tmp_path / "there")
    assert tree(tmp_path / "there") == {}


@pytest.mark.parametrize("damage", ["half", "nothing", "other", "flipped"])
def test_a_damaged_one_is_no_folder(depot: Depot, here: Path, tmp_path: Path, damage: str) -> None:
    publish_folder(here, depot)
    path = parcel(depot)
    whole = path.read_bytes()
    changed = bytes([*whole[:-6], whole[-6] ^ 1, *whole[-5:]])  # of the checksum
    path.write_bytes({"half": whole[: len(whole) // 2], "nothing": b"", "other": b"text", "flipped": changed}[damage])
    with pytest.raises(CorpusError, match=rf"the file corpora/{NAME}\.tar\.gz is damaged: .*bring the texts again"):
        fetch_folders([f"{NAME}/train/*"], depot, tmp_path / "there")
    assert tree(tmp_path / "there") == {}
    path.unlink()
    publish_folder(here, depot)
    fetch_folders([f"{NAME}/train/*"], depot, tmp_path / "there")
    assert (tmp_path / "there" / NAME / "train").is_dir()


@pytest.mark.parametrize("evil", ["link", "above"])
def test_one_that_reaches_outside_is_refused(depot: Depot, tmp_path: Path, evil: str) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    with tarfile.open(tmp_path / "evil", "w:gz") as made:
        if evil == "link":
            member = tarfile.TarInfo("train")
            member.type, member.linkname = tarfile.SYMTYPE, str(tmp_path)
            made.addfile(member)
        else:
            made.addfile(tarfile.TarInfo("../../../outside.txt"))
    depot.publish(tmp_path / "evil", f"corpora/{NAME}.tar.gz")
    with pytest.raises(CorpusError, match="is damaged"):
        fetch_folders([f"{NAME}/train/*"], depot, tmp_path / "there")
    assert tree(tmp_path / "there") == {} and not (tmp_path / "outside.txt").exists()


def test_one_that_was_cut_off_is_published_again(here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fsspec.register_implementation("faulty", FaultySystem, clobber=True)
    depot = Depot("faulty://parcels")
    monkeypatch.setattr(FaultySystem, "fault", ConnectionError("cut"))
    with pytest.raises(StorageError, match="cut"):
        publish_folder(here, depot)
    monkeypatch.setattr(FaultySystem, "fault", None)
    publish_folder(here, depot)
    fetch_folders([f"{NAME}/train/*"], depot, tmp_path / "there")
    assert len(tree(tmp_path / "there")) == len(FILES)
