"""The exercises on LSTM and GRU: references against torch.nn and sklearn, mistakes and their messages."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.metrics import auc, roc_auc_score, roc_curve
from torch import nn
from torch.nn import functional as F

import seqlib.gated
from seqlib.checks import gated as check
from seqlib.checks.exercise import Exercise
from seqlib.checks.gated import _count_parameters, _gru_step, _lstm_step, _unit_auc
from seqlib.checks.guard import call

EXERCISES = {name: value for name, value in vars(check).items() if isinstance(value, Exercise)}
NETWORKS = {1: nn.RNN, 3: nn.GRU, 4: nn.LSTM}


def test_the_right_answers_leave_their_arguments_alone_and_print_nothing():
    for exercise in EXERCISES.values():
        args = exercise.inputs[0](torch.Generator().manual_seed(0))
        assert call(exercise.reference, args, seconds=5.0, seed=0).printed == ()


# The inputs


@pytest.mark.parametrize(("name", "gates"), [("lstm_step", 4), ("gru_step", 3)])
def test_sizes_are_different_primes_and_the_batch_is_not_the_number_of_gates(name, gates):
    [inputs] = EXERCISES[name].inputs
    x, h, *_, bias = inputs(torch.Generator().manual_seed(0))
    assert len({*x.shape, *h.shape}) == 3 and set(x.shape) | set(h.shape) <= {2, 3, 5, 7}
    assert len(bias) == gates * h.shape[1] and len(x) != gates


def test_all_kinds_of_networks_are_counted():
    networks = [inputs(torch.Generator().manual_seed(0)) for inputs in check.count_parameters.inputs]
    gates, sizes, hidden, layers, directions = zip(*networks, strict=True)
    assert set(gates) == {1, 3, 4} and set(layers) == {1, 2, 5}
    for deep, both in itertools.product((False, True), (False, True)):
        assert (deep, both) in {(L > 1, D) for L, D in zip(layers, directions, strict=True)}
    assert all(E != H for E, H in zip(sizes, hidden, strict=True))
    assert all(_count_parameters(*network) < 10_000 for network in networks)  # as many digits as are shown


@pytest.mark.parametrize("seed", range(10))
def test_some_values_of_the_unit_are_tied_with_values_on_the_other_side(seed):
    for inputs, tied in zip(check.unit_auc.inputs, (False, True, True), strict=True):
        values, inside = inputs(torch.Generator().manual_seed(seed))
        ties = values[inside][:, None] == values[~inside]
        assert bool(ties.any()) == tied and not bool((values == 0).any())
        assert inside.dtype == torch.bool and inside.sum() != (~inside).sum()


@pytest.mark.parametrize("name", EXERCISES)
def test_mistakes_raise_only_what_torch_and_sklearn_raise(name):
    raised = set()
    for mistake in EXERCISES[name].mistakes.values():
        try:
            mistake(*EXERCISES[name].inputs[0](torch.Generator().manual_seed(0)))
        except Exception as error:
            raised.add(type(error))
    assert raised <= {RuntimeError, ValueError}  # any other would be a slip in the bank itself


# The references against oracles


def step_arguments(seed, *, gates, states, biases, B=3, E=5, H=2):
    g = torch.Generator().manual_seed(seed)
    shapes = [(B, E), *[(B, H)] * states, (E, gates * H), (H, gates * H), *[(gates * H,)] * biases]
    return [torch.randn(*shape, generator=g, dtype=torch.float64) for shape in shapes]


def with_weights(cell, W_x, W_h, b_x, b_h):
    with torch.no_grad():
        for own, given_ in zip(cell.parameters(), (W_x.T, W_h.T, b_x, b_h), strict=True):
            own.copy_(given_)
    return cell


def lstm_by_torch(x, h, c, W_x, W_h, b):
    cell = nn.LSTMCell(x.shape[1], h.shape[1], dtype=x.dtype)
    return with_weights(cell, W_x, W_h, b, torch.zeros_like(b))(x, (h, c))


def gru_by_torch(x, h, W_x, W_h, b_x, b_h):
    return with_weights(nn.GRUCell(x.shape[1], h.shape[1], dtype=x.dtype), W_x, W_h, b_x, b_h)(x, h)


@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=25)
def test_a_step_of_an_lstm_is_torchs_and_the_packages(seed):
    x, h, c, W_x, W_h, b = args = step_arguments(seed, gates=4, states=2, biases=1)
    h_t, c_t = _lstm_step(*args)
    torch.testing.assert_close((h_t, c_t), lstm_by_torch(*args), rtol=1e-10, atol=1e-10)
    trace = seqlib.gated.lstm_forward(x[:, None], h, c, W_x, W_h, b)
    torch.testing.assert_close((h_t, c_t), (trace.h[:, 1], trace.c[:, 1]), rtol=1e-10, atol=1e-10)


@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=25)
def test_a_step_of_a_gru_is_torchs_and_the_packages(seed):
    x, h, W_x, W_h, b_x, b_h = args = step_arguments(seed, gates=3, states=1, biases=2)
    h_t = _gru_step(*args)
    torch.testing.assert_close(h_t, gru_by_torch(*args), rtol=1e-10, atol=1e-10)
    cell = seqlib.gated.GRUCell(5, 2).double()
    with torch.no_grad():
        cell.copy_torch(W_x.T, W_h.T, b_x, b_h)
    torch.testing.assert_close(h_t, cell(x, h), rtol=1e-10, atol=1e-10)


def test_the_other_gru_is_a_banked_mistake():
    x, h, W_x, W_h, b_x, b_h = args = step_arguments(0, gates=3, states=1, biases=2)
    cell = seqlib.gated.GRUCell(5, 2, reset_after=False).double()
    with torch.no_grad():
        cell.copy_torch(W_x.T, W_h.T, b_x, b_h)
    [before] = [
        rule for text, rule in check.gru_step.mistakes.items() if text.startswith("r multiplies h bef")
    ]
    torch.testing.assert_close(before(*args), cell(x, h), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("gates", NETWORKS)
def test_the_count_is_that_of_torchs_networks(gates, layers, bidirectional):
    module = NETWORKS[gates](5, 7, layers, bidirectional=bidirectional)
    count = _count_parameters(gates, 5, 7, layers, bidirectional)
    assert type(count) is int and count == sum(p.numel() for p in module.parameters())


def test_the_count_that_the_report_names_is_right():
    assert sum(p.numel() for p in nn.LSTM(2, 3).parameters()) == 84
    assert "LSTM(2, 3)" in check.count_parameters.look and "84" in check.count_parameters.look


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30))
@settings(deadline=None)
def test_the_auc_is_sklearns_with_any_ties(pairs):
    values, inside = torch.tensor([v for v, _ in pairs]) / 4, torch.tensor([i for _, i in pairs])
    if inside.all() or not inside.any():
        inside[0] = not inside[0]
    truth = roc_auc_score(inside.numpy(), values.numpy())
    assert _unit_auc(values, inside) == pytest.approx(truth, abs=1e-6)


def test_the_auc_that_the_report_names_is_right():
    assert _unit_auc(torch.tensor([0.1, 0.2, 0.2]), torch.tensor([False, True, False])) == 0.75
    assert "0.1, 0.2, 0.2" in check.unit_auc.look and "0.75" in check.unit_auc.look


# Other right answers


def lstm_by_split(x, h, c, W_x, W_h, b):
    H = h.shape[1]
    gates = torch.cat([x, h], 1) @ torch.cat([W_x, W_h]) + b
    i_f, g, o = gates.split([2 * H, H, H], 1)
    i, f = i_f.sigmoid().chunk(2, 1)
    c = i * g.tanh() + f * c
    return [o.sigmoid() * c.tanh(), c]


def lstm_by_columns(x, h, c, W_x, W_h, b):
    gates = (W_x.T @ x.T + W_h.T @ h.T + b[:, None]).unflatten(0, (4, -1))
    c = torch.sigmoid(gates[1]) * c.T + torch.sigmoid(gates[0]) * torch.tanh(gates[2])
    return (torch.sigmoid(gates[3]) * torch.tanh(c)).T, c.T


def lstm_gate_by_gate(x, h, c, W_x, W_h, b):
    def part(k):
        s = slice(k * h.shape[1], (k + 1) * h.shape[1])
        return x @ W_x[:, s] + h @ W_h[:, s] + b[s]

    new = F.sigmoid(part(1)) * c
    new += F.sigmoid(part(0)) * F.tanh(part(2))
    return F.sigmoid(part(3)) * F.tanh(new), new


def gru_by_weights(x, h, W_x, W_h, b_x, b_h):
    H = h.shape[1]
    rz = torch.sigmoid(x @ W_x[:, : 2 * H] + b_x[: 2 * H] + h @ W_h[:, : 2 * H] + b_h[: 2 * H])
    r, z = rz[:, :H], rz[:, H:]
    n = torch.tanh(x @ W_x[:, 2 * H :] + b_x[2 * H :] + r * (h @ W_h[:, 2 * H :] + b_h[2 * H :]))
    return n + z * (h - n)


def gru_by_lerp(x, h, W_x, W_h, b_x, b_h):
    x_gates, h_gates = F.linear(x, W_x.T, b_x), F.linear(h, W_h.T, b_h)
    r, z, _ = (x_gates + h_gates).sigmoid().chunk(3, 1)
    return torch.lerp((x_gates.chunk(3, 1)[2] + r * h_gates.chunk(3, 1)[2]).tanh(), h, z)


def count_by_torch(gates, input_size, hidden_size, num_layers, bidirectional):
    module = NETWORKS[gates](input_size, hidden_size, num_layers, bidirectional=bidirectional)
    return sum(p.numel() for p in module.parameters())


def count_in_one_line(G, E, H, L, bidirectional):
    D = 1 + bidirectional
    return D * G * H * (E + H + 2) + (L - 1) * D * G * H * (D * H + H + 2)


def count_as_a_tensor(*args):
    return torch.tensor(count_in_one_line(*args))


def auc_by_loop(values, inside):
    wins = pairs = 0
    for a, one in zip(values.tolist(), inside.tolist(), strict=True):
        for b, other in zip(values.tolist(), inside.tolist(), strict=True):
            if one and not other:
                pairs += 1
                wins += 1 if a > b else 0.5 if a == b else 0
    return wins / pairs


def auc_by_both_comparisons(values, inside):
    a, b = values[inside].unsqueeze(1), values[inside == 0]
    return ((a > b).float() + (a >= b).float()).mean() / 2


def auc_by_signs(values, inside):
    return (torch.sign(values[inside][:, None] - values[~inside]).mean() + 1) / 2


def auc_by_sklearn(values, inside):
    return roc_auc_score(inside, values)


def auc_of_the_roc_curve(values, inside):
    false, true, _ = roc_curve(inside.numpy(), values.numpy())
    return auc(false, true)


def auc_by_ranks(values, inside):
    inside = inside.numpy()
    n = inside.sum()
    u = rankdata(values.numpy())[inside].sum() - n * (n + 1) / 2
    return u / n / (~inside).sum()


def auc_by_searching(values, inside):
    outside = values[~inside].sort().values
    below, up_to = (torch.searchsorted(outside, values[inside], right=right) for right in (False, True))
    return (below + up_to).double().mean() / 2 / len(outside)


def auc_as_a_tensor_of_one(values, inside):
    return torch.tensor([auc_by_loop(values, inside)])


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("lstm_step", lstm_by_torch),
        ("lstm_step", lstm_by_split),
        ("lstm_step", lstm_by_columns),
        ("lstm_step", lstm_gate_by_gate),
        ("gru_step", gru_by_torch),
        ("gru_step", gru_by_weights),
        ("gru_step", gru_by_lerp),
        ("count_parameters", count_by_torch),
        ("count_parameters", count_in_one_line),
        ("count_parameters", count_as_a_tensor),
        ("unit_auc", auc_by_loop),
        ("unit_auc", auc_by_both_comparisons),
        ("unit_auc", auc_by_signs),
        ("unit_auc", auc_by_sklearn),
        ("unit_auc", auc_of_the_roc_curve),
        ("unit_auc", auc_by_ranks),
        ("unit_auc", auc_by_searching),
        ("unit_auc", auc_as_a_tensor_of_one),
    ],
)
def test_other_right_answers_are_correct(name, function):
    for seed in range(5):
        report = EXERCISES[name](function, seed=seed)
        assert report.correct, report


# Mistakes written as learners write them


def lstm_as_written(x, h, c, W_x, W_h, b, *, cut):
    i, f, g, o = cut(x @ W_x + h @ W_h + b, h.shape[1])
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


@pytest.mark.parametrize(
    ("cut", "complaint"),
    [
        (lambda gates, H: gates.chunk(4, -1), None),
        (lambda gates, H: [gates[:, k * H : (k + 1) * H] for k in range(4)], None),
        (lambda gates, H: gates.view(-1, 4, H).unbind(1), None),
        (lambda gates, H: gates.chunk(4), "The gates are cut along axis 0"),
        (lambda gates, H: gates, "The gates are cut along axis 0"),
        (lambda gates, H: gates.split(4, 1), "split takes the size of the parts"),
        (lambda gates, H: gates.split(H), "split(H) cuts along axis 0"),
        (lambda gates, H: [gates] * 4, "A gate has all 4H columns"),
        (lambda gates, H: [gates[k * H : (k + 1) * H] for k in range(4)], "A gate has all 4H columns"),
        (lambda gates, H: gates.view(4, -1, H), "view and reshape to (4, B, H) cut the numbers anew"),
        (lambda gates, H: [gates[:, k::4] for k in range(4)], "Every fourth column is taken"),
        (lambda gates, H: [gates.chunk(4, 1)[k] for k in (0, 1, 3, 2)], "The columns are cut as i, f, o, g."),
        (lambda gates, H: [gates.chunk(4, 1)[k] for k in (1, 0, 2, 3)], "The input gate and the forget gate"),
    ],
)
def test_how_the_columns_are_cut_decides(cut, complaint):
    report = check.lstm_step(lambda *args: lstm_as_written(*args, cut=cut))
    if complaint is None:
        assert report.correct
    else:
        assert report.status == "mistake" and report.message.startswith(complaint), report


def test_a_cell_that_is_changed_in_place_is_found_out():
    def in_place(x, h, c, W_x, W_h, b):
        i, f, g, o = (x @ W_x + h @ W_h + b).chunk(4, 1)
        c *= f.sigmoid()
        c += i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    assert check.lstm_step(in_place).message.startswith("It changes its argument c in place.")


def test_an_unknown_mistake_says_whether_the_cell_is_right():
    wrong_state = check.lstm_step(lambda *args: (lstm_by_torch(*args)[0] + 1, lstm_by_torch(*args)[1]))
    assert wrong_state.status == "wrong"
    assert wrong_state.message.startswith("The state h_t differs first at [0, 0]: expected ")
    wrong_both = check.lstm_step(lambda *args: [part + 1 for part in lstm_by_torch(*args)])
    assert wrong_both.status == "wrong" and wrong_both.message.startswith("The cell c_t differs first at")
    assert wrong_both.message.endswith(check.lstm_step.look)


@pytest.mark.parametrize(
    ("returned", "complaint"),
    [
        (lambda h, c: h, "Only h_t comes back."),
        (lambda h, c: (c, h), "The two come back in the wrong order"),
        (lambda h, c: torch.stack((h, c), 1).transpose(0, 1), "torch.stack makes one tensor"),
        (lambda h, c: [h, [h, c]], "This is what nn.LSTM returns"),
    ],
)
def test_what_an_lstm_returns_decides(returned, complaint):
    report = check.lstm_step(lambda *args: returned(*lstm_by_torch(*args)))
    assert report.status == "mistake" and report.message.startswith(complaint)


def test_a_state_with_other_axes_is_described():
    report = check.lstm_step(lambda *args: [part[None] for part in lstm_by_torch(*args)])
    assert report.message.startswith(
        "Item 0 of the result has the wrong shape: expected (3, 7), got (1, 3, 7)"
    )
    report = check.gru_step(lambda *args: gru_by_torch(*args)[:, None])
    assert report.message.startswith(
        "The result has the wrong shape: expected (2, 7) = (B, H), got (2, 1, 7)."
    )


def gru_of_a_textbook(x, h, W_x, W_h, b_x, b_h, *, z_keeps):
    H = h.shape[1]
    W_xg, W_xn = W_x.split([2 * H, H], 1)
    W_hg, W_hn = W_h.split([2 * H, H], 1)
    r, z = (x @ W_xg + h @ W_hg + (b_x + b_h)[: 2 * H]).sigmoid().chunk(2, 1)
    n = torch.tanh(x @ W_xn + (r * h) @ W_hn + (b_x + b_h)[2 * H :])
    return z * h + (1 - z) * n if z_keeps else (1 - z) * h + z * n


def test_the_grus_of_textbooks_are_told_from_pytorchs():
    report = check.gru_step(lambda *args: gru_of_a_textbook(*args, z_keeps=True))
    assert report.status == "mistake" and report.message.startswith("r multiplies h before the product")
    report = check.gru_step(lambda *args: gru_of_a_textbook(*args, z_keeps=False))
    assert report.status == "mistake" and report.message.startswith("Two conventions are another's")


def test_biases_that_are_added_to_each_other_first_are_found_out():
    def with_one_bias(x, h, W_x, W_h, b_x, b_h):
        return gru_by_weights(x, h, W_x, W_h, b_x + b_h, 0 * b_h)

    report = check.gru_step(with_one_bias)
    assert report.status == "mistake" and report.message.startswith("b_hn is outside of r.")


def test_a_gru_whose_x_and_h_are_joined_is_found_out():
    def joined(x, h, W_x, W_h, b_x, b_h):
        a_r, a_z, a_n = (torch.cat([x, h], 1) @ torch.cat([W_x, W_h]) + b_x + b_h).chunk(3, 1)
        z = torch.sigmoid(a_z)
        return (1 - z) * torch.tanh(torch.sigmoid(a_r) * a_n) + z * h

    report = check.gru_step(joined)
    assert report.status == "mistake" and "Keep the two products apart" in report.message


@pytest.mark.parametrize(
    ("cut", "complaint"),
    [
        (lambda gates, H: gates.chunk(3), "The gates are cut along axis 0"),
        (lambda gates, H: gates.split(3, 1), "split takes the size of the parts"),
        (lambda gates, H: [gates] * 3, "A gate has all 3H columns"),
        (lambda gates, H: [gates[k * H : (k + 1) * H] for k in range(3)], "A gate's part is columns"),
        (lambda gates, H: gates.reshape(3, -1, H), "view and reshape to (3, B, H) cut the numbers anew"),
        (lambda gates, H: [gates.chunk(3, 1)[k] for k in (1, 0, 2)], "r and z have changed places"),
    ],
)
def test_how_the_columns_of_a_gru_are_cut_decides(cut, complaint):
    def function(x, h, W_x, W_h, b_x, b_h):
        x_r, x_z, x_n = cut(x @ W_x + b_x, h.shape[1])
        h_r, h_z, h_n = cut(h @ W_h + b_h, h.shape[1])
        z = torch.sigmoid(x_z + h_z)
        n = torch.tanh(x_n + torch.sigmoid(x_r + h_r) * h_n)
        return (1 - z) * n + z * h

    report = check.gru_step(function)
    assert report.status == "mistake" and report.message.startswith(complaint), report


@pytest.mark.parametrize("step", ["lstm_step", "gru_step"])
@pytest.mark.parametrize(
    ("products", "complaint"),
    [
        (lambda x, h, W_x, W_h: F.linear(x, W_x) + F.linear(h, W_h), "W_x is transposed."),
        (lambda x, h, W_x, W_h: h @ W_x + x @ W_h, "h is multiplied with W_x."),
        (lambda x, h, W_x, W_h: W_x.T @ x.T + W_h.T @ h.T + torch.ones(len(W_x.T)), "Here the vectors are"),
        (lambda x, h, W_x, W_h: torch.cat((x, h)) @ W_x, "x and h are joined along axis 0"),
        (lambda x, h, W_x, W_h: x @ W_x[:7] + x @ W_x[7:14], "These are rows of W_x"),
    ],
)
def test_products_that_do_not_fit_are_explained_beside_their_exception(step, products, complaint):
    signatures = {
        "lstm_step": lambda x, h, c, W_x, W_h, b: products(x, h, W_x, W_h),
        "gru_step": lambda x, h, W_x, W_h, b_x, b_h: products(x, h, W_x, W_h),
    }
    report = EXERCISES[step](signatures[step])
    assert report.status == "mistake" and report.message.startswith(complaint), report
    assert "RuntimeError" in report.message and "W_x: a float32 tensor" in report.message


def test_a_count_that_differs_names_the_network():
    report = check.count_parameters(lambda G, E, H, L, both: _count_parameters(G, E, H, L, both) + L - 1)
    assert report.status == "wrong"
    assert report.message.startswith("The number for gates=3, input_size=")
    assert "num_layers=2, bidirectional=False differs: expected " in report.message


def test_a_count_that_is_a_float_only_at_times_is_found_out():
    def halved(G, E, H, L, both):
        return count_in_one_line(G, E, H, L, both) * (2 if L > 1 else 2.0) // 2

    report = check.count_parameters(halved)
    assert report.status == "wrong" and report.message.startswith("Its type differs: expected 'int'")
    report = check.count_parameters(lambda *args: count_in_one_line(*args) / 1)
    assert report.status == "mistake" and report.message.startswith("The number is right, but a float.")


@pytest.mark.parametrize(
    ("count", "complaint"),
    [
        (lambda G, E, H, L, both: (1 + both) * L * G * H * (E + H + 2), "All layers are counted as reading"),
        (lambda G, E, H, L, both: (1 + both) * G * H * (E + H + 2), "Only the first layer is counted"),
        (
            lambda G, E, H, L, both: (1 + both) * G * H * (E + H + 2 + (L - 1) * (2 * H + 2)),
            "Deeper layers read the states of both directions",
        ),
        (
            lambda G, E, H, L, both: sum(p.numel() for p in NETWORKS[G](E, H, L).parameters()),
            "bidirectional has no effect",
        ),
        (
            lambda G, E, H, L, both: sum(
                p.numel() for p in NETWORKS[G](E, H, L, bias=False, bidirectional=both).parameters()
            ),
            "The biases are missing",
        ),
        (
            lambda G, E, H, L, both: len(list(NETWORKS[G](E, H, L, bidirectional=both).parameters())),
            "These are the tensors of parameters",
        ),
        (
            lambda G, E, H, L, both: [
                (1 + both) * G * H * (size + H + 2) for size in [E] + [(1 + both) * H] * (L - 1)
            ],
            "These are the numbers of each layer",
        ),
    ],
)
def test_wrong_counts_are_found_out(count, complaint):
    report = check.count_parameters(count)
    assert report.status == "mistake" and report.message.startswith(complaint), report


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda v, i: (v[i][:, None] > v[~i]).float().mean(), "Ties count nothing"),
        (lambda v, i: np.greater_equal.outer(v[i].numpy(), v[~i].numpy()).mean(), "Ties count in full"),
        (lambda v, i: 1 - auc_by_sklearn(v, i), "Inside and outside have changed places"),
        (lambda v, i: auc_by_sklearn(-v, i), "Inside and outside have changed places"),
        (lambda v, i: max(auc_by_loop(v, i), 1 - auc_by_loop(v, i)), "Below a half it is turned round"),
        (lambda v, i: abs(auc_by_loop(v, i) - 0.5) + 0.5, "Below a half it is turned round"),
        (lambda v, i: roc_auc_score(i, v > 0), "The values are cut at 0"),
        (lambda v, i: ((v > 0) == i).float().mean(), "It is the accuracy with a threshold at 0."),
        (lambda v, i: np.corrcoef(v, i)[0, 1], "It is the correlation."),
        (lambda v, i: v[i].mean() - v[~i].mean(), "It is the difference of the two means."),
        (lambda v, i: 2 * auc_by_ranks(v, i) - 1, "It is 2 * AUC - 1"),
        (lambda v, i: np.mean([a > b for a, b in zip(v[i], v[~i], strict=False)]), "The result differs"),
        (lambda v, i: (v[i] > v[~i]).float().mean(), "The values inside and outside differ in number"),
        (lambda v, i: (v[i][:, None] > v[~i]).mean(), "torch takes no mean of True and False."),
        (lambda v, i: roc_auc_score(v, i), "roc_auc_score takes the truth first"),
        (lambda v, i: auc(v, i), "sklearn.metrics.auc takes the points of a curve."),
        (lambda v, i: roc_curve(i, v), "The result should be a number, not a tuple of 3."),
    ],
)
def test_other_measures_are_found_out(function, complaint):
    report = check.unit_auc(function)
    assert not report.correct and report.message.startswith(complaint), report


def test_ranks_whose_ties_are_broken_by_order_are_found_out():
    def by_sorting(values, inside):
        order = sorted(range(len(values)), key=lambda t: float(values[t]))
        ranks = {t: rank for rank, t in enumerate(order, start=1)}
        n = int(inside.sum())
        total = sum(ranks[t] for t in range(len(values)) if inside[t])
        return (total - n * (n + 1) / 2) / (n * (len(values) - n))

    report = check.unit_auc(by_sorting)
    assert report.status == "mistake" and report.message.startswith("Equal values get different ranks")
