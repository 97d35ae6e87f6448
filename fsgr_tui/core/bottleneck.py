"""What holds an extraction and a training down, from measured rates, and what to do about it. One sentence each."""

from __future__ import annotations

import math

from fsgr_tui.core.bench import rate_words, speed_up
from fsgr_tui.core.calibration import Calibration
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.timing import SUSPICIOUS_IMAGES_PER_S
from fsgr_tui.core.units import Estimate, Unknown, format_bytes

GOOD_SCALING = 0.6
"""Workers that give less than this share of their number times one worker are held up by something they share."""

SMALL_BATCH = 32
"""Below this a GPU spends much of its time on starting kernels."""


def on_gpu(calibration: Calibration) -> bool:
    """Whether the tower ran on a GPU."""
    return calibration.device != "cpu"


def write_images_per_s(calibration: Calibration) -> Estimate | Unknown:
    """Images whose features the disk takes in a second."""
    written = calibration.write_bytes_per_s
    if isinstance(written, Unknown) or not calibration.row_bytes:
        return written if isinstance(written, Unknown) else Unknown(mark("no size of a row"))
    scaled = written.times(1 / calibration.row_bytes)
    return Estimate(scaled.low, scaled.likely, scaled.high, "images/s", scaled.basis)


def scaling(calibration: Calibration) -> float | None:
    """How many times as fast as one worker all workers decode; None while one of both is unknown."""
    one, all_ = calibration.decode_one, calibration.decode
    return None if isinstance(one, Unknown) or isinstance(all_, Unknown) else all_.likely / one.likely


def bottleneck(calibration: Calibration, cpus: int) -> str:
    """What holds the extraction down and what to do about it.

    Args:
        calibration: the measured rates.
        cpus: CPUs that may be used.
    """
    rates = {
        mark("decode"): calibration.decode,
        mark("encode"): calibration.encode,
        mark("write"): write_images_per_s(calibration),
    }
    known = {stage: rate.likely for stage, rate in rates.items() if not isinstance(rate, Unknown)}
    if len(known) < len(rates):
        lost = next(stage for stage in rates if stage not in known)
        return tr(
            "The bottleneck cannot be told: the rate of {stage} is {reading}.", stage=tr(lost), reading=rates[lost]
        )
    slowest = min(known, key=lambda stage: known[stage])
    rate = rate_words(known[slowest], "images/s")
    if slowest == "write":
        return _write(calibration, rate)
    if slowest == "decode":
        return _decode(calibration, rate, known["encode"], cpus)
    return _encode(calibration, rate)


def remarks(calibration: Calibration) -> tuple[str, ...]:
    """What else a person should know about the rates."""
    told = []
    extract, gpu = calibration.extract, on_gpu(calibration)
    if gpu and calibration.batch_size == 1:
        told.append(tr("A batch of 1 leaves the GPU idle between images; use --batch-size 64."))
    if gpu and isinstance(extract, Estimate) and extract.likely < SUSPICIOUS_IMAGES_PER_S:
        told.append(
            tr(
                "{rate:.3g} images/s with a GPU is suspicious: below {least:.0f} something is wrong, mostly a batch of 1, one decoding worker, a slow disk, or a GPU that others use.",
                rate=extract.likely,
                least=SUSPICIOUS_IMAGES_PER_S,
            )
        )
    if sentence := _training(calibration):
        told.append(sentence)
    return tuple(told)


def _write(calibration: Calibration, rate: str) -> str:
    written = calibration.write_bytes_per_s
    speed = "" if isinstance(written, Unknown) else f" ({format_bytes(written.likely)}/s)"
    smaller = tr(" or smaller features (--dtype float16, --grid 7x7)") if calibration.dtype != "float16" else ""
    return tr(
        "Writing holds the extraction at {rate}{speed}: put features on a faster disk than {path} ({filesystem}){smaller}.",
        rate=rate,
        speed=speed,
        path=calibration.features_path,
        filesystem=calibration.filesystem or tr("its file system"),
        smaller=smaller,
    )


def _decode(calibration: Calibration, rate: str, encode: float, cpus: int) -> str:
    workers, device = max(1, calibration.workers), "GPU" if on_gpu(calibration) else tr("tower")
    begin = tr(
        "Decoding holds the extraction at {rate}, while the {device} could take {encode:,.0f}",
        rate=rate,
        device=device,
        encode=encode,
    )
    times = scaling(calibration)
    if times is not None and workers > 1 and times < GOOD_SCALING * workers:
        return tr(
            "{begin}: {workers} workers are only {times:.1f} times as fast as one, so the images' disk or busy CPUs hold them up; copy the images to a faster (local) disk, or free the CPUs.",
            begin=begin,
            workers=workers,
            times=times,
        )
    if workers < cpus:
        one = calibration.decode_one
        enough = cpus if isinstance(one, Unknown) else min(cpus, math.ceil(encode / one.likely))
        return tr(
            "{begin}: cores are free, so use more of them with --workers {workers}.",
            begin=begin,
            workers=max(workers + 1, enough),
        )
    return tr(
        "{begin}: all {cpus} CPUs decode, so --decoder torchvision (faster, a few values one level different) or more CPUs are the ways out.",
        begin=begin,
        cpus=cpus,
    )


def _encode(calibration: Calibration, rate: str) -> str:
    if not on_gpu(calibration):
        return tr(
            "The tower on the CPU holds the extraction at {rate}: a GPU is the way out, or a smaller tower.", rate=rate
        )
    if calibration.batch_size < SMALL_BATCH:
        return tr(
            "The GPU holds the extraction at {rate} with batches of {batch_size}: use --batch-size 64 or more.",
            rate=rate,
            batch_size=calibration.batch_size,
        )
    return tr(
        "The GPU holds the extraction at {rate}, as it should be: decoding and writing keep up with it.", rate=rate
    )


def _training(calibration: Calibration) -> str:
    read, precomputed = calibration.read, calibration.precomputed
    if isinstance(read, Estimate) and isinstance(precomputed, Estimate) and read.likely < 1.2 * precomputed.likely:
        return tr(
            "Reading features ({rate:,.0f} rows/s) holds precomputed training down: put them on a faster disk than {path}, or use more --workers.",
            rate=read.likely,
            path=calibration.features_path,
        )
    gain = speed_up(calibration.realtime, precomputed)
    if isinstance(gain, Estimate) and gain.likely < 1.2:
        return tr(
            "Precomputing hardly speeds up the training steps here: the captioner itself takes most of their time."
        )
    return ""
