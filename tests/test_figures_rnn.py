import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgba
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from torch.nn import functional as F

from seqlib.decoding import token_probabilities
from seqlib.figures import rnn as figures
from seqlib.figures import style
from seqlib.figures.common import ink_on, plot_accuracy_by_step, plot_digits, plot_losses, running_mean
from seqlib.figures.rnn import (
    WIRINGS,
    char_step,
    plot_char_step,
    plot_next_char,
    plot_sampled_text,
    plot_unrolled,
    plot_wiring,
    sample_text,
    visible,
    wrapped,
)
from seqlib.rnn import CharRNN
from seqlib.training import History
from seqlib.vocab import Vocabulary

HELLO = Vocabulary("hello")
TEXT = "the fox and the crow\nshare a pie, $ or not $."


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def model_of(vocabulary, hidden_size=5, *, seed=0, gain=3.0):
    """A model with clear preferences, so that the likeliest token differs from step to step."""
    torch.manual_seed(seed)
    model = CharRNN(len(vocabulary), hidden_size)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(gain)
    return model


def texts(ax):
    return [text.get_text() for text in ax.texts]


def shows(ax, values):
    """Whether some column of coloured cells shows these values."""
    columns = [np.ravel(mesh.get_array()) for mesh in ax.collections if isinstance(mesh, QuadMesh)]
    return any(np.array_equal(column, values.numpy()) for column in columns)


# --- One step of a character model -----------------------------------------------------------------------


def test_char_step_is_the_models_own_pass():
    model = model_of(HELLO)
    numbers = HELLO.encode("hello")
    output = model(numbers[None, :-1])
    for t in (1, 2, 3, 4):
        trace = char_step(model, HELLO, "hello", t)
        torch.testing.assert_close(trace.x, F.one_hot(numbers[t - 1], 4).float())
        torch.testing.assert_close(trace.h, output.states[0, t - 1])
        torch.testing.assert_close(trace.y, output.logits[0, t - 1])
        torch.testing.assert_close(trace.p, F.softmax(output.logits[0, t - 1], 0))
        torch.testing.assert_close(
            trace.losses.sum(), F.cross_entropy(output.logits[0, :t], numbers[1 : t + 1], reduction="sum")
        )
        torch.testing.assert_close(model.cell(trace.x[None], trace.h_before[None])[0], trace.h)
        assert trace.tokens[trace.target] == "hello"[t]


def test_the_first_step_starts_from_a_zero_state():
    assert not char_step(model_of(HELLO), HELLO, "hello", 1).h_before.any()


@pytest.mark.parametrize("t", [1, 2, 3, 4])
def test_every_tensor_of_the_step_is_shown(t):
    trace = char_step(model_of(HELLO), HELLO, "hello", t)
    ax = plot_char_step(trace)
    for values in (trace.x, trace.h_before, trace.h, trace.y, trace.p):
        assert shows(ax, values)
    shown = texts(ax)
    for values in (trace.h_before, trace.h, trace.y, trace.p):
        for value in values.tolist():
            assert f"{value:z.2f}".replace("-", "−") in shown
    assert shown.count("1") == 1 and shown.count("0") == 3  # the one-hot column
    assert any(f"≈ {float(trace.losses[-1]):.3f}" in text for text in shown)
    assert any(text.startswith("Losses so far") and f"{trace.losses.sum():.3f}" in text for text in shown)


def test_the_target_is_marked_in_its_own_row():
    trace = char_step(model_of(HELLO), HELLO, "hello", 1)
    figure, ax = style.new_figure(9.0, 4.0)
    artists = figures.draw_char_step(ax, trace)
    for t in (1, 2, 3, 4):
        trace = char_step(model_of(HELLO), HELLO, "hello", t)
        figures.update_char_step(artists, trace)
        number = artists.columns["p"].numbers[trace.target]
        left, bottom = artists.target.get_xy()
        x, y = number.get_position()
        assert left < x < left + artists.target.get_width()
        assert bottom < y < bottom + artists.target.get_height()
        assert artists.loss.get_position()[1] == y


def test_the_read_and_the_predicted_character_are_marked():
    trace = char_step(model_of(HELLO), HELLO, "hello", 2)
    figure, ax = style.new_figure(9.0, 4.0)
    artists = figures.draw_char_step(ax, trace)
    figures.update_char_step(artists, trace)
    colours = [box.get_edgecolor() for box in artists.boxes]
    assert [colour == to_rgba(style.BLUE) for colour in colours] == [False, True, False, False, False]
    assert [colour == to_rgba(style.RED) for colour in colours] == [False, False, True, False, False]
    assert [box.get_linestyle() for box in artists.boxes].count("--") == 1  # not by colour alone
    centres = [box.get_x() + box.get_width() / 2 for box in artists.boxes]
    assert [role.get_position()[0] for role in artists.roles] == centres[1:3]


@pytest.mark.parametrize("name", ["RdBu", "Blues", "viridis"])
def test_numbers_have_contrast_to_their_cell(name):
    for colour in colormaps[name](np.linspace(0, 1, 101)):
        assert contrast(colour, to_rgba(ink_on(colour))) > 4.5  # WCAG 2, level AA


def contrast(one, other):
    def luminance(colour):
        rgb = np.array(colour[:3])
        return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [
            0.2126,
            0.7152,
            0.0722,
        ]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("text", "hidden_size"), [("ab", 1), ("bookkeeper dan", 8), ("aaa", 3)])
def test_nothing_of_the_step_overlaps_or_leaves_the_picture(text, hidden_size):
    vocabulary = Vocabulary(text)
    for t in {1, len(text) // 2, len(text) - 1}:
        ax = plot_char_step(char_step(model_of(vocabulary, hidden_size), vocabulary, text, t))
        assert not overlaps(ax)


def overlaps(ax):
    """Texts that reach out of the figure or over each other."""
    figure = ax.figure
    figure.draw_without_rendering()
    boxes = [
        (t.get_text(), t.get_window_extent()) for t in ax.texts if t.get_text().strip() and t.get_visible()
    ]
    found = [
        name for name, b in boxes if b.x0 < 0 or b.y0 < 0 or b.x1 > figure.bbox.x1 or b.y1 > figure.bbox.y1
    ]
    for k, (name, box) in enumerate(boxes):
        found += [(name, other) for other, b in boxes[:k] if box.overlaps(b)]
    return found


def test_char_step_says_which_argument_is_wrong(learner):
    model = model_of(HELLO)
    with pytest.raises(ValueError, match="text must .*'x'"):
        char_step(model, HELLO, "hex", 1)
    with pytest.raises(ValueError, match="text must hold"):
        char_step(model, HELLO, "h", 1)
    with pytest.raises(ValueError, match="text must hold"):
        char_step(model, HELLO, "", 1)
    for t in (0, 5):
        with pytest.raises(ValueError, match=r"t must lie in 1\.\.4 .* got " + str(t)):
            char_step(model, HELLO, "hello", t)
    with pytest.raises(ValueError, match="vocabulary must have the model's 4 tokens, got 3"):
        char_step(model, Vocabulary("abc"), "abc", 1)


# --- Sampling --------------------------------------------------------------------------------------------


def test_sampled_text_is_what_the_model_generates():
    vocabulary = Vocabulary(TEXT)
    model = model_of(vocabulary, 7)
    trace = sample_text(model, vocabulary, "the ", length=31, temperature=0.7, top_k=5, seed=3)
    drawn = model.generate(
        vocabulary.encode("the ")[None],
        length=31,
        temperature=0.7,
        top_k=5,
        generator=torch.Generator().manual_seed(3),
    )
    assert "the " + trace.text == "".join(vocabulary.decode(drawn[0]))
    logits = model(vocabulary.encode("the ")[None]).logits[0, -1]
    torch.testing.assert_close(trace.plain, F.softmax(logits, -1))
    torch.testing.assert_close(trace.probabilities, token_probabilities(logits, temperature=0.7, top_k=5))


@pytest.mark.parametrize("shown", [1, 5, 19, 20, 100])
@pytest.mark.parametrize(("temperature", "top_k"), [(0.0, None), (0.5, None), (2.0, 3), (1.0, 1)])
def test_bars_are_the_probabilities_likeliest_first_and_sum_to_one(shown, temperature, top_k):
    vocabulary = Vocabulary(TEXT)
    V = len(vocabulary)
    assert V == 20
    trace = sample_text(
        model_of(vocabulary, 7), vocabulary, "the ", length=2, temperature=temperature, top_k=top_k
    )
    ax = plot_next_char(trace, shown=shown)
    filled, outlines = ([bar.get_width() for bar in bars] for bars in ax.containers)
    order = sorted(range(V), key=lambda k: -float(trace.plain[k]))
    for widths, probabilities in ((filled, trace.probabilities), (outlines, trace.plain)):
        assert sum(widths) == pytest.approx(1, abs=1e-6)
        expected = [float(probabilities[k]) for k in order[:shown]]
        assert widths[:shown] == pytest.approx(expected)
        assert len(widths) == min(V, shown + 1)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == [visible(vocabulary[k]) for k in order[:shown]] + ["others"] * (shown < V)
    assert outlines[:shown] == sorted(outlines[:shown], reverse=True)


def test_signs_for_white_space_are_in_the_default_fonts():
    for family in ("DejaVu Sans", "DejaVu Sans Mono"):
        font = FT2Font(findfont(FontProperties(family=family), fallback_to_default=False))
        assert all(font.get_char_index(ord(visible(character))) for character in " \n\t")
    assert visible("a") == "a"


def test_prompt_and_new_text_stand_where_the_wrapped_text_has_them():
    trace = sample_text(
        model_of(Vocabulary(TEXT)), Vocabulary(TEXT), "a crow and the fox share a pie", length=70
    )
    figure, ax = style.new_figure(5.0, 3.0)
    artists = figures.draw_sampled_text(ax, lines=9)
    figures.update_sampled_text(artists, trace, columns=17)
    prompt, new = ([line.get_text() for line in lines] for lines in artists)
    both = [p + n[len(p) :] for p, n in zip(prompt, new, strict=True)]
    assert "".join(prompt) == trace.prompt
    assert "".join(both) == (trace.prompt + trace.text).replace("\n", "↵")
    assert all(n[: len(p)].isspace() for p, n in zip(prompt, new, strict=True) if p)
    assert all(not line.get_parse_math() for lines in artists for line in lines)  # "$" is only a dollar


def test_text_beyond_the_last_line_is_left_out():
    trace = sample_text(model_of(Vocabulary(TEXT)), Vocabulary(TEXT), "a", length=200)
    ax = plot_sampled_text(trace, columns=20, lines=4)
    assert len(ax.texts) == 8
    assert sum(len(text) for text in texts(ax)[4:]) <= 84


@given(st.text(st.sampled_from("ab, $-↵"), max_size=60), st.integers(1, 13))
def test_wrapping_loses_nothing_and_keeps_the_width(text, columns):
    lines = wrapped(text, columns)
    assert "".join(lines) == text
    assert all(len(line.rstrip(" ")) <= columns for line in lines)


def test_wrapping_prefers_spaces():
    assert wrapped("one two three", 8) == ["one two ", "three"]


def test_sampling_says_which_argument_is_wrong(learner):
    model = model_of(HELLO)
    for wrong, match in (
        ({"prompt": ""}, "prompt must hold"),
        ({"prompt": "hex"}, "prompt must .*'x'"),
        ({"prompt": "h", "length": 0}, "length must be at least 1, got 0"),
        ({"prompt": "h", "temperature": -1.0}, "temperature must"),
        ({"prompt": "h", "top_k": 0}, "top_k must"),
        (
            {"prompt": "h", "vocabulary": Vocabulary("abc")},
            "vocabulary must have the model's 4 tokens, got 3",
        ),
    ):
        with pytest.raises(ValueError, match=match):
            sample_text(model, **{"vocabulary": HELLO, **wrong})
    with pytest.raises(ValueError, match="shown must be at least 1, got 0"):
        plot_next_char(sample_text(model, HELLO, "h", length=1), shown=0)


# --- Wirings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wiring", WIRINGS, ids=lambda wiring: wiring.name)
def test_a_wiring_draws_its_boxes_and_arrows_and_no_others(wiring):
    ax = plot_wiring(wiring)
    boxes = [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    inputs, outputs, steps = len(wiring.inputs), len(wiring.outputs), wiring.steps
    go = 1 if wiring.summary else 0  # the second network's first input
    assert len(boxes) == steps + inputs + go + outputs
    fed_back = [patch for patch in arrows if patch.get_linestyle() == "--"]
    assert len(fed_back) == (outputs - 1 if wiring.fed_back else 0)
    assert len(arrows) - len(fed_back) == steps - 1 + inputs + go + outputs
    shown = texts(ax)
    for name, count in (("x", inputs), ("y", outputs)):
        assert sum(text.startswith(f"${name}_") for text in shown) == count
    for weight, count in (("{xh}", inputs), ("{hy}", outputs)):
        assert shown.count(f"$W_{weight}$") == count
    assert shown.count("$W_{hh}$") + shown.count("$W'_{hh}$") == steps - 1
    assert shown.count("GO") == shown.count("$W'_{xh}$") == go
    assert wiring.use in shown
    assert not overlaps(ax)


def test_the_word_is_read_completely_before_anything_is_written():
    *_, wiring = WIRINGS
    assert max(wiring.inputs) == wiring.summary < min(wiring.outputs)
    shown = texts(plot_wiring(wiring))
    assert [f"$h_{{{t}}}$" in shown for t in (1, 4, 5)] == [True, True, False]
    assert [f"$s_{{{t}}}$" in shown for t in (1, 4, 5)] == [True, True, False]  # a second network
    assert shown.count("$W'_{hh}$") == 4


@pytest.mark.parametrize("steps", [2, 4, 6])
def test_folded_cell_and_unrolled_graph_show_the_same_weights(steps):
    ax = plot_unrolled(steps)
    shown = texts(ax)
    assert {"$x_t$", "$h_t$", "$y_t$", "=", "$h_0$", f"$h_{{{steps}}}$"} <= set(shown)
    assert shown.count("$W_{xh}$") == shown.count("$W_{hy}$") == shown.count("$W_{hh}$") == steps + 1
    assert not overlaps(ax)


def test_unrolling_needs_two_steps(learner):
    with pytest.raises(ValueError, match="steps must be at least 2, got 1"):
        plot_unrolled(1)


# --- Figures that several chapters need ------------------------------------------------------------------


def test_loss_curves_are_the_losses():
    ax = plot_losses({"a": History(losses=[3.0, 2.0, 1.5]), "b": [2.5, 2.25]})
    assert [line.get_ydata().tolist() for line in ax.lines] == [[3.0, 2.0, 1.5], [2.5, 2.25]]
    assert ax.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    assert len({line.get_linestyle() for line in ax.lines}) == 2  # not by colour alone
    assert ax.get_ylim()[0] == 0


def test_smoothed_losses_keep_the_single_steps_in_sight():
    ax = plot_losses({"a": [4.0, 1.0, 1.0, 4.0]}, smooth=3)
    smooth, single = ax.lines
    assert smooth.get_ydata() == pytest.approx([2.5, 2.0, 2.0, 2.5])
    assert single.get_ydata().tolist() == [4.0, 1.0, 1.0, 4.0]


@pytest.mark.parametrize("lowest", [0.3, 1e-6])
def test_a_logarithmic_axis_has_plain_numbers(lowest):
    ax = plot_losses({"a": np.geomspace(4, lowest, 50).tolist()}, log=True)
    ax.figure.draw_without_rendering()
    assert ax.get_yscale() == "log"
    low, high = ax.get_ylim()
    labels = [tick for tick in ax.get_yticks() if low <= tick <= high]
    assert 2 <= len(labels) <= 10


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), st.integers(1, 40))
def test_running_mean_is_the_mean_of_a_window_around_each_value(values, window):
    result = running_mean(values, window)
    assert len(result) == len(values)
    assert (min(values) - 1e-9 <= result).all() and (result <= max(values) + 1e-9).all()
    if window == 1:
        assert result == pytest.approx(values)
    if window % 2:
        half = min(window, len(values)) // 2
        middle = len(values) // 2
        if window <= len(values):
            around = values[max(0, middle - half) : middle + half + 1]
            assert result[middle] == pytest.approx(np.mean(around), abs=1e-9)


def test_accuracies_are_marked_at_their_steps():
    ax = plot_accuracy_by_step({"one way": torch.tensor([0.25, 0.5]), "both ways": [0.75, 1.0]}, chance=0.1)
    one, both, chance = ax.lines
    assert one.get_xdata().tolist() == [1, 2] and one.get_ydata().tolist() == [0.25, 0.5]
    assert both.get_ydata().tolist() == [0.75, 1.0]
    assert set(chance.get_ydata()) == {0.1}
    assert one.get_marker() != both.get_marker()
    assert ax.get_ylim() == (0, 1)


def test_digits_are_shown_with_their_titles():
    images = torch.rand(7, 8, 8)
    axes = plot_digits(images, [f"said {k}" for k in range(7)], columns=4)
    assert len(axes) == 7
    for k, ax in enumerate(axes):
        np.testing.assert_array_equal(ax.images[0].get_array(), images[k].numpy())
        assert ax.get_title() == f"said {k}"
        assert not len(ax.get_xticks()) and not len(ax.get_yticks())
    assert axes[0].get_position().y0 > axes[4].get_position().y0


def test_common_figures_say_which_argument_is_wrong(learner):
    for call, match in (
        (lambda: plot_losses({}), "losses must hold"),
        (lambda: plot_losses({"a": []}), "losses must have .* 'a'"),
        (lambda: plot_losses({"a": [1.0]}, smooth=0), "smooth must be at least 1, got 0"),
        (lambda: running_mean([1.0], 0), "window must be at least 1, got 0"),
        (lambda: plot_accuracy_by_step({}), "accuracies must hold"),
        (lambda: plot_accuracy_by_step({"a": [0.5, 1.5]}), "accuracies must be .* 'a'"),
        (lambda: plot_digits(torch.zeros(0, 8, 8)), "images must hold"),
        (lambda: plot_digits(torch.zeros(2, 8, 8), ["one"]), "titles must be as many as the 2 images, got 1"),
        (lambda: plot_digits(torch.zeros(2, 8, 8), columns=0), "columns must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
    assert not plt.get_fignums()  # nothing half drawn is left behind


def test_given_axes_are_drawn_into():
    figure, ax = style.new_figure(5.0, 3.0)
    assert plot_losses({"a": [1.0, 2.0]}, ax=ax) is ax
    assert plot_unrolled(3, ax=style.new_figure(7.0, 3.0)[1]).figure is not figure
    assert not plt.get_fignums()
