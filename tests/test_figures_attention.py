from functools import cache

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.text import Text

from seqlib.attention import AdditiveScores, AttentionSeq2Seq, scaled_dot_scores
from seqlib.figures.attention import (
    ScalingView,
    StepView,
    answered,
    draw_attention,
    draw_attention_steps,
    draw_scaling,
    plot_attention,
    shown,
    steps_size,
    update_attention,
    update_attention_steps,
    update_scaling,
)
from seqlib.figures.style import look, new_figure
from seqlib.pairs import EOS, make_corpus, number_alignment, number_pair, number_pairs
from seqlib.scaling import random_attention
from seqlib.seq2seq import decoder_inputs

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def some_weights(T=5, S=7, seed=0):
    return torch.randn(T, S, generator=torch.Generator().manual_seed(seed)).softmax(-1)


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def luminance(colour):
    return np.asarray(colour)[:3] ** 2.2 @ [0.2126, 0.7152, 0.0722]


# -------------------------------------------------------------------------------- weights as a matrix


SOURCE, TARGET = [*"이백삼십일", "<eos>", " "], ["two", "hundred", "thirty", "one", "<eos>"]


def test_korean_is_drawn_in_latin_letters_blanks_as_a_sign_and_other_tokens_as_they_are():
    written = list(map(shown, [*SOURCE, "two", "$x$"]))
    assert written == ["i", "baek", "sam", "sip", "il", "<eos>", "␣", "two", "$x$"]
    assert shown("extraordinarily") == "extraordina…"


def test_a_matrix_has_target_words_down_the_side_and_source_tokens_along_the_top():
    weights = some_weights().requires_grad_()
    ax = plot_attention(weights, source=SOURCE, target=TARGET)
    np.testing.assert_array_equal(ax.images[0].get_array(), weights.detach())
    assert ax.images[0].get_extent() == [-0.5, 6.5, 4.5, -0.5]
    assert (ax.get_xlim(), ax.get_ylim()) == ((-0.5, 6.5), (4.5, -0.5))
    assert labels(ax.xaxis) == list(map(shown, SOURCE)) and labels(ax.yaxis) == TARGET
    assert ax.xaxis.get_ticks_position() == "top"
    assert ax.figure.axes[1].get_ylabel() == "weight"
    ax.figure.draw_without_rendering()  # no warning of a letter that is missing


def test_weights_have_the_same_colours_in_every_matrix_white_at_0_and_darker_the_larger():
    image = plot_attention(some_weights() / 3, source=SOURCE, target=TARGET).images[0]
    colours = image.to_rgba(np.linspace(0, 1, 30))
    assert colours[0].tolist() == [1, 1, 1, 1]
    assert (np.diff([luminance(colour) for colour in colours]) < 0).all()


def test_outlines_lie_on_the_cells_of_the_alignment_and_on_no_other():
    pair = number_pair(20_310)
    aligned = number_alignment(pair)
    source, target = [*pair.source, "<eos>"], [*pair.target, "<eos>"]
    ax = plot_attention(some_weights(len(target), len(source)), source=source, target=target, aligned=aligned)
    [outlines] = ax.collections
    centres = [
        tuple(path.get_extents().get_points().mean(0).round().tolist()) for path in outlines.get_paths()
    ]
    assert sorted(centres) == sorted((s, t) for t, s in aligned.nonzero().tolist())
    assert len(centres) == int(aligned.sum()) > 3
    assert outlines.get_facecolor().size == 0


@pytest.mark.parametrize("number", [7, 320, 987_654_987_654])
def test_a_note_on_the_outlines_stands_below_the_matrix_and_overlaps_nothing(number):
    pair = number_pair(number)
    source, target = [*pair.source, "<eos>"], [*pair.target, "<eos>"]
    weights = some_weights(len(target), len(source))
    ax = plot_attention(weights, source=source, target=target, aligned=number_alignment(pair))
    figure = ax.figure
    figure.draw_without_rendering()
    [note] = ax.get_legend().get_texts()
    assert note.get_text() == "outlined: the known alignment"
    box = ax.get_legend().get_window_extent()
    assert box.y1 < ax.get_window_extent().y0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1
    ticks = [*ax.get_xticklabels(), *ax.get_yticklabels(), *figure.axes[1].get_yticklabels()]
    assert not any(box.overlaps(label.get_window_extent()) for label in ticks)
    assert ax.get_window_extent().width > 0.5 * figure.bbox.width  # nothing squeezes the matrix
    assert plot_attention(weights, source=source, target=target).get_legend() is None


def test_an_alignment_without_any_cell_outlines_nothing():
    ax = plot_attention(some_weights(), source=SOURCE, target=TARGET, aligned=torch.zeros(5, 7) > 0)
    ax.figure.draw_without_rendering()
    assert ax.collections[0].get_paths() == []


def test_a_matrix_is_drawn_on_axes_that_are_given():
    ax = plt.subplots()[1]
    assert plot_attention(some_weights(), source=SOURCE, target=TARGET, ax=ax) is ax


@pytest.mark.parametrize("size", [2, 7, 31])
def test_labels_never_run_into_each_other_and_are_turned_only_where_they_would(size):
    tokens = ["cheon"] * size
    ax = plot_attention(some_weights(2, size), source=tokens, target=["two", "<eos>"])
    assert (ax.get_xticklabels()[0].get_rotation() > 0) == (size == 31)
    ax.figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    starts = [box.x0 for box in boxes]
    assert min(np.diff(starts)) > (boxes[0].width if size < 31 else boxes[0].height / 5)


def test_single_characters_stay_upright_beside_turned_labels():
    ax = plot_attention(some_weights(2, 20), source=[*"3 de marzo de 1987.", "<eos>"], target=["1", "<eos>"])
    assert [label.get_rotation() for label in ax.get_xticklabels()] == [0] * 19 + [60]


def test_matrices_say_which_argument_does_not_fit():
    weights = some_weights()
    for options, match in (
        ({"source": SOURCE[:6]}, "source must have a token for each of the 7 columns, got 6"),
        ({"target": [*TARGET, "two"]}, "target must have a token for each of the 5 rows, got 6"),
        ({"aligned": torch.zeros(6, 7) > 0}, r"aligned must not be larger than weights, 5 x 7, got \(6, 7\)"),
        ({"aligned": torch.zeros(5, 8) > 0}, r"aligned must not be larger .* got \(5, 8\)"),
    ):
        with pytest.raises(ValueError, match=match):
            plot_attention(weights, **({"source": SOURCE, "target": TARGET} | options))


def test_a_small_matrix_takes_the_corner_of_a_grid_that_is_kept_and_a_large_one_all_of_it():
    artists = draw_attention(plt.subplots()[1], rows=4, columns=6)
    ax = artists.cells.axes
    for T, S, limits in ((2, 3, (5.5, 3.5)), (5, 7, (6.5, 4.5))):
        weights = some_weights(T, S)
        update_attention(artists, weights, source=SOURCE[:S], target=TARGET[:T])
        np.testing.assert_array_equal(artists.cells.get_array(), weights)
        assert artists.cells.get_extent() == [-0.5, S - 0.5, T - 0.5, -0.5]
        assert artists.frame.get_bbox().bounds == (-0.5, -0.5, S, T)
        assert (ax.get_xlim()[1], ax.get_ylim()[0]) == limits
        assert (len(labels(ax.xaxis)), len(labels(ax.yaxis))) == (S, T)


# ------------------------------------------------------------------------- the steps of one look-up


E, H = 5, 6


def tiny(seed=0, **options):
    """An untrained model of numbers of up to three digits, whose states are not all near 0.

    Its answers never end, so that they are as long as may be.
    """
    corpus = make_corpus(
        number_pairs(40, digits=3, generator=torch.Generator().manual_seed(seed)),
        held_out=3,
        generator=torch.Generator().manual_seed(seed),
    )
    sizes = len(corpus.source_vocabulary), len(corpus.target_vocabulary)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AttentionSeq2Seq(*sizes, embedding_size=E, hidden_size=H, **options)
        for parameter in model.parameters():
            parameter.data *= 2
        model.h_to_y.bias.data[EOS] = -100
    return model, corpus


@cache
def panels(source="삼백이십일", **options):
    trace = answered(*tiny(**options), source, max_length=11)
    page = new_figure(*steps_size(len(trace.source)))[1]
    page.figure.set_layout_engine("none")
    with look():
        return draw_attention_steps(page, trace), trace


def drawn_steps(step=6, position=1, **options):
    artists, trace = panels(**options)
    view = StepView(trace, step, position)
    update_attention_steps(artists, view)
    return artists, view


def test_an_answer_is_the_models_own_and_its_tensors_are_those_of_a_forward_pass_over_it():
    model, corpus = tiny()
    trace = answered(model, corpus, "이백삼십일", max_length=11)
    assert trace.source == [*"이백삼십일", "<eos>"]
    tokens = corpus.target_vocabulary.encode(trace.target)[None]
    source = corpus.source_vocabulary.encode(trace.source)[None]
    with torch.no_grad():
        logits = model(source, decoder_inputs(tokens))
    torch.testing.assert_close(trace.steps.logits, logits)
    assert trace.steps.logits[0].argmax(-1).tolist() == tokens[0].tolist()
    torch.testing.assert_close(trace.memory, model.encoder(source).memory[0].detach())


@pytest.mark.parametrize("position", [1, 3, 11])
def test_every_panel_holds_the_tensor_of_its_step(position):
    model, corpus = tiny()
    artists, view = drawn_steps(position=position)
    state, memory = view.answered.states[position - 1], view.answered.memory
    scores = memory @ state
    weights = scores.softmax(0)
    torch.testing.assert_close(torch.tensor([bar.get_width() for bar in artists.scores]), scores)
    torch.testing.assert_close(torch.tensor([bar.get_width() for bar in artists.weights]), weights)
    weighted = torch.tensor(artists.weighted.get_array())
    torch.testing.assert_close(weighted, weights[:, None] * memory)
    context = torch.tensor(artists.context.get_array())
    torch.testing.assert_close(context[0], weighted.sum(0))
    joined = torch.tensor(artists.joined.get_array())
    torch.testing.assert_close(joined, torch.cat([context, state[None]], 1))
    s_tilde = torch.tensor(artists.s_tilde.get_array())
    torch.testing.assert_close(s_tilde, model.joined_to_s(joined).detach().tanh())
    p = model.h_to_y(s_tilde).detach().softmax(-1)[0]
    best = p.argsort(descending=True)[:5]
    torch.testing.assert_close(torch.tensor([bar.get_width() for bar in artists.bars]), p[best])
    assert [word.get_text() for word in artists.words] == corpus.target_vocabulary.decode(best)
    assert [float(number.get_text()) for number in artists.numbers] == pytest.approx(p[best], abs=6e-4)
    np.testing.assert_array_equal(artists.state.get_array(), state[None])


def test_rows_are_the_source_tokens_and_the_encoders_states_are_there_from_the_start():
    artists, view = drawn_steps(step=1)
    states = next(ax for ax in artists.state.figure.axes if ax.get_title(loc="left").startswith("encoder"))
    assert labels(states.yaxis) == ["sam", "baek", "i", "sip", "il", "<eos>"]
    np.testing.assert_array_equal(states.images[0].get_array(), view.answered.memory)
    for bars in (artists.scores, artists.weights):
        assert [bar.get_y() + bar.get_height() / 2 for bar in bars] == pytest.approx(range(6))
        assert bars[0].axes.get_ylim() == states.get_ylim() == (5.5, -0.5)


@pytest.mark.parametrize("step", range(1, 7))
def test_what_comes_after_the_step_is_still_empty_and_the_headline_tells_the_step(step):
    artists, _ = drawn_steps(step)
    for k, part in enumerate(artists.parts, start=1):
        assert {artist.get_visible() for artist in part} == {k <= step}
    assert artists.titles[step - 1].get_color() == artists.headline.get_color()
    assert len({title.get_color() for title in artists.titles[step:]}) <= 1
    assert [title.get_text()[0] for title in artists.titles] == list("123456")
    assert artists.headline.get_text().startswith(str(step)) and "$" in artists.headline.get_text()


@pytest.mark.parametrize(
    ("scores", "formula"),
    [
        (scaled_dot_scores, r"s_t \cdot h_s\,/\sqrt{H}"),
        (AdditiveScores(H, H, 3), r"v \cdot \tanh(W_q s_t + W_k h_s)"),
        (lambda queries, keys: queries @ keys.mT / 2, r"\mathrm{score}(s_t, h_s)"),
    ],
)
def test_scores_and_their_formula_are_those_of_the_model(scores, formula):
    artists, view = drawn_steps(step=1, scores=scores)
    expected = scores(view.answered.states[None, :1], view.answered.memory[None])[0, 0].detach()
    torch.testing.assert_close(torch.tensor([bar.get_width() for bar in artists.scores]), expected)
    assert artists.headline.get_text().endswith(f"$e_{{ts}} = {formula}$")
    artists.headline.figure.draw_without_rendering()


def test_bars_stay_within_their_axes_at_every_position():
    artists, view = drawn_steps()
    for position in range(1, 12):
        update_attention_steps(artists, view._replace(position=position))
        for bars in (artists.scores, artists.weights, artists.bars):
            low, high = bars[0].axes.get_xlim()
            assert all(low <= bar.get_width() <= high for bar in bars)


@pytest.mark.parametrize("count", [1, 5, 30])
def test_every_text_is_large_enough_and_on_the_page_whatever_the_length_of_the_source(count):
    artists, view = drawn_steps(source="백" * count)
    figure = artists.state.figure
    words = ["extraordinarily"] * 11
    long = view.answered._replace(target=words, words=["extraordinarily"] * len(view.answered.words))
    for step, position in ((1, 1), (3, 11), (6, 11)):
        update_attention_steps(artists, StepView(long, step, position))
        figure.draw_without_rendering()
        for text in figure.findobj(lambda part: isinstance(part, Text) and part.get_text().strip()):
            box = text.get_window_extent()
            assert text.get_fontsize() >= 10
            assert box.x0 >= 0 and box.x1 <= figure.bbox.x1, text
            assert box.y0 >= 0 and box.y1 <= figure.bbox.y1, text
    rows = [label.get_window_extent() for label in figure.axes[1].get_yticklabels()]
    assert all(above.y0 >= below.y1 - 1 for above, below in zip(rows, rows[1:], strict=False))


def test_what_was_written_so_far_is_told_and_its_beginning_left_out_where_it_is_long():
    artists, view = drawn_steps(position=4)
    assert artists.written.get_text() == (
        f"Word 4 of 11. Written so far: {' '.join(view.answered.target[:3])}"
    )
    update_attention_steps(artists, view._replace(position=1))
    assert artists.written.get_text() == "Word 1 of 11. Written so far: nothing yet"
    long = view.answered._replace(target=["seventy", "seventeen"] * 5 + ["<eos>"])
    update_attention_steps(artists, StepView(long, 1, 11))
    text = artists.written.get_text()
    assert text.startswith("Word 11 of 11. Written so far: … seventy") and text.endswith(" seventeen")
    assert text.count("seventeen") == 4  # of 5


def test_a_step_or_position_that_is_not_there_is_refused():
    artists, view = drawn_steps()
    for wrong, match in (
        ({"step": 0}, r"step must lie in 1\.\.6, got 0"),
        ({"step": 7}, r"step must lie in 1\.\.6, got 7"),
        ({"position": 0}, r"position must lie in 1\.\.11, got 0"),
        ({"position": 12}, r"position must lie in 1\.\.11, got 12"),
    ):
        with pytest.raises(ValueError, match=match):
            update_attention_steps(artists, view._replace(**wrong))


# ---------------------------------------------------------------------- scores of random vectors


@pytest.mark.parametrize(("d_k", "scaled"), [(1, False), (64, False), (64, True)])
def test_bars_are_one_draw_and_the_lines_above_them_speak_of_all(d_k, scaled):
    trace = random_attention(d_k, scaled=scaled, keys=5, generator=torch.Generator().manual_seed(1))
    artists = draw_scaling(plt.subplots(1, 2)[1], keys=5, largest=31)
    update_scaling(artists, ScalingView(d_k, scaled, trace))
    for bars, numbers, values in (
        (artists.scores, artists.numbers[0], trace.scores[0].tolist()),
        (artists.weights, artists.numbers[1], trace.weights[0].tolist()),
    ):
        assert [bar.get_height() for bar in bars] == pytest.approx(values)
        for number, value in zip(numbers, values, strict=True):
            assert float(number.get_text().replace("−", "-")) == pytest.approx(value, abs=0.051, rel=0.05)
    spread = float(trace.scores.std())
    assert artists.spread.get_bbox().intervaly.tolist() == pytest.approx([-spread, spread])
    formula, deviation, weight, gradient = [line.get_text() for line in artists.lines]
    assert ("sqrt" in formula) == scaled
    assert f"512 draws: {spread:.2f} " in deviation and f"= {d_k**0.5:.2f})" in deviation
    assert f"{float(trace.weights.amax(-1).mean()):.2f} on average" in weight
    assert gradient.endswith(f" {float(trace.gradient.mean()):.3f}")
    artists.lines[0].figure.draw_without_rendering()
