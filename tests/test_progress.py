"""The learner's progress: kept in one file that survives whatever happens while it is written."""

import ast
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from seqlib import progress
from seqlib.checks import rnn as check
from seqlib.checks.exercise import Exercise, Prediction
from seqlib.progress import CHAPTERS, PREDICTIONS, Progress, exercises, place, record, solved

ROOT = Path(__file__).parents[1]
TWINS = {int(path.name[:2]): path for path in sorted(ROOT.glob("notebooks/src/[0-9][0-9]_*.py"))}


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "progress.json"
    monkeypatch.setenv("SEQLIB_PROGRESS", str(path))
    return path


def test_what_is_recorded_is_read_back(file):
    assert solved() == frozenset()
    assert record("rnn.rnn_step") == record("bptt.bptt") == record("rnn.rnn_step") == ""
    assert solved() == {"rnn.rnn_step", "bptt.bptt"}
    assert json.loads(file.read_text()) == {"solved": ["bptt.bptt", "rnn.rnn_step"]}


def test_predictions_stand_beside_the_exercises_in_words_that_can_be_read(file):
    assert record("rnn.rnn_step") == record("3. Do W² and W³ grow?", "predicted") == ""
    text = file.read_text(encoding="utf-8")
    assert "3. Do W² and W³ grow?" in text
    assert json.loads(text) == {"solved": ["rnn.rnn_step"], "predicted": ["3. Do W² and W³ grow?"]}
    assert solved() == {"rnn.rnn_step"}


def test_the_file_is_in_the_home_directory_unless_another_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(progress.Path, "home", lambda: tmp_path)
    monkeypatch.delenv("SEQLIB_PROGRESS")
    assert place() == tmp_path / ".seqlib-progress.json"
    monkeypatch.setenv("SEQLIB_PROGRESS", str(tmp_path / "new folder" / "mine.json"))
    assert record("rnn.rnn_step") == "" and solved() == {"rnn.rnn_step"}
    assert os.listdir(tmp_path) == ["new folder"]


def test_off_means_that_nothing_is_kept(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEQLIB_PROGRESS", "off")
    assert record("rnn.rnn_step") == "" and solved() == frozenset()
    assert os.listdir(tmp_path) == []


def test_deleting_the_file_begins_afresh(file):
    record("rnn.rnn_step")
    file.unlink()
    assert solved() == frozenset()
    assert record("bptt.bptt") == "" and solved() == {"bptt.bptt"}


def test_what_a_later_version_has_written_is_kept(file):
    file.write_text('{"solved": ["a.b"], "predictions": {"c": 1}}')
    record("rnn.rnn_step")
    assert json.loads(file.read_text()) == {"solved": ["a.b", "rnn.rnn_step"], "predictions": {"c": 1}}
    record("3. How many?", "predicted")
    assert json.loads(file.read_text()) == {
        "solved": ["a.b", "rnn.rnn_step"],
        "predictions": {"c": 1},
        "predicted": ["3. How many?"],
    }


def test_what_is_noted_already_is_not_written_again(file):
    record("rnn.rnn_step")
    record("3. How many?", "predicted")
    before = file.stat()
    record("rnn.rnn_step")
    record("3. How many?", "predicted")
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("step", ["json.dump", "os.fsync", "os.replace"])
@pytest.mark.parametrize("kind", ["solved", "predicted"])
def test_a_crash_while_writing_loses_nothing(file, monkeypatch, step, kind):
    record("rnn.rnn_step")
    before = file.read_bytes()

    def crash(*args, **kwargs):
        raise KeyboardInterrupt  # or the end of the process: nothing after this line happens

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(f"seqlib.progress.{step}", crash)
        record("bptt.bptt", kind)
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]
    assert record("bptt.bptt") == "" and solved() == {"rnn.rnn_step", "bptt.bptt"}


def test_a_process_killed_while_writing_loses_nothing(file):
    record("rnn.rnn_step")
    program = "import os, seqlib.progress as p; os.fsync = lambda _: os._exit(9); p.record('bptt.bptt')"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 9
    assert solved() == {"rnn.rnn_step"}
    assert record("bptt.bptt") == "" and solved() == {"rnn.rnn_step", "bptt.bptt"}


def test_a_full_disk_is_told_and_loses_nothing(file, monkeypatch):
    record("rnn.rnn_step")

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("seqlib.progress.os.fsync", full)
        assert "No space left on device" in record("bptt.bptt")
    assert solved() == {"rnn.rnn_step"} and os.listdir(file.parent) == [file.name]


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b'{"solved": ["rnn',
        b"\xff\xfe\x00",
        b"[1, 2]",
        b'{"solved": [1]}',
        b"{}",
        b'{"solved": [], "predicted": {"3": ["How many?"]}}',
        b'{"solved": [], "predicted": [3]}',
        b'{"solved": [], "predicted": null}',
    ],
)
def test_a_damaged_file_is_kept_under_another_name_and_that_is_said(file, damaged):
    for number in (1, 2):  # the second does not take the first one's place
        file.write_bytes(damaged)
        with pytest.raises(ValueError):
            solved()
        remark = record("rnn.rnn_step")
        assert f"progress-damaged-{number}.json" in remark
        assert (file.parent / f"progress-damaged-{number}.json").read_bytes() == damaged
        assert solved() == {"rnn.rnn_step"}
    assert record("bptt.bptt") == ""


def test_a_file_that_can_not_be_read_is_told_and_left_alone(file):
    file.mkdir()
    assert "could not be noted" in record("rnn.rnn_step")
    assert file.is_dir() and os.listdir(file.parent) == [file.name]
    assert "can't be read" in Progress().trouble


def test_without_a_home_directory_it_is_told(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("SEQLIB_PROGRESS")
    monkeypatch.setattr(progress.Path, "home", homeless)
    assert "home directory" in record("rnn.rnn_step")


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_to_the_file_stays_a_link(file, tmp_path):
    elsewhere = tmp_path / "synchronised.json"
    elsewhere.write_text('{"solved": []}')
    file.symlink_to(elsewhere)
    record("rnn.rnn_step")
    assert file.is_symlink() and json.loads(elsewhere.read_text()) == {"solved": ["rnn.rnn_step"]}


def test_two_notebooks_take_turns_without_losing_anything(file):
    program = "import sys, seqlib.progress as p; print(repr(p.record(sys.argv[1])))"
    for name in ("rnn.rnn_step", "bptt.bptt"):
        done = subprocess.run([sys.executable, "-c", program, name], capture_output=True, text=True)
        assert done.stdout == "''\n", done
        record(f"{name}_too")
    assert solved() == {"rnn.rnn_step", "rnn.rnn_step_too", "bptt.bptt", "bptt.bptt_too"}


def test_writers_at_the_same_moment_never_damage_the_file(file):
    with ThreadPoolExecutor(8) as pool:
        remarks = list(pool.map(record, [f"rnn.exercise_{i}" for i in range(64)]))
    told = [remark for remark in remarks if remark]
    assert all(os.name == "nt" and "could not be noted" in remark for remark in told), told
    assert solved() and solved() <= {f"rnn.exercise_{i}" for i in range(64)}
    assert os.listdir(file.parent) == [file.name]


# Exercises


def test_every_exercise_is_recorded_under_the_name_that_progress_counts(file, monkeypatch):
    monkeypatch.setattr(Exercise, "_judge", lambda *_: ("correct", "", ()))
    counted = {f"{topic}.{name}" for topic, names in exercises().items() for name in names}
    checks = [module for name, module in sys.modules.items() if name.startswith("seqlib.checks.")]
    for exercise in {e for module in checks for e in vars(module).values() if isinstance(e, Exercise)}:
        before = len(solved())
        assert exercise(None).correct
        assert len(solved()) == before + 1, exercise
    assert solved() == counted


def test_a_right_answer_is_recorded_and_nothing_else_is(file):
    def stub(x, h, W_xh, W_hh, b):
        raise NotImplementedError

    for answer in (stub, lambda x, h, W_xh, W_hh, b: h, lambda *_: 1 / 0, 3):
        assert not check.rnn_step(answer).correct
        assert not file.exists()
    assert check.rnn_step(lambda x, h, W_xh, W_hh, b: torch.tanh(x @ W_xh + h @ W_hh + b)).correct
    assert solved() == {"rnn.rnn_step"}


def test_a_right_answer_is_right_even_if_it_can_not_be_recorded(file):
    file.write_text("{")
    report = check.rnn_step(check.rnn_step.reference)
    assert report.correct and "damaged" in report.message
    file.unlink()
    file.mkdir()
    report = check.rnn_step(check.rnn_step.reference)
    assert report.correct and "could not be noted" in report.message


def test_exercises_of_every_topic_are_found():
    found = exercises()
    assert sorted(found) == sorted(topic for _, topic, _ in CHAPTERS)
    assert "patchify" in found["images"] and "spatial_attention" in found["captions"]
    assert "rnn_step" in found["rnn"] and found["start"] == ("mean_over_time",)
    assert all(isinstance(getattr(check, name), Exercise) for name in found["rnn"])


# Predictions


def test_a_guess_is_noted_once_and_only_its_question(file):
    for guess in (17, 18):
        prediction = Prediction("How many steps?", chapter=3, guess=guess, unit="steps")
        assert repr(prediction) == f"How many steps?\n  your prediction: {guess} steps"
    assert json.loads(file.read_text()) == {"solved": [], "predicted": ["3. How many steps?"]}


def test_without_a_valid_guess_or_a_chapter_nothing_is_noted(file):
    Prediction("How many?", chapter=3).compare(8)
    Prediction("How many?", guess=3).compare(8)
    with pytest.raises(ValueError, match="guess must be"):
        Prediction("Which?", chapter=3, choices=("this", "that"), guess="neither")
    assert not file.exists()


def test_a_prediction_is_made_even_if_it_can_not_be_noted(file):
    def prediction():
        return Prediction("How many?", chapter=3, guess=8)

    file.write_text("{")
    damaged = prediction()
    assert "your prediction: 8\n  The file of your progress was damaged" in repr(damaged)
    assert "was damaged" in damaged._repr_html_()
    file.unlink()
    file.mkdir()
    assert "could not be noted" in repr(prediction())
    file.rmdir()
    assert "could not be noted" in repr(Prediction("\ud800", chapter=3, guess=8))  # no character at all
    assert damaged == prediction() and damaged.compare(8).close


def test_where_nothing_is_kept_a_prediction_is_made_all_the_same(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEQLIB_PROGRESS", "off")
    assert repr(Prediction("How many?", chapter=3, guess=8)) == "How many?\n  your prediction: 8"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", TWINS)
def test_a_chapter_has_as_many_predictions_as_are_counted_and_each_names_it(number):
    calls = [
        {argument.arg: argument.value for argument in node.keywords} | {"question": node.args[0]}
        for node in ast.walk(ast.parse(TWINS[number].read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Prediction"
    ]
    assert [ast.literal_eval(call["chapter"]) for call in calls] == [number] * PREDICTIONS[number]
    assert len({ast.literal_eval(call["question"]) for call in calls}) == PREDICTIONS[number]
    assert all(ast.literal_eval(call["guess"]) is None for call in calls)


# What it shows


def test_chapters_have_the_titles_of_the_contents_and_of_their_own_headings():
    contents = re.findall(r"^\| (\d\d) \| \[(.+?)\]", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    headings = [
        re.search(r"^# # (\d) (.+)$", path.read_text("utf-8"), re.MULTILINE) for path in TWINS.values()
    ]
    titles = [(number, title) for number, _, title in CHAPTERS]
    assert titles == [(int(number), title) for number, title in contents]
    assert titles == [(int(heading[1]), heading[2]) for heading in headings]


def test_progress_counts_by_chapter(file):
    record("rnn.rnn_step")
    record("rnn.of_a_later_version")
    record("elsewhere.unknown")
    record("captions.patchify")
    record("3. How many?", "predicted")
    record("13. How many?", "predicted")
    shown = {chapter.title: chapter for chapter in Progress().chapters}
    chapter = shown["2 Recurrent networks"]
    assert chapter.solved == ("rnn_step",) and "embed" in chapter.open
    assert chapter.exercise_words == f"1 of {len(exercises()['rnn'])}"
    assert not any(other.solved for other in shown.values() if other is not chapter)
    assert [other.predicted for other in shown.values()] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert shown["3 Backpropagation through time"].prediction_words == f"1 of {PREDICTIONS[3]}"
    assert list(shown) == [f"{number} {title}" for number, _, title in CHAPTERS]


def test_no_more_predictions_are_counted_than_a_chapter_has(file):
    for wording in ("How many?", "How many steps?"):  # in two versions of the course
        record(f"0. {wording}", "predicted")
    assert Progress().chapters[0].prediction_words == "1 of 1"


def test_what_the_first_version_noted_is_shown(file):
    file.write_text('{"solved": ["start.mean_over_time"]}')
    shown = Progress()
    assert not shown.trouble and shown.chapters[0].open == () and shown.chapters[0].predicted == 0


def test_progress_reads_the_same_as_text_on_every_machine(file):
    record("start.mean_over_time")
    record("2. How many?", "predicted")
    text = repr(Progress())
    lines = [re.split(r"  +", line) for line in text.splitlines()]
    assert lines[0] == ["Chapter", "Exercises solved", "Predictions made"]
    assert lines[1] == ["0 Start here", "●", "1 of 1", "0 of 1"]
    assert lines[3] == ["2 Recurrent networks", "○○○○○", "0 of 5", "1 of 2"]
    assert len(lines) == 11 and max(map(len, text.splitlines())) < 80
    assert str(file.parent) not in text + Progress()._repr_html_()


def test_the_page_says_what_the_text_says(file):
    record("images.patchify")
    record("9. How varied?", "predicted")
    table = ElementTree.fromstring(Progress()._repr_html_()).find("table")
    head, *rows = [["".join(cell.itertext()) for cell in row] for row in table]
    text = [re.split(r"  +", line) for line in repr(Progress()).splitlines()]
    assert [head, *([title, *counts, made] for title, *counts, _, made in rows)] == text


def test_progress_as_a_page_needs_no_colour(file):
    record("start.mean_over_time")
    page = Progress()._repr_html_()
    assert "✓ all" in page and "still open: rnn_step" in page and "1 of 1" in page
    assert "color" not in page and "background" not in page


def test_progress_is_shown_when_the_file_is_damaged_and_says_so(file):
    file.write_text('{"solved": <b>')
    shown = Progress()
    assert "can't be read" in repr(shown) and "be read: JSONDecodeError" in shown._repr_html_()
    assert file.read_text() == '{"solved": <b>'


def test_an_exercise_of_a_topic_without_a_chapter_is_counted_too():
    *_, last = progress._chapters({"extra": ("one", "two")}, frozenset({"extra.two"}), frozenset())
    assert (last.title, last.solved, last.open) == ("extra", ("two",), ("one",))


def test_reading_the_progress_loads_neither_torch_nor_the_exercises():
    program = """
import sys, seqlib.progress
seqlib.progress.solved()
assert not {"torch", "seqlib.checks"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
