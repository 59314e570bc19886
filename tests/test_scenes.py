"""Scenes hold the digits that they are said to hold, and captions and questions say what is where."""

import re
from collections import Counter
from functools import cache

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch.testing import assert_close

from seqlib.data import Digits, digits
from seqlib.pairs import EOS, PAD, SOS
from seqlib.scenes import (
    ANSWERS,
    CAPTION_WORDS,
    NOTHING,
    QUESTION_WORDS,
    ask,
    captions,
    described_cells,
    distorted,
    draw_scenes,
    question,
)

NAMES = "zero one two three four five six seven eight nine".split()
PLACES = [
    *("top left", "top center", "top right"),
    *("middle left", "middle center", "middle right"),
    *("bottom left", "bottom center", "bottom right"),
]
STEPS = {"left of": (0, -1), "right of": (0, 1), "above": (-1, 0), "below": (1, 0)}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@cache
def glyphs():
    """23 pictures that are all different, of all ten digits."""
    return Digits(torch.rand(23, 8, 8, generator=generator(1)), torch.arange(23) % 10)


def pieces(image):
    """The nine cells of a picture, one after the other."""
    return [
        image[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] for row in range(3) for column in range(3)
    ]


# ------------------------------------------------------------------------------------------- scenes

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9)).map(sorted)


@given(sizes, st.booleans(), st.integers(0, 2**31))
@settings(max_examples=20)
def test_every_cell_shows_an_example_of_its_digit_or_nothing(sizes, distinct, seed):
    fewest, most = sizes
    images, cells = draw_scenes(
        11, glyphs(), fewest=fewest, most=most, distinct=distinct, generator=generator(seed)
    )
    assert images.shape == (11, 24, 24) and cells.shape == (11, 9)
    for image, scene in zip(images, cells.tolist(), strict=True):
        present = [digit for digit in scene if digit != -1]
        assert fewest <= len(present) <= most
        assert not distinct or len(set(present)) == len(present)
        for piece, digit in zip(pieces(image), scene, strict=True):
            examples = torch.zeros(1, 8, 8) if digit == -1 else glyphs().images[glyphs().labels == digit]
            assert (piece == examples).all((1, 2)).any()


@cache
def many(distinct):
    return draw_scenes(2003, glyphs(), fewest=2, most=6, distinct=distinct, generator=generator())


either = pytest.mark.parametrize("distinct", [False, True])


@either
def test_every_number_of_digits_every_cell_and_every_digit_is_equally_likely(distinct):
    cells = many(distinct).cells
    present = cells >= 0
    assert present.sum(1).unique().tolist() == [2, 3, 4, 5, 6]
    for counts in (present.sum(1).bincount()[2:], present.sum(0), cells[present].bincount()):
        assert chisquare(counts).pvalue > 1e-4
    assert distinct != any(len(set(row[row >= 0].tolist())) < (row >= 0).sum() for row in cells)


def test_every_example_is_seen_and_those_of_one_digit_equally_often():
    images, cells = many(False)
    shown = images.unfold(1, 8, 8).unfold(2, 8, 8).flatten(1, 2)[cells >= 0]  # one picture for each digit
    counts = (shown[:, None] == glyphs().images).all((2, 3)).sum(0)
    assert counts.sum() == (cells >= 0).sum()
    for digit in range(10):
        assert chisquare(counts[glyphs().labels == digit]).pvalue > 1e-4


def test_a_full_scene_may_have_nine_different_digits():
    cells = draw_scenes(13, glyphs(), fewest=9, most=9, distinct=True, generator=generator()).cells
    assert all(len(set(scene)) == 9 and -1 not in scene for scene in cells.tolist())


@pytest.mark.parametrize("distort", [False, True])
def test_scenes_depend_on_nothing_but_the_generator(distort):
    state = torch.get_rng_state()
    first, same, other = (
        draw_scenes(7, glyphs(), distort=distort, generator=generator(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first.images, same.images) and torch.equal(first.cells, same.cells)
    assert not torch.equal(first.images, other.images) and not torch.equal(first.cells, other.cells)
    assert torch.equal(torch.get_rng_state(), state)


def test_distorting_changes_the_pictures_within_their_cells_and_nothing_else():
    plain, bent = (
        draw_scenes(17, glyphs(), distort=distort, generator=generator()) for distort in (False, True)
    )
    assert torch.equal(plain.cells, bent.cells)
    for before, after, scene in zip(plain.images, bent.images, plain.cells.tolist(), strict=True):
        for old, new, digit in zip(pieces(before), pieces(after), scene, strict=True):
            assert torch.equal(old, new) == (digit == -1)


# --------------------------------------------------------------------------------------- distortion


def test_distorted_digits_keep_their_shape_their_range_and_almost_all_their_ink():
    images = digits()[0].images
    bent = distorted(images, generator=generator())
    assert bent.shape == images.shape and bent.dtype == images.dtype
    assert bent.min() >= 0 and bent.max() <= 1
    assert 0.9 < bent.mean() / images.mean() < 1  # a little leaves the cell
    by_digit = [
        (bent[digits()[0].labels == d].mean() / images[digits()[0].labels == d].mean()) for d in range(10)
    ]
    assert min(by_digit) > 0.88 and max(by_digit) < 1
    assert distorted(images[:5, 1:], generator=generator()).shape == (5, 7, 8)


def test_each_picture_is_turned_stretched_slanted_and_shifted_as_much_as_is_said():
    # A ramp's values are its places, and interpolating them is exact: it shows where each pixel comes from.
    ramp = ((2 * torch.arange(23.0) + 1) / 23 - 1).expand(101, 23, 23)
    x, y = (distorted(picture, generator=generator()) for picture in (ramp, ramp.mT))
    middle = slice(8, 15)  # comes from within the picture
    sources = torch.stack([x, y], -1)[:, middle, middle].flatten(1, 2)  # (101, places, 2)
    places = torch.stack([ramp[0], ramp[0].mT, torch.ones(23, 23)], -1)[middle, middle].flatten(0, 1)
    maps = (torch.linalg.pinv(places) @ sources).mT  # (101, 2, 3)
    assert_close(places @ maps.mT, sources, rtol=0, atol=1e-5)  # affine

    angle = -maps[:, 1, 0].asin()
    slant = maps[:, 1, 0] + maps[:, 0, 1]
    stretch = maps[:, [0, 1], [0, 1]] / angle.cos()[:, None] - 1
    shift = maps[:, :, 2]  # of a picture that reaches from -1 to 1
    for found, limit in ((angle, 0.25), (slant, 0.25), (stretch, 0.15), (shift, 0.25)):
        assert 0.9 * limit < found.max() <= limit + 1e-5
        assert -limit - 1e-5 <= found.min() < -0.9 * limit
        assert found.mean().abs() < 0.25 * limit
    drawn = torch.cat([angle[:, None], slant[:, None], stretch, shift], 1)
    assert (drawn.T.corrcoef() - torch.eye(6)).abs().max() < 0.4  # none says anything about another


# ----------------------------------------------------------------------------------------- captions

scenes = st.lists(st.lists(st.integers(-1, 9), min_size=9, max_size=9), min_size=1, max_size=5)


@given(scenes)
@settings(max_examples=50)
def test_captions_name_each_digit_and_its_place_row_by_row(cells):
    said = captions(torch.tensor(cells)).tolist()
    assert len(said[0]) == 1 + 3 * max(9 - scene.count(-1) for scene in cells)
    for scene, caption in zip(cells, said, strict=True):
        expected = " ".join(
            f"{NAMES[digit]} {place}" for digit, place in zip(scene, PLACES, strict=True) if digit != -1
        )
        end = caption.index(EOS)
        assert " ".join(CAPTION_WORDS.decode(caption[:end])) == expected
        assert set(caption[end + 1 :]) <= {PAD}


@given(scenes)
@settings(max_examples=50)
def test_each_word_of_a_caption_is_about_the_cell_that_its_three_words_name(cells):
    said, described = captions(torch.tensor(cells)), described_cells(torch.tensor(cells))
    assert torch.equal(described == -1, (said == EOS) | (said == PAD))
    for caption, row, scene in zip(said, described.tolist(), cells, strict=True):
        words = CAPTION_WORDS.decode(caption)
        for t in range(0, words.index("<eos>"), 3):
            cell = PLACES.index(" ".join(words[t + 1 : t + 3]))
            assert row[t : t + 3] == [cell] * 3
            assert NAMES[scene[cell]] == words[t]


def test_a_caption_by_hand():
    cells = torch.full((2, 9), -1)
    cells[0, [0, 4]] = torch.tensor([3, 7])
    assert CAPTION_WORDS.decode(captions(cells)[0]) == "three top left seven middle center <eos>".split()
    assert captions(cells)[1].tolist() == [EOS] + [PAD] * 6
    assert described_cells(cells).tolist() == [[0, 0, 0, 4, 4, 4, -1], [-1] * 7]


def test_the_vocabularies_hold_the_special_tokens_and_every_word_once():
    assert set(CAPTION_WORDS[3:]) == {*NAMES, *" ".join(PLACES).split()}
    assert set(QUESTION_WORDS[3:]) == {*NAMES, *"what is the left right of above below".split()}
    for vocabulary in (CAPTION_WORDS, QUESTION_WORDS):
        assert [vocabulary[number] for number in (PAD, SOS, EOS)] == ["<pad>", "<sos>", "<eos>"]
    assert ANSWERS == (*NAMES, "nothing") and ANSWERS[NOTHING] == "nothing"


# ---------------------------------------------------------------------------------------- questions


def parsed(tokens):
    """Relation and digit of a question, which is filled up with padding."""
    text = " ".join(QUESTION_WORDS.decode(tokens))
    relation, name = re.fullmatch(
        r"what is (left of|right of|above|below) the (\w+)( <pad>)*", text
    ).groups()[:2]
    return relation, NAMES.index(name)


def beside(scene, cell, relation):
    """What is in the cell beside this one."""
    row, column = cell // 3 + STEPS[relation][0], cell % 3 + STEPS[relation][1]
    there = row in range(3) and column in range(3) and scene[3 * row + column] != -1
    return NAMES[scene[3 * row + column]] if there else "nothing"


@given(scenes, st.integers(0, 2**31))
@settings(max_examples=50)
def test_the_answer_is_what_is_beside_the_only_digit_of_that_name(cells, seed):
    assume(all(any(scene.count(digit) == 1 for digit in range(10)) for scene in cells))
    tokens, answers = ask(torch.tensor(cells), generator=generator(seed))
    assert (tokens != PAD).any(0).all()  # no wider than the longest question
    for scene, asked, answer in zip(cells, tokens, answers.tolist(), strict=True):
        relation, digit = parsed(asked)
        assert scene.count(digit) == 1
        assert ANSWERS[answer] == beside(scene, scene.index(digit), relation)


# A full scene, one with gaps and a digit that is there twice, and a digit alone.
SCENES = [[0, 1, 2, 3, 4, 5, 6, 7, 8], [9, 5, 9, -1, 2, -1, 7, -1, 0], [-1, -1, -1, -1, 3, -1, -1, -1, -1]]


@pytest.mark.parametrize("scene", SCENES)
def test_every_question_is_asked_and_thrice_as_often_where_there_is_something(scene):
    likely = {
        (relation, digit): 1 if beside(scene, cell, relation) == "nothing" else 3
        for relation in STEPS
        for cell, digit in enumerate(scene)
        if digit != -1 and scene.count(digit) == 1
    }
    tokens = ask(torch.tensor([scene] * 3001), generator=generator()).tokens
    asked = Counter(map(parsed, tokens))
    assert asked.keys() == likely.keys()
    expected = [3001 * weight / sum(likely.values()) for weight in likely.values()]
    assert chisquare([asked[key] for key in likely], expected).pvalue > 1e-4


def test_questions_depend_on_nothing_but_the_generator():
    cells = many(True).cells[:101]
    state = torch.get_rng_state()
    first, same, other = (ask(cells, generator=generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.tokens, same.tokens) and torch.equal(first.answers, same.answers)
    assert not torch.equal(first.answers, other.answers)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_question_in_words():
    assert question("left of", 3) == "what is left of the three"
    assert question("below", 0) == "what is below the zero"


# ------------------------------------------------------------------------------------- wrong inputs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"fewest": 0}, r"fewest and most must lie in 1\.\.9, fewest first, got 0 and 4"),
        ({"fewest": 5}, r"fewest and most must lie in 1\.\.9, fewest first, got 5 and 4"),
        ({"most": 10}, r"fewest and most must lie in 1\.\.9, fewest first, got 2 and 10"),
        (
            {"digits": Digits(torch.zeros(3, 8, 8), torch.tensor([0, 1, 3]))},
            r"digits must have an example of each of 0\.\.9, got none of 2",
        ),
    ],
)
def test_scenes_that_cannot_be_drawn_are_refused(learner, options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        draw_scenes(**{"count": 3, "digits": glyphs(), "generator": generator()} | options)


@pytest.mark.parametrize(
    "function", [captions, described_cells, lambda cells: ask(cells, generator=generator())]
)
@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (torch.zeros(9, dtype=torch.int64), r"cells must have shape \(N, 9\) with N > 0, got \(9,\)"),
        (torch.zeros(2, 8, dtype=torch.int64), r"cells must have shape \(N, 9\) with N > 0, got \(2, 8\)"),
        (torch.zeros(0, 9, dtype=torch.int64), r"cells must have shape \(N, 9\) with N > 0, got \(0, 9\)"),
        (torch.arange(9)[None] + 2, r"cells must lie in -1\.\.9, got 2\.\.10"),
        (torch.arange(9)[None] - 2, r"cells must lie in -1\.\.9, got -2\.\.6"),
    ],
)
def test_cells_that_are_no_scene_are_refused(learner, function, cells, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        function(cells)


@pytest.mark.parametrize("scene", [[-1] * 9, [4] * 9, [4, 4, *[-1] * 5, 0, 0]])
def test_nothing_can_be_asked_about_a_scene_without_a_digit_that_is_there_only_once(learner, scene):
    message = "^cells must have a digit in each scene that is there only once$"
    with pytest.raises(ValueError, match=message):
        ask(torch.tensor([SCENES[0], scene]), generator=generator())


def test_a_relation_and_a_digit_that_there_are_not_are_refused(learner):
    with pytest.raises(
        ValueError, match="^relation must be one of left of, right of, above, below, got 'under'$"
    ):
        question("under", 3)
    with pytest.raises(ValueError, match=r"^digit must lie in 0\.\.9, got 10$"):
        question("above", 10)
