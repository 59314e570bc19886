"""Scenes of handwritten digits: what can be said and asked about them, and where everything is.

A scene is a canvas of 24 x 24 pixels. Its nine cells of 8 x 8 pixels are numbered row by row, and some hold a
digit. Dimensions: N scenes, T tokens.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from seqlib.data import Digits
from seqlib.pairs import EOS, SPECIAL
from seqlib.vocab import Vocabulary

SIDE, CELL = 3, 8  # cells in a row, pixels in a cell
DIGIT_WORDS = tuple("zero one two three four five six seven eight nine".split())
ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "center", "right")
CAPTION_WORDS = Vocabulary([*DIGIT_WORDS, *ROWS, *COLUMNS], special=SPECIAL)

RELATIONS = {"left of": (0, -1), "right of": (0, 1), "above": (-1, 0), "below": (1, 0)}  # rows, columns
QUESTION_WORDS = Vocabulary(" ".join(["what is the", *RELATIONS, *DIGIT_WORDS]).split(), special=SPECIAL)
NOTHING = 10
ANSWERS = (*DIGIT_WORDS, "nothing")
FOR_QUESTIONS: dict[str, Any] = {"fewest": 5, "most": 8, "distinct": True}  # scenes with much to ask about


class Scenes(NamedTuple):
    """Pictures with values from 0 (paper) to 1 (ink), and the digit in each cell, -1 where there is none."""

    images: Float[Tensor, "N 24 24"]
    cells: Int[Tensor, "N 9"]


def draw_scenes(
    count: int,
    digits: Digits,
    *,
    fewest: int = 2,
    most: int = 4,
    distinct: bool = False,
    distort: bool = False,
    generator: torch.Generator,
) -> Scenes:
    """`count` scenes with `fewest` to `most` of these handwritten digits in random cells.

    With `distinct` no digit comes twice in a scene. With `distort` each one is turned, stretched, slanted and
    shifted a little (`distorted`), so that a few examples go a longer way. Raises ValueError for a count
    below 1, unless 1 <= fewest <= most <= 9, and for digits that lack one of 0 to 9.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if not 1 <= fewest <= most <= SIDE**2:
        raise ValueError(f"fewest and most must lie in 1..9, fewest first, got {fewest} and {most}")
    if missing := set(range(10)) - set(digits.labels.tolist()):
        raise ValueError(f"digits must have an example of each of 0..9, got none of {min(missing)}")
    filled = torch.randint(fewest, most + 1, (count, 1), generator=generator)
    rank = torch.rand(count, SIDE**2, generator=generator).argsort(1)  # a random order of the cells
    present = rank < filled  # (N, 9)
    if distinct:
        names = torch.rand(count, 10, generator=generator).argsort(1)[:, : SIDE**2]
    else:
        names = torch.randint(10, (count, SIDE**2), generator=generator)
    chosen = torch.empty_like(names)  # which handwritten example of each
    for name in range(10):
        examples = (digits.labels == name).nonzero()[:, 0]
        here = names == name
        chosen[here] = examples[torch.randint(len(examples), (int(here.sum()),), generator=generator)]
    glyphs = digits.images[chosen] * present[..., None, None]  # (N, 9, 8, 8)
    if distort:
        glyphs = distorted(glyphs.flatten(0, 1), generator=generator).view_as(glyphs)
    images = glyphs.unflatten(1, (SIDE, SIDE)).transpose(2, 3).reshape(count, SIDE * CELL, SIDE * CELL)
    return Scenes(images, torch.where(present, names, -1))


def distorted(images: Float[Tensor, "N height width"], *, generator: torch.Generator) -> Tensor:
    """The same pictures, each with a random affine map: turned by up to 14 degrees, stretched by up to 15 %
    in both directions, slanted by up to 1/4, and shifted by up to an eighth of its side."""

    def between(limit: float, *shape: int) -> Tensor:
        return limit * (2 * torch.rand(len(images), *shape, generator=generator) - 1)

    angle, slant, stretch = between(0.25), between(0.25), 1 + between(0.15, 2)
    maps = torch.stack(
        [
            torch.stack([angle.cos() * stretch[:, 0], -angle.sin()], -1),
            torch.stack([slant + angle.sin(), angle.cos() * stretch[:, 1]], -1),
            between(0.25, 2),
        ],
        -1,
    )  # (N, 2, 3)
    grid = functional.affine_grid(maps, [len(images), 1, *images.shape[1:]], align_corners=False)
    return functional.grid_sample(images[:, None], grid, align_corners=False)[:, 0]


# ---------------------------------------------------------------------------------------- captions


def captions(cells: Int[Tensor, "N 9"]) -> Int[Tensor, "N T"]:
    """What is to be said, cell by cell: "three top left seven middle center", EOS, and PAD after that.

    Raises ValueError for cells of another shape, and that hold anything but -1..9, and TypeError for floats.
    """
    _check_cells(cells)
    rows = []
    for scene in cells.tolist():
        words = [word for cell, digit in enumerate(scene) if digit >= 0 for word in _said(cell, digit)]
        rows.append(torch.cat([CAPTION_WORDS.encode(words), torch.tensor([EOS])]))
    return pad_sequence(rows, batch_first=True)


def described_cells(cells: Int[Tensor, "N 9"]) -> Int[Tensor, "N T"]:
    """The cell that each word of `captions` is about; -1 for EOS and PAD. Raises as `captions` does."""
    _check_cells(cells)
    rows = [
        torch.tensor([cell for cell, digit in enumerate(scene) if digit >= 0 for _ in range(3)] + [-1])
        for scene in cells.tolist()
    ]
    return pad_sequence(rows, batch_first=True, padding_value=-1)


def _said(cell: int, digit: int) -> tuple[str, str, str]:
    return DIGIT_WORDS[digit], ROWS[cell // SIDE], COLUMNS[cell % SIDE]


def _check_cells(cells: Tensor) -> None:
    if cells.is_floating_point():
        raise TypeError(f"cells must be whole numbers, got {cells.dtype}")
    if cells.ndim != 2 or cells.shape[1] != SIDE**2 or len(cells) == 0:
        raise ValueError(f"cells must have shape (N, 9) with N > 0, got {tuple(cells.shape)}")
    if cells.min() < -1 or cells.max() > 9:
        raise ValueError(f"cells must lie in -1..9, got {int(cells.min())}..{int(cells.max())}")


# --------------------------------------------------------------------------------------- questions


class Questions(NamedTuple):
    """Questions in words, one for each scene, and the numbers of their answers in ANSWERS."""

    tokens: Int[Tensor, "N T"]  # PAD at the end
    answers: Int[Tensor, " N"]


def ask(cells: Int[Tensor, "N 9"], *, generator: torch.Generator) -> Questions:
    """One question for each scene: "what is left of the three", where there is one three.

    The answer is the digit in the cell beside it, or nothing: another answer is three times as likely to be
    asked for as "nothing". Raises ValueError for a scene without a digit that is there only once, and as
    `captions` does.
    """
    _check_cells(cells)
    N = len(cells)
    grid = functional.pad(cells.view(N, SIDE, SIDE), (1, 1, 1, 1), value=-1)
    beside = torch.stack(
        [grid[:, 1 + y : 1 + y + SIDE, 1 + x : 1 + x + SIDE].flatten(1) for y, x in RELATIONS.values()], 1
    )  # (N, 4, 9): what is beside each cell
    once = (cells >= 0) & ((cells[:, :, None] == cells[:, None]).sum(2) == 1)  # (N, 9)
    if not once.any(1).all():
        raise ValueError("cells must have a digit in each scene that is there only once")
    weight = once[:, None] * torch.where(beside >= 0, 3.0, 1.0)
    drawn = torch.multinomial(weight.flatten(1), 1, generator=generator)  # (N, 1)
    found = beside.flatten(1).gather(1, drawn)[:, 0]
    relation, cell = drawn // SIDE**2, drawn % SIDE**2
    asked = cells.gather(1, cell)
    names = list(RELATIONS)
    texts = [
        question(names[r], d) for r, d in zip(relation[:, 0].tolist(), asked[:, 0].tolist(), strict=True)
    ]
    tokens = pad_sequence([QUESTION_WORDS.encode(text.split()) for text in texts], batch_first=True)
    return Questions(tokens, torch.where(found >= 0, found, NOTHING))


def question(relation: str, digit: int) -> str:
    """One question in words. Raises ValueError for a relation or digit that there isn't."""
    if relation not in RELATIONS:
        raise ValueError(f"relation must be one of {', '.join(RELATIONS)}, got {relation!r}")
    if digit not in range(10):
        raise ValueError(f"digit must lie in 0..9, got {digit}")
    return f"what is {relation} the {DIGIT_WORDS[digit]}"
