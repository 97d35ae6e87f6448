"""Several devices on one file: a process per device, each filling rows of its own; one ledger, kept by the parent.

A worker writes its rows itself and reports them once they are on the disk; the parent confirms them. A worker that
dies takes nothing with it but its batch at hand.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from fsgr_tui.core.child import Stopper
from fsgr_tui.core.device import ALL, device_names, no_gpu_at_all
from fsgr_tui.core.errors import MachineCannot, Problem
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.extraction import ExtractSpec
from fsgr_tui.core.language import tr
from fsgr_tui.extract.pipeline import Extraction, Tally
from fsgr_tui.features.build import FeatureBuild
from fsgr_tui.features.images import read_image_list
from fsgr_tui.features.ledger import LedgerHeader
from fsgr_tui.features.manifest import Manifest
from fsgr_tui.features.writer import RowWriter

TELL_S = 0.5


class _Worker(msgspec.Struct, frozen=True):
    """What a worker needs to know."""

    spec: ExtractSpec
    device: str
    rows: tuple[int, ...]
    part: str
    manifest: Manifest
    header: LedgerHeader


class _RemoteStore:
    """The store of a worker: writes rows itself, and reports them through a pipe."""

    def __init__(self, task: _Worker, pipe: Connection) -> None:
        self._writer = RowWriter(Path(task.part), task.manifest, task.header)
        self._pipe = pipe
        self.missing = list(task.rows)
        self.done_count = 0

    def write(
        self, rows: Sequence[int], features: NDArray[np.generic], class_tokens: NDArray[np.generic] | None = None
    ) -> None:
        self._writer.write(rows, features, class_tokens)

    def refuse(self, row: int, path: str, reason: str) -> None:
        self._pipe.send(("refuse", row, path, reason))

    def commit(self) -> None:
        if self._writer.pending:
            self._pipe.send(("done", *self._writer.flush()))


class _RemoteTeller:
    """Passes on what a worker tells; its phases are the parent's."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """The parent has announced the phase."""

    def progress(
        self,
        step: int,
        total: int | None = None,  # noqa: ARG002 - the parent knows the total
        rate: float | None = None,
        stages: dict[str, float] | None = None,
        bottleneck: str = "",
    ) -> None:
        self._pipe.send(("progress", step, rate, stages or {}, bottleneck))

    def warning(self, text: str) -> None:
        self._pipe.send(("warning", text))

    def refused(self, path: str, image_id: int, reason: str) -> None:
        self._pipe.send(("refused", path, image_id, reason))


@dataclass
class _Seat:
    """One worker as the parent sees it."""

    device: str
    process: BaseProcess
    step: int = 0
    rate: float | None = None
    stages: dict[str, float] = field(default_factory=dict)
    bottleneck: str = ""
    ended: bool = False


class Fleet:
    """One run of several devices over the missing rows of a build.

    Attributes:
        tally: what the pictures were like.
        done: rows written by this run.
    """

    def __init__(self, build: FeatureBuild, spec: ExtractSpec, devices: Sequence[str], events: EventWriter) -> None:
        self._build = build
        self._spec = spec
        self._devices = devices
        self._events = events
        self._total = len(build.ids)
        self._before = build.done_count
        self._problem: Problem | None = None
        self._told_at = 0.0
        self.tally = Tally()
        self.done = 0

    def run(self, stopper: Stopper) -> bool:
        """Extract what is missing.

        Returns:
            Whether everything was done; False when it was told to stop.

        Raises:
            Problem: a worker failed; what was confirmed is kept.
        """
        rows = self._build.missing
        self._events.phase("extract", self._total, "images")
        seats = {}
        for number, device in enumerate(self._devices):
            pipe, seat = self._start(device, tuple(rows[number :: len(self._devices)]))
            seats[pipe] = seat
        asked = False
        while seats:
            for ready in wait(list(seats), timeout=TELL_S):
                pipe = cast("Connection", ready)  # `wait` gives back what it was given
                if not self._take(pipe, seats[pipe]):
                    self._close(pipe, seats.pop(pipe))
            if (stopper() or self._problem is not None) and not asked:
                asked = True
                for seat in seats.values():
                    seat.process.terminate()
            self._tell(list(seats.values()))
        if self._problem is not None:
            raise self._problem
        return not self._build.missing

    def _start(self, device: str, rows: tuple[int, ...]) -> tuple[Connection, _Seat]:
        # CUDA cannot be used in a forked process.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        task = _Worker(
            self._spec, device, rows, str(self._build.paths.part), self._build.manifest, self._build.writer.header
        )
        process = context.Process(target=_work, args=(msgspec.msgpack.encode(task), theirs), name=device, daemon=True)
        process.start()
        theirs.close()
        return ours, _Seat(device, process)

    def _take(self, pipe: Connection, seat: _Seat) -> bool:
        """Take one message; False when there will be no more."""
        try:
            kind, *rest = pipe.recv()
        except (EOFError, OSError):
            return False
        if kind == "done":
            self._build.confirm(*rest)
            self.done += len(rest[0])
        elif kind == "refuse":
            self._build.refuse(*rest)
            self.tally.refused += 1
        elif kind == "progress":
            seat.step, seat.rate, seat.stages, seat.bottleneck = rest
        elif kind == "refused":
            self._events.refused(*rest)
        elif kind == "warning":
            self._events.warning(f"{seat.device}: {rest[0]}")
        elif kind == "tally":
            self._add(Tally(*rest))
        elif kind == "problem":
            self._problem = self._problem or MachineCannot(*rest)
        elif kind == "ended":
            seat.ended = True
        return True

    def _add(self, tally: Tally) -> None:
        self.tally.rotated += tally.rotated
        self.tally.mislabelled += tally.mislabelled
        self.tally.huge += tally.huge

    def _close(self, pipe: Connection, seat: _Seat) -> None:
        pipe.close()
        seat.process.join()
        if not seat.ended and self._problem is None:
            self._problem = MachineCannot(
                tr(
                    "The worker on {device} ended with exit code {exitcode}.",
                    device=seat.device,
                    exitcode=seat.process.exitcode,
                ),
                tr("What was confirmed is kept; the log may tell why. Go on with --resume."),
            )

    def _tell(self, seats: Sequence[_Seat]) -> None:
        if time.monotonic() - self._told_at < TELL_S:
            return
        self._told_at = time.monotonic()
        rates = [seat.rate for seat in seats if seat.rate]
        stages = {
            name: sum(seat.stages.get(name, 0.0) for seat in seats) / len(seats)
            for name in (seats[0].stages if seats else {})
        }
        told = next((f"{seat.device}: {seat.bottleneck}" for seat in seats if seat.bottleneck), "")
        done = self._before + self.done + self.tally.refused
        self._events.progress(done, self._total, sum(rates) if rates else None, stages, told)


def devices_of(name: str, count: Callable[[], int]) -> tuple[str, ...]:
    """The devices behind `--device`: "all" is every visible GPU, commas separate several.

    Args:
        count: gives the number of visible GPUs.

    Raises:
        MachineCannot: "all" was asked for, and there is no GPU.
    """
    if name != ALL:
        return device_names(name)
    if not count():
        raise no_gpu_at_all()
    return tuple(f"cuda:{number}" for number in range(count()))


def _work(encoded: bytes, pipe: Connection) -> None:
    """The worker process."""
    from fsgr_tui.extract.encoder import make_any_encoder

    stopper = Stopper()
    # A signal to the whole group must not end the worker twice; the parent passes one on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    task = msgspec.msgpack.decode(encoded, type=_Worker)
    try:
        run = Extraction(
            _RemoteStore(task, pipe),
            read_image_list(Path(task.spec.images_file)),
            make_any_encoder(msgspec.structs.replace(task.spec.model, device=task.device)),
            resize=task.spec.model.resize,
            backend=task.spec.model.backend,
            batch_size=task.spec.batch_size,
            workers=task.spec.workers,
            events=_RemoteTeller(pipe),
            stopping=stopper,
        )
        run.run()
        pipe.send(("tally", run.tally.rotated, run.tally.mislabelled, run.tally.huge))
    except Problem as problem:
        pipe.send(("problem", f"{task.device}: {problem.what}", problem.fix))
    pipe.send(("ended",))
    pipe.close()
    sys.exit(0)
