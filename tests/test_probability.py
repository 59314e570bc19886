"""Probabilities of sequences: n-grams by counting, autoregressions by least squares, systems with a state."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from torch.testing import assert_close

from seqlib.probability import (
    Autoregression,
    NGram,
    ar_design_matrix,
    fit_autoregression,
    perplexity,
    rolling_forecasts,
    state_space_run,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def tokens_of(length, V=5, seed=0):
    return torch.randint(V, (length,), generator=generator(seed))


# -------------------------------------------------------------------------------------- n-grams


@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
def test_probabilities_are_ratios_of_counts(order, smoothing):
    V, train, test = 5, tokens_of(211), tokens_of(97, seed=1)
    grams, contexts = Counter(), Counter()
    for t in range(order, len(train)):
        context = tuple(train[t - order : t].tolist())
        grams[context, int(train[t])] += 1
        contexts[context] += 1
    expected = []
    for t in range(order, len(test)):
        context = tuple(test[t - order : t].tolist())
        below = contexts[context] + smoothing * V
        expected.append((grams[context, int(test[t])] + smoothing) / below if below else 0.0)
    model = NGram(train, order=order, vocabulary_size=V)
    assert_close(model.log_probs(test, smoothing=smoothing).exp(), torch.tensor(expected).double())
    assert model.number_of_contexts == len(contexts)


@given(st.integers(0, 3), st.floats(1e-3, 10), st.integers(0, 99))
def test_probabilities_of_all_next_tokens_add_up_to_1_in_every_context(order, smoothing, seed):
    V = 3
    model = NGram(tokens_of(59, V, seed), order=order, vocabulary_size=V)
    for context in itertools.product(range(V), repeat=order):
        p = [model.log_probs(torch.tensor([*context, x]), smoothing=smoothing).exp() for x in range(V)]
        assert_close(torch.cat(p).sum(), torch.tensor(1.0).double())


def test_without_smoothing_no_other_model_of_that_order_fits_its_own_text_better():
    train = tokens_of(307)
    model = NGram(train, order=1, vocabulary_size=5)
    best = model.log_probs(train, smoothing=0).mean()
    assert all(model.log_probs(train, smoothing=smoothing).mean() < best for smoothing in (0.01, 1, 10))


def test_a_longer_context_never_fits_the_training_text_worse_without_smoothing():
    train = tokens_of(307)
    # On the same tokens: those that have a context of length 4.
    fits = [
        NGram(train[4 - order :], order=order, vocabulary_size=5)
        .log_probs(train[4 - order :], smoothing=0)
        .mean()
        for order in range(5)
    ]
    assert fits == sorted(fits)


def test_what_was_never_seen_is_impossible_without_smoothing():
    model = NGram(torch.tensor([0, 1, 0, 1]), order=1, vocabulary_size=3)
    assert model.log_probs(torch.tensor([0, 2, 0]), smoothing=0).tolist() == [-math.inf, -math.inf]
    assert perplexity(model.log_probs(torch.tensor([0, 1, 0, 2]), smoothing=0)) == math.inf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": -1}, "order must be 0 or more, got -1"),
        ({"vocabulary_size": 0}, "vocabulary_size must be at least 1"),
        ({"order": 40}, "power order \\+ 1 below 2\\^63, got 5 with order 40"),
        ({"tokens": torch.tensor([0, 1])}, "tokens must be more than the order 2, got 2"),
        ({"tokens": torch.tensor([0, 1, 5, 2])}, r"tokens must lie in 0\.\.4, got 0\.\.5"),
    ],
)
def test_an_ngram_names_what_it_cannot_use(change, message, learner):
    arguments = {"tokens": tokens_of(31), "order": 2, "vocabulary_size": 5} | change
    with pytest.raises(ValueError, match=message):
        NGram(arguments.pop("tokens"), **arguments)


def test_a_negative_smoothing_is_refused():
    with pytest.raises(ValueError, match="smoothing must be 0 or more, got -1"):
        NGram(tokens_of(31), order=1, vocabulary_size=5).log_probs(tokens_of(31), smoothing=-1.0)


@given(st.integers(1, 50), st.integers(1, 20))
def test_perplexity_of_equally_likely_tokens_is_their_number(V, T):
    assert perplexity(torch.full((T,), 1 / V).double().log()) == pytest.approx(V)


def test_perplexity_is_the_exponential_of_the_cross_entropy():
    logits, targets = torch.randn(13, 7, generator=generator()).double(), tokens_of(13, 7)
    cross_entropy = torch.nn.functional.cross_entropy(logits, targets)
    chosen = logits.log_softmax(-1)[torch.arange(13), targets]
    assert perplexity(chosen) == pytest.approx(cross_entropy.exp().item())
    with pytest.raises(ValueError, match="at least one value"):
        perplexity(torch.empty(0))


# -------------------------------------------------------------------------------- autoregression


def series_of(length, seed=0):
    return torch.randn(length, generator=generator(seed), dtype=torch.float64).cumsum(0)


def test_rows_of_the_design_matrix_hold_the_values_before_the_target_the_latest_first():
    X, y = ar_design_matrix(torch.arange(7.0), 3)
    assert X.tolist() == [[2, 1, 0], [3, 2, 1], [4, 3, 2], [5, 4, 3]]
    assert y.tolist() == [3, 4, 5, 6]


@pytest.mark.parametrize("order", [1, 2, 5])
def test_fitted_weights_are_those_of_scikit_learn(order):
    series = series_of(131)
    model = fit_autoregression(series, order)
    theirs = LinearRegression().fit(*(part.numpy() for part in ar_design_matrix(series, order)))
    np.testing.assert_allclose(model.weights, theirs.coef_, rtol=1e-8)
    assert model.intercept == pytest.approx(theirs.intercept_)


def test_a_series_made_by_an_autoregression_gives_its_weights_back():
    weights = [1.2, -0.5]
    x = [1.0, 2.0]
    for _ in range(47):
        x.append(0.7 + weights[0] * x[-1] + weights[1] * x[-2])
    model = fit_autoregression(torch.tensor(x, dtype=torch.float64), 2)
    assert model.weights.tolist() == pytest.approx(weights) and model.intercept == pytest.approx(0.7)


@given(st.integers(1, 5), st.integers(1, 11), st.integers(0, 20))
def test_rolling_forecasts_are_single_forecasts_one_for_each_place(order, horizon, seed):
    series = series_of(41, seed)
    model = fit_autoregression(series[:23], order)
    rolled = rolling_forecasts(model, series, start=23, horizon=horizon)
    assert rolled.position.tolist() == list(range(23, 41))
    singly = [model.forecast(series[: t - horizon + 1], horizon=horizon)[-1] for t in range(23, 41)]
    assert_close(rolled.predicted, torch.stack(singly))
    assert torch.equal(rolled.actual, series[23:])


def test_forecasts_see_nothing_of_the_last_horizon_of_values():
    series = series_of(41)
    model = fit_autoregression(series[:23], 3)
    changed = series.clone()
    changed[29:] += 100
    before, after = (rolling_forecasts(model, x, start=29, horizon=5).predicted for x in (series, changed))
    assert torch.equal(before[:5], after[:5]) and not torch.equal(before[5:], after[5:])


def test_errors_are_measured_in_the_units_of_the_series():
    model = Autoregression(torch.tensor([1.0], dtype=torch.float64), 0.0)  # tomorrow as today
    series = torch.tensor([0.0, 0.0, 3.0, 7.0])
    assert rolling_forecasts(model, series, start=2, horizon=1).rmse == pytest.approx(12.5**0.5)


def test_what_cannot_be_forecast_is_named():
    series, model = series_of(11), Autoregression(torch.tensor([0.5, 0.1]), 0.0)
    with pytest.raises(ValueError, match=r"start must lie in 5\.\.10 for order 2 and horizon 3, got 4"):
        rolling_forecasts(model, series, start=4, horizon=3)
    with pytest.raises(ValueError, match="horizon must be at least 1, got 0"):
        model.forecast(series, horizon=0)
    with pytest.raises(ValueError, match="history must have at least 2 values, got 1"):
        model.forecast(series[:1], horizon=3)
    with pytest.raises(ValueError, match="order must be at least 1, got 0"):
        ar_design_matrix(series, 0)
    with pytest.raises(ValueError, match="series must have more than 11 values, got 11"):
        fit_autoregression(series, 11)


# ------------------------------------------------------------------------- a state behind a series


def test_states_and_outputs_follow_the_two_equations():
    D, U, Y, T = 3, 2, 5, 7
    A, B, C = (torch.randn(*shape, generator=generator()).double() for shape in ((D, D), (D, U), (Y, D)))
    inputs, x_0 = torch.randn(T, U, generator=generator(1)).double(), torch.randn(D).double()
    states, outputs = state_space_run(A, B, C, inputs=inputs, x_0=x_0)
    for t in range(T):
        before = x_0 if t == 0 else states[t - 1]
        assert_close(states[t], A @ before + B @ inputs[t])
        assert_close(outputs[t], C @ states[t])
