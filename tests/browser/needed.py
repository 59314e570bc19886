"""Which cells of a chapter have to run before its explorers can be shown."""

import dis
import re
from pathlib import Path
from types import CodeType

CELL = re.compile(r"^# %%(.*)\n", flags=re.MULTILINE)


def code_cells(source: Path) -> list[str]:
    """The code cells of a chapter's text."""
    _, *parts = CELL.split(source.read_text(encoding="utf-8"))
    return [text for kind, text in zip(parts[::2], parts[1::2], strict=True) if "[markdown]" not in kind]


def names(cell: str) -> tuple[set[str], set[str]]:
    """What a cell defines, and what it uses that was there before."""
    defined, used, in_functions = set(), set(), set()
    for step in dis.get_instructions(compile(cell, "cell", "exec")):
        if step.opname == "STORE_NAME":
            defined.add(step.argval)
        elif step.opname == "LOAD_NAME":
            used |= {step.argval} - defined
        elif isinstance(step.argval, CodeType):
            in_functions |= names_in_functions(step.argval)
    return defined, used | in_functions - defined  # functions are mostly called when the cell is through


def names_in_functions(code: CodeType) -> set[str]:
    """What a function, a class or a comprehension uses of the notebook, with all that is inside it."""
    found = set()
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            found.add(step.argval)
        elif isinstance(step.argval, CodeType):
            found |= names_in_functions(step.argval)
    return found


def needed(cells: list[str]) -> list[int]:
    """The numbers of the cells that make explorers, and of those that define what these use.

    Cells that only change what another one has made (a training, say) are left out.
    """
    wanted: set[str] = set()
    chosen = []
    for number in reversed(range(len(cells))):
        defined, used = names(cells[number])
        if re.search(r"^(\w+_explorer|Explorer)\(", cells[number], flags=re.MULTILINE) or defined & wanted:
            chosen.append(number)
            wanted = wanted - defined | used
    return chosen[::-1]
