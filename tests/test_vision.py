"""Networks that look at pictures compute what torch's parts compute, and look where they may."""

from itertools import count

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence
from torch.testing import assert_close

from seqlib.attention import attend, scaled_dot_scores
from seqlib.data import digits
from seqlib.decoding import beam_search, greedy
from seqlib.pairs import EOS, PAD, SOS
from seqlib.scenes import CAPTION_WORDS, FOR_QUESTIONS, QUESTION_WORDS, Scenes, ask, captions, draw_scenes
from seqlib.seq2seq import decoder_inputs, masked_loss
from seqlib.training import fit
from seqlib.transformer_torch import torch_encoder_layer
from seqlib.vision import (
    Captioner,
    FeatureGrid,
    QuestionAnswerer,
    caption_loss,
    cell_weights,
    describe,
    exact_captions,
    hard_caption_loss,
    question_loss,
)

B, T, D, E, H, V, L = 3, 5, 7, 11, 13, 19, 36  # V is that of CAPTION_WORDS
N, K, LAYERS, A, Q = 2, 11, 2, 11, 21  # of QuestionAnswerer: heads, size of each, layers, answers, words


@pytest.fixture(scope="module")
def glyphs():
    return digits()[0]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def assert_exact(found, expected):
    assert_close(found, expected, rtol=0, atol=1e-10)


def uneven(module):
    """The module in double precision and without dropout; its weights differ in all parts."""
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return module.eval()


def images(number=B):
    return torch.rand(number, 24, 24, dtype=torch.float64)


def zeros(*shape):
    return torch.zeros(shape, dtype=torch.float64)


either = pytest.mark.parametrize("attends", [True, False], ids=["attends", "looks once"])

# ----------------------------------------------------------------------------------------- features


def test_a_picture_becomes_a_grid_of_feature_vectors_that_are_normalised():
    grid = FeatureGrid(D).eval()(images().float())
    assert grid.shape == (B, L, D)
    assert_close(grid.mean(-1), torch.zeros(B, L), rtol=0, atol=1e-5)
    assert_close(grid.std(-1, correction=0), torch.ones(B, L), rtol=0, atol=5e-2)


def test_a_place_sees_its_own_four_by_four_pixels_and_four_more_on_each_side():
    features = uneven(FeatureGrid(D))
    pixels = images(1).expand(L, -1, -1).clone().requires_grad_()  # one picture for each place
    grid = features(pixels)
    (grid[torch.arange(L), torch.arange(L)] @ torch.randn(D).double()).sum().backward()
    for place, gradient in enumerate(pixels.grad):
        row, column = 4 * (place // 6), 4 * (place % 6)
        seen = torch.zeros(24, 24, dtype=torch.bool)
        seen[max(row - 4, 0) : row + 8, max(column - 4, 0) : column + 8] = True
        assert not (gradient != 0)[~seen].any()
        assert (gradient != 0)[seen].double().mean() > 0.5  # pooling passes over the rest


def test_without_the_vectors_of_the_places_what_is_seen_moves_with_the_picture():
    features = uneven(FeatureGrid(D))
    pixels = torch.zeros(1, 24, 24, dtype=torch.float64)
    pixels[:, 8:12, 8:12] = torch.rand(4, 4)
    moved = pixels.roll((4, -4), (1, 2))  # one place down and one to the left

    def inner():  # places that don't see the border
        before, after = (features(picture).view(6, 6, D) for picture in (pixels, moved))
        return before[2:3, 3:4], after[3:4, 2:3]

    here, there = inner()
    assert (here - there).abs().amax(-1).min() > 0.01  # the vectors say where it is
    nn.init.zeros_(features.places)
    assert_exact(*inner())


# ---------------------------------------------------------------------------------------- captioner


def captioner(network=Captioner, **options):
    return uneven(network(features=D, embedding_size=E, hidden_size=H, **options))


def words():
    return torch.randint(V, (B, T))


@either
def test_logits_and_gradients_are_those_of_torchs_parts(attends):
    model, pixels, inputs = captioner(attends=attends), images(), words()
    logits = model(pixels, inputs)
    assert logits.shape == (B, T, V) and len(CAPTION_WORDS) == V
    parameters = list(model.parameters())
    found = torch.autograd.grad(logits.square().mean(), parameters, allow_unused=True)

    first, second, third = (part for part in model.features.convolutions if isinstance(part, nn.Conv2d))
    grid = F.layer_norm(
        third(F.max_pool2d(second(first(pixels.unsqueeze(1)).relu()).relu(), 2))
        .permute(0, 2, 3, 1)
        .reshape(B, L, D)
        + model.features.places,
        (D,),
        model.features.norm.weight,
        model.features.norm.bias,
    )
    h, c = torch.tanh(model.grid_to_state(grid.mean(1))).split(H, 1) if not attends else zeros(2, B, H)
    weights = {
        "weight_ih_l0": model.cell.x_to_gates.weight,
        "weight_hh_l0": model.cell.h_to_gates.weight,
        "bias_ih_l0": model.cell.x_to_gates.bias,
        "bias_hh_l0": zeros(4 * H),
    }
    lstm = nn.LSTM(E, H, batch_first=True).double()
    states, _ = torch.func.functional_call(
        lstm, weights, (model.embedding.weight[inputs], (h[None].contiguous(), c[None].contiguous()))
    )
    context = F.scaled_dot_product_attention(model.h_to_q(states), model.grid_to_k(grid), grid)
    expected = model.joined_to_y(torch.cat([context * attends, states], -1))
    assert_exact(logits, expected)
    gradients = torch.autograd.grad(expected.square().mean(), parameters, materialize_grads=True)
    for ours, theirs in zip(found, gradients, strict=True):
        assert_exact(torch.zeros_like(theirs) if ours is None else ours, theirs)


def test_the_softly_attended_context_is_what_attend_gives():
    model = captioner()
    state = model.start(images())
    h = model.states(words(), state)
    looked = model.look(h, state)
    attended = attend(scaled_dot_scores(model.h_to_q(h), model.grid_to_k(state.grid)), state.grid)
    assert_exact(looked.context, attended.context)
    assert_exact(looked.weights, attended.weights)
    assert_exact(model.weights(h, state), attended.weights)
    assert_exact(model.say(looked.context, h), looked.logits)


def test_one_that_attends_knows_nothing_of_the_picture_before_it_looks():
    state = captioner().start(images())
    assert torch.equal(state.h, zeros(B, H)) and torch.equal(state.c, zeros(B, H))
    once = captioner(attends=False).start(images())
    assert (once.h[0] - once.h[1]).abs().max() > 0.01 and (once.c[0] - once.c[1]).abs().max() > 0.01


@pytest.mark.parametrize(
    "make",
    [captioner, lambda: captioner(attends=False)],
    ids=["attends", "looks once"],
)
def test_step_by_step_and_all_steps_at_once_are_the_same(make):
    model, pixels, inputs = make(), images(), words()
    state = model.start(pixels)
    for tokens, expected in zip(inputs.unbind(1), model(pixels, inputs).unbind(1), strict=True):
        logits, state = model.step(tokens, state)
        assert_exact(logits, expected)


@pytest.mark.parametrize("t", range(1, T))
def test_future_words_do_not_change_past_logits(t):
    model, pixels, inputs = captioner(), images(), words()
    other = inputs.clone()
    other[:, t] = (inputs[:, t] + 1) % V
    before, after = model(pixels, inputs), model(pixels, other)
    assert_exact(after[:, :t], before[:, :t])
    assert ((after - before)[:, t:].abs().amax(-1) > 1e-6).all()


def test_each_picture_is_described_as_if_it_were_alone():
    model, pixels, inputs = captioner(), images(), words()
    alone = [model(pixels[row : row + 1], inputs[row : row + 1]) for row in range(B)]
    assert_exact(torch.cat(alone), model(pixels, inputs))


@either
def test_weights_sum_to_1(attends):
    model = captioner(attends=attends)
    state = model.start(images())
    weights = model.look(model.states(words(), state), state).weights
    assert weights.shape == (B, T, L) and (weights > 0).all()
    assert_exact(weights.sum(-1), torch.ones(B, T).double())


@either
def test_only_a_model_that_attends_sees_the_picture_after_the_start(attends):
    model = captioner(attends=attends)
    state = model.start(images())
    other = state._replace(grid=model.start(images()).grid)
    h, tokens = model.states(words(), state), words()[:, 0]
    change = (model.look(h, other).logits - model.look(h, state).logits).abs().amax(-1)
    assert torch.equal(change > 1e-6, torch.full((B, T), attends))
    step = (model.step(tokens, other)[0] - model.step(tokens, state)[0]).abs().amax(-1)
    assert torch.equal(step > 1e-6, torch.full((B,), attends))
    assert (model.look(h, state).context.abs().amax(-1) > 0).all() == attends


@either
def test_gradients_reach_every_parameter_that_is_used(attends):
    model = captioner(attends=attends)
    F.cross_entropy(model(images(), words()).flatten(0, 1), words().flatten()).backward()
    untouched = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or parameter.grad.abs().max() < 1e-10
    }
    unused = set() if attends else {"h_to_q.weight", "h_to_q.bias", "grid_to_k.weight"}
    assert untouched == unused | {"grid_to_k.bias"}  # it adds the same to the scores of all places


@either
def test_greedy_decoding_writes_the_likeliest_word_each_time(attends):
    model, pixels = captioner(attends=attends).requires_grad_(False), images(17)
    if not attends:
        model.grid_to_state.weight.mul_(31)  # so that the picture matters
    for layer in model.joined_to_y[::2]:
        layer.weight.normal_(std=3)
    model.joined_to_y[-1].bias[EOS] = 4.0
    start = torch.full((17,), SOS)
    tokens, log_probability = greedy(model.step, model.start(pixels), start=start, end=EOS, max_length=7)
    assert len(tokens.unique(dim=0)) > 2 and (tokens == EOS).any()

    logits = model(pixels, decoder_inputs(tokens))
    counts = (decoder_inputs(tokens) == EOS).cumsum(1) == 0  # up to the end
    assert torch.equal(torch.where(counts, logits.argmax(-1), EOS), tokens)
    gained = logits.log_softmax(-1).gather(2, tokens[:, :, None])[:, :, 0]
    assert_close(log_probability.double(), (gained * counts).sum(1), rtol=0, atol=1e-5)

    for row in range(B):
        state = model.start(pixels[row : row + 1])
        search = beam_search(model.step, state, start=start[:1], end=EOS, width=1, max_length=7)
        assert search.hypotheses[0].tokens == tuple(tokens[row][counts[row]].tolist())


# ------------------------------------------------------------------------- one place for each word


class InDouble(Captioner):
    """For scenes, which are drawn in single precision."""

    def start(self, images):
        return super().start(images.double())


def test_a_hard_caption_loss_is_reinforce_for_the_places_and_cross_entropy_for_the_words(glyphs):
    model = captioner(InDouble)
    parameters = (
        model.h_to_q.weight,
        model.grid_to_k.weight,
        model.joined_to_y[0].weight,
        model.embedding.weight,
    )
    g, h = (torch.Generator().manual_seed(1) for _ in range(2))
    loss = hard_caption_loss(model, glyphs, batch_size=B, generator=g)
    usual, lengths = {}, set()  # the running mean of the rewards of each word of a caption
    for _ in range(4):
        scenes = draw_scenes(B, glyphs, distort=True, generator=h)
        target = captions(scenes.cells)
        state = model.start(scenes.images)
        states = model.states(decoder_inputs(target), state)
        weights = model.weights(states, state)
        places = torch.multinomial(weights.view(-1, L), 1, generator=h).view(target.shape)
        total, lengths = 0, lengths | {target.shape[1]}
        for t, column in enumerate(target.unbind(1)):
            rows = (column != PAD).nonzero()[:, 0]
            place = places[rows, t]
            logits = model.joined_to_y(torch.cat([state.grid[rows, place], states[rows, t]], 1))
            wrong = F.cross_entropy(logits, column[rows], reduction="none")
            now = -wrong.detach().mean()
            before = usual.get(t, now)
            gained = -wrong.detach() - before
            usual[t] = 0.9 * before + 0.1 * now
            total = total + (wrong - gained * weights[rows, t, place].log()).sum()
        expected, found = total / (target != PAD).sum(), loss()
        assert_exact(found, expected)
        for ours, theirs in zip(
            *(torch.autograd.grad(y, parameters) for y in (found, expected)), strict=True
        ):
            assert_exact(ours, theirs)
    assert len(lengths) > 1


def test_the_gradient_of_a_hard_caption_loss_is_on_average_that_of_the_expected_reward(glyphs):
    g, seeds = torch.Generator(), count()

    class SameScenes(InDouble):
        def start(self, images):
            g.manual_seed(next(seeds))  # from here on other places are drawn
            return super().start(images)

    model = captioner(SameScenes)
    parameters = model.h_to_q.weight, model.embedding.weight
    loss = hard_caption_loss(model, glyphs, batch_size=31, generator=g)

    def draw():
        g.manual_seed(0)
        return torch.autograd.grad(loss(), parameters)

    draws = [
        torch.stack(gradients).flatten(1) for gradients in zip(*(draw() for _ in range(20)), strict=True)
    ]

    scenes = draw_scenes(31, glyphs, distort=True, generator=g.manual_seed(0))
    target = captions(scenes.cells)
    state = model.start(scenes.images)
    h = model.states(decoder_inputs(target), state)
    weights, reward = model.weights(h, state), []
    for place in range(L):  # what each would bring
        seen = state.grid[:, place : place + 1].expand(-1, target.shape[1], -1)
        reward.append(-F.cross_entropy(model.say(seen, h).mT, target, reduction="none"))
    expected = (weights * torch.stack(reward, -1)).sum(-1)[target != PAD].mean()
    for found, exact in zip(draws, torch.autograd.grad(-expected, parameters), strict=True):
        share = found @ exact.flatten() / exact.square().sum()  # how much of it there is in each draw
        error = share.std() / len(share) ** 0.5
        assert abs(share.mean() - 1) < 3 * error < 0.4


# ---------------------------------------------------------------------------------------- what is said


@pytest.mark.parametrize(("bias", "length"), [(-100.0, 7), (2.0, None), (100.0, 1)])
def test_a_description_is_the_likeliest_word_each_time_and_where_it_looked(bias, length):
    model, picture, inputs = captioner().requires_grad_(False), images(1), [SOS]
    model.joined_to_y[-1].bias[EOS] += bias
    found = describe(model, picture[0], max_length=7)
    for _ in found.words:
        inputs.append(model(picture, torch.tensor([inputs]))[0, -1].argmax().item())
    assert found.words == CAPTION_WORDS.decode(inputs[1:])
    assert "<eos>" not in found.words[:-1]
    assert found.words[-1] == "<eos>" or len(found.words) == 7
    assert len(found.words) == (length or len(found.words))
    state = model.start(picture)
    assert_exact(found.weights, model.weights(model.states(torch.tensor([inputs[:-1]]), state), state)[0])


@pytest.mark.parametrize("shape", [(), (B,), (B, T)], ids=str)
def test_the_weights_of_a_cell_are_those_of_its_two_by_two_places(shape):
    weights = torch.randn(*shape, L).double().softmax(-1)
    found = cell_weights(weights)
    assert found.shape == (*shape, 9)
    assert_exact(found.sum(-1), torch.ones(shape).double())
    expected = zeros(*shape, 9)
    for place in range(L):
        row, column = divmod(place, 6)
        expected[..., 3 * (row // 2) + column // 2] += weights[..., place]
    assert_exact(found, expected)


# ------------------------------------------------------------------------------ questions and answers


def answerer(**options):
    return uneven(QuestionAnswerer(**{"model_size": N * K, "num_heads": N, "num_layers": LAYERS} | options))


def questions(*lengths):
    """Random words with PAD after them, so many in each row."""
    rows = [torch.randint(3, Q, (length,)) for length in lengths]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


def test_answers_and_gradients_are_those_of_torchs_parts():
    model, pixels, lengths = answerer(), images(), [4, 7, 1]
    asked = questions(*lengths)
    assert len(QUESTION_WORDS) == Q
    answer = model(pixels, asked)
    assert answer.logits.shape == (B, A)
    found = torch.autograd.grad(answer.logits.square().sum(), (model.places, model.embedding.weight))

    packed = pack_padded_sequence(
        model.embedding(asked), torch.tensor(lengths), batch_first=True, enforce_sorted=False
    )
    _, (last, _) = model.reader.to_torch()(packed)
    seen = [
        model.cell_to_x(2 * pixels[:, row : row + 8, column : column + 8].reshape(B, 64) - 0.6)
        for row in (0, 8, 16)
        for column in (0, 8, 16)
    ]
    x = torch.stack([last[0], *(one + place for one, place in zip(seen, model.places, strict=True))], 1)
    for layer in model.layers:
        x = torch_encoder_layer(layer).train()(x)
    expected = model.x_to_answer(model.norm(x[:, 0]))
    assert_exact(answer.logits, expected)
    gradients = torch.autograd.grad(expected.square().sum(), (model.places, model.embedding.weight))
    assert_close(found, gradients, rtol=1e-8, atol=1e-10)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(1, 5))
@settings(max_examples=10)
def test_more_padding_changes_nothing(lengths, more):
    model, pixels, asked = answerer(), images(len(lengths)), questions(*lengths)
    longer = F.pad(asked, (0, more), value=PAD)
    answer, padded = model(pixels, asked), model(pixels, longer)
    assert_exact(padded.logits, answer.logits)
    assert_exact(padded.weights, answer.weights)


@given(st.permutations(range(9)))
@settings(max_examples=10)
def test_cells_may_come_in_any_order_as_long_as_each_keeps_the_vector_of_its_place(order):
    model, pixels, asked = answerer().requires_grad_(False), images(), questions(4, 7, 1)
    before = model(pixels, asked)
    cells = pixels.unflatten(1, (3, 8)).unflatten(3, (3, 8)).transpose(2, 3).flatten(1, 2)[:, order]
    mixed = cells.unflatten(1, (3, 3)).transpose(2, 3).reshape(B, 24, 24)
    without = model(mixed, asked).logits
    model.places.copy_(model.places[order])
    after = model(mixed, asked)
    assert_exact(after.logits, before.logits)
    tokens = [0, *(1 + cell for cell in order)]
    assert_exact(after.weights, tuple(layer[:, :, tokens][:, :, :, tokens] for layer in before.weights))
    assert (without - before.logits).abs().max() > 1e-3 or order == sorted(order)


def test_weights_of_each_layer_sum_to_1():
    weights = answerer()(images(), questions(4, 7, 1)).weights
    assert len(weights) == LAYERS
    for layer in weights:
        assert layer.shape == (B, N, 10, 10) and (layer > 0).all()
        assert_exact(layer.sum(-1), torch.ones(B, N, 10).double())


def test_the_answer_depends_on_every_word_of_the_question_and_every_cell():
    model, asked = answerer(), questions(7, 7, 7)
    pixels = images().requires_grad_()
    words = model.embedding(asked).detach().requires_grad_()
    model.embedding.register_forward_hook(lambda *_: words)
    (model(pixels, asked).logits @ torch.randn(A).double()).sum().backward()
    assert (words.grad.abs().amax(-1) > 0).all()
    assert (F.max_pool2d(pixels.grad.abs(), 8) > 0).all()


def test_gradients_reach_every_parameter_of_the_answerer():
    model = answerer()
    F.cross_entropy(model(images(), questions(4, 7, 1)).logits, torch.tensor([2, 3, 5])).backward()
    untouched = {name for name, parameter in model.named_parameters() if parameter.grad.abs().max() < 1e-10}
    # The same for all keys: a bias that softmax doesn't notice.
    assert untouched == {f"layers.{layer}.attention.W_K.bias" for layer in range(LAYERS)}


# ------------------------------------------------------------------------------------- wrong inputs


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (FeatureGrid, {"features": 0}, "features must be a positive integer, got 0"),
        (Captioner, {"features": -1}, "features must be a positive integer, got -1"),
        (Captioner, {"embedding_size": 0}, "embedding_size must be a positive integer, got 0"),
        (Captioner, {"hidden_size": -1}, "hidden_size must be a positive integer, got -1"),
        (QuestionAnswerer, {"model_size": 0}, "model_size must be a positive integer, got 0"),
        (QuestionAnswerer, {"num_layers": 0}, "num_layers must be a positive integer, got 0"),
        (QuestionAnswerer, {"num_heads": 0}, "num_heads must be a positive integer, got 0"),
        (
            QuestionAnswerer,
            {"model_size": 22, "num_heads": 3},
            "model_size must be divisible by num_heads, got 22 and 3",
        ),
    ],
)
def test_sizes_that_fit_no_model_are_named(learner, model, options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        model(**options)


@pytest.mark.parametrize("shape", [(24, 24), (1, 24, 24, 1), (2, 25, 25), (1, 24, 23)])
@pytest.mark.parametrize(
    "maker", [lambda: FeatureGrid(D), captioner, answerer], ids=["grid", "words", "answer"]
)
def test_a_picture_of_another_shape_is_refused(learner, maker, shape):
    model = maker().float()
    rest = () if isinstance(model, FeatureGrid) else (questions(4),)
    with pytest.raises(ValueError) as error:
        model(torch.zeros(shape), *rest)
    assert str(error.value) == f"images must have shape (B, 24, 24), got {shape}"


def test_dropout_falls_on_what_is_seen_in_training_only():
    features, pixels = FeatureGrid(D).double(), images()
    assert not torch.equal(features(pixels), features(pixels))
    features.eval()
    assert torch.equal(features(pixels), features(pixels))


# ---------------------------------------------------------------------------------------- training


def test_a_caption_loss_is_that_of_new_distorted_scenes_at_each_call(glyphs):
    model = captioner().float()  # without dropout
    g, h = (torch.Generator().manual_seed(1) for _ in range(2))
    loss = caption_loss(model, glyphs, batch_size=B, generator=g)
    for _ in range(2):
        scenes = draw_scenes(B, glyphs, distort=True, generator=h)
        target = captions(scenes.cells)
        logits = model(scenes.images, decoder_inputs(target))
        expected = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD)
        assert_close(loss(), expected)


def test_a_question_loss_is_that_of_new_distorted_scenes_and_questions_at_each_call(glyphs):
    model = answerer().float()
    g, h = (torch.Generator().manual_seed(1) for _ in range(2))
    loss = question_loss(model, glyphs, batch_size=B, generator=g)
    for _ in range(2):
        scenes = draw_scenes(B, glyphs, **FOR_QUESTIONS, distort=True, generator=h)
        asked = ask(scenes.cells, generator=h)
        assert_close(loss(), F.cross_entropy(model(scenes.images, asked.tokens).logits, asked.answers))


def test_captions_learnt_by_heart_are_exact_and_others_are_not(glyphs):
    scenes = draw_scenes(5, glyphs, fewest=1, most=3, generator=torch.Generator().manual_seed(0))
    known = Scenes(scenes.images[:3], scenes.cells[:3])
    model = Captioner(features=16, embedding_size=E, hidden_size=32)
    assert not exact_captions(model.eval(), scenes).any()
    target = captions(known.cells)
    fit(
        model,
        lambda: masked_loss(model(known.images, decoder_inputs(target)), target),
        steps=60,
        learning_rate=0.01,
        clip_norm=1.0,
    )
    assert exact_captions(model, scenes).tolist() == [True] * 3 + [False] * 2
