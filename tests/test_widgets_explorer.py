"""The Explorer: what moves is drawn again, what does not is left alone, and nothing breaks it."""

import base64
import inspect
import io
import re
import textwrap
from types import SimpleNamespace
from typing import NamedTuple
from xml.etree import ElementTree

import ipywidgets
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from drive import drive, settings
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from ipywidgets import Checkbox, Dropdown, FloatLogSlider, FloatSlider, IntSlider
from matplotlib.image import imread
from matplotlib.lines import Line2D
from matplotlib.text import Text

from seqlib.figures.style import BLUE, GREEN, RED, new_figure
from seqlib.widgets.explorer import Explorer

LENGTH = 13


class Artists(NamedTuple):
    line: Line2D
    text: Text


def decay(update=None, describe=None, compute=None, **more) -> Explorer:
    """gain ** t for t < length, which raises if the gain is below zero."""

    def default_compute(gain, length):
        if gain < 0:
            raise ValueError(f"gain must not be negative, got <{gain}>")
        return gain ** np.arange(length)

    def default_update(artists, trace):
        artists.line.set_data(np.arange(len(trace)), trace)
        artists.text.set_text(f"last: {trace[-1]:.3f}")
        artists.line.axes.set_xlim(0, len(trace))

    figure, ax = new_figure(5, 3)
    ax.set(ylim=(0, 1), xlabel="step")
    ax.set_title("Decay", color=RED)
    artists = Artists(*ax.plot([], [], color=BLUE), ax.text(1, 0.5, "", color=GREEN))
    controls = {
        "gain": FloatSlider(description="Gain", value=0.9, min=-0.5, max=1, step=0.1),
        "length": IntSlider(description="Length", value=LENGTH, min=7, max=17),
    }
    return Explorer(
        compute or default_compute,
        update or default_update,
        figure=figure,
        artists=artists,
        describe=describe or (lambda trace: f"After {len(trace)} steps {trace[-1]:.3f} is left."),
        **(controls | more),
    )


def svg(html: str) -> ElementTree.Element:
    return ElementTree.fromstring(html.replace("xlink:", ""))


def count_messages(widget: ipywidgets.HTML) -> list[str]:
    """Every value that is sent from now on."""
    sent: list[str] = []
    widget.observe(lambda change: sent.append(change["new"]), "value")
    return sent


# ------------------------------------------------------------------------------------------ what is drawn
def test_a_control_set_from_python_redraws_at_once():
    explorer = decay()
    before = explorer.overlay.value
    explorer.controls["gain"].value = 0.5
    assert explorer.overlay.value != before
    np.testing.assert_allclose(explorer.artists.line.get_ydata(), 0.5 ** np.arange(LENGTH))
    np.testing.assert_allclose(explorer.trace, 0.5 ** np.arange(LENGTH))


def test_the_description_is_the_pictures_label_and_follows_it():
    explorer = decay()
    explorer.controls["gain"].value = 0.0
    picture = svg(explorer.overlay.value)
    assert (picture.get("role"), picture.get("aria-label")) == ("img", f"After {LENGTH} steps 0.000 is left.")
    assert svg(explorer.background.value).get("aria-hidden") == "true"


def test_a_description_may_contain_any_character():
    explorer = decay(describe=lambda trace: "a < b & \"c\" > 'd'")
    assert svg(explorer.overlay.value).get("aria-label") == "a < b & \"c\" > 'd'"


def test_the_overlay_holds_what_moves_and_nothing_else():
    explorer = decay()
    line, text, title = f"stroke: {BLUE.lower()}", f"fill: {GREEN.lower()}", f"fill: {RED.lower()}"
    assert [explorer.overlay.value.count(part) for part in (line, text, title)] == [1, 1, 0]
    still = explorer.background.value + explorer.foreground.value
    assert [still.count(part) for part in (line, text, title)] == [0, 0, 1]
    assert len(svg(explorer.overlay.value).findall("path")) == 2


def test_the_background_is_drawn_again_only_when_it_changes():
    explorer = decay()
    sent = count_messages(explorer.background)
    explorer.controls["gain"].value = 0.5  # sets the limits to what they are
    assert not sent
    explorer.controls["length"].value = 11
    assert len(sent) == 1


def test_a_new_background_comes_together_with_what_lies_over_it():
    explorer = decay()
    order = []
    for name in ("background", "overlay", "foreground"):
        getattr(explorer, name).observe(
            lambda change, name=name: order.append((name, change["new"])), "value"
        )
    explorer.controls["length"].value = 11
    assert [name for name, _ in order] == ["foreground", "background", "overlay", "foreground"]
    everything, background, overlay, foreground = (html for _, html in order)
    assert everything == f'<div style="display:grid">{background}{overlay}{foreground}</div>'


def test_a_legend_lies_over_moving_lines_and_the_grid_under_them():
    figure, ax = new_figure(5, 3)
    [line] = ax.plot([0, 1], color=BLUE, zorder=2)
    ax.grid(color=RED)
    ax.legend(handles=[Line2D([], [], color=GREEN)], labels=["a line"])
    explorer = Explorer(
        lambda x: x, lambda *_: None, figure=figure, artists=line, describe=str, x=IntSlider(description="x")
    )
    layers = [explorer.background.value, explorer.overlay.value, explorer.foreground.value]
    where = [[color.lower() in layer for color in (RED, BLUE, GREEN)] for layer in layers]
    assert where == [[True, False, False], [False, True, False], [False, False, True]]
    assert not any(artist.get_animated() for artist in (*ax.spines.values(), ax.get_legend()))


def test_axes_that_are_switched_off_stay_off_over_what_moves():
    figure, ax = new_figure(5, 3)
    image = ax.imshow([[0, 1]])  # images lie under the axis and the spines
    ax.spines[:].set_edgecolor(RED)
    ax.axis("off")
    explorer = Explorer(
        lambda x: x, lambda *_: None, figure=figure, artists=image, describe=str, x=IntSlider(description="x")
    )
    assert explorer.foreground.value == "" or RED.lower() not in explorer.foreground.value


@pytest.mark.parametrize(
    "change",
    [
        lambda ax: ax.set_ylim(0, 2),
        lambda ax: ax.set_yscale("symlog"),
        lambda ax: ax.set_xticks([1, 2]),
        lambda ax: ax.set_xticks(ax.get_xticks(), labels=[f"word {x:g}" for x in ax.get_xticks()]),
        lambda ax: ax.set_xlabel("another"),
        lambda ax: ax.set_title("another"),
        lambda ax: ax.axhline(0.3),
        lambda ax: ax.invert_yaxis(),
        lambda ax: ax.axis("off"),
        lambda ax: ax.set_visible(False),
        lambda ax: ax.set_facecolor(RED),
        lambda ax: ax.spines["left"].set_visible(False),
    ],
)
def test_whatever_changes_the_unmoving_part_is_seen(change):
    def update(artists, trace):
        if len(trace) == 11:
            change(artists.line.axes)

    explorer = decay(update)
    before = explorer.background.value + explorer.foreground.value
    explorer.controls["gain"].value = 0.5
    assert explorer.background.value + explorer.foreground.value == before
    explorer.controls["length"].value = 11
    assert explorer.background.value + explorer.foreground.value != before


def test_the_layout_stays_where_the_first_drawing_put_it():
    explorer = decay(lambda artists, trace: artists.line.axes.set_ylim(0, 10.0 ** len(trace)))
    before = explorer.figure.axes[0].get_position().bounds
    explorer.controls["length"].value = 7
    assert explorer.figure.axes[0].get_position().bounds == before


def test_moving_artists_keep_their_order_and_their_clipping():
    figure, ax = new_figure(5, 3)
    front, back = ax.plot([0, 1], [0, 2], color=RED, zorder=4)[0], ax.plot([0, 1], [1, 0], color=BLUE)[0]
    explorer = Explorer(
        lambda x: x,
        lambda artists, x: ax.set_ylim(0, 1),
        figure=figure,
        artists=[front, back],
        describe=str,
        x=IntSlider(description="x"),
    )
    strokes = re.findall(r"stroke: (#\w+)", explorer.overlay.value)
    assert strokes == [BLUE.lower(), RED.lower()]
    assert explorer.overlay.value.count('clip-path="url(#') == 2


def test_artists_replaced_by_update_are_followed():
    figure, ax = new_figure(5, 3)
    ax.set(xlim=(0, 1), ylim=(0, 9))
    held = {"fill": ax.fill_between([0, 1], [0, 0], color=BLUE)}

    def update(artists, height):
        artists["fill"].remove()
        artists["fill"] = ax.fill_between([0, 1], [height, height], color=BLUE)

    explorer = Explorer(
        lambda x: x, update, figure=figure, artists=held, describe=str, x=IntSlider(description="x", max=9)
    )
    sent = count_messages(explorer.background)
    explorer.controls["x"].value = 5
    assert not sent and len(ax.collections) == 1
    assert BLUE.lower() not in explorer.background.value and BLUE.lower() in explorer.overlay.value


@pytest.mark.parametrize(
    "hold",
    [
        lambda line, text, bars: [line, [text, bars]],
        lambda line, text, bars: {"line": line, "rest": (text, *bars)},
        lambda line, text, bars: SimpleNamespace(
            ax=line.axes, line=line, more=[text, bars], length=3, name="x"
        ),
    ],
)
def test_artists_may_be_held_by_anything(hold):
    figure, ax = new_figure(5, 3)
    parts = (*ax.plot([0, 1]), ax.text(0, 0, "moves", color=GREEN), ax.bar([0, 1], [1, 2]))
    explorer = Explorer(
        lambda x: x,
        lambda artists, trace: None,
        figure=figure,
        artists=hold(*parts),
        describe=str,
        x=IntSlider(description="x"),
    )
    assert len(svg(explorer.overlay.value).findall("path")) == 4  # a line, a text and two bars
    assert explorer.overlay.value.count(GREEN.lower()) == 1


def test_images_markers_and_mathematics_move_too():
    figure, (left, right) = new_figure(6, 3, ncols=2)
    image, dots = left.imshow(np.zeros((3, 5)), vmin=0, vmax=1), right.scatter([0, 1], [0, 1])
    text = right.text(0, 0, "")

    def update(artists, x):
        image.set_data(np.full((3, 5), x))
        dots.set_offsets([[x, 0], [0, x]])
        text.set_text(rf"$\sigma^{{{x:.1f}}}$")

    explorer = Explorer(
        lambda x: x,
        update,
        figure=figure,
        artists=[image, dots, text],
        describe=str,
        x=FloatSlider(description="x", max=1),
    )
    sent = count_messages(explorer.overlay)
    explorer.controls["x"].value = 0.7
    assert len(sent) == 1 and explorer.error == ""
    assert [len(list(svg(sent[0]).iter(tag))) for tag in ("image", "use", "path")] == [1, 0, 3]


# ------------------------------------------------------------------------------------------ a page of them
def ids(html: str) -> set[str]:
    return {element.get("id") for element in svg(html).iter() if element.get("id")}


def test_two_explorers_share_no_id_and_neither_do_the_two_parts_of_one():
    one, two = decay(), decay()
    parts = [ids(layer.value) for explorer in (one, two) for layer in (explorer.background, explorer.overlay)]
    assert all(parts) and sum(map(len, parts)) == len(set.union(*parts))


def test_every_reference_in_a_picture_leads_to_something_in_it():
    explorer = decay()
    for html in (explorer.background.value, explorer.overlay.value):
        used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', html))
        assert used and {a or b for a, b in used} <= ids(html)


def test_pyplot_and_its_settings_are_left_alone():
    figures, settings_before = plt.get_fignums(), dict(matplotlib.rcParams)
    explorer = decay()
    explorer.controls["length"].value = 11
    explorer._repr_mimebundle_()
    assert plt.get_fignums() == figures and dict(matplotlib.rcParams) == settings_before


def test_an_explorer_has_the_courses_look_whatever_the_settings_are():
    plain = decay()
    with matplotlib.rc_context({"xtick.labelsize": 20, "grid.color": "red"}):
        other = decay()
        other.controls["length"].value = 17  # needs more ticks
    plain.controls["length"].value = 17
    assert shapes(other.background.value) == shapes(plain.background.value)


def shapes(html: str) -> list[tuple[str | None, ...]]:
    return [(e.tag, e.get("d"), e.get("style"), e.get("x"), e.get("y")) for e in svg(html).iter()]


# ------------------------------------------------------------------------------------- without a kernel
def test_the_bundle_shows_widget_picture_and_text():
    explorer = decay()
    bundle, metadata = explorer._repr_mimebundle_()
    assert bundle["text/plain"] == repr(explorer) == f"Explorer(gain=0.9, length={LENGTH})"
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.model_id
    pixels = imread(io.BytesIO(base64.b64decode(bundle["image/png"])))
    assert pixels.shape[:2] == (330, 550)
    assert metadata == {"image/png": {"alt": svg(explorer.overlay.value).get("aria-label")}}, (
        "what the page reads out, too"
    )
    assert (pixels[0, 0] == 1).all(), "the background is opaque white"
    blue = np.array([int(BLUE[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    assert (np.abs(pixels[..., :3] - blue).max(axis=-1) < 0.01).any(), "what moves is in it too"


def test_the_png_depends_on_the_values_only_and_not_on_the_way_there():
    explorer, same = decay(), decay()
    first = explorer._repr_mimebundle_()[0]["image/png"]
    assert first == same._repr_mimebundle_()[0]["image/png"]
    explorer.controls["gain"].min = 0
    assert len(list(drive(explorer))) == 9
    assert explorer._repr_mimebundle_()[0]["image/png"] == first


def test_showing_it_does_not_disturb_it():
    explorer = decay()
    before = explorer.background.value, explorer.overlay.value
    explorer._repr_mimebundle_()
    explorer.redraw()
    assert (explorer.background.value, explorer.overlay.value) == before


@examples(max_examples=20, deadline=None)
@given(gain=st.floats(0, 1), length=st.integers(7, 17))
def test_the_same_values_give_the_same_picture(gain, length):
    explorer = EXPLORER
    for _ in range(2):
        explorer.controls["gain"].value, explorer.controls["length"].value = 0.3, 8
        explorer.controls["gain"].value, explorer.controls["length"].value = gain, length
        picture = explorer.background.value, explorer.overlay.value
    explorer.redraw()
    assert (explorer.background.value, explorer.overlay.value) == picture
    assert repr(explorer).startswith("Explorer(gain=") and len(repr(explorer)) < 60


EXPLORER = decay()


# -------------------------------------------------------------------------------------- when it goes wrong
def test_an_exception_is_shown_the_picture_stays_and_the_next_success_clears_it():
    explorer = decay()
    before = explorer.background.value, explorer.overlay.value
    explorer.controls["gain"].value = -0.3
    assert explorer.error == "ValueError: gain must not be negative, got <-0.3>"
    assert "ValueError: gain must not be negative, got &lt;-0.3&gt;" in explorer.message.value
    assert explorer.message.layout.display is None
    assert (explorer.background.value, explorer.overlay.value) == before
    explorer.controls["gain"].value = 0.5
    assert (explorer.error, explorer.message.value, explorer.message.layout.display) == ("", "", "none")
    assert explorer.overlay.value != before[1]


@pytest.mark.parametrize("where", ["compute", "update", "describe"])
def test_an_exception_anywhere_is_shown(where):
    fail = False

    def maybe(*args, **values):
        if fail:
            raise KeyError("gone")
        return "a picture"

    explorer = decay(**{where: maybe, **({"update": lambda a, t: None, "describe": str} | {where: maybe})})
    fail = True
    explorer.controls["gain"].value = 0.4
    assert explorer.error == "KeyError: 'gone'"
    fail = False
    explorer.redraw()
    assert explorer.error == ""


def test_a_new_background_that_came_to_nothing_is_drawn_with_the_next_picture():
    def update(artists, trace):
        artists.line.axes.set_xlim(0, len(trace))
        artists.text.set_text(r"$\frac$" if len(trace) == 11 else "$x$")

    explorer = decay(update)
    before, sent = explorer.overlay.value, count_messages(explorer.background)
    explorer.controls["length"].value = 11
    assert explorer.error and not sent and explorer.overlay.value == before
    explorer.artists.line.axes.set_xlim(0, 11)
    explorer._update = lambda artists, trace: artists.text.set_text("")
    explorer.redraw()
    assert not explorer.error and len(sent) == 1


def test_an_exception_in_the_very_first_drawing_is_raised():
    with pytest.raises(ValueError, match="gain must not be negative"):
        decay(gain=FloatSlider(description="Gain", value=-0.5, min=-1, max=1))


def test_a_description_that_is_no_text_is_an_error():
    with pytest.raises(TypeError, match="describe must return a str"):
        decay(describe=lambda trace: 3.0)


# ------------------------------------------------------------------------------------------------ controls
def test_labels_have_room_and_are_aligned():
    long = "A rather long label indeed"
    explorer = decay(
        gain=FloatSlider(description=long, value=0.5, max=1),
        length=IntSlider(description="T", value=9, min=7),
    )
    assert {c.style.description_width for c in explorer.controls.values()} == {f"{len(long) + 1}ch"}
    assert {c.tooltip for c in explorer.controls.values()} == {long, "T"}


def test_all_kinds_of_controls_are_driven_through_their_range():
    assert settings(FloatSlider(min=0, max=1, step=0.4)) == [0, 0.4, 1]
    assert settings(IntSlider(min=1, max=6)) == [1, 3, 6]
    assert settings(FloatLogSlider(min=-2, max=2)) == [0.01, 1, 100]
    assert settings(Checkbox()) == [False, True]
    assert settings(Dropdown(options=[("a", 1), ("b", 2)])) == [1, 2]
    explorer = decay()
    explorer.controls["gain"].min = 0
    seen = list(drive(explorer))
    assert {values["length"] for values in seen} == {7, 12, 17, LENGTH}
    assert {values["gain"] for values in seen} == {0, 0.5, 1, 0.9}
    assert seen[-1] == {"gain": 0.9, "length": LENGTH}


def test_driving_notices_a_lesson_that_fails():
    with pytest.raises(AssertionError, match="gain must not be negative"):
        list(drive(decay()))


def test_the_example_in_the_docstring_works():
    lines = inspect.getdoc(Explorer).split("\n\n`compute")[0].splitlines()[2:]
    code = textwrap.dedent("\n".join(lines)).replace("\nExplorer(", "\nexplorer = Explorer(")
    names = {"np": np, "new_figure": new_figure, "FloatSlider": FloatSlider, "Explorer": Explorer}
    exec(code, names)
    assert len(list(drive(names["explorer"]))) == 6


# ----------------------------------------------------------------------------------------------- arguments
def build(**changes):
    figure, ax = new_figure(4, 3)
    arguments = {
        "compute": lambda **values: values,
        "update": lambda artists, trace: None,
        "figure": figure,
        "artists": ax.plot([0, 1]),
        "describe": str,
        "gain": FloatSlider(description="Gain"),
    }
    return Explorer(**(arguments | changes))


@pytest.mark.parametrize("name", ["compute", "update", "describe", "figure", "gain"])
def test_an_argument_of_the_wrong_type_is_named(name):
    with pytest.raises(TypeError, match=name):
        build(**{name: 3})


def test_a_control_needs_a_label():
    with pytest.raises(ValueError, match="gain must have a description"):
        build(gain=FloatSlider())


def test_there_must_be_a_control_and_an_artist():
    figure, ax = new_figure(4, 3)
    with pytest.raises(ValueError, match="controls must be given by name"):
        Explorer(lambda: 0, lambda artists, trace: None, figure=figure, artists=ax.plot([0, 1]), describe=str)
    with pytest.raises(ValueError, match="artists must hold"):
        build(artists=[])


def test_artists_of_another_figure_or_inside_another_artist_are_refused():
    figure, ax = new_figure(4, 3)
    with pytest.raises(ValueError, match="artists must be drawn by the figure"):
        build(artists=ax.plot([0, 1]))
    with pytest.raises(ValueError, match="artists must be drawn by the figure"):
        build(figure=figure, artists=ax.xaxis.label)


def test_a_pyplot_figure_is_refused_because_it_would_be_shown_twice():
    figure, ax = plt.subplots()
    try:
        with pytest.raises(ValueError, match="figure must be made outside pyplot"):
            build(figure=figure, artists=ax.plot([0, 1]))
    finally:
        plt.close(figure)
