from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from fsgr_tui.core.lab import CachedWeights, GivenFlag, Interpreter, Java, LoginSession, TorchBuild
from fsgr_tui.core.machine import CpuBudget, Disk, Gpu, GpuReport, Host
from fsgr_tui.core.preflight import PreflightReport
from fsgr_tui.core.units import GB, GIB, Unknown
from fsgr_tui.service.preflight import Probes
from fsgr_tui.service.preflight_lab import LabRequest, preflight_lab
from tests.conftest import build_file, run_cli
from tests.fakes.lab import save_tensor, save_vocabulary, script_text, write_checkout, write_program, write_python

EXTRACT = ("preflight", "extract", "--clip-model", "fsgr-demo-16", "--weights", "random:0", "--split", "karpathy")


def annotated_ids(root: Path) -> list[int]:
    captions = [
        json.loads((root / f"m2_annotations/captions_{split}.json").read_text()) for split in ("train2014", "val2014")
    ]
    return sorted({entry["image_id"] for file in captions for entry in file["annotations"]})


def findings(done, code: int) -> dict[str, dict]:
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    document = json.loads(done.stdout)
    assert (document["schema"], document["exit_code"]) == ("fsgr-tui/preflight/1", code)
    return {row["what"]: row for row in document["findings"]}


# -- extraction -----------------------------------------------------------------------------------------------------------


@pytest.mark.torch
def test_an_extraction_that_nothing_speaks_against_exits_0_and_starts_nothing(demo_root, tmp_path, own_runs):
    done = run_cli(*EXTRACT, "--image-root", str(demo_root / "images"), "--output-path", str(tmp_path / "f.hdf5"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok    request" in done.stdout
    assert "quota" in done.stdout
    assert "\x1b" not in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert list(own_runs.iterdir()) == []


def test_everything_that_is_wrong_with_an_extraction_is_told_at_once(tmp_path):
    (tmp_path / "x.pt").write_text("<html>not found</html>")
    done = run_cli(
        "preflight", "extract", "--image-root", str(tmp_path / "none"), "--split", "train2014", "--output-path", "f.txt",
        "--clip-model", "ViT-B/61", "--weights", str(tmp_path / "x.pt"), "--device", "cuda:9", "--workers", "999", "--json",
        env={"CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    rows = findings(done, 2)
    assert "ViT-B-16" in rows["model"]["remedy"]
    assert "is not there" in rows["images"]["found"]
    assert "does not end in .hdf5" in rows["output"]["found"]
    assert "it looks like a web page" in rows[f"CLIP weights {tmp_path / 'x.pt'}"]["found"]
    assert (rows["GPU"]["verdict"], rows["loader workers"]["verdict"]) == ("stop", "warn")
    assert all(row["remedy"] for row in rows.values() if row["verdict"] == "stop")


@pytest.mark.torch
def test_empty_images_and_an_output_that_exists_are_named(demo_root, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(demo_root / "images", images)
    (images / "val2014/COCO_val2014_000000000042.jpg").touch()
    output = tmp_path / "f.hdf5"
    good = findings(run_cli(*EXTRACT, "--image-root", str(images), "--output-path", str(output), "--json"), 0)
    assert good["empty image files"]["listed"] == [str(images / "val2014/COCO_val2014_000000000042.jpg")]
    output.touch()
    bad = findings(run_cli(*EXTRACT, "--image-root", str(images), "--output-path", str(output), "--json"), 2)
    assert "--resume" in bad["output"]["remedy"]
    assert len([row for row in bad.values() if "exists already" in row["found"]]) == 1


def test_every_option_that_says_what_to_extract_is_an_option_of_its_preflight_too():
    from fsgr_tui.cli import extract, preflight

    own = {param.name for param in extract.command.params}
    prepared = {param.name for param in preflight.command.commands["extract"].params}
    assert own - prepared == {"dry_run", "detach", "runs_on", "profile", "shards"}


@pytest.mark.parametrize("words", [(), ("extract",), ("train",)])
def test_help_names_the_exit_codes_and_examples(words):
    done = run_cli("preflight", *words, "--help")
    assert (done.returncode, "Usage: fsgr-tui preflight" in done.stdout, "Exit codes:" in done.stdout) == (
        0,
        True,
        True,
    )
    assert "Examples:" in done.stdout or not words


def test_a_mistyped_option_is_a_bad_request_and_starts_nothing(own_runs):
    done = run_cli("preflight", "extract", "--image-rot", "x")
    assert (done.returncode, "Traceback" in done.stderr, list(own_runs.iterdir())) == (2, False, [])


# -- training with the built-in captioner ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def features(demo_root, tmp_path_factory) -> Path:
    return build_file(tmp_path_factory.mktemp("features") / "f.hdf5", annotated_ids(demo_root))


@pytest.mark.torch
def test_features_that_lack_images_are_listed_with_every_missing_id(demo_root, tmp_path):
    ids = annotated_ids(demo_root)
    path = build_file(tmp_path / "f.hdf5", ids[:-3])
    done = run_cli(
        "preflight",
        "train",
        "--features-path",
        str(path),
        "--annotation-folder",
        str(demo_root / "m2_annotations"),
        "--json",
    )
    row = findings(done, 1)[f"features of all images in {path}"]
    assert row["listed"] == [str(number) for number in ids[-3:]]
    assert "--split karpathy" in row["remedy"]


@pytest.mark.torch
def test_a_sound_training_exits_0(demo_root, features):
    done = run_cli(
        "preflight", "train", "--features-path", str(features), "--annotation-folder", str(demo_root / "m2_annotations")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Wrapped where the path before it is long.
    assert "all 36 there" in " ".join(done.stdout.split())


@pytest.mark.torch
def test_captions_of_another_kind_than_m2s_folder_are_read_as_the_captioner_reads_them(demo_root, features, tmp_path):
    ids = annotated_ids(demo_root)
    images = [
        {"cocoid": number, "imgid": place, "split": "train" if place % 3 else "val", "filename": f"{number}.jpg",
         "sentences": [{"raw": "a cat", "tokens": ["a", "cat"], "sentid": place}], "sentids": [place]}
        for place, number in enumerate([*ids[:-1], 10**9])
    ]  # fmt: skip
    path = tmp_path / "dataset_coco.json"
    path.write_text(json.dumps({"images": images, "dataset": "coco"}))
    rows = findings(
        run_cli("preflight", "train", "--features-path", str(features), "--annotation-folder", str(path), "--json"), 1
    )
    assert rows[f"captions {path}"]["verdict"] == "ok"
    assert rows[f"features of all images in {features}"]["listed"] == ["1000000000"]


@pytest.mark.torch
def test_each_id_file_that_holds_the_wrong_ids_is_told_for_itself(demo_root, features, tmp_path):
    folder = tmp_path / "m2"
    shutil.copytree(demo_root / "m2_annotations", folder)
    np.save(folder / "coco_train_ids.npy", np.array(annotated_ids(demo_root)[:5]))
    np.save(folder / "coco_dev_ids.npy", np.array([10**9, 10**9 + 1]))
    np.save(folder / "coco_test_ids.npy", np.array([0.5]))
    (folder / "coco_restval_ids.npy").unlink()
    rows = findings(
        run_cli("preflight", "train", "--features-path", str(features), "--annotation-folder", str(folder), "--json"), 1
    )
    assert "image ids" in rows[str(folder / "coco_train_ids.npy")]["found"]
    assert "1000000000" in rows[str(folder / "coco_dev_ids.npy")]["found"]
    assert "float64" in rows[str(folder / "coco_test_ids.npy")]["found"]
    assert rows[str(folder / "coco_restval_ids.npy")]["found"] == "not there"


def test_an_unknown_flag_of_the_built_in_captioner_is_a_bad_request(demo_root):
    done = run_cli(
        "preflight",
        "train",
        "--annotation-folder",
        str(demo_root / "m2_annotations"),
        "--features-path",
        "f.hdf5",
        "--new-flag",
        "1",
    )
    assert (done.returncode, "--new-flag" in done.stderr) == (2, True)


# -- training with a lab's checkout, through the command line -----------------------------------------------------------------


@pytest.fixture
def lab(tmp_path, demo_root, features) -> dict[str, Path]:
    return {
        "repo": write_checkout(tmp_path / "FSGR"),
        "python": write_python(
            tmp_path / "python", packages={"torch": "1.13.1", "h5py": "3.8.0", "spacy": "3.5.1", "en_core_web_sm": "3.5.0"},
            torch={"torch": "1.13.1", "cuda": "11.7", "gpus": 1},
        ),
        "java": write_program(tmp_path / "bin/java", "echo 'openjdk version \"17.0.1\"' >&2"),
        "embeddings": save_tensor(tmp_path / "emb.pth", (4585, 512)),
        "clip": save_tensor(tmp_path / "clip.pt", (3, 3), wrapped="conv1.weight"),
        "features": features,
        "annotations": demo_root / "m2_annotations",
    }  # fmt: skip


def lab_words(lab: dict[str, Path]) -> list[str]:
    return [
        "preflight", "train", "--repo", str(lab["repo"]), "--python", str(lab["python"]), "--text", "--exp_name", "a",
        "--features_path", str(lab["features"]), "--annotation_folder", str(lab["annotations"]), "--text_embed_path", str(lab["embeddings"]),
        "--pre_vs_path", str(lab["clip"]), "--head", "8", "--json",
    ]  # fmt: skip


def run_lab(lab: dict[str, Path], *more: str, **env: str):
    return run_cli(*lab_words(lab), *more, env={"PATH": f"{lab['java'].parent}:{os.environ['PATH']}", **env})


def stops(rows: dict[str, dict]) -> set[str]:
    return {what for what, row in rows.items() if row["verdict"] == "stop"} - {"GPU", "PyTorch and the GPU"}


def test_a_sound_checkout_is_stopped_by_nothing_but_a_missing_gpu(lab):
    done = run_lab(lab)
    rows = findings(done, done.returncode)
    assert done.returncode in (0, 3)
    assert stops(rows) == set()
    assert rows["flags"]["found"].endswith("all known to train_transformer.py (26 flags)")


def test_the_guides_flag_that_the_script_lacks_stops(lab):
    rows = findings(run_lab(lab, "--use_hdf5_features", "--return_index"), 2)
    assert stops(rows) == {"flag --use_hdf5_features", "--return_index"}


def test_embeddings_in_a_dict_or_too_few_of_them_stop(lab):
    save_tensor(lab["embeddings"], (80, 512), wrapped="embeddings")
    assert (
        "a dict with embeddings"
        in findings(run_lab(lab), findings_code(lab))[f"text embeddings {lab['embeddings']}"]["found"]
    )
    save_tensor(lab["embeddings"], (10, 512))
    assert stops(findings(run_lab(lab), findings_code(lab))) == {f"text embeddings {lab['embeddings']}"}


def findings_code(lab: dict[str, Path]) -> int:
    """Bad data alone exit 1; where no GPU is here, that counts first."""
    return run_lab(lab).returncode


def test_without_java_the_training_is_not_started(lab):
    write_program(lab["java"], "echo 'Error: could not find libjava.so' >&2; exit 1")
    rows = findings(run_lab(lab), 3)
    assert stops(rows) == {"Java"}
    assert "exit 1" in rows["Java"]["found"]


def test_the_java_of_the_labs_own_environment_is_asked(lab, tmp_path):
    environment = tmp_path / "envs/fsgr"
    python = write_program(environment / "bin/python", lab["python"].read_text().removeprefix("#!/bin/sh\n"))
    (environment / "conda-meta").mkdir()
    java = write_program(environment / "bin/java", "echo 'openjdk version \"11.0.9\"' >&2")
    rows = findings(run_lab(lab, "--python", str(python)), findings_code(lab))
    assert rows["Java"]["found"] == f"11.0.9 at {java}"


def test_a_default_of_the_script_that_this_run_does_not_use_stops_nothing(lab):
    script = script_text().replace(
        "'--labels_path', type=str", "'--labels_path', type=str, default='labels.hdf5'"
    ).replace("'--text_embed_path', type=str", "'--text_embed_path', type=str, default='embeddings.pth'")  # fmt: skip
    write_checkout(lab["repo"], script=script)
    plain = report_of(lab)
    assert [row.what for row in plain.stops] == []
    used = report_of(
        lab, FITTING, GivenFlag("--text"), GivenFlag("--return_index"), GivenFlag("--labels-path", ("l.hdf5",))
    )
    assert {row.what for row in used.stops} == {"patch labels l.hdf5", "text embeddings embeddings.pth"}


def test_an_italian_java_and_a_blank_in_the_path_are_warnings(lab, tmp_path):
    lab["repo"] = write_checkout(tmp_path / "my run")
    rows = findings(run_lab(lab, LC_ALL="it_IT.UTF-8"), findings_code(lab))
    assert rows["Java's numbers"]["verdict"] == rows["blanks in paths"]["verdict"] == "warn"


def test_a_missing_spacy_model_stops_before_the_gpu_is_used(lab):
    write_checkout(lab["repo"], script=script_text(head="import spacy\nspacy.load('en')"))
    write_python(
        lab["python"],
        packages={"torch": "1.13.1", "h5py": "3.8.0", "spacy": "3.5.1"},
        torch={"torch": "1.13.1", "cuda": "11.7", "gpus": 1},
    )
    rows = findings(run_lab(lab), 3)
    assert stops(rows) == {"spaCy's short name", "spaCy's en_core_web_sm"}


def test_features_of_49_tokens_do_not_fit_a_checkout_with_14x14_in_it(lab):
    write_checkout(lab["repo"], grid=True)
    rows = findings(run_lab(lab), findings_code(lab))
    assert stops(rows) == {"grid"}
    assert rows["grid"]["listed"] == ["models/net.py:3: x.view(x.shape[0], 14, 14, -1)"]


def test_a_checkout_that_reads_no_hdf5_says_so(lab):
    (lab["repo"] / "data/field.py").write_text("class ImageDetectionsField:\n    pass\n")
    assert "reading HDF5" in stops(findings(run_lab(lab), findings_code(lab)))


def test_a_comment_after_a_backslash_is_found_in_a_pasted_command_and_in_what_the_shell_left_of_it(lab, tmp_path):
    words = " ".join(lab_words(lab)[2:-1])
    (tmp_path / "train.sh").write_text(f"python train_transformer.py {words} \\  # the head\n  --workers 1\n")
    rows = findings(run_cli("preflight", "train", "--pasted", str(tmp_path / "train.sh"), "--json"), 2)
    assert "a comment after the backslash" in rows["pasted command, line 1"]["found"]
    assert rows["loader workers"]["needed"] == "1"
    assert "it was cut off" in findings(run_lab(lab, " "), 2)["command"]["found"]


@pytest.mark.parametrize(("source", "words"), [("none.sh", "cannot be read"), ("", "was given no file")])
def test_a_pasted_file_that_is_not_there_is_a_bad_request(lab, source, words):
    done = run_cli("preflight", "train", "--repo", str(lab["repo"]), "--pasted", *([source] if source else []))
    assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (2, True, False)


def test_without_a_checkout_what_can_be_looked_at_is_looked_at(lab, tmp_path):
    lab["repo"] = tmp_path / "nowhere"
    save_tensor(lab["embeddings"], (10, 512))
    rows = findings(run_lab(lab), 2)
    assert "There is no checkout" in rows["command"]["found"]
    assert f"text embeddings {lab['embeddings']}" in stops(rows)


def test_an_image_folder_that_is_not_there_is_named(lab, tmp_path):
    lab["features"] = tmp_path / "images"
    assert f"images {tmp_path / 'images'}" in stops(findings(run_lab(lab), 2))


def test_a_vocabulary_of_another_run_than_the_checkpoint_stops(lab, tmp_path):
    save_vocabulary(tmp_path / "vocab.pkl", 100)
    save_tensor(tmp_path / "last.pth", (99, 512), wrapped="decoder.word_emb.weight")
    rows = findings(
        run_lab(lab, "--vocabulary", str(tmp_path / "vocab.pkl"), "--checkpoint", str(tmp_path / "last.pth")),
        findings_code(lab),
    )
    assert "100 words" in rows["vocabulary"]["found"]
    assert "99 rows" in rows["vocabulary"]["found"]
    assert "vocabulary" in stops(rows)


def test_the_text_for_people_fits_80_columns_and_ends_with_a_count(lab):
    done = run_cli(
        *[word for word in lab_words(lab) if word != "--json"],
        "--use_hdf5_features",
        env={"COLUMNS": "80", "NO_COLOR": "1"},
    )
    assert done.returncode == 2
    assert done.stdout.splitlines()[0] == "STOP  flag --use_hdf5_features"
    assert "would stop or spoil it" in done.stdout.splitlines()[-1]


# -- the service, with a machine of the test's own ------------------------------------------------------------------------------

GPU = Gpu(0, "GPU-a", "A100", 40 * GIB, 30 * GIB, 10 * GIB, 0, 0)
FITTING = Probes(
    gpus=lambda: GpuReport("ok", (GPU,), "550"),
    disk=lambda path: Disk(
        str(path), "/", "ext4", "/dev/vda", 1000 * GB, 500 * GB, Unknown("not checked"), 10**6, True
    ),
    host=lambda: Host("node", "Linux 6", "3.11", "EPYC", CpuBudget(8, "host", 8), Unknown("not asked")),
    java=lambda: Java("/usr/bin/java", "17.0.1", "en"),
    login=lambda: LoginSession(False, False, True, "loginctl"),
    interpreter=lambda path, modules: Interpreter(
        path, "3.8.19", dict.fromkeys(modules, "1"), (), TorchBuild("1.13.1", "11.7", 1)
    ),
    weights=lambda model, tag: CachedWeights(model, tag, True, "/cache/x", "/cache", "timm/x"),
)


def warned(report: PreflightReport) -> list[str]:
    """Without the notes about the test's tiny features from random weights."""
    return [row.what for row in report.warnings if not row.what.startswith("features ")]


def report_of(lab, probes: Probes = FITTING, *given: GivenFlag) -> PreflightReport:
    flags = (
        GivenFlag("--features_path", (str(lab["features"]),)), GivenFlag("--annotation_folder", (str(lab["annotations"]),)),
        GivenFlag("--pre_vs_path", (str(lab["clip"]),)), *given,
    )  # fmt: skip
    return preflight_lab(LabRequest(repo=str(lab["repo"]), given=flags), probes)


def test_on_a_machine_that_fits_nothing_speaks_against_the_labs_training(lab):
    report = report_of(lab, FITTING, GivenFlag("--batch_size", ("64",)), GivenFlag("--workers", ("4",)))
    assert ([row.found for row in report.stops], warned(report)) == ([], [])
    assert report.exit_code == 0


def test_a_batch_that_does_not_fit_the_gpu_gets_one_that_does(lab):
    report = report_of(lab, FITTING, GivenFlag("--batch_size", ("4000",)))
    (stop,) = report.stops
    assert (stop.what, report.exit_code) == ("GPU memory, GPU 0", 3)
    assert "--batch_size" in stop.remedy


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"gpus": lambda: GpuReport("driver_mismatch", message="reboot or reload the module")}, "GPU"),
        ({"gpus": lambda: GpuReport("error", message="the NVIDIA driver gave no answer within 3 s")}, "GPU"),
        ({"java": lambda: Java("", Unknown("not on PATH"), Unknown("no Java"))}, "Java"),
    ],
)
def test_a_machine_that_cannot_exits_3(lab, change, what):
    report = report_of(lab, FITTING._replace(**change))
    assert ([row.what for row in report.stops], report.exit_code) == ([what], 3)


def test_a_full_disk_stops_the_checkpoints_and_a_log_out_is_warned_of(lab):
    full = FITTING.disk(Path("x"))
    report = report_of(
        lab,
        FITTING._replace(
            disk=lambda path: msgspec.structs.replace(full, free_bytes=GB),
            login=lambda: LoginSession(True, False, True, "loginctl"),
        ),
    )
    assert [row.what for row in report.stops] == ["space for checkpoints"]
    assert warned(report) == ["log-out"]


def test_patch_labels_are_held_against_the_rows_of_the_embeddings(lab, tmp_path, demo_root):
    import h5py

    path = tmp_path / "labels.hdf5"
    with h5py.File(path, "w") as file:
        for number in annotated_ids(demo_root):
            file[f"{number}_labels"] = np.full(196, 80, np.int64)
    save_tensor(lab["embeddings"], (80, 512))
    given = (
        GivenFlag("--text"),
        GivenFlag("--return_index"),
        GivenFlag("--labels_path", (str(path),)),
        GivenFlag("--text_embed_path", (str(lab["embeddings"]),)),
    )
    report = report_of(lab, FITTING, *given)
    assert [row.found for row in report.stops] == ["80 x 512 float32; the patch labels go up to 80"]
