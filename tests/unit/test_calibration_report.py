"""What a measurement prints: every rate with its span, the bottleneck, and what follows for the data set."""

from __future__ import annotations

from pathlib import Path

import msgspec

from fsgr_tui.cli import bench as face
from fsgr_tui.core.calibration import Calibration
from fsgr_tui.core.extraction import ModelChoice
from fsgr_tui.core.job import Cause, JobStatus
from fsgr_tui.core.units import Estimate, Unknown
from fsgr_tui.probes.disk import probe_disk
from fsgr_tui.service import bench
from tests.fakes.calibration import make_calibration, make_machine
from tests.unit.test_probe_disk import FakeDisks


def prepared() -> bench.PreparedBench:
    request = bench.BenchRequest(model=ModelChoice(clip_model="ViT-B/16", weights="random:0"))
    disk = probe_disk("/data", FakeDisks())
    return bench.PreparedBench(
        request, make_machine().host, 15, (), 123_287, "train2014, val2014", Path("/data"), disk, 2048, 1
    )


def ended(calibration: Calibration | None, **changes) -> JobStatus:
    result = {} if calibration is None else {"calibration": msgspec.to_builtins(calibration), "kept": "/state/x.json"}
    status = JobStatus("bench-1", "done", "bench", ("fsgr-tui", "bench"), "/runs/bench-1", exit_code=0, result=result)
    return msgspec.structs.replace(status, **changes)


def shown(calibration: Calibration, capsys) -> str:
    report = bench.report(ended(calibration), prepared())
    face._show(report, report.calibration)
    return capsys.readouterr().out


def test_the_report_carries_what_follows_for_the_data_set():
    report = bench.report(ended(make_calibration()), prepared())

    assert report.calibration == make_calibration()
    assert report.kept == "/state/x.json"
    assert isinstance(report.extraction, Estimate)
    assert round(report.extraction.likely) == round(123_287 / 1300)
    assert isinstance(report.speed_up, Estimate)
    assert report.speed_up.likely == 3.0


def test_a_measurement_that_failed_has_a_cause_and_no_rates():
    failed = ended(None, state="failed", exit_code=3, cause=Cause("fault", "There is no device cuda here."))
    report = bench.report(failed, prepared())

    assert (report.calibration, report.speed_up, report.extraction, report.kept) == (None, None, None, "")
    assert report.cause is not None
    assert report.exit_code == 3


def test_every_rate_is_shown_with_its_span(capsys):
    lines = shown(make_calibration(bottleneck="The GPU holds the extraction.", images_cold=True), capsys)

    for line in (
        "decode, 1 worker        310 images/s    300 - 320        0 B a picture, page cache dropped",
        "decode, 15 workers      4,000 images/s  3,900 - 4,100    12.9 times one worker",
        "encode                  1,400 images/s  1,300 - 1,450    fp16, batches of 64",
        "write, synced           500 MB/s        400 MB - 600 MB  6,643 images/s of 75.3 kB each",
        "train, precomputed      960 pairs/s     900 - 1,000      batches of 64",
        "The GPU holds the extraction.",
        "extraction of 123,287 images  95 s (91 s - 103 s)",
        "precomputed against realtime  3.0x (2.7 - 3.3) by caption pairs a second; the guide says 3-5x",
        "GPU memory, realtime          1.9 GiB and 50.0 MB for each image of the batch",
    ):
        assert line in lines


def test_what_could_not_be_measured_is_unknown_with_its_reason(capsys):
    missing = Unknown("too little time: 1 of at least 3 stretches were done in 20 s; give more --seconds")
    lines = shown(make_calibration(extract=missing, realtime=missing, notes=("Mind this.",)), capsys)

    assert "extraction, overlapped  unknown" in lines
    assert "give more" in lines
    assert "precomputed against realtime  unknown (too little time" in lines
    assert "!  Mind this." in lines


def test_a_warm_cache_is_told(capsys):
    lines = shown(make_calibration(read_cold=False), capsys)

    assert "warm page cache: a cold one is slower" in lines
