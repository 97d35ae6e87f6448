"""Joining shards into one feature file: a new file is built, and published when it is whole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from fsgr_tui.core.errors import BadRequest, Problem
from fsgr_tui.core.language import mark, tr
from fsgr_tui.features.build import FeatureBuild, Tell
from fsgr_tui.features.manifest import Manifest, differences, read_checksums, read_manifest, read_refused
from fsgr_tui.features.opening import open_hdf5
from fsgr_tui.features.reader import FeatureFile

_ORDER = mark("The new file comes first: fsgr-tui merge TARGET SHARD SHARD ...")


def merge_files(
    target: Path, sources: Sequence[Path], *, overwrite: bool = False, resume: bool = False, tell: Tell | None = None
) -> Manifest:
    """Copy the rows of several files into a new one; the sources stay as they are.

    Args:
        target: the new file.
        sources: files of this program, of one identity and with disjoint ids.
        resume: go on with a merge that was cut off; one that was cut off behind its last step is done.
        tell: called with (rows copied, rows).

    Returns:
        The new file's manifest.

    Raises:
        BadRequest: a source has no manifest, another identity, or ids of another source.
        Problem: as in building any file.
    """
    _require_new(target, sources, may_exist=overwrite or resume)
    files = [FeatureFile(source) for source in sources]
    manifest = _common(files)
    ids = _disjoint(files)
    refused: dict[int, tuple[str, str]] = {}
    for file in files:
        with open_hdf5(file.path) as hdf5:
            refused |= {
                image_id: (path, reason) for image_id, path, reason in read_refused(hdf5) if image_id not in ids
            }
    if resume and (made := _made_before(target, manifest, files, set(refused))) is not None:
        return made
    rows = (*sorted(ids), *sorted(refused))
    build = FeatureBuild.start(target, _of_all(manifest, files), rows, overwrite=overwrite, resume=resume)
    try:
        for file in files:
            build.adopt(file, _counted(tell, build.done_count, len(ids)))
        for row, image_id in enumerate(rows):
            if image_id in refused:
                build.refuse(row, *refused[image_id])
        return build.publish()
    finally:
        build.close()


def _made_before(target: Path, manifest: Manifest, files: Sequence[FeatureFile], refused: set[int]) -> Manifest | None:
    """The manifest of a target that these files were merged into already, by the checksum of every row; else None.

    It was killed between its rename and its last word: a job that Slurm starts once more finds it so.
    """
    if not target.exists():
        return None
    with open_hdf5(target) as hdf5:
        there, left_out, sums = read_manifest(hdf5), {each[0] for each in read_refused(hdf5)}, read_checksums(hdf5)
    wanted: dict[int, int] = {}
    for file in files:
        with open_hdf5(file.path) as hdf5:
            wanted |= read_checksums(hdf5)
    same = there is not None and not differences(manifest.identity(), there.identity())
    return there if same and sums == wanted and wanted and left_out == refused else None


def missing_shards(sources: Sequence[Path]) -> tuple[str, ...]:
    """Shards that belong to these and are not among them, e.g. `2/8`; files that are no shards say nothing."""
    marks = [mark for mark in (_shard(source) for source in sources) if mark is not None]
    found = set(marks)
    return tuple(
        f"{number}/{count}"
        for count in sorted({count for _, count in found})
        for number in range(1, count + 1)
        if (number, count) not in found
    )


def _require_new(target: Path, sources: Sequence[Path], *, may_exist: bool) -> None:
    """Refuse a target that is a shard itself: it was meant as a source, and replacing it would lose its rows."""
    if target.resolve() in {source.resolve() for source in sources}:
        raise BadRequest(tr("{target} is both the target and a shard.", target=target), tr(_ORDER))
    if not target.exists():
        if any(not source.exists() for source in sources[-1:]) and len(sources) > 1:
            raise BadRequest(tr("There is no shard {shard}.", shard=sources[-1]), tr(_ORDER))
        return
    if _shard(target) is not None:
        raise BadRequest(tr("{target} is a shard itself, so nothing is merged into it.", target=target), tr(_ORDER))
    if not may_exist:
        raise BadRequest(
            tr("{target} exists already.", target=target),
            tr("{order} --overwrite replaces what is there.", order=tr(_ORDER)),
        )


def _shard(path: Path) -> tuple[int, int] | None:
    """(number, count) when a file is a shard by the command that made it."""
    try:
        with open_hdf5(path) as hdf5:
            manifest = read_manifest(hdf5)
    except Problem:
        # What is wrong with it is told where it is read.
        return None
    found = re.search(r"--shard[ =](\d+)/(\d+)", manifest.command) if manifest else None
    return (int(found[1]), int(found[2])) if found else None


def _counted(tell: Tell | None, before: int, total: int) -> Tell | None:
    return None if tell is None else lambda step, _of_file: tell(before + step, total)


def _of_all(manifest: Manifest, files: Sequence[FeatureFile]) -> Manifest:
    """The first file's manifest for the whole: the same features, all splits, and every type that some went through."""
    made = [file.manifest for file in files if file.manifest]
    return msgspec.structs.replace(
        manifest,
        splits=tuple(dict.fromkeys(name for each in made for name in each.splits)),
        converted_from=tuple(dict.fromkeys(name for each in made for name in each.converted_from)),
        images=0,
        refused=0,
        ids_sha256="",
    )


def _common(files: Sequence[FeatureFile]) -> Manifest:
    first = files[0].manifest
    for file in files:
        if file.manifest is None or first is None:
            raise BadRequest(
                tr("{path} has no manifest, so nobody can tell whether it fits.", path=file.path),
                tr("Merge files that this program made."),
            )
        if changed := differences(first.identity(), file.manifest.identity()):
            told = tr("; ").join(
                tr("{name}: {ours} and {theirs}", name=name, ours=ours, theirs=theirs)
                for name, (ours, theirs) in changed.items()
            )
            raise BadRequest(
                tr(
                    "{first} and {other} hold other features ({told}).", first=files[0].path, other=file.path, told=told
                ),
                tr("Extract the shards with the same settings."),
            )
    if first is None:
        raise BadRequest(tr("There is nothing to merge."), tr("Name the shards."))
    return first


def _disjoint(files: Sequence[FeatureFile]) -> set[int]:
    seen: dict[int, Path] = {}
    for file in files:
        for image_id in file.ids.tolist():
            if image_id in seen:
                raise BadRequest(
                    tr(
                        "Image {image_id} is in {seen} and in {path}.",
                        image_id=image_id,
                        seen=seen[image_id],
                        path=file.path,
                    ),
                    tr("Shards must not overlap; name each once."),
                )
            seen[image_id] = file.path
    return set(seen)
