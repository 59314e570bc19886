"""The probability of a sequence: the chain rule, n-gram models, autoregression, and a state behind a series.

Dimensions: T time, V vocabulary, D degrees of freedom of a state.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

# -------------------------------------------------------------------------------------- n-grams


class NGram:
    """p(x_t | the `order` tokens before it) from counts, with additive smoothing (Lidstone, 1920).

    p(x | context) = (count(context, x) + smoothing) / (count(context) + smoothing V)

    Order 0 ignores the context. The first `order` tokens of a text have no full context, and are not
    predicted. Raises ValueError for tokens outside of the vocabulary, texts that are too short, and orders at
    which V^(order + 1) no longer fits into an integer, and TypeError for tokens that are no whole numbers.
    """

    def __init__(self, tokens: Int[Tensor, " T"], *, order: int, vocabulary_size: int) -> None:
        if order < 0:
            raise ValueError(f"order must be 0 or more, got {order}")
        if vocabulary_size < 1 or vocabulary_size ** (order + 1) >= 2**63:
            raise ValueError(
                "vocabulary_size must be at least 1, and its power order + 1 below 2^63, "
                f"got {vocabulary_size} with order {order}"
            )
        self.order, self.vocabulary_size = order, vocabulary_size
        contexts, targets = self._numbered(tokens)
        self._contexts, self._context_counts = contexts.unique(return_counts=True)
        self._grams, self._gram_counts = (contexts * vocabulary_size + targets).unique(return_counts=True)

    def log_probs(
        self, tokens: Int[Tensor, " T"], *, smoothing: float | int = 1.0
    ) -> Float[Tensor, " T_minus_order"]:
        """log p(x_t | context) for every token but the first `order`, natural logarithm, float64.

        Without smoothing, what was never seen in its context has probability 0, and so has everything in a
        context that was never seen. Raises ValueError for a smoothing that is negative or not finite.
        """
        if not smoothing >= 0:
            raise ValueError(f"smoothing must be 0 or more, got {smoothing}")
        if math.isinf(smoothing):
            raise ValueError("smoothing must be finite, got inf")
        contexts, targets = self._numbered(tokens)
        seen = _looked_up(self._contexts, self._context_counts, contexts)
        together = _looked_up(self._grams, self._gram_counts, contexts * self.vocabulary_size + targets)
        p = (together + smoothing) / (seen + smoothing * self.vocabulary_size)
        return p.nan_to_num(0.0).log()  # 0 / 0 without smoothing

    @property
    def number_of_contexts(self) -> int:
        """How many different contexts were seen."""
        return len(self._contexts)

    def _numbered(self, tokens: Int[Tensor, " T"]) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"]]:
        """Each context as one number in base V, and the token that follows it."""
        V = self.vocabulary_size
        if tokens.is_floating_point():
            raise TypeError(f"tokens must be whole numbers, got {tokens.dtype}")
        if len(tokens) <= self.order:
            raise ValueError(f"tokens must be more than the order {self.order}, got {len(tokens)}")
        if not 0 <= int(tokens.min()) <= int(tokens.max()) < V:
            raise ValueError(f"tokens must lie in 0..{V - 1}, got {int(tokens.min())}..{int(tokens.max())}")
        windows = tokens.unfold(0, self.order + 1, 1)  # (T - order, order + 1)
        contexts = torch.zeros(len(windows), dtype=torch.int64)
        for column in windows[:, :-1].unbind(1):
            contexts = contexts * V + column
        return contexts, windows[:, -1]


def _looked_up(
    keys: Int[Tensor, " K"], counts: Int[Tensor, " K"], wanted: Int[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """The count of each wanted key, 0 where there is none; `keys` are sorted."""
    place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return torch.where(keys[place] == wanted, counts[place], 0).double()


def perplexity(log_probs: Float[Tensor, " T"]) -> float:
    """exp of the mean of -log p: among how many equally likely tokens the model is undecided, on average.

    `log_probs` are natural logarithms. Infinite where one of them is. Raises ValueError for none at all.
    """
    if not len(log_probs):
        raise ValueError("log_probs must hold at least one value, got none")
    return float((-log_probs.double().mean()).exp())


# -------------------------------------------------------------------------------- autoregression


@dataclass(frozen=True)
class Autoregression:
    """x_t = intercept + sum over k of weights[k] x_(t-1-k): weights[0] belongs to the value just before."""

    weights: Float[Tensor, " order"]
    intercept: float

    @property
    def order(self) -> int:
        return len(self.weights)

    def forecast(self, history: Float[Tensor, " T"], *, horizon: int) -> Float[Tensor, " horizon"]:
        """The next `horizon` values, each computed from the ones before it, forecasts among them.

        Raises ValueError for a history shorter than the order.
        """
        if len(history) < self.order:
            raise ValueError(f"history must have at least {self.order} values, got {len(history)}")
        if horizon < 1:
            raise ValueError(f"horizon must be at least 1, got {horizon}")
        values = history.double().tolist()
        weights = self.weights.tolist()
        for _ in range(horizon):
            latest = values[::-1][: self.order]
            values.append(self.intercept + sum(w * x for w, x in zip(weights, latest, strict=True)))
        return torch.tensor(values[len(history) :], dtype=torch.float64)


def ar_design_matrix(
    series: Float[Tensor, " T"], order: int
) -> tuple[Float[Tensor, "N order"], Float[Tensor, " N"]]:
    """Rows (x_(t-1), ..., x_(t-order)) and targets x_t, for every t that has so many values before it.

    Raises ValueError for an order below 1 and for a series that is not longer than it.
    """
    if order < 1:
        raise ValueError(f"order must be at least 1, got {order}")
    if len(series) <= order:
        raise ValueError(f"series must have more than {order} values, got {len(series)}")
    windows = series.unfold(0, order + 1, 1)  # (T - order, order + 1)
    return windows[:, :-1].flip(1), windows[:, -1]


def fit_autoregression(series: Float[Tensor, " T"], order: int) -> Autoregression:
    """The autoregression of that order with the least squared error of one-step forecasts (Yule, 1927).

    Raises ValueError as `ar_design_matrix` does, and for a series with nan or inf in it.
    """
    if not series.isfinite().all():
        raise ValueError("series must hold finite numbers only, got nan or inf")
    before, target = ar_design_matrix(series.double(), order)
    X = torch.cat([before, torch.ones_like(before[:, :1])], 1)
    solution = torch.linalg.lstsq(X, target[:, None], driver="gelsd").solution[:, 0]
    return Autoregression(solution[:-1], float(solution[-1]))


class Forecasts(NamedTuple):
    """Forecasts for one horizon h: predicted[n] was made h steps before actual[n], at `position[n]`."""

    position: Int[Tensor, " N"]
    predicted: Float[Tensor, " N"]
    actual: Float[Tensor, " N"]

    @property
    def rmse(self) -> float:
        """Root of the mean squared error, in the units of the series."""
        return float((self.predicted - self.actual).square().mean().sqrt())


def rolling_forecasts(
    model: Autoregression, series: Float[Tensor, " T"], *, start: int, horizon: int
) -> Forecasts:
    """Forecasts of every value from index `start` on, each made `horizon` steps before it.

    The model isn't fitted again; fit it on series[:start] for an honest forecast. Raises ValueError where
    the first forecast would have less history than the model's order.
    """
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1, got {horizon}")
    if not model.order + horizon <= start < len(series):
        raise ValueError(
            f"start must lie in {model.order + horizon}..{len(series) - 1} for order {model.order} and "
            f"horizon {horizon}, got {start}"
        )
    x = series.double()
    position = torch.arange(start, len(x))
    # One row of the latest values for each forecast, all rows one step further at a time.
    latest = x.unfold(0, model.order, 1)[position - horizon - model.order + 1].flip(1)  # (N, order)
    for _ in range(horizon):
        following = model.intercept + latest @ model.weights  # (N)
        latest = torch.cat([following[:, None], latest[:, :-1]], 1)
    return Forecasts(position, following, x[start:])


# ------------------------------------------------------------------------- a state behind a series


def state_space_run(
    A: Float[Tensor, "D D"],
    B: Float[Tensor, "D U"],
    C: Float[Tensor, "Y D"],
    *,
    inputs: Float[Tensor, "T U"],
    x_0: Float[Tensor, " D"],
) -> tuple[Float[Tensor, "T D"], Float[Tensor, "T Y"]]:
    """States x_t = A x_(t-1) + B u_t and outputs y_t = C x_t of a linear system (Kalman, 1960).

    Raises ValueError where the shapes don't fit one another.
    """
    if x_0.ndim != 1 or inputs.ndim != 2 or not len(inputs):
        raise ValueError(
            f"x_0 must have shape (D,) and inputs (T, U) with T > 0, got {tuple(x_0.shape)} and "
            f"{tuple(inputs.shape)}"
        )
    D, U = len(x_0), inputs.shape[1]
    for name, matrix, shape in (("A", A, (D, D)), ("B", B, (D, U)), ("C", C, (len(C), D))):
        if matrix.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tuple(matrix.shape)}")
    states, x = [], x_0
    for u in inputs:
        x = A @ x + B @ u
        states.append(x)
    stacked = torch.stack(states)  # (T, D)
    return stacked, stacked @ C.mT
