"""seqlib's recurrent layers against torch.nn's, forward and backward. Prints ratios; see README.md."""

from collections.abc import Callable
from statistics import median

import torch
from timing import interleaved, ratio
from torch import Tensor, nn
from torch.testing import assert_close

from seqlib.bptt import rnn_states
from seqlib.rnn import RNN

SIZES = [(1, 128, 64), (8, 128, 64), (32, 64, 128), (32, 128, 128), (32, 256, 128), (64, 128, 256)]
ROUNDS = 31


def networks(B: int, T: int, H: int) -> dict[str, Callable[[], Tensor]]:
    """Three ways to the same states (B, T, H): the same weights, and the same input of H features."""
    theirs = nn.RNN(H, H, batch_first=True)
    ours = RNN.from_torch(theirs)
    cell = ours.cells[0]
    x, h_0 = torch.randn(B, T, H, requires_grad=True), torch.zeros(B, H)
    W_xh, W_hh, b = (
        weight.detach().clone().requires_grad_()
        for weight in (cell.x_to_h.weight.mT, cell.h_to_h.weight.mT, cell.x_to_h.bias)
    )
    ways = {
        "nn.RNN": lambda: theirs(x)[0],
        "RNN": lambda: ours(x)[0],
        "rnn_states": lambda: rnn_states(x, h_0, W_xh, W_hh, b),
    }
    for states in ways.values():
        assert_close(states(), ways["nn.RNN"]())
    return ways


def with_backward(states: Callable[[], Tensor], B: int, T: int, H: int) -> Callable[[], None]:
    dL_dh = torch.randn(B, T, H)
    return lambda: states().backward(dL_dh)


def compare(B: int, T: int, H: int) -> str:
    forward = networks(B, T, H)
    both = {name + "+": with_backward(states, B, T, H) for name, states in forward.items()}
    times = interleaved(forward | both, rounds=ROUNDS)
    row = f"{B:3} {T:4} {H:4} {median(times['nn.RNN+']) * 1e3:9.1f} ms"
    for name in ("RNN", "rnn_states"):
        forward_ratio = ratio(times[name], times["nn.RNN"])
        row += f"  | {forward_ratio:9.2f} {ratio(times[name + '+'], times['nn.RNN+']):9.2f}"
    return row


def growth(B: int, T: int, H: int) -> str:
    """How many times as long twice the steps take, forward and backward."""
    once, twice = networks(B, T, H), networks(B, 2 * T, H)
    ways = {name: with_backward(states, B, T, H) for name, states in once.items()}
    ways |= {name + " twice": with_backward(states, B, 2 * T, H) for name, states in twice.items()}
    times = interleaved(ways, rounds=ROUNDS)
    grown = [f"{name} {ratio(times[name + ' twice'], times[name]):.2f}" for name in once]
    return f"From T = {T} to {2 * T} at B = {B}, H = {H} the time grows by: {', '.join(grown)}."


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("             nn.RNN, both    |     RNN / nn.RNN      |  rnn_states / nn.RNN")
    print("  B    T    H                |   forward      both   |   forward      both")
    for size in SIZES:
        print(compare(*size), flush=True)
    print("\nboth: forward and backward. Below 1: faster than nn.RNN.")
    print(growth(32, 128, 128))


if __name__ == "__main__":
    main()
