# %% [markdown]
# # 3 Backpropagation through time
#
# A recurrent network makes a mistake at step 80 because of something it should have noted at step 3. How does
# the weight that was responsible learn of it? The answer is the chain rule, applied to a loop, and it has a
# long name: backpropagation through time. It is exact, it costs about as much as running the network, and it
# often delivers nothing, because on the way from step 80 to step 3 the message shrinks to zero or grows
# beyond all bounds.
#
# After this chapter you can derive and write the backward pass of a recurrent network, predict from its
# weights how fast its gradient fades, clip gradients without bending them, and cut long sequences into
# windows without losing the state.
#
# You should have read chapter 2, and know eigenvalues and singular values at least by name. Reading takes
# about an hour and a half, with the exercises two and a half. All cells together run in about half a minute
# on two cores.

# %%
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
# The adding problem (Hochreiter and Schmidhuber, 1997) is as dull as a task can be, which makes it a good
# instrument. The network reads numbers between 0 and 1. Two of them are marked, one in each half. At the end
# it must say the sum of the two.

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
    "At which of these lengths is the network no better than always answering 1?",
    choices=(10, 20, 30, 50, 80),
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


adders = {length: Adder() for length in (10, 20, 30, 50, 80)}
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
assert error[10] < 0.02 and error[30] < 0.13 < min(error[50], error[80])
too_long.compare(next(length for length, value in error.items() if value > 0.13))

# %% [markdown]
# At length 10 the network has learnt to add. Somewhere between 30 and 50 it learns nothing any more; it
# answers 1, whatever it reads. More units or other learning rates move the border a little. They don't remove
# it. To see what goes wrong we have to look at what training consists of.
#
# ## The gradient, derived
#
# Let the loss be a sum over steps, $L = \sum_t \ell_t$, where $\ell_t$ depends on $h_t$ alone, and
#
# $$ h_t = \tanh(a_t), \qquad a_t = W_{xh}\,x_t + W_{hh}\,h_{t-1} + b. $$
#
# The matrix $W_{hh}$ is used at every step. To find its gradient, pretend for a moment that each step $k$ has
# a copy $W^{(k)}$ of its own. Then the chain rule gives the gradient of each copy, and because the copies are
# really the same matrix, their gradients are *added*:
#
# $$ \frac{\partial L}{\partial W_{hh}} = \sum_t \sum_{k \le t} \frac{\partial \ell_t}{\partial h_t}\;\frac{\partial h_t}{\partial h_k}\;\frac{\partial h_k}{\partial W^{(k)}},
# \qquad\quad \frac{\partial h_t}{\partial h_k} = \prod_{j=k+1}^{t} \frac{\partial h_j}{\partial h_{j-1}}. $$
#
# The inner sum says: the loss at $t$ depends on the matrix through *every* earlier step $k$. Computed as it
# stands, this takes of the order of $T^2$ terms. Turn the order of summation round and it becomes a single
# walk backwards. Call what reaches $h_t$ from all later losses the *future* $f_t$, and let $\delta_t =
# \partial L / \partial a_t$. Then
#
# $$ \delta_t = \Big(\frac{\partial \ell_t}{\partial h_t} + f_t\Big) \odot (1 - h_t^2), \qquad f_{t-1} = W_{hh}^\top \delta_t, \qquad
# \frac{\partial L}{\partial W_{hh}} = \sum_t \delta_t\, h_{t-1}^\top . $$
#
# One step back costs as much as one step forward. Paul Werbos (1990) called the procedure backpropagation
# through time, and that is all of it.
#
# **Exercise: by hand.** Write the walk. The states and the direct gradients $\partial \ell_t/\partial h_t$
# are given. Rows are vectors, as always in code, so the recurrence reads `h @ W_hh` and the transpose moves
# to the other place.


# %%
def bptt(h, W_hh, dL_dh):
    """h (B, T+1, H): states h_0 ... h_T; W_hh (H, H); dL_dh (B, T, H): direct gradients.

    Returns dL/dW_hh (H, H) for h_t = tanh(... + h_{t-1} @ W_hh).
    """
    raise NotImplementedError


check.bptt(bptt)

# %% [markdown]
# Here is ours, for a loss at every step, checked against autograd in double precision.


# %%
def gradient_by_hand(h, W_hh, dL_dh):
    future, dW_hh = torch.zeros_like(h[:, 0]), torch.zeros_like(W_hh)
    for t in range(h.shape[1] - 1, 0, -1):  # T ... 1
        delta = (dL_dh[:, t - 1] + future) * (1 - h[:, t] ** 2)  # (B, H)
        dW_hh += h[:, t - 1].mT @ delta  # the copy of step t
        future = delta @ W_hh.mT  # what step t wants of h_{t-1}
    return dW_hh


def forward(x, W_xh, W_hh):
    h = [x.new_zeros(len(x), len(W_hh))]
    for x_t in x.unbind(1):
        h.append(torch.tanh(x_t @ W_xh + h[-1] @ W_hh))
    return torch.stack(h, 1)  # (B, T + 1, H)


B, T, E, H = 3, 12, 4, 7
x = torch.randn(B, T, E, generator=generator, dtype=torch.float64)
W_xh = torch.randn(E, H, generator=generator, dtype=torch.float64)
W_hh = (torch.randn(H, H, generator=generator, dtype=torch.float64) / H**0.5).requires_grad_()
wanted = torch.randn(B, T, H, generator=generator, dtype=torch.float64)

h = forward(x, W_xh, W_hh)
loss = ((h[:, 1:] - wanted) ** 2).sum() / 2  # so that dL/dh_t is simply h_t - wanted_t
(by_autograd,) = torch.autograd.grad(loss, W_hh)
by_hand = gradient_by_hand(h.detach(), W_hh.detach(), (h[:, 1:] - wanted).detach())
torch.testing.assert_close(by_hand, by_autograd, rtol=1e-10, atol=1e-10)
print("largest difference below 1e-10:", bool((by_hand - by_autograd).abs().max() < 1e-10))

# %% [markdown]
# The package has the complete backward pass, for the inputs, the initial state and all weights, as
# `seqlib.bptt.backward_through_time`. `rnn_states` uses it in place of autograd, and `gradcheck` compares it
# with finite differences.

# %%
from seqlib.bptt import backward_through_time, rnn_states

h_0 = torch.zeros(B, H, dtype=torch.float64)
bias = torch.zeros(H, dtype=torch.float64)
gradients = backward_through_time(x, h.detach(), W_xh, W_hh.detach(), (h[:, 1:] - wanted).detach())
torch.testing.assert_close(gradients.W_hh, by_autograd, rtol=1e-10, atol=1e-10)
arguments = [a.detach().requires_grad_() for a in (x, h_0, W_xh, W_hh, bias)]
print("gradcheck:", torch.autograd.gradcheck(rnn_states, arguments))

# %% [markdown]
# ## Find the flaw: one term where there should be a sum
#
# Lecture notes on the vanishing gradient write, for the loss of the last step $t$,
#
# $$ \frac{\partial \ell_t}{\partial W_{hh}} = \frac{\partial \ell_t}{\partial h_t}\,\frac{\partial h_t}{\partial h_{t-1}} \cdots \frac{\partial h_2}{\partial h_1}\,\frac{\partial h_1}{\partial W_{hh}} . $$
#
# What is missing? Compute it and compare.

# %%
contributions = []  # of each copy W^(k) to the gradient of a loss at the last step only
delta = torch.randn(1, H, generator=generator, dtype=torch.float64) * (1 - h[:1, T].detach() ** 2)
for k in range(T, 0, -1):
    contributions.append(h[:1, k - 1].detach().mT @ delta)
    delta = (delta @ W_hh.detach().mT) * (1 - h[:1, k - 1].detach() ** 2)
contributions = torch.stack(contributions[::-1])  # (T, H, H), k = 1 ... T

full = contributions.sum(0)
as_in_the_notes = contributions[0]
relative_error = ((as_in_the_notes - full).norm() / full.norm()).item()
print(f"relative error of the formula: {100 * relative_error:.0f} %")
assert relative_error > 0.9

# %% [markdown]
# The formula keeps the term $k = 1$ and drops all others. As $h_0$ is zero, even that term is exactly nothing
# here. What it leaves out is the sum over $k$: the matrix acted at every step, not only at the first. Here is
# how much each step contributes.

# %%
from seqlib.figures.bptt import plot_shares

shares = contributions.flatten(1).norm(dim=1)
plot_shares(shares / shares.sum())
assert shares[0] == 0 and shares[-3:].sum() > shares[:3].sum()

# %% [markdown]
# The steps near the loss say most. That picture is the whole problem of this chapter, seen from the side of
# the weights: the gradient is not zero, it is just made almost entirely of recent steps.
#
# ## What happens on the way back
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
# **Exercise: the product.** Mind the order.


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
D = 1 - h[0, 1:].detach() ** 2  # (T, H), the diagonals
W = W_hh.detach().mT  # columns are vectors now, as in the equation
true_product, diagonals = torch.eye(H, dtype=torch.float64), torch.ones(H, dtype=torch.float64)
for j in range(T):
    true_product = D[j, :, None] * W @ true_product
    diagonals = diagonals * D[j]
pulled_apart = diagonals[:, None] * torch.linalg.matrix_power(W, T)
relative_error = ((pulled_apart - true_product).norm() / true_product.norm()).item()
print("relative error above 50 %:", relative_error > 0.5)
assert relative_error > 0.5

# %% [markdown]
# Matrices don't commute, and neither do a matrix and a diagonal. Both versions become small, which is why the
# mistake goes unnoticed; but only one of them is the gradient. The product of all $D_j$ lets every unit keep
# its own account of bad steps. In the true product $W_{hh}$ mixes the units between one step and the next,
# and a direction that was damped at one step may escape at the next.
#
# ## Find the flaw: "above 1 it explodes, below 1 it vanishes"
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
plot_non_normal(norms, sigma_max=sigma_max, rho=rho)
print(f"sigma_max = {sigma_max:.2f}, rho = {rho:.2f}, largest norm {norms.max():.1f} at k = {norms.argmax()}")
assert 19 < norms.max() < 20 and norms[100] < 0.02
non_normal.compare("grows, then shrinks")

# %% [markdown]
# Its singular value is far above 1, and its powers go to zero. They take their time: the norm first climbs to
# about 19. What holds in general is this. The gradient is *at most* $\sigma_{\max}^k$, so $\sigma_{\max} < 1$
# is enough to make it vanish; above 1 anything may happen. In the long run, powers of a fixed matrix go as
# $\rho^k$. And the recurrent network isn't even a fixed matrix: the $D_j$ shrink it further, at every step by
# another amount. So, sufficient for vanishing: $\sigma_{\max} < 1$. Necessary for exploding: $\sigma_{\max} >
# 1$. No more than that (Pascanu, Mikolov and Bengio, 2013).
#
# ## Watch a gradient decay
#
# Here is an untrained network of 64 units that reads small random numbers, with a loss at the very end. The
# spectral radius of its recurrent matrix is set by **Gain**. At gain 1 the matrix alone would neither shrink
# nor stretch in the long run. How many steps does it take until the gradient is halved?

# %%
half_life = Prediction("The half-life of the gradient at gain 1, tanh, in steps:", guess=None, unit="steps")
half_life

# %%
from seqlib.untrained import random_gradient_flow

flow = random_gradient_flow(gain=1.0, seed=SEED)
assert 6 < flow.half_life < 18 and flow.gradients[0] < 0.01
half_life.compare(round(flow.half_life, 1), within=1.5)

# %% [markdown]
# About ten steps, and after a hundred there is less than a hundredth left. The matrix is not to blame this
# time. The inputs keep the units a little away from zero, where the tanh is a little flatter, and every step
# pays for it. Now it is your turn.

# %%
from seqlib.widgets.bptt import gradient_decay_explorer

gradient_decay_explorer()

# %% [markdown]
# A few things to try. Lower **Gain** to 0.9, and the half-life is halved as well. Raise it: somewhere between
# 1.1 and 1.3 the gradient arrives about as large as it set out, and beyond that it grows. Leave **Gain** at
# 1.5 and raise **Input size** to 1: now it fades faster than before at gain 1, since large inputs drive the
# units to where the tanh is flat. Set **Matrix** to *orthogonal* and **Activation** to *identity*: here
# $\sigma_{\max} = \rho$, no $D_j$ interferes, and all lines fall together. Choose *sigmoid*, and see that no
# gain within reach helps. Choose *ReLU* at gain 1.4 and go through some **Seeds**: one network explodes, the
# next one vanishes. Then set **Cell** to LSTM, and move **Forget bias** up from 0: this is what chapter 4 is
# about.
#
# Where a gradient gets very small the picture reaches further down, to a grey zone: single-precision numbers
# end there. Below $10^{-38}$ they lose digits, below $10^{-45}$ they are exactly zero, and no optimiser can
# do anything with a gradient of zero. That is why this picture is computed in double precision.
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
    ax.plot(gains, fading[input_std].median(1).values, dashes, color=colour, label=f"input size {input_std}")
ax.axhline(0, color="black", linewidth=1)
ax.set(xlabel="gain", ylabel="halvings in 100 steps", title="median and range of ten networks")
ax.legend()
assert fading[0.1][gains.index(1.0)].min() > 4  # it fades at gain 1, ten times of ten ...
assert fading[0.1][gains.index(1.5)].median() < 0  # ... and mostly grows at 1.5,
assert fading[1.0].min() > 10  # but with large inputs it fades at every gain

# %% [markdown]
# So "gain above 1" is not where the gradient explodes. It is where the gradient *may* explode; what happens
# depends on how much the units are used. More claims, on ten networks each:

# %%
sigmoid = [random_gradient_flow(gain=1.5, activation="sigmoid", seed=seed) for seed in range(10)]
assert max(flow.gradients[0] for flow in sigmoid) < 1e-30
print("sigmoid, gain 1.5: below 1e-30 after 100 steps, ten times of ten")

for seed in range(10):
    flow = random_gradient_flow(gain=1.1, matrix="orthogonal", activation="identity", seed=seed)
    torch.testing.assert_close(flow.jacobians, 1.1 ** (100 - flow.probed.double()))
print("identity, orthogonal, gain 1.1: exactly 1.1^k, ten times of ten")

forgetful, keeping = halvings(cell="LSTM", forget_bias=0.0), halvings(cell="LSTM", forget_bias=5.0)
assert forgetful.min() > 25 and keeping.max() < 0
print("LSTM: fades with forget bias 0 and doesn't with 5, ten times of ten")

# %% [markdown]
# All these norms come from *one* backward pass: autograd is asked for the gradients at all states together.
# Asking for each step by itself would walk the tail of the sequence again and again. Count the steps walked
# for $T = 1000$: one walk takes 1000, separate walks $1000 + 999 + \dots + 1 = 500\,500$.

# %%
from seqlib.bptt import gradient_norms
from seqlib.untrained import random_cell

g = torch.Generator().manual_seed(SEED)
cell = random_cell("RNN", 8, 64, gain=1.0, generator=g)
x = torch.randn(1, 40, 8, generator=g, dtype=torch.float64)
h = torch.zeros(1, 64, dtype=torch.float64, requires_grad=True)
states = []
for x_t in x.unbind(1):
    h = cell(x_t, h)
    states.append(h)
one_by_one = [torch.autograd.grad(h.sum(), state, retain_graph=True)[0].norm() for state in states]
torch.testing.assert_close(gradient_norms(cell, x), torch.stack(one_by_one))
print("one pass gives what", len(states), "passes give")

# %% [markdown]
# ## Depth is the same story
#
# A recurrent network unrolled over a hundred steps is a network of a hundred layers that happen to share
# their weights. Without the sharing the effect is the same: the spread of the activations, on the way
# forward, and of the gradients, on the way back, is multiplied by some factor at each layer, and a factor
# that isn't very close to 1 leaves nothing or too much. The factor depends on the **Scale** of the initial
# weights and on the **Activation**.

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
    exponent = torch.tensor(spread_after(50, scale, activation)).log10().round().int().item()
    print(f"  {activation}, scale {scale:.2f}: 10^{exponent}")
assert spread_after(50, 1.0, "ReLU") < 1e-5 and spread_after(50, 2.0, "ReLU") > 1e5
assert 0.05 < spread_after(50, 2**0.5, "ReLU") < 20

# %% [markdown]
# For the ReLU the right scale is $\sqrt 2$, for the reason that half of its inputs are cut away (He and
# others, 2015). A deep network can choose each layer's scale. A recurrent network has one matrix for all its
# steps, and training moves that matrix.
#
# ## Exploding: the cliff, and clipping
#
# Growth is the rarer case, and the more violent one. Razvan Pascanu and his colleagues studied a network of a
# single unit, $a_t = w\,\sigma(a_{t-1}) + b$, run for 50 steps. Its loss over the two parameters is nearly
# flat, except for a cliff where the long-run behaviour changes from one fixed point to another. A gradient
# step taken *at* the cliff is enormous.
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
# loss than at the start. Clipped at 0.1 the path walks down the cliff and finds the valley at its foot.
# Clipped at 0.01 it is safe too, and so slow that it hasn't arrived after 60 steps. Move the **Threshold**
# and watch the path.

# %%
from seqlib.widgets.bptt import clipping_explorer

clipping_explorer()

# %% [markdown]
# Clipping doesn't cure the exploding gradient. It keeps a step from doing damage. And against the vanishing
# gradient it does nothing at all: what is zero stays zero, however it is scaled.
#
# ## Cutting time into windows
#
# A text of a million characters is one long sequence. Nobody can keep a million states for the backward pass.
# *Truncated* backpropagation through time cuts the sequence into windows of, say, 50 steps: the gradient
# stops at the border, the *state* is carried across it. That needs one line, `h = h.detach()`, and the line
# has three wrong versions. Leave it out, and PyTorch complains, rightly, about walking through a graph a
# second time. Reset the state to zero, and the network forgets everything at every border. Detach at each
# step, and it learns nothing about time.
#
# **Exercise: windows.** All states of a sequence, the state carried on, the graph cut after every `window`
# steps.


# %%
def truncated_windows(x, h0, W_xh, W_hh, b, window):
    """x (B, T, E), h0 (B, H) -> states (B, T, H); no gradient crosses a border."""
    raise NotImplementedError


check.truncated_windows(truncated_windows)

# %% [markdown]
# What does the cut cost? The truncated gradient is not just a noisy version of the full one. It is *biased*:
# whatever takes longer than a window is never seen, in any batch. We can measure it as the cosine between the
# two gradients of $W_{hh}$, here for a character model at the start of its training.

# %%
from seqlib.bptt import windowed_states
from seqlib.rnn import CharRNN
from seqlib.vocab import Vocabulary

text, _ = data.tales()
characters = Vocabulary(text)
tokens = characters.encode(text)
starts = torch.randint(len(tokens) - 200, (16, 1), generator=generator)
pieces = tokens[starts + torch.arange(201)]  # (16, 201)

model = CharRNN(len(characters), 64)
nn.init.orthogonal_(model.cell.h_to_h.weight)  # so that the gradient reaches far, and cutting costs something
one_hot = F.one_hot(pieces[:, :-1], len(characters)).float()


def truncated_gradient(window):
    states = windowed_states(model.cell, one_hot, window=window)
    loss = F.cross_entropy(model.h_to_y(states).flatten(0, 1), pieces[:, 1:].flatten())
    return torch.autograd.grad(loss, model.cell.h_to_h.weight)[0]


full = truncated_gradient(200)
windows = [1, 2, 5, 10, 20, 50, 100, 200]
agreement = [
    F.cosine_similarity(truncated_gradient(w).flatten(), full.flatten(), dim=0).item() for w in windows
]
fig, ax = plt.subplots(figsize=(5.5, 3))
ax.semilogx(windows, agreement, "o-", color=style.BLUE)
ax.set(xlabel="window", ylabel="cosine with the full gradient", ylim=(0, 1.05))
ax.set_xticks(windows, windows)
ax.minorticks_off()
assert agreement[0] < 0.7 < 0.99 < agreement[-2]

# %% [markdown]
# And what does it save? The states that must be kept until the backward pass, and with them the memory, are
# those of one window.


# %%
def bytes_kept(window):
    """Bytes that autograd stores for the backward pass of one window."""
    kept = {}

    def remember(tensor):
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        model(pieces[:, :window])
    return sum(kept.values())


growth = bytes_kept(200) / bytes_kept(50)
print("four times the window, about four times the memory:", 3 < growth < 5)
assert 3 < growth < 5

# %% [markdown]
# The same trade in a task whose memory is known: at each step, say what the input was twelve steps ago. The
# left picture shows how much the loss of each step $t$ depends on the state at each earlier step $k$; pale is
# what the cut throws away. Move **Window**. At 12, all pairs of steps that are twelve apart lie across a
# border: a window that just covers the memory is not enough.

# %%
from seqlib.widgets.bptt import truncation_explorer

truncation_explorer()

# %% [markdown]
# ## Back to the sum
#
# Now the failure at the beginning can be read off. For an untrained network, how large is the gradient of the
# answer with respect to the state right after the first marked number, compared with the one at the end?

# %%
fig, ax = plt.subplots(figsize=(6, 3))
arriving = {}
for length, linestyle in ((10, "-"), (30, "--"), (80, ":")):
    torch.manual_seed(SEED)
    x, _ = data.adding_problem(sequences=64, length=length, generator=torch.Generator().manual_seed(SEED))
    norms = gradient_norms(Adder().rnn.cells[0], x)
    arriving[length] = (norms[0] / norms[-1]).item()
    ax.semilogy(range(1, length + 1), norms / norms[-1], linestyle, label=f"length {length}")
ax.set(xlabel="step", ylabel="relative gradient")
ax.legend()
assert arriving[10] > 1e-4 and arriving[80] < 1e-12

# %% [markdown]
# With ten steps the first number's gradient is small and still there. With eighty it is less than a millionth
# of a millionth of what the last steps contribute, so the weights listen to the last steps, which say nothing
# about the sum. The network could represent the solution at any length. It is never told.
#
# ## What was measured
#
# The adding problem is learnt at length 10 and not at 50. Backpropagation through time by hand equals
# autograd to $10^{-10}$; dropping the sum over $k$ loses all of the gradient when the state starts at zero,
# and pulling the power out of the product is wrong by more than half. The powers of a matrix with
# $\sigma_{\max} = 5.2$ climb to 19 and then vanish. At gain 1 a gradient is halved in about ten steps where
# inputs are small; where they are large it fades at every gain up to 1.5. Clipping by norm keeps the
# direction, by value it doesn't, and at the cliff it decides between the valley and nowhere. Windows save
# memory in proportion, and cost agreement with the full gradient.
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
