"""Exercises of the chapter on sequence to sequence, and on decoding.

Dimensions: B batch, T target time, V vocabulary, W beam width. Batch first.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from seqlib.checks.comparing import described
from seqlib.checks.exercise import Exercise, Function

# ------------------------------------------------------------------------------ teacher forcing


def _decoder_inputs(target: Tensor, sos: int) -> Tensor:
    """target (B, T) -> (B, T): the tokens that the decoder reads, the number `sos` first"""
    first = torch.full_like(target[:, :1], sos)  # (B, 1)
    return torch.cat([first, target[:, :-1]], 1)


def _target_inputs(g: Generator, *, B: int, T: int) -> tuple[Tensor, int]:
    """All numbers are different, so that each of the result's says where it comes from. None is 0 or 1."""
    target = torch.randperm(B * T, generator=g).reshape(B, T) + 2
    return target, B * T + 2 + int(torch.randint(B * T, (), generator=g))


def _sos(target: Tensor, sos: int) -> Tensor:
    return torch.full_like(target[:, :1], sos)


def _before_last(target: Tensor, sos: int) -> Tensor:
    return target[:, :-1]


def _after_first(target: Tensor, sos: int) -> Tensor:
    return target[:, 1:]


def _columns(*parts: Function, place: tuple[int, int] | int | None = None) -> Function:
    """Columns side by side, each made of target and sos; then sos is written to a place."""

    def function(target: Tensor, sos: int) -> Tensor:
        inputs = torch.cat([part(target, sos) for part in parts], 1)
        if place is not None:
            inputs[place] = sos
        return inputs

    return function


# What stands in the first column where it isn't sos
_FRONTS: Mapping[str, Function] = {
    "0": lambda target, sos: torch.zeros_like(target[:, :1]),
    "their last token, as torch.roll brings it there": lambda target, sos: target[:, -1:],
    "their first token, as it was": lambda target, sos: target[:, :1],
}


decoder_inputs = Exercise(
    reference=_decoder_inputs,
    inputs=(partial(_target_inputs, B=3, T=7), partial(_target_inputs, B=5, T=2)),
    letters="B T",
    mistakes={
        # the direction
        "It isn't shifted: at each step the decoder would read the very token that it is to write, and learn "
        "to copy. It reads the token before it.": lambda target, sos: target.clone(),
        "It is shifted the wrong way, with sos at the end: each step would read the token after the one that "
        "it is to write. The inputs are one step late: sos first, then target[:, :-1].": _columns(
            _after_first, _sos
        ),
        "It is shifted the wrong way, and the first token comes back at the end. The inputs are one step "
        "late: sos first, then target[:, :-1].": lambda target, sos: target.roll(-1, 1),
        "It is shifted the wrong way, and a step is missing: this is target[:, 1:]. The inputs are one step "
        "late: sos first, then target[:, :-1].": _columns(_after_first),
        # how many there are
        "sos is in front, but the last token isn't dropped, so there are T+1 inputs for T steps. After the "
        "last token nothing is to be written: target[:, :-1].": _columns(_sos, lambda target, sos: target),
        "The last token is dropped, but nothing is in front, so there are T-1 inputs. The first step reads "
        "sos.": _columns(_before_last),
        "sos takes the place of the first token, and nothing is shifted. It comes before the first token; "
        "what is dropped is the last.": _columns(_sos, _after_first),
        # what is in front
        "The last token comes round to the front, as torch.roll does it. In its place the first column has "
        "to be sos.": _columns(lambda target, sos: target[:, -1:], _before_last),
        "The first token stands there twice: the shift is right, but the first column was never set to "
        "sos.": _columns(lambda target, sos: target[:, :1], _before_last),
        "The first column is 0. The shift is right, and sos is missing.": _columns(
            lambda target, sos: _sos(target, 0), _before_last
        ),
        "The first column is 1, whatever sos is. Use the argument.": _columns(
            lambda target, sos: _sos(target, 1), _before_last
        ),
        **{
            f"Only the first row begins with sos, the others with {what}. [0, 0] is one number; the first "
            "column is [:, 0].": _columns(front, _before_last, place=(0, 0))
            for what, front in _FRONTS.items()
        },
        **{
            f"The whole first row is sos, and the others begin with {what}. [0] is the first row; the first "
            "column is [:, 0].": _columns(front, _before_last, place=0)
            for what, front in _FRONTS.items()
        },
        # the axis
        "It is shifted along axis 0: each sequence would read the one above it in the batch. Time is axis "
        "1.": lambda target, sos: torch.cat([torch.full_like(target[:1], sos), target[:-1]]),
        "It is shifted along axis 0, with sos in the first column. Time is axis 1: target[:, :-1].": _columns(
            _sos, lambda target, sos: target.roll(1, 0)[:, 1:]
        ),
        "Without an axis torch.roll makes one long row of all sequences, so that each begins with the last "
        "token of the one before it. Each row begins with sos.": lambda target, sos: target.roll(1),
        "The result is transposed, (T, B). torch.stack(columns, 1) puts time where it belongs.": (
            lambda target, sos: _decoder_inputs(target, sos).T
        ),
        # a loop
        "Everything is sos. If you shift in place, from left to right, each step hands on what was just "
        "written there. Read from target, and write to a new tensor.": lambda target, sos: torch.full_like(
            target, sos
        ),
        "From the second step on the first token is repeated. If you shift in place, from left to right, "
        "each step hands on what was just written there. Read from target, and write to a new tensor.": (
            lambda target, sos: _decoder_inputs(target[:, :1].expand_as(target), sos)
        ),
        "Only the first B steps are filled, and the others are 0: len(target) is the number of sequences, "
        "target.shape[1] that of steps.": lambda target, sos: _decoder_inputs(target, sos).where(
            torch.arange(target.shape[1]) < len(target), 0
        ),
        # what is returned
        "The numbers are right, but they have another dtype than target. torch.zeros and torch.ones make "
        "floats, for instance; torch.full_like and torch.zeros_like keep the dtype of target.": (
            lambda target, sos: _decoder_inputs(target, sos).float()
        ),
        # exceptions
        "sos is a number, and torch.cat joins tensors. Make a column of it, with a row for each sequence: "
        "torch.full_like(target[:, :1], sos).": lambda target, sos: torch.cat([sos, target[:, :-1]], 1),
        "torch.tensor(sos) has no axes, and torch.cat joins tensors along one. Make a column of sos: "
        "torch.full_like(target[:, :1], sos).": lambda target, sos: torch.cat(
            [torch.tensor(sos), target[:, :-1]], 1
        ),
        "sos has one axis and target two. Make a column (B, 1) of sos: torch.full_like(target[:, :1], "
        "sos).": lambda target, sos: torch.cat([torch.tensor([sos]), target[:, :-1]], 1),
        "sos has one axis and target two. Make a column (B, 1) of sos, torch.full_like(target[:, :1], sos), "
        "and join along axis 1.": lambda target, sos: torch.cat([torch.tensor([sos]), target[:, :-1]]),
        "There is one sos, and each of the B sequences needs one: torch.full_like(target[:, :1], sos).": (
            lambda target, sos: torch.cat([torch.tensor([[sos]]), target[:, :-1]], 1)
        ),
        "They are joined along axis 0, the batch. Time is axis 1: torch.cat([first, target[:, :-1]], 1).": (
            lambda target, sos: torch.cat([_sos(target, sos), target[:, :-1]])
        ),
        "target[:-1] drops the last sequence of the batch. The last token of each is dropped with "
        "target[:, :-1].": lambda target, sos: torch.cat([_sos(target, sos), target[:-1]], 1),
        "torch.stack puts tensors of the same shape on a new axis. torch.cat joins them along one that is "
        "there: torch.cat([first, target[:, :-1]], 1).": lambda target, sos: torch.stack(
            [_sos(target, sos), target[:, :-1]], 1
        ),
        "torch.cat takes its tensors in a list: torch.cat([first, target[:, :-1]], 1).": (
            lambda target, sos: _call(torch.cat, _sos(target, sos), target[:, :-1])
        ),
        "torch.full takes the shape as a tuple: torch.full((len(target), 1), sos).": (
            lambda target, sos: _call(torch.full, len(target), sos)
        ),
        "+ joins lists, and target is a tensor. torch.cat([first, target[:, :-1]], 1) joins tensors.": (
            lambda target, sos: [sos] + target[:, :-1]
        ),
    },
    hints=(
        "At step t the decoder is to write target[:, t]. Which token did it write just before? Which one at "
        "the first step?",
        "The last token is never read, since nothing comes after it: what is read are sos and "
        "target[:, :-1].",
        "Make a column of sos with torch.full_like(target[:, :1], sos), and put it in front with torch.cat "
        "along axis 1.",
    ),
    look="By hand: for the target [[5, 6, 7]] and sos 1 the inputs are [[1, 5, 6]].",
)


def _call(function: Function, *args: Any) -> Any:
    """For calls with arguments of a wrong type, which are meant."""
    return function(*args)


# ---------------------------------------------------------------------------------------- loss


def _masked_loss(logits: Tensor, target: Tensor, pad: int) -> Tensor:
    """logits (B, T, V), target (B, T) -> mean cross-entropy of all tokens that are not `pad`"""
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=pad)


def _padded_inputs(g: Generator, *, lengths: tuple[int, ...], V: int, pads: range) -> tuple[Any, ...]:
    """Rows of these lengths, in any order; the longest has no padding."""
    B, T = len(lengths), max(lengths)
    pad = pads[int(torch.randint(len(pads), (), generator=g))]
    target = torch.randint(V - 1, (B, T), generator=g)
    target = target + (target >= pad)  # any token but pad
    ends = torch.tensor(lengths)[torch.randperm(B, generator=g), None]  # (B, 1)
    logits = 2 * torch.randn(B, T, V, generator=g)
    # not a leaf, which can't be changed in place: that is to be found
    return logits.requires_grad_().clone(), target.masked_fill(torch.arange(T) >= ends, pad), pad


def _losses(logits: Tensor, target: Tensor) -> Tensor:
    return -logits.log_softmax(-1).gather(-1, target[..., None])[..., 0]  # (B, T)


def _of_losses(rule: Function) -> Function:
    """Another rule for the loss of each step (B, T), and for which steps are no padding: 1 or 0, (B, T)"""
    return lambda logits, target, pad: rule(_losses(logits, target), (target != pad).float())


def _mean_over(rule: Function) -> Function:
    """The mean over other steps than those that are no padding: rule(present) says which."""

    def mean(losses: Tensor, present: Tensor) -> Tensor:
        chosen = rule(present)
        return (losses * chosen).sum() / chosen.sum()

    return _of_losses(mean)


def _for(rule: Function) -> Function:
    """The right loss, for other arguments."""
    return lambda *args: _masked_loss(*rule(*args))


def _hidden(logits: Tensor, target: Tensor, pad: int, *, value: float) -> Tensor:
    """Logits with `value` where there is padding."""
    return logits.masked_fill((target == pad)[..., None], value)


def _cross_entropy(rule: Function) -> Function:
    """F.cross_entropy of what a rule makes of the arguments, most of which doesn't fit."""
    return lambda *args: F.cross_entropy(*rule(*args))


def _flat(rule: Function) -> Function:
    """What a rule makes of logits (B * T, V), targets (B * T) and whether they are no padding (B * T)."""
    return lambda logits, target, pad: rule(logits.flatten(0, 1), target.flatten(), (target != pad).flatten())


def _loss_and_gradient(loss: Any, args: tuple[Any, ...]) -> Any:
    """The loss and, where it is right, what flows back from it to the logits."""
    if not isinstance(loss, Tensor):
        return type(loss)  # that of item(), whatever the number
    seen = {"the result": loss}
    if (
        loss.shape == ()
        and loss.requires_grad
        and torch.isclose(loss.float(), _masked_loss(*args), 1e-5, 1e-5)
    ):
        [seen["the gradient that flows back to the logits"]] = torch.autograd.grad(
            loss, args[0], materialize_grads=True
        )
    return seen


masked_loss = Exercise(
    reference=_masked_loss,
    inputs=(
        partial(_padded_inputs, lengths=(5, 3, 2), V=7, pads=range(1)),
        partial(_padded_inputs, lengths=(7, 4), V=5, pads=range(1, 5)),
    ),
    gradient=True,
    observe=_loss_and_gradient,
    mistakes={
        # what is counted
        "Padding counts like any other token, so the model learns to write padding. ignore_index=pad leaves "
        "it out; or take reduction='none', and choose with a mask before you take the mean.": _of_losses(
            lambda losses, present: losses.mean()
        ),
        "The losses of padding are 0, but they count: it is divided by B * T. Divide by the number of tokens "
        "that are no padding.": _of_losses(lambda losses, present: (losses * present).mean()),
        "The losses of padding are in the sum, which is divided by the number of tokens without padding. "
        "Leave them out of both.": _of_losses(lambda losses, present: losses.sum() / present.sum()),
        "The mean is taken first, padding and all, and multiplied with a mask after that. Take "
        "reduction='none', so that there is a loss for each token to choose from.": _of_losses(
            lambda losses, present: (losses.mean() * present).mean()
        ),
        "The mask is the wrong way round: it is the mean over the padding. target != pad are the tokens that "
        "count.": _mean_over(lambda present: 1 - present),
        "Token 0 is taken for padding, whatever pad is. Use the argument.": _for(
            lambda logits, target, pad: (logits, target, 0)
        ),
        "The last token of each sequence is left out, since the mask is one step early. It is the end token, "
        "and has to be learnt as well.": _mean_over(
            lambda present: torch.cat([present[:, 1:], 0 * present[:, :1]], 1)
        ),
        "The first step is left out. Unlike the decoder's inputs, logits and target begin with the first "
        "token that is written, so all T steps count.": _mean_over(
            lambda present: present * (torch.arange(present.shape[1]) > 0)
        ),
        # which mean
        "It is the mean over the sequences of the mean of each, so that a token of a short sequence weighs "
        "more. All tokens count the same: one sum, divided by their number.": _of_losses(
            lambda losses, present: ((losses * present).sum(1) / present.sum(1)).mean()
        ),
        "It is the sum; the mean is asked for.": _of_losses(lambda losses, present: (losses * present).sum()),
        "It is divided by B, the number of sequences. Divide by the number of tokens that are no padding.": (
            _of_losses(lambda losses, present: (losses * present).sum() / len(losses))
        ),
        "The mean is divided by the number of tokens once more. mean() has done that already.": _of_losses(
            lambda losses, present: (losses * present).sum() / present.sum() ** 2
        ),
        "It is divided by V as well: of the V numbers of a token one is its loss, and the others are 0. Add "
        "up over the last axis before you take the mean.": lambda logits, target, pad: (
            _masked_loss(logits, target, pad) / logits.shape[-1]
        ),
        "It is one loss for each step, all in one row, with 0 for padding. Their sum is asked for, divided "
        "by the number of tokens that are no padding.": _of_losses(
            lambda losses, present: (losses * present).flatten()
        ),
        "It is one loss for each token. Their mean is asked for.": _of_losses(
            lambda losses, present: losses[present > 0]
        ),
        "It is NaN, because 0 * inf is: the logits of padding became -inf, or its probabilities 0, before "
        "the logarithm was taken. Leave the logits alone, and choose among the losses.": (
            lambda logits, target, pad: _losses(_hidden(logits, target, pad, value=-torch.inf), target).mean()
        ),
        "The logits of padding are made equal (0, or -1e9), and counted: equal logits are a prediction too, "
        "with the loss log V. Leave the logits alone, and choose among the losses.": (
            lambda logits, target, pad: _losses(_hidden(logits, target, pad, value=0.0), target).mean()
        ),
        # the loss itself
        "The softmax is taken twice: cross_entropy wants logits and makes its own softmax.": _for(
            lambda logits, target, pad: (logits.softmax(-1), target, pad)
        ),
        "The softmax runs over axis 1, which is time. The tokens are on the last axis: softmax(-1).": (
            lambda logits, target, pad: (
                -logits.log_softmax(1).gather(-1, target[..., None])[..., 0][target != pad].mean()
            )
        ),
        "The sign is missing: the loss is minus the mean log-probability.": _of_losses(
            lambda losses, present: -(losses * present).sum() / present.sum()
        ),
        "The logarithm is missing: it is minus the mean probability. If you use nll_loss: in spite of its "
        "name it takes no logarithm, and wants log_softmax(-1).": _of_losses(
            lambda losses, present: -((-losses).exp() * present).sum() / present.sum()
        ),
        "The logits themselves are averaged; they have to become log-probabilities first. nll_loss doesn't "
        "do that, cross_entropy does.": lambda logits, target, pad: F.nll_loss(
            logits.flatten(0, 1), target.flatten(), ignore_index=pad
        ),
        # shifted once more
        "The target is shifted: logits[:, t] is compared with target[:, t + 1]. The decoder's inputs were "
        "shifted already, so logits[:, t] is for target[:, t].": _for(
            lambda logits, target, pad: (logits[:, :-1], target[:, 1:], pad)
        ),
        "The logits are shifted: logits[:, t + 1] is compared with target[:, t]. The decoder's inputs were "
        "shifted already, so logits[:, t] is for target[:, t].": _for(
            lambda logits, target, pad: (logits[:, 1:], target[:, :-1], pad)
        ),
        # how the axes are put together
        "reshape and view don't swap axes: they cut the same numbers anew, so that scores of different steps "
        "are mixed. To get (B, V, T) write logits.transpose(1, 2).": lambda logits, target, pad: (
            F.cross_entropy(logits.reshape(len(logits), -1, target.shape[1]), target, ignore_index=pad)
        ),
        # what is returned
        "The number is right, but it has a graph of its own, which doesn't lead to the logits, so nothing "
        "could be learnt. detach(), item() and torch.tensor(...) cut the graph, and requires_grad doesn't "
        "mend it: do without all of them.": lambda *args: _masked_loss(*args).detach().requires_grad_(),
        "item() makes a Python number, which has no gradient. Return the tensor.": lambda *args: _masked_loss(
            *args
        ).item(),
        # exceptions
        "cross_entropy takes axis 1 for that of the tokens, and here it is time. Flatten batch and time into "
        "one axis first, in the logits and in the target.": _cross_entropy(
            lambda logits, target, pad: (logits, target)
        ),
        "The logits are flattened and the target isn't: flatten both, so that each row of logits has its "
        "target.": _cross_entropy(lambda logits, target, pad: (logits.flatten(0, 1), target)),
        "The target is flattened and the logits aren't: flatten both, so that each row of logits has its "
        "target.": _cross_entropy(lambda logits, target, pad: (logits, target.flatten())),
        "Padding is left out of the logits, and not of the target. Choose from both with the same mask.": (
            _flat(lambda logits, target, present: F.cross_entropy(logits[present], target))
        ),
        "Padding is left out of the target, and not of the logits. Choose from both with the same mask.": (
            _flat(lambda logits, target, present: F.cross_entropy(logits, target[present]))
        ),
        "The logits are flattened and the mask isn't. A mask has the axes of what it chooses from.": (
            lambda logits, target, pad: logits.flatten(0, 1)[target != pad]
        ),
        "The losses are flattened and the mask isn't. Flatten it as well: (target != pad).flatten().": (
            lambda logits, target, pad: target.flatten()[target != pad]
        ),
        "A mask (B, T) doesn't multiply logits (B, T, V), and needn't: it is the losses (B, T) that are "
        "chosen from.": lambda logits, target, pad: logits * (target != pad),
        "gather wants an index with as many axes as the logits: target[..., None], and [..., 0] of what "
        "comes out.": lambda logits, target, pad: logits.gather(-1, target),
        "The third argument of cross_entropy is something else: pad has to be named, ignore_index=pad.": (
            lambda logits, target, pad: _call(F.cross_entropy, logits.flatten(0, 1), target.flatten(), pad)
        ),
        "cross_entropy takes the logits first, and the target second.": _cross_entropy(
            lambda logits, target, pad: (target, logits)
        ),
        "if, not, and, or want one truth value, and target != pad has one for each token. Choose with it: "
        "losses[target != pad].": lambda logits, target, pad: bool(target != pad),
        "torch takes no mean of True and False. Count the tokens with (target != pad).sum().": (
            lambda logits, target, pad: (target != pad).mean()
        ),
    },
    hints=(
        "Every step has a loss, and so does padding. Which of these losses say something about the model?",
        "What is the mean divided by? By the number of the tokens that are no padding.",
        "torch.nn.functional.cross_entropy takes logits (N, V) and targets (N), where N is batch and time in "
        "one, and leaves out the targets that equal ignore_index.",
    ),
    look="By hand: take log_softmax(-1), from it the number at each target (B, T), of these only those where "
    "target != pad, and minus the mean of what is left.",
)


# ------------------------------------------------------------------------------------- decoding


def _greedy_decode(
    step: Callable[[int, Any], tuple[Tensor, Any]], state: Any, sos: int, eos: int, max_length: int
) -> list[int]:
    """The list of tokens that are written, without sos and eos; at most max_length of them.

    step(token, state) -> (logits (V,), new state), with token an int.
    """
    token, tokens = sos, []
    for _ in range(max_length):
        logits, state = step(token, state)
        token = int(logits.argmax())
        if token == eos:
            break
        tokens.append(token)
    return tokens


MOST_CALLS = 100  # of a step function; far more than any max_length here


def _model_inputs(g: Generator, *, shortest: int, longest: int, max_length: int) -> tuple[Any, ...]:
    """A model that writes `shortest` to `longest` tokens before eos, unless max_length ends it.

    Its state is a one-hot vector (S). What it writes next, and its next state, depend on the state and the
    token, as two random tables say. Along the answer they are set, and no state comes twice. After eos it
    would write sos.
    """
    V, S = 7, 19
    sos, eos, *words = torch.randperm(V, generator=g).tolist()
    length = int(torch.randint(shortest, longest + 1, (), generator=g))
    answer = [words[n] for n in torch.randint(len(words), (length,), generator=g).tolist()]
    read, written = [sos, *answer, eos], [*answer, eos, sos]
    states = torch.randperm(S, generator=g)[: length + 2].tolist()

    likely = torch.randn(S, V, V, generator=g)  # of the state, the token that is read, the next token
    likely[states, read, written] = likely[states, read].amax(-1) + 0.5
    following = torch.randint(S, (S, V), generator=g)  # of the state and the token that is read
    following[states[:-1], read[:-1]] = torch.tensor(states[1:])
    table = torch.cat([likely, torch.eye(S)[following]], -1)  # (S, V, V + S)
    calls = iter(range(MOST_CALLS))
    # no def, which the tests' runtime checks would wrap anew for every model
    step = lambda token, state: _looked_up(table, calls, token, state)  # noqa: E731
    return step, torch.eye(S)[states[0]], sos, eos, max_length


def _looked_up(table: Tensor, calls: Iterator[int], token: Any, state: Any) -> tuple[Tensor, Tensor]:
    """What follows state and token: the logits (V) and the new state (S), from a table (S, V, V + S)"""
    try:
        number = operator.index(token)
    except TypeError:
        raise TypeError(f"token must be an int, got {described(token)}") from None
    if next(calls, None) is None:
        raise RuntimeError(f"step was called more than {MOST_CALLS} times")
    S, V, _ = table.shape
    row = (state @ table.view(S, -1)).view(V, -1)[number]
    return row[:V], row[V:]


def _decode_with(
    *,
    call: Function = lambda step, token, state: step(token, state),
    read: Function = lambda written, sos: written[-1] if written else sos,
    choose: Function = lambda logits: int(logits.argmax()),
    keep: Function = lambda old, new: new,
    rounds: Function = lambda max_length: max_length,
    stops: bool = True,
    result: Function = lambda tokens, written, sos, eos, max_length: tokens,
) -> Function:
    """Greedy decoding with one of its rules changed. `written` has eos among its tokens, `tokens` hasn't."""

    def function(step: Function, state: Any, sos: int, eos: int, max_length: int) -> Any:
        written: list[Any] = []
        for _ in range(rounds(max_length)):
            logits, new = call(step, read(written, sos), state)
            state = keep(state, new)
            written.append(choose(logits))
            if stops and written[-1] == eos:
                break
        return result([token for token in written if token != eos], written, sos, eos, max_length)

    return function


_ENDLESS = 10**6

greedy_decode = Exercise(
    reference=_greedy_decode,
    inputs=(
        partial(_model_inputs, shortest=6, longest=10, max_length=13),
        partial(_model_inputs, shortest=17, longest=17, max_length=5),  # cut
        partial(_model_inputs, shortest=0, longest=0, max_length=11),  # eos at once
    ),
    mistakes={
        # what raises, but maybe not in the first case, where it can look like what follows
        "What step returns has changed places: the logits come first, and then the new state.": _decode_with(
            call=lambda step, token, state: step(token, state)[::-1]
        ),
        "logits has one axis, (V), since it is one sequence: argmax() or argmax(-1).": _decode_with(
            choose=lambda logits: logits.argmax(1)
        ),
        "step returns two things, the logits and the new state: logits, state = step(token, state).": (
            lambda step, state, sos, eos, n: step(sos, state).argmax()
        ),
        "token and state have changed places: step(token, state).": _decode_with(
            call=lambda step, token, state: step(state, token)
        ),
        "step needs the state as well: step(token, state).": _decode_with(
            call=lambda step, token, state: step(token)
        ),
        "step is given the whole list. It reads the newest token only; the state remembers those before.": (
            _decode_with(read=lambda written, sos: [sos, *written])
        ),
        "The logits are compared with eos, and not a token. argmax makes one of them.": _decode_with(
            choose=lambda logits: logits
        ),
        "The number of the step is read. The model reads a token: sos first, and then what it has just "
        "written.": _decode_with(read=lambda written, sos: len(written)),
        "list.index finds no eos where max_length has ended the sequence before. Look for eos in the loop, "
        "before you append the token.": _decode_with(
            stops=False, result=lambda tokens, written, sos, eos, n: written[: written.index(eos)]
        ),
        # what is returned
        "eos is among the tokens. It says that the sequence is over, and is no part of it: look whether it "
        "is eos before you append the token.": _decode_with(result=lambda tokens, written, *_: written),
        "sos is among the tokens. It is read to get started, and was not written: begin with an empty "
        "list.": _decode_with(result=lambda tokens, written, sos, *_: [sos, *tokens]),
        "sos and eos are among the tokens. Only what is written between them is asked for.": _decode_with(
            result=lambda tokens, written, sos, *_: [sos, *written]
        ),
        "sos is among the tokens, and the last one is missing where max_length ends them. Begin with an "
        "empty list, so that sos isn't counted, and append the token that is written, not the one that is "
        "read.": _decode_with(result=lambda tokens, written, sos, eos, n: [sos, *tokens][:n]),
        "sos and eos are among the tokens, and the last one is missing where max_length ends them. Begin "
        "with an empty list, so that sos isn't counted, and look for eos before you append the token.": (
            _decode_with(result=lambda tokens, written, sos, eos, n: [sos, *written][:n])
        ),
        "The last token is missing. eos isn't in the list, so nothing has to be cut off.": _decode_with(
            result=lambda tokens, *_: tokens[:-1]
        ),
        "The first token is missing. sos isn't in the list, so nothing has to be cut off.": _decode_with(
            result=lambda tokens, *_: tokens[1:]
        ),
        "The list is filled up with 0 to max_length. Begin with an empty list, and append each token.": (
            _decode_with(result=lambda tokens, written, sos, eos, n: tokens + [0] * (n - len(tokens)))
        ),
        "eos and zeros follow the tokens, up to max_length. Begin with an empty list, look for eos, and only "
        "then append the token.": _decode_with(
            result=lambda tokens, written, sos, eos, n: written + [0] * (n - len(written))
        ),
        "It is over after one step. Is the return inside the loop?": _decode_with(rounds=lambda n: 1),
        "The tokens come back as a tensor. A Python list is asked for: tolist().": _decode_with(
            result=lambda tokens, *_: torch.tensor(tokens)
        ),
        # when it ends
        "The last token is missing where max_length ends the sequence. Either there is a round too few "
        "(range(n) has n, and sos is no token that is written), or [:-1] cuts off a token as if it were "
        "eos.": _decode_with(rounds=lambda n: n - 1),
        "Two tokens are missing where max_length ends the sequence: sos is counted among the max_length "
        "tokens, and [1:-1] cuts off the last token as if it were eos. Begin with an empty list, and leave "
        "eos out of it.": _decode_with(
            rounds=lambda n: n - 1, result=lambda tokens, written, *_: written[:-1]
        ),
        "It ends one token too late: max_length is the largest number of tokens. If there is a while loop, "
        "its condition is < and not <=.": _decode_with(rounds=lambda n: n + 1),
        "eos doesn't end it: the list goes on after eos, up to max_length.": _decode_with(
            stops=False, result=lambda tokens, written, *_: written
        ),
        "eos is left out, but doesn't end it: tokens that come after eos are in the list. break ends a loop, "
        "continue goes on with the next round.": _decode_with(stops=False),
        "sos and eos are left out, but eos doesn't end it: tokens that come after eos are in the list. The "
        "loop needs a break.": _decode_with(
            stops=False, result=lambda tokens, written, sos, *_: [token for token in tokens if token != sos]
        ),
        "max_length has no effect: it goes on until eos comes, which may be never.": _decode_with(
            rounds=lambda n: _ENDLESS
        ),
        "Nothing ends it. It is over when the newest token is eos, and after max_length tokens at the "
        "latest. Does the token that the loop looks at change?": _decode_with(
            rounds=lambda n: _ENDLESS, stops=False
        ),
        # what is read, and carried
        "sos is read at every step. After the first step the model reads what it has just written.": (
            _decode_with(read=lambda written, sos: sos)
        ),
        "The state isn't carried: every step begins from the first one again. step returns the state to go "
        "on from: logits, state = step(token, state).": _decode_with(keep=lambda old, new: old),
        "Every step is the first one again: it reads sos, and begins from the initial state. Hand on the "
        "newest token and the newest state.": _decode_with(
            read=lambda written, sos: sos, keep=lambda old, new: old
        ),
        "1 is taken for sos and 2 for eos, whatever they are. Use the arguments.": (
            lambda step, state, sos, eos, n: _greedy_decode(step, state, 1, 2, n)
        ),
        # which token
        "The least likely token is chosen: argmin. The likeliest one has the largest logit.": _decode_with(
            choose=lambda logits: int(logits.argmin())
        ),
        "The largest logit itself is taken for a token. Which token has it? argmax says that.": _decode_with(
            choose=lambda logits: int(logits.max())
        ),
        "max gives the largest logit, a float. Which token has it? argmax says that.": _decode_with(
            choose=lambda logits: logits.max().item()
        ),
        "max(-1) gives a pair, the largest logit and where it is. argmax gives only where it is.": (
            _decode_with(choose=lambda logits: logits.max(-1))
        ),
    },
    hints=(
        "It is a loop. Two things go from one round to the next, and step wants both of them.",
        "Before the loop the newest token is sos. In each round call step, and take the token with the "
        "largest logit: int(logits.argmax()).",
        "for _ in range(max_length) sees to the length. If the token is eos, break; else append it to the "
        "list and go on with it.",
    ),
    look="Print token in each round: the first one that is read is sos, and from then on what argmax found "
    "the round before. The likeliest token is taken every time, without chance.",
)


# ---------------------------------------------------------------------------------- beam search


def _beam_step(log_probs: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log_probs (W, V) of each row's next token, scores (W) so far -> parents (W), tokens (W), new scores (W)

    The W likeliest of all continuations, the likeliest first: which row each continues, and by which token.
    """
    W, V = log_probs.shape
    total = scores[:, None] + log_probs  # (W, V): of every continuation
    new_scores, places = total.flatten().topk(W)  # over all rows at once
    return places // V, places % V, new_scores


def _beam_inputs(g: Generator, *, W: int, V: int) -> tuple[Tensor, Tensor]:
    """Drawn until some of the best continuations have the same row and some the same token, some rows have
    none, and the best are in another order than the rows.

    All rows like similar tokens, as they do in a beam.
    """
    while True:
        logits = torch.randn(V, generator=g) + torch.randn(W, V, generator=g)
        log_probs, scores = logits.log_softmax(-1), torch.randn(W, generator=g) - 4
        parents, tokens = (part.tolist() for part in _beam_step(log_probs, scores)[:2])
        if 1 < len(set(parents)) < W and len(set(tokens)) < W and parents != sorted(parents):
            return log_probs, scores


def _beam_parts(result: Any, args: tuple[Any, ...]) -> Any:
    """Names for the three, the scores first: where they are wrong, so is what is kept."""
    if not isinstance(result, (tuple, list)) or len(result) != 3:
        return result
    names = "the tensor new_scores", "the tensor parents", "the tensor tokens"
    return dict(zip(names, (result[2], result[0], result[1]), strict=True))


def _best(total: Tensor, W: int) -> Any:
    return total.flatten().topk(W)


def _places(place: Tensor, W: int, V: int) -> tuple[Tensor, Tensor]:
    return place // V, place % V


def _beam_with(
    *,
    total: Function = lambda log_probs, scores: log_probs + scores[:, None],
    best: Function = _best,
    places: Function = _places,
    result: Function = lambda parents, tokens, new: (parents, tokens, new),
    new: Function = lambda new, parents, tokens, log_probs, scores: new,
) -> Function:
    """A step with one of its rules changed.

    total   what all W * V continuations are ranked by
    best    which of them are kept: their numbers, and their places in one row of all
    places  from a place to a row and a token
    new     the new scores
    result  how the three are returned
    """

    def function(log_probs: Tensor, scores: Tensor) -> Any:
        W, V = log_probs.shape
        values, place = best(total(log_probs, scores), W)
        parents, tokens = places(place, W, V)
        return result(parents, tokens, new(values, parents, tokens, log_probs, scores))

    return function


def _of_each_row(total: Tensor, W: int) -> tuple[Tensor, Tensor]:
    """The best continuation of each row, and its place among all."""
    values, tokens = total.max(1)
    return values, torch.arange(W) * total.shape[1] + tokens


def _as_in_the_table(total: Tensor, W: int) -> tuple[Tensor, Tensor]:
    """The best continuations, in the order of their places."""
    values, place = _best(total, W)
    order = place.argsort()
    return values[order], place[order]


def _of_the_rows_best(log_probs: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The W best of each row, and of these the W best, which say where they are among these."""
    W = len(scores)
    values, place = (log_probs + scores[:, None]).topk(W).values.flatten().topk(W)
    return place // W, place % W, values


beam_step = Exercise(
    reference=_beam_step,
    inputs=partial(_beam_inputs, W=5, V=11),
    observe=_beam_parts,
    mistakes={
        # which continuations
        "Every row keeps its own best token: that is greedy search W times. The W best of all W * V "
        "continuations are kept, and a row may have several of them or none.": _beam_with(best=_of_each_row),
        "The worst continuations are kept. The likeliest have the largest log-probability, the one closest "
        "to 0.": _beam_with(best=lambda total, W: total.flatten().topk(W, largest=False)),
        "Only the best continuation is kept. The beam has W rows, and so it has W after the step.": (
            _beam_with(best=lambda total, W: total.flatten().topk(1))
        ),
        # the order
        "They are in the order of the table. The best comes first.": _beam_with(best=_as_in_the_table),
        "The best comes last. It should come first: topk sorts like that, and sort with descending=True.": (
            _beam_with(result=lambda *parts: tuple(part.flip(0) for part in parts))
        ),
        # the scores
        "The old scores have no effect. A continuation's log-probability is its row's score plus its token's "
        "log-probability: scores[:, None] + log_probs. (A log_softmax of each row of sums cancels them.)": (
            _beam_with(total=lambda log_probs, scores: log_probs)
        ),
        "The continuations are ranked by their newest token alone, and the old scores are added after that. "
        "Add them first, and rank the sums.": _beam_with(
            total=lambda log_probs, scores: log_probs,
            new=lambda new, parents, tokens, log_probs, scores: new + scores[parents],
        ),
        "The right continuations are kept, but the new scores lack the old ones: they are the "
        "log-probabilities of the newest tokens alone.": _beam_with(
            new=lambda new, parents, tokens, log_probs, scores: new - scores[parents]
        ),
        "The right continuations are kept, but their scores are those of their parents. The newest token's "
        "log-probability has to be added.": _beam_with(
            new=lambda new, parents, tokens, log_probs, scores: scores[parents]
        ),
        "The right continuations are kept, but the scores of the rows in their old order are added. Number k "
        "of the new ones continues row parents[k]: scores[parents].": _beam_with(
            new=lambda new, parents, tokens, log_probs, scores: new - scores[parents] + scores
        ),
        "The old scores are added twice, before topk and after it.": _beam_with(
            new=lambda new, parents, tokens, log_probs, scores: new + scores[parents]
        ),
        "The old scores are added twice, before topk and after it, the second time in their old order.": (
            _beam_with(new=lambda new, parents, tokens, log_probs, scores: new + scores)
        ),
        "The scores are multiplied. A product of probabilities is a sum of logarithms: scores[:, None] + "
        "log_probs.": _beam_with(total=lambda log_probs, scores: log_probs * scores[:, None]),
        "The new scores are probabilities. Their logarithms are asked for, without exp: a product of many "
        "probabilities is too small for a float.": _beam_with(
            new=lambda new, parents, tokens, log_probs, scores: new.exp()
        ),
        # from a place in the flat table to its row and column
        "The tokens are places among all W * V continuations. The token is the place modulo V: places % V.": (
            _beam_with(places=lambda place, W, V: (place // V, place))
        ),
        "Parents and tokens are places among all W * V continuations. In a table with V columns the row is "
        "places // V, and the column places % V.": _beam_with(places=lambda place, W, V: (place, place)),
        "Parents and tokens have changed places: the row of the table, places // V, is the parent, and the "
        "column, places % V, the token.": _beam_with(places=lambda place, W, V: (place % V, place // V)),
        "The parents are places // W. The table has V columns, so a row has V places: places // V.": (
            _beam_with(places=lambda place, W, V: (place // W, place % V))
        ),
        "The tokens are places % W. The table has V columns, so its column is places % V.": _beam_with(
            places=lambda place, W, V: (place // V, place % W)
        ),
        "The tokens are places among each row's W best. Look the tokens up there: topk of the rows gave "
        "(values, tokens), so take tokens.flatten()[places].": _of_the_rows_best,
        "The place is read as if the table were laid out column by column. flatten goes row by row: places "
        "// V and places % V.": _beam_with(places=lambda place, W, V: (place % W, place // W)),
        "The table was transposed, (V, W), before it was flattened, and its places are read as if it were "
        "not. Leave it as it is, with a row for each row of the beam.": _beam_with(
            best=lambda total, W: total.T.flatten().topk(W)
        ),
        "The parents are places / V, which is no whole number. // rounds down.": _beam_with(
            places=lambda place, W, V: (place / V, place % V)
        ),
        "The parents are 0, 1, 2 and so on, as if each row went on with one token. A row may have several "
        "continuations or none: places // V.": _beam_with(
            result=lambda parents, tokens, new: (torch.arange(len(parents)), tokens, new)
        ),
        # what is returned
        "Without flatten, topk takes the W best of each row. Flatten the table first, so that all rows "
        "compete, and a place says row and token.": _beam_with(best=lambda total, W: total.topk(W)),
        "The parents are missing. All three are asked for: return parents, tokens, new_scores.": _beam_with(
            result=lambda parents, tokens, new: (tokens, new)
        ),
        "The new scores are missing. All three are asked for: return parents, tokens, new_scores.": (
            _beam_with(result=lambda parents, tokens, new: (parents, tokens))
        ),
        "These are the scores and the places as topk returns them. Take the places apart, into parents and "
        "tokens, and return parents, tokens, new_scores.": lambda log_probs, scores: tuple(
            _best(log_probs + scores[:, None], len(scores))
        ),
        "The new scores come first, as in topk. The order is parents, tokens, new_scores.": _beam_with(
            result=lambda parents, tokens, new: (new, parents, tokens)
        ),
        "torch.stack makes one tensor of the three, of floats. Return them as they are: return parents, "
        "tokens, new_scores.": _beam_with(
            result=lambda parents, tokens, new: torch.stack([parents, tokens, new])
        ),
        "There is a list with three numbers for each continuation. Three tensors are asked for: return "
        "parents, tokens, new_scores.": _beam_with(
            result=lambda *parts: list(zip(*(part.tolist() for part in parts), strict=True))
        ),
        "The numbers are right, but parents and tokens aren't int64, as torch's indices are. places // V "
        "and places % V are.": _beam_with(
            result=lambda parents, tokens, new: (parents.float(), tokens.float(), new)
        ),
        # exceptions
        "scores has a number for each row, and + counts axes from the last one. Make a column of it: "
        "log_probs + scores[:, None].": lambda log_probs, scores: log_probs + scores,
        "scores has a number for each row, and + counts axes from the last one. Make a column of it: "
        "scores[:, None] + log_probs.": lambda log_probs, scores: scores + log_probs,
        "divmod takes no tensors. places // V and places % V are its two parts.": lambda log_probs, scores: (
            divmod(torch.arange(len(scores)), log_probs.shape[1])
        ),
    },
    hints=(
        "Each row can go on in V ways, so there are W * V continuations. What is the log-probability of "
        "each, if probabilities are multiplied?",
        "scores[:, None] + log_probs is a table (W, V). flatten() makes one row of it, and topk(W) finds the "
        "W largest numbers and their places in that row, the largest first.",
        "Place 0 to V-1 is row 0 of the table, V to 2V-1 is row 1. So the parent is places // V, and the "
        "token places % V.",
    ),
    look="Print the table scores[:, None] + log_probs, and find its W largest numbers by eye: a number's row "
    "is the parent, its column the token, and the number itself the new score.",
)
