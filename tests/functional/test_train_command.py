"""`fsgr-tui train` as a user meets it."""

import json
import os
from pathlib import Path

import pytest

from tests.conftest import run_cli

pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.slow]

SIZE = ("--d-model", "32", "--heads", "4", "--layers", "1", "--batch-size", "16", "--warmup", "4", "--java", "never")
TOWER = ("--clip-model", "fsgr-demo-16", "--weights", "random:0", "--precision", "fp32")


def karpathy_json(data, path: Path) -> Path:
    """The data set's captions as Karpathy gives them."""
    images = []
    for split, name in (("train", "train2014"), ("val", "val2014")):
        content = json.loads((data.annotations / f"captions_{name}.json").read_text())
        captions: dict[int, list[dict]] = {}
        for entry in content["annotations"]:
            captions.setdefault(entry["image_id"], []).append({"raw": entry["caption"], "sentid": entry["id"]})
        images += [
            {"filename": entry["file_name"], "split": split, "cocoid": entry["id"], "sentences": captions[entry["id"]]}
            for entry in content["images"]
        ]
    path.write_text(json.dumps({"images": images, "dataset": "coco"}))
    return path


def test_a_run_on_karpathys_json_shows_scores_and_the_guides_table(data, tmp_path):
    done = run_cli(
        "train", "--features-path", str(data.features), "--annotations", str(karpathy_json(data, tmp_path / "dataset_coco.json")),
        "--output", str(tmp_path / "out"), "--epochs", "1", "--max-eval-images", "4", "--beam", "2", *SIZE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "46 annotated images, all of them there (Karpathy's JSON)" in done.stderr
    for told in ("cider ", "bleu_4 ", "rouge_l ", "best by cider", "V100 (guide)", "0.8 s", "40 min", "16 GB"):
        assert told in done.stdout
    assert (tmp_path / "out" / "fsgr_best.pth").exists()
    assert list((tmp_path / "out" / "fsgr_logs").glob("events.out.tfevents.*"))


def test_a_dry_run_in_realtime_shows_every_part_and_keeps_nothing(data, tmp_path):
    done = run_cli(
        "train", "--mode", "realtime", "--pixels", str(data.pixels), "--annotation-folder", str(data.annotations),
        "--adapter-b", "1", "--adapter-e", "2", "--output", str(tmp_path / "out"), "--dry-run", "--beam", "2", *SIZE, *TOWER,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for told in (
        "training step",
        "validation",
        "captions, beam 2",
        "scores",
        "checkpoint",
        "2.5 s",
        "nothing was kept",
    ):
        assert told in done.stdout
    assert list((tmp_path / "out").iterdir()) == []


def test_the_result_is_one_json_document(data, tmp_path):
    done = run_cli(
        "train", "--features-path", str(data.features), "--annotation-folder", str(data.annotations),
        "--output", str(tmp_path / "out"), "--max-steps", "2", "--json", *SIZE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["result"]["best"]["by"] == "cider"
    assert set(document["result"]["metrics"]) == {"cider", "bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l"}


def test_java_that_is_asked_for_and_not_there_is_told_before_the_start(data, tmp_path):
    bare = tmp_path / "bin"
    bare.mkdir()
    flags = (
        "--features-path",
        str(data.features),
        "--annotation-folder",
        str(data.annotations),
        "--output",
        str(tmp_path / "o"),
    )
    small = tuple(flag for flag in SIZE if flag not in ("--java", "never"))
    always = run_cli("train", *flags, *small, "--java", "always", env={"PATH": str(bare)})
    assert always.returncode == 3
    assert "would fail at the end of the run" in always.stderr
    assert not (tmp_path / "o").exists()
    (bare / "java").write_text("#!/bin/sh\necho 'no libjvm.so' >&2\nexit 1\n")
    (bare / "java").chmod(0o755)
    auto = run_cli(
        "train",
        *flags,
        *small,
        "--max-steps",
        "1",
        "--no-evaluate",
        env={"PATH": f"{bare}{os.pathsep}{os.environ['PATH']}"},
    )
    assert auto.returncode == 0, auto.stderr
    assert "METEOR" not in auto.stderr
    broken = run_cli("train", *flags, *small, "--java", "always", "--exp-name", "b", env={"PATH": str(bare)})
    assert broken.returncode == 3
    assert "no libjvm.so" in broken.stderr


@pytest.mark.parametrize(
    ("flags", "code", "told"),
    [
        (("--features-path", "{pixels}"), 2, ["holds pictures (a pixel cache)", "--mode realtime --pixels"]),
        (("--mode", "realtime", "--pixels", "{features}"), 1, ["9_pixels"]),
        (("--mode", "realtime", "--image-root", "{root}/images", "--adapter-b", "2"), 2, ["--adapter-e None"]),
        (("--features-path", "{features}", "--batch-size", "15", "--nproc", "2"), 2, ["15 does not divide among 2"]),
        (("--mode", "precomputed"), 2, ["--features-path"]),
        (("--features-path", "{features}", "--annotations", "{root}/nothing.json"), 2, ["nothing.json"]),
        (("--features-path", "{features}", "--scst-epochs", "1", "--best-by", "loss"), 2, ["cannot name the best"]),
    ],
)
def test_requests_that_cannot_work_are_refused_with_the_way_round(data, tmp_path, flags, code, told):
    places = {"pixels": data.pixels, "features": data.features, "root": data.root / "coco"}
    given = [flag.format(**places) for flag in flags]
    if "--annotations" not in given:
        given += ["--annotation-folder", str(data.annotations)]
    done = run_cli("train", *given, "--output", str(tmp_path / "out"), "--java", "never", *TOWER)
    assert done.returncode == code, done.stderr
    for words in told:
        assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_features_that_are_kept_by_annotation_id_are_explained(data, tmp_path):
    import h5py

    ids = [
        entry["id"]
        for split in ("train2014", "val2014")
        for entry in json.loads((data.annotations / f"captions_{split}.json").read_text())["annotations"]
    ]
    with h5py.File(tmp_path / "wrong.hdf5", "w") as file:
        for number in ids:
            file.create_dataset(f"{number}_grids", (49, 8), "f2")
    done = run_cli(
        "train", "--features-path", str(tmp_path / "wrong.hdf5"), "--annotation-folder", str(data.annotations),
        "--output", str(tmp_path / "out"), "--java", "never",
    )  # fmt: skip
    assert done.returncode == 1
    assert "The ids there are annotation (caption) ids, not image ids." in done.stderr
