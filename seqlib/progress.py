"""Exercises solved and predictions made, kept in one small file on the learner's own machine, sent nowhere.

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
from typing import Any, Literal, NamedTuple

CHAPTERS = (  # number, topic (the last part of the name of the module with its exercises), title
    (0, "start", "Start here"),
    (1, "probability", "The probability of a sequence"),
    (2, "rnn", "Recurrent networks"),
    (3, "bptt", "Backpropagation through time"),
    (4, "gated", "LSTM and GRU"),
    (5, "seq2seq", "Sequence to sequence"),
    (6, "attention", "Attention"),
    (7, "transformer", "The Transformer"),
    (8, "captions", "Captions and questions"),
    (9, "images", "Vision Transformer and images"),
)
PREDICTIONS = {0: 1, 1: 2, 2: 2, 3: 4, 4: 5, 5: 1, 6: 1, 7: 2, 8: 1, 9: 2}  # how many each chapter asks for

Kind = Literal["solved", "predicted"]  # what is noted, and the key in the file under which it is


# The file


def place() -> Path | None:
    """Where the progress is kept; None if SEQLIB_PROGRESS is `off`."""
    named = os.environ.get("SEQLIB_PROGRESS", "")
    if named == "off":
        return None
    return Path(named).expanduser() if named else Path.home() / ".seqlib-progress.json"


def record(name: str, kind: Kind = "solved") -> str:
    """Note that an exercise, such as "rnn.rnn_step", is solved.

    Or, where `kind` says so, that a question is predicted: "3. How many steps?" is one of chapter 3.

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
        names = contents.get(kind, [])
        if name not in names:
            _write(path, contents | {kind: sorted([*names, name])})
        return remark
    except (OSError, RuntimeError, UnicodeError) as error:  # RuntimeError: there is no home directory
        return f"This could not be noted in your progress: {type(error).__name__}: {error}"


def solved() -> frozenset[str]:
    """The names of all exercises solved so far.

    Raises ValueError for a file that is damaged, and OSError for one that can't be read.
    """
    return _noted("solved")


def _noted(kind: Kind) -> frozenset[str]:
    path = place()
    return frozenset() if path is None else frozenset(_read(path).get(kind, []))


def _read(path: Path) -> dict[str, Any]:
    """What the file holds; also what this version of seqlib does not know about."""
    if not path.exists():
        return {"solved": []}
    contents = json.loads(path.read_text(encoding="utf-8"))
    # the first version noted no predictions
    known = isinstance(contents, dict) and (contents.get("solved"), contents.get("predicted", []))
    if not known or not all(map(_are_names, known)):
        raise ValueError(f'{path.name} must hold {{"solved": [names], "predicted": [questions]}}')
    return contents


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _write(path: Path, contents: dict[str, Any]) -> None:
    """All or nothing: the new file takes the old one's place only when it is complete and on the disk."""
    path = path.resolve()  # a link stays a link
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=path.name, dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            json.dump(contents, file, indent=1, ensure_ascii=False)
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
    """The names of a chapter's exercises, solved and still open, and the numbers of its predictions."""

    title: str
    solved: tuple[str, ...]
    open: tuple[str, ...]
    predicted: int
    predictions: int

    @property
    def dots(self) -> str:
        return "●" * len(self.solved) + "○" * len(self.open)

    @property
    def exercise_words(self) -> str:
        return f"{len(self.solved)} of {len(self.solved) + len(self.open)}"

    @property
    def prediction_words(self) -> str:
        return f"{self.predicted} of {self.predictions}"


class Progress:
    """The exercises solved and the predictions made so far, by chapter.

    They are in `chapters`; `trouble` says why the file could not be read, if so.
    """

    def __init__(self) -> None:
        self.trouble = ""
        done: frozenset[str] = frozenset()
        predicted: frozenset[str] = frozenset()
        try:
            done, predicted = solved(), _noted("predicted")
        except (ValueError, OSError, RuntimeError) as error:
            self.trouble = f"The file of your progress can't be read: {type(error).__name__}: {error}"
        self.chapters = tuple(_chapters(exercises(), done, predicted))

    def __repr__(self) -> str:
        width = max(len(chapter.title) for chapter in self.chapters)
        most = max(len(chapter.dots) for chapter in self.chapters)
        rows = [("Chapter", "Exercises solved", "Predictions made")]
        for chapter in self.chapters:
            solved = f"{chapter.dots:{most}}  {chapter.exercise_words}"
            rows.append((chapter.title, solved, chapter.prediction_words))
        lines = [f"{title:{width}}  {solved:16}  {predicted}" for title, solved, predicted in rows]
        return "\n".join([*lines, *([self.trouble] if self.trouble else [])])

    def _repr_html_(self) -> str:
        left = 'style="text-align: left"'
        head = (
            f'<tr><th {left}>Chapter</th><th {left} colspan="3">Exercises solved</th>'
            f"<th {left}>Predictions made</th></tr>"
        )
        rows = "".join(
            f"<tr><td {left}>{html.escape(chapter.title)}</td>"
            f'<td style="text-align: left; letter-spacing: 0.15em" aria-hidden="true">{chapter.dots}</td>'
            f'<td style="white-space: nowrap">{chapter.exercise_words}</td>'
            f"<td {left}>{_still(chapter)}</td>"
            f"<td {left}>{chapter.prediction_words}</td></tr>"
            for chapter in self.chapters
        )
        trouble = f"<div>{html.escape(self.trouble)}</div>" if self.trouble else ""
        return f"<div><table>{head}{rows}</table>{trouble}</div>"


def _still(chapter: ChapterProgress) -> str:
    return f"still open: {', '.join(map(html.escape, chapter.open))}" if chapter.open else "✓ all"


def exercises() -> dict[str, tuple[str, ...]]:
    """The names of all exercises that there are in seqlib.checks, by topic.

    Imported here and by name: models don't import checks, and checks import this module.
    """
    kind = import_module("seqlib.checks.exercise").Exercise
    found = {}
    for module in pkgutil.walk_packages(import_module("seqlib.checks").__path__, "seqlib.checks."):
        if module.ispkg:
            continue  # it passes on what its modules have
        members = vars(import_module(module.name))
        names = tuple(name for name, member in members.items() if isinstance(member, kind))
        if names:
            found[module.name.rpartition(".")[2]] = names
    return found


def _chapters(
    exercises: dict[str, tuple[str, ...]], done: frozenset[str], predicted: frozenset[str]
) -> Iterator[ChapterProgress]:
    known = {topic: (number, f"{number} {title}") for number, topic, title in CHAPTERS}
    for topic in dict.fromkeys([*known, *sorted(exercises)]):  # in this order, once
        number, title = known.get(topic, (-1, topic))
        names, asked = exercises.get(topic, ()), PREDICTIONS.get(number, 0)
        questions = [question for question in predicted if question.startswith(f"{number}. ")]
        yield ChapterProgress(
            title=title,
            solved=tuple(name for name in names if f"{topic}.{name}" in done),
            open=tuple(name for name in names if f"{topic}.{name}" not in done),
            predicted=min(len(questions), asked),  # a question that was worded anew is noted twice
            predictions=asked,
        )
