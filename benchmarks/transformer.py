"""seqlib's Transformer, cached and not, nn.Transformer, and an LSTM. Prints ratios; see README.md."""

from collections.abc import Callable
from functools import partial
from itertools import islice
from statistics import median

import torch
from timing import interleaved, ratio, training
from torch import Tensor, nn
from torch.testing import assert_close

from seqlib.decoding import greedy
from seqlib.gated import LSTM
from seqlib.pairs import PAD, SOS, PairTensors, make_corpus, number_pairs
from seqlib.seq2seq import decoder_inputs, masked_loss, pair_batches
from seqlib.transformer import (
    EncoderLayer,
    Prefix,
    Transformer,
    causal_mask,
    sinusoidal_positions,
    without_cache,
)
from seqlib.transformer_torch import torch_transformer

SIZES = {"model_size": 96, "num_heads": 4, "num_layers": 2, "inner_size": 192}
BATCH = 64  # rows of a training step
ROWS, LENGTH = (1, 64), 60  # sources that are answered side by side, with so many tokens each
TRAINING_ROUNDS, DECODING_ROUNDS, LAYER_ROUNDS = 51, 11, 11
UNITS, LENGTHS = 64, (16, 64, 256, 512, 1024, 2048)  # of a single layer, and of the one sequence it reads
NEVER = -1  # the number of no token: every answer has LENGTH tokens


class TorchTransformer(nn.Module):
    """The same model with the same weights: nn.Transformer between our embeddings and our output map."""

    def __init__(self, ours: Transformer) -> None:
        super().__init__()
        self.source_embedding = nn.Embedding.from_pretrained(ours.encoder.embedding.weight.clone(), False)
        self.target_embedding = nn.Embedding.from_pretrained(ours.embedding.weight.clone(), False)
        self.layers = torch_transformer(ours)
        self.x_to_y = nn.Linear(ours.x_to_y.in_features, ours.x_to_y.out_features)
        self.x_to_y.load_state_dict(ours.x_to_y.state_dict())

    def forward(self, source: Tensor, inputs: Tensor) -> Tensor:
        return self.decode(inputs, *self.read(source))

    def read(self, source: Tensor) -> tuple[Tensor, Tensor]:
        x = self.source_embedding(source)
        x, absent = x + sinusoidal_positions(*x.shape[1:]), source == PAD
        return self.layers.encoder(x, src_key_padding_mask=absent), absent

    def decode(self, inputs: Tensor, memory: Tensor, absent: Tensor) -> Tensor:
        x = self.target_embedding(inputs)
        x = x + sinusoidal_positions(*x.shape[1:])
        future = ~causal_mask(inputs.shape[1])
        return self.x_to_y(
            self.layers.decoder(
                x, memory, tgt_mask=future, tgt_is_causal=True, memory_key_padding_mask=absent
            )
        )

    @torch.no_grad()
    def greedy(self, source: Tensor) -> Tensor:
        memory, absent = self.read(source)
        tokens = torch.full((len(source), 1), SOS)
        for _ in range(LENGTH):
            newest = self.decode(tokens, memory, absent)[:, -1].argmax(-1)
            tokens = torch.cat([tokens, newest[:, None]], 1)
        return tokens[:, 1:]


@torch.no_grad()
def with_cache(model: Transformer, source: Tensor) -> Tensor:
    start = torch.full((len(source),), SOS)
    return greedy(model.step, model.start(source), start=start, end=NEVER, max_length=LENGTH).tokens


@torch.no_grad()
def recomputed(model: Transformer, source: Tensor) -> Tensor:
    start, nothing = torch.full((len(source),), SOS), source.new_empty(len(source), 0)
    prefix = Prefix(model.start(source), nothing)
    return greedy(without_cache(model), prefix, start=start, end=NEVER, max_length=LENGTH).tokens


def assert_same(ours: Transformer, theirs: TorchTransformer, source: Tensor, target: Tensor) -> None:
    """The same logits, the same gradient at the far end of the graph, and the same answers."""
    inputs = decoder_inputs(target)
    assert_close(ours(source, inputs), theirs(source, inputs), rtol=1e-5, atol=1e-5)
    gradients = [
        torch.autograd.grad(masked_loss(model(source, inputs), target), embedding.weight)
        for model, embedding in ((ours, ours.encoder.embedding), (theirs, theirs.source_embedding))
    ]
    assert_close(*gradients, rtol=1e-5, atol=1e-5)
    answers = with_cache(ours, source)
    for others in (recomputed(ours, source), theirs.greedy(source)):
        assert (answers == others).float().mean() > 0.99  # rounding may choose between two likely tokens


def compare_decoding(ours: Transformer, theirs: TorchTransformer, source: Tensor) -> None:
    ways: dict[str, Callable[[], Tensor]] = {
        "nn.Transformer": lambda: theirs.greedy(source),
        "without": lambda: recomputed(ours, source),
        "with": lambda: with_cache(ours, source),
    }
    times = interleaved(ways, rounds=DECODING_ROUNDS)
    rates = [len(source) * LENGTH / median(taken) for taken in times.values()]
    ratios = [ratio(times[name], times["with"]) for name in ("nn.Transformer", "without")]
    print(
        f"{len(source):3}"
        + "".join(f"{rate:15,.0f}" for rate in rates)
        + "".join(f"{n:20.1f}" for n in ratios),
        flush=True,
    )


def compare_training(ours: Transformer, theirs: TorchTransformer, train: PairTensors) -> None:
    generator = torch.Generator().manual_seed(0)
    # As many batches as interleaved has rounds, so that each round trains both models on the same one.
    batches = list(islice(pair_batches(train, batch_size=BATCH, generator=generator), TRAINING_ROUNDS + 2))
    steps = {"theirs": training(theirs, batches), "ours": training(ours, batches)}
    times = interleaved(steps, rounds=TRAINING_ROUNDS)
    tokens = [int((target != PAD).sum()) for _, target in batches[2:]]
    rates = [
        median(count / time for count, time in zip(tokens, taken, strict=True)) for taken in times.values()
    ]
    print(f"{BATCH:3}{rates[0]:15,.0f}{rates[1]:15,.0f}{ratio(times['ours'], times['theirs']):20.2f}")


def read_and_learn(layer: nn.Module, x: Tensor) -> None:
    layer(x)[0].sum().backward()  # the first part of what either returns are its outputs


def compare_layers() -> None:
    """One layer of each kind: forward and backward for a single sequence, which no batch makes parallel."""
    layers = {"LSTM": LSTM(UNITS, UNITS), "layer": EncoderLayer(UNITS, 4, 4 * UNITS)}
    for length in LENGTHS:
        x = torch.randn(1, length, UNITS)
        ways = {name: partial(read_and_learn, layer, x) for name, layer in layers.items()}
        times = interleaved(ways, rounds=LAYER_ROUNDS)
        milliseconds = [1e3 * median(taken) for taken in times.values()]
        print(
            f"{length:4}{milliseconds[0]:13.1f}{milliseconds[1]:17.1f}"
            f"{ratio(times['layer'], times['LSTM']):20.2f}",
            flush=True,
        )


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    corpus = make_corpus(number_pairs(4000, generator=generator), held_out=max(ROWS), generator=generator)
    ours = Transformer(len(corpus.source_vocabulary), len(corpus.target_vocabulary), **SIZES)
    theirs, source = TorchTransformer(ours), corpus.held_out.source
    assert_same(ours, theirs, source, corpus.held_out.target)
    print(f"Number words, {', '.join(f'{name} {size}' for name, size in SIZES.items())}.\n")

    print(f"Greedy decoding of {LENGTH} tokens a row: tokens a second, and time with the cache = 1.\n")
    print("  B nn.Transformer  without cache     with cache      nn.Transformer       without cache")
    for model in (ours, theirs):
        model.eval()  # torch's encoder has a faster way then
    for rows in ROWS:
        compare_decoding(ours, theirs, source[:rows])

    print("\nTraining: target tokens a second, and time with nn.Transformer = 1.\n")
    print("  B nn.Transformer         seqlib              seqlib")
    for model in (ours, theirs):
        model.train()
    compare_training(ours, theirs, corpus.train)

    print(f"\nA layer of {UNITS} units, B = 1: ms for forward and backward, and time with the LSTM = 1.\n")
    print("   T         LSTM    encoder layer       encoder layer")
    compare_layers()


if __name__ == "__main__":
    main()
