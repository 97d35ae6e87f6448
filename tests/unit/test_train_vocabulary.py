import pytest

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.train.vocabulary import BOS, EOS, MAX_TOKENS, PAD, SPECIAL, UNK, Vocabulary, words_of

FEW = ["a red circle", "a blue square", "a red square."]


def many_words(times: int) -> list[str]:
    """Captions with 30 words that occur so often, and one that occurs once."""
    return [" ".join(f"word{chr(97 + number)}" for number in range(26)) + " to be or so"] * times + ["hapax"]


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A man, riding a wave!", ["a", "man", "riding", "a", "wave"]),
        (
            '  "Two" dogs -- one (brown);  the other... black? ',
            ["two", "dogs", "one", "brown", "the", "other", "black"],
        ),
        ("A woman's t-shirt", ["a", "woman", "'s", "t-shirt"]),
        ("They don\N{RIGHT SINGLE QUOTATION MARK}t surf", ["they", "do", "n't", "surf"]),
        ("a 3.5 inch disk at 10:30.", ["a", "3.5", "inch", "disk", "at", "10:30"]),
        ("caf\u0065\u0301 at five o'clock", ["caf\u00e9", "at", "five", "o'clock"]),
        ("snake_case\tand\nlines", ["snake", "case", "and", "lines"]),
        ("...", []),
    ],
)
def test_captions_become_lower_case_words_without_punctuation(caption, words):
    assert words_of(caption) == words


def test_the_special_tokens_come_first_and_cannot_be_written_in_a_caption():
    vocabulary = Vocabulary.from_captions(["<pad> <bos> <eos> <unk>"])
    assert vocabulary.words[:4] == SPECIAL
    assert vocabulary.words[4:] == ("bos", "eos", "pad", "unk")
    assert not {PAD, BOS, UNK} & set(vocabulary.encode("<pad> <bos>")[1:-1])


def test_words_are_ordered_by_count_and_then_by_spelling():
    assert Vocabulary.from_captions(FEW).words[4:] == ("a", "red", "square", "blue", "circle")


def test_rare_words_are_left_out_of_a_vocabulary_of_usual_size():
    vocabulary = Vocabulary.from_captions(many_words(5), min_count=5)
    assert len(vocabulary) == 4 + 30
    assert vocabulary.encode("hapax or so")[1] == UNK


def test_a_demo_sized_vocabulary_keeps_every_word():
    assert len(Vocabulary.from_captions(FEW, min_count=5)) == 4 + 5
    assert "hapax" in Vocabulary.from_captions(many_words(4), min_count=5).words


def test_captions_without_words_are_refused():
    with pytest.raises(BadRequest, match="no words"):
        Vocabulary.from_captions(["", "..."])


def test_what_was_encoded_is_decoded_again():
    vocabulary = Vocabulary.from_captions(FEW)
    ids = vocabulary.encode("A BLUE circle.")
    assert (ids[0], ids[-1]) == (BOS, EOS)
    assert vocabulary.decode(ids) == "a blue circle"
    assert vocabulary.decode([*ids, ids[1], PAD]) == "a blue circle"
    assert vocabulary.decode(ids[:2]) == "a"


def test_a_caption_that_is_too_long_keeps_its_end_token():
    ids = Vocabulary.from_captions(FEW).encode("red " * 200)
    assert len(ids) == MAX_TOKENS
    assert ids[-1] == EOS
