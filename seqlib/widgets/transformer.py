"""Explorers of chapter 07: what words attend to, positions, masks, and decoding with a cache."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from ipywidgets import Checkbox, Dropdown, IntSlider, SelectionSlider

from seqlib.figures import transformer as figures
from seqlib.figures.attention import shown
from seqlib.figures.style import look, new_figure
from seqlib.figures.transformer import CacheView, MaskView, PositionView, SelfAttention, SelfAttentionView
from seqlib.pairs import Corpus
from seqlib.transformer import Transformer, sinusoidal_positions
from seqlib.widgets.explorer import Explorer

_LONGEST = 30  # tokens that the pictures have room for

# --------------------------------------------------------------------------- what a word attends to


def self_attention_explorer(
    sentences: Sequence[SelfAttention],
    *,
    sentence: int = 0,
    layer: int = 1,
    head: int = 1,
    query: int | None = None,
) -> Explorer:
    """What each word of a sentence attends to, in each head of each layer.

    Controls: "Layer", "Head", "Query word", and "Sentence" where there are several. They begin at the
    arguments, of which `sentence` counts from 0, as lists do, and the others from 1, as the picture does.
    `query` is the first word if it isn't given. Raises ValueError for sentences without as many rows and
    columns of weights as words, of different layers and heads or of more than 30 words, and for a beginning
    that isn't there.
    """
    layers, heads = _check_sentences(sentences)
    if not 0 <= sentence < len(sentences):
        raise ValueError(f"sentence must lie in 0..{len(sentences) - 1}, got {sentence}")
    longest, query = max(len(each.words) for each in sentences), 1 if query is None else query
    figure, page = new_figure(*figures.self_attention_size(longest))
    figure.set_layout_engine("none")
    with look():
        artists = figures.draw_self_attention(page, words=longest)
        begin = SelfAttentionView(sentences[sentence], layer, head, query)
        figures.update_self_attention(artists, begin)  # or a ValueError

    def describe(view: SelfAttentionView) -> str:
        words = list(map(shown, view.sentence.words))
        best = view.weights.topk(min(3, len(words)))
        most = ", ".join(
            f"{words[k]} (word {k + 1}) {weight:.2f}"
            for weight, k in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        )
        return (
            f"Layer {view.layer} of {layers}, head {view.head} of {heads}, in the sentence: "
            f"{' '.join(words)}. The query is {words[view.query - 1]} (word {view.query} of {len(words)}). "
            f"It attends most to: {most}."
        )

    query_word = IntSlider(description="Query word", value=query, min=1, max=len(sentences[sentence].words))
    controls: dict[str, Any] = {}
    if len(sentences) > 1:
        controls["sentence"] = Dropdown(
            description="Sentence",
            options=[(" ".join(each.words), k) for k, each in enumerate(sentences)],
            value=sentence,
            layout={"grid_area": "auto / 1 / auto / -1"},  # all columns: sentences may differ at their end
        )
        controls["sentence"].observe(
            lambda change: query_word.set_trait("max", len(sentences[change.new].words)), "value"
        )
    controls |= {
        "layer": IntSlider(description="Layer", value=layer, min=1, max=layers),
        "head": IntSlider(description="Head", value=head, min=1, max=heads),
        "query": query_word,
    }
    return Explorer(
        lambda layer, head, query, sentence=0: SelfAttentionView(sentences[sentence], layer, head, query),
        figures.update_self_attention,
        figure=figure,
        artists=artists,
        describe=describe,
        **controls,
    )


def _check_sentences(sentences: Sequence[SelfAttention]) -> tuple[int, int]:
    """The numbers of layers and heads that all have, or a ValueError."""
    if not sentences:
        raise ValueError("sentences must hold at least one sentence, got none")
    sizes = sentences[0].weights.shape[:2]
    for number, (words, weights) in enumerate(sentences):
        if not 1 <= len(words) <= _LONGEST:
            raise ValueError(f"sentences must have 1 to {_LONGEST} words, sentence {number} has {len(words)}")
        expected = (*sizes, len(words), len(words))
        if weights.shape != expected:
            raise ValueError(
                f"sentences must have the weights of all layers and heads, with a row and a column for each "
                f"word, so those of sentence {number} {expected}, got {tuple(weights.shape)}"
            )
    return sizes[0], sizes[1]


# ----------------------------------------------------------------------------------------- positions


def positional_explorer(*, length: int = 60) -> Explorer:
    """The vectors of all positions, and how similar one position's vector is to those of the others.

    Controls: "Model size", "Position". Raises ValueError for a length outside of 2..100.
    """
    if not 2 <= length <= 100:
        raise ValueError(f"length must lie in 2..100, got {length}")
    sizes = [4, 8, 16, 32, 64, 128, 256]
    positions = {size: sinusoidal_positions(length, size) for size in sizes}
    place = {"left": 0.065, "right": 0.99, "bottom": 0.13, "top": 0.91, "wspace": 0.16}
    figure, axes = new_figure(10, 4.2, ncols=2, gridspec_kw=place)
    figure.set_layout_engine("none")
    with look():
        artists = figures.draw_position(axes, PositionView(positions[64], 0))

    def describe(view: PositionView) -> str:
        products, here = view.products, view.position
        at = [here + step for step in (1, 5, 20) if here + step < length] or [here - 1]
        told = ", ".join(f"{products[k]:z.2f} with position {k}" for k in at)
        least = int(products.argmin())
        return (
            f"Vectors of {view.positions.shape[1]} entries for the positions 0 to {length - 1}. Position "
            f"{here} times another, divided by half the model size: {products[here]:.2f} with itself, "
            f"{told}; the least is {products[least]:z.2f}, with position {least}."
        )

    return Explorer(
        lambda size, position: PositionView(positions[size], position),
        figures.update_position,
        figure=figure,
        artists=artists,
        describe=describe,
        size=SelectionSlider(description="Model size", options=sizes, value=64),
        position=IntSlider(description="Position", value=length // 3, min=0, max=length - 1),
    )


# --------------------------------------------------------------------------------------------- masks


def mask_explorer(*, length: int = 8, seed: int = 0) -> Explorer:
    """Who may attend to whom, and what masks make of the weights of random scores, which `seed` draws.

    Controls: "Causal", "Padding" (so many tokens at the end). Raises ValueError for a length outside of
    3..10.
    """
    if not 3 <= length <= 10:
        raise ValueError(f"length must lie in 3..10, got {length}")
    scores = torch.randn(length, length, generator=torch.Generator().manual_seed(seed))
    place = {"left": 0.07, "right": 0.945, "bottom": 0.07, "top": 0.84, "wspace": 0.2}
    figure, axes = new_figure(10, 5, ncols=2, gridspec_kw=place)
    figure.set_layout_engine("none")
    with look():
        artists = figures.draw_masks(axes, length=length)

    def describe(view: MaskView) -> str:
        present = length - view.padding
        last = view.weights[present - 1]
        told = ", ".join(f"{weight:.2f}" for weight in last.tolist())
        padding = (
            f"Padding tokens at the end: {view.padding}. No token attends to them, and what they find, in "
            "the pale rows, nobody reads. "
            if view.padding
            else ""
        )
        return (
            f"{length} queries and {length} keys; {int(view.mask.sum())} of {length**2} cells may be "
            f"attended. {'No token sees a later one. ' if view.causal else ''}{padding}Each row of weights "
            f"sums to 1. Token {present} attends to the {length} tokens with the weights {told}."
        )

    return Explorer(
        lambda causal, padding: figures.masked(scores, causal=causal, padding=padding),
        figures.update_masks,
        figure=figure,
        artists=artists,
        describe=describe,
        causal=Checkbox(description="Causal", value=True, indent=False),
        padding=IntSlider(description="Padding", value=2, min=0, max=length - 1),
    )


# ---------------------------------------------------------------------------- decoding with a cache


def kv_cache_explorer(
    model: Transformer, corpus: Corpus, source: Iterable[str], *, step: int = 1, max_length: int = 30
) -> Explorer:
    """What each step of greedy decoding adds to the cache of keys and values, and what it takes from it.

    Control: "Step", which begins at `step`. Raises ValueError for a step that isn't there, a max_length
    outside of 1..30, a source without tokens, and a token that the corpus doesn't have.
    """
    if not 1 <= max_length <= _LONGEST:
        raise ValueError(f"max_length must lie in 1..{_LONGEST}, got {max_length}")
    decoding = figures.cached_decoding(model, corpus, source, max_length=max_length)
    figure, page = new_figure(*figures.cache_size(decoding))
    figure.set_layout_engine("none")
    with look():
        artists = figures.draw_cache(page, decoding)
        figures.update_cache(artists, CacheView(decoding, step))  # or a ValueError
    tokens = list(map(shown, decoding.tokens))

    def describe(view: CacheView) -> str:
        t = view.step
        held = f"the tokens {' '.join(tokens[: t - 1])}" if t > 1 else "no token yet"
        most = ", ".join(
            f"head {n} {tokens[k]} (token {k + 1}) {weight:.2f}"
            for n, (weight, k) in enumerate(
                zip(*map(torch.Tensor.tolist, view.weights.max(-1)), strict=True), start=1
            )
        )
        likeliest = ", ".join(f"{shown(word)} {p:.3f}" for word, p in view.likeliest)
        return (
            f"Step {t} of {len(tokens)} for the source {' '.join(map(shown, decoding.source))}. The cache "
            f"holds keys and values of {held}; this step adds those of {tokens[t - 1]}. What it attends to "
            f"most in the last layer: {most}. Likeliest next words: {likeliest}. Tokens through the decoder "
            f"in this step: 1 with the cache, {t} without it; so far: {t} and {t * (t + 1) // 2}."
        )

    return Explorer(
        lambda step: CacheView(decoding, step),
        figures.update_cache,
        figure=figure,
        artists=artists,
        describe=describe,
        step=IntSlider(description="Step", value=step, min=1, max=len(decoding.steps)),
    )
