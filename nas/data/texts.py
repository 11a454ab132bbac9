"""A corpus as candidates see it: tokenizers, token files and evaluation sets by vocabulary and context, made once."""

from functools import cache
from pathlib import Path

from nas.data.corpora import Corpus
from nas.data.depot import Depot
from nas.data.evaluation import RUNG_BYTES, EvaluationSet, evaluation_set
from nas.data.shards import TokenShard, open_shard
from nas.data.tokenizer import Tokenizer, train_tokenizer
from nas.plan import TextFacts


class Texts:
    """Everything under one cache folder, shared by all processes that search on this corpus.

    With a depot, what is missing in the cache comes from there, or is made once and published for other machines.

    Errors: those of `train_tokenizer` and `open_shard`.
    """

    def __init__(self, corpus: Corpus, folder: Path, depot: Depot | None = None) -> None:
        self.corpus, self.folder, self.depot = corpus, folder, depot
        self.tokenizer = cache(self._tokenizer)
        self.shard = cache(self._shard)
        self.facts = cache(self._facts)

    def _tokenizer(self, vocabulary: int) -> Tokenizer:
        return train_tokenizer(self.corpus, vocabulary, self.folder, self.depot)

    def _shard(self, split: str, vocabulary: int) -> TokenShard:
        return open_shard(self.corpus, split, self.tokenizer(vocabulary), self.folder, self.depot)

    def bytes_per_token(self, vocabulary: int) -> float:
        """Mean length of a token of the training text."""
        return self.shard("train", vocabulary).bytes_per_token

    def evaluation(self, split: str, vocabulary: int, context: int, *, rung: bool = False) -> EvaluationSet:
        """All of a split, or with ``rung`` the fixed subset that rungs use."""
        shard, limit = self.shard(split, vocabulary), RUNG_BYTES if rung else None
        return evaluation_set(shard, self.tokenizer(vocabulary), context, limit_bytes=limit)

    def _facts(self, vocabulary: int, context: int) -> TextFacts:
        """Sizes for `nas.plan`."""
        train = self.shard("train", vocabulary)
        rung = self.evaluation("validation", vocabulary, context, rung=True)
        full = self.evaluation("validation", vocabulary, context)
        test = self.evaluation("test", vocabulary, context)
        return TextFacts(
            bytes_per_token=train.bytes_per_token,
            train_tokens=len(train.tokens),
            rung_windows=len(rung.inputs),
            rung_tokens=rung.scored_tokens,
            full_windows=len(full.inputs),
            full_tokens=full.scored_tokens,
            test_windows=len(test.inputs),
            test_tokens=test.scored_tokens,
        )
