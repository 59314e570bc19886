# %% [markdown]
# # 0 Start here
#
# This is a course about sequences, such as the words of a sentence, the characters of a program or the frames
# of a clip, and about networks that read and write them. It goes from the probability of a sequence to the
# Transformer and what it is used for. In every chapter you build a model from scratch in a few lines, move
# sliders to see what it does, and find out where it fails. Nothing has to be taken on trust: what the text
# claims about a model, a cell has measured before your eyes.
#
# Everything runs on your own machine. Nothing is downloaded while you work, and nothing about you is sent
# anywhere.
#
# This notebook takes ten minutes. It looks at your installation, shows the map, and goes once through all
# that a chapter is made of, in miniature. You should know some Python, and have seen PyTorch tensors before.
#
# ## Does everything work?
#
# Click on the next cell and press **Shift+Enter**: this runs the cell and goes on to the one below. A number
# in the brackets on its left says that it has been run, a star that it is still running. What you see below
# the cells now was stored by us, and running them replaces it.

# %% tags=["nbval-ignore-output"]
from seqlib.installation import check_installation

installation = check_installation()
installation

# %%
assert installation.ok, "follow the advice beside each ✗ above, then run both cells again"
print("ready")

# %% [markdown]
# Where something is missing, the line with the ✗ says what to type. If instead the cell ended with *No module
# named 'seqlib'*, the notebook runs in a Python that doesn't have the course. Close it, open a terminal in
# the course's folder, and type `make lab`: that makes the right environment and opens this page in it. The
# README has the same without `make`, for Windows.
#
# Every chapter then begins with a cell like this one. The seed makes random numbers the same on every run.

# %%
from pathlib import Path

import numpy as np
import torch

from seqlib.checks import Prediction
from seqlib.checks import start as check
from seqlib.figures import style

SEED = 0
torch.manual_seed(SEED)
style.use()

# %% [markdown]
# ## The map
#
# An arrow leads from a chapter to one that builds on it. Chapters that are still being written are pale, with
# a dashed border.

# %%
from seqlib.figures.course import plot_course_map

written = sorted(int(path.name[:2]) for path in Path().glob("0[1-9]_*.ipynb"))
print("written so far:", *written)
_ = plot_course_map(available=[0, *written])

# %% [markdown]
# Chapters 1 to 4 are about *memory*: what it is to predict the next element, how a network carries a summary
# of the past along, why that summary fades, and how gates keep it. Chapters 5 to 7 are about *looking back*
# instead: from one sequence to another through a bottleneck, and then attention, which takes the bottleneck
# away and in the end replaces recurrence altogether. Chapters 8 and 9 do all of this with pictures.
#
# ## How a chapter works
#
# The same few things come back in each chapter. Here is one of each, all about the simplest memory there is:
# a number that keeps nine tenths of itself at every step.
#
# ### Predict first
#
# Before something is measured, you are asked what you expect. A guess that turns out wrong teaches more than
# a result that you only nod at, so commit yourself: replace `None` by a number and run the cell. Nobody sees
# your guess, and if you make none, the chapter runs all the same.

# %%
left_over = Prediction(
    "A memory keeps 90 percent of its content at every step. How much is left after 20 steps?",
    guess=None,
    unit="percent",
)
left_over

# %% [markdown]
# Then the measurement, with your guess beside it.

# %%
memory = 100.0
for _ in range(20):
    memory = 0.9 * memory

left_over.compare(round(memory, 1), within=1.25)

# %% [markdown]
# About an eighth. Why not less? Keep the question for a moment.
#
# ### Explorers
#
# An explorer is a picture with sliders. Drag the handle of a slider with the mouse, or click on it and use
# the arrow keys. This one is built in front of you, in about ten lines, so that you can build your own: one
# function computes, one updates the picture, one describes it in words for those who don't see it. If there
# is a picture below the cell but no slider, run the cell; if there is still none, reload the page in the
# browser.

# %%
from ipywidgets import FloatSlider

from seqlib.widgets.explorer import Explorer

steps = np.arange(101)
figure, ax = style.new_figure(7, 3)
[line] = ax.plot(steps, steps)
ax.set(xlabel="steps", ylabel="share that is left", ylim=(0, 1.05))

Explorer(
    lambda kept: kept**steps,
    lambda line, left: line.set_ydata(left),
    figure=figure,
    artists=line,
    describe=lambda left: f"Of 1, {left[10]:.3f} is left after 10 steps and {left[100]:.3f} after 100.",
    kept=FloatSlider(description="Kept", value=0.9, min=0.5, max=1.0, step=0.01),
)

# %% [markdown]
# Move **Kept** until half is left after about 69 steps. The place is one step of the slider away from 1,
# where nothing is ever forgotten. Chapter 3 is about this curve: it is what happens to a gradient that
# travels back through time.
#
# What the text says about a picture is also checked by a cell. If a chapter's claim stopped being true, its
# `assert` would fail.

# %%
assert abs(0.99**69 - 0.5) < 0.01
print("keeping 99 percent, half is left after 69 steps")

# %% [markdown]
# ### Exercises
#
# You write a function, and a check looks at it. The stub below raises `NotImplementedError`, which the check
# takes for *not attempted yet*: a notebook with open exercises still runs from top to bottom.
#
# **Exercise: mean over time.** A batch of `B` sequences of `T` steps, each step a vector of `E` numbers, is a
# tensor of shape `(B, T, E)`. The batch always comes first, then time. Return the mean of each sequence over
# its steps.


# %%
def mean_over_time(x):
    """x (B, T, E) -> the mean of each sequence over its steps, (B, E)"""
    raise NotImplementedError


check.mean_over_time(mean_over_time)

# %% [markdown]
# The check calls your function with random inputs and compares the results with those of a right answer. If
# they differ, it compares them with the usual mistakes as well, and tells you which one yours looks like.
# Here is what it says of two of them.


# %%
def forgot_to_divide(x):
    return x.sum(1)


check.mean_over_time(forgot_to_divide)


# %%
def wrong_axis(x):
    return x.mean(0)


check.mean_over_time(wrong_axis)

# %% [markdown]
# When you are stuck, ask for a hint. Each time that you run the cell you get one more, until there are no
# more.

# %%
check.mean_over_time.hint()

# %% [markdown]
# `check.mean_over_time.solution()` shows a solution. Put it into a new cell when you want to compare it with
# yours.
#
# ### Find the flaw
#
# Books and lecture notes have mistakes in them too. Each chapter states one or two such claims, and shows in
# a few lines that they are wrong. Try to say why before you read on. For example: *a memory that loses a
# tenth at every step has lost everything after ten steps.*

# %%
after_ten = 0.9**10
print(f"left after ten steps: {after_ten:.3f}")
assert after_ten > 1 / 3

# %% [markdown]
# More than a third is left. The claim adds up losses as if each were a tenth of the beginning, but a step
# takes a tenth of *what is still there*: shares multiply. That is also why an eighth was left after twenty
# steps.
#
# ### The bridge
#
# A chapter ends with what was measured, further reading, and a bridge: the question that it leaves open,
# which the next one takes up.
#
# ## Your progress
#
# Each exercise that you solve is noted in one small file in your home directory, `.seqlib-progress.json`.
# Nothing else is in it. You can delete it at any time, and the environment variable `SEQLIB_PROGRESS` names
# another place for it, or says `off`.

# %%
from seqlib.progress import Progress

Progress()

# %% [markdown]
# Solve the exercise above, then run this cell again: the first circle fills.
#
# ## Notation
#
# Sizes have one letter each, in equations, comments and text alike.
#
# | Letter | What it counts |
# |:--|:--|
# | `B` | sequences in a batch |
# | `T` | time steps; of the target, where there are two sequences |
# | `S` | time steps of the source, where there are two sequences |
# | `E` | numbers in one input, or in the embedding of a token |
# | `H` | hidden units, the size of the state |
# | `V` | tokens in the vocabulary |
# | `N` | attention heads |
# | `K` | numbers in one head |
#
# Quantities are called in code what they are called in equations. In an equation vectors are columns, as in
# $W_{xh}\,x_t$; in code a batch has its vectors as rows, so it is `x_t @ W_xh`. The shapes are those in code.
#
# | Equation | Code | Shape | What it is |
# |:--|:--|:--|:--|
# | $x_t$ | `x[:, t]` | `(B, E)` | the input at step $t$ |
# | $h_t$ | `h` | `(B, H)` | the state after step $t$: what the network remembers |
# | $y_t$ | `y` | `(B, V)` | the output at step $t$: a score for each token |
# | $W_{xh}$ | `W_xh` | `(E, H)` | weights from the input to the state |
# | $W_{hh}$ | `W_hh` | `(H, H)` | weights from the old state to the new one |
# | $W_{hy}$ | `W_hy` | `(H, V)` | weights from the state to the output |
# | $b$, $b_y$ | `b`, `b_y` | `(H)`, `(V)` | biases of the state and of the output |
# | $L$ | `loss` | a number | the loss, which training makes small |
#
# ## Good to know
#
# **Keys.** Shift+Enter runs a cell. Esc leaves the text of a cell, and Enter goes back into it; outside of
# the text, A and B make a new cell above and below, and the arrow keys go from cell to cell. *Run All Cells*
# in the menu Run does what it says.
#
# **Stopping.** A training shows a bar with its progress, and the text says beforehand how long it takes. The
# square button above the notebook (or the key I twice, outside of the text) interrupts it. The model keeps
# what it has learnt so far, and you can go on to the next cell with it.
#
# **Starting again.** If names have got into a muddle, choose *Restart Kernel and Run All Cells* in the menu
# Kernel. To have a chapter as it was in the beginning, type `git checkout -- notebooks/02_rnn.ipynb` in a
# terminal in the course's folder, then choose *Reload Notebook from Disk* in the menu File; without git, take
# the file from a fresh copy of the course. This throws away what you wrote into the chapter, but not your
# progress. If you like to experiment, duplicate the chapter in the list of files and work in the copy.
#
# ## Where to go next
#
# Follow the arrows on the map. If the chain rule of probability and cross-entropy are familiar to you, you
# can begin with chapter 2: double-click on `02_rnn.ipynb` in the list of files on the left.
