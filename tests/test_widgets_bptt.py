import html
import math
import re
from itertools import product

import numpy as np
import pytest
import torch
from drive import drive, opened

from seqlib.bptt import gradient_norms
from seqlib.untrained import ACTIVATIONS, random_cell
from seqlib.widgets.bptt import (
    clipping_explorer,
    echo_truncation,
    gradient_decay_explorer,
    initialisation_explorer,
    random_gradient_flow,
    truncation_explorer,
)

EXPLORERS = [gradient_decay_explorer, clipping_explorer, truncation_explorer, initialisation_explorer]


def alternative(explorer):
    """The picture in words, as a screen reader finds it."""
    return html.unescape(re.search('role="img" aria-label="([^"]*)"', explorer.overlay.value)[1])


@pytest.mark.parametrize("make", EXPLORERS)
def test_every_control_works_at_its_minimum_middle_and_maximum(make):
    explorer = opened(make)
    pictures = {alternative(explorer) for _ in drive(explorer)}
    assert len(pictures) > 1


@pytest.mark.parametrize(
    ("make", "labels"),
    [
        (
            gradient_decay_explorer,
            {"Gain", "Input scale", "Length", "Hidden size", "Activation", "Cell"}
            | {"Forget bias", "Matrix", "Seed"},
        ),
        (clipping_explorer, {"Threshold"}),
        (truncation_explorer, {"Window"}),
        (initialisation_explorer, {"Scale", "Depth", "Activation"}),
    ],
)
def test_controls_have_the_labels_by_which_learners_find_them(make, labels):
    assert {control.description for control in opened(make).controls.values()} == labels


@pytest.mark.parametrize("make", EXPLORERS)
def test_explorers_leave_the_global_generator_alone(make):
    before = torch.get_rng_state()
    make()
    assert torch.equal(torch.get_rng_state(), before)


# ------------------------------------------------------------------------------------ gradient decay


FLOW = {
    "gain": 1.0,
    "input_std": 0.3,
    "length": 17,
    "hidden_size": 11,
    "seed": 3,
    "matrix": "Gaussian",
    "cell": "RNN",
    "activation": "tanh",
    "forget_bias": 1.0,
}


@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("matrix", ["Gaussian", "orthogonal"])
def test_the_flow_shown_is_the_gradient_that_autograd_finds(cell, matrix):
    flow = random_gradient_flow(**{**FLOW, "cell": cell, "matrix": matrix})
    generator = torch.Generator().manual_seed(3)
    network = random_cell(cell, 8, 11, orthogonal=matrix == "orthogonal", generator=generator)
    x = 0.3 * torch.randn(1, 17, 8, generator=generator, dtype=torch.float64)
    v = torch.randn(11, generator=generator, dtype=torch.float64)
    expected = gradient_norms(network, x, loss=lambda h: h[0, -1] @ v / v.norm())
    torch.testing.assert_close(flow.gradients, expected)
    assert flow.gradients[-1].item() == pytest.approx(1)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gain_changes_the_recurrent_matrix_by_a_factor_and_nothing_else(activation):
    flows = [random_gradient_flow(**{**FLOW, "activation": activation, "gain": gain}) for gain in (0.5, 1.5)]
    assert [flow.rho for flow in flows] == pytest.approx([0.5, 1.5])
    assert flows[1].sigma_max == pytest.approx(3 * flows[0].sigma_max)
    orthogonal = random_gradient_flow(
        **{**FLOW, "activation": activation, "matrix": "orthogonal", "gain": 0.7}
    )
    assert orthogonal.rho == pytest.approx(0.7) and orthogonal.sigma_max == pytest.approx(0.7)


def test_gain_moves_the_lines_and_leaves_the_axes_as_they_are_while_the_gradient_fades_slowly():
    explorer = opened(gradient_decay_explorer)
    background, moving = explorer.background.value, explorer.overlay.value
    for gain in (0.9, 1.1, 1.5):
        explorer.controls["gain"].value = gain
        assert explorer.background.value == background
        assert explorer.overlay.value != moving
        np.testing.assert_array_equal(explorer.artists.gradients.get_ydata(), explorer.trace.gradients)


def test_the_same_seed_gives_the_same_picture_and_another_seed_another():
    explorer = opened(gradient_decay_explorer)
    first = explorer.overlay.value
    explorer.controls["seed"].value = 1
    assert explorer.overlay.value != first
    explorer.controls["seed"].value = 0
    assert explorer.overlay.value == first


@pytest.mark.parametrize(
    ("cell", "activation", "forget_bias"),
    [("RNN", True, False), ("LSTM", False, True), ("GRU", False, False)],
)
def test_only_controls_that_matter_for_the_cell_are_shown(cell, activation, forget_bias):
    explorer = opened(gradient_decay_explorer)
    explorer.controls["cell"].value = cell
    shown = {name: c.layout.display != "none" for name, c in explorer.controls.items()}
    assert shown.pop("activation") == activation and shown.pop("forget_bias") == forget_bias
    assert all(shown.values())


@pytest.mark.parametrize(
    ("cell", "own"),
    [
        ("RNN", [{"activation": activation} for activation in ACTIVATIONS]),
        ("LSTM", [{"forget_bias": -2.0}, {"forget_bias": 6.0}]),
        ("GRU", [{}]),
    ],
)
def test_no_combination_of_extremes_overflows_or_leaves_the_picture_upwards(cell, own):
    explorer = opened(gradient_decay_explorer)
    shared = ("gain", "input_std", "length")
    ends = [(explorer.controls[name].min, explorer.controls[name].max) for name in shared]
    for matrix, *extremes in product(["Gaussian", "orthogonal"], *ends):
        for options in own:
            values = {**FLOW, **dict(zip(shared, extremes, strict=True)), **options}
            flow = explorer._compute(**{**values, "cell": cell, "matrix": matrix})
            explorer._update(explorer.artists, flow)
            assert torch.cat([flow.gradients, flow.jacobians]).isfinite().all(), values
            assert flow.gradients.max() <= explorer.artists.ax.get_ylim()[1], values
            headline = explorer.artists.headline.get_text()
            assert re.match(r"half-life \d|doubles every \d|gone: exactly 0|neither", headline), values
            assert not re.search(r"\b(nan|inf)\b", explorer._describe(flow)), values


def test_text_alternative_tells_what_the_picture_shows():
    explorer = opened(gradient_decay_explorer)
    explorer.controls["activation"].value = "identity"
    explorer.controls["matrix"].value = "orthogonal"
    explorer.controls["gain"].value = 0.55
    text = alternative(explorer)
    assert "at step 100" in text and "half-life 1.2 steps" in text and "radius 0.55 and norm 0.55" in text
    assert f"{0.55**99:.2g}" in text
    explorer.controls["length"].value = 200
    lost = sum(np.float32(0.55**k) == 0 for k in range(200))
    assert f"exactly 0 in {lost} of the steps" in alternative(explorer)


# ------------------------------------------------------------------------------------------ clipping


def test_clipping_keeps_the_point_near_and_without_it_the_cliff_throws_it_far_off():
    explorer = opened(clipping_explorer)
    for threshold in (0.1, 0.3, 1.0):
        explorer.controls["threshold"].value = threshold
        (clipped, _), (thrown, norms) = explorer.trace.clipped, explorer.trace.unclipped
        assert norms.max() > 100
        assert (clipped - clipped[0]).norm(dim=1).max() < 1 < 10 < (thrown[-1] - thrown[0]).norm()
        text = alternative(explorer)
        assert f"off to ({thrown[-1, 0]:.1f}, {thrown[-1, 1]:.1f})" in text and text.count("off to") == 1


def test_no_step_is_longer_than_learning_rate_times_threshold():
    explorer = opened(clipping_explorer)
    explorer.controls["threshold"].value = 0.1
    points, _ = explorer.trace.clipped
    assert (points[1:] - points[:-1]).norm(dim=1).max() <= 0.2 * 0.1 * (1 + 1e-9)


def test_a_threshold_above_every_gradient_changes_nothing():
    explorer = opened(clipping_explorer)
    explorer.controls["threshold"].value = 10**2.5
    torch.testing.assert_close(explorer.trace.clipped, explorer.trace.unclipped)
    assert alternative(explorer).count("off to") == 2


def test_numbers_beside_the_paths_are_those_of_the_paths():
    explorer = opened(clipping_explorer)
    points, norms = explorer.trace.clipped
    w, b = points[-1].tolist()
    a = 0.5
    for _ in range(50):
        a = w / (1 + math.exp(-a)) + b
    final = (1 / (1 + math.exp(-a)) - 0.7) ** 2
    first, second = (text.get_text() for text in explorer.artists.legend.get_texts())
    assert first == f"clipped at 1: largest gradient {norms.max():.3g}, final loss {final:.3f}"
    assert second.startswith("not clipped: largest gradient")
    np.testing.assert_array_equal(explorer.artists.paths[0].get_xydata(), points)


# ---------------------------------------------------------------------------------------- truncation


def test_a_window_shorter_than_the_task_turns_the_gradient_away():
    for seed in range(3):
        trace = echo_truncation(seed=seed)
        assert trace.cosine[0] < 0.6 and trace.norm_ratio[0] < 0.5  # window 1
        assert trace.cosine[23] > 0.95  # twice the delay
        assert trace.cosine[-1].item() == pytest.approx(1)


def test_window_moves_the_marks_and_leaves_the_axes_as_they_are():
    explorer = opened(truncation_explorer)
    background = explorer.background.value
    for window in (1, 12, 48):
        explorer.controls["window"].value = window
        assert [mark.get_xdata() for mark in explorer.artists.marks] == [[window]] * 3
        assert explorer.background.value == background
        assert f"after every {window}." in alternative(explorer)


# ------------------------------------------------------------------------------------ initialisation


def test_scale_is_compared_with_the_named_initialisations():
    explorer = opened(initialisation_explorer)
    lines = [line.get_ydata().clone() for line in explorer.artists.activations]
    explorer.controls["scale"].value = 1.0
    after = [line.get_ydata() for line in explorer.artists.activations]
    assert not torch.equal(after[0], lines[0])
    assert torch.equal(after[0], after[1])  # scale 1 is LeCun's
    assert torch.equal(after[1], lines[1]) and torch.equal(after[2], lines[2])
    labels = [text.get_text() for text in explorer.artists.legend.get_texts()]
    assert labels == ["scale 1.00", "1 (LeCun, Xavier)", "√2 (He)"]


def test_in_deep_relu_networks_only_the_scale_of_he_keeps_the_spread():
    explorer = opened(initialisation_explorer)
    explorer.controls["activation"].value = "ReLU"
    explorer.controls["depth"].value = 50
    explorer.controls["scale"].value = 3.0
    large, lecun, he = explorer.trace.values()
    for spread in ("activations", "gradients"):
        ends = [getattr(of, spread)[-1 if spread == "activations" else 0].item() for of in (large, lecun, he)]
        assert ends[0] > 1e10 and ends[1] < 1e-5 and 0.01 < ends[2] < 100
    assert "over 50 layers" in alternative(explorer)


def test_the_gradient_explorer_can_begin_with_another_cell():
    explorer = gradient_decay_explorer(cell="GRU")
    assert explorer.controls["cell"].value == "GRU"
    assert (
        explorer.controls["forget_bias"].layout.display
        == explorer.controls["activation"].layout.display
        == "none"
    )
    with pytest.raises(ValueError, match="cell must be one of RNN, LSTM, GRU, got 'lstm'"):
        gradient_decay_explorer(cell="lstm")
