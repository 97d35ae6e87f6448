"""Frozen facts for the screen, and services that give them out."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from fsgr_tui.core.dataset import DatasetFacts
from fsgr_tui.core.errors import BadRequest, Problem
from fsgr_tui.core.job import Cause, JobProgress, JobStatus
from fsgr_tui.core.machine import CpuBudget, Disk, Gpu, GpuReport, Host, Machine, MemoryBudget
from fsgr_tui.core.plan import Intent, Plan
from fsgr_tui.core.planner import make_plan
from fsgr_tui.core.preflight import Finding, PreflightReport
from fsgr_tui.core.tower import find_tower
from fsgr_tui.core.units import GB, GIB, Unknown
from fsgr_tui.core.whatif import simulated
from fsgr_tui.features.agreement import ComparisonRow
from fsgr_tui.features.check import CheckReport, Tell
from fsgr_tui.features.compare import FeatureComparison
from fsgr_tui.features.images import Image
from fsgr_tui.features.manifest import Manifest
from fsgr_tui.features.sample import Distribution, MapKind, Sample
from fsgr_tui.features.values import CheckRow
from fsgr_tui.jobs.lines import LineIndex
from fsgr_tui.probes.dataset import probe_dataset
from fsgr_tui.service.curves import Chart, Curve
from fsgr_tui.service.extraction import ExtractRequest, Prepared
from fsgr_tui.service.kept_checks import PastCheck
from fsgr_tui.service.running import PreparedRun, RunRequest
from fsgr_tui.service.training import PreparedTraining
from fsgr_tui.service.training_request import TrainRequest
from fsgr_tui.tui.app import ScreenApp
from fsgr_tui.tui.intent_form import Wanted
from fsgr_tui.tui.order import Order, Ready
from fsgr_tui.tui.remembered import Remembered
from fsgr_tui.tui.seen import JobCourse, JobsSeen
from fsgr_tui.tui.services import FoundFile, Services

ROOT = "/data/coco/images"
FEATURES = "/data/features"
NOW = 1_764_000_000.0

HOST = Host(
    "gpu07",
    "Linux 6.8",
    "3.11.7",
    "AMD EPYC 7302",
    CpuBudget(16, "Slurm", 64),
    MemoryBudget(128 * GIB, 96 * GIB, "cgroup"),
)


def disk(path: str, free: int | Unknown = 82 * GB, mount: str = "/data") -> Disk:
    return Disk(path, mount, "ext4", "/dev/sda1", 500 * GB, free, 400 * GB, 10_000_000, writable=True)


def gpu(index: int, used_gib: float) -> Gpu:
    total = 24 * GIB
    used = int(used_gib * GIB)
    return Gpu(index, f"GPU-{index}", "NVIDIA GeForce RTX 3090", total, total - used, used, 37 if used_gib > 4 else 0)


def machine(free: int | Unknown = 82 * GB, report: GpuReport | None = None) -> Machine:
    two = GpuReport("ok", (gpu(0, 8.1), gpu(1, 0.3)), "550.54")
    return Machine((disk(ROOT, free), disk(FEATURES, free)), report or two, HOST)


NO_GPU = GpuReport("no_driver", message="no NVIDIA driver here")
BLIND = machine(Unknown("statvfs: Input/output error"), NO_GPU)
CRAMPED = machine(6 * GB)


def dataset(splits: tuple[str, ...] = ()) -> DatasetFacts:
    """Both splits of 2014, all images there."""
    facts = probe_dataset(None, splits)
    here = tuple(
        msgspec.structs.replace(
            split, found=split.expected, bytes=split.expected * 163_500, folder=f"{ROOT}/{split.name}"
        )
        for split in facts.splits
    )
    return msgspec.structs.replace(facts, root=ROOT, splits=here, assumed=False)


def plan(intent: Intent | None = None, on: Machine | None = None, facts: DatasetFacts | None = None) -> Plan:
    here, wanted = on or machine(), intent or Intent()
    return make_plan(
        here, facts or dataset(wanted.splits), wanted, find_tower(wanted.clip_model), here.disks[0], here.disks[1], 8
    )


COMMAND = ("fsgr-tui", "extract", "--image-root", ROOT, "--split", "karpathy", "--output-path", f"{FEATURES}/coco.hdf5")
RUNNING = JobStatus(
    "extract-1124-101500-ab12", "running", "extract", COMMAND, "/runs/extract-1124-101500-ab12", started=NOW - 600,
    progress=JobProgress("extract", 41_200, 123_287, 512.0, "images", 160.0, {"decode": 0.61, "encode": 0.97, "write": 0.03}, "encode-bound: the GPU is busy 97% of the time, as it should be"),
    notices=("Precision fp16 on cuda:1.",), refused=2,
)  # fmt: skip
FAILED = JobStatus(
    "extract-1123-180211-77fe", "failed", "extract", COMMAND, "/runs/extract-1123-180211-77fe", exit_code=1, started=NOW - 90_000, ended=NOW - 89_000,
    progress=JobProgress("extract", 9_000, 123_287, None, "images"),
    cause=Cause("fault", "There is no space left on /data (ext4).", "OSError: [Errno 28] No space left on device", "Free 4.1 GB, then extract with --resume."),
)  # fmt: skip
DONE = JobStatus(
    "extract-1122-093000-0c0d", "done", "extract", COMMAND, "/runs/extract-1122-093000-0c0d", exit_code=0, started=NOW - 200_000, ended=NOW - 199_000,
    progress=JobProgress("extract", 123_287, 123_287, 498.0, "images"), result={"output": f"{FEATURES}/coco.hdf5", "images": 123_287},
)  # fmt: skip
COURSE = JobCourse(
    RUNNING.name,
    (80.0, 320.0, 410.0, *(505.0, 512.0, 498.0, 480.0) * 12, 260.0, 190.0, *(505.0, 511.0, 512.0) * 9),
    ("loading ViT-B-16 (openai)", "cuda:1, fp16, batch 64"),
)
FAILED_COURSE = JobCourse(
    FAILED.name, (500.0, 480.0), ("Traceback (most recent call last):", "OSError: [Errno 28] No space left on device")
)

MANIFEST = Manifest(
    clip_model="ViT-B-16", weights="openai", weights_sha256="5806e77cd80f8b59", activation="quick-gelu", image_px=224, resize="squash",
    interpolation="bicubic", antialias=True, decoder="pillow", mean=(0.481, 0.458, 0.408), std=(0.269, 0.261, 0.276), stage="post-ln_post",
    grid="7x7", pooling="average 2x2", tokens=49, width=768, dtype="float16", precision="fp16", dataset="coco", splits=("train2014", "val2014"), images=123_287,
)  # fmt: skip
GOOD_REPORT = CheckReport(
    f"{FEATURES}/coco.hdf5", True, "good: 123,287 images, 49 x 768 float16",
    (
        CheckRow("layout", "one key per image", "contiguous, uncompressed", "ok"),
        CheckRow("images", "123,287 of /data/coco/images", "123,287", "ok"),
        CheckRow("values", "finite", "no NaN, no infinity in 1,000 rows", "ok"),
    ),
    123_287, 1000, "quick: 1,000 of 123,287 rows, chosen at random", manifest=MANIFEST,
)  # fmt: skip
BAD_REPORT = CheckReport(
    f"{FEATURES}/coco.hdf5", False, "1 fault: 40,504 images of val2014 are missing, e.g. 42.",
    (
        CheckRow("layout", "one key per image", "contiguous, uncompressed", "ok"),
        CheckRow("images", "123,287 of /data/coco/images", "82,783", "bad", "40,504 images of val2014 are missing, e.g. 42."),
        CheckRow("manifest", "how the file was made", "none", "note", "Files of other programs carry none."),
    ),
    82_783, 1000, "quick: 1,000 of 82,783 rows, chosen at random", missing=(42,),
)  # fmt: skip

COMPARISON = FeatureComparison(
    f"{FEATURES}/coco.hdf5", f"{FEATURES}/other.hdf5", False, "other features, by: weights sha256, cosine per row",
    (
        ComparisonRow("weights sha256", "5806e77cd80f", "a10b2c3d4e5f", "differs", "Features of other weights do not go together in one training."),
        ComparisonRow("images", "123,287", "82,783", "note"),
        ComparisonRow("cosine per row", "", "", "differs", "least 0.312000, median 0.411000, where 0.999 and more is the same"),
        ComparisonRow("shape", "49 x 768", "49 x 768", "same"),
    ),
    123_287, 82_783, 82_783, "1,000 of 82,783 images that both have, chosen at random",
)  # fmt: skip


@dataclass
class World:
    """What the fake services give out, and what was asked of them. Change it while the app runs."""

    machine: Machine = field(default_factory=machine)
    facts: DatasetFacts | None = None
    seen: JobsSeen = field(default_factory=JobsSeen)
    files: tuple[FoundFile, ...] = ()
    outcome: CheckReport | Problem = GOOD_REPORT
    fault: Problem | None = None
    plan_fault: Problem | None = None
    jobs_fault: Problem | None = None
    started: list[ExtractRequest | TrainRequest] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    checked: list[tuple[str, str]] = field(default_factory=list)
    saved: list[Plan] = field(default_factory=list)
    findings: tuple[Finding, ...] = (Finding("weights", "openai, in the cache", "weights"),)
    preflighted: list[tuple[str, ...]] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    log_folder: str = ""
    curves_lost: tuple[str, ...] = ()
    past: dict[str, PastCheck] = field(default_factory=dict)
    comparison: FeatureComparison | Problem | None = None
    compared: list[tuple[str, str]] = field(default_factory=list)
    text_fault: Problem | None = None
    remembered: list[Remembered] = field(default_factory=list)
    hold: threading.Event | None = None

    def plan(self, wanted: Wanted) -> Plan:
        if self.hold is not None:
            self.hold.wait(20)
        if wanted.image_root == "/missing":
            raise BadRequest("The image root /missing is not there.", "Look at --image-root.")
        wanted.what_if.checked()
        made = plan(wanted.intent, simulated(self.machine, wanted.what_if), self.facts)
        return msgspec.structs.replace(made, simulated=wanted.what_if.words)

    def save_plan(self, plan: Plan) -> str:
        if self.fault is not None:
            raise self.fault
        self.saved.append(plan)
        return "plan.toml"

    def preflight(self, command: tuple[str, ...]) -> PreflightReport:
        if self.hold is not None:
            self.hold.wait(20)
        if self.fault is not None:
            raise self.fault
        self.preflighted.append(command)
        return PreflightReport(" ".join(command), self.findings)

    def start_steps(self, plan: Plan) -> tuple[str, ...]:
        self.seen = replace(self.seen, statuses=(RUNNING, *self.seen.statuses), course=COURSE)
        return (RUNNING.name, *(step.what for step in plan.commands[1:]))

    def replan(self, old: Plan, _features_dir: str) -> Plan:
        if self.plan_fault is not None:
            raise self.plan_fault
        return plan(old.intent, self.machine, old.dataset)

    def prepare(self, order: Order) -> Ready:
        if self.fault is not None and not order.after:
            raise self.fault
        request = order.request
        prepared: Prepared | PreparedTraining | None = None
        if isinstance(request, TrainRequest):
            prepared = PreparedTraining(request, 5000, captions="M2 annotations")
        elif self.fault is None:
            prepared = Prepared(
                request=request,
                tower=find_tower(request.model.clip_model),
                images=(Image(9, f"{ROOT}/9.jpg"),) * 280,
                output=Path(request.output),
                need_bytes=22_400_000,
                free_bytes=82 * GB,
            )
        run = PreparedRun(RunRequest(argv=request.shown), request.shown, "extract", Path(), None, order.after)
        return Ready(order, None if self.fault else prepared, run, self.fault)

    def start(self, ready: Ready) -> str:
        self.started.append(ready.order.request)
        self.orders.append(ready.order)
        self.seen = replace(self.seen, statuses=(RUNNING, *self.seen.statuses), course=COURSE)
        return RUNNING.name

    def jobs(self, chosen: str) -> JobsSeen:
        """As the real one: with the course of the chosen job, or of the first."""
        if self.jobs_fault is not None:
            raise self.jobs_fault
        status = self.seen.find(chosen) or next(iter(self.seen.statuses), None)
        if status is None:
            return self.seen
        known = [
            course for course in (self.seen.course, COURSE, FAILED_COURSE) if course and course.name == status.name
        ]
        return replace(self.seen, course=known[0] if known else JobCourse(status.name))

    def list_files(self, _features_dir: str, _further: Iterable[str]) -> tuple[FoundFile, ...]:
        return self.files

    def check(self, path: str, image_root: str, tell: Tell) -> CheckReport:
        self.checked.append((path, image_root))
        tell(64, 1000)
        if isinstance(self.outcome, Problem):
            raise self.outcome
        return self.outcome

    def recall(self, paths: Iterable[str]) -> dict[str, PastCheck]:
        return {path: self.past[path] for path in paths if path in self.past}

    def compare(self, path_a: str, path_b: str, tell: Tell) -> FeatureComparison:
        self.compared.append((path_a, path_b))
        tell(64, 1000)
        if self.hold is not None:
            self.hold.wait(20)
            tell(128, 1000)
        outcome = self.comparison or msgspec.structs.replace(COMPARISON, path_a=path_a, path_b=path_b)
        if isinstance(outcome, Problem):
            raise outcome
        return outcome

    def look(self, path: str, position: int, patch: tuple[int, int] | None, text: str) -> Sample:
        """A blob that moves from image to image."""
        if isinstance(self.outcome, Problem):
            raise self.outcome
        if text and self.hold is not None:
            self.hold.wait(20)
        if text and self.text_fault is not None:
            raise self.text_fault
        place = position % 3
        rows = tuple(
            tuple(10 / (1 + (row - 2 - place) ** 2 + (column - 3) ** 2) for column in range(7)) for row in range(7)
        )
        values = Distribution(
            -1.9, 2.1, 0.01, 0.46, tuple(1000 // (1 + abs(place - 12) ** 2) for place in range(24)), 0.0, 0
        )
        kind: MapKind = "text" if text else "similarity" if patch else "norm"
        return Sample(path, 9 + place, (49, 768), "float16", kind, rows, values, place, 3, patch, text=text)

    def open_log(self, name: str) -> LineIndex:
        """The log as a real file."""
        if self.fault is not None:
            raise self.fault
        path = Path(self.log_folder, name)
        return LineIndex(path)

    def curves(self, name: str) -> tuple[Chart, ...]:
        """Two charts; every job's loss lies a little higher than the one before."""
        if name in self.curves_lost:
            raise BadRequest(f"There is no job {name}.", "Look at fsgr-tui jobs.")
        if self.fault is not None:
            raise self.fault
        higher = 1 + sum(map(ord, name)) % 3 / 4
        loss = tuple(
            (float(step), None if step == 50 else higher * (0.4 + 8 / (1 + step / 9))) for step in range(0, 200, 2)
        )
        cider = tuple((float(step), min(1.1, step / 150)) for step in range(0, 200, 20))
        return (Chart("loss", "step", (Curve("loss", loss),)), Chart("CIDEr", "step", (Curve("CIDEr", cider),)))

    def resume(self, name: str) -> tuple[str, ...]:
        if self.fault is not None:
            raise self.fault
        self.resumed.append(name)
        return (name,)

    def services(self) -> Services:
        return Services(
            plan=self.plan, replan=self.replan, workers=lambda: 8, save_plan=self.save_plan, preflight=self.preflight,
            start_steps=self.start_steps, prepare=self.prepare, start=self.start, jobs=self.jobs,
            stop=self.stopped.append, files=self.list_files, check=self.check, recall=self.recall, compare=self.compare, look=self.look,
            log=self.open_log, curves=self.curves, resume=self.resume, remove=self.removed.append, report=lambda name: f"/runs/{name}/report.html",
            remember=self.remembered.append, now=lambda: NOW,
        )  # fmt: skip

    def app(
        self, image_root: str | None = ROOT, *, ascii_only: bool = False, remembered: Remembered | None = None
    ) -> ScreenApp:
        return ScreenApp(self.services(), image_root, FEATURES, remembered=remembered, ascii_only=ascii_only)


FILES = (
    FoundFile(f"{FEATURES}/coco.hdf5", 9_300_000_000, NOW - 7200),
    FoundFile(f"{FEATURES}/old.hdf5.part", 1_200_000_000, NOW - 90_000, unfinished=True),
)
TWO_FILES = (FILES[0], FoundFile(f"{FEATURES}/other.hdf5", 6_200_000_000, NOW - 90_000), FILES[1])


def renamed(status: JobStatus, name: str) -> JobStatus:
    """The same job under another name."""
    return msgspec.structs.replace(status, name=name)
