"""Exercises of the chapter on the probability of a sequence.

Dimensions: T time, V vocabulary, C contexts. An answer that is one number may be a float or a tensor.
"""

import math
from typing import Any

import torch
from torch import Generator, Tensor

from seqlib.checks.exercise import Exercise, Function


def _as_tensor(result: Any, args: tuple[Any, ...]) -> Tensor:
    """A float and a tensor of one number look the same, and NaN is compared like any other number."""
    return torch.as_tensor(result, dtype=torch.float64).squeeze()


# -------------------------------------------------------------------------- log-probability of a sequence


def _sequence_log_prob(p_first: Tensor, p_next: Tensor, tokens: Tensor) -> float:
    """log p(tokens), natural logarithm: p_first (V), p_next (V, V), tokens (T) -> one number

    p_first[i] is the probability that the first token is i, p_next[i, j] that j follows i.
    """
    before, after = tokens[:-1], tokens[1:]  # (T-1) each: the pairs of neighbours
    return float(p_first[tokens[0]].log() + p_next[before, after].log().sum())


def _chain_inputs(g: Generator, V: int, T: int) -> tuple[Tensor, ...]:
    p_first = torch.randn(V, generator=g, dtype=torch.float64).softmax(-1)
    p_next = torch.randn(V, V, generator=g, dtype=torch.float64).softmax(-1)
    return p_first, p_next, torch.randint(V, (T,), generator=g)


def _factors(p_first: Tensor, p_next: Tensor, x: Tensor) -> Tensor:
    """p(x_1), p(x_2 | x_1), ..., p(x_T | x_(T-1)): (T)"""
    return torch.cat([p_first[x[:1]], p_next[x[:-1], x[1:]]])


def _of_factors(rule: Function) -> Function:
    """The right factors, put together by another rule."""
    return lambda p_first, p_next, x: float(rule(_factors(p_first, p_next, x)))


def _logs_of(*parts: Function) -> Function:
    """The right rule, for other factors: those that each of the parts gives."""
    return lambda p_first, p_next, x: float(sum(part(p_first, p_next, x).log().sum() for part in parts))


def _first(p_first: Tensor, p_next: Tensor, x: Tensor) -> Tensor:
    return p_first[x[0]]


sequence_log_prob = Exercise(
    reference=_sequence_log_prob,
    inputs=(lambda g: _chain_inputs(g, 5, 7), lambda g: _chain_inputs(g, 11, 2003)),
    observe=_as_tensor,
    mistakes={
        "The probabilities are multiplied first. Of a long sequence the product is too small for a float and "
        "becomes 0, so its logarithm is -inf. Take the logarithms first, and add them.": _of_factors(
            lambda p: p.prod().log()
        ),
        "The probabilities are multiplied first. Of a long sequence the product is too small for a float and "
        "becomes 0, which has no logarithm in Python. Take the logarithms first, and add them.": _of_factors(
            lambda p: math.log(p.prod())
        ),
        "The logarithm is missing: it is the probability itself, which for a long sequence is too small for "
        "a float.": _of_factors(torch.prod),
        "The first token is forgotten: its factor is p_first[tokens[0]].": _logs_of(
            lambda p_first, p_next, x: p_next[x[:-1], x[1:]]
        ),
        "The first token's factor is added as it is. It needs a logarithm like all others.": (
            lambda p_first, p_next, x: float(p_first[x[0]] + p_next[x[:-1], x[1:]].log().sum())
        ),
        "p_next is transposed: its row is the token now, its column the next one, so it is "
        "p_next[now, next].": _logs_of(_first, lambda p_first, p_next, x: p_next[x[1:], x[:-1]]),
        "Each token is paired with itself: p_next[now, next] needs two neighbours, tokens[t-1] and "
        "tokens[t].": _logs_of(_first, lambda p_first, p_next, x: p_next[x[1:], x[1:]]),
        "Each token but the last is paired with itself: p_next[now, next] needs two neighbours, tokens[t] "
        "and tokens[t+1].": _logs_of(_first, lambda p_first, p_next, x: p_next[x[:-1], x[:-1]]),
        "Every token is paired with itself, the first one too: p_next[now, next] needs two neighbours, of "
        "which there are T-1 pairs.": _logs_of(_first, lambda p_first, p_next, x: p_next[x, x]),
        "The pairs are two steps apart. Each token depends on the one just before it: tokens[:-1] and "
        "tokens[1:].": _logs_of(_first, lambda p_first, p_next, x: p_next[x[:-2], x[2:]]),
        "The last token is left out: there are T-1 pairs of neighbours. range(1, T) goes up to T-1 by "
        "itself.": _logs_of(_first, lambda p_first, p_next, x: p_next[x[:-2], x[1:-1]]),
        "The second token is left out: the pairs of neighbours begin with tokens[0] and tokens[1].": _logs_of(
            _first, lambda p_first, p_next, x: p_next[x[1:-1], x[2:]]
        ),
        "There is one pair too many: the last token is taken for the one before the first. tokens[-1] is the "
        "end of the sequence; begin at t = 1.": _logs_of(
            _first, lambda p_first, p_next, x: p_next[x.roll(1), x]
        ),
        "The first token's factor is taken from p_next, with the last token before it: tokens[-1] is the end "
        "of the sequence. It is p_first[tokens[0]].": _logs_of(
            lambda p_first, p_next, x: p_next[x.roll(1), x]
        ),
        "p_first goes with the last token; it belongs to the first one, tokens[0].": _logs_of(
            lambda p_first, p_next, x: p_first[x[-1]], lambda p_first, p_next, x: p_next[x[:-1], x[1:]]
        ),
        "p_first is used at every step, as if no token depended on the one before it. From the second token "
        "on it is p_next.": _logs_of(lambda p_first, p_next, x: p_first[x]),
        "p_first is used at every step in addition to p_next. It is for the first token only.": _logs_of(
            lambda p_first, p_next, x: p_first[x], lambda p_first, p_next, x: p_next[x[:-1], x[1:]]
        ),
        "All of p_first is added up; only the entry of the first token counts, p_first[tokens[0]].": _logs_of(
            lambda p_first, p_next, x: p_first, lambda p_first, p_next, x: p_next[x[:-1], x[1:]]
        ),
        "The probabilities are added; their logarithms should be.": _of_factors(torch.sum),
        "It is the logarithm of a sum of probabilities. Take the logarithm of each, and then the sum.": (
            _of_factors(lambda p: p.sum().log())
        ),
        "The logarithms are multiplied. A product of probabilities is a sum of logarithms.": _of_factors(
            lambda p: p.log().prod()
        ),
        "It is in bits: the logarithm has base 2, and the natural one is asked for.": _of_factors(
            lambda p: p.log2().sum()
        ),
        "The logarithm has base 10, and the natural one is asked for.": _of_factors(
            lambda p: p.log10().sum()
        ),
        "The sign is wrong: the logarithm of a probability is never positive. Without the minus it is "
        "right.": _of_factors(lambda p: -p.log().sum()),
        "It is the mean over the tokens; the sum is asked for.": _of_factors(lambda p: p.log().mean()),
        "It is minus the mean, the cross-entropy; the sum is asked for, without the minus.": _of_factors(
            lambda p: -p.log().mean()
        ),
        "Only the last token's factor is there. Add the logarithms of all T factors.": _of_factors(
            lambda p: p[-1].log()
        ),
        "Only the first token's factor is there. Add the logarithms of all T factors.": _of_factors(
            lambda p: p[0].log()
        ),
        "It is one logarithm for each token; their sum is asked for.": lambda p_first, p_next, x: _factors(
            p_first, p_next, x
        ).log(),
        "These are the sums up to each token (cumsum); only the last one is asked for.": (
            lambda p_first, p_next, x: _factors(p_first, p_next, x).log().cumsum(0)
        ),
        "A softmax is taken of what are probabilities already. They only need a logarithm.": (
            lambda p_first, p_next, x: _logs_of(_factors)(p_first.softmax(-1), p_next.softmax(-1), x)
        ),
        "Each token is paired with every other: p_next[a][:, b] takes all rows with all columns. "
        "p_next[a, b] takes one entry for each pair.": lambda p_first, p_next, x: float(
            p_first[x[0]].log() + p_next.log()[x[:-1]][:, x[1:]].sum()
        ),
    },
    hints=(
        "By the chain rule p(tokens) is a product: one factor for the first token, and one for each token "
        "given the one before it.",
        "The logarithm of a product is the sum of the logarithms. A sum never becomes too small, a product "
        "of 2,000 probabilities does.",
        "p_next[tokens[:-1], tokens[1:]] has the T-1 factors of the pairs. Add up their logarithms and that "
        "of p_first[tokens[0]].",
    ),
    look="Write out T = 2 by hand: log p_first[tokens[0]] + log p_next[tokens[0], tokens[1]].",
)


# ------------------------------------------------------------------------ design matrix of an autoregression


def _ar_design_matrix(series: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """X (T - order, order) and y (T - order) for forecasts from the `order` values before: series (T)

    Row X[n] has the values just before y[n], the latest first.
    """
    T = len(series)
    columns = [series[order - lag : T - lag] for lag in range(1, order + 1)]  # (T - order) each
    return torch.stack(columns, 1), series[order:]


def _series_inputs(g: Generator, T: int, order: int) -> tuple[Tensor, int]:
    return torch.randn(T, generator=g), order


def _matrix_and_targets(result: Any, args: tuple[Any, ...]) -> dict[str, Tensor]:
    X, y = result
    return {"the matrix X": X, "the vector y": y}


def _from_windows(rule: Function, more: int = 1) -> Function:
    """X and y as another rule finds them in the windows of order + more values, oldest value first."""
    return lambda series, order: rule(series.unfold(0, order + more, 1))


def _changed(rule: Function) -> Function:
    """What another rule makes of the right X and y."""
    return lambda series, order: rule(*_ar_design_matrix(series, order))


def _rolled(series: Tensor, order: int) -> Tensor:
    """The values before each of the T, where the end of the series stands before its beginning: (T, order)"""
    return torch.stack([series.roll(lag) for lag in range(1, order + 1)], 1)


def _padded(series: Tensor, order: int) -> Tensor:
    """The values before each of the T, where zeros stand before the beginning: (T, order)"""
    return torch.cat([series.new_zeros(order), series[:-1]]).unfold(0, order, 1).flip(1)


ar_design_matrix = Exercise(
    reference=_ar_design_matrix,
    inputs=(
        lambda g: _series_inputs(g, 13, 2),
        lambda g: _series_inputs(g, 17, 5),
        lambda g: _series_inputs(g, 7, 1),
    ),
    observe=_matrix_and_targets,
    mistakes={
        "The target leaks: X[n, 0] is y[n] itself, and a forecast from it would be perfect and worthless. "
        "The latest value in X[n] is the one before y[n].": _from_windows(
            lambda w: (w[:, 1:].flip(1), w[:, -1])
        ),
        "The target leaks: X has order + 1 columns, and the first one is y. Leave it out of X.": (
            _from_windows(lambda w: (w.flip(1), w[:, -1]))
        ),
        "The target leaks: the last column of X is y itself, and a forecast from it would be perfect and "
        "worthless. X[n] ends before y[n], and has the latest value first.": _from_windows(
            lambda w: (w[:, 1:], w[:, -1])
        ),
        "The target leaks: X has order + 1 columns, and the last one is y. Leave it out of X, and turn the "
        "others round: the latest value comes first.": _from_windows(lambda w: (w, w[:, -1])),
        "The target leaks, and there is a row too many: X[n, 0] is y[n] itself. The first target is "
        "series[order], and the latest value in X[n] is the one before y[n].": _from_windows(
            lambda w: (w.flip(1), w[:, -1]), more=0
        ),
        "y is one step early: y[n] is X[n, 0], which is known already. The first target is series[order].": (
            _from_windows(lambda w: (w[:, :-1].flip(1), w[:, -2]))
        ),
        "y[n] is the oldest value in X[n], which is known already. The target comes after all of X[n].": (
            _from_windows(lambda w: (w[:, :-1].flip(1), w[:, 0]))
        ),
        "The oldest value comes first in X; the latest is asked for. Turn each row round, with flip(1).": (
            _from_windows(lambda w: (w[:, :-1], w[:, -1]))
        ),
        "There is a gap: the value just before y[n] is missing, and X[n] begins with the one before that.": (
            _from_windows(lambda w: (w[:, :-2].flip(1), w[:, -1]), more=2)
        ),
        "There is a gap between X[n] and y[n], and the beginning wraps around: series[-1] is the last value. "
        "Row n begins with series[order + n - 1].": lambda series, order: (
            _rolled(series.roll(1), order)[order:],
            series[order:],
        ),
        "The beginning wraps around: the first `order` rows have values from the end of the series in them. "
        "The first target with `order` values before it is series[order].": lambda series, order: (
            _rolled(series, order),
            series,
        ),
        "The beginning wraps around, because series[-1] is the last value, and the last targets are missing. "
        "The first target is series[order], not series[0].": lambda series, order: (
            _rolled(series, order)[: len(series) - order],
            series[: len(series) - order],
        ),
        "X and y don't belong together: X[n] stands before series[n] (and wraps around, because series[-1] "
        "is the last value), while y[n] is series[order + n].": lambda series, order: (
            _rolled(series, order)[: len(series) - order],
            series[order:],
        ),
        "There is one row too many at the beginning, and it wraps around: series[-1] is the last value. The "
        "first target is series[order].": lambda series, order: (
            _rolled(series, order)[order - 1 :],
            series[order - 1 :],
        ),
        "The beginning is padded with zeros, which were never measured. Only targets with `order` values "
        "before them are asked for.": lambda series, order: (_padded(series, order), series),
        "The first row is missing: the first target with `order` values before it is series[order].": (
            _changed(lambda X, y: (X[1:], y[1:]))
        ),
        "The last row is missing: the last target is the last value of the series. range(order, T) goes up "
        "to T-1 by itself.": _changed(lambda X, y: (X[:-1], y[:-1])),
        "X has one row too many: nothing follows the last value of the series, so no row begins with it.": (
            lambda series, order: (series.unfold(0, order, 1).flip(1), series[order:])
        ),
        "y is too long: the first `order` values have too few values before them, and are no targets.": (
            lambda series, order: (_ar_design_matrix(series, order)[0], series)
        ),
        "Only one column is there, the value `order` steps before. All of the last `order` values are asked "
        "for.": _changed(lambda X, y: (X[:, -1:], y)),
        "Only one column is there, the value just before. All of the last `order` values are asked for.": (
            _changed(lambda X, y: (X[:, :1], y))
        ),
        "All columns are the same, the value just before. Column k is one step older than column k-1.": (
            _changed(lambda X, y: (X[:, :1].expand_as(X), y))
        ),
        "It looks into the future: y is the first value of each window, and X[n] has those after it. y is "
        "the last.": _from_windows(lambda w: (w[:, 1:].flip(1), w[:, 0])),
        "It looks into the future: X[n] has the values after y[n], the nearest first. They should be those "
        "before it.": _from_windows(lambda w: (w[:, 1:], w[:, 0])),
        "The windows don't overlap. Every value after the first `order` is a target, so each row is one step "
        "further than the one above it.": _changed(lambda X, y: (X[:: X.shape[1] + 1], y[:: X.shape[1] + 1])),
        "X and y are swapped: X comes first.": _changed(lambda X, y: (y, X)),
        "A column of ones is in front, for an intercept. Only values of the series are asked for.": (
            _changed(lambda X, y: (torch.cat([torch.ones_like(X[:, :1]), X], 1), y))
        ),
        "A column of ones is at the end, for an intercept. Only values of the series are asked for.": (
            _changed(lambda X, y: (torch.cat([X, torch.ones_like(X[:, :1])], 1), y))
        ),
        "X is transposed: it has a row for each target, (T - order, order). Stack columns with "
        "torch.stack(columns, 1).": _changed(lambda X, y: (X.T, y)),
        "y is a matrix with one column; a vector (T - order) is asked for.": _changed(
            lambda X, y: (X, y[:, None])
        ),
        "The numbers are right, but not all of them are float32, as the series is.": _changed(
            lambda X, y: (X.double(), y.double())
        ),
        "Tensors can't be sliced with a negative step. Slice forwards, and turn the piece round with flip.": (
            lambda series, order: (series[::-1], series)
        ),
    },
    hints=(
        "Which is the first value that has `order` values before it? How many such values are there?",
        "y is series[order:]. The first column of X is the same piece of the series, one step earlier.",
        "The column with the values `lag` steps earlier is series[order - lag : T - lag]. Put those with lag "
        "from 1 to order side by side, with torch.stack(columns, 1).",
    ),
    look="Try it with torch.arange(7.0) and order 2: X begins with the row [1, 0], and y with 2.",
)


# ------------------------------------------------------------------------------------------ smoothing


def _smoothed_conditional(counts: Tensor, alpha: float) -> Tensor:
    """p(token | context) with additive smoothing: counts (C, V) of tokens after each context -> (C, V)"""
    V = counts.shape[1]
    return (counts + alpha) / (counts.sum(1, keepdim=True) + alpha * V)


def _count_inputs(g: Generator, C: int, V: int, alpha: float) -> tuple[Tensor, float]:
    """Counts, where one context was never seen, and each other one not before every token."""
    counts = torch.randint(1, 14, (C, V), generator=g)
    counts.scatter_(1, torch.randint(V, (C, 1), generator=g), 0)
    counts[torch.randint(C, (1,), generator=g)] = 0
    return counts, alpha


def _ratio(above: Function, below: Function) -> Function:
    """A fraction with another numerator and denominator. Both are given c, a and n, the sum of each row."""

    def function(counts: Tensor, alpha: float) -> Tensor:
        n = counts.sum(1, keepdim=True)
        ratio: Tensor = above(counts, alpha, n) / below(counts, alpha, n)
        return ratio

    return function


smoothed_conditional = Exercise(
    reference=_smoothed_conditional,
    inputs=(lambda g: _count_inputs(g, 5, 7, 0.3), lambda g: _count_inputs(g, 11, 3, 2.5)),
    letters="C V",
    mistakes={
        "alpha is added V times above, once for each token, and only once below. The denominator needs "
        "alpha * V, so that each row adds up to 1.": _ratio(lambda c, a, n: c + a, lambda c, a, n: n + a),
        "The denominator has alpha times the number of contexts. It is the number of tokens V, "
        "counts.shape[1], that alpha was added to.": _ratio(
            lambda c, a, n: c + a, lambda c, a, n: n + a * len(c)
        ),
        "The denominator has alpha times C * V. Each row stands for itself, and alpha was added to the V "
        "counts in it.": _ratio(lambda c, a, n: c + a, lambda c, a, n: n + a * c.numel()),
        "The denominator has alpha times the number of tokens seen in the context. alpha is added to all V "
        "counts of a row, to those that are 0 as well.": _ratio(
            lambda c, a, n: c + a, lambda c, a, n: n + a * (c > 0).sum(1, keepdim=True)
        ),
        "alpha is only in the numerator, so rows add up to more than 1. The denominator needs alpha * V.": (
            _ratio(lambda c, a, n: c + a, lambda c, a, n: n)
        ),
        "alpha is only in the denominator, so what was never counted still has probability 0. Add alpha to "
        "every count.": _ratio(lambda c, a, n: c, lambda c, a, n: n + a * c.shape[1]),
        "It is normalised over the contexts: the columns add up to 1. Each context is a row, and its sum "
        "runs over axis 1.": _ratio(lambda c, a, n: c + a, lambda c, a, n: (c + a).sum(0)),
        "The counts are added up over the contexts. Each context is a row, and its sum runs over axis 1.": (
            _ratio(lambda c, a, n: c + a, lambda c, a, n: c.sum(0) + a * c.shape[1])
        ),
        "It is normalised over everything, so all numbers together add up to 1. Each row should, because it "
        "is a distribution of its own.": _ratio(lambda c, a, n: c + a, lambda c, a, n: (c + a).sum()),
        "The counts are added up over everything. Each context has a sum of its own, over axis 1.": _ratio(
            lambda c, a, n: c + a, lambda c, a, n: c.sum() + a * c.shape[1]
        ),
        "alpha is added after the division. Add it to the counts, before anything is divided.": (
            lambda counts, alpha: counts / counts.sum(1, keepdim=True) + alpha
        ),
        "alpha is added to probabilities, which are then normalised again. Add it to the counts, before "
        "anything is divided.": lambda counts, alpha: (
            (counts / counts.sum(1, keepdim=True) + alpha) / (1 + alpha * counts.shape[1])
        ),
        "1 is added to the counts, whatever alpha is. Add alpha, and alpha * V below.": _ratio(
            lambda c, a, n: c + 1, lambda c, a, n: n + c.shape[1]
        ),
        "1 is added above, whatever alpha is; the denominator is right.": _ratio(
            lambda c, a, n: c + 1, lambda c, a, n: n + a * c.shape[1]
        ),
        "V is added below. If alpha is added to V counts, the denominator grows by alpha * V.": _ratio(
            lambda c, a, n: c + a, lambda c, a, n: n + c.shape[1]
        ),
        "alpha is added only where the count is 0. Add it to every count, those that are not 0 as "
        "well.": _ratio(lambda c, a, n: torch.where(c == 0, a, c), lambda c, a, n: n + a * c.shape[1]),
        "alpha is added only where the count is 0, though each row adds up to 1. Add it to every count.": (
            _ratio(
                lambda c, a, n: torch.where(c == 0, a, c),
                lambda c, a, n: torch.where(c == 0, a, c).sum(1, keepdim=True),
            )
        ),
        "There is no smoothing: alpha has no effect, and a context that was never seen gives 0 / 0, which is "
        "NaN.": _ratio(lambda c, a, n: c, lambda c, a, n: n),
        "There is no smoothing: alpha has no effect, and the row of a context that was never seen is 0. With "
        "smoothing all its tokens are equally likely.": lambda counts, alpha: (
            counts / counts.sum(1, keepdim=True)
        ).nan_to_num(0.0),
        "Only the contexts that were never seen are smoothed. alpha is added to every count of every row.": (
            lambda counts, alpha: (counts / counts.sum(1, keepdim=True)).nan_to_num(1 / counts.shape[1])
        ),
        "The row of a context that was never seen is 0. It needs no exception: with n = 0 the fraction is "
        "alpha / (alpha * V), so all tokens are equally likely.": lambda counts, alpha: (
            _smoothed_conditional(counts, alpha) * (counts.sum(1, keepdim=True) > 0)
        ),
        "// divides whole numbers and cuts off what is behind the point; the division is /.": (
            lambda counts, alpha: (counts + alpha) // (counts.sum(1, keepdim=True) + alpha * counts.shape[1])
        ),
        "These are the smoothed counts; the division is missing.": lambda counts, alpha: counts + alpha,
        "A softmax is taken. Counts become probabilities when they are divided by their sum.": (
            lambda counts, alpha: (counts + alpha).softmax(1)
        ),
        "The logarithm is taken; the probabilities themselves are asked for.": lambda counts, alpha: (
            _smoothed_conditional(counts, alpha).log()
        ),
        "The result is transposed: contexts are rows, as in counts.": lambda counts, alpha: (
            _smoothed_conditional(counts, alpha).T
        ),
        "The numbers are right, in float64; torch's default is asked for, float32.": lambda counts, alpha: (
            _smoothed_conditional(counts, alpha).double()
        ),
        "The sums have shape (C), which doesn't go with (C, V). With keepdim=True they are (C, 1), one for "
        "each row.": lambda counts, alpha: (counts + alpha) / (counts.sum(1) + alpha * counts.shape[1]),
        "counts has whole numbers, and += can't put others in their place. counts + alpha is a new tensor.": (
            lambda counts, alpha: counts.add_(alpha)
        ),
    },
    hints=(
        "Additive smoothing pretends that every token was seen alpha times more often after every context.",
        "So the numerator is counts + alpha. By how much does the sum of a row with V tokens grow?",
        "The sum of each row is counts.sum(1, keepdim=True), of shape (C, 1). It grows by alpha * V.",
    ),
    look="Each row should add up to 1, and all tokens be equally likely after a context never seen.",
)


# ------------------------------------------------------------------------------------------ perplexity


def _perplexity(log_probs: Tensor) -> float:
    """e to the power of the mean of -log p: natural logarithms log_probs (T) -> one number"""
    return float(torch.exp(-log_probs.mean()))


def _log_prob_inputs(g: Generator, T: int) -> tuple[Tensor]:
    return (torch.log(0.02 + 0.96 * torch.rand(T, generator=g, dtype=torch.float64)),)


def _number(rule: Function) -> Function:
    return lambda log_probs: float(rule(log_probs))


perplexity = Exercise(
    reference=_perplexity,
    inputs=(lambda g: _log_prob_inputs(g, 7), lambda g: _log_prob_inputs(g, 2003)),
    observe=_as_tensor,
    mistakes={
        "The base is 2, and the logarithms are natural ones: take e to that power, with torch.exp.": _number(
            lambda log_p: 2 ** -log_p.mean()
        ),
        "The base is 10, and the logarithms are natural ones: take e to that power, with torch.exp.": _number(
            lambda log_p: 10 ** -log_p.mean()
        ),
        "The logarithms are turned into bits, and then e is taken to that power. Bits go with base 2; "
        "natural logarithms need no conversion.": _number(lambda log_p: (-log_p.mean() / math.log(2)).exp()),
        "It is the sum of the logarithms that is in the exponent. It should be the mean, so that a text's "
        "length doesn't matter.": _number(lambda log_p: (-log_p.sum()).exp()),
        "The minus is missing: it is the mean probability of a token (the geometric one), and perplexity is "
        "1 over it.": _number(lambda log_p: log_p.mean().exp()),
        "It is the probability of the whole sequence. Take the mean of the logarithms, with a minus, before "
        "exp.": _number(lambda log_p: log_p.sum().exp()),
        "It is 1 over the mean probability. Take the mean of the logarithms first, and exp after it.": (
            _number(lambda log_p: 1 / log_p.exp().mean())
        ),
        "It is the mean of 1 / p. Take the mean of the logarithms first, and exp after it.": _number(
            lambda log_p: (-log_p).exp().mean()
        ),
        "It is the mean probability. Take the mean of the logarithms, with a minus, and exp after it.": (
            _number(lambda log_p: log_p.exp().mean())
        ),
        "It is the cross-entropy, -mean(log p). Perplexity is e to that power.": _number(
            lambda log_p: -log_p.mean()
        ),
        "It is the mean logarithm. Perplexity is e to the power of minus that.": _number(
            lambda log_p: log_p.mean()
        ),
        "The logarithm is taken again. log_probs has logarithms already, which are negative, and the "
        "logarithm of a negative number is NaN.": _number(lambda log_p: (-log_p.log().mean()).exp()),
        "The logarithm of -log p is taken, though log_probs has logarithms already.": _number(
            lambda log_p: (-log_p).log().mean().exp()
        ),
        "log_probs is taken for probabilities: they have a logarithm already, and need no other.": _number(
            lambda log_p: (-log_p.abs().log().mean()).exp()
        ),
        "It is e to the power of the median; the mean is asked for.": _number(
            lambda log_p: (-log_p.median()).exp()
        ),
        "It is the square root of the perplexity: nothing is left to be done after exp.": _number(
            lambda log_p: (-log_p.mean()).exp().sqrt()
        ),
        "It is the square root of 1 over the product of all probabilities. The root is the T-th one, which "
        "is the mean in the exponent.": _number(lambda log_p: (-log_p.sum() / 2).exp()),
        "The sum is divided by T - 1. log_probs has one value for each predicted token, so it is the plain "
        "mean.": _number(lambda log_p: (-log_p.sum() / (len(log_p) - 1)).exp()),
        "Each logarithm is weighted with its probability, as in an entropy. The tokens are a sample "
        "already: take the plain mean.": _number(lambda log_p: (-(log_p.exp() * log_p).sum()).exp()),
        "It is 1 / p for each token. Take the mean of the logarithms first, and exp after it.": (
            lambda log_probs: (-log_probs).exp()
        ),
        "The probabilities are multiplied. Of a long text the product is too small for a float and becomes "
        "0, and 1 over it is infinite. Take the mean of the logarithms.": _number(
            lambda log_p: log_p.exp().prod() ** (-1 / len(log_p))
        ),
        "The probabilities are multiplied. Of a long text the product is too small for a float and becomes "
        "0, of which Python takes no negative power. Take the mean of the logarithms.": _number(
            lambda log_p: float(log_p.exp().prod()) ** (-1 / len(log_p))
        ),
        "The probabilities are multiplied. Of a long text the product is too small for a float and becomes "
        "0, by which Python doesn't divide. Take the mean of the logarithms.": _number(
            lambda log_p: (1 / float(log_p.exp().prod())) ** (1 / len(log_p))
        ),
        "The probabilities are multiplied. Of a long text the product is too small for a float and becomes "
        "0, which has no logarithm in Python. log_probs has the logarithms already: take their mean.": (
            _number(lambda log_p: math.exp(-math.log(float(log_p.exp().prod())) / len(log_p)))
        ),
    },
    hints=(
        "How surprised is the model by a token, on average? That is the mean of -log p.",
        "Perplexity undoes the logarithm of that mean. Which base do the logarithms have?",
        "Take the mean of log_probs, turn its sign, and take torch.exp of it.",
    ),
    look="If every token has probability 1/5, the perplexity is 5, however many tokens there are.",
)
