"""Preflight of a lab's own training code: what its source, its Python and its files say about the planned run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from fsgr_tui.core.coco import IMAGE_ID_SHARE
from fsgr_tui.core.errors import did_you_mean
from fsgr_tui.core.lab import Checkout, GivenFlag, IdFile, SavedFile
from fsgr_tui.core.machine import GpuReport
from fsgr_tui.core.preflight import Finding
from fsgr_tui.core.units import Unknown, few, format_bytes

FIELD_TOKENS = 196
"""Tokens per image of a 14x14 grid, which the FSGR checkout writes as a number into its model."""

LEAST_CLASSES = 20
"""The FSGR script takes the twenty nearest classes of an image; fewer rows break it."""

EMBEDDING_WIDTH = 512
"""Width of CLIP's shared space for ViT-B/16 and ViT-B/32, which the FSGR script expects of a class."""

_DATA_FLAGS = {
    "annotation-folder": "the folder with the captions and the four id files",
    "features-path": "the feature file, or the image folder",
    "text-embed-path": "the text embeddings",
    "pre-vs-path": "CLIP's .pt file",
}


def integrate_remedy(root: str) -> str:
    """What teaches a checkout to read feature files."""
    return f"fsgr-tui integrate {shlex.quote(root)} shows the change that it needs, and makes it with --apply."


def id_file_findings(files: Sequence[IdFile]) -> list[Finding]:
    """Whether the four lists hold annotation ids of the captions beside them."""
    rows = []
    for file in files:
        if isinstance(file.count, Unknown):
            rows.append(
                Finding(
                    file.path,
                    file.count.reason,
                    "a row of annotation ids",
                    "stop",
                    "Take the file that M2 Transformer publishes.",
                )
            )
        elif file.annotations == file.count:
            rows.append(Finding(file.path, f"{file.count:,} annotation ids", "annotation ids"))
        elif file.images >= IMAGE_ID_SHARE * file.count:
            rows.append(
                Finding(
                    file.path, f"image ids ({file.images:,} of {file.count:,} are)", "annotation (caption) ids", "stop",
                    'List the "id" of each caption, not its "image_id"; or take the files that M2 Transformer publishes.',
                )
            )  # fmt: skip
        else:
            rows.append(
                Finding(
                    file.path, f"{file.count - file.annotations:,} of {file.count:,} ids that no caption has: {few(file.strangers)}",
                    "annotation ids of these captions", "stop", "Captions and id files have to come from the same release.",
                    listed=tuple(map(str, file.strangers)),
                )
            )  # fmt: skip
    return rows


def embedding_finding(path: str, saved: SavedFile, largest_label: int | None = None) -> Finding:
    """Whether a file holds text embeddings as the script loads them: a bare tensor (classes, 512)."""
    what, needed = f"text embeddings {path}", f"a bare tensor (classes >= {LEAST_CLASSES}, {EMBEDDING_WIDTH})"
    if saved.tensor is None:
        shapes = [f"{name} {tensor.shape}" for name, tensor in list(saved.tensors.items())[:3]]
        found = f"a {saved.kind}" + (f" with {', '.join(saved.keys)}" if saved.keys else "")
        first = next(iter(saved.tensors), "")
        remedy = "Make them with `fsgr-tui text-embed`"
        if saved.kind == "dict" and first:
            remedy += f", or save the tensor alone: torch.save(torch.load({path!r})[{first!r}], 'embeddings.pth')"
        return Finding(what, found + (f" ({'; '.join(shapes)})" if shapes else ""), needed, "stop", f"{remedy}.")
    shape = saved.tensor.shape
    found = f"{' x '.join(map(str, shape))} {saved.tensor.dtype}"
    if len(shape) != 2 or shape[1] != EMBEDDING_WIDTH:
        return Finding(
            what,
            found,
            needed,
            "stop",
            f"The script expects width {EMBEDDING_WIDTH} (ViT-B/16 or ViT-B/32): fsgr-tui text-embed.",
        )
    if shape[0] < LEAST_CLASSES:
        return Finding(what, found, needed, "stop", "The script takes the 20 nearest classes: embed more names.")
    if largest_label is not None and largest_label >= shape[0]:
        return Finding(
            what, f"{found}; the patch labels go up to {largest_label}", f"more than {largest_label} rows", "stop",
            "Labels and embeddings come from different lists of classes: make both from one (extract --labels --classes FILE).",
        )  # fmt: skip
    return Finding(what, found, needed)


def vocabulary_finding(vocabulary: str, words: int, checkpoint: str, saved: SavedFile) -> list[Finding]:
    """Whether a checkpoint's word embedding has a row for each word; one id past it is a device-side assert."""
    rows = {
        name: tensor.shape[0]
        for name, tensor in saved.tensors.items()
        if name.endswith(("word_emb.weight", "word_embedding.weight", "embed.weight")) and len(tensor.shape) == 2
    }
    if not rows:
        return []
    name, count = max(rows.items(), key=lambda row: row[1])
    good = count == words
    return [
        Finding(
            "vocabulary", f"{words:,} words in {vocabulary}; {name} in {checkpoint} has {count:,} rows", "the same number", "ok" if good else "stop",
            "" if good else "They come from different runs: take the vocabulary of that run, or start without the checkpoint. A word id past the table is a device-side assert on the GPU.",
        )
    ]  # fmt: skip


def flag_findings(checkout: Checkout, given: Sequence[GivenFlag]) -> list[Finding]:
    """Whether the script knows every flag of the command, with its value, and gets those that it requires."""
    known = sorted(name for flag in checkout.flags for name in flag.names)
    if not known:
        return [
            Finding(
                "flags",
                f"{checkout.script} declares none that can be read",
                verdict="warn",
                remedy="Compare them by hand: its parser is not a plain argparse.",
            )
        ]
    rows = []
    for asked in given:
        flag = checkout.flag(asked.name)
        if flag is None:
            rows.append(
                Finding(
                    f"flag {asked.name}",
                    f"{checkout.script} does not know {asked.name}" + (", and drops it silently" if checkout.takes_any_flag else ""),
                    "a flag of the script", "warn" if checkout.takes_any_flag else "stop", _instead(asked.name, known, checkout.root), "request",
                )
            )  # fmt: skip
            continue
        fault = _value_fault(asked, flag.takes_value, flag.kind, flag.choices)
        if fault:
            rows.append(
                Finding(
                    f"flag {asked.name}",
                    fault,
                    "what the script takes",
                    "stop",
                    f"Look at add_argument({flag.names[0]!r}) in {checkout.script}.",
                    "request",
                )
            )
    given_now = {id(found) for asked in given if (found := checkout.flag(asked.name))}
    rows += [
        Finding(
            f"flag {flag.names[-1]}", "not given", "required by the script", "stop", f"Add {flag.names[-1]}.", "request"
        )
        for flag in checkout.flags
        if flag.required and id(flag) not in given_now
    ]
    return rows or [
        Finding("flags", f"{len(given)} given, all known to {checkout.script} ({len(checkout.flags)} flags)")
    ]


def _instead(name: str, known: Sequence[str], root: str) -> str:
    """What to do about a flag that the script does not know."""
    if name.replace("_", "-") == "--use-hdf5-features":
        return f"The published checkout reads HDF5 only after a change: {integrate_remedy(root)}"
    bare = {flag.lstrip("-"): flag for flag in known}
    near = did_you_mean(name.lstrip("-").replace("-", "_"), list(bare), limit=2)
    for plain, flag in bare.items():
        near = re.sub(rf"\b{re.escape(plain)}\b", flag, near)
    return near or "Leave it out, or add it to the script."


def _value_fault(asked: GivenFlag, takes_value: bool, kind: str, choices: Sequence[str]) -> str:
    shown = " ".join(asked.values)
    if not takes_value:
        return f"{shown!r} follows it, and it takes no value" if asked.values else ""
    if not asked.values:
        return "no value follows it"
    try:
        {"int": int, "float": float}.get(kind, str)(asked.values[0])
    except ValueError:
        return f"{asked.values[0]!r} is no {kind}"
    return f"{asked.values[0]!r} is none of {', '.join(choices)}" if choices and asked.values[0] not in choices else ""


def needed_flag_findings(checkout: Checkout, given: Sequence[GivenFlag]) -> list[Finding]:
    """Whether the script is told where its data are: by a flag, or by a default of its own."""
    named = {flag.plain for flag in given}
    rows = []
    for name, needed in _DATA_FLAGS.items():
        flag = checkout.flag(f"--{name}")
        if flag is None or flag.default or name in named or (name == "text-embed-path" and "text" not in named):
            continue
        rows.append(
            Finding(
                f"flag {flag.names[-1]}",
                "not given, and the script has no default",
                needed,
                "stop",
                f"Add {flag.names[-1]}.",
                "request",
            )
        )
    return rows


def return_index_findings(given: Sequence[GivenFlag]) -> list[Finding]:
    """`return_index` makes the script read labels, for which it needs `text` and `labels_path`."""
    names = {flag.plain for flag in given}
    if "return-index" not in names:
        return []
    missing = [f"--{name.replace('-', '_')}" for name in ("text", "labels-path") if name not in names]
    if not missing:
        return [Finding("--return_index", "with --text and --labels_path")]
    return [
        Finding(
            "--return_index", f"without {' and '.join(missing)}", "--text and --labels_path FILE", "stop",
            f"Add {' and '.join(missing)} (the guide's commands leave them out), or leave --return_index out. `fsgr-tui extract --labels` makes the file.",
            "request",
        )
    ]  # fmt: skip


def grid_findings(checkout: Checkout, tokens: int | None) -> list[Finding]:
    """Whether the features have the grid that the model writes as a number."""
    places = checkout.grid_lines
    if not places or tokens is None:
        return []
    good = tokens == FIELD_TOKENS
    where = few([str(place) for place in places])
    return [
        Finding(
            "grid", f"{tokens} tokens per image; 14x14 stands in {where}", f"{FIELD_TOKENS} tokens", "ok" if good else "stop",
            "" if good else "Extract with --grid native, or change those lines.", listed=tuple(f"{place}: {place.text}" for place in places),
        )
    ]  # fmt: skip


def reads_hdf5_finding(checkout: Checkout, features: str) -> list[Finding]:
    """Whether any module of the script could open a feature file."""
    if not features.endswith((".hdf5", ".h5")) or "h5py" in checkout.imports:
        return []
    return [
        Finding(
            "reading HDF5", f"no module that {checkout.script} imports uses h5py", "code that opens the feature file", "stop",
            f"This checkout runs CLIP on images: give it the image folder, or {integrate_remedy(checkout.root)}",
        )
    ]  # fmt: skip


def device_findings(checkout: Checkout, report: GpuReport, visible: str | None) -> list[Finding]:
    """Whether the script overwrites the choice of the GPU."""
    places = checkout.device_lines
    if not places:
        return []
    only = len(report.gpus) <= 1 and visible in (None, "", places[0].text)
    found = "; ".join(f"{place} sets {place.text!r}" for place in places)
    return [
        Finding(
            "GPU chosen by the script", found + (f"; CUDA_VISIBLE_DEVICES={visible} is lost" if visible not in (None, places[0].text) else ""),
            "the GPU that you choose", "ok" if only else "warn",
            "" if only else "Delete the line, or write os.environ.setdefault('CUDA_VISIBLE_DEVICES', '0'): else every run goes to the same GPU.",
        )
    ]  # fmt: skip


def source_findings(checkout: Checkout) -> list[Finding]:
    """Copies that differ, and modules that no Python reads."""
    rows = [
        Finding(
            f"copies of {copies.used}", f"{len(copies.different)} that say something else: {few(copies.different)}", "one", "warn",
            f"The run uses {copies.used}; delete the others or move them out, so that nobody edits the wrong one.", listed=copies.different,
        )
        for copies in checkout.copies
    ]  # fmt: skip
    rows += [
        Finding(
            f"source {place.file}",
            place.text,
            "Python that can be read",
            "warn",
            "What it does was not looked at; Python 2 code does not run here.",
        )
        for place in checkout.unread
    ]
    return rows


def weights_finding(path: str, saved: SavedFile) -> Finding:
    """Whether the CLIP file is one."""
    what = f"CLIP weights {path}"
    if saved.kind == "torchscript":
        return Finding(what, f"OpenAI's archive, {format_bytes(saved.bytes)}", "OpenAI's .pt, or a state dict")
    good = bool(saved.tensors)
    return Finding(
        what, f"a {saved.kind} with {len(saved.tensors):,} tensors, {format_bytes(saved.bytes)}", "OpenAI's .pt, or a state dict",
        "ok" if good else "stop", "" if good else "It holds no weights; get the file again.",
    )  # fmt: skip
