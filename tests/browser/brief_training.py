"""IPython runs this before a chapter where BRIEF_TRAINING is set: `fit` then makes ten steps at most.

What the chapters claim is asserted when nbval runs them. Here it is about what a learner sees and moves, and
for that no model has to be good; Python's -O leaves the claims out.
"""

from functools import wraps

import seqlib.training


def _make_brief():
    fit = seqlib.training.fit

    @wraps(fit)
    def brief(*args, steps, **options):
        return fit(*args, steps=min(steps, 10), **options)

    seqlib.training.fit = brief


_make_brief()
