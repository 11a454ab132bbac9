"""Depots to test on, and filesystems of `fsspec` that misbehave as disks and networks do."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from fsspec.implementations.memory import MemoryFileSystem

LIMIT = 200_000


class FaultySystem(MemoryFileSystem):
    """The memory of the process, whose uploads break half-way with ``fault``."""

    protocol = "faulty"
    fault: ClassVar[BaseException | None] = None

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(path.removeprefix("faulty://").removeprefix("s3://"))

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        content = Path(lpath).read_bytes()
        self.pipe_file(rpath, content if self.fault is None else content[: len(content) // 2])
        if self.fault is not None:
            raise self.fault


class RememberingSystem(FaultySystem):
    """As s3fs does: what was listed once is not listed again until it is told to."""

    protocol = "remembering"
    listed: ClassVar[dict[str, list[str]]] = {}

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(path.removeprefix("remembering://"))

    def find(self, path: str, **options: Any) -> Any:
        if path not in self.listed:
            self.listed[path] = super().find(path, **options)
        return self.listed[path]

    def invalidate_cache(self, path: str | None = None) -> None:
        self.listed.clear()


class ObjectStore(FaultySystem):
    """As object stores do: an object is there when all of it has arrived. What they do slowly is refused."""

    protocol = "s3"

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        if self.fault is not None:
            raise self.fault
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        raise PermissionError("may not make buckets")

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        raise AssertionError("an object store copies to move")


@contextmanager
def small_files_only() -> Iterator[None]:
    """Within it, writing to the disk breaks at `LIMIT` bytes of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder, hidden and temporary ones too."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def plant(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
