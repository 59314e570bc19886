import pytest
import torch
from drive import opened
from ipywidgets import Dropdown

from seqlib.figures.rnn import WIRINGS, char_step
from seqlib.rnn import CharRNN
from seqlib.vocab import Vocabulary
from seqlib.widgets.rnn import hello_explorer, sampling_explorer, wiring_explorer

HELLO = Vocabulary("hello")
TALE = Vocabulary("The fox said that the crow, who is vain, sings best.\n")


def model_of(vocabulary, hidden_size=5, *, seed=0):
    torch.manual_seed(seed)
    return CharRNN(len(vocabulary), hidden_size)


EXPLORERS = {
    "hello": lambda: hello_explorer(model_of(HELLO), HELLO),
    "hello, two models": lambda: hello_explorer({"a": model_of(HELLO), "b": model_of(HELLO, seed=1)}, HELLO),
    "sampling": lambda: sampling_explorer(model_of(TALE, 7), TALE, "The fox ", length=23),
    "wiring": wiring_explorer,
}


def settings(control):
    """The control's values at its minimum, middle and maximum; every option of a list."""
    if isinstance(control, Dropdown):
        return [*control.options]
    middle = control.min + (control.max - control.min) // 2
    return [control.min, middle, control.max]


@pytest.mark.parametrize("name", EXPLORERS)
def test_every_control_works_at_its_minimum_middle_and_maximum(name):
    explorer = opened(EXPLORERS[name])
    for control in explorer.controls.values():
        before = control.value
        for value in settings(control):
            control.value = value
            assert explorer.error == ""
            assert explorer.artists is not None and explorer.trace is not None
        control.value = before


@pytest.mark.parametrize("name", EXPLORERS)
def test_extreme_values_of_all_controls_work_together(name):
    explorer = opened(EXPLORERS[name])
    for index in (0, -1):
        for control in explorer.controls.values():
            control.value = settings(control)[index]
        assert explorer.error == ""


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("hello", ["Step"]),
        ("hello, two models", ["Step", "Model"]),
        ("sampling", ["Temperature", "Top-k", "Seed"]),
        ("wiring", ["Wiring"]),
    ],
)
def test_controls_have_the_names_that_chapters_use(name, labels):
    assert [control.description for control in opened(EXPLORERS[name]).controls.values()] == labels


def description(explorer):
    return explorer._describe(explorer.trace)


# --- hello_explorer --------------------------------------------------------------------------------------


def test_step_slider_goes_through_all_predictions_of_the_text():
    explorer = hello_explorer(model_of(HELLO), HELLO)
    step = explorer.controls["step"]
    assert (step.min, step.max) == (1, 4)
    step.value = 3
    assert repr(explorer) == "Explorer(step=3)"
    expected = char_step(model_of(HELLO), HELLO, "hello", 3)
    torch.testing.assert_close(explorer.trace.p, expected.p)
    shown = [float(number.get_text().replace("−", "-")) for number in explorer.artists.columns["p"].numbers]
    assert shown == pytest.approx(expected.p.tolist(), abs=0.005)


def test_model_dropdown_changes_the_model_that_is_shown():
    models = {"untrained": model_of(HELLO), "trained": model_of(HELLO, seed=1)}
    explorer = hello_explorer(models, HELLO)
    assert repr(explorer) == "Explorer(step=4, model='untrained')"  # the second "l" is read
    explorer.controls["model"].value = "trained"
    torch.testing.assert_close(explorer.trace.h, char_step(models["trained"], HELLO, "hello", 4).h)


def test_hello_is_described_in_words():
    explorer = hello_explorer(model_of(HELLO), HELLO)
    explorer.controls["step"].value = 2
    trace = explorer.trace
    words = description(explorer)
    assert words.startswith("Step 2: the model has read 'he' and gives 'l'")
    assert f"probability {float(trace.p[trace.target]):.2f}" in words
    assert f"sum so far {float(trace.losses.sum()):.3f}" in words


@pytest.mark.parametrize("text", ["ab", "bookkeeper dan"])
def test_hello_explorer_takes_other_texts_and_sizes(text):
    vocabulary = Vocabulary(text)
    explorer = hello_explorer(model_of(vocabulary, 8), vocabulary, text)
    assert explorer.trace.t == len(text) - 1


def test_hello_explorer_says_which_argument_is_wrong(learner):
    model = model_of(HELLO)
    large = Vocabulary("abcdefghijk")
    for arguments, match in (
        (({}, HELLO), "model must be .* empty mapping"),
        (({"a": model, "b": model_of(HELLO, 7)}, HELLO), r"model must .* \(4, 5\), \(4, 7\)"),
        ((model_of(HELLO, 128), HELLO), r"model must .* 10 units.*\(4, 128\)"),
        ((model_of(large), large, "abc"), r"model must .* \(11, 5\)"),
        ((model, Vocabulary("abc"), "abc"), "vocabulary must have the model's 4 tokens"),
        ((model, HELLO, "hex"), "text must .*'x'"),
        ((model, HELLO, "h"), "text must hold"),
        ((model, HELLO, "hello" * 3), "text must have at most 14 characters .* got 15"),
    ):
        with pytest.raises(ValueError, match=match):
            hello_explorer(*arguments)


# --- sampling_explorer -----------------------------------------------------------------------------------


def sampling():
    return sampling_explorer(model_of(TALE, 7), TALE, "The fox ", length=23)


def widths(explorer):
    bars, _text = explorer.artists
    return [bar.get_width() for bar in bars.bars]


def test_bars_follow_temperature_and_top_k():
    explorer = opened(sampling)
    explorer.controls["temperature"].value = 0.0
    assert widths(explorer) == [1] + [0] * 15
    explorer.controls["temperature"].value = 2.0
    explorer.controls["top_k"].value = 3
    assert sum(widths(explorer)) == pytest.approx(1, abs=1e-6)
    assert [width > 0 for width in widths(explorer)] == [True] * 3 + [False] * 13


def test_temperature_zero_gives_the_same_text_for_every_seed():
    explorer = opened(sampling)
    explorer.controls["temperature"].value = 0.0
    text = explorer.trace.text
    explorer.controls["seed"].value = 5
    assert explorer.trace.text == text


def test_another_seed_draws_another_text():
    explorer = opened(sampling)
    text = explorer.trace.text
    explorer.controls["seed"].value = 5
    assert explorer.trace.text != text
    explorer.controls["seed"].value = 0
    assert explorer.trace.text == text


def test_the_text_on_the_picture_is_the_sampled_text():
    explorer = opened(sampling)
    _bars, (prompt, new) = explorer.artists
    assert "".join(line.get_text() for line in prompt) == "The fox "
    shown = "".join(line.get_text() for line in new)
    assert shown == " " * 8 + explorer.trace.text.replace("\n", "↵")


def test_sampling_is_described_in_words():
    explorer = opened(sampling)
    explorer.controls["top_k"].value = 1
    best = explorer.trace.tokens[int(explorer.trace.plain.argmax())]
    assert description(explorer).startswith(
        f"After 'The fox ' 1 of {len(TALE)} characters are possible; the likeliest: {best!r} 1.00."
    )
    assert description(explorer).endswith(explorer.trace.text)


def test_sampling_explorer_says_which_argument_is_wrong(learner):
    model = model_of(TALE, 7)
    for arguments, options, match in (
        ((model, HELLO, "h"), {}, "vocabulary must have"),
        ((model, TALE, ""), {}, "prompt must hold"),
        ((model, TALE, "quiz"), {}, "prompt must .*'q'"),
        ((model, TALE, "The"), {"length": 0}, "length must be at least 1, got 0"),
        ((model, TALE, "The"), {"shown": 0}, "shown must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=match):
            sampling_explorer(*arguments, **options)


# --- wiring_explorer -------------------------------------------------------------------------------------


@pytest.mark.parametrize("wiring", WIRINGS, ids=lambda wiring: wiring.name)
def test_only_the_chosen_wiring_is_visible(wiring):
    explorer = opened(wiring_explorer)
    explorer.controls["wiring"].value = wiring.name
    for name, artists in explorer.artists.items():
        assert {artist.get_visible() for artist in artists} == {name == wiring.name}
    words = description(explorer)
    assert words.startswith(f"{wiring.name}: {wiring.steps} state")
    assert wiring.use in words


def test_a_wiring_is_described_by_its_steps():
    explorer = opened(wiring_explorer)
    words = description(explorer)
    assert words.startswith("many to many, through a summary: 8 states, inputs at steps 1, 2, 3, 4, outputs")
    assert "A second network starts from the last state and reads GO first." in words
    explorer.controls["wiring"].value = "many to one"
    assert "4 states, inputs at steps 1, 2, 3, 4, outputs at step 4." in description(explorer)
