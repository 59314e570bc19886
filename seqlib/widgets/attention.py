"""Explorers of chapter 06: the six steps of attention, alignments of any source, why scores are scaled."""

from collections.abc import Callable, Iterable

import torch
from ipywidgets import Checkbox, IntSlider, SelectionSlider, Text
from torch import Tensor

from seqlib.attention import AttentionSeq2Seq, Translation, translate
from seqlib.figures import attention as figures
from seqlib.figures.attention import ScalingView, StepView, shown
from seqlib.figures.style import look, new_figure
from seqlib.pairs import SPECIAL, Corpus, romanised
from seqlib.scaling import random_attention
from seqlib.widgets.explorer import Explorer

_LONGEST = 30  # tokens, without <eos>, of which each has a row or a column that can be read

# ------------------------------------------------------------------------------------- the six steps


def attention_steps_explorer(
    model: AttentionSeq2Seq, corpus: Corpus, source: Iterable[str], *, step: int = 1, position: int = 1
) -> Explorer:
    """Every tensor between the decoder's state and the next word, one step after the other.

    The answer is the model's own (greedy). Controls: "Step" (1 to 6), "Output position", which begin at
    `step` and `position`. Raises ValueError for more than 30 source tokens, for one that the corpus doesn't
    have, and for a step or position that isn't there.
    """
    answered = figures.answered(model, corpus, _checked(list(source), corpus), max_length=_LONGEST)
    T, S = answered.steps.weights[0].shape
    figure, page = new_figure(*figures.steps_size(S))
    figure.set_layout_engine("none")
    with look():
        artists = figures.draw_attention_steps(page, answered)
        figures.update_attention_steps(artists, StepView(answered, step, position))  # or a ValueError
    sources, words = list(map(shown, answered.source)), list(map(shown, answered.words))

    def largest(view: StepView, name: str) -> str:
        best = view.part(name).topk(min(3, S))
        return ", ".join(
            f"{sources[k]} (token {k + 1}) {value:z.2f}"
            for value, k in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        )

    def size(vector: Tensor) -> str:
        return (
            f"{len(vector)} numbers from {vector.min():z.2f} to {vector.max():z.2f}, norm {vector.norm():.2f}"
        )

    def describe(view: StepView) -> str:
        best = view.probabilities.topk(len(artists.bars))
        likeliest = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        told = (
            f"Scores of the {S} source tokens; the largest: {largest(view, 'scores')}; the smallest: "
            f"{view.part('scores').min():z.2f}.",
            f"Weights, whose sum is 1; the largest: {largest(view, 'weights')}.",
            f"The context is the weighted sum of the encoder's states: {size(view.part('context'))}.",
            f"Context and decoder's state side by side: {size(view.part('joined'))}.",
            f"s-tilde: {size(view.part('s_tilde'))}.",
            f"Likeliest next words: {', '.join(f'{words[k]} {p:.3f}' for p, k in likeliest)}.",
        )
        before = " ".join(map(shown, answered.target[: view.position - 1])) or "nothing yet"
        return (
            f"Step {view.step} of {len(told)} for word {view.position} of {T}; written so far: {before}. "
            f"{told[view.step - 1]}"
        )

    return Explorer(
        lambda step, position: StepView(answered, step, position),
        figures.update_attention_steps,
        figure=figure,
        artists=artists,
        describe=describe,
        step=IntSlider(description="Step", value=step, min=1, max=len(figures.STEPS)),
        position=IntSlider(description="Output position", value=position, min=1, max=T),
    )


def _checked(source: list[str], corpus: Corpus) -> list[str]:
    """A source that a picture has room for and that the model can read, or a ValueError."""
    if not 1 <= len(source) <= _LONGEST:
        raise ValueError(f"source must have 1 to {_LONGEST} tokens, got {len(source)}")
    known = [token for token in corpus.source_vocabulary if token not in SPECIAL]
    if unknown := [repr(token) for token in dict.fromkeys(source) if token not in known]:
        more = " …" if len(known) > 60 else ""
        raise ValueError(
            f"source must consist of tokens that the model knows, got {', '.join(unknown)}\n"
            f"It knows: {' '.join(known[:60])}{more}"
        )
    return source


# ---------------------------------------------------------------------------------------- alignments


def alignment_explorer(
    model: AttentionSeq2Seq,
    corpus: Corpus,
    *,
    text: str,
    split: Callable[[str], Iterable[str]] = list,
    label: Callable[[str], str] = romanised,
) -> Explorer:
    """Where a model looks while it answers whatever is typed.

    Control: "Source", which begins with `text`. `split` makes tokens of it, `label` writes a token in the
    picture. A text that the model can't read is answered by what is wrong with it.
    """
    figure, ax = new_figure(10, 6.5)
    figure.set_layout_engine("none")  # the same place for every text
    ax.set_position((0.18, 0.03, 0.765, 0.82))
    bar = figure.add_axes((0.065, 0.52, 0.013, 0.33))  # on the left: a short source leaves the right empty
    with look():
        artists = figures.draw_attention(ax, rows=10, columns=12, cax=bar, ticklocation="left")

    def compute(text: str) -> Translation:
        if not text.strip():
            raise ValueError("Source is empty: type a text for the model, and press Enter")
        return translate(model, corpus, _checked(list(split(text.strip())), corpus), max_length=_LONGEST)

    def update(artists: figures.AttentionArtists, trace: Translation) -> None:
        source, target = (list(map(label, tokens)) for tokens in (trace.source, trace.target))
        figures.update_attention(artists, trace.weights, source=source, target=target)

    def describe(trace: Translation) -> str:
        source, target = list(map(label, trace.source)), list(map(label, trace.target))
        best = trace.weights.max(1)
        looked = (
            f"{word}: {weight:.2f} on {source[k]} (token {k + 1})"
            for word, weight, k in zip(target, best.values.tolist(), best.indices.tolist(), strict=True)
        )
        return (
            f"The answer to {' '.join(source)} is {' '.join(target)}. The largest weight of each word: "
            f"{'; '.join(looked)}."
        )

    return Explorer(
        compute,
        update,
        figure=figure,
        artists=artists,
        describe=describe,
        text=Text(description="Source", value=text, continuous_update=False),
    )


# ------------------------------------------------------------------------------------------- scaling


def scaling_explorer(*, keys: int = 10, seed: int = 0) -> Explorer:
    """What the length of random vectors does to scores, to weights and to the gradient through the softmax.

    Controls: "d_k", "Scaled". Longer vectors begin with the numbers of shorter ones; `seed` draws others.
    Raises ValueError for keys outside of 2..12.
    """
    if not 2 <= keys <= 12:
        raise ValueError(f"keys must lie in 2..12, got {keys}")
    sizes = [2**power for power in range(10)]
    traces = {
        (d_k, scaled): random_attention(
            d_k, scaled=scaled, keys=keys, generator=torch.Generator().manual_seed(seed)
        )
        for d_k in sizes
        for scaled in (False, True)
    }
    largest = 1.05 * max(float(trace.scores[0].abs().max()) for trace in traces.values())
    place = {"left": 0.045, "right": 0.99, "bottom": 0.12, "top": 0.83, "wspace": 0.13}
    figure, axes = new_figure(10, 4.2, ncols=2, gridspec_kw=place)
    figure.set_layout_engine("none")  # titles of any height
    with look():
        artists = figures.draw_scaling(axes, keys=keys, largest=largest)

    def describe(view: ScalingView) -> str:
        scores, weights, gradient = view.attention
        return (
            f"Random vectors of {view.d_k} numbers, scores {'' if view.scaled else 'not '}divided by the "
            f"square root of d_k. Over {len(scores)} draws: standard deviation of the scores "
            f"{scores.std():.2f}, mean of the largest of {keys} weights {weights.amax(-1).mean():.2f}, mean "
            f"norm of the gradient through the softmax {gradient.mean():.3f}. In the draw shown the scores "
            f"lie between {scores[0].min():z.1f} and {scores[0].max():z.1f}, and the largest weight is "
            f"{weights[0].max():.2f}."
        )

    return Explorer(
        lambda d_k, scaled: ScalingView(d_k, scaled, traces[d_k, scaled]),
        figures.update_scaling,
        figure=figure,
        artists=artists,
        describe=describe,
        d_k=SelectionSlider(description="d_k", options=sizes, value=64),
        scaled=Checkbox(description="Scaled", value=False, indent=False),
    )
