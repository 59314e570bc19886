"""The data sets are what their descriptions say."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.testing import assert_close

from seqlib import data
from seqlib.data import adding_problem, digits, tales
from seqlib.vocab import Vocabulary


def test_digits_are_scikit_learns_in_the_same_order():
    train, test = digits()
    assert len(train.images) == len(train.labels) == 1347
    assert len(test.images) == len(test.labels) == 450
    theirs = load_digits()
    assert torch.equal(torch.cat([train.images, test.images]) * 16, torch.tensor(theirs.images).float())
    assert torch.equal(torch.cat([train.labels, test.labels]), torch.tensor(theirs.target))


def test_grey_values_run_from_0_to_1_and_every_digit_is_in_both_parts():
    for part in digits():
        assert part.images.dtype == torch.float32 and part.labels.dtype == torch.int64
        assert part.images.shape[1:] == (8, 8)
        assert part.images.min() == 0 and part.images.max() == 1
        assert part.labels.unique().tolist() == list(range(10))


def test_tales_have_a_part_to_train_on_and_a_smaller_one_held_out():
    train, held_out = tales()
    assert 0 < len(held_out) < len(train) / 4
    for part in (train, held_out):
        assert part == part.strip() + "\n" and part.isascii()
        assert "*" not in part
    # What is held out was not trained on, but can be read with the same characters.
    paragraphs = [paragraph for paragraph in held_out.split("\n\n") if len(paragraph) > 40]
    assert paragraphs and not [paragraph for paragraph in paragraphs if paragraph in train]
    assert len(Vocabulary(train).encode(held_out)) == len(held_out)


def test_missing_tales_come_with_advice(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "DATA", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"tales\.txt is missing: .* pip install -e \."):
        tales()


@pytest.mark.parametrize("length", [2, 3, 11, 50])
def test_adding_problem_marks_one_number_in_each_half_and_asks_for_their_sum(length):
    x, y = adding_problem(sequences=37, length=length, generator=torch.Generator().manual_seed(0))
    assert x.shape == (37, length, 2) and y.shape == (37,)
    for row, answer in zip(x.tolist(), y.tolist(), strict=True):
        first, second = [t for t, (_, mark) in enumerate(row) if mark]
        assert first < length // 2 <= second
        assert {mark for _, mark in row} <= {0.0, 1.0}
        assert all(0 <= value < 1 for value, _ in row)
        assert answer == pytest.approx(row[first][0] + row[second][0])


def test_every_step_can_be_marked():
    x, _ = adding_problem(sequences=1009, length=7, generator=torch.Generator().manual_seed(0))
    assert (x[..., 1].sum(0) > 0).all()


def test_always_answering_1_has_an_error_of_a_sixth():
    _, y = adding_problem(sequences=100_003, length=2, generator=torch.Generator().manual_seed(0))
    assert_close((y - 1).square().mean(), torch.tensor(1 / 6), rtol=0.02, atol=0)


def test_adding_problem_depends_on_nothing_but_its_generator():
    def draw(seed):
        return adding_problem(sequences=5, length=11, generator=torch.Generator().manual_seed(seed))

    state = torch.get_rng_state()
    assert_close(draw(1), draw(1), rtol=0, atol=0)
    assert not torch.equal(draw(1)[1], draw(2)[1])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("length", [1, 0, -3])
def test_a_length_without_two_halves_is_refused(length):
    with pytest.raises(ValueError, match=f"^length must be at least 2, got {length}$"):
        adding_problem(sequences=5, length=length, generator=torch.Generator())


def test_sunspots_are_those_of_the_committed_table():
    years, numbers = data.sunspots()
    assert years.tolist() == list(range(1700, 2009))
    table = np.genfromtxt(data.DATA / "sunspots.csv", delimiter=",", names=True)
    np.testing.assert_array_equal(numbers, table["sunspots"])
    assert years[numbers.argmax()] == 1957  # the highest maximum of them all
