"""Captions of every usual kind, and what is said where they do not fit."""

import json

import numpy as np
import pytest

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.features.annotations import Pair
from fsgr_tui.features.captions import read_captions


def karpathy(path, images, **changes):
    content = {"dataset": "coco", "images": images, **changes}
    path.write_text(json.dumps(content))
    return path


def image(name, split, *captions, **ids):
    sentences = [{"raw": text, "tokens": text.split(), "sentid": 1000 + number} for number, text in enumerate(captions)]
    return {"filename": name, "split": split, "sentences": sentences, **ids}


COCO_IMAGES = [
    image("COCO_train2014_000000000009.jpg", "train", "A dog.", "Two dogs.", cocoid=9, imgid=0),
    image("COCO_val2014_000000000042.jpg", "restval", "A cat.", cocoid=42, imgid=1),
    image("COCO_val2014_000000000073.jpg", "val", "A cow.", cocoid=73, imgid=2),
    image("COCO_val2014_000000000074.jpg", "test", "A bird.", cocoid=74, imgid=3),
]


def coco_file(path, first_image, captions=3):
    annotations = [
        {"id": 500 + number, "image_id": first_image + number, "caption": f"caption {number}"}
        for number in range(captions)
    ]
    path.write_text(json.dumps({"images": [], "annotations": annotations}))
    return path


def test_karpathys_json_gives_coco_ids_and_trains_on_restval_too(tmp_path):
    read = read_captions(karpathy(tmp_path / "dataset_coco.json", COCO_IMAGES))
    assert [pair.image_id for pair in read.annotations.train] == [9, 9, 42]
    assert read.annotations.train[1] == Pair(9, 1001, "Two dogs.")
    assert [pair.image_id for pair in read.annotations.dev] == [73]
    assert [pair.image_id for pair in read.annotations.test] == [74]
    assert read.image_ids == {9, 42, 73, 74}


def test_karpathys_json_of_flickr_takes_the_number_of_the_file_name(tmp_path):
    images = [
        image("1000092795.jpg", "train", "Two men.", imgid=0),
        image("10002456.jpg", "val", "Several men.", imgid=1),
    ]
    read = read_captions(karpathy(tmp_path / "dataset_flickr30k.json", images))
    assert read.image_ids == {1000092795, 10002456}


def test_features_by_karpathys_running_number_are_explained(tmp_path):
    read = read_captions(karpathy(tmp_path / "dataset_coco.json", COCO_IMAGES))
    assert "Karpathy's running numbers (imgid), not image ids" in read.explain([0, 1, 2, 3])
    assert "annotation (sentence) ids, not image ids" in read.explain([1000, 1001])
    assert read.explain([9, 42, 73]) == ""
    assert read.explain([7_000, 7_001]) == ""


def test_features_by_annotation_id_are_explained_for_m2s_folder(demo_root):
    read = read_captions(demo_root / "m2_annotations")
    annotation_ids = {pair.annotation_id for pair in (*read.annotations.train, *read.annotations.dev)}
    assert "annotation (caption) ids, not image ids" in read.explain(annotation_ids)
    assert read.explain(read.image_ids) == ""


def test_an_unknown_split_is_named(tmp_path):
    with pytest.raises(BadRequest, match=r"x.jpg is of the split 'traning'"):
        read_captions(karpathy(tmp_path / "d.json", [image("x.jpg", "traning", "A dog.", cocoid=1)]))


def test_a_name_without_a_number_is_refused_where_nothing_else_carries_the_id(tmp_path):
    with pytest.raises(BadRequest, match=r"the name beach.jpg carries no image id"):
        read_captions(karpathy(tmp_path / "d.json", [image("beach.jpg", "train", "A dog.", imgid=5)]))


def test_cocos_training_captions_are_validated_on_the_file_beside_them(tmp_path):
    train = coco_file(tmp_path / "captions_train2017.json", 9)
    coco_file(tmp_path / "captions_val2017.json", 100, captions=2)
    for asked in (train, tmp_path):
        read = read_captions(asked)
        assert [pair.image_id for pair in read.annotations.train] == [9, 10, 11]
        assert [pair.image_id for pair in read.annotations.dev] == [100, 101]
        assert "captions_val2017.json" in read.notices[0]


def test_captions_without_a_split_hold_out_the_same_images_every_time(tmp_path):
    path = coco_file(tmp_path / "my_captions.json", 1, captions=400)
    read, again = read_captions(path), read_captions(path)
    assert read == again
    held = {pair.image_id for pair in read.annotations.dev}
    assert 10 <= len(held) <= 35
    assert not held & {pair.image_id for pair in read.annotations.train}
    assert f"{len(held)} images (one in 20" in read.notices[0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("results_20130124.token", "1000092795.jpg#0\tTwo men , outside .\n1000092795.jpg#1\tTwo guys .\n"),
        ("results.csv", "image_name| comment_number| comment\n1000092795.jpg| 0| Two men , outside .\n1000092795.jpg| 1| Two guys .\n"),
        ("captions.txt", 'image,caption\n1000092795.jpg,"Two men , outside ."\n1000092795.jpg,Two guys .\n'),
        ("annotations.csv", 'raw,split,filename\n"[""Two men , outside ."", ""Two guys .""]",train,1000092795.jpg\n'),
    ],
)  # fmt: skip
def test_flickrs_lists_are_read_in_their_four_forms(tmp_path, name, content):
    (tmp_path / name).write_text(content, "utf-8")
    read = read_captions(tmp_path / name)
    pairs = (*read.annotations.train, *read.annotations.dev)
    assert [(pair.image_id, pair.caption) for pair in pairs] == [
        (1000092795, "Two men , outside ."),
        (1000092795, "Two guys ."),
    ]


def test_a_table_with_splits_keeps_them(tmp_path):
    rows = [
        "raw,split,filename",
        *(f"caption,{split},{number}.jpg" for number, split in enumerate(("train", "val", "test"), 7)),
    ]
    (tmp_path / "flickr.csv").write_text("\n".join(rows))
    read = read_captions(tmp_path / "flickr.csv")
    assert [len(part) for part in (read.annotations.train, read.annotations.dev, read.annotations.test)] == [1, 1, 1]
    assert read.annotations.dev[0].image_id == 8
    assert not read.notices


def test_flickr8ks_names_are_refused_with_the_line_and_the_way_round(tmp_path):
    (tmp_path / "captions.txt").write_text("image,caption\n1000268201_693b08cb0e.jpg,A child .\n")
    with pytest.raises(BadRequest, match=r"captions.txt, line 2: the name '1000268201_693b08cb0e.jpg'") as fault:
        read_captions(tmp_path / "captions.txt")
    assert "COCO's JSON" in fault.value.fix


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.json", b'{"annotations": [{"id": 1, "ima', "broken JSON"),
        ("a.json", b"{}", "holds no captions"),
        ("a.json", b'{"annotations": [{"id": 1, "image_id": "x", "caption": "y"}]}', "is no file of captions"),
        ("a.json", b'{"annotations": []}', "no captions to train on"),
        ("a.json", b"[1, 2]", "is no file of captions"),
        ("a.csv", b"x,y\n1,2\n", "is no list of captions"),
        ("a.csv", b"", "is no list of captions"),
        ("a.csv", b"\xff\xfe\x00a", "cannot be read as text"),
    ],
)
def test_files_that_are_no_captions_are_named_with_what_is_known(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadRequest, match=told) as fault:
        read_captions(tmp_path / name)
    assert name in fault.value.what
    assert fault.value.fix


def test_a_folder_without_captions_names_the_files_that_may_be_meant(tmp_path):
    (tmp_path / "dataset_coco.json").touch()
    with pytest.raises(BadRequest, match=r"no captions_train2014.json \(its JSON files: dataset_coco.json\)"):
        read_captions(tmp_path)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(BadRequest, match="nowhere"):
        read_captions(tmp_path / "nowhere")


def test_image_ids_in_m2s_lists_are_still_told_apart(demo_root, tmp_path):
    for file in (demo_root / "m2_annotations").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    images = sorted({pair.image_id for pair in read_captions(tmp_path).annotations.train})
    np.save(tmp_path / "coco_train_ids.npy", np.array(images))
    with pytest.raises(BadRequest, match="holds image ids, and M2's files hold annotation ids"):
        read_captions(tmp_path)
