import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL", reason="needs the extract extra")

from PIL import Image

from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.demo import dataset
from fsgr_tui.demo.__main__ import main
from fsgr_tui.demo.dataset import DemoFacts, DemoParameters, plan_pictures, write_dataset
from fsgr_tui.demo.scenes import captions, make_scene

TRAIN, VAL = 10, 8


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "coco"
    write_dataset(folder, train=TRAIN, val=VAL)
    return folder


@pytest.fixture(scope="module")
def large_root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "coco"
    write_dataset(folder, train=200, val=8)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    found = {path: path.stat() for path in folder.rglob("*")}
    return {str(path): (stat.st_mtime_ns, stat.st_ino) for path, stat in found.items()}


def caption_file(folder: Path, split: str) -> dict:
    return json.loads((folder / "m2_annotations" / f"captions_{split}.json").read_text())


def ids(folder: Path, name: str) -> np.ndarray:
    return np.load(folder / "m2_annotations" / f"coco_{name}_ids.npy")


def images_and_annotations(folder: Path) -> tuple[dict[int, dict], dict[int, dict]]:
    both = [caption_file(folder, split) for split in dataset.SPLITS]
    images = [image for content in both for image in content["images"]]
    annotations = [annotation for content in both for annotation in content["annotations"]]
    by_image = {image["id"]: image for image in images}
    by_annotation = {annotation["id"]: annotation for annotation in annotations}
    assert len(by_image) == len(images)
    assert len(by_annotation) == len(annotations)
    return by_image, by_annotation


def test_the_folder_holds_what_a_coco_user_expects_and_nothing_else(root):
    names = {name for name in contents(root) if not name.endswith(".jpg")}
    assert names == {
        "dataset.json",
        *(f"m2_annotations/captions_{split}.json" for split in ("train2014", "val2014")),
        *(f"m2_annotations/coco_{name}_ids.npy" for name in ("train", "restval", "dev", "test")),
    }
    assert (root / "images/train2014/COCO_train2014_000000000009.jpg").is_file()
    assert len(list((root / "images/train2014").iterdir())) == TRAIN
    assert len(list((root / "images/val2014").iterdir())) == VAL


def test_the_same_parameters_give_the_same_bytes(root, tmp_path):
    write_dataset(tmp_path, train=TRAIN, val=VAL)
    assert contents(tmp_path) == contents(root)


def test_another_seed_gives_other_pictures(root, tmp_path):
    write_dataset(tmp_path, train=TRAIN, val=VAL, seed=1)
    first = "images/train2014/COCO_train2014_000000000009.jpg"
    assert contents(tmp_path)[first] != contents(root)[first]


def test_a_picture_does_not_depend_on_how_many_there_are(root, tmp_path):
    write_dataset(tmp_path, train=4, val=4)
    small, large = contents(tmp_path), contents(root)
    pictures = [name for name in small if name.endswith(".jpg")]
    assert len(pictures) == 8
    assert all(small[name] == large[name] for name in pictures)
    for split in dataset.SPLITS:
        few, many = caption_file(tmp_path, split), caption_file(root, split)
        assert few["images"] == many["images"][:4]
        assert few["annotations"] == many["annotations"][:20]


def test_every_jpeg_opens_with_its_recorded_size(root):
    for split in dataset.SPLITS:
        for image in caption_file(root, split)["images"]:
            with Image.open(root / "images" / split / image["file_name"]) as picture:
                picture.load()
                assert picture.format == "JPEG"
                assert picture.mode == "RGB"
                assert picture.size == (image["width"], image["height"])


def test_file_names_carry_the_image_id_in_twelve_digits(root):
    for split in dataset.SPLITS:
        for image in caption_file(root, split)["images"]:
            assert image["file_name"] == f"COCO_{split}_{image['id']:012d}.jpg"


def test_image_ids_are_unique_over_both_splits_and_leave_gaps(root):
    images, _ = images_and_annotations(root)
    assert len(images) == TRAIN + VAL
    assert max(images) - min(images) + 1 > len(images)


@pytest.mark.parametrize(("train", "val", "seed"), [(200, 80, 0), (4, 4, 0), (10, 8, 3), (2000, 400, 7)])
def test_some_annotation_ids_are_the_id_of_another_image_and_none_that_of_its_own(train, val, seed):
    pictures = plan_pictures(DemoParameters(train, val, seed))
    image_ids = {picture.image_id for picture in pictures}
    annotation_ids = {number for picture in pictures for number in picture.annotation_ids}
    assert len(image_ids) == len(pictures)
    assert len(annotation_ids) == 5 * len(pictures)
    assert image_ids & annotation_ids
    assert annotation_ids - image_ids
    assert all(picture.image_id not in picture.annotation_ids for picture in pictures)


def test_id_files_hold_annotation_ids_with_the_five_of_an_image_in_a_row(root):
    _, annotations = images_and_annotations(root)
    seen = []
    for name, count, split in [
        ("train", TRAIN, "train2014"),
        ("restval", VAL // 2, "val2014"),
        ("dev", VAL // 4, "val2014"),
        ("test", VAL // 4, "val2014"),
    ]:
        held = ids(root, name)
        assert held.dtype == np.int64
        assert held.shape == (5 * count,)
        image_ids = [annotations[number]["image_id"] for number in held.tolist()]
        groups = [set(image_ids[start : start + 5]) for start in range(0, len(image_ids), 5)]
        assert all(len(group) == 1 for group in groups)
        assert {number for group in groups for number in group} <= {
            image["id"] for image in caption_file(root, split)["images"]
        }
        seen += held.tolist()
    assert sorted(seen) == sorted(annotations)


def test_a_val_count_that_four_does_not_divide_is_still_split_whole(tmp_path):
    facts = write_dataset(tmp_path, train=1, val=7)
    assert facts.images == {"train": 1, "restval": 3, "dev": 2, "test": 2}
    assert sum(len(ids(tmp_path, name)) for name in facts.images) == facts.captions == 5 * 8


def test_captions_are_those_of_the_scene_in_the_picture(root):
    _, annotations = images_and_annotations(root)
    for picture in plan_pictures(DemoParameters(TRAIN, VAL, 0)):
        told = tuple(annotations[number]["caption"] for number in picture.annotation_ids)
        assert told == captions(make_scene(0, picture.scene_index))
        assert {annotations[number]["image_id"] for number in picture.annotation_ids} == {picture.image_id}


def test_the_record_tells_parameters_counts_and_bytes(root):
    record = json.loads((root / "dataset.json").read_text())
    assert record == {
        "parameters": {"train": TRAIN, "val": VAL, "seed": 0, "generator": dataset.GENERATOR_VERSION},
        "images": {"train": TRAIN, "restval": 4, "dev": 2, "test": 2},
        "captions": 5 * (TRAIN + VAL),
        "image_bytes": sum(path.stat().st_size for path in root.rglob("*.jpg")),
    }


def test_progress_counts_up_to_all_pictures(tmp_path):
    steps = []
    write_dataset(tmp_path, train=3, val=4, on_progress=lambda done, total: steps.append((done, total)))
    assert steps == [(done, 7) for done in range(1, 8)]


def test_a_second_run_touches_nothing_and_tells_the_same(tmp_path):
    first = write_dataset(tmp_path, train=3, val=4)
    before = stamps(tmp_path)
    second = write_dataset(tmp_path, train=3, val=4, on_progress=lambda *_: pytest.fail("something was written"))
    assert isinstance(second, DemoFacts)
    assert second == first
    assert stamps(tmp_path) == before


@pytest.mark.parametrize(
    "lost",
    [
        "images/train2014/COCO_train2014_000000000009.jpg",
        "m2_annotations/coco_dev_ids.npy",
        "m2_annotations/captions_val2014.json",
    ],
)
def test_a_lost_file_is_made_again_and_the_others_are_kept(tmp_path, lost):
    write_dataset(tmp_path, train=3, val=4)
    whole, before = contents(tmp_path), stamps(tmp_path)
    (tmp_path / lost).unlink()
    write_dataset(tmp_path, train=3, val=4)
    assert contents(tmp_path) == whole
    after = stamps(tmp_path)
    assert {name for name in after if after[name] != before[name] and Path(name).is_file()} == {str(tmp_path / lost)}


def test_a_jpeg_that_lost_its_end_is_made_again(tmp_path):
    write_dataset(tmp_path, train=3, val=4)
    whole = contents(tmp_path)
    path = tmp_path / "images/train2014/COCO_train2014_000000000009.jpg"
    path.write_bytes(path.read_bytes()[:1000])
    write_dataset(tmp_path, train=3, val=4)
    assert contents(tmp_path) == whole


def test_a_folder_with_foreign_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(BadRequest) as refused:
        write_dataset(tmp_path, train=3, val=4)
    assert str(tmp_path) in refused.value.what
    assert "another folder" in refused.value.fix
    assert contents(tmp_path) == {"thesis.tex": b"precious"}


def test_a_folder_with_another_data_set_is_refused_and_left_alone(tmp_path):
    write_dataset(tmp_path, train=3, val=4)
    before = stamps(tmp_path)
    with pytest.raises(BadRequest, match=r"train 3, val 4.*train 4, val 4"):
        write_dataset(tmp_path, train=4, val=4)
    assert stamps(tmp_path) == before


@pytest.mark.parametrize("record", [b"", b"not json", b'{"name": "some other program"}', b"\xff\xfe"])
def test_a_record_of_another_program_is_refused(tmp_path, record):
    (tmp_path / "dataset.json").write_bytes(record)
    with pytest.raises(BadRequest, match="not from here"):
        write_dataset(tmp_path, train=3, val=4)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadRequest, match="not a folder"):
        write_dataset(tmp_path / "file", train=3, val=4)


@pytest.mark.parametrize(
    "asked", [{"train": 0}, {"train": -1}, {"val": 3}, {"train": 10**9}, {"seed": -1}, {"seed": 2**70}]
)
def test_parameters_that_make_no_data_set_are_refused_before_anything_is_written(tmp_path, asked):
    with pytest.raises(BadRequest):
        write_dataset(tmp_path / "new", **asked)
    assert not (tmp_path / "new").exists()


def test_a_full_disk_is_told_and_leaves_no_partial_file(tmp_path, monkeypatch):
    written = []

    def fail_after_three(draft, target):
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        written.append(target)
        return original(draft, target)

    original = Path.replace
    monkeypatch.setattr(Path, "replace", fail_after_three)
    with pytest.raises(MachineCannot, match="No space left on device"):
        write_dataset(tmp_path, train=20, val=4)
    monkeypatch.undo()
    assert not (tmp_path / "dataset.json").exists()
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(written)
    write_dataset(tmp_path, train=20, val=4)
    assert not (tmp_path / "dataset.unfinished.json").exists()


@pytest.mark.parametrize("killed_by", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_run_leaves_only_whole_files_and_is_gone_on_with(tmp_path, large_root, killed_by):
    broken = tmp_path / "broken"
    command = [sys.executable, "-m", "fsgr_tui.demo", str(broken), "--train", "200", "--val", "8"]
    checkout = Path(dataset.__file__).parents[2]
    with subprocess.Popen(
        command,
        cwd=checkout,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        # A shell that runs the tests in the background has its children ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as child:
        deadline_s = time.monotonic() + 30
        while len(list(broken.rglob("*.jpg"))) < 5 and time.monotonic() < deadline_s:
            time.sleep(0.005)
        child.send_signal(killed_by)
        child.wait(timeout=30)
    assert child.returncode == (130 if killed_by is signal.SIGINT else -killed_by)
    assert not (broken / "dataset.json").exists()
    kept = list(broken.rglob("*.jpg"))
    assert 5 <= len(kept) < 208
    for path in kept:
        with Image.open(path) as picture:
            picture.load()
    before = {str(path): path.stat().st_ino for path in kept}
    write_dataset(broken, train=200, val=8)
    assert {path: Path(path).stat().st_ino for path in before} == before
    finished = {name: held for name, held in contents(broken).items() if not name.endswith(".draft")}
    assert finished == contents(large_root)


def test_a_broken_off_run_of_other_parameters_is_refused(tmp_path):
    (tmp_path / "dataset.unfinished.json").write_text('{"train": 9, "val": 8, "seed": 0, "generator": 1}')
    with pytest.raises(BadRequest, match="train 9"):
        write_dataset(tmp_path, train=3, val=4)


def test_the_command_prints_its_facts_as_one_line_of_json(tmp_path, capsys):
    assert main([str(tmp_path / "new"), "--train", "3", "--val", "4", "--seed", "2"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["parameters"]["seed"] == 2
    assert told.out.count("\n") == 1
    assert told.err.splitlines()[-1] == "7 of 7 images"


def test_the_command_tells_a_problem_on_stderr_with_its_exit_code(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("")
    assert main([str(tmp_path)]) == BadRequest.exit_code
    told = capsys.readouterr()
    assert told.out == ""
    assert str(tmp_path) in told.err


def test_the_command_tells_how_to_get_a_missing_pillow(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    for name in ("fsgr_tui.demo.dataset", "fsgr_tui.demo.scenes"):
        monkeypatch.delitem(sys.modules, name)
    assert main([str(tmp_path / "new")]) == MachineCannot.exit_code
    assert "fsgr-tui[extract]" in capsys.readouterr().err
