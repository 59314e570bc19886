import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqlib.scaling import random_attention, softmax_jacobian


def attention(d_k=7, *, scaled=False, keys=5, seed=0, **options):
    return random_attention(
        d_k, scaled=scaled, keys=keys, generator=torch.Generator().manual_seed(seed), **options
    )


@pytest.mark.parametrize("d_k", [1, 3, 64, 512])
def test_the_variance_of_a_score_is_d_k_and_1_if_it_is_scaled(d_k):
    for scaled, expected in ((False, d_k), (True, 1)):
        scores = attention(d_k, scaled=scaled, draws=4000).scores
        # The five keys of a draw share its query, so their squared scores are independent only given that.
        error = expected * math.sqrt((2 / d_k + (2 + 4 / d_k) / 5) / 4000)
        assert scores.square().mean().item() == pytest.approx(expected, abs=5 * error)


def test_scores_are_the_products_of_one_query_with_each_key_and_shorter_vectors_begin_longer_ones():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([torch.randn(31, 1 + 5, generator=generator) for _ in range(11)])
    query, keys = drawn[..., :1], drawn[..., 1:]
    for d_k in (1, 2, 7, 11):
        trace = attention(d_k, draws=31)
        torch.testing.assert_close(trace.scores, (query * keys)[:d_k].sum(0))
        torch.testing.assert_close(attention(d_k, draws=31, scaled=True).scores, trace.scores / d_k**0.5)
        torch.testing.assert_close(trace.weights, trace.scores.softmax(-1))


@settings(max_examples=30)
@given(st.lists(st.floats(-30, 30), min_size=1, max_size=7))
def test_the_jacobian_is_autograds(values):
    scores = torch.tensor(values, dtype=torch.float64)
    expected = torch.autograd.functional.jacobian(lambda scores: scores.softmax(-1), scores)
    torch.testing.assert_close(softmax_jacobian(scores.softmax(-1)), expected)


def test_jacobians_of_a_batch_are_those_of_its_rows_and_their_norms_are_the_gradient():
    trace = attention(d_k=13)
    jacobians = softmax_jacobian(trace.weights)
    assert jacobians.shape == (512, 5, 5)
    for row in (0, 17, 511):
        expected = torch.autograd.functional.jacobian(lambda s: s.softmax(-1), trace.scores[row])
        torch.testing.assert_close(jacobians[row], expected)
        assert trace.gradient[row].item() == pytest.approx(expected.norm().item(), rel=1e-4, abs=1e-6)


def test_without_scaling_one_weight_takes_all_and_hardly_any_gradient_comes_through():
    means = {
        (d_k, scaled): [float(part.mean()) for part in (trace.weights.amax(-1), trace.gradient)]
        for d_k in (1, 512)
        for scaled in (False, True)
        for trace in [attention(d_k, scaled=scaled, keys=10)]
    }
    assert means[512, False][0] > 0.9 and means[512, True][0] < 0.4
    assert means[512, False][1] < 0.3 * means[512, True][1]
    assert means[1, False] == means[1, True]


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    attention()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("wrong", ["d_k", "keys", "draws"])
def test_sizes_must_be_positive(wrong):
    with pytest.raises(ValueError, match=f"{wrong} must be a positive integer, got 0"):
        attention(**{wrong: 0})
