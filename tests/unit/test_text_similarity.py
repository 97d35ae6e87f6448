"""Patches are held against a text as CLIP itself would, with the model that made them and no other."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from fsgr_tui.core.errors import BadRequest, MachineCannot, MissingExtra
from fsgr_tui.features.build import FeatureBuild
from fsgr_tui.features.joint import JointSpace, remarks_on, require_joint
from fsgr_tui.service import looking, texts
from tests.conftest import make_manifest, run_cli

TEXT = "a red ball on {} %s grass"
IDS = (4, 9)
DEMO = {"clip_model": "fsgr-demo-16", "weights": "random:0", "activation": "gelu", "dtype": "float32"}


@pytest.fixture(scope="module")
def clip():
    """open_clip's own answers: tokens at each stage, (images, tokens, channels), and the cosines to the text."""
    import open_clip
    import torch
    from torch.nn import functional

    from fsgr_tui.core.extraction import ModelChoice
    from fsgr_tui.extract.model import load_tower

    loaded = load_tower(ModelChoice(clip_model="fsgr-demo-16", weights="random:0"), with_text=True)
    model, visual = loaded.model, loaded.visual
    entering = []
    visual.ln_post.register_forward_pre_hook(lambda _module, inputs: entering.append(inputs[0][:, 1:]))
    visual.output_tokens = True
    with torch.inference_mode():
        pictures = torch.randn(len(IDS), 3, 224, 224, generator=torch.Generator().manual_seed(0))
        _, tokens = visual(pictures)
        projected = tokens @ visual.proj
        pooled = (
            functional.avg_pool2d(tokens.transpose(1, 2).reshape(len(IDS), -1, 14, 14), 2).flatten(2).transpose(1, 2)
        )
        text = model.encode_text(open_clip.get_tokenizer("fsgr-demo-16")([TEXT]))[0]
        cosines = {
            "native": functional.cosine_similarity(projected, text, dim=-1),
            "7x7": functional.cosine_similarity(pooled @ visual.proj, text, dim=-1),
        }
    rows = {"pre-ln_post": entering[0], "post-ln_post": tokens, "projected": projected, "pooled": pooled}
    return loaded.sha256, {name: row.numpy() for name, row in rows.items()}, {k: v.numpy() for k, v in cosines.items()}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cache(kept, monkeypatch):
    """One cache for all tests: the model is loaded once a text."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept))
    return kept


def a_file(path, clip, kind, **changes):
    sha256, rows, _ = clip
    stage, grid = ("post-ln_post", "7x7") if kind == "pooled" else (kind, "native")
    _, tokens, width = rows[kind].shape
    shape = {"stage": stage, "grid": grid, "tokens": tokens, "width": width, "weights_sha256": sha256}
    build = FeatureBuild.start(path, make_manifest(**{**DEMO, **shape, **changes}), IDS)
    build.write(range(len(IDS)), rows[kind])
    build.publish()
    build.close()
    return path


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("kind", ["pre-ln_post", "post-ln_post", "projected", "pooled"])
def test_the_map_is_what_open_clip_says(tmp_path, clip, cache, kind):
    sample = looking.look(str(a_file(tmp_path / "f.hdf5", clip, kind)), 9, text=TEXT)
    expected = clip[2]["7x7" if kind == "pooled" else "native"][1]
    side = round(len(expected) ** 0.5)
    assert np.allclose(sample.patches, expected.reshape(side, side), atol=2e-5)
    assert np.ptp(expected) > 0.01
    assert (sample.kind, sample.text) == ("text", TEXT)
    assert "untrained" in sample.remarks[0]


@pytest.mark.slow
@pytest.mark.torch
def test_the_model_is_loaded_once_for_a_text_and_a_damaged_cache_is_made_anew(tmp_path, clip, cache, monkeypatch):
    path = str(a_file(tmp_path / "f.hdf5", clip, "projected"))
    first = looking.look(path, position=1, text=TEXT)
    with monkeypatch.context() as patch:
        patch.setattr(texts, "_run", lambda *_: pytest.fail("the child was started again"))
        assert looking.look(path, position=1, text=TEXT) == first
        # A chosen patch stays chosen; the map is that of the text.
        assert looking.look(path, position=1, patch=(3, 4), text=TEXT).patches == first.patches
    vector = next(cache.rglob("*.npy"))
    vector.write_bytes(vector.read_bytes()[:50])
    assert looking.look(path, position=1, text=TEXT) == first


@pytest.mark.slow
@pytest.mark.torch
def test_other_weights_are_refused(tmp_path, clip, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = a_file(tmp_path / "f.hdf5", clip, "projected")
    with pytest.raises(BadRequest, match="random:1 are not the weights") as caught:
        looking.look(str(path), 9, text="a new text", weights="random:1")
    assert clip[0][:12] in caught.value.what
    assert not list((tmp_path / "cache").rglob("*.npy"))


@pytest.mark.slow
@pytest.mark.torch
def test_the_command_shows_the_text_and_its_caveat(tmp_path, clip, cache):
    path = str(a_file(tmp_path / "f.hdf5", clip, "post-ln_post"))
    shown = run_cli("look", path, "9", "--text", "a \x1b[31mball")
    assert shown.returncode == 0, shown.stderr
    assert 'to the text "a \\x1b[31mball"' in shown.stdout
    assert "means nothing" in shown.stdout
    assert json.loads(run_cli("look", path, "9", "--text", "a \x1b[31mball", "--json").stdout)["kind"] == "text"


@pytest.mark.parametrize(
    ("stage", "why"), [("labels", "class indices"), ("pixels", "pictures"), ("last stage", "ResNet"), ("else", "else")]
)
def test_stages_that_text_cannot_reach_are_refused_with_the_reason(stage, why):
    with pytest.raises(BadRequest) as caught:
        require_joint(Path("f.hdf5"), make_manifest(stage=stage))
    assert why in caught.value.fix


def test_a_file_of_another_program_and_an_empty_text_are_refused(tmp_path):
    with h5py.File(tmp_path / "f.hdf5", "w") as file:
        file["9_grids"] = np.ones((49, 768), np.float32)
    with pytest.raises(BadRequest, match="no manifest"):
        looking.look(str(tmp_path / "f.hdf5"), text="a ball")
    with pytest.raises(BadRequest, match="empty"):
        texts.direction(tmp_path / "f.hdf5", make_manifest(), " ")


def test_weights_that_are_not_here_are_told_before_torch_is_loaded(monkeypatch):
    monkeypatch.setattr(texts, "require_packages", lambda *_: None)
    with pytest.raises(MachineCannot, match=r"/gone/clip\.pt"):
        texts.direction(Path("f.hdf5"), make_manifest(weights="/gone/clip.pt"), "a ball")


def test_without_torch_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("fsgr_tui.service.model_choice.is_installed", lambda _name: False)
    with pytest.raises(MissingExtra, match="look --text"):
        texts.direction(Path("f.hdf5"), make_manifest(), "a ball")


def test_a_child_that_dies_without_a_word_is_told(tmp_path):
    with pytest.raises(MachineCannot, match="Killed by nobody"):
        texts._run(("sh", "-c", "echo Killed by nobody >&2; exit 9"), tmp_path / "events")


def test_steps_behind_a_stage_are_those_of_the_tower():
    generator = np.random.default_rng(0)
    space = JointSpace(generator.normal(size=6), generator.normal(size=6), 1e-5, generator.normal(size=(6, 3)))
    tokens = generator.normal(size=(5, 6))
    normed = (tokens - tokens.mean(1)[:, None]) / np.sqrt(
        tokens.var(1)[:, None] + 1e-5
    ) * space.ln_weight + space.ln_bias
    assert np.allclose(space.brought(tokens, "pre-ln_post"), normed @ space.projection)
    assert np.allclose(space.brought(tokens, "post-ln_post"), tokens @ space.projection)
    assert space.brought(tokens, "projected") is tokens


def test_what_limits_a_map_is_told():
    trained = {"weights": "openai", "pooling": "average 2x2"}
    assert len(remarks_on(make_manifest(**trained), "a ball")) == 1
    assert "approximate" in remarks_on(make_manifest(**trained, stage="pre-ln_post"), "a ball")[1]
    assert len(remarks_on(make_manifest(weights="openai", pooling="none", stage="pre-ln_post"), "a ball")) == 1
    assert "English" in remarks_on(make_manifest(**trained, activation="quick-gelu"), "红色的球")[-1]
    assert len(remarks_on(make_manifest(**trained, activation="gelu"), "红色的球")) == 1
