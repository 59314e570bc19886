"""pyproject.toml, constraints.txt, environment.yml and tools/environment.py speak of the same environment."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import environment  # tools/environment.py
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
REQUIREMENTS = [
    Requirement(line)
    for line in [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
]
PYTHONS = [".".join(map(str, version)) for version in environment.PYTHONS]
SYSTEMS = {
    "linux": {"platform_system": "Linux", "os_name": "posix"},
    "darwin": {"platform_system": "Darwin", "os_name": "posix"},
    "win32": {"platform_system": "Windows", "os_name": "nt"},
}
# PyTorch's standard builds for Linux choose the versions of these themselves; its other builds have none.
CUDA = re.compile(r"(cuda|nvidia)-|triton$")


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


PINS = pins()
INSTALLED = {canonicalize_name(distribution.name) for distribution in importlib.metadata.distributions()}


def needed(system: str, python: str) -> set[str]:
    """Every package that pip installs there, going by the metadata of what is installed here."""
    markers = {"sys_platform": system, "python_version": python, "python_full_version": f"{python}.9"}
    markers |= SYSTEMS[system]
    found, waiting = set(), list(REQUIREMENTS)
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in found:
            continue
        found.add(key)
        try:
            dependencies = importlib.metadata.requires(requirement.name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of another system: it can't be asked what it needs itself
        for dependency in map(Requirement, dependencies):
            marker = dependency.marker
            if CUDA.match(canonicalize_name(dependency.name)):
                continue
            if not marker or any(marker.evaluate(markers | {"extra": e}) for e in ("", *requirement.extras)):
                waiting.append(dependency)
    return {name for name, _ in found}


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement.name)
def test_every_dependency_is_pinned_within_its_range(requirement):
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_dependencies_are_what_the_package_imports_and_jupyterlab():
    imported = set()
    for path in (ROOT / "seqlib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    sources = importlib.metadata.packages_distributions()
    others = imported - set(sys.stdlib_module_names) - {"seqlib"}
    used = {canonicalize_name(name) for module in others for name in sources[module]}
    assert used | {"jupyterlab"} == {Requirement(line).name for line in PROJECT["dependencies"]}


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_whatever_they_depend_on_is_pinned_on_every_system(system, python):
    assert needed(system, python) - set(PINS) == set()


def test_pins_are_complete_for_builds_with_cuda_too(monkeypatch):
    really = importlib.metadata.requires
    cuda = ["cuda-toolkit[cublas]==13.0.3; platform_system == 'Linux'", "nvidia-nccl-cu13==2.29.7", "triton"]
    monkeypatch.setattr(
        importlib.metadata, "requires", lambda name: (really(name) or []) + cuda * (name == "torch")
    )
    assert needed("linux", "3.12") - set(PINS) == set()


def test_nothing_is_pinned_that_nothing_needs():
    everywhere = set().union(*(needed(system, python) for system in SYSTEMS for python in PYTHONS))
    assert set(PINS) - everywhere == set()


@pytest.mark.parametrize("name", [name for name in PINS if name in INSTALLED])
def test_what_is_pinned_runs_on_the_first_release_of_every_python(name):
    wanted = SpecifierSet(importlib.metadata.metadata(name)["Requires-Python"] or "")
    assert all(wanted.contains(f"{python}.0") for python in PYTHONS), wanted


def test_what_runs_here_is_what_is_pinned():
    installed = {
        canonicalize_name(distribution.name): distribution.version.split("+")[0]
        for distribution in importlib.metadata.distributions()
    }
    different = {name: installed[name] for name in PINS if installed.get(name, PINS[name]) != PINS[name]}
    assert different == {}


def test_conda_takes_the_same_python():
    (python,) = [line for line in CONDA if isinstance(line, str) and line.startswith("python ")]
    assert SpecifierSet(python.removeprefix("python ")) == SpecifierSet(PROJECT["requires-python"])


def test_conda_takes_the_same_pins_and_extras():
    (pip,) = [entry["pip"] for entry in CONDA if isinstance(entry, dict)]
    assert "pip" in CONDA
    assert pip == ["-c constraints.txt", f"-e .[{','.join(EXTRAS)}]"]


def test_the_installer_takes_the_same_python():
    supported = SpecifierSet(PROJECT["requires-python"])
    minors = [f"3.{minor}" for minor in range(20) if supported.contains(f"3.{minor}.0")]
    assert minors == PYTHONS


def test_the_servers_setting_is_installed():
    installed = Path(sys.prefix) / "etc/jupyter/jupyter_server_config.d/seqlib.json"
    assert installed.read_text(encoding="utf-8") == (ROOT / "seqlib/server.json").read_text(encoding="utf-8")


def refusal(torch_index: str = "") -> str:
    with pytest.raises(SystemExit) as stopped:
        environment.check_machine(torch_index)
    return str(stopped.value)


def test_another_python_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(environment.sys, "version_info", (3, 10, 13))
    assert "PYTHON=" in refusal() and "3.10.13" in refusal()


def test_an_intel_mac_is_refused(monkeypatch):
    monkeypatch.setattr(environment.sys, "platform", "darwin")
    monkeypatch.setattr(environment.platform, "machine", lambda: "x86_64")
    assert "Intel" in refusal() and "PYTHON=" in refusal()


def test_a_full_disk_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 2e9}))
    monkeypatch.setattr(environment.sys, "platform", "linux")
    assert "TORCH_INDEX=" in refusal()
    assert "TORCH_INDEX=" not in refusal("https://example.org")


def test_a_python_without_venv_is_told_where_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    assert "venv" in refusal()


def test_changed_pins_make_the_environment_stale(monkeypatch, tmp_path):
    for name in ("pyproject.toml", "constraints.txt", "seqlib/server.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    before = environment.stamp()
    (tmp_path / "constraints.txt").write_text("torch==2.13.0\n")
    assert environment.stamp() != before
