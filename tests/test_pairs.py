"""Pairs say the same in both languages, and what a corpus holds can be read back."""

import re
import unicodedata
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
import torch
from babel.dates import format_date
from hypothesis import given, settings
from hypothesis import strategies as st
from num2words import num2words
from scipy.stats import chisquare

from seqlib import pairs as pairs_module
from seqlib.pairs import (
    EOS,
    LOCALES,
    PAD,
    SOS,
    SPECIAL,
    Pair,
    date_pairs,
    make_corpus,
    number_alignment,
    number_pair,
    number_pairs,
    read_pairs,
    romanised,
    to_tensor,
)
from seqlib.vocab import Vocabulary

numbers = st.integers(1, 15).flatmap(lambda digits: st.integers(0, 10**digits - 1))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# ----------------------------------------------------------------------------------- number words

NUMERALS = {character: value for value, character in enumerate("영일이삼사오육칠팔구")}
PLACES = {"십": 1, "백": 2, "천": 3}
MYRIADS = {"만": 4, "억": 8, "조": 12}
ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
ENGLISH = {word: value for value, word in enumerate((ONES + " seventeen eighteen nineteen").split())}
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
ENGLISH |= {word: value for value, word in zip(range(20, 100, 10), TENS.split(), strict=True)}
SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}


def korean_value(characters):
    total = group = 0
    digit = None
    for character in characters:
        if character in NUMERALS:
            digit = NUMERALS[character]
        elif character in PLACES:
            group += (1 if digit is None else digit) * 10 ** PLACES[character]
            digit = None
        else:
            total += (group + (digit or 0) or 1) * 10 ** MYRIADS[character]
            group, digit = 0, None
    return total + group + (digit or 0)


def english_value(words):
    total = group = 0
    for word in words:
        if word == "hundred":
            group *= 100
        elif word in SCALES:
            total, group = total + group * 10 ** SCALES[word], 0
        else:
            group += ENGLISH[word]
    return total + group


@given(numbers)
def test_the_english_words_are_the_librarys_own_for_the_whole_number(number):
    words = re.split("[ ,-]+", num2words(number, lang="en"))
    assert number_pair(number).target == tuple(word for word in words if word != "and")


@given(numbers)
def test_both_sides_of_a_pair_are_the_number(number):
    source, target = number_pair(number)
    assert korean_value(source) == english_value(target) == number


@pytest.mark.parametrize(
    ("number", "korean", "english"),
    [
        (0, "영", "zero"),
        (11, "십일", "eleven"),
        (342, "삼백사십이", "three hundred forty two"),
        (1001, "천일", "one thousand one"),
        (10_000, "만", "ten thousand"),
        (120_000, "십이만", "one hundred twenty thousand"),
        (100_000_005, "일억오", "one hundred million five"),
        (70_000_300_000, "칠백억삼십만", "seventy billion three hundred thousand"),
    ],
)
def test_number_pairs_that_are_known(number, korean, english):
    assert number_pair(number) == (tuple(korean), tuple(english.split()))


@pytest.mark.parametrize(("count", "digits"), [(4, 1), (49, 2), (499, 3), (307, 7), (211, 15)])
def test_numbers_are_different_and_have_no_more_digits_than_asked_for(count, digits):
    pairs = number_pairs(count, digits=digits, generator=generator())
    values = [korean_value(pair.source) for pair in pairs]
    assert len(values) == len(set(values)) == len(set(pairs)) == count
    assert all(1 <= value < 10**digits for value in values)
    assert pairs == [number_pair(value) for value in values]
    assert max(len(str(value)) for value in values) == digits


def test_every_number_of_digits_is_equally_common_while_there_are_enough():
    pairs = number_pairs(701, generator=generator())
    lengths = Counter(len(str(korean_value(pair.source))) for pair in pairs)
    assert sorted(lengths) == list(range(1, 13)) and lengths[1] == 9  # there are no more
    assert chisquare([lengths[digits] for digits in range(3, 13)]).pvalue > 0.01


def test_first_and_last_digits_are_equally_common():
    pairs = number_pairs(701, digits=15, generator=generator())
    texts = [str(korean_value(pair.source)) for pair in pairs]
    first, last = (Counter(text[place] for text in texts) for place in (0, -1))
    assert chisquare([first[digit] for digit in "123456789"]).pvalue > 0.01
    assert chisquare([last[digit] for digit in "0123456789"]).pvalue > 0.01


@pytest.mark.parametrize("draw", [number_pairs, date_pairs])
def test_pairs_depend_on_nothing_but_their_generator(draw):
    state = torch.get_rng_state()
    assert draw(23, generator=generator(1)) == draw(23, generator=generator(1))
    assert draw(23, generator=generator(1)) != draw(23, generator=generator(2))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("digits", [0, 16])
def test_a_number_of_digits_without_words_is_refused(digits):
    with pytest.raises(ValueError, match=rf"^digits must lie in 1\.\.15, got {digits}$"):
        number_pairs(1, digits=digits, generator=generator())


@pytest.mark.parametrize("count", [0, -1, 500])
def test_more_numbers_than_can_be_drawn_are_refused(count):
    message = rf"^count must be positive and less than half of all 10\^3 numbers, got {count}$"
    with pytest.raises(ValueError, match=message):
        number_pairs(count, digits=3, generator=generator())


def test_a_negative_number_is_refused():
    with pytest.raises(ValueError, match="^number must not be negative, got -7$"):
        number_pair(-7)


# -------------------------------------------------------------------------------------- alignments


def named_digits(number):
    """For each English word, the digits that it names and their powers of ten, from the decimal number."""
    text = str(number)
    text = text.zfill(len(text) + -len(text) % 3)
    for start in range(0, len(text), 3):
        hundreds, tens, ones = map(int, text[start : start + 3])
        power = len(text) - start - 3
        if hundreds:
            yield from ([(hundreds, power + 2)], [])  # "hundred"
        if tens == 1 and ones:
            yield [(1, power + 1), (ones, power)]  # "eleven"
        else:
            if tens:
                yield [(tens, power + 1)]
            if ones or number == 0:
                yield [(ones, power)]
        if power and hundreds + tens + ones:
            yield []  # "million"


def read_off(source, positions):
    """The digits that the Korean characters at these positions name, and their powers of ten."""
    digits = []
    for position in positions:
        character, before = source[position], source[position - 1] if position else ""
        power = next((MYRIADS[later] for later in source[position:] if later in MYRIADS), 0)
        if character in NUMERALS:
            digits.append((NUMERALS[character], power))
        elif character in PLACES:
            digit = digits.pop()[0] if before in NUMERALS else 1  # 이백 is two hundreds, 백 is one
            digits.append((digit, power + PLACES[character]))
        else:
            digits.append((1, power))  # a myriad that nothing counts is one
    return digits


@given(numbers)
@settings(max_examples=500)
def test_every_word_is_aligned_with_the_characters_that_name_its_digits(number):
    pair = number_pair(number)
    aligned = number_alignment(pair)
    assert aligned.shape == (len(pair.target), len(pair.source))
    found = [read_off(pair.source, row.nonzero()[:, 0].tolist()) for row in aligned]
    assert found == list(named_digits(number))
    assert aligned.sum(0).max() <= 1  # no character names two digits


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, ["영"]),
        (11, ["십일"]),
        (342, ["삼백", "", "사십", "이"]),
        (10_000, ["만", ""]),
        (15_000, ["만오천", ""]),
        (12_345, ["만이천", "", "삼백", "", "사십", "오"]),
        (120_000, ["십", "", "이", ""]),
        (70_000_300_000, ["칠백", "", "삼십", "", ""]),
        (100_010_000, ["일", "", "", "만", ""]),
    ],
)
def test_alignments_that_are_known(number, expected):
    pair = number_pair(number)
    found = ["".join(pair.source[s] for s in row.nonzero()[:, 0]) for row in number_alignment(pair)]
    assert found == expected


# ------------------------------------------------------------------------------------------- dates


def test_dates_are_written_as_in_their_language_and_as_iso():
    pairs = date_pairs(401, generator=generator())
    assert len({pair.source for pair in pairs}) == len(pairs) == 401
    seen = set()
    for pair in pairs:
        day = date.fromisoformat("".join(pair.target))
        assert 1900 <= day.year <= 2099
        styles = [
            (locale, style)
            for locale in LOCALES
            for style in ("medium", "long", "full")
            if format_date(day, style, locale=locale) == "".join(pair.source)
        ]
        assert styles
        seen |= set(styles)
    assert len(LOCALES) == 24 and {locale for locale, _ in seen} == set(LOCALES)
    assert {style for _, style in seen} == {"medium", "long", "full"}


def test_a_date_that_is_drawn_twice_in_the_same_words_counts_once(monkeypatch):
    monkeypatch.setattr(pairs_module, "LOCALES", ("en",))
    monkeypatch.setattr(pairs_module, "_FORMATS", ("long",))
    pairs = date_pairs(1009, generator=generator())  # of 73049 days: seven would be twice in it
    assert len(set(pairs)) == len({pair.source for pair in pairs}) == 1009


@pytest.mark.parametrize("count", [0, -5, 100_001])
def test_a_number_of_dates_that_makes_no_sense_is_refused(count):
    with pytest.raises(ValueError, match=rf"^count must lie in 1\.\.100000, got {count}$"):
        date_pairs(count, generator=generator())


# ------------------------------------------------------------------------------------ pairs of a file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pairs.txt"


def read(path, content, **options):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_pairs(path, **options)


GOOD = "나는 학생입니다\tI am a student\n 고마워요 \t thank you \n"
READ = [
    Pair(("나는", "학생입니다"), ("I", "am", "a", "student")),
    Pair(("고마워요",), ("thank", "you")),
]


def test_a_file_has_a_pair_in_each_line(path):
    assert read(path, GOOD) == READ
    assert read_pairs(str(path)) == READ


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\r"),
        GOOD.removesuffix("\n"),
        "\n \n" + GOOD.replace("\n", "\n\n\t\n"),
    ],
    ids=["byte order mark", "Windows", "old Mac", "no last line break", "empty lines"],
)
def test_how_lines_begin_and_end_does_not_matter(path, content):
    assert read(path, content) == READ


def test_what_unicode_calls_a_line_break_is_part_of_a_sentence(path):
    [pair] = read(path, "a\u2028b\x0bc\x85\td e\n", split_source=list)
    assert "".join(pair.source) == "a\u2028b\x0bc" and pair.target == ("d", "e")


def test_a_learner_says_how_sentences_are_split(path):
    [pair] = read(path, "고마워 요\tthank you", split_source=list)
    assert pair == (("고", "마", "워", " ", "요"), ("thank", "you"))
    [pair] = read(path, "a-b\tc d", split_source=lambda text: text.split("-"), split_target=list)
    assert pair == (("a", "b"), ("c", " ", "d"))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"thank you", "needs one tab between source and target, has 0"),
        (b"a\tb\tc", "needs one tab between source and target, has 2"),
        (b"\tb", "the source is empty"),
        (b"  \tb", "the source is empty"),
        (b"a\t", "the target is empty"),
        (b"a <eos>\tb", "<eos> is a token with a meaning of its own"),
        (b"a\t<sos> <pad>", "<pad> is a token with a meaning of its own"),
        (b"caf\xe9\tb", "byte 4 is not UTF-8"),
        ("고마워".encode("cp949") + b"\tb", "byte 1 is not UTF-8"),
    ],
)
def test_what_is_wrong_with_a_line_is_said_with_its_number(path, line, problem):
    with pytest.raises(ValueError) as error:
        read(path, b"a\tb\n\n" + line + b"\nc\td\n")
    assert (
        str(error.value)
        == f"{path} must have a source, a tab and a target in each line:\n  line 3: {problem}"
    )


@pytest.mark.parametrize(("count", "more"), [(2, ""), (5, ""), (6, "\n  and 1 more"), (11, "\n  and 6 more")])
def test_the_first_five_bad_lines_are_listed(path, count, more):
    with pytest.raises(ValueError) as error:
        read(path, "a\tb\n" + "no tab\n" * count)
    listed = [
        f"  line {number}: needs one tab between source and target, has 0"
        for number in range(2, 2 + min(count, 5))
    ]
    assert str(error.value).partition("\n")[2] == "\n".join(listed) + more


@pytest.mark.parametrize("content", ["", "\n \n\r\n", "\ufeff"])
def test_a_file_without_a_pair_is_refused(path, content):
    with pytest.raises(ValueError, match="must hold at least one pair, got an empty file$"):
        read(path, content)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.txt"):
        read_pairs(Path(tmp_path) / "none.txt")


# ----------------------------------------------------------------------------------------- corpora

texts = st.text("abcde", min_size=1, max_size=7).map(tuple)
some_pairs = st.lists(st.builds(Pair, texts, st.text("vwxyz", max_size=5).map(tuple)), min_size=2).filter(
    lambda pairs: len({pair.source for pair in pairs}) > 1
)


def read_back(part, corpus):
    """The pairs that the rows of one part stand for, each up to its end."""
    sides = zip(part, (corpus.source_vocabulary, corpus.target_vocabulary), strict=True)
    columns = []
    for rows, vocabulary in sides:
        tokens = []
        for row in rows.tolist():
            end = row.index(EOS)
            assert min(row[:end], default=3) > EOS and set(row[end + 1 :]) <= {PAD}
            tokens.append(tuple(vocabulary.decode(row[:end])))
        assert (rows != PAD).any(0).all()  # no wider than its longest row
        columns.append(tokens)
    return list(map(Pair, *columns))


@given(some_pairs, st.data(), st.integers(0, 2**31))
def test_a_corpus_holds_every_pair_in_one_of_two_parts_that_share_no_source(pairs, data, seed):
    different = len({pair.source for pair in pairs})
    held_out = data.draw(st.integers(1, different - 1))
    corpus = make_corpus(pairs, held_out=held_out, generator=generator(seed))
    train, rest = read_back(corpus.train, corpus), read_back(corpus.held_out, corpus)
    assert Counter(train + rest) == Counter(pairs)
    sources = [{pair.source for pair in part} for part in (train, rest)]
    assert not sources[0] & sources[1]
    assert len(sources[1]) == held_out


@given(some_pairs)
def test_vocabularies_hold_the_tokens_of_all_pairs(pairs):
    corpus = make_corpus(pairs, held_out=1, generator=generator())
    assert SPECIAL == ("<pad>", "<sos>", "<eos>") and (PAD, SOS, EOS) == (0, 1, 2)
    for side, vocabulary in enumerate((corpus.source_vocabulary, corpus.target_vocabulary)):
        tokens = {token for pair in pairs for token in pair[side]}
        assert list(vocabulary) == [*SPECIAL, *sorted(tokens)]


def test_what_is_held_out_depends_on_nothing_but_the_generator():
    pairs = number_pairs(101, generator=generator())

    def held_out(seed):
        return make_corpus(pairs, held_out=23, generator=generator(seed)).held_out.source.tolist()

    state = torch.get_rng_state()
    assert held_out(1) == held_out(1) != held_out(2)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_row_ends_with_eos_and_is_filled_up_with_padding():
    rows = to_tensor(["ab", "", "cab"], Vocabulary("abc", special=SPECIAL))
    assert rows.tolist() == [[3, 4, EOS, PAD], [EOS, PAD, PAD, PAD], [5, 3, 4, EOS]]
    assert rows.dtype == torch.int64


def test_a_token_that_the_vocabulary_does_not_have_is_named():
    with pytest.raises(ValueError, match="^tokens must be in the vocabulary, 'x' is not: "):
        to_tensor(["ab", "ax"], Vocabulary("abc", special=SPECIAL))


@pytest.mark.parametrize("held_out", [0, 2, -1])
def test_a_corpus_keeps_something_in_both_parts(held_out):
    pairs = [Pair(("a",), ("x",)), Pair(("a",), ("y",)), Pair(("b",), ("z",))]
    message = rf"^held_out must lie in 1\.\.1, one less than there are sources, got {held_out}$"
    with pytest.raises(ValueError, match=message):
        make_corpus(pairs, held_out=held_out, generator=generator())


# ------------------------------------------------------------------------------------ latin letters


@pytest.mark.parametrize(
    ("korean", "latin"),
    [
        ("일이삼사오육칠팔구영", "ilisamsaoyukchilpalguyeong"),
        ("십백천만억조", "sipbaekcheonmaneokjo"),
        ("서울", "seoul"),
        ("부산", "busan"),
        ("한글", "hangeul"),
        ("태권도", "taegwondo"),
        ("빵", "ppang"),
        ("꽃", "kkot"),
        ("앞", "ap"),
        ("부엌", "bueok"),
        ("닭", "dak"),
        ("값", "gap"),
        ("여덟", "yeodeol"),
        ("의자 2", "uija 2"),
        ("<eos>", "<eos>"),
        ("", ""),
    ],
)
def test_words_in_latin_letters(korean, latin):
    assert romanised(korean) == latin


def test_open_syllables_are_spelt_as_unicode_names_them_but_for_six_letters():
    first = {"gg": "kk", "dd": "tt", "bb": "pp", "c": "ch"}
    vowel = {"weo": "wo", "yi": "ui"}
    for code in range(ord("가"), ord("힣"), 28):
        name = unicodedata.name(chr(code)).split()[-1].lower()
        begin = re.match("[^aeiouwy]*", name)[0]
        rest = name.removeprefix(begin)
        assert romanised(chr(code)) == first.get(begin, begin) + vowel.get(rest, rest)
