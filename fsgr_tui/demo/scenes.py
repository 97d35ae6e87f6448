"""Generated scenes: coloured shapes, where they stand, how they look, and five true captions of each.

A scene is a pure function of (seed, index). Its random numbers come from `random.Random` seeded with a string, which
Python hashes with SHA-512: neither hash randomisation nor the number of scenes changes any of them.
"""

from __future__ import annotations

import math
import random
from functools import lru_cache
from typing import Literal, get_args

import msgspec
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Kind = Literal["circle", "square", "triangle", "star", "ring", "cross"]
Size = Literal["small", "medium", "large"]
Relation = Literal["above", "below", "left of", "right of"]
Place = Literal["middle", "top", "bottom", "left", "right"]

KINDS: tuple[Kind, ...] = get_args(Kind)

# Far apart from each other and from the greyish backgrounds, also after JPEG's chroma subsampling.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (208, 24, 32),
    "orange": (248, 132, 8),
    "yellow": (248, 224, 24),
    "green": (24, 140, 52),
    "blue": (24, 72, 208),
    "purple": (128, 36, 156),
    "black": (16, 16, 18),
    "white": (252, 252, 252),
}

# Diameter as a share of the shorter side. The smallest still covers more than one cell of a 7x7 grid.
SIZES: dict[Size, float] = {"small": 0.20, "medium": 0.30, "large": 0.42}

_FRAMES = {
    (640, 480): 50, (480, 640): 20, (640, 427): 8, (427, 640): 7, (500, 375): 7, (375, 500): 4, (612, 612): 4,
}  # fmt: skip
_SHAPE_COUNTS = {1: 20, 2: 55, 3: 25}
_BACKGROUNDS = ((168, 168, 168), (178, 170, 156), (156, 168, 180), (164, 176, 162), (180, 164, 168))

_MARGIN_PX = 10
_GAP_PX = 14
# A neighbour may stand aside by this share of its distance; squashed from 4:3 to a square it stays under 0.6, so
# that "above" never turns into "left of".
_SLANT = 0.4

# A supersampling of 4 gives 16 levels of coverage along an edge.
_SUPERSAMPLING = 4
# Grain (standard deviation, in grey levels) and slope of the background; with them a 640x480 JPEG has 40-60 kB.
_GRAIN = 4.0
_SLOPE = 16.0

_INVERSE: dict[Relation, Relation] = {"above": "below", "below": "above", "left of": "right of", "right of": "left of"}
_STEP_TO_OTHER: dict[Relation, tuple[int, int]] = {
    "above": (0, 1), "below": (0, -1), "left of": (1, 0), "right of": (-1, 0),
}  # fmt: skip
_OFFSETS: dict[Place, tuple[int, int]] = {
    "middle": (0, 0), "top": (0, -1), "bottom": (0, 1), "left": (-1, 0), "right": (1, 0),
}  # fmt: skip

_RELATION_WORDS: dict[Relation, tuple[str, ...]] = {
    "above": ("above", "over"),
    "below": ("below", "under"),
    "left of": ("left of", "to the left of", "on the left of"),
    "right of": ("right of", "to the right of", "on the right of"),
}
_PLACE_WORDS: dict[Place, str] = {
    "middle": "in the middle", "top": "at the top", "bottom": "at the bottom",
    "left": "on the left side", "right": "on the right side",
}  # fmt: skip
_SIZE_WORDS: dict[Size, tuple[str, ...]] = {"small": ("small", "little"), "medium": ("",), "large": ("large", "big")}

# {a}, {b}, {c}: the shapes; {ab}: how a stands to b, {ba}: the same seen from b; {at}: the place in the picture.
# No two patterns of a list can give the same sentence.
_PATTERNS_OF_ONE = (
    "{a} {at} of the picture",
    "{a} {at} of the image",
    "{a} is {at} of the photo",
    "there is {a} {at} of the picture",
    "a picture of {a} {at}",
    "an image that shows {a} {at}",
    "one shape, {a}, {at} of the picture",
    "{a} sits {at} of a plain background",
)
_PATTERNS_OF_TWO = (
    "{a} {ab} {b}",
    "{b} {ba} {a}",
    "{a} is {ab} {b}",
    "there is {b} {ba} {a}",
    "a picture of {a} {ab} {b}",
    "an image that shows {b} {ba} {a}",
    "a photo with {a} {ab} {b}",
    "two shapes, {a} {ab} {b}",
    "{b} sits {ba} {a} on a plain background",
    "{a} and {b} with the {a_colour} one {ab} the {b_colour} one",
)
_PATTERNS_OF_THREE = (
    "{a} {ab} {b} and {ac} {c}",
    "{a} {ac} {c} and {ab} {b}",
    "{a} is {ab} {b} and {ac} {c}",
    "there is {a} {ac} {c} and {ab} {b}",
    "a picture of {a} {ab} {b} and {ac} {c}",
    "an image that shows {a} {ac} {c} and {ab} {b}",
    "three shapes, {a} {ab} {b} and {ac} {c}",
    "{b} {ba} {a} with {c} {ca} the {a_colour} one",
    "{c} {ca} {a} with {b} {ba} the {a_colour} one",
)
_CAPTIONS_PER_SCENE = 5


class Shape(msgspec.Struct, frozen=True):
    """One coloured shape.

    Attributes:
        x, y: its centre in px; y grows downwards.
        radius: half the side of the box that holds it, in px.
    """

    kind: Kind
    colour: str
    size: Size
    x: int
    y: int
    radius: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom in px."""
        return self.x - self.radius, self.y - self.radius, self.x + self.radius, self.y + self.radius

    def keeps_clear_of(self, other: Shape) -> bool:
        """Whether the boxes of both have a visible gap between them."""
        apart = max(abs(self.x - other.x), abs(self.y - other.y))
        return apart >= self.radius + other.radius + _GAP_PX


class Scene(msgspec.Struct, frozen=True):
    """One to three shapes before a background.

    Attributes:
        shapes: no two have the same colour or overlap; the first stands in a clear relation to each of the others,
            and alone it stands in a clear place.
        width, height: of the picture, in px.
        background: mean colour behind the shapes.
    """

    seed: int
    index: int
    width: int
    height: int
    background: tuple[int, int, int]
    shapes: tuple[Shape, ...]


def relation(first: Shape, second: Shape) -> Relation:
    """How the first shape stands to the second, by the axis along which they are further apart."""
    across, down = second.x - first.x, second.y - first.y
    if abs(down) > abs(across):
        return "above" if down > 0 else "below"
    return "left of" if across > 0 else "right of"


def place(scene: Scene) -> Place:
    """Where the first shape of a scene stands in the picture."""
    across = scene.shapes[0].x / scene.width - 0.5
    down = scene.shapes[0].y / scene.height - 0.5
    if max(abs(across), abs(down)) < 0.15:
        return "middle"
    if abs(down) > abs(across):
        return "bottom" if down > 0 else "top"
    return "right" if across > 0 else "left"


def make_scene(seed: int, index: int) -> Scene:
    """Scene number `index` of a seed; it depends on nothing else."""
    rng = _rng(seed, index, "scene")
    width, height = rng.choices(list(_FRAMES), list(_FRAMES.values()))[0]
    background = rng.choice(_BACKGROUNDS)
    count = rng.choices(list(_SHAPE_COUNTS), list(_SHAPE_COUNTS.values()))[0]
    colours = rng.sample(list(COLOURS), count)
    kinds = [rng.choice(KINDS) for _ in range(count)]
    relations = rng.sample(list(_INVERSE), count - 1)
    where = rng.choice(list(_OFFSETS))
    shapes: tuple[Shape, ...] | None = None
    # Large shapes may find no room in a narrow frame; new sizes and positions are drawn until they do.
    while shapes is None:
        blanks = [_blank(rng, kind, colour, min(width, height)) for kind, colour in zip(kinds, colours, strict=True)]
        if count == 1:
            shapes = (_put_alone(rng, blanks[0], where, (width, height)),)
        else:
            shapes = _put_around(rng, blanks, relations, (width, height))
    return Scene(seed, index, width, height, background, shapes)


def draw(scene: Scene) -> Image.Image:
    """The picture of a scene, RGB, `scene.width` x `scene.height`."""
    rng = _rng(scene.seed, scene.index, "grain")
    canvas = _slope(scene, angle=rng.uniform(0, 2 * math.pi))
    for shape in scene.shapes:
        _stamp(canvas, shape)
    grain = np.random.default_rng(rng.getrandbits(64)).standard_normal((scene.height, scene.width, 1), np.float32)
    canvas += grain * np.float32(_GRAIN)
    np.clip(canvas, 0, 255, out=canvas)
    return Image.fromarray(canvas.astype(np.uint8))


def captions(scene: Scene) -> tuple[str, ...]:
    """Five different true sentences about a scene; each names every shape, its colour and how the shapes stand."""
    rng = _rng(scene.seed, scene.index, "captions")
    patterns = (_PATTERNS_OF_ONE, _PATTERNS_OF_TWO, _PATTERNS_OF_THREE)[len(scene.shapes) - 1]
    return tuple(_sentence(rng, pattern, scene) for pattern in rng.sample(patterns, _CAPTIONS_PER_SCENE))


def _rng(seed: int, index: int, purpose: str) -> random.Random:
    return random.Random(f"{seed}/{index}/{purpose}")


def _blank(rng: random.Random, kind: Kind, colour: str, shorter_px: int) -> Shape:
    """A shape that has its size but no position yet."""
    size = rng.choice(list(SIZES))
    return Shape(kind, colour, size, 0, 0, round(SIZES[size] * shorter_px / 2))


def _put_alone(rng: random.Random, shape: Shape, where: Place, frame: tuple[int, int]) -> Shape:
    # Off the middle by 0.22-0.27 of the side: far enough to be seen as aside, and the largest shape stays inside.
    across, down = (step * rng.uniform(0.22, 0.27) + rng.uniform(-0.06, 0.06) * (step == 0) for step in _OFFSETS[where])
    return msgspec.structs.replace(shape, x=round((0.5 + across) * frame[0]), y=round((0.5 + down) * frame[1]))


def _put_around(
    rng: random.Random, blanks: list[Shape], relations: list[Relation], frame: tuple[int, int]
) -> tuple[Shape, ...] | None:
    """The first shape anywhere and the others around it as the relations ask; None when they find no room."""
    inset = blanks[0].radius + _MARGIN_PX
    x, y = (rng.randint(inset, side - inset) for side in frame)
    shapes = [msgspec.structs.replace(blanks[0], x=x, y=y)]
    for blank, how in zip(blanks[1:], relations, strict=True):
        shape = _put_beside(rng, blank, shapes[0], how, frame)
        if shape is None or not all(shape.keeps_clear_of(other) for other in shapes):
            return None
        shapes.append(shape)
    return tuple(shapes)


def _put_beside(rng: random.Random, blank: Shape, anchor: Shape, how: Relation, frame: tuple[int, int]) -> Shape | None:
    """The shape placed so that the anchor is above, below, left of or right of it; None when that is outside."""
    inset = blank.radius + _MARGIN_PX
    nearest = anchor.radius + blank.radius + _GAP_PX
    step_x, step_y = _STEP_TO_OTHER[how]
    ahead = {
        (1, 0): frame[0] - anchor.x, (-1, 0): anchor.x, (0, 1): frame[1] - anchor.y, (0, -1): anchor.y,
    }[step_x, step_y]  # fmt: skip
    if ahead - inset < nearest:
        return None
    distance = rng.randint(nearest, ahead - inset)
    aside = round(distance * rng.uniform(-_SLANT, _SLANT))
    x = anchor.x + (step_x * distance if step_x else aside)
    y = anchor.y + (step_y * distance if step_y else aside)
    inside = inset <= x <= frame[0] - inset and inset <= y <= frame[1] - inset
    return msgspec.structs.replace(blank, x=x, y=y) if inside else None


def _slope(scene: Scene, angle: float) -> npt.NDArray[np.float32]:
    """The background, height x width x 3: its mean colour, getting gently lighter along a direction."""
    across = np.linspace(-_SLOPE, _SLOPE, scene.width, dtype=np.float32) * np.float32(math.cos(angle))
    down = np.linspace(-_SLOPE, _SLOPE, scene.height, dtype=np.float32) * np.float32(math.sin(angle))
    mean = np.asarray(scene.background, dtype=np.float32)
    canvas: npt.NDArray[np.float32] = down[:, None, None] + across[None, :, None] + mean
    return canvas


def _stamp(canvas: npt.NDArray[np.float32], shape: Shape) -> None:
    left, top, right, bottom = shape.box
    under = canvas[top:bottom, left:right]
    under += (np.asarray(COLOURS[shape.colour], dtype=np.float32) - under) * _coverage(shape.kind, shape.radius)


# Few radii occur (frames x sizes), so nearly every shape of a data set finds its mask here.
@lru_cache(maxsize=256)
def _coverage(kind: Kind, radius: int) -> npt.NDArray[np.float32]:
    """How much of each pixel the shape covers, 0..1, (2 radius) x (2 radius) x 1, read-only as it is shared."""
    side = 2 * radius * _SUPERSAMPLING
    mask = Image.new("L", (side, side))
    pen = ImageDraw.Draw(mask)
    if kind in ("circle", "ring"):
        pen.ellipse((0, 0, side - 1, side - 1), fill=255)
    else:
        pen.polygon([((1 + x) * (side - 1) / 2, (1 + y) * (side - 1) / 2) for x, y in _outline(kind)], fill=255)
    if kind == "ring":
        hole = round(side * 0.23)
        pen.ellipse((hole, hole, side - 1 - hole, side - 1 - hole), fill=0)
    share: npt.NDArray[np.float32] = np.asarray(mask.reduce(_SUPERSAMPLING), dtype=np.float32)[:, :, None]
    share = share / np.float32(255)
    share.setflags(write=False)
    return share


def _outline(kind: Kind) -> list[tuple[float, float]]:
    """The corners of a shape in a box from -1 to 1, y downwards."""
    if kind == "square":
        # A full box would look larger than a circle of the same size.
        return [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]
    if kind == "triangle":
        return [(0, -0.95), (1, 0.85), (-1, 0.85)]
    if kind == "cross":
        arm = 0.32
        quarter = [(-arm, -1.0), (arm, -1.0), (arm, -arm)]
        turned = [quarter]
        for _ in range(3):
            turned.append([(-y, x) for x, y in turned[-1]])
        return [corner for corners in turned for corner in corners]
    turns = [(math.pi * tip / 5, 1.0 if tip % 2 == 0 else 0.45) for tip in range(10)]
    return [(reach * math.sin(turn), -reach * math.cos(turn)) for turn, reach in turns]


def _sentence(rng: random.Random, pattern: str, scene: Scene) -> str:
    words: dict[str, str] = {"at": _PLACE_WORDS[place(scene)]}
    first = scene.shapes[0]
    for letter, shape in zip("abc", scene.shapes, strict=False):
        words[letter] = _named(rng, shape)
        words[f"{letter}_colour"] = shape.colour
        if shape is not first:
            how = relation(first, shape)
            words[f"a{letter}"] = rng.choice(_RELATION_WORDS[how])
            words[f"{letter}a"] = rng.choice(_RELATION_WORDS[_INVERSE[how]])
    text = pattern.format_map(words)
    return f"{text[0].upper()}{text[1:]}."


def _named(rng: random.Random, shape: Shape) -> str:
    """A shape with its article, e.g. `a small red circle`; a medium size goes without saying."""
    size = rng.choice(_SIZE_WORDS[shape.size])
    name = f"{size} {shape.colour} {shape.kind}".strip()
    return f"an {name}" if name.startswith("o") else f"a {name}"
