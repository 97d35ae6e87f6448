import json
from pathlib import Path

import numpy as np
import pytest

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.features.annotations import Pair, read_annotations

# Image ids 100.. with annotation ids 1.. : 12 images of train2014 and 12 of val2014, two captions each.
IMAGES = 12


def write_captions(path: Path, first_image: int, first_annotation: int) -> None:
    annotations = [
        {
            "id": first_annotation + number,
            "image_id": first_image + number // 2,
            "caption": f"caption {first_annotation + number}",
        }
        for number in range(2 * IMAGES)
    ]
    path.write_text(json.dumps({"info": {"year": 2014}, "licenses": [], "images": [], "annotations": annotations}))


def write_ids(folder: Path, name: str, ids) -> None:
    np.save(folder / f"coco_{name}_ids.npy", np.asarray(ids))


@pytest.fixture
def folder(tmp_path):
    write_captions(tmp_path / "captions_train2014.json", first_image=100, first_annotation=1)
    write_captions(tmp_path / "captions_val2014.json", first_image=200, first_annotation=51)
    write_ids(tmp_path, "train", range(1, 25))
    write_ids(tmp_path, "restval", range(51, 63))
    write_ids(tmp_path, "dev", range(63, 69))
    write_ids(tmp_path, "test", range(69, 75))
    return tmp_path


def test_training_takes_train_and_restval_in_the_order_of_the_files(folder):
    annotations = read_annotations(folder)
    assert [pair.annotation_id for pair in annotations.train] == [*range(1, 25), *range(51, 63)]
    assert annotations.train[0] == Pair(100, 1, "caption 1")
    assert annotations.train[-1] == Pair(205, 62, "caption 62")
    assert {pair.image_id for pair in annotations.dev} == {206, 207, 208}
    assert [pair.annotation_id for pair in annotations.test] == list(range(69, 75))
    assert annotations.shared_images == 0


def test_an_annotation_id_that_both_caption_files_hold_is_looked_up_in_the_file_of_its_list(folder):
    write_captions(folder / "captions_val2014.json", first_image=200, first_annotation=1)
    for name, ids in (("restval", [1, 2]), ("dev", [3]), ("test", [5])):
        write_ids(folder, name, ids)
    annotations = read_annotations(folder)
    assert [pair.image_id for pair in annotations.train[:2]] == [100, 100]
    assert [pair.image_id for pair in annotations.train[-2:]] == [200, 200]
    assert annotations.dev[0].image_id == 201


def test_images_that_are_trained_on_and_validated_with_are_counted(folder):
    write_ids(folder, "dev", [1, 2, 3, 63])
    assert read_annotations(folder).shared_images == 2


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(BadRequest, match="nowhere"):
        read_annotations(tmp_path / "nowhere")


def test_missing_files_are_named_all_at_once(folder):
    (folder / "coco_restval_ids.npy").unlink()
    (folder / "captions_val2014.json").unlink()
    with pytest.raises(BadRequest, match=r"lacks captions_val2014.json, coco_restval_ids.npy"):
        read_annotations(folder)


@pytest.mark.parametrize("content", [b"", b'{"annotations": [{"id": 1, "ima', b"<html>not found</html>"])
def test_broken_json_is_told_with_its_file(folder, content):
    (folder / "captions_val2014.json").write_bytes(content)
    with pytest.raises(BadRequest, match=r"captions_val2014.json is broken JSON"):
        read_annotations(folder)


@pytest.mark.parametrize("content", ["{}", '{"annotations": [{"id": 1, "image_id": 2}]}', "[]"])
def test_json_of_another_kind_is_told_apart_from_broken_json(folder, content):
    (folder / "captions_train2014.json").write_text(content)
    with pytest.raises(BadRequest, match=r"captions_train2014.json is not a COCO caption file"):
        read_annotations(folder)


@pytest.mark.parametrize("ids", [np.repeat(range(206, 212), 2), range(206, 212)])
def test_image_ids_in_an_id_file_are_told_apart(folder, ids):
    write_ids(folder, "dev", ids)
    with pytest.raises(BadRequest, match=r"coco_dev_ids.npy holds image ids, and M2's files hold annotation ids"):
        read_annotations(folder)


def test_image_ids_are_told_apart_even_where_most_of_them_happen_to_be_annotation_ids(folder):
    # As in COCO: three of four numbers in the range of the image ids are some caption's id.
    write_captions(folder / "captions_train2014.json", first_image=10, first_annotation=1)
    write_ids(folder, "dev", [*range(15, 22), 200])
    with pytest.raises(BadRequest, match="holds image ids"):
        read_annotations(folder)


def test_ids_that_no_caption_has_are_listed(folder):
    write_ids(folder, "dev", [63, 64, 65, 9001, 9002])
    with pytest.raises(BadRequest, match=r"2 of 5 annotation ids that no caption has: 9001, 9002"):
        read_annotations(folder)


def test_annotation_ids_that_are_some_images_ids_by_chance_are_taken_as_they_are(folder):
    write_captions(folder / "captions_train2014.json", first_image=51, first_annotation=1)
    assert len(read_annotations(folder).train) == 36


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.array([1.0, 2.0]), "float64"),
        (np.array([[1, 2]]), r"int64 \(1, 2\)"),
        (np.array([{"id": 1}], dtype=object), "no plain NumPy array"),
    ],
)
def test_arrays_that_are_no_row_of_integers_are_refused_and_pickles_are_never_run(folder, array, found):
    np.save(folder / "coco_dev_ids.npy", array, allow_pickle=True)
    with pytest.raises(BadRequest, match=found):
        read_annotations(folder)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x93NUMPY\x01\x00v\x00{'descr'"])
def test_an_id_file_that_is_cut_off_is_refused(folder, content):
    (folder / "coco_test_ids.npy").write_bytes(content)
    with pytest.raises(BadRequest, match=r"coco_test_ids.npy is no plain NumPy array"):
        read_annotations(folder)
