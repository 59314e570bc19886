"""Explorers of chapter 04: gates set by hand, the highway of the cells, one unit over a text."""

from collections.abc import Mapping
from functools import cache

import torch
from ipywidgets import Checkbox, FloatSlider, IntSlider
from jaxtyping import Float
from torch import Tensor

from seqlib.bptt import gradient_norms
from seqlib.figures import gated as figures
from seqlib.figures.gated import GateSteps, UnitView, pace_of
from seqlib.figures.style import look, new_figure
from seqlib.gated import LSTMCell, LSTMTrace
from seqlib.untrained import highway_flow, random_reading
from seqlib.widgets.explorer import Explorer

# ------------------------------------------------------------------------------------ gates by hand


_PULSES = (0, 1.5, 0, 0, 0, 0, -1, 0, 0, 0, 1, 1, 0, 0, 0, 0)  # up, down, and two in a row


def gate_explorer() -> Explorer:
    """What each gate of an LSTM does, in a cell of one unit that reads some pulses.

    Controls: "Forget", "Input", "Output" (the gates, the same at every step), "Step".
    """
    x = torch.tensor(_PULSES, dtype=torch.float64)
    figure, ax = new_figure(8.5, 4.9)
    with look():
        artists = figures.draw_gate_steps(ax, x.tanh())

    def compute(forget: float, input: float, output: float, step: int) -> GateSteps:
        return GateSteps(gates_by_hand(x, forget=forget, input=input, output=output), step)

    def describe(steps: GateSteps) -> str:
        i, f, g, o, c, h = (part[0, :, 0].tolist() for part in steps.trace)
        t = steps.step
        return (
            f"Step {t} of {len(g)}: the forget gate keeps {f[t - 1]:.2f} of the cell's {c[t - 1]:z.2f}, the "
            f"input gate lets in {i[t - 1]:.2f} of the candidate {g[t - 1]:z.2f}. The cell is then "
            f"{c[t]:z.2f}, and with the output gate at {o[t - 1]:.2f} the state is {h[t]:z.2f}. Over all "
            f"steps the cell lies between {min(c):z.2f} and {max(c):z.2f} and ends at {c[-1]:z.2f}."
        )

    def gate(name: str, value: float) -> FloatSlider:
        return FloatSlider(description=name, value=value, min=0, max=1, step=0.05)

    return Explorer(
        compute,
        figures.update_gate_steps,
        figure=figure,
        artists=artists,
        describe=describe,
        forget=gate("Forget", 0.9),
        input=gate("Input", 1.0),
        output=gate("Output", 1.0),
        step=IntSlider(description="Step", value=4, min=1, max=len(x)),
    )


@torch.random.fork_rng(devices=[])  # a new cell draws weights from the global generator: leave that alone
@torch.no_grad()
def gates_by_hand(
    x: Float[Tensor, " T"], *, forget: float | int, input: float | int, output: float | int
) -> LSTMTrace:
    """An `LSTMCell` of one unit reads x: its gates are set, and its candidates are g_t = tanh(x_t).

    A gate is sigmoid(bias), so a gate of 0 or 1 has an infinite bias. Raises ValueError for gates outside
    of 0..1.
    """
    for name, value in {"forget": forget, "input": input, "output": output}.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in 0..1, got {value}")
    cell = LSTMCell(1, 1).to(x.dtype)
    cell.h_to_gates.weight.zero_()
    cell.x_to_gates.weight.copy_(torch.tensor([0, 0, 1, 0])[:, None])  # order i, f, g, o
    gates = torch.tensor([input, forget, 0.5, output], dtype=x.dtype)
    cell.x_to_gates.bias.copy_(gates.logit())
    return cell.trace(x[None, :, None])


# -------------------------------------------------------------------------------------- the highway


def highway_explorer() -> Explorer:
    """How gradients fade on their way back through untrained cells, and along an LSTM's forget gates alone.

    Controls: "Forget bias", "Length", "Input gate 1 − f" (its bias is then the negative of the forget gate's,
    as in `chrono_biases`).
    """
    figure, ax = new_figure(8.5, 4.9)
    with look():
        artists = figures.draw_fading(ax, ["RNN", "GRU", "LSTM", "forget gates alone"])

    @cache  # while the forget bias moves
    def without(kind: str, length: int) -> Tensor:
        cell, x, v = random_reading(kind, length=length)
        return gradient_norms(cell, x, loss=lambda h: h[0, -1] @ v)

    def compute(forget_bias: float, length: int, coupled: bool) -> dict[str, Tensor]:
        input_bias = -forget_bias if coupled else 0.0
        cell, x, v = random_reading("LSTM", length=length, forget_bias=forget_bias, input_bias=input_bias)
        assert isinstance(cell, LSTMCell)
        flow = highway_flow(cell, x, v)
        return {
            "RNN": without("RNN", length),
            "GRU": without("GRU", length),
            "LSTM": flow.gradients,
            "forget gates alone": flow.highway,
        }

    def describe(norms: dict[str, Tensor]) -> str:
        paces = "; ".join(
            f"{label}: {pace_of(values)}, {values[0]:.2g} at step 1" for label, values in norms.items()
        )
        share = norms["LSTM"][0] / norms["forget gates alone"][0]
        return (
            f"Norm of a gradient on its way back over {len(norms['RNN'])} steps from 1 at the last. {paces}. "
            f"At step 1 the LSTM's gradient is {share:.2g} times what comes through the forget gates alone."
        )

    return Explorer(
        compute,
        figures.update_fading,
        figure=figure,
        artists=artists,
        describe=describe,
        forget_bias=FloatSlider(description="Forget bias", value=1.0, min=-2, max=6, step=0.1),
        length=IntSlider(description="Length", value=100, min=10, max=200),
        coupled=Checkbox(description="Input gate 1 − f", value=False, indent=False),
    )


# -------------------------------------------------------------------------------------- one unit


def cell_explorer(
    source: str,
    cells: Float[Tensor, "T H"],
    scores: Mapping[str, Float[Tensor, " H"]],
    *,
    unit: int = 0,
    first_line: int = 1,
    lines: int = 24,
) -> Explorer:
    """What each unit of a network says at every character of a text, and how well it follows some features.

    cells: from -1 to 1, for each character of `source` (`hunting.read_in_pieces`). scores: by feature, from 0
    to 1 (`hunting.feature_scores`). `lines` of the text are shown, from `first_line` (from 1). Control:
    "Unit", which begins at `unit`. Raises ValueError where the sizes don't fit, and for lines that `source`
    doesn't have.
    """
    T, H = cells.shape
    if T != len(source):
        raise ValueError(f"cells must be as many as the source's {len(source)} characters, got {T}")
    for feature, score in scores.items():
        if score.shape != (H,):
            raise ValueError(f"scores must have shape ({H},), {feature!r} has {tuple(score.shape)}")
    rows = source.splitlines(keepends=True)
    if not 1 <= first_line <= len(rows) or lines < 1:
        raise ValueError(
            f"first_line must lie in 1..{len(rows)} and lines be positive, got {first_line} and {lines}"
        )
    begin = sum(map(len, rows[: first_line - 1]))
    text = "".join(rows[first_line - 1 :][:lines])
    values = cells[begin : begin + len(text)]
    heights = figures.unit_heights(text)
    figure, axes = new_figure(9.5, sum(heights), nrows=2, height_ratios=heights)
    with look():
        artists = figures.draw_unit(axes, text, list(scores))

    def compute(unit: int) -> UnitView:
        return UnitView(unit, values[:, unit], {feature: float(s[unit]) for feature, s in scores.items()})

    def describe(view: UnitView) -> str:
        named = ", ".join(f"{feature} {score:.2f}" for feature, score in view.scores.items())
        low, high = (
            f"{text[place]!r} after {text[max(0, place - 12) : place]!r}, {view.values[place]:z.2f}"
            for place in (int(view.values.argmin()), int(view.values.argmax()))
        )
        return (
            f"Unit {view.unit} of {H} follows: {named}. On the text shown it is lowest at {low}, and highest "
            f"at {high}."
        )

    return Explorer(
        compute,
        figures.update_unit,
        figure=figure,
        artists=artists,
        describe=describe,
        unit=IntSlider(description="Unit", value=unit, min=0, max=H - 1),
    )
