"""Probabilities of the next token, samples that follow them, and the best sequences, by exhaustive search."""

import itertools
import math
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from scipy.stats import chisquare
from torch import Tensor
from torch.testing import assert_close

from seqlib.decoding import (
    beam_search,
    best_continuations,
    choose_rows,
    greedy,
    sample,
    sample_sequences,
    token_probabilities,
    until_end,
)

rows = st.lists(st.floats(-50, 50), min_size=1, max_size=13).map(
    lambda row: torch.tensor(row, dtype=torch.float64)
)
temperatures = st.floats(1e-3, 1e3)
top_ks = st.none() | st.integers(1, 17)
top_ps = st.none() | st.floats(0, 1, exclude_min=True)


@given(rows, temperatures | st.just(0.0), top_ks, top_ps)
def test_probabilities_sum_to_1(logits, temperature, top_k, top_p):
    probabilities = token_probabilities(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    assert probabilities.shape == logits.shape
    assert (probabilities >= 0).all()
    assert_close(probabilities.sum(), torch.tensor(1.0, dtype=torch.float64))


@given(rows, temperatures)
def test_temperature_divides_the_logits(logits, temperature):
    expected = softmax(logits.numpy() / temperature)
    assert_close(token_probabilities(logits, temperature=temperature), torch.from_numpy(expected))


@given(rows, temperatures, st.integers(1, 17))
def test_top_k_keeps_the_k_likeliest_and_their_equals(logits, temperature, top_k):
    kept = logits.numpy() >= np.sort(logits.numpy())[::-1][:top_k].min()
    expected = np.zeros(len(logits))
    expected[kept] = softmax(logits.numpy()[kept] / temperature)
    found = token_probabilities(logits, temperature=temperature, top_k=top_k)
    assert (found.numpy()[~kept] == 0).all()
    assert_close(found, torch.from_numpy(expected))


def by_a_plain_loop(probabilities, top_p):
    """The likeliest tokens, one after the other, until they have `top_p` together."""
    kept, together = np.zeros_like(probabilities), 0.0
    for token in np.argsort(-probabilities, kind="stable"):
        kept[token] = probabilities[token]
        together += probabilities[token]
        assume(abs(together - top_p) > 1e-9)  # rounding would decide
        if together > top_p:
            break
    return kept / kept.sum()


@given(rows, temperatures, top_ks, st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_top_p_keeps_the_fewest_tokens_that_reach_it_of_what_top_k_left(logits, temperature, top_k, top_p):
    restricted = logits.numpy().copy()
    if top_k is not None:
        restricted[restricted < np.sort(restricted)[::-1][:top_k].min()] = -np.inf
    expected = by_a_plain_loop(softmax(restricted / temperature), top_p)
    found = token_probabilities(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    assert (found.numpy()[expected == 0] == 0).all()
    assert_close(found, torch.from_numpy(expected))


def test_top_p_by_hand():
    logits = torch.tensor([0.125, 0.5, 0.25, 0.125]).log()
    for top_p, kept in {
        0.4: [1],
        0.5: [1],
        0.6: [1, 2],
        0.75: [1, 2],
        0.8: [0, 1, 2],
        0.9: [0, 1, 2, 3],
    }.items():
        assert token_probabilities(logits, top_p=top_p).nonzero()[:, 0].tolist() == kept


@given(rows, temperatures, top_ks)
def test_top_p_1_keeps_every_token(logits, temperature, top_k):
    options, logits = {"temperature": temperature, "top_k": top_k}, logits.float()
    found = token_probabilities(logits, top_p=1.0, **options)
    assert torch.equal(found, token_probabilities(logits, **options))


@given(rows, st.floats(0, 1e-3, exclude_min=True))
def test_the_smallest_top_p_keeps_the_likeliest_token(logits, top_p):
    for row in (logits, logits.float()):
        likeliest = (
            row.softmax(-1).numpy().argmax()
        )  # of the probabilities: nearly equal logits have the same
        assert token_probabilities(row, top_p=top_p).tolist() == [
            float(n == likeliest) for n in range(len(row))
        ]


@given(rows, top_ks, top_ps)
def test_temperature_0_is_certain_of_the_first_of_the_largest(logits, top_k, top_p):
    probabilities = token_probabilities(logits, temperature=0.0, top_k=top_k, top_p=top_p)
    assert probabilities.tolist() == [float(n == np.argmax(logits.numpy())) for n in range(len(logits))]


@given(rows)
def test_low_temperatures_come_close_to_temperature_0(logits):
    gap = logits.max() - logits
    logits = logits[(gap == 0) | (gap > 1e-3)].unique()  # the limit is another one where two are equal
    assert_close(token_probabilities(logits, temperature=1e-5), token_probabilities(logits, temperature=0.0))


@given(rows)
def test_high_temperatures_make_all_tokens_alike(logits):
    probabilities = token_probabilities(logits, temperature=1e9)
    assert_close(probabilities, torch.full_like(logits, 1 / len(logits)))


@given(st.lists(st.integers(-50, 50), min_size=1), st.integers(-1000, 1000), temperatures, top_ks)
def test_a_shift_of_all_logits_changes_nothing(logits, shift, temperature, top_k):
    logits, options = torch.tensor(logits).double(), {"temperature": temperature, "top_k": top_k}
    assert torch.equal(token_probabilities(logits + shift, **options), token_probabilities(logits, **options))


def test_tiny_temperatures_do_not_overflow():
    logits = torch.tensor([300.0, 200.0, -300.0])
    assert token_probabilities(logits, temperature=1e-38).tolist() == [1, 0, 0]


def test_every_row_is_on_its_own():
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    options = {"temperature": 0.7, "top_k": 4, "top_p": 0.8}
    found = token_probabilities(logits, **options)
    for index in np.ndindex(2, 3):
        assert_close(found[index], token_probabilities(logits[index], **options))


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0.6}, {"temperature": 1.7, "top_k": 4}, {"temperature": 1.3, "top_p": 0.8}],
)
def test_samples_are_as_frequent_as_their_probabilities(options):
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(7, generator=g)
    draws = 20_000
    drawn = sample(logits.expand(draws, -1), **options, generator=g)
    probabilities = token_probabilities(logits.double(), **options).numpy()
    counts = np.bincount(drawn.numpy(), minlength=7)
    possible = probabilities > 0
    assert (counts[~possible] == 0).all()
    assert chisquare(counts[possible], draws * probabilities[possible]).pvalue > 0.01


def test_rows_of_a_batch_are_drawn_from_their_own_logits():
    wanted = torch.tensor([3, 0, 4, 4, 1])
    logits = torch.zeros(5, 7).scatter(1, wanted[:, None], 100.0)
    assert torch.equal(sample(logits), wanted)


def test_samples_depend_on_nothing_but_the_generator():
    logits, state = torch.zeros(11, 13), torch.get_rng_state()
    first, second, other = (sample(logits, generator=torch.Generator().manual_seed(n)) for n in (1, 1, 2))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("temperature", [-0.1, -math.inf, math.nan, math.inf])
def test_a_temperature_that_makes_no_sense_is_named(temperature):
    with pytest.raises(ValueError, match=f"^temperature must be 0 or more and finite, got {temperature}$"):
        sample(torch.zeros(2, 3), temperature=temperature, top_k=1)


@pytest.mark.parametrize("top_k", [0, -3])
def test_a_top_k_that_keeps_nothing_is_named(top_k):
    with pytest.raises(ValueError, match=f"^top_k must be at least 1, got {top_k}$"):
        sample(torch.zeros(2, 3), top_k=top_k)


@pytest.mark.parametrize("top_p", [0.0, -0.5, 1.1, math.nan])
def test_a_top_p_that_is_no_share_is_named(top_p):
    with pytest.raises(ValueError, match=f"^top_p must be above 0 and at most 1, got {top_p}$"):
        sample(torch.zeros(2, 3), top_p=top_p)


# --------------------------------------------------------------------- a model that forgets nothing

END = 0
START = 1


@cache
def noise(V, *numbers):
    """Random numbers that belong to these numbers."""
    return np.random.default_rng([len(numbers), *numbers]).normal(size=V)


class Reader:
    """A language model of V tokens whose state is all that it has read, from a row's own number on.

    Its logits are random, and others after each history: the state of another row gives wrong ones.
    """

    def __init__(self, V, *, seed=0, scale=2.0, end_bias=0.0):
        self.V, self.seed, self.scale, self.end_bias = V, seed, scale, end_bias

    def logits(self, history):
        logits = self.scale * noise(self.V, self.seed, *history)
        logits[END] += self.end_bias
        return logits

    def step(self, tokens, history):
        history = torch.cat([history, tokens[:, None]], 1)
        return torch.tensor(np.stack([self.logits(tuple(row)) for row in history.tolist()])), history

    def start(self, *rows):
        """The state and the first tokens of some rows."""
        return torch.tensor(rows)[:, None], torch.full((len(rows),), START)

    def log_probabilities(self, row, tokens):
        """The logarithms of the probabilities of what can follow `tokens`."""
        return log_softmax(self.logits((row, START, *tokens)))

    def log_probability(self, row, tokens):
        return sum(self.log_probabilities(row, tokens[:t])[token] for t, token in enumerate(tokens))


def all_sequences(V, max_length):
    """Every sequence that ends with END, or has `max_length` tokens and doesn't."""
    return [
        tokens
        for length in range(1, max_length + 1)
        for tokens in itertools.product(range(V), repeat=length)
        if END not in tokens[:-1] and (tokens[-1] == END or length == max_length)
    ]


def up_to_end(tokens):
    tokens = tokens.tolist()
    return tuple(tokens[: tokens.index(END) + 1] if END in tokens else tokens)


ROWS = (2, 3, 5, 7, 11, 13, 17)


@pytest.fixture
def reader():
    return Reader(5, end_bias=1.0)


def test_all_sequences_together_have_probability_1(reader):
    total = sum(math.exp(reader.log_probability(2, tokens)) for tokens in all_sequences(5, 3))
    assert total == pytest.approx(1)


# ---------------------------------------------------------------------------------------- sampling


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.6}, {"top_k": 2}, {"temperature": 1.4, "top_p": 0.85}]
)
def test_sequences_are_drawn_as_often_as_their_probability_says(options):
    reader, draws = Reader(3, scale=0.7), 7001
    state, start = reader.start(*[2] * draws)
    found = sample_sequences(
        reader.step,
        state,
        start=start,
        end=END,
        max_length=3,
        generator=torch.Generator().manual_seed(0),
        **options,
    )
    drawn = [up_to_end(row) for row in found.tokens]
    sequences = all_sequences(3, 3)
    assert set(drawn) <= set(sequences)

    def probability(tokens):
        each = [
            token_probabilities(torch.tensor(reader.logits((2, START, *tokens[:t]))), **options)[token]
            for t, token in enumerate(tokens)
        ]
        return math.prod(map(float, each))

    expected = draws * np.array([probability(tokens) for tokens in sequences])
    counts = np.array([drawn.count(tokens) for tokens in sequences])
    assert expected.sum() == pytest.approx(draws)
    assert (counts[expected == 0] == 0).all()
    possible = expected > 0
    assert possible.sum() > 3 and expected[possible].min() > 5  # the chi-square distribution is a limit
    assert chisquare(counts[possible], expected[possible]).pvalue > 0.01


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.0}, {"temperature": 3.0}, {"top_k": 2}, {"top_p": 0.7}]
)
def test_log_probability_is_the_models_whatever_the_options(reader, options):
    state, start = reader.start(*ROWS)
    generator = torch.Generator().manual_seed(0)
    found = sample_sequences(
        reader.step, state, start=start, end=END, max_length=7, generator=generator, **options
    )
    for row, tokens, value in zip(ROWS, found.tokens, found.log_probability.tolist(), strict=True):
        assert value == pytest.approx(reader.log_probability(row, up_to_end(tokens)))


def test_rows_that_ended_stay_ended_and_the_last_one_ends_the_work(reader):
    calls = []

    def step(tokens, history):
        calls.append(len(tokens))
        return reader.step(tokens, history)

    state, start = reader.start(*ROWS)
    generator = torch.Generator().manual_seed(0)
    tokens = sample_sequences(step, state, start=start, end=END, max_length=97, generator=generator).tokens
    lengths = [len(up_to_end(row)) for row in tokens]
    assert len(set(lengths)) > 3 and max(lengths) < 97
    assert calls == [len(ROWS)] * max(lengths)
    assert tokens.shape == (len(ROWS), max(lengths))
    for row, length in zip(tokens.tolist(), lengths, strict=True):
        assert set(row[length - 1 :]) == {END} and END not in row[: length - 1]


def test_sequences_depend_on_nothing_but_the_generator(reader):
    def draw(seed):
        state, start = reader.start(*ROWS)
        generator = torch.Generator().manual_seed(seed)
        return sample_sequences(reader.step, state, start=start, end=END, max_length=7, generator=generator)

    state = torch.get_rng_state()
    assert_close(draw(1), draw(1), rtol=0, atol=0)
    assert draw(1).tokens.tolist() != draw(2).tokens.tolist()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("max_length", [0, -2])
def test_a_length_that_leaves_nothing_to_write_is_refused(reader, learner, max_length):
    state, start = reader.start(2)
    options = {"start": start, "end": END, "max_length": max_length}
    for decode in (greedy, sample_sequences, lambda *a, **k: beam_search(*a, width=2, **k)):
        with pytest.raises(ValueError, match=f"^max_length must be at least 1, got {max_length}$"):
            decode(reader.step, state, **options)


# ------------------------------------------------------------------------------------------ greedy


def greedily(reader, *rows, max_length):
    state, start = reader.start(*rows)
    return greedy(reader.step, state, start=start, end=END, max_length=max_length)


def test_greedy_takes_the_likeliest_token_at_every_step(reader):
    found = greedily(reader, *ROWS, max_length=3)
    ended = []
    for row, written, value in zip(ROWS, found.tokens, found.log_probability.tolist(), strict=True):
        tokens = []
        while len(tokens) < 3 and END not in tokens:
            tokens.append(int(np.argmax(reader.log_probabilities(row, tokens))))
        assert up_to_end(written) == tuple(tokens)
        assert value == pytest.approx(reader.log_probability(row, tokens))
        ended.append(END in tokens)
    assert any(ended) and not all(ended)  # both were tested


def test_greedy_is_sampling_at_temperature_0(reader):
    state, start = reader.start(*ROWS)
    options = {"start": start, "end": END, "max_length": 7}
    sampled = sample_sequences(
        reader.step, state, temperature=0.0, generator=torch.Generator().manual_seed(0), **options
    )
    assert_close(greedy(reader.step, state, **options), sampled, rtol=0, atol=0)


def test_rows_side_by_side_are_written_as_each_alone(reader):
    together = greedily(reader, *ROWS, max_length=7)
    for row, tokens, value in zip(ROWS, together.tokens, together.log_probability, strict=True):
        alone = greedily(reader, row, max_length=7)
        assert up_to_end(alone.tokens[0]) == up_to_end(tokens)
        assert_close(alone.log_probability[0], value)


@pytest.mark.parametrize(
    ("tokens", "expected"), [([5, 3, 0, 7, 0], [5, 3]), ([5, 3], [5, 3]), ([0, 3], []), ([], [])]
)
def test_until_end_is_what_comes_before_the_first_end_token(tokens, expected):
    assert (
        until_end(tuple(tokens), END) == until_end(torch.tensor(tokens, dtype=torch.int64), END) == expected
    )


# ------------------------------------------------------------------------------------- beam search


def search(reader, *, width, max_length, length_penalty=0.0):
    state, start = reader.start(2)
    return beam_search(
        reader.step,
        state,
        start=start,
        end=END,
        width=width,
        max_length=max_length,
        length_penalty=length_penalty,
    )


def score(reader, tokens, length_penalty):
    return reader.log_probability(2, tokens) / len(tokens) ** length_penalty


seeds = st.integers(0, 2**31)
length_penalties = st.sampled_from([0, 0.0, 0.6, 1, 2.0])


@given(seeds, st.integers(2, 4), st.integers(1, 4), length_penalties)
@settings(max_examples=40)
def test_a_beam_wide_enough_finds_every_sequence_in_order_of_its_score(seed, V, max_length, length_penalty):
    reader, sequences = Reader(V, seed=seed), all_sequences(V, max_length)
    found = search(reader, width=len(sequences), max_length=max_length, length_penalty=length_penalty)
    best_first = sorted(
        sequences, key=lambda tokens: (tokens[-1] != END, -score(reader, tokens, length_penalty))
    )
    assert [hypothesis.tokens for hypothesis in found.hypotheses] == best_first


@given(seeds, st.integers(1, 11), length_penalties, st.sampled_from([0.0, 5.0]))
@settings(max_examples=60)
def test_hypotheses_are_finished_ones_first_and_then_the_best_first(seed, width, length_penalty, end_bias):
    reader = Reader(5, seed=seed, end_bias=end_bias)
    found = search(reader, width=width, max_length=5, length_penalty=length_penalty).hypotheses
    assert 1 <= len(found) <= width and len({hypothesis.tokens for hypothesis in found}) == len(found)
    assert sorted(found, key=lambda hypothesis: (not hypothesis.finished, -hypothesis.score)) == list(found)
    for tokens, log_probability, value, finished in found:
        assert tokens in all_sequences(5, 5) and finished == (tokens[-1] == END)
        assert log_probability == pytest.approx(reader.log_probability(2, tokens))
        assert value == pytest.approx(score(reader, tokens, length_penalty))


@given(seeds, st.integers(1, 7))
@settings(max_examples=40)
def test_every_step_keeps_the_likeliest_continuations_of_what_is_left(seed, width):
    reader, left, finished = Reader(5, seed=seed), [()], 0
    steps = search(reader, width=width, max_length=4).steps
    for step in steps:
        every = {
            (*tokens, token): (parent, reader.log_probability(2, (*tokens, token)))
            for parent, tokens in enumerate(left)
            for token in range(5)
        }
        best = sorted(every, key=lambda tokens: -every[tokens][1])[: width - finished]
        assert list(map(tuple, step.tokens.tolist())) == best
        assert step.parents.tolist() == [every[tokens][0] for tokens in best]
        assert step.log_probability.tolist() == pytest.approx([every[tokens][1] for tokens in best])
        finished += sum(tokens[-1] == END for tokens in best)
        left = [tokens for tokens in best if tokens[-1] != END]
    assert len(steps) == 4 or not left


@given(seeds, st.integers(1, 7))
@settings(max_examples=40)
def test_a_beam_of_one_is_greedy(seed, max_length):
    reader = Reader(5, seed=seed, end_bias=1.0)
    [only] = search(reader, width=1, max_length=max_length).hypotheses
    written = greedily(reader, 2, max_length=max_length)
    assert only.tokens == up_to_end(written.tokens[0])
    assert only.log_probability == pytest.approx(written.log_probability.item())


def test_a_wider_beam_can_find_what_greedy_misses():
    def step(tokens, state):  # A begins well, but nothing after it is likely; after B all is clear
        after = {1: [0.0, 0.0, 0.6, 0.4], 2: [0.4, 0.3, 0.3, 0.0], 3: [1.0, 0.0, 0.0, 0.0], 0: [1.0, 0, 0, 0]}
        return torch.tensor([after[token] for token in tokens.tolist()]).log(), state

    options = {"start": torch.tensor([1]), "end": END, "max_length": 3}
    found = [beam_search(step, torch.zeros(1, 2), width=width, **options).hypotheses[0] for width in (1, 2)]
    assert [hypothesis.tokens for hypothesis in found] == [(2, 0), (3, 0)]
    assert [math.exp(hypothesis.log_probability) for hypothesis in found] == pytest.approx([0.24, 0.4])


def test_the_length_penalty_decides_between_short_and_long():
    def step(tokens, state):  # either the end at once, or two tokens more and then the end
        after = {1: [0.4, 0, 0.6, 0], 2: [0, 0, 0, 1.0], 3: [0.6, 0.4, 0, 0], 0: [1.0, 0, 0, 0]}
        return torch.tensor([after[token] for token in tokens.tolist()]).log(), state

    def best(length_penalty):
        found = beam_search(
            step,
            torch.zeros(1, 2),
            start=torch.tensor([1]),
            end=END,
            width=3,
            max_length=3,
            length_penalty=length_penalty,
        )
        return found.hypotheses[0].tokens

    assert best(0) == (0,)  # 0.4 against 0.36
    assert best(1) == (2, 3, 0)  # log 0.4 against a third of log 0.36


def test_what_is_impossible_is_not_looked_at():
    class Silent(Reader):
        def logits(self, history):
            logits = super().logits(history)
            logits[[3, 4]] = -np.inf
            return logits

    found = search(Silent(5), width=1000, max_length=3)
    assert {tokens for tokens, *_ in found.hypotheses} == set(all_sequences(3, 3))
    assert all(math.isfinite(hypothesis.log_probability) for hypothesis in found.hypotheses)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"width": -3}, "width must be at least 1, got -3"),
        ({"length_penalty": -0.5}, "length_penalty must be 0 or more and finite, got -0.5"),
        ({"length_penalty": math.inf}, "length_penalty must be 0 or more and finite, got inf"),
        ({"length_penalty": math.nan}, "length_penalty must be 0 or more and finite, got nan"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(reader, learner, options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        search(reader, **{"width": 2, "max_length": 3, **options})


def test_only_one_sequence_is_searched(reader, learner):
    state, start = reader.start(2, 3, 5)
    with pytest.raises(
        ValueError, match="^start must hold one token, since one sequence is searched, got 3$"
    ):
        beam_search(reader.step, state, start=start, end=END, width=2, max_length=3)


# ---------------------------------------------------------------------------------- rows of a beam

distinct = st.lists(st.floats(-50, 0), min_size=35, max_size=35, unique=True)


@given(distinct, st.integers(1, 40))
def test_best_continuations_are_the_first_of_all_in_order(values, count):
    table = np.array(values).reshape(5, 7)
    order = np.argsort(-table, axis=None)[:count]
    found = best_continuations(torch.tensor(values, dtype=torch.float64).view(5, 7), count)
    parents, tokens = np.unravel_index(order, table.shape)
    assert found.parents.tolist() == parents.tolist() and found.tokens.tolist() == tokens.tolist()
    assert found.log_probability.tolist() == table.flatten()[order].tolist()


def test_impossible_continuations_are_taken_only_if_there_is_nothing_else():
    nothing = torch.full((3, 5), -torch.inf)
    assert best_continuations(nothing, 4).log_probability.tolist() == [-math.inf] * 4
    one = nothing.clone()
    one[1, 2] = -7.0
    found = best_continuations(one, 4)
    assert [part.tolist() for part in found] == [[1], [2], [-7.0]]


class Memory(NamedTuple):
    h: Tensor
    deeper: tuple[Tensor, Tensor]


def test_rows_are_chosen_in_every_tensor_of_a_state():
    rows = torch.tensor([3, 0, 3])
    h, c, memory = torch.randn(5, 7), torch.randn(5), torch.randn(5, 2, 3)
    chosen = choose_rows(((h, c), Memory(h, (c, memory))), rows)
    assert type(chosen) is tuple and type(chosen[1]) is Memory
    expected = ((h[[3, 0, 3]], c[[3, 0, 3]]), Memory(h[[3, 0, 3]], (c[[3, 0, 3]], memory[[3, 0, 3]])))
    assert_close(chosen, expected, rtol=0, atol=0)
    assert torch.equal(choose_rows(h, rows), h[rows])
