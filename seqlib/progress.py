"""Which exercises are solved, kept in one small file on the learner's own machine and sent nowhere.

    Progress()      # shows it, chapter by chapter

The file is `.seqlib-progress.json` in the home directory, and may be deleted at any time. The environment
variable SEQLIB_PROGRESS names another file, or says `off`: then nothing is kept.
"""

import html
import json
import os
import pkgutil
import tempfile
from collections.abc import Iterator
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

CHAPTERS = (  # number, topic (the name of its modules in seqlib), title
    (0, "start", "Start here"),
    (1, "probability", "Sequence probability"),
    (2, "rnn", "Recurrent networks"),
    (3, "bptt", "Backpropagation through time"),
    (4, "gated", "LSTM and GRU"),
    (5, "seq2seq", "Sequence to sequence"),
    (6, "attention", "Attention"),
    (7, "transformer", "Transformer"),
    (8, "vision", "Captions and questions"),
    (9, "vision", "Vision Transformer and images"),
)


# The file


def place() -> Path | None:
    """Where the progress is kept; None if SEQLIB_PROGRESS is `off`."""
    named = os.environ.get("SEQLIB_PROGRESS", "")
    if named == "off":
        return None
    return Path(named).expanduser() if named else Path.home() / ".seqlib-progress.json"


def record(name: str) -> str:
    """Note that the exercise `name`, such as "rnn.rnn_step", is solved.

    Returns what there is to say about it, as a rule nothing. A trouble with the file is told in this way and
    never raised: no exercise fails because of it. A damaged file is kept under another name.
    """
    try:
        path, remark = place(), ""
        if path is None:
            return ""
        try:
            contents = _read(path)  # afresh each time: another notebook may have written meanwhile
        except ValueError:
            kept = _set_aside(path)
            contents = _read(path)
            remark = f"The file of your progress was damaged. It is kept as {kept.name}, and a new one begun."
        if name not in contents["solved"]:
            _write(path, contents | {"solved": sorted([*contents["solved"], name])})
        return remark
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home directory
        return f"This could not be noted in your progress: {type(error).__name__}: {error}"


def solved() -> frozenset[str]:
    """The names of all exercises solved so far.

    Raises ValueError for a file that is damaged, and OSError for one that can't be read.
    """
    path = place()
    return frozenset() if path is None else frozenset(_read(path)["solved"])


def _read(path: Path) -> dict[str, Any]:
    """What the file holds; also what this version of seqlib does not know about."""
    if not path.exists():
        return {"solved": []}
    contents = json.loads(path.read_text(encoding="utf-8"))
    names = contents.get("solved") if isinstance(contents, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f'{path.name} must hold {{"solved": [names]}}')
    return contents


def _write(path: Path, contents: dict[str, Any]) -> None:
    """All or nothing: the new file takes the old one's place only when it is complete and on the disk."""
    path = path.resolve()  # a link stays a link
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=path.name, dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            json.dump(contents, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _set_aside(path: Path) -> Path:
    """Rename the file to a name that is free."""
    names = (path.with_name(f"{path.stem}-damaged-{number}{path.suffix}") for number in count(1))
    free = next(name for name in names if not name.exists())
    return path.rename(free)


# What it shows


class ChapterProgress(NamedTuple):
    """The names of a chapter's exercises, those solved and those still open."""

    title: str
    solved: tuple[str, ...]
    open: tuple[str, ...]

    @property
    def dots(self) -> str:
        return "●" * len(self.solved) + "○" * len(self.open)

    @property
    def words(self) -> str:
        return f"{len(self.solved)} of {len(self.solved) + len(self.open)}"


class Progress:
    """The exercises solved so far, by chapter: `chapters`, and `trouble` if the file could not be read."""

    def __init__(self) -> None:
        self.trouble = ""
        done: frozenset[str] = frozenset()
        try:
            done = solved()
        except (ValueError, OSError, RuntimeError) as error:
            self.trouble = f"The file of your progress can't be read: {type(error).__name__}: {error}"
        self.chapters = tuple(_chapters(exercises(), done))

    def __repr__(self) -> str:
        width = max(len(chapter.title) for chapter in self.chapters)
        most = max(len(chapter.dots) for chapter in self.chapters)
        rows = (
            f"  {chapter.title:{width}}  {chapter.dots:{most}}  {chapter.words}" for chapter in self.chapters
        )
        return "\n".join(["Exercises solved", *rows, *([self.trouble] if self.trouble else [])])

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><td style="text-align: left">{html.escape(chapter.title)}</td>'
            f'<td style="text-align: left; letter-spacing: 0.15em" aria-hidden="true">{chapter.dots}</td>'
            f"<td>{chapter.words}</td>"
            f'<td style="text-align: left">{_still(chapter)}</td></tr>'
            for chapter in self.chapters
        )
        trouble = f"<div>{html.escape(self.trouble)}</div>" if self.trouble else ""
        return f"<div><strong>Exercises solved</strong><table>{rows}</table>{trouble}</div>"


def _still(chapter: ChapterProgress) -> str:
    return f"still open: {', '.join(map(html.escape, chapter.open))}" if chapter.open else "✓ all"


def exercises() -> dict[str, tuple[str, ...]]:
    """The names of all exercises that there are in seqlib.checks, by topic.

    Imported here and by name: models don't import checks, and checks import this module.
    """
    kind = import_module("seqlib.checks.exercise").Exercise
    found = {}
    for module in pkgutil.iter_modules(import_module("seqlib.checks").__path__):
        members = vars(import_module(f"seqlib.checks.{module.name}"))
        names = tuple(name for name, member in members.items() if isinstance(member, kind))
        if names:
            found[module.name] = names
    return found


def _chapters(exercises: dict[str, tuple[str, ...]], done: frozenset[str]) -> Iterator[ChapterProgress]:
    topics = dict.fromkeys([topic for _, topic, _ in CHAPTERS] + sorted(exercises))  # in this order, once
    for topic in topics:
        if names := exercises.get(topic):
            titles = [f"{number} {title}" for number, of, title in CHAPTERS if of == topic]
            yield ChapterProgress(
                title=" / ".join(titles) or topic,
                solved=tuple(name for name in names if f"{topic}.{name}" in done),
                open=tuple(name for name in names if f"{topic}.{name}" not in done),
            )
