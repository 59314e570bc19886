"""Exercises of the chapter on the Transformer.

Dimensions: B batch, T time (queries), S time of what is attended to, D model size (or numbers in a value),
N heads, K = D / N numbers in each head (a key), t tokens in the cache. Batch first. Masks: True may attend.

As in the chapter on attention, the first kind of input of some exercises has equal sizes where nothing should
depend on it: there a wrong axis doesn't raise, and the numbers tell which one it is.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor

from seqlib.checks.exercise import Exercise, Function
from seqlib.checks.looking import NO_OPPOSITE, OVERWRITTEN, PAIR, RETURNED, normal, observed

_CUT_OFF = (
    "The numbers are right, but they are cut off from the graph, so that no gradient gets through. detach, "
    "no_grad, item(), numpy and torch.tensor(...) cut it."
)


def _call(function: Function, *args: Any, **options: Any) -> Any:
    """For calls with arguments of a wrong type, which are meant."""
    return function(*args, **options)


# ------------------------------------------------------------------- scaled dot-product attention


def _scaled_dot_product_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """q (B, T, K), k (B, S, K), v (B, S, D), mask (B, T, S), True may attend

    K is d_k and D is d_v -> context (B, T, D), weights (B, T, S)
    """
    scores = q @ k.mT / k.shape[-1] ** 0.5  # (B, T, S)
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    return weights @ v, weights


def _looked_up(
    g: Generator, *, B: int, T: int, S: int, K: int, D: int, apart: float = 0.0
) -> tuple[Tensor, ...]:
    """Where queries and keys lie `apart`, the scores are far below what some would fill in."""
    mask = torch.rand(B, T, S, generator=g) < 0.6
    mask[torch.arange(T) % B, torch.arange(T)] = True  # some queries may attend to everything,
    mask[..., 0] = True  # and each to something
    return normal(g, B, T, K) + apart, normal(g, B, S, K) - apart, normal(g, B, S, D), mask


def _scaled_with(
    score: Function = lambda q, k, v: q @ k.mT / k.shape[-1] ** 0.5,
    masked: Function = lambda scores, mask: scores.masked_fill(~mask, -torch.inf),
    *,
    weigh: Function = lambda scores, mask: scores.softmax(-1),
    read: Function = lambda weights, v: weights @ v,
    give: Function = lambda context, weights: (context, weights),
) -> Function:
    """Attention with one of its rules changed."""

    def function(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Any:
        weights = weigh(masked(score(q, k, v), mask), mask)
        return give(read(weights, v), weights)

    return function


def _unmasked(scores: Tensor, mask: Tensor) -> Tensor:
    return scores


def _divided(divisor: Function) -> Function:
    """The dot products divided by something else, a function of B, T, S, K, D."""
    return _scaled_with(
        lambda q, k, v: q @ k.mT / divisor(len(q), q.shape[1], k.shape[1], k.shape[2], v.shape[2])
    )


def _pair_observed(result: Any, args: tuple[Any, ...]) -> Any:
    """One tensor alone, and what has four axes, are told by their shapes, whatever the numbers are."""
    parts = result if isinstance(result, (tuple, list)) else (result,)
    if len(parts) == 1 or any(isinstance(part, Tensor) and part.ndim == 4 for part in parts):
        return "its shape alone"
    return observed(_scaled_dot_product_attention, PAIR, result, args)


# -torch.inf makes nan of a row that it fills altogether, and -1e9 equal weights
_FILLINGS: Mapping[str, float] = {"-torch.inf": -torch.inf, "-1e9": -1e9}

scaled_dot_product_attention = Exercise(
    reference=_scaled_dot_product_attention,
    inputs=(
        partial(_looked_up, B=5, T=5, S=5, K=5, D=5),
        partial(_looked_up, B=2, T=3, S=5, K=7, D=11, apart=2.0),
    ),
    observe=_pair_observed,
    mistakes={
        # the scale
        "The scores aren't divided by sqrt(K), so they grow with the length of the vectors, and the softmax "
        "soon gives one key nearly everything.": _divided(lambda B, T, S, K, D: 1),
        "The scores are divided by K. It is its root, sqrt(K). (Where q and k are divided both, each gets "
        "K ** 0.25.)": _divided(lambda B, T, S, K, D: K),
        "The scores are multiplied by sqrt(K). They are divided by it.": _divided(
            lambda B, T, S, K, D: K**-0.5
        ),
        **{
            f"The scores are divided by sqrt({letter}), with {letter} {what}. It is sqrt(K), with K the "
            "length of a key, k.shape[-1]: so many products are added up in a score.": _divided(root)
            for letter, what, root in (
                ("D", "the length of a value", lambda B, T, S, K, D: D**0.5),
                ("S", "the number of keys", lambda B, T, S, K, D: S**0.5),
                ("B", "the size of the batch, len(q)", lambda B, T, S, K, D: B**0.5),
            )
        },
        "The weights are divided by sqrt(K), so they don't add up to 1. The scores are to be divided, before "
        "the softmax.": lambda q, k, v, mask: _scaled_with(
            lambda q, k, v: q @ k.mT, weigh=lambda scores, mask: scores.softmax(-1) / k.shape[-1] ** 0.5
        )(q, k, v, mask),
        **{
            f"The context is divided by sqrt({letter}). It is the scores that are divided, by sqrt(K), "
            "before the softmax.": lambda q, k, v, mask, divisor=divisor: _scaled_with(
                lambda q, k, v: q @ k.mT, give=lambda context, weights: (context / divisor(k, v), weights)
            )(q, k, v, mask)
            for letter, divisor in {
                "K": lambda k, v: k.shape[-1] ** 0.5,
                "D": lambda k, v: v.shape[-1] ** 0.5,
            }.items()
        },
        "The scores aren't divided by sqrt(K), and the mask has no effect.": _scaled_with(
            lambda q, k, v: q @ k.mT, _unmasked
        ),
        # scores
        "Keys and queries have changed places: k @ q.mT gives each key a row, (B, S, T). It is q @ k.mT, "
        "(B, T, S).": _scaled_with(lambda q, k, v: k @ q.mT / k.shape[-1] ** 0.5),
        "The keys aren't transposed. q @ k.mT gives the product of each query with each key, (B, T, S).": (
            _scaled_with(lambda q, k, v: q @ k / k.shape[-1] ** 0.5)
        ),
        "The queries are transposed: q.mT @ k adds up over the tokens. q @ k.mT adds up over K, and gives "
        "the product of each query with each key.": _scaled_with(
            lambda q, k, v: q.mT @ k / k.shape[-1] ** 0.5
        ),
        "k.T turns round all three axes, the batch too. k.mT (or k.transpose(1, 2)) swaps the last two.": (
            _scaled_with(lambda q, k, v: q @ k.permute(2, 1, 0) / k.shape[-1] ** 0.5)
        ),
        "k.transpose(0, 1) swaps the batch and the keys. k.mT (or k.transpose(1, 2)) swaps the last two.": (
            _scaled_with(lambda q, k, v: q @ k.transpose(0, 1) / k.shape[-1] ** 0.5)
        ),
        "q * k multiplies entry by entry. q @ k.mT gives the product of each query with each key, "
        "(B, T, S).": _scaled_with(lambda q, k, v: q * k / k.shape[-1] ** 0.5),
        "The queries are compared with the values. They are compared with the keys, k; the values are only "
        "added up.": _scaled_with(lambda q, k, v: q @ v.mT / k.shape[-1] ** 0.5),
        # the mask
        "The mask has no effect.": _scaled_with(masked=_unmasked),
        **{
            "The mask is inverted. masked_fill fills where its mask is True, and here True means may attend: "
            f"masked_fill(~mask, {name}).": _scaled_with(
                masked=lambda scores, mask, fill=fill: scores.masked_fill(mask, fill)
            )
            for name, fill in _FILLINGS.items()
        },
        "The mask is transposed. Its rows are queries and its columns keys, as those of the scores are.": (
            _scaled_with(masked=lambda scores, mask: scores.masked_fill(~mask.mT, -torch.inf))
        ),
        "There is an axis too many. Chapter 6's mask was (B, S), and needed an axis for the queries, "
        "mask[:, None]. This one is (B, T, S) already.": _scaled_with(
            masked=lambda scores, mask: scores.masked_fill(~mask[:, None], -torch.inf)
        ),
        "The mask comes after the softmax, so the rows don't add up to 1: what is masked took its share "
        "before it was removed. Mask the scores, and take the softmax then.": _scaled_with(
            masked=_unmasked, weigh=lambda scores, mask: scores.softmax(-1) * mask
        ),
        "The context is right, but the weights that come back were made without the mask. Return those that "
        "the context was made with.": lambda q, k, v, mask: (
            _scaled_dot_product_attention(q, k, v, mask)[0],
            _scaled_dot_product_attention(q, k, v, torch.ones_like(mask))[1],
        ),
        "The scores that are masked become 0, by a product with the mask or as a filling, and 0 is a score "
        "like others: e^0 = 1. Fill with -torch.inf, or a very low number.": _scaled_with(
            masked=lambda scores, mask: scores * mask
        ),
        "The scores that are masked become -10, which isn't low enough: they get weight, the more the lower "
        "the other scores are. Fill with -torch.inf, or a very low number.": _scaled_with(
            masked=lambda scores, mask: scores.masked_fill(~mask, -10)
        ),
        "The scores are filled with a large positive number, so what is masked gets the whole weight. A "
        "minus is missing.": _scaled_with(masked=lambda scores, mask: scores.masked_fill(~mask, 1e9)),
        "The scores are filled with plus infinity, whose softmax is nan. A minus is missing.": _scaled_with(
            masked=lambda scores, mask: scores.masked_fill(~mask, torch.inf)
        ),
        "The mask is added to the scores as 0 and 1, so what may be attended only counts e times as much. "
        "Fill the others with -torch.inf, or a very low number.": _scaled_with(
            masked=lambda scores, mask: scores + mask.float()
        ),
        "All is nan: 0 * inf is nan, so infinity can't be multiplied with a mask. masked_fill or torch.where "
        "put it in.": _scaled_with(masked=lambda scores, mask: scores + torch.nan),
        # weights
        **{
            f"The softmax is missing: the weights are the scores, with {name} for what is masked.": (
                _scaled_with(
                    masked=lambda scores, mask, fill=fill: scores.masked_fill(~mask, fill),
                    weigh=lambda scores, mask: scores,
                )
            )
            for name, fill in {
                "0": 0.0,
                **_FILLINGS,
            }.items()
        },
        "exp is there, but the rows don't add up to 1: divide by the sum over S.": _scaled_with(
            weigh=lambda scores, mask: scores.exp()
        ),
        "The softmax is taken twice. Once is enough, of the masked scores.": _scaled_with(
            weigh=lambda scores, mask: scores.softmax(-1).softmax(-1)
        ),
        "The softmax runs over T, the queries. The weights of a query add up to 1 over S: softmax(-1).": (
            _scaled_with(weigh=lambda scores, mask: scores.softmax(1))
        ),
        "The softmax runs over axis 0, the batch, as F.softmax does without dim. The weights of a query add "
        "up to 1 over S: softmax(-1).": _scaled_with(weigh=lambda scores, mask: scores.softmax(0)),
        # context
        "The keys are added up instead of the values. Keys are for finding, values are what is read: "
        "weights @ v.": lambda q, k, v, mask: _scaled_with(read=lambda weights, v: weights @ k)(
            q, k, v, mask
        ),
        "The weights are transposed in the product, so that the sum runs over the queries. It runs over S, "
        "the keys: weights @ v, (T, S) @ (S, D).": _scaled_with(read=lambda weights, v: weights.mT @ v),
        "v @ weights adds up columns of the values. A value is a row: weights @ v, (T, S) @ (S, D).": (
            _scaled_with(read=lambda weights, v: v @ weights)
        ),
        "weights * v multiplies entry by entry. @ gives each value its weight, and adds up: weights @ v, "
        "(T, S) @ (S, D).": _scaled_with(read=lambda weights, v: weights * v),
        "The weighted values aren't added up, (B, T, S, D). Their sum over S is the context: weights @ v.": (
            _scaled_with(read=lambda weights, v: weights[..., None] * v[:, None])
        ),
        # what is returned
        **{message: _scaled_with(give=give) for message, give in RETURNED.items()},
        "The scores come back beside the context. It is their softmax, the weights, that is asked for.": (
            lambda q, k, v, mask: (
                _scaled_dot_product_attention(q, k, v, mask)[0],
                q @ k.mT / k.shape[-1] ** 0.5,
            )
        ),
        "The masked scores come back beside the context. It is their softmax, the weights, that is asked "
        "for.": lambda q, k, v, mask: (
            _scaled_dot_product_attention(q, k, v, mask)[0],
            (q @ k.mT / k.shape[-1] ** 0.5).masked_fill(~mask, -torch.inf),
        ),
        "The numbers are right, but the weights are cut off from the graph: no gradient reaches q and k, so "
        "nobody could learn where to look. detach, no_grad, item() and torch.tensor(...) cut it.": (
            _scaled_with(weigh=lambda scores, mask: scores.softmax(-1).detach())
        ),
        f"{OVERWRITTEN} (Or a table is filled row by row, and read in between: collect the rows in a list, "
        "and torch.stack them.)": _scaled_with(weigh=lambda scores, mask: scores.softmax(-1).mul_(mask)),
        # exceptions
        **{
            message: lambda q, k, v, mask, rule=rule: rule(q @ k.mT, mask)
            for message, rule in NO_OPPOSITE.items()
        },
        "softmax has to be told its axis: softmax(-1), or dim=-1.": _scaled_with(
            weigh=lambda scores, mask: _call(torch.softmax, scores)
        ),
        "torch.sqrt takes a tensor, and a size is a plain number: math.sqrt(K), or K ** 0.5.": (
            _scaled_with(lambda q, k, v: q @ k.mT / _call(torch.sqrt, k.shape[-1]))
        ),
        "math.sqrt takes one number, and this is a tensor. K is k.shape[-1].": _scaled_with(
            lambda q, k, v: float(k.detach())  # without detach, torch warns
        ),
        "~ is for True and False, and the mask was made a float. Use it as it is: masked_fill(~mask, ...).": (
            _scaled_with(masked=lambda scores, mask: ~mask.float())
        ),
        "masked_fill wants a mask of True and False, and this one was made a float. Use it as it is: "
        "masked_fill(~mask, ...).": _scaled_with(
            masked=lambda scores, mask: scores.masked_fill(1 - mask.float(), -torch.inf)
        ),
    },
    hints=(
        "Score, weigh, read, as in the chapter on attention. What is new are the batch and the sqrt(K).",
        "k.mT is (B, K, S), so q @ k.mT / k.shape[-1] ** 0.5 are the scores, (B, T, S).",
        "masked_fill(~mask, -torch.inf) comes before softmax(-1). No row is empty, so -inf does no harm. "
        "weights @ v is the context.",
    ),
    look="Look at the weights first, item 1 of the result: each row adds up to 1 over S, and what is masked "
    "has 0. By hand: weights[0, 1][mask[0, 1]] is the softmax of (k[0] @ q[0, 1] / K ** 0.5)[mask[0, 1]]. If "
    "they are right, the fault is in the context, weights @ v. Return context, weights.",
)


# ------------------------------------------------------------------------------------- many heads


def _split_heads(x: Tensor, num_heads: int) -> Tensor:
    """x (B, T, D) -> (B, N, T, K): head n gets entries nK to (n+1)K of every vector"""
    pieces = x.unflatten(-1, (num_heads, -1))  # (B, T, N, K)
    return pieces.transpose(1, 2)


def _vectors(g: Generator, *, B: int, T: int, N: int, K: int) -> tuple[Tensor, int]:
    return normal(g, B, T, N * K), N


def _split_then(rule: Function) -> Function:
    """The right heads, and something done with them."""
    return lambda x, num_heads: rule(_split_heads(x, num_heads))


split_heads = Exercise(
    reference=_split_heads,
    inputs=(partial(_vectors, B=2, T=3, N=5, K=7), partial(_vectors, B=3, T=1, N=2, K=5)),
    observe=partial(observed, _split_heads, ("the result",)),
    letters="B N T K",
    mistakes={
        # which numbers
        "The shape is right, but the tokens are mixed. view and reshape keep the order of the numbers, so "
        "head 0 gets the first T * K numbers of a sequence: the vectors of its first tokens. Cut each vector "
        "first, (B, T, N, K), and swap T and N then, with transpose(1, 2).": lambda x, num_heads: x.reshape(
            len(x), num_heads, x.shape[1], -1
        ),
        "The shape is right, but x is transposed before it is cut, and cut anew in another order. Cut each "
        "vector first, (B, T, N, K), and swap T and N then, with transpose(1, 2).": lambda x, num_heads: (
            x.mT.reshape(len(x), num_heads, x.shape[1], -1)
        ),
        "Head n gets every N-th entry, beginning with n. It is to get K entries that lie side by side: N "
        "comes before K where the vectors are cut, unflatten(-1, (num_heads, -1)).": lambda x, num_heads: (
            x.unflatten(-1, (-1, num_heads)).permute(0, 3, 1, 2)
        ),
        "Every head gets the whole vector, so the last axis has D entries. Each gets a piece of "
        "K = D / N.": lambda x, num_heads: x[:, None].repeat(1, num_heads, 1, 1),
        # the axes
        "The vectors are cut, but the axes are (B, T, N, K). The heads come second: .transpose(1, 2).": (
            _split_then(lambda heads: heads.transpose(1, 2))
        ),
        "The heads are in front, (N, B, T, K). The batch stays first: torch.stack(pieces, 1), or "
        "unflatten(...).transpose(1, 2).": _split_then(lambda heads: heads.transpose(0, 1)),
        "The heads come last, (B, T, K, N). They come second: (B, N, T, K).": _split_then(
            lambda heads: heads.permute(0, 2, 3, 1)
        ),
        "Each head is transposed, (B, N, K, T), as the keys are in the product q @ k.mT. That is done "
        "there.": _split_then(lambda heads: heads.mT),
        "Heads and batch are one axis, (B * N, T, K), as some programs have it. Here they are two: "
        "(B, N, T, K).": _split_then(lambda heads: heads.flatten(0, 1)),
        "The heads are stacked one behind the other in time, (B, N * T, K). torch.stack(pieces, 1) gives "
        "them an axis; torch.cat doesn't.": _split_then(lambda heads: heads.flatten(1, 2)),
        "The heads are laid one behind the other in the batch, (N * B, T, K). torch.stack(pieces, 1) gives "
        "them an axis; torch.cat doesn't.": _split_then(lambda heads: heads.transpose(0, 1).flatten(0, 1)),
        "It is x as it was. If the pieces were joined along the last axis, that has undone the cut: "
        "torch.stack(pieces, 1) gives the heads an axis.": lambda x, num_heads: x.clone(),
        **{
            f"N and K have changed places: there are K heads of N numbers{rest}. split and unfold take the "
            "size of a piece, chunk and tensor_split how many there are; unflatten(-1, (num_heads, -1)) puts "
            "N first.": rule
            for rest, rule in {
                ", (B, K, T, N)": lambda x, num_heads: x.unflatten(-1, (-1, num_heads)).transpose(1, 2),
                ", and T and N aren't swapped, (B, T, K, N)": lambda x, num_heads: x.unflatten(
                    -1, (-1, num_heads)
                ),
            }.items()
        },
        "squeeze removes an axis of size 1, and where T = 1 that of the tokens. All four axes stay: "
        "(B, N, T, K).": _split_then(torch.squeeze),
        # what is returned
        "The pieces come back one by one, as chunk and split give them. torch.stack(pieces, 1) makes one "
        "tensor of them, (B, N, T, K).": lambda x, num_heads: x.chunk(num_heads, -1),
        "Only the first head comes back, (B, T, K).": _split_then(lambda heads: heads[:, 0]),
        _CUT_OFF: _split_then(lambda heads: heads.detach()),
        # exceptions
        "view can't cut a tensor anew whose axes were swapped. reshape could, but would mix the tokens: cut "
        "the vectors first, x.view(B, T, N, K), and swap the axes last.": lambda x, num_heads: x.mT.view(
            len(x), num_heads, x.shape[1], -1
        ),
        **{
            f"D / num_heads is a float, even where nothing is left over, and a size is a whole number: "
            f"D // num_heads. ({name}.)": rule
            for name, rule in {
                "In view": lambda x, num_heads: x.view(len(x), x.shape[1], num_heads, x.shape[2] / num_heads),
                "In reshape": lambda x, num_heads: x.reshape(
                    len(x), x.shape[1], num_heads, x.shape[2] / num_heads
                ),
                "In unflatten": lambda x, num_heads: x.unflatten(-1, (num_heads, x.shape[2] / num_heads)),
                "In split": lambda x, num_heads: x.split(x.shape[2] / num_heads, -1),
                "In an index": lambda x, num_heads: x[..., : x.shape[2] / num_heads],
            }.items()
        },
    },
    hints=(
        "There are two steps: cut each vector of D numbers into N pieces of K, then bring the heads to the "
        "front of the tokens.",
        "x.unflatten(-1, (num_heads, -1)), or x.view(B, T, num_heads, D // num_heads), cuts: (B, T, N, K).",
        "transpose(1, 2) swaps T and N. It moves whole axes; view and reshape only cut anew, and would mix "
        "the tokens.",
    ),
    look="By hand: with K = D // num_heads, result[b, n, t] is x[b, t, n * K : (n + 1) * K].",
)


# ------------------------------------------------------------------------------------ who may look


def _causal_mask(length: int) -> Tensor:
    """-> mask (T, T), True where query t (row) may attend to key s (column)"""
    t = torch.arange(length)
    return t[:, None] >= t  # at itself, and at those before it


def _how_many(g: Generator, *, T: int) -> tuple[int]:
    return (T,)


def _triangle(length: int, last: int = 0) -> Tensor:
    """True up to this diagonal."""
    return torch.ones(length, length, dtype=torch.bool).tril(last)


def _filled(length: int, where: Tensor, fill: float, rest: float = 0.0) -> Tensor:
    return torch.full((length, length), rest).masked_fill(where, fill)


_NO_FLOATS = "Asked for is True and False: torch.ones(length, length, dtype=torch.bool).tril()."

causal_mask = Exercise(
    reference=_causal_mask,
    inputs=tuple(partial(_how_many, T=T) for T in (5, 7, 1)),
    letters="T T",
    mistakes={
        # which entries
        "It is True on the diagonal and above it, so each token sees itself and the future. It is to see "
        "itself and the past: rows are queries, columns keys, and tril keeps what is below.": (
            lambda length: _triangle(length).T
        ),
        "It is True above the diagonal, so each token sees only the future. If you think of True as "
        "forbidden, as torch's own layers do: here True means may attend.": lambda length: ~_triangle(length),
        "The diagonal is left out: a token may attend to itself, and the first one has nothing else.": (
            lambda length: _triangle(length, -1)
        ),
        "Each token sees one token of the future, the one right of the diagonal. The last that it may see is "
        "itself.": lambda length: _triangle(length, 1),
        "Everything is True: each token sees the whole future.": lambda length: _triangle(length, length),
        "Only the diagonal is True: each token sees itself, and nothing of the past.": lambda length: (
            torch.eye(length, dtype=torch.bool)
        ),
        # numbers instead of True and False
        f"The triangle is right, but made of numbers, 1 and 0. {_NO_FLOATS}": lambda length: _triangle(
            length
        ).float(),
        f"It has 0 where one may look and -inf elsewhere, to be added to scores. {_NO_FLOATS}": (
            lambda length: _filled(length, ~_triangle(length), -torch.inf)
        ),
        f"It has 0 where one may look and -1e9 elsewhere, to be added to scores. {_NO_FLOATS}": (
            lambda length: _filled(length, ~_triangle(length), -1e9)
        ),
        f"It has -inf where one may look, and 0 in the future. {_NO_FLOATS}": lambda length: _filled(
            length, _triangle(length), -torch.inf
        ),
        f"It has -inf below the diagonal, so it is meant to be added to scores, and is transposed. "
        f"{_NO_FLOATS}": lambda length: _filled(length, _triangle(length, -1), -torch.inf),
        **{
            f"There is nan {where}: 0 * inf is nan, so infinity can't be multiplied with a mask. "
            f"{_NO_FLOATS}": (lambda length, rule=rule: rule(_triangle(length).float()) * -torch.inf)
            for where, rule in {
                "where one may look": lambda may: 1 - may,
                "in the future": lambda may: may,
            }.items()
        },
        # the shape
        "There is an axis too many in front, (1, T, T). Here it is (T, T); whoever has a batch adds it "
        "there.": lambda length: _triangle(length)[None],
        "There are two axes too many in front, (1, 1, T, T). Here it is (T, T); whoever has a batch and "
        "heads adds them there.": lambda length: _triangle(length)[None, None],
        "Each token is only compared with itself, (T). For a table of all pairs one of the two needs another "
        "axis: t[:, None] >= t.": lambda length: torch.ones(length, dtype=torch.bool),
        "These are lists of lists. torch.tensor(rows) makes a tensor of them.": lambda length: _triangle(
            length
        ).tolist(),
        # exceptions
        "tril cuts a table, and here it got a single row. Make a table first: torch.ones(length, length, "
        "dtype=torch.bool).tril().": lambda length: torch.ones(length).tril(),
        "1 - mask isn't defined for True and False. The opposite of a mask is ~mask.": lambda length: (
            1 - _triangle(length)
        ),
        "if, not, and, or want one truth value, and here is a whole table of them. The opposite of a table "
        "is ~table, and t[:, None] >= t compares all pairs without if.": lambda length: not _triangle(length),
        "~ is for True and False, and these are floats. Make the table with dtype=torch.bool.": (
            lambda length: ~_triangle(length).float()
        ),
        "tril takes a tensor, and `length` is a number. Make a table first: torch.ones(length, length, "
        "dtype=torch.bool).": lambda length: _call(torch.tril, length),
        "A number can't be counted through. range(length) counts from 0 to length - 1.": lambda length: _call(
            list, length
        ),
    },
    hints=(
        "Query t may attend to key s where s <= t: a token sees itself and what came before it.",
        "Row 0 begins with one True, row 1 with two, and so on: a triangle, with the diagonal.",
        "torch.ones(length, length, dtype=torch.bool) and tril make it; or compare torch.arange(length) as a "
        "column with itself as a row.",
    ),
    look="By hand, for length 3: [[True, False, False], [True, True, False], [True, True, True]].",
)


# ---------------------------------------------------------------------------------------- position


def _positional_encoding(x: Tensor) -> Tensor:
    """x (B, T, D), D even -> x plus the sinusoidal position, (B, T, D)

    Entry 2i of position t gets sin(t / 10000^(2i/D)), entry 2i+1 cos of the same.
    """
    T, D = x.shape[1:]
    t = torch.arange(T)[:, None]  # (T, 1)
    angles = t / 10_000 ** (torch.arange(0, D, 2) / D)  # (T, D/2)
    return x + torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def _embedded(g: Generator, *, B: int, T: int, D: int) -> tuple[Tensor]:
    return (normal(g, B, T, D),)


def _angles(t: Tensor, i: Tensor, D: int) -> Tensor:
    return t / 10_000 ** (2 * i / D)


def _interleaved(even: Tensor, odd: Tensor) -> Tensor:
    return torch.stack([even, odd], -1).flatten(-2)


def _positions_with(
    angle: Function = _angles,
    waves: Function = lambda a: _interleaved(a.sin(), a.cos()),
    *,
    when: Function = lambda t, x: t,
    add: Function = lambda x, p: x + p,
) -> Function:
    """The encoding with one of its rules changed. `when` is the position of each token."""

    def function(x: Tensor) -> Any:
        _, T, D = x.shape
        t = when(torch.arange(T)[:, None], x)
        return add(x, waves(angle(t, torch.arange(D // 2), D)))

    return function


def _table(length: int, D: int) -> Tensor:
    """The right positions, without x."""
    return _positional_encoding(torch.zeros(1, length, D))[0]


positional_encoding = Exercise(
    reference=_positional_encoding,
    inputs=(partial(_embedded, B=3, T=7, D=10), partial(_embedded, B=2, T=13, D=6)),
    observe=partial(observed, _positional_encoding, ("the result",)),
    letters="B T D",
    mistakes={
        # along which axis
        "Each sequence gets the position of its row in the batch, the same for all its tokens: x.shape[0] is "
        "B, and positions of shape (B, 1, D) fit x as well. Time is axis 1: make T positions, (T, D).": (
            lambda x: x + _table(len(x), x.shape[2])[:, None]
        ),
        "Only the first B tokens have a position: len(x) counts the sequences of the batch. The tokens are "
        "counted by x.shape[1].": lambda x: (
            x + _table(*x.shape[1:]).where(torch.arange(x.shape[1])[:, None] < len(x), 0.0)
        ),
        "Every token gets 0 for the sines and 1 for the cosines. Either all have position 0, or the angles "
        "are tiny, as where 10000 ** 2 * i / D lacks its parentheses: 10000 ** (2 * i / D).": (
            _positions_with(when=lambda t, x: 0 * t)
        ),
        "Positions count from 1. They count from 0: torch.arange(T).": _positions_with(
            when=lambda t, x: t + 1
        ),
        # which entry
        "All sines come first, and all cosines after them. Many programs do that too, and it works as well, "
        "but here they take turns: sines go to [:, 0::2], cosines to [:, 1::2].": _positions_with(
            waves=lambda a: torch.cat([a.sin(), a.cos()], -1)
        ),
        "All sines come first, all cosines after them, and the exponent is divided by D/2 - 1. Some programs "
        "do that, and it works as well, but here they take turns, [:, 0::2] and [:, 1::2], with the exponent "
        "2i/D.": _positions_with(
            lambda t, i, D: t / 10_000 ** (2 * i / (D - 2)), lambda a: torch.cat([a.sin(), a.cos()], -1)
        ),
        "Sine and cosine have changed places: sines go to the even entries, 0, 2, ..., cosines to the odd "
        "ones.": _positions_with(waves=lambda a: _interleaved(a.cos(), a.sin())),
        "There are only sines. The odd entries get cosines.": _positions_with(
            waves=lambda a: _interleaved(a.sin(), a.sin())
        ),
        "The odd entries get nothing: cosines are still to go to [:, 1::2].": _positions_with(
            waves=lambda a: _interleaved(a.sin(), 0 * a)
        ),
        # the angle
        "The exponent is i/D, with i = 0, 1, 2, ... for the pairs. It is 2i/D: with torch.arange(0, D, 2) / "
        "D the 2 is in already.": _positions_with(lambda t, i, D: t / 10_000 ** (i / D)),
        "The exponent is 4i/D: torch.arange(0, D, 2) is 2i already, so it is only to be divided by D.": (
            _positions_with(lambda t, i, D: t / 10_000 ** (4 * i / D))
        ),
        "Each entry has its own wavelength: the exponent of the cosines is (2i+1)/D. A sine and a cosine "
        "share one, 2i/D.": lambda x: (
            x
            + _interleaved(
                _angles(torch.arange(x.shape[1])[:, None], torch.arange(x.shape[2] // 2), x.shape[2]).sin(),
                _angles(
                    torch.arange(x.shape[1])[:, None], torch.arange(x.shape[2] // 2) + 0.5, x.shape[2]
                ).cos(),
            )
        ),
        "Each entry has twice its number in the exponent, 2j/D for entry j. Entries 2i and 2i+1 share one "
        "wavelength, with 2i/D.": lambda x: (
            x
            + _interleaved(
                _angles(torch.arange(x.shape[1])[:, None], torch.arange(0, x.shape[2], 2), x.shape[2]).sin(),
                _angles(torch.arange(x.shape[1])[:, None], torch.arange(1, x.shape[2], 2), x.shape[2]).cos(),
            )
        ),
        "The exponent isn't divided by D: it is 2i instead of 2i/D.": _positions_with(
            lambda t, i, D: t / 10_000.0 ** (2 * i)
        ),
        "The exponent is divided by D/2 - 1 or D - 2, so that the last one is 1. Some programs do that; here "
        "it is 2i/D.": _positions_with(lambda t, i, D: t / 10_000 ** (2 * i / (D - 2))),
        "t is multiplied by the power of 10000. It is divided by it.": _positions_with(
            lambda t, i, D: t * 10_000 ** (2 * i / D)
        ),
        "A minus is missing in exp: multiply t with exp(-log(10000) * 2i/D).": _positions_with(
            lambda t, i, D: t * torch.exp(torch.arange(0, D, 2) * (9.210340371976184 / D))
        ),
        "10000 is missing: exp(-2i/D) is a power of e. 10000^(-2i/D) is exp(-log(10000) * 2i/D).": (
            _positions_with(lambda t, i, D: t * torch.exp(-2 * i / D))
        ),
        "All entries have the same wavelength, that of sin(t): t is still to be divided by 10000^(2i/D).": (
            _positions_with(lambda t, i, D: t + 0.0 * i)
        ),
        "The base is 1000. It is 10000.": _positions_with(lambda t, i, D: t / 1000 ** (2 * i / D)),
        "10000 is multiplied by 2i/D, which is 0 for the first pair. It is a power: 10000 ** (2i/D).": (
            _positions_with(lambda t, i, D: t / (10_000 * (2 * i / D)))
        ),
        "In 10000 ** 2 * i / D the power comes first, and the rest is 0 for the first pair, which gives nan. "
        "Put the exponent in parentheses: 10000 ** (2 * i / D).": _positions_with(
            lambda t, i, D: t / (10_000.0**2 * i / D)
        ),
        "t / 10000 is taken to the power. Only 10000 is: t / 10000 ** (2 * i / D).": _positions_with(
            lambda t, i, D: (t / 10_000) ** (2 * i / D)
        ),
        "The sine and cosine of t are divided by 10000^(2i/D). It is t that is divided, inside of them.": (
            lambda x: _positions_with(
                lambda t, i, D: t + 0.0 * i,
                lambda a: (
                    _interleaved(a.sin(), a.cos())
                    * (10_000 ** (-torch.arange(0, x.shape[2], 2) / x.shape[2])).repeat_interleave(2)
                ),
            )(x)
        ),
        # with x
        "The position comes back alone, for each sequence. It is to be added to x.": _positions_with(
            add=lambda x, p: p.expand(x.shape)
        ),
        "The position comes back alone, (T, D). It is to be added to x: x + position.": _positions_with(
            add=lambda x, p: p
        ),
        "The position comes back alone, (1, T, D). It is to be added to x: x + position.": _positions_with(
            add=lambda x, p: p[None]
        ),
        "x comes back as it was.": lambda x: x.clone(),
        "x is multiplied with the position. It is added.": _positions_with(add=lambda x, p: x * p),
        "x is multiplied by sqrt(D) before the position is added. The paper does that with its embeddings, "
        "but here x is added as it is.": _positions_with(add=lambda x, p: x * x.shape[2] ** 0.5 + p),
        "The position stands beside x, in 2D entries. It is added: x + position.": _positions_with(
            add=lambda x, p: torch.cat([x, p.expand(x.shape)], -1)
        ),
        _CUT_OFF: _positions_with(add=lambda x, p: (x + p).detach()),
        # exceptions
        "There is a position for each sequence of the batch, (B, D), and not for each token: x.shape[0] and "
        "len(x) are B. Time is axis 1: make T positions, (T, D).": lambda x: x + _table(len(x), x.shape[2]),
        "The positions have an axis of size 1 in the middle, (T, 1, D), as in programs that have time first. "
        "Here the batch is first: (T, D), or (1, T, D).": lambda x: x + _table(*x.shape[1:])[:, None],
        "The positions are transposed, (D, T). A token's position is a row: (T, D).": lambda x: (
            x + _table(*x.shape[1:]).T
        ),
        "There are only D/2 entries. Every angle has a sine and a cosine.": lambda x: (
            x + x.new_zeros(x.shape[1], x.shape[2] // 2)
        ),
        "There are 2D entries: i counts pairs of entries, so there are D/2 angles, torch.arange(0, D, 2).": (
            lambda x: x + x.new_zeros(x.shape[1], x.shape[2] * 2)
        ),
        "There are D positions: x.shape[-1] is D. The tokens are counted by x.shape[1].": lambda x: (
            x + x.new_zeros(x.shape[2], x.shape[2])
        ),
        **{
            f"All {length} positions of the table are added. Take the first T: table[: x.shape[1]].": (
                lambda x, length=length: x + x.new_zeros(length, x.shape[2])
            )
            for length in (1000, 5000)
        },
        "[0::2] takes every other row, that is, token. Entries are the last axis: [:, 0::2].": lambda x: (
            x.new_zeros(x.shape[1:]).__setitem__(slice(0, None, 2), x.new_zeros(x.shape[1], x.shape[2] // 2))
        ),
        "stack(..., -1) leaves pairs of a sine and a cosine, (T, D/2, 2). flatten(1) lays them in one row, "
        "(T, D).": lambda x: x + x.new_zeros(x.shape[1], x.shape[2] // 2, 2),
        "t and i lie along the same axis, and T isn't D/2. Make t a column, torch.arange(T)[:, None], so "
        "that each position meets each wavelength.": lambda x: (
            torch.arange(x.shape[1]) / torch.arange(x.shape[2] // 2)
        ),
        "math.sin and math.cos take one number. torch.sin and torch.cos take a whole tensor.": lambda x: (
            _call(float, x.detach())
        ),
        **{
            f"torch.{name} takes a tensor, and this is a plain number, {kind.__name__}. math.{name} takes "
            "numbers.": lambda x, name=name, kind=kind: _call(getattr(torch, name), kind(1))
            for name, kind in (("sin", float), ("exp", float), ("log", float), ("log", int))
        },
    },
    hints=(
        "Which positions are there? T of them, x.shape[1], the same for all sequences of the batch: a table "
        "(T, D).",
        "angles = torch.arange(T)[:, None] / 10000 ** (torch.arange(0, D, 2) / D) is (T, D/2): here "
        "torch.arange(0, D, 2) is 2i.",
        "Make P = torch.zeros(T, D), and set P[:, 0::2] = angles.sin() and P[:, 1::2] = angles.cos(). "
        "x + P does the same for each sequence.",
    ),
    look="Look at what was added, result - x. It is the same for every b. By hand: at position 0 it is 0, 1, "
    "0, 1, ..., and at position 1 sin(1), cos(1), sin(1 / 10000^(2/D)), cos(1 / 10000^(2/D)), and so on.",
)


# ------------------------------------------------------------------------------------- one more token


def _cached_step(
    x: Tensor, k_cache: Tensor, v_cache: Tensor, W_Q: Tensor, W_K: Tensor, W_V: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """x (B, D) is the newest token; k_cache, v_cache (B, t, K) are those of the tokens before

    W_Q, W_K, W_V are matrices (D, K), used as x @ W_Q
    -> context (B, K), k (B, t + 1, K), v (B, t + 1, K)
    """
    q = x @ W_Q  # (B, K)
    k = torch.cat([k_cache, (x @ W_K)[:, None]], 1)
    v = torch.cat([v_cache, (x @ W_V)[:, None]], 1)
    scores = q[:, None] @ k.mT / k.shape[-1] ** 0.5  # (B, 1, t + 1)
    return (scores.softmax(-1) @ v)[:, 0], k, v


def _generated(g: Generator, *, B: int, t: int, D: int, K: int) -> tuple[Tensor, ...]:
    x, k_cache, v_cache = (torch.randn(*shape, generator=g) for shape in ((B, D), (B, t, K), (B, t, K)))
    return x, k_cache, v_cache, *(2 * torch.randn(D, K, generator=g) / D**0.5 for _ in range(3))


def _cached_observed(result: Any, args: tuple[Any, ...]) -> Any:
    """By name, the caches first: where they are wrong, so is the context."""
    if not isinstance(result, (tuple, list)) or len(result) != 3:
        return result
    context, k, v = result
    return {"the tensor k": k, "the tensor v": v, "the context": context}


def _appended(cache: Tensor, new: Tensor) -> Tensor:
    return torch.cat([cache, new[:, None]], 1)


def _looked(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: Function = lambda k: k.shape[-1] ** 0.5,
    weigh: Function = lambda scores: scores.softmax(-1),
) -> Tensor:
    """The context, from one query for each sequence."""
    return (weigh(q[:, None] @ k.mT / scale(k)) @ v)[:, 0]


def _step_with(
    project: Function = lambda x, W_Q, W_K, W_V: (x @ W_Q, x @ W_K, x @ W_V),
    extend: Function = lambda k_cache, v_cache, k, v: (_appended(k_cache, k), _appended(v_cache, v)),
    look: Function = _looked,
    *,
    give: Function = lambda context, k, v: (context, k, v),
) -> Function:
    """A step with one of its rules changed."""

    def function(x: Tensor, k_cache: Tensor, v_cache: Tensor, W_Q: Tensor, W_K: Tensor, W_V: Tensor) -> Any:
        q, new_k, new_v = project(x, W_Q, W_K, W_V)
        k, v = extend(k_cache, v_cache, new_k, new_v)
        return give(look(q, k, v), k, v)

    return function


def _extended(both: Function) -> Function:
    """A step that extends each cache in its own way."""
    return _step_with(extend=lambda k_cache, v_cache, k, v: (both(k_cache, k), both(v_cache, v)))


def _scaled(scale: Function) -> Function:
    return _step_with(look=partial(_looked, scale=scale))


def _after(rule: Function) -> Function:
    """The right step, and something done with what it gives and the old caches."""

    def function(*args: Tensor) -> Any:
        return rule(*_cached_step(*args), *args[1:3])

    return function


cached_step = Exercise(
    reference=_cached_step,
    inputs=(
        partial(_generated, B=2, t=3, D=5, K=5),
        partial(_generated, B=3, t=7, D=11, K=5),
        partial(_generated, B=5, t=0, D=3, K=2),  # the first token finds the caches empty
    ),
    observe=_cached_observed,
    mistakes={
        # the caches
        "The query looks at the tokens before, but not at the newest one. A token attends to itself too: put "
        "its key and its value into the caches first, and look then.": _step_with(
            look=lambda q, k, v: _looked(q, k[:, :-1], v[:, :-1])
        ),
        "The context is right, but the caches come back as they were. The next step needs them with the "
        "newest token: return context, k, v.": _after(
            lambda context, k, v, k_cache, v_cache: (context, k_cache, v_cache)
        ),
        "The newest token isn't put into the caches: they come back as they were, and the query looks only "
        "at the tokens before.": _step_with(extend=lambda k_cache, v_cache, k, v: (k_cache, v_cache)),
        "The context is right, but only the newest key and value come back, (B, 1, K). All of them are asked "
        "for, (B, t + 1, K).": _after(
            lambda context, k, v, k_cache, v_cache: (context, k[:, -1:], v[:, -1:])
        ),
        "The context is right, but only the newest key and value come back, (B, K). All of them are asked "
        "for, (B, t + 1, K).": _after(lambda context, k, v, k_cache, v_cache: (context, k[:, -1], v[:, -1])),
        "The newest token stands in front of the others. The context is the same, but the caches are to be "
        "in the order of time: torch.cat([k_cache, ...], 1).": _extended(
            lambda cache, new: torch.cat([new[:, None], cache], 1)
        ),
        "The newest token takes the place of the last one in the cache. It comes after it, so that there are "
        "t + 1.": _extended(lambda cache, new: _appended(cache[:, :-1], new)),
        "The newest key and value are added to those in the caches. torch.cat([cache, new], 1) puts them "
        "behind the others.": _extended(lambda cache, new: cache + new[:, None]),
        "The caches have changed places: keys are appended to k_cache, and values to v_cache.": _step_with(
            extend=lambda k_cache, v_cache, k, v: (_appended(v_cache, k), _appended(k_cache, v))
        ),
        "The newest key, x @ W_K, is put into both caches. v_cache gets the value, x @ W_V.": _step_with(
            extend=lambda k_cache, v_cache, k, v: (_appended(k_cache, k), _appended(v_cache, k))
        ),
        "v is made of k_cache: it is torch.cat([v_cache, ...], 1).": _step_with(
            extend=lambda k_cache, v_cache, k, v: (_appended(k_cache, k), _appended(k_cache, v))
        ),
        # the projections
        "W_K and W_V have changed places: the key is x @ W_K, and the value x @ W_V.": _step_with(
            lambda x, W_Q, W_K, W_V: (x @ W_Q, x @ W_V, x @ W_K)
        ),
        "x itself is put into both caches. What is kept of a token are its key, x @ W_K, and its value, "
        "x @ W_V.": _step_with(lambda x, W_Q, W_K, W_V: (x @ W_Q, x, x)),
        "x itself is put into the cache of keys. A key is x @ W_K.": _step_with(
            lambda x, W_Q, W_K, W_V: (x @ W_Q, x, x @ W_V)
        ),
        "x itself looks. The query is x @ W_Q.": _step_with(lambda x, W_Q, W_K, W_V: (x, x @ W_K, x @ W_V)),
        "W_Q makes the key as well. The key has its own matrix: x @ W_K.": _step_with(
            lambda x, W_Q, W_K, W_V: (x @ W_Q, x @ W_Q, x @ W_V)
        ),
        "The matrices are transposed. Here rows are vectors: x @ W_Q. F.linear and nn.Linear transpose their "
        "matrix, @ doesn't.": _step_with(lambda x, W_Q, W_K, W_V: (x @ W_Q.T, x @ W_K.T, x @ W_V.T)),
        "The caches are multiplied with W_K and W_V again. They hold keys and values already: only x is "
        "multiplied. That is what a cache saves.": lambda x, k_cache, v_cache, W_Q, W_K, W_V: (
            _looked(x @ W_Q, _appended(k_cache, x) @ W_K, _appended(v_cache, x) @ W_V),
            _appended(k_cache, x) @ W_K,
            _appended(v_cache, x) @ W_V,
        ),
        # the scale
        "The scores aren't divided by sqrt(K).": _scaled(lambda k: 1),
        "The scores are divided by K. It is its root, sqrt(K).": _scaled(lambda k: k.shape[-1]),
        "The scores are divided by sqrt(t + 1), the root of how many keys there are. It is their length that "
        "counts: sqrt(K), k.shape[-1] ** 0.5.": _scaled(lambda k: k.shape[1] ** 0.5),
        "The scores are divided by sqrt(B), the root of the size of the batch. It is sqrt(K), "
        "k.shape[-1] ** 0.5.": _scaled(lambda k: len(k) ** 0.5),
        "The scores are divided by sqrt(D). A score adds up K products, and is divided by sqrt(K).": (
            lambda x, *rest: _scaled(lambda k: x.shape[1] ** 0.5)(x, *rest)
        ),
        # weights and context
        "The query sees only the newest token, so the context is that token's value. It looks at all keys, "
        "those in the cache too.": _step_with(look=lambda q, k, v: v[:, -1]),
        "The context is the value of the first token, as after a causal mask that takes the one query for "
        "the first. No mask is needed: all tokens in the cache are in the past.": _step_with(
            look=lambda q, k, v: v[:, 0]
        ),
        "All weights are 1: the softmax runs over an axis of size 1, that of the one query. It runs over "
        "the t + 1 keys, the last axis of the scores.": _step_with(
            look=partial(_looked, weigh=torch.ones_like)
        ),
        "The softmax runs over axis 0, the batch. It runs over the t + 1 keys, the last axis of the "
        "scores.": (_step_with(look=partial(_looked, weigh=lambda scores: scores.softmax(0)))),
        "The softmax is missing: the weights are the scores themselves.": _step_with(
            look=partial(_looked, weigh=lambda scores: scores)
        ),
        "The context is made of the keys. It is the weighted sum of the values: weights @ v.": _step_with(
            look=lambda q, k, v: _looked(q, k, k)
        ),
        "The query meets the values. It meets the keys; the values are only added up.": _step_with(
            look=lambda q, k, v: _looked(q, v, v)
        ),
        "The context has shape (B, B, K): q @ k.mT takes q, (B, K), for one table of B queries, and each "
        "sequence is asked by those of all others. q[:, None] is (B, 1, K), one query for each.": _step_with(
            look=lambda q, k, v: (q @ k.mT / k.shape[-1] ** 0.5).softmax(-1) @ v
        ),
        "The context has shape (B, B, K): weights @ v takes the weights, (B, t + 1), for one matrix. Each "
        "sequence has its own: weights[:, None] @ v, (B, 1, t + 1) @ (B, t + 1, K), then [:, 0].": _step_with(
            look=lambda q, k, v: (torch.einsum("bk,btk->bt", q, k) / k.shape[-1] ** 0.5).softmax(-1) @ v
        ),
        "Every sequence is asked by the query of the first one: q @ k.mT takes q, (B, K), for one table of B "
        "queries. q[:, None] is (B, 1, K), one query for each sequence.": _step_with(
            look=lambda q, k, v: _looked(q[:1].expand(q.shape), k, v)
        ),
        # what is returned
        "The context still has the axis of the one query, (B, 1, K). Take it off: context[:, 0].": _after(
            lambda context, k, v, *old: (context[:, None], k, v)
        ),
        "The context still has an axis of size 1, (B, K, 1). Take it off: context[..., 0].": _after(
            lambda context, k, v, *old: (context[..., None], k, v)
        ),
        "squeeze() takes off every axis of size 1, that of time with an empty cache, too. Only the context "
        "has one to take off: context[:, 0].": _after(
            lambda context, k, v, *old: (context, k.squeeze(), v.squeeze())
        ),
        "Only the context comes back. The next step needs k and v: return context, k, v.": _after(
            lambda context, k, v, *old: context
        ),
        "k and v have changed places in what is returned: return context, k, v.": _after(
            lambda context, k, v, *old: (context, v, k)
        ),
        "The context comes first: return context, k, v.": _after(lambda context, k, v, *old: (k, v, context)),
        "k and v come back as a pair inside of the pair. Three tensors are asked for: return context, k, "
        "v.": _after(lambda context, k, v, *old: (context, (k, v))),
        # exceptions
        "A token's key is (B, K), and the cache has an axis of time, (B, t, K). Give the key one of size 1: "
        "torch.cat([k_cache, (x @ W_K)[:, None]], 1).": lambda x, k_cache, v_cache, W_Q, W_K, W_V: torch.cat(
            [k_cache, x @ W_K], 1
        ),
        "[..., None] and unsqueeze(-1) put the new axis last, (B, K, 1). Time is axis 1: [:, None].": (
            lambda x, k_cache, v_cache, W_Q, W_K, W_V: torch.cat([k_cache, (x @ W_K)[..., None]], 1)
        ),
        "[None] and unsqueeze(0) put the new axis in front, (1, B, K). Time is axis 1: [:, None].": (
            lambda x, k_cache, v_cache, W_Q, W_K, W_V: torch.cat([k_cache, (x @ W_K)[None]], 1)
        ),
        **{
            f"They are joined along {axis}. Time is axis 1: torch.cat([k_cache, (x @ W_K)[:, None]], 1).": (
                lambda x, k_cache, v_cache, W_Q, W_K, W_V, place=place: torch.cat(
                    [k_cache, (x @ W_K)[:, None]], place
                )
            )
            for axis, place in {"axis 0, the batch": 0, "the last axis": 2}.items()
        },
        **{
            "torch.stack puts tensors of the same shape on a new axis. torch.cat joins them along one that "
            f"is there: torch.cat([k_cache, (x @ W_K)[:, None]], 1).{rest}": (
                lambda x, k_cache, v_cache, W_Q, W_K, W_V, new=new: torch.stack([k_cache, new(x @ W_K)], 1)
            )
            for rest, new in {
                "": lambda k: k[:, None],
                " (The key needs an axis of time.)": torch.clone,
            }.items()
        },
        "torch.cat takes its tensors in a list: torch.cat([k_cache, (x @ W_K)[:, None]], 1).": (
            lambda x, k_cache, v_cache, W_Q, W_K, W_V: _call(torch.cat, k_cache, (x @ W_K)[:, None])
        ),
        "The cache is a tensor, and has no append. torch.cat([k_cache, (x @ W_K)[:, None]], 1) makes a "
        "longer one.": lambda x, k_cache, v_cache, W_Q, W_K, W_V: k_cache.append(x),
        "W_Q, W_K and W_V are plain matrices here, not nn.Linear: x @ W_Q, x @ W_K, x @ W_V.": (
            lambda x, k_cache, v_cache, W_Q, W_K, W_V: W_K(x)
        ),
        "torch.sqrt takes a tensor, and a size is a plain number: math.sqrt(K), or K ** 0.5.": _scaled(
            lambda k: _call(torch.sqrt, k.shape[-1])
        ),
        "The matrix stands on the left of the vectors. Here they are rows: x @ W_Q.": (
            lambda x, k_cache, v_cache, W_Q, W_K, W_V: W_Q @ x
        ),
        "The keys aren't transposed. q[:, None], (B, 1, K), is one query for each sequence, and "
        "q[:, None] @ k.mT its product with each key, (B, 1, t + 1).": _step_with(
            look=lambda q, k, v: q @ k  # q[:, None] @ k raises the same
        ),
        "k @ q takes q, (B, K), for one matrix. A query for each sequence is q[:, None], (B, 1, K): "
        "q[:, None] @ k.mT, or k @ q[..., None].": _step_with(look=lambda q, k, v: k @ q),
        "q * k lays the B queries along time. Each sequence has its own query: (q[:, None] * k).sum(-1), or "
        "q[:, None] @ k.mT.": _step_with(look=lambda q, k, v: q * k),
        "weights * v lays the weights, (B, t + 1), along K. Each value has one weight: "
        "(weights[..., None] * v).sum(1), or weights[:, None] @ v.": _step_with(
            look=lambda q, k, v: k[..., 0] * v
        ),
        "There is a key more than there are values: v_cache has to get the newest value too, as k_cache got "
        "the newest key.": _step_with(extend=lambda k_cache, v_cache, k, v: (_appended(k_cache, k), v_cache)),
        "k.T turns round all three axes, the batch too. k.mT (or k.transpose(1, 2)) swaps the last two.": (
            _step_with(look=lambda q, k, v: q[:, None] @ k.permute(2, 1, 0))
        ),
    },
    hints=(
        "Make q, k and v of the newest token: x @ W_Q and so on, (B, K). Which of the three will later steps "
        "need again?",
        "torch.cat([k_cache, (x @ W_K)[:, None]], 1) is the cache with the newest token, (B, t + 1, K). "
        "Likewise for v. The token attends to itself too, so this comes first.",
        "q[:, None] @ k.mT / K ** 0.5 are the scores of the one query, (B, 1, t + 1). Softmax, @ v, and "
        "[:, 0] takes off the axis of the query.",
    ),
    look="Look at k and v first, items 1 and 2 of the result: k[:, :-1] is k_cache, k[:, -1] is x @ W_K, and "
    "likewise for v. Then the context, item 0: one query, x @ W_Q, attends to all t + 1 tokens. Return "
    "context, k, v.",
)
