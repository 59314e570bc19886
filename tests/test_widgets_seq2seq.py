import html
import re

import matplotlib
import numpy as np
import pytest
import torch
from drive import drive, opened, settings

from seqlib.decoding import beam_search, greedy, until_end
from seqlib.figures.seq2seq import as_text, exact_by_length
from seqlib.pairs import EOS, PAD, SOS, PairTensors, make_corpus, number_pair, number_pairs, to_tensor
from seqlib.seq2seq import Seq2Seq, exact_match, right_by_position, write
from seqlib.widgets.seq2seq import bottleneck_explorer, decoding_explorer, teacher_forcing_explorer

matplotlib.use("agg")

G = torch.Generator().manual_seed(0)
CORPUS = make_corpus(number_pairs(170, digits=3, generator=G), held_out=61, generator=G)
SOURCE = number_pair(342).source
EDGES = [0, 2, 4, 5]


@torch.random.fork_rng(devices=[])
def untrained(seed=0, *, corpus=CORPUS, context_size=6, gain=6.0):
    """A tiny model with clear preferences, so that its answers end at different steps."""
    torch.manual_seed(seed)
    sizes = len(corpus.source_vocabulary), len(corpus.target_vocabulary)
    model = Seq2Seq(*sizes, embedding_size=5, hidden_size=6, context_size=context_size)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(gain)
        model.h_to_y.bias[EOS] += 2
    return model.eval()


MODELS = {label: untrained(seed) for seed, label in enumerate(("1.0", "0.5", "0.0"))}
SIZES = {size: untrained(seed, context_size=size) for seed, size in enumerate((5, 1, 3))}


def decoding(**options):
    return decoding_explorer(untrained(), CORPUS, SOURCE, max_length=13, **options)


def forcing():
    return teacher_forcing_explorer(MODELS, CORPUS.train)


def bottleneck():
    return bottleneck_explorer(SIZES, CORPUS, edges=EDGES)


def alternative(explorer):
    """The picture in words, as a screen reader finds it."""
    return html.unescape(re.search('role="img" aria-label="([^"]*)"', explorer.overlay.value)[1])


@pytest.mark.parametrize(
    ("make", "labels"),
    [
        (decoding, ["Step", "Beam width"]),
        (forcing, ["Teacher forcing ratio", "Trained with"]),
        (bottleneck, ["Context size"]),
    ],
)
def test_every_labelled_control_works_over_its_range_and_nothing_else_changes(make, labels):
    before = torch.get_rng_state()
    explorer = make()
    assert [control.description for control in explorer.controls.values()] == labels
    background, pictures = explorer.background.value, set()
    for _ in drive(explorer):
        pictures.add(alternative(explorer))
        assert explorer.background.value == background  # axes and labels stay where they are
    assert len(pictures) >= 3
    assert torch.equal(torch.get_rng_state(), before)  # of the global generator


@pytest.mark.parametrize("make", [decoding, forcing, bottleneck])
def test_no_text_is_small_or_leaves_the_figure(make):
    explorer = opened(make)
    for control in explorer.controls.values():
        control.value = settings(control)[-1]
    figure = explorer.figure
    figure.draw_without_rendering()  # no letter is missing, or it would warn
    texts = [
        text for ax in figure.axes for text in ax.texts if text.get_visible() and text.get_text().strip()
    ]
    assert min(text.get_fontsize() for text in texts) >= 10
    for text in texts:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0, text
        assert box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height, text


# --------------------------------------------------------------------------------------- beam search


def search_of(width, model=None, max_length=13):
    model = model or untrained()
    return beam_search(
        model.step,
        model.start(to_tensor([SOURCE], CORPUS.source_vocabulary)),
        start=torch.tensor([SOS]),
        end=EOS,
        width=width,
        max_length=max_length,
    )


@pytest.mark.parametrize("width", [1, 4])
def test_rows_are_those_of_a_beam_search_of_that_width(width):
    explorer, search = decoding(), search_of(width)
    explorer.controls["width"].value = width
    for number, step in enumerate(search.steps, start=1):
        explorer.controls["step"].value = number
        view, note = explorer.trace
        assert (view.step, view.last) == (number, len(search.steps))
        assert note == ("" if number < 13 else "Stopped at 13 tokens.")
        rows = [tuple(CORPUS.target_vocabulary.decode(tokens)) for tokens in step.tokens]
        assert [row.tokens for row in view.rows] == rows
        assert [row.log_probability for row in view.rows] == step.log_probability.tolist()
        shown = [text.get_text() for text in explorer.artists.newest if text.get_visible()]
        assert shown == [as_text(row[-1:]) for row in rows]
        words = alternative(explorer)
        assert f"Step {number} of {view.last} of a beam search of width {width}" in words
        assert f"{rows[0][-1]}, after row {view.parents[0] + 1} of the step before, probability" in words
    best = search.hypotheses[0]
    assert best.finished and (number == 13) == (width > 2)
    assert view.finished[0].log_probability == best.log_probability
    assert f"log p {best.log_probability:.2f}" in words


def test_width_1_writes_the_greedy_answer_and_says_so():
    model = untrained()
    explorer = decoding(width=1, step=99)
    answer = greedy(
        model.step,
        model.start(to_tensor([SOURCE], CORPUS.source_vocabulary)),
        start=torch.tensor([SOS]),
        end=EOS,
        max_length=13,
    )
    [row] = explorer.trace[0].rows
    assert list(row.tokens) == CORPUS.target_vocabulary.decode(answer.tokens[0])
    assert "greedy" in explorer.artists.headline.get_text() and "greedy" in alternative(explorer)
    explorer.controls["width"].value = 2
    assert "greedy" not in explorer.artists.headline.get_text() + alternative(explorer)


def test_after_its_end_a_search_shows_its_last_step_and_says_so():
    explorer = decoding()
    lengths = {width: len(search_of(width).steps) for width in range(1, 7)}
    step, shortest = explorer.controls["step"], min(lengths, key=lengths.get)
    assert (step.min, step.max) == (1, max(lengths.values()))
    assert lengths[shortest] < step.max
    explorer.controls["width"].value, step.value = shortest, step.max
    assert explorer.trace[0].step == lengths[shortest]
    for words in (explorer.artists.note.get_text(), alternative(explorer)):
        assert words.startswith(f"The search ended before step {step.max}.")
    step.value = lengths[shortest]
    assert explorer.artists.note.get_text() == ""


def test_a_search_that_is_stopped_says_so():
    explorer = decoding_explorer(untrained(), CORPUS, SOURCE, step=2, max_length=2)
    assert not all(row.ended for row in explorer.trace[0].rows)
    assert explorer.artists.note.get_text() == "Stopped at 2 tokens."
    explorer.controls["step"].value = 1
    assert explorer.artists.note.get_text() == ""


def test_the_explorer_begins_where_it_is_told():
    assert repr(decoding()) == "Explorer(step=1, width=3)"
    explorer = decoding(step=3, width=2, max_width=2)
    assert repr(explorer) == "Explorer(step=3, width=2)"
    assert explorer.controls["width"].max == 2 and len(explorer.artists.bars) == 2


def test_long_sources_and_answers_fit():
    g = torch.Generator().manual_seed(1)
    corpus = make_corpus(
        [number_pair(777_777_777_777), *number_pairs(29, digits=12, generator=g)], held_out=7, generator=g
    )
    model = untrained(corpus=corpus)
    with torch.no_grad():
        model.h_to_y.bias[EOS] -= 99
    explorer = decoding_explorer(model, corpus, number_pair(777_777_777_777).source, width=6)
    explorer.controls["step"].value = 40
    explorer.figure.draw_without_rendering()
    track = explorer.artists.tracks[0].get_window_extent().x0
    for begun, newest in zip(explorer.artists.begun, explorer.artists.newest, strict=True):
        assert begun.get_text().startswith("… ")
        assert begun.get_window_extent().x1 < newest.get_window_extent().x0
        assert newest.get_window_extent().x1 < track
    [source] = [text for text in explorer.figure.axes[0].texts if "chil sip chil" in text.get_text()]
    assert source.get_window_extent().x1 < explorer.figure.bbox.width


def test_wrong_widths_steps_and_tokens_are_refused(learner):
    for options, match in (
        ({"width": 0}, r"width must lie in 1\.\.6, which is max_width, got 0"),
        ({"width": 4, "max_width": 3}, r"width must lie in 1\.\.3, which is max_width, got 4"),
        ({"step": 0}, "step must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=match):
            decoding(**options)
    with pytest.raises(ValueError, match="tokens must be in the vocabulary, 'x' is not"):
        decoding_explorer(untrained(), CORPUS, "x")


# ----------------------------------------------------------------------------------- teacher forcing


MANY, FEW = CORPUS.train, PairTensors(*(part[:40] for part in CORPUS.held_out))


@pytest.mark.parametrize(("pairs", "rows", "positions"), [(MANY, 100, 5), (FEW, 40, 4)])
@pytest.mark.parametrize(("label", "ratio"), [("1.0", 0.35), ("0.0", 0.8)])
def test_shares_are_those_that_right_by_position_measures(label, ratio, pairs, rows, positions):
    assert min(len(pairs.target), 100) == rows and pairs.target.shape[1] == 5
    reached = (pairs.target[:rows] != PAD).sum(0)
    assert reached[positions - 1] >= 20 and (reached[positions:] < 20).all()
    explorer = teacher_forcing_explorer(MODELS, pairs)
    explorer.controls["ratio"].value, explorer.controls["trained"].value = ratio, label
    shown = PairTensors(pairs.source[:rows], pairs.target[:rows, :positions])
    for line, forced in zip(explorer.artists.lines, (ratio, 1.0, 0.0), strict=True):
        expected = right_by_position(
            MODELS[label], shown, teacher_forcing=forced, generator=torch.Generator().manual_seed(0)
        )
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, positions + 1))
        np.testing.assert_allclose(line.get_ydata(), expected, atol=1e-6)
    words = alternative(explorer)
    assert words.startswith(f"Trained with {label}: the decoder reads the truth with probability {ratio:.2f}")
    assert f"on average {explorer.trace.mixed.mean():.2f}." in words


def test_the_picture_is_a_function_of_the_controls_and_the_seed():
    explorer = opened(forcing)
    ratio = explorer.controls["ratio"]
    assert ratio.value == 0.5 and (ratio.min, ratio.max, ratio.step) == (0, 1, 0.05)
    ratio.value = 0.5
    first = explorer.overlay.value
    ratio.value = 0.2
    ratio.value = 0.5
    assert explorer.overlay.value == first
    other = teacher_forcing_explorer(MODELS, CORPUS.train, seed=1)
    other.controls["ratio"].value = 0.5
    assert not torch.equal(other.trace.mixed, explorer.trace.mixed)


def test_a_single_model_needs_no_choice():
    explorer = teacher_forcing_explorer({"1.0": MODELS["1.0"]}, CORPUS.train)
    assert list(explorer.controls) == ["ratio"]
    assert alternative(explorer).startswith("The decoder reads the truth")


def test_no_models_and_too_few_pairs_are_refused(learner):
    with pytest.raises(ValueError, match="models must hold at least one model, got none"):
        teacher_forcing_explorer({}, CORPUS.train)
    few = PairTensors(*(part[:19] for part in CORPUS.train))
    with pytest.raises(ValueError, match="pairs must be at least 20, got 19"):
        teacher_forcing_explorer(MODELS, few)


# ---------------------------------------------------------------------------------------- bottleneck


@pytest.mark.parametrize("size", [1, 3])
def test_shares_and_answers_are_those_of_the_model_of_that_size(size):
    explorer = opened(bottleneck)
    explorer.controls["size"].value = size
    held_out = CORPUS.held_out
    lengths = (held_out.source > EOS).sum(1)
    right = exact_match(SIZES[size], held_out)
    shares = exact_by_length(right, lengths, edges=EDGES)
    np.testing.assert_array_equal(explorer.artists.shares.get_ydata(), shares)
    assert explorer.trace.exact == right.float().mean()
    answers = write(SIZES[size], held_out.source, max_length=held_out.target.shape[1])
    sources = [CORPUS.source_vocabulary.decode(until_end(row, EOS)) for row in held_out.source]
    for k, example in enumerate(explorer.trace.examples):
        row = sources.index(list(example.source))
        assert EDGES[k] < lengths[row] <= EDGES[k + 1]
        for words, tokens in ((example.target, held_out.target[row]), (example.answer, answers[row])):
            assert list(words) == CORPUS.target_vocabulary.decode(until_end(tokens, EOS))
        assert as_text(example.source) in [text.get_text() for text in explorer.figure.axes[1].texts]
    words = alternative(explorer)
    assert words.startswith(
        f"Context size {size}: {explorer.trace.exact:.2f} of 61 held-out answers are exact."
    )
    assert f"{shares[0]:.2f} of 1-2, {shares[1]:.2f} of 3-4, {shares[2]:.2f} of 5." in words
    assert "instead of" in words


def test_a_model_that_answers_rightly_is_said_to_be_exact():
    class Knowing(Seq2Seq):
        """It has the target of each source by heart."""

        def start(self, source):
            known = {tuple(until_end(s, EOS)): t for s, t in zip(*CORPUS.held_out, strict=True)}
            return torch.stack([known[tuple(until_end(row, EOS))] for row in source])

        def step(self, tokens, state):
            following = torch.nn.functional.one_hot(state[:, 0], len(CORPUS.target_vocabulary)).float()
            return following, torch.cat([state[:, 1:], state[:, :1]], 1)

    sizes = len(CORPUS.source_vocabulary), len(CORPUS.target_vocabulary)
    with torch.random.fork_rng(devices=[]):
        knowing = Knowing(*sizes, embedding_size=5, hidden_size=6)
    explorer = bottleneck_explorer({6: knowing, 1: SIZES[1]}, CORPUS, edges=EDGES)
    explorer.controls["size"].value = 6
    assert explorer.trace.exact == 1 and alternative(explorer).count("which is exact") == 3
    underlines = (line.underline for lines in explorer.artists.examples for line in lines)
    assert not any(text.get_text().strip() for text in underlines)
    explorer.controls["size"].value = 1
    assert "which is exact" not in alternative(explorer)


def test_sizes_are_offered_in_rising_order_and_all_of_them_stay_in_sight():
    explorer = opened(bottleneck)
    assert list(explorer.controls["size"].options) == [1, 3, 5]
    lines = [line for line in explorer.figure.axes[0].lines if line is not explorer.artists.shares]
    assert len(lines) == 3
    assert all(line.get_color() != explorer.artists.shares.get_color() for line in lines)


def test_no_models_and_bins_that_do_not_fit_are_refused(learner):
    with pytest.raises(ValueError, match="models must hold at least one model, got none"):
        bottleneck_explorer({}, CORPUS, edges=EDGES)
    with pytest.raises(ValueError, match="no length lies in 6-9"):
        bottleneck_explorer(SIZES, CORPUS, edges=[0, 5, 9])
