"""Giving run folders to Slurm: folders and scripts first, then `sbatch`, each job behind the one that it needs."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from fsgr_tui.core import jsontext
from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.files import write_whole
from fsgr_tui.core.job import JobSpec, JobStatus
from fsgr_tui.core.language import tr
from fsgr_tui.core.slurm import parse_submitted
from fsgr_tui.core.slurm_job import Part, Submission
from fsgr_tui.core.slurm_profile import Profile
from fsgr_tui.core.slurm_script import Batch, job_name, script
from fsgr_tui.core.units import Estimate
from fsgr_tui.jobs import life
from fsgr_tui.jobs.child_spec import set_resume, spec_of
from fsgr_tui.jobs.control import keep_attempt
from fsgr_tui.jobs.environment import git_state, recorded
from fsgr_tui.jobs.folder import RunFolder
from fsgr_tui.jobs.slurm import commands
from fsgr_tui.jobs.slurm.commands import SUBMIT_S, Commands, on_cluster
from fsgr_tui.jobs.slurm.standing import STOPPED, SUBMISSION, forget, member_run, read_submission, whole


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """A command that a runner will run on a node.

    Attributes:
        kind: extract, merge, check, train or command.
        env: variables that the user set for it.
        shown: as a user would type it.
        step: whether the command is one of this program's that prepares and follows one child.
        seconds: how long it takes, where that can be told.
    """

    kind: str
    argv: tuple[str, ...]
    cwd: Path
    shown: tuple[str, ...] = ()
    env: Mapping[str, str] = {}
    step: bool = False
    seconds: Estimate | None = None


def write_member(run: RunFolder, work: Work, profile: Profile, of: RunFolder | None = None) -> None:
    """Make the folder of one runner, waiting.

    Args:
        of: the run that it is a part of.

    Raises:
        MachineCannot: it cannot be written.
    """
    own = dict(recorded(os.environ))
    # The GPUs that may be seen are Slurm's to say; and what a script sets up counts more than where it was submitted.
    own.pop("CUDA_VISIBLE_DEVICES", None)
    if profile.modules or profile.conda or profile.setup:
        own = {}
    spec = JobSpec(
        name=f"{of.name}/{run.name}" if of is not None else run.name,
        kind=work.kind,
        argv=work.argv,
        cwd=str(work.cwd),
        env=dict(work.env),
        shown=work.shown,
        created=time.time(),
        environment=own,
        step=work.step,
        git=git_state(work.cwd),
        host=life.this_host().name,
        boot_id=life.this_host().boot_id,
        token=secrets.token_hex(8),
    )
    try:
        run.folder.mkdir(exist_ok=True)
        run.log.touch()
        write_whole(run.spec, jsontext.encode(spec))
        run.write_status(_waiting(spec, run, 1))
    except OSError as error:
        raise _unwritable(run, error) from None


def _waiting(spec: JobSpec, run: RunFolder, attempt: int) -> JobStatus:
    return JobStatus(
        spec.name, "queued", spec.kind, spec.shown or spec.argv, str(run.folder), backend="slurm", attempt=attempt,
        queued=time.time(),
    )  # fmt: skip


def _unwritable(run: RunFolder, error: OSError) -> MachineCannot:
    return MachineCannot(
        tr("The run folder {folder} cannot be written: {error}.", folder=run.folder, error=error.strerror or error),
        tr("Make room there, or set FSGR_TUI_RUNS to another folder."),
    )


def submit(
    run: RunFolder,
    batches: Sequence[tuple[Part, Batch]],
    after: Sequence[int] = (),
    needs: Sequence[str] = (),
    slurm: Commands = commands.run,
) -> Submission:
    """Write the scripts of a run and submit them, each behind the one before it.

    Args:
        run: the run folder, with the folders of its runners.
        after: ids of jobs that have to end well first; needs: names of their runs.

    Raises:
        MachineCannot: Slurm takes one of them not; those before it are cancelled.
    """
    first = batches[0][1]
    submission = Submission(
        os.getuid(), first.profile_name, first.profile, tuple(part for part, _ in batches), time.time(), needs=tuple(needs)
    )  # fmt: skip
    try:
        for part, batch in batches:
            write_whole(run.folder / part.script, script(batch).encode())
        write_whole(run.folder / SUBMISSION, jsontext.encode(submission))
    except OSError as error:
        raise _unwritable(run, error) from None
    return _sent(run, submission, after, slurm)


def _sent(run: RunFolder, submission: Submission, after: Sequence[int], slurm: Commands) -> Submission:
    parts: list[Part] = []
    behind, cluster = tuple(after), ""
    for part in submission.parts:
        if part.job_id == 0:
            answer = slurm(_sbatch(run, part, behind), SUBMIT_S)
            found = parse_submitted(answer.out) if answer.good else None
            if found is None:
                _take_back(parts, cluster, slurm)
                raise _refused(run, part, answer)
            part = msgspec.structs.replace(part, job_id=found[0])  # noqa: PLW2901 - the same part, with its number
            cluster = found[1]
            behind = (found[0],)
        parts.append(part)
    sent = msgspec.structs.replace(submission, parts=tuple(parts), cluster=cluster, submitted=time.time())
    write_whole(run.folder / SUBMISSION, jsontext.encode(sent))
    forget(run)
    return sent


def _sbatch(run: RunFolder, part: Part, behind: Sequence[int]) -> tuple[str, ...]:
    argv = ["sbatch", "--parsable"]
    if behind:
        # Without the second flag a job whose need has failed would wait for ever.
        argv += [f"--dependency=afterok:{':'.join(map(str, behind))}", "--kill-on-invalid-dep=yes"]
    if part.shards and len(part.tasks) < part.shards:
        argv.append(f"--array={','.join(map(str, part.tasks))}")
    return (*argv, str(run.folder / part.script))


def _take_back(parts: Sequence[Part], cluster: str, slurm: Commands) -> None:
    ids = [str(part.job_id) for part in parts if part.job_id]
    if ids:
        slurm(("scancel", *on_cluster(cluster), *ids))


def _refused(run: RunFolder, part: Part, answer: commands.Answer) -> MachineCannot:
    if answer.late:
        return MachineCannot(
            tr(
                "sbatch gave no answer within {seconds:.0f} s; whether the job {job} was taken is not known.",
                seconds=SUBMIT_S,
                job=part.job_name,
            ),
            tr("Look with `squeue -n {job}`, and cancel what is there before you try again.", job=part.job_name),
        )
    return MachineCannot(
        tr(
            "Slurm did not take the job {job}: {why}.",
            job=part.job_name,
            why=answer.why.removeprefix("sbatch: error: "),
        ),
        tr(
            "The script is {script}; mend the profile, or try it with `sbatch --test-only`.",
            script=run.folder / part.script,
        ),
    )


def part_of(run: RunFolder, name: str, folder: str = "", shards: int = 0) -> Part:
    """A part that is not submitted yet."""
    return Part(
        name, folder, f"{name}.sbatch", job_name(run.name, name), shards=shards, tasks=tuple(range(1, shards + 1))
    )


def resubmit(run: RunFolder, after: Sequence[int] = (), slurm: Commands = commands.run) -> JobStatus:
    """Go on with a run that has ended badly: what is not done is submitted again by the same scripts.

    Args:
        after: ids of jobs that have to end well first.

    Raises:
        BadRequest: it was submitted by another user.
        MachineCannot: Slurm takes it not, or the folder cannot be written.
    """
    run = whole(run)
    submission = read_submission(run)
    if submission.uid != os.getuid():
        raise BadRequest(
            tr("{name} was submitted by another user (uid {uid}).", name=run.name, uid=submission.uid),
            tr("Ask its owner."),
        )
    try:
        (run.folder / STOPPED).unlink(missing_ok=True)
        parts = tuple(_open_again(run, part) for part in submission.parts)
        recorded_status = run.recorded_status()
        if len(parts) > 1 or parts[0].shards:
            run.write_status(_waiting(run.read_spec(), run, recorded_status.attempt + 1))
    except OSError as error:
        raise _unwritable(run, error) from None
    again = msgspec.structs.replace(submission, parts=parts)
    _sent(run, again, after, slurm)
    return run.recorded_status()


def _open_again(run: RunFolder, part: Part) -> Part:
    """The part with what is not done; its runners wait again."""
    open_tasks = []
    for number, member in enumerate(part.members, start=1):
        own = member_run(run, member)
        status = own.recorded_status()
        if status.state == "done" and not (status.exit_code and part.name == "check"):
            continue
        open_tasks.append(number)
        if status.started is not None:
            keep_attempt(own, status)
            if (child := spec_of(own.read_spec().argv)) is not None:
                set_resume(child)
            own.write_status(_waiting(own.read_spec(), own, status.attempt + 1))
        else:
            own.write_status(_waiting(own.read_spec(), own, status.attempt))
    if not open_tasks:
        return part
    return msgspec.structs.replace(part, job_id=0, tasks=tuple(open_tasks) if part.shards else ())
