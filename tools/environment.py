"""Make the environment in .venv where that is needed, then run its Python with the arguments given.

    python3 tools/environment.py                      make the environment
    python3 tools/environment.py -m jupyter lab       the same, then run a module in it
    python3 tools/environment.py --clean              delete the environment, pages and all caches

Everything is installed at the versions of constraints.txt. TORCH_INDEX in the environment names a package
index to take PyTorch from, such as the one that has its builds without CUDA. Standard library only, and
nothing newer than Python 3.8: this file has to say so where Python is too old.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "seqlib-stamp"
PYTHONS = [(3, 11), (3, 12), (3, 13)]  # as in pyproject.toml
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CACHES = (".pytest_cache", ".hypothesis", ".mypy_cache", ".ruff_cache", "artifacts", "pages", "build", "dist")


def stamp():
    """A fingerprint of all that the environment is made from; .venv keeps the one it was made with."""
    parts = [ROOT / "pyproject.toml", ROOT / "constraints.txt", ROOT / "seqlib" / "server.json"]
    contents = b"\0".join(path.read_bytes() for path in parts)
    return hashlib.sha256(str(ROOT).encode() + b"\0" + contents).hexdigest()


def is_ready():
    return VENV_PYTHON.exists() and STAMP.exists() and STAMP.read_text() == stamp()


def has_pip():
    """Whether there is an environment to go on with; one whose making was interrupted is made anew."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return VENV_PYTHON.exists() and not subprocess.call([str(VENV_PYTHON), "-m", "pip", "--version"], **quiet)


def check_machine(torch_index):
    """Stop, saying what to do, where the installation could not succeed."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] not in PYTHONS:
        sys.exit(
            f"seqlib needs Python 3.11, 3.12 or 3.13, and {sys.executable} is {version}.\n"
            "Name another one, such as: make lab PYTHON=python3.12"
        )
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        sys.exit(
            f"PyTorch has no builds for Intel Macs any more, and {sys.executable} is made for one.\n"
            "On Apple silicon, name a Python made for that: make lab PYTHON=/opt/homebrew/bin/python3.12"
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        sys.exit(
            f"This Python ({sys.executable}) comes without its venv module, which makes the environment.\n"
            f"On Debian and Ubuntu: sudo apt install python3.{sys.version_info[1]}-venv. "
            "Elsewhere install Python from python.org and name it: make lab PYTHON=<path>"
        )
    with_cuda = sys.platform == "linux" and not torch_index
    needed = 9 if with_cuda else 3
    free = shutil.disk_usage(str(ROOT)).free / 1e9
    if free < needed:
        advice = "Make room, then run this again."
        if with_cuda:
            advice += f" Without an NVIDIA card 3 GB are enough: make lab TORCH_INDEX={CPU_INDEX}"
        sys.exit(
            f"The environment needs {needed} GB of disk, mostly for PyTorch, and {free:.1f} GB are free "
            f"in {ROOT}.\n{advice}"
        )


def step(text):
    print(f"\n== {text}", flush=True)


def pip(*arguments):
    env = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1")
    env.pop("PIP_REQUIRE_VIRTUALENV", None)
    # Not compiled beforehand: most modules are never used, and the others are compiled when they are.
    command = [str(VENV_PYTHON), "-m", "pip", "install", "--no-compile"] + list(arguments)
    if subprocess.call(command, cwd=str(ROOT), env=env):
        sys.exit(
            "\npip could not install everything; its last lines say why. If a download broke off, run the "
            "same command again: what has arrived is kept. If the disk is full, make room first."
        )


def torch_pin():
    pins = (ROOT / "constraints.txt").read_text().split()
    return next(pin for pin in pins if pin.startswith("torch=="))


def make_environment():
    """Create .venv if it isn't there, and bring it to the pinned versions."""
    torch_index = os.environ.get("TORCH_INDEX", "").strip()
    started = time.time()
    if not has_pip():
        check_machine(torch_index)
        step(f"Making an environment in {VENV} with Python {sys.version.split()[0]}")
        if subprocess.call([sys.executable, "-m", "venv", "--clear", str(VENV)]):
            sys.exit("The environment could not be made; the lines above say why.")
    if torch_index:
        # Alone and without its dependencies: they come from the usual index, at our versions.
        step(f"Installing {torch_pin()} from {torch_index}")
        pip("--index-url", torch_index, "--no-deps", torch_pin())
    step("Installing seqlib and what it needs (the first time, this downloads for some minutes)")
    pip("-c", "constraints.txt", "-e", ".[test]")
    STAMP.write_text(stamp())
    step(f"The environment is ready ({time.time() - started:.0f} s)\n")


def clean():
    for path in [VENV] + [ROOT / name for name in CACHES] + list(ROOT.glob("*.egg-info")):
        shutil.rmtree(str(path), ignore_errors=True)
    for folder in ("seqlib", "tests", "tools", "notebooks", "benchmarks"):
        for name in ("__pycache__", ".ipynb_checkpoints"):
            for path in list((ROOT / folder).rglob(name)):
                shutil.rmtree(str(path), ignore_errors=True)


def main():
    arguments = sys.argv[1:]
    if arguments == ["--clean"]:
        return clean()
    if not is_ready():
        make_environment()
    if arguments:
        # A backend chosen outside would make the figures of every notebook disappear.
        os.environ.pop("MPLBACKEND", None)
        command = [str(VENV_PYTHON)] + arguments
        if os.name == "nt":
            sys.exit(subprocess.call(command))
        os.execv(command[0], command)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. Run the same command again: it goes on from where it was.")
