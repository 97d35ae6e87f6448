from __future__ import annotations

import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.lab import TensorShape
from fsgr_tui.probes.saved import read_saved
from tests.fakes.lab import save_tensor, save_vocabulary

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("storage", "dtype"), [("FloatStorage", "float32"), ("HalfStorage", "float16"), ("BFloat16Storage", "bfloat16")]
)
def test_a_bare_tensor_is_told_with_shape_and_type(tmp_path, storage, dtype):
    saved = read_saved(save_tensor(tmp_path / "a.pth", (4585, 512), storage=storage))
    assert (saved.kind, saved.tensor) == ("tensor", TensorShape((4585, 512), dtype))


def test_a_dict_around_a_tensor_is_a_dict_with_its_keys_and_shapes(tmp_path):
    saved = read_saved(save_tensor(tmp_path / "a.pth", (80, 512), wrapped="embeddings"))
    assert (saved.kind, saved.tensor, saved.keys) == ("dict", None, ("embeddings",))
    assert saved.tensors == {"embeddings": TensorShape((80, 512), "float32")}


def test_a_vocabulary_is_counted_without_its_class(tmp_path):
    saved = read_saved(save_vocabulary(tmp_path / "vocab.pkl", 10201))
    assert saved.kind == "tests.fakes.lab.Vocabulary"
    assert (saved.lists["itos"], saved.lists["stoi"]) == (10201, 10201)


class _Harmful:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (os.system, (f"touch {self.mark}",))


@pytest.mark.parametrize("zipped", [False, True])
def test_nothing_in_a_hostile_file_is_executed(tmp_path, zipped):
    mark, path = tmp_path / "mark", tmp_path / "hostile.pth"
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps({"state_dict": _Harmful(mark)}))
    else:
        path.write_bytes(pickle.dumps(_Harmful(mark)))
    saved = read_saved(path)
    assert not mark.exists()
    assert saved.kind == ("dict" if zipped else "posix.system")
    pickle.loads(pickle.dumps(_Harmful(mark)))
    assert mark.exists()  # the file would have done it


def test_a_pickle_whose_parts_hold_each_other_is_walked_to_an_end(tmp_path):
    ring: dict[str, object] = {}
    ring |= {f"part{number}": ring for number in range(50)}
    (tmp_path / "ring.pkl").write_bytes(pickle.dumps(ring))
    assert read_saved(tmp_path / "ring.pkl").kind == "dict"


@pytest.mark.parametrize("keep", [3, 40, 90])
def test_a_cut_off_file_is_said_to_be_cut_off(tmp_path, keep):
    whole = save_tensor(tmp_path / "whole.pth", (30, 512)).read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[:keep])
    with pytest.raises(MachineCannot, match=r"cut\.pth .* is not a whole file of PyTorch"):
        read_saved(tmp_path / "cut.pth")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>", "it looks like a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        (b"\x93NUMPY\x01\x00", "it is a NumPy array"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b'\x40\x00\x00\x00\x00\x00\x00\x00{"a":{}}', "it is a safetensors file"),
    ],
)
def test_a_file_of_another_kind_is_named_by_its_kind(tmp_path, content, words):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(BadRequest, match=words):
        read_saved(tmp_path / "a.pth")


def test_an_absent_file_and_a_folder_are_bad_requests(tmp_path):
    with pytest.raises(BadRequest, match="There is no file"):
        read_saved(tmp_path / "a.pth")
    with pytest.raises(BadRequest, match="is a folder"):
        read_saved(tmp_path)


def test_reading_needs_neither_torch_nor_unpickling(tmp_path):
    path = save_tensor(tmp_path / "a.pth", (30, 512))
    code = (
        "import pickle, sys; from pathlib import Path; from fsgr_tui.probes.saved import read_saved\n"
        "def never(*a, **k): raise SystemExit('unpickled')\n"
        "pickle.loads = pickle.load = pickle.Unpickler = never\n"
        f"print(read_saved(Path({str(path)!r})).tensor.shape, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("(30, 512) False\n", "")


@pytest.mark.torch
@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_writes_is_read_as_torch_reads_it(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Embedding(100, 8), torch.nn.Linear(8, 4))
    torch.save(
        {"state_dict": model.state_dict(), "epoch": 3}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped
    )
    saved = read_saved(tmp_path / "a.pth")
    assert saved.keys == ("state_dict", "epoch")
    assert saved.tensors == {
        f"state_dict.{name}": TensorShape(tuple(value.shape), "float32") for name, value in model.state_dict().items()
    }
    torch.save(torch.nn.Parameter(torch.zeros(3, 4).half()), tmp_path / "b.pth", _use_new_zipfile_serialization=zipped)
    assert read_saved(tmp_path / "b.pth").tensor == TensorShape((3, 4), "float16")
