"""The exercises on sequence to sequence: references against oracles, the inputs, mistakes and messages."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from torch.nn import functional as F

import seqlib.decoding
import seqlib.seq2seq
from seqlib.checks import seq2seq as check
from seqlib.checks.exercise import Exercise
from seqlib.checks.guard import call
from seqlib.checks.seq2seq import MOST_CALLS, _beam_step, _decoder_inputs, _greedy_decode, _masked_loss
from seqlib.pairs import PAD, SOS

EXERCISES = {name: value for name, value in vars(check).items() if isinstance(value, Exercise)}
SEEDS = range(3)


def drawn(exercise, kind, seed):
    return exercise.inputs[kind](torch.Generator().manual_seed(seed))


# The inputs


def test_the_right_answers_leave_their_arguments_alone_and_print_nothing():
    for exercise in EXERCISES.values():
        assert call(exercise.reference, drawn(exercise, 0, 0), seconds=5.0, seed=0).printed == ()


@pytest.mark.parametrize("name", EXERCISES)
def test_mistakes_raise_only_what_python_and_torch_raise(name):
    raised = set()
    for mistake in EXERCISES[name].mistakes.values():
        try:
            mistake(*drawn(EXERCISES[name], 0, 0))
        except Exception as error:
            raised.add(type(error))
    known = {RuntimeError, ValueError, TypeError, IndexError, AttributeError, NotImplementedError}
    assert raised <= known


@pytest.mark.parametrize("name", ["decoder_inputs", "masked_loss", "beam_step"])
def test_sizes_are_different_primes(name):
    for inputs in EXERCISES[name].inputs:
        shape = inputs(torch.Generator().manual_seed(0))[0].shape
        assert len(set(shape)) == len(shape) and set(shape) <= {2, 3, 5, 7, 11}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [0, 1])
def test_every_number_of_a_target_is_another_and_sos_is_none_of_them(kind, seed):
    target, sos = drawn(check.decoder_inputs, kind, seed)
    assert len({0, 1, sos, *target.flatten().tolist()}) == target.numel() + 3


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [0, 1])
def test_padding_is_at_the_end_of_rows_of_different_lengths(kind, seed):
    _, target, pad = drawn(check.masked_loss, kind, seed)
    present = target != pad
    lengths = present.sum(1)
    assert torch.equal(present, torch.arange(target.shape[1]) < lengths[:, None])
    assert (
        lengths.max() == target.shape[1] and lengths.min() > 1 and len(set(lengths.tolist())) == len(target)
    )
    assert (pad == 0) == (kind == 0)


def test_there_are_answers_that_end_by_themselves_answers_that_are_cut_and_an_empty_one():
    for seed in range(10):
        ended, cut, empty = (drawn(check.greedy_decode, kind, seed) for kind in range(3))
        assert 6 <= len(_greedy_decode(*ended)) <= 10 < ended[-1]
        assert len(_greedy_decode(*cut)) == cut[-1] and len(_greedy_decode(*cut[:-1], MOST_CALLS)) == 17
        assert _greedy_decode(*empty) == []
    lengths = {len(_greedy_decode(*drawn(check.greedy_decode, 0, seed))) for seed in range(10)}
    assert len(lengths) >= 4


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_model_writes_depends_on_the_state_and_on_the_token(seed):
    step, state, sos, eos, max_length = drawn(check.greedy_decode, 0, seed)
    logits, new = step(sos, state)
    assert logits.shape == (7,) and new.shape == state.shape == (19,) and sos != eos
    other = (sos + 1) % 7
    assert not torch.equal(step(other, state)[0], logits) and not torch.equal(step(sos, new)[0], logits)
    assert any(not torch.equal(step(token, state)[1], new) for token in range(7))
    assert torch.equal(step(torch.tensor(sos), state)[0], logits)  # what argmax returns will do


@pytest.mark.parametrize("seed", SEEDS)
def test_best_continuations_share_rows_and_tokens_and_leave_rows_out(seed):
    log_probs, scores = drawn(check.beam_step, 0, seed)
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(len(scores)))
    assert (scores < 0).all()
    parents, tokens, _ = (part.tolist() for part in _beam_step(log_probs, scores))
    assert 1 < len(set(parents)) < len(scores) and len(set(tokens)) < len(scores)
    assert parents != sorted(parents)


# The references against oracles


@given(
    st.integers(1, 4).flatmap(
        lambda T: st.lists(st.lists(st.integers(0, 9), min_size=T, max_size=T), min_size=1)
    )
)
def test_what_is_read_is_what_was_written_one_step_before(rows):
    inputs = _decoder_inputs(torch.tensor(rows), SOS)
    assert inputs.tolist() == [[SOS, *row[:-1]] for row in rows]
    assert torch.equal(inputs, seqlib.seq2seq.decoder_inputs(torch.tensor(rows)))


lengths_of_rows = st.lists(st.integers(1, 5), min_size=1, max_size=4)


def padded(lengths, seed, *, V=7, more=0):
    """logits (B, T, V) in double precision, and a target (B, T) of which rows end with PAD"""
    g = torch.Generator().manual_seed(seed)
    B, T = len(lengths), max(lengths) + more
    target = torch.randint(1, V, (B, T), generator=g)
    target[torch.arange(T) >= torch.tensor(lengths)[:, None]] = PAD
    return torch.randn(B, T, V, generator=g, dtype=torch.float64, requires_grad=True), target


@given(lengths_of_rows, st.integers(0, 10**6))
def test_the_loss_is_the_mean_over_all_tokens_of_all_rows(lengths, seed):
    logits, target = padded(lengths, seed)
    rows = log_softmax(logits.detach().numpy(), axis=-1)
    tokens = [-rows[b, t, target[b, t]] for b, length in enumerate(lengths) for t in range(length)]
    loss = _masked_loss(logits, target, PAD)
    assert loss.item() == pytest.approx(sum(tokens) / len(tokens))
    torch.testing.assert_close(loss, seqlib.seq2seq.masked_loss(logits, target))


@given(lengths_of_rows, st.integers(0, 10**6), st.integers(0, 4))
def test_what_stands_at_padding_changes_neither_loss_nor_gradient(lengths, seed, more):
    logits, target = padded(lengths, seed, more=more)
    shorter = logits[:, : max(lengths)], target[:, : max(lengths)]
    torch.testing.assert_close(_masked_loss(logits, target, PAD), _masked_loss(*shorter, PAD))
    [gradient] = torch.autograd.grad(_masked_loss(logits, target, PAD), logits)
    assert torch.equal(gradient.abs().sum(-1) > 0, target != PAD)


def model_of_tables(seed, *, V, S=5):
    g = torch.Generator().manual_seed(seed)
    logits, following = torch.randn(S, V, V, generator=g), torch.randint(S, (S, V), generator=g)
    return lambda token, state: (logits[state, token], following[state, token])


@given(st.integers(0, 10**6), st.integers(1, 4))
@settings(max_examples=25)
def test_greedy_decoding_finds_the_first_of_all_sequences_in_the_order_of_a_dictionary(seed, max_length):
    V, sos, eos = 3, 0, 2
    step = model_of_tables(seed, V=V)

    def logits_along(sequence):
        state, token, found = torch.tensor(0), sos, []
        for token_after in sequence:
            logits, state = step(token, state)
            found.append(float(logits[token_after]))
            token = token_after
        return found

    best = max(itertools.product(range(V), repeat=max_length), key=logits_along)
    expected = list(itertools.takewhile(lambda token: token != eos, best))
    assert _greedy_decode(step, torch.tensor(0), sos, eos, max_length) == expected


@given(st.integers(0, 10**6), st.integers(1, 11))
@settings(max_examples=25)
def test_greedy_decoding_is_the_packages(seed, max_length):
    V, sos, eos = 7, 1, 2
    step = model_of_tables(seed, V=V)
    decoded = seqlib.decoding.greedy(
        step, torch.tensor([0]), start=torch.tensor([sos]), end=eos, max_length=max_length
    )
    expected = seqlib.decoding.until_end(decoded.tokens[0], eos)
    assert _greedy_decode(step, torch.tensor(0), sos, eos, max_length) == expected


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(5, 7))
def test_a_step_of_beam_search_keeps_the_best_of_all_continuations(seed, W, V):
    g = torch.Generator().manual_seed(seed)
    log_probs = torch.randn(W, V, generator=g, dtype=torch.float64).log_softmax(-1)
    scores = -3 * torch.rand(W, generator=g, dtype=torch.float64)
    parents, tokens, new_scores = _beam_step(log_probs, scores)

    def log_probability(place):
        return float(log_probs[place] + scores[place[0]])

    ranked = sorted(itertools.product(range(W), range(V)), key=log_probability, reverse=True)[:W]
    assert list(zip(parents.tolist(), tokens.tolist(), strict=True)) == ranked
    assert new_scores.tolist() == pytest.approx([log_probability(place) for place in ranked])
    best = seqlib.decoding.best_continuations(scores[:, None] + log_probs, W)
    torch.testing.assert_close((parents, tokens, new_scores), tuple(best))


def test_the_example_in_the_report_is_right():
    assert _decoder_inputs(torch.tensor([[5, 6, 7]]), 1).tolist() == [[1, 5, 6]]
    assert "[[5, 6, 7]]" in check.decoder_inputs.look and "[[1, 5, 6]]" in check.decoder_inputs.look


# Other right answers


def inputs_by_padding(target, sos):
    return F.pad(target, (1, 0), value=sos)[:, :-1]


def inputs_by_rolling(target, sos):
    inputs = target.roll(1)  # without an axis, but the first column is replaced
    inputs[:, 0] = sos
    return inputs


def inputs_by_loops(target, sos):
    return torch.tensor([[sos] + row[:-1] for row in target.tolist()])


def inputs_by_columns(target, sos):
    first = torch.tensor(sos).expand(len(target))
    return torch.stack([first, *target.unbind(1)[:-1]], 1)


def loss_by_choosing(logits, target, pad):
    return F.cross_entropy(logits[target != pad], target[target != pad])


def loss_by_weights(logits, target, pad):
    weight = torch.ones(logits.shape[-1])
    weight[pad] = 0
    return F.cross_entropy(logits.mT, target, weight=weight)


def loss_by_mask(logits, target, pad):
    mask = (target != pad).float()
    losses = F.cross_entropy(logits.transpose(1, 2), target, reduction="none")
    return (losses * mask).sum() / mask.sum()


def loss_by_distribution(logits, target, pad):
    log_p = torch.distributions.Categorical(logits=logits).log_prob(target)
    return -log_p[target.ne(pad)].mean()


def loss_by_loops(logits, target, pad):
    total, count = 0, 0
    for row, tokens in zip(logits, target, strict=True):
        for one, token in zip(row, tokens, strict=True):
            if token == pad:
                break
            total = total + one.exp().sum().log() - one[token]
            count += 1
    return total / count


def decode_by_while(step, state, sos, eos, max_length):
    tokens = [sos]
    while tokens[-1] != eos and len(tokens) <= max_length:
        logits, state = step(tokens[-1], state)
        tokens.append(logits.softmax(-1).argmax(-1))
    return [int(token) for token in tokens[1:] if token != eos]


def decode_by_recursion(step, state, sos, eos, max_length):
    if max_length == 0:
        return []
    logits, state = step(sos, state)
    token = max(range(len(logits)), key=lambda v: logits[v])
    return [] if token == eos else [token] + decode_by_recursion(step, state, token, eos, max_length - 1)


def decode_then_cut(step, state, sos, eos, max_length):
    tokens, token = [], torch.tensor([sos])
    for _ in range(max_length):
        logits, state = step(token, state)
        token = logits.topk(1).indices
        tokens.append(token.item())
    return tokens[: tokens.index(eos)] if eos in tokens else tokens


def decode_by_the_package(step, state, sos, eos, max_length):
    def step_of_rows(tokens, states):
        logits, new = step(tokens[0], states[0])
        return logits[None], new[None]

    start = torch.tensor([sos])
    found = seqlib.decoding.greedy(step_of_rows, state[None], start=start, end=eos, max_length=max_length)
    return seqlib.decoding.until_end(found.tokens[0], eos)


def beam_by_loops(log_probs, scores):
    W, V = log_probs.shape
    found = [(float(scores[w] + log_probs[w, v]), w, v) for w in range(W) for v in range(V)]
    new_scores, parents, tokens = zip(*sorted(found, reverse=True)[:W], strict=True)
    return torch.tensor(parents), torch.tensor(tokens), torch.tensor(new_scores)


def beam_by_rows(log_probs, scores):
    """The W best of each row first, and then of these the W best."""
    W = len(scores)
    values, tokens = (scores.unsqueeze(1) + log_probs).topk(W, 1)
    new_scores, places = values.reshape(-1).topk(W)
    return places.div(W, rounding_mode="floor"), tokens.reshape(-1)[places], new_scores


def beam_by_sorting(log_probs, scores):
    W = scores.numel()
    new_scores, places = (log_probs.T + scores).T.reshape(-1).sort(descending=True)
    return *torch.unravel_index(places[:W], log_probs.shape), new_scores[:W]


def beam_one_by_one(log_probs, scores):
    total, found = log_probs + scores.view(-1, 1), []
    for _ in scores:
        parent, token = divmod(int(total.argmax()), total.shape[1])
        found.append((parent, token, float(total[parent, token])))
        total[parent, token] = -torch.inf
    return [torch.tensor(part) for part in zip(*found, strict=True)]


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("decoder_inputs", inputs_by_padding),
        ("decoder_inputs", inputs_by_rolling),
        ("decoder_inputs", inputs_by_loops),
        ("decoder_inputs", inputs_by_columns),
        ("masked_loss", loss_by_choosing),
        ("masked_loss", loss_by_weights),
        ("masked_loss", loss_by_mask),
        ("masked_loss", loss_by_distribution),
        ("masked_loss", loss_by_loops),
        ("greedy_decode", decode_by_while),
        ("greedy_decode", decode_by_recursion),
        ("greedy_decode", decode_then_cut),
        ("greedy_decode", decode_by_the_package),
        ("beam_step", beam_by_loops),
        ("beam_step", beam_by_rows),
        ("beam_step", beam_by_sorting),
        ("beam_step", beam_one_by_one),
    ],
)
def test_other_right_answers_are_correct(name, function):
    for seed in range(5):
        report = EXERCISES[name](function, seed=seed)
        assert report.correct, report


# Mistakes written as learners write them


def shifted_in_a_loop(target, sos, *, make, steps):
    inputs = make(target, sos)
    for t in steps(target):
        inputs[:, t + 1] = target[:, t]
    return inputs


@pytest.mark.parametrize(
    ("make", "steps", "complaint"),
    [
        (torch.full_like, lambda target: range(target.shape[1] - 1), None),
        (
            lambda target, sos: F.pad(0 * target[:, 1:], (1, 0), value=sos),
            lambda target: range(len(target) - 1),
            "Only the first B steps are filled, and the",
        ),
        (
            lambda target, sos: target.clone(),
            lambda target: range(target.shape[1] - 1),
            "The first token stands",
        ),
        (lambda target, sos: 0 * target, lambda target: range(target.shape[1] - 1), "The first column is 0."),
        (
            lambda target, sos: target,
            lambda target: range(target.shape[1] - 1),
            "It changes its argument target",
        ),
    ],
)
def test_a_loop_over_the_steps_is_followed(make, steps, complaint):
    report = check.decoder_inputs(lambda target, sos: shifted_in_a_loop(target, sos, make=make, steps=steps))
    assert report.correct if complaint is None else report.message.startswith(complaint), report


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda target, sos: F.pad(target, (1, 0), value=sos), "sos is in front, but the last token isn't"),
        (
            lambda target, sos: F.pad(target, (0, 1), value=sos)[:, 1:],
            "It is shifted the wrong way, with sos",
        ),
        (lambda target, sos: target[:, :-1], "The last token is dropped, but nothing is in front"),
        (lambda target, sos: target.roll(1, 1), "The last token comes round to the front"),
        (lambda target, sos: target.roll(1), "Without an axis torch.roll makes one long row"),
        (lambda target, sos: F.pad(target[:-1], (0, 0, 1, 0), value=sos), "It is shifted along axis 0"),
        (
            lambda target, sos: F.pad(target, (1, -1), value=float(sos)).float(),
            "The numbers are right, but they have another dtype",
        ),
        (
            lambda target, sos: F.pad(target, (1, -1), value=sos).int(),
            "The numbers are right, but they have another dtype",
        ),
        (lambda target, sos: torch.hstack([torch.tensor([[sos]]), target[:, :-1]]), "There is one sos, and"),
        (
            lambda target, sos: torch.cat([torch.full((3, 1), sos), target[:, :-1]]),
            "They are joined along axis",
        ),
    ],
)
def test_wrong_inputs_are_found_out(function, complaint):
    report = check.decoder_inputs(function)
    assert report.status == "mistake" and report.message.startswith(complaint), report


def test_a_sos_that_is_written_into_the_wrong_place_is_told_by_what_stands_in_front():
    def written(target, sos, *, made, place):
        inputs = made(target)
        inputs[:, 1:] = target[:, :-1]
        inputs[place] = sos
        return inputs

    for place, complaint in (
        (0, "The whole first row is sos"),
        ((0, 0), "Only the first row begins with sos"),
    ):
        for made in (torch.clone, torch.zeros_like, lambda target: target.roll(1, 1)):
            report = check.decoder_inputs(lambda *args, m=made, p=place: written(*args, made=m, place=p))
            assert report.status == "mistake" and report.message.startswith(complaint), report


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        (lambda losses, mask: losses.mean(), "Padding counts like any other token"),
        (lambda losses, mask: (losses * mask).mean(), "The losses of padding are 0, but they count"),
        (lambda losses, mask: losses.where(mask, 0).mean(), "The losses of padding are 0, but they count"),
        (lambda losses, mask: losses[~mask].mean(), "The mask is the wrong way round: it is the mean"),
        (lambda losses, mask: losses[mask].sum(), "It is the sum"),
        (lambda losses, mask: losses[mask].mean() / mask.sum(), "The mean is divided by the number of"),
        (lambda losses, mask: losses.flatten()[mask].mean(), "The losses are flattened and the mask isn't"),
        (lambda losses, mask: losses[mask].sum() / len(mask), "It is divided by B"),
        (
            lambda losses, mask: ((losses * mask).sum(1) / mask.sum(1)).mean(),
            "It is the mean over the sequences",
        ),
        (lambda losses, mask: losses[mask], "It is one loss for each token"),
        (lambda losses, mask: losses[:, 1:][mask[:, 1:]].mean(), "The first step is left out"),
        (lambda losses, mask: (losses * mask).sum() / mask.mean(), "torch takes no mean of True and False"),
        (lambda losses, mask: losses.sum() if not mask else 0, "if, not, and, or want one truth value"),
    ],
)
def test_what_is_done_with_the_losses_decides(rule, complaint):
    def function(logits, target, pad):
        return rule(F.cross_entropy(logits.mT, target, reduction="none"), target != pad)

    report = check.masked_loss(function)
    assert report.status == "mistake" and report.message.startswith(complaint), report


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        (lambda logits, present: logits * present, "The logits of padding are made equal"),
        (lambda logits, present: logits.masked_fill(~present, -1e9), "The logits of padding are made equal"),
        (
            lambda logits, present: (logits.softmax(-1) * present).log() * present,
            "It is NaN, because 0 * inf",
        ),
        (lambda logits, present: logits, "Padding counts like any other token"),
    ],
)
def test_logits_that_are_masked_before_the_loss_are_found_out(changed, complaint):
    def function(logits, target, pad):
        return F.cross_entropy(changed(logits, (target != pad)[..., None]).mT, target)

    report = check.masked_loss(function)
    assert report.status == "mistake" and report.message.startswith(complaint), report


@pytest.mark.parametrize(
    ("axes", "complaint"),
    [
        (lambda logits: logits.softmax(-1).mT, "The softmax is taken twice"),
        (lambda logits: logits, "cross_entropy takes axis 1 for that of the tokens"),
        (
            lambda logits: logits.reshape(-1, logits.shape[2], logits.shape[1]),
            "reshape and view don't swap axes",
        ),
        (lambda logits: logits.flatten(0, 1), "The logits are flattened and the target isn't"),
    ],
)
def test_the_axes_that_cross_entropy_is_given_decide(axes, complaint):
    report = check.masked_loss(
        lambda logits, target, pad: F.cross_entropy(axes(logits), target, ignore_index=pad)
    )
    assert report.status == "mistake" and report.message.startswith(complaint), report


def test_a_loss_by_one_hot_vectors_is_the_sum_over_the_tokens():
    def function(logits, target, pad, *, reduced):
        losses = -logits.log_softmax(-1) * F.one_hot(target, logits.shape[-1])
        return reduced(losses)[target != pad].mean()

    assert check.masked_loss(lambda *args: function(*args, reduced=lambda losses: losses.sum(-1))).correct
    report = check.masked_loss(lambda *args: function(*args, reduced=lambda losses: losses))
    assert report.status == "mistake" and report.message.startswith("It is divided by V as well")


@pytest.mark.parametrize(
    "cut",
    [
        lambda loss, *args: torch.tensor(loss(*args).item(), requires_grad=True),
        lambda loss, *args: loss(*args).detach().requires_grad_(),
        lambda loss, logits, *rest: loss(logits.detach().requires_grad_(), *rest),
    ],
)
def test_a_loss_with_a_graph_of_its_own_can_not_be_trained(cut):
    report = check.masked_loss(lambda *args: cut(loss_by_mask, *args))
    assert report.status == "mistake" and report.message.startswith("The number is right, but it has a graph")


def test_a_loss_that_is_cut_off_can_not_be_trained():
    report = check.masked_loss(lambda logits, target, pad: loss_by_mask(logits.detach(), target, pad))
    assert report.status == "wrong" and "cut off from the graph" in report.message
    for shift in (0, 1):  # whether the number is right or not
        report = check.masked_loss(lambda *args, shift=shift: loss_by_mask(*args).item() + shift)
        assert report.status == "mistake" and report.message.startswith("item() makes a Python number")


def test_a_right_loss_of_which_a_part_is_cut_off_has_another_gradient():
    def half(logits, target, pad):
        return (loss_by_mask(logits, target, pad) + loss_by_mask(logits.detach(), target, pad)) / 2

    report = check.masked_loss(half)
    assert report.status == "wrong"
    assert report.message.startswith("The gradient that flows back to the logits differs")


def decode_as_written(step, state, sos, eos, max_length, *, body):
    """The usual loop, with the lines of its body given as a function of what is known so far."""
    token, tokens = sos, []
    while len(tokens) < max_length:
        token, state, ends = body(step, token, state, sos, eos, tokens)
        if ends:
            break
    return tokens


def usual_body(
    step, token, state, sos, eos, tokens, *, read="token", carries=True, first="check", choose=torch.argmax
):
    logits, new_state = step(sos if read == "sos" else token, state)
    token = int(choose(logits))
    if first == "append" or token != eos:
        tokens.append(token)
    return token, new_state if carries else state, first != "never" and token == eos


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, None),
        ({"first": "append"}, "eos is among the tokens"),
        ({"read": "sos"}, "sos is read at every step"),
        ({"carries": False}, "The state isn't carried"),
        ({"read": "sos", "carries": False}, "Every step is the first one again"),
        ({"choose": torch.argmin}, "The least likely token is chosen"),
        ({"choose": torch.max}, "The largest logit itself is taken for a token"),
        ({"choose": lambda logits: logits.argmax(1)}, "logits has one axis"),
    ],
)
def test_what_a_round_does_decides(options, complaint):
    def function(*args):
        return decode_as_written(*args, body=lambda *known: usual_body(*known, **options))

    report = check.greedy_decode(function)
    if complaint is None:
        assert report.correct, report
    else:
        assert report.status == "mistake" and report.message.startswith(complaint), report


def test_a_loop_without_end_is_told_at_once():
    def endless(step, state, sos, eos, max_length):
        token, tokens = sos, []
        while token != eos:
            logits, state = step(sos, state)
            tokens.append(logits.argmax())  # and token stays what it is
        return tokens

    report = check.greedy_decode(endless)
    assert report.status == "mistake" and report.message.startswith("Nothing ends it.")
    assert f"RuntimeError: step was called more than {MOST_CALLS} times" in report.message


def test_a_loop_that_waits_for_eos_alone_is_found_out():
    def waiting(step, state, sos, eos, max_length):
        token, tokens = sos, []
        while token != eos:
            logits, state = step(token, state)
            token = int(logits.argmax())
            tokens.append(token)
        return tokens[:-1]

    report = check.greedy_decode(waiting)
    assert report.status == "mistake" and report.message.startswith("max_length has no effect")


@pytest.mark.parametrize(
    ("first_step", "complaint", "error"),
    [
        (lambda step, state, sos: step([sos], state), "step is given the whole list", "got a list of 1"),
        (lambda step, state, sos: step(state, sos), "token and state have changed places", "float32 tensor"),
        (lambda step, state, sos: step(sos), "step needs the state as well", "missing 1 required"),
        (lambda step, state, sos: step(sos, state).argmax(), "step returns two things", "'tuple' object"),
    ],
)
def test_a_step_that_is_called_in_another_way_is_explained_beside_its_exception(first_step, complaint, error):
    report = check.greedy_decode(lambda step, state, sos, eos, max_length: first_step(step, state, sos))
    assert report.status == "mistake" and report.message.startswith(complaint), report
    assert error in report.message and "step: a function" in report.message


@pytest.mark.parametrize(
    ("first", "result", "complaint"),
    [
        ("append", lambda tokens: tokens, "sos and eos are among the tokens, and the last one is missing"),
        ("check", lambda tokens: tokens, "sos is among the tokens, and the last one is missing"),
        ("append", lambda tokens: tokens[1:-1], "Two tokens are missing where max_length ends"),
        ("check", lambda tokens: tokens[1:], "The last token is missing where max_length ends"),
    ],
)
def test_sos_that_is_counted_among_the_tokens_is_found_out(first, result, complaint):
    def counting(step, state, sos, eos, max_length):
        token, tokens = sos, [sos]
        while len(tokens) < max_length and token != eos:
            logits, state = step(token, state)
            token = int(logits.argmax())
            if first == "append" or token != eos:
                tokens.append(token)
        return result(tokens)

    report = check.greedy_decode(counting)
    assert report.status == "mistake" and report.message.startswith(complaint), report


@pytest.mark.parametrize(
    ("breaks", "result", "complaint"),
    [
        (False, lambda tokens, *special: [t for t in tokens if t not in special], "sos and eos are left out"),
        (False, lambda tokens, sos, eos: [t for t in tokens if t != eos], "eos is left out, but doesn't end"),
        (False, lambda tokens, sos, eos: tokens, "eos doesn't end it"),
        (True, lambda tokens, sos, eos: tokens, "eos and zeros follow the tokens"),
        (
            True,
            lambda tokens, sos, eos: [0 if t == eos else t for t in tokens],
            "The list is filled up with 0 to max_length",
        ),
    ],
)
def test_a_list_that_is_made_beforehand_is_found_out(breaks, result, complaint):
    def filled(step, state, sos, eos, max_length):
        token, tokens = sos, [0] * max_length
        for t in range(max_length):
            logits, state = step(token, state)
            token = tokens[t] = int(logits.argmax())
            if breaks and token == eos:
                break
        return result(tokens, sos, eos)

    report = check.greedy_decode(filled)
    assert report.status == "mistake" and report.message.startswith(complaint), report


def test_a_sampler_is_no_greedy_decoder():
    def sampled(*args):
        return decode_as_written(
            *args,
            body=lambda *known: usual_body(*known, choose=lambda logits: logits.softmax(-1).multinomial(1)),
        )

    report = check.greedy_decode(sampled)
    assert report.status == "wrong" and "without chance" in report.message


def test_a_decoder_that_forgets_to_return_where_it_is_cut_is_told():
    def forgetful(step, state, sos, eos, max_length):
        token, tokens = sos, []
        for _ in range(max_length):
            logits, state = step(token, state)
            token = int(logits.argmax())
            if token == eos:
                return tokens
            tokens.append(token)

    assert check.greedy_decode(forgetful).message.startswith("It returned None.")


def beam_as_written(log_probs, scores, *, total, size=lambda W, V: V, flat=True, returned=None):
    W, V = log_probs.shape
    table = total(log_probs, scores)
    new_scores, places = (table.flatten() if flat else table).topk(W)
    parents, tokens = places // size(W, V), places % size(W, V)
    return returned(parents, tokens, new_scores) if returned else (parents, tokens, new_scores)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, None),
        ({"total": lambda p, s: (p + s[:, None]).log_softmax(-1)}, "The old scores have no effect"),
        ({"total": lambda p, s: p + s}, "scores has a number for each row"),
        ({"total": lambda p, s: p * s[:, None]}, "The scores are multiplied"),
        ({"total": lambda p, s: p.exp() * s.exp()[:, None]}, "The new scores are probabilities"),
        ({"total": lambda p, s: p.T + s}, "The table was transposed"),
        ({"flat": False}, "Without flatten, topk takes the W best of each row"),
        ({"returned": lambda p, t, s: (t, p, s)}, "Parents and tokens have changed places"),
        ({"returned": lambda p, t, s: (s, p, t)}, "The new scores come first"),
        (
            {"returned": lambda p, t, s: (p.int(), t.int(), s)},
            "The numbers are right, but parents and tokens",
        ),
        ({"returned": lambda p, t, s: (p, t)}, "The new scores are missing"),
        ({"returned": lambda p, t, s: torch.stack([p, t, s])}, "torch.stack makes one tensor"),
        ({"returned": lambda p, t, s: tuple(x.flip(0) for x in (p, t, s))}, "The best comes last"),
    ],
)
def test_how_a_step_of_beam_search_is_made_decides(options, complaint):
    usual = {"total": lambda log_probs, scores: log_probs + scores[:, None]}
    report = check.beam_step(lambda *args: beam_as_written(*args, **usual | options))
    if complaint is None:
        assert report.correct, report
    else:
        assert report.status == "mistake" and report.message.startswith(complaint), report


@pytest.mark.parametrize(
    ("parent", "token", "complaint"),
    [
        (lambda i, W, V: i // W, lambda i, W, V: i % V, "The parents are places // W."),
        (lambda i, W, V: i % W, lambda i, W, V: i // W, "The place is read as if"),
        (lambda i, W, V: i // V, lambda i, W, V: i % W, "The tokens are places % W."),
        (lambda i, W, V: i // V, lambda i, W, V: i, "The tokens are places among all"),
        (lambda i, W, V: i / V, lambda i, W, V: i % V, "The parents are places / V"),
    ],
)
def test_how_a_place_becomes_a_row_and_a_token_decides(parent, token, complaint):
    def function(log_probs, scores):
        new_scores, places = (log_probs + scores[:, None]).flatten().topk(len(scores))
        return parent(places, *log_probs.shape), token(places, *log_probs.shape), new_scores

    report = check.beam_step(function)
    assert report.status == "mistake" and report.message.startswith(complaint), report


def test_places_among_the_best_of_each_row_are_no_tokens():
    def by_rows(log_probs, scores):
        new_scores, places = (
            (log_probs + scores[:, None]).topk(len(scores)).values.flatten().topk(len(scores))
        )
        return places // len(scores), places % len(scores), new_scores

    report = check.beam_step(by_rows)
    assert report.status == "mistake" and report.message.startswith("The tokens are places among each row's")


def test_a_greedy_step_of_each_row_is_no_step_of_a_beam():
    def greedily(log_probs, scores):
        best = (log_probs + scores[:, None]).max(-1)
        return torch.arange(len(scores)), best.indices, best.values

    report = check.beam_step(greedily)
    assert report.status == "mistake" and "that is greedy search W times" in report.message


def test_an_unknown_mistake_names_the_part_that_differs():
    def off(log_probs, scores, *, part):
        parts = list(_beam_step(log_probs, scores))
        parts[part] = parts[part] + 1
        return parts

    for part, name in enumerate(("parents", "tokens", "new_scores")):
        report = check.beam_step(lambda *args, part=part: off(*args, part=part))
        assert report.status == "wrong" and report.message.startswith(
            f"The tensor {name} differs first at [0]"
        )
        assert report.message.endswith(check.beam_step.look)
