"""The formats: every one to every other, what verification catches, and that no half target ever has its name."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fsgr_tui.core.errors import BadRequest, FoundFaults, MachineCannot
from fsgr_tui.core.event import EventReader, EventWriter, Notice
from fsgr_tui.core.extraction import ConvertSpec
from fsgr_tui.features import convert as engine
from fsgr_tui.features.build import FeatureBuild
from fsgr_tui.features.convert import Conversion, convert, disk_bytes, first_difference, random_rate
from fsgr_tui.features.formats import catalogue
from fsgr_tui.features.formats.draft import Draft, draft_folder
from fsgr_tui.features.formats.rows import Content, Format
from fsgr_tui.features.opening import NotAFeatureFile
from fsgr_tui.features.reader import FeatureFile
from fsgr_tui.service import conversion
from tests.conftest import build_file, make_manifest, smooth_rows
from tests.unit.test_probe_disk import FakeDisks, counts

IDS = (5, 3, 900, 7, 42, 11, 391895)
REFUSED = (8, "/data/caf\udce9.jpg", "empty (0 bytes)")
NAMES = ("hdf5", "legacy", "packed", "lmdb", "npz")
ALL = (*NAMES, pytest.param("pt", marks=pytest.mark.torch))
SUFFIX = {
    "hdf5": ".hdf5",
    "legacy": ".legacy.hdf5",
    "packed": ".packed.hdf5",
    "lmdb": ".lmdb",
    "npz": ".npz",
    "pt": ".pt",
}


def format_of(name: str) -> Format:
    if name != "pt":
        return catalogue.FORMATS[name]
    return pytest.importorskip("fsgr_tui.extract.tensors").PT


def source_file(tmp_path, *, dtype="float16", rows=None, tokens=None) -> Path:
    """A feature file of ours with seven rows, class tokens on request, and one refused image."""
    path = tmp_path / "source.hdf5"
    ids = (*IDS, REFUSED[0])
    width = 0 if tokens is None else tokens.shape[1]
    manifest = make_manifest(dtype=dtype, versions={"torch": "2.14"}, global_width=width)
    build = FeatureBuild.start(path, manifest, ids)
    build.refuse(len(IDS), *REFUSED[1:])
    build.write(range(len(IDS)), smooth_rows(len(IDS), dtype=dtype) if rows is None else rows, tokens)
    build.publish()
    build.close()
    return path


def class_tokens(dtype="float16") -> np.ndarray:
    """A class token for each of the seven images."""
    return np.random.default_rng(1).normal(size=(len(IDS), 8)).astype(dtype)


def job(source: Path, target: Path, to: str | Format, kind: str | Format = "hdf5", **options) -> Conversion:
    formats = [format_of(each) if isinstance(each, str) else each for each in (kind, to)]
    return Conversion(
        source=source, target=target, source_format=formats[0], target_format=formats[1], **{"rates": False, **options}
    )


def run(conversion_job: Conversion, stopping=lambda: False):
    events = conversion_job.target.parent / "events.jsonl"
    return convert(conversion_job, EventWriter(str(events)), stopping)


def notices(tmp_path) -> str:
    return "\n".join(event.text for event in EventReader(tmp_path / "events.jsonl").new() if isinstance(event, Notice))


def opened(path: Path, name: str):
    return format_of(name).open(path)


# ---- every format holds what was put into it


@pytest.mark.parametrize("second", ALL)
@pytest.mark.parametrize("first", ALL)
def test_rows_ids_manifest_and_refused_images_survive_any_two_conversions(tmp_path, first, second):
    source = source_file(tmp_path)
    middle, target = tmp_path / f"middle{SUFFIX[first]}", tmp_path / f"target{SUFFIX[second]}"
    run(job(source, middle, first))
    report = run(job(middle, target, second, first))
    wanted, found = opened(source, "hdf5"), opened(target, second)
    assert found.content == wanted.content
    assert found.content.refused == (REFUSED,)
    assert found.content.manifest is not None
    assert (found.read(IDS) == smooth_rows(len(IDS))).all()
    assert (report.rows, report.row_shape, report.target.format) == (7, (49, 8), second)
    assert catalogue.source_format(target) == second
    assert not [name for name in os.listdir(tmp_path) if "draft" in name]


@pytest.mark.parametrize("second", ALL)
@pytest.mark.parametrize("first", ALL)
def test_class_tokens_go_along_through_any_two_conversions(tmp_path, first, second):
    source = source_file(tmp_path, tokens=class_tokens())
    middle, target = tmp_path / f"middle{SUFFIX[first]}", tmp_path / f"target{SUFFIX[second]}"
    run(job(source, middle, first))
    report = run(job(middle, target, second, first))
    wanted, found = opened(source, "hdf5"), opened(target, second)
    assert found.content == wanted.content
    assert (found.content.global_width, found.content.manifest.global_width, report.global_width) == (8, 8, 8)
    assert (found.read_class_tokens(IDS) == class_tokens()).all()
    assert (found.read(IDS) == smooth_rows(len(IDS))).all()
    assert "not converted" not in notices(tmp_path)
    assert catalogue.of_features_only(target) if target.is_dir() else True


def test_class_tokens_are_read_as_foreign_code_reads_them(tmp_path):
    source, token = source_file(tmp_path, tokens=class_tokens()), class_tokens()[2]
    for name in ("hdf5", "legacy", "packed", "npz"):
        run(job(source, tmp_path / f"t{SUFFIX[name]}", name))
    for name in ("hdf5", "legacy"):
        with h5py.File(tmp_path / f"t{SUFFIX[name]}") as file:
            assert (file["900_global"][()] == token).all()
    with h5py.File(tmp_path / "t.packed.hdf5") as file:
        assert (file["global"][list(file["ids"]).index(900)] == token).all()
    with np.load(tmp_path / "t.npz" / "900.npz") as arrays:
        assert (arrays["global"] == token).all()
        assert (arrays["feat"] == smooth_rows(len(IDS))[2]).all()


@pytest.mark.torch
def test_a_class_token_gets_a_tensor_file_of_its_own(tmp_path):
    torch = pytest.importorskip("torch")
    run(job(source_file(tmp_path, tokens=class_tokens()), tmp_path / "t.pt", "pt"))
    assert (torch.load(tmp_path / "t.pt" / "900_global.pt", weights_only=True).numpy() == class_tokens()[2]).all()
    (tmp_path / "t.pt" / "900_global.pt").unlink()
    with pytest.raises(FoundFaults, match="no class token of image 900"):
        opened(tmp_path / "t.pt", "pt").read_class_tokens(IDS)


@pytest.mark.parametrize("odd", [np.zeros((49, 8), np.float32), np.zeros((50, 8), np.float16)])
def test_rows_of_several_kinds_are_refused_not_made_alike(tmp_path, odd):
    with h5py.File(tmp_path / "theirs.hdf5", "w") as file:
        for image_id, row in zip(IDS, smooth_rows(len(IDS)), strict=True):
            file[f"{image_id}_grids"] = row
        del file["900_grids"]
        file["900_grids"] = odd
    with pytest.raises(NotAFeatureFile, match=r"theirs\.hdf5 holds rows of several shapes or types"):
        prepared(tmp_path, tmp_path / "theirs.hdf5", "t.npz")


def test_class_tokens_of_another_program_go_along_without_a_manifest(tmp_path):
    with h5py.File(tmp_path / "theirs.hdf5", "w") as file:
        for image_id, row, token in zip(IDS, smooth_rows(len(IDS)), class_tokens(), strict=True):
            file[f"{image_id}_grids"], file[f"{image_id}_global"] = row, token
    run(job(tmp_path / "theirs.hdf5", tmp_path / "t.npz", "npz", "legacy"))
    (tmp_path / "t.npz" / "manifest.json").unlink()
    run(job(tmp_path / "t.npz", tmp_path / "t.hdf5", "hdf5", "npz"))
    assert FeatureFile(tmp_path / "t.hdf5").manifest is None
    assert (FeatureFile(tmp_path / "t.hdf5", "global").read(IDS) == class_tokens()).all()


@pytest.mark.parametrize(
    ("token", "images", "why"),
    [
        (np.ones(8, np.float32), IDS, "float32"),
        (np.ones((1, 8), np.float16), IDS, r"\(1, 8\)"),
        (np.ones(8, np.float16), IDS[:3], "3 of 7 images have them"),
    ],
)
def test_class_tokens_that_no_format_keeps_with_the_rows_are_left_with_the_reason(tmp_path, token, images, why):
    with h5py.File(tmp_path / "theirs.hdf5", "w") as file:
        for image_id, row in zip(IDS, smooth_rows(len(IDS)), strict=True):
            file[f"{image_id}_grids"] = row
        for image_id in images:
            file[f"{image_id}_global"] = token
    run(job(tmp_path / "theirs.hdf5", tmp_path / "t.npz", "npz", "legacy"))
    assert opened(tmp_path / "t.npz", "npz").content.global_width == 0
    assert re.search(f"global keys .*are not converted: .*{why}", notices(tmp_path))


def test_class_tokens_that_the_manifest_promises_have_to_be_there(tmp_path):
    source = source_file(tmp_path, tokens=class_tokens())
    with h5py.File(source, "r+") as file:
        del file["7_global"]
    with pytest.raises(FoundFaults, match="promises class tokens of 8 channels, and none are there"):
        run(job(source, tmp_path / "t.npz", "npz"))


def test_lmdb_is_read_the_documented_way(tmp_path):
    lmdb = pytest.importorskip("lmdb")
    run(job(source_file(tmp_path), tmp_path / "t.lmdb", "lmdb"))
    with (
        lmdb.open(str(tmp_path / "t.lmdb"), readonly=True, lock=False) as environment,
        environment.begin() as transaction,
    ):
        meta = json.loads(transaction.get(b"__meta__"))
        row = np.frombuffer(transaction.get(b"900"), meta["dtype"]).reshape(meta["shape"])
        assert environment.stat()["entries"] == len(IDS) + 1
    assert (row == smooth_rows(len(IDS))[2]).all()
    assert (meta["schema"], meta["rows"], meta["manifest"]["clip_model"]) == ("fsgr-tui/rows/1", 7, "ViT-B-16")


def test_npz_packed_and_legacy_are_read_as_foreign_code_reads_them(tmp_path):
    source, rows = source_file(tmp_path), smooth_rows(len(IDS))
    for name in ("npz", "packed", "legacy"):
        run(job(source, tmp_path / f"t{SUFFIX[name]}", name))
    with np.load(tmp_path / "t.npz" / "900.npz") as file:
        assert (file["feat"] == rows[2]).all()
    with h5py.File(tmp_path / "t.packed.hdf5") as file:
        assert (file["features"].shape, file["features"].chunks, file["ids"].dtype) == ((7, 49, 8), None, np.int64)
        assert (file["features"][list(file["ids"]).index(900)] == rows[2]).all()
        assert file.attrs["clip_model"] == "ViT-B-16"
    with h5py.File(tmp_path / "t.legacy.hdf5") as file:
        assert (file["900_grids"][()] == rows[2]).all()
        assert (file["900_grids"].compression, file["900_grids"].compression_opts) == ("gzip", 4)
        assert file.attrs["clip_model"] == "ViT-B-16"


@pytest.mark.torch
def test_a_tensor_file_is_a_bare_tensor_of_one_row_only(tmp_path):
    torch = pytest.importorskip("torch")
    run(job(source_file(tmp_path), tmp_path / "t.pt", "pt"))
    tensor = torch.load(tmp_path / "t.pt" / "900.pt", weights_only=True)
    assert (tensor.numpy() == smooth_rows(len(IDS))[2]).all()
    # A tensor that is a view of its batch drags all of it into every file.
    assert (tmp_path / "t.pt" / "900.pt").stat().st_size < 2 * 49 * 8 * 2 + 1500


def test_a_packed_file_of_chunks_is_read_chunk_by_chunk_not_row_by_row(tmp_path):
    rows = smooth_rows(300)
    order = np.random.default_rng(0).permutation(300)
    with h5py.File(tmp_path / "theirs.hdf5", "w") as file:
        file.create_dataset("features", data=rows, chunks=(100, 49, 8), compression="gzip")
        file["ids"] = order
    found = opened(tmp_path / "theirs.hdf5", "packed")
    asked = [5, 299, 5, 0]
    assert (found.read(asked) == rows[[int(np.flatnonzero(order == image_id)[0]) for image_id in asked]]).all()
    run(job(tmp_path / "theirs.hdf5", tmp_path / "t.hdf5", "hdf5", "packed"))
    assert (FeatureFile(tmp_path / "t.hdf5").read(order.tolist()) == rows).all()


def test_an_hdf5_target_is_one_of_ours(tmp_path):
    run(job(source_file(tmp_path), tmp_path / "m.npz", "npz"))
    run(job(tmp_path / "m.npz", tmp_path / "t.hdf5", "hdf5", "npz"))
    file = FeatureFile(tmp_path / "t.hdf5")
    assert file.layout.contiguous
    assert opened(tmp_path / "t.hdf5", "hdf5").crc32.keys() == set(IDS)


@pytest.mark.parametrize("width", [0, 96])
@pytest.mark.parametrize("name", ALL)
def test_a_target_takes_no_more_of_the_disk_than_was_said(tmp_path, name, width):
    ids = range(0, 400, 2)
    source, target = tmp_path / "source.hdf5", tmp_path / f"t{SUFFIX[name]}"
    build = FeatureBuild.start(source, make_manifest(width=96, global_width=width), ids)
    tokens = np.random.default_rng(0).normal(size=(len(ids), width)).astype(np.float16) if width else None
    build.write(range(len(ids)), smooth_rows(len(ids), width=96), tokens)
    build.publish()
    build.close()
    run(job(source, target, name))
    survey = catalogue.survey(source, "hdf5")
    assert (survey.row_bytes, survey.global_bytes) == (49 * 96 * 2, width * 2)
    said, taken = catalogue.need(name, len(ids), survey.row_bytes, survey.global_bytes), disk_bytes(target)
    assert taken <= said.bytes <= 1.6 * taken + 2**20
    files = len(list(target.iterdir())) + 1 if target.is_dir() else 1
    assert files <= said.inodes <= files + 8


# ---- other storage types


@pytest.mark.parametrize("name", ALL)
def test_float32_becomes_float16_within_its_rounding_and_the_manifest_tells(tmp_path, name):
    rows = np.random.default_rng(0).normal(0, 30, (7, 49, 8)).astype(np.float32)
    source = source_file(tmp_path, dtype="float32", rows=rows)
    target = tmp_path / f"t{SUFFIX[name]}"
    run(job(source, target, name, dtype="float16", command="fsgr-tui convert a b"))
    found = opened(target, name)
    assert (found.content.dtype, found.content.manifest.dtype) == ("float16", "float16")
    assert (found.read(IDS) == rows.astype(np.float16)).all()
    assert found.content.manifest.converted_from == ("float32",)
    assert "fsgr-tui convert a b" in found.content.manifest.command


def test_float16_becomes_float32_exactly(tmp_path):
    run(job(source_file(tmp_path), tmp_path / "t.hdf5", "hdf5", dtype="float32"))
    assert (FeatureFile(tmp_path / "t.hdf5").read(IDS) == smooth_rows(7).astype(np.float32)).all()


def test_every_type_that_values_went_through_is_recorded_since_lost_digits_do_not_come_back(tmp_path):
    source = source_file(tmp_path, dtype="float32", tokens=class_tokens("float32"))
    run(job(source, tmp_path / "half.packed.hdf5", "packed", dtype="float16"))
    run(job(tmp_path / "half.packed.hdf5", tmp_path / "same.lmdb", "lmdb", "packed"))
    run(job(tmp_path / "same.lmdb", tmp_path / "back.hdf5", "hdf5", "lmdb", dtype="float32"))
    assert FeatureFile(source).manifest.converted_from == ()
    assert FeatureFile(tmp_path / "back.hdf5").manifest.converted_from == ("float32", "float16")
    halved = class_tokens("float32").astype(np.float16).astype(np.float32)
    assert (FeatureFile(tmp_path / "back.hdf5", "global").read(IDS) == halved).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_value_beyond_float16_is_refused_with_its_image_and_leaves_nothing(tmp_path, name):
    rows = np.ones((7, 49, 8), np.float32)
    rows[2, 48, 7] = -65520  # rounds to infinity; 65519 would round to 65504
    source = source_file(tmp_path, dtype="float32", rows=rows)
    with pytest.raises(FoundFaults, match="image 900 holds 65520, which float16 cannot"):
        run(job(source, tmp_path / f"t{SUFFIX[name]}", name, dtype="float16"))
    assert sorted(os.listdir(tmp_path)) == ["events.jsonl", "source.hdf5"]


def test_infinity_and_nan_of_the_source_are_kept_not_called_overflow(tmp_path):
    rows = np.ones((7, 49, 8), np.float32)
    rows[0, 0, :3] = [np.inf, -np.inf, np.nan]
    run(job(source_file(tmp_path, dtype="float32", rows=rows), tmp_path / "t.npz", "npz", dtype="float16"))
    found = opened(tmp_path / "t.npz", "npz").read([5])[0, 0, :3]
    assert np.array_equal(found, [np.inf, -np.inf, np.nan], equal_nan=True)


def test_class_indices_keep_their_type(tmp_path):
    rows = np.arange(7 * 49).reshape(7, 49)
    source = source_file_of_labels(tmp_path, rows)
    run(job(source, tmp_path / "t.lmdb", "lmdb"))
    run(job(tmp_path / "t.lmdb", tmp_path / "back.hdf5", "hdf5", "lmdb"))
    assert (FeatureFile(tmp_path / "back.hdf5").read(IDS) == rows).all()
    with pytest.raises(BadRequest, match="int64"):
        run(job(source, tmp_path / "t.npz", "npz", dtype="float16"))


def source_file_of_labels(tmp_path, rows) -> Path:
    return build_file(tmp_path / "labels.hdf5", IDS, rows, stage="labels", dtype="int64")


# ---- what verification is worth


@given(arrays.arrays(np.float32, (2, 6), elements=st.floats(-65000, 65000, width=32)))
@settings(max_examples=200, deadline=None)
def test_rounding_to_float16_is_no_difference_and_one_step_more_is_one(values):
    stored = values.astype(np.float16)
    assert first_difference(values, stored) is None
    assert first_difference(stored, stored.astype(np.float32)) is None
    moved = stored.copy()
    # Two steps: one step may be the other neighbour of a value that lies in the middle.
    for _ in range(2):
        moved[1, 3] = np.nextafter(moved[1, 3], np.float16(np.inf))
    if np.isfinite(moved).all():
        assert first_difference(values, moved) == 1


@pytest.mark.parametrize(
    ("ours", "theirs"), [(1.0, np.inf), (np.inf, 65504.0), (np.inf, -np.inf), (np.nan, 1.0), (1.0, np.nan), (0.0, 1e-7)]
)
def test_infinite_and_missing_numbers_are_told_apart(ours, theirs):
    source, target = np.array([[0.5, ours]], np.float32), np.array([[0.5, theirs]], np.float16)
    assert first_difference(source, target) == 0


def test_equal_types_are_compared_byte_for_byte():
    assert first_difference(np.array([[0.0]], np.float16), np.array([[-0.0]], np.float16)) == 0
    nan = np.array([[np.nan]], np.float16)
    assert first_difference(nan, nan.copy()) is None


class Tampered:
    """A sink that passes on something else than it was given."""

    def __init__(self, sink, change):
        self.sink, self.change = sink, change

    def write(self, ids, rows, tokens=None):
        changed = self.change(list(ids), rows.copy())
        self.sink.write(*changed, *([] if tokens is None else [self.change_token(ids, tokens.copy())]))

    def change_token(self, ids, tokens):
        return tokens

    def finish(self):
        self.sink.finish()

    def close(self):
        self.sink.close()


def one_step_more(ids, rows):
    rows[ids.index(7), 48, 7] = np.nextafter(rows[ids.index(7), 48, 7], np.float16(9))
    return ids, rows


def two_rows_swapped(ids, rows):
    return [{7: 42, 42: 7}.get(image_id, image_id) for image_id in ids], rows


@pytest.mark.parametrize("change", [one_step_more, two_rows_swapped])
@pytest.mark.parametrize("name", ALL)
def test_a_row_that_is_not_what_the_source_holds_is_found_and_nothing_is_published(tmp_path, name, change):
    kind = format_of(name)
    tampered = msgspec.structs.replace(kind, create=lambda path, content: Tampered(kind.create(path, content), change))
    with pytest.raises(FoundFaults, match="image 7 did not come back"):
        run(job(source_file(tmp_path), tmp_path / f"t{SUFFIX[name]}", tampered))
    assert sorted(os.listdir(tmp_path)) == ["events.jsonl", "source.hdf5"]


class TamperedToken(Tampered):
    """A sink that passes on one class token changed."""

    def change_token(self, ids, tokens):
        tokens[ids.index(7), 3] += 1
        return tokens


@pytest.mark.parametrize("name", ALL)
def test_a_class_token_that_is_not_what_the_source_holds_is_found(tmp_path, name):
    kind = format_of(name)
    tampered = msgspec.structs.replace(
        kind, create=lambda path, content: TamperedToken(kind.create(path, content), lambda ids, rows: (ids, rows))
    )
    with pytest.raises(FoundFaults, match="image 7 did not come back"):
        run(job(source_file(tmp_path, tokens=class_tokens()), tmp_path / f"t{SUFFIX[name]}", tampered))
    assert sorted(os.listdir(tmp_path)) == ["events.jsonl", "source.hdf5"]


class ChangedOnDisk(Tampered):
    """A sink whose file changes after it was finished."""

    def __init__(self, sink, path):
        super().__init__(sink, lambda ids, rows: (ids, rows))
        self.path = path

    def finish(self):
        super().finish()
        if self.path.is_dir():
            np.savez(self.path / "7.npz", feat=np.zeros((49, 8), np.float16))
        else:
            body = bytearray(self.path.read_bytes())
            place = body.find(smooth_rows(len(IDS))[3].tobytes())
            assert place > 0
            body[place] ^= 1
            self.path.write_bytes(body)


@pytest.mark.parametrize("name", ["hdf5", "packed", "npz"])
def test_a_row_that_changes_on_the_disk_before_it_is_read_back_is_found(tmp_path, name):
    kind = format_of(name)
    changed = msgspec.structs.replace(
        kind, create=lambda path, content: ChangedOnDisk(kind.create(path, content), path)
    )
    with pytest.raises(FoundFaults, match="image 7 did not come back"):
        run(job(source_file(tmp_path), tmp_path / f"t{SUFFIX[name]}", changed))
    assert not (tmp_path / f"t{SUFFIX[name]}").exists()


@pytest.mark.parametrize("lost", [{"manifest": None}, {"refused": ()}])
def test_a_lost_manifest_or_list_of_refused_images_is_found(tmp_path, lost):
    kind = format_of("lmdb")

    def forgetful(path, content):
        return kind.create(path, msgspec.structs.replace(content, **lost))

    with pytest.raises(FoundFaults, match=next(iter(lost))):
        run(job(source_file(tmp_path), tmp_path / "t.lmdb", msgspec.structs.replace(kind, create=forgetful)))


@pytest.mark.parametrize("what", [smooth_rows(len(IDS))[3], class_tokens()[3]], ids=["row", "class token"])
def test_a_damaged_source_is_not_given_fresh_checksums(tmp_path, what):
    source = source_file(tmp_path, tokens=class_tokens())
    body = bytearray(source.read_bytes())
    place = body.find(what.tobytes())
    assert place > 0
    body[place] ^= 1
    source.write_bytes(body)
    with pytest.raises(FoundFaults, match="image 7 does not hold its checksum"):
        run(job(source, tmp_path / "t.packed.hdf5", "packed"))


# ---- no half target has its name


class Deadly(Tampered):
    """A sink that kills its process at one moment."""

    def __init__(self, sink, moment):
        super().__init__(sink, lambda ids, rows: (ids, rows))
        self.moment = moment

    def write(self, ids, rows, tokens=None):
        super().write(ids, rows, tokens)
        self._die_at("write")

    def finish(self):
        super().finish()
        self._die_at("finish")

    def _die_at(self, moment):
        if moment == self.moment:
            os.kill(os.getpid(), signal.SIGKILL)


def killed_at(moment: str, conversion_job: Conversion) -> None:
    """Run a conversion in a process that is killed."""
    kind = conversion_job.target_format
    deadly = msgspec.structs.replace(kind, create=lambda path, content: Deadly(kind.create(path, content), moment))
    child = os.fork()
    if child == 0:
        try:
            run(msgspec.structs.replace(conversion_job, target_format=deadly))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("moment", ["write", "finish"])
@pytest.mark.parametrize("name", NAMES)
def test_a_killed_conversion_leaves_no_target_and_the_next_one_starts_clean(tmp_path, name, moment):
    source, target = source_file(tmp_path), tmp_path / f"t{SUFFIX[name]}"
    asked = job(source, target, name)
    killed_at(moment, asked)
    assert not target.exists()
    assert draft_folder(target).exists()
    run(asked)
    assert sorted(os.listdir(tmp_path)) == sorted(["events.jsonl", "source.hdf5", target.name])
    assert (opened(target, name).read(IDS) == smooth_rows(len(IDS))).all()


@pytest.mark.parametrize("name", NAMES)
def test_an_existing_target_stays_until_the_new_one_is_whole(tmp_path, name):
    target = tmp_path / f"t{SUFFIX[name]}"
    run(job(build_file(tmp_path / "old.hdf5", (1, 2)), target, name))
    asked = job(source_file(tmp_path), target, name, overwrite=True)
    killed_at("finish", asked)
    assert opened(target, name).content.ids == (1, 2)
    run(asked)
    assert opened(target, name).content.ids == tuple(sorted(IDS))
    assert not draft_folder(target).exists()


def test_a_folder_gives_way_to_a_file_and_a_file_to_a_folder(tmp_path):
    source, target = source_file(tmp_path), tmp_path / "t"
    for name in ("npz", "packed", "lmdb"):
        run(job(source, target, name, overwrite=True))
        assert catalogue.source_format(target) == name


def test_a_replacement_that_was_cut_off_between_its_two_renames_is_put_back(tmp_path):
    source, target = source_file(tmp_path), tmp_path / "t.npz"
    run(job(source, target, "npz"))
    killed_at("finish", job(source, target, "npz", overwrite=True))
    target.rename(draft_folder(target) / "replaced")
    with Draft(target, overwrite=True):
        assert opened(target, "npz").content.ids == tuple(sorted(IDS))
    assert not draft_folder(target).exists()


def test_a_name_that_was_taken_meanwhile_is_not_replaced_unasked(tmp_path):
    target = tmp_path / "t.packed.hdf5"
    with Draft(target, overwrite=False) as draft:
        draft.content.write_text("new")
        target.write_text("theirs")
        with pytest.raises(BadRequest, match="exists now"):
            draft.publish()
    assert target.read_text() == "theirs"


def test_a_folder_of_somebody_else_is_not_taken_for_a_draft(tmp_path):
    folder = draft_folder(tmp_path / "t.npz")
    folder.mkdir()
    (folder / "thesis.tex").write_text("precious")
    with pytest.raises(BadRequest, match="holds something else"):
        run(job(source_file(tmp_path), tmp_path / "t.npz", "npz"))
    assert (folder / "thesis.tex").read_text() == "precious"


def test_two_conversions_into_one_target_do_not_meet(tmp_path):
    target = tmp_path / "t.npz"
    with Draft(target, overwrite=True), pytest.raises(MachineCannot, match="Another process"):
        run(job(source_file(tmp_path), target, "npz"))


@pytest.mark.parametrize("name", NAMES)
def test_a_disk_that_takes_no_more_is_told_and_leaves_nothing(tmp_path, name):
    source = build_file(
        tmp_path / "source.hdf5", range(300), np.random.default_rng(0).normal(size=(300, 49, 96)), width=96
    )
    # A limit on the size of files stands for a full disk; files of one row need a smaller one.
    limit = 4096 if name == "npz" else 1 << 20
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            convert(job(source, tmp_path / f"t{SUFFIX[name]}", name), EventWriter("/dev/null"), lambda: False)
        except MachineCannot as problem:
            # Nothing can be resumed, so the advice of an extraction would lead astray.
            os._exit(7 if "resume" not in problem.fix and "convert again" in problem.fix else 8)
        finally:
            os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert os.listdir(tmp_path) == ["source.hdf5"]


def test_a_stopped_conversion_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "BATCH_ROWS", 2)
    answers = iter([False, False, True])
    assert run(job(source_file(tmp_path), tmp_path / "t.lmdb", "lmdb"), lambda: next(answers)) is None
    assert sorted(os.listdir(tmp_path)) == ["events.jsonl", "source.hdf5"]


# ---- what can be refused before any work


def prepared(tmp_path, source: Path, target: str, disks=None, **options):
    request = conversion.ConvertRequest(source=str(source), target=str(tmp_path / target), **options)
    return conversion.prepare(request, disks) if disks else conversion.prepare(request)


@pytest.mark.parametrize("to", ["npz", pytest.param("pt", marks=pytest.mark.torch)])
def test_a_file_per_image_is_refused_where_inodes_are_few_and_one_file_is_not(tmp_path, to):
    source, few = source_file(tmp_path), FakeDisks(space=counts(blocks=10**9, bavail=10**9, files=100, favail=10))
    with pytest.raises(MachineCannot, match=r"needs 15 inodes, 10 free") as told:
        prepared(tmp_path, source, f"t.{to}", few)
    assert ".hdf5" in told.value.fix
    assert prepared(tmp_path, source, "t.hdf5", few).need.inodes < 10


def test_a_file_system_that_counts_no_inodes_is_not_called_full(tmp_path):
    silent = FakeDisks(space=counts(blocks=10**9, bavail=10**9, files=0, ffree=0, favail=0))
    assert prepared(tmp_path, source_file(tmp_path), "t.npz", silent).need.inodes == 15


def test_too_little_space_is_refused_with_both_numbers(tmp_path):
    small = FakeDisks(space=counts(blocks=1000, bavail=10, files=10**6, favail=10**6))
    with pytest.raises(MachineCannot, match=r"1\.13 MB are needed, 41\.0 kB are free"):
        prepared(tmp_path, source_file(tmp_path), "t.packed.hdf5", small)
    assert not draft_folder(tmp_path / "t.packed.hdf5").exists()


def test_another_type_changes_the_need(tmp_path):
    source = build_file(tmp_path / "source.hdf5", range(100), width=96)
    half, whole = (
        prepared(tmp_path, source, "t.packed.hdf5", dtype=dtype).need.bytes for dtype in ("float16", "float32")
    )
    assert whole - half == 100 * 49 * 96 * 2


def test_the_targets_name_tells_the_format_and_a_name_that_does_not_is_refused(tmp_path):
    source = source_file(tmp_path)
    for name in ("hdf5", "packed", "lmdb", "npz"):
        assert prepared(tmp_path, source, f"t{SUFFIX[name]}").target_format == name
    assert prepared(tmp_path, source, "folder", to="npz").target_format == "npz"
    assert prepared(tmp_path, source, "t.hdf5", to="legacy").target_format == "legacy"
    with pytest.raises(BadRequest, match="does not tell the format"):
        prepared(tmp_path, source, "t.bin")


def test_source_and_target_must_lie_apart(tmp_path):
    source = source_file(tmp_path)
    (tmp_path / "link.hdf5").symlink_to(source)
    run(job(source, tmp_path / "t.npz", "npz"))
    for start, end, why in (
        (source, "source.hdf5", "at once"),
        (source, "link.hdf5", "at once"),
        (tmp_path / "t.npz", "t.npz/x.hdf5", "lies within"),
        (source, ".", "lies within"),
    ):
        with pytest.raises(BadRequest, match=why):
            prepared(tmp_path, start, end, to="packed", overwrite=True)


def test_only_folders_of_features_are_overwritten(tmp_path):
    source, folder = source_file(tmp_path), tmp_path / "t.npz"
    run(job(source, folder, "npz"))
    assert prepared(tmp_path, source, "t.npz", overwrite=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(BadRequest, match="more than features"):
        prepared(tmp_path, source, "t.npz", overwrite=True)


# ---- sources of other programs, and damaged ones


def test_a_file_without_manifest_stays_without_one_and_can_be_read(tmp_path):
    rows = smooth_rows(3)
    with h5py.File(tmp_path / "m2.hdf5", "w") as file:
        for image_id, row in zip((9, 25, 30), rows, strict=True):
            file.create_dataset(f"{image_id}_features", data=row, compression="gzip")
            file[f"{image_id}_boxes"] = np.zeros((2, 4))
    assert catalogue.source_format(tmp_path / "m2.hdf5") == "legacy"
    run(job(tmp_path / "m2.hdf5", tmp_path / "t.hdf5", "hdf5", "legacy"))
    found = FeatureFile(tmp_path / "t.hdf5")
    assert found.manifest is None
    assert (found.layout.suffix, found.layout.contiguous) == ("grids", True)
    assert (found.read([9, 25, 30]) == rows).all()
    assert "3 other keys (such as 25_boxes" in notices(tmp_path)
    assert "9_features are written as 9_grids" in notices(tmp_path)


def test_a_folder_of_another_program_is_read_without_manifest(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for image_id in (9, 10):
        np.savez_compressed(folder / f"{image_id}.npz", feat=np.full((4, 4), image_id, np.float32))
    (folder / "readme.txt").touch()
    run(job(folder, tmp_path / "t.packed.hdf5", "packed", "npz"))
    found = opened(tmp_path / "t.packed.hdf5", "packed")
    assert (found.content.manifest, found.content.dtype) == (None, "float32")
    assert (found.read([10]) == 10).all()
    assert "readme.txt" in notices(tmp_path)


def test_rows_that_lack_are_found_by_the_manifest(tmp_path):
    run(job(source_file(tmp_path), tmp_path / "t.npz", "npz"))
    (tmp_path / "t.npz" / "7.npz").unlink()
    with pytest.raises(NotAFeatureFile, match="promises 7 rows, 6 are there"):
        opened(tmp_path / "t.npz", "npz")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "cannot be read"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: np.savez(path, x=1), "no array 'feat'"),
        (lambda path: np.savez(path, feat=np.zeros((1, 8), np.float16)), "others"),
        (lambda path: np.savez(path, feat=np.array([{}], object)), "cannot be read"),
    ],
)
def test_a_damaged_npz_file_is_named(tmp_path, change, told):
    run(job(source_file(tmp_path), tmp_path / "t.npz", "npz"))
    change(tmp_path / "t.npz" / "7.npz")
    with pytest.raises(FoundFaults, match=rf"7\.npz.*{told}"):
        opened(tmp_path / "t.npz", "npz").read(IDS)


@pytest.mark.torch
def test_a_tensor_file_that_is_no_plain_tensor_is_named(tmp_path):
    torch = pytest.importorskip("torch")
    run(job(source_file(tmp_path), tmp_path / "t.pt", "pt"))
    path = tmp_path / "t.pt" / "7.pt"
    for content, told in (
        ({"feat": torch.ones(2)}, "holds a dict"),
        (torch.ones(2, dtype=torch.bfloat16), "NumPy lacks"),
    ):
        torch.save(content, path)
        with pytest.raises(FoundFaults, match=told):
            opened(tmp_path / "t.pt", "pt").read([7])
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FoundFaults, match="cannot be read"):
        opened(tmp_path / "t.pt", "pt").read([7])


def test_a_truncated_lmdb_file_is_refused_before_its_pages_are_touched(tmp_path):
    run(job(build_file(tmp_path / "source.hdf5", range(200)), tmp_path / "t.lmdb", "lmdb"))
    os.truncate(tmp_path / "t.lmdb" / "data.mdb", 20_000)
    # In a process of its own, which a page that is not there would kill.
    code = "import sys; from pathlib import Path; from fsgr_tui.features.formats.lmdb import LMDB; LMDB.open(Path(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "t.lmdb")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "NotAFeatureFile" in done.stderr
    assert "is truncated: it has 20,000 bytes" in done.stderr


def test_an_lmdb_folder_of_another_program_is_refused_with_the_reason(tmp_path):
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(tmp_path / "t.lmdb")) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"9", b"?")
    with pytest.raises(NotAFeatureFile, match="__meta__"):
        opened(tmp_path / "t.lmdb", "lmdb")


def test_rows_whose_shape_the_manifest_does_not_promise_are_refused(tmp_path):
    source = source_file(tmp_path)
    with h5py.File(source, "r+") as file:
        file.attrs["tokens"] = 196
    with pytest.raises(FoundFaults, match=r"manifest promises \(196, 8\)"):
        run(job(source, tmp_path / "t.npz", "npz"))


# ---- bounds


class Watched:
    """Rows that note how much was read at once."""

    def __init__(self, rows, seen):
        self._rows, self._seen = rows, seen

    def __getattr__(self, name):
        return getattr(self._rows, name)

    def read(self, ids):
        self._seen.append(len(ids))
        return self._rows.read(ids)


def test_memory_is_bounded_by_the_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "BATCH_BYTES", 3 * 49 * 8 * 2)
    seen: list[int] = []
    kind = format_of("hdf5")
    watched = msgspec.structs.replace(kind, open=lambda path: Watched(kind.open(path), seen))
    run(job(source_file(tmp_path), tmp_path / "t.hdf5", watched, watched))
    # Seven rows are read three times: to copy, and twice to compare.
    assert (max(seen), sum(seen)) == (3, 21)


def test_the_reading_rate_is_measured_in_its_time_box(monkeypatch):
    class Slow:
        content = Content(tuple(range(1000)), (1, 1), "float16")
        reads = 0

        def read(self, ids):
            clock[0] += 0.1
            self.reads += len(ids)
            return np.zeros((1, 1, 1), np.float16)

    clock = [0.0]
    monkeypatch.setattr(engine.time, "perf_counter", lambda: clock[0])
    slow = Slow()
    assert random_rate(slow) == pytest.approx(10)
    assert slow.reads <= 2 * 17


def test_a_conversion_without_tensors_imports_no_torch(tmp_path):
    spec = ConvertSpec(
        source=str(source_file(tmp_path)),
        target=str(tmp_path / "t.npz"),
        source_format="hdf5",
        target_format="npz",
        rates=False,
    )
    (tmp_path / "spec.json").write_bytes(msgspec.json.encode(spec))
    code = (
        "import sys; from fsgr_tui.extract import __main__ as child; from fsgr_tui.core.event import EventWriter;"
        "child.main(child._read_spec(sys.argv[1]), EventWriter('/dev/null'), lambda: False);"
        "print(sorted(set(sys.modules) & {'torch', 'open_clip', 'PIL'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "spec.json")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert (tmp_path / "t.npz").is_dir()
