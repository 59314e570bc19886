"""Weights come back from their file as they were, or not at all and with advice."""

import re

import pytest
import torch
from safetensors import safe_open
from sklearn.svm import SVC
from torch import nn

from seqlib import checkpoints
from seqlib.checkpoints import (
    CHECKPOINTS,
    caption_model,
    code_model,
    digit_results,
    load_weights,
    new_code_model,
    number_models,
    number_results,
    painter_model,
    question_model,
    save_weights,
    vision_transformers,
)
from seqlib.data import CODE_CHARACTERS, digits, held_out_source
from seqlib.gated import LSTMCell
from seqlib.hunting import read_in_pieces
from seqlib.painting import nearest, paint
from seqlib.pairs import PAD, PairTensors
from seqlib.patches import digit_accuracy
from seqlib.rnn import CharRNN
from seqlib.scenes import DIGIT_WORDS, FOR_QUESTIONS, ask, draw_scenes
from seqlib.seq2seq import exact_match
from seqlib.vision import exact_captions
from seqlib.vocab import Vocabulary


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_weights(model, expected):
    found = model.state_dict()
    assert list(found) == list(expected)
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "small.safetensors"


@pytest.fixture
def model():
    torch.manual_seed(0)
    return new_code_model(5)


@pytest.fixture
def saved(path, model):
    """A file with the weights of a model, and those weights."""
    save_weights(model, path)
    return path, weights(model)


# ---------------------------------------------------------------------------------- to and from a file


def test_another_model_of_the_same_sizes_becomes_the_same_model(saved, model):
    path, before = saved
    other = new_code_model(5)
    assert not torch.equal(other.h_to_y.weight, model.h_to_y.weight)
    load_weights(other, path)
    assert_weights(other, before)
    tokens = torch.randint(len(CODE_CHARACTERS), (3, 11))
    assert torch.equal(other(tokens).logits, model(tokens).logits)
    assert all(parameter.requires_grad for parameter in other.parameters())


def test_saving_leaves_nothing_but_the_file_and_changes_nothing_in_the_model(saved, model):
    path, before = saved
    assert [file.name for file in path.parent.iterdir()] == ["small.safetensors"]
    assert_weights(model, before)
    model.h_to_y.bias.sum().backward()  # it can still be trained


def test_the_file_is_one_that_safetensors_reads_by_itself(saved):
    path, before = saved
    with safe_open(path, framework="pt") as file:
        assert sorted(file.keys()) == sorted(before)
        assert [name for name in before if not torch.equal(file.get_tensor(name), before[name])] == []


def test_weights_that_are_a_view_of_others_are_written_too(path):
    model = nn.Linear(3, 5)
    model.weight = nn.Parameter(torch.randn(3, 5).mT)
    save_weights(model, path)
    other = nn.Linear(3, 5)
    load_weights(other, path)
    assert torch.equal(other.weight, model.weight)


def test_a_new_file_takes_the_place_of_the_old_one(saved):
    path, _ = saved
    newer = new_code_model(5)
    save_weights(newer, path)
    other = new_code_model(5)
    load_weights(other, path)
    assert_weights(other, weights(newer))


def test_a_write_that_fails_halfway_leaves_the_old_file(saved, monkeypatch):
    path, before = saved

    def full_disk(tensors, target):
        target.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full_disk)
    with pytest.raises(OSError, match="no space left"):
        save_weights(new_code_model(5), path)
    other = new_code_model(5)
    load_weights(other, path)
    assert_weights(other, before)


def test_a_write_after_one_that_failed_succeeds(path, model):
    path.parent.mkdir()
    path.with_suffix(".part").write_bytes(b"half")
    save_weights(model, path)
    assert [file.name for file in path.parent.iterdir()] == ["small.safetensors"]


# ------------------------------------------------------------------------- files that are of no use


def refusal(path, error):
    """The message with which a file is refused by a model, which stays as it was."""
    model = new_code_model(5)
    before = weights(model)
    with pytest.raises(error) as caught:
        load_weights(model, path)
    assert_weights(model, before)
    return str(caught.value)


def test_a_missing_file_comes_with_advice(path):
    message = refusal(path, FileNotFoundError)
    assert message == f"small.safetensors is missing in {path.parent}: make checkpoints makes it again"


@pytest.mark.parametrize("left", [0, 7, 100, -1])
def test_a_truncated_file_comes_with_advice(saved, left):
    path, _ = saved
    path.write_bytes(path.read_bytes()[:left])
    message = refusal(path, ValueError)
    assert re.fullmatch(r"small\.safetensors is damaged \(.+\): make checkpoints makes it again", message)


@pytest.mark.parametrize(
    "content", [b"\0" * 100, b"version https://git-lfs.github.com/spec/v1\n", b"PK\3\4" * 9]
)
def test_a_file_of_another_kind_comes_with_advice(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    assert refusal(path, ValueError).startswith("small.safetensors is damaged (")


@pytest.mark.parametrize(
    "other",
    [new_code_model(7), CharRNN(len(CODE_CHARACTERS), 5), nn.Linear(3, 2)],
    ids=["other sizes", "other cell", "other model"],
)
def test_the_weights_of_another_model_are_refused_with_both_shapes(path, other):
    save_weights(other, path)
    message = refusal(path, ValueError)
    assert message.startswith(
        "small.safetensors must hold weights of the shapes {'cell.x_to_gates.weight': (20, 96)"
    )
    found = message.split(", got ")[1]
    assert all(f"'{name}': {tuple(tensor.shape)}" in found for name, tensor in other.state_dict().items())


# ------------------------------------------------------------------------------ the character LSTM


def test_an_untrained_code_model_is_an_lstm_that_forgets_nothing_at_first():
    model = new_code_model(211)
    assert isinstance(model.cell, LSTMCell)
    assert model.cell.hidden_size == 211 and model.h_to_y.out_features == len(CODE_CHARACTERS)
    assert model.cell.x_to_gates.bias[211:422].tolist() == [1.0] * 211
    assert model.cell.x_to_gates.weight.mean().abs() < 0.02
    assert 0.98 < model.cell.x_to_gates.weight.std() < 1.02


def test_loading_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    code_model()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_committed_model_has_learnt_to_read_code():
    tokens = Vocabulary(CODE_CHARACTERS).encode(held_out_source()[1])
    bits = read_in_pieces(code_model(), tokens).bits.mean()
    assert bits < 2.2


def test_the_committed_model_is_ready_for_use_and_anew_each_time():
    model = code_model()
    assert not model.training and model.cell.hidden_size == 256
    with torch.no_grad():
        model.h_to_y.bias.zero_()
    assert code_model().h_to_y.bias.abs().max() > 0


# --------------------------------------------------------------------------------- the translators


@pytest.fixture(scope="module")
def translators():
    before = torch.get_rng_state()
    loaded = number_models()
    assert torch.equal(torch.get_rng_state(), before)  # leaves the global generator alone, as the other does
    return loaded


def test_the_translators_know_nothing_of_what_was_held_out(translators):
    corpus = translators.corpus
    trained = {tuple(source[source != PAD].tolist()) for source in corpus.train.source}
    assert len(trained) == len(corpus.train.source) == 20_000
    assert not any(tuple(source[source != PAD].tolist()) in trained for source in corpus.held_out.source)


@pytest.mark.parametrize("name", ["without_attention", "with_attention", "transformer"])
def test_the_translators_do_as_well_as_their_card_says(translators, name):
    some = PairTensors(*(part[:200] for part in translators.corpus.held_out))
    exact = exact_match(getattr(translators, name), some).double().mean().item()
    assert abs(exact - number_results()[name]["exact"][0]) < 0.07  # 200 of 1000: three standard deviations


def test_all_translators_had_as_many_steps_and_the_attentive_ones_get_nearly_all_right_with_each_seed():
    results = number_results()
    assert {result["steps"] for result in results.values()} == {1000}
    assert all(len(result["exact"]) == len(result["seconds"]) == 5 for result in results.values())
    assert min(results["with_attention"]["exact"] + results["transformer"]["exact"]) >= 0.95


# --------------------------------------------------------------------------- captions and questions


def on_the_card(card, words):
    """The share that the card gives before these words."""
    text = (CHECKPOINTS / card).read_text(encoding="utf-8").replace("\n", " ")
    return float(re.search(rf"(\d\.\d+) {words}", text)[1])


@pytest.mark.parametrize("attends", [True, False], ids=["with attention", "without"])
def test_the_captioners_do_as_well_as_their_card_says(attends):
    scenes = draw_scenes(200, digits()[1], generator=torch.Generator().manual_seed(7))
    exact = exact_captions(caption_model(attends=attends), scenes).double().mean().item()
    expected = on_the_card(
        "captions.md", f"of the captions exact {'with' if attends else 'without'} attention"
    )
    assert abs(exact - expected) < 0.06
    assert not attends or expected >= 0.95


def test_the_answerer_does_as_well_as_its_card_says():
    generator = torch.Generator().manual_seed(7)
    scenes = draw_scenes(300, digits()[1], **FOR_QUESTIONS, generator=generator)
    asked = ask(scenes.cells, generator=generator)
    with torch.no_grad():
        right = question_model()(scenes.images, asked.tokens).logits.argmax(-1) == asked.answers
    expected = on_the_card("questions.md", "of the answers right")
    assert abs(right.double().mean().item() - expected) < 0.06 and expected >= 0.93


# -------------------------------------------------------------------- Vision Transformers and painter


def test_the_vision_transformers_do_as_well_as_their_results_say():
    results = digit_results()
    for size, model in vision_transformers().items():
        label = "ViT, distorted" if size == 2 else f"ViT, patches of {size}, distorted"
        assert abs(digit_accuracy(model, digits()[1]) - results[label]["held out"][0]) < 0.003
        assert model.patch_size == size and not model.training


def test_with_each_seed_the_vision_transformer_is_behind_a_cnn():
    results = digit_results()
    vit, cnn = (results[f"{kind}, distorted"]["held out"] for kind in ("ViT", "CNN"))
    assert len(vit) == len(cnn) == 5
    assert (
        min(vit) >= 0.93
        and vit[0] >= 0.94
        and all(ours < theirs for ours, theirs in zip(vit, cnn, strict=True))
    )


def test_the_painter_draws_what_it_is_asked_for_and_copies_nothing():
    train, test = digits()
    judge = SVC(gamma=0.256).fit(test.images.flatten(1), test.labels)
    asked = torch.arange(10).repeat_interleave(20)
    words = [DIGIT_WORDS[digit] for digit in asked.tolist()]
    drawn = paint(painter_model(), words, temperature=0.6, generator=torch.Generator().manual_seed(7))
    assert (judge.predict(drawn.flatten(1)) == asked.numpy()).mean() > 0.88  # 95 % on the card, of 1000
    assert nearest(drawn, train.images).distance.min() > 0.25
