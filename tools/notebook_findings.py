"""What makes a stored notebook unfit to be read, or to be compared with by nbval."""

import re
import socket
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from nbformat import NotebookNode

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
IGNORE = "nbval-ignore-output"
TAGS = {IGNORE, "nbval-check-output", "nbval-skip", "raises-exception"}  # nbval silently ignores any other
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

ASSERTION = re.compile(r"^\s*assert\b|\bassert_\w+\(", re.MULTILINE)
COMMENT_MARKER = re.compile(r"^\s*#+\s*(NBVAL_\w+)", re.MULTILINE)
MACHINE_PATH = re.compile(
    r"(?<![\w.])/(?:home|Users|root|tmp|private|var/folders|opt|usr)/\w|\b[A-Z]:\\+Users|site-packages"
)
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{8,}\b")


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def place(number: int, cell: NotebookNode) -> str:
    """Where a reader finds the cell: counted from 1, Markdown included, and by its id in the file."""
    return f"cell {number} ({cell.get('id', 'no id')})"


def findings(text: NotebookNode, stored: NotebookNode, *, number: str) -> Iterator[str]:
    """One line for each thing to put right in chapter `number`: where, what, what to do."""
    rebuild = f"run tools/notebooks.py build {number}"
    for index, (wanted, cell) in enumerate(zip_longest(text.cells, stored.cells), 1):
        if not wanted or not cell or content(wanted) != content(cell):
            yield (
                f"{place(index, cell or wanted)} and the text differ: {rebuild} if the text is right, "
                f"tools/notebooks.py pull {number} if the notebook is"
            )
            break
    if stored.metadata != METADATA or (stored.nbformat, stored.nbformat_minor) != (4, 5):
        yield f"has metadata that is noise ({', '.join(stored.metadata)}): {rebuild}"

    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    for index, cell in enumerate(stored.cells, 1):
        problems = list(cell_problems(cell, rebuild=rebuild))
        if cell.cell_type == "code":
            count = next(n for n, other in enumerate(code, 1) if other is cell)
            if cell.execution_count != count:
                problems.append(
                    f"was not run in order (count {cell.execution_count}, not {count}): {rebuild}"
                )
            if IGNORE in tags(cell) and not any(
                ASSERTION.search(c.source) for c in code[count - 1 : count + 1]
            ):
                problems.append(f"is tagged {IGNORE}: assert what it shows, in the same cell or the next")
        yield from (f"{place(index, cell)} {problem}" for problem in problems)


def content(cell: NotebookNode) -> tuple[str, str, list[str]]:
    """What a cell has in common with its text."""
    return cell.cell_type, cell.source, tags(cell)


def cell_problems(cell: NotebookNode, *, rebuild: str) -> Iterator[str]:
    if noise := set(cell.metadata) - {"tags"}:
        yield f"has metadata that is noise ({', '.join(sorted(noise))}): {rebuild}"
    for tag in sorted(set(tags(cell)) - TAGS):
        yield f"has the tag {tag!r}, which nbval ignores: use one of {', '.join(sorted(TAGS))}"
    if cell.cell_type != "code":
        return
    if marker := COMMENT_MARKER.search(cell.source):
        yield f"has the comment {marker[1]}: use the tag {marker[1].lower().replace('_', '-')} instead"
    if cell.source.rstrip().endswith(";") and IGNORE not in tags(cell):
        yield "ends with a semicolon, which nbval does not understand: write _ = ... instead"
    for output in cell.outputs:
        text = text_of(output)
        if output.output_type == "error" and "raises-exception" not in tags(cell):
            yield f"ends with {output.ename}: repair it, or tag a cell that is meant to fail raises-exception"
        if output.get("name") == "stderr":
            yield f"has output on stderr: remove what writes it, then {rebuild}"
        if WIDGET_VIEW in output.get("data", {}):
            yield f"stores a reference to a widget, which is dead without its kernel: {rebuild}"
        if found := MACHINE_PATH.search(text):
            yield f"shows a path of this machine ({found[0]!r}): show something else"
        if found := ADDRESS.search(text):
            yield f"shows a memory address ({found[0]}): show something else"
        for name in machine_names():
            # A name that is an ordinary word, in a lesson perhaps someone's, counts only as in anna@laptop.
            pattern = rf"\b{name}@|@{name}\b" if name.isalpha() else rf"\b{re.escape(name)}\b"
            if re.search(pattern, text):
                yield f"shows a name of this machine or its user ({name!r}): show something else"


def text_of(output: NotebookNode) -> str:
    """All of an output that is text: streams, errors, and the readable ones of its MIME types."""
    data = output.get("data", {})
    readable = [
        str(data[mime]) for mime in data if mime.startswith("text/") or mime.endswith(("json", "xml"))
    ]
    return "\n".join(
        [output.get("text", ""), output.get("evalue", ""), *output.get("traceback", []), *readable]
    )


def machine_names() -> set[str]:
    host = socket.gethostname()
    return {name for name in (host, host.split(".")[0], Path.home().name) if len(name) > 3}
