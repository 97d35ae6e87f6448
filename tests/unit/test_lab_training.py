"""The command for a lab's script: what is built, what is refused before anything starts, and with which Python."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.preflight import Finding, PreflightReport
from fsgr_tui.lab.model import read_model
from fsgr_tui.lab.pythons import find_pythons
from fsgr_tui.service import integration
from fsgr_tui.service.checkout_training import CheckoutRequest, PreparedCheckout, prepare, probes_of
from fsgr_tui.service.preflight import LOCAL
from tests.fakes.checkout import FIELD, MODELS, SCRIPT, write_checkout


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A working folder with features of 49 and of 196 tokens, images, and annotations."""
    for tokens in (49, 196):
        with h5py.File(tmp_path / f"t{tokens}.hdf5", "w") as file:
            file["9_grids"] = np.ones((tokens, 8), np.float16)
    (tmp_path / "images").mkdir()
    (tmp_path / "ann").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def nothing_found(_request) -> PreflightReport:
    return PreflightReport.of("train", [])


def prepared(root: Path, *words: str, examine=nothing_found, **asked) -> PreparedCheckout:
    return prepare(CheckoutRequest(repo=str(root), words=words, python=sys.executable, **asked), examine)


def ready(root: Path, model: str = "features", **parts: str) -> Path:
    """An integrated checkout."""
    write_checkout(root, model, **parts)
    integration.apply(integration.plan(root))
    return root


def stops(document: PreparedCheckout) -> dict[str, Finding]:
    return {finding.what: finding for finding in document.report.stops}


def test_the_guides_precomputed_command_is_built_with_the_flag_that_it_needs(place):
    root = ready(place / "lab")
    document = prepared(root, "--features-path", "t49.hdf5", "--annotation_folder", "ann", "--batch-size=32")
    assert document.mode == "precomputed"
    assert document.argv == (
        sys.executable, "train_transformer.py", "--features_path", str(place / "t49.hdf5"), "--annotation_folder", str(place / "ann"),
        "--batch_size", "32", "--exp_name", "fsgr_precomputed", "--workers", "4", "--head", "8", "--adapter_b", "6", "--adapter_e", "11",
        "--use_hdf5_features",
    )  # fmt: skip
    assert document.cwd == str(root)
    assert "--exp_name fsgr_precomputed" in document.added
    assert "--batch_size 32" not in document.added
    assert document.report.stops == ()


def test_the_guides_realtime_command_is_built(place):
    root = write_checkout(place / "lab", "clip")
    document = prepared(
        root,
        "--image-root",
        "images",
        "--weights",
        "ViT-B-16.pt",
        "--clip-model",
        "ViT-B/16",
        "--text_embed_path",
        "e.pth",
    )
    assert document.mode == "realtime"
    assert document.argv[2:] == (
        "--features_path", str(place / "images"), "--pre_vs_path", "ViT-B-16.pt", "--pre_name", "ViT-B/16", "--text_embed_path", "e.pth",
        "--text", "--exp_name", "fsgr_realtime", "--batch_size", "64", "--workers", "4", "--head", "8",
    )  # fmt: skip
    assert document.report.stops == ()


def test_labels_bring_return_index_along(place):
    document = prepared(
        ready(place / "lab"), "--features_path", "t49.hdf5", "--labels_path", "l.hdf5", "--text_embed_path", "e.pth"
    )
    assert {"--text", "--return_index"} <= set(document.argv)


def test_a_path_of_the_checkout_is_the_scripts_own(place):
    root = ready(place / "lab")
    (root / "m2_annotations").mkdir()
    document = prepared(root, "--features_path", "t49.hdf5", "--annotation_folder", "m2_annotations")
    assert str(root / "m2_annotations") in document.argv


def test_flags_that_a_script_does_not_know_are_not_added(place):
    script = "\n".join(line for line in SCRIPT.splitlines()).replace(
        "FLAGS", "    parser.add_argument('--features_path')"
    )
    root = write_checkout(place / "lab", script=script)
    assert prepared(root, "--features_path", "images").added == ()


def test_an_unknown_flag_is_named_with_near_ones(place):
    document = prepared(ready(place / "lab"), "--features_path", "t49.hdf5", "--epohs", "3", "--my-flag")
    assert "--epochs" in stops(document)["flag --epohs"].remedy
    assert "flag --my-flag" in stops(document)
    assert document.report.exit_code == 2


def test_an_unknown_flag_is_refused_without_a_preflight_too(place):
    document = prepared(ready(place / "lab"), "--features_path", "t49.hdf5", "--epohs", "3", preflight=False)
    assert "flag --epohs" in stops(document)


def test_a_flag_that_a_lab_added_to_its_script_is_handed_on(place):
    root = ready(place / "lab")
    path = root / "train_transformer.py"
    path.write_text(
        path.read_text().replace("    args =", "    parser.add_argument('--dropout', type=float)\n    args =", 1)
    )
    document = prepared(root, "--features_path", "t49.hdf5", "--dropout", "0.2")
    assert document.argv[4:6] == ("--dropout", "0.2")
    assert document.report.stops == ()
    assert "flag --dropout" in stops(prepared(root, "--features_path", "t49.hdf5", "--dropout", "much"))


def test_the_guides_flag_is_explained_with_the_command_that_adds_it(place):
    root = write_checkout(place / "a lab")
    document = prepared(root, "--features_path", "t49.hdf5", "--use_hdf5_features")
    assert f"fsgr-tui integrate '{root}'" in stops(document)["flag --use_hdf5_features"].remedy
    assert f"fsgr-tui integrate '{root}'" in stops(document)["reading HDF5"].remedy
    assert document.report.exit_code == 2


def test_a_model_that_runs_clip_is_named_with_file_and_line_for_features_only(place):
    root = ready(place / "lab", "clip")
    refused = prepared(root, "--features_path", "t196.hdf5")
    assert "models/transformer.py:3" in stops(refused)["the model"].found
    assert "models/transformer.py:8" not in stops(refused)["the model"].found
    assert refused.report.exit_code == 2
    assert prepared(root, "--features_path", "images").report.stops == ()


def test_a_model_that_runs_clip_under_a_condition_is_a_warning(place):
    document = prepared(ready(place / "lab", "either"), "--features_path", "t49.hdf5")
    assert document.report.stops == ()
    assert any("models/transformer.py:5" in row.found for row in document.report.warnings)


@pytest.mark.parametrize(("tokens", "fits"), [(49, False), (196, True)])
def test_a_grid_in_the_model_decides_which_features_fit(place, tokens, fits):
    document = prepared(ready(place / "lab", "grid"), "--features_path", f"t{tokens}.hdf5")
    assert ("grid" not in stops(document)) is fits
    if not fits:
        assert "models/transformer.py:3" in stops(document)["grid"].found
        assert document.report.exit_code == 2


def test_return_index_needs_text_and_labels(place):
    document = prepared(ready(place / "lab"), "--features_path", "t49.hdf5", "--return_index")
    assert "--text and --labels_path" in stops(document)["--return_index"].found
    assert document.report.exit_code == 2


def test_a_loop_that_takes_a_sample_for_a_pair_is_found_before_the_first_evaluation(place):
    loop = "def evaluate(loader):\n    for it, ((images, _), captions) in enumerate(loader):\n        pass\n\n\nif __name__"
    root = ready(place / "lab", script=SCRIPT.replace("if __name__", loop, 1))
    line = next(
        n for n, text in enumerate((root / "train_transformer.py").read_text().splitlines(), 1) if "images, _" in text
    )
    assert f"train_transformer.py:{line}" in stops(prepared(root, "--features_path", "t49.hdf5"))["evaluation"].found
    (place / "l.hdf5").touch()
    labelled = prepared(
        root, "--features_path", "t49.hdf5", "--labels_path", "l.hdf5", "--text", "--text_embed_path", "e"
    )
    assert "evaluation" not in stops(labelled)


@pytest.mark.parametrize(
    ("mode", "features", "said"),
    [
        ("precomputed", "images", ".hdf5"),
        ("precomputed", "t49.h5", ".hdf5"),
        ("realtime", "t49.hdf5", "is a feature file"),
    ],
)
def test_features_that_do_not_fit_the_mode_are_refused(place, mode, features, said):
    finding = stops(prepared(ready(place / "lab"), "--features_path", features, mode=mode))["--features_path"]
    assert said in finding.found + finding.needed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stray", "--text"), "'stray' belongs to no flag"),
        (("--features_path", "t49.hdf5", " "), "cut off"),
        (("--text",), "Neither --mode nor --features-path"),
    ],
)
def test_words_that_are_no_flags_are_refused(place, words, said):
    with pytest.raises(BadRequest, match=said):
        prepared(ready(place / "lab"), *words)


def test_the_preflight_is_asked_about_the_whole_command_and_stops_it(place):
    root = ready(place / "lab")
    asked = []

    def examine(request):
        asked.append(request)
        return PreflightReport.of("train", [Finding("GPU", "none", verdict="stop", blame="machine")])

    document = prepared(root, "--features_path", "t49.hdf5", examine=examine)
    assert [(request.repo, request.python, request.script) for request in asked] == [
        (str(root), sys.executable, "train_transformer.py")
    ]
    assert any(flag.name == "--use_hdf5_features" for flag in asked[0].given)
    assert (list(stops(document)), document.report.exit_code) == (["GPU"], 3)


def test_without_preflight_nobody_is_asked_and_the_model_is_a_warning(place):
    def examine(request):
        raise AssertionError(request)

    document = prepared(ready(place / "lab", "clip"), "--features_path", "t196.hdf5", examine=examine, preflight=False)
    assert document.report.stops == ()
    assert any("models/transformer.py:3" in row.found for row in document.report.warnings)


def test_without_preflight_a_python_that_is_none_is_refused_all_the_same(place):
    document = prepare(
        CheckoutRequest(
            repo=str(ready(place / "lab")), words=("--features_path", "t49.hdf5"), python="/bin/absent", preflight=False
        )
    )
    assert "/bin/absent" in stops(document)["Python"].found


def test_a_gpu_that_the_script_takes_by_itself_is_told_where_no_preflight_does(place):
    root = ready(place / "lab")
    warned = prepared(root, "--features_path", "t49.hdf5", preflight=False)
    assert "train_transformer.py:2 sets CUDA_VISIBLE_DEVICES to '0'" in warned.report.warnings[0].found
    assert warned.env == {}


@pytest.mark.parametrize("preflight", [True, False])
def test_a_gpu_that_the_script_would_lose_is_refused(place, preflight):
    root = ready(place / "lab")
    lost = prepared(root, "--features_path", "t49.hdf5", device="cuda:1", preflight=preflight)
    assert "--device cuda:1 would be lost" in stops(lost)["GPU chosen by the script"].found
    assert lost.report.exit_code == 2
    kept = prepared(root, "--features_path", "t49.hdf5", device="cuda:0", preflight=preflight)
    assert (kept.env, kept.report.stops) == ({"CUDA_VISIBLE_DEVICES": "0"}, ())


def test_a_script_that_leaves_the_choice_gets_the_gpu(place):
    script = SCRIPT.replace(
        "os.environ[\"CUDA_VISIBLE_DEVICES\"] = '0'", "os.environ.setdefault('CUDA_VISIBLE_DEVICES', '0')"
    )
    document = prepared(ready(place / "lab", script=script), "--features_path", "t49.hdf5", device="cuda:1,cuda:2")
    assert (document.env, document.report.stops) == ({"CUDA_VISIBLE_DEVICES": "1,2"}, ())
    with pytest.raises(BadRequest, match="--device mps"):
        prepared(place / "lab", "--features_path", "t49.hdf5", device="mps")


def python_at(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    os.symlink(sys.executable, folder / "bin" / "python")
    return folder / "bin" / "python"


def test_the_labs_python_is_looked_for_in_the_checkout_by_name_and_in_what_is_active(tmp_path):
    home, checkout = tmp_path / "home", tmp_path / "FSGR"
    checkout.mkdir()
    active = python_at(tmp_path / "active")
    environ = {"VIRTUAL_ENV": str(active.parents[1])}
    expected = [(active, "the active environment (VIRTUAL_ENV)")]
    assert find_pythons(checkout, environ, home, Path("/usr")) == expected
    expected.insert(
        0, (python_at(home / "miniconda3" / "envs" / "fsgr"), "the environment fsgr, named as the checkout")
    )
    assert find_pythons(checkout, environ, home, Path("/usr")) == expected
    (checkout / "environment.yml").write_text("channels: [x]\nname: caption38\n")
    named = python_at(tmp_path / "conda" / "envs" / "caption38")
    environ["CONDA_EXE"] = str(tmp_path / "conda" / "bin" / "conda")
    expected.insert(0, (named, "the environment caption38, as environment.yml names it"))
    assert find_pythons(checkout, environ, home, Path("/usr")) == expected
    expected.insert(0, (python_at(checkout / ".venv"), "the environment .venv in the checkout"))
    assert find_pythons(checkout, environ, home, Path("/usr")) == expected


def test_the_environment_of_this_program_is_not_the_labs(tmp_path):
    own = python_at(tmp_path / "own").parents[1]
    assert find_pythons(tmp_path, {"VIRTUAL_ENV": str(own)}, tmp_path / "home", own) == []


def test_no_python_is_said_with_where_it_was_looked_for(place, monkeypatch):
    for name in ("CONDA_PREFIX", "CONDA_EXE", "VIRTUAL_ENV", "WORKON_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(place / "home"))
    with pytest.raises(BadRequest, match=r"No Python of the lab was found for .*lab") as caught:
        prepare(CheckoutRequest(repo=str(ready(place / "lab")), words=("--features_path", "t49.hdf5")), nothing_found)
    assert "--python" in caught.value.fix


def test_programs_of_the_labs_environment_come_first_and_its_java_is_the_one_that_is_asked(place):
    python = python_at(place / "env")
    (place / "env" / "conda-meta").mkdir()
    java = place / "env" / "bin" / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"17.0.9\"' >&2\n")
    java.chmod(0o755)
    request = CheckoutRequest(repo=str(ready(place / "lab")), words=("--features_path", "t49.hdf5"), python=str(python))
    assert prepare(request, nothing_found).programs == str(python.parent)
    asked = probes_of(str(python)).java()
    assert (asked.path, asked.version) == (str(java), "17.0.9")
    (place / "env" / "conda-meta").rmdir()
    assert prepare(request, nothing_found).programs == ""
    assert probes_of(str(python)) == LOCAL


def facts_of(source: str):
    return read_model({Path("m.py"): ast.parse(source)})


def test_clips_own_classes_do_not_count_as_running_it():
    source = (
        "class CLIP:\n    def encode_image(self, x):\n        return self.visual(x)\n"
        "    def forward(self, x):\n        return self.encode_image(x)\n"
    )
    assert facts_of(source).clip_lines == ()
    assert [
        place.line for place in facts_of(source + "def forward(m, x):\n    return m.encode_image(x)\n").clip_lines
    ] == [7]


def test_a_tower_that_is_called_by_itself_runs_clip_too():
    assert len(facts_of("def forward(self, x):\n    return self.clip.visual(x)\n").clip_lines) == 1
    assert facts_of("def step(visual):\n    return visual.data.new_full(3)\n").clip_lines == ()


def test_what_the_fakes_are_made_of_is_what_they_are_named_for():
    assert len(facts_of(MODELS["clip"]).clip_lines) == 1
    assert len(facts_of(MODELS["either"]).clip_choices) == 1
    assert facts_of(FIELD).reads_grids is False
    assert facts_of(MODELS["features"]).clip_lines == ()
