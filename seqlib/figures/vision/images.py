"""Figures of chapter 09: a picture as patches, where the class token looks, a picture drawn pixel by pixel.

Dimensions: S tokens of a picture (the class token, then patches), L layers, N heads, P pixels, V grey levels.
Pictures have grey values from 0 (paper) to 1 (ink). Patches, layers, heads and pixels are counted from 1, as
in the pictures.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from torch import Tensor

from seqlib.data import Digits
from seqlib.figures.common import axes_or_new, ink_on
from seqlib.figures.style import BLUE, GREEN, GREY, ORANGE, RED
from seqlib.painting import LEVELS, PIXELS, Painting
from seqlib.patches import VisionTransformer, patchify, roll_out
from seqlib.scenes import CELL

_PATCH_EDGE = "#BBBBBB"
_PATCH_COVER = 0.75  # of a patch, by the colour of its weight if that is the largest
_PAINTING_UNSEEN = "#E3EBF2"  # neither paper nor a grey level


# ------------------------------------------------------------------------------- a picture as patches


def plot_patches(image: Float[Tensor, "height width"], size: int, *, ax: Axes | None = None) -> Axes:
    """A picture with the cuts between its patches, and the sequence that a Vision Transformer reads.

    The class token comes first, then the patches of `size` x `size` pixels, row by row. Raises ValueError as
    `seqlib.patches.patchify` does.
    """
    patches = patchify(image[None], size)[0].view(-1, size, size)
    across, (height, width) = min(len(patches), 16), image.shape
    rows = -(-len(patches) // across)
    side = min(0.85, 6.4 / across)  # of a patch in the sequence, in inches, as everything here
    left, down = 2.0, 2.0 * height / width
    first, line = left + 1.35, side + 0.28
    tall = max(down, rows * line)
    ax = axes_or_new(ax, width=first + across * side + 0.3, height=tall + 0.25)
    look: dict[str, Any] = {"cmap": "gray_r", "vmin": 0, "vmax": 1, "interpolation": "none"}
    top = (tall - down) / 2
    ax.imshow(image.detach().numpy(), extent=(0, left, top + down, top), **look)
    x, y = _patch_cuts(height, width, size)
    ax.plot(x * left / width, top + y * down / height, color=BLUE, linewidth=1.5, clip_on=False)
    middle, begin = top + down / 2, (tall - rows * line) / 2
    ax.annotate(
        "",
        (left + 0.5, middle),
        xytext=(left + 0.1, middle),
        arrowprops={"arrowstyle": "-|>", "color": GREY, "linewidth": 1.5},
    )
    texts: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 10}
    box = Rectangle((left + 0.65, begin + side / 2 - 0.15), 0.58, 0.3, facecolor="#FFF3D6", edgecolor=ORANGE)
    ax.add_patch(box)
    ax.text(left + 0.94, begin + side / 2, "class", **texts)
    for k, patch in enumerate(patches.detach().numpy()):
        x0, y0 = first + k % across * side, begin + k // across * line
        inner = 0.92 * side
        ax.imshow(patch, extent=(x0, x0 + inner, y0 + inner, y0), **look)
        ax.add_patch(Rectangle((x0, y0), inner, inner, fill=False, edgecolor=BLUE, clip_on=False))
        ax.text(x0 + inner / 2, y0 + inner + 0.12, str(k + 1), **texts)
    ax.set(xlim=(-0.05, first + across * side), ylim=(tall + 0.05, -0.05), aspect="equal")
    ax.axis("off")
    return ax


def _patch_cuts(height: int, width: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The cuts and the frame as one line in pixels; nan lifts the pen."""
    cuts = [(0, y, width, y) for y in range(0, height + 1, size)]
    cuts += [(x, 0, x, height) for x in range(0, width + 1, size)]
    x0, y0, x1, y1 = np.array(cuts, dtype=float).T
    gap = np.full(len(cuts), np.nan)
    return np.column_stack([x0, x1, gap]).ravel(), np.column_stack([y0, y1, gap]).ravel()


# ------------------------------------------------------------------------- where the class token looks


class ClassMapArtists(NamedTuple):
    """What moves in `draw_class_map`."""

    cells: AxesImage
    cuts: Line2D
    frame: Rectangle
    numbers: list[Text]  # the weights of the framed patch and of the class token itself


def draw_class_map(ax: Axes, *, side: int = CELL) -> ClassMapArtists:
    """Room for a picture of `side` x `side` pixels with a map over it, and for two lines below it."""
    cells = ax.imshow(np.ones((side, side, 3)), extent=(0, side, side, 0), interpolation="none")
    [cuts] = ax.plot([], [], color=_PATCH_EDGE, linewidth=1, clip_on=False)
    frame = Rectangle((0, 0), 1, 1, fill=False, edgecolor=BLUE, linewidth=2.5, clip_on=False, zorder=4)
    frame.set_path_effects([withStroke(linewidth=5, foreground="white")])  # to be seen on ink too
    ax.add_patch(frame)
    ax.set(xlim=(0, side), ylim=(1.24 * side, 0), xticks=[], yticks=[], anchor="N", frame_on=False)
    numbers = []
    for label, y in (("framed patch", 1.04 * side), ("class token itself", 1.14 * side)):
        numbers.append(ax.text(0, y, "", va="top", fontsize=10))
        ax.annotate(label, (0, y), xytext=(30, 0), textcoords="offset points", va="top", fontsize=10)
    return ClassMapArtists(cells, cuts, frame, numbers)


def update_class_map(
    artists: ClassMapArtists, image: Float[Tensor, "height width"], weights: Float[Tensor, " S"]
) -> None:
    """Show another picture or other weights. Raises ValueError as `plot_class_attention` does."""
    height, width = image.shape
    across = math.isqrt(max(0, len(weights) - 1))
    if height != width or across == 0 or across**2 != len(weights) - 1 or width % across:
        raise ValueError(
            "weights must be one for the class token and one for each patch of a square picture, "
            f"got {len(weights)} for a picture of {height} x {width}"
        )
    size = width // across
    weights = weights.detach()
    patches = weights[1:]
    most = float(patches.max())
    shares = patches / most if most > 0 else torch.zeros_like(patches)
    cover = _PATCH_COVER * shares.view(across, across).numpy().repeat(size, 0).repeat(size, 1)[..., None]
    grey = 1 - image.detach().numpy()[..., None]
    artists.cells.set_data(cover * to_rgb(RED) + (1 - cover) * grey)
    artists.cuts.set_data(*_patch_cuts(height, width, size))
    row, column = divmod(int(patches.argmax()), across)
    artists.frame.set_bounds(column * size, row * size, size, size)
    for number, weight in zip(artists.numbers, (most, float(weights[0])), strict=True):
        number.set_text(f"{weight:.2f}")


def plot_class_attention(
    image: Float[Tensor, "height width"],
    weights: Float[Tensor, " S"],
    *,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A picture, and how much the class token looks at each of its patches: the more, the redder.

    weights: of the class token's row, itself first, then the patches; of a head, or of the roll-out. The
    patch with the largest weight is framed and has the full colour; this weight and that of the class token
    itself stand below. Raises ValueError for weights that are not 1 and a square number of patches
    that divides the picture.
    """
    ax = axes_or_new(ax, width=2.6, height=3.1)
    update_class_map(draw_class_map(ax, side=image.shape[1]), image, weights)
    if title is not None:
        ax.set_title(title, fontsize=11)
    return ax


class ReadDigits(NamedTuple):
    """Pictures, and from one forward pass of a model: its probabilities, and where the class token looked."""

    digits: Digits
    patch_size: int
    probabilities: Float[Tensor, "B 10"]
    weights: Float[Tensor, "L B N S"]
    rolled: Float[Tensor, "B S"]


@torch.no_grad()
def read_digits(model: VisionTransformer, digits: Digits) -> ReadDigits:
    """What a model makes of these pictures. Raises ValueError as the model does."""
    logits, weights = model(digits.images)
    looked = torch.stack([layer[:, :, 0] for layer in weights])
    return ReadDigits(digits, model.patch_size, logits.softmax(-1), looked, roll_out(weights)[:, 0])


class PatchView(NamedTuple):
    """One picture, and one head of one layer; all counted from 1."""

    read: ReadDigits
    digit: int
    layer: int
    head: int

    @property
    def image(self) -> Float[Tensor, "8 8"]:
        return self.read.digits.images[self.digit - 1]

    @property
    def label(self) -> int:
        return int(self.read.digits.labels[self.digit - 1])

    @property
    def weights(self) -> Float[Tensor, " S"]:
        """With which the class token looks, in this head."""
        return self.read.weights[self.layer - 1, self.digit - 1, self.head - 1]

    @property
    def rolled(self) -> Float[Tensor, " S"]:
        """How much of each token went into the class token, along all ways through all layers."""
        return self.read.rolled[self.digit - 1]

    @property
    def probabilities(self) -> Float[Tensor, " 10"]:
        return self.read.probabilities[self.digit - 1]


class PatchArtists(NamedTuple):
    """What moves in `draw_patch_view`."""

    head: ClassMapArtists
    rolled: ClassMapArtists
    bars: list[Rectangle]
    numbers: list[Text]
    title: Text
    answer: Text


def draw_patch_view(axes: Iterable[Axes]) -> PatchArtists:
    """Room for the weights of one head, the roll-out, and the probabilities of the ten digits."""
    left, middle, right = axes
    head, rolled = draw_class_map(left), draw_class_map(middle)
    middle.set_title("All layers and heads: the roll-out", fontsize=11)
    bars = list(right.barh(range(10), np.zeros(10), height=0.7, color=GREY))
    right.set(xlim=(0, 1), ylim=(9.5, -0.5), xlabel="probability", ylabel="digit")
    right.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    right.set_yticks(range(10), map(str, range(10)))
    right.tick_params(length=0)
    right.grid(False)
    numbers = [right.text(0, k, "", va="center_baseline", fontsize=10) for k in range(10)]
    look: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    left.annotate("What the class token looks at", (0, 1), xytext=(0, 26), fontsize=12, color=BLUE, **look)
    title = left.annotate("", (0, 1), xytext=(0, 6), fontsize=11, **look)
    answer = right.annotate("", (0, 1), xytext=(0, 6), fontsize=11, **look)
    return PatchArtists(head, rolled, bars, numbers, title, answer)


def update_patch_view(artists: PatchArtists, view: PatchView) -> None:
    """Show another picture, patch size, layer or head.

    Raises ValueError for a digit, layer or head that isn't there.
    """
    layers, pictures, heads, _ = view.read.weights.shape
    for name, chosen, last in (
        ("digit", view.digit, pictures),
        ("layer", view.layer, layers),
        ("head", view.head, heads),
    ):
        if not 1 <= chosen <= last:
            raise ValueError(f"{name} must lie in 1..{last}, got {chosen}")
    update_class_map(artists.head, view.image, view.weights)
    update_class_map(artists.rolled, view.image, view.rolled)
    for k, (bar, number, p) in enumerate(
        zip(artists.bars, artists.numbers, view.probabilities.tolist(), strict=True)
    ):
        true, colour = k == view.label, GREEN if k == view.label else GREY
        bar.set_width(p)
        bar.set_facecolor(colour)
        words = [f"{p:.2f}"] * (p >= 0.005) + ["label"] * true
        inside = p > 0.6
        number.set(
            text=", ".join(words),
            x=p - 0.02 if inside else p + 0.02,
            ha="right" if inside else "left",
            color=ink_on(to_rgb(colour)) if inside else "black",
        )
    size, said = view.read.patch_size, int(view.probabilities.argmax())
    artists.title.set_text(f"Layer {view.layer}, head {view.head}; patches of {size} by {size}")
    p = float(view.probabilities[said])
    artists.answer.set_text(f"The model: {said} ({p:.2f}); the label: {view.label}")


# ------------------------------------------------------------------------ a picture, pixel by pixel


class Drawn(NamedTuple):
    """One picture that was drawn, by what, and the nearest picture of the training set.

    `read_as` is the digit that another model reads in it, if there is one.
    """

    word: str
    temperature: float | int
    seed: int
    painting: Painting
    neighbour: Float[Tensor, "8 8"]
    label: int
    distance: float
    read_as: int | None = None


class PaintingView(NamedTuple):
    """A picture of which so many pixels (0 to 64) have been drawn."""

    drawn: Drawn
    pixels: int

    @property
    def complete(self) -> bool:
        return self.pixels == PIXELS

    @property
    def picture(self) -> Float[Tensor, "8 8"]:
        """Grey values, and nan for the pixels to come."""
        values = self.drawn.painting.levels / (LEVELS - 1)
        return values.where(torch.arange(PIXELS) < self.pixels, torch.nan).view(CELL, CELL)

    @property
    def next_probabilities(self) -> Float[Tensor, " V"]:
        """Of the grey levels of the pixel to come; there is one unless the picture is complete."""
        return self.drawn.painting.probabilities[self.pixels]

    @property
    def next_level(self) -> int:
        """That is drawn from these."""
        return int(self.drawn.painting.levels[self.pixels])


class PaintingArtists(NamedTuple):
    """What moves in `draw_painting`."""

    cells: AxesImage
    frame: Rectangle
    bars: list[Rectangle]
    chosen: Line2D
    neighbour: AxesImage
    waiting: Text
    headline: Text
    notes: list[Text]  # above the probabilities, below the nearest picture, below what is drawn


def draw_painting(axes: Iterable[Axes]) -> PaintingArtists:
    """Room for a picture that is being drawn, the next pixel's probabilities, and the nearest picture."""
    left, middle, right = axes
    images = []
    x, y = np.array([(c, r) for r in range(CELL) for c in range(CELL)], dtype=float).T
    gap = np.full(PIXELS, np.nan)
    strokes = [np.column_stack([x, x + 1, gap]).ravel(), np.column_stack([y + 1, y, gap]).ravel()]
    for ax in (left, right):
        ax.add_patch(Rectangle((0, 0), CELL, CELL, facecolor=_PAINTING_UNSEEN, zorder=0))
        images.append(
            ax.imshow(
                np.full((CELL, CELL), np.nan),
                extent=(0, CELL, CELL, 0),
                cmap="gray_r",
                vmin=0,
                vmax=1,
                interpolation="none",
                zorder=2,
            )
        )
        ax.plot(*_patch_cuts(CELL, CELL, CELL), color=GREY, linewidth=1, clip_on=False, zorder=3)
        ax.set(xlim=(0, CELL), ylim=(CELL, 0))
        ax.axis("off")
    left.plot(*strokes, color="#9DB4C7", linewidth=1, zorder=1)  # what is drawn covers them
    left.set_title("Drawn so far", fontsize=11)
    right.set_title("Nearest in the training set", fontsize=11)
    frame = Rectangle((0, 0), 1, 1, fill=False, edgecolor=RED, linewidth=2.5, clip_on=False, zorder=5)
    left.add_patch(frame)
    greys = [str(1 - level / (LEVELS - 1)) for level in range(LEVELS)]
    bars = list(
        middle.bar(range(LEVELS), np.zeros(LEVELS), width=0.8, color=greys, edgecolor=GREY, linewidth=0.8)
    )
    middle.set(xlim=(-0.7, LEVELS - 0.3), ylim=(0, 1.08), ylabel="probability")
    middle.set_xlabel("grey level of the next pixel (0 paper, 16 ink)")
    middle.set_xticks([0, 4, 8, 12, 16], ["0", "4", "8", "12", "16"])
    middle.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    [chosen] = middle.plot([], [], color=RED, marker="v", markersize=9, linestyle="none", zorder=4)
    waiting = right.text(CELL / 2, CELL / 2, "", ha="center", va="center", fontsize=11)
    look: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    headline = left.annotate("", (0, 1), xytext=(0, 28), fontsize=12, color=BLUE, **look)
    notes: list[Text] = [middle.annotate("", (0, 1), xytext=(0, 6), fontsize=11, **look)]
    below: dict[str, Any] = {"va": "top", "fontsize": 11, **look}
    notes += [ax.annotate("", (0, 0), xytext=(0, -8), **below) for ax in (right, left)]
    return PaintingArtists(images[0], frame, bars, chosen, images[1], waiting, headline, notes)


def update_painting(artists: PaintingArtists, view: PaintingView) -> None:
    """Show another picture, or more or less of it. Raises ValueError for pixels outside of 0..64."""
    drawn, pixels = view.drawn, view.pixels
    if not 0 <= pixels <= PIXELS:
        raise ValueError(f"pixels must lie in 0..{PIXELS}, got {pixels}")
    artists.cells.set_data(np.ma.masked_invalid(view.picture.numpy()))
    artists.headline.set_text(
        f"“{drawn.word}” at temperature {drawn.temperature:.1f}, seed {drawn.seed}: "
        f"{pixels} of {PIXELS} pixels"
    )
    above, nearest, read = artists.notes
    if view.complete:
        heights, note = [0.0] * LEVELS, "The picture is complete"
        artists.chosen.set_data([], [])
        artists.neighbour.set_data(drawn.neighbour.numpy())
        nearest.set_text(f"labelled {drawn.label}, at a distance of {drawn.distance:.2f}")
        read.set_text("" if drawn.read_as is None else f"the judge reads: {drawn.read_as}")
    else:
        heights, level = view.next_probabilities.tolist(), view.next_level
        row, column = divmod(pixels, CELL)
        artists.frame.set_xy((column, row))
        note = f"Next pixel: level {level} is drawn (▼, p = {heights[level]:.2f})"
        artists.chosen.set_data([level], [heights[level] + 0.04])
        artists.neighbour.set_data(np.ma.masked_all((CELL, CELL)))
        nearest.set_text("")
        read.set_text("")
    artists.frame.set_visible(not view.complete)
    artists.waiting.set_text("" if view.complete else "when it is\ncomplete")
    for bar, height in zip(artists.bars, heights, strict=True):
        bar.set_height(height)
    above.set_text(note)


def plot_gallery(
    images: Float[Tensor, "B 8 8"],
    neighbours: Float[Tensor, "B 8 8"],
    titles: Sequence[object] | None = None,
) -> list[Axes]:
    """Pictures that a model drew in a row, and below each the nearest training picture with its distance.

    `neighbours` are those of `seqlib.painting.nearest`; the distance is Euclidean, in grey values, so 0 is a
    copy. Returns the axes of the upper row, then those of the lower one. Raises ValueError for no pictures,
    and for neighbours or titles that are not as many.
    """
    if len(images) == 0:
        raise ValueError("images must hold at least one picture, got none")
    if images.shape != neighbours.shape:
        raise ValueError(
            f"neighbours must have the shape of images, {tuple(images.shape)}, got {tuple(neighbours.shape)}"
        )
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"titles must be as many as the {len(images)} images, got {len(titles)}")
    distances = (images - neighbours).flatten(1).norm(dim=1).tolist()
    columns = len(images)
    width = 1.3 + 0.9 * columns
    place = {"left": 1.25 / width, "right": 1 - 0.05 / width, "bottom": 0.12, "top": 0.88, "wspace": 0.08}
    grid = plt.subplots(2, columns, figsize=(width, 2.4), squeeze=False, layout="none", gridspec_kw=place)[1]
    axes = [*grid[0], *grid[1]]
    for ax, picture in zip(axes, torch.cat([images, neighbours]).detach().numpy(), strict=True):
        ax.imshow(picture, cmap="gray_r", vmin=0, vmax=1, interpolation="none")
        ax.grid(False)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(visible=True, color=_PATCH_EDGE)
    for number, (upper, lower, distance) in enumerate(
        zip(axes[:columns], axes[columns:], distances, strict=True)
    ):
        lower.set_xlabel(f"{distance:.2f}", fontsize=10, labelpad=2)
        if titles is not None:
            upper.set_title(str(titles[number]), fontsize=11, loc="center", pad=3)
    look: dict[str, Any] = {"rotation": 0, "ha": "right", "va": "center", "fontsize": 10}
    axes[0].set_ylabel("drawn", **look)
    axes[columns].set_ylabel("nearest in the\ntraining set,\ndistance", **look)
    return axes
