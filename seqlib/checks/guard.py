"""Call a learner's function so that nothing it does harms the notebook.

It may raise, print without end, never return, or change torch's global settings: `call` reports that as data.
Two things pass through, the learner's own Ctrl-C ("Interrupt kernel") and what C code prints past Python.
"""

import _thread
import contextlib
import io
import signal
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NamedTuple

import torch

KEPT_LINES = 10
KEPT_WIDTH = 110
KEPT_CHARACTERS = 10_000
AGAIN_AFTER = 0.1  # seconds; for code that swallows the first interruption with a bare `except:`


class TimeUp(BaseException):
    """Raised inside a function that has run for too long; no `except Exception` holds it up."""


class Outcome(NamedTuple):
    """What one call did. `result` means something only where `error` is None."""

    result: Any
    error: BaseException | None
    printed: tuple[str, ...]


class FirstLines(io.TextIOBase):
    """A stream that keeps its beginning and only counts the rest."""

    def __init__(self) -> None:
        self.head = ""
        self.ended = 0

    def write(self, text: str) -> int:
        self.head += text[: max(0, KEPT_CHARACTERS - len(self.head))]
        self.ended += text.count("\n")
        return len(text)

    def lines(self, *, counted: bool) -> tuple[str, ...]:
        kept = [line[:KEPT_WIDTH] for line in self.head.splitlines()[:KEPT_LINES]]
        left_out = self.ended - len(kept)
        rest = f"... and {left_out} more lines" if counted else "... and so on"
        return (*kept, rest) if left_out > 0 else tuple(kept)


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """Gradients on inside; torch's random state (CPU), gradient mode and default dtype restored after."""
    dtype = torch.get_default_dtype()
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)


def call(function: Callable[..., Any], args: tuple[Any, ...], *, seconds: float, seed: int) -> Outcome:
    """`function(*args)` with torch's global generator seeded, for at most `seconds` (see `within`)."""
    output = FirstLines()
    result, error = None, None
    with (
        settled(),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
        warnings.catch_warnings(record=True) as caught,
    ):
        torch.default_generator.manual_seed(seed)
        try:
            result = within(seconds, function, args)
        except KeyboardInterrupt:
            raise
        except BaseException as raised:  # SystemExit too: a stray exit() must not end the kernel
            error = raised
    for warning in caught:  # by name and text only: where it was raised is a temporary file of the kernel
        output.write(f"{warning.category.__name__}: {warning.message}\n")
    # how many lines a function has printed when its time is up differs from run to run
    return Outcome(result, error, output.lines(counted=not isinstance(error, TimeUp)))


def within(seconds: float, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """`function(*args)`, ended by `TimeUp` after `seconds`.

    The limit works like a Ctrl-C, so it holds in the main thread, where notebooks run their cells. In other
    threads there is none, and one long call into C code (a huge matrix product) ends only when it returns.
    """
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or previous is None:
        return function(*args)

    limit = _Limit(seconds, previous)
    watcher = threading.Thread(target=limit.watch, daemon=True)
    signal.signal(signal.SIGINT, limit.on_interrupt)
    try:
        watcher.start()
        limit.running = True
        return function(*args)
    finally:
        limit.running = False
        try:
            limit.finished.set()
            watcher.join()
        finally:
            signal.signal(signal.SIGINT, previous)


class _Limit:
    """A watch that interrupts the main thread when the time is up, and what an interruption then means."""

    def __init__(self, seconds: float, previous: Any) -> None:
        self.seconds = seconds
        self.previous = previous  # what an interruption meant before
        self.late = self.running = False
        self.finished = threading.Event()

    def on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.late:
            # Only the function is broken off, and never this module's own code half-way. Out of a weak
            # reference's callback the exception would be lost: the next try will find another place.
            own = frame is None or frame.f_globals is globals() or frame.f_globals is vars(weakref)
            if self.running and not own:
                raise TimeUp
        elif callable(self.previous):  # the learner's own Ctrl-C
            self.previous(number, frame)
        elif self.previous is signal.SIG_DFL:
            raise KeyboardInterrupt

    def watch(self) -> None:
        pause = self.seconds
        while not self.finished.wait(pause):
            self.late, pause = True, AGAIN_AFTER
            if hasattr(signal, "pthread_kill"):  # wakes a sleeping main thread as well
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            else:
                _thread.interrupt_main()
