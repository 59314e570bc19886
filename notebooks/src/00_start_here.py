# %% [markdown]
# # 0 Start here
#
# This is a course about sequences, such as the words of a sentence, the characters of a program, the frames
# of a clip, the sound of a voice or the price of a share, and about networks that read and write them. It
# goes from the probability of a sequence to the Transformer and what it is used for. In every chapter you
# build a model from scratch in a few lines, move sliders to see what it does, and find out where it fails.
# Nothing has to be taken on trust: what the text claims about a model, a cell has measured before your eyes.
#
# Everything runs on your own machine. Nothing is downloaded while you work, and nothing about you is sent
# anywhere. (At its first start JupyterLab itself asks whether it may fetch its news; the course doesn't need
# them.)
#
# This notebook takes ten minutes. It looks at your installation, shows the map, and goes once through all
# that a chapter is made of, in miniature. You should know some Python, and have trained some small network in
# PyTorch before. (Chapter 1 also fits by least squares, and chapter 3 speaks of eigenvalues.)
#
# ## Does everything work?
#
# Click on the next cell and press **Shift+Enter**: this runs the cell and goes on to the one below. A star in
# the brackets on its left says that it is still running, a number that it has been run. The numbers that you
# see now, and what is below the cells, were stored by us; running a cell replaces them.

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
# An arrow leads from a chapter to one that builds on it.

# %%
from seqlib.figures.course import plot_course_map

_ = plot_course_map(available=range(10))

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
    "A memory keeps 90 % of its content at every step. How much is left after 20 steps?",
    chapter=0,
    guess=None,
    unit="%",
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
print("keeping 99 %, half is left after 69 steps")

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
# Books and lecture notes have mistakes in them too. Each chapter states one to three such claims, and shows
# in a few lines that they are wrong. Try to say why before you read on. For example: *a memory that loses a
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
# Each exercise that you solve is noted in one small file in your home directory, `.seqlib-progress.json`, and
# so is each prediction that you make: the question, not your guess. Nothing else is in it, and it is sent
# nowhere. You can delete it at any time, and the environment variable `SEQLIB_PROGRESS` names another place
# for it, or says `off`.

# %%
from seqlib.progress import Progress

Progress()

# %% [markdown]
# Solve the exercise above, then run this cell again: the first circle fills. A guess at the prediction above
# counts in the column at the right.
#
# ## Notation
#
# Sizes have one letter each, in equations, comments and text alike. A few letters have to serve twice: a row
# holds in the chapters that it names. A letter that only a single exercise needs is explained there.
#
# | Size | What it counts | Chapters |
# |:--|:--|:--|
# | `B` | sequences (or pictures) in a batch | 2 to 9 |
# | `N` | examples in a data set | 2, 5, 6, 8 |
# | `N` | attention heads | 7, 9 |
# | `T` | steps of a sequence; of the target, where there are two sequences | 1 to 9 |
# | `S` | steps of the source; whatever attention can look at | 5 to 7, 9 |
# | `L` | places in the grid that attention looks at in a picture | 8 |
# | `L` | layers | 7 |
# | `E` | numbers in one input, or in the embedding of a token | 2 to 5 |
# | `H` | hidden units, the size of the state | 2 to 6, 8 |
# | `D` | numbers in one of the vectors that attention fetches or a Transformer passes on | 6 to 9 |
# | `K` | numbers in a query or key, $d_k$; where there are several heads, of one head | 6, 7 |
# | `V` | tokens in the vocabulary | 1, 2, 5 to 8 |
# | `P` | pixels in a patch | 9 |
#
# Quantities are called in code what they are called in equations. In an equation vectors are columns, as in
# $W_{xh}\,x_t$; in code a batch has its vectors as rows, so it is `x_t @ W_xh`.
#
# | Equation | Code | What it is | Chapters |
# |:--|:--|:--|:--|
# | $x_t$ | `x[:, t]` | the input at step $t$ | 1 to 4, 7 |
# | $h_t$ | `h` | the state after step $t$: what the network remembers | 1 to 8 |
# | $y_t$ | `y` | the output at step $t$: the logits of all tokens; in chapter 5 the right token | 2, 5 |
# | $W_{xh}$, $W_{hh}$ | `W_xh`, `W_hh` | weights from the input and from the old state to the new state | 2, 3 |
# | $b$ | `b` | a bias | 2 to 4 |
# | $L$, $\ell_t$ | `loss` | the loss, which training makes small, and that of step $t$ | 3 |
# | $a_t$, $\delta_t$ | `delta` | what goes into the tanh, and the gradient of the loss with respect to it | 3 |
# | $D_j$ | `D` | the tanh's slopes at step $j$, as a diagonal matrix | 3 |
# | $\sigma_{\max}$, $\rho$ | `sigma_max`, `rho` | a matrix's largest singular value, and its spectral radius | 3 |
# | $\sigma$ | `sigmoid` | the logistic function, from 0 to 1 | 3, 4 |
# | $\odot$ | `*` | the product unit by unit | 3, 4 |
# | $c_t$ | `c` | the cell of an LSTM | 4, 5 |
# | $i_t$, $f_t$, $o_t$, $g_t$ | `i`, `f`, `o`, `g` | an LSTM's input, forget and output gate, and its candidate | 4 |
# | $r_t$, $z_t$, $n_t$ | `r`, `z`, `n` | a GRU's reset and update gate, and its candidate; with $z_t = 1$ the state stays | 4 |
# | $s_t$ | `s` | the state of a decoder, where $h_s$ is the encoder's | 6 |
# | $q$, $k$, $v$ | `q`, `k`, `v` | query, key and value | 6, 7 |
# | $e$ | `scores` | attention's scores: how well a query fits each key | 6, 8 |
# | $\alpha$ | `weights` | attention's weights, the softmax of the scores | 6, 8 |
# | $W_Q$, $W_K$, $W_V$, $W_O$ | `W_Q`, `W_K`, `W_V`, `W_O` | what makes queries, keys and values, and what mixes the heads | 7 |
# | $p_t$ | `positions` | the vector that stands for position $t$; a $p$ with brackets is a probability | 7 |
# | $R$, $b$ | `reward`, `baseline` | the reward of a draw, and what is subtracted from it | 6, 8 |
# | $\tau$ | `temperature` | the temperature of a softmax; in chapter 1, how many values an autoregression sees | 2 |
#
# A few words, too, mean something definite here:
#
# | Word | What it means | Chapters |
# |:--|:--|:--|
# | step | one element of a sequence and the work for it; a *training step* changes the weights once | 1 to 9 |
# | weights | what a network learns; with attention, the shares that sum to 1 | 2 to 9 |
# | logits | the numbers that a softmax turns into probabilities of tokens or classes | 2, 5 to 9 |
# | context | the characters before (1), what the encoder hands over (5), the weighted sum of values (from 6 on) | 1, 5 to 8 |
# | memory | what a state remembers; from chapter 6 on, the vectors that attention can look at | 2 to 4, 6 to 8 |
# | held out | kept away from training, to measure on | 1, 2, 5 to 9 |
#
# ## Good to know
#
# **Keys.** Shift+Enter runs a cell. Esc leaves the text of a cell, and Enter goes back into it; outside of
# the text, A and B make a new cell above and below, and the arrow keys go from cell to cell. *Run All Cells*
# in the menu Run does what it says.
#
# **Stopping.** A training shows a bar with its progress, and the text says beforehand how long it takes. The
# square button above the notebook (or the key I twice, outside of the text) interrupts it. The model keeps
# what it has learnt so far, and you can go on with it. Only a cell that checks what the whole training should
# have reached may then say so with an `AssertionError`; go on to the one below it.
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
