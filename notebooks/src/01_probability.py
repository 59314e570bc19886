# %% [markdown]
# # 1 The probability of a sequence
#
# "The miller said nothing" is a likelier thing to read than "nothing said miller the", and much likelier than
# the same letters in any order. Everybody agrees on that. But what is the probability of a sentence, when
# hardly any sentence is ever said twice? This chapter makes the question precise, answers it three times with
# models of growing memory, and finds out where each answer stops being good. Every later chapter, up to the
# Transformer, is another answer to the same question.
#
# After this chapter you can write the probability of a sequence as a product and compute it without
# underflow, fit n-gram models and autoregressions, measure them on what they haven't seen, and say what a
# hidden state is good for.
#
# You should know what a conditional probability, a logarithm and a least-squares fit are. Reading takes about
# an hour, with the exercises an hour and a half. All cells together run in a quarter of a minute.

# %%
from collections import Counter
from itertools import product

import matplotlib.pyplot as plt
import torch

from seqlib import data
from seqlib.checks import Prediction
from seqlib.checks import probability as check
from seqlib.figures import style

SEED = 0
torch.manual_seed(SEED)
generator = torch.Generator().manual_seed(SEED)
style.use()

# %% [markdown]
# ## What the order knows
#
# Here are the sunspots that astronomers counted in each year since 1700, and the same numbers in a random
# order.

# %%
years, sunspots = data.sunspots()
shuffled = sunspots[torch.randperm(len(sunspots), generator=generator)]

fig, (upper, lower) = plt.subplots(2, 1, figsize=(9, 4), sharex=True)
upper.plot(years, sunspots, color=style.BLUE)
lower.plot(years, shuffled, color=style.RED)
upper.set(title="sunspots by year", ylim=(0, 200))
_ = lower.set(title="the same numbers, shuffled", xlabel="year", ylim=(0, 200))

# %% [markdown]
# Both rows have the same mean, the same spread, the same histogram. Statistics that treats the numbers as
# *independent and identically distributed* cannot tell them apart. An eye can: above, a high year follows a
# high year. Say it with a number, the correlation between each year and the next one.


# %%
def correlation_with_the_next(series):
    return torch.corrcoef(torch.stack([series[:-1], series[1:]]))[0, 1].item()


real = correlation_with_the_next(sunspots)
by_chance = [
    correlation_with_the_next(sunspots[torch.randperm(len(sunspots), generator=generator)])
    for _ in range(500)
]
print(f"in the order of time: {real:.2f}")
print("in 500 random orders: all between -0.3 and 0.3")
assert real > 0.8 and max(map(abs, by_chance)) < 0.3

# %% [markdown]
# So the probability of a sequence is not the product of the probabilities of its elements. What is it, then?
#
# ## The chain rule
#
# Take the smallest case that isn't trivial: three steps, three symbols, and a table with the probability of
# each of the 27 sequences. Any table will do, so let it be random.

# %%
V = 3
joint = torch.rand(V, V, V, generator=generator, dtype=torch.float64)
joint /= joint.sum()  # joint[a, b, c] = p(x_1 = a, x_2 = b, x_3 = c)

p_first = joint.sum((1, 2))  # p(x_1)
p_second = joint.sum(2) / p_first[:, None]  # p(x_2 | x_1)
p_third = joint / joint.sum(2, keepdim=True)  # p(x_3 | x_1, x_2)

for a, b, c in product(range(V), repeat=3):
    by_the_chain = p_first[a] * p_second[a, b] * p_third[a, b, c]
    torch.testing.assert_close(by_the_chain, joint[a, b, c])
print("the product of the three conditionals is the joint probability, in all", V**3, "cases")

# %% [markdown]
# This is the *chain rule of probability*,
#
# $$ p(x_1, \dots, x_T) = \prod_{t=1}^{T} p(x_t \mid x_1, \dots, x_{t-1}), $$
#
# and it assumes nothing. It holds for every distribution, and in every order: one may as well begin at the
# end.

# %%
p_last = joint.sum((0, 1))  # p(x_3)
p_middle = joint.sum(0) / p_last  # p(x_2 | x_3), as [b, c]
p_begin = joint / joint.sum(0)  # p(x_1 | x_2, x_3)
torch.testing.assert_close(p_last * p_middle * p_begin, joint)
print("from right to left it is the same")

# %% [markdown]
# The rule turns one impossible question into many possible ones. Nobody can estimate the probability of a
# whole text. But *what comes next, given what was there so far* is a question that data can answer, over and
# over. Of all orders we take the one from left to right, because that is how sequences come to us, and
# because a model of what comes next can also write.
#
# There is a price. The last factor is conditioned on everything before it, and there are $V^{T-1}$ different
# pasts. With 60 characters and a text of 20 this is $60^{19}$, a number of 34 digits. No past would ever be
# seen twice. So the past has to be cut, or summarised, and that is where models differ.
#
# ## Logarithms, for once because we must
#
# First a practical matter. Take the simplest cut, where the next symbol depends on the last one only (a
# *Markov chain*), and multiply.

# %%
p_next = torch.tensor([[0.8, 0.1, 0.1], [0.3, 0.5, 0.2], [0.2, 0.2, 0.6]], dtype=torch.float64)
tokens = [0]
for _ in range(1999):
    tokens.append(int(torch.multinomial(p_next[tokens[-1]], 1, generator=generator)))
tokens = torch.tensor(tokens)

factors = p_next[tokens[:-1], tokens[1:]]
print("the product of", len(factors), "probabilities:", factors.prod().item())
assert factors.prod() == 0 and factors.log().sum().isfinite()

# %% [markdown]
# Zero. The true value is around $10^{-700}$, and the smallest number that fits into double precision is about
# $10^{-324}$. The sum of the logarithms is an ordinary number. That is why the whole field speaks of
# log-probabilities.
#
# **Exercise: the log-probability of a sequence.** Fill in the function; the check knows the right answer and
# the usual mistakes. `check.sequence_log_prob.hint()` gives a hint.


# %%
def sequence_log_prob(p_first, p_next, tokens):
    """p_first (V), p_next (V, V) with p_next[i, j] = p(next is j | now is i), tokens (T) -> log p(tokens)"""
    raise NotImplementedError


check.sequence_log_prob(sequence_log_prob)

# %% [markdown]
# ## Cutting the past: n-grams
#
# For text, the oldest answer is to cut the past after a few characters, and to count. Here is the whole idea
# in five lines, with a context of one character.

# %%
text, held_out_text = data.tales()  # fables that were written for this course
pairs = Counter(zip(text[:-1], text[1:], strict=True))
after_q = {following: count for (letter, following), count in pairs.items() if letter == "q"}
after_t = Counter({following: count for (letter, following), count in pairs.items() if letter == "t"})
print("after q:", after_q)
print("after t:", after_t.most_common(6))
assert set(after_q) == {"u"}

# %% [markdown]
# Dividing each count by the sum of its row gives $p(x_t \mid x_{t-1})$. With a longer context it is the same,
# with more rows. `NGram` counts them all, for any context length, which is also called the *order* of the
# model.

# %%
from seqlib.probability import NGram
from seqlib.vocab import Vocabulary

characters = Vocabulary(text + held_out_text)
train, held_out = characters.encode(text), characters.encode(held_out_text)
V = len(characters)

bigram = NGram(train, order=1, vocabulary_size=V)
t, h = characters.encode("th")
by_counting = pairs["t", "h"] / sum(after_t.values())
by_the_class = bigram.log_probs(torch.stack([t, h]), smoothing=0).exp().item()
print(f"p(h | t) = {by_counting:.3f}")
assert abs(by_counting - by_the_class) < 1e-12

# %% [markdown]
# What was never counted has probability zero, and a single zero makes the probability of the whole text zero.
# A text that isn't the training text always has some. The crudest remedy is *additive smoothing*: pretend
# that everything has been seen $\alpha$ times before the counting began,
#
# $$ p(x \mid c) = \frac{\text{count}(c, x) + \alpha}{\text{count}(c) + \alpha V} . $$
#
# **Exercise: smoothing.**


# %%
def smoothed_conditional(counts, alpha):
    """counts (C, V): how often each token followed each context -> p(token | context), (C, V) in float32"""
    raise NotImplementedError


check.smoothed_conditional(smoothed_conditional)

# %% [markdown]
# ## How good is a model of text?
#
# A model is good if it finds likely what really comes. The mean of $-\log p$ over the characters of a text is
# the *cross-entropy*. Its exponential is easier to picture: the *perplexity* is the number of equally likely
# characters among which the model is undecided, on average. Whoever knows nothing about 60 characters has
# perplexity 60.
#
# **Exercise: perplexity.**


# %%
def perplexity(log_probs):
    """log_probs (T), natural logarithms of the probabilities of what came -> the perplexity, a number"""
    raise NotImplementedError


check.perplexity(perplexity)

# %% [markdown]
# Which context length is best? The tales have a training part and a part that is held out. Before you go on:
# which of these models finds the *held-out* part least surprising?

# %%
best_context = Prediction(
    "Which context length gives the lowest perplexity on the held-out part?",
    choices=(0, 1, 2, 3, 4, 5),
    guess=None,
    unit="characters",
)
best_context

# %%
from seqlib.figures.probability import plot_perplexity
from seqlib.probability import perplexity as perplexity_of

models = [NGram(train, order=order, vocabulary_size=V) for order in range(6)]
on_train = [perplexity_of(model.log_probs(train, smoothing=0.01)) for model in models]
on_held_out = [perplexity_of(model.log_probs(held_out, smoothing=0.01)) for model in models]

plot_perplexity(torch.tensor(on_train), torch.tensor(on_held_out))
assert on_train == sorted(on_train, reverse=True)
best_context.compare(min(range(6), key=lambda order: on_held_out[order]))

# %% [markdown]
# On the text that was counted, a longer context is always better. On the other text it is better up to three
# characters, and then it gets worse: with a context of five the model has learnt the training part by heart
# rather than English. The reason can be counted too. How many of the held-out contexts did the model never
# see?

# %%
for order in (1, 3, 5):
    seen = {text[i : i + order] for i in range(len(text) - order)}
    contexts = [held_out_text[i : i + order] for i in range(len(held_out_text) - order)]
    new = sum(context not in seen for context in contexts) / len(contexts)
    print(
        f"context length {order}: {models[order].number_of_contexts:6} contexts counted, "
        f"{100 * new:4.1f} % of the held-out ones never seen"
    )

# %% [markdown]
# In a context that was never seen, all 60 characters are equally likely to the model. More text would help,
# and helps only slowly: with each character more of context there are many times as many contexts to see.
# This is the wall that n-grams run into, and the reason for all that follows in this course.
#
# Play with **Context length** and **Smoothing**. Is there a smoothing for which a context of five is the
# best?

# %%
from seqlib.widgets.probability import context_explorer

context_explorer()

# %% [markdown]
# Now the opening question can be answered with numbers. How undecided is the model with a context of two,
# when the characters of the held-out tales come in a random order?

# %%
order_matters = Prediction(
    "Perplexity of the held-out tales with a context of 2 is about 6. With all characters shuffled it is:",
    guess=None,
)
order_matters

# %%
trigram = models[2]
in_order = perplexity_of(trigram.log_probs(held_out, smoothing=0.01))
at_random = torch.tensor(
    [
        perplexity_of(
            trigram.log_probs(held_out[torch.randperm(len(held_out), generator=generator)], smoothing=0.01)
        )
        for _ in range(20)
    ]
)
print(f"in order: {in_order:.2f}")
print("in 20 random orders: all between 280 and 400")
assert 280 < at_random.min() and at_random.max() < 400
order_matters.compare(round(at_random.median().item(), -1), within=1.5)

# %% [markdown]
# More than 60, and so worse than knowing nothing: the model is sure of itself and wrong, because it takes
# what it sees for English. Shuffle a little, shuffle more:

# %%
from seqlib.widgets.probability import shuffle_explorer

shuffle_explorer()

# %% [markdown]
# ## Numbers instead of symbols: autoregression
#
# Back to the sun. For a series of numbers nobody counts contexts, since no number comes back exactly. The
# counterpart of an n-gram model is to predict the next value by a weighted sum of the last $\tau$ ones,
#
# $$ x_t = b + w_1 x_{t-1} + w_2 x_{t-2} + \dots + w_\tau x_{t-\tau} + \text{noise}, $$
#
# an *autoregression* of order $\tau$, AR($\tau$). Udny Yule (1927) invented it for this very series. Fitting
# it is a least-squares problem. The rows of its matrix are pieces of the series, and the one thing that can
# go wrong is to put the answer among the questions.
#
# **Exercise: the design matrix.**


# %%
def ar_design_matrix(series, order):
    """series (T) -> X (T - order, order), the values before each target, the latest first; y (T - order)"""
    raise NotImplementedError


check.ar_design_matrix(ar_design_matrix)

# %% [markdown]
# We fit on the years before 1900, and forecast the years after. Nothing about the twentieth century may go
# into the fit, since whoever forecasts doesn't have it.

# %%
from seqlib.probability import fit_autoregression, rolling_forecasts

start = int((years == 1900).nonzero())
past, future = sunspots[:start], sunspots[start:]


def rmse(values):
    return values.square().mean().sqrt().item()


print(f"always the mean of the past:   error {rmse(future - past.mean()):.1f}")
print(f"next year will be as this one: error {rmse(future - sunspots[start - 1 : -1]):.1f}")
one_step = {}
for order in (1, 2, 9):
    model = fit_autoregression(past, order)
    one_step[order] = rolling_forecasts(model, sunspots, start=start, horizon=1).rmse
    print(f"AR({order}), one year ahead:        error {one_step[order]:.1f}")
assert one_step[9] < one_step[2] < one_step[1] < rmse(future - past.mean())

# %% [markdown]
# Two past values are much better than one. One value says how high the curve is, two say also whether it is
# on its way up or down. Keep this in mind; we come back to it. (With one value the forecast is hardly better
# than the naive one. Nine, which is close to a cycle of eleven years, do better still.)
#
# ## Find the flaw: a century foretold
#
# Here is a picture as it can be found in many places. A model was fitted on the past and then *predicts the
# next hundred years*, with impressive agreement.

# %%
ar9 = fit_autoregression(past, 9)
rolling = rolling_forecasts(ar9, sunspots, start=start, horizon=1)

fig, ax = plt.subplots(figsize=(9, 2.8))
ax.plot(years[start:], future, color=style.GREY, label="counted")
ax.plot(years[start:], rolling.predicted, "--", color=style.BLUE, label="predicted")
ax.set(xlabel="year", ylabel="sunspots")
_ = ax.legend(loc="upper left")

# %% [markdown]
# What is wrong with the claim? Each point of the dashed line was computed from the *true* values of the nine
# years before it. It is a hundred and nine forecasts of one year, not one forecast of a century. For that,
# the model has to live on its own forecasts.

# %%
alone = ar9.forecast(past, horizon=len(future))
fig, ax = plt.subplots(figsize=(9, 2.8))
ax.plot(years[start:], future, color=style.GREY, label="counted")
ax.plot(years[start:], alone, "--", color=style.RED, label="foretold in 1899")
ax.set(xlabel="year", ylabel="sunspots")
ax.legend(loc="upper left")
print(f"error of the first 10 years: {rmse(future[:10] - alone[:10]):.0f}")
print(f"error of the last 50 years:  {rmse(future[-50:] - alone[-50:]):.0f}")
print(f"always the mean:             {rmse(future[-50:] - past.mean()):.0f}")
assert rmse(future[-50:] - alone[-50:]) > 2 * rmse(future[:10] - alone[:10])
assert alone[-20:].std() < 0.2 * alone[:20].std()

# %% [markdown]
# For a cycle or two the forecast is good. Then its swings die down, and it says what the mean says. Nothing
# is broken: the further away a year is, the less the present tells about it, and the best forecast under
# ignorance is the mean. Choose an **Order** and a **Horizon**, and see how the error grows between the two.

# %%
from seqlib.widgets.probability import forecast_explorer

forecast_explorer()

# %% [markdown]
# ## Summarising the past: a state
#
# Why were two values so much better than one? Think of a swing. A photograph shows where it is. It doesn't
# show whether it moves forwards or backwards, so the next photograph can't be told from it. What is needed is
# the position *and* the velocity. The pair is called the *state*: what has to be known about the past in
# order to predict the future, as far as anything can.
#
# $$ x_t = f(x_{t-1}, u_t), \qquad\qquad y_t = h(x_t) $$
#
# The state $x_t$ follows from the state before and from an input $u_t$ (pushes of the wind, say). What we see
# is the output $y_t$. Here is a swing with friction, pushed at random, that shows its position only.

# %%
from seqlib.probability import state_space_run

angle = torch.tensor(0.3, dtype=torch.float64)
turn = torch.stack([torch.stack([angle.cos(), angle.sin()]), torch.stack([-angle.sin(), angle.cos()])])
A = 0.99 * turn  # the state is (position, velocity); a little is lost to friction
B = A @ torch.tensor([[0.0], [1.0]], dtype=torch.float64)  # a push changes the velocity, then it swings on
C = torch.tensor([[1.0, 0.0]], dtype=torch.float64)  # the position is what we see

pushes = 0.1 * torch.randn(4000, 1, generator=generator, dtype=torch.float64)
x, y = state_space_run(A, B, C, inputs=pushes, x_0=torch.tensor([1.0, 0.0], dtype=torch.float64))
position = y[:, 0]

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), width_ratios=(2, 1))
left.plot(position[:200], color=style.BLUE)
left.set(xlabel="step t", ylabel="position")
near_zero = (position[:-1].abs() < 0.05 * position.std()).nonzero()[:, 0]
right.hist(position[near_zero + 1], bins=24, color=style.ORANGE)
_ = right.set(xlabel="next position", title="where it goes from position 0")

# %% [markdown]
# From position 0 it goes left about as often as right. So the position isn't a Markov chain: the value before
# doesn't tell all that the past can tell. How much of the next position can be foretold, from what?


# %%
def unexplained(known, target):
    """The share of the target's variance that a linear forecast from `known` leaves."""
    X = torch.cat([known, torch.ones_like(known[:, :1])], 1)
    fitted = X @ torch.linalg.lstsq(X, target[:, None], driver="gelsd").solution
    return ((target - fitted[:, 0]).var() / target.var()).item()


left_over = {
    "the position": unexplained(position[9:-1, None], position[10:]),
    "two positions": unexplained(torch.stack([position[9:-1], position[8:-2]], 1), position[10:]),
    "the state": unexplained(x[9:-1], position[10:]),
    "the state, and all that came before it": unexplained(
        torch.cat([x[9:-1], x[8:-2], x[7:-3]], 1), position[10:]
    ),
}
for known, share in left_over.items():
    print(f"{known + ':':40} {100 * share:5.2f} % remain unexplained")
assert left_over["the position"] > 0.05 > 0.005 > left_over["two positions"]
assert left_over["the state"] > 0.95 * left_over["the state, and all that came before it"]

# %% [markdown]
# One position leaves more than a twentieth of the variance open. The state leaves only what the next push
# will do, and to add older states to it gains nothing: *in its state* the series is a Markov chain. Two
# positions do as well as the state here, since how far the swing has come tells how fast it is. That is why
# AR(2) did so much better than AR(1).
#
# Often nobody can see the state. The sun shows its spots and not the magnetic field that makes them; a text
# shows its words, and not what the writer means to say. Then one can still keep a summary of one's own, and
# bring it up to date with every value that comes in,
#
# $$ h_t = g(h_{t-1}, x_t), \qquad\qquad p(x_{t+1} \mid x_1, \dots, x_t) \approx p(x_{t+1} \mid h_t) . $$
#
# This is a *latent autoregressive model*. It doesn't cut the past at all, and it has a fixed size. What is
# missing is a way to find a good $g$.
#
# ## What was measured
#
# The numbers of sunspots have a correlation of 0.82 with the year after, and none when they are shuffled. The
# chain rule holds for every table, in both directions. Two thousand probabilities multiplied give zero. On
# the text it was counted on, an n-gram model gets better with every character of context, on other text only
# up to three. In random order the same text is worse than knowing nothing, twenty times of twenty. An
# autoregression forecasts sunspots well for a year and hardly better than the mean for far years. A series
# that isn't a Markov chain in its values can be one in its state.
#
# ## Further reading
#
# Andrey Markov counted vowels and consonants in *Eugene Onegin* (1913). Udny Yule, *On a method of
# investigating periodicities in disturbed series* (1927), is the first autoregression. Claude Shannon, *A
# mathematical theory of communication* (1948), writes English with n-grams of growing order, by hand. Rudolf
# Kalman, *A new approach to linear filtering and prediction problems* (1960), on states that can't be seen.
# For smoothing that is better than adding a constant: Stanley Chen and Joshua Goodman, *An empirical study of
# smoothing techniques for language modeling* (1996).
#
# ## The bridge
#
# The next chapter takes the last equation and lets a network learn $g$ from data. It is called a recurrent
# network.
