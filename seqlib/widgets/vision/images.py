"""Explorers of chapter 09: what a class token looks at, and a picture that is drawn pixel by pixel."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from ipywidgets import Dropdown, FloatSlider, IntSlider, SelectionSlider
from torch import Tensor

from seqlib.data import Digits
from seqlib.figures.style import look, new_figure
from seqlib.figures.vision import images as figures
from seqlib.figures.vision.images import Drawn, PaintingView, PatchView, ReadDigits
from seqlib.painting import LEVELS, PIXELS, Painter, nearest, trace_painting
from seqlib.patches import VisionTransformer
from seqlib.scenes import CELL, DIGIT_WORDS
from seqlib.widgets.explorer import Explorer


def patch_explorer(
    models: Mapping[int, VisionTransformer],
    digits: Digits,
    *,
    patch_size: int = 2,
    head: int = 1,
    layer: int = 1,
    digit: int = 1,
) -> Explorer:
    """What the class token looks at in each head, along all ways (the roll-out), and what the model says.

    models: by patch size. Controls: "Patch size", "Head", "Layer", "Picture", which begin at the arguments;
    the last three are counted from 1. Raises ValueError for no models or digits, for models of another patch
    size than they are filed under or of different numbers of layers or heads, and for a beginning that isn't
    there.
    """
    reads = _patch_reads(models, digits)
    if patch_size not in reads:
        raise ValueError(f"patch_size must be among {', '.join(map(str, reads))}, got {patch_size}")
    layers, pictures, heads, _ = reads[patch_size].weights.shape
    place = {"left": 0.02, "right": 0.98, "bottom": 0.12, "top": 0.86, "wspace": 0.16}
    figure, axes = new_figure(10, 4.3, ncols=3, gridspec_kw=place)
    figure.set_layout_engine("none")
    with look():
        artists = figures.draw_patch_view(axes)
        figures.update_patch_view(
            artists, PatchView(reads[patch_size], digit, layer, head)
        )  # or a ValueError

    def describe(view: PatchView) -> str:
        size, said = view.read.patch_size, int(view.probabilities.argmax())
        return (
            f"Picture {view.digit} of {pictures}, labelled {view.label}, in {len(view.weights) - 1} patches "
            f"of {size} by {size} pixels. Layer {view.layer} of {layers}, head {view.head} of {heads}: the "
            f"class token looks at {_patch_most(view.weights)}. Along all ways (roll-out): "
            f"{_patch_most(view.rolled)}. The model says {said}, with probability "
            f"{view.probabilities[said]:.2f}, which is {'right' if said == view.label else 'wrong'}."
        )

    return Explorer(
        lambda patch_size, head, layer, digit: PatchView(reads[patch_size], digit, layer, head),
        figures.update_patch_view,
        figure=figure,
        artists=artists,
        describe=describe,
        patch_size=SelectionSlider(description="Patch size", options=list(reads), value=patch_size),
        head=IntSlider(description="Head", value=head, min=1, max=heads),
        layer=IntSlider(description="Layer", value=layer, min=1, max=layers),
        digit=IntSlider(description="Picture", value=digit, min=1, max=pictures),
    )


def _patch_reads(models: Mapping[int, VisionTransformer], digits: Digits) -> dict[int, ReadDigits]:
    """What each model makes of the pictures, by patch size, or a ValueError."""
    if not models:
        raise ValueError("models must hold at least one model, got none")
    if len(digits.images) == 0:
        raise ValueError("digits must hold at least one picture, got none")
    for size, model in models.items():
        if model.patch_size != size:
            raise ValueError(
                f"models must be filed under their patch size, got {model.patch_size} under {size}"
            )
    reads = {size: figures.read_digits(models[size], digits) for size in sorted(models)}
    sizes = {(read.weights.shape[0], read.weights.shape[2]) for read in reads.values()}
    if len(sizes) > 1:
        raise ValueError(f"models must have as many layers and heads as each other, got {sorted(sizes)}")
    return reads


def _patch_most(weights: Tensor) -> str:
    """The weight of the class token, and those of up to three patches with the largest ones."""
    best = weights[1:].topk(min(3, len(weights) - 1))
    found = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    patches = ", ".join(f"patch {k + 1} {weight:.2f}" for k, weight in found)
    return f"{patches}, itself {weights[0]:.2f}"


def image_sampling_explorer(
    model: Painter,
    among: Digits,
    *,
    judge: Callable[[Tensor], Any] | None = None,
    prompt: str = "seven",
    temperature: float | int = 1.0,
    seed: int = 0,
    pixels: int = 36,
) -> Explorer:
    """A picture drawn pixel by pixel: each pixel's probabilities, at the end the nearest training picture.

    `among` are the training pictures. `judge` gives the digit that it reads in a (1, 64) tensor of grey
    values, as scikit-learn's classifiers do by their `predict`. Controls: "Prompt", "Temperature", "Seed",
    "Pixels" (so many have been drawn), which begin at the arguments. Raises ValueError for no training
    pictures and for a beginning that isn't there.
    """
    if len(among.images) == 0:
        raise ValueError("among must hold at least one picture, got none")
    if prompt not in DIGIT_WORDS:
        raise ValueError(f"prompt must be among {', '.join(DIGIT_WORDS)}, got {prompt!r}")
    for name, number, low, high in (
        ("temperature", temperature, 0.1, 2),
        ("seed", seed, 0, 20),
        ("pixels", pixels, 0, PIXELS),
    ):
        if not low <= number <= high:
            raise ValueError(f"{name} must lie in {low}..{high}, got {number}")

    @lru_cache(maxsize=100)  # while only the pixels move
    def drawn(word: str, temperature: float, seed: int) -> Drawn:
        generator = torch.Generator().manual_seed(seed)
        painting = trace_painting(model, word, temperature=temperature, generator=generator)
        picture = painting.levels.view(1, CELL, CELL) / (LEVELS - 1)
        found = nearest(picture, among.images)
        k = int(found.number)
        read_as = None if judge is None else int(torch.as_tensor(judge(picture.flatten(1))))
        return Drawn(
            word,
            temperature,
            seed,
            painting,
            among.images[k],
            int(among.labels[k]),
            float(found.distance),
            read_as,
        )

    place = {"left": 0.02, "right": 0.98, "bottom": 0.16, "top": 0.81, "wspace": 0.22}
    figure, axes = new_figure(10, 3.9, ncols=3, gridspec_kw=place, width_ratios=[1, 1.3, 1])
    figure.set_layout_engine("none")
    with look():
        artists = figures.draw_painting(axes)

    def describe(view: PaintingView) -> str:
        it = view.drawn
        begin = (
            f"Prompt {it.word}, temperature {it.temperature:.1f}, seed {it.seed}: {view.pixels} of {PIXELS} "
            "pixels are drawn. "
        )
        if view.complete:
            judged = "" if it.read_as is None else f" The judge reads what is drawn as {it.read_as}."
            return (
                f"{begin}The nearest training picture is labelled {it.label}, at a distance of "
                f"{it.distance:.2f}.{judged}"
            )
        row, column = divmod(view.pixels, CELL)
        best = view.next_probabilities.topk(3)
        likeliest = ", ".join(
            f"{level} {p:.2f}" for level, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        )
        return (
            f"{begin}The next is in row {row + 1}, column {column + 1}. Likeliest grey levels, from 0 "
            f"(paper) to 16 (ink): {likeliest}. Drawn is {view.next_level}."
        )

    return Explorer(
        lambda prompt, temperature, seed, pixels: PaintingView(drawn(prompt, temperature, seed), pixels),
        figures.update_painting,
        figure=figure,
        artists=artists,
        describe=describe,
        prompt=Dropdown(description="Prompt", options=DIGIT_WORDS, value=prompt),
        temperature=FloatSlider(
            description="Temperature", value=temperature, min=0.1, max=2, step=0.1, readout_format=".1f"
        ),
        seed=IntSlider(description="Seed", value=seed, min=0, max=20),
        pixels=IntSlider(description="Pixels", value=pixels, min=0, max=PIXELS),
    )
