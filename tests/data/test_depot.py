import errno
import os
import pickle
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from fsspec import register_implementation
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.data.depot import Depot, fetch_vouched, publish_vouched
from nas.errors import DiskFullError, MissingDependencyError, SpecError, StorageError
from tests.data.depots import LIMIT, FaultySystem, ObjectStore, RememberingSystem, plant, small_files_only, tree

BIG = b"new " * LIMIT


@pytest.fixture(autouse=True)
def systems(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Our filesystems are registered, none has a fault, and the memory is emptied."""
    registered = dict(_registry)
    register_implementation("faulty", FaultySystem, clobber=True)
    register_implementation("s3", ObjectStore, clobber=True)
    register_implementation("remembering", RememberingSystem, clobber=True)
    monkeypatch.setattr(FaultySystem, "fault", None)
    yield
    _registry.clear()
    _registry.update(registered)
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def url(kind: str, folder: Path) -> str:
    """Of a fresh place: on the disk below ``folder``, or in memory."""
    return {"path": str(folder / "depot"), "file": f"file://{folder}/depot"}.get(kind, f"{kind}://{uuid.uuid4()}/depot")


KINDS = ["path", "file", "memory", "faulty", "s3"]


@pytest.fixture(params=KINDS)
def depot(request: pytest.FixtureRequest, tmp_path: Path) -> Depot:
    return Depot(url(request.param, tmp_path))


def read(depot: Depot, name: str, folder: Path) -> bytes | None:
    to = folder / uuid.uuid4().hex
    return to.read_bytes() if depot.fetch(name, to) else None


def publish(depot: Depot, content: bytes, name: str, folder: Path) -> None:
    source = folder / uuid.uuid4().hex
    source.write_bytes(content)
    depot.publish(source, name)


def stored(depot: Depot) -> list[str]:
    """Every file in the place, temporary ones too."""
    if "://" not in depot.url:
        return sorted(tree(Path(depot.url)))
    return sorted(name for name in MemoryFileSystem.store if depot.url.partition("://")[2] in name)


def test_a_file_is_published_replaced_and_deleted(depot: Depot, tmp_path: Path) -> None:
    assert read(depot, "a/b.bin", tmp_path) is None and not depot.exists("a/b.bin")
    for content in (b"one", b"", b"three"):
        publish(depot, content, "a/b.bin", tmp_path)
        assert read(depot, "a/b.bin", tmp_path) == content
        assert len(stored(depot)) == 1
    assert depot.exists("a/b.bin") and depot.exists("a") and not depot.exists("a/b") and not depot.exists("a/b.bin/c")
    depot.delete("a/b.bin")
    assert not depot.exists("a/b.bin") and not depot.exists("a") and not stored(depot)
    depot.delete("a/b.bin")


def test_a_folder_is_published_replaced_and_deleted(depot: Depot, tmp_path: Path) -> None:
    first, second = {"x": b"1", "deep/er/y": b"2", "deep/z": b"3"}, {"x": b"4", "deep/w": b"5"}
    publish(depot, b"neighbour", "modelling", tmp_path)
    depot.publish(plant(tmp_path / "first", first), "model")
    assert depot.fetch("model", tmp_path / "to") and tree(tmp_path / "to") == first
    assert read(depot, "model/deep/z", tmp_path) == b"3"
    depot.publish(plant(tmp_path / "second", second), "model")
    assert depot.fetch("model", tmp_path / "fresh") and tree(tmp_path / "fresh") == second
    assert depot.fetch("model", tmp_path / "to") and tree(tmp_path / "to") == first | second
    depot.delete("model")
    assert not depot.exists("model") and not depot.fetch("model", tmp_path / "none")
    assert len(stored(depot)) == 1 and not (tmp_path / "none").exists()


def test_a_deleted_folder_leaves_room_for_a_file(tmp_path: Path) -> None:
    depot = Depot(str(tmp_path / "depot"))
    depot.publish(plant(tmp_path / "source", {"deep/er/x": b"1"}), "model")
    depot.delete("model")
    publish(depot, b"2", "model", tmp_path)
    assert read(depot, "model", tmp_path) == b"2"


def test_what_other_machines_publish_is_seen(tmp_path: Path) -> None:
    depot = Depot(url("remembering", tmp_path))
    for name in ("a", "b"):
        MemoryFileSystem().pipe_file(f"{depot.url.removeprefix('remembering://')}/model/{name}", b"")
        assert depot.fetch("model", tmp_path / name)
    assert tree(tmp_path / "b") == {"a": b"", "b": b""}


def test_an_empty_folder_is_none(depot: Depot, tmp_path: Path) -> None:
    depot.publish(plant(tmp_path / "full", {"x": b""}), "model")
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    depot.publish(tmp_path / "empty", "model")
    assert not depot.exists("model") and not depot.fetch("model", tmp_path / "to")


def test_unfinished_files_are_nobodys(depot: Depot, tmp_path: Path) -> None:
    unfinished = f"deep/.x.{uuid.uuid4().hex}.tmp"
    depot.publish(plant(tmp_path / "source", {unfinished: b"", "x": b""}), "model")
    assert depot.fetch("model", tmp_path / "to") and tree(tmp_path / "to") == {"x": b""}
    publish(depot, b"of another publisher", f"model/{unfinished}", tmp_path)
    assert depot.fetch("model", tmp_path / "again") and tree(tmp_path / "again") == {"x": b""}
    depot.publish(tmp_path / "source", "model")
    assert depot.exists(f"model/{unfinished}"), "another publisher is still writing it"


PARTS = st.text(st.characters(exclude_characters="/\\*?[", exclude_categories=["C", "Z"]), min_size=1, max_size=12)
NAMES = st.lists(PARTS.filter(lambda part: part not in (".", "..")), min_size=1, max_size=4).map("/".join)


@given(NAMES, st.binary(max_size=50), st.sampled_from(KINDS))
@settings(max_examples=150)
def test_any_name_and_bytes_come_back(name: str, content: bytes, kind: str) -> None:
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        depot = Depot(url(kind, folder))
        publish(depot, content, name, folder)
        assert read(depot, name, folder) == content
        depot.publish(plant(folder / "source", {name: content}), "folder")
        assert depot.fetch("folder", folder / "to") and tree(folder / "to") == {name: content}
        depot.delete(name)
        assert read(depot, name, folder) is None


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\0", "a\nb", "a*", "[a]", "a\\b"]
)
def test_names_that_reach_outside_or_are_read_as_patterns(depot: Depot, tmp_path: Path, name: str) -> None:
    publish(depot, b"inside", "a", tmp_path)
    uses: list[Callable[[], Any]] = [
        lambda: depot.fetch(name, tmp_path / "to"),
        lambda: publish(depot, b"", name, tmp_path),
        lambda: depot.delete(name),
        lambda: depot.exists(name),
    ]
    for use in uses:
        with pytest.raises(SpecError, match=r"storage: a name must be relative.*found "):
            use()
    assert read(depot, "a", tmp_path) == b"inside" and len(stored(depot)) == 1


def test_a_bad_name_in_a_folder_is_refused_before_anything_is_published(depot: Depot, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"found 'model/b\*'"):
        depot.publish(plant(tmp_path / "source", {"a": b"", "b*": b""}), "model")
    assert not stored(depot)


def test_keys_of_others_that_reach_outside(tmp_path: Path) -> None:
    depot = Depot(url("memory", tmp_path))
    MemoryFileSystem().pipe_file(f"{depot.url}/model/../../escaped", b"")
    with pytest.raises(SpecError, match=r"found '\.\./\.\./escaped'"):
        depot.fetch("model", tmp_path / "deep" / "to")
    assert not (tmp_path / "deep").exists()


@pytest.mark.parametrize("kind", ["path", "faulty", "s3"])
def test_an_interrupted_publish_leaves_the_old_file(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    depot = Depot(url(kind, tmp_path))
    depot.publish(plant(tmp_path / "old", {"a": b"old a", "b": b"old b"}), "model")
    new = plant(tmp_path / "new", {"a": b"new a", "b": BIG})
    if kind == "path":
        with small_files_only(), pytest.raises(StorageError, match=r"cannot publish model/b: .*too large"):
            depot.publish(new, "model")
        expected = b"new a"
    else:
        monkeypatch.setattr(FaultySystem, "fault", KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            depot.publish(new, "model")
        expected = b"old a"
    assert read(depot, "model/a", tmp_path) == expected
    assert read(depot, "model/b", tmp_path) == b"old b"
    assert len(stored(depot)) == 2


@pytest.mark.parametrize("kind", ["path", "memory"])
def test_an_interrupted_fetch_leaves_the_old_file(kind: str, tmp_path: Path) -> None:
    depot = Depot(url(kind, tmp_path))
    publish(depot, BIG, "b", tmp_path)
    to = plant(tmp_path / "to", {"b": b"old"}) / "b"
    with small_files_only(), pytest.raises(StorageError, match=r"cannot copy b to .*too large"):
        depot.fetch("b", to)
    assert tree(to.parent) == {"b": b"old"}


@pytest.mark.parametrize("kind", ["path", "memory"])
def test_a_reader_sees_whole_files_while_they_are_replaced(kind: str, tmp_path: Path) -> None:
    depot, contents = Depot(url(kind, tmp_path)), [bytes([letter]) * 300_000 for letter in b"ab"]
    publish(depot, contents[0], "file", tmp_path)
    sources = [plant(tmp_path / str(number), {"x": content}) / "x" for number, content in enumerate(contents)]
    writer = threading.Thread(target=lambda: [depot.publish(source, "file") for _ in range(25) for source in sources])
    writer.start()
    seen = set()
    while writer.is_alive():
        seen.add(read(depot, "file", tmp_path))
    writer.join()
    assert seen <= set(contents)


def test_a_folder_that_shrinks_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader looks again when a file that was listed is gone."""
    depot = Depot(url("faulty", tmp_path))
    depot.publish(plant(tmp_path / "source", {"a": b"1", "b": b"2"}), "model")
    listed = FaultySystem.find

    def find(system: FaultySystem, path: str) -> list[str]:
        names: list[str] = listed(system, path)
        for name in names[1:]:
            system.rm_file(name)
        return names

    monkeypatch.setattr(FaultySystem, "find", find)
    assert depot.fetch("model", tmp_path / "to") and tree(tmp_path / "to") == {"a": b"1"}


def test_a_file_that_is_replaced_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network's disk says so, and the reader looks again."""
    depot = Depot(url("faulty", tmp_path))
    publish(depot, b"new", "a", tmp_path)
    get, faults = FaultySystem.get_file, [OSError(errno.ESTALE, "Stale file handle")]

    def get_file(system: FaultySystem, rpath: str, lpath: str) -> None:
        if faults:
            raise faults.pop()
        get(system, rpath, lpath)

    monkeypatch.setattr(FaultySystem, "get_file", get_file)
    assert read(depot, "a", tmp_path) == b"new" and not faults


def test_a_folder_that_never_is_what_was_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    depot = Depot(url("faulty", tmp_path))
    depot.publish(plant(tmp_path / "source", {"a": b"1"}), "model")
    monkeypatch.setattr(FaultySystem, "find", lambda system, path: [f"{path}/{uuid.uuid4().hex}"])
    with pytest.raises(StorageError, match=r"model changes faster than it can be read"):
        depot.fetch("model", tmp_path / "to")
    assert not tree(tmp_path / "to")


def test_only_files_are_files(tmp_path: Path) -> None:
    source = plant(tmp_path / "source", {"a": b"1"})
    os.mkfifo(source / "pipe")
    (source / "dangling").symlink_to(tmp_path / "nowhere")
    (source / "link").symlink_to(source / "a")
    depot = Depot(str(tmp_path / "depot"))
    depot.publish(source, "model")
    assert tree(tmp_path / "depot") == {"model/a": b"1", "model/link": b"1"}


class TalkativeError(Exception):
    """As botocore's: no OSError."""


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        (OSError(errno.ENOSPC, "full"), DiskFullError, "cannot publish a: no space left on the device"),
        (OSError(errno.EDQUOT, "quota"), DiskFullError, "cannot publish a: no space left on the device"),
        (PermissionError("Forbidden"), StorageError, "cannot publish a: Forbidden; check who owns it, the credentials"),
        (FileNotFoundError("no bucket"), StorageError, "no bucket; check that the folder or bucket exists"),
        (NotImplementedError(), StorageError, "NotImplementedError; choose a storage that can be read and written"),
        (TalkativeError("of faulty://me:hush@h with hush"), StorageError, r"faulty://\*\*\*@h with \*\*\*; check the"),
    ],
)
def test_errors_of_others_become_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception, kind: type[StorageError], message: str
) -> None:
    monkeypatch.setattr(FaultySystem, "fault", fault)
    with pytest.raises(kind, match=message) as caught:
        publish(Depot("faulty://me:hush@h"), b"", "a", tmp_path)
    assert str(caught.value).startswith("faulty://***@h: ") and "hush" not in str(caught.value)
    assert caught.value.__cause__ is fault


def test_errors_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    depot = Depot(str(plant(tmp_path, {"depot": b"a file"}) / "depot"))
    with pytest.raises(StorageError, match=r"/depot/a: must be writable"):
        publish(depot, b"", "a", tmp_path)
    with pytest.raises(StorageError, match=r"/none: must be a file or a folder, found none"):
        depot.publish(tmp_path / "none", "a")

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskFullError, match=r"/other/a: no space left"):
        publish(Depot(str(tmp_path / "other")), b"", "a", tmp_path)
    assert not tree(tmp_path / "other")


def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    depot = Depot(str(tmp_path))
    depot.publish(plant(tmp_path / "source", {"deep/a": b""}), "model")

    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(StorageError, match=r"cannot look for model: .*Permission denied.*; check who owns it"):
        depot.fetch("model", tmp_path / "to")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("s3://key:se/cr@et@bucket/a", "s3://***@bucket/a"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
        ("sftp://me@host:22/x@y", "sftp://***@host:22/x@y"),
        ("sftp://host:22/x@y", "sftp://host:22/x@y"),
        ("memory://a?token=abc", "memory://a?***"),
        ("/a@b:c@d?e", "/a@b:c@d?e"),
    ],
)
def test_credentials_are_not_shown(written: str, shown: str) -> None:
    depot = Depot(written)
    assert (str(depot), repr(depot), depot.url) == (shown, f"Depot({shown!r})", written)


@pytest.mark.parametrize(
    ("written", "shown"), [("", ""), ("file://", "file://"), ("s3:/bucket", "s3:/bucket"), ("x4://a:b@c", "x4://***@c")]
)
def test_what_is_no_place(written: str, shown: str) -> None:
    with pytest.raises(SpecError, match=r"^storage: must be a folder or a URL such as s3://bucket/folder") as caught:
        Depot(written)
    assert caught.value.value == shown and "a:b" not in str(caught.value)


def test_a_protocol_without_its_package(tmp_path: Path) -> None:
    depot = Depot("oss://me:hush@bucket/a")
    with pytest.raises(MissingDependencyError, match=r"^oss://\*\*\*@bucket/a: oss:// needs the package ossfs"):
        depot.exists("a")


def test_folders_are_absolute_and_of_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/jane")
    assert Depot("shared/a").url == Depot(f"local://{tmp_path}/shared/a").url == str(tmp_path / "shared/a")
    assert Depot("~/shared").url == "/home/jane/shared"


def test_travels_between_processes(depot: Depot, tmp_path: Path) -> None:
    publish(depot, b"x", "a", tmp_path)
    other = pickle.loads(pickle.dumps(depot))
    assert other == depot and read(other, "a", tmp_path) == b"x"


def test_nothing_is_opened_before_it_is_used(tmp_path: Path) -> None:
    Depot(str(tmp_path / "depot"))
    Depot("oss://bucket/a")
    assert not list(tmp_path.iterdir())


def test_vouched_round_trip(depot: Depot, tmp_path: Path) -> None:
    source = plant(tmp_path / "from", {"x": b"payload"}) / "x"
    assert fetch_vouched(depot, "a/x", tmp_path / "to" / "x") is None
    publish_vouched(depot, source, "a/x")
    digest = fetch_vouched(depot, "a/x", tmp_path / "to" / "x")
    assert digest == "239f59ed55e737c77147cf55ad0c1b030b6d7ee748a7426952f9b852d5a935e5"
    assert tree(tmp_path / "to") == {"x": b"payload"} and tree(tmp_path / "from") == {"x": b"payload"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x", b"payl"),
        ("x", b"Payload"),
        ("x", None),
        ("x.sha256", None),
        ("x.sha256", b""),
        ("x.sha256", b"[]"),
        ("x.sha256", b'{"size": 7}'),
        ("x.sha256", b"\xff"),
    ],
)
def test_damage_never_reaches_the_target(depot: Depot, tmp_path: Path, name: str, content: bytes | None) -> None:
    publish_vouched(depot, plant(tmp_path / "from", {"x": b"payload"}) / "x", "x")
    to = plant(tmp_path / "to", {"x": b"old"})
    depot.delete(name) if content is None else publish(depot, content, name, tmp_path)
    assert fetch_vouched(depot, "x", to / "x") is None
    assert tree(to) == {"x": b"old"}


def test_the_sidecar_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is killed between the two has published nothing that counts."""
    depot, source = Depot(url("s3", tmp_path)), plant(tmp_path / "from", {"x": b"payload"}) / "x"
    order: list[str] = []
    original = Depot.publish
    monkeypatch.setattr(Depot, "publish", lambda self, path, name: (order.append(name), original(self, path, name)))
    publish_vouched(depot, source, "x")
    assert order == ["x", "x.sha256"]
