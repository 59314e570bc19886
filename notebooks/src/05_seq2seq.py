# %% [markdown]
# # 5 Sequence to sequence
#
# So far a network has answered step by step: one label for each frame, one next character for each character.
# A translation isn't like that. It may be longer than what it translates, or shorter, and its first word may
# depend on the last one that was read. This chapter lets one network read everything and a second one write
# everything, with a vector between them. It learns the grammar perfectly and the content badly. So we find
# out what doesn't fit through that vector, what happens when the writer has to live with its own mistakes,
# and how to search for a better sentence than the one it would write off the cuff.
#
# After this chapter you can build an encoder and a decoder, train them on pairs of any kind, your own among
# them, measure where they fail, and decode greedily, by sampling and by beam search.
#
# You should have read chapters 2 and 4. Reading takes about an hour and a quarter, with the exercises two and
# a half. All cells together run in about 65 seconds; nearly all of that is training.

# %%
import itertools
import math

import matplotlib.pyplot as plt
import torch
from torch import nn

from seqlib.checks import Prediction
from seqlib.checks import seq2seq as check
from seqlib.figures import style

SEED = 0
torch.manual_seed(SEED)
generator = torch.Generator().manual_seed(SEED)  # for all draws except initial weights
style.use()

# %% [markdown]
# ## One number, two grammars
#
# Koreans count in ten thousands. There are words for 10, 100 and 1,000, as in English; but then comes 만
# (*man*), ten thousand, and after that 억 (*eok*), ten thousand ten thousands. English groups digits by three,
# Korean by four. 300,000 is "three hundred thousand" in the one and 삼십만, "three ten man", in the other. So
# nobody can translate number words one by one: to say "hundred", you must have seen the 만.

# %%
from seqlib.pairs import number_pair, romanised

for number in (12, 305, 20_000, 35_000, 300_000, 4_000_000, 120_000_000):
    korean, english = number_pair(number)
    latin = " ".join(romanised(character) for character in korean)
    print(f"{number:>11,}  {latin:12} {' '.join(english):32} {''.join(korean)}")

# %% [markdown]
# Nothing marks a zero, and a 1 is mostly left out: 백 alone is one hundred. If you don't read Korean, the
# letters in the second column are enough; figures will use them.
#
# That makes a good task. It is small, so that we can train within seconds. It has exactly one right answer,
# so that we can count mistakes. And we know the rule, so that we can look for what a network has made of it.
# `number_pairs` draws 21,000 different numbers of up to twelve digits (the words come from the library
# num2words). A thousand of them are held out: what is tested has never been seen in training.

# %%
from seqlib.pairs import EOS, PAD, SOS, make_corpus, number_pairs

corpus = make_corpus(number_pairs(21_000, generator=generator), held_out=1000, generator=generator)
train, held_out = corpus.train, corpus.held_out
print("source", tuple(train.source.shape), " target", tuple(train.target.shape))
print(corpus.target_vocabulary)

for row in train.target[:2]:
    print(" ".join(corpus.target_vocabulary.decode(row)))

# %% [markdown]
# Three of the tokens aren't words. `<eos>`, end of sequence, closes every sentence: a network that writes
# must be able to say that it is done, and one that reads is told so. `<pad>` fills the shorter rows of a
# batch. And `<sos>`, start of sequence, will be the first thing that the writing network reads.
#
# ## An encoder and a decoder
#
# Chapter 2 reversed words with two recurrent networks, and this is the same wiring with better cells. The
# *encoder* reads the source and ends in a state. That state is handed over, as the *context*; the *decoder*
# starts from it and writes one word a step, reading at each step the word that it has just written. Many to
# one, and one to many.

# %%
from seqlib.figures.seq2seq import plot_encoder_decoder

_ = plot_encoder_decoder(*number_pair(30_500))

# %% [markdown]
# In terms of chapter 1, the decoder is an autoregressive model of the target, given the source:
#
# $$ p(y_1, \ldots, y_T \mid x) = \prod_{t=1}^{T} p(y_t \mid y_{<t}, x), $$
#
# and all that it knows about $x$ is the context. Because the end of the sentence is a token like any other,
# this is a distribution over sentences of *all* lengths. Kalchbrenner and Blunsom (2013) came close to such a
# translator; in 2014 Cho and others scored phrases with a pair of recurrent networks, and Sutskever, Vinyals
# and Le translated whole sentences.
#
# Here it is, from the LSTM cell of chapter 4. `unroll` runs a cell over a whole sequence; where `present` is
# false, in the padding, it hands the state on unchanged, so the state at the end is that after the last real
# token.


# %%
from seqlib.gated import LSTMCell


class EncoderDecoder(nn.Module):
    def __init__(self, source_size, target_size, embedding_size=64, hidden_size=128):
        super().__init__()
        self.source_embedding = nn.Embedding(source_size, embedding_size)
        self.encoder = LSTMCell(embedding_size, hidden_size)
        self.target_embedding = nn.Embedding(target_size, embedding_size)
        self.decoder = LSTMCell(embedding_size, hidden_size)
        self.h_to_y = nn.Linear(hidden_size, target_size)

    def read(self, source):
        x = self.source_embedding(source)  # (B, S, E)
        _, context = self.encoder.unroll(x, self.encoder.initial_state(x), present=source != PAD)
        return context  # h and c, (B, H) each

    def forward(self, source, inputs):
        """Logits of the token after each of `inputs`."""
        states, _ = self.decoder.unroll(self.target_embedding(inputs), self.read(source))
        return self.h_to_y(states)  # (B, T, V)


ours = EncoderDecoder(len(corpus.source_vocabulary), len(corpus.target_vocabulary))
ours(train.source[:5], train.target[:5]).shape

# %% [markdown]
# The package has the same, and from here on we use that one. With copied weights both agree, and both agree
# with PyTorch's `nn.LSTM` and its packed sequences.

# %%
from torch.nn.utils.rnn import pack_padded_sequence

from seqlib.seq2seq import Seq2Seq

sizes = len(corpus.source_vocabulary), len(corpus.target_vocabulary)
model = Seq2Seq(*sizes)
with torch.no_grad():
    for own, theirs in (
        (model.encoder.embedding, ours.source_embedding),
        (model.encoder.cells[0], ours.encoder),
        (model.embedding, ours.target_embedding),
        (model.cell, ours.decoder),
        (model.h_to_y, ours.h_to_y),
    ):
        own.load_state_dict(theirs.state_dict())
source, target = train.source[:64], train.target[:64]
torch.testing.assert_close(model(source, target), ours(source, target))


def as_torch(cell):
    lstm = nn.LSTM(64, 128, batch_first=True)
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(cell.x_to_gates.weight)
        lstm.weight_hh_l0.copy_(cell.h_to_gates.weight)
        lstm.bias_ih_l0.copy_(cell.x_to_gates.bias)
        lstm.bias_hh_l0.zero_()
    return lstm


lengths = (source != PAD).sum(1)
packed = pack_padded_sequence(ours.source_embedding(source), lengths, batch_first=True, enforce_sorted=False)
_, context = as_torch(ours.encoder)(packed)
states, _ = as_torch(ours.decoder)(ours.target_embedding(target), context)
torch.testing.assert_close(model(source, target), ours.h_to_y(states))
print("the chapter's, the package's and PyTorch's agree")

# %% [markdown]
# ## Teaching it to write
#
# What should the decoder read while it learns? When it is used, it reads what it wrote the step before. In
# training we know better: we know what it *should* have written. Giving it the truth at every step is the
# teacher forcing of chapter 2 (Williams and Zipser, 1989). The inputs are then known beforehand, so that the
# whole row can be handed to the decoder at once, and the loss is that of chapter 2's next character: minus
# the logarithm of $p(y_t \mid y_{<t}, x)$.
#
# **Exercise: shift right.** Write what the decoder reads while it learns to write `target`.


# %%
def decoder_inputs(target, sos):
    """target (B, T) -> (B, T): the tokens that the decoder reads, the number `sos` first"""
    raise NotImplementedError


check.decoder_inputs(decoder_inputs)

# %% [markdown]
# **Exercise: a loss without padding.** Most rows of a batch are shorter than the longest. What the network
# says after `<eos>` must not count, neither in the sum nor in the number of tokens by which it is divided.


# %%
def masked_loss(logits, target, pad):
    """logits (B, T, V), target (B, T) -> mean cross-entropy of all tokens that are not `pad`"""
    raise NotImplementedError


check.masked_loss(masked_loss)

# %% [markdown]
# Then it is an ordinary training. `fit_pairs` draws batches of 48 pairs of similar length (so that little is
# computed for padding), shifts, calls the masked loss, and makes a step of Adam with `fit`, which you know.
# The loss stands at the decoder's end only; its gradient goes back through the words and the context into the
# encoder, so one loss teaches both. Before you run it, commit yourself.

# %%
exact = Prediction(
    "After 450 steps, about 12 seconds: of 100 held-out numbers, how many are translated without any mistake?",
    chapter=5,
    guess=None,
    unit="of 100",
)
exact

# %% [markdown]
# The curve below grows while the network learns. You may interrupt the training (the square button of
# JupyterLab); the network keeps what it has learnt so far. But the claims that follow hold for a training
# that ran to its end.

# %% tags=["nbval-ignore-output"]
from seqlib.seq2seq import fit_pairs
from seqlib.widgets.training import LiveLoss

model = Seq2Seq(*sizes)
curve = LiveLoss(steps=450)
display(curve)
history = fit_pairs(model, train, steps=450, generator=generator, label="numbers", watch=curve)

# %% tags=["nbval-ignore-output"]
from seqlib.figures.common import plot_accuracy_by_step, plot_losses

plot_losses({"numbers": history}, smooth=20)
assert history.stopped == "finished", "run the cell above to its end"

# %% [markdown]
# Now it has to write by itself: start with `<sos>`, take the likeliest word, feed it back, and so on until it
# says `<eos>`. That is greedy decoding, chapter 2's argmax, and it is a loop.
#
# **Exercise: greedy decoding.** `step(token, state)` returns the logits of the next token and the new state.


# %%
def greedy_decode(step, state, sos, eos, max_length):
    """The list of tokens that are written, without sos and eos; at most max_length of them.

    step(token, state) -> (logits (V,), new state), with token an int.
    """
    raise NotImplementedError


check.greedy_decode(greedy_decode)

# %% tags=["nbval-ignore-output"]
from seqlib.seq2seq import exact_match, write


def as_text(tokens, vocabulary):
    return " ".join(word for word in vocabulary.decode(tokens) if word not in ("<pad>", "<eos>"))


VALUES = {number_pair(n).target[0]: n for n in (*range(1, 20), *range(20, 100, 10))}
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}


def as_number(text):
    """The number that English number words name."""
    total = group = 0
    for word in text.split():
        if word == "hundred":
            group *= 100
        elif word in SCALES:
            total, group = total + group * SCALES[word], 0
        else:
            group += VALUES[word]
    return total + group


answers = [as_text(row, corpus.target_vocabulary) for row in write(model, held_out.source, max_length=30)]
truth = [as_text(row, corpus.target_vocabulary) for row in held_out.target]
for asked, answer in list(zip(truth, answers, strict=True))[:8]:
    print(f"{as_number(asked):>15,}   {as_number(answer):>15,}   {answer}")

# %% tags=["nbval-ignore-output"]
right = exact_match(model, held_out)
share = right.double().mean().item()
assert 0.12 < share < 0.3
exact.compare(round(100 * share))

# %% [markdown]
# About one in five. But look at what is wrong. On the left is what was asked, then what was answered. Is each
# answer a number at all, as English would say it? Has it as many digits? And if it has, which of the digits
# are right?

# %%
said = sum(number_pair(as_number(answer)).target == tuple(answer.split()) for answer in answers)
as_long = [
    (str(as_number(asked)), str(as_number(answer)))
    for asked, answer in zip(truth, answers, strict=True)
    if len(str(as_number(asked))) == len(str(as_number(answer)))
]
print(
    "of 1,000 answers, more than 990 are well-formed numbers, and more than 800 have the right number of digits"
)
assert said > 990 and len(as_long) > 800

# %% tags=["nbval-ignore-output"]
right_digits = [
    [x == y for x, y in zip(asked, answered, strict=True)][:9]
    for asked, answered in as_long
    if len(asked) >= 9
]
by_digit = torch.tensor(right_digits, dtype=torch.float64).view(-1, 9).mean(0)
print("right, from the first digit on:", "  ".join(f"{share:.2f}" for share in by_digit.tolist()))
assert by_digit[0] > 0.75 and by_digit[4:].max() < 0.5

# %% [markdown]
# Not one sentence in a hundred breaks a rule of English. "Thousand", "million" and "billion" stand where they
# should, and mostly the answer is as long as it ought to be. The first digit is mostly right, the second
# about every other time, and from the fifth on three in four are wrong. It has learnt how numbers are said,
# and can't keep in mind which one it was asked for.
#
# ## The bottleneck
#
# Does it depend on the length?

# %%
from seqlib.figures.seq2seq import plot_exact_by_length

source_lengths = (held_out.source != PAD).sum(1) - 1  # without <eos>
edges = [0, 6, 9, 12, 15, 24]
plot_exact_by_length({"encoder and decoder": right}, source_lengths, edges=edges)
short, long = source_lengths <= 9, source_lengths > 15
assert right[short].double().mean() > 0.35 and right[long].double().mean() < 0.08

# %% [markdown]
# Very much so. About every second short number succeeds, and of those with more than fifteen characters
# hardly one does. (The very shortest are rare among 20,000 different numbers, so they don't do best.)
#
# Everything about a sentence, however long, has to pass through the 256 numbers of the context, $h$ and $c$,
# and the decoder has to carry along what it hasn't said yet. Let us make the door narrower and see. In the
# next models only the first few units of $h$ and $c$ are handed over; the decoder's other units start from
# zero. The number of parameters stays the same. (They have 64 units and get numbers of up to six digits, so
# that three trainings take some 10 seconds.)

# %% tags=["nbval-ignore-output"]
six = make_corpus(number_pairs(7000, digits=6, generator=generator), held_out=1000, generator=generator)
six_sizes = len(six.source_vocabulary), len(six.target_vocabulary)
by_context = {}
for size in (8, 16, 64):
    by_context[size] = Seq2Seq(*six_sizes, hidden_size=64, context_size=size)
    fit_pairs(by_context[size], six.train, steps=400, generator=generator, label=f"context of {size} units")

# %%
by_size = {size: exact_match(m, six.held_out).double().mean().item() for size, m in by_context.items()}
print("a context of 8 units: fewer than 15 %, of 64 units: more than 35 %")
assert by_size[8] < 0.15 and by_size[64] > 0.35 and by_size[64] > by_size[16] + 0.15

# %% [markdown]
# Move **Context size**. Below the curve are three of the held-out numbers and what is made of them.

# %%
from seqlib.widgets.seq2seq import bottleneck_explorer

bottleneck_explorer(by_context, six, edges=[0, 4, 6, 8, 11])

# %% [markdown]
# A word of caution, though. This isn't a proof that six digits don't fit into eight units: six digits are
# twenty bits, and a single unit could hold them if it were exact enough. What is measured is how much gets
# through *after so many training steps*. With four times as many steps, eight units got more than half of the
# numbers right in two tries. A narrow door makes the code harder to find; that is the practical sense of
# "bottleneck".
#
# ### Does it only remember the end?
#
# The lecture notes say that the context is mostly about the last word, since a recurrent network forgets. Ask
# the context itself: can a linear probe (chapter 4) read off which digit stands in which place? We take the
# long sources, and digits at several distances from the end, and compare the trained network with one that
# has never been trained.

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

digits = corpus.source_vocabulary.encode("일이삼사오육칠팔구")
distances = (0, 2, 6, 10, 14)


@torch.no_grad()
def digits_in_context(model, rows=10_000):
    """How often a linear probe names the digit so many characters before the end, on held-out sources."""
    encoded = []
    for source in (train.source[:rows], held_out.source):
        source = source[(source != PAD).sum(1) > 16]
        context = model.encoder(source)
        encoded.append((source, torch.cat([context.h, context.c], 1)))
    shares = []
    for distance in distances:
        examples = []
        for source, contexts in encoded:
            ends = (source != PAD).sum(1) - 2  # the place of the last character
            asked = source.gather(1, (ends - distance)[:, None])[:, 0]
            chosen = torch.isin(asked, digits)
            examples += [contexts[chosen].numpy(), asked[chosen].numpy()]
        x, names, held_out_x, held_out_names = examples
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
        shares.append(probe.fit(x, names).score(held_out_x, held_out_names))
    return shares


found = {"before training": digits_in_context(Seq2Seq(*sizes)), "after training": digits_in_context(model)}
fig, ax = plt.subplots(figsize=(6.5, 3.2))
for (label, shares), marker in zip(found.items(), "os", strict=True):
    ax.plot(distances, shares, marker + "-", label=label, clip_on=False)
ax.axhline(1 / 9, color="black", linestyle=":", label="guessing")
ax.set(xlabel="characters from the end of the source", ylabel="share read off", ylim=(0, 1), xticks=distances)
ax.invert_xaxis()
ax.legend(loc="upper left")
before, after = found["before training"], found["after training"]
assert before[0] > 0.9 and after[0] > 0.9 and before[-1] < 0.4
assert after[-1] > before[-1] + 0.05 and 0.3 < min(after[2:]) and max(after[2:]) < 0.75

# %% [markdown]
# Before training the notes are right: the last digits can be read off, and the further back, the less. (How
# far it reaches is a matter of the forget gates, whose biases start at 1; chapter 4.) After training they are
# half right. The last digits are still there, and of all others about every second one, near or far.
# Forgetting the beginning is not what ails this network. What it knows of the number is incomplete
# everywhere.
#
# A second view, from the other end. Give the decoder the truth at every step, so that no earlier mistake
# confuses it, and count how often each digit's word is right, by the place of the digit in the source.
# `number_alignment` says which characters belong to which word. And beside it a trick that Sutskever and
# others (2014) found: *reverse the source*. The first word to be said is then the last one that was read, and
# the decoder meets it when it is fresh.


# %%
from seqlib.pairs import Pair, number_alignment
from seqlib.seq2seq import decoder_inputs as shifted

# (N, T, S)
aligned = torch.zeros(1000, *held_out.target.shape[1:], *held_out.source.shape[1:], dtype=torch.bool)
for row, (source, target) in enumerate(zip(*held_out, strict=True)):
    pair = Pair(
        tuple(as_text(source, corpus.source_vocabulary).split()),
        tuple(as_text(target, corpus.target_vocabulary).split()),
    )
    aligned[row, : len(pair.target), : len(pair.source)] = number_alignment(pair)


@torch.no_grad()
def digits_right(model, pairs):
    """Share of right digit words by place in the source, for long sources, the truth given so far."""
    said = model(pairs.source, shifted(pairs.target)).argmax(-1) == pairs.target  # (N, T)
    asked = aligned[source_lengths > 15]  # (n, T, S)
    hits = (asked & said[source_lengths > 15, :, None]).sum((0, 1))
    return (hits / asked.sum((0, 1)))[:18].tolist()


# %% tags=["nbval-ignore-output"]
from seqlib.pairs import PairTensors


def reversed_source(pairs):
    """The same pairs with each source back to front; <eos> and padding stay at the end."""
    last = (pairs.source != PAD).sum(1, keepdim=True) - 2  # the place of the last character
    places = torch.arange(pairs.source.shape[1]).expand_as(pairs.source)
    back = torch.where(places <= last, last - places, places)
    return PairTensors(pairs.source.gather(1, back), pairs.target)


backwards = Seq2Seq(*sizes)
fit_pairs(backwards, reversed_source(train), steps=450, generator=generator, label="reversed source")

# %% tags=["nbval-ignore-output"]
by_place = {"source as it is": digits_right(model, held_out)}
by_place["source reversed"] = digits_right(backwards, reversed_source(held_out))
ax = plot_accuracy_by_step(by_place, xlabel="place in the source")
ax.set_ylabel("share of right digit words")
ax.legend(loc="lower right")
forwards_exact = share
backwards_exact = exact_match(backwards, reversed_source(held_out)).double().mean().item()
print(f"exact: {100 * forwards_exact:.0f} % as it is, {100 * backwards_exact:.0f} % with the source reversed")
assert backwards_exact > forwards_exact + 0.08
assert sum(by_place["source reversed"][:4]) > sum(by_place["source as it is"][:4]) + 0.4

# %% [markdown]
# Reversed, it translates far more numbers exactly after the same training, and the first digits gain most.
# The *capacity* of the context hasn't changed, nor has the distance between a character and its word, on
# average. But the first words now lie close to the characters that they are about; Sutskever and others
# suppose that this gives the training a foothold. The rest of the gap, above all in the middle of a long
# number, remains. To close it the decoder would have to look back at the source, and that is chapter 6.
#
# ## Living with one's own mistakes
#
# In training the decoder always reads the truth. In use it reads itself. The first wrong word puts it on a
# path that it has never seen: this is called *exposure bias* (Ranzato and others, 2016). How much does it
# cost? Compare the share of right words at each position of the answer, once with the truth as input and once
# with its own words. And compare decoders that were *trained* on their own words, half of the time or always:
# at each step a coin decides whether the decoder reads the truth, with a probability called the *teacher
# forcing ratio* (scheduled sampling; Bengio and others, 2015, who let it fall during the training).

# %% tags=["nbval-ignore-output"]
by_ratio = {"1.0": by_context[64]}
for ratio in (0.5, 0.0):
    by_ratio[f"{ratio}"] = Seq2Seq(*six_sizes, hidden_size=64)
    fit_pairs(
        by_ratio[f"{ratio}"],
        six.train,
        steps=400,
        generator=generator,
        label=f"teacher forcing {ratio}",
        teacher_forcing=ratio,
    )

# %% tags=["nbval-ignore-output"]
from seqlib.seq2seq import right_by_position

gap, exact_by_ratio = {}, {}
for ratio, trained in by_ratio.items():
    told, alone = (
        right_by_position(trained, six.held_out, teacher_forcing=forced, generator=generator)[4:9]
        for forced in (1.0, 0.0)
    )
    gap[ratio] = (told - alone).mean().item()
    exact_by_ratio[ratio] = exact_match(trained, six.held_out).double().mean().item()
    print(
        f"trained with {ratio}: words 5 to 9 right {told.mean():.2f} when told, {alone.mean():.2f} alone; "
        f"exact {exact_by_ratio[ratio]:.2f}"
    )
assert gap["1.0"] > 0.12 and gap["0.0"] < gap["1.0"] - 0.08
assert exact_by_ratio["1.0"] > max(exact_by_ratio["0.5"], exact_by_ratio["0.0"]) + 0.03

# %% [markdown]
# In the picture, **Trained with** chooses the model, and **Teacher forcing ratio** how often it reads the
# truth *now*. The two black lines are the extremes.

# %%
from seqlib.widgets.seq2seq import teacher_forcing_explorer

teacher_forcing_explorer(by_ratio, six.held_out)

# %% [markdown]
# The gap is real: from the fifth word on, a decoder that was trained on nothing but the truth is far worse
# when it is left alone. Trained on its own words, it has a much smaller gap. That sounds like a cure, but
# look at all three columns. Told the truth, it has become worse, alone hardly better, and fewer numbers are
# exact. So what is the gap made of? Part of it is our ruler: where one word is missing, all later ones stand
# in the wrong place and count as wrong. And somebody who is told the truth has an easier task, since each
# true word gives something away about the number. What is left is the confusion that the name means. A
# decoder that practises on its own words, which are bad at first, pays for it with what it learns about
# numbers. With more steps, or a ratio that falls slowly, you may find otherwise. In 400 steps, teacher
# forcing wins where it counts.
#
# ## Find the flaw: teacher forcing that isn't
#
# The following lines are modelled on a listing that is passed around under the heading "teacher forcing". It
# runs. What is wrong with it? And how would you test it?


# %%
def listing(model, source, target):
    """Logits for each step of `target`; the token at t = 0 is <sos>."""
    state = model.start(source)
    outputs = torch.zeros(*target.shape, len(corpus.target_vocabulary))
    token = target[:, 0]
    for t in range(1, target.shape[1]):
        outputs[:, t], state = model.step(token, state)
        token = outputs[:, t].argmax(1)
    return outputs


# %% [markdown]
# Give it the same sources with quite other targets.

# %%
some = held_out.source[:50]
first_target = torch.cat([torch.full((50, 1), SOS), held_out.target[:50]], 1)
other_target = torch.cat([torch.full((50, 1), SOS), held_out.target[50:100]], 1)
with torch.no_grad():
    same = torch.equal(listing(model, some, first_target), listing(model, some, other_target))
print("the logits are the same for another target:", same)
assert same

# %% [markdown]
# The target is never read, except for its first column, which is `<sos>` everywhere. `argmax` feeds the
# decoder its own words: this is a ratio of 0, under the name of its opposite. The repair is one line.


# %%
def repaired(model, source, target):
    state = model.start(source)
    outputs = torch.zeros(*target.shape, len(corpus.target_vocabulary))
    for t in range(1, target.shape[1]):
        outputs[:, t], state = model.step(target[:, t - 1], state)  # the truth, one step before
    return outputs


with torch.no_grad():
    told = repaired(model, some, first_target)
    torch.testing.assert_close(told[:, 1:], model(some, first_target[:, :-1]), rtol=1e-4, atol=1e-4)
    print("still the same for another target:", torch.equal(told, repaired(model, some, other_target)))
    assert not torch.equal(told, repaired(model, some, other_target))

# %% [markdown]
# The listing has a smaller flaw, too. Its row for $t = 0$ stays zero, and whoever forgets to cut it off
# before the loss adds a constant to it, since even logits say "every word is equally likely" and no gradient
# can change that. Listings like this one often come with typing slips as well, `slef` for `self`, or a class
# without `super().__init__()`. The latter has an error message that puzzles everybody once:


# %%
class Encoder(nn.Module):
    def __init__(self):
        self.embedding = nn.Embedding(17, 64)


try:
    Encoder()
except AttributeError as error:
    print(error)

# %% [markdown]
# A module keeps a list of its parts, and `super().__init__()` makes that list. Call it first.
#
# ## Is there a better sentence?
#
# Greedy decoding takes the likeliest *word* at each step. That isn't the likeliest *sentence*. The smallest
# example is a Markov chain, as in chapter 1, that begins with `a` or `b`:

# %%
from seqlib.decoding import beam_search, greedy, sample_sequences

words = ["<sos>", "a", "b", "<eos>"]
table = torch.tensor(
    [
        [0.0, 0.6, 0.4, 0.0],  # after <sos>
        [0.0, 0.3, 0.3, 0.4],  # after a
        [0.0, 0.1, 0.0, 0.9],  # after b
        [0.0, 0.0, 0.0, 1.0],
    ]
)


def chain_step(tokens, state):
    """The next word depends on the last one only, so there is no state to carry."""
    return table[tokens].log(), state


start = torch.tensor([0])
found = greedy(chain_step, start, start=start, end=3, max_length=6)
print("greedy:   ", [words[t] for t in found.tokens[0]], f"p = {found.log_probability.exp().item():.2f}")

everything = {
    sentence: math.prod(table[i, j].item() for i, j in itertools.pairwise((0, *sentence, 3)))
    for length in range(1, 6)
    for sentence in itertools.product((1, 2), repeat=length)
}
best = max(everything, key=everything.get)
print("likeliest:", [words[t] for t in (*best, 3)], f"p = {everything[best]:.2f}")

# %% [markdown]
# `a` is the better first word and leads to worse sentences. Trying out all sentences is an oracle for toys
# only: with 30 words and 15 steps there are $30^{15}$. *Beam search* is the compromise. Keep the $W$
# likeliest beginnings; continue each by every word; keep the $W$ likeliest of all those; and so on. What ends
# is put aside. With $W = 1$ it is greedy decoding, with a huge $W$ it is the oracle.
#
# Whatever the model, decoding needs just one thing of it: a *step function*, which takes the newest token and
# a state and returns logits and the next state. `chain_step` is one, `model.step` is another, and the
# Transformer of chapter 7 will have a third.
#
# **Exercise: one step of a beam search.** The best of all $W \cdot V$ continuations may be several of one
# row, and none of another.


# %%
def beam_step(log_probs, scores):
    """log_probs (W, V) of each row's next token, scores (W) so far -> parents (W), tokens (W), new scores (W)

    The W likeliest of all continuations, the likeliest first: which row each continues, and by which token.
    """
    raise NotImplementedError


check.beam_step(beam_step)

# %%
found = beam_search(chain_step, start, start=start, end=3, width=2, max_length=6)
for hypothesis in found.hypotheses:
    print([words[t] for t in hypothesis.tokens], f"p = {math.exp(hypothesis.log_probability):.2f}")
wide = beam_search(chain_step, start, start=start, end=3, width=100, max_length=6)
assert found.hypotheses[0].tokens == wide.hypotheses[0].tokens == (*best, 3)

# %% [markdown]
# Now the translator. Here is the first held-out number of five to nine words that a beam of five gets right
# and greedy decoding doesn't. Walk through the **Step**s: each row is a beginning that was kept. Find the
# step at which the right answer isn't on top, and see with which **Beam width** it survives.

# %% tags=["nbval-ignore-output"]
from seqlib.decoding import until_end
from seqlib.widgets.seq2seq import decoding_explorer


def search(source, width, length_penalty=0.0):
    with torch.no_grad():
        state = model.start(source[None])
    start = torch.tensor([SOS])
    return beam_search(
        model.step, state, start=start, end=EOS, width=width, max_length=30, length_penalty=length_penalty
    ).hypotheses[0]


def is_exact(hypothesis, target):
    return until_end(hypothesis.tokens, EOS) == until_end(target, EOS)


def is_rescued(row):
    source, target = held_out.source[row], held_out.target[row]
    if not 5 <= len(until_end(target, EOS)) <= 9 or not is_exact(search(source, 5), target):
        return False
    return not is_exact(search(source, 1), target)


rescued = next(filter(is_rescued, range(400)), None)
assert rescued is not None
shown = rescued or 0
source = corpus.source_vocabulary.decode(until_end(held_out.source[shown], EOS))
print("".join(source), "is", as_text(held_out.target[shown], corpus.target_vocabulary))

# %%
decoding_explorer(model, corpus, source, step=3, width=3)

# %% [markdown]
# Does it help in general? For the first 200 held-out numbers: the log-probability of what was found, and how
# many are exact. And for comparison, sentences that are *drawn* word by word, with the model's own
# probabilities.


# %% tags=["nbval-ignore-output"]
def searched(width, length_penalty=0.0):
    found = [search(source, width, length_penalty) for source in held_out.source[:200]]
    right = sum(is_exact(one, target) for one, target in zip(found, held_out.target, strict=False))
    return sum(one.log_probability for one in found) / 200, right / 200


results = {f"beam of {width}": searched(width) for width in (1, 2, 5, 10)}
results["5, by mean"] = searched(5, length_penalty=1.0)
with torch.no_grad():
    state = model.start(held_out.source[:200])
drawn = sample_sequences(
    model.step, state, start=torch.full((200,), SOS), end=EOS, max_length=30, generator=generator
)
right = [
    until_end(tokens, EOS) == until_end(target, EOS)
    for tokens, target in zip(drawn.tokens, held_out.target, strict=False)
]
results["drawn"] = drawn.log_probability.mean().item(), sum(right) / 200
for label, (log_probability, exact_share) in results.items():
    print(f"{label:10} mean log p {log_probability:6.2f}   exact {exact_share:.2f}")

# %%
assert results["beam of 1"][0] < results["beam of 2"][0] < results["beam of 5"][0]
assert results["beam of 5"][1] > results["beam of 1"][1]
assert results["drawn"][0] < results["beam of 1"][0] - 1 and results["drawn"][1] < results["beam of 1"][1]
print("a beam of 5 finds likelier sentences than greedy decoding, and some more of them are exact")

# %% [markdown]
# A beam finds sentences that the model itself thinks likelier, and a few more of them are right. Search can't
# repair what the model doesn't know. Drawing is worse on both counts. That isn't a fault: where many answers
# are good, as in the stories of chapter 2, sampling gives variety. Chapter 2's temperature makes it more or
# less daring; top-k keeps the $k$ likeliest words only, and *top-p* the fewest words that have a probability
# of $p$ together. All three are options of `sample_sequences`. Where one answer is right, look for the
# likeliest.
#
# One trap remains. Each word multiplies the probability by something below 1, so a search for the *likeliest*
# sentence favours short ones. The usual remedy is to rank by $\log p / T^{\alpha}$ (Wu and others, 2016, use
# a slightly different denominator). The row "5, by mean" has $\alpha = 1$. Here it makes little difference: a
# number that stops too early is a wrong number, and the model knows that well. Where a sentence may be short
# or long, it matters.
#
# ## Other pairs, and your own
#
# Nothing above is about numbers: any two sequences that belong together make a pair, a long text and its
# summary, too. Here are dates, as people write them in 24 languages (from the library babel), and the one
# form that machines like:

# %%
from seqlib.pairs import date_pairs

pairs = date_pairs(12_000, generator=torch.Generator().manual_seed(SEED))
for pair in pairs[:5]:
    print("".join(pair.source), "->", "".join(pair.target))

# %% [markdown]
# And sentences. A file with one pair a line, the two sides separated by a tab, is loaded by `read_pairs`. The
# course brings a small one: everyday Korean sentences, with the verb at the end, and English ones. Replace
# the path by that of your own file; lines that don't fit are reported with their numbers.

# %%
from seqlib.data import DATA
from seqlib.pairs import read_pairs

phrases = read_pairs(DATA / "phrases.tsv")
for source, target in phrases[:3]:
    print(" ".join(source), "|", " ".join(target))
phrase_corpus = make_corpus(phrases, held_out=len(phrases) // 10, generator=generator)

# %% tags=["nbval-ignore-output"]
dates = make_corpus(pairs, held_out=1000, generator=generator)
date_model = Seq2Seq(len(dates.source_vocabulary), len(dates.target_vocabulary), hidden_size=64)
fit_pairs(date_model, dates.train, steps=250, generator=generator, label="dates")
phrase_model = Seq2Seq(
    len(phrase_corpus.source_vocabulary), len(phrase_corpus.target_vocabulary), hidden_size=64
)
fit_pairs(phrase_model, phrase_corpus.train, steps=300, generator=generator, label="phrases")

# %% tags=["nbval-ignore-output"]
dates_written = write(date_model, dates.held_out.source, max_length=dates.held_out.target.shape[1])
same = dates_written == dates.held_out.target  # year-month-day: characters 0-3, 5-6, 8-9
year, month, day = (
    same[:, part].all(1).double().mean().item() for part in (slice(4), slice(5, 7), slice(8, 10))
)
dates_right = same.all(1).double().mean().item()
phrases_right = exact_match(phrase_model, phrase_corpus.held_out).double().mean().item()
print(
    f"dates exact {dates_right:.2f}: year {year:.2f}, month {month:.2f}, day {day:.2f}; phrases {phrases_right:.2f}"
)
assert year > max(month, day)
for source, target in list(zip(*phrase_corpus.held_out, strict=True))[::9]:
    answer = write(phrase_model, source[None], max_length=12)[0]
    for tokens, side in ((source, 0), (target, 1), (answer, 1)):
        print(as_text(tokens, phrase_corpus[2 + side]), end="  |  " if tokens is not answer else "\n")

# %%
print("fewer than 30 % of the dates are exact, more than 40 % of the sentences")
assert dates_right < 0.3 and phrases_right > 0.4

# %% [markdown]
# New combinations of known words come out right about two times in three. Nearly all dates fail, and mostly
# not at the year: the names of the months in 24 languages are a lot to learn in 250 steps, and the day has to
# be carried past them. Chapter 6 tries both again.
#
# ## What was measured
#
# After 450 steps an encoder and a decoder translate about a fifth of the held-out numbers exactly; nearly all
# answers are well-formed, and from the fifth digit on most digits are wrong. Of numbers with more than
# fifteen characters hardly one is right. With a context of 8 units less comes through than with 64, after the
# same training. Before training a probe reads the last digits from the context and few of the first ones;
# after it, the last ones and of all others about half. With the source reversed, far more is right after the
# same training. A decoder that was trained on the truth is much worse alone; one that was trained on its own
# words less so, but it gets fewer numbers right. A beam of five finds likelier answers than greedy decoding,
# and a few more right ones.
#
# ## Further reading
#
# Ilya Sutskever, Oriol Vinyals and Quoc Le, *Sequence to sequence learning with neural networks* (2014).
# Kyunghyun Cho and others, *Learning phrase representations using RNN encoder-decoder for statistical machine
# translation* (2014), and *On the properties of neural machine translation* (2014) by the same group, where
# the accuracy falls with the length as it does above. Samy Bengio and others, *Scheduled sampling for
# sequence prediction with recurrent neural networks* (2015). Marc'Aurelio Ranzato and others, *Sequence level
# training with recurrent neural networks* (2016). Yonghui Wu and others, *Google's neural machine translation
# system* (2016). Ronald Williams and David Zipser, *A learning algorithm for continually running fully
# recurrent neural networks* (1989), for teacher forcing. Ari Holtzman and others, *The curious case of neural
# text degeneration* (2020), on what sampling and search do to text.
#
# ## The bridge
#
# The decoder wants to know a digit, and the digit stands in the source, plain to see. Only the decoder isn't
# allowed to look. Chapter 6 allows it.
