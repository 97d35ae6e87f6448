"""What an extraction and a recomputation are asked to do: the documents that the child processes read."""

from __future__ import annotations

from typing import Literal

import msgspec

from fsgr_tui.core.tower import Dtype, FeatureShape, Grid, Stage, Tower

Resize = Literal["squash", "crop"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Activation = Literal["auto", "quick-gelu", "gelu"]

Backend = Literal["pillow", "torchvision"]

WEIGHTS_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")
"""How the names of weights files end."""

INTERPOLATION = "bicubic"
ANTIALIAS = True
"""How pictures are resized, with every backend."""

FormatName = Literal["hdf5", "legacy", "packed", "lmdb", "npz", "pt"]

FORMATS: tuple[FormatName, ...] = ("hdf5", "legacy", "packed", "lmdb", "npz", "pt")
BACKENDS: tuple[Backend, ...] = ("pillow", "torchvision")
RESIZES: tuple[Resize, ...] = ("squash", "crop")
PRECISIONS: tuple[Precision, ...] = ("auto", "fp32", "bf16", "fp16")
ACTIVATIONS: tuple[Activation, ...] = ("auto", "quick-gelu", "gelu")


class ModelChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides what features an image gets.

    Attributes:
        clip_model: open_clip's spelling.
        weights: an open_clip tag, a file, or `random:SEED`.
        resize: "squash" (FSGR's own: both edges to the input size) or "crop" (short edge, then centre crop).
        precision: arithmetic of the tower; auto is fp16 on a GPU, bf16 on a CPU that has it, else fp32.
        activation: of a local weights file that does not tell; auto asks the file.
        stage, global_token: see `core.tower.FeatureShape`.
        classes: for stage "labels": a file of text embeddings, or of class names, one a line.
        backend: "pillow" is the reference; "torchvision" decodes and resizes faster, and a few values by one level
            differently.
        compiled: whether the tower goes through torch.compile.
        device: "auto", "cpu", "cuda", "cuda:N", "all" (every visible GPU), or several with commas.
    """

    clip_model: str
    weights: str
    grid: Grid = "7x7"
    dtype: Dtype = "float16"
    stage: Stage = "post-ln_post"
    global_token: bool = False
    classes: str = ""
    resize: Resize = "squash"
    backend: Backend = "pillow"
    precision: Precision = "auto"
    activation: Activation = "auto"
    compiled: bool = False
    device: str = "auto"

    def shape(self, tower: Tower) -> FeatureShape:
        """What one image's features are.

        Raises:
            BadRequest: the tower cannot give them.
        """
        return FeatureShape(tower, self.grid, self.dtype, self.stage, self.global_token).checked()


class ExtractSpec(msgspec.Struct, frozen=True, kw_only=True, tag="extract"):
    """One extraction.

    Attributes:
        images_file: the list of images, row by row (`features.images`).
        output: the finished file's name.
        workers: threads that decode; 0 decodes between batches.
        dataset, splits: for the manifest.
        command: the command line as typed, for the manifest.
    """

    model: ModelChoice
    images_file: str
    output: str
    batch_size: int = 64
    workers: int = 4
    resume: bool = False
    overwrite: bool = False
    dataset: str = ""
    splits: tuple[str, ...] = ()
    command: str = ""


class TextEmbedSpec(msgspec.Struct, frozen=True, kw_only=True, tag="text-embed"):
    """Text embeddings of class names, as the FSGR script loads them.

    Attributes:
        classes: file of class names, one a line.
        output: the tensor file; a bare float32 tensor (classes, embed_dim).
        templates: sentences with {} for the name; the embeddings of all are averaged. Empty: OpenAI's seven.
    """

    model: ModelChoice
    classes: str
    output: str
    templates: tuple[str, ...] = ()
    overwrite: bool = False


class TextDirectionSpec(msgspec.Struct, frozen=True, kw_only=True, tag="text-direction"):
    """One text, to hold stored tokens against.

    Attributes:
        weights_sha256: of the weights that the tokens were made with.
        space, vector: absolute paths of what is written: the tower's last steps, and the text's embedding.
    """

    model: ModelChoice
    weights_sha256: str
    text: str
    space: str
    vector: str


class RecomputeSpec(msgspec.Struct, frozen=True, kw_only=True, tag="recompute"):
    """Extract some images again and compare with what a file holds.

    Attributes:
        features: the file.
        images_file: the images to extract again.
    """

    model: ModelChoice
    features: str
    images_file: str
    workers: int = 4


class ConvertSpec(msgspec.Struct, frozen=True, kw_only=True, tag="convert"):
    """Keep the rows of a file or folder in another format.

    Attributes:
        source, target: absolute paths.
        dtype: storage type of the target; None for the source's.
        overwrite: replace what has the target's name, at the end.
        rates: measure how fast both are read.
        command: the command line as typed, for the manifest of a target of another type.
    """

    source: str
    target: str
    source_format: FormatName
    target_format: FormatName
    dtype: Dtype | None = None
    overwrite: bool = False
    rates: bool = True
    command: str = ""


ChildSpec = ExtractSpec | RecomputeSpec | TextEmbedSpec | TextDirectionSpec | ConvertSpec

# Relative L2 that a new extraction may differ by. Measured with open_clip 3.3 against fp32: fp16 arithmetic 1.2e-3, bf16
# 9.6e-3, float16 storage alone 2e-4; each limit leaves a factor of about four for batch size and device. Pixels ("none") must be equal.
RECOMPUTE_LIMIT: dict[str, float] = {"none": 0.0, "fp32": 1e-3, "fp16": 5e-3, "bf16": 4e-2}
RECOMPUTE_COSINE = 0.999
