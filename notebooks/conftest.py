"""nbval's configuration: `pytest notebooks` runs the chapters and compares what they show with what is
stored. Strict: every cell is compared but those tagged nbval-ignore-output. For one chapter:
`pytest notebooks/03_bptt.ipynb`.
"""

import os

import pytest

import notebooks  # tools/notebooks.py, which made the stored outputs


def pytest_configure(config: pytest.Config) -> None:
    config.option.nbval = True
    config.option.nbval_lax = False
    config.option.nbval_current_env = True
    config.option.nbval_cell_timeout = notebooks.CELL_TIMEOUT
    # Kernels inherit these. Threads set outside are left alone, to see that stored outputs hold with more.
    for name, value in notebooks.KERNEL_VARIABLES.items():
        if not (name.endswith("_THREADS") and name in os.environ):
            os.environ[name] = value
    os.environ.pop("MPLBACKEND", None)  # figures would be missing from the outputs
