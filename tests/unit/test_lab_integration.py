"""Integration of a checkout: what is changed and what is not, what is refused, and the way back."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.service import integration
from tests.conftest import run_cli
from tests.fakes.checkout import FIELD, SCRIPT, write_checkout


@pytest.fixture
def checkout(tmp_path) -> Path:
    return write_checkout(tmp_path / "lab")


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def applied(root: Path) -> integration.Integration:
    return integration.apply(integration.plan(root))


def refusal(root: Path) -> str:
    before = contents(root)
    with pytest.raises(BadRequest) as caught:
        integration.plan(root)
    assert contents(root) == before
    return str(caught.value)


def test_a_plan_changes_nothing_and_names_three_files(checkout):
    before = contents(checkout)
    document = integration.plan(checkout).document
    assert contents(checkout) == before
    assert document.state == "needed"
    assert [file.path for file in document.files] == [
        "data/fsgr_tui_field.py", "data/field.py", "train_transformer.py",
    ]  # fmt: skip
    script = document.files[2].diff
    assert "+    parser.add_argument('--use_hdf5_features', action='store_true'" in script
    assert "load_in_tmp=False, use_hdf5=args.use_hdf5_features)" in script


def test_lines_are_only_added_but_for_the_two_that_get_a_parameter(checkout):
    for change in integration.plan(checkout).changes:
        removed = [line for line in change.diff.decode().splitlines() if line.startswith("-") and "---" not in line]
        assert all("load_in_tmp" in line for line in removed)
        assert len(removed) == (0 if change.before is None else 1)


def test_applied_once_there_is_nothing_left_to_do(checkout):
    assert applied(checkout).state == "applied"
    after = contents(checkout)
    again = applied(checkout)
    assert (again.state, again.files) == ("integrated", ())
    assert contents(checkout) == after


def test_it_goes_back_to_the_last_byte_and_leaves_no_folder(checkout):
    before = contents(checkout)
    applied(checkout)
    assert contents(checkout) != before
    undone = integration.undo(checkout)
    assert {file.path for file in undone.files} == {"data/fsgr_tui_field.py", "data/field.py", "train_transformer.py"}
    assert contents(checkout) == before
    assert not (checkout / ".fsgr-tui").exists()


def test_it_does_not_go_back_over_a_file_that_was_changed_since(checkout):
    applied(checkout)
    with (checkout / "data" / "field.py").open("a") as file:
        file.write("# mine\n")
    before = contents(checkout)
    with pytest.raises(BadRequest, match=r"data/field\.py was changed since"):
        integration.undo(checkout)
    assert contents(checkout) == before


def test_it_does_not_go_back_to_an_original_that_is_not_what_it_was(checkout):
    backup = Path(applied(checkout).backup)
    (backup / "train_transformer.py").write_text("")
    before = contents(checkout)
    with pytest.raises(BadRequest, match=r"original of train_transformer\.py"):
        integration.undo(checkout)
    assert contents(checkout) == before


def test_an_application_that_was_cut_off_can_be_taken_back_or_completed(checkout):
    before = contents(checkout)
    backup = Path(applied(checkout).backup)
    # As if it had been killed before the last file was replaced.
    shutil.copy(backup / "train_transformer.py", checkout / "train_transformer.py")
    copy = checkout.with_name("copy")
    shutil.copytree(checkout, copy)
    integration.undo(checkout)
    assert contents(checkout) == before
    assert [file.path for file in applied(copy).files] == ["train_transformer.py"]
    left = integration.undo(copy).remarks
    assert left == ("1 earlier integration can be taken back too.",)
    integration.undo(copy)
    assert contents(copy) == before


def test_nothing_to_take_back_is_said(checkout):
    with pytest.raises(BadRequest, match="no integration to take back"):
        integration.undo(checkout)


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_line_ends_stay(tmp_path, end):
    root = write_checkout(tmp_path / "lab")
    for name in ("data/field.py", "train_transformer.py"):
        path = root / name
        path.write_bytes(path.read_bytes().replace(b"\n", end.encode()))
    before = contents(root)
    applied(root)
    for name in ("data/field.py", "train_transformer.py"):
        raw = (root / name).read_bytes()
        assert raw.count(end.encode()) == raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n")
        assert unchanged_lines(before[name], raw, end.encode())
    assert integration.plan(root).document.state == "integrated"


def unchanged_lines(before: bytes, after: bytes, end: bytes) -> bool:
    """Whether all lines but the one with the new parameter are there, in order."""
    rest = iter(after.split(end))
    return all(b"load_in_tmp" in line or line in rest for line in before.split(end))


def test_tabs_stay_tabs(tmp_path):
    root = write_checkout(tmp_path / "lab", field=FIELD.replace("    ", "\t"))
    applied(root)
    text = (root / "data" / "field.py").read_text()
    assert "\t\tif use_hdf5:\n\t\t\tself.detections_path" in text
    assert not any(
        line.startswith(" ") for line in text.splitlines() if "def __init__" not in line and "max_d" not in line
    )
    ast.parse(text)


def test_a_latin_1_file_stays_one(tmp_path):
    root = write_checkout(tmp_path / "lab")
    path = root / "data" / "field.py"
    path.write_bytes(FIELD.replace("utf8", "latin-1").replace("A value", "Un caf\u00e9: valeur").encode("latin-1"))
    before = path.read_bytes()
    applied(root)
    after = path.read_bytes()
    assert b"caf\xe9" in after
    assert unchanged_lines(before, after, b"\n")
    integration.undo(root)
    assert path.read_bytes() == before


def test_a_byte_order_mark_stays(tmp_path):
    root = write_checkout(tmp_path / "lab")
    path = root / "train_transformer.py"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    applied(root)
    assert path.read_bytes().startswith(b"\xef\xbb\xbfimport os")
    assert path.read_bytes().count(b"\xef\xbb\xbf") == 1


def test_a_signature_of_one_line_each_and_a_call_with_a_last_comma_are_understood(tmp_path):
    field = FIELD.replace(
        "sort_by_prob=False, load_in_tmp=True):",
        "sort_by_prob=False,\n                 load_in_tmp=True,  # to /tmp\n                 **others):",
    )
    script = SCRIPT.replace("max_detections=49, load_in_tmp=False)", "max_detections=(49), load_in_tmp=False,\n    )")
    root = write_checkout(tmp_path / "lab", field=field, script=script)
    applied(root)
    assert "load_in_tmp=True, use_hdf5=False,  # to /tmp" in (root / "data" / "field.py").read_text()
    assert "load_in_tmp=False, use_hdf5=args.use_hdf5_features,\n" in (root / "train_transformer.py").read_text()


def test_a_field_that_gives_features_alone_goes_on_doing_so(tmp_path):
    field = FIELD.replace("detections_path=None, labels_path=None,", "detections_path=None,")
    field = field.replace("        self.labels_path = labels_path\n", "")
    start = field.index("        if self.labels_path:")
    end = field.index("\n\nclass TextField")
    root = write_checkout(tmp_path / "lab", field=field[:start] + "        return pixels\n" + field[end:])
    applied(root)
    text = (root / "data" / "field.py").read_text()
    assert "return self.feature_file.preprocess(x)[1]\n" in text
    assert "FeatureFileField(detections_path=detections_path, max_detections=max_detections)" in text


def test_rights_of_a_file_stay(checkout):
    (checkout / "train_transformer.py").chmod(0o755)
    applied(checkout)
    assert (checkout / "train_transformer.py").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("file", "old", "new", "looked_for"),
    [
        ("data/field.py", "class ImageDetectionsField", "class GridField", "class ImageDetectionsField"),
        ("data/field.py", "def preprocess(self, x, avoid", "def load(self, x, avoid", "def preprocess(self, ...)"),
        ("data/field.py", "detections_path=None", "path=None", "detections_path=..."),
        ("data/field.py", "class TextField(RawField)", "class ImageDetectionsField(RawField)", "several times: data/field.py:"),
        ("train_transformer.py", "'--features_path'", "'--images'", "add_argument('--features_path', ...)"),
        ("train_transformer.py", "ImageDetectionsField(detections", "make_field(detections", "a call `ImageDetectionsField("),
        ("train_transformer.py", "detections_path=args.features_path", "detections_path=FEATURES", "detections_path=args.features_path"),
        ("train_transformer.py", "max_detections=49, load_in_tmp=False)", "load_in_tmp=(49 and False))", "without guessing"),
        ("data/field.py", "import h5py", "import h5py;", ""),
    ],
)  # fmt: skip
def test_a_file_that_is_not_as_expected_is_refused_with_the_line_that_was_looked_for(
    checkout, file, old, new, looked_for
):
    path = checkout / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    if looked_for:
        assert looked_for in refusal(checkout)
    else:
        assert integration.plan(checkout).document.state == "needed"


def test_python_2_is_named_with_its_line(checkout):
    (checkout / "data" / "field.py").write_text("print 'x'\n" + FIELD)
    assert "in none of the" in refusal(checkout)
    (checkout / "train_transformer.py").write_text("print 'x'\n")
    assert "line 1" in refusal(checkout)


def test_a_link_out_of_the_checkout_is_not_followed(checkout, tmp_path):
    elsewhere = tmp_path / "shared_field.py"
    shutil.move(checkout / "data" / "field.py", elsewhere)
    (checkout / "data" / "field.py").symlink_to(elsewhere)
    planned = integration.plan(checkout)
    before = contents(checkout)
    with pytest.raises(BadRequest, match=r"shared_field\.py, outside the checkout"):
        integration.apply(planned)
    assert contents(checkout) == before


def test_what_the_change_does_not_solve_is_said_with_file_and_line(tmp_path):
    remarks = integration.plan(write_checkout(tmp_path / "lab", "clip")).document.remarks
    assert any(remark.startswith("models/transformer.py:3: the model runs CLIP itself") for remark in remarks)
    assert any(remark.startswith("models/transformer.py:4:") and "14x14" in remark for remark in remarks)
    assert any(remark.startswith("data/field.py:36:") and "random numbers" in remark for remark in remarks)
    assert len(remarks) == 3


def test_the_labs_code_is_not_run(checkout, tmp_path):
    trap = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
    for name in ("data/__init__.py", "data/field.py", "models/__init__.py", "train_transformer.py"):
        path = checkout / name
        path.write_text(trap + path.read_text())
    applied(checkout)
    assert not (tmp_path / "ran").exists()


def test_a_checkout_whose_modules_lie_flat_gets_an_absolute_import(tmp_path):
    root = write_checkout(tmp_path / "lab", script=SCRIPT.replace("from data import", "from field import"))
    shutil.move(root / "data" / "field.py", root / "field.py")
    shutil.rmtree(root / "data")
    applied(root)
    assert "\nfrom fsgr_tui_field import ImageDetectionsField as FeatureFileField\n" in (root / "field.py").read_text()
    assert (root / "fsgr_tui_field.py").exists()


def test_an_older_copy_of_the_field_is_renewed(checkout):
    applied(checkout)
    (checkout / "data" / "fsgr_tui_field.py").write_text("class ImageDetectionsField:\n    pass\n")
    files = integration.plan(checkout).document.files
    assert [(file.path, file.what) for file in files] == [("data/fsgr_tui_field.py", "a newer field")]


def test_the_command_prints_a_patch_that_patch_applies(checkout, tmp_path):
    path = checkout / "data" / "field.py"
    path.write_bytes(FIELD.replace("\n", "\r\n").encode())
    shown = subprocess.run(
        [sys.executable, "-m", "fsgr_tui", "integrate", str(checkout)], capture_output=True, timeout=60, check=True
    )
    if shutil.which("patch") is None:
        pytest.skip("patch is not installed here")
    subprocess.run(["patch", "--binary", "-p1"], cwd=checkout, input=shown.stdout, check=True, timeout=20)
    assert integration.plan(checkout).document.state == "integrated"
    assert path.read_bytes().count(b"\r\n") == path.read_bytes().count(b"\n")


def test_the_command_shows_applies_and_takes_back(checkout):
    before = contents(checkout)
    shown = run_cli("integrate", str(checkout))
    assert (shown.returncode, contents(checkout)) == (0, before)
    assert shown.stdout.startswith("--- a/data/field.py\n+++ b/data/field.py\n")
    assert f"Apply it: fsgr-tui integrate {checkout} --apply" in shown.stderr
    done = run_cli("integrate", str(checkout), "--apply", "--json")
    document = json.loads(done.stdout)
    assert (document["schema"], document["state"], len(document["files"])) == ("fsgr-tui/integration/1", "applied", 3)
    back = run_cli("integrate", str(checkout), "--undo")
    assert (back.returncode, contents(checkout)) == (0, before)
    assert "data/fsgr_tui_field.py: taken away" in back.stderr


def test_wrong_commands_exit_with_2_and_say_what_to_do(tmp_path, checkout):
    for argv, said in (
        ((), "fsgr-tui integrate DIR"),
        ((str(tmp_path / "absent"),), "There is no checkout"),
        ((str(checkout), "--apply", "--undo"), "cannot both"),
        ((str(checkout), "--script-name", "train_tranformer.py"), "Did you mean train_transformer.py"),
        ((str(checkout), "--undo"), "no integration to take back"),
    ):
        done = run_cli("integrate", *argv)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr


def test_the_field_is_printed_byte_for_byte():
    from fsgr_tui.lab import field

    assert run_cli("integrate", "--print-field").stdout.encode() == Path(field.__file__).read_bytes()
