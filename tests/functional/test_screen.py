"""Pictures of the screen with frozen facts: every state at the two sizes that people use most.

After a wanted change: `pytest tests/functional/test_screen.py --snapshot-update`, then look at the pictures.
"""

import pytest

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.tui.seen import JobCourse, JobsSeen
from tests.fakes import screen as fakes
from tests.fakes.screen import World

SIZES = [(80, 24), (120, 40)]
BUSY = JobsSeen((fakes.RUNNING, fakes.FAILED, fakes.DONE), fakes.COURSE)
FAILED = JobsSeen((fakes.FAILED, fakes.DONE), fakes.FAILED_COURSE)

at_both_sizes = pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40"])


@pytest.fixture(autouse=True)
def no_colour_wish(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")


def after(*keys, seconds=0.2):
    """Wait for the workers, press keys, and wait for the workers again."""

    async def settle(pilot):
        await pilot.pause(seconds)
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()

    async def drive(pilot):
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
            await settle(pilot)

    return drive


@at_both_sizes
@pytest.mark.parametrize(
    "machine",
    [fakes.machine(), fakes.BLIND, fakes.CRAMPED, fakes.machine(6 * 10**9, fakes.NO_GPU)],
    ids=["two GPUs", "no GPU and unknown space", "too little disk", "neither way"],
)
def test_plan(snap_compare, machine, size):
    assert snap_compare(World(machine=machine).app(), terminal_size=size, run_before=after())


@at_both_sizes
def test_no_plan(snap_compare, size):
    assert snap_compare(World().app("/missing"), terminal_size=size, run_before=after())


@pytest.mark.parametrize("size", [(60, 15), (200, 50), (40, 10)], ids=["60x15", "200x50", "40x10"])
def test_plan_at_other_sizes(snap_compare, size):
    assert snap_compare(World().app(), terminal_size=size, run_before=after())


def test_plan_in_ascii(snap_compare):
    assert snap_compare(World().app(ascii_only=True), terminal_size=(80, 24), run_before=after())


@at_both_sizes
def test_intent(snap_compare, size):
    assert snap_compare(World().app(), terminal_size=size, run_before=after("i"))


@at_both_sizes
def test_extraction_form(snap_compare, size):
    assert snap_compare(World().app(), terminal_size=size, run_before=after("e", seconds=0.4))


@at_both_sizes
def test_extraction_form_with_a_fault(snap_compare, size):
    fault = BadRequest(
        "/data/features/coco_karpathy_vit-b-16_7x7.hdf5 exists already (9.30 GB).",
        "Use --resume to add what is missing in it.",
    )
    assert snap_compare(World(fault=fault).app(), terminal_size=size, run_before=after("e", seconds=0.4))


@at_both_sizes
def test_a_running_job(snap_compare, size):
    assert snap_compare(World(seen=BUSY).app(), terminal_size=size, run_before=after("3"))


@at_both_sizes
def test_a_failed_job(snap_compare, size):
    assert snap_compare(World(seen=FAILED).app(), terminal_size=size, run_before=after("3"))


@at_both_sizes
def test_a_good_feature_file(snap_compare, size):
    assert snap_compare(World(files=fakes.FILES).app(), terminal_size=size, run_before=after("4", "c"))


@at_both_sizes
def test_a_bad_feature_file(snap_compare, size):
    assert snap_compare(
        World(files=fakes.FILES, outcome=fakes.BAD_REPORT).app(), terminal_size=size, run_before=after("4", "c")
    )


@at_both_sizes
def test_an_image_of_a_feature_file(snap_compare, size):
    world = World(files=fakes.FILES)
    assert snap_compare(world.app(), terminal_size=size, run_before=after("4", "v", "n", "down"))


@at_both_sizes
def test_compare(snap_compare, size):
    assert snap_compare(World().app(), terminal_size=size, run_before=after("5"))


def test_names_in_wide_characters_keep_their_columns(snap_compare):
    names = ("训练集-1", "extract-🐱-2", "train2014")
    statuses = tuple(fakes.renamed(fakes.DONE, name) for name in names)
    seen = JobsSeen(statuses, JobCourse(names[0]))
    assert snap_compare(World(seen=seen).app(), terminal_size=(80, 24), run_before=after("3"))


def test_help(snap_compare):
    assert snap_compare(World().app(), terminal_size=(80, 24), run_before=after("question_mark"))
