"""Place 2: the extraction form."""

from dataclasses import replace

import msgspec
import pytest

from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.units import GB
from fsgr_tui.tui.screens.asking import Question
from tests.fakes import screen as fakes
from tests.fakes.piloting import opened, press_until, shown, type_into, until
from tests.fakes.screen import World


async def test_digits_and_letters_go_into_a_field_that_is_in_use():
    async with World().app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "e", "Ready")
        await type_into(pilot, "weights", "random:31q")
        assert pilot.app.screen.query_one("Form").values["weights"] == "random:31q"
        assert "The same on the command line" in shown(pilot.app)
        assert "q Quit" not in shown(pilot.app)


async def test_the_form_is_filled_in_from_the_plan_and_shows_its_command():
    async with World().app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "e", "Ready")
        text = shown(pilot.app)
        assert "/data/coco/images" in text
        assert "coco_karpathy_vit-b-16_7x7.hdf5" in text
        assert "fsgr-tui extract --image-root /data/coco/images --split karpathy" in text


async def test_a_fault_stands_below_the_field_that_it_belongs_to():
    world = World(fault=MachineCannot("There is no weights file /x/model.pt.", "Look at --weights."))
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("e")
        await until(pilot, lambda: "There is no weights file" in shown(pilot.app))
        lines = shown(pilot.app).splitlines()
        at = next(number for number, line in enumerate(lines) if "There is no weights file" in line)
        assert "weights" in lines[at - 1]
        assert "Look at --weights." in lines[at] + lines[at + 1]
        await pilot.press("ctrl+s")
        await pilot.pause(0.2)
        assert world.started == []
        world.fault = None
        await type_into(pilot, "weights", "random:0")
        await until(pilot, lambda: "untrained" in shown(pilot.app))
        assert "There is no weights file" not in shown(pilot.app)
        assert "Ready" in shown(pilot.app)


async def test_a_started_extraction_is_shown_among_the_jobs():
    world = World()
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "e", "Ready")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "41,200 of 123,287 images" in shown(pilot.app))
        (request,) = world.started
        assert request.image_root == fakes.ROOT
        assert request.splits == ("karpathy",)
        assert "3 Jobs 1*" in shown(pilot.app)
        assert pilot.app.last_words == (f"{fakes.RUNNING.name} keeps running: fsgr-tui attach {fakes.RUNNING.name}",)


@pytest.mark.parametrize(("answer", "started"), [("n", 0), ("escape", 0), ("y", 1)])
async def test_overwriting_asks_once(answer, started):
    world = World()
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "e", "Ready")
        pilot.app.screen.query_one("Form")._fields["extract_existing"]._editor.focus()
        await pilot.press("left", "ctrl+s")
        await until(pilot, lambda: isinstance(pilot.app.screen, Question))
        assert "Replace /data/features/coco_karpathy_vit-b-16_7x7.hdf5?" in shown(pilot.app)
        await pilot.press(answer)
        await pilot.pause(0.3)
        assert len(world.started) == started


async def test_the_form_follows_the_plan_until_somebody_types():
    world = World()
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "e", "Ready")
        await pilot.press("escape")
        world.machine = fakes.machine(28 * GB)
        place = pilot.app.screen
        fresh = fakes.plan(msgspec.structs.replace(place._plan.intent, grid="native"))
        place.show_plan(fresh, fakes.FEATURES)
        await until(pilot, lambda: place.query_one("Form").values["grid"] == "native")
        await type_into(pilot, "output", "/mine.hdf5")
        place.show_plan(fakes.plan(), fakes.FEATURES)
        await pilot.pause(0.2)
        assert place.query_one("Form").values["output"] == "/mine.hdf5"


async def test_a_problem_of_a_started_job_goes_back_to_the_form():
    world = World()

    def refuse(_prepared):
        raise BadRequest("--output-path went bad.", "Choose another.")

    services = replace(world.services(), start=refuse)
    app = type(world.app())(services, fakes.ROOT, fakes.FEATURES)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "e", "Ready")
        await press_until(pilot, "ctrl+s", "--output-path went bad.")
