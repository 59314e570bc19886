# %% [markdown]
# # 1 The probability of a sequence
#
# "The miller said nothing" is a likelier thing to read than "nothing said miller the", and much likelier than
# the same letters in a random order. Everybody agrees on that. But what is the probability of a sentence,
# when hardly any sentence is ever said twice? This chapter makes the question precise, answers it by
# counting, by a weighted sum and by a state, and finds out where each answer stops being good. Every later
# chapter, up to the Transformer, is another answer to the same question.
#
# After this chapter you can write the probability of a sequence as a product and compute it without
# underflow, fit n-gram models and autoregressions, measure them on what they haven't seen, and say what a
# hidden state is good for.
#
# You should know what a conditional probability, a logarithm and a least-squares fit are. Reading takes about
# an hour, with the exercises an hour and a half. All cells together run in about 10 seconds.

# %%
import math
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
# Here is how spotted the sun was in each year since 1700, as astronomers have counted it (a yearly mean of
# the *sunspot number*), and the same numbers in a random order.

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
print(f"in 500 random orders: from {min(by_chance):.2f} to {max(by_chance):.2f}")
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
# pasts. With 60 characters and a text of 20 this is $60^{19}$, a number of 34 digits. Hardly any past would
# ever be seen twice. So the past has to be cut, or summarised, and that is where models differ.
#
# ## Logarithms, by necessity
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
# with more rows. A run of $n$ characters is an *n-gram*, where $n$ counts the predicted character too: a
# context of one makes a bigram model, a context of two a trigram model. `NGram` counts them all, for any
# length of the context, which it calls the *order* of the model.

# %%
from seqlib.probability import NGram
from seqlib.vocab import Vocabulary

characters = Vocabulary(text)
train, held_out = characters.encode(text), characters.encode(held_out_text)
V = len(characters)

bigram = NGram(train, order=1, vocabulary_size=V)
by_counting = pairs["t", "h"] / sum(after_t.values())
by_the_class = bigram.log_probs(characters.encode("th"), smoothing=0).exp().item()
print(f"p(h | t) = {by_counting:.3f}")
assert abs(by_counting - by_the_class) < 1e-12

# %% [markdown]
# What was never counted has probability zero, and a single zero makes the probability of the whole text zero.
# A text that isn't the training text nearly always has some. The crudest remedy is *additive smoothing*:
# pretend that everything has been seen $\alpha$ times before the counting began,
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
# the *cross-entropy*, counted in *bits* where the logarithm has base 2. Its exponential is easier to picture:
# the *perplexity* is the number of equally likely characters among which the model is undecided, on average.
# Whoever knows nothing about 60 characters has perplexity 60, or 5.9 bits a character.
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
    chapter=1,
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
# With so little smoothing, on the text that was counted a longer context is always better. On the other text
# it is better up to three characters, and then it gets worse: with a context of five the model has learnt the
# training part by heart rather than English. Where it goes wrong can be counted too.

# %%
for order in (1, 3, 5):
    runs = Counter(text[i : i + order + 1] for i in range(len(text) - order))
    contexts = {run[:-1] for run in runs}
    asked = [held_out_text[i : i + order + 1] for i in range(len(held_out_text) - order)]
    unseen = sum(run[:-1] not in contexts for run in asked) / len(asked)
    surprised = sum(run[:-1] in contexts and run not in runs for run in asked) / len(asked)
    print(
        f"context {order}: {len(contexts):6,} contexts counted; of the held-out characters, {100 * unseen:4.1f} % "
        f"in a context never seen, {100 * surprised:4.1f} % new in one that was"
    )

# %% [markdown]
# In a context that was never seen, all 60 characters are equally likely to the model. Worse is a context that
# was seen once or twice, and then is followed by something else: there the model is sure of itself, and
# wrong. More text would help, but slowly, since there are 60 times as many possible contexts with each
# character more. This is the wall that n-grams run into, and the reason for all that follows in this course.
#
# Play with **Context length** and **Smoothing**. On the right, the darker a character's cell, the more it
# surprised the model. Is there a smoothing for which a context of five is the best?

# %%
from seqlib.widgets.probability import context_explorer

context_explorer()

# %% [markdown]
# There is none.

# %%
smoothings = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
best = {}
for smoothing in smoothings:
    found = [perplexity_of(model.log_probs(held_out, smoothing=smoothing)) for model in models]
    best[smoothing] = found.index(min(found))
    print(f"smoothing {smoothing:6}: best with a context of {best[smoothing]}, perplexity {min(found):5.2f}")
assert best[0.01] == 3 and max(best.values()) == 3

# %% [markdown]
# With much smoothing the long contexts drown, with hardly any they are too sure of themselves. Three
# characters are as far as 64 thousand characters of text can carry this method.
#
# Now the opening question can be answered. Here is the trigram model, with a context of two, on the miller.

# %%
trigram = models[2]


def log10_probability(sentence):
    """At the beginning of a paragraph: after two line breaks."""
    return trigram.log_probs(characters.encode("\n\n" + sentence), smoothing=0.01).sum().item() / math.log(10)


sentence = "The miller said nothing"
letters = list(sentence)
mixed = ["".join(letters[i] for i in torch.randperm(len(letters), generator=generator)) for _ in range(1000)]
print(f"The miller said nothing: 10^{log10_probability(sentence):.1f}")
print(f"nothing said miller the: 10^{log10_probability('nothing said miller the'):.1f}")
print(f"the likeliest of 1,000 random orders of its letters: 10^{max(map(log10_probability, mixed)):.1f}")
assert sentence not in text
assert log10_probability(sentence) > log10_probability("nothing said miller the") + 2
assert log10_probability(sentence) > max(map(log10_probability, mixed)) + 10

# %% [markdown]
# A sentence that the model has never seen has a probability, and the order of its words and letters is most
# of it. What does order matter for the whole of the held-out tales?

# %%
order_matters = Prediction(
    "Perplexity of the held-out tales with a context of 2 is about 6. With all characters shuffled it is:",
    chapter=1,
    guess=None,
)
order_matters

# %%
trigram = models[2]
orders = [held_out[torch.randperm(len(held_out), generator=generator)] for _ in range(20)]
for smoothing in (0.01, 1.0, 10.0):
    in_order = perplexity_of(trigram.log_probs(held_out, smoothing=smoothing))
    at_random = [perplexity_of(trigram.log_probs(tokens, smoothing=smoothing)) for tokens in orders]
    print(
        f"smoothing {smoothing:5}: in order {in_order:5.2f}, "
        f"in 20 random orders from {min(at_random):.0f} to {max(at_random):.0f}"
    )
    assert min(at_random) > 3 * in_order
    if smoothing == 0.01:
        typical = sorted(at_random)[10]
order_matters.compare(round(typical, -1), within=1.5)

# %% [markdown]
# With little smoothing, more than 60, and so worse than knowing nothing: the model takes what it sees for
# English, is sure of itself and wrong. With much smoothing it is careful, and knows little. In order it does
# better by far in each case. Shuffle a little, shuffle more; here perplexity is given in bits, its logarithm
# of base 2.

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
# it is a least-squares problem. The rows of its matrix are pieces of the series, and the worst that can
# happen is that the answer gets among the questions.
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


# Least squares by hand for order 2, and the same by the package.
X = torch.stack([past[1:-1], past[:-2], torch.ones(len(past) - 2)], 1)
by_hand = torch.linalg.lstsq(X, past[2:, None]).solution[:, 0]
ar2 = fit_autoregression(past, 2)
torch.testing.assert_close(by_hand, torch.cat([ar2.weights, torch.tensor([ar2.intercept])]))

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
# than the naive one. Nine do a little better still.)
#
# ## Find the flaw: a century foretold
#
# Here is a picture as it can be found in many places. A model was fitted on the past and then *predicts the
# next hundred years*, with impressive agreement. What is wrong with it?

# %%
ar9 = fit_autoregression(past, 9)
rolling = rolling_forecasts(ar9, sunspots, start=start, horizon=1)

fig, ax = plt.subplots(figsize=(9, 2.8))
ax.plot(years[start:], future, color=style.GREY, label="counted")
ax.plot(years[start:], rolling.predicted, "--", color=style.BLUE, label="predicted")
ax.set(xlabel="year", ylabel="sunspots")
_ = ax.legend(loc="upper left")

# %% [markdown]
# Each point of the dashed line was computed from the *true* values of the nine years before it. It is a
# hundred and nine forecasts of one year, not one forecast of a century. For that, the model has to live on
# its own forecasts.

# %%
alone = ar9.forecast(past, horizon=len(future))
fig, ax = plt.subplots(figsize=(9, 2.8))
ax.plot(years[start:], future, color=style.GREY, label="counted")
ax.plot(years[start:], alone, "--", color=style.RED, label="foretold in 1899")
ax.set(xlabel="year", ylabel="sunspots")
ax.legend(loc="upper left")
for name, part in (("first 10", slice(10)), ("last 50", slice(-50, None))):
    print(
        f"{name} years: error {rmse(future[part] - alone[part]):.0f}, of the mean {rmse(future[part] - past.mean()):.0f}"
    )
assert alone[-20:].std() < 0.2 * alone[:20].std()

# %% [markdown]
# Its swings drift, and then they die down to the mean of the past. From this start it isn't better than the
# mean even in the first ten years. One start is an anecdote, so here are 23, each with a fit on the years
# before it.

# %%
ahead = []  # squared errors of (forecast, mean) in each of the 44 years after a start
for first in range(1850, 1961, 5):
    k = first - 1700
    truth = sunspots[k : k + 44]
    forecast = fit_autoregression(sunspots[:k], 9).forecast(sunspots[:k], horizon=44)
    ahead.append(torch.stack([(truth - forecast) ** 2, (truth - sunspots[:k].mean()) ** 2]))
by_cycle = torch.stack(ahead).view(len(ahead), 2, 4, 11).mean((0, 3)).sqrt()  # (2, 4): four times 11 years
for cycle in range(4):
    forecast_error, mean_error = by_cycle[:, cycle].tolist()
    print(f"cycle {cycle + 1} after the start: error {forecast_error:.0f}, of the mean {mean_error:.0f}")
assert by_cycle[0, 0] < 0.75 * by_cycle[1, 0] and by_cycle[0, 3] > 0.9 * by_cycle[1, 3]

# %% [markdown]
# For a cycle the forecast is worth a third of the error, after three it is worth next to nothing. Nothing is
# broken: the further away a year is, the less the present tells about it, and the best forecast under
# ignorance is the mean. Choose a **Horizon**, and see how the error grows with it. With an **Order** of 1 and
# five years ahead it is even worse than the mean. Why? (Five years are half a cycle.)

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
# The state $x_t$ follows from the state before and from an input $u_t$ (pushes of the wind, say). Without an
# input the system runs by itself, $x_t = f(x_{t-1})$. What we see is the output $y_t$. Here is a swing with
# friction, pushed at random, that shows its position only.

# %%
from seqlib.probability import state_space_run

cos, sin = math.cos(0.3), math.sin(0.3)
A = 0.99 * torch.tensor(
    [[cos, sin], [-sin, cos]], dtype=torch.float64
)  # of (position, velocity); 0.99: friction
B = A @ torch.tensor([[0.0], [1.0]], dtype=torch.float64)  # a push changes the velocity, then it swings on
C = torch.tensor([[1.0, 0.0]], dtype=torch.float64)  # the position is what we see

pushes = 0.1 * torch.randn(4000, 1, generator=generator, dtype=torch.float64)
x, y = state_space_run(A, B, C, inputs=pushes, x_0=torch.tensor([1.0, 0.0], dtype=torch.float64))
position = y[:, 0]

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), width_ratios=(2, 1))
left.plot(position[:200], color=style.BLUE)
left.set(xlabel="step t", ylabel="position")
middle = (position[1:-1].abs() < 0.05 * position.std()).nonzero()[
    :, 0
] + 1  # steps at which it hangs straight down
goes_to, came_from_left = position[middle + 1], position[middle - 1] < 0
right.hist(
    [goes_to[came_from_left], goes_to[~came_from_left]],
    bins=16,
    stacked=True,
    color=[style.BLUE, style.ORANGE],
    label=["came from the left", "came from the right"],
)
right.set(xlabel="next position", title="from the middle")
right.margins(y=0.4)  # room for the legend
right.legend(fontsize=9)
carries_on = ((goes_to > 0) == came_from_left).double().mean()
assert carries_on > 0.75

# %% [markdown]
# In the middle, the position says nothing about which side comes next. Where the swing came from does: it
# carries on. So the position isn't a Markov chain, since the value before doesn't tell all that the past can
# tell. How much of the next position can be foretold, and from what?


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
assert left_over["the position"] > 0.05 > 0.01 > left_over["two positions"]
assert left_over["the state"] > 0.95 * left_over["the state, and all that came before it"]

# %% [markdown]
# One position leaves nearly a tenth of the variance open. The state leaves only what the next push will do,
# and to add older states to it gains nothing: *in its state* the series is a Markov chain, because the pushes
# are independent of each other. Two positions do as well as the state here, since how far the swing has come
# tells how fast it is. That is why AR(2) did so much better than AR(1).
#
# Often nobody can see the state. The sun shows its spots and not the magnetic field that makes them; a text
# shows its words, and not what the writer means to say. Then one can still keep a summary of one's own, a
# *hidden state* $h_t$, and bring it up to date with every value that comes in. (From here on $x_t$ is again
# what we see.)
#
# $$ h_t = g(h_{t-1}, x_t), \qquad\qquad p(x_{t+1} \mid x_1, \dots, x_t) \approx p(x_{t+1} \mid h_t) . $$
#
# This is a *latent autoregressive model*. The past isn't cut, and the summary keeps its size. What is missing
# is a way to find a good $g$.
#
# ## What was measured
#
# Sunspot numbers have a correlation of 0.82 with the year after, and hardly any when they are shuffled. The
# chain rule holds in both directions. Two thousand probabilities multiplied give zero. With little smoothing
# an n-gram model of the text it was counted on gets better with every character of context, of other text
# only up to three, and no smoothing makes five the best. A sentence never seen is likelier than a thousand
# random orders of its letters. An autoregression forecasts sunspots well for a year, and after three cycles
# no better than the mean. A series that isn't a Markov chain in its values can be one in its state.
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
