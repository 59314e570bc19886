"""Exercises of the chapter on recurrent networks.

Dimensions: B batch, T time, E input features, H hidden, V vocabulary, D embedding. Batch first; rows are
vectors, so a state is multiplied from its right: h @ W_hh.
"""

from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from seqlib.checks.exercise import Exercise

# ------------------------------------------------------------------------------------- one step


def _rnn_step(x: Tensor, h: Tensor, W_xh: Tensor, W_hh: Tensor, b: Tensor) -> Tensor:
    """The next state: x (B, E), h (B, H), W_xh (E, H), W_hh (H, H), b (H) -> (B, H)"""
    return torch.tanh(x @ W_xh + h @ W_hh + b)


def _step_inputs(g: Generator) -> tuple[Tensor, ...]:
    B, E, H = 3, 5, 7
    return _normal(g, B, E), _normal(g, B, H), *_weights(g, E, H)


rnn_step = Exercise(
    reference=_rnn_step,
    inputs=_step_inputs,
    letters="B H",
    mistakes={
        "The tanh is missing: the state is only a linear map of the past.": lambda x, h, W_xh, W_hh, b: (
            x @ W_xh + h @ W_hh + b
        ),
        "The squashing function is the sigmoid; this exercise asks for tanh.": lambda x, h, W_xh, W_hh, b: (
            torch.sigmoid(x @ W_xh + h @ W_hh + b)
        ),
        "W_hh is transposed: h is a row, so it is h @ W_hh.": lambda x, h, W_xh, W_hh, b: torch.tanh(
            x @ W_xh + h @ W_hh.T + b
        ),
        "The bias b is missing.": lambda x, h, W_xh, W_hh, b: torch.tanh(x @ W_xh + h @ W_hh),
        "The bias is added after the tanh; it belongs inside.": lambda x, h, W_xh, W_hh, b: (
            torch.tanh(x @ W_xh + h @ W_hh) + b
        ),
        "The old state h has no effect: nothing is remembered.": lambda x, h, W_xh, W_hh, b: torch.tanh(
            x @ W_xh + b
        ),
        "The input x has no effect: nothing is read.": lambda x, h, W_xh, W_hh, b: torch.tanh(h @ W_hh + b),
        "The tanh is taken of each part before they are added; it belongs around the whole sum.": (
            lambda x, h, W_xh, W_hh, b: torch.tanh(x @ W_xh) + torch.tanh(h @ W_hh) + b
        ),
        "The old state is added as it is, around W_hh.": lambda x, h, W_xh, W_hh, b: torch.tanh(
            x @ W_xh + h + b
        ),
    },
    hints=(
        "The new state depends on two things: what is read now (x) and what was kept (h).",
        "Each of them passes through its own matrix. x has a row for each sequence, so it is x @ W_xh.",
        "Add both products and the bias, and squash the sum with torch.tanh.",
    ),
    look="Compare your line with h_t = tanh(x_t W_xh + h_(t-1) W_hh + b), term by term.",
)


# ------------------------------------------------------------------------------------ all steps


def _unroll(x: Tensor, h0: Tensor, W_xh: Tensor, W_hh: Tensor, b: Tensor) -> Tensor:
    """All states h_1 ... h_T of a batch of sequences: x (B, T, E), h0 (B, H) -> (B, T, H)"""
    h = h0
    states = []
    for x_t in x.unbind(1):  # T times (B, E)
        h = torch.tanh(x_t @ W_xh + h @ W_hh + b)
        states.append(h)
    return torch.stack(states, 1)


def _sequence_inputs(g: Generator) -> tuple[Tensor, ...]:
    B, T, E, H = 3, 5, 2, 7
    return _normal(g, B, T, E), _normal(g, B, H), *_weights(g, E, H)


unroll = Exercise(
    reference=_unroll,
    inputs=_sequence_inputs,
    letters="B T H",
    mistakes={
        "Only the last state comes back; all T of them are asked for.": lambda *a: _unroll(*a)[:, -1],
        "The states are one step late: h_0 to h_(T-1) instead of h_1 to h_T. "
        "Keep the state after the step, not before it.": lambda x, h0, *w: torch.cat(
            [h0[:, None], _unroll(x, h0, *w)[:, :-1]], 1
        ),
        "h_0 is among the states; only the T new ones are asked for.": lambda x, h0, *w: torch.cat(
            [h0[:, None], _unroll(x, h0, *w)], 1
        ),
        "The state starts from zeros; h0 has no effect.": lambda x, h0, *w: _unroll(
            x, torch.zeros_like(h0), *w
        ),
        "Every step starts from h0 again: the new state isn't carried to the next step.": (
            lambda x, h0, W_xh, W_hh, b: torch.tanh(x @ W_xh + (h0 @ W_hh)[:, None] + b)
        ),
        "Time comes first in the result, (T, B, H). Stack the states along axis 1.": lambda *a: _unroll(
            *a
        ).transpose(0, 1),
        "The sequence is read from its end to its beginning.": lambda x, *rest: _unroll(x.flip(1), *rest),
        "Only the first B steps are made: len(x) is the number of sequences, x.shape[1] that of steps.": (
            lambda x, *rest: _unroll(x[:, : len(x)], *rest)
        ),
        "The loop runs over the batch: `for x_t in x` goes along axis 0, and time is axis 1.": (
            lambda x, h0, W_xh, W_hh, b: torch.stack([torch.tanh(one @ W_xh + h0 @ W_hh + b) for one in x])
        ),
    },
    hints=(
        "It is a loop over time that makes rnn_step T times. What has to go from one round to the next?",
        "x.unbind(1) gives the T slices x_t (B, E). Start with h = h0, and replace h in every round.",
        "Collect every new h in a list, and torch.stack it along axis 1.",
    ),
    look="Write out T = 2 by hand: h_1 from x[:, 0] and h0, then h_2 from x[:, 1] and h_1.",
)


# ----------------------------------------------------------------------------------------- loss


def _next_char_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    """Mean cross-entropy of the next token: logits (B, T, V), tokens (B, T+1) -> ()

    logits[:, t] was computed from tokens[:, : t + 1], and is to predict what follows them.
    """
    targets = tokens[:, 1:]  # (B, T): the input, one step later
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def _log_probabilities(logits: Tensor, tokens: Tensor) -> Tensor:
    return logits.log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]  # (B, T)


def _loss_inputs(g: Generator) -> tuple[Tensor, Tensor]:
    B, T, V = 3, 5, 7
    return (2 * _normal(g, B, T, V)).requires_grad_(), torch.randint(V, (B, T + 1), generator=g)


next_char_loss = Exercise(
    reference=_next_char_loss,
    inputs=_loss_inputs,
    gradient=True,
    mistakes={
        "The model is asked for the character that it has just read: the targets are tokens[:, 1:].": (
            lambda logits, tokens: F.cross_entropy(logits.flatten(0, 1), tokens[:, :-1].flatten())
        ),
        "It is the sum over all characters; the mean is asked for.": lambda logits, tokens: (
            -_log_probabilities(logits, tokens).sum()
        ),
        "It is the mean over the batch of sums over time; take the mean over both.": lambda logits, tokens: (
            -_log_probabilities(logits, tokens).sum(1).mean()
        ),
        "The softmax is taken twice: cross_entropy wants logits and makes its own softmax.": (
            lambda logits, tokens: F.cross_entropy(logits.softmax(-1).flatten(0, 1), tokens[:, 1:].flatten())
        ),
        "It is in bits: the logarithm has base 2, and the natural one is asked for.": lambda logits, tokens: (
            -_log_probabilities(logits, tokens).mean() / torch.tensor(2.0).log()
        ),
        "The sign is missing: log-probabilities are negative, and the loss is what they lack.": (
            lambda logits, tokens: _log_probabilities(logits, tokens).mean()
        ),
        "The logarithm is missing: it is the mean probability.": lambda logits, tokens: (
            _log_probabilities(logits, tokens).exp().mean()
        ),
        "The logits themselves are averaged; they still have to become log-probabilities.": (
            lambda logits, tokens: -logits.gather(-1, tokens[:, 1:, None]).mean()
        ),
        "The classes have to be on axis 1 for cross_entropy, or on the last axis of a table with two: "
        "flatten batch and time into one axis first.": lambda logits, tokens: F.cross_entropy(
            logits, tokens[:, 1:]
        ),
    },
    hints=(
        "Which token should logits[:, 0] predict? It has seen tokens[:, 0].",
        "The targets are tokens[:, 1:], of the same shape (B, T) as the logits without their last axis.",
        "torch.nn.functional.cross_entropy takes logits (N, V) and targets (N): N is batch and time in one.",
    ),
    look="Take B = T = 1 and compute -log softmax(logits)[target] by hand.",
)


# ------------------------------------------------------------------------------------- sampling


def _sample_with_temperature(logits: Tensor, temperature: float, generator: Generator) -> Tensor:
    """One token for each row, drawn with softmax(logits / temperature): logits (B, V) -> (B)"""
    p = torch.softmax(logits / temperature, -1)
    return torch.multinomial(p, 1, generator=generator)[:, 0]


SAMPLE_GROUPS, SAMPLE_ROWS, SAMPLE_TOKENS = 3, 2000, 5


def _sample_inputs(g: Generator, temperature: float) -> tuple[Tensor, float, Generator]:
    """A few rows of logits, each many times over: as many draws from the same distribution."""
    spread = torch.linspace(0, 2.8, SAMPLE_TOKENS)
    rows = [spread[torch.randperm(SAMPLE_TOKENS, generator=g)] for _ in range(SAMPLE_GROUPS)]
    return torch.stack(rows).repeat_interleave(SAMPLE_ROWS, 0), temperature, g


def _frequencies(tokens: Tensor, args: tuple[Any, ...]) -> dict[str, Tensor]:
    one_hot = F.one_hot(tokens.clamp(0, SAMPLE_TOKENS - 1), SAMPLE_TOKENS)  # (B, V)
    return {"the share of each token": one_hot.unflatten(0, (SAMPLE_GROUPS, SAMPLE_ROWS)).double().mean(1)}


def _draw(p: Tensor, generator: Generator) -> Tensor:
    return torch.multinomial(p, 1, generator=generator)[:, 0]


sample_with_temperature = Exercise(
    reference=_sample_with_temperature,
    inputs=(lambda g: _sample_inputs(g, 0.5), lambda g: _sample_inputs(g, 2.0)),
    observe=_frequencies,
    tolerance=0.06,  # and as much relative: five standard deviations of the difference of two shares
    letters="B",
    mistakes={
        "The likeliest token is taken every time; draw from the distribution instead.": (
            lambda logits, temperature, generator: logits.argmax(-1)
        ),
        "The logits are multiplied by the temperature; divide by it. High temperature means a flat "
        "distribution.": lambda logits, temperature, generator: _draw(
            torch.softmax(logits * temperature, -1), generator
        ),
        "The temperature has no effect. Is it missing? Or does it divide the probabilities, where it cancels "
        "out as they are normalised? It has to divide the logits, before the softmax.": (
            lambda logits, temperature, generator: _draw(torch.softmax(logits, -1) / temperature, generator)
        ),
        "There are two softmaxes: the temperature divides the logits, not the probabilities.": (
            lambda logits, temperature, generator: _draw(
                torch.softmax(torch.softmax(logits, -1) / temperature, -1), generator
            )
        ),
        "All tokens are equally likely: the logits have no effect.": lambda logits, temperature, generator: (
            _draw(torch.ones_like(logits), generator)
        ),
        "The least likely tokens are the most frequent: a sign is wrong.": (
            lambda logits, temperature, generator: _draw(torch.softmax(-logits / temperature, -1), generator)
        ),
    },
    hints=(
        "Divide the logits by the temperature first. What does that do to their differences?",
        "Turn the result into probabilities with torch.softmax(..., -1), one distribution for each row.",
        "torch.multinomial(p, 1, generator=generator) draws one token from each row, as (B, 1).",
    ),
    look="Try temperature 1: the shares should be softmax(logits).",
)


# ------------------------------------------------------------------------------------ embedding


def _embed(tokens: Tensor, E: Tensor) -> Tensor:
    """The row of each token, the same as one_hot(tokens) @ E: tokens (B, T), E (V, D) -> (B, T, D)"""
    return E[tokens]


def _embed_inputs(g: Generator) -> tuple[Tensor, Tensor]:
    B, T, V, D = 3, 5, 7, 11
    return torch.randperm(B * T, generator=g).reshape(B, T) % V, _normal(g, V, D)  # every token occurs


embed = Exercise(
    reference=_embed,
    inputs=_embed_inputs,
    letters="B T D",
    mistakes={
        "The table is transposed: a token's vector is a row of E, not a column.": lambda tokens, E: E.T[
            tokens
        ],
        "This is the one-hot code itself; it still has to be multiplied with E.": lambda tokens, E: F.one_hot(
            tokens, len(E)
        ).to(E.dtype),
        "The vectors are summed over time; each step keeps its own.": lambda tokens, E: E[tokens].sum(1),
        "The tokens are counted from 1; they start at 0, and token 0 has row 0.": lambda tokens, E: E[
            tokens - 1
        ],
        "There is a row too many: tokens go from 0 to V-1, as the rows do.": lambda tokens, E: E[tokens + 1],
        "The number of the token is multiplied with a vector. It is a name and no quantity: token 6 isn't "
        "three times token 2.": lambda tokens, E: tokens[..., None] * E[0],
        "The tokens' numbers are multiplied with the table; it is their one-hot codes (B, T, V) that fit.": (
            lambda tokens, E: tokens.to(E.dtype) @ E
        ),
        "one_hot gives integers. A product needs the dtype of E: one_hot(...).to(E.dtype).": (
            lambda tokens, E: F.one_hot(tokens, len(E)) @ E
        ),
    },
    hints=(
        "What does a one-hot row times a matrix pick out of the matrix?",
        "It picks row number `token`. A tensor of indices in square brackets does that for all at once.",
        "E[tokens] has the shape of tokens, with the row's D numbers behind it.",
    ),
    look="Compare with torch.nn.functional.one_hot(tokens, V).float() @ E.",
)


def _normal(g: Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=g)


def _weights(g: Generator, E: int, H: int) -> tuple[Tensor, Tensor, Tensor]:
    """W_xh (E, H), W_hh (H, H), b (H), of a size that keeps tanh from saturating."""
    return _normal(g, E, H) / E**0.5, _normal(g, H, H) / H**0.5, _normal(g, H) / 2
