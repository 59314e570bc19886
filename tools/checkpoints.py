"""Train the models that are committed in data/checkpoints, each with a card: make checkpoints.

tools/checkpoints.py [code | numbers | captions | questions | digits | painter]

Takes an hour and a half on one core. The weights come out a little different on another processor or
with another Python, whose standard library is another text.
"""

import json
import platform
import sys
import time

import torch
from sklearn.svm import SVC

from seqlib import data
from seqlib.checkpoints import CHECKPOINTS, new_code_model, new_number_models, save_weights
from seqlib.hunting import read_in_pieces
from seqlib.painting import Painter, nearest, paint, painting_loss
from seqlib.patches import DigitCNN, VisionTransformer, digit_accuracy, digit_loss
from seqlib.scenes import DIGIT_WORDS, FOR_QUESTIONS, ask, draw_scenes
from seqlib.seq2seq import exact_match, fit_pairs
from seqlib.training import fit, text_loss
from seqlib.vision import Captioner, QuestionAnswerer, caption_loss, exact_captions, question_loss
from seqlib.vocab import Vocabulary

CODE_CARD = """# code.safetensors

A character LSTM of {hidden_size} units (`seqlib.checkpoints.code_model`) for the cell hunter of chapter 04.

**Data.** The standard library of Python {python}, as `data.library_source` reads it: {files} files,
{characters:.1f} million characters, in a random order. The modules of `data/library.txt` are not among
them.

**Training.** `make checkpoints`: {steps} steps of Adam with a one-cycle learning rate up to
{learning_rate}, {rows} rows read side by side, windows of {window} characters with the state carried on,
gradients clipped to norm 1; seed {seed}. {seconds:.0f} seconds on one core.

**Result.** {bits:.2f} bits a character on the held-out modules calendar and tabnanny.

**Licence.** MIT, as the course's code. The text that it was trained on has the licence in
`data/LICENSE-PYTHON`.
"""


NUMBERS_CARD = """# numbers_without_attention, numbers_with_attention, numbers_transformer

Three translators of Korean number words into English ones (`seqlib.checkpoints.number_models`):
those of chapters 05 and 06, and a Transformer of two layers each, model size 96, 4 heads.

**Data.** 20,000 pairs of `seqlib.pairs.number_pairs` with up to 12 digits, drawn with seed 0; 1,000 others
are held out.

**Training.** `make checkpoints`: {steps} steps of `seqlib.seq2seq.fit_pairs` with batches of 64 and a
learning rate up to 5e-3, and 3e-3 for the Transformer. The weights are those of seed 0.

**Result.** Exact translations of held-out numbers with seeds 0 to 4, which draw pairs and initial weights
anew, and the seconds on one core (processor time):

{table}

**Licence.** MIT, as the course's code.
"""


SCENES_CARD = """# {names}

{what}

**Data.** Scenes of the handwritten digits in the training part of `seqlib.data.digits`, drawn anew for each
step and distorted a little (`seqlib.scenes`).

**Training.** `make checkpoints`: {steps} steps of Adam with batches of 64, a one-cycle learning rate up to
{learning_rate}, gradients clipped to norm 1; seed {seed}.

**Result.** On {count} scenes of the digits in the test part: {result}; {seconds} seconds on
one core (processor time).

**Licence.** MIT, as the course's code.
"""


DIGITS_CARD = """# vit_1, vit_2, vit_4

Vision Transformers that recognise digits, with patches of 1, 2 and 4 pixels a side, for chapter 09
(`seqlib.patches.VisionTransformer`).

**Data.** The 1,347 handwritten digits in the training part of `seqlib.data.digits`; distorted a little anew
in each step (`seqlib.scenes.distorted`).

**Training.** `make checkpoints`: {steps} steps of Adam with batches of 64, a one-cycle learning rate up to
{learning_rate}, dropout 0.1, gradients clipped to norm 1. The weights are those of seed 0.

**Result.** Recognised of the 450 digits in the test part, and of the training part, with seeds 0 to 4 where
there are five numbers; a CNN of as many parameters was trained in the same way. "as they are": trained on the
digits without distortion. The seconds on one core are processor time.

{table}

A support vector machine (scikit-learn's SVC, gamma 0.256, on the digits as they are): {svm:.3f}.

**Licence.** MIT, as the course's code.
"""


PAINTER_CARD = """# painter

A Transformer that draws digits from words, for chapter 09 (`seqlib.painting.Painter`).

**Data.** The 1,347 handwritten digits in the training part of `seqlib.data.digits`, as they are.

**Training.** `make checkpoints`: {steps} steps of Adam with batches of 64, a one-cycle learning rate up to
{learning_rate}, dropout 0.1, gradients clipped to norm 1; seed {seed}. {seconds:.0f} seconds on one core
(processor time).

**Result.** A support vector machine that was trained on the test part only, which the painter has never seen,
reads the digit that was asked for in {accepted} of {count} pictures at temperatures {temperatures}; of the
real digits in the training part it reads {real:.3f}. Mean distance to the nearest training image: {distance};
of real test digits {real_distance:.2f}. The smallest: {smallest}.

**Licence.** MIT, as the course's code.
"""


def train_code() -> None:
    settings = {
        "hidden_size": 256,
        "steps": 7000,
        "learning_rate": 6e-3,
        "rows": 32,
        "window": 100,
        "seed": 0,
    }
    torch.manual_seed(settings["seed"])
    generator = torch.Generator().manual_seed(settings["seed"])
    characters = Vocabulary(data.CODE_CHARACTERS)
    files = data.library_source()
    text = "\n".join(files[k] for k in torch.randperm(len(files), generator=generator).tolist())
    tokens = characters.encode(text)
    model = new_code_model(settings["hidden_size"])
    start = time.perf_counter()
    fit(
        model,
        text_loss(model, tokens, rows=settings["rows"], window=settings["window"]),
        steps=settings["steps"],
        learning_rate=settings["learning_rate"],
        clip_norm=1.0,
        one_cycle=True,
        label="code",
    )
    seconds = time.perf_counter() - start
    save_weights(model, CHECKPOINTS / "code.safetensors")
    card = CODE_CARD.format(
        **settings,
        python=platform.python_version(),
        files=len(files),
        characters=len(tokens) / 1e6,
        seconds=seconds,
        bits=read_in_pieces(model, characters.encode(data.held_out_source()[1])).bits.mean(),
    )
    (CHECKPOINTS / "code.md").write_text(card, encoding="utf-8")
    print(card)


def train_numbers(*, steps: int = 1000, seeds: int = 5) -> None:
    rates = {"without_attention": 5e-3, "with_attention": 5e-3, "transformer": 3e-3}
    results: dict[str, dict[str, list[float]]] = {name: {"exact": [], "seconds": []} for name in rates}
    for seed in range(seeds):
        untrained = new_number_models(seed)
        for name, rate in rates.items():
            model = getattr(untrained, name)
            generator = torch.Generator().manual_seed(seed)
            start = time.process_time()
            fit_pairs(
                model,
                untrained.corpus.train,
                steps=steps,
                batch_size=64,
                generator=generator,
                learning_rate=rate,
                label=name,
            )
            results[name]["seconds"].append(round(time.process_time() - start, 1))
            exact = exact_match(model, untrained.corpus.held_out).double().mean().item()
            results[name]["exact"].append(round(exact, 3))
            if seed == 0:
                save_weights(model, CHECKPOINTS / f"numbers_{name}.safetensors")
    table = "\n".join(
        ["| model | exact | seconds |", "| --- | --- | --- |"]
        + [
            f"| {name} | {' '.join(f'{share:.3f}' for share in result['exact'])} | "
            f"{' '.join(f'{taken:.0f}' for taken in result['seconds'])} |"
            for name, result in results.items()
        ]
    )
    text = json.dumps({name: {"steps": steps, **result} for name, result in results.items()}, indent=1)
    (CHECKPOINTS / "numbers.json").write_text(text + "\n", encoding="utf-8")
    (CHECKPOINTS / "numbers.md").write_text(NUMBERS_CARD.format(steps=steps, table=table), encoding="utf-8")
    print(table)


def train_captions(*, steps: int = 5000, learning_rate: float = 3e-3, seed: int = 0) -> None:
    train, test = data.digits()
    scenes = draw_scenes(4000, test, generator=torch.Generator().manual_seed(seed))
    results, seconds = [], []
    for attends in (True, False):
        torch.manual_seed(seed)
        model = Captioner(attends=attends)
        loss = caption_loss(model, train, generator=torch.Generator().manual_seed(seed))
        start = time.process_time()
        fit(model, loss, steps=steps, learning_rate=learning_rate, clip_norm=1.0, one_cycle=True)
        seconds.append(f"{time.process_time() - start:.0f}")
        name = f"{'with' if attends else 'without'}_attention"
        save_weights(model, CHECKPOINTS / f"captions_{name}.safetensors")
        exact = exact_captions(model, scenes).double().mean().item()
        results.append(f"{exact:.3f} of the captions exact {name.replace('_', ' ')}")
    card = SCENES_CARD.format(
        names="captions_with_attention, captions_without_attention",
        what="A captioner of scenes for chapter 08 (`seqlib.vision.Captioner`).",
        steps=steps,
        learning_rate=learning_rate,
        seed=seed,
        count=len(scenes.cells),
        result=", ".join(results),
        seconds=" and ".join(seconds),
    )
    (CHECKPOINTS / "captions.md").write_text(card, encoding="utf-8")
    print(card)


def train_questions(*, steps: int = 7000, learning_rate: float = 2e-3, seed: int = 0) -> None:
    train, test = data.digits()
    generator = torch.Generator().manual_seed(seed)
    scenes = draw_scenes(2000, test, **FOR_QUESTIONS, generator=generator)
    asked = ask(scenes.cells, generator=generator)
    torch.manual_seed(seed)
    model = QuestionAnswerer()
    loss = question_loss(model, train, generator=generator)
    start = time.process_time()
    fit(model, loss, steps=steps, learning_rate=learning_rate, clip_norm=1.0, one_cycle=True)
    seconds = time.process_time() - start
    save_weights(model, CHECKPOINTS / "questions.safetensors")
    with torch.no_grad():
        right = model(scenes.images, asked.tokens).logits.argmax(-1) == asked.answers
    commonest = asked.answers.bincount().max() / len(asked.answers)
    card = SCENES_CARD.format(
        names="questions",
        what="Answers to questions about scenes for chapter 08 (`seqlib.vision.QuestionAnswerer`).",
        steps=steps,
        learning_rate=learning_rate,
        seed=seed,
        count=len(scenes.cells),
        result=f"{right.double().mean():.3f} of the answers right (always the commonest: {commonest:.3f})",
        seconds=f"{seconds:.0f}",
    )
    (CHECKPOINTS / "questions.md").write_text(card, encoding="utf-8")
    print(card)


def train_digits(*, steps: int = 3000, learning_rate: float = 3e-3, seeds: int = 5) -> None:
    train, test = data.digits()
    results: dict[str, dict[str, list[float]]] = {}

    def measure(label: str, model: VisionTransformer | DigitCNN, *, distort: bool, seed: int) -> None:
        loss = digit_loss(model, train, distort=distort, generator=torch.Generator().manual_seed(seed))
        start = time.process_time()
        fit(model, loss, steps=steps, learning_rate=learning_rate, clip_norm=1.0, one_cycle=True)
        seconds = time.process_time() - start
        result = results.setdefault(label, {"held out": [], "training": [], "seconds": []})
        result["held out"].append(round(digit_accuracy(model, test), 3))
        result["training"].append(round(digit_accuracy(model, train), 3))
        result["seconds"].append(round(seconds, 1))

    for seed in range(seeds):
        for distort in (True, False):
            how = "distorted" if distort else "as they are"
            torch.manual_seed(seed)
            vit = VisionTransformer(dropout=0.1)
            measure(f"ViT, {how}", vit, distort=distort, seed=seed)
            if distort and seed == 0:
                save_weights(vit, CHECKPOINTS / "vit_2.safetensors")
            torch.manual_seed(seed)
            measure(f"CNN, {how}", DigitCNN(dropout=0.1), distort=distort, seed=seed)
    for size in (1, 4):
        torch.manual_seed(0)
        vit = VisionTransformer(patch_size=size, dropout=0.1)
        measure(f"ViT, patches of {size}, distorted", vit, distort=True, seed=0)
        save_weights(vit, CHECKPOINTS / f"vit_{size}.safetensors")

    machine = SVC(gamma=0.256).fit(train.images.flatten(1), train.labels)
    svm = float(machine.score(test.images.flatten(1), test.labels))
    results["SVM, as they are"] = {"held out": [round(svm, 3)]}
    (CHECKPOINTS / "digits.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    table = "\n".join(
        ["| model | held out | training | seconds |", "| --- | --- | --- | --- |"]
        + [
            f"| {label} | {' '.join(f'{share:.3f}' for share in result['held out'])} | "
            f"{' '.join(f'{share:.3f}' for share in result['training'])} | "
            f"{' '.join(f'{taken:.0f}' for taken in result['seconds'])} |"
            for label, result in results.items()
            if "training" in result
        ]
    )
    card = DIGITS_CARD.format(steps=steps, learning_rate=learning_rate, table=table, svm=svm)
    (CHECKPOINTS / "digits.md").write_text(card, encoding="utf-8")
    print(card)


def train_painter(*, steps: int = 1500, learning_rate: float = 3e-3, seed: int = 0) -> None:
    train, test = data.digits()
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Painter(dropout=0.1)
    start = time.process_time()
    loss = painting_loss(model, train, generator=generator)
    fit(model, loss, steps=steps, learning_rate=learning_rate, clip_norm=1.0, one_cycle=True)
    seconds = time.process_time() - start
    save_weights(model, CHECKPOINTS / "painter.safetensors")

    judge = SVC(gamma=0.256).fit(test.images.flatten(1), test.labels)
    asked = torch.arange(10).repeat_interleave(100)
    words = [DIGIT_WORDS[digit] for digit in asked.tolist()]
    temperatures = (1.0, 0.8, 0.6)
    accepted, distance, smallest = [], [], []
    for temperature in temperatures:
        drawn = paint(model, words, temperature=temperature, generator=generator)
        accepted.append(f"{(judge.predict(drawn.flatten(1)) == asked.numpy()).mean():.3f}")
        found = nearest(drawn, train.images).distance
        distance.append(f"{found.mean():.2f}")
        smallest.append(f"{found.min():.2f}")
    card = PAINTER_CARD.format(
        steps=steps,
        learning_rate=learning_rate,
        seed=seed,
        seconds=seconds,
        accepted=", ".join(accepted),
        count=len(words),
        temperatures=", ".join(map(str, temperatures)),
        real=judge.score(train.images.flatten(1), train.labels),
        distance=", ".join(distance),
        smallest=", ".join(smallest),
        real_distance=nearest(test.images, train.images).distance.mean(),
    )
    (CHECKPOINTS / "painter.md").write_text(card, encoding="utf-8")
    print(card)


def main() -> None:
    torch.set_num_threads(1)
    trainings = {
        "code": train_code,
        "numbers": train_numbers,
        "captions": train_captions,
        "questions": train_questions,
        "digits": train_digits,
        "painter": train_painter,
    }
    for name in sys.argv[1:] or trainings:
        trainings[name]()


if __name__ == "__main__":
    main()
