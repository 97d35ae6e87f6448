"""Place 4: feature files and their checks."""

from fsgr_tui.features.opening import NotAFeatureFile
from fsgr_tui.tui.seen import JobCourse, JobsSeen
from tests.fakes import screen as fakes
from tests.fakes.piloting import opened, press_until, shown
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
        assert "[]" in shown(pilot.app)
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
