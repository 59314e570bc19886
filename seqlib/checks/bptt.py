"""Exercises of the chapter on backpropagation through time.

The network is h_t = tanh(x_t W_xh + h_(t-1) W_hh + b), with rows as vectors, as in the exercises on recurrent
networks. Dimensions: B batch, T time, E input features, H hidden. Batch first.
"""

import functools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Generator, Tensor

from seqlib.checks.exercise import Exercise, Function

# ------------------------------------------------------------------------------------- by hand


def _bptt(h: Tensor, W_hh: Tensor, dL_dh: Tensor) -> Tensor:
    """dL/dW_hh of h_t = tanh(x_t W_xh + h_(t-1) W_hh + b), by hand and without autograd.

    h      (B, T+1, H)  the states h_0 to h_T
    W_hh   (H, H)
    dL_dh  (B, T, H)    what h_1 to h_T change in the loss directly, apart from their effect on later states
    ->     (H, H)       summed over the batch and over time
    """
    dL_dW = torch.zeros_like(W_hh)
    future = torch.zeros_like(h[:, 0])  # (B, H): dL/dh_t through all later states
    for t in reversed(range(dL_dh.shape[1])):
        before, after = h[:, t], h[:, t + 1]
        dL_da = (dL_dh[:, t] + future) * (1 - after**2)  # a is what the tanh is taken of
        dL_dW = dL_dW + before.T @ dL_da
        future = dL_da @ W_hh.T
    return dL_dW


def _bptt_inputs(g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    B, T, H = 3, 5, 7
    h = torch.tanh(torch.randn(B, T + 1, H, generator=g))
    return h, torch.randn(H, H, generator=g) / H**0.5, torch.randn(B, T, H, generator=g)


def _bptt_with(
    *,
    derivative: Function = lambda direct, future, before, after: (direct + future) * (1 - after**2),
    factor: Function = lambda before, after: before,
    back: Function = lambda dL_da, W_hh: dL_da @ W_hh.T,
    forwards: bool = False,
) -> Function:
    """The same loop with one of its rules changed."""

    def function(h: Tensor, W_hh: Tensor, dL_dh: Tensor) -> Tensor:
        dL_dW, future = torch.zeros_like(W_hh), torch.zeros_like(h[:, 0])
        steps = range(dL_dh.shape[1])
        for t in steps if forwards else reversed(steps):
            dL_da = derivative(dL_dh[:, t], future, h[:, t], h[:, t + 1])
            dL_dW = dL_dW + factor(h[:, t], h[:, t + 1]).T @ dL_da
            future = back(dL_da, W_hh)
        return dL_dW

    return function


def _last_loss_only(h: Tensor, W_hh: Tensor, dL_dh: Tensor) -> Tensor:
    return _bptt(h, W_hh, torch.cat([torch.zeros_like(dL_dh[:, 1:]), dL_dh[:, -1:]], 1))


bptt = Exercise(
    reference=_bptt,
    inputs=_bptt_inputs,
    tolerance=1e-4,
    mistakes={
        "The sum over k is dropped: each step's loss reaches W_hh through that step only. It also does so "
        "through all earlier steps: carry the gradient back.": _bptt_with(back=lambda dL_da, W_hh: 0 * dL_da),
        "Only the last step's share of W_hh is there. W_hh is used in every step: add up all shares.": (
            lambda h, W_hh, dL_dh: _bptt(h[:, -2:], W_hh, dL_dh[:, -1:])
        ),
        "Only the last state's loss is carried back; each earlier dL_dh[:, t] has to be added on the way.": (
            _last_loss_only
        ),
        "The derivative of tanh, 1 - h_t^2, is missing.": _bptt_with(
            derivative=lambda direct, future, before, after: direct + future
        ),
        "The derivative of tanh is taken at h_(t-1); the step's own is 1 - h_t^2.": _bptt_with(
            derivative=lambda direct, future, before, after: (direct + future) * (1 - before**2)
        ),
        "Only dL_dh meets the derivative of tanh; what comes from later steps has to meet it too.": (
            _bptt_with(derivative=lambda direct, future, before, after: direct * (1 - after**2) + future)
        ),
        "W_hh is not transposed on the way back: forward it was h @ W_hh, so back it is @ W_hh.T.": (
            _bptt_with(back=lambda dL_da, W_hh: dL_da @ W_hh)
        ),
        "The step's share is built from h_t. W_hh was multiplied with the state before, h_(t-1).": _bptt_with(
            factor=lambda before, after: after
        ),
        "The result is transposed: row i belongs to h_(t-1)[i], so it is h_(t-1).T @ dL_da.": (
            lambda h, W_hh, dL_dh: _bptt(h, W_hh, dL_dh).T
        ),
        "It is averaged over the batch; the loss is a sum, and so is its gradient.": (
            lambda h, W_hh, dL_dh: _bptt(h, W_hh, dL_dh) / len(h)
        ),
        "It is averaged over time; W_hh gets the sum of all steps' shares.": (
            lambda h, W_hh, dL_dh: _bptt(h, W_hh, dL_dh) / dL_dh.shape[1]
        ),
        "The loop runs from the first step to the last. Gradients travel the other way.": _bptt_with(
            forwards=True
        ),
    },
    hints=(
        "Go from the last step to the first, and carry one thing along: dL/dh_t through all later states.",
        "At each step add dL_dh[:, t] to it, and multiply by 1 - h_t^2 to get through the tanh.",
        "The step's share of dL/dW_hh is h_(t-1).T @ dL_da. What the step before gets is dL_da @ W_hh.T.",
    ),
    look="Try T = 1, where nothing is carried, then T = 2. Mind that dL_dh[:, t] belongs to h[:, t + 1].",
)


# ------------------------------------------------------------------------- product of Jacobians


def _jacobian_product(h: Tensor, W_hh: Tensor, k: int) -> Tensor:
    """dh_T / dh_(T-k) of one sequence, where h_t = tanh(x_t W_xh + h_(t-1) W_hh + b).

    h     (T+1, H)  the states h_0 to h_T
    W_hh  (H, H)
    k     how many steps to go back, 1 <= k <= T
    ->    (H, H)    J[i, j] is the derivative of h_T[i] by h_(T-k)[j]
    """
    T = len(h) - 1
    J = torch.eye(len(W_hh), dtype=W_hh.dtype)
    for t in range(T, T - k, -1):  # T, T-1, ..., T-k+1
        J = J @ torch.diag(1 - h[t] ** 2) @ W_hh.T
    return J


def _jacobian_inputs(g: Generator, k: int) -> tuple[Tensor, Tensor, int]:
    T, H = 5, 7
    return torch.tanh(torch.randn(T + 1, H, generator=g)), torch.randn(H, H, generator=g) / H**0.5, k


def _chain(factors: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.matmul, factors)


jacobian_product = Exercise(
    reference=_jacobian_product,
    inputs=(lambda g: _jacobian_inputs(g, 1), lambda g: _jacobian_inputs(g, 3)),
    mistakes={
        "The power of W is pulled out of the product. Matrices don't commute: each derivative has to stay "
        "between its two factors of W.": lambda h, W_hh, k: (
            torch.diag((1 - h[-k:] ** 2).prod(0)) @ torch.linalg.matrix_power(W_hh.T, k)
        ),
        "The factors are in the opposite order: the latest step, T, stands on the left.": lambda h, W_hh, k: (
            _chain(torch.diag(1 - h_t**2) @ W_hh.T for h_t in h[-k:])
        ),
        "The derivatives of tanh, diag(1 - h_t^2), are missing.": lambda h, W_hh, k: (
            torch.linalg.matrix_power(W_hh.T, k)
        ),
        "The derivatives scale the columns of W_hh.T; they belong to its rows. torch.diag puts them there, "
        "from the left.": lambda h, W_hh, k: _chain(W_hh.T * (1 - h_t**2) for h_t in h[-k:].flip(0)),
        "The derivatives are taken one step too early: the step to h_t has 1 - h_t^2.": lambda h, W_hh, k: (
            _jacobian_product(h[:-1], W_hh, k)
        ),
        "There is a factor too few: from h_(T-k) to h_T there are k steps.": lambda h, W_hh, k: (
            _jacobian_product(h, W_hh, k - 1)
        ),
        "There is a factor too many: from h_(T-k) to h_T there are k steps.": lambda h, W_hh, k: (
            _jacobian_product(h, W_hh, k + 1)
        ),
        "The result is transposed: J[i, j] is the derivative of h_T[i] by h_(T-k)[j].": lambda h, W_hh, k: (
            _jacobian_product(h, W_hh, k).T
        ),
        "W_hh is not transposed: h_t[i] depends on h_(t-1)[j] by W_hh[j, i].": lambda h, W_hh, k: (
            _jacobian_product(h, W_hh.T, k)
        ),
    },
    hints=(
        "Take one step first: what is the derivative of h_t[i] by h_(t-1)[j]?",
        "One step is diag(1 - h_t^2) @ W_hh.T. The chain rule multiplies k of them.",
        "The latest step stands on the left: t = T first, then T-1, down to T-k+1.",
    ),
    look="Try k = 1, where there is only one factor, then k = 2.",
)


# ------------------------------------------------------------------------------------- clipping


def _clip_by_norm(gradients: list[Tensor], threshold: float) -> list[Tensor]:
    """New gradients, scaled together so that their common norm is at most `threshold`.

    The norm is that of all elements of all tensors, as if they were one vector. Gradients whose norm is below
    the threshold stay as they are.
    """
    norm = torch.stack([(gradient**2).sum() for gradient in gradients]).sum().sqrt()
    scale = torch.clamp(threshold / norm, max=1.0)
    return [gradient * scale for gradient in gradients]


def _gradients(g: Generator) -> list[Tensor]:
    return [torch.randn(3, 5, generator=g), torch.randn(7, generator=g), torch.randn(2, 11, generator=g)]


def _clip_inputs(g: Generator, share: float) -> tuple[list[Tensor], float]:
    """Gradients, and a threshold that is this share of their norm."""
    gradients = _gradients(g)
    return gradients, share * _norm(gradients)


def _norm(gradients: list[Tensor]) -> float:
    return torch.cat([gradient.flatten() for gradient in gradients]).norm().item()


clip_by_norm = Exercise(
    reference=_clip_by_norm,
    inputs=(lambda g: _clip_inputs(g, 0.11), lambda g: _clip_inputs(g, 1.7)),
    mistakes={
        "Each tensor is clipped by itself, so the direction of the whole changes. Scale all by one number.": (
            lambda gradients, threshold: [g * min(1.0, threshold / g.norm().item()) for g in gradients]
        ),
        "This is clipping by value: each element is cut off at the threshold, and the direction changes.": (
            lambda gradients, threshold: [g.clamp(-threshold, threshold) for g in gradients]
        ),
        "Gradients below the threshold are scaled up to it. They should stay as they are.": (
            lambda gradients, threshold: [g * (threshold / _norm(gradients)) for g in gradients]
        ),
        "The square root is missing: the gradients are divided by their squared norm.": (
            lambda gradients, threshold: [g * min(1.0, threshold / _norm(gradients) ** 2) for g in gradients]
        ),
        "The norms of the tensors are added. Norms don't add up, their squares do.": (
            lambda gradients, threshold: [
                g * min(1.0, threshold / sum(other.norm().item() for other in gradients)) for g in gradients
            ]
        ),
        "The gradients are divided by their norm, and the threshold isn't used for the new length.": (
            lambda gradients, threshold: [g / max(1.0, _norm(gradients)) for g in gradients]
        ),
        "Nothing is clipped: gradients above the threshold come back as they were.": (
            lambda gradients, threshold: [g.clone() for g in gradients]
        ),
    },
    hints=(
        "One number scales all tensors, so that the direction stays. How long is the vector of all elements?",
        "Its norm is the square root of the sum of all squares, over all tensors.",
        "The number is threshold / norm, but never more than 1.",
    ),
    look="Measure the norm of what you return: the smaller one of the threshold and the norm before.",
)


# ------------------------------------------------------------------------------ truncated windows


def _truncated_windows(x: Tensor, h0: Tensor, W_xh: Tensor, W_hh: Tensor, b: Tensor, window: int) -> Tensor:
    """All states, with the graph cut after every `window` steps: x (B, T, E), h0 (B, H) -> (B, T, H)

    The state goes on over each cut, only the gradient does not. The last window may be shorter.
    """
    h = h0
    states = []
    for piece in x.split(window, dim=1):
        h = h.detach()  # the same numbers, without their past
        for x_t in piece.unbind(1):
            h = torch.tanh(x_t @ W_xh + h @ W_hh + b)
            states.append(h)
    return torch.stack(states, 1)


def _window_inputs(g: Generator) -> tuple[Any, ...]:
    B, T, E, H = 3, 11, 2, 5
    x = torch.randn(B, T, E, generator=g, requires_grad=True)
    h0 = torch.randn(B, H, generator=g)
    W_xh = (torch.randn(E, H, generator=g) / E**0.5).requires_grad_()
    W_hh = (torch.randn(H, H, generator=g) / H**0.5).requires_grad_()
    return x, h0, W_xh, W_hh, torch.randn(H, generator=g) / 2, 4


def _states_and_gradients(states: Tensor, args: tuple[Any, ...]) -> dict[str, Tensor]:
    by_x, by_W = torch.autograd.grad(states.sum(), (args[0], args[3]), materialize_grads=True)
    return {
        "the result": states,
        "the gradient of the result's sum by x": by_x,
        "the gradient of the result's sum by W_hh": by_W,
    }


def _handing_on(rule: Function) -> Function:
    """All states, where rule(t, h, h0, window) is what goes on to the next step."""

    def function(x: Tensor, h0: Tensor, W_xh: Tensor, W_hh: Tensor, b: Tensor, window: int) -> Tensor:
        h, states = h0, []
        for t, x_t in enumerate(x.unbind(1)):
            states.append(torch.tanh(x_t @ W_xh + h @ W_hh + b))
            h = rule(t, states[-1], h0, window)
        return torch.stack(states, 1)

    return function


def _border_detached(x: Tensor, *rest: Any) -> Tensor:
    states, window = _truncated_windows(x, *rest), rest[-1]
    at_border = torch.arange(1, x.shape[1] + 1) % window == 0
    return torch.where(at_border[:, None], states.detach(), states)


truncated_windows = Exercise(
    reference=_truncated_windows,
    inputs=_window_inputs,
    observe=_states_and_gradients,
    tolerance=1e-4,
    letters="B T H",
    gradient=True,
    mistakes={
        "The graph isn't cut: the gradient flows back over all windows. Detach the state at each border.": (
            _handing_on(lambda t, h, h0, window: h)
        ),
        "Each window starts from h0 again. Carry the state over the border, and cut only its graph.": (
            _handing_on(lambda t, h, h0, window: h0 if (t + 1) % window == 0 else h)
        ),
        "Each window starts from zeros. Carry the state over the border, and cut only its graph.": (
            _handing_on(lambda t, h, h0, window: 0 * h0 if (t + 1) % window == 0 else h)
        ),
        "The graph is cut after every step, so nothing flows back even within a window.": (
            _handing_on(lambda t, h, h0, window: h.detach())
        ),
        "The cuts are early: the first window has only one step. Counted from 0, step t ends a window where "
        "t + 1 is a multiple of window.": (
            _handing_on(lambda t, h, h0, window: h.detach() if t % window == 0 else h)
        ),
        "The state at a border is detached before it is kept, so its own loss is lost. Keep it, then cut.": (
            _border_detached
        ),
        "The last, shorter window is missing: T needn't be a multiple of window.": (
            lambda x, *rest: _truncated_windows(x, *rest)[:, : x.shape[1] // rest[-1] * rest[-1]]
        ),
        "Only the last state of each window comes back; all T states are asked for.": (
            lambda *args: _truncated_windows(*args)[:, args[-1] - 1 :: args[-1]]
        ),
    },
    hints=(
        "Start from unroll. What changes between two windows: the numbers in h, or where they come from?",
        "h.detach() has the same numbers and no past. Call it at the start of each window.",
        "x.split(window, dim=1) gives the windows, the last one shorter where T isn't a multiple.",
    ),
    look="The states are those of unroll. Only their gradients differ, and only across the borders.",
)
