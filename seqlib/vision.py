"""Networks that look at pictures: captions, questions, Vision Transformer, and pictures from words.

Dimensions: B batch, L places in a picture's grid of features, D features of each, T time, E embedding,
H hidden, V vocabulary. Batch first.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seqlib.attention import hard_attend, reinforce, scaled_dot_scores
from seqlib.data import Digits
from seqlib.decoding import greedy
from seqlib.gated import LSTM, LSTMCell
from seqlib.pairs import EOS, PAD, SOS
from seqlib.rnn import check_sizes, check_tokens
from seqlib.scenes import (
    ANSWERS,
    CAPTION_WORDS,
    CELL,
    FOR_QUESTIONS,
    QUESTION_WORDS,
    SIDE,
    Scenes,
    ask,
    captions,
    draw_scenes,
)
from seqlib.seq2seq import decoder_inputs, masked_loss
from seqlib.transformer import EncoderLayer

GRID = 6  # features of a scene: a grid of 6 x 6, of which each cell has 2 x 2


class FeatureGrid(nn.Module):
    """A picture of 24 x 24 pixels to a grid of 6 x 6 feature vectors, row by row: L = 36 places.

    Three convolutions, with a pooling layer before the last, which has stride 2. A learnt vector for each
    place says where it is. `dropout` (in training only) helps with digits that it has never seen. Raises
    ValueError for a size that is not positive, and for pictures of another shape.
    """

    def __init__(self, features: int, *, dropout: float = 0.2) -> None:
        super().__init__()
        check_sizes(features=features)
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 48, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(dropout),
            nn.Conv2d(48, features, 4, stride=2, padding=1),
        )
        self.places = nn.Parameter(0.1 * torch.randn(GRID**2, features))
        self.norm = nn.LayerNorm(features)

    def forward(self, images: Float[Tensor, "B 24 24"]) -> Float[Tensor, "B L D"]:
        _check_images(images)
        grid = self.convolutions(images[:, None])  # (B, D, 6, 6)
        return self.norm(grid.flatten(2).mT + self.places)  # (B, 36, D)


def _check_images(images: Tensor) -> None:
    if images.ndim != 3 or images.shape[1:] != (SIDE * CELL, SIDE * CELL):
        raise ValueError(f"images must have shape (B, 24, 24), got {tuple(images.shape)}")


class CaptionState(NamedTuple):
    """What a captioner goes on from: its LSTM's (h, c), and the picture. Rows first."""

    h: Float[Tensor, "B H"]
    c: Float[Tensor, "B H"]
    grid: Float[Tensor, "B L D"]


class CaptionLook(NamedTuple):
    """What one or more steps of a captioner look at, and the logits that come of it."""

    weights: Float[Tensor, "B T L"]
    context: Float[Tensor, "B T D"]
    logits: Float[Tensor, "B T V"]


class Captioner(nn.Module):
    """Show, attend and tell (Xu et al., 2015): a feature grid, and an LSTM that looks at it for each word.

    It starts from a state of zeros, so all that it knows of the picture it has looked up. (The paper starts
    from the mean of the features.) Without `attends` that mean is all that it ever sees, as in Show and tell
    (Vinyals et al., 2015). Decoded with `step`, as `seqlib.decoding` wants it. Raises ValueError as
    FeatureGrid does.
    """

    def __init__(
        self, *, attends: bool = True, features: int = 96, embedding_size: int = 48, hidden_size: int = 128
    ) -> None:
        super().__init__()
        check_sizes(features=features, embedding_size=embedding_size, hidden_size=hidden_size)
        V = len(CAPTION_WORDS)
        self.attends = attends
        self.features = FeatureGrid(features)
        self.grid_to_state = None if attends else nn.Linear(features, 2 * hidden_size)
        self.embedding = nn.Embedding(V, embedding_size)
        self.cell = LSTMCell(embedding_size, hidden_size)
        self.h_to_q = nn.Linear(hidden_size, features)
        self.grid_to_k = nn.Linear(features, features)
        self.joined_to_y = nn.Sequential(
            nn.Linear(features + hidden_size, hidden_size), nn.Tanh(), nn.Linear(hidden_size, V)
        )

    def forward(self, images: Float[Tensor, "B 24 24"], inputs: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits of the word after each of `inputs` (the caption, shifted right: teacher forcing)."""
        state = self.start(images)
        return self.look(self.states(inputs, state), state).logits

    def start(self, images: Float[Tensor, "B 24 24"]) -> CaptionState:
        grid = self.features(images)
        if self.grid_to_state is None:
            h = c = grid.new_zeros(len(grid), self.cell.hidden_size)
        else:
            h, c = torch.tanh(self.grid_to_state(grid.mean(1))).chunk(2, -1)
        return CaptionState(h, c, grid)

    def states(self, inputs: Int[Tensor, "B T"], state: CaptionState) -> Float[Tensor, "B T H"]:
        """The LSTM's state after each of `inputs`."""
        check_tokens(len(CAPTION_WORDS), inputs=inputs)
        states, _ = self.cell.unroll(self.embedding(inputs), (state.h, state.c))
        return states

    def weights(self, h: Float[Tensor, "B T H"], state: CaptionState) -> Float[Tensor, "B T L"]:
        """How much each place is looked at."""
        return scaled_dot_scores(self.h_to_q(h), self.grid_to_k(state.grid)).softmax(-1)

    def look(self, h: Float[Tensor, "B T H"], state: CaptionState) -> CaptionLook:
        """From states to logits, by what is seen (soft attention)."""
        weights = self.weights(h, state)
        context = weights @ state.grid if self.attends else torch.zeros_like(self.h_to_q(h))
        return CaptionLook(weights, context, self.say(context, h))

    def say(self, context: Float[Tensor, "B T D"], h: Float[Tensor, "B T H"]) -> Float[Tensor, "B T V"]:
        """Logits of the next word, from what is seen and the state."""
        return self.joined_to_y(torch.cat([context, h], -1))

    def step(
        self, tokens: Int[Tensor, " B"], state: CaptionState
    ) -> tuple[Float[Tensor, "B V"], CaptionState]:
        h, c = self.cell(self.embedding(tokens), (state.h, state.c))
        return self.look(h[:, None], state).logits[:, 0], state._replace(h=h, c=c)


def caption_loss(
    model: Captioner, digits: Digits, *, batch_size: int = 64, generator: torch.Generator
) -> Callable[[], Tensor]:
    """A loss for `fit`: at each call new scenes of these digits, distorted, and their captions."""

    def loss() -> Tensor:
        scenes = draw_scenes(batch_size, digits, distort=True, generator=generator)
        target = captions(scenes.cells)
        return masked_loss(model(scenes.images, decoder_inputs(target)), target)

    return loss


def hard_caption_loss(
    model: Captioner, digits: Digits, *, batch_size: int = 64, generator: torch.Generator
) -> Callable[[], Tensor]:
    """As `caption_loss`, for a captioner that looks at one place for each word, drawn with its weights.

    The places are learnt by `reinforce`. The reward is the log-probability of the word that is to be said;
    what is subtracted from it follows its mean, for each word of a caption its own.
    """
    baseline = torch.zeros(0)

    def loss() -> Tensor:
        nonlocal baseline
        scenes = draw_scenes(batch_size, digits, distort=True, generator=generator)
        target = captions(scenes.cells)
        state = model.start(scenes.images)
        h = model.states(decoder_inputs(target), state)
        seen = hard_attend(model.weights(h, state), state.grid, generator=generator)
        log_p = model.say(seen.context, h).log_softmax(-1)
        reward = log_p.gather(2, target[..., None])[..., 0]  # (B, T)
        present = target != PAD
        with torch.no_grad():
            now = (reward * present).sum(0) / present.sum(0)  # (T)
            baseline = torch.cat([baseline, now[len(baseline) :]])  # it may be the longest caption so far
            gained = reward - baseline[: len(now)]
            baseline[: len(now)] = 0.9 * baseline[: len(now)] + 0.1 * now
        return reinforce(seen.log_probability[present], gained[present]) - reward[present].mean()

    return loss


class Description(NamedTuple):
    """What a captioner says of a picture, greedily (with its end token), and where it looked each time."""

    words: list[str]
    weights: Float[Tensor, "T L"]


@torch.no_grad()
def describe(model: Captioner, image: Float[Tensor, "24 24"], *, max_length: int = 28) -> Description:
    """The caption of one picture, of at most `max_length` words, and the weights behind each of them."""
    state = model.start(image[None])
    said = greedy(model.step, state, start=torch.tensor([SOS]), end=EOS, max_length=max_length).tokens
    looked = model.look(model.states(decoder_inputs(said), state), state)
    return Description(CAPTION_WORDS.decode(said[0]), looked.weights[0])


def cell_weights(weights: Float[Tensor, "*B L"]) -> Float[Tensor, "*B 9"]:
    """How much of each row of weights lies on each cell of the picture: 2 x 2 of the 36 places."""
    squares = weights.unflatten(-1, (SIDE, GRID // SIDE, SIDE, GRID // SIDE))
    return squares.sum((-3, -1)).flatten(-2)


@torch.no_grad()
def exact_captions(model: Captioner, scenes: Scenes) -> Bool[Tensor, " N"]:
    """Which scenes are described, greedily, exactly as `captions` does."""
    target = captions(scenes.cells)
    N, T = target.shape
    start = torch.full((N,), SOS)
    tokens = greedy(model.step, model.start(scenes.images), start=start, end=EOS, max_length=T).tokens
    tokens = nn.functional.pad(tokens, (0, T - tokens.shape[1]), value=EOS)
    return ((tokens == target) | (target == PAD)).all(1)  # after its end a caption says nothing


# --------------------------------------------------------------------------------------- questions


class Answer(NamedTuple):
    """Logits of the answers, and the weights of each layer (the first token is the question)."""

    logits: Float[Tensor, "B A"]
    weights: tuple[Float[Tensor, "B N S S"], ...]


class QuestionAnswerer(nn.Module):
    """Answers a question about a scene: an LSTM reads the question, and its last state joins nine tokens,
    one for each cell of the picture, in a small Transformer encoder. Raises ValueError for sizes that are
    not positive, where num_heads doesn't divide model_size, and for pictures of another shape.
    """

    def __init__(self, *, model_size: int = 64, num_heads: int = 4, num_layers: int = 3) -> None:
        super().__init__()
        check_sizes(model_size=model_size, num_heads=num_heads, num_layers=num_layers)
        self.embedding = nn.Embedding(len(QUESTION_WORDS), model_size)
        self.reader = LSTM(model_size, model_size)
        self.cell_to_x = nn.Sequential(
            nn.Linear(CELL**2, 2 * model_size), nn.ReLU(), nn.Linear(2 * model_size, model_size)
        )
        self.places = nn.Parameter(0.5 * torch.randn(SIDE**2, model_size))
        self.layers: list[EncoderLayer] = nn.ModuleList(  # type: ignore[assignment]  # it can't say what
            EncoderLayer(model_size, num_heads, 2 * model_size) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(model_size)
        self.x_to_answer = nn.Linear(model_size, len(ANSWERS))

    def forward(self, images: Float[Tensor, "B 24 24"], questions: Int[Tensor, "B T"]) -> Answer:
        _check_images(images)
        check_tokens(len(QUESTION_WORDS), questions=questions)
        states, _ = self.reader(self.embedding(questions))  # (B, T, D)
        last = (questions != PAD).sum(1) - 1
        asked = states[torch.arange(len(states)), last]  # (B, D)
        cells = images.view(-1, SIDE, CELL, SIDE, CELL).transpose(2, 3).reshape(-1, SIDE**2, CELL**2)
        seen = self.cell_to_x(2 * cells - 0.6) + self.places  # ink and paper on either side of 0
        x = torch.cat([asked[:, None], seen], 1)  # (B, 1 + 9, D)
        weights = []
        for layer in self.layers:
            x, looked = layer(x)
            weights.append(looked)
        return Answer(self.x_to_answer(self.norm(x[:, 0])), tuple(weights))


def question_loss(
    model: QuestionAnswerer, digits: Digits, *, batch_size: int = 64, generator: torch.Generator
) -> Callable[[], Tensor]:
    """A loss for `fit`: at each call new scenes of these digits, distorted, and a question to each."""

    def loss() -> Tensor:
        scenes = draw_scenes(batch_size, digits, **FOR_QUESTIONS, distort=True, generator=generator)
        asked = ask(scenes.cells, generator=generator)
        return nn.functional.cross_entropy(model(scenes.images, asked.tokens).logits, asked.answers)

    return loss
