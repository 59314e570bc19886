"""What the exercises on attention and on the Transformer share.

They compare a pair of tensors and the gradients that flow back through it, and know the mistakes that can be
made with masks and with what is returned.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from seqlib.checks.exercise import Function


def normal(g: Generator, *shape: int) -> Tensor:
    """Random numbers with a gradient. Not a leaf, which can't be changed in place: that is to be found."""
    return torch.randn(*shape, generator=g).requires_grad_().clone()


def observed(reference: Function, names: tuple[str, ...], result: Any, args: tuple[Any, ...]) -> Any:
    """What comes back by name, the last first: where the weights are wrong, so is the context.

    Where the numbers are right, also the gradients by all arguments that have one.
    """
    parts, truths = (
        tuple(one) if isinstance(one, (tuple, list)) else (one,) for one in (result, reference(*args))
    )
    if len(parts) != len(names) or not all(isinstance(part, Tensor) for part in parts):
        return result
    seen = dict(zip(reversed(names), reversed(parts), strict=True))
    for part, truth in zip(parts, truths, strict=True):
        if part.shape != truth.shape or not torch.allclose(part.to(truth.dtype), truth, 1e-5, 1e-5):
            return seen
    arguments = dict(zip(inspect.signature(reference).parameters, args, strict=True))
    return seen | {
        f"the gradient that flows back to {name}": gradient
        for name, gradient in _gradients(parts[0], arguments).items()
    }


def _gradients(output: Tensor, args: Mapping[str, Any]) -> dict[str, Tensor | str]:
    """Those of the output's sum of squares; a word where none can be computed."""
    args = {name: arg for name, arg in args.items() if isinstance(arg, Tensor) and arg.requires_grad}
    if not output.requires_grad:
        return {name: torch.zeros_like(arg) for name, arg in args.items()}
    try:
        found = torch.autograd.grad(output.square().sum(), tuple(args.values()), materialize_grads=True)
    except RuntimeError as error:
        if "modified by an inplace operation" not in str(error):
            raise
        return dict.fromkeys(args, "overwritten")
    return dict(zip(args, found, strict=True))


PAIR = ("the context", "the tensor of weights")


# Rules for (context, weights) where both are asked for.
RETURNED: Mapping[str, Function] = {
    "The two come back in the wrong order: the context first, then the weights.": lambda c, w: (w, c),
    "Only the context comes back. Both are asked for: return context, weights.": lambda c, w: c,
    "Only the weights come back. They are still to be used on the values: return context, weights.": (
        lambda c, w: w
    ),
    "The numbers are right, but they are cut off from the graph, so that nothing could be learnt through "
    "them. detach, no_grad, item() and torch.tensor(...) cut it.": lambda c, w: (c.detach(), w.detach()),
}


OVERWRITTEN = (
    "The numbers are right, but no gradient can flow back: `weights[...] = 0`, `*=`, `/=` and masked_fill_ "
    "overwrite what softmax or exp gave, and the gradient needs that. Make a new tensor: masked_fill, "
    "without _, or weights = weights * ..."
)


# How to miss ~mask. All of these raise.
NO_OPPOSITE: Mapping[str, Function] = {
    "-mask isn't defined for True and False. The opposite of a mask is ~mask.": lambda scores, mask: -mask,
    "1 - mask isn't defined for True and False. The opposite of a mask is ~mask.": (
        lambda scores, mask: 1 - mask
    ),
    "if, not, and, or want one truth value, and here is a whole tensor of them. The opposite of a mask is "
    "~mask, and masked_fill needs no if.": lambda scores, mask: scores.masked_fill(not mask, -torch.inf),
}
