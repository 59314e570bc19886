"""A training in a notebook is interrupted, as the stop button does it: a real kernel gets a real signal."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from jupyter_client.manager import start_new_kernel

from seqlib.pairs import PairTensors
from seqlib.seq2seq import pair_batches
from seqlib.training import minibatches

TIMEOUT = 60  # seconds to wait for the kernel, after which the test fails

Run = Callable[[str], str]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Run a cell in a kernel, and give what it prints. If that is the line "learning", it is interrupted."""
    manager, client = start_new_kernel(startup_timeout=TIMEOUT)

    def run(cell: str) -> str:
        printed = []

        def hear(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
                printed.append(message["content"]["text"])
                if "".join(printed) == "learning\n":  # which may come in two pieces
                    manager.interrupt_kernel()

        reply = client.execute_interactive(cell, output_hook=hear, allow_stdin=False, timeout=TIMEOUT)
        assert reply["content"]["status"] == "ok", reply["content"]
        return "".join(printed)

    try:
        yield run
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.mark.parametrize(
    "batches",
    [
        lambda rows: minibatches(rows, batch_size=2, generator=torch.Generator()),
        lambda rows: pair_batches(PairTensors(rows, rows), batch_size=2, generator=torch.Generator()),
    ],
    ids=["minibatches", "pair_batches"],
)
def test_batches_go_on_after_an_interrupt_while_one_is_drawn(batches, monkeypatch):
    drawn = batches(torch.full((6, 3), 5))
    with monkeypatch.context() as patch:
        patch.setattr(torch, "randperm", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(drawn)
    assert next(drawn)[0].shape == (2, 3)


def interrupted(*sizes: int, **options: object) -> None:
    raise KeyboardInterrupt


CHARACTERS = """
from seqlib.rnn import CharRNN
from seqlib.training import text_loss

model = CharRNN(7, 11)
loss = text_loss(model, torch.arange(100) % 7, rows=3, window=5)
"""

TRANSLATOR = """
from seqlib.pairs import PairTensors
from seqlib.seq2seq import Seq2Seq, pair_loss

model = Seq2Seq(13, 13, embedding_size=5, hidden_size=7)
pairs = PairTensors(*(torch.randint(3, 13, (40, length)) for length in (5, 3)))
loss = pair_loss(model, pairs, batch_size=8, generator=torch.Generator().manual_seed(0))
"""


@pytest.mark.parametrize("begin", [CHARACTERS, TRANSLATOR], ids=["characters", "translator"])
def test_an_interrupted_training_leaves_a_model_and_a_history_to_go_on_with(run, begin):
    run("import torch\nfrom seqlib.training import fit\ntorch.manual_seed(0)\n" + begin)
    run("first = [parameter.detach().clone() for parameter in model.parameters()]")
    run("""
def watch(history):  # it is called once more at the end, then with another `stopped`
    if len(history.losses) == 3 and history.stopped == "finished":
        print("learning")
""")
    assert run("history = fit(model, loss, steps=10**9, learning_rate=1e-3, watch=watch)") == "learning\n"

    assert run("print(history.stopped, 3 <= len(history.losses) < 10**9)") == "interrupted True\n"
    assert run("print(model.training)") == "False\n"
    assert run("print(all(parameter.isfinite().all() for parameter in model.parameters()))") == "True\n"
    moved = "any((now != then).any() for now, then in zip(model.parameters(), first))"
    assert run(f"print({moved})") == "True\n"
    assert run("print(loss().isfinite().item())") == "True\n"

    assert run("print(fit(model, loss, steps=2, learning_rate=1e-3))") == "History(2 steps, finished)\n"
