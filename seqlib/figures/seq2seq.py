"""Figures of chapter 05: encoder and decoder, exact answers by length, a beam, teacher forcing, a bottleneck.

A `plot_*` is for a chapter; `draw_*` (the artists, once) and `update_*` (their data) are what an explorer
calls. The font has no Korean, so tokens are shown in Latin letters (`seqlib.pairs.romanised`).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import cycle, pairwise, zip_longest
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path
from matplotlib.text import Annotation, Text
from matplotlib.textpath import TextToPath
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from seqlib.decoding import BeamSearch
from seqlib.figures.common import axes_or_new, plot_accuracy_by_step
from seqlib.figures.rnn import visible
from seqlib.figures.style import BLACK, BLUE, GREEN, GREY, PURPLE, RED
from seqlib.pairs import SPECIAL, romanised
from seqlib.vocab import Vocabulary

_INK = "#333333"
_MONO = ["DejaVu Sans Mono"]
_SOS, _EOS = SPECIAL[1:]


def as_text(tokens: Iterable[str]) -> str:
    """Tokens in Latin letters, with blanks between them."""
    return " ".join(visible(romanised(token)) for token in tokens)


def shortened(text: str, columns: int) -> str:
    """`text`, or an ellipsis and its last words where it has more than `columns` characters."""
    if len(text) <= columns:
        return text
    end = text[2 - columns :]
    return "… " + (end.partition(" ")[2] or end)


# -------------------------------------------------------------------------------- encoder and decoder

_READ, _CELL, _WRITTEN, _TITLE = 0.0, 0.95, 1.9, 2.2  # in inches, upwards
_SIDE = 0.4  # of a cell's box
_LABEL = 10.5  # points


def plot_encoder_decoder(source: Sequence[str], target: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """An encoder that reads `source` and a decoder that writes `target`, unrolled, with <eos> after both.

    Dashed arrows lead from each output to the next input. Raises ValueError for a sequence without tokens.
    """
    for name, tokens in (("source", source), ("target", target)):
        if not tokens:
            raise ValueError(f"{name} must hold at least one token, got none")
    read = [*(as_text([token]) for token in source), _EOS]
    written = [*(as_text([token]) for token in target), _EOS]
    fed = [_SOS, *written[:-1]]

    # Each column is as wide as its labels need, and the context gets a place between the two halves.
    S = len(read)
    widths = [max(_SIDE, _inches(label)) + 0.14 for label in read]
    widths += [max(_SIDE, *map(_inches, labels)) + 0.14 for labels in zip(fed, written, strict=True)]
    gaps = np.array([0.0] * S + [0.68] * len(written))
    centres = (np.cumsum(widths) - np.array(widths) / 2 + gaps).tolist()
    width = sum(widths) + gaps[-1]
    ax = axes_or_new(ax, width=width + 0.1, height=2.95)
    ax.set(xlim=(0, width), ylim=(_READ - 0.3, _TITLE + 0.25), aspect="equal")
    ax.axis("off")

    for t, (x, label) in enumerate(zip(centres, read + fed, strict=True)):
        encodes = t < S
        _label(ax, x, _READ, label, color=BLACK if t <= S else GREY)
        _cell(ax, x, f"$h_{{{t + 1}}}$" if encodes else f"$s_{{{t - S + 1}}}$", encodes=encodes)
        _arrow(ax, (x, _READ + 0.14), (x, _CELL - _SIDE / 2 - 0.03))
        if t and t != S:
            _arrow(ax, (centres[t - 1] + _SIDE / 2 + 0.03, _CELL), (x - _SIDE / 2 - 0.03, _CELL))
    for x, label in zip(centres[S:], written, strict=True):
        _label(ax, x, _WRITTEN, label)
        _arrow(ax, (x, _CELL + _SIDE / 2 + 0.03), (x, _WRITTEN - 0.14))
    for before, after in pairwise(centres[S:]):
        middle = (before + after) / 2
        bends = [(middle, _WRITTEN - 0.5), (middle, _READ + 0.5)]
        ends = (before + 0.13, _WRITTEN - 0.15), (after - 0.13, _READ + 0.15)
        path = Path([ends[0], *bends, ends[1]], [Path.MOVETO, *[Path.CURVE4] * 3])
        _arrow(ax, path=path, linestyle="--", color=GREY, linewidth=1.0)

    start, end = centres[S - 1] + _SIDE / 2 + 0.03, centres[S] - _SIDE / 2 - 0.03
    _arrow(ax, (start, _CELL), (end, _CELL), linewidth=3, mutation_scale=18, color=GREEN)
    ax.text((start + end) / 2, _CELL + 0.16, "context", ha="center", va="baseline", fontsize=12)
    for name, part, y in (("Encoder", centres[:S], _CELL + 0.4), ("Decoder", centres[S:], _TITLE)):
        ax.text((part[0] + part[-1]) / 2, y, name, ha="center", va="baseline", fontsize=13)
    return ax


def _inches(label: str) -> float:
    """The width of a label of `plot_encoder_decoder`."""
    font = FontProperties(family=["DejaVu Sans"], size=_LABEL)
    return float(TextToPath().get_text_width_height_descent(label, font, False)[0]) / 72


def _label(ax: Axes, x: float, y: float, label: str, **look: Any) -> None:
    ax.text(x, y, label, ha="center", va="center_baseline", fontsize=_LABEL, parse_math=False, **look)


def _cell(ax: Axes, x: float, label: str, *, encodes: bool) -> None:
    """A round box for the encoder, one with corners and a double line for the decoder."""
    color = BLUE if encodes else PURPLE
    for inset in (0.0,) if encodes else (0.0, 0.05):
        side = _SIDE - 2 * inset
        box = FancyBboxPatch(
            (x - side / 2, _CELL - side / 2),
            side,
            side,
            boxstyle="round,pad=0,rounding_size=0.14" if encodes else "square,pad=0",
            facecolor=(color, 0.2) if inset == 0 else "none",
            edgecolor=color,
            linewidth=1.6 if encodes else 1.1,
        )
        ax.add_patch(box)
    ax.text(x, _CELL, label, ha="center", va="center_baseline", fontsize=13)


def _arrow(ax: Axes, *ends: tuple[float, float], path: Path | None = None, **look: Any) -> None:
    """An arrow from one place to another, or along `path`."""
    look = {"mutation_scale": 11, "color": _INK, "linewidth": 1.2, **look}
    ax.add_patch(FancyArrowPatch(*ends, path=path, arrowstyle="-|>", shrinkA=0, shrinkB=0, **look))


# ---------------------------------------------------------------------------------- exact by length


def exact_by_length(
    right: Bool[Tensor, " N"], lengths: Int[Tensor, " N"], *, edges: Sequence[int]
) -> Float[Tensor, " K"]:
    """The share of right answers among those with a length of edges[k] + 1 to edges[k + 1], for each k.

    Other lengths are left out. Raises ValueError for edges that don't rise, sizes that differ and a bin
    without any answer.
    """
    if len(edges) < 2 or any(high <= low for low, high in pairwise(edges)):
        raise ValueError(f"edges must be two or more rising numbers, got {list(edges)}")
    if right.shape != lengths.shape:
        raise ValueError(f"right must be as many as the {len(lengths)} lengths, got {len(right)}")
    bins = [(lengths > low) & (lengths <= high) for low, high in pairwise(edges)]
    for label, inside in zip(bin_labels(edges), bins, strict=True):
        if not inside.any():
            raise ValueError(f"edges must leave no bin empty, no length lies in {label}")
    return torch.stack([right[inside].float().mean() for inside in bins])


def bin_labels(edges: Sequence[int]) -> list[str]:
    """ "1-4", "5-8", and "9" for a bin of one length."""
    return [str(high) if high == low + 1 else f"{low + 1}-{high}" for low, high in pairwise(edges)]


def plot_exact_by_length(
    right: Mapping[str, Bool[Tensor, " N"]],
    lengths: Int[Tensor, " N"],
    *,
    edges: Sequence[int],
    ax: Axes | None = None,
    xlabel: str = "Characters in the source",
) -> Axes:
    """The share of exact answers (0 to 1) by length, one marked line for each label in `right`.

    `lengths` belong to the answers; see `exact_by_length` for `edges`. Raises ValueError for no lines at
    all, and as that does.
    """
    if not right:
        raise ValueError("right must hold at least one line, got none")
    shares = {label: exact_by_length(answers, lengths, edges=edges) for label, answers in right.items()}
    ax = plot_accuracy_by_step(shares, ax=ax)
    _name_bins(ax, edges, xlabel)
    return ax


def _name_bins(ax: Axes, edges: Sequence[int], xlabel: str) -> None:
    labels = bin_labels(edges)
    ax.set_xticks(range(1, len(labels) + 1), labels)
    ax.set(xlabel=xlabel, ylabel="Share of exact answers", ylim=(0, 1))


# --------------------------------------------------------------------------------------- beam search


class BeamRow(NamedTuple):
    """A beginning that a beam search looked at: its tokens, the newest last, and its log-probability."""

    tokens: tuple[str, ...]
    log_probability: float

    @property
    def ended(self) -> bool:
        """Whether its newest token is <eos>."""
        return self.tokens[-1] == _EOS

    @property
    def probability(self) -> float:
        return math.exp(self.log_probability)


class BeamView(NamedTuple):
    """One step (from 1) of a beam search, and the rows of the step before.

    `parents` says which of those each row continues. `finished` are all rows that have ended so far, the
    likeliest first. `last` is the step at which the search ended.
    """

    width: int
    step: int
    last: int
    before: tuple[BeamRow, ...]
    rows: tuple[BeamRow, ...]
    parents: tuple[int, ...]
    finished: tuple[BeamRow, ...]


def beam_view(search: BeamSearch, vocabulary: Vocabulary, *, width: int, step: int) -> BeamView:
    """Step `step` of a search of this width, or its last one if it has ended before.

    Raises ValueError for a step below 1.
    """
    if step < 1:
        raise ValueError(f"step must be at least 1, got {step}")
    seen = search.steps[:step]
    steps = [
        tuple(
            BeamRow(tuple(vocabulary.decode(tokens)), float(log_probability))
            for tokens, log_probability in zip(each.tokens, each.log_probability, strict=True)
        )
        for each in seen
    ]
    before = steps[-2] if len(steps) > 1 else (BeamRow((_SOS,), 0.0),)
    going = [place for place, row in enumerate(before) if not row.ended]  # parents are counted among these
    ended = [row for rows in steps for row in rows if row.ended]
    return BeamView(
        width=width,
        step=len(seen),
        last=len(search.steps),
        before=before,
        rows=steps[-1],
        parents=tuple(going[parent] for parent in seen[-1].parents.tolist()),
        finished=tuple(sorted(ended, key=lambda row: -row.log_probability)),
    )


class BeamArtists(NamedTuple):
    """What moves in `draw_beam`: texts, lines and bars, for as many rows as the widest beam has."""

    headline: Text
    note: Text
    before: list[Text]
    ways: list[Line2D]
    begun: list[Text]
    newest: list[Annotation]
    tracks: list[Rectangle]
    bars: list[Rectangle]
    probabilities: list[Text]
    log_probabilities: list[Text]
    finished: list[Text]


# Places in inches from the upper left corner, in which the axes of this drawing are measured.
_ROW, _FIRST, _BEFORE, _ROWS, _BAR = 0.32, 1.42, 1.75, 2.35, 0.8
_BEFORE_COLUMNS, _ROW_COLUMNS, _ALL_COLUMNS = 20, 59, 102


def beam_size(rows: int) -> tuple[float, float]:
    """Width and height in inches that suit `draw_beam`."""
    return 9.5, _FIRST + (_ROW + 0.27) * rows + 0.42


def draw_beam(ax: Axes, source: Iterable[str], *, rows: int) -> BeamArtists:
    """Everything around a beam of at most so many rows, which is still empty."""
    width, height = beam_size(rows)
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.axis("off")
    mono: dict[str, Any] = {"family": _MONO, "fontsize": 10}

    def text(x: float, y: float, words: str = "", **look: Any) -> Text:
        return ax.text(x, y, words, **{"va": "baseline", "fontsize": 11, "parse_math": False, **look})

    text(0.05, 0.22, "Source")
    text(0.75, 0.22, shortened(as_text(source), _ALL_COLUMNS), **mono)
    bars, p, log_p = 7.5, 8.75, 9.4
    below = _FIRST + _ROW * rows + 0.1
    for x, y, words, ha in (
        (_BEFORE, _FIRST - 0.36, "step before", "right"),
        (_ROWS, _FIRST - 0.36, "likeliest continuations", "left"),
        (bars, _FIRST - 0.36, "probability p", "left"),
        (log_p, _FIRST - 0.36, "log p", "right"),
        (0.05, below, "Finished so far, the likeliest first (log p)", "left"),
    ):
        text(x, y, words, ha=ha, color=_INK)
    lines = [_FIRST + _ROW * k for k in range(rows)]
    tracks, filled = (
        [Rectangle((bars, y - 0.16), _BAR, 0.2, **look) for y in lines]
        for look in ({"facecolor": "none", "edgecolor": GREY}, {"facecolor": BLUE, "linewidth": 0})
    )
    for rectangle in (*tracks, *filled):
        ax.add_patch(rectangle)
    begun = [text(_ROWS, y, **mono) for y in lines]
    newest = [  # each behind the text that it continues, however wide that is
        ax.annotate("", (1, y), (0, 0), xycoords=(before, "data"), textcoords="offset points", **mono)
        for before, y in zip(begun, lines, strict=True)
    ]
    for each in newest:
        each.set(va="baseline", weight="bold", parse_math=False)
    return BeamArtists(
        headline=text(0.05, 0.65, fontsize=13, weight="bold"),
        note=text(width - 0.1, 0.65, ha="right"),
        before=[text(_BEFORE, y, ha="right", color=_INK, **mono) for y in lines],
        ways=[ax.plot([], [], color=GREY, linewidth=1.4)[0] for _ in lines],
        begun=begun,
        newest=newest,
        tracks=tracks,
        bars=filled,
        probabilities=[text(p, y, ha="right", **mono) for y in lines],
        log_probabilities=[text(log_p, y, ha="right", **mono) for y in lines],
        finished=[text(0.05, below + 0.27 * (k + 1), **mono) for k in range(rows)],
    )


def update_beam(artists: BeamArtists, view: BeamView, *, note: str = "") -> None:
    """Show another step or another search."""
    greedy = ": greedy decoding" if view.width == 1 else ""
    artists.headline.set_text(f"Step {view.step} of {view.last}, beam width {view.width}{greedy}")
    artists.note.set_text(note)
    for artist, row in zip_longest(artists.before, view.before):
        artist.set_text(shortened(as_text(row.tokens), _BEFORE_COLUMNS) if row else "")

    for k, (begun, newest) in enumerate(zip(artists.begun, artists.newest, strict=True)):
        shown = k < len(view.rows)
        for group in artists[3:-1]:  # all that a row of this step has
            group[k].set_visible(shown)
        if not shown:
            continue
        row, parent = view.rows[k], view.parents[k]
        word = as_text(row.tokens[-1:])
        begun.set_text(shortened(as_text(row.tokens[:-1]), _ROW_COLUMNS - len(word)))
        newest.set_text(word)
        newest.xyann = (8 if begun.get_text() else 0, 0)
        color = (GREEN, 0.3) if row.ended else "none"
        newest.set_bbox({"boxstyle": "square,pad=0.15", "facecolor": color, "edgecolor": BLACK})
        y = [_FIRST + _ROW * place - 0.06 for place in (parent, k)]
        artists.ways[k].set_data([_BEFORE + 0.06, _ROWS - 0.08], y)
        artists.bars[k].set_width(_BAR * row.probability)
        artists.probabilities[k].set_text(f"{row.probability:.2f}")
        artists.log_probabilities[k].set_text(_number(row.log_probability))

    for artist, row in zip_longest(artists.finished, view.finished):
        words = shortened(as_text(row.tokens), _ALL_COLUMNS) if row else ""
        artist.set_text(f"{_number(row.log_probability):>6}  {words}" if row else "")
    if not view.finished:
        artists.finished[0].set_text("none")


def _number(value: float) -> str:
    return f"{value:z.2f}".replace("-", "−")


# ----------------------------------------------------------------------------------- teacher forcing


class ForcedShares(NamedTuple):
    """Shares of right tokens by output position, for a decoder that reads the truth with some probability.

    Beside it the same for one that always reads the truth, and for one that always reads its own output.
    """

    trained: str  # the model's label
    ratio: float
    mixed: Float[Tensor, " T"]
    truth: Float[Tensor, " T"]
    own: Float[Tensor, " T"]


class ForcedArtists(NamedTuple):
    """What moves in `draw_forced`: three lines and their summary."""

    lines: list[Line2D]  # mixed, truth, own
    headline: Text


def draw_forced(ax: Axes, positions: int) -> ForcedArtists:
    """Everything but the data, for so many output positions."""
    look: dict[str, Any] = {"clip_on": False, "color": _INK, "linewidth": 1.5, "markersize": 9}
    look["markerfacecolor"] = "white"
    [truth] = ax.plot([], [], "--", marker="^", label="always the truth", **look)
    [own] = ax.plot([], [], ":", marker="s", label="always its own output", **look)
    [mixed] = ax.plot([], [], "-", marker="o", color=BLUE, linewidth=2.4, markersize=5, zorder=4)
    mixed.set(label="the truth with this ratio", clip_on=False)
    ax.set(xlim=(0.5, positions + 0.5), ylim=(0, 1), xlabel="Position in the answer")
    ax.set_ylabel("Share of right tokens")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(handles=[truth, mixed, own], loc="lower left", bbox_to_anchor=(-0.015, 1), ncols=3, fontsize=11)
    return ForcedArtists([mixed, truth, own], _headline(ax, 36))


def update_forced(artists: ForcedArtists, shares: ForcedShares) -> None:
    """Show other shares of as many positions."""
    for line, values in zip(artists.lines, (shares.mixed, shares.truth, shares.own), strict=True):
        line.set_data(np.arange(1, len(values) + 1), values.numpy())
    artists.headline.set_text(
        f"reads the truth with ratio {shares.ratio:.2f}: {shares.mixed.mean():.2f} right on average"
    )


def _headline(ax: Axes, points: int = 10) -> Text:
    """A line of its own so far above the axes, in points."""
    look: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "weight": "bold"}
    return ax.annotate("", (0, 1), xytext=(0, points), fontsize=13, **look)


# ---------------------------------------------------------------------------------------- bottleneck


class Answered(NamedTuple):
    """A source, its target, and what a model answers, as tokens without the special ones at the end."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    answer: tuple[str, ...]


class Bottleneck(NamedTuple):
    """What models of one context size answer: the share of exact answers by length, and some examples."""

    size: int
    exact: float  # share among all
    shares: Float[Tensor, " K"]
    examples: tuple[Answered, ...]


def aligned(target: Sequence[str], answer: Sequence[str]) -> list[tuple[str, str]]:
    """Words of both, side by side, as many as possible beside the same word; "" where one has none."""
    pairs: list[tuple[str, str]] = []
    for _, i, j, k, m in SequenceMatcher(None, target, answer, autojunk=False).get_opcodes():
        pairs += zip_longest(target[i:j], answer[k:m], fillvalue="")
    return pairs


class ExampleLine(NamedTuple):
    """Words of a target, and below them those of the answer: right ones, wrong ones, and underlines of these.

    The last three lie over each other, with blanks in each where the others have letters.
    """

    target: Text
    right: Text
    wrong: Text
    underline: Text


class BottleneckArtists(NamedTuple):
    """What moves in `draw_bottleneck`: the chosen size's line, and the examples line by line."""

    shares: Line2D
    headline: Text
    examples: list[list[ExampleLine]]


_SIGNS = {"■": "s", "▲": "^", "◆": "D", "▼": "v", "★": "*", "✖": "X"}  # in texts, and as markers
_EXAMPLE, _COLUMNS = 10, 100  # points, characters
_EXAMPLES, _LINE, _WORDS = 0.54, 0.2, 0.75  # inches: above the first example, for a line, left of its words


def example_lines(example: Answered) -> list[list[tuple[str, str]]]:
    """The `aligned` words of an example, as figures show them, in lines that fit."""
    lines: list[list[tuple[str, str]]] = [[]]
    used = 0
    labels = ([as_text([token]) for token in tokens] for tokens in (example.target, example.answer))
    for pair in aligned(*labels):
        width = max(map(len, pair)) + 1
        if used + width > _COLUMNS:
            lines, used = [*lines, []], 0
        lines[-1].append(pair)
        used += width
    return lines


def bottleneck_heights(lines: Sequence[int]) -> tuple[float, float]:
    """The inches that the axes of `draw_bottleneck` take in a figure that is 9.5 wide."""
    return 3.4, _EXAMPLES + sum(_example_height(number) for number in lines)


def _example_height(lines: int) -> float:
    return _LINE * (1 + 2 * lines) + 0.15


def draw_bottleneck(
    axes: Iterable[Axes],
    shares: Mapping[int, Float[Tensor, " K"]],
    *,
    edges: Sequence[int],
    sources: Sequence[Sequence[str]],
    lines: Sequence[int],
) -> BottleneckArtists:
    """Above, the shares of all context sizes as faint lines; below, room for the answers to `sources`.

    Each faint line has a marker, which stands before its size at the right end too, where lines may meet.

    `lines` says how many lines there are for the words of each example (`example_lines`).
    """
    above, below = axes
    K = len(edges) - 1
    places = np.arange(1, K + 1)
    signs = dict(zip(shares, cycle(_SIGNS), strict=False))
    faint: dict[str, Any] = {"color": "#AAAAAA", "linewidth": 1.2, "markersize": 6}
    for size, values in shares.items():
        above.plot(places, values.numpy(), marker=_SIGNS[signs[size]], clip_on=False, **faint)
    upwards = sorted(shares, key=lambda size: shares[size].flip(0).tolist())  # by their ends
    ends = [float(shares[size][-1]) for size in upwards]
    label: dict[str, Any] = {"va": "center", "fontsize": 10, "color": GREY, "annotation_clip": False}
    leader = {"arrowstyle": "-", "color": "#AAAAAA", "linewidth": 0.8, "relpos": (0, 0.5), "shrinkB": 5}
    for size, end, y in zip(upwards, ends, _apart(ends), strict=True):
        above.annotate(f"{signs[size]} {size}", (K, end), (K + 0.14, y), arrowprops=leader, **label)
    above.annotate("size", (K + 0.14, _apart(ends)[-1] + 0.085), **label)
    _name_bins(above, edges, "Characters in the source")
    above.set_xlim(0.7, K + 0.3)
    [line] = above.plot([], [], "-", marker="o", color=BLUE, linewidth=2.6, markersize=8, zorder=4)
    line.set_clip_on(False)

    heights = bottleneck_heights(lines)
    below.set_position((0, 0, 1, heights[1] / sum(heights)))
    below.set(xlim=(0, 9.5), ylim=(heights[1], 0))
    below.axis("off")

    def text(x: float, y: float, words: str = "", **look: Any) -> Text:
        return below.text(x, y, words, va="baseline", parse_math=False, fontsize=_EXAMPLE, **look)

    text(0.05, _EXAMPLES - 0.06, "underlined: wrong or missing", color=GREY)
    examples, top = [], _EXAMPLES
    for source, number in zip(sources, lines, strict=True):
        ys = [top + _LINE * (k + 1) for k in range(1 + 2 * number)]
        for y, name in zip(ys, ("source", "target", "answer"), strict=False):
            text(0.05, y, name, color=GREY)
        text(_WORDS, ys[0], shortened(as_text(source), _COLUMNS), family=_MONO)
        examples.append(
            [
                ExampleLine(
                    text(_WORDS, said, family=_MONO),
                    text(_WORDS, answered, family=_MONO),
                    text(_WORDS, answered, family=_MONO, color=RED, weight="bold"),
                    text(_WORDS, answered + 0.03, family=_MONO, color=RED, weight="bold"),
                )
                for said, answered in zip(ys[1::2], ys[2::2], strict=True)
            ]
        )
        top += _example_height(number)
    return BottleneckArtists(line, _headline(above), examples)


def _apart(values: Sequence[float], gap: float = 0.075, lowest: float = 0.03) -> list[float]:
    """Rising values, moved apart where they are closer than `gap`, from `lowest` to 1."""
    steps = gap * np.arange(len(values))
    apart = np.maximum.accumulate(np.maximum(values, lowest) - steps) + steps
    return np.minimum(apart, 1 - steps[::-1]).tolist()


def update_bottleneck(artists: BottleneckArtists, view: Bottleneck) -> None:
    """Show another context size."""
    artists.shares.set_data(np.arange(1, len(view.shares) + 1), view.shares.numpy())
    artists.headline.set_text(f"context size {view.size}: {100 * view.exact:.0f} % of all answers exact")
    for example, lines in zip(view.examples, artists.examples, strict=True):
        words = example_lines(example)
        for line, pairs in zip(lines, words + [[]] * (len(lines) - len(words)), strict=True):
            texts = [""] * len(line)
            for said, answered in pairs:
                width = max(len(said), len(answered))
                underline = "_" * (len(answered) or width)  # also of a gap, where a word is missing
                parts = (said, answered) if said == answered else (said, "", answered, underline)
                texts = [
                    text + part.ljust(width + 1) for text, part in zip_longest(texts, parts, fillvalue="")
                ]
            for artist, text in zip(line, texts, strict=True):
                artist.set_text(text)
