import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from seqlib.figures.common import ink_on
from seqlib.figures.gated import (
    GateSteps,
    UnitView,
    draw_gate_steps,
    draw_unit,
    pace_of,
    plot_fading,
    plot_gates,
    unit_heights,
    update_gate_steps,
    update_unit,
)
from seqlib.gated import LSTMCell

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def a_trace(B=3, T=11, E=2, H=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    cell = LSTMCell(E, H, forget_bias=torch.tensor([0.0, 3.0, -3.0, 6.0, 1.0])[:H])
    with torch.no_grad():
        for parameter in (cell.x_to_gates.weight, cell.h_to_gates.weight):
            parameter.copy_(torch.randn(parameter.shape, generator=g) / 2)
    return cell.trace(torch.randn(B, T, E, generator=g))


# ------------------------------------------------------------------------------------ gates by hand


def drawn_steps(step=3):
    trace = a_trace(B=1, T=7, E=3, H=1)
    artists = draw_gate_steps(plt.subplots()[1], trace.g[0, :, 0])
    update_gate_steps(artists, GateSteps(trace, step))
    return artists, trace


def test_cell_state_and_what_is_let_in_are_drawn_as_they_are():
    artists, trace = drawn_steps()
    for line, values in ((artists.c, trace.c), (artists.h, trace.h)):
        np.testing.assert_array_equal(line.get_xdata(), range(8))
        np.testing.assert_array_equal(line.get_ydata(), values[0, :, 0])
    heights = [bar.get_height() for bar in artists.let_in]
    np.testing.assert_allclose(heights, (trace.i * trace.g)[0, :, 0])
    candidates = [bar.get_height() for bar in artists.c.axes.patches if bar not in artists.let_in]
    np.testing.assert_allclose(candidates, trace.g[0, :, 0])


def test_cell_and_state_are_told_apart_without_colour():
    artists, _ = drawn_steps()
    for of in ("get_marker", "get_linestyle"):
        assert getattr(artists.c, of)() != getattr(artists.h, of)()


@pytest.mark.parametrize("step", [1, 4, 7])
def test_the_arithmetic_of_a_step_has_its_numbers_and_always_the_same_width(step):
    artists, trace = drawn_steps(step)
    i, f, g, o, c, h = (part[0, :, 0].tolist() for part in trace)
    title, cell, state = (text.get_text().replace("−", "-") for text in artists.texts)
    assert title == f"step {step}"
    numbers = [f[step - 1], c[step - 1], i[step - 1], g[step - 1], c[step]]
    assert [float(part) for part in cell.split() if part[-1].isdigit()] == pytest.approx(numbers, abs=0.005)
    assert (len(cell), len(state)) == (37, 42)
    tanh_c = np.tanh(c[step])
    numbers = [o[step - 1], c[step], o[step - 1], tanh_c, h[step]]
    assert [float(part) for part in state.split() if part[-1].isdigit()] == pytest.approx(numbers, abs=0.005)
    assert [mark.get_xydata().tolist() for mark in artists.marks] == [
        [[step, pytest.approx(c[step])]],
        [[step, pytest.approx(h[step])]],
    ]


@pytest.mark.parametrize("step", [0, 8])
def test_a_step_that_is_not_there_is_refused(step):
    with pytest.raises(ValueError, match=rf"step must lie in 1\.\.7, got {step}"):
        drawn_steps(step)


# -------------------------------------------------------------------------------------- the highway


def test_norms_are_drawn_by_step_with_their_pace_and_told_apart_without_colour():
    back = torch.arange(30, -1, -1).double()
    norms = {"a": 0.5**back, "b": 1.1**back, "c": torch.ones(31, dtype=torch.float64)}
    ax = plot_fading(norms)
    lines = {line.get_label(): line for line in ax.lines if line.get_label() in norms}
    for label, values in norms.items():
        np.testing.assert_array_equal(lines[label].get_xdata(), range(1, 32))
        np.testing.assert_array_equal(lines[label].get_ydata(), values)
    assert len({line.get_linestyle() for line in lines.values()}) == 3
    words = [text.get_text() for text in ax.texts]
    assert words == [
        "a",
        "half-life 1.0 steps",
        "b",
        "doubles every 7.3 steps",  # 1 / log2(1.1)
        "c",
        "neither fades nor grows",
    ]
    assert pace_of(norms["a"]) == words[1]


def test_every_line_has_a_sample_of_its_own_look_beside_its_label():
    ax = plot_fading({str(k): torch.ones(5) for k in range(4)})
    looks = [(line.get_color(), line.get_linestyle(), line.get_linewidth()) for line in ax.lines]
    assert looks[0::2] == looks[1::2] and len(set(looks)) == 4


@pytest.mark.parametrize("number", [0, 5])
def test_no_lines_and_a_fifth_are_refused(number):
    with pytest.raises(ValueError, match=f"labels must be 1 to 4, got {number}"):
        plot_fading({str(k): torch.ones(5) for k in range(number)})


# ------------------------------------------------------------------------------- gates of a network


def test_gates_and_cell_of_the_chosen_sequence_are_drawn_with_units_by_their_mean_forget_gate():
    trace = a_trace()
    axes = plot_gates(trace, sequence=2)
    means = trace.f[2].mean(0)
    order = sorted(range(5), key=lambda unit: -means[unit])
    assert order[0] == 3 and order[-1] == 2  # their biases are 6 and -3
    for ax, part in zip(axes, (trace.i, trace.f, trace.o, trace.c[:, 1:].tanh()), strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), part[2].T[order])
    assert [ax.get_title(loc="left") or ax.get_title() for ax in axes] == [
        "input gate i",
        "forget gate f",
        "output gate o",
        "cell, tanh c",
    ]


def test_gates_have_the_colours_of_0_to_1_and_the_cell_the_same_on_both_sides_of_0():
    *gates, cell = [ax.images[0] for ax in plot_gates(a_trace())]
    assert {image.get_clim() for image in gates} == {(0, 1)}
    assert cell.get_clim() == (-1, 1)
    assert cell.to_rgba(np.array([0.0])).tolist() == [[1, 1, 1, 1]]


def test_each_step_and_unit_stands_at_its_number_or_label():
    axes = plot_gates(a_trace(), units=[4, 0], labels=list("for x in 1:"))
    image = axes[1].images[0]
    np.testing.assert_array_equal(image.get_array(), a_trace().f[0].T[[4, 0]])
    assert image.get_extent() == [0.5, 11.5, 1.5, -0.5]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["4", "0"]
    assert list(axes[3].get_xticks()) == list(range(1, 12))
    assert "".join(label.get_text() for label in axes[3].get_xticklabels()) == "for x in 1:"


def test_gates_are_drawn_on_axes_that_are_given():
    given = list(plt.subplots(2, 2)[1].flat)
    assert plot_gates(a_trace(), axes=given) == given
    assert [len(ax.images) for ax in given] == [1] * 4


def test_gates_say_which_argument_is_wrong():
    for options, match in (
        ({"sequence": 3}, r"sequence must lie in 0\.\.2, got 3"),
        ({"units": [5]}, r"units must be numbers in 0\.\.4, at least one, got \[5\]"),
        ({"units": []}, r"units must .* got \[\]"),
        ({"labels": ["a"]}, "labels must be as many as the 11 steps, got 1"),
    ):
        with pytest.raises(ValueError, match=match):
            plot_gates(a_trace(), **options)


# --------------------------------------------------------------------------------- one unit's view


CODE = "def f(x):\n    return (x\n\n" + "#" * 100 + "\nx"


def drawn_unit(text=CODE, **scores):
    artists = draw_unit(plt.subplots(2, 1)[1], text, list(scores))
    view = UnitView(7, torch.linspace(-1, 1, len(text)), scores)
    update_unit(artists, view)
    return artists, view


def test_code_keeps_its_lines_and_only_overlong_ones_are_broken():
    artists, view = drawn_unit(string=0.25)
    width = max(artists.text.columns) + 1
    rows = [" " * width for _ in range(max(artists.text.rows) + 1)]
    for letter in artists.text.cells.axes.texts[: len(CODE)]:
        column, row = letter.get_position()
        rows[row] = rows[row][:column] + letter.get_text() + rows[row][column + 1 :]
    assert [row.rstrip() for row in rows] == ["def f(x):", "    return (x", "", "#" * 90, "#" * 10, "x"]
    assert len(artists.text.rows) == len(CODE)  # line breaks have a cell too
    cells = np.ma.filled(artists.text.cells.get_array(), np.nan)
    np.testing.assert_array_equal(cells[artists.text.rows, artists.text.columns], view.values)
    assert np.isfinite(cells).sum() == len(CODE)


def test_every_character_has_its_cell_also_one_that_cannot_be_drawn_or_the_end_of_a_full_line():
    text = "a\tb\f\n\r\u2028" + "x" * 90 + "\n"
    artists, _ = drawn_unit(text, string=0.5)
    artists.text.cells.figure.draw_without_rendering()  # no warning of a letter that is missing
    cells = list(zip(artists.text.rows.tolist(), artists.text.columns.tolist(), strict=True))
    assert cells == [(0, k) for k in range(5)] + [(1, k) for k in range(90)] + [(2, k) for k in range(3)]


def test_a_figure_for_more_lines_is_higher():
    assert unit_heights("a\nb\nc")[0] > unit_heights("a")[0]


def test_bars_and_headline_tell_how_well_the_unit_follows_each_feature():
    artists, _ = drawn_unit(string=0.25, comment=0.75, column=0.5)
    assert [bar.get_width() for bar in artists.bars] == [0.25, 0.75, 0.5]
    assert [number.get_text() for number in artists.numbers] == ["0.25", "0.75", "0.50"]
    assert artists.headline.get_text() == "unit 7: comment 0.75"
    ticks = artists.bars[0].axes.get_yticklabels()
    assert [tick.get_text() for tick in ticks] == ["string", "comment", "column"]


def test_black_letters_are_readable_on_every_colour_of_a_unit_and_0_is_white():
    artists, _ = drawn_unit(string=0.5)
    colours = artists.text.cells.to_rgba(np.linspace(-1, 1, 41))
    assert {ink_on(colour) for colour in colours} == {"black"}
    assert colours[20].tolist() == [1, 1, 1, 1]
    assert colours[0, 2] > colours[0, 0] and colours[-1, 0] > colours[-1, 2]  # blue below, orange above


def test_a_unit_says_which_argument_is_wrong():
    with pytest.raises(ValueError, match="text must hold at least one character"):
        drawn_unit("", string=0.5)
    artists, _ = drawn_unit("abc", string=0.5)
    with pytest.raises(ValueError, match="values must be as many as the 3 characters, got 2"):
        update_unit(artists, UnitView(0, torch.zeros(2), {"string": 0.5}))
