import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.text import Text

from seqlib.data import digits
from seqlib.figures.style import look, new_figure
from seqlib.figures.vision.captions import (
    CAPTION_SIZE,
    CaptionView,
    QuestionView,
    draw_caption,
    draw_question,
    plot_answer,
    plot_caption,
    plot_scenes,
    update_answer,
    update_caption,
    update_question,
)
from seqlib.scenes import (
    ANSWERS,
    CAPTION_WORDS,
    DIGIT_WORDS,
    FOR_QUESTIONS,
    NOTHING,
    QUESTION_WORDS,
    Scenes,
    ask,
    captions,
    described_cells,
    draw_scenes,
)
from seqlib.vision import Answer, Description, cell_weights

matplotlib.use("agg")

CAPTION = "two middle right four bottom left <eos>".split()
CELLS = [5, 5, 5, 6, 6, 6, -1]
SCENE = torch.tensor([[-1, -1, -1, -1, -1, 2, 4, -1, -1]])


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def scenes(count, **options):
    return draw_scenes(count, digits()[1], generator=torch.Generator().manual_seed(0), **options)


def some_weights(*shape, seed=0):
    return (3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))).softmax(-1)


def some_caption(words):
    return Description(list(words), some_weights(len(words), 36))


def picture():
    return torch.rand(24, 24, generator=torch.Generator().manual_seed(1))


def outlined(line):
    """The cells that a line goes around."""
    x, y = map(np.asarray, line.get_data())
    middles = [(x[k : k + 4].mean(), y[k : k + 4].mean()) for k in range(0, len(x), 6)]
    return [int(3 * (y // 1) + x // 1) for x, y in middles]


def outlines(ax):
    return [cell for line in ax.lines if line.get_path_effects() for cell in outlined(line)]


def check_texts(figure):
    """They are large enough and on the page."""
    figure.draw_without_rendering()  # nor is there a warning of a letter that is missing
    for text in figure.findobj(lambda part: isinstance(part, Text) and part.get_text().strip()):
        box = text.get_window_extent()
        assert text.get_fontsize() >= 10, text
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1, text
        assert box.y0 >= 0 and box.y1 <= figure.bbox.y1, text


def overlapping(texts):
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    return any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])


# ------------------------------------------------------------------------------------------- scenes


def test_scenes_are_drawn_with_lines_between_their_cells_and_wrapped_titles():
    some = scenes(5)
    texts = [" ".join(CAPTION_WORDS.decode(words)) for words in captions(some.cells)]
    axes = plot_scenes(some, texts, columns=3)
    check_texts(axes[0].figure)
    for ax, image, text in zip(axes, some.images, texts, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), image)
        assert ax.get_title().split() == text.split()
        assert max(map(len, ax.get_title().split("\n"))) <= 21
        places = {(*line.get_xdata(), *line.get_ydata()) for line in ax.lines}
        assert places == {(0, 1, 7.5, 7.5), (0, 1, 15.5, 15.5), (7.5, 7.5, 0, 1), (15.5, 15.5, 0, 1)}
    assert not overlapping([ax.title for ax in axes])


def test_lines_of_a_title_stay_lines():
    [ax] = plot_scenes(scenes(1), ["two top left\nfour middle right and so on"])
    assert ax.get_title() == "two top left\nfour middle right and\nso on"


def test_scenes_may_go_without_titles():
    axes = plot_scenes(scenes(3))
    assert [ax.get_title() for ax in axes] == [""] * 3


def test_scenes_that_cannot_be_drawn_are_refused(learner):
    some = scenes(2)
    for wrong, options, match in (
        (Scenes(some.images[:0], some.cells[:0]), {}, "images must hold at least one image, got none"),
        (some, {"titles": ["a"]}, "titles must be as many as the 2 images, got 1"),
        (some, {"columns": 0}, "columns must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=match):
            plot_scenes(wrong, **options)


# ----------------------------------------------------------------------------------------- captions


def test_each_word_has_its_own_map_over_the_same_ink():
    description, image = some_caption(CAPTION), picture()
    axes = plot_caption(description, image)
    check_texts(axes[0].figure)
    assert [ax.get_title() for ax in axes] == CAPTION
    for ax, weights in zip(axes, description.weights, strict=True):
        looked, ink = ax.images
        np.testing.assert_array_equal(looked.get_array(), weights.view(6, 6))
        np.testing.assert_array_equal(ink.get_array(), image)
        assert looked.get_extent() == ink.get_extent() and looked.get_zorder() < ink.get_zorder()
        assert outlines(ax) == []


def test_the_outlined_cell_holds_the_digit_that_the_words_describe():
    some = scenes(2)
    for image, cells, described, caption in zip(
        *some, described_cells(some.cells), captions(some.cells), strict=True
    ):
        words = CAPTION_WORDS.decode(caption[caption != 0])
        axes = plot_caption(some_caption(words), image, described=described)
        for k, ax in enumerate(axes[:-1]):
            [cell] = outlines(ax)
            assert DIGIT_WORDS[cells[cell]] == words[k - k % 3]
        assert words[-1] == "<eos>" and outlines(axes[-1]) == []


def test_the_outline_lies_around_the_place_in_the_picture():
    axes = plot_caption(some_caption(CAPTION), picture(), described=torch.tensor(CELLS))
    assert axes[0].images[0].get_extent() == [0, 3, 3, 0]
    for ax, (row, column) in ((axes[0], (1, 2)), (axes[3], (2, 0))):
        [line] = [line for line in ax.lines if line.get_path_effects()]
        x, y = map(np.asarray, line.get_data())
        assert (np.nanmin(x), np.nanmax(x)) == (column, column + 1)
        assert (np.nanmin(y), np.nanmax(y)) == (row, row + 1)
    [legend] = axes[0].figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["outlined: the cell that the word is about"]


@pytest.mark.parametrize(("words", "rows"), [(1, [1]), (6, [6]), (7, [7]), (10, [6, 4]), (13, [6, 7])])
def test_two_digits_stand_in_a_row_and_the_end_token_never_alone(words, rows):
    axes = plot_caption(some_caption(["middle"] * words), picture(), described=torch.tensor([0]))
    check_texts(axes[0].figure)
    found = {}
    for ax in axes:
        found.setdefault(round(ax.get_position().y0, 2), []).append(ax)
    assert [len(row) for row in found.values()] == rows
    assert outlines(axes[0]) == [0] and not any(map(outlines, axes[1:]))


def test_what_is_no_caption_is_refused():
    for words, cells, match in (
        ([], CELLS, "description must have at least one word, got none"),
        (CAPTION, [0, 9], r"described must lie in -1\.\.8, got 9"),
        (CAPTION, [-2], r"described must lie in -1\.\.8, got -2"),
    ):
        with pytest.raises(ValueError, match=match):
            plot_caption(some_caption(words), picture(), described=torch.tensor(cells))


def luminance(colours):
    return np.asarray(colours)[..., :3] ** 2.2 @ [0.2126, 0.7152, 0.0722]


def test_more_weight_is_darker_and_ink_is_seen_on_all_of_it():
    [ax, *_] = plot_caption(some_caption(CAPTION), picture())
    looked, ink = ax.images
    paper = luminance(looked.cmap(np.linspace(0, 1, 101)))
    assert (np.diff(paper) < 0).all()
    inked = luminance((1 - ink.cmap(1.0)[3]) * looked.cmap(np.linspace(0, 1, 101))[:, :3])
    assert ((paper + 0.05) / (inked + 0.05) > 3).all()  # WCAG 2 asks this of what is no text


def caption_view(said, word, true=CAPTION):
    return CaptionView(picture(), some_caption(said), list(true), CELLS, word)


def test_a_view_knows_its_cell_as_long_as_the_words_before_are_right():
    wrong = "two middle left four bottom left <eos>".split()
    assert [caption_view(CAPTION, k).cell for k in range(1, 8)] == [5, 5, 5, 6, 6, 6, None]
    assert [caption_view(wrong, k).cell for k in range(1, 8)] == [5, 5, 5, None, None, None, None]
    longer = [*CAPTION[:-1], "two", "<eos>"]
    assert [caption_view(longer, k).cell for k in range(5, 9)] == [6, 6, None, None]
    assert caption_view(CAPTION[:3], 9).place == 3
    view = caption_view(CAPTION, 4)
    assert view.share == pytest.approx(float(cell_weights(view.said.weights[3])[6]))
    assert caption_view(CAPTION, 7).share is None


def caption_picture(words=13):
    with look():
        figure, axes = new_figure(*CAPTION_SIZE, ncols=3)
        figure.set_layout_engine("none")
        return draw_caption(axes, words=words)


def test_the_caption_stands_beside_its_map_and_the_true_one_where_they_differ():
    artists, wrong = caption_picture(), "two middle left seven <eos>".split()
    for said, word, cells in ((CAPTION, 4, [6]), (wrong, 3, [5]), (wrong, 5, []), (CAPTION, 11, [])):
        view = caption_view(said, word)
        update_caption(artists, view)
        k = min(word, len(said)) - 1
        np.testing.assert_array_equal(artists.scene.weights.get_array(), view.said.weights[k].view(6, 6))
        np.testing.assert_array_equal(artists.scene.ink.get_array(), view.image)
        assert outlined(artists.outline) == cells
        assert [text.get_text() for text in artists.said if text.get_text()] == said
        assert [text.get_text() for text in artists.true if text.get_text()] == (
            CAPTION if said is wrong else []
        )
        assert artists.true_heading.get_text() == ("the true caption" if said is wrong else "")
        assert artists.word.get_text() == said[k] and artists.word.get_fontweight() == "bold"
        assert artists.word.get_position() == artists.said[k].get_position()
        assert artists.title.get_text() == f"word {k + 1} of {len(said)}: “{said[k]}”"
        note = artists.share.get_text()
        assert f"{view.share:.2f} of the weight" in note if cells else note.startswith("No cell is outlined")
        assert not overlapping([*artists.said, *artists.true, artists.share])
        check_texts(artists.title.figure)


def test_captions_and_words_without_room_are_refused():
    artists = caption_picture(words=7)
    for view, match in (
        (caption_view(CAPTION, 0), "word must be at least 1, got 0"),
        (caption_view(["two"] * 10, 1), "captions must have at most 9 words, got 10 and 7"),
        (caption_view(CAPTION, 1, true=["two"] * 11), "captions must have at most 9 words, got 7 and 11"),
    ):
        with pytest.raises(ValueError, match=match):
            update_caption(artists, view)


# ---------------------------------------------------------------------------------------- questions


def test_bars_are_the_probabilities_and_the_largest_is_dark():
    p = some_weights(11)
    ax = plot_answer(p, right=NOTHING)
    check_texts(ax.figure)
    assert [label.get_text() for label in ax.get_yticklabels()] == list(ANSWERS)
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], p)
    best = int(p.argmax())
    darkness = [-luminance(bar.get_facecolor()) for bar in ax.patches]
    assert darkness.index(max(darkness)) == best and darkness.count(max(darkness)) == 1
    *numbers, right = ax.texts
    assert [number.get_text() for number in numbers] == [
        f"{share:.2f}" if share >= 0.005 else "" for share in p.tolist()
    ]
    assert [number.get_fontweight() == "bold" for number in numbers] == [k == best for k in range(11)]
    assert right.get_text() == "right answer" and right.get_position()[1] == NOTHING


def test_there_is_no_note_where_no_answer_is_right():
    ax = plot_answer(some_weights(11), ax=new_figure(5, 3)[1])
    assert ax.texts[-1].get_text() == ""


def test_answers_that_are_not_there_are_refused():
    for p, options, match in (
        (some_weights(7), {}, "probabilities must be one for each of the 11 answers, got 7"),
        (some_weights(11), {"right": 11}, r"right must lie in 0\.\.10, got 11"),
        (some_weights(11), {"right": -1}, r"right must lie in 0\.\.10, got -1"),
    ):
        with pytest.raises(ValueError, match=match):
            plot_answer(p, **options)


def question_view(cells, relation, digit, layer=1):
    logits = torch.randn(1, 11, generator=torch.Generator().manual_seed(2))
    weights = tuple(some_weights(1, 2, 10, 10, seed=seed) for seed in range(3))
    return QuestionView(picture(), list(cells), relation, digit, layer, Answer(logits, weights))


def test_right_answers_are_those_that_the_network_is_trained_on():
    generator, some = torch.Generator().manual_seed(3), scenes(100, **FOR_QUESTIONS)
    asked = ask(some.cells, generator=generator)
    outside = 0
    for cells, tokens, answer in zip(some.cells.tolist(), asked.tokens, asked.answers.tolist(), strict=True):
        words = [word for word in QUESTION_WORDS.decode(tokens) if word != "<pad>"]
        view = question_view(cells, " ".join(words[2:-2]), DIGIT_WORDS.index(words[-1]))
        assert view.right == answer
        assert view.beside is None or view.cells[view.beside] == (-1 if answer == NOTHING else answer)
        outside += view.beside is None
    assert 0 < outside < 50


def question_picture():
    with look():
        figure, axes = new_figure(10, 4.6, ncols=2)
        return draw_question(axes)


CELLS_ASKED = [5, -1, 3, -1, 7, 8, 3, 0, -1]


@pytest.mark.parametrize(
    ("relation", "digit", "asked", "beside", "right", "title"),
    [
        ("left of", 8, [5], [4], 7, "what it answers"),
        ("above", 7, [4], [1], NOTHING, "what it answers"),
        ("above", 5, [0], [], NOTHING, "what it answers"),
        ("right of", 8, [5], [], NOTHING, "what it answers"),
        ("below", 7, [4], [7], 0, "what it answers"),
        ("below", 3, [2, 6], [], None, "the three is here 2 times: what does it say?"),
        ("below", 9, [], [], None, "there is no nine here: what does it say?"),
    ],
)
def test_the_asked_digit_and_its_neighbour_are_outlined_differently(
    relation, digit, asked, beside, right, title
):
    artists, view = question_picture(), question_view(CELLS_ASKED, relation, digit, layer=2)
    update_question(artists, view)
    assert outlined(artists.asked) == asked and outlined(artists.beside) == beside
    assert artists.asked.get_linestyle() != artists.beside.get_linestyle()
    assert view.right == right
    assert artists.answer.right.get_text() == ("" if right is None else "right answer")
    assert right is None or artists.answer.right.get_position()[1] == right
    found = [text.get_text() for text in artists.titles]
    assert found == [f"what is {relation} the {DIGIT_WORDS[digit]}?", title]


def test_cells_show_the_mean_of_all_heads_of_one_layer():
    artists = question_picture()
    for layer in (1, 3):
        view = question_view(CELLS_ASKED, "above", 8, layer=layer)
        update_question(artists, view)
        looked = view.answer.weights[layer - 1][0].mean(0)[0]
        np.testing.assert_array_equal(artists.scene.weights.get_array(), looked[1:].view(3, 3))
        np.testing.assert_array_equal(artists.scene.ink.get_array(), view.image)
        for cell, (number, share) in enumerate(zip(artists.numbers, looked[1:].tolist(), strict=True)):
            x, y = number.get_position()
            assert (int(y), int(x)) == divmod(cell, 3) and number.get_text() == f"{share:.2f}"
        assert artists.note.get_text().startswith(f"layer {layer}: ")
        assert artists.note.get_text().endswith(f" {looked[0]:.2f}")
        p = view.answer.logits.softmax(-1)[0]
        np.testing.assert_allclose([bar.get_width() for bar in artists.answer.bars], p)


def test_questions_that_are_not_there_are_refused():
    artists = question_picture()
    for change, match in (
        ({"layer": 4}, r"layer must lie in 1\.\.3, got 4"),
        ({"layer": 0}, r"layer must lie in 1\.\.3, got 0"),
        ({"relation": "beside"}, "relation must be one of left of, right of, above, below, got 'beside'"),
        ({"digit": 10}, r"digit must lie in 0\.\.9, got 10"),
    ):
        with pytest.raises(ValueError, match=match):
            update_question(artists, question_view(CELLS_ASKED, "above", 8)._replace(**change))
    with pytest.raises(ValueError, match="one for each of the 11 answers, got 5"):
        update_answer(artists.answer, some_weights(5))
