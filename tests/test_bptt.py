"""Backpropagation through time by hand is autograd's, and what is said about gradients over time holds."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from seqlib.bptt import (
    GradientFlow,
    backward_through_time,
    cliff_loss,
    clip_by_norm,
    clip_by_value,
    descend,
    final_state_jacobians,
    gradient_flow,
    gradient_norms,
    rnn_states,
    spectral_radius,
    truncation,
    unroll,
    windowed_states,
)
from seqlib.rnn import RNNCell
from seqlib.untrained import ACTIVATIONS, random_cell

B, T, E, H = 3, 11, 5, 7
KINDS = ["RNN", "LSTM", "GRU"]


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def a_cell(kind="RNN", seed=0, **options):
    return random_cell(kind, E, H, generator=torch.Generator().manual_seed(seed), **options)


def as_parts(state):
    return state if isinstance(state, tuple) else (state,)


def h_from(cell, x, t, parts):
    """h_t to h_T by a plain loop from the state after step t: (B, T - t + 1, H)."""
    h, state = [parts[0]], parts if len(parts) > 1 else parts[0]
    for x_t in x[:, t:].unbind(1):
        state = cell(x_t, state)
        h.append(as_parts(state)[0])
    return torch.stack(h, 1)


# ---------------------------------------------------------------------------------------- by hand


def problem():
    """x, h_0, W_xh, W_hh, b of a small recurrence."""
    shapes = [(B, T, E), (B, H), (E, H), (H, H), (H,)]
    return [randn(*shape, seed=n).requires_grad_() for n, shape in enumerate(shapes)]


def states_by_a_plain_loop(x, h, W_xh, W_hh, b):
    states = []
    for t in range(x.shape[1]):
        h = torch.tanh(x[:, t] @ W_xh + h @ W_hh + b)
        states.append(h)
    return torch.stack(states, 1)


def test_hand_written_gradients_equal_those_of_autograd():
    arguments = problem()
    found, expected = rnn_states(*arguments), states_by_a_plain_loop(*arguments)
    assert_close(found, expected, rtol=0, atol=1e-10)
    dL_dh = randn(B, T, H, seed=7)
    assert_close(
        torch.autograd.grad(found, arguments, dL_dh),
        torch.autograd.grad(expected, arguments, dL_dh),
        rtol=0,
        atol=1e-10,
    )


def test_backward_through_time_returns_every_gradient_by_its_name():
    arguments = x, h_0, W_xh, W_hh, b = problem()
    states = states_by_a_plain_loop(*arguments)
    dL_dh = randn(B, T, H, seed=7)
    with torch.no_grad():
        found = backward_through_time(x, torch.cat([h_0[:, None], states], 1), W_xh, W_hh, dL_dh)
    names = {"x": x, "h_0": h_0, "W_xh": W_xh, "W_hh": W_hh, "b": b}
    expected = torch.autograd.grad(states, arguments, dL_dh)
    for (name, argument), gradient in zip(names.items(), expected, strict=True):
        assert getattr(found, name).shape == argument.shape
        assert_close(getattr(found, name), gradient, rtol=0, atol=1e-10)


def test_hand_written_gradients_equal_finite_differences():
    shapes = [(2, 3, 5), (2, 7), (5, 7), (7, 7), (7,)]
    arguments = [randn(*shape, seed=n).requires_grad_() for n, shape in enumerate(shapes)]
    assert torch.autograd.gradcheck(rnn_states, arguments)


def test_hand_written_states_are_those_of_the_cell():
    cell, x, h = a_cell(), randn(B, T, E, seed=1), randn(B, H, seed=2)
    W_xh, W_hh, b = cell.x_to_h.weight.mT, cell.h_to_h.weight.mT, cell.x_to_h.bias
    assert_close(rnn_states(x, h, W_xh, W_hh, b), cell.unroll(x, h)[0])


# ------------------------------------------------------------------------------ gradients over time


def norms_one_call_for_each_step(cell, x, loss):
    """||dL/ds_t||, by cutting the loop open at every step t."""
    with torch.no_grad():
        states = unroll(cell, x)
        h = torch.stack([parts[0] for parts in states], 1)
    norms = []
    for t, parts in enumerate(states, 1):
        parts = tuple(part.clone().requires_grad_() for part in parts)
        value = loss(torch.cat([h[:, : t - 1], h_from(cell, x, t, parts)], 1))
        gradients = torch.autograd.grad(value, parts, materialize_grads=True)
        norms.append(torch.cat([gradient.flatten() for gradient in gradients]).norm())
    return torch.stack(norms)


LOSSES = {
    "last": lambda h: h[:, -1].sum(),
    "all": lambda h: (h * torch.linspace(-1, 1, h.numel(), dtype=h.dtype).view_as(h)).sum(),
    "square of one": lambda h: h[1, 4].square().sum(),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_norms_equal_one_autograd_call_for_each_step(kind, loss):
    cell, x = a_cell(kind), randn(B, T, E, seed=1)
    expected = norms_one_call_for_each_step(cell, x, LOSSES[loss])
    assert_close(gradient_norms(cell, x, loss=LOSSES[loss]), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_loss_of_gradient_norms_is_the_last_state_if_none_is_given(kind):
    cell, x = a_cell(kind), randn(B, T, E, seed=1)
    assert_close(gradient_norms(cell, x), gradient_norms(cell, x, loss=LOSSES["last"]))


def test_a_loss_in_the_middle_sends_no_gradient_into_the_future():
    norms = gradient_norms(a_cell(), randn(B, T, E, seed=1), loss=LOSSES["square of one"])
    assert (norms[:5] > 0).all() and (norms[5:] == 0).all()


def test_gradient_norms_leave_the_cell_as_it_was():
    cell = RNNCell(E, H)
    norms = gradient_norms(cell, randn(B, T, E).float())
    assert norms.dtype == torch.float64 and norms.shape == (T,)
    assert all(parameter.grad is None for parameter in cell.parameters())
    with torch.no_grad():
        assert torch.equal(gradient_norms(cell, randn(B, T, E).float()), norms)


@pytest.mark.parametrize("kind", KINDS)
def test_unrolling_takes_one_step_after_the_other(kind):
    cell, x = a_cell(kind), randn(B, T, E, seed=1)
    h = torch.stack([parts[0] for parts in unroll(cell, x)], 1)
    assert_close(h, h_from(cell, x, 0, as_parts(cell.initial_state(x)))[:, 1:])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_jacobians_of_an_rnn_equal_those_of_torch(activation):
    assert_jacobians_equal_those_of_torch(a_cell(activation=activation))


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_jacobians_of_gated_cells_equal_those_of_torch(kind):
    assert_jacobians_equal_those_of_torch(a_cell(kind))


def assert_jacobians_equal_those_of_torch(cell):
    x = randn(1, T, E, seed=1)
    with torch.no_grad():
        states = unroll(cell, x)
    for t, (J, parts) in enumerate(zip(final_state_jacobians(cell, x), states, strict=True), 1):

        def h_T(*parts, t=t):
            return h_from(cell, x, t, parts)[0, -1]

        blocks = torch.autograd.functional.jacobian(h_T, parts)  # (H, 1, H) for each part of the state
        assert_close(J, torch.cat([block[:, 0] for block in blocks], 1))


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_flow_measures_the_gradient_of_a_projection_of_the_last_state(kind):
    cell, x, v = a_cell(kind), randn(1, T, E, seed=1), randn(H, seed=2)
    flow = gradient_flow(cell, x, v)
    assert flow.steps.tolist() == list(range(1, T + 1))
    assert_close(flow.gradients, gradient_norms(cell, x, loss=lambda h: (h[0, -1] * v).sum()))


@pytest.mark.parametrize("probes", [2, 4, 24])
def test_jacobians_are_probed_from_the_first_step_to_the_last(probes):
    cell, x = a_cell("GRU"), randn(1, T, E, seed=1)
    flow = gradient_flow(cell, x, randn(H), probes=probes)
    assert len(flow.probed) == len(flow.jacobians) == min(probes, T)
    assert flow.probed[0] == 1 and flow.probed[-1] == T and (flow.probed.diff() > 0).all()
    J = final_state_jacobians(cell, x).numpy()
    assert flow.jacobians.tolist() == pytest.approx([np.linalg.norm(J[t - 1], 2) for t in flow.probed])


def test_gradients_and_jacobians_stay_below_their_bounds():
    cell, x, v = a_cell(gain=1.5), randn(1, T, E, seed=1), randn(H, seed=2)
    flow = gradient_flow(cell, x, v)
    bound = flow.sigma_max ** (T - flow.probed).double()
    assert (flow.jacobians <= bound * (1 + 1e-12)).all()
    assert (flow.gradients <= v.norm() * flow.sigma_max ** (T - flow.steps).double() * (1 + 1e-12)).all()
    assert flow.sigma_max > flow.rho == pytest.approx(1.5)


def test_only_a_plain_rnn_has_one_matrix_to_bound_it():
    for kind in ("LSTM", "GRU"):
        flow = gradient_flow(a_cell(kind), randn(1, T, E), randn(H))
        assert flow.sigma_max is None and flow.rho is None


@pytest.mark.parametrize("gain", [0.5, 0.9, 0.99, 1.25, 2.0])
def test_gradient_of_a_linear_orthogonal_network_halves_as_its_gain_says(gain):
    cell = a_cell(gain=gain, orthogonal=True, activation="identity")
    flow = gradient_flow(cell, randn(1, 53, E), randn(H))
    assert flow.half_life == pytest.approx(-math.log(2) / math.log(gain), rel=1e-9)
    assert flow.jacobians.tolist() == pytest.approx((gain ** (53 - flow.probed).double()).tolist())


def a_flow(gradients):
    """A GradientFlow of which only the gradients matter."""
    steps = torch.arange(1, len(gradients) + 1)
    gradients = torch.tensor(gradients, dtype=torch.float64)
    return GradientFlow(steps, gradients, steps[:1], gradients[:1], None, None)


def test_half_life_leaves_out_what_is_not_measured_and_says_when_nothing_is_left():
    assert a_flow([0.0, 0.0, 1.0, 2.0, 4.0]).half_life == pytest.approx(1)
    assert a_flow([8.0, 4.0, 2.0, 1.0]).half_life == pytest.approx(-1)
    assert a_flow([math.nan, math.inf, 4.0, 2.0, 1.0]).half_life == pytest.approx(-1)
    assert abs(a_flow([3.0, 3.0, 3.0]).half_life) == math.inf
    assert math.isnan(a_flow([0.0, 0.0, 1.0]).half_life)
    assert math.isnan(a_flow([1.0]).half_life)
    assert math.isnan(a_flow([math.nan, math.inf, 2.0]).half_life)


def test_a_flow_is_measured_as_far_as_its_numbers_reach():
    cell = a_cell(gain=4.0, orthogonal=True, activation="identity").float()
    flow = gradient_flow(cell, torch.zeros(1, 101, E), torch.ones(H))
    assert not flow.gradients.isfinite().all() and flow.gradients[-1] > 0
    assert flow.half_life == pytest.approx(-0.5, rel=1e-4)
    measured = flow.jacobians.isfinite()
    expected = 4.0 ** (101 - flow.probed[measured]).double()
    assert flow.jacobians[measured].tolist() == pytest.approx(expected.tolist(), rel=1e-4)
    assert flow.jacobians.isnan().any() and len(expected) > 12


@given(st.integers(1, 7), st.integers(0, 2**32))
def test_spectral_radius_is_the_growth_rate_of_powers(size, seed):
    W = randn(size, size, seed=seed)
    rho = spectral_radius(W)
    assert rho == pytest.approx(np.abs(np.linalg.eigvals(W.numpy())).max())
    # Gelfand's formula: ||W^k||^(1/k) -> rho. Scaled, so that the power stays in range.
    power = np.linalg.norm(np.linalg.matrix_power(W.numpy() / rho, 4096), 2) ** (1 / 4096)
    assert power == pytest.approx(1, abs=0.01)


def test_a_matrix_of_zeros_has_no_radius():
    assert spectral_radius(torch.zeros(H, H)) == 0


def test_a_loss_of_many_numbers_is_refused():
    with pytest.raises(ValueError, match=r"^loss must return a scalar, got shape \(3, 7\)$"):
        gradient_norms(a_cell(), randn(B, T, E), loss=lambda h: h[:, -1])


# --------------------------------------------------------------------------------------- clipping

numbers = st.floats(-1e6, 1e6).map(lambda number: 0.0 if abs(number) < 1e-6 else number)
vectors = st.lists(numbers, min_size=1, max_size=7).map(lambda v: torch.tensor(v, dtype=torch.float64))
many_gradients = st.lists(vectors, min_size=1, max_size=3)
thresholds = st.floats(1e-3, 1e3)


@given(many_gradients, thresholds)
def test_clipping_by_norm_keeps_the_direction_and_bounds_the_length(gradients, threshold):
    before, after = torch.cat(gradients), torch.cat(clip_by_norm(gradients, threshold))
    assert after.norm() <= threshold * (1 + 1e-12)
    assert_close(after * before.norm(), before * after.norm())  # parallel, and not turned around
    assert torch.dot(before, after) >= 0


@given(many_gradients, thresholds | st.just(math.inf))
def test_clipping_by_norm_changes_nothing_below_the_threshold(gradients, threshold):
    norm = float(torch.cat(gradients).norm())
    after = clip_by_norm(gradients, threshold)
    if norm < threshold * (1 - 1e-12):  # closer than that, it may be one rounding off
        assert all(map(torch.equal, after, gradients))
    else:
        assert float(torch.cat(after).norm()) == pytest.approx(threshold)


@given(many_gradients, thresholds)
def test_clipping_by_norm_agrees_with_torch(gradients, threshold):
    parameters = [torch.zeros_like(gradient).requires_grad_() for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_(parameters, threshold)
    expected = [parameter.grad for parameter in parameters]
    assert_close(
        clip_by_norm(gradients, threshold), expected, rtol=1e-5, atol=1e-5
    )  # torch adds 1e-6 to the norm


@given(many_gradients, thresholds)
def test_clipping_by_value_agrees_with_torch(gradients, threshold):
    parameters = [torch.zeros_like(gradient).requires_grad_() for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    torch.nn.utils.clip_grad_value_(parameters, threshold)
    assert all(map(torch.equal, clip_by_value(gradients, threshold), [p.grad for p in parameters]))


def test_clipping_by_value_changes_the_direction():
    gradient = torch.tensor([30.0, 1.0])
    (by_norm,), (by_value,) = clip_by_norm([gradient], 2.0), clip_by_value([gradient], 2.0)
    assert torch.cosine_similarity(by_norm, gradient, 0) > 0.9999
    assert by_value.tolist() == [2, 1]
    assert torch.cosine_similarity(by_value, gradient, 0) < 0.95


@pytest.mark.parametrize("clip", [clip_by_norm, clip_by_value])
@pytest.mark.parametrize("threshold", [0.0, -1.0, math.nan])
def test_a_threshold_that_makes_no_sense_is_named(clip, threshold):
    with pytest.raises(ValueError, match=f"^threshold must be positive, got {threshold}$"):
        clip([torch.ones(3)], threshold)


# --------------------------------------------------------------------------------- truncated BPTT


@pytest.mark.parametrize("window", [1, 3, 4, T, T + 2])
def test_cutting_the_graph_changes_no_state(window):
    cell, x = a_cell(), randn(B, T, E, seed=1)
    expected, _ = cell.unroll(x, cell.initial_state(x))
    assert_close(windowed_states(cell, x, window=window), expected)


@pytest.mark.parametrize("window", [T, T + 2])
def test_a_window_of_the_whole_sequence_gives_the_full_gradient(window):
    cell, x = a_cell().requires_grad_(), randn(B, T, E, seed=1)
    whole, _ = cell.unroll(x, cell.initial_state(x))
    parameters = list(cell.parameters())
    assert_close(
        torch.autograd.grad(windowed_states(cell, x, window=window).square().sum(), parameters),
        torch.autograd.grad(whole.square().sum(), parameters),
    )


@pytest.mark.parametrize("window", [1, 3, 4])
def test_gradient_does_not_reach_over_a_cut(window):
    cell, x = a_cell(), randn(B, T, E, seed=1).requires_grad_()
    states = windowed_states(cell, x, window=window)
    for t in range(T):
        (gradient,) = torch.autograd.grad(states[:, t].sum(), x, retain_graph=True)
        reached = (gradient != 0).flatten(2).any(2).all(0).nonzero().flatten().tolist()
        assert reached == list(range(t - t % window, t + 1))


@pytest.mark.parametrize("window", [0, -3])
def test_a_window_without_a_step_is_refused(window):
    with pytest.raises(ValueError, match=f"^window must be at least 1, got {window}$"):
        windowed_states(a_cell(), randn(B, T, E), window=window)


@pytest.mark.parametrize("trainable", [True, False])
def test_measuring_truncation_leaves_the_cell_as_it_was(trainable):
    cell, x = a_cell().requires_grad_(trainable), randn(B, T, E, seed=1)

    def interrupted(h):
        raise KeyboardInterrupt

    truncation(cell, x, lambda h: h.square().sum((0, 2)))
    with pytest.raises(KeyboardInterrupt):
        truncation(cell, x, interrupted)
    assert all(parameter.requires_grad == trainable for parameter in cell.parameters())
    assert all(parameter.grad is None for parameter in cell.parameters())


# ----------------------------------------------------------------------------- cliffs and descent


@given(st.floats(-7, 7), st.floats(-3, 3), st.integers(1, 59))
def test_loss_with_a_cliff_equals_a_loop_over_plain_numbers(w, b, steps):
    def sigmoid(a):
        return 1 / (1 + math.exp(-a))

    a = 0.5
    for _ in range(steps):
        a = w * sigmoid(a) + b
    w_b = torch.tensor([[w], [b]], dtype=torch.float64)
    found = cliff_loss(*w_b, steps=steps)
    assert found.tolist() == pytest.approx([(sigmoid(a) - 0.7) ** 2], abs=1e-9)


def test_the_cliff_is_steep():
    b = torch.linspace(-3, -2, 2001, dtype=torch.float64)
    loss = cliff_loss(torch.full_like(b, 5.0), b)
    jumps = loss.diff().abs()
    assert jumps.max() > 100 * jumps.median()


def bowl(u, v):
    return (3 * u**2 + 5 * v**2) / 2


def test_descent_in_a_bowl_is_what_algebra_says():
    points, norms = descend(bowl, torch.tensor([2.0, -1.0]).double(), learning_rate=0.1, steps=7)
    rates = torch.tensor([1 - 0.3, 1 - 0.5], dtype=torch.float64)
    expected = torch.tensor([2.0, -1.0]) * rates ** torch.arange(8)[:, None]
    assert_close(points, expected)
    assert_close(norms, (expected[:-1] * torch.tensor([3, 5])).norm(dim=1))


def test_no_step_of_a_clipped_descent_is_longer_than_the_threshold_allows():
    start = torch.tensor([20.0, -10.0]).double()
    points, norms = descend(bowl, start, learning_rate=0.1, steps=251, threshold=2.0)
    lengths = points.diff(dim=0).norm(dim=1)
    assert_close(lengths, 0.1 * norms.clamp(max=2.0))
    assert norms[0] > 2 > norms[-1]  # norms are those before clipping, and the end is reached unclipped
