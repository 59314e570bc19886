"""Explorers of chapter 03: gradients over time, clipping at a cliff, truncated BPTT, initialisation."""

import math
from functools import cache
from typing import NamedTuple

import torch
from ipywidgets import Dropdown, FloatLogSlider, FloatSlider, IntSlider
from torch import Tensor

from seqlib.bptt import GradientFlow, Truncation, cliff_loss, descend, truncation
from seqlib.figures import bptt as figures
from seqlib.figures.style import look, new_figure
from seqlib.rnn import RNNCell
from seqlib.untrained import ACTIVATIONS, DepthStatistics, depth_statistics, random_cell, random_gradient_flow
from seqlib.widgets.explorer import Explorer


def gradient_decay_explorer(*, cell: str = "RNN") -> Explorer:
    """How a gradient fades or grows on its way back through an untrained recurrent network.

    `cell` is what "Cell" shows first: "RNN", "LSTM" or "GRU". Raises ValueError for anything else.

    Controls: "Gain" (of the recurrent matrix: its spectral radius, or the scale of an orthogonal one),
    "Input scale", "Length", "Hidden size", "Seed", "Matrix", "Cell", and "Activation" for an RNN, "Forget
    bias" for an LSTM.
    """
    cells = ("RNN", "LSTM", "GRU")
    if cell not in cells:
        raise ValueError(f"cell must be one of {', '.join(cells)}, got {cell!r}")
    figure, ax = new_figure(8.0, 4.8)
    with look():
        artists = figures.draw_gradient_flow(ax)
    controls = {
        "gain": FloatSlider(description="Gain", value=1.0, min=0.5, max=1.5, step=0.01),
        "input_std": FloatSlider(description="Input scale", value=0.1, min=0, max=1, step=0.05),
        "length": IntSlider(description="Length", value=100, min=10, max=200),
        "hidden_size": IntSlider(description="Hidden size", value=64, min=8, max=128),
        "seed": IntSlider(description="Seed", value=0, min=0, max=20),
        "matrix": Dropdown(description="Matrix", options=["Gaussian", "orthogonal"]),
        "cell": Dropdown(description="Cell", options=cells, value=cell),
        "activation": Dropdown(description="Activation", options=list(ACTIVATIONS)),
        "forget_bias": FloatSlider(description="Forget bias", value=1.0, min=-2, max=6, step=0.1),
    }

    def show_what_matters(_change: object = None) -> None:
        for name, cell in (("activation", "RNN"), ("forget_bias", "LSTM")):
            controls[name].layout.display = None if controls["cell"].value == cell else "none"

    show_what_matters()
    controls["cell"].observe(show_what_matters, "value")
    return Explorer(
        random_gradient_flow,
        figures.update_gradient_flow,
        figure=figure,
        artists=artists,
        describe=_describe_flow,
        **controls,
    )


def _describe_flow(flow: GradientFlow) -> str:
    first, last = float(flow.gradients[0]), float(flow.gradients[-1])
    text = (
        f"The norm of dL/dh_t is {last:.2g} at step {len(flow.steps)}, where the loss is taken, "
        f"and {first:.2g} at step 1. On the way back, on average: {figures.pace(flow)}."
    )
    if flow.lost_steps:
        text += f" In float32 it is exactly 0 in {flow.lost_steps} of the steps."
    if flow.rho is not None:
        text += f" The recurrent matrix has spectral radius {flow.rho:.2f} and norm {flow.sigma_max:.2f}."
    return text


# ------------------------------------------------------------------------------------------ clipping


class Clipping(NamedTuple):
    """Gradient descent on `cliff_loss` from one start, with its gradients clipped and as they are."""

    threshold: float
    clipped: tuple[Tensor, Tensor]  # points (N, 2), and the gradients' norms before clipping
    unclipped: tuple[Tensor, Tensor]


_START, _RATE, _STEPS = (5.0, -1.9), 0.2, 60  # without clipping the point is thrown far off, at step 42
_W, _B = (4.2, 5.5), (-2.7, -1.2)


def clipping_explorer() -> Explorer:
    """Gradient descent towards a cliff in the loss, with and without clipping by norm.

    Control: "Threshold".
    """
    figure, ax = new_figure(7.5, 5.0)
    with look():
        artists = figures.draw_cliff(ax, 2, w=_W, b=_B)
    start = torch.tensor(_START, dtype=torch.float64)
    unclipped = descend(cliff_loss, start, learning_rate=_RATE, steps=_STEPS)

    @cache  # a slider passes the same values again and again
    def compute(threshold: float) -> Clipping:
        clipped = descend(cliff_loss, start, learning_rate=_RATE, steps=_STEPS, threshold=threshold)
        return Clipping(threshold, clipped, unclipped)

    def update(artists: figures.CliffArtists, trace: Clipping) -> None:
        figures.update_cliff(
            artists,
            {
                f"clipped at {trace.threshold:.3g}: {_outcome(*trace.clipped)}": trace.clipped[0],
                f"not clipped: {_outcome(*trace.unclipped)}": trace.unclipped[0],
            },
        )

    def describe(trace: Clipping) -> str:
        return (
            f"{_STEPS} steps of gradient descent towards a cliff in the loss. "
            f"Clipped at {trace.threshold:.3g}: {_outcome(*trace.clipped)}. "
            f"Not clipped: {_outcome(*trace.unclipped)}."
        )

    return Explorer(
        compute,
        update,
        figure=figure,
        artists=artists,
        describe=describe,
        threshold=FloatLogSlider(
            description="Threshold", value=1.0, min=-2, max=2.5, step=0.1, readout_format=".3g"
        ),
    )


def _outcome(points: Tensor, norms: Tensor) -> str:
    w, b = points[-1].tolist()
    outcome = f"largest gradient {norms.max():.3g}, final loss {cliff_loss(*points[-1]):.3f}"
    if not (_W[0] <= w <= _W[1] and _B[0] <= b <= _B[1]):
        outcome += f", off to ({w:.1f}, {b:.1f})"
    return outcome


# ---------------------------------------------------------------------------------------- truncation


def truncation_explorer() -> Explorer:
    """What cutting the graph every so many steps costs, and what it saves. Control: "Window"."""
    trace = echo_truncation()
    figure, axes = new_figure(9.5, 4.4, ncols=2)
    with look():
        artists = figures.draw_truncation(axes, trace)

    def describe(window: int) -> str:
        cosine, norm = float(trace.cosine[window - 1]), float(trace.norm_ratio[window - 1])
        return (
            f"The graph over {len(trace.windows)} steps is cut after every {window}. "
            f"The gradient of W_hh has cosine {cosine:.2f} with the uncut one and {norm:.2f} of its norm, "
            f"for {float(trace.memory[window - 1]):.2f} of the memory."
        )

    return Explorer(
        lambda window: window,
        lambda artists, window: figures.update_truncation(artists, trace, window),
        figure=figure,
        artists=artists,
        describe=describe,
        window=IntSlider(description="Window", value=12, min=1, max=len(trace.windows)),
    )


def echo_truncation(*, length: int = 48, delay: int = 12, hidden_size: int = 24, seed: int = 0) -> Truncation:
    """Truncated BPTT on a task with memory: at each step, say what the input was `delay` steps ago.

    The recurrent matrix is random and orthogonal, the read-out the best one for its states (an echo state
    network; Jaeger, 2001), so what is left to learn is the recurrence.
    """
    generator = torch.Generator().manual_seed(seed)
    cell = random_cell("RNN", 1, hidden_size, orthogonal=True, generator=generator)
    assert isinstance(cell, RNNCell)
    x = 0.3 * torch.randn(64, length, 1, generator=generator, dtype=torch.float64)
    target = torch.zeros(64, length, dtype=torch.float64)
    target[:, delay:] = x[:, :-delay, 0]
    h, _ = cell.unroll(x, cell.initial_state(x))
    read_out = torch.linalg.lstsq(h.flatten(0, 1), target.flatten()[:, None]).solution
    return truncation(cell, x, lambda h: ((h @ read_out)[..., 0] - target).square().mean(0))


# ------------------------------------------------------------------------------------ initialisation


def initialisation_explorer() -> Explorer:
    """How activations and gradients keep, lose or gain size on their way through a deep random network.

    Controls: "Scale" (of the weights, times 1 / sqrt(width)), "Depth", "Activation".
    """
    figure, axes = new_figure(9.5, 4.4, ncols=2)
    with look():
        artists = figures.draw_depth_statistics(axes, 3)

    @cache  # the two to compare with are the same for every scale
    def measure(scale: float, depth: int, activation: str) -> DepthStatistics:
        generator = torch.Generator().manual_seed(0)
        return depth_statistics(
            depth=depth, width=64, scale=scale, activation=activation, generator=generator
        )

    def compute(scale: float, depth: int, activation: str) -> dict[str, DepthStatistics]:
        return {
            f"scale {scale:.2f}": measure(scale, depth, activation),
            "1 (LeCun, Xavier)": measure(1.0, depth, activation),
            "√2 (He)": measure(math.sqrt(2), depth, activation),
        }

    def describe(trace: dict[str, DepthStatistics]) -> str:
        [(label, (activations, gradients)), *_] = trace.items()
        return (
            f"With {label}, over {len(activations) - 1} layers the activations' standard deviation goes from "
            f"{activations[0]:.2g} to {activations[-1]:.2g}, and the gradients', from the last layer back to "
            f"the input, from {gradients[-1]:.2g} to {gradients[0]:.2g}."
        )

    return Explorer(
        compute,
        figures.update_depth_statistics,
        figure=figure,
        artists=artists,
        describe=describe,
        scale=FloatSlider(description="Scale", value=0.7, min=0.2, max=3.0, step=0.05),
        depth=IntSlider(description="Depth", value=30, min=2, max=50),
        activation=Dropdown(description="Activation", options=list(ACTIVATIONS)),
    )
