"""The committed texts are what data/README.md says they are."""

import platform
import re
import string
import sysconfig
from collections import Counter
from pathlib import Path

import pytest

from seqlib.pairs import read_pairs

DATA = Path(__file__).parents[1] / "data"
MARKER = "\n\n\n* * *\n\n\n"


def words(text: str) -> list[str]:
    return re.findall(r"[a-z'-]+", text.lower())


def runs_of_eight(text: str) -> list[tuple[str, ...]]:
    w = words(text)
    return [tuple(w[i : i + 8]) for i in range(len(w) - 7)]


@pytest.fixture(scope="module")
def text() -> str:
    return (DATA / "tales.txt").read_text(encoding="ascii")  # raises if it is not ASCII


@pytest.fixture(scope="module")
def readme() -> str:
    return (DATA / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def parts(text: str) -> list[list[str]]:
    """The tales of the training part and of the held-out part."""
    return [part.strip("\n").split("\n\n\n") for part in text.split(MARKER)]


@pytest.fixture(scope="module")
def tales(parts: list[list[str]]) -> list[str]:
    return [tale for part in parts for tale in part]


def test_tales_are_long_enough_to_train_on_and_short_enough_to_commit(text):
    assert 60_000 <= len(text) <= 80_000


def test_alphabet_is_the_one_the_readme_names(tales, readme):
    used = set("".join(tales)) | {"\n"}
    named = set(string.ascii_letters) - set("XZ") | set(" \n") | set(".,:!?'\"-")
    assert used == named
    assert f"alphabet has {len(used)} characters" in readme


def test_one_marker_divides_training_from_held_out_where_the_readme_says(text, parts, readme):
    assert text.split("\n").count("* * *") == text.count("*") // 3 == 1
    training, held_out = parts
    assert f"The {len(training)} tales" in readme and f"the {len(held_out)} tales" in readme
    assert 0.08 < len("".join(held_out)) / len(text) < 0.12


def test_the_line_of_code_in_the_readme_splits_the_file(readme):
    assert r'text.split("\n\n\n* * *\n\n\n")' in readme


def test_every_tale_has_a_title_and_wrapped_paragraphs(tales, text):
    for tale in tales:
        title, *paragraphs = tale.split("\n\n")
        assert re.fullmatch(r"[A-Z][A-Za-z' -]+", title), title
        assert len(paragraphs) >= 3, title
        assert all(p == p.strip() for p in paragraphs), title
        assert 700 <= len(tale) <= 1050, (title, len(tale))
    assert max(map(len, text.split("\n"))) <= 100


def test_quotation_marks_open_and_close_within_a_paragraph(tales):
    odd = [p for tale in tales for p in tale.split("\n\n") if p.count('"') % 2]
    assert odd == []


def test_no_tale_and_no_paragraph_occurs_twice(tales):
    paragraphs = Counter(p for tale in tales for p in tale.split("\n\n"))  # titles are among them
    assert [p for p, times in paragraphs.items() if times > 1] == []


def test_text_is_not_repeated_filler(text):
    runs = runs_of_eight(text)
    assert len(set(runs)) / len(runs) >= 0.95


def test_no_word_is_doubled_by_mistake(tales):
    doubled = [m for tale in tales for m in re.findall(r"\b(\w+)\s+\1\b", tale.lower())]
    assert [m for m in doubled if m not in {"had", "that"}] == []


def test_held_out_part_shares_no_eight_words_in_a_row_with_training(parts):
    training, held_out = (set().union(*map(runs_of_eight, part)) for part in parts)
    assert not training & held_out


# ------------------------------------------------------------------------------------ library.txt

MODULES = (("csv", "pstats"), ("calendar", "tabnanny"))


@pytest.fixture(scope="module")
def library() -> list[str]:
    """The part to look for units in, and the part to measure on."""
    return (DATA / "library.txt").read_text(encoding="ascii").split("\n* * *\n")


def section(readme: str, title: str) -> str:
    return readme.split(f"## {title}\n")[1].split("\n## ")[0]


def test_one_marker_divides_the_library_as_the_readme_says(library, readme):
    assert len(library) == 2 and "\n* * *\n" not in "".join(library)
    assert r'text.split("\n* * *\n")' in section(readme, "library.txt")
    thousands = round(len("".join(library)) / 1000)
    assert f"About {thousands} thousand characters" in section(readme, "library.txt")


def test_the_library_is_plain_text_with_lines_as_long_as_the_readme_says(library, readme):
    assert set("".join(library)) <= set(string.printable) - set("\t\r\x0b\x0c")
    longest = max(len(line) for part in library for line in part.split("\n"))
    assert f"no line longer than {longest}" in section(readme, "library.txt")


def test_each_part_begins_with_its_first_module_and_has_its_second_after_two_blank_lines(library):
    for part, opening in zip(library, ('"""\ncsv.py -', '"""Calendar printing'), strict=True):
        assert part.startswith(opening) and part.endswith("\n")
    assert '\n\n\n"""Class for printing reports on profiled python code."""\n' in library[0]
    assert '\n\n\n#! /usr/bin/env python3\n\n"""The Tab Nanny' in library[1]


@pytest.mark.skipif(platform.python_version() != "3.11.7", reason="the modules are those of Python 3.11.7")
def test_the_modules_are_those_of_python_unchanged_but_for_blank_lines_at_the_ends(library):
    folder = Path(sysconfig.get_path("stdlib"))
    for part, names in zip(library, MODULES, strict=True):
        sources = [(folder / f"{name}.py").read_text(encoding="utf-8").strip("\n") for name in names]
        assert part.strip("\n") == "\n\n\n".join(sources)


def test_licence_and_copyright_notices_are_there(library, readme):
    licence = (DATA / "LICENSE-PYTHON").read_text(encoding="utf-8")
    assert "PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2" in licence
    assert "[LICENSE-PYTHON](LICENSE-PYTHON)" in section(readme, "library.txt")
    assert "# Copyright Disney Enterprises, Inc.  All Rights Reserved." in library[0]
    assert "Disney" in section(readme, "library.txt")


# ------------------------------------------------------------------------------------ phrases.tsv


@pytest.fixture(scope="module")
def phrases() -> list[list[str]]:
    """Korean and English sentence of each line."""
    text = (DATA / "phrases.tsv").read_bytes().decode("utf-8")
    assert text.endswith("\n") and "\r" not in text
    return [line.split("\t") for line in text[:-1].split("\n")]


def test_each_line_is_a_sentence_in_hangul_a_tab_and_a_sentence_in_small_ascii_letters(phrases):
    lines = ["\t".join(sides) for sides in phrases]
    wrong = [line for line in lines if not re.fullmatch(r"[가-힣]+( [가-힣]+)*\t[a-z]+( [a-z]+)*", line)]
    assert wrong == []


def test_pairs_words_and_lengths_are_those_that_the_readme_counts(phrases, readme):
    text = " ".join(section(readme, "phrases.tsv").split())
    korean, english = ([side.split() for side in sides] for sides in zip(*phrases, strict=True))
    kinds = [len(set().union(*sentences)) for sentences in (korean, english)]
    (a, b), (c, d) = ((min(map(len, side)), max(map(len, side))) for side in (korean, english))
    assert text.startswith(f"{len(phrases)} pairs")
    assert f"{kinds[0]} in Korean (with their particles and endings) and {kinds[1]} in English" in text
    assert f"{a} to {b} Korean words and {c} to {d} English ones" in text


def test_no_phrase_occurs_twice_in_either_language(phrases):
    for sentences in zip(*phrases, strict=True):
        assert [s for s, times in Counter(sentences).items() if times > 1] == []


def test_every_word_of_the_phrases_occurs_in_as_many_lines_as_the_readme_says(phrases, readme):
    assert "in at least nine lines" in " ".join(section(readme, "phrases.tsv").split())
    for sentences in zip(*phrases, strict=True):
        lines = Counter(word for sentence in sentences for word in set(sentence.split()))
        assert [(word, times) for word, times in lines.items() if times < 9] == []


def test_particles_fit_the_syllable_before_them_and_the_verb_comes_last_and_is_polite(phrases):
    def ends_in_consonant(syllable: str) -> bool:
        return (ord(syllable) - ord("가")) % 28 > 0

    after_consonant = {"은": True, "는": False, "을": True, "를": False, "이": True, "가": False}
    words = [word for korean, _ in phrases for word in korean.split() if word[-1] in after_consonant]
    assert len(words) > len(phrases)
    assert [w for w in words if ends_in_consonant(w[-2]) != after_consonant[w[-1]]] == []
    assert [korean for korean, _ in phrases if not korean.endswith("요")] == []


def test_a_learners_own_file_like_the_phrases_can_be_read(phrases):
    pairs = read_pairs(DATA / "phrases.tsv")
    assert [[" ".join(side) for side in pair] for pair in pairs] == phrases


# ------------------------------------------------------------------------------------ checkpoints


def test_every_checkpoint_is_small_and_has_a_card_with_data_seconds_and_result():
    files = sorted((DATA / "checkpoints").glob("*.safetensors"))
    assert files
    cards = [card.read_text(encoding="utf-8") for card in (DATA / "checkpoints").glob("*.md")]
    for file in files:
        assert file.stat().st_size < 2_000_000
        (card,) = [card for card in cards if file.stem in card.splitlines()[0]]
        for part in ("Data", "Training", "Result", "Licence"):
            assert f"**{part}.**" in card
        assert "seconds on one core" in card.replace("\n", " ")


def test_there_is_nothing_else_among_the_checkpoints():
    kinds = {file.suffix for file in (DATA / "checkpoints").iterdir()}
    assert kinds == {".json", ".md", ".safetensors"}  # no pickles, no unfinished files
