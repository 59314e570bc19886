"""The exercises on recurrent networks: right answers of every kind pass, mistakes get their own messages."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from seqlib.checks import rnn as check
from seqlib.checks.exercise import Exercise
from seqlib.checks.guard import call

EXERCISES = {name: value for name, value in vars(check).items() if isinstance(value, Exercise)}


@pytest.mark.parametrize("name", EXERCISES)
def test_inputs_have_no_two_equal_sizes(name):
    for inputs in EXERCISES[name].inputs:
        g = torch.Generator().manual_seed(0)
        args = inputs(g)
        sizes = {size for arg in args if isinstance(arg, torch.Tensor) for size in arg.shape}
        assert len(sizes) >= 2 and all(len(set(arg.shape)) == arg.ndim for arg in args[:1])


# Other right answers, and oracles from torch.nn


def by_rnn_cell(x, h, W_xh, W_hh, b):
    cell = nn.RNNCell(x.shape[1], h.shape[1])
    with torch.no_grad():
        cell.weight_ih.copy_(W_xh.T)
        cell.weight_hh.copy_(W_hh.T)
        cell.bias_ih.copy_(b)
        cell.bias_hh.zero_()
    return cell(x, h)


def by_nn_rnn(x, h_0, W_xh, W_hh, b):
    rnn = nn.RNN(x.shape[2], h_0.shape[1], batch_first=True)
    weights = {"weight_ih_l0": W_xh.T, "weight_hh_l0": W_hh.T, "bias_ih_l0": b, "bias_hh_l0": 0 * b}
    return torch.func.functional_call(rnn, weights, (x, h_0[None]))[0]


def by_indexing(x, h_0, W_xh, W_hh, b):
    states = torch.zeros(len(x), x.shape[1], h_0.shape[1])
    for t in range(x.shape[1]):
        h_0 = torch.tanh(torch.cat([x[:, t], h_0], 1) @ torch.cat([W_xh, W_hh]) + b)
        states[:, t] = h_0
    return states


def by_columns(x, h_0, W_xh, W_hh, b):
    states, h = [], h_0.T
    for t in range(x.shape[1]):
        h = torch.tanh(W_xh.T @ x[:, t].T + W_hh.T @ h + b[:, None])
        states.append(h.T)
    return torch.stack(states).transpose(0, 1)


def by_counting(logits, tokens):
    total = 0.0
    for row, sequence in zip(logits, tokens, strict=True):
        for t in range(len(row)):
            p = row[t].exp() / row[t].exp().sum()
            total = total - p[sequence[t + 1]].log()
    return total / (logits.shape[0] * logits.shape[1])


def by_axis(logits, tokens):
    return F.cross_entropy(logits.mT, tokens[:, 1:])


def by_inversion(logits, temperature, generator):
    cumulated = (logits / temperature).softmax(-1).cumsum(-1)
    return (torch.rand(len(logits), 1, generator=generator) > cumulated[:, :-1]).sum(1)


def by_gumbel(logits, temperature, generator):
    noise = -torch.log(-torch.log(torch.rand(logits.shape, generator=generator)))
    return (logits / temperature + noise).argmax(1)


def row_by_row(logits, temperature, generator):
    p = (logits / temperature).softmax(-1)
    return torch.cat([torch.multinomial(row, 1, generator=generator) for row in p])


def by_powers(logits, temperature, generator):
    p = logits.softmax(1) ** (1 / temperature)
    return torch.multinomial(p, 1, replacement=True, generator=generator).squeeze(1)


def by_one_hot(tokens, W):
    return F.one_hot(tokens, len(W)).float() @ W


def by_module(tokens, W):
    return nn.Embedding.from_pretrained(W)(tokens)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("rnn_step", by_rnn_cell),
        ("unroll", by_nn_rnn),
        ("unroll", by_indexing),
        ("unroll", by_columns),
        ("next_char_loss", by_counting),
        ("next_char_loss", by_axis),
        ("sample_with_temperature", by_inversion),
        ("sample_with_temperature", by_gumbel),
        ("sample_with_temperature", row_by_row),
        ("sample_with_temperature", by_powers),
        ("embed", by_one_hot),
        ("embed", by_module),
    ],
)
def test_other_right_answers_are_correct(name, function):
    for seed in range(1 if function is row_by_row else 10):
        report = EXERCISES[name](function, seed=seed)
        assert report.correct, report


# Mistakes that are no banked implementation


def test_a_sampler_with_the_global_generator_is_found_out():
    report = check.sample_with_temperature(
        lambda logits, temperature, generator: by_gumbel(logits, temperature, None)
    )
    assert report.status == "mistake" and "hand generator on" in report.message


def made_inside(generator):
    return torch.Generator()


def made_and_seeded_inside(generator):
    return torch.Generator().manual_seed(7)


def seeded_again(generator):
    return generator.manual_seed(0)


def set_back(generator):
    return generator.manual_seed(generator.initial_seed())


@pytest.mark.parametrize("replaced", [made_inside, made_and_seeded_inside, seeded_again, set_back])
def test_a_sampler_that_begins_anew_in_every_call_is_found_out(replaced):
    for seed in range(10):
        report = check.sample_with_temperature(
            lambda logits, temperature, generator: by_gumbel(logits, temperature, replaced(generator)),
            seed=seed,
        )
        assert report.status == "mistake"
        assert report.message.startswith("Its draws don't depend on the state of generator.")


def test_a_sampler_that_seeds_the_global_generator_is_found_out():
    def seeded(logits, temperature, generator):
        torch.manual_seed(0)
        return by_inversion(logits, temperature, None)

    report = check.sample_with_temperature(seeded)
    assert report.status == "mistake" and "don't depend on the state of generator" in report.message


def test_a_sampler_that_loses_the_batch_of_one_is_found_out():
    report = check.sample_with_temperature(
        lambda logits, temperature, generator: torch.multinomial(
            (logits / temperature).softmax(-1), 1, generator=generator
        ).squeeze()
    )
    assert report.status == "mistake" and "where B = 1" in report.message


def step_by_step(x, h_0, W_xh, W_hh, b, *, hand_on=lambda h: h, keep=lambda h: h):
    h, states = h_0, []
    for x_t in x.unbind(1):
        h = torch.tanh(x_t @ W_xh + h @ W_hh + b)
        states.append(keep(h))
        h = hand_on(h)
    return torch.stack(states, 1)


def test_states_that_hand_on_no_gradient_are_found_out():
    assert check.unroll(step_by_step).correct
    report = check.unroll(lambda *args: step_by_step(*args, hand_on=torch.Tensor.detach))
    assert report.status == "mistake" and "detached between the steps" in report.message
    report = check.unroll(lambda *args: step_by_step(*args, keep=torch.Tensor.detach))
    assert report.status == "wrong" and "cut off from the graph" in report.message


@pytest.mark.parametrize("name", ["x", "h_0", "W_xh", "W_hh", "b"])
def test_the_gradient_of_unroll_reaches_every_argument(name):
    def cut(**args):
        return step_by_step(**{**args, name: args[name].detach()})

    report = check.unroll(lambda x, h_0, W_xh, W_hh, b: cut(x=x, h_0=h_0, W_xh=W_xh, W_hh=W_hh, b=b))
    expected = "Already h_0 is detached" if name == "h_0" else f"The gradient of the result's sum by {name} "
    assert not report.correct and report.message.startswith(expected)


def test_states_written_over_one_another_are_explained():
    def in_one_tensor(x, h_0, W_xh, W_hh, b):
        states = torch.zeros(len(x), x.shape[1] + 1, h_0.shape[1])
        states[:, 0] = h_0
        for t in range(x.shape[1]):
            states[:, t + 1] = torch.tanh(x[:, t] @ W_xh + states[:, t] @ W_hh + b)
        return states[:, 1:]

    report = check.unroll(in_one_tensor)
    assert report.status == "wrong" and "was overwritten" in report.message and "Error" not in report.message


def test_an_argument_with_gradient_that_is_changed_in_place_is_named():
    def over_h0(x, h_0, *weights):
        h_0 += 1
        return step_by_step(x, h_0, *weights)

    def over_logits(logits, tokens):
        logits -= logits.amax(-1, keepdim=True)
        return by_axis(logits, tokens)

    assert check.unroll(over_h0).message.startswith("It changes its argument h_0 in place.")
    assert check.next_char_loss(over_logits).message.startswith("It changes its argument logits in place.")


def test_one_hot_codes_without_the_number_of_classes_are_found_out():
    report = check.embed(lambda tokens, W: F.one_hot(tokens).float() @ W)
    assert report.status == "mistake" and report.message.startswith("Without the number of classes")


def test_the_formula_is_shown_where_shapes_do_not_fit_and_nothing_explains_it():
    report = check.rnn_step(lambda x, h, W_xh, W_hh, b: torch.cat([x, h]) @ W_hh)
    assert report.status == "error" and report.message.endswith(check.rnn_step.look)


def test_a_loss_that_is_a_plain_number_can_not_be_trained():
    report = check.next_char_loss(lambda logits, tokens: by_axis(logits, tokens).item())
    assert report.status == "wrong" and "should be a tensor" in report.message
    report = check.next_char_loss(lambda logits, tokens: by_axis(logits.detach(), tokens))
    assert report.status == "wrong" and "cut off from the graph" in report.message


def test_a_sample_with_one_axis_too_many_is_described():
    report = check.sample_with_temperature(
        lambda logits, temperature, generator: by_inversion(logits, temperature, generator)[None]
    )
    assert report.status == "wrong" and "expected (6000,) = (B), got (1, 6000)" in report.message


def test_a_known_mistake_that_raises_is_explained_beside_its_exception():
    def over_the_batch(x, h_0, W_xh, W_hh, b):
        states = []
        for x_t in x:
            h_0 = torch.tanh(x_t @ W_xh + h_0 @ W_hh + b)
            states.append(h_0)
        return torch.stack(states, 1)

    report = check.unroll(over_the_batch)
    assert report.status == "mistake"
    assert "The loop runs over the batch" in report.message and "RuntimeError" in report.message
    assert "x: a float32 tensor of shape (3, 5, 2)" in report.message


def test_the_right_answers_leave_their_arguments_alone_and_print_nothing():
    for exercise in EXERCISES.values():
        args = exercise.inputs[0](torch.Generator().manual_seed(0))
        assert call(exercise.reference, args, seconds=5.0, seed=0).printed == ()
