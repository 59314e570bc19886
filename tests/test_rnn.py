"""Recurrent networks agree with torch's, and the character model knows only the past."""

import re

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.testing import assert_close

from seqlib.gated import GRU, LSTM, GRUCell, LSTMCell
from seqlib.rnn import RNN, CharRNN, RNNCell, check_sizes

B, T, E, H = 3, 11, 5, 7
V, WIDTH = 13, 17  # of the character model


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def torch_rnn(**options):
    return nn.RNN(E, H, batch_first=True, dtype=torch.float64, **options)


def gradients(output, h_n, inputs):
    """What a loss that reaches every element of both results leaves behind."""
    weights = [torch.linspace(-1, 1, part.numel(), dtype=part.dtype).view_as(part) for part in (output, h_n)]
    loss = (weights[0] * output).sum() + (weights[1] * h_n).sum()
    return torch.autograd.grad(loss, inputs, retain_graph=True)


def assert_same_gradients(ours, theirs, x, h_0, result, expected):
    inputs = [x] if h_0 is None else [x, h_0]
    cells = [(cell.x_to_h.weight, cell.h_to_h.weight, cell.x_to_h.bias) for cell in ours.cells]
    found = gradients(*result, inputs + [parameter for cell in cells for parameter in cell])
    W_ih_W_hh_b_ih = [parameter for layer in theirs.all_weights for parameter in layer[:3]]
    assert_close(found, gradients(*expected, inputs + W_ih_W_hh_b_ih))


# ------------------------------------------------------------------------------- against torch.nn


def test_cell_agrees_with_torch():
    theirs = nn.RNNCell(E, H, dtype=torch.float64)
    ours = RNNCell(E, H).double()
    with torch.no_grad():
        ours.x_to_h.weight.copy_(theirs.weight_ih)
        ours.h_to_h.weight.copy_(theirs.weight_hh)
        ours.x_to_h.bias.copy_(theirs.bias_ih + theirs.bias_hh)
    x, h = randn(B, E), randn(B, H)
    assert_close(ours(x, h), theirs(x, h))


@pytest.mark.parametrize("start", ["zero", "given"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_states_and_gradients_agree_with_torch(num_layers, bidirectional, start):
    theirs = torch_rnn(num_layers=num_layers, bidirectional=bidirectional)
    ours = RNN.from_torch(theirs)
    x = randn(B, T, E)
    h_0 = randn(num_layers * (1 + bidirectional), B, H) if start == "given" else None
    result, expected = ours(x, h_0), theirs(x, h_0)
    assert_close(result, expected)
    assert_same_gradients(ours, theirs, x, h_0, result, expected)


@pytest.mark.parametrize("start", ["zero", "given"])
@pytest.mark.parametrize("lengths", [[11, 6, 2], [6, 2, 11]], ids=["sorted", "unsorted"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_packed_sequences_agree_with_torch(num_layers, bidirectional, lengths, start):
    theirs = torch_rnn(num_layers=num_layers, bidirectional=bidirectional)
    ours = RNN.from_torch(theirs)
    x = randn(B, T, E)
    h_0 = randn(num_layers * (1 + bidirectional), B, H) if start == "given" else None
    is_sorted = lengths == sorted(lengths, reverse=True)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=is_sorted)
    (output, h_n), (expected, expected_h_n) = ours(packed, h_0), theirs(packed, h_0)

    # Also the bookkeeping of a packed sequence agrees: it unpacks into the same rows.
    for part, other in zip(output[1:], expected[1:], strict=True):
        assert part is other is None or torch.equal(part, other)
    unpacked, _ = pad_packed_sequence(output, batch_first=True)
    assert unpacked.shape == (B, T, H * (1 + bidirectional))
    assert_close(output.data, expected.data)
    assert_close(h_n, expected_h_n)
    assert_same_gradients(ours, theirs, x, h_0, (output.data, h_n), (expected.data, expected_h_n))


def test_copy_keeps_the_dtype_and_does_not_share_weights():
    theirs = nn.RNN(E, H, batch_first=True)
    ours = RNN.from_torch(theirs)
    before = ours(torch.ones(B, T, E))[0]
    with torch.no_grad():
        theirs.weight_hh_l0.zero_()
    assert before.dtype == torch.float32
    assert torch.equal(ours(torch.ones(B, T, E))[0], before)


def test_parameters_do_not_grow_with_time_but_with_layers_and_directions():
    def count(*sizes):
        return sum(parameter.numel() for parameter in RNN(*sizes).parameters())

    one = H * (E + H + 1)
    assert count(E, H) == one
    assert count(E, H, 2) == one + H * (H + H + 1)
    assert count(E, H, 2, True) == 2 * (one + H * (2 * H + H + 1))


# ------------------------------------------------------------------------------------- over time


def test_unrolling_takes_one_step_after_the_other():
    cell, x, h = RNNCell(E, H).double(), randn(B, T, E), randn(B, H)
    states, last = cell.unroll(x, h)
    for t in range(T):
        h = cell(x[:, t], h)
        assert_close(states[:, t], h)
    assert_close(last, h)


def test_reading_in_reverse_is_reading_the_reversed_sequence():
    cell, x, h = RNNCell(E, H).double(), randn(B, T, E), randn(B, H)
    states, last = cell.unroll(x, h, reverse=True)
    flipped, flipped_last = cell.unroll(x.flip(1), h)
    assert_close(states, flipped.flip(1))
    assert_close(last, flipped_last)


@pytest.mark.parametrize("reverse", [False, True])
def test_padding_hands_the_state_on_whatever_it_holds(reverse):
    cell, x, h = RNNCell(E, H).double(), randn(B, T, E), randn(B, H)
    present = torch.rand(B, T) < 0.5
    states, last = cell.unroll(x, h, reverse=reverse, present=present)
    other = torch.where(present[..., None], x, 1e6)
    assert torch.equal(cell.unroll(other, h, reverse=reverse, present=present)[0], states)
    for row in range(B):
        expected, expected_last = cell.unroll(
            x[row : row + 1, present[row]], h[row : row + 1], reverse=reverse
        )
        assert_close(states[row, present[row]], expected[0])
        assert_close(last[row], expected_last[0])


def test_activation_can_be_chosen():
    cell = RNNCell(E, H, activation=torch.relu).double()
    theirs = nn.RNNCell(E, H, nonlinearity="relu", dtype=torch.float64)
    theirs.load_state_dict(
        {
            "weight_ih": cell.x_to_h.weight,
            "weight_hh": cell.h_to_h.weight,
            "bias_ih": cell.x_to_h.bias,
            "bias_hh": torch.zeros(H),
        }
    )
    x, h = randn(B, T, E), randn(B, H)
    states, _ = cell.unroll(x, h)
    assert_close(states[:, 0], theirs(x[:, 0], h))


def test_future_inputs_do_not_change_past_states_unless_the_network_reads_both_ways():
    x = randn(B, T, E)
    changed = torch.cat([x[:, :6], randn(B, T - 6, E)], 1)
    forward, both = RNN(E, H, 2).double(), RNN(E, H, 2, bidirectional=True).double()
    assert torch.equal(forward(x)[0][:, :6], forward(changed)[0][:, :6])
    assert not torch.equal(forward(x)[0][:, 6:], forward(changed)[0][:, 6:])
    assert (both(x)[0] != both(changed)[0]).any(-1).all()


# ----------------------------------------------------------------------------------- wrong inputs


@pytest.mark.parametrize("size", [0, -2, 2.0, "7"])
def test_sizes_must_be_positive_integers(learner, size):
    for name, make in {
        "input_size": lambda: RNN(size, H),
        "hidden_size": lambda: RNNCell(E, size),
        "num_layers": lambda: RNN(E, H, size),
        "vocabulary_size": lambda: CharRNN(size, H),
        "depth": lambda: check_sizes(width=3, depth=size),
    }.items():
        with pytest.raises(ValueError, match=rf"^{name} must be a positive integer, got {size!r}$"):
            make()


@pytest.mark.parametrize("shape", [(B, T, E + 1), (B, 0, E), (T, E)])
def test_input_of_a_wrong_shape_is_named(learner, shape):
    with pytest.raises(ValueError, match=r"x must have shape \(B, T, 5\) with T > 0, got ") as error:
        RNN(E, H)(torch.zeros(shape))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("form", ["padded", "packed"])
@pytest.mark.parametrize("shape", [(1, B, H), (2, B + 1, H), (2, B - 1, H), (2, B, H + 1), (B, H)])
def test_first_state_of_a_wrong_shape_is_named(learner, form, shape):
    x = torch.zeros(B, T, E)
    if form == "packed":
        x = pack_padded_sequence(x, [6, 2, 11], batch_first=True, enforce_sorted=False)
    with pytest.raises(ValueError, match=r"h_0 must have shape \(L\*D, B, H\) = \(2, 3, 7\), got ") as error:
        RNN(E, H, 2)(x, torch.zeros(shape))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize(
    "options", [{"nonlinearity": "relu"}, {"num_layers": 2, "dropout": 0.1}, {"bias": False}]
)
def test_only_networks_that_ours_can_be_are_copied(options):
    with pytest.raises(
        ValueError, match=r"module must be an nn\.RNN with tanh, bias and no dropout, got RNN\("
    ):
        RNN.from_torch(nn.RNN(E, H, **options))


# ------------------------------------------------------------------------------ a character model


@pytest.fixture(params=[RNNCell, LSTMCell, GRUCell], ids=["RNN", "LSTM", "GRU"])
def model(request):
    model = CharRNN(V, WIDTH, cell=request.param).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5)  # so that the next token depends on more than the last one
    return model


@pytest.fixture
def tokens():
    return torch.randint(V, (B, T))


def test_future_tokens_do_not_change_past_outputs(model, tokens):
    before = model(tokens)
    tokens[:, 6:] = (tokens[:, 6:] + 1) % V
    after = model(tokens)
    assert torch.equal(before.logits[:, :6], after.logits[:, :6])
    assert (before.logits[:, 6:] != after.logits[:, 6:]).any(-1).all()


def test_every_tensor_of_a_pass_is_what_it_is_called(model, tokens):
    output = model(tokens)
    assert torch.equal(output.one_hot.argmax(-1), tokens)
    assert_close(output.one_hot.sum(-1), torch.ones(B, T, dtype=torch.float64))
    network = {RNNCell: RNN, LSTMCell: LSTM, GRUCell: GRU}[type(model.cell)](V, WIDTH).double()
    network.cells[0].load_state_dict(model.cell.state_dict())
    assert_close(output.states, network(output.one_hot)[0])
    assert_close(output.logits, output.states @ model.h_to_y.weight.T + model.h_to_y.bias)
    assert_close(output.probabilities.log(), output.logits.log_softmax(-1))


def test_carrying_the_state_gives_the_logits_of_one_pass(model, tokens):
    whole = model(tokens)
    first = model(tokens[:, :5])
    second = model(tokens[:, 5:], first.last)
    assert_close(torch.cat([first.logits, second.logits], 1), whole.logits)


def test_generation_keeps_the_prompt_and_adds_to_it(model, tokens):
    text = model.generate(tokens, length=23)
    assert text.shape == (B, T + 23)
    assert torch.equal(text[:, :T], tokens)
    assert torch.equal(model.generate(tokens, length=0), tokens)


def test_generation_at_temperature_0_takes_the_likeliest_token_every_time(model, tokens):
    expected = tokens
    for _ in range(23):
        likeliest = model(expected).logits[:, -1].argmax(-1)  # from the start again: no state is carried here
        expected = torch.cat([expected, likeliest[:, None]], 1)
    assert torch.equal(model.generate(tokens, length=23, temperature=0.0), expected)
    assert torch.equal(model.generate(tokens, length=23, top_k=1), expected)


def test_generation_depends_on_nothing_but_its_generator(model, tokens):
    def text(seed):
        return model.generate(tokens, length=23, generator=torch.Generator().manual_seed(seed))

    state = torch.get_rng_state()
    assert torch.equal(text(1), text(1))
    assert not torch.equal(text(1), text(2))
    assert torch.equal(torch.get_rng_state(), state)


def test_tokens_outside_of_the_vocabulary_are_named(model):
    with pytest.raises(ValueError, match=r"tokens must lie in 0\.\.12, got 2\.\.13"):
        model(torch.tensor([[2, 13]]))
    with pytest.raises(ValueError, match=r"tokens must lie in 0\.\.12, got -1\.\.4"):
        model(torch.tensor([[4, -1]]))


@pytest.mark.parametrize("shape", [(B, 0), (T,)])
def test_tokens_without_a_step_are_named(learner, model, shape):
    tokens, got = torch.zeros(shape, dtype=torch.int64), re.escape(str(shape))
    with pytest.raises(ValueError, match=rf"^tokens must have shape \(B, T\) with T > 0, got {got}$"):
        model(tokens)
    for length in (0, 5):
        with pytest.raises(ValueError, match=rf"^prompt must have shape \(B, T\) with T > 0, got {got}$"):
            model.generate(tokens, length=length)


def test_a_negative_length_is_named(model, tokens):
    with pytest.raises(ValueError, match="^length must be 0 or more, got -2$"):
        model.generate(tokens, length=-2)
