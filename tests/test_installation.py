"""The check of the installation: it finds what is there, and says what to do about what is not."""

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from seqlib import data, installation
from seqlib.installation import Installation, Row, check_installation, package_row

ROOT = Path(__file__).parents[1]


def test_all_is_well_where_the_tests_run():
    found = check_installation()
    assert found.ok, found
    assert all(row.found and not row.advice for row in found.rows)
    assert found.verdict.startswith("✓")


def test_every_dependency_is_looked_at():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rows = {row.name: row for row in check_installation().rows}
    for requirement in map(Requirement, wanted["dependencies"]):
        assert metadata.version(requirement.name) in rows[requirement.name].found
        assert str(requirement.specifier) in rows[requirement.name].found
    assert {"Python", "jupyterlab_widgets", "threads", "font of the figures"} <= set(rows)
    assert "pytest" not in rows


def test_a_missing_package_comes_with_what_to_type():
    row = package_row(Requirement("seqlib-is-not-on-this-planet>=2"))
    assert row.found.startswith("not installed")
    assert '%pip install "seqlib-is-not-on-this-planet>=2"' in row.advice and row.mark == "✗"


def test_a_package_that_is_too_old_comes_with_what_to_type():
    row = package_row(Requirement("torch>=99"))
    assert metadata.version("torch") in row.found
    assert '%pip install "torch>=99"' in row.advice


def test_a_local_build_of_the_right_version_will_do(monkeypatch):
    monkeypatch.setattr(installation.metadata, "version", lambda name: "2.4.0+cpu")
    assert package_row(Requirement("torch>=2.4")).advice == ""


@pytest.mark.parametrize("error", [ImportError("DLL load failed"), OSError("libcudart.so.12: not found")])
def test_a_package_that_is_broken_is_reported_and_the_rest_is_looked_at(monkeypatch, error):
    really = installation.import_module

    def broken(name):
        if name == "torch":
            raise error
        return really(name)

    monkeypatch.setattr(installation, "import_module", broken)
    found = check_installation()
    [row] = [row for row in found.rows if row.advice]
    assert row.name == "torch" and str(error) in row.found and "--force-reinstall" in row.advice
    assert not found.ok and found.verdict == "✗ To be put right: torch."
    assert found.rows[-1].name == "in a notebook"


def test_a_kernel_need_not_load_the_server(monkeypatch):
    loaded = []
    monkeypatch.setattr(installation, "import_module", loaded.append)
    check_installation()
    assert "torch" in loaded and "sklearn" in loaded
    assert not {"jupyterlab", "jupyter_server"} & set(loaded)


def test_a_python_of_the_wrong_version_is_reported(monkeypatch):
    monkeypatch.setattr(installation.platform, "python_version", lambda: "3.9.1")
    row = check_installation().rows[0]
    assert row.name == "Python" and row.found.startswith("3.9.1") and "make lab PYTHON=" in row.advice


def test_a_front_end_without_widgets_is_reported(monkeypatch, tmp_path):
    monkeypatch.setattr(installation, "jupyter_path", lambda *parts: [str(tmp_path)])
    row = installation._widgets()
    assert "JupyterLab can't find it" in row.found and "start JupyterLab again" in row.advice
    (tmp_path / "package.json").write_text("{}")
    assert installation._widgets().advice == ""


def test_a_missing_font_is_reported(monkeypatch):
    def missing(name):
        raise ValueError("no such font")

    monkeypatch.setattr(installation, "import_module", missing)
    assert "matplotlib" in installation._font().advice


def test_little_memory_is_reported_and_unknown_memory_left_out(tmp_path):
    table = tmp_path / "meminfo"
    assert list(installation._memory(table)) == []
    table.write_text("MemTotal:  8000000 kB\n")
    assert list(installation._memory(table)) == []
    table.write_text("MemTotal:  8000000 kB\nMemAvailable:  700000 kB\n")
    [row] = installation._memory(table)
    assert row.found == "0.7 GB" and "1.5 GB" in row.advice
    table.write_text("MemAvailable:  4000000 kB\n")
    assert [row.found for row in installation._memory(table)] == ["enough"]


def test_missing_texts_are_reported(tmp_path):
    assert "pip install -e ." in installation._data(tmp_path).advice
    assert installation._data(data.DATA) == installation._data()
    assert not installation._data().advice


def test_what_is_wrong_can_be_told_without_colour_in_text_and_page():
    found = Installation((Row("Python", "3.12"), Row("torch", "<not> installed", "Type & run this.")))
    assert repr(found).splitlines() == [
        "✗ To be put right: torch.",
        "  ✓ Python  3.12",
        "  ✗ torch   <not> installed",
        "            Type & run this.",
    ]
    page = found._repr_html_()
    assert "✗" in page and "✓" in page and "Type &amp; run this." in page and "<not>" not in page
    assert "color" not in page and "background" not in page


def test_it_can_be_asked_before_anything_else_is_loaded():
    program = (
        "import sys, seqlib.installation; assert not {'torch', 'matplotlib', 'ipywidgets'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
