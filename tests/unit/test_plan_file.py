"""Saved plans: what is written reads back, and what is wrong in one is named."""

from __future__ import annotations

import pytest

from fsgr_tui.core import planfile
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.units import GB
from tests.fakes.planning import gpu, plan

HEAD = 'schema = "fsgr-tui/planfile/1"\n'
GOOD = '[[step]]\nname = "one"\nargv = ["fsgr-tui", "doctor"]\n'


def test_a_plan_is_written_for_people_with_its_reasons_as_comments():
    text = planfile.write(plan(80 * GB, gpu(), experiments=20))
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert any("PRECOMPUTED" in line for line in comments)
    assert any("an epoch (guess)" in line for line in comments)
    assert max(map(len, (line for line in comments if "fsgr-tui " not in line))) <= 101
    assert "experiments = 20" in text
    assert 'dtype = "float16"' in text


def test_its_steps_read_back_in_the_order_in_which_they_run():
    made = plan(80 * GB, gpu())
    steps = planfile.read(planfile.write(made)).steps
    assert [(step.name, step.needs) for step in steps] == [
        ("extract", ()),
        ("check", ("extract",)),
        ("train", ("check",)),
    ]
    assert steps[0].argv == made.commands[0].argv
    assert steps[0].outputs == ("/data/features/coco_karpathy_vit-b-16_7x7.hdf5",)


def test_a_plan_without_a_way_has_no_steps_and_cannot_be_run():
    text = planfile.write(plan(GB))
    assert "Neither way works here" in text
    with pytest.raises(BadRequest, match="nothing to run"):
        planfile.read(text)


def test_steps_that_stand_in_another_order_are_sorted_by_what_they_need():
    text = HEAD + '[[step]]\nname = "b"\nargv = ["x"]\nneeds = ["a"]\n[[step]]\nname = "a"\nargv = ["y"]\n'
    assert [step.name for step in planfile.read(text).steps] == ["a", "b"]


def test_a_person_may_leave_out_what_a_step_does_not_need():
    assert planfile.read(HEAD + GOOD).steps == (planfile.PlanStep("one", ("fsgr-tui", "doctor")),)


# What a person may have done to the file, and what the message has to name.
WRONG = [
    ("schema = ", ["TOML", "line 1"]),
    (HEAD + GOOD + "argv = [\n", ["TOML", "line"]),
    (GOOD, ["no schema"]),
    ('schema = "fsgr-tui/planfile/9"\n', ["planfile/9"]),
    (HEAD, ["no [[step]]"]),
    (HEAD + "step = 3\n", ["[[step]]"]),
    (HEAD + "stpe = 1\n" + GOOD, ["'stpe'", "Did you mean step"]),
    (HEAD + GOOD + 'agrv = ["x"]\n', ["step 1 (one)", "'agrv'", "argv"]),
    (HEAD + '[[step]]\nargv = ["x"]\n', ["step 1", "`name` is missing"]),
    (HEAD + '[[step]]\nname = "a b"\nargv = ["x"]\n', ["step 1", "'a b'"]),
    (HEAD + '[[step]]\nname = "one"\n', ["step 1 (one)", "`argv` is empty"]),
    (HEAD + '[[step]]\nname = "one"\nargv = "fsgr-tui doctor"\n', ["step 1 (one)", "`argv`", "list"]),
    (HEAD + '[[step]]\nname = "one"\nargv = ["x", 3]\n', ["step 1 (one)", "`argv`", "3"]),
    (HEAD + '[[step]]\nname = "one"\nargv = ["x", { hex = "zz" }]\n', ["step 1 (one)", "`argv`"]),
    (HEAD + GOOD + 'needs = ["tow"]\n', ["one needs 'tow'"]),
    (HEAD + GOOD + GOOD, ["Two steps", "'one'"]),
    (HEAD + GOOD + 'needs = ["one"]\n', ["circle", "one"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_what_is_wrong_in_a_plan_file_is_named(text, words):
    with pytest.raises(BadRequest) as refused:
        planfile.read(text)
    assert refused.value.fix
    for word in words:
        assert word in str(refused.value)


def test_a_name_that_is_no_utf8_is_kept_as_bytes_in_readable_toml():
    text = planfile.write(plan(80 * GB, gpu(), splits=("x",)))
    assert "surrogate" not in text
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert planfile._text(name) == '{ hex = "636166e9" }'
