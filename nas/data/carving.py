"""Evaluation splits carved from training documents, the same way on every machine."""

from collections.abc import Mapping, Sequence

from nas.data.documents import Document

HELD_OUT_SHARE = 0.1
HELD_OUT_BYTES = 4 * 1024**2  # scoring more than this costs compute and adds no precision that a search needs
_FEWEST_WHOLE = 3


def carve(documents: Sequence[Document], wanted: Sequence[str]) -> dict[str, tuple[Document, ...]]:
    """``documents`` as ``train`` and the ``wanted`` splits, each about 10% of the bytes and at most about 4 MiB.

    Whole documents are held out, chosen in the order of their content hashes; equal texts stay on one side. Where
    there are fewer than three different texts, the ends of each are held out instead, cut at a line or a word.
    """
    sizes: dict[bytes, int] = {}
    for document in documents:
        sizes[document.digest] = sizes.get(document.digest, 0) + document.size
    names = ("train", *wanted)
    if not wanted:
        return {"train": tuple(documents)}
    if len(sizes) < _FEWEST_WHOLE:
        blocks = [_blocks(document, names) for document in documents]
        return {name: tuple(block[name] for block in blocks if name in block) for name in names}
    where = _assign(sizes, wanted)
    return {name: tuple(d for d in documents if where.get(d.digest, "train") == name) for name in names}


def _assign(sizes: Mapping[bytes, int], wanted: Sequence[str]) -> dict[bytes, str]:
    """The split of each held-out text; texts that are not named stay in training."""
    target = min(HELD_OUT_SHARE * sum(sizes.values()), HELD_OUT_BYTES)
    where: dict[bytes, str] = {}
    for number, name in enumerate(wanted):
        free = [digest for digest in sorted(sizes) if digest not in where]
        spare = len(free) - (len(wanted) - number)  # one text is left for each later split and for training
        chosen = _take(free, sizes, target)[:spare] or [min(free, key=lambda digest: (sizes[digest], digest))]
        where |= dict.fromkeys(chosen, name)
    return where


def _take(free: Sequence[bytes], sizes: Mapping[bytes, int], target: float) -> list[bytes]:
    """Texts in order until ``target`` bytes are reached, passing over those that would overshoot it by half."""
    taken: list[bytes] = []
    total = 0
    for digest in free:
        if total >= target:
            break
        if total + sizes[digest] <= 1.5 * target:
            taken.append(digest)
            total += sizes[digest]
    return taken


def _blocks(document: Document, names: Sequence[str]) -> dict[str, Document]:
    """Contiguous blocks of one document: training first, then the held-out ones; empty blocks are left out."""
    data = document.text.encode()
    held = int(min(HELD_OUT_SHARE * len(data), HELD_OUT_BYTES))
    starts = [0] + [_cut(data, len(data) - held * left, max(1, held // 2)) for left in range(len(names) - 1, 0, -1)]
    ends = [*starts[1:], len(data)]
    pieces = {name: data[start:end].decode() for name, start, end in zip(names, starts, ends, strict=True)}
    return {name: Document(f"{document.name}#{name}", text) for name, text in pieces.items() if text}


def _cut(data: bytes, position: int, reach: int) -> int:
    """The first line end, else the first space, within ``reach`` bytes; else the next border of a character."""
    for mark in (b"\n", b" "):
        found = data.find(mark, position, position + reach)
        if found >= 0:
            return found + 1
    while position < len(data) and data[position] & 0xC0 == 0x80:
        position += 1
    return position
