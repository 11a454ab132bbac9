"""Scaling rules: what a law expects of a loss, which candidate the rules alone choose for a budget (the dial), and how
one is carried to another budget.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from nas.candidate import Architecture, Candidate
from nas.cost import forward_flops
from nas.plan import TextFacts, step_flops
from nas.space import Knobs, Space, mlp_width

# The form is the third approach of Tao et al., arXiv 2407.13623: what embeddings hold counts for itself, since at small
# scale they are most of a model. Alpha is that of Hoffmann et al., arXiv 2203.15556; the others were fitted to runs of
# 0.4 to 10 TFLOP on the shipped corpus (benchmarks.law), with beta set so that a run of 1e18 FLOPs gets about 20
# tokens for each parameter, as Hoffmann et al. found.
A, ALPHA, B, BETA, C, GAMMA = 3.48, 0.34, 313.0, 0.49, 136.0, 0.593
REPEATS = 15.4
"""How often a text can be repeated until it teaches little more (Muennighoff et al., arXiv 2305.16264: R_D*)."""
ASPECT = 24  # width / depth that rules aim at; small models like to be deeper for their width than large ones
EXPONENT = 0.45  # of the best size in compute, head and layers together; by the law 0.42 from 2.5 to 40 TFLOP
WIDEST, DEEPEST = 8, 3  # times the width and the depth of a candidate that scaling looks at

Facts = Callable[[int, int], TextFacts]
"""Of a text, as a vocabulary and a context see it."""


def law_excess(layer_params: float, head_params: float, train_bytes: float) -> float:
    """Expected loss above the least possible, A / N^alpha + B / D^beta + C / H^gamma (bits per byte).

    Args:
        layer_params: N, of the layers, attention's products of activations with them.
        head_params: H, vocabulary times width.
        train_bytes: D, of text that was not seen before.
    """
    return float(A * layer_params**-ALPHA + B * train_bytes**-BETA + C * head_params**-GAMMA)


def fresh_bytes(train_bytes: float, epochs: float) -> float:
    """Bytes of new text that teach what ``epochs`` over ``train_bytes`` do (arXiv 2305.16264: D')."""
    if epochs <= 1:
        return train_bytes * epochs
    return train_bytes * (1 + REPEATS * (1 - math.exp(-(epochs - 1) / REPEATS)))


def law_inputs(candidate: Candidate, flops: int, facts: Facts) -> tuple[float, float, float]:
    """What `law_excess` asks of a run of ``flops``."""
    own = candidate.architecture
    text = facts(own.vocabulary, own.context)
    tokens = flops / step_flops(candidate) * candidate.recipe.batch_tokens
    head = float(own.vocabulary * own.width)
    read = fresh_bytes(text.train_tokens * text.bytes_per_token, tokens / text.train_tokens)
    return _matrix_params(own) - head, head, read


def expected_excess(candidate: Candidate, flops: int, facts: Facts) -> float:
    """`law_excess` of a run of ``flops``."""
    return law_excess(*law_inputs(candidate, flops, facts))


def dial(space: Space, flops: int, facts: Facts, admits: Callable[[Candidate], bool]) -> Knobs | None:
    """Knobs that scaling rules choose for ``flops``, the other knobs at the space's defaults.

    Over widths and vocabularies, with the depth nearest to width / 24, the least `expected_excess` among the candidates
    that ``admits`` lets pass; ``None`` if it lets none pass.
    """
    depths = [int(depth) for depth in space.values("depth")]
    best: tuple[float, Knobs] | None = None
    for knobs in space.grid("depth", "width", "vocabulary"):
        candidate = space.decode(knobs)
        own = candidate.architecture
        if own.depth != _rule_depth(own.width, depths) or not admits(candidate):
            continue
        excess = expected_excess(candidate, flops, facts)
        if best is None or excess < best[0]:
            best = (excess, knobs)
    return best[1] if best else None


def _rule_depth(width: int, depths: Sequence[int]) -> int:
    """The depth that comes nearest to the aspect that rules aim at."""
    return min(depths, key=lambda depth: abs(math.log(depth * ASPECT / width)))


def largest(space: Space, admits: Callable[[Candidate], bool]) -> Knobs | None:
    """Knobs of the candidate with the most forward FLOPs that ``admits`` lets pass, or ``None``."""
    names = ("depth", "width", "vocabulary", "mlp_ratio")
    decoded = [(space.decode(knobs), knobs) for knobs in space.grid(*names)]
    decoded.sort(key=lambda pair: -forward_flops(pair[0].architecture))
    return next((knobs for candidate, knobs in decoded if admits(candidate)), None)


def scale(candidate: Candidate, old_flops: int, new_flops: int, admits: Callable[[Candidate], bool]) -> Candidate:
    """The candidate carried to another budget: matrix parameters grow as compute^0.45, batch as tokens^0.38.

    Width grows in whole heads and depth with it, ratios, vocabulary, context and multipliers of rates stay. Of the
    shapes that ``admits`` lets pass, the one nearest to the rule; the candidate itself if none is nearer.
    """
    ratio = new_flops / old_flops
    target = _matrix_params(candidate.architecture) * ratio**EXPONENT
    recipe = replace(candidate.recipe, batch_tokens=_scaled_batch(candidate, ratio))

    def distance(architecture: Architecture) -> float:
        """From the rule's size, with a little weight on keeping width / depth as it was."""
        old = candidate.architecture
        aspect = math.log(architecture.width / architecture.depth * old.depth / old.width)
        return abs(math.log(_matrix_params(architecture) / target)) + 0.1 * abs(aspect)

    own = distance(candidate.architecture)
    nearer = [shape for shape in _shapes(candidate.architecture) if distance(shape) < own]
    scaled = (Candidate(shape, recipe) for shape in sorted(nearer, key=distance))
    return next((other for other in scaled if admits(other)), candidate)


def _shapes(architecture: Architecture) -> Iterator[Architecture]:
    """The architecture at other sizes: whole groups of heads, its width per head and MLP ratio kept.

    None for an architecture with deviations, whose layers have no counterpart at another depth.
    """
    if architecture.deviations:
        return
    heads, width = architecture.heads, architecture.width
    step = math.lcm(heads // architecture.kv_heads, heads // math.gcd(heads, width))  # keeps both ratios whole
    for scaled in range(step, WIDEST * heads + 1, step):
        shared = replace(
            architecture,
            width=width * scaled // heads,
            heads=scaled,
            kv_heads=architecture.kv_heads * scaled // heads,
            mlp_width=mlp_width(width * scaled // heads, architecture.mlp_width / width),
        )
        for depth in range(max(1, architecture.depth // 2), DEEPEST * architecture.depth + 1):
            yield replace(shared, depth=depth)


def _matrix_params(architecture: Architecture) -> float:
    return forward_flops(architecture) / (2 * architecture.context)


def _scaled_batch(candidate: Candidate, ratio: float) -> int:
    """Batch tokens grow with (training tokens)^0.383 (Bergsma et al., arXiv 2505.13738), tokens as C^0.55."""
    context = candidate.architecture.context
    grown = float(candidate.recipe.batch_tokens * ratio ** ((1 - EXPONENT) * 0.383))
    return max(1, round(grown / context)) * context
