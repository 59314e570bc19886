"""Explorers of chapter 02: the microscope on "hello", sampling, and the wirings of a recurrent network."""

from collections.abc import Mapping
from functools import partial

from ipywidgets import Dropdown, FloatSlider, IntSlider

from seqlib.figures import rnn as figures
from seqlib.figures.rnn import CharStep, Sampled, Wiring
from seqlib.figures.style import look, new_figure
from seqlib.rnn import CharRNN
from seqlib.vocab import Vocabulary
from seqlib.widgets.explorer import Explorer


def hello_explorer(
    model: CharRNN | Mapping[str, CharRNN], vocabulary: Vocabulary, text: str = "hello"
) -> Explorer:
    """Every tensor of each step in which a character model reads `text`.

    Controls: "Step", and "Model" where `model` is a mapping of several models by name, of the same size.
    Raises ValueError where the models differ in size or are too large to be shown number by number (more than
    10 units or tokens), and where `vocabulary` or `text` don't fit them.
    """
    models = {"model": model} if isinstance(model, CharRNN) else dict(model)
    if not models:
        raise ValueError("model must be a CharRNN or a mapping with at least one, got an empty mapping")
    sizes = {(m.h_to_y.out_features, m.cell.hidden_size) for m in models.values()}
    if len(sizes) > 1 or max(max(size) for size in sizes) > 10:
        raise ValueError(
            "model must have at most 10 tokens and 10 units, as many in all models, "
            f"got (V, H) = {', '.join(map(str, sorted(sizes)))}"
        )
    if len(text) > 14:
        raise ValueError(f"text must have at most 14 characters to fit in the picture, got {len(text)}")
    names = list(models)
    first = figures.char_step(models[names[0]], vocabulary, text, 1)
    figure, ax = new_figure(*figures.char_step_size(*sizes.pop()))
    with look():
        artists = figures.draw_char_step(ax, first)

    def compute(step: int, model: str = names[0]) -> CharStep:
        return figures.char_step(models[model], vocabulary, text, step)

    def describe(trace: CharStep) -> str:
        best, p = int(trace.p.argmax()), trace.p.tolist()
        return (
            f"Step {trace.t}: the model has read {trace.text[: trace.t]!r} and gives "
            f"{trace.text[trace.t]!r}, the next character, the probability {p[trace.target]:.2f}; "
            f"likeliest is {trace.tokens[best]!r} with {p[best]:.2f}. "
            f"Loss {float(trace.losses[-1]):.3f}, sum so far {float(trace.losses.sum()):.3f}. "
            f"New state: {', '.join(f'{h:z.2f}' for h in trace.h.tolist())}."
        )

    last = len(text) - 1
    controls = {"step": IntSlider(description="Step", value=last, min=1, max=last)}
    if len(models) > 1:
        controls["model"] = Dropdown(description="Model", options=names)
    return Explorer(
        compute, figures.update_char_step, figure=figure, artists=artists, describe=describe, **controls
    )


def sampling_explorer(
    model: CharRNN, vocabulary: Vocabulary, prompt: str, *, length: int = 200, shown: int = 15
) -> Explorer:
    """What temperature and top-k do to the next character's probabilities and to a sampled text.

    Controls: "Temperature", "Top-k", "Seed". The text has `length` new characters; the `shown` likeliest
    first ones have a bar of their own. Raises ValueError where the vocabulary, the prompt, the length or
    `shown` don't fit.
    """
    compute = partial(figures.sample_text, model, vocabulary, prompt, length=length)
    V = len(vocabulary)
    first = compute(temperature=1.0, top_k=V, seed=0)
    figure, (left, right) = new_figure(9.0, 4.2, ncols=2, width_ratios=(0.8, 1))
    with look():
        artists = (figures.draw_next_char(left, first, shown=shown), figures.draw_sampled_text(right))

    def update(artists: tuple, trace: Sampled) -> None:
        bars, text = artists
        figures.update_next_char(bars, trace)
        figures.update_sampled_text(text, trace)

    def describe(trace: Sampled) -> str:
        possible = int((trace.probabilities > 0).sum())
        best = trace.probabilities.topk(min(3, possible))
        named = ", ".join(
            f"{trace.tokens[int(k)]!r} {float(p):.2f}" for p, k in zip(best.values, best.indices, strict=True)
        )
        return (
            f"After {trace.prompt!r} {possible} of {len(trace.tokens)} characters are possible; "
            f"the likeliest: {named}. Sampled text: {trace.prompt + trace.text}"
        )

    return Explorer(
        compute,
        update,
        figure=figure,
        artists=artists,
        describe=describe,
        temperature=FloatSlider(description="Temperature", value=1.0, min=0.0, max=2.0, step=0.05),
        top_k=IntSlider(description="Top-k", value=V, min=1, max=V),
        seed=IntSlider(description="Seed", value=0, min=0, max=20),
    )


def wiring_explorer() -> Explorer:
    """What can be built from one recurrent cell by choosing where it reads and where it answers.

    Control: "Wiring".
    """
    wirings = {wiring.name: wiring for wiring in figures.WIRINGS}
    figure, ax = new_figure(8.8, 3.9)
    with look():
        artists = {name: figures.draw_wiring(ax, wiring) for name, wiring in wirings.items()}

    def update(artists: dict, trace: Wiring) -> None:
        for name, group in artists.items():
            for artist in group:
                artist.set_visible(name == trace.name)

    def describe(trace: Wiring) -> str:
        return (
            f"{trace.name}: {trace.steps} {'state' if trace.steps == 1 else 'states'}, "
            f"inputs at {_steps(trace.inputs)}, outputs at {_steps(trace.outputs)}. "
            f"{'A second network starts from the last state and reads GO first. ' if trace.summary else ''}"
            f"{'Each output is the next input. ' if trace.fed_back else ''}{trace.use}"
        )

    return Explorer(
        lambda wiring: wirings[wiring],
        update,
        figure=figure,
        artists=artists,
        describe=describe,
        wiring=Dropdown(description="Wiring", options=list(wirings), value=figures.WIRINGS[-1].name),
    )


def _steps(steps: frozenset[int]) -> str:
    return ("step " if len(steps) == 1 else "steps ") + ", ".join(map(str, sorted(steps)))
