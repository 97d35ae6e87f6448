"""Place 1 and the intent, with frozen facts behind them."""

import threading

import pytest

from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.core.units import GB
from fsgr_tui.tui.screens.intent import IntentScreen
from fsgr_tui.tui.widgets.words import Words
from tests.fakes import screen as fakes
from tests.fakes.piloting import opened, press_until, shown, type_into, until
from tests.fakes.screen import World


async def test_the_screen_opens_with_the_verdict_and_where_it_stands():
    world = World()
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        text = shown(pilot.app)
        for words in (
            "PRECOMPUTED",
            "49 x 768 float16, 9.28 GB",
            "gpu07 · 2 GPUs · images",
            "66.3 GB free after",
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


async def test_a_plan_that_was_lost_for_a_moment_comes_back_by_itself():
    world = World()
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        place = pilot.app._plan_place
        world.plan_fault = MachineCannot("/data: Stale file handle.", "Look again when it is back.")
        place._follow_machine()
        await until(pilot, lambda: "Stale file handle" in shown(pilot.app))
        world.plan_fault = None
        place._follow_machine()
        await until(pilot, lambda: "PRECOMPUTED" in shown(pilot.app))
