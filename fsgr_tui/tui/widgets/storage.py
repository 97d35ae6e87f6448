"""Storage: what goes where, against what is free, and what is left."""

from __future__ import annotations

from typing import ClassVar

import msgspec
from rich.text import Text

from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.plan import FilesystemNeed, ItemKind, Plan, StorageItem
from fsgr_tui.core.units import Unknown, format_bytes, format_estimate
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import BAD, DIM, GOOD, WARN, bar, cut, cut_left, pad
from fsgr_tui.tui.widgets.panel import PlanPanel

_FITS = {True: (mark("fits"), GOOD), False: (mark("DOES NOT FIT"), BAD), None: (mark("free space unknown"), WARN)}
_KINDS: dict[ItemKind, str] = {
    "images": mark("images"), "features": mark("features"), "annotations": mark("annotations"),
    "checkpoints": mark("checkpoints"), "temporary": mark("temporary"), "reserve": mark("reserve"),
}  # fmt: skip

SPLITS_FROM = 46


class StoragePanel(PlanPanel):
    """Answers "does it fit"."""

    TITLE: ClassVar[str] = mark("Storage")

    def show(self, plan: Plan) -> None:
        """Show a plan's storage."""
        needs = plan.storage.filesystems
        worst = min(needs, key=lambda need: (need.fits is not False, need.fits is True))
        words, style = _FITS[worst.fits]
        self.set_title(Text.assemble(f"{tr(self.TITLE)} · ", (tr(words), style)))
        self.draw_with(lambda width: draw(plan, width))


def draw(plan: Plan, width: int) -> Text:
    """For each file system: what stays free, then what is written there, the largest first."""
    parts: list[Text] = []
    for need in plan.storage.filesystems:
        parts.append(_free_after(need, width))
        items = [item for item in plan.storage.items if item.filesystem == need.mount]
        if width < SPLITS_FROM:
            items = _together(items)
        parts += [_item(item, need, width) for item in sorted(items, key=lambda item: -item.bytes.likely)]
    return layout.lines(*parts)


def _together(items: list[StorageItem]) -> list[StorageItem]:
    """All images and all features as one item each, where there is no room for every split."""
    sums: dict[str, StorageItem] = {}
    for item in items:
        kind = item.kind
        if kind not in sums:
            sums[kind] = msgspec.structs.replace(item, name=tr(_KINDS[kind]))
            continue
        old = sums[kind]
        sums[kind] = msgspec.structs.replace(
            old, bytes=old.bytes.plus(item.bytes), present_bytes=old.present_bytes + item.present_bytes
        )
    return list(sums.values())


def _free_after(need: FilesystemNeed, width: int) -> Text:
    after = need.free_after_bytes
    mount = cut_left(need.mount, max(8, width - 24))
    if isinstance(after, Unknown):
        return Text.assemble((f"{mount} ", "bold"), (cut(str(after), width), WARN))
    if after < 0:
        return Text.assemble((f"{mount} ", "bold"), (tr("{size} too little", size=format_bytes(-after)), BAD))
    return Text.assemble(
        (f"{mount} ", "bold"), (tr("{size} free after", size=format_bytes(after)), BAD if need.fits is False else "")
    )


def _item(item: StorageItem, need: FilesystemNeed, width: int) -> Text:
    """Name, size, and a bar against the free space; what is here already takes none of it."""
    name_cells = 29 if width >= 60 else 22 if width >= SPLITS_FROM else 11
    size = format_bytes(item.bytes.likely)
    line = Text.assemble((pad(item.name, name_cells), DIM), f" {size:>8} ")
    here = item.present_bytes > 0
    room = width - line.cell_len
    if here:
        return line.append(tr("here"), DIM) if room >= 4 else line
    if isinstance(need.free_bytes, int) and need.free_bytes > 0 and room >= 5:
        share = item.bytes.likely / need.free_bytes
        line.append_text(bar(share, min(room, 16), BAD if share > 1 else GOOD))
    spread = format_estimate(item.bytes)
    room = width - line.cell_len - 1
    if spread != size and len(spread) - len(size) <= room:
        line.append(spread.removeprefix(size), DIM)
    return line
