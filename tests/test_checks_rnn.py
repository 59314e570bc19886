"""The exercises on recurrent networks: right answers of every kind pass, mistakes get their own messages."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from seqlib.checks import rnn as check
from seqlib.checks.exercise import Exercise
from seqlib.checks.guard import call

EXERCISES = {name: value for name, value in vars(check).items() if isinstance(value, Exercise)}
MISTAKES = [(name, message) for name, exercise in EXERCISES.items() for message in exercise.mistakes]


def test_the_exercises_are_those_of_the_chapter():
    assert set(EXERCISES) == {"rnn_step", "unroll", "next_char_loss", "sample_with_temperature", "embed"}
    assert all(exercise.name == name for name, exercise in EXERCISES.items())


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", EXERCISES)
def test_the_reference_is_correct(name, seed):
    report = EXERCISES[name](EXERCISES[name].reference, seed=seed)
    assert report.correct, report


@pytest.mark.parametrize(("name", "message"), MISTAKES)
def test_every_mistake_earns_its_own_message(name, message):
    exercise = EXERCISES[name]
    for seed in range(10):
        report = exercise(exercise.mistakes[message], seed=seed)
        assert report.status == "mistake" and report.message.startswith(message), report


@pytest.mark.parametrize("name", EXERCISES)
def test_hints_and_the_solution_can_be_read(name):
    exercise = EXERCISES[name]
    assert len(exercise.hints) >= 3 and exercise.look
    assert exercise.solution().text.startswith(f"def {name}(")
    assert '"""' in exercise.solution().text


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_can_be_pasted_into_the_notebook(name):
    notebook = {"torch": torch}
    exec(EXERCISES[name].solution().text, notebook)
    assert EXERCISES[name](notebook[name]).correct


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


def by_nn_rnn(x, h0, W_xh, W_hh, b):
    rnn = nn.RNN(x.shape[2], h0.shape[1], batch_first=True)
    with torch.no_grad():
        rnn.weight_ih_l0.copy_(W_xh.T)
        rnn.weight_hh_l0.copy_(W_hh.T)
        rnn.bias_ih_l0.copy_(b)
        rnn.bias_hh_l0.zero_()
    return rnn(x, h0[None])[0]


def by_indexing(x, h0, W_xh, W_hh, b):
    states = torch.zeros(len(x), x.shape[1], h0.shape[1])
    for t in range(x.shape[1]):
        h0 = torch.tanh(torch.cat([x[:, t], h0], 1) @ torch.cat([W_xh, W_hh]) + b)
        states[:, t] = h0
    return states


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


def by_one_hot(tokens, E):
    return F.one_hot(tokens, len(E)).float() @ E


def by_module(tokens, E):
    return nn.Embedding.from_pretrained(E)(tokens)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("rnn_step", by_rnn_cell),
        ("unroll", by_nn_rnn),
        ("unroll", by_indexing),
        ("next_char_loss", by_counting),
        ("next_char_loss", by_axis),
        ("sample_with_temperature", by_inversion),
        ("sample_with_temperature", by_gumbel),
        ("sample_with_temperature", row_by_row),
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


def test_a_loss_that_is_a_plain_number_can_not_be_trained():
    report = check.next_char_loss(lambda logits, tokens: by_axis(logits, tokens).item())
    assert report.status == "wrong" and "should be a tensor" in report.message
    report = check.next_char_loss(lambda logits, tokens: by_axis(logits.detach(), tokens))
    assert report.status == "wrong" and "cut off from the graph" in report.message


def test_a_sample_with_one_axis_too_many_is_described():
    report = check.sample_with_temperature(
        lambda logits, temperature, generator: by_inversion(logits, temperature, generator)[:, None]
    )
    assert report.status == "wrong" and "expected (6000,) = (B), got (6000, 1)" in report.message


def test_a_known_mistake_that_raises_is_explained_beside_its_exception():
    def over_the_batch(x, h0, W_xh, W_hh, b):
        states = []
        for x_t in x:
            h0 = torch.tanh(x_t @ W_xh + h0 @ W_hh + b)
            states.append(h0)
        return torch.stack(states, 1)

    report = check.unroll(over_the_batch)
    assert report.status == "mistake"
    assert "The loop runs over the batch" in report.message and "RuntimeError" in report.message
    assert "x: a float32 tensor of shape (3, 5, 2)" in report.message


def test_the_right_answers_leave_their_arguments_alone_and_print_nothing():
    for exercise in EXERCISES.values():
        args = exercise.inputs[0](torch.Generator().manual_seed(0))
        assert call(exercise.reference, args, seconds=5.0, seed=0).printed == ()
