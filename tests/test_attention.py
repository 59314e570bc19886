"""Attention agrees with torch's, masks hide what they hide, and hard attention learns what it should."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import chisquare
from torch.nn import functional as F
from torch.testing import assert_close

from seqlib.attention import (
    AdditiveScores,
    AttentionSeq2Seq,
    attend,
    dot_scores,
    hard_attend,
    masked_softmax,
    reinforce,
    scaled_dot_scores,
    translate,
)
from seqlib.pairs import EOS, PAD, Pair, make_corpus
from seqlib.seq2seq import decoder_inputs, exact_match, pair_loss
from seqlib.training import fit

B, S, T, K, H, SOURCES, TARGETS = 3, 7, 5, 11, 26, 17, 19


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def assert_exact(found, expected):
    assert_close(found, expected, rtol=0, atol=1e-10)


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def random_mask(*shape):
    """True for some; at least one in each row."""
    mask = torch.rand(shape) < 0.4
    mask[..., 2] = True
    return mask


# ------------------------------------------------------------------------------------------ scores

masks = {"none": None, "of the memory": (B, 1, S), "of each query": (B, T, S)}


@pytest.mark.parametrize("mask", masks.values(), ids=masks)
@pytest.mark.parametrize(("scores", "options"), [(dot_scores, {"scale": 1.0}), (scaled_dot_scores, {})])
def test_dot_products_attend_as_torchs_attention_does(scores, options, mask):
    queries, keys, values = randn(B, T, K), randn(B, S, K), randn(B, S, H)
    mask = mask and random_mask(*mask)
    found = attend(scores(queries, keys), values, mask).context
    expected = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, **options)
    assert_exact(found, expected)
    inputs, g = (queries, keys, values), torch.randn_like(found)
    assert_exact(torch.autograd.grad(found, inputs, g), torch.autograd.grad(expected, inputs, g))


def test_additive_scores_are_the_sum_that_the_paper_has():
    A, Q = 13, 2
    module = AdditiveScores(Q, K, A).double()
    queries, keys = randn(B, T, Q), randn(B, S, K)
    W_q, W_k, v = (layer.weight.detach().numpy() for layer in (module.q_to_a, module.k_to_a, module.v))
    expected = np.zeros((B, T, S))
    for b, t, s in np.ndindex(B, T, S):
        q, k = queries[b, t].detach().numpy(), keys[b, s].detach().numpy()
        expected[b, t, s] = sum(v[0, a] * np.tanh(sum(W_q[a] * q) + sum(W_k[a] * k)) for a in range(A))
    assert_exact(module(queries, keys), torch.from_numpy(expected))
    assert {name for name, _ in module.named_parameters()} == {"q_to_a.weight", "k_to_a.weight", "v.weight"}


# -------------------------------------------------------------------------------------------- masks

rows = st.lists(st.tuples(st.floats(-50, 50), st.booleans()), min_size=1, max_size=13).map(
    lambda row: (torch.tensor([score for score, _ in row]).double(), torch.tensor([seen for _, seen in row]))
)


@given(rows)
def test_masked_softmax_is_the_softmax_of_what_is_left(row):
    scores, mask = row
    expected = np.zeros(len(scores))
    if mask.any():
        expected[mask.numpy()] = softmax(scores[mask].numpy())
    found = masked_softmax(scores, mask)
    assert_exact(found, torch.from_numpy(expected))
    assert (found[~mask] == 0).all()
    assert found.sum().item() == pytest.approx(float(mask.any()))


@given(rows, st.floats(-1000, 1000))
def test_a_shift_of_all_scores_changes_no_weight(row, shift):
    scores, mask = row
    assert_exact(masked_softmax(scores + shift, mask), masked_softmax(scores, mask))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("hidden", [1e30, -1e30, torch.inf, torch.nan])
def test_what_is_masked_has_no_effect_and_no_gradient(hidden, dtype):
    scores, mask = torch.randn(B, T, S, dtype=dtype), random_mask(B, T, S)
    other = scores.masked_fill(~mask, hidden).requires_grad_()
    found = masked_softmax(other, mask)
    assert torch.equal(found, masked_softmax(scores, mask))
    (gradient,) = torch.autograd.grad(found, other, torch.randn_like(found))
    assert (gradient[~mask] == 0).all() and gradient.isfinite().all()


@pytest.mark.parametrize("size", [0.0, 1.0, 1e30])
def test_a_row_in_which_all_is_masked_gives_zeros_and_no_nan(size):
    scores, values = (randn(B, T, S) * size).detach().float().requires_grad_(), torch.randn(B, S, H)
    values.requires_grad_()
    mask = random_mask(B, T, S)
    mask[1, 3] = False
    context, weights = attend(scores, values, mask)
    assert (weights[1, 3] == 0).all() and (context[1, 3] == 0).all()
    assert_close(weights.sum(-1), mask.any(-1).float())
    gradients = torch.autograd.grad(context.square().sum(), (scores, values))
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert (gradients[0][1, 3] == 0).all()


def test_one_mask_of_the_memory_serves_all_queries():
    scores, mask = torch.randn(B, T, S), random_mask(B, 1, S)
    assert torch.equal(masked_softmax(scores, mask), masked_softmax(scores, mask.expand(B, T, S)))


# ------------------------------------------------------------------------------------------- attend


@given(st.permutations(range(S)), st.booleans())
@settings(max_examples=30)
def test_another_order_of_the_memory_reorders_the_weights_and_leaves_the_context(order, masked):
    queries, keys, values = randn(B, T, K), randn(B, S, K), randn(B, S, H)
    mask = random_mask(B, T, S) if masked else None
    context, weights = attend(dot_scores(queries, keys), values, mask)
    other = attend(
        dot_scores(queries, keys[:, order]), values[:, order], None if mask is None else mask[..., order]
    )
    assert_exact(other.weights, weights[..., order])
    assert_exact(other.context, context)


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_of_attend_equal_finite_differences(masked):
    mask = random_mask(2, 3, S) if masked else None
    if masked:
        mask[1, 2] = False
    assert torch.autograd.gradcheck(
        lambda scores, values: attend(scores, values, mask), (randn(2, 3, S), randn(2, S, 5))
    )


def test_a_score_far_above_the_others_looks_one_value_up():
    scores, values = torch.zeros(B, T, S), torch.randn(B, S, H)
    scores[:, :, 3] = 200.0
    assert_close(attend(scores, values).context, values[:, 3:4].expand(B, T, H))


# --------------------------------------------------------------------------- a decoder that attends


def model(**options):
    network = AttentionSeq2Seq(SOURCES, TARGETS, embedding_size=K, hidden_size=H, **options).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)  # so that it looks at some places more than at others
    return network


def sequences(lengths, size):
    rows = [torch.cat([torch.randint(3, size, (length - 1,)), torch.tensor([EOS])]) for length in lengths]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


def batch():
    """Sources of several lengths, and what the decoder reads."""
    return sequences([7, 2, 4], SOURCES), decoder_inputs(sequences([3, 5, 1], TARGETS))


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("scores", "options"), [(dot_scores, {"scale": 1.0}), (scaled_dot_scores, {})])
def test_logits_are_those_of_torchs_attention_over_the_encoders_states(scores, options, bidirectional):
    network, (source, inputs) = model(scores=scores, bidirectional=bidirectional), batch()
    encoded = network.encoder(source)
    h, _ = network.cell.unroll(network.embedding(inputs), (encoded.h, encoded.c))
    context = F.scaled_dot_product_attention(
        h, encoded.memory, encoded.memory, attn_mask=encoded.present[:, None], **options
    )
    joined = torch.cat([context, h], -1)
    s_tilde = torch.tanh(F.linear(joined, network.joined_to_s.weight, network.joined_to_s.bias))
    expected = F.linear(s_tilde, network.h_to_y.weight, network.h_to_y.bias)
    assert_exact(network(source, inputs), expected)

    steps = network.look_up(h, network.start(source))
    assert_exact((steps.context, steps.joined, steps.s_tilde), (context, joined, s_tilde))
    assert_exact(steps.logits, expected)
    assert_exact(steps.scores, scores(h, encoded.memory))


@pytest.fixture(params=[dot_scores, scaled_dot_scores, "additive"], ids=["dot", "scaled dot", "additive"])
def network(request):
    return model(scores=AdditiveScores(H, H, 13) if request.param == "additive" else request.param)


def test_a_model_reads_in_both_directions_and_scores_by_dot_products_if_nothing_else_is_asked_for():
    network, (source, inputs) = model(), batch()
    state = network.start(source)
    h = network.states(inputs, state)
    assert_exact(network.look_up(h, state).scores, dot_scores(h, state.memory))
    assert len(network.encoder.cells) == 2 and len(model(bidirectional=False).encoder.cells) == 1


def test_additive_scores_are_trained_with_the_model():
    scores, (source, inputs) = AdditiveScores(H, H, 13), batch()
    network = model(scores=scores)
    assert set(scores.parameters()) <= set(network.parameters())
    gradients = torch.autograd.grad(network(source, inputs).square().sum(), list(scores.parameters()))
    assert all((gradient != 0).any() for gradient in gradients)


def test_step_by_step_and_all_steps_at_once_are_the_same(network):
    source, inputs = batch()
    state = first = network.start(source)
    each = []
    for tokens in inputs.unbind(1):
        logits, state = network.step(tokens, state)
        each.append(logits)
    assert_exact(network.decode(inputs, first), torch.stack(each, 1))
    assert torch.equal(state.memory, first.memory) and torch.equal(state.present, first.present)


def test_future_tokens_do_not_change_past_logits(network):
    source, inputs = batch()
    before = network(source, inputs)
    for t in range(1, T):
        other = inputs.clone()
        other[:, t:] = (other[:, t:] + 1) % TARGETS
        assert torch.equal(network(source, other)[:, :t], before[:, :t])


def test_padding_gets_no_weight_and_changes_nothing(network):
    source, inputs = batch()
    state = network.start(source)
    weights = network.look_up(network.states(inputs, state), state).weights
    assert (weights[(source == PAD)[:, None].expand(B, T, S)] == 0).all()
    assert (weights[(source != PAD)[:, None].expand(B, T, S)] > 0).all()
    logits = network(source, inputs)
    for row, length in enumerate((source != PAD).sum(1).tolist()):
        assert_exact(network(source[row : row + 1, :length], inputs[row : row + 1])[0], logits[row])


def test_every_state_of_the_encoder_gets_a_gradient(network):
    (source, inputs), memory = batch(), []
    network.encoder.register_forward_hook(lambda *args: memory.append(args[2].memory))
    (gradient,) = torch.autograd.grad(network(source, inputs).square().sum(), memory)
    assert torch.equal((gradient != 0).any(-1), source != PAD)


# ---------------------------------------------------------------------------------------- translate


class Noting(AttentionSeq2Seq):
    """Notes every look into the memory."""

    def look_up(self, h, state):
        steps = super().look_up(h, state)
        self.__dict__.setdefault("looks", []).append(steps)
        return steps


@pytest.fixture(scope="module")
def corpus():
    texts = ["to", "heart", "learn", "by", "these", "five"]
    pairs = [Pair(tuple(text), tuple(text[::-1].upper())) for text in texts]
    return make_corpus(pairs, held_out=1, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def trained(corpus):
    """A model that has learnt the corpus by heart."""
    torch.manual_seed(0)
    network = AttentionSeq2Seq(
        len(corpus.source_vocabulary), len(corpus.target_vocabulary), embedding_size=16, hidden_size=32
    )
    loss = pair_loss(network, corpus.train, batch_size=5, generator=torch.Generator().manual_seed(0))
    fit(network, loss, steps=100, learning_rate=0.02, clip_norm=1.0)
    return network


def test_a_model_learns_some_pairs_by_heart(corpus, trained):
    assert exact_match(trained, corpus.train).all()


def test_a_translation_is_what_the_model_writes_with_its_end(corpus, trained):
    for row, expected in zip(corpus.train.source, corpus.train.target, strict=True):
        text = corpus.source_vocabulary.decode(row[row > EOS])
        source, target, weights = translate(trained, corpus, text)
        assert source == [*text, "<eos>"]
        assert target == corpus.target_vocabulary.decode(expected[expected != PAD])
        assert target[-1] == "<eos>"
        assert weights.shape == (len(target), len(source)) and not weights.requires_grad
        assert_close(weights.sum(1), torch.ones(len(target)))
        assert translate(trained, corpus, text, max_length=2).target == target[:2]


def test_weights_of_a_translation_are_those_with_which_it_was_written(corpus, trained):
    network = Noting(
        len(corpus.source_vocabulary), len(corpus.target_vocabulary), embedding_size=16, hidden_size=32
    )
    network.load_state_dict(trained.state_dict())
    source, target, weights = translate(network, corpus, "the")
    *while_writing, _ = network.looks
    assert [look.weights.shape for look in while_writing] == [(1, 1, len(source))] * len(target)
    assert_close(weights, torch.cat([look.weights[0] for look in while_writing]))
    assert corpus.target_vocabulary.decode(look.logits.argmax() for look in while_writing) == target
    assert weights.std(0).max() > 0.1  # it does look here and there


def test_a_source_with_an_unknown_token_is_refused(corpus, trained):
    with pytest.raises(ValueError, match="^tokens must be in the vocabulary, 'q' is not: "):
        translate(trained, corpus, "trq")


# ----------------------------------------------------------------------------------- hard attention


def test_hard_attention_looks_at_each_position_as_often_as_its_weight_says():
    weights, draws = torch.tensor([0.1, 0.0, 0.4, 0.2, 0.3], dtype=torch.float64), 7001
    values = torch.zeros(1, 5, 2, dtype=torch.float64)
    found = hard_attend(weights.expand(1, draws, 5), values, generator=torch.Generator().manual_seed(0))
    counts, possible = found.positions[0].bincount(minlength=5).numpy(), [0, 2, 3, 4]
    assert counts[1] == 0
    assert chisquare(counts[possible], draws * weights.numpy()[possible]).pvalue > 0.01


def test_hard_attention_returns_the_value_at_the_position_it_drew():
    weights, values = torch.randn(B, T, S).softmax(-1), torch.randn(B, S, H)
    context, positions, log_probability = hard_attend(weights, values)
    assert context.shape == (B, T, H) and len(positions.unique()) > 3
    for b, t in np.ndindex(B, T):
        assert torch.equal(context[b, t], values[b, positions[b, t]])
        assert_close(log_probability[b, t], weights[b, t, positions[b, t]].log())


def test_hard_attention_depends_on_nothing_but_the_generator():
    weights, values = torch.full((B, T, S), 1 / S), torch.randn(B, S, H)

    def draw(seed):
        return hard_attend(weights, values, generator=torch.Generator().manual_seed(seed)).positions

    state = torch.get_rng_state()
    assert torch.equal(draw(1), draw(1)) and not torch.equal(draw(1), draw(2))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_hard_context_has_no_gradient_for_the_weights_but_the_log_probability_has():
    weights, values = torch.randn(B, T, S).softmax(-1).requires_grad_(), torch.randn(B, S, H)
    context, positions, log_probability = hard_attend(weights, values)
    assert not context.requires_grad
    (gradient,) = torch.autograd.grad(log_probability.sum(), weights)
    drawn = F.one_hot(positions, S).bool()
    assert (gradient[~drawn] == 0).all()
    assert_close(gradient[drawn], 1 / weights.detach()[drawn])


def estimates(scores, reward, baseline):
    """Of all ways in which positions can be drawn: the probability, and the gradient by REINFORCE."""
    B, S = scores.shape
    log_p = scores.log_softmax(-1)
    for positions in itertools.product(range(S), repeat=B):
        drawn = list(range(B)), list(positions)
        loss = reinforce(log_p[drawn], reward[drawn], baseline=baseline)
        yield log_p[drawn].sum().exp().detach(), *torch.autograd.grad(loss, scores, retain_graph=True)


@pytest.mark.parametrize("baseline", [0, 0.0, 1.7, -3])
def test_the_mean_of_reinforce_over_all_draws_is_the_gradient_of_the_expected_reward(baseline):
    scores, reward = randn(3, 5), torch.randn(3, 5, dtype=torch.float64)
    expected_reward = (scores.softmax(-1) * reward).sum(-1).mean()
    (expected,) = torch.autograd.grad(-expected_reward, scores)
    assert_exact(sum(p * gradient for p, gradient in estimates(scores, reward, baseline)), expected)


def test_a_baseline_near_the_mean_reward_lowers_the_variance_of_the_estimate():
    scores, reward = randn(2, 7), 10 + torch.rand(2, 7, dtype=torch.float64)

    def variance(baseline):
        all_of_them = list(estimates(scores, reward, baseline))
        mean = sum(p * gradient for p, gradient in all_of_them)
        return float(sum(p * (gradient - mean).square().sum() for p, gradient in all_of_them))

    assert variance(10.5) < variance(0) / 50


def test_no_gradient_goes_through_the_reward():
    log_probability, reward = randn(7), randn(7)
    reinforce(log_probability, reward).backward()
    assert reward.grad is None
    assert_exact(log_probability.grad, -reward.detach() / 7)
