"""The Transformer: attention does all the work, and recurrence none (Vaswani et al., 2017).

Dimensions: B batch, T time, S time of what is attended to, D model size (d_model in the paper), N heads,
K = D / N numbers in each head, V vocabulary. Batch first. Masks: True may attend.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seqlib.attention import attend, scaled_dot_scores
from seqlib.pairs import EOS, PAD, SOS
from seqlib.rnn import check_sizes, check_tokens

# ------------------------------------------------------------------------------- positions and masks


def sinusoidal_positions(length: int, model_size: int, *, start: int = 0) -> Float[Tensor, "T D"]:
    """A vector for each position from `start` on: sines and cosines of D / 2 wavelengths (section 3.5).

    Entries 2i and 2i + 1 of position t are sin and cos of t / 10000^(2i / D). Raises ValueError for a
    length below 1 or an odd model_size.
    """
    check_sizes(length=length, model_size=model_size)
    if model_size % 2:
        raise ValueError(
            f"model_size must be even, a sine and a cosine for each wavelength, got {model_size}"
        )
    t = torch.arange(start, start + length)[:, None]  # (T, 1)
    angles = t / 10_000 ** (torch.arange(0, model_size, 2) / model_size)  # (T, D/2)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def causal_mask(length: int, *, past: int = 0) -> Bool[Tensor, "T S"]:
    """Who may look where if nobody sees the future: each token at itself and at those before it.

    With `past`, so many tokens come before the `length` that look: S = past + T. Raises ValueError for a
    length below 1 or a negative past.
    """
    check_sizes(length=length)
    if past < 0:
        raise ValueError(f"past must be 0 or more, got {past}")
    return torch.ones(length, past + length, dtype=torch.bool).tril(past)


# --------------------------------------------------------------------------------------- many heads


def split_heads(x: Float[Tensor, "B T D"], num_heads: int) -> Float[Tensor, "B N T K"]:
    """Cut each vector into `num_heads` pieces; the heads become a second batch axis.

    Raises ValueError for x of another shape, and where num_heads doesn't divide D.
    """
    check_sizes(num_heads=num_heads)
    if x.ndim != 3 or x.shape[2] % num_heads:
        raise ValueError(f"x must have shape (B, T, D) with D divisible by {num_heads}, got {tuple(x.shape)}")
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def join_heads(x: Float[Tensor, "B N T K"]) -> Float[Tensor, "B T D"]:
    """Put the pieces of `split_heads` side by side again. Raises ValueError for x of another shape."""
    if x.ndim != 4:
        raise ValueError(f"x must have shape (B, N, T, K), got {tuple(x.shape)}")
    return x.transpose(1, 2).flatten(2)


class KeyValues(NamedTuple):
    """What is looked up in: a key and a value of each token, for each head."""

    k: Float[Tensor, "B N S K"]
    v: Float[Tensor, "B N S K"]


class Looked(NamedTuple):
    """What multi-head attention gives: a vector for each query, and the weights of each head."""

    output: Float[Tensor, "B T D"]
    weights: Float[Tensor, "B N T S"]


class MultiHeadAttention(nn.Module):
    """Several scaled dot-product attentions side by side, each with its own W_Q, W_K and W_V; W_O mixes
    what they bring (section 3.2.2).

    The matrices of all heads are stored as one. Raises ValueError where num_heads doesn't divide model_size.
    """

    def __init__(self, model_size: int, num_heads: int) -> None:
        super().__init__()
        check_sizes(model_size=model_size, num_heads=num_heads)
        if model_size % num_heads:
            raise ValueError(f"model_size must be divisible by num_heads, got {model_size} and {num_heads}")
        self.num_heads = num_heads
        self.W_Q, self.W_K, self.W_V, self.W_O = (nn.Linear(model_size, model_size) for _ in range(4))

    def keys_values(self, x: Float[Tensor, "B S D"]) -> KeyValues:
        return KeyValues(split_heads(self.W_K(x), self.num_heads), split_heads(self.W_V(x), self.num_heads))

    def forward(
        self, x: Float[Tensor, "B T D"], memory: KeyValues, mask: Bool[Tensor, "#B #T S"] | None = None
    ) -> Looked:
        q = split_heads(self.W_Q(x), self.num_heads)
        mask = None if mask is None else mask[:, None]  # the same for all heads
        context, weights = attend(scaled_dot_scores(q, memory.k), memory.v, mask)
        return Looked(self.W_O(join_heads(context)), weights)

    def without(self, head: int) -> "MultiHeadAttention":
        """A copy in which this head brings nothing. Raises ValueError for a head that isn't there."""
        if not 0 <= head < self.num_heads:
            raise ValueError(f"head must lie in 0..{self.num_heads - 1}, got {head}")
        copy = deepcopy(self)
        with torch.no_grad():
            split = copy.W_O.weight.unflatten(1, (self.num_heads, -1))  # (D, N, K)
            split[:, head] = 0.0
        return copy


# ------------------------------------------------------------------------------------------- layers


class AddNorm(nn.Module):
    """What is around every part of a layer: x + part(x), and a layer norm (Ba et al., 2016).

    As published the sum is normalised, norm(x + part(x)). With `pre_norm` what the part reads is,
    x + part(norm(x)), which trains more easily when there are many layers (Xiong et al., 2020).
    """

    def __init__(self, model_size: int, *, pre_norm: bool, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(model_size)
        self.pre_norm = pre_norm
        self.dropout = nn.Dropout(dropout)

    def before(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """What the part reads."""
        return self.norm(x) if self.pre_norm else x

    def after(self, x: Float[Tensor, "B T D"], part: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """What goes on, from x and what the part made of it."""
        x = x + self.dropout(part)
        return x if self.pre_norm else self.norm(x)


class FeedForward(nn.Sequential):
    """Two linear maps with a ReLU between them, the same at every position (section 3.3)."""

    def __init__(self, model_size: int, inner_size: int) -> None:
        check_sizes(model_size=model_size, inner_size=inner_size)
        super().__init__(nn.Linear(model_size, inner_size), nn.ReLU(), nn.Linear(inner_size, model_size))


class EncoderLayer(nn.Module):
    """Self-attention, then the feed-forward network. Raises ValueError as MultiHeadAttention does."""

    def __init__(
        self,
        model_size: int,
        num_heads: int,
        inner_size: int,
        *,
        pre_norm: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(model_size, num_heads)
        self.feed_forward = FeedForward(model_size, inner_size)
        self.around_attention, self.around_feed_forward = (
            AddNorm(model_size, pre_norm=pre_norm, dropout=dropout) for _ in range(2)
        )

    def forward(self, x: Float[Tensor, "B T D"], mask: Bool[Tensor, "#B #T T"] | None = None) -> Looked:
        read = self.around_attention.before(x)
        attended = self.attention(read, self.attention.keys_values(read), mask)
        x = self.around_attention.after(x, attended.output)
        x = self.around_feed_forward.after(x, self.feed_forward(self.around_feed_forward.before(x)))
        return Looked(x, attended.weights)


class DecoderLooked(NamedTuple):
    """What a decoder layer gives: vectors, the keys and values of all tokens so far, and all weights."""

    output: Float[Tensor, "B T D"]
    own: KeyValues
    self_weights: Float[Tensor, "B N T P"]
    cross_weights: Float[Tensor, "B N T S"]


class DecoderLayer(nn.Module):
    """Self-attention to what was written so far, attention to the source (cross-attention), feed-forward.

    Raises ValueError as MultiHeadAttention does.
    """

    def __init__(
        self,
        model_size: int,
        num_heads: int,
        inner_size: int,
        *,
        pre_norm: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.self_attention, self.cross_attention = (
            MultiHeadAttention(model_size, num_heads) for _ in range(2)
        )
        self.feed_forward = FeedForward(model_size, inner_size)
        self.around_self_attention, self.around_cross_attention, self.around_feed_forward = (
            AddNorm(model_size, pre_norm=pre_norm, dropout=dropout) for _ in range(3)
        )

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        source: KeyValues,
        mask: Bool[Tensor, "#B #T S"] | None = None,
        *,
        past: KeyValues | None = None,
    ) -> DecoderLooked:
        """`x` are the newest T tokens. What is known of those before them is in `past` (the cache)."""
        read = self.around_self_attention.before(x)
        own = self.self_attention.keys_values(read)
        if past is not None:
            own = KeyValues(torch.cat([past.k, own.k], 2), torch.cat([past.v, own.v], 2))
        T, so_far = x.shape[1], own.k.shape[2]
        to_own = self.self_attention(read, own, causal_mask(T, past=so_far - T)[None])
        x = self.around_self_attention.after(x, to_own.output)
        to_source = self.cross_attention(self.around_cross_attention.before(x), source, mask)
        x = self.around_cross_attention.after(x, to_source.output)
        x = self.around_feed_forward.after(x, self.feed_forward(self.around_feed_forward.before(x)))
        return DecoderLooked(x, own, to_own.weights, to_source.weights)


# ------------------------------------------------------------------------------------------- models


class Read(NamedTuple):
    """What an encoder makes of a batch: a vector for each token, which tokens are no padding, and the
    weights of each layer."""

    output: Float[Tensor, "B S D"]
    present: Bool[Tensor, "B S"]
    weights: tuple[Float[Tensor, "B N S S"], ...]


class TransformerEncoder(nn.Module):
    """Tokens to vectors: embedding plus position, then some layers, in which no token sees padding.

    Without `positions` the order of the tokens makes no difference. (The paper multiplies its embeddings,
    which begin small, by sqrt(D). Ours begin with the size of the positions.) Raises ValueError as
    MultiHeadAttention and sinusoidal_positions do.
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        model_size: int = 96,
        num_heads: int = 4,
        num_layers: int = 2,
        inner_size: int | None = None,
        pre_norm: bool = True,
        dropout: float = 0.0,
        positions: bool = True,
    ) -> None:
        super().__init__()
        check_sizes(vocabulary_size=vocabulary_size, num_layers=num_layers)
        if positions:
            sinusoidal_positions(1, model_size)  # refuses a size for which there are none
        self.embedding = nn.Embedding(vocabulary_size, model_size)
        self.positions = positions
        self.dropout = nn.Dropout(dropout)
        inner = 4 * model_size if inner_size is None else inner_size
        self.layers: list[EncoderLayer] = nn.ModuleList(  # type: ignore[assignment]  # it can't say what
            EncoderLayer(model_size, num_heads, inner, pre_norm=pre_norm, dropout=dropout)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(model_size) if pre_norm else nn.Identity()  # nothing has normed the sum

    def forward(self, tokens: Int[Tensor, "B S"]) -> Read:
        check_tokens(self.embedding.num_embeddings, tokens=tokens)
        present = tokens != PAD
        x = self.embedding(tokens)  # (B, S, D)
        if self.positions:
            x = x + sinusoidal_positions(*x.shape[1:])
        x, weights = self.dropout(x), []
        for layer in self.layers:
            x, looked = layer(x, present[:, None])
            weights.append(looked)
        return Read(self.norm(x), present, tuple(weights))


class Cache(NamedTuple):
    """What a decoder goes on from: keys and values of the source and of what was written, layer by layer.

    Rows first, as `seqlib.decoding` wants it. Before the first token `own` is empty.
    """

    source: tuple[KeyValues, ...]
    present: Bool[Tensor, "B S"]
    own: tuple[KeyValues, ...] = ()

    @property
    def length(self) -> int:
        """How many tokens have been written."""
        return self.own[0].k.shape[2] if self.own else 0


class Decoded(NamedTuple):
    """What the decoder makes of some more tokens: logits of what follows each, and the weights by layer."""

    logits: Float[Tensor, "B T V"]
    cache: Cache
    self_weights: tuple[Float[Tensor, "B N T P"], ...]
    cross_weights: tuple[Float[Tensor, "B N T S"], ...]


class Transformer(nn.Module):
    """Encoder and decoder (Vaswani et al., 2017), to be trained and decoded as `Seq2Seq` is.

    Raises ValueError as MultiHeadAttention and sinusoidal_positions do.
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        *,
        model_size: int = 96,
        num_heads: int = 4,
        num_layers: int = 2,
        inner_size: int | None = None,
        pre_norm: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_sizes(source_size=source_size, target_size=target_size)
        self.encoder = TransformerEncoder(
            source_size,
            model_size=model_size,
            num_heads=num_heads,
            num_layers=num_layers,
            inner_size=inner_size,
            pre_norm=pre_norm,
            dropout=dropout,
        )
        self.embedding = nn.Embedding(target_size, model_size)
        self.dropout = nn.Dropout(dropout)
        inner = 4 * model_size if inner_size is None else inner_size
        self.layers: list[DecoderLayer] = nn.ModuleList(  # type: ignore[assignment]  # it can't say what
            DecoderLayer(model_size, num_heads, inner, pre_norm=pre_norm, dropout=dropout)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(model_size) if pre_norm else nn.Identity()
        self.x_to_y = nn.Linear(model_size, target_size)

    def forward(self, source: Int[Tensor, "B S"], inputs: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits of the token after each of `inputs` (the target, shifted right: teacher forcing).

        Raises ValueError for no token at all, and for one outside of its vocabulary.
        """
        check_tokens(self.embedding.num_embeddings, inputs=inputs)
        return self.extend(inputs, self.start(source)).logits

    def start(self, source: Int[Tensor, "B S"]) -> Cache:
        """Read the source: the keys and values that every step will look at."""
        memory, present, _ = self.encoder(source)
        return Cache(tuple(layer.cross_attention.keys_values(memory) for layer in self.layers), present)

    def step(self, tokens: Int[Tensor, " B"], state: Cache) -> tuple[Float[Tensor, "B V"], Cache]:
        """One more token for each row, as `seqlib.decoding` wants it."""
        decoded = self.extend(tokens[:, None], state)
        return decoded.logits[:, 0], decoded.cache

    def extend(self, tokens: Int[Tensor, "B T"], cache: Cache) -> Decoded:
        """Read T more tokens: all of a target in training, one at a time in decoding. The same code."""
        x = self.embedding(tokens)  # (B, T, D)
        x = self.dropout(x + sinusoidal_positions(*x.shape[1:], start=cache.length))
        own, self_weights, cross_weights = [], [], []
        for number, layer in enumerate(self.layers):
            past = cache.own[number] if cache.own else None
            looked = layer(x, cache.source[number], cache.present[:, None], past=past)
            x = looked.output
            own.append(looked.own)
            self_weights.append(looked.self_weights)
            cross_weights.append(looked.cross_weights)
        logits = self.x_to_y(self.norm(x))
        return Decoded(logits, cache._replace(own=tuple(own)), tuple(self_weights), tuple(cross_weights))


# ------------------------------------------------------------------------------------ with and without


class DecodingTrace(NamedTuple):
    """A greedy answer to one source, step by step: the token that each step read, and what it computed.

    `tokens` begin with SOS; `steps[t].logits` is about the token after `tokens[t]`.
    """

    tokens: Int[Tensor, " T"]
    steps: tuple[Decoded, ...]


@torch.no_grad()
def trace_decoding(model: Transformer, source: Int[Tensor, "one S"], *, max_length: int) -> DecodingTrace:
    """Decode greedily with the cache, until the end token or `max_length` tokens, and keep every step.

    Raises ValueError for more than one source or a max_length below 1.
    """
    check_sizes(max_length=max_length)
    if len(source) != 1:
        raise ValueError(f"source must hold one sequence, got {len(source)}")
    token, cache = torch.tensor([SOS]), model.start(source)
    tokens: list[Tensor] = []
    steps: list[Decoded] = []
    while len(steps) < max_length and token.item() != EOS:
        decoded = model.extend(token[:, None], cache)
        tokens.append(token)
        steps.append(decoded)
        token, cache = decoded.logits[:, 0].argmax(-1), decoded.cache
    return DecodingTrace(torch.cat(tokens), tuple(steps))


class Prefix(NamedTuple):
    """What decoding without a cache goes on from: the source's keys and values, and all tokens so far."""

    start: Cache
    tokens: Int[Tensor, "B t"]


def without_cache(
    model: Transformer,
) -> Callable[[Int[Tensor, " B"], Prefix], tuple[Float[Tensor, "B V"], Prefix]]:
    """A step function that reads everything again at each step, to be compared with `model.step`."""

    def step(tokens: Tensor, state: Prefix) -> tuple[Tensor, Prefix]:
        so_far = torch.cat([state.tokens, tokens[:, None]], 1)  # (B, t + 1)
        return model.extend(so_far, state.start).logits[:, -1], Prefix(state.start, so_far)

    return step
