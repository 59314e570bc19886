"""Untrained networks, to see what their gradients do before any training: random cells and random depth.

Everything is in float64, since gradients leave the range of float32.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from seqlib.bptt import Cell, GradientFlow, gradient_flow, spectral_radius
from seqlib.gated import GRUCell, LSTMCell
from seqlib.rnn import RNNCell, check_sizes

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "ReLU": torch.relu,
    "identity": lambda a: a,
}


@torch.random.fork_rng(devices=[])  # layers draw first weights from the global generator: leave that alone
def random_cell(
    kind: str,
    input_size: int,
    hidden_size: int,
    *,
    gain: float = 1.0,
    orthogonal: bool = False,
    activation: str = "tanh",
    forget_bias: float = 1.0,
    generator: torch.Generator,
) -> Cell:
    """An untrained cell in float64 whose recurrent matrix (each gate's, if it has gates) has a chosen size.

    kind: "RNN", "LSTM" or "GRU". The matrix is Gaussian with spectral radius `gain`, or `gain` times
    a random orthogonal matrix. `activation` (a name in ACTIVATIONS) is the RNN's, `forget_bias` the
    LSTM's. Raises ValueError for names it doesn't know.
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
        cell = LSTMCell(input_size, hidden_size, forget_bias=forget_bias)
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


def random_gradient_flow(
    *,
    cell: str = "RNN",
    gain: float = 1.0,
    input_std: float = 0.1,
    length: int = 100,
    hidden_size: int = 64,
    matrix: str = "Gaussian",
    activation: str = "tanh",
    forget_bias: float = 1.0,
    seed: int = 0,
) -> GradientFlow:
    """The flow of a gradient of norm 1 back through a random cell that reads random inputs.

    Every step reads 8 numbers with standard deviation `input_std`. matrix: "Gaussian" or "orthogonal".
    The other arguments are those of `random_cell`; the same seed gives the same draws at every gain.
    """
    if matrix not in ("Gaussian", "orthogonal"):
        raise ValueError(f"matrix must be 'Gaussian' or 'orthogonal', got {matrix!r}")
    check_sizes(length=length)
    generator = torch.Generator().manual_seed(seed)
    network = random_cell(
        cell,
        8,
        hidden_size,
        gain=gain,
        orthogonal=matrix == "orthogonal",
        activation=activation,
        forget_bias=forget_bias,
        generator=generator,
    )
    x = input_std * torch.randn(1, length, 8, generator=generator, dtype=torch.float64)
    v = torch.randn(hidden_size, generator=generator, dtype=torch.float64)
    return gradient_flow(network, x, v / v.norm())


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
