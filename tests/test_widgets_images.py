import html
import re
from functools import cache

import numpy as np
import pytest
import torch
from drive import drive, opened, settings

from seqlib.data import Digits
from seqlib.painting import Painter, nearest, paint, trace_painting
from seqlib.patches import VisionTransformer, roll_out
from seqlib.scenes import DIGIT_WORDS
from seqlib.widgets.vision.images import image_sampling_explorer, patch_explorer

LAYERS, HEADS = 2, 3


def some_digits(number):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(17, (number, 8, 8), generator=generator) / 16
    return Digits(images, torch.randint(10, (number,), generator=generator))


@cache
def models():
    """Untrained models of unlike patches, not in order."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        options = {"model_size": 15, "num_heads": HEADS, "num_layers": LAYERS}
        found = {size: VisionTransformer(patch_size=size, **options) for size in (4, 1, 2)}
        for model in found.values():
            model.x_to_digit.weight.data *= 10
        return found


@cache
def painter():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Painter(model_size=6, num_heads=3, num_layers=1)


def looks_explorer(**options):
    begin = {"patch_size": 2, "head": 3, "layer": 2, "digit": 4}
    return patch_explorer(models(), some_digits(7), **(begin | options))


def one_model_explorer():
    return patch_explorer({2: models()[2]}, some_digits(5))


def dark(picture):
    """A judge of the share of ink, in the form that scikit-learn's answers have."""
    assert picture.shape == (1, 64)
    return np.array([int(10 * picture.mean())])


def paints_explorer(**options):
    begin = {"judge": dark, "prompt": "three", "temperature": 0.7, "seed": 5, "pixels": 29}
    return image_sampling_explorer(painter(), some_digits(13), **(begin | options))


def unjudged_explorer():
    return image_sampling_explorer(painter(), some_digits(13))


def alternative(explorer):
    """The picture in words, as a screen reader finds it."""
    return html.unescape(re.search('role="img" aria-label="([^"]*)"', explorer.overlay.value)[1])


@pytest.mark.parametrize(("make", "pictures"), [(looks_explorer, 9), (paints_explorer, 16)])
def test_every_control_works_at_its_minimum_middle_and_maximum(make, pictures):
    explorer = opened(make)
    assert len({alternative(explorer) for _ in drive(explorer)}) >= pictures


@pytest.mark.parametrize(
    ("make", "labels"),
    [
        (looks_explorer, ["Patch size", "Head", "Layer", "Picture"]),
        (one_model_explorer, ["Patch size", "Head", "Layer", "Picture"]),
        (paints_explorer, ["Prompt", "Temperature", "Seed", "Pixels"]),
    ],
)
def test_controls_have_the_labels_by_which_learners_find_them(make, labels):
    assert [control.description for control in opened(make).controls.values()] == labels


@pytest.mark.parametrize(
    ("make", "moves"),
    [
        (looks_explorer, {"patch_size": 1, "head": 1, "layer": 1, "digit": 7}),
        (
            paints_explorer,
            {"pixels": 30, "temperature": 1.3, "seed": 6, "prompt": "nine"},
        ),
        (paints_explorer, {"pixels": 64}),
    ],
)
def test_what_does_not_move_is_not_drawn_again(make, moves, monkeypatch):
    explorer, drawings = opened(make), []
    background, shown = explorer.background.value, explorer.overlay.value
    monkeypatch.setattr(explorer, "_draw_still", lambda: drawings.append("again"))
    for name, value in moves.items():
        explorer.controls[name].value = value
        assert explorer.overlay.value != shown
        shown = explorer.overlay.value
    assert explorer.error == "" and not drawings and explorer.background.value == background


# --------------------------------------------------------------------------- what a class token looks at


def test_weights_roll_out_and_probabilities_are_the_models_own():
    explorer, digits = opened(looks_explorer), some_digits(7)
    assert explorer.values == {"patch_size": 2, "head": 3, "layer": 2, "digit": 4}
    assert settings(explorer.controls["patch_size"]) == [1, 2, 4]
    for name, last in (("head", HEADS), ("layer", LAYERS), ("digit", 7)):
        assert settings(explorer.controls[name])[::2] == [1, last]
    for size, head, layer, digit in ((1, 2, 1, 7), (4, 1, 2, 1), (2, 3, 2, 4)):
        for name, value in {"patch_size": size, "head": head, "layer": layer, "digit": digit}.items():
            explorer.controls[name].value = value
        with torch.no_grad():
            out = models()[size](digits.images[digit - 1 : digit])
        weights, rolled = out.weights[layer - 1][0, head - 1, 0], roll_out(out.weights)[0, 0]
        p = out.logits[0].softmax(-1)
        torch.testing.assert_close(explorer.trace.weights, weights, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(explorer.trace.rolled, rolled, rtol=1e-4, atol=1e-6)
        widths = [bar.get_width() for bar in explorer.artists.bars]
        assert widths == pytest.approx(p.tolist(), abs=1e-5)
        text, label = alternative(explorer), int(digits.labels[digit - 1])
        patches = (8 // size) ** 2
        assert text.startswith(
            f"Picture {digit} of 7, labelled {label}, in {patches} patches of {size} by {size} pixels. "
            f"Layer {layer} of {LAYERS}, head {head} of {HEADS}: the class token looks at patch "
        )
        most = int(weights[1:].argmax())
        assert f"patch {most + 1} {weights[most + 1]:.2f}" in text and f"itself {weights[0]:.2f}" in text
        assert f"Along all ways (roll-out): patch {int(rolled[1:].argmax()) + 1} " in text
        said = int(p.argmax())
        verdict = "right" if said == label else "wrong"
        assert text.endswith(f"The model says {said}, with probability {p[said]:.2f}, which is {verdict}.")


def test_models_and_pictures_that_do_not_fit_are_refused(learner):
    few = VisionTransformer(patch_size=4, model_size=15, num_heads=5, num_layers=1)
    for wrong, digits, match in (
        ({}, some_digits(3), "models must hold at least one model, got none"),
        (models(), some_digits(0), "digits must hold at least one picture, got none"),
        ({8: models()[2]}, some_digits(3), "models must be filed under their patch size, got 2 under 8"),
        (models() | {4: few}, some_digits(3), r"as many layers and heads as each other, got \[\(1, 5\), "),
    ):
        with pytest.raises(ValueError, match=match):
            patch_explorer(wrong, digits)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"patch_size": 8}, "be among 1, 2, 4"),
        ({"head": 4}, "lie in 1..3"),
        ({"layer": 0}, "lie in 1..2"),
        ({"digit": 8}, "lie in 1..7"),
    ],
)
def test_a_beginning_that_is_not_there_is_refused(wrong, expected):
    [(name, value)] = wrong.items()
    with pytest.raises(ValueError, match=f"{name} must {re.escape(expected)}, got {value}"):
        looks_explorer(**wrong)


# --------------------------------------------------------------------------- a picture, pixel by pixel


def test_the_picture_is_the_one_that_the_model_paints_with_this_seed():
    explorer = opened(paints_explorer)
    assert explorer.values == {"prompt": "three", "temperature": 0.7, "seed": 5, "pixels": 29}
    explorer.controls["pixels"].value = 64
    for word, temperature, seed in (("three", 0.7, 5), ("eight", 1.6, 20)):
        for name, value in {"prompt": word, "temperature": temperature, "seed": seed}.items():
            explorer.controls[name].value = value
        generator = torch.Generator().manual_seed(seed)
        picture = paint(painter(), [word], temperature=temperature, generator=generator)
        np.testing.assert_array_equal(explorer.artists.cells.get_array(), picture[0])
        among = some_digits(13)
        found = nearest(picture, among.images)
        k = int(found.number)
        np.testing.assert_array_equal(explorer.artists.neighbour.get_array(), among.images[k])
        assert alternative(explorer) == (
            f"Prompt {word}, temperature {temperature}, seed {seed}: 64 of 64 pixels are drawn. The nearest "
            f"training picture is labelled {among.labels[k]}, at a distance of {float(found.distance):.2f}. "
            f"The judge reads what is drawn as {int(10 * picture.mean())}."
        )


def test_each_step_has_the_probabilities_from_which_the_next_pixel_is_drawn():
    explorer = opened(paints_explorer)
    generator = torch.Generator().manual_seed(5)
    trace = trace_painting(painter(), "three", temperature=0.7, generator=generator)
    for pixels in (0, 29, 63):
        explorer.controls["pixels"].value = pixels
        p = trace.probabilities[pixels]
        assert [bar.get_height() for bar in explorer.artists.bars] == pytest.approx(p.tolist())
        best, row = int(p.argmax()), pixels // 8
        text = alternative(explorer)
        assert (
            f"{pixels} of 64 pixels are drawn. The next is in row {row + 1}, column {pixels % 8 + 1}." in text
        )
        assert f"from 0 (paper) to 16 (ink): {best} {p[best]:.2f}, " in text
        assert text.endswith(f"Drawn is {trace.levels[pixels]}.")
        assert "nearest" not in text and "judge" not in text


def test_while_only_the_pixels_move_nothing_is_painted_again(monkeypatch):
    explorer, painted = opened(paints_explorer), []
    explorer.controls["seed"].value = 7
    monkeypatch.setattr(
        "seqlib.widgets.vision.images.trace_painting",
        lambda *a, **k: painted.append(k) or trace_painting(*a, **k),
    )
    for pixels in range(30, 34):
        explorer.controls["pixels"].value = pixels
    assert not painted
    explorer.controls["seed"].value = 8
    assert len(painted) == 1 and explorer.error == ""


def test_prompts_are_the_ten_words():
    assert settings(opened(paints_explorer).controls["prompt"]) == [*DIGIT_WORDS]
    for name, low, high in (("temperature", 0.1, 2), ("seed", 0, 20), ("pixels", 0, 64)):
        assert settings(opened(paints_explorer).controls[name])[::2] == [low, high]


def test_without_a_judge_nobody_is_quoted():
    explorer = opened(unjudged_explorer)
    assert explorer.values == {"prompt": "seven", "temperature": 1.0, "seed": 0, "pixels": 36}
    explorer.controls["pixels"].value = 64
    assert "judge" not in alternative(explorer) and explorer.artists.notes[2].get_text() == ""


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    paints_explorer(seed=1).controls["seed"].value = 2
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"prompt": "ten"}, "be among zero, one, .*, nine, got 'ten'"),
        ({"temperature": 2.1}, r"lie in 0\.1\.\.2, got 2\.1"),
        ({"seed": 21}, r"lie in 0\.\.20, got 21"),
        ({"pixels": 65}, r"lie in 0\.\.64, got 65"),
    ],
)
def test_a_first_picture_that_is_not_there_is_refused(wrong, expected):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must {expected}"):
        paints_explorer(**wrong)


def test_a_training_set_without_pictures_is_refused():
    with pytest.raises(ValueError, match="among must hold at least one picture, got none"):
        image_sampling_explorer(painter(), some_digits(0))
