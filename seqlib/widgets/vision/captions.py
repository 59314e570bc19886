"""Explorers of chapter 08: where a captioner looks for each word, and answers to questions about scenes."""

import torch
from ipywidgets import Dropdown, IntSlider

from seqlib.figures.style import look, new_figure
from seqlib.figures.vision import captions as figures
from seqlib.figures.vision.captions import CaptionView, QuestionView
from seqlib.pairs import PAD
from seqlib.scenes import (
    ANSWERS,
    CAPTION_WORDS,
    COLUMNS,
    DIGIT_WORDS,
    NOTHING,
    QUESTION_WORDS,
    RELATIONS,
    ROWS,
    SIDE,
    Scenes,
    captions,
    described_cells,
    question,
)
from seqlib.vision import Captioner, QuestionAnswerer, cell_weights, describe
from seqlib.widgets.explorer import Explorer


def _cell_name(cell: int) -> str:
    """A cell in the words of captions."""
    return f"{ROWS[cell // SIDE]} {COLUMNS[cell % SIDE]}"


def _check_scene(scenes: Scenes, scene: int) -> None:
    if not 1 <= scene <= len(scenes.images):
        raise ValueError(f"scene must lie in 1..{len(scenes.images)}, got {scene}")


# ----------------------------------------------------------------------------------------- captions


def caption_explorer(model: Captioner, scenes: Scenes, *, scene: int = 1, word: int = 1) -> Explorer:
    """Where a captioner looks for each word that it says of a scene, and the cell that it should describe.

    Controls: "Scene", "Word"; both count from 1. Beyond the end of a short caption its last word stays. The
    captions are greedy (`seqlib.vision.describe`), of a model in eval mode. Raises ValueError for a captioner
    that doesn't attend, and for a scene or word that isn't there.
    """
    if not model.attends:
        raise ValueError("model must attend to the picture, got a captioner with attends=False")
    _check_scene(scenes, scene)
    true, cells = captions(scenes.cells), described_cells(scenes.cells)
    lengths = (true != PAD).sum(1).tolist()
    views = [
        CaptionView(image, describe(model, image), CAPTION_WORDS.decode(words[:T]), where[:T].tolist(), 1)
        for image, words, where, T in zip(scenes.images, true, cells, lengths, strict=True)
    ]
    longest = max(len(view.said.words) for view in views)
    if not 1 <= word <= longest:
        raise ValueError(f"word must lie in 1..{longest}, got {word}")
    room = max(longest, *lengths)
    figure, axes = new_figure(*figures.CAPTION_SIZE, ncols=3)
    figure.set_layout_engine("none")
    with look():
        artists = figures.draw_caption(axes, words=room)

    def describe_picture(view: CaptionView) -> str:
        said, T = view.said.words, len(view.said.words)
        true = (
            "This is the true caption."
            if said == view.true
            else f"The true caption is: {' '.join(view.true)}."
        )
        after = f"Word {view.word} would be after its end, so its last word stays. " if view.word > T else ""
        looked = cell_weights(view.weights)
        best = int(looked.argmax())
        about = "There is no cell that this word is known to be about."
        if view.cell is not None:
            share = f"with {view.share:.2f} of the weight"
            about = f"The cell to be described now is {_cell_name(view.cell)}, {share}."
        return (
            f"The captioner says: {' '.join(said)}. {true} {after}Word {view.place} of {T} is "
            f"{said[view.place - 1]}. The cell that it looks at most is {_cell_name(best)}, with "
            f"{looked[best]:.2f} of the weight. {about}"
        )

    return Explorer(
        lambda scene, word: views[scene - 1]._replace(word=word),
        figures.update_caption,
        figure=figure,
        artists=artists,
        describe=describe_picture,
        scene=IntSlider(description="Scene", value=scene, min=1, max=len(views)),
        word=IntSlider(description="Word", value=word, min=1, max=longest),
    )


# ---------------------------------------------------------------------------------------- questions


def question_explorer(
    model: QuestionAnswerer,
    scenes: Scenes,
    *,
    scene: int = 1,
    relation: str = "left of",
    digit: int | None = None,
    layer: int = 1,
) -> Explorer:
    """What a network answers to questions about scenes, and which cells the question attends to.

    Controls: "Scene" and "Layer", which count from 1, "Relation", and "Digit". `digit` begins with the first
    one of the scene that has a neighbour there, if it isn't given. Raises ValueError for a scene, relation,
    digit or layer that isn't there.
    """
    _check_scene(scenes, scene)
    if not 1 <= layer <= len(model.layers):
        raise ValueError(f"layer must lie in 1..{len(model.layers)}, got {layer}")
    cells = scenes.cells.tolist()

    @torch.no_grad()
    def answered(scene: int, relation: str, digit: int, layer: int) -> QuestionView:
        tokens = QUESTION_WORDS.encode(question(relation, digit).split())
        answer = model(scenes.images[scene - 1 : scene], tokens[None])
        return QuestionView(scenes.images[scene - 1], cells[scene - 1], relation, digit, layer, answer)

    if digit is None:
        views = [answered(scene, relation, d, layer) for d in cells[scene - 1] if d >= 0]
        digit = next((view.digit for view in views if view.right not in (None, NOTHING)), 0)
    answered(scene, relation, digit, layer)  # or a ValueError
    place = {"left": 0.02, "right": 0.99, "bottom": 0.13, "top": 0.92, "wspace": 0.3}
    figure, axes = new_figure(10, 4.6, ncols=2, gridspec_kw=place | {"width_ratios": [3.64, 4.8]})
    figure.set_layout_engine("none")
    with look():
        artists = figures.draw_question(axes)

    def describe_picture(view: QuestionView) -> str:
        best, p = int(view.probabilities.argmax()), float(view.probabilities.max())
        name, there = DIGIT_WORDS[view.digit], len(view.asked)
        if view.right is not None:
            right = f"The right answer is {ANSWERS[view.right]}."
        elif there:
            right = f"The {name} is here {there} times, so there is no one right answer."
        else:
            right = f"There is no {name} here, so there is no right answer."
        seen = ", ".join(f"{_cell_name(k)} {DIGIT_WORDS[d]}" for k, d in enumerate(view.cells) if d >= 0)
        itself, looked = float(view.weights[0]), view.weights[1:]
        most = ", ".join(f"{_cell_name(int(k))} {float(looked[k]):.2f}" for k in looked.topk(3).indices)
        return (
            f"The scene: {seen}. The question: {question(view.relation, view.digit)}? The network says "
            f"{ANSWERS[best]} with probability {p:.2f}. {right} In layer {view.layer} of "
            f"{len(view.answer.weights)} the question attends most to these cells: {most}; to itself: "
            f"{itself:.2f}."
        )

    return Explorer(
        answered,
        figures.update_question,
        figure=figure,
        artists=artists,
        describe=describe_picture,
        scene=IntSlider(description="Scene", value=scene, min=1, max=len(cells)),
        relation=Dropdown(description="Relation", options=list(RELATIONS), value=relation),
        digit=IntSlider(description="Digit", value=digit, min=0, max=9),
        layer=IntSlider(description="Layer", value=layer, min=1, max=len(model.layers)),
    )
