"""Exercises that say what went wrong.

    rnn_step = Exercise(
        reference=_rnn_step,
        inputs=lambda g: (torch.randn(3, 5, generator=g), torch.randn(3, 7, generator=g), ...),
        mistakes={"The tanh is missing.": lambda x, h, W_xh, W_hh, b: x @ W_xh + h @ W_hh + b, ...},
        hints=("Which two things does the new state depend on?", ...),
    )

    rnn_step(function)  # -> Report; then rnn_step.hint(), one more each time, and rnn_step.solution()

A mistake is data: a message and a small wrong implementation. Whoever computes the same as that
implementation, and not what the reference computes (or raises the same exception), gets that message.
"""

import dis
import functools
import inspect
import linecache
import re
import sysconfig
import textwrap
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Generator, Tensor

from seqlib import progress
from seqlib.checks.comparing import described, difference
from seqlib.checks.guard import TimeUp, call, settled
from seqlib.checks.prediction import Prediction
from seqlib.checks.report import Note, Report, Status

__all__ = ["Exercise", "Note", "Prediction", "Report"]

Function = Callable[..., Any]
Inputs = Callable[[Generator], tuple[Any, ...]]
Case = tuple[Inputs, int]  # and the seed

ROUNDS = 3  # every kind of input is drawn this often: one agreement by chance is no right answer


class Exercise:
    """A question whose answer is a function.

    reference   the right answer
    inputs      draws the arguments from a generator; several such functions where one kind of input can't
                tell right from wrong (a threshold above and below). Sizes are different primes. Where the
                generator itself is an argument, the first kind has to leave much to chance.
    mistakes    message -> wrong implementation
    hints       given out one by one
    observe     (result, args) -> what is compared instead of the result itself: frequencies of a sampler,
                gradients with respect to an argument; a dictionary names its parts in the report
    tolerance   relative and absolute
    letters     the result's axes, as in "B T H"
    look        where to look when the result is wrong, or tensors don't fit, and no mistake explains it
    gradient    the result has to be part of the graph
    seconds     time limit for all calls together (in the main thread; see guard.within)

    The number of hints given is kept in the exercise, and starts afresh with the kernel.
    """

    def __init__(
        self,
        *,
        reference: Function,
        inputs: Inputs | Sequence[Inputs],
        mistakes: Mapping[str, Function],
        hints: Sequence[str],
        observe: Callable[[Any, tuple[Any, ...]], Any] | None = None,
        tolerance: float = 1e-5,
        letters: str = "",
        look: str = "",
        gradient: bool = False,
        seconds: float | int = 5,
    ) -> None:
        self.reference = reference
        self.inputs = (inputs,) if callable(inputs) else tuple(inputs)
        self.mistakes = dict(mistakes)
        self.hints = tuple(hints)
        self.observe = observe
        self.tolerance = tolerance
        self.letters = letters
        self.look = look
        self.gradient = gradient
        self.seconds = seconds
        self.name = reference.__name__.lstrip("_")
        self.parameters = tuple(inspect.signature(reference).parameters)
        self._hints_given = 0

    def __repr__(self) -> str:
        return f"Exercise({self.name})"

    def hint(self) -> Note:
        """One more hint each time."""
        total = len(self.hints)
        if self._hints_given == total:
            text = f"All {total} are given. check.{self.name}.solution() shows an answer."
            return Note(f"No more hints for {self.name}", text)
        self._hints_given += 1
        return Note(f"Hint {self._hints_given} of {total} for {self.name}", self.hints[self._hints_given - 1])

    def solution(self) -> Note:
        """The reference's own source, with a plain signature, so that it runs wherever torch is imported."""
        source = textwrap.dedent(inspect.getsource(self.reference)).rstrip()
        signature = f"def {self.name}({', '.join(self.parameters)}):\n"
        return Note(
            f"One solution of {self.name}", re.sub(r"\Adef .*?:\n", signature, source, flags=re.S), code=True
        )

    def __call__(self, function: Any, *, seed: int = 0) -> Report:
        """Try `function` on random inputs. Whatever it does is reported; only a Ctrl-C is raised.

        A right answer is noted in the learner's progress.
        """
        with settled():
            status, message, printed = self._judge(function, seed)
        if status == "correct":
            topic = self.reference.__module__.rpartition(".")[2]
            message = f"{message} {progress.record(f'{topic}.{self.name}')}".rstrip()
        return Report(status, message, self.name, printed)

    def _judge(self, function: Any, seed: int) -> tuple[Status, str, tuple[str, ...]]:
        if _is_empty(function):
            return "not attempted", "", ()
        if refusal := self._refusal(function):
            return "error", refusal, ()

        cases = [(inputs, seed * 1009 + i) for i in range(ROUNDS) for inputs in self.inputs]
        trials: list[Trial] = []
        printed: tuple[str, ...] = ()
        failure: tuple[Status, str] | None = None
        deadline = time.monotonic() + self.seconds
        for case in cases:
            args = _draw(case)
            # torch's global generator is in another state for each call, so that nobody can lean on it
            outcome = call(function, args, seconds=deadline - time.monotonic(), seed=len(trials))
            printed = printed if trials else outcome.printed
            if outcome.error is not None:
                failure = self._failure(function, outcome.error, case)
                break
            if changed := self._changed(args, _draw(case)):
                message = f"It changes its argument {changed} in place. Make a new tensor instead."
                return "wrong", message, printed
            if outcome.result is None:
                return "wrong", "It returned None. Is the return missing?", printed
            trials.append(Trial(args, outcome.result, self.observe))

        tried = cases[: len(trials)]  # all of them, or those before it failed: the first fault is told first
        truths = [self._trial(self.reference, case) for case in tried]
        try:
            problem = self._problem(truths, trials)
        except Exception as error:  # it looks right, but `observe` can't follow its graph back
            return *_unobservable(error), printed
        if problem:
            for message, mistake in self.mistakes.items():
                if self._explains(mistake, tried, trials):
                    return "mistake", message, printed
            return "wrong", f"{problem}\n{self.look}".strip(), printed
        if failure:
            return *failure, printed
        if message := self._unsteady(function, cases[0], trials[0].result):
            return "mistake", message, printed
        return "correct", f"It agrees with the reference on {len(cases)} random inputs.", printed

    def _trial(self, function: Function, case: Case) -> "Trial":
        args = _draw(case)
        return Trial(args, function(*args), self.observe)

    def _problem(self, truths: Iterable["Trial"], trials: list["Trial"], dtypes: bool = True) -> str | None:
        """The first thing in which the trials differ from what is taken for the truth."""
        for truth, trial in zip(truths, trials, strict=True):
            rest: dict[str, Any] = dict(tolerance=self.tolerance, letters=self.letters, dtypes=dtypes)
            problem = difference(truth.result, trial.result, values=False, **rest)
            if not problem and self.gradient and not getattr(trial.result, "requires_grad", True):
                problem = (
                    "The result is cut off from the graph, so no gradient can flow back through it. "
                    "detach, no_grad, item(), numpy and torch.tensor(...) cut it."
                )
            problem = problem or difference(truth.seen, trial.seen, **rest)
            if problem:
                return problem
        return None

    def _explains(self, mistake: Function, cases: list[Case], trials: list["Trial"]) -> bool:
        """Whether the mistake comes to the same results."""
        try:
            mistaken = (self._trial(mistake, case) for case in cases)  # no more than it takes to tell
            return not self._problem(mistaken, trials, dtypes=False)
        except Exception:  # a mistake that raises explains a function that raises, and no result
            return False

    def _refusal(self, function: Any) -> str:
        """Why `function` can't be called as the exercise calls it; empty where it can."""
        if not callable(function):
            return (
                f"TypeError: the check needs a function, and got {described(function)}. "
                f"Pass the function itself, without calling it: check.{self.name}({self.name})."
            )
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):  # some builtins don't tell
            return ""
        try:
            signature.bind(*self.parameters)
        except TypeError:
            mine, yours = ", ".join(self.parameters), ", ".join(signature.parameters)
            return f"It is called with {len(self.parameters)} arguments ({mine}), but takes ({yours})."
        return ""

    def _failure(self, function: Function, error: BaseException, case: Case) -> tuple[Status, str]:
        if isinstance(error, TimeUp):
            return "error", f"It had not finished after {self.seconds:g} s. Is there a loop that never ends?"
        if _is_stub_error(function, error):
            return "not attempted", ""
        pairs = zip(self.parameters, _draw(case), strict=True)
        called = "\n".join(f"  {name}: {described(value)}" for name, value in pairs)
        what = f"{_last_line(error)}\n{_own_line(error)}It was called with\n{called}"
        for message, mistake in self.mistakes.items():  # some mistakes show as an exception
            try:
                mistake(*_draw(case))
            except Exception as known:
                if _last_line(known) == _last_line(error):
                    return "mistake", f"{message}\n{what}"
        # torch raises these where tensors don't fit
        unfit = isinstance(error, (RuntimeError, IndexError, ValueError))
        return "error", f"{what}\n{self.look}".strip() if unfit else what

    def _changed(self, args: tuple[Any, ...], fresh: tuple[Any, ...]) -> str:
        pairs = zip(self.parameters, args, fresh, strict=True)
        return next((name for name, one, other in pairs if _differ(one, other)), "")

    def _unsteady(self, function: Function, case: Case, result: Any) -> str:
        """What is wrong with where its chance comes from; empty where nothing is."""
        args, moved = _draw(case), _draw(case)
        name = next((n for n, a in zip(self.parameters, args, strict=True) if isinstance(a, Generator)), "")
        if not self._repeats(function, args, result):
            text = "Called twice with the same arguments, it gave two different results."
            draws = f" It draws from torch's global generator, or another: hand {name} on to what draws."
            return text + draws if name else text
        if not name:
            return ""
        torch.rand(1, generator=moved[self.parameters.index(name)])  # from here on it draws other numbers
        if not self._repeats(function, moved, result):
            return ""
        return (
            f"Its draws don't depend on the state of {name}. A generator that is made or seeded inside the "
            f"function begins anew in every call: draw from {name} as it comes."
        )

    def _repeats(self, function: Function, args: tuple[Any, ...], result: Any) -> bool:
        """Whether another call gives the same."""
        seed = ROUNDS * len(self.inputs)  # the global generator's: not that of any call before
        repeated = call(function, args, seconds=float(self.seconds), seed=seed).result
        return difference(result, repeated, tolerance=self.tolerance) is None


class Trial:
    """One call: its arguments, its result, and what is compared of the result."""

    def __init__(self, args: tuple[Any, ...], result: Any, observe: Function | None) -> None:
        self.args, self.result, self._observe = args, result, observe

    @functools.cached_property
    def seen(self) -> Any:
        return self.result if self._observe is None else self._observe(self.result, self.args)


def _draw(case: Case) -> tuple[Any, ...]:
    """The arguments of one case, made afresh: nobody sees what an earlier call did to them."""
    inputs, seed = case
    return inputs(Generator().manual_seed(seed))


def _differ(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return not torch.equal(one, other)
    if isinstance(one, (list, tuple)):
        return len(one) != len(other) or any(_differ(a, b) for a, b in zip(one, other, strict=True))
    return False  # numbers can't change, and a generator's state is meant to


def _unobservable(error: Exception) -> tuple[Status, str]:
    text = _last_line(error)
    if "modified by an inplace operation" in text:  # torch's own text is long, and differs from run to run
        return "wrong", (
            "No gradient can flow back through the result: a tensor that is needed for it was overwritten, "
            "in whole or in part. Make a new tensor in each step, collect them in a list and stack them."
        )
    return "error", f"Its result could not be examined: {text}"


def _is_empty(function: Any) -> bool:
    """Whether the body is nothing but a docstring, pass or `...` (which all compile to `return None`)."""
    if not inspect.isfunction(function):
        return False
    steps = [step for step in dis.get_instructions(function) if step.opname not in ("RESUME", "NOP")]
    return all(step.opname in ("LOAD_CONST", "RETURN_VALUE", "RETURN_CONST") for step in steps) and all(
        step.argval is None for step in steps if step.opname.endswith("CONST")
    )


def _is_stub_error(function: Function, error: BaseException) -> bool:
    """Whether it is a `raise NotImplementedError` in the function's own body, not in torch or a helper."""
    frames = _frames(error)
    if not isinstance(error, NotImplementedError) or not frames:
        return False
    code = frames[-1].tb_frame.f_code
    raised = dis.opname[code.co_code[frames[-1].tb_lasti]] == "RAISE_VARARGS"
    return raised and code is getattr(function, "__code__", None)


def _frames(error: BaseException) -> list[TracebackType]:
    """The traceback without this package's own frames at its beginning."""
    frames: list[TracebackType] = []
    step = error.__traceback__
    while step is not None:
        if frames or not step.tb_frame.f_globals.get("__name__", "").startswith("seqlib.checks"):
            frames.append(step)
        step = step.tb_next
    return frames


def _own_line(error: BaseException) -> str:
    """The innermost line of the learner's own, outside of installed packages, as "in line 3: h = x @ W"."""
    installed = tuple(sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib"))
    for step in reversed(_frames(error)):
        code = step.tb_frame.f_code
        text = linecache.getline(code.co_filename, step.tb_lineno).strip()
        ours = step.tb_frame.f_globals.get("__name__", "").startswith("seqlib.checks")  # a function to call
        if text and not ours and not code.co_filename.startswith(installed):
            return f"in {code.co_name}, line {step.tb_lineno}: {text}\n"
    return ""


def _last_line(error: BaseException) -> str:
    """Type and message, cut short, and without addresses, which differ from run to run."""
    text = "".join(traceback.format_exception_only(error)).strip()
    return re.sub(r"0x[0-9a-fA-F]+", "0x...", text if len(text) < 400 else text[:400] + "...")
