"""Exercises of the chapter on the Vision Transformer, and on pictures from text.

Dimensions: B batch, S patches of a picture, P pixels of a patch, D model size. Batch first; pictures are
(B, height, width). Grey levels are tokens 0 to 16, the prompts "zero" to "nine" tokens 17 to 26.

The first kind of input of some exercises has equal sizes where nothing should depend on it: there a wrong
axis doesn't raise, and the numbers tell which one it is.
"""

from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from seqlib.checks.comparing import described
from seqlib.checks.exercise import Exercise, Function
from seqlib.checks.looking import normal, observed

LEVELS, TOKENS, SIDE = 17, 27, 8


def _call(function: Function, *args: Any) -> Any:
    """For calls with arguments of a wrong type, which are meant."""
    return function(*args)


# ---------------------------------------------------------------------------------------- patches


def _patchify(images: Tensor, size: int) -> Tensor:
    """images (B, height, width) -> patches (B, S, P), where P = size * size; size divides height and width

    Squares of size x size pixels, row by row, and in each of them the pixels row by row.
    """
    B, height, width = images.shape
    squares = images.reshape(B, height // size, size, width // size, size)  # (B, rows, size, columns, size)
    return squares.transpose(2, 3).reshape(B, -1, size * size)


def _patchify_inputs(g: Generator, *, B: int, rows: int, columns: int, size: int) -> tuple[Tensor, int]:
    return torch.rand(B, rows * size, columns * size, generator=g), size


def _patchify_axes(rule: Function) -> Function:
    """What a rule makes of (B, rows, size, columns, size)."""
    return lambda images, size: rule(images.unflatten(2, (-1, size)).unflatten(1, (-1, size)))


def _patchify_flattened(axes: Tensor) -> Tensor:
    """(B, S, P) of five axes, as reshape(B, S, P) and flatten come to where the squares are cut right."""
    return axes.flatten(3).flatten(1, 2)


def _patchify_by_force(*swapped: int) -> Function:
    """Another pair of axes swapped, or none, and then (B, S, P) all the same."""

    def function(images: Tensor, size: int) -> Tensor:
        axes = images.unflatten(2, (-1, size)).unflatten(1, (-1, size))
        return (axes.transpose(*swapped) if swapped else axes).reshape(len(images), -1, size**2)

    return function


def _patchify_then(rule: Function) -> Function:
    """The right patches, and something done with them."""
    return lambda images, size: rule(_patchify(images, size))


def _patchify_loop(
    cut: Function = lambda images, i, j, size: images[
        :, i * size : (i + 1) * size, j * size : (j + 1) * size
    ].flatten(1),
    join: Function = lambda squares: torch.stack(squares, 1),
    *,
    counted: Function = lambda height, width: (height, width),
) -> Function:
    """Square by square, row by row."""

    def function(images: Tensor, size: int) -> Any:
        height, width = counted(*images.shape[1:])
        places = [(i, j) for i in range(height // size) for j in range(width // size)]
        return join([cut(images, i, j, size) for i, j in places])

    return function


def _patchify_unfold(finish: Function, *, stride: Function = lambda size: size) -> Function:
    """F.unfold, which gives (B, P, S), and something done with that, a function of S and P too."""

    def function(images: Tensor, size: int) -> Any:
        return finish(F.unfold(images[:, None], size, stride=stride(size)), size * size)

    return function


def _patchify_two_sides(images: Tensor, size: int) -> Any:
    height, width = images.shape
    return images.view(-1, height // size, width // size)


_PATCHIFY_SWAPPED = {
    (1, 2): "the rows of patches with the rows of a patch",
    (1, 3): "the rows of patches with the columns of patches",
    (2, 4): "the rows of a patch with its columns",
    (3, 4): "the columns of patches with the columns of a patch",
}


patchify = Exercise(
    reference=_patchify,
    inputs=(
        partial(_patchify_inputs, B=2, rows=2, columns=2, size=3),
        partial(_patchify_inputs, B=3, rows=5, columns=7, size=2),
    ),
    letters="B S P",
    mistakes={
        # which pixels
        "The shape is right, but these are no squares: reshape and view only cut anew, so a patch gets "
        "pixels that lie side by side in one row of the picture. Cut both sides, (B, rows, size, columns, "
        "size), swap the two axes in the middle, transpose(2, 3), and reshape then.": _patchify_by_force(),
        "The picture is cut as if it were (B, rows, columns, size, size) already. view and reshape read the "
        "pixels in the order in which they lie: the height is rows x size and the width columns x size, so "
        "it is (B, rows, size, columns, size), and transpose(2, 3) comes after it.": lambda images, size: (
            images.unflatten(2, (-1, size))
            .reshape(len(images), -1, images.shape[2] // size, size, size)
            .transpose(2, 3)
            .reshape(len(images), -1, size**2)
        ),
        **{
            f"transpose{pair} swaps {what}. Of (B, rows, size, columns, size) the two in the middle are to "
            f"be swapped, transpose(2, 3): (B, rows, columns, size, size).{rest}": rule
            for pair, what in _PATCHIFY_SWAPPED.items()
            for rest, rule in {
                "": _patchify_by_force(*pair),
                " Only then are S and P neighbours that flatten can join.": _patchify_axes(
                    lambda axes, pair=pair: _patchify_flattened(axes.transpose(*pair))
                ),
            }.items()
        },
        "The patches go column by column. They go row by row: first all those at the top, from left to "
        "right. (In two loops the outer one is that of the rows.)": _patchify_axes(
            lambda axes: _patchify_flattened(axes.permute(0, 3, 1, 2, 4))
        ),
        "The patches are right, but their pixels go column by column. They go row by row, too.": (
            _patchify_axes(lambda axes: _patchify_flattened(axes.permute(0, 1, 3, 4, 2)))
        ),
        "All goes column by column, as in a transposed picture: the patches, and the pixels in "
        "each. Both go row by row.": _patchify_axes(
            lambda axes: _patchify_flattened(axes.permute(0, 3, 1, 4, 2))
        ),
        "There are size x size patches. It is the other way round: a patch has size x size pixels. In "
        "unflatten the number of patches comes first, (-1, size), in view (height // size, size).": (
            lambda images, size: _patchify_flattened(
                images.unflatten(2, (size, -1)).unflatten(1, (size, -1)).transpose(2, 3)
            )
        ),
        "All patches are 2 by 2, whatever size is. Use the argument.": lambda images, size: _patchify(
            images, 2
        ),
        "The squares overlap: each begins one pixel after the one before. It begins size pixels after it: in "
        "a loop at i * size, with unfold at every size-th pixel (stride=size).": _patchify_unfold(
            lambda columns, P: columns.mT, stride=lambda size: 1
        ),
        "The squares overlap, and S comes last, (B, P, S). F.unfold needs stride=size, and .mT after it.": (
            _patchify_unfold(lambda columns, P: columns, stride=lambda size: 1)
        ),
        "The squares overlap: number i begins at pixel i. It begins at i * size.": _patchify_loop(
            lambda images, i, j, size: images[:, i : i + size, j : j + size].flatten(1)
        ),
        "These are the pictures as they were. If you cut the height first, there is an axis more before the "
        "width, and axis 2 is no longer the width: cut the width first, or count from the end, -1. If you "
        "cut both, the axes are to be swapped before you flatten: transpose(2, 3).": lambda images, size: (
            images.clone()
        ),
        "The pixels are moved from 0 to 1 to -1 to 1, as the Vision Transformer does it afterwards. Here "
        "they stay as they are.": _patchify_then(lambda patches: 2 * patches - 1),
        # axes
        "S and P have changed places: the axes are (B, P, S), as F.unfold gives them. .mT, or transpose(1, "
        "2), swaps them.": _patchify_then(lambda patches: patches.mT),
        "F.unfold gives (B, P, S), and view and reshape to (B, S, P) cut that anew, so that the pixels of "
        "all patches are mixed. .mT, or transpose(1, 2), swaps the axes.": _patchify_unfold(
            lambda columns, P: columns.reshape(len(columns), -1, P)
        ),
        **{
            f"The pictures have no axis of channels, so F.unfold takes the batch for one, and the result is "
            f"{shape}. Give it one: images[:, None], (B, 1, height, width).": (
                lambda images, size, finish=finish: finish(F.unfold(images, size, stride=size))
            )
            for shape, finish in {"(B * P, S)": torch.clone, "(S, B * P)": torch.t}.items()
        },
        "The patches are squares, (B, S, size, size). Their pixels are to lie in one row: flatten(2).": (
            _patchify_then(lambda patches: patches.unflatten(2, (int(patches.shape[2] ** 0.5), -1)))
        ),
        "These are (B, S, size, size), but no squares of the picture: reshape and view only cut anew. Cut "
        "both sides, (B, rows, size, columns, size), swap the two axes in the middle, transpose(2, 3), and "
        "make S and P of the four.": lambda images, size: images.reshape(len(images), -1, size, size),
        "The patches are in rows and columns still, (B, rows, columns, P). They are to be one sequence: "
        "flatten(1, 2).": _patchify_axes(lambda axes: axes.transpose(2, 3).flatten(3)),
        "The squares are right, (B, rows, columns, size, size). Now flatten(3) makes P of the last two axes, "
        "and flatten(1, 2) S of rows and columns.": _patchify_axes(lambda axes: axes.transpose(2, 3)),
        "The pixels of a whole row of patches lie in one row, (B, rows, columns * P). flatten(3) joins the "
        "pixels of a patch, and flatten(1, 2) rows and columns.": _patchify_axes(
            lambda axes: axes.transpose(2, 3).flatten(2)
        ),
        "The sides are cut, (B, rows, size, columns, size), and that is all. Swap the two axes in the "
        "middle, transpose(2, 3), and make S and P of the four.": _patchify_axes(lambda axes: axes),
        "The pixels of all patches lie in one row, (B, S * P). In a loop, torch.stack(squares, 1) gives the "
        "patches an axis; torch.cat and flatten(1) don't.": _patchify_then(
            lambda patches: patches.flatten(1)
        ),
        "The patches of all pictures are in one axis, (B * S, P). Each picture has its own: (B, S, P).": (
            _patchify_then(lambda patches: patches.flatten(0, 1))
        ),
        "The patches are laid one behind the other along the batch, (S * B, P). torch.stack(squares, 1) "
        "gives them an axis; torch.cat doesn't.": _patchify_loop(join=torch.cat),
        "The patches come first, (S, B, P). torch.stack(squares, 1) puts them after the batch.": (
            _patchify_loop(join=torch.stack)
        ),
        "The patches of different pictures are mixed. torch.stack(squares) puts the patches first, (S, B, "
        "P), and view and reshape swap no axes: torch.stack(squares, 1).": lambda images, size: (
            _patchify_loop(join=lambda squares: torch.stack(squares).view(len(images), -1, size**2))(
                images, size
            )
        ),
        # how many
        "Only the squares on the left are there, as many columns as rows: a picture can be wider than high. "
        "Columns are counted by the width.": _patchify_loop(counted=lambda height, width: (height, height)),
        "Only the first picture is cut, (S, P). Keep the axis of the batch.": _patchify_then(
            lambda patches: patches[0]
        ),
        "Only one patch comes back, (B, P). Is the return inside the loop?": _patchify_then(
            lambda patches: patches[:, 0]
        ),
        "The patches come back one by one, in a list. torch.stack(squares, 1) makes one tensor of them.": (
            _patchify_loop(join=list)
        ),
        # exceptions
        "After transpose the numbers don't lie in the order of the axes, and view can't join them: use "
        "reshape or flatten.": _patchify_axes(
            lambda axes: axes.transpose(2, 3).view(len(axes), -1, axes.shape[2] ** 2)
        ),
        **{
            f"A picture can be wider than high: {what}.": (
                lambda images, size, side=side: (
                    images.view(
                        len(images), images.shape[side] // size, size, images.shape[side] // size, size
                    )
                    .transpose(2, 3)
                    .flatten(3)
                    .flatten(1, 2)
                )
            )
            for what, side in {
                "columns are counted by the width, width // size": 1,
                "rows are counted by the height, height // size": 2,
            }.items()
        },
        **{
            message: _patchify_loop(
                lambda images, i, j, size, finish=finish: finish(images[:, i * size : size, j * size : size])
            )
            for message, finish in {
                "A slice like i:size is empty once i is beyond size. It ends size pixels after it begins: "
                "i : i + size.": lambda square: square.flatten(1),
                "The slice i:size ends at size wherever it begins, so it is empty from the second square on. "
                "It ends size pixels after it begins: i : i + size.": torch.clone,
            }.items()
        },
        **{
            message: _patchify_loop(
                lambda images, i, j, size, finish=finish: finish(
                    images[i * size : (i + 1) * size, j * size : (j + 1) * size]
                )
            )
            for message, finish in {
                "Axis 0 is the batch: a square is images[:, i : i + size, j : j + size].": torch.flatten,
                "The batch is cut as if it were the height. A square of all pictures is "
                "images[:, i : i + size, j : j + size].": torch.clone,
            }.items()
        },
        "A square is (B, size, size), and has to be laid in one row, flatten(1), to fit into [:, s].": (
            lambda images, size: torch.zeros(len(images), 1, size**2).__setitem__(
                (slice(None), 0), images[:, :size, :size]
            )
        ),
        "images has three axes: B, height, width = images.shape.": _patchify_two_sides,
        **{
            f"/ gives a float, even where nothing is left over, and a size is a whole number: "
            f"height // size. ({name}.)": rule
            for name, rule in {
                "In view": lambda images, size: images.view(
                    len(images), images.shape[1] / size, size, images.shape[2] / size, size
                ),
                "In reshape": lambda images, size: images.reshape(
                    len(images), images.shape[1] / size, size, images.shape[2] / size, size
                ),
                "In unflatten": lambda images, size: images.unflatten(2, (images.shape[2] / size, size)),
                "In range": lambda images, size: _call(range, images.shape[1] / size),
            }.items()
        },
        "A tensor's own unfold takes the axis, the size and the step: images.unfold(1, size, size).": (
            lambda images, size: _call(images.unfold, 1, size)
        ),
        "What comes third in F.unfold is something else: the stride has to be named, stride=size.": (
            lambda images, size: F.unfold(images[:, None], size, size)
        ),
    },
    hints=(
        "Cut both sides: the height into rows of patches and rows in a patch, the width likewise. view (or "
        "unflatten) makes five axes, (B, height // size, size, width // size, size).",
        "The axes are now (B, rows, size, columns, size). What belongs to one patch has to stand side by "
        "side, at the end: transpose(2, 3) makes (B, rows, columns, size, size).",
        "flatten(3) makes P of the last two axes, and flatten(1, 2) makes S of rows and columns.",
    ),
    look="Look at one patch: patches[0, 0] is images[0, :size, :size].flatten(), the square at the top left, "
    "and patches[0, 1] the square right of it, images[0, :size, size : 2 * size].flatten().",
)


# ------------------------------------------------------------------------------------ class token


def _add_class_token(patches: Tensor, class_token: Tensor, places: Tensor) -> Tensor:
    """patches (B, S, D), class_token (D,), places (1 + S, D) -> (B, 1 + S, D)

    In every row of the batch the class token comes first, then the patches; then places are added to all.
    """
    first = class_token.expand(len(patches), 1, -1)  # (B, 1, D)
    return torch.cat([first, patches], 1) + places


def _add_class_token_inputs(g: Generator, *, B: int, S: int, D: int) -> tuple[Tensor, Tensor, Tensor]:
    return normal(g, B, S, D), normal(g, D), normal(g, 1 + S, D)


def _add_class_token_with(
    join: Function = lambda first, patches: torch.cat([first, patches], 1),
    place: Function = lambda tokens, places: tokens + places,
    *,
    begin: Function = lambda class_token: class_token,
) -> Function:
    """The tokens with one of the rules changed. What is joined is (B, 1, D) and (B, S, D)."""

    def function(patches: Tensor, class_token: Tensor, places: Tensor) -> Any:
        first = begin(class_token).expand(len(patches), 1, -1)
        return place(join(first, patches), places)

    return function


def _add_class_token_then(rule: Function) -> Function:
    """The right tokens, and something done with them."""
    return lambda *args: rule(_add_class_token(*args))


def _add_class_token_joined(rule: Function) -> Function:
    """torch.cat along axis 1 of what a rule makes of class_token and patches, most of which doesn't fit."""
    return lambda patches, class_token, places: torch.cat(rule(class_token, patches), 1) + places


add_class_token = Exercise(
    reference=_add_class_token,
    inputs=(
        partial(_add_class_token_inputs, B=5, S=4, D=5),  # B, 1 + S and D are equal
        partial(_add_class_token_inputs, B=3, S=10, D=7),
    ),
    observe=partial(observed, _add_class_token, ("the result",)),
    mistakes={
        # the class token
        "The class token comes last. It comes first, since the result's [:, 0] is what is read: "
        "torch.cat([first, patches], 1).": _add_class_token_with(
            lambda first, patches: torch.cat([patches, first], 1)
        ),
        "The class token is 0. It is the argument class_token, a vector that is learnt.": (
            _add_class_token_with(begin=torch.zeros_like)
        ),
        "The class token is 1 everywhere. It is the argument class_token, a vector that is learnt.": (
            _add_class_token_with(begin=torch.ones_like)
        ),
        "The class token is added to every patch. It is a token of its own, in front of them: torch.cat.": (
            lambda patches, class_token, places: patches + class_token + places[1:]
        ),
        "Only the first row of the batch has the class token. Each row needs it: tokens[:, 0], or "
        "class_token.expand(B, 1, D).": _add_class_token_with(
            lambda first, patches: torch.cat(
                [first * (torch.arange(len(first)) == 0)[:, None, None], patches], 1
            )
        ),
        "The class token takes the place of the first patch. There are 1 + S tokens.": (
            lambda patches, class_token, places: _add_class_token(patches[:, 1:], class_token, places[:-1])
        ),
        **{
            f"The class token is missing: these are the patches with {what}. It comes first, and places[0] "
            "is its own.": (lambda patches, class_token, places, part=part: patches + places[part])
            for what, part in {"places[1:]": slice(1, None), "the first S places": slice(-1)}.items()
        },
        # places
        "The places are missing: + places, after the class token is in front.": _add_class_token_with(
            place=lambda tokens, places: tokens
        ),
        "Only the patches have their places. The class token has one too, places[0].": _add_class_token_with(
            place=lambda tokens, places: tokens + torch.cat([0 * places[:1], places[1:]])
        ),
        "The patches got the first S places, before the class token came in front of them. places[0] is that "
        "of the class token: put it in front first, then add all places.": _add_class_token_with(
            place=lambda tokens, places: tokens + torch.cat([0 * places[:1], places[:-1]])
        ),
        "The patches got the first S places, and the class token the last one. places[0] is that of the "
        "class token: put it in front first, then add all places.": _add_class_token_with(
            place=lambda tokens, places: tokens + places.roll(1, 0)
        ),
        "The patches got the first S places, so that the class token and the first patch share places[0]. "
        "Put the class token in front first, then add all places.": _add_class_token_with(
            place=lambda tokens, places: tokens + torch.cat([places[:1], places[:-1]])
        ),
        "Only the class token has its place. The patches have theirs, places[1:].": _add_class_token_with(
            place=lambda tokens, places: tokens + torch.cat([places[:1], 0 * places[1:]])
        ),
        "All tokens get the place of the class token, places[0]. Each has its own: + places.": (
            _add_class_token_with(place=lambda tokens, places: tokens + places[0])
        ),
        "The places are added along the batch, so that all tokens of a picture get the same. They are for "
        "the tokens, (1 + S, D), the same for all pictures: + places, without a new axis or with "
        "places[None].": (_add_class_token_with(place=lambda tokens, places: tokens + places[:, None])),
        "The places are transposed. They have a row for each token, as the tokens have: + places.": (
            _add_class_token_with(place=lambda tokens, places: tokens + places.T)
        ),
        "The places are multiplied. They are added.": _add_class_token_with(
            place=lambda tokens, places: tokens * places
        ),
        "The places are added twice. Once is enough, to all tokens.": _add_class_token_with(
            place=lambda tokens, places: tokens + 2 * places
        ),
        "The patches have their places twice: places are added once, after the class token is in front.": (
            _add_class_token_with(
                place=lambda tokens, places: tokens + places + torch.cat([0 * places[:1], places[1:]])
            )
        ),
        "The places stand beside the tokens, in 2D entries. They are added: + places.": _add_class_token_with(
            place=lambda tokens, places: torch.cat([tokens, places.expand(tokens.shape)], -1)
        ),
        # how they are joined
        "The class token stands beside each patch, in 2D entries. It is a token of its own: join along axis "
        "1.": lambda patches, class_token, places: torch.cat([class_token.expand(patches.shape), patches], 2),
        "The class token is joined along axis 0, as one picture more. In every picture it is one token more: "
        "class_token.expand(B, 1, D), along axis 1.": lambda patches, class_token, places: torch.cat(
            [class_token.expand(1, *patches.shape[1:]), patches]
        ),
        "Each patch has a class token in front, so there are 2S. Each picture needs one only: (B, 1, D).": (
            lambda patches, class_token, places: torch.cat([class_token.expand(patches.shape), patches], 1)
        ),
        # what is returned
        "Only the class token comes back, (B, D). All tokens are asked for; it is read from them after the "
        "last layer.": _add_class_token_then(lambda tokens: tokens[:, 0]),
        "The numbers are right, but they are cut off from the graph, so that no gradient gets through. "
        "detach, no_grad, item(), numpy and torch.tensor(...) cut it.": _add_class_token_then(torch.detach),
        "The numbers are right, but class_token is cut off from the graph, so it could not be learnt. "
        "detach, .data, tolist() and torch.tensor(...) cut it.": _add_class_token_with(begin=torch.detach),
        "The numbers are right, but places are cut off from the graph, so they could not be learnt. detach, "
        ".data, tolist() and torch.tensor(...) cut it.": _add_class_token_with(
            place=lambda tokens, places: tokens + places.detach()
        ),
        "The numbers are right, but class_token and places are cut off from the graph, so they could not be "
        "learnt. detach, .data, tolist() and torch.tensor(...) cut it.": _add_class_token_with(
            begin=torch.detach, place=lambda tokens, places: tokens + places.detach()
        ),
        # exceptions
        "places have a row more than there are patches, that of the class token. Put it in front first, "
        "torch.cat([first, patches], 1), and add places then.": lambda patches, class_token, places: (
            patches + places
        ),
        "class_token has one axis, (D,), and the patches have three. Make (B, 1, D) of it: "
        "class_token.expand(B, 1, D).": _add_class_token_joined(
            lambda class_token, patches: [class_token, patches]
        ),
        "The class token has two axes, and the patches have three. Make (B, 1, D) of it: "
        "class_token.expand(B, 1, D).": _add_class_token_joined(
            lambda class_token, patches: [class_token[None], patches]
        ),
        "There is one class token, and each of the B pictures needs it: class_token.expand(B, 1, D).": (
            _add_class_token_joined(lambda class_token, patches: [class_token[None, None], patches])
        ),
        **{
            f"They are joined along {axis}. The tokens are axis 1: torch.cat([first, patches], 1).": (
                _add_class_token_with(lambda first, patches, place=place: torch.cat([first, patches], place))
            )
            for axis, place in {"axis 0, the batch": 0, "the last axis": 2}.items()
        },
        "torch.stack puts tensors of the same shape on a new axis. torch.cat joins them along one that is "
        "there: torch.cat([first, patches], 1).": _add_class_token_with(
            lambda first, patches: torch.stack([first, patches], 1)
        ),
        "torch.cat takes its tensors in a list: torch.cat([first, patches], 1).": _add_class_token_with(
            lambda first, patches: _call(torch.cat, first, patches, 1)
        ),
        "torch.cat takes its tensors in a list: torch.cat([first, patches], dim=1).": _add_class_token_with(
            lambda first, patches: torch.cat(first, patches, dim=1)  # type: ignore[misc]
        ),
    },
    hints=(
        "There is one class token, (D,), and each of the B pictures needs it in front: class_token.expand(B, "
        "1, D), with B = len(patches).",
        "torch.cat([first, patches], 1) joins along the axis of the tokens: (B, 1 + S, D).",
        "places has a row for each of the 1 + S tokens, so + places does it for all pictures at once.",
    ),
    look="By hand: the result's [:, 0] is class_token + places[0], the same for all pictures, and its [:, 1] "
    "is patches[:, 0] + places[1].",
)


# ---------------------------------------------------------------------------------- pixels as tokens


def _pixel_tokens(images: Tensor, labels: Tensor) -> Tensor:
    """images (B, 8, 8), grey values 0, 1/16, ..., 1; labels (B,), digits -> tokens (B, 65), int64

    First the prompt's token, 17 + label, then the 64 grey levels 0 to 16, row by row.
    """
    levels = (16 * images).round().long()  # (B, 8, 8)
    return torch.cat([17 + labels[:, None], levels.flatten(1)], 1)


def _pixel_tokens_inputs(g: Generator, *, B: int) -> tuple[Tensor, Tensor]:
    """Every picture has all levels, and every label is another, as far as there are digits enough."""
    pixels = torch.stack([torch.randperm(SIDE**2, generator=g) for _ in range(B)]) % LEVELS
    return pixels.view(B, SIDE, SIDE) / 16, torch.randperm(10, generator=g)[:B]


def _pixel_tokens_with(
    prompt: Function = lambda labels: 17 + labels,
    level: Function = lambda images: (16 * images).round().long(),
    *,
    flatten: Function = lambda levels: levels.flatten(1),
    join: Function = lambda prompt, levels: torch.cat([prompt, levels], 1),
) -> Function:
    """Tokens with one of the rules changed. What is joined is (B, 1) and (B, 64)."""

    def function(images: Tensor, labels: Tensor) -> Any:
        return join(prompt(labels)[:, None], flatten(level(images)))

    return function


def _pixel_tokens_joined(rule: Function) -> Function:
    """torch.cat along axis 1 of what a rule makes of prompts (B,) and levels (B, 8, 8), which doesn't fit."""
    return lambda images, labels: torch.cat(rule(17 + labels, (16 * images).long()), 1)


pixel_tokens = Exercise(
    reference=_pixel_tokens,
    inputs=(partial(_pixel_tokens_inputs, B=8), partial(_pixel_tokens_inputs, B=3)),
    letters="B T",
    mistakes={
        # the prompt
        "The prompt comes last. It comes first: each pixel is drawn given what stands before it.": (
            _pixel_tokens_with(join=lambda prompt, levels: torch.cat([levels, prompt], 1))
        ),
        "The prompt is missing: these are the pixels, (B, 64). In front comes 17 + label.": (
            _pixel_tokens_with(join=lambda prompt, levels: levels)
        ),
        "The prompt takes the place of the first pixel. It comes before it, so that there are 65 tokens.": (
            _pixel_tokens_with(join=lambda prompt, levels: torch.cat([prompt, levels[:, 1:]], 1))
        ),
        "The prompt is the label itself, 0 to 9. These tokens are grey levels already, and one number can't "
        "mean two things: 17 + label.": _pixel_tokens_with(lambda labels: labels),
        "The prompt is 16 + label, so that for a zero it is 16, the darkest grey. Levels 0 to 16 are 17 "
        "numbers: 17 + label.": _pixel_tokens_with(lambda labels: 16 + labels),
        "The prompt is 18 + label, so that token 17 is never used. Levels 0 to 16 are 17 numbers, and token "
        "17 is free: 17 + label.": _pixel_tokens_with(lambda labels: 18 + labels),
        "The prompt is 64 + label. It follows the levels, not the pixels: 17 + label.": _pixel_tokens_with(
            lambda labels: 64 + labels
        ),
        "The digits have the first ten tokens, and the levels those after them. It is the other way round: "
        "levels 0 to 16, and 17 + label.": _pixel_tokens_with(
            lambda labels: labels, lambda images: 10 + (16 * images).long()
        ),
        **{
            f"The label is a one-hot row{rest}. Tokens are plain numbers, and the model has a vector for "
            "each: one token, 17 + label.": (
                lambda images, labels, encode=encode: torch.cat(
                    [encode(labels), (16 * images).long().flatten(1)], 1
                )
            )
            for rest, encode in {
                " of ten numbers": lambda labels: F.one_hot(labels, 10),
                " of 27 numbers": lambda labels: F.one_hot(17 + labels, TOKENS),
            }.items()
        },
        # the levels
        "The grey values are cut to whole numbers: all but 1 become 0. Multiply by 16 first.": (
            _pixel_tokens_with(level=lambda images: images.long())
        ),
        **{
            f"It is black and white, 0 and 1{rest}. There are 17 levels: 16 times the grey value.": (
                _pixel_tokens_with(level=level)
            )
            for rest, level in {
                ", by rounding or a threshold": lambda images: (images > 0.5).long(),
                ", with 1 for 0.5": lambda images: (images >= 0.5).long(),
                ", with 1 for all that isn't 0": lambda images: (images > 0).long(),
            }.items()
        },
        **{
            f"The levels are {factor} times the grey value{rest}, as in most picture files. Here there are "
            "17 levels: 16 times, 0 to 16.": _pixel_tokens_with(
                level=lambda images, factor=factor, form=form: form(factor * images).long()
            )
            for factor, rest, form in (
                (255, "", torch.floor),
                (255, ", rounded", torch.round),
                (256, "", torch.floor),
            )
        },
        "The levels are 17 times the grey value, so that 1 becomes 17, the prompt of a zero. There are 17 "
        "levels, but the largest is 16: 16 times.": _pixel_tokens_with(
            level=lambda images: (17 * images).long()
        ),
        "The levels are 17 times the grey value, rounded, so that 1 becomes 17, the prompt of a zero. There "
        "are 17 levels, but the largest is 16: 16 times.": _pixel_tokens_with(
            level=lambda images: (17 * images).round().long()
        ),
        **{
            f"The largest level is 15: {why}. There are 17 levels, 0 to 16: 16 times the grey value.": (
                _pixel_tokens_with(level=level)
            )
            for why, level in {
                "1 is cut like 15/16": lambda images: (16 * images).long().clamp(max=15),
                "it is 15 times the grey value": lambda images: (15 * images).long(),
                "it is 15 times the grey value, rounded": lambda images: (15 * images).round().long(),
            }.items()
        },
        "The levels count from 1. They are 0 to 16: 16 times the grey value.": _pixel_tokens_with(
            level=lambda images: 1 + (16 * images).long()
        ),
        "The levels are turned round, 16 for paper and 0 for ink. They are 16 times the grey value.": (
            _pixel_tokens_with(level=lambda images: 16 - (16 * images).long())
        ),
        "The pixels are the grey values, 0 to 1, as they were. Tokens are whole numbers: 16 times the grey "
        "value, and long().": _pixel_tokens_with(level=lambda images: images),
        # the order and the axes
        "The pixels go column by column. They go row by row, as flatten(1) has them.": _pixel_tokens_with(
            flatten=lambda levels: levels.mT.flatten(1)
        ),
        "The pixels of different pictures are mixed: the batch isn't the first axis when they are laid in a "
        "row. flatten(1) keeps it.": _pixel_tokens_with(
            flatten=lambda levels: levels.flatten(1).T.reshape(len(levels), -1)
        ),
        "All tokens lie in one row, without the axis of the batch. flatten(1) keeps it.": (
            lambda images, labels: torch.cat([17 + labels, (16 * images).long().flatten()])
        ),
        "The tokens come first, (65, B). The batch does: join along axis 1.": lambda images, labels: (
            _pixel_tokens(images, labels).T
        ),
        # what is returned
        "The numbers are right, but not int64, which tokens are. long() makes int64 of them.": (
            lambda images, labels: _pixel_tokens(images, labels).float()
        ),
        # exceptions
        "The prompts are (B,), and the levels have the axis of the pixels: 17 + labels[:, None] is (B, 1).": (
            _pixel_tokens_joined(lambda prompt, levels: [prompt, levels.flatten(1)])
        ),
        "The pixels lie in rows and columns still, (B, 8, 8), and the prompts are (B, 1). flatten(1) makes "
        "(B, 64) of them.": _pixel_tokens_joined(lambda prompt, levels: [prompt[:, None], levels]),
        "The prompts lie in a row, (1, B). Each picture has one, so they are a column: labels[:, None].": (
            _pixel_tokens_joined(lambda prompt, levels: [prompt[None], levels.flatten(1)])
        ),
        "They are joined along axis 0, the batch. The tokens are axis 1: torch.cat([prompts, levels], 1).": (
            _pixel_tokens_with(join=lambda prompt, levels: torch.cat([prompt, levels]))
        ),
        "flatten() and reshape(-1) lay all pictures in one row. flatten(1) keeps the axis of the batch.": (
            _pixel_tokens_joined(lambda prompt, levels: [prompt[:, None], levels.flatten()])
        ),
        "torch.stack puts tensors of the same shape on a new axis. torch.cat joins them along one that is "
        "there: torch.cat([prompts, levels], 1).": _pixel_tokens_with(
            join=lambda prompt, levels: torch.stack([prompt, levels], 1)
        ),
        "torch.cat takes its tensors in a list: torch.cat([prompts, levels], 1).": _pixel_tokens_with(
            join=lambda prompt, levels: _call(torch.cat, prompt, levels, 1)
        ),
        "torch.cat takes its tensors in a list: torch.cat([prompts, levels], dim=1).": _pixel_tokens_with(
            join=lambda prompt, levels: torch.cat(prompt, levels, dim=1)  # type: ignore[misc]
        ),
        "int() makes one number, and here is a whole tensor. long() makes whole numbers of all.": (
            _pixel_tokens_with(level=lambda images: _call(int, 16 * images))
        ),
    },
    hints=(
        "16 * images are the grey levels, as floats. round() and long() make whole numbers of them.",
        "flatten(1) lays each picture's rows one after the other, (B, 64), and keeps the batch.",
        "The prompts are a column, 17 + labels[:, None], (B, 1). torch.cat([prompts, levels], 1) puts them "
        "in front.",
    ),
    look="Look at one row: tokens[0, 0] is 17 + labels[0], tokens[0, 1:9] is 16 * images[0, 0], the top row "
    "of the first picture, and the last token is 16 * images[0, 7, 7].",
)


# ------------------------------------------------------------------------------------- drawing


def _sample_image(step: Function, prompt: Tensor, temperature: float | int, generator: Generator) -> Tensor:
    """prompt (B,) -> levels (B, 8, 8), int64: 64 pixels row by row, each given the prompt and all before it

    step(tokens (B,), state) -> logits (B, 17), new state. It reads the newest token of each row; the state
    stands for those before, and is () at first. Draw a level from softmax(logits / temperature) with
    torch.multinomial(probabilities, 1, generator=generator).
    """
    tokens, state, levels = prompt, (), []
    for _ in range(64):
        logits, state = step(tokens, state)
        probabilities = torch.softmax(logits / temperature, -1)
        tokens = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
        levels.append(tokens)
    return torch.stack(levels, 1).view(-1, 8, 8)


_SAMPLE_IMAGE_ROWS = 97  # of the table of logits; what was read so far says which of them comes next
_SAMPLE_IMAGE_SPREAD = torch.linspace(2, -2, 5)  # logits of the levels that may come next
_SAMPLE_IMAGE_NEVER = -100.0  # and of all others


class SampleImageStep:
    """A model to draw with. Five levels may come next, always with the same five logits; which levels, and in
    which order, depends on every token so far.

    Its state is how many tokens it has read, and a sum of them. It says what is wrong with a call.
    """

    def __init__(self, g: Generator, B: int) -> None:
        self.B = B
        logits = torch.full((LEVELS,), _SAMPLE_IMAGE_NEVER)
        logits[: len(_SAMPLE_IMAGE_SPREAD)] = _SAMPLE_IMAGE_SPREAD
        self.table = logits[torch.rand(_SAMPLE_IMAGE_ROWS, LEVELS, generator=g).argsort(1)]
        # what each token adds to the sum at each place; no two tokens the same
        self.codes = torch.rand(SIDE**2, _SAMPLE_IMAGE_ROWS, generator=g).argsort(1)[:, :TOKENS]

    def logits(self, tokens: Tensor) -> Tensor:
        """Of the level after each of the tokens (B, 64) that are read -> (B, 64, 17)"""
        sums = self.codes[torch.arange(SIDE**2), tokens].cumsum(1)
        return self.table[sums % _SAMPLE_IMAGE_ROWS]

    def __call__(self, tokens: Any, state: Any) -> tuple[Tensor, tuple[int, Tensor]]:
        if not isinstance(tokens, Tensor) or tokens.is_floating_point():
            raise TypeError(f"tokens must be an int64 tensor of shape ({self.B},), got {described(tokens)}")
        if tokens.shape != (self.B,):
            raise ValueError(
                f"tokens must have shape ({self.B},), the newest token of each row, got {tuple(tokens.shape)}"
            )
        if not isinstance(state, tuple) or len(state) not in (0, 2):
            raise TypeError(f"state must be () at first, then what step returned, got {described(state)}")
        place, before = state or (0, 0)
        if place == SIDE**2:
            raise ValueError(
                f"tokens must be a prompt and at most {place - 1} pixels, got {place + 1} in all"
            )
        sums = self.codes[place][tokens] + before
        return self.table[sums % _SAMPLE_IMAGE_ROWS], (place + 1, sums)


def _sample_image_inputs(g: Generator, *, B: int, temperature: float) -> tuple[Any, ...]:
    return SampleImageStep(g, B), torch.randint(LEVELS, TOKENS, (B,), generator=g), temperature, g


_SAMPLE_IMAGE_ENOUGH = 500  # draws, to compare shares
_SAMPLE_IMAGE_MARGIN = 0.07  # five standard deviations, and a third of what no temperature changes


def _sample_image_observed(result: Any, args: tuple[Any, ...]) -> Any:
    """Whether the levels are drawn as they should be, whatever they are drawn with.

    Levels with a probability of 0 must not occur; the others occur in the right shares. Where it isn't so,
    the levels themselves, for somebody who made the same mistake with the same generator.
    """
    step, prompt, temperature, _ = args
    if not isinstance(result, Tensor) or result.shape != (len(prompt), SIDE, SIDE):
        return "its shape alone"
    levels = result.flatten(1)
    valid = (levels >= 0) & (levels < LEVELS) & (levels == levels.long())
    tokens = levels.where(valid, 0).long()
    logits = step.logits(torch.cat([prompt[:, None], tokens[:, :-1]], 1)).gather(2, tokens[..., None])[..., 0]
    never = (~valid | (logits == _SAMPLE_IMAGE_NEVER)).double().mean().item()
    shares = (logits[..., None] == _SAMPLE_IMAGE_SPREAD).double().mean((0, 1))
    expected = torch.softmax(_SAMPLE_IMAGE_SPREAD.double() / temperature, 0)
    if levels.numel() < _SAMPLE_IMAGE_ENOUGH or bool(
        ((shares - expected).abs() < _SAMPLE_IMAGE_MARGIN).all()
    ):
        shares = expected
    seen = {
        "the share of pixels whose probability was 0, given the prompt and the pixels before,": never,
        "the share of the likeliest level, of the second and so on": shares,
    }
    return seen if never == 0 and shares is expected else seen | {"the result": result}


def _sample_image_with(
    *,
    weigh: Function = lambda logits, temperature: torch.softmax(logits / temperature, -1),
    draw: Function = lambda p, generator: torch.multinomial(p, 1, generator=generator)[:, 0],
    hand_on: Function = lambda levels, state, prompt, pixel, p: (levels, state),
    pixels: int = SIDE**2,
    give: Function = lambda levels, prompt: torch.stack(levels, 1).view(-1, 8, 8),
) -> Function:
    """Drawing with one of its rules changed."""

    def function(step: Function, prompt: Tensor, temperature: float | int, generator: Generator) -> Any:
        tokens: Any = prompt
        state: Any = ()
        levels = []
        for pixel in range(pixels):
            logits, state = step(tokens, state)
            p = weigh(logits, temperature)
            levels.append(draw(p, generator))
            tokens, state = hand_on(levels[-1], state, prompt, pixel, p)
        return give(levels, prompt)

    return function


def _sample_image_then(rule: Function) -> Function:
    """The right picture, and something done with it."""
    return lambda *args: rule(_sample_image(*args))


def _sample_image_called(rule: Function) -> Function:
    """A call of step that it can't answer."""
    return lambda step, prompt, temperature, generator: rule(step, prompt)


def _sample_image_once(step: Function, prompt: Tensor, temperature: float, generator: Generator) -> Tensor:
    p = torch.softmax(step(prompt, ())[0] / temperature, -1)
    return torch.multinomial(p, 64, replacement=True, generator=generator).view(-1, 8, 8)


sample_image = Exercise(
    reference=_sample_image,
    inputs=(
        partial(_sample_image_inputs, B=19, temperature=2.0),
        partial(_sample_image_inputs, B=1, temperature=0.5),
    ),
    observe=_sample_image_observed,
    mistakes={
        # what raises at once: first, since it takes no time to find
        "multinomial draws one level from each row, as (B, 1), and step wants (B,): [:, 0]. (Or the prompt "
        "got an axis too many.)": _sample_image_called(lambda step, prompt: step(prompt[:, None], ())),
        "step is given all tokens so far. It reads the newest one only; the state remembers those before.": (
            _sample_image_called(lambda step, prompt: step(torch.stack([prompt, prompt], 1), ()))
        ),
        "step is given the logits, or the probabilities. It reads the levels that were drawn from them.": (
            _sample_image_with(hand_on=lambda levels, state, prompt, pixel, p: (p, state))
        ),
        "squeeze() removes every axis of size 1, and where B = 1 that of the batch as well. Name the axis: "
        "squeeze(1) or [:, 0].": _sample_image_with(
            draw=lambda p, generator: torch.multinomial(p, 1, generator=generator).squeeze()
        ),
        **{
            f"{name} makes one number of a tensor, and here each of B rows has a level. Leave it a tensor.": (
                _sample_image_with(
                    draw=lambda p, generator, number=number: number(
                        torch.multinomial(p, 1, generator=generator)
                    )
                )
            )
            for name, number in {"item()": Tensor.item, "int()": int}.items()
        },
        "[0] is what was drawn for the first row. Each row has a level, and [:, 0] are all of them, (B,). "
        "(step reads all rows at once, not one after the other.)": (
            _sample_image_with(draw=lambda p, generator: torch.multinomial(p, 1, generator=generator)[0])
        ),
        "multinomial draws one level from each row, as (B, 1), and a place for B levels has shape (B,): "
        "[:, 0].": _sample_image_called(
            lambda step, prompt: torch.zeros_like(prompt).__setitem__(slice(None), prompt[:, None])
        ),
        "step is called for one row alone. All B rows go into it at once: tokens (B,).": _sample_image_called(
            lambda step, prompt: step(prompt[0], ())
        ),
        "The state is () at first, an empty tuple, and not None.": _sample_image_called(
            lambda step, prompt: step(prompt, None)
        ),
        "tokens and state have changed places: step(tokens, state).": _sample_image_called(
            lambda step, prompt: step((), prompt)
        ),
        "step needs the state as well: step(tokens, state), with () at first.": _sample_image_called(
            lambda step, prompt: step(prompt)
        ),
        "step returns two things, the logits and the new state, in this order: logits, state = step(tokens, "
        "state).": _sample_image_called(lambda step, prompt: step(prompt, ()) / 1.0),
        "torch.multinomial wants probabilities, and logits or logarithms, which may be negative, are none. "
        "Take the softmax first.": _sample_image_with(weigh=lambda logits, temperature: logits / temperature),
        **{
            f"64 levels are drawn at once{rest}. Draw one for each row, multinomial(p, 1, ...), and call "
            "step again with it.": _sample_image_with(
                draw=lambda p, generator, again=again: torch.multinomial(p, 64, again, generator=generator)
            )
            for rest, again in {"": False, ", with replacement": True}.items()
        },
        "The generator has to be named, generator=generator: what comes third in multinomial is something "
        "else.": _sample_image_with(draw=lambda p, generator: _call(torch.multinomial, p, 1, generator)),
        "softmax has to be told its axis: softmax(..., -1).": _sample_image_with(
            weigh=lambda logits, temperature: _call(torch.softmax, logits / temperature)
        ),
        # what raises in the end
        **{
            f"The prompt is among the pixels, so there are 65. Begin with an empty list, and append what is "
            f"drawn.{rest}": _sample_image_with(
                give=lambda levels, prompt, form=form: form(torch.stack([prompt, *levels], 1))
            )
            for rest, form in {
                " Then view(-1, 8, 8) fits.": lambda levels: levels.view(-1, 8, 8),
                " Then view(B, 8, 8) fits.": lambda levels: levels.view(len(levels), 8, 8),
            }.items()
        },
        "There are B pictures: view(-1, 8, 8).": _sample_image_with(
            give=lambda levels, prompt: torch.stack(levels, 1).view(8, 8)
        ),
        **{
            "A pixel is missing, so there are 63. range(63) counts too few, and levels[1:] leaves out a "
            f"pixel: the prompt isn't among them.{rest}": _sample_image_with(
                pixels=63, give=lambda levels, prompt, form=form: form(torch.stack(levels, 1))
            )
            for rest, form in {
                " Then view(-1, 8, 8) fits.": lambda levels: levels.view(-1, 8, 8),
                " Then view(B, 8, 8) fits.": lambda levels: levels.view(len(levels), 8, 8),
            }.items()
        },
        "step is called a 65th time. The 64 tokens to read are the prompt and 63 pixels: nothing is drawn "
        "after the last pixel, so nobody has to read it.": _sample_image_with(pixels=65),
        # what is read, and carried
        "The state isn't carried, so the model sees only the newest pixel, and takes it for the first token. "
        "step returns the state to go on from: logits, state = step(tokens, state).": _sample_image_with(
            hand_on=lambda levels, state, prompt, pixel, p: (levels, ())
        ),
        "The prompt is read at every step. After the first step the model reads the level that was just "
        "drawn.": _sample_image_with(hand_on=lambda levels, state, prompt, pixel, p: (prompt, state)),
        "Every pixel is drawn as if it were the first: step reads the prompt, and begins from (). Hand on "
        "the newest levels and the newest state.": _sample_image_with(
            hand_on=lambda levels, state, prompt, pixel, p: (prompt, ())
        ),
        "All 64 pixels are drawn after one step, with the probabilities of the first. After each pixel step "
        "is called again, with the level that was drawn.": _sample_image_once,
        **{
            f"{what} anew at each row of the picture. After the first pixel nothing begins anew: it goes on "
            "through all 64.": _sample_image_with(
                hand_on=lambda levels, state, prompt, pixel, p, anew=anew: (
                    (levels, state) if (pixel + 1) % SIDE else anew(levels, state, prompt)
                )
            )
            for what, anew in {
                "The state begins": lambda levels, state, prompt: (levels, ()),
                "The prompt is read": lambda levels, state, prompt: (prompt, state),
                "The prompt is read, and the state begins,": lambda levels, state, prompt: (prompt, ()),
            }.items()
        },
        # probabilities
        "The likeliest level is taken every time. Draw with torch.multinomial.": _sample_image_with(
            draw=lambda p, generator: p.argmax(-1)
        ),
        "The logits are multiplied by the temperature. They are divided by it: a low temperature means less "
        "chance.": _sample_image_with(
            weigh=lambda logits, temperature: torch.softmax(logits * temperature, -1)
        ),
        "The temperature has no effect. Is it missing? Or does it divide the probabilities? There it cancels "
        "out, as multinomial makes them add up to 1 again. It divides the logits, before the softmax.": (
            _sample_image_with(weigh=lambda logits, temperature: torch.softmax(logits, -1))
        ),
        **{
            f"There are two softmaxes{rest}. One is enough: of the logits divided by the temperature.": (
                _sample_image_with(weigh=weigh)
            )
            for rest, weigh in {
                "": lambda logits, temperature: (logits / temperature).softmax(-1).softmax(-1),
                ", and the temperature comes between them": lambda logits, temperature: (
                    logits.softmax(-1) / temperature
                ).softmax(-1),
            }.items()
        },
        "The softmax runs over axis 0, the batch. Each row is a distribution of its own: softmax(..., -1).": (
            _sample_image_with(weigh=lambda logits, temperature: torch.softmax(logits / temperature, 0))
        ),
        "All rows get the level that is drawn for the first. Draw one for each row.": _sample_image_with(
            draw=lambda p, generator: torch.multinomial(p[0], 1, generator=generator).expand(len(p))
        ),
        "All rows are drawn with the probabilities of the first. Each row has its own.": _sample_image_with(
            draw=lambda p, generator: torch.multinomial(p[0], len(p), replacement=True, generator=generator)
        ),
        # which pixels, and where
        "The prompt is the first pixel, and the last one is missing. Begin with an empty list, and append "
        "the level that is drawn, not the token that is read.": _sample_image_with(
            pixels=63, give=lambda levels, prompt: torch.stack([prompt, *levels], 1).view(-1, 8, 8)
        ),
        "The picture is filled column by column. Row by row comes first, then the columns: "
        "torch.stack(levels, 1).view(-1, 8, 8).": _sample_image_then(lambda levels: levels.mT),
        "The pixels of different pictures are mixed: torch.stack(levels) and torch.cat(levels) put the "
        "pixels before the batch, (64, B), and view and reshape swap no axes. torch.stack(levels, 1) is (B, "
        "64).": (_sample_image_with(give=lambda levels, prompt: torch.stack(levels).view(-1, 8, 8))),
        "The pixels lie in one row, (B, 64). view(-1, 8, 8) makes pictures of them.": _sample_image_then(
            lambda levels: levels.flatten(1)
        ),
        "The pixels come first, (64, B). torch.stack(levels, 1) is (B, 64), and view(-1, 8, 8) makes "
        "pictures of them.": _sample_image_then(lambda levels: levels.flatten(1).T),
        "The prompt stands in front of the pixels, (B, 65). Only what is drawn is asked for, (B, 8, 8).": (
            lambda step, prompt, temperature, generator: torch.cat(
                [prompt[:, None], _sample_image(step, prompt, temperature, generator).flatten(1)], 1
            )
        ),
        "Only the pixels of the last step come back, (B,). Collect all 64 in a list.": _sample_image_then(
            lambda levels: levels[:, -1, -1]
        ),
        "These are grey values, 0 to 1. The levels are asked for, 0 to 16, as they were drawn.": (
            _sample_image_then(lambda levels: levels / 16)
        ),
        "The levels are right, but not int64. torch.zeros makes floats, for instance; dtype=int64 makes "
        "whole numbers.": _sample_image_then(lambda levels: levels.float()),
    },
    hints=(
        "It is a loop over 64 pixels. Two things go from one round to the next, and step wants both of them: "
        "the newest tokens, the prompt at first, and the state, () at first.",
        "In each round: logits, state = step(tokens, state). Then tokens = torch.multinomial(probabilities, "
        "1, generator=generator)[:, 0], with probabilities = torch.softmax(logits / temperature, -1).",
        "Append tokens to a list in each round. torch.stack(levels, 1) is (B, 64), and view(-1, 8, 8) makes "
        "pictures of it.",
    ),
    look="Print the shape of what goes into step in each round: (B,), the prompt first, and from then on the "
    "levels that were just drawn. The state that step returns goes into the next call. Each level is drawn "
    "with softmax(logits / temperature), row by row.",
)
