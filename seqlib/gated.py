"""Gated cells: LSTM and GRU, one step each."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqlib.rnn import check_sizes


class LSTMCell(nn.Module):
    r"""One step of a long short-term memory (Hochreiter and Schmidhuber, 1997).

    i, f, o = sigmoid(...), g = tanh(...);  c_t = f c_{t-1} + i g;  h_t = o tanh(c_t)

    The forget gate is that of Gers et al. (2000); `forget_bias` is what its bias starts with, and 1 keeps
    the gate open at first (Jozefowicz et al., 2015).
    """

    def __init__(self, input_size: int, hidden_size: int, *, forget_bias: float = 1.0) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        self.x_to_gates = nn.Linear(input_size, 4 * hidden_size)  # order i, f, g, o; carries the only bias
        self.h_to_gates = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        with torch.no_grad():
            self.x_to_gates.bias.zero_()
            self.x_to_gates.bias[hidden_size : 2 * hidden_size] = forget_bias

    @property
    def hidden_size(self) -> int:
        return self.h_to_gates.in_features

    def initial_state(self, x: Float[Tensor, "B *rest"]) -> tuple[Float[Tensor, "B H"], Float[Tensor, "B H"]]:
        """A zero state (h, c) for a batch like `x`, with its dtype and device."""
        zero = x.new_zeros(len(x), self.hidden_size)
        return zero, zero

    def forward(
        self, x: Float[Tensor, "B E"], state: tuple[Float[Tensor, "B H"], Float[Tensor, "B H"]]
    ) -> tuple[Float[Tensor, "B H"], Float[Tensor, "B H"]]:
        h, c = state
        i, f, g, o = (self.x_to_gates(x) + self.h_to_gates(h)).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class GRUCell(nn.Module):
    r"""One step of a gated recurrent unit (Cho et al., 2014), in PyTorch's convention.

    r, z = sigmoid(...);  n = tanh(W x_t + b + r (U h_{t-1} + d));  h_t = (1 - z) n + z h_{t-1}
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        self.x_to_gates = nn.Linear(input_size, 3 * hidden_size)  # order r, z, n
        self.h_to_gates = nn.Linear(hidden_size, 3 * hidden_size)

    @property
    def hidden_size(self) -> int:
        return self.h_to_gates.in_features

    def initial_state(self, x: Float[Tensor, "B *rest"]) -> Float[Tensor, "B H"]:
        """A zero state for a batch like `x`, with its dtype and device."""
        return x.new_zeros(len(x), self.hidden_size)

    def forward(self, x: Float[Tensor, "B E"], h: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
        x_r, x_z, x_n = self.x_to_gates(x).chunk(3, -1)
        h_r, h_z, h_n = self.h_to_gates(h).chunk(3, -1)
        r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
        n = (x_n + r * h_n).tanh()
        return (1 - z) * n + z * h
