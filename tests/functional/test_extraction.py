"""Extraction through the real program: real JPEG files, a real (small) tower, real kills."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

torch = pytest.importorskip("torch")
from PIL import Image  # noqa: E402 - only with the extract extra

from fsgr_tui.core.child import SAME_WISH_S  # noqa: E402
from fsgr_tui.core.errors import BadRequest, MachineCannot, Problem  # noqa: E402
from fsgr_tui.core.extraction import ModelChoice  # noqa: E402
from fsgr_tui.extract import model as models  # noqa: E402
from fsgr_tui.extract.encoder import make_encoder  # noqa: E402
from fsgr_tui.extract.pipeline import StageClock, bottleneck  # noqa: E402
from fsgr_tui.extract.pixels import UnreadableImage, load_picture  # noqa: E402
from fsgr_tui.features.reader import FeatureFile  # noqa: E402
from tests.conftest import run_cli  # noqa: E402

pytestmark = pytest.mark.torch

TOWER = ("--clip-model", "fsgr-demo-16", "--weights", "random:0", "--precision", "fp32")


def extract(folder: Path, output: Path, *flags: str, split: str = "train2014", **options):
    return run_cli(
        "extract",
        "--image-root",
        str(folder),
        "--split",
        split,
        "--output-path",
        str(output),
        *TOWER,
        *flags,
        **options,
    )


@pytest.fixture
def pictures(demo_root, tmp_path) -> Path:
    """An image root with eight good pictures."""
    folder = tmp_path / "images" / "train2014"
    folder.mkdir(parents=True)
    for source in sorted((demo_root / "images/train2014").iterdir())[:8]:
        shutil.copy(source, folder)
    return tmp_path / "images"


def names(root: Path) -> list[Path]:
    return sorted((root / "train2014").glob("*.jpg"))


def test_both_splits_go_into_one_file_with_a_manifest(demo_features, demo_root):
    file = FeatureFile(demo_features)
    assert len(file) == 36
    assert (file.row_shape, file.dtype.name) == ((49, 96), "float16")
    manifest = file.manifest
    assert manifest.splits == ("train2014", "val2014")
    assert (manifest.activation, manifest.resize, manifest.stage, manifest.pooling) == (
        "gelu",
        "squash",
        "post-ln_post",
        "average 2x2",
    )
    assert "fsgr-tui extract" in manifest.command
    assert {"torch", "open_clip", "pillow"} <= set(manifest.versions)


def test_stored_rows_are_what_open_clip_gives_for_the_image(demo_features, demo_root):
    """The reference: open_clip's own transform and its own patch tokens, pooled by torch."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    loaded = models.load_tower(ModelChoice(clip_model="fsgr-demo-16", weights="random:0"))
    transform = image_transform_v2(
        PreprocessCfg(size=224, resize_mode="squash", interpolation="bicubic"), is_train=False
    )
    path = names(demo_root / "images")[0]
    loaded.visual.output_tokens = True
    with torch.inference_mode():
        _, tokens = loaded.visual(transform(Image.open(path))[None])
    pooled = (
        torch.nn.functional.avg_pool2d(tokens.transpose(1, 2).reshape(1, 96, 14, 14), 2).flatten(2).transpose(1, 2)[0]
    )
    stored = FeatureFile(demo_features)[int(path.stem.rpartition("_")[2])].astype(np.float32)
    assert np.linalg.norm(stored - pooled.numpy()) / np.linalg.norm(pooled.numpy()) < 1e-3


def test_bad_images_are_refused_by_name_and_their_neighbours_do_not_move(pictures, tmp_path):
    assert extract(pictures, tmp_path / "good.hdf5").returncode == 0
    good = FeatureFile(tmp_path / "good.hdf5")
    victims = names(pictures)
    cut, empty, packed = victims[1], victims[4], victims[6]
    cut.write_bytes(cut.read_bytes()[:3000])
    empty.write_bytes(b"")
    packed.write_bytes(gzip.compress(packed.read_bytes()))
    done = extract(pictures, tmp_path / "bad.hdf5", "--json")
    assert done.returncode == 1
    status = json.loads(done.stdout)
    assert (status["result"]["images"], status["result"]["refused"], status["refused"]) == (5, 3, 3)
    for path, reason in ((cut, "damaged or cut off"), (empty, "empty (0 bytes)"), (packed, "gzip data")):
        assert f"refused: {path}: {reason}" in done.stderr
    bad = FeatureFile(tmp_path / "bad.hdf5")
    kept = bad.ids.tolist()
    assert len(kept) == 5
    assert np.allclose(bad.read(kept).astype(np.float32), good.read(kept).astype(np.float32), atol=2e-3)
    with h5py.File(bad.path) as raw:
        refused = json.loads(raw.attrs["refused_images"])
    assert {entry[1] for entry in refused} == {str(cut), str(empty), str(packed)}


def test_a_second_run_extracts_only_what_was_refused(pictures, tmp_path):
    victim = names(pictures)[2]
    sound = victim.read_bytes()
    victim.write_bytes(sound[:2000])
    assert extract(pictures, tmp_path / "f.hdf5").returncode == 1
    before = FeatureFile(tmp_path / "f.hdf5")
    rows = before.read(before.ids.tolist())
    victim.write_bytes(sound)
    done = extract(pictures, tmp_path / "f.hdf5", "--resume")
    assert done.returncode == 0, done.stderr
    assert "7 images were taken over" in done.stderr
    after = FeatureFile(tmp_path / "f.hdf5")
    assert len(after) == 8
    assert (after.read(before.ids.tolist()) == rows).all()


def test_a_finished_file_is_extended_by_a_split(demo_root, tmp_path):
    root, output = demo_root / "images", tmp_path / "f.hdf5"
    assert extract(root, output).returncode == 0
    before = FeatureFile(output)
    rows = before.read(before.ids.tolist())
    done = run_cli(
        "extract", "--image-root", str(root), "--split", "karpathy", "--output-path", str(output), *TOWER, "--resume"
    )
    assert done.returncode == 0, done.stderr
    after = FeatureFile(output)
    assert len(after) == 36
    assert (after.read(before.ids.tolist()) == rows).all()
    assert os.listdir(tmp_path) == ["f.hdf5"]
    # Twelve new images are a short batch, not one that memory did not hold.
    assert "Memory" not in done.stderr


def test_a_converted_file_that_is_extended_still_tells_what_its_rows_went_through(demo_root, tmp_path):
    root, output = demo_root / "images", tmp_path / "f.hdf5"
    assert extract(root, tmp_path / "wide.hdf5", "--dtype", "float32").returncode == 0
    assert run_cli("convert", str(tmp_path / "wide.hdf5"), str(output), "--dtype", "float16").returncode == 0
    done = run_cli(
        "extract", "--image-root", str(root), "--split", "karpathy", "--output-path", str(output), *TOWER, "--resume"
    )
    assert done.returncode == 0, done.stderr
    file = FeatureFile(output)
    assert (len(file), file.manifest.converted_from) == (36, ("float32",))


def test_files_that_are_no_images_are_counted_and_what_is_no_file_is_named(pictures, tmp_path):
    folder = pictures / "train2014"
    for name in ("._000000000042.jpg", ".DS_Store", "Thumbs.db", "notes.txt"):
        (folder / name).write_bytes(b"?")
    (folder / "__MACOSX").mkdir()
    (folder / "000000000904.jpg").mkdir()
    done = extract(pictures, tmp_path / "f.hdf5", "--dry-run")
    assert done.returncode == 0
    assert "8 images" in done.stderr
    assert "folders): 5." in done.stderr
    assert f"since they are no files: 1; first: {folder / '000000000904.jpg'}" in done.stderr


def test_a_link_to_nothing_among_the_images_is_refused_by_name_with_the_reason(pictures, tmp_path):
    folder = pictures / "train2014"
    dead, circle = folder / "COCO_train2014_000000000904.jpg", folder / "COCO_train2014_000000000905.jpg"
    dead.symlink_to("/nowhere/904.jpg")
    circle.symlink_to(circle.name)
    asked = extract(pictures, tmp_path / "f.hdf5", "--dry-run")
    assert asked.returncode == 0
    assert f"Links to nothing among the images, which will be refused: 2; first: {dead}" in asked.stderr
    done = extract(pictures, tmp_path / "f.hdf5", "--json")
    assert done.returncode == 1, done.stderr
    assert f"refused: {dead}: a link to /nowhere/904.jpg, which is not there" in done.stderr
    assert f"refused: {circle}: a link to {circle.name}, which is not there" in done.stderr
    status = json.loads(done.stdout)
    assert (status["result"]["images"], status["result"]["refused"]) == (8, 2)
    assert not {904, 905} & set(FeatureFile(tmp_path / "f.hdf5").ids.tolist())


def test_resuming_never_drops_images_that_the_file_has(demo_root, tmp_path):
    root, output = demo_root / "images", tmp_path / "f.hdf5"
    assert (
        run_cli(
            "extract", "--image-root", str(root), "--split", "karpathy", "--output-path", str(output), *TOWER
        ).returncode
        == 0
    )
    done = extract(root, output, "--resume")
    assert done.returncode == 2
    assert "12 images that are not in this selection" in done.stderr
    # It was refused before a job was started.
    assert "load model" not in done.stderr
    assert len(FeatureFile(output)) == 36


def test_a_file_of_another_program_is_not_resumed(demo_root, tmp_path):
    with h5py.File(tmp_path / "f.hdf5", "w") as file:
        file["9_grids"] = np.zeros((49, 96), np.float16)
    done = extract(demo_root / "images", tmp_path / "f.hdf5", "--resume")
    assert done.returncode == 2
    assert "not made by this program" in done.stderr


def test_names_that_are_no_utf8_are_extracted_under_a_plain_locale(pictures, tmp_path):
    root = tmp_path / "odd" / "train2014"
    root.mkdir(parents=True)
    sources = names(pictures)
    for name, source in ((b"caf\xe9_1.jpg", sources[0]), ("图片_2.jpg".encode(), sources[1]), (b"bad\xff_3.jpg", None)):
        target = os.path.join(os.fsencode(root), name)
        shutil.copy(source, target) if source else open(target, "wb").close()
    done = extract(root.parent, tmp_path / "f.hdf5", "--json", env={"LC_ALL": "C", "PYTHONUTF8": "0"})
    assert done.returncode == 1, done.stderr
    assert "bad\\xff_3.jpg: empty (0 bytes)" in done.stderr
    assert json.loads(done.stdout)["refused"] == 1
    file = FeatureFile(tmp_path / "f.hdf5")
    assert file.ids.tolist() == [1, 2]
    with h5py.File(file.path) as raw:
        ((_, path, _),) = json.loads(raw.attrs["refused_images"])
    assert os.fsencode(path) == os.path.join(os.fsencode(root), b"bad\xff_3.jpg")


def test_a_folder_of_empty_files_gives_no_file_and_says_why(tmp_path):
    folder = tmp_path / "images" / "train2014"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"{number}.jpg").touch()
    done = extract(tmp_path / "images", tmp_path / "f.hdf5")
    assert done.returncode == 1
    assert "None of the 3 images could be read" in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["images"]


def test_a_second_signal_ends_a_child_and_two_at_once_are_one_wish():
    code = (
        "import time; from fsgr_tui.core.child import Stopper\n"
        "stopper = Stopper(); print('ready', flush=True)\n"
        "while not stopper(): time.sleep(0.01)\n"
        "print('finishing', flush=True)\n"
        "while True: time.sleep(0.01)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGTERM)
    assert child.stdout.readline() == "finishing\n"
    child.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(timeout=SAME_WISH_S + 0.2)
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=10) == 143


def interrupt(root: Path, output: Path, runs: Path, send: int, *, after: int) -> subprocess.Popen:
    """Start an extraction one image at a time, and send a signal to the child after so many images."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fsgr_tui", "extract", "--image-root", str(root), "--split", "train2014", "--output-path", str(output),
         *TOWER, "--batch-size", "1", "--workers", "1"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "FSGR_TUI_RUNS": str(runs)},
    )  # fmt: skip
    until = time.monotonic() + 60
    while time.monotonic() < until:
        done = [json.loads(path.read_bytes())["progress"]["step"] for path in runs.glob("*/status.json")]
        if done and done[0] >= after:
            break
        time.sleep(0.01)
    process.send_signal(send)
    return process


@pytest.fixture
def many_pictures(pictures) -> Path:
    """The eight pictures many times over, so that there is time to interrupt."""
    for number, source in enumerate(names(pictures) * 150):
        os.link(source, pictures / "train2014" / f"{100_000 + number}.jpg")
    return pictures


@pytest.mark.slow
@pytest.mark.parametrize(("send", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_extraction_keeps_what_it_finished_and_resumes(many_pictures, tmp_path, own_runs, send, code):
    output = tmp_path / "f.hdf5"
    process = interrupt(many_pictures, output, own_runs, send, after=5)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert b"Go on with --resume" in stderr
    assert not output.exists()
    done = extract(many_pictures, output, "--resume", "--batch-size", "64", "--json")
    assert done.returncode == 0, done.stderr
    assert "were finished before and hold their checksums" in done.stderr
    assert json.loads(done.stdout)["result"]["images"] == 1208


@pytest.mark.slow
def test_a_killed_extraction_child_loses_only_what_was_not_confirmed(many_pictures, tmp_path, own_runs):
    output = tmp_path / "f.hdf5"
    process = interrupt(many_pictures, output, own_runs, 0, after=20)
    children = subprocess.run(
        ["pgrep", "-f", f"fsgr_tui.extract {own_runs}"], capture_output=True, text=True, check=True
    ).stdout.split()
    time.sleep(2.5)
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == 137
    done = extract(many_pictures, output, "--resume", "--batch-size", "64")
    assert done.returncode == 0, done.stderr
    assert "were finished before" in done.stderr
    report = json.loads(run_cli("check", str(output), "--deep", "--json", "--image-root", str(many_pictures)).stdout)
    assert (report["images"], report["missing"]) == (1208, [])


def test_the_recomputation_agrees_and_finds_a_row_that_was_changed(demo_features, demo_root, tmp_path):
    path = tmp_path / "f.hdf5"
    shutil.copy(demo_features, path)
    asked = ("check", str(path), "--image-root", str(demo_root / "images"), "--recompute", "36", "--json")
    done = run_cli(*asked)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["recompute"]["worst_relative_l2"] < 1e-3
    with h5py.File(path, "r+") as file:
        key = next(iter(file))
        file[key][()] = file[key][()] * np.float16(1.01)
    done = run_cli(*asked)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["recompute"]["worst_id"] == int(key.removesuffix("_grids"))
    # Scaling by one percent leaves the cosine at one: the relative L2 finds it.
    assert report["recompute"]["least_cosine"] > 0.999


def test_other_weights_are_not_comparable(demo_features, demo_root):
    done = run_cli(
        "check",
        str(demo_features),
        "--image-root",
        str(demo_root / "images"),
        "--recompute",
        "2",
        "--weights",
        "random:1",
    )
    assert done.returncode == 1
    assert "Not comparable: weights_sha256" in done.stdout


GRIDS = [("native", 196, 224), ("7x7", 49, 224), ("7x7-112px", 49, 112), ("8x8", 64, 224)]


@pytest.mark.parametrize(("grid", "tokens", "px"), GRIDS)
def test_every_grid_gives_its_tokens(grid, tokens, px):
    encoder = make_encoder(
        ModelChoice(clip_model="fsgr-demo-16", weights="random:0", grid=grid, precision="fp32", device="cpu")
    )
    assert encoder.shape.input_px == px
    features = encoder(torch.zeros((2, px, px, 3), dtype=torch.uint8))
    assert tuple(features.shape) == (2, tokens, 96)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tokens", "width"), [("ViT-B/32", 49, 768), ("ViT-B/16", 49, 768), ("RN50", 49, 2048)]
)
def test_the_fields_own_towers_give_their_shapes(name, tokens, width):
    encoder = make_encoder(ModelChoice(clip_model=name, weights="random:0", device="cpu", precision="fp32"))
    assert tuple(encoder(torch.zeros((1, 224, 224, 3), dtype=torch.uint8)).shape) == (1, tokens, width)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    digest = [
        models.load_tower(ModelChoice(clip_model="fsgr-demo-16", weights=f"random:{seed}")).sha256 for seed in (0, 0, 1)
    ]
    assert digest[0] == digest[1] != digest[2]


def saved(tmp_path: Path, name: str, state) -> str:
    path = tmp_path / name
    torch.save(state, path)
    return str(path)


def demo_state(seed: int = 3):
    import open_clip

    torch.manual_seed(seed)
    return open_clip.create_model("fsgr-demo-16").state_dict()


def test_a_state_dict_needs_its_activation_told_and_then_loads(tmp_path):
    path = saved(tmp_path, "weights.pt", demo_state())
    with pytest.raises(BadRequest, match="does not tell which activation"):
        models.load_tower(ModelChoice(clip_model="fsgr-demo-16", weights=path))
    plain = models.load_tower(ModelChoice(clip_model="fsgr-demo-16", weights=path, activation="gelu"))
    quick = models.load_tower(ModelChoice(clip_model="fsgr-demo-16", weights=path, activation="quick-gelu"))
    picture = torch.rand(1, 3, 224, 224)
    assert (plain.activation, quick.activation) == ("gelu", "quick-gelu")
    assert plain.sha256 == quick.sha256
    assert not torch.allclose(plain.visual(picture), quick.visual(picture))


def test_safetensors_and_wrapped_state_dicts_load(tmp_path):
    from safetensors.torch import save_file

    state = demo_state()
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "weights.safetensors")
    wrapped = saved(
        tmp_path, "wrapped.pt", {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}
    )
    towers = [
        models.load_tower(ModelChoice(clip_model="fsgr-demo-16", weights=path, activation="gelu"))
        for path in (str(tmp_path / "weights.safetensors"), wrapped)
    ]
    picture = torch.rand(1, 3, 224, 224)
    assert torch.equal(towers[0].visual(picture), towers[1].visual(picture))


@pytest.fixture(scope="module")
def openai_archive(tmp_path_factory):
    """A small model as OpenAI ships its own: a TorchScript archive; the model; its name."""
    import open_clip

    folder = tmp_path_factory.mktemp("openai")
    config = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 64, "heads": 1, "layers": 1},
    }
    (folder / "fsgr-test-openai.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / "fsgr-test-openai.json")
    torch.manual_seed(5)
    model = open_clip.create_model("fsgr-test-openai", force_quick_gelu=True).eval()
    path = folder / "ViT-Tiny.pt"
    torch.jit.save(torch.jit.script(Archive(model.state_dict())), path)
    return str(path), model, "fsgr-test-openai"


class Archive(torch.nn.Module):
    """A module that keeps a state dict under its own names, with a forward so that it can be scripted."""

    def __init__(self, state) -> None:
        super().__init__()
        for name, value in state.items():
            *path, leaf = name.split(".")
            place = self
            for part in path:
                if not hasattr(place, part):
                    place.add_module(part, torch.nn.Module())
                place = getattr(place, part)
            place.register_parameter(leaf, torch.nn.Parameter(value.clone(), requires_grad=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_openais_own_archive_just_works_and_uses_quick_gelu(openai_archive):
    path, original, name = openai_archive
    loaded = models.load_tower(ModelChoice(clip_model=name, weights=path, grid="native"))
    assert loaded.activation == "quick-gelu"
    assert any("quick-gelu" in notice for notice in loaded.notices)
    picture = torch.rand(1, 3, 64, 64)
    # OpenAI's builder keeps the matrices in half precision on the way.
    assert torch.allclose(loaded.visual(picture), original.visual(picture), atol=2e-2)
    with pytest.raises(BadRequest, match="does not fit"):
        models.load_tower(ModelChoice(clip_model=name, weights=path, grid="native", activation="gelu"))
    with pytest.raises(BadRequest, match="width 64 and patch 16"):
        models.load_tower(ModelChoice(clip_model="fsgr-demo-16", weights=path))


def test_a_bare_file_gets_the_scale_that_all_published_weights_of_its_model_share(monkeypatch):
    tower = models.find_tower("ViT-B-16")
    assert models._usual_scale(tower) == (models.OPENAI_MEAN, models.OPENAI_STD)
    monkeypatch.setattr(models, "list_pretrained_tags_by_model", lambda name: ["a", "b"])
    monkeypatch.setattr(
        models, "get_pretrained_cfg", lambda name, tag: {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    )
    assert models._usual_scale(tower) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_a_resized_position_table_is_announced(tmp_path):
    path = saved(tmp_path, "w.pt", demo_state())
    loaded = models.load_tower(
        ModelChoice(clip_model="fsgr-demo-16", weights=path, activation="gelu", grid="7x7-112px")
    )
    assert any("14x14 to 7x7" in notice for notice in loaded.notices)
    assert tuple(loaded.visual.positional_embedding.shape) == (50, 96)


class Trap:
    """What a checkpoint must not bring in: unpickling it would write a file."""

    def __reduce__(self):
        return (exec, ("open('/tmp/fsgr-tui-trap', 'w')",))


def weights_of_every_wrong_kind(tmp_path: Path) -> list[tuple[str, str, int]]:
    whole = saved(tmp_path, "whole.pt", demo_state())
    (tmp_path / "cut.pt").write_bytes(Path(whole).read_bytes()[:100_000])
    (tmp_path / "page.pt").write_text("<html>not found</html>")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("readme", "hello")
    return [
        (saved(tmp_path, "trap.pt", {"state_dict": demo_state(), "extra": Trap()}), "pickled Python objects", 3),
        (str(tmp_path / "cut.pt"), "not a whole weights file", 3),
        (str(tmp_path / "page.pt"), "not a whole weights file", 3),
        (str(tmp_path / "cut.safetensors"), "not a whole weights file", 3),
        (str(tmp_path / "other.pt"), "not a whole weights file", 3),
        (str(tmp_path / "absent.pt"), "no weights file", 3),
        (saved(tmp_path, "numbers.pt", {"a": 1}), "no state dict", 2),
        (saved(tmp_path, "small.pt", {"visual.conv1.weight": torch.zeros(3)}), "does not hold the weights of", 2),
        (str(tmp_path), "is a folder", 2),
    ]


@pytest.mark.parametrize("activation", ["gelu", "auto"])
def test_every_wrong_kind_of_weights_is_told_apart_and_none_is_executed(tmp_path, activation):
    Path("/tmp/fsgr-tui-trap").unlink(missing_ok=True)
    for path, word, code in weights_of_every_wrong_kind(tmp_path):
        if activation == "auto" and path.endswith("small.pt"):
            # It is whole, so that its activation is asked for first.
            continue
        with pytest.raises(Problem) as caught:
            models.load_tower(ModelChoice(clip_model="fsgr-demo-16", weights=path, activation=activation))
        assert word in caught.value.what, path
        assert path in caught.value.what
        assert caught.value.exit_code == code
    assert not Path("/tmp/fsgr-tui-trap").exists()


def test_a_tag_without_network_is_answered_quickly_with_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setattr(models.huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(models.huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(MachineCannot, match=r"not in the cache.*") as caught:
        models.load_tower(ModelChoice(clip_model="ViT-B/16", weights="openai"))
    assert time.monotonic() - began < 10
    assert "login node" in caught.value.fix


def test_an_unknown_tag_lists_those_that_there_are():
    with pytest.raises(BadRequest) as caught:
        models.load_tower(ModelChoice(clip_model="ViT-B/16", weights="opanai"))
    assert "laion2b_s34b_b88k" in caught.value.fix


def test_a_tags_own_activation_is_not_overruled(monkeypatch):
    with pytest.raises(BadRequest, match="does not fit the tag 'openai'"):
        models.load_tower(ModelChoice(clip_model="ViT-B/16", weights="openai", activation="gelu"))
    with pytest.raises(BadRequest, match="asks for quick-gelu"):
        models.load_tower(ModelChoice(clip_model="ViT-B-16-quickgelu", weights="laion2b_s34b_b88k"))


def test_a_position_table_of_zeros_is_refused(tmp_path):
    state = demo_state()
    state["visual.positional_embedding"].zero_()
    with pytest.raises(BadRequest, match="position table"):
        models.load_tower(
            ModelChoice(clip_model="fsgr-demo-16", weights=saved(tmp_path, "w.pt", state), activation="gelu")
        )


def picture_file(tmp_path: Path, name: str, image: Image.Image, **options) -> str:
    image.save(tmp_path / name, **options)
    return str(tmp_path / name)


def test_cmyk_is_not_inverted(demo_root, tmp_path):
    original = Image.open(names(demo_root / "images")[0]).convert("RGB")
    path = picture_file(tmp_path, "cmyk.jpg", original.convert("CMYK"), quality=95)
    plain = picture_file(tmp_path, "rgb.png", original)
    difference = load_picture(path, 224, "squash").pixels.astype(int) - load_picture(plain, 224, "squash").pixels
    assert np.abs(difference).mean() < 6


def test_a_png_named_jpg_is_taken_and_told(demo_root, tmp_path):
    image = Image.open(names(demo_root / "images")[0])
    image.save(tmp_path / "x.jpg", format="PNG")
    assert load_picture(str(tmp_path / "x.jpg"), 64, "squash").mislabelled == "PNG"


def test_a_rotation_tag_is_told_and_not_applied(tmp_path):
    image = Image.new("RGB", (400, 300), "red")
    image.paste("blue", (0, 0, 400, 150))
    exif = Image.Exif()
    exif[0x0112] = 6
    path = picture_file(tmp_path, "turned.jpg", image, exif=exif, quality=95)
    picture = load_picture(path, 64, "squash")
    assert picture.rotated
    assert picture.pixels[5, 32, 2] > 200  # the upper half is still blue


def test_a_huge_picture_is_taken_with_a_remark_and_a_bomb_refused_by_its_size(tmp_path):
    large = picture_file(tmp_path, "large.png", Image.new("1", (10_000, 10_000)))
    bomb = picture_file(tmp_path, "bomb.png", Image.new("1", (20_000, 20_000)))
    assert load_picture(large, 64, "squash").huge_px == 100_000_000
    with pytest.raises(UnreadableImage, match="400000000 pixels"):
        load_picture(bomb, 64, "squash")


def test_sixteen_bit_pictures_are_refused_with_the_reason(tmp_path):
    path = picture_file(tmp_path, "deep.png", Image.fromarray(np.full((64, 64), 40_000, np.uint16)))
    with pytest.raises(UnreadableImage, match="16 bits"):
        load_picture(path, 32, "squash")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1"])
def test_every_usual_colour_mode_becomes_rgb(tmp_path, mode):
    path = picture_file(tmp_path, "x.png", Image.new("RGB", (50, 40), "white").convert(mode))
    pixels = load_picture(path, 32, "crop").pixels
    assert (pixels.shape, pixels.min()) == ((32, 32, 3), 255)


def test_crop_equals_open_clips_own_default(demo_root):
    from open_clip.transform import PreprocessCfg, image_transform_v2

    path = names(demo_root / "images")[0]
    config = PreprocessCfg(size=224, mean=(0, 0, 0), std=(1, 1, 1), resize_mode="shortest", interpolation="bicubic")
    reference = image_transform_v2(config, is_train=False)(Image.open(path))
    assert np.array_equal(
        (reference.permute(1, 2, 0) * 255).round().byte().numpy(), load_picture(str(path), 224, "crop").pixels
    )


def test_the_bottleneck_is_the_busiest_stage():
    assert bottleneck({"decode": 0.98, "encode": 0.61, "write": 0.1}, 16, on_gpu=True).startswith(
        "decode-bound: 16 workers keep the GPU at 61%"
    )
    assert "encode-bound" in bottleneck({"decode": 0.3, "encode": 0.97, "write": 0.1}, 4, on_gpu=False)
    assert "write-bound" in bottleneck({"decode": 0.3, "encode": 0.4, "write": 0.9}, 4, on_gpu=True)
    assert bottleneck({"decode": 0.0, "encode": 0.0, "write": 0.0}, 4, on_gpu=True) == ""


def test_stage_shares_count_decoding_against_all_its_threads():
    clock = StageClock()
    clock.shares(4)
    time.sleep(0.05)
    clock.add("decode", 0.1)
    clock.add("encode", 0.05)
    shares = clock.shares(4)
    assert shares["encode"] == pytest.approx(2 * shares["decode"], rel=0.01)
