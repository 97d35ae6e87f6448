"""The command line as users and scripts meet it: what it prints, its exit codes, its speed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import build_file, run_cli

SMALL = ("--clip-model", "fsgr-demo-16", "--weights", "random:0")


@pytest.fixture
def images(tmp_path) -> Path:
    """An image root with a thousand empty files that bear COCO's names: enough for everything that opens none."""
    folder = tmp_path / "images" / "train2014"
    folder.mkdir(parents=True)
    for number in range(1000):
        (folder / f"COCO_train2014_{number:012d}.jpg").touch()
    return tmp_path / "images"


def test_a_plan_is_printed_for_people_for_programs_and_as_markdown(images, tmp_path):
    asked = ("--plan", "--image-root", str(images), "--features-dir", str(tmp_path))
    plain, document, page = (run_cli(*asked, *more) for more in ((), ("--json",), ("--markdown",)))
    assert (plain.returncode, document.returncode, page.returncode) == (0, 0, 0)
    plan = json.loads(document.stdout)
    assert plan["schema"] == "fsgr-tui/plan/1"
    mode = plan["recommendation"]["mode"]
    assert mode.upper() in plain.stdout
    assert page.stdout.startswith(f"# Plan: {mode}")
    for row in plan["recommendation"]["criteria"]:
        assert row["name"] in plain.stdout
        assert row["name"] in page.stdout


def test_the_plans_json_keeps_the_promised_keys(images):
    plan = json.loads(run_cli("plan", "--image-root", str(images), "--json").stdout)
    assert {
        "schema",
        "machine",
        "dataset",
        "intent",
        "recommendation",
        "ladder",
        "storage",
        "time",
        "memory",
        "guide",
        "commands",
    } <= plan.keys()
    assert {"mode", "confidence", "choice", "criteria", "flips", "warnings"} <= plan["recommendation"].keys()
    assert {"clip_model", "grid", "dtype", "splits", "feature_bytes"} <= plan["recommendation"]["choice"].keys()
    assert {"name", "observed", "threshold", "vote", "weight", "why"} <= plan["recommendation"]["criteria"][0].keys()
    assert {"gpus", "disks", "host"} <= plan["machine"].keys()
    assert {"certainty", "cache", "thresholds"} <= plan["recommendation"].keys()
    assert [way["name"] for way in plan["ways"]] == ["realtime", "precomputed", "pixels"]
    assert {"staged", "models", "simulated", "calibrated"} <= plan.keys()
    assert {"items", "filesystems"} <= plan["storage"].keys()
    assert {"what", "guide", "computed", "measured", "note"} <= plan["guide"][0].keys()
    assert {"low", "likely", "high", "unit", "basis"} == plan["time"]["extraction"].keys()


WHAT_IF = ("plan", "--gpu", "RTX 3090", "--disk-free", "80GB", "--dataset", "karpathy")


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """Counts of tests are remembered in a folder of their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_simulated_machine_is_called_so_on_every_face(tmp_path):
    plain, document, page = (run_cli(*WHAT_IF, *more, cwd=tmp_path) for more in ((), ("--json",), ("--markdown",)))
    plan = json.loads(document.stdout)
    assert len(plan["simulated"]) == 3
    assert plan["machine"]["gpu_report"]["gpus"][0]["name"] == "NVIDIA RTX 3090"
    for line in plan["simulated"]:
        assert f"SIMULATED, not this machine: {line}" in plain.stdout
        assert line in page.stdout
    assert json.loads(run_cli("plan", "--json", cwd=tmp_path).stdout)["simulated"] == []


def test_80_gb_and_a_3090_store_196_tokens_beside_the_images_when_asked(tmp_path):
    plan = json.loads(run_cli(*WHAT_IF, "--experiments", "20", "--grid", "native", "--json", cwd=tmp_path).stdout)
    choice = plan["recommendation"]["choice"]
    assert (plan["recommendation"]["mode"], choice["feature_bytes"]) == ("precomputed", 37_116_291_072)


def test_choices_stand_side_by_side_on_every_face(tmp_path):
    asked = (*WHAT_IF, "--models", "ViT-B/16,ViT-L/14", "--compare")
    plain, document, page = (run_cli(*asked, *more, cwd=tmp_path) for more in ((), ("--json",), ("--markdown",)))
    made = json.loads(document.stdout)
    assert made["schema"] == "fsgr-tui/comparison/1"
    for row in made["alternatives"]:
        assert row["row"] in plain.stdout
        assert row["row"] in page.stdout
    assert {row["clip_model"] for row in made["alternatives"]} == {"ViT-B-16", "ViT-L-14"}


def test_a_plan_is_saved_as_toml_that_reads_back(tmp_path):
    from fsgr_tui.core import planfile

    done = run_cli(*WHAT_IF, "--staged", "--out", "plan.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    steps = planfile.read((tmp_path / "plan.toml").read_text()).steps
    assert [step.name for step in steps] == ["first-look", "extract", "check", "train"]
    assert [path.name for path in tmp_path.iterdir()] == ["plan.toml"]


def test_a_saved_step_is_a_command_that_this_program_understands(images, tmp_path):
    from fsgr_tui.core import planfile

    asked = ("--image-root", str(images), "--split", "train2014", *SMALL, "--out", "plan.toml")
    run_cli("plan", *asked, cwd=tmp_path)
    extract = planfile.read((tmp_path / "plan.toml").read_text()).steps[0].argv
    assert extract[0] == "fsgr-tui"
    done = run_cli(*extract[1:], "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1,000 images" in done.stderr


@pytest.mark.usefixtures("own_cache")
def test_a_count_is_remembered_until_a_recount_or_a_change(images):
    folder = images / "train2014"
    hour_ago = time.time() - 3600
    os.utime(folder, (hour_ago, hour_ago))
    asked = ("plan", "--image-root", str(images), "--split", "train2014", "--json")

    def counted(*more: str) -> tuple[int, bool]:
        split = json.loads(run_cli(*asked, *more).stdout)["dataset"]["splits"][0]
        return split["found"], split["remembered"]

    assert counted() == (1000, False)
    assert counted() == (1000, True)
    assert counted("--recount") == (1000, False)
    (folder / "COCO_train2014_000000009999.jpg").touch()
    assert counted() == (1001, False)


def test_a_plan_takes_less_than_four_tenths_of_a_second_of_the_processor(tmp_path):
    def processor_s() -> float:
        before = os.times()
        assert run_cli("--plan", cwd=tmp_path).returncode == 0
        after = os.times()
        return after.children_user - before.children_user + after.children_system - before.children_system

    assert min(processor_s() for _ in range(3)) < 0.4


def test_what_was_measured_here_replaces_guesses_but_not_for_another_gpu(tmp_path, monkeypatch):
    from fsgr_tui.core import jsontext
    from fsgr_tui.core.calibration import machine_words
    from fsgr_tui.core.timing import best_gpu
    from fsgr_tui.service.planning import probe_machine
    from tests.fakes.planning import calibration

    here = probe_machine((str(tmp_path),))
    gpu = best_gpu(here)
    kept = calibration(machine=machine_words(here.host), device="cpu" if gpu is None else gpu.name)
    monkeypatch.setenv("FSGR_TUI_STATE", str(tmp_path / "state"))
    (tmp_path / "state" / "calibrations").mkdir(parents=True)
    (tmp_path / "state" / "calibrations" / "one.json").write_bytes(jsontext.encode(kept))
    plain = run_cli("plan", cwd=tmp_path).stdout
    assert "All times were measured here." in plain
    plan = json.loads(run_cli("plan", "--json", cwd=tmp_path).stdout)
    assert plan["time"]["extraction"]["basis"] == "measured"
    assert next(row for row in plan["guide"] if row["what"] == "speed-up")["measured"] == "5.0x"
    other = json.loads(run_cli(*WHAT_IF, "--json", cwd=tmp_path).stdout)
    assert other["calibrated"] == ""


def test_the_exact_bytes_of_the_karpathy_split_are_planned_without_images(tmp_path):
    plan = json.loads(run_cli("plan", "--split", "karpathy", "--dtype", "float32", "--json", cwd=tmp_path).stdout)
    rungs = {(rung["grid"], rung["dtype"], tuple(rung["splits"])): rung["feature_bytes"] for rung in plan["ladder"]}
    both = ("train2014", "val2014")
    assert rungs["native", "float32", both] == 74_232_582_144
    assert rungs["7x7", "float32", both] == 18_558_145_536


def test_a_report_is_written_whole(images, tmp_path):
    done = run_cli("plan", "--image-root", str(images), "--out", str(tmp_path / "plan.json"))
    assert done.returncode == 0
    assert json.loads((tmp_path / "plan.json").read_text())["schema"] == "fsgr-tui/plan/1"
    refused = run_cli("plan", "--image-root", str(images), "--out", str(tmp_path / "no/such/plan.json"))
    assert refused.returncode == 3
    assert "cannot be written" in refused.stderr


def test_planning_a_folder_of_a_thousand_images_is_quick_and_imports_no_torch(images):
    code = (
        "import sys; from fsgr_tui.cli.app import run; run(['--plan', '--image-root', sys.argv[1]]);"
        "print(sorted(set(sys.modules) & {'torch', 'open_clip', 'h5py', 'textual', 'PIL', 'numpy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(images)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_escape_is_sent_to_a_pipe(images):
    for argv in (("--plan", "--image-root", str(images)), ("--help",), ("doctor",), ("jobs",)):
        done = run_cli(*argv, env={"FORCE_COLOR": "1"})
        assert "\x1b" not in done.stdout + done.stderr


def test_output_in_a_latin_1_locale_loses_nothing_and_does_not_fail(tmp_path):
    folder = tmp_path / "图片" / "train2014"
    folder.mkdir(parents=True)
    (folder / "COCO_train2014_000000000009.jpg").touch()
    asked = ("plan", "--image-root", str(folder.parent))
    plain = run_cli(*asked, env={"LC_ALL": "C", "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"})
    assert plain.returncode == 0
    # Depending on how the locale decodes file names, the character or its bytes are escaped.
    assert "\\u56fe" in plain.stdout or "\\xe5\\x9b\\xbe" in plain.stdout
    document = subprocess.run(
        [sys.executable, "-m", "fsgr_tui", *asked, "--json"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        check=True,
    )
    assert json.loads(document.stdout.decode("utf-8"))["dataset"]["root"] == str(folder.parent)


def test_a_file_name_that_is_no_utf8_is_planned_and_listed(tmp_path):
    folder = os.fsencode(tmp_path / "images" / "train2014")
    os.makedirs(folder)
    for name in (b"caf\xe9_1.jpg", "图片_2.jpg".encode()):
        open(os.path.join(folder, name), "wb").close()
    done = run_cli("plan", "--image-root", str(tmp_path / "images"), "--json", env={"LC_ALL": "C"})
    assert json.loads(done.stdout)["dataset"]["splits"][0]["found"] == 2


def test_sidecar_files_are_ignored_and_counted(tmp_path):
    folder = tmp_path / "images" / "train2014"
    folder.mkdir(parents=True)
    for name in ("000000000042.jpg", "._000000000042.jpg", ".DS_Store", "Thumbs.db"):
        (folder / name).write_bytes(b"x")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._a.jpg").write_bytes(b"x")
    split = json.loads(run_cli("plan", "--image-root", str(tmp_path / "images"), "--json").stdout)["dataset"]["splits"][
        0
    ]
    assert (split["found"], split["ignored"]) == (1, 4)


# What is asked, the exit code, and words that the message must hold. {root} has train2014 with 1000 names.
BAD_REQUESTS = [
    (("plan", "--image-root", "/no/such"), 2, ["/no/such", "--image-root"]),
    (("plan", "--image-root", "{file}"), 2, ["is a file"]),
    (("plan", "--clip-model", "ViT-B/17"), 2, ["ViT-B/17", "ViT-B-16"]),
    (("plan", "--clip-model", "ViT-B/32", "--grid", "8x8"), 2, ["7x7 tokens", "--grid native"]),
    (("plan", "--split", "train2O14"), 2, ["train2O14"]),
    (("plan", "--epochs", "0"), 2, ["--epochs"]),
    (("plan", "--gpu", "RTX 3900"), 2, ["RTX 3900", "Did you mean RTX 3090"]),
    (("plan", "--vram", "much"), 2, ["--vram", "much", "80GB"]),
    (("plan", "--disk-free", "80QB"), 2, ["--disk-free", "80QB"]),
    (("plan", "--dataset", "coco2O14"), 2, ["coco2O14", "Did you mean coco2014"]),
    (("plan", "--dataset", "karpathy", "--image-root", "{root}"), 2, ["--dataset karpathy", "--image-root"]),
    (("plan", "--models", "ViT-B/16,ViT-B-16"), 2, ["--models", "twice"]),
    (("plan", "--models", "ViT-B/16,ViT-B/17"), 2, ["ViT-B/17", "ViT-B-16"]),
    (("plan", "--out", "{out}.txt"), 2, [".txt", ".toml"]),
    (("plan", "--compare", "--out", "{out}.toml"), 2, ["no steps"]),
    (("extract", "--image-root", "{root}", "--split", "train2014"), 2, ["--output-path"]),
    (("extract", "--image-root", "{root}", "--output-path", "{out}.hdf5", *SMALL), 2, ["--split"]),
    (
        ("extract", "--image-root", "/no/such", "--split", "train2014", "--output-path", "{out}.hdf5", *SMALL),
        2,
        ["/no/such"],
    ),
    (
        ("extract", "--image-root", "{root}", "--split", "trian2014", "--output-path", "{out}.hdf5", *SMALL),
        2,
        ["trian2014", "Did you mean train2014"],
    ),
    (
        ("extract", "--image-root", "{empty}", "--split", "val2014", "--output-path", "{out}.hdf5", *SMALL),
        2,
        ["no images in"],
    ),
    (("extract", "--image-root", "{root}", "--split", "train2014", "--output-path", "{out}.npz", *SMALL), 2, [".hdf5"]),
    (
        (
            "extract",
            "--image-root",
            "{root}",
            "--split",
            "train2014",
            "--output-path",
            "{out}.hdf5",
            "--clip-model",
            "ViT-B-61",
        ),
        2,
        ["ViT-B-61", "ViT-B-16"],
    ),
    (
        (
            "extract",
            "--image-root",
            "{root}",
            "--split",
            "train2014",
            "--output-path",
            "{out}.hdf5",
            "--weights",
            "/no/w.pt",
        ),
        3,
        ["/no/w.pt"],
    ),
    (
        (
            "extract",
            "--image-root",
            "{root}",
            "--split",
            "train2014",
            "--output-path",
            "{out}.hdf5",
            "--weights",
            "{root}",
        ),
        2,
        ["is a folder"],
    ),
    (
        (
            "extract",
            "--image-root",
            "{root}",
            "--split",
            "train2014",
            "--output-path",
            "{out}.hdf5",
            "--weights",
            "random:x",
        ),
        2,
        ["random:0"],
    ),
    (
        ("extract", "--image-root", "{root}", "--split", "train2014", "--output-path", "{done}", *SMALL),
        2,
        ["exists already", "--overwrite"],
    ),
    (("extract", "--image-root", "{root}", "--split", "train2014", "--output-path", "{root}", *SMALL), 2, [".hdf5"]),
    (
        ("extract", "--image-root", "{root}", "--split", "train2014", "--output-path", "/proc/x/f.hdf5", *SMALL),
        3,
        ["not writable"],
    ),
    (
        ("extract", "--image-root", "{odd}", "--split", "train2014", "--output-path", "{out}.hdf5", *SMALL),
        2,
        ["cover.jpg", "--id-pattern", "last underscore"],
    ),
    (
        ("extract", "--image-root", "{twice}", "--split", "train2014", "--output-path", "{out}.hdf5", *SMALL),
        2,
        ["image id 9", "000000000009.jpg"],
    ),
    (("check", "/no/such.hdf5"), 2, ["/no/such.hdf5"]),
    (("check", "{done}", "--annotations", "/no/captions"), 2, ["/no/captions"]),
    (("check", "{done}", "--recompute", "3"), 2, ["--image-root"]),
    (("check", "{done}", "--split", "karpathy"), 2, ["--split", "--image-root"]),
    (("train", "--annotation-folder", "/no/such", "--features-path", "{done}"), 2, ["/no/such"]),
    (("train", "--annotation-folder", "{empty}", "--features-path", "{done}"), 2, ["captions_train2014.json"]),
    (("train", "--annotation-folder", "{empty}"), 2, ["--features-path"]),
    (("train", "--annotation-folder", "{empty}", "--features-path", "{done}", "--heads", "7"), 2, ["--heads 7"]),
    (("exract",), 2, ["Did you mean extract"]),
    (("stop", "nothing"), 2, ["nothing"]),
    (("logs", "nothing"), 2, ["nothing"]),
]


@pytest.fixture
def places(images, tmp_path) -> dict[str, str]:
    (tmp_path / "empty" / "val2014").mkdir(parents=True)
    for name, files in (
        ("odd", ["COCO_train2014_000000000009.jpg", "cover.jpg"]),
        ("twice", ["000000000009.jpg", "COCO_train2014_000000000009.jpg"]),
    ):
        (tmp_path / name / "train2014").mkdir(parents=True)
        for file in files:
            (tmp_path / name / "train2014" / file).touch()
    (tmp_path / "file").touch()
    build_file(tmp_path / "done.hdf5", range(1000))
    return {
        "root": str(images), "empty": str(tmp_path / "empty"), "odd": str(tmp_path / "odd"), "twice": str(tmp_path / "twice"),
        "file": str(tmp_path / "file"), "out": str(tmp_path / "out"), "done": str(tmp_path / "done.hdf5"),
    }  # fmt: skip


def test_bad_requests_get_one_message_that_names_the_thing_and_the_remedy(places, own_runs):
    wrong = []
    for argv, code, words in BAD_REQUESTS:
        done = run_cli(*(word.format(**places) for word in argv))
        said = done.stderr + done.stdout
        if done.returncode != code or "Traceback" in said or any(word not in said for word in words):
            wrong.append((argv, done.returncode, said))
    assert not wrong
    # Nothing was started, and nothing was lost.
    assert list(own_runs.iterdir()) == []
    assert Path(places["done"]).exists()
    assert not Path(places["out"] + ".hdf5").exists()


def test_too_little_space_is_refused_before_work_with_need_and_free(images):
    """A file system of one megabyte that the test mounts itself; only root can."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    target = images.parent / "small"
    target.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(target)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mount is not allowed here: {mounted.stderr.decode().strip()}")
    try:
        done = run_cli(
            "extract", "--image-root", str(images), "--split", "train2014", "--output-path", f"{target}/f.hdf5", *SMALL
        )
        assert done.returncode == 3
        assert re.search(r"Not enough space .* are needed, .* are free", done.stderr)
        assert list(target.iterdir()) == []
    finally:
        subprocess.run(["umount", str(target)], check=True)


def test_a_command_without_the_extra_says_which_to_install(images, tmp_path):
    """Hides torch by a finder that refuses it, as on a machine with the base install."""
    code = (
        "import importlib.util, sys\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name in {'torch', 'open_clip', 'torchvision', 'PIL'} else real(name, *rest)\n"
        "from fsgr_tui.cli.app import run\n"
        "sys.exit(run(sys.argv[1:]))"
    )
    for argv in (
        [
            "extract",
            "--image-root",
            str(images),
            "--split",
            "train2014",
            "--output-path",
            str(tmp_path / "f.hdf5"),
            *SMALL,
        ],
        ["demo", "--dir", str(tmp_path / "demo")],
        ["train", "--annotation-folder", str(tmp_path), "--features-path", "x.hdf5"],
    ):
        done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=False)
        assert done.returncode == 3
        assert "pip install 'fsgr-tui[extract]'" in done.stderr


def test_flags_of_the_labs_script_are_taken_with_underscores(images, tmp_path):
    done = run_cli(
        "extract", "--image_root", str(images), "--split", "train2014", "--output_path", str(tmp_path / "f.hdf5"), "--clip_model", "fsgr-demo-16",
        "--weights", "random:0", "--batch_size", "64", "--dry_run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "dry run" in done.stderr
    assert not (tmp_path / "f.hdf5").exists()


@pytest.mark.torch
def test_the_guides_training_line_is_understood_and_what_is_left_out_is_said(demo_root, demo_features, tmp_path):
    done = run_cli(
        "train", "--text", "--exp_name", "fsgr_precomputed", "--batch_size", "150", "--workers", "4", "--return_index",
        "--features_path", str(demo_features), "--annotation_folder", str(demo_root / "m2_annotations"),
        "--text_embed_path", "MaskCLIP/pretrain/ram_ViT16_clip_text.pth", "--use_hdf5_features", "--head", "8",
        "--adapter_b", "6", "--adapter_e", "11", "--d-model", "64", "--output", str(tmp_path), "--dry-run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for flag in ("--adapter-b", "--text-embed-path", "--return-index"):
        assert flag in done.stderr
    assert "36 annotated images, all of them there" in done.stderr


@pytest.mark.torch
def test_training_on_a_file_that_lacks_images_is_refused_with_their_ids(demo_root, tmp_path):
    from fsgr_tui.probes.dataset import list_images

    ids = sorted(
        int(image.name.rpartition("_")[2][:-4])
        for split in ("train2014", "val2014")
        for image in list_images(demo_root / "images" / split)
    )
    path = build_file(tmp_path / "short.hdf5", ids[3:])
    done = run_cli(
        "train",
        "--features-path",
        str(path),
        "--annotation-folder",
        str(demo_root / "m2_annotations"),
        "--output",
        str(tmp_path),
    )
    assert done.returncode == 1
    assert f"{ids[0]}, {ids[1]}, {ids[2]}" in done.stderr


@pytest.mark.torch
def test_a_detached_job_is_listed_followed_and_its_log_shown(demo_root, tmp_path):
    done = run_cli(
        "extract",
        "--image-root",
        str(demo_root / "images"),
        "--split",
        "train2014",
        "--output-path",
        str(tmp_path / "f.hdf5"),
        *SMALL,
        "--detach",
    )
    name = done.stdout.strip()
    assert name.startswith("extract-")
    attached = run_cli("attach", name, "--json")
    assert json.loads(attached.stdout)["state"] == "done"
    assert name in run_cli("jobs").stdout
    listed = json.loads(run_cli("jobs", "--json").stdout)
    assert listed["jobs"][0]["name"] == name
    events = run_cli("logs", name, "--events").stdout.splitlines()
    assert json.loads(events[-1])["type"] == "result"


def test_completion_scripts_are_printed_and_complete_commands():
    for shell in ("bash", "zsh", "fish"):
        assert "fsgr_tui" in run_cli("completion", shell).stdout
    program = shutil.which("fsgr-tui", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    completed = subprocess.run(
        [program], env={**os.environ, "_FSGR_TUI_COMPLETE": "bash_complete", "COMP_WORDS": "fsgr-tui ex", "COMP_CWORD": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "extract" in completed.stdout


def test_the_doctor_tells_nothing_private(tmp_path):
    home = tmp_path / "home" / "secretname"
    home.mkdir(parents=True)
    done = run_cli("doctor", "--json", cwd=home, env={"HOME": str(home), "USER": "secretname", "LOGNAME": "secretname"})
    assert done.returncode == 0
    assert "secretname" not in done.stdout
    rows = {row["what"]: row["reading"] for row in json.loads(done.stdout)["rows"]}
    assert rows["h5py"][0].isdigit()


def test_a_reader_that_goes_away_is_no_error(images):
    process = subprocess.Popen(
        [sys.executable, "-m", "fsgr_tui", "plan", "--image-root", str(images)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    stderr = process.stderr.read()
    process.wait(timeout=30)
    assert b"Traceback" not in stderr
    assert b"BrokenPipe" not in stderr


def test_help_of_every_command_names_its_flags():
    for command in (
        "plan",
        "extract",
        "check",
        "train",
        "jobs",
        "logs",
        "attach",
        "stop",
        "demo",
        "doctor",
        "completion",
    ):
        began = time.monotonic()
        done = run_cli(command, "--help")
        assert done.returncode == 0
        assert "Usage: fsgr-tui" in done.stdout
        assert time.monotonic() - began < 5


def test_a_reader_that_goes_away_is_no_fault_of_the_file(demo_features):
    command = f"set -o pipefail; {sys.executable} -m fsgr_tui check {demo_features} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    # 141 is the shell's word for SIGPIPE; 1 would say that the file has faults. A quick writer gives 0.
    assert done.returncode in (0, 141)
    assert "Traceback" not in done.stderr


def test_an_output_that_takes_nothing_is_told_in_one_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fsgr_tui", "jobs", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr == "fsgr-tui: standard output cannot be written: No space left on device.\n"


def test_a_saved_plan_is_told_and_one_that_was_changed_by_hand_stays(tmp_path):
    first = run_cli("plan", "--dataset", "karpathy", "--disk-free", "80GB", "--out", "plan.toml", cwd=tmp_path)
    assert first.returncode == 0
    assert "Written to plan.toml." in first.stderr
    assert "fsgr-tui run plan.toml" in first.stderr
    with (tmp_path / "plan.toml").open("a") as file:
        file.write("# mine\n")
    again = run_cli("plan", "--dataset", "karpathy", "--disk-free", "80GB", "--out", "plan.toml", cwd=tmp_path)
    assert again.returncode == 2
    assert "plan.toml is there already" in again.stderr
    assert (tmp_path / "plan.toml").read_text().endswith("# mine\n")
