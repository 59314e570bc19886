"""Explorers of chapter 05: a beam search step by step, teacher forcing, the bottleneck of the context."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise

import torch
from ipywidgets import Dropdown, FloatSlider, IntSlider, SelectionSlider
from torch import Tensor

from seqlib.decoding import beam_search, until_end
from seqlib.figures import seq2seq as figures
from seqlib.figures.seq2seq import Answered, BeamRow, BeamView, Bottleneck, ForcedShares
from seqlib.figures.style import look, new_figure
from seqlib.pairs import EOS, PAD, SOS, Corpus, PairTensors, to_tensor
from seqlib.seq2seq import Seq2Seq, right_by_position, trimmed, write
from seqlib.vocab import Vocabulary
from seqlib.widgets.explorer import Explorer

# --------------------------------------------------------------------------------------- beam search


@torch.no_grad()
def decoding_explorer(
    model: Seq2Seq,
    corpus: Corpus,
    source: Iterable[str],
    *,
    step: int = 1,
    width: int = 3,
    max_width: int = 6,
    max_length: int = 40,
) -> Explorer:
    """Beam search for the answer to one source: what each step looks at, and what has ended so far.

    source: tokens. No answer gets longer than `max_length` tokens. Controls: "Step" and "Beam width", which
    begin at `step` (or the last there is) and `width`. Raises ValueError for a width outside of
    1..max_width, a step below 1, and a token that the corpus doesn't have.
    """
    if not 1 <= width <= max_width:
        raise ValueError(f"width must lie in 1..{max_width}, which is max_width, got {width}")
    if step < 1:
        raise ValueError(f"step must be at least 1, got {step}")
    source = list(source)
    start = model.start(to_tensor([source], corpus.source_vocabulary))
    searches = {
        width: beam_search(
            model.step, start, start=torch.tensor([SOS]), end=EOS, width=width, max_length=max_length
        )
        for width in range(1, max_width + 1)
    }
    figure, ax = new_figure(*figures.beam_size(max_width))
    ax.set_position((0, 0, 1, 1))
    with look():
        artists = figures.draw_beam(ax, source, rows=max_width)

    def compute(step: int, width: int) -> tuple[BeamView, str]:
        view = figures.beam_view(searches[width], corpus.target_vocabulary, width=width, step=step)
        if step > view.last:
            return view, f"The search ended before step {step}."
        if step == max_length and not all(row.ended for row in view.rows):
            return view, f"Stopped at {max_length} tokens."
        return view, ""

    def describe(trace: tuple[BeamView, str]) -> str:
        view, note = trace
        greedy = ", which is greedy decoding" if view.width == 1 else ""
        rows = "; ".join(
            f"{number}. {_said(row)}, after row {parent + 1} of the step before, "
            f"probability {row.probability:.2f}"
            for number, (row, parent) in enumerate(zip(view.rows, view.parents, strict=True), start=1)
        )
        finished = "; ".join(f"{_said(row)}, log p {row.log_probability:.2f}" for row in view.finished)
        return (
            f"{note} Step {view.step} of {view.last} of a beam search of width {view.width}{greedy}. "
            f"The likeliest continuations: {rows}. Finished so far: {finished or 'none'}."
        ).strip()

    longest = max(len(search.steps) for search in searches.values())
    return Explorer(
        compute,
        lambda artists, trace: figures.update_beam(artists, trace[0], note=trace[1]),
        figure=figure,
        artists=artists,
        describe=describe,
        step=IntSlider(description="Step", value=min(step, longest), min=1, max=longest),
        width=IntSlider(description="Beam width", value=width, min=1, max=max_width),
    )


def _said(row: BeamRow) -> str:
    return figures.as_text(row.tokens)


# ----------------------------------------------------------------------------------- teacher forcing

_ROWS, _FEWEST = 100, 20  # more rows would be too slow for a slider


def teacher_forcing_explorer(models: Mapping[str, Seq2Seq], pairs: PairTensors, *, seed: int = 0) -> Explorer:
    """How many tokens are right by position, when the decoder reads the truth more or less often.

    models: by label, such as the teacher forcing ratio of their training. Measured on the first 100 of
    `pairs`; positions that fewer than 20 of them have are left out. `seed` is that of the draws between the
    truth and the decoder's own output. Controls: "Teacher forcing ratio", and "Trained with" where there are
    several models. Raises ValueError for no models and for fewer than 20 pairs.
    """
    if not models:
        raise ValueError("models must hold at least one model, got none")
    if len(pairs.source) < _FEWEST:
        raise ValueError(f"pairs must be at least {_FEWEST}, got {len(pairs.source)}")
    target = pairs.target[:_ROWS]
    positions = int(((target != PAD).sum(0) >= _FEWEST).sum())
    rows = PairTensors(trimmed(pairs.source[:_ROWS]), target[:, :positions])
    labels = list(models)
    figure, ax = new_figure(8.5, 4.4)
    with look():
        artists = figures.draw_forced(ax, positions)

    @cache
    def shares(trained: str, ratio: float) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return right_by_position(models[trained], rows, teacher_forcing=ratio, generator=generator)

    def compute(ratio: float, trained: str = labels[0]) -> ForcedShares:
        mixed, truth, own = (shares(trained, each) for each in (ratio, 1.0, 0.0))
        return ForcedShares(trained, ratio, mixed, truth, own)

    def describe(trace: ForcedShares) -> str:
        model = f"Trained with {trace.trained}: the" if len(labels) > 1 else "The"
        by_position = ", ".join(f"{share:.2f}" for share in trace.mixed.tolist())
        return (
            f"{model} decoder reads the truth with probability {trace.ratio:.2f}, else its own output. "
            f"Share of right tokens at the positions 1 to {positions}: {by_position}; on average "
            f"{trace.mixed.mean():.2f}. It is {trace.truth.mean():.2f} where the decoder always reads the "
            f"truth, and {trace.own.mean():.2f} where it always reads its own output."
        )

    controls = {"ratio": FloatSlider(description="Teacher forcing ratio", value=0.5, min=0, max=1, step=0.05)}
    if len(labels) > 1:
        controls["trained"] = Dropdown(description="Trained with", options=labels)
    return Explorer(
        compute, figures.update_forced, figure=figure, artists=artists, describe=describe, **controls
    )


# ---------------------------------------------------------------------------------------- bottleneck

_HELD_OUT = 400


def bottleneck_explorer(models: Mapping[int, Seq2Seq], corpus: Corpus, *, edges: Sequence[int]) -> Explorer:
    """Which answers are exact by the length of the source, when more or less goes through the context.

    models: by context size. Measured on the first 400 held-out pairs. `edges` are the bins of lengths, in
    characters, as in `figures.seq2seq.exact_by_length`; the examples are the first pairs of the first, the
    middle and the last bin. Control: "Context size". Raises ValueError for no models, and as that does.
    """
    if not models:
        raise ValueError("models must hold at least one model, got none")
    pairs = PairTensors(*(part[:_HELD_OUT] for part in corpus.held_out))
    lengths = (pairs.source != PAD).sum(1) - 1  # without <eos>
    answers = {
        size: write(models[size], pairs.source, max_length=pairs.target.shape[1]) for size in sorted(models)
    }
    right = {size: (answer == pairs.target).all(1) for size, answer in answers.items()}
    shares = {size: figures.exact_by_length(exact, lengths, edges=edges) for size, exact in right.items()}

    bins = list(pairwise(edges))
    shown = [
        int(((lengths > low) & (lengths <= high)).int().argmax())  # the first
        for low, high in dict.fromkeys((bins[0], bins[len(bins) // 2], bins[-1]))
    ]

    def words(vocabulary: Vocabulary, tokens: Tensor) -> tuple[str, ...]:
        return tuple(vocabulary.decode(until_end(tokens, EOS)))

    views = {
        size: Bottleneck(
            size,
            float(right[size].float().mean()),
            shares[size],
            tuple(
                Answered(
                    words(corpus.source_vocabulary, pairs.source[row]),
                    words(corpus.target_vocabulary, pairs.target[row]),
                    words(corpus.target_vocabulary, answer[row]),
                )
                for row in shown
            ),
        )
        for size, answer in answers.items()
    }
    lines = [
        max(len(figures.example_lines(example)) for example in examples)
        for examples in zip(*(view.examples for view in views.values()), strict=True)
    ]
    heights = figures.bottleneck_heights(lines)
    figure, axes = new_figure(9.5, sum(heights), nrows=2, height_ratios=heights)
    sources = [words(corpus.source_vocabulary, pairs.source[row]) for row in shown]
    with look():
        artists = figures.draw_bottleneck(axes, shares, edges=edges, sources=sources, lines=lines)

    def describe(view: Bottleneck) -> str:
        by_length = ", ".join(
            f"{share:.2f} of {label}"
            for label, share in zip(figures.bin_labels(edges), view.shares.tolist(), strict=True)
        )
        examples = " ".join(
            f"{figures.as_text(source)}: "
            f"{figures.as_text(answer) or 'nothing'}"
            f"{', which is exact' if answer == target else f' instead of {figures.as_text(target)}'}."
            for source, target, answer in view.examples
        )
        return (
            f"Context size {view.size}: {view.exact:.2f} of {len(lengths)} held-out answers are exact. By "
            f"characters in the source: {by_length}. Examples. {examples}"
        )

    return Explorer(
        lambda size: views[size],
        figures.update_bottleneck,
        figure=figure,
        artists=artists,
        describe=describe,
        size=SelectionSlider(description="Context size", options=list(views), value=max(views)),
    )
