"""Extractions for a cluster: an array of shards with what follows it, looked at before anything is submitted."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from fsgr_tui.core import jsontext
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.files import write_whole
from fsgr_tui.core.job import JobSpec, JobStatus
from fsgr_tui.core.language import tr, trn
from fsgr_tui.core.slurm_job import Part, shard_folder
from fsgr_tui.core.slurm_profile import light
from fsgr_tui.core.slurm_script import Batch
from fsgr_tui.core.units import Estimate, format_bytes, format_duration
from fsgr_tui.jobs.folder import RunFolder, new_run, runs_dir
from fsgr_tui.jobs.slurm import commands
from fsgr_tui.jobs.slurm.chain import ids_behind
from fsgr_tui.jobs.slurm.commands import Commands
from fsgr_tui.jobs.slurm.submit import Work, part_of, submit, write_member
from fsgr_tui.service import cluster_time, extraction
from fsgr_tui.service.cluster import Place, batch_of, time_limit
from fsgr_tui.service.extraction import ExtractRequest, Prepared
from fsgr_tui.service.profiles import name_words
from fsgr_tui.service.selection import shard, shard_path

EXAMPLE_RUN = "extract-EXAMPLE"


class PreparedShards(msgspec.Struct, frozen=True):
    """An extraction for a cluster that nothing speaks against.

    Attributes:
        shards: one prepared extraction each; a single one writes the feature file itself.
        whole: the extraction as it was asked for.
        time_s: of a shard, time limit.
        work: how long a shard takes.
    """

    where: Place
    whole: Prepared
    shards: tuple[Prepared, ...]
    time_s: int
    work: Estimate

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should know before it is submitted."""
        return (*self.whole.notices, *self.where.notices)


def prepare_extraction(
    request: ExtractRequest, where: Place, shards: int, *, own_workers: bool = False
) -> PreparedShards:
    """Look at everything that could stop an extraction on the cluster.

    Args:
        where: the cluster, which can give what the profile asks for.
        shards: tasks of the job array; one is a single job.
        own_workers: whether the user gave the number of workers; else it is that of the profile's CPUs.

    Raises:
        BadRequest: as `extraction.prepare`; or files of shards are in the way.
        MachineCannot: as `extraction.prepare`; or there is no room for shards and the whole file.
    """
    if request.shard:
        raise BadRequest(
            tr("--shard is for a part that you start yourself."), tr("With --backend slurm say --shards N.")
        )
    profile = where.profile
    if profile.nodes > 1:
        raise BadRequest(
            tr("nodes = {nodes}: every shard runs on one node.", nodes=profile.nodes),
            tr("Use nodes = 1 and more --shards."),
        )
    many = profile.gpus is not None and profile.gpus > 1 and request.model.device == "auto"
    request = msgspec.structs.replace(
        request,
        workers=request.workers if own_workers else where.cpus,
        model=msgspec.structs.replace(request.model, device="all") if many else request.model,
    )
    whole = extraction.prepare(request)
    parts = _parts(whole, shards)
    images = max(len(part.images) for part in parts)
    work = cluster_time.extraction_time(whole.tower, profile, where.partition, request.workers, images)
    return PreparedShards(where, whole, parts, time_limit(where, work), work)


def _parts(whole: Prepared, shards: int) -> tuple[Prepared, ...]:
    if shards == 1:
        return (whole,)
    if whole.request.resume and whole.output.exists() and not whole.request.overwrite:
        raise BadRequest(
            tr("{output} is finished; shards cannot add to it.", output=whole.output),
            tr("Use --shards 1 to add what is missing in it, or --overwrite to replace it."),
        )
    if shards > len(whole.images):
        raise BadRequest(
            tr("--shards {shards}: there are only {images:,} images.", shards=shards, images=len(whole.images)),
            tr("Use fewer."),
        )
    extraction.require_space(whole.output, 2 * whole.need_bytes)
    parts = []
    for number in range(1, shards + 1):
        images, _, _ = shard(whole.images, f"{number}/{shards}")
        output = shard_path(whole.output, number, shards)
        extraction.require_free_name(output, whole.request)
        need = round(whole.need_bytes / shards)
        parts.append(msgspec.structs.replace(whole, images=images, output=output, need_bytes=need, notices=()))
    return tuple(parts)


def extraction_scripts(prepared: PreparedShards, run: RunFolder | None = None) -> tuple[tuple[Part, Batch], ...]:
    """The jobs of an extraction and their scripts, in the order in which they begin.

    Args:
        run: the run folder; None for an example of one, to be shown.
    """
    run = run or RunFolder(runs_dir() / EXAMPLE_RUN)
    count = len(prepared.shards)
    output = prepared.whole.output
    if count == 1:
        return (
            (part_of(run, "extract"), batch_of(prepared.where, run, "extract", f"extract {output}", prepared.time_s)),
        )
    # The profile's own time is that of a shard.
    small = msgspec.structs.replace(
        prepared.where, profile=msgspec.structs.replace(light(prepared.where.profile), time="")
    )
    light_s = time_limit(small, cluster_time.copying_time(prepared.whole.need_bytes))
    array = batch_of(prepared.where, run, "extract", f"extract {output} in {count} shards", prepared.time_s, count)
    return (
        (part_of(run, "extract", "", count), array),
        *(
            (part_of(run, name, name), batch_of(small, run, name, what, light_s, below=name))
            for name, what in (
                ("merge", f"merge {count} shards into {output}"),
                ("check", f"check {output}, every row"),
            )
        ),
    )


def start_extraction(
    prepared: PreparedShards, name: str = "", needs: Sequence[str] = (), slurm: Commands = commands.run
) -> RunFolder:
    """Submit a prepared extraction.

    Args:
        name: the user's own name for the job.
        needs: names of runs in Slurm that have to end well first.

    Raises:
        BadRequest: the name cannot be.
        MachineCannot: a folder cannot be made, or Slurm takes a job not.
    """
    extraction.make_output_folder(prepared.whole)
    run = new_run("extract", name)
    request, profile, python = prepared.whole.request, prepared.where.profile, prepared.where.python
    cwd = Path.cwd()
    if len(prepared.shards) == 1:
        argv = extraction.write_child(prepared.whole, run, python)
        write_member(run, Work(kind="extract", argv=argv, cwd=cwd, shown=request.shown), profile)
    else:
        _write_whole_run(run, prepared, cwd)
        for number, part in enumerate(prepared.shards, start=1):
            own = RunFolder(run.folder / shard_folder(number))
            own.folder.mkdir()
            argv = extraction.write_child(part, own, python)
            write_member(own, Work(kind="extract", argv=argv, cwd=cwd, shown=request.shown), profile, run)
        for kind, words in (("merge", _merge(prepared)), ("check", _check(prepared))):
            work = Work(kind=kind, argv=(python, "-m", "fsgr_tui", *words), cwd=cwd, shown=("fsgr-tui", *words))
            write_member(RunFolder(run.folder / kind), work, profile, run)
    submit(run, extraction_scripts(prepared, run), ids_behind(needs), needs, slurm)
    return run


def _write_whole_run(run: RunFolder, prepared: PreparedShards, cwd: Path) -> None:
    """The documents of the run itself, which has no runner of its own."""
    shown = prepared.whole.request.shown
    spec = JobSpec(
        run.name, "extract", (sys.executable, "-m", "fsgr_tui", *shown[1:]), str(cwd), shown=shown, created=time.time()
    )
    count = len(prepared.shards)
    run.log.write_text(
        f"{count} shards, then merge and check, each with its own log: fsgr-tui logs {run.name}/shard-1 "
        f"(to shard-{count}), {run.name}/merge, {run.name}/check\n"
    )
    write_whole(run.spec, jsontext.encode(spec))
    output = str(prepared.whole.output.absolute())
    run.write_status(
        JobStatus(
            run.name, "queued", "extract", shown, str(run.folder), backend="slurm", queued=time.time(), result={"output": output}
        )
    )  # fmt: skip


def _merge(prepared: PreparedShards) -> tuple[str, ...]:
    again = ("--overwrite",) if prepared.whole.request.overwrite else ()
    shards = (str(part.output.absolute()) for part in prepared.shards)
    return ("merge", "--resume", *again, str(prepared.whole.output.absolute()), *shards)


def _check(prepared: PreparedShards) -> tuple[str, ...]:
    request = prepared.whole.request
    words = ["check", "--deep", str(prepared.whole.output.absolute())]
    # With a list of ids, or ids from annotations, the folders hold other images than the file.
    if request.ids is None and not request.annotations:
        words += ["--image-root", str(Path(request.image_root).absolute())]
        words += [word for split in request.splits for word in ("--split", split)]
        words += ["--id-pattern", request.id_pattern] if request.id_pattern else []
    return tuple(words)


def words_of(prepared: PreparedShards) -> str:
    """What would be done, in a line."""
    profile, count = prepared.where.profile, len(prepared.shards)
    gpus = trn("{count} GPU", "{count} GPUs", profile.gpus or 0)
    jobs = tr("{shards} shards, then merge and check", shards=count) if count > 1 else tr("1 job")
    words = tr(
        "{jobs} on {partition} (profile {profile}: {gpus}, {cpus} CPUs each, {limit} at the most; "
        "about {work} of work, {basis})",
        jobs=jobs,
        partition=profile.partition,
        profile=name_words(prepared.where.profile_name),
        gpus=gpus,
        cpus=prepared.where.cpus,
        limit=format_duration(prepared.time_s),
        work=format_duration(prepared.work.likely),
        basis=tr(prepared.work.basis),
    )
    if count == 1:
        return words
    need = format_bytes(2 * prepared.whole.need_bytes)
    return tr("{words}; shards and file need {size} together", words=words, size=need)
