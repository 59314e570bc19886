"""Run every check of the course; stop at the first group that fails, and say which.

make test       (the same, after making the environment where needed)

The unit tests run beside the notebooks, since each of the two keeps one core busy; what they say comes last.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = os.path.relpath(sys.executable, ROOT)

QUICK = {
    "style": ("-m", "ruff", "check", "."),
    "types": ("-m", "mypy"),
    "notebooks agree with their text": ("tools/notebooks.py", "check"),
}
# In the browser models are trained briefly, and what they should have learnt is not asserted: the group
# before has just done that. `pytest tests/browser` alone trains them in full.
ENVIRONMENT = os.environ | {"BRIEF_TRAINING": "1"}
UNIT_TESTS = ("-m", "pytest", "tests", "--ignore=tests/browser")
NOTEBOOKS = {
    "notebooks give the stored outputs": ("-m", "pytest", "notebooks"),
    "notebooks in a browser": ("-m", "pytest", "tests/browser"),
}


def main() -> int:
    started = time.perf_counter()
    if status := run(QUICK):
        return status
    with tempfile.TemporaryFile() as said:
        unit_tests = subprocess.Popen([sys.executable, *UNIT_TESTS], cwd=ROOT, stdout=said, stderr=said)
        try:
            print("\n== unit tests: begun; their report comes last", flush=True)
            if status := run(NOTEBOOKS):
                return status
            status = unit_tests.wait()
        finally:
            unit_tests.kill()
            unit_tests.wait()
        said.seek(0)
        announce("unit tests", UNIT_TESTS)
        print(said.read().decode(errors="replace"), flush=True)
    if status:
        return failed("unit tests", UNIT_TESTS, status)
    print(f"\n== Nothing failed ({time.perf_counter() - started:.0f} s).")
    return 0


def run(groups: dict[str, tuple[str, ...]]) -> int:
    """One group after the other: 0, or the status of the first that fails."""
    for name, arguments in groups.items():
        announce(name, arguments)
        if status := subprocess.call([sys.executable, *arguments], cwd=ROOT, env=ENVIRONMENT):
            return failed(name, arguments, status)
    return 0


def announce(name: str, arguments: tuple[str, ...]) -> None:
    print(f"\n== {name}: {PYTHON} {' '.join(arguments)}", flush=True)


def failed(name: str, arguments: tuple[str, ...], status: int) -> int:
    print(f"\n== FAILED: {name}. To run this group alone: {PYTHON} {' '.join(arguments)}")
    return status


if __name__ == "__main__":
    sys.exit(main())
