"""Imports point one way: models <- figures <- widgets, models <- checks, and nothing imports widgets."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import seqlib

PACKAGE = Path(seqlib.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
MODELS = [path.stem for path in sorted(PACKAGE.glob("*.py")) if path.stem not in ("__init__", "server")]

# What each layer must not import; a layer is a folder of seqlib, or "" for the models.
FORBIDDEN = {
    "": ("seqlib.figures", "seqlib.widgets", "seqlib.checks", "matplotlib", "ipywidgets"),
    "checks": ("seqlib.figures", "seqlib.widgets", "matplotlib", "ipywidgets"),
    "figures": ("seqlib.widgets", "seqlib.checks", "ipywidgets"),
    "widgets": ("seqlib.checks",),
}


def imported(path: Path) -> Iterator[str]:
    """The full names that a file imports, anywhere in it."""
    package = [PACKAGE.name, *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    layer = path.relative_to(PACKAGE).parts[0] if path.parent != PACKAGE else ""
    wrong = [
        name for name in imported(path) for other in FORBIDDEN[layer] if f"{name}.".startswith(f"{other}.")
    ]
    assert wrong == []


def test_models_load_neither_matplotlib_nor_ipywidgets_and_their_training_no_compiler():
    program = f"""
import importlib, sys
for name in {MODELS!r}:
    importlib.import_module("seqlib." + name)
    loaded = {{"matplotlib", "ipywidgets", "torch._dynamo"}} & set(sys.modules)
    assert not loaded, f"seqlib.{{name}} loads {{loaded}}"

import torch
model = torch.nn.Linear(3, 2)
sys.modules["seqlib.training"].fit(
    model, lambda: model(torch.ones(5, 3)).sum(), steps=2, learning_rate=0.1, clip_norm=1.0, one_cycle=True
)
assert "torch._dynamo" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_server_extension_loads_neither_torch_nor_widgets():
    program = """
import sys, seqlib.server
loaded = {"torch", "matplotlib", "ipywidgets"} & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
