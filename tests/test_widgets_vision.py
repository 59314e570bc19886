import html
import re
from functools import cache

import numpy as np
import pytest
import torch
from drive import drive, opened, settings

from seqlib.data import digits
from seqlib.pairs import EOS, PAD
from seqlib.scenes import (
    ANSWERS,
    CAPTION_WORDS,
    DIGIT_WORDS,
    FOR_QUESTIONS,
    NOTHING,
    QUESTION_WORDS,
    RELATIONS,
    Scenes,
    captions,
    draw_scenes,
    question,
)
from seqlib.vision import Captioner, Description, QuestionAnswerer, cell_weights, describe
from seqlib.widgets.vision.captions import caption_explorer, question_explorer

LAYERS, HEADS = 2, 3


@cache
def scenes(count, **options):
    return draw_scenes(count, digits()[1], generator=torch.Generator().manual_seed(0), **options)


@cache
def captioner():
    """Untrained, so that its captions are as long as they may be."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Captioner(features=7, embedding_size=5, hidden_size=11).eval()
        model.joined_to_y[-1].bias.data[EOS] = -10.0
        return model


@cache
def answerer():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return QuestionAnswerer(model_size=3 * HEADS, num_heads=HEADS, num_layers=LAYERS).eval()


def true_captions():
    return [CAPTION_WORDS.decode(words[words != PAD]) for words in captions(scenes(3).cells)]


@cache
def told():
    """What is said of three scenes: all right; a wrong place and an end too early; too much."""
    first, second, third = true_captions()
    said = [first, [*second[:1], "bottom", "<eos>"], [*third[:-1], "nine", "<eos>"]]
    generator = torch.Generator().manual_seed(0)
    return [Description(words, torch.rand(len(words), 36, generator=generator).softmax(-1)) for words in said]


def untrained_explorer(**options):
    return caption_explorer(captioner(), scenes(3), **options)


def told_explorer(**options):
    def describe_told(model, image):
        return told()[next(k for k, known in enumerate(scenes(3).images) if torch.equal(image, known))]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seqlib.widgets.vision.captions.describe", describe_told)
        return untrained_explorer(**options)


def asking_explorer(**options):
    return question_explorer(answerer(), scenes(5, **FOR_QUESTIONS), **options)


def alternative(explorer):
    """The picture in words, as a screen reader finds it."""
    return html.unescape(re.search('role="img" aria-label="([^"]*)"', explorer.overlay.value)[1])


@pytest.mark.parametrize(
    ("make", "pictures"), [(untrained_explorer, 5), (told_explorer, 6), (asking_explorer, 10)]
)
def test_every_control_works_at_its_minimum_middle_and_maximum(make, pictures):
    explorer = opened(make)
    assert len({alternative(explorer) for _ in drive(explorer)}) >= pictures


@pytest.mark.parametrize(
    ("make", "labels"),
    [(told_explorer, ["Scene", "Word"]), (asking_explorer, ["Scene", "Relation", "Digit", "Layer"])],
)
def test_controls_have_the_labels_by_which_learners_find_them(make, labels):
    assert [control.description for control in opened(make).controls.values()] == labels


@pytest.mark.parametrize(
    ("make", "moves"),
    [
        (told_explorer, {"word": 2, "scene": 2}),
        (asking_explorer, {"digit": 0, "scene": 4, "relation": "below", "layer": 2}),
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


# ----------------------------------------------------------------------------------------- captions


def test_words_and_weights_are_the_captioners_own():
    explorer = opened(untrained_explorer)
    for scene, word in ((1, 1), (3, 5)):
        explorer.controls["scene"].value, explorer.controls["word"].value = scene, word
        own = describe(captioner(), scenes(3).images[scene - 1])
        np.testing.assert_array_equal(explorer.artists.scene.ink.get_array(), scenes(3).images[scene - 1])
        np.testing.assert_array_equal(
            explorer.artists.scene.weights.get_array(), own.weights[word - 1].view(6, 6)
        )
        assert explorer.artists.word.get_text() == own.words[word - 1]
        assert f"The captioner says: {' '.join(own.words)}. The true caption is: " in alternative(explorer)


def test_the_description_says_where_it_looks_and_where_it_should():
    explorer = opened(told_explorer)
    cells = [cell for cell in range(9) if scenes(3).cells[0, cell] >= 0]
    for word in (1, 3, 4):
        explorer.controls["word"].value = word
        said, weights = told()[0]
        looked = cell_weights(weights[word - 1])
        where = " ".join(said[word - 1 - (word - 1) % 3 :][1:3])
        text = alternative(explorer)
        assert text.startswith(f"The captioner says: {' '.join(said)}. This is the true caption. Word {word}")
        assert f"with {looked.max():.2f} of the weight." in text
        share = looked[cells[(word - 1) // 3]]
        assert text.endswith(f"The cell to be described now is {where}, with {share:.2f} of the weight.")
    explorer.controls["word"].value = len(said)
    assert alternative(explorer).endswith("There is no cell that this word is known to be about.")


def test_the_word_slider_ends_with_the_longest_caption_and_shorter_ones_keep_their_last_word():
    explorer = opened(told_explorer)
    longest = max(len(each.words) for each in told())
    assert settings(explorer.controls["word"])[::2] == [1, longest]
    explorer.controls["scene"].value, explorer.controls["word"].value = 2, longest
    assert explorer.artists.word.get_text() == "<eos>"
    np.testing.assert_array_equal(
        explorer.artists.scene.weights.get_array(), told()[1].weights[-1].view(6, 6)
    )
    text = alternative(explorer)
    assert f"Word {longest} would be after its end, so its last word stays. Word 3 of 3 is <eos>." in text
    assert f"The true caption is: {' '.join(true_captions()[1])}." in text


def test_what_cannot_be_described_is_refused():
    longest = max(len(each.words) for each in told())
    for options, match in (
        ({"scene": 0}, r"scene must lie in 1\.\.3, got 0"),
        ({"scene": 4}, r"scene must lie in 1\.\.3, got 4"),
        ({"word": 0}, rf"word must lie in 1\.\.{longest}, got 0"),
        ({"word": longest + 1}, rf"word must lie in 1\.\.{longest}, got {longest + 1}"),
    ):
        with pytest.raises(ValueError, match=match):
            told_explorer(**options)
    with pytest.raises(ValueError, match="got a captioner with attends=False"):
        caption_explorer(Captioner(attends=False, features=3, embedding_size=3, hidden_size=3), scenes(3))


# ---------------------------------------------------------------------------------------- questions


def test_answers_and_weights_are_the_networks_own():
    explorer, some = opened(asking_explorer), scenes(5, **FOR_QUESTIONS)
    assert explorer.controls["relation"].options == tuple(RELATIONS)
    assert [settings(explorer.controls[name])[::2] for name in ("scene", "digit", "layer")] == [
        [1, 5],
        [0, 9],
        [1, LAYERS],
    ]
    for scene, relation, digit, layer in ((1, "right of", 3, 1), (4, "below", 7, 2)):
        for name, value in {"scene": scene, "relation": relation, "digit": digit, "layer": layer}.items():
            explorer.controls[name].value = value
        tokens = QUESTION_WORDS.encode(question(relation, digit).split())[None]
        with torch.no_grad():
            own = answerer()(some.images[[scene - 1]], tokens)
        p, looked = own.logits.softmax(-1)[0], own.weights[layer - 1][0].mean(0)[0]
        np.testing.assert_allclose([bar.get_width() for bar in explorer.artists.answer.bars], p)
        np.testing.assert_array_equal(explorer.artists.scene.weights.get_array(), looked[1:].view(3, 3))
        text = alternative(explorer)
        assert f"The question: {question(relation, digit)}? The network says {ANSWERS[p.argmax()]} " in text
        assert f"with probability {p.max():.2f}." in text
        assert f"In layer {layer} of {LAYERS} the question attends most to these cells: " in text
        assert f" {looked[1:].max():.2f}, " in text and text.endswith(f"to itself: {looked[0]:.2f}.")
        for cell, held in enumerate(some.cells[scene - 1].tolist()):
            place = f"{'top middle bottom'.split()[cell // 3]} {'left center right'.split()[cell % 3]}"
            assert held < 0 or f"{place} {DIGIT_WORDS[held]}" in text.split(". ")[0]


def test_it_begins_with_a_digit_that_has_a_neighbour_there():
    explorer = asking_explorer(relation="below", scene=2, layer=2)
    trace, cells = explorer.trace, scenes(5, **FOR_QUESTIONS).cells[1].tolist()
    assert explorer.values == {"scene": 2, "relation": "below", "digit": trace.digit, "layer": 2}
    assert trace.cells == cells and cells[cells.index(trace.digit) + 3] == trace.right != NOTHING
    assert f"The right answer is {ANSWERS[trace.right]}." in alternative(explorer)


def test_digits_that_are_missing_or_there_twice_have_no_right_answer():
    cells = torch.tensor([[7, 7, -1, -1, -1, -1, -1, -1, 2]])
    explorer = question_explorer(answerer(), Scenes(scenes(1).images, cells))
    assert explorer.values["digit"] == 0  # no digit has a neighbour whose name it alone has
    for digit, text in (
        (0, "There is no zero here, so there is no right answer."),
        (7, "The seven is here 2 times, so there is no one right answer."),
        (2, "The right answer is nothing."),
    ):
        explorer.controls["digit"].value = digit
        assert explorer.error == "" and text in alternative(explorer)
        assert explorer.artists.answer.right.get_text() == ("right answer" if digit == 2 else "")


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"scene": 6}, r"scene must lie in 1\.\.5, got 6"),
        ({"relation": "beside", "digit": 1}, "relation must be one of left of, right of, above, below"),
        ({"relation": "beside"}, "relation must be one of left of, right of, above, below"),
        ({"digit": 10}, r"digit must lie in 0\.\.9, got 10"),
        ({"layer": 3}, r"layer must lie in 1\.\.2, got 3"),
    ],
)
def test_a_beginning_that_is_not_there_is_refused(wrong, match):
    with pytest.raises(ValueError, match=match):
        asking_explorer(**wrong)
