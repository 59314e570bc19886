"""Training loops that show their progress, stop when asked and lose nothing."""

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from inspect import unwrap

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from seqlib.rnn import CharRNN, State


@dataclass
class History:
    """What a training run leaves behind, apart from the trained model.

    `losses` has one number a step, `gradient_norms` the global norm of the gradient before clipping.
    `stopped` says why it ended: "finished", "interrupted" (by the learner) or "diverged" (the loss or its
    gradient was no finite number; the model keeps the parameters it had before that step).
    """

    losses: list[float] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)
    stopped: str = "finished"

    def __repr__(self) -> str:
        return f"History({len(self.losses)} steps, {self.stopped})"


def minibatches(
    *tensors: Tensor, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, ...]]:
    """Endless batches of matching rows; every row once before any comes again.

    Rows that don't fill a last batch are left out of that round. Raises ValueError for tensors of
    different lengths or a batch larger than the data.
    """
    lengths = {len(tensor) for tensor in tensors}
    if len(lengths) != 1:
        raise ValueError(f"tensors must have the same length, got {sorted(lengths)}")
    rows = lengths.pop()
    if not 1 <= batch_size <= rows:
        raise ValueError(f"batch_size must lie in 1..{rows}, the number of rows, got {batch_size}")

    waiting: list[Tensor] = []  # the rows of each batch that is still to come in this round

    def batch() -> tuple[Tensor, ...]:
        if not waiting:
            order = torch.randperm(rows, generator=generator)
            waiting.extend(order[: rows - rows % batch_size].split(batch_size))
        chosen = waiting.pop(0)
        return tuple(tensor[chosen] for tensor in tensors)

    return iter(batch, None)  # no generator with `yield`: an interrupt inside of one would end it


def text_loss(model: CharRNN, tokens: Int[Tensor, " T"], *, rows: int, window: int) -> Callable[[], Tensor]:
    """A loss for `fit` that reads one long text, a `window` further at each call.

    The text is cut into `rows` that are read side by side. At a window's end the state is carried on and the
    graph is cut (truncated backpropagation through time; Williams and Peng, 1990). At the end of the rows it
    starts again. The loss is the mean cross-entropy of the next character. Raises ValueError for a text that
    is too short for one window in each row.
    """
    length = len(tokens) // rows if rows > 0 else 0
    if not 0 < window < length:
        raise ValueError(
            f"rows and window must be positive, and tokens at least rows * (window + 1), "
            f"got {rows}, {window} and {len(tokens)} tokens"
        )
    table = tokens[: rows * length].view(rows, length)
    start, state = 0, None

    def loss() -> Tensor:
        nonlocal start, state
        if start + window >= length:
            start, state = 0, None
        output = model(table[:, start : start + window], state)
        following = table[:, start + 1 : start + window + 1]
        start, state = start + window, _cut_off(output.last)
        return F.cross_entropy(output.logits.flatten(0, 1), following.flatten())

    return loss


def _cut_off(state: State) -> State:
    """The same state without its history."""
    return (state[0].detach(), state[1].detach()) if isinstance(state, tuple) else state.detach()


class _Adam(torch.optim.Adam):
    """PyTorch's Adam, without what it does for `torch.compile`.

    That would load the compiler at the first training, which takes longer than many a training here, and
    77 MB.
    """

    add_param_group = unwrap(torch.optim.Adam.add_param_group)
    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


def fit(
    model: nn.Module,
    loss: Callable[[], Tensor],
    *,
    steps: int,
    learning_rate: float,
    clip_norm: float | None = None,
    one_cycle: bool = False,
    label: str = "training",
    watch: Callable[[History], None] | None = None,
) -> History:
    """Train `model` with Adam (Kingma and Ba, 2015) for `steps` calls of `loss()`.

    `loss()` draws its own batch and returns a scalar. The gradient is clipped to the global norm
    `clip_norm` if one is given. With `one_cycle` the learning rate rises to `learning_rate` and falls
    again (Smith, 2018). `watch(history)` is called after every step, and once more at the end, also of an
    interrupted or diverged training: `seqlib.widgets.training.LiveLoss` draws the curve so.
    Interrupting the kernel ends the training early: the model keeps what it has learnt so far. Raises
    ValueError for steps or rates that make no sense, and for a loss that is not a scalar. Whatever
    `loss` or `watch` raises is passed on, and the model keeps what it has learnt until then.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be positive and finite, got {learning_rate}")
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"clip_norm must be positive or None, got {clip_norm}")
    # `fused` does all of a step at once: for small models a step of Adam then takes a quarter of the time.
    optimizer = _Adam(model.parameters(), lr=learning_rate, fused=True)
    schedule = None
    if one_cycle:
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    history = History()
    model.train()
    try:
        for _ in tqdm(range(steps), desc=label):
            value = loss()
            if value.ndim:
                raise ValueError(f"loss must return a scalar, got shape {tuple(value.shape)}")
            model.zero_grad()
            value.backward()
            norm = float(nn.utils.clip_grad_norm_(model.parameters(), clip_norm or math.inf))
            if not (math.isfinite(value.item()) and math.isfinite(norm)):
                history.stopped = "diverged"
                break
            optimizer.step()
            if schedule:
                schedule.step()
            history.losses.append(value.item())
            history.gradient_norms.append(norm)
            if watch:
                watch(history)
    except KeyboardInterrupt:
        history.stopped = "interrupted"
    finally:
        model.eval()
    if watch:
        with suppress(KeyboardInterrupt):  # nothing is left to interrupt, and the history would be lost
            watch(history)
    return history
