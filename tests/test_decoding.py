"""Probabilities of the next token, and samples that follow them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import chisquare
from torch.testing import assert_close

from seqlib.decoding import sample, token_probabilities

rows = st.lists(st.floats(-50, 50), min_size=1, max_size=13).map(
    lambda row: torch.tensor(row, dtype=torch.float64)
)
temperatures = st.floats(1e-3, 1e3)
top_ks = st.none() | st.integers(1, 17)


@given(rows, temperatures | st.just(0.0), top_ks)
def test_probabilities_sum_to_1(logits, temperature, top_k):
    probabilities = token_probabilities(logits, temperature=temperature, top_k=top_k)
    assert probabilities.shape == logits.shape
    assert (probabilities >= 0).all()
    assert_close(probabilities.sum(), torch.tensor(1.0, dtype=torch.float64))


@given(rows, temperatures)
def test_temperature_divides_the_logits(logits, temperature):
    expected = softmax(logits.numpy() / temperature)
    assert_close(token_probabilities(logits, temperature=temperature), torch.from_numpy(expected))


@given(rows, temperatures, st.integers(1, 17))
def test_top_k_keeps_the_k_likeliest_and_their_equals(logits, temperature, top_k):
    kept = logits.numpy() >= np.sort(logits.numpy())[::-1][:top_k].min()
    expected = np.zeros(len(logits))
    expected[kept] = softmax(logits.numpy()[kept] / temperature)
    found = token_probabilities(logits, temperature=temperature, top_k=top_k)
    assert (found.numpy()[~kept] == 0).all()
    assert_close(found, torch.from_numpy(expected))


@given(rows, top_ks)
def test_temperature_0_is_certain_of_the_first_of_the_largest(logits, top_k):
    probabilities = token_probabilities(logits, temperature=0.0, top_k=top_k)
    assert probabilities.tolist() == [float(n == np.argmax(logits.numpy())) for n in range(len(logits))]


@given(rows)
def test_low_temperatures_come_close_to_temperature_0(logits):
    gap = logits.max() - logits
    logits = logits[(gap == 0) | (gap > 1e-3)].unique()  # the limit is another one where two are equal
    assert_close(token_probabilities(logits, temperature=1e-5), token_probabilities(logits, temperature=0.0))


@given(rows)
def test_high_temperatures_make_all_tokens_alike(logits):
    probabilities = token_probabilities(logits, temperature=1e9)
    assert_close(probabilities, torch.full_like(logits, 1 / len(logits)))


@given(st.lists(st.integers(-50, 50), min_size=1), st.integers(-1000, 1000), temperatures, top_ks)
def test_a_shift_of_all_logits_changes_nothing(logits, shift, temperature, top_k):
    logits, options = torch.tensor(logits).double(), {"temperature": temperature, "top_k": top_k}
    assert torch.equal(token_probabilities(logits + shift, **options), token_probabilities(logits, **options))


def test_tiny_temperatures_do_not_overflow():
    logits = torch.tensor([300.0, 200.0, -300.0])
    assert token_probabilities(logits, temperature=1e-38).tolist() == [1, 0, 0]


def test_every_row_is_on_its_own():
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    found = token_probabilities(logits, temperature=0.7, top_k=2)
    for index in np.ndindex(2, 3):
        assert_close(found[index], token_probabilities(logits[index], temperature=0.7, top_k=2))


@pytest.mark.parametrize("options", [{}, {"temperature": 0.6}, {"temperature": 1.7, "top_k": 4}])
def test_samples_are_as_frequent_as_their_probabilities(options):
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(7, generator=g)
    draws = 20_000
    drawn = sample(logits.expand(draws, -1), **options, generator=g)
    probabilities = token_probabilities(logits.double(), **options).numpy()
    counts = np.bincount(drawn.numpy(), minlength=7)
    possible = probabilities > 0
    assert (counts[~possible] == 0).all()
    assert chisquare(counts[possible], draws * probabilities[possible]).pvalue > 0.01


def test_rows_of_a_batch_are_drawn_from_their_own_logits():
    wanted = torch.tensor([3, 0, 4, 4, 1])
    logits = torch.zeros(5, 7).scatter(1, wanted[:, None], 100.0)
    assert torch.equal(sample(logits), wanted)


def test_samples_depend_on_nothing_but_the_generator():
    logits, state = torch.zeros(11, 13), torch.get_rng_state()
    first, second, other = (sample(logits, generator=torch.Generator().manual_seed(n)) for n in (1, 1, 2))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("temperature", [-0.1, -math.inf, math.nan, math.inf])
def test_a_temperature_that_makes_no_sense_is_named(temperature):
    with pytest.raises(ValueError, match=f"^temperature must be 0 or more and finite, got {temperature}$"):
        sample(torch.zeros(2, 3), temperature=temperature, top_k=1)


@pytest.mark.parametrize("top_k", [0, -3])
def test_a_top_k_that_keeps_nothing_is_named(top_k):
    with pytest.raises(ValueError, match=f"^top_k must be at least 1, got {top_k}$"):
        sample(torch.zeros(2, 3), top_k=top_k)
