"""One image of a feature file on top of the Features place: its patches as a map, and its values."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.message import Message
from textual.widgets import Input

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.units import printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import BAD, DIM, key_words
from fsgr_tui.tui.screens.asking import Dialog
from fsgr_tui.tui.services import Services
from fsgr_tui.tui.widgets.heat import heat
from fsgr_tui.tui.widgets.values import BESIDE_CELLS, beside
from fsgr_tui.tui.widgets.words import Words

if TYPE_CHECKING:
    from fsgr_tui.features.sample import Sample


class SampleScreen(Dialog[None]):
    """Walks through the images of a file; arrows choose a patch, a text is typed."""

    NAME: ClassVar[str] = mark("An image's patches")
    ABOUT: ClassVar[str] = mark(
        "One image of a feature file: the norm of each patch, or how alike each patch is to one that the arrows choose, "
        "or to a text. A text that was not asked for before loads the model, which takes seconds to minutes; the rest "
        "goes on meanwhile."
    )
    MORE_KEYS: ClassVar[tuple[tuple[str, str], ...]] = ((mark("PgUp PgDn"), mark("Scroll")),)
    AUTO_FOCUS: ClassVar[str | None] = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "walk(1)", mark("Next image")),
        Binding("p", "walk(-1)", mark("Previous image")),
        Binding("up", "move(-1, 0)", mark("Choose a patch"), show=False),
        Binding("down", "move(1, 0)", show=False),
        Binding("left", "move(0, -1)", show=False),
        Binding("right", "move(0, 1)", show=False),
        Binding("t", "text", mark("Similarity to a text")),
        Binding("x", "norms", mark("Norms")),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("escape,q", "close", mark("Close")),
    ]

    class Looked(Message):
        """What one image is like, or why it cannot be shown."""

        def __init__(self, number: int, outcome: Sample | Problem) -> None:
            super().__init__()
            self.number, self.outcome = number, outcome

    def __init__(self, services: Services, path: str) -> None:
        super().__init__()
        self._services, self._path = services, path
        self._position = self._asked = 0
        self._patch: tuple[int, int] | None = None
        self._text = ""
        self._sample: Sample | None = None
        self._fault: Problem | None = None
        self._head, self._map, self._beside = Words(id="log-title"), Words(id="map"), Words(id="beside-map")
        self._said, self._foot = Words(id="sample-said"), Words(id="log-keys")
        self._input = Input(placeholder=tr("a text, such as: a red square"), id="sample-text")

    def compose(self) -> ComposeResult:
        """The image's line, the map beside its words, what is under way or failed, the text, the keys."""
        yield self._head
        with VerticalScroll(id="sample", can_focus=False), Horizontal():
            yield self._map
            yield self._beside
        yield self._said
        yield self._input
        yield self._foot

    def on_mount(self) -> None:
        """Look at the first image."""
        self._input.display = self._said.display = False
        keys = (
            ("n", tr("image")), ("←↑↓→", tr("patch")), ("t", tr("text")), ("x", tr("norm")), ("Esc", tr("back")),
            ("?", tr("help")),
        )  # fmt: skip
        self._foot.say(key_words(keys))
        self._head.say(Text(tr("reading ..."), DIM))
        self._look()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._draw()

    def action_walk(self, step: int) -> None:
        """The next image, or the one before; a chosen patch and a text stay."""
        self._position += step
        self._look()

    def action_move(self, rows: int, columns: int) -> None:
        """Choose the next patch in a direction; the first press chooses the middle one."""
        sample = self._sample
        if sample is None or sample.kind not in ("norm", "similarity", "text") or sample.remark:
            return
        side = len(sample.patches)
        if self._patch is None:
            self._patch = (side // 2, side // 2)
        else:
            self._patch = ((self._patch[0] + rows) % side, (self._patch[1] + columns) % side)
        self._text = ""
        self._look()

    def action_text(self) -> None:
        """Ask for a text."""
        self._input.display = True
        self._input.focus()

    def action_norms(self) -> None:
        """Back to the norms."""
        self._patch, self._text = None, ""
        self._look()

    def action_page(self, direction: int) -> None:
        """A page up or down, where the map is higher than its room."""
        page = self.query_one("#sample", VerticalScroll)
        page.scroll_relative(y=direction * page.size.height, animate=False)

    def action_close(self) -> None:
        """Out of the text's field, or back to the files."""
        if self._input.display:
            self._input.display = False
            self.set_focus(None)
        else:
            self.dismiss(None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Show how alike the patches are to the text."""
        event.stop()
        self.action_close()
        self._text = event.value.strip()
        self._patch = None
        self._look()

    def _look(self) -> None:
        self._asked += 1
        self._fault = None
        self._fetch(self._asked, self._position, self._patch, self._text)
        self._say()

    @work(thread=True, group="look")
    def _fetch(self, number: int, position: int, patch: tuple[int, int] | None, text: str) -> None:
        outcome: Sample | Problem
        try:
            outcome = self._services.look(self._path, position, patch, text)
        except Problem as problem:
            outcome = problem
        self.post_message(self.Looked(number, outcome))

    def on_sample_screen_looked(self, message: Looked) -> None:
        """Draw the image, unless another one was asked for since."""
        if message.number != self._asked:
            return
        if isinstance(message.outcome, Problem):
            self._fault = message.outcome
            self._text = ""
        else:
            self._sample = message.outcome
            self._position = message.outcome.position
        self._draw()
        self._say()

    def _say(self) -> None:
        """What is under way, or what failed, below the picture that is still there."""
        words = Text()
        if self._fault is not None:
            words = layout.lines(Text(printable(self._fault.what), BAD), printable(self._fault.fix))
        elif self._text and (self._sample is None or self._sample.text != self._text):
            waiting = tr("asking the model for `{text}`; the first time takes a while ...", text=printable(self._text))
            words = Text(waiting, DIM)
        self._said.say(words)
        self._said.display = bool(words)

    def _draw(self) -> None:
        sample = self._sample
        if sample is None:
            self._head.say("" if self._fault else Text(tr("reading ..."), DIM))
            return
        shape = " x ".join(map(str, sample.shape))
        where = tr("{number:,} of {images:,}", number=sample.position + 1, images=sample.images)
        image = tr("image {image_id}", image_id=sample.image_id)
        self._head.say(Text.assemble((image, "bold"), (f"   {where}   {shape} {sample.dtype}", DIM)))
        colour = not self.app.no_color and self.app.console.color_system not in (None, "standard")
        low, high = sample.span
        cells, lines = self._patch_size(sample)
        self._map.say(heat(sample.patches, low, high, cells=cells, lines=lines, patch=sample.patch, colour=colour))
        self._beside.say(beside(sample, colour=colour))

    def _patch_size(self, sample: Sample) -> tuple[int, int]:
        """Cells and lines of a patch, as large as there is room: a patch of two cells by one looks square."""
        rows, columns = len(sample.patches), len(sample.patches[0])
        room = self.size.width - BESIDE_CELLS
        lines = max(1, min(room // (2 * columns), (self.size.height - 4) // rows))
        return (2 * lines if 2 * columns <= room else 1), lines
