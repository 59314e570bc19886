"""Sentences in which "it" is one of two things, and only the adjective says which.

"The fox did not cross the road because it was too tired": the fox. "... too wide": the road. Dimensions:
N sentences, T words.
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from seqlib.pairs import SPECIAL
from seqlib.vocab import Vocabulary

ANIMALS = tuple(
    "animal bear cat chicken cow deer dog donkey fox frog goat goose hare horse lamb lion mouse otter pig "
    "rabbit sheep wolf".split()
)
PLACES = tuple(
    "alley beach bridge canal desert field forest garden glacier lake lawn marsh meadow path pond river "
    "road square street stream tunnel valley".split()
)
OF_ANIMALS = tuple("afraid curious dizzy hungry ill lazy nervous scared shy sleepy thirsty tired".split())
OF_PLACES = tuple("broad crowded flooded icy long narrow noisy rocky slippery steep swampy wide".split())
PATTERNS = (
    "the {animal} did not cross the {place} because it was too {adjective}",
    "the {place} was not crossed by the {animal} because it was too {adjective}",
)


class Sentence(NamedTuple):
    """A sentence, and the word in it that "it" stands for."""

    words: tuple[str, ...]
    referent: str

    @property
    def it(self) -> int:
        """Where "it" is."""
        return self.words.index("it")


def coreference_sentence(animal: str, place: str, adjective: str, *, pattern: int = 0) -> Sentence:
    """One sentence of PATTERNS[pattern]. Raises ValueError for words that are not in the lists."""
    for name, word, known in (
        ("animal", animal, ANIMALS),
        ("place", place, PLACES),
        ("adjective", adjective, OF_ANIMALS + OF_PLACES),
    ):
        if word not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {word!r}")
    if pattern not in range(len(PATTERNS)):
        raise ValueError(f"pattern must lie in 0..{len(PATTERNS) - 1}, got {pattern}")
    words = PATTERNS[pattern].format(animal=animal, place=place, adjective=adjective).split()
    return Sentence(tuple(words), animal if adjective in OF_ANIMALS else place)


class Sentences(NamedTuple):
    """Sentences as numbers, filled up with PAD; where "it" is in each; and the referent's number."""

    tokens: Int[Tensor, "N T"]
    it: Int[Tensor, " N"]
    referent: Int[Tensor, " N"]


class CoreferenceTask(NamedTuple):
    """The vocabulary, and sentences for training and for testing: no combination is in both."""

    vocabulary: Vocabulary
    train: Sentences
    held_out: Sentences


def coreference_task(*, held_out: int = 2000, generator: torch.Generator) -> CoreferenceTask:
    """All combinations of animal, place and adjective in all patterns; `held_out` of them are for testing.

    A combination that is held out is in no training sentence of any pattern. Raises ValueError where none is
    held out or none is left.
    """
    combinations = list(product(ANIMALS, PLACES, OF_ANIMALS + OF_PLACES))
    if not 0 < held_out < len(combinations):
        raise ValueError(f"held_out must lie in 1..{len(combinations) - 1}, got {held_out}")
    order = torch.randperm(len(combinations), generator=generator).tolist()
    vocabulary = coreference_vocabulary()

    def sentences(chosen: list[int]) -> Sentences:
        return to_numbers(
            [
                coreference_sentence(*combinations[k], pattern=pattern)
                for k in chosen
                for pattern in range(len(PATTERNS))
            ],
            vocabulary,
        )

    return CoreferenceTask(vocabulary, sentences(order[held_out:]), sentences(order[:held_out]))


def coreference_vocabulary() -> Vocabulary:
    """Every word of the sentences, after <pad>, <sos> and <eos>."""
    pattern_words = {word for pattern in PATTERNS for word in pattern.split() if not word.startswith("{")}
    return Vocabulary([*pattern_words, *ANIMALS, *PLACES, *OF_ANIMALS, *OF_PLACES], special=SPECIAL)


def to_numbers(sentences: Sequence[Sentence], vocabulary: Vocabulary) -> Sentences:
    """Sentences as numbers. Raises ValueError for a word that the vocabulary doesn't have."""
    rows = [vocabulary.encode(sentence.words) for sentence in sentences]
    return Sentences(
        torch.nn.utils.rnn.pad_sequence(rows, batch_first=True),
        torch.tensor([sentence.it for sentence in sentences]),
        vocabulary.encode([sentence.referent for sentence in sentences]),
    )
