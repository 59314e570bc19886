# %% [markdown]
# # 2 Recurrent networks
#
# Chapter 1 wrote the probability of a sequence as a product: each element given everything before it. That
# leaves a practical question. *Everything before it* grows longer with every step, and a network has a fixed
# number of inputs. The recurrent network answers with a bargain: keep a summary of the past in a vector of
# fixed size, and bring it up to date as each new element comes in.
#
# After this chapter you can write a recurrent network from two matrix products, train it, sample from it,
# wire it for five kinds of task, and say what it is bad at and why.
#
# You should know what a matrix product, a softmax and a cross-entropy are, and have trained some network in
# PyTorch before. Reading takes about an hour, with the exercises two. All cells together run in about 30
# seconds.

# %%
from functools import partial

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

from seqlib import data
from seqlib.checks import Prediction
from seqlib.checks import rnn as check
from seqlib.figures import style
from seqlib.training import fit, minibatches

SEED = 0
torch.manual_seed(SEED)
generator = torch.Generator().manual_seed(SEED)  # for all draws except initial weights
style.use()

# %% [markdown]
# ## A digit behind a slit
#
# Cut a slit into a sheet of card, three pixels wide, and pull a handwritten digit past it from right to left.
# Here is one digit, and what you see through the slit at each of twelve moments.

# %%
train, test = data.digits()  # 8 by 8 pixels, real handwriting


def slit_clip(images, width=3):
    """(N, 8, 8) images -> (N, T, 8 * width): one frame for each position of the slit."""
    margin = torch.zeros(len(images), 8, width)
    strip = torch.cat([margin, images, margin], 2)  # (N, 8, 8 + 2 width)
    return strip.unfold(2, width, 1).permute(0, 2, 1, 3).flatten(2)


clip = slit_clip(test.images[:1])
fig, axes = plt.subplots(1, 13, figsize=(10, 1.6), width_ratios=[2.6] + [1] * 12)
axes[0].imshow(test.images[0].numpy(), cmap="gray_r")
axes[0].set_title(f"a {test.labels[0]}")
for t, ax in enumerate(axes[1:]):
    ax.imshow(clip[0, t].view(8, 3).numpy(), cmap="gray_r", vmin=0, vmax=1)
    ax.set_title(str(t + 1))
for ax in axes:
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
print(f"a clip has {clip.shape[1]} frames of {clip.shape[2]} numbers")

# %% [markdown]
# No frame shows the whole digit. Somebody who watches the slit knows which digit it was all the same, because
# they remember the earlier frames. How much is memory worth here? Commit yourself to a number before you go
# on: replace `None` by your guess and run the cell.

# %%
best_frame = Prediction(
    "A network sees one frame only. At the best position of the slit, "
    "how many of 100 held-out digits does it name correctly?",
    chapter=2,
    guess=None,
    unit="of 100",
)
best_frame

# %% [markdown]
# Let us measure it: a small network that looks at each frame alone, trained on all frames of the training
# digits. For each frame it gives ten *logits*, numbers that a softmax turns into the probabilities of the
# digits. The helper `fit` is an ordinary training loop with a progress bar; `one_cycle` lets the learning
# rate rise at the beginning and fall towards the end. You may interrupt it, the network keeps what it has
# learnt; but the claims that follow hold for a training that ran to its end.

# %% tags=["nbval-ignore-output"]
clips, test_clips = slit_clip(train.images), slit_clip(test.images)
batches = minibatches(clips, train.labels, batch_size=64, generator=generator)


def name_every_frame(model):
    """Cross-entropy of naming the digit at every frame of a batch of clips."""
    frames, labels = next(batches)
    logits = model(frames)  # (B, T, 10)
    return F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(logits.shape[1]))


frame_model = nn.Sequential(nn.Linear(24, 64), nn.Tanh(), nn.Linear(64, 10))
fit(
    frame_model,
    lambda: name_every_frame(frame_model),
    steps=300,
    learning_rate=5e-3,
    one_cycle=True,
)

# %% tags=["nbval-ignore-output"]
correct = frame_model(test_clips).argmax(-1) == test.labels[:, None]  # (N, T)
frame_accuracy = correct.double().mean(0)
assert 0.5 < frame_accuracy.max() < 0.7 and frame_accuracy[[0, -1]].max() < 0.15
best_frame.compare(round(100 * frame_accuracy.max().item()))

# %% [markdown]
# Six digits in ten from the best frame, and one in ten (pure chance) at the two ends, where the slit shows
# nothing. We will come back to this task with a network that remembers.
#
# ## From a window to a state
#
# The obvious repair is a wider window: feed the last $w$ frames to the network side by side. Chapter 1 called
# this an autoregressive model of order $w$ (there, $\tau$). With a window as wide as the clip it works very
# well.


# %% tags=["nbval-ignore-output"]
def name_whole_clip():
    frames, labels = next(batches)
    return F.cross_entropy(window_model(frames.flatten(1)), labels)


window_model = nn.Sequential(nn.Linear(12 * 24, 64), nn.Tanh(), nn.Linear(64, 10))
fit(window_model, name_whole_clip, steps=300, learning_rate=5e-3, one_cycle=True)

# %%
named = window_model(test_clips.flatten(1)).argmax(-1) == test.labels
assert named.double().mean() > 0.88
print("a window of 12 frames: more than 88 of 100 digits")
for w in (1, 4, 12):
    size = sum(p.numel() for p in nn.Linear(24 * w, 64).parameters())
    print(f"weights in the first layer with a window of {w:2}: {size:,}")

# %% [markdown]
# If all clips had twelve frames, this chapter could end here. But what lies before the window is gone for
# good. And every position in the window has weights of its own, so the network grows with the window, and has
# to learn to recognise the same stroke anew at each position.
#
# A recurrent network replaces the window by a *state* $h_t$, a vector of fixed size $H$. The new state
# depends on the new input and on the old state:
#
# $$h_t = \tanh(W_{xh}\,x_t + W_{hh}\,h_{t-1} + b), \qquad\qquad y_t = W_{hy}\,h_t + b_y .$$
#
# The first term is the hidden layer of any network. The second term is the only news: the layer also listens
# to itself, one step ago. Because $h_{t-1}$ was made from $x_{t-1}$ and $h_{t-2}$, and so on, $h_t$ depends
# on *all* inputs so far. Jeffrey Elman (1990) trained such networks on sentences, so this form carries his
# name.
#
# On the left, the equation as a graph with a loop. On the right the same graph *unrolled*, one copy for each
# step. The copies share their weights: there is one $W_{xh}$, one $W_{hh}$ and one $W_{hy}$, used at every
# step, as a convolution uses one filter at every place of an image. Sharing over time instead of space, that
# is all.

# %%
from seqlib.figures.rnn import plot_unrolled

_ = plot_unrolled(4)

# %% [markdown]
# ## One step
#
# In equations vectors are columns. In code a batch is a matrix whose *rows* are the examples, so the products
# are written the other way round, `x @ W_xh`, with `W_xh` of shape `(E, H)`. The letters stay the same
# throughout the course: `B` examples in the batch, `T` time steps, `E` input features, `H` hidden units, `V`
# tokens in the vocabulary.
#
# **Exercise: one step.** Fill in the function, then let the check look at it. It knows the right answer and
# the usual mistakes, and tells you which one it looks like. `check.rnn_step.hint()` gives a hint, one more
# each time, and `check.rnn_step.solution()` a solution.


# %%
def rnn_step(x, h, W_xh, W_hh, b):
    """x (B, E), h (B, H), W_xh (E, H), W_hh (H, H), b (H) -> new state (B, H)"""
    raise NotImplementedError


check.rnn_step(rnn_step)

# %% [markdown]
# **Exercise: all steps.** A sequence is a loop over that step. The batch comes first, then time: `x[:, t]` is
# the input of step `t` for the whole batch. Gradients will have to find their way back through all the steps,
# so let none of them be cut off.


# %%
def unroll(x, h_0, W_xh, W_hh, b):
    """x (B, T, E), h_0 (B, H) -> the states h_1 ... h_T, stacked to (B, T, H)"""
    raise NotImplementedError


check.unroll(unroll)

# %% [markdown]
# ## The network from scratch
#
# Here is the whole thing as a PyTorch module. `nn.Linear` keeps its matrix transposed, of shape `(H, E)`,
# which is the $W$ of the equation above.


# %%
class ElmanRNN(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.x_to_h = nn.Linear(input_size, hidden_size)  # W_xh and the bias b
        self.h_to_h = nn.Linear(hidden_size, hidden_size, bias=False)  # W_hh

    def forward(self, x):
        h = x.new_zeros(len(x), self.h_to_h.in_features)  # (B, H): nothing seen yet
        states = []
        for x_t in x.unbind(1):  # T times (B, E)
            h = torch.tanh(self.x_to_h(x_t) + self.h_to_h(h))
            states.append(h)
        return torch.stack(states, 1)  # (B, T, H)


elman = ElmanRNN(24, 64)
elman(test_clips).shape

# %% [markdown]
# The package has the same network, with stacks and directions that we need further below. From here on we use
# that one. You needn't take its word: with the same weights, our loop, `seqlib` and `torch.nn` agree.

# %%
from seqlib.rnn import RNN

theirs = nn.RNN(24, 64, batch_first=True)
ours = RNN.from_torch(theirs)
elman.x_to_h.load_state_dict(ours.cells[0].x_to_h.state_dict())
elman.h_to_h.load_state_dict(ours.cells[0].h_to_h.state_dict())

output, h_n = ours(test_clips)
torch.testing.assert_close(output, elman(test_clips))
torch.testing.assert_close(output, theirs(test_clips)[0])
torch.testing.assert_close(h_n, theirs(test_clips)[1])
print("output, every step of the last layer:", tuple(output.shape))
print("h_n, the last step of every layer:   ", tuple(h_n.shape))

# %% [markdown]
# Back to the slit. The read-out is a linear layer on top of each state, and everything else stays as it was:
# same frames, same loss, same number of steps.


# %% tags=["nbval-ignore-output"]
class FrameLabeller(nn.Module):
    """A label for every step."""

    def __init__(self, input_size, hidden_size, labels, **options):
        super().__init__()
        self.rnn = RNN(input_size, hidden_size, **options)
        self.h_to_y = nn.Linear(hidden_size * self.rnn.num_directions, labels)

    def forward(self, x):
        states, _ = self.rnn(x)
        return self.h_to_y(states)  # (B, T, labels)


slit_model = FrameLabeller(24, 64, 10)
fit(
    slit_model,
    lambda: name_every_frame(slit_model),
    steps=300,
    learning_rate=5e-3,
    clip_norm=1.0,
    one_cycle=True,
)

# %%
from seqlib.figures.common import plot_accuracy_by_step

correct = slit_model(test_clips).argmax(-1) == test.labels[:, None]
rnn_accuracy = correct.double().mean(0)
plot_accuracy_by_step({"one frame": frame_accuracy, "with a state": rnn_accuracy}, chance=0.1)
assert rnn_accuracy[-1] > 0.75 and frame_accuracy[-1] < 0.2

# %% [markdown]
# Through the last slit position there is nothing to be seen, and the single frame is back to guessing. The
# recurrent network still names about four digits in five, all from memory. The window of twelve did better,
# since it sees everything at once; it has three times the weights, and could do nothing with a thirteenth
# frame. `clip_norm=1.0` in the training call limits the norm of the gradient; chapter 3 shows why recurrent
# networks need that.
#
# ## *hello* under the microscope
#
# The smallest language model there is reads `h`, `e`, `l`, `l` and has to predict `e`, `l`, `l`, `o`. It has
# a catch. After the first `l` comes an `l`, after the second comes an `o`: the input is the same and the
# answer is not. Only the state can tell the two apart.
#
# Characters enter as *one-hot* vectors, a 1 at the character's number and 0 elsewhere.

# %%
from seqlib.vocab import Vocabulary

letters = Vocabulary("hello")
hello = letters.encode("hello")[None]  # (1, 5)
one_hot = F.one_hot(hello[:, :-1], len(letters))
print(letters)
print("numbers:", hello.tolist())
print(one_hot[0])

# %% [markdown]
# A one-hot vector times a matrix picks one row of the matrix. With a large vocabulary nobody multiplies by
# all those zeros; the row is looked up, and the matrix is called an *embedding*. (Here it is a matrix `W`
# with a row of `E` numbers for each token.)
#
# **Exercise: embedding.** Write the look-up yourself.


# %%
def embed(tokens, W):
    """tokens (B, T) integers, W (V, E) -> (B, T, E), equal to one-hot @ W"""
    raise NotImplementedError


check.embed(embed)

# %% [markdown]
# PyTorch has it as `F.embedding` and as the module `nn.Embedding`. All are the same function, one fast and
# one easy to see.

# %%
W = torch.randn(len(letters), 3, generator=generator)
torch.testing.assert_close(F.embedding(hello[:, :-1], W), one_hot.float() @ W)

# %% [markdown]
# At each step the model's output goes through a softmax, and the loss of the step is the cross-entropy $-\log
# p(\text{target})$. The loss of the word is the sum over its steps, or the mean if words of several lengths
# are to be compared. By the chain rule of probability the sum is $-\log p(\texttt{ello} \mid \texttt{h})$:
# training raises the probability of the whole word.
#
# **Exercise: the loss.** Mind which character is the target of which step.


# %%
def next_char_loss(logits, tokens):
    """tokens (B, T + 1); logits (B, T, V): logits[:, t] was computed from tokens[:, : t + 1].

    Returns the mean cross-entropy of all B * T predictions.
    """
    raise NotImplementedError


check.next_char_loss(next_char_loss)

# %% [markdown]
# The model is `CharRNN` from the package: characters enter as one-hot vectors, go through the recurrent layer
# above, and a linear read-out gives one logit for each character of the vocabulary.

# %% tags=["nbval-ignore-output"]
from seqlib.rnn import CharRNN


def hello_loss(model):
    logits = model(hello[:, :-1]).logits  # (1, 4, 4)
    return F.cross_entropy(logits.flatten(0, 1), hello[0, 1:])


untrained, trained = CharRNN(len(letters), 5), CharRNN(len(letters), 5)
fit(trained, lambda: hello_loss(trained), steps=150, learning_rate=0.05)

# %%
written = trained.generate(hello[:, :1], length=4, temperature=0)[0]  # 0: always the likeliest one
print("".join(letters.decode(written)))
assert hello_loss(trained) < 0.01

# %% [markdown]
# Five hidden units, 150 steps, and it can spell. Now look inside. Move **Step** through the word and watch
# each tensor of the step, and switch between the untrained and the trained model. Find the two steps whose
# input is `l`: the one-hot vectors agree, the states don't, and the probabilities follow the states.

# %%
from seqlib.widgets.rnn import hello_explorer

hello_explorer({"trained": trained, "untrained": untrained}, letters, text="hello")

# %%
states = trained(hello[:, :-1]).states[0]  # (T, H)
first_l, second_l = states[2], states[3]
print("the two states differ:", bool((first_l - second_l).norm() > 0.5))
assert (first_l - second_l).norm() > 0.5

# %% [markdown]
# ## Find the flaw: adding up losses
#
# The lecture notes from which this course was made say: *each step of the sequence has a loss; the losses are
# added to a final loss; this is called backpropagation through time*. The first two statements are right. The
# third isn't, and a short experiment shows it. We compute the gradient of one and the same summed loss twice,
# for the same model. The second time the state is detached after every step, so that no gradient travels
# through time.


# %%
def summed_loss(model, through_time):
    h, total = torch.zeros(1, 5), 0.0
    for t in range(4):
        output = model(hello[:, t : t + 1], h)
        total = total + F.cross_entropy(output.logits[:, 0], hello[:, t + 1])
        h = output.states[:, -1] if through_time else output.states[:, -1].detach()
    return total


def gradient_of_W_hh(through_time):
    loss = summed_loss(untrained, through_time)
    (gradient,) = torch.autograd.grad(loss, untrained.cell.h_to_h.weight)
    return loss, gradient


loss_a, with_time = gradient_of_W_hh(through_time=True)
loss_b, without_time = gradient_of_W_hh(through_time=False)
torch.testing.assert_close(loss_a, loss_b)
difference = (with_time - without_time).norm() / with_time.norm()
print("same summed loss:", bool(torch.isclose(loss_a, loss_b)))
print("same gradient:   ", bool(torch.allclose(with_time, without_time)))
assert difference > 0.1

# %% [markdown]
# Adding up losses defines *what* is minimised. Backpropagation through time is *how* its gradient is found:
# by following each loss back through all earlier states. The two meet so often that they are easy to confuse.
# The next chapter is about the second one.
#
# ## From probabilities to text
#
# A trained model gives a distribution over the next character. Taking the likeliest each time (*argmax*, or
# greedy decoding) always writes the same text. Drawing from the distribution gives a different text each
# time, in which the model's uncertainty shows. Between the two lies the *temperature* $\tau$: draw from
# $\text{softmax}(y / \tau)$. Below 1 it sharpens the distribution, above 1 it flattens it, and towards 0 it
# becomes argmax.

# %%
from seqlib.decoding import token_probabilities

y = torch.tensor([2.0, 1.0, 0.0])
for temperature in (0, 0.5, 1, 2):
    shares = token_probabilities(y, temperature=temperature)
    print(f"temperature {temperature}: ", " ".join(f"{share:.3f}" for share in shares))

# %% [markdown]
# **Exercise: sampling.** `torch.multinomial` draws from given probabilities. Hand the generator on to it, or
# nobody can repeat your draw.


# %%
def sample_with_temperature(logits, temperature, generator):
    """logits (B, V) -> (B) token numbers, drawn from softmax(logits / temperature)"""
    raise NotImplementedError


check.sample_with_temperature(sample_with_temperature)

# %% [markdown]
# Now a real text. `data/tales.txt` holds fables that were written for this course, and we train a character
# model with 128 units on short pieces of them. This takes about 6 seconds.

# %% tags=["nbval-ignore-output"]
text, held_out_text = data.tales()
characters = Vocabulary(text + held_out_text)
tokens, held_out = characters.encode(text), characters.encode(held_out_text)


def pieces_of(tokens, length, count, generator):
    """`count` random stretches of `length` + 1 tokens."""
    starts = torch.randint(len(tokens) - length, (count, 1), generator=generator)
    return tokens[starts + torch.arange(length + 1)]


def text_loss(model, pieces):
    return F.cross_entropy(model(pieces[:, :-1]).logits.flatten(0, 1), pieces[:, 1:].flatten())


storyteller = CharRNN(len(characters), 128)
text_history = fit(
    storyteller,
    lambda: text_loss(storyteller, pieces_of(tokens, 50, 32, generator)),
    steps=600,
    learning_rate=4e-3,
    clip_norm=1.0,
    one_cycle=True,
)

# %%
from seqlib.figures.common import plot_losses

V = len(characters)
pairs = torch.full((V, V), 0.1)  # a little more than 0, so that no pair is impossible
pairs.index_put_((tokens[:-1], tokens[1:]), torch.ones(len(tokens) - 1), accumulate=True)
letter, following = held_out[:-1], held_out[1:]
letters_loss = -(pairs.sum(0) / pairs.sum()).log()[following].mean()
pairs_loss = -(pairs / pairs.sum(1, keepdim=True)).log()[letter, following].mean()
with torch.no_grad():
    probe = pieces_of(held_out, 100, 64, torch.Generator().manual_seed(1))
    held_out_loss = text_loss(storyteller, probe)
ax = plot_losses({"character model": text_history})
for value, label in ((letters_loss, "letter frequencies alone"), (pairs_loss, "pairs of letters")):
    ax.axhline(value, color=style.GREY, linestyle="--")
    ax.text(600, value, label, va="bottom", ha="right", color=style.GREY)
assert held_out_loss < 0.6 * letters_loss and held_out_loss < 0.8 * pairs_loss

# %% [markdown]
# On tales it has never seen, the model's loss is less than three fifths of what letter frequencies alone
# would give, and a fifth less than with the frequencies of pairs, so it uses more than the last letter. It
# has nothing to say; it is a model of spelling more than of stories. Play with the **Temperature** and with
# **Top-k**, which keeps the k likeliest characters and drops the others. At temperature 0 it soon goes round
# in circles. At 2 it is scribbling.

# %%
from seqlib.widgets.rnn import sampling_explorer

sampling_explorer(storyteller, characters, prompt="The miller sai")

# %%
prompt = characters.encode("The miller sai")[None]
greedy = storyteller.generate(prompt, length=1000, temperature=0)[0].tolist()
tail = greedy[-400:]
repeats = [period for period in range(1, 300) if tail[period:] == tail[:-period]]
assert repeats
print("1,000 characters of argmax end in a loop")

# %% [markdown]
# ## Why tanh?
#
# Nothing in the idea of a state asks for a hyperbolic tangent. A sigmoid would bound the state as well, and a
# ReLU is what most other networks use. The difference shows when one function is applied over and over. Let
# random, untrained networks read 50 random inputs, and measure two things for each activation: how large the
# state becomes, and how much of the gradient of the last state arrives at the first. One number sets how
# strongly the network listens to itself: the largest absolute value of an eigenvalue of $W_{hh}$. Call it the
# *gain*.

# %%
exploding = Prediction(
    "At gain 2, which activation lets the gradient explode most?",
    choices=("tanh", "sigmoid", "ReLU"),
    chapter=2,
    guess=None,
)
exploding

# %%
from seqlib.bptt import gradient_norms, unroll
from seqlib.untrained import random_cell


def state_and_gradient(activation, gain, seed):
    """Size of the last of 50 states, and the share of its gradient that arrives at the first."""
    g = torch.Generator().manual_seed(seed)
    cell = random_cell("RNN", 8, 64, gain=gain, activation=activation, generator=g)
    x = torch.randn(16, 50, 8, generator=g, dtype=torch.float64)
    [last_state] = unroll(cell, x)[-1]
    norms = gradient_norms(cell, x)
    return last_state.detach().square().mean().sqrt(), norms[0] / norms[-1]


gains = [0.7, 1.0, 1.4, 2.0, 2.8, 4.0]
size, arriving = {}, {}  # each (gains, 10): ten networks for every gain
for activation in ("tanh", "sigmoid", "ReLU"):
    runs = [[state_and_gradient(activation, gain, seed) for seed in range(10)] for gain in gains]
    size[activation], arriving[activation] = torch.tensor(runs, dtype=torch.float64).unbind(-1)

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
lines = {"tanh": ("o-", style.BLUE), "sigmoid": ("s--", style.ORANGE), "ReLU": ("^:", style.GREEN)}
for activation, (line, colour) in lines.items():
    for ax, measured in ((left, size[activation]), (right, arriving[activation])):
        ax.loglog(gains, measured.median(1).values, line, color=colour, label=activation)
        ax.fill_between(gains, measured.amin(1), measured.amax(1), color=colour, alpha=0.2)
for ax, title in ((left, "size of the last state"), (right, "share of the gradient that arrives")):
    ax.set(title=title, xlabel="gain", xticks=gains, xticklabels=gains)
    ax.minorticks_off()
_ = left.legend()

# %% [markdown]
# Lines are medians of ten networks, the bands reach from the smallest to the largest.

# %%
assert size["tanh"].max() < 1 and size["sigmoid"].max() < 1
assert size["ReLU"][gains.index(2.0)].median() > 1000
assert (arriving["tanh"] > arriving["sigmoid"]).all()
assert arriving["sigmoid"][gains.index(2.0)].max() < 2.0**-49  # 49 steps, and each halves it, or worse
at_gain_2 = {activation: values[gains.index(2.0)].median().item() for activation, values in arriving.items()}
by_luck = arriving["ReLU"][gains.index(1.4)]
assert by_luck.max() > 1e4 * by_luck.min()
assert 1e-3 < at_gain_2["tanh"] < 1e3 and at_gain_2["ReLU"] > 1e4
exploding.compare(max(at_gain_2, key=at_gain_2.get))

# %% [markdown]
# The ReLU lets the state grow without bound, at gain 2 in the median beyond a thousand, and the gradient
# grows with it. The sigmoid's slope is at most 1/4. At gain 2 that alone would cost a factor of two with each
# step, and after fifty steps less than $10^{-15}$ is left. The tanh keeps the state between $-1$ and $1$, has
# slope 1 at the origin, and at every gain tried here it loses less than the sigmoid.
#
# Each activation has a gain at which the gradient survives: for the tanh it is near 2 in this experiment, for
# the ReLU near 1.4, where networks drawn alike differ by more than four powers of ten. There is nothing
# sacred about the tanh, then. It is the one whose state cannot explode and whose gradient needn't vanish.
# (With a careful initialisation a ReLU can be made to work: Le, Jaitly and Hinton, 2015.)
#
# ## One cell, five wirings
#
# So far there was an output at every step. That is one of several ways to connect the same cell. Choose a
# **Wiring** to see which inputs and outputs it uses.

# %%
from seqlib.widgets.rnn import wiring_explorer

wiring_explorer()

# %% [markdown]
# *One to one* is an ordinary network, and the slit was *many to many in step*. Here are the others, each
# trained on something real or at least readable.
#
# ### Many to one: reading a digit by glimpses
#
# The network sees sixteen patches of 2 by 2 pixels, one after another, and answers once, from its last state.


# %% tags=["nbval-ignore-output"]
class Reader(nn.Module):
    """One answer for a whole sequence."""

    def __init__(self, input_size, hidden_size, answers):
        super().__init__()
        self.rnn = RNN(input_size, hidden_size)
        self.h_to_y = nn.Linear(hidden_size, answers)

    def forward(self, x):
        _, h_n = self.rnn(x)
        return self.h_to_y(h_n[-1])  # (B, answers)


def glimpses(images):
    """(N, 8, 8) -> (N, 16, 4): patches of 2 by 2, row by row."""
    return images.view(-1, 4, 2, 4, 2).transpose(2, 3).reshape(-1, 16, 4)


glimpse_batches = minibatches(glimpses(train.images), train.labels, batch_size=64, generator=generator)


def glimpse_loss():
    patches, labels = next(glimpse_batches)
    return F.cross_entropy(reader(patches), labels)


reader = Reader(4, 64, 10)
fit(reader, glimpse_loss, steps=400, learning_rate=5e-3, clip_norm=1.0, one_cycle=True)

# %%
accuracy = (reader(glimpses(test.images)).argmax(-1) == test.labels).double().mean()
assert accuracy > 0.88
print("more than 88 % of the held-out digits read from sixteen glimpses")

# %% [markdown]
# ### Many to one again: where the order decides
#
# "Good, not bad" and "bad, not good" consist of the same words. A model that only counts words cannot tell
# them apart, whatever its weights: its two inputs are identical. Every sentence below has such a twin with
# the opposite meaning.

# %%
GOOD = ["good", "fresh", "warm", "kind", "bright", "clever", "quick", "honest"]
BAD = ["bad", "stale", "cold", "cruel", "dull", "foolish", "slow", "false"]
THINGS = ["bread", "lamp", "letter", "song", "soup", "tale"]


def review(thing, good, bad, praise, not_first):
    """A sentence of seven tokens."""
    true, untrue = (good, bad) if praise else (bad, good)
    judgement = ["not", untrue, "but", true] if not_first else [true, ",", "not", untrue]
    return ["the", thing, "is", *judgement]


reviews = [
    (review(thing, good, bad, praise, not_first), praise, (good, bad))
    for thing in THINGS
    for good in GOOD
    for bad in BAD
    for praise in (False, True)
    for not_first in (False, True)
]
words = Vocabulary(word for sentence, _, _ in reviews for word in sentence)
sentences = torch.stack([words.encode(sentence) for sentence, _, _ in reviews])  # (N, 7)
is_praise = torch.tensor([int(praise) for _, praise, _ in reviews])
seen = torch.tensor([(GOOD.index(good) + BAD.index(bad)) % 4 != 0 for _, _, (good, bad) in reviews])
for sentence, praise, _ in reviews[:4]:
    print("praise " if praise else "blame  ", " ".join(sentence))
print(f"{seen.sum():,} sentences for training, {(~seen).sum():,} with new pairs held out")

# %% tags=["nbval-ignore-output"]
review_batches = minibatches(sentences[seen], is_praise[seen], batch_size=64, generator=generator)
critic = Reader(len(words), 32, 2)
counter = nn.Sequential(nn.Linear(len(words), 64), nn.Tanh(), nn.Linear(64, 2))


def review_loss(model, prepare):
    batch, labels = next(review_batches)
    return F.cross_entropy(model(prepare(batch)), labels)


def in_order(batch):
    return F.one_hot(batch, len(words)).float()  # (B, 7, V)


def counted(batch):
    return in_order(batch).sum(1)  # (B, V): how often each word occurs


for model, prepare, label in ((critic, in_order, "in order"), (counter, counted, "counted")):
    loss = partial(review_loss, model, prepare)
    fit(model, loss, steps=400, learning_rate=5e-3, clip_norm=1.0, one_cycle=True, label=label)


# %%
def accuracy_on_new_pairs(model, prepare):
    return (model(prepare(sentences[~seen])).argmax(-1) == is_praise[~seen]).double().mean().item()


assert accuracy_on_new_pairs(critic, in_order) > 0.95
assert accuracy_on_new_pairs(counter, counted) == 0.5
print("words in order: more than 95 % of new sentences understood")
print("words counted:  exactly 50 %")

# %% [markdown]
# Exactly, not roughly: whatever the counting model answers to a sentence it answers to its twin as well, and
# one of the two is wrong.
#
# ### One to many: drawing a digit from its label
#
# Now the other way round. The label comes first, and the network draws the digit row by row. (The label sets
# the *initial* state here; as a first input, as in the picture above, it would do as well.) In training the
# network reads the true rows of a digit and learns to predict the row that follows; this is called *teacher
# forcing*. When it draws, nobody knows the true rows. Each pixel of a row is drawn at random, with the
# probability that the network gives it, and the drawn row becomes the next input. Pixels are black or white
# here, and those of one row are drawn independently of each other.

# %% tags=["nbval-ignore-output"]
from seqlib.rnn import RNNCell


class Draughtsman(nn.Module):
    def __init__(self, hidden_size):
        super().__init__()
        self.label_to_h = nn.Embedding(10, hidden_size)
        self.cell = RNNCell(8, hidden_size)
        self.h_to_row = nn.Linear(hidden_size, 8)

    def forward(self, rows, labels):
        """Logits of every row (B, 8, 8), each given the true rows above it."""
        above = torch.cat([torch.zeros(len(rows), 1, 8), rows[:, :-1]], 1)
        states, _ = self.cell.unroll(above, self.label_to_h(labels))
        return self.h_to_row(states)

    @torch.no_grad()
    def draw(self, labels, generator, temperature=0.5):
        h, row, rows = self.label_to_h(labels), torch.zeros(len(labels), 8), []
        for _ in range(8):
            h = self.cell(row, h)
            row = torch.bernoulli(torch.sigmoid(self.h_to_row(h) / temperature), generator=generator)
            rows.append(row)
        return torch.stack(rows, 1)  # (B, 8, 8)


def black_and_white(images):
    return (images > 0.5).float()


drawing_batches = minibatches(black_and_white(train.images), train.labels, batch_size=64, generator=generator)


def drawing_loss():
    rows, labels = next(drawing_batches)
    return F.binary_cross_entropy_with_logits(draughtsman(rows, labels), rows)


draughtsman = Draughtsman(96)
fit(draughtsman, drawing_loss, steps=800, learning_rate=1e-2, clip_norm=1.0, one_cycle=True)

# %% [markdown]
# Are these digits? Ask a judge of quite another kind: a support vector machine from scikit-learn, trained on
# the same real digits. On real digits that were held out it is right about nine times in ten. The drawings
# are made at temperature 0.5, which keeps out unlikely pixels and much of the variety with them.

# %%
from sklearn.svm import SVC

from seqlib.figures.common import plot_digits

judge = SVC(gamma=0.05, C=10)
judge.fit(black_and_white(train.images).flatten(1).numpy(), train.labels.numpy())
on_real = judge.score(black_and_white(test.images).flatten(1).numpy(), test.labels.numpy())

labels = torch.arange(10).repeat(30)
drawn = draughtsman.draw(labels, generator)  # (300, 8, 8)
on_drawn = judge.score(drawn.flatten(1).numpy(), labels.numpy())
plot_digits(drawn[:20], labels[:20].tolist(), columns=10)
print(f"real held-out digits that the judge recognises: {100 * on_real:.0f} %")
print("drawings that it recognises: more than 90 %")
assert 0.88 < on_real < 0.94 and on_drawn > 0.9

# %% [markdown]
# ### Many to many through a summary: reversing a word
#
# The last wiring reads first and writes afterwards. It cannot begin to write before the last letter is in,
# since that letter comes first in the answer. One network, the *encoder*, reads the word and ends in a state;
# a second one, the *decoder*, starts from that state and writes.

# %% tags=["nbval-ignore-output"]
GO = 26  # tells the decoder to begin


class Reverser(nn.Module):
    def __init__(self, hidden_size):
        super().__init__()
        self.embedding = nn.Embedding(27, 32)
        self.encoder, self.decoder = RNNCell(32, hidden_size), RNNCell(32, hidden_size)
        self.h_to_y = nn.Linear(hidden_size, 26)

    def read(self, word):
        x = self.embedding(word)
        return self.encoder.unroll(x, self.encoder.initial_state(x))[1]  # the summary (B, H)

    def forward(self, word, answer_so_far):
        states, _ = self.decoder.unroll(self.embedding(answer_so_far), self.read(word))
        return self.h_to_y(states)

    @torch.no_grad()
    def reverse(self, word):
        h, letter, answer = self.read(word), torch.full((len(word),), GO), []
        for _ in range(word.shape[1]):
            h = self.decoder(self.embedding(letter), h)
            letter = self.h_to_y(h).argmax(-1)
            answer.append(letter)
        return torch.stack(answer, 1)


def reversal_loss():
    length = int(torch.randint(1, 5, (1,), generator=generator))  # one to four letters
    word = torch.randint(26, (64, length), generator=generator)
    answer = word.flip(1)
    so_far = torch.cat([torch.full((64, 1), GO), answer[:, :-1]], 1)
    return F.cross_entropy(reverser(word, so_far).flatten(0, 1), answer.flatten())


reverser = Reverser(128)
fit(reverser, reversal_loss, steps=1500, learning_rate=3e-3, clip_norm=1.0, one_cycle=True)

# %%
lengths = range(1, 9)
exact = []
for length in lengths:
    word = torch.randint(26, (500, length), generator=generator)
    exact.append((reverser.reverse(word) == word.flip(1)).all(1).double().mean().item())

fig, ax = plt.subplots(figsize=(5, 3))
bars = ax.bar(lengths, exact, color=[style.BLUE if length < 5 else style.GREY for length in lengths])
ax.set(xlabel="letters in the word", ylabel="share reversed exactly", ylim=(0, 1.05))
ax.text(6.5, 0.5, "longer than\nin training", ha="center")
assert min(exact[:4]) > 0.9 and 0.1 < exact[4] < 0.6 and max(exact[6:]) < 0.02

# %% [markdown]
# Up to four letters, the lengths it was trained on, it reverses nearly everything. With a fifth letter it
# gets about a third of the words right, with a seventh none: it has learnt a code for short words. Would
# training on longer words help? Up to a point, since the whole word has to fit through one vector. Chapter 5
# takes this wiring further, and chapter 6 opens the bottleneck.
#
# ## Deep, bidirectional, and of different lengths
#
# Layers can be stacked: the states of the first are the inputs of the second. And a sequence that lies before
# us as a whole can be read from both ends, with the two states put side by side. When does the second
# direction matter? Take the digits of a number, read from left to right, and name the place of each: units,
# tens, hundreds, thousands. The `3` in `3`, `38` and `3810` has three different places, and what decides is
# how many digits *follow*.
#
# Numbers have different lengths, and a batch is a rectangle. So shorter ones are *padded*, and to keep the
# padding out of the computation the batch is *packed*: `pack_padded_sequence` stores only the steps that
# exist. This matters most for the backward direction, which would otherwise begin in the padding.

# %%
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def numbers(count, generator, longest=7):
    """Digits (B, 7) of numbers of one to seven digits, the place of each, and the lengths."""
    lengths = torch.randint(1, longest + 1, (count,), generator=generator)
    digits = torch.randint(10, (count, longest), generator=generator)
    places = (lengths[:, None] - 1 - torch.arange(longest)).clamp(min=0)
    return digits, places, lengths


class PlaceNamer(nn.Module):
    def __init__(self, bidirectional):
        super().__init__()
        self.rnn = RNN(10, 32, bidirectional=bidirectional)
        self.h_to_y = nn.Linear(32 * self.rnn.num_directions, 7)

    def forward(self, digits, lengths):
        x = F.one_hot(digits, 10).float()
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=digits.shape[1])
        return self.h_to_y(states)  # (B, T, 7)


example = numbers(3, torch.Generator().manual_seed(5))
packed = pack_padded_sequence(example[0], example[2], batch_first=True, enforce_sorted=False)
print("lengths:", example[2].tolist())
print("stored steps:", len(packed.data), "of", example[0].numel())
print("sequences still running at each step:", packed.batch_sizes.tolist())


# %% tags=["nbval-ignore-output"]
def place_loss(model):
    digits, places, lengths = numbers(64, generator)
    present = torch.arange(7) < lengths[:, None]
    return F.cross_entropy(model(digits, lengths)[present], places[present])


one_way, both_ways = PlaceNamer(False), PlaceNamer(True)
for model, label in ((one_way, "left to right"), (both_ways, "both directions")):
    fit(
        model,
        partial(place_loss, model),
        steps=200,
        learning_rate=1e-2,
        one_cycle=True,
        label=label,
    )

# %%
digits, places, lengths = numbers(1000, generator)
present = torch.arange(7) < lengths[:, None]
share = {
    label: (model(digits, lengths).argmax(-1) == places)[present].double().mean()
    for label, model in (("left to right", one_way), ("both directions", both_ways))
}
assert share["left to right"] < 0.35 and share["both directions"] > 0.97
print("left to right:   fewer than 35 % of the places named")
print("both directions: more than 97 %")

# %% [markdown]
# Reading from left to right, only a seventh digit gives itself away. All lengths are equally common here, so
# for the digits before it every guess is as good as another, and nobody could do better than one in four on
# average. This isn't a weakness of training; the information isn't there yet. A model that writes text as it
# goes can never be bidirectional, for the same reason.
#
# The shapes of `torch.nn.RNN` confuse nearly everyone once, so here they are for a stack of two layers in
# both directions.

# %%
deep = nn.RNN(10, 20, num_layers=2, bidirectional=True, batch_first=True)
x = torch.randn(5, 64, 10, generator=generator)  # (B, T, E)
output, h_n = deep(x)
ours_output, ours_h_n = RNN.from_torch(deep)(x)
torch.testing.assert_close(ours_output, output)
torch.testing.assert_close(ours_h_n, h_n)
print("output", tuple(output.shape), " = B, T, 2 H: the last layer, every step")
print(
    "h_n   ",
    tuple(h_n.shape),
    "= layers * 2, B, H: every layer and direction, its own last step",
)

# %% [markdown]
# The last step of the forward direction is `output[:, -1, :H]`. The backward direction ends at the *first*
# position, so its last state is `output[:, 0, H:]`. And `h_n` is never batch first, whatever `batch_first`
# says.

# %%
torch.testing.assert_close(h_n[2], output[:, -1, :20])
torch.testing.assert_close(h_n[3], output[:, 0, 20:])

# %% [markdown]
# ## Find the flaw: a network that mixes people up
#
# Somebody trains `nn.RNN(10, 20)` on 64 patients, 5 visits each with 10 values, `x` of shape `(64, 5, 10)`.
# It runs, the shapes look right, and the results are poor. Before you read on: what is wrong?

# %%
rnn = nn.RNN(10, 20)
x = torch.randn(64, 5, 10, generator=generator)
changed = x.clone()
changed[0] += 1.0  # only patient 0 changes
moved = (rnn(changed)[0] - rnn(x)[0]).abs().amax((1, 2)) > 1e-6
print("shape of the output:", tuple(rnn(x)[0].shape))
print("only patient 0 moved:", int(moved.sum()) == 1)
assert moved.sum() > 1

# %% [markdown]
# Without `batch_first=True` the first axis is *time*. The network read one sequence of 64 steps through all
# patients, five times over, and patient 0's values leak into the patients after it, as far as the network
# remembers. No error is raised, since any shape of three axes will do. The test above is worth keeping:
# change one example, and see that no other one moves.

# %%
rnn = nn.RNN(10, 20, batch_first=True)
moved = (rnn(changed)[0] - rnn(x)[0]).abs().amax((1, 2)) > 1e-6
print("only patient 0 moved:", int(moved.sum()) == 1)
assert moved.sum() == 1

# %% [markdown]
# ## What it costs
#
# The same weights serve a sequence of any length, so the number of parameters doesn't depend on $T$. The work
# does: it grows in proportion. And the steps have to wait for each other, since $h_t$ cannot be computed
# before $h_{t-1}$.

# %%
from torch.utils.flop_counter import FlopCounterMode

model = RNN(24, 64)
size = sum(p.numel() for p in model.parameters())
for T in (10, 100, 1000):
    with FlopCounterMode(display=False) as operations, torch.no_grad():
        model(torch.zeros(1, T, 24))
    millions = operations.get_total_flops() / 1e6
    print(f"T = {T:4}: {size:,} parameters, {millions:5.2f} million operations, {T} in a row")

# %% [markdown]
# A graphics card could do a thousand things at once. The products $W_{xh}\,x_t$ of all steps can be computed
# together, and so can all sequences of a batch; but the products $W_{hh}\,h_{t-1}$ have to wait for each
# other. This, and not the amount of work, is what made the Transformer (chapter 7) attractive.
#
# The other weakness is memory. In principle $h_t$ can hold on to something from any distance. In the slit
# clip it had to last for three frames or so. How far does it reach in practice? Give the storyteller the same
# fifty characters after two different openings, and see whether it can tell the openings apart.

# %% tags=["nbval-ignore-output"]
with torch.no_grad():
    stretch = pieces_of(held_out, 60, 200, torch.Generator().manual_seed(2))
    other = stretch.clone()
    other[:, :10] = pieces_of(held_out, 9, 200, torch.Generator().manual_seed(3))
    a, b = storyteller(stretch[:, :-1]), storyteller(other[:, :-1])
    change = (a.probabilities - b.probabilities).abs().sum(-1).mean(0) / 2  # (T,)

fig, ax = plt.subplots(figsize=(6, 3))
ax.semilogy(range(-9, 51), change, color=style.BLUE)
ax.axvspan(-9, 0.5, color=style.GREY, alpha=0.2)
ax.set(xlabel="characters since the texts agree", ylabel="probability moved")
ax.text(-4.5, change.min(), "different", ha="center")
assert change[9:19].mean() > 1000 * change[-10:].mean()

# %% [markdown]
# Within a few words the past has faded: of the probability that the different opening moved at first, less
# than a thousandth is left after forty characters. Does it have no use for more, or could it not learn to
# keep more? What stands in the way of learning is the question of chapter 3.
#
# ## What was measured
#
# A single frame through the slit named about six digits in ten at best; with a state, about eight in ten,
# even when nothing is visible any more, and a window over the whole clip about nine. The state separates the
# two `l` of "hello". Adding losses is not backpropagation through time: same loss, other gradient. The tanh
# keeps states bounded and loses less gradient than the sigmoid. One cell, wired differently, reads digits by
# glimpses (more than 88 %), tells praise from blame in a toy grammar with *not*, where counting words is at
# exactly 50 %, draws digits that a judge recognises (more than 90 %), and reverses words up to the length it
# was trained on. Reading in both directions names the places of digits (more than 97 %), where one direction
# cannot do better than a quarter. Parameters stay, work grows with $T$, and the recurrence runs one step at a
# time.
#
# ## Further reading
#
# Jeffrey Elman, *Finding structure in time* (1990), still a pleasure. Tomáš Mikolov and others, *Recurrent
# neural network based language model* (2010). Alex Graves, *Generating sequences with recurrent neural
# networks* (2013). Mike Schuster and Kuldip Paliwal, *Bidirectional recurrent neural networks* (1997). Andrej
# Karpathy's essay *The unreasonable effectiveness of recurrent neural networks* (2015) for what larger
# character models can do.
#
# ## The bridge
#
# We have called `backward()` many times in this chapter and never asked what it does to a loop. Chapter 3
# does it by hand, follows the gradient back through time, and watches it disappear.
