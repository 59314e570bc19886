"""The adjective says what "it" is, and no combination of words is in both parts of the task."""

from itertools import chain, product
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqlib.coreference import (
    ANIMALS,
    OF_ANIMALS,
    OF_PLACES,
    PATTERNS,
    PLACES,
    coreference_sentence,
    coreference_task,
    coreference_vocabulary,
    to_numbers,
)
from seqlib.pairs import PAD, SPECIAL
from seqlib.vocab import Vocabulary

animals, places = st.sampled_from(ANIMALS), st.sampled_from(PLACES)
patterns = st.sampled_from(range(len(PATTERNS)))


# ---------------------------------------------------------------------------------------- sentences


def test_there_are_words_enough_and_each_has_one_meaning():
    lists = (ANIMALS, PLACES, OF_ANIMALS, OF_PLACES)
    assert len(ANIMALS) >= 20 and len(PLACES) >= 20 and len(OF_ANIMALS + OF_PLACES) >= 20
    words = [*chain(*lists), *{word for pattern in PATTERNS for word in pattern.split()}]
    assert len(words) == len(set(words))
    assert all(word.isalpha() and word.islower() for word in chain(*lists))


@pytest.mark.parametrize(
    ("words", "pattern", "sentence", "referent"),
    [
        (("fox", "road", "tired"), 0, "the fox did not cross the road because it was too tired", "fox"),
        (("fox", "road", "wide"), 0, "the fox did not cross the road because it was too wide", "road"),
        (("cow", "lake", "ill"), 1, "the lake was not crossed by the cow because it was too ill", "cow"),
        (("cow", "lake", "icy"), 1, "the lake was not crossed by the cow because it was too icy", "lake"),
    ],
)
def test_sentences_that_are_known(words, pattern, sentence, referent):
    found = coreference_sentence(*words, pattern=pattern)
    assert " ".join(found.words) == sentence and found.referent == referent


@given(animals, places, st.sampled_from(OF_ANIMALS), st.sampled_from(OF_PLACES), patterns)
@settings(max_examples=30)
def test_the_adjective_alone_decides_what_it_is(animal, place, of_animal, of_place, pattern):
    of_the_animal = coreference_sentence(animal, place, of_animal, pattern=pattern)
    of_the_place = coreference_sentence(animal, place, of_place, pattern=pattern)
    assert (of_the_animal.referent, of_the_place.referent) == (animal, place)
    differ = [a != b for a, b in zip(of_the_animal.words, of_the_place.words, strict=True)]
    assert differ == [False] * (len(differ) - 1) + [True]  # nothing but the last word


@given(animals, places, st.sampled_from(OF_ANIMALS + OF_PLACES), patterns)
@settings(max_examples=30)
def test_it_comes_once_after_both_nouns_and_before_the_adjective(animal, place, adjective, pattern):
    sentence = coreference_sentence(animal, place, adjective, pattern=pattern)
    assert [at for at, word in enumerate(sentence.words) if word == "it"] == [sentence.it]
    nouns = [sentence.words.index(animal), sentence.words.index(place)]
    assert max(nouns) < sentence.it < sentence.words.index(adjective)
    assert sorted(nouns) == (nouns if pattern == 0 else nouns[::-1])  # so that the order decides nothing


# -------------------------------------------------------------------------------------- as numbers


def test_the_vocabulary_has_every_word_after_the_special_tokens():
    vocabulary = coreference_vocabulary()
    sentences = [
        coreference_sentence(ANIMALS[0], PLACES[0], adjective, pattern=pattern)
        for adjective in OF_ANIMALS + OF_PLACES
        for pattern in range(len(PATTERNS))
    ]
    used = {*ANIMALS, *PLACES, *chain(*(sentence.words for sentence in sentences))}
    assert tuple(vocabulary[:3]) == SPECIAL and vocabulary[PAD] == "<pad>"
    assert set(vocabulary[3:]) == used


def test_numbers_say_the_sentence_where_it_is_and_what_it_stands_for():
    vocabulary = coreference_vocabulary()
    sentences = [
        coreference_sentence("goat", "path", adjective, pattern=pattern)
        for adjective in ("lazy", "narrow")
        for pattern in range(len(PATTERNS))
    ]
    found = to_numbers(sentences, vocabulary)
    longest = max(len(sentence.words) for sentence in sentences)
    assert found.tokens.shape == (4, longest)
    for row, sentence in enumerate(sentences):
        length = len(sentence.words)
        assert vocabulary.decode(found.tokens[row, :length]) == list(sentence.words)
        assert (found.tokens[row, :length] != PAD).all() and (found.tokens[row, length:] == PAD).all()
        assert vocabulary[found.tokens[row, found.it[row]]] == "it"
        assert vocabulary[found.referent[row]] == sentence.referent


def test_some_sentence_is_filled_up_with_padding():
    lengths = {len(pattern.split()) for pattern in PATTERNS}
    assert len(lengths) == 2


# --------------------------------------------------------------------------------------- the split


class Told(NamedTuple):
    """What one row says, read word by word."""

    words: tuple[str, ...]
    combination: tuple[str, ...]  # animal, place, adjective
    it: int
    referent: str


def told(part, vocabulary):
    known, tokens = [set(words) for words in (ANIMALS, PLACES, OF_ANIMALS + OF_PLACES)], list(vocabulary)
    for row, it, referent in zip(*(each.tolist() for each in part), strict=True):
        words = tuple(tokens[number] for number in row if number != PAD)
        combination = tuple(word for some in known for word in some.intersection(words))
        yield Told(words, combination, it, tokens[referent])


FEW = {"ANIMALS": ANIMALS[:5], "PLACES": PLACES[:7]}


@pytest.fixture(scope="module")
def parts():
    """To train on, and held out; of a few words only, which is quicker."""
    with pytest.MonkeyPatch.context() as patch:
        for name, words in FEW.items():
            patch.setattr(f"seqlib.coreference.{name}", words)
        task = coreference_task(held_out=211, generator=torch.Generator().manual_seed(0))
    return [list(told(part, task.vocabulary)) for part in (task.train, task.held_out)]


def test_every_combination_is_in_one_part_only_in_all_patterns(parts):
    train, held_out = ({row.combination for row in part} for part in parts)
    assert len(held_out) == 211 and not train & held_out
    assert train | held_out == set(product(*FEW.values(), OF_ANIMALS + OF_PLACES))
    for part, combinations in zip(parts, (train, held_out), strict=True):
        assert len(part) == len({row.words for row in part}) == len(combinations) * len(PATTERNS)


def test_every_row_says_where_it_is_and_what_it_stands_for(parts):
    for row in chain(*parts):
        animal, place, adjective = row.combination
        assert row.words[row.it] == "it" and row.words[-1] == adjective
        assert row.referent == (animal if adjective in OF_ANIMALS else place)


def test_every_word_is_learnt_and_tested(parts):
    for part in parts:
        for place, words in enumerate((*FEW.values(), OF_ANIMALS + OF_PLACES)):
            assert {row.combination[place] for row in part} == set(words)


def test_the_split_depends_on_nothing_but_the_generator(monkeypatch):
    for name, words in FEW.items():
        monkeypatch.setattr(f"seqlib.coreference.{name}", words)

    def draw(seed):
        task = coreference_task(held_out=31, generator=torch.Generator().manual_seed(seed))
        return task.held_out.tokens.tolist()

    state = torch.get_rng_state()
    assert draw(1) == draw(1) != draw(2)
    assert torch.equal(torch.get_rng_state(), state)


# ------------------------------------------------------------------------------------ wrong inputs


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("unicorn", "road", "wide"), "animal must be one of animal, bear, .*, wolf, got 'unicorn'"),
        (("fox", "sky", "wide"), "place must be one of alley, .*, valley, got 'sky'"),
        (("fox", "road", "blue"), "adjective must be one of afraid, .*, wide, got 'blue'"),
        (("road", "fox", "wide"), "animal must be one of .*, got 'road'"),
    ],
)
def test_a_word_that_is_not_known_is_named(learner, words, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        coreference_sentence(*words)


@pytest.mark.parametrize("pattern", [-1, 2])
def test_a_pattern_that_there_is_not_is_named(learner, pattern):
    with pytest.raises(ValueError, match=rf"^pattern must lie in 0\.\.1, got {pattern}$"):
        coreference_sentence("fox", "road", "wide", pattern=pattern)


@pytest.mark.parametrize("held_out", [0, -5, len(ANIMALS) * len(PLACES) * len(OF_ANIMALS + OF_PLACES)])
def test_a_part_that_would_be_empty_is_refused(learner, held_out):
    most = len(ANIMALS) * len(PLACES) * len(OF_ANIMALS + OF_PLACES) - 1
    with pytest.raises(ValueError, match=rf"^held_out must lie in 1\.\.{most}, got {held_out}$"):
        coreference_task(held_out=held_out, generator=torch.Generator())


def test_a_vocabulary_that_lacks_a_word_is_refused(learner):
    with pytest.raises(ValueError, match="^tokens must be in the vocabulary, 'the' is not"):
        to_numbers([coreference_sentence("fox", "road", "wide")], Vocabulary(["fox"], special=SPECIAL))
