"""Train the models that are committed in data/checkpoints, each with a card: make checkpoints.

Takes a quarter of an hour on one core. The weights come out a little different on another processor or with
another Python, whose standard library is another text.
"""

import platform
import time

import torch

from seqlib import data
from seqlib.checkpoints import CHECKPOINTS, new_code_model, save_weights
from seqlib.hunting import read_in_pieces
from seqlib.training import fit, text_loss
from seqlib.vocab import Vocabulary

CARD = """# code.safetensors

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


def main() -> None:
    torch.set_num_threads(1)
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
    card = CARD.format(
        **settings,
        python=platform.python_version(),
        files=len(files),
        characters=len(tokens) / 1e6,
        seconds=seconds,
        bits=read_in_pieces(model, characters.encode(data.held_out_source()[1])).bits.mean(),
    )
    (CHECKPOINTS / "README.md").write_text(card, encoding="utf-8")
    print(card)


if __name__ == "__main__":
    main()
