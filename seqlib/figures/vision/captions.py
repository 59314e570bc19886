"""Figures of chapter 08: scenes of digits, where a captioner looks for each word, and answers to questions.

Dimensions: T words, L = 36 places of a scene's 6 x 6 feature grid, A answers. Scenes are drawn in units of
their cells: the nine cells are squares of side 1. Words are counted from 1, as in the pictures.
"""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation, Text
from torch import Tensor

from seqlib.figures.common import add_colorbar, axes_or_new, plot_digits
from seqlib.figures.style import BLUE, GREEN, GREY, RED, SKY
from seqlib.scenes import ANSWERS, CELL, DIGIT_WORDS, NOTHING, RELATIONS, SIDE, Scenes, question
from seqlib.vision import GRID, Answer, Description, cell_weights

# Colours of weights from 0 to 1, of which the darkest still lets black ink be seen; and ink, laid over them.
_SCENE_LOOKS = LinearSegmentedColormap.from_list("looks", ["white", SKY, BLUE])
_SCENE_INK = LinearSegmentedColormap.from_list("ink", [(0, 0, 0, 0), (0, 0, 0, 0.7)])
_SCENE_LINES = "#BBBBBB"

# ------------------------------------------------------------------------------------------- scenes


def plot_scenes(scenes: Scenes, titles: Sequence[object] | None = None, *, columns: int = 4) -> list[Axes]:
    """Scenes side by side, black ink on white, with lines between their nine cells: one axes for each.

    Long titles, such as captions, take several lines. Raises ValueError for no scenes, columns < 1 or a
    number of titles that is not the number of scenes.
    """
    size, gap, lines, wrapped = 1.8, 0.12, 0, None  # inches
    if titles is not None:
        wrapped = ["\n".join(textwrap.fill(line, 21) for line in str(title).splitlines()) for title in titles]
        lines = max((1 + title.count("\n") for title in wrapped), default=0)
    axes = plot_digits(scenes.images, wrapped, columns=columns, size=size)
    columns = min(columns, len(axes))
    across, down = size + gap, size + gap + 0.17 * lines
    width, height = columns * across, -(-len(axes) // columns) * down
    figure = axes[0].figure
    assert isinstance(figure, Figure)
    figure.set_layout_engine("none")
    figure.set_size_inches(width, height)
    for number, ax in enumerate(axes):
        row, column = divmod(number, columns)
        x, y = column * across + gap / 2, height - (row + 1) * down + gap / 2
        ax.set_position((x / width, y / height, size / width, size / height))
        for edge in range(CELL, SIDE * CELL, CELL):
            ax.axhline(edge - 0.5, color=_SCENE_LINES, linewidth=0.8)
            ax.axvline(edge - 0.5, color=_SCENE_LINES, linewidth=0.8)
        ax.title.set(fontsize=10, parse_math=False)
    return axes


class SceneArtists(NamedTuple):
    """What moves in a picture of a scene: how much each part is looked at, and over it the scene's ink.

    The lines between the cells lie over both.
    """

    weights: AxesImage
    ink: AxesImage
    lines: Line2D


def _draw_scene(ax: Axes) -> SceneArtists:
    """Room for one scene, and for weights below its ink."""
    place: dict[str, Any] = {"extent": (0, SIDE, SIDE, 0), "vmin": 0, "vmax": 1, "interpolation": "none"}
    weights = ax.imshow(np.zeros((1, 1)), cmap=_SCENE_LOOKS, zorder=1, **place)
    ink = ax.imshow(np.zeros((1, 1)), cmap=_SCENE_INK, zorder=2, **place)
    between = [
        [(k, 0), (k, SIDE), (np.nan, np.nan), (0, k), (SIDE, k), (np.nan, np.nan)] for k in range(1, SIDE)
    ]
    [lines] = ax.plot(*np.concatenate(between).T, color=_SCENE_LINES, linewidth=0.8, zorder=2)
    ax.grid(False)
    ax.set(xlim=(0, SIDE), ylim=(SIDE, 0), xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color=_SCENE_LINES)
    return SceneArtists(weights, ink, lines)


def _draw_scene_outline(ax: Axes, color: str, linestyle: str, linewidth: float | int) -> Line2D:
    """A line for `_scene_outline`, white on both sides, so that it is seen on all colours."""
    look: dict[str, Any] = {"color": color, "linestyle": linestyle, "linewidth": linewidth}
    [line] = ax.plot([], [], **look, zorder=3, solid_joinstyle="miter", clip_on=False)
    solid = {"dash_offset": 0, "dash_list": None}
    line.set_path_effects([withStroke(linewidth=linewidth + 2, foreground="white", dashes=solid)])
    return line


def _scene_outline(cells: Iterable[int], *, inside: float | int = 0) -> tuple[np.ndarray, np.ndarray]:
    """x and y of a line around each of these cells, or so far inside; nan lifts the pen."""
    low, high = inside, 1 - inside
    corners = np.array([(low, low), (high, low), (high, high), (low, high), (low, low), (np.nan, np.nan)])
    paths = [corners + (cell % SIDE, cell // SIDE) for cell in cells]
    x, y = np.concatenate([*paths, np.empty((0, 2))]).T
    return x, y


# ----------------------------------------------------------------------------------------- captions


def plot_caption(
    description: Description,
    image: Float[Tensor, "24 24"],
    *,
    described: Int[Tensor, " t"] | None = None,
) -> list[Axes]:
    """Where a captioner looks for each word of its caption: one axes for each, with the word as title.

    `described` has the cell (0 to 8) that each word is known to be about, -1 for none, such as a row of
    `scenes.described_cells`; those cells are outlined. Words beyond its end have none. Raises ValueError for
    a description without words, and for cells outside of -1..8.
    """
    words, T = description.words, len(description.words)
    if T == 0:
        raise ValueError("description must have at least one word, got none")
    cells = [] if described is None else described.tolist()
    for cell in cells:
        if not -1 <= cell < SIDE**2:
            raise ValueError(f"described must lie in -1..8, got {cell}")
    rows = max(1, -(-(T - 1) // 6))  # two digits in a row, and no row for <eos> alone
    columns = min(T, 7 if T % 6 == 1 else 6)
    figure = plt.figure(figsize=(max(1.25 * columns + 0.7, 3.3), 1.5 * rows + 0.3), layout="constrained")
    grid = figure.add_gridspec(rows, columns)
    axes = []
    for k, (word, weights) in enumerate(zip(words, description.weights, strict=True)):
        row = min(k // 6, rows - 1)
        ax = figure.add_subplot(grid[row, k - 6 * row])
        artists = _draw_scene(ax)
        artists.weights.set_data(weights.detach().view(GRID, GRID).numpy())
        artists.ink.set_data(image.numpy())
        if k < len(cells) and cells[k] >= 0:
            _draw_scene_outline(ax, RED, "-", 1.6).set_data(*_scene_outline([cells[k]]))
        ax.set_title(word, fontsize=11, loc="center", pad=3, parse_math=False)
        axes.append(ax)
    add_colorbar(axes[0].images[0], axes, label="weight", ticks=[0, 0.5, 1], aspect=12 * rows)
    if described is not None:
        frame = Rectangle((0, 0), 1, 1, facecolor="none", edgecolor=RED, linewidth=1.6)
        figure.legend(
            [frame],
            ["outlined: the cell that the word is about"],
            loc="outside lower left",
            handlelength=1,
            handleheight=1,
        )
    return axes


class CaptionView(NamedTuple):
    """A captioner's description of a picture, what is to be said, and one word, counted from 1.

    `described` has the cell that each word of `true` is about, -1 for the end token.
    """

    image: Float[Tensor, "24 24"]
    said: Description
    true: list[str]
    described: list[int]
    word: int

    @property
    def place(self) -> int:
        """Which word is shown, counted from 1: the last one, where `word` lies beyond it."""
        return min(self.word, len(self.said.words))

    @property
    def weights(self) -> Float[Tensor, " L"]:
        return self.said.weights[self.place - 1]

    @property
    def agrees(self) -> bool:
        """Whether all words before are those of the true caption."""
        return self.said.words[: self.place - 1] == self.true[: self.place - 1]

    @property
    def cell(self) -> int | None:
        """That the word should be about; None where there is none, or other words came before."""
        cell = self.described[self.place - 1] if self.agrees and self.place <= len(self.true) else -1
        return None if cell < 0 else cell

    @property
    def share(self) -> float | None:
        """Of the weight that lies on this cell."""
        return None if self.cell is None else float(cell_weights(self.weights)[self.cell])


class CaptionArtists(NamedTuple):
    """What moves in `draw_caption`."""

    scene: SceneArtists
    outline: Line2D
    said: list[Text]
    true: list[Text]
    true_heading: Text
    word: Annotation
    title: Text
    share: Text


CAPTION_SIZE = 10.0, 4.3  # inches


def draw_caption(axes: Iterable[Axes], *, words: int) -> CaptionArtists:
    """Room for a scene on the left, a bar of colours, and on the right captions of up to so many words.

    The three axes are those of a figure of CAPTION_SIZE.
    """
    left, bar, right = axes
    for ax, x, width in ((left, 0.02, 0.37), (bar, 0.405, 0.013), (right, 0.5, 0.495)):
        ax.set_position((x, 0.04, width, 0.86))
    scene = _draw_scene(left)
    outline = _draw_scene_outline(left, RED, "-", 2.5)
    add_colorbar(scene.weights, left, cax=bar, label="weight", ticks=[0, 0.5, 1])
    lines = -(-words // 3)
    right.set(xlim=(0, 6.5), ylim=(lines + 1.7, -1))
    right.axis("off")
    fixed: dict[str, Any] = {"va": "center_baseline", "parse_math": False}

    said, true = (
        [right.text(x + k % 3, k // 3, "", fontsize=12, **fixed) for k in range(3 * lines)] for x in (0, 3.4)
    )

    right.text(0, -1, "the captioner says", fontsize=11, color=GREY, **fixed)
    true_heading = right.text(3.4, -1, "", fontsize=11, color=GREY, **fixed)
    word = right.annotate(
        "",
        (0, 0),
        fontsize=12,
        fontweight="bold",
        bbox={"boxstyle": "round,pad=0.18", "facecolor": "white", "edgecolor": RED, "linewidth": 2},
        zorder=4,  # over the same word in plain letters
        **fixed,
    )
    title = left.annotate(
        "", (0, 1), xytext=(0, 8), xycoords="axes fraction", textcoords="offset points", fontsize=12
    )
    title.set_parse_math(False)
    share = right.text(0, 0.135, "", transform=right.transAxes, fontsize=12, va="top", linespacing=1.4)
    return CaptionArtists(scene, outline, said, true, true_heading, word, title, share)


def update_caption(artists: CaptionArtists, view: CaptionView) -> None:
    """Show another scene or word. Raises ValueError for a word below 1, and for captions without room."""
    if view.word < 1:
        raise ValueError(f"word must be at least 1, got {view.word}")
    said, room = view.said.words, len(artists.said)
    if max(len(said), len(view.true)) > room:
        raise ValueError(f"captions must have at most {room} words, got {len(said)} and {len(view.true)}")
    artists.scene.weights.set_data(view.weights.view(GRID, GRID).numpy())
    artists.scene.ink.set_data(view.image.numpy())
    artists.outline.set_data(*_scene_outline([] if view.cell is None else [view.cell]))
    true = [] if said == view.true else view.true
    for texts, words in ((artists.said, said), (artists.true, true)):
        for k, text in enumerate(texts):
            text.set_text(words[k] if k < len(words) else "")
    artists.true_heading.set_text("the true caption" if true else "")
    here = artists.said[view.place - 1]
    artists.word.set_text(here.get_text())
    artists.word.set_position(here.get_position())
    artists.title.set_text(f"word {view.place} of {len(said)}: “{said[view.place - 1]}”")
    if view.share is not None:
        note = (
            f"Outlined: the cell that this word should be about.\n{view.share:.2f} of the weight lies on it."
        )
    elif view.agrees:
        note = "No cell is outlined: the caption should end here."
    else:
        note = "No cell is outlined: the words before\nare not those of the true caption."
    artists.share.set_text(note)


# ---------------------------------------------------------------------------------------- questions


class AnswerArtists(NamedTuple):
    """What moves in `draw_answer`: bars and numbers of all answers, and a note beside the right one."""

    bars: list[Rectangle]
    numbers: list[Text]
    right: Text


def plot_answer(
    probabilities: Float[Tensor, " A"], *, right: int | None = None, ax: Axes | None = None
) -> Axes:
    """Bars of the probabilities of the eleven answers, the largest dark, and a note at the right answer.

    `right` is its number in `scenes.ANSWERS`, None for no note. Raises ValueError for another number of
    probabilities, and for an answer that isn't there.
    """
    ax = axes_or_new(ax, width=5.5, height=3.6)
    update_answer(draw_answer(ax), probabilities, right=right)
    return ax


def draw_answer(ax: Axes) -> AnswerArtists:
    """Room for the probabilities of all answers, one below the other."""
    A = len(ANSWERS)
    bars = list(ax.barh(range(A), np.zeros(A), height=0.75, zorder=3))
    texts: dict[str, Any] = {"va": "center_baseline", "fontsize": 10, "zorder": 4}
    numbers = [ax.text(0, k, "", **texts) for k in range(A)]
    right = ax.text(1.2, 0, "", **texts, fontweight="bold")
    ax.set(xlim=(0, 1.6), ylim=(A - 0.4, -0.6), xticks=[0, 0.5, 1])
    ax.set_xlabel("probability", x=0.5 / 1.6)
    ax.spines.bottom.set_bounds(0, 1)
    ax.set_yticks(range(A), ANSWERS)
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    return AnswerArtists(bars, numbers, right)


def update_answer(
    artists: AnswerArtists, probabilities: Float[Tensor, " A"], *, right: int | None = None
) -> None:
    """Show other probabilities. Raises ValueError as `plot_answer` does."""
    A = len(ANSWERS)
    if len(probabilities) != A:
        raise ValueError(f"probabilities must be one for each of the {A} answers, got {len(probabilities)}")
    if right is not None and not 0 <= right < A:
        raise ValueError(f"right must lie in 0..{A - 1}, got {right}")
    best = int(probabilities.argmax())
    rows = zip(artists.bars, artists.numbers, probabilities.tolist(), strict=True)
    for k, (bar, number, p) in enumerate(rows):
        bar.set(width=p, facecolor=BLUE if k == best else SKY)
        number.set(
            text=f"{p:.2f}" if p >= 0.005 else "", x=p + 0.02, fontweight="bold" if k == best else "normal"
        )
    artists.right.set(text="" if right is None else "right answer", y=0 if right is None else right)


class QuestionView(NamedTuple):
    """A scene, a question about it, and what a network answers; its layers are counted from 1."""

    image: Float[Tensor, "24 24"]
    cells: list[int]
    relation: str
    digit: int
    layer: int
    answer: Answer  # of a batch of one

    @property
    def probabilities(self) -> Float[Tensor, " A"]:
        return self.answer.logits[0].softmax(-1)

    @property
    def weights(self) -> Float[Tensor, " 10"]:
        """What the question attends to in this layer: itself, then the nine cells. The mean of all heads."""
        return self.answer.weights[self.layer - 1][0, :, 0].mean(0)

    @property
    def asked(self) -> list[int]:
        """The cells with the digit that is asked for."""
        return [cell for cell, digit in enumerate(self.cells) if digit == self.digit]

    @property
    def beside(self) -> int | None:
        """The cell that the question is about; None outside of the picture, or if `asked` isn't one cell."""
        if len(self.asked) != 1:
            return None
        (row, column), (down, right) = divmod(self.asked[0], SIDE), RELATIONS[self.relation]
        row, column = row + down, column + right
        return SIDE * row + column if 0 <= row < SIDE and 0 <= column < SIDE else None

    @property
    def right(self) -> int | None:
        """The number of the right answer; None where there isn't exactly one such digit."""
        if len(self.asked) != 1:
            return None
        found = -1 if self.beside is None else self.cells[self.beside]
        return NOTHING if found < 0 else found


class QuestionArtists(NamedTuple):
    """What moves in `draw_question`."""

    scene: SceneArtists
    numbers: list[Text]
    asked: Line2D
    beside: Line2D
    answer: AnswerArtists
    titles: list[Text]
    note: Text


def draw_question(axes: Iterable[Axes]) -> QuestionArtists:
    """Room for a scene on the left, with what the question attends to, and for its answers on the right."""
    left, right = axes
    scene = _draw_scene(left)
    numbers = [
        left.text(
            cell % SIDE + 0.11,
            cell // SIDE + 0.17,
            "",
            va="center_baseline",
            fontsize=10,
            zorder=3,
            bbox={"boxstyle": "square,pad=0.15", "facecolor": "white", "alpha": 0.85, "linewidth": 0},
        )
        for cell in range(SIDE**2)
    ]
    asked = _draw_scene_outline(left, RED, "-", 2.5)
    beside = _draw_scene_outline(left, GREEN, "--", 2.5)
    left.legend(
        [asked, beside],
        ["the digit asked for", "where the answer is"],
        loc="upper left",
        bbox_to_anchor=(0, 0),
        borderaxespad=0.3,
        borderpad=0.1,
        handlelength=2.6,
        ncols=2,
        columnspacing=1.5,
    )
    above: dict[str, Any] = {
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "fontsize": 12,
    }
    titles: list[Text] = [ax.annotate("", (0, 1), xytext=(0, 8), **above) for ax in (left, right)]
    note = left.annotate("", (0, 0), xytext=(0, -26), va="top", **above | {"fontsize": 10})
    return QuestionArtists(scene, numbers, asked, beside, draw_answer(right), titles, note)


def update_question(artists: QuestionArtists, view: QuestionView) -> None:
    """Show another question, scene or layer. Raises ValueError for one that isn't there."""
    layers = len(view.answer.weights)
    if not 1 <= view.layer <= layers:
        raise ValueError(f"layer must lie in 1..{layers}, got {view.layer}")
    asked = question(view.relation, view.digit)
    itself, *shares = view.weights.tolist()
    artists.scene.weights.set_data(view.weights[1:].view(SIDE, SIDE).numpy())
    artists.scene.ink.set_data(view.image.numpy())
    for number, share in zip(artists.numbers, shares, strict=True):
        number.set_text(f"{share:.2f}")
    artists.asked.set_data(*_scene_outline(view.asked, inside=0.05))
    artists.beside.set_data(*_scene_outline([] if view.beside is None else [view.beside], inside=0.05))
    update_answer(artists.answer, view.probabilities, right=view.right)
    name = DIGIT_WORDS[view.digit]
    says = {
        0: f"there is no {name} here: what does it say?",
        1: "what it answers",
    }.get(len(view.asked), f"the {name} is here {len(view.asked)} times: what does it say?")
    for title, text in zip(artists.titles, (f"{asked}?", says), strict=True):
        title.set_text(text)
    artists.note.set_text(
        f"layer {view.layer}: how much the question looks at each cell; at itself {itself:.2f}"
    )
