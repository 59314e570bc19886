"""Gated cells agree with torch's."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from seqlib.gated import GRUCell, LSTMCell
from seqlib.rnn import RNNCell

B, E, H = 3, 5, 7


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def gradients(parts, inputs):
    return torch.autograd.grad(sum((n * part**2).sum() for n, part in enumerate(parts, 1)), inputs)


def test_lstm_agrees_with_torch():
    theirs = nn.LSTMCell(E, H, dtype=torch.float64)
    ours = LSTMCell(E, H).double()
    with torch.no_grad():
        ours.x_to_gates.weight.copy_(theirs.weight_ih)
        ours.h_to_gates.weight.copy_(theirs.weight_hh)
        ours.x_to_gates.bias.copy_(theirs.bias_ih + theirs.bias_hh)
    x, h, c = randn(B, E), randn(B, H), randn(B, H)
    found, expected = ours(x, (h, c)), theirs(x, (h, c))
    assert_close(found, expected)
    assert_close(gradients(found, [x, h, c]), gradients(expected, [x, h, c]))


def test_gru_agrees_with_torch():
    theirs = nn.GRUCell(E, H, dtype=torch.float64)
    ours = GRUCell(E, H).double()
    with torch.no_grad():
        ours.x_to_gates.weight.copy_(theirs.weight_ih)
        ours.x_to_gates.bias.copy_(theirs.bias_ih)
        ours.h_to_gates.weight.copy_(theirs.weight_hh)
        ours.h_to_gates.bias.copy_(theirs.bias_hh)
    x, h = randn(B, E), randn(B, H)
    found, expected = ours(x, h), theirs(x, h)
    assert_close(found, expected)
    assert_close(gradients([found], [x, h]), gradients([expected], [x, h]))


@pytest.mark.parametrize("forget_bias", [0.0, 1.0, 2.5])
def test_forget_bias_is_how_far_the_gate_is_open_before_training(forget_bias):
    cell = LSTMCell(E, H, forget_bias=forget_bias).double()
    h = torch.zeros(B, H, dtype=torch.float64)
    _, c = cell(torch.zeros(B, E, dtype=torch.float64), (h, torch.ones_like(h)))
    # Without input and bias the candidate is 0: what is left of c = 1 is the forget gate itself.
    assert_close(c, torch.full_like(c, forget_bias).sigmoid())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_first_state_is_zero_and_like_the_input(dtype):
    x = torch.ones(B, 11, E, dtype=dtype)
    zero = torch.zeros(B, H, dtype=dtype)
    assert_close(LSTMCell(E, H).initial_state(x), (zero, zero))
    assert_close(GRUCell(E, H).initial_state(x), zero)


def test_weights_of_lstm_gru_and_rnn_are_as_4_to_3_to_1():
    def weights(cell):
        return sum(parameter.numel() for name, parameter in cell.named_parameters() if "bias" not in name)

    plain = weights(RNNCell(E, H))
    assert plain == H * (E + H)
    assert weights(LSTMCell(E, H)) == 4 * plain
    assert weights(GRUCell(E, H)) == 3 * plain


@pytest.mark.parametrize("cell", [LSTMCell, GRUCell])
def test_sizes_must_be_positive_integers(learner, cell):
    with pytest.raises(ValueError, match="^input_size must be a positive integer, got 0$"):
        cell(0, H)
    with pytest.raises(ValueError, match="^hidden_size must be a positive integer, got -7$"):
        cell(E, -H)
