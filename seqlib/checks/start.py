"""The exercise of the chapter that explains exercises.

Dimensions: B batch, T time, E input features. Batch first.
"""

import torch
from torch import Generator, Tensor

from seqlib.checks.exercise import Exercise


def _mean_over_time(x: Tensor) -> Tensor:
    """The mean of each sequence over its steps: x (B, T, E) -> (B, E)"""
    return x.mean(1)


def _sequences(g: Generator) -> tuple[Tensor, ...]:
    B, T, E = 3, 5, 2
    return (torch.randn(B, T, E, generator=g),)


mean_over_time = Exercise(
    reference=_mean_over_time,
    inputs=_sequences,
    letters="B E",
    mistakes={
        "It is the sum over time, not the mean: the division by the number of steps T is missing.": (
            lambda x: x.sum(1)
        ),
        "The sum is divided by the size of the batch; it has T terms, and T is x.shape[1].": (
            lambda x: x.sum(1) / len(x)
        ),
        "The sum is divided by the number of features; it has T terms, and T is x.shape[1].": (
            lambda x: x.sum(1) / x.shape[2]
        ),
        "The mean is taken over the batch: different sequences are mixed. Time is axis 1.": (
            lambda x: x.mean(0)
        ),
        "The mean is taken over the features. Time is axis 1.": lambda x: x.mean(2),
        "The mean is taken over everything, so that one number is left. Time is axis 1.": (
            lambda x: x.mean()
        ),
        "The mean is taken over batch and time together; every sequence has a mean of its own.": (
            lambda x: x.mean((0, 1))
        ),
        "The mean is taken over time and features together; every feature has a mean of its own.": (
            lambda x: x.mean((1, 2))
        ),
        "The axis of time is still there, with size 1 (keepdim).": lambda x: x.mean(1, keepdim=True),
        "It is the last step of each sequence, not the mean of all steps.": lambda x: x[:, -1],
        "It is the median over time, not the mean.": lambda x: x.median(1).values,
    },
    hints=(
        "Which of the three axes is time? Count from 0: batch, time, features.",
        "Tensors have a method mean, and it takes the number of the axis to average over.",
        "x.mean(0) would average over the batch. Write the same for time.",
    ),
    look="The mean over time adds x[:, 0], x[:, 1] and so on, and divides by how many these are.",
)
