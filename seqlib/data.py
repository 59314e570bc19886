"""The small data sets of the course. Everything is on the learner's disk; nothing is downloaded."""

import sysconfig
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

DATA = Path(__file__).parents[1] / "data"


class Digits(NamedTuple):
    """Handwritten digits, 8 by 8 pixels with grey values from 0 to 1, and which digit each is."""

    images: Float[Tensor, "N 8 8"]
    labels: Int[Tensor, " N"]


def digits() -> tuple[Digits, Digits]:
    """1,347 training and 450 test digits from scikit-learn (Alpaydin and Kaynak, 1998).

    The last quarter of the file, in its own order, is the test part.
    """
    from sklearn.datasets import load_digits  # slow to import, and few chapters need it

    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images / 16, dtype=torch.float32).view(-1, 8, 8)
    labels = torch.tensor(labels, dtype=torch.int64)
    return Digits(images[:1347], labels[:1347]), Digits(images[1347:], labels[1347:])


def tales() -> tuple[str, str]:
    """The course's own fables as text: the training part and the held-out part.

    Raises FileNotFoundError with advice where the course's data folder is missing.
    """
    train, held_out = _read("tales.txt").split("\n* * *\n")
    return train.strip() + "\n", held_out.strip() + "\n"


def sunspots() -> tuple[Int[Tensor, " T"], Float[Tensor, " T"]]:
    """The years from 1700 to 2008 and their mean sunspot numbers (origin: data/README.md), float64.

    Raises FileNotFoundError as `tales` does.
    """
    rows = [line.split(",") for line in _read("sunspots.csv").split()[1:]]
    years = torch.tensor([int(year) for year, _ in rows])
    return years, torch.tensor([float(number) for _, number in rows], dtype=torch.float64)


# Printable ASCII and the line break: the characters of `library_source` and `held_out_source`.
CODE_CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))


def library_source() -> list[str]:
    """The source files of this Python's standard library in the order of their names.

    Without its tests, the modules of `held_out_source`, and files with tabs, with lines of over 200
    characters or with any but CODE_CHARACTERS. Some 10 million characters in all, and others in each Python.
    """
    library = Path(sysconfig.get_path("stdlib"))
    files = []
    for path in sorted(library.rglob("*.py"), key=lambda path: path.relative_to(library).parts):
        folders, name = path.relative_to(library).parts[:-1], path.name
        if {"test", "tests", "idle_test", "site-packages", "dist-packages"} & set(folders):
            continue
        if name in _HELD_OUT or name.startswith("_sysconfigdata"):
            continue
        source = path.read_bytes().decode("utf-8", errors="replace").replace("\r\n", "\n")
        if set(source) <= set(CODE_CHARACTERS) and max(map(len, source.split("\n"))) <= 200:
            files.append(source)
    return files


_HELD_OUT = ("calendar.py", "csv.py", "pstats.py", "tabnanny.py")


def held_out_source() -> tuple[str, str]:
    """Modules of Python 3.11's standard library (data/README.md): csv and pstats, calendar and tabnanny.

    Two pieces of source code: one to look for something in, the other to measure on what was found.
    Raises FileNotFoundError as `tales` does.
    """
    first, second = _read("library.txt").split("\n* * *\n")
    return first, second


def _read(name: str) -> str:
    path = DATA / name
    if not path.exists():
        raise FileNotFoundError(
            f"{name} is missing: seqlib looks for the folder data/ beside the folder seqlib/. "
            "Install the package from the course's folder with pip install -e ."
        )
    return path.read_text(encoding="ascii")


def adding_problem(
    *, sequences: int, length: int, generator: torch.Generator
) -> tuple[Float[Tensor, "B T 2"], Float[Tensor, " B"]]:
    """The adding problem (Hochreiter and Schmidhuber, 1997): add the two marked numbers.

    Feature 0 is uniform in 0..1, feature 1 marks one step of the first half and one of the second.
    Always answering 1 gives a mean squared error of 1/6. Raises ValueError for length < 2.
    """
    if length < 2:
        raise ValueError(f"length must be at least 2, got {length}")
    values = torch.rand(sequences, length, generator=generator)
    half = length // 2
    first = torch.randint(half, (sequences, 1), generator=generator)
    second = torch.randint(half, length, (sequences, 1), generator=generator)
    marks = torch.zeros(sequences, length).scatter(1, torch.cat([first, second], 1), 1.0)
    return torch.stack([values, marks], -1), (values * marks).sum(1)


def latch_problem(
    *, sequences: int, length: int, symbols: int = 8, generator: torch.Generator
) -> tuple[Float[Tensor, "B T V"], Int[Tensor, " B"]]:
    """The latch problem (after Bengio and others, 1994): which symbol was the first?

    Sequences of random symbols, one-hot, and the number of each sequence's first symbol. All others are
    distraction. Guessing is right once in `symbols` times. Raises ValueError for length < 1, symbols < 2.
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    if symbols < 2:
        raise ValueError(f"symbols must be at least 2, got {symbols}")
    drawn = torch.randint(symbols, (sequences, length), generator=generator)
    return torch.nn.functional.one_hot(drawn, symbols).float(), drawn[:, 0]


def lookup_problem(
    *, sequences: int, entries: int, symbols: int = 20, generator: torch.Generator
) -> tuple[Int[Tensor, "B S 2"], Int[Tensor, " B"], Int[Tensor, " B"]]:
    """A dictionary for each sequence and a question to it: memories, queries, answers.

    A memory has `entries` pairs of a key and a value, both symbols from 0 on; keys are different. The query
    is one of the keys, and the answer its value. Guessing a value of the memory is right about once in
    `entries` times. Raises ValueError for fewer than one entry, and for more entries than symbols.
    """
    if not 1 <= entries <= symbols:
        raise ValueError(f"entries must lie in 1..{symbols}, the number of symbols, got {entries}")
    shuffled = torch.rand(sequences, symbols, generator=generator).argsort(1)
    keys = shuffled[:, :entries]  # (B, S), all different
    values = torch.randint(symbols, (sequences, entries), generator=generator)
    asked = torch.randint(entries, (sequences, 1), generator=generator)
    return torch.stack([keys, values], -1), keys.gather(1, asked)[:, 0], values.gather(1, asked)[:, 0]
