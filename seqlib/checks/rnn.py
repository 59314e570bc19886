"""Exercises of the chapter on recurrent networks.

Dimensions: B batch, T time, E input features (or those of an embedding), H hidden, V vocabulary. Batch first;
rows are vectors, so a state is multiplied from its right: h @ W_hh.
"""

from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from seqlib.checks.exercise import Exercise, Function

# ------------------------------------------------------------------------------------- one step


def _rnn_step(x: Tensor, h: Tensor, W_xh: Tensor, W_hh: Tensor, b: Tensor) -> Tensor:
    """The next state: x (B, E), h (B, H), W_xh (E, H), W_hh (H, H), b (H) -> (B, H)"""
    return torch.tanh(x @ W_xh + h @ W_hh + b)


def _step_inputs(g: Generator) -> tuple[Tensor, ...]:
    B, E, H = 3, 5, 7
    return _normal(g, B, E), _normal(g, B, H), *_weights(g, E, H)


def _step_with(combined: Function, finish: Function = torch.tanh) -> Function:
    """A step with another rule for what the tanh is taken of, or for what is done with it."""

    def function(x: Tensor, h: Tensor, W_xh: Tensor, W_hh: Tensor, b: Tensor) -> Tensor:
        step: Tensor = finish(combined(x, h, W_xh, W_hh, b))
        return step

    return function


def _sum_of_parts(part_x: Function, part_h: Function) -> Function:
    """A step that is a sum of two parts, each a rule for (vectors, their matrix, b)."""
    return lambda x, h, W_xh, W_hh, b: part_x(x, W_xh, b) + part_h(h, W_hh, b)


rnn_step = Exercise(
    reference=_rnn_step,
    inputs=_step_inputs,
    letters="B H",
    mistakes={
        "The tanh is missing: the new state is only a linear function of x and h.": _step_with(
            lambda x, h, W_xh, W_hh, b: x @ W_xh + h @ W_hh + b, lambda a: a
        ),
        "The squashing function is the sigmoid; this exercise asks for tanh.": _step_with(
            lambda x, h, W_xh, W_hh, b: x @ W_xh + h @ W_hh + b, torch.sigmoid
        ),
        "It squashes with a ReLU; this exercise asks for tanh.": _step_with(
            lambda x, h, W_xh, W_hh, b: x @ W_xh + h @ W_hh + b, torch.relu
        ),
        "W_hh is transposed: h has a row for each sequence, so it is h @ W_hh. F.linear and nn.Linear "
        "transpose their matrix, @ doesn't.": _step_with(
            lambda x, h, W_xh, W_hh, b: x @ W_xh + h @ W_hh.T + b
        ),
        "W_xh is transposed: it has shape (E, H), so it is x @ W_xh. F.linear and nn.Linear transpose their "
        "matrix, @ doesn't.": _step_with(lambda x, h, W_xh, W_hh, b: x @ W_xh.T + h @ W_hh + b),
        "W_xh stands on the left of x. In the equation vectors are columns; here x has a row for each "
        "sequence, so it is x @ W_xh.": _step_with(lambda x, h, W_xh, W_hh, b: W_xh @ x + h @ W_hh + b),
        "W_hh stands on the left of h. In the equation vectors are columns; here h has a row for each "
        "sequence, so it is h @ W_hh.": _step_with(lambda x, h, W_xh, W_hh, b: x @ W_xh + W_hh @ h + b),
        "Here the vectors are columns, and b and the result have rows. x has a row for each sequence, so it "
        "is x @ W_xh, without transposing anything.": _step_with(
            lambda x, h, W_xh, W_hh, b: W_xh.T @ x.T + W_hh.T @ h.T + b
        ),
        "x and h have changed places: W_xh goes with x, and W_hh with h.": _step_with(
            lambda x, h, W_xh, W_hh, b: h @ W_xh + x @ W_hh + b
        ),
        "* multiplies element by element; the product of matrices is @.": _step_with(
            lambda x, h, W_xh, W_hh, b: x * W_xh + h * W_hh + b
        ),
        "x and h are joined in one order and their matrices in the other: h meets rows of W_xh. "
        "Join both as x, h and W_xh, W_hh.": _step_with(
            lambda x, h, W_xh, W_hh, b: torch.cat([h, x], 1) @ torch.cat([W_xh, W_hh]) + b
        ),
        "The bias b is missing.": _step_with(lambda x, h, W_xh, W_hh, b: x @ W_xh + h @ W_hh),
        "The bias b is there twice, once with each product; the sum needs it once.": _step_with(
            lambda x, h, W_xh, W_hh, b: x @ W_xh + b + h @ W_hh + b
        ),
        "The bias is added after the tanh; it belongs inside, before the sum is squashed.": (
            lambda x, h, W_xh, W_hh, b: torch.tanh(x @ W_xh + h @ W_hh) + b
        ),
        "The old state h has no effect: nothing is remembered.": _step_with(
            lambda x, h, W_xh, W_hh, b: x @ W_xh + b
        ),
        "The input x has no effect: nothing is read.": _step_with(lambda x, h, W_xh, W_hh, b: h @ W_hh + b),
        "There are two tanhs, one for each product, and the bias outside. Add first; one tanh belongs "
        "around the whole sum.": _sum_of_parts(
            lambda x, W, b: torch.tanh(x @ W), lambda h, W, b: torch.tanh(h @ W) + b
        ),
        "There are two tanhs, x @ W_xh + b in one of them and h @ W_hh in the other. Add first; one tanh "
        "belongs around the whole sum.": _sum_of_parts(
            lambda x, W, b: torch.tanh(x @ W + b), lambda h, W, b: torch.tanh(h @ W)
        ),
        "There are two tanhs, x @ W_xh in one of them and h @ W_hh + b in the other. Add first; one tanh "
        "belongs around the whole sum.": _sum_of_parts(
            lambda x, W, b: torch.tanh(x @ W), lambda h, W, b: torch.tanh(h @ W + b)
        ),
        "The tanh ends before h @ W_hh is added; put the whole sum inside its parentheses.": _sum_of_parts(
            lambda x, W, b: torch.tanh(x @ W + b), lambda h, W, b: h @ W
        ),
        "The tanh is taken of x @ W_xh only; put the whole sum inside its parentheses.": _sum_of_parts(
            lambda x, W, b: torch.tanh(x @ W), lambda h, W, b: h @ W + b
        ),
        "The tanh is taken of h's part only; put the whole sum inside its parentheses.": _sum_of_parts(
            lambda x, W, b: x @ W, lambda h, W, b: torch.tanh(h @ W + b)
        ),
        "h is added as it is; it has to be multiplied with W_hh first.": _step_with(
            lambda x, h, W_xh, W_hh, b: x @ W_xh + h + b
        ),
        "The old state is added to the result. The new state replaces the old one, which acts through "
        "h @ W_hh alone.": lambda x, h, W_xh, W_hh, b: h + torch.tanh(x @ W_xh + h @ W_hh + b),
    },
    hints=(
        "The new state depends on two things: what is read now (x) and what was kept (h).",
        "Each of them is multiplied with its own matrix. x has a row for each sequence, so it is x @ W_xh.",
        "Add both products and the bias, and squash the sum with torch.tanh.",
    ),
    look="Compare your line with tanh(x @ W_xh + h @ W_hh + b), term by term: x and h have rows as vectors.",
)


# ------------------------------------------------------------------------------------ all steps


def _unroll(x: Tensor, h_0: Tensor, W_xh: Tensor, W_hh: Tensor, b: Tensor) -> Tensor:
    """All states h_1 ... h_T of a batch of sequences: x (B, T, E), h_0 (B, H) -> (B, T, H)"""
    h = h_0
    states = []
    for x_t in x.unbind(1):  # T times (B, E)
        h = torch.tanh(x_t @ W_xh + h @ W_hh + b)
        states.append(h)
    return torch.stack(states, 1)


def _sequence_inputs(g: Generator) -> tuple[Tensor, ...]:
    B, T, E, H = 3, 5, 2, 7
    args = _normal(g, B, T, E), _normal(g, B, H), *_weights(g, E, H)
    return tuple(_with_graph(arg) for arg in args)


def _states_and_gradients(states: Tensor, args: tuple[Tensor, ...]) -> dict[str, Tensor]:
    gradients = torch.autograd.grad(states.sum(), args, materialize_grads=True)
    names = "x", "h_0", "W_xh", "W_hh", "b"
    return {"the result": states} | {
        f"the gradient of the result's sum by {name}": gradient
        for name, gradient in zip(names, gradients, strict=True)
    }


def _detached_between_steps(x: Tensor, h_0: Tensor, W_xh: Tensor, W_hh: Tensor, b: Tensor) -> Tensor:
    h, states = h_0, []
    for x_t in x.unbind(1):
        states.append(torch.tanh(x_t @ W_xh + h @ W_hh + b))
        h = states[-1].detach()
    return torch.stack(states, 1)


def _joined(*args: Tensor) -> Tensor:
    """The states as they come out of the loop, one below the other: (T * B, H)"""
    return _unroll(*args).transpose(0, 1).flatten(0, 1)


unroll = Exercise(
    reference=_unroll,
    inputs=_sequence_inputs,
    observe=_states_and_gradients,
    tolerance=1e-4,
    letters="B T H",
    gradient=True,
    mistakes={
        "The state is detached between the steps. The numbers are right, but no gradient can flow back "
        "through time: each step would learn as if it were the first. Hand h on as it is.": (
            _detached_between_steps
        ),
        "Already h_0 is detached, so no gradient reaches it. Start with h = h_0.": lambda x, h_0, *w: _unroll(
            x, h_0.detach(), *w
        ),
        "Only the last state comes back; all T of them are asked for.": lambda *a: _unroll(*a)[:, -1],
        "The states are one step late: h_0 to h_(T-1) instead of h_1 to h_T. "
        "Keep the state after the step, not before it.": lambda x, h_0, *w: torch.cat(
            [h_0[:, None], _unroll(x, h_0, *w)[:, :-1]], 1
        ),
        "h_0 is among the states; only the T new ones are asked for.": lambda x, h_0, *w: torch.cat(
            [h_0[:, None], _unroll(x, h_0, *w)], 1
        ),
        "The loop ends one step early: the last state is missing. range(T) goes up to T-1 by itself.": (
            lambda *a: _unroll(*a)[:, :-1]
        ),
        "The loop leaves out the first input, x[:, 0]: indices start at 0.": lambda x, *rest: _unroll(
            x[:, 1:], *rest
        ),
        "The state starts from zeros; h_0 has no effect.": lambda x, h_0, *w: _unroll(
            x, torch.zeros_like(h_0), *w
        ),
        "Every step starts from h_0 again: the new state isn't carried to the next step.": (
            lambda x, h_0, W_xh, W_hh, b: torch.tanh(x @ W_xh + (h_0 @ W_hh)[:, None] + b)
        ),
        "Every step reads the same input, x[:, 0]; step t reads x[:, t].": lambda x, *rest: _unroll(
            x[:, :1].expand_as(x), *rest
        ),
        "Time comes first in the result, (T, B, H). Stack the states along axis 1.": lambda *a: _unroll(
            *a
        ).transpose(0, 1),
        "Time comes last in the result, (B, H, T). Stack the states along axis 1.": lambda *a: _unroll(*a).mT,
        "The states of different sequences are mixed up: view and reshape cut the numbers anew and move no "
        "axis. torch.stack(states, 1) puts time where it belongs.": (
            lambda x, h_0, *w: _joined(x, h_0, *w).view(len(x), x.shape[1], h_0.shape[1])
        ),
        "torch.cat joins the states along an axis that is there already. torch.stack makes a new one, for "
        "time.": _joined,
        "torch.cat lays the states side by side, (B, T * H). torch.stack makes a new axis, for time.": (
            lambda *a: _unroll(*a).flatten(1)
        ),
        "The sequence is read from its end to its beginning.": lambda x, *rest: _unroll(x.flip(1), *rest),
        "Only the first B steps are made: len(x) is the number of sequences, x.shape[1] that of steps.": (
            lambda x, *rest: _unroll(x[:, : len(x)], *rest)
        ),
        "The loop runs over the batch: `for x_t in x` and x[t] go along axis 0, and time is axis 1.": (
            lambda x, h_0, W_xh, W_hh, b: torch.stack([torch.tanh(one @ W_xh + h_0 @ W_hh + b) for one in x])
        ),
        "W_hh is transposed: h has a row for each sequence, so it is h @ W_hh.": (
            lambda x, h_0, W_xh, W_hh, b: _unroll(x, h_0, W_xh, W_hh.T, b)
        ),
    },
    hints=(
        "It is a loop over time that makes rnn_step T times. What has to go from one round to the next?",
        "x.unbind(1) gives the T slices x_t (B, E). Start with h = h_0, and replace h in every round.",
        "Collect every new h in a list, and torch.stack it along axis 1.",
    ),
    look="Write out T = 2 by hand: h_1 from x[:, 0] and h_0, then h_2 from x[:, 1] and h_1.",
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


def _mean_loss(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def _loss_inputs(g: Generator) -> tuple[Tensor, Tensor]:
    B, T, V = 3, 5, 7
    return _with_graph(2 * _normal(g, B, T, V)), torch.randint(V, (B, T + 1), generator=g)


next_char_loss = Exercise(
    reference=_next_char_loss,
    inputs=_loss_inputs,
    gradient=True,
    mistakes={
        "The model is asked for the character that it has just read: the targets are tokens[:, 1:].": (
            lambda logits, tokens: _mean_loss(logits, tokens[:, :-1])
        ),
        "The targets are shifted twice: logits[:, t] is compared with the character two steps on. "
        "Only the tokens are shifted, tokens[:, 1:]; the logits stay whole.": (
            lambda logits, tokens: _mean_loss(logits[:, :-1], tokens[:, 2:])
        ),
        "The last prediction is left out: the logits need no shifting. There are T of them, "
        "and T targets in tokens[:, 1:].": lambda logits, tokens: _mean_loss(logits[:, :-1], tokens[:, 1:-1]),
        "The first prediction is left out: the logits need no shifting. There are T of them, "
        "and T targets in tokens[:, 1:].": lambda logits, tokens: _mean_loss(logits[:, 1:], tokens[:, 2:]),
        "The logits are shifted, and not the tokens: logits[:, t] is compared with the character that was "
        "read at t. It is the other way round: all logits, and tokens[:, 1:].": (
            lambda logits, tokens: _mean_loss(logits[:, 1:], tokens[:, 1:-1])
        ),
        "The logits are shortened as well as the tokens, so there are fewer predictions than targets. "
        "Use all T logits with tokens[:, 1:].": (
            lambda logits, tokens: _mean_loss(logits[:, :-1], tokens[:, 1:])
        ),
        "There is one token too many: the first one is read, but never predicted. "
        "The targets are tokens[:, 1:].": lambda logits, tokens: _mean_loss(logits, tokens),
        "Only the last step's prediction counts; the mean is over all T steps.": (
            lambda logits, tokens: F.cross_entropy(logits[:, -1], tokens[:, -1])
        ),
        "It is the sum over all characters; the mean is asked for.": lambda logits, tokens: (
            -_log_probabilities(logits, tokens).sum()
        ),
        "It is the mean over the batch of sums over time; take the mean over both.": lambda logits, tokens: (
            -_log_probabilities(logits, tokens).sum(1).mean()
        ),
        "It is the mean over time of sums over the batch; take the mean over both.": lambda logits, tokens: (
            -_log_probabilities(logits, tokens).sum(0).mean()
        ),
        "It is one loss for each prediction (reduction='none'); their mean is asked for.": (
            lambda logits, tokens: -_log_probabilities(logits, tokens).flatten()
        ),
        "The softmax is taken twice: cross_entropy wants logits and makes its own softmax.": (
            lambda logits, tokens: _mean_loss(logits.softmax(-1), tokens[:, 1:])
        ),
        "The softmax runs over axis 1, which is time. The tokens are on the last axis: softmax(-1).": (
            lambda logits, tokens: -logits.log_softmax(1).gather(-1, tokens[:, 1:, None]).mean()
        ),
        "It is in bits: the logarithm has base 2, and the natural one is asked for.": lambda logits, tokens: (
            -_log_probabilities(logits, tokens).mean() / torch.tensor(2.0).log()
        ),
        "The sign is missing: the loss is minus the mean log-probability.": (
            lambda logits, tokens: _log_probabilities(logits, tokens).mean()
        ),
        "The logarithm is missing: it is the mean probability.": lambda logits, tokens: (
            _log_probabilities(logits, tokens).exp().mean()
        ),
        "The logarithm is missing: it is minus the mean probability. If you use nll_loss: in spite of its "
        "name it takes no logarithm, and wants log_softmax(-1).": lambda logits, tokens: (
            -_log_probabilities(logits, tokens).exp().mean()
        ),
        "It is the logarithm of the mean probability; the mean of the logarithms is asked for.": (
            lambda logits, tokens: -_log_probabilities(logits, tokens).exp().mean().log()
        ),
        "The logits themselves are averaged; they have to become log-probabilities first. nll_loss doesn't "
        "do that, cross_entropy does.": lambda logits, tokens: -logits.gather(-1, tokens[:, 1:, None]).mean(),
        "reshape and view don't swap axes: they cut the same numbers anew, so that scores of different steps "
        "are mixed. To get (B, V, T) write logits.transpose(1, 2).": lambda logits, tokens: F.cross_entropy(
            logits.reshape(len(logits), logits.shape[2], -1), tokens[:, 1:]
        ),
        "cross_entropy takes axis 1 for that of the tokens, and here it is time. Flatten batch and time into "
        "one axis first, in the logits and in the targets.": lambda logits, tokens: F.cross_entropy(
            logits, tokens[:, 1:]
        ),
        "The logits are flattened and the targets aren't: flatten both, so that each row of logits has its "
        "target.": lambda logits, tokens: F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:]),
        "tokens[:, 1:] is a part of a larger tensor, and view can't make one axis of its two. "
        "flatten() and reshape(-1) can.": lambda logits, tokens: F.cross_entropy(
            logits.flatten(0, 1), tokens[:, 1:].view(-1)
        ),
    },
    hints=(
        "Which token should logits[:, 0] predict? It has seen tokens[:, 0].",
        "The targets are tokens[:, 1:], of the same shape (B, T) as the logits without their last axis.",
        "torch.nn.functional.cross_entropy takes logits (N, V) and targets (N): N is batch and time in one.",
    ),
    look="By hand: take log_softmax(-1), from it the number at each target, and minus the mean of these.",
)


# ------------------------------------------------------------------------------------- sampling


def _sample_with_temperature(logits: Tensor, temperature: float, generator: Generator) -> Tensor:
    """One token for each row, drawn with softmax(logits / temperature): logits (B, V) -> (B)"""
    p = torch.softmax(logits / temperature, -1)
    return torch.multinomial(p, 1, generator=generator)[:, 0]


SAMPLE_GROUPS, SAMPLE_ROWS, SAMPLE_TOKENS = 3, 2000, 5


def _sample_inputs(g: Generator, temperature: float, *, rows: int = SAMPLE_ROWS) -> tuple[Any, ...]:
    """A few rows of logits, each many times over: as many draws from the same distribution."""
    spread = torch.linspace(-1.4, 1.4, SAMPLE_TOKENS)
    logits = [spread[torch.randperm(SAMPLE_TOKENS, generator=g)] for _ in range(SAMPLE_GROUPS)]
    return torch.stack(logits).repeat_interleave(rows, 0), temperature, g


def _one_row(g: Generator) -> tuple[Any, ...]:
    logits, *rest = _sample_inputs(g, 1.3, rows=1)
    return logits[:1], *rest


def _frequencies(tokens: Tensor, args: tuple[Any, ...]) -> dict[str, Tensor]:
    if len(args[0]) == 1:
        return {}  # one draw says nothing about shares
    one_hot = F.one_hot(tokens.clamp(0, SAMPLE_TOKENS - 1), SAMPLE_TOKENS)  # (B, V)
    return {"the share of each token": one_hot.unflatten(0, (SAMPLE_GROUPS, SAMPLE_ROWS)).double().mean(1)}


def _draw(p: Tensor, generator: Generator) -> Tensor:
    return torch.multinomial(p, 1, generator=generator)[:, 0]


sample_with_temperature = Exercise(
    reference=_sample_with_temperature,
    inputs=(lambda g: _sample_inputs(g, 0.5), lambda g: _sample_inputs(g, 2.0), _one_row),
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
        "The temperature has no effect. Is it missing? Or does it divide the probabilities? There it "
        "cancels out, as multinomial makes them add up to 1 again. It has to divide the logits, before the "
        "softmax.": lambda logits, temperature, generator: _draw(
            torch.softmax(logits, -1) / temperature, generator
        ),
        "There are two softmaxes. One is enough: of the logits divided by the temperature.": (
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
        "The softmax runs over axis 0, the batch. Each row is a distribution of its own: softmax(..., -1).": (
            lambda logits, temperature, generator: _draw(torch.softmax(logits / temperature, 0), generator)
        ),
        "All tokens are drawn from the first row's distribution; each row has its own.": (
            lambda logits, temperature, generator: torch.multinomial(
                torch.softmax(logits[0] / temperature, -1), len(logits), replacement=True, generator=generator
            )
        ),
        "torch.multinomial wants probabilities, and logits or logarithms, which may be negative, are none. "
        "Take the softmax first.": lambda logits, temperature, generator: _draw(
            logits / temperature, generator
        ),
        "There is an axis too many: multinomial draws one token from each row, as (B, 1). [:, 0] makes (B) "
        "of it.": lambda logits, temperature, generator: _sample_with_temperature(
            logits, temperature, generator
        )[:, None],
        "squeeze() removes every axis of size 1, and where B = 1 that of the batch as well. "
        "Name the axis: squeeze(-1) or [:, 0].": lambda logits, temperature, generator: (
            _sample_with_temperature(logits, temperature, generator).squeeze()
        ),
        "item() makes one number of a tensor, and here there is a token for each of B rows. Return the "
        "tensor (B).": lambda logits, temperature, generator: _sample_with_temperature(
            logits, temperature, generator
        ).item(),
        "The generator has to be named, generator=generator: what comes third in multinomial is something "
        "else.": lambda logits, temperature, generator: torch.multinomial(
            torch.softmax(logits / temperature, -1),
            1,
            generator,
        ),
    },
    hints=(
        "Divide the logits by the temperature first. What does that do to their differences?",
        "Turn the result into probabilities with torch.softmax(..., -1), one distribution for each row.",
        "torch.multinomial(p, 1, generator=generator) draws one token from each row, as (B, 1).",
    ),
    look="The shares should be softmax(logits / temperature), row by row. Try temperature 1 first.",
)


# ------------------------------------------------------------------------------------ embedding


def _embed(tokens: Tensor, W: Tensor) -> Tensor:
    """The row of each token, the same as one_hot(tokens) @ W: tokens (B, T), W (V, E) -> (B, T, E)"""
    return W[tokens]


def _embed_inputs(g: Generator, used: int) -> tuple[Tensor, Tensor]:
    """Tokens among the first `used` of the vocabulary, each of which occurs."""
    B, T, V, E = 3, 5, 7, 11
    return torch.randperm(B * T, generator=g).reshape(B, T) % used, _normal(g, V, E)


embed = Exercise(
    reference=_embed,
    inputs=(lambda g: _embed_inputs(g, 7), lambda g: _embed_inputs(g, 6)),
    letters="B T E",
    mistakes={
        "The table is transposed: a token's vector is a row of W, not a column.": lambda tokens, W: W.T[
            tokens
        ],
        "The tokens pick columns of W, as its second index. A token's vector is a row: the first index.": (
            lambda tokens, W: W[:, tokens]
        ),
        "This is the one-hot code itself; it still has to be multiplied with W.": lambda tokens, W: F.one_hot(
            tokens, len(W)
        ).to(W.dtype),
        "The vectors are summed over time; each step keeps its own.": lambda tokens, W: W[tokens].sum(1),
        "The tokens are counted from 1; they start at 0, and token 0 has row 0.": lambda tokens, W: W[
            tokens - 1
        ],
        "The rows are counted from 1; they start at 0, as the tokens do, and token 0 has row 0.": (
            lambda tokens, W: W[tokens + 1]
        ),
        "The number of the token is multiplied with a vector. It is a name and no quantity: token 6 isn't "
        "three times token 2.": lambda tokens, W: tokens[..., None] * W[0],
        "The tokens' numbers are multiplied with the table; it is their one-hot codes (B, T, V) that fit.": (
            lambda tokens, W: tokens.to(W.dtype) @ W
        ),
        "one_hot gives integers. A product needs the dtype of W: one_hot(...).to(W.dtype).": (
            lambda tokens, W: F.one_hot(tokens, len(W)) @ W
        ),
        "F.embedding takes the tokens first and the table second.": lambda tokens, W: F.embedding(W, tokens),
        "Without the number of classes, one_hot makes only as many as the largest token here needs. "
        "W has V rows: F.one_hot(tokens, len(W)).": lambda tokens, W: F.one_hot(tokens).to(W.dtype) @ W,
    },
    hints=(
        "What does a one-hot row times a matrix pick out of the matrix?",
        "It picks row number `token`. A tensor of indices in square brackets does that for all at once.",
        "W[tokens] has the shape of tokens, with the row's E numbers behind it.",
    ),
    look="Compare with torch.nn.functional.one_hot(tokens, len(W)).float() @ W.",
)


def _normal(g: Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=g)


def _weights(g: Generator, E: int, H: int) -> tuple[Tensor, Tensor, Tensor]:
    """W_xh (E, H), W_hh (H, H), b (H), of a size that keeps tanh from saturating."""
    return _normal(g, E, H) / E**0.5, _normal(g, H, H) / H**0.5, _normal(g, H) / 2


def _with_graph(tensor: Tensor) -> Tensor:
    """The same numbers, with gradients. Not a leaf, which can't be changed in place: that is to be found."""
    return tensor.requires_grad_().clone()
