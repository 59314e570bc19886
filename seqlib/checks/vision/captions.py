"""Exercises of the chapter on captions and questions.

Dimensions: B batch, D features, L places of a picture (rows * columns), T time, N questions of the training
set, M held-out questions. Batch first.

As in the chapter on attention, the first kind of input of some exercises has equal sizes where nothing should
depend on it: there a wrong axis doesn't raise, and the numbers tell which one it is.
"""

from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from seqlib.checks.exercise import Exercise, Function
from seqlib.checks.looking import OVERWRITTEN, PAIR, RETURNED, normal, observed
from seqlib.pairs import EOS, PAD, SOS


def _call(function: Function, *args: Any, **options: Any) -> Any:
    """For calls with arguments of a wrong type, which are meant."""
    return function(*args, **options)


# ---------------------------------------------------------------------- attention over a picture


def _spatial_attention(features: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
    """features (B, D, rows, columns), query (B, D) -> context (B, D), weights (B, rows, columns)

    Dot-product scores, without scaling; the weights of all places of a picture sum to 1.
    """
    places = features.flatten(2)  # (B, D, L)
    weights = (query[:, None] @ places).softmax(-1)  # (B, 1, L)
    context = weights @ places.mT  # (B, 1, D)
    return context[:, 0], weights[:, 0].unflatten(-1, features.shape[2:])


def _spatial_inputs(g: Generator, *, B: int, D: int, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    return normal(g, B, D, rows, columns), normal(g, B, D)


def _spatial_softmax(scores: Tensor) -> Tensor:
    return scores.flatten(1).softmax(-1).view_as(scores)


def _spatial_with(
    score: Function = lambda features, query: torch.einsum("bdrc,bd->brc", features, query),
    *,
    weigh: Function = _spatial_softmax,
    read: Function = lambda weights, features: torch.einsum("bdrc,brc->bd", features, weights),
    give: Function = lambda context, weights: (context, weights),
) -> Function:
    """Attention with one of its rules changed. Scores and weights are (B, rows, columns) everywhere."""

    def function(features: Tensor, query: Tensor) -> Any:
        weights = weigh(score(features, query))
        return give(read(weights, features), weights)

    return function


def _spatial_of(rule: Function) -> Function:
    """The right attention, over something else: rule makes it of the features."""
    return lambda features, query: _spatial_attention(rule(features), query)


spatial_attention = Exercise(
    reference=_spatial_attention,
    inputs=(
        partial(_spatial_inputs, B=5, D=5, rows=5, columns=5),
        partial(_spatial_inputs, B=2, D=7, rows=3, columns=5),
        partial(_spatial_inputs, B=1, D=3, rows=5, columns=2),  # one picture alone
    ),
    observe=partial(observed, _spatial_attention, PAIR),
    mistakes={
        # places
        "view and reshape to (B, rows * columns, D) cut the numbers anew, so that a row has features of "
        "different places. Join the places first, features.flatten(2), (B, D, L), and swap the axes then: "
        ".mT.": _spatial_of(
            lambda features: (
                features.flatten(2).reshape(len(features), -1, features.shape[1]).mT.reshape(features.shape)
            )
        ),
        "The weights are right, but for the context the features are cut anew, with view or reshape to "
        "(B, rows * columns, D), and a row has features of different places. features.flatten(2).mT keeps "
        "them apart.": _spatial_with(
            read=lambda weights, features: (
                weights.flatten(1)[:, None] @ features.reshape(len(features), -1, features.shape[1])
            )[:, 0]
        ),
        "The features were moved to the end, (B, rows, columns, D), and then cut anew as (B, D, L). As they "
        "come, flatten(2) gives (B, D, L), without moving anything.": _spatial_of(
            lambda features: features.permute(0, 2, 3, 1).reshape(features.shape)
        ),
        "Rows and columns of the map have changed places, (B, columns, rows).": _spatial_with(
            give=lambda context, weights: (context, weights.mT)
        ),
        "The context is right, but the map is laid out in the wrong order: the places were joined column by "
        "column, as after transpose(1, 3), and cut row by row. flatten(2), or permute(0, 2, 3, 1), keeps the "
        "rows.": _spatial_with(give=lambda context, weights: (context, weights.mT.reshape(weights.shape))),
        # scores
        "The scores are divided by sqrt(D), as in the Transformer. Here a score is the dot product as it "
        "is.": _spatial_with(
            lambda features, query: torch.einsum("bdrc,bd->brc", features, query) / query.shape[1] ** 0.5
        ),
        **{
            f"{name} is {shape}, and axes are matched from the last one: D meets the {axis}. "
            "query[:, :, None, None] is (B, D, 1, 1).": _spatial_with(
                lambda features, query, rule=rule: (features * rule(query)).sum(1)
            )
            for name, shape, axis, rule in (
                ("query", "(B, D)", "columns", lambda query: query),
                ("query[:, None]", "(B, 1, D)", "columns", lambda query: query[:, None]),
                ("query[:, None, None]", "(B, 1, 1, D)", "columns", lambda query: query[:, None, None]),
                ("query[..., None]", "(B, D, 1)", "rows", lambda query: query[..., None]),
            )
        },
        **{
            "Every query looks at every picture, (B, B, L). Query b is for picture b alone: give it an axis, "
            f"query[:, None] @ features.flatten(2), (B, 1, D) @ (B, D, L).{what}": (
                lambda features, query, rule=rule: (
                    (weights := (query @ features.flatten(2)).softmax(-1)) @ features.flatten(2).mT,
                    rule(weights, features[:, 0].shape),
                )
            )
            for what, rule in {
                "": lambda weights, shape: weights,
                " So there are too many weights.": lambda weights, shape: weights.view(shape),
            }.items()
        },
        # softmax
        "The softmax runs over the columns: each row adds up to 1. All places of a picture share what adds "
        "up to 1: join them before the softmax, flatten(1).": _spatial_with(
            weigh=lambda scores: scores.softmax(2)
        ),
        "The softmax runs over the rows: each column adds up to 1. All places of a picture share what adds "
        "up to 1: join them before the softmax, flatten(1).": _spatial_with(
            weigh=lambda scores: scores.softmax(1)
        ),
        **{
            f"There are two softmaxes, over the {one} and then over the {other}. Only the second adds up to "
            "1. Join all places into one axis, flatten(1), and take one softmax.": _spatial_with(
                weigh=lambda scores, axis=axis: scores.softmax(axis).softmax(3 - axis)
            )
            for one, other, axis in (("columns", "rows", 2), ("rows", "columns", 1))
        },
        "The softmax runs over axis 0, the batch: pictures share what adds up to 1. It runs over the places "
        "of a picture: flatten(1).softmax(1).": _spatial_with(weigh=lambda scores: scores.softmax(0)),
        "All pictures of the batch together share what adds up to 1. Each picture has its own softmax, over "
        "its places: flatten(1).softmax(1).": _spatial_with(
            weigh=lambda scores: scores.flatten().softmax(0).view_as(scores)
        ),
        "All weights are 1. The softmax runs over D, or over an axis of size 1, as in scores of shape "
        "(B, L, 1). It runs over the L places.": _spatial_with(weigh=torch.ones_like),
        "The sum over D is missing, so each feature has a map of its own. The dot product adds the products "
        "up over D; one map comes out, (B, rows, columns).": lambda features, query: (
            (
                (weights := (features * query[..., None, None]).flatten(2).softmax(-1)) * features.flatten(2)
            ).sum(-1),
            weights.view_as(features),
        ),
        "The softmax is missing: the weights are the scores themselves. They are to be positive, and to add "
        "up to 1.": _spatial_with(weigh=lambda scores: scores),
        "exp is there, but the weights don't add up to 1: divide by the sum over the places.": _spatial_with(
            weigh=torch.exp
        ),
        "A sum has lost its axes: (B,) meets (B, rows, columns) from the last axis. Keep them, with size 1: "
        "sum((1, 2), keepdim=True).": _spatial_with(
            weigh=lambda scores: scores.exp() / scores.exp().sum((1, 2))
        ),
        "The place with the largest score gets the whole weight: that is hard attention, by argmax. Here "
        "every place gets some, by softmax.": _spatial_with(
            weigh=lambda scores: (scores == scores.amax((1, 2), keepdim=True)).to(scores.dtype)
        ),
        # context
        "It is the mean of the weighted features. The weights add up to 1 already: take the sum.": (
            _spatial_with(read=lambda weights, features: (weights[:, None] * features).mean((2, 3)))
        ),
        "The weights are right, but the context is made with the scores. It is made with the weights.": (
            lambda features, query: (
                torch.einsum("bdrc,brc->bd", features, torch.einsum("bdrc,bd->brc", features, query)),
                _spatial_attention(features, query)[1],
            )
        ),
        **{
            f"{what} Add the weighted features up over rows and columns, axes 2 and 3, to get (B, D).": (
                _spatial_with(
                    read=lambda weights, features, axes=axes: torch.einsum(
                        f"bdrc,brc->{axes}", features, weights
                    )
                )
            )
            for what, axes in {
                "The weighted features aren't added up, (B, D, rows, columns).": "bdrc",
                "The weighted features are added up over D, (B, rows, columns), axis 1.": "brc",
                "The weighted features are added up over the columns only, (B, D, rows).": "bdr",
                "The weighted features are added up over the rows only, (B, D, columns).": "bdc",
            }.items()
        },
        "weights * features needs an axis for D: the weights' batch meets D, since axes are matched from the "
        "last one. weights[:, None] is (B, 1, rows, columns).": _spatial_with(
            read=lambda weights, features: (weights * features).sum((2, 3))
        ),
        # what is returned
        **{
            message.replace("the values", "the features"): _spatial_with(give=give)
            for message, give in RETURNED.items()
        },
        "The scores come back beside the context. It is their softmax, the weights, that is asked for.": (
            lambda features, query: (
                _spatial_attention(features, query)[0],
                torch.einsum("bdrc,bd->brc", features, query),
            )
        ),
        **{
            f"The weights are {shape}. Give them the shape of the picture's grid: .view(B, rows, columns).": (
                _spatial_with(give=lambda context, weights, rule=rule: (context, rule(weights)))
            )
            for shape, rule in {
                "in one row, (B, L)": lambda weights: weights.flatten(1),
                "(B, 1, L)": lambda weights: weights.flatten(1)[:, None],
                "(B, 1, rows, columns)": lambda weights: weights[:, None],
            }.items()
        },
        **{
            f"The context is {shape}. {how} removes what is too much: (B, D).": _spatial_with(
                give=lambda context, weights, rule=rule: (rule(context), weights)
            )
            for shape, how, rule in (
                ("(B, 1, D)", "[:, 0]", lambda context: context[:, None]),
                ("(B, D, 1)", "[..., 0]", lambda context: context[..., None]),
                ("(B, D, 1, 1)", "[..., 0, 0]", lambda context: context[..., None, None]),
            )
        },
        "Both keep the axis of the query, (B, 1, D) and (B, 1, L). [:, 0] removes it, and .view(B, rows, "
        "columns) gives the weights the shape of the picture's grid.": _spatial_with(
            give=lambda context, weights: (context[:, None], weights.flatten(1)[:, None])
        ),
        **{
            f"squeeze() removes every axis of size 1, and where B = 1 that of the batch as well{where}. Name "
            "the axis, as in squeeze(1).": _spatial_with(give=give)
            for where, give in {
                " (in the context)": lambda context, weights: (context.squeeze(), weights),
                "": lambda context, weights: (context.squeeze(), weights.squeeze()),
            }.items()
        },
        "The numbers are right, but the weights are cut off from the graph: no gradient reaches the query, "
        "so nobody could learn where to look. detach, no_grad, item() and torch.tensor(...) cut it.": (
            _spatial_with(weigh=lambda scores: _spatial_softmax(scores).detach())
        ),
        OVERWRITTEN: _spatial_with(weigh=lambda scores: _spatial_softmax(scores).mul_(1)),
        # exceptions
        "view can't cut a tensor anew whose axes were moved. reshape could, but would mix the features of "
        "different places. As they come, features.flatten(2) gives (B, D, L).": lambda features, query: (
            features.permute(0, 2, 3, 1).view(len(features), features.shape[1], -1)
        ),
        **{
            "The inner sizes of a product have to agree. With places = features.flatten(2), (B, D, L), the "
            f"scores are query[:, None] @ places, and the context is weights @ places.mT.{what}": (
                lambda features, query, rule=rule: rule(features.flatten(2), query)
            )
            for what, rule in {
                " (Here L meets D.)": lambda places, query: places @ query[..., None],
                " (Here D meets L.)": lambda places, query: query[:, None] @ places.mT,
            }.items()
        },
        "softmax has to be told its axis, and it is the one of all places: flatten(1).softmax(1).": (
            _spatial_with(weigh=lambda scores: _call(torch.softmax, scores))
        ),
        **{
            f"softmax takes one axis only. Join rows and columns first: flatten(1).softmax(1).{how}": (
                _spatial_with(weigh=weigh)
            )
            for how, weigh in {
                "": lambda scores: _call(torch.softmax, scores, dim=(1, 2)),
                " (The axes were its second argument.)": lambda scores: _call(torch.softmax, scores, (1, 2)),
                " (The axes were its first argument.)": lambda scores: _call(scores.softmax, (1, 2)),
            }.items()
        },
    },
    hints=(
        "It is attention as ever: score, weigh, read. The keys and the values are the features of the "
        "places; features.flatten(2) makes one axis of rows and columns, (B, D, L).",
        "query[:, None] @ features.flatten(2) is (B, 1, D) @ (B, D, L): the scores, (B, 1, L). softmax(-1) "
        "of them runs over all places.",
        "The context is weights @ features.flatten(2).mT, (B, 1, L) @ (B, L, D). [:, 0] removes the axis of "
        "size 1, and .unflatten(-1, features.shape[2:]) gives the weights rows and columns again.",
    ),
    look="Look at the weights first, item 1 of the result: weights[0].sum() is 1. By hand: the score of "
    "place [0, 1] is features[0, :, 0, 1] @ query[0], and weights.log() differs from the scores by one "
    "number for each picture. If they are right, the fault is in the context. Return context, weights.",
)


# --------------------------------------------------------------- what a captioner reads and writes


def _caption_targets(words: Tensor) -> tuple[Tensor, Tensor]:
    """words (B, T), PAD after each caption -> inputs (B, T + 1), targets (B, T + 1)

    Inputs are SOS and the caption; targets are the caption and EOS, directly after its last word. What is
    left of either is PAD.
    """
    PAD, SOS, EOS = 0, 1, 2
    column = torch.zeros_like(words[:, :1])  # (B, 1)
    inputs = torch.cat([column + SOS, words], 1)
    targets = torch.cat([words, column + PAD], 1)
    lengths = (words != PAD).sum(1)  # (B): the place after the last word
    targets[torch.arange(len(words)), lengths] = EOS
    return inputs, targets


def _caption_inputs(g: Generator, *, lengths: tuple[int, ...], T: int) -> tuple[Tensor]:
    """Captions of these lengths, in any order. No word occurs twice: each says where it comes from."""
    B = len(lengths)
    words = torch.randperm(B * T, generator=g).reshape(B, T) + 3
    ends = torch.tensor(lengths)[torch.randperm(B, generator=g), None]  # (B, 1)
    return (words.masked_fill(torch.arange(T) >= ends, PAD),)


def _caption_observed(result: Any, args: tuple[Any, ...]) -> Any:
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        return result
    return dict(zip(("the tensor of inputs", "the tensor of targets"), result, strict=True))


def _caption_column(words: Tensor, number: int) -> Tensor:
    return torch.full_like(words[:, :1], number)


def _caption_framed(words: Tensor, first: int | None, last: int) -> Tensor:
    """The captions with a number in front (if any), and another at the end of the row."""
    front = [] if first is None else [_caption_column(words, first)]
    return torch.cat([*front, words, _caption_column(words, last)], 1)


def _caption_ended(words: Tensor, end: int = EOS) -> Tensor:
    """(B, T + 1): `end` after the last word, as it is right."""
    targets = _caption_framed(words, None, PAD)
    targets[torch.arange(len(words)), _caption_lengths(words)] = end
    return targets


def _caption_lengths(words: Tensor) -> Tensor:
    return (words != PAD).sum(1)


def _caption_trimmed(words: Tensor) -> Tensor:
    """The right targets, without columns that are nothing but PAD."""
    return _caption_ended(words)[:, : int(_caption_lengths(words).max()) + 1]


def _caption_inputs_of(rule: Function) -> Function:
    """Other inputs, with the right targets."""
    return lambda words: (rule(words), _caption_ended(words))


def _caption_targets_of(rule: Function) -> Function:
    """Other targets, with the right inputs."""
    return lambda words: (_caption_targets(words)[0], rule(words))


def _caption_written(place: Function, columns: int = 1) -> Function:
    """The right inputs; in the targets, with so many columns of PAD more, EOS is written to a place."""

    def targets(words: Tensor) -> Tensor:
        written = torch.cat([words, *[_caption_column(words, PAD)] * columns], 1)
        written[place(written, _caption_lengths(words))] = EOS
        return written

    return _caption_targets_of(targets)


caption_targets = Exercise(
    reference=_caption_targets,
    inputs=(
        partial(_caption_inputs, lengths=(7, 5, 2), T=7),
        partial(_caption_inputs, lengths=(0, 3, 5, 6, 8), T=11),  # no row is full, and one is empty
    ),
    observe=_caption_observed,
    mistakes={
        # where EOS stands
        "EOS stands at the end of each row, after the padding. It comes directly after the last word: there "
        "the caption is over, and the padding after it counts nothing.": _caption_targets_of(
            lambda words: _caption_framed(words, None, EOS)
        ),
        "EOS is missing in the targets. Then the model never learns when to stop, and its captions don't "
        "end: it has to see EOS after each training caption.": _caption_targets_of(
            lambda words: _caption_framed(words, None, PAD)
        ),
        "EOS is missing, and the last word of a full row is never read, (B, T). Inputs and targets have one "
        "column more than words: SOS in front of the one, EOS behind the other.": lambda words: (
            torch.cat([_caption_column(words, SOS), words[:, :-1]], 1),
            words.clone(),
        ),
        "EOS stands in the column after the longest caption, for all rows. Each caption has its own end: "
        "(words != PAD).sum(1) are the lengths.": _caption_written(
            lambda targets, lengths: (slice(None), lengths.max())
        ),
        "EOS stands in every row where any of the captions ends. targets[:, lengths] are columns of all "
        "rows; row b gets one place: targets[torch.arange(B), lengths].": _caption_written(
            lambda targets, lengths: (slice(None), lengths)
        ),
        "All padding of the targets has become EOS. There is one EOS, after the last word; what follows is "
        "PAD, which the loss leaves out.": _caption_targets_of(
            lambda words: _caption_framed(words, None, PAD).masked_fill(
                _caption_framed(words, None, PAD) == PAD, EOS
            )
        ),
        "EOS takes the place of the last word. It comes after it: index (words != PAD).sum(1), "
        "without - 1.": (
            _caption_written(lambda targets, lengths: (torch.arange(len(targets)), lengths - 1))
        ),
        "In a row without padding EOS takes the place of the first word. argmax finds the first PAD, and "
        "gives 0 where there is none: look for it once the targets have their last column, of PAD.": (
            _caption_written(
                lambda targets, lengths: (
                    torch.arange(len(targets)),
                    (targets[:, :-1] == PAD).int().argmax(1),
                )
            )
        ),
        "A caption that fills its row has no EOS: there was no place left for it. Give the targets a column "
        "of PAD first.": _caption_targets_of(
            lambda words: torch.cat([_caption_ended(words)[:, :-1], _caption_column(words, PAD)], 1)
        ),
        "The targets have T columns, so a caption that fills its row has no EOS. There are T + 1: give them "
        "a column of PAD first.": _caption_targets_of(lambda words: _caption_ended(words)[:, :-1]),
        "The inputs lack the last column of words, and the targets the first, (B, T). Only SOS shifts them "
        "against each other: all words are read, and all are written.": lambda words: (
            torch.cat([_caption_column(words, SOS), words[:, :-1]], 1),
            torch.cat([words[:, 1:], _caption_column(words, EOS)], 1),
        ),
        **{
            "There are only as many columns as the longest caption needs, as pad_sequence makes them. Asked "
            f"for are T + 1, whatever the captions are: fill up with PAD.{which}": rule
            for which, rule in {
                " (In the targets.)": _caption_targets_of(_caption_trimmed),
                " (In both. And EOS is only written: leave it out of the inputs.)": lambda words: (
                    torch.cat([_caption_column(words, SOS), _caption_trimmed(words)[:, :-1]], 1),
                    _caption_trimmed(words),
                ),
            }.items()
        },
        # which marker
        "SOS and EOS have changed places: SOS is 1, and begins; EOS is 2, and ends.": lambda words: (
            torch.cat([_caption_column(words, EOS), words], 1),
            _caption_ended(words, end=SOS),
        ),
        "The inputs begin with 0, which is PAD. SOS is 1.": _caption_inputs_of(
            lambda words: torch.cat([_caption_column(words, PAD), words], 1)
        ),
        "SOS is in the targets too. It is only read: the first word that the model writes is the "
        "caption's.": (
            _caption_targets_of(
                lambda words: torch.cat([_caption_column(words, SOS), _caption_ended(words)], 1)
            )
        ),
        "The targets are the inputs once more. They are one step ahead of them: the caption without SOS, and "
        "EOS after its last word.": _caption_targets_of(
            lambda words: _caption_framed(words, SOS, PAD)[:, :-1]
        ),
        "SOS and EOS are in both, (B, T + 2). SOS is only read, and EOS is only written: leave EOS out of "
        "the inputs, and SOS out of the targets.": lambda words: (
            (both := torch.cat([_caption_column(words, SOS), _caption_ended(words)], 1)),
            both,
        ),
        "SOS and EOS are in both, (B, T + 2), and EOS stands after the padding. SOS is only read, and EOS is "
        "only written, directly after the last word.": lambda words: (
            (both := _caption_framed(words, SOS, EOS)),
            both,
        ),
        # inputs
        "EOS is in the inputs too, after the shorter captions, as it is if targets[:, :-1] is taken for "
        "them. That would do no harm, since the target there is PAD; but nothing follows EOS, so it needn't "
        "be read. Put SOS in front of words.": _caption_inputs_of(
            lambda words: torch.cat([_caption_column(words, SOS), _caption_ended(words)[:, :-1]], 1)
        ),
        "EOS is in the inputs too, (B, T + 2). It is only written: nothing follows it, so it needn't "
        "be read.": (
            _caption_inputs_of(
                lambda words: torch.cat([_caption_column(words, SOS), _caption_ended(words)], 1)
            )
        ),
        "The inputs are the targets once more: at each step the model would read the very word that it is to "
        "write, and learn to copy. Put SOS in front: it reads the word before.": _caption_inputs_of(
            _caption_ended
        ),
        "SOS is missing in the inputs, so at each step the model would read the very word that it is to "
        "write, and learn to copy. SOS in front shifts them by one step.": _caption_inputs_of(
            lambda words: _caption_framed(words, None, PAD)
        ),
        "The inputs are words, (B, T), and SOS is missing: at each step the model would read the very word "
        "that it is to write. SOS in front shifts them by one step.": _caption_inputs_of(torch.clone),
        "SOS takes the place of the first word. It comes before it.": _caption_inputs_of(
            lambda words: torch.cat(
                [_caption_column(words, SOS), words[:, 1:], _caption_column(words, PAD)], 1
            )
        ),
        "The last column of words is missing in the inputs, (B, T). After the last word the model still has "
        "to write EOS, so it reads that word too.": _caption_inputs_of(
            lambda words: torch.cat([_caption_column(words, SOS), words[:, :-1]], 1)
        ),
        # what is returned
        "The two come back in the wrong order: the inputs first, then the targets.": lambda words: (
            _caption_targets(words)[::-1]
        ),
        "Only the inputs come back. Both are asked for: return inputs, targets.": lambda words: (
            _caption_targets(words)[0]
        ),
        "Only the targets come back. Both are asked for: return inputs, targets.": lambda words: (
            _caption_targets(words)[1]
        ),
        "The two are stacked into one tensor. Return them as they are: return inputs, "
        "targets.": lambda words: torch.stack(_caption_targets(words)),
        "These are lists of lists. torch.tensor(rows) makes a tensor of them.": lambda words: tuple(
            part.tolist() for part in _caption_targets(words)
        ),
        "These are lists of different lengths. Fill them up with PAD, and make a tensor of each list.": (
            lambda words: (
                [[SOS, *row[row != PAD].tolist()] for row in words],
                [[*row[row != PAD].tolist(), EOS] for row in words],
            )
        ),
        "These are lists of tensors, one for each caption. torch.stack(rows) makes one tensor of them.": (
            lambda words: tuple(list(part) for part in _caption_targets(words))
        ),
        "The numbers are right, but they have another dtype than words. torch.zeros and torch.ones make "
        "floats, for instance; torch.full_like and torch.zeros_like keep the dtype of words.": lambda words: (
            tuple(part.float() for part in _caption_targets(words))
        ),
        # exceptions
        **{
            f"{name} is a number, and torch.cat joins tensors. Make a column of it, with a row for each "
            f"caption: torch.full_like(words[:, :1], {name}).": rule
            for name, rule in {
                "SOS": lambda words: _call(torch.cat, [SOS, words], 1),
                "EOS": lambda words: _call(torch.cat, [words, EOS], 1),
            }.items()
        },
        **{
            f"{name} has one axis and words two. Make a column (B, 1) of it: torch.full_like(words[:, :1], "
            f"{name}).": rule
            for name, rule in {
                "SOS": lambda words: torch.cat([torch.tensor([SOS]), words], 1),
                "EOS": lambda words: torch.cat([words, torch.tensor([EOS])], 1),
            }.items()
        },
        **{
            f"There is one {name}, and each of the B captions needs one: torch.full_like(words[:, :1], "
            f"{name}).": rule
            for name, rule in {
                "SOS": lambda words: torch.cat([torch.tensor([[SOS]]), words], 1),
                "EOS": lambda words: torch.cat([words, torch.tensor([[EOS]])], 1),
            }.items()
        },
        "They are joined along axis 0, the batch. Time is axis 1: torch.cat([column, words], 1).": (
            lambda words: torch.cat([_caption_column(words, SOS), words])
        ),
        "A caption that fills its row has no place for EOS. Give the targets a column of PAD before you "
        "write it.": _caption_written(
            lambda targets, lengths: (torch.arange(len(targets)), lengths), columns=0
        ),
        **{
            "A caption that fills its row has no PAD to be found. Look for it once the targets have their "
            f"last column, of PAD.{how}": rule
            for how, rule in {
                " (nonzero() finds nothing there.)": lambda words: [
                    (row == PAD).nonzero()[0] for row in words
                ],
                " (index() finds nothing there.)": lambda words: [row.tolist().index(PAD) for row in words],
            }.items()
        },
        "EOS would stand one column too far. Columns count from 0, so the one after a caption of n words is "
        "n.": _caption_written(lambda targets, lengths: (torch.arange(len(targets)), lengths + 1)),
        "sum() counts the words of the whole batch. Each caption has its own length: "
        "(words != PAD).sum(1).": _caption_written(
            lambda targets, lengths: (torch.arange(len(targets)), lengths.sum())
        ),
        "targets[lengths] are rows. Row b gets one place: targets[torch.arange(B), lengths].": (
            _caption_written(lambda targets, lengths: lengths)
        ),
        "The rows have different lengths, and a tensor needs equal ones. Fill each up with PAD.": (
            lambda words: torch.tensor([[SOS, *row[row != PAD].tolist()] for row in words])
        ),
        "+ joins lists, and this is a tensor. torch.cat joins tensors.": lambda words: _call(
            lambda front, row: front + row, [SOS], words
        ),
    },
    hints=(
        "What does the model read before it writes the first word? What is it to write when it has read the "
        "last one?",
        "torch.cat([column, words], 1) with a column of SOS, torch.full_like(words[:, :1], SOS), makes the "
        "inputs. For the targets put a column of PAD behind words, so that there is room for EOS.",
        "(words != PAD).sum(1) are the lengths, and so the places of EOS: targets[torch.arange(len(words)), "
        "lengths] = EOS.",
    ),
    look="By hand: for words [[5, 6, 7], [8, 0, 0]] the inputs are [[1, 5, 6, 7], [1, 8, 0, 0]], and the "
    "targets [[5, 6, 7, 2], [8, 2, 0, 0]].",
)


# ------------------------------------------------------------------------ learning from one look


def _hard_attention_gradient(scores: Tensor, positions: Tensor, reward: Tensor, baseline: float) -> Tensor:
    """scores (B, L), positions (B) drawn with softmax(scores), reward (B), baseline: a number -> (B, L)

    For each row the estimate of the gradient of its expected reward by its scores: reward - baseline times
    the gradient of log softmax(scores) at the position.
    """
    probabilities = scores.softmax(-1)
    drawn = torch.nn.functional.one_hot(positions, scores.shape[-1])  # (B, L)
    return (reward - baseline)[:, None] * (drawn - probabilities)


def _hard_inputs(g: Generator, *, B: int, L: int) -> tuple[Tensor, Tensor, Tensor, float]:
    """The scores are a leaf, so that any way to take their gradient works. The last place is never drawn."""
    scores = torch.randn(B, L, generator=g)
    positions = scores[:, :-1].softmax(-1).multinomial(1, generator=g)[:, 0]
    reward, baseline = torch.randn(B, generator=g), 1 + torch.rand((), generator=g).item()
    return scores.requires_grad_(), positions, reward, baseline


def _hard_drawn(scores: Tensor, positions: Tensor) -> Tensor:
    return F.one_hot(positions, scores.shape[1])


def _hard_chances(scores: Tensor, positions: Tensor) -> Tensor:
    """The probability of what was drawn, (B, 1)"""
    return scores.softmax(-1).gather(1, positions[:, None])


def _hard_with(
    gain: Function = lambda reward, baseline: reward - baseline,
    *,
    slope: Function = lambda scores, drawn: drawn - scores.softmax(-1),
    give: Function = lambda gradient: gradient,
) -> Function:
    """The estimate with one of its rules changed. gain: (B), slope: (B, L)."""

    def function(scores: Tensor, positions: Tensor, reward: Tensor, baseline: float) -> Any:
        return give(gain(reward, baseline)[:, None] * slope(scores, _hard_drawn(scores, positions)))

    return function


def _hard_times(factor: Function) -> Function:
    """The right estimate, multiplied with what a rule makes of scores and positions."""
    return lambda scores, positions, *rest: (
        factor(scores, positions) * _hard_attention_gradient(scores, positions, *rest)
    )


def _hard_marked(place: Function) -> Function:
    """Another way to write 1 where a position was drawn."""

    def function(scores: Tensor, positions: Tensor, reward: Tensor, baseline: float) -> Tensor:
        drawn = torch.zeros_like(scores)
        drawn[place(positions)] = 1
        return (reward - baseline)[:, None] * (drawn - scores.softmax(-1))

    return function


def _hard_objective(scores: Tensor, positions: Tensor, reward: Tensor, baseline: float) -> Tensor:
    return (reward - baseline) * _hard_chances(scores, positions)[:, 0].log()


def _hard_derived(scores: Tensor, objective: Function) -> Tensor:
    [gradient] = torch.autograd.grad(objective(scores), scores)
    return gradient


hard_attention_gradient = Exercise(
    reference=_hard_attention_gradient,
    inputs=(partial(_hard_inputs, B=5, L=5), partial(_hard_inputs, B=3, L=7)),
    mistakes={
        # the reward
        "The sign is wrong. This is the gradient of a loss, -(reward - baseline) * log softmax, which is to "
        "fall (or of baseline - reward). Asked for is that of the reward, which is to grow.": _hard_with(
            give=torch.neg
        ),
        "The baseline is missing. The mean stays the same without it, but there is more noise: reward - "
        "baseline.": _hard_with(lambda reward, baseline: reward),
        "The baseline is added. It is subtracted: what counts is how much better than usual the "
        "reward was.": (_hard_with(lambda reward, baseline: reward + baseline)),
        "The baseline is subtracted from the product. It is subtracted from the reward: (reward - baseline) "
        "* gradient.": lambda scores, positions, reward, baseline: (
            _hard_attention_gradient(scores, positions, reward, 0) - baseline
        ),
        "The reward has no effect: this is the gradient of log softmax alone. It is multiplied with reward - "
        "baseline. (If the reward stands inside the logarithm, take it out.)": _hard_with(
            lambda reward, baseline: torch.ones_like(reward)
        ),
        "All rows have the sum of the rewards. Each row's reward belongs to its own draw alone.": _hard_with(
            lambda reward, baseline: (reward.sum() - baseline).expand_as(reward)
        ),
        "All rows have the sum of reward - baseline. Each row's reward belongs to its own draw alone. (The "
        "product of (B,) and (B, 1) is such a table of all with all: take [:, 0] after gather.)": _hard_with(
            lambda reward, baseline: (reward - baseline).sum().expand_as(reward)
        ),
        "All rows have the mean of reward - baseline. Each row's reward belongs to its own draw "
        "alone.": _hard_with(lambda reward, baseline: (reward - baseline).mean().expand_as(reward)),
        "All rows have the mean of reward - baseline, divided by B. It is the mean of a table of all rewards "
        "with all draws, (B, B), as (B,) and (B, 1) make it: take [:, 0] after gather, and the "
        "sum.": _hard_with(
            lambda reward, baseline: (reward - baseline).mean().expand_as(reward) / len(reward)
        ),
        "The mean of the rewards is subtracted, and the argument baseline has no effect.": _hard_with(
            lambda reward, baseline: reward - reward.mean()
        ),
        # the gradient of the logarithm
        "The softmax is missing: only the drawn position gets a gradient. All others count too, through the "
        "sum in the softmax: one_hot - softmax(scores).": _hard_with(slope=lambda scores, drawn: drawn),
        "It is right at the drawn position, and 0 at the others. They count too, through the sum in the "
        "softmax: the drawn one becomes more probable, so the others become less: -softmax(scores).": (
            _hard_with(slope=lambda scores, drawn: drawn * (1 - scores.softmax(-1)))
        ),
        "1 - softmax(scores) stands everywhere. It is that at the drawn position only, and -softmax(scores) "
        "at the others: one_hot - softmax(scores).": _hard_with(
            slope=lambda scores, drawn: 1 - scores.softmax(-1)
        ),
        "The others have the wrong sign: where the drawn position becomes more probable, they become less. "
        "It is one_hot - softmax(scores).": _hard_with(
            slope=lambda scores, drawn: drawn - (2 * drawn - 1) * scores.softmax(-1)
        ),
        "The log-probabilities of all positions are added up. Only that of the drawn one counts: "
        "gather(1, positions[:, None]).": _hard_with(
            slope=lambda scores, drawn: 1 - scores.shape[1] * scores.softmax(-1)
        ),
        "softmax * (1 - softmax) is the derivative of each probability by its own score. Asked for is that "
        "of the logarithm of one of them by all scores: one_hot - softmax(scores).": _hard_with(
            slope=lambda scores, drawn: scores.softmax(-1) * (1 - scores.softmax(-1))
        ),
        "The positions themselves are taken, which are numbers from 0 to L - 1. one_hot(positions, L) has a "
        "1 at each of them.": lambda scores, positions, reward, baseline: (
            (reward - baseline)[:, None] * (positions[:, None] - scores.softmax(-1))
        ),
        "The scores themselves are subtracted from the one-hot rows. It is their softmax.": _hard_with(
            slope=lambda scores, drawn: drawn - scores
        ),
        "It is multiplied with the probability of the drawn position: that is the gradient of the "
        "probability. Take that of its logarithm; that the position was drawn so often counts already.": (
            _hard_times(_hard_chances)
        ),
        "It is multiplied with softmax(scores). The draws are as frequent as that already: (reward - "
        "baseline) * (one_hot - softmax(scores)).": _hard_times(lambda scores, positions: scores.softmax(-1)),
        "This is the gradient of the log-probability, (reward - baseline) / softmax, by the probability. It "
        "is to be the one by the scores: the softmax is part of the chain.": _hard_with(
            slope=lambda scores, drawn: drawn / scores.softmax(-1)
        ),
        "The softmax is missing: this is the gradient of the logarithm of the scores themselves. Take "
        "log_softmax(-1) of them.": _hard_with(slope=lambda scores, drawn: drawn / scores),
        # axes
        "The softmax runs over the batch. It runs over the L places: softmax(-1).": _hard_with(
            slope=lambda scores, drawn: drawn - scores.softmax(0)
        ),
        "(B,) meets (B, L) from the last axis, so that reward - baseline lies along the places. "
        "(reward - baseline)[:, None] is a column, with a number for each row.": (
            lambda scores, positions, reward, baseline: (
                (reward - baseline) * (_hard_drawn(scores, positions) - scores.softmax(-1))
            )
        ),
        "[positions] takes whole rows. Row b has one position: [torch.arange(B), positions], or "
        "gather(1, positions[:, None]).": lambda scores, positions, reward, baseline: _hard_derived(
            scores, lambda s: ((reward - baseline) * s.log_softmax(-1)[positions]).sum()
        ),
        "[:, positions] takes the positions of all rows in each row. Row b has its own: "
        "[torch.arange(B), positions], or gather(1, positions[:, None]).": (
            lambda scores, positions, reward, baseline: _hard_derived(
                scores, lambda s: ((reward - baseline) * s.log_softmax(-1)[:, positions]).sum()
            )
        ),
        "one_hot[positions] = 1 marks whole rows. Row b has one position: [torch.arange(B), positions].": (
            _hard_marked(lambda positions: positions)
        ),
        # what is returned
        "It is divided by B, as after a mean over the batch. Each row has its own gradient: take the sum.": (
            _hard_times(lambda scores, positions: 1 / len(scores))
        ),
        "It is divided by B, and the sign is wrong: this is the gradient of the loss of chapter 6. Here it "
        "is that of the reward, which is to grow, for each row on its own.": _hard_times(
            lambda scores, positions: -1 / len(scores)
        ),
        **{
            f"{what} Each row has its own gradient, (B, L).": _hard_with(give=give)
            for what, give in {
                "The rows are added up, (L,).": lambda gradient: gradient.sum(0),
                "It is the mean of the rows, (L,).": lambda gradient: gradient.mean(0),
                "All is added up to a single number, which is 0, whatever the scores are.": (
                    lambda gradient: gradient.sum()
                ),
            }.items()
        },
        "Only the drawn positions come back, (B,). All scores have a gradient, (B, L): the others become "
        "less probable.": lambda scores, positions, *rest: _hard_attention_gradient(
            scores, positions, *rest
        ).gather(1, positions[:, None])[:, 0],
        **{
            f"This is what the gradient is to be taken of, {what}. torch.autograd.grad(its sum, scores)[0] "
            "takes it; or write it down: one_hot - softmax(scores).": (
                lambda *args, rule=rule: rule(_hard_objective(*args))
            )
            for what, rule in {
                "(reward - baseline) * log softmax, (B,)": lambda objective: objective,
                "its sum, a single number": lambda objective: objective.sum(),
                "minus its mean, a single number": lambda objective: -objective.mean(),
            }.items()
        },
        "torch.autograd.grad gives a tuple, with a gradient for each input. Take its first: [0].": (
            lambda *args: (_hard_attention_gradient(*args),)
        ),
        # exceptions
        "A gradient is taken of a single number. Each row depends on its own scores alone, so take it of the "
        "sum over the batch: .sum().": lambda *args: torch.autograd.grad(_hard_objective(*args), args[0]),
        "gather wants an index with as many axes as the scores: positions[:, None], and [:, 0] of what comes "
        "out.": lambda scores, positions, reward, baseline: scores.gather(1, positions),
        "one_hot makes as many columns as the largest position needs. Tell it that there are L: "
        "one_hot(positions, scores.shape[-1]).": lambda scores, positions, reward, baseline: (
            F.one_hot(positions) - scores.softmax(-1)
        ),
        "softmax has to be told its axis: softmax(-1), or dim=-1.": lambda scores, *rest: _call(
            torch.softmax, scores
        ),
        "The scores have no part in it: detach, no_grad, item() or torch.tensor(...) cut it off, or nothing "
        "was computed from them.": lambda *args: torch.autograd.grad(
            _hard_objective(*args).detach().sum(), args[0]
        ),
    },
    hints=(
        "REINFORCE makes draws that were rewarded more probable: (reward - baseline) times the gradient of "
        "the log-probability of what was drawn.",
        "The gradient of log softmax(scores)[position] by the scores is 1 - softmax(scores) at the position, "
        "and -softmax(scores) elsewhere: one_hot - softmax(scores).",
        "torch.nn.functional.one_hot(positions, scores.shape[-1]) makes the ones, (B, L). reward - baseline "
        "is (B,), and needs a second axis: [:, None].",
    ),
    look="By hand, row 0: (reward[0] - baseline) times (1 - softmax(scores[0])) at positions[0], and times "
    "-softmax(scores[0]) elsewhere. Each row adds up to 0.",
)


# ------------------------------------------------------------------ what can be had without looking


def _base_rate(answers: Tensor, held_out: Tensor) -> float:
    """answers (N) of the training questions, held_out (M) answers -> a number from 0 to 1

    The share of held-out answers that are right if one always gives the commonest answer of training: of
    several that are equally common, the smallest number.
    """
    commonest = torch.bincount(answers).argmax()
    return (held_out == commonest).float().mean().item()


def _base_inputs(g: Generator, *, train: tuple[int, ...], held: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Five answers, each so often. The first is the commonest; the second, a larger number, is met before it.

    They are 1 to 6, so no count of the commonest is one of them. Its place in a list of them is another one.
    """
    numbers = torch.tensor([9])
    while (numbers < numbers[0]).sum() not in numbers:
        numbers = 1 + torch.randperm(6, generator=g)[: len(train)]
        numbers[:2] = numbers[:2].sort().values
    answers, held_out = (numbers.repeat_interleave(torch.tensor(counts)) for counts in (train, held))
    held_out = held_out[torch.randperm(len(held_out), generator=g)]
    while answers[torch.isin(answers, numbers[:2])][0] == numbers[0]:
        answers = answers[torch.randperm(len(answers), generator=g)]
    return answers, held_out


def _base_counts(answers: Tensor) -> Any:
    return answers.unique(return_counts=True)


def _base_share(rule: Function) -> Function:
    """The share of held_out that is a certain answer, which a rule finds."""
    return lambda answers, held_out: (held_out == rule(answers, held_out)).float().mean().item()


def _base_then(rule: Function) -> Function:
    """The right share, and something done with it."""
    return lambda answers, held_out: rule(_base_rate(answers, held_out))


def _base_commonest(answers: Tensor) -> Tensor:
    return torch.bincount(answers).argmax()


def _base_frequencies(answers: Tensor, other: Tensor) -> Tensor:
    """The share of each answer, up to the largest of both."""
    return torch.bincount(answers, minlength=int(torch.cat([answers, other]).max()) + 1) / len(answers)


base_rate = Exercise(
    reference=_base_rate,
    inputs=(
        partial(_base_inputs, train=(11, 7, 6, 3, 2), held=(2, 7, 4, 3, 1)),
        partial(_base_inputs, train=(7, 7, 5, 3, 1), held=(3, 1, 2, 5, 2)),  # two are equally common
    ),
    mistakes={
        # which answer
        "The answer is the commonest of held_out. That is peeking: what is given has to be chosen by the "
        "training answers alone.": _base_share(lambda answers, held_out: _base_commonest(held_out)),
        "The answer is the commonest of both together. That is peeking: what is given has to be chosen by "
        "the training answers alone.": _base_share(
            lambda answers, held_out: _base_commonest(torch.cat([answers, held_out]))
        ),
        "Where two answers are equally common, this takes the larger, or the one that comes first, as "
        "Counter does. The smallest number is to be taken.": _base_share(
            lambda answers, held_out: (
                len(torch.bincount(answers)) - 1 - torch.bincount(answers).flip(0).argmax()
            )
        ),
        "This takes the rarest answer: argmin.": _base_share(
            lambda answers, held_out: (found := _base_counts(answers))[0][found[1].argmin()]
        ),
        "This takes the place of the largest number, answers.argmax(). It is the counts whose largest has to "
        "be found: torch.bincount(answers).argmax().": _base_share(
            lambda answers, held_out: answers.argmax()
        ),
        "This takes the place of the commonest answer in the list of unique for the answer itself. "
        "values[counts.argmax()] is the answer.": _base_share(
            lambda answers, held_out: _base_counts(answers)[1].argmax()
        ),
        "This takes the first training answer. (Counter takes each element of a tensor for something new, so "
        "that all occur once: give it answers.tolist().)": _base_share(lambda answers, held_out: answers[0]),
        # of what it is the share
        "It is the share among the training answers. What counts is how often that answer is right for "
        "held_out.": lambda answers, held_out: (answers == _base_commonest(answers)).float().mean().item(),
        "It is the share that is wrong, 1 minus what is asked for.": _base_then(lambda share: 1 - share),
        "It is divided by N, the number of training answers. Divide by that of held_out, M.": (
            lambda answers, held_out: _base_rate(answers, held_out) * len(held_out) / len(answers)
        ),
        **{
            f"It is 1 divided by the number of {which}: what guessing gives, with all of them equally "
            "likely. Always the commonest answer is better.": lambda answers, held_out, number=number: (
                1 / number(answers)
            )
            for which, number in {
                "different answers": lambda answers: len(answers.unique()),
                "answers from 0 to the largest": lambda answers: len(torch.bincount(answers)),
            }.items()
        },
        "It is what guessing gives, if each answer is drawn as often as it occurs in training. Here always "
        "the commonest one is given.": lambda answers, held_out: (
            (_base_frequencies(answers, held_out) * _base_frequencies(held_out, answers)).sum().item()
        ),
        # what is returned
        "It is how many are right. Divide by the number of held-out answers: the share is asked for.": (
            lambda answers, held_out: round(_base_rate(answers, held_out) * len(held_out))
        ),
        "It is a percentage. The share is a number from 0 to 1.": _base_then(lambda share: 100 * share),
        **{
            f"It is rounded to {digits} digits. Return the number as it is.": _base_then(
                lambda share, digits=digits: round(share, digits)
            )
            for digits in (2, 3, 4)
        },
        "It is the answer itself. Asked for is the share of held_out that it gets right.": (
            lambda answers, held_out: _base_commonest(answers).item()
        ),
        "It is how often the commonest answer occurs in training. Asked for is the share of held_out that it "
        "gets right.": lambda answers, held_out: torch.bincount(answers).max().item(),
        "The answer comes back beside the share. The share alone is asked for.": lambda answers, held_out: (
            _base_commonest(answers),
            _base_rate(answers, held_out),
        ),
        "It says of each held-out answer whether it would be right. Their mean is asked for.": (
            lambda answers, held_out: held_out == _base_commonest(answers)
        ),
        "It is 0: nothing in held_out equals what it is compared with, or // rounded down. Compare held_out "
        "with the answer, a number, and not with how often it occurs or where it stands, nor with a pair.": (
            lambda answers, held_out: 0
        ),
        # exceptions
        "bincount gives how often each number occurs. The commonest is the place of the largest of these "
        "counts: torch.bincount(answers).argmax().": lambda answers, held_out: (
            held_out == torch.bincount(answers)
        ),
        "torch takes no mean of True and False. Make numbers of them: (...).float().mean().": (
            lambda answers, held_out: (held_out == answers[0]).mean()
        ),
        **{
            "answers and held_out belong to different questions, and have different lengths, so they can't "
            f"be compared one by one. Compare held_out with the commonest answer.{how}": rule
            for how, rule in {
                "": lambda answers, held_out: answers == held_out,
                " (They were compared the other way round.)": lambda answers, held_out: held_out == answers,
            }.items()
        },
        **{
            "Here a tensor is compared with a pair, which gives a single False. mode() gives values and "
            "indices, most_common(1)[0] an answer and how often it occurs: take the answer out of it. (False "
            f"has no {name}.)": lambda answers, held_out, name=name: getattr(held_out == answers.mode(), name)
            for name in ("float", "sum", "mean")
        },
    },
    hints=(
        "Two steps: which answer do you give, and how often is it right? Only one of the two may see "
        "held_out.",
        "torch.bincount(answers) counts how often 0, 1, 2 and so on occur. argmax finds the largest count, "
        "the first of equal ones.",
        "held_out == commonest is True where that answer is right. The mean of it, as floats, is the share.",
    ),
    look="Print torch.bincount(answers): the place of its largest number, the first where there are several, "
    "is the answer that is always given. Then count it in held_out, and divide by len(held_out).",
)
