import math

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqlib.bptt import (
    GradientFlow,
    cliff_loss,
    descend,
    gradient_flow,
    gradient_norms,
    truncation,
    windowed_states,
)
from seqlib.figures.bptt import (
    draw_gradient_flow,
    pace,
    plot_cliff,
    plot_depth_statistics,
    plot_gradient_flow,
    plot_non_normal,
    plot_shares,
    plot_truncation,
    update_gradient_flow,
)
from seqlib.untrained import depth_statistics, random_cell, random_gradient_flow

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def a_flow(kind="RNN", *, length=31, **options):
    cell = random_cell(kind, 3, 7, generator=torch.Generator().manual_seed(1), **options)
    return gradient_flow(cell, randn(1, length, 3), randn(7, seed=2))


def made_of(gradients):
    gradients = torch.tensor(gradients, dtype=torch.float64)
    steps = torch.arange(1, len(gradients) + 1)
    return GradientFlow(steps, gradients, steps, gradients, None, None)


def texts(legend):
    return [text.get_text() for text in legend.get_texts()]


# ------------------------------------------------------------------------------ gradients over time


def test_a_flow_is_drawn_as_it_was_measured():
    flow = a_flow()
    gradients, jacobians, sigma_max, rho = plot_gradient_flow(flow).lines[:4]
    for line, x, y in (
        (gradients, flow.steps, flow.gradients),
        (jacobians, flow.probed, flow.jacobians),
        (sigma_max, flow.steps, flow.sigma_max ** torch.arange(30.0, -1, -1, dtype=torch.float64)),
        (rho, flow.steps, flow.rho ** torch.arange(30.0, -1, -1, dtype=torch.float64)),
    ):
        np.testing.assert_array_equal(line.get_xdata(), x)
        np.testing.assert_allclose(line.get_ydata(), y)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_only_a_plain_rnn_is_compared_with_powers(kind):
    ax = plot_gradient_flow(a_flow(kind))
    assert all(np.isnan(line.get_ydata()).all() for line in ax.lines[2:4])
    assert len(texts(ax.get_legend())) == 2
    assert len(texts(plot_gradient_flow(a_flow()).get_legend())) == 4


def test_the_same_artists_show_one_flow_after_another():
    artists = draw_gradient_flow(plt.subplots()[1])
    for kind, labels in (("RNN", 4), ("LSTM", 2), ("RNN", 4)):
        flow = a_flow(kind, length=11)
        update_gradient_flow(artists, flow)
        np.testing.assert_array_equal(artists.gradients.get_ydata(), flow.gradients)
        assert len(texts(artists.ax.get_legend())) == labels


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (0.8, "half-life 3.1 steps"),  # 1 / log2(1 / 0.8) = 3.11
        (1.25, "doubles every 3.1 steps"),
        (0.5, "half-life 1.0 steps"),
        (1.0, "neither fades nor grows"),
    ],
)
def test_headline_tells_the_pace_of_a_linear_orthogonal_network(gain, words):
    flow = a_flow(gain=gain, orthogonal=True, activation="identity")
    assert pace(flow) == words
    assert words in [text.get_text() for text in plot_gradient_flow(flow).texts]


def test_headline_tells_a_gradient_of_zero_from_a_small_one():
    assert pace(made_of([0.0, 0.0, 1e-300, 1.0])) == "gone: exactly 0"
    assert pace(made_of([1e-320, 1e-200, 1e-100, 1.0])).startswith("half-life")
    assert pace(made_of([1.0])) == "neither fades nor grows"
    assert pace(made_of([math.nan, math.inf, 1.0])) == "beyond the largest number"


def test_headline_counts_the_steps_that_float32_loses():
    flow = made_of([1e-50, 0.6e-45, 1e-45, 1e-30, 1.0])
    assert flow.lost_steps == int((flow.gradients.numpy().astype(np.float32) == 0).sum()) == 2
    assert any("(float32: 0 in 2 steps)" in text.get_text() for text in plot_gradient_flow(flow).texts)


def test_shaded_bands_begin_where_float32_ends():
    ax = plot_gradient_flow(a_flow())
    edges = sorted({y for patch in ax.patches for y in (patch.get_y(), patch.get_y() + patch.get_height())})
    limits = np.finfo(np.float32)
    assert edges == pytest.approx([0, float(limits.smallest_subnormal), float(limits.smallest_normal)], abs=0)


def test_axes_change_once_as_the_gradient_fades_and_then_reach_to_the_end_of_float32():
    slow = [plot_gradient_flow(random_gradient_flow(gain=gain)) for gain in (0.9, 1.0, 1.1)]
    fast = [plot_gradient_flow(random_gradient_flow(gain=gain, activation="sigmoid")) for gain in (0.5, 0.9)]
    for axes in (slow, fast):
        assert len({(ax.get_xlim(), ax.get_ylim()) for ax in axes}) == 1
    assert fast[0].get_ylim()[0] < np.finfo(np.float32).smallest_subnormal < slow[0].get_ylim()[0]


@given(st.floats(0.5, 1.5), st.integers(5, 60))
def test_no_gradient_that_grows_leaves_the_picture(gain, length):
    flow = made_of([gain ** (length - t) for t in range(1, length + 1)])
    ax = plot_gradient_flow(flow)
    assert ax.get_ylim()[1] >= flow.gradients.max()
    left, right = ax.get_xlim()
    assert left < 1 and right > length
    plt.close(ax.figure)


def test_bars_are_as_high_as_the_shares():
    shares = torch.tensor([0.0, 0.1, 0.2, 0.7])
    ax = plot_shares(shares)
    assert [bar.get_height() for bar in ax.patches] == pytest.approx(shares.tolist())
    assert [bar.get_x() + bar.get_width() / 2 for bar in ax.patches] == pytest.approx([1, 2, 3, 4])


def test_powers_of_a_non_normal_matrix_are_marked_where_they_peak():
    W = np.array([[0.9, 5.0], [0.0, 0.9]])
    norms = [np.linalg.norm(np.linalg.matrix_power(W, k), 2) for k in range(101)]
    ax = plot_non_normal(torch.tensor(norms), sigma_max=np.linalg.norm(W, 2), rho=0.9)
    powers, sigma_max, rho, peak = ax.lines
    np.testing.assert_allclose(powers.get_ydata(), norms)
    np.testing.assert_allclose(rho.get_ydata(), 0.9 ** np.arange(101))
    np.testing.assert_allclose(sigma_max.get_ydata()[:2], [1, np.linalg.norm(W, 2)])
    assert peak.get_xdata()[0] == np.argmax(norms) == 9
    assert [text.get_text() for text in ax.texts] == ["19.4"]
    bottom, top = ax.get_ylim()
    assert bottom < min(norms) and max(norms) < top


# ------------------------------------------------------------------------------------------ the cliff


def test_landscape_is_the_loss_and_paths_are_the_points_visited():
    start = torch.tensor([5.0, -1.9], dtype=torch.float64)
    paths = {
        label: descend(cliff_loss, start, learning_rate=0.2, steps=5, threshold=threshold)[0]
        for label, threshold in (("small", 0.01), ("none", math.inf))
    }
    ax = plot_cliff(paths, w=(4.0, 5.0), b=(-3.0, -2.0))
    [image] = ax.images
    assert list(image.get_extent()) == [4.0, 5.0, -3.0, -2.0] and image.origin == "lower"
    drawn = image.get_array()
    for row, column, w, b in ((0, 0, 4, -3), (0, -1, 5, -3), (-1, 0, 4, -2), (-1, -1, 5, -2)):
        assert drawn[row, column] == pytest.approx(
            cliff_loss(torch.tensor(w * 1.0), torch.tensor(b * 1.0)).item()
        )
    lines = [line for line in ax.lines if len(line.get_xdata()) > 1]
    ends = [line for line in ax.lines if len(line.get_xdata()) == 1]
    for line, end, points in zip(lines, ends, paths.values(), strict=True):
        np.testing.assert_array_equal(line.get_xydata(), points)
        np.testing.assert_array_equal(end.get_xydata(), points[-1:])
    assert texts(ax.get_legend()) == ["small", "none"]
    assert len({line.get_linestyle() for line in lines}) == len({line.get_marker() for line in lines}) == 2


@pytest.mark.parametrize("number", [0, 5])
def test_a_number_of_paths_that_cannot_be_told_apart_is_refused(number):
    paths = {str(k): torch.zeros(2, 2) for k in range(number)}
    with pytest.raises(ValueError, match="number of paths"):
        plot_cliff(paths)


# ----------------------------------------------------------------------------------------- cut graphs


def a_truncation(*, T=7, B=3, H=5):
    cell = random_cell("RNN", 2, H, orthogonal=True, generator=torch.Generator().manual_seed(1))
    x, target = randn(B, T, 2), randn(B, T, H, seed=1)

    def losses(h):
        return (h - target).square().mean((0, 2))

    return cell, x, losses, truncation(cell, x, losses)


def test_truncated_gradients_are_compared_with_that_of_the_whole_sequence():
    cell, x, losses, trace = a_truncation()

    def gradient(window):
        W = cell.h_to_h.weight.detach().clone().requires_grad_()
        h, states = torch.zeros(3, 5, dtype=torch.float64), []
        for t in range(7):
            if t % window == 0:
                h = h.detach()
            h = torch.tanh(cell.x_to_h(x[:, t]) + h @ W.T)
            states.append(h)
        losses(torch.stack(states, 1)).sum().backward()
        return W.grad.numpy().ravel()

    full = gradient(7)
    for window in range(1, 8):
        cut = gradient(window)
        cosine = cut @ full / np.linalg.norm(cut) / np.linalg.norm(full)
        assert trace.cosine[window - 1].item() == pytest.approx(cosine)
        assert trace.norm_ratio[window - 1].item() == pytest.approx(
            np.linalg.norm(cut) / np.linalg.norm(full)
        )
    assert trace.windows.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert trace.memory.tolist() == pytest.approx([window / 7 for window in range(1, 8)])
    assert trace.cosine[-1].item() == pytest.approx(1) and trace.norm_ratio[-1] == 1
    assert not cell.h_to_h.weight.requires_grad  # as it was before


def test_reach_is_the_gradient_of_each_loss_at_each_state():
    cell, x, losses, trace = a_truncation()
    for t in range(1, 8):
        expected = gradient_norms(cell, x, loss=lambda h, t=t: losses(h)[t - 1])
        torch.testing.assert_close(trace.reach[t - 1], expected)
    assert trace.reach.triu(1).eq(0).all() and trace.reach.tril()[trace.reach.tril() != 0].numel() == 28


@pytest.mark.parametrize("window", range(1, 8))
def test_what_lies_under_the_veil_is_what_a_window_does_not_reach(window):
    cell, x, losses, trace = a_truncation()
    left, right = plot_truncation(trace, window=window)
    [veil] = [path for collection in left.collections for path in collection.get_paths()]  # one: no seams
    # How much each step's loss depends on each step's input, through the cut graph.
    x = x.clone().requires_grad_()
    states = windowed_states(cell, x, window=window)
    for t, loss in enumerate(losses(states), 1):
        (gradient,) = torch.autograd.grad(loss, x, retain_graph=True)
        for k in range(1, t + 1):
            assert veil.contains_point((k, t)) == (gradient[:, k - 1].norm() == 0)


def test_marks_and_numbers_are_those_of_the_window():
    *_, trace = a_truncation()
    left, right = plot_truncation(trace, window=3)
    values = [trace.cosine[2].item(), trace.norm_ratio[2].item(), trace.memory[2].item()]
    marked = [line for line in right.lines if list(line.get_xdata()) == [3]]
    assert [line.get_ydata()[0] for line in marked] == values
    assert texts(right.get_legend()) == [
        f"{name} {value:.2f}" for name, value in zip(("cosine", "norm", "memory"), values, strict=True)
    ]
    curves = [line for line in right.lines if len(line.get_xdata()) == 7]
    for line, values in zip(curves, (trace.cosine, trace.norm_ratio, trace.memory), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), values)
    np.testing.assert_array_equal(np.ma.filled(left.images[0].get_array(), 0), trace.reach)


def test_the_colours_of_a_colour_bar_leave_no_gaps_for_hairlines():
    *_, trace = a_truncation()
    for ax in (plot_truncation(trace, window=3)[0], plot_cliff({"a": torch.zeros(2, 2)})):
        solids = ax.images[0].colorbar.solids
        ax.figure.draw_without_rendering()
        np.testing.assert_array_equal(solids.get_edgecolor(), solids.get_facecolor())


@pytest.mark.parametrize("window", [0, 8])
def test_a_window_outside_of_the_sequence_is_refused(window):
    *_, trace = a_truncation()
    with pytest.raises(ValueError, match="window"):
        plot_truncation(trace, window=window)


# ------------------------------------------------------------------------------- deep initialisation


def spreads(*scales, depth=13):
    return {
        str(scale): depth_statistics(
            depth=depth, width=11, scale=scale, activation="tanh", generator=torch.Generator().manual_seed(0)
        )
        for scale in scales
    }


def test_spreads_are_drawn_as_they_were_measured():
    statistics = spreads(0.3, 1.0, 2.0)
    left, right = plot_depth_statistics(statistics)
    for values, *lines in zip(statistics.values(), left.lines, right.lines, strict=True):
        for line, std in zip(lines, values, strict=True):
            np.testing.assert_array_equal(line.get_xdata(), range(14))
            np.testing.assert_array_equal(line.get_ydata(), std)
    assert texts(left.get_legend()) == ["0.3", "1.0", "2.0"]
    first = statistics["0.3"]
    for ax, values in ((left, first.activations), (right, first.gradients)):
        [title] = [text.get_text() for text in ax.texts]
        assert f"{values[0]:.2g}" in title and f"{values[-1]:.2g}" in title


@pytest.mark.parametrize("scale", [0.01, 0.2, 1.0, 3.0])
def test_all_spreads_are_inside_of_the_picture(scale):
    statistics = spreads(scale)
    for ax, std in zip(plot_depth_statistics(statistics), statistics[str(scale)], strict=True):
        bottom, top = ax.get_ylim()
        assert bottom < std.min() and std.max() < top
        assert ax.get_xlim() == (0, 13)


def test_a_fourth_line_of_spreads_is_refused():
    with pytest.raises(ValueError, match="labels"):
        plot_depth_statistics(spreads(0.1, 0.2, 0.3, 0.4))
