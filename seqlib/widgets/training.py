"""A loss curve that grows while a model trains."""

import io
import math
import time
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import ipywidgets

from seqlib.figures.common import plot_losses
from seqlib.figures.style import look, new_figure
from seqlib.figures.svg import DPI, svg
from seqlib.training import History


class LiveLoss(ipywidgets.HTML):
    """The loss of a training that is going on: show it in a cell, and pass it to `fit` as `watch`.

        live = LiveLoss(steps=500)
        display(live)
        fit(model, loss, steps=500, learning_rate=1e-3, watch=live)

    The thick line is a running mean over `smooth` steps, as in `plot_losses`, the faint one has every step.
    The axis has room for `steps` from the beginning. Once a second at most it is drawn again, so that
    training is hardly slowed down, and always for the last state. `clock()` tells the time in seconds.

    Raises ValueError for steps or smooth below 1.
    """

    def __init__(
        self,
        *,
        steps: int,
        label: str = "Loss",
        smooth: int = 20,
        log: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, value in (("steps", steps), ("smooth", smooth)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.steps = steps
        self.figure, self._ax = new_figure(6.5, 3.2)
        self._ax.set_position((0.13, 0.18, 0.84, 0.78))  # it stays there when labels at ticks get longer
        self._options: dict[str, Any] = {"ax": self._ax, "smooth": smooth, "log": log, "ylabel": label}
        self._clock, self._next_time = clock, -math.inf
        self._seen = 0  # steps, at the call before
        self._dpi = self.figure.dpi  # for the PNG, and for the size on the screen
        width = f"{self.figure.bbox.width:.0f}px"
        self.figure.set_dpi(DPI)
        super().__init__(layout={"width": "100%", "max_width": width})

    def __call__(self, history: History) -> None:
        """Draw the losses so far, if it is time to or if this is the end: there is no new one."""
        seen, self._seen = self._seen, len(history.losses)
        if history.losses and (self._seen <= seen or self._clock() >= self._next_time):
            self._draw(history)
            self._next_time = self._clock() + _INTERVAL

    def _draw(self, history: History) -> None:
        with look():
            self._ax.clear()
            plot_losses({"": history}, **self._options)
            self._ax.set_xlim(0, max(self.steps, len(history.losses)))
            self._ax.yaxis.set_label_coords(-0.12, 0.5)
            label = {"role": "img", "aria-label": self._describe(history)}
            self.value = svg(self.figure, self.figure.draw, label, unique=self.model_id)

    def _describe(self, history: History) -> str:
        text = (
            f"{self._options['ylabel']} after {len(history.losses)} of {self.steps} steps: "
            f"{self._ax.lines[0].get_ydata()[-1]:.3g}"
        )
        return text if history.stopped == "finished" else f"{text}, {history.stopped}"

    def _png(self) -> bytes:
        with look():
            png = io.BytesIO()
            self.figure.savefig(png, format="png", dpi=self._dpi, metadata={"Software": None})
            return png.getvalue()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(steps={self.steps})"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """The widget, and for viewers without a kernel its present picture, once there is one."""
        bundle = {**super()._repr_mimebundle_(**kwargs), "text/plain": repr(self)}
        return {**bundle, "image/png": b64encode(self._png()).decode()} if self.value else bundle


_INTERVAL = 1.0  # seconds between two drawings, at least
