"""Numbers as programs print them: plain, scaled (1.2k), clock times, and not finite ones."""

from __future__ import annotations

import math
import re
from typing import Final

NUMBER: Final = r"[-+]?(?:\d[\d_,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|NaN|NAN|inf|Inf|INF|[Ii]nfinity)"
_SCALES = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_VALUE = re.compile(rf"\s*(?:tensor\(|array\(|np\.float\d+\()?\s*({NUMBER})(?![\w.]*[A-Za-z_/])")


def value(text: str) -> float | None:
    """The number at the beginning of a text, NaN and infinities included; None when there is none."""
    match = _VALUE.match(text)
    if match is None:
        return None
    try:
        return float(match[1].replace(",", "").replace("_", ""))
    except ValueError:
        return None


def count(text: str) -> int | None:
    """A count such as `45`, `1.2k` or `3.40M`; None when it is none."""
    text = text.strip().replace(",", "")
    scale = _SCALES.get(text[-1:], 1.0)
    try:
        number = float(text.rstrip("kKMGTP")) * scale
    except ValueError:
        return None
    return round(number) if math.isfinite(number) else None
