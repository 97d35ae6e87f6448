"""Progress bars: tqdm in all its forms (Lightning's are of them), Lightning's rich bar, Keras 2 and 3."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from fsgr_tui.jobs.progress import numbers

ROW_CHARS: Final = 1000
"""No terminal is wider; the patterns below take time by the square of it."""

_NESTED = r"(?:[^\[\]]|\[[^\[\]]*\])*"
_COUNT = r"[\d.,]+[kKMGTP]?"
_CLOCK = r"(?:\d+ days?, )?\d+(?::\d\d)+"
_TQDM = re.compile(
    rf"(?P<head>.*?)\s*(?<![\d.])(?P<percent>\d{{1,3}})%\|(?P<bar>[^|]*)\|\s*(?P<step>{_COUNT})/(?P<total>{_COUNT}|\?)"
    rf"(?P<unit> ?[a-zA-Z]*)?\s*\[(?P<elapsed>{_CLOCK})<(?P<left>{_CLOCK}|\?)(?:,\s*(?P<tail>{_NESTED}))?\]?"
)
_TQDM_OPEN = re.compile(
    rf"(?P<head>(?:.*?:\s+)?)(?P<step>{_COUNT})(?P<unit> ?[^\W\d][\w /%-]*?)\s*\[(?P<elapsed>{_CLOCK})"
    rf"(?:,\s*(?P<tail>{_NESTED}))?\]?"
)
_RICH = re.compile(
    rf"(?P<head>.*?)\s*[━╸╺ ]{{3,}}\s*(?P<step>\d+)/(?P<total>\d+|--)\s+(?P<elapsed>{_CLOCK})\s*•\s*(?P<left>\S+)"
    r"\s+(?P<rate>[\d.]+)\s*(?:it/s|s/it)(?P<tail>.*)"
)
_KERAS = re.compile(
    r"(?P<head>.*?)\s*(?<![\d/])(?P<step>\d+)/(?P<total>\d+|Unknown)\s*(?:\[[=>. ]*\]|━+)[\s-]*(?P<tail>.*)"
)
_RATE = re.compile(r"^\s*(?:\?|[\d.,]+[kKMGTP]?)\s*(?:(?P<unit>[^\s,/]*(?: [a-zA-Z]+)?)/s|s/(?P<inverse>[^\s,]+))")
_POSTFIX = re.compile(r"(?P<name>[A-Za-z_][\w./@ -]*?)\s*[=:]\s*(?P<value>[^,=]+?)(?=,|\s+[A-Za-z_][\w./@-]*\s*[=:]|$)")
# Lightning's number of the logger's version.
_NO_METRICS = {"v_num", "ETA"}
_KERAS_METRIC = re.compile(r"(?:^|-\s+)(?P<name>[A-Za-z_]\w*):\s*(?P<value>\S+)")


class Bar(NamedTuple):
    """One state of a bar.

    Attributes:
        label: the text in front of it.
        step, total: counted in `unit`; the total may be unknown.
        metrics: what it prints beside the progress; values may be NaN or infinite.
        rest: text that is glued behind the bar.
    """

    label: str
    step: int
    total: int | None
    unit: str
    metrics: dict[str, float]
    rest: str

    @property
    def complete(self) -> bool:
        """Whether it has come to its end."""
        return self.total is not None and self.step >= self.total


def parse(row: str) -> Bar | None:
    """The bar in a row of a terminal; None when there is none."""
    if len(row) > ROW_CHARS:
        return None
    if "|" in row and (match := _TQDM.match(row)):
        return _tqdm(match, row)
    if "•" in row and (match := _RICH.match(row)):
        return _bar(match, "it", _pairs(match["tail"]), "")
    if ("[" in row or "━" in row) and (match := _KERAS.match(row)):
        metrics = {each["name"]: number for each in _KERAS_METRIC.finditer(match["tail"])
                   if each["name"] not in _NO_METRICS and (number := numbers.value(each["value"])) is not None}  # fmt: skip
        return _bar(match, "steps", metrics, "")
    if "[" in row and (match := _TQDM_OPEN.match(row)) and _RATE.match(match["tail"] or ""):
        return _tqdm(match, row)
    return None


def _tqdm(match: re.Match[str], row: str) -> Bar | None:
    tail = match["tail"] or ""
    rate = _RATE.match(tail)
    unit = (rate["unit"] or rate["inverse"] or "").strip() if rate else ""
    return _bar(match, unit or (match["unit"] or "").strip() or "it", _pairs(tail[rate.end() :] if rate else tail), row[match.end() :])  # fmt: skip


def _bar(match: re.Match[str], unit: str, metrics: dict[str, float], rest: str) -> Bar | None:
    step = numbers.count(match["step"])
    total = numbers.count(match["total"]) if "total" in match.re.groupindex else None
    if step is None:
        return None
    return Bar(match["head"].strip().rstrip(":-").rstrip(), step, total, unit, metrics, rest.strip())


def _pairs(text: str) -> dict[str, float]:
    """`loss=0.52, lr=1e-4` and `loss: 0.52 acc: 0.8` as numbers; what is no number is left out."""
    found = {}
    for match in _POSTFIX.finditer(text.strip(" ,")):
        number = numbers.value(match["value"])
        if number is not None and match["name"].strip() not in _NO_METRICS:
            found[match["name"].strip()] = number
    return found
