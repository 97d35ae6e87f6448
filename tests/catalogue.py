"""`python -m tests.catalogue`: bring the catalogues up to date with the texts in the code, and compile them.

New texts come in without a translation, texts that are gone go; then `tests/unit/test_language.py` names what is missing.
Translate in fsgr_tui/locale/zh_CN/LC_MESSAGES/fsgr_tui.po and run it again.
"""

from __future__ import annotations

import ast
import io
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from fsgr_tui.core.language import CHINESE, DOMAIN, LOCALE_DIR

PACKAGE = Path(__file__).parent.parent / "fsgr_tui"
TEXTS = {"tr": 1, "mark": 1, "trn": 2}
"""How many of a call's arguments are texts."""


def texts(under: str = "") -> Catalog:
    """The texts in the code, or in one folder or file of it, as a template."""
    template = Catalog(project="fsgr-tui", charset="utf-8")
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith(under):
            for line, message in _marked(path):
                template.add(message, None, [(name, line)])
    return template


def _marked(path: Path) -> Iterator[tuple[int, str | tuple[str, ...]]]:
    """Lines and texts of a module, by its syntax tree: Babel's own reader does not look into f-strings."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            first = node.args[: TEXTS.get(name, 0)]
            words = tuple(
                each.value for each in first if isinstance(each, ast.Constant) and isinstance(each.value, str)
            )
            if words and len(words) == TEXTS[name]:
                yield node.lineno, words if len(words) > 1 else words[0]


def po_file(language: str = CHINESE) -> Path:
    """Where a language's texts are."""
    return LOCALE_DIR / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def read(language: str = CHINESE) -> Catalog:
    """A language's catalogue as it is."""
    path = po_file(language)
    if not path.exists():
        return Catalog(locale=language, project="fsgr-tui", charset="utf-8")
    with path.open("rb") as file:
        return read_po(file, locale=language)


def refreshed(language: str = CHINESE) -> Catalog:
    """The catalogue with the texts of the code, in their order of the alphabet; translations that still fit are kept."""
    catalogue = read(language)
    catalogue.update(texts(), no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    return catalogue


def as_po(catalogue: Catalog) -> bytes:
    """The text that translators edit; without line numbers, which would change with every edit of the code."""
    written = io.BytesIO()
    write_po(written, catalogue, no_location=True, omit_header=True, sort_output=True, ignore_obsolete=True, width=0)
    head = b'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n"Plural-Forms: nplurals=1; plural=0;\\n"\n\n'
    return head + written.getvalue()


def as_mo(catalogue: Catalog) -> bytes:
    """What the program reads."""
    written = io.BytesIO()
    write_mo(written, catalogue)
    return written.getvalue()


def write(catalogue: Catalog, language: str = CHINESE) -> None:
    """Write both files of a language."""
    path = po_file(language)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(as_po(catalogue))
    path.with_suffix(".mo").write_bytes(as_mo(read(language)))


if __name__ == "__main__":
    write(refreshed())
