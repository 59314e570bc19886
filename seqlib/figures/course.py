"""The map of the course."""

from collections.abc import Collection
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from seqlib.figures import style
from seqlib.figures.common import axes_or_new
from seqlib.progress import CHAPTERS

_CARDS = {  # where each chapter stands (column, row), and the question that it answers
    0: ((0, 1), "You are here."),
    1: ((0, 0), "How likely is\nthis sequence?"),
    2: ((1, 0), "How can a network\nremember?"),
    3: ((2, 0), "Why does it forget\nwhat is long ago?"),
    4: ((3, 0), "How do gates keep\na memory alive?"),
    5: ((3, 1), "How to answer in\nanother length?"),
    6: ((2, 1), "Where should\nthe model look?"),
    7: ((1, 1), "Is looking\nall that it takes?"),
    8: ((1, 2), "What is\nin this picture?"),
    9: ((2, 2), "Is a picture\na sequence, too?"),
}
BUILDS_ON = {1: 0, 2: 1, 3: 2, 4: 3, 5: 4, 6: 5, 7: 6, 8: 7, 9: 8}

_CARD, _GAP = (2.15, 1.25), (0.36, 0.42)  # inches
_COLUMNS, _ROWS = 4, 3
_WIDTH = _COLUMNS * (_CARD[0] + _GAP[0]) - _GAP[0]
_HEIGHT = _ROWS * (_CARD[1] + _GAP[1]) - _GAP[1]
_TO_COME = "#666666"


def plot_course_map(ax: Axes | None = None, *, available: Collection[int]) -> Axes:
    """The chapters of the course, each with its question; an arrow leads to what builds on it.

    `available` holds the numbers of the chapters that are written. The others are drawn pale, with a dashed
    border and the words "to come". Drawn in inches, 9.9 by 4.8: in smaller axes the words would not fit.

    Raises ValueError for the number of a chapter that there isn't.
    """
    if unknown := set(available) - set(_CARDS):
        raise ValueError(f"available must hold chapters from 0 to {max(_CARDS)}, got {sorted(unknown)}")
    ax = axes_or_new(ax, width=_WIDTH + 0.2, height=_HEIGHT + 0.2)
    ax.set(xlim=(-0.05, _WIDTH + 0.05), ylim=(_HEIGHT + 0.05, -0.05), aspect="equal")
    ax.axis("off")
    for number, _, title in CHAPTERS:
        _draw_card(ax, number, title, ready=number in available)
    for number, earlier in BUILDS_ON.items():
        _draw_arrow(ax, earlier, number, ready={number, earlier} <= set(available))
    return ax


def _corner(number: int) -> tuple[float, float]:
    column, row = _CARDS[number][0]
    return column * (_CARD[0] + _GAP[0]), row * (_CARD[1] + _GAP[1])


def _draw_card(ax: Axes, number: int, title: str, *, ready: bool) -> None:
    x, y = _corner(number)
    ink = "black" if ready else _TO_COME
    ax.add_patch(
        FancyBboxPatch(
            (x, y),
            *_CARD,
            boxstyle="round,pad=0,rounding_size=0.09",
            facecolor="#EAF3FA" if ready else "white",
            edgecolor=style.BLUE if ready else "#8C8C8C",
            linewidth=1.8 if ready else 1.0,
            linestyle="-" if ready else (0, (4, 3)),
            gid=f"chapter {number}",
        )
    )
    top: dict[str, Any] = dict(verticalalignment="top", color=ink, linespacing=1.15)
    ax.text(x + 0.1, y + 0.1, str(number), fontsize=16, fontweight="bold", **top)
    ax.text(x + 0.38, y + 0.12, fill(title, 18), fontsize=10.5, fontweight="bold", **top)
    ax.text(x + 0.1, y + 0.57, _CARDS[number][1], fontsize=10.5, **top)
    if not ready:
        corner = (x + _CARD[0] - 0.1, y + _CARD[1] - 0.07)
        ax.text(*corner, "to come", ha="right", va="bottom", color=ink, fontsize=10, fontstyle="italic")


def _draw_arrow(ax: Axes, start: int, end: int, *, ready: bool) -> None:
    """From the edge of one card to the nearest edge of its neighbour."""
    (x0, y0), (x1, y1) = _corner(start), _corner(end)
    along, down = ((b > a) - (b < a) for a, b in ((x0, x1), (y0, y1)))  # each -1, 0 or 1
    half_width, half_height = _CARD[0] / 2, _CARD[1] / 2
    reach_x, reach_y = along * (half_width + 0.03), down * (half_height + 0.03)
    ax.add_patch(
        FancyArrowPatch(
            (x0 + half_width + reach_x, y0 + half_height + reach_y),
            (x1 + half_width - reach_x, y1 + half_height - reach_y),
            arrowstyle="-|>",
            mutation_scale=15,
            shrinkA=0,
            shrinkB=0,
            color="#444444" if ready else "#8C8C8C",
            linewidth=1.8 if ready else 1.2,
            gid=f"{start} to {end}",
        )
    )
