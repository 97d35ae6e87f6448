"""Finished lines that tell progress or metrics: `Epoch 3/20`, `step 200 loss 2.31`, Hugging Face dicts, JSON lines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from fsgr_tui.jobs.progress import numbers
from fsgr_tui.jobs.progress.numbers import NUMBER

_EPOCH = re.compile(
    r"\bepochs?\b\s*[:#=]?\s*[\[(]?\s*(?P<now>\d+)\s*[\])]?(?:\s*(?:/|of)\s*(?P<all>\d+)\b)?"
    r"(?:\s*\]?\s*\[\s*(?P<step>\d+)\s*/\s*(?P<total>\d+)\s*\])?",
    re.IGNORECASE,
)
_STEP = re.compile(
    r"\b(?:global[_ ]?)?(?:step|iter(?:ation)?|batch|update)s?\b\s*[:#=]?\s*[\[(]?\s*(?P<step>\d[\d,]*)\s*(?:(?:/|of)\s*(?P<total>\d[\d,]*))?",
    re.IGNORECASE,
)
_COUNTED = re.compile(r"(?:^|\s)[\[(]\s*(?P<step>\d+)\s*/\s*(?P<total>\d+)\s*[\])]")
_KNOWN = (
    r"(?:(?:(?:train|val|test|dev|eval)(?:ing|idation|uation)?[ _/])?(?:\w[\w/.-]*)?loss[\w/]*|nll|lr|learning[_ ]rate|base_lr|(?:[\w/]*[_/ ])?acc(?:uracy)?(?:@?\d)?|ppl|perplexity|grad[_ ]?norm"
    r"|(?:\w[\w/]*)?(?:bleu|cider|meteor|rouge|spice)[\w@-]*|reward|f1|auc|wer|psnr|mAP|entropy)"
)
# `loss 2.31`, `loss: 2.31`, `loss = 2.31 (2.50)`, `'loss': '2.31'`, `"loss": NaN`
_METRIC = re.compile(
    rf"(?<![\w./])['\"]?(?P<name>{_KNOWN})['\"]?\s*(?:[:=]|\s|\bis\b)\s*['\"]?(?:tensor\()?(?P<value>{NUMBER})(?![\w.]*[A-Za-z_])",
    re.IGNORECASE,
)
_PAIR = re.compile(rf"['\"](?P<name>[\w/@. -]+)['\"]\s*:\s*['\"]?(?P<value>{NUMBER})['\"]?\s*(?=[,}}])")
_LIST = re.compile(r"['\"](?P<name>bleu)['\"]\s*:\s*\[(?P<values>[^\]]*)\]", re.IGNORECASE)
_INTEREST = re.compile(
    r"loss|epoch|step|iter|batch|\blr\b|learning.rate|acc|ppl|cider|bleu|meteor|rouge|spice|reward|norm|[\[(]\s*\d+/\d|'\s*:|\"\s*:",
    re.IGNORECASE,
)
_COUNTERS = {"epoch", "step", "global_step", "iter", "iteration"}
_LINE_CHARS = 4000


class Told(NamedTuple):
    """What a line tells; None and empty where it tells nothing. An epoch may have a fraction, as Hugging Face prints it."""

    epoch: float | None = None
    epochs: int | None = None
    step: int | None = None
    total: int | None = None
    metrics: Mapping[str, float] = MappingProxyType({})


def parse(line: str) -> Told | None:
    """What a line tells of progress and metrics; None for one that tells nothing."""
    if len(line) > _LINE_CHARS or not _INTEREST.search(line):
        return None
    if line.lstrip()[:1] == "{" or "{'" in line or '{"' in line:
        told = _from_mapping(line)
        if told is not None:
            return told
    epoch, step = _EPOCH.search(line), _STEP.search(line)
    now = float(epoch["now"]) if epoch else None
    count, total = (step["step"], step["total"]) if step else (None, None)
    if epoch and epoch["step"]:
        count, total = epoch["step"], epoch["total"]
    elif count is None and (counted := _COUNTED.search(line)):
        count, total = counted["step"], counted["total"]
    metrics = {
        _plain(match["name"]): number
        for match in _METRIC.finditer(line)
        if (number := numbers.value(match["value"])) is not None
    }
    if now is None and count is None and not metrics:
        return None
    if count is not None and not metrics and total is None and now is None:
        # "step 3" alone is prose more often than progress.
        return None
    return Told(now, int(epoch["all"]) if epoch and epoch["all"] else None,
                numbers.count(count) if count else None, numbers.count(total) if total else None, metrics)  # fmt: skip


def _from_mapping(line: str) -> Told | None:
    """A printed dict or a JSON line with numbers in it."""
    values = {match["name"]: numbers.value(match["value"]) for match in _PAIR.finditer(line)}
    metrics = {name: number for name, number in values.items() if number is not None}
    for match in _LIST.finditer(line):
        for number, part in enumerate(match["values"].split(","), 1):
            if (score := numbers.value(part)) is not None:
                metrics[f"{match['name']}_{number}"] = score
    if not metrics:
        return None
    epoch = metrics.pop("epoch", None)
    step = next((metrics[name] for name in ("step", "global_step", "iter", "iteration") if name in metrics), None)
    for name in _COUNTERS:
        metrics.pop(name, None)
    return Told(epoch, None, int(step) if step is not None and step == step // 1 else None, None, metrics)


def _plain(name: str) -> str:
    return name.strip().replace(" ", "_")
