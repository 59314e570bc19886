"""From logits to tokens, and from tokens to sequences: greedy decoding, sampling and beam search.

Dimensions: N rows that are decoded side by side, T time, V vocabulary, W beam width.

Everything here works on a *step function*, whatever the model: `step(tokens, state)` takes the newest token
of each row and the model's state, and returns the logits of what comes next and the state to go on from. A
state is a tensor or a (nested, named) tuple of tensors; in each of them the first axis is the rows.
"""

import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# ----------------------------------------------------------------------------------------- one token


def token_probabilities(
    logits: Float[Tensor, "*B V"],
    *,
    temperature: float | int = 1.0,
    top_k: int | None = None,
    top_p: float | int | None = None,
) -> Float[Tensor, "*B V"]:
    """softmax(logits / temperature), restricted to the likeliest tokens.

    `top_k` keeps so many tokens (Fan et al., 2018) and those whose logit equals the last of them. `top_p`
    keeps the fewest tokens that have this probability together (nucleus sampling; Holtzman et al., 2020),
    of what `top_k` left, if both are given. Temperature 0 is the limit: all probability on the largest
    logit (the first of equals). Raises ValueError for a temperature that is negative or not finite, for
    top_k < 1, for top_p outside of (0, 1], and for logits with nan, inf or a row of nothing but -inf.
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be 0 or more and finite, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {top_p}")
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating-point numbers, got {logits.dtype}")
    largest = logits.amax(-1, keepdim=True)
    if not largest.isfinite().all():  # nan and inf are larger than all others
        raise ValueError("logits must have a finite largest value in each row, got nan, inf or only -inf")
    if temperature == 0:
        return torch.zeros_like(logits).scatter(-1, logits.argmax(-1, keepdim=True), 1.0)
    if top_k is not None and top_k < logits.shape[-1]:
        smallest_kept = logits.topk(top_k, -1).values[..., -1:]
        logits = logits.masked_fill(logits < smallest_kept, -torch.inf)
    # Shifting before dividing keeps small temperatures finite; softmax doesn't notice a shift.
    probabilities = ((logits - largest) / temperature).softmax(-1)
    if top_p is None or top_p == 1:  # 1 keeps the rarest too, which a rounded sum would leave out
        return probabilities
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    likelier = ordered.cumsum(-1) - ordered  # what the tokens before each have together: 0 for the first
    left_out = (likelier > 0) & (likelier >= top_p)  # never the first, however small top_p is
    kept = probabilities.masked_fill(left_out.gather(-1, order.argsort(-1)), 0.0)
    return kept / kept.sum(-1, keepdim=True)


def sample(
    logits: Float[Tensor, "B V"],
    *,
    temperature: float | int = 1.0,
    top_k: int | None = None,
    top_p: float | int | None = None,
    generator: torch.Generator | None = None,
) -> Int[Tensor, " B"]:
    """One token for each row of `logits`, drawn with `token_probabilities`."""
    probabilities = token_probabilities(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    if temperature == 0:
        return probabilities.argmax(-1)  # nothing is left to chance, and nothing drawn from a generator
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0]


# -------------------------------------------------------------------------------------- one sequence

State = TypeVar("State")


@runtime_checkable
class Step(Protocol[State]):
    """What a model has to offer to be decoded; `Seq2Seq.step` is one."""

    def __call__(self, tokens: Int[Tensor, " N"], state: State, /) -> tuple[Float[Tensor, "N V"], State]:
        """The logits of the tokens after `tokens`, and the state to go on from."""


class Decoded(NamedTuple):
    """What was written in each row: tokens, and the logarithm of their probability under the model.

    A row that has ended is filled up with the end token, and that doesn't count.
    """

    tokens: Int[Tensor, "N T"]
    log_probability: Float[Tensor, " N"]


@torch.no_grad()
def sample_sequences(
    step: Step[State],
    state: State,
    *,
    start: Int[Tensor, " N"],
    end: int,
    max_length: int,
    generator: torch.Generator | None = None,
    temperature: float | int = 1.0,
    top_k: int | None = None,
    top_p: float | int | None = None,
) -> Decoded:
    """Draw token after token, each given all before it, until every row has written `end`.

    `start` is each row's first token, which is read and not written. No row gets longer than `max_length`;
    one that reaches it has no end token. `log_probability` is the model's, whatever the temperature. Raises
    ValueError for a max_length below 1, and as `token_probabilities` does.
    """
    _check_length(max_length)
    tokens, written = start, []
    log_probability = torch.zeros(len(start))
    going = torch.ones(len(start), dtype=torch.bool)
    for _ in range(max_length):
        logits, state = step(tokens, state)
        drawn = sample(logits, temperature=temperature, top_k=top_k, top_p=top_p, generator=generator)
        tokens = torch.where(going, drawn, end)
        gained = logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]
        log_probability = log_probability + torch.where(going, gained, 0.0)
        written.append(tokens)
        going = going & (tokens != end)
        if not going.any():
            break
    return Decoded(torch.stack(written, 1), log_probability)


def greedy(
    step: Step[State], state: State, *, start: Int[Tensor, " N"], end: int, max_length: int
) -> Decoded:
    """The likeliest token at every step, as `sample_sequences` with temperature 0 takes it."""
    return sample_sequences(step, state, start=start, end=end, max_length=max_length, temperature=0.0)


class Hypothesis(NamedTuple):
    """One sequence that a beam search found.

    `tokens` end with the end token if they are `finished`; `log_probability` is that of all of them, and
    `score` the same divided by a power of their number.
    """

    tokens: tuple[int, ...]
    log_probability: float
    score: float
    finished: bool


class BeamStep(NamedTuple):
    """What was looked at in one step of a beam search: the W likeliest of all continuations.

    Of each: its tokens so far (the newest comes last), the row of the beam that it continues, and its
    log-probability. All are kept; those whose newest token is the end token have left the beam.
    """

    tokens: Int[Tensor, "W t"]
    parents: Int[Tensor, " W"]
    log_probability: Float[Tensor, " W"]


class BeamSearch(NamedTuple):
    """The hypotheses of a beam search, the best score first, and the steps that led to them."""

    hypotheses: tuple[Hypothesis, ...]
    steps: tuple[BeamStep, ...]


@torch.no_grad()
def beam_search(
    step: Step[State],
    state: State,
    *,
    start: Int[Tensor, " one"],
    end: int,
    width: int,
    max_length: int,
    length_penalty: float | int = 0.0,
) -> BeamSearch:
    """Keep the `width` likeliest beginnings at every step, for one sequence (`state` has one row).

    Hypotheses are ranked by log p / length ** length_penalty: 0 ranks by probability, which prefers short
    ones, and 1 by the mean of the tokens' log-probabilities. (Wu et al., 2016, divide by ((5 + length) / 6)
    ** alpha.) A hypothesis that has ended takes up a place of the beam. What hasn't ended after
    `max_length` tokens comes after all that has, unfinished. Raises ValueError for a width or max_length
    below 1, a negative length_penalty, and more than one row.
    """
    _check_length(max_length)
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}")
    if not 0 <= length_penalty < math.inf:
        raise ValueError(f"length_penalty must be 0 or more and finite, got {length_penalty}")
    if start.shape != (1,):
        raise ValueError(f"start must hold one token, since one sequence is searched, got {len(start)}")

    def hypothesis(tokens: Tensor, log_probability: Tensor, finished: bool) -> Hypothesis:
        value = float(log_probability)
        return Hypothesis(tuple(tokens.tolist()), value, value / len(tokens) ** length_penalty, finished)

    found: list[Hypothesis] = []
    steps: list[BeamStep] = []
    newest = start
    written = start.new_empty(1, 0)  # (W, t): what each row of the beam has written
    so_far = torch.zeros(1)
    for _ in range(max_length):
        logits, state = step(newest, state)
        log_probabilities = so_far[:, None] + logits.log_softmax(-1)  # (W, V): of every continuation
        best = best_continuations(log_probabilities, width - len(found))
        written = torch.cat([written[best.parents], best.tokens[:, None]], 1)
        steps.append(BeamStep(written, best.parents, best.log_probability))
        ended = best.tokens == end
        found += [
            hypothesis(row, value, True)
            for row, value in zip(written[ended], best.log_probability[ended], strict=True)
        ]
        if ended.all():
            return BeamSearch(_ranked(found), tuple(steps))
        written, newest, so_far = written[~ended], best.tokens[~ended], best.log_probability[~ended]
        state = choose_rows(state, best.parents[~ended])
    unfinished = [hypothesis(row, value, False) for row, value in zip(written, so_far, strict=True)]
    return BeamSearch(_ranked(found) + _ranked(unfinished), tuple(steps))


class Continuations(NamedTuple):
    """Some continuations of the rows of a beam: which row, by which token, and their log-probability."""

    parents: Int[Tensor, " K"]
    tokens: Int[Tensor, " K"]
    log_probability: Float[Tensor, " K"]


def best_continuations(log_probabilities: Float[Tensor, "W V"], count: int) -> Continuations:
    """The `count` likeliest of all W * V continuations, the likeliest first; fewer where there are fewer.

    Impossible ones, with probability 0, are left out unless there is nothing else. Raises ValueError for nan.
    """
    if log_probabilities.isnan().any():
        raise ValueError("log_probabilities must be numbers, got nan")
    W, V = log_probabilities.shape
    best, places = log_probabilities.flatten().topk(min(count, W * V))  # over all rows at once
    possible: Bool[Tensor, " K"] = best > -torch.inf
    if possible.any():
        best, places = best[possible], places[possible]
    return Continuations(places // V, places % V, best)


def choose_rows(state: Any, rows: Int[Tensor, " N"]) -> Any:
    """The state of these rows, in this order; a row may come more than once."""
    if isinstance(state, Tensor):
        return state[rows]
    parts = (choose_rows(part, rows) for part in state)
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def until_end(tokens: Int[Tensor, " T"] | tuple[int, ...], end: int) -> list[int]:
    """What comes before the first end token."""
    written = [operator.index(token) for token in tokens]  # int() would cut off a fraction
    return written[: written.index(end)] if end in written else written


def _ranked(hypotheses: list[Hypothesis]) -> tuple[Hypothesis, ...]:
    score: Callable[[Hypothesis], float] = lambda hypothesis: -hypothesis.score  # noqa: E731
    return tuple(sorted(hypotheses, key=score))


def _check_length(max_length: int) -> None:
    if max_length < 1:
        raise ValueError(f"max_length must be at least 1, got {max_length}")
