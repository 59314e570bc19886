"""The first exercise: right answers of every kind pass, mistakes get their own messages."""

import pytest
import torch

from seqlib.checks import start as check

EXERCISE = check.mean_over_time


def by_loop(x):
    total = torch.zeros(len(x), x.shape[2])
    for x_t in x.unbind(1):
        total = total + x_t
    return total / x.shape[1]


@pytest.mark.parametrize(
    "answer",
    [
        by_loop,
        lambda x: torch.mean(x, dim=-2),
        lambda x: x.sum(1) / x.shape[1],
        lambda x: torch.einsum("bte->be", x) / x.shape[1],
        lambda x: torch.nn.functional.avg_pool1d(x.mT, x.shape[1])[..., 0],
    ],
)
def test_other_right_answers_are_correct(answer):
    assert EXERCISE(answer).correct


def test_the_solution_can_be_pasted_into_the_notebook():
    notebook = {"torch": torch}
    exec(EXERCISE.solution().text, notebook)
    assert EXERCISE(notebook["mean_over_time"]).correct


def test_hints_and_the_place_to_look_are_there():
    assert len(EXERCISE.hints) >= 3 and EXERCISE.look and EXERCISE.name == "mean_over_time"
