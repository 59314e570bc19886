"""What is true of source code, which units follow it, and what is lost without them."""

import sys
import tokenize

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F
from torch.testing import assert_close

from seqlib.data import held_out_source
from seqlib.gated import LSTMCell
from seqlib.hunting import (
    Reading,
    SourceFeatures,
    feature_scores,
    read_in_pieces,
    silenced,
    source_features,
    unit_auc,
    unit_correlation,
)
from seqlib.rnn import CharRNN

# --------------------------------------------------------------------------------------- the truth

# In these examples ¶ stands for a line break, so that the truth can stand under each character.


def lines(source):
    return source.replace("¶", "\n")


def examples(text):
    """Pairs of a source and what is true of its characters."""
    rows = [row for row in text.split("\n") if row]
    return list(zip(rows[::2], rows[1::2], strict=True))


def text_truth(source):
    """s in a string, c in a comment, . in neither."""
    string, comment, *_ = source_features(source)
    assert not (string & comment).any()
    return "".join("s" if s else "c" if c else "." for s, c in zip(string, comment, strict=True))


def digits(values):
    return "".join(str(int(value)) for value in values)


STRINGS_AND_COMMENTS = r"""
x = 'ab' + y + '' + ""
....sss........s....s.

x = r'a' + b"c" + bR'' + u'd' + f'e' + Rf"g"
.....ss.....ss......s.....ss.....ss......ss.

s = '''a¶'b''c"¶''' + d
....ssssssssssssss.....

'a\'b' + "\\" + 'c\¶d' + r'\'e'
sssss....sss....sssss.....ssss.

x  # it's "so"¶y
...ccccccccccc..

'# no' # 'yes'¶#¶
sssss..ccccccc.c.

f'{a} {b:>{c}}' + d
.sssssssssssss.....

f'{{' + f"{a['b']}" 'c' + f''
.sss.....sssssssss..ss.....s.

f'''{f"{a}'"}¶{{#''' + b  # f'c'
.ssssssssssssssssss.......cccccc

def f():¶  '''a¶¶  (b'''¶  # c
...........ssssssssssss....ccc
"""

DEPTH = r"""
f(a[1], {2: (3)})
01122111222233210

f('(', [')'])  # ((
0111111222210000000

f'{(a[0])}' + g(1)
000000000000000110

x = (1,¶     2)¶y
00001111111111000

''')]}¶''' + (a)
0000000000000110
"""


@pytest.mark.parametrize(("source", "truth"), examples(STRINGS_AND_COMMENTS))
def test_strings_run_up_to_the_last_quotation_mark_and_comments_up_to_the_line_break(source, truth):
    assert text_truth(lines(source)) == truth


@pytest.mark.parametrize(("source", "truth"), examples(DEPTH))
def test_depth_counts_the_brackets_of_code_alone(source, truth):
    assert digits(source_features(lines(source)).depth) == truth


def test_column_and_indentation_count_along_the_line_and_are_0_at_its_end():
    source = "if a:¶    b = 1¶¶  # c¶  ¶"
    column = "1234501234567890012345" "0120"  # fmt: skip
    indent = "0000001234444440012222" "0120"  # fmt: skip
    features = source_features(lines(source))
    assert digits(features.column) == column
    assert digits(features.indentation) == indent


@pytest.mark.parametrize("source", ["", "a", "\n", "#", "''", "a\n", "(\n)", "if a:\n  b"])
def test_each_character_has_every_feature_whatever_the_text_ends_with(source):
    features = source_features(source)
    assert [len(feature) for feature in features] == [len(source)] * 5
    assert [feature.dtype for feature in features] == [torch.bool] * 2 + [torch.float32] * 3


# Since Python 3.12 the tokenizer cuts f-strings into parts. These are a source and the parts that 3.12 and
# 3.13 cut it into, here for Python 3.11 to look at too.
F_STRINGS, STRINGS, DEPTHS = r"""
x = f"a{b['(']}" + rF'''{¶f'{c}'}[''' + (d)  # f'
.....ssssssssss......sssssssssssssss.........cccc
0000000000000000000000000000000000000000110000000
""".split("\n")[1:-1]
PARTS = """NAME x|OP =|FSTRING_START f"|FSTRING_MIDDLE a|OP {|NAME b|OP [|STRING '('|OP ]|OP }|FSTRING_END "|\
OP +|FSTRING_START rF'''|OP {|NL ¶|FSTRING_START f'|OP {|NAME c|OP }|FSTRING_END '|OP }|FSTRING_MIDDLE [|\
FSTRING_END '''|OP +|OP (|NAME d|OP )|COMMENT # f'|NEWLINE |ENDMARKER """


def tokens_since_3_12(source):
    numbers = {name: number for number, name in tokenize.tok_name.items()}
    end = 0
    for part in lines(PARTS).split("|"):
        kind, text = part.split(" ", 1)
        begin = source.index(text, end)
        end = begin + len(text)
        row, column = source.count("\n", 0, begin) + 1, begin - source.rfind("\n", 0, begin) - 1
        yield tokenize.TokenInfo(numbers[kind], text, (row, column), (row, column + len(text)), "")


@pytest.fixture
def kinds_since_3_12(monkeypatch):
    for number, kind in enumerate(("FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END"), 1000):
        if kind not in tokenize.tok_name.values():
            monkeypatch.setitem(tokenize.tok_name, number, kind)


@pytest.mark.usefixtures("kinds_since_3_12")
@pytest.mark.parametrize("since_3_12", [False, True], ids=["this Python's tokens", "tokens since 3.12"])
def test_an_f_string_is_a_string_from_end_to_end_however_python_cuts_it(monkeypatch, since_3_12):
    source = lines(F_STRINGS)
    if since_3_12:
        monkeypatch.setattr(tokenize, "generate_tokens", lambda readline: tokens_since_3_12(source))
    features = source_features(source)
    assert text_truth(source) == STRINGS
    assert digits(features.depth) == DEPTHS


@pytest.mark.usefixtures("kinds_since_3_12")
def test_the_tokens_since_3_12_are_those_of_the_real_tokenizer_and_older_ones_are_others():
    source = lines(F_STRINGS)
    real = tokenize.generate_tokens(iter(source.splitlines(keepends=True)).__next__)
    # It is not said where the last two are, which are empty.
    theirs, ours = (
        [token[:4] for token in tokens if token.string] for tokens in (real, tokens_since_3_12(source))
    )
    assert (theirs == ours) == (sys.version_info >= (3, 12))


@pytest.mark.parametrize(
    "source",
    ["x = 'a\n", '"""a\n', "f(\n", "a)\n", ") (\n", "if a:\n    b\n  c\n"],
    ids=[
        "open string",
        "open triple string",
        "open bracket",
        "closed too often",
        "closed too soon",
        "dedent",
    ],
)
def test_what_is_no_python_is_refused(source):
    with pytest.raises(ValueError, match=r"^source must be Python code that can be split into tokens: \w"):
        source_features(source)


@st.composite
def code(draw):
    """Python source and what is true of it, known because it is made of parts that are known."""
    parts = []  # texts, and what each of them is

    def expression(depth):
        kind = draw(st.sampled_from(["name", "string", "(", "[", "{"] if depth else ["name", "string"]))
        if kind == "name":
            parts.append((draw(st.sampled_from(["a", "b1", "f", "r", "12"])), "code"))
        elif kind == "string":
            parts.append((draw(st.sampled_from(["", "b", "u"])), "code"))
            parts.append((repr(draw(st.text(alphabet="ab'\"#()[]{}\\\n ", max_size=7))), "string"))
        else:
            parts.append((kind, "code"))
            if draw(st.booleans()):
                parts.extend([("# (' ", "comment"), ("\n", "code")])
            for _ in range(draw(st.integers(0, 3))):
                expression(depth - 1)
                parts.append((draw(st.sampled_from([",", ", ", ",\n    "])), "code"))
            parts.append(({"(": ")", "[": "]", "{": "}"}[kind], "code"))

    for _ in range(draw(st.integers(1, 3))):
        parts.append((draw(st.sampled_from(["x = ", "if a:\n    x = "])), "code"))
        expression(2)
        parts.append(("\n", "code"))
    truth, depths, depth = "", [], 0
    for text, kind in parts:
        truth += {"code": "." * len(text), "comment": "c" * len(text), "string": "s" * (len(text) - 1) + "."}[
            kind
        ]
        for character in text:
            if kind == "code":
                depth += (character in "([{") - (character in ")]}")
            depths.append(depth)
    return "".join(text for text, _ in parts), truth, depths


@given(code())
def test_strings_comments_and_depth_are_those_that_the_source_was_made_of(made):
    source, truth, depths = made
    assert text_truth(source) == truth
    assert source_features(source).depth.tolist() == depths
    assert min(depths) >= 0 and depths[-1] == 0


def check_lines(source, features):
    for i, (column, indentation) in enumerate(
        zip(features.column.tolist(), features.indentation.tolist(), strict=True)
    ):
        line = source[source.rfind("\n", 0, i + 1) + 1 : i + 1]
        assert column == len(line)
        assert indentation == len(line) - len(line.lstrip(" "))


@given(code())
def test_column_and_indentation_are_those_of_the_line_so_far(made):
    check_lines(made[0], source_features(made[0]))


@pytest.mark.parametrize("part", [0, 1])
def test_the_laws_hold_for_the_library_and_all_features_occur_in_it(part):
    source = held_out_source()[part]
    features = source_features(source)
    check_lines(source, features)
    assert features.depth.min() == 0 == features.depth[-1] and features.depth.max() >= 3
    assert 0.01 < features.comment.float().mean() < features.string.float().mean() < 0.6
    opened = features.string.int().diff(prepend=torch.zeros(1, dtype=torch.int32)) == 1
    assert {source[i] for i in opened.nonzero().flatten()} == {"'", '"'}
    begun = features.comment.int().diff(prepend=torch.zeros(1, dtype=torch.int32)) == 1
    assert {source[i] for i in begun.nonzero().flatten()} == {"#"}


# ---------------------------------------------------------------------------------- reading a text

V, H, T = 13, 7, 101


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = CharRNN(V, H, cell=LSTMCell).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # so that what comes depends on more than the last character
    return model


@pytest.fixture
def tokens():
    return torch.randint(V, (T,), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def in_one_go(model, tokens, *, before):
    """What a model does that reads `before` times the first token of its vocabulary, and then the text."""
    padded = F.pad(tokens, (before, 0))
    h, c = model.cell.initial_state(torch.zeros(1, V, dtype=torch.float64))
    cells, states = [], []
    for one_hot in F.one_hot(padded, V).double():
        h, c = model.cell(one_hot[None], (h, c))
        states.append(h[0])
        cells.append(c[0].tanh())
    logits = model.h_to_y(torch.stack(states[before - 1 : -1]))
    nats = F.cross_entropy(logits, tokens, reduction="none")
    return Reading(torch.stack(cells[before:]), torch.stack(states[before:]), nats / np.log(2))


@pytest.mark.parametrize("piece", [T, T + 1, 2 * T])
@pytest.mark.parametrize("warm_up", [1, 5, 150])
def test_a_piece_as_long_as_the_text_is_one_go(model, tokens, piece, warm_up):
    found = read_in_pieces(model, tokens, piece=piece, warm_up=warm_up)
    assert_close(found, in_one_go(model, tokens, before=warm_up + 1))


@pytest.mark.parametrize("piece", [1, 10, 17, 50, 100])
@pytest.mark.parametrize("warm_up", [1, 5, 150])
def test_each_piece_is_read_after_its_warm_up_and_nothing_else(model, tokens, piece, warm_up):
    found = read_in_pieces(model, tokens, piece=piece, warm_up=warm_up)
    assert [len(part) for part in found] == [T, T, T]
    for start in range(0, T, piece):
        here = slice(start, start + piece)
        seen = tokens[max(0, start - warm_up - 1) : start + piece]
        skipped = min(start, warm_up + 1)
        # With the whole warm-up inside the text there is nothing before it.
        before = warm_up + 1 - skipped
        expected = in_one_go(model, seen, before=before) if before else after_nothing(model, seen)
        for part, whole in zip(found, expected, strict=True):
            assert_close(part[here], whole[skipped:])


def after_nothing(model, tokens):
    """`in_one_go` from a zero state; nothing has announced the first character, so its bits are left out."""
    first, rest = tokens[:1], tokens[1:]
    with torch.no_grad():
        output = model(tokens[None])
        trace = model.cell.trace(F.one_hot(tokens, V).double()[None])
    nats = F.cross_entropy(output.logits[0, :-1], rest, reduction="none")
    bits = torch.cat([torch.full_like(first, torch.nan, dtype=torch.float64), nats / np.log(2)])
    return Reading(trace.c[0, 1:].tanh(), trace.h[0, 1:], bits)


@pytest.mark.parametrize("piece", [3, 10, 50, 1000])
def test_with_a_warm_up_back_to_the_beginning_the_pieces_do_not_matter(model, tokens, piece):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.div_(3)  # it forgets how often it has read the first token before the text
    found = read_in_pieces(model, tokens, piece=piece, warm_up=2 * T)
    assert_close(found, in_one_go(model, tokens, before=2 * T), rtol=0, atol=1e-8)


@pytest.mark.parametrize(("option", "value"), [("piece", 0), ("warm_up", 0), ("piece", -3)])
def test_pieces_without_length_are_refused(model, tokens, option, value):
    with pytest.raises(ValueError, match=f"^{option} must be a positive integer, got {value}$"):
        read_in_pieces(model, tokens, **{option: value})


# ------------------------------------------------------------------------------- scores of a unit


@given(
    values=st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=2, max_size=29),
    data=st.data(),
)
def test_auc_is_scikit_learns_with_ties_too(values, data):
    inside = data.draw(
        st.lists(st.booleans(), min_size=len(values), max_size=len(values)).filter(
            lambda b: 0 < sum(b) < len(b)
        )
    )
    values = np.array(values, dtype=np.float64)
    found = unit_auc(torch.tensor(values), torch.tensor(inside))
    np.testing.assert_allclose(found, [roc_auc_score(inside, unit) for unit in values.T], atol=1e-12)


def test_auc_is_scikit_learns_without_ties():
    rng = np.random.default_rng(0)
    values, inside = rng.normal(size=(1009, 11)).astype(np.float32), rng.random(1009) < 0.1
    values[:, 3] += 2 * inside
    found = unit_auc(torch.tensor(values), torch.tensor(inside))
    np.testing.assert_allclose(found, [roc_auc_score(inside, unit) for unit in values.T], atol=1e-12)
    assert found.argmax() == 3


@pytest.mark.parametrize("inside", [True, False])
def test_auc_needs_both_sides(inside):
    with pytest.raises(ValueError, match=f"^inside must hold both True and False, got only {inside}$"):
        unit_auc(torch.randn(5, 3), torch.full((5,), inside))


def test_correlation_is_numpys():
    rng = np.random.default_rng(0)
    values, quantity = rng.normal(size=(211, 7)).astype(np.float32), rng.integers(0, 5, 211)
    values[:, 2] -= 0.5 * quantity
    found = unit_correlation(torch.tensor(values), torch.tensor(quantity, dtype=torch.float32))
    np.testing.assert_allclose(found, [np.corrcoef(unit, quantity)[0, 1] for unit in values.T], atol=1e-7)
    assert found.argmin() == 2


def test_correlation_with_a_constant_is_refused():
    with pytest.raises(ValueError, match=r"^quantity must not be constant, got 3 at all 5 places$"):
        unit_correlation(torch.randn(5, 2), torch.full((5,), 3.0))


@pytest.mark.parametrize("constant", [0.0, 0.1, -0.7, 1.0])
def test_a_unit_that_never_changes_knows_nothing(constant):
    values = torch.full((10_007, 1), constant)
    quantity = torch.randint(5, (10_007,), generator=torch.Generator().manual_seed(0)).float()
    assert unit_auc(values, quantity > 2).tolist() == [0.5]
    assert unit_correlation(values, quantity).abs() < 1e-9


def test_a_feature_itself_has_score_1_with_either_sign_and_noise_has_none():
    features = source_features(held_out_source()[0])
    known = torch.stack([feature.float() for feature in features], 1)
    noise = torch.randn(known.shape, generator=torch.Generator().manual_seed(0))
    scores = feature_scores(torch.cat([known, -2 * known, noise], 1), features)
    assert list(scores) == list(SourceFeatures._fields)
    for k, score in enumerate(scores.values()):
        assert score.shape == (15,)
        assert_close(score[[k, k + 5]], torch.ones(2, dtype=torch.float64))
        assert (0 <= score).all() and (score <= 1 + 1e-12).all() and (score[10:] < 0.05).all()


# ---------------------------------------------------------------------------------- taking it away


def unheard(model, tokens, unit, constant):
    """The logits of a model whose `unit` is replaced wherever somebody reads it, step by step."""
    h = torch.zeros(len(tokens), H, dtype=torch.float64)
    c, logits = torch.zeros_like(h), []

    def replaced(h):
        h = h.clone()
        h[:, unit] = constant
        return h

    for one_hot in F.one_hot(tokens, V).double().unbind(1):
        h, c = model.cell(one_hot, (replaced(h), c))
        logits.append(model.h_to_y(replaced(h)))
    return torch.stack(logits, 1)


@pytest.mark.parametrize("constant", [0.0, -0.3, 0.8])
@pytest.mark.parametrize("unit", [0, 4, H - 1])
def test_a_silenced_unit_is_one_that_always_says_the_same(model, tokens, unit, constant):
    tokens = tokens[:99].view(3, 33)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    intact = model(tokens).logits
    quiet = silenced(model, unit, constant=constant)
    assert_close(quiet(tokens).logits, unheard(model, tokens, unit, constant))
    assert (quiet(tokens).logits - intact).abs().max() > 0.01
    # The unit itself goes on as the others do; it is only not heard. And the model is as it was.
    assert quiet(tokens).states[..., unit].std() > 0.01
    assert torch.equal(model(tokens).logits, intact)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("unit", [-1, H])
def test_a_unit_that_is_not_there_can_not_be_silenced(model, unit):
    with pytest.raises(ValueError, match=rf"^unit must lie in 0\.\.6, got {unit}$"):
        silenced(model, unit, constant=0.0)
