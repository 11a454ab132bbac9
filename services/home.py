"""Where things are kept: the database, trained models, caches. One folder, unless said otherwise."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from nas.errors import StateError, StorageError


@dataclass(frozen=True, slots=True)
class Home:
    """Attributes:
    root: folder of everything; ``NAS_HOME``, or the user's data folder.
    database: SQLAlchemy URL; ``NAS_DATABASE``, or an SQLite file under the root.
    """

    root: Path
    database: str

    @property
    def artifacts(self) -> Path:
        """Trained models and checkpoints, by search and number."""
        return self.root / "artifacts"

    @property
    def cache(self) -> Path:
        """Tokenizers and token files; may be deleted at any time."""
        return self.root / "cache"

    @contextmanager
    def claim(self, search_id: str) -> Iterator[None]:
        """Within the block this process alone drives the search. The claim ends with the process, however that ends.

        Raises `StateError` when another process of this machine drives it.
        """
        path = self._claim(search_id)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("w")
        except OSError as error:
            raise StorageError(f"{path}: must be writable, found: {error.strerror}") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StateError(f"search {search_id} runs in another process; interrupt that one first") from None
            yield

    def is_claimed(self, search_id: str) -> bool:
        """Whether a process of this machine drives the search."""
        try:
            with self._claim(search_id).open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _claim(self, search_id: str) -> Path:
        return self.artifacts / search_id / ".claim"


def home() -> Home:
    """The home that the environment names."""
    root = Path(os.environ.get("NAS_HOME") or user_data_path("nas")).expanduser().absolute()
    return Home(root, os.environ.get("NAS_DATABASE") or f"sqlite:///{root / 'nas.db'}")
