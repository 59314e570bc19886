"""Pairs of sequences: number words in Korean and English, dates in many locales, a learner's own sentences.

Dimensions: N pairs, S source tokens, T target tokens.
"""

import datetime
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from babel.dates import format_date
from jaxtyping import Bool, Int
from num2words import num2words
from torch import Tensor

from seqlib.vocab import Vocabulary

PAD, SOS, EOS = 0, 1, 2  # padding, start of sequence, end of sequence
SPECIAL = ("<pad>", "<sos>", "<eos>")


class Pair(NamedTuple):
    """A source sequence and the target sequence that belongs to it, as tokens."""

    source: tuple[str, ...]
    target: tuple[str, ...]


# ----------------------------------------------------------------------------------------- sources


def number_pairs(count: int, *, digits: int = 12, generator: torch.Generator) -> list[Pair]:
    """`count` different numbers from 1 on, of up to `digits` digits: Korean number words and English ones
    (num2words).

    Source tokens are characters, target tokens words, both without spaces, commas and "and". Every number of
    digits is equally common as long as there are enough such numbers. Raises ValueError for digits outside
    of 1..15 and for more numbers than there are.
    """
    if not 1 <= digits <= 15:
        raise ValueError(f"digits must lie in 1..15, got {digits}")
    if not 1 <= count < 10**digits // 2:
        raise ValueError(f"count must be positive and less than half of all 10^{digits} numbers, got {count}")
    numbers: dict[int, None] = {}  # a set that keeps its order
    while len(numbers) < count:
        lengths = torch.randint(digits, (count,), generator=generator)
        smallest = 10**lengths
        drawn = smallest + (torch.rand(count, generator=generator, dtype=torch.float64) * 9 * smallest).long()
        numbers.update(dict.fromkeys(drawn.tolist()[: count - len(numbers)]))
    return [number_pair(number) for number in numbers]


def number_pair(number: int) -> Pair:
    """One number in Korean characters and English words. Raises ValueError for a negative number."""
    if number < 0:
        raise ValueError(f"number must not be negative, got {number}")
    scales = (10**power for power in reversed(range(0, len(str(number)), 3)))
    groups = [number // scale % 1000 * scale for scale in scales]  # 12,000,345 is 12,000,000 and 345
    target = [word for group in groups if group or not number for word in _english(group)]
    return Pair(tuple(num2words(number, lang="ko").replace(" ", "")), tuple(target))


@cache
def _english(number: int) -> tuple[str, ...]:
    """A number's words. There are few different groups of three digits, so they are remembered."""
    words = num2words(number, lang="en").replace("-", " ").split()
    return tuple(word for word in words if word != "and")


# What Korean and English number words are made of. Values are powers of ten.
_PLACES = {"십": 1, "백": 2, "천": 3}
_MYRIADS = {"만": 4, "억": 8, "조": 12}
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_TEENS = (
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
)
_TENS = ("ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def number_alignment(pair: Pair) -> Bool[Tensor, "T S"]:
    """For each English word of a number that names a digit, the Korean characters that name the same digit.

    삼백 names the three hundreds of "three hundred" with two characters, the digit and its place; a 1 has its
    place only; "twelve" names two digits. Words for a scale ("hundred", "million") belong to no digit, and
    have a row without True.
    """
    source, target = pair
    characters: dict[int, list[int]] = {}  # by power of ten
    group: dict[int, list[int]] = {}  # the same since the last 만, 억 or 조
    digit: list[int] = []  # where the digit is whose place comes next
    for position, character in enumerate(source):
        if character in _PLACES:
            group[_PLACES[character]], digit = [*digit, position], []
        elif character in _MYRIADS:
            group |= {0: digit} if digit else {} if group else {0: [position]}  # 만 alone is one myriad
            characters |= {_MYRIADS[character] + power: at for power, at in group.items()}
            group, digit = {}, []
        else:
            digit = [position]
    characters |= group | ({0: digit} if digit else {})

    aligned = torch.zeros(len(target), len(source), dtype=torch.bool)
    scale = 0
    for row in reversed(range(len(target))):  # the scale of a word is said after it
        word = target[row]
        if word in _SCALES:
            scale = _SCALES[word]
        elif word != "hundred":
            hundreds = row + 1 < len(target) and target[row + 1] == "hundred"
            powers = (2,) if hundreds else (1, 0) if word in _TEENS else (1,) if word in _TENS else (0,)
            for power in powers:
                aligned[row, characters.get(scale + power, [])] = True
    return aligned


LOCALES = tuple("cs da de el en es fi fr hu id it ja ko nl pl pt ro ru sv tr uk vi zh nb".split())
_FORMATS = ("medium", "long", "full")


def date_pairs(count: int, *, generator: torch.Generator) -> list[Pair]:
    """`count` dates of 1900 to 2099 as people write them in 24 languages (babel), and as ISO 8601.

    Both in characters; no source comes twice. Raises ValueError for a count that is not positive or above
    100000.
    """
    if count not in range(1, 100_001):
        raise ValueError(f"count must lie in 1..100000, got {count}")
    first = datetime.date(1900, 1, 1)
    days = (datetime.date(2100, 1, 1) - first).days
    pairs: dict[tuple[str, ...], Pair] = {}
    while len(pairs) < count:
        day, locale, style = (
            int(torch.randint(n, (1,), generator=generator)) for n in (days, len(LOCALES), len(_FORMATS))
        )
        date = first + datetime.timedelta(day)
        text = format_date(date, _FORMATS[style], locale=LOCALES[locale])
        pairs.setdefault(tuple(text), Pair(tuple(text), tuple(date.isoformat())))
    return list(pairs.values())


def read_pairs(
    path: str | Path,
    *,
    split_source: Callable[[str], Iterable[str]] = str.split,
    split_target: Callable[[str], Iterable[str]] = str.split,
) -> list[Pair]:
    """Sentence pairs of a UTF-8 text file: one pair a line, the two sentences separated by a tab.

    `split_source` and `split_target` make tokens of a sentence: `str.split` words, `list` characters. Empty
    lines are skipped. Raises ValueError where lines are not like that, with their numbers and what is wrong,
    for a file without any pair, and FileNotFoundError for none.
    """
    raw = Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf")
    pairs, problems = [], []
    for number, line in enumerate(raw.splitlines(), start=1):
        problem = ""
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            text, problem = "", f"byte {error.start + 1} is not UTF-8"
        sides = text.split("\t")
        if text.strip() and len(sides) != 2:
            problem = f"needs one tab between source and target, has {len(sides) - 1}"
        elif text.strip():
            source, target = tuple(split_source(sides[0].strip())), tuple(split_target(sides[1].strip()))
            if not source or not target:
                problem = f"the {'target' if source else 'source'} is empty"
            elif reserved := sorted({*source, *target} & set(SPECIAL)):
                problem = f"{reserved[0]} is a token with a meaning of its own"
            else:
                pairs.append(Pair(source, target))
        if problem:
            problems.append(f"  line {number}: {problem}")
    if problems:
        more = f"\n  and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(
            f"{path} must have a source, a tab and a target in each line:\n" + "\n".join(problems[:5]) + more
        )
    if not pairs:
        raise ValueError(f"{path} must hold at least one pair, got an empty file")
    return pairs


# --------------------------------------------------------------------------------------- as tensors


class PairTensors(NamedTuple):
    """Pairs as token numbers: each row ends with EOS and is filled up with PAD."""

    source: Int[Tensor, "N S"]
    target: Int[Tensor, "N T"]


class Corpus(NamedTuple):
    """Pairs to train on and pairs held out, which share no source, and both vocabularies."""

    train: PairTensors
    held_out: PairTensors
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary


def make_corpus(pairs: Sequence[Pair], *, held_out: int, generator: torch.Generator) -> Corpus:
    """Split pairs at random: all pairs of `held_out` different sources are held out, the others are to
    train on.

    The vocabularies hold the tokens of all pairs. Raises ValueError where one part would be empty.
    """
    sources = list(dict.fromkeys(pair.source for pair in pairs))
    if not 1 <= held_out < len(sources):
        raise ValueError(
            f"held_out must lie in 1..{len(sources) - 1}, one less than there are sources, got {held_out}"
        )
    order = torch.randperm(len(sources), generator=generator).tolist()
    kept_back = {sources[place] for place in order[:held_out]}
    vocabularies = tuple(
        Vocabulary((token for pair in pairs for token in pair[side]), special=SPECIAL) for side in (0, 1)
    )
    parts = (
        [pair for pair in pairs if (pair.source in kept_back) == is_held_out] for is_held_out in (False, True)
    )
    train, rest = (
        PairTensors(*(to_tensor([pair[side] for pair in part], vocabularies[side]) for side in (0, 1)))
        for part in parts
    )
    return Corpus(train, rest, *vocabularies)


def to_tensor(sequences: Iterable[Iterable[str]], vocabulary: Vocabulary) -> Int[Tensor, "N T"]:
    """Token numbers, with EOS after each sequence and PAD after that.

    Raises ValueError for a token that is not in the vocabulary.
    """
    rows = [torch.cat([vocabulary.encode(sequence), torch.tensor([EOS])]) for sequence in sequences]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


# --------------------------------------------------------------------------------------- for figures

_FIRST = "g kk n d tt r m b pp s ss  j jj ch k t p h".split(" ")
_MIDDLE = "a ae ya yae eo e yeo ye o wa wae oe yo u wo we wi yu eu ui i".split(" ")
_LAST = " k k k n n n t l k m l l l p l m p p t t ng t t k t p t".split(" ")


def romanised(token: str) -> str:
    """Korean syllables in Latin letters, syllable by syllable (Revised Romanization); the rest as it is.

    For the labels of figures, whose fonts have no Korean.
    """
    return "".join(map(_syllable, token))


def _syllable(character: str) -> str:
    number = ord(character) - ord("가")
    if not 0 <= number < 19 * 21 * 28:
        return character
    return _FIRST[number // (21 * 28)] + _MIDDLE[number // 28 % 21] + _LAST[number % 28]
