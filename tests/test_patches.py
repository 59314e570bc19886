"""A picture is cut and put together again, and what reads its patches is made of torch's parts."""

from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from seqlib.data import Digits, digits
from seqlib.patches import DigitCNN, VisionTransformer, digit_accuracy, digit_loss, patchify, roll_out
from seqlib.scenes import distorted
from seqlib.training import minibatches
from seqlib.transformer_torch import torch_encoder_layer

B, N, K, LAYERS = 3, 2, 11, 2
SIZES = {"model_size": N * K, "num_heads": N, "num_layers": LAYERS}

sizes = pytest.mark.parametrize("size", [1, 2, 4, 8])


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


def images(count=B, height=8, width=8):
    return torch.rand(count, height, width, dtype=torch.float64)


def transformer(**options):
    return uneven(VisionTransformer(**SIZES | options))


def cnn():
    return uneven(DigitCNN(channels=7))


def unfolded(pictures, size):
    """The same as `patchify`, by torch."""
    return F.unfold(pictures[:, None], size, stride=size).mT


# ------------------------------------------------------------------------------------------ patches


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 7), st.integers(1, 3))
@settings(max_examples=20)
def test_patches_are_torchs_and_make_the_picture_again(count, rows, columns, size):
    pictures = images(count, rows * size, columns * size)
    patches = patchify(pictures, size)
    assert torch.equal(patches, unfolded(pictures, size))
    again = F.fold(patches.mT, pictures.shape[1:], size, stride=size)
    assert torch.equal(again[:, 0], pictures)


def test_patches_come_row_by_row_and_so_do_their_pixels():
    picture = torch.arange(4.0 * 6).view(1, 4, 6)
    assert patchify(picture, 2)[0].tolist() == [
        [0, 1, 6, 7],
        [2, 3, 8, 9],
        [4, 5, 10, 11],
        [12, 13, 18, 19],
        [14, 15, 20, 21],
        [16, 17, 22, 23],
    ]


# ------------------------------------------------------------------------------- Vision Transformer


@sizes
def test_logits_weights_and_gradients_are_those_of_torchs_parts(size):
    model, pictures = transformer(patch_size=size), images()
    found = model(pictures)
    S = 1 + (8 // size) ** 2
    assert found.logits.shape == (B, 10) and len(found.weights) == LAYERS

    patches = F.linear(
        2 * unfolded(pictures, size) - 1, model.patch_to_x.weight, model.patch_to_x.bias
    )  # (B, S - 1, D)
    x = torch.cat([model.class_token.repeat(B, 1, 1), patches], 1) + model.places
    for weights, layer in zip(found.weights, map(torch_encoder_layer, model.layers), strict=True):
        read = layer.norm1(x)
        expected = layer.self_attn(read, read, read, average_attn_weights=False)[1]
        assert weights.shape == (B, N, S, S)
        assert_exact(weights, expected)
        x = layer(x)
    expected = model.x_to_digit(model.norm(x)[:, 0])
    assert_exact(found.logits, expected)
    inward = model.patch_to_x.weight, model.class_token, model.places  # as far from the logits as can be
    gradients = (torch.autograd.grad(y.square().sum(), inward) for y in (found.logits, expected))
    for ours, theirs in zip(*gradients, strict=True):
        assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


@sizes
def test_each_patch_is_one_token_and_the_class_token_sees_no_pixel(size):
    model, S = transformer(patch_size=size), 1 + (8 // size) ** 2
    pixels = images(1).expand(S, -1, -1).clone().requires_grad_()  # one picture for each token
    tokens = model.tokens(pixels)
    assert tokens.shape == (S, S, N * K)
    (tokens[torch.arange(S), torch.arange(S)] @ torch.randn(N * K).double()).sum().backward()
    seen = pixels.grad != 0
    assert not seen[0].any()
    expected = torch.eye(S - 1, dtype=torch.float64)[..., None].expand(-1, -1, size**2)
    assert torch.equal(seen[1:].double(), F.fold(expected.mT, (8, 8), size, stride=size)[:, 0])
    assert_exact(tokens[:, 0], (model.class_token + model.places[0]).expand(S, -1))


def in_order(pictures, order, size):
    """The same pictures with their patches in another order."""
    return F.fold(unfolded(pictures, size)[:, order].mT, (8, 8), size, stride=size)[:, 0]


@given(st.permutations(range(16)))
@settings(max_examples=5)
def test_patches_may_come_in_any_order_as_long_as_each_keeps_the_vector_of_its_place(order):
    model, pictures, tokens = transformer().requires_grad_(False), images(), [0, *(1 + p for p in order)]
    before, mixed = model(pictures), in_order(pictures, order, 2)
    without = model(mixed).logits
    model.places.copy_(model.places[tokens])
    after = model(mixed)
    assert_exact(after.logits, before.logits)
    assert_exact(after.weights, tuple(layer[:, :, tokens][:, :, :, tokens] for layer in before.weights))
    assert (without - before.logits).abs().max() > 1e-3 or order == sorted(order)


@sizes
def test_without_places_a_shuffled_picture_is_the_same_digit(size):
    model, pictures = transformer(patch_size=size), images()
    nn.init.zeros_(model.places)
    shuffled = in_order(pictures, torch.randperm((8 // size) ** 2), size)
    assert_exact(model(shuffled).logits, model(pictures).logits)


@pytest.mark.parametrize("make", [transformer, cnn])
def test_each_picture_is_recognised_as_if_it_were_alone(make):
    model, pictures = make(), images()
    alone = [model(pictures[row : row + 1]).logits for row in range(B)]
    assert_exact(torch.cat(alone), model(pictures).logits)


@pytest.mark.parametrize("make", [transformer, cnn])
def test_gradients_reach_every_parameter(make):
    model = make()
    F.cross_entropy(model(images()).logits, torch.tensor([2, 3, 5])).backward()
    untouched = {name for name, parameter in model.named_parameters() if parameter.grad.abs().max() < 1e-10}
    # The same for all keys: a bias that softmax doesn't notice.
    keys = {f"layers.{layer}.attention.W_K.bias" for layer in range(LAYERS)}
    assert untouched == (keys if make is transformer else set())


@pytest.mark.parametrize("network", [VisionTransformer, DigitCNN])
def test_dropout_is_as_asked_for_and_acts_in_training_only(network):
    model, pictures = network(dropout=0.3).double(), images()
    assert {part.p for part in model.modules() if isinstance(part, nn.Dropout)} == {0.3}
    assert not torch.equal(model(pictures).logits, model(pictures).logits)
    model.eval()
    assert torch.equal(model(pictures).logits, model(pictures).logits)


# ---------------------------------------------------------------------------------------------- CNN


def test_the_logits_of_the_cnn_are_those_of_three_convolutions():
    model, pictures = cnn(), images()
    first, second, third = (part for part in model.layers if isinstance(part, nn.Conv2d))
    linear = model.layers[-1]
    x = 2 * pictures.view(B, 1, 8, 8) - 1
    for convolution in (first, second):
        x = F.conv2d(x, convolution.weight, convolution.bias, padding=1).clamp(min=0)
    x = F.conv2d(F.max_pool2d(x, 2), third.weight, third.bias, padding=1).clamp(min=0)
    found = model(pictures)
    assert found.weights == ()
    assert_exact(found.logits, F.max_pool2d(x, 2).reshape(B, 28) @ linear.weight.T + linear.bias)


def test_the_cnn_has_as_many_parameters_as_the_transformer():
    transformers, cnns = (
        sum(parameter.numel() for parameter in network().parameters())
        for network in (VisionTransformer, DigitCNN)
    )
    assert abs(cnns / transformers - 1) < 0.03


def test_after_its_first_pooling_the_cnn_has_seen_two_by_two_pixels_and_two_more_on_each_side():
    model = uneven(DigitCNN())  # with many channels, since pooling passes over pixels in each
    pooled = next(i for i, part in enumerate(model.layers) if isinstance(part, nn.MaxPool2d))
    pixels = images(16).requires_grad_()  # a picture for each place of a grid of 4 x 4
    grid = model.layers[: pooled + 1](pixels[:, None]).flatten(2)
    grid[torch.arange(16), :, torch.arange(16)].sum().backward()
    for place, gradient in enumerate(pixels.grad):
        row, column = 2 * (place // 4), 2 * (place % 4)
        seen = torch.zeros(8, 8, dtype=torch.bool)
        seen[max(row - 2, 0) : row + 4, max(column - 2, 0) : column + 4] = True
        assert torch.equal(gradient != 0, seen)


# ----------------------------------------------------------------------------------------- roll-out


def random_weights(layers, S):
    return [torch.randn(B, N, S, S).double().softmax(-1) for _ in range(layers)]


@pytest.mark.parametrize(("layers", "S"), [(1, 5), (2, 5), (3, 4)])
def test_a_roll_out_sums_all_ways_from_the_first_layer_to_the_last(layers, S):
    weights = random_weights(layers, S)
    step = [(layer.sum(1) / N + torch.eye(S)) / 2 for layer in weights]  # from each token to each below it
    expected = torch.zeros(B, S, S).double()
    for way in product(range(S), repeat=layers + 1):  # of tokens, the last layer's first
        along = torch.ones(B).double()
        for layer, (above, below) in zip(reversed(step), pairwise(way), strict=True):
            along = along * layer[:, above, below]
        expected[:, way[0], way[-1]] += along
    assert_exact(roll_out(weights), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_rows_of_a_roll_out_sum_to_1(dtype):
    flow = roll_out([layer.to(dtype) for layer in random_weights(5, 7)])
    assert flow.dtype == dtype and flow.shape == (B, 7, 7)
    assert_close(flow.sum(-1), torch.ones(B, 7, dtype=dtype))


def test_tokens_that_look_only_at_themselves_go_into_themselves():
    itself = torch.eye(5).double().expand(B, N, 5, 5)
    assert torch.equal(roll_out([itself] * 3), torch.eye(5).double().expand(B, 5, 5))


# ---------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("distort", [True, False])
@pytest.mark.parametrize("make", [transformer, cnn])
def test_a_digit_loss_is_the_cross_entropy_of_a_batch_each_a_little_different(few, make, distort):
    model = make().float()
    g, h = (torch.Generator().manual_seed(1) for _ in range(2))
    loss = digit_loss(model, few, batch_size=5, distort=distort, generator=g)
    batches = minibatches(*few, batch_size=5, generator=h)
    for _ in range(4):  # more than one round
        pictures, labels = next(batches)
        pictures = distorted(pictures, generator=h) if distort else pictures
        assert_close(loss(), F.cross_entropy(model(pictures).logits, labels))


@pytest.mark.parametrize("make", [transformer, cnn])
def test_accuracy_is_sklearns(few, make):
    model = make().float()
    guesses = model(few.images).logits.argmax(1)
    half = Digits(few.images, torch.where(torch.arange(17) < 7, guesses, (guesses + 1) % 10))
    assert digit_accuracy(model, half) == pytest.approx(7 / 17)
    assert digit_accuracy(model, few) == pytest.approx(accuracy_score(few.labels, guesses))


# ------------------------------------------------------------------------------------- wrong inputs


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (VisionTransformer, {"patch_size": 0}, "patch_size must be a positive integer, got 0"),
        (VisionTransformer, {"patch_size": 3}, "patch_size must divide 8, got 3"),
        (VisionTransformer, {"patch_size": 16}, "patch_size must divide 8, got 16"),
        (VisionTransformer, {"model_size": -1}, "model_size must be a positive integer, got -1"),
        (VisionTransformer, {"num_layers": 0}, "num_layers must be a positive integer, got 0"),
        (VisionTransformer, {"num_heads": 0}, "num_heads must be a positive integer, got 0"),
        (
            VisionTransformer,
            {"model_size": 22, "num_heads": 3},
            "model_size must be divisible by num_heads, got 22 and 3",
        ),
        (DigitCNN, {"channels": 0}, "channels must be a positive integer, got 0"),
    ],
)
def test_sizes_that_fit_no_model_are_named(learner, network, options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        network(**options)


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8, 1), (2, 9, 9), (1, 8, 7)])
@pytest.mark.parametrize("make", [transformer, cnn])
def test_a_picture_of_another_shape_is_refused(learner, make, shape):
    with pytest.raises(ValueError) as error:
        make().float()(torch.zeros(shape))
    assert str(error.value) == f"images must have shape (B, 8, 8), got {shape}"


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ((1, 8, 9), 2, "size must divide the picture's sides 8 and 9, got 2"),
        ((1, 9, 8), 2, "size must divide the picture's sides 9 and 8, got 2"),
        ((1, 8, 8), 0, "size must be a positive integer, got 0"),
        ((8, 8), 2, "images must have shape (B, height, width), got (8, 8)"),
    ],
)
def test_pictures_that_cannot_be_cut_are_named(learner, shape, size, message):
    with pytest.raises(ValueError) as error:
        patchify(torch.zeros(shape), size)
    assert str(error.value) == message


def test_a_roll_out_needs_a_layer(learner):
    with pytest.raises(ValueError, match="^weights must have at least one layer, got none$"):
        roll_out(DigitCNN()(torch.zeros(1, 8, 8)).weights)
