"""Starting, stopping, resuming and deleting jobs. A face that starts a job may die at once; the job does not notice."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

from fsgr_tui.core import jsontext
from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.files import write_whole
from fsgr_tui.core.job import Cause, GpuWish, JobSpec, JobStatus
from fsgr_tui.core.language import tr
from fsgr_tui.jobs import life, tree
from fsgr_tui.jobs.environment import git_state, recorded
from fsgr_tui.jobs.folder import RunFolder, all_runs, mark_of
from fsgr_tui.jobs.processes import JOB_VARIABLE, find, process_start, send
from fsgr_tui.jobs.runner import FIRM
from fsgr_tui.jobs.waiting import first_wait

GENTLE_S = 60.0
FIRM_S = 10.0
POLL_S = 0.1


def start(
    run: RunFolder,
    kind: str,
    argv: Sequence[str],
    shown: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    *,
    cwd: Path | None = None,
    needs: Sequence[str] = (),
    queue: bool = False,
    gpu: GpuWish | None = None,
    step: bool = False,
) -> None:
    """Start a command as the job of a run folder, and return at once.

    In the process of a step (`fsgr-tui run -- fsgr-tui extract ...`) the job is there already: this process becomes
    its child, and the call does not return.

    Args:
        argv: the program and its arguments.
        shown: the command line as a user would type it.
        env: variables set on top of this process's own.
        cwd: working folder; this process's own when not given.
        needs: names of jobs that have to end well first.
        queue: whether it runs in turn with the other jobs of the queue.
        gpu: what it asks of the GPUs.
        step: whether the command is one of this program's that prepares and follows one child.

    Raises:
        MachineCannot: the run folder cannot be written.
    """
    where = (cwd or Path.cwd()).absolute()
    if run.adopted:
        _become(run, argv, env or {}, where)
    spec = JobSpec(
        name=run.name,
        kind=kind,
        argv=tuple(argv),
        cwd=str(where),
        env=dict(env or {}),
        shown=tuple(shown),
        created=time.time(),
        environment=recorded(os.environ),
        needs=tuple(needs),
        queue=queue,
        gpu=gpu,
        step=step,
        git=git_state(where),
        host=life.this_host().name,
        boot_id=life.this_host().boot_id,
        token=secrets.token_hex(8),
    )
    try:
        lock = life.take(run.lock)
        try:
            run.log.touch()
            write_whole(run.spec, jsontext.encode(spec))
            run.write_status(first_status(spec, run))
            _start_runner(run, spec, lock)
        finally:
            os.close(lock)
    except OSError as error:
        # Nothing was started, so nothing is there that a list of jobs could show.
        shutil.rmtree(run.folder, ignore_errors=True)
        raise MachineCannot(
            tr(
                "The run folder {folder} cannot be written: {reason}.",
                folder=run.folder,
                reason=error.strerror or error,
            ),
            tr("Make room there, or set FSGR_TUI_RUNS to another folder."),
        ) from None


def first_status(spec: JobSpec, run: RunFolder, attempt: int = 1) -> JobStatus:
    """The status of a job that has not begun."""
    return JobStatus(
        spec.name,
        "queued",
        spec.kind,
        spec.shown or spec.argv,
        str(run.folder),
        attempt=attempt,
        queued=time.time(),
        waiting=first_wait(spec),
        host=life.this_host().name,
    )


def _start_runner(run: RunFolder, spec: JobSpec, lock: int) -> None:
    with run.runner_log.open("ab") as log:
        runner = subprocess.Popen(
            [sys.executable, "-m", "fsgr_tui.jobs.runner", str(run.folder), str(lock)],
            # Another job that started this one must not take the runner for its own process.
            env={**os.environ, JOB_VARIABLE: f"{mark_of(spec)}:runner"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            # Nothing of the face (its sockets, the terminal) may keep living in the runner.
            close_fds=True,
            pass_fds=(lock,),
        )
    # The runner signs for itself too; until then the lock must not name an earlier one.
    life.sign(lock, runner.pid)


def _become(run: RunFolder, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> NoReturn:
    """Let this process become the child; the spec then names what really runs, which is what a resume needs."""
    spec = run.read_spec()
    changed = msgspec.structs.replace(spec, argv=tuple(argv), cwd=str(cwd), env={**spec.env, **env}, step=False)
    write_whole(run.spec, jsontext.encode(changed))
    sys.stdout.flush()
    sys.stderr.flush()
    os.chdir(cwd)
    os.execvpe(argv[0], list(argv), {**os.environ, **env})  # noqa: S606 - an argv list, no shell


def ask_to_stop(run: RunFolder, number: int = signal.SIGTERM, *, firm: bool = False) -> None:
    """Tell a job to stop: gently, or by ending all its processes at once.

    Args:
        number: SIGTERM or SIGINT; the job's exit code is 143 or 130 accordingly. A second one that comes a second or
            more after the first is firm as well.
        firm: end the processes at once.

    Raises:
        BadRequest: the job does not run, or not here.
    """
    status = run.read_status()
    if status.backend == "slurm":
        from fsgr_tui.jobs.slurm.cancel import Cancelling

        Cancelling(run).ask(firm=firm)
        return
    if status.life == "orphaned":
        _signal_orphans(run, status, number, firm=firm)
        return
    holder = _living_runner(run, status)
    try:
        send(holder.pid, holder.start, FIRM if firm else number)
        # One that was halted (SIGSTOP) would hear it only when somebody wakes it.
        send(holder.pid, holder.start, signal.SIGCONT)
    except PermissionError:
        raise MachineCannot(
            tr("{name} belongs to another user.", name=run.name), tr("Ask its owner to stop it.")
        ) from None


def _signal_orphans(run: RunFolder, status: JobStatus, number: int, *, firm: bool) -> None:
    """As the runner would: gently to the command alone, and to the rest once that has ended."""
    left = run.survivors(status)
    command = [process for process in left if (process.pid, process.start) == (status.child_pid, status.child_start)]
    tree.signal_all(left if firm else command or left, signal.SIGKILL if firm else number)


def _living_runner(run: RunFolder, status: JobStatus) -> life.Holder:
    proof = life.prove(run.lock)
    # A runner that has written its last status lives for another moment.
    if status.ended_for_good or proof.life == "gone" or proof.holder is None:
        raise BadRequest(
            tr("{name} does not run ({state}).", name=run.name, state=tr(status.state)),
            tr("`fsgr-tui jobs` shows how it stands."),
        )
    host, here = proof.holder.host, life.this_host()
    if proof.life == "elsewhere":
        raise BadRequest(
            tr(
                "{name} runs on {host}, not here; a process there cannot be told from here.",
                name=run.name,
                host=host.name,
            ),
            tr("Log in there, and say `fsgr-tui stop {name}`.", name=run.name),
        )
    if host.pid_space != here.pid_space:
        raise BadRequest(
            tr("{name} runs in another container ({host}) of this machine.", name=run.name, host=host.name),
            tr("Stop it from inside that container."),
        )
    return proof.holder


def stop(run: RunFolder, gentle_s: float = GENTLE_S) -> JobStatus:
    """Stop a job: gently, then firmly; returns when it has ended.

    Args:
        gentle_s: how long it may take to end by itself; 0 ends it at once.

    Raises:
        BadRequest: the job does not run, or not here.
        MachineCannot: its processes cannot be ended.
    """
    before = run.read_status()
    if before.backend == "slurm":
        from fsgr_tui.jobs.slurm.cancel import Cancelling

        return Cancelling(run).stop(gentle_s)
    orphaned = before.life == "orphaned"
    if gentle_s > 0:
        ask_to_stop(run)
    if gentle_s <= 0 or not _ends_within(run, gentle_s, orphaned=orphaned):
        try:
            ask_to_stop(run, firm=True)
        except BadRequest:
            # It has ended in this very moment.
            if not run.read_status().ended_for_good:
                raise
        if not _ends_within(run, FIRM_S):
            _end_for_the_runner(run)
    return _note_stopped(run) if orphaned else run.read_status()


def _ends_within(run: RunFolder, seconds: float, *, orphaned: bool = False) -> bool:
    until = time.monotonic() + seconds
    rest_told = not orphaned
    while True:
        status = run.read_status()
        if status.ended_for_good:
            return True
        if time.monotonic() >= until:
            return False
        if not rest_told and (status.child_pid is None or process_start(status.child_pid) != status.child_start):
            rest_told = True
            _signal_orphans(run, status, signal.SIGTERM, firm=False)
        time.sleep(POLL_S)


def _end_for_the_runner(run: RunFolder) -> None:
    """A runner that hears nothing (its disk hangs, or it was halted): its job's processes are ended from here."""
    tree.signal_all(run.survivors(run.recorded_status()), signal.SIGKILL)
    if _ends_within(run, FIRM_S):
        return
    left = run.survivors(run.recorded_status())
    if left:
        stuck = find(left[0].pid)
        why = (
            tr("it waits for a disk or a driver, and the kernel holds it")
            if stuck and stuck.state == "D"
            else tr("it does not end")
        )
        raise MachineCannot(
            tr("Process {pid} of {name} cannot be ended: {why}.", pid=left[0].pid, name=run.name, why=why),
            tr("Look at it with `ps`."),
        )
    raise MachineCannot(
        tr("The processes of {name} have ended; its runner cannot write that down yet.", name=run.name),
        tr("Look at the disk of {folder}, and at {log}.", folder=run.folder, log=run.runner_log),
    )


def _note_stopped(run: RunFolder) -> JobStatus:
    """Write down the end of a job that had lost its runner."""
    lock = life.take(run.lock)
    try:
        status = run.recorded_status()
        if not status.ended_for_good:
            cause = Cause("stopped", tr("Stopped after its runner had been killed; what it ended with is not known."))
            status = msgspec.structs.replace(
                status, state="stopped", ended=time.time(), cause=cause, note="", waiting=""
            )
            run.write_status(status)
        return status
    finally:
        os.close(lock)


def resume(run: RunFolder, spec: JobSpec, seen: JobStatus) -> JobStatus:
    """Run a job that has ended once more, in the same folder; what it told before is kept in `attempt-N`.

    Args:
        spec: what to run: the job's own, or as the caller changed it so that it goes on.
        seen: the status on which the wish rests; somebody else may have resumed the job since.

    Raises:
        BadRequest: the job runs, processes of it do, or it has been resumed since.
        MachineCannot: the run folder cannot be written.
    """
    try:
        lock = life.take(run.lock)
    except BlockingIOError:
        raise BadRequest(
            tr("{name} runs.", name=run.name), tr("Watch it with `fsgr-tui attach {name}`.", name=run.name)
        ) from None
    except OSError as error:
        raise MachineCannot(
            tr("{path} cannot be taken: {reason}.", path=run.lock, reason=error.strerror),
            tr("Look at the folder's disk."),
        ) from None
    try:
        status = run.recorded_status()
        if status.attempt != seen.attempt:
            raise BadRequest(
                tr("{name} has been resumed meanwhile.", name=run.name),
                tr("Watch it with `fsgr-tui attach {name}`.", name=run.name),
            )
        if not status.ended_for_good and run.survivors(status):
            raise BadRequest(
                tr("Processes of {name} go on without its runner.", name=run.name),
                tr("End them first: fsgr-tui stop {name}", name=run.name),
            )
        keep_attempt(run, status)
        if spec != run.read_spec():
            write_whole(run.spec, jsontext.encode(spec))
        queued = first_status(spec, run, status.attempt + 1)
        run.write_status(queued)
        _start_runner(run, spec, lock)
    except OSError as error:
        raise MachineCannot(
            tr(
                "The run folder {folder} cannot be written: {reason}.",
                folder=run.folder,
                reason=error.strerror or error,
            ),
            tr("Make room there."),
        ) from None
    finally:
        os.close(lock)
    return queued


def keep_attempt(run: RunFolder, status: JobStatus) -> None:
    """Put aside what an attempt told, so that the next one begins with empty files; OSError as of moving them."""
    kept = run.folder / f"attempt-{status.attempt}"
    kept.mkdir(exist_ok=True)
    shutil.copy2(run.status, kept / run.status.name)
    for path in (run.events, run.log, run.samples, run.series):
        if path.exists():
            path.replace(kept / path.name)
    run.log.touch()
    run.turn.unlink(missing_ok=True)


def remove(run: RunFolder) -> None:
    """Delete a job's folder.

    Raises:
        BadRequest: the job has not ended, or another one waits for it.
        MachineCannot: the folder cannot be deleted.
    """
    try:
        ended = run.read_status().ended_for_good
    except BadRequest:
        # A folder without a whole status is what a face left that was killed while it started a job.
        ended = life.prove(run.lock).life == "gone"
    if not ended:
        raise BadRequest(
            tr("{name} has not ended.", name=run.name), tr("Stop it first: fsgr-tui stop {name}", name=run.name)
        )
    for other in all_runs():
        try:
            waits = run.name in other.read_spec().needs and not other.read_status().ended_for_good
        except BadRequest:
            continue
        if waits:
            raise BadRequest(
                tr("{name} waits for {other}.", name=other.name, other=run.name),
                tr("Stop it first: fsgr-tui stop {name}", name=other.name),
            )
    try:
        shutil.rmtree(run.folder)
    except OSError as error:
        raise MachineCannot(
            tr("{path} cannot be deleted: {reason}.", path=error.filename or run.folder, reason=error.strerror),
            tr("Look at its owner."),
        ) from None
