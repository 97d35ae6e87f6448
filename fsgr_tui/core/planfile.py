"""A saved plan: TOML that people read and change, and that `fsgr-tui run` carries out."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from typing import Any

import msgspec

from fsgr_tui.core import wrapping
from fsgr_tui.core.errors import BadRequest, did_you_mean
from fsgr_tui.core.language import sentences, tr
from fsgr_tui.core.plan import Plan, Step
from fsgr_tui.core.units import format_bytes, format_duration, format_gib, printable

PLANFILE_SCHEMA = "fsgr-tui/planfile/1"

_STEP_KEYS = ("name", "argv", "needs", "outputs", "note")
_TOP_KEYS = ("schema", "step", "intent", "choice")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


class PlanStep(msgspec.Struct, frozen=True):
    """One command of a plan file.

    Attributes:
        argv: the command as an argument list; no shell sees it.
        needs: names of the steps that have to be done before.
        outputs: files and folders that it makes.
    """

    name: str
    argv: tuple[str, ...]
    needs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


class PlanFile(msgspec.Struct, frozen=True):
    """A plan file as read, its steps in an order in which every step comes after those that it needs."""

    steps: tuple[PlanStep, ...]


def write(plan: Plan) -> str:
    """The plan as TOML: what it is for and why as comments, the intent, the choice, and the steps."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    verdict, choice = plan.recommendation, plan.recommendation.choice
    yield from _comment(
        tr("A plan of fsgr-tui. Run it with `fsgr-tui run FILE`; change what you like, the steps are plain commands."),
        wrap=False,
    )
    yield from _comment(sentences(tr("{answer}.", answer=tr(verdict.mode).upper()), verdict.reason, verdict.certainty))
    if plan.simulated:
        yield from _comment(tr("SIMULATED, not this machine: {simulated}.", simulated=tr("; ").join(plan.simulated)))
    for warning in verdict.warnings:
        yield from _comment(tr("Mind: {warning}", warning=warning))
    yield ""
    yield f"schema = {_text(PLANFILE_SCHEMA)}"
    yield ""
    yield "[intent]"
    for key, value in msgspec.to_builtins(plan.intent).items():
        # TOML has no null: what was not said stays out.
        if value is not None and value != ():
            yield f"{key} = {_value(value)}"
    yield ""
    yield "[choice]"
    yield f"mode = {_text(verdict.mode)}"
    if verdict.mode == "precomputed":
        yield f"clip_model = {_text(choice.clip_model)}"
        yield f"grid = {_text(choice.grid)}"
        yield f"dtype = {_text(choice.dtype)}"
        yield f"splits = {_value(list(choice.splits))}"
        yield f"feature_bytes = {choice.feature_bytes}  # {format_bytes(choice.feature_bytes)}"
    if verdict.cache:
        yield f"cache = {_text(verdict.cache)}"
    if not plan.commands:
        yield ""
        yield from _comment(tr("Neither way works here, so there are no steps."))
    for step in plan.commands:
        yield ""
        yield from _step(plan, step)


def _step(plan: Plan, step: Step) -> Iterator[str]:
    if about := _about(plan, step.what):
        yield from _comment(about)
    if step.note:
        yield from _comment(step.note)
    yield from _comment(shlex.join(step.argv), wrap=False)
    yield "[[step]]"
    yield f"name = {_text(step.what)}"
    yield "argv = ["
    for part in _pairs(step.argv):
        yield f"  {', '.join(_text(word) for word in part)},"
    yield "]"
    yield f"needs = {_value(list(step.needs))}"
    yield f"outputs = {_value(list(step.outputs))}"


def _about(plan: Plan, name: str) -> str:
    time, memory = plan.time, plan.memory
    if name.startswith("extract-pixels"):
        return tr(
            "About {pixels_extraction} ({basis}).",
            pixels_extraction=format_duration(time.pixels_extraction.likely),
            basis=tr(time.pixels_extraction.basis),
        )
    if name.startswith("extract"):
        return tr(
            "About {extraction} ({basis}).",
            extraction=format_duration(time.extraction.likely),
            basis=tr(time.extraction.basis),
        )
    if name.startswith("train") and plan.recommendation.mode == "precomputed":
        epoch, need = time.precomputed_epoch, memory.precomputed
        return tr(
            "About {epoch} an epoch ({basis}), {need} of GPU memory.",
            epoch=format_duration(epoch.likely),
            basis=tr(epoch.basis),
            need=format_gib(need.likely),
        )
    if name == "first-look" or name.startswith("train"):
        epoch, need = time.realtime_epoch, memory.realtime
        return tr(
            "About {epoch} an epoch ({basis}), {need} of GPU memory.",
            epoch=format_duration(epoch.likely),
            basis=tr(epoch.basis),
            need=format_gib(need.likely),
        )
    return ""


def _pairs(argv: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """An argument list in lines: a flag with its value, other words alone."""
    at = 0
    while at < len(argv):
        with_value = argv[at].startswith("--") and at + 1 < len(argv) and not argv[at + 1].startswith("--")
        yield argv[at : at + 2] if with_value else argv[at : at + 1]
        at += 2 if with_value else 1


def _comment(text: str, *, wrap: bool = True) -> Iterator[str]:
    shown = printable(text)
    if not wrap:
        yield f"# {shown}"
        return
    for line in wrapping.wrapped(" ".join(shown.split()), 99, wrapping.cells, lambda piece, _room: [piece]):
        yield f"# {line}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    return _text(value) if isinstance(value, str) else str(value)


def _text(text: str) -> str:
    """A TOML string; a table with the bytes where a file name is no UTF-8, which TOML strings cannot hold."""
    if any(0xDC80 <= ord(char) <= 0xDCFF for char in text):
        return f'{{ hex = "{text.encode("utf-8", "surrogateescape").hex()}" }}'
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    code = ord(char)
    if char in '"\\':
        return f"\\{char}"
    return f"\\u{code:04x}" if code < 32 or 127 <= code < 160 else char


def _word(value: Any) -> str | None:
    """A string as it was before `_text`; None when the value stands for none."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and list(value) == ["hex"]:
        try:
            return bytes.fromhex(value["hex"]).decode("utf-8", "surrogateescape")
        except (TypeError, ValueError):
            return None
    return None


def read(text: str) -> PlanFile:
    """The steps of a plan file.

    Raises:
        BadRequest: it is no TOML, of another schema, or a step is not as it should be; the message names line or key.
    """
    # Python 3.10 has no TOML reader of its own; the package tomli is the same one.
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        document: dict[str, Any] = toml.loads(text)
    except ValueError as error:  # both readers' errors are ValueErrors
        # A value that breaks off is only noticed at the end, which the readers name without its line.
        last = tr("at the end, line {line}", line=len(text.splitlines()))
        where = str(error).replace("at end of document", last)
        raise BadRequest(
            tr("The plan file is no valid TOML: {where}.", where=where), tr("Mend that place, or save the plan again.")
        ) from None
    schema = document.get("schema")
    if schema != PLANFILE_SCHEMA:
        wanted = repr(PLANFILE_SCHEMA)
        raise BadRequest(
            tr("The plan file has no schema, not {wanted}.", wanted=wanted)
            if schema is None
            else tr("The plan file has the schema {schema}, not {wanted}.", schema=repr(schema), wanted=wanted),
            tr("Save it with `fsgr-tui plan --out plan.toml`."),
        )
    _refuse_unknown(document, _TOP_KEYS, tr("the plan file"))
    entries = document.get("step", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadRequest(tr("`step` is no list of tables."), tr("Write every step under [[step]]."))
    if not entries:
        raise BadRequest(
            tr("The plan file has no [[step]], so there is nothing to run."), tr("Look at the plan's verdict.")
        )
    steps = [_read_step(entry, number) for number, entry in enumerate(entries, 1)]
    return PlanFile(_ordered(steps))


def _read_step(entry: dict[str, Any], number: int) -> PlanStep:
    where = tr("step {number}", number=number)
    name = entry.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadRequest(
            tr("{where}: `name` is {said}.", where=where, said=_said(name)),
            tr("Give it letters, digits, dots, dashes and underscores."),
        )
    where = tr("step {number} ({name})", number=number, name=name)
    _refuse_unknown(entry, _STEP_KEYS, where)
    argv = _words(entry, "argv", where)
    if not argv or not argv[0]:
        raise BadRequest(
            tr("{where}: `argv` is empty.", where=where),
            tr('Write a command, e.g. argv = ["fsgr-tui", "check", "F.hdf5"].'),
        )
    return PlanStep(name, argv, _words(entry, "needs", where), _words(entry, "outputs", where))


def _words(entry: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = entry.get(key, [])
    words = [_word(each) for each in value] if isinstance(value, list) else [None]
    if None in words:
        raise BadRequest(
            tr("{where}: `{key}` is {said}, not a list of strings.", where=where, key=key, said=_said(value)),
            tr('Write {key} = ["...", "..."].', key=key),
        )
    return tuple(word for word in words if word is not None)


def _said(value: Any) -> str:
    return tr("missing") if value is None else repr(value)


def _refuse_unknown(table: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            near = did_you_mean(key, list(known)) or tr("Known: {names}.", names=", ".join(known))
            raise BadRequest(tr("{where} has a key {key} that nothing reads.", where=where, key=repr(key)), near)


def _ordered(steps: list[PlanStep]) -> tuple[PlanStep, ...]:
    """The steps with what they need before them; otherwise as they stand in the file."""
    names = [step.name for step in steps]
    for name in names:
        if names.count(name) > 1:
            raise BadRequest(
                tr("Two steps are called {name}.", name=repr(name)), tr("Give every [[step]] its own name.")
            )
    for step in steps:
        for need in step.needs:
            if need not in names:
                near = did_you_mean(need, names) or tr("Steps: {names}.", names=", ".join(names))
                raise BadRequest(
                    tr("Step {name} needs {need}, which is no step.", name=step.name, need=repr(need)), near
                )
    done: list[PlanStep] = []
    left = list(steps)
    while left:
        ready = next((step for step in left if all(need in {each.name for each in done} for need in step.needs)), None)
        if ready is None:
            circle = ", ".join(step.name for step in left)
            raise BadRequest(
                tr("The steps {circle} need each other in a circle.", circle=circle), tr("Take one `needs` away.")
            )
        done.append(ready)
        left.remove(ready)
    return tuple(done)
