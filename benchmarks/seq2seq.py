"""seqlib's Seq2Seq models against the same made of torch.nn's modules. Prints ratios; see README.md."""

from copy import deepcopy
from itertools import islice
from statistics import median

import torch
from timing import interleaved, ratio, training
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.testing import assert_close

from seqlib.attention import AttentionSeq2Seq
from seqlib.decoding import greedy
from seqlib.gated import LSTMCell
from seqlib.pairs import PAD, SOS, PairTensors, make_corpus, number_pairs
from seqlib.seq2seq import Seq2Seq, decoder_inputs, masked_loss, pair_batches

BATCH = 64  # rows of a training step
ROWS, LENGTH = 250, 20  # sources that are answered side by side, with so many tokens each
ROUNDS = 51
NEVER = -1  # the number of no token: every answer has LENGTH tokens


def torch_lstm(*cells: LSTMCell) -> nn.LSTM:
    """An nn.LSTM with the weights of one cell, or of one for each direction."""
    lstm = nn.LSTM(
        cells[0].x_to_gates.in_features, cells[0].hidden_size, batch_first=True, bidirectional=len(cells) == 2
    )
    with torch.no_grad():
        for cell, (W_ih, W_hh, b_ih, b_hh) in zip(cells, lstm.all_weights, strict=True):
            W_ih.copy_(cell.x_to_gates.weight)
            W_hh.copy_(cell.h_to_gates.weight)
            b_ih.copy_(cell.x_to_gates.bias)
            b_hh.zero_()
    return lstm


class TorchSeq2Seq(nn.Module):
    """The same model with the same weights: packed sequences, nn.LSTM and torch's own attention."""

    def __init__(self, ours: Seq2Seq) -> None:
        super().__init__()
        self.source_embedding, self.target_embedding = (
            deepcopy(ours.encoder.embedding),
            deepcopy(ours.embedding),
        )
        self.encoder, self.decoder = torch_lstm(*ours.encoder.cells), torch_lstm(ours.cell)
        self.joined_to_s = deepcopy(ours.joined_to_s) if isinstance(ours, AttentionSeq2Seq) else None
        self.h_to_y = deepcopy(ours.h_to_y)

    def forward(self, source: Tensor, inputs: Tensor) -> Tensor:
        return self.decode(inputs, *self.read(source))[0]

    def read(self, source: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        present = source != PAD
        packed = pack_padded_sequence(
            self.source_embedding(source), present.sum(1), batch_first=True, enforce_sorted=False
        )
        output, last = self.encoder(packed)
        memory, _ = pad_packed_sequence(output, batch_first=True)
        return memory, present[:, None], tuple(torch.cat([*part], -1)[None] for part in last)

    def decode(
        self, inputs: Tensor, memory: Tensor, present: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        h, state = self.decoder(self.target_embedding(inputs), state)
        if self.joined_to_s is not None:
            context = F.scaled_dot_product_attention(h, memory, memory, attn_mask=present, scale=1.0)
            h = torch.tanh(self.joined_to_s(torch.cat([context, h], -1)))
        return self.h_to_y(h), state

    @torch.no_grad()
    def greedy(self, source: Tensor) -> Tensor:
        memory, present, state = self.read(source)
        tokens, written = torch.full((len(source), 1), SOS), []
        ended = torch.zeros(len(source), 1, dtype=torch.bool)
        for _ in range(LENGTH):
            logits, state = self.decode(tokens, memory, present, state)
            tokens = logits.argmax(-1)
            written.append(tokens)
            ended |= tokens == NEVER
            if ended.all():
                break
        return torch.cat(written, 1)


def greedy_answers(model: Seq2Seq, source: Tensor) -> Tensor:
    start = torch.full((len(source),), SOS)
    return greedy(model.step, model.start(source), start=start, end=NEVER, max_length=LENGTH).tokens


def assert_same(ours: Seq2Seq, theirs: TorchSeq2Seq, source: Tensor, target: Tensor) -> None:
    """The same logits, the same gradient at the far end of the graph, and the same answers."""
    inputs = decoder_inputs(target)
    assert_close(ours(source, inputs), theirs(source, inputs))
    gradients = [
        torch.autograd.grad(masked_loss(model(source, inputs), target), embedding.weight)
        for model, embedding in ((ours, ours.encoder.embedding), (theirs, theirs.source_embedding))
    ]
    assert_close(*gradients)
    same = greedy_answers(ours, source) == theirs.greedy(source)
    assert same.float().mean() > 0.99  # rounding may choose between two tokens that are equally likely


def compare(ours: Seq2Seq, train: PairTensors, held_out: PairTensors) -> None:
    generator = torch.Generator().manual_seed(0)
    # As many batches as interleaved has rounds, so that each round trains both models on the same one.
    batches = list(islice(pair_batches(train, batch_size=BATCH, generator=generator), ROUNDS + 2))
    theirs, source = TorchSeq2Seq(ours), held_out.source
    assert_same(ours, theirs, source, held_out.target)

    decoding = {"theirs": lambda: theirs.greedy(source), "ours": lambda: greedy_answers(ours, source)}
    line("greedy decoding", ours, interleaved(decoding, rounds=ROUNDS), [ROWS * LENGTH] * ROUNDS)
    steps = {"theirs": training(theirs, batches), "ours": training(ours, batches)}
    tokens = [int((target != PAD).sum()) for _, target in batches[2:]]
    line("training", ours, interleaved(steps, rounds=ROUNDS), tokens)


def line(what: str, ours: Seq2Seq, times: dict[str, list[float]], tokens: list[int]) -> None:
    rates = {
        name: median(count / time for count, time in zip(tokens, taken, strict=True))
        for name, taken in times.items()
    }
    print(
        f"{type(ours).__name__:16}  {what:15}  {rates['theirs']:10,.0f}  {rates['ours']:10,.0f}"
        f"  {ratio(times['ours'], times['theirs']):12.2f}",
        flush=True,
    )


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    corpus = make_corpus(number_pairs(4000, generator=generator), held_out=ROWS, generator=generator)
    sizes = len(corpus.source_vocabulary), len(corpus.target_vocabulary)
    print(f"Number words; {BATCH} pairs a training step, {ROWS} answers of {LENGTH} tokens side by side.\n")
    print("                                   target tokens a second   time")
    print("                                     torch.nn      seqlib   seqlib / torch.nn")
    for ours in (AttentionSeq2Seq(*sizes), Seq2Seq(*sizes)):
        compare(ours, corpus.train, corpus.held_out)
    print("\nBelow 1: faster than torch.nn.")


if __name__ == "__main__":
    main()
