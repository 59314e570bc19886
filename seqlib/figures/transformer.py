"""Figures of chapter 07: what a word attends to, positions, masks, decoding with a cache, measurements.

Dimensions: T words of a sentence or steps of decoding, S words that are attended to, D model size, L layers,
N heads, V vocabulary. Words, layers, heads and steps are counted from 1, as in the pictures; positions from
0, as in their formula.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation, Text
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from torch import Tensor

from seqlib.attention import masked_softmax
from seqlib.figures.attention import (
    WEIGHTS,
    AttentionArtists,
    draw_attention,
    shown,
    update_attention,
)
from seqlib.figures.common import DASHES, MARKERS, SIGNED, add_colorbar, axes_or_new, ink_on
from seqlib.figures.style import BLACK, BLUE, CYCLE, GREEN, GREY, RED
from seqlib.pairs import Corpus, to_tensor
from seqlib.transformer import (
    Decoded,
    Transformer,
    causal_mask,
    join_heads,
    trace_decoding,
)

_FAINT = "#BBBBBB"
_LETTER = 0.088  # inches that a letter takes, on average, in a font of 10 points


def _size(page: Axes) -> tuple[float, float]:
    """Width and height of the whole figure in inches."""
    _, _, width, height = page.figure.bbox.bounds
    return width / page.figure.dpi, height / page.figure.dpi


def _page(page: Axes) -> tuple[float, float]:
    """Make these axes the whole figure, without a frame and in inches, and return their size."""
    width, height = _size(page)
    page.set_position((0, 0, 1, 1))
    page.set(xlim=(0, width), ylim=(0, height))
    page.axis("off")
    return width, height


def _panel(page: Axes, x: float, y: float, w: float, h: float) -> Axes:
    """Empty axes at this place of a page, in inches."""
    width, height = _size(page)
    ax = page.figure.add_axes((x / width, y / height, w / width, h / height))
    ax.grid(False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def _tick_labels(ax: Axes) -> list[str]:
    """Those on the left. They don't move, so they are to be set only where they change.

    (`get_yticklabels` would have all of the axis drawn again.)
    """
    return [tick.label1.get_text() for tick in ax.yaxis.get_major_ticks()]


def _check_range(name: str, number: int, first: int, last: int) -> None:
    if not first <= number <= last:
        raise ValueError(f"{name} must lie in {first}..{last}, got {number}")


# -------------------------------------------------------------------------- what a word attends to


class SelfAttention(NamedTuple):
    """A sentence, and with which weights each of its words attends to each of them (rows are queries).

    Of a `TransformerEncoder` that reads this sentence alone: `torch.cat(encoder(tokens).weights)`.
    """

    words: list[str]
    weights: Float[Tensor, "L N T T"]


class SelfAttentionView(NamedTuple):
    """One head of one layer, and the word that looks; all counted from 1."""

    sentence: SelfAttention
    layer: int
    head: int
    query: int

    @property
    def matrix(self) -> Float[Tensor, "T T"]:
        return self.sentence.weights[self.layer - 1, self.head - 1].detach()

    @property
    def weights(self) -> Float[Tensor, " T"]:
        """With which the query word attends to each word."""
        return self.matrix[self.query - 1]


class SelfAttentionArtists(NamedTuple):
    """What moves in `draw_self_attention`; the words are tick labels of `links`, and of the matrix."""

    links: Axes
    lines: LineCollection
    numbers: list[Text]
    word: Annotation
    matrix: AttentionArtists
    row: Rectangle
    headline: Text


_ROW = 0.29  # inches


def self_attention_size(words: int) -> tuple[float, float]:
    """Width and height in inches that `draw_self_attention` takes for sentences of so many words."""
    return 10.0, 1.75 + _ROW * words


def draw_self_attention(page: Axes, *, words: int) -> SelfAttentionArtists:
    """Room for a sentence of up to so many words, written twice with lines between, and for its matrix.

    `page` fills a figure of `self_attention_size`.
    """
    _, height = _page(page)
    rows = _ROW * words
    links = _panel(page, 1.35, 0.15, 2.15, rows)
    links.set(xlim=(0, 1), ylim=(words - 0.5, -0.5), xticks=[])
    links.tick_params(labelright=True, labelsize=11)
    for x, side, name in ((-0.03, "right", "query"), (1.03, "left", "key")):
        links.text(x, -0.85, name, ha=side, va="center_baseline", fontsize=11, color=GREY)
    lines = LineCollection([], capstyle="round")
    links.add_collection(lines, autolim=False)
    numbers = [links.text(0.98, k, "", ha="right", va="center_baseline", fontsize=10) for k in range(words)]
    word = links.annotate(
        "",
        (0, 0),
        xytext=(-4, 0),
        textcoords="offset points",
        ha="right",
        va="center_baseline",
        fontsize=11,
        fontweight="bold",
        bbox={"boxstyle": "round,pad=0.18", "facecolor": "white", "edgecolor": RED, "linewidth": 2},
        parse_math=False,
    )
    ax = _panel(page, 6.0, 0.15, 3.15, rows)
    bar = _panel(page, 9.33, 0.15, 0.13, rows)
    matrix = draw_attention(ax, rows=words, columns=words, cax=bar)
    ax.set_xlabel("key", color=GREY)
    ax.set_ylabel("query", color=GREY)
    row = Rectangle((-0.5, -0.5), 1, 1, fill=False, edgecolor=RED, linewidth=2, clip_on=False, zorder=3)
    ax.add_patch(row)
    headline = page.text(0.2, height - 0.33, "", fontsize=12, va="baseline", color=BLUE, parse_math=False)
    return SelfAttentionArtists(links, lines, numbers, word, matrix, row, headline)


def update_self_attention(artists: SelfAttentionArtists, view: SelfAttentionView) -> None:
    """Show another word, head, layer or sentence.

    Raises ValueError for a layer, head or query that isn't there.
    """
    layers, heads, T, _ = view.sentence.weights.shape
    _check_range("layer", view.layer, 1, layers)
    _check_range("head", view.head, 1, heads)
    _check_range("query", view.query, 1, T)
    words, weights = list(map(shown, view.sentence.words)), view.weights.tolist()
    if _tick_labels(artists.links) != words:
        artists.links.set_yticks(range(T), words, parse_math=False)
        update_attention(artists.matrix, view.matrix, source=view.sentence.words, target=view.sentence.words)
    artists.matrix.cells.set_data(view.matrix.numpy())
    artists.row.set_bounds(-0.5, view.query - 1.5, T, 1)
    artists.lines.set_segments([[(0.03, view.query - 1), (0.77, k)] for k in range(T)])
    artists.lines.set_linewidth([0.5 + 9 * weight for weight in weights])
    artists.lines.set_color(
        [(*to_rgb(BLUE), 0.3 + 0.7 * weight if weight >= 0.005 else 0.0) for weight in weights]
    )
    for number in artists.numbers[T:]:
        number.set_text("")
    for number, weight in zip(artists.numbers[:T], weights, strict=True):
        number.set(text=f"{weight:.2f}", color=BLACK if weight >= 0.005 else GREY)
    word = words[view.query - 1]
    artists.word.set_text(word)
    artists.word.xy = (0, view.query - 1)
    artists.headline.set_text(
        f"Layer {view.layer}, head {view.head}: what “{word}” (word {view.query} of {T}) attends to"
    )


def plot_heads(
    weights: Float[Tensor, "N T S"],
    *,
    source: Sequence[str],
    target: Sequence[str],
    axes: Iterable[Axes] | None = None,
    xlabel: str = "key",
    ylabel: str = "query",
) -> list[Axes]:
    """The attention matrices of all heads of a layer: one heat map each, rows are queries (`target`).

    Heads that find no place side by side stand below each other; labels are at the outer edges. Raises
    ValueError where `axes` or tokens are not as many as they should be.
    """
    N, T, S = weights.shape
    if axes is None:
        across = max(1, min(N, int(8.5 // (0.28 * S))))
        across = -(-N // -(-N // across))  # as many in each row, if that can be
        down = -(-N // across)
        size = 1.8 + across * (0.28 * S + 0.15), 1.4 + down * (0.28 * T + 0.3)
        figure = plt.figure(figsize=size, layout="constrained")
        first = figure.add_subplot(down, across, 1)
        axes = [
            first,
            *(figure.add_subplot(down, across, n, sharex=first, sharey=first) for n in range(2, N + 1)),
        ]
        left, top = {*range(0, N, across)}, {*range(across)}
    else:
        axes, left, top = list(axes), {*range(N)}, {*range(N)}
    if len(axes) != N:
        raise ValueError(f"axes must be one for each of the {N} heads, got {len(axes)}")
    for number, (ax, head) in enumerate(zip(axes, weights, strict=True)):
        cells = ax.imshow(np.zeros((1, 1)), cmap=WEIGHTS, vmin=0, vmax=1, aspect="auto", interpolation="none")
        frame = Rectangle((0, 0), 1, 1, fill=False, edgecolor=GREY, linewidth=1, clip_on=False)
        ax.add_patch(frame)
        ax.xaxis.tick_top()
        ax.xaxis.set_label_position("top")
        ax.grid(False)
        ax.spines[:].set_visible(False)
        update_attention(AttentionArtists(cells, frame, T, S), head, source=source, target=target)
        ax.tick_params(length=0, labelleft=number in left, labeltop=number in top)
        ax.set(xlabel=xlabel if number in top else "", ylabel=ylabel if number in left else "")
        ax.set_title(f"head {number + 1}", fontsize=11, loc="center")
    add_colorbar(axes[0].images[0], axes, label="weight", aspect=30)
    return axes


# ----------------------------------------------------------------------------------------- positions


def plot_positions(positions: Float[Tensor, "T D"], *, ax: Axes | None = None) -> Axes:
    """Heat map of the vectors of positions: a row for each position, from 0 on, a column for each entry."""
    ax = axes_or_new(ax, width=6.5, height=4.0)
    cells = ax.imshow(
        positions.detach().numpy(), cmap=SIGNED, vmin=-1, vmax=1, aspect="auto", interpolation="none"
    )
    ax.grid(False)
    ax.set(xlabel="entry of the vector", ylabel="position")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True))
    add_colorbar(cells, ax, ticks=[-1, 0, 1])
    return ax


class PositionView(NamedTuple):
    """Vectors of positions, and the one position that is compared with all others."""

    positions: Float[Tensor, "T D"]
    position: int

    @property
    def products(self) -> Float[Tensor, " T"]:
        """The dot product with each position's vector, divided by D / 2: 1 with itself."""
        return self.positions @ self.positions[self.position] / (self.positions.shape[1] / 2)


class PositionArtists(NamedTuple):
    """What moves in `draw_position`. The heat map is drawn again only for another model size."""

    left: Axes
    frame: Rectangle
    line: Line2D
    here: Line2D
    titles: list[Text]


def draw_position(axes: Iterable[Axes], view: PositionView) -> PositionArtists:
    """The heat map of positions on the left, and room for one position's products on the right."""
    left, right = axes
    plot_positions(view.positions, ax=left)
    T = len(view.positions)
    frame = Rectangle((0, 0), 1, 1, fill=False, edgecolor=BLACK, linewidth=1.6, clip_on=False, zorder=3)
    left.add_patch(frame)
    [line] = right.plot(range(T), np.zeros(T), color=BLUE, zorder=3)
    [here] = right.plot([0, 0], [-1.1, 1], color=BLACK, linestyle=":", marker="o", markevery=[1], zorder=4)
    right.set(xlim=(-1, T), ylim=(-1.1, 1.15), xlabel="the other position", ylabel="dot product / (D / 2)")
    right.axhline(0, color=_FAINT, linewidth=1)
    right.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    titles: list[Text] = [
        ax.annotate(
            "", (0, 1), xytext=(0, 8), xycoords="axes fraction", textcoords="offset points", fontsize=12
        )
        for ax in (left, right)
    ]
    return PositionArtists(left, frame, line, here, titles)


def update_position(artists: PositionArtists, view: PositionView) -> None:
    """Show another position or model size. Raises ValueError for a position that isn't there."""
    T, D = view.positions.shape
    _check_range("position", view.position, 0, T - 1)
    [cells] = artists.left.images
    if cells.get_size() != (T, D):
        cells.set_data(view.positions.numpy())
        cells.set_extent((-0.5, D - 0.5, T - 0.5, -0.5))
    artists.frame.set_bounds(-0.5, view.position - 0.5, D, 1)
    artists.line.set_ydata(view.products.numpy())
    artists.here.set_xdata([view.position, view.position])
    texts = (
        f"D = {D} entries; framed: position {view.position}",
        f"position {view.position} times each position",
    )
    for title, text in zip(artists.titles, texts, strict=True):
        title.set_text(text)


# --------------------------------------------------------------------------------------------- masks


class MaskView(NamedTuple):
    """Who may attend to whom (rows are queries), and the weights of some scores under this mask.

    The last `padding` tokens are padding.
    """

    mask: Bool[Tensor, "T T"]
    weights: Float[Tensor, "T T"]
    causal: bool
    padding: int


def masked(scores: Float[Tensor, "T T"], *, causal: bool, padding: int) -> MaskView:
    """The weights of these scores if nobody sees the last `padding` tokens, nor, if `causal`, the future.

    Raises ValueError for a padding outside of 0..T - 1.
    """
    T = len(scores)
    _check_range("padding", padding, 0, T - 1)
    mask = (torch.arange(T) < T - padding).expand(T, T)
    if causal:
        mask = mask & causal_mask(T)
    return MaskView(mask, masked_softmax(scores, mask), causal, padding)


class MaskArtists(NamedTuple):
    """What moves in `draw_masks`: of both grids the cells, hatching and fading, the marks and numbers."""

    cells: list[AxesImage]
    hatching: list[Line2D]
    faded: list[Rectangle]
    dots: Line2D
    numbers: list[list[Text]]
    sums: list[Text]
    note: Text


def draw_masks(axes: Iterable[Axes], *, length: int) -> MaskArtists:
    """Two grids of `length` queries and keys: for a mask, and for the weights under it."""
    left, right = axes
    cells, hatching, faded = [], [], []
    texts: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": 10}
    for ax, title in ((left, "mask: a dot where attention is allowed"), (right, "weights under this mask")):
        cells.append(
            ax.imshow(
                np.zeros((length, length)), cmap=WEIGHTS, vmin=0, vmax=1, aspect="auto", interpolation="none"
            )
        )
        hatching += ax.plot([], [], color=_FAINT, linewidth=1, zorder=2)
        faded.append(Rectangle((0, 0), 1, 1, facecolor="white", alpha=0.65, zorder=4))
        ax.add_patch(faded[-1])
        for lines in (ax.hlines, ax.vlines):
            lines(np.arange(length + 1) - 0.5, -0.5, length - 0.5, color=GREY, linewidth=0.8, zorder=5)
        ax.set(
            xlim=(-0.51, length - 0.49), ylim=(length - 0.49, -0.51), ylabel="query (the token that looks)"
        )
        ax.set_xlabel("key (the token that is looked at)")
        ax.set_xticks(range(length), map(str, range(1, length + 1)))
        ax.set_yticks(range(length), map(str, range(1, length + 1)))
        ax.xaxis.tick_top()
        ax.xaxis.set_label_position("top")
        ax.tick_params(length=0)
        ax.grid(False)
        ax.spines[:].set_visible(False)
        ax.set_title(title, pad=8)
    [dots] = left.plot([], [], linestyle="none", marker="o", markersize=5, color=BLACK, zorder=6)
    numbers = [[right.text(k, q, "", zorder=6, **texts) for k in range(length)] for q in range(length)]
    outside = length - 0.42
    sums = [right.text(outside, q, "", **texts | {"ha": "left"}) for q in range(length)]
    above, va, _ = right.get_xaxis_text2_transform(plt.rcParams["xtick.major.pad"])
    right.text(outside, 1, "sum", transform=above, ha="left", va=va, fontsize=10)  # in line with the ticks
    note = left.text(-0.5, length - 0.25, "", va="top", fontsize=10)
    return MaskArtists(cells, hatching, faded, dots, numbers, sums, note)


def update_masks(artists: MaskArtists, view: MaskView) -> None:
    """Show another mask, and the weights under it."""
    T, present = len(view.mask), len(view.mask) - view.padding
    rows, columns = (~view.mask).numpy().nonzero()
    # A stroke through each masked cell; nan lifts the pen.
    x, y = (
        np.column_stack([begin, end, np.full(len(rows), np.nan)]).ravel()
        for begin, end in ((columns - 0.5, columns + 0.5), (rows + 0.5, rows - 0.5))
    )
    for hatching, faded in zip(artists.hatching, artists.faded, strict=True):
        hatching.set_data(x, y)
        faded.set_bounds(-0.5, present - 0.5, T, view.padding)
    mask, weights = artists.cells
    mask.set_data(0.2 * view.mask.numpy())
    weights.set_data(view.weights.numpy())
    rows, columns = view.mask.numpy().nonzero()
    artists.dots.set_data(columns, rows)
    colours = weights.to_rgba(view.weights.numpy())
    for q, (row, values) in enumerate(zip(artists.numbers, view.weights.tolist(), strict=True)):
        for k, (number, value) in enumerate(zip(row, values, strict=True)):
            number.set(
                text=f"{value:.2f}" if view.mask[q, k] else "",
                color=ink_on(colours[q, k]) if q < present else BLACK,
            )
    for text, value in zip(artists.sums, view.weights.sum(-1).tolist(), strict=True):
        text.set_text(f"{value:.2f}")
    padded = f"token {T} is" if view.padding == 1 else f"tokens {present + 1} to {T} are"
    artists.note.set_text(
        f"{padded} padding: nobody looks there (columns), or reads what is found (pale rows)"
        if view.padding
        else ""
    )


# ---------------------------------------------------------------------------- decoding with a cache


class CachedDecoding(NamedTuple):
    """A source, what a model writes with it step by step, and every tensor of each step.

    `tokens` are what each step reads: the first is <sos>.
    """

    source: list[str]
    tokens: list[str]
    words: list[str]  # the target vocabulary
    steps: tuple[Decoded, ...]


def cached_decoding(
    model: Transformer, corpus: Corpus, source: Iterable[str], *, max_length: int = 30
) -> CachedDecoding:
    """How a model answers greedily, with the cache.

    Raises ValueError for a source without tokens, and for a token that the corpus doesn't have.
    """
    source = list(source)
    if not source:
        raise ValueError("source must hold at least one token, got none")
    tokens = to_tensor([source], corpus.source_vocabulary)
    trace = trace_decoding(model, tokens, max_length=max_length)
    return CachedDecoding(
        corpus.source_vocabulary.decode(tokens[0]),
        corpus.target_vocabulary.decode(trace.tokens),
        list(corpus.target_vocabulary),
        trace.steps,
    )


class CacheView(NamedTuple):
    """One step (from 1) of decoding with a cache; what is shown are keys, values and weights of the last
    layer."""

    decoding: CachedDecoding
    step: int

    @property
    def now(self) -> Decoded:
        return self.decoding.steps[self.step - 1]

    @property
    def keys(self) -> Float[Tensor, "t D"]:
        """Of all tokens so far, the heads side by side."""
        return join_heads(self.now.cache.own[-1].k)[0]

    @property
    def values(self) -> Float[Tensor, "t D"]:
        return join_heads(self.now.cache.own[-1].v)[0]

    @property
    def weights(self) -> Float[Tensor, "N t"]:
        """With which the newest token attends to all so far, in each head."""
        return self.now.self_weights[-1][0, :, 0]

    @property
    def probabilities(self) -> Float[Tensor, " V"]:
        """Of the next word."""
        return self.now.logits[0, 0].softmax(-1)

    @property
    def likeliest(self) -> list[tuple[str, float]]:
        """The likeliest next words, up to five, and their probabilities.

        After the first only those that are not 0 when rounded to three decimals.
        """
        best = self.probabilities.topk(min(_LIKELIEST, len(self.decoding.words)))
        found = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [(self.decoding.words[k], p) for n, (k, p) in enumerate(found) if n == 0 or p >= 0.0005]


class CacheArtists(NamedTuple):
    """What moves in `draw_cache`."""

    tokens: list[Text]
    keys: AxesImage
    values: AxesImage
    weights: AxesImage
    newest: list[Rectangle]
    bars: list[Rectangle]
    words: list[Text]
    numbers: list[Text]
    lines: list[Line2D]  # tokens that went through the decoder: without the cache, with it
    account: Text
    headline: Text


_LIKELIEST, _LINE = 5, 100  # words, and letters
_COLUMNS, _STRIP, _HEAD, _BELOW = 7.8, 0.6, 0.2, 2.35  # inches: all columns; keys, a head, what is below it


def _columns(decoding: CachedDecoding) -> int:
    return max(len(decoding.tokens), 6)


def _turned(decoding: CachedDecoding) -> bool:
    """Whether the tokens are too long to stand upright above their columns."""
    longest = max(len(shown(token)) for token in decoding.tokens)
    return longest * _LETTER > _COLUMNS / _columns(decoding)


def cache_size(decoding: CachedDecoding) -> tuple[float, float]:
    """Width and height in inches that `draw_cache` takes."""
    heads = decoding.steps[0].self_weights[-1].shape[1]
    return 10.0, _BELOW + _HEAD * heads + 2 * _STRIP + (2.6 if _turned(decoding) else 1.95)


def draw_cache(page: Axes, decoding: CachedDecoding) -> CacheArtists:
    """Panels for keys, values and weights, a column for each token; `page` fills a figure of `cache_size`."""
    _, height = _page(page)
    T, last = len(decoding.tokens), CacheView(decoding, len(decoding.steps))
    N, D = len(last.weights), last.keys.shape[1]
    left, width, columns = 1.2, _COLUMNS, _columns(decoding)
    largest = float(torch.stack([last.keys, last.values]).abs().max())

    def strip(y: float, rows: int, h: float, *, lines: dict[str, Any], **look: Any) -> AxesImage:
        ax = _panel(page, left, y, width, h)
        ax.add_patch(Rectangle((-0.5, -0.5), T, rows, facecolor="#EEEEEE", zorder=0))
        image = ax.imshow(np.full((rows, T), np.nan), aspect="auto", interpolation="none", **look)
        ax.vlines(np.arange(T + 1) - 0.5, -0.5, rows - 0.5, zorder=2, **lines)
        ax.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), xticks=[], yticks=[])
        return image

    low = _BELOW
    faint: dict[str, Any] = {"color": _FAINT, "linewidth": 0.8}
    weights = strip(low, N, _HEAD * N, lines=faint, cmap=WEIGHTS, vmin=0, vmax=1)
    weights.axes.hlines(np.arange(N + 1) - 0.5, -0.5, T - 0.5, zorder=2, clip_on=False, **faint)
    weights.axes.set_yticks(range(N), [f"head {n + 1}" for n in range(N)])
    low += _HEAD * N + 0.45
    signed: dict[str, Any] = {"cmap": SIGNED, "vmin": -largest, "vmax": largest}
    signed["lines"] = {"color": "white", "linewidth": 2.5}
    values = strip(low, D, _STRIP, **signed)
    keys = strip(low + _STRIP + 0.08, D, _STRIP, **signed)
    above = low + 2 * _STRIP + 0.08
    for image, name in ((keys, "keys"), (values, "values")):
        image.axes.set_yticks([(D - 1) / 2], [name])
    for image, y, h, options in (
        (weights, _BELOW, _HEAD * N, {"ticks": [0, 1]}),
        (values, low, 2 * _STRIP + 0.08, {"ticks": MaxNLocator(3, symmetric=True)}),
    ):
        bar = _panel(page, left + width + 0.15, y, 0.13, h)
        add_colorbar(image, bar, cax=bar, **options)

    layers = len(decoding.steps[0].self_weights)
    page.text(
        left,
        _BELOW + _HEAD * N + 0.12,
        f"what the newest token attends to (layer {layers})",
        fontsize=11,
        va="baseline",
    )
    page.text(
        0.2,
        height - 1.0,
        f"Keys and values of layer {layers}, a column for each token. Framed: computed in this step. "
        "The others: from the cache.",
        fontsize=11,
        va="baseline",
    )
    source = " ".join(map(shown, decoding.source))
    source = source if len(source) <= _LINE else source[:_LINE].rpartition(" ")[0] + " …"
    page.text(0.2, height - 0.67, f"Source: {source}", fontsize=11, va="baseline", parse_math=False)
    headline = page.text(0.2, height - 0.33, "", fontsize=12, va="baseline", color=BLUE, parse_math=False)

    names = list(map(shown, decoding.tokens))
    turned: dict[str, Any] = {"rotation": 0, "ha": "center"}
    if _turned(decoding):
        turned = {"rotation": 60, "ha": "left"}
    tokens = [
        page.text(
            left + (k + 0.5) * width / columns,
            above + 0.08,
            name,
            fontsize=10,
            va="baseline",
            rotation_mode="anchor",
            parse_math=False,
            **turned,
        )
        for k, name in enumerate(names)
    ]
    newest: list[Rectangle] = []
    for image in (keys, values):
        frame = Rectangle((0, 0), 1, 1, fill=False, edgecolor=BLACK, linewidth=2.5, clip_on=False, zorder=4)
        image.axes.add_patch(frame)
        newest.append(frame)

    number = min(_LIKELIEST, len(decoding.words))
    output = _panel(page, left + 0.1, 0.3, 2.3, 1.45)
    output.set_title("next word", fontsize=11)
    bars = list(output.barh(range(number), np.zeros(number), height=0.7, color=GREEN))
    output.set(xlim=(0, 1.28), ylim=(number - 0.4, -0.6), xticks=[], yticks=[])
    look: dict[str, Any] = {"va": "center_baseline", "fontsize": 10, "parse_math": False}
    words = [output.text(-0.03, k, "", ha="right", **look) for k in range(number)]
    numbers = [output.text(0, k, "", ha="left", **look) for k in range(number)]

    total = _panel(page, 5.1, 0.5, 4.6, 1.0)
    total.spines[["left", "bottom"]].set_visible(True)
    total.grid(True)
    lines = [
        total.plot(
            [], [], color=colour, linestyle=dash, marker=marker, markersize=4, label=label, clip_on=False
        )[0]
        for colour, dash, marker, label in (
            (RED, "--", "s", "without the cache"),
            (BLUE, "-", "o", "with the cache"),
        )
    ]
    total.set(xlim=(0, T), ylim=(0, T * (T + 1) / 2), xlabel="step")
    total.set_ylabel("tokens through\nthe decoder", fontsize=10)
    total.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    total.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    total.legend(loc="upper left")
    account = page.text(5.1, 1.62, "", fontsize=11, va="baseline", linespacing=1.35)
    return CacheArtists(tokens, keys, values, weights, newest, bars, words, numbers, lines, account, headline)


def update_cache(artists: CacheArtists, view: CacheView) -> None:
    """Show another step. Raises ValueError for one that isn't there."""
    t, T = view.step, len(view.decoding.steps)
    _check_range("step", t, 1, T)
    for k, token in enumerate(artists.tokens, start=1):
        token.set(visible=k <= t, fontweight="bold" if k == t else "normal")
    for image, columns in (
        (artists.keys, view.keys.T),
        (artists.values, view.values.T),
        (artists.weights, view.weights),
    ):
        later = torch.full((len(columns), T - t), torch.nan)
        image.set_data(torch.cat([columns, later], 1).numpy())
    for frame in artists.newest:
        frame.set_bounds(t - 1.5, -0.5, 1, view.keys.shape[1])
    likeliest = view.likeliest
    for k, (bar, word, number) in enumerate(zip(artists.bars, artists.words, artists.numbers, strict=True)):
        text, p = likeliest[k] if k < len(likeliest) else ("", 0.0)
        bar.set_width(p)
        word.set_text(shown(text))
        number.set(x=p + 0.02, text=f"{p:.3f}" if text else "")
    steps = np.arange(1, t + 1)
    without, with_cache = artists.lines
    without.set_data(steps, steps * (steps + 1) / 2)
    with_cache.set_data(steps, steps)
    artists.account.set_text(
        f"this step: 1 token through the decoder (without cache: {t})\n"
        f"all steps so far: {t} (without cache: {t * (t + 1) // 2})"
    )
    read, written = shown(view.decoding.tokens[t - 1]), shown(likeliest[0][0])
    artists.headline.set_text(f"Step {t} of {T}: the decoder reads “{read}” and writes “{written}”")


# -------------------------------------------------------------------------------------- measurements


def plot_times(
    times: Mapping[str, Sequence[float | int]],
    lengths: Sequence[int],
    *,
    ax: Axes | None = None,
    xlabel: str = "Length",
) -> Axes:
    """Measured times (in seconds) against the length, both logarithmic: one marked line for each label.

    Times that grow as a power of the length are a straight line, the steeper the larger the power. Raises
    ValueError for no times, a line that hasn't as many as `lengths`, and numbers that are not positive.
    """
    if not times:
        raise ValueError("times must hold at least one line, got none")
    if not all(length > 0 for length in lengths):
        raise ValueError(f"lengths must be positive, got {list(lengths)}")
    for label, seconds in times.items():
        if len(seconds) != len(lengths):
            raise ValueError(
                f"times must have {len(lengths)} numbers, as lengths has, {label!r} has {len(seconds)}"
            )
        if not all(second > 0 for second in seconds):
            raise ValueError(f"times must be positive, {label!r} is {list(seconds)}")
    ax = axes_or_new(ax)
    for number, (label, seconds) in enumerate(times.items()):
        ax.plot(
            lengths,
            seconds,
            label=label,
            marker=MARKERS[number % len(MARKERS)],
            linestyle=DASHES[number % len(DASHES)],
        )
    ax.set(xscale="log", yscale="log", xlabel=xlabel, ylabel="Time")
    ax.set_xticks(list(lengths), list(map(str, lengths)))
    ax.xaxis.set_minor_locator(NullLocator())
    low, high = ax.get_ylim()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    ax.yaxis.set_major_formatter(EngFormatter("s"))  # 10 µs, 100 µs, 1 ms
    ax.yaxis.set_minor_formatter(NullFormatter())
    if len(times) > 1:
        ax.legend()
    return ax


def plot_head_drops(
    drops: Float[Tensor, "L N"],
    *,
    ax: Axes | None = None,
    marked: tuple[int, int] | None = None,
    label: str = "the clearest head",
) -> Axes:
    """How much accuracy is lost without each head: a bar for each, with its number, layer by layer.

    Accuracies are shares from 0 to 1; a bar below 0 is a head without which the model does better. A frame
    goes around the head `marked` (layer and head, both from 0), and the legend says `label` of it. Raises
    ValueError for a marked head that isn't there.
    """
    L, N = drops.shape
    if marked is not None and not (0 <= marked[0] < L and 0 <= marked[1] < N):
        raise ValueError(f"marked must be a layer in 0..{L - 1} and a head in 0..{N - 1}, got {marked}")
    ax = axes_or_new(ax, width=max(4.5, 1.2 + 0.65 * L * (N + 1)), height=3.2)
    places = [[layer * (N + 1) + head for head in range(N)] for layer in range(L)]
    for layer, (at, values) in enumerate(zip(places, drops.tolist(), strict=True)):
        bars = ax.bar(at, values, width=0.75, color=CYCLE[layer % len(CYCLE)])
        numbers = [f"{value:z.2f}".replace("-", "−") for value in values]
        ax.bar_label(bars, numbers, padding=2, fontsize=10)
    ax.axhline(0, color=BLACK, linewidth=0.8)
    ax.set_xticks(np.ravel(places), [f"{head + 1}" for _ in range(L) for head in range(N)])
    ax.tick_params(axis="x", length=0)
    layers = ax.secondary_xaxis(-0.1)
    layers.set_xticks(
        [float(np.mean(at)) for at in places], [f"head of layer {layer + 1}" for layer in range(L)]
    )
    layers.tick_params(length=0, labelsize=11)
    layers.spines[:].set_visible(False)
    ax.grid(False, axis="x")
    ax.margins(y=0.12)
    ax.set(xlim=(-0.7, L * (N + 1) - 1.3), ylabel="Share of right answers\nlost without this head")
    if marked is not None:
        frame = Rectangle(  # not around the bar alone: that may have no height
            (places[marked[0]][marked[1]] - 0.5, 0),
            1,
            1,
            transform=ax.get_xaxis_transform(),
            fill=False,
            edgecolor=BLACK,
            linewidth=1.6,
            label=label,
            clip_on=False,
        )
        ax.add_patch(frame)
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1))
    return ax
