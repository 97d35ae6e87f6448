"""The check finds what can be wrong with a feature file, and does not cry wolf."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from fsgr_tui.features.check import Expected, check_file, known_shape, shape_fault
from fsgr_tui.features.manifest import ROW_CRC32
from tests.conftest import build_file, smooth_rows

IDS = tuple(range(100, 140))


def judged(report) -> dict[str, str]:
    return {row.what: row.judgement for row in report.rows}


def bad(report) -> set[str]:
    return {row.what for row in report.rows if row.judgement == "bad"}


def checked(path, *, deep=True, **expected):
    return check_file(path, Expected(**expected), deep=deep)


def test_a_sound_file_is_good(tmp_path):
    report = checked(build_file(tmp_path / "f.hdf5", IDS), ids=frozenset(IDS), source="images")
    assert report.good
    assert judged(report)["checksums"] == "ok"
    assert "40 images, 49 x 8 float16" in report.headline


def legacy(path, rows, ids=IDS, key="{}_grids"):
    with h5py.File(path, "w") as file:
        for image_id, row in zip(ids, rows, strict=False):
            file[key.format(image_id)] = row
    return path


FAULTS = {
    "NaN": np.nan,
    "Inf": np.inf,
}


@pytest.mark.parametrize(("what", "value"), FAULTS.items())
def test_values_that_are_no_numbers_are_found_and_their_images_named(tmp_path, what, value):
    rows = smooth_rows(40)
    rows[7, 3, 2] = value
    report = checked(build_file(tmp_path / "f.hdf5", IDS, rows))
    assert bad(report) == {what}
    assert "107" in report.headline


def test_float16_that_overflowed_is_found(tmp_path):
    rows = smooth_rows(40)
    rows[7, 3, 2] = 65504
    assert bad(checked(build_file(tmp_path / "f.hdf5", IDS, rows))) == {"range"}


def test_rows_of_zeros_and_constant_rows_are_found(tmp_path):
    rows = smooth_rows(40)
    rows[3] = 0
    rows[4] = 1.5
    report = checked(build_file(tmp_path / "f.hdf5", IDS, rows))
    assert bad(report) == {"all-zero rows", "constant rows"}


def test_the_same_features_for_two_images_are_noted(tmp_path):
    rows = smooth_rows(40)
    rows[20] = rows[10]
    report = checked(build_file(tmp_path / "f.hdf5", IDS, rows))
    assert judged(report)["equal rows"] == "note"
    assert report.good


def test_random_placeholders_are_told_from_features(tmp_path):
    noise = np.random.default_rng(0).normal(size=(40, 49, 768)).astype(np.float16)
    report = checked(build_file(tmp_path / "f.hdf5", IDS, noise, width=768))
    assert bad(report) == {"structure"}


def test_missing_and_extra_ids_are_listed(tmp_path):
    path = build_file(tmp_path / "f.hdf5", IDS)
    report = checked(path, ids=frozenset((*IDS[2:], 7, 8)), source="images")
    assert bad(report) == {"missing ids"}
    assert (report.missing, report.extra) == ((7, 8), (100, 101))


def test_keys_that_are_annotation_ids_are_told_apart(tmp_path):
    path = build_file(tmp_path / "f.hdf5", IDS)
    report = checked(path, ids=frozenset(range(1, 9)), source="captions", annotation_ids=frozenset(IDS))
    assert bad(report) == {"ids"}
    assert "annotation" in report.headline


def test_a_row_that_rotted_on_the_disk_is_found_by_its_checksum(tmp_path):
    path = build_file(tmp_path / "f.hdf5", IDS)
    with h5py.File(path, "r+") as file:
        row = file["117_grids"][()]
        row[0, 0] += 1
        file["117_grids"][()] = row
    report = checked(path)
    assert bad(report) == {"checksums"}
    assert "117" in report.headline
    assert checked(path, deep=False).good


def test_a_key_that_was_deleted_afterwards_is_noticed(tmp_path):
    path = build_file(tmp_path / "f.hdf5", IDS)
    with h5py.File(path, "r+") as file:
        del file["117_grids"]
    assert bad(checked(path)) == {"images", "id list"}


def test_the_quick_check_says_how_many_rows_it_read(tmp_path):
    ids = tuple(range(1200))
    report = checked(build_file(tmp_path / "f.hdf5", ids), deep=False)
    assert report.looked_at == 1000
    assert "1,000 of 1,200" in report.depth


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((50, 768), "class token"),
        ((197, 768), "class token"),
        ((49, 512), "projected"),
        ((768, 49), "Transposed"),
        ((1, 49, 768), "batch axis"),
        ((512,), "pooled vector"),
    ],
)
def test_usual_mistakes_in_the_shape_are_named(tmp_path, shape, reason):
    assert reason in shape_fault(shape)
    rows = np.random.default_rng(0).normal(size=(40, *shape)).astype(np.float32)
    report = checked(legacy(tmp_path / "old.hdf5", rows))
    assert "shape" in bad(report)
    assert reason in report.headline


@pytest.mark.parametrize(
    ("shape", "tower"),
    [((49, 768), "ViT-B-32"), ((196, 768), "ViT-B-16"), ((49, 2048), "RN50"), ((256, 1024), "ViT-L-14")],
)
def test_grids_of_known_towers_are_recognised(shape, tower):
    assert shape_fault(shape) == ""
    assert tower in known_shape(shape)


def test_mixed_shapes_are_counted(tmp_path):
    rows = [np.ones((49, 8), np.float32)] * 30 + [np.ones((50, 8), np.float32)] * 10
    report = checked(legacy(tmp_path / "old.hdf5", rows))
    assert "shapes" in bad(report)
    assert "30 of (49, 8); 10 of (50, 8)" in report.headline


def test_compressed_files_are_usable_and_told_to_be_slow(tmp_path):
    path = tmp_path / "old.hdf5"
    with h5py.File(path, "w") as file:
        for image_id, row in zip(IDS, smooth_rows(40, 49, 768), strict=True):
            file.create_dataset(f"{image_id}_grids", data=row, compression="gzip", compression_opts=6)
    report = checked(path)
    assert report.good
    assert judged(report)["layout"] == "note"
    assert next(row.found for row in report.rows if row.what == "read rate").endswith("rows/s")


def test_random_weights_are_said_plainly(tmp_path):
    report = checked(build_file(tmp_path / "f.hdf5", IDS, weights="random:0"))
    row = next(row for row in report.rows if row.what == "manifest")
    assert (row.judgement, "random" in row.detail) == ("note", True)
    assert judged(checked(build_file(tmp_path / "g.hdf5", IDS, weights="openai")))["manifest"] == "ok"


def test_the_stored_checksums_cover_every_row(tmp_path):
    with h5py.File(build_file(tmp_path / "f.hdf5", IDS)) as file:
        assert file.attrs[ROW_CRC32].shape == (40,)
