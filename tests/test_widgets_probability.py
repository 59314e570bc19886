import html
import math
import re
from itertools import product

import numpy as np
import pytest
import torch
from drive import drive, opened, settings

from seqlib.data import sunspots, tales
from seqlib.probability import NGram, fit_autoregression, perplexity
from seqlib.vocab import Vocabulary
from seqlib.widgets.probability import (
    context_explorer,
    forecast_explorer,
    shuffle_explorer,
    shuffled_order,
)

EXPLORERS = [shuffle_explorer, context_explorer, forecast_explorer]


def alternative(explorer):
    """The picture in words, as a screen reader finds it."""
    return html.unescape(re.search('role="img" aria-label="([^"]*)"', explorer.overlay.value)[1])


@pytest.mark.parametrize("make", EXPLORERS)
def test_every_control_works_at_its_minimum_middle_and_maximum_and_the_axes_stay(make):
    explorer = opened(make)
    background, pictures = explorer.background.value, set()
    for _ in drive(explorer):
        pictures.add(alternative(explorer))
        assert explorer.background.value == background
    assert len(pictures) > 3


@pytest.mark.parametrize("make", EXPLORERS)
def test_nothing_that_moves_leaves_its_axes_at_any_combination_of_extremes(make):
    explorer = opened(make)
    for values in product(*map(settings, explorer.controls.values())):
        explorer._update(
            explorer.artists, explorer._compute(**dict(zip(explorer.controls, values, strict=True)))
        )
        for ax in explorer.figure.axes:
            for line in ax.lines:
                data = np.atleast_2d(line.get_xydata()).astype(float).reshape(-1, 2)
                inside = [
                    (low <= data[:, k]) & (data[:, k] <= high)
                    for k, (low, high) in enumerate((ax.get_xlim(), ax.get_ylim()))
                    if line.get_transform().contains_branch_seperately(ax.transData)[k]
                ]
                assert np.all(inside), (values, line)


@pytest.mark.parametrize(
    ("make", "labels"),
    [
        (shuffle_explorer, ["Shuffled share", "Seed"]),
        (context_explorer, ["Context length", "Smoothing"]),
        (forecast_explorer, ["Order", "Horizon"]),
    ],
)
def test_controls_have_the_labels_by_which_learners_find_them(make, labels):
    assert [control.description for control in opened(make).controls.values()] == labels


@pytest.mark.parametrize("make", EXPLORERS)
def test_explorers_leave_the_global_generator_alone(make):
    before = torch.get_rng_state()
    make()
    assert torch.equal(torch.get_rng_state(), before)


# ------------------------------------------------------------------------------------------ shuffling


@pytest.mark.parametrize("share", [0, 0.25, 0.5, 1])
def test_exactly_the_share_changes_places_and_nothing_is_lost(share):
    order = shuffled_order(16, share, seed=3)
    assert order.sort().values.tolist() == list(range(16))
    assert (order != torch.arange(16)).sum() == 16 * share


def test_a_larger_share_moves_the_same_places_and_more():
    moved = [shuffled_order(101, share, seed=5) != torch.arange(101) for share in (0.1, 0.4, 0.9)]
    assert (moved[0] <= moved[1]).all() and (moved[1] <= moved[2]).all()


def test_what_has_moved_may_have_come_from_anywhere():
    sources = {int(shuffled_order(7, 1, seed=seed)[0]) for seed in range(100)}
    assert sources == {1, 2, 3, 4, 5, 6}


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=f"share must lie in 0..1, got {share}"):
        shuffled_order(7, share, seed=0)


def test_the_text_shown_is_the_held_out_one_with_that_many_characters_moved():
    explorer = opened(shuffle_explorer)
    explorer.controls["share"].value = 0.3
    trace, held_out = explorer.trace, tales()[1]
    assert sorted(trace.text) == sorted(held_out)
    assert int(trace.moved.sum()) == round(0.3 * len(held_out))
    assert all(
        a == b for a, b, away in zip(trace.text, held_out, trace.moved.tolist(), strict=True) if not away
    )
    explorer.controls["share"].value = 0.0
    assert explorer.trace.text == held_out
    first = "".join(line.get_text() for line in explorer.artists.kept)
    assert first == held_out[: len(first)].replace("\n", "↵")
    assert not "".join(line.get_text() for line in explorer.artists.moved).strip()


@pytest.mark.parametrize("seed", [0, 7])
def test_bits_are_those_of_the_trigram_model_for_the_text_as_it_is_shown(seed):
    train, held_out = tales()
    vocabulary = Vocabulary(train)
    model = NGram(vocabulary.encode(train), order=2, vocabulary_size=len(vocabulary))
    explorer = opened(shuffle_explorer)
    explorer.controls["seed"].value = seed
    log_probs = model.log_probs(vocabulary.encode(explorer.trace.text), smoothing=0.01)
    assert explorer.trace.bits == pytest.approx(-log_probs.mean().item() / math.log(2))
    assert explorer.artists.mark.get_xydata().tolist() == [[0.2, explorer.trace.bits]]
    text = alternative(explorer)
    assert f"{explorer.trace.bits:.2f} bits" in text and f"{int(explorer.trace.moved.sum()):,} of the" in text


def test_the_more_is_shuffled_the_more_a_character_costs_up_to_more_than_a_blind_guess():
    explorer, bits = opened(shuffle_explorer), []
    for share in (0.0, 0.1, 0.2, 0.5, 1.0):
        explorer.controls["share"].value = share
        bits.append(explorer.trace.bits)
    assert all(b > a + 0.5 for a, b in zip(bits, bits[1:], strict=False))
    assert bits[0] < 3 < math.log2(60) < 8 < bits[-1]


def test_every_seed_of_the_slider_lies_within_the_band():
    explorer = opened(shuffle_explorer)
    [band] = explorer.figure.axes[1].collections
    edges = band.get_paths()[0].vertices
    at = edges[np.isclose(edges[:, 0], 0.2), 1]
    bits = [explorer._compute(share=0.2, seed=seed).bits for seed in range(11)]
    assert (min(bits), max(bits)) == pytest.approx((at.min(), at.max()), rel=1e-6)


# -------------------------------------------------------------------------------------------- context


def test_perplexities_are_those_of_the_models_and_of_the_whole_training_part_within_a_few_percent():
    train, held_out = tales()
    vocabulary = Vocabulary(train)
    tokens, unseen = vocabulary.encode(train), vocabulary.encode(held_out)
    trace = opened(context_explorer).trace
    assert (trace.length, trace.smoothing) == (2, 0.01)
    for order, (on_train, on_held_out) in enumerate(zip(trace.train, trace.held_out, strict=True)):
        model = NGram(tokens, order=order, vocabulary_size=len(vocabulary))
        expected = [perplexity(model.log_probs(part, smoothing=0.01)) for part in (tokens, unseen)]
        assert on_train.item() == pytest.approx(expected[0], rel=0.03)
        assert on_held_out.item() == pytest.approx(expected[1])


def test_the_colours_are_the_surprisal_of_the_held_out_text_at_every_context_length():
    train, held_out = tales()
    vocabulary = Vocabulary(train)
    tokens, unseen = vocabulary.encode(train), vocabulary.encode(held_out)
    explorer = opened(context_explorer)
    for order in range(6):
        explorer.controls["length"].value = order
        trace = explorer.trace
        begin = held_out.index(trace.text)
        model = NGram(tokens, order=order, vocabulary_size=len(vocabulary))
        context_and_text = unseen[begin - order : begin + len(trace.text)]
        expected = -model.log_probs(context_and_text, smoothing=0.01) / math.log(2)
        torch.testing.assert_close(trace.bits, expected)
        cells = np.ma.filled(explorer.artists[1].cells.get_array(), np.nan)
        np.testing.assert_allclose(cells[np.isfinite(cells)], expected)
        assert f"Context length {order}," in alternative(explorer)


def test_in_front_of_the_colours_are_the_letters_and_nothing_else():
    explorer = opened(context_explorer)
    assert explorer.foreground.value.count("<path") == len(explorer.trace.text)


def test_longer_contexts_fit_the_training_part_ever_better_and_the_held_out_part_only_for_a_while():
    trace = opened(context_explorer).trace
    assert (trace.train.diff() < -0.3).all()
    best = int(trace.held_out.argmin())
    assert 0 < best < 5 and trace.held_out[5] > 1.5 * trace.held_out[best]


def test_smoothing_moves_both_curves():
    explorer = opened(context_explorer)
    lines, _ = explorer.artists
    before = [curve.get_ydata().copy() for curve in lines.curves]
    explorer.controls["smoothing"].value = 10.0
    for curve, values, old in zip(
        lines.curves, (explorer.trace.train, explorer.trace.held_out), before, strict=True
    ):
        np.testing.assert_array_equal(curve.get_ydata(), values)
        assert (curve.get_ydata()[2:] > 2 * old[2:]).all()
    shown = [text.get_text() for text in lines.legend.get_texts()]
    assert shown == [f"training {explorer.trace.train[2]:.2f}", f"held-out {explorer.trace.held_out[2]:.2f}"]


def test_context_is_described_in_words():
    explorer = opened(context_explorer)
    trace, text = explorer.trace, alternative(explorer)
    assert f"{trace.train[2]:.2f} on the last 8,000 characters of the training part" in text
    assert f"{trace.held_out[2]:.2f} on the held-out part" in text
    worst = int(trace.bits.argmax())
    assert f"{trace.text[worst]!r} after {trace.text[worst - 8 : worst]!r}, {trace.bits[worst]:.1f}" in text


# ------------------------------------------------------------------------------------------ forecasts


def test_forecasts_know_nothing_but_the_years_up_to_the_horizon():
    explorer = opened(forecast_explorer)
    explorer.controls["order"].value, explorer.controls["horizon"].value = 3, 7
    years, series = sunspots()
    model = fit_autoregression(series[:200], 3)
    expected = [model.forecast(series[: t - 6], horizon=7)[-1].item() for t in range(200, 309)]
    assert years[200] == 1900
    np.testing.assert_allclose(explorer.artists.predicted.get_ydata(), expected)
    np.testing.assert_array_equal(explorer.artists.predicted.get_xdata(), years[200:])
    np.testing.assert_allclose(explorer.artists.free.get_ydata(), model.forecast(series[:200], horizon=109))


def test_errors_by_horizon_are_those_of_the_forecasts():
    explorer = opened(forecast_explorer)
    series = sunspots()[1]
    for horizon in (1, 11, 40):
        explorer.controls["horizon"].value = horizon
        expected = (explorer.trace.predicted - series[200:]).square().mean().sqrt().item()
        assert explorer.trace.rmse[horizon - 1].item() == pytest.approx(expected)
        assert explorer.artists.mark.get_xydata().tolist() == [[horizon, pytest.approx(expected)]]
    assert len(explorer.trace.rmse) == 40


def test_forecasts_of_the_next_year_are_far_better_than_the_mean_and_those_far_ahead_hardly():
    explorer = opened(forecast_explorer)
    mean = explorer.figure.axes[1].lines[0].get_ydata()[0]
    series = sunspots()[1]
    assert mean == pytest.approx((series[200:] - series[:200].mean()).square().mean().sqrt().item())
    rmse = explorer.trace.rmse
    assert rmse[0] < 0.4 * mean and 0.85 * mean < rmse[-1] < mean


def test_forecast_is_described_in_words():
    explorer = opened(forecast_explorer)
    explorer.controls["horizon"].value = 1
    text = alternative(explorer)
    assert "order 9, fitted on 1700 to 1899" in text and "from 1900 to 2008, 1 year ahead." in text
    assert f"error: {explorer.trace.rmse[0]:.1f} sunspots" in text and "mean of the past 50.1" in text
