"""Times of several ways of doing the same thing, taken in turns."""

import time
from collections.abc import Callable, Iterable
from itertools import cycle
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from seqlib.seq2seq import decoder_inputs, masked_loss


def seconds(way: Callable[[], Any]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def interleaved(ways: dict[str, Callable[[], Any]], *, rounds: int) -> dict[str, list[float]]:
    """Seconds of every way in every round. Each round runs all ways, so that a busy moment meets them all.

    Two rounds more go first and are not counted. Every second round runs backwards, so that no way always
    follows the same neighbour.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for n in range(rounds + 2):
        for name in reversed(ways) if n % 2 else ways:
            times[name].append(seconds(ways[name]))
    return {name: taken[2:] for name, taken in times.items()}


def ratio(times: Iterable[float], others: Iterable[float]) -> float:
    """Median over the rounds of one way's time divided by another's in the same round."""
    return median(a / b for a, b in zip(times, others, strict=True))


def training(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Callable[[], None]:
    """One step of training a translator a call, on one batch after the other."""
    optimizer, supply = torch.optim.Adam(model.parameters(), lr=1e-3), cycle(batches)

    def step() -> None:
        source, target = next(supply)
        optimizer.zero_grad()
        masked_loss(model(source, decoder_inputs(target)), target).backward()
        optimizer.step()

    return step
