"""Exercises of the chapter on attention.

Dimensions: B batch, T target time (queries), S source time (keys and values), H hidden (a key), D a value, A
additive scores. Batch first. Masks: True may attend.

The first kind of input of some exercises has equal sizes where nothing should depend on it: there a wrong
axis doesn't raise, and the numbers tell which one it is.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor

from seqlib.checks.exercise import Exercise, Function
from seqlib.checks.looking import NO_OPPOSITE, OVERWRITTEN, PAIR, RETURNED, normal, observed


def _softmax(scores: Tensor) -> Tensor:
    return scores.softmax(-1)


# -------------------------------------------------------------------------------------- one query


def _dot_product_attention(q: Tensor, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """One query q (H,), keys K (S, H), values V (S, D) -> the context (D,) and the weights (S,)"""
    scores = K @ q  # (S,): one for each key
    weights = torch.softmax(scores, -1)
    return weights @ V, weights


def _memory(g: Generator, *, S: int, H: int, D: int) -> tuple[Tensor, Tensor, Tensor]:
    return normal(g, H), normal(g, S, H), normal(g, S, D)


def _dot_with(
    score: Function = lambda q, K, V: K @ q,
    *,
    weigh: Function = _softmax,
    read: Function = lambda weights, V, K, scores: weights @ V,
    give: Function = lambda context, weights: (context, weights),
) -> Function:
    """Attention with one of its rules changed."""

    def function(q: Tensor, K: Tensor, V: Tensor) -> Any:
        scores = score(q, K, V)
        weights = weigh(scores)
        return give(read(weights, V, K, scores), weights)

    return function


def _normalised(a: Tensor) -> Tensor:
    return a / a.norm(dim=-1, keepdim=True)


dot_product_attention = Exercise(
    reference=_dot_product_attention,
    inputs=(
        partial(_memory, S=5, H=5, D=5),
        partial(_memory, S=5, H=7, D=3),
    ),
    observe=partial(observed, _dot_product_attention, PAIR),
    mistakes={
        # scores
        "The scores are divided by sqrt(H). That is another score, the scaled dot product, and comes later; "
        "here it is the dot product as it is.": _dot_with(lambda q, K, V: K @ q / len(q) ** 0.5),
        "The scores are divided by H: they are means of the products. The dot product is their sum.": (
            _dot_with(lambda q, K, V: (K * q).mean(-1))
        ),
        "The scores are cosines: the lengths of the vectors have no effect. The dot product of q and a key "
        "is not divided by their lengths.": _dot_with(lambda q, K, V: _normalised(K) @ _normalised(q)),
        "q is compared with the values. It is compared with the keys, K; the values are only added up.": (
            _dot_with(lambda q, K, V: V @ q)
        ),
        "q meets the columns of K: q @ K. A key is a row, so it is K @ q, or q @ K.T.": _dot_with(
            lambda q, K, V: q @ K
        ),
        "q * K is summed over the keys, axis 0. A key is a row: sum over its H entries, (q * K).sum(1), or "
        "K @ q at once.": _dot_with(lambda q, K, V: (q * K).sum(0)),
        # weights
        "The softmax is missing: the weights are the scores themselves. They are to be positive, and to add "
        "up to 1.": _dot_with(weigh=lambda scores: scores),
        "exp is there, but the weights don't add up to 1: divide by the sum of all of them.": _dot_with(
            weigh=torch.exp
        ),
        "exp is divided by the largest of them, so that the largest weight is 1. All weights together are to "
        "add up to 1: divide by the sum.": _dot_with(weigh=lambda scores: (scores - scores.max()).exp()),
        "The scores are divided by their sum without exp. Some are negative, and their sum can be near 0: "
        "softmax takes exp first.": _dot_with(weigh=lambda scores: scores / scores.sum()),
        "All weights are 1. The softmax runs over H, or over an axis of size 1, as in scores of shape "
        "(S, 1). It has to run over the S scores.": _dot_with(weigh=torch.ones_like),
        "The softmax is taken before the sum over H, feature by feature. First the dot products, one number "
        "for each key, then the softmax.": _dot_with(
            lambda q, K, V: K * q, weigh=lambda products: products.softmax(0).sum(-1)
        ),
        "The largest score gets the whole weight (argmax). softmax gives every key some, and lets a gradient "
        "through.": _dot_with(weigh=lambda scores: (scores == scores.max()).to(scores.dtype)),
        "The weights are logarithms (log_softmax); softmax is asked for.": _dot_with(
            weigh=lambda scores: scores.log_softmax(-1)
        ),
        "The weights are sigmoids of the scores, each for itself. softmax makes them share what adds up to "
        "1.": _dot_with(weigh=torch.sigmoid),
        "The softmax is taken twice, so the weights are nearly equal. Once is enough.": _dot_with(
            weigh=lambda scores: scores.softmax(-1).softmax(-1)
        ),
        # context
        "The keys are added up instead of the values. Keys are for finding, values are what is read: "
        "weights @ V.": _dot_with(read=lambda weights, V, K, scores: weights @ K),
        "The weights are right, but the context is made with the scores: it is weights @ V.": _dot_with(
            read=lambda weights, V, K, scores: scores @ V
        ),
        "It is the mean of the weighted values. The weights add up to 1 already: take the sum.": _dot_with(
            read=lambda weights, V, K, scores: (weights[:, None] * V).mean(0)
        ),
        "The weighted values aren't added up, (S, D). Their sum over the S of them is the context, (D,).": (
            _dot_with(read=lambda weights, V, K, scores: weights[:, None] * V)
        ),
        "The weighted values are summed over D as well, to a single number. The context is a vector like the "
        "values: sum over S only.": _dot_with(
            read=lambda weights, V, K, scores: (weights[:, None] * V).sum()
        ),
        "The weighted values are summed over D, which gives a number for each of them. Sum over S, axis 0.": (
            _dot_with(read=lambda weights, V, K, scores: (weights[:, None] * V).sum(1))
        ),
        "The weights meet the columns of V: V @ weights. A value is a row, so it is weights @ V.": _dot_with(
            read=lambda weights, V, K, scores: V @ weights
        ),
        "weights * V multiplies the columns of V. Each row is to have its weight: weights[:, None] * V, or "
        "weights @ V at once.": _dot_with(read=lambda weights, V, K, scores: (weights * V).sum(0)),
        "weights * V multiplies the columns of V, and isn't added up. weights @ V gives each row its weight, "
        "and adds the rows up.": _dot_with(read=lambda weights, V, K, scores: weights * V),
        # what is returned
        **{message: _dot_with(give=give) for message, give in RETURNED.items()},
        "The scores come back beside the context. It is their softmax, the weights, that is asked for.": (
            lambda q, K, V: (_dot_product_attention(q, K, V)[0], K @ q)
        ),
        "Both results have an axis of size 1 in front, (1, D) and (1, S). Here is one query and no batch: "
        "(D,) and (S,).": _dot_with(give=lambda context, weights: (context[None], weights[None])),
        "The weights are a column, (S, 1). K @ q gives (S,), without an axis too many.": _dot_with(
            give=lambda context, weights: (context, weights[:, None])
        ),
        "The numbers are right, but the weights are cut off from the graph: no gradient reaches q and K, so "
        "nobody could learn where to look. detach, no_grad, item() and torch.tensor(...) cut it.": _dot_with(
            weigh=lambda scores: scores.softmax(-1).detach()
        ),
        OVERWRITTEN: _dot_with(weigh=lambda scores: scores.softmax(-1).mul_(1)),
        # exceptions
        "softmax has to be told its axis: softmax(-1), or dim=-1.": _dot_with(weigh=torch.softmax),
        "torch.dot takes two vectors, and one of these is a matrix: K @ q for the scores, weights @ V for "
        "the context.": _dot_with(lambda q, K, V: torch.dot(q, K)),
        "torch.dot takes two vectors, and the first of these is a matrix: K @ q for the scores, weights @ V "
        "for the context.": _dot_with(lambda q, K, V: torch.dot(K, q)),
    },
    hints=(
        "Score: how similar is q to each key? One dot product for each row of K makes (S,).",
        "Weigh: torch.softmax(scores, -1) makes positive numbers of them that add up to 1.",
        "Read: each value times its weight, added up. weights @ V does both, (S,) @ (S, D) -> (D,).",
    ),
    look="Compare step by step: scores = K @ q has shape (S,), weights = softmax(scores) adds up to 1, and "
    "the context weights @ V has shape (D,). Return context, weights.",
)


# -------------------------------------------------------------------------------- additive scores


def _additive_scores(q: Tensor, k: Tensor, W_q: Tensor, W_k: Tensor, v: Tensor) -> Tensor:
    """v . tanh(q W_q + k W_k) for each query with each key (Bahdanau et al., 2015)

    queries q (B, T, Q), keys k (B, S, K), W_q (Q, A), W_k (K, A), v (A,) -> (B, T, S)
    """
    a = (q @ W_q)[:, :, None] + (k @ W_k)[:, None]  # (B, T, 1, A) + (B, 1, S, A)
    return torch.tanh(a) @ v


def _additive_inputs(g: Generator, *, B: int, T: int, S: int, Q: int, K: int, A: int) -> tuple[Tensor, ...]:
    W_q, W_k = normal(g, Q, A) / Q**0.5, normal(g, K, A) / K**0.5  # tanh isn't saturated
    return normal(g, B, T, Q), normal(g, B, S, K), W_q, W_k, normal(g, A)


def _additive_with(
    combine: Function = lambda a, b: torch.tanh(a + b),
    finish: Function = lambda t, v: t @ v,
    *,
    parts: Function = lambda q, k, W_q, W_k: (q @ W_q, k @ W_k),
) -> Function:
    """The scores with one of their rules changed. a is the queries' part, b the keys'."""

    def function(q: Tensor, k: Tensor, W_q: Tensor, W_k: Tensor, v: Tensor) -> Any:
        a, b = parts(q, k, W_q, W_k)
        return finish(combine(a[:, :, None], b[:, None]), v)

    return function


def _additive_then(rule: Function) -> Function:
    """The right scores, and something done with them."""
    return lambda *args: rule(_additive_scores(*args))


additive_scores = Exercise(
    reference=_additive_scores,
    inputs=(
        partial(_additive_inputs, B=2, T=3, S=5, Q=7, K=7, A=7),
        partial(_additive_inputs, B=3, T=1, S=5, Q=7, K=11, A=13),  # one step of a decoder
    ),
    letters="B T S",
    gradient=True,
    mistakes={
        # the tanh
        "The tanh is missing. Without it q only adds the same number to the scores of all keys, which the "
        "softmax takes away again.": _additive_with(lambda a, b: a + b),
        "There are two tanhs, one for q's part and one for k's. Add first; one tanh belongs around the sum: "
        "apart they are as good as no tanh, since q then adds the same number to the scores of all keys.": (
            _additive_with(lambda a, b: torch.tanh(a) + torch.tanh(b))
        ),
        "The tanh is taken of q's part only; put the whole sum inside its parentheses.": _additive_with(
            lambda a, b: torch.tanh(a) + b
        ),
        "The tanh is taken of k's part only; put the whole sum inside its parentheses.": _additive_with(
            lambda a, b: a + torch.tanh(b)
        ),
        "The tanh comes after v. It comes before: v . tanh(q W_q + k W_k).": _additive_with(
            lambda a, b: a + b, lambda t, v: torch.tanh(t @ v)
        ),
        "The tanh is taken of q and k before the matrices. It belongs around the sum of the products: "
        "tanh(q W_q + k W_k).": _additive_with(
            lambda a, b: a + b, parts=lambda q, k, W_q, W_k: (torch.tanh(q) @ W_q, torch.tanh(k) @ W_k)
        ),
        "It squashes with a sigmoid; the score has a tanh.": _additive_with(
            lambda a, b: torch.sigmoid(a + b)
        ),
        # the sum
        "The two parts are multiplied. They are added, which gives the score its name.": _additive_with(
            lambda a, b: torch.tanh(a * b)
        ),
        "These are the dot products of q W_q with k W_k. That is another score; here the two are added: "
        "v . tanh(q W_q + k W_k).": _additive_with(lambda a, b: a * b, lambda t, v: t.sum(-1)),
        "The keys have no effect, so there is one score for each query, (B, T). Every query meets every key: "
        "(B, T, S).": lambda q, k, W_q, W_k, v: torch.tanh(q @ W_q) @ v,
        "The queries have no effect, so there is one score for each key, (B, S). Every query meets every "
        "key: (B, T, S).": lambda q, k, W_q, W_k, v: torch.tanh(k @ W_k) @ v,
        # v
        "v is missing: what the tanh gives is only summed over A. The sum has weights: tanh(...) @ v.": (
            _additive_with(finish=lambda t, v: t.sum(-1))
        ),
        "v is missing, so that the axis A is still there. tanh(...) @ v makes one number of it.": (
            _additive_with(finish=lambda t, v: t)
        ),
        "* v multiplies, and doesn't add up, so that the axis A is still there. @ v does both.": (
            _additive_with(finish=lambda t, v: t * v)
        ),
        "v stands inside of the tanh. It comes after it: v . tanh(q W_q + k W_k).": _additive_with(
            lambda a, b: a + b, lambda t, v: torch.tanh(t * v).sum(-1)
        ),
        # the matrices
        "W_q is used for the keys as well. They have their own matrix: k @ W_k.": _additive_with(
            parts=lambda q, k, W_q, W_k: (q @ W_q, k @ W_q)
        ),
        "W_k is used for the queries as well. They have their own matrix: q @ W_q.": _additive_with(
            parts=lambda q, k, W_q, W_k: (q @ W_k, k @ W_k)
        ),
        "The matrices have changed places: W_q goes with q, and W_k with k.": _additive_with(
            parts=lambda q, k, W_q, W_k: (q @ W_k, k @ W_q)
        ),
        "The matrices are transposed. Here rows are vectors: q @ W_q and k @ W_k. F.linear and nn.Linear "
        "transpose their matrix, @ doesn't.": _additive_with(
            parts=lambda q, k, W_q, W_k: (q @ W_q.T, k @ W_k.T)
        ),
        "W_q is transposed: it has shape (Q, A), so it is q @ W_q.": _additive_with(
            parts=lambda q, k, W_q, W_k: (q @ W_q.T, k @ W_k)
        ),
        "W_k is transposed: it has shape (K, A), so it is k @ W_k.": _additive_with(
            parts=lambda q, k, W_q, W_k: (q @ W_q, k @ W_k.T)
        ),
        # axes
        "Queries and keys have changed places in the result, (B, S, T). Each query has a row: "
        "(q @ W_q)[:, :, None] + (k @ W_k)[:, None].": _additive_then(lambda scores: scores.mT),
        "view and reshape to (B, T, S) cut the numbers anew, so that scores of different queries are mixed. "
        "transpose(1, 2) swaps the axes.": _additive_then(lambda scores: scores.mT.reshape(scores.shape)),
        "There is an axis of size 1 too many. @ v, with v as it is, (A,), leaves none; after @ v[:, None] or "
        "nn.Linear(A, 1) take [..., 0].": _additive_then(lambda scores: scores[..., None]),
        "squeeze() removes every axis of size 1, and where T = 1 that of the queries as well. Name the axis: "
        "squeeze(-1) or [..., 0].": _additive_then(torch.squeeze),
        # too much
        "The softmax is taken already. These are the scores; weights come after them.": _additive_then(
            lambda scores: scores.softmax(-1)
        ),
        # exceptions
        **{
            f"{both} lie along the same axis, where T isn't S: make room with (q @ W_q)[:, :, None] + "
            f"(k @ W_k)[:, None], so that every query meets every key. (Both lie along axis {axis}.)": rule
            for both, axis, rule in (
                ("Queries and keys", 1, lambda q, k, W_q, W_k, v: q @ W_q + k @ W_k),
                ("Keys and queries", 1, lambda q, k, W_q, W_k, v: k @ W_k + q @ W_q),
                ("Queries and keys", 2, lambda q, k, W_q, W_k, v: (q @ W_q)[:, None] + (k @ W_k)[:, None]),
                ("Keys and queries", 2, lambda q, k, W_q, W_k, v: (k @ W_k)[:, None] + (q @ W_q)[:, None]),
            )
        },
        "q[:, t] has lost its axis of time, (B, Q), and meets keys with one, (B, S, K). Give it one of size "
        "1: q[:, t : t + 1].": lambda q, k, W_q, W_k, v: q[:, 0] @ W_q + k @ W_k,
        "q and k can't be joined side by side, since T isn't S. Every query meets every key: multiply each "
        "with its matrix first, and add (B, T, 1, A) and (B, 1, S, A).": lambda q, k, W_q, W_k, v: torch.cat(
            [q, k], -1
        ),
        "v stands on the left of @, where the last axis but one would have to be A. It is tanh(...) @ v.": (
            lambda q, k, W_q, W_k, v: v @ torch.tanh((q @ W_q)[:, :, None] + (k @ W_k)[:, None])
        ),
        "dot takes two vectors, and tanh(...) has more axes than one. @ v goes over the last of them: "
        "tanh(...) @ v.": _additive_with(finish=torch.dot),
        "v.dot takes one vector, and tanh(...) has more axes than one. @ v goes over the last of them: "
        "tanh(...) @ v.": _additive_with(finish=lambda t, v: v.dot(t)),
        "The matrix stands on the left of the vectors. Here they are rows: q @ W_q and k @ W_k.": (
            _additive_with(parts=lambda q, k, W_q, W_k: (W_q @ q, W_k @ k))
        ),
    },
    hints=(
        "Make q @ W_q (B, T, A) and k @ W_k (B, S, A) first. Now every query has to meet every key.",
        "[:, :, None] makes (B, T, 1, A) of the queries, and [:, None] makes (B, 1, S, A) of the keys. Added "
        "up, they spread to (B, T, S, A).",
        "The tanh comes around that sum, and @ v makes one number of the last axis.",
    ),
    look="Compare with one score made by hand: scores[0, 0, 0] is v @ torch.tanh(q[0, 0] @ W_q + "
    "k[0, 0] @ W_k). The second index counts queries, the third keys.",
)


# --------------------------------------------------------------------------------- masked softmax


def _masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over S among what may be attended: scores (B, T, S), mask (B, T, S) bool -> (B, T, S)

    Where the mask is False, the weight is exactly 0. A row in which nothing may be attended is all zeros.
    """
    lowest = torch.finfo(scores.dtype).min  # not -inf: a whole row of that has no softmax
    return scores.masked_fill(~mask, lowest).softmax(-1).masked_fill(~mask, 0.0)


def _masked_inputs(g: Generator, *, B: int, T: int, S: int, level: float) -> tuple[Tensor, Tensor]:
    mask = torch.rand(B, T, S, generator=g) < 0.6
    mask[torch.arange(T) % B, torch.arange(T)] = True  # some queries may attend to everything,
    mask[-1, -1] = False  # and one to nothing
    return normal(g, B, T, S) + level, mask


_LOWEST = torch.finfo(torch.float32).min


def _masked_observed(result: Any, args: tuple[Any, ...]) -> Any:
    if not isinstance(result, Tensor):
        return result
    seen: dict[str, Any] = observed(_masked_softmax, ("the result",), result, args)
    return seen | {"whether a weight is exactly 0 (1 means yes)": result == 0}


def _filled(fill: float | int, axis: int = -1) -> Function:
    return lambda scores, mask: scores.masked_fill(~mask, fill).softmax(axis)


# What becomes of a row in which everything is masked, in ways to go on after another mistake.
_EMPTY: Mapping[str, Function] = {
    "": _masked_softmax,
    " And where all is masked, it is nan.": _filled(-torch.inf),
    " And where all is masked, the weights are equal.": _filled(_LOWEST),
}


def _renormalised(weights: Tensor) -> Tensor:
    return weights / (weights.sum(-1, keepdim=True) + 1e-5)


masked_softmax = Exercise(
    reference=_masked_softmax,
    inputs=(
        partial(_masked_inputs, B=3, T=5, S=7, level=0.0),
        partial(_masked_inputs, B=2, T=3, S=5, level=-3.0),  # far below what some would fill in
    ),
    observe=_masked_observed,
    letters="B T S",
    gradient=True,
    mistakes={
        # where the mask is applied
        "The mask comes after the softmax, so the rows don't add up to 1: what is masked took its share "
        "before it was removed. Mask the scores, and take the softmax then.": lambda scores, mask: (
            scores.softmax(-1) * mask
        ),
        "The mask has no effect.": lambda scores, mask: scores.softmax(-1),
        # what a row without anything gets
        "A row with nothing to attend to is nan: in softmax it is 0 / 0, since nothing but -inf is in it, or "
        "nothing but zeros after exp. It is to be all zeros: fill with torch.finfo(scores.dtype).min, and "
        "set to 0 afterwards.": _filled(-torch.inf),
        "A row with nothing to attend to gets equal weights: all its scores were filled with the same "
        "number. It is to be all zeros: masked_fill(~mask, 0.0) after the softmax too.": _filled(_LOWEST),
        "The numbers are right, but the gradient is nan. Where all is masked, 0 / 0 was computed, and to "
        "replace the nan in the result leaves it in the gradient. Let no nan arise: fill with "
        "torch.finfo(scores.dtype).min, and set to 0 afterwards.": lambda scores, mask: (
            (scores + mask.log()).softmax(-1).nan_to_num()
        ),
        # which entries
        **{
            "The mask is inverted. masked_fill fills where its mask is True, and here True means may attend: "
            f"masked_fill(~mask, ...).{rest}": lambda scores, mask, rule=rule: rule(scores, ~mask)
            for rest, rule in _EMPTY.items()
        },
        "The mask is inverted, and comes after the softmax. Fill the scores where the mask is False, and "
        "take the softmax then.": lambda scores, mask: scores.softmax(-1).masked_fill(mask, 0.0),
        "The scores are filled where the mask is True, and the weights set to 0 where it is False, so nearly "
        "nothing is left. Both belong to ~mask.": lambda scores, mask: (
            scores.masked_fill(mask, _LOWEST).softmax(-1).masked_fill(~mask, 0.0)
        ),
        **{
            "The weights are set to 0 where the mask is True, which leaves nothing of them. Both fillings "
            f"belong to ~mask: .masked_fill(~mask, 0.0) after the softmax.{rest}": (
                lambda scores, mask, rule=rule: rule(scores, mask).masked_fill(mask, 0.0)
            )
            for rest, rule in _EMPTY.items()
            if rest
        },
        # what is filled in
        "The scores that are masked become 0, by a product with the mask or as a filling, and 0 is a score "
        "like others: e^0 = 1. Fill with the lowest number, torch.finfo(scores.dtype).min (tiny and eps are "
        "nearly 0).": lambda scores, mask: (scores * mask).softmax(-1),
        "The scores that are masked become 0, which is a score like others (e^0 = 1), and their weights are "
        "removed after the softmax, so the rows don't add up to 1. Fill with the lowest number: "
        "torch.finfo(scores.dtype).min.": lambda scores, mask: (scores * mask).softmax(-1) * mask,
        **{
            f"The scores that are masked become {fill}, which isn't low enough: they get weight, the more "
            "the lower the other scores are. Fill with torch.finfo(scores.dtype).min.": _filled(fill)
            for fill in (-1, -10)
        },
        "The scores that are masked become -10 or so, which isn't low enough: they take a share before it is "
        "set to 0. The rows don't add up to 1. Fill with torch.finfo(scores.dtype).min.": (
            lambda scores, mask: _filled(-10)(scores, mask) * mask
        ),
        "What is masked gets a tiny weight, and is to get exactly 0. Fill with "
        "torch.finfo(scores.dtype).min.": lambda scores, mask: (
            _filled(-20)(scores, mask) * mask.any(-1, keepdim=True)
        ),
        "What is masked gets a tiny weight, and is to get exactly 0; and a row with nothing to attend to "
        "gets equal weights. Fill with torch.finfo(scores.dtype).min, and set to 0 after the softmax too.": (
            _filled(-30)
        ),
        "The scores are filled with a large positive number, so what is masked gets the whole weight. A "
        "minus is missing.": _filled(1e9),
        "The scores are filled with plus infinity, whose softmax is nan. A minus is missing.": _filled(
            torch.inf
        ),
        "The mask is added to the scores as 0 and 1, so what may be attended only counts e times as much. "
        "Fill the others with a very low number.": lambda scores, mask: (scores + mask.float()).softmax(-1),
        "All is nan: 0 * inf is nan, so infinity can't be multiplied with a mask. masked_fill or torch.where "
        "put it in.": lambda scores, mask: scores + torch.nan,
        # weights
        "exp is there, but the rows don't add up to 1: divide by the sum over S.": lambda scores, mask: (
            scores.exp() * mask
        ),
        "The weights are logarithms (log_softmax); softmax is asked for.": lambda scores, mask: (
            scores.masked_fill(~mask, -torch.inf).log_softmax(-1)
        ),
        "There are two softmaxes, the first before the mask and the second after it. One is enough: of the "
        "scores once they are masked.": lambda scores, mask: (
            scores.softmax(-1).masked_fill(~mask, _LOWEST).softmax(-1).masked_fill(~mask, 0.0)
        ),
        "There are two softmaxes. To make the rows add up to 1 again, divide by their sum; a second softmax "
        "gives weight to what is masked. Better mask the scores, so that one is enough.": (
            lambda scores, mask: (scores.softmax(-1) * mask).softmax(-1)
        ),
        "The rows don't add up to 1, since 1e-5 is added to what the weights are divided by. "
        "Something like 1e-9 does no harm; masking the scores before the softmax needs none.": (
            lambda scores, mask: _renormalised(scores.softmax(-1) * mask)
        ),
        "The rows don't add up to 1, since 1e-5 is added to the sum of exp. Something like 1e-9 does "
        "no harm; torch.softmax of masked scores needs none.": lambda scores, mask: _renormalised(
            scores.exp() * mask
        ),
        # axes
        "The softmax runs over T, the queries. The weights of a query add up to 1 over S: softmax(-1).": (
            lambda scores, mask: _filled(_LOWEST, axis=1)(scores, mask).masked_fill(~mask, 0.0)
        ),
        "The softmax runs over axis 0, the batch, as F.softmax does without dim. The weights of a query add "
        "up to 1 over S: softmax(-1).": (
            lambda scores, mask: _filled(_LOWEST, axis=0)(scores, mask).masked_fill(~mask, 0.0)
        ),
        "One softmax is taken of all scores together, as after scores[mask]. Each query has its own: "
        "softmax(-1).": lambda scores, mask: (
            scores.masked_fill(~mask, _LOWEST).flatten().softmax(-1).view(scores.shape)
        ),
        "scores[mask] lays what is left in one long row, without the axes. Keep the shape: masked_fill or "
        "torch.where.": lambda scores, mask: scores[mask].softmax(-1),
        # the way back
        OVERWRITTEN: lambda scores, mask: (
            scores.masked_fill(~mask, _LOWEST).softmax(-1).masked_fill_(~mask, 0.0)
        ),
        # exceptions
        **{
            message: lambda scores, mask, rule=rule: rule(scores, mask)
            for message, rule in NO_OPPOSITE.items()
        },
        "A sum or any over the last axis has removed it, so that (B, T) meets (B, T, S). Keep it, with size "
        "1: keepdim=True.": lambda scores, mask: scores.softmax(-1) * mask.any(-1),
        "~ is for True and False, and the mask was made a float. Use it as it is: masked_fill(~mask, ...).": (
            lambda scores, mask: ~mask.float()
        ),
        "masked_fill wants a mask of True and False, and this one was made a float. Use it as it is: "
        "masked_fill(~mask, ...).": lambda scores, mask: scores.masked_fill(1 - mask.float(), -torch.inf),
    },
    hints=(
        "What has to happen before the softmax, so that a masked score gets no share?",
        "masked_fill(~mask, ...) puts a number where the mask is False. Which number has e^x = 0?",
        "-inf would do, but a row with nothing else has no softmax. torch.finfo(scores.dtype).min is the "
        "lowest number, and after the softmax masked_fill(~mask, 0.0) clears what is left.",
    ),
    look="Compare a row with softmax of what is left of it: weights[0, 1][mask[0, 1]] should be "
    "torch.softmax(scores[0, 1][mask[0, 1]], -1), and the rest of the row 0.",
)


# ----------------------------------------------------------------------------------------- a batch


def _attend(scores: Tensor, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """From scores to contexts: scores (B, T, S), values (B, S, D), mask (B, S) bool, True = no padding

    -> the contexts (B, T, D) and the weights (B, T, S). Every sequence has a token.
    """
    weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1)  # the same mask for all queries
    return weights @ values, weights


def _padded_batch(
    g: Generator, *, B: int, T: int, S: int, D: int, level: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Sequences of different lengths, the last of which needs no padding."""
    lengths = torch.cat([1 + torch.randperm(S - 1, generator=g)[: B - 1], torch.tensor([S])])  # (B,)
    return normal(g, B, T, S) + level, normal(g, B, S, D), torch.arange(S) < lengths[:, None]


def _attend_with(
    masked: Function = lambda scores, mask: scores.masked_fill(~mask[:, None], -torch.inf),
    *,
    weigh: Function = lambda scores, mask: scores.softmax(-1),
    read: Function = lambda weights, values, mask: weights @ values,
    give: Function = lambda context, weights: (context, weights),
) -> Function:
    """Attention with one of its rules changed. The mask is (B, S) everywhere."""

    def function(scores: Tensor, values: Tensor, mask: Tensor) -> Any:
        weights = weigh(masked(scores, mask), mask)
        return give(read(weights, values, mask), weights)

    return function


def _unmasked(scores: Tensor, mask: Tensor) -> Tensor:
    return scores


_FILLINGS: Mapping[str, float] = {"-torch.inf": -torch.inf, "-1e9": -1e9}


attend = Exercise(
    reference=_attend,
    inputs=(
        partial(_padded_batch, B=5, T=5, S=5, D=5),
        partial(_padded_batch, B=3, T=1, S=5, D=7, level=-3.0),  # one step of a decoder
    ),
    observe=partial(observed, _attend, PAIR),
    mistakes={
        # where the mask is applied
        "The mask has no effect: padding gets weight too.": _attend_with(_unmasked),
        "The mask comes after the softmax, so the rows don't add up to 1: padding took its share before it "
        "was removed. Mask the scores, and take the softmax then.": _attend_with(
            _unmasked, weigh=lambda scores, mask: scores.softmax(-1) * mask[:, None]
        ),
        "The values of padding are set to 0, but padding still has its share of the weights. Mask the "
        "scores, before the softmax.": _attend_with(
            _unmasked, read=lambda weights, values, mask: weights @ (values * mask[..., None])
        ),
        "The context is right, but the weights that come back were made without the mask. Return those that "
        "the context was made with.": lambda scores, values, mask: (
            _attend(scores, values, mask)[0],
            scores.softmax(-1),
        ),
        # which entries
        **{
            "The mask is inverted. masked_fill fills where its mask is True, and here True means that a "
            f"token is present: masked_fill(~mask[:, None], {name}).": _attend_with(
                lambda scores, mask, fill=fill: scores.masked_fill(mask[:, None], fill)
            )
            for name, fill in _FILLINGS.items()
        },
        **{
            "The mask is laid over T, the queries. It is for the keys, the same for all queries, so it is "
            f"mask[:, None], (B, 1, S), and not mask[:, :, None]: masked_fill(~mask[:, None], {name}).": (
                _attend_with(lambda scores, mask, fill=fill: scores.masked_fill(~mask[:, :, None], fill))
            )
            for name, fill in _FILLINGS.items()
        },
        **{
            "The mask is laid over the queries as well as over the keys. It is for the keys alone, the same "
            f"for all queries: masked_fill(~mask[:, None], {name}).": _attend_with(
                lambda scores, mask, fill=fill: scores.masked_fill(~(mask[:, None] & mask[..., None]), fill)
            )
            for name, fill in _FILLINGS.items()
        },
        "The axis for the queries is missing in the mask. (B, S) meets (B, T, S) from the right, so that the "
        "mask of sequence 0 is taken for query 0 of every sequence. mask[:, None] is (B, 1, S).": (
            _attend_with(lambda scores, mask: scores.masked_fill(~mask, -torch.inf))
        ),
        "repeat(T, 1) lays the whole batch below itself, so that queries get masks of other sequences. "
        "mask[:, None] needs no repeat: it is there for all queries.": _attend_with(
            lambda scores, mask: scores.masked_fill(
                ~mask.repeat(scores.shape[1], 1).view(scores.shape), -torch.inf
            )
        ),
        # what is filled in
        "The scores of padding become 0, by a product with the mask or as a filling, and 0 is a score like "
        "others: e^0 = 1. Fill with -inf, or a very low number.": _attend_with(
            lambda scores, mask: scores * mask[:, None]
        ),
        "The scores of padding become 0, which is a score like others (e^0 = 1), and their weights are "
        "removed after the softmax, so the rows don't add up to 1. Fill the scores with -inf, or a very low "
        "number.": _attend_with(
            lambda scores, mask: scores * mask[:, None],
            weigh=lambda scores, mask: scores.softmax(-1) * mask[:, None],
        ),
        "The scores of padding become -10 or so, which isn't low enough: it still gets weight, the more the "
        "lower the other scores are. Fill with -inf, or a very low number.": _attend_with(
            lambda scores, mask: scores.masked_fill(~mask[:, None], -10)
        ),
        "The mask is added to the scores as 0 and 1, so what is present only counts e times as much. Fill "
        "the scores of padding with -inf, or a very low number.": _attend_with(
            lambda scores, mask: scores + mask[:, None].float()
        ),
        "All is nan: 0 * inf is nan, so infinity can't be multiplied with a mask. masked_fill or torch.where "
        "put it in.": _attend_with(lambda scores, mask: scores + torch.nan),
        "A filling of plus infinity makes nan, where a sequence has padding. A minus is missing.": (
            _attend_with(lambda scores, mask: scores.masked_fill(~mask[:, None], torch.inf))
        ),
        # weights
        **{
            f"The softmax is missing: the weights are the scores, with {name} for padding.": _attend_with(
                lambda scores, mask, fill=fill: scores.masked_fill(~mask[:, None], fill),
                weigh=lambda scores, mask: scores,
            )
            for name, fill in {"0": 0.0, "the lowest number": _LOWEST, **_FILLINGS}.items()
        },
        "exp is there, but the rows don't add up to 1: divide by the sum over S.": _attend_with(
            weigh=lambda scores, mask: scores.exp()
        ),
        "The softmax is taken twice. Once is enough, of the masked scores.": _attend_with(
            weigh=lambda scores, mask: scores.softmax(-1).softmax(-1)
        ),
        "The scores are divided by sqrt(D). They come ready made: mask them, and take the softmax.": (
            lambda scores, values, mask: _attend(scores / values.shape[-1] ** 0.5, values, mask)
        ),
        **{
            "The softmax runs over T, the queries. The weights of a query add up to 1 over S: softmax(-1). "
            f"(The column of a padding token is masked as a whole, so {what}.)": _attend_with(
                lambda scores, mask, fill=fill: scores.masked_fill(~mask[:, None], fill),
                weigh=lambda scores, mask: scores.softmax(1),
            )
            for what, fill in {"it is nan": -torch.inf, "its weights are equal": -1e9}.items()
        },
        "The softmax runs over axis 0, the batch, as F.softmax does without dim. The weights of a query add "
        "up to 1 over S: softmax(-1).": _attend_with(weigh=lambda scores, mask: scores.softmax(0)),
        # context
        "The values are transposed. A value is a row, as it should be: weights @ values, (T, S) @ (S, D).": (
            _attend_with(read=lambda weights, values, mask: weights @ values.mT)
        ),
        "The weights are transposed in the product, so that the sum runs over the queries. It runs over S, "
        "the values: weights @ values, (T, S) @ (S, D).": _attend_with(
            read=lambda weights, values, mask: torch.einsum("bts,btd->bsd", weights, values)
        ),
        "values @ weights adds up columns of the values. A value is a row: weights @ values, (T, S) @ "
        "(S, D).": _attend_with(read=lambda weights, values, mask: values @ weights),
        "weights * values multiplies entry by entry. @ gives each value its weight, and adds up: weights @ "
        "values, (T, S) @ (S, D).": _attend_with(read=lambda weights, values, mask: weights * values),
        "The weighted values aren't added up, (B, T, S, D). Their sum over S is the context: weights @ "
        "values.": _attend_with(read=lambda weights, values, mask: weights[..., None] * values[:, None]),
        "It is the mean of the weighted values over S. The weights add up to 1 already: take the sum.": (
            _attend_with(read=lambda weights, values, mask: weights @ values / values.shape[1])
        ),
        "The context is the sum over all queries, (B, D). Each query has its own: (B, T, D).": _attend_with(
            read=lambda weights, values, mask: (weights @ values).sum(1)
        ),
        # what is returned
        **{message: _attend_with(give=give) for message, give in RETURNED.items()},
        "The scores come back beside the context. It is their softmax, the weights, that is asked for.": (
            lambda scores, values, mask: (_attend(scores, values, mask)[0], scores)
        ),
        "squeeze removes an axis of size 1, and where T = 1 that of the queries. The context keeps it: "
        "(B, T, D). Code that decodes step by step can do without; here is a batch.": _attend_with(
            give=lambda context, weights: (context.squeeze(1), weights)
        ),
        "squeeze removes an axis of size 1, and where T = 1 that of the queries. Both results keep it: "
        "(B, T, D) and (B, T, S).": _attend_with(
            give=lambda context, weights: (context.squeeze(1), weights.squeeze(1))
        ),
        "The numbers are right, but the weights are cut off from the graph: no gradient reaches the scores, "
        "so nobody could learn where to look. detach, no_grad, item() and torch.tensor(...) cut it.": (
            _attend_with(weigh=lambda scores, mask: scores.softmax(-1).detach())
        ),
        OVERWRITTEN: _attend_with(weigh=lambda scores, mask: scores.softmax(-1).mul_(mask[:, None])),
        # exceptions
        **{
            message: lambda scores, values, mask, rule=rule: rule(scores, mask)
            for message, rule in NO_OPPOSITE.items()
        },
    },
    hints=(
        "mask[:, None] is (B, 1, S): the same keys are padding for every query. Where does it come in, "
        "before or after the softmax?",
        "scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1) are the weights, (B, T, S). No row is "
        "empty, so -inf does no harm.",
        "weights @ values multiplies (T, S) with (S, D) for each sequence of the batch.",
    ),
    look="Look at the weights first: each row adds up to 1 over S, and padding has 0. If they are right, the "
    "fault is in the context, weights @ values. Return context, weights.",
)
