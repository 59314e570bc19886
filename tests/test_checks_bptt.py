"""The exercises on backpropagation through time: references against autograd, mistakes and their messages."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import seqlib.bptt
from seqlib.checks import bptt as check
from seqlib.checks.bptt import _bptt, _clip_by_norm, _jacobian_product, _truncated_windows
from seqlib.checks.exercise import Exercise
from seqlib.rnn import RNNCell

EXERCISES = {name: value for name, value in vars(check).items() if isinstance(value, Exercise)}


# The references against oracles, in float64


def sequence(seed, B=2, T=5, E=3, H=7):
    g = torch.Generator().manual_seed(seed)
    shapes = [(B, T, E), (B, H), (E, H), (H, H), (H,)]
    return [torch.randn(*shape, generator=g, dtype=torch.float64) for shape in shapes]


def states_of(x, h_0, W_xh, W_hh, b):
    states = [h_0]
    for x_t in x.unbind(1):
        states.append(torch.tanh(x_t @ W_xh + states[-1] @ W_hh + b))
    return states


@given(seed=st.integers(0, 10**6), T=st.integers(1, 11))
@settings(deadline=None, max_examples=25)
def test_bptt_by_hand_equals_autograd(seed, T):
    x, h_0, W_xh, W_hh, b = sequence(seed, T=T)
    W_hh.requires_grad_()
    states = states_of(x, h_0, W_xh, W_hh, b)
    dL_dh = torch.randn(2, T, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    loss = (torch.stack(states[1:], 1) * dL_dh).sum()
    (truth,) = torch.autograd.grad(loss, W_hh)
    h = torch.stack(states, 1).detach()
    torch.testing.assert_close(_bptt(h, W_hh.detach(), dL_dh), truth, rtol=1e-10, atol=1e-10)
    ours = seqlib.bptt.backward_through_time(x, h, W_xh, W_hh.detach(), dL_dh).W_hh
    torch.testing.assert_close(ours, truth, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_product_of_jacobians_equals_autograd(k):
    x, h_0, W_xh, W_hh, b = sequence(0, B=1)
    states = [h[0] for h in states_of(x, h_0, W_xh, W_hh, b)]

    def last_state(h):
        return states_of(x[:, 5 - k :], h[None], W_xh, W_hh, b)[-1][0]

    truth = torch.autograd.functional.jacobian(last_state, states[5 - k])
    torch.testing.assert_close(_jacobian_product(torch.stack(states), W_hh, k), truth, rtol=1e-10, atol=1e-10)


@given(seed=st.integers(0, 10**6), threshold=st.floats(0.01, 100))
@settings(deadline=None, max_examples=25)
def test_clipping_equals_torchs_clip_grad_norm(seed, threshold):
    g = torch.Generator().manual_seed(seed)
    parameters = [torch.zeros(3, 5, dtype=torch.float64), torch.zeros(7, dtype=torch.float64)]
    gradients = [torch.randn(p.shape, generator=g, dtype=torch.float64) for p in parameters]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_(parameters, threshold)
    clipped = _clip_by_norm(gradients, threshold)
    for parameter, gradient in zip(parameters, clipped, strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("window", [1, 2, 3, 5, 11, 13])
def test_truncated_windows_equal_those_of_the_package(window):
    x, _, W_xh, W_hh, b = sequence(0, T=11)
    cell = RNNCell(3, 7).double()
    with torch.no_grad():
        cell.x_to_h.weight.copy_(W_xh.T)
        cell.x_to_h.bias.copy_(b)
        cell.h_to_h.weight.copy_(W_hh.T)
    theirs = seqlib.bptt.windowed_states(cell, x, window=window)
    (gradient,) = torch.autograd.grad(theirs.sum(), cell.h_to_h.weight)
    W_hh.requires_grad_()
    ours = _truncated_windows(x, torch.zeros(2, 7, dtype=torch.float64), W_xh, W_hh, b, window)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours.sum(), W_hh)[0], gradient.T)


# Other right answers


def bptt_by_autograd_of_each_step(h, W_hh, dL_dh):
    """Uses the equation in its summed form: every loss t, every use k of W_hh."""
    T = dL_dh.shape[1]
    total = torch.zeros_like(W_hh)
    for t in range(T):
        g = dL_dh[:, t]
        for k in range(t, -1, -1):
            g = g * (1 - h[:, k + 1] ** 2)
            total += torch.einsum("bi,bj->ij", h[:, k], g)
            g = g @ W_hh.T
    return total


def product_by_rows(h, W_hh, k):
    J = torch.eye(len(W_hh))
    for t in range(len(h) - k, len(h)):  # from the past to the present
        J = (1 - h[t] ** 2)[:, None] * (W_hh.T @ J)
    return J


def clip_as_torch_does(gradients, threshold):
    norm = torch.norm(torch.stack([g.norm() for g in gradients]))
    if norm <= threshold:
        return list(gradients)
    return tuple(g * threshold / (norm + 1e-6) for g in gradients)


def windows_by_counting(x, h_0, W_xh, W_hh, b, window):
    h, states = h_0, []
    for t in range(x.shape[1]):
        if t % window == 0:
            h = h.detach().clone()
        h = torch.tanh(torch.addmm(b, x[:, t], W_xh) + h @ W_hh)
        states += [h]
    return torch.stack(states, dim=1)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("bptt", bptt_by_autograd_of_each_step),
        ("jacobian_product", product_by_rows),
        ("clip_by_norm", clip_as_torch_does),
        ("truncated_windows", windows_by_counting),
    ],
)
@pytest.mark.parametrize("seed", range(10))
def test_other_right_answers_are_correct(name, function, seed):
    report = EXERCISES[name](function, seed=seed)
    assert report.correct, report


# Mistakes that are no banked implementation


def test_clipping_in_place_is_found_out():
    def in_place(gradients, threshold):
        scale = min(1.0, threshold / torch.cat([g.flatten() for g in gradients]).norm().item())
        for g in gradients:
            g.mul_(scale)
        return gradients

    report = check.clip_by_norm(in_place)
    assert report.status == "wrong"
    assert report.message == "It changes its argument gradients in place. Make a new tensor instead."


def test_clipping_in_place_one_by_one_is_found_out():
    def into_the_list(gradients, threshold):
        for i, gradient in enumerate(gradients):
            gradients[i] = gradient * min(1.0, threshold / 7)
        return gradients

    assert check.clip_by_norm(into_the_list).message.startswith("It changes its argument gradients in place.")


def test_gradients_that_are_all_zero_are_tried():
    def without_care(gradients, threshold):
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        return [g * (min(norm, threshold) / norm) for g in gradients]

    report = check.clip_by_norm(without_care)
    assert report.status == "mistake" and "0 / 0 is NaN" in report.message


def test_the_first_fault_is_told_first_where_the_norm_of_zero_is_divided_by_as_well():
    report = check.clip_by_norm(
        lambda gradients, threshold: [g * min(1.0, threshold / g.norm().item()) for g in gradients]
    )
    assert report.message.startswith("Each tensor is clipped by itself")


def test_the_factor_of_clipping_may_be_a_python_number():
    def carefully(gradients, threshold):
        norm = sum(g.square().sum().item() for g in gradients) ** 0.5
        return [g * threshold / norm if norm > threshold else g for g in gradients]

    assert check.clip_by_norm(carefully).correct


def by_hand_with(h, W_hh, dL_dh, *, shift):
    """All indices of the states moved by `shift`, as whoever forgets h_0 writes it."""
    dL_dW, future = torch.zeros_like(W_hh), torch.zeros_like(h[:, 0])
    for t in reversed(range(dL_dh.shape[1])):
        dL_da = (dL_dh[:, t] + future) * (1 - h[:, t + 1 + shift] ** 2)
        dL_dW += h[:, t + shift].T @ dL_da
        future = dL_da @ W_hh.T
    return dL_dW


def test_states_one_step_off_are_found_out():
    assert check.bptt(lambda *args: by_hand_with(*args, shift=0)).correct
    early = check.bptt(lambda *args: by_hand_with(*args, shift=-1))
    assert early.status == "mistake" and "The states are one step off" in early.message
    late = check.bptt(lambda *args: by_hand_with(*args, shift=1))
    assert late.status == "mistake" and "h has T+1 entries" in late.message and "IndexError" in late.message


def test_windows_without_any_graph_are_found_out():
    def without_graph(*args):
        with torch.no_grad():
            return windows_by_counting(*args)

    report = check.truncated_windows(without_graph)
    assert report.status == "wrong" and "cut off from the graph" in report.message


@pytest.mark.parametrize(
    ("cut", "complaint"),
    [
        (lambda t, h: h.detach(), None),
        (lambda t, h: h.detach_(), "The last state of each window is detached before it is kept"),
        (lambda t, h: h.clone(), "The graph isn't cut"),
        (lambda t, h: torch.zeros_like(h), "Each window starts from zeros"),
    ],
)
def test_what_is_done_at_a_border_decides(cut, complaint):
    def function(x, h_0, W_xh, W_hh, b, window):
        h, states = h_0, []
        for t, x_t in enumerate(x.unbind(1), start=1):
            h = torch.tanh(x_t @ W_xh + h @ W_hh + b)
            states.append(h)
            if t % window == 0:
                h = cut(t, h)
        return torch.stack(states, 1)

    report = check.truncated_windows(function)
    assert report.correct if complaint is None else report.message.startswith(complaint)


def test_an_unknown_cut_shows_which_gradient_differs():
    report = check.truncated_windows(
        lambda x, h_0, W_xh, *rest: windows_by_counting(x.detach(), h_0, W_xh, *rest)
    )
    assert report.status == "wrong"
    assert report.message.startswith(
        "The gradient of the result's sum by x differs first at [0, 0, 0]: expected "
    )
    assert "The states are those of unroll." in report.message
