"""Forms: their texts, the command that they stand for, and where a fault belongs."""

import shlex
import subprocess
from pathlib import Path

import msgspec
import pytest
from textual import events
from textual.app import App

from fsgr_tui.cli import train as train_cli
from fsgr_tui.cli.extract import command as extract_command
from fsgr_tui.core.errors import BadRequest, Problem
from fsgr_tui.core.plan import Intent
from fsgr_tui.service import extraction, planning, training
from fsgr_tui.tui import intent_form
from fsgr_tui.tui.intent_form import BadField, Wanted
from fsgr_tui.tui.order import command_for, order_for
from fsgr_tui.tui.run_fields import (
    AFTER,
    EXTRACT,
    FIELDS,
    IN_TURN,
    PIXELS,
    PRECOMPUTED,
    REALTIME,
    following,
    shown_fields,
    texts_for,
)
from fsgr_tui.tui.widgets.command import wrapped
from fsgr_tui.tui.widgets.form import Field, Form, field_of
from tests.fakes import screen as fakes

TEXTS = texts_for(fakes.plan(), fakes.FEATURES, 8)


def field_at(texts, caught):
    return field_of(shown_fields(texts), texts, caught.value.what, caught.value.fix)


def test_the_form_begins_with_the_choice_of_the_plan():
    assert TEXTS["what"] == EXTRACT
    assert TEXTS["splits"] == "karpathy"
    assert TEXTS["output"] == TEXTS["features"] == "/data/features/coco_karpathy_vit-b-16_7x7.hdf5"
    assert (TEXTS["clip_model"], TEXTS["grid"], TEXTS["dtype"]) == ("ViT-B-16", "7x7", "float16")
    assert set(TEXTS) == {field.name for field in FIELDS}


def test_a_plan_of_realtime_training_begins_with_it():
    plan = fakes.plan(Intent(epochs=7, adapters=True), fakes.CRAMPED)
    texts = texts_for(plan, fakes.FEATURES, 8)
    assert (texts["what"], texts["epochs"], texts["adapters"]) == (REALTIME, "7", "6-11")
    (step,) = plan.commands
    said = order_for(texts).request
    flags = dict(zip(step.argv, step.argv[1:], strict=False))
    assert str(said.spec.batch_size) == flags["--batch-size"]
    assert said.spec.adapters.first == int(flags["--adapter-b"])


@pytest.mark.parametrize(
    ("changes", "there", "not_there"),
    [
        ({"what": EXTRACT}, {"image_root", "output", "stage"}, {"epochs", "features", "after"}),
        ({"what": PRECOMPUTED}, {"features", "annotations", "exp_name"}, {"image_root", "clip_model", "pixels"}),
        ({"what": REALTIME}, {"image_root", "splits", "weights", "adapters"}, {"features", "pixels", "output"}),
        ({"what": REALTIME, "pictures": PIXELS}, {"pixels"}, {"image_root", "splits"}),
        ({"what": EXTRACT, "pictures": PIXELS}, {"image_root", "splits"}, {"pixels"}),
        ({"what": EXTRACT, "start": AFTER}, {"after"}, set()),
    ],
)
def test_only_the_fields_that_matter_are_asked(changes, there, not_there):
    names = [field.name for field in shown_fields({**TEXTS, **changes})]
    assert len(names) == len(set(names))
    assert there <= set(names)
    assert not not_there & set(names)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"image_root": "/data/with space/[run]1", "splits": "train2014, val2014", "extract_existing": "overwrite"},
        {
            "grid": "native",
            "dtype": "float32",
            "extract_batch": "7",
            "extract_workers": "0",
            "precision": "fp32",
            "extract_existing": "resume",
            "stage": "pre-ln_post",
        },
        {"ids": "m2/coco_train_ids.npy", "ids_annotations": "m2"},
    ],
)
def test_the_shown_command_line_asks_for_exactly_what_the_form_asks_for(changes):
    order = order_for({**TEXTS, **changes})
    request = order.request
    assert order.command == request.shown
    program, name, *flags = request.shown
    assert (program, name) == ("fsgr-tui", "extract")
    said = extract_command.make_context("extract", list(flags)).params
    assert (said["image_root"], said["splits"], said["output_path"]) == (
        request.image_root,
        request.splits,
        request.output,
    )
    for field in ("clip_model", "weights", "grid", "dtype", "stage", "resize", "precision", "activation", "device"):
        assert said[field] == getattr(request.model, field)
    assert (said["batch_size"], said["workers"]) == (request.batch_size, request.workers)
    assert (said["resume"], said["overwrite"]) == (request.resume, request.overwrite)
    assert (said["ids_file"], said["annotations"]) == (
        request.ids.path if request.ids else "",
        request.annotations,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"what": PRECOMPUTED},
        {"what": PRECOMPUTED, "features": "/data/with space/f.hdf5", "scst_epochs": "3", "dry_run": "yes"},
        {"what": REALTIME, "adapters": "6-11", "realtime_batch": "9", "learning_rate": "3e-4", "splits": "val2014"},
        {"what": REALTIME, "pictures": PIXELS, "pixels": "p.hdf5", "train_existing": "overwrite", "processes": "2"},
        {"what": REALTIME, "max_steps": "5", "train_existing": "resume", "weights": "random:0", "grid": "native"},
    ],
)
def test_the_shown_training_command_asks_for_exactly_what_the_form_asks_for(changes, monkeypatch):
    request = order_for({**TEXTS, **changes}).request
    program, name, *flags = request.shown
    assert (program, name) == ("fsgr-tui", "train")
    said = train_cli.command.make_context("train", list(flags)).params
    for left_out in ("runs_on", "profile", "detach", "as_json"):
        said.pop(left_out)
    rehearsal = said.pop("dry_run")
    parsed = train_cli._request(
        said.pop("mode"), said.pop("features_path"), said.pop("image_root") or "", {**said, "rehearsal": rehearsal}
    )
    ours, theirs = request.spec, parsed.spec
    if ours.mode == "precomputed":
        # Nothing of the tower matters there, and nothing is said of it.
        theirs = msgspec.structs.replace(theirs, model=ours.model)
    # Not said is one.
    theirs = msgspec.structs.replace(theirs, processes=theirs.processes or 1, nodes=theirs.nodes or 1)
    assert theirs == ours
    assert (parsed.image_root, parsed.splits) == (request.image_root, request.splits)


def test_the_command_of_a_job_that_waits_is_one_for_run():
    plain = command_for(TEXTS)
    assert command_for({**TEXTS, "start": IN_TURN}) == ("fsgr-tui", "run", "--queue", "--", *plain)
    assert command_for({**TEXTS, "start": AFTER, "after": "a, b"}) == (
        "fsgr-tui",
        "run",
        "--after",
        "a,b",
        "--",
        *plain,
    )
    pixels = {**TEXTS, "stage": "pixels", "start": IN_TURN}
    assert command_for(pixels)[:5] == ("fsgr-tui", "run", "--gpu", "none", "--queue")
    order = order_for({**TEXTS, "start": AFTER, "after": "a"})
    assert (order.after, order.in_turn, order.waits) == (("a",), False, True)
    assert not order_for(TEXTS).waits


@pytest.mark.parametrize("cells", [12, 40, 78, 200])
def test_a_wrapped_command_is_read_by_a_shell_as_the_same_words(cells):
    argv = ("fsgr-tui", "extract", "--image-root", "/data/with space/[run]1", "--split", "图 像", "--weights", "it's")
    text = wrapped(argv, cells)
    assert tuple(shlex.split(text.replace("\\\n", ""))) == argv
    read = subprocess.run(["sh", "-c", f"printf '%s\\n' {text}"], capture_output=True, check=True)
    assert tuple(read.stdout.decode().splitlines()) == argv
    assert ("--image-root \\\n" in text) == (cells < 78)


def test_a_home_folder_is_expanded_as_a_shell_would(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert command_for({**TEXTS, "image_root": "~/coco"})[3] == "/home/ada/coco"


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
        extraction.prepare(order_for(texts).request)
    assert field_at(texts, caught) == field


@pytest.mark.parametrize("what", [EXTRACT, PRECOMPUTED, REALTIME])
def test_an_empty_field_that_is_needed_is_said_to_be_empty(what):
    texts = {**TEXTS, "what": what}
    may_be_empty = {"ids", "ids_annotations", "adapters", "max_steps", *(["splits"] if what == REALTIME else [])}
    for field in shown_fields(texts):
        if not field.values and field.name not in may_be_empty:
            with pytest.raises(BadField) as caught:
                order_for({**texts, field.name: " "})
            assert caught.value.name == field.name


def test_an_output_that_is_a_folder_is_a_fault_of_the_output(images, tmp_path):
    output = tmp_path / "f.hdf5"
    output.mkdir()
    texts = {**TEXTS, "image_root": str(images), "splits": "train2014", "output": str(output)}
    with pytest.raises(Problem) as caught:
        extraction.prepare(order_for(texts).request)
    assert field_at(texts, caught) == "output"


def test_an_output_that_exists_is_a_fault_of_the_output(images, tmp_path):
    output = tmp_path / "f.hdf5"
    output.write_bytes(b"x")
    texts = {**TEXTS, "image_root": str(images), "splits": "train2014", "output": str(output)}
    with pytest.raises(Problem) as caught:
        extraction.prepare(order_for(texts).request)
    assert field_at(texts, caught) == "output"


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
        field_of(shown_fields(TEXTS), TEXTS, "`fsgr-tui extract` needs the package torch.", "Install the extra.") == ""
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
    name = "/data/features/coco_karpathy_vit-l-14_native.hdf5"
    # The training reads what the extraction writes.
    assert following(TEXTS, now, fakes.FEATURES) == {"output": name, "features": name}
    assert following(TEXTS, {**TEXTS, "stage": "pixels", "pixels": TEXTS["output"]}, fakes.FEATURES) == {
        "output": "/data/features/coco_karpathy_vit-b-16_pixels.hdf5",
        "pixels": "/data/features/coco_karpathy_vit-b-16_pixels.hdf5",
    }


def test_a_name_of_ones_own_stays():
    mine = {**TEXTS, "output": "/mine.hdf5", "features": "/other.hdf5"}
    assert following(mine, {**mine, "grid": "native"}, fakes.FEATURES) == {"output": "/mine.hdf5"}
    typed = {**TEXTS, "output": "/mine.hdf5"}
    assert following(TEXTS, typed, fakes.FEATURES) == {"output": "/mine.hdf5", "features": "/mine.hdf5"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"epochs": "many"}, "epochs"),
        ({"precomputed_batch": "0"}, "precomputed_batch"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"learning_rate": "nan"}, "learning_rate"),
        ({"max_steps": "-1"}, "max_steps"),
        ({"what": REALTIME, "adapters": "11-6"}, "adapters"),
        ({"what": REALTIME, "pictures": PIXELS, "pixels": " "}, "pixels"),
        ({"start": AFTER, "after": " "}, "after"),
    ],
)
def test_what_makes_no_command_is_a_fault_of_its_own_field(changes, field):
    texts = {**TEXTS, "what": PRECOMPUTED, **changes}
    for ask in (order_for, command_for):
        with pytest.raises(BadField) as caught:
            ask(texts)
        assert caught.value.name == field
        assert caught.value.fix
    assert field in {each.name for each in shown_fields(texts)}


@pytest.fixture
def annotated(tmp_path):
    """A feature file's place, and the captions of two images of which one is not there."""
    images = tmp_path / "images" / "train2014"
    images.mkdir(parents=True)
    (images / "COCO_train2014_000000000009.jpg").write_bytes(b"x")
    captions = [{"id": number, "image_id": image, "caption": "a dog"} for number, image in enumerate((9, 25))]
    (tmp_path / "captions_train2014.json").write_bytes(msgspec.json.encode({"annotations": captions}))
    (tmp_path / "captions_val2014.json").write_bytes(msgspec.json.encode({"annotations": captions}))
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"annotations": "/nowhere/m2"}, "annotations"),
        ({"exp_name": "a/b"}, "exp_name"),
        ({"precomputed_batch": "7", "processes": "2"}, "precomputed_batch"),
        ({"features": "/nowhere/f.hdf5"}, "features"),
        ({"checkpoints": "{captions}"}, "checkpoints"),
        ({"train_existing": "resume"}, "train_existing"),
        ({"what": REALTIME, "image_root": "{root}"}, "image_root"),
        ({"what": REALTIME, "clip_model": "ViT-Z-99"}, "clip_model"),
        ({"what": REALTIME, "weights": "/nowhere/w.pt"}, "weights"),
    ],
)
def test_a_real_fault_of_a_training_finds_its_field(annotated, changes, field):
    places = {"{captions}": str(annotated / "captions_train2014.json"), "{root}": str(annotated / "images")}
    changes = {name: places.get(value, value) for name, value in changes.items()}
    texts = {
        **TEXTS, "what": PRECOMPUTED, "annotations": str(annotated), "checkpoints": str(annotated / "checkpoints"),
        "weights": "random:0", "splits": "train2014", "precomputed_batch": "8", **changes,
    }  # fmt: skip
    with pytest.raises(Problem) as caught:
        training.prepare(order_for(texts).request)
    assert field_at(texts, caught) == field


async def test_keys_that_come_in_one_piece_are_answered_in_their_order():
    """As over a slow line: all of them are there before the first is answered."""

    class Forms(App[None]):
        def compose(self):
            yield Form(
                (Field("epochs", "epochs", ""), Field("way", "way", "", ("a", "b")), Field("batch", "batch", "")),
                {"epochs": "20", "batch": "64"},
            )

    async with Forms().run_test() as pilot:
        form = pilot.app.query_one(Form)
        form.enter("epochs")
        await pilot.pause()
        for key in ("ctrl+u", "4", "5", "down", "down", "ctrl+u", "9"):
            pilot.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await pilot.pause(0.3)
        assert form.values == {"epochs": "45", "way": "a", "batch": "9"}
