"""The check finds what can be wrong with a feature file, and does not cry wolf."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from fsgr_tui.core.errors import FoundFaults
from fsgr_tui.core.event import EventWriter
from fsgr_tui.features.build import FeatureBuild
from fsgr_tui.features.check import Expected, check_file
from fsgr_tui.features.convert import Conversion, convert
from fsgr_tui.features.formats import catalogue
from fsgr_tui.features.manifest import ROW_CRC32
from fsgr_tui.features.opening import NotAFeatureFile
from fsgr_tui.features.reader import FeatureFile
from fsgr_tui.features.shapes import known_shape, shape_fault
from tests.conftest import build_file, make_manifest, smooth_rows

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
        ((256, 768), "projected"),
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


def test_data_whose_file_is_gone_is_found_before_it_reads_as_zeros(tmp_path, monkeypatch):
    # Where HDF5 looks for raw files.
    monkeypatch.chdir(tmp_path)
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
            place = [("raw.bin", (image_id - 100) * 49 * 8 * 4, 49 * 8 * 4)]
            file.create_dataset(f"{image_id}_grids", (49, 8), np.float32, external=place)[()] = smooth_rows(
                1, seed=image_id
            )
    assert judged(checked(tmp_path / "virtual.hdf5"))["data in this file"] == "note"
    assert checked(tmp_path / "links.hdf5").good
    assert checked(tmp_path / "external.hdf5").good
    source.unlink()
    (tmp_path / "raw.bin").unlink()
    assert "data in this file" in bad(checked(tmp_path / "virtual.hdf5"))
    assert {"data in this file", "unreadable rows"} <= bad(checked(tmp_path / "external.hdf5"))
    with pytest.raises(NotAFeatureFile, match=r"100_grids points to .*source\.hdf5"):
        checked(tmp_path / "links.hdf5")


def test_one_lost_source_among_several_is_found(tmp_path):
    for name in ("first", "second"):
        legacy(tmp_path / f"{name}.hdf5", smooth_rows(40).astype(np.float32))
    with h5py.File(tmp_path / "virtual.hdf5", "w") as file:
        for image_id in IDS:
            layout = h5py.VirtualLayout((49, 8), np.float32)
            name = "first" if image_id < 130 else "second"
            layout[:] = h5py.VirtualSource(f"{name}.hdf5", f"{image_id}_grids", (49, 8))
            file.create_virtual_dataset(f"{image_id}_grids", layout)
    (tmp_path / "second.hdf5").unlink()
    report = checked(tmp_path / "virtual.hdf5")
    assert "data in this file" in bad(report)
    assert "second.hdf5" in report.headline


def test_mixed_types_are_counted_and_the_values_looked_at_all_the_same(tmp_path):
    rows = [row.astype(np.float32 if number < 30 else np.float16) for number, row in enumerate(smooth_rows(40))]
    rows[35][0, 0] = np.nan
    report = checked(legacy(tmp_path / "old.hdf5", rows))
    assert bad(report) == {"types", "NaN"}
    assert "30 of float32; 10 of float16" in report.headline
    with h5py.File(tmp_path / "gzip.hdf5", "w") as file:
        for image_id, row in zip(IDS, rows, strict=True):
            file.create_dataset(f"{image_id}_grids", data=row, compression="gzip")
    assert bad(checked(tmp_path / "gzip.hdf5")) == {"types", "NaN"}


def test_the_same_features_for_many_images_are_a_fault(tmp_path):
    rows = smooth_rows(10).repeat(4, axis=0)
    report = checked(build_file(tmp_path / "f.hdf5", IDS, rows))
    assert bad(report) == {"equal rows"}
    assert "100 and 101" in report.headline


def test_rows_of_one_checksum_by_chance_are_not_called_equal(tmp_path, monkeypatch):
    monkeypatch.setattr("fsgr_tui.features.values.zlib.crc32", lambda _data, _start=0: 7)
    assert judged(checked(build_file(tmp_path / "f.hdf5", IDS), deep=False))["equal rows"] == "ok"


def test_one_vector_at_all_tokens_and_tokens_of_zeros_are_found(tmp_path):
    rows = smooth_rows(40)
    rows[3] = rows[3][:1]
    rows[4, 40:] = 0
    report = checked(build_file(tmp_path / "f.hdf5", IDS, rows))
    assert bad(report) == {"equal tokens", "zero tokens"}
    assert "images 103" in report.headline
    assert "images 104" in report.headline


def test_padding_of_region_features_is_no_fault(tmp_path):
    rows = (np.random.default_rng(0).uniform(0, 3, 64) + np.random.default_rng(1).normal(size=(40, 20, 64))).astype(
        "f4"
    )
    rows[:, 15:] = 0
    assert checked(legacy(tmp_path / "m2.hdf5", rows, key="{}_features")).good


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_few_random_placeholders_are_enough_to_be_found(tmp_path, count):
    noise = np.random.default_rng(0).normal(size=(count, 49, 768)).astype(np.float16)
    assert bad(checked(build_file(tmp_path / "f.hdf5", range(count), noise, width=768))) == {"structure"}
    smooth = smooth_rows(count, width=768)
    assert checked(build_file(tmp_path / "g.hdf5", range(count), smooth, width=768)).good


def test_rows_that_hdf5_cannot_unpack_are_named_and_the_others_looked_at(tmp_path):
    path = tmp_path / "old.hdf5"
    with h5py.File(path, "w") as file:
        for image_id, row in zip(IDS, smooth_rows(40), strict=True):
            file.create_dataset(f"{image_id}_grids", data=row, chunks=row.shape, compression="gzip")
        place = file["117_grids"].id.get_chunk_info(0)
    body = bytearray(path.read_bytes())
    body[place.byte_offset + 10 : place.byte_offset + 30] = bytes(20)
    path.write_bytes(body)
    report = checked(path)
    assert bad(report) == {"unreadable rows"}
    assert "images 117" in report.headline
    with pytest.raises(FoundFaults, match="image 117 cannot be read"):
        FeatureFile(path).read(IDS)


@pytest.mark.parametrize("content", [np.zeros((2, 2), [("a", "f4")]), "text"])
def test_keys_that_hold_no_numbers_are_refused_by_name(tmp_path, content):
    with h5py.File(tmp_path / "f.hdf5", "w") as file:
        file["9_grids"] = content
    with pytest.raises(NotAFeatureFile, match=r"9_grids holds .*not numbers"):
        checked(tmp_path / "f.hdf5")


@pytest.mark.parametrize(
    ("content", "reason"), [(np.zeros((0, 768), "f4"), "No values"), (np.float32(3), "One number")]
)
def test_keys_without_a_grid_are_told(tmp_path, content, reason):
    with h5py.File(tmp_path / "f.hdf5", "w") as file:
        file["9_grids"] = content
    report = checked(tmp_path / "f.hdf5")
    assert "shape" in bad(report)
    assert reason in report.headline


@pytest.mark.parametrize("versions", ["{}", "no JSON"])
def test_attributes_that_are_no_manifest_are_told_with_the_file(tmp_path, versions):
    path = legacy(tmp_path / "old.hdf5", smooth_rows(40))
    with h5py.File(path, "r+") as file:
        file.attrs["clip_model"], file.attrs["format_version"], file.attrs["versions"] = "ViT-B-16", 9, versions
    with pytest.raises(FoundFaults, match=r"attributes of .*old\.hdf5 are no manifest"):
        checked(path)


def test_an_unfinished_file_is_told_as_such_not_as_one_of_zeros(tmp_path):
    build = FeatureBuild.start(tmp_path / "f.hdf5", make_manifest(), IDS)
    build.close()
    with pytest.raises(NotAFeatureFile, match="unfinished extraction"):
        checked(tmp_path / "f.hdf5.part")


# ---- class tokens


def with_class_tokens(path, tokens):
    build = FeatureBuild.start(path, make_manifest(global_width=8), IDS)
    build.write(range(40), smooth_rows(40), tokens)
    build.publish()
    build.close()
    return path


def test_class_tokens_are_looked_at_with_the_rows(tmp_path):
    tokens = smooth_rows(40)[:, 0]
    assert judged(checked(with_class_tokens(tmp_path / "f.hdf5", tokens)))["class tokens"] == "ok"
    tokens[3, 2] = np.nan
    tokens[4] = 0
    report = checked(with_class_tokens(tmp_path / "g.hdf5", tokens), deep=False)
    assert bad(report) == {"class tokens"}
    assert "images 103, 104" in report.headline


def test_class_tokens_that_are_missing_are_named(tmp_path):
    path = with_class_tokens(tmp_path / "f.hdf5", smooth_rows(40)[:, 0])
    with h5py.File(path, "r+") as file:
        del file["117_global"]
    report = checked(path)
    assert bad(report) == {"class token keys"}
    assert "117" in report.headline
    with h5py.File(path, "r+") as file:
        for key in [key for key in file if key.endswith("_global")]:
            del file[key]
    assert bad(checked(path)) == {"class token keys"}


def test_a_class_token_that_rotted_is_found_by_its_checksum(tmp_path):
    path = with_class_tokens(tmp_path / "f.hdf5", smooth_rows(40)[:, 0])
    with h5py.File(path, "r+") as file:
        file["117_global"][0] += 1
    assert bad(checked(path)) == {"checksums"}


# ---- formats that `convert` writes


@pytest.mark.parametrize(
    ("name", "kept_as"), [("t.packed.hdf5", "one array"), ("t.lmdb", "LMDB"), ("t.npz", "a file per image")]
)
def test_converted_features_are_checked_as_they_are(tmp_path, name, kept_as):
    source, target = with_class_tokens(tmp_path / "f.hdf5", smooth_rows(40)[:, 0]), tmp_path / name
    kind = catalogue.FORMATS[catalogue.target_format(target, None)]
    job = Conversion(
        source=source, target=target, source_format=catalogue.FORMATS["hdf5"], target_format=kind, rates=False
    )
    convert(job, EventWriter("/dev/null"), lambda: False)
    report = checked(target, ids=frozenset((*IDS[1:], 7)), source="images")
    assert bad(report) == {"missing ids"}
    assert (report.missing, report.extra) == ((7,), (100,))
    assert judged(report)["class tokens"] == "ok"
    assert kept_as in next(row.found for row in report.rows if row.what == "layout")


def test_a_damaged_file_in_a_folder_is_named_and_the_others_looked_at(tmp_path):
    folder = tmp_path / "t.npz"
    folder.mkdir()
    for image_id, row in zip(IDS, smooth_rows(40), strict=True):
        np.savez(folder / f"{image_id}.npz", feat=row)
    whole = (folder / "117.npz").read_bytes()
    (folder / "117.npz").write_bytes(whole[: len(whole) // 2])
    report = checked(folder)
    assert bad(report) == {"unreadable rows"}
    assert "images 117" in report.headline


def test_a_packed_file_of_large_chunks_is_told_to_be_slow_with_its_rate(tmp_path):
    with h5py.File(tmp_path / "theirs.hdf5", "w") as file:
        file.create_dataset("features", data=smooth_rows(400, width=96), chunks=(200, 49, 96), compression="gzip")
        file["ids"] = range(400)
    report = checked(tmp_path / "theirs.hdf5", deep=False)
    layout = next(row for row in report.rows if row.what == "layout")
    assert (layout.judgement, "chunks of (200, 49, 96), gzip 4" in layout.found) == ("note", True)
    assert next(row.found for row in report.rows if row.what == "read rate").endswith("rows/s")


def test_what_a_conversion_took_from_the_values_is_told(tmp_path):
    path = build_file(tmp_path / "f.hdf5", IDS, dtype="float32", converted_from=("float32", "float16"))
    row = next(row for row in checked(path).rows if row.what == "converted from")
    assert (row.found, row.judgement) == ("float32 -> float16 -> float32", "note")
    path = build_file(tmp_path / "g.hdf5", IDS, converted_from=("float32",))
    assert judged(checked(path))["converted from"] == "ok"


# ---- what the training will use


def test_a_file_without_manifest_is_held_against_the_training_as_far_as_its_rows_tell(tmp_path):
    path = legacy(tmp_path / "old.hdf5", smooth_rows(40, width=768).astype(np.float32))
    report = checked(path, identity={"clip_model": "ViT-B-16", "tokens": 196, "width": 768}, identity_source="training")
    assert bad(report) == {"same features", "same tokens"}
    assert "Without a manifest nobody can tell: clip_model" in report.headline


def test_no_id_in_common_is_told_as_another_kind_of_id(tmp_path):
    report = checked(build_file(tmp_path / "f.hdf5", IDS), ids=frozenset(range(50)), source="images")
    assert "annotation ids?" in report.headline


@pytest.mark.parametrize("tokens", [50, 65, 197, 257])
def test_a_class_token_is_told_at_any_width(tokens):
    assert "class token" in shape_fault((tokens, 96))
    assert shape_fault((tokens - 1, 96)) == ""
