"""||dL/dh_t|| for all t: one pass against one autograd call for each step. Prints ratios; see README.md."""

from statistics import median

import torch
from timing import seconds
from torch import Tensor
from torch.testing import assert_close

from seqlib.bptt import gradient_norms
from seqlib.rnn import RNNCell
from seqlib.untrained import random_cell

LENGTHS = [100, 300, 1000]
E, H = 5, 64
PASSES = 10  # before and again after the naive way, which runs once


def naive_norms(cell: RNNCell, x: Tensor) -> Tensor:
    """What one writes first: ask autograd for each state's gradient in turn."""
    h, states = cell.initial_state(x).requires_grad_(), []
    for x_t in x.unbind(1):
        h = cell(x_t, h)
        states.append(h)
    loss = h.sum()
    norms = [torch.autograd.grad(loss, h_t, retain_graph=True)[0].norm() for h_t in states]
    return torch.stack(norms)


def compare(cell: RNNCell, x: Tensor) -> tuple[float, float]:
    """Seconds of one pass (median) and of the naive way."""
    found: dict[str, Tensor] = {}

    def one_pass() -> None:
        found["one pass"] = gradient_norms(cell, x)

    def naive() -> None:
        found["naive"] = naive_norms(cell, x)

    one_pass()  # not counted
    before = [seconds(one_pass) for _ in range(PASSES)]
    naive_time = seconds(naive)
    after = [seconds(one_pass) for _ in range(PASSES)]
    assert_close(found["one pass"], found["naive"])
    return median(before + after), naive_time


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    cell = random_cell("RNN", E, H, orthogonal=True, generator=generator)
    print(f"Plain RNN, float64, H = {H}, one sequence.\n")
    print("   T     one pass    one call a step    one call a step / one pass")
    passes = []
    for T in LENGTHS:
        one_pass, naive = compare(cell, torch.randn(1, T, E, generator=generator, dtype=torch.float64))
        passes.append(one_pass)
        print(f"{T:4} {one_pass * 1e3:9.1f} ms {naive * 1e3:15.0f} ms {naive / one_pass:29.0f}", flush=True)
    grown = passes[-1] / passes[0]
    print(f"\nFrom T = {LENGTHS[0]} to {LENGTHS[-1]} one pass takes {grown:.1f} times as long.")


if __name__ == "__main__":
    main()
