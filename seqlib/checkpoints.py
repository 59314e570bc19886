"""Trained models that come with the course. Their weights lie in safetensors files: numbers, no programs."""

import json
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from seqlib.attention import AttentionSeq2Seq
from seqlib.data import CODE_CHARACTERS, DATA
from seqlib.gated import LSTMCell
from seqlib.painting import Painter
from seqlib.pairs import Corpus, make_corpus, number_pairs
from seqlib.patches import VisionTransformer
from seqlib.rnn import CharRNN
from seqlib.seq2seq import Seq2Seq
from seqlib.transformer import Transformer
from seqlib.vision import Captioner, QuestionAnswerer

CHECKPOINTS = DATA / "checkpoints"


def save_weights(model: nn.Module, path: Path) -> None:
    """Write all weights of `model` to a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    save_file({name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}, unfinished)
    unfinished.replace(path)


def load_weights(model: nn.Module, path: Path) -> None:
    """Read all weights of `model` from a file.

    Raises FileNotFoundError where there is none, and ValueError for a file that is damaged or has the
    weights of another model; the model stays as it was.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path.name} is missing in {path.parent}: make checkpoints makes it again")
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is damaged ({error}): make checkpoints makes it again") from error
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if found != expected:
        raise ValueError(f"{path.name} must hold weights of the shapes {expected}, got {found}")
    model.load_state_dict(weights)


def new_code_model(hidden_size: int) -> CharRNN:
    """An untrained character LSTM for source code; its vocabulary is `data.CODE_CHARACTERS`.

    A one-hot vector picks one row of weights for each character, as an embedding does. They start as an
    embedding's do, from a normal distribution: PyTorch's initial weights are too small for a single 1.
    """
    model = CharRNN(len(CODE_CHARACTERS), hidden_size, cell=partial(LSTMCell, forget_bias=1.0))
    nn.init.normal_(model.cell.x_to_gates.weight)
    return model


@torch.random.fork_rng(devices=[])  # what is drawn here is replaced at once: leave the generator alone
def code_model() -> CharRNN:
    """The character LSTM of 256 units that was trained on Python's standard library (data/checkpoints)."""
    model = new_code_model(256)
    load_weights(model, CHECKPOINTS / "code.safetensors")
    return model.eval()


class NumberModels(NamedTuple):
    """Three translators of number words, trained on the same pairs for as many steps, and the pairs.

    `corpus.held_out` was kept from all three.
    """

    corpus: Corpus
    without_attention: Seq2Seq
    with_attention: AttentionSeq2Seq
    transformer: Transformer


def new_number_models(seed: int) -> NumberModels:
    """The same, untrained: pairs and initial weights are drawn with this seed."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    corpus = make_corpus(number_pairs(21_000, generator=generator), held_out=1000, generator=generator)
    sizes = len(corpus.source_vocabulary), len(corpus.target_vocabulary)
    return NumberModels(
        corpus, Seq2Seq(*sizes), AttentionSeq2Seq(*sizes), Transformer(*sizes, inner_size=192)
    )


@torch.random.fork_rng(devices=[])
def number_models() -> NumberModels:
    """The translators that were trained for 1000 steps with seed 0 (data/checkpoints)."""
    trained = new_number_models(0)
    for name, model in trained._asdict().items():
        if name != "corpus":
            load_weights(model, CHECKPOINTS / f"numbers_{name}.safetensors")
            model.eval()
    return trained


def number_results() -> dict[str, Any]:
    """What `make checkpoints` measured with seeds 0 to 4, by model.

    "exact" are the shares of 1000 held-out numbers that were translated exactly, "seconds" how much
    processor time the trainings took on one core, "steps" how many steps each had.
    """
    results: dict[str, Any] = json.loads((CHECKPOINTS / "numbers.json").read_text(encoding="utf-8"))
    return results


@torch.random.fork_rng(devices=[])
def caption_model(*, attends: bool = True) -> Captioner:
    """A captioner of scenes, with or without attention, trained for 5000 steps (data/checkpoints)."""
    model = Captioner(attends=attends)
    load_weights(model, CHECKPOINTS / f"captions_{'with' if attends else 'without'}_attention.safetensors")
    return model.eval()


@torch.random.fork_rng(devices=[])
def question_model() -> QuestionAnswerer:
    """A network that answers questions about scenes, trained for 7000 steps (data/checkpoints)."""
    model = QuestionAnswerer()
    load_weights(model, CHECKPOINTS / "questions.safetensors")
    return model.eval()


@torch.random.fork_rng(devices=[])
def vision_transformers() -> dict[int, VisionTransformer]:
    """Recognisers of digits by the size of their patches, 1, 2 and 4, trained for 3000 steps
    (data/checkpoints)."""
    models = {size: VisionTransformer(patch_size=size) for size in (1, 2, 4)}
    for size, model in models.items():
        load_weights(model, CHECKPOINTS / f"vit_{size}.safetensors")
        model.eval()
    return models


def digit_results() -> dict[str, dict[str, list[float]]]:
    """What `make checkpoints` measured of recognisers of digits, most of them with seeds 0 to 4, by label.

    "held out" and "training" are the shares that were recognised, "seconds" how much processor time the
    training took on one core.
    """
    results: dict[str, dict[str, list[float]]] = json.loads(
        (CHECKPOINTS / "digits.json").read_text(encoding="utf-8")
    )
    return results


@torch.random.fork_rng(devices=[])
def painter_model() -> Painter:
    """The Transformer that draws digits, trained for 1500 steps (data/checkpoints)."""
    model = Painter()
    load_weights(model, CHECKPOINTS / "painter.safetensors")
    return model.eval()
