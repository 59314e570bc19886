"""Gated cells and networks agree with torch's, and the gradient by hand with autograd's."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence, unpack_sequence
from torch.testing import assert_close

from seqlib.gated import (
    GRU,
    LSTM,
    GRUCell,
    LSTMCell,
    chrono_biases,
    lstm_backward,
    lstm_forward,
    lstm_states,
)
from seqlib.rnn import RNNCell

B, T, E, H = 3, 11, 5, 7
NETWORKS = {"LSTM": (LSTM, nn.LSTM), "GRU": (GRU, nn.GRU)}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def gradients(parts, inputs):
    loss = sum((n * part**2).sum() for n, part in enumerate(parts, 1))
    return torch.autograd.grad(loss, inputs, retain_graph=True)


def assert_exact(found, expected):
    assert_close(found, expected, rtol=0, atol=1e-10)


def both(kind, **options):
    """torch's network, and ours with its weights."""
    ours, theirs = NETWORKS[kind]
    module = theirs(E, H, batch_first=True, dtype=torch.float64, **options)
    return module, ours.from_torch(module)


def first_state(kind, start, layers):
    """What to start from as a network takes it, and the tensors in it."""
    if start == "zero":
        return None, []
    parts = [randn(layers, B, H) for _ in range(2 if kind == "LSTM" else 1)]
    return tuple(parts) if kind == "LSTM" else parts[0], parts


def as_parts(state):
    return list(state) if isinstance(state, tuple) else [state]


def tensors(output, last):
    return [output, *as_parts(last)]


def parameters(theirs, ours):
    """Pairs of weights in the same places. torch has two biases where our LSTM has one."""
    for cell, (W_ih, W_hh, b_ih, b_hh) in zip(ours.cells, theirs.all_weights, strict=True):
        yield W_ih, cell.x_to_gates.weight
        yield W_hh, cell.h_to_gates.weight
        yield b_ih, cell.x_to_gates.bias
        if cell.h_to_gates.bias is not None:
            yield b_hh, cell.h_to_gates.bias


def assert_same_gradients(theirs, ours, inputs, expected, found):
    their_weights, our_weights = zip(*parameters(theirs, ours), strict=True)
    assert_exact(gradients(found, [*inputs, *our_weights]), gradients(expected, [*inputs, *their_weights]))


# ------------------------------------------------------------------------------------------- cells


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


# ---------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("start", ["zero", "given"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("kind", NETWORKS)
def test_states_and_gradients_agree_with_torch(kind, num_layers, bidirectional, start):
    theirs, ours = both(kind, num_layers=num_layers, bidirectional=bidirectional)
    x = randn(B, T, E)
    state, parts = first_state(kind, start, num_layers * (1 + bidirectional))
    found, expected = tensors(*ours(x, state)), tensors(*theirs(x, state))
    assert_exact(found, expected)
    assert_same_gradients(theirs, ours, [x, *parts], expected, found)


@pytest.mark.parametrize("start", ["zero", "given"])
@pytest.mark.parametrize("lengths", [[11, 6, 2], [6, 2, 11]], ids=["sorted", "unsorted"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("kind", NETWORKS)
def test_packed_sequences_agree_with_torch(kind, num_layers, bidirectional, lengths, start):
    theirs, ours = both(kind, num_layers=num_layers, bidirectional=bidirectional)
    x = randn(B, T, E)
    state, parts = first_state(kind, start, num_layers * (1 + bidirectional))
    is_sorted = lengths == sorted(lengths, reverse=True)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=is_sorted)
    (output, last), (expected, expected_last) = ours(packed, state), theirs(packed, state)
    assert_exact(
        pad_packed_sequence(output, batch_first=True), pad_packed_sequence(expected, batch_first=True)
    )
    found, expected = tensors(output.data, last), tensors(expected.data, expected_last)
    assert_exact(found, expected)
    assert_same_gradients(theirs, ours, [x, *parts], expected, found)


@settings(max_examples=40)
@given(lengths=st.lists(st.integers(1, 13), min_size=1, max_size=5))
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_packed_sequence_is_read_as_if_it_were_alone(kind, lengths):
    network = NETWORKS[kind][0](E, H, 2, bidirectional=True).double()
    with torch.no_grad():
        alone = [torch.randn(length, E, dtype=torch.float64) for length in lengths]
        output, last = network(pack_sequence(alone, enforce_sorted=False))
        for row, (x, states) in enumerate(zip(alone, unpack_sequence(output), strict=True)):
            expected, expected_last = network(x[None])
            assert_exact(states, expected[0])
            for part, other in zip(as_parts(last), as_parts(expected_last), strict=True):
                assert_exact(part[:, row], other[:, 0])


@pytest.mark.parametrize("layers, bidirectional", [(1, False), (3, True)])
def test_an_lstm_is_torchs_after_a_copy_to_torch_and_back(layers, bidirectional):
    ours = LSTM(E, H, layers, bidirectional, forget_bias=3.0).double()
    theirs = ours.to_torch()
    x = randn(B, T, E)
    assert_exact(theirs(x)[0], ours(x)[0])
    assert_exact(theirs(x)[1], ours(x)[1])
    back = LSTM.from_torch(theirs)
    assert all(map(torch.equal, back.parameters(), ours.parameters()))
    with torch.no_grad():
        theirs.weight_hh_l0.zero_()
    assert_exact(back(x)[0], ours(x)[0])  # nothing is shared


@pytest.mark.parametrize("kind", NETWORKS)
def test_copy_keeps_the_dtype_and_does_not_share_weights(kind):
    theirs = NETWORKS[kind][1](E, H, batch_first=True)
    ours = NETWORKS[kind][0].from_torch(theirs)
    before = ours(torch.ones(B, T, E))[0]
    with torch.no_grad():
        theirs.weight_hh_l0.zero_()
    assert before.dtype == torch.float32
    assert torch.equal(ours(torch.ones(B, T, E))[0], before)


@pytest.mark.parametrize("kind", NETWORKS)
def test_future_inputs_do_not_change_past_states_unless_the_network_reads_both_ways(kind):
    x = randn(B, T, E)
    changed = torch.cat([x[:, :6], randn(B, T - 6, E)], 1)
    make = NETWORKS[kind][0]
    forward, both_ways = make(E, H, 2).double(), make(E, H, 2, bidirectional=True).double()
    assert torch.equal(forward(x)[0][:, :6], forward(changed)[0][:, :6])
    assert not torch.equal(forward(x)[0][:, 6:], forward(changed)[0][:, 6:])
    assert (both_ways(x)[0] != both_ways(changed)[0]).any(-1).all()


# ------------------------------------------------------------------------------------- over time


def cell_and_state(kind):
    if kind == "LSTM":
        return LSTMCell(E, H).double(), (randn(B, H), randn(B, H))
    return GRUCell(E, H, reset_after=kind == "GRU").double(), randn(B, H)


CELLS = ["LSTM", "GRU", "GRU, reset before"]


@pytest.mark.parametrize("kind", CELLS)
def test_unrolling_takes_one_step_after_the_other(kind):
    (cell, state), x = cell_and_state(kind), randn(B, T, E)
    inputs = [x, *as_parts(state), *cell.parameters()]
    states, last = cell.unroll(x, state)
    found = [states, *as_parts(last)]
    each = []
    for t in range(T):
        state = cell(x[:, t], state)
        each.append(as_parts(state)[0])
    expected = [torch.stack(each, 1), *as_parts(state)]
    assert_exact(found, expected)
    assert_exact(gradients(found, inputs), gradients(expected, inputs))


@pytest.mark.parametrize("kind", CELLS)
def test_reading_in_reverse_is_reading_the_reversed_sequence(kind):
    (cell, state), x = cell_and_state(kind), randn(B, T, E)
    states, last = cell.unroll(x, state, reverse=True)
    flipped, flipped_last = cell.unroll(x.flip(1), state)
    assert_exact(states, flipped.flip(1))
    assert_exact(last, flipped_last)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", CELLS)
def test_padding_hands_the_state_on_whatever_it_holds(kind, reverse):
    (cell, state), x = cell_and_state(kind), randn(B, T, E)
    present = torch.rand(B, T) < 0.5
    present[2] = False  # nothing to read at all
    states, last = cell.unroll(x, state, reverse=reverse, present=present)
    other = torch.where(present[..., None], x, 1e6)
    assert torch.equal(cell.unroll(other, state, reverse=reverse, present=present)[0], states)

    expected, h = torch.zeros_like(states), state
    for t in reversed(range(T)) if reverse else range(T):
        new, is_there = cell(x[:, t], h), present[:, t, None]
        kept = [
            torch.where(is_there, part, old) for part, old in zip(as_parts(new), as_parts(h), strict=True)
        ]
        h = tuple(kept) if isinstance(h, tuple) else kept[0]
        expected[:, t] = kept[0]
    assert_exact(states, expected)
    assert_exact(as_parts(last), as_parts(h))


# ------------------------------------------------------------------------------------ LSTM by hand


def problem(B=B, T=T, E=E, H=H):
    """x, h_0, c_0, W_x, W_h, b of a small LSTM."""
    return [randn(*shape) for shape in [(B, T, E), (B, H), (B, H), (E, 4 * H), (H, 4 * H), (4 * H,)]]


def by_a_plain_loop(x, h, c, W_x, W_h, b):
    states, cells = [], []
    for x_t in x.unbind(1):
        i, f, g, o = (x_t @ W_x + h @ W_h + b).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        states.append(h)
        cells.append(c)
    return torch.stack(states, 1), torch.stack(cells, 1)


@pytest.mark.parametrize("reached", [[0], [1], [0, 1]], ids=["states", "cells", "both"])
def test_hand_written_gradients_equal_those_of_autograd(reached):
    arguments = problem()
    found, expected = lstm_states(*arguments), by_a_plain_loop(*arguments)
    assert_exact(found, expected)
    found, expected = [found[k] for k in reached], [expected[k] for k in reached]
    assert_exact(gradients(found, arguments), gradients(expected, arguments))


def test_hand_written_gradients_equal_finite_differences():
    assert torch.autograd.gradcheck(lstm_states, problem(B=2, T=3, E=5, H=7))


def test_backward_pass_returns_every_gradient_by_its_name():
    arguments = x, h_0, c_0, W_x, W_h, b = problem()
    h, c = by_a_plain_loop(*arguments)
    dL_dh, dL_dc = randn(B, T, H), randn(B, T, H)
    with torch.no_grad():
        found = lstm_backward(x, lstm_forward(*arguments), W_x, W_h, dL_dh, dL_dc)
    names = {"x": x, "h_0": h_0, "c_0": c_0, "W_x": W_x, "W_h": W_h, "b": b}
    expected = torch.autograd.grad((h, c), arguments, (dL_dh, dL_dc))
    for (name, argument), gradient in zip(names.items(), expected, strict=True):
        assert getattr(found, name).shape == argument.shape
        assert_exact(getattr(found, name), gradient)


def test_going_back_twice_finds_the_same_gradients():
    arguments = problem()
    h, c = lstm_states(*arguments)
    loss = (h**2).sum() + (c**3).sum()
    first = torch.autograd.grad(loss, arguments, retain_graph=True)
    for once, again in zip(first, torch.autograd.grad(loss, arguments), strict=True):
        assert torch.equal(once, again)


def test_gradients_of_gradients_are_refused_rather_than_wrong():
    arguments = problem()
    loss = (lstm_states(*arguments)[0] ** 2).sum()
    (slope,) = torch.autograd.grad(loss, arguments[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_a_trace_holds_the_quantities_of_the_equations():
    cell, x, state = LSTMCell(E, H).double(), randn(B, T, E), (randn(B, H), randn(B, H))
    trace = cell.trace(x, state)
    i, f, g, o, c, h = trace
    assert not any(part.requires_grad for part in trace)
    before = h[:, :-1]
    a = (x @ cell.x_to_gates.weight.mT + before @ cell.h_to_gates.weight.mT + cell.x_to_gates.bias).chunk(
        4, -1
    )
    assert_exact([i, f, g, o], [a[0].sigmoid(), a[1].sigmoid(), a[2].tanh(), a[3].sigmoid()])
    assert_exact([h[:, 0], c[:, 0]], list(state))
    assert_exact(c[:, 1:], f * c[:, :-1] + i * g)
    assert_exact(h[:, 1:], o * c[:, 1:].tanh())


def test_a_trace_is_the_pass_that_trains():
    network, x = LSTM(E, H).double(), randn(B, T, E)
    assert torch.equal(network.cells[0].trace(x).h[:, 1:], network(x)[0])


# ---------------------------------------------------------------------------- what a GRU can mean


def with_same_weights(cell, **options):
    other = GRUCell(E, H, **options).double()
    other.load_state_dict(cell.state_dict())
    return other


def test_reset_before_the_product_is_the_unit_as_printed():
    cell, x, h = GRUCell(E, H, reset_after=False).double(), randn(B, E), randn(B, H)
    (W_r, W_z, W_n), (b_r, b_z, b_n) = cell.x_to_gates.weight.chunk(3), cell.x_to_gates.bias.chunk(3)
    (U_r, U_z, U_n), (d_r, d_z, d_n) = cell.h_to_gates.weight.chunk(3), cell.h_to_gates.bias.chunk(3)
    r = torch.sigmoid(x @ W_r.T + b_r + h @ U_r.T + d_r)
    z = torch.sigmoid(x @ W_z.T + b_z + h @ U_z.T + d_z)
    n = torch.tanh(x @ W_n.T + b_n + (r * h) @ U_n.T + d_n)
    assert_exact(cell(x, h), (1 - z) * n + z * h)


def test_the_two_places_of_the_reset_gate_differ():
    after, x, h = GRUCell(E, H).double(), randn(B, E), randn(B, H)
    before = with_same_weights(after, reset_after=False)
    assert ((after(x, h) - before(x, h)).abs() > 1e-4).any(-1).all()


def test_the_two_places_of_the_reset_gate_agree_where_no_unit_reads_another():
    after, x, h = GRUCell(E, H).double(), randn(B, E), randn(B, H)
    with torch.no_grad():
        U_n, d_n = after.h_to_gates.weight[2 * H :], after.h_to_gates.bias[2 * H :]
        U_n.copy_(U_n.diag().diag())
        d_n.zero_()
    assert_exact(with_same_weights(after, reset_after=False)(x, h), after(x, h))


def test_the_other_meaning_of_z_is_the_same_unit_with_the_signs_of_z_turned():
    cell, x, h = GRUCell(E, H).double(), randn(B, E), randn(B, H)
    turned = with_same_weights(cell)
    with torch.no_grad():
        for parameter in turned.parameters():
            parameter[H : 2 * H] *= -1  # z becomes 1 - z
        x_r, x_z, x_n = turned.x_to_gates(x).chunk(3, -1)
        h_r, h_z, h_n = turned.h_to_gates(h).chunk(3, -1)
        z = (x_z + h_z).sigmoid()
        n = (x_n + (x_r + h_r).sigmoid() * h_n).tanh()
        assert_exact(z * n + (1 - z) * h, cell(x, h))


# ------------------------------------------------------------------------------------ initial biases


@given(longest=st.integers(2, 1000))
def test_chrono_biases_spread_the_time_constants_from_2_to_the_longest(longest):
    biases = chrono_biases(499, longest=longest, generator=torch.Generator().manual_seed(0)).double()
    constants = 1 / (1 - biases.sigmoid())
    assert constants.min() >= 2 - 1e-3
    assert constants.max() <= longest * (1 + 1e-3)
    assert abs(constants.mean() - (longest + 2) / 2) <= 0.06 * (longest - 2) + 1e-3


def test_chrono_biases_depend_on_nothing_but_their_generator():
    def biases(seed):
        return chrono_biases(H, longest=101, generator=torch.Generator().manual_seed(seed))

    state = torch.get_rng_state()
    assert torch.equal(biases(1), biases(1))
    assert not torch.equal(biases(1), biases(2))
    assert torch.equal(torch.get_rng_state(), state)


def test_chrono_biases_make_what_enters_a_cell_the_share_that_leaves_it():
    b = chrono_biases(H, longest=101)
    network = LSTM(E, H, 2, bidirectional=True, forget_bias=b, input_bias=-b)
    for cell in network.cells:
        width = cell.x_to_gates.in_features
        trace = cell.trace(torch.zeros(B, 1, width))
        assert_close(trace.f[:, 0], b.sigmoid().expand(B, H))
        assert_close(trace.i + trace.f, torch.ones(B, 1, H))
        assert_close(trace.o, torch.full((B, 1, H), 0.5))
        assert torch.equal(trace.g, torch.zeros(B, 1, H))


# ----------------------------------------------------------------------------------- wrong inputs


@pytest.mark.parametrize("make", [LSTM, GRU])
def test_sizes_of_networks_must_be_positive_integers(learner, make):
    for name, sizes in {"input_size": (0, H), "hidden_size": (E, 7.0), "num_layers": (E, H, -2)}.items():
        with pytest.raises(ValueError, match=f"^{name} must be a positive integer, got "):
            make(*sizes)


@pytest.mark.parametrize("name", ["forget_bias", "input_bias"])
@pytest.mark.parametrize("make", [LSTM, LSTMCell])
def test_biases_of_a_wrong_shape_are_named(learner, make, name):
    with pytest.raises(ValueError, match=rf"^{name} must be a number or have shape \(7,\), got \(1,\)$"):
        make(E, H, **{name: torch.ones(1)})


def test_a_memory_of_less_than_two_steps_is_refused(learner):
    with pytest.raises(ValueError, match="^longest must be at least 2, got 1$"):
        chrono_biases(H, longest=1)
    with pytest.raises(ValueError, match="^longest must be a positive integer, got 50.5$"):
        chrono_biases(H, longest=50.5)
    with pytest.raises(ValueError, match="^hidden_size must be a positive integer, got 0$"):
        chrono_biases(0, longest=50)


@pytest.mark.parametrize("shape", [(B, T, E + 1), (B, 0, E), (T, E)])
@pytest.mark.parametrize("make", [LSTM, GRU])
def test_input_of_a_wrong_shape_is_named(learner, make, shape):
    got = re.escape(str(shape))
    with pytest.raises(ValueError, match=rf"^x must have shape \(B, T, 5\) with T > 0, got {got}$"):
        make(E, H)(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, B, H), (2, B + 1, H), (2, B, H + 1), (B, H)])
def test_first_states_of_a_wrong_shape_are_named(learner, shape):
    x, right, wrong = torch.zeros(B, T, E), torch.zeros(2, B, H), torch.zeros(shape)
    message = rf"must have shape \(L\*D, B, H\) = \(2, 3, 7\), got {re.escape(str(shape))}$"
    with pytest.raises(ValueError, match="^h_0 " + message):
        GRU(E, H, 2)(x, wrong)
    with pytest.raises(ValueError, match="^h_0 " + message):
        LSTM(E, H, 2)(x, (wrong, right))
    with pytest.raises(ValueError, match="^c_0 " + message):
        LSTM(E, H, 2)(x, (right, wrong))


def test_a_first_state_without_its_cell_is_named(learner):
    with pytest.raises(ValueError, match=r"^state must be a pair \(h_0, c_0\), got Tensor$"):
        LSTM(E, H, 2)(torch.zeros(B, T, E), torch.zeros(2, B, H))


@pytest.mark.parametrize("options", [{"num_layers": 2, "dropout": 0.1}, {"bias": False}, {"proj_size": 2}])
def test_only_lstms_that_ours_can_be_are_copied(options):
    message = r"^module must be an nn\.LSTM with bias, no dropout and no projection, got LSTM\("
    with pytest.raises(ValueError, match=message):
        LSTM.from_torch(nn.LSTM(E, H, **options))


@pytest.mark.parametrize("options", [{"num_layers": 2, "dropout": 0.1}, {"bias": False}])
def test_only_grus_that_ours_can_be_are_copied(options):
    with pytest.raises(ValueError, match=r"^module must be an nn\.GRU with bias and no dropout, got GRU\("):
        GRU.from_torch(nn.GRU(E, H, **options))


def test_one_kind_of_network_is_not_copied_into_another(learner):
    with pytest.raises(ValueError, match=r"^module must be an nn\.LSTM with .*, got GRU\("):
        LSTM.from_torch(nn.GRU(E, H))
    with pytest.raises(ValueError, match=r"^module must be an nn\.GRU with .*, got LSTM\("):
        GRU.from_torch(nn.LSTM(E, H))
