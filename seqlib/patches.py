"""The Vision Transformer: a picture as a sequence of patches, and a CNN of equal size beside it.

Dimensions: B batch, S tokens (the class token, then patches), P pixels of a patch, D model size, N heads.
Batch first.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from seqlib.data import Digits
from seqlib.rnn import check_sizes
from seqlib.scenes import CELL, distorted
from seqlib.training import minibatches
from seqlib.transformer import EncoderLayer


def check_digits(images: Tensor) -> None:
    """Raise ValueError for pictures of another shape than (B, 8, 8)."""
    if images.ndim != 3 or images.shape[1:] != (CELL, CELL):
        raise ValueError(f"images must have shape (B, {CELL}, {CELL}), got {tuple(images.shape)}")


def patchify(images: Float[Tensor, "B height width"], size: int) -> Float[Tensor, "B S P"]:
    """Cut pictures into squares of `size` x `size` pixels, row by row, and each of these into its P pixels.

    Raises ValueError for a size that doesn't divide both sides, and for one picture without a batch axis.
    """
    check_sizes(size=size)
    if images.ndim != 3:
        raise ValueError(f"images must have shape (B, height, width), got {tuple(images.shape)}")
    height, width = images.shape[1:]
    if height % size or width % size:
        raise ValueError(f"size must divide the picture's sides {height} and {width}, got {size}")
    squares = images.unflatten(2, (-1, size)).unflatten(1, (-1, size))  # (B, rows, size, columns, size)
    return squares.transpose(2, 3).flatten(3).flatten(1, 2)


class Classified(NamedTuple):
    """Logits of the ten digits, and the weights of each layer (the first token is the class token)."""

    logits: Float[Tensor, "B 10"]
    weights: tuple[Float[Tensor, "B N S S"], ...]


class VisionTransformer(nn.Module):
    """An image is worth 16 x 16 words (Dosovitskiy et al., 2021), for digits of 8 x 8 pixels.

    Patches go through one linear map; a class token, a learnt vector that belongs to no patch, comes before
    them; a learnt vector for each place is added. After the encoder layers the class token's vector says
    which digit it is. Raises ValueError for sizes that are not positive, where num_heads doesn't divide
    model_size, where patch_size doesn't divide 8, and for pictures of another shape.
    """

    def __init__(
        self,
        *,
        patch_size: int = 2,
        model_size: int = 64,
        num_heads: int = 4,
        num_layers: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_sizes(patch_size=patch_size, model_size=model_size, num_layers=num_layers)
        if CELL % patch_size:
            raise ValueError(f"patch_size must divide {CELL}, got {patch_size}")
        self.patch_size = patch_size
        self.patch_to_x = nn.Linear(patch_size**2, model_size)
        self.class_token = nn.Parameter(0.1 * torch.randn(model_size))
        self.places = nn.Parameter(0.1 * torch.randn(1 + (CELL // patch_size) ** 2, model_size))
        self.layers: list[EncoderLayer] = nn.ModuleList(  # type: ignore[assignment]  # it can't say what
            EncoderLayer(model_size, num_heads, 2 * model_size, dropout=dropout) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(model_size)
        self.x_to_digit = nn.Linear(model_size, 10)

    def tokens(self, images: Float[Tensor, "B 8 8"]) -> Float[Tensor, "B S D"]:
        """The class token and one vector for each patch, with their places: S = 1 + patches."""
        check_digits(images)
        patches = self.patch_to_x(2 * patchify(images, self.patch_size) - 1)  # paper is -1, ink 1
        first = self.class_token.expand(len(images), 1, -1)  # (B, 1, D)
        return torch.cat([first, patches], 1) + self.places

    def forward(self, images: Float[Tensor, "B 8 8"]) -> Classified:
        x, weights = self.tokens(images), []
        for layer in self.layers:
            x, looked = layer(x)
            weights.append(looked)
        return Classified(self.x_to_digit(self.norm(x[:, 0])), tuple(weights))


class DigitCNN(nn.Module):
    """Three convolutions and one linear map: as many numbers to learn as in the default VisionTransformer.

    Raises ValueError for pictures of another shape.
    """

    def __init__(self, *, channels: int = 70, dropout: float = 0.0) -> None:
        super().__init__()
        check_sizes(channels=channels)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(dropout),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(4 * channels, 10),
        )

    def forward(self, images: Float[Tensor, "B 8 8"]) -> Classified:
        """Logits, and no weights: nothing looks anywhere."""
        check_digits(images)
        return Classified(self.layers(2 * images[:, None] - 1), ())


def roll_out(weights: Sequence[Float[Tensor, "B N S S"]]) -> Float[Tensor, "B S S"]:
    """How much of each token's input goes into each token of the last layer, along all ways (Abnar and
    Zuidema, 2020).

    In each layer the heads' mean, and an equal part for the way past the attention; the layers are
    multiplied. Rows sum to 1. A rough guide: values and feed-forward networks are left out. Raises
    ValueError for no layers.
    """
    if not weights:
        raise ValueError("weights must have at least one layer, got none")
    shapes = {tuple(layer.shape) for layer in weights}
    if len(shapes) > 1 or min(shapes)[-1:] != min(shapes)[-2:-1] or 0 in min(shapes) or len(min(shapes)) != 4:
        raise ValueError(f"weights must have shape (B, N, S, S) in each layer, got {sorted(shapes)}")
    itself = torch.eye(weights[0].shape[-1], dtype=weights[0].dtype)
    flow = itself
    for layer in weights:
        through = 0.5 * layer.mean(1) + 0.5 * itself  # (B, S, S)
        flow = through @ flow
    return flow


def digit_loss(
    model: VisionTransformer | DigitCNN,
    digits: Digits,
    *,
    batch_size: int = 64,
    distort: bool = True,
    generator: torch.Generator,
) -> Callable[[], Tensor]:
    """A loss for `fit`: at each call a batch of these digits, with `distort` each a little different."""
    batches = minibatches(digits.images, digits.labels, batch_size=batch_size, generator=generator)

    def loss() -> Tensor:
        images, labels = next(batches)
        if distort:
            images = distorted(images, generator=generator)
        return functional.cross_entropy(model(images).logits, labels)

    return loss


@torch.no_grad()
def digit_accuracy(model: VisionTransformer | DigitCNN, digits: Digits) -> float:
    """The share of these digits that are recognised. Raises ValueError for pictures with NaN."""
    if digits.images.isnan().any():
        raise ValueError("digits must have numbers for grey values, got NaN")
    right = model(digits.images).logits.argmax(-1) == digits.labels
    return right.double().mean().item()
