"""A trained candidate on disk: weights, tokenizer and the candidate itself."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from nas.candidate import Candidate
from nas.data.depot import Depot
from nas.data.storage import atomic_file
from nas.data.tokenizer import Tokenizer, load_tokenizer
from nas.errors import NotFoundError
from nas.train.decode import Decoder
from nas.train.model import Transformer

WEIGHTS, CANDIDATE, TOKENIZER = "weights.safetensors", "candidate.json", "tokenizer.json"


def save_artifact(folder: Path, model: Transformer, tokenizer: Tokenizer, candidate: Candidate) -> None:
    """Writes the three files, each atomically, the weights last."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    tokenizer.save(folder)
    with atomic_file(folder / CANDIDATE) as file:
        file.write(json.dumps(candidate.to_dict(), indent=2).encode())
    with atomic_file(folder / WEIGHTS) as file:
        file.write(save(tensors))


FILES = (TOKENIZER, CANDIDATE, WEIGHTS)


def publish_artifact(folder: Path, depot: Depot, name: str) -> None:
    """Copies what `save_artifact` wrote to where other machines find it, the weights last."""
    for file in FILES:
        depot.publish(folder / file, f"{name}/{file}")


def fetch_artifact(folder: Path, depot: Depot, name: str) -> None:
    """The other way round; nothing where the depot has none."""
    for file in FILES:
        depot.fetch(f"{name}/{file}", folder / file)


def load_artifact(folder: Path) -> tuple[Transformer, Tokenizer, Candidate]:
    """What `save_artifact` wrote; raises `NotFoundError` if the weights are not there."""
    if not (folder / WEIGHTS).is_file():
        raise NotFoundError(f"no trained weights in {folder}")
    candidate = Candidate.from_dict(json.loads((folder / CANDIDATE).read_text()))
    model = Transformer(candidate.architecture)
    model.load_state_dict(load_file(folder / WEIGHTS))
    return model.eval(), load_tokenizer(folder), candidate


@torch.no_grad()
def generate(
    model: Transformer, tokenizer: Tokenizer, prompt: str, *, tokens: int, temperature: float, seed: int
) -> str:
    """The prompt continued by sampled tokens, to the document's end or ``tokens`` of them.

    ``temperature`` 0 takes the likeliest token. The context slides: the model sees the last tokens that fit.
    """
    generator = torch.Generator().manual_seed(seed)
    context = model.architecture.context
    ids = [0, *tokenizer.encode(prompt).tolist()]
    start = len(ids)
    decoder = Decoder(model)
    unread = ids[-context:]
    for _ in range(tokens):
        if decoder.full:  # positions would have to turn anew
            logits = model.logits(torch.tensor([ids[-context:]]))[0, -1]
        else:
            logits = decoder.read(torch.tensor(unread))
        if temperature > 0:
            following = int(torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator))
        else:
            following = int(logits.argmax())
        if following == 0:
            break
        ids.append(following)
        unread = [following]
    return prompt + tokenizer.decode(ids[start:])
