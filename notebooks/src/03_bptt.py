# %% [markdown]
# # 3 Backpropagation through time
#
# A recurrent network makes a mistake at step 80 because of something it should have noted at step 3. How does
# the weight that was responsible learn of it? The answer is the chain rule, applied to a loop, and it has a
# long name: backpropagation through time. It is exact, it costs about twice what running the network costs,
# and it often delivers nothing, because on the way from step 80 to step 3 the message shrinks to zero or
# grows beyond all bounds.
#
# After this chapter you can derive and write the backward pass of a recurrent network, say what its weights
# tell about how fast its gradient fades and what they don't, clip gradients without bending them, and cut
# long sequences into windows without losing the state.
#
# You should have read chapter 2, and know eigenvalues and singular values at least by name. Reading takes
# about an hour and a half, with the exercises two and a half. All cells together run in about 35 seconds.

# %%
import copy
import math
from functools import partial

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

from seqlib import data
from seqlib.checks import Prediction
from seqlib.checks import bptt as check
from seqlib.figures import style
from seqlib.rnn import RNN
from seqlib.training import fit

SEED = 0
torch.manual_seed(SEED)
generator = torch.Generator().manual_seed(SEED)
style.use()

# %% [markdown]
# ## A task that is only about memory
#
# The adding problem (after Hochreiter and Schmidhuber, 1997) is as dull as a task can be, which makes it a
# good instrument. The network reads numbers between 0 and 1. Two of them are marked, one in each half. At the
# end it must say the sum of the two.

# %%
x, target = data.adding_problem(sequences=1, length=20, generator=generator)
values, marks = x[0].unbind(-1)
fig, ax = plt.subplots(figsize=(8, 2.4))
ax.bar(range(1, 21), values.tolist(), color=[style.ORANGE if mark else "#C8C8C8" for mark in marks])
ax.set(xlabel="step", xticks=range(2, 21, 2), ylim=(0, 1))
ax.set_title(f"the marked numbers (orange) add up to {target.item():.2f}")
assert marks.sum() == 2 and torch.isclose(target, values[marks == 1].sum())

# %% [markdown]
# Whoever always answers 1 makes a mean squared error of $1/6$, the variance of a sum of two uniform numbers.
# The only thing that makes the task harder or easier is the length: the longer the sequence, the further back
# lies the first marked number. We train the same network on sequences of several lengths, with the same
# number of training steps.

# %%
too_long = Prediction(
    "What is the shortest of these lengths at which the network is no better than always answering 1?",
    choices=(10, 20, 30, 50),
    chapter=3,
    guess=None,
)
too_long


# %% tags=["nbval-ignore-output"]
class Adder(nn.Module):
    def __init__(self, hidden_size=64):
        super().__init__()
        self.rnn = RNN(2, hidden_size)
        self.h_to_y = nn.Linear(hidden_size, 1)

    def forward(self, x):
        return self.h_to_y(self.rnn(x)[1][-1])[:, 0]  # (B,)


def adding_loss(model, length, sequences=64):
    x, target = data.adding_problem(sequences=sequences, length=length, generator=generator)
    return F.mse_loss(model(x), target)


adders = {length: Adder() for length in (10, 20, 30, 50)}
for length, adder in adders.items():
    fit(
        adder,
        partial(adding_loss, adder, length),
        steps=600,
        learning_rate=3e-3,
        clip_norm=1.0,
        one_cycle=True,
        label=f"length {length}",
    )

# %%
with torch.no_grad():
    error = {length: adding_loss(adder, length, sequences=2000).item() for length, adder in adders.items()}

fig, ax = plt.subplots(figsize=(5.5, 3))
ax.semilogy(list(error), list(error.values()), "o-", color=style.BLUE)
ax.axhline(1 / 6, color=style.GREY, linestyle="--")
ax.text(10, 1 / 6, "always answering 1", va="bottom", color=style.GREY)
ax.set(xlabel="length of the sequence", ylabel="mean squared error", ylim=(None, 0.4))
assert error[10] < 0.02 and error[30] < 0.13 < error[50]
too_long.compare(next(length for length, value in error.items() if value > 0.13))

# %% [markdown]
# At length 10 the network has learnt to add. At 50 it has learnt nothing; it answers about 1, whatever it
# reads. With more units, another learning rate or more steps you can move the border a little: try it. To see
# what goes wrong we have to look at what training consists of.
#
# ## The gradient, derived
#
# Let the loss be a sum over steps, $L = \sum_t \ell_t$, where $\ell_t$ depends on $h_t$ alone, and
#
# $$ h_t = \tanh(a_t), \qquad a_t = W_{xh}\,x_t + W_{hh}\,h_{t-1} + b. $$
#
# Gradients are columns here, as vectors are, and in a product of Jacobians the later step stands on the left.
# The matrix $W_{hh}$ is used at every step. To find its gradient, pretend for a moment that each step $k$ has
# a copy $W^{(k)}$ of its own. Then the chain rule gives the gradient of each copy, and because the copies are
# really the same matrix, their gradients are *added*:
#
# $$ \frac{\partial L}{\partial W_{hh}} = \sum_t \sum_{k \le t} \frac{\partial \ell_t}{\partial h_t}\;\frac{\partial h_t}{\partial h_k}\;\frac{\partial h_k}{\partial W^{(k)}},
# \qquad\quad \frac{\partial h_t}{\partial h_k} = \prod_{j=k+1}^{t} \frac{\partial h_j}{\partial h_{j-1}}. $$
#
# The inner sum says: the loss at $t$ depends on the matrix through *every* earlier step $k$. Computed as it
# stands, this takes of the order of $T^2$ terms. But most of them share their way. A state $h_t$ touches the
# loss directly, through $\ell_t$, and through the next state; so what all later losses want of it can be
# collected on one walk from the last step to the first. With $\delta_t = \partial L / \partial a_t$, and
# $\delta_{T+1} = 0$,
#
# $$ \frac{\partial L}{\partial h_t} = \frac{\partial \ell_t}{\partial h_t} + W_{hh}^\top\, \delta_{t+1}, \qquad
# \delta_t = \frac{\partial L}{\partial h_t} \odot (1 - h_t^2), \qquad
# \frac{\partial L}{\partial W_{hh}} = \sum_t \delta_t\, h_{t-1}^\top . $$
#
# One step back needs two products with matrices of this size where a step forward needs one. Paul Werbos
# (1990) called the procedure backpropagation through time. Here it is with numbers: one unit, three steps,
# and the loss is the last state itself.


# %%
def states_of_one_unit(w):
    h = [0.0]
    for x_t in (1.0, 0.0, 0.0):
        h.append(math.tanh(x_t + w * h[-1]))
    return h


w = 0.5
h = states_of_one_unit(w)
wanted, gradient = 1.0, 0.0  # wanted of h_t by all that comes after it: here, dL/dh_3 = 1
for t in (3, 2, 1):
    delta = wanted * (1 - h[t] ** 2)
    gradient += delta * h[t - 1]
    print(f"t = {t}: h = {h[t]:.3f}, delta = {delta:.3f}, delta * h before = {delta * h[t - 1]:.3f}")
    wanted = w * delta

nudge = 1e-6
slope = (states_of_one_unit(w + nudge)[3] - states_of_one_unit(w - nudge)[3]) / (2 * nudge)
print(f"sum {gradient:.3f}, and by nudging w: {slope:.3f}")
assert abs(gradient - slope) < 1e-8

# %% [markdown]
# **Exercise: by hand.** Write the walk for vectors. The states and the direct gradients $\partial
# \ell_t/\partial h_t$ are given. Rows are vectors, as always in code, so the recurrence reads `h @ W_hh`, and
# the transposes of the equations move to other places.


# %%
def bptt(h, W_hh, dL_dh):
    """h (B, T+1, H): states h_0 ... h_T; W_hh (H, H); dL_dh (B, T, H): direct gradients of h_1 ... h_T.

    Returns dL/dW_hh (H, H) for h_t = tanh(... + h_{t-1} @ W_hh). Mind that dL_dh[:, t - 1] belongs to h[:, t].
    """
    raise NotImplementedError


check.bptt(bptt)

# %% [markdown]
# The package has the complete backward pass, for the inputs, the initial state and all weights, as
# `seqlib.bptt.backward_through_time`. Here it is beside autograd, in double precision. `rnn_states` uses it
# in place of autograd, and `gradcheck` compares it with finite differences.


# %%
from seqlib.bptt import backward_through_time, rnn_states

B, T, E, H = 3, 12, 4, 7
x = torch.randn(B, T, E, generator=generator, dtype=torch.float64)
h_0 = torch.randn(B, H, generator=generator, dtype=torch.float64)
W_xh = torch.randn(E, H, generator=generator, dtype=torch.float64)
W_hh = torch.randn(H, H, generator=generator, dtype=torch.float64) / H**0.5
wanted = torch.randn(B, T, H, generator=generator, dtype=torch.float64)

W_hh.requires_grad_()
h = [h_0]
for x_t in x.unbind(1):
    h.append(torch.tanh(x_t @ W_xh + h[-1] @ W_hh))
h = torch.stack(h, 1)  # (B, T + 1, H)
loss = ((h[:, 1:] - wanted) ** 2).sum() / 2  # so that dL/dh_t is simply h_t - wanted_t
(by_autograd,) = torch.autograd.grad(loss, W_hh)
W_hh.requires_grad_(False)
h = h.detach()

by_hand = backward_through_time(x, h, W_xh, W_hh, h[:, 1:] - wanted)
torch.testing.assert_close(by_hand.W_hh, by_autograd, rtol=1e-10, atol=1e-10)
print("largest difference below 1e-10:", bool((by_hand.W_hh - by_autograd).abs().max() < 1e-10))
arguments = [a.clone().requires_grad_() for a in (x, h_0, W_xh, W_hh, torch.zeros_like(h_0[0]))]
print("gradcheck:", torch.autograd.gradcheck(rnn_states, arguments))

# %% [markdown]
# ## Find the flaw: one term where there should be a sum
#
# On the vanishing gradient the lecture notes write, for the loss of the last step $t$,
#
# $$ \frac{\partial \ell_t}{\partial W_{hh}} = \frac{\partial \ell_t}{\partial h_t}\,\frac{\partial h_t}{\partial h_{t-1}} \cdots \frac{\partial h_2}{\partial h_1}\,\frac{\partial h_1}{\partial W_{hh}} . $$
#
# What is missing? Compute it and compare.

# %%
contributions = []  # of each copy W^(k) to the gradient of a loss at the last step only
delta = torch.randn(1, H, generator=generator, dtype=torch.float64) * (1 - h[:1, T] ** 2)
for k in range(T, 0, -1):
    contributions.append(h[:1, k - 1].mT @ delta)
    delta = (delta @ W_hh.mT) * (1 - h[:1, k - 1] ** 2)
contributions = torch.stack(contributions[::-1])  # (T, H, H), k = 1 ... T

full = contributions.sum(0)
as_in_the_notes = contributions[0]
relative_error = ((as_in_the_notes - full).norm() / full.norm()).item()
print(f"relative error of the formula: {100 * relative_error:.0f} %")
assert relative_error > 0.9

# %% [markdown]
# The formula keeps the term $k = 1$ and drops all others. But the matrix acted at every step, not only at the
# first. Here is how much each step contributes.

# %%
from seqlib.figures.bptt import plot_shares

shares = contributions.flatten(1).norm(dim=1)
plot_shares(shares / shares.sum())
assert shares[-3:].sum() > 10 * shares[:3].sum()

# %% [markdown]
# The steps near the loss say most. That picture is the whole problem of this chapter, seen from the side of
# the weights: the gradient is not zero, it is just made almost entirely of recent steps.
#
# ## What happens on the way back
#
# With a single linear unit, $h_t = w\,h_{t-1}$, the derivative over a hundred steps is $w^{100}$: that is
# 0.00003 for $w = 0.9$, exactly 1 for $w = 1$, and 13,781 for $w = 1.1$. All that follows is this, with
# matrices.
#
# Between step $t$ and an earlier step $k$ stands the product of Jacobians. For the tanh network each factor
# is known:
#
# $$ \frac{\partial h_j}{\partial h_{j-1}} = D_j\, W_{hh}, \qquad D_j = \text{diag}(1 - h_j^2), \qquad
# \frac{\partial h_t}{\partial h_k} = D_t W_{hh}\, D_{t-1} W_{hh} \cdots D_{k+1} W_{hh} . $$
#
# The matrix is the same in every factor. The diagonal $D_j$ isn't: it depends on where the state is, and its
# entries lie between 0 and 1.
#
# **Exercise: the product.** Mind the order, and the transpose: in code the recurrence reads `h @ W_hh`.


# %%
def jacobian_product(h, W_hh, k):
    """h (T+1, H) states h_0 ... h_T of one sequence, h_t = tanh(... + h_{t-1} @ W_hh).

    Returns J (H, H), the last k steps: J[i, j] = d h_T[i] / d h_{T-k}[j].
    """
    raise NotImplementedError


check.jacobian_product(jacobian_product)

# %% [markdown]
# ## Find the flaw: a power pulled out of the product
#
# The same notes go on to collect the factors: all the diagonals in front, all the matrices behind,
#
# $$ \prod_{j} D_j\,W_{hh} \;\overset{?}{=}\; \Big(\prod_j D_j\Big)\; W_{hh}^{\,t-k} . $$
#
# For numbers this would be right.

# %%
D = 1 - h[0, 1:] ** 2  # (T, H), the diagonals
W = W_hh.mT  # columns are vectors now, as in the equation
true_product, diagonals = torch.eye(H, dtype=torch.float64), torch.ones(H, dtype=torch.float64)
for j in range(T):
    true_product = D[j, :, None] * W @ true_product
    diagonals = diagonals * D[j]
pulled_apart = diagonals[:, None] * torch.linalg.matrix_power(W, T)
relative_error = ((pulled_apart - true_product).norm() / true_product.norm()).item()
print(f"relative error: {100 * relative_error:.0f} %")
assert relative_error > 0.5

# %% [markdown]
# Matrices don't commute, not even with a diagonal one. As a rule both versions become small, which is why the
# mistake goes unnoticed; but only one of them is the gradient. Pulled out of the product, the slopes of unit
# $i$ only ever damp unit $i$. In the true product $W_{hh}$ mixes the units between one step and the next, and
# a direction that was damped at one step may escape at the next.
#
# ## Find the flaw: *above 1 it explodes, below 1 it vanishes*
#
# Nearly every text has a sentence of this kind, and few say *what* must be above 1. Candidates are the
# largest singular value $\sigma_{\max}$, by which a matrix can stretch a vector in one step, and the spectral
# radius $\rho$, the size of the largest eigenvalue. For a symmetric matrix they are equal. For others they
# can be far apart. Take
#
# $$ W = \begin{pmatrix} 0.9 & 5 \\ 0 & 0.9 \end{pmatrix}, \qquad \sigma_{\max} \approx 5.2, \qquad \rho = 0.9 . $$

# %%
non_normal = Prediction(
    "What does the norm of W, W², W³, ... do?",
    choices=("grows forever", "shrinks at once", "grows, then shrinks"),
    chapter=3,
    guess=None,
)
non_normal

# %%
from seqlib.bptt import spectral_radius
from seqlib.figures.bptt import plot_non_normal

W = torch.tensor([[0.9, 5.0], [0.0, 0.9]], dtype=torch.float64)
powers = torch.stack([torch.linalg.matrix_power(W, k) for k in range(101)])
norms = torch.linalg.matrix_norm(powers, 2)
sigma_max, rho = norms[1].item(), spectral_radius(W)
plot_non_normal(norms, sigma_max=sigma_max, rho=rho).set_ylabel("norm")
print(f"sigma_max = {sigma_max:.2f}, rho = {rho:.2f}, largest norm {norms.max():.1f} at k = {norms.argmax()}")
assert 19 < norms.max() < 20 and norms[100] < 0.02
non_normal.compare("grows, then shrinks")

# %% [markdown]
# Its singular value is far above 1, and its powers go to zero. They take their time: the norm first climbs to
# about 19, while $\sigma_{\max}^k$ leaves the picture at once. What holds in general is this. The product of
# $k$ Jacobians has at most the norm $\sigma_{\max}^k$, because the slopes in $D_j$ are at most 1. So
# $\sigma_{\max} < 1$ is enough for the gradient to vanish, and $\sigma_{\max} > 1$ is necessary for it to
# explode; no more than that (Pascanu, Mikolov and Bengio, 2013). For the sigmoid, whose slope is at most 1/4,
# the border is at 4.
#
# The spectral radius tells how fast the powers of a *fixed* matrix go in the long run. But the recurrent
# network isn't a fixed matrix: the $D_j$ change it at every step, and not always for the smaller. Here is a
# matrix with $\rho = 0$, since its square is zero, and a diagonal that damps one of its two units.

# %%
W = torch.tensor([[2.0, 2.0], [-2.0, -2.0]], dtype=torch.float64)
D = torch.diag(torch.tensor([1.0, 0.2], dtype=torch.float64))
print("W W =", (W @ W).tolist())
norm = torch.linalg.matrix_norm(torch.linalg.matrix_power(D @ W, 20), 2)
print(f"norm of (D W)^20: {norm:.0f}")
assert not (W @ W).any() and norm > 20_000

# %% [markdown]
# ## Watch a gradient decay
#
# Here is an untrained network of 64 units. At each step it reads eight random numbers with a standard
# deviation of 0.1 (the **Input scale**), and there is a loss at the very end. The spectral radius of its
# recurrent matrix is called **Gain**. At gain 1 the matrix alone would neither shrink nor stretch in the long
# run. How many steps does it take until the gradient is halved?

# %%
half_life = Prediction(
    "The half-life of the gradient at gain 1, tanh, in steps:",
    chapter=3,
    guess=None,
    unit="steps",
)
half_life

# %%
from seqlib.untrained import random_gradient_flow

flow = random_gradient_flow(gain=1.0, seed=SEED)
assert 6 < flow.half_life < 18 and flow.gradients[0] < 0.01
half_life.compare(round(flow.half_life, 1), within=1.5)

# %% [markdown]
# About ten steps, and after a hundred there is less than a hundredth left. The matrix is not to blame this
# time. The inputs keep the units a little away from zero, where the tanh is a little flatter, and every step
# pays for it. Now it is your turn. The blue line is the gradient of one loss. The circles are the norm of the
# whole Jacobian: what the gradient of the most fortunate loss would be.

# %%
from seqlib.widgets.bptt import gradient_decay_explorer

gradient_decay_explorer()

# %% [markdown]
# A few things to try. Lower **Gain** to 0.9, and the half-life is halved as well. Raise it: somewhere between
# 1.1 and 1.3 this network's gradient arrives about as large as it set out, and beyond that it grows. Leave
# **Gain** at 1.5 and raise **Input scale** to 1: now it fades faster than before at gain 1, since large
# inputs drive the units to where the tanh is flat. Set **Matrix** to *orthogonal* and **Activation** to
# *identity*: here $\sigma_{\max} = \rho$, no $D_j$ interferes, and all lines fall together. Choose *sigmoid*,
# and see that no gain within reach helps against a slope of 1/4. Choose *ReLU* at gain 1.4 and go through
# some **Seeds**: one network explodes, the next one vanishes. Then set **Cell** to LSTM, and move **Forget
# bias** down to 0 and up to 5: this is what chapter 4 is about. (An LSTM hands on two vectors, and the norm
# is then that of both.)
#
# Where a gradient gets very small the picture reaches further down, to a grey zone: single-precision numbers
# end there. Below $10^{-38}$ they lose digits, below $10^{-45}$ they are exactly zero, and no optimiser can
# do anything with a gradient of zero. That is why this picture is computed in double precision. Much earlier
# already a small contribution is rounded away as it is added to larger ones: in single precision, $1 +
# 10^{-8}$ is 1.
#
# One network is an anecdote. Here are ten for each gain, with small inputs and with large ones. The number of
# halvings in 100 steps is a good unit: it is 100 divided by the half-life, it is zero where nothing fades,
# and it is negative where the gradient grows.

# %%
gains = [0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5]


def halvings(**options):
    """Halvings of the gradient in 100 steps for ten untrained networks."""
    flows = [random_gradient_flow(**options, seed=10 * SEED + i) for i in range(10)]
    return torch.tensor([100 / flow.half_life for flow in flows])


fig, ax = plt.subplots(figsize=(6, 3.4))
fading = {}
for input_std, colour, dashes in ((0.1, style.BLUE, "o-"), (1.0, style.RED, "s--")):
    fading[input_std] = torch.stack([halvings(gain=gain, input_std=input_std) for gain in gains])
    ax.fill_between(gains, fading[input_std].amin(1), fading[input_std].amax(1), color=colour, alpha=0.2)
    ax.plot(gains, fading[input_std].median(1).values, dashes, color=colour, label=f"input scale {input_std}")
ax.axhline(0, color="black", linewidth=1)
ax.set(xlabel="gain", ylabel="halvings in 100 steps", title="median and range of ten networks")
ax.legend()
assert fading[0.1][gains.index(1.0)].min() > 4  # it fades at gain 1, with each of ten seeds ...
assert fading[0.1][gains.index(1.5)].median() < 0  # ... and mostly grows at 1.5,
assert fading[1.0].min() > 10  # but with large inputs it fades at every gain

# %% [markdown]
# So "gain above 1" is not where the gradient explodes. It is where the gradient *may* explode; what happens
# depends on how much the units are used, and on luck: the blue band is wide because now and then a network
# fades at every gain. More claims, on ten networks each:

# %%
sigmoid = [random_gradient_flow(gain=1.5, activation="sigmoid", seed=seed) for seed in range(10)]
assert max(flow.gradients[0] for flow in sigmoid) < 1e-30
print("sigmoid, gain 1.5: below 1e-30 after 100 steps, with each of ten seeds")

for seed in range(10):
    flow = random_gradient_flow(gain=1.1, matrix="orthogonal", activation="identity", seed=seed)
    torch.testing.assert_close(flow.jacobians, 1.1 ** (100 - flow.probed.double()))
print("identity, orthogonal, gain 1.1: exactly 1.1^k, with each of ten seeds")

forgetful, keeping = halvings(cell="LSTM", forget_bias=0.0), halvings(cell="LSTM", forget_bias=5.0)
assert forgetful.min() > 25 and -15 < keeping.min() and keeping.max() < 0
print("LSTM: fades with forget bias 0 and grows slowly with 5, with each of ten seeds")

# %% [markdown]
# ## Depth is the same story
#
# A recurrent network unrolled over a hundred steps is a network of a hundred layers that happen to share
# their weights. Without the sharing the effect is the same: the spread of the activations, on the way
# forward, and of the gradients, on the way back, is multiplied by some factor at each layer, and a factor
# that isn't very close to 1 leaves nothing or too much. The factor depends on the **Scale** of the initial
# weights and on the **Activation**. Set the activation to *ReLU*, and find the scale at which both curves
# stay level. (The numbers above the pictures are the spread where the signal sets out, and where it arrives.)

# %%
from seqlib.widgets.bptt import initialisation_explorer

initialisation_explorer()

# %%
from seqlib.untrained import depth_statistics


def spread_after(depth, scale, activation):
    g = torch.Generator().manual_seed(SEED)
    statistics = depth_statistics(depth=depth, width=100, scale=scale, activation=activation, generator=g)
    return statistics.activations[-1].item()


print("after 50 layers, as a power of ten:")
for activation, scale in (("ReLU", 1), ("ReLU", 2**0.5), ("ReLU", 2), ("tanh", 0.5), ("tanh", 1)):
    print(f"  {activation}, scale {scale:.2f}: 10^{math.log10(spread_after(50, scale, activation)):.1f}")
assert spread_after(50, 1.0, "ReLU") < 1e-5 and spread_after(50, 2.0, "ReLU") > 1e5
assert 0.05 < spread_after(50, 2**0.5, "ReLU") < 20

# %% [markdown]
# For the ReLU the right scale is $\sqrt 2$, for the reason that half of its inputs are cut away (He and
# others, 2015). What drift is left is chance; the wider the layers, the less there is of it. A deep network
# can choose each layer's scale. A recurrent network has one matrix for all its steps, and training moves that
# matrix.
#
# ## Exploding: the cliff, and clipping
#
# Growth does its damage in another way. Razvan Pascanu and his colleagues studied a network of a single unit,
# $a_t = w\,\sigma(a_{t-1}) + b$ with the sigmoid $\sigma$, run for 50 steps from $a_0 = 0.5$, with the loss
# $(\sigma(a_{50}) - 0.7)^2$. Over the two parameters this loss is nearly flat, except for a cliff where the
# long-run behaviour changes from one fixed point to another. A gradient step taken *at* the cliff is
# enormous.
#
# The remedy is crude and works: when the gradient's norm is above a threshold, scale the gradient down to it.
#
# $$ g \leftarrow g \cdot \min\!\Big(1, \frac{\theta}{\|g\|}\Big) $$
#
# The norm is taken over *all* parameters together, so the direction stays what it was. Clipping each element
# by itself would bend it.
#
# **Exercise: clipping.**


# %%
def clip_by_norm(gradients, threshold):
    """gradients: a list of tensors. Returns new ones with a common norm of at most threshold."""
    raise NotImplementedError


check.clip_by_norm(clip_by_norm)

# %%
from seqlib.bptt import clip_by_norm as clip_together
from seqlib.bptt import clip_by_value

g = torch.Generator().manual_seed(SEED)
gradient = [torch.randn(7, 5, generator=g), 10 * torch.randn(5, generator=g)]


def cosine(first, second):
    first, second = (torch.cat([part.flatten() for part in parts]) for parts in (first, second))
    return F.cosine_similarity(first, second, dim=0).item()


print(f"angle kept by norm:  cosine {cosine(clip_together(gradient, 1.0), gradient):.3f}")
print(f"angle kept by value: cosine {cosine(clip_by_value(gradient, 1.0), gradient):.3f}")
assert cosine(clip_together(gradient, 1.0), gradient) > 0.9999
assert cosine(clip_by_value(gradient, 1.0), gradient) < 0.9

# %% [markdown]
# And here is what clipping does at the cliff. Gradient descent starts on the plain before it, at $w = 5$ and
# $b = -1.9$, and makes 60 steps with the same learning rate. Only the threshold differs.

# %%
from seqlib.bptt import cliff_loss, descend

start = torch.tensor([5.0, -1.9], dtype=torch.float64)
final = {}
for threshold in (0.01, 0.1, 1.0, 10.0, float("inf")):
    points, norms = descend(cliff_loss, start, learning_rate=0.2, steps=60, threshold=threshold)
    longest = (points[1:] - points[:-1]).norm(dim=1).max()
    final[threshold] = cliff_loss(*points[-1]).item()
    print(f"threshold {threshold:5}: longest step {longest:6.3f}, final loss {final[threshold]:.3f}")
assert min(final, key=final.get) == 0.1 and max(final, key=final.get) == float("inf")

# %% [markdown]
# Unclipped, one step at the cliff is thirty units long and lands far outside the picture below, at a worse
# loss than at the start. Clipped at 0.1 the path slides into the valley at the foot of the cliff, and when it
# runs against the cliff, the step back is short. Clipped at 0.01 it is safe too, and so slow that it hasn't
# arrived after 60 steps. Move the **Threshold** and watch the path.

# %%
from seqlib.widgets.bptt import clipping_explorer

clipping_explorer()

# %% [markdown]
# Clipping doesn't cure the exploding gradient. It keeps a step from doing damage. And against the vanishing
# gradient it does nothing at all, since it only ever scales down.
#
# ## Cutting time into windows
#
# A text of a million characters is one long sequence. To go back over all of it, every state would have to be
# kept, and the weights would move only once in a reading. *Truncated* backpropagation through time cuts the
# sequence into windows of, say, 50 steps: the gradient stops at the border, the *state* is carried across it.
# In a training loop it looks like this.
#
# ```python
# h = cell.initial_state(x)
# for piece in x.split(window, dim=1):
#     h = h.detach()  # the state is carried on, its history is not
#     states, h = cell.unroll(piece, h)
#     loss(states).backward()
#     optimizer.step()
#     optimizer.zero_grad()
# ```
#
# The line with `detach` has three wrong versions. Leave it out, and PyTorch complains, rightly, about walking
# through a graph a second time. Reset the state to zero instead, and the network forgets everything at every
# border. Detach at each step, and no step is ever told what a later one needed of it; what the network
# remembers, it remembers by luck.
#
# **Exercise: windows.** All states of a sequence, the state carried on, the graph cut after every `window`
# steps.


# %%
def truncated_windows(x, h_0, W_xh, W_hh, b, window):
    """x (B, T, E), h_0 (B, H) -> states (B, T, H); no gradient crosses a border."""
    raise NotImplementedError


check.truncated_windows(truncated_windows)

# %% [markdown]
# What does the cut cost? The truncated gradient is not just a noisy version of the full one. It is *biased*:
# no batch, however large, holds anything that takes longer than a window. Take a task whose memory is known:
# name the symbol that was read four steps ago, one of four. How wide must the window be?

# %%
wide_enough = Prediction(
    "To recall what was read 4 steps ago, what is the smallest window that is enough?",
    choices=(1, 3, 4, 5, 6, 8),
    chapter=3,
    guess=None,
    unit="steps",
)
wide_enough

# %% tags=["nbval-ignore-output"]
from seqlib.bptt import windowed_states
from seqlib.rnn import RNNCell


class Recaller(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = RNNCell(4, 32)
        self.h_to_y = nn.Linear(32, 4)

    def forward(self, symbols, window):
        x = F.one_hot(symbols, 4).float()
        return self.h_to_y(windowed_states(self.cell, x, window=window))


def recall_loss(model, window):
    symbols = torch.randint(4, (32, 24), generator=generator)
    return F.cross_entropy(model(symbols, window)[:, 4:].flatten(0, 1), symbols[:, :-4].flatten())


recalled = {}
symbols = torch.randint(4, (500, 24), generator=generator)
for window in (1, 3, 4, 5, 6, 8):
    recaller = Recaller()
    loss = partial(recall_loss, recaller, window)
    fit(recaller, loss, steps=300, learning_rate=5e-3, clip_norm=1.0, label=f"window {window}")
    with torch.no_grad():
        answers = recaller(symbols, window=24)[:, 4:].argmax(-1)
    recalled[window] = (answers == symbols[:, :-4]).double().mean().item()

# %%
fig, ax = plt.subplots(figsize=(5.5, 3))
ax.bar([str(window) for window in recalled], list(recalled.values()), color=style.BLUE)
ax.axhline(0.25, color="black", linestyle="--", label="guessing")
ax.legend(loc="upper left")
ax.set(xlabel="window", ylabel="share recalled, 4 steps later", ylim=(0, 1))
assert max(recalled[w] for w in (1, 3, 4)) < 0.85 and min(recalled[w] for w in (5, 6, 8)) > 0.95
wide_enough.compare(min((window for window, share in recalled.items() if share > 0.95), default=8))

# %% [markdown]
# With a window of four, a step and the one that is four steps later never lie in the same window, and the
# network is never told what it should have kept. With a window of five they do, for one step in five. That is
# enough, since all steps share their weights.
#
# For a text nobody knows the memory that is needed. What can be measured is how much of the gradient is lost:
# the cosine between the truncated and the full gradient of $W_{hh}$, here for a character model before its
# training. It depends on where the training starts. PyTorch's own initial weights let the gradient fade so
# fast that a window of ten loses next to nothing. After an orthogonal start, which lets it travel further,
# there is more to be lost.

# %%
from seqlib.rnn import CharRNN
from seqlib.vocab import Vocabulary

text, _ = data.tales()
characters = Vocabulary(text)
tokens = characters.encode(text)
starts = torch.randint(len(tokens) - 200, (16, 1), generator=generator)
pieces = tokens[starts + torch.arange(201)]  # (16, 201)
one_hot = F.one_hot(pieces[:, :-1], len(characters)).float()


def truncated_gradient(model, window):
    states = windowed_states(model.cell, one_hot, window=window)
    loss = F.cross_entropy(model.h_to_y(states).flatten(0, 1), pieces[:, 1:].flatten())
    return torch.autograd.grad(loss, model.cell.h_to_h.weight)[0].flatten()


default, orthogonal = CharRNN(len(characters), 64), CharRNN(len(characters), 64)
nn.init.orthogonal_(orthogonal.cell.h_to_h.weight)

windows = [1, 2, 5, 10, 20, 50, 100, 200]
fig, ax = plt.subplots(figsize=(5.5, 3))
agreement = {}
for label, model, line in (("PyTorch's own", default, "o-"), ("orthogonal", orthogonal, "s--")):
    full = truncated_gradient(model, 200)
    agreement[label] = [
        F.cosine_similarity(truncated_gradient(model, window), full, dim=0).item() for window in windows
    ]
    ax.semilogx(windows, agreement[label], line, label=label)
ax.set(xlabel="window", ylabel="cosine with the full gradient", ylim=(0, 1.05))
ax.set_xticks(windows, windows)
ax.minorticks_off()
ax.legend(title="initial weights")
assert agreement["PyTorch's own"][windows.index(10)] > 0.98
assert agreement["orthogonal"][0] < 0.7 and 0.99 < agreement["orthogonal"][windows.index(100)]

# %% [markdown]
# And what does the cut save? The states that must be kept until the backward pass, and with them the memory,
# are those of one window.


# %%
def bytes_kept(window):
    """Bytes that autograd stores for the backward pass of one window."""
    kept = {}

    def remember(tensor):
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        default(pieces[:, :window])
    return sum(kept.values())


growth = bytes_kept(200) / bytes_kept(50)
print("four times the window, about four times the memory:", 3 < growth < 5)
assert 3 < growth < 5

# %% [markdown]
# The last explorer shows the trade as a whole, for a network that repeats its input twelve steps later. The
# left picture has the loss of each step $t$, and how much it depends on the state at each earlier step $k$;
# pale is what the cut throws away. Move **Window** past 12. The cosine hardly notices: most of a gradient is
# about recent steps, and the part that the task needs is small beside it.

# %%
from seqlib.widgets.bptt import truncation_explorer

truncation_explorer()

# %% [markdown]
# Truncation limits how far back a gradient goes, and clipping limits how large it is. Neither brings a faded
# one back.
#
# ## Back to the sum
#
# Why did the network fail at length 50? Here is the gradient of its answer with respect to the state at each
# step, before and after the training. The function `gradient_norms` asks autograd for the gradients at all
# steps in one backward pass; one pass for each step would walk the tail of the sequence again and again.

# %%
from seqlib.bptt import gradient_norms

fig, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
arriving, radius = {}, {}
for ax, when in zip(axes, ("untrained", "trained"), strict=True):
    for (length, adder), line in zip(adders.items(), ("-", "--", "-.", ":"), strict=True):
        model = adder if when == "trained" else Adder()
        x, _ = data.adding_problem(sequences=64, length=length, generator=generator)
        norms = gradient_norms(
            model.rnn.cells[0], x, loss=lambda h, model=model: model.h_to_y(h[:, -1]).sum()
        )
        arriving[when, length] = (norms[0] / norms[-1]).item()
        radius[when, length] = spectral_radius(model.rnn.cells[0].h_to_h.weight.detach())
        ax.semilogy(range(1, length + 1), norms / norms[-1], line, label=f"length {length}")
    ax.set(title=when, xlabel="step")
axes[0].set_ylabel("gradient, relative to the last step")
axes[1].legend()

learnt, failed = (10, 20, 30), 50
assert max(radius["untrained", length] for length in adders) < 0.8
assert min(radius["trained", length] for length in learnt) > 1.05
assert radius["trained", failed] < 0.9
assert min(arriving["trained", length] for length in learnt) > 0.3
assert arriving["trained", failed] < 1e-6
print("spectral radius before training: below 0.8 in all four")
print("after: above 1.05 where the sum was learnt, still below 0.9 where it wasn't")

# %% [markdown]
# PyTorch's initial weights have a spectral radius of about 0.6, so on the left every gradient falls off a
# steep slope. Where a little of it arrives, training raises the radius above 1, and the road opens: on the
# right, at lengths 10, 20 and 30, the first step hears about as much as the last. At 50 too little arrived to
# begin with. Almost all of the gradient comes from the last steps, and the road stays closed.
#
# Is the network too small for fifty steps, then? No. Take the adder that has learnt length 20, whose road is
# open, and train it on at length 50, with the same number of steps.

# %% tags=["nbval-ignore-output"]
pupil = copy.deepcopy(adders[20])
loss = partial(adding_loss, pupil, 50)
fit(pupil, loss, steps=600, learning_rate=3e-3, clip_norm=1.0, one_cycle=True, label="length 50 after 20")

# %%
with torch.no_grad():
    pupils_error = adding_loss(pupil, 50, sequences=2000).item()
assert pupils_error < 0.06 and error[50] > 0.13
print("trained at length 50 from the start: no better than always answering 1")
print("trained at 20, then at 50:           an error below 0.06")

# %% [markdown]
# The same network can add over fifty steps. Beginning there, it was never told.
#
# ## What was measured
#
# The adding problem is learnt at lengths up to 30 and not at 50, unless it is learnt at 20 first.
# Backpropagation through time by hand equals autograd to $10^{-10}$; dropping the sum over $k$ loses more
# than nine tenths of the gradient, and pulling the power out of the product is wrong by more than half. The
# powers of a matrix with $\sigma_{\max} = 5.2$ climb to 19 and then vanish. At gain 1 a gradient is halved in
# about ten steps where inputs are small; where they are large it fades at every gain up to 1.5. Clipping by
# norm keeps the direction, by value it doesn't, and at the cliff it decides between the valley and nowhere.
# Windows save memory in proportion; to recall over four steps a window of four is too short, and one of five
# is enough.
#
# ## Further reading
#
# Paul Werbos, *Backpropagation through time: what it does and how to do it* (1990). Sepp Hochreiter's diploma
# thesis (1991, in German) and Yoshua Bengio, Patrice Simard and Paolo Frasconi, *Learning long-term
# dependencies with gradient descent is difficult* (1994), who found the problem independently. Razvan
# Pascanu, Tomáš Mikolov and Yoshua Bengio, *On the difficulty of training recurrent neural networks* (2013),
# for the cliff and the conditions. Ronald Williams and Jing Peng (1990) for truncation.
#
# ## The bridge
#
# The trouble is the repeated multiplication. The next chapter builds a cell in which the state is *added to*
# instead, with gates that decide when, and trains it on the task that failed here.
