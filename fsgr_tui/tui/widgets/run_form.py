"""The run form: shows the fields that matter for what is run, and keeps those in step that follow from others."""

from __future__ import annotations

from rich.text import Text

from fsgr_tui.core.language import mark, tr
from fsgr_tui.tui.format import WARN
from fsgr_tui.tui.run_fields import AFTER, EXTRACT, FIELDS, PRECOMPUTED, REALTIME, following, shown_fields
from fsgr_tui.tui.seen import JobsSeen
from fsgr_tui.tui.widgets.form import Form
from fsgr_tui.tui.widgets.queue import waiting_jobs

TITLES = {
    EXTRACT: mark("Extract grid features"),
    PRECOMPUTED: mark("Train on a feature file"),
    REALTIME: mark("Train with CLIP in every step"),
}


class RunForm(Form):
    """Remembers its texts and the field that was left.

    Attributes:
        texts: what it held at the last look; those of an empty form name nothing to run.
    """

    def __init__(self) -> None:
        super().__init__(FIELDS, {})
        self.texts: dict[str, str] = {field.name: "" for field in FIELDS}
        self._left = "what"

    def fill_in(self, texts: dict[str, str]) -> None:
        """Take other texts."""
        self.fill(texts)
        self.texts = self.values
        self.show_only(shown_fields(self.texts))

    def follow(self, features_dir: str, seen: JobsSeen) -> None:
        """Let an edit have its consequences in other fields."""
        before = self.texts
        now = {**self.values, **following(before, self.values, features_dir)}
        if now["start"] == AFTER != before["start"] and not now["after"]:
            now["after"] = next((status.name for status in seen.running), "")
        self.fill_in(now)

    def leave(self) -> None:
        """Keep the field in focus in mind."""
        self._left = self.entered or self._left

    def go_back(self) -> None:
        """Put the focus into the field that was left, while it is asked."""
        names = {field.name for field in shown_fields(self.texts)}
        self.enter(self._left if self._left in names else "what")

    def say_title(self, seen: JobsSeen) -> None:
        """Say what is run, and that jobs wait."""
        title = Text.assemble(" ", tr(TITLES[self.texts["what"]]), " ") if self.texts["what"] else Text()
        if waiting := len(waiting_jobs(seen)):
            title.append(tr("· {count} wait in the queue: ^g ", count=waiting), WARN)
        self.border_title = title
