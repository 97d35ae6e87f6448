"""The check finds what can be wrong with a feature file, and does not cry wolf."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from fsgr_tui.features.check import Expected, check_file, known_shape, shape_fault
from fsgr_tui.features.manifest import ROW_CRC32
from fsgr_tui.features.reader import NotAFeatureFile
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


def test_mixed_shapes_of_the_same_size_are_found_too(tmp_path):
    rows = [np.ones((49, 8), np.float32)] * 30 + [np.ones((8, 49), np.float32)] * 10
    assert "shapes" in bad(checked(legacy(tmp_path / "old.hdf5", rows)))


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


def test_region_features_of_m2_are_recognised_although_their_counts_differ(tmp_path):
    generator = np.random.default_rng(0)
    channels = generator.uniform(0, 3, 64)
    with h5py.File(tmp_path / "m2.hdf5", "w") as file:
        for image_id in IDS:
            regions = int(generator.integers(10, 40))
            file[f"{image_id}_features"] = (channels + generator.normal(size=(regions, 64))).astype(np.float32)
            file[f"{image_id}_boxes"] = np.zeros((regions, 4), np.float32)
            file[f"{image_id}_cls_prob"] = np.zeros((regions, 5), np.float32)
    report = checked(tmp_path / "m2.hdf5")
    assert report.good, report.headline
    other = next(row for row in report.rows if row.what == "other keys")
    assert "M2 Transformer" in other.detail
    assert next(row.found for row in report.rows if row.what == "shapes").endswith("x 64")


def test_dlct_files_are_recognised_by_their_keys(tmp_path):
    with h5py.File(tmp_path / "dlct.hdf5", "w") as file:
        for image_id, row in zip(IDS, smooth_rows(40, 49, 64), strict=True):
            file[f"{image_id}_grids"] = row.astype(np.float32)
            for name in ("features", "boxes", "size", "mask"):
                file[f"{image_id}_{name}"] = np.ones((2, 2), np.float32)
    report = checked(tmp_path / "dlct.hdf5")
    assert report.good
    assert "DLCT" in next(row for row in report.rows if row.what == "other keys").detail


def test_random_region_placeholders_are_found_too(tmp_path):
    with h5py.File(tmp_path / "m2.hdf5", "w") as file:
        for image_id in IDS:
            file[f"{image_id}_features"] = np.random.default_rng(image_id).normal(size=(100, 256)).astype(np.float32)
    assert bad(checked(tmp_path / "m2.hdf5")) == {"structure"}


def test_ids_that_occur_twice_or_padded_are_found(tmp_path):
    path = legacy(tmp_path / "old.hdf5", smooth_rows(40).astype(np.float32))
    with h5py.File(path, "a") as file:
        file["0100_grids"] = file["100_grids"][()]
    assert {"duplicate ids", "padded keys"} <= bad(checked(path))


def test_data_whose_file_is_gone_is_found_before_it_reads_as_zeros(tmp_path):
    source = legacy(tmp_path / "source.hdf5", smooth_rows(40).astype(np.float32))
    with h5py.File(tmp_path / "virtual.hdf5", "w") as file:
        for image_id in IDS:
            layout = h5py.VirtualLayout((49, 8), np.float32)
            layout[:] = h5py.VirtualSource("source.hdf5", f"{image_id}_grids", (49, 8))
            file.create_virtual_dataset(f"{image_id}_grids", layout)
    with h5py.File(tmp_path / "links.hdf5", "w") as file:
        for image_id in IDS:
            file[f"{image_id}_grids"] = h5py.ExternalLink("source.hdf5", f"{image_id}_grids")
    with h5py.File(tmp_path / "external.hdf5", "w") as file:
        for image_id in IDS:
            file.create_dataset(f"{image_id}_grids", (49, 8), np.float32, external=[("raw.bin", 0, 49 * 8 * 4)])[()] = 1
    assert judged(checked(tmp_path / "virtual.hdf5"))["data in this file"] == "note"
    assert checked(tmp_path / "links.hdf5").good
    source.unlink()
    (tmp_path / "raw.bin").unlink(missing_ok=True)
    assert "data in this file" in bad(checked(tmp_path / "virtual.hdf5"))
    with pytest.raises(NotAFeatureFile, match="points to another file"):
        checked(tmp_path / "links.hdf5")
