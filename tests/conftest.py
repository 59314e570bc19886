"""What several tests share."""

import jaxtyping
import pytest


@pytest.fixture
def learner():
    """Call seqlib as a learner does: without the runtime checks that pytest switches on.

    Then it is seqlib's own messages that speak of a wrong argument.
    """
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
