"""What can be known without loading a model is refused before a job starts."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from fsgr_tui.core.errors import BadRequest  # noqa: E402 - only with the extract extra
from fsgr_tui.core.extraction import ModelChoice  # noqa: E402
from fsgr_tui.extract.encoder import make_any_encoder, manifest_of  # noqa: E402
from fsgr_tui.extract.model import load_tower  # noqa: E402
from fsgr_tui.features.build import FeatureBuild  # noqa: E402
from fsgr_tui.features.ledger import read_header  # noqa: E402
from fsgr_tui.features.planned import known_identity  # noqa: E402
from fsgr_tui.features.reader import FeatureFile  # noqa: E402
from fsgr_tui.probes.models import find_model  # noqa: E402
from tests.conftest import make_manifest, run_cli  # noqa: E402

pytestmark = pytest.mark.torch

CHOICE = {"clip_model": "fsgr-demo-16", "weights": "random:0", "precision": "fp32", "device": "cpu"}
TOWER = ("--clip-model", "fsgr-demo-16", "--weights", "random:0", "--precision", "fp32")


def resumed(demo_root: Path, output: Path, *flags: str, tower=TOWER):
    return run_cli(
        "extract", "--image-root", str(demo_root / "images"), "--split", "karpathy", "--output-path", str(output), *tower,
        "--resume", *flags,
    )  # fmt: skip


def refused_before_a_job(done, own_runs, code: int = 2) -> str:
    assert done.returncode == code, done.stderr
    assert list(own_runs.iterdir()) == []
    return done.stderr


@pytest.fixture
def unfinished(demo_features, tmp_path) -> Path:
    """An extraction that was stopped before its first row: the file's name; its .part and ledger lie beside it."""
    whole = FeatureFile(demo_features)
    output = tmp_path / "f.hdf5"
    FeatureBuild.start(output, whole.manifest, whole.ids.tolist()).close()
    return output


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"grid": "native", "dtype": "float32", "resize": "crop", "global_token": True},
        {"stage": "pixels"},
        {"stage": "labels", "grid": "native", "classes": "classes.txt"},
        {"clip_model": "RN50", "grid": "native"},
        {"weights": "tower.pth", "activation": "gelu"},
    ],
)
def test_what_is_known_before_the_model_is_what_its_manifest_says_then(changes, tmp_path):
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    if "weights" in changes:
        torch.save(load_tower(ModelChoice(**CHOICE)).visual.state_dict(), tmp_path / "tower.pth")
    changes = {
        name: str(tmp_path / value) if name in ("classes", "weights") else value for name, value in changes.items()
    }
    choice = ModelChoice(**{**CHOICE, **changes})
    known = known_identity(choice.shape(find_model(choice.clip_model)), choice)
    made = manifest_of(make_any_encoder(choice), choice).identity()
    assert known == {name: made[name] for name in known}
    assert {"dtype", "grid", "image_px", "stage", "precision"} <= known.keys()
    assert ("weights_sha256" in known) == ("weights" in changes or choice.stage == "pixels")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--dtype", "float32"), "dtype: float16 there, float32 now"),
        (("--grid", "native"), "grid: 7x7 there, native now"),
        (("--precision", "bf16"), "precision: fp32 there, bf16 now"),
    ],
)
def test_an_unfinished_file_of_other_settings_is_refused_before_a_job_starts(
    demo_root, unfinished, own_runs, flags, told
):
    words = refused_before_a_job(resumed(demo_root, unfinished, *flags), own_runs)
    assert f"{unfinished}.part was begun with other settings (" in words
    assert told in words
    assert "Give the same settings to resume, or --overwrite to start anew." in words


def test_a_finished_file_of_other_settings_is_refused_before_a_job_starts(demo_root, demo_features, own_runs):
    words = refused_before_a_job(resumed(demo_root, demo_features, "--dtype", "float32"), own_runs)
    assert f"{demo_features} was made with other settings (dtype: float16 there, float32 now)." in words


def test_other_weights_in_a_file_are_refused_before_a_job_starts(demo_root, unfinished, tmp_path, own_runs):
    weights = tmp_path / "other.pth"
    torch.save(load_tower(ModelChoice(**{**CHOICE, "weights": "random:1"})).visual.state_dict(), weights)
    tower = ("--clip-model", "fsgr-demo-16", "--weights", str(weights), "--activation", "gelu", "--precision", "fp32")
    words = refused_before_a_job(resumed(demo_root, unfinished, tower=tower), own_runs)
    assert "was begun with other settings (weights_sha256: " in words


def test_an_unfinished_file_of_other_images_is_refused_before_a_job_starts(
    demo_root, demo_features, tmp_path, own_runs
):
    whole = FeatureFile(demo_features)
    FeatureBuild.start(tmp_path / "f.hdf5", whole.manifest, whole.ids.tolist()[1:]).close()
    words = refused_before_a_job(resumed(demo_root, tmp_path / "f.hdf5"), own_runs)
    assert "was begun for other images (35 there, 36 now, or other ids)." in words


def test_the_same_settings_are_resumed(demo_root, unfinished):
    done = resumed(demo_root, unfinished)
    assert done.returncode == 0, done.stderr
    assert len(FeatureFile(unfinished)) == 36


def test_the_child_refuses_what_only_the_model_tells(tmp_path):
    manifest = make_manifest()
    FeatureBuild.start(tmp_path / "f.hdf5", manifest, (1, 2)).close()
    with pytest.raises(BadRequest, match="weights_sha256: 0000"):
        FeatureBuild.start(tmp_path / "f.hdf5", make_manifest(weights_sha256="1" * 64), (1, 2), resume=True)


def test_a_ledgers_header_is_read_beside_its_writer_and_a_foreign_file_has_none(tmp_path):
    build = FeatureBuild.start(tmp_path / "f.hdf5", make_manifest(), (1, 2))
    assert read_header(build.paths.ledger).rows == 2
    build.close()
    (tmp_path / "x.ledger").write_text("not a ledger\n")
    assert read_header(tmp_path / "x.ledger") is None
    assert read_header(tmp_path / "absent.ledger") is None


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("device", "code", "words"), [("cuda:7", 3, "There is no device cuda:7 here"), ("mps", 2, "'mps' is no device")]
)
def test_a_device_that_is_not_here_is_refused_before_a_job_starts(
    demo_root, tmp_path, own_runs, more, device, code, words
):
    done = run_cli(
        "extract", "--image-root", str(demo_root / "images"), "--split", "karpathy", "--output-path", str(tmp_path / "out/f.hdf5"),
        *TOWER, "--device", device, *more, env={"CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert words in refused_before_a_job(done, own_runs, code)
    assert list(tmp_path.iterdir()) == []
