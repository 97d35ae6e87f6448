"""Place 4: the feature files that are here, and whether they may be trained on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.events import ScreenResume
from textual.message import Message

from fsgr_tui.core.errors import FoundFaults, Problem
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.plan import Plan
from fsgr_tui.core.units import printable
from fsgr_tui.service.kept_checks import PastCheck
from fsgr_tui.tui.format import BAD, DIM, WARN, WAY_B
from fsgr_tui.tui.screens.place import Place
from fsgr_tui.tui.seen import JobsSeen
from fsgr_tui.tui.services import FoundFile, Services
from fsgr_tui.tui.widgets.file_table import COLUMNS, file_row, judgement, unchecked_words
from fsgr_tui.tui.widgets.report import ManifestPanel, ReportPanel
from fsgr_tui.tui.widgets.rows import Row, Rows
from fsgr_tui.tui.widgets.words import Words

if TYPE_CHECKING:
    from fsgr_tui.features.check import CheckReport

TELL_EVERY_S = 0.5


class FeaturesPlace(Place):
    """Lists feature files, checks them, and opens what looks into them."""

    NAME: ClassVar[str] = mark("Features")
    ABOUT: ClassVar[str] = mark(
        "Feature files in the features folder, and those that jobs wrote elsewhere. A check reads the header, all keys "
        "and 1,000 random rows; where an image root is known, the file is held against its images too. "
        "`fsgr-tui check --deep` reads every row. What a check came to is remembered until the file changes. Two files "
        "are compared by marking one as A, choosing the other, and pressing d."
    )
    AUTO_FOCUS: ClassVar[str | None] = "#files"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "check", mark("Check")),
        Binding("v", "view", mark("View an image")),
        Binding("d", "compare", mark("Compare with A")),
        Binding("m", "mark", mark("Mark as A")),
        Binding("r", "list_again", mark("Refresh")),
        Binding("e", "app.extract", mark("Extract")),
    ]

    class Listed(Message):
        """The files that were found with their past checks, or why none could be."""

        def __init__(self, outcome: tuple[FoundFile, ...] | Problem, past: dict[str, PastCheck]) -> None:
            super().__init__()
            self.outcome, self.past = outcome, past

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
        self._checks: dict[str, PastCheck] = {}
        self._faults: dict[str, Problem] = {}
        self._checking = self._wanted = self._marked = ""
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

    def on_screen_resume(self, event: ScreenResume) -> None:  # noqa: ARG002 - Textual hands it over
        """Files may have come or gone."""
        self.action_list_again()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer a look at a finished file, and a check while none runs."""
        finished = any(file.path == self._table.chosen and not file.unfinished for file in self._files)
        if action == "check":
            return finished and not self._checking
        if action == "view":
            return finished
        if action == "mark":
            return finished and self._marked != self._table.chosen
        if action == "compare":
            return finished and self._marked not in ("", self._table.chosen)
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

    def action_mark(self) -> None:
        """Have the chosen file stand for A in a comparison."""
        self._marked = self._table.chosen
        self._draw()

    def action_compare(self) -> None:
        """Compare the marked file with the chosen one."""
        from fsgr_tui.tui.screens.two_files import TwoFilesScreen

        self.app.push_screen(TwoFilesScreen(self._services, self._marked, self._table.chosen))

    def _begin(self, path: str) -> None:
        if path and not self._checking:
            self._checking = path
            self._checks.pop(path, None)
            self._faults.pop(path, None)
            self._draw()
            self._report.show_words(Text(tr("reading the header and all keys ..."), DIM))
            self._fetch_report(path)

    @work(thread=True, exclusive=True, group="files")
    def _fetch_files(self) -> None:
        try:
            files = self._services.files(self._features_dir, self._outputs)
            past = self._services.recall(file.path for file in files)
        except Problem as problem:
            self.post_message(self.Listed(problem, {}))
        else:
            self.post_message(self.Listed(files, past))

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
        # Those of this session stay where the memory could not be written.
        self._checks |= {path: past for path, past in message.past.items() if path != self._checking}
        if self._marked not in (file.path for file in self._files):
            self._marked = ""
        self._draw()

    def on_features_place_progressed(self, message: Progressed) -> None:
        """Show how far a check is."""
        if message.path == self._table.chosen:
            self._report.show_words(
                Text(tr("reading rows {step:,} of {total:,}", step=message.step, total=message.total), DIM)
            )

    def on_features_place_judged(self, message: Judged) -> None:
        """Keep the outcome, and show it where its file is chosen."""
        self._checking = ""
        if isinstance(message.outcome, Problem) and not isinstance(message.outcome, FoundFaults):
            self._faults[message.path] = message.outcome
        else:
            self._checks[message.path] = PastCheck(self._services.now(), message.outcome)
        self._draw()

    @on(Rows.Chosen, "#files")
    def _other_file(self, event: Rows.Chosen) -> None:
        event.stop()
        self._draw()

    def _draw(self) -> None:
        now = self._services.now()
        self.query_one("#where", Words).say(self._where())
        self._table.show([self._row(file, now) for file in self._files])
        self._table.display = self.query_one("#judgement").display = bool(self._files)
        chosen = self._table.chosen
        fault, past = self._faults.get(chosen), self._checks.get(chosen)
        whole = past.outcome if past is not None and past.current else None
        self._manifest.show(None if whole is None or isinstance(whole, Problem) else whole)
        if fault is not None:
            self._report.show_fault(fault)
        elif past is not None and whole is not None:
            self._report.show(past, now)
        elif not self._checking:
            file = next((file for file in self._files if file.path == chosen), None)
            self._report.show_words(unchecked_words(file, past, now))
        self.refresh_bindings()

    def _where(self) -> Text:
        """Where the files are, or which of them waits to be compared."""
        folder = printable(self._features_dir)
        if not self._files:
            return Text(" " + tr("No feature files in {folder} yet; e extracts some.", folder=folder), WARN)
        if self._marked:
            name = printable(self._marked.rpartition("/")[2])
            return Text(" " + tr("A is {file}; choose another file, and d compares them.", file=name), WAY_B)
        if self._image_root:
            root = printable(self._image_root)
            return Text(" " + tr("{folder} and what jobs wrote, held against {root}", folder=folder, root=root), DIM)
        return Text(" " + tr("{folder} and what jobs wrote", folder=folder), DIM)

    def _row(self, file: FoundFile, now: float) -> Row:
        if file.path == self._checking:
            judged = (tr("checking"), WARN)
        elif file.path in self._faults:
            judged = (tr("failed"), BAD)
        else:
            judged = judgement(file, self._checks.get(file.path))
        return file_row(file, judged, now, marked=file.path == self._marked)
