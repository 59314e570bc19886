"""Figures of chapter 06: attention as a matrix, one look-up step by step, scores of random vectors.

DejaVu Sans, the font of all figures, has no Korean: tokens are drawn in Latin letters (`pairs.romanised`).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from seqlib.attention import (
    AdditiveScores,
    AttentionSeq2Seq,
    AttentionSteps,
    dot_scores,
    scaled_dot_scores,
    translate,
)
from seqlib.figures.common import SIGNED, add_colorbar, axes_or_new
from seqlib.figures.rnn import visible
from seqlib.figures.style import BLACK, BLUE, GREEN, GREY, RED, SKY
from seqlib.pairs import Corpus, romanised, to_tensor
from seqlib.scaling import RandomAttention
from seqlib.seq2seq import decoder_inputs

# Colours of attention weights, from 0 to 1.
WEIGHTS = LinearSegmentedColormap.from_list("weights", ["white", SKY, BLUE, "#00263F"])
_FAINT, _WAITING = "#BBBBBB", "#949494"
_LETTER = 0.088  # inches that a letter takes, on average, in a font of 10 points
_LONGEST = 12


def shown(token: str) -> str:
    """How a token is written in a figure: in Latin letters, white space as a sign, long ones cut."""
    text = visible(romanised(token))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


# -------------------------------------------------------------------------------- weights as a matrix


def plot_attention(
    weights: Float[Tensor, "T S"],
    *,
    source: Sequence[str],
    target: Sequence[str],
    aligned: Bool[Tensor, "t s"] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Heat map of one (T, S) attention matrix; each row is one target word.

    `aligned` outlines the cells where it is True, such as those of `pairs.number_alignment`, and a note below
    says so; it may be smaller than `weights`, which have a row and a column for <eos> too. Raises ValueError
    where the sizes don't fit.
    """
    T, S = weights.shape
    if aligned is not None and (aligned.shape[0] > T or aligned.shape[1] > S):
        raise ValueError(f"aligned must not be larger than weights, {T} x {S}, got {tuple(aligned.shape)}")
    width, height = 2.2 + min(0.4 * S, 8.0), 1.2 + 0.3 * T
    if aligned is not None:
        width, height = max(width, 4.4), height + 0.3  # room for the note
    ax = axes_or_new(ax, width=width, height=height)
    update_attention(draw_attention(ax), weights, source=source, target=target)
    if aligned is not None:
        outline: dict[str, Any] = {"facecolor": "none", "edgecolor": RED, "linewidth": 2}
        cells = [Rectangle((s - 0.44, t - 0.44), 0.88, 0.88) for t, s in aligned.nonzero().tolist()]
        ax.add_collection(PatchCollection(cells, **outline))
        ax.legend(
            [Rectangle((0, 0), 1, 1, **outline)],
            ["outlined: the known alignment"],
            loc="upper left",
            bbox_to_anchor=(0, 0),
            borderpad=0,
            borderaxespad=0.8,
            handlelength=1,
            handleheight=1,
        )
    return ax


class AttentionArtists(NamedTuple):
    """What moves in `draw_attention`: the cells and the frame around them."""

    cells: AxesImage
    frame: Rectangle
    rows: int
    columns: int


def draw_attention(ax: Axes, *, rows: int = 1, columns: int = 1, **colorbar: Any) -> AttentionArtists:
    """The axes of `plot_attention`, still without data, with room for so many cells at least.

    The other arguments are the colour bar's.
    """
    cells = ax.imshow(np.zeros((1, 1)), cmap=WEIGHTS, vmin=0, vmax=1, aspect="auto", interpolation="none")
    frame = Rectangle((-0.5, -0.5), 1, 1, fill=False, edgecolor=GREY, linewidth=1, clip_on=False)
    ax.add_patch(frame)
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    add_colorbar(cells, ax, label="weight", **colorbar)
    return AttentionArtists(cells, frame, rows, columns)


def update_attention(
    artists: AttentionArtists,
    weights: Float[Tensor, "T S"],
    *,
    source: Sequence[str],
    target: Sequence[str],
) -> None:
    """Show another matrix and its tokens. Raises ValueError where they are not as many as its sides."""
    T, S = weights.shape
    for name, tokens, size, lines in (("source", source, S, "columns"), ("target", target, T, "rows")):
        if len(tokens) != size:
            raise ValueError(f"{name} must have a token for each of the {size} {lines}, got {len(tokens)}")
    artists.cells.set_data(weights.detach().numpy())
    artists.cells.set_extent((-0.5, S - 0.5, T - 0.5, -0.5))
    artists.frame.set_bounds(-0.5, -0.5, S, T)
    ax = artists.cells.axes
    ax.set(xlim=(-0.5, max(S, artists.columns) - 0.5), ylim=(max(T, artists.rows) - 0.5, -0.5))
    ax.set_yticks(range(T), list(map(shown, target)), parse_math=False)
    above = list(map(shown, source))
    room = ax.get_window_extent().width / ax.figure.dpi / max(S, artists.columns)
    look: dict[str, Any] = {"rotation": 0, "ha": "center"}
    if max(map(len, above)) * _LETTER > room:
        look = {"rotation": 60, "ha": "left"}
    ax.set_xticks(range(S), above, rotation_mode="anchor", parse_math=False, **look)
    for label in ax.get_xticklabels():
        if len(label.get_text()) == 1:
            label.set(rotation=0, ha="center")


# ------------------------------------------------------------------------- the steps of one look-up


class Answered(NamedTuple):
    """A source, a model's own answer to it, and every tensor on the way from states to logits.

    `memory` are the encoder's states h_s, `states` the decoder's s_t.
    """

    source: list[str]
    target: list[str]
    words: list[str]  # the target vocabulary
    score: str  # how the model compares s_t and h_s, as mathtext
    memory: Float[Tensor, "S H"]
    states: Float[Tensor, "T H"]
    steps: AttentionSteps  # of a batch of one


@torch.no_grad()
def answered(
    model: AttentionSeq2Seq, corpus: Corpus, source: Iterable[str], *, max_length: int = 30
) -> Answered:
    """What a model answers greedily, and what it attends to. Raises ValueError as `translate` does."""
    source = list(source)
    answer = translate(model, corpus, source, max_length=max_length)
    state = model.start(to_tensor([source], corpus.source_vocabulary))
    states = model.states(decoder_inputs(corpus.target_vocabulary.encode(answer.target)[None]), state)
    return Answered(
        answer.source,
        answer.target,
        list(corpus.target_vocabulary),
        _formula(model.scores),
        state.memory[0],
        states[0],
        model.look_up(states, state),
    )


def _formula(scores: Callable) -> str:
    if isinstance(scores, AdditiveScores):
        return "v \\cdot \\tanh(W_q s_t + W_k h_s)"
    known = {dot_scores: "s_t \\cdot h_s", scaled_dot_scores: "s_t \\cdot h_s\\,/\\sqrt{H}"}
    return known.get(scores, "\\mathrm{score}(s_t, h_s)")


class StepView(NamedTuple):
    """Step 1 to 6 of one output position (from 1) of an answer."""

    answered: Answered
    step: int
    position: int

    @property
    def probabilities(self) -> Float[Tensor, " V"]:
        """Of the next word."""
        return self.answered.steps.logits[0, self.position - 1].softmax(-1)

    def part(self, name: str) -> Float[Tensor, " N"]:
        """One of `AttentionSteps` at this position."""
        return getattr(self.answered.steps, name)[0, self.position - 1]


STEPS = (
    "Score: how well does the decoder's state fit each state of the encoder?",  # and how it is measured
    "Softmax: weights above 0, whose sum is 1.   $\\alpha_{ts} = \\exp(e_{ts})\\,/\\,\\sum_r \\exp(e_{tr})$",
    "Weighted sum: the context is the sum of the rows.   $a_t = \\sum_s \\alpha_{ts}\\,h_s$",
    "Concatenate: what was found, and what the decoder knew.   $[a_t;\\,s_t]$",
    "One layer makes a vector of both.   $\\tilde{s}_t = \\tanh(W_c\\,[a_t;\\,s_t] + b_c)$",
    "Output: a probability for each word.   $p_t = \\mathrm{softmax}(W_y\\,\\tilde{s}_t + b_y)$",
)


class StepArtists(NamedTuple):
    """What moves in `draw_attention_steps`: by step its title and what is shown from there on."""

    titles: list[Text]
    parts: list[list[Artist]]
    state: AxesImage
    scores: list[Rectangle]
    weights: list[Rectangle]
    weighted: AxesImage
    context: AxesImage
    joined: AxesImage
    s_tilde: AxesImage
    bars: list[Rectangle]
    words: list[Text]
    numbers: list[Text]
    written: Text
    headline: Text


_WIDTH, _LEFT, _STATES, _BARS = 10.0, 1.1, 2.45, 1.45  # inches
_LIKELIEST, _LINE = 5, 75  # words, and letters


def steps_size(tokens: int) -> tuple[float, float]:
    """Width and height in inches that `draw_attention_steps` takes for so many source tokens."""
    return _WIDTH, 3.4 + max(3.1, 0.16 * tokens)


def draw_attention_steps(page: Axes, answered: Answered) -> StepArtists:
    """Panels for the six steps, around the encoder's states; `page` fills a figure of `steps_size`.

    A row is a source token, in the first four panels: its state, score, weight, and the two multiplied.
    """
    figure, (width, height) = page.figure, steps_size(len(answered.source))
    S, H = answered.memory.shape
    page.set_position((0, 0, 1, 1))
    page.set(xlim=(0, width), ylim=(0, height))
    page.axis("off")
    rows = height - 3.4
    titles: list[Text] = []

    def panel(x: float, y: float, w: float, h: float, title: str = "", *, moves: bool = True) -> Axes:
        ax = figure.add_axes((x / width, y / height, w / width, h / height))
        ax.spines[:].set(visible=True, color=_FAINT)
        ax.tick_params(color=_FAINT)
        ax.grid(False)
        ax.set(xticks=[], yticks=[])
        if title:
            text = ax.set_title(title, fontsize=11, pad=5)
            if moves:
                titles.append(text)
        return ax

    def colours(ax: Axes, rows: int, columns: int) -> AxesImage:
        return ax.imshow(
            np.zeros((rows, columns)), cmap=SIGNED, vmin=-1, vmax=1, aspect="auto", interpolation="none"
        )

    def name(x: float, text: str) -> Text:
        return page.text(x - 0.1, above - 0.39, text, ha="right", va="center_baseline", fontsize=11)

    above, strip = 2.2, 0.22  # the rows' lower edge, and the height of a vector
    left = np.cumsum([_LEFT, _STATES + 0.25, _BARS + 0.25, _BARS + 0.25]).tolist()
    states = panel(left[0], above, _STATES, rows, "encoder's states $h_s$", moves=False)
    colours(states, S, H).set_data(answered.memory.numpy())
    states.set_yticks(range(S), list(map(shown, answered.source)), parse_math=False)
    states.tick_params(axis="y", length=0)
    state = colours(panel(left[0], above - 0.5, _STATES, strip), 1, H)
    name(left[0], "decoder's $s_t$")

    bars: list[list[Rectangle]] = []
    lowest, largest = answered.steps.scores.aminmax()
    for x, title, colour, low, high in (
        (left[1], "1  scores $e_{ts}$", GREY, min(0.0, float(lowest)), max(0.01, float(largest))),
        (left[2], "2  weights $\\alpha_{ts}$", BLUE, 0.0, 1.0),
    ):
        ax = panel(x, above, _BARS, rows, title)
        bars.append(list(ax.barh(range(S), np.zeros(S), height=0.75, color=colour)))
        margin = 0.05 * (high - low)
        ax.set(xlim=(low - margin if low < 0 else 0, high + margin), ylim=(S - 0.5, -0.5))
        ax.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
        ax.axvline(0, color=BLACK, linewidth=0.8)
        ax.grid(True, axis="x")

    weighted = colours(panel(left[3], above, _STATES, rows, "3  $\\alpha_{ts}\\,h_s$, and their sum"), S, H)
    context = colours(panel(left[3], above - 0.5, _STATES, strip), 1, H)
    sum_name = name(left[3], "context $a_t$")

    joined_ax = panel(_LEFT, 1.0, 2 * _STATES, strip, "4  $[a_t;\\,s_t]$")
    joined = colours(joined_ax, 1, 2 * H)
    joined_ax.axvline(H - 0.5, color=BLACK, linewidth=2)
    s_tilde = colours(panel(_LEFT, 0.35, _STATES, strip, "5  $\\tilde{s}_t$"), 1, H)
    key = panel(_LEFT + _STATES + 0.6, 0.42, _STATES - 0.9, 0.1)
    add_colorbar(s_tilde, key, cax=key, orientation="horizontal", ticks=[-1, 0, 1])

    number = min(_LIKELIEST, len(answered.words))
    output = panel(left[3] + 0.15, 0.15, _STATES - 0.15, 1.1, "6  next word")
    likeliest = list(output.barh(range(number), np.zeros(number), height=0.7, color=GREEN))
    output.set(xlim=(0, 1.28), ylim=(number - 0.4, -0.6))
    texts: dict[str, Any] = {"va": "center_baseline", "fontsize": 10, "parse_math": False}
    words = [output.text(-0.03, k, "", ha="right", **texts) for k in range(number)]
    numbers = [output.text(0, k, "", ha="left", **texts) for k in range(number)]

    written = page.text(0.2, height - 0.33, "", fontsize=11, va="baseline", parse_math=False)
    headline = page.text(0.2, height - 0.7, "", fontsize=13, va="baseline", color=BLUE)
    parts: list[list[Artist]] = [
        [*bars[0]],
        [*bars[1]],
        [weighted, context, sum_name],
        [joined],
        [s_tilde],
        [*likeliest, *words, *numbers],
    ]
    return StepArtists(
        titles=titles,
        parts=parts,
        state=state,
        scores=bars[0],
        weights=bars[1],
        weighted=weighted,
        context=context,
        joined=joined,
        s_tilde=s_tilde,
        bars=likeliest,
        words=words,
        numbers=numbers,
        written=written,
        headline=headline,
    )


def update_attention_steps(artists: StepArtists, view: StepView) -> None:
    """Show another step or position: what comes after the step is left out.

    Raises ValueError for a step or position that isn't there.
    """
    T = len(view.answered.target)
    for name, number, last in (("step", view.step, len(STEPS)), ("position", view.position, T)):
        if not 1 <= number <= last:
            raise ValueError(f"{name} must lie in 1..{last}, got {number}")
    for k, (title, part) in enumerate(zip(artists.titles, artists.parts, strict=True), start=1):
        title.set_color(BLUE if k == view.step else BLACK if k < view.step else _WAITING)
        for artist in part:
            artist.set_visible(k <= view.step)

    weights = view.part("weights")
    artists.state.set_data(view.answered.states[view.position - 1][None].numpy())
    for bars, values in ((artists.scores, view.part("scores")), (artists.weights, weights)):
        for bar, value in zip(bars, values.tolist(), strict=True):
            bar.set_width(value)
    artists.weighted.set_data((weights[:, None] * view.answered.memory).numpy())
    for image, name in (
        (artists.context, "context"),
        (artists.joined, "joined"),
        (artists.s_tilde, "s_tilde"),
    ):
        image.set_data(view.part(name)[None].numpy())
    best = view.probabilities.topk(len(artists.bars))
    rows = zip(artists.bars, artists.words, artists.numbers, best.values, best.indices, strict=True)
    for bar, word, percent, p, k in rows:
        bar.set_width(float(p))
        word.set_text(shown(view.answered.words[int(k)]))
        percent.set(x=float(p) + 0.02, text=f"{float(p):.3f}")

    score = f"   $e_{{ts}} = {view.answered.score}$" if view.step == 1 else ""
    artists.headline.set_text(f"{view.step}  {STEPS[view.step - 1]}{score}")
    before = " ".join(map(shown, view.answered.target[: view.position - 1])) or "nothing yet"
    if len(before) > _LINE:
        before = "… " + before[-_LINE:].partition(" ")[2]
    artists.written.set_text(f"Word {view.position} of {T}. Written so far: {before}")


# ---------------------------------------------------------------------- scores of random vectors


class ScalingView(NamedTuple):
    """Random scores for keys of d_k numbers, divided by sqrt(d_k) or not."""

    d_k: int
    scaled: bool
    attention: RandomAttention


class ScalingArtists(NamedTuple):
    """What moves in `draw_scaling`: bars of one draw with their numbers, the spread of all, and texts."""

    scores: list[Rectangle]
    weights: list[Rectangle]
    numbers: list[list[Text]]
    spread: Rectangle
    lines: list[Text]


def draw_scaling(axes: Iterable[Axes], *, keys: int, largest: float | int) -> ScalingArtists:
    """Room for the scores of one query and so many keys, on the left, and for their weights."""
    left, right = axes
    places = range(1, keys + 1)
    spread = left.axhspan(-1, 1, color="#E3E3E3", zorder=0)
    left.axhline(0, color=BLACK, linewidth=0.8)
    scores = list(left.bar(places, np.zeros(keys), width=0.7, color=GREY, zorder=2))
    weights = list(right.bar(places, np.zeros(keys), width=0.7, color=BLUE, zorder=2))
    numbers = []
    for ax, low, high in ((left, -largest, largest), (right, 0, 1)):
        above = high + 0.06 * (high - low)
        ax.set(xlim=(0.4, keys + 0.6), ylim=(low, high + 0.14 * (high - low)), xlabel="key", xticks=places)
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        ax.grid(False, axis="x")
        numbers.append(
            [ax.text(x, above, "", ha="center", va="center_baseline", fontsize=10) for x in places]
        )
    fixed: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 12}
    lines: list[Text] = [
        ax.annotate("", (0, 1), xytext=(0, y), **fixed) for ax in (left, right) for y in (29, 8)
    ]
    return ScalingArtists(scores, weights, numbers, spread, lines)


def update_scaling(artists: ScalingArtists, view: ScalingView) -> None:
    """Show other vectors: the bars are those of the first draw, the lines above them speak of all draws."""
    scores, weights, gradient = view.attention
    for bars, numbers, values in (
        (artists.scores, artists.numbers[0], scores[0].tolist()),
        (artists.weights, artists.numbers[1], weights[0].tolist()),
    ):
        for bar, number, value in zip(bars, numbers, values, strict=True):
            bar.set_height(value)
            decimals = 2 if bars is artists.weights else 1 if abs(value) < 9.95 else 0
            number.set_text(f"{value:z.{decimals}f}".replace("-", "−"))
    spread = float(scores.std())
    artists.spread.set(y=-spread, height=2 * spread)
    root = f"$\\sqrt{{d_k}}$ = {view.d_k**0.5:.2f}"
    texts = (
        "scores $q \\cdot k_j\\,/\\sqrt{d_k}$" if view.scaled else "scores $q \\cdot k_j$",
        f"standard deviation over {len(scores)} draws: {spread:.2f} ({root})",
        f"weights: the largest is {float(weights.amax(-1).mean()):.2f} on average",
        f"gradient through the softmax, mean norm: {float(gradient.mean()):.3f}",
    )
    for line, text in zip(artists.lines, texts, strict=True):
        line.set_text(text)
