"""Scaling rules: what a law expects of a loss, which candidate the rules alone choose for a budget (the dial), and how
how one is carried to another budget.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from nas.candidate import Architecture, Candidate
from nas.cost import forward_flops
from nas.plan import step_flops
from nas.space import Knobs, Space, mlp_width

# Hoffmann et al., arXiv 2203.15556, section 3.3 (approach 3): L(N, D) = E + A / N^alpha + B / D^beta.
_A, _ALPHA, _B, _BETA = 406.4, 0.34, 410.7, 0.28
BYTES_PER_LAW_TOKEN = 4.0  # the law's tokens are of a 32k vocabulary: about 4 bytes of English
ASPECT = 24  # width / depth that rules aim at; small models like to be deeper for their width than large ones
EXPONENT = _BETA / (_ALPHA + _BETA)  # of the best N in compute, 0.45
WIDEST, DEEPEST = 8, 3  # times the width and the depth of a candidate that scaling looks at


def law_excess(matrix_params: float, train_bytes: float) -> float:
    """Predicted loss above the irreducible one (nats per token of the law); smaller is better."""
    return float(_A * matrix_params**-_ALPHA + _B * (train_bytes / BYTES_PER_LAW_TOKEN) ** -_BETA)


def dial(
    space: Space, flops: int, bytes_per_token: Callable[[int], float], admits: Callable[[Candidate], bool]
) -> Knobs | None:
    """Knobs that scaling rules choose for ``flops``, the other knobs at the space's defaults.

    Over widths and vocabularies, with the depth nearest to width / 24, the least `law_excess` among the candidates
    that ``admits`` lets pass; ``None`` if it lets none pass.
    """
    depths = [int(depth) for depth in space.values("depth")]
    best: tuple[float, Knobs] | None = None
    for knobs in space.grid("depth", "width", "vocabulary"):
        candidate = space.decode(knobs)
        own = candidate.architecture
        if own.depth != _rule_depth(own.width, depths) or not admits(candidate):
            continue
        excess = expected_excess(candidate, flops, bytes_per_token)
        if best is None or excess < best[0]:
            best = (excess, knobs)
    return best[1] if best else None


def _rule_depth(width: int, depths: Sequence[int]) -> int:
    """The depth that comes nearest to the aspect that rules aim at."""
    return min(depths, key=lambda depth: abs(math.log(depth * ASPECT / width)))


def expected_excess(candidate: Candidate, flops: int, bytes_per_token: Callable[[int], float]) -> float:
    """`law_excess` of a run of ``flops``."""
    return law_excess(*_law_inputs(candidate, flops, bytes_per_token(candidate.architecture.vocabulary)))


def _law_inputs(candidate: Candidate, flops: int, bytes_per_token: float) -> tuple[float, float]:
    """(parameters in matrix products, training bytes) of a run of ``flops``."""
    forward = forward_flops(candidate.architecture)
    tokens = flops / step_flops(candidate) * candidate.recipe.batch_tokens
    return forward / (2 * candidate.architecture.context), tokens * bytes_per_token


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
