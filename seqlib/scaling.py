"""Why dot products are divided by sqrt(d_k): what random queries and keys make of softmax and its gradient.

Dimensions: N draws, S keys of each, K = d_k numbers in each key.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from seqlib.attention import dot_scores, scaled_dot_scores
from seqlib.rnn import check_sizes


class RandomAttention(NamedTuple):
    """One query's scores and weights in each of N draws.

    `gradient` is the Frobenius norm of dw/dscores (`softmax_jacobian`): how much of a gradient gets through
    the softmax. It is 0 where one weight is 1.
    """

    scores: Float[Tensor, "N S"]
    weights: Float[Tensor, "N S"]
    gradient: Float[Tensor, " N"]


def random_attention(
    d_k: int, *, scaled: bool, keys: int, generator: torch.Generator, draws: int = 512
) -> RandomAttention:
    """Random queries look at random keys: all their entries are independent and standard normal.

    A score is then a sum of d_k products, each with mean 0 and variance 1, so it has variance d_k; divided
    by sqrt(d_k) it has variance 1 (Vaswani et al., 2017, section 3.2.1). Raises ValueError for sizes below 1.
    """
    check_sizes(d_k=d_k, keys=keys, draws=draws)
    # One number of every vector at a time: with the same seed, longer vectors begin as shorter ones do.
    drawn = torch.stack([torch.randn(draws, 1 + keys, generator=generator) for _ in range(d_k)], -1)
    score = scaled_dot_scores if scaled else dot_scores
    scores = score(drawn[:, :1], drawn[:, 1:])[:, 0]  # from (N, 1, K) and (N, S, K)
    weights = scores.softmax(-1)
    return RandomAttention(scores, weights, softmax_jacobian(weights).norm(dim=(-2, -1)))


def softmax_jacobian(weights: Float[Tensor, "*B S"]) -> Float[Tensor, "*B S S"]:
    """dw_i/dscore_j = w_i (1 if i = j else 0) - w_i w_j of w = softmax(scores)."""
    return weights.diag_embed() - weights[..., :, None] * weights[..., None, :]
