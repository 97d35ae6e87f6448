"""Starts the processes of a run that trains on several devices, here and on a job's other nodes, and ends them together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fsgr_tui.core.child import Stopper
from fsgr_tui.core.errors import EXIT_OK, MachineCannot
from fsgr_tui.core.event import EVENTS_VARIABLE, EventReader, EventWriter, Fault
from fsgr_tui.core.training import TrainSpec

_LOOK_S = 0.1
_GRACE_S = 5.0
"""Between the end of one process and a firm end of the others: they may be about to tell the same fault."""

_FIRM_S = 10.0


class _Child(NamedTuple):
    """A process of the run, or `srun` with those of all other nodes; and where it tells its fault."""

    process: subprocess.Popen[bytes]
    told: Path | None
    remote: bool = False


def launch(path: Path, spec: TrainSpec, events: EventWriter, stopper: Stopper) -> int:
    """Train in several processes; called on the first node.

    The first process tells events; of the others only the fault that ended the run is told.

    Args:
        path: the file of the run's spec; the others' nodes see its folder.
        spec: the run.
        events: where a fault of another process than the first is told.
        stopper: a wish to stop is passed on.

    Returns:
        The exit code: of the first process that failed, else of the first process.

    Raises:
        MachineCannot: this is not the first of so many nodes of a Slurm job.
    """
    with tempfile.TemporaryDirectory(prefix=".ranks-", dir=path.parent) as room:
        others = [_other_nodes(path, spec, Path(room))] if spec.nodes > 1 else []
        return _ended([*_of_node(path, spec, Path(room), 0), *others], events, stopper)


def launch_on_node(path: Path, spec: TrainSpec, room: Path, events: EventWriter, stopper: Stopper) -> int:
    """Start the processes of another node than the first: what `launch` has `srun` do there.

    Args:
        room: the folder that the first node made for this run.
    """
    # A task a node, in the order of the nodes, of which the first one is not among them.
    node = int(os.environ["SLURM_PROCID"]) + 1
    return _ended(_of_node(path, spec, room, node), events, stopper)


def _of_node(path: Path, spec: TrainSpec, room: Path, node: int) -> list[_Child]:
    first = node * spec.processes
    return [_start(path, rank, room) for rank in range(first, first + spec.processes)]


def _start(path: Path, rank: int, room: Path) -> _Child:
    argv = [sys.executable, "-m", "fsgr_tui.train", str(path), "--rank", str(rank), "--store", str(room / "meet")]
    told = room / f"events{rank}" if rank else None
    own = {EVENTS_VARIABLE: str(told)} if told else {}
    process = subprocess.Popen(argv, env={**os.environ, **own}, stdin=subprocess.DEVNULL)
    return _Child(process, told)


def _other_nodes(path: Path, spec: TrainSpec, room: Path) -> _Child:
    others = spec.nodes - 1
    there = (os.environ.get("SLURM_NODEID"), int(os.environ.get("SLURM_JOB_NUM_NODES", "0")) >= spec.nodes)
    if there != ("0", True):
        raise MachineCannot(
            f"A training on {spec.nodes} nodes begins on the first node of a Slurm job that has them.",
            "Submit it: fsgr-tui train --backend slurm --nodes N ...",
        )
    argv = [
        "srun", f"--nodes={others}", f"--ntasks={others}", "--ntasks-per-node=1", "--relative=1", "--kill-on-bad-exit=1",
        # Since 22.05 srun takes one CPU a task unless it is told again, and may bind the task to it.
        f"--cpus-per-task={os.environ.get('SLURM_CPUS_PER_TASK', '1')}", "--cpu-bind=none", "--mpi=none",
        sys.executable, "-m", "fsgr_tui.train", str(path), "--room", str(room),
    ]  # fmt: skip
    told = room / "events-of-nodes"
    try:
        process = subprocess.Popen(argv, env={**os.environ, EVENTS_VARIABLE: str(told)}, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise MachineCannot(
            f"srun cannot be started: {error.strerror}.", "Look at PATH in the profile's setup."
        ) from None
    return _Child(process, told, remote=True)


def _ended(children: Sequence[_Child], events: EventWriter, stopper: Stopper) -> int:
    """Wait for all, tell what went wrong, and leave nothing behind; the exit code."""
    try:
        failed = _wait(children, stopper)
    finally:
        for child in children:
            _end(child)
    ended = children[failed]
    if ended.told is not None and ended.told.exists():
        for event in EventReader(ended.told).new():
            if isinstance(event, Fault):
                events.write(event)
    code = ended.process.returncode
    return code if code >= 0 else 128 - code


def _end(child: _Child) -> None:
    if child.process.poll() is not None:
        return
    if child.remote:
        # srun answers this by ending its tasks by force; killed itself, it would leave them.
        child.process.terminate()
        try:
            child.process.wait(_FIRM_S)
        except subprocess.TimeoutExpired:
            pass
        else:
            return
    child.process.kill()
    child.process.wait()


def _wait(children: Sequence[_Child], stopper: Stopper) -> int:
    """Wait for all; the number of the one that failed first, else 0."""
    passed_on, failed, until = False, None, float("inf")
    while any(child.process.poll() is None for child in children):
        if stopper() and not passed_on:
            passed_on = True
            # One wish is enough for all processes on all nodes: they agree before every step.
            for child in children:
                if not child.remote:
                    child.process.send_signal(stopper.signal or signal.SIGTERM)
        codes = [child.process.poll() for child in children]
        if failed is None:
            failed = next((number for number, code in enumerate(codes) if code not in (None, EXIT_OK)), None)
            if failed is not None and not passed_on:
                # The others wait for it in vain.
                until = time.monotonic() + _GRACE_S
        if time.monotonic() > until:
            return failed or 0
        time.sleep(_LOOK_S)
    codes = [child.process.returncode for child in children]
    return next((number for number, code in enumerate(codes) if code != EXIT_OK), 0) if failed is None else failed
