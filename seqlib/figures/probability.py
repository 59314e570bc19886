"""Figures of chapter 01: shuffled text, perplexity by context length, surprisal, forecasts of a series.

Each picture is made of a `draw_*` (the artists, once) and an `update_*` (their data), which an explorer uses
apart.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, NullLocator
from torch import Tensor

from seqlib.figures.common import TextCells, add_colorbar, axes_or_new, draw_text_cells, update_text_cells
from seqlib.figures.rnn import visible, wrapped
from seqlib.figures.style import BLACK, BLUE, GREY, ORANGE, RED

_MONO = ["DejaVu Sans Mono"]


# ------------------------------------------------------------------------------------ shuffled text


class Shuffled(NamedTuple):
    """A text of which a share of the characters have changed places, and what it costs a model."""

    share: float
    text: str  # in its new order
    moved: Bool[Tensor, " T"]  # whether the character at each place has come from another
    bits: float  # for a character, on average


class ShuffleSpread(NamedTuple):
    """Bits for a character at several shares, in several shuffles."""

    shares: Float[Tensor, " S"]
    bits: Float[Tensor, "N S"]


class ShuffledArtists(NamedTuple):
    """The lines of text, twice in the same places, and the mark in the right-hand axes."""

    kept: list[Text]
    moved: list[Text]
    mark: Line2D
    headline: Text


def draw_shuffled(
    axes: Iterable[Axes], spread: ShuffleSpread, *, vocabulary_size: int, lines: int = 8
) -> ShuffledArtists:
    """Left, room for the beginning of the text; right, bits by share: median and range of all shuffles."""
    left, right = axes
    left.axis("off")
    left.set(xlim=(0, 1), ylim=(lines, 0))
    left.set_title("Beginning of the text", pad=12)
    key = left.annotate(
        "moved", (0, 1), xytext=(145, 12), textcoords="offset points", xycoords="axes fraction"
    )
    key.set(va="baseline", fontsize=12, color=RED, weight="bold")

    def rows(**look: Any) -> list[Text]:
        return [
            left.text(0, k + 0.7, "", va="baseline", fontsize=13, family=_MONO, parse_math=False, **look)
            for k in range(lines)
        ]

    kept, moved = rows(color=BLACK), rows(color=RED, weight="bold")
    shares, bits = spread.shares.numpy(), spread.bits.numpy()
    right.fill_between(
        shares, bits.min(0), bits.max(0), color=BLUE, alpha=0.3, linewidth=0, label=f"{len(bits)} shuffles"
    )
    right.plot(shares, np.median(bits, 0), color=BLUE, linewidth=1.4, label="their median")
    uniform = math.log2(vocabulary_size)
    right.axhline(uniform, color=BLACK, linestyle=":", linewidth=1.3)
    right.text(1, uniform - 0.15, f"guessing among {vocabulary_size}", ha="right", va="top", fontsize=10)
    right.legend(loc="lower right")
    right.set(xlabel="shuffled share", ylabel="bits a character", xlim=(-0.02, 1.02))
    right.set_ylim(0, math.ceil(max(uniform, bits.max()) + 0.5))
    [mark] = right.plot(
        [], [], "o", color=RED, markersize=10, markeredgecolor="white", markeredgewidth=1.5, zorder=5
    )
    return ShuffledArtists(kept, moved, mark, _headline(right))


def update_shuffled(artists: ShuffledArtists, trace: Shuffled, *, columns: int = 40) -> None:
    """Show another shuffle; each line of the text has so many `columns`, wherever a word ends."""
    for k, (kept, moved) in enumerate(zip(artists.kept, artists.moved, strict=True)):
        here = slice(k * columns, (k + 1) * columns)
        line = list(zip(trace.text[here], trace.moved[here].tolist(), strict=True))
        kept.set_text("".join(" " if away else _line_break(character) for character, away in line))
        moved.set_text("".join(visible(character) if away else " " for character, away in line))
    artists.mark.set_data([trace.share], [trace.bits])
    artists.headline.set_text(f"{trace.bits:.2f} bits a character")


# ------------------------------------------------------------------------------- perplexity by context


class PerplexityArtists(NamedTuple):
    """What moves in `plot_perplexity`: both curves, a mark on each, a line through the marks, the legend."""

    ax: Axes
    curves: list[Line2D]
    marks: list[Line2D]
    chosen: Line2D
    legend: Legend


_PERPLEXITY_LINES = (("training", "-", "o", BLUE), ("held-out", "--", "s", RED))


def plot_perplexity(
    train: Float[Tensor, " N"],
    held_out: Float[Tensor, " N"],
    *,
    length: int | None = None,
    top: float | int = 60.0,
    ax: Axes | None = None,
) -> Axes:
    """Perplexity on both parts for the context lengths 0, 1, ..., N - 1, marked at `length` if there is one.

    The axis reaches from 1, where nothing surprises, to `top`. Raises ValueError for a length that has no
    perplexity.
    """
    ax = axes_or_new(ax, width=6.0, height=4.0)
    update_perplexity(draw_perplexity(ax, len(train), top=top), train, held_out, length=length)
    return ax


def draw_perplexity(ax: Axes, lengths: int, *, top: float | int = 60.0) -> PerplexityArtists:
    """Everything that `plot_perplexity` shows, still without data, for so many context lengths."""
    curves, marks = [], []
    for label, dashes, marker, color in _PERPLEXITY_LINES:
        look: dict[str, Any] = {"color": color, "markeredgecolor": "white"}
        curves += ax.plot([], [], dashes, marker=marker, markersize=5, label=label, zorder=3, **look)
        marks += ax.plot([], [], dashes, marker=marker, markersize=9, zorder=4, **look)
    [chosen] = ax.plot([], [], color=GREY, linewidth=1, zorder=2)
    ax.set(xlabel="context length", ylabel="perplexity", yscale="log", ylim=(1, top))
    ax.set(xlim=(-0.3, lengths - 0.7), xticks=range(lengths))
    ax.yaxis.set_major_locator(FixedLocator([m * 10**k for k in range(7) for m in (1, 2, 5)]))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter("{x:g}")
    legend = ax.legend(handles=curves, loc="lower left", bbox_to_anchor=(-0.015, 1), ncols=2, fontsize=11)
    return PerplexityArtists(ax, curves, marks, chosen, legend)


def update_perplexity(
    artists: PerplexityArtists,
    train: Float[Tensor, " N"],
    held_out: Float[Tensor, " N"],
    *,
    length: int | None = None,
) -> None:
    """Show other perplexities. Raises ValueError for a length that has none."""
    if length is not None and not 0 <= length < len(train):
        raise ValueError(f"length must lie in 0..{len(train) - 1}, got {length}")
    chosen = [] if length is None else [length]
    for (label, *_), values, curve, mark, text in zip(
        _PERPLEXITY_LINES,
        (train, held_out),
        artists.curves,
        artists.marks,
        artists.legend.get_texts(),
        strict=True,
    ):
        curve.set_data(np.arange(len(values)), values.numpy())
        here = [float(values[at]) for at in chosen]
        mark.set_data(chosen, here)
        text.set_text(" ".join([label, *(f"{value:.2f}" for value in here)]))
    artists.chosen.set_data(2 * chosen, artists.ax.get_ylim() if chosen else [])


# ------------------------------------------------------------------------------------------ surprisal


# Lightness falls all the way, and black letters can be read on all of it.
_SURPRISE = LinearSegmentedColormap.from_list("surprise", ["white", ORANGE, RED])


def draw_surprisal(ax: Axes, text: str, *, columns: int = 36, top: float | int = 12.0) -> TextCells:
    """`text` in lines of at most `columns` characters, each on a cell that is still blank, and a colour bar.

    The colours reach from 0 to `top` bits. Raises ValueError for an empty text.
    """
    lines = wrapped("".join(map(_line_break, text)), columns)
    artists = draw_text_cells(ax, lines, cmap=_SURPRISE, vmin=0, vmax=top)
    add_colorbar(
        artists.cells,
        ax,
        location="bottom",
        extend="max",
        label="bits: −log₂ p",
        shrink=0.6,
        aspect=30,
        pad=0.02,
    )
    return artists


def update_surprisal(artists: TextCells, bits: Float[Tensor, " T"]) -> None:
    """Colour each character by its bits; nan leaves its cell blank.

    Raises ValueError where there are not as many as characters.
    """
    if len(bits) != len(artists.rows):
        raise ValueError(f"bits must be as many as the {len(artists.rows)} characters, got {len(bits)}")
    update_text_cells(artists, bits)


# ------------------------------------------------------------------------------------------ forecasts


class Forecasting(NamedTuple):
    """Forecasts of a series by an autoregression, each made `horizon` years before, and their errors."""

    order: int
    horizon: int
    predicted: Float[Tensor, " T"]
    free: Float[Tensor, " T"]  # all made at once, before the first year
    rmse: Float[Tensor, " H"]  # at the horizons 1, 2, ..., H


class ForecastArtists(NamedTuple):
    """What moves in the picture of forecasts: a line for each kind, the errors, their mark, and texts."""

    predicted: Line2D
    free: Line2D
    errors: Line2D
    mark: Line2D
    headline: Text
    legend: Legend


def draw_forecast(
    axes: Iterable[Axes],
    years: Int[Tensor, " T"],
    actual: Float[Tensor, " T"],
    *,
    mean_rmse: float,
    horizons: int,
    ylabel: str = "sunspot number",
) -> ForecastArtists:
    """Left, what came and room for what was forecast; right, room for the error by horizon.

    `mean_rmse` is the error of always forecasting the past's mean.
    """
    left, right = axes
    first, last = int(years[0]), int(years[-1])
    [line] = left.plot(
        years.numpy(), actual.numpy(), color=GREY, linewidth=1.2, marker=".", markersize=4, zorder=2
    )
    [predicted] = left.plot([], [], color=BLUE, linewidth=2, zorder=4)
    [free] = left.plot([], [], "--", color=RED, linewidth=1.5, zorder=3)
    spread = float(actual.max() - actual.min())
    left.set_ylim(float(actual.min()) - 0.13 * spread, float(actual.max()) + 0.05 * spread)
    left.set(xlabel="year", ylabel=ylabel, xlim=(first - 2, last + 2))
    legend = left.legend(
        handles=[line, predicted, free],
        labels=["actual", " ", f"all made in {first - 1}"],
        loc="lower left",
        bbox_to_anchor=(-0.015, 1),
        ncols=3,
        columnspacing=1.3,
    )

    right.axhline(mean_rmse, color=BLACK, linestyle="--", linewidth=1.3)
    right.text(horizons + 1, 1.01 * mean_rmse, "mean of the past", ha="right", va="bottom", fontsize=10)
    [errors] = right.plot([], [], color=BLUE, linewidth=2, zorder=3)
    [mark] = right.plot(
        [], [], "o", color=BLUE, markersize=10, markeredgecolor="white", markeredgewidth=1.5, zorder=4
    )
    right.set(
        xlabel="horizon (years)",
        ylabel="root mean squared error",
        xlim=(0, horizons + 1),
        ylim=(0, 1.3 * mean_rmse),
    )
    return ForecastArtists(predicted, free, errors, mark, _headline(right), legend)


def update_forecast(artists: ForecastArtists, years: Int[Tensor, " T"], trace: Forecasting) -> None:
    """Show other forecasts of the same years. Raises ValueError for a horizon that has no error."""
    if not 1 <= trace.horizon <= len(trace.rmse):
        raise ValueError(f"horizon must lie in 1..{len(trace.rmse)}, got {trace.horizon}")
    rmse = float(trace.rmse[trace.horizon - 1])
    artists.predicted.set_data(years.numpy(), trace.predicted.numpy())
    artists.free.set_data(years.numpy(), trace.free.numpy())
    artists.errors.set_data(np.arange(1, len(trace.rmse) + 1), trace.rmse.numpy())
    artists.mark.set_data([trace.horizon], [rmse])
    artists.headline.set_text(f"error {rmse:.1f}")
    artists.legend.get_texts()[1].set_text(f"forecast {years_ahead(trace.horizon)}")


def years_ahead(horizon: int) -> str:
    """ "1 year ahead", "2 years ahead"."""
    return f"{horizon} year{'s' if horizon != 1 else ''} ahead"


def _line_break(character: str) -> str:
    """The character, or a sign for it if it is a line break."""
    return visible(character) if character == "\n" else character


def _headline(ax: Axes) -> Text:
    return ax.annotate(
        "",
        (0, 1),
        xytext=(0, 8),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=14,
        weight="bold",
    )
