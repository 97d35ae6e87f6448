"""Place 4: feature files and their checks."""

import threading
import time

import pytest

from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.features.opening import NotAFeatureFile
from fsgr_tui.service.kept_checks import PastCheck
from fsgr_tui.tui.seen import JobCourse, JobsSeen
from tests.fakes import screen as fakes
from tests.fakes.piloting import opened, press_until, shown, until
from tests.fakes.screen import World


async def test_the_output_of_a_job_is_checked_with_its_images():
    world = World(seen=JobsSeen((fakes.DONE,), JobCourse(fakes.DONE.name)), files=fakes.FILES)
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "took 17 min")
        await press_until(pilot, "c", "GOOD")
        assert world.checked == [("/data/features/coco.hdf5", fakes.ROOT)]


async def test_a_good_file_is_shown_with_how_it_was_made():
    world = World(files=fakes.FILES)
    async with world.app().run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await press_until(pilot, "4", "coco.hdf5")
        await press_until(pilot, "c", "GOOD")
        for words in (
            "123,287 images, 49 x 768 float16",
            "no NaN, no infinity",
            "ViT-B-16",
            "quick-gelu",
            "train2014, val2014",
        ):
            assert words in shown(pilot.app)


async def test_a_bad_file_says_what_is_wrong_first():
    world = World(files=fakes.FILES, outcome=fakes.BAD_REPORT)
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "4", "coco.hdf5")
        await press_until(pilot, "c", "1 fault: 40,504 images of val2014 are missing")
        lines = [line for line in shown(pilot.app).splitlines() if "BAD" in line or "note" in line]
        assert "images" in lines[2]
        assert "This file carries no manifest" in shown(pilot.app)


async def test_what_is_no_feature_file_is_told_with_the_remedy():
    world = World(
        files=fakes.FILES, outcome=NotAFeatureFile("/data/features/coco.hdf5 is an HTML page.", "Download it again.")
    )
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "4", "coco.hdf5")
        await press_until(pilot, "c", "is an HTML page.")
        assert "Download it again." in shown(pilot.app)


async def test_an_unfinished_file_is_not_offered_for_a_check():
    world = World(files=fakes.FILES[1:])
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "4", "unfinished")
        assert "c Check" not in shown(pilot.app)
        await pilot.press("c")
        await pilot.pause(0.2)
        assert world.checked == []


async def test_images_of_a_file_are_walked_through_and_patches_chosen():
    world = World(files=fakes.FILES)
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "4", "coco.hdf5")
        await press_until(pilot, "v", "image 9   1 of 3")
        assert "norm of each patch" in shown(pilot.app)
        await press_until(pilot, "n", "image 10   2 of 3")
        await press_until(pilot, "p", "image 9   1 of 3")
        await press_until(pilot, "down", "cosine to the marked patch")
        assert "[==]" in shown(pilot.app)
        await press_until(pilot, "x", "norm of each patch")
        await press_until(pilot, "escape", "v View an image")


async def test_a_file_that_cannot_be_looked_at_says_why():
    fault = NotAFeatureFile("/data/features/coco.hdf5 is an HTML page.", "Download it again.")
    world = World(files=fakes.FILES, outcome=fault)
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "4", "coco.hdf5")
        await press_until(pilot, "v", "is an HTML page.")
        assert "Download it again." in shown(pilot.app)


async def test_without_colour_the_map_is_drawn_in_characters(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    world = World(files=fakes.FILES)
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "4", "coco.hdf5")
        await press_until(pilot, "v", "image 9")
        assert "@@" in shown(pilot.app)


CHECKED_AT = fakes.NOW - 7200


async def test_what_a_check_came_to_is_remembered_with_its_age():
    path = fakes.FILES[0].path
    world = World(files=fakes.FILES, past={path: PastCheck(CHECKED_AT, fakes.GOOD_REPORT)})
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "4", "checked 2.0 h ago")
        assert "GOOD" in shown(pilot.app)
        assert world.checked == []
        await press_until(pilot, "c", "checked just now")


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (fakes.GOOD_REPORT, "It was good 2.0 h ago, and has changed"),
        (fakes.BAD_REPORT, "It was bad 2.0 h ago, and has changed"),
    ],
)
async def test_a_check_of_another_content_is_not_shown_as_this_ones(outcome, words):
    past = PastCheck(CHECKED_AT, outcome, current=False)
    world = World(files=fakes.FILES, past={fakes.FILES[0].path: past})
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "4", words)
        assert "changed" in next(line for line in shown(pilot.app).splitlines() if "coco.hdf5" in line)
        assert "GOOD" not in shown(pilot.app)
        await press_until(pilot, "c", "GOOD")


async def test_that_a_check_could_not_be_made_is_no_verdict_on_the_file():
    world = World(files=fakes.FILES, outcome=MachineCannot("/data: Stale file handle.", "Look again when it is back."))
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "4", "coco.hdf5")
        await press_until(pilot, "c", "Stale file handle")
        assert "failed" in next(line for line in shown(pilot.app).splitlines() if "coco.hdf5" in line)


@pytest.mark.parametrize("size", [(60, 15), (120, 40)])
async def test_two_files_are_compared(size):
    world = World(files=fakes.TWO_FILES)
    async with world.app().run_test(size=size) as pilot:
        await opened(pilot)
        await press_until(pilot, "4", "coco.hdf5")
        await press_until(pilot, "m", "A is coco.hdf5")
        await pilot.press("down")
        await press_until(pilot, "d", "DIFFERENT")
        assert world.compared == [(fakes.TWO_FILES[0].path, fakes.TWO_FILES[1].path)]
        for words in (
            "A  /data/features/coco.hdf5",
            "B  /data/features/other.hdf5",
            "weights sha256",
            "other weights do not go",
        ):
            assert words in shown(pilot.app)
        verdicts = [
            line.split()[0]
            for line in shown(pilot.app).splitlines()
            if line.split()[:1] in (["differs"], ["note"], ["same"])
        ]
        assert verdicts == sorted(verdicts, key=["differs", "note", "same"].index)
        await press_until(pilot, "down", "least 0.312000")
        assert "A 123,287   B 82,783" in shown(pilot.app) or size == (120, 40)
        await press_until(pilot, "escape", "A is coco.hdf5")


async def test_a_comparison_tells_its_progress_and_can_be_left():
    world = World(files=fakes.TWO_FILES, hold=threading.Event())
    told = []
    compare = world.compare

    def slow(path_a, path_b, tell):
        def telling(step, total):
            time.sleep(0.6)
            tell(step, total)
            told.append(step)

        return compare(path_a, path_b, telling)

    world.compare = slow
    world.hold.set()
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "4", "coco.hdf5")
        await press_until(pilot, "m", "A is coco.hdf5")
        world.hold.clear()
        await pilot.press("down")
        await press_until(pilot, "d", "comparing rows 64 of 1,000")
        await press_until(pilot, "escape", "A is coco.hdf5")
        world.hold.set()
        await pilot.pause(1.0)
        assert told == [64]


async def test_files_that_cannot_be_compared_say_why():
    world = World(
        files=fakes.TWO_FILES, comparison=NotAFeatureFile("other.hdf5 is an HTML page.", "Download it again.")
    )
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "4", "coco.hdf5")
        await press_until(pilot, "m", "A is coco.hdf5")
        await pilot.press("down")
        await press_until(pilot, "d", "is an HTML page.")
        assert "Download it again." in shown(pilot.app)


async def test_a_file_is_compared_neither_with_itself_nor_unfinished():
    world = World(files=fakes.TWO_FILES)
    async with world.app().run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await press_until(pilot, "4", "coco.hdf5")
        assert "d Compare" not in shown(pilot.app)
        await press_until(pilot, "m", "A is coco.hdf5")
        assert "d Compare" not in shown(pilot.app)
        await press_until(pilot, "down", "d Compare")
        await press_until(pilot, "down", "This extraction is not finished")
        assert "d Compare" not in shown(pilot.app)


async def sample_opened(pilot):
    await opened(pilot)
    await press_until(pilot, "4", "coco.hdf5")
    await press_until(pilot, "v", "image 9")


async def test_patches_are_held_against_a_text():
    world = World(files=fakes.FILES)
    async with world.app().run_test(size=(80, 24)) as pilot:
        await sample_opened(pilot)
        await pilot.press("t", *"a red square", "enter")
        await until(pilot, lambda: "cosine to the text" in shown(pilot.app))
        assert "a red square" in shown(pilot.app)
        await press_until(pilot, "n", "image 10")
        assert "cosine to the text" in shown(pilot.app)
        await press_until(pilot, "x", "norm of each patch")


async def test_while_the_model_is_asked_the_rest_goes_on_and_a_late_answer_is_passed_over():
    world = World(files=fakes.FILES, hold=threading.Event())
    world.hold.set()
    async with world.app().run_test(size=(80, 24)) as pilot:
        await sample_opened(pilot)
        world.hold.clear()
        await pilot.press("t", *"a dog", "enter")
        await until(pilot, lambda: "asking the model for `a dog`" in shown(pilot.app))
        assert "image 9" in shown(pilot.app)
        await press_until(pilot, "x", "norm of each patch")
        await until(pilot, lambda: "asking the model" not in shown(pilot.app))
        world.hold.set()
        await pilot.pause(0.3)
        assert "norm of each patch" in shown(pilot.app)


async def test_a_text_that_cannot_be_asked_for_leaves_the_picture_and_says_why():
    world = World(
        files=fakes.FILES, text_fault=BadRequest("Its tokens are those of a DINO tower.", "Only CLIP has texts.")
    )
    async with world.app().run_test(size=(60, 15)) as pilot:
        await sample_opened(pilot)
        await pilot.press("t", *"a dog", "enter")
        await until(pilot, lambda: "those of a DINO tower." in shown(pilot.app))
        for words in ("Only CLIP has texts.", "norm of each patch", "image 9"):
            assert words in shown(pilot.app)
        await press_until(pilot, "n", "image 10")
        assert "DINO" not in shown(pilot.app)


async def test_how_norms_are_distributed_stands_beside_the_map():
    async with World(files=fakes.FILES).app().run_test(size=(80, 24)) as pilot:
        await sample_opened(pilot)
        assert "mean 1.76, deviation 1.74" in shown(pilot.app)


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (200, 50)])
async def test_patches_are_as_large_as_there_is_room(size):
    async with World(files=fakes.FILES).app().run_test(size=size) as pilot:
        await sample_opened(pilot)
        drawn = pilot.app.screen.query_one("#map").size
        assert (drawn.width, drawn.height) == {60: (14, 7), 80: (28, 14), 200: (84, 42)}[size[0]]
        assert "zeros" in shown(pilot.app) or size == (60, 15)
        if size == (60, 15):
            await press_until(pilot, "pagedown", "zeros")
