# %% [markdown]
# # 4 LSTM and GRU
#
# A reader of a long sentence keeps its subject in mind and lets the rest go by. The network of chapter 2
# can't do that on purpose: at every step its whole state goes through the same matrix and the same tanh,
# wanted or not, and chapter 3 measured what becomes of it on the way. This chapter gives the network a memory
# that stays as it is unless somebody acts, and small networks inside the network, called gates, that decide
# when to write, when to keep and when to speak. Then it trains such a network on program code and looks into
# it, unit by unit, for what it has noticed.
#
# After this chapter you can write an LSTM and a GRU step by step, count their parameters, say which of two
# GRU conventions a formula follows, choose the initial biases so that a gradient arrives, and search a
# trained network for units that mean something, without fooling yourself.
#
# You should have read chapters 2 and 3. Reading takes about an hour and a half, with the exercises two and a
# half. All cells together run in about 75 seconds; most of that is training.

# %%
import math
from functools import partial

import matplotlib.pyplot as plt
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F

from seqlib import data
from seqlib.checks import Prediction
from seqlib.checks import gated as check
from seqlib.figures import style
from seqlib.rnn import RNN
from seqlib.training import fit

SEED = 0
torch.manual_seed(SEED)
generator = torch.Generator().manual_seed(SEED)
style.use()

# %% [markdown]
# ## Which symbol was the first?
#
# In the adding problem of chapter 3, to which we come back, two numbers were marked. Here is a task without
# any mark. The network reads fifty symbols, each one of eight, and at the end has to say which was the
# *first*. The other forty-nine are noise. (Bengio and others, 1994, called such a task *latching*: a latch
# holds a door.)

# %%
x, first = data.latch_problem(sequences=1, length=50, generator=generator)
fig, ax = plt.subplots(figsize=(9, 1.9))
symbols = x[0].argmax(-1)
ax.scatter(range(2, 51), symbols[1:], color="#B8B8B8", s=30)
ax.scatter([1], symbols[:1], color=style.ORANGE, edgecolor="black", s=90, zorder=3)
ax.set(xlabel="step", ylabel="symbol", yticks=range(8), xticks=[1, *range(10, 51, 10)])
ax.set_title("the orange one is asked for, after the last step")
assert symbols[0] == first[0]

# %% [markdown]
# We give the recurrent network of chapter 2 64 units and 600 batches of 32 sequences each, and we do it three
# times, since the initial weights are drawn at random. A guess is right one time in eight.

# %%
rnn_recalls = Prediction("The mean share of right answers of the three, from 0 to 1:", chapter=4, guess=None)
rnn_recalls


# %% tags=["nbval-ignore-output"]
class Reader(nn.Module):
    """Reads a sequence and answers once, from the last state."""

    def __init__(self, network, outputs):
        super().__init__()
        self.network = network
        self.h_to_y = nn.Linear(network.hidden_size, outputs)

    def forward(self, x):
        states, _ = self.network(x)
        return self.h_to_y(states[:, -1])  # (B, outputs)


def latch_loss(reader):
    x, first = data.latch_problem(sequences=32, length=50, generator=generator)
    return F.cross_entropy(reader(x), first)


def train(reader, loss, *, label):
    fit(
        reader,
        partial(loss, reader),
        steps=600,
        learning_rate=1e-2,
        clip_norm=1.0,
        one_cycle=True,
        label=label,
    )


rnn_readers = [Reader(RNN(8, 64), 8) for _ in range(3)]
for k, reader in enumerate(rnn_readers, 1):
    train(reader, latch_loss, label=f"RNN {k} of 3")


# %% tags=["nbval-ignore-output"]
@torch.no_grad()
def share_recalled(reader):
    x, first = data.latch_problem(sequences=2000, length=50, generator=generator)
    return (reader(x).argmax(-1) == first).double().mean().item()


by_rnns = [share_recalled(reader) for reader in rnn_readers]
print("  ".join(f"{share:.2f}" for share in by_rnns))
assert sum(by_rnns) / 3 < 0.85
rnn_recalls.compare(round(sum(by_rnns) / 3, 2), within=1.5)

# %% [markdown]
# Three networks that differ in nothing but what was drawn at random, and three results that have little in
# common. In other runs of ours they lay anywhere between guessing and nine of ten. Holding on to something
# for fifty steps against noise is not what this network is made for.
#
# ## A state that is added to
#
# In the network of chapter 2 the old state is multiplied by a matrix and squeezed, at every step: $h_t =
# \tanh(W_{hh} h_{t-1} + \dots)$. Suppose there were a second state, $c_t$, to which is only added:
#
# $$ c_t = c_{t-1} + g_t, \qquad\text{so}\qquad \frac{\partial c_t}{\partial c_{t-1}} = 1 . $$
#
# Nothing shrinks here, and nothing grows, over any number of steps. Sepp Hochreiter and Jürgen Schmidhuber
# (1997) built their *long short-term memory* around this line and called it the constant error carousel. But
# a memory that adds up all it sees is soon full of noise. So they put a *gate* before it: a number between 0
# and 1 that multiplies what comes in. A gate is computed with a sigmoid, and learnt like everything else. A
# second gate stands at the exit. Felix Gers and his colleagues (2000) added a third, so that the memory can
# also be emptied. With all three, an LSTM computes
#
# $$ \begin{aligned}
# i_t &= \sigma(W_{xi}\,x_t + W_{hi}\,h_{t-1} + b_i) &\quad& \text{input gate: how much is let in?}\\
# f_t &= \sigma(W_{xf}\,x_t + W_{hf}\,h_{t-1} + b_f) && \text{forget gate: how much is kept?}\\
# g_t &= \tanh(W_{xg}\,x_t + W_{hg}\,h_{t-1} + b_g) && \text{candidate: what could be written?}\\
# o_t &= \sigma(W_{xo}\,x_t + W_{ho}\,h_{t-1} + b_o) && \text{output gate: how much is said?}\\[4pt]
# c_t &= f_t \odot c_{t-1} + i_t \odot g_t && \text{the cell}\\
# h_t &= o_t \odot \tanh(c_t) && \text{the state that others see}
# \end{aligned} $$
#
# Each unit has its own three gates, and $\odot$ multiplies unit by unit. In spite of its name the forget gate
# *keeps* when it is 1. The cell $c$ is private: only $h$ goes to the read-out and into the gates of the next
# step.
#
# Here is a single unit whose gates you hold in your hands. They are the same at every step, and the
# candidates are given: a pulse up, a pulse down, then two in a row. **Step** chooses the step whose
# arithmetic is written out.

# %%
from seqlib.widgets.gated import gate_explorer

gate_explorer()

# %% [markdown]
# Try these. **Forget** at 1 keeps for ever: the cell is a counter, and the two pulses in a row take it to
# where no tanh could go. At 0.9 it forgets half in about seven steps. **Input** at 0 shuts the door. And
# **Output** at 0 makes the unit silent, without taking anything away from what it remembers: this is the
# point of having both $c$ and $h$. (To keep one thing and refuse the rest, a gate has to *change* over time.
# That is what the network learns.)
#
# If you know residual networks you have met the cell before. With $f = 1$ the cell's line reads "the old
# value, plus something computed": the shortcut that lets hundreds of layers be trained (He and others, 2015).
# With a gate on the shortcut it is a highway network, which its authors modelled on the LSTM (Srivastava,
# Greff and Schmidhuber, 2015). Depth and time are the same story in this too.
#
# **Exercise: one step.** With $x_t$ and $h_{t-1}$ side by side, all four parts come from a single matrix of
# $E + H$ rows and $4H$ columns. Here it is given in two pieces: `x @ W_x + h @ W_h + b` has $4H$ columns, of
# which the first $H$ belong to $i$, the next to $f$, then $g$, then $o$. Return the state and the cell, since
# the next step needs both.


# %%
def lstm_step(x, h, c, W_x, W_h, b):
    """x (B, E), h (B, H), c (B, H), W_x (E, 4H), W_h (H, 4H), b (4H,), columns i, f, g, o -> (h_t, c_t)"""
    raise NotImplementedError


check.lstm_step(lstm_step)

# %% [markdown]
# ## An LSTM from scratch
#
# A whole LSTM is that step and a loop.


# %%
class SmallLSTM(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.x_to_gates = nn.Linear(input_size, 4 * hidden_size)  # i, f, g, o; carries the only bias
        self.h_to_gates = nn.Linear(hidden_size, 4 * hidden_size, bias=False)

    def forward(self, x, h, c):
        states = []
        for a in self.x_to_gates(x).unbind(1):  # (B, 4H), the input's share of one step
            i, f, g, o = (a + self.h_to_gates(h)).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            states.append(h)
        return torch.stack(states, 1), (h, c)


# %% [markdown]
# Is it right? PyTorch's `nn.LSTM` has the same gates in the same order, and two biases, which are only ever
# added to each other. With its weights copied, ours must give the same numbers.

# %%
B, T, E, H = 3, 13, 5, 7
theirs = nn.LSTM(E, H, batch_first=True).double()
small = SmallLSTM(E, H).double()
with torch.no_grad():
    small.x_to_gates.weight.copy_(theirs.weight_ih_l0)
    small.h_to_gates.weight.copy_(theirs.weight_hh_l0)
    small.x_to_gates.bias.copy_(theirs.bias_ih_l0 + theirs.bias_hh_l0)

x = torch.randn(B, T, E, generator=generator, dtype=torch.float64)
h_0, c_0 = torch.randn(2, B, H, generator=generator, dtype=torch.float64)
expected, (h_n, c_n) = theirs(x, (h_0[None], c_0[None]))
states, (h, c) = small(x, h_0, c_0)
torch.testing.assert_close(states, expected)
torch.testing.assert_close((h[None], c[None]), (h_n, c_n))
print("from scratch and nn.LSTM agree")

# %% [markdown]
# The rest of this chapter uses the package's `LSTM` and `GRU` (we come to the second one below). They agree
# with PyTorch's, too, in several layers, in both directions, and for sequences of different lengths that are
# packed.

# %%
from seqlib.gated import GRU, LSTM

lengths = torch.tensor([13, 4, 9])
for network, theirs_too in ((LSTM, nn.LSTM), (GRU, nn.GRU)):
    for layers, both_ways in ((1, False), (3, True)):
        reference = theirs_too(E, H, layers, batch_first=True, bidirectional=both_ways).double()
        ours = network.from_torch(reference)
        torch.testing.assert_close(ours(x), reference(x))
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        torch.testing.assert_close(ours(packed)[0].data, reference(packed)[0].data)
        torch.testing.assert_close(ours(packed)[1], reference(packed)[1])
print("LSTM and GRU agree with nn.LSTM and nn.GRU: stacked, bidirectional, packed")

# %% [markdown]
# Inside, the package's LSTM differs from the one above in one thing: it doesn't ask autograd for the backward
# pass. As chapter 3 did for the plain network, it walks back by hand. The walk carries two things, what is
# wanted of $h_t$ and what is wanted of $c_t$. Along the cells, from $c_t$ to $c_{t-1}$, there is a single
# multiplication, with $f_t$. You can read it in `seqlib.gated.lstm_backward`; `gradcheck` compares it with
# finite differences.

# %%
from seqlib.gated import lstm_states

cell = LSTM.from_torch(theirs).cells[0]
weights = [cell.x_to_gates.weight.mT, cell.h_to_gates.weight.mT, cell.x_to_gates.bias]
arguments = [part.detach().clone().requires_grad_() for part in (x[:, :4], h_0, c_0, *weights)]
print("gradcheck:", torch.autograd.gradcheck(lstm_states, arguments))

# %% [markdown]
# ## Shapes, and how many parameters
#
# PyTorch's documentation shows this call (with 3 sequences in place of 64), and many lecture notes quote it.
# What do the numbers mean?

# %%
lstm = nn.LSTM(10, 20, 2)
x = torch.randn(5, 64, 10, generator=generator)
output, (h_n, c_n) = lstm(x)
print("output", tuple(output.shape), " h_n", tuple(h_n.shape), " c_n", tuple(c_n.shape))
assert output.shape == (5, 64, 20) and h_n.shape == c_n.shape == (2, 64, 20)
assert torch.equal(output[-1], h_n[-1])

# %% [markdown]
# Ten input features, twenty units, two layers. The input holds 5 steps of 64 sequences: without
# `batch_first=True` PyTorch wants *time* first. The output has the last layer's $h$ at all steps; $h_n$ and
# $c_n$ have the last step of all layers, so `output[-1]` and `h_n[-1]` are the same numbers. With
# `batch_first=True` the input and the output change their first two axes. The states don't: they have the
# layers first, either way.

# %%
by_batch = nn.LSTM(10, 20, 2, batch_first=True)
by_batch.load_state_dict(lstm.state_dict())
output_by_batch, (h_by_batch, _) = by_batch(x.transpose(0, 1))
print("output", tuple(output_by_batch.shape), " h_n", tuple(h_by_batch.shape))
torch.testing.assert_close(output_by_batch.transpose(0, 1), output)
torch.testing.assert_close(h_by_batch, h_n)
assert output_by_batch.shape == (64, 5, 20) and h_by_batch.shape == (2, 64, 20)

# %% [markdown]
# In a bidirectional network the second half of `output[-1]` is not `h_n[-1]`: that direction has read
# everything only when it is back at the first step, and its last state stands in `output[0]`. And, as with
# the patients of chapter 2, getting the axes wrong raises no error. A batch-first tensor in a time-first LSTM
# is read as 64 steps of 5 sequences, and the network happily learns nonsense. In this course the batch always
# comes first.
#
# The gates aren't free. For each of the four there is a matrix for the input, one for the state, and a bias.

# %%
H = 64
sizes = {
    name: sum(parameter.numel() for parameter in network(H, H).parameters())
    for name, network in (("RNN", nn.RNN), ("GRU", nn.GRU), ("LSTM", nn.LSTM))
}
for name, size in sizes.items():
    print(f"{name:4} {size:6,} parameters, {size // sizes['RNN']} times those of the RNN")
assert sizes["LSTM"] == 4 * sizes["RNN"] and sizes["GRU"] == 3 * sizes["RNN"]

# %% [markdown]
# **Exercise: count.** The number for any of the three, also for several layers and both directions, by a
# formula. PyTorch keeps two biases for each gate, one beside each matrix. From the second layer on, a layer
# reads the states of the layer below, those of both directions where there are two; and each direction is a
# network of its own.


# %%
def count_parameters(gates, input_size, hidden_size, num_layers, bidirectional):
    """The number of parameters of nn.RNN (gates=1), nn.GRU (gates=3) or nn.LSTM (gates=4): all ints -> int"""
    raise NotImplementedError


check.count_parameters(count_parameters)

# %% [markdown]
# ## The GRU: three quarters of it
#
# Kyunghyun Cho and his colleagues (2014) looked for something that is simpler to compute, and left two things
# out: the separate cell, and one of the gates. The *gated recurrent unit* has a single state, and a single
# gate $z$ decides both what is kept and what is let in. What is not kept is replaced.
#
# $$ \begin{aligned}
# r_t &= \sigma(W_{xr}\,x_t + W_{hr}\,h_{t-1} + b_r) && \text{reset gate}\\
# z_t &= \sigma(W_{xz}\,x_t + W_{hz}\,h_{t-1} + b_z) && \text{update gate}\\
# n_t &= \tanh\big(W_{xn}\,x_t + b_{xn} + r_t \odot (W_{hn}\,h_{t-1} + b_{hn})\big) && \text{candidate}\\
# h_t &= (1 - z_t) \odot n_t + z_t \odot h_{t-1}
# \end{aligned} $$
#
# The last line is a *convex combination*: $h_t$ lies between $n_t$ and $h_{t-1}$, unit by unit. The reset
# gate $r$ lets the candidate look away from the past, to start something new.
#
# **Exercise: one step of a GRU,** in these equations, which are PyTorch's. The columns are in the order $r,
# z, n$. There are two biases, because $r$ multiplies one of them; for the same reason the two parts of $n$
# have to stay apart.


# %%
def gru_step(x, h, W_x, W_h, b_x, b_h):
    """x (B, E), h (B, H), W_x (E, 3H), W_h (H, 3H), b_x (3H,), b_h (3H,), columns r, z, n -> h_t (B, H)

    h_t = (1 - z) n + z h, with n = tanh(x W_xn + b_xn + r (h W_hn + b_hn))
    """
    raise NotImplementedError


check.gru_step(gru_step)

# %% [markdown]
# ## Find the flaw: whose z is it?
#
# If you compare sources, you find two versions of the last line. Cho's is the one above. The lecture notes,
# and the paper by Chung and others (2014), have
#
# $$ h_t = (1 - z_t) \odot h_{t-1} + z_t \odot n_t . $$
#
# And in most papers, Cho's as it was finally printed among them, $r$ is applied *before* the product,
# $W_{hn}(r_t \odot h_{t-1})$, whereas PyTorch applies it after, so that all products of a step can be
# computed at once. Somebody copies trained weights from PyTorch into a GRU that follows the notes. Which of
# the two differences can be mended?


# %%
def gru_of_the_notes(x, h, W_x, W_h, b_x, b_h, *, reset_before):
    """A step with z and 1 - z the other way round; r before or after the product. Columns r, z, n."""
    x_r, x_z, x_n = (x @ W_x + b_x).chunk(3, -1)
    W_r, W_z, W_n = W_h.chunk(3, -1)
    b_r, b_z, b_n = b_h.chunk(3)
    r = (x_r + h @ W_r + b_r).sigmoid()
    z = (x_z + h @ W_z + b_z).sigmoid()
    if reset_before:
        n = (x_n + (r * h) @ W_n + b_n).tanh()
    else:
        n = (x_n + r * (h @ W_n + b_n)).tanh()
    return (1 - z) * h + z * n


B, E, H = 3, 5, 7
gru = nn.GRUCell(E, H).double()
x = torch.randn(B, E, generator=generator, dtype=torch.float64)
h = torch.randn(B, H, generator=generator, dtype=torch.float64).tanh()
parts = [part.detach() for part in (gru.weight_ih.mT, gru.weight_hh.mT, gru.bias_ih, gru.bias_hh)]
turned = [part.clone() for part in parts]
for part in turned:
    part[..., H : 2 * H] *= -1  # sigmoid(-a) is 1 - sigmoid(a)

with torch.no_grad():
    expected = gru(x, h)
for what, weights in (("weights as they are", parts), ("z's weights negated ", turned)):
    for where, reset_before in (("after ", False), ("before", True)):
        same = torch.allclose(gru_of_the_notes(x, h, *weights, reset_before=reset_before), expected)
        print(f"{what}, r {where} the product: {'the same' if same else 'something else'}")
assert torch.allclose(gru_of_the_notes(x, h, *turned, reset_before=False), expected)
assert not torch.allclose(gru_of_the_notes(x, h, *turned, reset_before=True), expected)

# %% [markdown]
# What $z$ means is only a name. Since $1 - \sigma(a) = \sigma(-a)$, turning the sign of its weights turns one
# convention into the other, exactly. Where $r$ stands is more than a name: the two units have the same
# parameters and compute different things, and weights can't be carried over. (seqlib's `GRUCell` has both,
# `reset_after=True` being PyTorch's.)
#
# ## Find the flaw: *a GRU is an LSTM without the output gate*
#
# This stands in the lecture notes too. Take the output gate away from an LSTM: three of four matrices are
# left, as many as a GRU has. Is it one? Let both read the same thing at each step, something that says
# "more!".

# %%
from seqlib.gated import GRUCell, LSTMCell

more = torch.ones(1, 30, 1, dtype=torch.float64)
without_output_gate = LSTMCell(1, 1).double()
gru = GRUCell(1, 1).double()
with torch.no_grad():
    for parameter in (*without_output_gate.parameters(), *gru.parameters()):
        parameter.fill_(1.0)
    without_output_gate.x_to_gates.bias[:] = torch.tensor([9.0, 9.0, 0.0, math.inf])  # i, f open, o = 1
    trace = without_output_gate.trace(more)
    gru_states, _ = gru.unroll(more, gru.initial_state(more))
assert bool((trace.o == 1).all())
print(
    f"after 30 steps: cell of the LSTM {trace.c[0, -1, 0]:.0f}, state of the GRU {gru_states[0, -1, 0]:.2f}"
)
assert trace.c[0, -1, 0] > 25 and gru_states.abs().max() < 1

# %% [markdown]
# Without its output gate the LSTM's state is just the tanh of its cell. But the cell has two gates that don't
# know of each other: it can keep everything *and* let everything in, and so it can count. In a GRU, what is
# let in replaces what was there. No weights help: a state that starts between $-1$ and $1$, as zero does, can
# never leave that interval. What a GRU has instead is the reset gate, which no LSTM has. They are cousins,
# and neither is a part of the other. (On what follows for counting: Weiss, Goldberg and Yahav, 2018.)
#
# Which should you take? The lecture notes say: an LSTM to begin with, a GRU if it has to be smaller or
# faster, or if there is little data. Rules like this are worth a try and not more; two tasks for both are
# below.
#
# ## Gradients on the highway
#
# Back to chapter 3's question. How far does a gradient travel through such a cell? Along the cells alone,
#
# $$ \frac{\partial c_T}{\partial c_t} = f_T \odot f_{T-1} \odot \dots \odot f_{t+1} , $$
#
# no matrix, no tanh, and not the same factor again and again, but the gates of each step: the highway. If all
# gates are about $\sigma(b_f)$, as they are in a network that has learnt nothing yet, the gradient is halved
# every $\ln 2 / (-\ln \sigma(b_f))$ steps. On the highway all hangs on one number that is set before the
# training begins, the initial value of the forget gate's bias.

# %%
half_life = Prediction(
    "With a forget bias of 1, after how many steps is the gradient on the highway halved?",
    chapter=4,
    guess=None,
    unit="steps",
)
half_life

# %%
biases = (0.0, 1.0, 3.0, 5.0)
expected_life = {b: math.log(2) / -math.log(1 / (1 + math.exp(-b))) for b in biases}
for b in biases:
    print(f"forget bias {b:.0f}: f = {1 / (1 + math.exp(-b)):.3f}, half-life {expected_life[b]:5.1f} steps")
half_life.compare(round(expected_life[1.0], 1), within=1.3)

# %% [markdown]
# With a bias of 0 everything is halved at every step. With 1, the value that has become a habit (Józefowicz
# and others, 2015), it takes little more than two. (`nn.LSTM` starts near 0, seqlib's `LSTM` at 1.)
#
# The highway is not the only road, though. What goes out through $h$ comes back in through $W_h$, into all
# four of the next step's parts. Here are the three cells of this course, untrained, with a gradient of norm 1
# at the last step, and the highway alone for comparison.

# %%
from seqlib.widgets.gated import highway_explorer

highway_explorer()

# %% [markdown]
# (An LSTM hands on two vectors, and its norm is that of both.) Move **Forget bias** from $-2$ to 6. The
# dashed line does what the formula says. The LSTM's own line is far above it: at bias 1 the side roads carry
# more than the highway does. From about 2 on, the sum of both doesn't fade any more, it even grows a little.
# Set the bias to 5 and tick **Input gate 1 − f**, which starts the input gate's bias at the negative of the
# forget gate's: now the door is nearly shut while the memory is kept, the side roads are closed with it, and
# the LSTM's line lies on the highway.
#
# In chapter 3's own explorer you can do the same to everything else: the gain, which is that of every gate's
# matrix, the scale of the inputs, the seed. Here it is with an LSTM in it.

# %%
from seqlib.widgets.bptt import gradient_decay_explorer

gradient_decay_explorer(cell="LSTM")

# %% [markdown]
# The GRU fades about as fast as an LSTM with forget bias 0, which may surprise you, and for the same reason:
# its gates begin at $z \approx 1/2$, so half of the state is replaced at each step. (The side roads make two
# steps of one, in both.) A gate is only an offer. It says what *can* be kept once the network has learnt to.
# Ten networks of each kind:

# %%
from seqlib.bptt import gradient_norms
from seqlib.untrained import highway_flow, random_reading


def halvings(norms):
    """Halvings in 100 steps."""
    return 100 * (norms[-1] / norms[0]).log2().item() / (len(norms) - 1)


def norms_of_all_paths(cell, x, v):
    return gradient_norms(cell, x, loss=lambda h: h[0, -1] @ v)


fading = {}
for kind in ("RNN", "GRU"):
    untrained = [random_reading(kind, seed=10 * SEED + k) for k in range(10)]
    fading[kind] = [halvings(norms_of_all_paths(*each)) for each in untrained]
for b in biases:
    untrained = [random_reading("LSTM", forget_bias=b, seed=10 * SEED + k) for k in range(10)]
    flows = [highway_flow(*each) for each in untrained]
    fading[f"LSTM, forget bias {b:.0f}"] = [halvings(flow.gradients) for flow in flows]
    # Without the last step, where the gradient has to enter the cell first, about what the formula says.
    highway_alone = [halvings(flow.highway[:-1]) * expected_life[b] / 100 for flow in flows]
    assert 0.4 < min(highway_alone) and max(highway_alone) < 2.5

fig, ax = plt.subplots(figsize=(7.5, 3.2))
for row, values in enumerate(fading.values()):
    ax.plot(values, [row] * 10, "o", color=style.BLUE, alpha=0.5)
ax.axvline(0, color="black", linewidth=1)
ax.set_yticks(range(len(fading)), list(fading))
ax.set(xlabel="halvings of the gradient in 100 steps (ten networks each)", ylim=(5.5, -0.5))
ax.set_title("grows  ←  →  fades", loc="center")
assert min(fading["GRU"]) > max(fading["RNN"]) + 10
assert min(fading["LSTM, forget bias 0"]) > 30
assert 0 < min(fading["LSTM, forget bias 1"]) and max(fading["LSTM, forget bias 1"]) < 25
growing = [value < 0 for value in fading["LSTM, forget bias 3"] + fading["LSTM, forget bias 5"]]
assert sum(growing) >= 16

# %% [markdown]
# To the left of the line gradients grow. It is sometimes said that an LSTM cures exploding gradients as well:
# look at forget biases 3 and 5, where it grows nearly every time. The growth is slow, a doubling in some
# thirty steps, but growth it is, and clipping stays in the training loop.
#
# ## Does it remember?
#
# Now the contenders for the first symbol. Besides forget biases of 0, 1 and 5 there is a proposal by Corentin
# Tallec and Yann Ollivier (2018), the *chrono* initialisation: draw the forget biases so that the units
# forget at different paces, $1/(1-f)$ from 2 steps up to the longest memory that may be needed, and start the
# input gates at $1 - f$.
#
# For small networks like these PyTorch's own LSTM is faster than ours, because it has no loop in Python. As
# both compute the same, we train that one: `to_torch` copies ours, with its initial biases, into an
# `nn.LSTM`. To look inside afterwards we copy it back.

# %%
from seqlib.gated import chrono_biases


def contenders(inputs):
    chrono = chrono_biases(64, longest=50, generator=generator)
    return {
        "RNN": RNN(inputs, 64),
        "GRU": GRU(inputs, 64),
        "LSTM, forget bias 0": LSTM(inputs, 64, forget_bias=0.0).to_torch(),
        "LSTM, forget bias 1": LSTM(inputs, 64, forget_bias=1.0).to_torch(),
        "LSTM, forget bias 5": LSTM(inputs, 64, forget_bias=5.0).to_torch(),
        "LSTM, chrono": LSTM(inputs, 64, forget_bias=chrono, input_bias=-chrono).to_torch(),
    }


readers = {name: Reader(network, 8) for name, network in contenders(8).items()}

# %% [markdown]
# Before they are trained, one question to each of them: how large is the gradient of the loss with respect to
# the *first* symbol, compared with the last? The networks above had matrices of spectral radius 1. These have
# PyTorch's initial weights, with a radius of about 0.6 in the plain network (chapter 3), and only the forget
# and input biases are ours.

# %% tags=["nbval-ignore-output"]
arriving = {}
x, first = data.latch_problem(sequences=200, length=50, generator=generator)
x.requires_grad_()
for name, reader in readers.items():
    (gradient,) = torch.autograd.grad(F.cross_entropy(reader(x), first), x)
    arriving[name] = (gradient[:, 0].norm() / gradient[:, -1].norm()).item()
    print(f"{name:20} {arriving[name]:.0e}")
assert max(arriving[name] for name in ("RNN", "GRU", "LSTM, forget bias 0")) < 1e-6
assert arriving["LSTM, forget bias 1"] < 0.01 < arriving["LSTM, chrono"]
assert arriving["LSTM, forget bias 5"] > 0.5

# %% [markdown]
# Less than a millionth arrives in three of them, some ten-thousandths or thousandths with a forget bias of 1,
# a few hundredths with chrono biases, all of it and more with a bias of 5. Now your prediction, and then
# about 20 seconds of training.

# %%
remembers = Prediction(
    "Which of these will learn to recall the first of 50 symbols?",
    choices=("all with gates", "all but forget bias 0", "only forget bias 5 and chrono", "only the GRU"),
    chapter=4,
    guess=None,
)
remembers

# %% tags=["nbval-ignore-output"]
for name, reader in readers.items():
    if name != "RNN":  # three of those are trained already
        train(reader, latch_loss, label=name)

# %%
recalled = {"RNN": by_rnns}
recalled |= {name: [share_recalled(reader)] for name, reader in readers.items() if name != "RNN"}
fig, ax = plt.subplots(figsize=(6.5, 3))
for row, shares in enumerate(recalled.values()):
    ax.plot(shares, [row] * len(shares), "o", color=style.BLUE, markersize=9, clip_on=False, zorder=3)
ax.axvline(1 / 8, color="black", linestyle="--", label="guessing")
ax.set_yticks(range(len(recalled)), list(recalled))
ax.set(xlabel="share that recalls the first of 50 symbols", xlim=(0, 1), ylim=(5.5, -0.5))
ax.legend(loc="upper right")
assert min(recalled["LSTM, forget bias 5"] + recalled["LSTM, chrono"]) > 0.8
assert max(recalled["LSTM, forget bias 0"] + recalled["LSTM, forget bias 1"] + recalled["GRU"]) < 0.3
remembers.compare("only forget bias 5 and chrono")

# %% [markdown]
# The gates alone don't do it. The LSTM with the habitual forget bias and the GRU stay at guessing; the two
# whose gradient arrived before the training get nearly everything right. It is chapter 3's lesson once more.
# What a network *could* represent is not the question: the first symbol has to be heard of. (We have given
# good initial biases to LSTMs only. A GRU has such a number, too, the bias of $z$: try it.) The plain
# network, with its three runs in the first row, heard least of all, and yet it sometimes gets somewhere. We
# can't say why; perhaps as in chapter 3, where it raised its spectral radius while it learnt.
#
# How does it remember? Here are the gates of the one with chrono biases while it reads a sequence. Each row
# is a unit; those that keep most are on top.

# %%
from seqlib.figures.gated import plot_gates

x, _ = data.latch_problem(sequences=1, length=50, generator=generator)
cell = LSTM.from_torch(readers["LSTM, chrono"].network).cells[0]
plot_gates(cell.trace(x))
kept = cell.trace(x).f[0, 1:].prod(0)  # of the cell after the first step, what is left at the end
print(
    "more than ten units keep over a fifth of their first value for 49 steps:", bool((kept > 0.2).sum() > 10)
)
assert (kept > 0.2).sum() > 10

# %% [markdown]
# As the biases suggested, a good part of the units have their forget gates open and their input gates nearly
# shut. But does a cell take up the first symbol and hold it, as a latch does? Let eight sequences differ in
# their first symbol and in nothing else, and look at one unit, the one whose values lie furthest apart at the
# end.

# %%
eight = x.repeat(8, 1, 1)
eight[:, 0] = torch.eye(8)
c = cell.trace(eight).c[:, 1:]  # (8, 50, 64)
tanh_c = c.tanh()
unit = tanh_c[:, -1].std(0).argmax()

fig, ax = plt.subplots(figsize=(7, 3))
ax.plot(range(1, 51), tanh_c[:, :, unit].T, color=style.BLUE)
ax.set(xlabel="step", ylabel="tanh c of one unit", ylim=(-1.05, 1.05))
ax.set_title("a line for each first symbol; all else is the same")
growth = (c[:, -1].std(0).norm() / c[:, 1].std(0).norm()).item()
print("all units: from step 2 to step 50 the differences grow more than tenfold:", growth > 10)
assert growth > 10 and tanh_c[:, 1, unit].std() < 0.3 < 0.6 < tanh_c[:, -1, unit].std()

# %% [markdown]
# It doesn't. At the second step the lines lie close together. Then, over some twenty steps, the small
# differences are made larger and larger, until most lines have reached one end or the other. Nor is it this
# unit alone, which was picked because it differs most: over all units the differences of $c$ grow more than
# tenfold. The latch closes, but it takes its time.
#
# ## And does it add?
#
# Chapter 3's adding problem at length 50, at which the plain network answered 1 whatever it read, so we needn't
# train it again. The LSTMs with forget biases of 0 and 5 are left out, too, to save time.


# %% tags=["nbval-ignore-output"]
def adding_loss(reader, sequences=32):
    x, target = data.adding_problem(sequences=sequences, length=50, generator=generator)
    return F.mse_loss(reader(x)[:, 0], target)


left_out = ("RNN", "LSTM, forget bias 0", "LSTM, forget bias 5")
adders = {name: Reader(network, 1) for name, network in contenders(2).items() if name not in left_out}
for name, adder in adders.items():
    train(adder, adding_loss, label=name)

# %%
with torch.no_grad():
    error = {name: adding_loss(adder, sequences=2000).item() for name, adder in adders.items()}
fig, ax = plt.subplots(figsize=(6.5, 3))
ax.plot(list(error.values()), list(error), "o", color=style.BLUE, markersize=9)
ax.axvline(1 / 6, color="black", linestyle="--", label="always answering 1")
ax.set(xlabel="mean squared error, length 50", xscale="log", xlim=(1e-4, 1), ylim=(2.5, -0.5))
ax.legend(loc="upper left")
assert max(error["LSTM, chrono"], error["GRU"]) < 0.03

# %% [markdown]
# The GRU, which could only guess a moment ago, is as good as any, and the LSTM with chrono biases adds as well.
# So does the one with a forget bias of 1, nearly always: in one of 23 trainings it stayed near the dashed
# line. The difference between the two tasks is the mark. Here the input itself says "now!", a gate that
# listens to it is soon found, and from then on the gradient has somewhere to go. In the latch problem nothing
# says that the first symbol is the one, except a gradient that has come all the way.
#
# ## Reading code
#
# Now a text with a memory of its own. Whoever writes a program opens brackets and strings and closes them
# again, lines begin where the block before them says, comments end with their line. None of this has to be
# believed: Python's own tokenizer knows the truth at every character. And the text is on your disk already,
# as the source code of Python's standard library.

# %%
files = data.library_source()
print("more than 500 files and 5 million characters:", len(files) > 500 and sum(map(len, files)) > 5_000_000)

# %% [markdown]
# The model is chapter 2's `CharRNN` with another cell in it, trained as chapter 3 taught: rows of text side
# by side, the state carried from window to window, the graph cut. The function `text_loss` holds that loop.
# One detail matters: a one-hot vector picks a single row of weights, and PyTorch's initial weights are made
# for inputs in which all entries count. So these start larger, as an embedding's do. A few seconds:

# %% tags=["nbval-ignore-output"]
from seqlib.rnn import CharRNN
from seqlib.training import text_loss
from seqlib.vocab import Vocabulary

characters = Vocabulary(data.CODE_CHARACTERS)
order = torch.randperm(len(files), generator=generator)[:60].tolist()
tokens = characters.encode("\n".join(files[k] for k in order))

beginner = CharRNN(len(characters), 128, cell=LSTMCell)
nn.init.normal_(beginner.cell.x_to_gates.weight)
loss = text_loss(beginner, tokens, rows=32, window=64)
fit(beginner, loss, steps=120, learning_rate=1e-2, clip_norm=1.0, one_cycle=True, label="reading code")

prompt = characters.encode("\n\ndef ")[None]
print("".join(characters.decode(beginner.generate(prompt, length=300, generator=generator)[0])))

# %% [markdown]
# Colons and brackets, lines that are set in, hardly a word: it has begun to see what code looks like. To go
# further takes a quarter of an hour, so the course brings a larger one, of 256 units, trained by `make
# checkpoints`. Its card, in `data/checkpoints`, says on what and how. We measure both on modules that neither
# has seen. They come with the course, since the library is not the same in every Python: one part to search
# in, and another to judge on what was found.

# %%
from seqlib.checkpoints import code_model
from seqlib.hunting import read_in_pieces

model = code_model()
searched, judged = data.held_out_source()
by_beginner, by_model = (read_in_pieces(reader, characters.encode(judged)) for reader in (beginner, model))
bits = {"a few seconds": by_beginner.bits.mean().item(), "a quarter of an hour": by_model.bits.mean().item()}
print(f"guessing among {len(characters)} characters: {math.log2(len(characters)):.1f} bits each")
print("trained for a few seconds: between 2.5 and 4 bits:", 2.5 < bits["a few seconds"] < 4)
print(f"trained for a quarter of an hour: {bits['a quarter of an hour']:.1f} bits")
assert bits["a quarter of an hour"] < 2.1 < 2.5 < bits["a few seconds"] < 4

# %% [markdown]
# Two bits a character is what you need to choose among four. To predict so well it must know something of
# where it is: whether a quotation mark is open, how deep the brackets are. Where does it keep that?
#
# ## The cell hunter
#
# Andrej Karpathy, Justin Johnson and Fei-Fei Li (2015) coloured texts by the value of single cells and found
# one that was on inside quotations, one that counted the characters of a line, and one that knew how deeply
# nested an expression was. We go hunting with a measure. First the truth, after each character:

# %%
from seqlib.hunting import source_features

line = 'print("a (b", [1, 2])  # c\n'
features = source_features(line)
print(line, end="")
print("".join(str(int(inside)) for inside in features.string), "in a string")
print("".join(str(int(inside)) for inside in features.comment), "in a comment")
print("".join(str(int(depth)) for depth in features.depth), "open brackets")

# %% [markdown]
# The bracket inside the string doesn't count, as it shouldn't. Besides these there are the indentation of the
# line and the column.
#
# How well does one unit tell inside from outside? Not by a threshold: nobody says where it should lie. Take
# one character inside a string and one outside, at random, and ask which has the larger value. The share of
# pairs in which it is the one inside is called AUC, the area under the ROC curve. It is 1/2 for a unit that
# knows nothing, and 1 for one that never errs. (A unit with an AUC of 0 never errs either; it says the
# opposite.)
#
# **Exercise: the AUC of a unit.** Where both values are equal, the pair counts a half. The texts that it is
# tried on are short: you may compare all pairs.


# %%
def unit_auc(values, inside):
    """values (T,) of one unit, inside (T,) bool -> a number between 0 and 1

    The share of pairs (one inside, one outside) in which the value inside is larger; a tie counts a half.
    """
    raise NotImplementedError


check.unit_auc(unit_auc)

# %% [markdown]
# Which of 256 units will be best at strings, and how good will it be?

# %%
best_auc = Prediction("The AUC of the best single unit for strings, from 0.5 to 1:", chapter=4, guess=None)
best_auc

# %%
from seqlib.hunting import feature_scores
from seqlib.hunting import unit_auc as unit_auc_of_all

truth = {"searched": source_features(searched), "judged": source_features(judged)}
read = {"searched": read_in_pieces(model, characters.encode(searched)), "judged": by_model}
scores = {part: feature_scores(read[part].cells, truth[part]) for part in truth}
found = {feature: int(values.argmax()) for feature, values in scores["searched"].items()}

print("the three best on the searched part, and how they do on the judged part")
for feature, values in scores["searched"].items():
    best = values.topk(3).indices.tolist()
    judged_scores = [scores["judged"][feature][unit].item() for unit in best]
    if feature in ("string", "comment"):
        judged_scores = [(1 + score) / 2 for score in judged_scores]  # back to AUC
    ranking = "   ".join(f"unit {u:3} {score:.2f}" for u, score in zip(best, judged_scores, strict=True))
    print(f"{feature:12} {'AUC' if feature in ('string', 'comment') else '|r|'}   {ranking}")

auc = {
    feature: (1 + scores["judged"][feature][found[feature]].item()) / 2 for feature in ("string", "comment")
}
assert auc["string"] > 0.85 and auc["comment"] > 0.8 and found["comment"] == found["column"]
assert scores["judged"]["depth"][found["depth"]] > 0.75
column, in_comment = truth["judged"].column, truth["judged"].comment
assert column[in_comment].mean() > 1.2 * column[~in_comment].mean()
best_auc.compare(round(auc["string"], 2))

# %% [markdown]
# The units were ranked on one part of the text and are judged on another. That matters: whoever looks at 256
# units finds one that fits something by chance. Look at the second unit for indentation, which has little
# left, or at columns, where the third does better than the second. (For indentation, depth and column, which
# are numbers, the measure is the correlation, without its sign.) And one unit is the best for two things,
# comments and columns. They go together: comments stand further to the right than the rest.
#
# Nobody told the network that there are brackets; a unit that knows how many are open was simply useful. Look
# at it, and at the others of the list: move **Unit**. Colours are the cell's value after each character,
# $\tanh c$. The bars say how well the unit follows each feature, on the whole judged part, from 0 for not at
# all to 1. (For strings and comments that is $|2\,\text{AUC} - 1|$, so that 0 is chance there too.)

# %%
from seqlib.widgets.gated import cell_explorer

cell_explorer(judged, by_model.cells, scores["judged"], unit=found["depth"], first_line=98)

# %% [markdown]
# Two things are worth a second look. The bracket unit counts, and doesn't only tell inside from outside. And
# it disagrees with Python's tokenizer in comments and in strings: for Python a bracket there is a character
# like any other, and the unit takes it for a bracket all the same. People close their brackets in prose as
# well, and what the network was trained to predict is what people write.
#
# The string unit is not quite what it seemed, either. Ask it for strings against code, and for strings
# against comments.

# %%
bracket_unit, depth = by_model.cells[:, found["depth"]], truth["judged"].depth
string, comment = truth["judged"].string, truth["judged"].comment
mean_at = [bracket_unit[depth == d].mean().item() for d in range(4)]
print("bracket unit, mean of tanh c with 0, 1, 2, 3 open:", "  ".join(f"{mean:.1f}" for mean in mean_at))
assert mean_at[0] < 0 and mean_at == sorted(mean_at)

opening = torch.tensor([character in "([{" for character in judged])
step_up = torch.cat([torch.zeros(1), bracket_unit[1:] - bracket_unit[:-1]])
for where, inside in (("code", ~string & ~comment), ("strings", string), ("comments", comment)):
    mean = step_up[opening & inside].mean().item()
    print(f"at {int((opening & inside).sum()):3} opening brackets in {where:8} it goes up by {mean:.1f}")
    assert mean > 0.5


def auc_between(unit, inside, outside):
    either = inside | outside
    return roc_auc_score(inside[either], by_model.cells[either, unit])


against_code = auc_between(found["string"], string, ~string & ~comment)
against_comments = auc_between(found["string"], string, comment)
print(f"string unit, strings against code: AUC {against_code:.2f}, against comments: {against_comments:.2f}")
assert against_code > 0.95 and 0.3 < against_comments < 0.6

# %% [markdown]
# It tells strings from code almost perfectly, and from comments not at all. "Prose" would be the better name
# for what it follows; we found a string unit because we asked for one.
#
# ## Does the network use it?
#
# That a unit goes up and down with the brackets doesn't mean that anything depends on it. There is a way to
# ask, called *ablation*: silence the unit. Its cell goes on, but nobody hears it: wherever its state was
# read, by the gates or by the read-out, put its mean instead, and see what the loss does. What a unit knows
# should matter most where something *ends*, since only who knows that a bracket is open can expect the
# bracket that closes it.

# %%
uses = Prediction(
    "Which unit will be missed most, each at the ends of what it follows?",
    choices=("the string unit", "the comment unit", "the bracket unit"),
    chapter=4,
    guess=None,
)
uses

# %%
from seqlib.hunting import silenced


def cost_of_silence(unit):
    """Bits that each character of the judged part costs more without the unit."""
    without = silenced(model, unit, constant=by_model.states[:, unit].mean().item())
    return read_in_pieces(without, characters.encode(judged)).bits - by_model.bits


def places(feature):
    """Characters that are predicted from inside, those that end it, and all others."""
    now = getattr(truth["judged"], feature).float()
    before = torch.cat([torch.zeros(1), now[:-1]])
    ends = now < before
    return (before > 0) & ~ends, ends, (before == 0) & ~ends


cost = {feature: cost_of_silence(unit) for feature, unit in found.items()}
at_ends = {}
print("unit silenced   inside   at ends   elsewhere   (bits a character)")
for feature, bits_more in cost.items():
    inside, ends, elsewhere = (bits_more[where].mean().item() for where in places(feature))
    at_ends[feature] = ends
    print(f"{feature:13} {inside:+8.2f} {ends:+9.2f} {elsewhere:+11.2f}")
    assert max(abs(inside), abs(elsewhere)) < 0.15
assert at_ends["string"] < 0.5 and min(at_ends["comment"], at_ends["depth"]) > 1.5
names = {"string": "the string unit", "comment": "the comment unit", "depth": "the bracket unit"}
uses.compare(names[max(names, key=lambda feature: at_ends[feature])])

# %% [markdown]
# (At the ends are the characters that end the string or the comment, or lower the number: indentation and
# column end with their line.) Over most of the text the change is hardly worth a word, and at the ends it can
# be large. Without the bracket unit a closing bracket costs over two bits extra, on average, and without the
# comment unit so does the line break after a comment. Each becomes about five times less likely than it was.
# The network *uses* these units, and for what one would think.
#
# The string unit it hardly misses. Perhaps we asked the wrong question. How do the strings here begin?


# %%
def strings_with(mark, text, inside):
    """Where inside a string that begins with this mark."""
    chosen = torch.zeros_like(inside)
    starts = inside & ~torch.cat([torch.tensor([False]), inside[:-1]])
    for start in starts.nonzero()[:, 0].tolist():
        length = (~inside[start:]).nonzero()[0].item()  # up to the first character outside
        opening = '"""' if text.startswith('"""', start) else text[start]
        chosen[start : start + length] = opening == mark
    return chosen


by_mark = {}
print("mark   characters   best unit   AUC    bits more at the closing mark without it")
for mark in ("'", '"', '"""'):
    in_searched = strings_with(mark, searched, truth["searched"].string)
    in_judged = strings_with(mark, judged, string)
    outside = ~truth["searched"].string
    units = unit_auc_of_all(read["searched"].cells[in_searched | outside], in_searched[in_searched | outside])
    unit = (units - 0.5).abs().argmax().item()
    closing = torch.cat([torch.tensor([False]), in_judged[:-1]]) & ~string
    by_mark[mark] = cost_of_silence(unit)[closing].mean().item()
    here = auc_between(unit, in_judged, ~string)
    print(f"{mark:4} {int(in_judged.sum()):12} {unit:11} {here:5.2f} {by_mark[mark]:+8.2f}")
assert min(by_mark["'"], by_mark['"']) > 1.5 and abs(by_mark['"""']) < 0.2

at_quotes = places("string")[1]
print(f"for comparison, the bracket unit at all closing marks: {cost['depth'][at_quotes].mean():+.2f}")
assert cost["depth"][at_quotes].mean().abs() < 0.2

# %% [markdown]
# Most characters in strings stand in docstrings here, which begin and end in another way than `'a'` or `"a"`.
# Ask for each kind of mark by itself, and a unit turns up for each. (An AUC near 0 is as good as one near 1;
# that unit goes down.) Without it, a closing `'` or `"` costs two bits extra and more. The knowledge was
# there, and used; it was only filed under other names than ours. (The third mark of `"""` is no surprise
# after two of them, whatever one knows.)
#
# ## All units at once: a probe
#
# If a fact is spread over many units, ask them all. A *linear probe* (Alain and Bengio, 2016) is a regression
# from all cells to the truth, logistic for yes and no and linear for numbers, fitted on the one part (on
# every eighth character, to be quick) and judged on the other. Beside it, the same probe on a network with
# random weights, which has learnt nothing at all.

# %% tags=["nbval-ignore-output"]
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from seqlib.checkpoints import new_code_model

untrained = new_code_model(256)
nothing_learnt = {
    part: read_in_pieces(untrained, characters.encode(text))
    for part, text in (("searched", searched), ("judged", judged))
}


def probe(reading, feature):
    """AUC or correlation of a linear probe, fitted on the searched part, on the judged part."""
    x, wanted = reading["searched"].cells[::8], getattr(truth["searched"], feature)[::8]
    answers = getattr(truth["judged"], feature)
    if feature in ("string", "comment"):
        fitted = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500)).fit(x, wanted)
        return roc_auc_score(answers, fitted.decision_function(reading["judged"].cells))
    fitted = make_pipeline(StandardScaler(), Ridge(100.0)).fit(x, wanted)
    predicted = torch.tensor(fitted.predict(reading["judged"].cells))
    return torch.corrcoef(torch.stack([predicted.float(), answers]))[0, 1].item()


print("                  best unit   probe   untrained network's")
for feature, unit in found.items():
    best = auc[feature] if feature in auc else scores["judged"][feature][unit].item()
    probed, control = probe(read, feature), probe(nothing_learnt, feature)
    measure = "AUC" if feature in auc else "r"
    print(f"{feature:12} {measure:4} {best:10.2f} {probed:7.2f} {control:12.2f}")
    assert (0.65 if feature in auc else 0.4) < control < 0.9 and probed > max(control + 0.05, best)

# %% [markdown]
# Together the units know more than any one of them: much more of strings, comments and the column, hardly
# more of the depth. But look at the last column, too. A probe finds far more than chance in a network that
# has never been trained. Random units remember a little of what they have read, quotation marks and `#` among
# it, and the probe has learnt what to make of that. A probe says that something *can be read off*, by
# somebody who has been taught to. It doesn't say that the network knows it as such, nor that it does anything
# with it; only the ablation asked that. (A probe without a control says little. This control is Zhang and
# Bowman's, 2018; Hewitt and Liang, 2019, propose another, the same probe with random labels.)
#
# ## What was measured
#
# Recalling the first of fifty symbols, a plain network is a matter of luck. LSTMs with a forget bias of 5 or
# with chrono biases are right more than eight times in ten; LSTMs with 0 or 1, and the GRU, guess. Before the
# training, less than a millionth of the gradient reached the first symbol in three of those that failed. The
# adding problem of length 50 is learnt by the GRU and the LSTM with chrono biases, and nearly always by the
# one with a forget bias of 1. An untrained LSTM's gradient is halved more than thirty times in a hundred
# steps with forget bias 0; with 3 and 5 it slowly grows; along the cells alone the half-life is about what
# the formula says. In an LSTM that has read Python, a single unit follows strings with an AUC above 0.85, and
# another the depth of brackets with a correlation above 0.75. Silencing the bracket unit costs more than one
# and a half bits at a closing bracket, on average, and next to nothing elsewhere. The string unit is hardly
# missed, but a unit for each kind of quotation mark is. A linear probe finds more still, and finds a good
# deal in a network that has learnt nothing.
#
# ## Further reading
#
# Sepp Hochreiter and Jürgen Schmidhuber, *Long short-term memory* (1997); Felix Gers, Jürgen Schmidhuber and
# Fred Cummins, *Learning to forget* (2000). Kyunghyun Cho and others, *Learning phrase representations using
# RNN encoder-decoder* (2014), for the GRU. Rafał Józefowicz, Wojciech Zaremba and Ilya Sutskever, *An
# empirical exploration of recurrent network architectures* (2015), for what matters in a gate. Corentin
# Tallec and Yann Ollivier, *Can recurrent neural networks warp time?* (2018). Andrej Karpathy, Justin Johnson
# and Fei-Fei Li, *Visualizing and understanding recurrent networks* (2015).
#
# ## The bridge
#
# A memory that lasts makes a new kind of task possible: read a whole sequence, keep what it says, and only
# then begin to write another one, of another length and in another order. The next chapter translates numbers
# from Korean words into English ones, and finds out how much fits into one state.
