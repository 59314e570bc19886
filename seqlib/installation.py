"""Is everything there that the course needs, and if not, what to do about it."""

import html
import os
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import NamedTuple

from jupyter_core.paths import jupyter_path
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

MEMORY_NEEDED = 1.5  # GB; the kernels of chapters 04 and 09 take about 1.3
SERVER = ("jupyter-server", "jupyterlab")  # slow to import, and run outside of the kernel
IMPORT_NAMES = {"scikit-learn": "sklearn"}  # of packages that are imported under quite another name


class Row(NamedTuple):
    """One thing that was looked at, what was found, and advice if that is not good enough."""

    name: str
    found: str
    advice: str = ""

    @property
    def mark(self) -> str:
        return "✗" if self.advice else "✓"


@dataclass(frozen=True, repr=False)
class Installation:
    """What `check_installation` found; `ok` if nothing needs to be done."""

    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        return not any(row.advice for row in self.rows)

    @property
    def verdict(self) -> str:
        wrong = ", ".join(row.name for row in self.rows if row.advice)
        return f"✗ To be put right: {wrong}." if wrong else "✓ Everything that the course needs is here."

    def __repr__(self) -> str:
        width = max(len(row.name) for row in self.rows)
        lines = []
        for row in self.rows:
            lines.append(f"  {row.mark} {row.name:{width}}  {row.found}")
            lines += [f"    {'':{width}}  {row.advice}"] if row.advice else []
        return "\n".join([self.verdict, *lines])

    def _repr_html_(self) -> str:
        left = '<td style="text-align: left">'
        rows = "".join(
            f"<tr><td>{row.mark}</td>{left}{html.escape(row.name)}</td>{left}{html.escape(row.found)}"
            f"<div><strong>{html.escape(row.advice)}</strong></div></td></tr>"
            for row in self.rows
        )
        return f"<div><strong>{html.escape(self.verdict)}</strong><table>{rows}</table></div>"


def check_installation() -> Installation:
    """Look at Python, the packages, threads, font, memory and data. Changes nothing.

    The packages that a kernel uses are imported one by one, so that one that is broken is reported like any
    other. Whether JupyterLab works shows without it.
    """
    return Installation((*_versions(), _widgets(), *_threads(), _font(), *_memory(), _data(), _kernel()))


def _versions() -> Iterator[Row]:
    """Python and every package that the course needs, against what its own metadata ask for."""
    version, wanted = platform.python_version(), metadata.metadata("seqlib")["Requires-Python"]
    advice = f"Install a Python {wanted}, then type in the course's folder: make lab PYTHON=<its path>"
    yield Row("Python", f"{version} (needed: {wanted})", "" if version in SpecifierSet(wanted) else advice)
    requirements = map(Requirement, metadata.requires("seqlib") or [])
    yield from (
        package_row(needed, load=needed.name not in SERVER)
        for needed in requirements
        if not needed.marker  # without the extras
    )


def package_row(requirement: Requirement, *, load: bool = True) -> Row:
    """Whether a package is installed in a version that will do and, if `load`, can be imported."""
    name, wanted = requirement.name, requirement.specifier
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Row(name, f"not installed (needed: {wanted})", _pip(f'"{name}{wanted}"'))
    found = f"{version} (needed: {wanted})"
    if not wanted.contains(version, prereleases=True):
        return Row(name, found, _pip(f'"{name}{wanted}"'))
    try:
        if load:
            import_module(IMPORT_NAMES.get(name, name.replace("-", "_")))
    except Exception as error:  # whatever a broken installation raises
        found = f"{version}, but it can't be imported: {type(error).__name__}: {error}"
        return Row(name, found, _pip(f'--force-reinstall "{name}{wanted}"'))
    return Row(name, found)


def _pip(what: str, then: str = "restart the kernel") -> str:
    return f"Type %pip install {what} into a cell, run it, and {then}."


def _widgets() -> Row:
    """The half of ipywidgets that runs in the browser; JupyterLab finds it in one of Jupyter's folders."""
    name = "jupyterlab_widgets"
    row = package_row(Requirement(f"{name}>=3"), load=False)
    folders = jupyter_path("labextensions", "@jupyter-widgets", "jupyterlab-manager")
    if not row.advice and not any(Path(folder, "package.json").is_file() for folder in folders):
        advice = _pip(f"--force-reinstall {name}", "start JupyterLab again")
        return Row(name, f"{row.found}, but JupyterLab can't find it", advice)
    return row


def _threads() -> Iterator[Row]:
    torch = sys.modules.get("torch")
    if torch and hasattr(torch, "get_num_threads"):  # if not, its own row says that it is broken
        yield Row("threads", f"torch uses {torch.get_num_threads()} of {os.cpu_count()} processor threads")


def _font() -> Row:
    name = "DejaVu Sans"
    try:
        import_module("matplotlib.font_manager").findfont(name, fallback_to_default=False)
    except Exception:  # matplotlib is broken, or has no such font
        return Row("font of the figures", f"{name} can't be found", _pip("--force-reinstall matplotlib"))
    return Row("font of the figures", name)


def _memory(table: Path = Path("/proc/meminfo")) -> Iterator[Row]:
    """Free memory, as Linux tells it; other systems don't tell Python."""
    if table.exists() and (found := re.search(r"MemAvailable:\s*(\d+) kB", table.read_text())):
        free = int(found[1]) / 1e6
        advice = f"Close other programs or notebooks: a chapter needs up to {MEMORY_NEEDED:g} GB."
        enough = free >= MEMORY_NEEDED  # the number itself would differ each time that the notebook is built
        yield Row("free memory", "enough" if enough else f"{free:.1f} GB", "" if enough else advice)


def _data(folder: Path = Path(__file__).parents[1] / "data") -> Row:
    if (folder / "tales.txt").is_file():
        return Row("the course's texts", "data/tales.txt")
    advice = "Type pip install -e . in the course's folder: the package must stay beside its folder data."
    return Row("the course's texts", "data/tales.txt is missing", advice)


def _kernel() -> Row:
    running = "ipykernel.kernelapp" in sys.modules  # for information only
    return Row("in a notebook", "yes" if running else "no, so explorers can't be moved")
