"""What is done with a trained candidate, where there is torch: text, and a model to take away."""

import io
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nas.adapters.sql.store import open_store
from nas.export.card import model_card
from nas.export.huggingface import export_candidate
from nas.export.parity import Parity
from nas.records import CandidateRecord, SearchRecord
from nas.train.artifact import WEIGHTS, fetch_artifact, load_artifact
from nas.train.artifact import generate as sample
from services.home import Home


def write(home: Home, search_id: str, number: int, prompt: str, tokens: int, temperature: float, seed: int) -> str:
    """See `nas.train.artifact.generate`. Weights that another machine has are brought here first."""
    _, record = _records(home, search_id, number)
    model, tokenizer, _ = load_artifact(weights_of(home, record))
    return sample(model, tokenizer, prompt, tokens=tokens, temperature=temperature, seed=seed)


def export(home: Home, search_id: str, number: int) -> tuple[bytes, str]:
    """A gzipped tar of the folder that `nas export` writes, and what is to be said of it."""
    search, record = _records(home, search_id, number)
    with TemporaryDirectory(prefix="nas-export-") as folder:
        out = Path(folder) / f"{search_id}-{number}"
        parity = export_to(out, search, record, weights_of(home, record), force=False)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            archive.add(out, arcname=out.name)
    return packed.getvalue(), said_of(parity)


def export_to(out: Path, search: SearchRecord, record: CandidateRecord, weights: Path, *, force: bool) -> Parity:
    """Writes a trained candidate for transformers, with its card."""
    model, tokenizer, _ = load_artifact(weights)
    limits: dict[str, Any] = search.spec.get("limits", {})
    card = model_card(
        record,
        search_name=search.name,
        corpus=str(search.setting.get("corpus", {}).get("name", "unknown")),
        limits=limits,
        device=str(search.setting.get("device", "unknown")),
        seed=int(search.spec.get("method", {}).get("seed", 0)),
    )
    return export_candidate(model, tokenizer, out, card, force=force)


def said_of(parity: Parity) -> str:
    """For people."""
    if parity.checked:
        return f"transformers gives the same logits (relative error {parity.max_relative_error:.1e})"
    return f"not compared with transformers: {parity.reason}"


def _records(home: Home, search_id: str, number: int) -> tuple[SearchRecord, CandidateRecord]:
    store = open_store(home.database)
    try:
        return store.search(search_id), store.candidate(search_id, number)
    finally:
        store.close()


def weights_of(home: Home, record: CandidateRecord) -> Path:
    """The folder with a candidate's weights, brought here first where another machine has trained it."""
    folder, depot = home.artifacts / record.artifact, home.depot
    if depot is not None and not (folder / WEIGHTS).is_file():
        fetch_artifact(folder, depot, record.artifact)
    return folder
