"""The exercises on the Transformer: references against torch and the package, mistakes and their messages."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import seqlib.transformer
from seqlib.checks import transformer as check
from seqlib.checks.exercise import Exercise
from seqlib.checks.guard import call
from seqlib.checks.transformer import (
    _cached_step,
    _causal_mask,
    _positional_encoding,
    _scaled_dot_product_attention,
    _split_heads,
)

EXERCISES = {name: value for name, value in vars(check).items() if isinstance(value, Exercise)}
PRIMES = {2, 3, 5, 7, 11, 13}
INFINITY = math.inf


def drawn(name, kind, seed=0):
    return EXERCISES[name].inputs[kind](torch.Generator().manual_seed(seed))


def test_the_right_answers_leave_their_arguments_alone_and_print_nothing():
    for name, exercise in EXERCISES.items():
        assert call(exercise.reference, drawn(name, 0), seconds=5.0, seed=0).printed == ()


# The inputs


@pytest.mark.parametrize("seed", range(3))
def test_every_query_has_a_key_and_some_have_all(seed):
    for kind in (0, 1):
        q, k, v, mask = drawn("scaled_dot_product_attention", kind, seed)
        assert mask.dtype == torch.bool and mask.shape == (*q.shape[:2], k.shape[1])
        assert k.shape == (len(q), len(v[0]), q.shape[2])
        assert mask.any(-1).all() and mask.all(-1).any() and not mask.all()
        assert (
            mask.any(1).all() and mask.any(0).all()
        )  # a softmax over these axes differs by what it runs over


def test_attention_meets_equal_sizes_and_then_different_primes():
    assert {tuple(arg.shape) for arg in drawn("scaled_dot_product_attention", 0)} == {(5, 5, 5)}
    q, k, v, _ = drawn("scaled_dot_product_attention", 1)
    sizes = [*q.shape, k.shape[1], v.shape[2]]
    assert len(set(sizes)) == 5 and set(sizes) <= PRIMES


def test_heads_positions_and_steps_have_different_primes_for_every_dimension():
    x, N = drawn("split_heads", 0)
    sizes = [*x.shape[:2], N, x.shape[2] // N]
    assert len(set(sizes)) == 4 and set(sizes) <= PRIMES
    for kind in (0, 1):
        [x] = drawn("positional_encoding", kind)
        sizes = [*x.shape[:2], x.shape[2] // 2]
        assert x.shape[2] % 2 == 0 and len(set(sizes)) == 3 and set(sizes) <= PRIMES
        assert x.shape[0] != x.shape[1] and len(x) > 1  # B positions are told from T
    x, k_cache, _, W_Q, *_ = drawn("cached_step", 1)
    sizes = [*x.shape, *k_cache.shape[1:]]
    assert len(set(sizes)) == 4 and set(sizes) <= PRIMES and W_Q.shape == (x.shape[1], k_cache.shape[2])


def test_a_first_token_finds_empty_caches():
    _, k_cache, v_cache, *_ = drawn("cached_step", 2)
    assert k_cache.shape[1] == v_cache.shape[1] == 0


# The references against oracles


def numbers(seed, *shapes):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=g, dtype=torch.float64) for shape in shapes]


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@given(seed=st.integers(0, 10**6), share=st.floats(0, 1))
@settings(max_examples=10)
def test_attention_is_that_of_torch(seed, share):
    q, k, v = numbers(seed, (2, 3, 7), (2, 5, 7), (2, 5, 11))
    mask = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(seed)) < share
    mask[..., -1] = True
    context, weights = _scaled_dot_product_attention(q, k, v, mask)
    close(context, F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
    keys = torch.eye(5, dtype=torch.float64).expand(2, 5, 5)  # values that show the weights
    close(weights, F.scaled_dot_product_attention(q, k, keys, attn_mask=mask))


def test_heads_are_those_of_the_package_and_entries_of_each_vector():
    [x] = numbers(0, (2, 3, 35))
    heads = _split_heads(x, 5)
    close(heads, seqlib.transformer.split_heads(x, 5))
    close(heads[1, 2, 0], x[1, 0, 14:21])


def test_the_mask_is_torchs_with_true_and_false_exchanged():
    for T in (1, 2, 7):
        assert torch.equal(_causal_mask(T), nn.Transformer.generate_square_subsequent_mask(T) == 0)


@given(T=st.integers(1, 13), half=st.integers(1, 7))
@settings(max_examples=10)
def test_positions_are_the_papers_number_by_number(T, half):
    D = 2 * half
    by_hand = [
        [(math.cos if j % 2 else math.sin)(t / 10_000 ** ((j - j % 2) / D)) for j in range(D)]
        for t in range(T)
    ]
    added = _positional_encoding(torch.zeros(3, T, D))
    torch.testing.assert_close(added, torch.tensor(by_hand).expand(3, T, D), rtol=1e-5, atol=1e-5)


def test_steps_with_a_cache_give_what_all_tokens_at_once_give():
    x, *matrices = numbers(0, (2, 5, 3), (3, 7), (3, 7), (3, 7))
    k = v = torch.zeros(2, 0, 7, dtype=torch.float64)
    contexts = []
    for token in x.unbind(1):
        context, k, v = _cached_step(token, k, v, *matrices)
        contexts.append(context)
    q, all_k, all_v = (x @ W for W in matrices)
    close((k, v), (all_k, all_v))
    close(torch.stack(contexts, 1), F.scaled_dot_product_attention(q, all_k, all_v, is_causal=True))


def test_the_numbers_that_the_reports_tell_to_compare_agree():
    q, k, v, mask = drawn("scaled_dot_product_attention", 0)
    by_hand = (k[0] @ q[0, 1] / k.shape[2] ** 0.5)[mask[0, 1]].softmax(-1)
    weights = _scaled_dot_product_attention(q, k, v, mask)[1]
    torch.testing.assert_close(weights[0, 1][mask[0, 1]], by_hand)
    [x] = drawn("positional_encoding", 0)
    added = (_positional_encoding(x) - x)[0]
    first = torch.tensor([f(1 / 10_000**e) for e in (0, 2 / x.shape[2]) for f in (math.sin, math.cos)])
    torch.testing.assert_close(added[1, :4], first, rtol=1e-4, atol=1e-4)
    assert _causal_mask(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]


# Other right answers


def attention_by_torch_and_einsum(q, k, v, mask):
    scores = torch.einsum("btk,bsk->bts", q, k).div(math.sqrt(q.size(-1)))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask), scores.where(mask, -1e9).softmax(2)


def attention_query_by_query(q, k, v, mask):
    contexts, weights = [], []
    for one, keys, values, may in zip(q, k, v, mask, strict=True):
        for query, row in zip(one, may, strict=True):
            e = torch.exp(keys @ query / len(query) ** 0.5) * row
            weights.append(e / e.sum())
            contexts.append(weights[-1] @ values)
    return [torch.stack(contexts).view(*q.shape[:2], -1), torch.stack(weights).view(mask.shape)]


def attention_renormalised(q, k, v, mask):
    weights = ((q / k.shape[2] ** 0.25) @ (k / k.shape[2] ** 0.25).mT).softmax(-1) * mask
    weights = weights / weights.sum(-1, keepdim=True)
    return torch.bmm(weights, v), weights


def attention_with_an_added_mask(q, k, v, mask):
    bias = torch.zeros(mask.shape).masked_fill(mask.logical_not(), -INFINITY)
    weights = F.softmax(torch.baddbmm(bias, q, k.mT, alpha=k.shape[2] ** -0.5), dim=-1)
    return weights @ v, weights


def heads_by_view(x, num_heads):
    B, T, D = x.shape
    return x.view(B, T, num_heads, D // num_heads).permute(0, 2, 1, 3).contiguous()


def heads_by_slices(x, num_heads):
    K = x.shape[2] // num_heads
    heads = torch.empty(len(x), num_heads, x.shape[1], K)
    for n in range(num_heads):
        heads[:, n] = x[:, :, n * K : (n + 1) * K]
    return heads


def positions_by_loops(x):
    _, T, D = x.shape
    table = torch.zeros(T, D)
    for t in range(T):
        for i in range(D // 2):
            table[t, 2 * i] = math.sin(t / 10000 ** (2 * i / D))
            table[t, 2 * i + 1] = math.cos(t / 10000 ** (2 * i / D))
    return x + table


def table(length, D):
    """The positions as the tutorials of torch make them."""
    t = torch.arange(length).unsqueeze(1)
    factors = torch.exp(torch.arange(0, D, 2) * (-math.log(10000.0) / D))
    positions = torch.zeros(length, D)
    positions[:, 0::2] = torch.sin(t * factors)
    positions[:, 1::2] = torch.cos(t * factors)
    return positions


def positions_by_where(x):
    j = torch.arange(x.shape[2])
    a = torch.outer(torch.arange(x.shape[1]), 10000.0 ** (-(j - j % 2) / x.shape[2]))
    return x + torch.where(j % 2 == 0, a.sin(), a.cos())


def positions_sequence_by_sequence(x):
    result = x.clone()
    for b in range(len(x)):
        result[b] += table(*x.shape[1:])
    return result


def step_by_einsum(x, k_cache, v_cache, W_Q, W_K, W_V):
    k = torch.cat((k_cache, (x @ W_K).unsqueeze(1)), dim=1)
    v = torch.cat((v_cache, (x @ W_V).unsqueeze(1)), dim=1)
    weights = F.softmax(torch.einsum("bk,bsk->bs", x @ W_Q, k) / math.sqrt(k.size(-1)), dim=-1)
    return torch.einsum("bs,bsk->bk", weights, v), k, v


def step_by_torch(x, k_cache, v_cache, W_Q, W_K, W_V):
    x = x[:, None]
    k, v = torch.cat([k_cache, x @ W_K], 1), torch.cat([v_cache, x @ W_V], 1)
    return F.scaled_dot_product_attention(x @ W_Q, k, v).squeeze(1), k, v


@torch.no_grad()
def step_by_filling(x, k_cache, v_cache, W_Q, W_K, W_V):
    k, v = (F.pad(cache, (0, 0, 0, 1)) for cache in (k_cache, v_cache))
    k[:, -1], v[:, -1] = x @ W_K, x @ W_V
    weights = ((x @ W_Q)[:, None] * k).sum(-1, keepdim=True).div(k.shape[2] ** 0.5).softmax(1)
    return [(weights * v).sum(1), k, v]


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("scaled_dot_product_attention", attention_by_torch_and_einsum),
        ("scaled_dot_product_attention", attention_query_by_query),
        ("scaled_dot_product_attention", attention_renormalised),
        ("scaled_dot_product_attention", attention_with_an_added_mask),
        ("split_heads", seqlib.transformer.split_heads),
        ("split_heads", heads_by_view),
        ("split_heads", heads_by_slices),
        ("split_heads", lambda x, n: torch.stack(x.chunk(n, -1), 1)),
        ("causal_mask", seqlib.transformer.causal_mask),
        ("causal_mask", lambda length: torch.tril(torch.ones(length, length)).bool()),
        ("causal_mask", lambda length: torch.triu(torch.ones(length, length), diagonal=1) == 0),
        ("causal_mask", lambda T: torch.tensor([[s <= t for s in range(T)] for t in range(T)])),
        ("positional_encoding", positions_by_loops),
        ("positional_encoding", positions_by_where),
        ("positional_encoding", positions_sequence_by_sequence),
        ("positional_encoding", lambda x: x + table(5000, x.size(2))[None, : x.size(1)]),
        ("cached_step", step_by_einsum),
        ("cached_step", step_by_torch),
        ("cached_step", step_by_filling),
    ],
)
def test_other_right_answers_are_correct(name, function):
    for seed in range(2):
        report = EXERCISES[name](function, seed=seed)
        assert report.correct, report


# Mistakes written as learners write them


def attending(q, k, v, mask, *, score=None, fill=None, weigh=None, read=torch.matmul):
    scores = score(q, k) if score else torch.bmm(q, k.transpose(1, 2)) / math.sqrt(q.size(-1))
    scores = fill(scores, mask) if fill else scores.masked_fill(mask == 0, -1e9)
    weights = weigh(scores, mask) if weigh else F.softmax(scores, dim=2)
    return read(weights, v), weights


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        (dict(), None),
        (dict(score=lambda q, k: q @ k.mT), "The scores aren't divided by sqrt(K), so they grow"),
        (dict(score=lambda q, k: q @ k.mT / q.size(-1)), "The scores are divided by K."),
        (dict(score=lambda q, k: (q / q.size(2) ** 0.5) @ (k / k.size(2) ** 0.5).mT), "The scores are div"),
        (dict(score=lambda q, k: q @ k.mT / math.sqrt(k.size(1))), "The scores are divided by sqrt(S)"),
        (dict(score=lambda q, k: q @ k.mT / torch.sqrt(k.size(2))), "torch.sqrt takes a tensor"),
        (dict(score=lambda q, k: q @ k / k.size(2) ** 0.5), "The keys aren't transposed."),
        (
            dict(score=lambda q, k: q @ k.transpose(0, 1) / k.size(2) ** 0.5),
            "k.transpose(0, 1) swaps the batch",
        ),
        (dict(score=lambda q, k: q @ k.mT / math.sqrt(k)), "math.sqrt takes one number"),
        (dict(score=lambda q, k: (q @ k.mT).mT / k.size(2) ** 0.5), "Keys and queries have changed places"),
        (dict(fill=lambda s, m: s.masked_fill(m, -INFINITY)), "The mask is inverted."),
        (dict(fill=lambda s, m: s - 1e9 * m), "The mask is inverted."),
        (
            dict(fill=lambda s, m: s.masked_fill(~m[:, None], -INFINITY)),
            "There is an axis too many. Chapter 6",
        ),
        (
            dict(fill=lambda s, m: torch.where(m.unsqueeze(1), s, -1e9), read=lambda w, v: w @ v[:, None]),
            "There is an axis too many. Chapter 6",
        ),
        (dict(fill=lambda s, m: torch.where(m.mT, s, -1e9)), "The mask is transposed."),
        (dict(fill=lambda s, m: s.masked_fill(~m, 0)), "The scores that are masked become 0"),
        (dict(fill=lambda s, m: s + m * -INFINITY), "All is nan"),
        (dict(fill=lambda s, m: s + (1 - m) * -1e9), "1 - mask isn't defined"),
        (dict(fill=lambda s, m: s, weigh=lambda s, m: s.softmax(-1) * m), "The mask comes after the softmax"),
        (
            dict(score=lambda q, k: q @ k.mT, fill=lambda s, m: s),
            "The scores aren't divided by sqrt(K), and the mask has no effect.",
        ),
        (dict(weigh=lambda s, m: s.softmax(1)), "The softmax runs over T"),
        (dict(weigh=lambda s, m: s), "The softmax is missing: the weights are the scores, with -1e9"),
        (dict(read=lambda w, v: w.mT @ v), "The weights are transposed in the product"),
        (
            dict(score=lambda q, k: q @ k.mT, read=lambda w, v: w @ v / v.shape[-1] ** 0.5),
            "The context is divided by sqrt(D).",
        ),
    ],
)
def test_attention_that_is_otherwise_is_found_out(changed, complaint):
    report = check.scaled_dot_product_attention(lambda *args: attending(*args, **changed))
    assert report.correct if complaint is None else report.message.startswith(complaint), report


def weights_scaled_afterwards(q, k, v, mask):
    weights = (q @ k.mT).masked_fill(~mask, -INFINITY).softmax(-1) / k.shape[2] ** 0.5
    return weights @ v, weights


def weights_cleared_in_place(q, k, v, mask):
    context, weights = attending(q, k, v, mask)
    return context, weights.masked_fill_(~mask, 0)


def weights_in_a_table(q, k, v, mask):
    W, context = torch.zeros(mask.shape), []
    for b in range(len(q)):
        for i in range(q.shape[1]):
            scores = (k[b] @ q[b, i] / k.shape[2] ** 0.5).masked_fill(~mask[b, i], -INFINITY)
            W[b, i] = scores.softmax(0)
            context.append(W[b, i] @ v[b])
    return torch.stack(context).view(*q.shape[:2], -1), W


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (weights_scaled_afterwards, "The weights are divided by sqrt(K)"),
        (weights_cleared_in_place, "The numbers are right, but no gradient can flow back"),
        (weights_in_a_table, check.OVERWRITTEN + " (Or a table is filled row by row"),
        (lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m), "Only the context comes back. Both"),
        (lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v), "Only the context comes back. Both are"),
        (lambda q, k, v, m: (q @ k.mT).softmax(1) @ v, "Only the context comes back. Both are asked for"),
        (lambda q, k, v, m: (q @ k.mT).softmax(2), "Only the weights come back."),
        (lambda *args: attending(*args)[::-1], "The two come back in the wrong order"),
        (lambda *args: [one.detach() for one in attending(*args)], "The numbers are right, but they are cut"),
        (lambda *args: [one.double() for one in attending(*args)], "Item 0 of the result has the wrong dt"),
        (lambda q, k, v, m: attending(q.mul_(2), k, v, m), "It changes its argument q in place."),
        (lambda *args: print(args[0].shape), "It returned None."),
        (lambda q, k, v, m: attending(q, k, v + 1, m), "The context differs first at [0, 0, 0]"),
        (lambda q, k, v, m: attending(q + 1, k, v, m), "The tensor of weights differs first at"),
    ],
)
def test_attention_that_gives_something_else_is_found_out(function, complaint):
    report = check.scaled_dot_product_attention(function)
    assert not report.correct and report.message.startswith(complaint), report


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda x, n: x.view(len(x), n, x.shape[1], -1), "The shape is right, but the tokens are mixed."),
        (
            lambda x, n: x.mT.reshape(len(x), n, -1, x.shape[2] // n),
            "The shape is right, but x is transposed",
        ),
        (lambda x, n: torch.stack([x[..., h::n] for h in range(n)], 1), "Head n gets every N-th entry"),
        (lambda x, n: x.view(*x.shape[:2], -1, n).transpose(1, 2), "N and K have changed places"),
        (lambda x, n: torch.stack(x.split(n, -1), 1), "N and K have changed places"),
        (lambda x, n: x.view(*x.shape[:2], n, -1), "The vectors are cut, but the axes are (B, T, N, K)."),
        (lambda x, n: torch.stack(x.chunk(n, -1)), "The heads are in front"),
        (lambda x, n: torch.stack(x.chunk(n, -1), -1), "The heads come last"),
        (lambda x, n: torch.cat(x.chunk(n, -1), 1), "The heads are stacked one behind the other in time"),
        (lambda x, n: torch.cat(x.chunk(n, -1), -1), "It is x as it was."),
        (lambda x, n: list(x.chunk(n, -1)), "The pieces come back one by one"),
        (lambda x, n: _split_heads(x, n).flatten(0, 1), "Heads and batch are one axis"),
        (lambda x, n: x.view(*x.shape[:2], n, x.shape[2] / n), "D / num_heads is a float"),
        (lambda x, n: x.transpose(1, 2).view(len(x), n, x.shape[1], -1), "view can't cut a tensor anew"),
        (lambda x, n: _split_heads(x, n).squeeze(), "squeeze removes an axis of size 1"),
        (lambda x, n: _split_heads(x, n).detach(), "The numbers are right, but they are cut off"),
        (lambda x, n: _split_heads(x, n) + 1, "The result differs first at [0, 0, 0, 0]: "),
        (lambda x, n: _split_heads(x.zero_(), n), "It changes its argument x in place."),
    ],
)
def test_heads_that_are_split_otherwise_are_found_out(function, complaint):
    report = check.split_heads(function)
    assert not report.correct and report.message.startswith(complaint), report


def ones(T, dtype=None):
    return torch.ones(T, T, dtype=dtype)


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda T: torch.triu(ones(T)).bool(), "It is True on the diagonal and above it"),
        (lambda T: torch.arange(T)[:, None] <= torch.arange(T), "It is True on the diagonal and above it"),
        (lambda T: torch.triu(ones(T), 1).bool(), "It is True above the diagonal"),
        (lambda T: torch.arange(T)[:, None] > torch.arange(T), "The diagonal is left out"),
        (lambda T: ones(T).tril(1) > 0, "Each token sees one token of the future"),
        (lambda T: ones(T).tril(), "The triangle is right, but made of numbers"),
        (lambda T: ones(T, torch.long).tril(), "The triangle is right, but made of numbers"),
        (nn.Transformer.generate_square_subsequent_mask, "It has 0 where one may look and -inf elsewhere"),
        (lambda T: (1 - ones(T).tril()) * -1e9, "It has 0 where one may look and -1e9 elsewhere"),
        (lambda T: (1 - ones(T).tril()) * -INFINITY, "There is nan where one may look"),
        (lambda T: ones(T).tril() * -INFINITY, "There is nan in the future"),
        (lambda T: torch.arange(T) >= torch.arange(T), "Each token is only compared with itself"),
        (lambda T: [[s <= t for s in range(T)] for t in range(T)], "These are lists of lists."),
        (lambda T: torch.ones(1, T, T).tril().bool(), "There is an axis too many in front"),
        (lambda T: torch.tril(torch.ones(T)), "tril cuts a table"),
        (lambda T: 1 - ones(T, torch.bool).triu(1), "1 - mask isn't defined"),
        (lambda T: ~ones(T).triu(1), "~ is for True and False"),
        (lambda T: [t for t in T], "A number can't be counted through."),
        (lambda T: ones(5).tril().bool(), "The result has the wrong shape: expected (7, 7) = (T, T), got"),
    ],
)
def test_masks_that_are_made_otherwise_are_found_out(function, complaint):
    report = check.causal_mask(function)
    assert not report.correct and report.message.startswith(complaint), report


def encoded(x, *, angles=None, t=None, first=torch.sin, second=torch.cos):
    _, T, D = x.shape
    t = torch.arange(T)[:, None] if t is None else t
    a = angles(t, D) if angles else t * 10000 ** (-torch.arange(0, D, 2) / D)
    positions = torch.zeros(T, D)
    positions[:, 0::2], positions[:, 1::2] = first(a), second(a)
    return x + positions


def twos(D):
    return torch.arange(0, D, 2)


def encoded_token_by_token(x):
    positions = torch.zeros(x.shape[1:])
    for t in range(len(x)):
        positions[t] = table(*positions.shape)[t]
    return x + positions


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (encoded, None),
        # the flaw of a well-known program: its table is (length, 1, D), for time first
        (
            lambda x: x + table(5000, x.size(2)).unsqueeze(1)[: x.size(0)],
            "Each sequence gets the position of",
        ),
        (lambda x: x + table(5000, x.size(2))[: x.size(0)], "There is a position for each sequence"),
        (
            lambda x: x + table(5000, x.size(2)).unsqueeze(1)[: x.size(1)],
            "The positions have an axis of size",
        ),
        (lambda x: x + table(5000, x.size(2)), "All 5000 positions of the table are added."),
        (encoded_token_by_token, "Only the first B tokens have a position"),
        (lambda x: x + table(*x.shape[1:])[:1], "Every token gets 0 for the sines"),
        (lambda x: encoded(x, t=torch.arange(1, x.size(1) + 1)[:, None]), "Positions count from 1."),
        (lambda x: encoded(x, first=torch.cos, second=torch.sin), "Sine and cosine have changed places"),
        (lambda x: encoded(x, second=torch.sin), "There are only sines."),
        (lambda x: encoded(x, angles=lambda t, D: t / 10000 ** (twos(D) / 2 / D)), "The exponent is i/D"),
        (lambda x: encoded(x, angles=lambda t, D: t / 10000 ** (2 * twos(D) / D)), "The exponent is 4i/D"),
        (
            lambda x: encoded(x, angles=lambda t, D: t * 10000 ** (twos(D) / D)),
            "t is multiplied by the power",
        ),
        (
            lambda x: encoded(x, angles=lambda t, D: t * torch.exp(twos(D) * (math.log(10000.0) / D))),
            "A minus is missing in exp",
        ),
        (lambda x: encoded(x, angles=lambda t, D: t * torch.exp(-twos(D) / D)), "10000 is missing"),
        (lambda x: encoded(x, angles=lambda t, D: t / (10000**2 * twos(D) / D)), "In 10000 ** 2 * i / D"),
        (lambda x: encoded(x, angles=lambda t, D: t[:, 0] / twos(D)), "t and i lie along the same axis"),
        (
            lambda x: x + torch.cat([table(*x.shape[1:])[:, 0::2], table(*x.shape[1:])[:, 1::2]], -1),
            "All sines come first, and all cosines after them.",
        ),
        (lambda x: table(*x.shape[1:]), "The position comes back alone, (T, D)."),
        (lambda x: table(*x.shape[1:]).expand_as(x), "The position comes back alone, for each sequence."),
        (lambda x: x * table(*x.shape[1:]), "x is multiplied with the position."),
        (lambda x: encoded(x * math.sqrt(x.size(2))), "x is multiplied by sqrt(D)"),
        (lambda x: encoded(x).detach(), "The numbers are right, but they are cut off"),
        (lambda x: x.add_(table(*x.shape[1:])), "It changes its argument x in place."),
        (lambda x: encoded(x).double(), "The result has the wrong dtype: expected float32, got float64."),
        (lambda x: encoded(x, first=math.sin), "math.sin and math.cos take one number."),
        (lambda x: encoded(x) + 1, "The result differs first at [0, 0, 0]: "),
    ],
)
def test_positions_that_are_added_otherwise_are_found_out(function, complaint):
    report = check.positional_encoding(function)
    assert report.correct if complaint is None else report.message.startswith(complaint), report


def step(
    x,
    k_cache,
    v_cache,
    W_Q,
    W_K,
    W_V,
    *,
    append=lambda cache, new: torch.cat([cache, new.unsqueeze(1)], dim=1),
    score=lambda q, k: torch.einsum("bk,bsk->bs", q, k),
    scale=lambda k: math.sqrt(k.size(-1)),
    read=lambda weights, v: torch.einsum("bs,bsk->bk", weights, v),
    give=lambda context, k, v, *old: (context, k, v),
):
    k, v = append(k_cache, x @ W_K), append(v_cache, x @ W_V)
    weights = F.softmax(score(x @ W_Q, k) / scale(k), dim=-1)
    return give(read(weights, v), k, v, k_cache, v_cache)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        (dict(), None),
        (dict(append=lambda cache, new: torch.cat([new[:, None], cache], 1)), "The newest token stands in"),
        (dict(append=lambda cache, new: cache + new[:, None]), "The newest key and value are added"),
        (dict(append=lambda cache, new: torch.cat([cache, new], 1)), "A token's key is (B, K)"),
        (dict(append=lambda cache, new: torch.cat([cache, new[:, None]])), "They are joined along axis 0"),
        (dict(append=lambda cache, new: torch.cat([cache, new[None]], 1)), "[None] and unsqueeze(0) put"),
        (dict(append=lambda cache, new: torch.cat(cache, new)), "torch.cat takes its tensors in a list"),
        (
            dict(append=lambda cache, new: torch.stack([cache, new], 1)),
            "torch.stack puts tensors of the same",
        ),
        (dict(append=lambda cache, new: cache.append(new)), "The cache is a tensor, and has no append."),
        (dict(append=lambda cache, new: cache.mul_(2)), "It changes its argument k_cache in place."),
        (dict(scale=lambda k: 1), "The scores aren't divided by sqrt(K)."),
        (dict(scale=lambda k: k.shape[2]), "The scores are divided by K."),
        (dict(scale=lambda k: k.shape[1] ** 0.5), "The scores are divided by sqrt(t + 1)"),
        (dict(scale=lambda k: torch.sqrt(k.shape[-1])), "torch.sqrt takes a tensor"),
        (dict(score=lambda q, k: q @ k), "The keys aren't transposed. q[:, None]"),
        (dict(score=lambda q, k: q[:, None] @ k), "The keys aren't transposed. q[:, None]"),
        (
            dict(give=lambda *results: [one.squeeze() for one in results[:3]]),
            "squeeze() takes off every axis",
        ),
        (dict(score=lambda q, k: (q * k).sum(-1)), "q * k lays the B queries along time."),
        (dict(score=lambda q, k: k @ q), "k @ q takes q, (B, K), for one matrix."),
        (
            dict(score=lambda q, k: q @ k.mT, read=torch.matmul),
            "The context has shape (B, B, K): q @ k.mT takes q",
        ),
        (dict(read=lambda w, v: w @ v), "The context has shape (B, B, K): weights @ v takes the weights"),
        (dict(score=lambda q, k: q[:, None] @ k.mT, read=torch.matmul), "The context still has the axis of"),
        (dict(give=lambda context, k, v, *old: (context, *old)), "The context is right, but the caches come"),
        (
            dict(give=lambda c, k, v, *old: (c, k[:, -1:], v[:, -1:])),
            "The context is right, but only the new",
        ),
        (dict(give=lambda context, k, v, *old: context), "Only the context comes back."),
        (dict(give=lambda context, k, v, *old: (context, v, k)), "k and v have changed places"),
        (dict(give=lambda context, k, v, *old: (context, k, v, k)), "The result should be a tuple of 3, not"),
        (dict(give=lambda context, k, v, *old: (context + 1, k, v)), "The context differs first at [0, 0]"),
        (dict(give=lambda context, k, v, *old: (context, k, v + 1)), "The tensor v differs first at"),
    ],
)
def test_a_step_that_is_taken_otherwise_is_found_out(changed, complaint):
    report = check.cached_step(lambda *args: step(*args, **changed))
    assert report.correct if complaint is None else report.message.startswith(complaint), report


def looks_before_it_appends(x, k_cache, v_cache, W_Q, W_K, W_V):
    context = F.scaled_dot_product_attention((x @ W_Q)[:, None], k_cache, v_cache)[:, 0]
    return context, *step(x, k_cache, v_cache, W_Q, W_K, W_V)[1:]


def projects_everything_again(x, k_cache, v_cache, W_Q, W_K, W_V):
    k, v = (torch.cat([c, x[:, None]], 1) @ W for c, W in ((k_cache, W_K), (v_cache, W_V)))
    return F.scaled_dot_product_attention((x @ W_Q)[:, None], k, v)[:, 0], k, v


def forgets_the_value(x, k_cache, v_cache, W_Q, W_K, W_V):
    k = torch.cat([k_cache, (x @ W_K)[:, None]], 1)
    return ((x @ W_Q)[:, None] @ k.mT / k.shape[2] ** 0.5).softmax(-1) @ v_cache, k, v_cache


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (looks_before_it_appends, "The query looks at the tokens before, but not at the newest one."),
        (projects_everything_again, "The caches are multiplied with W_K and W_V again."),
        (forgets_the_value, "There is a key more than there are values"),
        (lambda x, k, v, Q, K, V: step(x, k, v, Q, V, K), "W_K and W_V have changed places"),
        (lambda x, k, v, Q, K, V: step(x, k, v, Q, K(x), V), "W_Q, W_K and W_V are plain matrices here"),
        (lambda x, k, v, Q, K, V: step(x, v, k, Q, K, V), "The caches have changed places"),
        (
            lambda x, k, v, Q, K, V: step(x, k, v, Q, torch.eye(5), V),
            "x itself is put into the cache of keys.",
        ),
        (lambda x, k, v, Q, K, V: step(x, k, v, Q.T, K.T, V.T), "The matrices are transposed."),
    ],
)
def test_a_step_that_mixes_things_up_is_found_out(function, complaint):
    report = check.cached_step(function)
    assert report.status == "mistake" and report.message.startswith(complaint), report


# The bank itself


@pytest.fixture
def every_warning():
    """Torch gives some warnings only once."""
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


@pytest.mark.parametrize("name", EXERCISES)
def test_mistakes_raise_only_what_is_meant_and_warn_of_nothing(name, every_warning):
    meant = {
        "float",
        "math.",
        "torch.",
        "~ is",
        "softmax has",
        "tril takes",
        "A number",
        "W_Q, W_K and W_V are",
        "The cache is a",
        "D / ",
    }
    for message, mistake in EXERCISES[name].mistakes.items():
        for kind in range(len(EXERCISES[name].inputs)):
            with warnings.catch_warnings(record=True) as warned:  # where torch raises too, none is an error
                warnings.simplefilter("always")
                try:
                    mistake(*drawn(name, kind))
                except RuntimeError:
                    pass  # what torch raises where tensors don't fit
                except (
                    TypeError,
                    ValueError,
                    AttributeError,
                ):  # any other would be a slip in the bank itself
                    assert message.startswith(tuple(meant)), message
            assert not warned, message
