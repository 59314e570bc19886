"""matplotlib's drawings as SVG: complete, in their places, and without a trace elsewhere in the page."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from seqlib.figures.style import GREEN, new_figure
from seqlib.figures.svg import DPI, svg


def drawing(paint, **attributes) -> ElementTree.Element:
    figure, ax = new_figure(5, 3)
    figure.set_dpi(DPI)
    paint(ax)
    html = svg(figure, figure.draw, attributes, unique="unique id")
    return ElementTree.fromstring(html.replace("xlink:", ""))


def corners(path: ElementTree.Element) -> np.ndarray:
    points = np.array(re.findall(r"-?\d+\.?\d*", path.get("d")), float).reshape(-1, 2)
    return np.array([points.min(axis=0), points.max(axis=0)])


def test_the_figures_size_and_the_attributes_are_the_elements():
    element = drawing(lambda ax: None, role="img", title='a < "b"')
    assert element.get("viewBox") == "0 0 360 216"
    assert (element.get("role"), element.get("title")) == ("img", 'a < "b"')


def test_it_brings_no_style_that_would_reach_the_whole_page_and_only_unique_ids():
    element = drawing(lambda ax: ax.plot([0, 1], "o-", label="a line"))
    assert not list(element.iter("style")) and not list(element.iter("metadata"))
    ids = [part.get("id") for part in element.iter() if part.get("id")]
    assert ids and all(name.startswith("unique i-") for name in ids) and len(set(ids)) == len(ids)


@pytest.mark.parametrize("text", ["Text", "$x^2$", "a & b < c", " "])
@pytest.mark.parametrize("rotation", [0, 30, 90])
def test_a_text_stands_where_matplotlib_puts_it(text, rotation):
    def paint(ax):
        ax.set_axis_off()
        artists.append(
            ax.text(0.5, 0.6, text, rotation=rotation, ha="right", va="top", fontsize=20, color=GREEN)
        )

    artists = []
    paths = [p for p in drawing(paint).iter("path") if GREEN.lower() in p.get("style", "") and p.get("d")]
    assert len(paths) == (0 if text == " " else 1)
    if paths:
        box, height = artists[0].get_window_extent(), 3 * DPI
        low, high = corners(paths[0])
        # The extent has room for letters that reach higher or lower.
        np.testing.assert_allclose(low, (box.x0, height - box.y1), atol=9)
        np.testing.assert_allclose(high, (box.x1, height - box.y0), atol=9)


def test_a_mathematical_text_is_the_same_wherever_it_stands():
    def paint(ax):
        ax.set_axis_off()
        for x in (0.2, 0.7):
            ax.text(x, 0.5, r"$\sigma^2 = 3$", color=GREEN)

    one, two = (corners(p) for p in drawing(paint).iter("path") if GREEN.lower() in p.get("style", ""))
    np.testing.assert_allclose(one[1] - one[0], two[1] - two[0], atol=0.02)


def test_each_marker_is_drawn_at_its_place():
    def paint(ax):
        ax.set_axis_off()
        line.extend(ax.plot([0, 1, 2], [0, 1, 0], "s", color=GREEN, markersize=6))

    line = []
    element = drawing(paint)
    middles = [corners(p).mean(axis=0) for p in element.iter("path") if GREEN.lower() in p.get("style", "")]
    expected = line[0].get_transform().transform(line[0].get_xydata())
    expected[:, 1] = 3 * DPI - expected[:, 1]
    np.testing.assert_allclose(middles, expected, atol=0.51)  # markers snap to whole units
