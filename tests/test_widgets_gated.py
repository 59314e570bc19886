import html
import math
import re
from itertools import product

import numpy as np
import pytest
import torch
from drive import drive, opened, settings

from seqlib.bptt import gradient_norms
from seqlib.untrained import random_gradient_flow, random_reading
from seqlib.widgets.gated import cell_explorer, gate_explorer, gates_by_hand, highway_explorer

CODE = "def f(x):\n    'a string'\n    return [x, (x, 1)]  # a comment\n"
FEATURES = ("string", "comment", "indentation", "bracket depth", "column")


def random_cells(H=7, seed=0):
    g = torch.Generator().manual_seed(seed)
    values = torch.randn(len(CODE), H, generator=g).tanh()
    return values, {feature: torch.rand(H, generator=g) for feature in FEATURES}


def code_explorer():
    return cell_explorer(CODE, *random_cells())


EXPLORERS = [gate_explorer, highway_explorer, code_explorer]


def alternative(explorer):
    """The picture in words, as a screen reader finds it."""
    return html.unescape(re.search('role="img" aria-label="([^"]*)"', explorer.overlay.value)[1])


@pytest.mark.parametrize("make", EXPLORERS)
def test_every_control_works_at_its_minimum_middle_and_maximum(make):
    explorer = opened(make)
    pictures = {alternative(explorer) for _ in drive(explorer)}
    assert len(pictures) >= 3


@pytest.mark.parametrize(
    ("make", "labels"),
    [
        (gate_explorer, ["Forget", "Input", "Output", "Step"]),
        (highway_explorer, ["Forget bias", "Length", "Input gate 1 − f"]),
        (code_explorer, ["Unit"]),
    ],
)
def test_controls_have_the_labels_by_which_learners_find_them(make, labels):
    assert [control.description for control in opened(make).controls.values()] == labels


@pytest.mark.parametrize("make", EXPLORERS)
def test_explorers_leave_the_global_generator_alone(make):
    before = torch.get_rng_state()
    make()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("make", "still"), [(gate_explorer, ()), (highway_explorer, ("length",)), (code_explorer, ())]
)
def test_axes_stay_where_they_are(make, still):
    explorer = opened(make)
    background = explorer.background.value
    for name, control in explorer.controls.items():
        for value in settings(control) if name not in still else ():
            control.value = value
            assert explorer.background.value == background


# ------------------------------------------------------------------------------------ gates by hand


X = torch.tensor([0.5, -2.0, 0.0, 1.0, 0.0], dtype=torch.float64)


@pytest.mark.parametrize("gates", list(product([0, 0.35, 1], repeat=3)))
def test_the_cell_has_exactly_the_gates_that_were_set_also_closed_and_open_ones(gates):
    forget, input, output = gates
    i, f, g, o, c, h = (part[0, :, 0] for part in gates_by_hand(X, forget=forget, input=input, output=output))
    for gate, value in ((f, forget), (i, input), (o, output)):
        torch.testing.assert_close(gate, torch.full_like(X, value))
    torch.testing.assert_close(g, X.tanh())
    torch.testing.assert_close(c[1:], forget * c[:-1] + input * g)
    torch.testing.assert_close(h[1:], output * c[1:].tanh())
    assert c[0] == h[0] == 0


def test_a_gate_outside_of_0_to_1_is_refused():
    for wrong in ({"forget": 1.1}, {"input": -0.1}, {"output": math.nan}):
        [(name, value)] = wrong.items()
        with pytest.raises(ValueError, match=rf"{name} must lie in 0\.\.1, got {value}"):
            gates_by_hand(X, **({"forget": 0.5, "input": 0.5, "output": 0.5} | wrong))


def gates(explorer, **values):
    for name, value in values.items():
        explorer.controls[name].value = value
    return explorer.trace.trace.c[0, :, 0], explorer.trace.trace.h[0, :, 0]


def test_what_a_learner_should_see():
    explorer = opened(gate_explorer)
    c, _ = gates(explorer, forget=1.0, input=1.0)
    g = explorer.trace.trace.g[0, :, 0]
    torch.testing.assert_close(c[1:], g.cumsum(0))  # both open: it adds up,
    assert c.max() > 1.5  # beyond what a tanh can say
    silent = g == 0
    assert silent.sum() > 10 and torch.equal(c[1:][silent], c[:-1][silent])  # f = 1 keeps
    c, h = gates(explorer, forget=0.9)
    torch.testing.assert_close(c[1:][silent], 0.9 * c[:-1][silent])  # f < 1 decays
    hidden_c, hidden_h = gates(explorer, output=0.0)
    assert (
        torch.equal(hidden_c, c) and (hidden_h == 0).all() and (h != 0).any()
    )  # o hides, and forgets nothing
    c, _ = gates(explorer, input=0.0)
    assert (c == 0).all()


@pytest.mark.parametrize("forget", [0.0, 0.9, 1.0])
def test_the_picture_of_the_gates_is_that_of_the_trace_and_holds_all_of_it(forget):
    explorer = opened(gate_explorer)
    c, h = gates(explorer, forget=forget, step=12)
    artists = explorer.artists
    np.testing.assert_array_equal(artists.c.get_ydata(), c)
    np.testing.assert_array_equal(artists.h.get_ydata(), h)
    low, high = artists.c.axes.get_ylim()
    assert low < c.min() and c.max() < high
    assert f"cell is then {c[12]:.2f}" in alternative(explorer) and "Step 12 of 16" in alternative(explorer)


# -------------------------------------------------------------------------------------- the highway


@pytest.mark.parametrize("values", [{}, {"forget_bias": 4.0}, {"coupled": True}, {"length": 31}])
def test_lines_are_the_gradients_that_autograd_finds(values):
    explorer = opened(highway_explorer)
    for name, value in values.items():
        explorer.controls[name].value = value
    length, bias = explorer.values["length"], explorer.values["forget_bias"]
    input_bias = -bias if explorer.values["coupled"] else 0.0
    lines = dict(zip(explorer.trace, explorer.artists.lines, strict=True))
    for kind in ("RNN", "GRU", "LSTM"):
        cell, x, v = random_reading(kind, length=length, forget_bias=bias, input_bias=input_bias)
        expected = gradient_norms(cell, x, loss=lambda h, v=v: h[0, -1] @ v)
        np.testing.assert_allclose(lines[kind].get_ydata(), expected)
    for line, shown in zip(lines.values(), explorer.trace.values(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), shown)
        assert line.get_ydata()[-1] == pytest.approx(1)


def test_the_untrained_cells_are_those_of_chapter_03():
    trace = opened(highway_explorer).trace
    for kind in ("RNN", "LSTM"):
        flow = random_gradient_flow(cell=kind, length=100, forget_bias=1.0)
        torch.testing.assert_close(trace[kind], flow.gradients)


def test_with_input_gates_of_1_minus_f_the_gradient_follows_the_highway_and_without_it_runs_above():
    explorer = opened(highway_explorer)
    for bias in (2.0, 4.0, 6.0):
        explorer.controls["forget_bias"].value = bias
        ratios = []
        for coupled in (False, True):
            explorer.controls["coupled"].value = coupled
            ratios.append(explorer.trace["LSTM"][0] / explorer.trace["forget gates alone"][0])
        apart, coupled = ratios
        assert apart > 30 * coupled
        assert coupled < 1.5 or bias == 2.0


def test_the_forget_gates_alone_halve_the_gradient_as_fast_as_their_bias_says():
    explorer = opened(highway_explorer)
    explorer.controls["coupled"].value = True
    for bias in (1.0, 4.0):
        explorer.controls["forget_bias"].value = bias
        half_life = math.log(0.5) / math.log(1 / (1 + math.exp(-bias)))
        words = explorer.artists.paces[3].get_text()
        assert float(words.split()[1]) == pytest.approx(half_life, rel=0.1)
        assert f"forget gates alone: {words}" in alternative(explorer)


def test_no_gradient_leaves_the_picture_upwards():
    explorer = opened(highway_explorer)
    top = explorer.figure.axes[0].get_ylim()[1]
    for forget_bias, length, coupled in product(
        [-2.0, 1.0, 2.0, 3.0, 3.5, 4.0, 6.0], [10, 200], [False, True]
    ):
        norms = explorer._compute(forget_bias, length, coupled)
        assert all(0 < values.min() and values.max() < top for values in norms.values())


# -------------------------------------------------------------------------------------- one unit


@pytest.mark.parametrize("unit", [0, 3, 6])
def test_cells_and_bars_are_those_of_the_chosen_unit(unit):
    values, scores = random_cells()
    explorer = opened(code_explorer)
    explorer.controls["unit"].value = unit
    cells = np.ma.filled(explorer.artists.text.cells.get_array(), np.nan)
    places = explorer.artists.text.rows, explorer.artists.text.columns
    np.testing.assert_array_equal(cells[places], values[:, unit])
    widths = [bar.get_width() for bar in explorer.artists.bars]
    np.testing.assert_array_equal(widths, [scores[feature][unit].item() for feature in FEATURES])
    high = int(values[:, unit].argmax())
    text = alternative(explorer)
    assert text.startswith(f"Unit {unit} of 7 follows: string {scores['string'][unit]:.2f}, comment")
    assert f"highest at {CODE[high]!r} after" in text and f"{values[high, unit]:.2f}." in text


def test_letters_lie_in_front_of_the_cells():
    explorer = opened(code_explorer)
    assert explorer.foreground.value.count("<path") == len(CODE)


def test_some_lines_of_a_text_are_shown_with_their_own_values():
    values, scores = random_cells()
    explorer = cell_explorer(CODE, values, scores, unit=3, first_line=2, lines=1)
    line = "    'a string'\n"
    begin = CODE.index(line)
    cells = np.ma.filled(explorer.artists.text.cells.get_array(), np.nan)
    shown = cells[explorer.artists.text.rows, explorer.artists.text.columns]
    np.testing.assert_array_equal(shown, values[begin : begin + len(line), 3])
    assert explorer.controls["unit"].value == 3


def test_sizes_that_do_not_fit_are_refused(learner):
    values, scores = random_cells()
    with pytest.raises(ValueError, match=f"cells must be as many as the source's {len(CODE) - 1} characters"):
        cell_explorer(CODE[1:], values, scores)
    with pytest.raises(ValueError, match=r"scores must have shape \(7,\), 'string' has \(6,\)"):
        cell_explorer(CODE, values, scores | {"string": torch.rand(6)})
    for wrong in ({"first_line": 4}, {"first_line": 0}, {"lines": 0}):
        with pytest.raises(ValueError, match=r"first_line must lie in 1\.\.3 and lines be positive, got"):
            cell_explorer(CODE, values, scores, **wrong)
