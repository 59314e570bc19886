"""The exercises on the probability of a sequence: references against oracles, mistakes and their messages."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Categorical, Dirichlet
from torch.nn import functional as F

import seqlib.probability
from seqlib.checks import probability as check
from seqlib.checks.exercise import Exercise
from seqlib.checks.guard import call
from seqlib.checks.probability import (
    _ar_design_matrix,
    _perplexity,
    _sequence_log_prob,
    _smoothed_conditional,
)

EXERCISES = {name: value for name, value in vars(check).items() if isinstance(value, Exercise)}


def test_the_right_answers_leave_their_arguments_alone_and_print_nothing():
    for exercise in EXERCISES.values():
        args = exercise.inputs[0](torch.Generator().manual_seed(0))
        assert call(exercise.reference, args, seconds=5.0, seed=0).printed == ()


# The inputs


@pytest.mark.parametrize("seed", range(10))
def test_the_product_over_a_long_sequence_is_too_small_for_float64(seed):
    g = torch.Generator().manual_seed(seed)
    _, long = check.sequence_log_prob.inputs
    assert _sequence_log_prob(*long(g)) < math.log(5e-324)
    _, long = check.perplexity.inputs
    assert long(g)[0].sum() < math.log(5e-324)


@pytest.mark.parametrize("seed", range(10))
def test_every_table_of_counts_has_a_context_never_seen_and_gaps_in_the_others(seed):
    for inputs in check.smoothed_conditional.inputs:
        counts, alpha = inputs(torch.Generator().manual_seed(seed))
        unseen = counts.sum(1) == 0
        assert counts.dtype == torch.int64 and unseen.sum() == 1 and alpha not in (0, 1)
        assert ((counts[~unseen] == 0).sum(1) == 1).all()


# The references against oracles


def chain(seed, V=3, T=5):
    g = torch.Generator().manual_seed(seed)
    p_first = torch.rand(V, generator=g, dtype=torch.float64)
    p_next = torch.rand(V, V, generator=g, dtype=torch.float64)
    tokens = torch.randint(V, (T,), generator=g)
    return p_first / p_first.sum(), p_next / p_next.sum(1, keepdim=True), tokens


@given(seed=st.integers(0, 10**6), T=st.integers(1, 13))
def test_the_log_probability_is_that_of_torchs_distributions(seed, T):
    p_first, p_next, tokens = chain(seed, T=T)
    truth = Categorical(p_first).log_prob(tokens[0])
    truth = truth + Categorical(p_next[tokens[:-1]]).log_prob(tokens[1:]).sum()
    assert _sequence_log_prob(p_first, p_next, tokens) == pytest.approx(float(truth), rel=1e-12)


def test_the_probabilities_of_all_sequences_add_up_to_1():
    p_first, p_next, _ = chain(0)
    sequences = itertools.product(range(3), repeat=5)
    total = sum(math.exp(_sequence_log_prob(p_first, p_next, torch.tensor(x))) for x in sequences)
    assert total == pytest.approx(1, rel=1e-12)


@given(order=st.integers(1, 7), more=st.integers(1, 11))
def test_the_design_matrix_is_that_of_the_package_and_of_counting(order, more):
    series = torch.randn(order + more, generator=torch.Generator().manual_seed(more))
    X, y = _ar_design_matrix(series, order)
    theirs = seqlib.probability.ar_design_matrix(series, order)
    assert torch.equal(X, theirs[0]) and torch.equal(y, theirs[1])
    values = series.tolist()
    assert y.tolist() == values[order:]
    assert X.tolist() == [[values[order + n - 1 - k] for k in range(order)] for n in range(more)]


@given(seed=st.integers(0, 10**6), alpha=st.floats(0.01, 100))
def test_smoothing_is_the_posterior_mean_under_a_dirichlet_prior(seed, alpha):
    counts = torch.randint(9, (5, 7), generator=torch.Generator().manual_seed(seed))
    p = _smoothed_conditional(counts, alpha)
    torch.testing.assert_close(p, Dirichlet(counts + alpha).mean)
    torch.testing.assert_close(p.sum(1), torch.ones(5))


@given(seed=st.integers(0, 10**6), alpha=st.floats(0.01, 100))
def test_smoothing_is_that_of_the_packages_bigrams(seed, alpha):
    V = 3
    tokens = torch.randint(V, (29,), generator=torch.Generator().manual_seed(seed))
    counts = torch.zeros(V, V, dtype=torch.int64)
    counts.index_put_((tokens[:-1], tokens[1:]), torch.tensor(1), accumulate=True)
    p = _smoothed_conditional(counts, alpha)[tokens[:-1], tokens[1:]]
    model = seqlib.probability.NGram(tokens, order=1, vocabulary_size=V)
    torch.testing.assert_close(p.double().log(), model.log_probs(tokens, smoothing=alpha), rtol=0, atol=1e-5)


@given(st.lists(st.floats(-20, -1e-6), min_size=1, max_size=30))
def test_perplexity_is_that_of_the_package_and_of_torchs_cross_entropy(values):
    log_probs = torch.tensor(values, dtype=torch.float64)
    ours = _perplexity(log_probs)
    assert ours == pytest.approx(seqlib.probability.perplexity(log_probs), rel=1e-12)
    logits = torch.stack([log_probs, torch.log1p(-log_probs.exp())], 1)  # this token, or another
    cross_entropy = F.cross_entropy(logits, torch.zeros(len(values), dtype=torch.int64))
    assert ours == pytest.approx(math.exp(cross_entropy), rel=1e-9)


@pytest.mark.parametrize("V", [2, 5, 97])
def test_the_perplexity_of_a_fair_die_is_the_number_of_its_faces(V):
    log_probs = Categorical(torch.ones(V, dtype=torch.float64)).log_prob(torch.arange(V))
    assert _perplexity(log_probs) == pytest.approx(V, rel=1e-12)


# Other right answers


def log_prob_by_loop(p_first, p_next, tokens):
    total = math.log(p_first[tokens[0]])
    for t in range(1, len(tokens)):
        total += math.log(p_next[tokens[t - 1], tokens[t]])
    return total


def log_prob_in_float32(p_first, p_next, tokens):
    total = p_first.float()[tokens[0]].log()
    for now, following in zip(tokens, tokens[1:], strict=False):
        total = total + p_next.float()[now][following].log()
    return total


def log_prob_by_numpy(p_first, p_next, tokens):
    p_first, p_next, tokens = p_first.numpy(), p_next.numpy(), tokens.numpy()
    return np.log(p_first[tokens[0]]) + np.log(p_next[tokens[:-1], tokens[1:]]).sum()


def log_prob_by_gather(p_first, p_next, tokens):
    rows = torch.cat([p_first[None], p_next[tokens[:-1]]]).log()
    return rows.gather(1, tokens[:, None]).sum()


def log_prob_by_one_hot(p_first, p_next, tokens):
    x = F.one_hot(tokens, len(p_first)).double()
    return (x[:1] @ p_first.log()[:, None] + (x[:-1] @ p_next.log() * x[1:]).sum()).reshape(1)


def log_prob_by_nll(p_first, p_next, tokens):
    log_p = torch.cat([p_first[None], p_next[tokens[:-1]]]).log()
    return -F.nll_loss(log_p, tokens, reduction="sum")


def matrix_by_loop(series, order):
    X, y = [], []
    for t in range(order, len(series)):
        X.append([series[t - 1 - k].item() for k in range(order)])
        y.append(series[t].item())
    return torch.tensor(X), torch.tensor(y)


def matrix_by_windows(series, order):
    windows = series.unfold(0, order + 1, 1)
    return [windows[:, :-1].flip(1), windows[:, -1]]


def matrix_by_flipped_slices(series, order):
    rows = [series[t - order : t].flip(0) for t in range(order, len(series))]
    return torch.stack(rows), series[order:].clone()


def matrix_by_indices(series, order):
    t = torch.arange(order, len(series))
    return series[t[:, None] - 1 - torch.arange(order)], series[t]


def matrix_by_rolling(series, order):
    rolled = torch.stack([series.roll(1 + k) for k in range(order)], dim=-1)
    return rolled[order:], series[order:]


def matrix_by_numpy(series, order):
    windows = np.lib.stride_tricks.sliding_window_view(series.numpy(), order + 1)
    return torch.from_numpy(windows[:, -2::-1].copy()), torch.from_numpy(windows[:, -1].copy())


def matrix_filled_in(series, order):
    X = torch.zeros(len(series) - order, order)
    for k in range(order):
        X[:, k] = series[order - 1 - k : len(series) - 1 - k]
    return X, series[order:]


def smoothed_by_loop(counts, alpha):
    p = torch.zeros(counts.shape)
    for c, row in enumerate(counts.tolist()):
        for v, count in enumerate(row):
            p[c, v] = (count + alpha) / (sum(row) + alpha * len(row))
    return p


def smoothed_by_normalising(counts, alpha):
    return F.normalize(counts + alpha, p=1, dim=1)


def smoothed_by_softmax_of_logarithms(counts, alpha):
    return torch.log(counts.float() + alpha).softmax(-1)


def smoothed_by_transposing(counts, alpha):
    smoothed = counts + alpha
    return (smoothed.T / smoothed.sum(1)).T


def smoothed_by_numpy(counts, alpha):
    smoothed = counts.numpy() + alpha
    return torch.tensor(smoothed / smoothed.sum(1, keepdims=True), dtype=torch.float32)


def smoothed_by_interpolation(counts, alpha):
    n, V = counts.sum(1, keepdim=True), counts.shape[1]
    share = n / (n + alpha * V)
    return share * (counts / n.clamp(min=1)) + (1 - share) / V


def perplexity_by_loop(log_probs):
    return math.exp(-sum(float(value) for value in log_probs) / len(log_probs))


def perplexity_by_numpy(log_probs):
    return np.exp(-np.mean(log_probs.numpy()))


def perplexity_in_bits(log_probs):
    return 2 ** (-(log_probs / math.log(2)).mean())


def perplexity_by_the_geometric_mean(log_probs):
    return 1 / log_probs.float().mean().exp()


def perplexity_by_roots(log_probs):
    return ((-log_probs).exp() ** (1 / len(log_probs))).prod()


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("sequence_log_prob", log_prob_by_loop),
        ("sequence_log_prob", log_prob_in_float32),
        ("sequence_log_prob", log_prob_by_numpy),
        ("sequence_log_prob", log_prob_by_gather),
        ("sequence_log_prob", log_prob_by_one_hot),
        ("sequence_log_prob", log_prob_by_nll),
        ("ar_design_matrix", matrix_by_loop),
        ("ar_design_matrix", matrix_by_windows),
        ("ar_design_matrix", matrix_by_flipped_slices),
        ("ar_design_matrix", matrix_by_indices),
        ("ar_design_matrix", matrix_by_rolling),
        ("ar_design_matrix", matrix_by_numpy),
        ("ar_design_matrix", matrix_filled_in),
        ("smoothed_conditional", smoothed_by_loop),
        ("smoothed_conditional", smoothed_by_normalising),
        ("smoothed_conditional", smoothed_by_softmax_of_logarithms),
        ("smoothed_conditional", smoothed_by_transposing),
        ("smoothed_conditional", smoothed_by_numpy),
        ("smoothed_conditional", smoothed_by_interpolation),
        ("perplexity", perplexity_by_loop),
        ("perplexity", perplexity_by_numpy),
        ("perplexity", perplexity_in_bits),
        ("perplexity", perplexity_by_the_geometric_mean),
        ("perplexity", perplexity_by_roots),
    ],
)
def test_other_right_answers_are_correct(name, function):
    for seed in range(2 if function is log_prob_in_float32 else 10):
        report = EXERCISES[name](function, seed=seed)
        assert report.correct, report


# Mistakes written as learners write them


def product_by_loop(p_first, p_next, tokens, *, logarithm):
    p = float(p_first[tokens[0]])
    for now, following in zip(tokens.tolist(), tokens[1:].tolist(), strict=False):
        p = p * float(p_next[now, following])
    return logarithm(p)


def np_log(value):
    with np.errstate(divide="ignore"):
        return np.log(np.float64(value))


@pytest.mark.parametrize(
    ("logarithm", "ending"), [(np_log, "so its logarithm is -inf"), (math.log, "no logarithm in Python")]
)
def test_a_product_that_underflows_is_explained(logarithm, ending):
    report = check.sequence_log_prob(lambda *args: product_by_loop(*args, logarithm=logarithm))
    assert report.status == "mistake" and report.message.startswith("The probabilities are multiplied first.")
    assert ending in report.message


def test_a_probability_without_its_logarithm_is_found_out():
    report = check.sequence_log_prob(lambda *args: product_by_loop(*args, logarithm=lambda p: p))
    assert report.status == "mistake" and report.message.startswith("The logarithm is missing")


@pytest.mark.parametrize("steps", [lambda T: range(T), lambda T: range(2, T), lambda T: range(1, T - 1)])
def test_a_loop_that_starts_or_ends_at_the_wrong_step_is_found_out(steps):
    def by_loop(p_first, p_next, tokens):
        pairs = [(tokens[t - 1], tokens[t]) for t in steps(len(tokens))]
        return p_first[tokens[0]].log() + sum(p_next[pair].log() for pair in pairs)

    report = check.sequence_log_prob(by_loop)
    assert report.status == "mistake"
    complaints = {0: "There is one pair too many", 1: "The last token is left out", 2: "The second token is"}
    assert report.message.startswith(complaints[steps(7)[0]])


@pytest.mark.parametrize(
    ("start", "complaint"),
    [(0, "The target leaks, and there is a row too many"), (1, None), (2, "There is a gap")],
)
def test_lags_that_start_at_the_wrong_place_are_found_out(start, complaint):
    def by_lags(series, order):
        first = order + start - 1
        columns = [series[first - start - k : len(series) - start - k] for k in range(order)]
        return torch.stack(columns, 1), series[first:]

    report = check.ar_design_matrix(by_lags)
    if complaint is None:
        assert report.correct
    else:
        assert report.status == "mistake" and report.message.startswith(complaint)


def test_slices_with_a_negative_step_are_explained():
    report = check.ar_design_matrix(
        lambda series, order: (
            torch.stack([series[t - 1 : t - order - 1 : -1] for t in range(order, len(series))]),
            series[order:],
        )
    )
    assert report.status == "mistake" and "turn the piece round with flip" in report.message


def test_a_matrix_without_its_targets_is_described():
    report = check.ar_design_matrix(lambda series, order: matrix_by_loop(series, order)[0])
    assert report.status == "wrong"
    assert report.message.startswith("The result should be a tuple of 2, not a float32 tensor of shape")


def test_an_unknown_difference_in_the_matrix_names_it():
    report = check.ar_design_matrix(
        lambda series, order: (matrix_by_loop(series, order)[0] + 1, series[order:])
    )
    assert report.status == "wrong" and report.message.startswith("The matrix X differs first at [0, 0]: ")


def test_a_matrix_in_float64_is_told_so():
    def by_numpy(series, order):
        X = np.zeros((len(series) - order, order))
        for n in range(len(X)):
            X[n] = series[n : n + order].flip(0)
        return torch.from_numpy(X), series[order:]

    report = check.ar_design_matrix(by_numpy)
    assert report.message.startswith("The numbers are right, but not all of them are float32")


def test_counts_that_are_changed_in_place_are_explained():
    def with_whole_numbers(counts, alpha):
        counts += alpha
        return counts / counts.sum(1, keepdim=True)

    report = check.smoothed_conditional(with_whole_numbers)
    assert report.status == "mistake" and report.message.startswith("counts has whole numbers, and +=")


def test_a_sum_without_its_axis_is_explained():
    def without_keepdim(counts, alpha):
        smoothed = counts + alpha
        return smoothed / smoothed.sum(1)

    report = check.smoothed_conditional(without_keepdim)
    assert report.status == "mistake" and "With keepdim=True" in report.message


def test_smoothing_of_seen_contexts_only_is_found_out_by_the_one_never_seen():
    def careless(counts, alpha):
        n = counts.sum(1, keepdim=True)
        return torch.where(n == 0, 0.0, (counts + alpha) / (n + alpha * counts.shape[1]))

    report = check.smoothed_conditional(careless)
    assert report.status == "mistake" and report.message.startswith("The row of a context that was never")


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda log_p: math.exp(-sum(log_p.tolist())), "It is the sum of the logarithms"),
        (lambda log_p: math.prod(log_p.exp().tolist()) ** (-1 / len(log_p)), "of which Python takes no"),
        (lambda log_p: np.prod(np.exp(log_p.numpy())) ** (-1 / len(log_p)), "1 over it is infinite"),
        (lambda log_p: 2 ** float(-log_p.mean()), "The base is 2"),
        (lambda log_p: float(np.exp(-np.log(log_p.numpy()).mean())), "The logarithm is taken again"),
        (lambda log_p: 1 / np.mean(np.exp(log_p.numpy())), "It is 1 over the mean probability"),
    ],
)
def test_perplexities_of_other_kinds_are_found_out(function, complaint):
    with np.errstate(all="ignore"):
        report = check.perplexity(function)
    assert report.status == "mistake" and complaint in report.message, report


def test_a_perplexity_that_is_no_number_is_described():
    report = check.perplexity(lambda log_probs: "low")
    assert report.status == "wrong" and "should be a number, not 'low'" in report.message
