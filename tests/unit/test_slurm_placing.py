"""Where commands run: flags that are read from plans, taken out of command lines, and put into them."""

from __future__ import annotations

import pytest

from fsgr_tui.cli.placing import placed, profile_of_plan, steps_of_chain
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.plan import Step
from fsgr_tui.core.planfile import PlanStep


def steps(*lines: str) -> list[PlanStep]:
    return [PlanStep(f"s{number}", tuple(line.split())) for number, line in enumerate(lines)]


@pytest.mark.parametrize(
    ("lines", "profile"),
    [
        (("fsgr-tui extract --x 1", "fsgr-tui check f"), None),
        (("fsgr-tui extract --backend slurm", "fsgr-tui check f"), ""),
        (("fsgr-tui extract --profile=gpu", "fsgr-tui train --profile gpu"), "gpu"),
        (("fsgr-tui extract --backend local",), None),
    ],
)
def test_a_plan_says_where_it_runs(lines, profile):
    assert profile_of_plan(steps(*lines)) == profile


def test_two_profiles_are_no_chain():
    with pytest.raises(BadRequest, match="several profiles: a, b"):
        profile_of_plan(steps("fsgr-tui extract --profile a", "fsgr-tui train --profile b"))


def test_only_commands_of_this_program_lose_these_flags():
    first, second = steps_of_chain(steps("fsgr-tui extract --profile gpu --x 1", "python train.py --profile gpu"))
    assert first.argv == ("fsgr-tui", "extract", "--x", "1")
    assert second.argv == ("python", "train.py", "--profile", "gpu")


def test_planned_commands_carry_where_they_run():
    plan = (Step("extract", ("fsgr-tui", "extract", "--x")), Step("check", ("fsgr-tui", "check", "f")))
    assert [step.argv[2:] for step in placed(plan, "")] == [("--x", "--backend", "slurm"), ("f",)]
    assert placed(plan, "gpu")[0].argv[-2:] == ("--profile", "gpu")
