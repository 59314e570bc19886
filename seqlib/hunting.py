"""Looking for single units of a recurrent network that follow something in what it reads.

Dimensions: T time (characters), H hidden. What is looked for in Python's source code comes from Python's own
tokenizer; what a unit knows is asked for *after* it has read a character, and so is the truth.
"""

import copy
import io
import math
import tokenize
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from seqlib.rnn import CharRNN, check_shapes, check_sizes


class SourceFeatures(NamedTuple):
    """What is true of a piece of Python source after each of its characters has been read."""

    string: Bool[Tensor, " T"]  # inside of a string: from its first quotation mark to before its last
    comment: Bool[Tensor, " T"]  # from # to before the end of the line
    indentation: Float[Tensor, " T"]  # how many spaces this line began with, so far
    depth: Float[Tensor, " T"]  # how many brackets ( [ { are open
    column: Float[Tensor, " T"]  # how many characters this line has, so far


def source_features(source: str) -> SourceFeatures:
    """The features of each character of `source`, from Python's own tokenizer.

    An f-string is a string from end to end, with all that stands inside its braces; Python's tokenizer
    has seen that in another way since 3.12. Raises ValueError for what is no Python.
    """
    lines = source.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    string, comment = torch.zeros(2, len(source), dtype=torch.bool)
    depth = torch.zeros(len(source))
    f_strings: list[int] = []  # where those began in which we are
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            kind = tokenize.tok_name[token.type]
            begin, end = (starts[row - 1] + column for row, column in (token.start, token.end))
            quotation_mark = begin + len(token.string) - len(token.string.lstrip("bBfFrRuU"))
            if kind == "FSTRING_START":
                f_strings.append(quotation_mark)
            elif kind == "FSTRING_END":
                string[f_strings.pop() : end - 1] = True
            elif f_strings:
                pass
            elif kind == "STRING":
                string[quotation_mark : end - 1] = True
            elif kind == "COMMENT":
                comment[begin:end] = True
            elif kind == "OP" and token.string in ("(", "[", "{"):
                depth[begin:] += 1
            elif kind == "OP" and token.string in (")", "]", "}"):
                depth[begin:] -= 1
            elif kind == "ERRORTOKEN":  # Python 3.11 goes on after what later ones raise an error for
                raise SyntaxError(f"unexpected {token.string!r} in line {token.start[0]}")
        if (depth < 0).any():
            raise SyntaxError("a bracket is closed that none has opened")
    except (tokenize.TokenError, SyntaxError) as error:
        raise ValueError(
            f"source must be Python code that can be split into tokens: {error.args[0]}"
        ) from error
    so_far = [range(1, len(line) + 1) for line in lines]
    leading = [len(line) - len(line.lstrip(" ")) for line in lines]
    return SourceFeatures(
        string,
        comment,
        _by_line([[min(n, spaces) for n in row] for row, spaces in zip(so_far, leading, strict=True)]),
        depth,
        _by_line([list(row) for row in so_far]),
    )


def _by_line(values: list[list[int]]) -> Float[Tensor, " T"]:
    """One value for each character of each line, and 0 for the line break after each but the last."""
    return torch.tensor([value for line in values for value in (*line, 0)][:-1], dtype=torch.float32)


class Reading(NamedTuple):
    """What a model did at each character of a text."""

    cells: Float[Tensor, "T H"]  # tanh c, after it has read the character
    states: Float[Tensor, "T H"]  # h
    bits: Float[Tensor, " T"]  # -log2 of the probability that it gave to the character beforehand


@torch.no_grad()
def read_in_pieces(
    model: CharRNN, tokens: Int[Tensor, " T"], *, piece: int = 400, warm_up: int = 150
) -> Reading:
    """Let a character LSTM read a long text in pieces side by side, which is much faster than in one go.

    For each piece the model first reads the `warm_up` characters before it, from a zero state. Where the
    text has not begun yet, the vocabulary's first token takes their place.
    """
    check_sizes(piece=piece, warm_up=warm_up)
    T = len(tokens)
    # Each window is a character to begin with, the others of the warm-up, and the piece.
    padded = F.pad(tokens, (warm_up + 1, -T % piece))
    windows = padded.unfold(0, warm_up + 1 + piece, piece)  # (pieces, warm_up + 1 + piece)
    V, dtype = model.h_to_y.out_features, model.h_to_y.weight.dtype
    state, steps = None, []
    for part in windows.split(50, dim=1):  # the gates of all steps at once would be hundreds of megabytes
        trace = model.cell.trace(F.one_hot(part, V).to(dtype), state)
        state = trace.h[:, -1], trace.c[:, -1]
        steps.append((trace.h[:, 1:], trace.c[:, 1:]))
    h, c = (torch.cat(parts, 1) for parts in zip(*steps, strict=True))  # (pieces, warm_up + 1 + piece, H)
    log_probs = model.h_to_y(h[:, warm_up:-1]).log_softmax(-1)  # (pieces, piece, V)
    bits = -log_probs.gather(-1, windows[:, warm_up + 1 :, None])[..., 0] / math.log(2)
    cells, states = (part[:, warm_up + 1 :].flatten(0, 1)[:T] for part in (c.tanh(), h))
    return Reading(cells, states, bits.flatten()[:T])


def unit_auc(values: Float[Tensor, "T H"], inside: Bool[Tensor, " T"]) -> Float[Tensor, " H"]:
    """How well each unit tells inside from outside: the area under its ROC curve (Hanley and McNeil, 1982).

    That is the probability that a unit's value at a random place inside is larger than at a random place
    outside; ties count a half. 0.5 is chance, and 0 is as good as 1: the unit says the opposite. Raises
    ValueError where all places are inside, or none, for nan, and for shapes that don't fit.
    """
    check_shapes(values=(values, "T H"), inside=(inside, "T"))
    if values.isnan().any():
        raise ValueError("values must be numbers, got nan")
    if inside.all() or not inside.any():
        raise ValueError(f"inside must hold both True and False, got only {bool(inside.any())}")
    # Sorted by numpy, which is many times faster at it than torch.
    within, without = (
        torch.from_numpy(np.sort(values[chosen].mT.contiguous().numpy())) for chosen in (inside, ~inside)
    )  # (H, inside), (H, outside)
    below = torch.searchsorted(without, within)
    up_to = torch.searchsorted(without, within, right=True)
    return (below + up_to).double().mean(1) / (2 * without.shape[1])


def unit_correlation(values: Float[Tensor, "T H"], quantity: Float[Tensor, " T"]) -> Float[Tensor, " H"]:
    """Pearson's correlation of each unit with a quantity.

    Raises ValueError where that is constant, and for shapes that don't fit.
    """
    check_shapes(values=(values, "T H"), quantity=(quantity, "T"))
    if (quantity == quantity[0]).all():
        raise ValueError(f"quantity must not be constant, got {quantity[0]:g} at all {len(quantity)} places")
    values, q = (part.double() - part.double().mean(0) for part in (values, quantity))
    return (q @ values) / (q.norm() * values.norm(dim=0)).clamp_min(1e-12)


def feature_scores(values: Float[Tensor, "T H"], features: SourceFeatures) -> dict[str, Float[Tensor, " H"]]:
    """How closely each unit follows each feature, from 0 (not at all) to 1, whatever the sign.

    For strings and comments |2 AUC - 1|, for the others the absolute correlation.
    """
    return {
        name: 2 * (unit_auc(values, truth) - 0.5).abs()
        if truth.dtype == torch.bool
        else unit_correlation(values, truth).abs()
        for name, truth in features._asdict().items()
    }


@torch.no_grad()
def silenced(model: CharRNN, unit: int, *, constant: float) -> CharRNN:
    """A copy of a character LSTM in which nobody hears `unit`: where its state h was read, `constant` is.

    The mean of the unit's states is a good constant: what is taken away is only what it told beside that.
    Raises ValueError for a unit that the model doesn't have.
    """
    if not 0 <= unit < model.cell.hidden_size:
        raise ValueError(f"unit must lie in 0..{model.cell.hidden_size - 1}, got {unit}")
    model = copy.deepcopy(model)
    for reads, bias in (
        (model.cell.h_to_gates.weight, model.cell.x_to_gates.bias),
        (model.h_to_y.weight, model.h_to_y.bias),
    ):
        bias += constant * reads[:, unit]
        reads[:, unit] = 0
    return model
