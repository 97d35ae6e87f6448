"""METEOR, SPICE and the Penn Treebank tokenizer: Java programs that `pycocoevalcap` ships, run where Java works.

They are started here with argument lists of their own, because the package's wrappers write into its installation, take
the locale's decimal comma, and wait for ever. SPICE needs Stanford's models beside its archive, which the package would
download; without them it is left out.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec

from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.core.language import tr
from fsgr_tui.train.metrics import Captions, References, score

_LONGEST_S = 1800.0

# Decimal points and UTF-8, whatever the locale says.
_PLAIN = ("-Duser.language=en", "-Duser.country=US", "-Dfile.encoding=UTF-8")
_METEOR_MEMORY, _SPICE_MEMORY = "-Xmx2G", "-Xmx8G"

# What the field's evaluation drops after tokenising (pycocoevalcap.tokenizer.ptbtokenizer). Brackets come out in lower
# case and therefore stay in; published numbers have them too.
_PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)


def package_folder() -> Path | None:
    """Where `pycocoevalcap` lies; None when it is not installed."""
    spec = find_spec("pycocoevalcap")
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None


def java_scores(java: str, captions: Captions, references: References) -> dict[str, float]:
    """Score as the field's evaluation does, with the tokenizer of the Penn Treebank.

    Args:
        java: the program.
        captions: one caption an image, as text.
        references: as people wrote them; the same images.

    Returns:
        The metrics of `metrics.score` over that tokenizer's words, and meteor; spice where its models are.

    Raises:
        MachineCannot: one of the programs failed.
    """
    folder = package_folder()
    if folder is None:
        raise MachineCannot(tr("pycocoevalcap is not installed."), tr("Install it: pip install 'fsgr-tui[train]'."))
    images = list(captions)
    flat = [captions[image] for image in images]
    for image in images:
        flat += references[image]
    lines = iter(ptb_words(java, folder, flat))
    said = {image: next(lines) for image in images}
    written = {image: [next(lines) for _ in references[image]] for image in images}
    scores = score(said, written) | {"meteor": _meteor(java, folder, said, written)}
    if has_spice_models(folder):
        scores["spice"] = _spice(java, folder, said, written)
    return scores


def ptb_words(java: str, folder: Path, sentences: Sequence[str]) -> list[str]:
    """Sentences as words of the Penn Treebank tokenizer in lower case, punctuation left out, spaces between."""
    with tempfile.TemporaryDirectory(prefix="fsgr-ptb-") as room:
        source = Path(room) / "captions.txt"
        source.write_text("".join(" ".join(sentence.split()) + "\n" for sentence in sentences), "utf-8")
        archive = folder / "tokenizer" / "stanford-corenlp-3.4.1.jar"
        tokenizer = "edu.stanford.nlp.process.PTBTokenizer"
        argv = [java, *_PLAIN, "-cp", str(archive), tokenizer]
        out = _run([*argv, "-preserveLines", "-lowerCase", "-encoding", "UTF-8", str(source)], tr("the tokenizer"))
    lines = out.split("\n")[: len(sentences)]
    if len(lines) < len(sentences):
        raise MachineCannot(
            tr(
                "The Java tokenizer gave {lines:,} lines for {captions:,} captions.",
                lines=len(lines),
                captions=len(sentences),
            ),
            tr("Use --java never."),
        )
    return [" ".join(word for word in line.split() if word not in _PUNCTUATION) for line in lines]


def has_spice_models(folder: Path) -> bool:
    """Whether Stanford's models, which pip does not bring, lie where SPICE looks for them."""
    return any((folder / "spice" / "lib").glob("stanford-corenlp-*-models.jar"))


def _meteor(java: str, folder: Path, captions: Captions, references: References) -> float:
    """METEOR 1.5 over all captions, with the settings of the field's evaluation."""
    lines = []
    for image, caption in captions.items():
        fields = [*references[image], caption]
        lines.append(" ||| ".join(["SCORE", *(field.replace("|||", " ") for field in fields)]))
    archive = folder / "meteor" / "meteor-1.5.jar"
    argv = [java, *_PLAIN, _METEOR_MEMORY, "-jar", str(archive), "-", "-", "-stdio", "-l", "en", "-norm"]
    # One question after the other would wait for each answer; the program reads all of them and answers in order.
    counts = _lines(_run(argv, "METEOR", "\n".join(lines) + "\n"), len(lines), "METEOR")
    answer = _lines(_run(argv, "METEOR", " ||| ".join(["EVAL", *counts]) + "\n"), len(lines) + 1, "METEOR")
    return float(answer[-1])


def _spice(java: str, folder: Path, captions: Captions, references: References) -> float:
    """SPICE 1.0: the mean F over all captions."""
    asked = [
        {"image_id": image, "test": caption, "refs": list(references[image])} for image, caption in captions.items()
    ]
    with tempfile.TemporaryDirectory(prefix="fsgr-spice-") as room:
        source, target = Path(room) / "in.json", Path(room) / "out.json"
        source.write_bytes(msgspec.json.encode(asked))
        archive = folder / "spice" / "spice-1.0.jar"
        argv = [java, *_PLAIN, _SPICE_MEMORY, "-jar", str(archive), str(source), "-out", str(target), "-silent"]
        _run(argv, "SPICE")
        answers = msgspec.json.decode(target.read_bytes())
    values = [entry["scores"]["All"]["f"] for entry in answers]
    return sum(value or 0.0 for value in values) / len(values)


def _lines(out: str, count: int, name: str) -> list[str]:
    lines = out.strip().split("\n")
    if len(lines) != count:
        raise MachineCannot(
            tr("{name} gave {lines:,} lines of {wanted:,}.", name=name, lines=len(lines), wanted=count),
            tr("Use --java never."),
        )
    return lines


def _run(argv: Iterable[str], name: str, given: str = "") -> str:
    try:
        done = subprocess.run(
            list(argv),
            input=given,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_LONGEST_S,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MachineCannot(
            tr("{name} (Java) does not run: {error}.", name=name, error=error), tr("Use --java never.")
        ) from None
    if done.returncode:
        told = (done.stderr.strip().split("\n") or [""])[-1]
        raise MachineCannot(
            tr("{name} (Java) ended with exit code {code}: {told}.", name=name, code=done.returncode, told=told),
            tr("Use --java never."),
        )
    return done.stdout
