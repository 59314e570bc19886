"""Tokens and their numbers."""

import operator
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Int
from torch import Tensor


class Vocabulary(Sequence[str]):
    """An ordered set of tokens, each with its number.

    `Vocabulary("hello")` holds the characters e, h, l, o; `Vocabulary(words, special=("<pad>",))` puts
    the special tokens first and the words after them in sorted order.
    """

    def __init__(self, tokens: Iterable[str], *, special: Iterable[str] = ()) -> None:
        special = tuple(special)
        if len(set(special)) < len(special):
            raise ValueError(f"special must not repeat a token, got {special}")
        self._tokens = [*special, *sorted(set(tokens) - set(special))]
        if not self._tokens:
            raise ValueError("tokens must hold at least one token, got none")
        self._numbers = {token: number for number, token in enumerate(self._tokens)}

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, number):  # type: ignore[no-untyped-def]  # int gives a token, a slice gives a list
        return self._tokens[number]

    def __repr__(self) -> str:
        first = " ".join(map(repr, self._tokens[:8]))
        return f"Vocabulary({len(self)} tokens: {first}{' ...' if len(self) > 8 else ''})"

    def encode(self, tokens: Iterable[str]) -> Int[Tensor, " T"]:
        """The tokens' numbers. Raises ValueError for a token that is not in the vocabulary."""
        tokens = list(tokens)
        unknown = [token for token in tokens if token not in self._numbers]
        if unknown:
            raise ValueError(f"tokens must be in the vocabulary, {unknown[0]!r} is not: {self!r}")
        return torch.tensor([self._numbers[token] for token in tokens], dtype=torch.int64)

    def decode(self, numbers: Int[Tensor, " T"] | Iterable[int]) -> list[str]:
        """The tokens with these numbers; `"".join(...)` makes a text of characters.

        Raises ValueError for a number that no token has, and TypeError for one that is not whole.
        """
        numbers = [operator.index(number) for number in numbers]  # int() would cut off a fraction
        for number in numbers:
            if not 0 <= number < len(self):
                raise ValueError(f"numbers must lie in 0..{len(self) - 1}, got {number}")
        return [self._tokens[number] for number in numbers]
