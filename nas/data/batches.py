"""Training batches as a pure function of seed and position: resuming needs a number, not a state."""

import numpy as np
import numpy.typing as npt

from nas.errors import CorpusError, SpecError

_EPOCHS_KEPT = 2  # a batch spans at most two epochs, unless epochs are shorter than batches


class Batches:
    """Sequences of ``context`` + 1 tokens, shuffled anew in each epoch.

    Sequence i belongs to epoch i // sequences_per_epoch. An epoch cuts the shard into windows that start at
    ``offset + k * context``; the offset and the order of the windows are drawn from (seed, epoch). Neighbouring windows
    share one token, which is a target in one and an input in the other: no target occurs twice in an epoch. Up to
    ``context`` tokens at either end are left out, others in each epoch.

    Args:
        shard_tokens: token ids, shape (tokens,); may be a memory map.
        context: tokens that a model reads.
        seed: at least 0.

    Raises `CorpusError` when the shard is shorter than one window.
    """

    def __init__(self, shard_tokens: npt.NDArray[np.uint16], context: int, seed: int) -> None:
        for name, value, least in (("context", context, 1), ("seed", seed, 0)):
            if value < least:
                raise SpecError(name, f"must be at least {least}", value)
        found, least = len(shard_tokens), context + 1
        if found < least:
            raise CorpusError(f"training text must be at least {least} tokens (context {context} + 1), found {found}")
        self.context = context
        self.seed = seed
        # As many windows as fit behind every offset, so that all epochs are equally long.
        self.sequences_per_epoch = max(1, (found - context) // context)
        self._tokens = shard_tokens
        self._epochs: dict[int, npt.NDArray[np.int64]] = {}

    def sequence(self, index: int) -> npt.NDArray[np.int64]:
        """The sequence at a position, counted over all epochs; shape (context + 1,)."""
        start = self._starts(index // self.sequences_per_epoch)[index % self.sequences_per_epoch]
        return np.array(self._tokens[start : start + self.context + 1], dtype=np.int64)

    def batch(self, first: int, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Inputs and targets of the sequences ``first`` to ``first + count - 1``; each of shape (count, context)."""
        sequences = np.stack([self.sequence(index) for index in range(first, first + count)])
        return np.ascontiguousarray(sequences[:, :-1]), np.ascontiguousarray(sequences[:, 1:])

    def _starts(self, epoch: int) -> npt.NDArray[np.int64]:
        """Where the windows of an epoch start, in the order in which they are read."""
        if epoch not in self._epochs:
            random = np.random.Generator(np.random.PCG64(np.random.SeedSequence((self.seed, epoch))))
            offsets = min(self.context, len(self._tokens) - self.sequences_per_epoch * self.context)
            offset = random.integers(offsets)
            while len(self._epochs) >= _EPOCHS_KEPT:
                del self._epochs[next(iter(self._epochs))]
            self._epochs[epoch] = offset + self.context * random.permutation(self.sequences_per_epoch)
        return self._epochs[epoch]
