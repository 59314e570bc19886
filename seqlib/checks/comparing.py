"""Compare an expected result with a learner's, and say in words where they part."""

import math
import numbers
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def difference(
    expected: Any,
    got: Any,
    *,
    tolerance: float,
    letters: str = "",
    values: bool = True,
    dtypes: bool = True,
    place: str = "the result",
) -> str | None:
    """The first thing in which `got` differs from `expected`, as a sentence; None where they agree.

    For tensors, numbers, texts, and tuples, lists and mappings of them. Tensors have to agree in shape,
    in dtype (if `dtypes`) and in every element within `tolerance`, relative and absolute (if `values`).
    `letters` names the axes ("B T H") of a result that is one tensor.
    """
    rest: dict[str, Any] = dict(tolerance=tolerance, values=values, dtypes=dtypes)
    if isinstance(expected, Mapping):
        if not isinstance(got, Mapping):
            return f"{_capital(place)} should be a dictionary, not {described(got)}."
        found = (
            difference(item, got[key], **rest, place=str(key))
            if key in got
            else f"{_capital(place)} lacks {key!r}."
            for key, item in expected.items()
        )
        return next(filter(None, found), None)
    if isinstance(expected, (tuple, list)):
        if not isinstance(got, (tuple, list)) or len(got) != len(expected):
            return f"{_capital(place)} should be {described(expected)}, not {described(got)}."
        found = (
            difference(one, other, **rest, place=f"item {i} of {place}")
            for i, (one, other) in enumerate(zip(expected, got, strict=True))
        )
        return next(filter(None, found), None)
    if isinstance(expected, Tensor):
        return _tensor_difference(expected, got, letters=letters, **rest, place=place)
    if isinstance(expected, numbers.Real):
        if isinstance(got, Tensor) and got.numel() == 1:
            got = got.item()
        if not isinstance(got, numbers.Real):
            return f"{_capital(place)} should be a number, not {described(got)}."
        if values and not math.isclose(got, expected, rel_tol=tolerance, abs_tol=tolerance):
            return f"{_capital(place)} differs: expected {_short(expected)}, got {_short(got)}."
        return None
    if values and expected != got:
        return f"{_capital(place)} differs: expected {expected!r}, got {got!r}."
    return None


def _tensor_difference(
    expected: Tensor, got: Any, *, tolerance: float, letters: str, values: bool, dtypes: bool, place: str
) -> str | None:
    if not isinstance(got, Tensor):
        return f"{_capital(place)} should be a tensor, not {described(got)}."
    axes = letters.split()
    if got.shape != expected.shape:
        # sizes are different primes, so each of them names its axis
        letter_of = dict(zip(expected.shape, axes, strict=False))
        return (
            f"{_capital(place)} has the wrong shape: expected {_named(expected.shape, letter_of)}, "
            f"got {_named(got.shape, letter_of)}."
        )
    if dtypes and got.dtype != expected.dtype:
        return f"{_capital(place)} has the wrong dtype: expected {_dtype(expected)}, got {_dtype(got)}."
    wanted, given = expected.detach().to(torch.float64), got.detach().to(torch.float64)
    if bool(wanted.isfinite().all()) and not bool(given.isfinite().all()):
        kind = "NaN" if bool(given.isnan().any()) else "infinity"
        return f"{_capital(place)} contains {kind}{_where(~given.isfinite(), axes)}."
    off = ~torch.isclose(given, wanted, rtol=tolerance, atol=tolerance, equal_nan=True)
    if not values or not bool(off.any()):
        return None
    first = tuple(off.nonzero()[0].tolist())
    text = (
        f"{_capital(place)} differs{_where(off, axes)}: expected {_short(wanted[first].item())}, "
        f"got {_short(given[first].item())}."
    )
    if off.numel() > 1 and not bool(given.any()):
        return f"{text} It is 0 everywhere."
    factor = ((given * wanted).sum() / (wanted * wanted).sum()).item()
    if off.numel() == 1:
        return text
    if torch.allclose(given, factor * wanted, rtol=tolerance, atol=tolerance):
        return f"{text} It is {_short(factor)} times what is expected everywhere."
    return f"{text} {int(off.sum())} of {off.numel()} elements differ."


def described(value: Any) -> str:
    """What a value is, in a few words that are the same on every run."""
    if value is None:
        return "None"
    if isinstance(value, Tensor):
        return f"{_with_article(_dtype(value))} tensor of shape {tuple(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, float):
        return _short(value)
    if isinstance(value, (bool, int, str)) and len(repr(value)) < 30:
        return repr(value)
    return _with_article(type(value).__name__)


def _with_article(name: str) -> str:
    """As it is spoken: an int64, an ndarray, but a uint8."""
    return f"{'an' if name.lower().startswith(('a', 'e', 'i', 'o', 'nd')) else 'a'} {name}"


def _where(marked: Tensor, axes: list[str]) -> str:
    if marked.ndim == 0:
        return ""
    index = tuple(marked.nonzero()[0].tolist())
    names = f" ({', '.join(axes)})" if len(axes) == len(index) else ""
    return f" first at {list(index)}{names}"


def _named(shape: torch.Size, letter_of: dict[int, str]) -> str:
    if not shape:
        return "() = a single number"
    if any(size not in letter_of for size in shape):
        return str(tuple(shape))
    return f"{tuple(shape)} = ({', '.join(letter_of[size] for size in shape)})"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _short(number: Any) -> str:
    return f"{float(number) + 0.0:.4g}"  # + 0.0 turns -0.0 into 0.0


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
