"""Stages, class tokens, labels, pixels, backends, id lists, shards and several devices."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional  # noqa: E402 - only with the extract extra

from fsgr_tui.core.errors import BadRequest, MachineCannot  # noqa: E402
from fsgr_tui.core.extraction import ModelChoice  # noqa: E402
from fsgr_tui.extract.encoder import make_encoder  # noqa: E402
from fsgr_tui.extract.fleet import devices_of  # noqa: E402
from fsgr_tui.extract.model import load_tower  # noqa: E402
from fsgr_tui.extract.pixels import load_picture  # noqa: E402
from fsgr_tui.extract.text import embed, read_embeddings  # noqa: E402
from fsgr_tui.features.build import FeatureBuild  # noqa: E402
from fsgr_tui.features.merge import merge_files  # noqa: E402
from fsgr_tui.features.reader import FeatureFile  # noqa: E402
from tests.conftest import build_file, make_manifest, run_cli, smooth_rows  # noqa: E402

pytestmark = pytest.mark.torch

TOWER = ("--clip-model", "fsgr-demo-16", "--weights", "random:0", "--precision", "fp32")
CHOICE = {"clip_model": "fsgr-demo-16", "weights": "random:0", "precision": "fp32", "device": "cpu"}


def extract(root: Path, output: Path, *flags: str, split: str = "train2014"):
    done = run_cli(
        "extract", "--image-root", str(root / "images"), "--split", split, "--output-path", str(output), *TOWER, *flags
    )
    assert done.returncode == 0, done.stderr
    return done


def encoder(**changes):
    return make_encoder(ModelChoice(**{**CHOICE, **changes}))


def pixels(count: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (count, 224, 224, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def normalised(batch: torch.Tensor) -> torch.Tensor:
    tower = encoder()
    return (batch.permute(0, 3, 1, 2).float() - tower._mean) / tower._std


def test_the_stages_are_open_clips_own_tokens():
    visual = encoder(grid="native").visual
    with torch.inference_mode():
        found = visual.forward_intermediates(
            normalised(pixels()), indices=1, output_fmt="NLC", output_extra_tokens=True
        )
        before, prefix = found["image_intermediates"][-1], found["image_intermediates_prefix"][-1]
        after = visual.forward_intermediates(
            normalised(pixels()), indices=1, output_fmt="NLC", normalize_intermediates=True
        )["image_intermediates"][-1]
    assert torch.equal(encoder(grid="native", stage="pre-ln_post")(pixels()), before)
    assert torch.equal(encoder(grid="native")(pixels()), after)
    assert torch.allclose(encoder(grid="native", stage="projected")(pixels()), after @ visual.proj, atol=1e-6)
    whole = encoder(grid="native", stage="pre-ln_post", global_token=True).encoded(pixels())
    assert torch.equal(whole.class_tokens, prefix[:, 0])


def test_the_projected_class_token_is_clips_image_embedding():
    tower = encoder(stage="projected", global_token=True)
    with torch.inference_mode():
        tower.visual.output_tokens = False
        assert torch.allclose(tower.encoded(pixels()).class_tokens, tower.visual(normalised(pixels())), atol=1e-6)


def test_pooling_averages_the_native_grid():
    native, pooled = encoder(grid="native")(pixels()), encoder(grid="7x7")(pixels())
    by_hand = native.reshape(2, 7, 2, 7, 2, 96).mean((2, 4)).reshape(2, 49, 96)
    assert torch.allclose(pooled, by_hand, atol=1e-6)


def test_labels_come_from_the_value_path_of_the_last_block(tmp_path):
    """The reference: the last block computed with attention weights that let each token see itself only."""
    generator = torch.Generator().manual_seed(1)
    classes = torch.randn(30, 64, generator=generator)
    torch.save(classes, tmp_path / "classes.pth")
    tower = encoder(grid="native", stage="labels", classes=str(tmp_path / "classes.pth"))
    visual = tower.visual
    with torch.inference_mode():
        x = visual._embeds(normalised(pixels()))
        for block in visual.transformer.resblocks[:-1]:
            x = block(x)
        last = visual.transformer.resblocks[-1]
        alone = torch.full((197, 197), float("-inf")).fill_diagonal_(0.0)
        y = last.ln_1(x)
        x = x + last.attn(y, y, y, need_weights=False, attn_mask=alone)[0]
        x = x + last.mlp(last.ln_2(x))
        projected = functional.normalize((visual.ln_post(x) @ visual.proj)[:, 1:], dim=-1)
        expected = (projected @ functional.normalize(classes, dim=-1).T).argmax(-1)
    labels = tower(pixels())
    assert labels.dtype == torch.int64
    assert (labels == expected).float().mean() > 0.999


def test_class_tokens_labels_and_pixels_are_stored_under_their_own_keys(demo_root, tmp_path):
    (tmp_path / "classes.txt").write_text("red circle\nblue square\n图\n")
    extract(demo_root, tmp_path / "g.hdf5", "--global-token")
    extract(demo_root, tmp_path / "l.hdf5", "--labels", "--classes", str(tmp_path / "classes.txt"))
    extract(demo_root, tmp_path / "p.hdf5", "--stage", "pixels")
    with_class = FeatureFile(tmp_path / "g.hdf5", "global")
    assert (with_class.row_shape, FeatureFile(tmp_path / "g.hdf5").row_shape) == ((96,), (49, 96))
    labels = FeatureFile(tmp_path / "l.hdf5")
    assert (labels.layout.suffix, labels.row_shape, labels.dtype.name) == ("labels", (196,), "int64")
    assert set(np.unique(labels.read(labels.ids.tolist()))) <= {0, 1, 2}
    cache = FeatureFile(tmp_path / "p.hdf5")
    assert (cache.layout.suffix, cache.row_shape, cache.dtype.name) == ("pixels", (224, 224, 3), "uint8")
    image = next(
        path for path in (demo_root / "images/train2014").iterdir() if path.stem.endswith(f"{cache.ids[0]:012d}")
    )
    assert (cache[int(cache.ids[0])] == load_picture(str(image), 224, "squash").pixels).all()
    for name in ("g", "l", "p"):
        assert run_cli("check", str(tmp_path / f"{name}.hdf5"), "--deep").returncode == 0


def test_text_embeddings_are_a_bare_tensor_of_unit_rows(tmp_path):
    names = [f"thing {number}" for number in range(24)]
    (tmp_path / "classes.txt").write_text("\n".join(names) + "\n\n")
    done = run_cli(
        "text-embed", "--classes", str(tmp_path / "classes.txt"), "--output", str(tmp_path / "t.pth"), *TOWER[:4]
    )
    assert done.returncode == 0, done.stderr
    tensor = torch.load(tmp_path / "t.pth", weights_only=True)
    assert (tensor.dtype, tuple(tensor.shape)) == (torch.float32, (24, 64))
    assert torch.allclose(tensor.norm(dim=-1), torch.ones(24), atol=1e-5)
    assert "expects 512" in done.stderr
    again = run_cli(
        "text-embed", "--classes", str(tmp_path / "classes.txt"), "--output", str(tmp_path / "t.pth"), *TOWER[:4]
    )
    assert (again.returncode, "exists already" in again.stderr) == (2, True)


@pytest.mark.parametrize("flag", ["--output-path", "--output_path"])
def test_text_embed_names_its_output_as_extract_does_too(tmp_path, flag):
    (tmp_path / "classes.txt").write_text("one\n")
    done = run_cli("text-embed", "--classes", str(tmp_path / "classes.txt"), flag, str(tmp_path / "t.pth"), *TOWER[:4])
    assert (done.returncode, (tmp_path / "t.pth").is_file()) == (0, True), done.stderr


def test_few_classes_are_warned_about_since_the_script_needs_twenty(tmp_path):
    (tmp_path / "classes.txt").write_text("one\ntwo\n")
    done = run_cli(
        "text-embed", "--classes", str(tmp_path / "classes.txt"), "--output", str(tmp_path / "t.pth"), *TOWER[:4]
    )
    assert "at least 20" in done.stderr


def test_a_name_with_braces_or_percent_signs_is_taken_as_it_is():
    loaded = load_tower(ModelChoice(**CHOICE), with_text=True)
    assert embed(["100% {cotton} %s"], loaded).shape == (1, 64)


def test_a_dictionary_in_place_of_the_tensor_is_named(tmp_path):
    torch.save({"embeddings": torch.zeros(3, 64)}, tmp_path / "d.pth")
    with pytest.raises(BadRequest, match="dictionary"):
        read_embeddings(tmp_path / "d.pth")
    torch.save(torch.zeros(3, 32), tmp_path / "narrow.pth")
    with pytest.raises(BadRequest, match="width 32"):
        encoder(grid="native", stage="labels", classes=str(tmp_path / "narrow.pth"))


def test_the_fast_backend_differs_by_one_level_and_says_how_much(demo_root, tmp_path):
    done = extract(demo_root, tmp_path / "f.hdf5", "--decoder", "torchvision")
    manifest = FeatureFile(tmp_path / "f.hdf5").manifest
    assert manifest.decoder == "torchvision"
    assert "relative L2" in manifest.preprocess_difference
    assert "squash torchvision against squash pillow" in done.stderr
    for path in sorted((demo_root / "images/train2014").iterdir())[:6]:
        for resize in ("squash", "crop"):
            reference = load_picture(str(path), 224, resize).pixels.astype(int)
            levels = np.abs(load_picture(str(path), 224, resize, "torchvision").pixels - reference)
            assert levels.max() <= 2
            assert (levels > 0).mean() < 0.1


def test_how_far_a_centre_crop_is_from_squashing_is_measured_and_recorded(demo_root, tmp_path):
    extract(demo_root, tmp_path / "f.hdf5", "--resize", "crop")
    told = FeatureFile(tmp_path / "f.hdf5").manifest.preprocess_difference
    assert told.startswith("crop pillow against squash pillow on 16 images")
    assert float(told.partition("features by ")[2].split()[0]) > 0.05


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_tower_gives_the_same_features():
    assert torch.allclose(encoder(compiled=True)(pixels()), encoder()(pixels()), atol=1e-4)


def test_names_without_a_number_get_their_ids_from_the_captions(demo_root, tmp_path):
    """NoCaps names its images by hexadecimal numbers, and tells the ids in its JSON alone."""
    folder = tmp_path / "images" / "val"
    folder.mkdir(parents=True)
    listed = []
    for number, source in enumerate(sorted((demo_root / "images/train2014").iterdir())[:3]):
        shutil.copy(source, folder / f"00{number}ea2087020901.jpg")
        listed.append({"id": 4000 + number, "file_name": f"00{number}ea2087020901.jpg"})
    (tmp_path / "nocaps.json").write_text(json.dumps({"images": listed, "annotations": []}))
    done = run_cli(
        "extract", "--image-root", str(tmp_path / "images"), "--split", "val", "--output-path", str(tmp_path / "f.hdf5"), *TOWER,
        "--annotations", str(tmp_path / "nocaps.json"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert FeatureFile(tmp_path / "f.hdf5").ids.tolist() == [4000, 4001, 4002]


def annotations(demo_root: Path) -> tuple[list[int], dict[int, int]]:
    """Image ids of train2014, and image id by annotation id."""
    captions = json.loads((demo_root / "m2_annotations/captions_train2014.json").read_text())
    return sorted(image["id"] for image in captions["images"]), {
        entry["id"]: entry["image_id"] for entry in captions["annotations"]
    }


def test_a_list_of_image_ids_restricts_the_extraction(demo_root, tmp_path):
    images, _ = annotations(demo_root)
    (tmp_path / "ids.txt").write_text("\n".join(map(str, images[2:5])))
    extract(demo_root, tmp_path / "f.hdf5", "--ids", str(tmp_path / "ids.txt"))
    assert FeatureFile(tmp_path / "f.hdf5").ids.tolist() == images[2:5]


def test_annotation_ids_are_told_apart_and_resolved_to_their_images(demo_root, tmp_path):
    _, image_of = annotations(demo_root)
    chosen = next(iter(image_of.values()))
    five = [number for number, image in image_of.items() if image == chosen]
    assert len(five) == 5
    np.save(tmp_path / "ids.npy", np.array(five))
    done = extract(
        demo_root,
        tmp_path / "f.hdf5",
        "--ids",
        str(tmp_path / "ids.npy"),
        "--annotations",
        str(demo_root / "m2_annotations"),
        "--ids-are",
        "annotation",
    )
    assert "annotation ids: 5 captions of 1 images" in done.stderr
    assert FeatureFile(tmp_path / "f.hdf5").ids.tolist() == [chosen]


def asked_with_ids(demo_root, tmp_path, *flags):
    return run_cli(
        "extract",
        "--image-root",
        str(demo_root / "images"),
        "--split",
        "train2014",
        "--output-path",
        str(tmp_path / "x.hdf5"),
        *TOWER,
        *flags,
    )


def test_lists_of_ids_that_do_not_fit_are_explained(demo_root, tmp_path):
    (tmp_path / "strange.txt").write_text("999999991\n999999992\n")
    (tmp_path / "words.txt").write_text("9\nVizWiz_val_00000025.jpg\n")
    (tmp_path / "binary.txt").write_bytes(b"\x93NUMPY\xff")
    (tmp_path / "text.npy").write_text("9\n")
    (tmp_path / "empty.npy").touch()
    np.save(tmp_path / "floats.npy", np.array([1.5]))
    images, _ = annotations(demo_root)
    (tmp_path / "some.txt").write_text(f"{images[0]}\n999999991\n")
    for name, word in (
        ("strange", "add --annotations"),
        ("words", "words.txt, line 2: 'VizWiz_val_00000025.jpg' is no id."),
        ("words", "An id is a whole number"),
        ("words", "If the image of that name is meant, its id is 25."),
        ("some", "999999991"),
        ("absent", "cannot be read"),
        ("binary", "is no text"),
    ):
        done = asked_with_ids(demo_root, tmp_path, "--ids", str(tmp_path / f"{name}.txt"))
        assert (done.returncode, word in done.stderr) == (2, True), done.stderr
        assert "invalid literal" not in done.stderr
    for name in ("text.npy", "empty.npy"):
        done = asked_with_ids(demo_root, tmp_path, "--ids", str(tmp_path / name))
        assert (done.returncode, "no plain NumPy array of numbers" in done.stderr) == (2, True), done.stderr
    done = asked_with_ids(demo_root, tmp_path, "--ids", str(tmp_path / "floats.npy"))
    assert (done.returncode, "float64" in done.stderr) == (2, True)


def test_annotation_ids_that_fall_on_some_images_by_chance_get_the_hint_to_resolve_them(demo_root, tmp_path):
    images, _ = annotations(demo_root)
    (tmp_path / "ids.txt").write_text("\n".join(map(str, [*images[:1], *range(900_001, 900_010)])))
    done = asked_with_ids(demo_root, tmp_path, "--ids", str(tmp_path / "ids.txt"))
    assert done.returncode == 2
    assert "If they are annotation (caption) ids, add --annotations to resolve them." in done.stderr
    # A list of images of which one is not here is none of captions.
    (tmp_path / "ids.txt").write_text("\n".join(map(str, [*images[:19], 900_001])))
    done = asked_with_ids(demo_root, tmp_path, "--ids", str(tmp_path / "ids.txt"))
    assert (done.returncode, "add --annotations" in done.stderr) == (2, False), done.stderr
    done = asked_with_ids(demo_root, tmp_path, "--ids", str(tmp_path / "ids.txt"), "--ids-are", "annotation")
    assert (done.returncode, "Add --annotations with the captions" in done.stderr) == (2, True), done.stderr


def test_shards_merge_into_the_file_that_one_run_gives(demo_root, demo_features, tmp_path):
    for part in (1, 2, 3):
        extract(demo_root, tmp_path / "s.hdf5", "--shard", f"{part}/3", split="karpathy")
    shards = [str(tmp_path / f"s.{part}-of-3.hdf5") for part in (1, 2, 3)]
    done = run_cli("merge", str(tmp_path / "all.hdf5"), *shards, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == 36
    whole, one = FeatureFile(tmp_path / "all.hdf5"), FeatureFile(demo_features)
    ids = one.ids.tolist()
    assert whole.ids.tolist() == ids
    assert np.allclose(whole.read(ids).astype(np.float32), one.read(ids).astype(np.float32), atol=2e-3)
    assert run_cli("check", str(tmp_path / "all.hdf5"), "--deep", "--like", str(demo_features)).returncode == 0
    twice = run_cli("merge", str(tmp_path / "twice.hdf5"), shards[0], shards[0])
    assert (twice.returncode, "is in" in twice.stderr) == (2, True)
    assert not (tmp_path / "twice.hdf5").exists()


def test_a_merge_without_one_of_the_shards_is_not_all_well(tmp_path):
    first, third = (
        build_file(tmp_path / f"s.{part}-of-3.hdf5", (part,), command=f"fsgr-tui extract --shard {part}/3")
        for part in (1, 3)
    )
    done = run_cli("merge", str(tmp_path / "all.hdf5"), str(first), str(third))
    assert done.returncode == 1
    assert "missing shards: 2/3" in done.stderr
    assert FeatureFile(tmp_path / "all.hdf5").ids.tolist() == [1, 3]


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_a_shard_is_never_the_target_of_a_merge(tmp_path, overwrite):
    first, second = (
        build_file(tmp_path / f"s.{part}-of-2.hdf5", (part,), command=f"fsgr-tui extract --shard {part}/2")
        for part in (1, 2)
    )
    before = first.read_bytes()
    done = run_cli("merge", str(first), str(second), *overwrite)
    assert done.returncode == 2
    assert f"{first} is a shard itself" in done.stderr
    assert "merge TARGET SHARD" in done.stderr
    assert first.read_bytes() == before


def test_a_merge_with_the_target_last_is_told_the_order(tmp_path):
    first, second = (build_file(tmp_path / f"{part}.hdf5", (part,)) for part in (1, 2))
    done = run_cli("merge", str(tmp_path / "new.hdf5"), str(second), str(tmp_path / "all.hdf5"))
    assert done.returncode == 2
    assert "all.hdf5" in done.stderr
    assert "merge TARGET SHARD" in done.stderr
    assert run_cli("merge", str(first), str(first), str(second)).returncode == 2


def test_a_merge_that_was_killed_after_its_rename_is_done_when_it_goes_on(tmp_path):
    """Slurm starts a job once more whose last word did not reach it."""
    parts = [build_file(tmp_path / "a.hdf5", (1, 2)), build_file(tmp_path / "b.hdf5", (3,))]
    target = tmp_path / "all.hdf5"
    merge_files(target, parts)
    before = target.stat()
    words = ("merge", "--resume", str(target), *map(str, parts))
    done = run_cli(*words)
    assert (done.returncode, target.stat().st_mtime_ns) == (0, before.st_mtime_ns), done.stderr
    assert "3 images from 2 files" in done.stdout
    # Another file of that name is not taken for it.
    target.unlink()
    merge_files(target, [parts[0], build_file(tmp_path / "c.hdf5", (4,))])
    refused = run_cli(*words)
    assert refused.returncode == 2
    assert f"{target} exists already" in refused.stderr


def test_a_merged_file_tells_that_rows_of_a_shard_were_converted(tmp_path):
    merge_files(
        tmp_path / "all.hdf5",
        [build_file(tmp_path / "a.hdf5", (1, 2)), build_file(tmp_path / "b.hdf5", (3,), converted_from=("float32",))],
    )
    assert FeatureFile(tmp_path / "all.hdf5").manifest.converted_from == ("float32",)


def test_shards_of_other_settings_are_not_merged(tmp_path):
    one = build_file(tmp_path / "a.hdf5", (1, 2))
    other = build_file(tmp_path / "b.hdf5", (3, 4), resize="crop")
    done = run_cli("merge", str(tmp_path / "c.hdf5"), str(one), str(other))
    assert (done.returncode, "resize: squash and crop" in done.stderr) == (2, True)


@pytest.mark.parametrize("text", ["0/3", "4/3", "2", "a/b"])
def test_a_part_that_there_is_not_is_refused(demo_root, tmp_path, text):
    done = asked_with_ids(demo_root, tmp_path, "--shard", text)
    assert (done.returncode, "--shard" in done.stderr) == (2, True)


@pytest.mark.slow
def test_two_devices_fill_one_file_and_refuse_the_same_images(demo_root, demo_features, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(demo_root / "images", root / "images")
    victim = sorted((root / "images/train2014").iterdir())[3]
    victim.write_bytes(b"")
    done = run_cli(
        "extract", "--image-root", str(root / "images"), "--split", "karpathy", "--output-path", str(tmp_path / "f.hdf5"), *TOWER,
        "--device", "cpu,cpu", "--batch-size", "4", "--workers", "1",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert f"refused: {victim}: empty (0 bytes)" in done.stderr
    two, one = FeatureFile(tmp_path / "f.hdf5"), FeatureFile(demo_features)
    ids = two.ids.tolist()
    assert len(ids) == 35
    assert np.allclose(two.read(ids).astype(np.float32), one.read(ids).astype(np.float32), atol=2e-3)
    assert os.listdir(tmp_path) in (["f.hdf5", "data"], ["data", "f.hdf5"])


def test_a_device_that_is_not_there_is_told(demo_root, tmp_path):
    done = asked_with_ids(demo_root, tmp_path, "--device", "cuda:7")
    assert (done.returncode, "cuda:7" in done.stderr) == (3, True)
    with pytest.raises(MachineCannot, match="no GPU"):
        devices_of("all", lambda: 0)
    assert devices_of("all", lambda: 3) == ("cuda:0", "cuda:1", "cuda:2")
    assert devices_of("cuda:1, cuda:3", lambda: 4) == ("cuda:1", "cuda:3")


class Cramped(torch.nn.Module):
    """A tower whose device holds so many images at once, and no more."""

    def __init__(self, visual, room: int) -> None:
        super().__init__()
        self.inner, self.room, self.seen = visual, room, []

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def _embeds(self, x):
        self.seen.append(len(x))
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory (fake)")
        return self.inner._embeds(x)


def test_out_of_memory_falls_back_to_a_size_that_was_tried_and_keeps_it():
    tower = encoder()
    expected = tower.encode(pixels(10)).result()[0]
    cramped = encoder()
    cramped.visual = Cramped(cramped.visual, 3)
    found = cramped.encode(pixels(10)).result()[0]
    assert np.allclose(found.astype(np.float32), expected.astype(np.float32), atol=2e-3)
    assert (cramped.chunk, cramped.ran_out) == (2, True)
    assert cramped.visual.seen[:3] == [10, 5, 2]
    cramped.visual.seen.clear()
    cramped.encode(pixels(4))
    assert cramped.visual.seen == [2, 2]


def test_a_device_that_holds_not_even_one_image_says_so():
    cramped = encoder()
    cramped.visual = Cramped(cramped.visual, 0)
    with pytest.raises(MachineCannot, match="does not hold"):
        cramped.encode(pixels(4))


def test_a_file_of_a_colleague_is_compared_field_by_field(tmp_path):
    ours = build_file(tmp_path / "ours.hdf5", range(20))
    same = build_file(tmp_path / "same.hdf5", range(20), precision="bf16")
    other = build_file(tmp_path / "other.hdf5", range(20), activation="quick-gelu", weights_sha256="1" * 64)
    assert run_cli("check", str(same), "--like", str(ours)).returncode == 0
    done = run_cli("check", str(other), "--like", str(ours), "--json")
    assert done.returncode == 1
    bad = {row["what"] for row in json.loads(done.stdout)["rows"] if row["judgement"] == "bad"}
    assert bad == {"same activation", "same weights sha256"}


def test_another_storage_type_and_class_tokens_beside_are_no_other_features(tmp_path):
    ours = build_file(tmp_path / "ours.hdf5", range(20))
    wide = build_file(tmp_path / "wide.hdf5", range(20), dtype="float32")
    assert run_cli("check", str(wide), "--like", str(ours)).returncode == 0
    assert run_cli("check", str(wide), "--trained-with", "dtype=float16").returncode == 1
    build = FeatureBuild.start(tmp_path / "more.hdf5", make_manifest(global_width=8), range(20))
    build.write(range(20), smooth_rows(20), smooth_rows(20)[:, 0])
    build.publish()
    build.close()
    assert run_cli("check", str(tmp_path / "more.hdf5"), "--like", str(ours)).returncode == 0
    assert run_cli("check", str(ours), "--like", str(tmp_path / "more.hdf5")).returncode == 1


def test_a_file_is_held_against_what_the_training_will_use(tmp_path):
    path = build_file(tmp_path / "f.hdf5", range(20))
    (tmp_path / "weights.pt").write_bytes(b"some weights")
    asked = ("check", str(path), "--trained-with", "clip_model=ViT-B/16", "--trained-with")
    assert run_cli(*asked, "grid=7x7").returncode == 0
    assert run_cli(*asked, "grid=native").returncode == 1
    assert run_cli(*asked, f"weights={tmp_path / 'weights.pt'}").returncode == 1
    assert run_cli(*asked, "colour=red").returncode == 2
    for wrong in ("grid=9x9", "tokens=many", "clip_model=ViT-B-61"):
        refused = run_cli(*asked, wrong)
        assert refused.returncode == 2, refused.stdout + refused.stderr
        assert wrong.partition("=")[2] in refused.stderr
    numbers = (
        "--trained-with",
        "image_px=224",
        "--trained-with",
        "antialias=true",
        "--trained-with",
        "mean=0.5,0.5,0.5",
    )
    assert run_cli("check", str(path), *numbers).returncode == 0


@pytest.fixture(scope="module")
def of_another_program(demo_root, tmp_path_factory) -> Path:
    """Features as a lab's script leaves them: gzip, no manifest."""
    folder = tmp_path_factory.mktemp("theirs")
    extract(demo_root, folder / "ours.hdf5", "--dtype", "float32")
    with h5py.File(folder / "ours.hdf5") as ours, h5py.File(folder / "theirs.hdf5", "w") as theirs:
        for key in ours:
            theirs.create_dataset(key, data=ours[key][()], compression="gzip", compression_opts=4)
    return folder / "theirs.hdf5"


def test_a_file_without_manifest_is_recomputed_as_it_is_said_to_be_made(of_another_program, demo_root):
    asked = ("check", str(of_another_program), "--image-root", str(demo_root / "images"), "--split", "train2014",
             "--recompute", "3", "--json")  # fmt: skip
    made = ("--trained-with", "clip_model=fsgr-demo-16", "--weights", "random:0")
    told = json.loads(run_cli(*asked, *made).stdout)
    assert told["good"], told["headline"]
    assert told["recompute"]["images"] == 3
    for other in (("--weights", "random:1"), ("--trained-with", "resize=crop")):
        done = run_cli(*asked, *made, *other)
        assert done.returncode == 1
        assert "Extracted again they differ" in json.loads(done.stdout)["headline"]
    for unsaid, word in (((), "no manifest"), ((*made, "--trained-with", "grid=native"), "gives rows of (196, 96)")):
        refused = run_cli(*asked, *unsaid)
        assert refused.returncode == 2
        assert word in refused.stderr


def test_half_precision_in_a_batch_agrees_with_one_image_at_a_time_within_its_tolerance(demo_root, tmp_path):
    extract(demo_root, tmp_path / "f.hdf5", "--precision", "bf16", "--batch-size", "16")
    manifest = FeatureFile(tmp_path / "f.hdf5").manifest
    assert (manifest.precision, manifest.batch_size, manifest.device[:3]) == ("bf16", 16, "cpu")
    done = run_cli(
        "check", str(tmp_path / "f.hdf5"), "--image-root", str(demo_root / "images"), "--recompute", "8", "--json"
    )
    told = json.loads(done.stdout)["recompute"]
    assert done.returncode == 0
    assert told["least_cosine"] >= 0.999
    assert 0 <= told["worst_relative_l2"] <= told["limit_relative_l2"] == 0.04
    assert "largest_difference" in told


def test_the_recomputation_looks_at_class_tokens_too(demo_root, tmp_path):
    extract(demo_root, tmp_path / "f.hdf5", "--global-token")
    asked = ("check", str(tmp_path / "f.hdf5"), "--image-root", str(demo_root / "images"), "--recompute", "24")
    assert run_cli(*asked).returncode == 0
    with h5py.File(tmp_path / "f.hdf5", "r+") as file:
        key = next(key for key in file if key.endswith("_global"))
        file[key][()] = file[key][()][::-1]
    done = run_cli(*asked)
    assert done.returncode == 1
    assert f"the worst is image {key.removesuffix('_global')}" in done.stdout
