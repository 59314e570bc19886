"""The chapters as one course: concepts have their place, and symbols mean what chapter 00 says they do."""

import ast
import html
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbconvert.filters import markdown2html

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
SOURCES = sorted(NOTEBOOKS.glob("src/[0-9][0-9]_*.py"))
LINK = re.compile(r"\[([^\]]+)\]\((\d\d_\w+\.ipynb)#([^)]+)\)")  # text, notebook, anchor


def number(path: Path) -> int:
    return int(path.stem[:2])


def table_rows(text: str) -> list[list[str]]:
    """The cells of each row of a Markdown text's tables, without the rows that head a table."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    ruled = {i for i, line in enumerate(lines) if re.fullmatch(r"[|:-]+", line)}
    body = [line for i, line in enumerate(lines) if i not in ruled and i + 1 not in ruled]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]


# ------------------------------------------------------------- from concept to section: notebooks/README.md
CONCEPTS = table_rows((NOTEBOOKS / "README.md").read_text(encoding="utf-8"))
LINKS = [link for _, where in CONCEPTS for link in LINK.findall(where)]


@pytest.fixture(scope="module")
def headings() -> dict[str, list[tuple[str, str]]]:
    """Text and anchor of each heading of each notebook, as nbconvert makes them."""
    found = {}
    for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown"]
        page = "".join(markdown2html(cell.source) for cell in cells)
        each = re.findall(r'<h\d id="([^"]+)">(.*?)<a class="anchor-link"', page)
        found[path.name] = [
            (html.unescape(re.sub("<[^>]+>", "", text)), html.unescape(anchor)) for anchor, text in each
        ]
    return found


def test_each_concept_has_a_row_of_its_own_and_at_least_one_section():
    concepts = [concept for concept, _ in CONCEPTS]
    assert len(set(concepts)) == len(concepts) > 90
    assert [concept for concept, where in CONCEPTS if LINK.sub("", where).replace("<br>", "")] == []
    assert [concept for concept, where in CONCEPTS if not LINK.search(where)] == []


def test_each_link_is_named_after_its_chapter_and_leads_to_the_one_heading_of_that_name(headings):
    for text, notebook, anchor in LINKS:
        chapter, heading = text.split(" ", 1)
        assert int(chapter) == number(Path(notebook))
        assert "%" not in anchor  # JupyterLab finds no heading that would need an escape
        assert [each for each in headings[notebook] if each[1] == anchor] == [(heading, anchor)]


def test_no_chapter_and_no_flaw_is_without_a_concept(headings):
    linked = {(notebook, anchor) for _, notebook, anchor in LINKS}
    assert {notebook for notebook, _ in linked} == set(headings)
    flaws = {
        (notebook, anchor)
        for notebook, each in headings.items()
        for text, anchor in each
        if text.startswith("Find the flaw:")
    }
    assert len(flaws) > 15 and flaws <= linked


# ------------------------------------------------------------- symbols and words: "Notation" in chapter 00
def chapters_named(cell: str) -> set[int]:
    """ "1, 5 to 7" -> {1, 5, 6, 7}"""
    ranges = [part.split(" to ") for part in cell.split(", ")]
    return {n for part in ranges for n in range(int(part[0]), int(part[-1]) + 1)}


def prose(source: str) -> str:
    return "\n".join(line.removeprefix("# ") for line in source.splitlines() if line.startswith("#"))


def code(source: str) -> str:
    return "\n".join(line for line in source.splitlines() if not line.startswith("#"))


TEXTS = {number(path): path.read_text(encoding="utf-8") for path in SOURCES}
[SECTION] = re.findall(r"^## Notation\n(.*?)^## ", prose(TEXTS[0]), flags=re.MULTILINE | re.DOTALL)
NOTATION = [(row, explained, chapters_named(chapters)) for row, *explained, chapters in table_rows(SECTION)]
SIZES = [(symbol.strip("`"), chapters) for symbol, _, chapters in NOTATION if symbol.startswith("`")]

# Sizes that one exercise or one example has to itself, and explains.
LOCAL = {
    1: {"C"},  # contexts that were counted
    5: {"W"},  # the width of a beam
    6: {"Q", "A"},  # entries of a query, and of the hidden layer of additive scores
    8: {"M"},  # held-out answers; questions about a digit
}
LOCAL_IN_SEQLIB = {
    "attention": {"Q"},  # entries of a query, where a key has another number
    "bptt": {"M"},  # steps of gradient descent
    "decoding": {"W"},  # the width of a beam
    "gated": {"G"},  # the columns of all gates, 3H or 4H
    "painting": {"M"},  # pictures of another set
    "probability": {"U", "Y"},  # numbers in the input and in the output of a state-space model
    "rnn": {"G"},  # the columns of all gates
    "vision": {"A"},  # answers
}


def comments_and_docstrings(source: str) -> str:
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, documented)]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return "\n".join([*docstrings, *(token.string for token in tokens if token.type == tokenize.COMMENT)])


def sizes_in_shapes(text: str) -> Iterator[str]:
    """The capital letters of what looks like a shape: (B, T + 1, 4H), but not f(T) nor (A sentence)."""
    size = r"(?:\d+ )?(?:\d*[A-Z]|[a-z_]+|\d+)"
    each = rf"{size}(?: ?[+*=-] ?{size})*"
    for shape in re.findall(rf"(?<![\w}}])\(({each}(?:, {each})*,?)\)", text):
        yield from re.findall(r"(?<![A-Za-z_])[A-Z](?![A-Za-z_])", shape)


def test_what_looks_like_a_shape():
    found = sizes_in_shapes(
        "x (B, T + 1, 4H), `(D, 2)`, (H,) and f(A), \\mathrm{g}(C), (A sentence), (K by 2)"
    )
    assert list(found) == ["B", "T", "H", "D", "H"]


@pytest.mark.parametrize("chapter", TEXTS)
def test_the_sizes_in_a_chapters_shapes_are_those_of_the_notation_table(chapter):
    used = set(sizes_in_shapes(comments_and_docstrings(TEXTS[chapter])))
    explained = {size for size, chapters in SIZES if chapter in chapters} | LOCAL.get(chapter, set())
    assert used <= (explained if chapter else {size for size, _ in SIZES})


@pytest.mark.parametrize("path", sorted((ROOT / "seqlib").glob("[!_]*.py")), ids=lambda path: path.stem)
def test_the_sizes_in_the_packages_annotations_are_those_of_the_notation_table(path):
    shapes = re.findall(r'\[Tensor, "([^"]*)"\]', path.read_text(encoding="utf-8"))
    used = {size for shape in shapes for size in re.findall(r"\b[A-Z]\b", shape)}
    assert used <= {size for size, _ in SIZES} | LOCAL_IN_SEQLIB.get(path.stem, set())


def is_used(row: str, explained: list[str], chapter: int) -> bool:
    """Whether the chapter has each symbol of a row: as a size, in an equation or in code; or the word."""
    text = TEXTS[chapter]
    if row.startswith("`"):
        return row.strip("`") in sizes_in_shapes(comments_and_docstrings(text))
    if not row.startswith("$"):
        return re.search(rf"\b{row.replace(' ', '[ _-]')}", text) is not None
    equations = " ".join(re.findall(r"\$\$.*?\$\$|\$[^$]+\$", prose(text), flags=re.S))
    symbols, names = re.findall(r"\$([^$]+)\$", row), re.findall(r"`([^`]+)`", explained[0])
    return all(re.search(rf"(?<![A-Za-z\\]){re.escape(s)}(?![A-Za-z])", equations) for s in symbols) or all(
        re.search(rf"(?<!\w){re.escape(name)}(?!\w)", code(text)) for name in names
    )


def test_each_symbol_and_word_of_the_notation_table_is_used_in_the_chapters_that_it_names():
    assert len(NOTATION) > 30
    claimed = [(row, explained, chapter) for row, explained, chapters in NOTATION for chapter in chapters]
    assert [
        (row, chapter) for row, explained, chapter in claimed if not is_used(row, explained, chapter)
    ] == []


def test_no_size_has_two_meanings_in_one_chapter():
    named = [(size, chapter) for size, chapters in SIZES for chapter in chapters]
    assert len(named) == len(set(named))
