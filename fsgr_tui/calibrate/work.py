"""One measurement, from its spec to the calibration that is kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch

from fsgr_tui.calibrate import images, pictures, store
from fsgr_tui.calibrate.cache import evict
from fsgr_tui.calibrate.gpu_memory import outside_bytes
from fsgr_tui.calibrate.meter import Meter, Stopped
from fsgr_tui.calibrate.steps import Captions, Steps
from fsgr_tui.core import jsontext
from fsgr_tui.core.bench import SHARES, BenchSpec, fitting_batch
from fsgr_tui.core.bottleneck import bottleneck, remarks
from fsgr_tui.core.calibration import Calibration, MemoryLine
from fsgr_tui.core.child import Stopper
from fsgr_tui.core.errors import EXIT_OK
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.event_words import stage_words
from fsgr_tui.core.files import write_whole
from fsgr_tui.core.language import tr
from fsgr_tui.core.training import TrainSpec
from fsgr_tui.core.units import Estimate, Unknown
from fsgr_tui.extract.encoder import Encoder, make_encoder, manifest_of
from fsgr_tui.features.build import FeatureBuild
from fsgr_tui.features.images import Image, read_image_list
from fsgr_tui.features.reader import FeatureFile
from fsgr_tui.train.data import PrecomputedGrids, RealtimeGrids


def bench(spec: BenchSpec, events: EventWriter, stopper: Stopper) -> int:
    """Measure, keep and tell.

    Returns:
        The exit code: 0, or 130 or 143 when stopped; then nothing is kept.

    Raises:
        Problem: the model, the pictures or the folder are not fit for it.
    """
    encoder = make_encoder(spec.model)
    for notice in encoder.loaded.notices:
        events.notice(notice)
    if spec.model.weights.startswith("random:"):
        events.notice(tr("Rates do not depend on the weights."))
    try:
        with store.scratch(Path(spec.folder), spec.host) as folder:
            calibration = _Bench(spec, encoder, folder, events, stopper).run()
    except Stopped:
        events.notice(tr("Stopped; nothing was kept, and the temporary file is gone."))
        return stopper.exit_code
    kept = _keep(calibration, Path(spec.calibrations), events)
    events.result("bench", {"calibration": msgspec.to_builtins(calibration), "kept": kept})
    return EXIT_OK


class _Trained(NamedTuple):
    """What the training steps gave."""

    batch_size: int
    step_fixed_s: float
    realtime: Estimate | Unknown
    precomputed: Estimate | Unknown
    realtime_memory: MemoryLine | Unknown
    precomputed_memory: MemoryLine | Unknown


class _Bench:
    """The stages, one after the other, each within its share of the time."""

    def __init__(self, spec: BenchSpec, encoder: Encoder, folder: Path, events: EventWriter, stopper: Stopper) -> None:
        self._spec, self._events, self._stopper = spec, events, stopper
        self._encoder, self._choice, self._folder = encoder, spec.model, folder
        self._device = encoder.device
        self._notes: list[str] = []

    def run(self) -> Calibration:
        """Measure everything.

        Raises:
            Stopped: it was told to stop.
        """
        spec, encoder = self._spec, self._encoder
        found = self._pictures()
        image_bytes = sum(os.path.getsize(picture.path) for picture in found) // len(found)  # noqa: PTH202 - of thousands
        px = encoder.shape.input_px
        one = images.decode(
            found, px, self._choice, 1, spec.batch_size, self._meter("decode with one worker", "images")
        )
        all_ = images.decode(
            found, px, self._choice, spec.workers, spec.batch_size, self._meter("decode with all workers", "images")
        )
        self._tell_refused({**dict(one.refused), **dict(all_.refused)})
        batch = self._batch("encode", images.seconds_per_image(encoder, one.pixels))
        encode, rows = images.encode(encoder, one.pixels, batch, self._meter("encode", "images"))
        manifest = manifest_of(encoder, self._choice)
        build = FeatureBuild.start(self._folder / "rows.hdf5", manifest, range(1, spec.rows + 1))
        try:
            self._evicted(all_.readable)
            extract = images.extract(
                build, encoder, all_.readable, self._choice, batch, spec.workers, self._meter("extract", "images")
            )
            written = store.write(build, rows, self._meter("write", "bytes"))
            file = store.publish(build)
        finally:
            build.close()
        read, read_cold = store.read(file, spec.batch_size, self._meter("read", "rows"))
        trained = self._train(file, all_.readable, encode)
        calibration = Calibration(
            machine=spec.machine,
            device=torch.cuda.get_device_name(self._device) if self._on_gpu else "cpu",
            clip_model=encoder.loaded.tower.name,
            precision=encoder.precision,
            measured_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            workers=spec.workers,
            decode=all_.rate,
            decode_one=one.rate,
            encode=encode,
            extract=extract,
            write_bytes_per_s=written,
            read=read,
            read_cold=read_cold,
            features_path=spec.features_path,
            features_mount=spec.features_mount,
            filesystem=spec.filesystem,
            batch_size=batch,
            weights=self._choice.weights,
            grid=self._choice.grid,
            dtype=self._choice.dtype,
            row_bytes=manifest.row_bytes,
            images=len(found),
            generated=not spec.images_file,
            image_bytes=image_bytes,
            images_cold=one.cold and all_.cold,
            captions=spec.annotation_folder or "synthetic",
            realtime=trained.realtime,
            precomputed=trained.precomputed,
            realtime_batch=trained.batch_size,
            precomputed_batch=trained.batch_size,
            step_fixed_s=trained.step_fixed_s,
            realtime_memory=trained.realtime_memory,
            precomputed_memory=trained.precomputed_memory,
        )
        told = (*self._notes, *remarks(calibration))
        return msgspec.structs.replace(calibration, bottleneck=bottleneck(calibration, spec.cpus), notes=told)

    @property
    def _on_gpu(self) -> bool:
        return self._device.type == "cuda"

    def _pictures(self) -> Sequence[Image]:
        if self._spec.images_file:
            return read_image_list(Path(self._spec.images_file))
        self._events.phase("make pictures")
        made = pictures.generate(self._folder)
        self._notes.append(
            tr(
                "{n} pictures of {width} x {height} were generated in COCO's usual file size; "
                "--image-root measures on your own.",
                n=len(made),
                width=pictures.SIZE[0],
                height=pictures.SIZE[1],
            )
        )
        return made

    def _train(self, file: FeatureFile, readable: Sequence[Image], encode: Estimate | Unknown) -> _Trained:
        """Steps of both ways with the same captioner, captions and batch."""
        spec, encoder = self._spec, self._encoder
        self._events.phase("make captioner")
        shape = encoder.shape
        steps = Steps(_learning(spec), Captions(spec.annotation_folder), shape.tower.width, shape.tokens, self._device)
        encode_s = 1 / encode.likely if isinstance(encode, Estimate) else 0.0
        fixed_s, per_pair_s = steps.rough_seconds()
        batch = self._batch("train realtime", encode_s + per_pair_s, fixed_s)
        self._evicted(readable)
        ids = [image.id for image in readable]
        realtime = RealtimeGrids(readable, encoder, self._choice, spec.workers)
        meter = self._meter("train realtime", "pairs")
        realtime_rate = self._fitting(batch, lambda: steps.measure(realtime, ids, batch, meter))
        realtime_memory = steps.memory(realtime, ids, batch, outside_bytes(self._device, spec.gpu_used_bytes))
        # What precomputed training takes is measured without the tower.
        encoder.to("cpu")
        precomputed = PrecomputedGrids(file.path, self._device, spec.workers)
        evict([file.path])
        meter = self._meter("train precomputed", "pairs")
        stored = file.ids.tolist()
        precomputed_rate = self._fitting(batch, lambda: steps.measure(precomputed, stored, batch, meter))
        precomputed_memory = steps.memory(precomputed, stored, batch, outside_bytes(self._device, spec.gpu_used_bytes))
        return _Trained(batch, fixed_s, realtime_rate, precomputed_rate, realtime_memory, precomputed_memory)

    def _fitting(self, batch_size: int, measure: Callable[[], Estimate | Unknown]) -> Estimate | Unknown:
        """A rate, or why the GPU's memory does not allow it."""
        try:
            return measure()
        except torch.OutOfMemoryError:
            return Unknown(
                tr(
                    "the GPU's memory does not hold batches of {batch_size}; give a smaller --batch-size",
                    batch_size=batch_size,
                )
            )

    def _batch(self, stage: str, per_image_s: float, fixed_s: float = 0.0) -> int:
        """The batch that a stage takes: smaller than asked for where that would not fit into the time."""
        if self._stopper():
            raise Stopped
        wanted = self._spec.batch_size
        batch = fitting_batch(wanted, per_image_s, SHARES[stage] * self._spec.seconds, fixed_s)
        if batch < wanted:
            self._notes.append(
                tr(
                    "{stage}: batches of {batch} instead of {wanted}, so that enough of them fit into {seconds:g} s; "
                    "more --seconds allow larger ones.",
                    stage=stage_words(stage),
                    batch=batch,
                    wanted=wanted,
                    seconds=self._spec.seconds,
                )
            )
        return batch

    def _meter(self, stage: str, unit: str) -> Meter:
        if self._stopper():
            raise Stopped
        number = list(SHARES).index(stage) + 1
        self._events.phase(f"{number} of {len(SHARES)}: {stage}", None, unit)
        return Meter(
            unit,
            SHARES[stage] * self._spec.seconds,
            self._stopper,
            lambda count, rate: self._events.progress(count, None, rate),
        )

    def _evicted(self, readable: Sequence[Image]) -> None:
        evict(image.path for image in readable)

    def _tell_refused(self, refused: dict[str, str]) -> None:
        if refused:
            path, reason = next(iter(refused.items()))
            self._notes.append(
                tr(
                    "{n:,} pictures could not be read and were left out; the first: {path}: {reason}.",
                    n=len(refused),
                    path=path,
                    reason=reason,
                )
            )


def _learning(spec: BenchSpec) -> TrainSpec:
    """The training run that the steps belong to; only its sizes and arithmetic count."""
    return TrainSpec(
        mode="precomputed",
        annotation_folder=spec.annotation_folder,
        output="",
        exp_name="bench",
        batch_size=spec.batch_size,
        workers=spec.workers,
        precision=spec.model.precision,
    )


def _keep(calibration: Calibration, folder: Path, events: EventWriter) -> str:
    """Put the calibration where plans look for it, whole; returns its path, empty when that failed."""
    path = folder / calibration.file_name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, jsontext.encode(calibration, indent=2))
    except OSError as error:
        events.warning(
            tr(
                "The rates were not kept, so plans will not use them: {path}: {reason}.",
                path=path,
                reason=error.strerror,
            )
        )
        return ""
    return str(path)
