"""One extraction from its spec to the published file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import numpy as np
import torch

from fsgr_tui.core.child import Stopper
from fsgr_tui.core.errors import EXIT_FOUND_FAULTS, EXIT_OK, BadRequest
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.extraction import INTERPOLATION, Backend, ExtractSpec, Resize
from fsgr_tui.core.language import mark, tr
from fsgr_tui.extract.encoder import AnyEncoder, Encoder, make_any_encoder, manifest_of
from fsgr_tui.extract.fleet import Fleet, devices_of
from fsgr_tui.extract.pipeline import Extraction
from fsgr_tui.extract.pixels import UnreadableImage, load_picture
from fsgr_tui.features.build import FeatureBuild
from fsgr_tui.features.images import Image, read_image_list
from fsgr_tui.features.manifest import Manifest
from fsgr_tui.features.reader import FeatureFile
from fsgr_tui.features.resuming import require_extendable

DIFFERENCE_IMAGES = 16
REFERENCE: tuple[Resize, Backend] = ("squash", "pillow")


def extract(spec: ExtractSpec, events: EventWriter, stopper: Stopper) -> int:
    """Extract, verify and publish.

    Returns:
        The exit code: 0, 1 when images were refused, 130 or 143 when stopped.
    """
    images = read_image_list(Path(spec.images_file))
    devices = devices_of(spec.model.device, torch.cuda.device_count)
    model = msgspec.structs.replace(spec.model, device=devices[0])
    encoder = make_any_encoder(model)
    if isinstance(encoder, Encoder):
        for notice in encoder.loaded.notices:
            events.notice(notice)
        events.notice(
            tr(
                "{input_px} px {resize}, {interpolation} with antialias by {backend}; {activation}; {precision} on "
                "{device}.",
                input_px=encoder.shape.input_px,
                resize=model.resize,
                interpolation=INTERPOLATION,
                backend=model.backend,
                activation=encoder.loaded.activation,
                precision=encoder.precision,
                device=encoder.device,
            )
        )
    manifest = msgspec.structs.replace(
        manifest_of(encoder, model),
        preprocess_difference=_preprocess_difference(spec, images, encoder, events),
        batch_size=spec.batch_size,
        dataset=spec.dataset,
        splits=spec.splits,
        started=_now(),
        command=spec.command,
    )
    return _build(spec, images, encoder, manifest, devices, events, stopper)


def _build(
    spec: ExtractSpec,
    images: tuple[Image, ...],
    encoder: AnyEncoder,
    manifest: Manifest,
    devices: tuple[str, ...],
    events: EventWriter,
    stopper: Stopper,
) -> int:
    final = Path(spec.output)
    ids = [image.id for image in images]
    finished = _finished(final, manifest, ids) if spec.resume and not spec.overwrite else None
    if finished is not None and set(ids) <= set(finished.ids.tolist()):
        events.notice(tr("{final} is complete already.", final=final))
        _tell_result(events, final, images=len(finished), refused=0, seconds=0.0, new=0)
        return EXIT_OK
    if finished is not None and finished.manifest is not None:
        # Rows that are taken over stay what a conversion made of them.
        manifest = msgspec.structs.replace(manifest, converted_from=finished.manifest.converted_from)
    build = FeatureBuild.start(
        final, manifest, ids, resume=spec.resume, overwrite=spec.overwrite or finished is not None
    )
    try:
        if build.done_count:
            events.notice(tr("{n:,} images were finished before and hold their checksums.", n=build.done_count))
        if finished is not None:
            events.notice(tr("{n:,} images were taken over from {final}.", n=build.adopt(finished), final=final))
        began = time.monotonic()
        run: Extraction | Fleet
        if len(devices) > 1:
            run = Fleet(build, spec, devices, events)
            complete = run.run(stopper)
        else:
            run = Extraction(
                build,
                images,
                encoder,
                resize=spec.model.resize,
                backend=spec.model.backend,
                batch_size=spec.batch_size,
                workers=spec.workers,
                events=events,
                stopping=stopper,
            )
            complete = run.run()
            if isinstance(encoder, Encoder) and encoder.ran_out:
                events.notice(
                    tr(
                        "Memory held {chunk} images at once, not {batch_size}.",
                        chunk=encoder.chunk,
                        batch_size=spec.batch_size,
                    )
                )
        _tell_remarks(run, events)
        if not complete:
            events.notice(
                tr(
                    "Stopped; {done:,} of {n:,} images are kept. Go on with --resume.",
                    done=build.done_count,
                    n=len(ids),
                )
            )
            return stopper.exit_code
        seconds = time.monotonic() - began
        events.phase("verify", build.done_count, "images")
        build.manifest = msgspec.structs.replace(build.manifest, ended=_now())
        published = build.publish(tell=events.progress)
        _tell_result(events, final, images=published.images, refused=published.refused, seconds=seconds, new=run.done)
        return EXIT_FOUND_FAULTS if published.refused else EXIT_OK
    finally:
        build.close()


def _finished(final: Path, manifest: Manifest, ids: list[int]) -> FeatureFile | None:
    """The finished file that a resumed run finds, when its rows can be used."""
    if not final.exists():
        return None
    file = FeatureFile(final)
    if file.manifest is None:
        raise BadRequest(
            tr("{final} was not made by this program, so it cannot be resumed.", final=final),
            tr("Use --overwrite to replace it."),
        )
    require_extendable(final, file.manifest, set(file.ids.tolist()), manifest.identity(), set(ids))
    return file


_PIXELS_DIFFER = mark(
    "{ours} against {reference} on {images} images: {share:.2%} of values differ, by {most} at the most."
)
_FEATURES_DIFFER = mark(
    "{ours} against {reference} on {images} images: {share:.2%} of values differ, by {most} at the most; "
    "features by {features:.1e} (relative L2)."
)


def _preprocess_difference(spec: ExtractSpec, images: Sequence[Image], encoder: AnyEncoder, events: EventWriter) -> str:
    """How far this run's preprocessing is from the reference (Pillow, squash) on images of its own; empty for itself."""
    chosen = (spec.model.resize, spec.model.backend)
    if chosen == REFERENCE:
        return ""
    reference, ours = [], []
    for image in images[:DIFFERENCE_IMAGES]:
        try:
            pair = [load_picture(image.path, encoder.shape.input_px, *how).pixels for how in (REFERENCE, chosen)]
        except UnreadableImage:
            continue
        reference.append(pair[0])
        ours.append(pair[1])
    if not ours:
        return ""
    levels = np.abs(np.stack(reference).astype(np.int16) - np.stack(ours))
    values: dict[str, object] = {
        "ours": " ".join(chosen), "reference": " ".join(REFERENCE), "images": len(ours),
        "share": (levels > 0).mean(), "most": levels.max(),
    }  # fmt: skip
    text = _PIXELS_DIFFER
    if isinstance(encoder, Encoder) and spec.model.stage != "labels":
        found, wanted = (encoder(torch.from_numpy(np.stack(pixels))) for pixels in (ours, reference))
        text, values["features"] = _FEATURES_DIFFER, float((found - wanted).norm() / wanted.norm())
    events.notice(tr(text, **values))
    # The manifest speaks English to whoever reads the file.
    return text.format(**values).removesuffix(".")


def _tell_remarks(run: Extraction | Fleet, events: EventWriter) -> None:
    tally = run.tally
    if tally.rotated:
        events.notice(
            tr(
                "Images with a rotation tag, which was not applied (as in training): {rotated:,}.",
                rotated=tally.rotated,
            )
        )
    if tally.mislabelled:
        events.notice(
            tr(
                "Images of another format than their suffix says: {n:,}; first: {first}.",
                n=len(tally.mislabelled),
                first=tally.mislabelled[0],
            )
        )
    for remark in tally.huge:
        events.notice(remark)


def _tell_result(events: EventWriter, final: Path, *, images: int, refused: int, seconds: float, new: int) -> None:
    events.result(
        "extract",
        {
            "output": str(final),
            "images": images,
            "refused": refused,
            "file_bytes": final.stat().st_size,
            "seconds": round(seconds, 3),
            "images_per_s": round(new / seconds, 2) if seconds > 0 and new else None,
        },
    )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
