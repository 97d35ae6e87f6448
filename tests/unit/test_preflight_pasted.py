from __future__ import annotations

import pytest

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.lab import GivenFlag
from fsgr_tui.core.pasted import given_flags, is_cut_off, read_pasted

GUIDE = """# way A
python train_transformer.py --text \\
  --features_path datasets/coco/images \\  # the image folder
  --pre_vs_path .cache/clip/ViT-B-16.pt --head 8
"""


def test_a_comment_after_a_continuation_is_named_with_its_line_and_the_command_is_read_as_meant():
    pasted = read_pasted(GUIDE)
    (fault,) = pasted.faults
    assert (fault.line, fault.what[:37]) == (3, "a comment after the backslash: the sh")
    assert pasted.arguments == (
        "--text", "--features_path", "datasets/coco/images", "--pre_vs_path", ".cache/clip/ViT-B-16.pt", "--head", "8",
    )  # fmt: skip


def test_a_blank_after_a_continuation_is_named_too():
    (fault,) = read_pasted("python a.py --x 1 \\ \n --y 2\n").faults
    assert (fault.line, fault.what.startswith("a blank")) == (1, True)


def test_a_sound_command_has_no_fault():
    pasted = read_pasted("python a.py --x 'a b' \\\n  --y 2  # at the end a comment is fine\n")
    assert (pasted.faults, pasted.arguments) == ((), ("--x", "a b", "--y", "2"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.py —text “x y”", ("--text", "x y")),
        ("a.py –-head\u00a08", ("--head", "8")),
        ("a.py －－head\u30008", ("--head", "8")),
        ("a.py ‘--x’", ("--x",)),
    ],
)
def test_what_a_word_processor_made_of_quotes_and_hyphens_is_named_and_mended(text, words):
    pasted = read_pasted(text)
    assert pasted.faults[0].what.startswith("characters that a word processor put in")
    assert pasted.arguments == words


def test_comments_in_other_scripts_are_left_alone():
    assert read_pasted("# “训练” — 第一步\na.py --x 1").faults == ()


@pytest.mark.parametrize(
    ("text", "words"), [("", "no command"), ("python a.py", "no command"), ("a.py --x 'open", "cannot be read")]
)
def test_a_text_without_a_readable_command_is_refused(text, words):
    with pytest.raises(BadRequest, match=words):
        read_pasted(text)


@pytest.mark.parametrize(
    ("words", "cut"), [(("--x", " "), True), (("--x", "\\"), True), (("--x", ""), True), (("--x", "a b"), False)]
)
def test_an_escaped_blank_among_the_words_tells_a_command_that_the_shell_cut_off(words, cut):
    assert is_cut_off(words) is cut


def test_flags_carry_the_words_that_follow_them():
    words = ("train.py", "--exp_name", "a", "--text", "--new", "1", "2", " ", "--lr=3")
    assert given_flags(words) == (
        GivenFlag("--exp_name", ("a",)), GivenFlag("--text"), GivenFlag("--new", ("1", "2")), GivenFlag("--lr", ("3",)),
    )  # fmt: skip
