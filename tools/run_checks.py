"""Run every check of the course, and say which group failed.

make test       (the same, after making the environment where needed)

The quick groups come first, one after the other, and the first that fails ends it. Of the long ones three run
at a time: that keeps two cores busy, since the browser often waits. What a group says is shown when it is
through.
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
PYTEST = ("-m", "pytest", "-p", "no:nbval")  # which takes seconds to load, and is for notebooks only
REST = [f"--ignore={path}" for part in PARTS.values() for path in ("tests/browser", *part)]
LONG = {  # in an order in which all end at about the same time
    "notebooks give the stored outputs": ("-m", "pytest", "notebooks"),
    "notebooks in a browser": ("-m", "pytest", "tests/browser"),
    **{f"unit tests of {name}": (*PYTEST, *part) for name, part in PARTS.items()},
    "all other unit tests": ("-m", "pytest", "tests", *REST),
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
    with ThreadPoolExecutor(max_workers=3) as lanes:
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
