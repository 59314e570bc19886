"""Controls above a picture that follows them: one widget for all of the course's explorers.

matplotlib draws everything, as SVG, in three layers that lie exactly over each other: what does not move
(axes, ticks, labels), what moves, and what does not move but lies in front (a legend). Only the second is
drawn again for each new value, so that a step of a slider sends some kilobytes and takes some milliseconds.
The layers are `ipywidgets.HTML`, which every notebook front end shows without an extension.
"""

import html
import io
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import ipywidgets
from ipywidgets.widgets.widget_description import DescriptionWidget
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis, Tick
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure, FigureBase

from seqlib.figures import style
from seqlib.figures.svg import DPI, svg


class Explorer(ipywidgets.VBox):
    """A picture with controls, drawn again whenever one of them changes.

        figure, ax = new_figure(7, 4)
        [line] = ax.plot(np.arange(100), np.ones(100))
        ax.set_ylim(0, 1)

        Explorer(
            lambda rate: rate ** np.arange(100),
            lambda line, trace: line.set_ydata(trace),
            figure=figure,
            artists=line,
            describe=lambda trace: f"The curve has fallen to {trace[-1]:.2f} after 99 steps.",
            rate=FloatSlider(description="Rate", value=0.9, min=0.5, max=1.0, step=0.01),
        )

    `compute(**values)` gets the controls' values by the controls' keyword names and returns any object, the
    trace. `update(artists, trace)` sets the artists' data. `artists` is one artist or whatever holds those
    that move (a list, dict, NamedTuple, dataclass, also nested; axes and things that are no artists may be
    among them). They are drawn over what does not move, except for what lies over all of them, as a legend
    does. `update` may also change axis limits, ticks, labels or anything else in the figure; what does not
    move is then drawn again too, which takes longer. `describe(trace)` is the picture in words for those
    who don't see it. The layout is settled by the first drawing and kept.

    An exception raised while drawing for new values is shown under the controls and kept in `error`; the
    last good picture stays. One raised by the very first drawing is raised by the constructor. `trace` is
    the last good trace.

    Raises TypeError or ValueError, naming the argument, where one is not as described.
    """

    def __init__(
        self,
        compute: Callable[..., Any],
        update: Callable[[Any, Any], object],
        *,
        figure: Figure,
        artists: Any,
        describe: Callable[[Any], str],
        **controls: Any,
    ) -> None:
        for name, function in (("compute", compute), ("update", update), ("describe", describe)):
            if not callable(function):
                raise TypeError(f"{name} must be a function, got {function!r}")
        _check_figure(figure)
        _check_controls(controls)

        self.figure, self.artists, self.controls = figure, artists, controls
        self.trace: Any = None
        self.error = ""
        self._compute, self._update, self._describe = compute, update, describe
        self._moving: list[Artist] = []
        self._collect_moving()
        self._view: object = None  # what the axes showed when what does not move was last drawn
        self._still_due = True
        self._dpi = figure.dpi  # for the PNG, and for the size on the screen
        width = f"{figure.bbox.width:.0f}px"
        figure.set_dpi(DPI)

        # All in the same cell of a grid, so one over the other.
        cell = {"grid_area": "1 / 1 / 2 / 2", "width": "100%", "margin": "0"}
        layers = [ipywidgets.HTML(layout=cell) for _ in range(3)]
        self.background, self.overlay, self.foreground = layers
        picture = ipywidgets.GridBox(layers, layout={"grid_template_columns": "100%"})
        self.message = ipywidgets.HTML(layout={"display": "none"})
        columns = "repeat(auto-fit, minmax(min(100%, 300px), 1fr))"
        panel = ipywidgets.GridBox(list(controls.values()), layout={"grid_template_columns": columns})
        super().__init__([panel, self.message, picture], layout={"max_width": width})
        self.add_class("seqlib-explorer")

        self._draw()
        longest = max(len(control.description) for control in controls.values())
        for control in controls.values():
            control.layout.width = "auto"
            for trait, value in (("description_width", f"{longest + 1}ch"), ("button_width", "auto")):
                if control.style.has_trait(trait):
                    setattr(control.style, trait, value)
            if control.tooltip is None:
                control.tooltip = control.description  # or ipywidgets shows "null" over the label
            control.observe(self.redraw, "value")

    @property
    def values(self) -> dict[str, Any]:
        """The controls' present values by name."""
        return {name: control.value for name, control in self.controls.items()}

    def redraw(self, _change: object = None) -> None:
        """Draw the picture for the controls' present values, or say what went wrong."""
        try:
            self._draw()
        except Exception as error:  # whatever the lesson's own functions raise
            self.error = f"{type(error).__name__}: {error}"
        else:
            self.error = ""
        self.message.value = _MESSAGE.format(html.escape(self.error)) if self.error else ""
        self.message.layout.display = None if self.error else "none"

    def _draw(self) -> None:
        trace = self._compute(**self.values)
        with style.look():
            self._update(self.artists, trace)
            description = self._describe(trace)
            if not isinstance(description, str):
                raise TypeError(f"describe must return a str, got {description!r}")
            self._collect_moving()
            self._still_due = self._still_due or self._still_changed()
            still = self._draw_still() if self._still_due else None
            moving = self._layer(self.overlay, self._moving, {"role": "img", "aria-label": description})
        self.trace = trace
        if still is None:
            self.overlay.value = moving
        else:
            # First all in one message, over everything, so that no frame shows old and new together.
            background, foreground = still
            self.foreground.value = f'<div style="display:grid">{background}{moving}{foreground}</div>'
            self.background.value, self.overlay.value = background, moving
            self.foreground.value = foreground
            self._still_due = False

    def _collect_moving(self) -> None:
        """Find what moves, in the order in which matplotlib draws it; `update` may replace artists."""
        found = list(dict.fromkeys(_flatten(self.artists)))
        if not found:
            raise ValueError(f"artists must hold the artists that move, got {self.artists!r}")
        if set(found) != set(self._moving):
            parents = self.figure.findobj(lambda part: isinstance(part, (FigureBase, Axes)))
            drawn = {child for parent in parents for child in parent.get_children()}
            if others := set(found) - drawn:
                raise ValueError(f"artists must be drawn by the figure or its axes themselves, got {others}")
            for artist in found:
                artist.set_animated(True)  # so the figure does not draw it
        self._moving = sorted(found, key=_drawing_order)

    def _draw_still(self) -> tuple[str, str]:
        """What does not move: the part behind what moves, and the part that lies over all of it."""
        if self._view is None and (layout := self.figure.get_layout_engine()):  # the first time
            # Several axes, or images, whose aspect is fixed, need some rounds to settle.
            alone = [ax.get_aspect() for ax in self.figure.axes] == ["auto"]
            for _ in range(1 if alone else 3):
                layout.execute(self.figure)
            self.figure.set_layout_engine("none")  # keeps the places that were found
        front = _in_front_of(self._moving)
        for artist in front:
            artist.set_animated(True)
        try:
            background = self._layer(self.background, [self.figure], {"aria-hidden": "true"})
            foreground = self._layer(self.foreground, front, {"aria-hidden": "true"}) if front else ""
        finally:
            for artist in front:
                artist.set_animated(False)
        parts = self.figure.findobj()
        self._view = _view(parts)
        for part in parts:
            part.stale = False
        return background, foreground

    def _layer(self, layer: ipywidgets.HTML, artists: list[Artist], attributes: dict[str, str]) -> str:
        return svg(self.figure, partial(_draw_all, artists), attributes, unique=layer.model_id)

    def _still_changed(self) -> bool:
        """matplotlib marks as stale whatever was set since it was drawn.

        Limits count as stale even if set to what they were, so axes are compared by what they show.
        """
        if not self.figure.stale:
            return False
        moving = {part for artist in self._moving for part in artist.findobj()}
        parts = self.figure.findobj()
        still = (part for part in parts if part not in moving and not isinstance(part, _CONTAINERS))
        self.figure.stale = _view(parts) != self._view or any(part.stale for part in still)
        return bool(self.figure.stale)

    def _png(self) -> bytes:
        with style.look():
            png = io.BytesIO()
            self.figure.savefig(png, format="png", dpi=self._dpi, metadata={"Software": None})
            return png.getvalue()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={_short(v)}' for name, v in self.values.items())})"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget, and for viewers without a kernel its present picture, which is described beside it."""
        bundle = super()._repr_mimebundle_(**kwargs)
        picture = {"text/plain": repr(self), "image/png": b64encode(self._png()).decode()}
        return {**bundle, **picture}, {"image/png": {"alt": self._describe(self.trace)}}


_CONTAINERS = (FigureBase, Axes, Axis, Tick)  # stale as soon as anything in them is
_MESSAGE = (
    '<div role="alert" style="background:#FDECEA; color:#611A15; padding:4px 8px; line-height:1.4; '
    'white-space:pre-wrap; overflow-wrap:anywhere">{}</div>'
)


def _short(value: object) -> str:
    return repr(float(f"{value:.6g}") if isinstance(value, float) else value)


def _view(parts: list[Artist]) -> list[object]:
    """What axes show that may be set again without being changed."""
    view: list[object] = []
    for part in parts:
        if isinstance(part, Axes):
            bounds = part.get_position(original=True).bounds
            view.append((part.get_visible(), part.axison, part.get_aspect(), bounds))
        elif isinstance(part, Axis):
            view.append((part.get_visible(), part.get_scale(), *part.get_view_interval()))
            view.append((*part.get_majorticklocs(), *part.get_minorticklocs()))
    return view


def _in_front_of(moving: list[Artist]) -> list[Artist]:
    """What does not move and lies over all that moves in its axes: a legend, say."""
    front: list[Artist] = []
    for ax in dict.fromkeys(artist.axes for artist in moving if artist.axes):
        top = max(artist.get_zorder() for artist in moving if artist.axes is ax)
        hidden = [ax.patch] if ax.axison else [ax.patch, ax.xaxis, ax.yaxis, *ax.spines.values()]
        others = (child for child in ax.get_children() if child not in hidden and child not in moving)
        front += (child for child in others if child.get_zorder() > top)
    return sorted(front, key=_drawing_order)


def _draw_all(artists: list[Artist], renderer: RendererBase) -> None:
    for artist in artists:
        artist.draw(renderer)


def _drawing_order(artist: Artist) -> tuple[Any, ...]:
    own = artist.get_zorder()
    return (artist.axes.get_zorder(), own) if artist.axes else (own, 0)


def _flatten(holder: Any) -> Iterator[Artist]:
    if isinstance(holder, (FigureBase, Axes)):
        return  # held for `update`'s convenience; they do not move as a whole
    if isinstance(holder, Artist):
        yield holder
    elif isinstance(holder, Mapping):
        for value in holder.values():
            yield from _flatten(value)
    elif isinstance(holder, (list, tuple, set)):
        for value in holder:
            yield from _flatten(value)
    elif is_dataclass(holder) or isinstance(holder, SimpleNamespace):
        yield from _flatten(vars(holder))


def _check_figure(figure: Any) -> None:
    if not isinstance(figure, Figure):
        raise TypeError(f"figure must be a matplotlib Figure, got {figure!r}")
    if figure.canvas.manager is not None:
        raise ValueError(
            "figure must be made outside pyplot, by seqlib.figures.style.new_figure: "
            "a notebook shows pyplot's figures by itself, so this one would appear twice"
        )


def _check_controls(controls: Mapping[str, Any]) -> None:
    if not controls:
        raise ValueError("controls must be given by name, such as gain=FloatSlider(description='Gain')")
    for name, control in controls.items():
        if not (isinstance(control, DescriptionWidget) and control.has_trait("value")):
            raise TypeError(f"{name} must be an ipywidgets control with a value, got {control!r}")
        if not control.description:
            raise ValueError(f"{name} must have a description: it is the control's label")
