"""Going on with jobs: what can be continued is continued, and what waited for it is started again."""

from __future__ import annotations

import shlex

import msgspec

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.job import JobSpec, JobStatus
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import printable
from fsgr_tui.jobs import control
from fsgr_tui.jobs.child_spec import set_resume, spec_of
from fsgr_tui.jobs.folder import RunFolder, all_runs


def resume(run: RunFolder, *, again: bool = False, anyway: bool = False) -> tuple[RunFolder, ...]:
    """Go on with a job that has ended, and with the jobs that were stopped because of it.

    Args:
        again: run a command that is not this program's anew, from its beginning.
        anyway: no longer wait for the jobs that it needed.

    Returns:
        The jobs that were started, the one that was named first.

    Raises:
        BadRequest: it runs, has nothing to go on with, or is a foreign command and `again` is off.
    """
    status, spec = run.read_status(), run.read_spec()
    if not status.ended_for_good:
        raise BadRequest(
            tr("{name} has not ended ({state}).", name=run.name, state=tr(status.state)),
            status.note or tr("Watch it with `fsgr-tui attach {name}`.", name=run.name),
        )
    if status.state == "done" and not status.exit_code and not again:
        raise BadRequest(
            tr("{name} ended well; there is nothing to go on with.", name=run.name), tr("--again runs it anew.")
        )
    if status.backend == "slurm":
        from fsgr_tui.jobs.slurm import chain

        _going_on(run, spec, status, again=again)
        return chain.resume(run, anyway=anyway)
    if anyway:
        spec = msgspec.structs.replace(spec, needs=())
    control.resume(run, _going_on(run, spec, status, again=again), status)
    started = [run]
    for other in reversed(all_runs()):
        if _stopped_for(other, {each.name for each in started}):
            control.resume(other, other.read_spec(), other.read_status())
            started.append(other)
    return tuple(started)


def _going_on(run: RunFolder, spec: JobSpec, status: JobStatus, *, again: bool) -> JobSpec:
    """The spec that goes on where the job was."""
    module = spec.argv[2] if len(spec.argv) > 2 and spec.argv[1] == "-m" else ""
    if (child := spec_of(spec.argv)) is not None:
        set_resume(child)
        return spec
    if module == "fsgr_tui" or status.started is None or again:
        return spec
    raise BadRequest(
        tr("{name} runs a command of yours; whether that can go on where it was, only you know.", name=run.name),
        tr(
            "`fsgr-tui resume {name} --again` runs it anew, from its beginning: {command}",
            name=run.name,
            command=printable(shlex.join(spec.argv)),
        ),
    )


def _stopped_for(run: RunFolder, names: set[str]) -> bool:
    """Whether a job was stopped because of one of these, directly or through others that are among them."""
    try:
        status = run.read_status()
        return (
            status.state == "stopped"
            and status.cause is not None
            and status.cause.kind == "need"
            and bool(names & set(run.read_spec().needs))
        )
    except BadRequest:
        return False
