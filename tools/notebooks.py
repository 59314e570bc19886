"""Chapters are text in notebooks/src/NN_topic.py and executed notebooks in notebooks/NN_topic.ipynb.

python tools/notebooks.py build [NN ...]    execute the text into the notebook (all chapters, or some)
python tools/notebooks.py check [NN ...]    do both agree, and is the notebook fit to be compared with?
python tools/notebooks.py pull NN ...       bring an edit made in JupyterLab back into the text
python tools/notebooks.py seeds NN ...      run the text with other seeds than 0: do its assertions hold?
python tools/notebooks.py times [NN ...]    run the text: does it take as many seconds as it says?
"""

import argparse
import difflib
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from notebook_findings import IGNORE, METADATA, WIDGET_VIEW, findings, place, tags

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
PERCENT = {"extension": ".py", "format_name": "percent"}

# Stored outputs are made under these, and compared under these (notebooks/conftest.py).
CELL_TIMEOUT = 120  # seconds
TOLERANCE = 0.3  # how far a stated time may be from the measured one, as a part of it
KERNEL_VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "SEQLIB_PROGRESS": "off",  # nobody's own progress is shown in a stored output, or changed by a check
}

PROGRESS_BAR = re.compile(r"(\d%\|.*\||\dit )\s*.*\[\d\d:\d\d")  # a line of tqdm


class NotebookError(Exception):
    """Something that an author has to put right; the message says what, where and how."""


# Chapters


def chapters(folder: Path, names: list[str]) -> list[Path]:
    """The texts of the chapters named ("3", "03" or "03_bptt"), or of all."""
    stems = {path.stem for path in [*folder.glob("src/*.py"), *folder.glob("*.ipynb")]}
    stems = {stem for stem in stems if re.match(r"\d\d_", stem)}
    wanted = {name.zfill(2) for name in names}
    if unknown := wanted - stems - {stem[:2] for stem in stems}:
        raise NotebookError(f"There is no chapter {', '.join(sorted(unknown))} in {folder}.")
    return [folder / "src" / f"{stem}.py" for stem in sorted(stems) if not names or {stem, stem[:2]} & wanted]


def notebook_of(source: Path) -> Path:
    return source.parent.parent / f"{source.stem}.ipynb"


def read_text(source: Path) -> NotebookNode:
    """The chapter as the text has it: cells with their tags, nothing run."""
    if not source.exists():
        raise NotebookError(f"There is no {source}. To make it from the notebook: pull {source.stem[:2]}.")
    notebook = jupytext.read(source, fmt=PERCENT)
    for cell in notebook.cells:
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
    notebook.metadata = dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def read_notebook(source: Path) -> NotebookNode:
    path = notebook_of(source)
    if not path.exists():
        raise NotebookError(f"There is no {path}. To make it from the text: build {source.stem[:2]}.")
    return nbformat.read(path, as_version=4)


# Building


def run(notebook: NotebookNode, source: Path, *, keep_going: bool = False) -> list[float]:
    """Execute all cells in the notebook's folder, each within CELL_TIMEOUT; how many seconds each took."""
    begun: dict[int, float] = {}  # when each cell was begun
    seconds = [0.0] * len(notebook.cells)

    def begin(cell: NotebookNode, cell_index: int) -> None:
        begun[cell_index] = time.perf_counter()

    def end(cell: NotebookNode, cell_index: int, execute_reply: object) -> None:
        seconds[cell_index] = time.perf_counter() - begun[cell_index]

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=CELL_TIMEOUT,
        allow_errors=keep_going,
        store_widget_state=False,
        record_timing=False,
        resources={"metadata": {"path": str(notebook_of(source).parent)}},
        on_cell_start=begin,
        on_cell_executed=end,
    )
    variables = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"} | KERNEL_VARIABLES
    try:
        client.execute(env=variables, stderr=subprocess.DEVNULL)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        last = max(begun)
        where = place(last + 1, notebook.cells[last])
        raise NotebookError(f"{source.name}, {where} fails:\n{error}") from None
    return seconds


def keep_ids(cells: list[NotebookNode], committed: list[NotebookNode]) -> None:
    """Give each cell the id of the committed cell it comes from, and a new cell one made from its content."""
    free = list(committed)
    ids: dict[int, str] = {}
    for cutoff in (1.0, 0.6):  # the same source, then a similar one
        for number, cell in enumerate(cells):
            candidates = [old for old in free if old.cell_type == cell.cell_type and "id" in old]
            sources = [old.source for old in candidates]
            if number not in ids and (match := difflib.get_close_matches(cell.source, sources, 1, cutoff)):
                old = candidates[sources.index(match[0])]
                ids[number] = old.id
                free = [other for other in free if other is not old]
    for number, cell in enumerate(cells):
        attempt = 0
        while number not in ids:
            content = f"{cell.cell_type} {attempt} {cell.source}"
            new = hashlib.sha256(content.encode()).hexdigest()[:8]
            if new not in ids.values():
                ids[number] = new
            attempt += 1
        cell.id = ids[number]


def is_progress_bar(output: NotebookNode) -> bool:
    if output.output_type == "stream":
        lines = [line for line in re.split(r"[\r\n]|\x1b\[A", output.text) if line.strip()]
        return output.name == "stderr" and all(PROGRESS_BAR.search(line) for line in lines)
    data = output.get("data", {})
    return WIDGET_VIEW in data and PROGRESS_BAR.search(data.get("text/plain", "")) is not None


def tidy_outputs(cell: NotebookNode) -> None:
    """Keep of the outputs what means something to a reader without a kernel, in a form that is stable."""
    kept: list[NotebookNode] = []
    for output in cell.outputs:
        if is_progress_bar(output):
            if IGNORE not in tags(cell):
                raise NotebookError(
                    f"shows a progress bar, which differs from run to run: tag the cell {IGNORE} and assert "
                    "what it reaches, in the same cell or the next"
                )
            continue
        if output.get("name") == "stderr":
            raise NotebookError(f"writes to stderr: remove what causes that, or print it.\n{output.text}")
        # A widget lives in its kernel only; viewers would show an error instead of the picture beside it.
        output.get("data", {}).pop(WIDGET_VIEW, None)
        if kept and output.output_type == kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    cell.outputs = kept


def build(source: Path) -> bool:
    """Execute the text into the notebook; whether that changed the notebook."""
    path = notebook_of(source)
    notebook = read_text(source)
    keep_ids(notebook.cells, read_notebook(source).cells if path.exists() else [])
    run(notebook, source)
    notebook.metadata = METADATA  # without what the kernel has added about itself
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code":
            try:
                tidy_outputs(cell)
            except NotebookError as error:
                raise NotebookError(f"{source.name}, {place(number, cell)} {error}") from None
    nbformat.validate(notebook)
    before = path.read_bytes() if path.exists() else None
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")
    return path.read_bytes() != before


# Checking, bringing back, other seeds


def check(source: Path) -> Iterator[str]:
    """One line for each thing to put right in a chapter."""
    try:
        text, stored = read_text(source), read_notebook(source)
    except NotebookError as error:
        yield str(error)
        return
    if source.read_text(encoding="utf-8").startswith("# ---"):
        yield f"{source.name} begins with a header of metadata, which nothing uses: delete it"
    for finding in findings(text, stored, number=source.stem[:2]):
        yield f"{notebook_of(source).name}, {finding}"


def pull(source: Path) -> bool:
    """Write the notebook's cells as text; whether that changed the text."""
    notebook = read_notebook(source)
    notebook.metadata = {
        "jupytext": {"notebook_metadata_filter": "-all", "cell_metadata_filter": "tags,-all"}
    }
    before = source.read_text(encoding="utf-8") if source.exists() else None
    for cell in notebook.cells:
        cell.metadata["lines_to_next_cell"] = 1  # always one empty line between cells
    text = jupytext.writes(notebook, fmt=PERCENT).rstrip("\n") + "\n"
    source.write_text(text, encoding="utf-8", newline="\n")
    return text != before


def failures(source: Path, seed: int) -> list[str]:
    """What fails, and where, when the chapter's `SEED = 0` is another number."""
    notebook = read_text(source)
    keep_ids(notebook.cells, [])
    replaced = 0
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source, times = re.subn(r"^SEED = 0$", f"SEED = {seed}", cell.source, flags=re.MULTILINE)
            replaced += times
    if replaced != 1:
        raise NotebookError(
            f"{source.name} has {replaced} lines SEED = 0, where one is needed to try other seeds."
        )
    run(notebook, source, keep_going=True)
    return [
        f"{place(number, cell)} {output.ename}: {output.evalue}"
        for number, cell in enumerate(notebook.cells, 1)
        for output in cell.get("outputs", [])
        if output.output_type == "error" and "raises-exception" not in tags(cell)
    ]


ALL_CELLS = re.compile(r"All\s+cells\s+together\s+run\s+in\s+$")
SECONDS = re.compile(r"(?:about|some)\s+(\d+)\s+seconds")


def stated_times(notebook: NotebookNode) -> Iterator[tuple[int, int, range]]:
    """Where the chapter states a time, how many seconds, and which cells take that.

    "All cells together run in about 40 seconds" is about all of them; any other "about 12 seconds" is about
    the slowest cell between these words and the next heading.
    """
    cells = notebook.cells
    for index, cell in enumerate(cells):
        rest = range(index + 1, len(cells))
        headings = (
            k for k in rest if cells[k].cell_type == "markdown" and re.search("^#", cells[k].source, re.M)
        )
        until = next(headings, len(cells))
        for stated in SECONDS.finditer(cell.source):
            about_all = ALL_CELLS.search(cell.source[: stated.start()])
            yield index, int(stated[1]), range(len(cells)) if about_all else range(index, until)


def times(source: Path) -> Iterator[tuple[str, int, float]]:
    """Each time that the chapter states: where, how many seconds it says, and how many it takes here."""
    notebook = read_text(source)
    keep_ids(notebook.cells, [])
    started = time.perf_counter()
    seconds = run(notebook, source)
    everything = time.perf_counter() - started  # with the kernel's start
    for index, stated, cells in stated_times(notebook):
        where = place(index + 1, notebook.cells[index])
        whole = len(cells) == len(notebook.cells)
        yield where, stated, everything if whole else max(seconds[k] for k in cells)


# The command line


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["build", "check", "pull", "seeds", "times"])
    parser.add_argument("chapters", nargs="*", metavar="NN", help="such as 03; all if none is named")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the notebooks are (texts in src/)")
    options = parser.parse_args(argv)
    if options.command in ("pull", "seeds") and not options.chapters:
        parser.error(f"{options.command} needs the number of a chapter")

    wrong: list[str] = []
    try:
        for source in chapters(options.folder, options.chapters):
            started = time.perf_counter()
            if options.command == "check":
                wrong += check(source)
            elif options.command == "pull":
                told = f"text changed; now build {source.stem[:2]}" if pull(source) else "text unchanged"
                print(f"{source.stem}: {told}")
            elif options.command == "build":
                print(f"{source.stem}: ", end="", flush=True)
                told = "built" if build(source) else "built, unchanged"
                print(f"{told}, {time.perf_counter() - started:.1f} s", flush=True)
            elif options.command == "times":
                for where, stated, taken in times(source):
                    line = f"{source.stem}, {where}: stated {stated} s, measured {taken:.1f} s"
                    print(line, flush=True)
                    wrong += [line] if abs(taken / stated - 1) > TOLERANCE else []
            else:
                for seed in options.seeds:
                    found = failures(source, seed)
                    print(
                        f"{source.stem}, seed {seed}: {'fails' if found else 'holds'}",
                        *found,
                        sep="\n  ",
                        flush=True,
                    )
                    wrong += [f"{source.stem} fails with seed {seed}"] if found else []
    except NotebookError as error:
        wrong.append(str(error))
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
