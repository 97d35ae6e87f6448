"""Preflight of what a lab's code runs on: its Python, spaCy's model, and the Java that scores captions."""

from __future__ import annotations

from collections.abc import Sequence

from fsgr_tui.core.lab import Checkout, Interpreter, Java
from fsgr_tui.core.language import tr
from fsgr_tui.core.preflight import Finding
from fsgr_tui.core.units import Unknown, few

SPACY_MODEL = "en_core_web_sm"
SPACY_SHORT_NAMES = frozenset({"en", "de", "fr", "es", "pt", "it", "nl", "el", "xx"})
"""Links that spaCy 2 knew; spaCy 3 dropped them (its migration guide)."""

# Languages whose numbers have a decimal comma, and countries in which they have a point (Unicode CLDR, numbers.xml).
_COMMA_LANGUAGES = frozenset({
    "az", "be", "bg", "bs", "ca", "cs", "da", "de", "el", "es", "et", "eu", "fi", "fr", "gl", "hr", "hu", "hy", "id", "is", "it", "ka",
    "kk", "lt", "lv", "mk", "nb", "nl", "nn", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sq", "sr", "sv", "tr", "uk", "uz", "vi",
})  # fmt: skip
_POINT_COUNTRIES = frozenset({"es_MX", "es_US", "es_PR", "es_GT", "es_HN", "es_NI", "es_PA", "es_PE", "es_SV", "es_DO", "es_CU",
                              "de_CH", "de_LI", "it_CH"})  # fmt: skip
# Packages that start Java for METEOR, SPICE or the PTB tokenizer.
_JAVA_PACKAGES = frozenset({"pycocoevalcap", "aac_metrics", "language_evaluation"})


def interpreter_findings(interpreter: Interpreter, checkout: Checkout) -> list[Finding]:
    """Whether the Python has what the checkout imports."""
    named = f"{interpreter.path} (Python {interpreter.version})"
    rows = []
    torch = interpreter.torch
    if isinstance(torch, Unknown):
        # A slow file system is no fault of the environment; anything else is.
        slow = interpreter.late
        remedy = (
            tr("Try `import torch` there by hand.")
            if slow
            else tr("Name the lab's environment with --python, or mend it.")
        )
        rows.append(
            Finding(
                "PyTorch",
                tr("{reason} in {named}", reason=torch.why, named=named),
                "torch",
                "warn" if slow else "stop",
                remedy,
                "machine",
            )
        )
    absent = checkout.imports & set(interpreter.absent) - {"torch", "spacy"}
    missing, perhaps = sorted(absent - checkout.perhaps), sorted(absent & checkout.perhaps)
    if missing:
        rows.append(
            Finding(
                tr("packages"), tr("{missing} not in {named}", missing=", ".join(missing), named=named), tr("what the checkout imports"), "stop",
                tr("{path} -m pip install ..., or name the lab's environment with --python.", path=interpreter.path), "machine", tuple(missing),
            )
        )  # fmt: skip
    if perhaps:
        rows.append(
            Finding(
                tr("optional packages"), tr("{perhaps} not in {named}", perhaps=", ".join(perhaps), named=named), tr("what parts of the checkout import"), "warn",
                tr("Install them if the run uses those parts."), "machine", tuple(perhaps),
            )
        )  # fmt: skip
    if not missing:
        there = ", ".join(
            f"{name} {version}".strip()
            for name, version in sorted(interpreter.packages.items())
            if name in checkout.imports
        )
        rows.append(Finding(tr("packages"), f"{named}: {there}" if there else named))
    return rows


def spacy_findings(interpreter: Interpreter, checkout: Checkout) -> list[Finding]:
    """Whether spaCy finds its English model; spaCy 3 knows no short names."""
    if "spacy" not in checkout.imports:
        return []
    version = interpreter.packages.get("spacy")
    if version is None:
        return [
            Finding(
                "spaCy",
                tr("not in {path}", path=interpreter.path),
                tr("spacy with {spacy_model}", spacy_model=SPACY_MODEL),
                "stop",
                f"{interpreter.path} -m pip install spacy",
                "machine",
            )
        ]
    rows = []
    major = int(version.partition(".")[0]) if version[:1].isdigit() else None
    short = [place for place in checkout.spacy_models if place.text in SPACY_SHORT_NAMES]
    if short and (major is None or major >= 3):
        rows.append(
            Finding(
                tr("spaCy's short name"), tr("spacy.load({text!r}) in {short}, spaCy {version}", text=short[0].text, short=short[0], version=version), tr("a package name"), "stop",
                tr("spaCy 3 knows no short names: write spacy.load({spacy_model!r}).", spacy_model=SPACY_MODEL), "machine",
            )
        )  # fmt: skip
    if SPACY_MODEL in interpreter.absent:
        rows.append(
            Finding(
                tr("spaCy's {spacy_model}", spacy_model=SPACY_MODEL), tr("not in {path}", path=interpreter.path), SPACY_MODEL, "stop",
                tr("{path} -m spacy download {spacy_model}; without internet: download its wheel from "
"github.com/explosion/spacy-models elsewhere (the release for spaCy {release}), copy it, and {path} "
"-m pip install --no-deps FILE.whl", path=interpreter.path, spacy_model=SPACY_MODEL, release=version.rpartition(".")[0] or version), "machine",
            )
        )  # fmt: skip
    model = f"{SPACY_MODEL} {interpreter.packages.get(SPACY_MODEL, '')}".strip()
    return rows or [Finding("spaCy", tr("{version} with {model}", version=version, model=model))]


def java_findings(java: Java, checkout: Checkout, locale: str, paths: Sequence[str]) -> list[Finding]:
    """Whether the scores at the end of an epoch can be computed.

    Args:
        locale: of the environment (LC_ALL, LC_NUMERIC or LANG), for a Java that tells none.
        paths: folders that Java programs are run in or read from.
    """
    used = [str(place) for place in checkout.java_lines] or sorted(checkout.imports & _JAVA_PACKAGES)
    if not used:
        return []
    what, needed = "Java", tr("a Java that runs ({used})", used=few(used))
    late = tr("METEOR or the PTB tokenizer would fail at the end of the first epoch.")
    if not java.path:
        return [
            Finding(
                what,
                tr("not on PATH"),
                needed,
                "stop",
                tr(
                    "{late} Install one (`module load java`, or conda install openjdk), or leave those scores out.",
                    late=late,
                ),
                "machine",
            )
        ]
    if isinstance(java.version, Unknown):
        return [
            Finding(
                what,
                tr("{path} does not run: {reason}", path=java.path, reason=java.version.why),
                needed,
                "stop",
                tr("{late} Install another, and put it first on PATH.", late=late),
                "machine",
            )
        ]
    rows = [Finding(what, tr("{version} at {path}", version=java.version, path=java.path), needed)]
    language = locale.partition(".")[0] if isinstance(java.language, Unknown) else java.language
    if has_decimal_comma(language):
        rows.append(
            Finding(
                tr("Java's numbers"), tr("locale {language}: 0,25 instead of 0.25", language=language), tr("a decimal point"), "warn",
                tr("The scores cannot be parsed: export LC_ALL=C.UTF-8, or JAVA_TOOL_OPTIONS='-Duser.language=en "
"-Duser.country=US'."),
            )
        )  # fmt: skip
    spaced = [path for path in paths if " " in path]
    if spaced:
        rows.append(
            Finding(
                tr("blanks in paths"),
                few(spaced),
                tr("none"),
                "warn",
                tr("Scripts that start Java through a shell break there: move it to a folder without blanks."),
                listed=tuple(spaced),
            )
        )
    return rows


def has_decimal_comma(locale: str) -> bool:
    """Whether numbers of a locale such as `it` or `de_CH` have a decimal comma."""
    return locale.partition("_")[0] in _COMMA_LANGUAGES and locale not in _POINT_COUNTRIES
