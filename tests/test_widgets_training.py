"""The live loss curve: it draws what the history holds, not too often, and always the last state."""

import base64
import io
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.image import imread

from seqlib.training import History, fit
from seqlib.widgets.training import LiveLoss

LOSSES = [5.0, 3.0, 4.0, 2.0, 1.0, 1.5, 0.5]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def drawn(live):
    """What each line of the picture shows."""
    return [list(line.get_ydata()) for line in live.figure.axes[0].lines]


def count_pictures(live):
    """Every picture that is sent from now on."""
    sent = []
    live.observe(lambda change: sent.append(change["new"]), "value")
    return sent


def description(live):
    picture = ElementTree.fromstring(live.value.replace("xlink:", ""))
    return picture.get("role"), picture.get("aria-label")


def train(live, *, interrupt_at=None, diverge_at=None, steps=11):
    """A linear model trained on a loss that knows how to fail, and its history."""
    torch.manual_seed(0)
    model, calls = torch.nn.Linear(5, 3), []

    def loss():
        calls.append(model.weight.detach().clone())
        if len(calls) == interrupt_at:
            raise KeyboardInterrupt
        value = model(torch.ones(2, 5)).square().sum()
        return value * torch.nan if len(calls) == diverge_at else value

    return model, calls, fit(model, loss, steps=steps, learning_rate=0.01, watch=live)


# ------------------------------------------------------------------------------------ what is drawn


@pytest.mark.parametrize("length", [1, 3, 7])
def test_it_draws_every_loss_and_their_running_mean(length):
    live = LiveLoss(steps=13, smooth=3)
    live(History(LOSSES[:length]))
    smooth, every = drawn(live)
    assert every == LOSSES[:length]
    near = [every[max(0, i - 1) : i + 2] for i in range(length)]
    np.testing.assert_allclose(smooth, [np.mean(some) for some in near])
    assert all(list(line.get_xdata()) == [*range(1, length + 1)] for line in live.figure.axes[0].lines)


def test_without_smoothing_there_is_one_line():
    live = LiveLoss(steps=13, smooth=1)
    live(History(LOSSES))
    assert drawn(live) == [LOSSES]


def test_a_longer_history_replaces_the_picture_and_is_not_drawn_over_it():
    live = LiveLoss(steps=13, smooth=1, clock=(clock := Clock()))
    for clock.now in (0.0, 1.0):
        live(History(LOSSES[: 3 + int(clock.now)]))
    assert drawn(live) == [LOSSES[:4]]


def test_the_axis_has_room_for_all_steps_and_the_losses_from_the_beginning():
    live = LiveLoss(steps=13, label="Loss (nats)", clock=(clock := Clock()))
    (ax,) = live.figure.axes
    for clock.now, losses in enumerate([[2.0], [2.0, 1.0], [2.0, 1.0, 7.0]]):
        live(History(losses))
        bottom, top = ax.get_ylim()
        assert ax.get_xlim() == (0, 13)
        assert bottom == 0 and max(losses) < top < 1.1 * max(losses)
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("Training step", "Loss (nats)", "linear")


def test_the_axes_stay_where_they_are_whatever_stands_at_the_ticks():
    live = LiveLoss(steps=13, clock=(clock := Clock()))
    places = set()
    for clock.now, loss in enumerate([1.0, 0.001, 12345.0]):
        live(History([loss]))
        live.figure.draw_without_rendering()
        places.add(live.figure.axes[0].get_position().bounds)
    assert len(places) == 1


def test_the_losses_may_be_drawn_on_a_logarithmic_axis():
    live = LiveLoss(steps=13, log=True)
    live(History(LOSSES))
    assert live.figure.axes[0].get_yscale() == "log"


def test_a_training_that_takes_more_steps_than_announced_is_drawn_whole():
    live = LiveLoss(steps=3)
    live(History(LOSSES))
    assert live.figure.axes[0].get_xlim() == (0, 7)


def test_the_picture_says_in_words_what_it_shows():
    live = LiveLoss(steps=13, smooth=1, clock=(clock := Clock()))
    live(History([4.0, 1.2345]))
    assert description(live) == ("img", "Loss after 2 of 13 steps: 1.23")
    clock.now = 1.0
    live(History([4.0, 1.2345, 0.5], stopped="interrupted"))
    assert description(live) == ("img", "Loss after 3 of 13 steps: 0.5, interrupted")


def test_the_description_is_about_the_thick_line_and_the_label_may_contain_any_character():
    live = LiveLoss(steps=13, smooth=3, label='Loss <"nats">')
    live(History([9.0, 1.0, 2.0]))
    assert description(live) == ("img", 'Loss <"nats"> after 3 of 13 steps: 1.5')


# ------------------------------------------------------------------------------------------- when


def test_it_draws_at_once_and_then_once_a_second_at_most():
    live = LiveLoss(steps=1000, clock=(clock := Clock()))
    sent = count_pictures(live)
    times = []
    history = History()
    for step in range(33):  # eight steps a second, which binary fractions hold exactly
        clock.now = step / 8
        history.losses.append(1.0 / (1 + step))
        before = len(sent)
        live(history)
        times += [clock.now] * (len(sent) - before)
    assert times == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_slow_training_is_drawn_at_every_step():
    live = LiveLoss(steps=13, clock=(clock := Clock()))
    sent = count_pictures(live)
    for clock.now in range(7):
        live(History(LOSSES[: clock.now + 1]))
    assert len(sent) == 7


def test_a_history_without_a_new_step_is_the_last_and_is_drawn_at_once():
    live = LiveLoss(steps=13, smooth=1, clock=Clock())  # time stands still
    for length in range(1, 8):
        live(History(LOSSES[:length]))
    assert drawn(live) == [LOSSES[:1]]
    live(History(LOSSES))
    assert drawn(live) == [LOSSES]


def test_a_second_training_is_drawn_from_its_first_step_on():
    live = LiveLoss(steps=13, smooth=1, clock=Clock())
    for history in (History(LOSSES), History([3.0])):
        live(history)
    assert drawn(live) == [[3.0]]


# ------------------------------------------------------------------------------------ with training


def test_a_training_ends_with_a_picture_of_all_its_losses():
    live = LiveLoss(steps=11, smooth=1, clock=Clock())
    _, _, history = train(live)
    assert drawn(live) == [history.losses] and len(history.losses) == 11
    assert description(live)[1].startswith("Loss after 11 of 11 steps: ")


@pytest.mark.parametrize("how", ["interrupted", "diverged"])
def test_a_training_that_stops_too_soon_is_drawn_to_its_end_and_keeps_its_model(how):
    live = LiveLoss(steps=11, smooth=1, clock=Clock())
    model, calls, history = train(live, **{"interrupt_at" if how == "interrupted" else "diverge_at": 5})
    assert drawn(live) == [history.losses] and repr(history) == f"History(4 steps, {how})"
    assert description(live)[1].startswith("Loss after 4 of 11 steps: ")
    assert description(live)[1].endswith(f", {how}")
    assert torch.equal(model.weight, calls[-1]) and not torch.equal(calls[-1], calls[-2])


def test_an_interrupt_while_it_draws_ends_the_training_and_the_picture_is_drawn_after_all(monkeypatch):
    live = LiveLoss(steps=11, smooth=1)
    draw, calls = live.figure.draw, []

    def interrupted(renderer):
        calls.append(renderer)
        if len(calls) == 1:
            raise KeyboardInterrupt
        draw(renderer)

    monkeypatch.setattr(live.figure, "draw", interrupted)
    _, _, history = train(live)
    assert repr(history) == "History(1 steps, interrupted)"
    assert drawn(live) == [history.losses] and description(live)[1].endswith(", interrupted")


def test_a_training_without_a_step_shows_nothing():
    live = LiveLoss(steps=11)
    _, _, history = train(live, interrupt_at=1)
    assert history.losses == [] and live.value == ""
    assert "image/png" not in live._repr_mimebundle_()


def test_watching_changes_nothing_in_the_training(capsys):
    figures = plt.get_fignums()
    watched, alone = train(LiveLoss(steps=11)), train(None)
    assert watched[2] == alone[2] and torch.equal(watched[0].weight, alone[0].weight)
    assert capsys.readouterr().out == "" and plt.get_fignums() == figures


# --------------------------------------------------------------------------------- without a kernel


def test_the_bundle_shows_widget_and_text_and_the_picture_once_there_is_one():
    live = LiveLoss(steps=500)
    bundle = live._repr_mimebundle_()
    assert bundle["text/plain"] == repr(live) == "LiveLoss(steps=500)"
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == live.model_id
    assert "image/png" not in bundle

    live(History(LOSSES))
    value = live.value
    pixels = imread(io.BytesIO(base64.b64decode(live._repr_mimebundle_()["image/png"])))
    assert pixels.shape[:2] == (352, 715)
    assert live.value == value and repr(live) == "LiveLoss(steps=500)"


# ----------------------------------------------------------------------------------- wrong inputs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"steps": -3}, "steps must be at least 1, got -3"),
        ({"steps": 5, "smooth": 0}, "smooth must be at least 1, got 0"),
    ],
)
@pytest.mark.usefixtures("learner")
def test_numbers_that_make_no_sense_are_named(options, message):
    with pytest.raises(ValueError) as error:
        LiveLoss(**options)
    assert str(error.value) == message
