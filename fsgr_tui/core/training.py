"""What a training run is asked to do: the document that the training child reads."""

from __future__ import annotations

from typing import Literal

import msgspec

from fsgr_tui.core.extraction import ModelChoice, Precision

Mode = Literal["realtime", "precomputed"]
MODES: tuple[Mode, ...] = ("realtime", "precomputed")

METRICS = ("cider", "bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l")
"""The caption metrics that need no Java, in the order in which they are told."""

BestBy = Literal["cider", "loss"]
Baseline = Literal["mean", "greedy"]
UseJava = Literal["auto", "always", "never"]
BEST_BY: tuple[BestBy, ...] = ("cider", "loss")
BASELINES: tuple[Baseline, ...] = ("mean", "greedy")
USE_JAVA: tuple[UseJava, ...] = ("auto", "always", "never")


class CaptionerSize(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of the reference captioner; the defaults are those of M2 Transformer's published code."""

    d_model: int = 512
    layers: int = 3
    heads: int = 8
    feed_forward: int = 2048
    dropout: float = 0.1


class Adapters(msgspec.Struct, frozen=True, kw_only=True):
    """Bottleneck adapters that are trained inside the frozen tower.

    Attributes:
        first, last: blocks that get one, counted from 0; FSGR's are 6 to 11.
        bottleneck: channels in between.
        learning_rate: peak of their own schedule.
    """

    first: int
    last: int
    bottleneck: int = 64
    learning_rate: float = 1e-4


class SelfCritical(msgspec.Struct, frozen=True, kw_only=True):
    """Self-critical training with CIDEr-D as the reward, after the epochs of cross-entropy.

    Attributes:
        epochs: passes over the training images; 0 for none.
        learning_rate: constant; 5e-6 in M2 Transformer's published code.
        samples: captions drawn per image; 5 there as well.
        baseline: what a reward is held against: the mean of the image's other samples, or its greedy caption.
    """

    epochs: int = 0
    learning_rate: float = 5e-6
    samples: int = 5
    baseline: Baseline = "mean"


class TrainSpec(msgspec.Struct, frozen=True, kw_only=True, tag="train"):
    """One training run.

    Attributes:
        mode: realtime (CLIP in every step) or precomputed (rows of a feature file).
        annotation_folder: M2-style annotations, or a captions file of another kind (`features.captions`).
        features: the feature file; needed when precomputed.
        images_file: list of all images (`features.images`); needed when realtime, unless `pixels` is given.
        pixels: a pixel cache (`extract --stage pixels`), from which realtime training takes its pictures undecoded.
        model: the vision tower; needed when realtime. Its own device is passed over for the run's.
        adapters: trained inside the tower; realtime only.
        output: folder for checkpoints.
        exp_name: names the checkpoints.
        epochs: passes over the training captions with cross-entropy.
        critical: self-critical training after that.
        max_steps: ends the run earlier; None for no limit.
        batch_size: caption pairs a step (images, in self-critical training), of all processes together.
        learning_rate: peak of the schedule; warmup: steps until it is reached.
        min_word_count: rarer words of the training captions become "unknown" (5 in M2 Transformer's published code).
        max_val_batches: looks at the first so many batches of the validation captions only; None for all.
        evaluate: captions the validation images after every epoch and scores them.
        max_eval_images: captions the first so many of them only; None for all.
        beam: beam of that captioning; 1 is greedy.
        best_by: what names the best checkpoint: the highest CIDEr-D, or the lowest validation loss.
        patience: ends the epochs of a kind after so many without a better one; None for never.
        keep: checkpoints of the newest so many epochs are kept beside the last and the best.
        save_s: seconds of training that a power cut may cost at most: the last checkpoint is written so often.
        java: a Java that works, for METEOR, SPICE and the original tokenizer at the end of the run; empty to leave them out.
        java_needed: whether a fault there ends the run badly, instead of being warned of.
        workers: loader processes (precomputed) or decoding threads (realtime); 0 loads between the steps.
        precision: arithmetic of the captioner on a GPU; auto is bf16 where the GPU has it, else fp16. A CPU takes fp32.
        device: "auto", "cpu", "cuda" or "cuda:N".
        processes: that train together, one a device, on each node.
        nodes: of a Slurm job, which the run spreads over.
        shuffle_images: a control: every image gets the features of another one, so that the captioner can learn what
            captions sound like, but not what is in a picture.
        rehearsal: one step of everything instead of the run; nothing is kept.
        logs: folder for TensorBoard's event files; empty for none.
        resume: goes on from `{exp_name}_last.pth` where there is one.
        overwrite: starts anew although there is one.
    """

    mode: Mode
    annotation_folder: str
    output: str
    exp_name: str
    features: str = ""
    images_file: str = ""
    pixels: str = ""
    model: ModelChoice | None = None
    adapters: Adapters | None = None
    size: CaptionerSize = CaptionerSize()
    epochs: int = 20
    critical: SelfCritical = SelfCritical()
    max_steps: int | None = None
    batch_size: int = 64
    learning_rate: float = 1e-4
    warmup: int = 1000
    min_word_count: int = 5
    max_val_batches: int | None = None
    evaluate: bool = True
    max_eval_images: int | None = None
    beam: int = 5
    best_by: BestBy = "cider"
    patience: int | None = None
    keep: int = 0
    save_s: float = 600.0
    java: str = ""
    java_needed: bool = False
    workers: int = 2
    seed: int = 0
    precision: Precision = "auto"
    device: str = "auto"
    processes: int = 1
    nodes: int = 1
    shuffle_images: bool = False
    rehearsal: bool = False
    logs: str = ""
    resume: bool = False
    overwrite: bool = False

    @property
    def world(self) -> int:
        """Processes of all nodes together."""
        return self.processes * self.nodes
