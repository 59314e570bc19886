"""Gated cells and networks: LSTM and GRU, and backpropagation through an LSTM by hand.

Dimensions: B batch, T time, E input features, H hidden, L layers, D directions. Batch first. The four
quantities of an LSTM are called i (input gate), f (forget gate), g (candidate) and o (output gate), and
stand in this order in every matrix.
"""

from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from seqlib.rnn import Layers, check_shapes, check_sizes, step_by_step

# ------------------------------------------------------------------------------------ LSTM by hand


class LSTMTrace(NamedTuple):
    """Every quantity of one pass of an LSTM: gates, candidate, cells and states of all steps.

    `c` and `h` begin with the state before the first step, so that c[:, t] is what step t starts from.
    """

    i: Float[Tensor, "B T H"]
    f: Float[Tensor, "B T H"]
    g: Float[Tensor, "B T H"]
    o: Float[Tensor, "B T H"]
    c: Float[Tensor, "B T1 H"]
    h: Float[Tensor, "B T1 H"]


class LSTMGradients(NamedTuple):
    """dL/d(each argument of `lstm_states`)."""

    x: Float[Tensor, "B T E"]
    h_0: Float[Tensor, "B H"]
    c_0: Float[Tensor, "B H"]
    W_x: Float[Tensor, "E G"]
    W_h: Float[Tensor, "H G"]
    b: Float[Tensor, " G"]


@torch.no_grad()
def lstm_forward(
    x: Float[Tensor, "B T E"],
    h_0: Float[Tensor, "B H"],
    c_0: Float[Tensor, "B H"],
    W_x: Float[Tensor, "E G"],
    W_h: Float[Tensor, "H G"],
    b: Float[Tensor, " G"],
) -> LSTMTrace:
    """The forward pass of an LSTM (equations: `LSTMCell`); G = 4H columns hold i, f, g, o. Without graph.

    Inside, time comes first, so that what belongs to one step lies together in memory.
    """
    check_shapes(
        x=(x, "B T E"),
        h_0=(h_0, "B H"),
        c_0=(c_0, "B H"),
        W_x=(W_x, "E G"),
        W_h=(W_h, "H G"),
        b=(b, "G"),
    )
    (B, T, _), H = x.shape, h_0.shape[1]
    # The input's share of all steps in one product. Gates take its place step by step.
    gates = torch.addmm(b, x.transpose(0, 1).flatten(0, 1), W_x).view(T, B, 4 * H)
    h, c = gates.new_empty(T + 1, B, H), gates.new_empty(T + 1, B, H)
    h[0], c[0] = h_0, c_0
    tanh_c, minus_1 = torch.empty_like(c[0]), -c.new_ones(())
    i_f = gates[..., : 2 * H].unbind()
    i, f, g, o = (part.unbind() for part in gates.chunk(4, -1))
    hs, cs = h.unbind(), c.unbind()
    for t, a in enumerate(gates.unbind()):
        a.addmm_(hs[t], W_h)
        i_f[t].sigmoid_()
        _tanh(g[t], minus_1, out=g[t])
        o[t].sigmoid_()
        torch.mul(f[t], cs[t], out=cs[t + 1]).addcmul_(i[t], g[t])  # c_t = f c_{t-1} + i g
        torch.mul(o[t], _tanh(cs[t + 1], minus_1, out=tanh_c), out=hs[t + 1])  # h_t = o tanh(c_t)
    return LSTMTrace(*(part.transpose(0, 1) for part in (*gates.chunk(4, -1), c, h)))


@torch.no_grad()
def lstm_backward(
    x: Float[Tensor, "B T E"],
    trace: LSTMTrace,
    W_x: Float[Tensor, "E G"],
    W_h: Float[Tensor, "H G"],
    dL_dh: Float[Tensor, "B T H"],
    dL_dc: Float[Tensor, "B T H"] | None = None,
) -> LSTMGradients:
    """Backpropagation through time of an LSTM, by hand.

    `dL_dh` and `dL_dc` are what each state and cell contribute to the loss directly, apart from their
    effect on later steps.
    """
    check_shapes(
        trace=(trace.i, "B T H"),
        x=(x, "B T E"),
        W_x=(W_x, "E G"),
        W_h=(W_h, "H G"),
        dL_dh=(dL_dh, "B T H"),
        dL_dc=(dL_dc, "B T H"),
    )
    i, f, g, o, c, h = (part.transpose(0, 1) for part in trace)  # time first, as in `lstm_forward`
    T, B, H = i.shape

    # What a change of each pre-activation does to c_t, and to h_t through o: known for all steps at once.
    # sigmoid' = s (1 - s), tanh' = 1 - tanh^2.
    tanh_c = _tanh(c[1:], -c.new_ones(()), out=torch.empty_like(c[1:]))
    delta = i.new_empty(T, B, 4, H)
    for part, factor, s in ((0, g, i), (1, c[:-1], f), (3, tanh_c, o)):
        _sigmoid_backward(factor, s, out=delta[:, :, part])
    _tanh_backward(i, g, out=delta[:, :, 2])
    dh_dc = _tanh_backward(o, tanh_c, out=tanh_c)

    # What has to wait for the future: dL/dh_t and dL/dc_t. They turn those factors into dL/d(pre-activation).
    dh, dc = dL_dh[:, -1], torch.zeros_like(i[0])
    dc_column, W_hT = dc[:, None], W_h.mT
    earlier = (torch.zeros_like(dc), *dL_dh[:, :-1].unbind(1))  # direct contributions to h_0, ..., h_{T-1}
    i_f_g, os, deltas = delta[:, :, :3].unbind(), delta[:, :, 3].unbind(), delta.flatten(2).unbind()
    fs, dh_dcs = f.unbind(), dh_dc.unbind()
    for t in reversed(range(T)):
        dc.addcmul_(dh, dh_dcs[t])
        if dL_dc is not None:
            dc += dL_dc[:, t]
        i_f_g[t].mul_(dc_column)
        os[t].mul_(dh)
        dc *= fs[t]  # the additive path: all that lies between c_t and c_{t-1} is f
        dh = torch.addmm(earlier[t], deltas[t], W_hT)

    # Weights are shared by all steps: one product sums over batch and time.
    d = delta.view(T * B, 4 * H)
    return LSTMGradients(
        x=(d @ W_x.mT).view(T, B, -1).transpose(0, 1),
        h_0=dh,
        c_0=dc,
        W_x=x.transpose(0, 1).flatten(0, 1).mT @ d,
        W_h=h[:-1].flatten(0, 1).mT @ d,
        b=d.sum(0),
    )


# tanh(a) = 2 sigmoid(2 a) - 1, which is quicker: PyTorch's tanh takes more than five times as long as its
# sigmoid, and an LSTM up to a tenth longer with it. `minus_1` is a tensor, since from a number each call
# would have to make one.
def _tanh(a: Tensor, minus_1: Tensor, *, out: Tensor) -> Tensor:
    torch.add(a, a, out=out).sigmoid_()
    return torch.add(minus_1, out, alpha=2, out=out)


# What autograd itself calls for sigmoid and tanh: dL/da in one go, from dL/ds and s = sigmoid(a).
def _sigmoid_backward(dL_ds: Tensor, s: Tensor, *, out: Tensor) -> Tensor:
    return torch.ops.aten.sigmoid_backward.grad_input(dL_ds, s, grad_input=out)


def _tanh_backward(dL_ds: Tensor, s: Tensor, *, out: Tensor) -> Tensor:
    return torch.ops.aten.tanh_backward.grad_input(dL_ds, s, grad_input=out)


class _HandWritten(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, h_0: Tensor, c_0: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        trace = lstm_forward(x, h_0, c_0, *weights)
        ctx.save_for_backward(x, *weights[:2], *trace)
        ctx.set_materialize_grads(False)
        return trace.h[:, 1:], trace.c[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dL_dh: Tensor | None, dL_dc: Tensor | None) -> tuple[Tensor, ...]:
        x, W_x, W_h, *parts = ctx.saved_tensors
        trace = LSTMTrace(*parts)
        dL_dh = torch.zeros_like(trace.i) if dL_dh is None else dL_dh
        return tuple(lstm_backward(x, trace, W_x, W_h, dL_dh, dL_dc))


def lstm_states(
    x: Float[Tensor, "B T E"],
    h_0: Float[Tensor, "B H"],
    c_0: Float[Tensor, "B H"],
    W_x: Float[Tensor, "E G"],
    W_h: Float[Tensor, "H G"],
    b: Float[Tensor, " G"],
) -> tuple[Float[Tensor, "B T H"], Float[Tensor, "B T H"]]:
    """All states and all cells (h, c) of an LSTM; its backward pass is `lstm_backward`, not autograd's.

    Columns of W_x, W_h and b: i, f, g, o, so G = 4H. Gradients of gradients are not available.
    """
    h, c = _HandWritten.apply(x, h_0, c_0, W_x, W_h, b)  # type: ignore[no-untyped-call]
    return h, c


# ------------------------------------------------------------------------------------------- cells


class LSTMCell(nn.Module):
    r"""One step of a long short-term memory (Hochreiter and Schmidhuber, 1997).

    i, f, o = sigmoid(...), g = tanh(...);  c_t = f c_{t-1} + i g;  h_t = o tanh(c_t)

    The forget gate is that of Gers et al. (2000); `forget_bias` is what its bias starts with, and 1 keeps
    the gate open at first (Jozefowicz et al., 2015). `input_bias` is the input gate's. Either is one number
    for all units or a tensor (H,), such as those of `chrono_biases`. Raises ValueError for other shapes.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        forget_bias: float | Float[Tensor, " H"] = 1.0,
        input_bias: float | Float[Tensor, " H"] = 0.0,
    ) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        for name, value in {"forget_bias": forget_bias, "input_bias": input_bias}.items():
            if isinstance(value, Tensor) and value.shape != (hidden_size,):
                raise ValueError(
                    f"{name} must be a number or have shape ({hidden_size},), got {tuple(value.shape)}"
                )
        self.x_to_gates = nn.Linear(input_size, 4 * hidden_size)  # order i, f, g, o; carries the only bias
        self.h_to_gates = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        with torch.no_grad():
            i, f, g_o = self.x_to_gates.bias.split([hidden_size, hidden_size, 2 * hidden_size])
            i[:] = input_bias
            f[:] = forget_bias
            g_o.zero_()

    @property
    def hidden_size(self) -> int:
        return self.h_to_gates.in_features

    def initial_state(self, x: Float[Tensor, "B *rest"]) -> tuple[Float[Tensor, "B H"], Float[Tensor, "B H"]]:
        """A zero state (h, c) for a batch like `x`, with its dtype and device."""
        zero = x.new_zeros(len(x), self.hidden_size)
        return zero, zero

    def copy_torch(self, W_ih: Tensor, W_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> None:
        """Take over the weights of an `nn.LSTM`'s layer."""
        self.x_to_gates.weight.copy_(W_ih)
        self.h_to_gates.weight.copy_(W_hh)
        self.x_to_gates.bias.copy_(b_ih + b_hh)  # two biases that are only ever added to each other

    def forward(
        self, x: Float[Tensor, "B E"], state: tuple[Float[Tensor, "B H"], Float[Tensor, "B H"]]
    ) -> tuple[Float[Tensor, "B H"], Float[Tensor, "B H"]]:
        h, c = state
        i, f, g, o = (self.x_to_gates(x) + self.h_to_gates(h)).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    def trace(
        self,
        x: Float[Tensor, "B T E"],
        state: tuple[Float[Tensor, "B H"], Float[Tensor, "B H"]] | None = None,
    ) -> LSTMTrace:
        """Every gate, cell and state on the way through a sequence, from a zero state if none is given."""
        return lstm_forward(x, *(self.initial_state(x) if state is None else state), *self._weights())

    def unroll(
        self,
        x: Float[Tensor, "B T E"],
        state: tuple[Float[Tensor, "B H"], Float[Tensor, "B H"]],
        *,
        reverse: bool = False,
        present: Bool[Tensor, "B T"] | None = None,
    ) -> tuple[Float[Tensor, "B T H"], tuple[Float[Tensor, "B H"], Float[Tensor, "B H"]]]:
        """All states h of a sequence, and the last pair (h, c).

        With `reverse` the sequence is read from its end. Where `present` is False (padding) the state
        is handed on unchanged.
        """
        check_shapes(x=(x, "B T E"), h=(state[0], "B H"), c=(state[1], "B H"), present=(present, "B T"))
        if reverse:
            present = None if present is None else present.flip(1)
            states, last = self.unroll(x.flip(1), state, present=present)
            return states.flip(1), last
        if present is None:
            h, c = lstm_states(x, *state, *self._weights())
            return h, (h[:, -1], c[:, -1])
        # Read what is present without the gaps. After a step the state is the one after as many steps as
        # were present up to there.
        order = (~present).long().argsort(dim=1, stable=True)
        rows = torch.arange(len(x), device=x.device)[:, None]  # (B, 1)
        h, c = lstm_states(x[rows, order], *state, *self._weights())
        seen = present.cumsum(1)  # (B, T)
        h, c = (
            torch.cat([first[:, None], part], 1)[rows, seen]
            for first, part in zip(state, (h, c), strict=True)
        )
        return h, (h[:, -1], c[:, -1])

    def _weights(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.x_to_gates.weight.mT, self.h_to_gates.weight.mT, self.x_to_gates.bias


def chrono_biases(
    hidden_size: int, *, longest: int, generator: torch.Generator | None = None
) -> Float[Tensor, " H"]:
    """Initial biases of the forget gate for memories of up to `longest` steps (Tallec and Ollivier, 2018).

    log u with u drawn from 1 to longest - 1: at first the units forget with time constants 1 / (1 - f)
    spread from 2 to `longest` steps. The input gate gets the negative, so that i = 1 - f:
    `LSTM(E, H, forget_bias=b, input_bias=-b)`. Raises ValueError for `longest` below 2.
    """
    check_sizes(hidden_size=hidden_size, longest=longest)
    if longest < 2:
        raise ValueError(f"longest must be at least 2, got {longest}")
    return (1 + (longest - 2) * torch.rand(hidden_size, generator=generator)).log()


class GRUCell(nn.Module):
    r"""One step of a gated recurrent unit (Cho et al., 2014).

    r, z = sigmoid(...);  n = tanh(W x_t + b + r (U h_{t-1} + d));  h_t = (1 - z) n + z h_{t-1}

    These are PyTorch's equations, with r after the product as in the first version of the paper's preprint.
    `reset_after=False` is the unit as the paper was finally printed, and that of Chung et al. (2014), with r
    before the product: n = tanh(W x_t + b + U (r h_{t-1}) + d). Its parameters are the same, what it computes
    is not. What z means is only a name: PyTorch and Cho et al. keep z of the old state, Chung et al. and many
    textbooks 1 - z.
    """

    def __init__(self, input_size: int, hidden_size: int, *, reset_after: bool = True) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        self.reset_after = reset_after
        self.x_to_gates = nn.Linear(input_size, 3 * hidden_size)  # order r, z, n
        self.h_to_gates = nn.Linear(hidden_size, 3 * hidden_size)

    @property
    def hidden_size(self) -> int:
        return self.h_to_gates.in_features

    def initial_state(self, x: Float[Tensor, "B *rest"]) -> Float[Tensor, "B H"]:
        """A zero state for a batch like `x`, with its dtype and device."""
        return x.new_zeros(len(x), self.hidden_size)

    def copy_torch(self, W_ih: Tensor, W_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> None:
        """Take over the weights of an `nn.GRU`'s layer. r stands before one of the biases: they stay two."""
        self.x_to_gates.weight.copy_(W_ih)
        self.h_to_gates.weight.copy_(W_hh)
        self.x_to_gates.bias.copy_(b_ih)
        self.h_to_gates.bias.copy_(b_hh)

    def forward(self, x: Float[Tensor, "B E"], h: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
        return self._step(self.x_to_gates(x), h)

    def unroll(
        self,
        x: Float[Tensor, "B T E"],
        h: Float[Tensor, "B H"],
        *,
        reverse: bool = False,
        present: Bool[Tensor, "B T"] | None = None,
    ) -> tuple[Float[Tensor, "B T H"], Float[Tensor, "B H"]]:
        """All states of a sequence, and the last one computed; `reverse` and `present` as for `LSTMCell`."""
        check_shapes(x=(x, "B T E"), h=(h, "B H"), present=(present, "B T"))
        return step_by_step(self._step, self.x_to_gates(x), h, reverse=reverse, present=present)

    def _step(self, x_gates: Float[Tensor, "B G"], h: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
        sizes = [2 * self.hidden_size, self.hidden_size]
        x_rz, x_n = x_gates.split(sizes, -1)
        if self.reset_after:
            h_rz, h_n = self.h_to_gates(h).split(sizes, -1)
            r, z = (x_rz + h_rz).sigmoid().chunk(2, -1)
            n = torch.addcmul(x_n, r, h_n).tanh()
        else:
            (U_rz, U_n), (d_rz, d_n) = self.h_to_gates.weight.split(sizes), self.h_to_gates.bias.split(sizes)
            r, z = (x_rz + F.linear(h, U_rz, d_rz)).sigmoid().chunk(2, -1)
            n = (x_n + F.linear(r * h, U_n, d_n)).tanh()
        return torch.lerp(n, h, z)  # (1 - z) n + z h


# ---------------------------------------------------------------------------------------- networks


class LSTM(Layers):
    """Layers of LSTM cells, read in one or both directions; the counterpart of `torch.nn.LSTM`.

    `forget_bias` and `input_bias` are those of `LSTMCell`, for every cell.
    """

    cells: list[LSTMCell]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        *,
        forget_bias: float | Float[Tensor, " H"] = 1.0,
        input_bias: float | Float[Tensor, " H"] = 0.0,
    ) -> None:
        cell = partial(LSTMCell, forget_bias=forget_bias, input_bias=input_bias)
        super().__init__(cell, input_size, hidden_size, num_layers, bidirectional)

    @classmethod
    def from_torch(cls, module: nn.LSTM) -> "LSTM":
        """The same network as a `torch.nn.LSTM`, with its weights copied.

        Raises ValueError for another module, projections, dropout or missing biases.
        """
        if not isinstance(module, nn.LSTM) or module.proj_size or module.dropout or not module.bias:
            raise ValueError(
                f"module must be an nn.LSTM with bias, no dropout and no projection, got {module!r}"
            )
        ours = cls(module.input_size, module.hidden_size, module.num_layers, module.bidirectional)
        ours.copy_torch(module)
        return ours

    def to_torch(self) -> nn.LSTM:
        """The same network as a `torch.nn.LSTM` (batch first), which is faster where the network is small."""
        bidirectional = self.num_directions == 2
        theirs = nn.LSTM(
            self.input_size, self.hidden_size, self.num_layers, batch_first=True, bidirectional=bidirectional
        ).to(self.cells[0].h_to_gates.weight)
        with torch.no_grad():
            for cell, (W_ih, W_hh, b_ih, b_hh) in zip(self.cells, theirs.all_weights, strict=True):
                W_ih.copy_(cell.x_to_gates.weight)
                W_hh.copy_(cell.h_to_gates.weight)
                b_ih.copy_(cell.x_to_gates.bias)
                b_hh.zero_()  # theirs has two biases that are only ever added to each other
        return theirs

    def forward(
        self,
        x: Float[Tensor, "B T E"] | PackedSequence,
        state: tuple[Float[Tensor, "LD B H"], Float[Tensor, "LD B H"]] | None = None,
    ) -> tuple[
        Float[Tensor, "B T DH"] | PackedSequence, tuple[Float[Tensor, "LD B H"], Float[Tensor, "LD B H"]]
    ]:
        """The last layer's states h, and the last pair (h_n, c_n) of every layer and direction.

        Shapes (B, T, D*H) and (L*D, B, H). `state` is the pair (h_0, c_0) to start from. A
        `PackedSequence` gives a `PackedSequence`. Raises ValueError where sizes don't fit the network.
        """
        if state is not None and (not isinstance(state, tuple | list) or len(state) != 2):
            raise ValueError(f"state must be a pair (h_0, c_0), got {type(state).__name__}")
        h_0, c_0 = (None, None) if state is None else state
        output, (h_n, c_n) = self.read(x, h_0=h_0, c_0=c_0)
        return output, (h_n, c_n)


class GRU(Layers):
    """Layers of GRU cells, read in one or both directions; the counterpart of `torch.nn.GRU`."""

    cells: list[GRUCell]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        *,
        reset_after: bool = True,
    ) -> None:
        cell = partial(GRUCell, reset_after=reset_after)
        super().__init__(cell, input_size, hidden_size, num_layers, bidirectional)

    @classmethod
    def from_torch(cls, module: nn.GRU) -> "GRU":
        """The same network as a `torch.nn.GRU`, with its weights copied.

        Raises ValueError for another module, dropout or missing biases.
        """
        if not isinstance(module, nn.GRU) or module.dropout or not module.bias:
            raise ValueError(f"module must be an nn.GRU with bias and no dropout, got {module!r}")
        ours = cls(module.input_size, module.hidden_size, module.num_layers, module.bidirectional)
        ours.copy_torch(module)
        return ours

    def forward(
        self, x: Float[Tensor, "B T E"] | PackedSequence, h_0: Float[Tensor, "LD B H"] | None = None
    ) -> tuple[Float[Tensor, "B T DH"] | PackedSequence, Float[Tensor, "LD B H"]]:
        """The last layer's states (B, T, D*H), and the last state of every layer and direction (L*D, B, H).

        A `PackedSequence` gives a `PackedSequence`. Raises ValueError where sizes don't fit the network.
        """
        output, (h_n,) = self.read(x, h_0=h_0)
        return output, h_n
