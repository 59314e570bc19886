"""Figures that several chapters need: training curves, accuracy by step, small images, coloured text."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from torch import Tensor

from seqlib.figures.style import BLUE, ORANGE, RED, SKY
from seqlib.training import History

# Lines differ in more than their colour, so that they can be told apart without it.
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")

# Colours for values of both signs: 0 is in the middle of an odd number of them, and white.
SIGNED = LinearSegmentedColormap.from_list("signed", [BLUE, SKY, "white", ORANGE, RED], N=257)


def axes_or_new(ax: Axes | None, *, width: float = 6.5, height: float = 3.6) -> Axes:
    """`ax`, or the axes of a new figure of `width` by `height` inches that the notebook will show."""
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax


def add_colorbar(mappable: ScalarMappable, ax: Axes | Sequence[Axes], **kwargs: Any) -> Colorbar:
    """Beside the axes; its colours overlap a little, or SVG viewers show hairlines between them."""
    figure = (ax if isinstance(ax, Axes) else ax[0]).figure
    bar = figure.colorbar(mappable, ax=ax, **kwargs)
    assert bar.solids is not None  # that is for contour lines
    bar.solids.set_edgecolor("face")
    return bar


def ink_on(colour: Sequence[float] | np.ndarray) -> str:
    """ "black" or "white", whichever is easier to read on this colour (red, green, blue from 0 to 1)."""
    luminance = np.asarray(colour)[:3] ** 2.2 @ [0.2126, 0.7152, 0.0722]
    return "black" if luminance > 0.18 else "white"  # WCAG 2: there both have the same contrast, 4.6


def running_mean(values: Sequence[float], window: int) -> np.ndarray:
    """The mean of each value and its neighbours, `window` values in all, fewer at the ends.

    Raises ValueError for a window below 1.
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    ones = np.ones(min(window, len(values)))
    sums = np.convolve(np.asarray(values, dtype=float), ones, mode="same")
    return sums / np.convolve(np.ones(len(values)), ones, mode="same")


def plot_losses(
    losses: Mapping[str, History | Sequence[float]],
    *,
    ax: Axes | None = None,
    smooth: int = 1,
    log: bool = False,
    ylabel: str = "Loss",
) -> Axes:
    """Training curves by label: one line each, over steps counted from 1.

    With `smooth` each line is a running mean over so many steps, and the single steps are a faint line below.
    Raises ValueError for no losses at all, an empty curve or smooth < 1.
    """
    if not losses:
        raise ValueError("losses must hold at least one curve, got none")
    if smooth < 1:
        raise ValueError(f"smooth must be at least 1, got {smooth}")
    curves = {label: h.losses if isinstance(h, History) else list(h) for label, h in losses.items()}
    for label, curve in curves.items():
        if not curve:
            raise ValueError(f"losses must have at least one step in each curve, {label!r} has none")
    ax = axes_or_new(ax)
    for number, (label, curve) in enumerate(curves.items()):
        steps, dashes = np.arange(1, len(curve) + 1), DASHES[number % len(DASHES)]
        [line] = ax.plot(steps, running_mean(curve, smooth), label=label, linestyle=dashes, zorder=3)
        if smooth > 1:
            ax.plot(steps, curve, color=line.get_color(), alpha=0.25, linewidth=0.8, zorder=2)
    if log:
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
        ax.yaxis.set_major_formatter("{x:g}")  # 0.2 rather than 2 times 10 to the minus 1
        ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        ax.set_ylim(bottom=min(0.0, *(min(curve) for curve in curves.values())))
    ax.set(xlabel="Training step", ylabel=ylabel)
    if len(curves) > 1:
        ax.legend()
    return ax


def plot_accuracy_by_step(
    accuracies: Mapping[str, Sequence[float] | Float[Tensor, " T"]],
    *,
    ax: Axes | None = None,
    chance: float | None = None,
    xlabel: str = "Step",
) -> Axes:
    """The share of right answers (0 to 1) at each step of a sequence, one marked line for each label.

    `chance` draws a dotted line at what guessing reaches. Raises ValueError for no lines, or for shares
    outside of 0..1.
    """
    if not accuracies:
        raise ValueError("accuracies must hold at least one line, got none")
    lines = {label: np.asarray(values, dtype=float) for label, values in accuracies.items()}
    for label, values in lines.items():
        if values.ndim != 1 or not len(values) or not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"accuracies must be a row of shares from 0 to 1, {label!r} is {values}")
    ax = axes_or_new(ax)
    for number, (label, values) in enumerate(lines.items()):
        ax.plot(
            np.arange(1, len(values) + 1),
            values,
            label=label,
            marker=MARKERS[number % len(MARKERS)],
            linestyle=DASHES[number % len(DASHES)],
            clip_on=False,
            zorder=3,
        )
    if chance is not None:
        ax.axhline(chance, color="black", linestyle=":", linewidth=1.2, label="guessing")
    ax.set(xlabel=xlabel, ylabel="Share of right answers", ylim=(0, 1))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(lines) > 1 or chance is not None:
        ax.legend()
    return ax


def plot_digits(
    images: Float[Tensor, "N height width"],
    titles: Sequence[object] | None = None,
    *,
    columns: int = 8,
    size: float = 0.95,
) -> list[Axes]:
    """A grid of small grey images, black ink on white, each with its title: one axes for each image.

    Values from 0 (paper) to 1 (ink); `size` is the width of one image in inches. Raises ValueError for no
    images, columns < 1 or a number of titles that is not the number of images.
    """
    if len(images) == 0:
        raise ValueError("images must hold at least one image, got none")
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"titles must be as many as the {len(images)} images, got {len(titles)}")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height = size * images.shape[1] / images.shape[2] + (0.3 if titles is not None else 0.05)
    figure: Figure = plt.figure(figsize=(columns * (size + 0.12), rows * height), layout="constrained")
    axes = []
    for number, image in enumerate(images.detach().numpy()):
        ax = figure.add_subplot(rows, columns, number + 1)
        ax.imshow(image, cmap="gray_r", vmin=0, vmax=1)
        ax.grid(False)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(visible=True, color="#BBBBBB")
        if titles is not None:
            ax.set_title(str(titles[number]), fontsize=11, loc="center", pad=3)
        axes.append(ax)
    return axes


class TextCells(NamedTuple):
    """The coloured cells of `draw_text_cells`, and the row and column of each character's cell."""

    cells: AxesImage
    rows: Int[np.ndarray, " T"]
    columns: Int[np.ndarray, " T"]


def draw_text_cells(
    ax: Axes,
    text: Sequence[str],
    *,
    cmap: Colormap,
    vmin: float | int,
    vmax: float | int,
    fontsize: float | int = 13,
) -> TextCells:
    """`text`, in lines, with each of its characters on a cell that is still blank.

    The colours reach from `vmin` to `vmax`. Raises ValueError for a text without characters.
    """
    if not any(text):
        raise ValueError("text must hold at least one character, got none")
    cells = ax.imshow(
        np.full((len(text), max(map(len, text))), np.nan),
        cmap=cmap,
        vmin=vmin,
        vmax=vmax,
        aspect="auto",
        interpolation="none",  # a pixel for each cell, which SVG viewers enlarge: quick to draw again
    )
    places = [(row, column) for row, line in enumerate(text) for column in range(len(line))]
    for row, column in places:
        letter = ax.text(column, row, text[row][column], ha="center", va="center_baseline", fontsize=fontsize)
        letter.set(family=["DejaVu Sans Mono"], parse_math=False, in_layout=False)
    ax.grid(False)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    rows, columns = np.array(places).T
    return TextCells(cells, rows, columns)


def update_text_cells(artists: TextCells, values: Float[Tensor, " T"]) -> None:
    """Colour each character by its value; nan leaves its cell blank.

    Raises ValueError where there are not as many as characters.
    """
    if len(values) != len(artists.rows):
        raise ValueError(f"values must be as many as the {len(artists.rows)} characters, got {len(values)}")
    colours = np.full(artists.cells.get_size(), np.nan)
    colours[artists.rows, artists.columns] = values.numpy()
    artists.cells.set_data(colours)
