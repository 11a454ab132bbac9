"""Searches by the command that users have, each with a database of its own: none may learn from another."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from nas.adapters.sql.store import SqlStore, open_store
from nas.data.corpora import SPLITS, Corpus
from nas.errors import NasError
from nas.records import SearchRecord, SearchState

COMMAND = (sys.executable, "-m", "services.cli.main")


def write_texts(corpus: Corpus, folder: Path) -> dict[str, str]:
    """The documents as files, as users have them; the corpus of a spec."""
    for split in SPLITS:
        place = folder / split
        place.mkdir(parents=True, exist_ok=True)
        for number, document in enumerate(getattr(corpus, split)):
            path = place / f"{number:04}.txt"
            if not path.is_file():
                path.write_text(document.text, encoding="utf-8")
    return {split: f"{folder / split}/*.txt" for split in SPLITS}


def search(spec: Mapping[str, Any], name: str, folder: Path) -> Path:
    """Makes a search, or goes on with it where it was broken off, one candidate at a time on one thread.

    Args:
        name: of its files in the folder.

    Returns:
        Its database, which holds no other.

    Raises:
        NasError: with what the command said last.
    """
    file, database = folder / f"{name}.yaml", folder / f"{name}.db"
    file.write_text(json.dumps(spec), encoding="utf-8")
    begun = _begun(database)
    command = ["resume", begun] if begun else ["run", str(file), "--yes"]
    variables = {
        **os.environ,
        "NAS_HOME": str(folder / "home"),
        "NAS_DATABASE": f"sqlite:///{database}",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run([*COMMAND, *command, "--engine", "inline"], env=variables, capture_output=True, text=True)
    if done.returncode:
        raise NasError(f"search {name}: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")
    return database


def opened(database: Path) -> closing[SqlStore]:
    return closing(open_store(f"sqlite:///{database}"))


def completed(store: SqlStore, database: Path) -> SearchRecord:
    """The only search of a database; raises `NasError` when it did not come to its end."""
    (own,) = store.searches()
    if own.state is not SearchState.COMPLETED:
        raise NasError(f"{database.name}: the search is {own.state}: {own.reason}")
    return own


def _begun(database: Path) -> str:
    """The id of the search that a database holds; empty for none."""
    if not database.is_file():
        return ""
    with opened(database) as store:
        searches = store.searches()
    return searches[0].id if searches else ""
