"""Text by a trained candidate, where there is torch."""

from nas.adapters.sql.store import open_store
from nas.train.artifact import WEIGHTS, fetch_artifact, load_artifact
from nas.train.artifact import generate as sample
from services.home import Home


def write(home: Home, search_id: str, number: int, prompt: str, tokens: int, temperature: float, seed: int) -> str:
    """See `nas.train.artifact.generate`. Weights that another machine has are brought here first."""
    store = open_store(home.database)
    try:
        record = store.candidate(search_id, number)
    finally:
        store.close()
    folder, depot = home.artifacts / record.artifact, home.depot
    if depot is not None and not (folder / WEIGHTS).is_file():
        fetch_artifact(folder, depot, record.artifact)
    model, tokenizer, _ = load_artifact(folder)
    return sample(model, tokenizer, prompt, tokens=tokens, temperature=temperature, seed=seed)
