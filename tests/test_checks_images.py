"""The exercises on pictures: references against torch and the package, mistakes and their messages."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import seqlib.patches
from seqlib.checks.exercise import Exercise
from seqlib.checks.guard import call
from seqlib.checks.vision import images as check
from seqlib.checks.vision.images import (
    LEVELS,
    TOKENS,
    SampleImageStep,
    _add_class_token,
    _patchify,
    _pixel_tokens,
    _sample_image,
)
from seqlib.data import digits
from seqlib.decoding import sample_sequences
from seqlib.painting import Painter, paint, pixel_tokens, prompt_tokens

EXERCISES = {name: value for name, value in vars(check).items() if isinstance(value, Exercise)}
SEEDS = range(3)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def drawn(name, kind, seed=0):
    return EXERCISES[name].inputs[kind](generator(seed))


def told(name, function, complaint):
    """The report is "correct" where nothing is to be complained about, and else begins with the complaint."""
    report = EXERCISES[name](function)
    if complaint is None:
        assert report.correct, report
    else:
        assert not report.correct and report.message.startswith(complaint), report


def test_the_right_answers_leave_their_arguments_alone_and_print_nothing():
    for name, exercise in EXERCISES.items():
        assert call(exercise.reference, drawn(name, 0), seconds=5.0, seed=0).printed == ()


@pytest.mark.parametrize("name", EXERCISES)
def test_mistakes_raise_only_what_learners_see_from_torch_python_and_step(name):
    for message, mistake in EXERCISES[name].mistakes.items():
        for kind in range(len(EXERCISES[name].inputs)):
            try:
                mistake(*drawn(name, kind))
            except Exception as error:  # any other would be a slip in the bank itself
                assert isinstance(error, (RuntimeError, IndexError, TypeError, ValueError)), message
                assert "<lambda>" not in str(error) and "_with" not in str(error), message


# ---------------------------------------------------------------------------------------- patches


def test_pictures_are_first_square_and_then_wider_than_high():
    (images, size), (wide, small) = drawn("patchify", 0), drawn("patchify", 1)
    assert images.shape == (2, 2 * size, 2 * size) and size == 3
    assert wide.shape == (3, 5 * small, 7 * small) and small == 2
    assert len(wide.unique()) == wide.numel()  # each pixel says where it comes from


@given(B=st.integers(1, 3), rows=st.integers(1, 3), columns=st.integers(1, 5), size=st.integers(1, 4))
@settings(max_examples=10)
def test_patches_are_those_of_torch_and_the_package(B, rows, columns, size):
    images = torch.rand(B, rows * size, columns * size, generator=generator(0))
    patches = _patchify(images, size)
    assert torch.equal(patches, F.unfold(images[:, None], size, stride=size).mT)
    assert torch.equal(patches, F.pixel_unshuffle(images[:, None], size).flatten(2).mT)
    assert torch.equal(patches, seqlib.patches.patchify(images, size))


def test_the_patches_that_the_report_tells_to_look_at_agree():
    images, size = drawn("patchify", 1)
    patches = _patchify(images, size)
    assert torch.equal(patches[0, 0], images[0, :size, :size].flatten())
    assert torch.equal(patches[0, 1], images[0, :size, size : 2 * size].flatten())


def five_axes(images, size):
    B, height, width = images.shape
    return images.view(B, height // size, size, width // size, size)


def by_loops(
    images, size, *, join=lambda squares: torch.stack(squares, 1), finish=lambda square: square.flatten(1)
):
    squares = []
    for i in range(0, images.shape[1], size):
        for j in range(0, images.shape[2], size):
            squares.append(finish(images[:, i : i + size, j : j + size]))
    return join(squares)


def by_columns(images, size):
    squares = []
    for j in range(0, images.shape[2], size):
        for i in range(0, images.shape[1], size):
            squares.append(images[:, i : i + size, j : j + size].flatten(1))
    return torch.stack(squares, 1)


def by_split(images, size):
    rows = [torch.stack(row.split(size, 2), 1) for row in images.split(size, 1)]
    return torch.cat(rows, 1).flatten(2)


def pixel_by_pixel(images, size):
    B, height, width = images.shape
    patches = torch.zeros(B, height * width // size**2, size**2)
    for y in range(height):
        for x in range(width):
            patch = (y // size) * (width // size) + x // size
            patches[:, patch, (y % size) * size + x % size] = images[:, y, x]
    return patches


def into_a_table(images, size):
    patches = torch.zeros(len(images), images[0].numel() // size**2, size**2)
    for s in range(patches.shape[1]):
        patches[:, s] = images[:, :size, :size]
    return patches


def slices_that_end_at_size(images, size):
    places = range(0, images.shape[1], size)
    return torch.stack([images[:, i:size, j:size].flatten(1) for i in places for j in places], 1)


def batch_forgotten(images, size):
    places = range(0, images.shape[1], size)
    return torch.stack([images[i : i + size, j : j + size].flatten() for i in places for j in places])


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        # other right answers
        (
            lambda x, size: (
                x.unflatten(2, (-1, size)).unflatten(1, (-1, size)).transpose(2, 3).flatten(3).flatten(1, 2)
            ),
            None,
        ),
        (lambda x, size: five_axes(x, size).permute(0, 1, 3, 2, 4).flatten(3).flatten(1, 2), None),
        (lambda x, size: F.unfold(x.unsqueeze(1), size, stride=size).transpose(1, 2), None),
        (lambda x, size: x.unfold(1, size, size).unfold(2, size, size).flatten(3).flatten(1, 2), None),
        (lambda x, size: F.pixel_unshuffle(x[:, None], size).flatten(2).mT, None),
        (by_loops, None),
        (by_split, None),
        (pixel_by_pixel, None),
        # no squares
        (lambda x, size: x.reshape(len(x), -1, size * size), "The shape is right, but these are no squares"),
        (
            lambda x, size: five_axes(x, size).reshape(len(x), -1, size**2),
            "The shape is right, but these are no",
        ),
        (
            lambda x, size: (
                x.view(len(x), x.shape[1] // size, x.shape[2] // size, size, size)
                .transpose(2, 3)
                .reshape(len(x), -1, size**2)
            ),
            "The picture is cut as if it were",
        ),
        (
            lambda x, size: five_axes(x, size).transpose(1, 2).reshape(len(x), -1, size**2),
            "transpose(1, 2) swaps",
        ),
        (
            lambda x, size: five_axes(x, size).transpose(3, 4).flatten(3).flatten(1, 2),
            "transpose(3, 4) swaps the columns of patches with the columns of a patch",
        ),
        (lambda x, size: x.view(len(x), -1, size, size), "These are (B, S, size, size), but no squares"),
        (
            lambda x, size: (
                x.unflatten(1, (-1, size)).unflatten(2, (-1, size)).transpose(2, 3).flatten(3).flatten(1, 2)
            ),
            "These are the pictures as they were.",
        ),
        (lambda x, size: five_axes(x, size).flatten(3).flatten(1, 2), "These are the pictures as they were."),
        (
            lambda x, size: (
                x.view(len(x), size, -1, size, x.shape[2] // size).transpose(2, 3).flatten(3).flatten(1, 2)
            ),
            "There are size x size patches.",
        ),
        # the order
        (by_columns, "The patches go column by column."),
        (lambda x, size: by_loops(x, size, finish=lambda square: square.mT.flatten(1)), "The patches are ri"),
        (lambda x, size: _patchify(x.mT, size), "All goes column by column"),
        (
            lambda x, size: by_loops(x, size, join=lambda squares: torch.stack(squares).view(len(x), -1, 9)),
            "The patches of different pictures are mixed.",
        ),
        # axes
        (lambda x, size: F.unfold(x[:, None], size, stride=size), "S and P have changed places"),
        (
            lambda x, size: F.unfold(x[:, None], size, stride=size).view(len(x), -1, size**2),
            "F.unfold gives (B, P, S), and view and reshape",
        ),
        (lambda x, size: F.unfold(x[:, None], size).mT, "The squares overlap: each begins one pixel after"),
        (lambda x, size: F.unfold(x, size, stride=size), "The pictures have no axis of channels"),
        (lambda x, size: x.unfold(1, size, size).unfold(2, size, size), "The squares are right"),
        (lambda x, size: five_axes(x, size).transpose(2, 3).flatten(1, 2), "The patches are squares"),
        (lambda x, size: by_loops(x, size, finish=torch.clone), "The patches are squares"),
        (
            lambda x, size: five_axes(x, size).transpose(2, 3).flatten(3),
            "The patches are in rows and columns",
        ),
        (lambda x, size: by_loops(x, size, join=torch.stack), "The patches come first"),
        (lambda x, size: by_loops(x, size, join=torch.cat), "The patches are laid one behind the other"),
        (
            lambda x, size: by_loops(x, size, join=lambda squares: torch.cat(squares, 1)),
            "The pixels of all patches lie in one row",
        ),
        (lambda x, size: by_loops(x, size, join=list), "The patches come back one by one"),
        (lambda x, size: by_loops(x, 2), "All patches are 2 by 2"),
        # exceptions
        (
            lambda x, size: five_axes(x, size).transpose(2, 3).view(len(x), -1, size**2),
            "After transpose the numbers don't lie in the order of the axes",
        ),
        (lambda x, size: x.view(len(x), x.shape[1] / size, size, -1, size), "/ gives a float"),
        (into_a_table, "A square is (B, size, size), and has to be laid in one row"),
        (slices_that_end_at_size, "A slice like i:size is empty"),
        (batch_forgotten, "Axis 0 is the batch"),
        (lambda x, size: x.unfold(2, size).unfold(1, size), "A tensor's own unfold takes"),
    ],
)
def test_patches_that_are_cut_otherwise_are_found_out(function, complaint):
    told("patchify", function, complaint)


# ------------------------------------------------------------------------------------ class token


def test_the_class_token_meets_equal_sizes_and_then_different_ones():
    shapes = [[tuple(arg.shape) for arg in drawn("add_class_token", kind)] for kind in (0, 1)]
    assert shapes == [[(5, 4, 5), (5,), (5, 5)], [(3, 10, 7), (7,), (11, 7)]]
    assert all(arg.requires_grad for arg in drawn("add_class_token", 0))


def test_the_tokens_are_those_of_the_vision_transformer():
    model = seqlib.patches.VisionTransformer(patch_size=4, model_size=8, num_heads=2, num_layers=1)
    images = torch.rand(3, 8, 8, generator=generator(0))
    patches = model.patch_to_x(2 * _patchify(images, 4) - 1)
    tokens = _add_class_token(patches, model.class_token, model.places)
    torch.testing.assert_close(tokens, model.tokens(images))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_tokens_that_the_report_tells_to_look_at_agree(seed):
    patches, class_token, places = drawn("add_class_token", 1, seed)
    tokens = _add_class_token(patches, class_token, places)
    assert torch.equal(tokens[:, 0], (class_token + places[0]).expand(3, 7))
    assert torch.equal(tokens[:, 1], patches[:, 0] + places[1])


def joined(patches, class_token, *, first=None, axis=1):
    first = class_token.expand(len(patches), 1, -1) if first is None else first
    return torch.cat([first, patches], axis)


def filled(patches, class_token, places, *, begin=lambda tokens: tokens[:, 0]):
    B, S, D = patches.shape
    tokens = torch.zeros(B, 1 + S, D)
    begin(tokens)[...] = class_token
    tokens[:, 1:] = patches
    return tokens + places


def added_in_place(patches, class_token, places):
    tokens = joined(patches, class_token)
    tokens += places
    return tokens


def changed_in_place(patches, class_token, places):
    patches += places[1:]
    return joined(patches, class_token + places[0])


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        # other right answers
        (lambda p, c, places: joined(p, c, first=c.repeat(len(p), 1, 1)) + places[None], None),
        (lambda p, c, places: joined(p, c, first=c * torch.ones(len(p), 1, 1)) + places, None),
        (lambda p, c, places: joined(p + places[1:], c + places[0]), None),
        (lambda p, c, places: torch.stack([torch.cat([c[None], one]) + places for one in p]), None),
        (lambda p, c, places: torch.stack([c.expand(len(p), -1), *p.unbind(1)], 1) + places, None),
        (lambda p, c, places: torch.hstack([c.expand(len(p), 1, -1), p]) + places, None),
        (added_in_place, None),
        (filled, None),
        # the class token
        (lambda p, c, places: torch.cat([p, c.expand(len(p), 1, -1)], 1) + places, "The class token comes l"),
        (lambda p, c, places: F.pad(p, (0, 0, 1, 0)) + places, "The class token is 0."),
        (lambda p, c, places: p + c + places[1:], "The class token is added to every patch."),
        (lambda p, c, places: p + places[1:], "The class token is missing"),
        (lambda p, c, places: filled(p, c, places, begin=lambda x: x[0]), "Only the first row of the batch"),
        (
            lambda p, c, places: joined(p, c, first=torch.randn(len(p), 1, p.shape[2])) + places,
            "The result d",
        ),
        # places
        (lambda p, c, places: joined(p, c), "The places are missing"),
        (lambda p, c, places: joined(p + places[1:], c), "Only the patches have their places."),
        (lambda p, c, places: joined(p + places[:-1], c), "The patches got the first S places, before"),
        (
            lambda p, c, places: joined(p + places[:-1], c + places[-1]),
            "The patches got the first S places, a",
        ),
        (
            lambda p, c, places: joined(p + places[:-1], c + places[0]),
            "The patches got the first S places, so",
        ),
        (lambda p, c, places: joined(p, c) + places[:, None], "The places are added along the batch"),
        (lambda p, c, places: joined(p, c) + places.unsqueeze(1), "The places are added along the batch"),
        (lambda p, c, places: joined(p, c) * places, "The places are multiplied."),
        (lambda p, c, places: joined(p, c) + places[0], "All tokens get the place of the class token"),
        # axes
        (lambda p, c, places: joined(p, c, first=c.expand(p.shape), axis=2), "The class token stands beside"),
        (
            lambda p, c, places: joined(p, c, first=c.expand(1, *p.shape[1:]), axis=0),
            "The class token is joi",
        ),
        (lambda p, c, places: (joined(p, c) + places)[:, 0], "Only the class token comes back"),
        # gradients
        (
            lambda p, c, places: joined(p, torch.tensor(c.tolist())) + places,
            "The numbers are right, but class",
        ),
        (lambda p, c, places: joined(p, c) + places.data, "The numbers are right, but places are cut off"),
        (lambda p, c, places: joined(p, c.data) + places.data, "The numbers are right, but class_token and"),
        (
            lambda p, c, places: (joined(p, c) + places).detach(),
            "The numbers are right, but they are cut off",
        ),
        # exceptions
        (changed_in_place, "It changes its argument patches in place."),
        (lambda p, c, places: p + places, "places have a row more than there are patches"),
        (lambda p, c, places: joined(p + places, c), "places have a row more than there are patches"),
        (lambda p, c, places: joined(p, c, first=c), "class_token has one axis"),
        (lambda p, c, places: joined(p, c, first=c[None]), "The class token has two axes"),
        (lambda p, c, places: joined(p, c, first=c.expand(len(p), -1)), "The class token has two axes"),
        (lambda p, c, places: joined(p, c, first=c.view(1, 1, -1)), "There is one class token"),
        (lambda p, c, places: joined(p, c, axis=0), "They are joined along axis 0"),
        (lambda p, c, places: joined(p, c, axis=-1), "They are joined along the last axis"),
        (lambda p, c, places: torch.stack([c.expand(len(p), 1, -1), p], 1), "torch.stack puts tensors"),
        (lambda p, c, places: torch.cat(c.expand(len(p), 1, -1), p, dim=1), "torch.cat takes its tensors"),
    ],
)
def test_class_tokens_that_are_added_otherwise_are_found_out(function, complaint):
    told("add_class_token", function, complaint)


# ---------------------------------------------------------------------------------- pixels as tokens


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [0, 1])
def test_every_picture_has_all_levels_and_every_label_is_another(kind, seed):
    images, labels = drawn("pixel_tokens", kind, seed)
    assert images.shape == ([8, 3][kind], 8, 8) and labels.shape == images.shape[:1]
    assert all(len(image.unique()) == LEVELS for image in images)
    assert len(labels.unique()) == len(labels) and labels.dtype == torch.int64


def test_tokens_are_those_of_the_package_and_the_digits_are_multiples_of_a_sixteenth():
    some = digits()[0].images[::9], digits()[0].labels[::9]
    assert torch.equal(_pixel_tokens(*some), pixel_tokens(*some))
    assert torch.equal(16 * some[0], (16 * some[0]).long())  # so nothing depends on how it is rounded


def test_the_tokens_of_a_row_that_the_report_tells_to_look_at_agree():
    images, labels = drawn("pixel_tokens", 1)
    tokens = _pixel_tokens(images, labels)
    assert tokens[0, 0] == 17 + labels[0] and tokens[0, -1] == 16 * images[0, 7, 7]
    assert torch.equal(tokens[0, 1:9], (16 * images[0, 0]).long())


def levels_of(images, factor=16):
    return (factor * images).long().flatten(1)


def in_front(prompts, levels):
    return torch.cat([prompts, levels], 1)


def first_overwritten(images, labels):
    tokens = levels_of(images)
    tokens[:, 0] = 17 + labels
    return tokens


def filled_in(images, labels):
    tokens = torch.zeros(len(labels), 65, dtype=torch.long)
    tokens[:, 0] = 17 + labels
    tokens[:, 1:] = 16 * images.view(-1, 64)
    return tokens


def number_by_number(images, labels):
    return torch.tensor(
        [
            [17 + int(label), *(round(16 * float(value)) for value in image.flatten())]
            for image, label in zip(images, labels, strict=True)
        ]
    )


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        # other right answers
        (lambda x, labels: in_front(17 + labels[:, None], levels_of(x)), None),
        (lambda x, labels: in_front((labels + 17).view(-1, 1), (x * 16 + 0.5).int().reshape(-1, 64)), None),
        (lambda x, labels: F.pad(levels_of(x), (1, 0)) + F.pad(17 + labels[:, None], (0, 64)), None),
        (lambda x, labels: in_front(17 + labels[:, None], levels_of(x, 17).clamp(max=16)), None),
        (lambda x, labels: torch.column_stack([17 + labels, levels_of(x)]), None),
        (filled_in, None),
        (number_by_number, None),
        # the prompt
        (lambda x, labels: in_front(labels[:, None], levels_of(x)), "The prompt is the label itself"),
        (lambda x, labels: in_front(16 + labels[:, None], levels_of(x)), "The prompt is 16 + label"),
        (lambda x, labels: in_front(levels_of(x), 17 + labels[:, None]), "The prompt comes last."),
        (lambda x, labels: in_front(labels[:, None], 10 + levels_of(x)), "The digits have the first ten"),
        (lambda x, labels: in_front(F.one_hot(labels), levels_of(x)), "The label is a one-hot row of ten"),
        (
            lambda x, labels: in_front(F.one_hot(labels + 17, 27), levels_of(x)),
            "The label is a one-hot row of 27",
        ),
        (lambda x, labels: levels_of(x), "The prompt is missing"),
        (first_overwritten, "The prompt takes the place of the first pixel."),
        # the levels
        (lambda x, labels: in_front(17 + labels[:, None], x.long().flatten(1)), "The grey values are cut"),
        (
            lambda x, labels: in_front(17 + labels[:, None], x.round().long().flatten(1)),
            "It is black and whi",
        ),
        (lambda x, labels: in_front(17 + labels[:, None], (x > 0).flatten(1)), "It is black and white"),
        (lambda x, labels: in_front(17 + labels[:, None], levels_of(x, 255)), "The levels are 255 times"),
        (lambda x, labels: in_front(17 + labels[:, None], levels_of(x, 17)), "The levels are 17 times"),
        (
            lambda x, labels: in_front(17 + labels[:, None], levels_of(x, 15)),
            "The largest level is 15: it is",
        ),
        (lambda x, labels: in_front(17 + labels[:, None], x.flatten(1)), "The pixels are the grey values"),
        (
            lambda x, labels: in_front(17 + labels[:, None], 16 * x.flatten(1)),
            "The numbers are right, but not",
        ),
        (lambda x, labels: _pixel_tokens(x, labels).to(torch.uint8), "The numbers are right, but not int64"),
        # the order
        (lambda x, labels: _pixel_tokens(x.mT, labels), "The pixels go column by column."),
        (lambda x, labels: torch.cat([17 + labels, levels_of(x).flatten()]), "All tokens lie in one row"),
        # exceptions
        (lambda x, labels: in_front(17 + labels, levels_of(x)), "The prompts are (B,)"),
        (lambda x, labels: in_front(17 + labels[None], levels_of(x)), "The prompts lie in a row"),
        (lambda x, labels: in_front(17 + labels[:, None], (16 * x).long()), "The pixels lie in rows and"),
        (
            lambda x, labels: in_front(17 + labels[:, None], levels_of(x).flatten()),
            "flatten() and reshape(-1)",
        ),
        (lambda x, labels: torch.cat([17 + labels[:, None], levels_of(x)]), "They are joined along axis 0"),
        (lambda x, labels: in_front(17 + labels[:, None], int(16 * x)), "int() makes one number"),
        (lambda x, labels: _pixel_tokens(x.mul_(1.0), labels), None),
        (
            lambda x, labels: _pixel_tokens(x.mul_(16) / 16, labels),
            "It changes its argument images in place.",
        ),
    ],
)
def test_tokens_that_are_made_otherwise_are_found_out(function, complaint):
    told("pixel_tokens", function, complaint)


# ------------------------------------------------------------------------------------- drawing


@pytest.mark.parametrize("seed", SEEDS)
def test_five_levels_may_come_next_and_what_comes_depends_on_all_before(seed):
    step, prompt, _, g = drawn("sample_image", 0, seed)
    assert ((prompt >= LEVELS) & (prompt < TOKENS)).all()
    tokens = torch.cat([prompt[:, None], torch.randint(LEVELS, (19, 63), generator=g)], 1)
    state, logits = (), []
    for token in tokens.unbind(1):
        now, state = step(token, state)
        logits.append(now)
    stepwise = torch.stack(logits, 1)
    assert torch.equal(stepwise, step.logits(tokens))
    assert ((stepwise > -100).sum(-1) == 5).all()
    other = tokens.clone()
    other[:, 0] = LEVELS + (prompt - LEVELS + 1) % 10
    assert (step.logits(other) != stepwise).any(-1).all()  # by the prompt, up to the last pixel


@pytest.mark.parametrize("kind", [0, 1])
def test_the_levels_are_those_of_the_packages_sampler(kind):
    step, prompt, temperature, g = drawn("sample_image", kind)
    levels = _sample_image(step, prompt, temperature, g)
    step, prompt, temperature, g = drawn("sample_image", kind)
    decoded = sample_sequences(
        step, (), start=prompt, end=-1, max_length=64, temperature=temperature, generator=g
    )
    assert torch.equal(levels.flatten(1), decoded.tokens) and levels.dtype == torch.int64


def test_a_painter_draws_with_it_what_the_package_draws():
    torch.manual_seed(0)
    model = Painter(model_size=8, num_heads=2, num_layers=1).eval()
    with torch.no_grad():
        levels = _sample_image(model.step, prompt_tokens(["three", "seven"]), 0.7, generator(1))
    painted = paint(model, ["three", "seven"], temperature=0.7, generator=generator(1))
    assert torch.equal(levels / 16, painted)


def probabilities_of(logits, temperature):
    return torch.softmax(logits / temperature, -1)


def one_each(p, g):
    return torch.multinomial(p, 1, generator=g)[:, 0]


def gumbel(p, g):
    return (p.log() - torch.log(-torch.log(torch.rand(p.shape, generator=g)))).argmax(-1)


def cumulated(p, g):
    return (p.cumsum(-1) < torch.rand(len(p), 1, generator=g)).sum(-1).clamp(max=16)


def of_the_three_likeliest(p, g):
    values, levels = p.topk(3)
    return levels.gather(1, torch.multinomial(values, 1, generator=g))[:, 0]


def drawing(
    *,
    draw=one_each,
    weigh=probabilities_of,
    feed=lambda step, tokens, state, prompt: step(tokens, state),
    start=lambda prompt: (prompt, ()),
    finish=lambda levels, prompt: torch.stack(levels, 1).view(-1, 8, 8),
):
    def function(step, prompt, temperature, generator):
        (tokens, state), levels = start(prompt), []
        for _ in range(64):
            logits, state = feed(step, tokens, state, prompt)
            tokens = draw(weigh(logits, temperature), generator)
            levels.append(tokens)
        return finish(levels, prompt)

    return function


def table(B, dtype=torch.int64):
    return torch.zeros(B, 8, 8, dtype=dtype)


def by_two_loops(step, prompt, temperature, generator, *, columns=False, again=False, dtype=torch.int64):
    tokens, state, levels = prompt, (), table(len(prompt), dtype)
    for i in range(8):
        if again:
            tokens, state = prompt, ()
        for j in range(8):
            logits, state = step(tokens, state)
            tokens = one_each(probabilities_of(logits, temperature), generator)
            levels[(slice(None), j, i) if columns else (slice(None), i, j)] = tokens
    return levels


def first_before_the_loop(step, prompt, temperature, generator, *, one_more=False):
    logits, state = step(prompt, ())
    levels = [one_each(probabilities_of(logits, temperature), generator)]
    for _ in range(63):
        logits, state = step(levels[-1], state)
        levels.append(one_each(probabilities_of(logits, temperature), generator))
    if one_more:
        step(levels[-1], state)
    return torch.stack(levels).T.reshape(-1, 8, 8)


def grown(step, prompt, temperature, generator, *, keep=slice(1, None)):
    tokens, state = prompt[:, None], ()
    for _ in range(64):
        logits, state = step(tokens[:, -1], state)
        p = probabilities_of(logits, temperature)
        tokens = torch.cat([tokens, torch.multinomial(p, 1, generator=generator)], 1)
    return tokens[:, keep].reshape(-1, 8, 8)


def one_picture_after_the_other(step, prompt, temperature, generator):
    return torch.stack([drawing()(step, one, temperature, generator) for one in prompt])


def into_a_table_as_a_column(step, prompt, temperature, generator):
    tokens, state, levels = prompt, (), torch.zeros(len(prompt), 64, dtype=torch.int64)
    for pixel in range(64):
        logits, state = step(tokens, state)
        p = probabilities_of(logits, temperature)
        levels[:, pixel] = torch.multinomial(p, 1, generator=generator)
        tokens = levels[:, pixel]
    return levels.view(-1, 8, 8)


def last_pixel_left_at_zero(*args):
    levels = _sample_image(*args).clone()
    levels[:, -1, -1] = 0
    return levels


@pytest.mark.parametrize("draw", [gumbel, cumulated])
def test_whoever_draws_from_the_right_distribution_is_right(draw):
    for seed in SEEDS:
        report = check.sample_image(drawing(draw=draw), seed=seed)
        assert report.correct, report


def test_who_draws_in_another_way_hears_what_is_wrong_with_it():
    hot = check.sample_image(drawing(draw=gumbel, weigh=lambda logits, T: torch.softmax(logits * T, -1)))
    assert hot.status == "wrong"
    assert hot.message.startswith(
        "The share of the likeliest level, of the second and so on differs first at"
    )
    lost = check.sample_image(drawing(draw=gumbel, feed=lambda step, tokens, state, prompt: step(tokens, ())))
    assert lost.status == "wrong" and lost.message.endswith(check.sample_image.look)
    assert lost.message.startswith("The share of pixels whose probability was 0, given the prompt and the pi")


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        # other right answers
        (drawing(draw=lambda p, g: torch.multinomial(p, 1, generator=g).squeeze(1)), None),
        (drawing(weigh=lambda logits, T: logits.softmax(-1) ** (1 / T)), None),  # multinomial divides
        (by_two_loops, None),
        (first_before_the_loop, None),
        (grown, None),
        # chance
        (drawing(draw=lambda p, g: torch.multinomial(p, 1)[:, 0]), "Called twice with the same arguments"),
        (drawing(draw=lambda p, g: one_each(p, g.manual_seed(0))), "Its draws don't depend"),
        (lambda step, prompt, T, g: _sample_image(step, prompt, T, generator(0)), "Its draws don't depend"),
        # probabilities
        (drawing(draw=lambda p, g: p.argmax(-1)), "The likeliest level is taken every time."),
        (drawing(weigh=lambda logits, T: torch.softmax(logits * T, -1)), "The logits are multiplied"),
        (drawing(weigh=lambda logits, T: logits.softmax(-1) / T), "The temperature has no effect."),
        (drawing(weigh=lambda logits, T: logits.softmax(-1)), "The temperature has no effect."),
        (drawing(weigh=lambda logits, T: (logits / T).softmax(0)), "The softmax runs over axis 0"),
        (drawing(weigh=lambda logits, T: (logits / T).softmax(1).softmax(1)), "There are two softmaxes."),
        (
            drawing(draw=lambda p, g: one_each(p[:1], g).repeat(len(p))),
            "All rows get the level that is drawn",
        ),
        (drawing(draw=of_the_three_likeliest), "The share of the likeliest level, of the second and so on"),
        (drawing(draw=lambda p, g: torch.randint(17, (len(p),), generator=g)), "The share of pixels whose p"),
        # what is read
        (drawing(feed=lambda step, tokens, state, prompt: step(tokens, ())), "The state isn't carried"),
        (
            drawing(feed=lambda step, tokens, state, prompt: step(prompt, state)),
            "The prompt is read at every",
        ),
        (drawing(feed=lambda step, tokens, state, prompt: step(prompt, ())), "Every pixel is drawn as if it"),
        (lambda *args: by_two_loops(*args, again=True), "The prompt is read, and the state begins, anew"),
        # which pixels, and where
        (lambda *args: grown(*args, keep=slice(64)), "The prompt is the first pixel"),
        (lambda *args: grown(*args, keep=slice(None)), "The prompt is among the pixels, so there are 65."),
        (lambda *args: grown(*args, keep=slice(2, None)), "A pixel is missing, so there are 63."),
        (lambda *args: by_two_loops(*args, columns=True), "The picture is filled column by column."),
        (
            drawing(finish=lambda levels, prompt: torch.cat(levels).view(-1, 8, 8)),
            "The pixels of different p",
        ),
        (drawing(finish=lambda levels, prompt: torch.stack(levels, 1)), "The pixels lie in one row"),
        (drawing(finish=lambda levels, prompt: torch.stack(levels)), "The pixels come first, (64, B)."),
        (drawing(finish=lambda levels, prompt: levels[-1]), "Only the pixels of the last step come back"),
        (lambda *args: by_two_loops(*args, dtype=torch.float32), "The levels are right, but not int64."),
        (lambda *args: _sample_image(*args) / 16, "These are grey values"),
        (last_pixel_left_at_zero, "The share of pixels whose probability was 0"),
    ],
)
def test_pictures_that_are_drawn_otherwise_are_found_out(function, complaint):
    told("sample_image", function, complaint)


@pytest.mark.parametrize(
    ("function", "complaint", "error"),
    [
        (
            drawing(draw=lambda p, g: torch.multinomial(p, 1, generator=g)),
            "multinomial draws one level from each row, as (B, 1)",
            "ValueError: tokens must have shape (19,), the newest token of each row, got (19, 1)",
        ),
        (
            drawing(draw=lambda p, g: torch.multinomial(p, 1, generator=g).squeeze()),
            "squeeze() removes every axis of size 1",
            "ValueError: tokens must have shape (1,), the newest token of each row, got ()",
        ),
        (
            drawing(draw=lambda p, g: torch.multinomial(p, 1, generator=g)[0]),
            "[0] is what was drawn for the first row.",
            "ValueError: tokens must have shape (19,), the newest token of each row, got (1,)",
        ),
        (drawing(draw=lambda p, g: one_each(p, g).item()), "item() makes one number", "RuntimeError"),
        (drawing(draw=lambda p, g: int(one_each(p, g))), "int() makes one number", "ValueError"),
        (drawing(draw=lambda p, g: p), "step is given the logits, or the probabilities.", "got a float32"),
        (
            drawing(draw=lambda p, g: one_each(p, g) / 16),
            "TypeError: tokens must be an int64 tensor of shape (19,)",
            "got a float32 tensor of shape (19,)",
        ),
        (drawing(weigh=lambda logits, T: logits / T), "torch.multinomial wants probabilities", "element < 0"),
        (
            drawing(weigh=lambda logits, T: logits.log_softmax(1)),
            "torch.multinomial wants probab",
            "RuntimeE",
        ),
        (
            drawing(draw=lambda p, g: torch.multinomial(p, 64, generator=g)),
            "64 levels are drawn at once",
            "n_s",
        ),
        (drawing(draw=lambda p, g: torch.multinomial(p, 1, g)), "The generator has to be named", "TypeError"),
        (
            drawing(start=lambda prompt: (prompt, None)),
            "The state is () at first, an empty tuple, and not None.",
            "TypeError: state must be () at first, then what step returned, got None",
        ),
        (
            drawing(feed=lambda step, tokens, state, prompt: step(state, tokens)),
            "tokens and state have changed places",
            "got a tuple of 0",
        ),
        (
            drawing(feed=lambda step, tokens, state, prompt: step(tokens)),
            "step needs the state as well",
            "missing 1 required positional argument: 'state'",
        ),
        (
            drawing(feed=lambda step, tokens, state, prompt: step(tokens, state)[::-1]),
            "step returns two things, the logits and the new state",
            "unsupported operand type(s) for /: 'tuple' and 'float'",
        ),
        (
            lambda *args: first_before_the_loop(*args, one_more=True),
            "step is called a 65th time.",
            "ValueError: tokens must be a prompt and at most 63 pixels, got 65 in all",
        ),
        (
            into_a_table_as_a_column,
            "multinomial draws one level from each row, as (B, 1), and a place",
            "[19, 1]",
        ),
        (
            drawing(finish=lambda levels, prompt: torch.stack(levels, 1).view(8, 8)),
            "There are B pictures",
            "RuntimeError: shape '[8, 8]' is invalid",
        ),
        (one_picture_after_the_other, "step is called for one row alone.", "got ()"),
    ],
)
def test_a_step_that_is_called_in_another_way_is_explained_beside_its_exception(
    function, complaint, error, learner
):
    report = check.sample_image(function)
    assert not report.correct and report.message.startswith(complaint), report
    assert error in report.message and "step: a SampleImageStep" in report.message


def test_the_65th_call_is_refused_in_the_painters_words(learner):
    step, prompt, *_ = drawn("sample_image", 0)
    model = Painter(model_size=8, num_heads=2, num_layers=1)
    messages = []
    for one, token in ((step, prompt), (model.step, prompt)):
        state = ()
        with torch.no_grad(), pytest.raises(ValueError, match="at most 63 pixels") as caught:
            for _ in range(65):
                _, state = one(token, state)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_a_step_is_the_same_function_whenever_it_is_called():
    step = SampleImageStep(generator(0), 3)
    first, state = step(torch.tensor([17, 20, 26]), ())
    for _ in range(2):
        step(torch.tensor([1, 2, 3]), state)
    assert torch.equal(step(torch.tensor([17, 20, 26]), ())[0], first)
