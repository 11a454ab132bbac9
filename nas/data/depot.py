"""Files that the machines of a search share: in a folder that all of them mount, or at a URL of `fsspec`.

`Depot` checks names and knows folders; `_Folder` and `_Remote` know one file at a time.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fsspec import available_protocols  # type: ignore[import-untyped]
from fsspec.core import url_to_fs  # type: ignore[import-untyped]
from fsspec.registry import registry  # type: ignore[import-untyped]

from nas.data.storage import atomic_file
from nas.errors import DiskFullError, MissingDependencyError, NasError, SpecError, StorageError

# Object stores show an object when all of it has arrived; elsewhere a file is put beside its place and moved there.
_WHOLE_ON_PUT = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci", "tos", "hf"}
_LOCAL = {"file", "local"}
_TEMPORARY = re.compile(r"\.(.*\.)?[0-9a-f]{32}\.tmp")  # those of `atomic_file` and ours: nobody's files
# Of a URL: user and password, which may hold a / that ought to have been encoded, and the query.
_SECRETS = re.compile(r"(?<=://)(?:[^/:@]*:(?!\d+(?:/|$))(?P<password>.*)|[^/]*)@|(?<=\?)(?P<query>.+)")
_CHUNK = 2**22
_LOOKS = 3


@dataclass(frozen=True, repr=False)
class Depot:
    """Files by name at a folder or a URL. Each is seen whole or not at all, the newest one wins.

    Names are relative, with / between their parts; a name is that of a file or, if it has files below it, of a folder.
    An empty folder does not exist. Who reads a folder while it is replaced may get files of both.

    Safe to use from several threads, processes and machines at once; it travels between processes, and connects where
    and when it is used. Errors of all methods:

        SpecError: a name that breaks the rules.
        MissingDependencyError: the package for the protocol is not installed.
        DiskFullError: no space left, here or there.
        StorageError: any other refusal; credentials in the URL are not shown.

    Attributes:
        url: with its credentials; for a folder its absolute path. ``str`` of the depot hides them.
    """

    url: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", _checked_url(self.url))

    def __str__(self) -> str:
        return _redacted(self.url, self.url)

    def __repr__(self) -> str:
        return f"Depot({str(self)!r})"

    def exists(self, name: str) -> bool:
        """Whether there is a file or a folder of that name."""
        return bool(self._place().files(_checked_name(name)))

    def fetch(self, name: str, to: Path) -> bool:
        """Copies a file, or all files of a folder, to ``to``; ``False`` when there is none.

        Each file appears whole; other files in the folder ``to`` stay.
        """
        place = self._place()
        for _ in range(_LOOKS):
            parts = place.files(_checked_name(name))
            try:
                for part in parts:
                    place.get(_joined(name, part), to / part)
            except _GoneError:  # deleted, or replaced by a folder without that file: look again
                continue
            return bool(parts)
        raise StorageError(f"{self}: {name} changes faster than it can be read; are two searches using one name?")

    def publish(self, path: Path, name: str) -> None:
        """Makes a file or a folder known as ``name``; what a folder of that name held besides is deleted last."""
        place, parts = self._place(), _local_files(path)
        for part in parts:
            _checked_name(_joined(name, part))
        for part in parts:
            place.put(path / part, _joined(name, part))
        if not path.is_file():
            for part in set(place.files(_checked_name(name))) - set(parts):
                place.delete(_joined(name, part))

    def delete(self, name: str) -> None:
        """Deletes a file or a folder, if there is one."""
        self._place().delete(_checked_name(name))

    def _place(self) -> "_Folder | _Remote":
        return _Remote(self) if "://" in self.url else _Folder(self)


def publish_vouched(depot: Depot, path: Path, name: str) -> None:
    """Publishes a file, then a sidecar that vouches for it, with which `fetch_vouched` notices damage."""
    with _folder_beside(path) as folder:
        voucher = folder / "voucher"
        voucher.write_text(json.dumps({"size": path.stat().st_size, "sha256": _digest(path)}))
        depot.publish(path, name)
        depot.publish(voucher, _voucher_of(name))


def fetch_vouched(depot: Depot, name: str, to: Path) -> str | None:
    """The sha256 of a published file, which is then at ``to``; ``None`` when it is missing or not what it was.

    A damaged file never appears at ``to``, where another process may look for it.
    """
    with _folder_beside(to) as folder:
        voucher, payload = folder / "voucher", folder / "payload"
        if not depot.fetch(_voucher_of(name), voucher) or not depot.fetch(name, payload):
            return None
        digest = _digest(payload)
        if _promise(voucher) != (payload.stat().st_size, digest):
            return None
        payload.replace(to)
        return digest


def _voucher_of(name: str) -> str:
    return f"{name}.sha256"


def _promise(voucher: Path) -> tuple[int, str] | None:
    """Size and digest; ``None`` for a damaged sidecar."""
    try:
        fields = json.loads(voucher.read_bytes())
        return fields["size"], fields["sha256"]
    except (ValueError, KeyError, TypeError):
        return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """A temporary folder on the disk of ``path``, so that files can be moved there."""
    with _mapped(str(path.parent), f"keep {path.name}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".", suffix=".tmp", dir=path.parent) as folder:
            yield Path(folder)


class _GoneError(StorageError):
    """A file that was listed and is not there any more."""


class _Folder:
    """A folder on a disk, which may be a network's."""

    def __init__(self, depot: Depot) -> None:
        self._root, self._mapped = Path(depot.url), partial(_mapped, depot.url)

    def files(self, name: str) -> list[str]:
        """Names relative to ``name``, which for a file is the empty one."""
        with self._mapped(f"look for {name}"):
            return _files_below(self._root / name)

    def get(self, name: str, to: Path) -> None:
        self._copy(f"copy {name} to {to}", self._root / name, to)

    def put(self, path: Path, name: str) -> None:
        self._copy(f"publish {name}", path, self._root / name)

    def _copy(self, action: str, source: Path, to: Path) -> None:
        mapped = self._mapped  # within `atomic_file` too, which would blame its own disk for what the source refuses
        with mapped(action), source.open("rb") as old, atomic_file(to) as new, mapped(action):
            shutil.copyfileobj(old, new, _CHUNK)

    def delete(self, name: str) -> None:
        with self._mapped(f"delete {name}"):
            for part in _files_below(self._root / name):
                (self._root / name / part).unlink(missing_ok=True)
            shutil.rmtree(self._root / name, ignore_errors=True)  # empty folders, and files left by who was killed


class _Remote:
    """A place that `fsspec` reaches. Only methods for single files are used: those for many read names as globs."""

    def __init__(self, depot: Depot) -> None:
        self._mapped, self._protocol = partial(_mapped, depot.url), depot.url.partition("://")[0]
        self._system, root = self._connect(depot)
        self._root = root.rstrip("/")

    def _connect(self, depot: Depot) -> tuple[Any, str]:
        """The filesystem, which `fsspec` keeps for this process, and the depot's path in it."""
        with self._mapped("connect"):
            try:
                system, root = url_to_fs(depot.url)
            except ImportError as error:
                package = str(getattr(error.__cause__ or error, "name", None) or error).partition(".")[0]
                message = f"{depot}: {self._protocol}:// needs the package {package}, which can be installed with pip"
                raise MissingDependencyError(message) from error
            return system, root

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def files(self, name: str) -> list[str]:
        """As `_Folder.files`."""
        path = self._path(name)
        with self._mapped(f"look for {name}"):
            self._system.invalidate_cache()  # other machines publish too
            try:
                is_file = self._system.info(path)["type"] != "directory"
                found = [] if is_file else sorted(self._system.find(path))
            except FileNotFoundError:
                return []
        parts = [each.removeprefix(path).strip("/") for each in found]
        return [""] if is_file else [_checked_name(part) for part in parts if part and not _is_temporary(part)]

    def get(self, name: str, to: Path) -> None:
        with atomic_file(to) as file, self._mapped(f"copy {name} to {to}"):
            self._system.get_file(self._path(name), file.name)  # in one stream, which a replacement does not change

    def put(self, path: Path, name: str) -> None:
        with self._mapped(f"publish {name}"):
            if self._protocol in _WHOLE_ON_PUT:
                self._system.put_file(str(path), self._path(name))
            else:
                self._put_beside(path, self._path(name))

    def _put_beside(self, path: Path, target: str) -> None:
        parent = target.rpartition("/")[0]
        temporary = f"{parent}/.{uuid.uuid4().hex}.tmp"
        try:
            self._system.makedirs(parent, exist_ok=True)
            self._system.put_file(str(path), temporary)
            self._system.mv(temporary, target)
        except BaseException:
            with suppress(Exception):  # it may never have been made
                self._system.rm_file(temporary)
            raise

    def delete(self, name: str) -> None:
        for part in self.files(name):
            with self._mapped(f"delete {name}"), suppress(FileNotFoundError):
                self._system.rm_file(self._path(_joined(name, part)))


@contextmanager
def _mapped(place: str, action: str) -> Iterator[None]:
    """The one place where errors of disks and of other people's filesystems become ours; ``place`` is a URL or path."""
    try:
        yield
    except (NasError, MemoryError):
        raise
    except Exception as error:  # libraries have errors of their own, such as botocore's, which are no OSError
        number = getattr(error, "errno", None)
        found = _redacted(str(error) or type(error).__name__, place)
        place = _redacted(place, place)
        if number in (errno.ENOSPC, errno.EDQUOT):
            message = f"{place}: cannot {action}: no space left on the device; free some, or choose another place"
            raise DiskFullError(message) from error
        gone = isinstance(error, FileNotFoundError) or number == errno.ESTALE  # ESTALE: replaced on a network's disk
        kind = _GoneError if gone else StorageError
        raise kind(f"{place}: cannot {action}: {found}; {_advice(error)}") from error


def _advice(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "check that the folder or bucket exists"
    if isinstance(error, PermissionError):
        return "check who owns it, the credentials and what they allow"
    if isinstance(error, NotImplementedError):
        return "choose a storage that can be read and written, such as a folder or s3://bucket/folder"
    return "check the address, the credentials and that this machine reaches it"


def _checked_url(url: str) -> str:
    """The URL, or the absolute path of a folder; raises `SpecError`."""
    rule = "must be a folder or a URL such as s3://bucket/folder"
    head, colon, _ = url.partition(":")
    protocol, separator, rest = url.partition("://") if "://" in url else ("file", "", url)
    known = {*available_protocols(), *registry}
    if not rest.strip() or (colon and not separator and head in known):  # s3:/bucket would be a folder of this machine
        raise SpecError("storage", rule, url)
    if protocol not in known:
        raise SpecError("storage", f"{rule}, of a protocol that fsspec knows", _redacted(url, url))
    return str(Path(os.path.expanduser(rest)).absolute()) if protocol in _LOCAL else url


def _checked_name(name: str) -> str:
    """The name; raises `SpecError` for one that reaches outside, or that some storage reads otherwise than others."""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or not name.isprintable() or set(name) & set("\\*?["):
        rule = "a name must be relative, of printable characters without * ? [ \\, and without . or .. as a part"
        raise SpecError("storage", rule, name)
    return name


def _joined(name: str, part: str) -> str:
    return f"{name}/{part}" if part else name


def _local_files(path: Path) -> list[str]:
    """As `_files_below`, for what is to be published."""
    with _mapped(str(path), "publish it"):
        if not path.exists():
            raise StorageError(f"{path}: must be a file or a folder, found none")
        return _files_below(path)


def _files_below(path: Path) -> list[str]:
    """Names relative to ``path``, sorted: of the file itself the empty one, of a folder those of all its files."""
    if path.is_file():
        return [""]
    below = (Path(folder, name) for folder, _, names in os.walk(path, onerror=_unless_gone) for name in names)
    files = (each for each in below if each.is_file() and not _is_temporary(each.name))
    return sorted(each.relative_to(path).as_posix() for each in files)


def _unless_gone(error: OSError) -> None:
    """A folder that is deleted meanwhile holds nothing; one that cannot be read may hold something."""
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error


def _is_temporary(name: str) -> bool:
    return _TEMPORARY.fullmatch(name.rpartition("/")[2]) is not None


def _redacted(message: str, url: str) -> str:
    """A message without the secrets of a URL, whole or in pieces."""
    found = list(_SECRETS.finditer(url)) if "://" in url else []
    if not found:
        return message
    message = message.replace(url, _SECRETS.sub(lambda match: "***" if match["query"] else "***@", url))
    for secret in (match[name] for match in found for name in ("password", "query")):
        message = message.replace(secret, "***") if secret else message
    return message
