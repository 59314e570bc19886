"""tools/notebooks.py: notebooks come from text, stay the same where nothing changed, and are fit to read."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_findings import findings

import notebooks  # tools/notebooks.py
from notebooks import main

ROOT = Path(__file__).parents[1]
CHAPTER = """\
# %% [markdown]
# # What a chapter may show

# %%
import ipywidgets
import matplotlib.pyplot as plt
from tqdm import tqdm as console_bar
from tqdm.auto import tqdm

SEED = 0
print("plain text")

# %%
_ = plt.plot([1, 4, 9])

# %%
class Explorer(ipywidgets.VBox):
    def _repr_mimebundle_(self, **options):
        return super()._repr_mimebundle_(**options) | {"image/png": "iVBORw0KGgo="}

    def __repr__(self):
        return "Explorer()"

Explorer()

# %%
ipywidgets.IntSlider(value=3)

# %% tags=["nbval-ignore-output"]
print("before")
for step in tqdm(range(3), desc="Training"):
    print("during", step)
for step in console_bar(range(3)):
    pass

# %%
assert step == 2
"""


def write(folder: Path, text: str, name: str = "01_try") -> Path:
    source = folder / "src" / f"{name}.py"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(text, encoding="utf-8")
    return source


def command(folder: Path, *arguments: str) -> int:
    return main([*arguments, "--folder", str(folder)])


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of a chapter with a plot, a picture of a widget, a plain widget and progress bars, built."""
    folder = tmp_path_factory.mktemp("built")
    write(folder, CHAPTER)
    assert command(folder, "build") == 0
    return folder


@pytest.fixture
def chapter(built, tmp_path):
    """A copy of it, to change."""
    return Path(shutil.copytree(built, tmp_path / "notebooks"))


def outputs(folder: Path, cell: int) -> list:
    return nbformat.read(folder / "01_try.ipynb", as_version=4).cells[cell].outputs


# Building


def test_a_built_chapter_passes_the_check(built, capsys):
    assert command(built, "check") == 0
    assert capsys.readouterr().err == ""


def test_building_again_gives_the_same_bytes(chapter):
    before = (chapter / "01_try.ipynb").read_bytes()
    assert command(chapter, "build", "1") == 0
    assert (chapter / "01_try.ipynb").read_bytes() == before


def test_a_widget_leaves_its_picture_and_its_text(built):
    (output,) = outputs(built, 3)
    assert output.data == {"text/plain": "Explorer()", "image/png": "iVBORw0KGgo="}
    (output,) = outputs(built, 4)
    assert output.data == {"text/plain": "IntSlider(value=3)"}


def test_a_progress_bar_leaves_nothing_and_the_text_around_it_is_one_piece(built):
    (output,) = outputs(built, 5)
    assert output.text == "before\nduring 0\nduring 1\nduring 2\n"


def test_nbval_accepts_what_was_built_and_nothing_else(chapter):
    changed = nbformat.read(chapter / "01_try.ipynb", as_version=4)
    changed.cells[1].outputs[0].text = "other text\n"
    nbformat.write(changed, chapter / "02_changed.ipynb")
    shutil.copy(ROOT / "notebooks/conftest.py", chapter)
    (chapter.parent / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT / 'tools'}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "notebooks"],
        cwd=chapter.parent,
        capture_output=True,
        text=True,
    )
    assert "1 failed, 11 passed" in done.stdout
    assert "FAILED notebooks/02_changed.ipynb::Cell 0" in done.stdout


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("for _ in tqdm(range(2)):\n    pass", "cell 2 .* shows a progress bar.* nbval-ignore-output"),
        ("import warnings\nwarnings.warn('old')", "cell 2 .* writes to stderr.*UserWarning: old"),
        ("1 / 0", "cell 2 .* fails:.*ZeroDivisionError"),
    ],
    ids=["progress bar", "warning", "exception"],
)
def test_a_build_that_fails_says_where_and_leaves_the_notebook_alone(tmp_path, capsys, cell, message):
    write(tmp_path, f"# %%\nfrom tqdm.auto import tqdm\n\n# %%\n{cell}\n")
    assert command(tmp_path, "build") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(message, said)
    assert not (tmp_path / "01_try.ipynb").exists()


def test_seeds_says_which_seed_fails_and_where(tmp_path, capsys):
    write(tmp_path, "# %%\nSEED = 0\n\n# %%\nassert SEED < 2, 'too large'\n\n# %%\nassert SEED != 3\n")
    assert command(tmp_path, "seeds", "1", "--seeds", "1", "3") == 1
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["01_try, seed 1: holds", "01_try, seed 3: fails"]
    assert said[2].startswith("  cell 2 (") and said[2].endswith("AssertionError: too large")
    assert said[3].startswith("  cell 3 (")


def test_seeds_needs_exactly_one_seed_to_replace(tmp_path, capsys):
    write(tmp_path, "# %%\nSEED = 1\n")
    assert command(tmp_path, "seeds", "1") == 1
    assert "0 lines SEED = 0" in capsys.readouterr().err


# Cell ids


def ids(sources: list[str], committed: dict[str, str]) -> list[str]:
    cells = [new_code_cell(source) for source in sources]
    notebooks.keep_ids(cells, [new_code_cell(source, id=id) for source, id in committed.items()])
    return [cell.id for cell in cells]


def test_a_cell_keeps_its_id_when_it_moves_or_changes_a_little():
    committed = {"x = torch.zeros(3)": "aaa", "print(x.sum())": "bbb", "y = 2": "ccc"}
    assert ids(["print(x.sum())", "x = torch.zeros(4)", "y = 2"], committed) == ["bbb", "aaa", "ccc"]


def test_a_new_cell_gets_an_id_from_its_content():
    first = ids(["a = 1", "new = 2"], {"a = 1": "aaa"})
    again = ids(["new = 2", "a = 1"], {"a = 1": "aaa"})
    assert first[0] == "aaa" and first[1] == again[0]


def test_equal_cells_get_different_ids():
    assert len(set(ids(["pass"] * 3, {}))) == 3


# Checking, without running anything


def stored(*cells: nbformat.NotebookNode, **metadata: object) -> nbformat.NotebookNode:
    """A notebook that is in order, but for what the cells bring."""
    notebook = new_notebook(cells=list(cells), metadata=notebooks.METADATA | metadata)
    for count, cell in enumerate((cell for cell in cells if cell.cell_type == "code"), 1):
        cell.execution_count = count
    return notebook


def found(notebook: nbformat.NotebookNode, text: nbformat.NotebookNode | None = None) -> list[str]:
    return list(findings(text or notebook, notebook, number="01"))


def shows(text: str) -> nbformat.NotebookNode:
    return new_code_cell("show()", outputs=[new_output("stream", name="stdout", text=text)])


def test_a_clean_notebook_has_no_findings():
    cells = [new_markdown_cell("# Title"), shows("3 of 4, ratio 1/2, shape (3, 5)\n"), new_code_cell("x = 1")]
    assert found(stored(*cells)) == []


@pytest.mark.parametrize(
    "text",
    [
        "/home/anna/seqlib/data.py",
        "see /tmp/x7/plot.png",
        "C:\\Users\\Anna\\seqlib",
        "/Users/anna",
        "lib/python3.11/site-packages/torch",
        "<object at 0x7f3a2b4c5d6e>",
    ],
)
def test_traces_of_a_machine_are_found_in_every_kind_of_output(text):
    html = new_output("execute_result", data={"text/plain": "Table", "text/html": f"<p>{text}</p>"})
    for cell in (shows(text), new_code_cell("show()", outputs=[html])):
        (finding,) = found(stored(cell))
        assert finding.startswith("cell 1 (") and "show something else" in finding


def test_the_machines_and_the_users_name_are_found(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "turing-7.example.org")
    monkeypatch.setattr("pathlib.Path.home", lambda: Path("/home/grace"))
    assert "'turing-7'" in found(stored(shows("running on turing-7")))[0]
    assert "'grace'" in found(stored(shows("grace@server")))[0]
    assert found(stored(shows("turing and grace"))) == []


def test_a_cell_that_was_not_run_or_run_out_of_order_is_found():
    for counts in ([1, None], [2, 1], [1, 3]):
        notebook = stored(new_code_cell("a = 1"), new_code_cell("b = 2"))
        for cell, count in zip(notebook.cells, counts, strict=True):
            cell.execution_count = count
        assert any("was not run in order" in finding for finding in found(notebook))


@pytest.mark.parametrize(
    "text",
    [
        stored(new_code_cell("a = 1"), new_code_cell("b = 3")),
        stored(new_code_cell("a = 1"), new_markdown_cell("b = 2")),
        stored(new_code_cell("a = 1"), new_code_cell("b = 2", metadata={"tags": ["raises-exception"]})),
        stored(new_code_cell("a = 1")),
    ],
    ids=["source", "type", "tag", "number"],
)
def test_a_text_that_differs_is_found_where_it_differs(text):
    (finding,) = found(stored(new_code_cell("a = 1"), new_code_cell("b = 2")), text)
    assert finding.startswith("cell 2 (") and "build 01" in finding and "pull 01" in finding


def test_noise_in_the_metadata_is_found():
    assert "widgets" in found(stored(widgets={"state": {}}))[0]
    assert "execution" in found(stored(new_code_cell("a", metadata={"execution": {"iopub.status": "x"}})))[0]
    language = {"name": "python", "version": "3.11.7"}
    assert "noise" in found(stored(language_info=language))[0]


def test_errors_warnings_and_dead_widgets_are_found():
    error = new_output("error", ename="ValueError", evalue="no", traceback=["no"])
    warning = new_output("stream", name="stderr", text="UserWarning")
    widget = new_output(
        "display_data", data={notebooks.WIDGET_VIEW: {"model_id": "1"}, "text/plain": "HBox()"}
    )
    for output, message in ((error, "ValueError"), (warning, "stderr"), (widget, "widget")):
        (finding,) = found(stored(new_code_cell("show()", outputs=[output])))
        assert message in finding
    meant = new_code_cell("show()", outputs=[error], metadata={"tags": ["raises-exception"]})
    assert found(stored(meant)) == []


@pytest.mark.parametrize("tag", ["NBVAL_IGNORE_OUTPUT", "nbval-ignore-outputs", "NBVAL-skip"])
def test_a_tag_that_nbval_would_not_read_is_found(tag):
    assert "nbval ignores" in found(stored(new_code_cell("assert x", metadata={"tags": [tag]})))[0]


def test_what_nbval_would_misread_in_the_source_is_found():
    assert "use the tag nbval-skip" in found(stored(new_code_cell("# NBVAL_SKIP because slow\nx = 1")))[0]
    assert "semicolon" in found(stored(new_code_cell("plt.plot(x);")))[0]


def test_a_cell_that_is_not_compared_needs_an_assertion_in_itself_or_in_the_next():
    train = new_code_cell("train()", metadata={"tags": ["nbval-ignore-output"]})
    assert (
        "assert what it shows" in found(stored(train, new_code_cell("x = 1"), new_code_cell("assert x")))[0]
    )
    assert found(stored(train, new_markdown_cell("Now"), new_code_cell("assert accuracy > 0.9"))) == []
    close = new_code_cell("torch.testing.assert_close(a, b)", metadata={"tags": ["nbval-ignore-output"]})
    assert found(stored(close)) == []


def test_a_missing_half_and_a_header_are_found(chapter, capsys):
    write(chapter, "# ---\n# jupyter:\n#   jupytext:\n#     formats: ipynb\n# ---\n\n" + CHAPTER)
    write(chapter, "# %%\nx = 1\n", "02_unbuilt")
    shutil.copy(chapter / "01_try.ipynb", chapter / "03_untold.ipynb")
    assert command(chapter, "check") == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0].split("/")[-1] for line in said] == [
        "01_try.py begins with a header of metadata, which nothing uses",
        "02_unbuilt.ipynb. To make it from the text",
        "03_untold.py. To make it from the notebook",
    ]


def test_a_chapter_that_does_not_exist_is_an_error(built, capsys):
    assert command(built, "check", "7") == 1
    assert "no chapter 07" in capsys.readouterr().err


# Bringing back


def test_pulling_an_unchanged_notebook_leaves_the_text_as_it_was(chapter):
    assert command(chapter, "pull", "01") == 0
    assert (chapter / "src/01_try.py").read_text(encoding="utf-8") == CHAPTER


def test_an_edit_in_the_notebook_comes_back_as_text_without_any_header(chapter, capsys):
    notebook = nbformat.read(chapter / "01_try.ipynb", as_version=4)
    notebook.cells[0].source = "# Another title\n\nAnd a sentence."
    notebook.cells.append(new_code_cell("y = 1", metadata={"tags": ["nbval-skip"], "collapsed": True}))
    notebook.metadata["language_info"] = {"name": "python", "version": "3.12.1"}
    nbformat.write(notebook, chapter / "01_try.ipynb")
    assert command(chapter, "pull", "01") == 0
    assert "build 01" in capsys.readouterr().out
    text = (chapter / "src/01_try.py").read_text(encoding="utf-8")
    assert text.startswith("# %% [markdown]\n# # Another title\n#\n# And a sentence.\n\n# %%\nimport")
    assert text.endswith('# %% tags=["nbval-skip"]\ny = 1\n')
    assert jupytext.reads(text, fmt="py:percent").cells[-1].source == "y = 1"


# ------------------------------------------------------------------------------------------- run times
TIMED = """\
# %% [markdown]
# # Times
#
# All cells together
# run in about 20 seconds.

# %%
quick = 1

# %% [markdown]
# ## A training
#
# It takes about {} seconds.

# %%
guess = None

# %%
slow = 2

# %% [markdown]
# ## Another
# Nothing is said of it.

# %%
slowest = 3
"""


@pytest.mark.parametrize(("stated", "status"), [(5, 0), (6, 0), (8, 1), (4, 1)])
def test_a_stated_time_is_held_against_the_slowest_cell_before_the_next_heading(
    tmp_path, capsys, monkeypatch, stated, status
):
    monkeypatch.setattr(notebooks, "run", lambda notebook, source: [0, 1, 0, 2, 5.5, 0, 12])
    clock = iter([0.0, 0.0, 22.0])  # the command's beginning, the chapter's, and its end
    monkeypatch.setattr(notebooks.time, "perf_counter", lambda: next(clock))
    write(tmp_path, TIMED.format(stated))
    assert command(tmp_path, "times") == status
    told = capsys.readouterr()
    assert "stated 20 s, measured 22.0 s" in told.out
    line = f"stated {stated} s, measured 5.5 s"
    assert line in told.out and (line in told.err) == bool(status)


def test_every_chapter_states_how_long_its_cells_run():
    for source in sorted((ROOT / "notebooks" / "src").glob("0[1-9]_*.py")):
        notebook = notebooks.read_text(source)
        everything = [cells for _, _, cells in notebooks.stated_times(notebook) if cells.start == 0]
        assert everything == [range(len(notebook.cells))], source.name
