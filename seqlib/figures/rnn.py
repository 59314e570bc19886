"""Figures of chapter 02: one step of a character model, sampling from it, and wirings of recurrent networks.

Each picture has a `plot_*` for a chapter. Where an explorer shows it too, `plot_*` is made of a `draw_*` (the
artists, once) and an `update_*` (their values), which are what the explorer calls.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path
from matplotlib.text import Text
from torch import Tensor

from seqlib.decoding import token_probabilities
from seqlib.figures import style
from seqlib.figures.common import axes_or_new, ink_on
from seqlib.rnn import CharRNN
from seqlib.vocab import Vocabulary

_INK = "#333333"
_MONO = ["DejaVu Sans Mono"]
_VISIBLE = {" ": "␣", "\n": "↵", "\t": "⇥"}  # DejaVu Sans, which comes with matplotlib, has these


def visible(character: str) -> str:
    """The character, or a sign for it if it is white space."""
    return _VISIBLE.get(character, character)


# --- One step of a character model -----------------------------------------------------------------------


class CharStep(NamedTuple):
    """Step `t` (from 1) of a `CharRNN` that reads `text` and predicts each next character."""

    text: str
    tokens: tuple[str, ...]  # the vocabulary
    t: int
    x: Float[Tensor, " V"]
    h_before: Float[Tensor, " H"]
    h: Float[Tensor, " H"]
    y: Float[Tensor, " V"]
    p: Float[Tensor, " V"]
    target: int
    losses: Float[Tensor, " t"]  # of the steps 1 to t


def char_step(model: CharRNN, vocabulary: Vocabulary, text: str, t: int) -> CharStep:
    """Every tensor of step `t` while `model` reads `text` from a zero state.

    Raises ValueError for a text of fewer than 2 characters or with one that is not in the vocabulary, for a
    vocabulary of another size than the model's, and for a t outside of 1..len(text) - 1.
    """
    _check_vocabulary(model, vocabulary)
    _check_text(vocabulary, text=text)
    if len(text) < 2:
        raise ValueError(f"text must hold a character to read and one to predict, got {text!r}")
    if not 1 <= t < len(text):
        raise ValueError(f"t must lie in 1..{len(text) - 1} for this text, got {t}")
    numbers = vocabulary.encode(text)
    with torch.no_grad():
        output = model(numbers[None, :-1])
    states, targets = output.states[0], numbers[1:]
    losses = -output.logits[0].log_softmax(-1).gather(-1, targets[:, None])[:, 0]  # (T,)
    return CharStep(
        text=text,
        tokens=tuple(vocabulary),
        t=t,
        x=output.one_hot[0, t - 1],
        h_before=states[t - 2] if t > 1 else torch.zeros_like(states[0]),
        h=states[t - 1],
        y=output.logits[0, t - 1],
        p=output.probabilities[0, t - 1],
        target=int(targets[t - 1]),
        losses=losses[:t],
    )


def plot_char_step(trace: CharStep, *, ax: Axes | None = None) -> Axes:
    """The tensors of one step as columns of numbers, from the one-hot input to the loss."""
    width, height = char_step_size(len(trace.x), len(trace.h))
    ax = axes_or_new(ax, width=width, height=height)
    update_char_step(draw_char_step(ax, trace), trace)
    return ax


def char_step_size(vocabulary_size: int, hidden_size: int) -> tuple[float, float]:
    """Width and height in inches that suit `plot_char_step`."""
    return 9.0, 2.2 + 0.36 * max(vocabulary_size, hidden_size)


class _Column(NamedTuple):
    """A vector as a column of coloured cells with their numbers."""

    name: Text
    cells: QuadMesh
    numbers: list[Text]


class CharStepArtists(NamedTuple):
    """What changes from step to step in `plot_char_step`."""

    columns: dict[str, _Column]
    boxes: list[FancyBboxPatch]  # around each character of the text
    roles: list[Text]  # "read" and "predict" below their characters
    target: Rectangle
    loss: Text
    total: Text


# Places in inches from the upper left corner, in which the axes of this drawing are measured.
_CELL_WIDTH, _CELL_HEIGHT = 0.66, 0.36
_LEFT = {"x": 0.42, "h_before": 1.52, "h": 3.52, "y": 5.12, "p": 6.58}
_TOP = 1.62
_DIVERGING, _SEQUENTIAL = colormaps["RdBu"], colormaps["Blues"]
_SCALES = {  # fixed, so that a colour means the same number at every step and in every model
    "x": (_SEQUENTIAL, Normalize(0, 1.25, clip=True)),
    "h_before": (_DIVERGING, Normalize(-1.25, 1.25, clip=True)),
    "h": (_DIVERGING, Normalize(-1.25, 1.25, clip=True)),
    "y": (_DIVERGING, Normalize(-8, 8, clip=True)),
    "p": (_SEQUENTIAL, Normalize(0, 1.25, clip=True)),
}


def draw_char_step(ax: Axes, trace: CharStep) -> CharStepArtists:
    """Everything that `plot_char_step` shows, still without this step's values."""
    V, H = len(trace.x), len(trace.h)
    width, height = char_step_size(V, H)
    ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    ax.axis("off")
    middle = _TOP + (height - _TOP - 0.58) / 2

    def column(key: str, meaning: str, rows: int) -> _Column:
        left, top = _LEFT[key], middle - rows * _CELL_HEIGHT / 2
        colours, scale = _SCALES[key]
        cells = ax.pcolormesh(
            [left, left + _CELL_WIDTH],
            top + _CELL_HEIGHT * np.arange(rows + 1),
            np.zeros((rows, 1)),
            cmap=colours,
            norm=scale,
            edgecolors="#999999",
            linewidth=0.6,
        )
        at = left + _CELL_WIDTH / 2
        centres = top + _CELL_HEIGHT * (np.arange(rows) + 0.5)
        numbers = [ax.text(at, y, "", ha="center", va="center_baseline", fontsize=11) for y in centres]
        name = ax.text(at, _TOP - 0.38, "", ha="center", va="baseline", fontsize=13)
        ax.text(at, _TOP - 0.13, meaning, ha="center", va="baseline", fontsize=10)
        if key in ("x", "y"):
            for token, y in zip(trace.tokens, centres, strict=True):
                ax.text(left - 0.1, y, visible(token), ha="right", va="center_baseline", family=_MONO)
        return _Column(name, cells, numbers)

    columns = {
        "x": column("x", "input", V),
        "h_before": column("h_before", "old state", H),
        "h": column("h", "new state", H),
        "y": column("y", "logits", V),
        "p": column("p", "probabilities", V),
    }

    # The way of the numbers: x and h meet in a sum, tanh makes the new state of it.
    plus = ((_LEFT["h_before"] + _CELL_WIDTH + _LEFT["h"]) / 2 - 0.12, middle)
    bottom = middle + _CELL_HEIGHT * max(V, H) / 2 + 0.3
    under_x = (_LEFT["x"] + _CELL_WIDTH / 2, middle + _CELL_HEIGHT * V / 2)
    ax.plot([under_x[0], under_x[0], plus[0]], [under_x[1] + 0.04, bottom, bottom], color=_INK, linewidth=1.2)
    _arrow(ax, (plus[0], bottom), (plus[0], middle + 0.13))
    ax.text(1.85, bottom - 0.08, "$W_{xh}$", ha="center", va="baseline", fontsize=12)
    ax.text(*plus, "+", ha="center", va="center_baseline", fontsize=14)
    ax.scatter(*plus, s=260, facecolor="white", edgecolor=_INK, linewidth=1.2)
    _arrow(ax, (plus[0], middle - 0.5), (plus[0], middle - 0.13))
    ax.text(plus[0], middle - 0.56, "$b$", ha="center", va="baseline", fontsize=12)
    for start, end, label in (
        (_LEFT["h_before"] + _CELL_WIDTH, plus[0] - 0.13, "$W_{hh}$"),
        (plus[0] + 0.13, _LEFT["h"], "tanh"),
        (_LEFT["h"] + _CELL_WIDTH, _LEFT["y"] - 0.3, "$W_{hy}, b_y$"),
        (_LEFT["y"] + _CELL_WIDTH, _LEFT["p"], "softmax"),
    ):
        _arrow(ax, (start + 0.04, middle), (end - 0.04, middle))
        ax.text((start + end) / 2, middle - 0.1, label, ha="center", va="baseline", fontsize=11)

    # The text that is read.
    boxes, letters = [], 0.56
    left = _LEFT["x"]
    for k, character in enumerate(trace.text):
        corner = (left + letters * k + 0.07, 0.1)
        boxes.append(FancyBboxPatch(corner, letters - 0.14, 0.42, boxstyle="round,pad=0,rounding_size=0.06"))
        ax.add_patch(boxes[-1])
        at = (left + letters * (k + 0.5), 0.31)
        ax.text(*at, visible(character), ha="center", va="center_baseline", fontsize=15, family=_MONO)
    roles = [ax.text(0, 0.72, role, ha="center", va="baseline", fontsize=10) for role in ("read", "predict")]
    target = Rectangle((_LEFT["p"], 0), _CELL_WIDTH, _CELL_HEIGHT, zorder=3)
    target.set(fill=False, edgecolor=style.RED, linewidth=2.5)
    ax.add_patch(target)
    loss = ax.text(_LEFT["p"] + _CELL_WIDTH + 0.12, 0, "", va="center_baseline", fontsize=11)
    total = ax.text(width - 0.1, height - 0.12, "", ha="right", va="baseline", fontsize=11)
    return CharStepArtists(columns, boxes, roles, target, loss, total)


def update_char_step(artists: CharStepArtists, trace: CharStep) -> None:
    """Give the artists of `draw_char_step` the values of `trace`."""
    t = trace.t
    names = {"x": f"$x_{{{t}}}$", "h_before": f"$h_{{{t - 1}}}$", "h": f"$h_{{{t}}}$", "y": f"$y_{{{t}}}$"}
    names["p"] = f"$p_{{{t}}}$"
    for key, column in artists.columns.items():
        values = getattr(trace, key).numpy()
        column.name.set_text(names[key])
        column.cells.set_array(values[:, None])
        colours = column.cells.cmap(column.cells.norm(values))
        for number, value, colour in zip(column.numbers, values.tolist(), colours, strict=True):
            number.set_text(f"{value:.0f}" if key == "x" else _number(value))
            number.set_color(ink_on(colour))

    for k, box in enumerate(artists.boxes):
        colour = {t - 1: style.BLUE, t: style.RED}.get(k)
        box.set(facecolor=(colour or "white", 0.2), edgecolor=colour or "#BBBBBB")
        box.set(linewidth=2 if colour else 1, linestyle="--" if k == t else "-")
    for role, k in zip(artists.roles, (t - 1, t), strict=True):
        box = artists.boxes[k]
        role.set_x(box.get_x() + box.get_width() / 2)

    row = artists.columns["p"].numbers[trace.target].get_position()[1]
    artists.target.set_y(row - _CELL_HEIGHT / 2)
    p, loss = float(trace.p[trace.target]), float(trace.losses[-1])
    artists.loss.set_y(row)
    artists.loss.set_text(f"−log {p:.{'3f' if p >= 0.001 else '0e'}} ≈ {loss:.3f}")
    terms = [f"{float(each):.3f}" for each in trace.losses]
    if len(terms) > 4:
        terms = ["…", *terms[-3:]]
    total = f" ≈ {float(trace.losses.sum()):.3f}" if len(terms) > 1 else ""
    artists.total.set_text(f"Losses so far: {' + '.join(terms)}{total}")


def _number(value: float) -> str:
    """Two decimals, with a proper minus sign, and none before a zero."""
    return f"{value:z.2f}".replace("-", "−")


def _arrow(
    ax: Axes, *ends: tuple[float, float], path: Path | None = None, linestyle: str = "-"
) -> FancyArrowPatch:
    """An arrow from one place to another, or along `path`."""
    arrow = FancyArrowPatch(*ends, path=path, arrowstyle="-|>", mutation_scale=12, shrinkA=0, shrinkB=0)
    arrow.set(color=_INK, linewidth=1.2, linestyle=linestyle)
    ax.add_patch(arrow)
    return arrow


# --- Sampling --------------------------------------------------------------------------------------------


class Sampled(NamedTuple):
    """A text drawn from a `CharRNN`, and the probabilities of its first new character."""

    tokens: tuple[str, ...]  # the vocabulary
    prompt: str
    text: str  # without the prompt
    plain: Float[Tensor, " V"]  # at temperature 1, without top-k
    probabilities: Float[Tensor, " V"]


def sample_text(
    model: CharRNN,
    vocabulary: Vocabulary,
    prompt: str,
    *,
    length: int = 200,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
) -> Sampled:
    """Continue `prompt` by `length` characters.

    Raises ValueError for an empty prompt or one with a character that is not in the vocabulary, for a
    vocabulary of another size than the model's, length < 1, temperature < 0 and top_k < 1.
    """
    _check_vocabulary(model, vocabulary)
    _check_text(vocabulary, prompt=prompt)
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    numbers = vocabulary.encode(prompt)[None]
    with torch.no_grad():
        logits = model(numbers).logits[0, -1]
    drawn = model.generate(
        numbers,
        length=length,
        generator=torch.Generator().manual_seed(seed),
        temperature=temperature,
        top_k=top_k,
    )
    return Sampled(
        tokens=tuple(vocabulary),
        prompt=prompt,
        text="".join(vocabulary.decode(drawn[0, len(prompt) :])),
        plain=token_probabilities(logits),
        probabilities=token_probabilities(logits, temperature=temperature, top_k=top_k),
    )


def plot_next_char(trace: Sampled, *, shown: int = 15, ax: Axes | None = None) -> Axes:
    """Bars of the next character's probabilities, likeliest first; outlines show temperature 1.

    The characters after the first `shown` are added up in one bar, "others".
    """
    ax = axes_or_new(ax, width=4.2, height=4.4)
    update_next_char(draw_next_char(ax, trace, shown=shown), trace)
    return ax


class NextCharArtists(NamedTuple):
    """The bars of `plot_next_char` that change with the settings, likeliest first, "others" last."""

    bars: list[Rectangle]
    order: list[int]  # the vocabulary's numbers, likeliest at temperature 1 first
    shown: int


def draw_next_char(ax: Axes, trace: Sampled, *, shown: int = 15) -> NextCharArtists:
    """Everything in `plot_next_char`, the filled bars still empty."""
    if shown < 1:
        raise ValueError(f"shown must be at least 1, got {shown}")
    order = trace.plain.argsort(descending=True, stable=True).tolist()
    plain = _first_and_rest(trace.plain, order, shown)
    labels = [visible(trace.tokens[k]) for k in order[:shown]] + ["others"] * (len(order) > shown)
    places = np.arange(len(plain))
    bars = ax.barh(places, 0 * plain, height=0.62, color=style.BLUE, label="with these settings")
    for outline in ax.barh(places, plain, height=0.86, label="at temperature 1"):
        outline.set(fill=False, edgecolor=style.GREY, linewidth=1.4)
    ax.set_yticks(places, labels, fontsize=11)
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    ax.set(xlim=(0, 1), ylim=(len(plain) - 0.4, -0.6), xlabel="Probability", title="Next character")
    # Only the first bar and "others" can be longer than a half: here nothing is ever in the way.
    ax.legend(loc="center", bbox_to_anchor=(0.72, 0.45))
    return NextCharArtists(list(bars), order, shown)


def update_next_char(artists: NextCharArtists, trace: Sampled) -> None:
    """Give the filled bars the probabilities of `trace`."""
    widths = _first_and_rest(trace.probabilities, artists.order, artists.shown)
    for bar, width in zip(artists.bars, widths, strict=True):
        bar.set_width(width)


def _first_and_rest(probabilities: Tensor, order: Sequence[int], shown: int) -> np.ndarray:
    """The first `shown` probabilities in this order, and the sum of the others if there are any."""
    ordered = probabilities[list(order)].double().numpy()
    return np.append(ordered[:shown], ordered[shown:].sum()) if len(ordered) > shown else ordered


def plot_sampled_text(trace: Sampled, *, columns: int = 40, lines: int = 8, ax: Axes | None = None) -> Axes:
    """The prompt in bold and the text drawn after it, in at most `lines` lines of `columns` characters.

    A line break of the text itself is shown as a sign.
    """
    ax = axes_or_new(ax, width=5.2, height=3.4)
    update_sampled_text(draw_sampled_text(ax, lines=lines), trace, columns=columns)
    return ax


class SampledTextArtists(NamedTuple):
    """One text artist for each line, twice: prompt and new characters stand in the same places."""

    prompt: list[Text]
    new: list[Text]


def draw_sampled_text(ax: Axes, *, lines: int = 8) -> SampledTextArtists:
    """The still empty lines of `plot_sampled_text`."""
    ax.axis("off")
    ax.set(xlim=(0, 1), ylim=(lines, 0), title="Sampled text")

    def rows(**look: Any) -> list[Text]:
        return [
            ax.text(0, k + 0.7, "", va="baseline", fontsize=13, family=_MONO, parse_math=False, **look)
            for k in range(lines)
        ]

    return SampledTextArtists(rows(fontweight="bold", color=style.BLUE), rows(color="black"))


def update_sampled_text(artists: SampledTextArtists, trace: Sampled, *, columns: int = 40) -> None:
    """Give the lines of `draw_sampled_text` the text of `trace`."""
    lines = wrapped((trace.prompt + trace.text).replace("\n", visible("\n")), columns)
    remaining = len(trace.prompt)
    for k, (prompt, new) in enumerate(zip(artists.prompt, artists.new, strict=True)):
        line = lines[k] if k < len(lines) else ""
        here = min(remaining, len(line))
        remaining -= here
        prompt.set_text(line[:here])
        new.set_text(" " * here + line[here:])


def wrapped(text: str, columns: int) -> list[str]:
    """`text` cut into lines of at most `columns` characters, between words where possible.

    Nothing is lost: the lines together are the text. Spaces at the end of a line may go beyond it.
    """
    return re.findall(rf".{{1,{columns}}}(?: +|$)|.{{1,{columns}}}", text, re.DOTALL)


# --- Wirings ---------------------------------------------------------------------------------------------


class Wiring(NamedTuple):
    """Which steps of an unrolled network read an input and which give an output."""

    name: str
    steps: int
    inputs: frozenset[int]
    outputs: frozenset[int]
    use: str  # what the chapter does with it
    fed_back: bool = False  # each output is read at the next step
    summary: int | None = None  # the step after which a second network takes over, which reads GO first


_FOUR = frozenset({1, 2, 3, 4})
WIRINGS = (
    Wiring(
        "one to one", 1, frozenset({1}), frozenset({1}), "Name the digit in an image: no recurrence at all."
    ),
    Wiring("one to many", 4, frozenset({1}), _FOUR, "Draw a digit row by row from its label.", fed_back=True),
    Wiring("many to one", 4, _FOUR, frozenset({4}), "Read a digit by glimpses; tell praise from blame."),
    Wiring("many to many, in step", 4, _FOUR, _FOUR, "Name the digit in every frame of a clip."),
    Wiring(
        "many to many, through a summary",
        8,
        _FOUR,
        frozenset({5, 6, 7, 8}),
        "Read a word, then write it backwards: encoder and decoder, as in chapter 5.",
        fed_back=True,
        summary=4,
    ),
)

_ROWS = {"x": 0.0, "h": 1.25, "y": 2.5}  # in inches, upwards
_PITCH, _BOX_WIDTH, _BOX_HEIGHT = 1.06, 0.58, 0.5
_COLOURS = {"x": style.GREEN, "h": style.BLUE, "s": style.PURPLE, "y": style.ORANGE}


def plot_wiring(wiring: Wiring, *, ax: Axes | None = None) -> Axes:
    """The unrolled graph of one way to wire a recurrent network; every step uses the same weights."""
    ax = axes_or_new(ax, width=8.8, height=3.9)
    draw_wiring(ax, wiring)
    return ax


def draw_wiring(ax: Axes, wiring: Wiring) -> list[Artist]:
    """Draw `plot_wiring` and return everything that belongs to this wiring alone."""
    _graph_axes(ax, width=8.8, bottom=-0.85)
    artists = _draw_unrolled(ax, wiring, left=4.4 - _PITCH * (wiring.steps - 1) / 2)
    artists.append(ax.text(4.4, -0.72, wiring.use, ha="center", va="baseline", fontsize=12))
    return artists


def plot_unrolled(steps: int = 4, *, ax: Axes | None = None) -> Axes:
    """The recurrent cell with its loop, and the same cell unrolled over `steps` steps from the state h_0.

    Each arrow bears its matrix; biases and tanh are left out.

    Raises ValueError for steps < 2.
    """
    if steps < 2:
        raise ValueError(f"steps must be at least 2, got {steps}")
    first = 3.1 + _PITCH  # the place of h_1
    width = first + _PITCH * steps
    ax = axes_or_new(ax, width=width, height=3.5)
    _graph_axes(ax, width=width, bottom=-0.4)
    folded = {key: (0.6, at) for key, at in _ROWS.items()}
    for key, at in folded.items():
        _box(ax, at, key, f"${key}_t$")
    _edge(ax, folded["x"], folded["h"], "$W_{xh}$")
    _edge(ax, folded["h"], folded["y"], "$W_{hy}$")
    x, y = folded["h"]
    right = x + _BOX_WIDTH / 2
    near, far = right + 0.03, right + 0.75
    loop = [(near, y + 0.14), (far, y + 0.5), (far, y - 0.5), (near, y - 0.14)]
    _arrow(ax, path=Path(loop, [Path.MOVETO, *[Path.CURVE4] * 3]))
    ax.text(right + 0.63, y, "$W_{hh}$", ha="left", va="center_baseline", fontsize=11)
    ax.text(right + 1.38, y, "=", ha="center", va="center_baseline", fontsize=20)
    every = frozenset(range(1, steps + 1))
    _draw_unrolled(ax, Wiring("", steps, every, every, ""), left=first)
    h_0, h_1 = (first - _PITCH, _ROWS["h"]), (first, _ROWS["h"])
    _box(ax, h_0, "h", "$h_0$")
    _edge(ax, h_0, h_1, "$W_{hh}$")
    return ax


def _graph_axes(ax: Axes, *, width: float, bottom: float) -> None:
    ax.set(xlim=(0, width), ylim=(bottom, _ROWS["y"] + 0.4), aspect="equal")
    ax.axis("off")


def _draw_unrolled(ax: Axes, wiring: Wiring, *, left: float) -> list[Artist]:
    """Boxes and arrows of the steps, the first one at `left`."""
    artists: list[Artist] = []
    read_first = wiring.summary or 0
    for step in range(1, wiring.steps + 1):
        at = {key: (left + _PITCH * (step - 1), height) for key, height in _ROWS.items()}
        second = 0 < read_first < step
        t, state, W = (step - read_first, "s", "W'") if second else (step, "h", "W")
        artists += _box(ax, at["h"], state, f"${state}_{{{t}}}$")
        if step in wiring.inputs or (second and t == 1):
            artists += _box(ax, at["x"], "x", "GO" if second else f"$x_{{{t}}}$")
            artists += _edge(ax, at["x"], at["h"], f"${W}_{{xh}}$")
        if step in wiring.outputs:
            artists += _box(ax, at["y"], "y", f"$y_{{{t}}}$")
            artists += _edge(ax, at["h"], at["y"], "$W_{hy}$")
        if step > 1:
            x, y = at["h"]
            artists += _edge(ax, (x - _PITCH, y), at["h"], f"${W}_{{hh}}$")
            if wiring.fed_back and step - 1 in wiring.outputs:
                start = (x - _PITCH + _BOX_WIDTH / 2, _ROWS["y"] - _BOX_HEIGHT / 2 + 0.05)
                artists.append(_arrow(ax, start, (x - 0.12, y + _BOX_HEIGHT / 2 + 0.03), linestyle="--"))
        if step == wiring.summary:
            place = (at["h"][0], at["h"][1] + _BOX_HEIGHT / 2 + 0.1)
            artists.append(ax.text(*place, "summary", ha="center", va="baseline", fontsize=11))
    if wiring.fed_back:  # in the place of the inputs that are not there: after each output but the last
        place = (left + _PITCH * (min(wiring.outputs) + max(wiring.outputs) - 1) / 2, _ROWS["x"])
        note = "- - -  an output is the next input"
        artists.append(ax.text(*place, note, ha="center", va="center_baseline", fontsize=11))
    return artists


def _box(ax: Axes, centre: tuple[float, float], key: str, label: str) -> list[Artist]:
    x, y = centre
    corner = (x - _BOX_WIDTH / 2, y - _BOX_HEIGHT / 2)
    box = FancyBboxPatch(
        corner,
        _BOX_WIDTH,
        _BOX_HEIGHT,
        boxstyle="round,pad=0,rounding_size=0.08",
        facecolor=(_COLOURS[key], 0.25),
        edgecolor=_COLOURS[key],
        linewidth=1.6,
    )
    return [
        ax.add_patch(box),
        ax.text(x, y, label, ha="center", va="center_baseline", fontsize=14),
    ]


def _edge(ax: Axes, start: tuple[float, float], end: tuple[float, float], label: str) -> list[Artist]:
    """An arrow from box to box, upwards or to the right, with its weight beside it."""
    (x0, y0), (x1, y1) = start, end
    if x0 == x1:
        ends = (x0, y0 + _BOX_HEIGHT / 2 + 0.03), (x1, y1 - _BOX_HEIGHT / 2 - 0.03)
        text = ax.text(x0 + 0.08, (y0 + y1) / 2, label, ha="left", va="center_baseline", fontsize=11)
    else:
        ends = (x0 + _BOX_WIDTH / 2 + 0.03, y0), (x1 - _BOX_WIDTH / 2 - 0.03, y1)
        text = ax.text((x0 + x1) / 2, y0 + 0.12, label, ha="center", va="baseline", fontsize=11)
    return [_arrow(ax, *ends), text]


def _check_vocabulary(model: CharRNN, vocabulary: Vocabulary) -> None:
    size = model.h_to_y.out_features
    if len(vocabulary) != size:
        raise ValueError(f"vocabulary must have the model's {size} tokens, got {len(vocabulary)}")


def _check_text(vocabulary: Vocabulary, **texts: str) -> None:
    for name, text in texts.items():
        if not text:
            raise ValueError(f"{name} must hold at least one character, got none")
        unknown = [character for character in text if character not in vocabulary]
        if unknown:
            raise ValueError(f"{name} must consist of the vocabulary's characters, {unknown[0]!r} is not one")
