import html
import re
from functools import cache

import numpy as np
import pytest
import torch
from drive import drive, opened, settings

from seqlib.attention import masked_softmax
from seqlib.figures.transformer import SelfAttention
from seqlib.pairs import EOS, make_corpus, number_pairs, romanised, to_tensor
from seqlib.transformer import (
    Transformer,
    TransformerEncoder,
    causal_mask,
    sinusoidal_positions,
    trace_decoding,
)
from seqlib.widgets.transformer import (
    kv_cache_explorer,
    mask_explorer,
    positional_explorer,
    self_attention_explorer,
)

SENTENCES = (
    "the road was wet".split(),
    "the fox slept because it was tired".split(),
    "it rains".split(),
)
LAYERS, HEADS = 2, 3


@cache
def sentences():
    """Sentences and what an untrained encoder's words attend to."""
    words = sorted({word for sentence in SENTENCES for word in sentence})
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        encoder = TransformerEncoder(
            3 + len(words), model_size=6, num_heads=HEADS, num_layers=LAYERS, inner_size=5
        )
        found = []
        for sentence in SENTENCES:
            tokens = torch.tensor([[3 + words.index(word) for word in sentence]])
            found.append(SelfAttention(sentence, torch.stack(encoder(tokens).weights, 1)[0]))
    return found


@cache
def tiny():
    """An untrained model of numbers of up to three digits, whose answers never end."""
    generator = torch.Generator().manual_seed(0)
    corpus = make_corpus(number_pairs(40, digits=3, generator=generator), held_out=3, generator=generator)
    sizes = len(corpus.source_vocabulary), len(corpus.target_vocabulary)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Transformer(*sizes, model_size=6, num_heads=3, num_layers=2, inner_size=5)
        for parameter in model.parameters():
            parameter.data *= 1.5
        model.x_to_y.bias.data[EOS] = -100
    return model, corpus


def words_explorer(**options):
    begin = {"sentence": 1, "layer": 2, "head": 3, "query": 5}
    return self_attention_explorer(sentences(), **(begin | options))


def one_sentence_explorer():
    return self_attention_explorer(sentences()[:1])


def few_positions_explorer():
    return positional_explorer(length=31)


def small_mask_explorer():
    return mask_explorer(length=7, seed=3)


def cache_explorer(**options):
    return kv_cache_explorer(*tiny(), "삼백이십일", **({"step": 4, "max_length": 13} | options))


def alternative(explorer):
    """The picture in words, as a screen reader finds it."""
    return html.unescape(re.search('role="img" aria-label="([^"]*)"', explorer.overlay.value)[1])


@pytest.mark.parametrize(
    ("make", "pictures"),
    [
        (words_explorer, 9),
        (few_positions_explorer, 9),
        (small_mask_explorer, 5),
        (cache_explorer, 3),
    ],
)
def test_every_control_works_at_its_minimum_middle_and_maximum(make, pictures):
    explorer = opened(make)
    assert len({alternative(explorer) for _ in drive(explorer)}) >= pictures


@pytest.mark.parametrize(
    ("make", "labels"),
    [
        (words_explorer, ["Sentence", "Layer", "Head", "Query word"]),
        (one_sentence_explorer, ["Layer", "Head", "Query word"]),
        (few_positions_explorer, ["Model size", "Position"]),
        (small_mask_explorer, ["Causal", "Padding"]),
        (cache_explorer, ["Step"]),
    ],
)
def test_controls_have_the_labels_by_which_learners_find_them(make, labels):
    assert [control.description for control in opened(make).controls.values()] == labels


@pytest.mark.parametrize(
    ("make", "moves"),
    [
        (words_explorer, {"layer": 1, "head": 1, "query": 2}),
        (few_positions_explorer, {"position": 3}),
        (small_mask_explorer, {"causal": False}),
        (cache_explorer, {"step": 13}),
    ],
)
def test_what_does_not_move_is_not_drawn_again(make, moves, monkeypatch):
    explorer, drawings = opened(make), []
    background, drawn = explorer.background.value, explorer.overlay.value
    monkeypatch.setattr(explorer, "_draw_still", lambda: drawings.append("again"))
    for name, value in moves.items():
        explorer.controls[name].value = value
        assert explorer.overlay.value != drawn
        drawn = explorer.overlay.value
    assert explorer.error == "" and not drawings and explorer.background.value == background


# --------------------------------------------------------------------------- what a word attends to


def test_weights_are_the_encoders_own_and_the_description_names_the_largest():
    explorer = opened(words_explorer)
    assert explorer.values == {"layer": 2, "head": 3, "query": 5, "sentence": 1}
    for k, layer, head, query in ((0, 1, 2, 4), (2, 2, 1, 1), (1, 2, 3, 5)):
        for name, value in {"sentence": k, "layer": layer, "head": head, "query": query}.items():
            explorer.controls[name].value = value
        words, weights = sentences()[k]
        matrix = weights[layer - 1, head - 1]
        np.testing.assert_array_equal(explorer.artists.matrix.cells.get_array(), matrix)
        assert explorer.artists.word.get_text() == words[query - 1]
        best = int(matrix[query - 1].argmax())
        text = alternative(explorer)
        assert text.startswith(f"Layer {layer} of {LAYERS}, head {head} of {HEADS}, in the sentence: ")
        assert f"The query is {words[query - 1]} (word {query} of {len(words)}). " in text
        assert f"most to: {words[best]} (word {best + 1}) {matrix[query - 1, best]:.2f}" in text


def test_the_query_slider_ends_with_the_sentence():
    explorer = opened(words_explorer)
    assert settings(explorer.controls["query"]) == [1, 4, 7]
    explorer.controls["sentence"].value = 2
    assert explorer.error == "" and explorer.values["query"] == explorer.controls["query"].max == 2
    explorer.controls["sentence"].value = 1
    assert explorer.controls["query"].max == 7 and explorer.values["query"] == 2


def test_sentences_are_chosen_by_their_words():
    choices = opened(words_explorer).controls["sentence"].options
    assert choices == tuple((" ".join(words), k) for k, words in enumerate(SENTENCES))


def test_it_begins_with_the_first_word_of_the_first_sentence():
    explorer = opened(one_sentence_explorer)
    assert explorer.values == {"layer": 1, "head": 1, "query": 1}
    assert explorer.trace.sentence is sentences()[0]


def test_sentences_that_do_not_fit_are_refused(learner):
    weights = torch.ones(2, 3, 2, 2) / 2
    good = SelfAttention(["a", "b"], weights)
    for wrong, match in (
        ([], "sentences must hold at least one sentence, got none"),
        ([SelfAttention([], weights[..., :0, :0])], "sentences must have 1 to 30 words, sentence 0 has 0"),
        ([good, SelfAttention(["a"] * 31, weights)], "1 to 30 words, sentence 1 has 31"),
        ([SelfAttention(["a"], weights)], r"sentence 0 \(2, 3, 1, 1\), got \(2, 3, 2, 2\)"),
        ([good, SelfAttention(["a", "b"], weights[:1])], r"sentence 1 \(2, 3, 2, 2\), got \(1, 3, 2, 2\)"),
    ):
        with pytest.raises(ValueError, match=match):
            self_attention_explorer(wrong)


@pytest.mark.parametrize(
    ("wrong", "last"), [({"sentence": 3}, "0..2"), ({"layer": 3}, "1..2"), ({"head": 4}, "1..3")]
)
def test_a_beginning_that_is_not_there_is_refused(wrong, last):
    [(name, value)] = wrong.items()
    with pytest.raises(ValueError, match=f"{name} must lie in {re.escape(last)}, got {value}"):
        words_explorer(**wrong)


# ----------------------------------------------------------------------------------------- positions


def test_products_are_those_of_the_positions_vectors():
    explorer = opened(few_positions_explorer)
    assert settings(explorer.controls["size"]) == [4, 8, 16, 32, 64, 128, 256]
    assert settings(explorer.controls["position"])[::2] == [0, 30]
    for size, position in ((4, 30), (64, 11)):
        explorer.controls["size"].value, explorer.controls["position"].value = size, position
        positions = sinusoidal_positions(31, size)
        products = positions @ positions[position] / (size / 2)
        np.testing.assert_allclose(explorer.artists.line.get_ydata(), products)
        np.testing.assert_array_equal(explorer.artists.left.images[0].get_array(), positions)
        text, other = alternative(explorer), position - 1 if position == 30 else position + 1
        assert f"Vectors of {size} entries for the positions 0 to 30. Position {position} times" in text
        assert f"1.00 with itself, {products[other]:z.2f} with position {other}" in text
        least = int(products.argmin())
        assert text.endswith(f"the least is {products[least]:z.2f}, with position {least}.")


def test_larger_models_tell_near_from_far_where_small_ones_repeat():
    explorer = opened(few_positions_explorer)
    far = {}
    for size in (4, 256):
        explorer.controls["size"].value, explorer.controls["position"].value = size, 0
        far[size] = float(explorer.trace.products[10:].max())
    assert far[4] > 0.9 > 0.8 > far[256]


@pytest.mark.parametrize("length", [1, 101])
def test_a_number_of_positions_that_does_not_fit_is_refused(length):
    with pytest.raises(ValueError, match=rf"length must lie in 2\.\.100, got {length}"):
        positional_explorer(length=length)


# --------------------------------------------------------------------------------------------- masks


def test_masks_and_weights_are_those_of_the_models():
    explorer = opened(small_mask_explorer)
    assert explorer.values == {"causal": True, "padding": 2}
    assert settings(explorer.controls["padding"]) == [0, 3, 6]
    scores = torch.randn(7, 7, generator=torch.Generator().manual_seed(3))
    for causal, padding in ((True, 0), (False, 3)):
        explorer.controls["causal"].value, explorer.controls["padding"].value = causal, padding
        mask = (torch.arange(7) < 7 - padding).expand(7, 7)
        mask = mask & causal_mask(7) if causal else mask
        weights = masked_softmax(scores, mask)
        np.testing.assert_array_equal(explorer.artists.cells[0].get_array() > 0, mask)
        np.testing.assert_array_equal(explorer.artists.cells[1].get_array(), weights)
        text = alternative(explorer)
        assert f"{int(mask.sum())} of 49 cells may be attended." in text
        assert ("No token sees a later one." in text) == causal
        assert (f"Padding tokens at the end: {padding}." in text) == (padding > 0)
        told = ", ".join(f"{weight:.2f}" for weight in weights[6 - padding].tolist())
        assert text.endswith(f"Token {7 - padding} attends to the 7 tokens with the weights {told}.")


def test_random_scores_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    mask_explorer(length=3)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("length", [2, 11])
def test_a_number_of_tokens_that_does_not_fit_is_refused(length):
    with pytest.raises(ValueError, match=rf"length must lie in 3\.\.10, got {length}"):
        mask_explorer(length=length)


# ---------------------------------------------------------------------------- decoding with a cache


def test_each_step_is_that_of_decoding_with_the_cache_and_described_with_its_numbers():
    model, corpus = tiny()
    explorer = opened(cache_explorer)
    trace = trace_decoding(model, to_tensor(["삼백이십일"], corpus.source_vocabulary), max_length=13)
    tokens = corpus.target_vocabulary.decode(trace.tokens)
    assert explorer.values == {"step": 4} and explorer.controls["step"].max == len(trace.steps) == 13
    for step in (1, 4, 13):
        explorer.controls["step"].value = step
        weights = trace.steps[step - 1].self_weights[-1][0, :, 0]
        np.testing.assert_array_equal(explorer.artists.weights.get_array()[:, :step], weights)
        text = alternative(explorer)
        source = " ".join([*map(romanised, "삼백이십일"), "<eos>"])
        held = f"the tokens {' '.join(tokens[: step - 1])}" if step > 1 else "no token yet"
        assert text.startswith(f"Step {step} of 13 for the source {source}. ")
        assert f"keys and values of {held}; this step adds those of {tokens[step - 1]}." in text
        best = int(weights[2].argmax())
        assert f"head 3 {tokens[best]} (token {best + 1}) {weights[2, best]:.2f}." in text
        p = trace.steps[step - 1].logits[0, 0].softmax(-1)
        assert f"Likeliest next words: {corpus.target_vocabulary[int(p.argmax())]} {p.max():.3f}, " in text
        assert text.endswith(
            f"in this step: 1 with the cache, {step} without it; so far: {step} and {step * (step + 1) // 2}."
        )


def test_what_cannot_be_decoded_or_shown_is_refused():
    for options, match in (
        ({"step": 14}, r"step must lie in 1\.\.13, got 14"),
        ({"max_length": 31}, r"max_length must lie in 1\.\.30, got 31"),
        ({"max_length": 0}, r"max_length must lie in 1\.\.30, got 0"),
    ):
        with pytest.raises(ValueError, match=match):
            cache_explorer(**options)
    for source, match in (
        ("x", "tokens must be in the vocabulary, 'x' is not"),
        ("", "source must hold at least one token, got none"),
    ):
        with pytest.raises(ValueError, match=match):
            kv_cache_explorer(*tiny(), source)
