"""One look for all figures of the course: colours that colour-blind readers tell apart, readable sizes.

Nothing changes by importing this module. A chapter calls `use()` in its first cell; figures for explorers
are made by `new_figure`, which has the same look whether or not anybody called `use()`.
"""

from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

# Okabe and Ito (2008), "Color Universal Design"; GREY is ours.
BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
RED = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#767676"
CYCLE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK)  # no yellow: too faint for a line on white

STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#444444",
    "axes.facecolor": "white",
    "axes.grid": True,
    "axes.labelsize": 11,
    "axes.prop_cycle": cycler(color=CYCLE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "figure.constrained_layout.use": True,
    "figure.dpi": 110,
    "figure.facecolor": "white",  # opaque, so that it can be read in a dark theme too
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same on every machine
    "font.size": 11,
    "grid.alpha": 1.0,
    "grid.color": "#E6E6E6",
    "image.cmap": "viridis",
    "legend.fontsize": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "mathtext.fontset": "dejavusans",
    "savefig.bbox": "standard",
    "savefig.facecolor": "auto",
    "svg.fonttype": "path",
    "svg.hashsalt": "seqlib",  # the same picture, the same bytes
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
}


def use() -> None:
    """Give every figure made from now on the course's look."""
    matplotlib.rcParams.update(STYLE)


def look() -> Any:
    """The same look for the length of a `with` block, or of a function decorated by `@look()`."""
    return matplotlib.rc_context(STYLE)


def new_figure(
    width: float | int, height: float | int, nrows: int = 1, ncols: int = 1, **kwargs: Any
) -> tuple[Figure, Any]:
    """A figure of `width` by `height` inches and its axes, as `plt.subplots` gives them, but outside pyplot.

    pyplot keeps every figure that it makes, and a notebook shows each of them by itself; an explorer's figure
    is shown by the explorer alone. `kwargs` go to `Figure.subplots` (`sharex`, `width_ratios`, ...).

    Raises ValueError where a size is not positive.
    """
    for name, size in (("width", width), ("height", height)):
        if not size > 0:
            raise ValueError(f"{name} must be a positive number of inches, got {size}")
    with look():
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        return figure, figure.subplots(nrows, ncols, **kwargs)
