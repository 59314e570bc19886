"""Training can be stopped, can fail, and keeps what it has learnt."""

import math
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from seqlib.gated import GRUCell, LSTMCell
from seqlib.rnn import CharRNN, RNNCell
from seqlib.training import History, fit, minibatches, text_loss
from seqlib.vocab import Vocabulary


class Fitting:
    """A linear model, its loss, and the parameters that each call of the loss has seen."""

    def __init__(self, *, fail_at=None, failure=None):
        g = torch.Generator().manual_seed(0)
        self.x, self.y = torch.randn(23, 5, generator=g), torch.randn(23, 3, generator=g)
        self.model = nn.Linear(5, 3)
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=g))
        self.seen = []
        self.fail_at, self.failure = fail_at, failure

    def parameters(self):
        return torch.cat([parameter.detach().flatten() for parameter in self.model.parameters()])

    def loss(self):
        self.seen.append(self.parameters())
        if len(self.seen) == self.fail_at:
            return self.failure(self.model)
        return nn.functional.mse_loss(self.model(self.x), self.y)

    def fit(self, **options):
        return fit(self.model, self.loss, **{"steps": 7, "learning_rate": 0.01, **options})


def interrupt(model):
    raise KeyboardInterrupt


# ------------------------------------------------------------------------------------ minibatches


@given(rows=st.integers(1, 31), data=st.data(), seed=st.integers(0, 2**32))
def test_every_row_comes_once_before_any_comes_again(rows, data, seed):
    batch_size = data.draw(st.integers(1, rows))
    batches = minibatches(
        torch.arange(rows), batch_size=batch_size, generator=torch.Generator().manual_seed(seed)
    )
    for _ in range(3):
        seen = [row for (batch,) in islice(batches, rows // batch_size) for row in batch.tolist()]
        assert len(seen) == len(set(seen)) == rows - rows % batch_size
        assert set(seen) <= set(range(rows))


def test_rows_of_all_tensors_stay_together():
    x = torch.arange(11)
    for a, b, c in islice(
        minibatches(x, x * 2, x[:, None] * 3.0, batch_size=3, generator=torch.Generator()), 7
    ):
        assert a.shape == b.shape == (3,) and c.shape == (3, 1)
        assert torch.equal(b, a * 2) and torch.equal(c[:, 0], a * 3.0)


def test_rounds_differ_and_the_same_generator_repeats_them():
    def order(seed):
        batches = minibatches(torch.arange(11), batch_size=11, generator=torch.Generator().manual_seed(seed))
        return [batch.tolist() for (batch,) in islice(batches, 2)]

    first, second = order(1)
    assert first != second
    assert order(1) == [first, second] != order(2)


def test_tensors_of_different_lengths_are_refused_at_once():
    with pytest.raises(ValueError, match=r"^tensors must have the same length, got \[5, 7\]$"):
        minibatches(torch.zeros(7), torch.zeros(5), batch_size=2, generator=torch.Generator())


@pytest.mark.parametrize("batch_size", [0, -1, 8])
def test_a_batch_that_does_not_fit_is_refused_at_once(batch_size):
    with pytest.raises(ValueError, match=rf"^batch_size must lie in 1\.\.7, .* got {batch_size}$"):
        minibatches(torch.zeros(7), batch_size=batch_size, generator=torch.Generator())


# --------------------------------------------------------------------------------------- text_loss


@pytest.fixture(params=[RNNCell, LSTMCell, GRUCell], ids=["RNN", "LSTM", "GRU"])
def reader(request):
    torch.manual_seed(0)
    model = CharRNN(13, 7, cell=request.param).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # so that the state matters
    return model


def numbered(rows, length):
    """Random tokens for a table of that size, and the table."""
    table = torch.randint(13, (rows, length), generator=torch.Generator().manual_seed(1))
    return table.flatten(), table


def cross_entropy(logits, tokens):
    return nn.functional.cross_entropy(logits.reshape(-1, 13), tokens.reshape(-1))


def gradients(value, model):
    return torch.autograd.grad(value, list(model.parameters()), retain_graph=True)


def test_windows_side_by_side_are_read_on_from_call_to_call(reader):
    tokens, table = numbered(3, 12)
    loss = text_loss(reader, tokens, rows=3, window=5)
    whole = reader(table).logits  # in one pass: the state is carried on
    for start in (0, 5):
        assert_close(loss(), cross_entropy(whole[:, start : start + 5], table[:, start + 1 : start + 6]))


def test_tokens_that_fill_no_row_are_left_out(reader):
    tokens, table = numbered(3, 12)
    loss = text_loss(reader, torch.cat([tokens, tokens[:2]]), rows=3, window=11)
    assert_close(loss(), cross_entropy(reader(table[:, :11]).logits, table[:, 1:]))


@pytest.mark.parametrize(("length", "calls"), [(6, 1), (10, 1), (11, 2), (12, 2), (16, 3)])
def test_at_the_end_of_the_rows_it_starts_again_from_a_zero_state(reader, length, calls):
    loss = text_loss(reader, numbered(3, length)[0], rows=3, window=5)
    first = [loss().item() for _ in range(calls)]
    assert len(set(first)) == calls
    assert [loss().item() for _ in range(2 * calls)] == first * 2


def test_no_gradient_reaches_the_window_before(reader):
    tokens, table = numbered(3, 12)
    loss = text_loss(reader, tokens, rows=3, window=5)
    loss()
    found = gradients(loss(), reader)

    last = reader(table[:, :5]).last
    parts = last if isinstance(last, tuple) else (last,)
    cut = tuple(part.detach() for part in parts)
    for state, same in ((cut, True), (parts, False)):
        state = state if isinstance(last, tuple) else state[0]
        expected = gradients(cross_entropy(reader(table[:, 5:10], state).logits, table[:, 6:11]), reader)
        assert all(torch.allclose(a, b) for a, b in zip(found, expected, strict=True)) == same


def test_fit_learns_a_text_from_its_windows():
    torch.manual_seed(0)
    tokens = torch.arange(5).repeat(40)
    model = CharRNN(5, 11, cell=LSTMCell)
    history = fit(model, text_loss(model, tokens, rows=4, window=7), steps=150, learning_rate=0.03)
    assert history.losses[0] > 1 and history.losses[-1] < 0.1


@pytest.mark.parametrize(
    ("rows", "window", "length"),
    [(3, 5, 17), (1, 5, 5), (0, 5, 100), (-1, 5, 100), (3, 0, 100), (3, -2, 100)],
)
def test_a_text_too_short_for_its_windows_is_refused_at_once(rows, window, length):
    message = (
        r"^rows and window must be positive, and tokens at least rows \* \(window \+ 1\), "
        rf"got {rows}, {window} and {length} tokens$"
    )
    with pytest.raises(ValueError, match=message):
        text_loss(CharRNN(13, 7), torch.zeros(length, dtype=torch.int64), rows=rows, window=window)


def test_the_shortest_text_has_one_window_in_each_row(reader):
    tokens, table = numbered(3, 6)
    loss = text_loss(reader, tokens, rows=3, window=5)
    assert_close(loss(), cross_entropy(reader(table[:, :5]).logits, table[:, 1:]))


# -------------------------------------------------------------------------------------------- fit


def test_training_lowers_the_loss_to_the_least_possible():
    fitting = Fitting()
    history = fitting.fit(steps=500, learning_rate=0.05)
    ones = torch.cat([fitting.x, torch.ones(23, 1)], 1)
    solution = torch.linalg.lstsq(ones, fitting.y).solution
    least = nn.functional.mse_loss(ones @ solution, fitting.y)
    assert history.losses[0] > 2 * least
    assert_close(torch.tensor(history.losses[-1]), least, rtol=1e-4, atol=0)
    assert repr(history) == "History(500 steps, finished)"


def test_a_character_model_learns_hello():
    torch.manual_seed(0)
    vocabulary = Vocabulary("hello")
    tokens = vocabulary.encode("hello")[None]
    model = CharRNN(len(vocabulary), 11)
    history = fit(
        model,
        lambda: nn.functional.cross_entropy(model(tokens[:, :-1]).logits.mT, tokens[:, 1:]),
        steps=100,
        learning_rate=0.03,
    )
    assert history.losses[0] > 1 and history.losses[-1] < 0.1
    written = model.generate(tokens[:, :1], length=4, temperature=0.0)
    assert "".join(vocabulary.decode(written[0])) == "hello"


def test_a_step_is_a_step_of_adam():
    ours, theirs = Fitting(), Fitting()
    history = ours.fit(learning_rate=0.03)
    optimizer = torch.optim.Adam(theirs.model.parameters(), lr=0.03)
    losses = []
    for _ in range(7):
        optimizer.zero_grad()
        value = theirs.loss()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert history.losses == pytest.approx(losses, rel=1e-5)
    torch.testing.assert_close(ours.parameters(), theirs.parameters())


def test_the_same_start_gives_the_same_result():
    first, second = Fitting(), Fitting()
    assert first.fit(one_cycle=True, clip_norm=0.5) == second.fit(one_cycle=True, clip_norm=0.5)
    assert torch.equal(first.parameters(), second.parameters())


def test_gradients_are_recorded_before_they_are_clipped():
    free, clipped = Fitting(), Fitting()
    norms = free.fit(steps=1).gradient_norms
    assert norms == clipped.fit(steps=1, clip_norm=0.1).gradient_norms

    def left(fitting):
        return float(torch.cat([parameter.grad.flatten() for parameter in fitting.model.parameters()]).norm())

    untrained = Fitting()
    untrained.loss().backward()
    assert norms == [pytest.approx(left(untrained))]
    assert norms[0] > 1
    assert left(free) == pytest.approx(norms[0])
    assert left(clipped) == pytest.approx(0.1, rel=1e-4)


def test_one_cycle_raises_the_learning_rate_and_lowers_it_again():
    model = nn.Linear(1, 1, bias=False)
    places = []

    def loss():  # its gradient is always 1, so that Adam moves by the learning rate
        places.append(model.weight.item())
        return model.weight.sum()

    fit(model, loss, steps=101, learning_rate=0.1, one_cycle=True)
    moves = -torch.tensor(places).diff()
    top = int(moves.argmax())
    assert 10 < top < 60
    assert moves[0] < 0.02 and moves[-1] < 0.02 and 0.08 < moves[top] < 0.12


@pytest.mark.parametrize("steps", range(1, 12))
def test_one_cycle_fits_any_number_of_steps(steps):
    history = Fitting().fit(steps=steps, one_cycle=True)
    assert len(history.losses) == len(history.gradient_norms) == steps
    assert history.stopped == "finished"


def test_the_model_trains_in_training_mode_and_is_left_ready_for_use():
    model = nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.5)).eval()
    modes = []

    def loss():
        modes.append(model.training)
        if len(modes) == 3:
            raise KeyboardInterrupt
        return model(torch.ones(2, 5)).sum()

    fit(model, loss, steps=2, learning_rate=0.1)
    assert modes == [True, True] and not model.training
    fit(model, loss, steps=2, learning_rate=0.1)
    assert modes == [True, True, True] and not model.training


# ------------------------------------------------------------------------------- stopping too soon


def test_an_interrupted_training_keeps_what_it_has_learnt():
    fitting = Fitting(fail_at=5, failure=interrupt)
    history = fitting.fit()
    assert repr(history) == "History(4 steps, interrupted)"
    assert torch.equal(fitting.parameters(), fitting.seen[-1])
    assert not torch.equal(fitting.seen[-1], fitting.seen[-2])
    assert len(history.losses) == len(history.gradient_norms) == 4


@pytest.mark.parametrize(
    "failure",
    [
        lambda model: model.weight.sum() * math.nan,
        lambda model: model.weight.sum() + math.inf,
        lambda model: (model.weight - model.weight.detach()).abs().sqrt().sum(),  # 0, with a gradient of 0/0
    ],
    ids=["nan", "infinite loss", "finite loss, nan gradient"],
)
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_a_diverged_training_keeps_the_last_good_parameters(failure, clip_norm):
    fitting = Fitting(fail_at=5, failure=failure)
    history = fitting.fit(clip_norm=clip_norm)
    assert repr(history) == "History(4 steps, diverged)"
    assert torch.equal(fitting.parameters(), fitting.seen[-1])
    assert all(map(math.isfinite, history.losses + history.gradient_norms))


def test_training_goes_on_after_it_was_interrupted():
    fitting = Fitting(fail_at=5, failure=interrupt)
    first, second = fitting.fit(), fitting.fit()
    assert (first.stopped, second.stopped) == ("interrupted", "finished")
    assert second.losses[-1] < first.losses[-1] < first.losses[0]


# -------------------------------------------------------------------------------------- watching


class Watcher:
    """Notes what each call is shown, and fails at the call numbered `fail_at`."""

    def __init__(self, *, fail_at=None, failure=None):
        self.shown = []
        self.histories = []
        self.fail_at, self.failure = fail_at, failure

    def __call__(self, history):
        assert len(history.losses) == len(history.gradient_norms)
        self.shown.append((len(history.losses), history.stopped))
        self.histories.append(history)
        if len(self.shown) == self.fail_at:
            raise self.failure


def test_every_step_is_watched_and_the_end_once_more():
    fitting, watcher = Fitting(), Watcher()
    history = fitting.fit(watch=watcher)
    assert watcher.shown == [(step, "finished") for step in (1, 2, 3, 4, 5, 6, 7, 7)]
    assert all(shown is history for shown in watcher.histories)


def test_a_watched_training_is_the_same_training():
    watched, alone = Fitting(), Fitting()
    assert watched.fit(watch=Watcher()) == alone.fit()
    assert torch.equal(watched.parameters(), alone.parameters())


@pytest.mark.parametrize(
    ("failure", "stopped"),
    [(interrupt, "interrupted"), (lambda model: model.weight.sum() * math.nan, "diverged")],
)
def test_a_training_that_stops_too_soon_is_watched_to_its_end(failure, stopped):
    fitting, watcher = Fitting(fail_at=4, failure=failure), Watcher()
    fitting.fit(watch=watcher)
    assert watcher.shown == [(1, "finished"), (2, "finished"), (3, "finished"), (3, stopped)]


def test_an_interrupt_while_watching_ends_the_training_after_that_step():
    fitting, watcher = Fitting(), Watcher(fail_at=3, failure=KeyboardInterrupt)
    assert repr(fitting.fit(watch=watcher)) == "History(3 steps, interrupted)"
    assert watcher.shown[-1] == (3, "interrupted")
    three = Fitting()
    three.fit(steps=3)
    assert torch.equal(fitting.parameters(), three.parameters())


def test_an_interrupt_while_the_end_is_watched_loses_nothing():
    fitting, watcher = Fitting(), Watcher(fail_at=8, failure=KeyboardInterrupt)
    assert repr(fitting.fit(watch=watcher)) == "History(7 steps, finished)"
    assert not fitting.model.training


@pytest.mark.parametrize("fail_at", [3, 8])
def test_what_watching_raises_is_passed_on_and_the_model_keeps_what_it_has_learnt(fail_at):
    fitting, watcher = Fitting(), Watcher(fail_at=fail_at, failure=RuntimeError("no picture"))
    with pytest.raises(RuntimeError, match="^no picture$"):
        fitting.fit(watch=watcher)
    assert len(watcher.shown) == fail_at and not fitting.model.training
    as_far = Fitting()
    as_far.fit(steps=min(fail_at, 7))
    assert torch.equal(fitting.parameters(), as_far.parameters())


# ----------------------------------------------------------------------------------- wrong inputs


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("steps", 0, "steps must be at least 1, got 0"),
        ("learning_rate", 0.0, "learning_rate must be positive and finite, got 0.0"),
        ("learning_rate", math.inf, "learning_rate must be positive and finite, got inf"),
        ("learning_rate", math.nan, "learning_rate must be positive and finite, got nan"),
        ("clip_norm", 0.0, "clip_norm must be positive or None, got 0.0"),
        ("clip_norm", -1.0, "clip_norm must be positive or None, got -1.0"),
    ],
)
def test_an_option_that_makes_no_sense_is_named_before_the_first_step(option, value, message):
    fitting = Fitting()
    with pytest.raises(ValueError) as error:
        fitting.fit(**{option: value})
    assert str(error.value) == message
    assert fitting.seen == []


def test_a_loss_that_is_not_a_scalar_is_refused_before_any_damage():
    fitting = Fitting(fail_at=1, failure=lambda model: model.weight.sum(0))
    with pytest.raises(ValueError, match=r"^loss must return a scalar, got shape \(5,\)$"):
        fitting.fit()
    assert torch.equal(fitting.parameters(), fitting.seen[0])


def test_histories_do_not_share_their_lists():
    History().losses.append(1.0)
    assert History().losses == []
