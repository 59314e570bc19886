"""Explorers of chapter 01: shuffled text, context length and smoothing, forecasts of a series."""

import math
from functools import cache
from typing import NamedTuple

import torch
from ipywidgets import FloatLogSlider, FloatSlider, IntSlider
from jaxtyping import Float, Int
from torch import Tensor

from seqlib.data import sunspots, tales
from seqlib.figures import probability as figures
from seqlib.figures.probability import Forecasting, Shuffled, ShuffleSpread
from seqlib.figures.style import look, new_figure
from seqlib.probability import (
    Autoregression,
    NGram,
    fit_autoregression,
    perplexity,
    rolling_forecasts,
)
from seqlib.vocab import Vocabulary
from seqlib.widgets.explorer import Explorer

# ------------------------------------------------------------------------------------------ shuffling


def shuffle_explorer() -> Explorer:
    """What becomes of a text, and of its probability, as more of its characters change places.

    The held-out tales under a character trigram model of the training part (smoothing 0.01).
    Controls: "Shuffled share", "Seed".
    """
    train, held_out = tales()
    vocabulary = Vocabulary(train + held_out)
    model = NGram(vocabulary.encode(train), order=2, vocabulary_size=len(vocabulary))
    tokens = vocabulary.encode(held_out)

    def bits_of(order: Tensor) -> float:
        return float(-model.log_probs(tokens[order], smoothing=0.01).mean()) / math.log(2)

    shares = torch.linspace(0, 1, 21)
    spread = torch.tensor(
        [[bits_of(shuffled_order(len(tokens), s, seed=seed)) for s in shares.tolist()] for seed in range(11)]
    )

    figure, axes = new_figure(9.5, 4.0, ncols=2, width_ratios=(1.15, 1))
    with look():
        artists = figures.draw_shuffled(axes, ShuffleSpread(shares, spread), vocabulary_size=len(vocabulary))

    def compute(share: float, seed: int) -> Shuffled:
        order = shuffled_order(len(tokens), share, seed=seed)
        text = "".join(held_out[k] for k in order.tolist())
        return Shuffled(share, text, order != torch.arange(len(order)), bits_of(order))

    def describe(trace: Shuffled) -> str:
        return (
            f"{int(trace.moved.sum()):,} of the text's {len(trace.text):,} characters have changed places. "
            f"It now costs {trace.bits:.2f} bits a character under a trigram model; in its own order "
            f"{spread[0, 0]:.2f}, with all of them moved {spread[:, -1].median():.2f}, and guessing evenly "
            f"among {len(vocabulary)} characters {math.log2(len(vocabulary)):.2f}. "
            f"It begins: {trace.text[:80]}"
        )

    return Explorer(
        compute,
        figures.update_shuffled,
        figure=figure,
        artists=artists,
        describe=describe,
        share=FloatSlider(description="Shuffled share", value=0.2, min=0, max=1, step=0.01),
        seed=IntSlider(description="Seed", value=0, min=0, max=10),
    )


def shuffled_order(length: int, share: float | int, *, seed: int) -> Int[Tensor, " length"]:
    """Which place each place's element comes from, when a share of all change places in a random cycle.

    A larger share with the same seed moves the same ones and more. A share that makes one element moves
    none. Raises ValueError for a share outside of 0..1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in 0..1, got {share}")
    chosen = torch.randperm(length, generator=torch.Generator().manual_seed(seed))[: round(share * length)]
    order = torch.arange(length)
    order[chosen] = chosen.roll(1)
    return order


# -------------------------------------------------------------------------------------------- context


class Contexts(NamedTuple):
    """Perplexities of n-gram models by context length, and the surprisal of some text under one of them."""

    length: int
    smoothing: float
    train: Float[Tensor, " N"]
    held_out: Float[Tensor, " N"]
    text: str
    bits: Float[Tensor, " T"]


_SCORED = 8_000  # training characters: the whole part would be too slow for a slider
_SHOWN = 400


def context_explorer() -> Explorer:
    """A longer context fits the training part ever better, and the held-out part only for a while.

    Character n-gram models of the training tales; scored on the last 8,000 characters of that part, about
    as many as are held out, and on the whole held-out part. Controls: "Context length", "Smoothing".
    """
    train, held_out = tales()
    vocabulary = Vocabulary(train + held_out)
    V, tokens, unseen = len(vocabulary), vocabulary.encode(train), vocabulary.encode(held_out)
    models = [NGram(tokens, order=order, vocabulary_size=V) for order in range(6)]
    begin = held_out.index("\n\n") + 2  # after the title, where all models have their context
    text = held_out[begin : begin + _SHOWN].rsplit(" ", 1)[0]

    figure, axes = new_figure(9.5, 4.4, ncols=2, width_ratios=(1, 1.4))
    with look():
        artists = (
            figures.draw_perplexity(axes[0], len(models), top=V),
            figures.draw_surprisal(axes[1], text),
        )

    @cache  # while the context length moves
    def measure(smoothing: float) -> tuple[Tensor, Tensor, list[Tensor]]:
        log_probs = [model.log_probs(unseen, smoothing=smoothing) for model in models]
        seen = [model.log_probs(tokens[-_SCORED:], smoothing=smoothing) for model in models]
        return (
            torch.tensor([perplexity(each) for each in seen]),
            torch.tensor([perplexity(each) for each in log_probs]),
            log_probs,
        )

    def compute(length: int, smoothing: float) -> Contexts:
        on_train, on_held_out, log_probs = measure(smoothing)
        shown = log_probs[length][begin - length :][: len(text)]  # the first `length` are not predicted
        return Contexts(length, smoothing, on_train, on_held_out, text, -shown / math.log(2))

    def update(artists: tuple, trace: Contexts) -> None:
        lines, letters = artists
        figures.update_perplexity(lines, trace.train, trace.held_out, length=trace.length)
        figures.update_surprisal(letters, trace.bits)

    def describe(trace: Contexts) -> str:
        best, worst = int(trace.held_out.argmin()), int(trace.bits.argmax())
        return (
            f"Context length {trace.length}, smoothing {trace.smoothing:.3g}: perplexity "
            f"{trace.train[trace.length]:.2f} on the last {_SCORED:,} characters of the training part "
            f"and {trace.held_out[trace.length]:.2f} on the held-out part, where it is lowest at length "
            f"{best}, {trace.held_out[best]:.2f}. The {len(text)} held-out characters shown cost "
            f"{trace.bits.mean():.2f} bits each on average, and the most improbable one, {text[worst]!r} "
            f"after {held_out[begin + worst - 8 : begin + worst]!r}, {trace.bits[worst]:.1f}."
        )

    return Explorer(
        compute,
        update,
        figure=figure,
        artists=artists,
        describe=describe,
        length=IntSlider(description="Context length", value=2, min=0, max=len(models) - 1),
        smoothing=FloatLogSlider(
            description="Smoothing", value=0.01, min=-5, max=1, step=0.25, readout_format=".3g"
        ),
    )


# ------------------------------------------------------------------------------------------ forecasts


def forecast_explorer() -> Explorer:
    """How far ahead yearly sunspot numbers can be forecast by an autoregression, fitted before 1900 only.

    Controls: "Order", "Horizon".
    """
    years, series = sunspots()
    start = int((years < 1900).sum())
    past, shown, horizons = series[:start], years[start:], 40
    mean_rmse = float((series[start:] - past.mean()).square().mean().sqrt())

    figure, axes = new_figure(9.5, 4.0, ncols=2, width_ratios=(1.7, 1))
    with look():
        artists = figures.draw_forecast(axes, shown, series[start:], mean_rmse=mean_rmse, horizons=horizons)

    @cache  # while the horizon moves
    def measure(order: int) -> tuple[Autoregression, Tensor]:
        model = fit_autoregression(past, order)
        forecasts = [rolling_forecasts(model, series, start=start, horizon=h) for h in range(1, horizons + 1)]
        return model, torch.tensor([each.rmse for each in forecasts])

    def compute(order: int, horizon: int) -> Forecasting:
        model, rmse = measure(order)
        predicted = rolling_forecasts(model, series, start=start, horizon=horizon).predicted
        return Forecasting(order, horizon, predicted, model.forecast(past, horizon=len(shown)), rmse)

    def describe(trace: Forecasting) -> str:
        return (
            f"An autoregression of order {trace.order}, fitted on {years[0]} to {shown[0] - 1}, forecasts "
            f"each year from {shown[0]} to {shown[-1]}, {figures.years_ahead(trace.horizon)}. Root mean "
            f"squared error: {trace.rmse[trace.horizon - 1]:.1f} sunspots; 1 year ahead {trace.rmse[0]:.1f}, "
            f"{horizons} years ahead {trace.rmse[-1]:.1f}, and always forecasting the mean of the past "
            f"{mean_rmse:.1f}."
        )

    return Explorer(
        compute,
        lambda artists, trace: figures.update_forecast(artists, shown, trace),
        figure=figure,
        artists=artists,
        describe=describe,
        order=IntSlider(description="Order", value=9, min=1, max=20),
        horizon=IntSlider(description="Horizon", value=5, min=1, max=horizons),
    )
