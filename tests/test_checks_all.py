"""What holds for every exercise of every chapter."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest
import torch

import seqlib.checks
from seqlib.checks.exercise import Exercise

CHAPTERS = Path(__file__).parents[1] / "notebooks" / "src"
EXERCISES = {
    f"{topic.name}.{name}": value
    for topic in pkgutil.iter_modules(seqlib.checks.__path__)
    for name, value in vars(importlib.import_module(f"seqlib.checks.{topic.name}")).items()
    if isinstance(value, Exercise)
}
SEEDS = 3
MISTAKES = [(name, message) for name, exercise in EXERCISES.items() for message in exercise.mistakes]


def test_every_exercise_is_in_a_chapter_and_every_chapter_finds_its_exercises():
    asked = set()
    for path in CHAPTERS.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        [topic] = re.findall(r"^from seqlib\.checks import (\w+) as check$", text, flags=re.MULTILINE)
        asked |= {f"{topic}.{name}" for name in re.findall(r"^check\.(\w+)\(\1\)$", text, flags=re.MULTILINE)}
    assert asked == set(EXERCISES)


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_has_the_name_under_which_it_is_found(name):
    assert EXERCISES[name].name == name.partition(".")[2]


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("name", EXERCISES)
def test_the_reference_is_correct(name, seed):
    report = EXERCISES[name](EXERCISES[name].reference, seed=seed)
    assert report.correct, report


@pytest.mark.parametrize(("name", "message"), MISTAKES)
def test_every_mistake_earns_its_own_message(name, message, learner, remembered):
    report = EXERCISES[name](EXERCISES[name].mistakes[message])  # with the inputs that learners get
    assert report.status == "mistake", report
    assert (report.message + "\n").startswith(message + "\n"), report  # an exception may follow


@pytest.fixture(scope="module")
def trials():
    return {}


@pytest.fixture
def remembered(trials, monkeypatch):
    """What a mistake comes to is compared with all mistakes after it, and computed once for all of them.

    What is judged, and the arguments it gets, are made as ever.
    """

    def once(self, function, case):
        key = self.name, function, case
        if key not in trials:
            trials[key] = trial(self, function, case)
        return trials[key]

    trial = Exercise._trial
    monkeypatch.setattr(Exercise, "_trial", once)


@pytest.mark.parametrize("name", EXERCISES)
def test_hints_and_the_solution_can_be_read(name):
    exercise = EXERCISES[name]
    assert len(exercise.hints) >= 2 and exercise.look
    assert exercise.solution().text.startswith(f"def {exercise.name}(")
    assert '"""' in exercise.solution().text


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_can_be_pasted_into_the_notebook(name):
    notebook = {"torch": torch}
    exec(EXERCISES[name].solution().text, notebook)
    assert EXERCISES[name](notebook[EXERCISES[name].name]).correct
