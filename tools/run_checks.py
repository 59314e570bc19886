"""Run every check of the course, and say which group failed.

make test       (the same, after making the environment where needed)

The quick groups come first, one after the other, and the first that fails ends it. Of the long ones three run
at a time, since the browser often waits, and the shorter ones begin last: that keeps two cores busy until the
end. What a group says is shown when it is through.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = os.path.relpath(sys.executable, ROOT)

QUICK = {
    "style": ("-m", "ruff", "check", "."),
    "notebooks agree with their text": ("tools/notebooks.py", "check"),
}
PARTS = {
    "exercises, figures and explorers": [
        str(path.relative_to(ROOT))
        for kind in ("checks", "figures", "widgets")
        for path in sorted(ROOT.glob(f"tests/test_{kind}_*.py"))
    ],
}
PYTEST = ("-m", "pytest", "-p", "no:logging")  # nobody reads what is logged, and it is caught for each test
NOTEBOOKS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("notebooks/*.ipynb"))
LANES = 3
NOTEBOOK_GROUPS = 5
REST = [f"--ignore={path}" for part in PARTS.values() for path in ("tests/browser", *part)]
LONG = {
    **{f"unit tests of {name}": (*PYTEST, "-p", "no:nbval", *part) for name, part in PARTS.items()},
    "notebooks in a browser": ("-m", "pytest", "tests/browser"),
    "all other unit tests": (*PYTEST, "tests", *REST),
    **{
        f"notebooks give the stored outputs, part {group + 1} of {NOTEBOOK_GROUPS}": (
            "-m",
            "pytest",
            *NOTEBOOKS[-1 - group :: -NOTEBOOK_GROUPS],  # of each part of the course some, the longest first
        )
        for group in range(NOTEBOOK_GROUPS)
    },
    "types": ("-m", "mypy"),
}
# In the browser models are hardly trained, and what they should have learnt is not asserted: another group
# does that. `pytest tests/browser` alone trains them in full.
ENVIRONMENT = os.environ | {"BRIEF_TRAINING": "1"}
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)  # or every kernel compiles what it imports
# Linux's C library gives large tensors' memory back and gets it anew page by page: a tenth of the time.
ENVIRONMENT |= dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), "1000000000")


def main() -> int:
    started = time.perf_counter()
    for name, arguments in QUICK.items():
        announce(name, arguments)
        if status := subprocess.call([sys.executable, *arguments], cwd=ROOT):
            return failed(name, arguments, status)
    with ThreadPoolExecutor(max_workers=LANES) as lanes:
        running = {lanes.submit(run, arguments): name for name, arguments in LONG.items()}
        results = {}
        for done in as_completed(running):
            name, finished = running[done], done.result()
            announce(name, LONG[name])
            print(finished.stdout.decode(errors="replace"), flush=True)
            results[name] = finished.returncode
    print(f"\n== {time.perf_counter() - started:.0f} s")
    failures = [failed(name, LONG[name], status) for name, status in results.items() if status]
    if not failures:
        print("== Nothing failed.")
    return max(failures, default=0)


def run(arguments: tuple[str, ...]) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def announce(name: str, arguments: tuple[str, ...]) -> None:
    print(f"\n== {name}: {PYTHON} {' '.join(arguments)}", flush=True)


def failed(name: str, arguments: tuple[str, ...], status: int) -> int:
    print(f"\n== FAILED: {name}. To run this group alone: {PYTHON} {' '.join(arguments)}")
    return abs(status)


if __name__ == "__main__":
    sys.exit(main())
