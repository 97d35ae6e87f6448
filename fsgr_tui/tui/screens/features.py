"""Place 4: the feature files that are here, and whether they may be trained on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.plan import Plan
from fsgr_tui.core.units import format_bytes, format_duration, printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import BAD, DIM, GOOD, WARN
from fsgr_tui.tui.screens.place import Place
from fsgr_tui.tui.seen import JobsSeen
from fsgr_tui.tui.services import FoundFile, Services
from fsgr_tui.tui.widgets.report import ManifestPanel, ReportPanel
from fsgr_tui.tui.widgets.rows import Column, Row, Rows
from fsgr_tui.tui.widgets.words import Words

if TYPE_CHECKING:
    from fsgr_tui.features.check import CheckReport

TELL_EVERY_S = 0.5
COLUMNS = (Column("check", 10), Column("size", 9), Column("age", 8), Column("file", keep_end=True))


class FeaturesPlace(Place):
    """Lists feature files and checks them."""

    NAME: ClassVar[str] = "Features"
    ABOUT: ClassVar[str] = (
        "Feature files in the features folder, and those that jobs wrote elsewhere. A check reads the header, all keys "
        "and 1,000 random rows; where an image root is known, the file is held against its images too. "
        "`fsgr-tui check --deep` reads every row."
    )
    AUTO_FOCUS: ClassVar[str | None] = "#files"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "check", "Check"),
        Binding("v", "view", "View an image"),
        Binding("r", "list_again", "Refresh"),
        Binding("e", "app.extract", "Extract"),
    ]

    class Listed(Message):
        """The files that were found, or why none could be."""

        def __init__(self, outcome: tuple[FoundFile, ...] | Problem) -> None:
            super().__init__()
            self.outcome = outcome

    class Progressed(Message):
        """A check has read so many rows of so many."""

        def __init__(self, path: str, step: int, total: int) -> None:
            super().__init__()
            self.path, self.step, self.total = path, step, total

    class Judged(Message):
        """What a check came to."""

        def __init__(self, path: str, outcome: CheckReport | Problem) -> None:
            super().__init__()
            self.path = path
            self.outcome = outcome

    def __init__(self, services: Services, features_dir: str) -> None:
        super().__init__()
        self._services = services
        self._features_dir, self._image_root = features_dir, ""
        self._outputs: tuple[str, ...] = ()
        self._files: tuple[FoundFile, ...] = ()
        self._outcomes: dict[str, CheckReport | Problem] = {}
        self._checking = self._wanted = ""
        self._table = Rows(COLUMNS, id="files")
        self._report, self._manifest = ReportPanel(), ManifestPanel()

    def body(self) -> ComposeResult:
        """The files above the report of the chosen one."""
        yield Words(id="where")
        yield self._table
        with Horizontal(id="judgement"):
            yield self._report
            yield self._manifest

    def show_plan(self, plan: Plan, features_dir: str) -> None:
        """Know where features are, and what images they are held against."""
        image_root = "" if plan.dataset.assumed else plan.dataset.root
        if (features_dir, image_root) != (self._features_dir, self._image_root):
            self._features_dir, self._image_root = features_dir, image_root
            self.action_list_again()

    def show_jobs(self, seen: JobsSeen) -> None:
        """Know what jobs wrote."""
        if seen.outputs != self._outputs:
            self._outputs = seen.outputs
            self.action_list_again()

    def point_at(self, what: str) -> None:
        """Choose a file and check it; as soon as this place is there, when it was never visited."""
        self._table.choose(what)
        if self.is_mounted:
            self._begin(what)
        else:
            self._wanted = what

    def on_mount(self) -> None:
        """Look for files."""
        self.action_list_again()
        self._draw()
        self._begin(self._wanted)

    def on_screen_resume(self) -> None:
        """Files may have come or gone."""
        self.action_list_again()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer a look at a finished file, and a check while none runs."""
        finished = any(file.path == self._table.chosen and not file.unfinished for file in self._files)
        if action == "check":
            return finished and not self._checking
        if action == "view":
            return finished
        return super().check_action(action, parameters)

    def action_list_again(self) -> None:
        """List the files again."""
        if self.is_mounted:
            self._fetch_files()

    def action_check(self) -> None:
        """Check the chosen file."""
        self._begin(self._table.chosen)

    def action_view(self) -> None:
        """Look at the images of the chosen file, patch by patch."""
        from fsgr_tui.tui.screens.sample import SampleScreen

        self.app.push_screen(SampleScreen(self._services, self._table.chosen))

    def _begin(self, path: str) -> None:
        if path and not self._checking:
            self._checking = path
            self._outcomes.pop(path, None)
            self._draw()
            self._report.show_words(Text("reading the header and all keys ...", DIM))
            self._fetch_report(path)

    @work(thread=True, exclusive=True, group="files")
    def _fetch_files(self) -> None:
        outcome: tuple[FoundFile, ...] | Problem
        try:
            outcome = self._services.files(self._features_dir, self._outputs)
        except Problem as problem:
            outcome = problem
        self.post_message(self.Listed(outcome))

    @work(thread=True, group="check")
    def _fetch_report(self, path: str) -> None:
        told_at = time.monotonic()

        def tell(step: int, total: int) -> None:
            nonlocal told_at
            if time.monotonic() - told_at >= TELL_EVERY_S:
                told_at = time.monotonic()
                self.post_message(self.Progressed(path, step, total))

        outcome: CheckReport | Problem
        try:
            outcome = self._services.check(path, self._image_root, tell)
        except Problem as problem:
            outcome = problem
        self.post_message(self.Judged(path, outcome))

    def on_features_place_listed(self, message: Listed) -> None:
        """Show the files."""
        where = self.query_one("#where", Words)
        if isinstance(message.outcome, Problem):
            where.say(Text(f" {printable(message.outcome.what)} {printable(message.outcome.fix)}", BAD))
            return
        self._files = message.outcome
        none = f" No feature files in {printable(self._features_dir)} yet; e extracts some." if not self._files else ""
        held = f", held against {printable(self._image_root)}" if self._image_root else ""
        where.say(
            Text(none, WARN) if none else Text(f" {printable(self._features_dir)} and what jobs wrote{held}", DIM)
        )
        self._draw()

    def on_features_place_progressed(self, message: Progressed) -> None:
        """Show how far a check is."""
        if message.path == self._table.chosen:
            self._report.show_words(Text(f"reading rows {message.step:,} of {message.total:,}", DIM))

    def on_features_place_judged(self, message: Judged) -> None:
        """Keep the outcome, and show it where its file is chosen."""
        self._checking = ""
        self._outcomes[message.path] = message.outcome
        self._draw()

    @on(Rows.Chosen, "#files")
    def _other_file(self, event: Rows.Chosen) -> None:
        event.stop()
        self._draw()

    def _draw(self) -> None:
        now = self._services.now()
        self._table.show([self._row(file, now) for file in self._files])
        self._table.display = self.query_one("#judgement").display = bool(self._files)
        chosen = self._table.chosen
        outcome = self._outcomes.get(chosen)
        if outcome is None:
            self._manifest.show(None)
            if not self._checking:
                unfinished = any(file.path == chosen and file.unfinished for file in self._files)
                words = (
                    "This extraction is not finished: u in Jobs goes on with it, or fsgr-tui extract with --resume."
                    if unfinished
                    else "c checks the chosen file."
                )
                self._report.show_words(Text(words, WARN if unfinished else DIM))
        elif isinstance(outcome, Problem):
            self._manifest.show(None)
            self._report.show_words(
                layout.lines(
                    Text.assemble((" BAD ", "reverse bold #f2777a"), f"  {printable(outcome.what)}"),
                    printable(outcome.fix),
                )
            )
        else:
            self._report.show(outcome)
            self._manifest.show(outcome)
        self.refresh_bindings()

    def _row(self, file: FoundFile, now: float) -> Row:
        age = format_duration(max(1.0, now - file.changed))
        return Row(file.path, (self._judgement(file), (format_bytes(file.bytes), ""), (age, DIM), (file.path, "")))

    def _judgement(self, file: FoundFile) -> tuple[str, str]:
        outcome = self._outcomes.get(file.path)
        if file.path == self._checking:
            return ("checking", WARN)
        if file.unfinished:
            return ("unfinished", WARN)
        if outcome is None:
            return ("-", DIM)
        good = not isinstance(outcome, Problem) and outcome.good
        return ("good", GOOD) if good else ("BAD", BAD)
