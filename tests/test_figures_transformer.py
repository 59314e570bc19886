import re
from functools import cache

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.axis import Axis
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from seqlib.decoding import greedy
from seqlib.figures.style import look, new_figure
from seqlib.figures.transformer import (
    CacheView,
    PositionView,
    SelfAttention,
    SelfAttentionView,
    cache_size,
    cached_decoding,
    draw_cache,
    draw_masks,
    draw_position,
    draw_self_attention,
    masked,
    plot_head_drops,
    plot_heads,
    plot_positions,
    plot_times,
    self_attention_size,
    update_cache,
    update_masks,
    update_position,
    update_self_attention,
)
from seqlib.pairs import EOS, SOS, make_corpus, number_pairs, to_tensor
from seqlib.transformer import Transformer, sinusoidal_positions

matplotlib.use("agg")

WORDS = "the meadow was not crossed by the chicken because it was too slippery".split()
SHORT = "it rains $x$ extraordinarily".split()


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def some_weights(*shape, seed=0):
    return (3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))).softmax(-1)


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def texts(figure):
    """All texts that are seen."""
    unseen = []  # ticks beyond the axes' limits
    for axis in figure.findobj(Axis):
        low, high = sorted(axis.get_view_interval())
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            unseen += [] if low <= tick.get_loc() <= high else [tick.label1, tick.label2]
    found = figure.findobj(lambda part: isinstance(part, Text) and part.get_text().strip())
    return [text for text in found if text.get_visible() and text not in unseen]


def check_texts(figure):
    """They are large enough and on the page."""
    figure.draw_without_rendering()  # nor is there a warning of a letter that is missing
    for text in texts(figure):
        box = text.get_window_extent()
        assert text.get_fontsize() >= 10, text
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1, text
        assert box.y0 >= 0 and box.y1 <= figure.bbox.y1, text


def page_of(size):
    page = new_figure(*size)[1]
    page.figure.set_layout_engine("none")
    return page


# -------------------------------------------------------------------------- what a word attends to


def sentence(words, layers=2, heads=3, seed=0):
    return SelfAttention(words, some_weights(layers, heads, len(words), len(words), seed=seed))


@cache
def links():
    with look():
        return draw_self_attention(page_of(self_attention_size(len(WORDS))), words=len(WORDS))


@pytest.mark.parametrize(("words", "layer", "head", "query"), [(WORDS, 2, 3, 10), (SHORT, 1, 1, 4)])
def test_lines_numbers_and_the_framed_row_are_the_query_words_weights(words, layer, head, query):
    artists, view = links(), SelfAttentionView(sentence(words), layer, head, query)
    update_self_attention(artists, view)
    weights = view.sentence.weights[layer - 1, head - 1]
    row = weights[query - 1]
    np.testing.assert_array_equal(artists.matrix.cells.get_array(), weights)
    assert artists.row.get_bbox().bounds == (-0.5, query - 1.5, len(words), 1)
    ends = np.array(artists.lines.get_segments())
    assert (ends[:, 0, 1] == query - 1).all() and ends[:, 1, 1].tolist() == [*range(len(words))]
    widths, order = artists.lines.get_linewidth(), row.argsort()
    assert (np.diff(np.array(widths)[order]) > 0).all()
    opacity = artists.lines.get_color()[:, 3]
    assert (np.diff(opacity[order]) >= 0).all() and opacity[order[-1]] > 0.3
    numbers = [number.get_text() for number in artists.numbers]
    assert numbers == [f"{weight:.2f}" for weight in row.tolist()] + [""] * (len(WORDS) - len(words))


def test_both_rows_of_words_and_the_matrix_are_labelled_and_the_query_word_is_marked_in_its_place():
    artists = links()
    for words in (SHORT, WORDS):
        for query in (1, len(words)):
            update_self_attention(artists, SelfAttentionView(sentence(words), 1, 2, query))
            shown = [word if len(word) <= 12 else "extraordina…" for word in words]
            matrix = artists.matrix.cells.axes
            assert labels(artists.links.yaxis) == 2 * shown  # on the left and on the right
            assert labels(matrix.xaxis) == labels(matrix.yaxis) == shown
            assert artists.word.get_text() == shown[query - 1]
            assert artists.headline.get_text() == (
                f"Layer 1, head 2: what “{shown[query - 1]}” (word {query} of {len(words)}) attends to"
            )
            artists.links.figure.draw_without_rendering()
            mark = artists.word.get_window_extent()
            covered = artists.links.get_yticklabels()[query - 1].get_window_extent()
            assert mark.x0 < covered.x0 and mark.x1 > covered.x1 - 1
            assert abs(mark.y0 - covered.y0) < 2


def test_all_of_a_long_sentence_can_be_read():
    artists = links()
    update_self_attention(artists, SelfAttentionView(sentence(["extraordinarily"] * len(WORDS)), 1, 1, 13))
    check_texts(artists.links.figure)
    right = max(tick.label2.get_window_extent().x1 for tick in artists.links.yaxis.get_major_ticks())
    assert right < artists.matrix.cells.axes.yaxis.get_tightbbox().x0
    ends = artists.links.transData.transform([(0.77, 0)])[0, 0]
    assert all(ends < number.get_window_extent().x0 for number in artists.numbers)


def test_a_layer_head_or_query_that_is_not_there_is_refused():
    for place, match in (
        ((0, 1, 1), r"layer must lie in 1\.\.2, got 0"),
        ((3, 1, 1), r"layer must lie in 1\.\.2, got 3"),
        ((1, 4, 1), r"head must lie in 1\.\.3, got 4"),
        ((1, 1, 0), r"query must lie in 1\.\.4, got 0"),
        ((1, 1, 5), r"query must lie in 1\.\.4, got 5"),
    ):
        with pytest.raises(ValueError, match=match):
            update_self_attention(links(), SelfAttentionView(sentence(SHORT), *place))


@pytest.mark.parametrize(("heads", "queries", "grid"), [(4, WORDS, (2, 2)), (3, ["two", "<eos>"], (1, 3))])
def test_each_head_has_its_own_map_with_labels_at_the_outer_edges(heads, queries, grid):
    keys = WORDS if heads == 4 else list("abcdef")
    weights = some_weights(heads, len(queries), len(keys)).requires_grad_()
    axes = plot_heads(weights, source=keys, target=queries, xlabel="source", ylabel="word being written")
    figure = axes[0].figure
    check_texts(figure)
    down, across = grid
    assert len(axes) == heads and figure.get_figwidth() <= 11
    for number, (ax, head) in enumerate(zip(axes, weights, strict=True)):
        np.testing.assert_array_equal(ax.images[0].get_array(), head.detach())
        assert ax.get_title() == f"head {number + 1}"
        assert ax.get_subplotspec().get_gridspec().get_geometry() == (down, across)
        assert ax.xaxis.get_tick_params()["labeltop"] == (number < across)
        assert ax.yaxis.get_tick_params()["labelleft"] == (number % across == 0)
        assert ax.get_xlabel() == ("source" if number < across else "")
        assert ax.get_ylabel() == ("word being written" if number % across == 0 else "")
        assert [len(ticks) for ticks in (ax.get_xticks(), ax.get_yticks())] == [len(keys), len(queries)]
    assert (labels(axes[0].xaxis), labels(axes[0].yaxis)) == (keys, queries)
    assert figure.axes[-1].get_ylabel() == "weight"


def test_heads_are_drawn_on_axes_that_are_given_and_there_must_be_one_for_each():
    axes = plt.subplots(1, 3)[1]
    weights = some_weights(3, 2, 2)
    drawn = plot_heads(weights, source=["a", "b"], target=["c", "d"], axes=axes)
    assert drawn == list(axes)
    assert all(ax.yaxis.get_tick_params()["labelleft"] for ax in drawn)
    assert {(ax.get_xlabel(), ax.get_ylabel()) for ax in drawn} == {("key", "query")}
    with pytest.raises(ValueError, match="axes must be one for each of the 3 heads, got 2"):
        plot_heads(weights, source=["a", "b"], target=["c", "d"], axes=axes[:2])
    with pytest.raises(ValueError, match="source must have a token for each of the 2 columns, got 1"):
        plot_heads(weights, source=["a"], target=["c", "d"])


# ----------------------------------------------------------------------------------------- positions


def test_positions_have_a_row_each_blue_below_0_and_red_above():
    positions = sinusoidal_positions(17, 6)
    ax = plot_positions(positions)
    np.testing.assert_array_equal(ax.images[0].get_array(), positions)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("entry of the vector", "position")
    low, middle, high = ax.images[0].to_rgba([-1, 0, 1])[:, :3]
    assert low[2] > low[0] and high[0] > high[2] and middle.tolist() == [1, 1, 1]
    check_texts(ax.figure)
    given = plt.subplots()[1]
    assert plot_positions(positions, ax=given) is given


def test_the_line_is_the_dot_product_with_each_position_and_depends_on_the_distance_only():
    artists = draw_position(plt.subplots(1, 2)[1], PositionView(sinusoidal_positions(23, 4), 0))
    for size in (4, 14):
        positions = sinusoidal_positions(23, size)
        wavelengths = 10_000 ** (np.arange(0, size, 2) / size)
        for position in (0, 7, 22):
            update_position(artists, PositionView(positions, position))
            distance = np.arange(23)[:, None] - position
            expected = np.cos(distance / wavelengths).mean(1)
            np.testing.assert_allclose(artists.line.get_ydata(), expected, atol=1e-5)
            assert artists.here.get_xdata() == [position, position]
            assert artists.frame.get_bbox().bounds == (-0.5, position - 0.5, size, 1)
            assert str(size) in artists.titles[0].get_text() and str(position) in artists.titles[1].get_text()
            np.testing.assert_array_equal(artists.left.images[0].get_array(), positions)
            assert artists.left.get_xlim() == (-0.5, size - 0.5)
    with pytest.raises(ValueError, match=r"position must lie in 0\.\.22, got 23"):
        update_position(artists, PositionView(positions, 23))


# --------------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("padding", [0, 2, 6])
def test_a_mask_hides_padding_and_the_future_and_weights_are_the_softmax_of_the_rest(causal, padding):
    scores = torch.randn(7, 7, generator=torch.Generator().manual_seed(0))
    view = masked(scores, causal=causal, padding=padding)
    for q in range(7):
        seen = [k for k in range(7 - padding) if k <= q or not causal]
        assert view.mask[q].nonzero()[:, 0].tolist() == seen
        torch.testing.assert_close(view.weights[q, seen], scores[q, seen].softmax(0))
    assert (view.weights[~view.mask] == 0).all()


@pytest.mark.parametrize(("causal", "padding"), [(False, 0), (True, 3), (False, 6)])
def test_cells_are_marked_by_more_than_their_colour(causal, padding):
    figure, axes = new_figure(10, 5, ncols=2)
    artists = draw_masks(axes, length=7)
    view = masked(torch.randn(7, 7), causal=causal, padding=padding)
    update_masks(artists, view)
    dots = {(int(q), int(k)) for k, q in zip(*artists.dots.get_data(), strict=True)}
    assert dots == {tuple(cell) for cell in view.mask.nonzero().tolist()}
    for hatching in artists.hatching:
        x, y = (np.reshape(data, (-1, 3)) for data in hatching.get_data())
        struck = {(q, k) for q, k in zip(y[:, :2].mean(1).tolist(), x[:, :2].mean(1).tolist(), strict=True)}
        assert struck == {tuple(cell) for cell in (~view.mask).nonzero().tolist()}
        assert np.isnan(x[:, 2]).all()
    for q, row in enumerate(artists.numbers):
        for k, number in enumerate(row):
            assert number.get_text() == (f"{view.weights[q, k]:.2f}" if view.mask[q, k] else "")
    assert [text.get_text() for text in artists.sums] == ["1.00"] * 7
    np.testing.assert_array_equal(artists.cells[0].get_array() > 0, view.mask)
    np.testing.assert_array_equal(artists.cells[1].get_array(), view.weights)


def test_padding_is_named_its_rows_are_pale_and_axes_say_who_looks():
    place = {"left": 0.07, "right": 0.945, "bottom": 0.07, "top": 0.84}
    figure, axes = new_figure(10, 5, ncols=2, gridspec_kw=place)
    figure.set_layout_engine("none")
    with look():
        artists = draw_masks(axes, length=5)
    for padding, named in ((0, ""), (1, "token 5 is padding"), (2, "tokens 4 to 5 are padding")):
        update_masks(artists, masked(torch.randn(5, 5), causal=False, padding=padding))
        for ax, faded in zip(axes, artists.faded, strict=True):
            assert labels(ax.xaxis) == labels(ax.yaxis) == list("12345")
            assert ax.get_xlabel().startswith("key") and ax.get_ylabel().startswith("query")
            assert faded.get_bbox().bounds == (-0.5, 4.5 - padding, 5, padding)
        assert artists.note.get_text().partition(":")[0] == named
        check_texts(figure)
    for mark in (artists.dots, *artists.numbers[-1]):  # are easy to read there too
        assert mark.get_zorder() > artists.faded[0].get_zorder() and to_rgb(mark.get_color()) == (0, 0, 0)
    [name] = [text for text in axes[1].texts if text.get_text() == "sum"]
    tick = axes[1].xaxis.get_major_ticks()[0].label2
    assert name.get_color() == tick.get_color()
    assert name.get_window_extent().y0 == pytest.approx(tick.get_window_extent().y0)


def test_more_padding_than_tokens_is_refused():
    for padding in (-1, 7):
        with pytest.raises(ValueError, match=rf"padding must lie in 0\.\.6, got {padding}"):
            masked(torch.randn(7, 7), causal=True, padding=padding)


# ---------------------------------------------------------------------------- decoding with a cache


@cache
def tiny():
    """An untrained model of numbers of up to three digits, with 3 layers of 5 heads, whose answers never
    end."""
    generator = torch.Generator().manual_seed(0)
    corpus = make_corpus(number_pairs(40, digits=3, generator=generator), held_out=3, generator=generator)
    sizes = len(corpus.source_vocabulary), len(corpus.target_vocabulary)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Transformer(*sizes, model_size=10, num_heads=5, num_layers=3, inner_size=7)
        for parameter in model.parameters():
            parameter.data *= 1.5
        model.x_to_y.bias.data[EOS] = -100
    return model, corpus


@cache
def cached():
    decoding = cached_decoding(*tiny(), "삼백이십일", max_length=11)
    with look():
        return draw_cache(page_of(cache_size(decoding)), decoding), decoding


def test_what_is_shown_is_the_models_greedy_answer():
    model, corpus = tiny()
    decoding = cached()[1]
    assert decoding.source == [*"삼백이십일", "<eos>"]
    state = model.start(to_tensor(["삼백이십일"], corpus.source_vocabulary))
    answer = greedy(model.step, state, start=torch.tensor([SOS]), end=EOS, max_length=11).tokens[0]
    assert decoding.tokens == ["<sos>", *corpus.target_vocabulary.decode(answer[:-1])]
    assert (
        decoding.words[int(CacheView(decoding, 11).probabilities.argmax())]
        == (corpus.target_vocabulary[int(answer[-1])])
    )


@pytest.mark.parametrize("step", [1, 4, 11])
def test_keys_values_and_weights_are_those_of_reading_everything_at_once(step):
    model, corpus = tiny()
    artists, decoding = cached()
    update_cache(artists, CacheView(decoding, step))
    tokens = corpus.target_vocabulary.encode(decoding.tokens[:step])[None]
    with torch.no_grad():
        start = model.start(corpus.source_vocabulary.encode(decoding.source)[None])
        whole = model.extend(tokens, start)
    for image, expected in (
        (artists.keys, whole.cache.own[-1].k[0].mT.flatten(0, 1)),
        (artists.values, whole.cache.own[-1].v[0].mT.flatten(0, 1)),
        (artists.weights, whole.self_weights[-1][0, :, -1]),
    ):
        shown = np.ma.filled(image.get_array(), np.nan)
        np.testing.assert_allclose(shown[:, :step], expected, atol=1e-5)
        assert shown.shape[1] == 11 and np.isnan(shown[:, step:]).all()
        low, high = image.get_clim()
        assert low <= expected.min() and expected.max() <= high
    p = whole.logits[0, -1].softmax(-1)
    best = p.argsort(descending=True)[:5]
    torch.testing.assert_close(torch.tensor([bar.get_width() for bar in artists.bars]), p[best])
    assert [word.get_text() for word in artists.words] == corpus.target_vocabulary.decode(best)
    assert [float(number.get_text()) for number in artists.numbers] == pytest.approx(p[best], abs=6e-4)


def test_words_whose_probability_would_read_0_000_are_left_out():
    artists, decoding = cached()
    step = decoding.steps[0]
    p = torch.full((len(decoding.words),), 1e-6)
    p[5:8] = torch.tensor([0.0004, 0.9, 0.0006])
    sure = decoding._replace(steps=(step._replace(logits=p.log()[None, None]), *decoding.steps[1:]))
    update_cache(artists, CacheView(sure, 1))
    assert [word.get_text() for word in artists.words] == [decoding.words[6], decoding.words[7], "", "", ""]
    assert [number.get_text() for number in artists.numbers] == ["0.999", "0.001", "", "", ""]
    assert [bar.get_width() > 0 for bar in artists.bars] == [True, True, False, False, False]


def test_columns_of_earlier_tokens_stay_and_only_the_newest_is_framed():
    artists, decoding = cached()
    before = None
    for step in range(1, 12):
        update_cache(artists, CacheView(decoding, step))
        keys = np.ma.filled(artists.keys.get_array(), np.nan)
        if before is not None:
            np.testing.assert_array_equal(keys[:, : step - 1], before[:, : step - 1])
        before = keys
        for frame in artists.newest:
            assert frame.get_bbox().bounds == (step - 1.5, -0.5, 1, 10)
        seen = [token.get_text() for token in artists.tokens if token.get_visible()]
        assert seen == decoding.tokens[:step]
        assert [token.get_fontweight() for token in artists.tokens].index("bold") == step - 1


def test_the_account_counts_what_goes_through_the_decoder():
    artists, decoding = cached()
    calls = 0
    for step in range(1, 12):
        update_cache(artists, CacheView(decoding, step))
        calls += step  # without a cache all tokens so far are read again
        without, with_cache = artists.lines
        assert without.get_xdata()[-1] == with_cache.get_xdata()[-1] == len(without.get_xdata()) == step
        assert (without.get_ydata()[-1], with_cache.get_ydata()[-1]) == (calls, step)
        assert artists.account.get_text() == (
            f"this step: 1 token through the decoder (without cache: {step})\n"
            f"all steps so far: {step} (without cache: {calls})"
        )
    assert without.axes.get_ylabel().split() == "tokens through the decoder".split()
    assert without.axes.get_ylim()[1] >= calls and without.get_linestyle() != with_cache.get_linestyle()


@pytest.mark.parametrize("length", [1, 8, 30])
def test_all_of_a_decoding_can_be_read_whatever_its_length(length):
    found = cached_decoding(*tiny(), "백" * 30, max_length=length)
    long = found._replace(tokens=["seventeen"] * length, words=["seventeen"] * len(found.words))
    with look():
        artists = draw_cache(page_of(cache_size(long)), long)
        update_cache(artists, CacheView(long, length))
        check_texts(artists.headline.figure)
    turned = length == 30
    assert (artists.tokens[0].get_rotation() > 0) == turned
    boxes = [token.get_window_extent() for token in artists.tokens]
    apart = np.diff([box.x0 for box in boxes])
    assert (apart > (boxes[0].height / 5 if turned else boxes[0].width)).all()
    caption = next(text for text in texts(artists.headline.figure) if text.get_text().startswith("Keys and"))
    assert all(box.y1 <= caption.get_window_extent().y0 for box in boxes)


def test_a_step_that_is_not_there_is_refused():
    artists, decoding = cached()
    for step in (0, 12):
        with pytest.raises(ValueError, match=rf"step must lie in 1\.\.11, got {step}"):
            update_cache(artists, CacheView(decoding, step))


# -------------------------------------------------------------------------------------- measurements


def test_times_that_grow_as_a_square_are_a_line_of_slope_2():
    lengths = [10, 20, 40, 80]
    times = {"with the cache": [0.001 * n for n in lengths], "without": [0.0001 * n**2 for n in lengths]}
    ax = plot_times(times, lengths)
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_ylabel()) == ("log", "log", "Time")
    for line, slope, (label, seconds) in zip(ax.lines, (1, 2), times.items(), strict=True):
        assert line.get_label() == label and list(line.get_ydata()) == seconds
        places = ax.transData.inverted().transform(line.get_xydata()), np.log(line.get_xydata())
        np.testing.assert_allclose(np.diff(places[1][:, 1]) / np.diff(places[1][:, 0]), slope)
    assert len({(line.get_marker(), line.get_linestyle()) for line in ax.lines}) == 2
    assert labels(ax.xaxis) == ["10", "20", "40", "80"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(times)
    check_texts(ax.figure)


def test_ticks_of_times_are_powers_of_ten_with_their_unit():
    ax = plot_times({"a": [5e-6, 3]}, [3, 5])
    check_texts(ax.figure)
    seen = [text for text in texts(ax.figure) if text in ax.yaxis.get_ticklabels()]
    assert [text.get_text() for text in seen] == "10 µs,100 µs,1 ms,10 ms,100 ms,1 s".split(",")


def test_times_are_drawn_on_axes_that_are_given_with_their_own_label():
    ax = plt.subplots()[1]
    assert plot_times({"a": [1, 2]}, [3, 5], ax=ax, xlabel="Tokens") is ax
    assert ax.get_xlabel() == "Tokens" and ax.get_legend() is None


def test_times_that_cannot_be_drawn_are_refused(learner):
    for times, lengths, match in (
        ({}, [1], "times must hold at least one line, got none"),
        ({"a": [1.0]}, [0], r"lengths must be positive, got \[0\]"),
        ({"a": [1.0]}, [1, 2], "times must have 2 numbers, as lengths has, 'a' has 1"),
        ({"a": [1.0, 0.0]}, [1, 2], r"times must be positive, 'a' is \[1.0, 0.0\]"),
    ):
        with pytest.raises(ValueError, match=match):
            plot_times(times, lengths)


def test_each_head_has_a_bar_as_high_as_what_is_lost_without_it():
    drops = torch.tensor([[0.01, 0.39, -0.02], [0.0, 0.075, 0.5]])
    ax = plot_head_drops(drops)
    heights = [bar.get_height() for bar in ax.patches]
    assert heights == pytest.approx(drops.flatten().tolist())
    assert {text.get_text() for text in ax.texts} >= {"0.39", "−0.02", "0.00", "0.50"}
    assert labels(ax.xaxis) == ["1", "2", "3"] * 2
    [layers] = ax.child_axes
    assert labels(layers.xaxis) == ["head of layer 1", "head of layer 2"]
    centres = [bar.get_x() + bar.get_width() / 2 for bar in ax.patches]
    assert centres == pytest.approx(ax.get_xticks()) and np.mean(centres[3:]) == layers.get_xticks()[1]
    assert ax.patches[0].get_facecolor()[:3] != to_rgb("white")
    check_texts(ax.figure)
    given = plt.subplots()[1]
    assert plot_head_drops(drops, ax=given) is given and given.get_legend() is None


@pytest.mark.parametrize("marked", [(0, 1), (1, 0)])
def test_a_marked_head_is_framed_even_where_its_bar_has_no_height(marked):
    ax = plot_head_drops(torch.tensor([[0.01, 0.39, -0.02], [0.0, 0.075, 0.5]]), marked=marked)
    check_texts(ax.figure)
    *bars, frame = ax.patches
    bar, box = bars[3 * marked[0] + marked[1]], frame.get_window_extent()
    [number] = [text for text in ax.texts if text.get_text() == f"{bar.get_height():.2f}"]
    for part in (bar, number):
        inside = part.get_window_extent()
        assert box.x0 < inside.x0 and inside.x1 < box.x1 and box.y0 < inside.y0 and inside.y1 < box.y1
    assert not frame.get_fill()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["the clearest head"]


@pytest.mark.parametrize("marked", [(2, 0), (0, 3), (-1, 0)])
def test_a_marked_head_that_is_not_there_is_refused(marked):
    match = rf"marked must be a layer in 0\.\.1 and a head in 0\.\.2, got {re.escape(str(marked))}"
    with pytest.raises(ValueError, match=match):
        plot_head_drops(torch.zeros(2, 3), marked=marked)
