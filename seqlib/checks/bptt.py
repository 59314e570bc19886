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
    share: Function = lambda before, dL_da: before.T @ dL_da,
    back: Function = lambda dL_da, W_hh: dL_da @ W_hh.T,
    carried: Function = lambda new, future, direct: new,
    forwards: bool = False,
) -> Function:
    """The same loop with one of its rules changed."""

    def function(h: Tensor, W_hh: Tensor, dL_dh: Tensor) -> Tensor:
        dL_dW, future = torch.zeros_like(W_hh), torch.zeros_like(h[:, 0])
        steps = range(dL_dh.shape[1])
        for t in steps if forwards else reversed(steps):
            dL_da = derivative(dL_dh[:, t], future, h[:, t], h[:, t + 1])
            dL_dW = dL_dW + share(factor(h[:, t], h[:, t + 1]), dL_da)
            future = carried(back(dL_da, W_hh), future, dL_dh[:, t])
        return dL_dW

    return function


def _last_loss_only(h: Tensor, W_hh: Tensor, dL_dh: Tensor) -> Tensor:
    return _bptt(h, W_hh, torch.cat([torch.zeros_like(dL_dh[:, 1:]), dL_dh[:, -1:]], 1))


def _without_slope_on_the_way(h: Tensor, W_hh: Tensor, dL_dh: Tensor) -> Tensor:
    dL_dW, future = torch.zeros_like(W_hh), torch.zeros_like(h[:, 0])
    for t in reversed(range(dL_dh.shape[1])):
        dL_dh_t = dL_dh[:, t] + future
        dL_dW = dL_dW + h[:, t].T @ (dL_dh_t * (1 - h[:, t + 1] ** 2))
        future = dL_dh_t @ W_hh.T
    return dL_dW


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
        "The first step's share is missing, the one with h_0. The loop has to come down to t = 0.": (
            # the walk back is the same, so the first share is lost, and nothing else
            lambda h, W_hh, dL_dh: _bptt(torch.cat([torch.zeros_like(h[:, :1]), h[:, 1:]], 1), W_hh, dL_dh)
        ),
        "Only the last state's loss is carried back; each earlier dL_dh[:, t] has to be added on the way.": (
            _last_loss_only
        ),
        "The derivative of tanh, 1 - h_t^2, is missing.": _bptt_with(
            derivative=lambda direct, future, before, after: direct + future
        ),
        "The derivative of tanh is taken at h_(t-1); the step to h_t has 1 - h_t^2. The step from h[:, t] "
        "to h[:, t + 1] has 1 - h[:, t + 1] ** 2.": _bptt_with(
            derivative=lambda direct, future, before, after: (direct + future) * (1 - before**2)
        ),
        "A tanh is taken of h, which is a tanh already: the derivative is 1 - h_t^2.": _bptt_with(
            derivative=lambda direct, future, before, after: (direct + future) * (1 - torch.tanh(after) ** 2)
        ),
        "The square is missing: the derivative of tanh is 1 - h_t^2, and not 1 - h_t.": _bptt_with(
            derivative=lambda direct, future, before, after: (direct + future) * (1 - after)
        ),
        "This is the derivative of the sigmoid, h (1 - h); that of tanh is 1 - h_t^2.": _bptt_with(
            derivative=lambda direct, future, before, after: (direct + future) * after * (1 - after)
        ),
        "Only dL_dh is multiplied by the derivative of tanh; what comes from later steps passes through the "
        "same tanh. Add the two first.": (
            _bptt_with(derivative=lambda direct, future, before, after: direct * (1 - after**2) + future)
        ),
        "Only what comes from later steps is multiplied by the derivative of tanh; dL_dh passes through the "
        "same tanh. Add the two first.": (
            _bptt_with(derivative=lambda direct, future, before, after: direct + future * (1 - after**2))
        ),
        "What goes back to the step before lacks the derivative of tanh: carry dL_da @ W_hh.T, "
        "where dL_da has it.": _without_slope_on_the_way,
        "W_hh is missing on the way back: h_(t-1) reached h_t through W_hh, so the step before gets "
        "dL_da @ W_hh.T.": _bptt_with(back=lambda dL_da, W_hh: dL_da),
        "W_hh is not transposed on the way back: forward it was h @ W_hh, so back it is @ W_hh.T.": (
            _bptt_with(back=lambda dL_da, W_hh: dL_da @ W_hh)
        ),
        "This follows the equations, whose vectors are columns. Here the states are rows, and W_hh is the "
        "transpose of the equations' matrix: it is dL_da @ W_hh.T on the way back, and h_(t-1).T @ dL_da for "
        "the share.": _bptt_with(
            back=lambda dL_da, W_hh: dL_da @ W_hh, share=lambda before, dL_da: dL_da.T @ before
        ),
        "W_hh stands on the left. dL_da has a row for each sequence, so it is dL_da @ W_hh.T.": (
            _bptt_with(back=lambda dL_da, W_hh: W_hh @ dL_da)
        ),
        "What is carried back piles up: at each step the new dL_da @ W_hh.T replaces the old value, "
        "in which it is contained.": _bptt_with(carried=lambda new, future, direct: future + new),
        "dL_dh[:, t] is counted twice, once at its own step and once more in what is carried back.": (
            _bptt_with(carried=lambda new, future, direct: new + direct)
        ),
        "The losses are one step off: dL_dh has no entry for h_0, so dL_dh[:, t] belongs to h[:, t + 1].": (
            lambda h, W_hh, dL_dh: _bptt(h, W_hh, dL_dh.roll(1, 1))
        ),
        "dL_dh has T entries, 0 to T-1, and no entry for h_0: dL_dh[:, t] belongs to h[:, t + 1].": (
            lambda h, W_hh, dL_dh: dL_dh[:, dL_dh.shape[1]]
        ),
        "h has T+1 entries, 0 to T: step t leads from h[:, t] to h[:, t + 1], and the last one to h[:, T].": (
            lambda h, W_hh, dL_dh: h[:, h.shape[1]]
        ),
        "The states are one step off: h[:, 0] is h_0, so step t leads from h[:, t] to h[:, t + 1]. "
        "h[:, t - 1] at t = 0 is the very last state, h[:, -1].": lambda h, W_hh, dL_dh: _bptt(
            h.roll(1, 1), W_hh, dL_dh
        ),
        "The states are one step off, and the first loss is left out: h[:, 0] is h_0, so step t leads from "
        "h[:, t] to h[:, t + 1], for t from T-1 down to 0.": lambda h, W_hh, dL_dh: _bptt(
            h[:, :-1], W_hh, dL_dh[:, 1:]
        ),
        "h[t] and dL_dh[t] go along axis 0, the batch. Time is axis 1: h[:, t] and dL_dh[:, t].": (
            lambda h, W_hh, dL_dh: dL_dh[0] * h[1]
        ),
        "There is one matrix for each sequence of the batch; their sum is asked for.": (
            lambda h, W_hh, dL_dh: torch.stack(
                [_bptt(*one) for one in zip(h[:, None], [W_hh] * len(h), dL_dh[:, None], strict=True)]
            )
        ),
        "The step's share is built from h_t. W_hh was multiplied with the state before, h_(t-1).": _bptt_with(
            factor=lambda before, after: after
        ),
        "The result is transposed: row i belongs to h_(t-1)[i], so it is h_(t-1).T @ dL_da.": (
            lambda h, W_hh, dL_dh: _bptt(h, W_hh, dL_dh).T
        ),
        "h_(t-1) @ dL_da.T has the shape (B, B): it sums over the units. The batch is to be summed over: "
        "h_(t-1).T @ dL_da.": _bptt_with(share=lambda before, dL_da: before @ dL_da.T),
        "h_(t-1) * dL_da multiplies element by element. Every pair of units has a weight: "
        "h_(t-1).T @ dL_da.": _bptt_with(share=lambda before, dL_da: before * dL_da),
        "It is averaged over the batch; the loss is a sum, and so is its gradient.": (
            lambda h, W_hh, dL_dh: _bptt(h, W_hh, dL_dh) / len(h)
        ),
        "It is averaged over time; W_hh gets the sum of all steps' shares.": (
            lambda h, W_hh, dL_dh: _bptt(h, W_hh, dL_dh) / dL_dh.shape[1]
        ),
        "The sign is turned round. Only the gradient is asked for; a training step would subtract it.": (
            lambda h, W_hh, dL_dh: -_bptt(h, W_hh, dL_dh)
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


def _with_slope(slope: Function) -> Function:
    """The product with another derivative of the tanh."""
    return lambda h, W_hh, k: _chain(torch.diag(slope(h_t)) @ W_hh.T for h_t in h[-k:].flip(0))


jacobian_product = Exercise(
    reference=_jacobian_product,
    inputs=(lambda g: _jacobian_inputs(g, 1), lambda g: _jacobian_inputs(g, 3)),
    mistakes={
        "The power of W_hh is pulled out of the product. Matrices don't commute: each diag(1 - h_t^2) has to "
        "stay where it is, beside the W_hh.T of its own step.": lambda h, W_hh, k: (
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
        "The derivatives are multiplied with W_hh.T as vectors, so that an axis is lost. As matrices, "
        "torch.diag(1 - h_t^2), they scale the rows.": lambda h, W_hh, k: _chain(
            [torch.eye(len(W_hh)), *((1 - h_t**2) @ W_hh.T for h_t in h[-k:].flip(0))]
        ),
        "* multiplies element by element; the factors of the chain rule are multiplied with @.": (
            lambda h, W_hh, k: functools.reduce(
                torch.mul, (torch.diag(1 - h_t**2) @ W_hh.T for h_t in h[-k:].flip(0)), torch.eye(len(W_hh))
            )
        ),
        "The product is 0, because it starts from zeros. It has to start from the identity, torch.eye(H).": (
            lambda h, W_hh, k: torch.zeros_like(W_hh)
        ),
        "A tanh is taken of h, which is a tanh already: the derivative is 1 - h_t^2.": _with_slope(
            lambda h_t: 1 - torch.tanh(h_t) ** 2
        ),
        "The square is missing: the derivative of tanh is 1 - h_t^2, and not 1 - h_t.": _with_slope(
            lambda h_t: 1 - h_t
        ),
        "These are the first k steps. The last k are asked for: from h_(T-k) to h_T.": lambda h, W_hh, k: (
            _jacobian_product(h[: k + 1], W_hh, k)
        ),
        "Each factor is transposed: with J[i, j] the derivative of h_t[i] by h_(t-1)[j], a step is "
        "diag(1 - h_t^2) @ W_hh.T.": lambda h, W_hh, k: _chain(
            W_hh @ torch.diag(1 - h_t**2) for h_t in h[-k:].flip(0)
        ),
        "The derivatives are taken one step too early: the step to h_t has 1 - h_t^2.": lambda h, W_hh, k: (
            _jacobian_product(h[:-1], W_hh, k)
        ),
        "All T steps are in the product; only the last k are asked for: from h_(T-k) to h_T.": (
            lambda h, W_hh, k: _jacobian_product(h, W_hh, len(h) - 1)
        ),
        "All factors are those of the last step. Each step has a derivative of its own, 1 - h_t^2.": (
            lambda h, W_hh, k: torch.linalg.matrix_power(torch.diag(1 - h[-1] ** 2) @ W_hh.T, k)
        ),
        "h has T+1 rows, h[0] to h[T], so T is len(h) - 1.": lambda h, W_hh, k: h[len(h)],
        "There is one factor too few: from h_(T-k) to h_T there are k steps.": lambda h, W_hh, k: (
            _jacobian_product(h, W_hh, k - 1)
        ),
        "There is one factor too many: from h_(T-k) to h_T there are k steps.": lambda h, W_hh, k: (
            _jacobian_product(h, W_hh, k + 1)
        ),
        "The result is transposed: J[i, j] is the derivative of h_T[i] by h_(T-k)[j].": lambda h, W_hh, k: (
            _jacobian_product(h, W_hh, k).T
        ),
        "W_hh is not transposed: h_t[i] depends on h_(t-1)[j] by W_hh[j, i].": lambda h, W_hh, k: (
            _jacobian_product(h, W_hh.T, k)
        ),
        "Two things: W_hh is not transposed, and the factors are in the opposite order. The latest step, T, "
        "stands on the left, and each factor is diag(1 - h_t^2) @ W_hh.T.": lambda h, W_hh, k: _chain(
            torch.diag(1 - h_t**2) @ W_hh for h_t in h[-k:]
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
    return gradients, share * float(_norm(gradients))


def _zeros(g: Generator) -> tuple[list[Tensor], float]:
    return [torch.zeros_like(gradient) for gradient in _gradients(g)], 2.0


def _norm(gradients: list[Tensor]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients]).norm()


def _clip_with(norm: Function) -> Function:
    """Clipping with another idea of what the norm is."""
    return lambda gradients, threshold: [g * (threshold / norm(gradients)).clamp(max=1.0) for g in gradients]


clip_by_norm = Exercise(
    reference=_clip_by_norm,
    inputs=(lambda g: _clip_inputs(g, 0.11), lambda g: _clip_inputs(g, 1.7), _zeros),
    mistakes={
        "Each tensor is clipped by itself, so the direction of the whole changes. Scale all by one number.": (
            lambda gradients, threshold: [g * (threshold / g.norm()).clamp(max=1.0) for g in gradients]
        ),
        "This is clipping by value: each element is cut off at the threshold, and the direction changes. "
        "Multiply all elements by one number.": (
            lambda gradients, threshold: [g.clamp(-threshold, threshold) for g in gradients]
        ),
        "Gradients below the threshold are scaled up to it. They should stay as they are.": (
            lambda gradients, threshold: [g * (threshold / _norm(gradients)) for g in gradients]
        ),
        "Gradients below the threshold are scaled up, and those above it stay. It is the other way round: "
        "the factor is never more than 1, so it is min and not max.": lambda gradients, threshold: [
            g * (threshold / _norm(gradients)).clamp(min=1.0) for g in gradients
        ],
        "The fraction is upside down: it is threshold / norm, which is small where the norm is large.": (
            lambda gradients, threshold: [
                g * (_norm(gradients) / threshold).clamp(max=1.0) for g in gradients
            ]
        ),
        "The square root is missing: the gradients are divided by their squared norm.": _clip_with(
            lambda gradients: _norm(gradients) ** 2
        ),
        "The norms of the tensors are added. Norms don't add up, their squares do.": _clip_with(
            lambda gradients: torch.stack([g.norm() for g in gradients]).sum()
        ),
        "The norm is that of the longest tensor alone. All elements of all tensors count, as if they were "
        "one vector.": _clip_with(lambda gradients: torch.stack([g.norm() for g in gradients]).max()),
        "The absolute values are added up. The norm is the square root of the sum of all squares.": (
            _clip_with(lambda gradients: torch.stack([g.abs().sum() for g in gradients]).sum())
        ),
        "Gradients above the threshold come back with norm 1; their norm should be the threshold.": (
            lambda gradients, threshold: [
                g / torch.where(_norm(gradients) > threshold, _norm(gradients), 1.0) for g in gradients
            ]
        ),
        "The gradients are always brought to norm 1. Only those above the threshold are to be changed, and "
        "their norm should be the threshold.": (
            lambda gradients, threshold: [g / _norm(gradients) for g in gradients]
        ),
        "Nothing is clipped: gradients above the threshold come back as they were.": (
            lambda gradients, threshold: [g.clone() for g in gradients]
        ),
        "Gradients above the threshold become 0; they should keep their direction, with the threshold as "
        "their norm.": lambda gradients, threshold: [g * (_norm(gradients) <= threshold) for g in gradients],
        "Where all gradients are 0 their norm is 0, and it must not be divided by: 0 / 0 is NaN. "
        "They are below the threshold and stay as they are.": lambda gradients, threshold: [
            g / _norm(gradients) * _norm(gradients).clamp(max=threshold) for g in gradients
        ],
        "Where all gradients are 0 their norm is 0, and Python refuses to divide by it. "
        "They are below the threshold and stay as they are.": lambda gradients, threshold: [
            g * min(1.0, threshold / _norm(gradients).item()) for g in gradients
        ],
        "The tensors differ in shape, and torch.cat takes them only flattened: g.flatten(). "
        "Or add up the squares of each.": lambda gradients, threshold: [torch.cat(gradients)],
        "The tensors differ in shape, so they can't be stacked. Add up the squares of each, "
        "or join them flattened.": lambda gradients, threshold: [torch.stack(gradients)],
        "A list has no norm: sum up the squares of all its tensors.": lambda gradients, threshold: (
            gradients.norm()
        ),
        "torch.norm takes one tensor and no list: sum up the squares of all tensors in it.": (
            lambda gradients, threshold: torch.norm(gradients)
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


def _truncated_windows(x: Tensor, h_0: Tensor, W_xh: Tensor, W_hh: Tensor, b: Tensor, window: int) -> Tensor:
    """All states, with the graph cut after every `window` steps: x (B, T, E), h_0 (B, H) -> (B, T, H)

    The state goes on over each cut, only the gradient does not. The last window may be shorter.
    """
    h = h_0
    states = []
    for piece in x.split(window, dim=1):
        h = h.detach()  # the same numbers, without their past
        for x_t in piece.unbind(1):
            h = torch.tanh(x_t @ W_xh + h @ W_hh + b)
            states.append(h)
    return torch.stack(states, 1)


def _window_inputs(g: Generator) -> tuple[Any, ...]:
    B, T, E, H, window = 2, 13, 7, 5, 3
    # with gradients, but no leaves, which can't be changed in place: that is to be found
    x = torch.randn(B, T, E, generator=g, requires_grad=True).clone()
    h_0 = torch.randn(B, H, generator=g)
    W_xh = (torch.randn(E, H, generator=g) / E**0.5).requires_grad_().clone()
    W_hh = (torch.randn(H, H, generator=g) / H**0.5).requires_grad_().clone()
    return x, h_0, W_xh, W_hh, torch.randn(H, generator=g) / 2, window


def _states_and_gradients(states: Tensor, args: tuple[Any, ...]) -> dict[str, Tensor]:
    by_x, by_W = torch.autograd.grad(states.sum(), (args[0], args[3]), materialize_grads=True)
    return {
        "the result": states,
        "the gradient of the result's sum by x": by_x,
        "the gradient of the result's sum by W_hh": by_W,
    }


def _handing_on(rule: Function) -> Function:
    """All states, where rule(t, h, h_0, window) is what goes on to the next step."""

    def function(x: Tensor, h_0: Tensor, W_xh: Tensor, W_hh: Tensor, b: Tensor, window: int) -> Tensor:
        h, states = h_0, []
        for t, x_t in enumerate(x.unbind(1)):
            states.append(torch.tanh(x_t @ W_xh + h @ W_hh + b))
            h = rule(t, states[-1], h_0, window)
        return torch.stack(states, 1)

    return function


def _border_detached(x: Tensor, *rest: Any) -> Tensor:
    states, window = _truncated_windows(x, *rest), rest[-1]
    at_border = torch.arange(1, x.shape[1] + 1) % window == 0
    return torch.where(at_border[:, None], states.detach(), states)


def _last_window_only(x: Tensor, *rest: Any) -> Tensor:
    states, kept = _truncated_windows(x, *rest), (x.shape[1] - 1) // rest[-1] * rest[-1]
    return torch.cat([states[:, :kept].detach(), states[:, kept:]], 1)


truncated_windows = Exercise(
    reference=_truncated_windows,
    inputs=_window_inputs,
    observe=_states_and_gradients,
    tolerance=1e-4,
    letters="B T H",
    gradient=True,
    mistakes={
        "The graph isn't cut: the gradient flows back over all windows. Call h = h.detach() where a window "
        "ends, and mind that time is axis 1.": (_handing_on(lambda t, h, h_0, window: h)),
        "Each window starts from h_0 again. Carry the state over the border, and cut only its graph.": (
            _handing_on(lambda t, h, h_0, window: h_0 if (t + 1) % window == 0 else h)
        ),
        "Every step starts from h_0 again: the new state isn't carried to the next step.": (
            _handing_on(lambda t, h, h_0, window: h_0)
        ),
        "Each window starts from zeros. Carry the state over the border, and cut only its graph.": (
            _handing_on(lambda t, h, h_0, window: 0 * h_0 if (t + 1) % window == 0 else h)
        ),
        "The graph is cut after every step, so nothing flows back even within a window. Cut only where a "
        "window ends.": (_handing_on(lambda t, h, h_0, window: h.detach())),
        "The cuts are late: the first window has a step too many. Counted from 0, step t ends a window where "
        "t + 1 is a multiple of window.": (
            _handing_on(lambda t, h, h_0, window: h.detach() if t and t % window == 0 else h)
        ),
        "Every window has a step too many: cut after `window` steps.": (
            _handing_on(lambda t, h, h_0, window: h.detach() if (t + 1) % (window + 1) == 0 else h)
        ),
        "Every window has a step too few: cut after `window` steps.": (
            _handing_on(lambda t, h, h_0, window: h.detach() if (t + 1) % (window - 1) == 0 else h)
        ),
        "There are `window` windows, as chunk makes them; each should have `window` steps, "
        "as split makes them.": lambda x, h_0, W_xh, W_hh, b, window: _truncated_windows(
            x, h_0, W_xh, W_hh, b, -(-x.shape[1] // window)
        ),
        "Only the last window is part of the graph. The states of the earlier ones are detached before they "
        "are kept, so their losses reach no weight. Cut what goes on to the next step only.": (
            _last_window_only
        ),
        "The cuts are early: the first window has only one step. Counted from 0, step t ends a window where "
        "t + 1 is a multiple of window.": (
            _handing_on(lambda t, h, h_0, window: h.detach() if t % window == 0 else h)
        ),
        "The last state of each window is detached before it is kept, so its own loss reaches no weight. "
        "Keep it first, then cut what goes on to the next step.": (_border_detached),
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
