"""Every chapter in a real JupyterLab: it runs, its explorers answer, nothing complains."""

import os
import re
from pathlib import Path

import pytest
from needed import code_cells, needed

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
CHAPTERS = sorted(path.stem for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))

# A slider whose every step is told in words too, by the explorer's name; None where there is none.
SLIDERS = {
    "shuffle_explorer": "Shuffled share",
    "context_explorer": "Context length",
    "forecast_explorer": "Horizon",
    "hello_explorer": "Step",
    "sampling_explorer": "Temperature",
    "wiring_explorer": None,
    "gradient_decay_explorer": "Gain",
    "initialisation_explorer": "Scale",
    "clipping_explorer": "Threshold",
    "truncation_explorer": "Window",
    "gate_explorer": "Forget",
    "highway_explorer": "Forget bias",
    "cell_explorer": "Unit",
    "bottleneck_explorer": "Context size",
    "teacher_forcing_explorer": "Teacher forcing ratio",
    "decoding_explorer": "Step",
    "attention_steps_explorer": "Step",
    "alignment_explorer": None,
    "scaling_explorer": "d_k",
    "positional_explorer": "Position",
    "mask_explorer": "Padding",
    "kv_cache_explorer": "Step",
    "self_attention_explorer": "Query word",
    "caption_explorer": "Word",
    "question_explorer": "Layer",
    "patch_explorer": "Head",
    "image_sampling_explorer": "Pixels",
}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_runs_and_its_explorers_follow_the_keyboard(lab, chapter):
    source = NOTEBOOKS / "src" / f"{chapter}.py"
    text = source.read_text(encoding="utf-8")
    names = re.findall(r"^(\w+_explorer)\(", text, flags=re.MULTILINE)
    with lab.open(f"{chapter}.ipynb") as notebook:
        # Where training is brief, so is the rest: nbval runs every cell, here those that explorers need.
        only = needed(code_cells(source)) if os.environ.get("BRIEF_TRAINING") else None
        assert notebook.run_all(only=only) == []
        for theme in ("light", "dark"):
            notebook.change_theme(theme)
            for name in names:
                explorer = notebook.explorer(f"{name}(")
                explorer.screenshot(f"{name}-{theme}")
                sliders = explorer.sliders
                assert SLIDERS[name] in [*sliders, None]
                for label in sliders:
                    before = explorer.description
                    explorer.move(label)
                    assert label != SLIDERS[name] or explorer.description != before
                assert explorer.message == ""
        assert notebook.console_errors == []
