"""The plan: what was found, what is recommended and why, and the commands to run. One document for every face."""

from __future__ import annotations

from typing import Literal

import msgspec

from fsgr_tui.core.dataset import DatasetFacts
from fsgr_tui.core.guide import GuideRow
from fsgr_tui.core.language import mark
from fsgr_tui.core.machine import NOT_ASKED, Machine
from fsgr_tui.core.tower import Dtype, Grid
from fsgr_tui.core.units import Estimate, Unknown

PLAN_SCHEMA = "fsgr-tui/plan/1"

Way = Literal["realtime", "precomputed", "none"]
WayName = Literal["realtime", "precomputed", "pixels"]
Vote = Literal["A", "B", "neutral", "blocks"]
VOTES: tuple[Vote, ...] = ("A", "B", mark("neutral"), mark("blocks"))
WAY_NAMES: tuple[WayName, ...] = (mark("realtime"), mark("precomputed"), mark("pixels"))
"""Votes and names of ways are keys for programs; they are shown with `tr`."""

ItemKind = Literal["images", "features", "annotations", "checkpoints", "temporary", "reserve"]


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """What the user wants to do.

    Attributes:
        clip_model: the vision tower, in either spelling.
        weights: of the vision tower, for the commands: open_clip tag, file or random:SEED.
        models: all towers that will be trained, `clip_model` first; empty for that one alone.
        grid, dtype: of stored features; a dtype of None leaves the choice to the planner.
        splits: split folders, or "karpathy".
        epochs: per experiment; experiments: of all models together; None when the user did not say.
        batch_size: None when the user did not say.
        clip_swaps: how often the CLIP model will be exchanged.
        quick_check: only to see that the code runs.
        paper: the paper's numbers are to be reproduced.
        adapters: adapters or prompts inside CLIP are trained.
        labels: the patch-label contrast loss is used; its memory grows with the square of the batch.
        staged: begin with a few epochs of realtime, then extract (the guide's staged strategy).
        workers: decoding workers; None for what the host suggests.
    """

    clip_model: str = "ViT-B-16"
    grid: Grid = "7x7"
    dtype: Dtype | None = None
    splits: tuple[str, ...] = ()
    epochs: int = 20
    experiments: int | None = None
    batch_size: int | None = None
    clip_swaps: int = 0
    quick_check: bool = False
    paper: bool = False
    adapters: bool = False
    labels: bool = False
    staged: bool = False
    models: tuple[str, ...] = ()
    weights: str = "openai"
    workers: int | None = None

    @property
    def model_count(self) -> int:
        """CLIP models that need an extraction of their own: those named, or one more than there are changes."""
        return max(1, len(self.models), self.clip_swaps + 1)

    @property
    def runs(self) -> int:
        """Experiments in all; one for every named model when the user did not say."""
        return self.experiments or max(1, len(self.models))

    @property
    def planned_epochs(self) -> int:
        """Epochs of all experiments."""
        return self.epochs * self.runs

    @property
    def epochs_per_model(self) -> float:
        """Epochs that share one extraction."""
        return self.planned_epochs / self.model_count


class Criterion(msgspec.Struct, frozen=True):
    """One reason: what was seen, what it was held against, and how it votes.

    Attributes:
        vote: A (realtime), B (precomputed), neutral, or blocks (a way is impossible).
        weight: how much the vote counts, 0 to 4; 12 decides by itself.
        blocks: the ways that a vote of "blocks" makes impossible.
    """

    name: str
    observed: str
    threshold: str
    vote: Vote
    weight: float
    why: str
    blocks: tuple[Way, ...] = ()


class Rung(msgspec.Struct, frozen=True):
    """One feasible or infeasible choice of grid, dtype and splits, with what it needs on the features' disk.

    Attributes:
        need_bytes: features, checkpoints, images still missing there, and the reserve.
        fits: None when the free space is not known.
    """

    grid: Grid
    dtype: Dtype
    splits: tuple[str, ...]
    tokens: int
    width: int
    feature_bytes: int
    need_bytes: int
    fits: bool | None

    @property
    def label(self) -> str:
        """E.g. `49 x 768 float16`."""
        return f"{self.tokens} x {self.width} {self.dtype}"


class Choice(msgspec.Struct, frozen=True):
    """What to extract."""

    clip_model: str
    grid: Grid
    dtype: Dtype
    splits: tuple[str, ...]
    tokens: int
    width: int
    images: int
    feature_bytes: int


class Threshold(msgspec.Struct, frozen=True):
    """A value at which the answer becomes another one, found by asking again with other values.

    Attributes:
        quantity: "free space", "epochs", "experiments", "CLIP changes", "GPU memory", "quick check" or "adapters".
        at: the first value, going from the present one, with the other answer; in `unit` ("bytes", "count" or "yes").
        becomes: the other answer, e.g. "realtime" or "precomputed, 49 x 768 float16".
        text: the same as a sentence.
    """

    quantity: str
    at: float
    unit: str
    becomes: str
    text: str


class Recommendation(msgspec.Struct, frozen=True):
    """The verdict.

    Attributes:
        confidence: share of the votes' weight that agrees with the verdict, 0..1; 1 when only one way is possible.
        reason: one sentence.
        certainty: how sure it is, in words: what agrees, and whether it holds over the whole span of the estimates.
        cache: "pixels" where the resized pictures are best kept (realtime, exact for what is trained inside CLIP).
        flips: what would change the verdict or the choice.
        thresholds: the same as values.
        warnings: what a person should know before acting on it.
    """

    mode: Way
    confidence: float
    reason: str
    choice: Choice
    criteria: tuple[Criterion, ...]
    flips: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    certainty: str = ""
    cache: Literal["", "pixels"] = ""
    thresholds: tuple[Threshold, ...] = ()


class StorageItem(msgspec.Struct, frozen=True):
    """One line of the storage breakdown.

    Attributes:
        present_bytes: how much of it lies on the disk already.
        kind: temporary items are gone afterwards; the reserve is never written.
        files: files of it that are not there yet.
    """

    name: str
    filesystem: str
    bytes: Estimate
    present_bytes: int = 0
    note: str = ""
    kind: ItemKind = "features"
    files: int = 0


class FilesystemNeed(msgspec.Struct, frozen=True):
    """What one file system has to hold, against what it has free.

    Attributes:
        free_bytes: what the user may write, within the quota.
        need_bytes: more than is there now, at the peak, without the reserve.
        reserve_bytes: what should stay free beside it.
        quota_bytes: what the quota leaves, or why it is not known.
        files_needed: files that will be created; inodes_free: files that may be.
        fits: with the reserve, and by its files; None when the free space is not known.
    """

    mount: str
    filesystem: str
    free_bytes: int | Unknown
    total_bytes: int | Unknown
    need_bytes: int
    fits: bool | None
    reserve_bytes: int = 0
    quota_bytes: int | Unknown = Unknown(NOT_ASKED)
    files_needed: int = 0
    inodes_free: int | Unknown = Unknown(NOT_ASKED)

    @property
    def free_after_bytes(self) -> int | Unknown:
        """What stays free; negative when it does not fit."""
        return self.free_bytes - self.need_bytes if isinstance(self.free_bytes, int) else self.free_bytes

    @property
    def too_few_files(self) -> bool:
        """Whether fewer files may be created than are needed."""
        return isinstance(self.inodes_free, int) and self.inodes_free < self.files_needed


class Storage(msgspec.Struct, frozen=True):
    """The storage breakdown, and the sums per file system."""

    items: tuple[StorageItem, ...]
    filesystems: tuple[FilesystemNeed, ...]


class TimePlan(msgspec.Struct, frozen=True):
    """Times of the ways; a break-even is Unknown when precomputing saves nothing.

    Attributes:
        epochs: per experiment; experiments: in all; captions: pairs of one epoch.
        extraction: of one model.
        break_even_epochs: epochs of one model after which its extraction has paid for itself.
        net_saving: realtime total less precomputed total, the extractions counted; negative when precomputing costs time.
        pixels_extraction: of the resized pictures; pixels_epoch, pixels_total: realtime training from them.
        encodes_per_image: how often realtime encodes an image in one epoch: once for every caption.
    """

    extraction_rate: Estimate
    extraction: Estimate
    realtime_epoch: Estimate
    precomputed_epoch: Estimate
    realtime_total: Estimate
    precomputed_total: Estimate
    break_even_epochs: Estimate | Unknown
    epochs: int
    experiments: int
    captions: int
    break_even_experiments: Estimate | Unknown
    net_saving: Estimate
    pixels_extraction: Estimate
    pixels_epoch: Estimate
    pixels_total: Estimate
    encodes_per_image: float


class GpuFit(msgspec.Struct, frozen=True):
    """What one GPU can train.

    Attributes:
        free_bytes: usable now; for unified memory what the host has available.
        realtime_fits, precomputed_fits: at the planned batch sizes; None when the free memory is not known.
        note: MIG slice, unified memory, memory used by others.
    """

    index: int
    name: str
    free_bytes: int | Unknown
    realtime_fits: bool | None
    precomputed_fits: bool | None
    largest_realtime_batch: int | Unknown
    largest_precomputed_batch: int | Unknown
    note: str = ""


class MemoryPlan(msgspec.Struct, frozen=True):
    """GPU memory of both ways at the planned batch sizes, and the largest batches that fit on the freest GPU."""

    realtime: Estimate
    precomputed: Estimate
    realtime_batch: int
    precomputed_batch: int
    free_bytes: int | Unknown
    largest_realtime_batch: int | Unknown
    largest_precomputed_batch: int | Unknown
    gpus: tuple[GpuFit, ...] = ()


class WayPlan(msgspec.Struct, frozen=True):
    """One of the three ways, with all that it costs.

    Attributes:
        name: "pixels" is realtime training from resized pictures that were stored once.
        fits: on the disk and on a GPU; None where a reading is missing.
        stored_bytes: what is stored for training beside the images; need_bytes: with all else, on its disk.
        preparation: seconds before the first epoch.
        memory: GPU memory at `batch`.
        exact: whether it trains the very model that realtime training does; exactness: the same in a sentence.
    """

    name: WayName
    fits: bool | None
    stored_bytes: int
    need_bytes: int
    preparation: Estimate
    epoch: Estimate
    total: Estimate
    memory: Estimate
    batch: int
    exact: bool
    exactness: str


class ModelPlan(msgspec.Struct, frozen=True):
    """One of several CLIP models.

    Attributes:
        fits: its feature file alone beside everything else.
        pays: whether its share of the epochs pays for its extraction; None when precomputing saves nothing.
    """

    clip_model: str
    row: str
    feature_bytes: int
    fits: bool | None
    extraction: Estimate
    realtime_epoch: Estimate
    precomputed_epoch: Estimate
    break_even_epochs: Estimate | Unknown
    epochs: float
    pays: bool


class Step(msgspec.Struct, frozen=True):
    """One command to run next, as an argument list.

    Attributes:
        what: its name within the plan.
        needs: names of the steps that have to be done before.
        outputs: files and folders that it makes.
        note: one sentence for the person who runs it.
    """

    what: str
    argv: tuple[str, ...]
    needs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    note: str = ""


class Plan(msgspec.Struct, frozen=True):
    """The whole plan.

    Attributes:
        ways: realtime, precomputed, and realtime from cached pixels.
        models: one row a CLIP model; empty when there is only one.
        keep_all_models: whether the features of all models fit beside each other; None when that is not known.
        staged: the guide's staged strategy as steps; empty when it does not fit.
        simulated: what was not read from this machine but given; empty for a plan of this machine.
        calibrated: when the rates that the plan uses were measured here; empty when none were.
    """

    machine: Machine
    dataset: DatasetFacts
    intent: Intent
    recommendation: Recommendation
    ladder: tuple[Rung, ...]
    storage: Storage
    time: TimePlan
    memory: MemoryPlan
    guide: tuple[GuideRow, ...]
    commands: tuple[Step, ...]
    ways: tuple[WayPlan, ...] = ()
    models: tuple[ModelPlan, ...] = ()
    keep_all_models: bool | None = None
    staged: tuple[Step, ...] = ()
    simulated: tuple[str, ...] = ()
    calibrated: str = ""
    schema: str = PLAN_SCHEMA
