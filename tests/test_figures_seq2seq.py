from itertools import combinations, pairwise

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.text import Text

from seqlib.decoding import beam_search
from seqlib.figures.seq2seq import (
    Answered,
    BeamRow,
    Bottleneck,
    ForcedShares,
    aligned,
    as_text,
    beam_size,
    beam_view,
    bin_labels,
    bottleneck_heights,
    draw_beam,
    draw_bottleneck,
    draw_forced,
    exact_by_length,
    example_lines,
    plot_encoder_decoder,
    plot_exact_by_length,
    shortened,
    update_beam,
    update_bottleneck,
    update_forced,
)
from seqlib.figures.style import new_figure
from seqlib.pairs import EOS, SOS, SPECIAL, number_pair
from seqlib.vocab import Vocabulary

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def texts(ax):
    return [text.get_text() for text in ax.texts]


def boxes_of(figure, artists):
    return [artist.get_window_extent(figure.canvas.get_renderer()) for artist in artists]


# -------------------------------------------------------------------------------- encoder and decoder

PAIRS = [number_pair(number) for number in (12, 342, 25_000, 6_700_008)]


@pytest.mark.parametrize("pair", PAIRS)
def test_the_encoder_reads_the_source_and_the_decoder_what_it_has_written(pair):
    ax = plot_encoder_decoder(*pair)
    tokens = [text for text in ax.texts if not text.get_text().startswith("$")][:-3]
    rows = {}
    for text in sorted(tokens, key=lambda text: text.get_position()[0]):
        rows.setdefault(text.get_position()[1], []).append(text.get_text())
    below, above = (rows[y] for y in sorted(rows))
    assert below == [*map(as_text, pair.source), "<eos>", "<sos>", *pair.target]
    assert above == [*pair.target, "<eos>"]
    assert texts(ax)[-3:] == ["context", "Encoder", "Decoder"]


def test_every_output_but_the_last_goes_back_to_the_next_input():
    pair = number_pair(342)
    ax = plot_encoder_decoder(*pair)
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    back = [arrow for arrow in arrows if arrow.get_linestyle() == "--"]
    assert len(back) == len(pair.target)
    S, T = len(pair.source) + 1, len(pair.target) + 1
    # into and out of cells, from cell to cell, and the context, which is the thickest
    assert len(arrows) - len(back) == (S + 2 * T) + (S - 1 + T - 1) + 1
    assert sorted(arrow.get_linewidth() for arrow in arrows)[-2:] == [1.2, 3]


def test_cells_of_encoder_and_decoder_are_told_apart_without_colour():
    pair = number_pair(342)
    boxes = [p for p in plot_encoder_decoder(*pair).patches if isinstance(p, FancyBboxPatch)]
    shapes = [type(box.get_boxstyle()).__name__ for box in boxes]
    assert shapes.count("Round") == len(pair.source) + 1
    assert shapes.count("Square") == 2 * (len(pair.target) + 1)  # a double line


@pytest.mark.parametrize("pair", PAIRS)
def test_no_words_of_the_unrolled_picture_overlap_or_are_cut(pair):
    ax = plot_encoder_decoder(*pair)
    ax.figure.draw_without_rendering()  # no letter is missing, or it would warn
    boxes = boxes_of(ax.figure, ax.texts)
    for (x0, y0), (x1, y1) in ((box.min, box.max) for box in boxes):
        assert x0 >= 0 and y0 >= 0 and x1 <= ax.figure.bbox.width and y1 <= ax.figure.bbox.height
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert min(text.get_fontsize() for text in ax.texts) >= 10


def test_a_sequence_without_tokens_has_no_picture():
    for pair, name in (((), ("one",)), "source"), ((("일",), ()), "target"):
        with pytest.raises(ValueError, match=f"{name} must hold at least one token, got none"):
            plot_encoder_decoder(*pair)


def test_axes_that_are_given_are_drawn_on():
    ax = plt.subplots()[1]
    assert plot_encoder_decoder("일", ["one"], ax=ax) is ax
    other = plt.subplots()[1]
    right = {"a": torch.tensor([True])}
    assert plot_exact_by_length(right, torch.tensor([1]), edges=[0, 1], ax=other) is other


# ---------------------------------------------------------------------------------- exact by length


def some_answers(N=211, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(N, generator=g) < 0.6, torch.randint(1, 14, (N,), generator=g)


def test_shares_are_those_of_each_bin_and_lines_show_them():
    right, lengths = some_answers()
    other = ~right
    edges = [0, 4, 5, 11]
    ax = plot_exact_by_length({"plain": right, "other": other}, lengths, edges=edges)
    for line, answers in zip(ax.lines, (right, other), strict=True):
        expected = [
            np.mean([a for a, n in zip(answers.tolist(), lengths.tolist(), strict=True) if low < n <= high])
            for low, high in pairwise(edges)
        ]
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-6)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1-4", "5", "6-11"]
    assert [line.get_label() for line in ax.lines] == ["plain", "other"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["plain", "other"]
    assert ax.get_ylim() == (0, 1)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Characters in the source", "Share of exact answers")
    for of in ("get_marker", "get_linestyle", "get_color"):
        assert getattr(ax.lines[0], of)() != getattr(ax.lines[1], of)()


@settings(max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9)), min_size=1))
def test_bins_taken_together_have_the_share_of_all(answers):
    right, lengths = (torch.tensor(column) for column in zip(*answers, strict=True))
    edges = sorted({0, int(lengths.min()), int(lengths.max())})  # no bin is empty
    counts = [int(((lengths > low) & (lengths <= high)).sum()) for low, high in pairwise(edges)]
    together = np.average(exact_by_length(right, lengths, edges=edges), weights=counts)
    assert together == pytest.approx(right.float().mean().item(), abs=1e-6)


def test_one_line_and_another_name_for_the_lengths():
    right, lengths = some_answers()
    ax = plot_exact_by_length({"a": right}, lengths, edges=[0, 13], xlabel="Words")
    assert ax.get_xlabel() == "Words" and ax.lines[0].get_ydata() == [pytest.approx(right.float().mean())]


def test_sizes_that_do_not_fit_and_empty_bins_are_named(learner):
    right, lengths = some_answers()
    for answers, sizes, edges, match in (
        ({}, lengths, [0, 4], "right must hold at least one line, got none"),
        ({"a": right[1:]}, lengths, [0, 4], "right must be as many as the 211 lengths, got 210"),
        ({"a": right}, lengths, [0, 4, 13, 15, 16], "edges must leave no bin empty, no length lies in 14-15"),
        ({"a": right}, lengths, [0, 4, 4], r"edges must be two or more rising numbers, got \[0, 4, 4\]"),
        ({"a": right}, lengths, [3], r"edges must be two or more rising numbers, got \[3\]"),
    ):
        with pytest.raises(ValueError, match=match):
            plot_exact_by_length(answers, sizes, edges=edges)


# --------------------------------------------------------------------------------------- beam search

WORDS = Vocabulary(["one", "two", "three", "four"], special=SPECIAL)


def random_search(width, *, seed=0, max_length=11, end_bias=1.0):
    """A search in a model whose next token depends on the last one and the step."""
    g = torch.Generator().manual_seed(seed)
    table = 1.5 * torch.randn(max_length, len(WORDS), len(WORDS), generator=g)
    table[:, :, EOS] += end_bias
    return beam_search(
        lambda tokens, t: (table[t, tokens], t + 1),
        torch.tensor([0]),
        start=torch.tensor([SOS]),
        end=EOS,
        width=width,
        max_length=max_length,
    )


SEARCHES = [(width, seed) for width in (1, 2, 5) for seed in (0, 1, 2)]


@pytest.mark.parametrize(("width", "seed"), SEARCHES)
def test_each_row_of_a_beam_continues_its_parent_by_one_token(width, seed):
    search = random_search(width, seed=seed)
    for step in range(1, len(search.steps) + 1):
        view = beam_view(search, WORDS, width=width, step=step)
        assert (view.width, view.step, view.last) == (width, step, len(search.steps))
        assert len(view.rows) == len(search.steps[step - 1].tokens)
        for row, parent in zip(view.rows, view.parents, strict=True):
            begun = view.before[parent]
            assert row.tokens[:-1] == (begun.tokens if step > 1 else ())
            assert not begun.ended
            assert row.log_probability < begun.log_probability
            assert row.probability == pytest.approx(np.exp(row.log_probability))


@pytest.mark.parametrize(("width", "seed"), SEARCHES)
def test_at_its_last_step_the_finished_rows_are_the_searchs_hypotheses(width, seed):
    search = random_search(width, seed=seed)
    view = beam_view(search, WORDS, width=width, step=99)
    assert view.step == view.last == len(search.steps)
    expected = [
        BeamRow(tuple(WORDS.decode(found.tokens)), found.log_probability)
        for found in search.hypotheses
        if found.finished
    ]
    assert list(view.finished) == expected


@pytest.mark.parametrize("step", [1, 2, 4, 11])
def test_words_ways_and_bars_of_a_beam_are_those_of_the_search(step):
    search = random_search(4, seed=3, end_bias=0.0)
    view = beam_view(search, WORDS, width=4, step=step)
    ax = new_figure(*beam_size(5))[1]
    artists = draw_beam(ax, number_pair(342).source, rows=5)
    update_beam(artists, view, note="a note")
    assert "sam baek sa sip i" in texts(ax)
    assert artists.headline.get_text() == f"Step {view.step} of {view.last}, beam width 4"
    assert artists.note.get_text() == "a note"
    places = [text.get_position()[1] for text in artists.begun]
    for k, row in enumerate(view.rows):
        words = [*artists.begun[k].get_text().split(), artists.newest[k].get_text()]
        assert words == list(row.tokens)
        assert artists.newest[k].get_weight() == "bold"
        assert artists.bars[k].get_width() / artists.tracks[k].get_width() == pytest.approx(row.probability)
        assert artists.probabilities[k].get_text() == f"{row.probability:.2f}"
        shown = artists.log_probabilities[k].get_text().replace("−", "-")
        assert float(shown) == pytest.approx(row.log_probability, abs=0.005)
        start, end = artists.ways[k].get_ydata()
        assert abs(start - places[view.parents[k]]) < 0.1 and abs(end - places[k]) < 0.1
    for k, text in enumerate(artists.before):
        last = list(view.before[k].tokens[-2:]) if k < len(view.before) else []
        assert text.get_text().split()[-2:] == last
    for k in range(len(view.rows), 5):
        assert not artists.newest[k].get_visible() and not artists.bars[k].get_visible()
    finished = [text.get_text() for text in artists.finished if text.get_text() not in ("", "none")]
    assert [words.split()[1:] for words in finished] == [list(row.tokens) for row in view.finished]


def test_what_has_ended_is_marked_by_its_token_and_leads_nowhere():
    found = False
    for seed in range(9):
        search = random_search(4, seed=seed)
        for step in range(2, len(search.steps) + 1):
            view = beam_view(search, WORDS, width=4, step=step)
            ended = {k for k, row in enumerate(view.before) if row.ended}
            assert not ended & set(view.parents)
            found = found or bool(ended)
    assert found


def test_a_beam_of_one_row_is_called_greedy():
    artists = draw_beam(new_figure(*beam_size(2))[1], "일", rows=2)
    update_beam(artists, beam_view(random_search(1), WORDS, width=1, step=2))
    assert artists.headline.get_text().endswith("beam width 1: greedy decoding")


def test_a_step_below_1_is_refused():
    with pytest.raises(ValueError, match="step must be at least 1, got 0"):
        beam_view(random_search(2), WORDS, width=2, step=0)


@given(st.lists(st.sampled_from(["a", "bc", "def", "seventeen"])), st.integers(12, 30))
def test_a_shortened_text_fits_and_keeps_its_last_words(words, columns):
    text = " ".join(words)
    short = shortened(text, columns)
    assert len(short) <= columns
    if len(text) <= columns:
        assert short == text
    else:
        assert short.startswith("… ") and words[-1] == short.split()[-1]
        kept = short.split()[1:]
        assert kept == words[-len(kept) :]


def test_a_single_long_word_is_cut_too():
    assert shortened("abcdefghij", 7) == "… fghij"


# ----------------------------------------------------------------------------------- teacher forcing


def test_three_lines_of_shares_are_told_apart_without_colour():
    artists = draw_forced(new_figure(8.5, 4.4)[1], 4)
    rows = [torch.tensor([0.9, 0.8, 0.7, shift]) for shift in (0.4, 0.6, 0.2)]
    update_forced(artists, ForcedShares("1.0", 0.35, *rows))
    for line, values in zip(artists.lines, rows, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
        np.testing.assert_array_equal(line.get_ydata(), values)
    for of in ("get_marker", "get_linestyle"):
        assert len({getattr(line, of)() for line in artists.lines}) == 3
    assert artists.headline.get_text() == "reads the truth with ratio 0.35: 0.70 right on average"


# ---------------------------------------------------------------------------------------- bottleneck

words = st.lists(st.sampled_from(["one", "two", "three", "hundred"]), max_size=9)


@given(words, words)
def test_aligned_words_are_those_of_both_in_their_order(target, answer):
    pairs = aligned(target, answer)
    assert [said for said, _ in pairs if said] == target
    assert [answered for _, answered in pairs if answered] == answer
    assert all(said or answered for said, answered in pairs)
    assert (target == answer) == all(said == answered for said, answered in pairs)


def test_a_missing_word_does_not_make_the_words_after_it_wrong():
    target, answer = "three hundred forty two".split(), "three forty two".split()
    wrong = [pair for pair in aligned(target, answer) if pair[0] != pair[1]]
    assert wrong == [("hundred", "")]


LONG = number_pair(777_777_777_777)
EXAMPLES = (
    Answered(*number_pair(342), answer=("three", "hundred", "fifty", "two")),
    Answered(*LONG, answer=LONG.target),
    Answered(*number_pair(40), answer=()),
)


SHARES = {8: torch.tensor([0.5, 0.0]), 2: torch.tensor([0.25, 0.0])}


def drawn_bottleneck(examples=EXAMPLES, shares=SHARES):
    lines = [len(example_lines(example)) for example in examples]
    heights = bottleneck_heights(lines)
    figure, axes = new_figure(9.5, sum(heights), nrows=2, height_ratios=heights)
    sources = [example.source for example in examples]
    artists = draw_bottleneck(axes, shares, edges=[0, 4, 8], sources=sources, lines=lines)
    update_bottleneck(artists, Bottleneck(8, 0.375, shares[8], examples))
    return figure, artists


def test_all_sizes_stay_in_sight_and_the_chosen_one_is_marked():
    figure, artists = drawn_bottleneck()
    above = figure.axes[0]
    still = [line for line in above.lines if line is not artists.shares]
    assert [line.get_ydata().tolist() for line in still] == [[0.5, 0.0], [0.25, 0.0]]
    np.testing.assert_array_equal(artists.shares.get_xydata(), [[1, 0.5], [2, 0.0]])
    assert artists.shares.get_marker() == "o"
    assert artists.headline.get_text() == "context size 8: 38 % of all answers exact"
    assert [label.get_text() for label in above.get_xticklabels()] == bin_labels([0, 4, 8])


def test_every_size_stands_beside_the_end_of_its_line_and_has_its_marker():
    ends = [0.0, 0.0, 0.97, 0.31, 0.99, 0.33]  # some meet
    shares = {k: torch.tensor([(9 - k) / 10, end]) for k, end in enumerate(ends, start=3)}
    figure, artists = drawn_bottleneck(shares=shares)
    figure.draw_without_rendering()  # no sign is missing, or it would warn
    above = figure.axes[0]
    led = [text for text in above.texts if getattr(text, "arrow_patch", None)]  # a line leads to its end
    labels = {int(text.get_text().split()[1]): text for text in led}
    assert {size: label.xy for size, label in labels.items()} == {
        size: (2, values[-1]) for size, values in shares.items()
    }
    upwards = sorted(labels.values(), key=lambda label: label.get_position()[1])
    assert [label.xy[1] for label in upwards] == sorted(label.xy[1] for label in upwards)  # none cross
    assert upwards.index(labels[4]) < upwards.index(labels[3])  # both end at 0, and 3 comes from above
    boxes = [Text.get_window_extent(text) for text in above.texts]  # without the lines that lead there
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(box.x1 <= figure.bbox.width for box in boxes)
    markers = [line.get_marker() for line in above.lines]
    assert len(set(markers)) == len(shares) + 1 == len({label.get_text()[0] for label in upwards}) + 1


def test_right_and_wrong_words_share_a_line_and_only_wrong_ones_are_underlined():
    _, artists = drawn_bottleneck()
    for example, lines in zip(EXAMPLES, artists.examples, strict=True):
        target = [word for line in lines for word in line.target.get_text().split()]
        assert target == list(example.target)
        answered = []
        for line in lines:
            right, wrong, under = (text.get_text() for text in line[1:])
            assert len(right) == len(wrong) == len(under)
            assert all(a == " " or b == " " for a, b in zip(right, wrong, strict=True))
            assert all(b == "_" for a, b in zip(wrong, under, strict=True) if a != " ")
            assert all(b == " " for a, b in zip(right, under, strict=True) if a != " ")
            together = (a if b == " " else b for a, b in zip(right, wrong, strict=True))
            answered += "".join(together).split()
            assert line.wrong.get_weight() == "bold"
        assert answered == list(example.answer)
    first, exact, empty = artists.examples
    assert first[0].wrong.get_text().split() == ["fifty"]
    assert all(not line.underline.get_text().strip() for line in exact) and len(exact) > 1
    assert empty[0].underline.get_text().split() == ["_" * len("forty")]  # what is missing


def test_words_of_another_size_leave_nothing_behind():
    figure, artists = drawn_bottleneck()
    shorter = tuple(example._replace(target=("one",), answer=("one",)) for example in EXAMPLES)
    update_bottleneck(artists, Bottleneck(2, 0.125, torch.tensor([0.25, 0.0]), shorter))
    for lines in artists.examples:
        assert [line.right.get_text().strip() for line in lines] == ["one"] + [""] * (len(lines) - 1)
        assert not any(line.wrong.get_text().strip() or line.underline.get_text().strip() for line in lines)


@pytest.mark.parametrize("dpi", [72, 110])
def test_examples_fit_in_the_figure(dpi):
    figure, artists = drawn_bottleneck()
    figure.set_dpi(dpi)
    figure.draw_without_rendering()
    drawn = [text for lines in artists.examples for line in lines for text in line if text.get_text()]
    [note] = [text for text in figure.axes[1].texts if text.get_text().startswith("underlined: wrong or")]
    assert not note.get_window_extent().overlaps(figure.axes[0].xaxis.label.get_window_extent())
    for box in boxes_of(figure, drawn):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height
    assert min(text.get_fontsize() for ax in figure.axes for text in ax.texts) >= 10
