"""The committed texts are what data/README.md says they are."""

import platform
import re
import string
import sysconfig
from collections import Counter
from pathlib import Path

import pytest

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


# ------------------------------------------------------------------------------------ checkpoints


def test_every_checkpoint_is_small_and_has_a_card_with_data_seconds_and_bits():
    files = sorted((DATA / "checkpoints").glob("*.safetensors"))
    assert files
    cards = (DATA / "checkpoints" / "README.md").read_text(encoding="utf-8")
    for file in files:
        assert file.stat().st_size < 2_000_000
        (card,) = re.findall(rf"^# {file.name}\n(.*?)(?=^# |\Z)", cards, flags=re.MULTILINE | re.DOTALL)
        assert "**Data.**" in card and "**Licence.**" in card
        assert re.search(r"\d+ seconds", card) and re.search(r"\d\.\d\d bits a character", card)


def test_there_is_nothing_else_among_the_checkpoints():
    kinds = {file.suffix for file in (DATA / "checkpoints").iterdir()}
    assert kinds == {".md", ".safetensors"}  # no pickles, no unfinished files
