"""matplotlib's drawings as SVG elements for a page that has others too, quick to send and to show."""

import html
import io
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextToPath
from matplotlib.transforms import Affine2D

DPI = 72  # at this resolution matplotlib's pixels are SVG's units

_EXCESS = re.compile(r"(?<=\d\d\.\d\d)\d+")  # of coordinates: a hundredth of a point is exact enough


def svg(
    figure: Figure,
    draw: Callable[[RendererBase], None],
    attributes: Mapping[str, str],
    *,
    unique: str,
) -> str:
    """An SVG element, as large as `figure` and as wide as its place, of what `draw(renderer)` draws.

    `figure` has DPI dots per inch. The ids begin with the first letters of `unique`, since no two elements
    of a page may have the same.
    """
    width, height = figure.bbox.size
    text = io.StringIO()
    renderer = _Renderer(width, height, text, image_dpi=2 * DPI, metadata={"Date": None})
    renderer.writer.flush()
    head = text.tell()  # an XML declaration, metadata, and a style that would reach the whole page
    draw(renderer)
    renderer.finalize()
    body = _EXCESS.sub("", text.getvalue()[head:])
    for before in (' id="', 'href="#', "url(#"):
        body = body.replace(before, f"{before}{unique[:8]}-")
    more = "".join(f' {name}="{html.escape(value)}"' for name, value in attributes.items())
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}"{more} style="display:block; width:100%; grid-area:1/1; '
        f'stroke-linejoin:round; stroke-linecap:butt">{body}'
    )


class _Renderer(RendererSVG):
    """matplotlib's SVG renderer, with fewer and simpler elements.

    A text is one path instead of a group of references to glyphs, and a marker is a path: elements with
    transformations of their own take a browser more time than anything else here. There are no groups,
    which only carry ids.
    """

    draw_markers = RendererBase.draw_markers

    def open_group(self, s: str, gid: str | None = None) -> None:
        pass

    def close_group(self, s: str) -> None:
        pass

    def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> Any:
        return _extent(s, prop, ismath)

    def draw_text(
        self,
        gc: Any,
        x: Any,
        y: Any,
        s: str,
        prop: Any,
        angle: Any,
        ismath: Any = False,
        mtext: Any = None,
    ) -> None:
        size = prop.get_size_in_points() / _TEXTS.FONT_SCALE
        place = Affine2D().scale(size).rotate_deg(angle).translate(x, self.height - y)
        gc.set_linewidth(0)
        self.draw_path(gc, _outline(s, prop, ismath), place, rgbFace=gc.get_rgb())


_TEXTS = TextToPath()


# Most texts are drawn again and again: numbers at ticks, legends, labels.
@lru_cache(maxsize=1000)
def _extent(text: str, font: FontProperties, ismath: Any) -> Any:
    return _TEXTS.get_text_width_height_descent(text, font, ismath)


@lru_cache(maxsize=1000)
def _outline(text: str, font: FontProperties, ismath: Any) -> Path:
    vertices, codes = _TEXTS.get_text_path(font, text, ismath=ismath)
    return Path(vertices, codes)
