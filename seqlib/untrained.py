"""Untrained networks, to see what their gradients do before any training: random cells and random depth.

Everything is in float64, since gradients leave the range of float32.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from seqlib.bptt import Cell, GradientFlow, check_one_sequence, gradient_flow, spectral_radius
from seqlib.gated import GRUCell, LSTMCell, lstm_backward
from seqlib.rnn import RNNCell, check_sizes

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "ReLU": torch.relu,
    "identity": lambda a: a,
}


@torch.random.fork_rng(devices=[])  # layers draw initial weights from the global generator: leave that alone
def random_cell(
    kind: str,
    input_size: int,
    hidden_size: int,
    *,
    gain: float = 1.0,
    orthogonal: bool = False,
    activation: str = "tanh",
    forget_bias: float = 1.0,
    input_bias: float = 0.0,
    generator: torch.Generator,
) -> Cell:
    """An untrained cell in float64 whose recurrent matrix (each gate's, if it has gates) has a chosen size.

    kind: "RNN", "LSTM" or "GRU". The matrix is Gaussian with spectral radius `gain`, or `gain` times
    a random orthogonal matrix. `activation` (a name in ACTIVATIONS) is the RNN's, `forget_bias` and
    `input_bias` are the LSTM's. Raises ValueError for names it doesn't know.
    """
    check_sizes(input_size=input_size, hidden_size=hidden_size)
    if kind not in ("RNN", "LSTM", "GRU"):
        raise ValueError(f"kind must be 'RNN', 'LSTM' or 'GRU', got {kind!r}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")

    def recurrent() -> Tensor:
        W = torch.randn(hidden_size, hidden_size, generator=generator, dtype=torch.float64)
        if orthogonal:
            q, r = torch.linalg.qr(W)
            return gain * q * r.diagonal().sign()  # the signs make it uniform over all orthogonal matrices
        return gain * W / spectral_radius(W)

    cell: Cell
    if kind == "RNN":
        cell = RNNCell(input_size, hidden_size, activation=ACTIVATIONS[activation])
        x_to, h_to, gates = cell.x_to_h, cell.h_to_h, 1
    elif kind == "LSTM":
        cell = LSTMCell(input_size, hidden_size, forget_bias=forget_bias, input_bias=input_bias)
        x_to, h_to, gates = cell.x_to_gates, cell.h_to_gates, 4
    else:
        cell = GRUCell(input_size, hidden_size)
        x_to, h_to, gates = cell.x_to_gates, cell.h_to_gates, 3
    cell.double().requires_grad_(False)
    x_to.weight.copy_(
        torch.randn(gates * hidden_size, input_size, generator=generator, dtype=torch.float64)
        / input_size**0.5
    )
    h_to.weight.copy_(torch.cat([recurrent() for _ in range(gates)]))
    if kind != "LSTM":
        x_to.bias.zero_()
    if h_to.bias is not None:
        h_to.bias.zero_()
    return cell


def random_reading(
    kind: str = "RNN",
    *,
    gain: float = 1.0,
    input_std: float = 0.1,
    length: int = 100,
    hidden_size: int = 64,
    matrix: str = "Gaussian",
    activation: str = "tanh",
    forget_bias: float = 1.0,
    input_bias: float = 0.0,
    seed: int = 0,
) -> tuple[Cell, Float[Tensor, "1 T E"], Float[Tensor, " H"]]:
    """A random cell, a sequence for it to read, and a direction v of length 1 for its last state.

    Every step reads 8 numbers with standard deviation `input_std`. matrix: "Gaussian" or "orthogonal".
    The other arguments are those of `random_cell`; the same seed gives the same draws at every gain.
    """
    if matrix not in ("Gaussian", "orthogonal"):
        raise ValueError(f"matrix must be 'Gaussian' or 'orthogonal', got {matrix!r}")
    check_sizes(length=length)
    generator = torch.Generator().manual_seed(seed)
    cell = random_cell(
        kind,
        8,
        hidden_size,
        gain=gain,
        orthogonal=matrix == "orthogonal",
        activation=activation,
        forget_bias=forget_bias,
        input_bias=input_bias,
        generator=generator,
    )
    x = input_std * torch.randn(1, length, 8, generator=generator, dtype=torch.float64)
    v = torch.randn(hidden_size, generator=generator, dtype=torch.float64)
    return cell, x, v / v.norm()


def random_gradient_flow(*, cell: str = "RNN", **options: Any) -> GradientFlow:
    """The flow of a gradient of norm 1 back through a random cell that reads random inputs.

    The options are those of `random_reading`.
    """
    return gradient_flow(*random_reading(cell, **options))


# ------------------------------------------------------------------------------------- the highway


class HighwayFlow(NamedTuple):
    """||d(v . h_T)/ds_t|| of an LSTM for every step t, where s_t is (h_t, c_t).

    gradients: along all paths. highway: along the additive path alone, from c_T back to c_t: what is left
    where no gradient passes W_h, so that nothing lies on the way but forget gates. Of the last pair only h_T
    counts, so both end with ||v||.
    """

    gradients: Float[Tensor, " T"]
    highway: Float[Tensor, " T"]


@torch.no_grad()
def highway_flow(cell: LSTMCell, x: Float[Tensor, "1 T E"], v: Float[Tensor, " H"]) -> HighwayFlow:
    """How much of the gradient of v . h_T comes back along an LSTM's cells, and how much in all.

    Raises ValueError for more than one sequence.
    """
    check_one_sequence(x)
    trace = cell.trace(x)
    dL_dh = torch.zeros_like(trace.i)
    dL_dh[:, -1] = v
    # To the gates h_{t-1} is an input like x_t: with h in the place of x, dL/dx is dL/dh_{t-1} of every step.
    W_h = cell.h_to_gates.weight.mT
    dh = lstm_backward(trace.h[:, :-1], trace, W_h, W_h, dL_dh).x[0, 1:]
    dh = torch.cat([dh, v[None]])  # (T, H)

    f, through_h = trace.f[0], dh * trace.o[0] * (1 - trace.c[0, 1:].tanh() ** 2)
    dc = torch.zeros_like(dh)  # what c_t gets from c_{t+1}; what it gets through h_t is in `through_h`
    for t in range(len(f) - 1, 0, -1):
        torch.mul(f[t], dc[t] + through_h[t], out=dc[t - 1])

    highway = torch.cat([f[1:].flip(0).cumprod(0).flip(0) * through_h[-1], v[None]])
    return HighwayFlow(_norms(torch.cat([dh, dc], 1)), _norms(highway))


def _norms(rows: Float[Tensor, "T N"]) -> Float[Tensor, " T"]:
    """Norm of each row, also where the squares of its numbers are too small to be one."""
    largest = rows.abs().amax(1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
    return (rows / largest).norm(dim=1) * largest[:, 0]


class DepthStatistics(NamedTuple):
    """Spread of what flows through a deep network; index k is after k layers."""

    activations: Float[Tensor, " L1"]
    gradients: Float[Tensor, " L1"]


def depth_statistics(
    *, depth: int, width: int, scale: float, activation: str, generator: torch.Generator
) -> DepthStatistics:
    """Standard deviation of activations and of gradients in a random network, layer by layer.

    Weights are Gaussian with standard deviation scale / sqrt(width), so that scale 1 is LeCun's
    initialisation (1998) and scale sqrt(2) is He's (2015). Raises ValueError for an unknown activation.
    """
    check_sizes(depth=depth, width=width)
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    layer = torch.randn(width, width, generator=generator, dtype=torch.float64).requires_grad_()
    layers = [layer]  # the input: `width` samples of `width` features
    for _ in range(depth):
        W = torch.randn(width, width, generator=generator, dtype=torch.float64) * scale / width**0.5
        layers.append(ACTIVATIONS[activation](layers[-1] @ W))
    seed = torch.randn(width, width, generator=generator, dtype=torch.float64)
    gradients = torch.autograd.grad(layers[-1], layers, seed)
    return DepthStatistics(
        torch.stack([layer.detach().std() for layer in layers]), torch.stack([g.std() for g in gradients])
    )
