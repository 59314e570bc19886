"""Every part agrees with torch's, and decoding with a cache is what is computed without one."""

from functools import cache
from itertools import accumulate, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck
from torch.testing import assert_close

from seqlib.decoding import beam_search, choose_rows, greedy, sample_sequences
from seqlib.pairs import EOS, PAD, SOS, PairTensors
from seqlib.seq2seq import decoder_inputs, exact_match, pair_loss, right_by_position
from seqlib.training import fit
from seqlib.transformer import (
    Cache,
    DecoderLayer,
    EncoderLayer,
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
from seqlib.transformer_torch import (
    torch_attention,
    torch_decoder_layer,
    torch_encoder_layer,
    torch_transformer,
)

B, S, T, N, K, INNER, SOURCES, TARGETS = 3, 7, 5, 2, 11, 13, 17, 19
D = N * K


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def assert_exact(found, expected):
    assert_close(found, expected, rtol=0, atol=1e-10)


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def uneven(module):
    """The module in double precision, with weights that differ in all parts, layer norms among them."""
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return module


SIZES = {"model_size": D, "num_heads": N, "inner_size": INNER}


def model(**options):
    return uneven(Transformer(SOURCES, TARGETS, **SIZES | options))


@cache
def one_model():
    torch.manual_seed(0)
    return model().requires_grad_(False)


@cache
def encoder(positions):
    torch.manual_seed(0)
    return uneven(TransformerEncoder(SOURCES, **SIZES, positions=positions)).requires_grad_(False)


def sequences(lengths, size):
    """Random tokens with EOS after them and PAD after that, so many in each row."""
    rows = [torch.cat([torch.randint(3, size, (length - 1,)), torch.tensor([EOS])]) for length in lengths]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


def sources():
    return sequences([7, 2, 4], SOURCES)


def inputs():
    """What a decoder reads: a row for each of `sources()`."""
    return decoder_inputs(sequences([3, 5, 1], TARGETS))


both_norms = pytest.mark.parametrize("pre_norm", [True, False], ids=["pre-norm", "post-norm"])


# ------------------------------------------------------------------------------- positions and masks


def positions_of_the_paper(times, model_size):
    """Column by column, as section 3.5 has it."""
    expected = np.zeros((len(times), model_size))
    for i in range(model_size // 2):
        expected[:, 2 * i] = np.sin(np.array(times) / 10000 ** (2 * i / model_size))
        expected[:, 2 * i + 1] = np.cos(np.array(times) / 10000 ** (2 * i / model_size))
    return torch.from_numpy(expected).float()


@given(st.integers(1, 13), st.integers(1, 11), st.integers(0, 53))
@settings(max_examples=20)
def test_positions_are_those_of_the_paper_from_any_start(length, wavelengths, start):
    found = sinusoidal_positions(length, 2 * wavelengths, start=start)
    expected = positions_of_the_paper(range(start, start + length), 2 * wavelengths)
    assert_close(found, expected, rtol=0, atol=1e-5)


def test_the_dot_product_of_two_positions_depends_on_their_distance_only():
    found = sinusoidal_positions(31, D) @ sinusoidal_positions(31, D).mT
    rates = 10000 ** -(np.arange(0, D, 2) / D)
    for t, s in product(range(31), repeat=2):
        assert found[t, s].item() == pytest.approx(np.cos((t - s) * rates).sum(), abs=1e-4)


@pytest.mark.parametrize(("length", "past"), [(1, 0), (5, 0), (1, 7), (3, 2)])
def test_each_token_may_look_at_itself_and_at_those_before_it(length, past):
    expected = [[s <= past + t for s in range(past + length)] for t in range(length)]
    assert causal_mask(length, past=past).tolist() == expected


# --------------------------------------------------------------------------------------- many heads


def test_each_head_has_its_own_piece_of_each_vector():
    x = randn(B, T, D)
    heads = split_heads(x, N)
    assert heads.shape == (B, N, T, K)
    for n in range(N):
        assert torch.equal(heads[:, n], x[..., n * K : (n + 1) * K])
    assert torch.equal(join_heads(heads), x)


def random_mask(*shape):
    """True for some; at least one in each row."""
    mask = torch.rand(shape) < 0.5
    mask[..., 2] = True
    return mask


@pytest.mark.parametrize("masked", [None, (B, 1, S), (B, T, S), (1, T, S)], ids=str)
def test_attention_its_weights_and_gradients_are_torchs(masked):
    ours = uneven(MultiHeadAttention(D, N))
    x, memory = randn(B, T, D), randn(B, S, D)
    mask = masked and random_mask(*masked)
    # torch wants a mask for each head of each row, and True where nobody may look.
    theirs_mask = None if mask is None else ~mask.expand(B, T, S).repeat_interleave(N, 0)
    output, weights = ours(x, ours.keys_values(memory), mask)
    expected = torch_attention(ours)(
        x, memory, memory, attn_mask=theirs_mask, average_attn_weights=False, need_weights=True
    )
    assert_exact((output, weights), expected)
    g = torch.randn_like(output)
    found, wanted = (torch.autograd.grad(result, (x, memory), g) for result in (output, expected[0]))
    assert_exact(found, wanted)


def test_weights_are_0_where_nobody_may_look_and_sum_to_1():
    ours, mask = uneven(MultiHeadAttention(D, N)), random_mask(B, T, S)
    weights = ours(randn(B, T, D), ours.keys_values(randn(B, S, D)), mask).weights
    assert_exact(weights.sum(-1), torch.ones(B, N, T, dtype=torch.float64))
    assert torch.equal(weights == 0, ~mask[:, None].expand(B, N, T, S))


@pytest.mark.parametrize("head", range(N))
def test_without_a_head_the_others_bring_what_they_brought(head):
    ours, x, memory = uneven(MultiHeadAttention(D, N)), randn(B, T, D), randn(B, S, D)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    found = ours.without(head)(x, ours.keys_values(memory))

    # Written out: each head's sum of values meets its own K columns of W_O.
    expected = ours.W_O.bias
    for n in set(range(N)) - {head}:
        own = slice(n * K, (n + 1) * K)
        q, k, v = ours.W_Q(x)[..., own], ours.W_K(memory)[..., own], ours.W_V(memory)[..., own]
        expected = expected + (q @ k.mT / K**0.5).softmax(-1) @ v @ ours.W_O.weight[:, own].mT
    assert_exact(found.output, expected)
    assert torch.equal(found.weights, ours(x, ours.keys_values(memory)).weights)
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


# ------------------------------------------------------------------------------------------- layers


@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
@both_norms
def test_encoder_layer_is_torchs(pre_norm, causal):
    ours, x, present = uneven(EncoderLayer(**SIZES, pre_norm=pre_norm)), randn(B, S, D), sources() != PAD
    theirs = torch_encoder_layer(ours)
    seen = causal_mask(S) if causal else torch.ones(S, S, dtype=torch.bool)
    options = {"src_mask": ~seen, "src_key_padding_mask": ~present}
    found = ours(x, seen & present[:, None]).output[present]
    expected = theirs(x, **options)[present]
    assert_exact(found, expected)
    g = torch.randn_like(found)
    assert_exact(torch.autograd.grad(found, x, g), torch.autograd.grad(expected, x, g))
    with torch.no_grad():  # torch takes another way then, in one piece
        assert_exact(theirs.eval()(x, **options)[present], found)


@both_norms
def test_decoder_layer_is_torchs(pre_norm):
    ours = uneven(DecoderLayer(**SIZES, pre_norm=pre_norm))
    x, memory, present = randn(B, T, D), randn(B, S, D), sources() != PAD
    found = ours(x, ours.cross_attention.keys_values(memory), present[:, None]).output
    expected = torch_decoder_layer(ours)(
        x, memory, tgt_mask=~causal_mask(T), memory_key_padding_mask=~present
    )
    assert_exact(found, expected)
    g = torch.randn_like(found)
    assert_exact(torch.autograd.grad(found, (x, memory), g), torch.autograd.grad(expected, (x, memory), g))


def as_in_torch(ours, theirs, source, tokens):
    """Logits by torch's stacks, between our embeddings and our output map."""
    x, y = (
        embedding(part) + positions_of_the_paper(range(part.shape[1]), D)
        for embedding, part in ((ours.encoder.embedding, source), (ours.embedding, tokens))
    )
    padding = source == PAD
    return ours.x_to_y(
        theirs(
            x,
            y,
            tgt_mask=~causal_mask(tokens.shape[1]),
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@both_norms
def test_the_whole_model_and_its_gradient_are_torchs(pre_norm, dtype):
    ours, source, tokens = model(pre_norm=pre_norm).to(dtype), sources(), inputs()
    theirs = torch_transformer(ours)
    found, expected = ours(source, tokens), as_in_torch(ours, theirs, source, tokens)
    assert_close(found, expected, rtol=1e-5, atol=1e-5)
    last, g = ours.encoder.embedding.weight, torch.randn_like(found)  # as far from the logits as can be
    gradients = (torch.autograd.grad(logits, last, g)[0] for logits in (found, expected))
    assert_close(*gradients, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        assert_close(as_in_torch(ours, theirs.eval(), source, tokens), found, rtol=1e-5, atol=1e-5)


def test_torchs_modules_have_weights_of_their_own():
    ours = model()
    before = ours(*(batch := (sources(), inputs())))
    with torch.no_grad():
        for parameter in torch_transformer(ours).parameters():
            parameter.zero_()
    assert torch.equal(ours(*batch), before)


def test_torchs_modules_are_in_the_mode_that_ours_are_in():
    ours = model(dropout=0.3).eval()
    encoder, decoder = ours.encoder.layers[0], ours.layers[0]
    theirs = [
        torch_attention(encoder.attention),
        torch_encoder_layer(encoder),
        torch_decoder_layer(decoder),
        torch_transformer(ours),
    ]
    assert not any(part.training for module in theirs for part in module.modules())


@both_norms
def test_the_encoder_and_its_weights_are_torchs(pre_norm):
    ours, source = model(pre_norm=pre_norm), sources()
    theirs, (output, present, weights) = torch_transformer(ours).encoder, ours.encoder(source)
    x = ours.encoder.embedding(source) + sinusoidal_positions(S, D)
    assert torch.equal(present, source != PAD)
    assert_exact(output[present], theirs(x, src_key_padding_mask=~present)[present])
    for found, layer in zip(weights, theirs.layers, strict=True):
        read = layer.norm1(x) if pre_norm else x
        options = {"key_padding_mask": ~present, "average_attn_weights": False}
        assert_exact(found, layer.self_attn(read, read, read, **options)[1])
        x = layer(x, src_key_padding_mask=~present)


def with_same_luck(*ways):
    """What each gives when it draws the same random numbers."""
    for way in ways:
        torch.manual_seed(1)
        yield way()


@both_norms
def test_dropout_is_where_torchs_layers_have_it(pre_norm):
    options = {"pre_norm": pre_norm, "dropout": 0.5}
    x, memory = randn(1, T, D), randn(1, S, D)  # one row, because torch draws for rows in another order
    encoder, decoder = (uneven(layer(**SIZES, **options)) for layer in (EncoderLayer, DecoderLayer))
    theirs_encoder, theirs_decoder = torch_encoder_layer(encoder), torch_decoder_layer(decoder)
    assert_exact(*with_same_luck(lambda: encoder(x).output, lambda: theirs_encoder(x)))
    source = decoder.cross_attention.keys_values(memory)
    found, expected = with_same_luck(
        lambda: decoder(x, source).output, lambda: theirs_decoder(x, memory, tgt_mask=~causal_mask(T))
    )
    assert_exact(found, expected)
    assert_exact(encoder.eval()(x).output, torch_encoder_layer(encoder)(x))


def test_dropout_acts_in_training_only():
    network, plain, batch = model(dropout=0.5), model(), (sources(), inputs())
    plain.load_state_dict(network.state_dict())
    assert (network(*batch) != network(*batch)).all()
    assert torch.equal(network.eval()(*batch), plain(*batch))


@pytest.mark.parametrize("side", [0, 1], ids=["source", "target"])
def test_dropout_reaches_embeddings_and_positions(side):
    network, batch = model(), [sources(), inputs()]
    before = network(*batch)
    other = batch.copy()
    other[side] = torch.where(batch[side] == PAD, PAD, 3)
    assert (network(*other) != before).any()
    (network.encoder, network)[side].dropout.p = 1.0  # nothing is left of what is read
    assert_exact(network(*other), network(*batch))


def test_every_dropout_of_a_model_is_as_asked_for():
    dropouts = [part for part in model(dropout=0.3).modules() if isinstance(part, nn.Dropout)]
    assert [part.p for part in dropouts] == [0.3] * (2 + 2 * 2 + 2 * 3)


@both_norms
def test_stacks_end_with_a_norm_only_if_their_layers_do_not(pre_norm):
    ours = model(pre_norm=pre_norm)
    theirs = torch_transformer(ours)
    for stack in (ours.encoder, ours, theirs.encoder, theirs.decoder):
        assert isinstance(stack.norm, nn.LayerNorm) == pre_norm


def gradients_are_right(module, function, *given):
    """By finite differences: of what goes in, and of all weights."""
    return gradcheck(lambda *_: function(*given), (*given, *module.parameters()), fast_mode=True)


@both_norms
def test_gradients_of_the_layers_are_those_of_finite_differences(pre_norm):
    sizes = {"model_size": 4, "num_heads": 2, "inner_size": 3, "pre_norm": pre_norm}
    encoder, decoder = uneven(EncoderLayer(**sizes)), uneven(DecoderLayer(**sizes))
    x, memory, mask = randn(1, 2, 4), randn(1, 3, 4), torch.tensor([[[True, True, False]]])
    assert gradients_are_right(encoder, lambda x: encoder(x, mask).output, memory)

    def decode(x, memory):
        return decoder(x, decoder.cross_attention.keys_values(memory), mask).output

    assert gradients_are_right(decoder, decode, x, memory)


# --------------------------------------------------------------------------------------------- laws

seeds = st.integers(0, 2**31)


@given(seeds, st.integers(1, T - 1))
@settings(max_examples=10)
def test_future_tokens_do_not_change_past_outputs(seed, t):
    torch.manual_seed(seed)
    network, source, tokens = one_model(), sources(), inputs()
    other = tokens.clone()
    other[:, t:] = (other[:, t:] + 1) % TARGETS
    before, after = network(source, tokens), network(source, other)
    assert_exact(before[:, :t], after[:, :t])
    assert (before[:, t] != after[:, t]).any(-1).all()


@given(seeds, st.integers(1, 5))
@settings(max_examples=10)
def test_more_padding_changes_nothing(seed, more):
    torch.manual_seed(seed)
    network, source, tokens = one_model(), sources(), inputs()
    wider, longer = (nn.functional.pad(part, (0, more), value=PAD) for part in (source, tokens))
    assert_exact(network.encoder(wider).output[:, :S], network.encoder(source).output)
    assert_exact(network(wider, longer)[:, :T], network(source, tokens))


@given(seeds, st.lists(st.integers(1, 7), min_size=2, max_size=5))
@settings(max_examples=10)
def test_each_row_is_computed_as_if_it_were_alone(seed, lengths):
    torch.manual_seed(seed)
    network, source = one_model(), sequences(lengths, SOURCES)
    tokens = decoder_inputs(sequences(lengths[::-1], TARGETS))
    together = network(source, tokens)
    for row, length in enumerate(lengths):
        alone = network(source[row : row + 1, :length], tokens[row : row + 1])
        assert_exact(together[row : row + 1], alone)


@given(seeds, st.permutations(range(S)))
@settings(max_examples=10)
def test_without_positions_an_encoder_puts_its_outputs_in_the_order_of_the_tokens(seed, order):
    torch.manual_seed(seed)
    tokens = torch.randint(3, SOURCES, (B, S))
    shuffled, original = encoder(False)(tokens[:, order]), encoder(False)(tokens)
    assert_exact(shuffled.output, original.output[:, order])
    for found, expected in zip(shuffled.weights, original.weights, strict=True):
        assert_exact(found, expected[:, :, order][..., order])


def test_with_positions_the_order_of_the_tokens_makes_a_difference():
    tokens = torch.arange(3, 3 + S)[None]
    shuffled, original = encoder(True)(tokens.flip(1)), encoder(True)(tokens)
    difference = (shuffled.output - original.output.flip(1)).abs().amax(-1)
    middle = torch.arange(S) == S // 2  # it stays where it is, and its neighbours change places
    assert (difference[0, ~middle] > 0.1).all() and (difference[0, middle] > 1e-3).all()


# ----------------------------------------------------------------------------------------- decoding


@both_norms
def test_step_by_step_and_all_steps_at_once_are_the_same(pre_norm):
    network, source, tokens = model(pre_norm=pre_norm), sources(), inputs()
    state = network.start(source)
    again, prefix = without_cache(network), Prefix(network.start(source), tokens[:, :0])
    for t, expected in enumerate(network(source, tokens).unbind(1)):
        assert state.length == t
        logits, state = network.step(tokens[:, t], state)
        recomputed, prefix = again(tokens[:, t], prefix)
        assert_exact(logits, expected)
        assert_exact(recomputed, expected)
    assert torch.equal(prefix.tokens, tokens)


@given(seeds, st.lists(st.integers(1, 4), min_size=1, max_size=4))
@settings(max_examples=10)
def test_tokens_may_be_read_in_chunks_of_any_size(seed, sizes):
    torch.manual_seed(seed)
    network, source = one_model(), sources()
    tokens = torch.randint(0, TARGETS, (B, sum(sizes)))
    at_once = network.extend(tokens, cache := network.start(source))
    for end, size in zip(accumulate(sizes), sizes, strict=True):
        decoded = network.extend(tokens[:, end - size : end], cache)
        cache = decoded.cache
        assert_exact(decoded.logits, at_once.logits[:, end - size : end])
        for found, expected in zip(decoded.self_weights, at_once.self_weights, strict=True):
            assert_exact(found, expected[:, :, end - size : end, :end])
        for found, expected in zip(decoded.cross_weights, at_once.cross_weights, strict=True):
            assert_exact(found, expected[:, :, end - size : end])
    assert cache.length == sum(sizes)
    assert_exact(cache.own, at_once.cache.own)


def test_a_step_that_forgets_where_it_is_gives_other_logits(monkeypatch):
    network, source, tokens = model(), sources(), inputs()
    expected, state = network(source, tokens), network.start(source)
    monkeypatch.setattr(Cache, "length", 0)
    for t in range(T):
        logits, state = network.step(tokens[:, t], state)
        difference = (logits - expected[:, t]).abs().amax(-1)
        assert (difference < 1e-10).all() if t == 0 else (difference > 0.01).all()


def test_weights_are_0_in_the_future_and_on_padding_and_sum_to_1():
    network, source = model(), sources()
    decoded = network.extend(inputs(), network.start(source))
    absent = (source == PAD)[:, None, None].expand(B, N, T, S)
    future = ~causal_mask(T).expand(B, N, T, T)
    assert len(decoded.self_weights) == len(decoded.cross_weights) == 2
    for own, cross in zip(decoded.self_weights, decoded.cross_weights, strict=True):
        assert torch.equal(own == 0, future) and torch.equal(cross == 0, absent)
        assert_exact(own.sum(-1), torch.ones(B, N, T).double())
        assert_exact(cross.sum(-1), torch.ones(B, N, T).double())


def from_the_beginning(network, source):
    """A step function that keeps nothing but the tokens, and calls the whole model each time."""

    def step(tokens, written):
        written = torch.cat([written, tokens[:, None]], 1)
        return network(source, written)[:, -1], written

    return step, source.new_empty(len(source), 0)


@pytest.mark.parametrize("temperature", [0.0, 1.0], ids=["greedy", "sampled"])
def test_answers_are_the_same_with_the_cache_without_it_and_from_the_beginning(temperature):
    network, source = model(), sources()
    ways = [
        (network.step, network.start(source)),
        (without_cache(network), Prefix(network.start(source), source.new_empty(B, 0))),
        from_the_beginning(network, source),
    ]
    first, *others = (
        sample_sequences(
            *way,
            start=torch.full((B,), SOS),
            end=EOS,
            max_length=11,
            temperature=temperature,
            generator=torch.Generator().manual_seed(0),
        )
        for way in ways
    )
    for other in others:
        assert torch.equal(first.tokens, other.tokens)
        assert_exact(first.log_probability, other.log_probability)


def log_probability(network, source, tokens):
    """Of an answer to one source, from all its logits at once."""
    target = torch.tensor([tokens])
    logits = network(source, decoder_inputs(target))
    return logits.log_softmax(-1).gather(-1, target[..., None]).sum().item()


@pytest.mark.parametrize("width", [2, 3, 5])
def test_a_beam_search_finds_what_it_finds_without_the_cache(width):
    network, source = one_model(), sources()[:1]
    options = {"start": torch.tensor([SOS]), "end": EOS, "width": width, "max_length": 7}
    found = beam_search(network.step, network.start(source), **options).hypotheses
    prefix = Prefix(network.start(source), source.new_empty(1, 0))
    expected = beam_search(without_cache(network), prefix, **options).hypotheses
    assert [each.tokens for each in found] == [each.tokens for each in expected]
    for each in found:
        assert each.log_probability == pytest.approx(log_probability(network, source, each.tokens))


def test_a_beam_as_wide_as_all_answers_finds_the_likeliest():
    network = uneven(Transformer(SOURCES, V := 5, **SIZES)).requires_grad_(False)
    source, end = sources()[2:, :4], 4
    answers = [
        tokens
        for length in (1, 2, 3)
        for tokens in product(range(V), repeat=length)
        if end not in tokens[:-1] and (tokens[-1] == end or length == 3)
    ]
    expected = {tokens: log_probability(network, source, tokens) for tokens in answers}
    assert sum(np.exp(list(expected.values()))) == pytest.approx(1)
    start = torch.tensor([SOS])
    found = beam_search(
        network.step, network.start(source), start=start, end=end, width=V**3, max_length=3
    ).hypotheses
    assert {each.tokens: each.log_probability for each in found} == pytest.approx(expected)
    finished = {tokens: value for tokens, value in expected.items() if tokens[-1] == end}
    assert found[0].tokens == max(finished, key=finished.__getitem__)


@pytest.mark.parametrize("written", [0, T])
def test_rows_of_a_cache_can_be_chosen_before_the_first_token_and_later(written):
    network, source, tokens, rows = model(), sources(), inputs(), torch.tensor([2, 0, 0, 1])
    state = network.start(source)
    if written:
        state = network.extend(tokens[:, :written], state).cache
    chosen, newest = choose_rows(state, rows), torch.tensor([5, 7, 11, 13])
    assert chosen.length == written
    expected = network(source[rows], torch.cat([tokens[rows, :written], newest[:, None]], 1))
    assert_exact(network.step(newest, chosen)[0], expected[:, -1])


# --------------------------------------------------------------------------------- with and without


@pytest.mark.parametrize("row", range(B))
@pytest.mark.parametrize(("bias", "steps"), [(-100.0, 11), (2.0, None), (100.0, 1)])
def test_a_trace_holds_what_greedy_decoding_computes(row, bias, steps):
    network, source = model(), sources()[row : row + 1]
    with torch.no_grad():
        network.x_to_y.bias[EOS] += bias
    trace = trace_decoding(network, source, max_length=11)
    start = torch.tensor([SOS])
    answer = greedy(network.step, network.start(source), start=start, end=EOS, max_length=11).tokens
    assert torch.equal(trace.tokens, decoder_inputs(answer)[0])
    assert [step.logits.argmax().item() for step in trace.steps] == answer[0].tolist()
    assert len(trace.steps) == (steps or answer.shape[1])
    at_once = network.extend(trace.tokens[None], network.start(source))
    for t, step in enumerate(trace.steps):
        assert not step.logits.requires_grad and step.cache.length == t + 1
        assert_exact(step.logits[:, 0], at_once.logits[:, t])
        for found, expected in zip(step.self_weights, at_once.self_weights, strict=True):
            assert_exact(found, expected[:, :, t : t + 1, : t + 1])
        for found, expected in zip(step.cross_weights, at_once.cross_weights, strict=True):
            assert_exact(found, expected[:, :, t : t + 1])


def test_a_model_learns_some_pairs_by_heart():
    pairs = PairTensors(sequences([7, 2, 4, 5, 3], SOURCES), sequences([3, 5, 2, 4, 6], TARGETS))
    network = Transformer(SOURCES, TARGETS, model_size=16, num_heads=2, num_layers=1)
    loss = pair_loss(network, pairs, batch_size=5, generator=torch.Generator().manual_seed(0))
    assert not exact_match(network, pairs).any()
    fit(network, loss, steps=40, learning_rate=0.02, clip_norm=1.0)
    assert exact_match(network, pairs).all()
    assert (right_by_position(network, pairs, teacher_forcing=0) == 1).all()


# ------------------------------------------------------------------------------------- wrong inputs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_size": 22, "num_heads": 3}, "model_size must be divisible by num_heads, got 22 and 3"),
        ({"model_size": 0}, "model_size must be a positive integer, got 0"),
        ({"num_heads": -1}, "num_heads must be a positive integer, got -1"),
        ({"num_layers": 0}, "num_layers must be a positive integer, got 0"),
        ({"inner_size": 0}, "inner_size must be a positive integer, got 0"),
        ({"model_size": 9, "num_heads": 3}, "model_size must be even, .*, got 9"),
    ],
)
def test_sizes_that_fit_no_model_are_named(learner, options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Transformer(SOURCES, TARGETS, **options)


@pytest.mark.parametrize(
    ("length", "model_size", "message"),
    [
        (5, 7, "model_size must be even, a sine and a cosine for each wavelength, got 7"),
        (0, 6, "length must be a positive integer, got 0"),
        (5, 0, "model_size must be a positive integer, got 0"),
    ],
)
def test_positions_that_there_are_not_are_named(learner, length, model_size, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        sinusoidal_positions(length, model_size)


@pytest.mark.parametrize("head", [-1, N])
def test_a_head_that_is_not_there_is_named(learner, head):
    with pytest.raises(ValueError, match=rf"^head must lie in 0\.\.{N - 1}, got {head}$"):
        MultiHeadAttention(D, N).without(head)


def test_a_trace_is_of_one_source_and_at_least_one_step(learner):
    with pytest.raises(ValueError, match=f"^source must hold one sequence, got {B}$"):
        trace_decoding(model(), sources(), max_length=5)
    with pytest.raises(ValueError, match="^max_length must be a positive integer, got 0$"):
        trace_decoding(model(), sources()[:1], max_length=0)
