from __future__ import annotations

import pytest

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.lab import Place
from fsgr_tui.probes.checkout import probe_checkout
from tests.fakes.lab import FLAGS, save_vocabulary, script_text, write_checkout


def test_every_flag_of_the_script_is_read_with_what_it_takes(tmp_path):
    checkout = probe_checkout(write_checkout(tmp_path))
    assert checkout.script == "train_transformer.py"
    assert len(checkout.flags) == len(FLAGS)
    assert (checkout.flag("--batch_size").kind, checkout.flag("--text").takes_value) == ("int", False)
    assert checkout.flag("--use_hdf5_features") is None


def test_a_flag_is_found_by_its_hyphens_and_by_a_beginning_that_fits_one_alone(tmp_path):
    checkout = probe_checkout(write_checkout(tmp_path))
    assert checkout.flag("--exp-name") is checkout.flag("--exp_name") is checkout.flag("--exp")
    assert checkout.flag("--adapter") is None  # two begin so, and argparse refuses


def test_nothing_in_the_checkout_is_run(tmp_path):
    mark = tmp_path / "mark"
    write_checkout(tmp_path / "lab", script=script_text(head=f"open({str(mark)!r}, 'w')"))
    assert probe_checkout(tmp_path / "lab").flags
    assert not mark.exists()


def test_choices_required_and_defaults_are_read(tmp_path):
    script = (
        "import argparse\np = argparse.ArgumentParser()\n"
        "p.add_argument('-m', '--mode', choices=['a', 'b'], required=True)\n"
        "p.add_argument('--features_path', default='features/coco.hdf5')\n"
        "p.add_argument('--computed', default=1 + 1)\np.add_argument('positional')\n"
    )
    checkout = probe_checkout(write_checkout(tmp_path, script=script))
    mode, features, computed = checkout.flags
    assert (mode.names, mode.choices, mode.required) == (("-m", "--mode"), ("a", "b"), True)
    assert (features.default, computed.default) == ("features/coco.hdf5", "")


def test_flags_of_a_module_that_the_script_imports_count(tmp_path):
    write_checkout(tmp_path, script="from options import parser\nparser.parse_args()\n")
    (tmp_path / "options.py").write_text(
        "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--x')\n"
    )
    (tmp_path / "other.py").write_text("parser.add_argument('--never')\n")
    checkout = probe_checkout(tmp_path)
    assert [flag.names for flag in checkout.flags] == [("--x",)]


def test_a_parser_that_drops_unknown_flags_is_told_apart(tmp_path):
    write_checkout(tmp_path, script=script_text(parse="parse_known_args()[0]"))
    assert probe_checkout(tmp_path).takes_any_flag


@pytest.mark.parametrize(
    "line",
    [
        "os.environ['CUDA_VISIBLE_DEVICES'] = '0'",
        'os.environ["CUDA_VISIBLE_DEVICES"] = "0"',
        "os.putenv('CUDA_VISIBLE_DEVICES', '0')",
        "torch.cuda.set_device(0)",
    ],
)
def test_a_line_that_overwrites_the_choice_of_the_gpu_is_found(tmp_path, line):
    (place,) = probe_checkout(write_checkout(tmp_path, script=script_text(head=line))).device_lines
    assert place == Place("train_transformer.py", 7, "0")


def test_a_default_for_the_gpu_overwrites_nothing(tmp_path):
    line = "os.environ.setdefault('CUDA_VISIBLE_DEVICES', '0')"
    assert probe_checkout(write_checkout(tmp_path, script=script_text(head=line))).device_lines == ()


@pytest.mark.parametrize("text", ["x.view(b, 14, 14, c)", "size = (14, 14)", "rearrange(x, 'b (h w) c', h=14, w=14)"])
def test_a_grid_of_14x14_that_is_written_as_a_number_is_found(tmp_path, text):
    write_checkout(tmp_path)
    (tmp_path / "models/net.py").write_text(f"class Net:\n    def f(self, x, b, c):\n        {text}\n")
    (place,) = probe_checkout(tmp_path).grid_lines
    assert (place.file, place.line) == ("models/net.py", 3)


def test_other_numbers_are_no_grid(tmp_path):
    write_checkout(tmp_path)
    (tmp_path / "models/net.py").write_text("a = (7, 7)\nb = [14]\nc = (14, 7, 14)\n")
    assert probe_checkout(tmp_path).grid_lines == ()


def test_spacy_java_and_foreign_packages_are_found_through_the_imports(tmp_path):
    write_checkout(tmp_path, script=script_text(head="import spacy\nspacy.load('en')"))
    checkout = probe_checkout(tmp_path)
    assert [place.text for place in checkout.spacy_models] == ["en"]
    assert [str(place) for place in checkout.java_lines] == ["evaluation/tokenizer.py:2"]
    assert checkout.imports == {"torch", "spacy", "h5py"}


def test_imports_inside_functions_and_behind_a_try_are_only_perhaps_needed(tmp_path):
    head = "try:\n    import horovod\nexcept ImportError:\n    horovod = None\ndef late():\n    import wandb\n    import torch.nn"
    checkout = probe_checkout(write_checkout(tmp_path, script=script_text(head=head)))
    assert checkout.imports == {"torch", "h5py", "horovod", "wandb"}
    assert checkout.perhaps == {"horovod", "wandb"}


def test_a_vocabulary_that_the_source_names_is_found_when_it_is_there(tmp_path):
    write_checkout(tmp_path, script=script_text(head="a = 'vocab/vocab_coco.pkl'\nb = 'absent.pkl'"))
    save_vocabulary(tmp_path / "vocab/vocab_coco.pkl", 5)
    assert probe_checkout(tmp_path).vocabularies == ("vocab/vocab_coco.pkl",)


@pytest.mark.parametrize(
    "copy",
    [
        "data/field_old.py",
        "data/field.py.bak",
        "data/field (1).py",
        "field.py",
        "backup/data/field.py",
        "data/field_copy2.py",
    ],
)
def test_a_copy_of_an_edited_file_that_says_something_else_is_found(tmp_path, copy):
    write_checkout(tmp_path)
    (tmp_path / copy).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / copy).write_text("old = 1\n")
    (copies,) = probe_checkout(tmp_path).copies
    assert (copies.used, copies.different) == ("data/field.py", (copy,))


@pytest.mark.parametrize(
    "copy", ["data/field.py.bak", "data/__pycache__/field.cpython-38.py", "data/fields.py", "venv/lib/field.py"]
)
def test_equal_copies_caches_environments_and_other_names_are_no_matter(tmp_path, copy):
    write_checkout(tmp_path)
    (tmp_path / copy).parent.mkdir(parents=True, exist_ok=True)
    same = copy.endswith(".bak")
    (tmp_path / copy).write_text((tmp_path / "data/field.py").read_text() if same else "other = 1\n")
    assert probe_checkout(tmp_path).copies == ()


def test_a_module_of_python_2_is_named_and_the_rest_is_read(tmp_path):
    write_checkout(tmp_path)
    (tmp_path / "models/net.py").write_text("print 'hello'\n")
    checkout = probe_checkout(tmp_path)
    assert [place.file for place in checkout.unread] == ["models/net.py"]
    assert checkout.flags


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: None, "There is no checkout"),
        (lambda root: root.mkdir(), "has no train_transformer.py or train.py"),
        (lambda root: write_checkout(root, script="def broken(:\n"), "cannot be read: .* in line 1"),
    ],
)
def test_a_checkout_without_a_readable_script_is_refused(tmp_path, make, words):
    make(tmp_path / "lab")
    with pytest.raises(BadRequest, match=words):
        probe_checkout(tmp_path / "lab")


def test_a_mistyped_script_is_answered_with_near_names(tmp_path):
    with pytest.raises(BadRequest) as caught:
        probe_checkout(write_checkout(tmp_path), "train_transfomer.py")
    assert "train_transformer.py" in caught.value.fix


def test_a_loop_of_symlinks_in_the_checkout_is_no_trap(tmp_path):
    write_checkout(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert probe_checkout(tmp_path).copies == ()
