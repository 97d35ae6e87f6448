"""Alarms from folded log lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from fsgr_tui.core.job import Alarm
from fsgr_tui.core.language import mark, tr
from fsgr_tui.jobs.diagnosis.signals import Folded, Signals

WARNING_COUNT: Final = 100
"""A warning that repeats so often drowns the others."""


class _Says(NamedTuple):
    text: str
    advice: str
    alarm_from: int
    """The count from which on it is an alarm; before it is a warning."""


_NEVER: Final = 1 << 62
_SAYS: Final = {
    "missing features": _Says(
        mark("Features are missing for {images}; the job goes on with made-up or empty ones."),
        mark(
            "Stop it. `fsgr-tui check FILE --annotations DIR` lists all that are missing; extract them with --resume. Image ids and annotation ids mixed up look the same."
        ),
        1,
    ),
    "skipped batches": _Says(
        mark("Batches or steps are being skipped ({number:,} so far)."),
        mark(
            "A few are mixed precision's search for its scale. Many mean that the run learns nothing: look at the first message, and for a device-side assert before it."
        ),
        10,
    ),
    "device assert": _Says(
        mark("A device-side assertion failed on the GPU (first in line {line:,}): an index out of range."),
        mark("Nothing works on this GPU context any more: stop it, and run again with CUDA_LAUNCH_BLOCKING=1."),
        1,
    ),
    "out of GPU memory, survived": _Says(
        mark("GPU memory ran out and the program went on ({number:,} times)."),
        mark("Those batches were lost or made smaller. A smaller batch size makes the run regular."),
        10,
    ),
    "division by zero": _Says(
        mark("Division by zero or invalid values in numpy ({number:,} warnings folded)."),
        mark(
            "Usually an empty image, an empty caption or a standard deviation of 0; PYTHONWARNINGS=error stops at the first one."
        ),
        _NEVER,
    ),
}
_IDS_SHOWN = 5


class LineAlarms:
    """Keeps the times of folded lines."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._times: dict[str, tuple[float, float, int]] = {}

    def see(self, at: float) -> None:
        """The lines so far were seen by this time."""
        for kind, folded in (*self._signals.folded.items(), *self._signals.warnings.items()):
            first, _, count = self._times.get(kind, (at, at, 0))
            if folded.count != count:
                self._times[kind] = (first, at, folded.count)

    def alarms(self) -> Iterator[Alarm]:
        """One a kind."""
        for kind, folded in self._signals.folded.items():
            if kind in self._times:
                says = _SAYS[kind]
                text = tr(says.text, number=folded.count, line=folded.first.number, images=_images(folded))
                level = "alarm" if folded.count >= says.alarm_from else "warning"
                first, last, _ = self._times[kind]
                yield Alarm(kind, text, first, last, folded.count, folded.first.text.strip(), level=level, advice=tr(says.advice), ids=tuple(folded.ids))  # type: ignore[arg-type]  # fmt: skip
        for kind, folded in self._signals.warnings.items():
            if folded.count >= WARNING_COUNT and kind in self._times:
                first, last, _ = self._times[kind]
                yield Alarm("repeated warning", tr("One warning stands {number:,} times in the log: {warning}", number=folded.count, warning=kind), first, last, folded.count, folded.first.text.strip(), level="warning")  # fmt: skip


def _images(folded: Folded) -> str:
    shown, more = ", ".join(folded.ids[:_IDS_SHOWN]), len(folded.ids) - _IDS_SHOWN
    if not folded.ids:
        return tr("some images")
    if more > 0:
        return tr("{number:,} images: {ids} and {more:,} more", number=len(folded.ids), ids=shown, more=more)
    if len(folded.ids) == 1:
        return tr("image {id}", id=shown)
    return tr("{number:,} images: {ids}", number=len(folded.ids), ids=shown)
