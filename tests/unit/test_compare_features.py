"""Two feature files are compared image by image: the same features are recognised, and others are told apart and why."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.event import EventWriter
from fsgr_tui.features import distances
from fsgr_tui.features.checkable import open_checkable
from fsgr_tui.features.compare import compare_files
from fsgr_tui.features.convert import Conversion, convert
from fsgr_tui.features.formats import catalogue
from fsgr_tui.features.opening import NotAFeatureFile
from fsgr_tui.service import comparing
from tests.conftest import build_file, run_cli, smooth_rows

IDS = tuple(range(100, 140))
ROWS = smooth_rows(40, dtype=np.float32)


def verdicts(found) -> dict[str, str]:
    return {row.what: row.verdict for row in found.rows}


def differing(found) -> set[str]:
    return {row.what for row in found.rows if row.verdict == "differs"}


def detail(found, what) -> str:
    return next(row.detail for row in found.rows if row.what == what)


def foreign(path, rows, ids=IDS):
    with h5py.File(path, "w") as file:
        for image_id, row in zip(ids, rows, strict=True):
            file[f"{image_id}_grids"] = row
    return path


@pytest.fixture
def first(tmp_path):
    return build_file(tmp_path / "a.hdf5", IDS, ROWS, dtype="float32")


def test_the_same_features_in_another_type_are_the_same(tmp_path, first):
    found = compare_files(first, build_file(tmp_path / "b.hdf5", IDS, ROWS, dtype="float16"))
    assert found.same
    assert verdicts(found)["dtype"] == "note"
    assert verdicts(found)["manifest"] == "same"
    assert 0 < found.distances.largest < 1e-3
    assert found.distances.identical == 0
    assert found.distances.rows == found.common == 40


def test_a_copy_in_another_format_is_identical(tmp_path, first):
    formats = {"source_format": catalogue.FORMATS["hdf5"], "target_format": catalogue.FORMATS["lmdb"]}
    convert(
        Conversion(source=first, target=tmp_path / "b.lmdb", rates=False, **formats),
        EventWriter("/dev/null"),
        lambda: False,
    )
    found = compare_files(first, tmp_path / "b.lmdb")
    assert found.same
    assert found.distances.identical == 40
    assert found.distances.worst == ()


def test_swapped_ids_are_found_and_paired(tmp_path, first):
    swapped = ROWS.copy()
    swapped[[3, 30]] = swapped[[30, 3]]
    found = compare_files(first, foreign(tmp_path / "b.hdf5", swapped))
    assert found.distances.apart == (103, 130)
    assert "103 = 130, 130 = 103" in detail(found, "images mixed up")
    assert {image_id for image_id, _ in found.distances.worst} == {103, 130}


def test_rows_that_moved_on_by_one_image_are_recognised_in_a_sample(tmp_path, first):
    found = compare_files(first, foreign(tmp_path / "b.hdf5", np.roll(ROWS, -1, axis=0)), sample=3)
    assert not found.same
    for image_id in found.distances.apart:
        other = image_id + 1 if image_id + 1 in IDS else IDS[0]
        assert f"{image_id} = {other}" in detail(found, "images mixed up")


def test_shuffled_patches_are_told(tmp_path, first):
    transposed = ROWS.reshape(40, 7, 7, 8).swapaxes(1, 2).reshape(40, 49, 8)
    found = compare_files(first, foreign(tmp_path / "b.hdf5", transposed))
    assert "patches shuffled" in differing(found)
    assert "another order" in detail(found, "patches shuffled")


def test_other_values_are_neither_shuffled_nor_mixed_up(tmp_path, first):
    found = compare_files(first, foreign(tmp_path / "b.hdf5", smooth_rows(40, seed=1, dtype=np.float32)))
    assert {"cosine per row", "rows apart"} <= differing(found)
    assert not {"patches shuffled", "images mixed up"} & differing(found)
    assert found.distances.least < 0.9


def test_normalised_features_are_others_though_their_cosine_is_one(tmp_path, first):
    scaled = ROWS / np.linalg.norm(ROWS.reshape(40, -1), axis=1)[:, None, None]
    found = compare_files(first, foreign(tmp_path / "b.hdf5", scaled))
    assert verdicts(found)["cosine per row"] == "same"
    assert "norms" in differing(found)
    assert not found.same


def test_one_row_of_many_that_is_apart_is_named(tmp_path, first):
    rows = ROWS.copy()
    rows[17, 5] += 3
    found = compare_files(first, foreign(tmp_path / "b.hdf5", rows))
    assert found.distances.apart == (117,)
    assert found.distances.identical == 39
    assert "117" in detail(found, "worst images")


def test_values_that_are_no_numbers_are_apart_unless_both_files_have_them(tmp_path, first):
    rows = ROWS.copy()
    rows[2, 0, 0] = np.nan
    one, two = foreign(tmp_path / "b.hdf5", rows), foreign(tmp_path / "c.hdf5", rows)
    assert compare_files(first, one).distances.apart == (102,)
    assert compare_files(one, two).distances.identical == 40


def test_another_grid_is_not_compared_value_by_value(tmp_path, first):
    fine = build_file(tmp_path / "b.hdf5", IDS, smooth_rows(40, 196), tokens=196, grid="native", pooling="none")
    found = compare_files(first, fine)
    assert differing(found) >= {"shape", "grid", "pooling", "tokens"}
    assert found.distances is None
    assert found.depth == "no values compared"


def test_other_weights_make_other_features(tmp_path, first):
    rows = smooth_rows(40, seed=1)
    found = compare_files(first, build_file(tmp_path / "b.hdf5", IDS, rows, weights_sha256="1" * 64))
    assert "weights sha256" in differing(found)
    assert "training" in detail(found, "weights sha256")


def test_manifests_that_differ_while_the_values_agree_are_noted(tmp_path, first):
    found = compare_files(first, build_file(tmp_path / "b.hdf5", IDS, ROWS, dtype="float32", weights_sha256="1" * 64))
    assert found.same
    assert verdicts(found)["weights sha256"] == "note"


@pytest.mark.parametrize(("name", "value"), [("precision", "bf16"), ("decoder", "torchvision"), ("dataset", "coco")])
def test_what_does_no_harm_is_noted(tmp_path, first, name, value):
    found = compare_files(first, build_file(tmp_path / "b.hdf5", IDS, ROWS, dtype="float32", **{name: value}))
    assert found.same
    assert verdicts(found)[name] == "note"


def test_images_of_one_file_only_are_listed(tmp_path, first):
    found = compare_files(first, foreign(tmp_path / "b.hdf5", ROWS[2:], IDS[2:]))
    assert found.same
    assert (found.only_a, found.only_b, found.common) == ((100, 101), (), 38)
    assert "2 images are in one file only" in found.headline
    assert "100, 101" in detail(found, "only here")


def test_files_without_a_common_image_are_different(tmp_path, first):
    found = compare_files(first, foreign(tmp_path / "b.hdf5", ROWS, range(40)))
    assert differing(found) == {"images"}


def test_region_features_are_compared_row_by_row(tmp_path):
    regions = [ROWS[number, : 10 + number] for number in range(20)]
    other = [*regions[:-1], regions[-1][:-1]]
    found = compare_files(
        *(foreign(tmp_path / f"{n}.hdf5", rows, IDS[:20]) for n, rows in (("a", regions), ("b", other)))
    )
    assert found.distances.identical == 19
    assert found.distances.other_shape == (119,)
    assert differing(found) == {"rows of another shape"}


def test_labels_agree_by_the_share_of_equal_ones(tmp_path):
    labels = np.arange(40 * 49).reshape(40, 49) % 7
    other = labels.copy()
    other[4, :7] += 1
    found = compare_files(*(foreign(tmp_path / f"{n}.hdf5", rows) for n, rows in (("a", labels), ("b", other))))
    assert found.distances.least == pytest.approx(1 - 7 / 49)
    assert differing(found) == {"equal labels", "rows apart"}


def test_class_tokens_are_compared_too(tmp_path):
    def made(name, token):
        from fsgr_tui.features.build import FeatureBuild
        from tests.conftest import make_manifest

        build = FeatureBuild.start(tmp_path / name, make_manifest(global_width=8, dtype="float32"), IDS)
        build.write(range(40), ROWS, np.tile(np.float32(token), (40, 1)))
        build.publish()
        build.close()
        return tmp_path / name

    one, same, other = made("a.hdf5", range(8)), made("b.hdf5", range(8)), made("c.hdf5", range(8, 0, -1))
    assert verdicts(compare_files(one, same))["class tokens"] == "same"
    assert differing(compare_files(one, other)) == {"class tokens"}


def test_a_truncated_file_is_named(tmp_path, first):
    cut = tmp_path / "b.hdf5"
    cut.write_bytes(first.read_bytes()[:-5000])
    with pytest.raises(NotAFeatureFile, match=r"b\.hdf5 is truncated"):
        compare_files(first, cut)


def test_the_sample_is_the_same_every_time_and_progress_is_told(tmp_path, first):
    other, told = foreign(tmp_path / "b.hdf5", ROWS), []
    found = compare_files(first, other, sample=7, tell=lambda *at: told.append(at))
    assert found == compare_files(first, other, sample=7)
    assert found.distances.rows == 7
    assert "7 of 40" in found.depth
    assert told[-1] == (7, 7)
    assert compare_files(first, other, sample=7, deep=True).distances.rows == 40


def test_distances_are_those_of_numpy(tmp_path):
    noisy = ROWS + np.random.default_rng(0).normal(0, 0.01, ROWS.shape).astype(np.float32)
    files = [open_checkable(foreign(tmp_path / f"{n}.hdf5", rows)) for n, rows in (("a", ROWS), ("b", noisy))]
    found = distances.measure(*files, IDS)
    flat = [rows.reshape(40, -1).astype(np.float64) for rows in (ROWS, noisy)]
    cosines = [one @ two / np.sqrt((one @ one) * (two @ two)) for one, two in zip(*flat, strict=True)]
    assert (found.least, found.median) == pytest.approx((min(cosines), np.median(cosines)))
    assert found.largest == pytest.approx(np.abs(flat[0] - flat[1]).max())
    ratios = np.linalg.norm(flat[1], axis=1) / np.linalg.norm(flat[0], axis=1)
    assert found.norm_ratio == pytest.approx((ratios.min(), np.median(ratios), ratios.max()))


def test_a_file_is_not_compared_with_itself(tmp_path, first):
    (tmp_path / "link.hdf5").symlink_to(first)
    with pytest.raises(BadRequest, match="same file"):
        comparing.compare(str(first), str(tmp_path / "link.hdf5"))


def test_the_command_tells_and_ends_by_the_verdict(tmp_path, first):
    same, other = foreign(tmp_path / "b.hdf5", ROWS), foreign(tmp_path / "c.hdf5", ROWS[::-1])
    done = run_cli("check", str(first), "--against", str(same))
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "SAME  the same features for 40 images")
    done = run_cli("check", str(first), "--against", str(other), "--sample", "9", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["schema"], found["same"]) == (1, "fsgr-tui/compare-features/1", False)
    assert found["distances"]["rows"] == 9


@pytest.mark.parametrize("more", [("--recompute", "3"), ("--like", "x.hdf5"), ("b.hdf5",)])
def test_what_belongs_to_one_file_is_refused(tmp_path, first, more):
    done = run_cli("check", str(first), *more, "--against", str(first))
    assert done.returncode == 2
    assert "--against compares two files" in done.stderr


def test_the_check_takes_a_sample_too(first):
    assert json.loads(run_cli("check", str(first), "--sample", "5", "--json").stdout)["looked_at"] == 5
