"""Looking at one image of a feature file."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from fsgr_tui.core.errors import BadRequest, FoundFaults
from fsgr_tui.core.shades import level, shaded
from fsgr_tui.features.reader import FeatureFile, MissingIds
from fsgr_tui.features.sample import look_at
from tests.conftest import run_cli


def a_file(path, rows, suffix="grids"):
    with h5py.File(path, "w") as file:
        for image_id, row in rows.items():
            file.create_dataset(f"{image_id}_{suffix}", data=row)
    return FeatureFile(path)


def ramp(tokens=49, width=8, dtype=np.float32):
    """Token t is (t + 1) along the axis t % width: norms rise by one from patch to patch."""
    row = np.zeros((tokens, width), dtype)
    for token in range(tokens):
        row[token, token % width] = token + 1
    return row


def test_norms_stand_where_their_patches_are(tmp_path):
    sample = look_at(a_file(tmp_path / "a.hdf5", {9: ramp()}))
    assert sample.image_id == 9
    assert np.allclose(sample.patches, np.arange(1, 50).reshape(7, 7))
    assert sample.span == (1.0, 49.0)
    assert sample.remark == ""


def test_similarity_is_the_cosine_to_the_chosen_patch(tmp_path):
    sample = look_at(a_file(tmp_path / "a.hdf5", {9: ramp()}), patch=(1, 1))
    # Patch (1, 1) is token 8, along axis 0; so are tokens 0, 8, 16, ...
    expected = [[1.0 if (7 * row + column) % 8 == 0 else 0.0 for column in range(7)] for row in range(7)]
    assert np.allclose(sample.patches, expected)


def test_the_difference_to_another_file_is_relative_and_per_patch(tmp_path):
    other = ramp()
    other[10] *= 1.5
    one, two = a_file(tmp_path / "a.hdf5", {9: ramp()}), a_file(tmp_path / "b.hdf5", {9: other})
    away = np.array(look_at(one, 9, against=two).patches).ravel()
    assert away[10] == pytest.approx(0.5)
    assert np.count_nonzero(away) == 1


def test_values_that_are_not_finite_are_told_and_stay_out_of_the_statistics(tmp_path):
    row = ramp()
    row[3, 0], row[4, 1] = np.nan, np.inf
    sample = look_at(a_file(tmp_path / "a.hdf5", {9: row}))
    assert sample.patches[0][3] is None
    assert sample.patches[0][4] is None
    assert sample.values.not_finite == 2
    assert sample.values.high == 49.0
    assert "NaN" not in json.dumps(sample.patches)


def test_a_row_of_nothing_but_nan_is_shown_and_does_not_fail(tmp_path):
    sample = look_at(a_file(tmp_path / "a.hdf5", {9: np.full((49, 8), np.nan, np.float32)}))
    assert sample.span == (0.0, 0.0)
    assert sample.values.not_finite == 49 * 8


def test_a_class_token_left_in_is_remarked(tmp_path):
    sample = look_at(a_file(tmp_path / "a.hdf5", {9: ramp(50)}))
    assert "50 tokens are no square grid" in sample.remark
    assert len(sample.patches) * len(sample.patches[0]) >= 50
    with pytest.raises(BadRequest, match="50 tokens"):
        look_at(FeatureFile(tmp_path / "a.hdf5"), patch=(0, 0))


def test_what_cannot_be_shown_is_named(tmp_path):
    file = a_file(tmp_path / "a.hdf5", {9: ramp()})
    with pytest.raises(MissingIds, match="10"):
        look_at(file, 10)
    with pytest.raises(BadRequest, match=r"7,0 in a grid of 7 x 7"):
        look_at(file, 9, patch=(7, 0))
    with pytest.raises(FoundFaults, match=r"\(49, 8\).*\(49, 4\)"):
        look_at(file, 9, against=a_file(tmp_path / "b.hdf5", {9: ramp(width=4)}))
    with pytest.raises(BadRequest, match="either"):
        look_at(file, 9, patch=(0, 0), against=file)


def test_pictures_and_labels_have_maps_of_their_own(tmp_path):
    picture = np.zeros((224, 224, 3), np.uint8)
    picture[:112] = 200
    sample = look_at(a_file(tmp_path / "p.hdf5", {9: picture}, "pixels"))
    assert sample.kind == "brightness"
    assert [row[0] for row in sample.patches] == [200.0] * 7 + [0.0] * 7
    labels = look_at(a_file(tmp_path / "l.hdf5", {9: np.arange(49)}, "labels"))
    assert labels.kind == "labels"
    assert labels.patches[6][6] == 48.0


def test_images_are_walked_through_by_position_and_the_walk_wraps_around(tmp_path):
    file = a_file(tmp_path / "a.hdf5", {20: ramp(), 3: ramp(), 100: ramp()})
    assert [look_at(file, position=place).image_id for place in (0, 1, 2, 3, -1)] == [3, 20, 100, 3, 100]
    assert (look_at(file, 20).position, look_at(file, 20).images) == (1, 3)


def test_shades_reach_both_ends_and_show_unknown_values():
    assert [level(value, 0, 1, 10) for value in (0, 0.5, 1, 2, -1)] == [0, 5, 9, 9, 0]
    assert level(3, 3, 3, 10) == 5
    assert shaded([[0.0, None, 1.0]], 0, 1) == ["  ??@@"]


def test_the_command_shows_a_map_and_its_json_the_same(tmp_path):
    a_file(tmp_path / "a.hdf5", {9: ramp()})
    shown = run_cli("look", str(tmp_path / "a.hdf5"), "9")
    assert shown.returncode == 0
    assert "image 9" in shown.stdout
    assert "1 ' ' to 49 '@'" in shown.stdout
    told = json.loads(run_cli("look", str(tmp_path / "a.hdf5"), "--json").stdout)
    assert told["schema"] == "fsgr-tui/sample/1"
    assert told["patches"][6][6] == 49.0
    assert sum(told["values"]["counts"]) == 49 * 8


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["a.hdf5", "9", "--patch", "x"], 2, "ROW,COLUMN"),
        (["a.hdf5", "10"], 1, "no features for 1 image id: 10"),
        (["none.hdf5"], 2, "none.hdf5"),
    ],
)
def test_the_command_names_what_is_wrong(tmp_path, args, code, words):
    a_file(tmp_path / "a.hdf5", {9: ramp()})
    shown = run_cli("look", *args, cwd=tmp_path)
    assert shown.returncode == code
    assert words in shown.stderr
    assert "Traceback" not in shown.stderr
