import re
from functools import cache

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.text import Text

from seqlib.data import Digits
from seqlib.figures.style import look, new_figure
from seqlib.figures.vision.images import (
    Drawn,
    PaintingView,
    PatchView,
    draw_painting,
    draw_patch_view,
    plot_class_attention,
    plot_gallery,
    plot_patches,
    read_digits,
    update_painting,
    update_patch_view,
)
from seqlib.painting import Painting
from seqlib.patches import VisionTransformer, patchify, roll_out

matplotlib.use("agg")

CUTS = {1: 64, 2: 16, 4: 4, 8: 1}  # size of a patch: number of patches


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def pictures(number, seed=0):
    return torch.rand(number, 8, 8, generator=torch.Generator().manual_seed(seed))


def some_weights(number, seed=0):
    return (2 * torch.randn(number, generator=torch.Generator().manual_seed(seed))).softmax(-1)


def texts(figure):
    found = figure.findobj(lambda part: isinstance(part, Text) and part.get_text().strip())
    return [text for text in found if text.get_visible()]


def check_texts(figure):
    """They are large enough and on the page."""
    figure.draw_without_rendering()  # nor is there a warning of a letter that is missing
    for text in texts(figure):
        box = text.get_window_extent()
        assert text.get_fontsize() >= 10, text
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1, text
        assert box.y0 >= 0 and box.y1 <= figure.bbox.y1, text


def three_axes():
    place = {"left": 0.02, "right": 0.98, "bottom": 0.16, "top": 0.82, "wspace": 0.2}
    figure, axes = new_figure(10, 4, ncols=3, gridspec_kw=place)
    figure.set_layout_engine("none")
    return axes


# ------------------------------------------------------------------------------- a picture as patches


@pytest.mark.parametrize(("size", "number"), CUTS.items())
def test_the_sequence_is_the_class_token_and_the_numbered_patches_row_by_row(size, number):
    [image] = pictures(1)
    with look():
        ax = plot_patches(image, size)
        check_texts(ax.figure)
    whole, *patches = ax.images
    np.testing.assert_array_equal(whole.get_array(), image)
    expected = patchify(image[None], size)[0]
    assert len(patches) == number
    for patch, values in zip(patches, expected, strict=True):
        np.testing.assert_array_equal(patch.get_array().ravel(), values)
    labels = [text.get_text() for text in ax.texts if text.get_text()]
    assert labels == ["class", *(str(k + 1) for k in range(number))]
    places = [(patch.get_extent()[3], patch.get_extent()[0]) for patch in patches]
    assert places == sorted(places) and places[0][1] > 2.5  # read like a text, right of the class token
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text()]
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])


def test_cuts_lie_between_patches():
    [image] = pictures(1)
    [cuts] = plot_patches(image, 4).lines
    x, y = cuts.get_data()
    assert {*x[~np.isnan(x)]} == {0, 1, 2} and np.unique(y[~np.isnan(y)]) == pytest.approx([0, 1, 2], abs=0.3)
    assert np.isnan(x).sum() == 6  # three lines across, three down


def test_patches_that_do_not_fill_the_picture_are_refused():
    with pytest.raises(ValueError, match="size must divide the picture's sides 8 and 8, got 3"):
        plot_patches(torch.zeros(8, 8), 3)


# ------------------------------------------------------------------------- where the class token looks


@pytest.mark.parametrize(("size", "number"), CUTS.items())
def test_the_more_a_patch_is_looked_at_the_redder_are_its_pixels(size, number):
    weights = some_weights(1 + number, seed=3)
    with look():
        ax = plot_class_attention(torch.ones(8, 8), weights, title="layer 3, head 1")
        check_texts(ax.figure)
    colours = ax.images[0].get_array()
    assert colours.shape == (8, 8, 3)
    red = patchify(torch.tensor(colours[..., 0] - colours[..., 2])[None], size)[0]  # of each patch's pixels
    assert (red == red[:, :1]).all()
    order = weights[1:].argsort()
    assert (red[order, 0].diff() > 0).all() and red.max() > 0.5
    [frame] = ax.patches
    row, column = divmod(int(weights[1:].argmax()), 8 // size)
    assert frame.get_bbox().bounds == (column * size, row * size, size, size)
    told = [text.get_text() for text in ax.texts]
    assert told == [f"{weights[1:].max():.2f}", "framed patch", f"{weights[0]:.2f}", "class token itself"]
    assert ax.get_title("left") == "layer 3, head 1"


def test_the_digit_stays_to_be_seen_under_the_map():
    [image] = pictures(1)
    ax = plot_class_attention(image, torch.full((5,), 0.2, requires_grad=True))
    lightness = ax.images[0].get_array().mean(-1)
    assert np.corrcoef(lightness.ravel(), image.ravel())[0, 1] < -0.999
    assert np.ptp(lightness) > 0.2


def test_a_class_token_that_looks_only_at_itself_leaves_the_picture_as_it_is():
    [image] = pictures(1)
    ax = plt.subplots()[1]
    assert plot_class_attention(image, torch.eye(17)[0], ax=ax) is ax
    for channel in np.moveaxis(ax.images[0].get_array(), -1, 0):
        np.testing.assert_allclose(channel, 1 - image, atol=1e-6)
    assert [text.get_text() for text in ax.texts] == ["0.00", "framed patch", "1.00", "class token itself"]


def test_maps_side_by_side_keep_their_texts_apart():
    with look():
        figure, axes = plt.subplots(2, 4, figsize=(10, 6), layout="constrained")
        for ax in axes.flat:
            plot_class_attention(torch.zeros(8, 8), some_weights(17), title="layer 1, head 1", ax=ax)
        check_texts(figure)
    boxes = [text.get_window_extent() for text in texts(figure)]
    assert len(boxes) == 40 and not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])


@pytest.mark.parametrize("number", [0, 1, 4, 10])
def test_weights_that_are_not_of_a_class_token_and_a_square_of_patches_are_refused(number):
    match = f"weights must be one for the class token and .*, got {number} for a picture of 8 x 8"
    with pytest.raises(ValueError, match=match):
        plot_class_attention(torch.zeros(8, 8), torch.ones(number))


@cache
def read():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = VisionTransformer(patch_size=2, model_size=15, num_heads=3, num_layers=2)
        model.x_to_digit.weight.data *= 10
    digits = Digits(pictures(5), torch.tensor([3, 1, 4, 1, 5]))
    return read_digits(model, digits), model(digits.images)


@cache
def patch_artists():
    with look():
        return draw_patch_view(three_axes())


def test_what_is_read_is_the_models_own_forward_pass():
    found, out = read()
    torch.testing.assert_close(found.probabilities, out.logits.softmax(-1))
    torch.testing.assert_close(found.weights, torch.stack([layer[:, :, 0] for layer in out.weights]))
    torch.testing.assert_close(found.rolled, roll_out(out.weights)[:, 0])
    assert found.patch_size == 2 and not found.rolled.requires_grad


@pytest.mark.parametrize(("digit", "layer", "head"), [(1, 1, 1), (5, 2, 3), (3, 2, 1)])
def test_the_view_shows_one_head_the_roll_out_and_what_the_model_says(digit, layer, head):
    found, out = read()
    artists, view = patch_artists(), PatchView(found, digit, layer, head)
    with look():
        update_patch_view(artists, view)
        check_texts(artists.answer.figure)
    for part, weights in (
        (artists.head, out.weights[layer - 1][digit - 1, head - 1, 0]),
        (artists.rolled, roll_out(out.weights)[digit - 1, 0]),
    ):
        alone = plot_class_attention(view.image, weights)
        np.testing.assert_allclose(part.cells.get_array(), alone.images[0].get_array(), atol=1e-6)
        told = [number.get_text() for number in part.numbers]
        assert told == [text.get_text() for text in alone.texts][::2]
    p = out.logits[digit - 1].softmax(-1)
    assert [bar.get_width() for bar in artists.bars] == pytest.approx(p.tolist())
    for k, number in enumerate(artists.numbers):
        told = [f"{p[k]:.2f}"] * bool(p[k] >= 0.005) + ["label"] * (k == view.label)
        assert number.get_text() == ", ".join(told)
    said = int(p.argmax())
    assert artists.answer.get_text() == f"The model: {said} ({p[said]:.2f}); the label: {view.label}"
    assert artists.title.get_text() == f"Layer {layer}, head {head}; patches of 2 by 2"


def test_the_right_digits_bar_is_the_one_that_stands_out():
    found, _ = read()
    for digit, label in enumerate([3, 1, 4, 1, 5], start=1):
        update_patch_view(patch_artists(), PatchView(found, digit, 1, 1))
        colours = [bar.get_facecolor() for bar in patch_artists().bars]
        assert [colours.count(colour) for colour in colours] == [1 if k == label else 9 for k in range(10)]


@pytest.mark.parametrize(
    ("name", "value", "last"), [("digit", 0, 5), ("digit", 6, 5), ("layer", 3, 2), ("head", 4, 3)]
)
def test_a_digit_layer_or_head_that_is_not_there_is_refused(name, value, last):
    view = PatchView(read()[0], 1, 1, 1)._replace(**{name: value})
    with pytest.raises(ValueError, match=rf"{name} must lie in 1\.\.{last}, got {value}"):
        update_patch_view(patch_artists(), view)


# -------------------------------------------------------------------------- a picture, pixel by pixel


@cache
def drawn():
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(17, (64,), generator=generator)
    probabilities = (2 * torch.randn(64, 17, generator=generator)).softmax(-1)
    painting = Painting(levels, probabilities, torch.zeros(3, 64, 64))
    return Drawn("seven", 0.7, 11, painting, pictures(1, seed=7)[0], 2, 1.234, 5)


@cache
def painting_artists():
    with look():
        return draw_painting(three_axes())


@pytest.mark.parametrize("pixels", [0, 1, 29, 63])
def test_pixels_to_come_are_blank_and_the_next_one_is_framed_with_its_probabilities(pixels):
    artists, painting = painting_artists(), drawn().painting
    with look():
        update_painting(artists, PaintingView(drawn(), pixels))
        check_texts(artists.headline.figure)
    shown = np.ma.filled(artists.cells.get_array(), np.nan).ravel()
    np.testing.assert_allclose(shown[:pixels], painting.levels[:pixels] / 16)
    assert np.isnan(shown[pixels:]).all()
    assert artists.frame.get_visible()
    assert artists.frame.get_bbox().bounds == (pixels % 8, pixels // 8, 1, 1)
    p, level = painting.probabilities[pixels], int(painting.levels[pixels])
    assert [bar.get_height() for bar in artists.bars] == pytest.approx(p.tolist())
    assert artists.chosen.get_xdata() == [level] and artists.chosen.get_ydata()[0] > p[level]
    assert artists.headline.get_text() == f"“seven” at temperature 0.7, seed 11: {pixels} of 64 pixels"
    told = [note.get_text() for note in artists.notes]
    assert told == [f"Next pixel: level {level} is drawn (▼, p = {p[level]:.2f})", "", ""]
    assert artists.neighbour.get_array().mask.all()  # nothing is told before its time
    assert artists.waiting.get_text() == "when it is\ncomplete"


def test_the_complete_picture_has_its_neighbour_and_the_judges_word():
    artists = painting_artists()
    with look():
        update_painting(artists, PaintingView(drawn(), 64))
        check_texts(artists.headline.figure)
    np.testing.assert_allclose(artists.cells.get_array().ravel(), drawn().painting.levels / 16)
    np.testing.assert_array_equal(artists.neighbour.get_array(), drawn().neighbour)
    told = [note.get_text() for note in artists.notes]
    assert told == ["The picture is complete", "labelled 2, at a distance of 1.23", "the judge reads: 5"]
    assert artists.waiting.get_text() == "" and not artists.frame.get_visible()
    assert not len(artists.chosen.get_xdata()) and not any(bar.get_height() for bar in artists.bars)
    update_painting(artists, PaintingView(drawn()._replace(read_as=None), 64))
    assert artists.notes[2].get_text() == ""


def test_bars_have_their_grey_levels():
    colours = np.array([bar.get_facecolor()[:3] for bar in painting_artists().bars])
    np.testing.assert_allclose(colours, 1 - np.arange(17)[:, None].repeat(3, 1) / 16)


def test_what_is_to_come_differs_from_every_grey_level():
    axes = painting_artists().cells.axes
    [unseen] = [part for part in axes.patches if part is not painting_artists().frame]
    red, green, blue, _ = unseen.get_facecolor()
    assert red < green < blue and unseen.get_bbox().bounds == (0, 0, 8, 8)


@pytest.mark.parametrize("pixels", [-1, 65])
def test_a_number_of_pixels_that_is_not_there_is_refused(pixels):
    with pytest.raises(ValueError, match=rf"pixels must lie in 0\.\.64, got {pixels}"):
        update_painting(painting_artists(), PaintingView(drawn(), pixels))


@pytest.mark.parametrize(("number", "titles"), [(1, None), (3, ["two", 3, "five"]), (10, None)])
def test_below_each_drawn_picture_is_its_neighbour_with_the_distance(number, titles):
    images, neighbours = pictures(number), pictures(number, seed=1)
    with look():
        axes = plot_gallery(images, neighbours, titles)
        check_texts(axes[0].figure)
    for k, (upper, lower) in enumerate(zip(axes[:number], axes[number:], strict=True)):
        np.testing.assert_array_equal(upper.images[0].get_array(), images[k])
        np.testing.assert_array_equal(lower.images[0].get_array(), neighbours[k])
        distance = np.sqrt(((images[k] - neighbours[k]).numpy() ** 2).sum())
        assert float(lower.get_xlabel()) == pytest.approx(distance, abs=0.006)
        assert upper.get_title() == ("" if titles is None else str(titles[k]))
        assert upper.get_position().y0 > lower.get_position().y1
    labels = [axes[0].get_ylabel(), axes[number].get_ylabel().replace("\n", " ")]
    assert labels == ["drawn", "nearest in the training set, distance"]


def test_pictures_that_cannot_be_compared_are_refused(learner):
    for images, neighbours, titles, match in (
        (torch.zeros(0, 8, 8), torch.zeros(0, 8, 8), None, "images must hold at least one picture, got none"),
        (
            torch.zeros(3, 8, 8),
            torch.zeros(2, 8, 8),
            None,
            re.escape("neighbours must have the shape of images, (3, 8, 8), got (2, 8, 8)"),
        ),
        (torch.zeros(3, 8, 8), torch.zeros(3, 8, 8), ["a"], "titles must be as many as the 3 images, got 1"),
    ):
        with pytest.raises(ValueError, match=match):
            plot_gallery(images, neighbours, titles)
