"""Which cells of a chapter have to run before its explorers can be shown."""

import ast
import re
from pathlib import Path

CELL = re.compile(r"^# %%(.*)\n", flags=re.MULTILINE)


def code_cells(source: Path) -> list[str]:
    """The code cells of a chapter's text."""
    _, *parts = CELL.split(source.read_text(encoding="utf-8"))
    return [text for kind, text in zip(parts[::2], parts[1::2], strict=True) if "[markdown]" not in kind]


def names(tree: ast.AST) -> tuple[set[str], set[str]]:
    """What a cell defines, and what it uses."""
    defined, used = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else defined).add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, ast.alias):
            defined.add((node.asname or node.name).partition(".")[0])
    return defined, used


def needed(cells: list[str]) -> list[int]:
    """The numbers of the cells that make explorers, and of those that define what these use.

    Cells that only change what another one has made (a training, say) are left out.
    """
    wanted: set[str] = set()
    chosen = []
    for number in reversed(range(len(cells))):
        defined, used = names(ast.parse(cells[number]))
        if re.search(r"^(\w+_explorer|Explorer)\(", cells[number], flags=re.MULTILINE) or defined & wanted:
            chosen.append(number)
            wanted = wanted - defined | used
    return chosen[::-1]
