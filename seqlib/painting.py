"""A Transformer that draws: a word and 64 grey levels in one sequence, each level drawn given all before.

Dimensions: B batch, T tokens (a prompt, then pixels), P pixels, V grey levels, D model size, N heads. Batch
first.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from seqlib.data import Digits
from seqlib.decoding import sample, sample_sequences, token_probabilities
from seqlib.patches import check_digits
from seqlib.rnn import check_sizes, check_tokens
from seqlib.scenes import CELL, DIGIT_WORDS
from seqlib.training import minibatches
from seqlib.transformer import AddNorm, FeedForward, KeyValues, Looked, MultiHeadAttention, causal_mask

LEVELS = 17  # grey levels, 0 (paper) to 16 (ink): tokens 0..16
PIXELS = CELL**2
TOKENS = LEVELS + len(DIGIT_WORDS)  # and one token for each word of a prompt


def pixel_tokens(images: Float[Tensor, "B 8 8"], labels: Int[Tensor, " B"]) -> Int[Tensor, "B T"]:
    """A prompt and a picture as one sequence: the digit's word, then its 64 grey levels, row by row.

    Raises ValueError for other shapes, grey values outside of 0..1 and labels that are no digits.
    """
    check_digits(images)
    if not ((images >= 0) & (images <= 1)).all():
        raise ValueError("images must have grey values from 0 to 1, got others, or NaN")
    check_tokens(len(DIGIT_WORDS), labels=labels[:, None])
    return torch.cat([LEVELS + labels[:, None], (16 * images).round().long().flatten(1)], 1)


def prompt_tokens(words: Sequence[str]) -> Int[Tensor, " B"]:
    """The tokens of prompts such as "seven". Raises ValueError for another word than those of 0 to 9."""
    for word in words:
        if word not in DIGIT_WORDS:
            raise ValueError(f"words must be among {', '.join(DIGIT_WORDS)}, got {word!r}")
    return torch.tensor([LEVELS + DIGIT_WORDS.index(word) for word in words], dtype=torch.int64)


class CausalLayer(nn.Module):
    """Self-attention in which no token sees those after it, then the feed-forward network.

    It is all that a decoder without a source needs, and has the parts of an EncoderLayer. Raises ValueError
    as MultiHeadAttention does.
    """

    def __init__(self, model_size: int, num_heads: int, inner_size: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(model_size, num_heads)
        self.feed_forward = FeedForward(model_size, inner_size)
        self.around_attention, self.around_feed_forward = (
            AddNorm(model_size, pre_norm=True, dropout=dropout) for _ in range(2)
        )

    def forward(self, x: Float[Tensor, "B T D"], past: KeyValues | None) -> tuple[Looked, KeyValues]:
        """`past` are the keys and values of the tokens before these (the cache); what comes back has all."""
        read = self.around_attention.before(x)
        own = self.attention.keys_values(read)
        if past is not None:
            own = KeyValues(torch.cat([past.k, own.k], 2), torch.cat([past.v, own.v], 2))
        T, so_far = x.shape[1], own.k.shape[2]
        attended = self.attention(read, own, causal_mask(T, past=so_far - T)[None])
        x = self.around_attention.after(x, attended.output)
        x = self.around_feed_forward.after(x, self.feed_forward(self.around_feed_forward.before(x)))
        return Looked(x, attended.weights), own


class Painted(NamedTuple):
    """Logits of the grey level after each token, the cache to go on from, and the weights of each layer."""

    logits: Float[Tensor, "B T V"]
    cache: tuple[KeyValues, ...]
    weights: tuple[Float[Tensor, "B N T P"], ...]


class Painter(nn.Module):
    """A decoder-only Transformer for a word and pixels in one sequence, as DALL-E (Ramesh et al., 2021).

    A prompt is one word, a picture 64 grey levels. (DALL-E's pictures are 32 x 32 codes of a learnt
    codebook, its prompts up to 256 tokens.) What a token's place adds is a vector for the row and one for the
    column of the pixel that comes next. Decoded with `step`, from the state `()`. Raises ValueError as
    VisionTransformer does.
    """

    def __init__(
        self, *, model_size: int = 64, num_heads: int = 4, num_layers: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_sizes(model_size=model_size, num_layers=num_layers)
        self.embedding = nn.Embedding(TOKENS, model_size)
        self.rows, self.columns = (nn.Parameter(torch.randn(CELL, model_size)) for _ in range(2))
        self.layers: list[CausalLayer] = nn.ModuleList(  # type: ignore[assignment]  # it can't say what
            CausalLayer(model_size, num_heads, 4 * model_size, dropout=dropout) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(model_size)
        self.x_to_level = nn.Linear(model_size, LEVELS)

    def forward(self, inputs: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits of the grey level after each of `inputs`: a prompt and, at most, 63 pixels."""
        check_tokens(TOKENS, inputs=inputs)
        return self.extend(inputs, ()).logits

    def extend(self, tokens: Int[Tensor, "B T"], cache: tuple[KeyValues, ...]) -> Painted:
        """Read T more tokens: all in training, one at a time in drawing. The same code."""
        past = cache[0].k.shape[2] if cache else 0
        T = tokens.shape[1]
        if past + T > PIXELS:
            raise ValueError(
                f"tokens must be a prompt and at most {PIXELS - 1} pixels, got {past + T} in all"
            )
        place = torch.arange(past, past + T)  # of the pixel that comes next
        x = self.embedding(tokens) + self.rows[place // CELL] + self.columns[place % CELL]  # (B, T, D)
        grown, weights = [], []
        for number, layer in enumerate(self.layers):
            looked, own = layer(x, cache[number] if cache else None)
            x = looked.output
            grown.append(own)
            weights.append(looked.weights)
        return Painted(self.x_to_level(self.norm(x)), tuple(grown), tuple(weights))

    def step(
        self, tokens: Int[Tensor, " B"], state: tuple[KeyValues, ...]
    ) -> tuple[Float[Tensor, "B V"], tuple[KeyValues, ...]]:
        """One more token for each row, as `seqlib.decoding` wants it."""
        painted = self.extend(tokens[:, None], state)
        return painted.logits[:, 0], painted.cache


def painting_loss(
    model: Painter, digits: Digits, *, batch_size: int = 64, generator: torch.Generator
) -> Callable[[], Tensor]:
    """A loss for `fit`: the mean cross-entropy of a batch's pixels, each given the word and all before."""
    tokens = pixel_tokens(*digits)
    batches = minibatches(tokens, batch_size=batch_size, generator=generator)

    def loss() -> Tensor:
        (batch,) = next(batches)
        logits = model(batch[:, :-1])  # (B, 64, V)
        return functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())

    return loss


@torch.no_grad()
def paint(
    model: Painter, words: Sequence[str], *, temperature: float | int = 1.0, generator: torch.Generator
) -> Float[Tensor, "B 8 8"]:
    """One picture for each prompt, drawn pixel by pixel with the cache.

    Raises ValueError as `prompt_tokens` and `seqlib.decoding.token_probabilities` do.
    """
    levels = sample_sequences(
        model.step,
        (),
        start=prompt_tokens(words),
        end=-1,  # no token ends a picture
        max_length=PIXELS,
        temperature=temperature,
        generator=generator,
    ).tokens
    return levels.view(-1, CELL, CELL) / (LEVELS - 1)


class Painting(NamedTuple):
    """One picture while it is drawn: each pixel's grey level, with what probabilities it was chosen, and
    where the last layer looked (the prompt first, then the pixels before; 0 for what wasn't there yet)."""

    levels: Int[Tensor, " P"]
    probabilities: Float[Tensor, "P V"]
    weights: Float[Tensor, "N P P"]


@torch.no_grad()
def trace_painting(
    model: Painter, word: str, *, temperature: float | int = 1.0, generator: torch.Generator
) -> Painting:
    """The picture that `paint` draws for one prompt, and everything on the way. Raises as `paint` does."""
    token = prompt_tokens([word])
    cache: tuple[KeyValues, ...] = ()
    levels, probabilities, weights = [], [], []
    for _ in range(PIXELS):
        painted = model.extend(token[:, None], cache)
        logits, cache = painted.logits[:, 0], painted.cache
        token = sample(logits, temperature=temperature, generator=generator)
        levels.append(token)
        probabilities.append(token_probabilities(logits, temperature=temperature))
        looked = painted.weights[-1][0, :, 0]  # (N, tokens so far)
        weights.append(functional.pad(looked, (0, PIXELS - looked.shape[1])))
    return Painting(torch.cat(levels), torch.cat(probabilities), torch.stack(weights, 1))


class Nearest(NamedTuple):
    """The most similar picture of a collection: which one, and how far away (Euclidean, in grey values)."""

    number: Int[Tensor, " B"]
    distance: Float[Tensor, " B"]


def nearest(images: Float[Tensor, "B 8 8"], among: Float[Tensor, "M 8 8"]) -> Nearest:
    """For each picture the nearest one among others, to see whether it is a copy."""
    exact = "donot_use_mm_for_euclid_dist"  # a copy has a distance of exactly 0
    distance, number = torch.cdist(images.flatten(1), among.flatten(1), compute_mode=exact).min(1)
    return Nearest(number, distance)
