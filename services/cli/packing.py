"""A spec of this machine made into one that a server understands: texts are brought there, spaces written out."""

import io
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from nas.client.client import Client
from nas.data.builtin import BUILTIN
from nas.data.corpora import files_of
from nas.document import Fields, read_file, read_text
from nas.errors import CorpusError, ExportError, NotFoundError, SpecError
from nas.space import load_space, space_names
from nas.spec import parse_spec
from nas.units import format_bytes
from services.cli.output import tell

Located = Callable[[], AbstractContextManager[None]]


def read(source: str) -> tuple[dict[str, Any], Path, Located]:
    """A spec that is valid, what its paths are relative to, and a context in which complaints get file and line."""
    if source == "-":
        fields, base = read_text(sys.stdin.read(), "standard input"), Path.cwd()
    else:
        fields, base = read_file(Path(source)), Path(source).absolute().parent
    located = partial(_located, fields)
    raw = fields.to_dict()
    with located():
        parse_spec(raw)
    return raw, base, located


@contextmanager
def _located(fields: Fields) -> Iterator[None]:
    try:
        yield
    except SpecError as error:
        raise fields.locate(error) from None
    except (CorpusError, NotFoundError) as error:
        field = "corpus" if isinstance(error, CorpusError) else "space"
        raise fields.error(field, f"is not to be had: {error}") from error


def packed(raw: Mapping[str, Any], base: Path, client: Client, *, upload: bool) -> dict[str, Any]:
    """The spec as the server is to get it; with ``upload`` its texts are there afterwards."""
    sent = dict(raw)
    if isinstance(raw["space"], str) and raw["space"] not in space_names():
        sent["space"] = load_space(raw["space"], base).to_dict()
    corpus = raw["corpus"]
    if (isinstance(corpus, str) and corpus in BUILTIN) or (isinstance(corpus, Mapping) and "huggingface" in corpus):
        return sent
    files = files_of(corpus, base)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(raw.get("name", "texts"))).strip("-.")[:60] or "texts"
    if not upload:
        return sent | {"corpus": {split: f"{name}/{split}/*" for split in files}}
    size = sum(path.stat().st_size for paths in files.values() for path in paths)
    tell("corpus", f"{format_bytes(size)} go to {client.server}")
    return sent | {"corpus": client.upload(name, files).reference}


def unpack(archive: bytes, out: Path, *, force: bool) -> None:
    """The one folder of an export, as ``out``, whole or not at all."""
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.absolute().parent) as part:
        with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
            packed.extractall(part, filter="data")
        (folder,) = Path(part).iterdir()
        if out.exists():
            _check_replaceable(out, {path.name for path in folder.iterdir()}, force)
            shutil.rmtree(out)
        folder.rename(out)


def _check_replaceable(out: Path, ours: set[str], force: bool) -> None:
    """An earlier export may be replaced, and nothing else."""
    found = {path.name for path in out.iterdir()} if out.is_dir() else {out.name}
    if found and not force:
        raise ExportError(f"{out} is there already: use --force to replace it, or another --out")
    if others := sorted(found - ours):
        raise ExportError(f"{out} holds what no export has ({', '.join(others[:3])}): use another --out")
