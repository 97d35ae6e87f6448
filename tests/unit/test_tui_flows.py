"""What a person does at the screen, with frozen facts behind it."""

import asyncio
import threading
from dataclasses import replace

import msgspec
import pytest
from rich.text import Text
from textual.widgets import Input

from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.units import GB
from fsgr_tui.features.reader import NotAFeatureFile
from fsgr_tui.tui.screens.asking import Help, Question
from fsgr_tui.tui.screens.intent import IntentScreen
from fsgr_tui.tui.seen import JobCourse, JobsSeen
from fsgr_tui.tui.services import FoundFile
from fsgr_tui.tui.widgets.words import Words
from tests.fakes import screen as fakes
from tests.fakes.screen import World

PATIENCE_S = 5.0


async def until(pilot, holds):
    """Wait for workers until something holds."""
    for _ in range(int(PATIENCE_S / 0.02)):
        await pilot.pause(0.02)
        if holds():
            return
    pytest.fail(f"it never came; on the screen:\n{shown(pilot.app)}")


def shown(app) -> str:
    """The screen as text."""
    width, height = app.size
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip)[:width] for strip in strips[:height])


async def opened(pilot):
    await until(pilot, lambda: "looking" not in shown(pilot.app))


async def press_until(pilot, key, words):
    await pilot.press(key)
    await until(pilot, lambda: words in shown(pilot.app))


async def type_into(pilot, name, text):
    """Fill one of the form's fields as a person would: go there, clear it, type."""
    row = pilot.app.screen.query_one("Form")._fields[name]
    row.query_one(Input).focus()
    await pilot.press("ctrl+e", "ctrl+u", *text)


async def test_the_screen_opens_with_the_verdict_and_where_it_stands():
    world = World()
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        text = shown(pilot.app)
        for words in (
            "PRECOMPUTED",
            "49 x 768 float16, 9.28 GB",
            "gpu07 · 2 GPUs · images",
            "66.4 GB free after",
            "fits",
        ):
            assert words in text


async def test_the_frame_is_there_before_the_plan():
    world = World(hold=threading.Event())
    async with world.app().run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "looking ..." in shown(pilot.app)
        assert "Verdict" in shown(pilot.app)
        world.hold.set()
        await opened(pilot)
        assert "PRECOMPUTED" in shown(pilot.app)


async def test_digits_lead_to_the_places_and_back():
    async with World().app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "2", "The same on the command line")
        await pilot.press("escape")
        await press_until(pilot, "3", "No job yet")
        await press_until(pilot, "4", "No feature files in /data/features yet")
        await press_until(pilot, "1", "Verdict")


async def test_digits_and_letters_go_into_a_field_that_is_in_use():
    async with World().app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "e", "Ready")
        await type_into(pilot, "weights", "random:31q")
        assert pilot.app.screen.query_one("Form").values["weights"] == "random:31q"
        assert "The same on the command line" in shown(pilot.app)
        assert "q Quit" not in shown(pilot.app)


async def test_another_intent_changes_the_verdict_at_once():
    async with World().app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "i", "What is planned")
        screen = pilot.app.screen
        screen.query_one("Form")._fields["quick_check"]._editor.focus()
        await pilot.press("right")
        # The form itself says what would follow ...
        await until(pilot, lambda: "REALTIME" in str(screen.query_one("#outcome", Words)._said))
        # ... and Enter takes it.
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(pilot.app.screen, IntentScreen) and "REALTIME" in shown(pilot.app))
        assert "PRECOMPUTED" not in shown(pilot.app)


async def test_leaving_the_intent_changes_nothing():
    async with World().app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "i", "What is planned")
        await type_into(pilot, "epochs", "1")
        await pilot.press("escape")
        await until(pilot, lambda: "What is planned" not in shown(pilot.app))
        assert "PRECOMPUTED" in shown(pilot.app)


@pytest.mark.parametrize(
    ("name", "text", "words"), [("epochs", "many", "is no whole number"), ("image_root", "/missing", "is not there")]
)
async def test_a_wrong_intent_is_said_below_its_field_and_does_not_close(name, text, words):
    async with World().app().run_test(size=(100, 40)) as pilot:
        await opened(pilot)
        await press_until(pilot, "i", "What is planned")
        await type_into(pilot, name, text)
        await pilot.press("enter")
        await until(pilot, lambda: words in shown(pilot.app))
        lines = shown(pilot.app).splitlines()
        at = next(number for number, line in enumerate(lines) if words in line)
        assert text in lines[at - 1]
        assert isinstance(pilot.app.screen, IntentScreen)


async def test_an_image_root_that_is_missing_is_told_with_the_remedy():
    async with World().app("/missing").run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        text = shown(pilot.app)
        assert "The image root /missing is not there." in text
        assert "Look at --image-root." in text


async def test_a_changed_machine_changes_the_verdict():
    world = World()
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        world.machine = fakes.CRAMPED
        pilot.app._plan_place._follow_machine()
        await until(pilot, lambda: "DOES NOT FIT" in shown(pilot.app))
        assert "REALTIME" in shown(pilot.app)


async def test_readings_that_look_the_same_draw_nothing():
    world = World()
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        drawn = []
        for words in pilot.app.screen.query(Words):
            words.update = drawn.append
        world.machine = fakes.machine(82 * GB + 1_000_000)
        planned = pilot.app._plan_place._plan
        pilot.app._plan_place._follow_machine()
        await until(pilot, lambda: pilot.app._plan_place._plan is not planned)
        assert drawn == []


async def test_the_reason_of_a_criterion_follows_the_cursor():
    async with World().app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        assert "49 x 768 float16 takes 9.28 GB" in shown(pilot.app)
        await pilot.press("down", "down")
        await until(pilot, lambda: "Say --experiments N" in shown(pilot.app))


async def test_a_panel_can_have_the_whole_room_and_give_it_back():
    async with World().app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "z", "quick check")
        assert "Verdict" not in shown(pilot.app)
        await press_until(pilot, "escape", "Verdict")


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
        pilot.app.screen.query_one("Form")._fields["existing"]._editor.focus()
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


async def test_a_running_job_is_followed():
    world = World(seen=JobsSeen((fakes.RUNNING, fakes.FAILED), fakes.COURSE))
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "41,200 of 123,287 images")
        for words in (
            "512 images/s",
            "3 min left",
            "encode 97%",
            "encode-bound",
            "2 images refused",
            "cuda:1, fp16, batch 64",
        ):
            assert words in shown(pilot.app)
        progress = msgspec.structs.replace(fakes.RUNNING.progress, step=60_000, rate=300.0)
        world.seen = replace(
            world.seen, statuses=(msgspec.structs.replace(fakes.RUNNING, progress=progress), fakes.FAILED)
        )
        await until(pilot, lambda: "60,000 of 123,287 images" in shown(pilot.app))
        assert "300 images/s" in shown(pilot.app)


async def test_the_cause_of_a_failed_job_comes_with_its_remedy_and_its_line():
    world = World(seen=JobsSeen((fakes.RUNNING, fakes.FAILED), fakes.COURSE))
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "512 images/s")
        await press_until(pilot, "down", "There is no space left on /data (ext4).")
        assert "Free 4.1 GB, then extract with --resume." in shown(pilot.app)
        assert "OSError: [Errno 28] No space left on device" in shown(pilot.app)
        assert "s Stop" not in shown(pilot.app)


@pytest.mark.parametrize(("answer", "stopped"), [("n", []), ("y", [fakes.RUNNING.name])])
async def test_stopping_asks_once(answer, stopped):
    world = World(seen=JobsSeen((fakes.RUNNING,), fakes.COURSE))
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "512 images/s")
        await press_until(pilot, "s", f"Stop {fakes.RUNNING.name}?")
        await pilot.press(answer)
        await pilot.pause(0.3)
        assert world.stopped == stopped


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


async def test_help_explains_the_place_and_its_keys():
    async with World().app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "No job yet")
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(pilot.app.screen, Help))
        assert "Every job that was started" in shown(pilot.app)
        assert "Go to Plan" in shown(pilot.app)
        await press_until(pilot, "escape", "No job yet")


async def test_every_key_of_the_place_is_a_command_of_the_palette():
    async with World().app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        titles = {command.title for command in pilot.app.get_system_commands(pilot.app.screen)}
        assert {"Extract", "Intent", "Refresh", "Enlarge", "Help", "Quit", "Go to Jobs"} <= titles
        await pilot.press("ctrl+p")
        await pilot.press(*"jobs", "enter")
        await until(pilot, lambda: "No job yet" in shown(pilot.app))


NASTY = "/data/[run]1/[/]/[@click=app.quit]训练集 \x1b[31m"


async def test_a_path_is_never_markup_and_never_an_escape():
    """Brackets, wide characters and control characters in every place that shows paths."""
    file = FoundFile(f"{NASTY}/f.hdf5", 10, fakes.NOW)
    failed = msgspec.structs.replace(
        fakes.FAILED, name="train-[/]-1", command=("fsgr-tui", NASTY), result={"output": file.path}, notices=(NASTY,)
    )
    report = replace_rows(fakes.BAD_REPORT, NASTY)
    here = msgspec.structs.replace(
        fakes.machine(), disks=tuple(fakes.disk(path, mount=NASTY) for path in (fakes.ROOT, fakes.FEATURES))
    )
    world = World(
        machine=here, seen=JobsSeen((failed,), JobCourse(failed.name, (), (NASTY,))), files=(file,), outcome=report
    )
    world.facts = msgspec.structs.replace(fakes.dataset(), root=NASTY)
    async with world.app(NASTY).run_test(size=(200, 50)) as pilot:
        await opened(pilot)
        for key, words in (
            ("1", "[run]1"),
            ("2", "[run]1"),
            ("3", "[/]"),
            ("4", "[run]1"),
            ("c", "1 fault"),
            ("z", "BAD"),
            ("escape", "[run]1"),
        ):
            await press_until(pilot, key, words)
            assert "\x1b" not in shown(pilot.app), key
            assert "\\x1b" in shown(pilot.app), key
            if key == "2":
                await pilot.press("escape")
        await pilot.press("1", "i")
        await until(pilot, lambda: "What is planned" in shown(pilot.app))
        assert "\x1b" not in shown(pilot.app)


def replace_rows(report, words):
    rows = (*report.rows, msgspec.structs.replace(report.rows[1], found=words, detail=words))
    return msgspec.structs.replace(report, rows=rows, headline=f"1 fault: {words}")


async def test_a_name_that_is_no_utf_8_is_shown_and_does_no_harm():
    lone = "/data/caf\udce9"
    world = World(
        files=(FoundFile(f"{lone}/f.hdf5", 10, fakes.NOW),), facts=msgspec.structs.replace(fakes.dataset(), root=lone)
    )
    async with world.app(lone).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "e", "caf")
        await pilot.press("escape")
        await press_until(pilot, "4", "caf\\xe9")


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 50)])
async def test_every_place_draws_at_every_size(size):
    world = World(seen=JobsSeen((fakes.RUNNING, fakes.FAILED), fakes.COURSE), files=fakes.FILES)
    async with world.app().run_test(size=size) as pilot:
        await opened(pilot)
        for key in ("2", "escape", "3", "4", "c", "1", "i", "escape", "question_mark", "escape", "ctrl+p", "escape"):
            await pilot.press(key)
            await pilot.pause(0.05)
        assert "Verdict" in shown(pilot.app)


async def test_too_small_a_window_says_so_and_recovers():
    async with World().app().run_test(size=(40, 10)) as pilot:
        await pilot.pause(0.1)
        assert "needs 60 x 15" in shown(pilot.app)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "PRECOMPUTED" in shown(pilot.app))
        await pilot.resize_terminal(20, 4)
        await until(pilot, lambda: "PRECOMPUTED" not in shown(pilot.app))


async def test_ascii_only_means_every_character():
    world = World(seen=JobsSeen((fakes.RUNNING,), fakes.COURSE), files=fakes.FILES)
    async with world.app(ascii_only=True).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        for key in ("2", "escape", "3", "4", "c", "1", "i", "escape", "question_mark", "escape", "ctrl+p"):
            await pilot.press(key)
            await pilot.pause(0.05)
            assert shown(pilot.app).isascii(), key


async def test_a_service_that_hangs_leaves_the_keys_alive():
    world = World(hold=threading.Event())
    async with world.app().run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.1)
        await press_until(pilot, "3", "No job yet")
        await press_until(pilot, "1", "looking ...")
        world.hold.set()


async def fail_within(app) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)

        def fail() -> None:
            raise RuntimeError("on purpose")

        app.call_next(fail)
        await asyncio.sleep(0.2)


async def test_a_fault_of_our_own_is_kept_for_after_the_screen():
    app = World().app()
    with pytest.raises(RuntimeError, match="on purpose"):
        await fail_within(app)
    assert "on purpose" in app.crash


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


def test_the_said_text_of_words_is_text():
    assert isinstance(Words("x")._said, Text)
