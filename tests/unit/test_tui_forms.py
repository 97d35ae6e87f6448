"""Forms: their texts, the command that they stand for, and where a fault belongs."""

from pathlib import Path

import pytest

from fsgr_tui.cli.extract import command as extract_command
from fsgr_tui.core.errors import BadRequest, Problem
from fsgr_tui.core.plan import Intent
from fsgr_tui.service import extraction, planning
from fsgr_tui.tui import extract_form, intent_form
from fsgr_tui.tui.intent_form import BadField, Wanted
from fsgr_tui.tui.widgets.form import field_of
from tests.fakes import screen as fakes

TEXTS = extract_form.texts_for(fakes.plan(), fakes.FEATURES, 8)


def test_the_form_begins_with_the_choice_of_the_plan():
    assert TEXTS["splits"] == "karpathy"
    assert TEXTS["output"] == "/data/features/coco_karpathy_vit-b-16_7x7.hdf5"
    assert (TEXTS["clip_model"], TEXTS["grid"], TEXTS["dtype"]) == ("ViT-B-16", "7x7", "float16")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"image_root": "/data/with space/[run]1", "splits": "train2014, val2014", "existing": "overwrite"},
        {
            "grid": "native",
            "dtype": "float32",
            "batch_size": "7",
            "workers": "0",
            "precision": "fp32",
            "existing": "resume",
        },
    ],
)
def test_the_shown_command_line_asks_for_exactly_what_the_form_asks_for(changes):
    request = extract_form.request_for({**TEXTS, **changes})
    program, name, *flags = request.shown
    assert (program, name) == ("fsgr-tui", "extract")
    said = extract_command.make_context("extract", list(flags)).params
    assert (said["image_root"], said["splits"], said["output_path"]) == (
        request.image_root,
        request.splits,
        request.output,
    )
    for field in ("clip_model", "weights", "grid", "dtype", "resize", "precision", "activation", "device"):
        assert said[field] == getattr(request.model, field)
    assert (said["batch_size"], said["workers"]) == (request.batch_size, request.workers)
    assert (said["resume"], said["overwrite"]) == (request.resume, request.overwrite)


def test_a_home_folder_is_expanded_as_a_shell_would(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert extract_form.command_line({**TEXTS, "image_root": "~/coco"})[3] == "/home/ada/coco"


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images" / "train2014"
    folder.mkdir(parents=True)
    (folder / "COCO_train2014_000000000009.jpg").write_bytes(b"x")
    return tmp_path / "images"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"image_root": "/nowhere"}, "image_root"),
        ({"splits": ""}, "splits"),
        ({"splits": "tran2014"}, "splits"),
        ({"clip_model": "ViT-Z-99"}, "clip_model"),
        ({"clip_model": "ViT-B-32", "grid": "8x8"}, "grid"),
        ({"weights": "/nowhere/model.pt"}, "weights"),
        ({"weights": "random:x"}, "weights"),
        ({"output": "features.npz"}, "output"),
    ],
)
def test_a_real_fault_of_the_service_finds_its_field(images, tmp_path, changes, field):
    texts = {**TEXTS, "image_root": str(images), "splits": "train2014", "output": str(tmp_path / "f.hdf5"), **changes}
    with pytest.raises(Problem) as caught:
        extraction.prepare(extract_form.request_for(texts))
    assert field_of(extract_form.FIELDS, texts, caught.value.what, caught.value.fix) == field


def test_an_output_that_is_a_folder_is_a_fault_of_the_output(images, tmp_path):
    output = tmp_path / "f.hdf5"
    output.mkdir()
    texts = {**TEXTS, "image_root": str(images), "splits": "train2014", "output": str(output)}
    with pytest.raises(Problem) as caught:
        extraction.prepare(extract_form.request_for(texts))
    assert field_of(extract_form.FIELDS, texts, caught.value.what, caught.value.fix) == "output"


def test_an_output_that_exists_is_a_fault_of_the_output(images, tmp_path):
    output = tmp_path / "f.hdf5"
    output.write_bytes(b"x")
    texts = {**TEXTS, "image_root": str(images), "splits": "train2014", "output": str(output)}
    with pytest.raises(Problem) as caught:
        extraction.prepare(extract_form.request_for(texts))
    assert field_of(extract_form.FIELDS, texts, caught.value.what, caught.value.fix) == "output"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"clip_model": "ViT-Z-99"}, "clip_model"),
        ({"image_root": "/nowhere"}, "image_root"),
        ({"splits": "tran2014"}, "splits"),
    ],
)
def test_a_real_fault_of_the_planner_finds_its_field(changes, field):
    texts = {**intent_form.to_texts(Wanted(Intent(), None, "features")), **changes}
    wanted = intent_form.from_texts(texts, Intent())
    with pytest.raises(BadRequest) as caught:
        planning.plan(wanted.intent, wanted.image_root, wanted.features_dir)
    assert field_of(intent_form.FIELDS, texts, caught.value.what, caught.value.fix) == field


def test_a_fault_that_belongs_to_no_field_is_told_elsewhere():
    assert (
        field_of(extract_form.FIELDS, TEXTS, "`fsgr-tui extract` needs the package torch.", "Install the extra.") == ""
    )


def test_an_intent_survives_its_form():
    intent = Intent(experiments=5, batch_size=64, dtype="float32", splits=("train2014",), paper=True, workers=3)
    wanted = Wanted(intent, "/data/images", "features")
    assert intent_form.from_texts(intent_form.to_texts(wanted), Intent(workers=3)) == wanted


@pytest.mark.parametrize(
    ("name", "text"), [("epochs", "many"), ("epochs", "0"), ("clip_swaps", "-1"), ("epochs", ""), ("features_dir", " ")]
)
def test_a_bad_number_is_a_fault_of_its_own_field(name, text):
    texts = {**intent_form.to_texts(Wanted(Intent(), None, "features")), name: text}
    with pytest.raises(BadField) as caught:
        intent_form.from_texts(texts, Intent())
    assert caught.value.name == name
    assert caught.value.fix


def test_nothing_said_is_not_zero():
    texts = intent_form.to_texts(Wanted(Intent(), None, "features"))
    assert intent_form.from_texts(texts, Intent()).intent.experiments is None
    assert intent_form.from_texts(texts, Intent()).image_root is None


def test_tests_do_not_write_into_the_working_folder():
    assert not Path("features.npz").exists()


def test_a_name_that_tells_what_is_in_the_file_follows_the_form():
    now = {**TEXTS, "clip_model": "ViT-L/14", "grid": "native"}
    assert (
        extract_form.output_follows(TEXTS, now, fakes.FEATURES) == "/data/features/coco_karpathy_vit-l-14_native.hdf5"
    )


def test_a_name_of_ones_own_stays():
    mine = {**TEXTS, "output": "/mine.hdf5"}
    assert extract_form.output_follows(mine, {**mine, "grid": "native"}, fakes.FEATURES) == "/mine.hdf5"
    assert extract_form.output_follows(TEXTS, mine, fakes.FEATURES) == "/mine.hdf5"
