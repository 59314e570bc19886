"""Figures of chapter 04: gates set by hand, fading gradients, the gates of a network, one unit over a text.

A `plot_*` for a chapter is made of a `draw_*` (the artists, once) and an `update_*` (their data), which an
explorer uses apart.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation
from torch import Tensor

from seqlib.bptt import GradientFlow
from seqlib.figures.bptt import pace
from seqlib.figures.common import (
    SIGNED,
    TextCells,
    add_colorbar,
    axes_or_new,
    draw_text_cells,
    update_text_cells,
)
from seqlib.figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, RED, SKY
from seqlib.gated import LSTMTrace

_MONO = ["DejaVu Sans Mono"]
# 0 is in the middle of an odd number of colours, and white. Letters can be read on these.
_SIGNED_LIGHT = LinearSegmentedColormap.from_list("signed, light", [SKY, "white", ORANGE], N=257)


# ------------------------------------------------------------------------------------ gates by hand


class GateSteps(NamedTuple):
    """An LSTM of one unit on its way through one sequence, and the step (from 1) that is looked at."""

    trace: LSTMTrace
    step: int


class GateArtists(NamedTuple):
    """What moves in `draw_gate_steps`: bars, lines, marks at the step, and its arithmetic as text."""

    ax: Axes
    let_in: list[Rectangle]
    c: Line2D
    h: Line2D
    chosen: Line2D
    marks: list[Line2D]
    texts: list[Text]


def draw_gate_steps(
    ax: Axes, g: Float[Tensor, " T"], *, bottom: float = -1.15, top: float = 1.95
) -> GateArtists:
    """The candidates g_t as outlined bars, with room for what the gates make of them."""
    T = len(g)
    steps = np.arange(1, T + 1)
    outline = ax.bar(steps, g.numpy(), width=0.62, facecolor="none", edgecolor=GREY, linewidth=1.3, zorder=4)
    let_in = ax.bar(steps, 0 * g.numpy(), width=0.62, color=GREEN, alpha=0.55, zorder=2)
    [c] = ax.plot([], [], "-", marker="o", color=BLUE, markersize=6, zorder=6)
    [h] = ax.plot([], [], "--", marker="s", color=RED, markersize=5, markerfacecolor="white", zorder=5)
    [chosen] = ax.plot([], [], color=GREY, linewidth=1, zorder=1)
    marks = [
        ax.plot([], [], marker, color=color, markersize=12, fillstyle="none", markeredgewidth=1.8, zorder=7)[
            0
        ]
        for marker, color in (("o", BLUE), ("s", RED))
    ]
    ax.axhline(0, color=BLACK, linewidth=0.8, zorder=3)
    for y in (-1, 1):
        ax.axhline(y, color=BLACK, linestyle=":", linewidth=1.2, zorder=1)
    ax.text(-0.4, 1.03, "tanh ends here", va="bottom", fontsize=10)
    ax.set(xlabel="step t", xlim=(-0.5, T + 0.7), ylim=(bottom, top), xticks=range(T + 1))
    ax.legend(
        handles=[outline, let_in, c, h],
        labels=["candidate $g_t$", "let in $i\\,g_t$", "cell $c_t$", "state $h_t$"],
        loc="lower left",
        bbox_to_anchor=(-0.015, 1),
        borderaxespad=0.2,
        ncols=4,
        fontsize=11,
    )

    def line(x: int, y: int, text: str = "", **look: Any) -> Text:
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
        return ax.annotate(text, (0, 1), xytext=(x, y), va="baseline", parse_math=bool(text), **place, **look)

    line(75, 60, r"$c_t = f\,c_{t-1} + i\,g_t$", fontsize=13)
    line(75, 36, r"$h_t = o\,\tanh c_t$", fontsize=13)
    numbers: dict[str, Any] = {"fontsize": 12, "family": _MONO}
    texts = [line(0, 60, weight="bold", fontsize=13), line(205, 60, **numbers), line(205, 36, **numbers)]
    return GateArtists(ax, list(let_in), c, h, chosen, marks, texts)


def update_gate_steps(artists: GateArtists, steps: GateSteps) -> None:
    """Show other gates or another step. Raises ValueError for a step outside of 1..T."""
    i, f, g, o, c, h = (part[0, :, 0].numpy() for part in steps.trace)
    T, t = len(g), steps.step
    if not 1 <= t <= T:
        raise ValueError(f"step must lie in 1..{T}, got {t}")
    for bar, height in zip(artists.let_in, i * g, strict=True):
        bar.set_height(height)
    artists.c.set_data(np.arange(T + 1), c)
    artists.h.set_data(np.arange(T + 1), h)
    artists.chosen.set_data([t, t], artists.ax.get_ylim())
    for mark, values in zip(artists.marks, (c, h), strict=True):
        mark.set_data([t], [values[t]])
    title, cell, state = artists.texts
    title.set_text(f"step {t}")
    cell.set_text(
        f"= {f[t - 1]:.2f} · {_signed(c[t - 1])} + {i[t - 1]:.2f} · {_signed(g[t - 1])} = {_signed(c[t])}"
    )
    gate = f"= {o[t - 1]:.2f} · "
    state.set_text(f"{gate}tanh {_signed(c[t])} {gate}{_signed(np.tanh(c[t]))} = {_signed(h[t])}")


def _signed(value: float | np.floating) -> str:
    """A number that is as wide with a sign as without, so that nothing jumps."""
    return f"{value:z5.2f}".replace("-", "−")


# -------------------------------------------------------------------------------------- the highway


class FadingArtists(NamedTuple):
    """What moves in `plot_fading`: a line for each label, and its pace in words."""

    ax: Axes
    lines: list[Line2D]
    paces: list[Text]


_FADING_LINES = (("-.", 1.8, GREEN), (":", 2.4, BLACK), ("-", 2.6, BLUE), ("--", 2.0, ORANGE))


def plot_fading(norms: Mapping[str, Float[Tensor, " T"]], *, ax: Axes | None = None) -> Axes:
    """Norms of gradients by time step, one line for each label (four at most), and how fast each fades.

    The axis reaches from 1e-12 to 1e3. Raises ValueError for no lines or more than four.
    """
    ax = axes_or_new(ax, width=8.5, height=4.9)
    update_fading(draw_fading(ax, list(norms)), norms)
    return ax


def draw_fading(ax: Axes, labels: Sequence[str]) -> FadingArtists:
    """Everything that `plot_fading` shows, still without data."""
    if not 1 <= len(labels) <= len(_FADING_LINES):
        raise ValueError(f"labels must be 1 to {len(_FADING_LINES)}, got {len(labels)}")
    lines: list[Line2D] = []
    paces: list[Text] = []
    for k, (label, (dashes, width, color)) in enumerate(zip(labels, _FADING_LINES, strict=False)):
        look: dict[str, Any] = {"linestyle": dashes, "linewidth": width, "color": color}
        lines += ax.plot([], [], zorder=3 + k, label=label, **look)
        # Instead of a legend: what moves in a legend pushes the rest aside, and takes long to draw.
        column, row = divmod(k, 2)
        x, y = 230 * column, 30 - 21 * row
        sample = ax.transAxes + ScaledTranslation(x / 72, (y + 4) / 72, ax.figure.dpi_scale_trans)
        ax.plot([0, 0.065], [1, 1], transform=sample, clip_on=False, **look)
        for dx, text in ((46, label), (46 + _LABEL_WIDTH[column], "")):
            words = ax.annotate(
                text, (0, 1), xytext=(x + dx, y), xycoords="axes fraction", textcoords="offset points"
            )
            words.set(va="baseline", fontsize=11)
        paces.append(words)
    ax.set(xlabel="time step t (the loss follows the last)", ylabel="norm of the gradient", yscale="log")
    ax.yaxis.set_major_locator(FixedLocator([10.0**power for power in range(-12, 4, 3)]))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_ylim(1e-12, 1e3)
    return FadingArtists(ax, lines, paces)


_LABEL_WIDTH = (50, 115)  # points, before the pace


def update_fading(artists: FadingArtists, norms: Mapping[str, Float[Tensor, " T"]]) -> None:
    """Show other norms under the same labels. The axes change with their number of steps only."""
    for line, words, values in zip(artists.lines, artists.paces, norms.values(), strict=True):
        line.set_data(np.arange(1, len(values) + 1), values.numpy())
        words.set_text(pace_of(values))
    T = len(values)
    limits = (1 - 0.02 * T, 1.02 * T)
    if artists.ax.get_xlim() != limits:
        artists.ax.set_xlim(limits)


def pace_of(norms: Float[Tensor, " T"]) -> str:
    """How fast norms fade on their way back, in a few words."""
    steps = torch.arange(1, len(norms) + 1)
    return pace(GradientFlow(steps, norms, steps[:0], norms[:0], None, None))


# ------------------------------------------------------------------------------- gates of a network


def plot_gates(
    trace: LSTMTrace,
    *,
    sequence: int = 0,
    units: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    axes: Iterable[Axes] | None = None,
) -> list[Axes]:
    """Heat maps of i, f, o and tanh c over the steps of one sequence of a batch: one row for each unit.

    All units, sorted by their mean forget gate with the largest on top, or those in `units`, in that order
    and with their numbers. `labels` are what stands below the steps, such as the characters read, instead of
    their numbers; `axes` are four. Raises ValueError for a sequence or unit that isn't there, and where
    `labels` are not as many as steps.
    """
    B, T, H = trace.i.shape
    if not 0 <= sequence < B:
        raise ValueError(f"sequence must lie in 0..{B - 1}, got {sequence}")
    if units is not None and not (len(units) and all(0 <= unit < H for unit in units)):
        raise ValueError(f"units must be numbers in 0..{H - 1}, at least one, got {list(units)}")
    if labels is not None and len(labels) != T:
        raise ValueError(f"labels must be as many as the {T} steps, got {len(labels)}")
    order = trace.f[sequence].mean(0).argsort(descending=True).tolist() if units is None else list(units)
    if axes is None:
        height = 2.0 + 0.15 * min(max(len(order), 4), 32)
        axes = plt.subplots(4, 1, figsize=(9.5, height), sharex=True, sharey=True, layout="constrained")[1]
    axes = list(axes)
    for ax, title, part, look in (
        (axes[0], "input gate i", trace.i, {"vmin": 0, "vmax": 1}),
        (axes[1], "forget gate f", trace.f, {"vmin": 0, "vmax": 1}),
        (axes[2], "output gate o", trace.o, {"vmin": 0, "vmax": 1}),
        (axes[3], "cell, tanh c", trace.c[:, 1:].tanh(), {"cmap": SIGNED, "vmin": -1, "vmax": 1}),
    ):
        image = ax.imshow(
            part[sequence][:, order].mT.detach().numpy(),
            extent=(0.5, T + 0.5, len(order) - 0.5, -0.5),
            aspect="auto",
            interpolation="nearest",
            **look,
        )
        ax.set_title(title)
        ax.grid(False)
        add_colorbar(image, ax)
        if labels is not None:
            ax.set_xticks(range(1, T + 1), labels)
        else:
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_yticks(
            [] if units is None else range(len(order)), [] if units is None else [str(unit) for unit in order]
        )
        ax.set_ylabel("units" if units is None else "unit")
    axes[-1].set_xlabel("step t" if labels is None else "")
    return axes


# --------------------------------------------------------------------------------- one unit's view


class UnitView(NamedTuple):
    """What one unit says at every character of a text, from -1 to 1, and how well it follows each feature."""

    unit: int
    values: Float[Tensor, " T"]
    scores: dict[str, float]  # from 0 to 1


class UnitArtists(NamedTuple):
    """What moves in `draw_unit`: the characters' cells, a bar and a number for each feature, a headline."""

    text: TextCells
    bars: list[Rectangle]
    numbers: list[Text]
    headline: Text


_COLUMNS = 90


def unit_heights(text: str) -> tuple[float, float]:
    """The inches that the two axes of `draw_unit` take in a figure that is 9.5 wide."""
    return 0.95 + 0.18 * len(_code_lines(text)), 1.6


def draw_unit(axes: Iterable[Axes], text: str, features: Sequence[str]) -> UnitArtists:
    """Above, `text` with its line breaks, each character on a cell; below, room for a bar for each feature.

    Lines of more than 90 characters are broken. A line break has a blank cell of its own at the line's end.
    Raises ValueError for an empty text.
    """
    above, below = axes
    lines = _code_lines(text)
    cells = draw_text_cells(above, lines, cmap=_SIGNED_LIGHT, vmin=-1, vmax=1, fontsize=10)
    above.set_xlim(-0.5, _COLUMNS + 0.5)
    headline = above.annotate(
        "", (0, 1), xytext=(0, 7), xycoords="axes fraction", textcoords="offset points", fontsize=14
    )
    headline.set(weight="bold", zorder=1)  # what moves lies behind the letters
    add_colorbar(
        cells.cells,
        above,
        location="bottom",
        label="value of the unit",
        ticks=[-1, 0, 1],
        shrink=0.4,
        aspect=35,
        pad=0.01,
    )

    places = np.arange(len(features))
    bars = below.barh(places, 0 * places, height=0.62, color=BLUE)
    numbers = [below.text(0, float(place), "", va="center", fontsize=10) for place in places]
    below.set_yticks(places, features)
    below.set(xlim=(0, 1.08), ylim=(len(features) - 0.4, -0.6), xticks=[0, 0.25, 0.5, 0.75, 1])
    below.set_xlabel("how well it follows")
    below.grid(axis="y", visible=False)
    return UnitArtists(cells, list(bars), numbers, headline)


def update_unit(artists: UnitArtists, view: UnitView) -> None:
    """Show another unit."""
    update_text_cells(artists.text, view.values)
    for bar, number, score in zip(artists.bars, artists.numbers, view.scores.values(), strict=True):
        bar.set_width(score)
        number.set(x=score + 0.01, text=f"{score:.2f}")
    best = max(view.scores, key=lambda feature: view.scores[feature])
    artists.headline.set_text(f"unit {view.unit}: {best} {view.scores[best]:.2f}")


def _code_lines(text: str) -> list[str]:
    """Its own lines, overlong ones in pieces; a blank stands for each line break, tab and the like."""
    lines = re.findall(rf"[^\n]{{1,{_COLUMNS}}}\n?|\n", text)
    return ["".join(letter if letter.isprintable() else " " for letter in line) for line in lines]
