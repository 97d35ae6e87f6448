"""Preflight of a lab's own training code: what its source, its Python and its files say about the planned run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from fsgr_tui.core.coco import IMAGE_ID_SHARE
from fsgr_tui.core.errors import did_you_mean
from fsgr_tui.core.lab import Checkout, GivenFlag, IdFile, SavedFile
from fsgr_tui.core.language import mark, tr
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
    "annotation-folder": mark("the folder with the captions and the four id files"),
    "features-path": mark("the feature file, or the image folder"),
    "text-embed-path": mark("the text embeddings"),
    "pre-vs-path": mark("CLIP's .pt file"),
}


def integrate_remedy(root: str) -> str:
    """What teaches a checkout to read feature files."""
    return tr(
        "fsgr-tui integrate {root} shows the change that it needs, and makes it with --apply.", root=shlex.quote(root)
    )


def id_file_findings(files: Sequence[IdFile]) -> list[Finding]:
    """Whether the four lists hold annotation ids of the captions beside them."""
    rows = []
    for file in files:
        if isinstance(file.count, Unknown):
            rows.append(
                Finding(
                    file.path,
                    file.count.why,
                    tr("a row of annotation ids"),
                    "stop",
                    tr("Take the file that M2 Transformer publishes."),
                )
            )
        elif file.annotations == file.count:
            rows.append(Finding(file.path, tr("{n:,} annotation ids", n=file.count), tr("annotation ids")))
        elif file.images >= IMAGE_ID_SHARE * file.count:
            rows.append(
                Finding(
                    file.path, tr("image ids ({images:,} of {n:,} are)", images=file.images, n=file.count), tr("annotation (caption) ids"), "stop",
                    tr('List the "id" of each caption, not its "image_id"; or take the files that M2 Transformer publishes.'),
                )
            )  # fmt: skip
        else:
            rows.append(
                Finding(
                    file.path, tr("{n:,} of {total:,} ids that no caption has: {strangers}", n=file.count - file.annotations, total=file.count, strangers=few(file.strangers)),
                    tr("annotation ids of these captions"), "stop", tr("Captions and id files have to come from the same release."),
                    listed=tuple(map(str, file.strangers)),
                )
            )  # fmt: skip
    return rows


def embedding_finding(path: str, saved: SavedFile, largest_label: int | None = None) -> Finding:
    """Whether a file holds text embeddings as the script loads them: a bare tensor (classes, 512)."""
    what, needed = (
        tr("text embeddings {path}", path=path),
        tr(
            "a bare tensor (classes >= {least}, {width})",
            least=LEAST_CLASSES,
            width=EMBEDDING_WIDTH,
        ),
    )
    if saved.tensor is None:
        shapes = [f"{name} {tensor.shape}" for name, tensor in list(saved.tensors.items())[:3]]
        found = tr("a {kind}", kind=saved.kind)
        if saved.keys:
            found = tr("a {kind} with {keys}", kind=saved.kind, keys=", ".join(saved.keys))
        first = next(iter(saved.tensors), "")
        remedy = tr("Make them with `fsgr-tui text-embed`.")
        if saved.kind == "dict" and first:
            remedy = tr(
                "Make them with `fsgr-tui text-embed`, or save the tensor alone: torch.save(torch.load({path!r})[{first!r}], "
                "'embeddings.pth').",
                path=path,
                first=first,
            )
        return Finding(
            what, f"{found} ({'; '.join(shapes)})" if shapes else found, needed, "stop", remedy, subject=path
        )
    shape = saved.tensor.shape
    found = f"{' x '.join(map(str, shape))} {saved.tensor.dtype}"
    if len(shape) != 2 or shape[1] != EMBEDDING_WIDTH:
        return Finding(
            what,
            found,
            needed,
            "stop",
            tr(
                "The script expects width {width} (ViT-B/16 or ViT-B/32): fsgr-tui text-embed.",
                width=EMBEDDING_WIDTH,
            ),
        )
    if shape[0] < LEAST_CLASSES:
        return Finding(what, found, needed, "stop", tr("The script takes the 20 nearest classes: embed more names."))
    if largest_label is not None and largest_label >= shape[0]:
        return Finding(
            what, tr("{found}; the patch labels go up to {largest_label}", found=found, largest_label=largest_label), tr("more than {largest_label} rows", largest_label=largest_label), "stop",
            tr("Labels and embeddings come from different lists of classes: make both from one (extract --labels "
"--classes FILE)."),
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
            tr("vocabulary"), tr("{words:,} words in {vocabulary}; {name} in {checkpoint} has {n:,} rows", words=words, vocabulary=vocabulary, name=name, checkpoint=checkpoint, n=count), tr("the same number"), "ok" if good else "stop",
            "" if good else tr("They come from different runs: take the vocabulary of that run, or start without the checkpoint. A word "
"id past the table is a device-side assert on the GPU."),
        )
    ]  # fmt: skip


def flag_findings(checkout: Checkout, given: Sequence[GivenFlag]) -> list[Finding]:
    """Whether the script knows every flag of the command, with its value, and gets those that it requires."""
    known = sorted(name for flag in checkout.flags for name in flag.names)
    if not known:
        return [
            Finding(
                tr("flags"),
                tr("{script} declares none that can be read", script=checkout.script),
                verdict="warn",
                remedy=tr("Compare them by hand: its parser is not a plain argparse."),
            )
        ]
    rows = []
    for asked in given:
        flag = checkout.flag(asked.name)
        if flag is None:
            rows.append(
                Finding(
                    tr("flag {name}", name=asked.name),
                    tr("{script} does not know {name}, and drops it silently", script=checkout.script, name=asked.name)
                    if checkout.takes_any_flag
                    else tr("{script} does not know {name}", script=checkout.script, name=asked.name),
                    tr("a flag of the script"), "warn" if checkout.takes_any_flag else "stop", _instead(asked.name, known, checkout.root), "request",
                    subject=asked.name,
                )
            )  # fmt: skip
            continue
        fault = _value_fault(asked, flag.takes_value, flag.kind, flag.choices)
        if fault:
            rows.append(
                Finding(
                    tr("flag {name}", name=asked.name),
                    fault,
                    tr("what the script takes"),
                    "stop",
                    tr("Look at add_argument({name!r}) in {script}.", name=flag.names[0], script=checkout.script),
                    "request",
                )
            )
    given_now = {id(found) for asked in given if (found := checkout.flag(asked.name))}
    rows += [
        Finding(
            tr("flag {name}", name=flag.names[-1]),
            tr("not given"),
            tr("required by the script"),
            "stop",
            tr("Add {name}.", name=flag.names[-1]),
            "request",
        )
        for flag in checkout.flags
        if flag.required and id(flag) not in given_now
    ]
    return rows or [
        Finding(
            tr("flags"),
            tr(
                "{n} given, all known to {script} ({total} flags)",
                n=len(given),
                script=checkout.script,
                total=len(checkout.flags),
            ),
        )
    ]


def _instead(name: str, known: Sequence[str], root: str) -> str:
    """What to do about a flag that the script does not know."""
    if name.replace("_", "-") == "--use-hdf5-features":
        return tr("The published checkout reads HDF5 only after a change: {remedy}", remedy=integrate_remedy(root))
    bare = {flag.lstrip("-"): flag for flag in known}
    near = did_you_mean(name.lstrip("-").replace("-", "_"), list(bare), limit=2)
    for plain, flag in bare.items():
        near = re.sub(rf"\b{re.escape(plain)}\b", flag, near)
    return near or tr("Leave it out, or add it to the script.")


def _value_fault(asked: GivenFlag, takes_value: bool, kind: str, choices: Sequence[str]) -> str:
    shown = " ".join(asked.values)
    if not takes_value:
        return tr("{shown!r} follows it, and it takes no value", shown=shown) if asked.values else ""
    if not asked.values:
        return tr("no value follows it")
    try:
        {"int": int, "float": float}.get(kind, str)(asked.values[0])
    except ValueError:
        return tr("{values!r} is no {kind}", values=asked.values[0], kind=kind)
    return (
        tr("{values!r} is none of {choices}", values=asked.values[0], choices=", ".join(choices))
        if choices and asked.values[0] not in choices
        else ""
    )


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
                tr("flag {name}", name=flag.names[-1]),
                tr("not given, and the script has no default"),
                needed,
                "stop",
                tr("Add {name}.", name=flag.names[-1]),
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
        return [Finding("--return_index", tr("with --text and --labels_path"))]
    return [
        Finding(
            "--return_index", tr("without {missing}", missing=" and ".join(missing)), tr("--text and --labels_path FILE"), "stop",
            tr("Add {missing} (the guide's commands leave them out), or leave --return_index out. `fsgr-tui extract "
"--labels` makes the file.", missing=" and ".join(missing)),
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
            tr("grid"), tr("{tokens} tokens per image; 14x14 stands in {where}", tokens=tokens, where=where), tr("{tokens} tokens", tokens=FIELD_TOKENS), "ok" if good else "stop",
            "" if good else tr("Extract with --grid native, or change those lines."), listed=tuple(f"{place}: {place.text}" for place in places),
        )
    ]  # fmt: skip


def reads_hdf5_finding(checkout: Checkout, features: str) -> list[Finding]:
    """Whether any module of the script could open a feature file."""
    if not features.endswith((".hdf5", ".h5")) or "h5py" in checkout.imports:
        return []
    return [
        Finding(
            tr("reading HDF5"), tr("no module that {script} imports uses h5py", script=checkout.script), tr("code that opens the feature file"), "stop",
            tr("This checkout runs CLIP on images: give it the image folder, or {remedy}", remedy=integrate_remedy(checkout.root)),
        )
    ]  # fmt: skip


def device_findings(checkout: Checkout, report: GpuReport, visible: str | None) -> list[Finding]:
    """Whether the script overwrites the choice of the GPU."""
    places = checkout.device_lines
    if not places:
        return []
    only = len(report.gpus) <= 1 and visible in (None, "", places[0].text)
    found = tr("; ").join(tr("{place} sets {text!r}", place=place, text=place.text) for place in places)
    if visible not in (None, places[0].text):
        found = tr("{found}; CUDA_VISIBLE_DEVICES={visible} is lost", found=found, visible=visible)
    return [
        Finding(
            tr("GPU chosen by the script"), found,
            tr("the GPU that you choose"), "ok" if only else "warn",
            "" if only else tr("Delete the line, or write os.environ.setdefault('CUDA_VISIBLE_DEVICES', '0'): else every run goes to "
"the same GPU."),
        )
    ]  # fmt: skip


def source_findings(checkout: Checkout) -> list[Finding]:
    """Copies that differ, and modules that no Python reads."""
    rows = [
        Finding(
            tr("copies of {path}", path=copies.used), tr("{n} that say something else: {different}", n=len(copies.different), different=few(copies.different)), tr("one"), "warn",
            tr("The run uses {used}; delete the others or move them out, so that nobody edits the wrong one.", used=copies.used), listed=copies.different,
        )
        for copies in checkout.copies
    ]  # fmt: skip
    rows += [
        Finding(
            tr("source {path}", path=place.file),
            place.text,
            tr("Python that can be read"),
            "warn",
            tr("What it does was not looked at; Python 2 code does not run here."),
        )
        for place in checkout.unread
    ]
    return rows


def weights_finding(path: str, saved: SavedFile) -> Finding:
    """Whether the CLIP file is one."""
    what = tr("CLIP weights {name}", name=path)
    if saved.kind == "torchscript":
        return Finding(
            what, tr("OpenAI's archive, {bytes}", bytes=format_bytes(saved.bytes)), tr("OpenAI's .pt, or a state dict")
        )
    good = bool(saved.tensors)
    return Finding(
        what, tr("a {kind} with {n:,} tensors, {bytes}", kind=saved.kind, n=len(saved.tensors), bytes=format_bytes(saved.bytes)), tr("OpenAI's .pt, or a state dict"),
        "ok" if good else "stop", "" if good else tr("It holds no weights; get the file again."), subject=path,
    )  # fmt: skip
