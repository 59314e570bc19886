"""Run every check of the course, one group after the other; stop at the first that fails, and say which.

make test       (the same, after making the environment where needed)
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Quick ones first.
GROUPS = {
    "style": ("-m", "ruff", "check", "."),
    "types": ("-m", "mypy"),
    "notebooks agree with their text": ("tools/notebooks.py", "check"),
    "unit tests": ("-m", "pytest", "tests", "--ignore=tests/browser"),
    "notebooks give the stored outputs": ("-m", "pytest", "notebooks"),
    "notebooks in a browser": ("-m", "pytest", "tests/browser"),
}


def main() -> int:
    started = time.perf_counter()
    python = os.path.relpath(sys.executable, ROOT)
    for name, arguments in GROUPS.items():
        print(f"\n== {name}: {python} {' '.join(arguments)}", flush=True)
        if status := subprocess.call([sys.executable, *arguments], cwd=ROOT):
            print(f"\n== FAILED: {name}. To run this group alone: {python} {' '.join(arguments)}")
            return status
    print(f"\n== Nothing failed ({time.perf_counter() - started:.0f} s).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
