"""The exercises on captions and questions: references against oracles, mistakes and their messages."""

import collections
import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from torch import nn
from torch.nn import functional as F

import seqlib.pairs
from seqlib.attention import reinforce
from seqlib.checks.exercise import Exercise
from seqlib.checks.guard import call
from seqlib.checks.vision import captions as check
from seqlib.checks.vision.captions import (
    _base_rate,
    _caption_targets,
    _hard_attention_gradient,
    _spatial_attention,
)
from seqlib.pairs import EOS, PAD, SOS
from seqlib.seq2seq import decoder_inputs

NAMES = ("spatial_attention", "caption_targets", "hard_attention_gradient", "base_rate")
EXERCISES = {
    name: value for name, value in vars(check).items() if isinstance(value, Exercise) and name in NAMES
}
SEEDS = range(3)
PRIMES = {2, 3, 5, 7, 11, 13}


def drawn(name, kind, seed=0):
    return EXERCISES[name].inputs[kind](torch.Generator().manual_seed(seed))


def numbers(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_the_chapter_has_four_exercises():
    assert set(EXERCISES) == set(NAMES)


def test_the_right_answers_leave_their_arguments_alone_and_print_nothing():
    for name, exercise in EXERCISES.items():
        outcome = call(exercise.reference, drawn(name, 0), seconds=5.0, seed=0)
        assert outcome.error is None and outcome.printed == ()


# The inputs


def test_pictures_have_equal_sizes_first_then_different_primes_and_then_come_alone():
    shapes = [drawn("spatial_attention", kind)[0].shape for kind in (0, 1, 2)]
    assert set(shapes[0]) == {5}
    assert len(set(shapes[1])) == 4 and set(shapes[1]) <= PRIMES
    assert shapes[2][0] == 1 and len(set(shapes[2])) == 4


@pytest.mark.parametrize("seed", SEEDS)
def test_one_caption_fills_its_row_or_none_does_and_one_is_empty(seed):
    for kind, longest, shortest in ((0, 7, 2), (1, 8, 0)):
        [words] = drawn("caption_targets", kind, seed)
        lengths = (words != PAD).sum(1)
        assert lengths.max() == longest and lengths.min() == shortest
        assert words.shape[1] == (7, 11)[kind]
        assert all((row[:n] >= 3).all() for row, n in zip(words, lengths, strict=True))
        used = words[words != PAD]
        assert len(used.unique()) == len(used)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_draw_needs_as_many_columns_as_there_are_places(seed):
    for kind, shape in ((0, (5, 5)), (1, (3, 7))):
        scores, positions, reward, baseline = drawn("hard_attention_gradient", kind, seed)
        assert scores.shape == shape and scores.is_leaf and scores.requires_grad
        assert positions.shape == reward.shape == shape[:1] and positions.max() < shape[1] - 1
        assert isinstance(baseline, float) and 1 <= baseline <= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_the_commonest_training_answer_is_not_the_commonest_held_out_answer(seed):
    for kind in (0, 1):
        answers, held_out = drawn("base_rate", kind, seed)
        values, counts = answers.unique(return_counts=True)
        best = values[counts == counts.max()]
        assert len(best) == (1, 2)[kind] and values.min() >= 1
        assert held_out.mode().values not in best
        first_met = collections.Counter(answers.tolist()).most_common(1)[0][0]
        assert (first_met == best[0]) == (kind == 0)  # of equally common ones the larger is met first
        assert counts.argmax() in values and counts.max() not in values


@pytest.mark.parametrize("name", NAMES)
def test_mistakes_raise_only_what_torch_and_python_raise(name):
    known = (TypeError, RuntimeError, IndexError, ValueError, AttributeError)
    for message, mistake in EXERCISES[name].mistakes.items():
        raised = []
        for kind in range(len(EXERCISES[name].inputs)):
            try:
                mistake(*drawn(name, kind))
            except known as error:
                raised.append(type(error))
        assert AttributeError not in raised or "(False has no " in message


# The references against oracles


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10)
def test_a_look_at_a_picture_is_torchs_attention_over_its_places(seed):
    features, query = numbers(seed, 2, 7, 3, 5), numbers(seed + 1, 2, 7)
    context, weights = _spatial_attention(features, query)
    for b in range(2):
        places = torch.stack([features[b, :, r, c] for r in range(3) for c in range(5)])  # (L, D)
        each = torch.eye(15, dtype=torch.float64)  # what is read of these are the weights themselves
        read = partial(F.scaled_dot_product_attention, query[b, None], places, scale=1.0)
        close(context[b], read(places)[0])
        close(weights[b].flatten(), read(each)[0])


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10)
def test_a_mirrored_picture_has_a_mirrored_map_and_the_same_context(seed):
    features, query = numbers(seed, 2, 7, 3, 5), numbers(seed + 1, 2, 7)
    context, weights = _spatial_attention(features, query)
    mirrored = _spatial_attention(features.flip(3), query)
    close(mirrored, (context, weights.flip(2)))


lengths_of_captions = st.lists(st.integers(0, 7), min_size=1, max_size=5)


@given(lengths=lengths_of_captions, seed=st.integers(0, 10**6))
@settings(max_examples=30)
def test_a_caption_is_read_after_a_start_and_written_with_an_end(lengths, seed):
    rows = torch.randint(3, 40, (len(lengths), 7), generator=torch.Generator().manual_seed(seed)).tolist()
    rows = [row[:n] for row, n in zip(rows, lengths, strict=True)]
    words = torch.tensor([row + [PAD] * (7 - len(row)) for row in rows])
    inputs, targets = _caption_targets(words)
    assert inputs.tolist() == [[SOS, *row] + [PAD] * (7 - len(row)) for row in rows]
    assert targets.tolist() == [[*row, EOS] + [PAD] * (7 - len(row)) for row in rows]
    assert inputs.dtype == targets.dtype == torch.int64
    torch.testing.assert_close(inputs, decoder_inputs(targets).masked_fill(inputs == PAD, PAD))


def test_the_markers_are_the_packages():
    assert (PAD, SOS, EOS) == (0, 1, 2) == (seqlib.pairs.PAD, seqlib.pairs.SOS, seqlib.pairs.EOS)


@given(seed=st.integers(0, 10**6), baseline=st.floats(-10, 10))
@settings(max_examples=25)
def test_on_average_over_the_draws_it_is_the_gradient_of_the_mean_reward_whatever_the_baseline(
    seed, baseline
):
    scores, rewards = numbers(seed, 3, 7).requires_grad_(), numbers(seed + 1, 3, 7)
    [gradient] = torch.autograd.grad((scores.softmax(-1) * rewards).sum(), scores)
    mean = torch.zeros_like(scores)
    for s in range(7):
        estimate = _hard_attention_gradient(scores, torch.full((3,), s), rewards[:, s], baseline)
        mean = mean + scores.softmax(-1)[:, [s]] * estimate
    torch.testing.assert_close(mean, gradient, rtol=1e-10, atol=1e-12)


def test_a_step_along_it_is_a_step_down_the_loss_of_chapter_6():
    scores, positions, reward, baseline = drawn("hard_attention_gradient", 1)
    log_p = scores.log_softmax(-1).gather(1, positions[:, None])[:, 0]
    [gradient] = torch.autograd.grad(reinforce(log_p, reward, baseline=baseline), scores)
    torch.testing.assert_close(_hard_attention_gradient(scores, positions, reward, baseline), -3 * gradient)


answers_given = st.lists(st.integers(0, 5), min_size=1, max_size=20)


@given(answers=answers_given, held_out=answers_given)
@settings(max_examples=30)
def test_the_base_rate_is_the_score_of_a_classifier_that_does_not_look(answers, held_out):
    dummy = DummyClassifier(strategy="most_frequent").fit(np.zeros((len(answers), 1)), answers)
    score = dummy.score(np.zeros((len(held_out), 1)), held_out)
    assert _base_rate(torch.tensor(answers), torch.tensor(held_out)) == pytest.approx(score, abs=1e-6)


# Other right answers


def spatial_by_einsum(features, query):
    scores = torch.einsum("bdij,bd->bij", features, query)
    weights = scores.flatten(1).softmax(1).reshape(scores.shape)
    return [torch.einsum("bdij,bij->bd", features, weights), weights]


def spatial_with_channels_last(features, query):
    B, D, rows, columns = features.shape
    x = features.permute(0, 2, 3, 1).reshape(B, rows * columns, D)
    weights = F.softmax((x @ query.unsqueeze(-1)).squeeze(-1), dim=1)
    return (weights.unsqueeze(-1) * x).sum(1), weights.view(B, rows, columns)


def spatial_by_loops(features, query):
    B, D, rows, columns = features.shape
    scores = [
        [[f[:, r, c].dot(q) for c in range(columns)] for r in range(rows)]
        for f, q in zip(features, query, strict=True)
    ]
    e = torch.stack([torch.stack([torch.stack(row) for row in picture]) for picture in scores]).exp()
    weights = torch.stack([picture / picture.sum() for picture in e])
    return torch.stack([(w * f).flatten(1).sum(1) for w, f in zip(weights, features, strict=True)]), weights


def spatial_by_broadcasting(features, query):
    scores = (features * query[:, :, None, None]).sum(1)
    e = (scores - scores.amax((1, 2), keepdim=True)).exp()
    weights = e / e.sum((1, 2), keepdim=True)
    return (features * weights[:, None]).sum((2, 3)), weights


def spatial_with_a_map_that_is_only_shown(features, query):
    x = features.flatten(2)
    weights = torch.bmm(query[:, None], x).softmax(2)
    return torch.bmm(weights, x.transpose(1, 2)).squeeze(1), weights.view(features[:, 0].shape).detach()


def caption_row_by_row(words):
    rows = [[word for word in row if word != PAD] for row in words.tolist()]
    space = [[PAD] * (words.shape[1] - len(row)) for row in rows]
    inputs = [[SOS, *row, *pad] for row, pad in zip(rows, space, strict=True)]
    targets = [[*row, EOS, *pad] for row, pad in zip(rows, space, strict=True)]
    return torch.tensor(inputs), torch.tensor(targets)


def caption_filled_in(words):
    inputs = torch.zeros(len(words), words.shape[1] + 1, dtype=torch.long)
    targets = torch.zeros_like(inputs)
    inputs[:, 0], inputs[:, 1:], targets[:, :-1] = SOS, words, words
    for b, row in enumerate(words):
        targets[b, int((row != PAD).sum())] = EOS
    return inputs, targets


def caption_by_the_first_padding(words):
    padded = F.pad(words, (0, 1))
    first = (padded == PAD).int().argmax(1, keepdim=True)
    return F.pad(words, (1, 0), value=SOS), padded.scatter(1, first, EOS)


def caption_by_where(words):
    inputs = torch.cat([torch.ones_like(words[:, :1]), words], 1)
    targets = F.pad(words, (0, 1))
    return [inputs, torch.where((targets == PAD) & (inputs != PAD), EOS, targets)]


def caption_by_pad_sequence(words):
    rows = [torch.cat([row[row != PAD], torch.tensor([EOS])]) for row in words]
    rows.append(torch.zeros(words.shape[1] + 1, dtype=torch.long))
    return F.pad(words, (1, 0), value=SOS), nn.utils.rnn.pad_sequence(rows, batch_first=True)[:-1]


def hard_by_autograd(scores, positions, reward, baseline):
    log_p = scores.log_softmax(-1).gather(1, positions[:, None])[:, 0]
    return torch.autograd.grad(((reward - baseline) * log_p).sum(), scores)[0]


def hard_by_autograd_of_a_copy(scores, positions, reward, baseline):
    copy = scores.detach().requires_grad_()
    chosen = copy.softmax(1).log()[torch.arange(len(copy)), positions]
    return torch.autograd.grad((chosen * (reward - baseline)).sum(), copy)[0]


def hard_by_backward(scores, positions, reward, baseline):
    ((reward - baseline) * -F.cross_entropy(scores, positions, reduction="none")).sum().backward()
    return scores.grad


def hard_in_place(scores, positions, reward, baseline):
    gradient = -scores.softmax(-1)
    gradient[torch.arange(len(scores)), positions] += 1
    return gradient * (reward - baseline).unsqueeze(1)


def hard_by_loops(scores, positions, reward, baseline):
    rows = []
    for row, position, r in zip(scores.tolist(), positions.tolist(), reward.tolist(), strict=True):
        e = [math.exp(score) for score in row]
        rows.append([(r - baseline) * ((j == position) - e[j] / sum(e)) for j in range(len(row))])
    return torch.tensor(rows)


def hard_by_distribution(scores, positions, reward, baseline):
    log_p = torch.distributions.Categorical(logits=scores).log_prob(positions)
    return torch.autograd.grad(log_p, scores, grad_outputs=reward - baseline)[0]


def base_by_counter(answers, held_out):
    count = collections.Counter(answers.tolist())
    best = min(count, key=lambda answer: (-count[answer], answer))
    return sum(answer == best for answer in held_out.tolist()) / len(held_out)


def base_by_unique(answers, held_out):
    values, counts = answers.unique(return_counts=True)
    return (held_out == values[counts.argmax()]).sum() / len(held_out)


def base_by_numpy(answers, held_out):
    return np.mean(held_out.numpy() == np.bincount(answers.numpy()).argmax())


def base_by_bincount_of_both(answers, held_out):
    return held_out.bincount(minlength=7)[answers.bincount().argmax()] / held_out.numel()


def base_in_double_with_an_axis(answers, held_out):
    return (held_out == answers.bincount().argmax()).double().mean()[None]


@pytest.mark.parametrize(
    "function",
    [
        spatial_by_einsum,
        spatial_with_channels_last,
        spatial_by_loops,
        spatial_by_broadcasting,
        spatial_with_a_map_that_is_only_shown,
        caption_row_by_row,
        caption_filled_in,
        caption_by_the_first_padding,
        caption_by_where,
        caption_by_pad_sequence,
        hard_by_autograd,
        hard_by_autograd_of_a_copy,
        hard_by_backward,
        hard_in_place,
        hard_by_loops,
        hard_by_distribution,
        base_by_counter,
        base_by_unique,
        base_by_numpy,
        base_by_bincount_of_both,
        base_in_double_with_an_axis,
    ],
)
def test_right_answers_of_another_kind_are_right(function):
    [name] = [name for name in NAMES if name.split("_")[0] == function.__name__.split("_")[0]]
    report = EXERCISES[name](function)
    assert report.correct, report


# Wrong answers, as learners write them


def found_out(name, function, complaint):
    report = EXERCISES[name](function)
    assert not report.correct and report.message.startswith(complaint), report


def looked(weights, places, shape):
    return (weights @ places.mT)[:, 0], weights.reshape(shape)


def softmax_of_a_column(features, query):
    x = features.flatten(2).mT
    weights = (x @ query[:, :, None]).softmax(-1)
    return (weights * x).sum(1), weights.view(features[:, 0].shape)


def places_cut_anew(features, query):
    B, D, rows, columns = features.shape
    x = features.view(B, rows * columns, D)
    weights = (x @ query[..., None]).squeeze(-1).softmax(-1)
    return (weights[:, None] @ x).squeeze(1), weights.view(B, rows, columns)


def places_column_by_column(features, query):
    x = features.transpose(1, 3).flatten(1, 2)
    weights = (x @ query[:, :, None])[..., 0].softmax(-1)
    return (weights[:, None] @ x)[:, 0], weights.view(features[:, 0].shape)


def by_map(weigh, read=lambda weights, features: (weights[:, None] * features).sum((2, 3))):
    def function(features, query):
        weights = weigh((features * query[:, :, None, None]).sum(1))
        return read(weights, features), weights

    return function


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (places_cut_anew, "view and reshape to (B, rows * columns, D) cut the numbers anew"),
        (places_column_by_column, "The context is right, but the map is laid out in the wrong order"),
        (softmax_of_a_column, "All weights are 1."),
        (by_map(lambda s: s.softmax(-1)), "The softmax runs over the columns"),
        (by_map(lambda s: s.exp() / s.exp().sum(1, keepdim=True)), "The softmax runs over the rows"),
        (by_map(lambda s: s.exp() / s.exp().sum()), "All pictures of the batch together"),
        (by_map(nn.Softmax2d()), "The softmax runs over axis 0, the batch"),
        (by_map(lambda s: s.softmax(1).softmax(2)), "There are two softmaxes, over the rows and then"),
        (by_map(lambda s: s.softmax((1, 2))), "softmax takes one axis only."),
        (by_map(lambda s: F.softmax(s, dim=(1, 2))), "softmax takes one axis only."),
        (
            by_map(lambda s: s.flatten(1).softmax(1).view(s.shape), lambda w, f: (w * f).sum((2, 3))),
            "weights * features needs an axis for D",
        ),
        (
            lambda f, q: looked((q @ f.flatten(2)).softmax(-1), f.flatten(2), f[:, 0].shape),
            "Every query looks at every picture, (B, B, L).",
        ),
        (
            lambda f, q: looked((q[:, None] @ f.flatten(2)).softmax(-1), f.flatten(2), (len(f), -1)),
            "The weights are in one row, (B, L).",
        ),
        (
            lambda f, q: looked((q[:, None] @ f.flatten(2)).softmax(1), f.flatten(2), f[:, 0].shape),
            "All weights are 1.",
        ),
        (
            lambda f, q: (q[:, None] @ f.flatten(2)) @ f.flatten(2),
            "The inner sizes of a product have to agree.",
        ),
        (lambda f, q: f.permute(0, 2, 3, 1).view(len(f), len(q[0]), -1), "view can't cut a tensor anew"),
    ],
)
def test_a_picture_that_is_looked_at_otherwise_is_found_out(function, complaint):
    found_out("spatial_attention", function, complaint)


def framed(words):
    start, end = torch.full((len(words), 1), SOS), torch.full((len(words), 1), EOS)
    return torch.cat([start, words, end], 1)


def ended(words, place):
    targets = F.pad(words, (0, 1))
    targets[place((words != PAD).sum(1))] = EOS
    return F.pad(words, (1, 0), value=SOS), targets


def rows_with_both(words):
    return [torch.tensor([SOS, *(int(word) for word in row if word), EOS]) for row in words]


def shifted(rows):
    return rows[:, :-1], rows[:, 1:]


def padding_overwritten(words):
    words[words == PAD] = EOS
    return framed(words)[:, :-1], framed(words)[:, 1:]


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda w: shifted(framed(w)), "EOS stands at the end of each row, after the padding."),
        (lambda w: (framed(w)[:, :-1], F.pad(w, (0, 1))), "EOS is missing in the targets."),
        (lambda w: (decoder_inputs(w), w), "EOS is missing, and the last word of a full row is never read"),
        (
            lambda w: (
                decoder_inputs(ended(w, lambda n: (range(len(w)), n))[1]),
                ended(w, lambda n: (range(len(w)), n))[1],
            ),
            "EOS is in the inputs too, after the shorter captions",
        ),
        (
            lambda w: shifted(nn.utils.rnn.pad_sequence(rows_with_both(w), batch_first=True)),
            "There are only as many columns as the longest caption needs",
        ),
        (
            lambda w: ended(w, lambda n: (slice(None), n)),
            "EOS stands in every row where any of the captions ends.",
        ),
        (lambda w: ended(w, lambda n: n), "targets[lengths] are rows."),
        (lambda w: ended(w, lambda n: (range(len(w)), n - 1)), "EOS takes the place of the last word."),
        (lambda w: ended(w, lambda n: (range(len(w)), n + 1)), "EOS would stand one column too far."),
        (
            lambda w: ended(w, lambda n: (range(len(w)), (w == PAD).int().argmax(1))),
            "In a row without padding EOS takes the place of the first word.",
        ),
        (
            lambda w: (w, w.clone().scatter_(1, (w != PAD).sum(1, keepdim=True), EOS)),
            "RuntimeError: index 7 is out of bounds",
        ),
        (
            lambda w: (framed(w)[:, :-1], F.pad(w, (0, 1)).masked_fill(F.pad(w, (0, 1)) == PAD, EOS)),
            "All padding of the targets has become EOS.",
        ),
        (lambda w: (w, ended(w, lambda n: (range(len(w)), n))[1]), "The inputs are words, (B, T)"),
        (lambda w: [ended(w, lambda n: (range(len(w)), n))[1]] * 2, "The inputs are the targets once more"),
        (lambda w: [row[:-1].tolist() for row in rows_with_both(w)], "The result should be a tuple of 2"),
        (
            lambda w: (
                [row[:-1].tolist() for row in rows_with_both(w)],
                [row[1:].tolist() for row in rows_with_both(w)],
            ),
            "These are lists of different lengths.",
        ),
        (
            lambda w: torch.tensor([row[1:].tolist() for row in rows_with_both(w)]),
            "The rows have different lengths",
        ),
        (lambda w: ([SOS] + w, w + [EOS]), "+ joins lists, and this is a tensor."),
        (padding_overwritten, "It changes its argument words in place."),
    ],
)
def test_captions_that_are_marked_otherwise_are_found_out(function, complaint):
    found_out("caption_targets", function, complaint)


def derived(objective):
    return lambda s, p, r, b: torch.autograd.grad(objective(s, p, r, b), s)[0]


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (
            derived(lambda s, p, r, b: ((r - b) * F.cross_entropy(s, p, reduction="none")).sum()),
            "The sign is wrong.",
        ),
        (
            derived(lambda s, p, r, b: reinforce(s.log_softmax(-1)[range(len(s)), p], r, baseline=b)),
            "It is divided by B, and the sign is wrong",
        ),
        (
            derived(lambda s, p, r, b: ((r - b) * s.softmax(-1)[range(len(s)), p]).sum()),
            "It is multiplied with the probability of the drawn position",
        ),
        (
            derived(lambda s, p, r, b: ((r - b)[:, None] * s.gather(1, p[:, None])).sum()),
            "The softmax is missing: only the drawn position gets a gradient.",
        ),
        (
            derived(lambda s, p, r, b: ((r - b) * s.log_softmax(-1).gather(1, p[:, None])).sum()),
            "All rows have the sum of reward - baseline.",
        ),
        (
            derived(lambda s, p, r, b: ((r - b) * s.log_softmax(-1).gather(1, p[:, None])).mean()),
            "All rows have the mean of reward - baseline, divided by B.",
        ),
        (
            derived(lambda s, p, r, b: torch.log((r - b) * s.softmax(-1)[range(len(s)), p]).sum()),
            "The reward has no effect",
        ),
        (
            derived(lambda s, p, r, b: ((r - b)[:, None] * s.log_softmax(-1)).sum()),
            "The log-probabilities of all positions are added up.",
        ),
        (
            derived(lambda s, p, r, b: (r - b) * s.log_softmax(-1)[range(len(s)), p]),
            "A gradient is taken of a",
        ),
        (derived(lambda s, p, r, b: (r - b).sum()), "The scores have no part in it"),
        (lambda s, p, r, b: (r - b) * (F.one_hot(p) - s.softmax(-1)), "one_hot makes as many columns"),
        (lambda s, p, r, b: (r - b) * (F.one_hot(p, len(s[0])) - s.softmax(-1)), "(B,) meets (B, L)"),
        (lambda s, p, r, b: (r - b)[:, None] * (1 - s.softmax(-1)), "1 - softmax(scores) stands everywhere."),
        (
            lambda s, p, r, b: (r - b)[:, None] * (p[:, None] - s.softmax(-1)),
            "The positions themselves are taken",
        ),
        (
            lambda s, p, r, b: ((r - b)[:, None] * (F.one_hot(p, len(s[0])) - s.softmax(-1))).mean(),
            "All is added up to a single number, which is 0",
        ),
        (
            lambda s, p, r, b: hard_in_place(s, p, r, r.mean()),
            "The mean of the rewards is subtracted, and the argument baseline has no effect.",
        ),
    ],
)
def test_a_gradient_that_is_estimated_otherwise_is_found_out(function, complaint):
    found_out("hard_attention_gradient", function, complaint)


def count(answers):
    return collections.Counter(answers.tolist())


def share(held_out, answer):
    return (held_out == answer).float().mean()


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda a, h: max(count(h).values()) / len(h), "The answer is the commonest of held_out."),
        (
            lambda a, h: share(h, torch.cat([a, h]).mode().values),
            "The answer is the commonest of both together.",
        ),
        (lambda a, h: max(count(a).values()) / len(a), "It is the share among the training answers."),
        (lambda a, h: share(h, count(a).most_common(1)[0][0]), "Where two answers are equally common"),
        (lambda a, h: share(h, a.bincount().argsort()[-1]), "Where two answers are equally common"),
        (
            lambda a, h: share(h, collections.Counter(a).most_common(1)[0][0]),
            "This takes the first training answer.",
        ),
        (lambda a, h: share(h, count(a).most_common(1)[0]), "Here a tensor is compared with a pair"),
        (lambda a, h: (h == a.mode()).sum() / len(h), "Here a tensor is compared with a pair"),
        (lambda a, h: share(h, a.bincount().max()), "It is 0: nothing in held_out equals"),
        (lambda a, h: (h == a.bincount().argmax()).sum() // len(h), "It is 0: nothing in held_out equals"),
        (
            lambda a, h: share(h, a.unique(return_counts=True)[1].argmax()),
            "This takes the place of the commonest",
        ),
        (lambda a, h: share(h, a.argmax()), "This takes the place of the largest number"),
        (lambda a, h: share(h, torch.bincount(a)), "bincount gives how often each number occurs."),
        (lambda a, h: 1 / len(set(a.tolist())), "It is 1 divided by the number of different answers"),
        (lambda a, h: (a.bincount() / len(a))[h].mean(), "It is what guessing gives"),
        (lambda a, h: (h == a.mode().values).sum(), "It is how many are right."),
        (lambda a, h: 100 * share(h, a.mode().values), "It is a percentage."),
        (lambda a, h: a.mode().values, "It is the answer itself."),
        (lambda a, h: share(a, h), "answers and held_out belong to different questions"),
        (lambda a, h: (h == a.mode().values).mean(), "torch takes no mean of True and False."),
    ],
)
def test_a_base_rate_of_another_kind_is_found_out(function, complaint):
    found_out("base_rate", function, complaint)


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_mistake_says_where_to_look(name):
    function = EXERCISES[name].reference

    def wrong(*args):
        result = function(*args)
        return [part + 5 for part in result] if isinstance(result, tuple) else result + 5

    report = EXERCISES[name](wrong)
    assert report.status == "wrong" and report.message.endswith(EXERCISES[name].look)
