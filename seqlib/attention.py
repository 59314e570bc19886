"""Attention: a soft look-up in a memory, and a decoder that looks up what it needs at every step.

Dimensions: B batch, T target time (queries), S source time (keys and values), H hidden, A size of additive
scores, V vocabulary. Batch first. Masks: True may attend.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seqlib.decoding import greedy
from seqlib.pairs import EOS, SOS, Corpus, to_tensor
from seqlib.rnn import check_shapes, check_sizes
from seqlib.seq2seq import Seq2Seq, decoder_inputs


class Attended(NamedTuple):
    """What attention gives for each query: the weighted sum of the values, and the weights."""

    context: Float[Tensor, "*B T H"]
    weights: Float[Tensor, "*B T S"]  # each row sums to 1 over S, or to 0 where nothing may be attended


def dot_scores(queries: Float[Tensor, "*B T K"], keys: Float[Tensor, "*B S K"]) -> Float[Tensor, "*B T S"]:
    """q . k for each query and each key (Luong et al., 2015)."""
    return queries @ keys.mT


def scaled_dot_scores(
    queries: Float[Tensor, "*B T K"], keys: Float[Tensor, "*B S K"]
) -> Float[Tensor, "*B T S"]:
    """q . k / sqrt(K) (Vaswani et al., 2017): of the same size for short and long vectors."""
    return queries @ keys.mT / keys.shape[-1] ** 0.5


class AdditiveScores(nn.Module):
    """v . tanh(W_q q + W_k k) (Bahdanau et al., 2015); queries and keys may have different sizes."""

    def __init__(self, query_size: int, key_size: int, size: int) -> None:
        super().__init__()
        check_sizes(query_size=query_size, key_size=key_size, size=size)
        self.q_to_a = nn.Linear(query_size, size, bias=False)
        self.k_to_a = nn.Linear(key_size, size, bias=False)
        self.v = nn.Linear(size, 1, bias=False)

    def forward(
        self, queries: Float[Tensor, "B T Q"], keys: Float[Tensor, "B S K"]
    ) -> Float[Tensor, "B T S"]:
        # Every query meets every key: (B, T, 1, A) + (B, 1, S, A)
        a = torch.tanh(self.q_to_a(queries)[:, :, None] + self.k_to_a(keys)[:, None])
        return self.v(a)[..., 0]


def masked_softmax(scores: Float[Tensor, "*B S"], mask: Bool[Tensor, "*#B S"]) -> Float[Tensor, "*B S"]:
    """softmax over the last axis among what may be attended; the rest gets exactly 0.

    A row in which nothing may be attended is all zeros.
    """
    mask = mask.expand_as(scores)  # an error where the mask is one for more scores than there are
    lowest = torch.finfo(scores.dtype).min  # not -inf: a whole row of that has no softmax
    return torch.where(mask, scores, lowest).softmax(-1) * mask  # quicker than two `masked_fill`


def attend(
    scores: Float[Tensor, "*B T S"],
    values: Float[Tensor, "*B S H"],
    mask: Bool[Tensor, "*#B #T S"] | None = None,
) -> Attended:
    """From scores to contexts: weights = softmax(scores), context = the values' sum with these weights."""
    weights = scores.softmax(-1) if mask is None else masked_softmax(scores, mask)
    return Attended(weights @ values, weights)


# ------------------------------------------------------------------------------- a decoder that attends


class AttentionState(NamedTuple):
    """What the decoder goes on from: its own (h, c), and the encoder's memory. Rows first."""

    h: Float[Tensor, "B H"]
    c: Float[Tensor, "B H"]
    memory: Float[Tensor, "B S H"]
    present: Bool[Tensor, "B S"]


class AttentionSteps(NamedTuple):
    """Every quantity between a decoder's states and its logits, in the order in which it is made."""

    scores: Float[Tensor, "B T S"]
    weights: Float[Tensor, "B T S"]
    context: Float[Tensor, "B T H"]
    joined: Float[Tensor, "B T HH"]  # [context; h]
    s_tilde: Float[Tensor, "B T H"]  # tanh(W_c joined + b_c)
    logits: Float[Tensor, "B T V"]


class AttentionSeq2Seq(Seq2Seq):
    """A decoder that looks back at all of the encoder's states at each step (Luong et al., 2015).

    Queries are the decoder's states, keys and values the encoder's. `scores` compares them: `dot_scores`,
    `scaled_dot_scores`, or a module such as `AdditiveScores`.
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        *,
        embedding_size: int = 64,
        hidden_size: int = 128,
        scores: Callable[[Tensor, Tensor], Tensor] = dot_scores,
        bidirectional: bool = True,
    ) -> None:
        super().__init__(
            source_size,
            target_size,
            embedding_size=embedding_size,
            hidden_size=hidden_size,
            bidirectional=bidirectional,
        )
        self.scores = scores
        self.joined_to_s = nn.Linear(2 * hidden_size, hidden_size)

    def start(self, source: Int[Tensor, "B S"]) -> AttentionState:
        encoded = self.encoder(source)
        return AttentionState(*self._context(encoded), encoded.memory, encoded.present)

    def decode(self, inputs: Int[Tensor, "B T"], state: AttentionState) -> Float[Tensor, "B T V"]:
        return self.look_up(self.states(inputs, state), state).logits

    def step(
        self, tokens: Int[Tensor, " B"], state: AttentionState
    ) -> tuple[Float[Tensor, "B V"], AttentionState]:
        h, c = self.cell(self.embedding(tokens), (state.h, state.c))
        return self.look_up(h[:, None], state).logits[:, 0], state._replace(h=h, c=c)

    def look_up(self, h: Float[Tensor, "B T H"], state: AttentionState) -> AttentionSteps:
        """From the decoder's states to logits, with everything on the way."""
        scores = self.scores(h, state.memory)
        context, weights = attend(scores, state.memory, state.present[:, None])
        joined = torch.cat([context, h], -1)  # (B, T, 2H)
        s_tilde = torch.tanh(self.joined_to_s(joined))
        return AttentionSteps(scores, weights, context, joined, s_tilde, self.h_to_y(s_tilde))


class Translation(NamedTuple):
    """One source, what a model answers greedily (with its end token), and where each step looked."""

    source: list[str]
    target: list[str]
    weights: Float[Tensor, "T S"]


@torch.no_grad()
def translate(
    model: AttentionSeq2Seq, corpus: Corpus, source: Iterable[str], *, max_length: int = 40
) -> Translation:
    """The answer to one source, and the attention weights with which it was written.

    Raises ValueError for a token that the corpus doesn't have.
    """
    tokens = to_tensor([source], corpus.source_vocabulary)
    state = model.start(tokens)
    answer = greedy(model.step, state, start=torch.tensor([SOS]), end=EOS, max_length=max_length).tokens
    states = model.states(decoder_inputs(answer), state)
    return Translation(
        corpus.source_vocabulary.decode(tokens[0]),
        corpus.target_vocabulary.decode(answer[0]),
        model.look_up(states, state).weights[0],
    )


# ------------------------------------------------------------------------------------ hard attention


class HardAttended(NamedTuple):
    """What hard attention gives: the value at one position, drawn with the attention weights."""

    context: Float[Tensor, "B T H"]
    positions: Int[Tensor, "B T"]
    log_probability: Float[Tensor, "B T"]  # of the position that was drawn


def hard_attend(
    weights: Float[Tensor, "B T S"],
    values: Float[Tensor, "B S H"],
    *,
    generator: torch.Generator | None = None,
) -> HardAttended:
    """Look at one position only, drawn with these weights (Xu et al., 2015).

    No gradient reaches the weights through the context; `reinforce` gives them one. Raises ValueError where
    weights and values don't fit one another.
    """
    check_shapes(weights=(weights, "B T S"), values=(values, "B S H"))
    positions = torch.multinomial(weights.flatten(0, 1), 1, generator=generator).view(weights.shape[:2])
    chosen = positions[..., None]  # (B, T, 1)
    log_probability = weights.gather(-1, chosen)[..., 0].log()
    return HardAttended(values.take_along_dim(chosen, 1), positions, log_probability)


def reinforce(
    log_probability: Float[Tensor, " *B"], reward: Float[Tensor, " *B"], *, baseline: float | int = 0.0
) -> Float[Tensor, ""]:
    """A loss whose gradient is an unbiased estimate of that of minus the expected reward (Williams, 1992).

    -mean((reward - baseline) log p): draws that brought more than the baseline become likelier. A baseline
    that doesn't depend on the draws leaves the mean of the estimate as it is, and can lower its variance.
    Raises ValueError where a draw has no reward of its own.
    """
    if reward.shape != log_probability.shape:
        raise ValueError(
            f"reward must have the shape of log_probability, {tuple(log_probability.shape)}, "
            f"got {tuple(reward.shape)}"
        )
    return -((reward.detach() - baseline) * log_probability).mean()
