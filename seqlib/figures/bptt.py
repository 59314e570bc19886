"""Figures of chapter 03: gradients on their way back through time, a cliff, cut graphs, deep initialisation.

Each picture has a `plot_*` for a chapter, made of a `draw_*` (the artists, once) and an `update_*` (their
data), which an explorer uses apart.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, PercentFormatter
from torch import Tensor

from seqlib.bptt import GradientFlow, Truncation, cliff_loss
from seqlib.figures.common import add_colorbar, axes_or_new
from seqlib.figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED
from seqlib.untrained import DepthStatistics

_FLOAT32 = torch.finfo(torch.float32)
_GRADIENT, _JACOBIAN = r"$\|\partial L/\partial h_t\|$", r"$\|\partial h_T/\partial h_t\|$"


# ------------------------------------------------------------------------------ gradients over time


class GradientFlowArtists(NamedTuple):
    """What moves in `plot_gradient_flow`."""

    ax: Axes
    gradients: Line2D
    jacobians: Line2D
    sigma_max: Line2D
    rho: Line2D
    headline: Text


def plot_gradient_flow(flow: GradientFlow, *, ax: Axes | None = None) -> Axes:
    """||dL/dh_t|| and ||dh_T/dh_t|| by time step, the powers they are compared with, and float32's end."""
    ax = axes_or_new(ax, width=8.0, height=4.6)
    update_gradient_flow(draw_gradient_flow(ax), flow)
    return ax


def draw_gradient_flow(ax: Axes) -> GradientFlowArtists:
    """Everything that `plot_gradient_flow` shows, still without data."""
    [gradients] = ax.plot([], [], color=BLUE, linewidth=2.4, label=_GRADIENT, zorder=3)
    [jacobians] = ax.plot(
        [], [], "o", color=ORANGE, markerfacecolor="white", markeredgewidth=1.6, label=_JACOBIAN, zorder=4
    )
    [sigma_max] = ax.plot(
        [], [], "--", color=BLACK, linewidth=1.3, label=r"$\sigma_\mathrm{max}^{\,T-t}$", zorder=5
    )
    [rho] = ax.plot([], [], ":", color=BLACK, linewidth=1.8, label=r"$\rho^{\,T-t}$", zorder=5)

    smallest = _FLOAT32.smallest_normal * _FLOAT32.eps  # 1.4e-45: what is less than half of it becomes 0
    ax.axhspan(smallest, _FLOAT32.smallest_normal, color="#EFEFEF", zorder=0)
    ax.axhspan(0, smallest, color="#D4D4D4", zorder=0)
    inside = ax.get_yaxis_transform()
    for y, text in ((_FLOAT32.smallest_normal, "float32: fewer digits"), (smallest, "float32: 0")):
        ax.text(0.99, 0.4 * y, text, transform=inside, ha="right", va="top", fontsize=10, clip_on=True)

    headline = ax.annotate(
        "",
        (0, 1),
        xytext=(0, 30),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=17,
        weight="bold",
    )
    ax.set_yscale("log")
    ax.set(xlabel="time step t (the loss follows the last)", ylabel="norm")
    return GradientFlowArtists(ax, gradients, jacobians, sigma_max, rho, headline)


def update_gradient_flow(artists: GradientFlowArtists, flow: GradientFlow) -> None:
    """Show another flow. The axes change with its length, and where it leaves them."""
    ax, T = artists.ax, len(flow.steps)
    artists.gradients.set_data(flow.steps, flow.gradients)
    artists.jacobians.set_data(flow.probed, flow.jacobians)
    back = np.arange(T - 1, -1, -1.0)
    for line, factor in ((artists.sigma_max, flow.sigma_max), (artists.rho, flow.rho)):
        line.set_data(flow.steps, np.full(T, np.nan) if factor is None else factor**back)
    lost = f"  (float32: 0 in {flow.lost_steps} steps)" if flow.lost_steps else ""
    artists.headline.set_text(pace(flow) + lost)

    # Two depths: one for most gradients, one down to where float32 ends. In each there are as many decades
    # for a step at any length, so that the same pace has the same slope.
    shallow, deep = -max(6, round(0.12 * T)), -min(57, max(6, round(0.5 * T)))
    bottom = shallow if flow.gradients.min() > 10.0**shallow else deep
    top = min(10, max(2, round(0.04 * T if bottom == shallow else 0.1 * T)))
    largest = max(flow.gradients.max(), flow.jacobians.max())
    if largest > 10.0**top:
        top = 10 if largest < 1e10 else 40
    _set_xlim(ax, 1 - 0.02 * T, T + 0.02 * T)
    _set_decades(ax, bottom, top)
    shown = [artists.gradients, artists.jacobians]
    shown += [] if flow.rho is None else [artists.sigma_max, artists.rho]
    legend = ax.get_legend()
    if legend is None or len(legend.get_texts()) != len(shown):
        _legend_above(ax, handles=shown, fontsize=12)


def pace(flow: GradientFlow) -> str:
    """How fast a gradient fades or grows on its way back, in a few words."""
    half_life = flow.half_life
    if flow.gradients[0] == 0:
        return "gone: exactly 0"
    if not flow.gradients.isfinite().all():
        return "beyond the largest number"
    if not abs(half_life) <= 10 * len(flow.steps):  # less than a tenth of a doubling on the whole way
        return "neither fades nor grows"
    steps = f"{abs(half_life):.{1 if abs(half_life) < 100 else 0}f} steps"
    return f"half-life {steps}" if half_life > 0 else f"doubles every {steps}"


def plot_shares(shares: Float[Tensor, " T"], *, ax: Axes | None = None) -> Axes:
    """How much each step k contributes to dL/dW: the norm of each part as a share of all norms, as bars."""
    ax = axes_or_new(ax)
    ax.bar(np.arange(1, len(shares) + 1), shares.detach().numpy(), color=BLUE, width=0.8)
    ax.axhline(0, color=BLACK, linewidth=0.8)
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="x", visible=False)
    ax.set(xlabel="step k", ylabel="share of the summed norms", xlim=(0.4, len(shares) + 0.6))
    return ax


def plot_non_normal(
    norms: Float[Tensor, " K"], *, sigma_max: float, rho: float, ax: Axes | None = None
) -> Axes:
    """||W^k|| for k = 0, 1, ... beside the powers of W's largest singular value and spectral radius."""
    ax = axes_or_new(ax)
    k, y = np.arange(len(norms)), norms.detach().double().numpy()
    peak = int(y.argmax())
    top = 30 * y.max()
    bound = sigma_max**k
    ax.plot(k, y, color=BLUE, linewidth=2.4, label=r"$\|W^k\|$")
    near = bound < top
    ax.plot(k[near], bound[near], "--", color=BLACK, linewidth=1.3, label=r"$\sigma_\mathrm{max}^{\,k}$")
    ax.plot(k, rho**k, ":", color=BLACK, linewidth=1.8, label=r"$\rho^{\,k}$")
    ax.plot(peak, y[peak], "o", color=BLUE)
    ax.annotate(
        f"{y[peak]:.1f}", (peak, y[peak]), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=11
    )
    ax.set(xlabel="k", yscale="log", ylim=(min(y.min(), rho ** k[-1]) / 3, top))
    _legend_above(ax, fontsize=12)
    return ax


# ------------------------------------------------------------------------------------------ the cliff


class CliffArtists(NamedTuple):
    """What moves in `plot_cliff`: the start, a line for each path, a mark where each ends, the legend."""

    start: Text
    paths: list[Line2D]
    ends: list[Line2D]
    legend: Legend


_PATHS = (("-", "o", BLUE), ("--", "s", RED), ("-.", "^", GREEN), (":", "D", PURPLE))
_LIGHT_GREYS = LinearSegmentedColormap.from_list("light greys", ["white", "#707070"])  # paths must stand out


def plot_cliff(
    paths: Mapping[str, Float[Tensor, "N 2"]],
    *,
    w: tuple[float, float] = (4.2, 5.5),
    b: tuple[float, float] = (-2.7, -1.2),
    ax: Axes | None = None,
) -> Axes:
    """`cliff_loss` over the plane, and on it the points that each path visited, by label (four at most)."""
    ax = axes_or_new(ax, width=7.5, height=5.0)
    update_cliff(draw_cliff(ax, len(paths), w=w, b=b), paths)
    return ax


def draw_cliff(
    ax: Axes, number: int, *, w: tuple[float, float] = (4.2, 5.5), b: tuple[float, float] = (-2.7, -1.2)
) -> CliffArtists:
    """The loss as a grey landscape, dark is high, with room for a `number` of paths.

    Raises ValueError for a number outside of 1..4.
    """
    if not 1 <= number <= len(_PATHS):
        raise ValueError(f"number of paths must lie in 1..{len(_PATHS)}, got {number}")
    grid = torch.meshgrid(
        torch.linspace(*w, 300, dtype=torch.float64),
        torch.linspace(*b, 300, dtype=torch.float64),
        indexing="xy",
    )
    image = ax.imshow(
        cliff_loss(*grid).numpy(),
        extent=(*w, *b),
        origin="lower",
        aspect="auto",
        cmap=_LIGHT_GREYS,
        vmin=0,
        vmax=0.5,
    )
    add_colorbar(image, ax, label="loss")
    ax.grid(False)
    paths, ends = [], []
    for k, (dashes, marker, color) in enumerate(_PATHS[:number]):
        # Later paths have larger, hollow marks and lie on top, so that what they share shows both.
        inside = color if k == 0 else "none"
        paths += ax.plot(
            [],
            [],
            dashes,
            marker=marker,
            markersize=3.5 + 2.5 * k,
            markerfacecolor=inside,
            color=color,
            zorder=3 + k,
        )
        ends += ax.plot(
            [], [], marker, markersize=11, color=color, markeredgecolor="white", markeredgewidth=1.5, zorder=8
        )
    start = ax.text(0, 0, "start", fontsize=11, va="bottom", clip_on=True, zorder=9)
    legend = _legend_above(ax, handles=paths, labels=[" "] * number, ncols=1)
    ax.set(xlabel="w", ylabel="b", xlim=w, ylim=b)
    return CliffArtists(start, paths, ends, legend)


def update_cliff(artists: CliffArtists, paths: Mapping[str, Float[Tensor, "N 2"]]) -> None:
    """Show other paths."""
    for line, end, text, (label, points) in zip(
        artists.paths, artists.ends, artists.legend.get_texts(), paths.items(), strict=True
    ):
        line.set_data(*points.mT)
        end.set_data(*points[-1:].mT)
        text.set_text(label)
    first = next(iter(paths.values()))
    artists.start.set_position((float(first[0, 0]) + 0.015, float(first[0, 1]) + 0.01))


# ----------------------------------------------------------------------------------------- cut graphs


class TruncationArtists(NamedTuple):
    """What moves in `plot_truncation`, and its right-hand axes."""

    right: Axes
    lost: PolyCollection
    cuts: Line2D
    window: Line2D
    marks: list[Line2D]
    legend: Legend


def plot_truncation(trace: Truncation, *, window: int, axes: Iterable[Axes] | None = None) -> list[Axes]:
    """Left, which of all dL_t/dh_k a window keeps; right, what is left of the gradient of W_hh.

    `axes` are two. Raises ValueError for a window outside of 1..T.
    """
    axes = _two_axes_or_new(axes)
    update_truncation(draw_truncation(axes, trace), trace, window)
    return axes


def draw_truncation(axes: Iterable[Axes], trace: Truncation) -> TruncationArtists:
    """Everything that `plot_truncation` shows, still without a window."""
    left, right = axes
    T = len(trace.windows)
    reach = torch.where(trace.reach > 0, trace.reach, math.nan)  # nan stays blank
    largest = 10.0 ** math.ceil(trace.reach.max().log10())
    scale = LogNorm(largest * 1e-5, largest)
    image = left.imshow(reach.numpy(), norm=scale, extent=(0.5, T + 0.5, T + 0.5, 0.5), aspect="auto")
    add_colorbar(image, left, extend="min").minorticks_off()
    left.set_title(r"$\|\partial L_t/\partial h_k\|$")
    lost = PolyCollection([], facecolor="white", alpha=0.8, edgecolor="none", zorder=2)
    left.add_collection(lost, autolim=False)
    [cuts] = left.plot([], [], color=RED, linewidth=2.2, zorder=3)
    left.grid(False)
    left.set(xlabel="state of step k", ylabel="loss of step t", xlim=(0.5, T + 0.5), ylim=(T + 0.5, 0.5))

    [line] = right.plot([], [], color=GREY, linewidth=1, zorder=2)
    marks = []
    for values, dashes, marker, color in (
        (trace.cosine, "-", "o", BLUE),
        (trace.norm_ratio, "--", "s", RED),
        (trace.memory, "-.", "^", GREEN),
    ):
        right.plot(trace.windows, values, dashes, color=color, zorder=3)
        marks += right.plot(
            [], [], dashes, marker=marker, color=color, markersize=9, markeredgecolor="white", zorder=4
        )
    lowest, highest = float(trace.cosine.min()), float(trace.norm_ratio.max())
    right.set(xlabel="window", xlim=(0, T + 1), ylim=(min(0, lowest), max(1.1, 1.05 * highest)))
    legend = _legend_above(
        right, handles=marks, labels=[" "] * 3, handlelength=1.8, handletextpad=0.4, columnspacing=1.2
    )
    return TruncationArtists(right, lost, cuts, line, marks, legend)


def update_truncation(artists: TruncationArtists, trace: Truncation, window: int) -> None:
    """Show another window. Raises ValueError for one outside of 1..T."""
    T = len(trace.windows)
    if not 1 <= window <= T:
        raise ValueError(f"window must lie in 1..{T}, got {window}")
    bounds = [0.5 + step for step in (*range(0, T, window), T)]
    stairs = [corner for a, b in zip(bounds, bounds[1:], strict=False) for corner in ((a, a), (a, b))]
    # The losses of a piece, its rows, don't reach the steps before it: all below and left of the stairs.
    artists.lost.set_verts([[*stairs, (0.5, T + 0.5)]])
    artists.cuts.set_data(*zip(*stairs, strict=True))

    values = [float(of[window - 1]) for of in (trace.cosine, trace.norm_ratio, trace.memory)]
    for mark, value in zip(artists.marks, values, strict=True):
        mark.set_data([window], [value])
    artists.window.set_data([window, window], artists.right.get_ylim())
    cosine, norm, memory = artists.legend.get_texts()
    cosine.set_text(f"cosine {values[0]:.2f}")
    norm.set_text(f"norm {values[1]:.2f}")
    memory.set_text(f"memory {values[2]:.2f}")


# ------------------------------------------------------------------------------- deep initialisation


class DepthArtists(NamedTuple):
    """What moves in `plot_depth_statistics`: a line in both panels for each label, titles and a legend."""

    axes: list[Axes]
    activations: list[Line2D]
    gradients: list[Line2D]
    titles: list[Text]
    legend: Legend


_DEPTH_LINES = (("-", 2.6, BLUE), ("--", 1.6, ORANGE), (":", 2.2, BLACK))
_DECADES = (2, 4, 8, 15, 20, 30, 40)


def plot_depth_statistics(
    statistics: Mapping[str, DepthStatistics], *, axes: Iterable[Axes] | None = None
) -> list[Axes]:
    """Spread of activations (left) and gradients (right) by layer, with a line in each for each label.

    At most three labels; the panels' titles tell the first one's way from end to end. `axes` are two.
    """
    axes = _two_axes_or_new(axes)
    update_depth_statistics(draw_depth_statistics(axes, len(statistics)), statistics)
    return axes


def draw_depth_statistics(axes: Iterable[Axes], number: int) -> DepthArtists:
    """Everything that `plot_depth_statistics` shows, still without data, with room for a `number` of lines.

    Raises ValueError for a number outside of 1..3.
    """
    if not 1 <= number <= len(_DEPTH_LINES):
        raise ValueError(f"number of labels must lie in 1..{len(_DEPTH_LINES)}, got {number}")
    axes, lines = list(axes), []
    for ax in axes:
        lines.append(
            [
                ax.plot([], [], dashes, linewidth=width, color=color, zorder=3 + k)[0]
                for k, (dashes, width, color) in enumerate(_DEPTH_LINES[:number])
            ]
        )
        ax.set(xlabel="layer", yscale="log")
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes[0].set_ylabel("standard deviation")
    titles = [ax.text(0, 1.02, "", transform=ax.transAxes, fontsize=13, va="bottom") for ax in axes]
    legend = axes[0].legend(
        handles=lines[0], labels=[" "] * number, loc="lower left", bbox_to_anchor=(-0.02, 1.09), ncols=number
    )
    return DepthArtists(axes, lines[0], lines[1], titles, legend)


def update_depth_statistics(artists: DepthArtists, statistics: Mapping[str, DepthStatistics]) -> None:
    """Show other statistics. The axes change with the depth, and now and then with the size of the values."""
    sizes = []
    for (label, values), text, *lines in zip(
        statistics.items(), artists.legend.get_texts(), artists.activations, artists.gradients, strict=True
    ):
        text.set_text(label)
        for line, std in zip(lines, values, strict=True):
            line.set_data(np.arange(len(std)), std)
            sizes.append(float(std.log10().abs().max()))
    decades = next((d for d in _DECADES if max(sizes) < d), _DECADES[-1])
    first = next(iter(statistics.values()))
    ways = (
        f"activations  {first.activations[0]:.2g} → {first.activations[-1]:.2g}",
        f"gradients  {first.gradients[0]:.2g} ← {first.gradients[-1]:.2g}",
    )
    for ax, title, way in zip(artists.axes, artists.titles, ways, strict=True):
        title.set_text(way)
        _set_xlim(ax, 0.0, len(first.activations) - 1.0)
        _set_decades(ax, -decades, decades)


def _set_xlim(ax: Axes, left: float, right: float) -> None:
    """Limits set again, even the same, make an explorer look at everything that does not move."""
    if ax.get_xlim() != (left, right):
        ax.set_xlim(left, right)


def _set_decades(ax: Axes, bottom: int, top: int) -> None:
    """Let a logarithmic y axis reach from 10^bottom to 10^top, with a tick at round powers."""
    if ax.get_ylim() == (10.0**bottom, 10.0**top):
        return
    step = next((step for step in (1, 2, 5, 10) if top - bottom <= 8 * step), 10)
    ax.yaxis.set_major_locator(FixedLocator([10.0**power for power in range(-100, 101, step)]))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_ylim(10.0**bottom, 10.0**top)


def _legend_above(ax: Axes, *, ncols: int = 4, **kwargs: Any) -> Legend:
    """A legend over the axes, where it covers no data."""
    return ax.legend(loc="lower left", bbox_to_anchor=(-0.015, 1), ncols=ncols, borderaxespad=0.2, **kwargs)


def _two_axes_or_new(axes: Iterable[Axes] | None) -> list[Axes]:
    return list(plt.subplots(1, 2, figsize=(9.5, 4.2))[1] if axes is None else axes)
