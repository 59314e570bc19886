"""Sequence to sequence: an encoder reads, a decoder writes, and a state of fixed size lies between them.

Dimensions: B batch, S source time, T target time, E embedding, H hidden, C context, V vocabulary. Batch
first. Source and target rows end with EOS and are filled up with PAD (`seqlib.pairs`).
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from seqlib.decoding import greedy
from seqlib.gated import LSTMCell
from seqlib.pairs import EOS, PAD, SOS, PairTensors
from seqlib.rnn import check_sizes, check_tokens
from seqlib.training import History, fit, minibatches

# -------------------------------------------------------------------------------- encoder and decoder


class Encoded(NamedTuple):
    """What an encoder makes of a batch of sources.

    `memory` holds the state at each token, `present` says which tokens are no padding, and (h, c) is the
    context: the state after the last token.
    """

    memory: Float[Tensor, "B S H"]
    present: Bool[Tensor, "B S"]
    h: Float[Tensor, "B H"]
    c: Float[Tensor, "B H"]


class Encoder(nn.Module):
    """An LSTM that reads a batch of sequences of several lengths.

    With `bidirectional` a second LSTM reads from the end (Schuster and Paliwal, 1997). Each has half of the
    hidden units, so that H stays what it is. Raises ValueError for an odd H then.
    """

    def __init__(
        self, vocabulary_size: int, embedding_size: int, hidden_size: int, *, bidirectional: bool = False
    ) -> None:
        super().__init__()
        check_sizes(vocabulary_size=vocabulary_size, embedding_size=embedding_size, hidden_size=hidden_size)
        if bidirectional and hidden_size % 2:
            raise ValueError(f"hidden_size must be even for two directions, got {hidden_size}")
        directions = 2 if bidirectional else 1
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.cells: list[LSTMCell] = nn.ModuleList(  # type: ignore[assignment]  # it can't say what it holds
            LSTMCell(embedding_size, hidden_size // directions) for _ in range(directions)
        )

    def forward(self, source: Int[Tensor, "B S"]) -> Encoded:
        check_tokens(self.embedding.num_embeddings, source=source)
        present = source != PAD
        x = self.embedding(source)  # (B, S, E)
        read = [
            cell.unroll(x, cell.initial_state(x), reverse=direction == 1, present=present)
            for direction, cell in enumerate(self.cells)
        ]
        memory, h, c = (
            torch.cat(parts, -1) for parts in zip(*((states, *last) for states, last in read), strict=True)
        )
        return Encoded(memory, present, h, c)


class DecoderState(NamedTuple):
    """What a decoder goes on from: the pair (h, c) of its LSTM. Rows first."""

    h: Float[Tensor, "B H"]
    c: Float[Tensor, "B H"]


class Seq2Seq(nn.Module):
    """Encoder and decoder LSTM with nothing between them but the context (Sutskever et al., 2014; Cho et
    al., 2014).

    The decoder starts from the encoder's last (h, c). With `context_size` only so many units of both are
    handed over, and the decoder's other units start from zero. Raises ValueError for a context_size outside
    of 1..H.
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        *,
        embedding_size: int = 64,
        hidden_size: int = 128,
        context_size: int | None = None,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(source_size=source_size, target_size=target_size)
        self.encoder = Encoder(source_size, embedding_size, hidden_size, bidirectional=bidirectional)
        self.embedding = nn.Embedding(target_size, embedding_size)
        self.cell = LSTMCell(embedding_size, hidden_size)
        self.context_size = hidden_size if context_size is None else context_size
        if self.context_size not in range(1, hidden_size + 1):
            raise ValueError(f"context_size must lie in 1..{hidden_size}, got {context_size}")
        self.h_to_y = nn.Linear(hidden_size, target_size)

    def forward(self, source: Int[Tensor, "B S"], inputs: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits of the token after each of `inputs` (the target, shifted right: teacher forcing).

        Raises ValueError for no token at all, and for one outside of its vocabulary.
        """
        return self.decode(inputs, self.start(source))

    def decode(self, inputs: Int[Tensor, "B T"], state: Any) -> Float[Tensor, "B T V"]:
        """Logits of the token after each of `inputs`, all steps in one go."""
        return self.h_to_y(self.states(inputs, state))

    def states(self, inputs: Int[Tensor, "B T"], state: Any) -> Float[Tensor, "B T H"]:
        """The decoder's state after each of `inputs`. Raises ValueError as `forward` does."""
        check_tokens(self.embedding.num_embeddings, inputs=inputs)
        states, _ = self.cell.unroll(self.embedding(inputs), (state.h, state.c))
        return states

    def start(self, source: Int[Tensor, "B S"]) -> Any:
        """Read the source: the state that the decoder starts from."""
        return self._context(self.encoder(source))

    def step(self, tokens: Int[Tensor, " B"], state: Any) -> tuple[Float[Tensor, "B V"], Any]:
        """One step of the decoder, as `seqlib.decoding` wants it."""
        h, c = self.cell(self.embedding(tokens), (state.h, state.c))
        return self.h_to_y(h), DecoderState(h, c)

    def _context(self, encoded: Encoded) -> DecoderState:
        kept = torch.arange(encoded.h.shape[1]) < self.context_size  # (H)
        return DecoderState(encoded.h * kept, encoded.c * kept)


@runtime_checkable
class Translator(Protocol):
    """Whatever reads a source and writes a target token by token: `Seq2Seq`, or a Transformer."""

    def __call__(self, source: Tensor, inputs: Tensor) -> Tensor:
        """Logits of the token after each of `inputs`."""

    def start(self, source: Tensor) -> Any:
        """Read the source: the state that the first step starts from."""

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One step, as `seqlib.decoding` wants it."""


# ----------------------------------------------------------------------------------------- training


def decoder_inputs(target: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """What the decoder reads while it learns to write `target`: the same, one step later, SOS first."""
    return torch.cat([torch.full_like(target[:, :1], SOS), target[:, :-1]], 1)


def masked_loss(logits: Float[Tensor, "B T V"], target: Int[Tensor, "B T"]) -> Float[Tensor, ""]:
    """Mean cross-entropy of the target's tokens; padding doesn't count.

    Raises ValueError where there aren't logits for each token.
    """
    if logits.shape[:-1] != target.shape:
        expected = tuple(logits.shape[:-1])
        raise ValueError(f"target must have shape {expected}, as the logits have, got {tuple(target.shape)}")
    return F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD)


def free_running(
    model: Translator,
    source: Int[Tensor, "B S"],
    target: Int[Tensor, "B T"],
    *,
    teacher_forcing: float | int,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B T V"]:
    """Logits of as many steps as `target` has, where the decoder doesn't always read the truth.

    Each of its inputs is the target's token with probability `teacher_forcing`, and else what the decoder
    itself found likeliest the step before (scheduled sampling; Bengio et al., 2015). Raises ValueError for
    a probability outside of 0..1.
    """
    if not 0 <= teacher_forcing <= 1:
        raise ValueError(f"teacher_forcing must lie in 0..1, got {teacher_forcing}")
    truth = decoder_inputs(target)  # (B, T)
    forced = torch.rand(truth.shape, generator=generator) < teacher_forcing
    state, own, steps = model.start(source), truth[:, 0], []
    for t in range(target.shape[1]):
        logits, state = model.step(torch.where(forced[:, t], truth[:, t], own), state)
        own = logits.argmax(-1)
        steps.append(logits)
    return torch.stack(steps, 1)


def pair_loss(
    model: Translator,
    pairs: PairTensors,
    *,
    batch_size: int,
    generator: torch.Generator,
    teacher_forcing: float | int = 1.0,
) -> Callable[[], Tensor]:
    """A loss for `fit`, of one batch of pairs a call.

    With `teacher_forcing` 1 all steps of the decoder are computed in one go; else see `free_running`. Raises
    ValueError as that does, and for a batch that is larger than the data.
    """
    if not 0 <= teacher_forcing <= 1:
        raise ValueError(f"teacher_forcing must lie in 0..1, got {teacher_forcing}")
    batches = pair_batches(pairs, batch_size=batch_size, generator=generator)

    def loss() -> Tensor:
        source, target = next(batches)
        if teacher_forcing == 1:
            return masked_loss(model(source, decoder_inputs(target)), target)
        logits = free_running(model, source, target, teacher_forcing=teacher_forcing, generator=generator)
        return masked_loss(logits, target)

    return loss


def fit_pairs(
    model: nn.Module,
    pairs: PairTensors,
    *,
    steps: int,
    generator: torch.Generator,
    batch_size: int = 48,
    learning_rate: float = 5e-3,
    teacher_forcing: float | int = 1.0,
    label: str = "training",
    watch: Callable[[History], None] | None = None,
) -> History:
    """Train a `Translator` with the settings that suit the course's pairs.

    Batches of `batch_size` pairs, gradients clipped to norm 1, and a learning rate that rises to
    `learning_rate` and falls again; the rest, and the errors, are those of `pair_loss` and `fit`.
    """
    translator = cast(Translator, model)  # a type for "both" is what Python doesn't have
    return fit(
        model,
        pair_loss(
            translator,
            pairs,
            batch_size=batch_size,
            generator=generator,
            teacher_forcing=teacher_forcing,
        ),
        steps=steps,
        learning_rate=learning_rate,
        clip_norm=1.0,
        one_cycle=True,
        label=label,
        watch=watch,
    )


_POOL = 20


def pair_batches(
    pairs: PairTensors, *, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Int[Tensor, "B S"], Int[Tensor, "B T"]]]:
    """Endless batches of pairs of similar length, without the columns that are padding only.

    Pairs are drawn twenty batches at a time and dealt out by their lengths, so that little is computed for
    padding. Raises ValueError for a batch that is larger than the data.
    """
    pool = max(1, min(_POOL, len(pairs.source) // (batch_size or 1)))
    drawn = minibatches(*pairs, batch_size=batch_size * pool, generator=generator)

    waiting: list[tuple[Tensor, Tensor]] = []

    def batch() -> tuple[Tensor, Tensor]:
        if not waiting:
            source, target = next(drawn)
            by_length = ((target != PAD).sum(1) * source.shape[1] + (source != PAD).sum(1)).argsort()
            dealt = by_length.split(batch_size)
            order = torch.randperm(len(dealt), generator=generator).tolist()
            waiting.extend((trimmed(source[dealt[n]]), trimmed(target[dealt[n]])) for n in order)
        return waiting.pop(0)

    return iter(batch, None)  # as in `minibatches`, what is interrupted goes on


def trimmed(tokens: Int[Tensor, "B T"]) -> Int[Tensor, "B t"]:
    """Without the last columns in which all is padding."""
    return tokens[:, : int((tokens != PAD).sum(1).max())]


# ---------------------------------------------------------------------------------------- measuring


@torch.no_grad()
def write(
    model: Translator, source: Int[Tensor, "B S"], *, max_length: int, batch_size: int = 250
) -> Int[Tensor, "B T"]:
    """The greedy answer to each source: (B, max_length), EOS after each and PAD after that."""
    answers = []
    for part in source.split(batch_size):
        start = torch.full((len(part),), SOS)
        tokens = greedy(
            model.step, model.start(trimmed(part)), start=start, end=EOS, max_length=max_length
        ).tokens
        ended = (tokens == EOS).cumsum(1) - (tokens == EOS).long() > 0  # after the first EOS
        tokens = tokens.masked_fill(ended, PAD)
        answers.append(F.pad(tokens, (0, max_length - tokens.shape[1]), value=PAD))
    return torch.cat(answers)


def exact_match(model: Translator, pairs: PairTensors) -> Bool[Tensor, " N"]:
    """Which sources are answered greedily with exactly their target."""
    return (write(model, pairs.source, max_length=pairs.target.shape[1]) == pairs.target).all(1)


def right_by_position(
    model: Translator,
    pairs: PairTensors,
    *,
    teacher_forcing: float | int,
    generator: torch.Generator | None = None,
) -> Float[Tensor, " T"]:
    """The share of right tokens at each position of the answer, among the answers that are that long.

    The decoder reads the truth or itself, as `free_running` says; a position that no target reaches has nan.
    """
    with torch.no_grad():
        logits = free_running(
            model, pairs.source, pairs.target, teacher_forcing=teacher_forcing, generator=generator
        )
    present = pairs.target != PAD
    right = (logits.argmax(-1) == pairs.target) & present
    return right.sum(0) / present.sum(0)
