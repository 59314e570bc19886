"""IPython runs this before the chapters where BRIEF_TRAINING is set: it makes what takes long brief.

`fit` makes five coarse steps, at most 3,000 pairs of numbers are drawn, and little source code is read. What
the chapters claim is asserted when nbval runs them. Here it is about what a learner sees and moves, and for
that no model has to be good: asserts are left out.
"""

from functools import wraps

from IPython import get_ipython


def _without_asserts():
    import ast  # here, like all that is needed later: this module's names are the notebook's, and are emptied

    class WithoutAsserts(ast.NodeTransformer):
        def visit_Assert(self, node):  # noqa: N802  # ast names it
            return ast.copy_location(ast.Pass(), node)

    get_ipython().ast_transformers.append(WithoutAsserts())


def _brief_training():
    import seqlib.training

    fit = seqlib.training.fit

    @wraps(fit)
    def brief(*given, **options):
        # At the full rate throughout: what hardly differs from an untrained model answers no slider.
        return fit(*given, **options | {"steps": 5, "one_cycle": False})

    seqlib.training.fit = brief


def _fewer_pairs():
    import seqlib.pairs

    number_pairs = seqlib.pairs.number_pairs

    @wraps(number_pairs)
    def fewer(count, **options):
        return number_pairs(min(count, 3000), **options)

    seqlib.pairs.number_pairs = fewer


def _less_source():
    import seqlib.data

    held_out, library = seqlib.data.held_out_source, seqlib.data.library_source
    seqlib.data.held_out_source = lambda: tuple(text[:8000] for text in held_out())
    seqlib.data.library_source = lambda: library()[:100]


_without_asserts()
_brief_training()
_fewer_pairs()
_less_source()
