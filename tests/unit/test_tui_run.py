"""Place 2: the form for an extraction and for both trainings, its preflight, and the queue."""

import shlex
import threading
from dataclasses import replace

import msgspec
import pytest

from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.job import JobStatus
from fsgr_tui.core.preflight import Finding
from fsgr_tui.core.units import GB
from fsgr_tui.tui.run_fields import AFTER, EXTRACT, IN_TURN, PRECOMPUTED, REALTIME
from fsgr_tui.tui.screens.asking import Question
from fsgr_tui.tui.screens.command import CommandScreen
from fsgr_tui.tui.seen import JobsSeen
from tests.fakes import screen as fakes
from tests.fakes.piloting import choose, opened, press_until, shown, type_into, until
from tests.fakes.screen import World

WAITING = tuple(
    JobStatus(name, "queued", "train", ("fsgr-tui", "train", "--exp-name", name), f"/runs/{name}", waiting=what, note=note)
    for name, what, note in (
        ("train-3", "jobs", "waits for train-2"),
        ("train-2", "queue", "waits for its turn, behind extract-1124-101500-ab12"),
    )
)  # fmt: skip
BUSY = JobsSeen((*WAITING, fakes.RUNNING), fakes.COURSE)


def form(pilot):
    return pilot.app.screen.query_one("Form")


async def at_form(pilot, key="e"):
    await opened(pilot)
    await press_until(pilot, key, "Ready")


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


async def test_a_fault_of_another_field_leaves_the_field_in_use_in_sight_until_it_is_to_be_started():
    world = World(fault=BadRequest("/data/features/f.hdf5 exists already.", "Use --resume, or --overwrite."))
    async with world.app().run_test(size=(60, 15)) as pilot:
        await opened(pilot)
        await press_until(pilot, "e", 'look at the field "if it exists"')
        assert "what to run" in shown(pilot.app)
        assert form(pilot).entered == "what"
        await press_until(pilot, "ctrl+s", "! /data/features/f.hdf5 exists already.")
        assert form(pilot).entered == "extract_existing"
        assert world.started == []


async def test_the_form_is_looked_at_again_when_a_job_has_ended_and_when_its_place_is_entered():
    world = World(seen=BUSY, fault=BadRequest("There is no file f.hdf5.", "Look at --features-path."))
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "t", 'look at the field "feature file"')
        world.fault, world.seen = None, JobsSeen(WAITING)
        await until(pilot, lambda: "5,000 annotated images" in shown(pilot.app))
        await pilot.press("escape")
        await press_until(pilot, "1", "Verdict")
        world.fault = BadRequest("There is no file f.hdf5.", "Look at --features-path.")
        await press_until(pilot, "2", 'look at the field "feature file"')


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


@pytest.mark.parametrize("mode", [PRECOMPUTED, REALTIME])
async def test_a_training_is_filled_in_from_the_plan_and_started(mode):
    world = World()
    async with world.app().run_test(size=(120, 40)) as pilot:
        await at_form(pilot)
        await choose(pilot, "what", mode)
        await until(pilot, lambda: "5,000 annotated images" in shown(pilot.app))
        assert "--annotation-folder m2_annotations" in shown(pilot.app)
        await type_into(pilot, "annotations", "/data/m2")
        await type_into(pilot, "epochs", "3")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "41,200 of 123,287 images" in shown(pilot.app))
        (request,) = world.started
        assert f"train {request.spec.mode}" == mode
        assert (request.spec.annotation_folder, request.spec.epochs) == ("/data/m2", 3)
        assert (request.image_root, bool(request.spec.features)) == (
            ("", True) if mode == PRECOMPUTED else (fakes.ROOT, False)
        )


async def test_the_training_is_one_key_from_the_plan():
    async with World().app().run_test(size=(80, 24)) as pilot:
        await at_form(pilot, "t")
        assert form(pilot).values["what"] == PRECOMPUTED
        assert "Train on a feature file" in shown(pilot.app)
        await pilot.press("1")
        await press_until(pilot, "e", "Extract grid features")
        assert form(pilot).values["what"] == EXTRACT


async def test_a_plan_of_realtime_training_offers_that():
    async with World(machine=fakes.CRAMPED).app().run_test(size=(80, 24)) as pilot:
        await at_form(pilot, "2")
        assert form(pilot).values["what"] == REALTIME


async def test_what_was_chosen_stays_when_the_form_is_filled_in_again():
    async with World().app().run_test(size=(80, 24)) as pilot:
        await at_form(pilot)
        await choose(pilot, "what", REALTIME)
        await type_into(pilot, "epochs", "3")
        await press_until(pilot, "ctrl+r", "20")
        await until(pilot, lambda: form(pilot).values["epochs"] == "20")
        assert form(pilot).values["what"] == REALTIME


async def test_a_bad_number_of_a_training_stands_at_its_field_and_there_is_no_command():
    async with World().app().run_test(size=(80, 24)) as pilot:
        await at_form(pilot, "t")
        await type_into(pilot, "epochs", "many")
        await until(pilot, lambda: "! 'many' is no whole number." in shown(pilot.app))
        lines = shown(pilot.app).splitlines()
        at = next(number for number, line in enumerate(lines) if "! 'many'" in line)
        assert "epochs" in lines[at - 1]
        assert "fsgr-tui train" not in shown(pilot.app)
        await pilot.press("ctrl+y")
        await pilot.pause(0.1)
        assert not isinstance(pilot.app.screen, CommandScreen)


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (200, 50)])
async def test_the_command_is_copied_and_stands_alone_on_the_screen(size):
    async with World().app().run_test(size=size) as pilot:
        await at_form(pilot, "t")
        await type_into(pilot, "features", "/data/with space/f.hdf5")
        await press_until(pilot, "ctrl+y", "Copied")
        expected = [
            "fsgr-tui", "train", "--mode", "precomputed", "--annotation-folder", "m2_annotations",
            "--features-path", "/data/with space/f.hdf5", "--batch-size", "150",
        ]  # fmt: skip
        assert shlex.split(pilot.app.clipboard) == expected
        # What a mouse selects is a command too: nothing stands beside it.
        alone = shown(pilot.app).partition("Copied")[0]
        assert shlex.split("\n".join(line.rstrip() for line in alone.splitlines()).replace("\\\n", " ")) == expected
        await press_until(pilot, "escape", "Train on a feature file")


async def test_preflight_of_the_form_is_a_table_at_the_place_with_remedies():
    stop = Finding("captions", "5 images have none", "one each", "stop", "Extract them too.")
    world = World(findings=(Finding("weights", "openai, in the cache"), stop))
    async with world.app().run_test(size=(80, 24)) as pilot:
        await at_form(pilot, "t")
        await press_until(pilot, "ctrl+t", "1 thing would stop or spoil it.")
        text = shown(pilot.app)
        assert text.index("5 images have none") < text.index("openai, in the cache")
        assert "> Extract them too." in text
        assert world.preflighted[0][:3] == ("train", "--mode", "precomputed")
        await pilot.press("down")
        await until(pilot, lambda: "Extract them too" not in shown(pilot.app))
        await press_until(pilot, "escape", "Train on a feature file")
        assert form(pilot).entered == "what"


async def test_a_preflight_tells_that_it_looks_and_can_be_left():
    world = World()
    async with world.app().run_test(size=(80, 24)) as pilot:
        await at_form(pilot)
        form(pilot).enter("weights")
        world.hold = threading.Event()
        await press_until(pilot, "ctrl+t", "looking at everything that would stop or spoil it")
        await until(pilot, lambda: " 1 s" in shown(pilot.app))
        await press_until(pilot, "escape", "Extract grid features")
        await pilot.pause()
        assert form(pilot).entered == "weights"
        world.hold.set()
        # It has gone on meanwhile.
        await until(pilot, lambda: world.preflighted)
        place = pilot.app.screen
        await until(pilot, lambda: not place.query_one("#findings").looking)


async def test_a_start_that_is_refused_beside_the_findings_goes_back_to_the_form():
    world = World()
    async with world.app().run_test(size=(80, 24)) as pilot:
        await at_form(pilot, "t")
        await press_until(pilot, "ctrl+t", "openai, in the cache")
        world.fault = BadRequest("There is no file f.hdf5.", "Look at --features-path.")
        await press_until(pilot, "ctrl+s", "! There is no file f.hdf5.")
        assert form(pilot).entered == "features"


async def test_findings_of_another_command_are_not_shown():
    world = World()
    async with world.app().run_test(size=(120, 40)) as pilot:
        await at_form(pilot)
        await press_until(pilot, "ctrl+t", "openai, in the cache")
        await type_into(pilot, "weights", "random:0")
        await until(pilot, lambda: "openai, in the cache" not in shown(pilot.app))


async def test_the_queue_tells_in_order_what_each_job_waits_for_and_gives_one_out():
    world = World(seen=BUSY)
    async with world.app().run_test(size=(80, 24)) as pilot:
        await at_form(pilot)
        assert "2 wait in the queue" in shown(pilot.app)
        await press_until(pilot, "ctrl+g", "waits for its turn, behind extract-1124")
        text = shown(pilot.app)
        assert text.index("train-2 ") < text.index("train-3 ")
        assert "other jobs" in text
        await pilot.press("x")
        await until(pilot, lambda: isinstance(pilot.app.screen, Question))
        assert "Take train-2 out of the queue?" in shown(pilot.app)
        await pilot.press("n")
        await pilot.pause(0.1)
        assert world.stopped == []
        await pilot.press("down", "x")
        await until(pilot, lambda: isinstance(pilot.app.screen, Question))
        await pilot.press("y")
        await until(pilot, lambda: world.stopped == ["train-3"])


async def test_an_empty_queue_says_so_and_offers_nothing_to_take_out():
    async with World().app().run_test(size=(80, 24)) as pilot:
        await at_form(pilot)
        await press_until(pilot, "ctrl+g", "No job waits.")
        assert "Take it out" not in shown(pilot.app)
        await pilot.press("x")
        await pilot.pause(0.1)
        assert not isinstance(pilot.app.screen, Question)
        await press_until(pilot, "escape", "Extract grid features")


async def test_a_start_after_a_job_offers_the_newest_one_and_may_miss_what_that_one_makes():
    world = World(seen=JobsSeen(WAITING))
    async with world.app().run_test(size=(120, 40)) as pilot:
        await at_form(pilot, "t")
        world.fault = BadRequest("There is no file /data/features/f.hdf5.", "Look at --features-path.")
        await choose(pilot, "start", AFTER)
        assert form(pilot).values["after"] == "train-3"
        await until(pilot, lambda: "Something is missing now" in shown(pilot.app))
        await until(pilot, lambda: "! There is no file" in shown(pilot.app))
        assert "It begins when train-3 has ended well." in shown(pilot.app)
        assert "fsgr-tui run --after train-3 -- fsgr-tui train" in shown(pilot.app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: world.orders)
        assert world.orders[0].after == ("train-3",)


async def test_a_start_in_turn_is_ordered_so():
    world = World()
    async with world.app().run_test(size=(120, 40)) as pilot:
        await at_form(pilot)
        await choose(pilot, "start", IN_TURN)
        await until(pilot, lambda: "in turn with the other jobs" in shown(pilot.app))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: world.orders)
        assert world.orders[0].in_turn


async def test_a_fault_of_the_last_field_is_in_sight_while_it_is_typed():
    async with World().app().run_test(size=(60, 15)) as pilot:
        await at_form(pilot)
        await choose(pilot, "start", AFTER)
        await pilot.press("down", "x", "backspace")
        await until(pilot, lambda: "! After which job?" in shown(pilot.app))


async def test_no_free_gpu_and_what_is_left_out_are_said_before_the_start():
    world = World()

    def prepare(order):
        ready = world.prepare(order)
        run = msgspec.structs.replace(
            ready.run, notices=("No GPU is free now: job a holds it. The job waits for one.",)
        )
        return replace(
            ready, run=run, prepared=msgspec.structs.replace(ready.prepared, notices=("METEOR is left out (no java).",))
        )

    app = type(world.app())(replace(world.services(), prepare=prepare), fakes.ROOT, fakes.FEATURES)
    async with app.run_test(size=(120, 40)) as pilot:
        await at_form(pilot, "t")
        for words in ("No GPU is free now: job a holds it.", "METEOR is left out (no java)."):
            assert words in shown(pilot.app)


async def test_training_anew_asks_once():
    world = World()
    async with world.app().run_test(size=(80, 24)) as pilot:
        await at_form(pilot, "t")
        await choose(pilot, "train_existing", "overwrite")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(pilot.app.screen, Question))
        assert "Train fsgr anew?" in shown(pilot.app)
        await pilot.press("n")
        await choose(pilot, "dry_run", "yes")
        # A dry run keeps nothing, so there is nothing to ask.
        await pilot.press("ctrl+s")
        await until(pilot, lambda: world.started)


@pytest.mark.parametrize("key", ["tab", "enter", "shift+tab"])
async def test_the_focus_comes_back_to_the_field_that_was_left(key):
    async with World().app().run_test(size=(80, 24)) as pilot:
        await at_form(pilot)
        form(pilot).enter("weights")
        await pilot.press("escape")
        assert pilot.app.focused is None
        await pilot.press(key)
        await pilot.pause()
        assert form(pilot).entered == "weights"


async def test_arrows_and_enter_stay_in_the_form():
    async with World().app().run_test(size=(60, 15)) as pilot:
        await at_form(pilot)
        await pilot.press("up")
        assert form(pilot).entered == "what"
        await pilot.press(*["down"] * 30)
        assert form(pilot).entered == "start"
        await pilot.press("enter")
        assert form(pilot).entered == "start"
        await pilot.press("up")
        assert form(pilot).entered == "extract_existing"


@pytest.mark.parametrize("mode", [EXTRACT, PRECOMPUTED, REALTIME])
async def test_every_field_is_in_sight_when_it_is_used_in_a_small_window(mode):
    async with World().app().run_test(size=(60, 15)) as pilot:
        await at_form(pilot)
        await choose(pilot, "what", mode)
        await until(pilot, lambda: "Ready" in shown(pilot.app))
        last = ""
        while form(pilot).entered != last:
            last = form(pilot).entered
            row = pilot.app.focused.parent.parent
            await until(pilot, lambda row=row: form(pilot).region.contains_region(row.region))
            text = shown(pilot.app)
            assert "^s Start" in text
            assert "fsgr-tui" in text.partition("The same on the command line")[2]
            await pilot.press("down")
        assert last == "start"


async def test_a_choice_without_room_for_all_its_values_shows_the_chosen_one():
    async with World().app().run_test(size=(60, 15)) as pilot:
        await at_form(pilot)
        for what in (PRECOMPUTED, REALTIME, EXTRACT):
            await pilot.press("right")
            await until(pilot, lambda what=what: f"[{what}]" in shown(pilot.app))
        # As a wider terminal shows them.
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "[extract] train precomputed  train realtime" in shown(pilot.app))


async def test_a_large_window_shows_the_form_the_command_the_findings_and_the_queue():
    async with World(seen=BUSY).app().run_test(size=(200, 50)) as pilot:
        await at_form(pilot)
        text = shown(pilot.app)
        for words in ("if it exists", "fsgr-tui extract", "^t looks at everything", "train-2", "its turn"):
            assert words in text
        await press_until(pilot, "ctrl+t", "openai, in the cache")
        assert "fsgr-tui extract" in shown(pilot.app)
