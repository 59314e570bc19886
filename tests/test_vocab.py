"""What is encoded can be decoded."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqlib.vocab import Vocabulary


@given(st.text(min_size=1))
def test_decoding_undoes_encoding(text):
    vocabulary = Vocabulary(text)
    assert "".join(vocabulary.decode(vocabulary.encode(text))) == text


@given(st.lists(st.text(), min_size=1), st.lists(st.text(), unique=True))
def test_numbers_count_special_tokens_first_and_then_the_others_in_order(words, special):
    vocabulary = Vocabulary(words, special=special)
    assert list(vocabulary) == special + sorted(set(words) - set(special))
    assert vocabulary.encode(vocabulary).tolist() == list(range(len(vocabulary)))


@given(st.text(min_size=1), st.randoms())
def test_order_and_repetition_of_the_tokens_do_not_matter(text, random):
    tokens = list(text * 2)
    random.shuffle(tokens)
    assert list(Vocabulary(tokens)) == list(Vocabulary(text))


def test_a_vocabulary_is_a_sequence_of_tokens():
    vocabulary = Vocabulary("hello")
    assert list(vocabulary) == ["e", "h", "l", "o"]
    assert len(vocabulary) == 4
    assert vocabulary[1] == "h" and vocabulary[-1] == "o" and vocabulary[1:3] == ["h", "l"]
    assert vocabulary.index("l") == 2
    assert "o" in vocabulary and "x" not in vocabulary


def test_numbers_are_a_tensor_of_integers():
    numbers = Vocabulary("hello").encode("hole")
    assert numbers.dtype == torch.int64
    assert numbers.tolist() == [1, 3, 2, 0]
    assert Vocabulary("hello").encode("").shape == (0,)


def test_plain_numbers_decode_as_well_as_a_tensor():
    vocabulary = Vocabulary("hello")
    assert vocabulary.decode([1, 3]) == vocabulary.decode(torch.tensor([1, 3])) == ["h", "o"]


def test_repr_is_short():
    assert repr(Vocabulary("hello")) == "Vocabulary(4 tokens: 'e' 'h' 'l' 'o')"
    assert repr(Vocabulary("abcdefghij")) == "Vocabulary(10 tokens: 'a' 'b' 'c' 'd' 'e' 'f' 'g' 'h' ...)"


def test_an_unknown_token_is_named():
    with pytest.raises(ValueError, match="tokens must be in the vocabulary, 'x' is not: Vocabulary"):
        Vocabulary("hello").encode("hexe")


@pytest.mark.parametrize("number", [-1, 4])
def test_a_number_without_a_token_is_named(number):
    with pytest.raises(ValueError, match=rf"numbers must lie in 0\.\.3, got {number}$"):
        Vocabulary("hello").decode([0, number])


def test_an_empty_vocabulary_is_refused():
    with pytest.raises(ValueError, match="tokens must hold at least one token, got none"):
        Vocabulary([])


def test_a_repeated_special_token_is_refused():
    with pytest.raises(ValueError, match=r"special must not repeat a token, got \('<pad>', '<pad>'\)"):
        Vocabulary("hello", special=["<pad>", "<pad>"])
