"""A sweep over the package: every public function gets wrong input, one argument at a time.

What is wrong about a shape or a type is what the annotations refuse, which pytest checks. A learner runs
without these checks, and must get a ValueError or TypeError that names the argument, an error of torch's that
is as clear, or a result that makes sense all the same. The last two are listed here, with reasons.
"""

import dataclasses
import importlib
import inspect
import math
import pkgutil
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import ipywidgets
import jaxtyping
import pytest
import torch
from drive import check_picture, opened, settings
from torch import Tensor, nn
from traitlets import TraitError

import seqlib
from seqlib.attention import (
    AdditiveScores,
    AttentionSeq2Seq,
    attend,
    dot_scores,
    hard_attend,
    masked_softmax,
    reinforce,
    scaled_dot_scores,
    translate,
)
from seqlib.bptt import (
    backward_through_time,
    cliff_loss,
    clip_by_norm,
    clip_by_value,
    descend,
    final_state_jacobians,
    gradient_flow,
    gradient_norms,
    rnn_states,
    spectral_radius,
    truncation,
    unroll,
    windowed_states,
)
from seqlib.checkpoints import new_code_model
from seqlib.data import Digits, adding_problem, latch_problem, lookup_problem
from seqlib.decoding import (
    beam_search,
    best_continuations,
    choose_rows,
    greedy,
    sample,
    sample_sequences,
    token_probabilities,
    until_end,
)
from seqlib.gated import (
    GRU,
    LSTM,
    GRUCell,
    LSTMCell,
    LSTMTrace,
    chrono_biases,
    lstm_backward,
    lstm_forward,
    lstm_states,
)
from seqlib.hunting import (
    SourceFeatures,
    feature_scores,
    read_in_pieces,
    silenced,
    unit_auc,
    unit_correlation,
)
from seqlib.painting import CausalLayer, Painter, nearest, paint, painting_loss, pixel_tokens, trace_painting
from seqlib.pairs import PairTensors, date_pairs, make_corpus, number_pair, number_pairs
from seqlib.patches import DigitCNN, VisionTransformer, digit_accuracy, digit_loss, patchify, roll_out
from seqlib.probability import (
    Autoregression,
    NGram,
    ar_design_matrix,
    fit_autoregression,
    perplexity,
    rolling_forecasts,
    state_space_run,
)
from seqlib.rnn import RNN, CharRNN, RNNCell, step_by_step
from seqlib.scaling import random_attention, softmax_jacobian
from seqlib.scenes import Scenes, ask, captions, described_cells, distorted, draw_scenes, question
from seqlib.seq2seq import (
    DecoderState,
    Encoder,
    Seq2Seq,
    decoder_inputs,
    exact_match,
    fit_pairs,
    free_running,
    masked_loss,
    pair_batches,
    pair_loss,
    right_by_position,
    trimmed,
    write,
)
from seqlib.training import fit, minibatches, text_loss
from seqlib.transformer import (
    AddNorm,
    DecoderLayer,
    EncoderLayer,
    FeedForward,
    KeyValues,
    MultiHeadAttention,
    Prefix,
    Transformer,
    TransformerEncoder,
    causal_mask,
    join_heads,
    sinusoidal_positions,
    split_heads,
    trace_decoding,
    without_cache,
)
from seqlib.untrained import (
    depth_statistics,
    highway_flow,
    random_cell,
    random_gradient_flow,
    random_reading,
)
from seqlib.vision import (
    Captioner,
    FeatureGrid,
    QuestionAnswerer,
    caption_loss,
    cell_weights,
    describe,
    exact_captions,
    hard_caption_loss,
    question_loss,
)
from seqlib.vocab import Vocabulary
from seqlib.widgets import bptt as bptt_widgets
from seqlib.widgets import gated as gated_widgets
from seqlib.widgets import probability as probability_widgets
from seqlib.widgets import transformer as transformer_widgets

B, T, S, H, E, V = 2, 3, 5, 7, 11, 13


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def x(*shape: int) -> Tensor:
    return torch.randn(shape, generator=seeded())


def p(*shape: int) -> Tensor:
    return x(*shape).softmax(-1)


def tokens(*shape: int) -> Tensor:
    return torch.randint(3, V, shape, generator=seeded())


def yes(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=torch.bool)


def cells() -> Tensor:
    return torch.arange(9).repeat(B, 1)


def digits(images: Tensor | None = None, labels: Tensor | None = None) -> Digits:
    return Digits(
        torch.rand(20, 8, 8, generator=seeded()) if images is None else images,
        torch.arange(20) % 10 if labels is None else labels,
    )


@cache
def model(kind: type, *sizes: int, **options: Any) -> nn.Module:
    return kind(*sizes, **options).eval()


@cache
def words() -> Any:
    return make_corpus(number_pairs(5, digits=2, generator=seeded()), held_out=1, generator=seeded())


def captioner() -> Any:
    return model(Captioner, features=6, embedding_size=3, hidden_size=5)


def answerer() -> Any:
    return model(QuestionAnswerer, model_size=8, num_heads=2, num_layers=1)


def painter() -> Any:
    return model(Painter, model_size=8, num_heads=2, num_layers=1)


def seq2seq() -> Any:
    return model(Seq2Seq, V, V, embedding_size=E, hidden_size=H)


def transformer() -> Any:
    return model(Transformer, V, V, model_size=8, num_heads=2, num_layers=1)


def look_up(inputs: Tensor, h: Tensor, c: Tensor) -> Tensor:
    return seq2seq().decode(inputs, DecoderState(h, c))


def bigram() -> Callable[..., Any]:
    """A step function: logits depend on the newest token only."""
    table = x(V, V)
    return lambda newest, state: (table[newest], state)


def trained_on(source: Tensor, target: Tensor, **options: Any) -> Tensor:
    return pair_loss(seq2seq(), PairTensors(source, target), batch_size=2, generator=seeded(), **options)()


# A valid call of everything: the function, and its arguments by name.
CALLS: dict[str, Callable[[], tuple[Callable[..., Any], dict[str, Any]]]] = {
    # ------------------------------------------------------------------------------ probability
    "probability.NGram": lambda: (
        lambda tokens, order, vocabulary_size, smoothing: NGram(
            tokens, order=order, vocabulary_size=vocabulary_size
        ).log_probs(tokens, smoothing=smoothing),
        dict(tokens=tokens(19), order=1, vocabulary_size=V, smoothing=1.0),
    ),
    "probability.perplexity": lambda: (perplexity, dict(log_probs=-x(5).abs())),
    "probability.Autoregression.forecast": lambda: (
        Autoregression(x(2), 0.5).forecast,
        dict(history=x(5), horizon=3),
    ),
    "probability.ar_design_matrix": lambda: (ar_design_matrix, dict(series=x(7), order=2)),
    "probability.fit_autoregression": lambda: (fit_autoregression, dict(series=x(17), order=2)),
    "probability.rolling_forecasts": lambda: (
        lambda **given: rolling_forecasts(Autoregression(x(2).double(), 0.5), **given),
        dict(series=x(11), start=7, horizon=3),
    ),
    "probability.state_space_run": lambda: (
        state_space_run,
        dict(A=x(3, 3), B=x(3, 2), C=x(5, 3), inputs=x(7, 2), x_0=x(3)),
    ),
    # -------------------------------------------------------------------------------------- rnn
    "rnn.RNNCell": lambda: (RNNCell, dict(input_size=5, hidden_size=7)),
    "rnn.RNNCell.forward": lambda: (model(RNNCell, E, H), dict(x=x(B, E), h=x(B, H))),
    "rnn.RNNCell.unroll": lambda: (
        model(RNNCell, E, H).unroll,
        dict(x=x(B, T, E), h=x(B, H), present=yes(B, T)),
    ),
    "rnn.step_by_step": lambda: (
        lambda **given: step_by_step(lambda a, h: a + h, reverse=False, **given),
        dict(inputs=x(B, T, H), h=x(B, H), present=yes(B, T)),
    ),
    "rnn.RNN.forward": lambda: (model(RNN, E, H), dict(x=x(B, T, E), h_0=x(1, B, H))),
    "rnn.CharRNN.forward": lambda: (model(CharRNN, V, H), dict(tokens=tokens(B, T), state=x(B, H))),
    "rnn.CharRNN.generate": lambda: (
        model(CharRNN, V, H).generate,
        dict(prompt=tokens(B, T), length=2, temperature=1.0, top_k=3, generator=seeded()),
    ),
    # ------------------------------------------------------------------------------------- bptt
    "bptt.backward_through_time": lambda: (
        backward_through_time,
        dict(x=x(B, T, E), states=x(B, T + 1, H), W_xh=x(E, H), W_hh=x(H, H), dL_dh=x(B, T, H)),
    ),
    "bptt.rnn_states": lambda: (
        rnn_states,
        dict(x=x(B, T, E), h_0=x(B, H), W_xh=x(E, H), W_hh=x(H, H), b=x(H)),
    ),
    "bptt.unroll": lambda: (lambda x: unroll(model(RNNCell, E, H), x), dict(x=x(B, T, E))),
    "bptt.gradient_norms": lambda: (
        lambda x: gradient_norms(model(LSTMCell, E, H), x),
        dict(x=x(B, T, E)),
    ),
    "bptt.final_state_jacobians RNN": lambda: (
        lambda x: final_state_jacobians(model(RNNCell, E, H), x),
        dict(x=x(1, T, E)),
    ),
    "bptt.final_state_jacobians LSTM": lambda: (
        lambda x: final_state_jacobians(model(LSTMCell, E, H), x),
        dict(x=x(1, T, E)),
    ),
    "bptt.gradient_flow": lambda: (
        lambda **given: gradient_flow(model(RNNCell, E, H), **given),
        dict(x=x(1, T, E), v=x(H), probes=2),
    ),
    "bptt.spectral_radius": lambda: (spectral_radius, dict(W=x(H, H))),
    "bptt.clip_by_norm": lambda: (
        lambda first, **given: clip_by_norm([first, x(5)], **given),
        dict(first=x(3, 2), threshold=0.5),
    ),
    "bptt.clip_by_value": lambda: (
        lambda first, **given: clip_by_value([first, x(5)], **given),
        dict(first=x(3, 2), threshold=0.5),
    ),
    "bptt.windowed_states": lambda: (
        lambda **given: windowed_states(model(RNNCell, E, H), **given),
        dict(x=x(B, T, E), window=2),
    ),
    "bptt.truncation": lambda: (
        lambda x: truncation(model(RNNCell, E, H), x, lambda h: h.square().sum((0, 2))),
        dict(x=x(B, T, E)),
    ),
    "bptt.cliff_loss": lambda: (cliff_loss, dict(w=x(3, 2), b=x(3, 2), steps=5)),
    "bptt.descend": lambda: (
        lambda **given: descend(lambda a, b: a * a + b * b, **given),
        dict(start=x(2), learning_rate=0.1, steps=3, threshold=1.0),
    ),
    # ------------------------------------------------------------------------------------ gated
    "gated.lstm_forward": lambda: (
        lstm_forward,
        dict(x=x(B, T, E), h_0=x(B, H), c_0=x(B, H), W_x=x(E, 4 * H), W_h=x(H, 4 * H), b=x(4 * H)),
    ),
    "gated.lstm_states": lambda: (
        lstm_states,
        dict(x=x(B, T, E), h_0=x(B, H), c_0=x(B, H), W_x=x(E, 4 * H), W_h=x(H, 4 * H), b=x(4 * H)),
    ),
    "gated.lstm_backward": lambda: (
        lambda i, c, **given: lstm_backward(
            trace=LSTMTrace(i, p(B, T, H), x(B, T, H), p(B, T, H), c, x(B, T + 1, H)), **given
        ),
        dict(
            x=x(B, T, E),
            i=p(B, T, H),
            c=x(B, T + 1, H),
            W_x=x(E, 4 * H),
            W_h=x(H, 4 * H),
            dL_dh=x(B, T, H),
            dL_dc=x(B, T, H),
        ),
    ),
    "gated.LSTMCell": lambda: (
        LSTMCell,
        dict(input_size=5, hidden_size=7, forget_bias=x(7), input_bias=x(7)),
    ),
    "gated.LSTMCell biases": lambda: (
        LSTMCell,
        dict(input_size=5, hidden_size=7, forget_bias=1.0, input_bias=1.0),
    ),
    "gated.LSTMCell.forward": lambda: (
        lambda x, h, c: model(LSTMCell, E, H)(x, (h, c)),
        dict(x=x(B, E), h=x(B, H), c=x(B, H)),
    ),
    "gated.LSTMCell.unroll": lambda: (
        lambda x, h, c, present: model(LSTMCell, E, H).unroll(x, (h, c), present=present),
        dict(x=x(B, T, E), h=x(B, H), c=x(B, H), present=yes(B, T)),
    ),
    "gated.LSTMCell.trace": lambda: (
        lambda x, h, c: model(LSTMCell, E, H).trace(x, (h, c)),
        dict(x=x(B, T, E), h=x(B, H), c=x(B, H)),
    ),
    "gated.chrono_biases": lambda: (chrono_biases, dict(hidden_size=7, longest=5)),
    "gated.GRUCell.forward": lambda: (model(GRUCell, E, H), dict(x=x(B, E), h=x(B, H))),
    "gated.GRUCell.unroll": lambda: (
        model(GRUCell, E, H).unroll,
        dict(x=x(B, T, E), h=x(B, H), present=yes(B, T)),
    ),
    "gated.LSTM.forward": lambda: (
        lambda x, h_0, c_0: model(LSTM, E, H)(x, (h_0, c_0)),
        dict(x=x(B, T, E), h_0=x(1, B, H), c_0=x(1, B, H)),
    ),
    "gated.GRU.forward": lambda: (model(GRU, E, H), dict(x=x(B, T, E), h_0=x(1, B, H))),
    # -------------------------------------------------------------------------------- untrained
    "untrained.random_cell": lambda: (
        lambda **given: random_cell("LSTM", generator=seeded(), **given),
        dict(input_size=5, hidden_size=7, gain=1.0, forget_bias=1.0, input_bias=0.0),
    ),
    "untrained.random_reading": lambda: (
        random_reading,
        dict(gain=1.0, input_std=0.1, length=3, hidden_size=5, seed=1),
    ),
    "untrained.random_gradient_flow": lambda: (
        random_gradient_flow,
        dict(gain=1.0, input_std=0.1, length=3, hidden_size=5, seed=1),
    ),
    "untrained.highway_flow": lambda: (
        lambda **given: highway_flow(model(LSTMCell, E, H), **given),
        dict(x=x(1, T, E), v=x(H)),
    ),
    "untrained.depth_statistics": lambda: (
        lambda **given: depth_statistics(activation="tanh", generator=seeded(), **given),
        dict(depth=2, width=5, scale=1.0),
    ),
    # --------------------------------------------------------------------------------- seq2seq
    "seq2seq.Encoder": lambda: (
        Encoder,
        dict(vocabulary_size=V, embedding_size=E, hidden_size=H),
    ),
    "seq2seq.Encoder.forward": lambda: (
        model(Encoder, V, E, H - 1, bidirectional=True),
        dict(source=tokens(B, S)),
    ),
    "seq2seq.Seq2Seq": lambda: (
        Seq2Seq,
        dict(source_size=V, target_size=V, embedding_size=E, hidden_size=H, context_size=3),
    ),
    "seq2seq.Seq2Seq.forward": lambda: (seq2seq(), dict(source=tokens(B, S), inputs=tokens(B, T))),
    "seq2seq.Seq2Seq.start": lambda: (seq2seq().start, dict(source=tokens(B, S))),
    "seq2seq.Seq2Seq.decode": lambda: (look_up, dict(inputs=tokens(B, T), h=x(B, H), c=x(B, H))),
    "seq2seq.Seq2Seq.step": lambda: (
        lambda tokens, h, c: seq2seq().step(tokens, DecoderState(h, c)),
        dict(tokens=tokens(B), h=x(B, H), c=x(B, H)),
    ),
    "seq2seq.decoder_inputs": lambda: (decoder_inputs, dict(target=tokens(B, T))),
    "seq2seq.masked_loss": lambda: (masked_loss, dict(logits=x(B, T, V), target=tokens(B, T))),
    "seq2seq.free_running": lambda: (
        lambda **given: free_running(seq2seq(), generator=seeded(), **given),
        dict(source=tokens(B, S), target=tokens(B, T), teacher_forcing=0.5),
    ),
    "seq2seq.pair_loss": lambda: (
        trained_on,
        dict(source=tokens(B, S), target=tokens(B, T), teacher_forcing=0.5),
    ),
    "seq2seq.fit_pairs": lambda: (
        lambda **given: fit_pairs(
            Seq2Seq(V, V, embedding_size=3, hidden_size=2),
            PairTensors(tokens(64, S), tokens(64, T)),
            generator=seeded(),
            **given,
        ),
        dict(steps=2, batch_size=5, learning_rate=1e-3, teacher_forcing=1.0),
    ),
    "seq2seq.pair_batches": lambda: (
        lambda source, target, batch_size: next(
            pair_batches(PairTensors(source, target), batch_size=batch_size, generator=seeded())
        ),
        dict(source=tokens(B, S), target=tokens(B, T), batch_size=2),
    ),
    "seq2seq.trimmed": lambda: (trimmed, dict(tokens=tokens(B, T))),
    "seq2seq.write": lambda: (
        lambda **given: write(seq2seq(), **given),
        dict(source=tokens(B, S), max_length=2, batch_size=2),
    ),
    "seq2seq.exact_match": lambda: (
        lambda source, target: exact_match(seq2seq(), PairTensors(source, target)),
        dict(source=tokens(B, S), target=tokens(B, T)),
    ),
    "seq2seq.right_by_position": lambda: (
        lambda source, target, teacher_forcing: right_by_position(
            seq2seq(), PairTensors(source, target), teacher_forcing=teacher_forcing, generator=seeded()
        ),
        dict(source=tokens(B, S), target=tokens(B, T), teacher_forcing=0.5),
    ),
    # ------------------------------------------------------------------------------- attention
    "attention.dot_scores": lambda: (dot_scores, dict(queries=x(B, T, H), keys=x(B, S, H))),
    "attention.scaled_dot_scores": lambda: (scaled_dot_scores, dict(queries=x(B, T, H), keys=x(B, S, H))),
    "attention.AdditiveScores": lambda: (AdditiveScores, dict(query_size=3, key_size=5, size=7)),
    "attention.AdditiveScores.forward": lambda: (
        model(AdditiveScores, H, E, 3),
        dict(queries=x(B, T, H), keys=x(B, S, E)),
    ),
    "attention.masked_softmax": lambda: (masked_softmax, dict(scores=x(B, T, S), mask=yes(B, T, S))),
    "attention.attend": lambda: (
        attend,
        dict(scores=x(B, T, S), values=x(B, S, H), mask=yes(B, T, S)),
    ),
    "attention.AttentionSeq2Seq.forward": lambda: (
        model(AttentionSeq2Seq, V, V, embedding_size=E, hidden_size=6),
        dict(source=tokens(B, S), inputs=tokens(B, T)),
    ),
    "attention.translate": lambda: (
        lambda **given: translate(
            model(
                AttentionSeq2Seq,
                len(words().source_vocabulary),
                len(words().target_vocabulary),
                embedding_size=E,
                hidden_size=6,
            ),
            words(),
            words().source_vocabulary[3:],
            **given,
        ),
        dict(max_length=2),
    ),
    "attention.hard_attend": lambda: (hard_attend, dict(weights=p(B, T, S), values=x(B, S, H))),
    "attention.reinforce": lambda: (
        reinforce,
        dict(log_probability=-x(B, T).abs(), reward=x(B, T), baseline=0.5),
    ),
    "scaling.random_attention": lambda: (
        lambda **given: random_attention(scaled=True, generator=seeded(), **given),
        dict(d_k=3, keys=5, draws=7),
    ),
    "scaling.softmax_jacobian": lambda: (softmax_jacobian, dict(weights=p(B, S))),
    # ----------------------------------------------------------------------------- transformer
    "transformer.sinusoidal_positions": lambda: (
        sinusoidal_positions,
        dict(length=3, model_size=8, start=2),
    ),
    "transformer.causal_mask": lambda: (causal_mask, dict(length=3, past=2)),
    "transformer.split_heads": lambda: (split_heads, dict(x=x(B, T, 10), num_heads=2)),
    "transformer.join_heads": lambda: (join_heads, dict(x=x(B, 5, T, 2))),
    "transformer.MultiHeadAttention": lambda: (MultiHeadAttention, dict(model_size=8, num_heads=2)),
    "transformer.MultiHeadAttention.keys_values": lambda: (
        model(MultiHeadAttention, 10, 2).keys_values,
        dict(x=x(B, S, 10)),
    ),
    "transformer.MultiHeadAttention.forward": lambda: (
        lambda x, k, v, mask: model(MultiHeadAttention, 10, 2)(x, KeyValues(k, v), mask),
        dict(x=x(B, T, 10), k=x(B, 2, S, 5), v=x(B, 2, S, 5), mask=yes(B, T, S)),
    ),
    "transformer.MultiHeadAttention.without": lambda: (
        model(MultiHeadAttention, 10, 2).without,
        dict(head=1),
    ),
    "transformer.AddNorm": lambda: (
        lambda dropout: AddNorm(6, pre_norm=True, dropout=dropout),
        dict(dropout=0.1),
    ),
    "transformer.AddNorm.after": lambda: (
        model(AddNorm, 10, pre_norm=False, dropout=0.0).after,
        dict(x=x(B, T, 10), part=x(B, T, 10)),
    ),
    "transformer.FeedForward": lambda: (FeedForward, dict(model_size=5, inner_size=7)),
    "transformer.EncoderLayer.forward": lambda: (
        model(EncoderLayer, 10, 2, 7),
        dict(x=x(B, T, 10), mask=yes(B, T, T)),
    ),
    "transformer.DecoderLayer.forward": lambda: (
        lambda x, k, v, mask: model(DecoderLayer, 10, 2, 7)(x, KeyValues(k, v), mask),
        dict(x=x(B, T, 10), k=x(B, 2, S, 5), v=x(B, 2, S, 5), mask=yes(B, T, S)),
    ),
    "transformer.TransformerEncoder": lambda: (
        TransformerEncoder,
        dict(vocabulary_size=V, model_size=8, num_heads=2, num_layers=1, inner_size=5),
    ),
    "transformer.TransformerEncoder.forward": lambda: (
        model(TransformerEncoder, V, model_size=8, num_heads=2, num_layers=1),
        dict(tokens=tokens(B, S)),
    ),
    "transformer.Transformer": lambda: (
        Transformer,
        dict(source_size=V, target_size=V, model_size=8, num_heads=2, num_layers=1, inner_size=5),
    ),
    "transformer.Transformer.forward": lambda: (
        transformer(),
        dict(source=tokens(B, S), inputs=tokens(B, T)),
    ),
    "transformer.Transformer.step": lambda: (
        lambda source, tokens: transformer().step(tokens, transformer().start(source)),
        dict(source=tokens(B, S), tokens=tokens(B)),
    ),
    "transformer.trace_decoding": lambda: (
        lambda **given: trace_decoding(transformer(), **given),
        dict(source=tokens(1, S), max_length=2),
    ),
    "transformer.without_cache": lambda: (
        lambda tokens, so_far: without_cache(transformer())(
            tokens, Prefix(transformer().start(torch.full((B, S), 5)), so_far)
        ),
        dict(tokens=tokens(B), so_far=tokens(B, T)),
    ),
    # -------------------------------------------------------------------------------- decoding
    "decoding.token_probabilities": lambda: (
        token_probabilities,
        dict(logits=x(B, V), temperature=0.5, top_k=3, top_p=0.9),
    ),
    "decoding.token_probabilities greedy": lambda: (
        lambda logits: token_probabilities(logits, temperature=0),
        dict(logits=x(B, V)),
    ),
    "decoding.sample": lambda: (
        lambda **given: sample(generator=seeded(), **given),
        dict(logits=x(B, V), temperature=0.5, top_k=3, top_p=0.9),
    ),
    "decoding.sample greedy": lambda: (
        lambda logits: sample(logits, temperature=0),
        dict(logits=x(B, V)),
    ),
    "decoding.sample_sequences": lambda: (
        lambda **given: sample_sequences(bigram(), (), generator=seeded(), **given),
        dict(start=tokens(B), end=2, max_length=3, temperature=1.0, top_k=3, top_p=0.9),
    ),
    "decoding.greedy": lambda: (
        lambda **given: greedy(bigram(), (), **given),
        dict(start=tokens(B), end=2, max_length=3),
    ),
    "decoding.greedy of logits": lambda: (
        lambda logits: greedy(
            lambda newest, state: (logits, state), (), start=tokens(B), end=2, max_length=3
        ),
        dict(logits=x(B, V)),
    ),
    "decoding.beam_search": lambda: (
        lambda **given: beam_search(bigram(), (), **given),
        dict(start=tokens(1), end=2, width=2, max_length=3, length_penalty=0.5),
    ),
    "decoding.beam_search of logits": lambda: (
        lambda logits: beam_search(
            lambda newest, state: (logits.expand(len(newest), -1), state),
            (),
            start=tokens(1),
            end=2,
            width=2,
            max_length=3,
        ),
        dict(logits=x(1, V)),
    ),
    "decoding.best_continuations": lambda: (
        best_continuations,
        dict(log_probabilities=x(3, V).log_softmax(-1), count=2),
    ),
    "decoding.choose_rows": lambda: (choose_rows, dict(state=x(B, H), rows=torch.tensor([1, 0, 1]))),
    "decoding.until_end": lambda: (until_end, dict(tokens=tokens(T), end=2)),
    # --------------------------------------------------------------------------------- hunting
    "hunting.read_in_pieces": lambda: (
        lambda **given: read_in_pieces(model(CharRNN, V, H, cell=LSTMCell), **given),
        dict(tokens=tokens(17), piece=5, warm_up=3),
    ),
    "hunting.unit_auc": lambda: (
        unit_auc,
        dict(values=x(T, H), inside=torch.tensor([True, False, True])),
    ),
    "hunting.unit_correlation": lambda: (unit_correlation, dict(values=x(T, H), quantity=x(T))),
    "hunting.feature_scores": lambda: (
        lambda values: feature_scores(
            values, SourceFeatures(*[torch.tensor([True, False, True])] * 2, *[x(T)] * 3)
        ),
        dict(values=x(T, H)),
    ),
    "hunting.silenced": lambda: (
        lambda **given: silenced(model(CharRNN, V, H, cell=LSTMCell), **given),
        dict(unit=3, constant=0.5),
    ),
    # -------------------------------------------------------------- training and what it reads
    "training.minibatches": lambda: (
        lambda first, second, batch_size: next(
            minibatches(first, second, batch_size=batch_size, generator=seeded())
        ),
        dict(first=x(5, 3), second=tokens(5), batch_size=2),
    ),
    "training.text_loss": lambda: (
        lambda **given: text_loss(model(CharRNN, V, H), **given)(),
        dict(tokens=tokens(17), rows=2, window=3),
    ),
    "training.fit": lambda: (
        lambda data, **given: fit((linear := nn.Linear(3, 2)), lambda: linear(data).square().mean(), **given),
        dict(data=x(5, 3), steps=2, learning_rate=0.1, clip_norm=1.0),
    ),
    "vocab.Vocabulary.decode": lambda: (Vocabulary("abc").decode, dict(numbers=torch.tensor([0, 2, 1]))),
    "data.adding_problem": lambda: (
        lambda **given: adding_problem(generator=seeded(), **given),
        dict(sequences=3, length=5),
    ),
    "data.latch_problem": lambda: (
        lambda **given: latch_problem(generator=seeded(), **given),
        dict(sequences=3, length=5, symbols=7),
    ),
    "data.lookup_problem": lambda: (
        lambda **given: lookup_problem(generator=seeded(), **given),
        dict(sequences=3, entries=5, symbols=7),
    ),
    "pairs.number_pairs": lambda: (
        lambda **given: number_pairs(generator=seeded(), **given),
        dict(count=2, digits=3),
    ),
    "pairs.number_pair": lambda: (number_pair, dict(number=7)),
    "pairs.date_pairs": lambda: (lambda **given: date_pairs(generator=seeded(), **given), dict(count=2)),
    "pairs.make_corpus": lambda: (
        lambda **given: make_corpus(
            number_pairs(5, digits=2, generator=seeded()), generator=seeded(), **given
        ),
        dict(held_out=2),
    ),
    "checkpoints.new_code_model": lambda: (new_code_model, dict(hidden_size=3)),
    # --------------------------------------------------------------------------------- pictures
    "scenes.draw_scenes": lambda: (
        lambda images, labels, **given: draw_scenes(
            digits=digits(images, labels), generator=seeded(), **given
        ),
        dict(images=digits().images, labels=digits().labels, count=2, fewest=2, most=4),
    ),
    "scenes.distorted": lambda: (
        lambda images: distorted(images, generator=seeded()),
        dict(images=x(B, 8, 8)),
    ),
    "scenes.captions": lambda: (captions, dict(cells=cells())),
    "scenes.described_cells": lambda: (described_cells, dict(cells=cells())),
    "scenes.ask": lambda: (lambda cells: ask(cells, generator=seeded()), dict(cells=cells())),
    "scenes.question": lambda: (lambda digit: question("above", digit), dict(digit=3)),
    "vision.FeatureGrid.forward": lambda: (model(FeatureGrid, 6), dict(images=x(B, 24, 24))),
    "vision.Captioner.forward": lambda: (captioner(), dict(images=x(B, 24, 24), inputs=tokens(B, T))),
    "vision.caption_loss": lambda: (
        lambda **given: caption_loss(captioner(), digits(), generator=seeded(), **given)(),
        dict(batch_size=2),
    ),
    "vision.hard_caption_loss": lambda: (
        lambda **given: hard_caption_loss(captioner(), digits(), generator=seeded(), **given)(),
        dict(batch_size=2),
    ),
    "vision.describe": lambda: (
        lambda **given: describe(captioner(), **given),
        dict(image=x(24, 24), max_length=2),
    ),
    "vision.cell_weights": lambda: (cell_weights, dict(weights=p(B, 36))),
    "vision.exact_captions": lambda: (
        lambda images, cells: exact_captions(captioner(), Scenes(images, cells)),
        dict(images=x(B, 24, 24), cells=cells()),
    ),
    "vision.QuestionAnswerer.forward": lambda: (
        answerer(),
        dict(images=x(B, 24, 24), questions=tokens(B, T)),
    ),
    "vision.question_loss": lambda: (
        lambda **given: question_loss(answerer(), digits(), generator=seeded(), **given)(),
        dict(batch_size=2),
    ),
    "patches.patchify": lambda: (patchify, dict(images=x(B, 8, 8), size=2)),
    "patches.VisionTransformer.forward": lambda: (
        model(VisionTransformer, model_size=8, num_heads=2, num_layers=1),
        dict(images=x(B, 8, 8)),
    ),
    "patches.DigitCNN.forward": lambda: (model(DigitCNN, channels=5), dict(images=x(B, 8, 8))),
    "patches.roll_out": lambda: (
        lambda first, second: roll_out([first, second]),
        dict(first=p(B, 3, S, S), second=p(B, 3, S, S)),
    ),
    "patches.digit_loss": lambda: (
        lambda batch_size: digit_loss(
            model(DigitCNN, channels=5), digits(), batch_size=batch_size, generator=seeded()
        )(),
        dict(batch_size=2),
    ),
    "patches.digit_accuracy": lambda: (
        lambda images, labels: digit_accuracy(model(DigitCNN, channels=5), Digits(images, labels)),
        dict(images=digits().images, labels=digits().labels),
    ),
    "painting.pixel_tokens": lambda: (pixel_tokens, dict(images=digits().images, labels=digits().labels)),
    "painting.CausalLayer.forward": lambda: (
        lambda x: model(CausalLayer, 10, 2, 7)(x, None),
        dict(x=x(B, T, 10)),
    ),
    "painting.Painter.forward": lambda: (painter(), dict(inputs=tokens(B, T))),
    "painting.painting_loss": lambda: (
        lambda batch_size: painting_loss(
            painter(),
            digits(),
            batch_size=batch_size,
            generator=seeded(),
        )(),
        dict(batch_size=2),
    ),
    "painting.paint": lambda: (
        lambda temperature: paint(
            painter(),
            ["three"],
            temperature=temperature,
            generator=seeded(),
        ),
        dict(temperature=1.0),
    ),
    "painting.trace_painting": lambda: (
        lambda temperature: trace_painting(
            painter(),
            "three",
            temperature=temperature,
            generator=seeded(),
        ),
        dict(temperature=1.0),
    ),
    "painting.nearest": lambda: (nearest, dict(images=x(B, 8, 8), among=x(5, 8, 8))),
}


# ------------------------------------------------------------------------------------- what is wrong


def wrong(value: Any) -> Iterator[tuple[str, Any]]:
    """Wrong values in the place of a right one, each with what is wrong about it."""
    if isinstance(value, Tensor):
        yield "shape", value[None]
        if value.ndim:
            yield "shape", value[0]
        if value.ndim > 1:
            yield "shape", value.mT
            yield "shape", torch.cat([value, value])
        for axis, size in enumerate(value.shape):
            if size > 2:
                yield "shape", value.narrow(axis, 0, size - 1)
            if size > 1:
                yield "one row" if axis == 0 < value.ndim - 1 else "shape", value.narrow(axis, 0, 1)
            yield "empty", value.narrow(axis, 0, 0)
        if value.is_floating_point():
            yield "dtype", value.long()
            yield "nan", _with_first(value, torch.nan)
            yield "huge", 1e30 * value
        else:
            yield "dtype", value + 0.5  # which must not be cut off
        if value.dtype == torch.int64:
            yield "huge", _with_first(value, 10**6)
            yield "negative", _with_first(value, -1)
    elif isinstance(value, float):
        yield from (("nan", float("nan")), ("huge", float("inf")), ("negative", -1.5))
    elif isinstance(value, int):
        yield from (("negative", -1), ("fraction", 2.5))


def _with_first(values: Tensor, number: float) -> Tensor:
    values = values.clone()
    values.view(-1)[0] = number
    return values


# Words of torch and Python that are as clear as ours would be: they name the sizes, the types or the limits.
CLEAR = (
    # sizes
    r"[Ee]xpected size|expected input with shape|[Ee]xpanded size of the tensor|size of tensor a",
    r"[Ss]izes of tensors must match|[Ss]ize mismatch|[Ss]ize does not match|same length",
    r"shapes cannot be multiplied|doesn't match the broadcast shape|is invalid for input of size",
    r"don't multiply up to the size|does not match the shape|same number of columns|positive output size",
    r"out of bounds|maximum size for tensor at dimension|negative dimension|cannot reshape tensor",
    r"number of dimensions|must be a matrix|need to be at least 1D|must be 1 or 2 dim|of a 0-dim",
    r"of a 0-d tensor|over a 0-d tensor|Dimension out of range|too many indices|batch of 2D affine matrices",
    r"only supports 4D and 5D sizes|non-empty TensorList|reduction dim|affine_grid",
    # types
    r"same dtype|scalar type|same datatype|should be the same|floating[- ]point|LongTensor|dtype int",
    r"not implemented for 'Long'|only implemented on integer|must be long|integer tensors|boolean tensor",
    r"interpreted as an integer|must be (int|tuple of ints|integers)|got float|(long|dtype).* got Float",
    r"invalid combination of arguments|ScalarType for Long|must be integers|only integers|can't be cast",
    # values
    r"Class values must be|out of range$|has to be between|non-negative|positive integer|non-finite|`nan`",
)

# Errors that tell a learner little, and why they stay.
UNCLEAR = {
    "Every step of decoding would pay for the check, and what a step reads was written by the model.": (
        "seq2seq.Seq2Seq.step tokens shape",
        "seq2seq.Seq2Seq.step tokens huge",
        "seq2seq.Seq2Seq.step tokens negative",
        "seq2seq.free_running target huge",
        "seq2seq.free_running target negative",
        "seq2seq.pair_loss target huge",
        "seq2seq.pair_loss target negative",
        "seq2seq.right_by_position target huge",
        "transformer.Transformer.step tokens shape",
        "transformer.Transformer.step tokens huge",
        "transformer.Transformer.step tokens negative",
        "transformer.without_cache tokens huge",
        "transformer.without_cache tokens negative",
        "transformer.without_cache so_far huge",
        "transformer.without_cache so_far negative",
    ),
    "`beam_search` makes these of the logits that it gets, and torch speaks of those.": (
        "decoding.best_continuations log_probabilities shape",
    ),
    "What `data.digits` gives is right, and nobody has to make such labels.": (
        "scenes.draw_scenes labels shape",
        "scenes.distorted images shape",
    ),
}

# Wrong input that has a result, and why that is as it should be.
SENSIBLE = {
    "One step of a cell adds up what it gets, for any batch axes or none.": (
        "rnn.RNNCell.forward x shape",
        "rnn.RNNCell.forward h shape",
        "gated.LSTMCell.forward x shape",
        "gated.LSTMCell.forward h shape",
        "gated.LSTMCell.forward c shape",
        "gated.GRUCell.forward x shape",
        "gated.GRUCell.forward h shape",
        "seq2seq.Seq2Seq.step tokens shape",
        "seq2seq.Seq2Seq.step h shape",
        "seq2seq.Seq2Seq.step c shape",
        "transformer.Transformer.step tokens shape",
    ),
    "The loop inside of `unroll`, which has checked the shapes.": (
        "rnn.step_by_step inputs shape",
        "rnn.step_by_step h shape",
    ),
    "It works element by element, and broadcasts as torch does.": (
        "bptt.cliff_loss w shape",
        "bptt.cliff_loss b shape",
        "transformer.AddNorm.after x shape",
        "transformer.AddNorm.after part shape",
        "decoding.choose_rows rows shape",
        "decoding.sample greedy logits shape",
        "probability.perplexity log_probs shape",
    ),
    "Attention has any batch axes, heads among them, and what is one for all is broadcast.": (
        "attention.dot_scores queries shape",
        "attention.dot_scores keys shape",
        "attention.scaled_dot_scores queries shape",
        "attention.scaled_dot_scores keys shape",
        "attention.masked_softmax mask shape",
        "attention.attend scores shape",
        "attention.attend values shape",
        "attention.attend mask shape",
        "transformer.MultiHeadAttention.forward k shape",
        "transformer.MultiHeadAttention.forward v shape",
        "transformer.MultiHeadAttention.forward mask shape",
        "transformer.EncoderLayer.forward mask shape",
        "transformer.DecoderLayer.forward k shape",
        "transformer.DecoderLayer.forward v shape",
        "transformer.DecoderLayer.forward mask shape",
    ),
    "A direction as a row is the same direction.": ("bptt.gradient_flow v shape",),
    "It moves tokens about and reads none; who reads them refuses them.": (
        "seq2seq.decoder_inputs target shape",
        "seq2seq.decoder_inputs target dtype",
        "seq2seq.decoder_inputs target negative",
        "seq2seq.trimmed tokens shape",
        "seq2seq.trimmed tokens dtype",
        "seq2seq.trimmed tokens negative",
        "seq2seq.pair_batches source dtype",
        "seq2seq.pair_batches source negative",
        "seq2seq.pair_batches target dtype",
        "seq2seq.pair_batches target negative",
        "training.minibatches second negative",
    ),
    "A target's token is not read where the model reads itself, and never right.": (
        "seq2seq.free_running target negative",
        "seq2seq.exact_match target negative",
        "seq2seq.right_by_position target negative",
    ),
    "The tests' step function is a table, in which -1 is the last row.": (
        "decoding.sample_sequences start negative",
        "decoding.greedy start negative",
        "decoding.beam_search start negative",
    ),
    "A token that never comes ends nothing, as when pictures are drawn.": (
        "decoding.sample_sequences end negative",
        "decoding.greedy end negative",
        "decoding.beam_search end negative",
        "decoding.beam_search end fraction",
        "decoding.until_end tokens negative",
        "decoding.until_end end negative",
        "decoding.until_end end fraction",
    ),
    "Counted from the end, as everywhere in Python.": ("decoding.choose_rows rows negative",),
    "Negative numbers are numbers like others here.": (
        "gated.LSTMCell biases forget_bias negative",
        "gated.LSTMCell biases input_bias negative",
        "untrained.random_cell gain negative",
        "untrained.random_cell forget_bias negative",
        "untrained.random_cell input_bias negative",
        "untrained.random_reading gain negative",
        "untrained.random_reading input_std negative",
        "untrained.random_reading seed negative",
        "untrained.random_gradient_flow gain negative",
        "untrained.random_gradient_flow input_std negative",
        "untrained.random_gradient_flow seed negative",
        "untrained.depth_statistics scale negative",
        "attention.reinforce baseline negative",
        "transformer.sinusoidal_positions start negative",
        "transformer.sinusoidal_positions start fraction",
        "hunting.silenced constant negative",
    ),
    "-1 is an empty cell.": (
        "scenes.captions cells negative",
        "scenes.described_cells cells negative",
        "scenes.ask cells negative",
        "vision.exact_captions cells negative",
    ),
    "What has outgrown its numbers is inf or nan, and shows it.": (
        "probability.perplexity log_probs huge",
        "probability.state_space_run A huge",
        "bptt.backward_through_time states huge",
        "bptt.backward_through_time W_hh huge",
        "bptt.gradient_flow v huge",
        "bptt.truncation x huge",
        "bptt.descend start huge",
        "gated.lstm_backward i huge",
        "gated.lstm_backward W_h huge",
        "gated.LSTMCell biases forget_bias huge",
        "gated.LSTMCell biases input_bias huge",
        "untrained.random_cell gain huge",
        "untrained.random_cell forget_bias huge",
        "untrained.random_cell input_bias huge",
        "untrained.random_reading gain huge",
        "untrained.random_reading input_std huge",
        "untrained.random_gradient_flow input_std huge",
        "untrained.depth_statistics scale huge",
        "attention.reinforce baseline huge",
        "scaling.softmax_jacobian weights huge",
        "hunting.silenced constant huge",
        "vision.FeatureGrid.forward images huge",
        "vision.Captioner.forward images huge",
        "vision.QuestionAnswerer.forward images huge",
        "patches.VisionTransformer.forward images huge",
        "painting.nearest images huge",
        "painting.nearest among huge",
    ),
    "The number with nan in it is not looked at: it lies too far back, or at a place that is not drawn.": (
        "probability.Autoregression.forecast history nan",
        "probability.rolling_forecasts series nan",
        "attention.hard_attend values nan",
    ),
    "The training says that it has diverged.": ("training.fit data nan",),
    "nn.Dropout itself takes nan for a probability.": ("transformer.AddNorm dropout nan",),
    "Nothing of one thing leaves the others: the other tensors, the first state, vectors of no numbers.": (
        "probability.state_space_run C empty",
        "bptt.clip_by_norm first empty",
        "bptt.clip_by_value first empty",
        "gated.lstm_forward x empty",
        "gated.LSTMCell.trace x empty",
        "seq2seq.pair_batches source empty",
        "seq2seq.pair_batches target empty",
        "attention.attend values empty",
        "attention.hard_attend values empty",
        "transformer.without_cache so_far empty",
        "training.minibatches first empty",
    ),
    "num2words can say fractions.": ("pairs.number_pair number fraction",),
    "Of labels only those that are asked for are used.": (
        "scenes.draw_scenes labels negative",
        "patches.digit_accuracy labels negative",
    ),
}


# What has no call of its own above, and why.
LEFT_OUT = {
    "It takes nothing, or only a name, a switch or a seed.": (
        "checkpoints.code_model",
        "checkpoints.new_number_models",
        "checkpoints.number_models",
        "checkpoints.number_results",
        "checkpoints.caption_model",
        "checkpoints.question_model",
        "checkpoints.vision_transformers",
        "checkpoints.digit_results",
        "checkpoints.painter_model",
        "coreference.coreference_vocabulary",
        "data.digits",
        "data.tales",
        "data.sunspots",
        "data.library_source",
        "data.held_out_source",
        "installation.check_installation",
        "progress.place",
        "progress.solved",
        "progress.exercises",
        "progress.record",
        "progress.Progress",
    ),
    "It takes words, texts, files or packages, or takes long, and its own tests hand it wrong ones.": (
        "coreference.coreference_task",
        "checkpoints.save_weights",
        "checkpoints.load_weights",
        "coreference.coreference_sentence",
        "coreference.to_numbers",
        "hunting.source_features",
        "installation.package_row",
        "painting.prompt_tokens",
        "pairs.number_alignment",
        "pairs.read_pairs",
        "pairs.to_tensor",
        "pairs.romanised",
    ),
    "It takes one of our modules, and copies its weights.": (
        "transformer_torch.torch_attention",
        "transformer_torch.torch_encoder_layer",
        "transformer_torch.torch_decoder_layer",
        "transformer_torch.torch_transformer",
    ),
    "It says what others have to offer, or is what they have in common.": (
        "decoding.Step",
        "seq2seq.Translator",
        "rnn.Layers",
    ),
    "It is itself a check of arguments.": (
        "bptt.check_one_sequence",
        "patches.check_digits",
        "rnn.check_shapes",
        "rnn.check_sizes",
        "rnn.check_tokens",
    ),
    "Jupyter calls it.": ("server.PromptWebsocketConnection",),
}


def findings(name: str, argument: str, kind: str) -> Iterator[str]:
    """What a learner would not understand, or not notice, about this kind of wrong input."""
    case = f"{name} {argument} {kind}"
    sensible, unclear = (any(case in cases for cases in listed.values()) for listed in (SENSIBLE, UNCLEAR))
    for bad in (bad for bad_kind, bad in wrong(valid(name)[argument]) if bad_kind == kind):
        shown = tuple(bad.shape) if isinstance(bad, Tensor) else bad
        try:
            result = numbers(called(name, argument, bad))
        except Exception as error:
            ours = isinstance(error, ValueError | TypeError) and re.match(r"\w+ (and \w+ )?must ", str(error))
            if not (ours or unclear or any(re.search(words, str(error)) for words in CLEAR)):
                yield f"{shown}: {type(error).__name__}: {error}"
        else:
            if not sensible and (complaint := nonsense(name, argument, kind, bad, result)):
                yield f"{shown}: {complaint}"


def valid(name: str) -> dict[str, Any]:
    return CALLS[name]()[1]


def called(name: str, argument: str, value: Any) -> Any:
    function, arguments = CALLS[name]()
    torch.default_generator.manual_seed(0)  # torch.manual_seed would take seconds in all
    return function(**arguments | {argument: value})


def nonsense(name: str, argument: str, kind: str, bad: Any, result: list[float]) -> str:
    """What is wrong with having this result, or nothing."""
    if kind == "nan":
        return "" if any(map(math.isnan, result)) else "nan is not seen"
    if kind == "empty":
        return "a result out of nothing" if result else ""
    if kind in ("huge", "one row"):
        return "" if all(map(math.isfinite, result)) else "nan or inf out of finite numbers"
    if kind == "dtype" and bad.dtype == torch.int64:  # whole numbers are numbers, too
        same = result == numbers(called(name, argument, bad.to(valid(name)[argument].dtype)))
        return "" if same else "other numbers than for the same as floating-point numbers"
    return "accepted" if kind == "negative" or refused(name, argument, bad) else ""


def numbers(result: Any) -> list[float]:
    """All numbers in a result."""
    if isinstance(result, Tensor):
        return result.detach().double().flatten().tolist()
    if isinstance(result, float | int):
        return [float(result)]
    if isinstance(result, nn.Module):
        return numbers(list(result.parameters()))
    if dataclasses.is_dataclass(result):
        result = vars(result)
    parts = (
        result.values() if isinstance(result, dict) else result if isinstance(result, list | tuple) else ()
    )
    return [number for part in parts for number in numbers(part)]


def refused(name: str, argument: str, bad: Any) -> bool:
    """Whether the annotations refuse the argument while they are checked."""
    jaxtyping.config.update("jaxtyping_disable", False)
    try:
        called(name, argument, bad)
    except Exception:
        return True
    finally:
        jaxtyping.config.update("jaxtyping_disable", True)
    return False


ARGUMENTS = [(name, argument) for name in CALLS for argument in valid(name)]


def kinds(name: str, argument: str) -> list[str]:
    return list(dict.fromkeys(kind for kind, _ in wrong(valid(name)[argument])))


def public() -> Iterator[str]:
    """All functions and classes of the package's own modules, but those that only hold a result."""
    for module in pkgutil.iter_modules(seqlib.__path__):
        if module.ispkg:
            continue  # figures, widgets and checks
        for name, member in vars(importlib.import_module(f"seqlib.{module.name}")).items():
            holds = dataclasses.is_dataclass(member) or hasattr(member, "_fields")
            if (inspect.isclass(member) and not holds) or inspect.isfunction(member):
                if member.__module__ == f"seqlib.{module.name}" and not name.startswith("_"):
                    yield f"{module.name}.{name}"


def test_nothing_public_is_forgotten():
    called = {".".join(re.split(r"[. ]", name)[:2]) for name in CALLS}
    left_out = {name for names in LEFT_OUT.values() for name in names}
    assert set(public()) - called - left_out == set()
    assert left_out - set(public()) == left_out & called == set()


def test_every_exception_is_one_of_a_case_there_is():
    listed = [case for cases in (*SENSIBLE.values(), *UNCLEAR.values()) for case in cases]
    there_are = {
        f"{name} {argument} {kind}" for name, argument in ARGUMENTS for kind in kinds(name, argument)
    }
    assert set(listed) - there_are == set()


@pytest.mark.parametrize("name", CALLS)
def test_right_input_gives_finite_numbers(name):
    function, arguments = CALLS[name]()
    assert all(map(math.isfinite, numbers(function(**arguments))))


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS, ids=map(" ".join, ARGUMENTS))
def test_wrong_input_is_refused_or_makes_sense(name, argument, learner):
    found = {kind: list(findings(name, argument, kind)) for kind in kinds(name, argument)}
    assert not any(found.values()), found


@pytest.mark.parametrize(
    ("h", "message"),
    [
        (x(B + 1, H), "h must have shape (B, H) with B = 2, got (3, 7)"),
        (x(H), "h must have shape (B, H) with B = 2, got (7,)"),
    ],
)
def test_a_shape_that_does_not_fit_is_named_with_what_was_expected(h, message, learner):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model(RNNCell, E, H).unroll(x(B, T, E), h)


def test_a_shape_that_the_annotation_forbids_is_refused_wherever_tests_call():
    with pytest.raises(jaxtyping.TypeCheckError, match="parameter 'x'"):
        model(RNNCell, E, H)(x(B, T, E), x(B, H))


def test_a_matrix_that_would_bring_down_python_is_refused(learner):
    with pytest.raises(ValueError, match="^W must hold finite numbers only, got nan or inf$"):
        spectral_radius(torch.full((H, H), torch.nan))


# ------------------------------------------------------------------------- explorers, off the end

EXPLORERS = [  # one of each kind of control; the others are driven to their ends elsewhere
    probability_widgets.context_explorer,
    bptt_widgets.clipping_explorer,
    gated_widgets.gate_explorer,
    transformer_widgets.mask_explorer,
]


def beyond(control: ipywidgets.Widget) -> list[tuple[Any, Any]]:
    """Values that a control doesn't have, each with the one that it then has."""
    if control.has_trait("options") or isinstance(control.value, bool):
        return [("no such thing", control.value)]
    low, *_, high = settings(control)
    return [(low - 1e6, low), (high + 1e6, high)]


@pytest.mark.parametrize("make", EXPLORERS)
def test_a_control_beyond_its_end_stays_at_its_end_and_the_picture_with_it(make):
    explorer = opened(make)
    begin = explorer.values
    for name, control in explorer.controls.items():
        for value, then in beyond(control):
            with suppress(TraitError):
                control.value = value
            assert explorer.values == begin | {name: pytest.approx(then)}
            check_picture(explorer)
        shown = explorer.overlay.value
        explorer.redraw()
        assert explorer.overlay.value == shown
        control.value = begin[name]


@pytest.mark.parametrize("make", EXPLORERS)
def test_a_control_that_was_nan_leaves_nothing_behind(make):
    explorer = opened(make)
    shown, begin = explorer.overlay.value, explorer.values
    for name, value in begin.items():
        if isinstance(value, float) and not explorer.controls[name].has_trait("options"):
            with suppress(TraitError):
                explorer.controls[name].value = math.nan
            explorer.controls[name].value = value
            check_picture(explorer)
            assert explorer.overlay.value == shown
