"""The course's look: asked for, never imposed, and the same for chapters and explorers."""

import io
import subprocess
import sys
from itertools import combinations

import matplotlib
import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_rgb

from seqlib.figures import style


def luminance(color: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_importing_changes_no_setting():
    code = (
        "import matplotlib; before = dict(matplotlib.rcParams); import seqlib.figures.style; "
        "assert dict(matplotlib.rcParams) == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_use_sets_what_the_style_says():
    with matplotlib.rc_context():
        style.use()
        assert {key: matplotlib.rcParams[key] for key in style.STYLE} == {
            key: matplotlib.rcParams.validate[key](value) for key, value in style.STYLE.items()
        }


def test_look_ends_with_its_block():
    before = dict(matplotlib.rcParams)
    with style.look():
        assert matplotlib.rcParams["figure.dpi"] == style.STYLE["figure.dpi"]
    assert dict(matplotlib.rcParams) == before


def test_a_new_figure_looks_the_same_with_and_without_use():
    def picture():
        figure, ax = style.new_figure(3, 2)
        with style.look():
            ax.plot([0, 1], label="a line")
            ax.set(title="Title", xlabel="t")
            ax.legend()
            png = io.BytesIO()
            figure.savefig(png, format="png")
        return png.getvalue()

    plain = picture()
    with matplotlib.rc_context():
        style.use()
        assert picture() == plain


def test_a_new_figure_is_unknown_to_pyplot():
    before = plt.get_fignums()
    figure, axes = style.new_figure(3, 2, nrows=2, ncols=3, sharex=True)
    assert plt.get_fignums() == before and figure.canvas.manager is None
    assert axes.shape == (2, 3) and figure.get_size_inches().tolist() == [3, 2]


@pytest.mark.parametrize("size", [{"width": 0, "height": 2}, {"width": 3, "height": -1}])
def test_a_size_must_be_positive(size):
    with pytest.raises(ValueError, match="must be a positive number of inches"):
        style.new_figure(**size)


def test_lines_stand_out_from_the_white_background():
    for color in (*style.CYCLE, style.GREY):
        assert 1.05 / (luminance(color) + 0.05) > 2, color


def test_neighbouring_lines_differ_even_without_hue():
    for a, b in combinations(style.CYCLE[:3], 2):
        light, dark = sorted((luminance(a), luminance(b)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 1.25, (a, b)
