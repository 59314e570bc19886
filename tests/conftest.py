"""What several tests share."""

from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch
from hypothesis import settings

# Where annotations speak of tensors, jaxtyping and beartype check them at every call. Elsewhere mypy has to
# do: there the same checks took a seventh of the time of all tests of exercises, figures and explorers.
PACKAGE = Path(__file__).parents[1] / "seqlib"
WITH_TENSORS = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in sorted(PACKAGE.rglob("*.py"))
    if "jaxtyping" in path.read_text(encoding="utf-8")
]
jaxtyping.install_import_hook(WITH_TENSORS, "beartype.beartype")

torch.set_num_threads(1)  # small recurrent nets are slower on two threads, and far slower on busy ones

# The same examples every time, however slow the machine: a failure is then the code's doing.
settings.register_profile("seqlib", derandomize=True, deadline=None)
settings.load_profile("seqlib")


@pytest.fixture(scope="session", autouse=True)
def progress_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Right answers given by tests are noted here, and not in anybody's home."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("progress") / "progress.json"
        patch.setenv("SEQLIB_PROGRESS", str(path))
        yield path


@pytest.fixture
def learner() -> Iterator[None]:
    """Call seqlib as a learner does: without the runtime checks that pytest switches on.

    Then it is seqlib's own messages that speak of a wrong argument.
    """
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
