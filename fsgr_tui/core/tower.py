"""CLIP vision towers and the grids of tokens that they give."""

from __future__ import annotations

import math
import re
from typing import Literal

import msgspec

from fsgr_tui.core.errors import BadRequest, did_you_mean
from fsgr_tui.core.language import tr

Grid = Literal["7x7", "native", "7x7-112px", "8x8"]
Dtype = Literal["float16", "float32"]
Stage = Literal["post-ln_post", "pre-ln_post", "projected", "labels", "pixels"]
Family = Literal["vit", "resnet"]

GRIDS: tuple[Grid, ...] = ("7x7", "native", "7x7-112px", "8x8")
DTYPES: tuple[Dtype, ...] = ("float16", "float32")
STAGES: tuple[Stage, ...] = ("post-ln_post", "pre-ln_post", "projected", "labels", "pixels")
ITEM_BYTES: dict[str, int] = {"float16": 2, "float32": 4, "uint8": 1, "int64": 8}

HDF5_BYTES_PER_KEY = 410
"""Upper end of what HDF5 adds per image key (object header and link; 300-410 measured with h5py 3.16)."""


class Tower(msgspec.Struct, frozen=True):
    """A vision tower, as far as sizes depend on it.

    Attributes:
        name: open_clip's spelling, e.g. "ViT-B-16" or "ViT-B-16-quickgelu".
        width: channels of a token before the projection.
        patch_px: edge of a patch (a ResNet's total stride).
        image_px: edge of the square input it was trained on.
        embed_dim: channels after the projection.
        quick_gelu: whether its config names OpenAI's x * sigmoid(1.702 x).
        family: "vit" or "resnet".
    """

    name: str
    width: int
    patch_px: int
    image_px: int
    embed_dim: int
    quick_gelu: bool = False
    family: Family = "vit"

    @property
    def side(self) -> int:
        """Tokens along one edge of the native grid."""
        return self.image_px // self.patch_px

    @property
    def tokens(self) -> int:
        """Patch tokens of the native grid, class token not counted."""
        return self.side**2


# Widths, patches and sizes: the published CLIP architectures (open_clip's model_configs of the same names).
KNOWN: dict[str, Tower] = {
    tower.name: tower
    for tower in (
        Tower("ViT-B-32", 768, 32, 224, 512),
        Tower("ViT-B-16", 768, 16, 224, 512),
        Tower("ViT-L-14", 1024, 14, 224, 768),
        Tower("ViT-L-14-336", 1024, 14, 336, 768),
        Tower("ViT-H-14", 1280, 14, 224, 1024),
        Tower("RN50", 2048, 32, 224, 1024, family="resnet"),
        Tower("RN101", 2048, 32, 224, 512, family="resnet"),
        # A three-layer tower for the demo and the tests, shipped with this package.
        Tower("fsgr-demo-16", 96, 16, 224, 64),
    )
}


class FeatureShape(msgspec.Struct, frozen=True):
    """What one image's features look like in the file.

    Attributes:
        tower: the vision tower.
        grid: 7x7 (average pooling of the native grid: the guide's method 1), native, 8x8 (pooled), or
            7x7-112px (an input of 7 patches an edge, 112 pixels for a /16 tower: the guide's method 2).
        dtype: storage type of features.
        stage: post-ln_post tokens (after the final LayerNorm), pre-ln_post (before it, what FSGR's own encoder
            takes), projected (into the space shared with text), labels (a class index per patch), or pixels (the
            resized picture, exact for everything that trains inside CLIP).
        global_token: whether the class token is stored too.
    """

    tower: Tower
    grid: Grid = "7x7"
    dtype: Dtype = "float16"
    stage: Stage = "post-ln_post"
    global_token: bool = False

    @property
    def input_px(self) -> int:
        """Edge of the square that the picture is resized to."""
        return 7 * self.tower.patch_px if self.grid == "7x7-112px" else self.tower.image_px

    @property
    def native_side(self) -> int:
        """Tokens along one edge as they leave the tower, before pooling."""
        return self.input_px // self.tower.patch_px

    @property
    def side(self) -> int:
        """Tokens along one edge in the file."""
        return {"7x7": 7, "7x7-112px": 7, "8x8": 8, "native": self.tower.side}[self.grid]

    @property
    def tokens(self) -> int:
        """Tokens per image in the file."""
        return self.side**2

    @property
    def width(self) -> int:
        """Channels of a stored token."""
        return self.tower.embed_dim if self.stage == "projected" else self.tower.width

    @property
    def stored_dtype(self) -> str:
        """Type of the stored values."""
        return {"pixels": "uint8", "labels": "int64"}.get(self.stage, self.dtype)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one image's array."""
        if self.stage == "pixels":
            return (self.input_px, self.input_px, 3)
        return (self.tokens,) if self.stage == "labels" else (self.tokens, self.width)

    @property
    def global_width(self) -> int:
        """Channels of the stored class token; 0 when it is not stored."""
        return self.width if self.global_token else 0

    @property
    def words(self) -> str:
        """A row in words, e.g. `49 x 768 float16`."""
        return f"{' x '.join(map(str, self.row_shape))} {self.stored_dtype}"

    @property
    def bytes_per_image(self) -> int:
        """Exact bytes of one image's features."""
        return (math.prod(self.row_shape) + self.global_width) * ITEM_BYTES[self.stored_dtype]

    @property
    def pooling(self) -> str:
        """How the native grid becomes the stored one, in words for the manifest."""
        if self.side == self.native_side:
            return "none"
        if self.native_side % self.side == 0:
            return f"average {self.native_side // self.side}x{self.native_side // self.side}"
        return f"adaptive average {self.native_side}x{self.native_side} to {self.side}x{self.side}, overlapping windows"

    def feature_bytes(self, images: int) -> int:
        """Exact bytes of the features of so many images, HDF5's own share not counted."""
        return images * self.bytes_per_image

    @property
    def keys_per_image(self) -> int:
        """HDF5 keys of one image."""
        return 2 if self.global_token else 1

    def file_bytes(self, images: int) -> int:
        """Upper bound of the file's size: features, keys, and the file's own head."""
        return self.feature_bytes(images) + HDF5_BYTES_PER_KEY * self.keys_per_image * images + 2**20

    def checked(self) -> FeatureShape:
        """This shape, if the tower can give it.

        Raises:
            BadRequest: the grid would have to invent tokens that the tower does not give.
        """
        if self.grid == "7x7-112px" and self.tower.family != "vit":
            raise BadRequest(
                tr("The grid 7x7-112px needs a ViT, and {name} is a ResNet.", name=self.tower.name),
                tr("Use --grid 7x7 or --grid native."),
            )
        if self.stage in ("projected", "labels") and self.tower.family != "vit":
            raise BadRequest(
                tr("--stage {stage} needs a ViT, and {name} is a ResNet.", stage=self.stage, name=self.tower.name),
                tr("Use --stage post-ln_post."),
            )
        if self.global_token and (self.tower.family != "vit" or self.stage in ("pixels", "labels")):
            raise BadRequest(
                tr(
                    "There is no class token to store for {name} at --stage {stage}.",
                    name=self.tower.name,
                    stage=self.stage,
                ),
                tr("Leave --global-token out."),
            )
        if self.stage == "labels" and self.grid != "native":
            raise BadRequest(
                tr("Patch labels belong to the native grid; indices cannot be averaged."), tr("Use --grid native.")
            )
        if self.stage != "pixels" and self.side > self.native_side:
            raise BadRequest(
                tr(
                    "{name} gives {native_side}x{native_side} tokens, fewer than --grid {grid} asks for.",
                    name=self.tower.name,
                    native_side=self.native_side,
                    grid=self.grid,
                ),
                tr("Use --grid native."),
            )
        return self


def canonical_name(name: str) -> str:
    """open_clip's spelling of a model name: `ViT-B/16` and `vit_b_16` become `ViT-B-16`."""
    spelled = name.strip().replace("/", "-").replace("@", "-").replace("336px", "336")
    wanted = re.sub(r"[-_]", "-", spelled).lower()
    return next((known for known in KNOWN if known.lower() == wanted), spelled)


def find_tower(name: str, configs: dict[str, Tower] | None = None) -> Tower:
    """The tower of that name, in either spelling.

    Args:
        name: e.g. "ViT-B/16".
        configs: further towers, e.g. those of the installed open_clip.

    Raises:
        BadRequest: no such model; the message lists near names.
    """
    towers = {**(configs or {}), **KNOWN}
    spelled = canonical_name(name)
    by_lower = {known.lower(): tower for known, tower in towers.items()}
    found = by_lower.get(spelled.lower())
    if found is None:
        near = did_you_mean(spelled, list(towers)) or tr("Known without open_clip: {names}.", names=", ".join(KNOWN))
        raise BadRequest(tr("Unknown CLIP model {name}.", name=repr(name)), near)
    return found


def tower_from_config(name: str, config: dict[str, object]) -> Tower | None:
    """The tower behind an open_clip model config; None for towers without a plain patch grid (timm, ConvNeXt, CoCa)."""
    vision = config.get("vision_cfg")
    if not isinstance(vision, dict) or "timm_model_name" in vision or "attentional_pool" in vision:
        return None
    layers, width, image_px = vision.get("layers"), vision.get("width"), vision.get("image_size")
    embed_dim = config.get("embed_dim")
    if not isinstance(width, int) or not isinstance(image_px, int) or not isinstance(embed_dim, int):
        return None
    quick_gelu = bool(config.get("quick_gelu", False))
    if isinstance(layers, list):
        return Tower(name, width * 32, 32, image_px, embed_dim, quick_gelu, "resnet")
    patch_px = vision.get("patch_size")
    return Tower(name, width, patch_px, image_px, embed_dim, quick_gelu) if isinstance(patch_px, int) else None
