"""From logits to tokens: temperature and top-k."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor


def token_probabilities(
    logits: Float[Tensor, "*B V"], *, temperature: float = 1.0, top_k: int | None = None
) -> Float[Tensor, "*B V"]:
    """softmax(logits / temperature), restricted to the `top_k` likeliest tokens (Fan et al., 2018).

    Temperature 0 is the limit: all probability on the largest logit (the first of equals). Tokens whose
    logit equals the k-th largest stay in. Raises ValueError for a temperature that is negative or not
    finite, and for top_k < 1.
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be 0 or more and finite, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    if temperature == 0:
        return torch.zeros_like(logits).scatter(-1, logits.argmax(-1, keepdim=True), 1.0)
    if top_k is not None and top_k < logits.shape[-1]:
        smallest_kept = logits.topk(top_k, -1).values[..., -1:]
        logits = logits.masked_fill(logits < smallest_kept, -torch.inf)
    # Shifting before dividing keeps small temperatures finite; softmax doesn't notice a shift.
    return ((logits - logits.amax(-1, keepdim=True)) / temperature).softmax(-1)


def sample(
    logits: Float[Tensor, "B V"],
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
) -> Int[Tensor, " B"]:
    """One token for each row of `logits`, drawn with `token_probabilities`."""
    probabilities = token_probabilities(logits, temperature=temperature, top_k=top_k)
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0]
