"""The exercises on attention: references against torch and loops, mistakes and their messages."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import seqlib.attention
from seqlib.checks import attention as check
from seqlib.checks.attention import _additive_scores, _attend, _dot_product_attention, _masked_softmax
from seqlib.checks.exercise import Exercise
from seqlib.checks.guard import call

EXERCISES = {name: value for name, value in vars(check).items() if isinstance(value, Exercise)}
SEEDS = range(3)
PRIMES = {2, 3, 5, 7, 11, 13}


def drawn(name, kind, seed=0):
    return EXERCISES[name].inputs[kind](torch.Generator().manual_seed(seed))


def test_the_right_answers_leave_their_arguments_alone_and_print_nothing():
    for name, exercise in EXERCISES.items():
        assert call(exercise.reference, drawn(name, 0), seconds=5.0, seed=0).printed == ()


# The inputs


def test_a_single_query_meets_equal_sizes_and_then_different_primes():
    shapes = [[tuple(arg.shape) for arg in drawn("dot_product_attention", kind)] for kind in (0, 1)]
    assert shapes == [[(5,), (5, 5), (5, 5)], [(7,), (5, 7), (5, 3)]]


def test_additive_scores_have_different_axes_and_then_different_vectors():
    def sizes(kind):
        q, k, _, W_k, v = drawn("additive_scores", kind)
        return [*q.shape[:2], k.shape[1]], [q.shape[2], *W_k.shape], len(v)

    axes, vectors, A = sizes(0)
    assert len(set(axes)) == 3 and set(axes) <= PRIMES and set(vectors) == {A}
    (B, T, S), (Q, K, A), _ = sizes(1)
    assert T == 1 and len({B, S, Q, K, A}) == 5 and {B, S, Q, K, A} <= PRIMES


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [0, 1])
def test_a_mask_has_full_rows_an_empty_row_and_no_empty_column(kind, seed):
    scores, mask = drawn("masked_softmax", kind, seed)
    assert len(set(scores.shape)) == 3 and set(scores.shape) <= PRIMES
    assert mask.shape == scores.shape and mask.dtype == torch.bool
    assert mask.all(-1).any() and not mask[-1, -1].any()
    assert mask.any(1).all() and mask.any(0).all()  # a softmax over these axes differs by what it runs over
    assert (mask.sum(-1) < mask.shape[-1]).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_sequences_of_a_batch_have_different_lengths_and_the_first_has_padding(seed):
    for kind in (0, 1):
        scores, values, mask = drawn("attend", kind, seed)
        assert scores.shape == (len(mask), scores.shape[1], mask.shape[1])
        assert values.shape[:2] == mask.shape
        lengths = mask.sum(1).tolist()
        assert len(set(lengths)) == len(lengths) and lengths[-1] == mask.shape[1] and min(lengths) >= 1
        assert all(mask[b, :length].all() for b, length in enumerate(lengths))


def test_a_batch_has_equal_sizes_first_where_a_wrong_axis_does_not_raise():
    scores, values, _ = drawn("attend", 0)
    assert scores.shape == values.shape == (5, 5, 5)
    scores, values, _ = drawn("attend", 1)
    assert scores.shape == (3, 1, 5) and values.shape == (3, 5, 7)


@pytest.mark.parametrize("name", EXERCISES)
def test_all_numbers_have_a_gradient(name):
    for kind in range(len(EXERCISES[name].inputs)):
        assert all(arg.requires_grad or arg.dtype == torch.bool for arg in drawn(name, kind))


@pytest.mark.parametrize("name", EXERCISES)
def test_mistakes_raise_only_what_torch_raises(name):
    for message, mistake in EXERCISES[name].mistakes.items():
        for kind in range(len(EXERCISES[name].inputs)):
            try:
                mistake(*drawn(name, kind))
            except Exception as error:  # any other would be a slip in the bank itself
                no_operand = message.startswith(
                    ("softmax has to be told its axis", "~ is for True and False")
                )
                assert type(error) is (TypeError if no_operand else RuntimeError), message


# The references against oracles


def numbers(seed, *shapes):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=g, dtype=torch.float64) for shape in shapes]


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25)
def test_one_query_attends_as_torch_and_the_package_have_it(seed):
    q, K, V = numbers(seed, (7,), (5, 7), (5, 3))
    context, weights = _dot_product_attention(q, K, V)
    close(context, F.scaled_dot_product_attention(q[None], K, V, scale=1.0)[0])
    scores = [sum(float(a) * float(b) for a, b in zip(q, key, strict=True)) for key in K]
    total = sum(map(math.exp, scores))
    close(weights, torch.tensor([math.exp(score) / total for score in scores], dtype=torch.float64))
    attended = seqlib.attention.attend(seqlib.attention.dot_scores(q[None, None], K[None]), V[None])
    close((context, weights), (attended.context[0, 0], attended.weights[0, 0]))


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10)
def test_additive_scores_are_those_of_a_loop_and_the_packages(seed):
    q, k, W_q, W_k, v = args = numbers(seed, (2, 3, 5), (2, 7, 11), (5, 13), (11, 13), (13,))
    scores = _additive_scores(*args)
    one_by_one = [
        [[v.dot(torch.tanh(W_q.T.mv(one) + W_k.T.mv(other))) for other in k[b]] for one in q[b]]
        for b in range(2)
    ]
    close(scores, torch.tensor(one_by_one, dtype=torch.float64))
    module = seqlib.attention.AdditiveScores(5, 11, 13).double()
    weights = {"q_to_a.weight": W_q.T, "k_to_a.weight": W_k.T, "v.weight": v[None]}
    close(scores, torch.func.functional_call(module, weights, (q, k)))


@given(seed=st.integers(0, 10**6), share=st.floats(0, 1))
@settings(max_examples=50)
def test_the_masked_softmax_is_the_softmax_of_what_is_left_of_each_row(seed, share):
    [scores] = numbers(seed, (3, 5, 7))
    mask = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(seed)) < share
    weights = _masked_softmax(scores, mask)
    for one, left, row in zip(scores.flatten(0, 1), mask.flatten(0, 1), weights.flatten(0, 1), strict=True):
        close(row[left], torch.softmax(one[left], -1))
        assert (row[~left] == 0).all()
    close(weights, seqlib.attention.masked_softmax(scores, mask))


@given(seed=st.integers(0, 10**6), lengths=st.lists(st.integers(1, 7), min_size=3, max_size=3))
@settings(max_examples=25)
def test_a_batch_attends_as_torch_and_the_package_have_it(seed, lengths):
    scores, values = numbers(seed, (3, 5, 7), (3, 7, 11))
    mask = torch.arange(7) < torch.tensor(lengths)[:, None]
    context, weights = _attend(scores, values, mask)
    keys = torch.eye(7, dtype=torch.float64).expand(3, 7, 7)  # a query's product with them is the query
    oracle = F.scaled_dot_product_attention(scores, keys, values, attn_mask=mask[:, None], scale=1.0)
    close(context, oracle)
    for b, length in enumerate(lengths):
        close(weights[b, :, :length], torch.softmax(scores[b, :, :length], -1))
        assert (weights[b, :, length:] == 0).all()
    close((context, weights), tuple(seqlib.attention.attend(scores, values, mask[:, None])))


def test_what_the_messages_say_of_missing_tanhs_is_true():
    args = numbers(0, (2, 3, 5), (2, 7, 5), (5, 5), (5, 5), (5,))
    apart = [
        mistake
        for message, mistake in check.additive_scores.mistakes.items()
        if message.startswith(("The tanh is missing", "There are two tanhs"))
    ]
    assert len(apart) == 2
    for mistake in apart:
        first, second, *_ = mistake(*args).softmax(-1).unbind(1)
        close(first, second)  # whatever the query is
    first, second, *_ = _additive_scores(*args).softmax(-1).unbind(1)
    assert (first - second).abs().max() > 0.01


def test_the_numbers_that_the_reports_tell_to_compare_agree():
    q, k, W_q, W_k, v = drawn("additive_scores", 0)
    by_hand = v @ torch.tanh(q[0, 0] @ W_q + k[0, 0] @ W_k)
    torch.testing.assert_close(_additive_scores(q, k, W_q, W_k, v)[0, 0, 0], by_hand)
    scores, mask = drawn("masked_softmax", 0)
    left = torch.softmax(scores[0, 1][mask[0, 1]], -1)
    torch.testing.assert_close(_masked_softmax(scores, mask)[0, 1][mask[0, 1]], left)


# Other right answers


def one_query_by_einsum(q, K, V):
    weights = torch.einsum("h,sh->s", q, K).softmax(0)
    return torch.einsum("s,sd->d", weights, V), weights


def one_query_by_loop(q, K, V):
    exps = [torch.exp(sum(a * b for a, b in zip(q, key, strict=True))) for key in K]
    weights = [e / sum(exps) for e in exps]
    return sum(w * value for w, value in zip(weights, V, strict=True)), torch.stack(weights)


def one_query_by_broadcasting(q, K, V):
    scores = (q * K).sum(1, keepdim=True)  # (S, 1)
    weights = (scores - scores.max()).exp()
    weights = weights / weights.sum()
    return [(weights * V).sum(0), weights[:, 0]]


def one_query_as_a_batch(q, K, V):
    weights = F.softmax(torch.bmm(q.view(1, 1, -1), K.T[None]), dim=-1)
    return torch.bmm(weights, V[None])[0, 0], weights.view(-1)


def additive_by_einsum(q, k, W_q, W_k, v):
    a, b = torch.einsum("btq,qa->bta", q, W_q), torch.einsum("bsk,ka->bsa", k, W_k)
    return torch.einsum("btsa,a->bts", F.tanh(a.unsqueeze(2) + b.unsqueeze(1)), v)


def additive_by_joining(q, k, W_q, W_k, v):
    B, T, S = len(q), q.shape[1], k.shape[1]
    pairs = torch.cat([q[:, :, None].expand(B, T, S, -1), k[:, None].expand(B, T, S, -1)], -1)
    return (torch.tanh(pairs @ torch.cat([W_q, W_k])) * v).sum(-1)


def additive_query_by_query(q, k, W_q, W_k, v):
    keys = k @ W_k
    return torch.stack([torch.tanh(q[:, [t]] @ W_q + keys) @ v for t in range(q.shape[1])], 1)


def additive_by_modules(q, k, W_q, W_k, v):
    score = (F.linear(q, W_q.T)[:, :, None] + F.linear(k, W_k.T)[:, None]).tanh()
    return F.linear(score, v[None]).squeeze(-1)


def additive_by_repeating(q, k, W_q, W_k, v):
    T, S = q.shape[1], k.shape[1]
    a = (q @ W_q).repeat_interleave(S, 1) + (k @ W_k).repeat(1, T, 1)  # (B, T * S, A)
    return (torch.tanh(a) @ v[:, None]).view(-1, T, S)


def masked_by_infinity(scores, mask):
    return scores.masked_fill(mask == 0, float("-inf")).softmax(-1).nan_to_num(0.0)


def masked_by_where(scores, mask):
    weights = torch.where(mask, scores, -1e9).softmax(-1)
    return torch.where(mask, weights, torch.zeros_like(weights))


def masked_by_adding(scores, mask):
    return (scores + (1 - mask.float()) * -1e9).softmax(-1) * mask


def masked_by_hand(scores, mask):
    e = torch.exp(scores) * mask
    return e / e.sum(-1, keepdim=True).clamp(min=1e-9)


def masked_and_renormalised(scores, mask):
    weights = scores.softmax(-1) * mask
    return weights / (weights.sum(-1, keepdim=True) + 1e-9)


def masked_row_by_row(scores, mask):
    rows = []
    for one, left in zip(scores.flatten(0, 1), mask.flatten(0, 1), strict=True):
        row = torch.zeros(len(one))
        row[left] = one[left].softmax(0)
        rows.append(row)
    return torch.stack(rows).view(scores.shape)


def attend_by_package(scores, values, mask):
    return seqlib.attention.attend(scores, values, mask[:, None])


def attend_by_einsum(scores, values, mask):
    weights = F.softmax(torch.where(mask.unsqueeze(1), scores, -torch.inf), dim=2)
    return torch.einsum("bts,bsd->btd", weights, values), weights


def attend_by_bmm(scores, values, mask):
    every = mask.unsqueeze(1).expand_as(scores)
    weights = scores.masked_fill(every.logical_not(), -1e9).softmax(-1)
    return torch.bmm(values.mT, weights.mT).transpose(1, 2), weights


def attend_sequence_by_sequence(scores, values, mask):
    context, weights = [], []
    for one, vectors, length in zip(scores, values, mask.sum(1).tolist(), strict=True):
        w = one[:, :length].softmax(-1)
        context.append(w @ vectors[:length])
        weights.append(F.pad(w, (0, mask.shape[1] - length)))
    return torch.stack(context), torch.stack(weights)


def attend_by_renormalising(scores, values, mask):
    weights = scores.exp() * mask[:, None]
    weights = weights / weights.sum(-1, keepdim=True)
    return (weights[..., None] * values[:, None]).sum(2), weights


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("dot_product_attention", one_query_by_einsum),
        ("dot_product_attention", one_query_by_loop),
        ("dot_product_attention", one_query_by_broadcasting),
        ("dot_product_attention", one_query_as_a_batch),
        ("additive_scores", additive_by_einsum),
        ("additive_scores", additive_by_joining),
        ("additive_scores", additive_query_by_query),
        ("additive_scores", additive_by_modules),
        ("additive_scores", additive_by_repeating),
        ("masked_softmax", seqlib.attention.masked_softmax),
        ("masked_softmax", masked_by_infinity),
        ("masked_softmax", masked_by_where),
        ("masked_softmax", masked_by_adding),
        ("masked_softmax", masked_by_hand),
        ("masked_softmax", masked_and_renormalised),
        ("masked_softmax", masked_row_by_row),
        ("attend", attend_by_package),
        ("attend", attend_by_einsum),
        ("attend", attend_by_bmm),
        ("attend", attend_sequence_by_sequence),
        ("attend", attend_by_renormalising),
    ],
)
def test_other_right_answers_are_correct(name, function):
    for seed in range(5):
        report = EXERCISES[name](function, seed=seed)
        assert report.correct, report


# Mistakes written as learners write them


def softmax_read(scores, V):
    weights = F.softmax(scores, dim=0)
    return (weights[:, None] * V).sum(0), weights


def largest_is_1(scores):
    weights = scores.exp()
    return weights / weights.max()


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda q, K, V: softmax_read(K @ q / K.shape[-1] ** 0.5, V), "The scores are divided by sqrt(H)."),
        (lambda q, K, V: softmax_read((K * q).mean(1), V), "The scores are divided by H"),
        (lambda q, K, V: softmax_read(F.cosine_similarity(K, q[None]), V), "The scores are cosines"),
        (lambda q, K, V: softmax_read(V @ q, V), "q is compared with the values."),
        (lambda q, K, V: softmax_read(K @ q, K), "The keys are added up instead of the values."),
        (lambda q, K, V: softmax_read(K.T @ q, V), "q meets the columns of K"),
        (lambda q, K, V: softmax_read((K @ q).softmax(0), V), "The softmax is taken twice"),
        (lambda q, K, V: (K @ q @ V, K @ q), "The softmax is missing"),
        (lambda q, K, V: (torch.exp(K @ q) @ V, torch.exp(K @ q)), "exp is there"),
        (lambda q, K, V: (V.sum(0), F.softmax(K @ q[:, None], -1)[:, 0]), "All weights are 1."),
        (lambda q, K, V: (V.sum(0), (K * q).softmax(1).sum(1)), "All weights are 1."),
        (
            lambda q, K, V: (V[(K @ q).argmax()], F.one_hot((K @ q).argmax(), len(K)).float()),
            "The largest score",
        ),
        (lambda q, K, V: (V.mT @ (K @ q).softmax(0), K @ q), "The scores come back beside the context."),
        (lambda q, K, V: (V @ (K @ q).softmax(0), (K @ q).softmax(0)), "The weights meet the columns of V"),
        (lambda q, K, V: ((K @ q).softmax(0)[:, None] * V, (K @ q).softmax(0)), "The weighted values aren't"),
        (
            lambda q, K, V: (((K @ q).softmax(0)[:, None] * V).sum(), (K @ q).softmax(0)),
            "The weighted values are",
        ),
        (
            lambda q, K, V: [part[None] for part in softmax_read(K @ q, V)],
            "Both results have an axis of size 1",
        ),
        (lambda q, K, V: softmax_read(K @ q, V)[0], "Only the context comes back."),
        (lambda q, K, V: softmax_read(K @ q, V)[::-1], "The two come back in the wrong order"),
        (lambda q, K, V: softmax_read((q * K).sum(0), V), "q * K is summed over the keys, axis 0."),
        (lambda q, K, V: ((w := largest_is_1(K @ q)) @ V, w), "exp is divided by the largest of them"),
        (lambda q, K, V: softmax_read(torch.dot(q, K), V), "torch.dot takes two vectors, and one of these"),
        (lambda q, K, V: (K @ q).softmax(0).dot(V), "torch.dot takes two vectors, and one of these"),
        (lambda q, K, V: softmax_read(K.dot(q), V), "torch.dot takes two vectors, and the first of these"),
        (lambda q, K, V: softmax_read(K @ q + 1, V + 1), "The context differs first at [0]"),
    ],
)
def test_one_query_that_attends_otherwise_is_found_out(function, complaint):
    report = check.dot_product_attention(function)
    assert not report.correct and report.message.startswith(complaint), report


def additive(q, k, W_q, W_k, v, *, spread=None, squash=torch.tanh, finish=torch.matmul):
    a, b = q @ W_q, k @ W_k
    together = spread(a, b) if spread else a.unsqueeze(2) + b.unsqueeze(1)
    return finish(squash(together), v)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        (dict(), None),
        (dict(squash=nn.Identity()), "The tanh is missing."),
        (dict(squash=F.sigmoid), "It squashes with a sigmoid"),
        (
            dict(spread=lambda a, b: a.tanh()[:, :, None] + b.tanh()[:, None], squash=nn.Identity()),
            "There are two",
        ),
        (dict(spread=lambda a, b: a[:, :, None] * b[:, None]), "The two parts are multiplied."),
        (dict(spread=lambda a, b: a + b), "Queries and keys lie along the same axis"),
        (dict(spread=lambda a, b: b + a), "Keys and queries lie along the same axis"),
        (dict(spread=lambda a, b: a[:, :, None] + b[:, :, None]), "Queries and keys lie along the same axis"),
        (dict(spread=lambda a, b: b[:, :, None] + a[:, :, None]), "Keys and queries lie along the same axis"),
        (dict(spread=lambda a, b: a[:, None] + b[:, None]), "Queries and keys lie along the same axis"),
        (dict(spread=lambda a, b: a + b[:, None]), "Queries and keys lie along the same axis"),
        (dict(spread=lambda a, b: a[:, None] + b[:, :, None]), "Queries and keys have changed places"),
        (dict(finish=lambda t, v: t.dot(v)), "dot takes two vectors, and tanh(...) has more axes"),
        (dict(finish=lambda t, v: torch.dot(v, t)), "v.dot takes one vector, and tanh(...) has more axes"),
        (dict(finish=lambda t, v: t), "v is missing, so that the axis A is still there."),
        (dict(finish=lambda t, v: t.sum(-1)), "v is missing: what the tanh gives is only summed"),
        (dict(finish=lambda t, v: v * t), "* v multiplies, and doesn't add up"),
        (dict(finish=lambda t, v: t @ v.unsqueeze(1)), "There is an axis of size 1 too many."),
        (dict(finish=lambda t, v: (t @ v.unsqueeze(1)).squeeze()), "squeeze() removes every axis of size 1"),
        (dict(finish=lambda t, v: (t @ v).softmax(2)), "The softmax is taken already."),
        (dict(finish=lambda t, v: v @ t), "v stands on the left of @"),
        (dict(finish=lambda t, v: (t @ v).detach()), "The result is cut off from the graph"),
    ],
)
def test_additive_scores_that_are_made_otherwise_are_found_out(changed, complaint):
    report = check.additive_scores(lambda *args: additive(*args, **changed))
    assert report.correct if complaint is None else report.message.startswith(complaint), report


@pytest.mark.parametrize(
    ("shuffled", "complaint"),
    [
        (lambda q, k, W_q, W_k, v: (q, k, W_k, W_q, v), "The matrices have changed places"),
        (lambda q, k, W_q, W_k, v: (q, k, W_q, W_q, v), "W_q is used for the keys as well."),
        (lambda q, k, W_q, W_k, v: (q, k, W_q.T, W_k.T, v), "The matrices are transposed."),
        (lambda q, k, W_q, W_k, v: (q, k, W_q, W_k.T, v), "W_k is transposed"),
    ],
)
def test_matrices_in_the_wrong_place_are_found_out_though_they_fit(shuffled, complaint):
    report = check.additive_scores(lambda *args: additive(*shuffled(*args)))
    assert report.status == "mistake" and report.message.startswith(complaint), report


def test_a_loop_over_queries_that_loses_their_axis_is_found_out():
    def looped(q, k, W_q, W_k, v):
        return torch.stack([torch.tanh(q[:, t] @ W_q + k @ W_k) @ v for t in range(q.shape[1])], 1)

    report = check.additive_scores(looped)
    assert report.status == "mistake" and report.message.startswith("q[:, t] has lost its axis of time")


INFINITY = float("inf")


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda s, m: s.softmax(-1) * m, "The mask comes after the softmax"),
        (lambda s, m: torch.where(m, s.softmax(-1), 0.0), "The mask comes after the softmax"),
        (lambda s, m: s.exp() * m / s.exp().sum(-1, keepdim=True), "The mask comes after the softmax"),
        (lambda s, m: s.masked_fill(~m, -INFINITY).softmax(-1), "A row with nothing to attend to is nan"),
        (lambda s, m: torch.where(m, s, -INFINITY).softmax(-1), "A row with nothing to attend to is nan"),
        (
            lambda s, m: (s.exp() * m) / (s.exp() * m).sum(-1, keepdim=True),
            "A row with nothing to attend to is",
        ),
        (
            lambda s, m: s.masked_fill(~m, -1e9).softmax(-1),
            "A row with nothing to attend to gets equal weights",
        ),
        (lambda s, m: (s + ~m * -1e9).softmax(-1), "A row with nothing to attend to gets equal weights"),
        (lambda s, m: s.masked_fill(m, -INFINITY).softmax(-1), "The mask is inverted."),
        (lambda s, m: s.masked_fill(m, -1e9).softmax(-1), "The mask is inverted."),
        (lambda s, m: torch.where(m, -INFINITY, s).softmax(-1).nan_to_num(), "The mask is inverted."),
        (lambda s, m: s.masked_fill(m, -1e9).softmax(-1) * m, "The scores are filled where the mask is True"),
        (lambda s, m: (s * m).softmax(-1), "The scores that are masked become 0"),
        (lambda s, m: s.masked_fill(~m, 0).softmax(-1), "The scores that are masked become 0"),
        (
            lambda s, m: s.masked_fill(~m, torch.finfo(s.dtype).tiny).softmax(-1),
            "The scores that are masked bec",
        ),
        (lambda s, m: s.masked_fill(~m, -10).softmax(-1), "The scores that are masked become -10"),
        (
            lambda s, m: s.masked_fill(~m, -30).softmax(-1) * m.any(-1, True),
            "What is masked gets a tiny weight, and is to get exactly 0. ",
        ),
        *(
            (
                lambda s, m, fill=fill: s.masked_fill(~m, fill).softmax(-1),
                "What is masked gets a tiny weight, and is to get exactly 0; ",
            )
            for fill in (-20, -50)
        ),
        (lambda s, m: s.masked_fill(~m, -1000).softmax(-1), "A row with nothing to attend to gets equal"),
        (
            lambda s, m: s.masked_fill(~m, -1e9).softmax(-1).masked_fill(m, 0),
            "The weights are set to 0 where",
        ),
        (
            lambda s, m: torch.where(m, 0, s.masked_fill(~m, -INFINITY).softmax(-1)),
            "The weights are set to 0",
        ),
        (lambda s, m: s.masked_fill(~m, -1e9).softmax(-1) * m.any(-1), "A sum or any over the last axis"),
        (lambda s, m: (e := s.exp() * m) / e.sum(-1), "A sum or any over the last axis"),
        (
            lambda s, m: s.masked_fill(~m, 1e9).softmax(-1),
            "The scores are filled with a large positive number",
        ),
        (lambda s, m: (s + m).softmax(-1), "The mask is added to the scores"),
        (lambda s, m: (s + m * -INFINITY).softmax(-1), "All is nan"),
        (lambda s, m: (s - ~m * INFINITY).softmax(-1), "All is nan"),
        (lambda s, m: s.masked_fill(~m, -1e9).softmax(1) * m, "The softmax runs over T"),
        (lambda s, m: s.masked_fill(~m, -INFINITY).softmax(1), "The softmax runs over T"),
        (lambda s, m: s.masked_fill(~m, -INFINITY).softmax(0), "The softmax runs over axis 0"),
        (
            lambda s, m: torch.zeros_like(s).masked_scatter(m, s[m].softmax(0)),
            "One softmax is taken of all scores",
        ),
        (lambda s, m: s[m].softmax(0), "scores[mask] lays what is left in one long row"),
        (lambda s, m: (s.softmax(-1) * m).softmax(-1), "There are two softmaxes."),
        (lambda s, m: s.masked_fill(-m, -1e9), "-mask isn't defined"),
        (lambda s, m: s + (1 - m) * -1e9, "1 - mask isn't defined"),
        (lambda s, m: s.masked_fill(~m.float(), -1e9), "~ is for True and False"),
        (lambda s, m: s.masked_fill(1 - m.float(), -1e9), "masked_fill wants a mask of True and False"),
        (lambda s, m: s.softmax(-1) if m else s, "if, not, and, or want one truth value"),
        (lambda s, m: s.masked_fill_(~m, -1e9).softmax(-1), "It changes its argument scores in place."),
    ],
)
def test_a_softmax_that_is_masked_otherwise_is_found_out(function, complaint):
    report = check.masked_softmax(function)
    assert not report.correct and report.message.startswith(complaint), report


def test_a_softmax_without_its_axis_is_found_out():
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        report = check.masked_softmax(lambda scores, mask: F.softmax(scores.masked_fill(~mask, -1e9)) * mask)
    assert report.status == "mistake" and "as F.softmax does without dim" in report.message
    assert "Implicit dimension choice" in report.printed[0]


def exps_over_their_sum(scores, mask):
    e = scores.exp() * mask
    return (e / e.sum(-1, keepdim=True)).nan_to_num()


def infinities_added(scores, mask):
    return torch.nan_to_num((scores + torch.where(mask, 0.0, -torch.inf)).softmax(-1))


@pytest.mark.parametrize("function", [exps_over_their_sum, infinities_added])
def test_a_gradient_of_nan_behind_right_numbers_is_found_out(function):
    scores, mask = drawn("masked_softmax", 0)
    weights = function(scores, mask)
    torch.testing.assert_close(weights, _masked_softmax(scores, mask))
    [gradient] = torch.autograd.grad(weights.square().sum(), scores)
    assert gradient.isnan().any()
    report = check.masked_softmax(function)
    assert report.status == "mistake" and report.message.startswith(
        "The numbers are right, but the gradient is"
    )


def cleared_afterwards(scores, mask):
    weights = scores.masked_fill(~mask, -1e9).softmax(-1)
    weights[~mask] = 0
    return weights


def divided_in_place(q, K, V):
    weights = torch.exp(K @ q)
    weights /= weights.sum()
    return weights @ V, weights


@pytest.mark.parametrize(
    ("name", "function"),
    [("masked_softmax", cleared_afterwards), ("dot_product_attention", divided_in_place)],
)
def test_weights_that_are_overwritten_are_found_out(name, function):
    args = drawn(name, 0)
    result = function(*args)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (result if name == "masked_softmax" else result[0]).sum().backward()
    report = EXERCISES[name](function)
    assert report.status == "mistake" and "overwrite what softmax or exp gave" in report.message


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda q, K, V: [part.detach() for part in softmax_read(K @ q, V)], "but they are cut off"),
        (
            lambda q, K, V: softmax_read(torch.tensor([(k @ q).item() for k in K]), V),
            "no gradient reaches q and K",
        ),
        (lambda q, K, V: softmax_read((K @ q).detach(), V), "no gradient reaches q and K"),
    ],
)
def test_one_query_that_could_not_learn_where_to_look_is_found_out(function, complaint):
    report = check.dot_product_attention(function)
    assert report.status == "mistake" and complaint in report.message, report


def weights_that_are_only_shown_may_be_detached(scores, values, mask):
    context, weights = _attend(scores, values, mask)
    return context, weights.detach()


def test_weights_beside_a_context_with_a_graph_may_be_cut_off():
    assert check.attend(weights_that_are_only_shown_may_be_detached).correct


def attended(scores, values, *, read=torch.matmul):
    weights = scores.softmax(-1)
    return read(weights, values), weights


def repeated(mask, scores):
    return mask.repeat(scores.shape[1], 1).view(scores.shape)


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda s, V, m: attended(s.masked_fill(~m.unsqueeze(1), -1e9), V), None),
        (lambda s, V, m: attended(s, V), "The mask has no effect"),
        (lambda s, V, m: attended(s, V * m.unsqueeze(-1)), "The values of padding are set to 0"),
        (lambda s, V, m: ((w := s.softmax(-1) * m[:, None]) @ V, w), "The mask comes after the softmax"),
        (
            lambda s, V, m: (attended(s.masked_fill(~m[:, None], -1e9), V)[0], s.softmax(-1)),
            "The context is right",
        ),
        (lambda s, V, m: attended(s.masked_fill(m[:, None], -INFINITY), V), "The mask is inverted."),
        (lambda s, V, m: attended(s.masked_fill(m[:, None], -1e9), V), "The mask is inverted."),
        (lambda s, V, m: attended(s.masked_fill(~m, -INFINITY), V), "The axis for the queries is missing"),
        (lambda s, V, m: attended(torch.where(m, s, -1e9), V), "The axis for the queries is missing"),
        (lambda s, V, m: attended(s + m.logical_not() * -1e9, V), "The axis for the queries is missing"),
        (lambda s, V, m: attended(s.masked_fill(~m[..., None], -INFINITY), V), "The mask is laid over T"),
        (lambda s, V, m: attended(s - 1e9 * ~m[..., None], V), "The mask is laid over T"),
        *(
            (
                lambda s, V, m, fill=fill: attended(s.masked_fill(~(m[:, None] & m[..., None]), fill), V),
                "The mask is laid over the queries as well as over the keys.",
            )
            for fill in (-INFINITY, -1e9)
        ),
        (
            lambda s, V, m: attended(torch.where(repeated(m, s), s, -INFINITY), V),
            "repeat(T, 1) lays the whole",
        ),
        (lambda s, V, m: attended(torch.where(repeated(m, s), s, -1e9), V), "repeat(T, 1) lays the whole"),
        *(
            (
                lambda s, V, m, fill=fill: ((w := s.masked_fill(~m[:, None], fill)) @ V, w),
                "The softmax is missing",
            )
            for fill in (0, -1e9, torch.finfo(torch.float32).min, -INFINITY)
        ),
        (lambda s, V, m: attended(s.masked_fill(~m[:, None], -1e9), V, read=torch.mul), "weights * values"),
        (
            lambda s, V, m: attended(s.masked_fill(~m[:, None], -1e9), V, read=lambda w, V: V @ w),
            "values @ weights adds up columns",
        ),
        (lambda s, V, m: attended(s * m[:, None], V), "The scores of padding become 0"),
        (lambda s, V, m: attended(s.masked_fill(~m[:, None], -10), V), "The scores of padding become -10"),
        (lambda s, V, m: attended(s + m[:, None], V), "The mask is added to the scores"),
        (lambda s, V, m: attended(s - ~m[:, None] * INFINITY, V), "All is nan"),
        (lambda s, V, m: _attend(s / V.shape[2] ** 0.5, V, m), "The scores are divided by sqrt(D)"),
        (lambda s, V, m: _attend(s, V.mT, m), "The values are transposed."),
        (lambda s, V, m: _attend(s, V, m)[::-1], "The two come back in the wrong order"),
        (lambda s, V, m: _attend(s, V, m)[0], "Only the context comes back."),
        (lambda s, V, m: [part.squeeze(1) for part in _attend(s, V, m)], "squeeze removes an axis of size 1"),
        (lambda s, V, m: _attend(s, V, 1 - m), "1 - mask isn't defined"),
    ],
)
def test_a_batch_that_attends_otherwise_is_found_out(function, complaint):
    report = check.attend(function)
    assert report.correct if complaint is None else report.message.startswith(complaint), report


@pytest.mark.parametrize(
    ("formula", "complaint"),
    [
        ("bts,bsd->btd", None),
        ("bts,bds->btd", "The values are transposed."),
        ("bts,btd->bsd", "The weights are transposed in the product"),
        ("bts,bsd->bd", "The context is the sum over all queries"),
        ("bts,bsd->btsd", "The weighted values aren't added up"),
        ("bts,btd->btd", "The context differs first at"),
    ],
)
def test_the_letters_of_einsum_decide(formula, complaint):
    def function(scores, values, mask):
        weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1)
        return torch.einsum(formula, weights, values), weights

    report = check.attend(function)
    assert report.correct if complaint is None else report.message.startswith(complaint), report


def test_the_endings_of_messages_on_a_whole_batch_speak_of_no_row_without_tokens():
    for message in check.attend.mistakes:
        assert "where all is masked" not in message


def test_an_unknown_mistake_says_whether_the_weights_are_right():
    wrong = check.attend(lambda *args: (_attend(*args)[0] + 1, _attend(*args)[1]))
    assert wrong.status == "wrong" and wrong.message.startswith("The context differs first at [0, 0, 0]: ")
    wrong = check.attend(lambda *args: tuple(part + 1 for part in _attend(*args)))
    assert wrong.status == "wrong" and wrong.message.startswith("The tensor of weights differs first at ")
    assert wrong.message.endswith(check.attend.look)
