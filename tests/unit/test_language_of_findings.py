"""What a check, a comparison and a preflight tell goes through the catalogue, whole: a language of brackets shows what does not."""

from __future__ import annotations

import ast
import gettext
import re
import string
from pathlib import Path

import h5py
import msgspec
import numpy as np
import pytest

from fsgr_tui.core import language
from fsgr_tui.core.errors import Problem
from fsgr_tui.core.lab import CachedWeights, GivenFlag, Interpreter, Java, LoginSession, TorchBuild
from fsgr_tui.core.machine import CpuBudget, Disk, GpuReport, Host, MemoryBudget
from fsgr_tui.core.preflight import PreflightReport
from fsgr_tui.core.tower import KNOWN
from fsgr_tui.core.units import GB, GIB, Unknown
from fsgr_tui.features.check import Expected, check_file
from fsgr_tui.features.compare import compare_files
from fsgr_tui.features.manifest import IDENTITY
from fsgr_tui.service import preflight
from fsgr_tui.service.extraction import ExtractRequest
from fsgr_tui.service.preflight_lab import LabRequest, preflight_lab
from tests import catalogue
from tests.conftest import build_file, smooth_rows
from tests.fakes.lab import save_tensor, write_checkout

IDS = tuple(range(100, 140))

_NAMES = {
    *IDENTITY, *KNOWN, "float", "int", "uint", "shape", "NaN", "gzip", "squash", "average", "gelu", "random", "sha", "ln", "post",
    "Pillow", "pillow", "GPU", "Java", "PyTorch", "CUDA", "spaCy", "torch", "fsgr", "tui", "check", "px", "GB", "MB", "kB", "GiB",
    "boxes", "mask", "pip", "install", "spacy", "tensor", "bf", "fp", "AdamW", "None", "extract", "plan", "cpu", "cuda",
    "ViT", "RN", "crop", "coco", "Python", "python", "native", "ext", "train", "val", "openai", "import", "eight", "dict",
}  # fmt: skip
"""What stays as it is in every language: names of models, fields, keys, packages, commands and units."""


class Brackets(gettext.NullTranslations):
    """Puts what a translator writes between brackets, and leaves out what is filled in: that has to come translated."""

    def gettext(self, message: str) -> str:
        parts = [*string.Formatter().parse(message)]
        if not all(name is None or name.isidentifier() for _, name, _, _ in parts):
            return f"⟦{message}⟧"
        fields = [
            "" if name is None else f"{{{name}{f'!{kind}' if kind else ''}{f':{spec}' if spec else ''}}}"
            for _, name, spec, kind in parts
        ]
        escape = any(fields)
        texts = [text.replace("{", "{{").replace("}", "}}") if escape else text for text, _, _, _ in parts]
        return "".join((f"⟦{text}⟧" if text else "") + field for text, field in zip(texts, fields, strict=True))

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)


@pytest.fixture
def brackets():
    language.speak(Brackets())
    yield
    language.use("en")


def untranslated(text: str) -> set[str]:
    """Words outside the brackets that are no names, numbers, paths or flags."""
    outside, depth = "", 0
    for char in text:
        depth += (char == "⟦") - (char == "⟧")
        outside += char if depth == 0 else ""
    plain = re.sub(r"\S*[/\\_=]\S*|--[\w-]+|\b[\w-]+\.\w+\b", " ", outside)
    return {word for word in re.findall(r"[A-Za-z]{2,}", plain) if word not in _NAMES}


def legacy(path: Path, rows, key="{}_grids", ids=IDS, **options) -> Path:
    with h5py.File(path, "w") as file:
        for image_id, row in zip(ids, rows, strict=False):
            file.create_dataset(key.format(image_id), data=row, **options)
    return path


def broken_files(folder: Path) -> list[Path]:
    rows = smooth_rows(40)
    rows[3], rows[4], rows[5, 2, 1], rows[6, 1, 1], rows[7, 9] = 0, 1.5, np.nan, np.inf, 0
    rows[9], rows[11] = rows[10], rows[11, :1]
    noise = np.random.default_rng(0).normal(size=(40, 49, 768)).astype(np.float16)
    torn = build_file(folder / "torn.hdf5", IDS)
    with h5py.File(torn, "r+") as file:
        file["117_grids"][0, 0] += 1
        del file["118_grids"]
    mixed = legacy(folder / "mixed.hdf5", [*smooth_rows(20), *smooth_rows(20, 64)])
    padded = legacy(folder / "padded.hdf5", smooth_rows(40), key="0{}_grids")
    return [
        build_file(folder / "values.hdf5", IDS, rows, global_width=0, converted_from=("float16",), dtype="float32"),
        build_file(folder / "overflow.hdf5", IDS, np.full((40, 49, 8), 65504)),
        legacy(folder / "noise.hdf5", noise, chunks=(49, 96), compression="gzip"),
        *(legacy(folder / f"{shape}.hdf5", np.ones((3, *shape))) for shape in [(50, 768), (768, 49), (1, 49, 768), (512,), (7, 7, 9)]),
        legacy(folder / "regions.hdf5", smooth_rows(40), key="{}_features"),
        torn, mixed, padded,
    ]  # fmt: skip


def told_by_check(report) -> list[str]:
    rows = [text for row in report.rows for text in (row.label, row.expected, row.found, row.detail)]
    return [report.headline, report.depth, *rows]


def test_a_check_tells_everything_in_the_users_language(tmp_path, brackets):
    made = {"clip_model": "ViT-L-14", "weights_sha256": "1" * 64, "dtype": "float32"}
    expected = Expected(frozenset({*IDS[2:], 7}), str(tmp_path), identity=made, identity_source="/a/b.hdf5")
    texts = []
    for path in broken_files(tmp_path):
        for deep in (True, False):
            texts += told_by_check(check_file(path, expected, deep=deep))
    assert len(set(texts)) > 80
    assert {text: left for text in texts if (left := untranslated(text))} == {}


def test_files_that_cannot_be_opened_are_told_in_the_users_language(tmp_path, brackets):
    good = build_file(tmp_path / "good.hdf5", IDS).read_bytes()
    contents = (
        b"",
        b"<html>gone</html>",
        b"PK\x03\x04zip",
        b"\0" * 900,
        good[:-4000],
        good[:600],
        b"version https://git-lfs",
    )
    told = []
    for number, content in enumerate(contents):
        path = tmp_path / f"{number}.hdf5"
        path.write_bytes(content)
        with pytest.raises(Problem) as caught:
            check_file(path, Expected())
        told += [caught.value.what, caught.value.fix]
    with pytest.raises(Problem) as caught:
        check_file(tmp_path / "none.hdf5", Expected())
    assert {text: left for text in [*told, caught.value.what, caught.value.fix] if (left := untranslated(text))} == {}


def test_a_comparison_tells_everything_in_the_users_language(tmp_path, brackets):
    rows = smooth_rows(40)
    first = build_file(tmp_path / "a.hdf5", IDS, rows)
    others = [
        build_file(tmp_path / "b.hdf5", IDS[2:], rows[2:], dtype="float32", weights="x", dataset="coco"),
        build_file(tmp_path / "c.hdf5", IDS, smooth_rows(40, seed=1), weights_sha256="1" * 64, resize="crop"),
        build_file(tmp_path / "d.hdf5", IDS, smooth_rows(40, 64), tokens=64, grid="8x8"),
        legacy(tmp_path / "e.hdf5", rows[::-1]),
        legacy(tmp_path / "f.hdf5", rows * 2),
        legacy(tmp_path / "g.hdf5", rows[:, ::-1]),
        legacy(tmp_path / "h.hdf5", rows, ids=range(40)),
    ]
    texts = []
    for other in others:
        found = compare_files(first, other)
        texts += [found.headline, found.depth]
        texts += [text for row in found.rows for text in (row.label, row.a, row.b, row.detail)]
    assert {text: left for text in texts if (left := untranslated(text))} == {}


MACHINE = preflight.Probes(
    gpus=lambda: GpuReport("no_driver", message=language.tr("no NVIDIA driver here")),
    disk=lambda path: Disk(str(path), "/", "ext4", "/dev/vda", 1000 * GB, 10**6, Unknown("x_y"), 3, True),
    host=lambda: Host(
        "node", "Linux 6", "3.11", "EPYC", CpuBudget(2, "host", 8), MemoryBudget(64 * GIB, 32 * GIB, "host")
    ),
    java=lambda: Java("", Unknown("x_y"), Unknown("x_y")),
    login=lambda: LoginSession(True, False, True, "loginctl_"),
    interpreter=lambda path, modules: Interpreter(
        path, "3.8.19", {"torch": "1.13", "spacy": "3.5"}, tuple(modules), TorchBuild("1.13.1", "", 0)
    ),
    weights=lambda model, tag: CachedWeights(model, tag, True, "", "/cache", "timm/x"),
)


def told_by_preflight(report: PreflightReport) -> list[str]:
    return [text for row in report.findings for text in (row.what, row.found, row.needed, row.remedy)]


def test_a_preflight_of_an_extraction_tells_everything_in_the_users_language(tmp_path, demo_root, brackets):
    full = MACHINE._replace(
        disk=lambda path: msgspec.structs.replace(MACHINE.disk(path), free_bytes=Unknown("x_y"), writable=False)
    )
    from fsgr_tui.core.extraction import ModelChoice

    model = ModelChoice(clip_model="ViT-B-16", weights="openai", device="cuda:3")
    wrong = ModelChoice(clip_model="ViT-B/61", weights=str(tmp_path / "x.pt"), device="cuda")
    (tmp_path / "x.pt").write_text("<html>")
    texts = []
    for choice, root in ((model, demo_root / "images"), (wrong, tmp_path / "none")):
        for probes in (MACHINE, full):
            request = ExtractRequest(
                model=choice, image_root=str(root), splits=("train2014", "val2014"), output=str(tmp_path / "f.hdf5"), workers=99
            )  # fmt: skip
            texts += told_by_preflight(preflight.preflight_extract(request, probes))
    assert len(set(texts)) > 25
    assert {text: left for text in texts if (left := untranslated(text))} == {}


def test_a_preflight_of_a_labs_training_tells_everything_in_the_users_language(tmp_path, demo_root, brackets):
    repo = write_checkout(tmp_path / "FSGR x", hdf5=False, grid=True)
    annotations = demo_root / "m2_annotations"
    features = build_file(tmp_path / "f.hdf5", IDS)
    given = [
        GivenFlag("--features_path", (str(features),)), GivenFlag("--annotation_folder", (str(annotations),)),
        GivenFlag("--use_hdf5_features"), GivenFlag("--head", ("eight",)), GivenFlag("--m"), GivenFlag("--text"),
        GivenFlag("--return_index"), GivenFlag("--workers", ("64",)), GivenFlag("--batch_size", ("50",)),
        GivenFlag("--text_embed_path", (str(save_tensor(tmp_path / "e.pth", (10, 512))),)),
        GivenFlag("--pre_vs_path", (str(save_tensor(tmp_path / "c.pt", (3, 3), wrapped="conv1.weight")),)),
    ]  # fmt: skip
    texts = told_by_preflight(preflight_lab(LabRequest(repo=str(repo), python="python", given=tuple(given)), MACHINE))
    empty = LabRequest(repo=str(tmp_path / "none"), given=(GivenFlag("--annotation_folder", (str(tmp_path / "no"),)),))
    texts += told_by_preflight(preflight_lab(empty, MACHINE))
    assert len(set(texts)) > 50
    assert {text: left for text in texts if (left := untranslated(text))} == {}


def test_brackets_show_what_goes_past_the_catalogue(brackets):
    assert untranslated(f"{language.tr('fine {n}, and {so:.1f}', n='/a/path', so=1)}, 3 x 4 float16 --flag") == set()
    assert untranslated(f"{language.tr('fine {n}', n='this')} but not that") == {"this", "but", "not", "that"}


def test_no_text_is_translated_before_the_language_is_known():
    """A default or a table that is made at import speaks whatever language came first."""
    early = []
    for path in sorted(catalogue.PACKAGE.rglob("*.py")):
        early += [f"{path.name}:{call.lineno}" for call in _at_import(ast.parse(path.read_text("utf-8")))]
    assert early == []


def _at_import(node: ast.AST):
    """Calls of `tr` and `trn` that run when a module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Lambda):
            continue
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from (call for part in (child.args, *child.decorator_list) for call in _at_import(ast.Expr(part)))
            continue
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Name) and child.func.id in ("tr", "trn"):
            yield child
        yield from _at_import(child)
