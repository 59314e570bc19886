"""A Transformer that draws sees no future, and draws with its cache what it would draw without one."""

from functools import cache
from itertools import pairwise

import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from seqlib.data import Digits, digits
from seqlib.decoding import choose_rows, token_probabilities
from seqlib.painting import (
    CausalLayer,
    Painter,
    nearest,
    paint,
    painting_loss,
    pixel_tokens,
    prompt_tokens,
    trace_painting,
)
from seqlib.training import minibatches
from seqlib.transformer import EncoderLayer, causal_mask
from seqlib.transformer_torch import torch_encoder_layer

B, T, N, K, INNER, LAYERS, LEVELS, TOKENS = 3, 13, 2, 11, 17, 2, 17, 27
D = N * K
WORDS = ["seven", "zero", "nine"]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def few():
    train = digits()[0]
    return Digits(train.images[:17], train.labels[:17])


def assert_exact(found, expected):
    assert_close(found, expected, rtol=0, atol=1e-10)


def uneven(module):
    """The module in double precision; its weights differ in all parts."""
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return module


def painter(**options):
    return uneven(Painter(**{"model_size": D, "num_heads": N, "num_layers": LAYERS} | options))


@cache
def one_painter():
    torch.manual_seed(0)
    return painter().requires_grad_(False)


def tokens(length=T, count=B):
    """A word and pixels, so many in all."""
    words = torch.randint(LEVELS, TOKENS, (count, 1))
    return torch.cat([words, torch.randint(LEVELS, (count, length - 1))], 1)


def seeded(number=0):
    return torch.Generator().manual_seed(number)


# ----------------------------------------------------------------------------------- words and pixels


def test_a_sequence_is_the_word_of_a_digit_and_then_its_pixels_row_by_row(few):
    sequences = pixel_tokens(*few)
    assert sequences.shape == (17, 65) and sequences.dtype == torch.int64
    for sequence, picture, label in zip(sequences.tolist(), few.images, few.labels.tolist(), strict=True):
        assert sequence[0] == LEVELS + label
        assert sequence[1:] == [int(16 * value) for row in picture.tolist() for value in row]


def test_grey_values_between_two_levels_become_the_nearest():
    levels = torch.randint(LEVELS, (B, 8, 8))
    near = ((levels + 0.9 * (torch.rand(B, 8, 8) - 0.5)) / 16).clamp(0, 1)
    assert torch.equal(pixel_tokens(near, torch.zeros(B).long())[:, 1:], levels.flatten(1))


def test_prompts_are_the_tokens_that_begin_such_sequences():
    words = "zero one two three four five six seven eight nine".split()
    found = pixel_tokens(torch.zeros(10, 8, 8), torch.arange(10))[:, 0]
    assert torch.equal(prompt_tokens(words), found)
    assert prompt_tokens(["seven", "one", "seven"]).tolist() == [24, 18, 24]


# ------------------------------------------------------------------------------------------- layers


def torchs(layer):
    """torch's layer with the same weights; ours has the parts of an EncoderLayer."""
    inner, outer = layer.feed_forward[0].weight.shape
    same = EncoderLayer(outer, layer.attention.num_heads, inner).double()
    same.load_state_dict(layer.state_dict())
    return torch_encoder_layer(same.eval())


@pytest.mark.parametrize("cuts", [(0, T), (0, 1, T), (0, 5, 7, T), range(T + 1)], ids=str)
def test_a_causal_layer_is_torchs_however_its_tokens_are_cut(cuts):
    layer = uneven(CausalLayer(D, N, INNER)).requires_grad_(False)
    x = torch.randn(B, T, D).double()
    theirs = torchs(layer)
    hidden = ~causal_mask(T)
    read = theirs.norm1(x)
    options = {"attn_mask": hidden, "average_attn_weights": False}
    expected = theirs(x, src_mask=hidden), theirs.self_attn(read, read, read, **options)[1]
    past = None
    for start, end in pairwise(cuts):
        looked, past = layer(x[:, start:end], past)
        assert_exact(looked.output, expected[0][:, start:end])
        assert_exact(looked.weights, expected[1][:, :, start:end, :end])
    assert past.k.shape == past.v.shape == (B, N, T, K)
    assert_exact(past, layer.attention.keys_values(read))


# ------------------------------------------------------------------------------------------- painter


def test_logits_weights_and_gradients_are_those_of_torchs_parts():
    model, inputs = painter(), tokens(64)
    painted = model.extend(inputs, ())
    assert painted.logits.shape == (B, 64, LEVELS) and len(painted.weights) == LAYERS

    places = torch.stack([model.rows[t // 8] + model.columns[t % 8] for t in range(64)])
    x, hidden = F.embedding(inputs, model.embedding.weight) + places, ~causal_mask(64)
    for weights, layer in zip(painted.weights, map(torchs, model.layers), strict=True):
        read = layer.norm1(x)
        options = {"attn_mask": hidden, "average_attn_weights": False}
        assert_exact(weights, layer.self_attn(read, read, read, **options)[1])
        x = layer(x, src_mask=hidden)
    expected = model.x_to_level(F.layer_norm(x, (D,), model.norm.weight, model.norm.bias))
    assert_exact(painted.logits, expected)
    assert torch.equal(model(inputs), painted.logits)
    inward = model.embedding.weight, model.rows, model.columns  # as far from the logits as can be
    gradients = (torch.autograd.grad(y.square().sum(), inward) for y in (painted.logits, expected))
    for ours, theirs in zip(*gradients, strict=True):
        assert_close(ours, theirs, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("t", [1, 7, 8, T - 1])
def test_future_tokens_do_not_change_past_logits(t):
    model, inputs = one_painter(), tokens()
    other = inputs.clone()
    other[:, t:] = (other[:, t:] + 1) % LEVELS
    before, after = model(inputs), model(other)
    assert_exact(after[:, :t], before[:, :t])
    assert ((after - before)[:, t:].abs().amax(-1) > 1e-6).all()


def test_step_by_step_with_the_cache_and_all_at_once_are_the_same():
    model, inputs = one_painter(), tokens(64)
    expected, state = model(inputs), ()
    for t in range(64):
        logits, state = model.step(inputs[:, t], state)
        assert_exact(logits, expected[:, t])


@pytest.mark.parametrize("t", [1, 8, 23, 63])
def test_a_picture_can_be_read_in_two_parts(t):
    model, inputs = one_painter(), tokens(64)
    at_once, first = model.extend(inputs, ()), model.extend(inputs[:, :t], ())
    second = model.extend(inputs[:, t:], first.cache)
    assert_exact(torch.cat([first.logits, second.logits], 1), at_once.logits)
    assert_exact(second.cache, at_once.cache)
    assert_exact(first.weights, tuple(layer[:, :, :t, :t] for layer in at_once.weights))
    assert_exact(second.weights, tuple(layer[:, :, t:] for layer in at_once.weights))


@pytest.mark.parametrize("read", [0, 5])
def test_rows_of_a_state_can_be_chosen_before_the_first_token_and_later(read):
    model, inputs, rows = one_painter(), tokens(6), torch.tensor([2, 0, 0, 1])
    state = model.extend(inputs[:, :read], ()).cache if read else ()
    logits, _ = model.step(inputs[rows, read], choose_rows(state, rows))
    assert_exact(logits, model(inputs[:, : read + 1])[rows, -1])


def test_gradients_reach_every_parameter():
    model, sequences = painter(), tokens(65)
    F.cross_entropy(model(sequences[:, :-1]).flatten(0, 1), sequences[:, 1:].flatten()).backward()
    untouched = {name for name, parameter in model.named_parameters() if parameter.grad.abs().max() < 1e-10}
    # The same for all keys: a bias that softmax doesn't notice.
    assert untouched == {f"layers.{layer}.attention.W_K.bias" for layer in range(LAYERS)}
    assert (model.rows.grad.abs().amax(1) > 0).all() and (model.columns.grad.abs().amax(1) > 0).all()


def test_dropout_is_as_asked_for_and_acts_in_training_only():
    model, inputs = painter(dropout=0.3), tokens()
    assert {part.p for part in model.modules() if isinstance(part, nn.Dropout)} == {0.3}
    assert not torch.equal(model(inputs), model(inputs))
    model.eval()
    assert torch.equal(model(inputs), model(inputs))


def test_a_painting_loss_is_the_cross_entropy_of_each_pixel_given_the_word_and_all_before(few):
    model = painter().float()
    loss = painting_loss(model, few, batch_size=5, generator=seeded(1))
    batches = minibatches(*few, batch_size=5, generator=seeded(1))
    for _ in range(4):  # more than one round
        pictures, labels = next(batches)
        levels = (16 * pictures).long().view(5, 64)
        logits = model(torch.cat([labels[:, None] + LEVELS, levels[:, :63]], 1))
        assert_close(loss(), F.cross_entropy(logits.transpose(1, 2), levels))


# ------------------------------------------------------------------------------------------ drawing


@cache
def likeliest_pictures():
    return paint(one_painter(), WORDS, temperature=0, generator=seeded())


def test_without_chance_each_pixel_is_the_likeliest_given_the_word_and_all_before():
    model, sequences = one_painter(), prompt_tokens(WORDS)[:, None]
    for _ in range(64):
        sequences = torch.cat([sequences, model(sequences)[:, -1:].argmax(-1)], 1)
    levels = sequences[:, 1:]
    assert len(levels.unique()) > 5 and len(levels.unique(dim=0)) == B
    assert_exact(likeliest_pictures(), levels.view(B, 8, 8) / 16)


def test_without_chance_each_picture_is_drawn_as_if_it_were_alone():
    model = one_painter()
    alone = [paint(model, [word], temperature=0, generator=seeded(1)) for word in WORDS]
    assert_exact(torch.cat(alone), likeliest_pictures())


def test_a_picture_depends_on_nothing_but_the_words_and_the_generator():
    model, state = one_painter(), torch.get_rng_state()
    pictures = paint(model, WORDS, generator=seeded(1))
    assert torch.equal(paint(model, WORDS, generator=seeded(1)), pictures)
    assert not torch.equal(paint(model, WORDS, generator=seeded(2)), pictures)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_was_drawn_is_a_sequence_that_the_model_can_read():
    pictures = likeliest_pictures()
    sequences = pixel_tokens(pictures, torch.tensor([7, 0, 9]))
    assert torch.equal(sequences[:, 0], prompt_tokens(WORDS))
    assert_exact(sequences[:, 1:].view(B, 8, 8) / 16, pictures)


@pytest.mark.parametrize("temperature", [0, 0.5, 2])
def test_a_trace_is_of_the_picture_that_paint_draws(temperature):
    model = one_painter()
    picture = paint(model, ["seven"], temperature=temperature, generator=seeded(1))[0]
    trace = trace_painting(model, "seven", temperature=temperature, generator=seeded(1))
    assert torch.equal(trace.levels.view(8, 8) / 16, picture)

    inputs = torch.cat([torch.tensor([LEVELS + 7]), trace.levels[:-1]])
    at_once = model.extend(inputs[None], ())
    expected = token_probabilities(at_once.logits[0], temperature=temperature)
    assert_exact(trace.probabilities, expected)
    assert_exact(trace.probabilities.sum(1), torch.ones(64).double())
    assert (trace.probabilities[torch.arange(64), trace.levels] > 0).all()
    assert_exact(trace.weights, at_once.weights[-1][0])


def test_a_trace_looks_only_at_what_is_there_and_its_weights_sum_to_1():
    weights = trace_painting(one_painter(), "seven", generator=seeded()).weights
    assert weights.shape == (N, 64, 64)
    assert_exact(weights.sum(-1), torch.ones(N, 64).double())
    assert torch.equal(weights > 0, causal_mask(64).expand(N, -1, -1))


@pytest.mark.parametrize("count", [5, 31])  # torch has another way for more than 25
def test_the_nearest_picture_is_sklearns(count):
    pictures, among = torch.rand(B, 8, 8).double(), torch.rand(count, 8, 8).double()
    index = NearestNeighbors(n_neighbors=1).fit(among.flatten(1).numpy())
    distance, number = index.kneighbors(pictures.flatten(1).numpy())
    found = nearest(pictures, among)
    assert found.number.tolist() == number[:, 0].tolist()
    assert_exact(found.distance, torch.from_numpy(distance[:, 0]))


def test_a_copy_has_no_distance():
    pictures = torch.rand(31, 8, 8)  # in single precision, and no multiples of 1 / 16
    found = nearest(pictures[7:], pictures)
    assert found.number.tolist() == list(range(7, 31))
    assert (found.distance == 0).all()


# ------------------------------------------------------------------------------------- wrong inputs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_size": 0}, "model_size must be a positive integer, got 0"),
        ({"num_layers": -1}, "num_layers must be a positive integer, got -1"),
        ({"num_heads": 0}, "num_heads must be a positive integer, got 0"),
        ({"model_size": 22, "num_heads": 3}, "model_size must be divisible by num_heads, got 22 and 3"),
    ],
)
def test_sizes_that_fit_no_model_are_named(learner, options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Painter(**options)


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8, 1), (2, 9, 9), (1, 8, 7)])
def test_a_picture_of_another_shape_is_refused(learner, shape):
    with pytest.raises(ValueError) as error:
        pixel_tokens(torch.zeros(shape), torch.zeros(1).long())
    assert str(error.value) == f"images must have shape (B, 8, 8), got {shape}"


def test_a_word_that_is_no_digit_is_named(learner):
    model, all_words = one_painter(), "zero, one, two, three, four, five, six, seven, eight, nine"
    attempts = [
        lambda: prompt_tokens(["one", "Seven"]),
        lambda: paint(model, ["Seven"], generator=seeded()),
        lambda: trace_painting(model, "Seven", generator=seeded()),
    ]
    for attempt in attempts:
        with pytest.raises(ValueError, match=f"^words must be among {all_words}, got 'Seven'$"):
            attempt()


def test_a_temperature_below_0_is_refused(learner):
    for attempt in (
        lambda: paint(one_painter(), ["one"], temperature=-1, generator=seeded()),
        lambda: trace_painting(one_painter(), "one", temperature=-1, generator=seeded()),
    ):
        with pytest.raises(ValueError, match="^temperature must be 0 or more and finite, got -1$"):
            attempt()


def test_no_pixel_comes_after_the_last(learner):
    model, message = one_painter(), "tokens must be a prompt and at most 63 pixels, got 65 in all"
    with pytest.raises(ValueError, match=f"^{message}$"):
        model(tokens(65))
    with pytest.raises(ValueError, match=f"^{message}$"):
        model.step(tokens(1)[:, 0], model.extend(tokens(64), ()).cache)
