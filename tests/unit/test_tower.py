"""Grids, exact bytes, and model names."""

from __future__ import annotations

import pytest

from fsgr_tui.core.coco import KARPATHY_IMAGES, SPLITS
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.tower import FeatureShape, canonical_name, find_tower, tower_from_config

SETS = {
    "train2014": SPLITS["train2014"].images,
    "val2014": SPLITS["val2014"].images,
    "karpathy": KARPATHY_IMAGES,
    "train2017": SPLITS["train2017"].images,
}

# Bytes an image and of four data sets, float32, computed by hand from tokens x width x 4.
EXACT = [
    ("ViT-B/32", "native", 150_528, 12_461_159_424, 6_096_986_112, 18_558_145_536, 17_805_505_536),
    ("ViT-B/16", "7x7", 150_528, 12_461_159_424, 6_096_986_112, 18_558_145_536, 17_805_505_536),
    ("ViT-B/16", "native", 602_112, 49_844_637_696, 24_387_944_448, 74_232_582_144, 71_222_022_144),
    ("ViT-L/14", "native", 1_048_576, 86_804_267_008, 42_471_522_304, 129_275_789_312, 124_032_909_312),
    ("ViT-L/14", "8x8", 262_144, 21_701_066_752, 10_617_880_576, 32_318_947_328, 31_008_227_328),
    ("ViT-L/14", "7x7", 200_704, 16_614_879_232, 8_129_314_816, 24_744_194_048, 23_740_674_048),
    ("ViT-L/14@336px", "native", 2_359_296, 195_309_600_768, 95_560_925_184, 290_870_525_952, 279_074_045_952),
    ("RN101", "native", 401_408, 33_229_758_464, 16_258_629_632, 49_488_388_096, 47_481_348_096),
]


@pytest.mark.parametrize(("name", "grid", "image", "train", "val", "karpathy", "train2017"), EXACT)
def test_feature_bytes_are_exact(name, grid, image, train, val, karpathy, train2017):
    shape = FeatureShape(find_tower(name), grid, "float32").checked()
    assert shape.bytes_per_image == image
    assert [shape.feature_bytes(count) for count in SETS.values()] == [train, val, karpathy, train2017]
    half = FeatureShape(find_tower(name), grid, "float16")
    assert half.feature_bytes(KARPATHY_IMAGES) * 2 == karpathy


@pytest.mark.parametrize("name", ["ViT-B/16", "ViT-B-16", "vit-b/16", "vit_b_16"])
def test_both_spellings_name_the_same_model(name):
    assert find_tower(name).name == "ViT-B-16"
    assert canonical_name(name) == "ViT-B-16"


def test_an_unknown_model_is_answered_with_near_names():
    with pytest.raises(BadRequest) as caught:
        find_tower("ViT-B/17")
    assert "ViT-B-16" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "grid", "pooling", "px"),
    [
        ("ViT-B/16", "7x7", "average 2x2", 224),
        ("ViT-B/16", "native", "none", 224),
        ("ViT-B/16", "7x7-112px", "none", 112),
        ("ViT-L/14", "8x8", "average 2x2", 224),
        ("ViT-L/14", "7x7", "adaptive average 16x16 to 7x7, overlapping windows", 224),
        ("ViT-L/14@336px", "8x8", "average 3x3", 336),
        ("ViT-B/32", "7x7", "none", 224),
    ],
)
def test_the_pooling_is_told_in_words(name, grid, pooling, px):
    shape = FeatureShape(find_tower(name), grid).checked()
    assert (shape.pooling, shape.input_px) == (pooling, px)


@pytest.mark.parametrize(("name", "grid"), [("ViT-B/32", "8x8"), ("RN50", "7x7-112px")])
def test_a_grid_that_the_tower_cannot_give_is_refused(name, grid):
    with pytest.raises(BadRequest):
        FeatureShape(find_tower(name), grid).checked()


def test_configs_of_open_clip_become_towers_and_others_are_left_out():
    vit = {"embed_dim": 512, "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 16}}
    resnet = {"embed_dim": 1024, "vision_cfg": {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64}}
    timm = {"embed_dim": 512, "vision_cfg": {"timm_model_name": "vit_base", "image_size": 224}}
    assert tower_from_config("a", vit) == find_tower("ViT-B-16").__class__("a", 768, 16, 224, 512)
    found = tower_from_config("b", resnet)
    assert found is not None
    assert (found.width, found.tokens, found.family) == (2048, 49, "resnet")
    assert tower_from_config("c", timm) is None
