"""Where things are kept: the database, trained models, caches. One folder, unless said otherwise."""

import os
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from nas.data.depot import Depot


@dataclass(frozen=True, slots=True)
class Home:
    """Attributes:
    root: folder of everything; ``NAS_HOME``, or the user's data folder.
    database: SQLAlchemy URL; ``NAS_DATABASE``, or an SQLite file under the root.
    storage: folder or URL that the machines of a cluster share; ``NAS_STORAGE``, or empty for one machine.
    """

    root: Path
    database: str
    storage: str = ""

    @property
    def depot(self) -> Depot | None:
        """What machines share, where there are several."""
        return Depot(self.storage) if self.storage else None

    @property
    def artifacts(self) -> Path:
        """Trained models and checkpoints, by search and number."""
        return self.root / "artifacts"

    @property
    def corpora(self) -> Path:
        """Texts that a server was given."""
        return self.root / "corpora"

    @property
    def exports(self) -> Path:
        """Models that a server gives away."""
        return self.root / "exports"

    @property
    def cache(self) -> Path:
        """Tokenizers and token files; may be deleted at any time."""
        return self.root / "cache"


def home() -> Home:
    """The home that the environment names."""
    root = Path(os.environ.get("NAS_HOME") or user_data_path("nas")).expanduser().absolute()
    database = os.environ.get("NAS_DATABASE") or f"sqlite:///{root / 'nas.db'}"
    return Home(root, database, os.environ.get("NAS_STORAGE", ""))
