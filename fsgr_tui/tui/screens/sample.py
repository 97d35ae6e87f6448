"""One image of a feature file on top of the Features place: its patches as a map, and its values."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import ModalScreen

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.units import printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import BAD, DIM, WARN, WAY_B
from fsgr_tui.tui.services import Services
from fsgr_tui.tui.widgets.heat import heat, scale
from fsgr_tui.tui.widgets.words import Words

if TYPE_CHECKING:
    from fsgr_tui.features.sample import Distribution, Sample

_MAPS = {
    "norm": "norm of each patch",
    "similarity": "cosine to the marked patch",
    "labels": "class index of each patch",
    "brightness": "brightness of the picture",
}
_DOUBLE_FROM = 78
PLOT_ROWS, PLOT_CELLS = 4, 24


class SampleScreen(ModalScreen[None]):
    """Walks through the images of a file; arrows choose a patch."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "walk(1)", "Next image"),
        Binding("p", "walk(-1)", "Previous image"),
        Binding("up", "move(-1, 0)", "Choose a patch", show=False),
        Binding("down", "move(1, 0)", show=False),
        Binding("left", "move(0, -1)", show=False),
        Binding("right", "move(0, 1)", show=False),
        Binding("x", "norms", "Norms"),
        Binding("escape,q", "close", "Close"),
    ]

    class Looked(Message):
        """What one image is like, or why it cannot be shown."""

        def __init__(self, outcome: Sample | Problem) -> None:
            super().__init__()
            self.outcome = outcome

    def __init__(self, services: Services, path: str) -> None:
        super().__init__()
        self._services, self._path = services, path
        self._position = 0
        self._patch: tuple[int, int] | None = None
        self._sample: Sample | None = None
        self._head, self._map, self._beside = Words(id="head"), Words(id="map"), Words(id="beside-map")

    def compose(self) -> ComposeResult:
        """The map beside its words, and the keys."""
        with Vertical(classes="box", id="sample"):
            yield self._head
            with Horizontal():
                yield self._map
                yield self._beside
            keys = (
                ("n", "next"),
                ("p", "previous"),
                ("arrows", "similarity to a patch"),
                ("x", "norms"),
                ("Esc", "close"),
            )
            yield Words(Text("   ").join(Text.assemble((key, "bold"), f" {words}") for key, words in keys))

    def on_mount(self) -> None:
        """Look at the first image."""
        self._head.say(Text("reading ...", DIM))
        self._look()

    def action_walk(self, step: int) -> None:
        """The next image, or the one before; a chosen patch stays chosen."""
        self._position += step
        self._look()

    def action_move(self, rows: int, columns: int) -> None:
        """Choose the next patch in a direction; the first press chooses the middle one."""
        sample = self._sample
        if sample is None or sample.kind not in ("norm", "similarity") or sample.remark:
            return
        side = len(sample.patches)
        if self._patch is None:
            self._patch = (side // 2, side // 2)
        else:
            self._patch = ((self._patch[0] + rows) % side, (self._patch[1] + columns) % side)
        self._look()

    def action_norms(self) -> None:
        """Back to the norms."""
        self._patch = None
        self._look()

    def action_close(self) -> None:
        """Back to the files."""
        self.dismiss(None)

    @work(thread=True, exclusive=True, group="look")
    def _look(self) -> None:
        outcome: Sample | Problem
        try:
            outcome = self._services.look(self._path, self._position, self._patch)
        except Problem as problem:
            outcome = problem
        self.post_message(self.Looked(outcome))

    def on_sample_screen_looked(self, message: Looked) -> None:
        """Draw the image."""
        if isinstance(message.outcome, Problem):
            self._head.say(Text(printable(message.outcome.what), BAD))
            self._map.say("")
            self._beside.say(printable(message.outcome.fix))
            return
        sample = self._sample = message.outcome
        self._position = sample.position
        colour = not self.app.no_color and self.app.console.color_system not in (None, "standard")
        cells = 2 if 2 * len(sample.patches[0]) + PLOT_CELLS + 24 <= max(_DOUBLE_FROM, self.size.width) else 1
        shape = " x ".join(map(str, sample.shape))
        where = f"   {sample.position + 1:,} of {sample.images:,}   {shape} {sample.dtype}"
        self._head.say(Text.assemble((f"image {sample.image_id}", "bold"), (where, DIM)))
        low, high = sample.span
        self._map.say(heat(sample.patches, low, high, cells=cells, patch=self._patch, colour=colour))
        parts = [Text(_MAPS[sample.kind], "bold"), scale(low, high, colour=colour)]
        parts += [Text(sample.remark, WARN)] if sample.remark else []
        self._beside.say(layout.lines(*parts, "", *_values(sample.values)))


def _values(values: Distribution) -> list[Text | str]:
    plot = [Text(row, WAY_B, no_wrap=True) for row in layout.columns(values.counts, PLOT_CELLS, PLOT_ROWS)]
    ends = f"{values.low:.3g}".ljust(PLOT_CELLS - 8) + f"{values.high:.3g}".rjust(8)
    told: list[Text | str] = [Text("values", "bold"), *plot, Text(ends, DIM)]
    told.append(f"mean {values.mean:.3g}, deviation {values.std:.3g}")
    told.append(f"zeros {values.zeros:.2%}")
    if values.not_finite:
        told.append(Text(f"NaN or infinite: {values.not_finite:,}", BAD))
    return told
