"""IPython runs this before a chapter where BRIEF_TRAINING is set: it makes what takes long brief.

`fit` makes ten steps at most, at most 3,000 pairs of numbers are drawn, and little source code is read. What
the chapters claim is asserted when nbval runs them. Here it is about what a learner sees and moves, and for
that no model has to be good; Python's -O leaves the claims out.
"""

from functools import wraps

import seqlib.data
import seqlib.pairs
import seqlib.training


def _make_brief():
    fit, number_pairs = seqlib.training.fit, seqlib.pairs.number_pairs

    @wraps(fit)
    def brief_fit(*args, steps, **options):
        return fit(*args, steps=min(steps, 10), **options)

    @wraps(number_pairs)
    def fewer_pairs(count, **options):
        return number_pairs(min(count, 3000), **options)

    held_out_source, library_source = seqlib.data.held_out_source, seqlib.data.library_source
    seqlib.training.fit, seqlib.pairs.number_pairs = brief_fit, fewer_pairs
    seqlib.data.held_out_source = lambda: tuple(text[:8000] for text in held_out_source())
    seqlib.data.library_source = lambda: library_source()[:100]


_make_brief()
