"""Sizes, durations and estimates. GB is 10^9 bytes, GiB is 2^30."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.language import mark, tr

GB = 10**9
GIB = 2**30

_SIZE_FACTORS = {
    "": 1, "B": 1,
    "K": 10**3, "KB": 10**3, "KIB": 2**10,
    "M": 10**6, "MB": 10**6, "MIB": 2**20,
    "G": 10**9, "GB": 10**9, "GIB": 2**30,
    "T": 10**12, "TB": 10**12, "TIB": 2**40,
}  # fmt: skip

Basis = Literal["exact", "measured", "table", "guess"]
BASES: tuple[Basis, ...] = (mark("exact"), mark("measured"), mark("table"), mark("guess"))
"""Where an estimate comes from, surest first; shown with `tr`."""

_RATES = (mark("images/s"), mark("pairs/s"), mark("rows/s"))


class Unknown(msgspec.Struct, frozen=True):
    """A reading that failed, with the reason. Never 0, None or "N/A" in its place.

    Attributes:
        reason: as it was made; one that is compared, or made before the language is known, is English and marked.
    """

    reason: str = msgspec.field(name="unknown")

    @property
    def why(self) -> str:
        """The reason in the user's language."""
        return tr(self.reason)

    def __str__(self) -> str:
        return tr("unknown ({reason})", reason=self.why)


class Estimate(msgspec.Struct, frozen=True):
    """A span of values with the ground it stands on.

    Attributes:
        low, likely, high: in `unit`, low <= likely <= high.
        unit: "bytes", "s", "images/s", "pairs/s" or "count".
        basis: exact (arithmetic), measured (here), table (published), guess (scaled or assumed).
    """

    low: float
    likely: float
    high: float
    unit: str
    basis: Basis

    @classmethod
    def exact(cls, value: float, unit: str) -> Estimate:
        """An estimate without spread: arithmetic from known numbers."""
        return cls(value, value, value, unit, "exact")

    @classmethod
    def around(cls, value: float, share: float, unit: str, basis: Basis) -> Estimate:
        """A value with the same relative spread (0..1) to both sides."""
        return cls(value * (1 - share), value, value * (1 + share), unit, basis)

    def times(self, factor: float) -> Estimate:
        """The estimate of `factor` such things in a row."""
        return Estimate(self.low * factor, self.likely * factor, self.high * factor, self.unit, self.basis)

    def plus(self, other: Estimate) -> Estimate:
        """The sum of both spans; its basis is the weaker one."""
        weaker = max(self.basis, other.basis, key=BASES.index)
        return Estimate(self.low + other.low, self.likely + other.likely, self.high + other.high, self.unit, weaker)

    def seconds_for(self, count: float) -> Estimate:
        """How long `count` things take at this rate (a rate's unit is things per second)."""
        return Estimate(count / self.high, count / self.likely, count / self.low, "s", self.basis)


def parse_size(text: str) -> int:
    """Bytes of a size such as `80GB`, `74.5GiB` or `500M`.

    Raises:
        BadRequest: the text is not a size.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    if not match or match[2].upper() not in _SIZE_FACTORS:
        raise BadRequest(tr("{text} is not a size.", text=repr(text)), tr("Write it like 80GB, 74.5GiB or 500M."))
    return round(float(match[1]) * _SIZE_FACTORS[match[2].upper()])


def format_bytes(count: float) -> str:
    """A byte count with three significant digits in decimal units, e.g. `9.28 GB`."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= factor * 0.9995:
            value = count / factor
            return (
                f"{value:.2f} {unit}"
                if value < 9.995
                else f"{value:.1f} {unit}"
                if value < 99.95
                else f"{value:.0f} {unit}"
            )
    return f"{count:.0f} B"


def format_gib(count: float) -> str:
    """A memory size the way GPU tools print it, e.g. `23.7 GiB`."""
    return f"{count / GIB:.1f} GiB"


def format_duration(seconds: float) -> str:
    """A duration that a person reads at a glance: `42 s`, `7 min`, `3.1 h`, `2.4 d`."""
    if seconds < 1:
        return tr("{milliseconds:.0f} ms", milliseconds=seconds * 1000)
    if seconds < 10:
        return tr("{seconds:.1f} s", seconds=seconds)
    if seconds < 120:
        return tr("{seconds:.0f} s", seconds=seconds)
    if seconds < 2 * 3600:
        return tr("{minutes:.0f} min", minutes=seconds / 60)
    if seconds < 72 * 3600:
        return tr("{hours:.1f} h", hours=seconds / 3600)
    return tr("{days:.1f} d", days=seconds / 86400)


def format_estimate(estimate: Estimate | Unknown) -> str:
    """An estimate as `likely (low-high)`; without the span when it has none."""
    if isinstance(estimate, Unknown):
        return str(estimate)
    show = {"bytes": format_bytes, "s": format_duration}.get(estimate.unit, _format_count(estimate.unit))
    likely, low, high = show(estimate.likely), show(estimate.low), show(estimate.high)
    return likely if low == high else tr("{likely} ({low} - {high})", likely=likely, low=low, high=high)


def _format_count(unit: str) -> Callable[[float], str]:
    def show(value: float) -> str:
        number = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
        return number if unit == "count" else f"{number} {unit_words(unit)}"

    return show


def unit_words(unit: str) -> str:
    """A rate's unit as it is shown; a unit that is the same in every language stays as it is."""
    return tr(unit) if unit in _RATES else unit


def few(things: Sequence[object], most: int = 10) -> str:
    """The first of them with commas between, and a mark when there are more."""
    return ", ".join(map(str, things[:most])) + (", ..." if len(things) > most else "")


def printable(text: str) -> str:
    r"""User text (paths, captions, log lines) safe for a terminal: control characters and lone bytes are escaped.

    A file name may hold bytes that are no UTF-8 (Python keeps them as surrogates) or terminal escapes; both
    would break the line or the terminal, so they are shown as `\xe9` and `\x1b`.
    """
    return "".join(
        f"\\x{ord(char) - 0xDC00:02x}" if 0xDC80 <= ord(char) <= 0xDCFF
        else f"\\x{ord(char):02x}" if ord(char) < 32 or 127 <= ord(char) < 160
        else char
        for char in text
    )  # fmt: skip
