"""Backpropagation through time: by hand, how gradients fade and grow on the way, and what helps.

Dimensions: B batch, T time, E input features, H hidden. Batch first. Rows are vectors here, as they are
in a batch: h_t = tanh(x_t W_xh + h_{t-1} W_hh + b).
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqlib.gated import GRUCell, LSTMCell
from seqlib.rnn import RNNCell, check_shapes, check_sizes

Cell = RNNCell | GRUCell | LSTMCell
State = Tensor | tuple[Tensor, ...]


# ---------------------------------------------------------------------------------------- by hand


class Gradients(NamedTuple):
    """dL/d(each argument of `rnn_states`)."""

    x: Float[Tensor, "B T E"]
    h_0: Float[Tensor, "B H"]
    W_xh: Float[Tensor, "E H"]
    W_hh: Float[Tensor, "H H"]
    b: Float[Tensor, " H"]


def backward_through_time(
    x: Float[Tensor, "B T E"],
    states: Float[Tensor, "B T1 H"],
    W_xh: Float[Tensor, "E H"],
    W_hh: Float[Tensor, "H H"],
    dL_dh: Float[Tensor, "B T H"],
) -> Gradients:
    """Backpropagation through time of h_t = tanh(x_t W_xh + h_{t-1} W_hh + b), by hand (Werbos, 1990).

    `states` holds h_0 to h_T, `dL_dh` what each state contributes to the loss directly, apart from its
    effect on later states.
    """
    check_shapes(
        x=(x, "B T E"),
        W_xh=(W_xh, "E H"),
        W_hh=(W_hh, "H H"),
        dL_dh=(dL_dh, "B T H"),
        states=(states, "B T+1 H"),
    )
    future = torch.zeros_like(states[:, 0])  # what later steps want changed about h_t
    slopes = 1 - states[:, 1:] ** 2  # dh_t/da_t, where h_t = tanh(a_t)
    deltas = []  # dL/da_t
    for t in reversed(range(x.shape[1])):
        delta = (dL_dh[:, t] + future) * slopes[:, t]
        future = delta @ W_hh.mT
        deltas.append(delta)
    delta = torch.stack(deltas[::-1], 1)  # (B, T, H)
    return Gradients(
        x=delta @ W_xh.mT,
        h_0=future,
        W_xh=x.flatten(0, 1).mT @ delta.flatten(0, 1),
        W_hh=states[:, :-1].flatten(0, 1).mT @ delta.flatten(0, 1),
        b=delta.sum((0, 1)),
    )


class _HandWritten(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, h_0: Tensor, W_xh: Tensor, W_hh: Tensor, b: Tensor) -> Tensor:
        states = [h_0]
        for a in (x @ W_xh + b).unbind(1):
            states.append(torch.tanh(torch.addmm(a, states[-1], W_hh)))
        stacked = torch.stack(states, 1)  # (B, T + 1, H)
        ctx.save_for_backward(x, stacked, W_xh, W_hh)
        return stacked[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dL_dh: Tensor) -> tuple[Tensor, ...]:
        x, states, W_xh, W_hh = ctx.saved_tensors
        return tuple(backward_through_time(x, states, W_xh, W_hh, dL_dh))


def rnn_states(
    x: Float[Tensor, "B T E"],
    h_0: Float[Tensor, "B H"],
    W_xh: Float[Tensor, "E H"],
    W_hh: Float[Tensor, "H H"],
    b: Float[Tensor, " H"],
) -> Float[Tensor, "B T H"]:
    """All states of a tanh recurrence; its backward pass is `backward_through_time`, not autograd's."""
    check_shapes(x=(x, "B T E"), h_0=(h_0, "B H"), W_xh=(W_xh, "E H"), W_hh=(W_hh, "H H"), b=(b, "H"))
    states: Tensor = _HandWritten.apply(x, h_0, W_xh, W_hh, b)  # type: ignore[no-untyped-call]
    return states


# ------------------------------------------------------------------------------ gradients over time


def unroll(cell: Cell, x: Float[Tensor, "B T E"]) -> list[tuple[Float[Tensor, "B H"], ...]]:
    """What a cell hands on after each step, from a zero state: (h_t,), or (h_t, c_t) for an LSTM.

    Each part is a node of its own in the graph, so that dL/dh_t and dL/dc_t don't contain one another.
    Raises ValueError for x without a sequence or a step.
    """
    if x.ndim != 3 or not len(x) or not x.shape[1]:
        raise ValueError(f"x must have shape (B, T, E) with B > 0 and T > 0, got {tuple(x.shape)}")
    state: State = cell.initial_state(x)
    for part in state if isinstance(state, tuple) else (state,):
        part.requires_grad_()  # so that there is a graph even where the weights are frozen
    states = []
    for x_t in x.unbind(1):
        state = cell(x_t, state)
        if isinstance(state, tuple):
            state = tuple(part.view_as(part) for part in state)  # h_t was computed from c_t
        states.append(state if isinstance(state, tuple) else (state,))
    return states


def gradient_norms(
    cell: Cell,
    x: Float[Tensor, "B T E"],
    *,
    loss: Callable[[Float[Tensor, "B T H"]], Float[Tensor, ""]] | None = None,
) -> Float[Tensor, " T"]:
    """||dL/dh_t|| for every step t, in one backward pass.

    `loss` takes the states (B, T, H); by default it is the sum of the last one. For an LSTM the state
    is the pair (h_t, c_t). The norm runs over batch and features, in float64. Raises ValueError for a
    loss that is not a scalar.
    """
    with torch.enable_grad():
        states = unroll(cell, x)
        h = torch.stack([parts[0] for parts in states], 1)  # (B, T, H)
        value = h[:, -1].sum() if loss is None else loss(h)
        if value.ndim:
            raise ValueError(f"loss must return a scalar, got shape {tuple(value.shape)}")
        nodes = [part for parts in states for part in parts]
        # One call for all nodes. One call for each step would walk the tail of the graph T times over.
        gradients = torch.autograd.grad(value, nodes, materialize_grads=True)
    return torch.stack(gradients).double().view(len(states), -1).norm(dim=1)


def final_state_jacobians(cell: Cell, x: Float[Tensor, "1 T E"]) -> Float[Tensor, "T H S"]:
    """dh_T/ds_t for every step t of one sequence; s_t is h_t, or for an LSTM (h_t, c_t), so S is H or 2H.

    Raises ValueError for more than one sequence.
    """
    check_one_sequence(x)
    if isinstance(cell, RNNCell):
        return _rnn_jacobians(cell, x)
    with torch.enable_grad():
        states = unroll(cell, x)
        nodes = [part for parts in states for part in parts]
        h_T = states[-1][0]
        rows = torch.eye(h_T.shape[1], dtype=x.dtype)[:, None]  # (H, 1, H): one backward pass for all rows
        found = torch.autograd.grad(h_T, nodes, rows, is_grads_batched=True, allow_unused=True)
    # h_T doesn't depend on c_T, once h_T counts as a node of its own
    parts = [torch.zeros_like(rows) if part is None else part for part in found]  # each (H, 1, H)
    return torch.stack(parts)[:, :, 0].unflatten(0, (len(states), -1)).transpose(1, 2).flatten(2)


def check_one_sequence(x: Tensor) -> None:
    """Raise ValueError unless x is one sequence with at least one step."""
    if x.ndim != 3 or len(x) != 1 or not x.shape[1]:
        raise ValueError(f"x must have shape (1, T, E) with T > 0, got {tuple(x.shape)}")


def _rnn_jacobians(cell: RNNCell, x: Float[Tensor, "1 T E"]) -> Float[Tensor, "T H H"]:
    """The product of Jacobians as it stands in the chapter; five times as fast as the same by autograd."""
    W_hh = cell.h_to_h.weight.detach()
    with torch.no_grad():
        h, a = cell.initial_state(x), []  # h_t = activation(a_t)
        for inputs in cell.x_to_h(x).unbind(1):
            a.append(torch.addmm(inputs, h, W_hh.mT))
            h = cell.activation(a[-1])
    with torch.enable_grad():
        a_all = torch.cat(a).requires_grad_()  # (T, H)
        (slopes,) = torch.autograd.grad(cell.activation(a_all).sum(), a_all)
    J = torch.eye(len(W_hh), dtype=x.dtype)
    products = [J]
    for slope in slopes[1:].flip(0):
        J = (J * slope) @ W_hh  # dh_t/dh_{t-1} = diag(slope_t) W_hh
        products.append(J)
    return torch.stack(products[::-1])


@dataclass(frozen=True)
class GradientFlow:
    """How the gradient of L = v . h_T travels back through one sequence.

    steps: t = 1..T. gradients: ||dL/dh_t|| at each of them. probed, jacobians: some steps t and
    ||dh_T/dh_t|| (the largest singular value) there, nan where it has outgrown its numbers. sigma_max,
    rho: largest singular value and spectral radius of W_hh, for a plain RNN.
    """

    steps: Int[Tensor, " T"]
    gradients: Float[Tensor, " T"]
    probed: Int[Tensor, " P"]
    jacobians: Float[Tensor, " P"]
    sigma_max: float | None
    rho: float | None

    @property
    def half_life(self) -> float:
        """Steps back in time in which the gradient halves, on average; negative where it grows instead.

        The slope of a straight line through log2 ||dL/dh_t||, of the steps where that is a finite number:
        gradients that have become 0, inf or nan are left out. nan where fewer than two steps are left.
        """
        seen = (self.gradients > 0) & self.gradients.isfinite()
        if seen.sum() < 2:
            return math.nan
        t = self.steps[seen].double()
        bits = self.gradients[seen].log2()
        t, bits = t - t.mean(), bits - bits.mean()
        slope = float((t * bits).sum() / (t * t).sum())  # bits gained with each step forward in time
        return 1 / slope if slope else math.inf

    @property
    def lost_steps(self) -> int:
        """Number of steps whose gradient is exactly 0 as float32."""
        return int((self.gradients.float() == 0).sum())


def gradient_flow(
    cell: Cell, x: Float[Tensor, "1 T E"], v: Float[Tensor, " H"], *, probes: int = 24
) -> GradientFlow:
    """Measure the way of a gradient back through one sequence, from L = v . h_T to every earlier state."""
    with torch.no_grad():
        J = final_state_jacobians(cell, x)  # (T, H, S)
        T = len(J)
        probed = torch.linspace(0, T - 1, min(probes, T)).round().long()
        finite = J[probed].isfinite().all(2).all(1)
        jacobians = torch.full_like(J[probed, 0, 0], math.nan)
        jacobians[finite] = torch.linalg.matrix_norm(J[probed[finite]], 2)
        sigma_max = rho = None
        if isinstance(cell, RNNCell):
            W_hh = cell.h_to_h.weight
            sigma_max = float(torch.linalg.matrix_norm(W_hh, 2))
            rho = spectral_radius(W_hh)
        return GradientFlow(
            steps=torch.arange(1, T + 1),
            gradients=torch.linalg.vector_norm(v @ J, dim=-1),
            probed=probed + 1,
            jacobians=jacobians,
            sigma_max=sigma_max,
            rho=rho,
        )


def spectral_radius(W: Float[Tensor, "H H"]) -> float:
    """The largest absolute value of an eigenvalue. Raises ValueError unless W is square and finite."""
    if W.ndim != 2 or W.shape[0] != W.shape[1] or W.numel() == 0:
        raise ValueError(f"W must have shape (H, H) with H > 0, got {tuple(W.shape)}")
    if not W.isfinite().all():  # LAPACK would bring down all of Python
        raise ValueError("W must hold finite numbers only, got nan or inf")
    return float(torch.linalg.eigvals(W).abs().max())


# ------------------------------------------------------------------------------------ what helps


def clip_by_norm(gradients: Sequence[Tensor], threshold: float) -> list[Tensor]:
    """Gradients scaled together so that their common norm is at most `threshold` (Pascanu et al., 2013).

    The direction stays. Raises ValueError for a threshold that is not positive.
    """
    if not threshold > 0:
        raise ValueError(f"threshold must be positive, got {threshold}")
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    scale = (threshold / norm).clamp(max=1)  # 1 also where the norm is 0 or the threshold infinite
    return [gradient * scale for gradient in gradients]


def clip_by_value(gradients: Sequence[Tensor], threshold: float) -> list[Tensor]:
    """Every element cut off at +-`threshold`. The direction changes. Raises ValueError as `clip_by_norm`."""
    if not threshold > 0:
        raise ValueError(f"threshold must be positive, got {threshold}")
    return [gradient.clamp(-threshold, threshold) for gradient in gradients]


def windowed_states(cell: RNNCell, x: Float[Tensor, "B T E"], *, window: int) -> Float[Tensor, "B T H"]:
    """All states, with the graph cut after every `window` steps (truncated BPTT; Williams and Peng, 1990).

    The state is carried over each cut, only the gradient is not. Raises ValueError for window < 1.
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    h = cell.initial_state(x)
    pieces = []
    for piece in x.split(window, dim=1):
        states, h = cell.unroll(piece, h.detach())
        pieces.append(states)
    return torch.cat(pieces, 1)


@dataclass(frozen=True)
class Truncation:
    """What cutting the graph after every `window` steps leaves of the gradient of W_hh.

    windows: 1..T. cosine, norm_ratio: direction and length of the gradient cut by that window, beside the
    uncut one. reach: ||dL_t/dh_k|| without cuts, for the loss of step t (row) and the state of step k
    (column); 0 for k > t.
    """

    windows: Int[Tensor, " T"]
    cosine: Float[Tensor, " T"]
    norm_ratio: Float[Tensor, " T"]
    reach: Float[Tensor, "T T"]

    @property
    def memory(self) -> Float[Tensor, " T"]:
        """Share of all steps whose activations are held at once, where windows are backpropagated in turn."""
        return self.windows / len(self.windows)


def truncation(
    cell: RNNCell, x: Float[Tensor, "B T E"], losses: Callable[[Float[Tensor, "B T H"]], Float[Tensor, " T"]]
) -> Truncation:
    """Measure truncated BPTT with every window from 1 to T; `losses` maps the states to each step's loss."""
    T = x.shape[1]
    cell = copy.deepcopy(cell)  # its weights may be frozen, and stay so
    W_hh = cell.h_to_h.weight.requires_grad_()
    with torch.enable_grad():
        h = [parts[0] for parts in unroll(cell, x)]
        each_alone = torch.eye(T, dtype=x.dtype)
        reach = torch.autograd.grad(losses(torch.stack(h, 1)), h, each_alone, is_grads_batched=True)
        cut = [
            torch.autograd.grad(losses(windowed_states(cell, x, window=window)).sum(), W_hh)[0].flatten()
            for window in range(1, T + 1)
        ]
    gradients, full = torch.stack(cut), cut[-1]
    return Truncation(
        windows=torch.arange(1, T + 1),
        cosine=torch.cosine_similarity(gradients, full, dim=1),
        norm_ratio=gradients.norm(dim=1) / full.norm(),
        reach=torch.stack(reach, 1).flatten(2).norm(dim=2),  # from (T, T, B, H)
    )


def cliff_loss(w: Float[Tensor, "*S"], b: Float[Tensor, "*S"], *, steps: int = 50) -> Float[Tensor, "*S"]:
    """(sigmoid(a_steps) - 0.7)^2 for a_t = w sigmoid(a_{t-1}) + b: a loss with a cliff.

    One recurrent unit, the example of Pascanu et al. (2013).
    """
    check_sizes(steps=steps)
    a = torch.full_like(w, 0.5, dtype=torch.result_type(w, 0.5))  # also where w is a whole number
    for _ in range(steps):
        a = w * torch.sigmoid(a) + b
    return (torch.sigmoid(a) - 0.7) ** 2


def descend(
    loss: Callable[[Tensor, Tensor], Tensor],
    start: Float[Tensor, "2"],
    *,
    learning_rate: float,
    steps: int,
    threshold: float = math.inf,
) -> tuple[Float[Tensor, "N 2"], Float[Tensor, " M"]]:
    """Gradient descent in the plane: the points visited, and the gradients' norms before clipping.

    Raises ValueError for steps or a learning_rate that make no sense.
    """
    check_sizes(steps=steps)
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be positive and finite, got {learning_rate}")
    points, norms = [start], []
    for _ in range(steps):
        point = points[-1].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(point[0], point[1]), point)
        norms.append(gradient.norm())
        (gradient,) = clip_by_norm([gradient], threshold)
        points.append((point - learning_rate * gradient).detach())
    return torch.stack(points), torch.stack(norms)
