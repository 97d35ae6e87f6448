"""File names, ids and splits of the field's data sets."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsgr_tui.core import coco


@pytest.mark.parametrize(
    ("name", "image_id"),
    [
        ("COCO_train2014_000000000009.jpg", 9),
        ("000000000009.jpg", 9),
        ("1000092795.jpg", 1000092795),
        ("VizWiz_val_00000001.jpg", 1),
        ("VizWiz_train_00023430.jpg", 23430),
    ],
)
def test_the_id_is_the_number_at_the_end_of_the_base_name(name, image_id):
    assert coco.image_id(name) == image_id


@pytest.mark.parametrize(
    "name", ["cover.jpg", "0013ea2087020901.jpg", "9_small.jpg", "图片_２.jpg", "a-12.jpg", ".jpg"]
)
def test_a_name_without_such_a_number_has_no_id(name):
    assert coco.image_id(name) is None


def test_a_pattern_of_the_users_replaces_the_rule():
    assert coco.image_id("9_small.jpg", re.compile(r"^(\d+)_small$")) == 9


@given(st.text(max_size=30))
def test_no_name_whatever_makes_the_rule_fail(name):
    found = coco.image_id(name)
    assert found is None or found >= 0


def test_files_of_operating_systems_are_no_images():
    names = ["000000000042.jpg", "._000000000042.jpg", ".DS_Store", "Thumbs.db", "notes.txt", "a.JPEG"]
    assert [name for name in names if coco.is_image_name(name)] == ["000000000042.jpg", "a.JPEG"]


def test_karpathy_stands_for_both_folders_of_2014():
    assert coco.split_names(("karpathy", "val2014")) == ("train2014", "val2014")


def test_the_published_numbers_add_up():
    train, val = coco.SPLITS["train2014"], coco.SPLITS["val2014"]
    assert train.images + val.images == coco.KARPATHY_IMAGES
    assert coco.KARPATHY_TRAIN_IMAGES + 10_000 == coco.KARPATHY_IMAGES
    assert pytest.approx((train.zip_bytes + val.zip_bytes) / coco.KARPATHY_IMAGES, rel=0.002) == coco.AVERAGE_JPEG_BYTES
