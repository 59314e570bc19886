"""Untrained networks have the sizes that were asked for, and send gradients back as theory says."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from seqlib.bptt import gradient_norms
from seqlib.rnn import RNNCell
from seqlib.untrained import depth_statistics, highway_flow, random_cell, random_gradient_flow, random_reading

B, E, H = 3, 5, 7
KINDS = ["RNN", "LSTM", "GRU"]


def a_cell(kind="RNN", seed=0, **options):
    return random_cell(kind, E, H, generator=torch.Generator().manual_seed(seed), **options)


# ----------------------------------------------------------------------------------- random cells


def gates(cell):
    return (cell.h_to_h if isinstance(cell, RNNCell) else cell.h_to_gates).weight.split(H)


@pytest.mark.parametrize(("kind", "number"), [("RNN", 1), ("LSTM", 4), ("GRU", 3)])
@pytest.mark.parametrize("gain", [0.0, 0.7, 1.3])
def test_every_gates_recurrent_matrix_has_the_size_that_was_asked_for(kind, number, gain):
    for W in gates(cell := a_cell(kind, gain=gain)):
        assert np.abs(np.linalg.eigvals(W.numpy())).max() == pytest.approx(gain)
    for W in gates(a_cell(kind, gain=gain, orthogonal=True)):
        assert_close(W @ W.T, gain**2 * torch.eye(H, dtype=torch.float64))
    assert len(gates(cell)) == number
    assert all(parameter.dtype == torch.float64 for parameter in cell.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_random_cell_depends_on_nothing_but_its_generator(kind):
    state = torch.get_rng_state()
    first, second, other = (a_cell(kind, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), state)


def test_no_direction_is_preferred_among_random_orthogonal_matrices():
    cells = [a_cell(seed=seed, orthogonal=True) for seed in range(300)]
    mean = torch.stack([cell.h_to_h.weight for cell in cells]).mean(0)
    assert mean.abs().max() < 0.1  # one element has a standard deviation of 1 / sqrt(7 * 300) = 0.02


def test_forget_bias_and_activation_reach_the_cell():
    biases = a_cell("LSTM", forget_bias=2.5, input_bias=-1.5).x_to_gates.bias.split(H)
    assert [bias.unique().tolist() for bias in biases] == [[-1.5], [2.5], [0.0], [0.0]]
    assert all((part.bias == 0).all() for part in a_cell("GRU").children())
    g = torch.Generator().manual_seed(0)
    x, h = (torch.randn(B, size, dtype=torch.float64, generator=g) for size in (E, H))
    after = a_cell(activation="ReLU")(x, h)
    assert (after >= 0).all() and (after > 1).any()


def test_names_that_are_not_known_are_refused(learner):
    with pytest.raises(ValueError, match="^kind must be 'RNN', 'LSTM' or 'GRU', got 'rnn'$"):
        a_cell("rnn")
    known = "^activation must be one of tanh, sigmoid, ReLU, identity, got 'relu'$"
    with pytest.raises(ValueError, match=known):
        a_cell(activation="relu")
    with pytest.raises(ValueError, match=known):
        depth_statistics(depth=3, width=5, scale=1.0, activation="relu", generator=torch.Generator())
    with pytest.raises(ValueError, match="^hidden_size must be a positive integer, got 0$"):
        random_cell("RNN", E, 0, generator=torch.Generator())


# -------------------------------------------------------------------------------------- the highway


def with_weights(W_h_scale=1.0, T=17):
    g = torch.Generator().manual_seed(3)
    cell = random_cell("LSTM", E, H, gain=W_h_scale, forget_bias=1.5, input_bias=-0.5, generator=g)
    x, v = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((1, T, E), (H,)))
    return cell, x, v


def test_the_gradient_along_all_paths_is_the_one_that_autograd_finds():
    cell, x, v = with_weights()
    assert_close(highway_flow(cell, x, v).gradients, gradient_norms(cell, x, loss=lambda h: h[0, -1] @ v))


def test_the_highway_is_the_gradient_that_autograd_finds_where_none_passes_the_recurrent_weights():
    cell, x, v = with_weights()
    cells = []
    h, c = cell.initial_state(x)
    for x_t in x.unbind(1):
        h, c = cell(x_t, (h.detach(), c.requires_grad_()))
        cells.append(c)
    gradients = torch.autograd.grad(
        h[0] @ v, cells[:-1]
    )  # of c_1 to c_{T-1}; s_T is h_T, whose gradient is v
    expected = torch.stack([*(gradient.norm() for gradient in gradients), v.norm()])
    assert_close(highway_flow(cell, x, v).highway, expected)


def test_without_recurrent_weights_there_is_nothing_but_the_highway():
    flow = highway_flow(*with_weights(W_h_scale=0.0))
    assert_close(flow.gradients, flow.highway)


def test_the_highway_is_followed_down_to_the_smallest_numbers():
    cell, x, v = random_reading("LSTM", length=200, hidden_size=H, forget_bias=-2.0)
    flow = highway_flow(cell, x, v)
    forget = 1 / (1 + math.exp(2.0))
    assert flow.highway[0].log10().item() == pytest.approx(199 * math.log10(forget), rel=0.05)  # -183
    assert (flow.highway.diff() > 0).all()


def test_a_single_step_has_its_own_gradient_only():
    cell, x, v = with_weights(T=1)
    assert_close(highway_flow(cell, x, v), (v.norm()[None], v.norm()[None]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_random_reading_is_the_same_for_the_same_seed_and_its_direction_has_length_1(kind):
    cell, x, v = random_reading(kind, length=11, hidden_size=H, seed=5)
    assert x.shape == (1, 11, 8) and v.shape == (H,)
    assert v.norm().item() == pytest.approx(1)
    flow = random_gradient_flow(cell=kind, length=11, hidden_size=H, seed=5)
    assert_close(flow.gradients, gradient_norms(cell, x, loss=lambda h: h[0, -1] @ v))


# -------------------------------------------------------------------------------- random depth


def depth(activation, scale, layers=13, width=211):
    g = torch.Generator().manual_seed(0)
    return depth_statistics(depth=layers, width=width, scale=scale, activation=activation, generator=g)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_a_linear_network_scales_activations_and_gradients_by_the_same_factor_every_layer(scale):
    found = depth("identity", scale)
    assert len(found.activations) == len(found.gradients) == 14
    k = torch.arange(14).double()
    assert_close(found.activations, scale**k, rtol=0.15, atol=0)
    assert_close(found.gradients, scale ** k.flip(0), rtol=0.15, atol=0)


def test_relu_needs_the_initialisation_of_he():
    # ReLU keeps half of the second moment, so that a scale of sqrt(2) makes up for it.
    he, lecun = depth("ReLU", math.sqrt(2)), depth("ReLU", 1.0)
    assert 0.7 < he.activations[-1] / he.activations[1] < 1.4
    assert 0.7 < he.gradients[0] / he.gradients[-1] < 1.4
    assert lecun.activations[-1] / lecun.activations[1] == pytest.approx(2**-6, rel=0.4)
    assert lecun.gradients[0] == pytest.approx(2**-6.5, rel=0.4)


def test_sigmoid_takes_a_factor_of_four_from_the_gradient_at_every_layer():
    ratios = depth("sigmoid", 1.0).gradients
    assert (ratios[:-1] / ratios[1:] < 0.26).all()


def test_depth_statistics_depend_on_nothing_but_their_generator():
    state = torch.get_rng_state()
    assert_close(depth("tanh", 1.0), depth("tanh", 1.0), rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_depth_and_width_must_be_positive_integers(learner):
    with pytest.raises(ValueError, match="^depth must be a positive integer, got 0$"):
        depth("tanh", 1.0, layers=0)
    with pytest.raises(ValueError, match="^width must be a positive integer, got 2.5$"):
        depth("tanh", 1.0, width=2.5)
