"""Explorers in a real JupyterLab: what is on the screen follows the keyboard."""

import base64
import io

import nbformat
import numpy as np
import pytest
from ipywidgets import IntSlider
from PIL import Image

from seqlib.figures.style import new_figure
from seqlib.widgets.explorer import Explorer

SOURCE = """
import numpy as np
from ipywidgets import FloatSlider, IntSlider
from seqlib.figures.style import new_figure
from seqlib.widgets.explorer import Explorer

def decay():
    figure, ax = new_figure(6, 3)
    ax.set(ylim=(0, 1), xlabel="steps", title="What is left")
    [line] = ax.plot([], [])

    def compute(rate, length):
        if rate > 0.99:
            raise ValueError(f"nothing decays at <{rate}>")
        return rate ** np.arange(length)

    def update(line, trace):
        line.set_data(np.arange(len(trace)), trace)
        ax.set_xlim(0, len(trace))

    return Explorer(
        compute, update, figure=figure, artists=line,
        describe=lambda trace: f"{trace[-1]:.3f} after {len(trace)} steps",
        rate=FloatSlider(description="Rate", value=0.9, min=0.5, max=1, step=0.1),
        length=IntSlider(description="Length of the sequence", value=11, min=2, max=40),
    )

decay()
"""
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


@pytest.fixture(scope="module")
def notebook(lab):
    cells = [nbformat.v4.new_code_cell(source) for source in (SOURCE, "decay()  # again")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), lab.root / "small.ipynb")
    with lab.open("small.ipynb") as notebook:
        yield notebook


@pytest.fixture
def explorer(notebook):
    """The second of two explorers in a notebook that has just been run."""
    assert notebook.run_all() == []
    return notebook.explorer("# again")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_picture_and_its_description_follow_the_keyboard(notebook, explorer, theme):
    notebook.change_theme(theme)
    assert explorer.description == "0.349 after 11 steps"
    explorer.press("Rate", "ArrowLeft")
    assert explorer.description == "0.107 after 11 steps"
    explorer.press("Length of the sequence", "ArrowRight")
    assert explorer.description == "0.086 after 12 steps"
    explorer.screenshot(f"small-{theme}")
    assert notebook.console_errors == []


def test_the_layers_lie_exactly_over_each_other(explorer):
    explorer.press("Length of the sequence")
    explorer.root.locator("svg").nth(3).wait_for(state="detached")
    boxes = [svg.bounding_box() for svg in explorer.root.locator("svg").all()]
    assert len(boxes) == 3 and boxes[0] == boxes[1] == boxes[2]
    assert boxes[0]["width"] == 660 and boxes[0]["height"] == 330


def test_there_is_a_picture_in_every_frame(notebook, explorer):
    notebook.page.evaluate(
        """root => {
            const paths = hidden => root.querySelectorAll(`svg${hidden} path`).length;
            window.frames_seen = 0; window.blank_frames = 0;
            const look = () => {
                window.frames_seen += 1;
                if (!paths('[aria-hidden]') || !paths('[role=img]')) window.blank_frames += 1;
                requestAnimationFrame(look);
            };
            look();
        }""",
        explorer.root.element_handle(),
    )
    for label in ("Rate", "Length of the sequence"):
        for key in ("ArrowLeft", "ArrowLeft", "ArrowRight"):
            explorer.press(label, key)
    assert notebook.page.evaluate("() => window.frames_seen") > 6
    assert notebook.page.evaluate("() => window.blank_frames") == 0


def test_the_last_value_is_drawn_when_keys_come_faster_than_pictures(notebook, explorer):
    explorer.slider("Length of the sequence").focus()
    for _ in range(25):
        notebook.page.keyboard.press("ArrowRight")
    # first: for a moment the front end may hold a picture twice, while it puts the new one in
    explorer.root.locator("[aria-label$='after 36 steps']").first.wait_for()


def test_an_error_is_shown_and_goes_away(notebook, explorer):
    explorer.slider("Rate").focus()
    notebook.page.keyboard.press("End")
    explorer.root.locator("[role=alert]").wait_for()
    assert explorer.message == "ValueError: nothing decays at <1.0>"
    assert explorer.description == "0.349 after 11 steps"
    notebook.page.keyboard.press("ArrowLeft")
    explorer.root.locator("[role=alert]").wait_for(state="detached")
    explorer.press("Rate", "ArrowLeft")
    assert explorer.description == "0.107 after 11 steps"


@pytest.mark.parametrize("width", [1300, 800, 500])
def test_nothing_is_cut_in_a_narrow_window(notebook, explorer, width):
    notebook.page.set_viewport_size({"width": width, "height": 1000})
    if width == 500:
        notebook.page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
    right = sum(explorer.root.bounding_box()[key] for key in ("x", "width"))
    for part in explorer.root.locator(".widget-label:visible, .widget-readout, svg").all():
        assert part.evaluate("part => part.scrollWidth <= part.clientWidth || part.tagName === 'svg'")
        assert sum(part.bounding_box()[key] for key in ("x", "width")) <= right
    explorer.screenshot(f"small-{width}")


def test_the_svg_in_the_page_looks_like_matplotlibs_own_png(browser):
    figure, (left, right) = new_figure(8, 3.5, ncols=2)
    numbers = np.random.default_rng(0).random((4, 6))
    image = left.imshow(numbers)
    left.grid(False)
    label = left.text(1, 2, r"$\int_0^1 x\,dx$ moves", rotation=20, color="white")
    [line] = right.plot(numbers[0], "o--", label="a line that leaves the axes")
    bars = right.bar(range(6), numbers[1], alpha=0.5)
    right.set(ylim=(0.1, 0.8), title="Bars and a line", ylabel=r"$\|\partial L/\partial h_t\|$")
    right.legend(loc="upper left")
    explorer = Explorer(
        lambda x: x,
        lambda artists, x: None,
        figure=figure,
        artists=[image, label, line, bars],
        describe=str,
        x=IntSlider(description="x"),
    )
    bundle, _ = explorer._repr_mimebundle_()
    png = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).convert("L")
    page = browser.new_page(viewport={"width": png.width, "height": png.height})
    layers = explorer.background, explorer.overlay, explorer.foreground
    parts = "".join(layer.value for layer in layers)
    page.set_content(f"<body style='margin: 0'><div style='display: grid'>{parts}</div></body>")
    shown = Image.open(io.BytesIO(page.screenshot())).convert("L")
    page.close()
    # Averages of small squares: edges and texts are smoothed and spaced a little differently.
    one, other = (
        np.asarray(picture.resize((110, 48), Image.Resampling.BOX), float) for picture in (png, shown)
    )
    assert np.abs(one - other).mean() < 1.5 and np.abs(one - other).max() < 60
