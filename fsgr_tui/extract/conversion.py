"""One conversion from its spec to the published target."""

from __future__ import annotations

from pathlib import Path

import msgspec

from fsgr_tui.core.child import Stopper
from fsgr_tui.core.errors import EXIT_OK, MissingExtra
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.extraction import ConvertSpec, FormatName
from fsgr_tui.core.language import tr
from fsgr_tui.features.convert import Conversion
from fsgr_tui.features.convert import convert as carry_out
from fsgr_tui.features.formats.catalogue import FORMATS
from fsgr_tui.features.formats.rows import Format


def convert(spec: ConvertSpec, events: EventWriter, stopper: Stopper) -> int:
    """Convert and tell what was measured.

    Returns:
        The exit code: 0, or 130 or 143 when stopped.
    """
    job = Conversion(
        source=Path(spec.source),
        target=Path(spec.target),
        source_format=_format(spec.source_format),
        target_format=_format(spec.target_format),
        dtype=spec.dtype,
        overwrite=spec.overwrite,
        rates=spec.rates,
        command=spec.command,
    )
    report = carry_out(job, events, stopper)
    if report is None:
        events.notice(tr("Stopped; nothing was changed at {target}.", target=spec.target))
        return stopper.exit_code
    events.result("convert", msgspec.to_builtins(report))
    return EXIT_OK


def _format(name: FormatName) -> Format:
    if name != "pt":
        return FORMATS[name]
    try:
        from fsgr_tui.extract.tensors import PT
    except ModuleNotFoundError as error:
        raise MissingExtra("convert", "extract", str(error.name)) from None
    return PT
