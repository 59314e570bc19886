"""Encoder and decoder agree with torch's, padding changes nothing, and a batch is what it should be."""

from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.testing import assert_close

from seqlib.decoding import greedy
from seqlib.pairs import EOS, PAD, SOS, PairTensors
from seqlib.seq2seq import (
    Encoder,
    Seq2Seq,
    decoder_inputs,
    exact_match,
    fit_pairs,
    free_running,
    masked_loss,
    pair_batches,
    pair_loss,
    right_by_position,
    trimmed,
    write,
)
from seqlib.training import fit

B, S, T, E, H, SOURCES, TARGETS = 3, 7, 5, 11, 26, 17, 19


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def assert_exact(found, expected):
    assert_close(found, expected, rtol=0, atol=1e-10)


def sequences(lengths, size):
    """Random tokens with EOS after them and PAD after that, so many in each row."""
    rows = [torch.cat([torch.randint(3, size, (length - 1,)), torch.tensor([EOS])]) for length in lengths]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


def sources():
    return sequences([7, 2, 4], SOURCES)


def targets():
    return sequences([3, 5, 1], TARGETS)


def model(**options):
    network = Seq2Seq(SOURCES, TARGETS, embedding_size=E, hidden_size=H, **options).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)  # so that the state matters
    return network


directions = pytest.mark.parametrize("bidirectional", [False, True])


# --------------------------------------------------------------------------------- as torch has it


def torch_lstm(*cells):
    """An nn.LSTM with the weights of one cell, or of one for each direction."""
    lstm = nn.LSTM(
        E, cells[0].hidden_size, batch_first=True, bidirectional=len(cells) == 2, dtype=torch.float64
    )
    with torch.no_grad():
        for cell, (W_ih, W_hh, b_ih, b_hh) in zip(cells, lstm.all_weights, strict=True):
            W_ih.copy_(cell.x_to_gates.weight)
            W_hh.copy_(cell.h_to_gates.weight)
            b_ih.copy_(cell.x_to_gates.bias)
            b_hh.zero_()
    return lstm


def torch_encoder(encoder, source):
    """Memory and last (h, c) of packed sequences, and the weights they come from."""
    lstm = torch_lstm(*encoder.cells)
    lengths = (source != PAD).sum(1)
    x = F.one_hot(source, SOURCES).double() @ encoder.embedding.weight
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    output, last = lstm(packed)
    memory, _ = pad_packed_sequence(output, batch_first=True)
    return memory, [torch.cat([*part], -1) for part in last], lstm


@directions
def test_encoder_is_torchs_lstm_on_packed_sequences(bidirectional):
    encoder, source = Encoder(SOURCES, E, H, bidirectional=bidirectional).double(), sources()
    found = encoder(source)
    memory, (h, c), _ = torch_encoder(encoder, source)
    assert torch.equal(found.present, source != PAD)
    assert_exact(found.memory[found.present], memory[found.present])
    assert_exact((found.h, found.c), (h, c))


@directions
def test_logits_and_gradients_are_those_of_the_same_model_in_torch(bidirectional):
    ours, source, target = model(bidirectional=bidirectional), sources(), targets()
    inputs = decoder_inputs(target)
    _, last, reader = torch_encoder(ours.encoder, source)
    writer = torch_lstm(ours.cell)
    states, _ = writer(F.embedding(inputs, ours.embedding.weight), tuple(part[None] for part in last))
    expected, found = F.linear(states, ours.h_to_y.weight, ours.h_to_y.bias), ours(source, inputs)
    assert_exact(found, expected)

    weights = [ours.encoder.embedding.weight, ours.embedding.weight, ours.h_to_y.weight]
    our_cells = [ours.cell, *ours.encoder.cells]
    our_weights = [cell.x_to_gates.weight for cell in our_cells] + [
        cell.h_to_gates.weight for cell in our_cells
    ]
    layers = [*writer.all_weights, *reader.all_weights]
    their_weights = [layer[0] for layer in layers] + [layer[1] for layer in layers]
    assert_exact(
        torch.autograd.grad(masked_loss(found, target), weights + our_weights),
        torch.autograd.grad(masked_loss(expected, target), weights + their_weights),
    )


# ------------------------------------------------------------------------------------ laws of time


@directions
def test_a_source_in_a_batch_is_read_as_if_it_were_alone(bidirectional):
    network, source, inputs = model(bidirectional=bidirectional), sources(), decoder_inputs(targets())
    together, logits = network.encoder(source), network(source, inputs)
    for row, length in enumerate((source != PAD).sum(1).tolist()):
        alone = network.encoder(source[row : row + 1, :length])
        assert_exact(together.memory[row, :length], alone.memory[0])
        assert_exact((together.h[row], together.c[row]), (alone.h[0], alone.c[0]))
        assert_exact(logits[row], network(source[row : row + 1, :length], inputs[row : row + 1])[0])


@directions
def test_the_context_is_the_state_after_the_last_token(bidirectional):
    encoded = Encoder(SOURCES, E, H, bidirectional=bidirectional)(source := sources())
    last = (source != PAD).sum(1) - 1
    half = H // 2 if bidirectional else H
    assert torch.equal(encoded.h[:, :half], encoded.memory[torch.arange(B), last, :half])
    assert torch.equal(encoded.h[:, half:], encoded.memory[:, 0, half:])  # read from the end


@directions
def test_step_by_step_and_all_steps_at_once_are_the_same(bidirectional):
    network, inputs = model(bidirectional=bidirectional), decoder_inputs(targets())
    state = first = network.start(sources())
    each = []
    for tokens in inputs.unbind(1):
        logits, state = network.step(tokens, state)
        each.append(logits)
    assert_exact(network.decode(inputs, first), torch.stack(each, 1))
    assert_exact(network.states(inputs, first)[:, -1], state.h)


@pytest.mark.parametrize("t", range(1, T))
def test_future_tokens_do_not_change_past_logits(t):
    network, source, inputs = model(), sources(), decoder_inputs(targets())
    other = inputs.clone()
    other[:, t:] = (other[:, t:] + 1) % TARGETS
    before, after = network(source, inputs), network(source, other)
    assert torch.equal(before[:, :t], after[:, :t])
    assert (before[:, t] != after[:, t]).any(-1).all()


# ----------------------------------------------------------------------------------- the bottleneck


@pytest.mark.parametrize("context_size", [1, 5, 23, H, None])
@directions
def test_only_so_many_units_reach_the_decoder(context_size, bidirectional):
    network, last = model(context_size=context_size, bidirectional=bidirectional), {}
    network.encoder.register_forward_hook(lambda *args: last.update(h=args[2].h, c=args[2].c))
    loss = network(sources(), decoder_inputs(targets())).square().sum()
    for gradient in torch.autograd.grad(loss, (last["h"], last["c"])):
        reached = torch.arange(H) < (context_size or H)
        assert torch.equal(gradient != 0, reached.expand(B, H))


def test_whatever_the_context_size_the_number_of_parameters_is_the_same():
    def parameters(**options):
        return sum(parameter.numel() for parameter in model(**options).parameters())

    assert len({parameters(context_size=size) for size in (1, 5, H, None)}) == 1


# ----------------------------------------------------------------------------------------- training


def test_the_decoder_reads_the_target_one_step_late():
    target = torch.tensor([[5, 7, EOS, PAD], [11, 13, 17, EOS]])
    assert decoder_inputs(target).tolist() == [[SOS, 5, 7, EOS], [SOS, 11, 13, 17]]


def test_loss_is_the_cross_entropy_of_the_tokens_without_padding():
    logits = torch.randn(B, T, TARGETS, dtype=torch.float64, requires_grad=True)
    target = targets()
    present = target != PAD
    found, expected = masked_loss(logits, target), F.cross_entropy(logits[present], target[present])
    assert_exact(found, expected)
    (gradient,) = torch.autograd.grad(found, logits)
    assert (gradient[~present] == 0).all() and (gradient[present] != 0).all()


def test_with_teacher_forcing_1_the_decoder_reads_the_truth():
    network, source, target = model(), sources(), targets()
    found = free_running(network, source, target, teacher_forcing=1)
    assert_exact(found, network(source, decoder_inputs(target)))


def test_with_teacher_forcing_0_the_decoder_reads_its_own_likeliest_tokens():
    network, source, target = model(), sources(), targets()
    found = free_running(network, source, target, teacher_forcing=0)
    # Only what reads its own answers gives these logits, step by step from the first.
    own = found.argmax(-1)
    assert_exact(found, network(source, decoder_inputs(own)))
    assert (own != target).any()
    # And it is what is decoded greedily, where that goes on after the end token (-1 ends nothing).
    start = torch.full((B,), SOS)
    assert torch.equal(
        greedy(network.step, network.start(source), start=start, end=-1, max_length=T).tokens, own
    )


class Noting(Seq2Seq):
    """Notes what the decoder has read."""

    def step(self, tokens, state):
        self.__dict__.setdefault("read", []).append(tokens)
        return super().step(tokens, state)


def test_in_between_the_decoder_reads_the_truth_so_often():
    network = Noting(SOURCES, TARGETS, embedding_size=E, hidden_size=H)
    source, target = sequences([2] * 101, SOURCES), sequences([31] * 101, TARGETS)
    logits = free_running(
        network, source, target, teacher_forcing=0.3, generator=torch.Generator().manual_seed(0)
    )
    read, truth, own = torch.stack(network.read, 1), target[:, :-1], logits.argmax(-1)[:, :-1]
    assert (read[:, 0] == SOS).all()
    true, false = read[:, 1:] == truth, read[:, 1:] == own
    assert (true | false).all()
    differ = truth != own
    assert differ.float().mean() > 0.5
    assert binomtest(int(true[differ].sum()), int(differ.sum()), 0.3).pvalue > 0.01


def test_which_inputs_are_true_depends_on_nothing_but_the_generator():
    network, source, target = model(), sources(), targets()

    def run(seed):
        generator = torch.Generator().manual_seed(seed)
        return free_running(network, source, target, teacher_forcing=0.5, generator=generator)

    state = torch.get_rng_state()
    assert torch.equal(run(1), run(1))
    assert any(not torch.equal(run(1), run(n)) for n in range(2, 5))
    assert torch.equal(torch.get_rng_state(), state)


def pairs(count, *, longest=13, generator=None):
    """Pairs of several lengths; the first source token and the first target token number each pair."""
    lengths = torch.randint(1, longest, (2, count), generator=generator)
    number = torch.arange(count)
    source, target = (
        torch.where(torch.arange(longest) < length[:, None], number[:, None] + 3, PAD) for length in lengths
    )
    source, target = source.clone(), target.clone()
    source[number, lengths[0]], target[number, lengths[1]] = EOS, EOS
    return PairTensors(source, target)


@given(count=st.integers(1, 101), data=st.data(), seed=st.integers(0, 2**31))
@settings(max_examples=50)
def test_every_pair_comes_once_a_round_and_whole(count, data, seed):
    batch_size = data.draw(st.integers(1, count))
    generator = torch.Generator().manual_seed(seed)
    given = pairs(count, generator=generator)
    together = 20 * batch_size if 20 * batch_size <= count else count - count % batch_size
    a_round = count - count % together  # what doesn't fill twenty batches waits for the next round
    batches = pair_batches(given, batch_size=batch_size, generator=generator)
    for _ in range(2):
        numbers = []
        for source, target in islice(batches, a_round // batch_size):
            assert len(source) == len(target) == batch_size
            rows = source[:, 0] - 3
            numbers += rows.tolist()
            for part, whole in ((source, given.source[rows]), (target, given.target[rows])):
                assert (part != PAD).any(0).all()  # no column of padding
                assert torch.equal(F.pad(part, (0, whole.shape[1] - part.shape[1]), value=PAD), whole)
        assert len(numbers) == len(set(numbers)) == a_round


def test_pairs_of_a_batch_have_similar_lengths():
    generator = torch.Generator().manual_seed(0)
    batches = pair_batches(pairs(140, generator=generator), batch_size=7, generator=generator)
    ranges = []
    for source, target in islice(batches, 20):
        lengths = sorted(zip((target != PAD).sum(1).tolist(), (source != PAD).sum(1).tolist(), strict=True))
        ranges.append((lengths[0], lengths[-1]))
    assert ranges != sorted(ranges)  # the batches come in random order
    ends = [end for limits in sorted(ranges) for end in limits]
    assert ends == sorted(ends)  # but put in order, none reaches into the next


def test_batches_depend_on_nothing_but_the_generator():
    given = pairs(101)

    def draw(seed):
        batches = pair_batches(given, batch_size=7, generator=torch.Generator().manual_seed(seed))
        return [(source[:, 0].tolist(), target.shape) for source, target in islice(batches, 30)]

    state = torch.get_rng_state()
    assert draw(1) == draw(1) != draw(2)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("teacher_forcing", [1, 1.0, 0.4, 0])
def test_pair_loss_is_the_loss_of_one_batch_a_call(teacher_forcing):
    network, given = model(), pairs(11, longest=5)
    g, h = (torch.Generator().manual_seed(1) for _ in range(2))
    loss = pair_loss(network, given, batch_size=5, generator=g, teacher_forcing=teacher_forcing)
    for source, target in islice(pair_batches(given, batch_size=5, generator=h), 3):
        options = {"teacher_forcing": teacher_forcing, "generator": h}
        if teacher_forcing == 1:
            logits = network(source, decoder_inputs(target))
        else:
            logits = free_running(network, source, target, **options)
        assert torch.equal(loss(), masked_loss(logits, target))


def test_a_model_learns_some_pairs_by_heart():
    given = pairs(5, longest=7)
    network = Seq2Seq(SOURCES, TARGETS, embedding_size=16, hidden_size=32)
    loss = pair_loss(network, given, batch_size=5, generator=torch.Generator().manual_seed(0))
    assert not exact_match(network, given).any()
    fit(network, loss, steps=100, learning_rate=0.02, clip_norm=1.0)
    assert exact_match(network, given).all()


def test_fit_pairs_is_fit_with_batches_of_48_pairs_and_a_rate_that_rises_and_falls():
    given, seen = pairs(67, longest=5), []
    one, other = (Seq2Seq(71, 73, embedding_size=5, hidden_size=7) for _ in range(2))
    other.load_state_dict(one.state_dict())
    g, h = (torch.Generator().manual_seed(1) for _ in range(2))
    fit_pairs(one, given, steps=4, generator=g, teacher_forcing=0.5, watch=seen.append)
    loss = pair_loss(other, given, batch_size=48, generator=h, teacher_forcing=0.5)
    fit(other, loss, steps=4, learning_rate=5e-3, clip_norm=1.0, one_cycle=True)
    assert len(seen) == 5
    for name, parameter in one.state_dict().items():
        assert torch.equal(parameter, other.state_dict()[name])


# ---------------------------------------------------------------------------------------- measuring


class Scripted(Seq2Seq):
    """Answers with the row of `script` that the source's first token names, from 3 on."""

    def __init__(self, script):
        super().__init__(SOURCES, TARGETS, embedding_size=1, hidden_size=1)
        self.script = torch.tensor(script)

    def start(self, source):
        return self.script[source[:, 0] - 3], torch.zeros(len(source), dtype=torch.int64)

    def step(self, tokens, state):
        answers, t = state
        written = answers.take_along_dim(t[:, None], 1)[:, 0]
        return F.one_hot(written, TARGETS).float(), (answers, t + 1)


SCRIPT = [[5, 7, EOS, 9, 9], [5, EOS, 9, EOS, 9], [5, 7, 9, 11, 13], [EOS, 9, 9, 9, 9]]


@pytest.mark.parametrize("batch_size", [1, 3, 250])
def test_answers_end_with_eos_and_are_filled_up_with_padding(batch_size):
    source = torch.tensor([[5], [3], [6], [4], [3]])
    found = write(Scripted(SCRIPT), source, max_length=5, batch_size=batch_size)
    assert found.tolist() == [
        [5, 7, 9, 11, 13],
        [5, 7, EOS, PAD, PAD],
        [EOS, PAD, PAD, PAD, PAD],
        [5, EOS, PAD, PAD, PAD],
        [5, 7, EOS, PAD, PAD],
    ]


def test_each_answer_is_written_as_if_it_were_alone():
    network, source = model(bidirectional=True), sequences([7, 2, 4, 3, 5, 2, 6], SOURCES)
    found = write(network, source, max_length=11, batch_size=3)
    assert found.shape == (7, 11) and not found.requires_grad
    for row in range(7):
        assert torch.equal(write(network, source[row : row + 1], max_length=11)[0], found[row])


def test_sources_are_read_without_columns_of_padding_and_without_a_graph():
    reading = []

    class Reading(Scripted):
        def start(self, source):
            reading.append((source.shape, torch.is_grad_enabled()))
            return super().start(source)

    write(Reading(SCRIPT), sequences([2, 4, 7], 4), max_length=5, batch_size=2)
    assert reading == [((2, 4), False), ((1, 7), False)]


def test_an_answer_is_right_if_every_token_is_and_its_end():
    source = torch.tensor([[3], [4], [3], [4], [3]])
    target = torch.tensor(
        [[5, 7, EOS, PAD], [5, 7, 9, EOS], [5, EOS, PAD, PAD], [5, EOS, PAD, PAD], [7, EOS, PAD, PAD]]
    )
    script = [[5, EOS, 9, 9], [5, 7, 9, EOS]]
    found = exact_match(Scripted(script), PairTensors(source, target))
    assert found.tolist() == [False, True, True, False, False]


class AddingTwo(Seq2Seq):
    """After each token the one two numbers further is likeliest: 3, 5, 7, 9, ... from SOS on."""

    def start(self, source):
        return torch.zeros(len(source), 1)

    def step(self, tokens, state):
        return F.one_hot(tokens + 2, 23).float(), state


def test_right_by_position_by_hand():
    source = torch.tensor([[5], [5]])
    target = torch.tensor([[3, 5, 6, 8, EOS, PAD], [3, 4, EOS, PAD, PAD, PAD]])
    options = {"model": AddingTwo(SOURCES, 23), "pairs": PairTensors(source, target)}
    # Reading the truth it answers 3 5 7 8 10 and 3 5 6; reading itself 3 5 7 9 11 and 3 5 7.
    forced, free = (right_by_position(**options, teacher_forcing=ratio) for ratio in (1, 0))
    nan = float("nan")
    assert_close(forced, torch.tensor([1, 0.5, 0, 1, 0, nan]), equal_nan=True)
    assert_close(free, torch.tensor([1, 0.5, 0, 0, 0, nan]), equal_nan=True)


def test_trimmed_leaves_out_the_columns_of_padding():
    tokens = torch.tensor([[5, EOS, PAD, PAD, PAD], [7, 9, EOS, PAD, PAD]])
    assert trimmed(tokens).tolist() == [[5, EOS, PAD], [7, 9, EOS]]


# ----------------------------------------------------------------------------------- wrong inputs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 7, "bidirectional": True}, "hidden_size must be even for two directions, got 7"),
        ({"hidden_size": 0}, "hidden_size must be a positive integer, got 0"),
        ({"embedding_size": -1}, "embedding_size must be a positive integer, got -1"),
        ({"hidden_size": 7, "context_size": 0}, r"context_size must lie in 1\.\.7, got 0"),
        ({"hidden_size": 7, "context_size": 8}, r"context_size must lie in 1\.\.7, got 8"),
    ],
)
def test_sizes_that_fit_no_model_are_named(learner, options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Seq2Seq(SOURCES, TARGETS, **options)


@pytest.mark.parametrize("teacher_forcing", [-0.1, 1.5, float("nan")])
def test_a_teacher_forcing_that_is_no_probability_is_refused_at_once(learner, teacher_forcing):
    network, given = model(), PairTensors(sources(), targets())
    message = rf"^teacher_forcing must lie in 0\.\.1, got {teacher_forcing}$"
    with pytest.raises(ValueError, match=message):
        free_running(network, *given, teacher_forcing=teacher_forcing)
    with pytest.raises(ValueError, match=message):
        pair_loss(network, given, batch_size=2, generator=torch.Generator(), teacher_forcing=teacher_forcing)


@pytest.mark.parametrize("batch_size", [0, -2, 12])
def test_a_batch_that_does_not_fit_is_refused_at_once(learner, batch_size):
    with pytest.raises(ValueError, match=rf"^batch_size must lie in 1\.\.11, .* got {batch_size}$"):
        pair_batches(pairs(11), batch_size=batch_size, generator=torch.Generator())
