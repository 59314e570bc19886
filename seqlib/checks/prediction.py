"""Predict first: a guess that is written down before the measurement, and compared with it afterwards."""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from seqlib import progress
from seqlib.checks.report import box, paragraph

Guess = int | float | str
EMPTY = "no prediction yet: put your guess into the cell above and run it again"


@dataclass(frozen=True, repr=False)
class Prediction:
    """A question, and what the learner expects.

        prediction = Prediction("When is the gradient halved?", chapter=3, guess=None, unit="steps")
        prediction.compare(8)

    With `choices`, the guess is one of them, in whatever case it is written; without, it is a finite number.
    None: nobody has guessed yet.

    A guess at a question of a `chapter` (its number) is noted in the learner's progress: only the question.
    """

    question: str
    _: KW_ONLY
    chapter: int | None = None
    choices: Sequence[Guess] | None = None
    guess: Guess | None = None
    unit: str = ""
    _remark: str = field(default="", init=False, compare=False)  # a trouble with the file of the progress

    def __post_init__(self) -> None:
        numbers = [number for number, _, _ in progress.CHAPTERS]
        if self.chapter is not None and (type(self.chapter) is not int or self.chapter not in numbers):
            raise ValueError(
                f"chapter must be the number of a chapter, from 0 to {max(numbers)}, got {self.chapter!r}"
            )
        if self.guess is None:
            return
        object.__setattr__(self, "guess", self._examined(self.guess, "guess"))
        if self.chapter is not None:
            remark = progress.record(f"{self.chapter}. {self.question}", "predicted")
            object.__setattr__(self, "_remark", remark)

    def __repr__(self) -> str:
        return "\n  ".join([self.question, *self._lines])

    def _repr_html_(self) -> str:
        return box(self.question, paragraph("\n".join(self._lines)), "#0072B2")

    def compare(self, measured: Any, *, within: float | int = 1.1) -> "Comparison":
        """The guess beside what was measured.

        A choice is right or not. Numbers count as close where neither is more than `within` times the other.
        """
        if not within >= 1:
            raise ValueError(f"within is a factor, at least 1, got {within}")
        measured = measured.item() if hasattr(measured, "item") else measured  # a tensor or NumPy number
        measured = self._examined(measured, "measured")
        return Comparison(self.guess, measured, self.unit, None if self.choices is not None else within)

    @property
    def _lines(self) -> list[str]:
        return [self._answer, self._remark] if self._remark else [self._answer]

    @property
    def _answer(self) -> str:
        if self.guess is not None:
            return f"your prediction: {shown(self.guess, self.unit)}"
        if self.choices is not None:
            return f"{EMPTY} (one of {', '.join(repr(choice) for choice in self.choices)})"
        return EMPTY

    def _examined(self, value: Guess, name: str) -> Guess:
        """The value, or the choice that it means. Raises ValueError where it can't be either."""
        if self.choices is not None:
            for same in (lambda choice: choice == value, lambda choice: _plain(choice) == _plain(value)):
                for choice in filter(same, self.choices):
                    return choice
            raise ValueError(f"{name} must be one of {list(self.choices)}, got {value!r}")
        if isinstance(value, (bool, str)) or not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number, got {value!r}")
        return value


def _plain(choice: Guess) -> str:
    """A choice without what doesn't count: spaces around it, and upper or lower case."""
    return str(choice).strip().casefold()


@dataclass(frozen=True, repr=False)
class Comparison:
    """A guess (or None) beside what was measured; `within` is the factor that counts as close, if any."""

    guess: Guess | None
    measured: Guess
    unit: str
    within: float | int | None

    @property
    def close(self) -> bool:
        """Whether the guess was right; False where there was none."""
        if self.within is None or isinstance(self.guess, str) or isinstance(self.measured, str):
            return self.guess == self.measured
        if self.guess is None:
            return False
        small, large = sorted((abs(self.guess), abs(self.measured)))
        same_sign = self.guess * self.measured > 0
        return self.guess == self.measured or (same_sign and large <= self.within * small)

    def __repr__(self) -> str:
        measured = shown(self.measured, self.unit)
        if self.guess is None:
            return f"No prediction was made. Measured: {measured}"
        return f"You said {shown(self.guess, self.unit)}, measured: {measured} ({self._verdict})"

    def _repr_html_(self) -> str:
        return box(repr(self), "", "#009E73" if self.close else "#0072B2")

    @property
    def _verdict(self) -> str:
        if self.within is None:
            return "right" if self.close else "it came out otherwise"
        return f"{'within' if self.close else 'not within'} a factor of {self.within:g}"


def shown(value: Guess, unit: str) -> str:
    """A number to four digits (integers in full), with its unit."""
    text = f"{value + 0.0:.4g}" if isinstance(value, float) else str(value)
    return f"{text} {unit}".strip()
