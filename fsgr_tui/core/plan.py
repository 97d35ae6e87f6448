"""The plan: what was found, what is recommended and why, and the commands to run. One document for every face."""

from __future__ import annotations

from typing import Literal

import msgspec

from fsgr_tui.core.dataset import DatasetFacts
from fsgr_tui.core.guide import GuideRow
from fsgr_tui.core.machine import Machine
from fsgr_tui.core.tower import Dtype, Grid
from fsgr_tui.core.units import Estimate, Unknown

PLAN_SCHEMA = "fsgr-tui/plan/1"

Way = Literal["realtime", "precomputed", "none"]
Vote = Literal["A", "B", "neutral", "blocks"]


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """What the user wants to do.

    Attributes:
        clip_model: the vision tower, in either spelling.
        grid, dtype: of stored features; a dtype of None leaves the choice to the planner.
        splits: split folders, or "karpathy".
        epochs: per experiment; experiments: None when the user did not say.
        batch_size: None when the user did not say.
        clip_swaps: how often the CLIP model will be exchanged.
        quick_check: only to see that the code runs.
        paper: the paper's numbers are to be reproduced.
        adapters: adapters or prompts inside CLIP are trained.
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
    workers: int | None = None


class Criterion(msgspec.Struct, frozen=True):
    """One reason: what was seen, what it was held against, and how it votes.

    Attributes:
        vote: A (realtime), B (precomputed), neutral, or blocks (precomputing is impossible).
        weight: how much the vote counts, 0..4.
    """

    name: str
    observed: str
    threshold: str
    vote: Vote
    weight: float
    why: str


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


class Recommendation(msgspec.Struct, frozen=True):
    """The verdict.

    Attributes:
        confidence: share of the votes' weight that agrees with the verdict, 0..1.
        reason: one sentence.
        flips: what would change the verdict or the choice.
        warnings: what a person should know before acting on it.
    """

    mode: Way
    confidence: float
    reason: str
    choice: Choice
    criteria: tuple[Criterion, ...]
    flips: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class StorageItem(msgspec.Struct, frozen=True):
    """One line of the storage breakdown.

    Attributes:
        present_bytes: how much of it lies on the disk already.
    """

    name: str
    filesystem: str
    bytes: Estimate
    present_bytes: int = 0
    note: str = ""


class FilesystemNeed(msgspec.Struct, frozen=True):
    """What one file system has to hold, against what it has free."""

    mount: str
    filesystem: str
    free_bytes: int | Unknown
    total_bytes: int | Unknown
    need_bytes: int
    fits: bool | None

    @property
    def free_after_bytes(self) -> int | Unknown:
        """What stays free; negative when it does not fit."""
        return self.free_bytes - self.need_bytes if isinstance(self.free_bytes, int) else self.free_bytes


class Storage(msgspec.Struct, frozen=True):
    """The storage breakdown, and the sums per file system."""

    items: tuple[StorageItem, ...]
    filesystems: tuple[FilesystemNeed, ...]


class TimePlan(msgspec.Struct, frozen=True):
    """Times of both ways; `break_even_epochs` is Unknown when precomputing saves nothing."""

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


class MemoryPlan(msgspec.Struct, frozen=True):
    """GPU memory of both ways at the planned batch sizes, and the largest batches that fit on the freest GPU."""

    realtime: Estimate
    precomputed: Estimate
    realtime_batch: int
    precomputed_batch: int
    free_bytes: int | Unknown
    largest_realtime_batch: int | Unknown
    largest_precomputed_batch: int | Unknown


class Step(msgspec.Struct, frozen=True):
    """One command to run next, as an argument list."""

    what: str
    argv: tuple[str, ...]


class Plan(msgspec.Struct, frozen=True):
    """The whole plan."""

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
    schema: str = PLAN_SCHEMA
