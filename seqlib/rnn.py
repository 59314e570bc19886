"""Recurrent networks: one cell, the loop over time, stacks and directions, and a character model.

Dimensions: B batch, T time, E input features, H hidden, V vocabulary, L layers, D directions. Batch first.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from seqlib.decoding import sample


class RNNCell(nn.Module):
    r"""One step of an Elman network (Elman, 1990).

    h_t = activation(W_xh x_t + W_hh h_{t-1} + b)
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, activation: Callable[[Tensor], Tensor] = torch.tanh
    ) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        self.activation = activation
        self.x_to_h = nn.Linear(input_size, hidden_size)  # carries the only bias
        self.h_to_h = nn.Linear(hidden_size, hidden_size, bias=False)

    @property
    def hidden_size(self) -> int:
        return self.h_to_h.in_features

    def forward(self, x: Float[Tensor, "B E"], h: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
        return self.activation(self.x_to_h(x) + self.h_to_h(h))

    def initial_state(self, x: Float[Tensor, "B *rest"]) -> Float[Tensor, "B H"]:
        """A zero state for a batch like `x`, with its dtype and device."""
        return x.new_zeros(len(x), self.hidden_size)

    def copy_torch(self, W_ih: Tensor, W_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> None:
        """Take over the weights of an `nn.RNN`'s layer."""
        self.x_to_h.weight.copy_(W_ih)
        self.h_to_h.weight.copy_(W_hh)
        self.x_to_h.bias.copy_(b_ih + b_hh)  # two biases that are only ever added to each other

    def unroll(
        self,
        x: Float[Tensor, "B T E"],
        h: Float[Tensor, "B H"],
        *,
        reverse: bool = False,
        present: Bool[Tensor, "B T"] | None = None,
    ) -> tuple[Float[Tensor, "B T H"], Float[Tensor, "B H"]]:
        """All states of a sequence, and the last one computed.

        With `reverse` the sequence is read from its end. Where `present` is False (padding) the state
        is handed on unchanged.
        """
        check_shapes(x=(x, "B T E"), h=(h, "B H"), present=(present, "B T"))
        # The input's share of all steps at once; only the recurrent share has to wait for its turn.
        inputs = self.x_to_h(x)
        W_hh = self.h_to_h.weight.mT
        return step_by_step(
            lambda a, h: self.activation(torch.addmm(a, h, W_hh)), inputs, h, reverse=reverse, present=present
        )


def step_by_step(
    step: Callable[[Tensor, Tensor], Tensor],
    inputs: Float[Tensor, "B T G"],
    h: Float[Tensor, "B H"],
    *,
    reverse: bool,
    present: Bool[Tensor, "B T"] | None,
) -> tuple[Float[Tensor, "B T H"], Float[Tensor, "B H"]]:
    """The loop over time, h = step(inputs of one step, h): all states, and the last one computed."""
    # unbind, because indexing [:, t] in the loop makes the backward pass quadratic in T.
    each = inputs.unbind(1)  # T times (B, G)
    steps = range(len(each))
    states = list(each)
    for t in reversed(steps) if reverse else steps:
        new = step(each[t], h)
        h = new if present is None else torch.where(present[:, t, None], new, h)
        states[t] = h
    return torch.stack(states, 1), h


class Layers(nn.Module):
    """Recurrent cells in layers, each read in one or both directions: what RNN, GRU and LSTM share.

    `cell(input_size, hidden_size)` makes one cell. Bidirectional layers (Schuster and Paliwal, 1997)
    concatenate the states of both directions.
    """

    cells: list[Any]

    def __init__(
        self,
        cell: Callable[[int, int], nn.Module],
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bidirectional: bool,
    ) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.num_directions = 2 if bidirectional else 1
        sizes = [input_size] + [hidden_size * self.num_directions] * (num_layers - 1)
        # Layer by layer, in each layer forward, then backward.
        self.cells = nn.ModuleList(  # type: ignore[assignment]  # it can't say what it holds
            cell(size, hidden_size) for size in sizes for _ in range(self.num_directions)
        )

    def copy_torch(self, module: nn.RNNBase) -> None:
        """Take over the weights of torch's counterpart, their dtype and their device."""
        self.to(module.all_weights[0][0])
        with torch.no_grad():
            for cell, weights in zip(self.cells, module.all_weights, strict=True):
                cell.copy_torch(*weights)

    def read(
        self, x: Tensor | PackedSequence, **first: Tensor | None
    ) -> tuple[Tensor | PackedSequence, tuple[Tensor, ...]]:
        """The last layer's states, and what every layer and direction ends with, for each part of the state.

        `first` names those parts (h_0, for an LSTM also c_0) and holds what to start from: (L*D, B, H),
        or None for zero. Raises ValueError where sizes don't fit the network.
        """
        if not isinstance(x, PackedSequence):
            return self._run(x, self._first_state(first, x, batch=len(x)), present=None)

        # A packed sequence is sorted by length; its own two index tensors lead there and back.
        state = self._first_state(first, x.data, batch=int(x.batch_sizes[0]))
        if x.sorted_indices is not None:
            state = tuple(part[:, x.sorted_indices] for part in state)
        padded, lengths = pad_packed_sequence(PackedSequence(x.data, x.batch_sizes), batch_first=True)
        present = torch.arange(padded.shape[1]) < lengths[:, None]  # (B, T)
        output, last = self._run(padded, state, present=present.to(padded.device))
        if x.unsorted_indices is not None:
            last = tuple(part[:, x.unsorted_indices] for part in last)
        data = pack_padded_sequence(output, lengths, batch_first=True).data
        return PackedSequence(data, x.batch_sizes, x.sorted_indices, x.unsorted_indices), last

    def _first_state(self, first: dict[str, Tensor | None], x: Tensor, *, batch: int) -> tuple[Tensor, ...]:
        shape = (self.num_layers * self.num_directions, batch, self.hidden_size)
        for name, part in first.items():
            if part is not None and part.shape != shape:
                raise ValueError(f"{name} must have shape (L*D, B, H) = {shape}, got {tuple(part.shape)}")
        return tuple(x.new_zeros(shape) if part is None else part for part in first.values())

    def _run(
        self,
        x: Float[Tensor, "B T E"],
        first: tuple[Float[Tensor, "LD B H"], ...],
        *,
        present: Bool[Tensor, "B T"] | None,
    ) -> tuple[Float[Tensor, "B T DH"], tuple[Float[Tensor, "LD B H"], ...]]:
        if x.ndim != 3 or x.shape[2] != self.input_size or x.shape[1] == 0:
            raise ValueError(f"x must have shape (B, T, {self.input_size}) with T > 0, got {tuple(x.shape)}")
        last = []
        for layer in range(self.num_layers):
            read = []
            for direction in range(self.num_directions):
                k = layer * self.num_directions + direction
                state = tuple(part[k] for part in first)
                # A cell takes and returns its state as it is: h, or the pair (h, c).
                states, state = self.cells[k].unroll(
                    x, state if len(state) > 1 else state[0], reverse=direction == 1, present=present
                )
                read.append(states)
                last.append(state if isinstance(state, tuple) else (state,))
            x = torch.cat(read, -1)  # (B, T, D*H)
        return x, tuple(torch.stack(part) for part in zip(*last, strict=True))


class RNN(Layers):
    """A stack of recurrent layers, read in one or both directions; the counterpart of `torch.nn.RNN`."""

    cells: list[RNNCell]

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bidirectional: bool = False
    ) -> None:
        super().__init__(RNNCell, input_size, hidden_size, num_layers, bidirectional)

    @classmethod
    def from_torch(cls, module: nn.RNN) -> "RNN":
        """The same network as a `torch.nn.RNN`, with its weights copied.

        Raises ValueError for another module, ReLU, dropout or missing biases.
        """
        if (
            not isinstance(module, nn.RNN)
            or module.nonlinearity != "tanh"
            or module.dropout
            or not module.bias
        ):
            raise ValueError("module must be an nn.RNN with tanh, bias and no dropout, got " + repr(module))
        ours = cls(module.input_size, module.hidden_size, module.num_layers, module.bidirectional)
        ours.copy_torch(module)
        return ours

    def forward(
        self, x: Float[Tensor, "B T E"] | PackedSequence, h_0: Float[Tensor, "LD B H"] | None = None
    ) -> tuple[Float[Tensor, "B T DH"] | PackedSequence, Float[Tensor, "LD B H"]]:
        """The last layer's states (B, T, D*H), and the last state of every layer and direction (L*D, B, H).

        A `PackedSequence` (sequences of several lengths) gives a `PackedSequence`. Raises ValueError
        where the sizes of `x` or `h_0` don't fit the network.
        """
        output, (h_n,) = self.read(x, h_0=h_0)
        return output, h_n


# What a cell hands on from step to step: h, or an LSTM's pair (h, c).
State = Float[Tensor, "B H"] | tuple[Float[Tensor, "B H"], Float[Tensor, "B H"]]


class CharOutput(NamedTuple):
    """Every tensor of one pass of a `CharRNN`; `last` is the state to go on from."""

    one_hot: Float[Tensor, "B T V"]
    states: Float[Tensor, "B T H"]
    logits: Float[Tensor, "B T V"]
    last: State

    @property
    def probabilities(self) -> Float[Tensor, "B T V"]:
        return self.logits.softmax(-1)


class CharRNN(nn.Module):
    """A character model: what comes next, given all characters so far (Mikolov et al., 2010; Graves, 2013).

    One-hot input, one recurrent layer, one linear read-out shared by all steps. `cell(input_size,
    hidden_size)` makes the cell; any of the course's will do.
    """

    def __init__(
        self, vocabulary_size: int, hidden_size: int, *, cell: Callable[[int, int], Any] = RNNCell
    ) -> None:
        super().__init__()
        check_sizes(vocabulary_size=vocabulary_size, hidden_size=hidden_size)
        self.cell = cell(vocabulary_size, hidden_size)
        self.h_to_y = nn.Linear(hidden_size, vocabulary_size)

    def forward(self, tokens: Int[Tensor, "B T"], state: State | None = None) -> CharOutput:
        """Logits for the token after each of `tokens`, starting from `state` (zero if not given).

        Raises ValueError for no token at all, and for one outside of the vocabulary.
        """
        V = self.h_to_y.out_features
        check_tokens(V, tokens=tokens)
        one_hot = F.one_hot(tokens, V).to(self.h_to_y.weight.dtype)
        state = self.cell.initial_state(one_hot) if state is None else state
        states, last = self.cell.unroll(one_hot, state)
        return CharOutput(one_hot, states, self.h_to_y(states), last)

    @torch.no_grad()
    def generate(
        self,
        prompt: Int[Tensor, "B T"],
        *,
        length: int,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
    ) -> Int[Tensor, "B T_plus_length"]:
        """`prompt` and `length` more tokens, each drawn given all before it.

        `temperature` 0 takes the likeliest token every time. Raises ValueError for an empty prompt and
        a negative length.
        """
        check_tokens(self.h_to_y.out_features, prompt=prompt)
        if length < 0:
            raise ValueError(f"length must be 0 or more, got {length}")
        tokens, new, state = [prompt], prompt, None
        for _ in range(length):
            output = self(new, state)
            state, logits = output.last, output.logits[:, -1]
            drawn = sample(logits, temperature=temperature, top_k=top_k, generator=generator)
            new = drawn[:, None]  # (B, 1)
            tokens.append(new)
        return torch.cat(tokens, 1)


def check_sizes(**sizes: int) -> None:
    """Raise ValueError for the first size that is not a positive integer, by its name."""
    for name, size in sizes.items():
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"{name} must be a positive integer, got {size!r}")


def check_shapes(**named: tuple[Tensor | None, str]) -> None:
    """Raise ValueError for the first tensor whose shape doesn't fit those before it, by its name.

    `check_shapes(x=(x, "B T E"), h=(h, "B H"))`: a letter stands for one size wherever it comes. None fits.
    """
    sizes: dict[str, int] = {}
    for name, (tensor, axes) in named.items():
        if tensor is None:
            continue
        letters = axes.split()
        found = dict(zip(letters, tensor.shape, strict=False)) | sizes
        if tensor.ndim != len(letters) or tensor.shape != tuple(found[letter] for letter in letters):
            known = ", ".join(f"{letter} = {sizes[letter]}" for letter in letters if letter in sizes)
            expected = f"({', '.join(letters)})" + (f" with {known}" if known else "")
            raise ValueError(f"{name} must have shape {expected}, got {tuple(tensor.shape)}")
        sizes = found


def check_tokens(vocabulary_size: int, **named: Tensor) -> None:
    """Raise TypeError or ValueError unless all are whole numbers from the vocabulary, (B, T) with T > 0."""
    for name, tokens in named.items():
        if tokens.ndim != 2 or tokens.shape[1] == 0:
            raise ValueError(f"{name} must have shape (B, T) with T > 0, got {tuple(tokens.shape)}")
        if tokens.is_floating_point():
            raise TypeError(f"{name} must be whole numbers, got {tokens.dtype}")
        if not len(tokens):
            continue
        first, last = int(tokens.min()), int(tokens.max())
        if not 0 <= first <= last < vocabulary_size:
            raise ValueError(f"{name} must lie in 0..{vocabulary_size - 1}, got {first}..{last}")
