# %% [markdown]
# # 6 Attention
#
# The translator of chapter 5 squeezed a whole number through one vector and got the digits wrong. The cure is
# simple: keep all of the encoder's states, and let the decoder look at whichever it needs, at every step
# anew. Graves (2013) had let a network that writes by hand slide a soft window along its text; Bahdanau, Cho
# and Bengio (2014) let a translator look by content, wherever it wants. This is *attention*. It is also the
# part from which, three years later, a network was built that has no recurrence at all.
#
# After this chapter you can compute attention by hand in six steps, mask it, score it in three ways, check
# whether a network looks where it should, and say what a picture of attention shows and what it doesn't.
#
# You should have read chapter 5. Reading takes about an hour and a quarter, with the exercises two and a
# half. All cells together run in about 55 seconds; nearly all of that is training.

# %%
import math
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

from seqlib import data
from seqlib.checks import Prediction
from seqlib.checks import attention as check
from seqlib.figures import style
from seqlib.pairs import (
    EOS,
    PAD,
    Pair,
    make_corpus,
    number_alignment,
    number_pair,
    number_pairs,
    romanised,
    to_tensor,
)
from seqlib.seq2seq import Seq2Seq, decoder_inputs, exact_match, fit_pairs
from seqlib.training import fit
from seqlib.widgets.training import LiveLoss

SEED = 0
torch.manual_seed(SEED)
generator = torch.Generator().manual_seed(SEED)  # for all draws except initial weights
style.use()

# %% [markdown]
# ## What it would have to look at
#
# Chapter 5 asked what gets through the context. Turn the question around: what does the decoder need? For
# number words we know. Each word that names a digit was made from the characters that name the same digit.

# %%
source, target = pair = number_pair(350_608)
fig, ax = plt.subplots(figsize=(7.5, 2.2))
at_top = torch.linspace(0, len(source) - 1, len(target)).tolist()
for t, word in enumerate(target):
    ax.text(at_top[t], 1, word, ha="center", va="bottom")
    for character in number_alignment(pair)[t].nonzero()[:, 0].tolist():
        ax.plot([at_top[t], character], [0.98, 0.2], color=style.BLUE)
for character, name in enumerate(source):
    ax.text(character, 0.15, romanised(name), ha="center", va="top")
ax.set(xlim=(-0.6, len(source) - 0.4), ylim=(-0.1, 1.2))
ax.axis("off")
print("characters that the words of", " ".join(target), "are about:", number_alignment(pair).sum(1).tolist())

# %% [markdown]
# One or two characters for each word, and never the whole number. The words without a line, "hundred" and
# "thousand", follow from the places of the others.
#
# ## A dictionary that gives a bit of everything
#
# A dictionary in Python has keys and values. You ask with a query; if the query *is* one of the keys, you get
# that key's value, and otherwise an error.

# %%
capitals = {"Korea": "Seoul", "Kenya": "Nairobi", "Peru": "Lima"}
capitals["Kenya"]

# %% [markdown]
# No gradient goes through this: the smallest change of the query makes it fail. So make it soft. Let queries
# and keys be vectors, compare the query with *every* key, turn the comparisons into weights that sum to 1,
# and return the weighted sum of all values:
#
# $$ e_s = q \cdot k_s, \qquad \alpha = \mathrm{softmax}(e), \qquad \text{context} = \sum_s \alpha_s v_s . $$
#
# A query that fits one key much better than all others gets nearly that key's value. One that fits two gets
# their mixture. And everything has a derivative.

# %%
keys = torch.tensor([[4.0, 0.0], [0.0, 4.0], [-4.0, 0.0]])
values = torch.tensor([[10.0, 0.0], [0.0, 10.0], [-10.0, -10.0]])
shuffled = [2, 0, 1]
for query in ([1.0, 0.0], [1.0, 1.0], [0.0, 0.0]):
    weights = (keys @ torch.tensor(query)).softmax(0)  # (S)
    context = weights @ values
    other_order = (keys[shuffled] @ torch.tensor(query)).softmax(0) @ values[shuffled]
    torch.testing.assert_close(context, other_order)
    print(
        f"query {query}: weights {[round(w, 2) for w in weights.tolist()]}, context {[round(c, 1) for c in context.tolist()]}"
    )

# %% [markdown]
# Nothing asks where a key stands: with the dictionary in another order the context is the same. Chapter 7 has
# to come back to that.
#
# **Exercise: one look-up.**


# %%
def dot_product_attention(q, K, V):
    """q (H), K (S, H), V (S, D) -> context (D), weights (S)"""
    raise NotImplementedError


check.dot_product_attention(dot_product_attention)

# %% [markdown]
# ## Six steps
#
# In a translator the *memory* consists of the encoder's states $h_1, \ldots, h_S$, which serve as keys and as
# values. The *query* is the decoder's state $s_t$. Between that state and the next word lie six steps (in
# this form by Luong, Pham and Manning, 2015). First with random numbers, to see the shapes: a batch of 2
# sources with 5 characters, and 3 words to write, with 4 units.

# %%
B, S, T, H = 2, 5, 3, 4
h = torch.randn(B, S, H, generator=generator)  # the encoder's states: the memory
s = torch.randn(B, T, H, generator=generator)  # the decoder's states: the queries
W_c = torch.randn(2 * H, H, generator=generator)
W_y = torch.randn(H, 7, generator=generator)  # a vocabulary of 7 words

e = s @ h.mT  # 1. scores: each query with each key
alpha = e.softmax(-1)  # 2. weights: each row sums to 1
a = alpha @ h  # 3. context: the values' weighted sum
joined = torch.cat([a, s], -1)  # 4. context and state side by side
s_tilde = torch.tanh(joined @ W_c)  # 5. mixed
p = (s_tilde @ W_y).softmax(-1)  # 6. the next word's probabilities

quantities = {"e": e, "alpha": alpha, "a": a, "joined": joined, "s_tilde": s_tilde, "p": p}
for name, quantity in quantities.items():
    print(f"{name:8} {tuple(quantity.shape)}")

# %% [markdown]
# Steps 1 to 3 are attention. PyTorch has them in one function, `F.scaled_dot_product_attention`; it divides
# the scores by the square root of the number of entries in a key unless it is told otherwise (why, comes
# below).

# %%
torch.testing.assert_close(a, F.scaled_dot_product_attention(s, h, h, scale=1.0))
print("agrees with PyTorch")

# %% [markdown]
# ## What must not be looked at
#
# Sources have different lengths, and a batch is filled up with padding. The memory has rows for the padding,
# too: copies of the state that was handed on unchanged, or zeros. The decoder would spend weight on them. So
# we need a *mask*: True where attention is allowed. Masked scores have to end up with a weight of exactly 0,
# and the others with weights that sum to 1. There is one trap: a row in which *nothing* is allowed. Filled
# with $-\infty$, the softmax makes NaN of it, and a NaN spreads to everything. Its weights shall be all
# zeros.

# %%
scores = torch.tensor([[2.0, 1.0, 0.0, 0.0, 0.0, 0.0]])
nothing = torch.zeros(1, 6, dtype=torch.bool)
print(scores.masked_fill(~nothing, -math.inf).softmax(-1))

# %% [markdown]
# **Exercise: masked softmax.**


# %%
def masked_softmax(scores, mask):
    """scores (B, T, S), mask (B, T, S), True may attend -> weights (B, T, S)

    Exactly 0 where the mask is False; a row in which nothing may be attended is all 0.
    """
    raise NotImplementedError


check.masked_softmax(masked_softmax)

# %% [markdown]
# **Exercise: a batch.** From scores to contexts, for sources of different lengths.


# %%
def attend(scores, values, mask):
    """scores (B, T, S), values (B, S, D), mask (B, S), True is a token -> context (B, T, D), weights (B, T, S)"""
    raise NotImplementedError


check.attend(attend)

# %% [markdown]
# ## Find the flaw: a mask that comes too late
#
# Somebody multiplies the weights by the mask *after* the softmax. The padding has weight 0, as it should.
# What is wrong?

# %%
from seqlib.attention import masked_softmax as seqlib_masked_softmax

present = torch.tensor([[True, True, False, False, False, False]])
too_late = scores.softmax(-1) * present
in_time = seqlib_masked_softmax(scores, present)
print("too late:", [round(w, 2) for w in too_late[0].tolist()], f"sum {too_late.sum():.2f}")
print("in time: ", [round(w, 2) for w in in_time[0].tolist()], f"sum {in_time.sum():.2f}")

# %% [markdown]
# The padding has taken its share before it was thrown away. The context becomes smaller the more padding a
# source has, so the answer depends on the *other* sources of its batch. That is worth a test: the answer to a
# source alone must be the answer to it in a batch. And the row in which nothing may be attended?

# %%
print("where nothing may be attended:", seqlib_masked_softmax(scores, nothing)[0].tolist())

# %% [markdown]
# ## A decoder that looks back
#
# Now the same with learnt states. The encoder is that of chapter 5, only that it reads in both directions
# (further down you will see why): half of the units forwards, half backwards.


# %%
from seqlib.gated import LSTM


class AttentiveTranslator(nn.Module):
    def __init__(self, source_size, target_size, embedding_size=64, hidden_size=128):
        super().__init__()
        self.source_embedding = nn.Embedding(source_size, embedding_size)
        self.encoder = LSTM(embedding_size, hidden_size // 2, bidirectional=True)
        self.target_embedding = nn.Embedding(target_size, embedding_size)
        self.decoder = LSTM(embedding_size, hidden_size)
        self.W_c = nn.Linear(2 * hidden_size, hidden_size)
        self.W_y = nn.Linear(hidden_size, target_size)

    def forward(self, source, inputs):
        """One source without padding (1, S), and the words so far (1, T) -> logits (1, T, V)"""
        h, (h_n, c_n) = self.encoder(self.source_embedding(source))
        first = (torch.cat([*h_n], -1)[None], torch.cat([*c_n], -1)[None])  # both directions side by side
        s, _ = self.decoder(self.target_embedding(inputs), first)
        a = (s @ h.mT).softmax(-1) @ h  # steps 1, 2 and 3
        s_tilde = torch.tanh(self.W_c(torch.cat([a, s], -1)))  # 4 and 5
        return self.W_y(s_tilde)  # 6, without the softmax


# %% [markdown]
# The package's `AttentionSeq2Seq` does the same for padded batches. With copied weights they agree, source by
# source, although one of them sees padding and the other doesn't.

# %%
from seqlib.attention import AttentionSeq2Seq
from seqlib.checkpoints import number_models

corpus, without, *_ = number_models()
train, held_out = corpus.train, corpus.held_out
sizes = len(corpus.source_vocabulary), len(corpus.target_vocabulary)

ours, model = AttentiveTranslator(*sizes), AttentionSeq2Seq(*sizes)
for own, theirs in (
    (model.encoder.embedding, ours.source_embedding),
    (model.encoder.cells[0], ours.encoder.cells[0]),
    (model.encoder.cells[1], ours.encoder.cells[1]),
    (model.embedding, ours.target_embedding),
    (model.cell, ours.decoder.cells[0]),
    (model.joined_to_s, ours.W_c),
    (model.h_to_y, ours.W_y),
):
    own.load_state_dict(theirs.state_dict())

inputs = decoder_inputs(train.target[:20])
with torch.no_grad():
    together = model(train.source[:20], inputs)
    for row, source in enumerate(train.source[:20]):
        alone = ours(source[source != PAD][None], inputs[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-5)
print("the chapter's and the package's agree, padding or not")

# %% [markdown]
# Before the training, a prediction. Chapter 5's model has 205 thousand parameters, and so has this one. In
# 450 steps that model learnt to translate about 20 of 100 held-out numbers exactly. `without` is one that was
# trained beforehand for 1,000 steps, with batches of 64 (its weights are in `data/checkpoints`), and translates
# 69. The new model gets 450 again, which takes about 12 seconds. You may interrupt it; but the claims below
# hold for a training that ran to its end.

# %%
exact = Prediction(
    "Without attention, 450 steps of training: about 20 of 100 held-out numbers are exact. And with attention?",
    chapter=6,
    guess=None,
    unit="of 100",
)
exact

# %% tags=["nbval-ignore-output"]
model = AttentionSeq2Seq(*sizes)
for translator in (without, model):
    print(f"{sum(p.numel() for p in translator.parameters()):,} parameters")
curve = LiveLoss(steps=450)
display(curve)
history = fit_pairs(model, train, steps=450, generator=generator, label="with attention", watch=curve)

# %% tags=["nbval-ignore-output"]
from seqlib.figures.common import plot_losses

plot_losses({"with attention": history}, smooth=20)
assert history.stopped == "finished", "run the cell above to its end"

# %%
from seqlib.figures.seq2seq import plot_exact_by_length

right = {
    "with attention, 450 steps": exact_match(model, held_out),
    "without, 1,000 steps": exact_match(without, held_out),
}
source_lengths = (held_out.source != PAD).sum(1) - 1
edges = [0, 6, 9, 12, 15, 24]
plot_exact_by_length(right, source_lengths, edges=edges).legend(loc="lower left")
share = {label: answers.double().mean().item() for label, answers in right.items()}
with_attention, without_attention = share.values()
print("with attention, 450 steps: at least 98 % exact; without, 1,000 steps: 69 %")
assert with_attention >= 0.98 and round(without_attention, 2) == 0.69
assert right["with attention, 450 steps"][source_lengths > 15].double().mean() > 0.95

# %%
exact.compare(round(100 * with_attention))

# %% [markdown]
# It needed less than half of the steps, and it makes no difference any more how long a number is. The decoder
# still starts from the encoder's last state, but it needn't carry the digits in it.
#
# Only, *two* things have changed since chapter 5. The decoder looks back, and the encoder reads in both
# directions. To see what each is worth, take small models, on numbers of up to six digits: with and without
# attention, with one direction and with two.

# %% tags=["nbval-ignore-output"]
six = make_corpus(number_pairs(7000, digits=6, generator=generator), held_out=1000, generator=generator)
six_sizes = len(six.source_vocabulary), len(six.target_vocabulary)
small = {}
for attends, kind in (("no attention", Seq2Seq), ("attention", AttentionSeq2Seq)):
    for direction, bidirectional in (("forwards", False), ("both directions", True)):
        label = f"{attends}, {direction}"
        small[label] = kind(*six_sizes, hidden_size=64, bidirectional=bidirectional)
        fit_pairs(small[label], six.train, steps=400, generator=generator, label=label)
exact_small = {label: exact_match(each, six.held_out).double().mean().item() for label, each in small.items()}
for label, value in exact_small.items():
    print(f"{label:30} {value:.3f}")

# %%
assert exact_small["attention, forwards"] > exact_small["no attention, both directions"] + 0.1
assert exact_small["attention, both directions"] > exact_small["attention, forwards"] + 0.01
assert exact_small["no attention, both directions"] > exact_small["no attention, forwards"]
print("both help; attention helps more; only both together get nearly everything right")

# %% [markdown]
# Attention brings most of it, the second direction the rest. What the second direction is good for, comes
# below.
#
# Walk through the six steps of this trained model, with **Step**, and through the words that it writes, with
# **Output position**. Watch step 2: of all the characters one or two get nearly all the weight.

# %%
from seqlib.widgets.attention import attention_steps_explorer

attention_steps_explorer(model, corpus, number_pair(35_608).source, step=2, position=1)

# %% [markdown]
# ## Does it look where it should?
#
# Put the weights of all words below each other, and you have the *alignment*: which source character each
# word was made from. Type a number of your own into **Source**, in digits or in Korean, and press Enter.

# %%
from seqlib.widgets.attention import alignment_explorer


def korean(text):
    return number_pair(int(text)).source if text.isascii() and text.isdigit() else list(text)


alignment_explorer(model, corpus, text="350608", split=korean)

# %% [markdown]
# It looks like an explanation. But is it *right*, and how often? For numbers we know. `number_alignment`
# marks, for each word that names a digit, the characters that name the same digit: 삼 and 백 for the "three" of
# "three hundred". Words such as "hundred" and "million" belong to no digit and are left out.

# %%
from seqlib.figures.attention import plot_attention


def words(tokens, vocabulary):
    return tuple(vocabulary.decode(tokens[(tokens != PAD) & (tokens != EOS)]))


@torch.no_grad()
def weights_of(model, corpus, pair):
    """The attention weights (T, S) with which the right words are written, <eos> among them."""
    state = model.start(to_tensor([pair.source], corpus.source_vocabulary))
    inputs = decoder_inputs(to_tensor([pair.target], corpus.target_vocabulary))
    return model.look_up(model.states(inputs, state), state).weights[0]


class OnDigits(NamedTuple):
    """Shares of the digit words whose largest weight is there, and the weight that lies there on average."""

    either: float  # on one of the digit's characters: the digit or its place
    digit: float  # on the first of them
    weight: float


@torch.no_grad()
def attention_on_digits(model, corpus, rows=500):
    pairs = corpus.held_out
    source, target = pairs.source[:rows], pairs.target[:rows]
    state = model.start(source)
    weights = model.look_up(model.states(decoder_inputs(target), state), state).weights  # (N, T, S)
    either, digit, weight = [], [], []
    for row in range(rows):
        pair = Pair(
            words(source[row], corpus.source_vocabulary), words(target[row], corpus.target_vocabulary)
        )
        aligned = number_alignment(pair)  # (T, S)
        for t in aligned.any(1).nonzero()[:, 0]:
            w = weights[row, t, : len(pair.source)]
            either.append(bool(aligned[t, w.argmax()]))
            digit.append(bool(w.argmax() == aligned[t].long().argmax()))
            weight.append(w[aligned[t]].sum().item())
    return OnDigits(*(sum(values) / len(values) for values in (either, digit, weight)))


on_digits = attention_on_digits(model, corpus)
print("the largest weight is on the digit's own characters for more than 80 % of the digit words")
assert on_digits.either > 0.8 and on_digits.weight > 0.75

# %% tags=["nbval-ignore-output"]
pair = number_pair(350_608)
labels = {
    "source": [*pair.source, "<eos>"],
    "target": [*pair.target, "<eos>"],
    "aligned": number_alignment(pair),
}
plot_attention(weights_of(model, corpus, pair), **labels)
print(
    f"largest weight on the digit: {100 * on_digits.either:.1f} %, weight there: {100 * on_digits.weight:.1f} %"
)

# %% [markdown]
# The outlines are the known alignment. Nobody has told the network about it. It was asked for words, and
# looking at the right character was the way to get them. (On ten seeds the largest weight was right for 98 %
# of the digit words or more seven times, and for 88 to 90 % three times, with translations just as exact. Good
# answers don't need good looks.)
#
# Look at the words without an outline, too. Where does "hundred" look in 350,000? At 십, ten: 삼십만, three ten
# ten-thousands, makes three hundred thousand. The two ways to group digits meet in that weight, and nobody
# has told it about those, either. But a word that needs nothing must look somewhere, too: weights sum to 1,
# and a softmax can't look nowhere.
#
# ## Find the flaw: a picture from a second path
#
# For a picture like this somebody computes the weights again, from the scores, "just for plotting". Here is
# 35,000, from a batch in which a longer number stands, too. What is wrong?

# %% tags=["nbval-ignore-output"]
batch = [number_pair(number) for number in (35_000, 123_456_789_012)]
with torch.no_grad():
    state = model.start(to_tensor([pair.source for pair in batch], corpus.source_vocabulary))
    inputs = decoder_inputs(to_tensor([pair.target for pair in batch], corpus.target_vocabulary))
    steps = model.look_up(model.states(inputs, state), state)
again = steps.scores[0, :4].softmax(-1)  # (T, S)
tokens = [*batch[0].source, "<eos>", *["·"] * (again.shape[1] - 5)]
plot_attention(again, source=tokens, target=[*batch[0].target, "<eos>"])
print(
    f"weight of the last word on padding: {again[-1, 5:].sum():.2f}, and really: {steps.weights[0, 3, 5:].sum():.2f}"
)
assert again[:, 5:].sum(-1).max() > 0.05 and steps.weights[0, :, 5:].abs().max() == 0

# %% [markdown]
# The second path forgot the mask. When it looks for `<eos>`, some or most of the weight seems to lie on
# padding (the dots), spread so thinly that one hardly sees it; the network that translated put none there. It
# is a picture of a network that doesn't exist. The cure isn't to remember the mask twice, it is to have one
# path. In this course every picture of a model is drawn from what the forward pass returned: `look_up` is
# called by the training, by the decoder, and by the explorers.
#
# ## It looks at states, not at words
#
# So is attention an explanation? Be careful. What the decoder looks at isn't the character, it is the
# encoder's *state* at that character, and that state knows of others. Take the two small models with
# attention, exchange the digit in the middle of a source for another, and see which states move.

# %%
digits = six.source_vocabulary.encode("일이삼사오육칠팔구")


@torch.no_grad()
def memory_moves(encoder, source):
    """How far each state moves, relative to its length, if the character in the middle is another digit."""
    middle = source.shape[1] // 2
    which = torch.isin(source[:, middle], digits)
    other = source[which].clone()
    place = (other[:, middle, None] == digits).long().argmax(1)
    other[:, middle] = digits[(place + 4) % 9]  # 일 becomes 오, and so on
    before = encoder(source[which]).memory
    moved = (encoder(other).memory - before).norm(dim=-1) / before.norm(dim=-1)
    return moved.mean(0)  # (S)


long_enough = (six.held_out.source != PAD).sum(1) > 9
nine = six.held_out.source[long_enough][:, :9]  # cut, so that the middle is the middle
moved = {
    "read forwards": memory_moves(small["attention, forwards"].encoder, nine),
    "read in both directions": memory_moves(small["attention, both directions"].encoder, nine),
}
fig, ax = plt.subplots(figsize=(6.5, 3))
for (label, by_place), marker in zip(moved.items(), "os", strict=True):
    ax.plot(torch.arange(9) - 4, by_place, marker + "-", label=label)
ax.set(xlabel="characters after the one that was exchanged", ylabel="state moves by")
ax.legend()
forwards, both = moved.values()
assert forwards[:4].max() == 0 and forwards[5] > 0.1
assert both[3] > 0.05 and both[5] > 0.05 and both[4] == both.max()

# %% [markdown]
# A state that has been read forwards knows the past, and nothing of what comes. In 삼백, "three hundred", the
# state at 삼 can't know yet whether these are three hundreds or three tens. The state at 백 knows both. With
# both directions every state knows its neighbours on either side.
#
# If that is so, a decoder with a forward encoder should look later, where the place is known. Does it?

# %% tags=["nbval-ignore-output"]
fig, axes = plt.subplots(1, 2, figsize=(11, 3.9))
looks = {}
for ax, direction in zip(axes, ("forwards", "both directions"), strict=True):
    reader = small[f"attention, {direction}"]
    plot_attention(weights_of(reader, six, number_pair(350_608)), **labels, ax=ax)
    ax.set_title(direction)
    looks[direction] = attention_on_digits(reader, six)
    print(f"{direction:16} largest weight on the digit itself: {looks[direction].digit:.2f}")

# %%
print("with both directions the largest weight is on the digit itself for more than 70 % of the digit words,")
print("with a forward encoder far less often")
assert (
    looks["both directions"].digit > 0.7 and looks["forwards"].digit < looks["both directions"].digit - 0.15
)

# %% [markdown]
# It does: mostly the digit itself is passed over, and the look goes to a later character, often the next one,
# where the digit *and* its place can be read off. (With both directions it was 96 to 99 % in six of ten
# trainings with different seeds, and 80 to 82 % in four; forwards never more than 45 %.) In the picture on the
# left, where do "three" and "hundred" look? If you took the weights for an explanation, you would be led
# astray. Weights say which *state* was used; what that state says is another question.
#
# There is a way out of this: states that are made by looking, too, with no reading order at all. An encoder
# that attends to itself is the idea of chapter 7.
#
# ## Three ways to compare
#
# The dot product is the cheapest score, and asks queries and keys to have as many entries as each other.
# Bahdanau and others used a small network instead, called *additive* attention:
#
# $$ e_{ts} = v \cdot \tanh(W_q s_t + W_k h_s) . $$
#
# (They scored with the decoder's state of the step before, $s_{t-1}$, and fed the context into the next one.
# We keep Luong's order, the six steps above.)
#
# **Exercise: additive scores.** Every query meets every key, without a loop: give both an axis for the other
# one.


# %%
def additive_scores(q, k, W_q, W_k, v):
    """q (B, T, Q), k (B, S, K), W_q (Q, A), W_k (K, A), v (A) -> scores (B, T, S)"""
    raise NotImplementedError


check.additive_scores(additive_scores)

# %% [markdown]
# The third is the dot product divided by $\sqrt{d_k}$, the square root of the number of entries (Vaswani and
# others, 2017). Why? If the entries of $q$ and $k$ are independent, with mean 0 and variance 1, then $q \cdot
# k$ is a sum of $d_k$ products of variance 1, so it has variance $d_k$. Many entries make large scores, large
# scores make a softmax that gives everything to one key, and a softmax like that lets hardly any gradient
# through to the scores. Move **d_k**, with and without **Scaled**.

# %%
from seqlib.widgets.attention import scaling_explorer

scaling_explorer()

# %%
from seqlib.scaling import random_attention

passed = {}
for d_k in (4, 64, 512):
    for scaled in (False, True):
        trace = random_attention(d_k, scaled=scaled, keys=10, generator=torch.Generator().manual_seed(SEED))
        passed[d_k, scaled] = trace.gradient.median().item()
        print(
            f"d_k {d_k:3} {'scaled' if scaled else 'dot   '}  scores spread by {trace.scores.std():4.1f}, "
            f"largest weight {trace.weights.amax(-1).mean():.1f}, median gradient {passed[d_k, scaled]:.2f}"
        )
        assert scaled == (trace.scores.std() < 1.5)
assert passed[512, False] < 0.02 and passed[512, True] > 0.2

# %% [markdown]
# The last column is the size of $\partial \alpha / \partial e$ (the norm of that matrix). With 512 entries
# and no scaling, next to nothing gets through for half of the queries: they have decided, at random, before
# anything was learnt.
#
# Which one is best here? The small model with attention and both directions has dot scores; train the other
# two.

# %% tags=["nbval-ignore-output"]
from seqlib.attention import AdditiveScores, scaled_dot_scores

by_score = {"dot": small["attention, both directions"]}
for label, scores in (("scaled dot", scaled_dot_scores), ("additive", AdditiveScores(64, 64, 64))):
    by_score[label] = AttentionSeq2Seq(*six_sizes, hidden_size=64, scores=scores)
    fit_pairs(by_score[label], six.train, steps=400, generator=generator, label=label)
looks, exact_by_score = {}, {}
for label, reader in by_score.items():
    looks[label] = attention_on_digits(reader, six)
    exact_by_score[label] = exact_match(reader, six.held_out).double().mean().item()
    print(f"{label:10} exact {exact_by_score[label]:.3f}, weight on the digit {looks[label].weight:.2f}")

# %%
assert min(exact_by_score.values()) > 0.9
assert looks["scaled dot"].weight < 0.7 < min(looks["dot"].weight, looks["additive"].weight)
print("all three: more than 90 % exact; with scaled scores less than 70 % of the weight is on the digit")

# %% [markdown]
# All three do well, the scaled one perhaps a little less so. It looks more softly, and it has to: all entries
# of these states lie between $-1$ and $1$, so with 64 of them a dot product stays below 64 and a scaled one
# below 8. In the Transformer learnt matrices in front of the product take care of that.
#
# ## Looking at one place only
#
# The soft look-up takes in everything. *Hard* attention decides: it draws one position from the weights and
# looks there, nowhere else (Xu and others, 2015; Mnih and others, 2014). That is cheaper if looking is
# expensive. But a draw has no derivative. How should the network learn where to look?
#
# A small task: a memory of six pairs of symbols, a key and a value, and a query that is one of the keys.
# Which value belongs to it? It is the dictionary from the beginning, only that the network has to find out
# that it is one.

# %%
memory, query, answer = data.lookup_problem(
    sequences=1, entries=6, generator=torch.Generator().manual_seed(4)
)
print("memory:", " ".join(f"{key}:{value}" for key, value in memory[0].tolist()))
print("query:", query.item(), " answer:", answer.item())


# %%
class LookUp(nn.Module):
    def __init__(self, symbols=20, size=16):
        super().__init__()
        self.query, self.key, self.value = (nn.Embedding(symbols, size) for _ in range(3))
        self.h_to_y = nn.Linear(size, symbols)

    def weights(self, memory, query):
        scores = scaled_dot_scores(self.query(query)[:, None], self.key(memory[..., 0]))
        return scores.softmax(-1)  # (B, 1, S)

    def soft(self, memory, query):
        context = self.weights(memory, query) @ self.value(memory[..., 1])
        return self.h_to_y(context[:, 0])


# %% [markdown]
# What we want is a high *reward* on average over the draws. Let $R_s$ be the reward if position $s$ is looked
# at, here the log-probability that the network then gives to the right answer. The gradient of the mean
# reward can be estimated from draws, because $\nabla \alpha = \alpha \nabla \log \alpha$:
#
# $$ \nabla \sum_s \alpha_s R_s = \sum_s \alpha_s \left( R_s \nabla \log \alpha_s + \nabla R_s \right) . $$
#
# The right side is an average over $s \sim \alpha$ of something that one can compute for a single draw.
# $\nabla R_s$ is ordinary backpropagation. The other part is REINFORCE (Williams, 1992): make draws that were
# rewarded more probable. It is right on average and noisy each time. The noise shrinks if a *baseline* $b$ is
# subtracted from the reward, something close to the mean reward that doesn't depend on the draw: since
# $\sum_s \nabla \alpha_s = 0$, the average stays as it is. As a loss to be minimised, this part is $-(R_s -
# b) \log \alpha_s$ with $R_s$ held fixed.


# %%
import seqlib.attention
from seqlib.attention import hard_attend


def reinforce(log_probability, reward, baseline):
    return -((reward.detach() - baseline) * log_probability).mean()


drawn, reward = torch.tensor([[0.2, 0.7], [0.9, 0.1]]).log()
torch.testing.assert_close(
    reinforce(drawn, reward, -0.5), seqlib.attention.reinforce(drawn, reward, baseline=-0.5)
)


def look_up_loss(model, kind):
    """A loss for `fit`: "soft", "hard", or "hard, baseline"."""
    baseline = 0.0

    def loss():
        nonlocal baseline
        memory, query, answer = data.lookup_problem(sequences=64, entries=6, generator=generator)
        if kind == "soft":
            return F.cross_entropy(model.soft(memory, query), answer)
        looked = hard_attend(model.weights(memory, query), model.value(memory[..., 1]), generator=generator)
        reward = -F.cross_entropy(model.h_to_y(looked.context[:, 0]), answer, reduction="none")  # (B)
        where_to_look = reinforce(looked.log_probability[:, 0], reward, baseline)
        if kind == "hard, baseline":
            baseline = 0.9 * baseline + 0.1 * reward.mean().item()  # follows the mean reward
        return where_to_look - reward.mean()

    return loss


# %% tags=["nbval-ignore-output"]
kinds = ("soft", "hard, baseline", "hard")
found_by = {kind: [] for kind in kinds}
memory, query, _ = data.lookup_problem(sequences=1000, entries=6, generator=generator)
for kind in kinds:
    look_up = LookUp()
    loss = look_up_loss(look_up, kind)
    for _ in range(4):
        fit(look_up, loss, steps=100, learning_rate=1e-2, label=kind)
        with torch.no_grad():
            chosen = look_up.weights(memory, query).argmax(-1)  # (B, 1)
        found_key = memory[..., 0].gather(1, chosen)[:, 0]
        found_by[kind].append((found_key == query).double().mean().item())

# %%
fig, ax = plt.subplots(figsize=(6.5, 3))
for (kind, shares), marker in zip(found_by.items(), "os^", strict=True):
    ax.plot([100, 200, 300, 400], shares, marker + "-", label=kind, clip_on=False)
ax.axhline(1 / 6, color="black", linestyle=":", label="guessing")
ax.set(xlabel="training steps", ylabel="looks at the right key", ylim=(0, 1), xticks=[100, 200, 300, 400])
ax.legend()
assert found_by["soft"][0] > 0.9 and found_by["soft"][0] > max(found_by[kind][0] for kind in kinds[1:])
assert found_by["hard, baseline"][2] > 0.9 and found_by["hard"][3] > 0.6

# %% [markdown]
# Soft attention learns it first. Of the two hard ones, that with a baseline is usually ahead (after 200 steps
# in 24 of 25 trainings with other seeds). Here is why. Take one network, half trained, and compute the
# gradient of its keys and queries for 200 batches. The *noise* is the variance of these gradients, summed
# over all entries, divided by the squared length of their mean.


# %%
def noise(model, kind, batches=200):
    loss = look_up_loss(model, kind)
    parameters = [model.query.weight, model.key.weight]
    for _ in range(50):
        loss()  # until the baseline has found its level
    gradients = torch.stack(
        [torch.cat([g.flatten() for g in torch.autograd.grad(loss(), parameters)]) for _ in range(batches)]
    )
    mean = gradients.mean(0)
    return ((gradients - mean).square().sum(1).mean() / mean.square().sum()).item()


# %% tags=["nbval-ignore-output"]
half_trained = LookUp()
fit(half_trained, look_up_loss(half_trained, "hard, baseline"), steps=100, learning_rate=1e-2)
noises = {kind: noise(half_trained, kind) for kind in kinds}
for kind, value in noises.items():
    print(f"{kind:15} noise {value:.1f}")

# %%
assert noises["soft"] < 1.5 and noises["soft"] < 0.6 * noises["hard, baseline"]
assert noises["hard, baseline"] < 0.5 * noises["hard"]
print("noise: soft < hard with a baseline < hard")

# %% [markdown]
# The soft gradient varies, too, since batches differ. Drawing adds to that, and without a baseline it adds a
# great deal. This is why nearly everybody uses soft attention where they can afford it.
#
# ## Dates and sentences
#
# Chapter 5's other two tasks, with the same settings. Without attention fewer than 30 % of the dates were
# exact, and about two sentences in three.

# %% tags=["nbval-ignore-output"]
from seqlib.data import DATA
from seqlib.pairs import date_pairs, read_pairs

dates = make_corpus(date_pairs(12_000, generator=generator), held_out=1000, generator=generator)
phrases = read_pairs(DATA / "phrases.tsv")
phrases = make_corpus(phrases, held_out=len(phrases) // 10, generator=generator)
date_model = AttentionSeq2Seq(len(dates.source_vocabulary), len(dates.target_vocabulary), hidden_size=64)
fit_pairs(date_model, dates.train, steps=250, generator=generator, label="dates")
phrase_model = AttentionSeq2Seq(
    len(phrases.source_vocabulary), len(phrases.target_vocabulary), hidden_size=64
)
fit_pairs(phrase_model, phrases.train, steps=300, generator=generator, label="phrases")
dates_right = exact_match(date_model, dates.held_out).double().mean().item()
phrases_right = exact_match(phrase_model, phrases.held_out).double().mean().item()
print(f"dates: {100 * dates_right:.0f} % exact, phrases: {100 * phrases_right:.0f} % exact")

# %%
assert dates_right > 0.7 and phrases_right > 0.8
print("with attention: more than 70 % of the dates, more than 80 % of the sentences")

# %% tags=["nbval-ignore-output"]
from seqlib.attention import translate

fig, axes = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=[2, 1])
date = list("3 de marzo de 1987")
seen = translate(date_model, dates, date)
assert (seen.weights[:4].argmax(1) > 12).float().mean() > 0.5  # the year's digits look at its end
plot_attention(
    seen.weights, source=["␣" if c == " " else c for c in seen.source], target=seen.target, ax=axes[0]
)
sentence = words(phrases.held_out.source[0], phrases.source_vocabulary)
seen = translate(phrase_model, phrases, sentence)
plot_attention(seen.weights, source=seen.source, target=seen.target, ax=axes[1])
print(" ".join(sentence), "->", " ".join(seen.target[:-1]))

# %% [markdown]
# In a Spanish date the year comes last, and in the ISO form first: the look jumps to the end and back. In the
# sentence it jumps, too, since a Korean sentence has its verb at the end.
#
# ## What was measured
#
# With attention, an encoder that reads both ways, and as many parameters, at least 98 % of the held-out
# numbers are translated exactly after 450 steps, long ones as well as short ones. Chapter 5's model got about
# 20 % in as many steps, and gets 69 % in 1,000. Most of that is attention's, the rest the second direction's.
# The largest weight mostly lies on the digit that is being said. With an encoder that reads forwards it lies
# later: weights are about states, not about words. Dot, scaled and additive scores all do well here. Random
# dot products spread as $\sqrt{d_k}$, and what gets through the softmax shrinks with it. Hard attention
# learns the same look-up from single draws, later; a baseline takes away most of the noise that this costs,
# not all of it. A mask belongs before the softmax, and a picture belongs on the path of the forward pass.
#
# ## Further reading
#
# Dzmitry Bahdanau, Kyunghyun Cho and Yoshua Bengio, *Neural machine translation by jointly learning to align
# and translate* (2014), the beginning of all this. Minh-Thang Luong, Hieu Pham and Christopher Manning,
# *Effective approaches to attention-based neural machine translation* (2015), for the form used here. Kelvin
# Xu and others, *Show, attend and tell* (2015), soft and hard attention over images. Volodymyr Mnih and
# others, *Recurrent models of visual attention* (2014). Alex Graves, *Generating sequences with recurrent
# neural networks* (2013), for the window. Ashish Vaswani and others, *Attention is all you need* (2017), for
# the scaling, and for chapter 7. Ronald Williams, *Simple statistical gradient-following algorithms for
# connectionist reinforcement learning* (1992). Sarthak Jain and Byron Wallace, *Attention is not explanation*
# (2019), and Sarah Wiegreffe and Yuval Pinter, *Attention is not not explanation* (2019), read together.
#
# ## The bridge
#
# There is still an LSTM in the encoder and another in the decoder, each with its steps in a row. Attention
# reaches any distance in one step, and doesn't need to wait. What if it did all the work? Chapter 7 takes the
# recurrence out.
