"""Exercises of the chapter on LSTM and GRU.

Dimensions: B batch, T time, E input features, H hidden. Batch first; rows are vectors, so a state is
multiplied from its right: h @ W_h. The parts of all gates stand side by side as columns: i, f, g, o in an
LSTM and r, z, n in a GRU.
"""

import math
import numbers
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from seqlib.checks.exercise import Exercise, Function


def _gate_inputs(
    g: Generator, *, B: int, E: int, H: int, gates: int, states: int, biases: int
) -> tuple[Tensor, ...]:
    """x, the states, W_x, W_h and the biases, of a size that keeps the gates from saturating."""
    normal = partial(torch.randn, generator=g)
    W_x, W_h = normal(E, gates * H) / E**0.5, normal(H, gates * H) / H**0.5
    return normal(B, E), *(normal(B, H) for _ in range(states)), W_x, W_h, *normal(biases, gates * H)


# What doesn't fit in the LSTM doesn't in the GRU. Each of these raises, so what it returns is of no interest.
_UNFIT: Mapping[str, Function] = {
    "W_x is transposed. Its columns are the gates, so it is x @ W_x. F.linear and nn.Linear transpose their "
    "matrix, @ doesn't.": lambda x, h, W_x, W_h: x @ W_x.T,
    "W_h is transposed. Its columns are the gates, so it is h @ W_h. F.linear and nn.Linear transpose their "
    "matrix, @ doesn't.": lambda x, h, W_x, W_h: h @ W_h.T,
    "W_x stands on the left of x. In the equations vectors are columns; here x has a row for each sequence, "
    "so it is x @ W_x.": lambda x, h, W_x, W_h: W_x @ x,
    "W_h stands on the left of h. In the equations vectors are columns; here h has a row for each sequence, "
    "so it is h @ W_h.": lambda x, h, W_x, W_h: W_h @ h,
    "Here the vectors are columns, and the biases are rows. x has a row for each sequence, so it is "
    "x @ W_x, without transposing anything.": lambda x, h, W_x, W_h: W_x.T @ x.T + torch.zeros(W_x.shape[1]),
    "h is multiplied with W_x. Each has its own matrix: x @ W_x and h @ W_h.": lambda x, h, W_x, W_h: h @ W_x,
    "x is multiplied with W_h. Each has its own matrix: x @ W_x and h @ W_h.": lambda x, h, W_x, W_h: x @ W_h,
    "* multiplies element by element; the product of x with its matrix is x @ W_x.": (
        lambda x, h, W_x, W_h: x * W_x
    ),
    "@ multiplies matrices. A gate acts on each unit by itself: gate * state.": lambda x, h, W_x, W_h: h @ h,
    "These are rows of W_x, and a gate's part is columns: W_x[:, H : 2 * H]. Or make the whole product "
    "first, and cut what comes out.": lambda x, h, W_x, W_h: x @ W_x[h.shape[1] : 2 * h.shape[1]],
    "These are rows of W_h, and a gate's part is columns: W_h[:, H : 2 * H]. Or make the whole product "
    "first, and cut what comes out.": lambda x, h, W_x, W_h: h @ W_h[h.shape[1] : 2 * h.shape[1]],
    "x and h are joined along axis 0, the batch. Their features are axis 1: torch.cat([x, h], 1).": (
        lambda x, h, W_x, W_h: torch.cat([x, h])
    ),
    "h and x are joined along axis 0, the batch. Their features are axis 1: torch.cat([x, h], 1).": (
        lambda x, h, W_x, W_h: torch.cat([h, x])
    ),
    "The matrices are joined along axis 1, that of the gates. Their rows belong to the features of x and h: "
    "torch.cat([W_x, W_h]), along axis 0.": lambda x, h, W_x, W_h: torch.cat([W_x, W_h], 1),
}


# ---------------------------------------------------------------------------------------- LSTM


def _lstm_step(x: Tensor, h: Tensor, c: Tensor, W_x: Tensor, W_h: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """x (B, E), h (B, H), c (B, H), W_x (E, 4H), W_h (H, 4H), b (4H,), columns i, f, g, o -> (h_t, c_t)"""
    i, f, g, o = (x @ W_x + h @ W_h + b).chunk(4, 1)  # (B, H) each
    c_t = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h_t = torch.sigmoid(o) * torch.tanh(c_t)
    return h_t, c_t


def _cell_and_state(result: Any, args: tuple[Any, ...]) -> Any:
    """Names for the two, the cell first: where it is wrong, so is the state."""
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        return result
    return {"the cell c_t": result[1], "the state h_t": result[0]}


_SQUASHED = {"i": torch.sigmoid, "f": torch.sigmoid, "g": torch.tanh, "o": torch.sigmoid}


def _lstm_with(
    *,
    gates: Function = lambda x, h, W_x, W_h, b: x @ W_x + h @ W_h + b,
    parts: Function = lambda gates: gates.chunk(4, 1),
    order: str = "ifgo",
    squash: Mapping[str, Function] = _SQUASHED,
    cell: Function = lambda i, f, g, o, c, h: f * c + i * g,
    state: Function = lambda o, c_t, c: o * torch.tanh(c_t),
) -> Function:
    """A step with one of its rules changed. `squash` may leave out what isn't changed."""

    def function(
        x: Tensor, h: Tensor, c: Tensor, W_x: Tensor, W_h: Tensor, b: Tensor
    ) -> tuple[Tensor, Tensor]:
        named = dict(zip(order, parts(gates(x, h, W_x, W_h, b)), strict=True))
        i, f, g, o = ((_SQUASHED | dict(squash))[name](named[name]) for name in "ifgo")
        c_t = cell(i, f, g, o, c, h)
        return state(o, c_t, c), c_t

    return function


def _lstm_returning(rule: Function) -> Function:
    """The right numbers, handed over in another way: rule(h_t, c_t, c)"""
    return lambda x, h, c, *weights: rule(*_lstm_step(x, h, c, *weights), c)


def _lstm_on(rule: Function) -> Function:
    """The right step, for other arguments."""
    return lambda *args: _lstm_step(*rule(*args))


def _identity(a: Tensor) -> Tensor:
    return a


def _with_peepholes(
    x: Tensor, h: Tensor, c: Tensor, W_x: Tensor, W_h: Tensor, b: Tensor
) -> tuple[Tensor, Tensor]:
    i, f, g, o = (x @ W_x + h @ W_h + b).chunk(4, 1)
    c_t = torch.sigmoid(f + c) * c + torch.sigmoid(i + c) * torch.tanh(g)
    return torch.sigmoid(o + c_t) * torch.tanh(c_t), c_t


lstm_step = Exercise(
    reference=_lstm_step,
    inputs=partial(_gate_inputs, B=3, E=5, H=7, gates=4, states=2, biases=1),
    observe=_cell_and_state,
    mistakes={
        # what the state shows of the cell
        "The tanh of c_t is missing in h_t. The cell can grow beyond 1; the state shows o * tanh(c_t).": (
            _lstm_with(state=lambda o, c_t, c: o * c_t)
        ),
        "h_t has a sigmoid of c_t; it is o * tanh(c_t).": _lstm_with(
            state=lambda o, c_t, c: o * torch.sigmoid(c_t)
        ),
        "The tanh in h_t is around the product. It is for c_t only, and o comes after it: o * tanh(c_t).": (
            _lstm_with(state=lambda o, c_t, c: torch.tanh(o * c_t))
        ),
        "h_t is made from the old cell. It shows the new one, c_t.": _lstm_with(
            state=lambda o, c_t, c: o * torch.tanh(c)
        ),
        "The output gate is missing in h_t: it decides how much of tanh(c_t) is shown.": _lstm_with(
            state=lambda o, c_t, c: torch.tanh(c_t)
        ),
        "h_t is the output gate itself; it is multiplied with tanh(c_t).": _lstm_with(
            state=lambda o, c_t, c: o
        ),
        "The tanh has moved from h_t into c_t, where it stays. The cell is kept as the sum makes it; only "
        "h_t gets the tanh.": _lstm_with(
            cell=lambda i, f, g, o, c, h: torch.tanh(f * c + i * g), state=lambda o, c_t, c: o * c_t
        ),
        "c_t has a tanh of its own. The cell stays as the sum makes it, so that nothing lies between c and "
        "c_t but f.": _lstm_with(cell=lambda i, f, g, o, c, h: torch.tanh(f * c + i * g)),
        # what the cell keeps and takes up
        "The input gate and the forget gate have changed places. The columns are i, f, g, o, and f is the "
        "one that multiplies the old cell: f * c + i * g.": _lstm_with(order="figo"),
        "The old cell has no effect: f * c is missing in c_t, so nothing is remembered.": _lstm_with(
            cell=lambda i, f, g, o, c, h: i * g
        ),
        "The candidate has no effect: i * g is missing in c_t, so nothing is taken up.": _lstm_with(
            cell=lambda i, f, g, o, c, h: f * c
        ),
        "The forget gate has no effect, as in the first LSTM of 1997, which couldn't forget: f multiplies "
        "the old cell.": _lstm_with(cell=lambda i, f, g, o, c, h: c + i * g),
        "The input gate has no effect: i multiplies the candidate g.": _lstm_with(
            cell=lambda i, f, g, o, c, h: f * c + g
        ),
        "The forget gate multiplies i * g as well. It is for the old cell alone: f * c + i * g.": _lstm_with(
            cell=lambda i, f, g, o, c, h: f * (c + i * g)
        ),
        "The input gate multiplies f * c as well. It is for the candidate alone: f * c + i * g.": _lstm_with(
            cell=lambda i, f, g, o, c, h: i * (f * c + g)
        ),
        "1 - f stands in for the input gate. That is a coupled gate, as in a GRU; here i has columns of its "
        "own.": _lstm_with(cell=lambda i, f, g, o, c, h: f * c + (1 - f) * g),
        "1 - i stands in for the forget gate. That is a coupled gate, as in a GRU; here f has columns of its "
        "own.": _lstm_with(cell=lambda i, f, g, o, c, h: (1 - i) * c + i * g),
        "The old cell is multiplied by 1 - f. In spite of its name the forget gate keeps: 1 remembers all, "
        "0 forgets all.": _lstm_with(cell=lambda i, f, g, o, c, h: (1 - f) * c + i * g),
        "The two parts of c_t are multiplied. They are added, and that sum is what lets a gradient through: "
        "f * c + i * g.": _lstm_with(cell=lambda i, f, g, o, c, h: f * c * i * g),
        "i * g is subtracted; it is added to f * c.": _lstm_with(cell=lambda i, f, g, o, c, h: f * c - i * g),
        "The forget gate multiplies the old state h. What it keeps is the old cell, c.": _lstm_with(
            cell=lambda i, f, g, o, c, h: f * h + i * g
        ),
        "c_t keeps a tanh of the old cell; it keeps the cell as it is: f * c.": _lstm_with(
            cell=lambda i, f, g, o, c, h: f * torch.tanh(c) + i * g
        ),
        "The candidate g has two tanhs, one inside the other. One is enough.": _lstm_with(
            cell=lambda i, f, g, o, c, h: f * c + i * torch.tanh(g)
        ),
        # squashing
        "The candidate g is squashed with a sigmoid, so the cell could only be filled up. "
        "It has a tanh, between -1 and 1.": _lstm_with(squash={"g": torch.sigmoid}),
        "The candidate g isn't squashed; it is the tanh of its columns.": _lstm_with(squash={"g": _identity}),
        "The candidate g has a ReLU; it is the tanh of its columns.": _lstm_with(squash={"g": torch.relu}),
        "A sigmoid is taken of all columns, and then a tanh of g. The candidate has a tanh only: cut the "
        "columns first.": _lstm_with(squash={"g": lambda a: torch.tanh(torch.sigmoid(a))}),
        "A tanh is taken of all columns, as in the step of an RNN, before the gates get their sigmoid. Cut "
        "the sum as it is, and squash each part once.": _lstm_with(
            gates=lambda x, h, W_x, W_h, b: torch.tanh(x @ W_x + h @ W_h + b)
        ),
        "A tanh is taken of all columns, and nothing more. i, f and o are sigmoids, between closed (0) and "
        "open (1).": _lstm_with(squash={"i": torch.tanh, "f": torch.tanh, "o": torch.tanh}),
        "No gate is squashed: i, f and o are sigmoids, and g is a tanh.": _lstm_with(
            squash=dict.fromkeys("ifgo", _identity)
        ),
        "The gates aren't squashed: i, f and o are sigmoids, between closed (0) and open (1).": _lstm_with(
            squash=dict.fromkeys("ifo", _identity)
        ),
        "The gates have a softmax, so that a sequence's units share one opening among them. Each unit opens "
        "by itself: sigmoid.": _lstm_with(squash=dict.fromkeys("ifo", partial(torch.softmax, dim=-1))),
        **{
            f"The {name} gate has no sigmoid, so it can be more than open (1) or less than closed (0).": (
                _lstm_with(squash={name[0]: _identity})
            )
            for name in ("input", "forget", "output")
        },
        **{
            f"The {name} gate has a tanh; a gate is a sigmoid, between closed (0) and open (1).": (
                _lstm_with(squash={name[0]: torch.tanh})
            )
            for name in ("input", "forget", "output")
        },
        # what the gates depend on
        "The bias b is missing.": _lstm_on(lambda x, h, c, W_x, W_h, b: (x, h, c, W_x, W_h, 0 * b)),
        "The bias b is there twice, once with each product; the sum needs it once.": _lstm_on(
            lambda x, h, c, W_x, W_h, b: (x, h, c, W_x, W_h, 2 * b)
        ),
        "The input x has no effect: nothing is read.": _lstm_on(
            lambda x, h, c, W_x, W_h, b: (0 * x, h, c, W_x, W_h, b)
        ),
        "The old state h has no effect: it acts on all gates, through h @ W_h.": _lstm_on(
            lambda x, h, c, W_x, W_h, b: (x, 0 * h, c, W_x, W_h, b)
        ),
        "The gates depend on the old cell, c @ W_h. What they see of the past is the old state: h @ W_h.": (
            _lstm_on(lambda x, h, c, W_x, W_h, b: (x, c, c, W_x, W_h, b))
        ),
        "h and c have changed places: h goes into the gates, through W_h, and c is what f keeps.": _lstm_on(
            lambda x, h, c, W_x, W_h, b: (x, c, h, W_x, W_h, b)
        ),
        "The gates look into the cell (peepholes). Some LSTMs have that; here they depend on x and h "
        "only.": _with_peepholes,
        "x and h are joined in one order and their matrices in the other: h meets rows of W_x. "
        "Join both as x, h and W_x, W_h.": _lstm_with(
            gates=lambda x, h, W_x, W_h, b: torch.cat([h, x], 1) @ torch.cat([W_x, W_h]) + b
        ),
        # how the columns are cut
        **{
            f"The columns are cut as {', '.join(order)}. Here their order is i, f, g, o; papers and "
            "libraries differ in it.": _lstm_with(order=order)
            for order in ("ifog", "fiog", "igfo", "iofg", "gifo")
        },
        "view and reshape to (4, B, H) cut the numbers anew, so that different sequences are mixed. "
        "chunk(4, 1) cuts the columns.": _lstm_with(
            parts=lambda gates: gates.reshape(4, len(gates), -1).unbind()
        ),
        "Every fourth column is taken for a gate. The columns of a gate stand side by side: the first H are "
        "i, the next H are f.": _lstm_with(parts=lambda gates: gates.unflatten(1, (-1, 4)).unbind(-1)),
        "The gates are cut along axis 0, the batch. The columns are axis 1: chunk(4, 1).": (
            lambda x, h, c, W_x, W_h, b: _four((x @ W_x).chunk(4))
        ),
        "split takes the size of the parts, and chunk their number: split(H, 1) or chunk(4, 1).": (
            lambda x, h, c, W_x, W_h, b: _four((x @ W_x).split(4, 1))
        ),
        "split(H) cuts along axis 0, the batch. The columns are axis 1: split(H, 1).": (
            lambda x, h, c, W_x, W_h, b: _four((x @ W_x).split(h.shape[1]))
        ),
        "A gate has all 4H columns, or the wrong ones. Each gets H of them: gates[:, :H] for i, and so on. "
        "gates[:H] are rows.": lambda x, h, c, W_x, W_h, b: (x @ W_x) * c,
        "The gates aren't cut, or not along the columns: c meets another size than its own. chunk(4, 1) "
        "makes four parts of H columns.": lambda x, h, c, W_x, W_h, b: c * (x @ W_x),
        # what is returned
        "Only h_t comes back. The next step needs the cell as well: return h_t, c_t.": _lstm_returning(
            lambda h_t, c_t, c: h_t
        ),
        "Only c_t comes back. Both are asked for: return h_t, c_t.": _lstm_returning(lambda h_t, c_t, c: c_t),
        "The two come back in the wrong order: the state first, then the cell, (h_t, c_t).": (
            _lstm_returning(lambda h_t, c_t, c: (c_t, h_t))
        ),
        "The old cell comes back beside the new state. The next step needs the new one: (h_t, c_t).": (
            _lstm_returning(lambda h_t, c_t, c: (h_t, c))
        ),
        "The new state comes back twice; the second is to be the cell, c_t.": _lstm_returning(
            lambda h_t, c_t, c: (h_t, h_t)
        ),
        "These are the four parts side by side, (B, 4H), before anything was done with them. chunk(4, 1) "
        "cuts them apart.": lambda x, h, c, W_x, W_h, b: x @ W_x + h @ W_h + b,
        "torch.stack makes one tensor of the two. Return them as a pair: return h_t, c_t.": _lstm_returning(
            lambda h_t, c_t, c: torch.stack([h_t, c_t])
        ),
        "torch.cat makes one tensor of the two. Return them as a pair: return h_t, c_t.": _lstm_returning(
            lambda h_t, c_t, c: torch.cat([h_t, c_t], 1)
        ),
        "This is what nn.LSTM returns for a sequence, (output, (h_n, c_n)). One step has only (h_t, c_t).": (
            _lstm_returning(lambda h_t, c_t, c: (h_t, (h_t, c_t)))
        ),
        "The results are transposed, (H, B). Each sequence has a row: (B, H).": _lstm_returning(
            lambda h_t, c_t, c: (h_t.T, c_t.T)
        ),
        **{
            message: lambda x, h, c, W_x, W_h, b, rule=rule: rule(x, h, W_x, W_h)
            for message, rule in _UNFIT.items()
        },
    },
    hints=(
        "x @ W_x + h @ W_h + b has shape (B, 4H): all four parts side by side. chunk(4, 1) cuts it.",
        "i, f and o are gates, between 0 and 1: sigmoid. g is what could be written into the cell: tanh.",
        "c_t is what is kept of c plus what is let in of g. Which gate belongs to which?",
        "c_t = f * c + i * g, and h_t shows as much of tanh(c_t) as o lets through. Return h_t, c_t.",
    ),
    look="Look at the cell first, c_t = f * c + i * g: if it is right, the fault is in h_t = o * tanh(c_t).",
)


def _four(parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
    i, f, g, o = parts
    return i, f, g, o


# ----------------------------------------------------------------------------------------- GRU


def _gru_step(x: Tensor, h: Tensor, W_x: Tensor, W_h: Tensor, b_x: Tensor, b_h: Tensor) -> Tensor:
    """x (B, E), h (B, H), W_x (E, 3H), W_h (H, 3H), b_x (3H,), b_h (3H,), columns r, z, n -> h_t (B, H)

    PyTorch's convention: h_t = (1 - z) n + z h, n = tanh(x W_xn + b_xn + r (h W_hn + b_hn))
    """
    x_r, x_z, x_n = (x @ W_x + b_x).chunk(3, 1)  # (B, H) each
    h_r, h_z, h_n = (h @ W_h + b_h).chunk(3, 1)
    r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + r * h_n)
    return (1 - z) * n + z * h


class _Parts(NamedTuple):
    """What the candidate n can be made of. x_n and h_n have their biases, b_xn and b_hn."""

    r: Tensor
    z: Tensor
    h: Tensor
    x_n: Tensor
    h_n: Tensor
    b_xn: Tensor
    b_hn: Tensor
    W_hn: Tensor


def _gru_with(
    *,
    parts: Function = lambda gates: gates.chunk(3, -1),
    order: str = "rzn",
    r: Function = torch.sigmoid,
    z: Function = torch.sigmoid,
    n: Function = lambda p: torch.tanh(p.x_n + p.r * p.h_n),
    mix: Function = lambda r, z, n, h: (1 - z) * n + z * h,
) -> Function:
    """A step with one of its rules changed."""

    def function(x: Tensor, h: Tensor, W_x: Tensor, W_h: Tensor, b_x: Tensor, b_h: Tensor) -> Tensor:
        named = partial(_named, order)
        from_x, from_h = named(parts(x @ W_x + b_x)), named(parts(h @ W_h + b_h))
        b_xn, b_hn, W_hn = (named(whole.chunk(3, -1))["n"] for whole in (b_x, b_h, W_h))
        opened, kept = r(from_x["r"] + from_h["r"]), z(from_x["z"] + from_h["z"])
        candidate = n(_Parts(opened, kept, h, from_x["n"], from_h["n"], b_xn, b_hn, W_hn))
        new: Tensor = mix(opened, kept, candidate, h)
        return new

    return function


def _gru_on(rule: Function) -> Function:
    """The right step, for other arguments."""
    return lambda *args: _gru_step(*rule(*args))


def _named(order: str, three: Sequence[Tensor]) -> dict[str, Tensor]:
    return dict(zip(order, three, strict=True))


def _reset_before(p: _Parts) -> Tensor:
    return torch.tanh(p.x_n + (p.r * p.h) @ p.W_hn + p.b_hn)


gru_step = Exercise(
    reference=_gru_step,
    inputs=partial(_gate_inputs, B=2, E=5, H=7, gates=3, states=1, biases=2),
    letters="B H",
    mistakes={
        # conventions
        "z and 1 - z have changed places. Many textbooks call z what is 1 - z in PyTorch; here z keeps the "
        "old state: (1 - z) * n + z * h.": _gru_with(mix=lambda r, z, n, h: z * n + (1 - z) * h),
        "r multiplies h before the product with W_hn, as in many papers. In PyTorch it comes after it: "
        "r * (h @ W_hn + b_hn).": _gru_with(n=_reset_before),
        "Two conventions are another's, as in many textbooks. Here z keeps the old state, (1 - z) * n + "
        "z * h, and r comes after the product: r * (h @ W_hn + b_hn).": _gru_with(
            n=_reset_before, mix=lambda r, z, n, h: z * n + (1 - z) * h
        ),
        "r and z have changed places. The columns are r, z, n, while many papers begin with z.": _gru_with(
            order="zrn"
        ),
        "b_hn is outside of r. It belongs to h's part: r * (h @ W_hn + b_hn). That is why a GRU has two "
        "biases.": _gru_with(n=lambda p: torch.tanh(p.x_n + p.r * (p.h_n - p.b_hn) + p.b_hn)),
        # the candidate
        "Both biases are inside of r. b_xn belongs to x's part: x @ W_xn + b_xn + r * (h @ W_hn + b_hn).": (
            _gru_with(n=lambda p: torch.tanh(p.x_n - p.b_xn + p.r * (p.h_n + p.b_xn)))
        ),
        "The two biases of n have changed places: b_x goes with x, and b_h with h, inside of r.": _gru_with(
            n=lambda p: torch.tanh(p.x_n - p.b_xn + p.b_hn + p.r * (p.h_n - p.b_hn + p.b_xn))
        ),
        "r multiplies x's part of n. It is the past that is reset: x's part as it is, plus r times h's.": (
            _gru_with(n=lambda p: torch.tanh(p.r * p.x_n + p.h_n))
        ),
        "r multiplies x's part of n as well as h's. Keep the two products apart: only h's part is reset.": (
            _gru_with(n=lambda p: torch.tanh(p.r * (p.x_n + p.h_n)))
        ),
        "r stands outside of the tanh. It multiplies h's part within it.": _gru_with(
            n=lambda p: p.r * torch.tanh(p.x_n + p.h_n)
        ),
        "n has r * h in it, without W_hn: it is r * (h @ W_hn + b_hn).": _gru_with(
            n=lambda p: torch.tanh(p.x_n + p.r * p.h)
        ),
        "The reset gate r has no effect: it multiplies h's part of n.": _gru_with(
            n=lambda p: torch.tanh(p.x_n + p.h_n)
        ),
        "n doesn't depend on the old state: r * (h @ W_hn + b_hn) is missing.": _gru_with(
            n=lambda p: torch.tanh(p.x_n)
        ),
        "n doesn't depend on the input: x @ W_xn + b_xn is missing.": _gru_with(
            n=lambda p: torch.tanh(p.r * p.h_n)
        ),
        "z stands in n instead of r: r * (h @ W_hn + b_hn).": _gru_with(
            n=lambda p: torch.tanh(p.x_n + p.z * p.h_n)
        ),
        "n has 1 - r in it. r is what is let through of the past: r * (h @ W_hn + b_hn).": _gru_with(
            n=lambda p: torch.tanh(p.x_n + (1 - p.r) * p.h_n)
        ),
        "The tanh of n is missing.": _gru_with(n=lambda p: p.x_n + p.r * p.h_n),
        "n is squashed with a sigmoid, so the state could never be negative. It has a tanh.": _gru_with(
            n=lambda p: torch.sigmoid(p.x_n + p.r * p.h_n)
        ),
        "n has a ReLU; it is a tanh.": _gru_with(n=lambda p: torch.relu(p.x_n + p.r * p.h_n)),
        # the mixture
        "The old state is added without 1 - z before n: n + z * h. The two weights add up to 1: "
        "(1 - z) * n + z * h.": _gru_with(mix=lambda r, z, n, h: n + z * h),
        "The old state is added as it is, without z. The two weights add up to 1: (1 - z) * n + z * h.": (
            _gru_with(mix=lambda r, z, n, h: (1 - z) * n + h)
        ),
        "n and h have the same weight, z. The two weights add up to 1: (1 - z) * n + z * h.": _gru_with(
            mix=lambda r, z, n, h: z * n + z * h
        ),
        "The old state is missing in the mixture: z * h is to be added to (1 - z) * n.": _gru_with(
            mix=lambda r, z, n, h: (1 - z) * n
        ),
        "The candidate is missing in the mixture: (1 - z) * n is to be added to z * h.": _gru_with(
            mix=lambda r, z, n, h: z * h
        ),
        "The result is the candidate n itself. It is still to be mixed with the old state: "
        "(1 - z) * n + z * h.": _gru_with(mix=lambda r, z, n, h: n),
        "1 - z lacks its parentheses: 1 - z * n is something else than (1 - z) * n.": _gru_with(
            mix=lambda r, z, n, h: 1 - z * n + z * h
        ),
        "r is the weight of the mixture. r is for n only; the mixture has z: (1 - z) * n + z * h.": (
            _gru_with(mix=lambda r, z, n, h: (1 - r) * n + r * h)
        ),
        "r has reset the h of the mixture too. z keeps of the old state as it was: (1 - z) * n + z * h.": (
            _gru_with(mix=lambda r, z, n, h: (1 - z) * n + z * r * h)
        ),
        "1 - r stands where 1 - z should. r is for n only: (1 - z) * n + z * h.": _gru_with(
            mix=lambda r, z, n, h: (1 - r) * n + z * h
        ),
        "A tanh is taken of the mixture. It is a mixture of what lies between -1 and 1 already.": _gru_with(
            mix=lambda r, z, n, h: torch.tanh((1 - z) * n + z * h)
        ),
        # the gates
        "The reset gate has no sigmoid.": _gru_with(r=_identity),
        "The update gate has no sigmoid, so (1 - z) * n + z * h is no mixture.": _gru_with(z=_identity),
        "The gates have no sigmoid: r and z lie between 0 and 1.": _gru_with(r=_identity, z=_identity),
        "The reset gate has a tanh; r is a sigmoid, between 0 and 1.": _gru_with(r=torch.tanh),
        "The update gate has a tanh; z is a sigmoid, between 0 and 1.": _gru_with(z=torch.tanh),
        "The gates have a tanh; r and z are sigmoids, between 0 and 1.": _gru_with(
            r=torch.tanh, z=torch.tanh
        ),
        "The gates have a softmax, so that a sequence's units share one opening among them. Each unit opens "
        "by itself: sigmoid.": _gru_with(r=partial(torch.softmax, dim=-1), z=partial(torch.softmax, dim=-1)),
        # what all three depend on
        "The biases are missing.": _gru_on(
            lambda x, h, W_x, W_h, b_x, b_h: (x, h, W_x, W_h, 0 * b_x, 0 * b_h)
        ),
        "b_x is missing.": _gru_on(lambda x, h, W_x, W_h, b_x, b_h: (x, h, W_x, W_h, 0 * b_x, b_h)),
        "b_h is missing.": _gru_on(lambda x, h, W_x, W_h, b_x, b_h: (x, h, W_x, W_h, b_x, 0 * b_h)),
        "The input x has no effect: nothing is read.": _gru_on(
            lambda x, h, W_x, W_h, b_x, b_h: (0 * x, h, W_x, W_h, b_x, b_h)
        ),
        "r and z don't depend on the old state: h @ W_h is missing in them.": lambda x, h, W_x, *rest: (
            _gru_with(
                r=lambda a: torch.sigmoid(a - (h @ rest[0]).chunk(3, 1)[0]),
                z=lambda a: torch.sigmoid(a - (h @ rest[0]).chunk(3, 1)[1]),
            )(x, h, W_x, *rest)
        ),
        # how the columns are cut
        **{
            f"The columns are cut as {', '.join(order)}. Here their order is r, z, n.": _gru_with(order=order)
            for order in ("rnz", "nrz", "nzr", "znr")
        },
        "view and reshape to (3, B, H) cut the numbers anew, so that different sequences are mixed. "
        "chunk(3, 1) cuts the columns.": _gru_with(
            parts=lambda gates: gates.reshape(3, len(gates), -1).unbind()
        ),
        "The gates are cut along axis 0, the batch. The columns are axis 1: chunk(3, 1).": (
            lambda x, h, W_x, W_h, b_x, b_h: _three((x @ W_x).chunk(3))
        ),
        "split takes the size of the parts, and chunk their number: split(H, 1) or chunk(3, 1).": (
            lambda x, h, W_x, W_h, b_x, b_h: _three((x @ W_x).split(3, 1))
        ),
        "split(H) cuts along axis 0, the batch. The columns are axis 1: split(H, 1).": (
            lambda x, h, W_x, W_h, b_x, b_h: _three((x @ W_x).split(h.shape[1]))
        ),
        "A gate has all 3H columns. Each gets H of them: [:, :H] for r, and so on.": (
            lambda x, h, W_x, W_h, b_x, b_h: (x @ W_x) * h
        ),
        "A gate's part is columns, and [H : 2 * H] are rows. Write [:, H : 2 * H].": (
            lambda x, h, W_x, W_h, b_x, b_h: (x @ W_x) + (x @ W_x)[h.shape[1] :]
        ),
        "The gates aren't cut, or not along the columns: h meets another size than its own. chunk(3, 1) "
        "makes three parts of H columns.": lambda x, h, W_x, W_h, b_x, b_h: h * (x @ W_x),
        # what is returned
        "Two things come back, as from nn.GRU, which returns (output, h_n). One step has one: h_t.": (
            lambda *args: (_gru_step(*args), _gru_step(*args))
        ),
        "The result is transposed, (H, B). Each sequence has a row: (B, H).": lambda *args: (
            _gru_step(*args).T
        ),
        **{
            message: lambda x, h, W_x, W_h, b_x, b_h, rule=rule: rule(x, h, W_x, W_h)
            for message, rule in _UNFIT.items()
        },
    },
    hints=(
        "Make two products, x @ W_x + b_x and h @ W_h + b_h, each (B, 3H), and cut both with chunk(3, 1).",
        "r and z are the sigmoids of their two parts, added up. For n the two parts stay apart.",
        "n is the tanh of x's part plus r times h's part. b_hn is in h's part, so r multiplies it as well.",
        "The new state lies between n and h: (1 - z) * n + z * h. Where z is 1, the old state stays.",
    ),
    look="Compare with h_t = (1 - z) n + z h, n = tanh(x W_xn + b_xn + r (h W_hn + b_hn)), term by term. A "
    "GRU has a single state, and h_t is all that is returned.",
)


def _three(parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
    r, z, n = parts
    return r, z, n


# --------------------------------------------------------------------------- counting parameters


def _count_parameters(
    gates: int, input_size: int, hidden_size: int, num_layers: int, bidirectional: bool
) -> int:
    """The number of parameters of nn.RNN (gates=1), nn.GRU (gates=3) or nn.LSTM (gates=4): all ints -> int"""
    directions = 2 if bidirectional else 1
    total = 0
    size = input_size  # of what a layer reads
    for _ in range(num_layers):
        one_gate = hidden_size * size + hidden_size * hidden_size + 2 * hidden_size  # W_x, W_h, two biases
        total += directions * gates * one_gate
        size = directions * hidden_size
    return total


def _network(
    g: Generator, *, gates: int, num_layers: int, bidirectional: bool
) -> tuple[int, int, int, int, bool]:
    input_size, hidden_size = torch.tensor([2, 3, 5, 7])[torch.randperm(4, generator=g)[:2]].tolist()
    return gates, input_size, hidden_size, num_layers, bidirectional


def _count_and_type(result: Any, args: tuple[Any, ...]) -> Any:
    names = "gates", "input_size", "hidden_size", "num_layers", "bidirectional"
    asked = ", ".join(f"{name}={value}" for name, value in zip(names, args, strict=True))
    if isinstance(result, list):
        return result
    floating = result.is_floating_point() if isinstance(result, Tensor) else isinstance(result, float)
    kind = "int" if isinstance(result, numbers.Integral) or not floating else "float"
    return {f"the number for {asked}": result, "its type": kind}


def _count_with(
    layer: Function = lambda G, R, H, D: D * G * (H * R + H * H + 2 * H),
    *,
    reads: Function = lambda E, H, D, number: E if number == 0 else D * H,
    layers: Function = range,
    directions: Function = lambda bidirectional, number: 2 if bidirectional else 1,
    total: Function = sum,
) -> Function:
    """The count with one of its rules changed: what a layer has and reads (R), which layers there are."""

    def function(G: int, E: int, H: int, L: int, bidirectional: bool) -> Any:
        D = 2 if bidirectional else 1
        return total(
            layer(G, reads(E, H, D, number), H, directions(bidirectional, number)) for number in layers(L)
        )

    return function


count_parameters = Exercise(
    reference=_count_parameters,
    inputs=(
        partial(_network, gates=1, num_layers=1, bidirectional=False),
        partial(_network, gates=4, num_layers=1, bidirectional=False),
        partial(_network, gates=3, num_layers=2, bidirectional=False),
        partial(_network, gates=4, num_layers=1, bidirectional=True),
        partial(_network, gates=1, num_layers=2, bidirectional=True),
        partial(_network, gates=3, num_layers=5, bidirectional=True),
    ),
    observe=_count_and_type,
    tolerance=1e-9,  # whole numbers
    mistakes={
        # one layer
        "Each gate has one bias. In PyTorch it has two, b_ih and b_hh, though their sum is all that "
        "matters in an RNN and an LSTM.": _count_with(lambda G, R, H, D: D * G * (H * R + H * H + H)),
        "The biases are missing: every gate has two of them, H numbers each.": _count_with(
            lambda G, R, H, D: D * G * (H * R + H * H)
        ),
        "One bias is counted with the size of what the layer reads. Both are added to a gate, and have H "
        "numbers each.": _count_with(lambda G, R, H, D: D * G * (H * R + H * H + R + H)),
        "The two biases are counted as two numbers. Each has H.": _count_with(
            lambda G, R, H, D: D * G * (H * R + H * H + 2)
        ),
        "Both matrices have the size of the input. W_h leads from H states to H: H * H.": _count_with(
            lambda G, R, H, D: D * G * (H * R + H * R + 2 * H)
        ),
        "Both matrices are counted as H * H. W_x leads from the input: H * input_size in the first layer.": (
            _count_with(lambda G, R, H, D: D * G * (H * H + H * H + 2 * H))
        ),
        "The matrix W_h is missing: H * H numbers for each gate.": _count_with(
            lambda G, R, H, D: D * G * (H * R + 2 * H)
        ),
        "The matrix W_x is missing: H times what the layer reads, for each gate.": _count_with(
            lambda G, R, H, D: D * G * (H * H + 2 * H)
        ),
        "The sizes of a matrix are added. It has rows times columns.": _count_with(
            lambda G, R, H, D: D * G * (H + R + H + H + 2 * H)
        ),
        # gates
        "The gates have no effect: a GRU has three times as many parameters as an RNN, and an LSTM four "
        "times.": _count_with(lambda G, R, H, D: D * (H * R + H * H + 2 * H)),
        "Every network is counted as an LSTM, with four parts. `gates` says how many there are.": _count_with(
            lambda G, R, H, D: D * 4 * (H * R + H * H + 2 * H)
        ),
        "Only W_x is counted for each gate; W_h and the biases have as many parts.": _count_with(
            lambda G, R, H, D: D * (G * H * R + H * H + 2 * H)
        ),
        "Only W_h is counted for each gate; W_x and the biases have as many parts.": _count_with(
            lambda G, R, H, D: D * (H * R + G * H * H + 2 * H)
        ),
        "The biases are counted for one gate; every gate has its own.": _count_with(
            lambda G, R, H, D: D * (G * (H * R + H * H) + 2 * H)
        ),
        "Only the biases are counted for each gate. Is a pair of parentheses missing? The matrices have as "
        "many parts.": _count_with(lambda G, R, H, D: D * (H * R + H * H + G * 2 * H)),
        "W_h is counted as gates * H times gates * H. It leads from H states to the gates: gates * H * H.": (
            _count_with(lambda G, R, H, D: D * (G * H * R + (G * H) ** 2 + 2 * G * H))
        ),
        "There is one part too many for a gate: in `gates` the candidate is counted already.": _count_with(
            lambda G, R, H, D: D * (G + 1) * (H * R + H * H + 2 * H)
        ),
        # directions
        "bidirectional has no effect: with it every layer has two networks, one for each direction, and "
        "the next layer reads the states of both.": _count_with(
            reads=lambda E, H, D, number: E if number == 0 else H, directions=lambda both, number: 1
        ),
        "Deeper layers read the states of both directions, 2H numbers, where the network is bidirectional. "
        "They are counted as reading H.": _count_with(reads=lambda E, H, D, number: E if number == 0 else H),
        "Deeper layers read 2H numbers, which is right, but each layer is counted with one direction only.": (
            _count_with(directions=lambda both, number: 1)
        ),
        "Only the first layer is counted with two directions. Every layer has both.": _count_with(
            directions=lambda both, number: 2 if both and number == 0 else 1
        ),
        "Only the deeper layers are counted with two directions. The first has both as well.": _count_with(
            directions=lambda both, number: 2 if both and number else 1
        ),
        "Only the first layer is counted with two directions, and what it hands on is counted once. Every "
        "layer has both, and reads 2H numbers from the second one on.": _count_with(
            reads=lambda E, H, D, number: E if number == 0 else H,
            directions=lambda both, number: 2 if both and number == 0 else 1,
        ),
        "The first layer reads the input once, whatever the directions; it is counted as reading twice as "
        "much.": _count_with(reads=lambda E, H, D, number: D * E if number == 0 else D * H),
        "Deeper layers are counted as reading 2H always. They do so only where the network is "
        "bidirectional.": _count_with(reads=lambda E, H, D, number: E if number == 0 else 2 * H),
        "A bidirectional layer is counted as one network with 2H units. It is two with H units each, which "
        "go on from their own states: W_h is H * H for each.": lambda G, E, H, L, both: _count_parameters(
            G, E, (1 + both) * H, L, False
        ),
        "The biases are counted once for both directions; each has its own.": _count_with(
            lambda G, R, H, D: G * (D * (H * R + H * H) + 2 * H)
        ),
        "The directions double W_x, and nothing else. Each direction has its own W_h and biases too.": (
            _count_with(lambda G, R, H, D: G * (D * H * R + H * H + 2 * H))
        ),
        # layers
        "All layers are counted as reading the input. From the second one on a layer reads the states of the "
        "one below it.": _count_with(reads=lambda E, H, D, number: E),
        "All layers are counted as reading states. The first one reads the input, input_size numbers.": (
            _count_with(reads=lambda E, H, D, number: D * H)
        ),
        "Deeper layers are counted as reading the input beside the states. They read only the states of the "
        "layer below.": _count_with(reads=lambda E, H, D, number: E if number == 0 else E + D * H),
        "Only the first layer is counted: num_layers has no effect.": _count_with(layers=lambda L: [0]),
        "There is one layer too many: after the first there are num_layers - 1.": _count_with(
            layers=lambda L: range(L + 1)
        ),
        "One of the deeper layers is missing: after the first there are num_layers - 1. range(1, num_layers) "
        "ends before num_layers by itself.": _count_with(layers=lambda L: range(max(1, L - 1))),
        "The first layer is missing.": _count_with(layers=lambda L: range(1, L)),
        "What each layer reads is counted as growing with the layers below. It reads the states of the last "
        "one only.": _count_with(reads=lambda E, H, D, number: E if number == 0 else number * D * H),
        # what is returned
        "The number is right, but a float. Is there a division with / in it? // divides whole numbers.": (
            lambda *args: float(_count_parameters(*args))
        ),
        "These are the numbers of each layer; their sum is asked for.": _count_with(total=list),
        "These are the tensors of parameters, four for each layer and direction. Their elements are to be "
        "counted, with numel().": _count_with(lambda G, R, H, D: 4 * D),
        "These are bytes, four for each parameter. The parameters are to be counted.": (
            lambda *args: 4 * _count_parameters(*args)
        ),
    },
    hints=(
        "Begin with one layer in one direction: each gate has W_x (H times what it reads), W_h (H times H) "
        "and two biases (H each).",
        "What does the second layer read? The states of the first, of both directions where there are two.",
        "Go through the layers, with what they read in a variable: input_size at first, then directions * "
        "hidden_size. A second direction is a second network.",
    ),
    look="Compare with sum(p.numel() for p in torch.nn.LSTM(2, 3).parameters()), which is 84, or 21 for "
    "torch.nn.RNN(2, 3), where gates=1: first one layer and direction, then num_layers=2, then "
    "bidirectional=True.",
)


# ------------------------------------------------------------------------------ AUC of one unit


def _unit_auc(values: Tensor, inside: Tensor) -> float:
    """values (T,) of one unit, inside (T,) bool -> a number between 0 and 1

    The share of pairs (one inside, one outside) in which the value inside is larger; a tie counts a half.
    """
    a, b = values[inside][:, None], values[~inside][None]  # (inside, 1) and (1, outside)
    return float(((a > b) + 0.5 * (a == b)).mean())


def _unit_inputs(g: Generator, *, T: int, inside: int, shift: float, ties: bool) -> tuple[Tensor, Tensor]:
    mask = torch.randperm(T, generator=g) < inside
    values = torch.tanh(torch.randn(T, generator=g) + shift * mask)
    # eight levels, so that there are ties, none of them at 0
    return (values.mul(4).floor().mul(2).add(1).div(8) if ties else values), mask


def _of_pairs(rule: Function) -> Function:
    """Another rule for what is inside (N, 1) and outside (1, M)"""
    return lambda values, inside: rule(values[inside][:, None], values[~inside][None])


def _wins(a: Tensor, b: Tensor) -> Tensor:
    return (a > b) + 0.5 * (a == b)


def _of_ranks(ranks: Function, smallest: Function = lambda N: N * (N + 1) / 2) -> Function:
    """The sum of the ranks inside, less its smallest value, as a share of its range."""

    def function(values: Tensor, inside: Tensor) -> float:
        N = int(inside.sum())
        return float((ranks(values)[inside].sum() - smallest(N)) / (N * (len(values) - N)))

    return function


def _ranks(values: Tensor) -> Tensor:
    """From 1, and the mean where values are equal."""
    return _wins(values[:, None], values[None]).sum(1) + 0.5


def _accuracy(threshold: Function) -> Function:
    return lambda values, inside: float(((values > threshold(values)) == inside).double().mean())


def _correlation(values: Tensor, inside: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([values, inside.to(values.dtype)]))[0, 1])


def _by_position(values: Tensor, inside: Tensor) -> float:
    a, b = values[inside], values[~inside]
    n = min(len(a), len(b))
    return float(_wins(a[:n], b[:n]).mean())


def _of_later_outside(values: Tensor, inside: Tensor) -> float:
    pairs = (inside[:, None] & ~inside[None]).triu()
    return float(_wins(values[:, None], values[None])[pairs].mean())


def _roc_of_swapped(values: Tensor, inside: Tensor) -> Any:
    from sklearn.metrics import roc_auc_score  # slow to import, and rarely needed

    return roc_auc_score(values, inside)


def _auc_of_points(values: Tensor, inside: Tensor) -> Any:
    from sklearn.metrics import auc

    return auc(values, inside)


def _average_precision(values: Tensor, inside: Tensor) -> Any:
    from sklearn.metrics import average_precision_score

    return average_precision_score(inside, values)


unit_auc = Exercise(
    reference=_unit_auc,
    inputs=(
        partial(_unit_inputs, T=23, inside=7, shift=0.7, ties=False),
        partial(_unit_inputs, T=31, inside=11, shift=0.5, ties=True),
        partial(_unit_inputs, T=29, inside=17, shift=-1.0, ties=True),
    ),
    mistakes={
        # ties
        "Ties count nothing: where the two values are equal, the pair counts a half.": _of_pairs(
            lambda a, b: float((a > b).double().mean())
        ),
        "Ties count in full, because of >=. Where the two values are equal, the pair counts a half.": (
            _of_pairs(lambda a, b: float((a >= b).double().mean()))
        ),
        "Pairs with equal values are left out. They count a half, and are among those it is divided by.": (
            _of_pairs(lambda a, b: float((a > b).sum() / (a != b).sum()))
        ),
        "Ties count in full, and again a half, because of >= together with ==. It is > and a half for ==.": (
            _of_pairs(lambda a, b: float(((a >= b) + 0.5 * (a == b)).mean()))
        ),
        "Equal values get different ranks, by their order in the text. They share the mean of their ranks; "
        "or count pairs instead.": _of_ranks(lambda values: values.argsort(stable=True).argsort() + 1),
        "Equal values get the lowest of their ranks (what is smaller is counted). They share the mean of "
        "them; or count pairs instead.": _of_ranks(
            lambda values: (values[:, None] > values[None]).sum(1) + 1
        ),
        "Equal values get the highest of their ranks (what isn't larger is counted). They share the mean of "
        "them; or count pairs instead.": _of_ranks(lambda values: (values[:, None] >= values[None]).sum(1)),
        "The ranks number the different values, so that many equal ones count as one. A rank counts all "
        "values below; or count pairs instead.": _of_ranks(
            lambda values: values.unique(return_inverse=True)[1] + 1
        ),
        # ranks
        "The smallest possible sum of ranks isn't taken off: N * (N + 1) / 2 for N values inside, with ranks "
        "from 1.": _of_ranks(_ranks, smallest=lambda N: 0),
        "The ranks begin with 0, and N * (N + 1) / 2 belongs to ranks from 1.": _of_ranks(
            lambda values: _ranks(values) - 1
        ),
        "The ranks begin with 1, so the smallest sum of N of them is N * (N + 1) / 2.": _of_ranks(
            _ranks, smallest=lambda N: N * (N - 1) / 2
        ),
        "It is the mean rank inside, as a share of T. A pair has one value inside and one outside; ranks "
        "count the others inside too.": lambda values, inside: float(
            _ranks(values)[inside].mean() / len(values)
        ),
        # which pairs
        "Inside and outside have changed places: it is the share of pairs in which the value inside is the "
        "smaller one.": _of_pairs(lambda a, b: float(_wins(b, a).mean())),
        "Below a half it is turned round, max(AUC, 1 - AUC). Smaller values inside make an AUC near 0.": (
            _of_pairs(lambda a, b: max(float(_wins(a, b).mean()), float(_wins(b, a).mean())))
        ),
        "Each value inside meets one value outside, that of the same position in the list. Every one meets "
        "all others: [:, None] makes the pairs.": _by_position,
        "Only pairs whose outside comes later in the text are there. All pairs count, in whatever order.": (
            _of_later_outside
        ),
        "Each value inside is compared with all T values, those inside as well. A pair has one inside and "
        "one outside.": lambda values, inside: float(_wins(values[inside][:, None], values[None]).mean()),
        "All values are compared with those outside. A pair has one inside and one outside.": (
            lambda values, inside: float(_wins(values[:, None], values[~inside][None]).mean())
        ),
        "The values inside are compared with the mean outside. Compare them with each value outside.": (
            _of_pairs(lambda a, b: float((a > b.mean()).double().mean()))
        ),
        "Only the two means are compared. Compare each value inside with each value outside.": _of_pairs(
            lambda a, b: bool(a.mean() > b.mean())
        ),
        # what it is divided by
        "It is the number of pairs; their share is asked for: divide by inside times outside.": _of_pairs(
            lambda a, b: float(_wins(a, b).sum())
        ),
        "It is divided by T * T. There are only as many pairs as inside times outside.": (
            lambda values, inside: float(
                _wins(values[inside][:, None], values[~inside]).sum() / len(values) ** 2
            )
        ),
        "It is divided by T * (T - 1) / 2, the number of all pairs. Only those of inside with outside "
        "count.": lambda values, inside: float(
            _wins(values[inside][:, None], values[~inside]).sum() / math.comb(len(values), 2)
        ),
        "It is divided by T. There are as many pairs as inside times outside.": lambda values, inside: float(
            _wins(values[inside][:, None], values[~inside]).sum() / len(values)
        ),
        "It is divided by the number inside only. There are as many pairs as inside times outside.": (
            _of_pairs(lambda a, b: float(_wins(a, b).sum() / len(a)))
        ),
        "It is divided by the number outside only. There are as many pairs as inside times outside.": (
            _of_pairs(lambda a, b: float(_wins(a, b).sum() / b.shape[1]))
        ),
        "It is 2 * AUC - 1: pairs in which the value inside is smaller are taken off. They count 0.": (
            _of_pairs(lambda a, b: float(torch.sign(a - b).mean()))
        ),
        # other measures
        "It is the accuracy with a threshold at 0. The AUC has no threshold: it compares values with each "
        "other.": _accuracy(lambda values: 0.0),
        "It is the accuracy with a threshold at 0.5. The AUC has no threshold: it compares values with each "
        "other.": _accuracy(lambda values: 0.5),
        "It is the accuracy with a threshold at the mean. The AUC has no threshold: it compares values with "
        "each other.": _accuracy(torch.mean),
        "It is the accuracy with a threshold at the median. The AUC has no threshold: it compares values "
        "with each other.": _accuracy(torch.median),
        "It is the accuracy with the best of all thresholds. The AUC has no threshold: it compares values "
        "with each other.": lambda values, inside: max(
            _accuracy(lambda _, t=t: t)(values, inside) for t in (-math.inf, *values.tolist())
        ),
        "The values are cut at 0 before they are compared, so that most pairs are ties. Compare them as they "
        "are.": lambda values, inside: _unit_auc((values > 0).double(), inside),
        "The values' signs are lost. A unit may say inside with a large value and outside with a negative "
        "one: compare them as they are.": lambda values, inside: _unit_auc(values.abs(), inside),
        "It is the correlation. The AUC counts in how many pairs the value inside is larger, not by how "
        "much.": _correlation,
        "It is the size of the correlation. The AUC counts in how many pairs the value inside is larger, not "
        "by how much.": lambda values, inside: abs(_correlation(values, inside)),
        "It is the difference of the two means. The AUC counts in how many pairs the value inside is larger, "
        "not by how much.": _of_pairs(lambda a, b: float(a.mean() - b.mean())),
        "It is the mean of the values inside. They are to be compared with those outside.": _of_pairs(
            lambda a, b: float(a.mean())
        ),
        "It is the share of the text that is inside. The values have no effect.": lambda values, inside: (
            float(inside.double().mean())
        ),
        "It is the average precision, the area below another curve. The AUC is the area below the ROC curve: "
        "roc_auc_score.": _average_precision,
        # what is returned
        "There is one number for each pair; their mean is asked for.": _of_pairs(_wins),
        "There is one number for each value inside; their mean is asked for.": _of_pairs(
            lambda a, b: _wins(a, b).mean(1)
        ),
        "There is one number for each value outside; their mean is asked for.": _of_pairs(
            lambda a, b: _wins(a, b).mean(0)
        ),
        # exceptions
        "The values inside and outside differ in number, so they can't be compared one by one. Each meets "
        "all others: values[inside][:, None] > values[~inside].": lambda values, inside: (
            values[inside] > values[~inside]
        ),
        "The values outside and inside differ in number, so they can't be compared one by one. Each meets "
        "all others: values[inside][:, None] > values[~inside].": lambda values, inside: (
            values[~inside] < values[inside]
        ),
        "torch takes no mean of True and False. Make numbers of them first: .float().mean()": _of_pairs(
            lambda a, b: (a > b).mean()
        ),
        "if, not, and, or want one truth value, and here is a whole tensor of them. The opposite of a mask "
        "is ~inside, and comparisons of whole tensors need no if.": (
            lambda values, inside: values[not inside]
        ),
        "roc_auc_score takes the truth first, and the values second.": _roc_of_swapped,
        "sklearn.metrics.auc takes the points of a curve. From truth and values it is roc_auc_score.": (
            _auc_of_points
        ),
    },
    hints=(
        "values[inside] and values[~inside] are the two groups. How many pairs are there with one of each?",
        "values[inside][:, None] is a column and values[~inside] a row: comparing them gives a table of all "
        "pairs.",
        "The share is the mean of that table: 1 where the value inside is larger, a half where both are "
        "equal, 0 elsewhere.",
    ),
    look="By hand: of the values 0.1, 0.2, 0.2 let the second be inside. Its two pairs count 1 and a half, "
    "which makes 0.75. With ranks, equal values have to share theirs.",
)
