"""What the run form asks for in the end: a request, when it begins, and the command that does the same. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.language import tr
from fsgr_tui.tui import extract_form, train_form
from fsgr_tui.tui.intent_form import BadField, words
from fsgr_tui.tui.run_fields import AFTER, EXTRACT, IN_TURN

if TYPE_CHECKING:
    from fsgr_tui.service.extraction import ExtractRequest, Prepared
    from fsgr_tui.service.running import PreparedRun
    from fsgr_tui.service.training import PreparedTraining
    from fsgr_tui.service.training_request import TrainRequest


@dataclass(frozen=True)
class Order:
    """What is to be run, and when.

    Attributes:
        command: does the same in a shell.
        gpu: as `run --gpu` takes it; empty leaves it to the command.
        after: jobs that have to end well first.
        in_turn: whether it runs in turn with the other jobs of the queue.
    """

    request: ExtractRequest | TrainRequest
    command: tuple[str, ...]
    gpu: str = ""
    after: tuple[str, ...] = ()
    in_turn: bool = False

    @property
    def waits(self) -> bool:
        """Whether it waits for something besides a GPU."""
        return self.in_turn or bool(self.after)


@dataclass(frozen=True)
class Ready:
    """An order that may be started.

    Attributes:
        prepared: None for one that waits for other jobs, where something is missing now.
        run: how it would wait, and for what GPU.
        missing: what speaks against it now; what it waits for may make it.
    """

    order: Order
    prepared: Prepared | PreparedTraining | None
    run: PreparedRun
    missing: Problem | None = None


def order_for(texts: dict[str, str]) -> Order:
    """The order that the form's texts stand for.

    Raises:
        BadField: a number is none, or it is to start after no job.
    """
    make = extract_form.request_for if texts["what"] == EXTRACT else train_form.request_for
    return Order(make(texts), command_for(texts), _gpu(texts), _after(texts), texts["start"] == IN_TURN)


def command_for(texts: dict[str, str]) -> tuple[str, ...]:
    """The command alone, which is cheap: it follows every key.

    Raises:
        BadField: as `order_for`.
    """
    plain = extract_form.command_line(texts) if texts["what"] == EXTRACT else train_form.request_for(texts).shown
    after = _after(texts)
    if not after and texts["start"] != IN_TURN:
        return plain
    gpu = _gpu(texts)
    when = ("--after", ",".join(after)) if after else ("--queue",)
    return ("fsgr-tui", "run", *(("--gpu", gpu) if gpu else ()), *when, "--", *plain)


def _gpu(texts: dict[str, str]) -> str:
    """A pixel cache is made without one."""
    return "none" if texts["what"] == EXTRACT and texts["stage"] == "pixels" else ""


def _after(texts: dict[str, str]) -> tuple[str, ...]:
    if texts["start"] != AFTER:
        return ()
    after = words(texts["after"])
    if not after:
        raise BadField("after", tr("After which job?"), tr("Write its name, or the beginning of it; or start it now."))
    return after
