import math

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from seqlib.figures.common import ink_on
from seqlib.figures.probability import (
    Forecasting,
    Shuffled,
    ShuffleSpread,
    draw_forecast,
    draw_shuffled,
    draw_surprisal,
    plot_perplexity,
    update_forecast,
    update_shuffled,
    update_surprisal,
    years_ahead,
)

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def two_axes():
    return plt.subplots(1, 2)[1]


def texts(legend):
    return [text.get_text() for text in legend.get_texts()]


# ------------------------------------------------------------------------------------ shuffled text


SPREAD = ShuffleSpread(
    torch.tensor([0.0, 0.5, 1.0]),
    torch.tensor([[2.0, 4.0, 7.0], [2.0, 5.0, 6.5], [2.0, 4.5, 6.75]]),
)


def drawn_shuffle(text, moved, *, lines=3, columns=5):
    left, right = two_axes()
    artists = draw_shuffled([left, right], SPREAD, vocabulary_size=16, lines=lines)
    update_shuffled(artists, Shuffled(0.4, text, torch.tensor(moved), 3.25), columns=columns)
    return artists, right


def test_characters_that_moved_are_in_a_line_of_their_own_over_the_others():
    artists, _ = drawn_shuffle("abc\nefgh  k", [False, True, False, True, False] * 2 + [True])
    assert [line.get_text() for line in artists.kept] == ["a c e", "f h  ", " "]
    assert [line.get_text() for line in artists.moved] == [" b ↵ ", " g ␣ ", "k"]
    colours = {line.get_color() for line in artists.kept}, {line.get_color() for line in artists.moved}
    assert colours[0].isdisjoint(colours[1])


def test_what_does_not_fit_into_the_lines_is_left_out_and_lines_may_stay_empty():
    artists, _ = drawn_shuffle("abcdefghi", [False] * 9, lines=2, columns=3)
    assert [line.get_text() for line in artists.kept] == ["abc", "def"]
    artists, _ = drawn_shuffle("ab", [False] * 2)
    assert [line.get_text() for line in artists.kept] == ["ab", "", ""]


def test_the_band_of_shuffles_reaches_from_the_fewest_to_the_most_bits_around_their_median():
    artists, right = drawn_shuffle("ab", [False] * 2)
    median, uniform, mark = right.lines
    np.testing.assert_array_equal(median.get_xydata(), [[0, 2], [0.5, 4.5], [1, 6.75]])
    assert set(uniform.get_ydata()) == {math.log2(16)}
    [band] = right.collections
    edges = band.get_paths()[0].vertices
    for share, low, high in ((0, 2, 2), (0.5, 4, 5), (1, 6.5, 7)):
        at = edges[edges[:, 0] == share, 1]
        assert (at.min(), at.max()) == (low, high)
    assert mark is artists.mark and mark.get_xydata().tolist() == [[0.4, 3.25]]
    assert artists.headline.get_text() == "3.25 bits a character"


# -------------------------------------------------------------------------------- perplexity


TRAIN, HELD_OUT = torch.tensor([20.0, 9.5, 5.25, 3.5]), torch.tensor([21.0, 10.0, 6.5, 8.125])


def test_perplexities_are_drawn_by_context_length_and_told_apart_without_colour():
    lines = plot_perplexity(TRAIN, HELD_OUT).lines
    curves = [line for line in lines if len(line.get_xdata()) == 4]
    for curve, values in zip(curves, (TRAIN, HELD_OUT), strict=True):
        np.testing.assert_array_equal(curve.get_xdata(), range(4))
        np.testing.assert_array_equal(curve.get_ydata(), values)
    assert len({line.get_linestyle() for line in curves}) == len({line.get_marker() for line in curves}) == 2


def test_a_chosen_context_length_is_marked_and_its_values_are_in_the_legend():
    ax = plot_perplexity(TRAIN, HELD_OUT, length=2)
    marks = [line.get_xydata().tolist() for line in ax.lines if list(line.get_xdata()) == [2]]
    assert marks == [[[2, 5.25]], [[2, 6.5]]]
    assert texts(ax.get_legend()) == ["training 5.25", "held-out 6.50"]
    [through] = [line for line in ax.lines if list(line.get_xdata()) == [2, 2]]
    assert tuple(through.get_ydata()) == ax.get_ylim()


def test_without_a_chosen_context_length_nothing_is_marked():
    ax = plot_perplexity(TRAIN, HELD_OUT, top=100)
    assert sorted(len(line.get_xdata()) for line in ax.lines) == [0, 0, 0, 4, 4]
    assert texts(ax.get_legend()) == ["training", "held-out"]
    assert ax.get_ylim() == (1, 100) and ax.get_yscale() == "log"


@pytest.mark.parametrize("length", [-1, 4])
def test_a_context_length_without_a_perplexity_is_refused(length):
    with pytest.raises(ValueError, match=rf"length must lie in 0\.\.3, got {length}"):
        plot_perplexity(TRAIN, HELD_OUT, length=length)


# ---------------------------------------------------------------------------------- surprisal


def test_each_character_stands_on_the_cell_that_has_its_bits():
    text = "the crow\nsat on it"
    ax = plt.subplots()[1]
    artists = draw_surprisal(ax, text, columns=7)
    bits = torch.linspace(0.5, 9.0, len(text))
    bits[3] = math.nan
    update_surprisal(artists, bits)
    letters = {letter.get_position(): letter.get_text() for letter in ax.texts}
    cells = np.ma.filled(artists.cells.get_array(), np.nan)
    in_order = sorted(letters, key=lambda place: place[::-1])
    assert "".join(letters[place] for place in in_order) == text.replace("\n", "↵")
    np.testing.assert_array_equal([cells[row, column] for column, row in in_order], bits)
    assert np.isfinite(cells).sum() == len(text) - 1  # the others, and the one without bits, are blank


def test_more_bits_are_darker_and_black_letters_are_readable_on_all():
    ax = plt.subplots()[1]
    cells = draw_surprisal(ax, "a", top=12).cells
    colours = cells.to_rgba(np.arange(0, 20.0))
    lightness = (colours[:, :3] ** 2.2) @ [0.2126, 0.7152, 0.0722]
    assert lightness[0] == pytest.approx(1) and (np.diff(lightness[:13]) < -0.01).all()
    assert (lightness[12:] == lightness[12]).all()
    assert {ink_on(colour) for colour in colours} == {"black"}


def test_surprisal_says_which_argument_is_wrong():
    ax = plt.subplots()[1]
    with pytest.raises(ValueError, match="text must hold"):
        draw_surprisal(ax, "")
    artists = draw_surprisal(ax, "abc")
    with pytest.raises(ValueError, match="bits must be as many as the 3 characters, got 2"):
        update_surprisal(artists, torch.ones(2))


# ---------------------------------------------------------------------------------- forecasts


YEARS, ACTUAL = torch.arange(1900, 1907), torch.tensor([9.0, 3.0, 5.0, 24.0, 42.0, 64.0, 54.0])


def drawn_forecast(horizon=2):
    axes = two_axes()
    artists = draw_forecast(axes, YEARS, ACTUAL, mean_rmse=50.0, horizons=3)
    trace = Forecasting(5, horizon, ACTUAL + 1, ACTUAL - 2, torch.tensor([17.0, 25.5, 30.0]))
    update_forecast(artists, YEARS, trace)
    return axes, artists, trace


def test_forecasts_are_drawn_over_what_came():
    (left, _), artists, trace = drawn_forecast()
    actual, predicted, free = left.lines
    for line, values in ((actual, ACTUAL), (predicted, trace.predicted), (free, trace.free)):
        np.testing.assert_array_equal(line.get_xdata(), YEARS)
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert texts(artists.legend) == ["actual", "forecast 2 years ahead", "all made in 1899"]


def test_errors_are_drawn_by_horizon_beside_that_of_the_mean_and_one_is_marked():
    (_, right), artists, trace = drawn_forecast()
    mean, errors, mark = right.lines
    assert set(mean.get_ydata()) == {50}
    np.testing.assert_array_equal(errors.get_xydata(), [[1, 17], [2, 25.5], [3, 30]])
    assert mark.get_xydata().tolist() == [[2, 25.5]]
    assert artists.headline.get_text() == "error 25.5"


@pytest.mark.parametrize("horizon", [0, 4])
def test_a_horizon_without_an_error_is_refused(horizon):
    with pytest.raises(ValueError, match=rf"horizon must lie in 1\.\.3, got {horizon}"):
        drawn_forecast(horizon)


def test_one_year_is_singular():
    assert [years_ahead(horizon) for horizon in (1, 2, 11)] == [
        "1 year ahead",
        "2 years ahead",
        "11 years ahead",
    ]
