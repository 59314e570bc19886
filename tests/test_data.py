"""The data sets are what their descriptions say."""

import ast
import string
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from sklearn.datasets import load_digits
from torch.testing import assert_close

from seqlib import data
from seqlib.data import CODE_CHARACTERS, adding_problem, digits, latch_problem, lookup_problem, tales
from seqlib.vocab import Vocabulary


def test_digits_are_scikit_learns_in_the_same_order():
    train, test = digits()
    assert len(train.images) == len(train.labels) == 1347
    assert len(test.images) == len(test.labels) == 450
    theirs = load_digits()
    assert torch.equal(torch.cat([train.images, test.images]) * 16, torch.tensor(theirs.images).float())
    assert torch.equal(torch.cat([train.labels, test.labels]), torch.tensor(theirs.target))


def test_grey_values_run_from_0_to_1_and_every_digit_is_in_both_parts():
    for part in digits():
        assert part.images.dtype == torch.float32 and part.labels.dtype == torch.int64
        assert part.images.shape[1:] == (8, 8)
        assert part.images.min() == 0 and part.images.max() == 1
        assert part.labels.unique().tolist() == list(range(10))


def test_tales_have_a_part_to_train_on_and_a_smaller_one_held_out():
    train, held_out = tales()
    assert 0 < len(held_out) < len(train) / 4
    for part in (train, held_out):
        assert part == part.strip() + "\n" and part.isascii()
        assert "*" not in part
    # What is held out was not trained on, but can be read with the same characters.
    paragraphs = [paragraph for paragraph in held_out.split("\n\n") if len(paragraph) > 40]
    assert paragraphs and not [paragraph for paragraph in paragraphs if paragraph in train]
    assert len(Vocabulary(train).encode(held_out)) == len(held_out)


def test_missing_tales_come_with_advice(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "DATA", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"tales\.txt is missing: .* pip install -e \."):
        tales()


@pytest.mark.parametrize("length", [2, 3, 11, 50])
def test_adding_problem_marks_one_number_in_each_half_and_asks_for_their_sum(length):
    x, y = adding_problem(sequences=37, length=length, generator=torch.Generator().manual_seed(0))
    assert x.shape == (37, length, 2) and y.shape == (37,)
    for row, answer in zip(x.tolist(), y.tolist(), strict=True):
        first, second = [t for t, (_, mark) in enumerate(row) if mark]
        assert first < length // 2 <= second
        assert {mark for _, mark in row} <= {0.0, 1.0}
        assert all(0 <= value < 1 for value, _ in row)
        assert answer == pytest.approx(row[first][0] + row[second][0])


def test_every_step_can_be_marked():
    x, _ = adding_problem(sequences=1009, length=7, generator=torch.Generator().manual_seed(0))
    assert (x[..., 1].sum(0) > 0).all()


def test_always_answering_1_has_an_error_of_a_sixth():
    _, y = adding_problem(sequences=100_003, length=2, generator=torch.Generator().manual_seed(0))
    assert_close((y - 1).square().mean(), torch.tensor(1 / 6), rtol=0.02, atol=0)


def test_adding_problem_depends_on_nothing_but_its_generator():
    def draw(seed):
        return adding_problem(sequences=5, length=11, generator=torch.Generator().manual_seed(seed))

    state = torch.get_rng_state()
    assert_close(draw(1), draw(1), rtol=0, atol=0)
    assert not torch.equal(draw(1)[1], draw(2)[1])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("length", [1, 0, -3])
def test_a_length_without_two_halves_is_refused(length):
    with pytest.raises(ValueError, match=f"^length must be at least 2, got {length}$"):
        adding_problem(sequences=5, length=length, generator=torch.Generator())


def test_sunspots_are_those_of_the_committed_table():
    years, numbers = data.sunspots()
    assert years.tolist() == list(range(1700, 2009))
    table = np.genfromtxt(data.DATA / "sunspots.csv", delimiter=",", names=True)
    np.testing.assert_array_equal(numbers, table["sunspots"])
    assert years[numbers.argmax()] == 1957  # the highest maximum of them all


# ------------------------------------------------------------------------------------ source code


@pytest.fixture(scope="module")
def library():
    return data.library_source()


def test_the_library_is_the_same_each_time_and_large_enough_to_learn_from(library):
    assert library == data.library_source()
    assert sum(map(len, library)) > 2_000_000
    assert len(library) > 100


def test_the_library_is_source_code_in_the_characters_of_the_vocabulary(library):
    assert set().union(*library) <= set(CODE_CHARACTERS)
    assert max(len(line) for source in library for line in source.split("\n")) <= 200
    for source in library[::50]:
        ast.parse(source)


def test_the_library_is_in_the_order_of_the_files_names(library):
    folder = Path(sysconfig.get_path("stdlib"))
    names = ("abc.py", "asyncio/queues.py", "json/decoder.py", "keyword.py", "queue.py", "this.py")
    places = [library.index((folder / name).read_text(encoding="utf-8")) for name in names]
    assert places == sorted(places)


def test_whatever_newlines_a_file_has_the_library_has_the_same(monkeypatch, tmp_path):
    (tmp_path / "a.py").write_bytes(b"a = 1\r\nb = 2\r\n")
    (tmp_path / "b.py").write_bytes(b"a = 1\nb = 2\n")
    monkeypatch.setattr(data.sysconfig, "get_path", lambda name: str(tmp_path))
    assert data.library_source() == ["a = 1\nb = 2\n"] * 2


def test_what_the_library_leaves_out(monkeypatch, tmp_path):
    files = {
        "b.py": b"b",
        "a/b.py": b"a b",
        "a/test/b.py": b"of a test",
        "test/b.py": b"of a test",
        "site-packages/b/c.py": b"not of the library",
        "_sysconfigdata_x.py": b"of this machine",
        "csv.py": b"held out",
        "a.txt": b"not Python",
        "tab.py": b"\tx",
        "accent.py": "é".encode(),
        "latin.py": b"\xe9",
        "long.py": b"x" * 201,
        "longest.py": b"x" * 200,
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    monkeypatch.setattr(data.sysconfig, "get_path", lambda name: str(tmp_path))
    assert data.library_source() == ["a b", "b", "x" * 200]


def test_the_library_has_nothing_of_the_modules_held_out(library):
    everything = "\n".join(library)
    for part in data.held_out_source():
        lines = part.splitlines()
        definitions = [
            "\n".join(lines[node.lineno - 1 : node.end_lineno]).strip()
            for node in ast.walk(ast.parse(part))
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        ]
        long = [definition for definition in definitions if len(definition) > 200]
        assert len(long) > 20
        assert [definition for definition in long if definition in everything] == []


def test_held_out_source_is_two_pieces_of_python_in_the_same_characters():
    first, second = data.held_out_source()
    for part in (first, second):
        ast.parse(part)
        assert set(part) <= set(CODE_CHARACTERS)
        assert part.startswith('"""') and part.endswith("\n") and not part.endswith("\n\n")
        assert 30_000 < len(part) < 50_000
    assert "class DictReader" in first and "class Stats" in first
    assert "class TextCalendar" in second and "class NannyNag" in second


def test_missing_source_comes_with_advice(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "DATA", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"library\.txt is missing: .* pip install -e \."):
        data.held_out_source()


def test_code_characters_are_a_line_break_and_what_can_be_typed_in_ascii():
    assert len(CODE_CHARACTERS) == len(set(CODE_CHARACTERS)) == 96
    assert set(CODE_CHARACTERS) == set(string.printable) - set("\t\r\x0b\x0c")
    assert list(Vocabulary(CODE_CHARACTERS)) == list(CODE_CHARACTERS)  # in the same order


# ------------------------------------------------------------------------------------------- latch


@pytest.mark.parametrize(("length", "symbols"), [(1, 2), (2, 8), (11, 3), (50, 7)])
def test_latch_problem_asks_for_the_first_of_random_symbols(length, symbols):
    g = torch.Generator().manual_seed(0)
    x, y = latch_problem(sequences=37, length=length, symbols=symbols, generator=g)
    assert x.shape == (37, length, symbols) and y.shape == (37,)
    assert x.dtype == torch.float32 and y.dtype == torch.int64
    assert x.unique().tolist() == [0, 1] and (x.sum(-1) == 1).all()
    assert y.tolist() == [row[0].index(1) for row in x.tolist()]


def test_latch_problem_has_eight_symbols_that_are_equally_likely_at_every_step():
    x, y = latch_problem(sequences=10_007, length=5, generator=torch.Generator().manual_seed(0))
    assert_close(x.mean(0), torch.full((5, 8), 1 / 8), rtol=0, atol=0.015)
    assert_close(y.bincount() / len(y), torch.full((8,), 1 / 8), rtol=0, atol=0.015)


def test_later_symbols_tell_nothing_of_the_first():
    x, y = latch_problem(sequences=10_007, length=3, symbols=3, generator=torch.Generator().manual_seed(0))
    for first in range(3):
        assert_close(x[y == first, 1:].mean(0), torch.full((2, 3), 1 / 3), rtol=0, atol=0.04)


def test_latch_problem_depends_on_nothing_but_its_generator():
    def draw(seed):
        return latch_problem(sequences=5, length=11, generator=torch.Generator().manual_seed(seed))

    state = torch.get_rng_state()
    assert_close(draw(1), draw(1), rtol=0, atol=0)
    assert not torch.equal(draw(1)[0], draw(2)[0])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "length must be at least 1, got 0"),
        ({"length": 5, "symbols": 1}, "symbols must be at least 2, got 1"),
    ],
)
def test_a_latch_problem_with_nothing_to_remember_is_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        latch_problem(sequences=3, **options, generator=torch.Generator())


# ------------------------------------------------------------------------------------------ lookup


@pytest.mark.parametrize(("entries", "symbols"), [(1, 1), (1, 7), (5, 7), (7, 7), (11, 20)])
def test_lookup_problem_asks_for_the_value_of_one_of_its_keys(entries, symbols):
    g = torch.Generator().manual_seed(0)
    memories, queries, answers = lookup_problem(sequences=37, entries=entries, symbols=symbols, generator=g)
    assert memories.shape == (37, entries, 2) and queries.shape == answers.shape == (37,)
    assert memories.dtype == queries.dtype == answers.dtype == torch.int64
    assert memories.min() >= 0 and memories.max() < symbols
    for memory, query, answer in zip(memories.tolist(), queries.tolist(), answers.tolist(), strict=True):
        dictionary = dict(memory)
        assert len(dictionary) == entries  # all keys are different
        assert dictionary[query] == answer


def test_keys_values_and_what_is_asked_for_are_equally_likely():
    memories, queries, answers = lookup_problem(
        sequences=5003, entries=5, symbols=7, generator=torch.Generator().manual_seed(0)
    )
    for symbols in (*memories.flatten(1).unbind(1), queries, answers):
        assert chisquare(symbols.bincount(minlength=7)).pvalue > 0.01
    asked = (memories[..., 0] == queries[:, None]).long().argmax(1)
    assert chisquare(asked.bincount(minlength=5)).pvalue > 0.01


def test_lookup_problem_depends_on_nothing_but_its_generator():
    def draw(seed):
        return lookup_problem(sequences=5, entries=11, generator=torch.Generator().manual_seed(seed))

    state = torch.get_rng_state()
    assert_close(draw(1), draw(1), rtol=0, atol=0)
    assert not torch.equal(draw(1)[0], draw(2)[0])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("entries", [0, -1, 8])
def test_a_dictionary_without_entries_or_with_too_many_is_refused(entries):
    message = rf"^entries must lie in 1\.\.7, the number of symbols, got {entries}$"
    with pytest.raises(ValueError, match=message):
        lookup_problem(sequences=3, entries=entries, symbols=7, generator=torch.Generator())
