"""seqlib's recurrent layers against torch.nn's, forward and backward. Prints ratios; see README.md."""

from collections.abc import Callable
from statistics import median

import torch
from timing import interleaved, ratio, seconds
from torch import Tensor, nn
from torch.testing import assert_close

from seqlib.bptt import rnn_states
from seqlib.gated import GRU, LSTM
from seqlib.rnn import RNN

Ways = dict[str, Callable[[], Tensor]]

SIZES = [(1, 128, 64), (8, 128, 64), (32, 64, 128), (32, 128, 128), (32, 256, 128), (64, 128, 256)]
ROUNDS = 31


def rnns(B: int, T: int, H: int) -> Ways:
    """Three ways to the same states (B, T, H): the same weights, and the same input of H features."""
    theirs = nn.RNN(H, H, batch_first=True)
    ours = RNN.from_torch(theirs)
    cell = ours.cells[0]
    x, h_0 = torch.randn(B, T, H, requires_grad=True), torch.zeros(B, H)
    W_xh, W_hh, b = (
        weight.detach().clone().requires_grad_()
        for weight in (cell.x_to_h.weight.mT, cell.h_to_h.weight.mT, cell.x_to_h.bias)
    )
    return {
        "nn.RNN": lambda: theirs(x)[0],
        "RNN": lambda: ours(x)[0],
        "rnn_states": lambda: rnn_states(x, h_0, W_xh, W_hh, b),
    }


def lstms(B: int, T: int, H: int) -> Ways:
    theirs = nn.LSTM(H, H, batch_first=True)
    ours = LSTM.from_torch(theirs)
    x = torch.randn(B, T, H, requires_grad=True)
    return {"nn.LSTM": lambda: theirs(x)[0], "LSTM": lambda: ours(x)[0]}


def grus(B: int, T: int, H: int) -> Ways:
    theirs = nn.GRU(H, H, batch_first=True)
    ours = GRU.from_torch(theirs)
    x = torch.randn(B, T, H, requires_grad=True)
    return {"nn.GRU": lambda: theirs(x)[0], "GRU": lambda: ours(x)[0]}


def with_backward(states: Callable[[], Tensor], B: int, T: int, H: int) -> Callable[[], None]:
    dL_dh = torch.randn(B, T, H)
    return lambda: states().backward(dL_dh)


def compare(make: Callable[[int, int, int], Ways]) -> None:
    """One table: of the ways that `make` returns, the first is torch's, and all others are divided by it."""
    theirs, *ours = make(1, 1, 1)
    print(
        f"  B    T    H  {theirs + ', both':>15}"
        + "".join(f"  |{name + ' / ' + theirs:^23}" for name in ours)
    )
    print(" " * 30 + "  |   forward      both   " * len(ours))
    for B, T, H in SIZES:
        forward = make(B, T, H)
        for states in forward.values():
            assert_close(states(), forward[theirs]())
        both = {name + "+": with_backward(states, B, T, H) for name, states in forward.items()}
        times = interleaved(forward | both, rounds=ROUNDS)
        row = f"{B:3} {T:4} {H:4} {median(times[theirs + '+']) * 1e3:12.1f} ms"
        for name in ours:
            forward_ratio = ratio(times[name], times[theirs])
            row += f"  | {forward_ratio:9.2f} {ratio(times[name + '+'], times[theirs + '+']):9.2f}   "
        print(row.rstrip(), flush=True)
    print()


def growth(make: Callable[[int, int, int], Ways], B: int, T: int, H: int) -> str:
    """How many times as long twice the steps take, forward and backward."""
    once, twice = make(B, T, H), make(B, 2 * T, H)
    ways = {name: with_backward(states, B, T, H) for name, states in once.items()}
    ways |= {name + " twice": with_backward(states, B, 2 * T, H) for name, states in twice.items()}
    times = interleaved(ways, rounds=ROUNDS)
    grown = [f"{name} {ratio(times[name + ' twice'], times[name]):.2f}" for name in once]
    return f"From T = {T} to {2 * T} at B = {B}, H = {H} the time grows by: {', '.join(grown)}."


def first_of_a_length(make: Callable[[int, int, int], Ways], B: int, T: int, H: int) -> str:
    """How many times as long the first call with a length takes as the next: forward and backward."""
    found: dict[str, list[float]] = {}
    for length in range(T + 1, T + 1 + ROUNDS):  # lengths that no table above has seen
        for name, states in make(B, length, H).items():
            way = with_backward(states, B, length, H)
            found.setdefault(name, []).append(seconds(way) / seconds(way))
    ratios = [f"{name} {median(times):.2f}" for name, times in found.items()]
    return f"The first of a new length, T = {T} + 1, 2, ... at B = {B}, H = {H}, takes: {', '.join(ratios)}."


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for make in (rnns, lstms, grus):
        compare(make)
    print("both: forward and backward. Below 1: faster than torch.nn.\n")
    for make in (rnns, lstms, grus):
        print(growth(make, 32, 128, 128))
    print(first_of_a_length(lstms, 8, 32, 64))


if __name__ == "__main__":
    main()
