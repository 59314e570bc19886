import html
import re
from functools import cache

import numpy as np
import pytest
import torch
from drive import drive, opened, settings

from seqlib.attention import AttentionSeq2Seq, translate
from seqlib.pairs import EOS, make_corpus, number_pair, number_pairs, romanised
from seqlib.scaling import random_attention
from seqlib.seq2seq import decoder_inputs
from seqlib.widgets.attention import alignment_explorer, attention_steps_explorer, scaling_explorer


@cache
def tiny(seed=0):
    """An untrained model of numbers of up to three digits, whose answers never end."""
    corpus = make_corpus(
        number_pairs(40, digits=3, generator=torch.Generator().manual_seed(seed)),
        held_out=3,
        generator=torch.Generator().manual_seed(seed),
    )
    sizes = len(corpus.source_vocabulary), len(corpus.target_vocabulary)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AttentionSeq2Seq(*sizes, embedding_size=5, hidden_size=6)
        for parameter in model.parameters():
            parameter.data *= 2
        model.h_to_y.bias.data[EOS] = -100
    return model, corpus


def steps_explorer(**options):
    return attention_steps_explorer(*tiny(), number_pair(321).source, **options)


def typed_explorer(**options):
    return alignment_explorer(*tiny(), **({"text": "삼백이십일"} | options))


EXPLORERS = [steps_explorer, typed_explorer, scaling_explorer]


def alternative(explorer):
    """The picture in words, as a screen reader finds it."""
    return html.unescape(re.search('role="img" aria-label="([^"]*)"', explorer.overlay.value)[1])


@pytest.mark.parametrize(
    ("make", "pictures"), [(steps_explorer, 6), (typed_explorer, 1), (scaling_explorer, 12)]
)
def test_every_control_works_at_its_minimum_middle_and_maximum_and_the_axes_stay(make, pictures):
    explorer = opened(make)
    background, seen = explorer.background.value, set()
    for _ in drive(explorer):
        seen.add(alternative(explorer))
        assert explorer.background.value == background
    assert len(seen) >= pictures


@pytest.mark.parametrize(
    ("make", "labels"),
    [
        (steps_explorer, ["Step", "Output position"]),
        (typed_explorer, ["Source"]),
        (scaling_explorer, ["d_k", "Scaled"]),
    ],
)
def test_controls_have_the_labels_by_which_learners_find_them(make, labels):
    assert [control.description for control in opened(make).controls.values()] == labels


@pytest.mark.parametrize("make", EXPLORERS)
def test_explorers_leave_the_global_generator_alone(make):
    tiny()
    before = torch.get_rng_state()
    make()
    assert torch.equal(torch.get_rng_state(), before)


# ------------------------------------------------------------------------------------- the six steps


@pytest.mark.parametrize("position", [1, 30])
def test_the_steps_are_those_of_the_models_own_answer(position):
    model, corpus = tiny()
    explorer = steps_explorer(step=6, position=position)
    answer = translate(model, corpus, "삼백이십일", max_length=30)
    assert settings(explorer.controls["step"]) == [1, 3, 6]
    assert settings(explorer.controls["position"])[2] == len(answer.target) == 30
    bars = [bar.get_width() for bar in explorer.artists.weights]
    torch.testing.assert_close(torch.tensor(bars), answer.weights[position - 1])
    source, target = (
        vocabulary.encode(tokens)[None]
        for vocabulary, tokens in (
            (corpus.source_vocabulary, answer.source),
            (corpus.target_vocabulary, answer.target),
        )
    )
    with torch.no_grad():
        p = model(source, decoder_inputs(target))[0, position - 1].softmax(-1)
    assert explorer.artists.bars[0].get_width() == pytest.approx(float(p.max()))
    assert explorer.artists.words[0].get_text() == answer.target[position - 1]


def test_each_step_is_described_with_its_numbers():
    explorer = steps_explorer(position=3)
    view = explorer.trace
    tokens = [*map(romanised, "삼백이십일"), "<eos>"]

    def told(step):
        explorer.controls["step"].value = step
        text = alternative(explorer)
        before = " ".join(view.answered.target[:2])
        assert text.startswith(f"Step {step} of 6 for word 3 of 30; written so far: {before}. ")
        return text

    for step, name in ((1, "scores"), (2, "weights")):
        values = view.part(name)
        best = int(values.argmax())
        assert f"the largest: {tokens[best]} (token {best + 1}) {values[best]:.2f}" in told(step)
    for step, name, size in ((3, "context", 6), (4, "joined", 12), (5, "s_tilde", 6)):
        values = view.part(name)
        assert f"{size} numbers from {values.min():.2f} to {values.max():.2f}" in told(step)
        assert f"norm {values.norm():.2f}." in told(step)
    word, p = view.answered.target[2], view.probabilities.max()
    assert f"Likeliest next words: {word} {p:.3f}, " in told(6)


def test_a_source_that_cannot_be_shown_is_refused():
    for source, match in (
        ("", "source must have 1 to 30 tokens, got 0"),
        ("백" * 31, "source must have 1 to 30 tokens, got 31"),
        ("백x조", "source must consist of tokens that the model knows, got 'x', '조'\nIt knows: 구 "),
        (["<eos>"], "got '<eos>'\n"),
    ):
        with pytest.raises(ValueError, match=match):
            attention_steps_explorer(*tiny(), source)


@pytest.mark.parametrize("wrong", [{"step": 7}, {"position": 31}])
def test_a_step_or_position_that_is_not_there_is_not_the_first_one_shown(wrong):
    [(name, value)] = wrong.items()
    with pytest.raises(ValueError, match=rf"{name} must lie in 1\.\.{value - 1}, got {value}"):
        steps_explorer(**wrong)


# ---------------------------------------------------------------------------------------- alignments


def type_in(explorer, text):
    explorer.controls["text"].value = text
    return explorer


def axis_labels(explorer):
    ax = explorer.artists.cells.axes
    return [[label.get_text() for label in axis.get_ticklabels()] for axis in (ax.xaxis, ax.yaxis)]


def test_the_matrix_is_that_of_whatever_was_typed():
    model, corpus = tiny()
    explorer = opened(typed_explorer)
    for text in ("칠", "구백팔십칠", " 삼백이십일 "):
        answer = translate(model, corpus, text.strip(), max_length=30)
        type_in(explorer, text)
        assert explorer.error == ""
        np.testing.assert_array_equal(explorer.artists.cells.get_array(), answer.weights)
        assert axis_labels(explorer) == [[*map(romanised, text.strip()), "<eos>"], answer.target]
        k = int(answer.weights[0].argmax())
        words = alternative(explorer)
        assert words.startswith(f"The answer to {' '.join(map(romanised, answer.source))} is ")
        said = (
            f"{answer.target[0]}: {answer.weights[0, k]:.2f} on {romanised(answer.source[k])} (token {k + 1})"
        )
        assert said in words


def test_labels_follow_a_text_of_the_same_length_and_the_axes_keep_their_place():
    explorer = opened(typed_explorer)
    places = [ax.get_position().bounds for ax in explorer.figure.axes]
    background = explorer.background.value
    type_in(explorer, "칠백구십육")
    assert explorer.background.value != background
    assert axis_labels(explorer)[0] == ["chil", "baek", "gu", "sip", "yuk", "<eos>"]
    type_in(explorer, "백" * 30)
    assert [ax.get_position().bounds for ax in explorer.figure.axes] == places
    type_in(explorer, "삼백이십일")
    assert axis_labels(explorer)[0] == ["sam", "baek", "i", "sip", "il", "<eos>"]


@pytest.mark.parametrize("text", ["칠", "백" * 30])
def test_all_labels_are_on_the_picture_and_none_lies_on_the_colour_bar(text):
    explorer = typed_explorer(text=text, label=lambda token: "extraordinarily")
    explorer.figure.draw_without_rendering()
    bar = explorer.figure.axes[1]
    assert bar.get_ylabel() == "weight" and bar.get_tightbbox().x0 >= 0
    ax = explorer.artists.cells.axes
    for label in [*ax.get_xticklabels(), *ax.get_yticklabels()]:
        box = label.get_window_extent()
        assert label.get_fontsize() >= 10
        assert box.x0 > bar.get_window_extent().x1 and box.y0 >= 0
        assert box.x1 <= explorer.figure.bbox.x1 and box.y1 <= explorer.figure.bbox.y1


def test_what_is_wrong_with_a_text_is_said_and_the_next_one_is_read():
    explorer = opened(typed_explorer)
    picture = explorer.overlay.value
    for text, message in (
        ("", "Source is empty: type a text for the model, and press Enter"),
        ("  ", "Source is empty"),
        ("삼백x1x", "source must consist of tokens that the model knows, got 'x', '1'\nIt knows: 구 백 사"),
        ("백" * 31, "source must have 1 to 30 tokens, got 31"),
    ):
        type_in(explorer, text)
        assert message in html.unescape(explorer.message.value)
        assert explorer.message.layout.display is None and explorer.overlay.value == picture
    type_in(explorer, "칠")
    assert explorer.error == "" and explorer.trace.source == ["칠", "<eos>"]


def test_text_is_split_and_labelled_as_asked():
    explorer = typed_explorer(
        text="321",
        split=lambda text: number_pair(int(text)).source,
        label=lambda token: f"[{romanised(token)}]",
    )
    assert axis_labels(explorer)[0] == ["[sam]", "[baek]", "[i]", "[sip]", "[il]", "[<eos>]"]
    type_in(explorer, "many")
    assert explorer.error.startswith("ValueError: invalid literal")


def test_typing_waits_for_enter():
    assert not opened(typed_explorer).controls["text"].continuous_update


# ------------------------------------------------------------------------------------------- scaling


def test_scores_and_weights_are_those_of_random_attention():
    explorer = scaling_explorer(keys=7, seed=3)
    for d_k, scaled in ((1, False), (512, False), (16, True)):
        explorer.controls["d_k"].value, explorer.controls["scaled"].value = d_k, scaled
        trace = random_attention(d_k, scaled=scaled, keys=7, generator=torch.Generator().manual_seed(3))
        np.testing.assert_allclose([bar.get_height() for bar in explorer.artists.scores], trace.scores[0])
        np.testing.assert_allclose([bar.get_height() for bar in explorer.artists.weights], trace.weights[0])
        words = alternative(explorer)
        assert f"vectors of {d_k} numbers, scores {'' if scaled else 'not '}divided" in words
        assert f"standard deviation of the scores {trace.scores.std():.2f}," in words
        assert f"largest of 7 weights {trace.weights.amax(-1).mean():.2f}," in words
        assert f"softmax {trace.gradient.mean():.3f}. " in words


def test_every_bar_and_number_stays_within_its_axes():
    explorer = opened(scaling_explorer)
    low, high = explorer.figure.axes[0].get_ylim()
    for d_k in settings(explorer.controls["d_k"]):
        scores = explorer._compute(d_k=d_k, scaled=False).attention.scores[0]
        assert low < scores.min() and scores.max() < high
    assert all(number.get_position()[1] < high for number in explorer.artists.numbers[0])


def test_what_a_learner_should_see():
    explorer = opened(scaling_explorer)
    largest, gradient = {}, {}
    for d_k in (1, 8, 64, 512):
        for scaled in (False, True):
            attention = explorer._compute(d_k=d_k, scaled=scaled).attention
            assert attention.scores.std() == pytest.approx(1 if scaled else d_k**0.5, rel=0.05)
            largest[d_k, scaled] = float(attention.weights.amax(-1).mean())
            gradient[d_k, scaled] = float(attention.gradient.mean())
    assert (
        largest[1, False] < largest[8, False] - 0.2 < largest[64, False] - 0.4
    )  # without scaling, ever harder
    assert largest[512, False] > 0.9 > 0.4 > largest[512, True]
    assert gradient[512, False] < 0.3 * gradient[512, True]


@pytest.mark.parametrize("keys", [1, 13])
def test_keys_that_do_not_fit_are_refused(keys):
    with pytest.raises(ValueError, match=rf"keys must lie in 2\.\.12, got {keys}"):
        scaling_explorer(keys=keys)
